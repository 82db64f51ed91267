//! Files and options that cannot be used: how the program says so, and that nothing is left behind.

use zip::CompressionMethod::{Deflated, Stored};

use crate::arrays::*;
use crate::program::{Finished, Folder};

const SHAPE: [usize; 4] = [1, 5, 8, 9];

/// A folder with good logits and statistics, for tests that spoil one thing.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("stats.json", statistics(5).to_json());
    folder.write("logits.npy", to_npy(&random_logits::<f32>(1, SHAPE)));
    folder
}

/// `sml post` on a file of logits with these bytes; nothing may be left in its output folder.
#[track_caller]
fn post_bytes(name: &str, bytes: impl AsRef<[u8]>) -> Finished {
    let folder = folder();
    folder.write(name, bytes);
    let run = folder.sml(&["post", name, "--stats", "stats.json", "-o", "out"]);
    folder.assert_nothing_in("out");
    run
}

/// `sml post` on good logits with these options.
#[track_caller]
fn post_with(options: &[&str]) -> Finished {
    let folder = folder();
    let run = folder.sml(&[&["post", "logits.npy", "-o", "out"], options].concat());
    folder.assert_nothing_in("out");
    run
}

#[test]
fn arrays_of_the_wrong_rank() {
    post_bytes("flat.npy", npy("<f4", &[6], &[0; 24])).failed(&[
        "flat.npy",
        "shape (6,)",
        "expected (N, C, H, W)",
    ]);
    post_bytes("deep.npy", npy("<f4", &[1, 1, 2, 3, 1], &[0; 24])).failed(&[
        "deep.npy",
        "shape (1, 1, 2, 3, 1)",
        "expected (N, C, H, W)",
    ]);
}

#[test]
fn arrays_of_zero_size() {
    post_bytes("empty.npy", npy("<f4", &[1, 5, 0, 9], &[])).failed(&[
        "empty.npy",
        "(1, 5, 0, 9)",
        "without an axis of length 0",
    ]);
    post_bytes("nothing.npy", b"").failed(&["nothing.npy", "expected"]);
    post_bytes("nothing.safetensors", b"").failed(&["nothing.safetensors", "0 bytes", "expected"]);
    post_bytes("nothing.npz", b"").failed(&["nothing.npz", "expected"]);
}

#[test]
fn classes_that_the_statistics_do_not_have() {
    let folder = folder();
    folder.write("six.npy", to_npy(&random_logits::<f32>(2, [1, 6, 8, 9])));
    folder.sml(&["post", "six.npy", "--stats", "stats.json", "-o", "out"]).failed(&[
        "stats.json",
        "5 classes",
        "expected 6",
    ]);
    folder.assert_nothing_in("out");
}

#[test]
fn more_classes_than_a_prediction_can_tell_apart() {
    post_bytes("many.npy", npy("<f4", &[1, 256, 1, 1], &[0; 1024]))
        .failed(&["many.npy", "at most 255 classes"]);
}

#[test]
fn element_types_that_logits_do_not_have() {
    post_bytes("ints.npy", npy("<i4", &SHAPE, &[0; 1440]))
        .failed(&["ints.npy", "expected float32 or float16"]);
    post_bytes("double.npy", to_npy(&random_logits::<f64>(3, SHAPE)))
        .failed(&["double.npy", "expected float32 or float16"]);
    post_bytes("odd.npy", npy("<q9", &SHAPE, &[0; 1440])).failed(&["odd.npy", "expected"]);
    post_bytes("double.safetensors", to_safetensors("logits", &random_logits::<f64>(4, SHAPE))).failed(&[
        "double.safetensors",
        "\"logits\"",
        "F64",
        "expected float32 or float16",
    ]);
}

#[test]
fn truncated_arrays() {
    let logits = random_logits::<f32>(5, SHAPE);
    let whole_npy = to_npy(&logits);
    let whole_tensors = to_safetensors("logits", &logits);
    let whole_archive = npz(&[("logits", to_npy(&logits))], Deflated);
    for (name, whole) in
        [("cut.npy", whole_npy), ("cut.safetensors", whole_tensors), ("cut.npz", whole_archive)]
    {
        for length in [3, 11, 60, whole.len() / 2, whole.len() - 1] {
            post_bytes(name, &whole[..length]).failed(&[name, "expected"]);
        }
    }
}

#[test]
fn an_archive_that_promises_more_than_it_holds() {
    // 100 TB in the .npy header, and then in the archive's own directory too.
    let header = npy("<f4", &[1, 5, 2_000_000, 2_500_000], &[0; 64]);
    let bomb = npz(&[("logits", header)], Deflated);
    post_bytes("bomb.npz", &bomb).failed(&["bomb.npz", "\"logits\"", "expected"]);

    let mut lying = npz(&[("logits", to_npy(&random_logits::<f32>(6, SHAPE)))], Stored);
    let directory = lying.windows(4).rposition(|w| w == b"PK\x01\x02").unwrap();
    lying[directory + 24..directory + 28].copy_from_slice(&0xf000_0000_u32.to_le_bytes());
    post_bytes("lying.npz", &lying).failed(&["lying.npz", "\"logits\"", "expected"]);
}

#[test]
fn a_real_bomb_of_zeros_is_refused_before_it_unfolds() {
    // 64 MB of zeros behind a header that asks for 1440 bytes.
    let mut array = npy("<f4", &SHAPE, &[0; 1440]);
    array.resize(64 << 20, 0);
    let bomb = npz(&[("logits", array)], Deflated);
    assert!(bomb.len() < 100_000, "{} bytes", bomb.len());
    post_bytes("zeros.npz", &bomb).failed(&["zeros.npz", "\"logits\"", "expected"]);
}

#[test]
fn arrays_that_cannot_be_told_apart() {
    let logits = to_npy(&random_logits::<f32>(7, SHAPE));
    let two = npz(&[("first", logits.clone()), ("second", logits.clone())], Stored);
    post_bytes("two.npz", &two).failed(&["two.npz", "\"first\"", "\"second\"", "expected the name of one"]);
    let folder = folder();
    folder.write("two.npz", two);
    let arguments = ["post", "two.npz", "--stats", "stats.json", "-o", "out", "--array", "third"];
    folder.sml(&arguments).failed(&["two.npz", "no array \"third\"", "\"first\"", "\"second\""]);
    folder.assert_nothing_in("out");
}

#[test]
fn files_that_are_no_logits_at_all() {
    post_bytes("words.npy", b"these are words, no array").failed(&["words.npy", "expected"]);
    post_bytes("words.bin", b"these are words, no array").failed(&["words.bin", "unknown format", ".npy"]);
    let folder = folder();
    folder.sml(&["post", "absent.npy", "-o", "out"]).failed(&["absent.npy", "cannot read"]);
    folder.sml(&["post", ".", "-o", "out"]).failed(&[".", "is a folder", "expected a file"]);
    folder.assert_nothing_in("out");
}

#[test]
fn a_name_with_control_characters_stays_on_one_line() {
    let folder = folder();
    let name = "two\nlines\x1b[31m.npy";
    folder.sml(&["post", name, "-o", "out"]).failed(&["two\\nlines", ".npy", "cannot read"]);
}

#[test]
fn no_statistics_where_the_score_needs_them() {
    post_with(&[]).failed(&["score sml needs class statistics", "choose another score"]);
}

#[test]
fn statistics_that_are_none() {
    for (text, problem) in [
        ("", "EOF"),
        ("{\"mean\": [1, 2", "EOF"),
        ("[1, 2]", "expected"),
        ("{\"mean\": [1, 2]}", "variance"),
        (r#"{"mean": [1, 2], "variance": [1]}"#, "variance holds 1 numbers"),
        (r#"{"mean": [1, 2], "variance": [1, -1]}"#, "variance of class 1 is -1"),
        (r#"{"mean": [1, 2], "variance": [1, 1], "count": [1]}"#, "count holds 1 numbers"),
        (r#"{"mean": [1, 1e999], "variance": [1, 1]}"#, "number out of range"),
        (r#"{"mean": [], "variance": []}"#, "0 classes"),
        (r#"{"mean": ["a\nb"], "variance": [1]}"#, "invalid type"),
    ] {
        let folder = folder();
        folder.write("broken.json", text);
        folder.sml(&["post", "logits.npy", "--stats", "broken.json", "-o", "out"]).failed(&[
            "broken.json",
            problem,
            "expected",
        ]);
        folder.sml(&["stats", "show", "broken.json"]).failed(&["broken.json", problem, "expected"]);
        folder.assert_nothing_in("out");
    }
    post_with(&["--stats", "absent.json"]).failed(&["absent.json", "cannot read"]);
    post_with(&["--stats", "logits.npy"]).failed(&["logits.npy"]);
}

#[test]
fn statistics_without_any_usable_class() {
    let folder = folder();
    folder.write(
        "stats.json",
        r#"{"mean": [null, null, null, null, 1], "variance": [null, null, null, null, 0]}"#,
    );
    let run = folder.sml(&["post", "logits.npy", "--stats", "stats.json", "-o", "out"]);
    run.failed(&["stats.json", "no class has statistics", "expected at least one class"]);
    folder.assert_nothing_in("out");
}

#[test]
fn options_that_nobody_knows() {
    post_with(&["--stats", "stats.json", "--no-such-option"])
        .misused(&["--no-such-option", "Usage: sml post"]);
    let folder = Folder::new();
    folder.sml(&["no-such-command"]).misused(&["no-such-command"]);
    folder.sml(&["post", "logits.npy"]).misused(&["--output <DIR>"]);
    folder.sml(&["post", "-o", "out"]).misused(&["<LOGITS>"]);
}

#[test]
fn values_out_of_range_are_wrong_usage() {
    for (option, values) in [
        ("--suppression", &["5,2", "4", "4,4,4", "-4,4", "33,1", "wide,4", "", "None"][..]),
        ("--smoothing", &["6,1,6", "7,0,6", "7,nan,6", "7,1,0", "7,1", "33,1,6", "off"]),
        ("--score", &["mps", "energy:0", "energy:-1", "energy:nan", "SML", ""]),
        ("--size", &["0x5", "5x0", "5", "5x", "5x6x7", "-5x5", "1e3x5", "5,6"]),
        ("--dtype", &["float64", "int8", "F32"]),
        ("--layout", &["chw", "NCHW"]),
        ("--align-corners", &["yes", "1"]),
        ("--missing", &["ignore"]),
        ("--border-labels", &["two"]),
        ("--non-finite", &["replace:", "replace:nan", "replace:inf", "drop"]),
    ] {
        for value in values {
            let option = format!("{option}={value}");
            post_with(&["--stats", "stats.json", &option]).misused(&[option.split('=').next().unwrap()]);
        }
    }
}

#[test]
fn a_size_beyond_the_memory_is_an_error() {
    post_with(&["--stats", "stats.json", "--size", "1000000x1000000"]).failed(&["1000000x1000000", "memory"]);
}
