//! What `cuDeviceGetAttribute` answers.
//!
//! Limits are those of the part. Capabilities say what the stand-in does: a program that asks whether memory of the
//! host can be mapped or managed is told no, though the part could, so that it takes its other path.

use super::device::{self, Architecture};

/// The value of a `CUdevice_attribute`, or nothing for a number that CUDA 13 gives no meaning.
#[must_use]
pub fn attribute(architecture: Architecture, number: i32) -> Option<i32> {
    let part = architecture.part();
    let value = match number {
        1 => device::THREADS_PER_BLOCK,
        2 => device::BLOCK[0],
        3 => device::BLOCK[1],
        4 => device::BLOCK[2],
        5 => device::GRID[0],
        6 => device::GRID[1],
        7 => device::GRID[2],
        8 => device::SHARED_PER_BLOCK,
        9 => device::CONSTANT,
        10 => device::WARP,
        // Pitch of copies.
        11 => 0x7fff_ffff,
        // Of a block, of a multiprocessor.
        12 | 82 => device::REGISTERS,
        13 => part.clock,
        // Alignment of textures and surfaces.
        14 | 30 => 512,
        16 => part.multiprocessors,
        // Sizes of textures and surfaces.
        21..=29 | 42..=49 | 52..=74 | 77 => texture(number),
        36 => part.memory_clock,
        37 => part.memory_bus,
        38 => part.l2,
        39 => part.threads_per_multiprocessor,
        40 => part.copy_engines,
        // Pitch alignment of textures.
        51 => 32,
        75 => part.capability.0,
        76 => part.capability.1,
        81 => part.shared_per_multiprocessor,
        87 => part.single_to_double,
        97 => part.shared_per_block_optin,
        106 => part.blocks_per_multiprocessor,
        111 => device::SHARED_RESERVED,
        // Clusters; those of more than one block are refused at the launch.
        120 => u32::from(part.capability.0 >= 9),
        // NUMA nodes of the device and of the host: unknown.
        131 | 134 => return Some(-1),
        _ if is_offered(number) => 1,
        _ if is_absent(number) => 0,
        _ => return None,
    };
    // All of the values above are below 2^31.
    i32::try_from(value).ok()
}

/// Attributes that are 1: copies and kernels overlap (15), concurrent kernels (31), error correction (32), the number
/// of the PCI bus (33), one address space (41), stream priorities (78), an L1 cache for global (79) and for local
/// memory (80), preemption (90), cooperative launches (95), memory pools (115), one domain of memory order (126).
fn is_offered(number: i32) -> bool {
    matches!(number, 15 | 31 | 32 | 33 | 41 | 78 | 79 | 80 | 90 | 95 | 115 | 126)
}

/// Attributes that are 0.
fn is_absent(number: i32) -> bool {
    matches!(
        number,
        // A watchdog, integrated, mapped host memory, compute mode (shared by all).
        17..=20
        // Device and domain on the PCI bus, TCC.
        | 34 | 35 | 50
        // Managed memory, boards of several GPUs, host atomics, pageable and managed access, registered host memory,
        // stream memory operations.
        | 83..=86 | 88 | 89 | 91..=94
        // Cooperative launches on several devices, remote writes, host registration, virtual memory management,
        // shareable handles.
        | 96 | 98..=105
        // Compression, persisting L2, access windows, RDMA, sparse arrays, interoperation.
        | 107..=110 | 112..=114 | 116..=119 | 121..=125
        // Tensor maps, fabric, function pointers, NUMA, multicast, MPS, and what came with CUDA 12.8 and 13.
        | 127..=130 | 132 | 133 | 135..=158 | 161
    )
}

/// The size limits of textures and surfaces of compute capability 8.0 to 9.0, which no instruction that the interpreter
/// knows makes use of.
fn texture(number: i32) -> u32 {
    match number {
        21 | 22 | 56 | 70 => 131_072,
        23 | 57 | 71 => 65_536,
        72 => 2_097_120,
        24..=26 | 47..=49 | 58..=60 => 16_384,
        27 | 28 | 42 | 45 | 46 | 52 | 53 | 55 | 61 | 63 | 64 | 66 | 67 | 73 | 74 | 77 => 32_768,
        29 | 43 | 62 | 65 => 2048,
        44 => 1,
        54 | 68 => 2046,
        69 => 1 << 28,
        _ => 0,
    }
}
