//! The C and C++ compilers of this machine, and programs compiled with them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use crate::installed::Installed;

/// A language with the strictest flags that its programs must pass.
#[derive(Clone, Copy)]
pub enum Language {
    C,
    Cpp,
}

impl Language {
    /// The one of a source file.
    pub fn of(source: &Path) -> Self {
        if source.extension().is_some_and(|extension| extension == "cpp") { Self::Cpp } else { Self::C }
    }

    /// Its compiler: `CC` or `CXX`, else the system's. None where there is none; says so, or fails if one is required.
    pub fn compiler(self) -> Option<OsString> {
        let (variable, usual) = match self {
            Self::C => ("CC", "cc"),
            Self::Cpp => ("CXX", "c++"),
        };
        let compiler =
            std::env::var_os(variable).filter(|value| !value.is_empty()).unwrap_or_else(|| usual.into());
        found(&compiler, "SML_REQUIRE_CC").then_some(compiler)
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::C => &["-std=c99", "-Wstrict-prototypes", "-Wmissing-prototypes"],
            Self::Cpp => &["-std=c++11", "-Wold-style-cast", "-Wnon-virtual-dtor"],
        }
    }
}

/// Whether a program runs. Says so if not, or fails if the environment requires it.
pub fn found(program: &OsString, required_by: &str) -> bool {
    let runs = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !runs {
        assert!(std::env::var_os(required_by).is_none(), "{} does not run", program.display());
        println!("skipped: {} does not run ({required_by}=1 makes this a failure)", program.display());
    }
    runs
}

/// How a program finds the library.
#[derive(Clone, Copy)]
pub enum Linking {
    Shared,
    Static,
}

/// Compiles a source file against the installed library by what its pkg-config file says. None where there is no compiler.
/// No warning is let through. (`_POSIX_C_SOURCE` is for programs that use more than C99.)
pub fn compile(installed: &Installed, source: &Path, linking: Linking) -> Option<PathBuf> {
    let language = Language::of(source);
    let compiler = language.compiler()?;
    let linked = match linking {
        Linking::Shared => "shared",
        Linking::Static => "static",
    };
    let name = format!("{}-{linked}", source.file_name().unwrap().to_str().unwrap());
    let program = installed.programs().join(name);
    // Several tests use one program.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if program.exists() {
        return Some(program);
    }
    let output = Command::new(compiler)
        .args(language.flags())
        .args(["-D_POSIX_C_SOURCE=200809L", "-O1", "-g", "-Wall", "-Wextra", "-pedantic", "-Wconversion"])
        .args(["-Wno-sign-conversion", "-Wshadow", "-Werror", "-pthread", "-Wl,--as-needed"])
        .arg(source)
        .arg("-o")
        .arg(&program)
        .args(installed.flags(linking))
        .arg("-ldl")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}:\n{}", source.display(), text(&output));
    Some(program)
}

/// Both streams of a process.
pub fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// What a program prints when it succeeds.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text(&output));
    text(&output)
}
