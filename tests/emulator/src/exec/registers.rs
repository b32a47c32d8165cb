//! The registers of a warp: rows of 32 values, one for each lane.
//!
//! A device function's registers are a window on top of its caller's, so that recursion needs nothing special. A row
//! is addressed by its *slot*, its place in the window of the running function. Constants and special registers that a
//! function uses are rows of its window as well, filled in when the window is made.

use super::instruction::NEGATED;
use super::lanes::LANES;

/// A row: one value for each lane, aligned for vector instructions.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub struct Row<T>(pub [T; LANES]);

/// How many rows of each width a window has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// 16-bit rows.
    pub b16: u32,
    /// 32-bit rows.
    pub b32: u32,
    /// 64-bit rows.
    pub b64: u32,
    /// Predicates.
    pub predicates: u32,
}

/// The most that the window of a function may take for a warp, bytes: enough for 250000 registers.
pub const WINDOW_LIMIT: u64 = 32 << 20;

impl Sizes {
    /// Bytes that they take in all.
    #[must_use]
    pub fn bytes(self) -> u64 {
        let bytes = 2 * u64::from(self.b16) + 4 * u64::from(self.b32) + 8 * u64::from(self.b64);
        LANES as u64 * bytes + 4 * u64::from(self.predicates)
    }
}

/// The rows of one width.
#[derive(Debug, Default)]
pub struct File<T> {
    rows: Vec<Row<T>>,
    base: usize,
}

impl<T: Copy + Default> File<T> {
    /// The row of a slot.
    #[inline(always)]
    #[must_use]
    pub fn row(&self, slot: u32) -> &[T; LANES] {
        &self.rows[self.base + slot as usize].0
    }

    /// The row of a slot, to write.
    #[inline(always)]
    pub fn row_mut(&mut self, slot: u32) -> &mut [T; LANES] {
        &mut self.rows[self.base + slot as usize].0
    }

    fn push(&mut self, base: usize, rows: u32) {
        self.base = base;
        let len = base + rows as usize;
        if self.rows.len() < len {
            self.rows.resize(len, Row([T::default(); LANES]));
        }
        self.rows[base..len].fill(Row([T::default(); LANES]));
    }
}

/// All registers of a warp.
#[derive(Debug, Default)]
pub struct Registers {
    /// 16-bit registers.
    pub b16: File<u16>,
    /// 32-bit registers.
    pub b32: File<u32>,
    /// 64-bit registers.
    pub b64: File<u64>,
    predicates: Vec<u32>,
    predicate_base: usize,
    window: Sizes,
}

/// Where a caller's window was.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    bases: [usize; 4],
    sizes: Sizes,
}

impl Registers {
    /// A predicate: bit `l` is lane `l`'s.
    #[inline(always)]
    #[must_use]
    pub fn predicate(&self, slot: u32) -> u32 {
        self.predicates[self.predicate_base + slot as usize]
    }

    /// A predicate as an operand: inverted if the slot has [`NEGATED`].
    #[inline(always)]
    #[must_use]
    pub fn operand(&self, slot: u32) -> u32 {
        let mask = self.predicate(slot & !NEGATED);
        if slot & NEGATED == 0 { mask } else { !mask }
    }

    /// Sets the lanes of `mask` of a predicate.
    #[inline(always)]
    pub fn set_predicate(&mut self, slot: u32, mask: u32, value: u32) {
        let word = &mut self.predicates[self.predicate_base + slot as usize];
        *word = (*word & !mask) | (value & mask);
    }

    /// Opens a window of zeros above the present one, and gives what [`pop`](Self::pop) needs to come back.
    pub fn push(&mut self, sizes: Sizes) -> Window {
        let caller =
            Window { bases: [self.b16.base, self.b32.base, self.b64.base, self.predicate_base], sizes: self.window };
        let above = self.window;
        self.open(
            [
                self.b16.base + above.b16 as usize,
                self.b32.base + above.b32 as usize,
                self.b64.base + above.b64 as usize,
                self.predicate_base + above.predicates as usize,
            ],
            sizes,
        );
        caller
    }

    /// Bytes that all windows take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let (b16, b32, b64) = (self.b16.base as u64, self.b32.base as u64, self.b64.base as u64);
        LANES as u64 * (2 * b16 + 4 * b32 + 8 * b64) + 4 * self.predicate_base as u64 + self.window.bytes()
    }

    /// Makes the window of a kernel, with nothing below it.
    pub fn start(&mut self, sizes: Sizes) {
        self.open([0; 4], sizes);
    }

    /// Closes the present window.
    pub fn pop(&mut self, caller: Window) {
        [self.b16.base, self.b32.base, self.b64.base, self.predicate_base] = caller.bases;
        self.window = caller.sizes;
    }

    fn open(&mut self, [b16, b32, b64, predicates]: [usize; 4], sizes: Sizes) {
        self.b16.push(b16, sizes.b16);
        self.b32.push(b32, sizes.b32);
        self.b64.push(b64, sizes.b64);
        self.predicate_base = predicates;
        let len = predicates + sizes.predicates as usize;
        if self.predicates.len() < len {
            self.predicates.resize(len, 0);
        }
        self.predicates[predicates..len].fill(0);
        self.window = sizes;
    }
}
