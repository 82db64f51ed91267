//! Device pointers: the example is compiled everywhere, and run with a stand-in for the driver that writes down what it is
//! given. On a machine with a GPU it runs there too, and finds what the engine on the CPU finds.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::compiler::{Language, Linking, compile, succeed};
use crate::installed::Installed;

/// Tells at the end of a program what the driver was given and what is left over.
const WITNESS: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
__attribute__((destructor)) static void tell(void) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    const char *(*log)(void), *(*living)(void);
    *(void **)&log = dlsym(driver, "stand_in_take_log");
    *(void **)&living = dlsym(driver, "stand_in_living");
    printf("%sliving %s\n", log(), living());
}
"#;

fn example() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/c/device_pointers.c");
    compile(Installed::get(), &source, Linking::Shared)
}

/// A folder with the stand-in under the names that a driver is looked for by, and the witness.
fn stand_in() -> Option<PathBuf> {
    let (cc, cxx) = (Language::C.compiler()?, Language::Cpp.compiler()?);
    let folder = Installed::get().programs().join("driver");
    std::fs::create_dir_all(&folder).unwrap();
    let sources =
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/driver_stand_in")).unwrap();
    let sources = sources.map(|entry| entry.unwrap().path());
    let options = ["-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-o"];
    let mut command = Command::new(cxx);
    command.args(["-std=c++17", "-Wl,-soname,libcuda.so.1"]).args(options).arg(folder.join("libcuda.so.1"));
    succeed(
        command.args(sources.filter(|path| path.extension().is_some_and(|extension| extension == "cpp"))),
    );
    // One file, as a driver's: whoever loads it by another name gets the same.
    std::os::unix::fs::symlink("libcuda.so.1", folder.join("libcuda.so")).unwrap();
    std::fs::write(folder.join("witness.c"), WITNESS).unwrap();
    let mut command = Command::new(cc);
    command.args(options).arg(folder.join("witness.so")).arg(folder.join("witness.c"));
    succeed(command.arg("-ldl"));
    Some(folder)
}

/// What one field of a launch says.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let field = line.split(' ').find_map(|field| field.strip_prefix(name));
    field.unwrap_or_else(|| panic!("no {name} in {line}"))
}

#[test]
fn the_device_example_compiles_without_a_toolkit() {
    example();
}

#[test]
fn frames_on_the_gpu_are_launches_on_the_callers_stream_and_nothing_else() {
    let (Some(program), Some(driver)) = (example(), stand_in()) else { return };
    let mut paths = driver.clone().into_os_string();
    paths.push(":");
    paths.push(Installed::get().library_folder());
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", paths).env("LD_PRELOAD", driver.join("witness.so")).env("SML_NO_JIT", "1");
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if errors.contains("engine: CUDA could not") && !output.status.success() {
        return println!("skipped: this build carries no kernels: {errors}");
    }
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let place = |what: &str| {
        lines.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what}:\n{text}"))
    };
    // From the copy of the logits to that of the scores, all on the stream that the caller made last.
    let frame = &lines[place("call cuMemcpyHtoDAsync_v2")..place("call cuMemcpyDtoHAsync_v2")];
    let runs: Vec<&&str> = frame.iter().filter(|line| line.starts_with("run ")).collect();
    let kernels: Vec<&str> = runs.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(kernels, ["standardize_upsample", "suppress", "smooth"], "{text}");
    let stream = field(runs[0], "stream=");
    assert!(runs.iter().all(|line| field(line, "stream=") == stream) && stream != "0", "{text}");
    for forbidden in ["cuMemAlloc", "cuMemFree", "cuMemcpyHtoD_v2", "cuStreamSynchronize", "cuCtxSynchronize"]
    {
        assert!(!frame.iter().any(|line| line.contains(forbidden)), "{forbidden}:\n{text}");
    }
    assert!(!text.contains("misuse"), "{text}");
    let nothing = "living contexts=0 memory=0 modules=0 streams=0 events=0 graphs=0 execs=0";
    assert_eq!(lines.last(), Some(&nothing), "{text}");
}

#[test]
fn the_device_example_on_a_gpu_finds_what_the_cpu_finds() {
    let required = std::env::var_os("SML_REQUIRE_GPU").is_some();
    let Some(program) = example() else { return };
    let output = Installed::get().command(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() && !required {
        return println!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cpp/post_process.cpp");
    let Some(on_the_cpu) = compile(Installed::get(), &source, Linking::Shared) else { return };
    let cpu = succeed(&mut Installed::get().command(on_the_cpu));
    assert_eq!(text.lines().last(), cpu.lines().last(), "{output:?}");
}
