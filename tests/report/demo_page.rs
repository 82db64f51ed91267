//! The page of `sml demo`, which shares its parts with the report.

use std::process::Command;

use crate::browser::{assert_sound, look_at};

#[test]
fn the_demo_page_in_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_sml"))
        .args(["demo", "--device", "cpu", "-o", "out"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let Some(seen) = look_at(&folder.path().join("out/index.html")) else { return };
    assert_sound(&seen);
    for seen in seen {
        assert_eq!(seen.images, 70);
        assert!(seen.headings.iter().any(|heading| heading == "Scene 00"), "{:?}", seen.headings);
    }
}
