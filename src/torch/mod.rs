//! libtorch: what is loaded of it, and on which devices it can work.

pub mod libtorch;
