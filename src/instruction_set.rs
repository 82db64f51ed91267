//! Which vectors of the processor the CPU engine computes with.
//!
//! An engine takes the widest ones of the processor at hand. The environment variable `SML_ISA` names others: for tests, which run
//! on every one of them, and for finding out what they are worth. Results do not depend on it, to the last bit.

use std::fmt;

use crate::{Error, Result};

/// The environment variable that chooses one.
const VARIABLE: &str = "SML_ISA";

/// Vector instructions that the stages are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// What every processor of the architecture has: 128-bit vectors on x86-64.
    Scalar,
    /// AVX2 with its companions (x86-64-v3): 256-bit vectors.
    Avx2,
    /// AVX-512 with its companions (x86-64-v4): 512-bit vectors.
    Avx512,
    /// 128-bit vectors of 64-bit Arm.
    Neon,
}

impl InstructionSet {
    const ALL: [Self; 4] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Neon];

    /// Those that this processor has, the widest last.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|set| set.arch().is_some())
    }

    /// The one that an engine built now would use: named by `SML_ISA`, or else the widest.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] when `SML_ISA` names none, or one that this processor lacks.
    pub fn chosen() -> Result<Self> {
        match std::env::var_os(VARIABLE) {
            None => Ok(Self::available().last().unwrap_or(Self::Scalar)),
            Some(name) => {
                Self::available().find(|set| set.name() == name).ok_or_else(|| Error::InvalidParameter {
                    field: VARIABLE,
                    given: format!("{name:?}"),
                    expected: "scalar, avx2, avx512 or neon, if this processor has it, or no such variable",
                })
            }
        }
    }

    /// Name, as `SML_ISA` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }

    /// How code is dispatched to it; `None` where the processor lacks it.
    pub(crate) fn arch(self) -> Option<pulp::Arch> {
        match self {
            Self::Scalar => Some(pulp::Arch::Scalar),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => pulp::x86::V3::try_new().map(pulp::Arch::V3),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::try_new().map(pulp::Arch::V4),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().map(pulp::Arch::Neon),
            #[allow(unreachable_patterns, reason = "each architecture has its own rest")]
            _ => None,
        }
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
