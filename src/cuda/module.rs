//! Kernels on a GPU: the compiled images as the driver's modules, and their entry points.
//!
//! Everything is loaded when the engine is built. Left alone, the driver would load each kernel when it is first
//! launched, with allocations and waiting in the middle of a frame.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ptr;
use std::sync::Arc;

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::{self, CUfunction, CUfunction_attribute, CUmodule};

use super::context::Context;
use super::driver_error::refused;
use super::plan::Launch;
use crate::Result;

/// Dynamic shared memory that a kernel may have unless it was given more.
const UNASKED_SHARED_BYTES: u32 = 48 << 10;

/// One loaded image with its kernels.
pub(super) struct Module {
    context: Arc<Context>,
    handle: CUmodule,
    functions: Vec<(String, CUfunction)>,
}

// SAFETY: handles of modules and functions may be used from every thread.
unsafe impl Send for Module {}

impl Module {
    /// Loads a cubin or PTX with all of its kernels.
    pub fn load(context: &Arc<Context>, image: &[u8]) -> Result<Self, DriverError> {
        // The driver reads the image where it lies and finds its end by itself: PTX by a zero byte. Copied, it is also
        // aligned as the driver's own allocations are.
        let mut image = image.to_vec();
        image.push(0);
        let _bound = context.bind()?;
        let mut handle = ptr::null_mut();
        // SAFETY: valid for the write of one handle; the image ends in a zero byte and lives during the call.
        unsafe { sys::cuModuleLoadData(&raw mut handle, image.as_ptr().cast()) }.result()?;
        let mut module = Self { context: Arc::clone(context), handle, functions: Vec::new() };
        module.functions = module.list_functions()?;
        for &(_, function) in &module.functions {
            // SAFETY: the function is of this module, which is loaded; the context is bound.
            unsafe { sys::cuFuncLoad(function) }.result()?;
        }
        Ok(module)
    }

    fn list_functions(&self) -> Result<Vec<(String, CUfunction)>, DriverError> {
        let mut count = 0;
        // SAFETY: valid for the write of one number; the module is loaded.
        unsafe { sys::cuModuleGetFunctionCount(&raw mut count, self.handle) }.result()?;
        let mut functions = vec![ptr::null_mut(); count as usize];
        // SAFETY: the list has room for as many handles as are announced.
        unsafe { sys::cuModuleEnumerateFunctions(functions.as_mut_ptr(), count, self.handle) }.result()?;
        functions.into_iter().map(|function| Ok((name_of(function)?, function))).collect()
    }

    /// Lets each kernel have so many bytes of dynamic shared memory, where that is more than every GPU gives unasked.
    pub fn allow_shared_memory(&self, bytes: u32) -> Result<()> {
        if bytes <= UNASKED_SHARED_BYTES {
            return Ok(());
        }
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        for (name, function) in &self.functions {
            let refusal = |error| refused(format!("give {name} {bytes} bytes of shared memory"), error);
            let _bound = self.context.bind().map_err(refusal)?;
            // SAFETY: the function is loaded; the context is bound.
            unsafe { sys::cuFuncSetAttribute(*function, attribute, bytes as i32) }
                .result()
                .map_err(refusal)?;
        }
        Ok(())
    }

    /// The kernel of this name.
    pub fn function(&self, name: &str) -> Option<CUfunction> {
        self.functions.iter().find(|(candidate, _)| candidate == name).map(|&(_, function)| function)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        let _bound = self.context.bind();
        // SAFETY: loaded by `load`, unloaded once. Whoever owns the module has waited for its kernels.
        let _ = unsafe { sys::cuModuleUnload(self.handle) };
    }
}

fn name_of(function: CUfunction) -> Result<String, DriverError> {
    let mut name = ptr::null();
    // SAFETY: the function's module is loaded; the name is a string that lives as long as the module.
    let name = unsafe {
        sys::cuFuncGetName(&raw mut name, function).result()?;
        if name.is_null() { c"" } else { CStr::from_ptr(name) }
    };
    Ok(name.to_string_lossy().into_owned())
}

/// Gives one launch to a stream.
///
/// # Safety
/// The function takes the launch's arguments, its module is loaded, what they point at stays valid until the kernel is
/// complete, and the context of function and stream is bound.
pub(super) unsafe fn launch(
    function: CUfunction,
    launch: &Launch,
    stream: sys::CUstream,
) -> Result<(), DriverError> {
    let mut parameter = launch.arguments.bytes().as_ptr().cast_mut().cast();
    let ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]) = (launch.grid, launch.block);
    // SAFETY: the driver reads as many bytes behind the one parameter's pointer as the kernel declares, which is the size
    // of the struct; the rest is the caller's duty.
    unsafe {
        sys::cuLaunchKernel(
            function,
            grid_x,
            grid_y,
            grid_z,
            block_x,
            block_y,
            block_z,
            launch.shared_bytes,
            stream,
            &raw mut parameter,
            ptr::null_mut(),
        )
    }
    .result()
}
