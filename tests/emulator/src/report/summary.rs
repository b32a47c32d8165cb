//! What all processes of a program did: the report that `vgpu` prints and writes as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Record;
use super::trace::Trace;
use crate::counters::{self, Class, Issued};
use crate::findings::{Finding, Kind};

/// Version of the format of the JSON report.
pub const FORMAT: u32 = 1;

/// What a program did on the virtual GPU. Serialised, it is the file that `vgpu --report` writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this format: [`FORMAT`].
    pub format: u32,
    /// What it ran on, for example `sm_80`; `None` if no process loaded the driver.
    pub architecture: Option<String>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How the program ended.
    pub exit: Exit,
    /// The processes that loaded the driver.
    pub processes: Vec<Process>,
    /// What was wrong. Equal findings (same kind, kernel and instruction) stand once, at their first occurrence, with
    /// the sum of their counts over all launches and processes.
    pub findings: Vec<Finding>,
    /// What each kernel did over all its launches, in the order of their first.
    pub kernels: Vec<Kernel>,
    /// Every launch, by process and in order.
    pub launches: Vec<Launch>,
    /// Functions of the driver that failed or aren't offered.
    pub calls: Vec<Call>,
    /// What of the traces couldn't be read.
    pub unreadable: Vec<String>,
}

/// How a program ended: one of the two is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The code that it ended with.
    pub code: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number.
    pub process: u32,
    /// Whether it ended in an orderly way.
    pub ended: bool,
}

/// A launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The process.
    pub process: u32,
    /// Which launch of the process, from 1.
    pub launch: u64,
    /// The kernel.
    pub kernel: String,
    /// What it did; `None` where counters are off.
    pub counters: Option<Box<counters::Launch>>,
}

/// What a kernel did over all its launches. Kernels of one name count as one, even if they are of different modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Its name.
    pub name: String,
    /// How often it was launched.
    pub launches: u64,
    /// The shapes that it was launched in, in the order of their first, with how often each.
    pub shapes: Vec<Shape>,
    /// The sums of its counters; `None` where counters are off. What isn't a count is combined as it makes sense:
    /// registers, shared memory, local memory and bytes in flight are the most of any launch, resident blocks the
    /// fewest; launch number, grid and block are those of the first launch. `distinct_sectors` are distinct within
    /// each launch.
    pub totals: Option<Box<counters::Launch>>,
}

/// A shape of launches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Blocks, x y z.
    pub grid: [u32; 3],
    /// Threads of a block, x y z.
    pub block: [u32; 3],
    /// Dynamic shared memory, bytes.
    pub dynamic_shared: u32,
    /// How often.
    pub launches: u64,
}

/// A function of the driver that failed or isn't offered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Call {
    /// The function.
    pub function: String,
    /// The name of the error code that it answered.
    pub error: String,
    /// What was wrong.
    pub message: String,
    /// How often.
    pub count: u64,
}

impl Report {
    /// Adds up what processes wrote.
    #[must_use]
    pub fn new(command: Vec<String>, exit: Exit, traces: Vec<Trace>) -> Self {
        let mut report = Self { format: FORMAT, command, exit, ..Self::default() };
        for trace in traces {
            report.add(trace);
        }
        report
    }

    /// The sums of a kernel.
    #[must_use]
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }

    fn add(&mut self, trace: Trace) {
        if self.architecture.is_none() && !trace.architecture.is_empty() {
            self.architecture = Some(trace.architecture);
        }
        self.processes.push(Process { process: trace.process, ended: trace.ended });
        self.unreadable.extend(trace.unreadable);
        // Findings whose launch hasn't come to its end. Their counts come with that; if it never does, they stand as
        // they are.
        let mut open: Vec<Finding> = Vec::new();
        for record in trace.records {
            match record {
                Record::Finding(finding) => open.push(finding),
                Record::Launch { counters, kernel, launch, findings } => {
                    open.retain(|early| !findings.iter().any(|late| same(early, late) && early.launch == late.launch));
                    findings.into_iter().for_each(|finding| self.add_finding(finding));
                    self.add_launch(Launch { process: trace.process, launch, kernel, counters });
                }
                Record::Call { function, error, message } => self.add_call(function, error, message),
                // The reader of traces has taken these for itself.
                Record::Start { .. } | Record::End => {}
            }
        }
        open.into_iter().for_each(|finding| self.add_finding(finding));
    }

    fn add_finding(&mut self, finding: Finding) {
        match self.findings.iter_mut().find(|known| same(known, &finding)) {
            Some(known) => known.count += finding.count,
            None => self.findings.push(finding),
        }
    }

    fn add_launch(&mut self, launch: Launch) {
        let known = self.kernels.iter().position(|kernel| kernel.name == launch.kernel);
        let index = known.unwrap_or_else(|| {
            let name = launch.kernel.clone();
            self.kernels.push(Kernel { name, launches: 0, shapes: Vec::new(), totals: None });
            self.kernels.len() - 1
        });
        let kernel = &mut self.kernels[index];
        kernel.launches += 1;
        if let Some(counters) = &launch.counters {
            kernel.add_shape(counters);
            match &mut kernel.totals {
                Some(totals) => add_counters(totals, counters),
                None => kernel.totals = Some(counters.clone()),
            }
        }
        self.launches.push(launch);
    }

    fn add_call(&mut self, function: String, error: String, message: String) {
        let known = |call: &&mut Call| call.function == function && call.error == error && call.message == message;
        match self.calls.iter_mut().find(known) {
            Some(call) => call.count += 1,
            None => self.calls.push(Call { function, error, message, count: 1 }),
        }
    }
}

impl Kernel {
    fn add_shape(&mut self, counters: &counters::Launch) {
        let &counters::Launch { grid, block, dynamic_shared, .. } = counters;
        let known =
            |shape: &&mut Shape| (shape.grid, shape.block, shape.dynamic_shared) == (grid, block, dynamic_shared);
        match self.shapes.iter_mut().find(known) {
            Some(shape) => shape.launches += 1,
            None => self.shapes.push(Shape { grid, block, dynamic_shared, launches: 1 }),
        }
    }
}

/// Whether two findings are reported as one.
fn same(a: &Finding, b: &Finding) -> bool {
    let key = |f: &Finding| -> (Kind, u32) { (f.kind, f.line) };
    key(a) == key(b) && a.kernel == b.kernel && a.instruction == b.instruction
}

/// Adds a launch to the sums of its kernel; see [`Kernel::totals`].
fn add_counters(sums: &mut counters::Launch, one: &counters::Launch) {
    // Taken apart, so that a new field must be thought of here.
    let counters::Launch {
        kernel: _,
        launch: _,
        grid: _,
        block: _,
        registers,
        static_shared,
        dynamic_shared,
        local,
        resident_blocks,
        classes,
        in_loops,
        tensor_multiply_adds,
        global_loads,
        global_stores,
        local_traffic,
        distinct_sectors,
        distinct_sectors_read,
        distinct_sectors_written,
        shared_requests,
        shared_wavefronts,
        bank_conflicts,
        atomics,
        barriers,
        divergent_branches,
        async_bytes,
        async_in_flight,
        instructions,
    } = one;
    sums.registers = sums.registers.max(*registers);
    sums.static_shared = sums.static_shared.max(*static_shared);
    sums.dynamic_shared = sums.dynamic_shared.max(*dynamic_shared);
    sums.local = sums.local.max(*local);
    sums.resident_blocks = sums.resident_blocks.min(*resident_blocks);
    sums.async_in_flight = sums.async_in_flight.max(*async_in_flight);
    add_classes(&mut sums.classes, classes);
    add_classes(&mut sums.in_loops, in_loops);
    sums.tensor_multiply_adds += tensor_multiply_adds;
    sums.global_loads += *global_loads;
    sums.global_stores += *global_stores;
    sums.local_traffic += *local_traffic;
    sums.distinct_sectors += distinct_sectors;
    sums.distinct_sectors_read += distinct_sectors_read;
    sums.distinct_sectors_written += distinct_sectors_written;
    sums.shared_requests += shared_requests;
    sums.shared_wavefronts += shared_wavefronts;
    sums.bank_conflicts += bank_conflicts;
    sums.atomics[0] += atomics[0];
    sums.atomics[1] += atomics[1];
    sums.barriers += barriers;
    sums.divergent_branches += divergent_branches;
    sums.async_bytes += async_bytes;
    add_instructions(&mut sums.instructions, instructions);
}

fn add_classes(sums: &mut Vec<(Class, Issued)>, more: &[(Class, Issued)]) {
    for (class, issued) in more {
        match sums.iter_mut().find(|(known, _)| known == class) {
            Some((_, sum)) => *sum += *issued,
            None => sums.push((*class, *issued)),
        }
    }
    sums.sort_by_key(|(class, _)| *class);
}

fn add_instructions(sums: &mut Vec<counters::Instruction>, more: &[counters::Instruction]) {
    let places: BTreeMap<(u32, String), usize> =
        sums.iter().enumerate().map(|(place, sum)| ((sum.line, sum.opcode.clone()), place)).collect();
    for one in more {
        match places.get(&(one.line, one.opcode.clone())).and_then(|&place| sums.get_mut(place)) {
            Some(sum) => sum.site += one.site,
            None => sums.push(one.clone()),
        }
    }
    sums.sort_by_key(|sum| sum.line);
}
