//! `sml bench --backbone`.

use serde_json::Value;

use super::{bench, number, stages};

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
    assert_eq!((&whole["from"], &whole["bytes"], &whole["layout"]), (&8.into(), &Value::Null, &Value::Null));
    assert_eq!(report["options"]["model"], "demo");
    assert!(number(&whole["frames_per_s"]) > 0.0);

    let run = bench(&["--model", "demo", "--shape", "1x19x64x128", "--precision", "bf16"]).succeeded();
    for word in ["64x128 pictures -> demo (bf16), logits at 1/8", "network", "post-processing", "end to end"]
    {
        assert!(run.stdout().contains(word), "{word}: {}", run.stdout());
    }
}

#[test]
fn pipelines_run_side_by_side_cold_and_hot() {
    let options = ["--backbone", "demo", "--shape", "64x128", "--json"];
    let report = bench(&[&options[..], &["--concurrency", "2", "--hot"]].concat()).succeeded().json();
    assert_eq!((&report["frames"], &report["inputs"]), (&10.into(), &1.into()));
    let report = bench(&[&options[..], &["--cold"]].concat()).succeeded().json();
    assert_eq!(report["options"]["cache"], "cold");
    assert!(report["results"][6]["frames_per_s"].is_null());
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
    let alone = [
        ["--from", "4"],
        ["--dtype", "f16"],
        ["--layout", "nhwc"],
        ["--stages", "smooth"],
        ["--sweep", "sizes"],
        ["--batch", "2"],
    ];
    for option in alone {
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
