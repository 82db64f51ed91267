//! Small faults planted into copies of the kernels: each one must be caught.

use crate::kernel_harness::Source;

/// One change to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// The kernel file that is compiled with it, without `.cu`.
    pub kernel: &'static str,
    /// The file that is changed: that one or a header.
    pub file: String,
    /// What stands there, once in all or at this place.
    pub from: String,
    pub at: usize,
    /// What stands there instead.
    pub to: String,
}

impl Mutation {
    /// Changes the source of its kernel, and of no other.
    pub fn apply(&self, source: &mut Source) {
        if source.name == self.kernel {
            let text = source.files.get_mut(&self.file).unwrap();
            text.replace_range(self.at..self.at + self.from.len(), &self.to);
        }
    }
}
