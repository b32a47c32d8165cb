//! What a launch did, added up from what its threads counted.

use super::launch::{Launch, Worker};
use crate::counters::{self, Class, Issued, Site, Traffic};

/// Adds up what a launch did, and forgets which sectors it touched.
#[must_use]
pub fn summarise(launch: &Launch<'_>, workers: &[Worker], resident_blocks: u32) -> counters::Launch {
    let kernel = launch.kernel;
    let reached = kernel.instructions.start as usize..kernel.instructions.end as usize;
    let notes = launch.code.notes.get(reached).unwrap_or_default();
    let mut sites = vec![Site::default(); notes.len()];
    for worker in workers {
        for (sum, site) in sites.iter_mut().zip(&worker.sites) {
            *sum += *site;
        }
    }
    let mut result = counters::Launch {
        kernel: kernel.name.clone(),
        launch: launch.number,
        grid: launch.shape.grid,
        block: launch.shape.block,
        registers: kernel.registers,
        static_shared: kernel.static_shared,
        dynamic_shared: launch.shape.dynamic_shared,
        local: kernel.local,
        resident_blocks,
        classes: Vec::new(),
        in_loops: Vec::new(),
        tensor_multiply_adds: 0,
        global_loads: Traffic::default(),
        global_stores: Traffic::default(),
        local_traffic: Traffic::default(),
        distinct_sectors: 0,
        distinct_sectors_read: 0,
        distinct_sectors_written: 0,
        shared_requests: 0,
        shared_wavefronts: 0,
        bank_conflicts: 0,
        atomics: [0; 2],
        barriers: 0,
        divergent_branches: 0,
        async_bytes: 0,
        async_in_flight: 0,
        instructions: Vec::new(),
    };
    let mut classes = [Issued::default(); Class::ALL.len()];
    let mut in_loops = [Issued::default(); Class::ALL.len()];
    for (site, note) in sites.iter().zip(notes) {
        if site.warps == 0 {
            continue;
        }
        let issued = Issued { warps: site.warps, threads: site.threads };
        let class = note.facts.class as usize;
        classes[class] += issued;
        if note.in_loop {
            in_loops[class] += issued;
        }
        result.tensor_multiply_adds += site.threads / 32 * u64::from(note.facts.tensor_multiply_adds);
        result.shared_wavefronts += site.wavefronts;
        result.bank_conflicts += site.conflicts;
        result.divergent_branches += site.divergent;
        result.instructions.push(counters::Instruction {
            line: note.line,
            source: launch.code.source(note),
            opcode: note.opcode.clone(),
            site: *site,
        });
    }
    result.classes = listed(&classes);
    result.in_loops = listed(&in_loops);
    for worker in workers {
        result.global_loads += worker.traffic.loads;
        result.global_stores += worker.traffic.stores;
        result.local_traffic += worker.traffic.local;
        result.shared_requests += worker.traffic.shared;
        result.atomics[0] += worker.atomics[0];
        result.atomics[1] += worker.atomics[1];
        result.barriers += worker.barriers;
        result.async_bytes += worker.async_bytes;
        result.async_in_flight = result.async_in_flight.max(worker.async_in_flight);
    }
    distinct(launch, workers, &mut result);
    result
}

/// Counts the distinct sectors of all threads.
fn distinct(launch: &Launch<'_>, workers: &[Worker], result: &mut counters::Launch) {
    for (allocation, word) in workers.iter().flat_map(|worker| &worker.read) {
        let allocation = &launch.allocations[*allocation as usize];
        let (read, written) = (allocation.sectors_read.take(*word), allocation.sectors_written.peek(*word));
        result.distinct_sectors_read += u64::from(read.count_ones());
        result.distinct_sectors += u64::from((read & !written).count_ones());
    }
    for (allocation, word) in workers.iter().flat_map(|worker| &worker.written) {
        let written = launch.allocations[*allocation as usize].sectors_written.take(*word);
        result.distinct_sectors_written += u64::from(written.count_ones());
        result.distinct_sectors += u64::from(written.count_ones());
    }
}

fn listed(issued: &[Issued]) -> Vec<(Class, Issued)> {
    Class::ALL.into_iter().zip(issued.iter().copied()).filter(|(_, issued)| issued.warps > 0).collect()
}
