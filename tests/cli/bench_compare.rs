//! `sml bench compare` on files whose times are made up, so that what must come out is known.

use serde_json::{Value, json};

use crate::program::Folder;

/// Times around `center` microseconds that differ by 5 % at most, in an order without pattern.
fn times(center: f64, number: usize, seed: u32) -> Vec<f64> {
    let mut state = seed;
    (0..number)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            center * (0.95 + 0.1 * f64::from(state >> 8) / f64::from(1 << 24))
        })
        .collect()
}

fn result(stage: &str, from: u32, samples: &[f64]) -> Value {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let p50 = sorted[sorted.len() / 2];
    json!({
        "stage": stage, "shape": "1x19x1024x2048", "dtype": "f32", "from": from, "layout": "nchw", "threads": 2,
        "latency_us": { "p50": p50, "p90": p50, "p99": p50, "p999": p50, "max": p50, "mean": p50, "stddev": 0.0 },
        "samples_us": samples,
    })
}

fn write(folder: &Folder, name: &str, results: &[Value]) {
    let file = json!({ "schema": 1, "machine": { "cpu": "Test 1" }, "results": results });
    folder.write(name, file.to_string());
}

/// Two files: "standardize" takes 20 % longer in B, "smooth" 20 % less, "all" the same.
fn two_files() -> Folder {
    let folder = Folder::new();
    let a = [("standardize", 100.0), ("smooth", 100.0), ("all", 300.0)];
    let b = [("standardize", 120.0), ("smooth", 80.0), ("all", 300.0)];
    for (name, stages, seed) in [("a.json", a, 1), ("b.json", b, 2)] {
        let results = stages.map(|(stage, time)| result(stage, 1, &times(time, 200, seed)));
        write(&folder, name, &results);
    }
    folder
}

#[test]
fn differences_are_told_with_their_intervals() {
    let folder = two_files();
    let run = folder.sml(&["bench", "compare", "a.json", "b.json", "--json"]).succeeded();
    let comparison = run.json();
    assert_eq!((&comparison["schema"], &comparison["failed"]), (&1.into(), &false.into()));
    let found: Vec<(&str, &str)> = comparison["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["stage"].as_str().unwrap(), one["verdict"].as_str().unwrap()))
        .collect();
    assert_eq!(found, [("standardize", "slower"), ("smooth", "faster"), ("all", "no_difference_shown")]);
    for (one, want) in comparison["results"].as_array().unwrap().iter().zip([1.2, 0.8, 1.0]) {
        let [ratio, low, high] =
            [&one["ratio"], &one["interval"][0], &one["interval"][1]].map(|number| number.as_f64().unwrap());
        assert!((ratio - want).abs() < 0.02 && low <= want && want <= high, "{one:#}");
        assert!(low <= ratio && ratio <= high, "{one:#}");
    }
    let again = folder.sml(&["bench", "compare", "a.json", "b.json", "--json"]).succeeded();
    assert_eq!(again.stdout(), run.stdout(), "the same files give the same numbers");

    let table = folder.sml(&["bench", "compare", "a.json", "b.json"]).succeeded();
    for word in [
        "slower by 20.4 %",
        "faster by 19.7 %",
        "no difference shown",
        "1x19x1024x2048 f32 1/1 nchw, 2 threads",
    ] {
        assert!(table.stdout().contains(word), "{word}: {}", table.stdout());
    }
    assert!(!table.stdout().contains("machines"), "{}", table.stdout());
}

#[test]
fn a_slowdown_beyond_the_limit_is_a_failure_and_a_smaller_one_is_not() {
    let folder = two_files();
    let compare = |limit: &str| folder.sml(&["bench", "compare", "a.json", "b.json", "--fail-above", limit]);
    for limit in ["5%", "5", "0%"] {
        let run = compare(limit);
        run.assert_told(&["b.json: standardize 1x19x1024x2048", "slower than in a.json", "--fail-above"]);
        assert!(run.stdout().contains("more than allowed"), "the table comes all the same: {}", run.stdout());
        assert_eq!(run.stderr().lines().count(), 1);
        run.ended_with_code(1);
    }
    compare("25%").succeeded();
    // The same file twice, and the other way round for what became slower.
    folder.sml(&["bench", "compare", "a.json", "a.json", "--fail-above", "0%"]).succeeded();
    folder.sml(&["bench", "compare", "a.json", "b.json", "--fail-above=-1%"]).misused(&["percentage"]);
    compare("much").misused(&["percentage"]);
}

#[test]
fn what_has_no_partner_is_listed_and_few_measurements_are_not_judged() {
    let folder = Folder::new();
    let few = result("all", 1, &times(100.0, 4, 1));
    let mut old = result("smooth", 1, &times(100.0, 50, 1));
    old.as_object_mut().unwrap().remove("samples_us");
    let common = [few, old];
    let only = |stage: &str, from| [&common[..], &[result(stage, from, &times(1.0, 20, 3))]].concat();
    write(&folder, "a.json", &only("suppress", 1));
    write(&folder, "b.json", &only("suppress", 4));
    let run = folder.sml(&["bench", "compare", "a.json", "b.json", "--fail-above", "0"]).succeeded();
    for word in ["only in A: suppress 1x19x1024x2048 f32 1/1", "only in B: suppress 1x19x1024x2048 f32 1/4"] {
        assert!(run.stdout().contains(word), "{word}: {}", run.stdout());
    }
    assert_eq!(run.stdout().matches("not judged").count(), 2, "{}", run.stdout());
}

#[test]
fn files_that_hold_no_measurements_are_refused_in_one_line() {
    let folder = two_files();
    let compare = |b: &str| folder.sml(&["bench", "compare", "a.json", b]);
    compare("missing.json").failed(&["missing.json"]);
    folder.write("broken.json", "{\"schema\": 1, ");
    compare("broken.json").failed(&["broken.json", "sml bench --json"]);
    folder.write("other.json", r#"{"schema": 2, "results": []}"#);
    compare("other.json").failed(&["schema 2"]);
    folder.write("empty.json", r#"{"schema": 1, "results": []}"#);
    compare("empty.json").failed(&["empty.json", "a.json"]);
    write(&folder, "zero.json", &[result("all", 1, &[1.0, 0.0, 1.0])]);
    compare("zero.json").failed(&["zero.json", "took 0 us"]);
    folder.sml(&["bench", "compare", "a.json"]).misused(&["B.json"]);
    folder.sml(&["bench", "--from", "4", "compare", "a.json", "b.json"]).misused(&["--from"]);
}

#[test]
fn what_sml_bench_prints_can_be_compared() {
    let folder = Folder::new();
    for name in ["a.json", "b.json"] {
        let run =
            folder.sml(&["bench", "--shape", "1x3x32x64", "--frames", "30", "--device", "cpu", "--json"]);
        folder.write(name, run.succeeded().stdout());
    }
    let run = folder.sml(&["bench", "compare", "a.json", "b.json", "--json"]).succeeded();
    let comparison = run.json();
    assert_eq!((&comparison["only_in_a"], &comparison["only_in_b"]), (&json!([]), &json!([])));
    for one in comparison["results"].as_array().unwrap() {
        assert!(one["ratio"].as_f64().unwrap() > 0.0 && one["interval"].is_array(), "{one:#}");
    }
}
