//! Compiles kernels and the driver, once for each content: results lie in Cargo's folder for temporary files.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use sml::cuda::kernels::{HEADERS, KernelVariant};

/// For kernels and the driver. Nothing may be fused or reordered: kernels are compared bit for bit.
const FLAGS: &[&str] = &["-std=c++17", "-g", "-ffp-contract=off", "-fno-omit-frame-pointer"];
/// CUDA code reads bytes as this and as that, as its compiler allows; sanitizers stop at the first fault. Little
/// optimisation, for the sake of the time to compile.
const KERNEL_FLAGS: &[&str] = &[
    "-O1",
    "-w",
    "-fPIC",
    "-shared",
    "-fvisibility=hidden",
    "-fno-strict-aliasing",
    "-fsanitize=address,undefined,float-cast-overflow",
    "-fno-sanitize-recover=all",
];
/// Fills local variables, where the compiler can: one that is read too early gives nonsense rather than chance.
const FILL_LOCALS: &str = "-ftrivial-auto-var-init=pattern";
/// The driver itself is not watched, so that it can switch stacks and fill memory between red zones.
const DRIVER_FLAGS: &[&str] =
    &["-O2", "-Wall", "-Wextra", "-fsanitize=address,undefined", "-rdynamic", "-Wl,--no-as-needed", "-ldl"];
const DRIVER_OBJECT_FLAGS: &[&str] = &["-O2", "-Wall", "-Wextra", "-c"];
const DRIVER_FILES: &[&str] = &["driver.cpp", "block.cpp", "fibers.cpp"];
const HARNESS_FILES: &[&str] =
    &["cuda_on_host.hpp", "block.hpp", "launch.hpp", "fibers.hpp", "driver.cpp", "block.cpp", "fibers.cpp"];

/// A kernel file as it is to be compiled.
#[derive(Clone, Debug, Hash)]
pub struct Source {
    /// Name without `.cu`.
    pub name: String,
    /// The file itself and what it may include: names and texts.
    pub files: BTreeMap<String, String>,
    /// Macros and their values.
    pub defines: Vec<(String, i64)>,
}

impl Source {
    /// The crate's own kernels.
    pub fn kernel(variant: &KernelVariant) -> Self {
        let file = variant.file;
        let name = file.name().to_owned();
        let own = (format!("{name}.cu"), file.source().to_owned());
        let headers = HEADERS.iter().map(|&(name, text)| (name.to_owned(), text.to_owned()));
        let pinned = variant.defines.iter().map(|&(name, value)| (name.to_owned(), value));
        let bytes = ("SML_ARGUMENT_BYTES".to_owned(), file.argument_bytes() as i64);
        Self { name, files: headers.chain([own]).collect(), defines: pinned.chain([bytes]).collect() }
    }
}

/// A compiled kernel file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    pub path: PathBuf,
}

struct Compiler {
    program: OsString,
    version: String,
    fills_locals: bool,
}

static COMPILER: LazyLock<Compiler> = LazyLock::new(|| {
    let program = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let output = Command::new(&program).arg("--version").output().unwrap_or_else(|error| {
        panic!("{program:?}: {error}: the execution harness needs a C++ compiler (set CXX)")
    });
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    let probe = Command::new(&program).args([FILL_LOCALS, "-x", "c++", "-E", "/dev/null"]).output();
    Compiler { program, version, fills_locals: probe.is_ok_and(|output| output.status.success()) }
});

/// The folder of the harness's own files.
fn harness() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernel_harness"))
}

/// Where results lie.
fn results() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels_on_host");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A number for everything that a result depends on.
fn key(what: &impl Hash) -> u64 {
    static HARNESS: LazyLock<Vec<String>> = LazyLock::new(|| {
        HARNESS_FILES.iter().map(|file| fs::read_to_string(harness().join(file)).unwrap()).collect()
    });
    let mut hasher = DefaultHasher::new();
    (&*HARNESS, &COMPILER.version, &COMPILER.program, COMPILER.fills_locals).hash(&mut hasher);
    (FLAGS, KERNEL_FLAGS, DRIVER_FLAGS, DRIVER_OBJECT_FLAGS).hash(&mut hasher);
    what.hash(&mut hasher);
    hasher.finish()
}

fn compiler(folder: &Path, arguments: impl FnOnce(&mut Command)) -> Result<(), String> {
    let mut command = Command::new(&COMPILER.program);
    command.current_dir(folder).args(FLAGS);
    arguments(&mut command);
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let log = String::from_utf8_lossy(&output.stderr);
    let hint = "(the harness needs the compiler's AddressSanitizer and UndefinedBehaviorSanitizer: libasan and libubsan)";
    Err(format!("{command:?} failed {hint}:\n{log}"))
}

/// Makes a file under a name of this process only, then gives it its own: other processes see it whole or not at all.
fn once(path: &Path, make: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), String> {
    if let Ok(file) = File::open(path) {
        // So that it is seen to be in use.
        file.set_modified(SystemTime::now()).ok();
        return Ok(());
    }
    let unfinished = path.with_extension(format!("{}.unfinished", std::process::id()));
    make(&unfinished)?;
    fs::rename(&unfinished, path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Compiles a kernel file, or finds it compiled.
///
/// # Errors
/// What the compiler says.
pub fn compile(source: &Source) -> Result<Library, String> {
    type Cell = Arc<OnceLock<Result<Library, String>>>;
    static DONE: Mutex<Option<HashMap<u64, Cell>>> = Mutex::new(None);
    let cell = DONE.lock().unwrap().get_or_insert_default().entry(key(source)).or_default().clone();
    cell.get_or_init(|| {
        let folder = tempfile::tempdir_in(results()).unwrap();
        let text = preprocess(source, folder.path())?;
        // What macros leave out makes no difference.
        let path = results().join(format!("{}-{:016x}.so", source.name, key(&text)));
        once(&path, |to| {
            compiler(folder.path(), |command| {
                command.args(KERNEL_FLAGS).args(COMPILER.fills_locals.then_some(FILL_LOCALS));
                command.arg(PREPROCESSED).arg("-o").arg(to);
            })
        })?;
        Ok(Library { path })
    })
    .clone()
}

/// Name of a preprocessed kernel file.
const PREPROCESSED: &str = "preprocessed.ii";

/// Writes the preprocessed file with the driver's calls behind it; returns it.
fn preprocess(source: &Source, folder: &Path) -> Result<String, String> {
    for (name, text) in &source.files {
        fs::write(folder.join(name), text).unwrap();
    }
    compiler(folder, |command| {
        command.args(source.defines.iter().map(|(name, value)| format!("-D{name}={value}")));
        command.arg("-DSML_ON_HOST").arg("-include").arg(harness().join("cuda_on_host.hpp"));
        command.args(["-E", "-x", "c++"]).arg(format!("{}.cu", source.name)).args(["-o", PREPROCESSED]);
    })?;
    let mut text = fs::read_to_string(folder.join(PREPROCESSED)).unwrap();
    // Which kernels there are depends on the macros.
    let calls: String = entries(&text).map(call).collect();
    text.push_str(&calls);
    fs::write(folder.join(PREPROCESSED), &text).unwrap();
    Ok(text)
}

/// The names of the kernels in a preprocessed file.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    // The launch bounds have become nothing.
    text.split("extern \"C\" __attribute__((used)) void ")
        .skip(1)
        .filter_map(|rest| rest.split_once('(').map(|(name, _)| name.trim()))
}

/// How the driver calls a kernel, and what it asks for first.
fn call(name: &str) -> String {
    let export = "extern \"C\" __attribute__((visibility(\"default\")))";
    format!(
        "{export} void sml_host_call_{name}(const void *bytes) {{ sml_host::call({name}, bytes); }}\n\
         {export} const std::size_t sml_host_bytes_{name} = sml_host::argument_bytes({name});\n"
    )
}

/// Results that were not used for this long are those of older kernels.
const KEPT: Duration = Duration::from_secs(3 * 24 * 60 * 60);

fn remove_old_results() {
    let age = |path: &Path| path.metadata().and_then(|data| data.modified()).ok()?.elapsed().ok();
    for path in fs::read_dir(results()).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if age(&path).is_some_and(|age| age > KEPT) {
            // Another process may have been quicker.
            fs::remove_file(&path).ok();
        }
    }
}

/// The driver program.
pub fn driver() -> &'static Path {
    static DRIVER: LazyLock<PathBuf> = LazyLock::new(|| {
        let path = results().join(format!("driver-{:016x}", key(&"driver")));
        remove_old_results();
        once(&path, compile_driver).unwrap_or_else(|problem| panic!("{problem}"));
        path
    });
    &DRIVER
}

fn compile_driver(to: &Path) -> Result<(), String> {
    let objects: Vec<PathBuf> =
        DRIVER_FILES.iter().map(|file| to.with_extension(format!("{file}.o"))).collect();
    for (file, object) in DRIVER_FILES.iter().zip(&objects) {
        compiler(harness(), |command| {
            command.args(DRIVER_OBJECT_FLAGS).arg(file).arg("-o").arg(object);
        })?;
    }
    compiler(harness(), |command| {
        command.args(&objects).args(DRIVER_FLAGS).arg("-o").arg(to);
    })?;
    objects.iter().for_each(|object| fs::remove_file(object).unwrap());
    Ok(())
}
