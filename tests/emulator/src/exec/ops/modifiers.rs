//! The modifiers of floating-point instructions.

use super::exact::Rounding;

/// Modifiers beside the rounding; a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u16);

impl Flags {
    /// No modifier.
    pub const NONE: Self = Self(0);
    /// `.ftz`: subnormal f32 (or f16) operands and results become zeros of their sign.
    pub const FTZ: Self = Self(1);
    /// `.sat`: results are clamped to 0 and 1; NaN becomes 0.
    pub const SAT: Self = Self(2);
    /// `.relu`: negative results become 0.
    pub const RELU: Self = Self(4);
    /// `.NaN`: the result is NaN if an operand is.
    pub const NAN: Self = Self(8);
    /// `.xorsign.abs`: of the magnitudes, with the product of the signs.
    pub const XORSIGN_ABS: Self = Self(16);
    /// `.approx`
    pub const APPROX: Self = Self(32);
    /// `.full`
    pub const FULL: Self = Self(64);
    /// `.satfinite`: the largest finite number instead of infinity.
    pub const SATFINITE: Self = Self(128);

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are here.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Its bits, to be kept in an instruction.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The set with these bits.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

/// The modifiers of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modifiers {
    /// Its rounding, if it names one.
    pub rounding: Option<Rounding>,
    /// The others.
    pub flags: Flags,
}

impl Modifiers {
    /// Reads the parts of an opcode between its name and its types; `None` if one of them isn't known, or is there
    /// twice.
    #[must_use]
    pub fn read(parts: &[&str]) -> Option<Self> {
        let mut modifiers = Self::default();
        let mut parts = parts.iter();
        while let Some(part) = parts.next() {
            let flag = match *part {
                "ftz" => Flags::FTZ,
                "sat" => Flags::SAT,
                "relu" => Flags::RELU,
                "NaN" => Flags::NAN,
                "xorsign" if parts.next() == Some(&"abs") => Flags::XORSIGN_ABS,
                "approx" => Flags::APPROX,
                "full" => Flags::FULL,
                "satfinite" => Flags::SATFINITE,
                other => {
                    let rounding = Rounding::from_modifier(other)?;
                    if modifiers.rounding.replace(rounding).is_some() {
                        return None;
                    }
                    continue;
                }
            };
            if modifiers.flags.has(flag) {
                return None;
            }
            modifiers.flags = modifiers.flags.and(flag);
        }
        Some(modifiers)
    }

    /// Whether there are no others than these.
    #[must_use]
    pub fn only(self, flags: Flags) -> bool {
        flags.has(self.flags)
    }
}
