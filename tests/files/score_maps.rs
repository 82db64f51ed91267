//! Score maps and labels out of files of other programs, and the files that benchmarks take.

use std::path::{Path, PathBuf};

use ndarray::{Array2, array};
use sml::files::{
    self, read_label_map, read_score_map, write_grey_png, write_npy, write_rgb_png, write_score_png,
};
use sml::{Error, Size};

use crate::{Scratch, assert_refused};

/// A file that h5py made: see hdf5/make.py.
fn made_by_h5py(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/hdf5").join(name)
}

/// A .npy file of format 1.0.
fn npy(descr: &str, fortran_order: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran_order { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn hdf5_of_h5py_is_read() {
    let want = Array2::from_shape_fn((12, 17), |(row, column)| (17 * row + column) as f32 / 8.0 - 10.0);
    for name in [
        "benchmark",
        "chunks",
        "plain",
        "big_endian_shuffled",
        "other_name",
        "batch",
        "latest_plain",
        "latest_single",
        "latest_list",
        "latest_bare_list",
        "v110_single",
        "v110_list",
        "several",
    ] {
        let map = read_score_map(made_by_h5py(&format!("{name}.hdf5")));
        assert_eq!(map.unwrap_or_else(|error| panic!("{error}")), want, "{name}");
    }
}

#[test]
fn hdf5_that_holds_something_else_is_refused_by_its_name() {
    for (name, reason) in [
        ("integers", "holds integers"),
        ("vector", "has the shape (17,)"),
        ("lzf", "filter 32000"),
        ("checksums", "fletcher32"),
        ("extensible", "can be extended"),
        ("text", "holds text"),
        ("empty", "has 0 datasets"),
        ("two", "\"a\", \"b\""),
        ("unfilled", "lacks chunks"),
    ] {
        let name = format!("{name}.hdf5");
        assert_refused(read_score_map(made_by_h5py(&name)), &name, reason);
    }
}

#[test]
fn npy_of_every_type_of_number_is_read() {
    let folder = Scratch::new();
    let want = array![[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
    let numbers = || 1..=6_u8;
    let halves: Vec<u8> = numbers().flat_map(|n| half::f16::from_f32(n.into()).to_le_bytes()).collect();
    let columns: Vec<u8> = [1_u8, 4, 2, 5, 3, 6].iter().flat_map(|&n| f64::from(n).to_be_bytes()).collect();
    let wide: Vec<u8> = numbers().flat_map(|n| i64::from(n).to_le_bytes()).collect();
    for (name, bytes) in [
        ("f2.npy", npy("<f2", false, "(2, 3)", &halves)),
        ("f8_columns.npy", npy(">f8", true, "(2, 3)", &columns)),
        ("i8.npy", npy("<i8", false, "(1, 2, 3)", &wide)),
        ("misnamed.png", npy("|u1", false, "(2, 3)", &numbers().collect::<Vec<_>>())),
    ] {
        let path = folder.file(name, &bytes);
        assert_eq!(read_score_map(&path).unwrap(), want, "{name}");
        assert_eq!(read_label_map(&path).unwrap(), want.mapv(|n| n as u8), "{name}");
        assert_eq!(files::decode_label_map(&path, &bytes).unwrap(), want.mapv(|n| n as u8), "{name}");
    }
    let path = folder.file("large.npy", &npy("<f4", false, "(300, 401)", &[0; 4 * 300 * 401]));
    assert_eq!(read_score_map(path).unwrap(), Array2::<f32>::zeros((300, 401)));
}

#[test]
fn what_is_no_label_is_no_label() {
    let folder = Scratch::new();
    let truth = folder.file("truth.npy", &npy("|b1", false, "(1, 2)", &[0, 1]));
    assert_eq!(read_label_map(truth).unwrap(), array![[0, 1]]);
    for (number, text) in [(-1.0, "-1"), (0.5, "0.5"), (256.0, "256"), (f64::NAN, "NaN")] {
        let path = folder.file("label.npy", &npy("<f8", false, "(1, 1)", &number.to_le_bytes()));
        assert_refused(read_label_map(&path), "label.npy", &format!("holds the label {text}"));
    }
    assert_refused(read_label_map(made_by_h5py("plain.hdf5")), "plain.hdf5", "no array of labels");
}

#[test]
fn arrays_that_are_no_maps_are_refused() {
    let folder = Scratch::new();
    for (bytes, reason) in [
        (npy("<f4", false, "(2, 2, 2)", &[0; 32]), "has the shape (2, 2, 2)"),
        (npy("<f4", false, "(4,)", &[0; 16]), "has the shape (4,)"),
        (npy("<f4", false, "(0, 4)", &[]), "has the shape (0, 4)"),
        (npy("<f4", false, "(2, 2)", &[0; 15]), "is truncated"),
        (npy("<f4", false, "(2, 2)", &[0; 17]), "is longer"),
        (npy("<f4", false, "(99999999999, 99999999999)", &[0; 16]), "impossible shape"),
        (npy("<f4", false, "(9999999, 9999999)", &[0; 16]), "is truncated"),
        (npy("<c8", false, "(1, 1)", &[0; 8]), "holds complex64"),
        (npy("|O", false, "(1, 1)", &[0; 8]), ""),
        (b"".to_vec(), "is empty"),
        (b"P5 2 2 255 ....".to_vec(), "another format"),
        (b"\x89HDF\r\n\x1a\n".to_vec(), "is truncated"),
    ] {
        let path = folder.file("map.npy", &bytes);
        assert_refused(read_score_map(&path), "map.npy", reason);
    }
    assert!(matches!(read_score_map(folder.path().join("absent.npy")), Err(Error::Io { .. })));
    assert_refused(read_score_map(folder.path()), "", "is a folder");
}

#[test]
fn npz_holds_the_only_array_or_one_of_that_name() {
    let folder = Scratch::new();
    let one = npy("<f4", false, "(1, 1)", &1.5_f32.to_le_bytes());
    let two = npy("<f4", false, "(1, 1)", &2.5_f32.to_le_bytes());
    let archive = |entries: &[(&str, &[u8])]| {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            std::io::Write::write_all(&mut writer, bytes).unwrap();
        }
        folder.file("map.npz", &writer.finish().unwrap().into_inner())
    };
    assert_eq!(read_score_map(archive(&[("any.npy", &one)])).unwrap(), array![[1.5]]);
    assert_eq!(read_score_map(archive(&[("any.npy", &one), ("scores.npy", &two)])).unwrap(), array![[2.5]]);
    assert_refused(read_score_map(archive(&[("a.npy", &one), ("b.npy", &two)])), "map.npz", "\"a\" (1, 1)");
    assert_refused(read_score_map(archive(&[("a.txt", &one)])), "map.npz", "holds nothing");
    assert_refused(read_score_map(archive(&[("a.npy", &one[..one.len() - 1])])), "map.npz", "is truncated");
}

#[test]
fn grey_pictures_are_score_maps() {
    let folder = Scratch::new();
    let path = |name: &str| folder.path().join(name);
    let scores: Vec<f32> = (0..12).map(|i| i as f32 * 0.37 - 2.0).collect();
    let size = Size::new(3, 4);
    let scale = write_score_png(&path("ours.png"), size, &scores).unwrap();
    let step = (scale.maximum - scale.minimum) / 65535.0;
    let read = read_score_map(path("ours.png")).unwrap();
    assert_eq!(read.dim(), (3, 4));
    assert!(read.iter().zip(&scores).all(|(got, want)| (got - want).abs() <= 0.51 * step));
    assert_eq!((read[[0, 0]], read[[2, 3]]), (scale.minimum, scale.maximum));

    let grey: Vec<u8> = (0..12).map(|i| i * 20).collect();
    write_grey_png(&path("grey.png"), size, &grey).unwrap();
    assert!(
        read_score_map(path("grey.png"))
            .unwrap()
            .iter()
            .zip(&grey)
            .all(|(got, &want)| *got == f32::from(want))
    );
    assert!(read_label_map(path("grey.png")).unwrap().iter().eq(&grey));

    let deep =
        image::ImageBuffer::<image::Luma<u16>, _>::from_fn(4, 3, |x, y| image::Luma([(x + 1000 * y) as u16]));
    deep.save(path("deep.png")).unwrap();
    assert_eq!(read_score_map(path("deep.png")).unwrap()[[2, 3]], 2003.0);

    write_rgb_png(&path("colour.png"), size, &[7; 36]).unwrap();
    assert_refused(read_score_map(path("colour.png")), "colour.png", "holds Rgb pixels of 8 bits");
    let whole = std::fs::read(path("ours.png")).unwrap();
    for length in [8, 20, 40, whole.len() / 2, whole.len() - 13] {
        assert_refused(read_score_map(folder.file("cut.png", &whole[..length])), "cut.png", "is damaged");
    }
    // A header that claims the largest picture that there can be.
    let mut large = whole;
    large[16..24].copy_from_slice(&[0, 0, 0x7f, 0xff, 0, 0, 0x7f, 0xff]);
    assert_refused(read_score_map(folder.file("large.png", &large)), "large.png", "");
}

#[test]
fn submissions_lie_where_the_benchmarks_look() {
    let folder = Scratch::new();
    let scores = array![[0.5_f32, -1.25, 70000.0], [3.0, f32::INFINITY, 1e-9]];
    let path = files::export::segment_me_if_you_can(
        folder.path(),
        "SML",
        "AnomalyTrack-all",
        "validation0001",
        scores.view(),
    );
    let path = path.unwrap();
    assert!(path.ends_with("anomaly_p/SML/AnomalyTrack-all/validation0001.hdf5"), "{}", path.display());
    let read = read_score_map(&path).unwrap();
    assert_eq!(read, scores.mapv(|score| half::f16::from_f32(score).to_f32()));
    assert_eq!(read[[0, 2]], f32::INFINITY);

    let segmentation = array![[0_u8, 18, 255], [1, 2, 3]];
    let transposed = scores.t();
    files::export::fishyscapes(folder.path(), "0042", scores.view(), Some(segmentation.view())).unwrap();
    files::export::fishyscapes(&folder.path().join("new"), "7", transposed, None).unwrap();
    assert_eq!(read_score_map(folder.path().join("0042_anomaly.npy")).unwrap(), scores);
    assert_eq!(read_label_map(folder.path().join("0042_segmentation.npy")).unwrap(), segmentation);
    assert_eq!(read_score_map(folder.path().join("new/7_anomaly.npy")).unwrap(), transposed);
    assert!(!folder.path().join("new/7_segmentation.npy").exists());

    for name in ["", "..", "../other", "/root", "a/../../b", "a/"] {
        let refused = files::export::segment_me_if_you_can(folder.path(), "SML", "D", name, scores.view());
        assert!(matches!(refused, Err(Error::InvalidParameter { .. })), "{name:?}");
        let refused = files::export::fishyscapes(folder.path(), name, scores.view(), None);
        assert!(matches!(refused, Err(Error::InvalidParameter { .. })), "{name:?}");
    }
    let refused = files::export::fishyscapes(folder.path(), "0042", transposed, Some(segmentation.view()));
    assert!(matches!(refused, Err(Error::Shape { .. })));
}

#[test]
fn write_npy_and_the_maps_agree() {
    let folder = Scratch::new();
    let path = folder.path().join("scores.npy");
    write_npy(&path, &[2, 2], &[f32::NAN, -0.0, f32::INFINITY, 1e-40]).unwrap();
    let read = read_score_map(&path).unwrap();
    assert!(read[[0, 0]].is_nan() && read[[0, 1]].is_sign_negative());
    assert_eq!((read[[1, 0]], read[[1, 1]]), (f32::INFINITY, 1e-40));
}
