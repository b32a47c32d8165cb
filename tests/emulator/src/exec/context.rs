//! What an operation works on.

use super::access::{Access, Kind as Does, Offsets};
use super::block::Block;
use super::instruction::Step;
use super::lanes::LANES;
use super::launch::{Launch, Worker};
use super::warp::Warp;
use super::window::thread;
use crate::check::{Conflict, Did, Lanes};
use crate::findings::{Finding, Kind};
use crate::gpu::Fault;
use crate::memory::{Allocation, FIRST_ADDRESS};

/// The state that an operation may read and change: the warp that executes it, its block, the thread of the host that
/// runs it, and what is common to the whole launch.
pub struct Context<'a> {
    /// The lanes that execute: those active for which the guard holds. At least one.
    pub exec: u32,
    /// The warp.
    pub warp: &'a mut Warp,
    /// The warp's block.
    pub block: &'a mut Block,
    /// What belongs to the thread of the host: counters and caches.
    pub worker: &'a mut Worker,
    /// What all blocks share.
    pub launch: &'a Launch<'a>,
}

impl<'a> Context<'a> {
    /// Reports a finding of the present instruction. `message` is asked for at its first occurrence only.
    #[cold]
    pub fn find(&self, kind: Kind, lane: usize, address: Option<u64>, message: impl FnOnce() -> String) {
        self.find_at(self.warp.pc, kind, lane, address, message);
    }

    /// As [`find`](Self::find), of the instruction at `pc`.
    #[cold]
    pub fn find_at(&self, pc: u32, kind: Kind, lane: usize, address: Option<u64>, message: impl FnOnce() -> String) {
        let launch = self.launch;
        launch.findings.report(kind, pc, || {
            let code = launch.code;
            let note = code.notes.get(pc as usize);
            Finding {
                kind,
                kernel: launch.kernel.name.clone(),
                launch: launch.number,
                block: self.block.id,
                thread: thread(launch.shape.block, self.warp.index * 32 + lane as u32),
                instruction: note.map(|note| note.opcode.clone()).unwrap_or_default(),
                line: note.map_or(0, |note| note.line),
                source: note.and_then(|note| code.source(note)),
                address,
                message: message(),
                count: 1,
            }
        });
    }

    /// Ends the launch.
    #[cold]
    pub fn fault(&self, fault: Fault) -> Step {
        self.launch.end(fault);
        Step::Fault
    }

    /// Has an access of global memory checked.
    #[inline(never)]
    pub fn check_global(&mut self, access: Access, allocation: &'a Allocation, offsets: &Offsets, mask: u32) {
        let launch = self.launch;
        if launch.checks.initialised {
            match access.kind {
                Does::Write => allocation.written.set_lanes(offsets, mask, access.size.into()),
                Does::Read | Does::Atomic => {
                    if let Some(lane) = allocation.written.first_unwritten(offsets, mask, access.size.into()) {
                        let address = allocation.address + offsets[lane];
                        self.find(Kind::Uninitialised, lane, Some(address), || {
                            format!("global memory at {address:#x} is read, but nothing was ever written there")
                        });
                    }
                }
            }
        }
        if launch.checks.races {
            let lanes = Lanes { warp: self.warp.index as usize, offsets, mask, size: access.size };
            let did = match access.kind {
                Does::Read => Did::Read,
                Does::Write => Did::Write,
                Does::Atomic => Did::Atomic,
            };
            let result = allocation.shadow.access(&launch.order, &mut self.block.clock, lanes, did, access.strong);
            if let Err(conflict) = result {
                self.conflict(&conflict, allocation.address);
            }
        }
    }

    /// Has an access of shared memory checked. `same` says of two lanes whether they write one value.
    #[inline(never)]
    pub fn check_shared(
        &mut self,
        access: Access,
        offsets: &[u32; LANES],
        mask: u32,
        same: &dyn Fn(usize, usize) -> bool,
    ) {
        let warp = self.warp.index as usize;
        let shadow = &mut self.block.shadow;
        let result = match access.kind {
            Does::Read => shadow.read(warp, offsets, mask, access.size),
            Does::Write => shadow.write(warp, offsets, mask, access.size, same),
            Does::Atomic => shadow.atomic(warp, offsets, mask, access.size),
        };
        if let Err(conflict) = result {
            self.conflict(&conflict, 0);
        }
    }

    /// Reports what the shadow of a piece of memory at `base` found wrong.
    #[cold]
    pub fn conflict(&self, conflict: &Conflict, base: u64) {
        let address = base + conflict.offset;
        let block = self.launch.shape.block;
        self.find(conflict.kind, conflict.lane, Some(address), || {
            let Some(other) = conflict.other else {
                return format!("shared memory at offset {address:#x} is read, but nothing in this block wrote there");
            };
            let [x, y, z] = thread(block, other.warp * 32 + other.lane.unwrap_or(0));
            let thread = format!("thread ({x}, {y}, {z})");
            let who = match (other.block, other.lane) {
                (Some(number), Some(_)) => format!("{thread} of block number {number}"),
                (Some(number), None) => format!("block number {number}"),
                (None, Some(_)) => thread,
                (None, None) => format!("warp {}", other.warp),
            };
            let did = match other.did {
                Did::Read => "read",
                Did::Write => "write",
                Did::Atomic => "atomic operation",
                Did::Copy => "copy that has not been waited for",
            };
            let remedy = match conflict.kind {
                Kind::SharedRace => "a barrier must lie between",
                Kind::GlobalRace => {
                    "fences and atomics, or separate launches, must order them: another block may run at any time"
                }
                Kind::AsyncCopy => "cp.async.wait_group or wait_all must come first, and a barrier for other threads",
                Kind::OutOfBounds
                | Kind::Misaligned
                | Kind::UseAfterFree
                | Kind::Uninitialised
                | Kind::DivergentBarrier
                | Kind::Deadlock
                | Kind::InactiveLane
                | Kind::PartialWarp
                | Kind::Trap => "",
            };
            format!("conflicts with the {did} of {address:#x} by {who}: {remedy}")
        });
    }

    /// After strong reads: what was released at those addresses comes before what the block does from now on. Addresses
    /// are generic; only those of global memory count, since nothing else is common to two blocks.
    pub fn acquire(&mut self, addresses: &Offsets) {
        if self.launch.checks.races {
            let lanes = self.in_global(addresses);
            self.block.clock.acquire(&self.launch.order, addresses, lanes);
        }
    }

    /// Before strong writes: what the threads made visible is released at those addresses, as for
    /// [`acquire`](Self::acquire). `itself` says that the operation has release semantics of its own.
    pub fn release(&mut self, addresses: &Offsets, itself: bool) {
        if self.launch.checks.races {
            let (warp, lanes) = (self.warp.index as usize, self.in_global(addresses));
            self.block.clock.release(&self.launch.order, warp, addresses, lanes, itself);
        }
    }

    /// The executing lanes whose addresses are in global memory.
    fn in_global(&self, addresses: &Offsets) -> u32 {
        addresses
            .iter()
            .enumerate()
            .fold(0, |mask, (lane, address)| mask | u32::from(*address >= FIRST_ADDRESS) << lane)
            & self.exec
    }
}
