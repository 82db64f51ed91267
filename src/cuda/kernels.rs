//! The kernels' sources and the ways in which they are specialised.

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
}

/// A kernel file with constants pinned by `-D`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KernelVariant {
    /// The file.
    pub file: KernelFile,
    /// Macro names and values, in the order of the names.
    pub defines: Vec<(&'static str, i64)>,
}

impl KernelVariant {
    /// The variant that serves all values: only the element type stays pinned.
    #[must_use]
    pub fn generic(&self) -> Self {
        let defines = self.defines.iter().copied().filter(|(name, _)| *name == "SML_ELEMENT").collect();
        Self { file: self.file, defines }
    }
}
