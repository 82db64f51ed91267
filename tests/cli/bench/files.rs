//! CSV, plots and HDR histograms.

use std::time::Duration;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;

use super::{QUICK, SMALL, number};
use crate::program::Folder;

/// A run that writes files into the folder, with its report.
fn run(folder: &Folder, options: &[&str]) -> Value {
    let finished = folder.sml(&[&["bench", "--json"], &QUICK[..], &SMALL[..], options].concat()).succeeded();
    assert_eq!(finished.stderr(), "");
    finished.json()
}

fn text(folder: &Folder, name: &str) -> String {
    String::from_utf8(folder.read(name)).unwrap()
}

#[test]
fn csv_has_a_line_for_each_result() {
    let folder = Folder::new();
    let report = run(&folder, &["--csv", "a.csv"]);
    let text = text(&folder, "a.csv");
    let lines: Vec<Vec<String>> = text.lines().map(cells).collect();
    let column = |name: &str| lines[0].iter().position(|cell| cell == name).unwrap();
    let results = report["results"].as_array().unwrap();
    assert_eq!(lines.len(), 1 + results.len());
    for (line, result) in lines[1..].iter().zip(results) {
        assert_eq!(line.len(), lines[0].len());
        assert_eq!(line[column("stage")], result["stage"].as_str().unwrap());
        assert_eq!(line[column("suppression")], "4,4");
        assert_eq!(line[column("bytes")].parse::<u64>().unwrap(), result["bytes"]);
        for (name, value) in [("p50_us", "p50"), ("p999_us", "p999"), ("stddev_us", "stddev")] {
            assert_eq!(line[column(name)].parse::<f64>().unwrap(), number(&result["latency_us"][value]));
        }
        assert_eq!(line[column("copy_percent")].parse::<f64>().unwrap(), number(&result["copy_percent"]));
        assert_eq!(line[column("submit_p50_us")].is_empty(), result["submit_us"].is_null());
    }
}

/// Cells of a line, of which quoted ones may hold commas.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            letter => cells.last_mut().unwrap().push(letter),
        }
    }
    cells
}

#[test]
fn the_plot_is_drawn_in_both_forms() {
    let folder = Folder::new();
    run(&folder, &["--plot", "a.svg"]);
    let svg = text(&folder, "a.svg");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    for word in
        ["Latency of 5 frames", "all, 1x5x32x64 f32 from 1/1, cpu", "frame", "p50", "p99", "measurements"]
    {
        assert!(svg.contains(word), "{word}");
    }
    run(&folder, &["--plot", "a.png", "--stages", "smooth"]);
    let png = image::load_from_memory(&folder.read("a.png")).unwrap().into_rgb8();
    assert_eq!(png.dimensions(), (1280, 940));
    let ink = png.pixels().filter(|pixel| pixel.0 != [255; 3]).count();
    assert!(ink > 5000, "{ink} pixels are drawn");
}

/// Standard base64 with padding.
fn base64(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => panic!("{letter} is not of base64"),
    };
    let digits: Vec<u32> =
        text.trim_end_matches('=').bytes().map(|letter| u32::from(value(letter))).collect();
    let of = |four: &[u32]| {
        let bits = four.iter().fold(0, |bits, digit| (bits << 6) | digit) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    digits.chunks(4).flat_map(of).collect()
}

#[test]
fn the_log_holds_a_histogram_for_each_stage() {
    let folder = Folder::new();
    let report = run(&folder, &["--hdr", "a.hlog"]);
    let log = folder.read("a.hlog");
    let entries: Vec<LogEntry<'_>> =
        IntervalLogIterator::new(&log).map(|entry| entry.ok().unwrap()).collect();
    let intervals: Vec<_> = entries
        .iter()
        .filter_map(|entry| match entry {
            LogEntry::Interval(interval) => Some(interval),
            _ => None,
        })
        .collect();
    let results = report["results"].as_array().unwrap();
    assert_eq!(intervals.len(), results.len());
    assert!(entries.iter().any(|entry| matches!(entry, LogEntry::BaseTime(_))));
    for (interval, result) in intervals.into_iter().zip(results) {
        assert_eq!(interval.tag().unwrap().as_str(), result["stage"].as_str().unwrap());
        let histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut &base64(interval.encoded_histogram())[..]).unwrap();
        assert_eq!(histogram.len(), 5);
        let longest = number(&result["latency_us"]["max"]) * 1e3;
        assert!((histogram.max() as f64 / longest - 1.0).abs() < 2e-3, "{} {longest}", histogram.max());
        assert!(
            (interval.max() * 1e6 / longest - 1.0).abs() < 0.02 || interval.max() < 0.05,
            "in milliseconds"
        );
        assert!(interval.duration() > Duration::ZERO || number(&report["measured_s"]) < 1e-3);
    }
}

#[test]
fn percentiles_are_a_table() {
    let folder = Folder::new();
    let report = run(&folder, &["--hdr", "a.hgrm"]);
    let table = text(&folder, "a.hgrm");
    assert!(table.trim_start().starts_with("Value"), "{table}");
    let rows: Vec<Vec<f64>> = table
        .lines()
        .skip(2)
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().map(|cell| cell.parse().unwrap()).collect())
        .collect();
    assert!(
        rows.iter().map(|row| row[1]).is_sorted() && rows.iter().map(|row| row[0]).is_sorted(),
        "{table}"
    );
    let last = rows.last().unwrap();
    assert_eq!((last[1], last[2], last.len()), (1.0, 5.0, 3));
    let longest = number(&report["results"][3]["latency_us"]["max"]);
    assert!((last[0] / longest - 1.0).abs() < 2e-3, "{longest} us: {table}");
    for word in ["#[Mean", "#[Max", "Total count    =            5]", "#[Buckets"] {
        assert!(table.contains(word), "{word}: {table}");
    }
}
