//! When a launch is held to be stuck.

use kwc_emulator::exec::waiting::{Watch, Watcher};

/// Lets the blocks of a thread be still until that is too long or a number of turns have passed; gives how many had.
fn turns(watcher: &mut Watcher<'_>, asked: bool, blocks: usize, most: u32) -> Option<u32> {
    (1..=most).find(|_| watcher.was_still(asked, blocks))
}

#[test]
fn who_asks_in_vain_is_stuck_long_before_who_computes() {
    let (asking, computing) = (Watch::new(1), Watch::new(1));
    let asked = turns(&mut asking.watcher(0), true, 1, 1000).expect("it is stuck at some time");
    let computed = turns(&mut computing.watcher(0), false, 1, 100_000).expect("it is stuck at some time");
    assert!(computed > 60 * asked, "{computed} turns against {asked}");
}

#[test]
fn the_more_blocks_take_turns_the_longer_it_takes() {
    let watch = Watch::new(1);
    let turns = turns(&mut watch.watcher(0), true, 1000, 10_000).expect("it is stuck at some time");
    assert!(turns > 2000, "each of the 1000 blocks must have had two turns, there were {turns} in all");
}

#[test]
fn a_change_starts_it_anew() {
    let watch = Watch::new(1);
    let once = turns(&mut watch.watcher(0), true, 1, 1000).expect("it is stuck at some time");
    let watch = Watch::new(1);
    let mut watcher = watch.watcher(0);
    for _ in 0..5 {
        assert_eq!(turns(&mut watcher, true, 1, once - 1), None);
        watcher.changed();
    }
    assert_eq!(turns(&mut watcher, true, 1, 1000), Some(once));
}

#[test]
fn all_threads_must_be_still() {
    let watch = Watch::new(3);
    let [mut one, mut two, three] = [0, 1, 2].map(|thread| watch.watcher(thread));
    assert_eq!(turns(&mut one, true, 1, 1000), None, "the other threads may change something yet");
    three.ends();
    assert_eq!(turns(&mut one, true, 1, 1000), None, "the second thread may");
    two.changed();
    assert!(turns(&mut two, true, 1, 1000).is_none(), "since that change, the first wasn't still for long enough");
    assert!(turns(&mut one, true, 1, 1000).is_some());
}

#[test]
fn a_block_that_asks_in_vain_may_wait_for_one_that_has_not_begun() {
    let watch = Watch::new(1);
    let mut watcher = watch.watcher(0);
    assert!(!watcher.was_still(false, 1) && !watcher.may_wait());
    assert!(!watcher.was_still(true, 1) && watcher.may_wait());
    watcher.changed();
    assert!(!watcher.may_wait());
}
