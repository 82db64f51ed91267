//! Programs in C and C++ that are compiled and run: the examples, whose numbers are the engine's own, and misuse.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use ndarray::Axis;
use sml::drawn_logits::DrawnLogits;
use sml::obstacles::{BoundingBox, Obstacle, ObstacleFinder, ObstacleParams};
use sml::{
    Capacity, ClassStatistics, Device, ElementType, Engine, InstructionSet, Layout, Logits, LogitsShape,
    OperatingPoints, Params, ScoreHistogram, Size,
};

use crate::compiler::{Linking, compile, found, succeed};
use crate::installed::Installed;

const PICTURE: Size = Size { height: 48, width: 96 };

fn program(source: &str, linking: Linking) -> Option<PathBuf> {
    compile(Installed::get(), &Path::new(env!("CARGO_MANIFEST_DIR")).join(source), linking)
}

fn test_program(name: &str) -> Option<PathBuf> {
    program(&format!("tests/c_interface/programs/{name}"), Linking::Shared)
}

fn run(program: &Path) -> String {
    succeed(&mut Installed::get().command(program))
}

/// Files for the C example, and what it must make of them.
struct Case {
    folder: PathBuf,
    expected: Vec<f32>,
}

impl Case {
    fn new(name: &str) -> Self {
        let folder = Installed::get().programs().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let shape = LogitsShape::new(1, 19, 12, 24).unwrap();
        let logits = DrawnLogits::new(3, shape, ElementType::F32, Layout::Nchw).unwrap();
        let statistics = logits.statistics(PICTURE).unwrap();
        std::fs::write(folder.join("statistics.json"), statistics.to_json()).unwrap();
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 19, 12, 24), }";
        let npy =
            [b"\x93NUMPY\x01\x00\x76\x00", format!("{header:<117}\n").as_bytes(), logits.as_bytes()].concat();
        std::fs::write(folder.join("logits.npy"), npy).unwrap();
        let capacity = Capacity::of(shape, PICTURE);
        let mut engine = Engine::new(Device::Cpu, Params::default(), Some(&statistics), capacity).unwrap();
        let map = engine.submit(&logits.logits().unwrap(), PICTURE).unwrap();
        Self { expected: map.score.iter().copied().collect(), folder }
    }

    /// Arguments of the example.
    fn arguments(&self) -> [OsString; 5] {
        let file = |name| self.folder.join(name).into_os_string();
        let Size { height, width } = PICTURE;
        let size = [height, width].map(|number| number.to_string().into());
        let [rows, columns] = size;
        [file("logits.npy"), file("statistics.json"), rows, columns, file("score.npy")]
    }

    /// What it wrote is the engine's result, bit for bit.
    fn check(&self) {
        let bytes = std::fs::read(self.folder.join("score.npy")).unwrap();
        let file = npyz::NpyFile::new(&bytes[..]).unwrap();
        assert_eq!(file.shape(), [PICTURE.height as u64, PICTURE.width as u64]);
        let score: Vec<f32> = file.into_vec().unwrap();
        let differ =
            score.iter().zip(&self.expected).filter(|(c, rust)| c.to_bits() != rust.to_bits()).count();
        assert_eq!((score.len(), differ), (self.expected.len(), 0));
        std::fs::remove_file(self.folder.join("score.npy")).unwrap();
    }
}

#[test]
fn the_c_example_writes_the_engines_numbers() {
    let (case, installed) = (Case::new("case"), Installed::get());
    for linking in [Linking::Shared, Linking::Static] {
        let Some(program) = program("examples/c/post_process.c", linking) else { return };
        let text = match linking {
            Linking::Shared => succeed(installed.command(program).args(case.arguments())),
            // It needs no library beside it.
            Linking::Static => succeed(Command::new(program).args(case.arguments())),
        };
        assert!(text.contains("most anomalous: row ") && text.contains("microseconds: "), "{text}");
        case.check();
    }
}

#[test]
fn the_c_example_tells_what_is_wrong_with_its_files() {
    let case = Case::new("wrong");
    let Some(program) = program("examples/c/post_process.c", Linking::Shared) else { return };
    let replaced = |place: usize, by: &str| {
        let mut arguments = case.arguments();
        arguments[place] = by.into();
        let output = Installed::get().command(&program).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(!case.folder.join("score.npy").exists());
        String::from_utf8(output.stderr).unwrap()
    };
    let logits = replaced(0, "/dev/null");
    assert!(logits.contains("/dev/null: expected float32 logits"), "{logits}");
    let statistics = replaced(1, "/nowhere.json");
    assert!(statistics.contains("SML_ERROR_IO: /nowhere.json: cannot read"), "{statistics}");
    let rows = replaced(2, "0");
    assert!(rows.contains("engine: SML_ERROR_SHAPE: "), "{rows}");
}

#[test]
fn the_cpp_example_finds_what_the_engine_finds() {
    let Some(program) = program("examples/cpp/post_process.cpp", Linking::Shared) else { return };
    let (shape, picture) = (LogitsShape::new(1, 2, 64, 128).unwrap(), Size::new(256, 512));
    let mut elements = vec![0.0_f32; shape.elements()];
    for (pixel, logits) in elements.chunks_exact_mut(2).enumerate() {
        let (y, x) = (pixel / 128, pixel % 128);
        logits[0] = if (20..30).contains(&y) && (60..75).contains(&x) { 1.0 } else { 8.0 };
    }
    let statistics = ClassStatistics::from_json(r#"{"mean": [8, 6], "variance": [4, 1]}"#).unwrap();
    let capacity = Capacity::of(shape, picture);
    let mut engine = Engine::new(Device::Cpu, Params::default(), Some(&statistics), capacity).unwrap();
    let map = engine.submit(&Logits::packed(&elements[..], shape, Layout::Nhwc).unwrap(), picture).unwrap();
    let ((_, row, column), highest) =
        map.score.indexed_iter().fold(((0, 0, 0), f32::NEG_INFINITY), |most, (place, &score)| {
            if score > most.1 { (place, score) } else { most }
        });
    let text = run(&program);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(format!("sml {}", env!("CARGO_PKG_VERSION")).as_str()));
    let (place, score) = lines.next().unwrap().rsplit_once(' ').unwrap();
    assert_eq!(place, format!("most anomalous: row {row}, column {column}, score"));
    // Nine digits name one float32 and no other.
    assert_eq!(score.parse::<f32>().unwrap().to_bits(), highest.to_bits());
    let mut finder = ObstacleFinder::new(ObstacleParams::above(1.0), picture).unwrap();
    let obstacles =
        finder.find(map.score.index_axis(Axis(0), 0), map.prediction.index_axis(Axis(0), 0)).unwrap();
    assert_eq!(obstacles.len(), 1);
    for obstacle in obstacles {
        let Obstacle { id, area, bounding_box: BoundingBox { left, top, width, height }, .. } = obstacle;
        let line = lines.next().unwrap();
        let (box_and_area, score) = line.rsplit_once(' ').unwrap();
        let expected =
            format!("obstacle {id}: {area} pixels in {width}x{height}+{left}+{top}, highest score");
        assert_eq!(box_and_area, expected);
        assert_eq!(score.parse::<f32>().unwrap().to_bits(), obstacle.max_score.to_bits());
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn obstacles_keep_their_ids_and_thresholds_come_from_the_calibration() {
    let Some(program) = test_program("obstacles.c") else { return };
    let (mut normal, mut unexpected) = (ScoreHistogram::default(), ScoreHistogram::default());
    (0..1000).for_each(|i| normal.add(i as f32 / 100.0));
    (0..100).for_each(|i| unexpected.add(5.0 + i as f32 / 10.0));
    let points = OperatingPoints::new(Params::default(), &normal, &unexpected);
    let expected = [
        points.threshold_at_fpr(0.05, &Params::default()).unwrap(),
        points.threshold_at_tpr(0.95, &Params::default()).unwrap(),
    ];
    let statistics = ClassStatistics::from_json(r#"{"mean": [1], "variance": [1]}"#).unwrap();
    let file = Installed::get().programs().join("thresholds.json");
    std::fs::write(&file, statistics.with_operating_points(points).to_json()).unwrap();
    let text = succeed(Installed::get().command(program).arg(file));
    let thresholds: Vec<u32> =
        text.split_whitespace().map(|number| number.parse::<f32>().unwrap().to_bits()).collect();
    assert_eq!(thresholds, expected.map(f32::to_bits));
}

#[test]
fn misuse_is_an_error_code() {
    let Some(program) = test_program("misuse.c") else { return };
    assert_eq!(run(&program), "all is well\n");
}

#[test]
fn threads_take_turns_or_are_refused() {
    let Some(program) = test_program("threads.c") else { return };
    let text = run(&program);
    assert!(text.starts_with("done ") && text.ends_with("wrong 0\n"), "{text}");
}

#[test]
fn a_plugin_that_is_closed_leaves_the_library_loaded() {
    let Some(program) = test_program("plugin.c") else { return };
    assert_eq!(run(&program), concat!(env!("CARGO_PKG_VERSION"), " stays\n"));
}

#[test]
fn a_panic_inside_the_library_is_an_error_code() {
    let Some(program) = test_program("panic.c") else { return };
    let text = run(&program);
    assert!(text.contains("SML_ERROR_PANIC: a defect of the library, caught: "), "{text}");
}

/// No byte is read that was not written, none is used that is not the program's, and nothing is lost.
#[test]
fn valgrind_finds_nothing() {
    let valgrind = OsString::from("valgrind");
    if !found(&valgrind, "SML_REQUIRE_VALGRIND") {
        return;
    }
    let (Some(example), Some(misuse)) =
        (program("examples/c/post_process.c", Linking::Shared), test_program("misuse.c"))
    else {
        return;
    };
    let case = Case::new("valgrind");
    // It knows no AVX-512.
    let vectors = [InstructionSet::Avx2, InstructionSet::Neon, InstructionSet::Scalar];
    let vectors = vectors.into_iter().find(|&vectors| InstructionSet::available().any(|set| set == vectors));
    let under_valgrind = |program: PathBuf, arguments: &[OsString]| {
        let mut command = Installed::get().command(&valgrind);
        command.env("SML_ISA", vectors.unwrap().name()).env("RAYON_NUM_THREADS", "2");
        command.args([
            "--quiet",
            "--error-exitcode=99",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite",
        ]);
        succeed(command.arg(program).args(arguments))
    };
    under_valgrind(example, &case.arguments());
    case.check();
    assert!(under_valgrind(misuse, &[]).contains("all is well"));
}
