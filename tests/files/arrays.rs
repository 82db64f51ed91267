//! Saved logits: .npy, .npz and .safetensors.

use std::collections::HashMap;
use std::io::Write;

use half::{bf16, f16};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use sml::files::{LogitsFile, read_npy_vector, write_npy};
use sml::{Layout, LogitsData, Size};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::{Scratch, assert_refused, header, npy};

fn counting(count: usize) -> Vec<f32> {
    (0..count).map(|index| index as f32 * 0.5 - 3.0).collect()
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[track_caller]
fn f32_of(file: &LogitsFile) -> &[f32] {
    match file.data() {
        LogitsData::F32(values) => values,
        other => panic!("{:?}", other.element_type()),
    }
}

fn npz(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn safetensors_file(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
    let views: HashMap<&str, TensorView<'_>> = tensors
        .iter()
        .map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.to_vec(), data).unwrap()))
        .collect();
    safetensors::serialize(views, None).unwrap()
}

#[test]
fn a_batch_and_a_single_image_are_read_in_both_layouts() {
    let scratch = Scratch::new();
    let values = counting(2 * 3 * 4 * 5);
    let path = scratch.path().join("a.npy");
    write_npy(&path, &[2, 3, 4, 5], &values).unwrap();
    let file = LogitsFile::read(&path, None).unwrap();
    assert_eq!((file.shape(), file.array()), ([2, 3, 4, 5], None));
    assert_eq!(f32_of(&file), values);
    let nchw = file.logits(Layout::Nchw).unwrap().shape();
    assert_eq!((nchw.batch, nchw.classes, nchw.size), (2, 3, Size::new(4, 5)));
    let nhwc = file.logits(Layout::Nhwc).unwrap().shape();
    assert_eq!((nhwc.batch, nhwc.classes, nhwc.size), (2, 5, Size::new(3, 4)));
    write_npy(&path, &[3, 4, 10], &values).unwrap();
    assert_eq!(LogitsFile::read(&path, None).unwrap().shape(), [1, 3, 4, 10]);
}

#[test]
fn big_endian_and_fortran_order_are_converted() {
    let scratch = Scratch::new();
    let values = counting(24);
    let big: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
    let path = scratch.file("big.npy", &npy(&header(">f4", "(2, 3, 4)"), &big));
    assert_eq!(f32_of(&LogitsFile::read(path, None).unwrap()), values);
    let half: Vec<u8> = values.iter().flat_map(|&value| f16::from_f32(value).to_be_bytes()).collect();
    let path = scratch.file("half.npy", &npy(&header(">f2", "(2, 3, 4)"), &half));
    let file = LogitsFile::read(path, None).unwrap();
    let want: Vec<f16> = values.iter().map(|&value| f16::from_f32(value)).collect();
    assert!(matches!(file.data(), LogitsData::F16(read) if read == want));
    // Fortran order: element (c, y, x) lies at c + 2 y + 6 x.
    let fortran = header("<f4", "(2, 3, 4)").replace("False", "True");
    let path = scratch.file("fortran.npy", &npy(&fortran, &bytes_of(&values)));
    let read = LogitsFile::read(path, None).unwrap();
    let want: Vec<f32> = (0..24).map(|i| values[i / 12 + 2 * (i / 4 % 3) + 6 * (i % 4)]).collect();
    assert_eq!(f32_of(&read), want);
}

#[test]
fn archives_are_read_stored_and_deflated() {
    let scratch = Scratch::new();
    let values = counting(2 * 70_000);
    let array = npy(&header("<f4", "(2, 200, 350)"), &bytes_of(&values));
    let vector = npy(&header("<f8", "(1,)"), &[0; 8]);
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let path = scratch.file("a.npz", &npz(&[("mean.npy", &vector), ("scores.npy", &array)], method));
        let file = LogitsFile::read(&path, None).unwrap();
        assert_eq!((file.array(), f32_of(&file)), (Some("scores"), &values[..]));
        for name in ["scores", "scores.npy"] {
            assert_eq!(LogitsFile::read(&path, Some(name)).unwrap().shape(), [1, 2, 200, 350]);
        }
        assert_refused(LogitsFile::read(&path, Some("mean")), "a.npz", "\"mean\" holds float64");
        let text = assert_refused(LogitsFile::read(&path, Some("absent")), "a.npz", "no array \"absent\"");
        assert!(text.contains("\"scores\" float32 (2, 200, 350)"), "{text}");
    }
}

#[test]
fn of_several_arrays_logits_is_preferred_and_otherwise_a_name_is_needed() {
    let scratch = Scratch::new();
    let array = npy(&header("<f4", "(1, 2, 2)"), &bytes_of(&counting(4)));
    let records = npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (0,), }", &[]);
    let both = npz(&[("a.npy", &array), ("b.npy", &array), ("r.npy", &records)], CompressionMethod::Stored);
    let text = assert_refused(LogitsFile::read(scratch.file("ab.npz", &both), None), "ab.npz", "several");
    assert!(text.contains("\"a\" float32 (1, 2, 2), \"b\""), "{text}");
    let third =
        npz(&[("a.npy", &array), ("logits.npy", &array), ("r.npy", &records)], CompressionMethod::Stored);
    assert_eq!(LogitsFile::read(scratch.file("l.npz", &third), None).unwrap().array(), Some("logits"));
    let data = bytes_of(&counting(4));
    let tensors =
        safetensors_file(&[("a", Dtype::F32, &[1, 2, 2], &data), ("b\n", Dtype::F32, &[1, 2, 2], &data)]);
    assert_refused(
        LogitsFile::read(scratch.file("ab.safetensors", &tensors), None),
        "ab.safetensors",
        "several",
    );
}

#[test]
fn safetensors_keep_their_element_type() {
    let scratch = Scratch::new();
    let half: Vec<u8> = (0..12_u16).flat_map(|value| f16::from_f32(value.into()).to_le_bytes()).collect();
    let brain: Vec<u8> = (0..12_u16).flat_map(|value| bf16::from_f32(value.into()).to_le_bytes()).collect();
    let odd = [1_u8; 3];
    let bytes = safetensors_file(&[
        ("brain", Dtype::BF16, &[3, 2, 2], &brain),
        ("half", Dtype::F16, &[1, 3, 2, 2], &half),
        ("mask", Dtype::U8, &[3], &odd),
    ]);
    let path = scratch.file("t.safetensors", &bytes);
    let file = LogitsFile::read(&path, Some("brain")).unwrap();
    assert!(matches!(file.data(), LogitsData::BF16(values) if values[11].to_f32() == 11.0));
    let file = LogitsFile::read(&path, Some("half")).unwrap();
    assert!(matches!(file.data(), LogitsData::F16(values) if values[11].to_f32() == 11.0));
    assert_refused(LogitsFile::read(&path, Some("mask")), "t.safetensors", "holds U8");
    for length in [0, 4, 8, 40, bytes.len() - 1] {
        let path = scratch.file("cut.safetensors", &bytes[..length]);
        assert_refused(LogitsFile::read(path, None), "cut.safetensors", "");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_refused(LogitsFile::read(scratch.file("x.safetensors", &longer), None), "x.safetensors", "longer");
}

#[test]
fn without_a_known_extension_the_content_decides() {
    let scratch = Scratch::new();
    let data = bytes_of(&counting(4));
    let array = npy(&header("<f4", "(1, 2, 2)"), &data);
    for bytes in [
        array.clone(),
        npz(&[("a.npy", &array)], CompressionMethod::Stored),
        safetensors_file(&[("a", Dtype::F32, &[1, 2, 2], &data)]),
    ] {
        assert_eq!(LogitsFile::read(scratch.file("logits", &bytes), None).unwrap().shape(), [1, 1, 2, 2]);
    }
    assert_refused(
        LogitsFile::read(scratch.file("logits.pt", b"not any of them"), None),
        "logits.pt",
        ".npz",
    );
    assert_refused(LogitsFile::read(scratch.file("empty.bin", b""), None), "empty.bin", "0 bytes");
}

#[test]
fn arrays_that_are_no_logits_are_refused_by_what_they_are() {
    let scratch = Scratch::new();
    let refused = |bytes: Vec<u8>, reason: &str| {
        let path = scratch.file("bad.npy", &bytes);
        assert_refused(LogitsFile::read(path, None), "bad.npy", reason);
    };
    refused(npy(&header("<f8", "(1, 2, 2)"), &[0; 32]), "float64");
    refused(npy(&header("|O", "(1, 2, 2)"), b"\x80\x03cposix\nsystem\n"), "pickled");
    refused(npy(&header("<i4", "(1, 2, 2)"), &[0; 16]), "int32");
    refused(npy(&header("<V2", "(1, 2, 2)"), &[0; 8]), "bfloat16 belongs");
    refused(npy(&header("<f4", "(2, 2)"), &[0; 16]), "shape (2, 2)");
    refused(npy(&header("<f4", "(1, 0, 2)"), &[]), "without an axis of length 0");
    refused(npy(&header("<f4", "(1, 2, 3)"), &[0; 23]), "truncated: 23 bytes");
    refused(npy(&header("<f4", "(1, 2, 3)"), &[0; 25]), "longer");
    refused(npy(&header("<f4", "(9999999999, 9999999999, 9)"), &[0; 8]), "impossible shape");
    refused(npy(&header("<f4", "(19, 1000000, 1000000)"), &[0; 8]), "truncated");
    refused(npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", &[]), "structured");
    refused(b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), "header of 4294967295 bytes");
    refused(b"\x93NUMPY\x01\x00\x80\x00{'descr'".to_vec(), "truncated within its header");
    refused(b"\x93NUMPY\x09\x00\x80\x00".to_vec(), "format 9.0");
    refused(b"GIF89a, surely".to_vec(), "magic");
    refused(Vec::new(), "magic");
    let path = scratch.file("one.npy", &npy(&header("<f4", "(1, 2, 2)"), &[0; 16]));
    assert_refused(LogitsFile::read(path, Some("logits")), "one.npy", "single array");
    assert_refused(LogitsFile::read(scratch.path().join("absent.npy"), None), "absent.npy", "cannot read");
    assert_refused(LogitsFile::read(scratch.path(), None), "", "folder");
    let many = scratch.file("many.npy", &npy(&header("|u1", "(1, 2, 2)"), &[0; 4]));
    assert_refused(LogitsFile::read(many, None), "many.npy", "uint8");
}

#[test]
fn too_many_classes_point_at_the_layout() {
    let scratch = Scratch::new();
    let path = scratch.path().join("hwc.npy");
    write_npy(&path, &[300, 4, 19], &vec![0.0_f32; 300 * 4 * 19]).unwrap();
    let file = LogitsFile::read(&path, None).unwrap();
    assert!(file.logits(Layout::Nhwc).is_ok());
    assert_refused(file.logits(Layout::Nchw), "hwc.npy", "read as (N, C, H, W)");
}

/// Finds the only place of `pattern` from which `offset` bytes on lies a field, and overwrites the field.
fn patch(bytes: &mut [u8], pattern: &[u8], offset: usize, field: &[u8]) {
    let at = bytes.windows(pattern.len()).position(|window| window == pattern).unwrap();
    bytes[at + offset..at + offset + field.len()].copy_from_slice(field);
}

#[test]
fn an_archive_that_declares_more_than_it_holds_takes_no_memory() {
    let scratch = Scratch::new();
    // The header asks for 3.9 GB; the entry holds 100 KB of deflated zeros and claims whatever is needed.
    let array = npy(&header("<f4", "(19, 5000, 10000)"), &[0; 100_000]);
    let claim = (array.len() as u64 - 100_000 + 19 * 5000 * 10_000 * 4) as u32;
    let honest = npz(&[("logits.npy", &array)], CompressionMethod::Deflated);
    assert_refused(LogitsFile::read(scratch.file("honest.npz", &honest), None), "honest.npz", "truncated");
    let mut bomb = honest.clone();
    patch(&mut bomb, b"PK\x03\x04", 22, &claim.to_le_bytes());
    patch(&mut bomb, b"PK\x01\x02", 24, &claim.to_le_bytes());
    assert_refused(LogitsFile::read(scratch.file("bomb.npz", &bomb), None), "bomb.npz", "hold at most");
    // Stored: declared and compressed size both lie.
    let mut stored = npz(&[("logits.npy", &array)], CompressionMethod::Stored);
    for (start, offset) in [(b"PK\x03\x04", 18), (b"PK\x01\x02", 20)] {
        patch(&mut stored, start, offset, &[claim.to_le_bytes(), claim.to_le_bytes()].concat());
    }
    assert_refused(LogitsFile::read(scratch.file("stored.npz", &stored), None), "stored.npz", "");
}

#[test]
fn a_real_bomb_is_stopped_by_its_own_header() {
    let scratch = Scratch::new();
    // 64 MB of zeros in 64 KB, behind a header of 16 bytes of data.
    let array = npy(&header("<f4", "(1, 2, 2)"), &vec![0; 64 << 20]);
    let bomb = npz(&[("logits.npy", &array)], CompressionMethod::Deflated);
    assert!(bomb.len() < 100_000);
    assert_refused(
        LogitsFile::read(scratch.file("bomb.npz", &bomb), None),
        "bomb.npz",
        "longer than its header",
    );
}

#[test]
fn a_damaged_archive_is_told_from_a_whole_one() {
    let scratch = Scratch::new();
    let values = counting(4 * 5000);
    let array = npy(&header("<f4", "(4, 50, 100)"), &bytes_of(&values));
    let whole = npz(&[("logits.npy", &array)], CompressionMethod::Stored);
    let mut flipped = whole.clone();
    flipped[1000] ^= 1;
    assert_refused(LogitsFile::read(scratch.file("flipped.npz", &flipped), None), "flipped.npz", "damaged");
    let cut = &whole[..whole.len() / 2];
    assert_refused(LogitsFile::read(scratch.file("cut.npz", cut), None), "cut.npz", "archive");
    let none = npz(&[("readme.txt", b"hello")], CompressionMethod::Stored);
    assert_refused(LogitsFile::read(scratch.file("none.npz", &none), None), "none.npz", "no array");
}

#[test]
fn vectors_of_every_number_type_are_read() {
    let scratch = Scratch::new();
    let read = |descr: &str, data: &[u8]| {
        let shape = format!("({},)", data.len() / descr[2..].parse::<usize>().unwrap());
        read_npy_vector(&scratch.file("v.npy", &npy(&header(descr, &shape), data))).unwrap()
    };
    assert_eq!(read("<f8", &[1.5_f64.to_le_bytes(), (-2.0_f64).to_le_bytes()].concat()), [1.5, -2.0]);
    assert_eq!(read(">f4", &1.5_f32.to_be_bytes()), [1.5]);
    assert_eq!(read("<f2", &f16::from_f32(1.5).to_le_bytes()), [1.5]);
    assert_eq!(read("|i1", &[255]), [-1.0]);
    assert_eq!(read("|u1", &[255, 0]), [255.0, 0.0]);
    assert_eq!(read(">i8", &(-5_i64).to_be_bytes()), [-5.0]);
    assert_eq!(read("<u2", &700_u16.to_le_bytes()), [700.0]);
    let matrix = scratch.file("m.npy", &npy(&header("<f8", "(1, 1)"), &[0; 8]));
    assert_refused(read_npy_vector(&matrix), "m.npy", "one-dimensional");
    let complex = scratch.file("c.npy", &npy(&header("<c8", "(1,)"), &[0; 8]));
    assert_refused(read_npy_vector(&complex), "c.npy", "complex64");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(shape in [1_usize..3, 1..6, 1..6, 1..6], seed in any::<u32>()) {
        let scratch = Scratch::new();
        let values: Vec<f32> =
            (0..shape.iter().product::<usize>() as u32).map(|i| f32::from_bits(i.wrapping_mul(seed))).collect();
        let path = scratch.path().join("a.npy");
        write_npy(&path, &shape, &values).unwrap();
        let file = LogitsFile::read(&path, None).unwrap();
        prop_assert_eq!(file.shape(), shape);
        // By bits: NaN is to come back as it was.
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(f32_of(&file)), bits(&values));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), start in 0..5_usize) {
        let scratch = Scratch::new();
        let starts: [&[u8]; 5] = [b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"\x40\0\0\0\0\0\0\0{", b"PK\x05\x06"];
        let bytes = [starts[start], &bytes].concat();
        for name in ["a", "a.npy", "a.npz", "a.safetensors"] {
            let path = scratch.file(name, &bytes);
            assert_refused(LogitsFile::read(&path, None), name, "");
            let _ = read_npy_vector(&path);
        }
    }

    #[test]
    fn damaged_files_never_panic(which in 0..3_usize, at in any::<prop::sample::Index>(), value: u8, cut: bool) {
        let scratch = Scratch::new();
        let data = bytes_of(&counting(24));
        let array = npy(&header("<f4", "(2, 3, 4)"), &data);
        let (name, mut bytes) = match which {
            0 => ("a.npy", array),
            1 => ("a.npz", npz(&[("logits.npy", &array)], CompressionMethod::Deflated)),
            _ => ("a.safetensors", safetensors_file(&[("logits", Dtype::F32, &[2, 3, 4], &data)])),
        };
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = value }
        match LogitsFile::read(scratch.file(name, &bytes), None) {
            // One byte of the elements or of a comment may have any value.
            Ok(file) => prop_assert_eq!(file.data().len(), 24),
            refused => drop(assert_refused(refused, name, "")),
        }
    }

    #[test]
    fn hostile_headers_never_panic(text in "[\\[\\](){}',: a-z0-9<>|LTrueFals_.-]{0,120}") {
        let scratch = Scratch::new();
        let path = scratch.file("a.npy", &npy(&text, &[0; 64]));
        let _ = (LogitsFile::read(&path, None), read_npy_vector(&path));
        let whole = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {text}}}");
        let path = scratch.file("b.npy", &npy(&whole, &[0; 64]));
        let _ = (LogitsFile::read(&path, None), read_npy_vector(&path));
    }
}
