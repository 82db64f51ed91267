//! `sml bench` at tiny sizes: what it prints and what it refuses. No time is judged here.

use serde_json::Value;

use crate::program::{Finished, Folder};

const QUICK: [&str; 6] = ["--frames", "5", "--warmup", "1", "--device", "cpu"];

fn bench(options: &[&str]) -> Finished {
    Folder::new().sml(&[&["bench"], &QUICK[..], options].concat())
}

/// The stages of the results, each with percentiles in order.
fn stages(report: &Value) -> Vec<&str> {
    let results = report["results"].as_array().unwrap();
    for result in results {
        let of = |name: &str| result["latency_us"][name].as_f64().unwrap();
        let rising = ["p50", "p90", "p99", "p999", "max"].map(of);
        assert!(rising[0] >= 0.0 && rising.is_sorted(), "{result:#}");
        assert!(of("mean") <= of("max") && of("stddev") <= of("max"), "{result:#}");
    }
    results.iter().map(|result| result["stage"].as_str().unwrap()).collect()
}

#[test]
fn the_table_names_machine_shape_stages_and_bandwidth() {
    let run = bench(&["--shape", "1x5x32x64"]).succeeded();
    let table = run.stdout();
    let words = [
        "on cpu",
        "threads",
        "logits 1x5x32x64 f32 nchw -> 32x64",
        "5 frames after the first and 1",
        "construction",
        "p99",
        "GB/s",
    ];
    for word in words {
        assert!(table.contains(word), "{word}: {table}");
    }
    let rows: Vec<&str> = table.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let at = rows.iter().position(|&first| first == "standardize").unwrap();
    assert_eq!(rows[at..at + 4], ["standardize", "suppress", "smooth", "all"]);
    let all = table.lines().find(|line| line.starts_with("all ")).unwrap();
    assert!(all.ends_with("100.00 %"), "{all}");
}

#[test]
fn the_json_states_what_was_measured() {
    for (dtype, bytes) in [("f32", 4), ("f16", 2), ("bf16", 2)] {
        for layout in ["nchw", "nhwc"] {
            let form = ["--from", "4", "--dtype", dtype, "--layout", layout];
            let run = bench(&[&["--json", "--shape", "2x5x32x64"], &form[..]].concat()).succeeded();
            assert_eq!(run.stderr(), "");
            let report = run.json();
            assert_eq!(report["schema"], 1);
            assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
            assert_eq!((&report["frames"], &report["warmup"]), (&5.into(), &1.into()));
            assert_eq!(report["machine"]["device"], "cpu");
            assert!(report["machine"]["threads"].as_u64().unwrap() > 0);
            assert!(report["first"]["frame_us"].as_f64().unwrap() > 0.0);
            assert_eq!(stages(&report), ["standardize", "suppress", "smooth", "all"]);
            let all = &report["results"][3];
            assert_eq!((&all["shape"], &all["from"]), (&"2x5x32x64".into(), &4.into()));
            assert_eq!((&all["dtype"], &all["layout"]), (&dtype.into(), &layout.into()));
            assert_eq!(all["bytes"], 2 * (5 * 8 * 16 * bytes + 5 * 32 * 64));
            let rate = all["gb_per_s"].as_f64().unwrap();
            let want = all["bytes"].as_f64().unwrap() / 1e3 / all["latency_us"]["p50"].as_f64().unwrap();
            assert!((rate - want).abs() < 1e-9 * want, "{rate} {want}");
            assert!(all["read_gb_per_s"].as_f64().unwrap() > 0.0);
        }
    }
}

#[test]
fn help_tells_the_options_and_examples() {
    let help = Folder::new().sml(&["bench", "--help"]).succeeded();
    for word in ["--shape", "--from", "--dtype", "--layout", "--frames", "--warmup", "--json", "Examples:"] {
        assert!(help.stdout().contains(word), "{word}: {}", help.stdout());
    }
}

#[test]
fn options_that_mean_nothing_are_refused() {
    bench(&["--shape", "1x5x30x64", "--from", "4"]).refused(&["--shape", "30x64 with --from 4"]);
    bench(&["--shape", "1x5x64"]).misused(&["1x19x1024x2048"]);
    bench(&["--shape", "1x256x64x64"]).misused(&["255 classes"]);
    bench(&["--shape", "0x5x64x64"]).misused(&["IMAGESxCLASSES"]);
    bench(&["--from", "3"]).misused(&["1, 2, 4, 8 or 16"]);
    bench(&["--dtype", "int8"]).misused(&["--dtype"]);
    Folder::new().sml(&["bench", "--frames", "0"]).misused(&["--frames"]);
}

#[cfg(feature = "torch")]
mod whole_frames {
    use super::*;

    const STAGES: [&str; 7] =
        ["preprocess", "network", "standardize", "suppress", "smooth", "post_processing", "end_to_end"];

    #[test]
    fn the_bundled_network_is_measured_with_its_post_processing() {
        let options = ["--backbone", "demo", "--shape", "64x128", "--json"];
        let run = bench(&options).succeeded();
        assert_eq!(run.stderr(), "");
        let report = run.json();
        assert_eq!(stages(&report), STAGES);
        let mean = |stage: usize| report["results"][stage]["latency_us"]["mean"].as_f64().unwrap();
        let parts = mean(2) + mean(3) + mean(4);
        assert!((mean(5) - parts).abs() < 1e-6 * parts, "{report:#}");
        assert!(mean(0) + mean(1) + mean(5) <= mean(6) * (1.0 + 1e-9), "{report:#}");
        let whole = &report["results"][6];
        assert_eq!((&whole["shape"], &whole["dtype"]), (&"1x19x64x128".into(), &"f32".into()));
        assert_eq!(
            (&whole["from"], &whole["bytes"], &whole["layout"]),
            (&8.into(), &Value::Null, &Value::Null)
        );

        let run = bench(&["--model", "demo", "--shape", "1x19x64x128", "--precision", "bf16"]).succeeded();
        for word in
            ["64x128 pictures -> demo (bf16), logits at 1/8", "network", "post-processing", "end to end"]
        {
            assert!(run.stdout().contains(word), "{word}: {}", run.stdout());
        }
    }

    #[test]
    fn deeplab_needs_no_weights() {
        let options = ["--backbone", "deeplabv3plus-resnet50", "--output-stride", "16", "--shape", "33x65"];
        let run = bench(&[&options[..], &["--json"]].concat()).succeeded();
        run.assert_told(&["weights by formula"]);
        assert_eq!(stages(&run.json()), STAGES);
    }

    #[test]
    fn options_of_the_other_kind_are_refused() {
        for option in [["--from", "4"], ["--dtype", "f16"], ["--layout", "nhwc"]] {
            bench(&[&["--backbone", "demo"], &option[..]].concat()).refused(&[option[0], "--backbone"]);
        }
        bench(&["--precision", "f16"]).refused(&["--precision", "--backbone"]);
        bench(&["--weights", "w.safetensors"]).refused(&["--weights", "--backbone"]);
        bench(&["--channels-last"]).refused(&["--channels-last", "--backbone"]);
        bench(&["--keep-batch-norm"]).refused(&["--keep-batch-norm", "--backbone"]);
        bench(&["--output-stride", "16"]).refused(&["--output-stride", "--backbone"]);
        bench(&["--backbone", "demo", "--shape", "2x19x64x64"]).refused(&["--shape", "one at a time"]);
        bench(&["--backbone", "demo", "--shape", "1x5x64x64"]).refused(&["--shape", "5 classes"]);
        bench(&["--backbone", "dabnet"]).refused(&["--weights", "missing"]);
        bench(&["--backbone", "resnet"]).refused(&["--model", "deeplabv3plus-resnet101"]);
    }
}
