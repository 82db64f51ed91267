//! The official project's class statistics, and the pickles that they are made of.

use std::path::PathBuf;

use proptest::prelude::*;
use sml::files::{read_class_vector, read_official, write_npy};

use crate::{Scratch, assert_refused, data, header, npy};

/// A pickle as `np.save` writes a dict, protocol 3, without the memo instructions.
fn pickled(dict: &[u8]) -> Vec<u8> {
    wrapped(b"\x80\x03", b"C\x01b", dict)
}

fn wrapped(start: &[u8], letter: &[u8], dict: &[u8]) -> Vec<u8> {
    let mut bytes = start.to_vec();
    bytes.extend(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85");
    bytes.extend(letter);
    bytes.extend(b"\x87R(K\x01)cnumpy\ndtype\nX\x02\0\0\0O8\x89\x88\x87R");
    bytes.extend(b"(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89]");
    bytes.extend(dict);
    bytes.extend(b"atb.");
    bytes
}

/// A dict of BININT1 keys and BINFLOAT values.
fn dict(values: &[(u8, f64)]) -> Vec<u8> {
    let mut bytes = b"}(".to_vec();
    for (class, value) in values {
        bytes.extend([b'K', *class, b'G']);
        bytes.extend(value.to_be_bytes());
    }
    bytes.push(b'u');
    bytes
}

fn object(scratch: &Scratch, pickle: &[u8]) -> PathBuf {
    scratch.file("mean.npy", &npy(&header("|O", "()"), pickle))
}

#[test]
fn a_dict_as_numpy_pickles_it_is_read() {
    let scratch = Scratch::new();
    let path = object(&scratch, &pickled(&dict(&[(0, 9.5), (2, -1.25), (1, 3.0)])));
    let read = read_official(&path).unwrap();
    assert_eq!(read.into_iter().collect::<Vec<_>>(), [(0, 9.5), (1, 3.0), (2, -1.25)]);
    assert_eq!(read_class_vector(&path).unwrap(), [9.5, 3.0, -1.25]);
    let gap = object(&scratch, &pickled(&dict(&[(2, 4.0)])));
    let vector = read_class_vector(&gap).unwrap();
    assert!(vector[0].is_nan() && vector[1].is_nan() && vector[2] == 4.0);
}

#[test]
fn a_plain_vector_serves_as_well() {
    let scratch = Scratch::new();
    let path = scratch.path().join("mean.npy");
    write_npy(&path, &[3], &[1.0_f32, 2.0, 3.5]).unwrap();
    assert_eq!(read_class_vector(&path).unwrap(), [1.0, 2.0, 3.5]);
    assert_refused(read_official(&path), "mean.npy", "float32");
}

#[test]
fn other_protocols_and_numpy_numbers_are_read() {
    let scratch = Scratch::new();
    // Protocol 0: lines of text; the bytes of the array's letter as Python 2 wrote them.
    let text = b"(dI0\nF1.5\nsL1L\nI2\ns";
    let path = object(&scratch, &wrapped(b"", b"S'b'\n", text));
    assert_eq!(read_class_vector(&path).unwrap(), [1.5, 2.0]);
    // Protocol 2 on Python 3: bytes are latin-1 text that is encoded.
    let letter = b"c_codecs\nencode\nX\x01\0\0\0bX\x06\0\0\0latin1\x86R";
    let path = object(&scratch, &wrapped(b"\x80\x02", letter, b"}M\x01\0G\x3f\xf8\0\0\0\0\0\0s"));
    assert_eq!(read_official(&path).unwrap().into_iter().collect::<Vec<_>>(), [(1, 1.5)]);
    // Protocol 4: a frame, short texts, names from the stack, memo; NumPy numbers, the type recalled, big-endian.
    let mut numpy = b"}(K\x00".to_vec();
    numpy.extend(b"\x8c\x16numpy._core.multiarray\x94\x8c\x06scalar\x93\x94");
    numpy.extend(b"\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02f4\x89\x88\x87R(K\x03\x8c\x01>NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x94");
    numpy.extend(b"C\x04\x3f\xc0\0\0\x86R");
    numpy.extend(b"\x8a\x01\x01h\x01h\x02C\x04\x40\0\0\0\x86Ru");
    let path = object(&scratch, &wrapped(b"\x80\x04\x95\0\0\0\0\0\0\0\0", b"C\x01b", &numpy));
    assert_eq!(read_class_vector(&path).unwrap(), [1.5, 2.0]);
}

#[test]
fn code_is_refused_by_name_and_never_run() {
    let scratch = Scratch::new();
    let witness = scratch.path().join("witness");
    let command = format!("touch {}", witness.display());
    let mut call = b"cposix\nsystem\nX".to_vec();
    call.extend(u32::try_from(command.len()).unwrap().to_le_bytes());
    call.extend(command.as_bytes());
    call.extend(b"\x85R");
    let path = object(&scratch, &pickled(&call));
    assert_refused(read_official(&path), "mean.npy", "Python object \"posix.system\"");
    let path = object(&scratch, b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.");
    assert_refused(read_class_vector(&path), "mean.npy", "\"builtins.eval\"");
    let path = object(&scratch, b"\x80\x03(X\x01\0\0\0xios\nsystem\n.");
    assert_refused(read_official(&path), "mean.npy", "INST");
    let path = object(&scratch, b"\x80\x03c\x1b[2J\nx\n.");
    assert_refused(read_official(&path), "mean.npy", "Python object");
    assert!(!witness.exists());
}

#[test]
fn malformed_content_is_refused() {
    let scratch = Scratch::new();
    let refused = |pickle: &[u8], reason: &str| {
        assert_refused(read_official(&object(&scratch, pickle)), "mean.npy", reason);
    };
    let whole = pickled(&dict(&[(0, 1.0)]));
    for length in 0..whole.len() {
        refused(&whole[..length], "its pickle");
    }
    refused(&[&whole[..], b"."].concat(), "exactly one value");
    refused(&pickled(&dict(&[])), "empty dict");
    refused(&pickled(&dict(&[(1, 1.0), (1, 2.0)])), "class 1 twice");
    refused(&pickled(&dict(&[(255, 1.0)])), "train id");
    refused(&pickled(b"}J\xff\xff\xff\xffK\x01s"), "train id");
    refused(&pickled(b"}\x88K\x01s"), "train id");
    refused(&pickled(b"}K\x01Ns"), "class 1");
    refused(&pickled(b"}K\x01K\x02K\x03(u"), "sets items");
    refused(&pickled(b"}(K\x01u"), "no value");
    refused(b"\x80\x09.", "protocol 9");
    refused(b"\x80\x03K\x01.", "no dict");
    refused(b"\x80\x03h\x07.", "value 7");
    refused(b"\x80\x03\x8a\xff.", "truncated");
    refused(b"\x80\x03B\xff\xff\xff\xff.", "truncated");
    refused(b"\x80\x03K\x01(t\x85.", "its pickle");
    assert_refused(
        read_official(&scratch.file("axes.npy", &npy(&header("|O", "(1,)"), &whole))),
        "axes.npy",
        "with axes",
    );
}

#[test]
fn nesting_doubling_and_circles_cost_nothing() {
    let scratch = Scratch::new();
    let mut deep = b"\x80\x03)".to_vec();
    deep.extend(std::iter::repeat_n(0x85, 200_000));
    deep.push(b'.');
    assert_refused(read_official(&object(&scratch, &deep)), "mean.npy", "no dict");
    // Each tuple holds the one before twice: written out, 2^60 values.
    let mut doubled = b"\x80\x03)".to_vec();
    for index in 0..60 {
        doubled.extend([b'q', index, b'h', index, 0x86]);
    }
    doubled.push(b'.');
    assert_refused(read_official(&object(&scratch, &doubled)), "mean.npy", "no dict");
    assert_refused(read_official(&object(&scratch, b"\x80\x03]q\x00h\x00a.")), "mean.npy", "no dict");
    // A long text that is copied by each of many short calls would take gigabytes.
    let mut copies = b"\x80\x03cnumpy\ndtype\nq\x00X\x00\x00\x02\x00".to_vec();
    copies.extend(vec![b'a'; 0x20000]);
    copies.extend(b"\x85q\x01");
    for _ in 0..10_000 {
        copies.extend(b"h\x00h\x01R");
    }
    assert_refused(read_official(&object(&scratch, &copies)), "mean.npy", "unknown NumPy type");
    let long = vec![b'N'; 1 << 20];
    assert_refused(read_official(&object(&scratch, &long)), "mean.npy", "at most");
}

#[test]
fn the_official_files_are_read() {
    let Some(folder) = data::path("golden/official_statistics") else { return };
    let mean = read_official(&folder.join("cityscapes_mean.npy")).unwrap();
    assert_eq!((mean.len(), mean[&0]), (19, 9.472_783_088_684_082));
    let variance = read_class_vector(&folder.join("cityscapes_var.npy")).unwrap();
    assert_eq!(variance.len(), 19);
    assert!(variance.iter().all(|&value| value > 0.0));
}

proptest! {
    #[test]
    fn any_dict_comes_back(values in prop::collection::btree_map(0_u8..255, -1e6_f64..1e6, 1..40)) {
        let scratch = Scratch::new();
        let pairs: Vec<(u8, f64)> = values.into_iter().collect();
        let read = read_official(&object(&scratch, &pickled(&dict(&pairs)))).unwrap();
        let want: Vec<(usize, f64)> = pairs.iter().map(|&(class, value)| (class.into(), value)).collect();
        prop_assert_eq!(read.into_iter().collect::<Vec<_>>(), want);
    }

    #[test]
    fn arbitrary_pickles_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let scratch = Scratch::new();
        let _ = read_official(&object(&scratch, &bytes));
    }

    /// Instructions that are all known, in any order: they reach deeper than arbitrary bytes.
    #[test]
    fn arbitrary_instructions_never_panic(
        codes in prop::collection::vec(prop::sample::select(INSTRUCTIONS.to_vec()), 0..60)
    ) {
        let scratch = Scratch::new();
        let _ = read_official(&object(&scratch, &[&codes.concat()[..], b"."].concat()));
    }

    #[test]
    fn damaged_pickles_never_panic(at in any::<prop::sample::Index>(), value: u8) {
        let scratch = Scratch::new();
        let mut bytes = pickled(&dict(&[(0, 1.0), (1, 2.0)]));
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(read) = read_official(&object(&scratch, &bytes)) {
            prop_assert_eq!(read.len(), 2);
        }
    }
}

const INSTRUCTIONS: &[&[u8]] = &[
    b"(",
    b"t",
    b")",
    b"\x85",
    b"\x86",
    b"\x87",
    b"]",
    b"l",
    b"a",
    b"e",
    b"}",
    b"d",
    b"s",
    b"u",
    b"R",
    b"b",
    b"q\x00",
    b"h\x00",
    b"\x94",
    b"K\x01",
    b"N",
    b"\x88",
    b"G\0\0\0\0\0\0\0\0",
    b"X\x01\0\0\0b",
    b"C\x01b",
    b"\x93",
    b"cnumpy\ndtype\n",
    b"cnumpy\nndarray\n",
    b"cnumpy.core.multiarray\n_reconstruct\n",
    b"cnumpy.core.multiarray\nscalar\n",
    b"c_codecs\nencode\n",
    b"X\x02\0\0\0f4",
];
