//! The stream that libtorch works on, and running libtorch on another one.
//!
//! libtorch gives its work on a GPU to the *current stream* of the calling thread: CUDA's default stream unless something
//! changed it. An engine that gives its frames to the same stream runs behind the network without an event between them.
//! [`current_stream`] tells which one it is; a [`StreamGuard`] changes it for a while, say to the engine's own stream, which,
//! unlike the default one, can be captured into a CUDA graph.
//!
//! tch knows neither, but libtorch's stable C interface does (`torch/csrc/inductor/aoti_torch/c/shim.h`). Its functions are
//! looked up in the CUDA half when they are first needed: a libtorch without that half has none of them.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use super::libtorch::{CudaHalf, cuda_half_remedy, load_cuda_half};
use crate::cuda::RawStream;
use crate::loaded_library::loader_message;
use crate::{Error, Result};

/// The stream that libtorch works on for this thread and the GPU `cuda:ordinal`.
///
/// # Errors
/// [`Error::Device`] if this libtorch has no CUDA half; [`Error::Torch`] if it refuses to tell.
pub fn current_stream(ordinal: usize) -> Result<RawStream> {
    let functions = functions(ordinal)?;
    let mut stream = ptr::null_mut();
    // SAFETY: valid for the write of one pointer. An ordinal that libtorch does not have is an error that it returns.
    let code = unsafe { (functions.current)(index(ordinal)?, &raw mut stream) };
    check(code, "tell the current CUDA stream")?;
    Ok(RawStream::from_raw(stream))
}

/// Makes libtorch work on a stream, on this thread, until it is dropped. Guards may be nested; they are dropped in the
/// reverse order of their making.
#[must_use = "libtorch goes back to its earlier stream when the guard is dropped"]
pub struct StreamGuard {
    guard: *mut c_void,
    delete: unsafe extern "C" fn(*mut c_void) -> i32,
    /// What it changes belongs to the thread.
    this_thread: PhantomData<*const ()>,
}

impl StreamGuard {
    /// Makes `stream` the current one for the GPU `cuda:ordinal`, and that GPU the current one.
    ///
    /// # Safety
    /// The stream is of that GPU. It stays alive for as long as libtorch keeps memory that was allocated under the guard:
    /// longer than tensors made under it, since freed memory is kept for the stream that it was allocated on.
    ///
    /// # Errors
    /// As [`current_stream`].
    pub unsafe fn new(stream: RawStream, ordinal: usize) -> Result<Self> {
        let functions = functions(ordinal)?;
        let mut guard = ptr::null_mut();
        // SAFETY: valid for the write of one pointer; the stream is the caller's duty.
        let code = unsafe { (functions.create_guard)(stream.as_raw(), index(ordinal)?, &raw mut guard) };
        check(code, "change the current CUDA stream")?;
        Ok(Self { guard, delete: functions.delete_guard, this_thread: PhantomData })
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        // SAFETY: made by the function's counterpart, on this thread, and deleted once. A failure is told on stderr by
        // libtorch itself.
        unsafe { (self.delete)(self.guard) };
    }
}

impl fmt::Debug for StreamGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamGuard").finish_non_exhaustive()
    }
}

/// The functions with the C types of their declarations. All return 0 for success.
struct Functions {
    current: unsafe extern "C" fn(i32, *mut *mut c_void) -> i32,
    create_guard: unsafe extern "C" fn(*mut c_void, i32, *mut *mut c_void) -> i32,
    delete_guard: unsafe extern "C" fn(*mut c_void) -> i32,
}

impl Functions {
    fn find(cuda_half: &Path) -> Result<Self, libloading::Error> {
        // SAFETY: the library is loaded already, so that nothing of it runs now, and is never unloaded, so that the
        // functions stay valid. Each field's type is the declaration of the function of that name.
        unsafe {
            let library = Library::open(Some(cuda_half), RTLD_NOW | RTLD_LOCAL)?;
            Ok(Self {
                current: *library.get("aoti_torch_get_current_cuda_stream")?,
                create_guard: *library.get("aoti_torch_create_cuda_stream_guard")?,
                delete_guard: *library.get("aoti_torch_delete_cuda_stream_guard")?,
            })
        }
    }
}

fn functions(ordinal: usize) -> Result<&'static Functions> {
    static FOUND: OnceLock<Result<Functions, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| match load_cuda_half() {
        CudaHalf::Loaded(path) => Functions::find(path).map_err(|error| loader_message(&error)),
        CudaHalf::NotThere(path) => {
            Err(format!("this libtorch has no CUDA half ({} does not exist)", path.display()))
        }
        CudaHalf::Failed { path, message } => Err(format!("{} does not load ({message})", path.display())),
    });
    found.as_ref().map_err(|problem| Error::Device {
        device: format!("cuda:{ordinal}"),
        problem: problem.clone(),
        remedy: cuda_half_remedy(),
    })
}

fn index(ordinal: usize) -> Result<i32> {
    i32::try_from(ordinal).map_err(|_| Error::Device {
        device: format!("cuda:{ordinal}"),
        problem: "there is no such GPU".into(),
        remedy: "run `sml doctor` to see the GPUs".into(),
    })
}

fn check(code: i32, action: &str) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    let message = "an exception, which libtorch has printed on stderr".to_owned();
    Err(Error::Torch { action: action.to_owned(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_cuda_half_both_are_errors_with_a_remedy() {
        if let CudaHalf::Loaded(path) = load_cuda_half() {
            println!("skipped: {} is loaded; tests/gpu tests what it does", path.display());
            return;
        }
        // SAFETY: there is no CUDA half that could use the stream.
        let guard = unsafe { StreamGuard::new(RawStream::DEFAULT, 3) }.unwrap_err();
        for error in [current_stream(3).unwrap_err(), guard] {
            let text = error.to_string();
            assert!(text.starts_with("device cuda:3: ") && text.contains("pip install torch=="), "{text}");
        }
    }
}
