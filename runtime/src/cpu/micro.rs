//! Micro-kernels: the innermost loops, one instance for each instruction set that is known.
//!
//! They are written once, over any vector (`micro/vector.rs`), and compiled for each set of instructions; [`Micro`] is one of these instances,
//! chosen when a model is made. Two loops carry all the arithmetic: [`Micro::product`] multiplies a few rows by a panel of a
//! packed kernel, with all sums in registers, and [`Micro::depthwise`] adds up the taps of a few positions.
//!
//! Rows are read where they stand, through one pointer for each row and tap: there is neither an unfolded input nor a packed
//! left side. A panel is read from its first element to its last.

#![expect(unsafe_code, reason = "registers, and rows that are no slices of one array")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
mod vector;

use crate::program::{Activation, PANEL};

use super::activation::activate;

/// Most rows of a call: with the two vectors of a panel, their sums fill the registers.
pub(super) const ROWS: usize = 12;

/// Lanes that vector loops take at least, whatever their instructions: a panel is a number of these.
const STEP: usize = 8;

/// Values of a line of the cache.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 16;

/// Where the rows of a call start, at one tap. Those beyond the last are not read.
pub(super) type Rows = [*const f32; ROWS];

/// The sets of instructions that there are micro-kernels for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// Those that every processor of the target has; the second method that tests compare with.
    Portable,
    /// AVX2 and FMA: vectors of 8.
    Avx2,
    /// AVX-512F: vectors of 16.
    Avx512,
}

impl Instructions {
    /// All of them, the plainest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// The best that this processor can execute.
    #[must_use]
    pub fn best() -> Self {
        Self::ALL.into_iter().rfind(|set| set.is_available()).unwrap_or(Self::Portable)
    }

    /// Whether this processor can execute them.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => std::arch::is_x86_feature_detected!("avx512f") && Self::Avx2.is_available(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// As it is written in options and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// What is done to sums before they are stored; pointers are to the first lane of the panel, and null where there is nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finish {
    /// A factor for each lane.
    pub(super) scale: *const f32,
    /// A term for each lane.
    pub(super) shift: *const f32,
    /// A term for each element, laid out as the output.
    pub(super) add: *const f32,
    /// Applied last.
    pub(super) activation: Activation,
    /// A sum for each lane, to which the finished values of all rows are added.
    pub(super) sums: *mut f32,
}

impl Finish {
    /// Nothing but storing.
    pub(super) const NONE: Self = Self {
        scale: std::ptr::null(),
        shift: std::ptr::null(),
        add: std::ptr::null(),
        activation: Activation::Identity,
        sums: std::ptr::null_mut(),
    };

    /// Largest and smallest value, for activations that are no more than that.
    const fn bounds(&self) -> Option<(f32, f32)> {
        match self.activation {
            Activation::Relu => Some((0.0, f32::INFINITY)),
            Activation::Relu6 => Some((0.0, 6.0)),
            Activation::Identity
            | Activation::Gelu
            | Activation::Silu
            | Activation::HardSwish
            | Activation::Sigmoid => None,
        }
    }

    /// Whether the vector loops know the activation.
    const fn is_simple(&self) -> bool {
        matches!(self.activation, Activation::Identity | Activation::Relu | Activation::Relu6)
    }

    /// The same, with the activation and what follows it left out.
    const fn linear(&self) -> Self {
        Self { activation: Activation::Identity, sums: std::ptr::null_mut(), ..*self }
    }
}

/// A constant part of each row: the row's value after its last, times these.
#[derive(Debug, Clone, Copy)]
pub(super) struct Constants<'a> {
    /// Where each row's constants start; `width` of them for each repetition.
    pub(super) rows: &'a Rows,
    /// Elements from one repetition's constants to the next.
    pub(super) step: usize,
}

/// A few rows times a panel: `output[offsets[r] + lane] = finish(sum over taps and k of rows[tap][r][k] * panel[tap, k, lane])`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product<'a> {
    /// Where the rows start, for each tap.
    pub(super) rows: &'a [Rows],
    /// How many rows, 1 to [`ROWS`].
    pub(super) count: usize,
    /// Values of a row at each tap.
    pub(super) length: usize,
    /// `[taps, length, width]`
    pub(super) panel: *const f32,
    /// Lanes of a panel, [`PANEL`] or half of it.
    pub(super) width: usize,
    /// Panels that follow each other, whose results stand side by side, `width` apart. More than one have all lanes, and no
    /// activation but a rectifier.
    pub(super) repeat: usize,
    /// Lanes that are stored: `width`, or fewer where there is one panel.
    pub(super) lanes: usize,
    /// Where results go.
    pub(super) output: *mut f32,
    /// Where each row's results start from there.
    pub(super) offsets: &'a [usize; ROWS],
    /// What is added to each row for a start.
    pub(super) constants: Option<Constants<'a>>,
    /// What is done to the sums.
    pub(super) finish: Finish,
}

/// Where the values of positions are that a kernel's taps see.
#[derive(Debug, Clone, Copy)]
pub(super) enum Taps<'a> {
    /// Pointed to for each tap: some may be in the padding.
    Apart(&'a [Rows]),
    /// So many elements after the first tap's: all are in the input.
    Steps(&'a Rows, &'a [usize]),
}

impl Taps<'_> {
    /// How many taps.
    const fn count(&self) -> usize {
        match self {
            Self::Apart(rows) => rows.len(),
            Self::Steps(_, steps) => steps.len(),
        }
    }

    /// Where a row's value at a tap is.
    fn at(&self, tap: usize, row: usize) -> *const f32 {
        match self {
            Self::Apart(rows) => rows[tap][row],
            Self::Steps(rows, steps) => rows[row].wrapping_add(steps[tap]),
        }
    }
}

/// The taps of a few positions, for lanes that are channels:
/// `output[offsets[r] + lane] = finish(sum over taps of row r at the tap[lane] * kernel[tap, lane])`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Depthwise<'a> {
    /// Where the positions' values are.
    pub(super) taps: Taps<'a>,
    /// Elements to add to all of their places.
    pub(super) shift: usize,
    /// How many rows, 1 to [`ROWS`].
    pub(super) count: usize,
    /// `[taps, width]`
    pub(super) kernel: *const f32,
    /// Lanes from one tap to the next.
    pub(super) width: usize,
    /// Lanes that are computed, at most `width`.
    pub(super) lanes: usize,
    /// Where results go.
    pub(super) output: *mut f32,
    /// Where each row's results start from there.
    pub(super) offsets: &'a [usize; ROWS],
    /// What is done to the sums.
    pub(super) finish: Finish,
}

/// The micro-kernels of one instruction set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Micro {
    set: Instructions,
}

impl Micro {
    /// Those of a set; `None` if this processor can't execute it.
    pub(super) fn new(set: Instructions) -> Option<Self> {
        set.is_available().then_some(Self { set })
    }

    /// Which set.
    pub(super) const fn instructions(self) -> Instructions {
        self.set
    }

    /// Does a product.
    ///
    /// # Safety
    ///
    /// Rows up to `count` can be read at every tap for `length` values (and one more with constants), the panels as their
    /// sizes say; the results' places (`lanes` at each offset, for each repetition) can be read and
    /// written and are this call's alone; `finish` and `constants` can be read (and its sums written) for as many lanes.
    pub(super) unsafe fn product(self, call: &Product<'_>) {
        debug_assert!(call.repeat == 1 || (call.lanes == call.width && call.finish.is_simple()), "{call:?}");
        let whole = call.lanes / STEP * STEP;
        let part = Product { lanes: whole, ..*call };
        if whole > 0 && call.finish.is_simple() {
            // SAFETY: the caller's promise, for a part of the lanes.
            unsafe { self.vector_product(&part) };
        } else if whole > 0 {
            // SAFETY: the same with less to do at its end, and then the results that it has written.
            unsafe {
                self.vector_product(&Product { finish: call.finish.linear(), ..part });
                activate_rows(&call.finish, call.output, &call.offsets[..call.count], whole);
            }
        }
        if whole == call.lanes {
            return;
        }
        // A block may end within a step: these results take a detour, all lanes of the step that the panel has.
        let mut results = [0.0_f32; ROWS * STEP];
        let offsets: [usize; ROWS] = std::array::from_fn(|row| row * STEP);
        let rest = Product {
            panel: call.panel.wrapping_add(whole),
            lanes: STEP,
            output: results.as_mut_ptr(),
            offsets: &offsets,
            finish: Finish::NONE,
            ..*call
        };
        // SAFETY: reads are the caller's promise, for a panel is a number of whole steps; the results go to an array with a step
        // for each row.
        unsafe { self.vector_product(&rest) };
        let finish = call.finish.at(whole);
        for (sums, offset) in results.chunks_exact(STEP).zip(&call.offsets[..call.count]) {
            // SAFETY: the rest of the results at this offset, and as many lanes of what `finish` points to.
            unsafe { finish_row(&finish, &sums[..call.lanes - whole], call.output.add(whole), *offset) };
        }
    }

    /// Does a depthwise product.
    ///
    /// # Safety
    ///
    /// As [`Self::product`]: `lanes` values can be read at every tap of rows up to `count` and of the kernel, the results'
    /// places are this call's alone, and `finish` can be read for as many lanes.
    pub(super) unsafe fn depthwise(self, call: &Depthwise<'_>) {
        let whole = call.lanes / STEP * STEP;
        if whole > 0 {
            let part = Depthwise { lanes: whole, ..*call };
            if call.finish.is_simple() {
                // SAFETY: the caller's promise, for a part of the lanes.
                unsafe { self.vector_depthwise(&part) };
            } else {
                // SAFETY: the same with less to do at its end, and then the results that it has written.
                unsafe {
                    self.vector_depthwise(&Depthwise { finish: call.finish.linear(), ..part });
                    activate_rows(&call.finish, call.output, &call.offsets[..call.count], whole);
                }
            }
        }
        for lane in whole..call.lanes {
            for (row, offset) in call.offsets[..call.count].iter().enumerate() {
                let mut sum = 0.0;
                for tap in 0..call.taps.count() {
                    let value = call.taps.at(tap, row);
                    // SAFETY: `lane` is one of the call's.
                    sum += unsafe { *value.add(call.shift + lane) * *call.kernel.add(tap * call.width + lane) };
                }
                let finish = call.finish.at(lane);
                // SAFETY: one lane of the results, and of what `finish` points to.
                unsafe { finish_row(&finish, &[sum], call.output.add(lane), *offset) };
            }
        }
    }

    /// # Safety
    ///
    /// As [`Self::product`], with whole steps of lanes and a simple activation.
    unsafe fn vector_product(self, call: &Product<'_>) {
        match self.set {
            // SAFETY: the caller's promise.
            Instructions::Portable => unsafe { portable::product(call) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: also, a `Micro` of these instructions exists only where they can be executed.
            Instructions::Avx2 => unsafe { avx2::product(call) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Instructions::Avx512 => unsafe { avx512::product(call) },
            #[cfg(not(target_arch = "x86_64"))]
            // SAFETY: as above; there is no `Micro` of these.
            Instructions::Avx2 | Instructions::Avx512 => unsafe { portable::product(call) },
        }
    }

    /// # Safety
    ///
    /// As [`Self::depthwise`], with whole steps of lanes and a simple activation.
    unsafe fn vector_depthwise(self, call: &Depthwise<'_>) {
        match self.set {
            // SAFETY: the caller's promise.
            Instructions::Portable => unsafe { portable::depthwise(call) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: also, a `Micro` of these instructions exists only where they can be executed.
            Instructions::Avx2 => unsafe { avx2::depthwise(call) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Instructions::Avx512 => unsafe { avx512::depthwise(call) },
            #[cfg(not(target_arch = "x86_64"))]
            // SAFETY: as above; there is no `Micro` of these.
            Instructions::Avx2 | Instructions::Avx512 => unsafe { portable::depthwise(call) },
        }
    }
}

impl Finish {
    /// The same from another lane on.
    pub(super) fn at(&self, lane: usize) -> Self {
        let from = |start: *const f32| if start.is_null() { start } else { start.wrapping_add(lane) };
        Self {
            scale: from(self.scale),
            shift: from(self.shift),
            add: from(self.add),
            activation: self.activation,
            sums: if self.sums.is_null() { self.sums } else { self.sums.wrapping_add(lane) },
        }
    }
}

/// Has values brought into the second-level cache while other work goes on.
pub(super) fn prefetch(values: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in values.chunks(LINE) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a hint, with an address that can be read.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// Finishes the sums of one row, and stores them.
///
/// # Safety
///
/// `output` can be written at `offset` for as many values as `sums` has, and nothing else touches them; `finish` can be read
/// (and its sums written) for as many lanes.
unsafe fn finish_row(finish: &Finish, sums: &[f32], output: *mut f32, offset: usize) {
    let mut values = [0.0; PANEL];
    let values = &mut values[..sums.len()];
    values.copy_from_slice(sums);
    for (lane, value) in values.iter_mut().enumerate() {
        // SAFETY: `lane` is below the number of sums, which the caller vouches for.
        unsafe {
            if !finish.scale.is_null() {
                *value *= *finish.scale.add(lane);
            }
            if !finish.shift.is_null() {
                *value += *finish.shift.add(lane);
            }
            if !finish.add.is_null() {
                *value += *finish.add.add(offset + lane);
            }
        }
    }
    // SAFETY: the caller's promise.
    let output = unsafe { std::slice::from_raw_parts_mut(output.add(offset), values.len()) };
    activate(finish.activation, values, output);
    // SAFETY: as many lanes of the sums, if there are any, as there are results.
    unsafe { add_to_sums(finish, output) };
}

/// Applies an activation to rows of results that stand in their places, and adds them to the sums.
///
/// # Safety
///
/// `output` can be read and written at every offset for `lanes` values, and nothing else touches them; so can the sums, if there
/// are any.
unsafe fn activate_rows(finish: &Finish, output: *mut f32, offsets: &[usize], lanes: usize) {
    for &offset in offsets {
        // SAFETY: the caller's promise; rows are apart.
        let output = unsafe { std::slice::from_raw_parts_mut(output.add(offset), lanes) };
        for output in output.chunks_mut(PANEL) {
            let mut values = [0.0; PANEL];
            let values = &mut values[..output.len()];
            values.copy_from_slice(output);
            activate(finish.activation, values, output);
        }
        // SAFETY: as many lanes as there are results.
        unsafe { add_to_sums(finish, output) };
    }
}

/// Adds a row of results to the sums, if there are any.
///
/// # Safety
///
/// The sums are null, or can be read and written for as many lanes, by nothing else at the same time.
unsafe fn add_to_sums(finish: &Finish, row: &[f32]) {
    if finish.sums.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    let sums = unsafe { std::slice::from_raw_parts_mut(finish.sums, row.len()) };
    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
}
