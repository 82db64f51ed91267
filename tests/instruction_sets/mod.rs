//! Runs a test program again for every instruction set that the processor has.

use std::process::Command;

/// Runs the tests of this program again on every instruction set but the one that they run on anyway, without the test `caller`.
pub fn run_again(caller: &str) {
    let usual = sml::InstructionSet::chosen().unwrap();
    let program = std::env::current_exe().unwrap();
    let others: Vec<_> = sml::InstructionSet::available().filter(|set| *set != usual).collect();
    for set in &others {
        let output = Command::new(&program)
            .env("SML_ISA", set.name())
            .args(["--skip", caller])
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "on {set}:\n{text}");
        assert!(text.contains(" passed; 0 failed"), "on {set} no test ran:\n{text}");
    }
    println!("on {usual} as always, and again on {others:?}");
}
