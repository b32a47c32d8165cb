//! Control flow: where lanes meet again, and loops.

use kwc_emulator::exec::flow::{Flow, MOST_LOOPS, Next, analyse};
use proptest::prelude::*;

use Next::{Jump, Leave, Through};

/// A branch to `target` that lanes of instruction `at` may also not take.
fn branch(at: u32, target: u32) -> Next {
    Next::Branch(vec![target, at + 1])
}

#[track_caller]
fn expect(instructions: &[Next], meets: &[u32], loops: &[u16]) {
    assert_eq!(analyse(instructions), Flow { meets: meets.to_vec(), loops: loops.to_vec() });
}

#[test]
fn nothing() {
    expect(&[], &[], &[]);
    expect(&[Leave], &[1], &[0]);
    expect(&[Through], &[1], &[0]);
    expect(&[Next::Branch(vec![])], &[1], &[0]);
}

#[test]
fn if_without_else() {
    expect(&[branch(0, 2), Through, Through, Leave], &[2, 2, 3, 4], &[0; 4]);
}

#[test]
fn if_with_else() {
    // 0: to 3 or on; 2: over the else; 4: where both meet.
    expect(&[branch(0, 3), Through, Jump(4), Through, Leave], &[4, 2, 4, 4, 5], &[0; 5]);
}

#[test]
fn if_in_an_else() {
    let code = [branch(0, 2), Jump(6), branch(2, 5), Through, Jump(6), Through, Leave];
    expect(&code, &[6, 6, 6, 4, 6, 6, 7], &[0; 7]);
}

#[test]
fn loop_of_one_block() {
    // 1 and 2 are the loop, left at its end.
    expect(&[Through, Through, branch(2, 1), Leave], &[1, 2, 3, 4], &[0, 1, 1, 0]);
    expect(&[branch(0, 0), Leave], &[1, 2], &[1, 0]);
}

#[test]
fn loop_left_at_its_head() {
    expect(&[Through, branch(1, 4), Through, Jump(1), Leave], &[1, 4, 3, 1, 5], &[0, 1, 1, 1, 0]);
}

#[test]
fn loop_with_continue_and_break() {
    // 0: head; 1: continue, which goes to 4; 2: break; 4: back.
    let code = [Through, branch(1, 4), branch(2, 5), Through, branch(4, 0), Leave];
    expect(&code, &[1, 5, 5, 4, 5, 6], &[1, 1, 1, 1, 1, 0]);
}

#[test]
fn loops_inside_each_other() {
    // The outer one is 0 to 5, in it 1 and 2, and 4.
    let code = [Through, Through, branch(2, 1), Through, branch(4, 4), branch(5, 0), Leave];
    expect(&code, &[1, 2, 3, 4, 5, 6, 7], &[1, 2, 2, 1, 2, 1, 0]);
}

#[test]
fn two_ways_back_to_one_head_are_one_loop() {
    let code = [Through, branch(1, 0), branch(2, 0), Leave];
    expect(&code, &[1, 2, 3, 4], &[1, 1, 1, 0]);
}

#[test]
fn leaving_early() {
    // A guarded `ret` at 0, one at 3 in a branch.
    let code = [branch(0, 7), branch(1, 4), Through, Leave, Through, Through, Leave];
    expect(&code, &[7, 7, 3, 7, 5, 6, 7], &[0; 7]);
}

#[test]
fn targets_past_the_end_are_the_end() {
    expect(&[branch(0, 90), Jump(u32::MAX)], &[2, 2], &[0; 2]);
}

#[test]
fn chain_of_cases() {
    // As NVRTC compiles a switch: two comparisons, three bodies.
    let code = [branch(0, 4), branch(1, 6), Through, Jump(8), Through, Jump(8), Through, Jump(8), Leave];
    expect(&code, &[8, 8, 3, 8, 5, 8, 7, 8, 9], &[0; 9]);
}

#[test]
fn branch_by_a_table() {
    // The third case falls into the fourth.
    let code = [Next::Branch(vec![1, 3, 5, 6]), Through, Jump(7), Through, Jump(7), Through, Through, Leave];
    expect(&code, &[7, 2, 7, 4, 7, 6, 7, 8], &[0; 8]);
}

#[test]
fn loop_without_an_end() {
    expect(&[Jump(0)], &[0], &[1]);
    // A branch inside meets inside, and the loop's end at its head.
    let code = [Through, Through, branch(2, 4), Through, Jump(1)];
    expect(&code, &[1, 2, 4, 4, 1], &[0, 1, 1, 1, 1]);
    // Two ways back: where they part, lanes meet at the head.
    expect(&[Through, branch(1, 0), Through, Jump(0)], &[1, 0, 3, 0], &[1; 4]);
    // Lanes that go into one and lanes that leave never meet.
    expect(&[branch(0, 2), Leave, Jump(2)], &[3, 3, 2], &[0, 0, 1]);
    // Nor do lanes in two of them.
    expect(&[branch(0, 2), Jump(1), Jump(2)], &[3, 1, 2], &[0, 1, 1]);
}

#[test]
fn loop_with_two_heads() {
    // 0 enters the loop of 1 and 2 at either; the first found is taken for the head.
    let code = [branch(0, 2), Through, branch(2, 1), Leave];
    expect(&code, &[2, 2, 3, 4], &[0, 1, 1, 0]);
}

#[test]
fn code_that_nothing_leads_to() {
    let code = [Jump(4), branch(1, 3), Through, Jump(1), Leave];
    let flow = analyse(&code);
    assert_eq!(flow.meets[0], 4);
    assert_eq!(flow.loops, [0, 1, 1, 1, 0]);
}

#[test]
fn depth_is_bounded() {
    // Loop i is instructions i to 2n - 1 - i.
    let count = 100;
    let mut code: Vec<_> = (0..count).map(|_| Through).collect();
    code.extend((0..count).rev().enumerate().map(|(back, head)| branch(count + u32::try_from(back).unwrap(), head)));
    let flow = analyse(&code);
    for i in 0..200 {
        let depth = if i < 100 { i + 1 } else { 200 - i };
        assert_eq!(usize::from(flow.loops[i]), depth.min(usize::from(MOST_LOOPS)));
    }
}

#[test]
fn large_functions() {
    // A loop in which every second instruction may go back to the head: quadratic for simpler algorithms.
    let count = 300_000;
    let mut code: Vec<_> = (0..count).map(|at| if at % 2 == 0 { Through } else { branch(at, 0) }).collect();
    code.push(Leave);
    let flow = analyse(&code);
    assert!((0..count).all(|at| flow.meets[at as usize] == at + 1 && flow.loops[at as usize] == 1));
    // One that is left everywhere, and one `if` after the other.
    let code: Vec<_> = (0..count).map(|at| branch(at, count)).collect();
    assert!(analyse(&code).meets.iter().all(|&meets| meets == count));
    let code: Vec<_> = (0..count).map(|at| if at % 2 == 0 { branch(at, at + 2) } else { Through }).collect();
    let flow = analyse(&code);
    assert!((0..count).all(|at| flow.meets[at as usize] == at + 2 - at % 2));
}

/// A graph by what each instruction leads to, with the end as the last node.
struct Small {
    next: Vec<Vec<usize>>,
}

impl Small {
    fn of(code: &[Next]) -> Self {
        let end = code.len();
        let mut next: Vec<Vec<usize>> = code
            .iter()
            .enumerate()
            .map(|(at, next)| match next {
                Through => vec![at + 1],
                Jump(target) => vec![(*target as usize).min(end)],
                Next::Branch(targets) if !targets.is_empty() => {
                    targets.iter().map(|&target| (target as usize).min(end)).collect()
                }
                Next::Branch(_) | Leave => vec![end],
            })
            .collect();
        next.push(vec![]);
        Self { next }
    }

    fn end(&self) -> usize {
        self.next.len() - 1
    }

    /// What `from` leads to, itself included, by ways that avoid `without`.
    fn reached(&self, from: usize, without: Option<usize>) -> Vec<bool> {
        let mut reached = vec![false; self.next.len()];
        let mut stack = vec![from];
        while let Some(node) = stack.pop() {
            if Some(node) != without && !std::mem::replace(&mut reached[node], true) {
                stack.extend(&self.next[node]);
            }
        }
        reached
    }

    /// Whether every way from `node` to the end goes through `by`.
    fn post_dominated(&self, node: usize, by: usize) -> bool {
        !self.reached(node, Some(by))[self.end()]
    }

    fn meets(&self, node: usize) -> usize {
        let all: Vec<usize> = (0..=self.end()).filter(|&by| by != node && self.post_dominated(node, by)).collect();
        // The nearest is the one that all others post-dominate.
        *all.iter().find(|&&near| all.iter().all(|&far| far == near || self.post_dominated(near, far))).unwrap()
    }

    /// By node, in how many natural loops it is; nothing where a loop has two heads.
    fn loops(&self) -> Option<Vec<u16>> {
        let live = self.reached(0, None);
        let mut bodies = vec![vec![false; self.next.len()]; self.next.len()];
        let mut forward = Self { next: self.next.clone() };
        for from in (0..self.next.len()).filter(|&from| live[from]) {
            for &head in &self.next[from] {
                let dominates = !self.reached(0, Some(head))[from] || head == from;
                if dominates {
                    bodies[head][head] = true;
                    for node in (0..self.next.len()).filter(|&node| live[node]) {
                        bodies[head][node] |= node == from || self.reached(node, Some(head))[from];
                    }
                    forward.next[from].retain(|&to| to != head);
                }
            }
        }
        let cyclic = (0..self.next.len())
            .any(|node| live[node] && forward.next[node].iter().any(|&to| forward.reached(to, None)[node]));
        let depth = |node: usize| bodies.iter().map(|body| u16::from(body[node])).sum();
        (!cyclic).then(|| (0..self.end()).map(depth).collect())
    }
}

fn code() -> impl Strategy<Value = Vec<Next>> {
    (1..14_u32).prop_flat_map(|count| {
        let target = 0..=count;
        let one = (0..8_u8, target.clone(), target.clone(), target);
        prop::collection::vec(one, count as usize).prop_map(|choices| {
            let instruction = |(at, (kind, a, b, c))| match kind {
                0..=2 => Through,
                3 => Jump(a),
                4 => Leave,
                5 => Next::Branch(vec![a, b, c]),
                _ => branch(at, a),
            };
            (0..).zip(choices).map(instruction).collect()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_removing_nodes(code in code()) {
        let flow = analyse(&code);
        let graph = Small::of(&code);
        for node in 0..code.len() {
            let reached = graph.reached(node, None);
            let meets = flow.meets[node] as usize;
            // Where nothing ahead is a loop that can't be left, the definition decides.
            if (0..code.len()).all(|ahead| !reached[ahead] || graph.reached(ahead, None)[graph.end()]) {
                prop_assert_eq!(meets, graph.meets(node), "at {}", node);
            } else {
                prop_assert!(meets == graph.end() || reached[meets], "at {}", node);
            }
        }
    }

    #[test]
    fn agrees_with_natural_loops(code in code()) {
        let graph = Small::of(&code);
        let live = graph.reached(0, None);
        if let Some(loops) = graph.loops() {
            let flow = analyse(&code);
            for node in (0..code.len()).filter(|&node| live[node]) {
                prop_assert_eq!(flow.loops[node], loops[node], "at {}", node);
            }
        }
    }
}
