//! Options that mean nothing, or contradict each other, are refused with exit code 2 before anything is measured.

use super::bench;
use crate::program::Folder;

#[test]
fn values_that_mean_nothing_are_refused() {
    bench(&["--shape", "1x5x30x64", "--from", "4"]).refused(&["--shape", "30x64 with --from 4"]);
    bench(&["--shape", "1x5x64"]).misused(&["1x19x1024x2048"]);
    bench(&["--shape", "1x256x64x64"]).misused(&["255 classes"]);
    bench(&["--shape", "0x5x64x64"]).misused(&["IMAGESxCLASSES"]);
    bench(&["--from", "3"]).misused(&["1, 2, 4, 8 or 16"]);
    bench(&["--dtype", "int8"]).misused(&["--dtype"]);
    bench(&["--stages", "both"]).misused(&["--stages", "suppress"]);
    bench(&["--graph", "maybe"]).misused(&["--graph"]);
    bench(&["--sweep", "colours"]).misused(&["--sweep", "sizes"]);
    bench(&["--batch", "0"]).misused(&["--batch"]);
    bench(&["--concurrency", "0"]).misused(&["--concurrency"]);
    Folder::new().sml(&["bench", "--frames", "0"]).misused(&["--frames"]);
    Folder::new().sml(&["bench", "--duration", "1d"]).misused(&["--duration", "500ms"]);
}

#[test]
fn contradictions_are_refused() {
    bench(&["--duration", "1s"]).misused(&["--frames", "--duration"]);
    bench(&["--cold", "--hot"]).misused(&["--cold", "--hot"]);
    bench(&["--shape", "2x5x32x64", "--batch", "3"]).refused(&["--batch", "--shape"]);
    bench(&["--cold", "--concurrency", "2"]).refused(&["--cold", "--concurrency"]);
    bench(&["--graph", "on"]).refused(&["--graph", "CPU"]);
    bench(&["--graph", "off"]).refused(&["--graph", "CPU"]);
    bench(&["--sweep", "threads", "--concurrency", "2"]).refused(&["--concurrency", "--sweep threads"]);
    for stage in ["standardize", "smooth"] {
        bench(&["--sweep", "widths", "--stages", stage]).refused(&["--sweep", "boundary width"]);
    }
}

#[test]
fn files_that_cannot_be_are_refused_beforehand() {
    let folder = Folder::new();
    let refuse = |options: &[&str], parts: &[&str]| {
        // Would take far longer than the test may.
        let long = ["bench", "--device", "cpu", "--shape", "1x5x32x64", "--duration", "30h"];
        folder.sml(&[&long, options].concat()).refused(parts);
    };
    refuse(&["--plot", "plot.pdf"], &["--plot", "plot.pdf", ".svg or .png"]);
    refuse(&["--hdr", "latency.txt"], &["--hdr", "latency.txt", ".hlog"]);
    refuse(&["--csv", "a.svg", "--plot", "a.svg"], &["a.svg", "another one"]);
    let long = ["bench", "--device", "cpu", "--shape", "1x5x32x64", "--duration", "30h", "--csv"];
    folder.sml(&[&long[..], &["absent/a.csv"]].concat()).failed(&["absent/a.csv", "absent does not exist"]);
    folder.write("taken/file", "");
    folder.sml(&[&long[..], &["taken"]].concat()).failed(&["taken", "directory"]);
    assert_eq!(folder.names(".").len(), 1, "{:?}", folder.names("."));
}
