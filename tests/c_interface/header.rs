//! The header is the one that cbindgen makes out of the sources today.

use std::path::Path;

/// In the order of the header.
const SOURCES: [&str; 9] =
    ["version", "status", "params", "statistics", "frame", "engine", "host", "device", "obstacles"];

/// Set by `make header`.
const UPDATE: &str = "SML_UPDATE_HEADER";

pub fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include/sml.h")
}

fn made_today() -> String {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(repository.join("cbindgen.toml")).unwrap();
    let sources = repository.join("src/c_interface");
    let builder = SOURCES.iter().fold(cbindgen::Builder::new().with_config(config), |builder, source| {
        builder.with_src(sources.join(format!("{source}.rs")))
    });
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    String::from_utf8(header).unwrap()
}

#[test]
fn the_header_is_up_to_date() {
    let header = made_today();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path(), &header).unwrap();
    }
    let checked_in = std::fs::read_to_string(path()).unwrap_or_default();
    let difference = header.lines().zip(checked_in.lines()).find(|(today, there)| today != there);
    assert_eq!(difference, None, "the first line that differs; `make header` makes it anew");
    assert!(header == checked_in, "the header is shorter or longer than the sources say: `make header`");
}

#[test]
fn every_function_of_the_sources_is_in_the_header() {
    let header = made_today();
    let mut functions = 0;
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/c_interface")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines().filter(|line| line.contains("extern \"C\" fn sml_")) {
            let name = line.split("fn ").nth(1).unwrap().split('(').next().unwrap();
            assert!(header.contains(&format!("{name}(")), "{name}: its file is not in SOURCES");
            functions += 1;
        }
    }
    assert!(functions > 20, "{functions}");
}
