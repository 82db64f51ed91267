//! The kernels of an engine, compiled and loaded.
//!
//! A kernel from the cache folder may be one that the driver refuses: cut short by a full disk, or altered. It is then
//! removed and made once more.
#![allow(unsafe_code)]

use std::sync::Arc;

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::{CUfunction, CUresult, CUstream};

use super::compiled_kernels::{CompiledKernel, Origin, compile_all, cubin, discard};
use super::context::Context;
use super::driver_error::{describe, is_about_the_image};
use super::kernels::{KernelFile, KernelVariant};
use super::module::{self, Module};
use super::nvrtc;
use super::plan::Launch;
use super::queue::{Failure, Step};
use crate::{Error, Result};

/// Modules in the order of the plan's variants.
pub(super) struct KernelSet {
    modules: Vec<(KernelFile, Module)>,
    notes: Vec<String>,
}

impl KernelSet {
    /// Compiles and loads. `shared_bytes` tells the most dynamic shared memory that a launch of a variant takes.
    ///
    /// # Errors
    /// [`Error::Cuda`] for a kernel that no source has for this GPU, or that the driver refuses.
    pub fn load(
        context: &Arc<Context>,
        variants: &[KernelVariant],
        shared_bytes: impl Fn(usize) -> u32,
    ) -> Result<Self> {
        let compiled = compile_all(variants, context.gpu().compute_capability)?;
        let mut set = Self { modules: Vec::with_capacity(variants.len()), notes: Vec::new() };
        for (slot, (variant, kernel)) in variants.iter().zip(compiled).enumerate() {
            let module = set.load_one(context, variant, kernel)?;
            module.allow_shared_memory(shared_bytes(slot))?;
            set.modules.push((variant.file, module));
        }
        Ok(set)
    }

    fn load_one(
        &mut self,
        context: &Arc<Context>,
        variant: &KernelVariant,
        mut kernel: CompiledKernel,
    ) -> Result<Module> {
        let mut loaded = Module::load(context, &kernel.bytes);
        if kernel.origin == Origin::Cached && loaded.as_ref().is_err_and(|&error| is_about_the_image(error)) {
            let gpu = context.gpu().compute_capability;
            discard(variant, gpu);
            kernel = cubin(variant, gpu)?;
            loaded = Module::load(context, &kernel.bytes);
        }
        for note in kernel.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        loaded.map_err(|error| load_error(context, variant, kernel.origin, error))
    }

    /// The kernel that a launch names.
    pub fn function(&self, launch: &Launch) -> Result<CUfunction, Failure> {
        let module = self.modules.get(launch.slot);
        let missing = (Step::Find(launch.entry), DriverError(CUresult::CUDA_ERROR_NOT_FOUND));
        module.and_then(|(_, module)| module.function(launch.entry)).ok_or(missing)
    }

    /// Gives one launch to a stream.
    ///
    /// # Safety
    /// The launch is of the plan that these kernels were loaded for. What its arguments point at stays valid until the
    /// kernel is complete. The stream is alive, and its context, which is the kernels' too, is bound.
    pub unsafe fn give(&self, launch: &Launch, stream: CUstream) -> Result<(), Failure> {
        let function = self.function(launch)?;
        // SAFETY: the function is the one that the plan made the launch for; the rest is the caller's duty.
        unsafe { module::launch(function, launch, stream) }
            .map_err(|error| (Step::Launch(launch.entry), error))
    }

    /// The stage that a launch belongs to.
    pub fn stage(&self, launch: &Launch) -> Option<KernelFile> {
        self.modules.get(launch.slot).map(|(file, _)| *file)
    }

    /// What a person should know about how the kernels were come by, one line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

fn load_error(context: &Context, variant: &KernelVariant, origin: Origin, error: DriverError) -> Error {
    let gpu = context.gpu();
    let remedy = match origin {
        _ if !is_about_the_image(error) => String::new(),
        Origin::Embedded => format!("; have it compiled for this GPU: {}", nvrtc::REMEDY),
        Origin::Cached | Origin::Compiled => {
            "; update the NVIDIA driver, or set SML_NO_JIT=1 for the kernels inside the program".to_owned()
        }
    };
    Error::Cuda {
        action: format!(
            "load the kernel {variant} on cuda:{}, of compute capability {}",
            gpu.ordinal, gpu.compute_capability
        ),
        message: format!("{}{remedy}", describe(error)),
    }
}
