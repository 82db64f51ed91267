//! The library as `make install` leaves it, in a folder of this test's own: a release build with CUDA, whatever the test itself is
//! built with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::compiler::{Linking, succeed};

pub struct Installed {
    /// What stands for the root of the file system.
    root: PathBuf,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Installed {
    /// Builds and installs once. What is built already stays built.
    pub fn get() -> &'static Self {
        static INSTALLED: OnceLock<Installed> = OnceLock::new();
        INSTALLED.get_or_init(|| {
            let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c_interface");
            let _ = std::fs::remove_dir_all(&root);
            let installed = Self { root };
            std::fs::create_dir_all(installed.programs()).unwrap();
            succeed(&mut make("install", &installed.root));
            installed
        })
    }

    pub fn library_folder(&self) -> PathBuf {
        self.root.join("usr/lib")
    }

    /// For the programs that tests compile.
    pub fn programs(&self) -> PathBuf {
        self.root.join("programs")
    }

    /// A program that finds the shared library here.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", self.library_folder());
        command
    }

    /// What a compiler is to be told: by pkg-config, or by the file itself where there is no pkg-config.
    pub fn flags(&self, linking: Linking) -> Vec<String> {
        let file = std::fs::read_to_string(self.library_folder().join("pkgconfig/sml.pc")).unwrap();
        let field = |name: &str| {
            let line = file.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.replace("${libdir}", "/usr/lib").replace("${includedir}", "/usr/include")
        };
        let (compile, link) = (field("Cflags:"), field("Libs:"));
        let text = match linking {
            Linking::Shared => format!("{compile} {link}"),
            // By its own name: with -lsml the linker takes the shared one.
            Linking::Static => format!("{compile} -L/usr/lib -l:libsml.a {}", field("Libs.private:")),
        };
        let root = self.root.to_str().unwrap();
        let here = |word: &str| {
            word.replace("-I/usr", &format!("-I{root}/usr")).replace("-L/usr", &format!("-L{root}/usr"))
        };
        text.split_whitespace().map(here).collect()
    }
}

/// `make` with the target, as a person calls it who packages the library.
fn make(target: &str, root: &Path) -> Command {
    let mut command = Command::new("make");
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["--no-print-directory", target, "PREFIX=/usr"])
        .arg(format!("DESTDIR={}", root.display()));
    // What cargo tells a test about its own build is not meant for another one.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST") || text == "MAKEFLAGS" {
            command.env_remove(&name);
        }
    }
    command
}

fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path().to_str().unwrap().to_owned());
        }
    }
    files
}

#[test]
fn what_is_installed_is_uninstalled() {
    let minor: Vec<&str> = VERSION.split('.').take(2).collect();
    let soname = format!("libsml.so.{}", minor.join("."));
    let root = Installed::get().root.join("again");
    succeed(&mut make("install", &root));
    let mut files = files_below(&root);
    files.sort();
    let expected = [
        "include/sml.h".to_owned(),
        "lib/libsml.a".to_owned(),
        "lib/libsml.so".to_owned(),
        format!("lib/{soname}"),
        format!("lib/libsml.so.{VERSION}"),
        "lib/pkgconfig/sml.pc".to_owned(),
    ];
    assert_eq!(files, expected.map(|file| format!("{}/usr/{file}", root.display())));
    let link = |name: &str| std::fs::read_link(root.join("usr/lib").join(name)).unwrap();
    assert_eq!(link("libsml.so"), Path::new(&soname));
    assert_eq!(link(&soname), Path::new(&format!("libsml.so.{VERSION}")));
    succeed(&mut make("uninstall", &root));
    assert_eq!(files_below(&root), [""; 0]);
}

#[test]
fn the_library_carries_its_name_and_only_the_functions_of_the_header() {
    let library = Installed::get().library_folder().join("libsml.so");
    let bytes = std::fs::read(&library).unwrap();
    let minor: Vec<&str> = VERSION.split('.').take(2).collect();
    let soname = format!("libsml.so.{}\0", minor.join("."));
    assert!(bytes.windows(soname.len()).any(|window| window == soname.as_bytes()), "no {soname} in it");
    let Ok(output) = Command::new("nm").args(["-D", "--defined-only"]).arg(&library).output() else {
        return println!("skipped: no nm on this machine");
    };
    let exported = String::from_utf8(output.stdout).unwrap();
    let mut exported: Vec<&str> =
        exported.lines().filter_map(|line| line.split_whitespace().last()).collect();
    exported.sort_unstable();
    let header = std::fs::read_to_string(crate::header::path()).unwrap();
    let mut declared: Vec<&str> = header
        .lines()
        .filter(|line| line.starts_with("sml_status sml_") || line.starts_with("const char *sml_"))
        .map(|line| line.split('(').next().unwrap().rsplit([' ', '*']).next().unwrap())
        .collect();
    declared.sort_unstable();
    assert_eq!(exported, declared);
}

#[test]
fn pkg_config_tells_what_the_file_says() {
    let folder = Installed::get().library_folder().join("pkgconfig");
    let ask = |arguments: &[&str]| {
        // System folders are left out of what it prints, unless it is told to keep them.
        let keep = [("PKG_CONFIG_ALLOW_SYSTEM_CFLAGS", "1"), ("PKG_CONFIG_ALLOW_SYSTEM_LIBS", "1")];
        Command::new("pkg-config").env("PKG_CONFIG_PATH", &folder).envs(keep).args(arguments).output()
    };
    let Ok(output) = ask(&["--modversion", "sml"]) else {
        return println!("skipped: no pkg-config on this machine");
    };
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), VERSION);
    let output = ask(&["--cflags", "--libs", "sml"]).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "-I/usr/include -L/usr/lib -lsml");
}
