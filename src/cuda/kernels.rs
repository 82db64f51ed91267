//! The kernels' sources, the ways in which they are specialised, and the options that the compiler is given.
//!
//! A kernel is right for all values of its arguments. Macros (`-D`) pin arguments to constants, so that the compiler can
//! unroll loops and drop branches; a kernel with nothing but its element type pinned is *generic* and stands in for every
//! specialised one of the same file: same entry points, same arguments, same launch.
//!
//! The crate's build script compiles the generic kernels from these same definitions, so this file knows nothing of the
//! rest of the crate but the argument structs.

use std::fmt;

use super::plan::{AccumulateArgs, PreprocessArgs, SmoothArgs, StandardizeArgs, SuppressArgs};

/// One file of kernels/.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KernelFile {
    /// Upsampling, prediction and score.
    Standardize,
    /// Boundary suppression.
    Suppress,
    /// Smoothing.
    Smooth,
    /// Moments of max logits.
    Accumulate,
    /// A picture's bytes to a network's input.
    Preprocess,
}

/// Names and texts of the headers that kernels include.
pub const HEADERS: [(&str, &str); 4] = [
    ("common.cuh", include_str!("../../kernels/common.cuh")),
    ("pixel.cuh", include_str!("../../kernels/pixel.cuh")),
    ("sampling.cuh", include_str!("../../kernels/sampling.cuh")),
    ("upsample.cuh", include_str!("../../kernels/upsample.cuh")),
];

impl KernelFile {
    /// Every file.
    pub const ALL: [Self; 5] =
        [Self::Standardize, Self::Suppress, Self::Smooth, Self::Accumulate, Self::Preprocess];

    /// Its name without `.cu`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standardize => "standardize",
            Self::Suppress => "suppress",
            Self::Smooth => "smooth",
            Self::Accumulate => "accumulate",
            Self::Preprocess => "preprocess",
        }
    }

    /// Its text, CUDA C++. It includes [`HEADERS`] and nothing else.
    pub fn source(self) -> &'static str {
        match self {
            Self::Standardize => include_str!("../../kernels/standardize.cu"),
            Self::Suppress => include_str!("../../kernels/suppress.cu"),
            Self::Smooth => include_str!("../../kernels/smooth.cu"),
            Self::Accumulate => include_str!("../../kernels/accumulate.cu"),
            Self::Preprocess => include_str!("../../kernels/preprocess.cu"),
        }
    }

    /// Size in bytes of its argument struct, which the kernel checks against its own.
    pub fn argument_bytes(self) -> usize {
        match self {
            Self::Standardize => size_of::<StandardizeArgs>(),
            Self::Suppress => size_of::<SuppressArgs>(),
            Self::Smooth => size_of::<SmoothArgs>(),
            Self::Accumulate => size_of::<AccumulateArgs>(),
            Self::Preprocess => size_of::<PreprocessArgs>(),
        }
    }
}

/// A kernel file with constants pinned by `-D`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KernelVariant {
    /// The file.
    pub file: KernelFile,
    /// Macro names and values, in the order of the names.
    pub defines: Vec<(&'static str, i64)>,
}

/// The macro that says which element type `standardize` reads and `preprocess` writes: 0 float32, 1 float16, 2 bfloat16. The
/// only one that a generic variant keeps.
pub const ELEMENT: &str = "SML_ELEMENT";

impl KernelVariant {
    /// The variant that serves all values: only the element type stays pinned.
    #[must_use]
    pub fn generic(&self) -> Self {
        let defines = self.defines.iter().copied().filter(|(name, _)| *name == ELEMENT).collect();
        Self { file: self.file, defines }
    }

    /// Every generic variant there is: together they serve every engine.
    pub fn all_generic() -> Vec<Self> {
        let typed = [KernelFile::Standardize, KernelFile::Preprocess]
            .into_iter()
            .flat_map(|file| (0..3).map(move |element| Self { file, defines: vec![(ELEMENT, element)] }));
        let others = [KernelFile::Suppress, KernelFile::Smooth, KernelFile::Accumulate];
        typed.chain(others.map(|file| Self { file, defines: Vec::new() })).collect()
    }

    /// NVRTC's options. Multiplications and additions are not fused: the CPU engine does the same operations in the same
    /// order, and both give the same bits.
    pub fn options(&self, architecture: Architecture) -> Vec<String> {
        let mut options = vec![
            "--std=c++17".to_owned(),
            "--fmad=false".to_owned(),
            format!("--gpu-architecture={architecture}"),
            format!("-DSML_ARGUMENT_BYTES={}", self.file.argument_bytes()),
        ];
        options.extend(self.defines.iter().map(|(name, value)| format!("-D{name}={value}")));
        options
    }
}

impl fmt::Display for KernelVariant {
    /// `suppress`, or `standardize[SML_CLASSES=19 SML_ELEMENT=1]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file.name())?;
        for (i, (name, value)) in self.defines.iter().enumerate() {
            write!(f, "{}{name}={value}", if i == 0 { "[" } else { " " })?;
        }
        if self.defines.is_empty() { Ok(()) } else { f.write_str("]") }
    }
}

/// What the compiler makes code for. The number is ten times the major number of the compute capability plus the minor one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Architecture {
    /// A GPU: machine code, which runs on GPUs of the same major number and the same or a later minor one.
    Real(u32),
    /// The least that a GPU must be able to do: PTX, which a driver translates for any GPU of this or a later capability.
    /// The driver must be of the CUDA release that wrote the PTX, or later.
    Virtual(u32),
}

impl Architecture {
    /// Those that the build script compiles every generic variant for.
    ///
    /// Real ones cover GPUs from Turing to Blackwell, each exactly or by the same major number. PTX covers all others, and
    /// those to come. It is made for the least capable GPU that is supported: it then serves every one, and the kernels
    /// gain nothing from a later virtual architecture. Drivers translate PTX of their own CUDA release and older ones;
    /// whoever has a GPU that is newer than this list has a newer driver too.
    pub const EMBEDDED: [Self; 8] = [
        Self::Real(75),
        Self::Real(80),
        Self::Real(86),
        Self::Real(89),
        Self::Real(90),
        Self::Real(100),
        Self::Real(120),
        Self::Virtual(75),
    ];

    /// Of `available`, the best for a GPU, given as ten times the major number of its compute capability plus the minor
    /// one: its own or the nearest before it of the same major number; else the latest virtual one that it can do.
    pub fn best_of(available: impl IntoIterator<Item = Self>, gpu: u32) -> Option<Self> {
        let suits = |architecture: &Self| match *architecture {
            Self::Real(number) => number / 10 == gpu / 10 && number <= gpu,
            Self::Virtual(number) => number <= gpu,
        };
        // Any real one that suits is better than every virtual one.
        let rank = |architecture: &Self| match *architecture {
            Self::Real(number) => (1, number),
            Self::Virtual(number) => (0, number),
        };
        available.into_iter().filter(suits).max_by_key(rank)
    }
}

impl fmt::Display for Architecture {
    /// As compilers spell it: `sm_90`, `compute_75`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Real(number) => write!(f, "sm_{number}"),
            Self::Virtual(number) => write!(f, "compute_{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specialised() -> KernelVariant {
        KernelVariant { file: KernelFile::Standardize, defines: vec![("SML_CLASSES", 19), (ELEMENT, 1)] }
    }

    #[test]
    fn only_the_element_type_stays_in_a_generic_variant() {
        let generic = specialised().generic();
        assert_eq!(generic.defines, [(ELEMENT, 1)]);
        assert!(KernelVariant::all_generic().contains(&generic));
        assert!(KernelVariant::all_generic().iter().all(|variant| variant.generic() == *variant));
    }

    #[test]
    fn names_and_options_are_those_of_compilers() {
        assert_eq!(specialised().to_string(), "standardize[SML_CLASSES=19 SML_ELEMENT=1]");
        let smooth = KernelVariant { file: KernelFile::Smooth, defines: vec![] };
        assert_eq!(smooth.to_string(), "smooth");
        let options = specialised().options(Architecture::Real(90));
        for option in ["--gpu-architecture=sm_90", "-DSML_CLASSES=19", "-DSML_ELEMENT=1", "--fmad=false"] {
            assert!(options.iter().any(|given| given == option), "{options:?}");
        }
    }

    #[test]
    fn the_best_architecture_is_the_nearest_of_the_same_major_number() {
        let best = |gpu| Architecture::best_of(Architecture::EMBEDDED, gpu).map(|found| found.to_string());
        for (gpu, expected) in [
            (75, "sm_75"),
            (86, "sm_86"),
            (87, "sm_86"),
            (90, "sm_90"),
            (103, "sm_100"),
            (110, "compute_75"),
            (121, "sm_120"),
            (130, "compute_75"),
        ] {
            assert_eq!(best(gpu).as_deref(), Some(expected), "{gpu}");
        }
        assert_eq!(best(70), None);
    }
}
