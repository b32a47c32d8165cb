//! Strong loads and stores: what they order between blocks.

use kwc_emulator::findings::Kind;

use crate::ptx::{Program, bytes};

/// Block 0 stores 7 to word 2 and raises the flag, word 0; block 1 waits for the flag as `wait` says, and copies the
/// value to word 4.
fn message(raise: &str, wait: &str) -> Program {
    Program::new(&format!(
        "setp.ne.u32 %p1, %me, 0;
        @%p1 bra END;
        setp.eq.u32 %p2, %block, 1;
        @%p2 bra WAIT;
        st.global.u32 [%data+8], 7;
        {raise}
        bra END;
        WAIT:
        {wait}
        setp.eq.u64 %p3, %d1, 0;
        @%p3 bra WAIT;
        ld.global.u32 %r2, [%data+8];
        st.global.u32 [%data+16], %r2;
        END:"
    ))
}

#[test]
fn an_acquire_orders_what_was_released() {
    let program = message("st.release.gpu.global.u64 [%data], 1;", "ld.acquire.gpu.global.u64 %d1, [%data];");
    assert_eq!(program.run_grid(2, 32, &bytes(&[0; 64])).clean()[4], 7);
}

#[test]
fn an_acquire_may_overwrite_its_address() {
    let program =
        message("st.release.gpu.global.u64 [%data], 1;", "mov.u64 %d1, %data; ld.acquire.gpu.global.u64 %d1, [%d1];");
    assert_eq!(program.run_grid(2, 32, &bytes(&[0; 64])).clean()[4], 7);
}

#[test]
fn shared_memory_orders_nothing_between_blocks() {
    // Each block has a flag of its own; that of one tells the other nothing. The reader is the first of the two to run,
    // then the second.
    for reader in [0, 1] {
        let own = format!(
            ".shared .align 8 .b8 flag[8];
            setp.ne.u32 %p1, %me, 0;
            @%p1 bra END;
            setp.eq.u32 %p2, %block, {reader};
            @!%p2 st.global.u32 [%data+8], 7;
            membar.gl;
            st.volatile.shared.u32 [flag], 1;
            ld.volatile.shared.u32 %r1, [flag];
            @%p2 ld.global.u32 %r2, [%data+8];
            END:"
        );
        let outcome = Program::new(&own).run_grid(2, 32, &bytes(&[0; 64]));
        let kinds: Vec<Kind> = outcome.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [Kind::GlobalRace], "{:#?}", outcome.findings);
    }
}
