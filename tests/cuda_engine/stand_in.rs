//! The stand-in driver: compiled once, and found in place of the real one by a process of its own for each test.

use std::ffi::{CStr, CString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use libloading::os::unix::{Library, Symbol};
use sml::cuda::compiled_kernels::KernelSupply;
use sml::cuda::kernels::{KernelFile, KernelVariant};
use sml::{ComputeCapability, Error};

use crate::log::Log;

/// Set in the processes that run with the stand-in.
const MARK: &str = "SML_TEST_WITH_DRIVER_STAND_IN";

/// Defines tests that run with the stand-in, which they get as their argument.
macro_rules! with_stand_in {
    ($($(#[$doc:meta])* fn $name:ident($driver:ident) $body:block)*) => {$(
        #[test]
        $(#[$doc])*
        fn $name() {
            crate::stand_in::run(concat!(module_path!(), "::", stringify!($name)), |$driver| $body);
        }
    )*};
}
pub(crate) use with_stand_in;

/// Runs a test's body in a process of its own, and here when this is that process.
pub fn run(test: &str, body: impl FnOnce(&StandIn)) {
    if std::env::var_os(MARK).is_some() {
        // What was to be loaded is; a child of this process must not load it, least of all under a sanitizer.
        // SAFETY: the process runs this test alone, and nothing else reads its environment meanwhile.
        unsafe { std::env::remove_var("LD_PRELOAD") };
        return body(&StandIn::open());
    }
    // The stand-in is of compute capability 9.0. Kernels inside the program load at once; compiling them takes long.
    let variant = KernelVariant { file: KernelFile::Accumulate, defines: Vec::new() };
    let embedded = KernelSupply { folder: None, compile: false };
    if let Err(Error::Cuda { message, .. }) =
        embedded.cubin(&variant, ComputeCapability { major: 9, minor: 0 })
    {
        println!("skipped: {message}");
        return;
    }
    let (_, name) = test.split_once("::").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .env("SML_NO_JIT", "1")
        .env("LD_LIBRARY_PATH", search_path(folder()))
        // Loaded already, it is what libtorch's CUDA half is taken for.
        .env("LD_PRELOAD", folder().join("libtorch_cuda.so"))
        .output()
        .unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{test} with the stand-in:\n{text}");
    if let Some(place) = text.find("skipped: ") {
        println!("{}", text[place..].lines().next().unwrap_or_default());
    }
}

fn search_path(first: &Path) -> std::ffi::OsString {
    let others = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let others = std::env::split_paths(&others).filter(|path| !path.as_os_str().is_empty());
    std::env::join_paths(std::iter::once(first.to_owned()).chain(others)).unwrap()
}

/// The folder with the compiled stand-ins: the driver's under both names that a driver is looked for by.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("driver_stand_in");
        std::fs::create_dir_all(&folder).unwrap();
        compile("tests/driver_stand_in", &folder, &["libcuda.so", "libcuda.so.1"]);
        compile("tests/torch_stand_in", &folder, &["libtorch_cuda.so"]);
        folder
    })
}

/// Compiles the sources of one folder into one library, under a name of this process first: tests that run at the same time
/// never see half of it.
fn compile(sources: &str, folder: &Path, names: &[&str]) {
    let sources = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(sources)).unwrap();
    let sources = sources.map(|entry| entry.unwrap().path());
    let unfinished = folder.join(format!("unfinished-{}", std::process::id()));
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let output = Command::new(&compiler)
        .args(["-std=c++17", "-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-fvisibility=hidden"])
        .arg(format!("-Wl,-soname,{}", names[names.len() - 1]))
        .arg("-o")
        .arg(&unfinished)
        .args(sources.filter(|path| path.extension().is_some_and(|extension| extension == "cpp")))
        .output()
        .unwrap_or_else(|error| panic!("no C++ compiler {}: {error}", compiler.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in names {
        let copy = folder.join(format!("{name}-{}", std::process::id()));
        std::fs::copy(&unfinished, &copy).unwrap();
        std::fs::rename(copy, folder.join(name)).unwrap();
    }
    std::fs::remove_file(unfinished).unwrap();
}

/// The stand-in in this process, by the functions that are its own and no driver's.
pub struct StandIn {
    library: Library,
}

impl StandIn {
    /// The name is the first that the crate's binding tries.
    fn open() -> Self {
        // SAFETY: the library is the stand-in, whose initialisers do nothing.
        let library = unsafe { Library::new("libcuda.so") }.unwrap();
        Self { library }
    }

    /// What happened since the last call.
    pub fn take_log(&self) -> Log {
        Log::read(&self.text(b"stand_in_take_log"))
    }

    /// Panics unless everything that was made is given back, with nothing wrong on the way.
    pub fn assert_nothing_lives(&self) {
        let none = "contexts=0 memory=0 modules=0 streams=0 events=0 graphs=0 execs=0";
        assert_eq!(self.living(), none);
    }

    /// How much of everything there is.
    pub fn living(&self) -> String {
        self.text(b"stand_in_living")
    }

    /// Lets a function of the driver fail at its `nth` call from now on, the first being 1.
    pub fn fail(&self, function: &str, nth: usize, code: i32) {
        let function = CString::new(function).unwrap();
        // SAFETY: the type is that of the definition in control.cpp; the string lives during the call.
        unsafe {
            let set: Symbol<unsafe extern "C" fn(*const c_char, c_int, c_int)> =
                self.library.get(b"stand_in_fail").unwrap();
            set(function.as_ptr(), nth as c_int, code);
        }
    }

    /// Takes back what [`fail`](Self::fail) announced and has not happened.
    pub fn fail_no_more(&self) {
        // SAFETY: the type is that of the definition in control.cpp.
        unsafe {
            let clear: Symbol<unsafe extern "C" fn()> = self.library.get(b"stand_in_fail_no_more").unwrap();
            clear();
        }
    }

    /// Sets a property of the machine: `gpus`, `cuda_version`, `memory_bytes`.
    pub fn set(&self, property: &str, value: u64) {
        let property = CString::new(property).unwrap();
        // SAFETY: the type is that of the definition in control.cpp; the string lives during the call.
        unsafe {
            let set: Symbol<unsafe extern "C" fn(*const c_char, u64)> =
                self.library.get(b"stand_in_set").unwrap();
            set(property.as_ptr(), value);
        }
    }

    fn text(&self, function: &[u8]) -> String {
        // SAFETY: the type is that of the definition in control.cpp; the string lives until the thread's next call.
        unsafe {
            let get: Symbol<unsafe extern "C" fn() -> *const c_char> = self.library.get(function).unwrap();
            CStr::from_ptr(get()).to_str().unwrap().to_owned()
        }
    }
}
