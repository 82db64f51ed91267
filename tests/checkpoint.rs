//! Checkpoints that PyTorch wrote, and what is refused: nothing in a file is ever run.
#![cfg(feature = "files")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod data;

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use sml::Error;
use sml::files::{Checkpoint, CheckpointFormat, StoredTensor, StoredType, write_safetensors};

fn fixture(name: &str) -> PathBuf {
    data::repository().join("tests/checkpoints").join(name)
}

fn open(name: &str) -> Checkpoint<'static> {
    Checkpoint::open(&fixture(name)).unwrap()
}

/// The elements as float64, row by row.
fn values(checkpoint: &mut Checkpoint<'_>, name: &str) -> Vec<f64> {
    let index = checkpoint.tensors().iter().position(|tensor| tensor.name == name).unwrap();
    let element = checkpoint.tensors()[index].element;
    let bytes = checkpoint.read(index).unwrap();
    match element {
        StoredType::F64 => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
        StoredType::F32 => bytes.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
        StoredType::F16 => {
            bytes.as_chunks().0.iter().map(|&b| half::f16::from_le_bytes(b).to_f64()).collect()
        }
        StoredType::BF16 => {
            bytes.as_chunks().0.iter().map(|&b| half::bf16::from_le_bytes(b).to_f64()).collect()
        }
        other => panic!("{name} is {other}"),
    }
}

/// What the fixtures' elements are, by their index.
fn numbered(indices: impl IntoIterator<Item = usize>) -> Vec<f64> {
    indices.into_iter().map(|index| index as f64 / 8.0 - 1.0).collect()
}

fn shape<'a>(checkpoint: &'a Checkpoint<'_>, name: &str) -> &'a [usize] {
    &checkpoint.tensors().iter().find(|tensor| tensor.name == name).unwrap().shape
}

/// The file is refused by one line that holds each of `parts`.
#[track_caller]
fn assert_refused(opened: sml::Result<Checkpoint<'_>>, parts: &[&str]) {
    let error = opened.unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    let text = error.to_string();
    assert!(!text.contains('\n') && text.len() < 1000, "{text}");
    for part in parts {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}

#[test]
fn what_a_training_script_saved_gives_its_parameters() {
    for (file, format) in
        [("trained.pth", CheckpointFormat::TorchZip), ("trained-legacy.pth", CheckpointFormat::TorchLegacy)]
    {
        let mut checkpoint = open(file);
        assert_eq!(checkpoint.format(), format);
        assert_eq!(checkpoint.prefix(), "module.");
        let names: Vec<&str> = checkpoint.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
        let norm = ["bias", "num_batches_tracked", "running_mean", "running_var", "weight"];
        let norm = norm.map(|part| format!("norm.{part}"));
        let expected = ["conv.bias", "conv.weight"].into_iter().chain(norm.iter().map(String::as_str));
        assert_eq!(names, expected.collect::<Vec<_>>());
        assert_eq!(shape(&checkpoint, "conv.weight"), [4, 3, 3, 3]);
        assert_eq!(values(&mut checkpoint, "conv.weight"), numbered(0..108));
        assert_eq!(values(&mut checkpoint, "norm.running_var"), numbered(0..4));
        assert_eq!(checkpoint.left_out(), ["optimizer", "scheduler", "epoch", "mean_iu", "command", "rng"]);
    }
}

#[test]
fn every_element_type_and_every_view() {
    for file in ["tensors.pth", "tensors-legacy.pth"] {
        let mut checkpoint = open(file);
        for name in ["float64", "float32", "float16", "bfloat16"] {
            let tensor = checkpoint.tensors().iter().find(|tensor| tensor.name == name).unwrap();
            assert_eq!(tensor.element.to_string(), name);
            let count = tensor.elements();
            assert_eq!(values(&mut checkpoint, name), numbered(0..count), "{file}: {name}");
        }
        let bytes = |checkpoint: &mut Checkpoint<'_>, name: &str| {
            let index = checkpoint.tensors().iter().position(|tensor| tensor.name == name).unwrap();
            checkpoint.read(index).unwrap()
        };
        assert_eq!(bytes(&mut checkpoint, "int64"), 7_i64.to_le_bytes());
        assert_eq!(bytes(&mut checkpoint, "uint8"), [0, 255]);
        assert_eq!(bytes(&mut checkpoint, "bool"), [1, 0]);
        assert!(bytes(&mut checkpoint, "empty").is_empty());
        assert_eq!((shape(&checkpoint, "empty"), shape(&checkpoint, "int64")), (&[0, 3][..], &[][..]));

        // Parts of one tensor of 6 x 4.
        assert_eq!(values(&mut checkpoint, "rows"), numbered(8..16));
        let columns = (0..6).flat_map(|row| [row * 4 + 1, row * 4 + 2]);
        assert_eq!(values(&mut checkpoint, "columns"), numbered(columns));
        assert_eq!(shape(&checkpoint, "transposed"), [4, 6]);
        let transposed = (0..4).flat_map(|column| (0..6).map(move |row| row * 4 + column));
        assert_eq!(values(&mut checkpoint, "transposed"), numbered(transposed));
        assert_eq!(values(&mut checkpoint, "channels_last"), numbered(0..24));
        assert_eq!(values(&mut checkpoint, "parameter"), numbered(0..4));
    }
}

#[test]
fn parameters_under_another_key_are_found() {
    let checkpoint = open("model-key.pth");
    assert_eq!((checkpoint.tensors().len(), checkpoint.prefix()), (7, ""));
    assert_eq!(checkpoint.left_out(), ["epoch"]);
}

/// Options of a training script, sets, numbers of any length, NumPy's arrays and numbers: left out, whatever they hold.
#[test]
fn plain_values_of_any_kind_may_lie_beside_the_parameters() {
    for file in ["options.pth", "options-legacy.pth", "options-4.pth", "options-5.pth"] {
        let mut checkpoint = open(file);
        assert_eq!(checkpoint.tensors().len(), 2, "{file}");
        assert_eq!(values(&mut checkpoint, "weight"), numbered(0..6));
        assert_eq!(values(&mut checkpoint, "bias"), numbered(0..3));
        let left_out = ["args", "containers", "bytes", "others", "numpy", "scaler"];
        assert_eq!(checkpoint.left_out(), left_out, "{file}");
    }
}

#[test]
fn an_integer_of_more_than_64_bits_is_no_size() {
    let huge = "\x00".repeat(8) + "\x01";
    let pickle = String::from_utf8(one_tensor("4", "0", "(I4\nt", "(I1\nt")).unwrap();
    let pickle = pickle.replacen("(I4\nt", &format!("(\u{8a}\x09{huge}t"), 1);
    let bytes: Vec<u8> = pickle.chars().map(|letter| letter as u8).collect();
    let bytes = archive_of(&[("a/data.pkl", &bytes), ("a/data/0", &[0; 16])], stored());
    assert_refused(Checkpoint::from_bytes(&bytes, Path::new("w.pth")), &["\"w\"", "no number"]);
}

#[test]
fn a_name_that_is_no_tensor_is_refused_and_not_run() {
    for file in ["hostile.pth", "hostile-legacy.pth", "hostile-options.pth"] {
        assert_refused(Checkpoint::open(&fixture(file)), &[file, "the Python object \"posix.system\""]);
    }
    assert_refused(Checkpoint::open(&fixture("whole-module.pth")), &["__main__.Network", "state_dict()"]);
    assert!(!Path::new("run-by-a-checkpoint").exists());
}

#[test]
fn files_without_parameters_are_refused() {
    let parts = ["no-tensors.pth", "\"epoch\", \"lr\""];
    assert_refused(Checkpoint::open(&fixture("no-tensors.pth")), &parts);
    assert_refused(
        Checkpoint::open(&fixture("expanded.pth")),
        &["\"expanded\" repeats its elements", ".contiguous()"],
    );
    let mut tar = vec![b'x'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let refused = |bytes: &[u8], parts: &[&str]| {
        assert_refused(Checkpoint::from_bytes(bytes, Path::new("w.pth")), parts)
    };
    refused(&tar, &["w.pth: is a tar archive", "torch.save"]);
    refused(b"\x80\x02}q\x00.", &["is a pickle, but not one of torch.save"]);
    refused(b"", &["only 0 bytes"]);
    refused(b"these are words, not numbers", &["safetensors"]);
    assert!(matches!(Checkpoint::open(&fixture("absent.pth")).unwrap_err(), Error::Io { .. }));
    assert_refused(Checkpoint::open(&fixture("")), &["is a folder"]);
}

#[test]
fn a_file_cut_short_is_refused_wherever_it_is_cut() {
    for file in ["trained.pth", "trained-legacy.pth", "tensors.pth", "tensors-legacy.pth", "options-5.pth"] {
        let bytes = std::fs::read(fixture(file)).unwrap();
        for length in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
            assert_refused(Checkpoint::from_bytes(&bytes[..length], Path::new("cut.pth")), &["cut.pth"]);
        }
    }
}

#[test]
fn a_damaged_file_never_breaks_the_reader() {
    for file in ["tensors.pth", "tensors-legacy.pth", "trained.pth"] {
        let whole = std::fs::read(fixture(file)).unwrap();
        let mut random = 88_172_645_463_325_252_u64;
        for _ in 0..3000 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                // Xorshift.
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let at = (random >> 8) as usize % bytes.len();
                bytes[at] = random as u8;
            }
            if let Ok(mut checkpoint) = Checkpoint::from_bytes(&bytes, Path::new("damaged.pth")) {
                for index in 0..checkpoint.tensors().len() {
                    let elements = checkpoint.tensors()[index].elements();
                    if let Ok(read) = checkpoint.read(index) {
                        assert!(read.len() >= elements && read.len() <= 8 * elements);
                    }
                }
            }
        }
    }
}

/// An archive as `torch.save` lays it out, with this pickle and one storage of 4 float32.
fn archive(pickle: &[u8]) -> Vec<u8> {
    archive_of(&[("a/data.pkl", pickle), ("a/byteorder", b"little"), ("a/data/0", &[0; 16])], stored())
}

fn stored() -> zip::write::SimpleFileOptions {
    zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored)
}

fn archive_of(entries: &[(&str, &[u8])], options: zip::write::SimpleFileOptions) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        archive.start_file(*name, options).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// `{"w": tensor}` in protocol 2, the tensor made of these arguments in text: storage elements, offset, shape, strides.
fn one_tensor(elements: &str, offset: &str, shape: &str, strides: &str) -> Vec<u8> {
    let storage =
        format!("((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuI{elements}\ntQ");
    let rebuild = format!("ctorch._utils\n_rebuild_tensor_v2\n{storage}I{offset}\n{shape}{strides}I00\n}}tR");
    format!("\u{0}}}X\x01\0\0\0w{rebuild}s.").replacen('\u{0}', "", 1).into_bytes()
}

fn tuple(items: &[&str]) -> String {
    format!("({}t", items.iter().map(|item| format!("I{item}\n")).collect::<String>())
}

#[test]
fn places_and_sizes_that_are_not_true_are_refused() {
    let open = |pickle: &[u8]| {
        let bytes = archive(pickle);
        Checkpoint::from_bytes(Box::leak(bytes.into_boxed_slice()), Path::new("w.pth"))
    };
    let tensor = |elements: &str, offset: &str, shape: &[&str], strides: &[&str]| {
        open(&one_tensor(elements, offset, &tuple(shape), &tuple(strides)))
    };
    let good = tensor("4", "0", &["2", "2"], &["2", "1"]).unwrap();
    assert_eq!(good.tensors()[0].shape, [2, 2]);
    let huge = "4611686018427387904";
    for (elements, offset, shape, strides, part) in [
        ("5", "0", &["2"][..], &["1"][..], "said to have 5 elements and has 16 bytes"),
        ("4", "3", &["2"], &["1"], "reaches element 5 of a storage of 4"),
        ("4", "-1", &["2"], &["1"], "place or size of -1"),
        ("4", "0", &["2"], &["-1"], "place or size of -1"),
        ("4", "0", &["-2"], &["1"], "place or size of -2"),
        ("-4", "0", &["2"], &["1"], "place or size of -4"),
        ("4", "0", &["2", "2"], &["1"], "is malformed"),
        ("4", "0", &["1000", "1000"], &["0", "0"], "repeats its elements"),
        ("4", "0", &[huge, huge], &["1", huge], "too large to be true"),
        ("4", huge, &["2"], &[huge], "reaches element"),
        ("9223372036854775807", "0", &[huge], &["1"], "said to have"),
        ("x", "0", &["2"], &["1"], "in place of a number"),
    ] {
        assert_refused(tensor(elements, offset, shape, strides), &["w.pth", part]);
    }
    let missing =
        String::from_utf8(one_tensor("4", "0", "(I2\nt", "(I1\nt")).unwrap().replace("\x000X", "\x007X");
    assert_refused(open(missing.as_bytes()), &["storage \"7\", which the file lacks"]);
}

#[test]
fn archives_that_are_no_checkpoints_are_refused() {
    let good = one_tensor("4", "0", "(I2\nt", "(I1\nt");
    let refused = |bytes: Vec<u8>, parts: &[&str]| {
        assert_refused(Checkpoint::from_bytes(&bytes, Path::new("w.pth")), parts);
    };
    let deflated =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    refused(archive_of(&[("a/data.pkl", &good), ("a/data/0", &[0; 16])], deflated), &["compressed"]);
    // A storage of 100 MB out of 100 kB.
    let bomb = vec![0; 100 << 20];
    refused(archive_of(&[("a/data.pkl", &good), ("a/data/0", &bomb)], deflated), &["compressed"]);
    refused(
        archive_of(&[("a/data.pkl", &good), ("a/byteorder", b"big")], stored()),
        &["byteorder", "\"big\""],
    );
    refused(archive_of(&[("a/readme", b"hello")], stored()), &["without data.pkl"]);
    refused(
        archive_of(&[("a/data.pkl", &good), ("a/constants.pkl", b"")], stored()),
        &["TorchScript module", "--model"],
    );
    let long = vec![b'('; (1 << 23) + 1];
    refused(archive_of(&[("a/data.pkl", &long)], stored()), &["8388609 bytes"]);
}

#[test]
fn pickles_that_eat_stack_memory_or_time_are_refused() {
    let started = std::time::Instant::now();
    let open = |pickle: &[u8]| {
        let bytes = archive(pickle);
        Checkpoint::from_bytes(Box::leak(bytes.into_boxed_slice()), Path::new("w.pth")).map(drop)
    };
    // A million nested tuples; a list that holds itself; a list repeated without end.
    let nested = [vec![b')'; 1], [0x85].repeat(1_000_000), b".".to_vec()].concat();
    assert!(open(&nested).is_err());
    assert!(open(b"]q\x00h\x00a.").is_err());
    let mut repeated = b"}q\x00X\x01\0\0\0ah\x00sX\x0a\0\0\0state_dicth\x00s.".to_vec();
    assert!(open(&repeated).is_err());
    repeated.truncate(5);
    assert!(open(&repeated).is_err());
    // Many dicts of one list of many pairs: each mention costs nothing.
    let pairs = [b"]q\x00(".to_vec(), b"I1\nI2\n\x86".repeat(100_000), b"e".to_vec()].concat();
    let mentions = b"ccollections\nOrderedDict\nh\x00\x85R0".repeat(1000);
    assert!(open(&[pairs, mentions, b".".to_vec()].concat()).is_err());
    // A name of eight megabytes, mentioned often.
    let name = [b"X\x00\x00\x10\x00".to_vec(), vec![b'x'; 1 << 20], b"q\x00".to_vec()].concat();
    assert!(open(&[name, b"h\x00h\x00\x93".repeat(100_000), b".".to_vec()].concat()).is_err());
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn tensors_that_share_their_elements_a_thousand_times_are_refused() {
    let one = one_tensor("4", "0", "(I4\nt", "(I1\nt");
    let one = String::from_utf8(one).unwrap();
    let (start, end) = (one.find("X\x01\0\0\0w").unwrap(), one.len() - 2);
    let entry = &one[start..end];
    let many: String =
        (0..1000).map(|i| entry.replace("X\x01\0\0\0w", &format!("X\x05\0\0\0w{i:04}")) + "s").collect();
    let storage = vec![0; 1 << 16];
    let pickle = format!("}}{many}.").replace("I4\n", "I16384\n");
    let bytes = archive_of(&[("a/data.pkl", pickle.as_bytes()), ("a/data/0", &storage)], stored());
    assert_refused(Checkpoint::from_bytes(&bytes, Path::new("w.pth")), &["claims 65536000 bytes of tensors"]);
}

#[test]
fn converting_keeps_every_bit_and_needs_no_pytorch() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["tensors.pth", "trained-legacy.pth"] {
        let mut original = open(file);
        let path = folder.path().join("converted.safetensors");
        let notes = BTreeMap::from([("source".to_owned(), file.to_owned())]);
        write_safetensors(&path, &mut original, &notes).unwrap();

        // Read by the crate of the format's authors, and by ours.
        let bytes = std::fs::read(&path).unwrap();
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut ours = Checkpoint::open(&path).unwrap();
        assert_eq!(ours.format(), CheckpointFormat::Safetensors);
        let described = |tensor: &StoredTensor| (tensor.name.clone(), tensor.element, tensor.shape.clone());
        let expected: Vec<_> = original.tensors().iter().map(described).collect();
        assert_eq!(ours.tensors().iter().map(described).collect::<Vec<_>>(), expected);
        for (index, (name, _, shape)) in expected.iter().enumerate() {
            let elements = original.read(index).unwrap();
            assert_eq!(ours.read(index).unwrap(), elements);
            let view = theirs.tensor(name).unwrap();
            assert_eq!((view.data(), view.shape()), (&elements[..], &shape[..]));
            let width = view.dtype().bitsize() / 8;
            let start = view.data().as_ptr().addr() - bytes.as_ptr().addr();
            assert!(start.is_multiple_of(width), "{name} begins at byte {start}");
        }
        let again = folder.path().join("again.safetensors");
        write_safetensors(&again, &mut original, &notes).unwrap();
        assert_eq!(std::fs::read(&again).unwrap(), bytes, "equal tensors give equal files");
    }
}

#[test]
fn a_checkpoint_that_cannot_be_read_leaves_no_converted_file() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("shrinking.pth");
    std::fs::copy(fixture("trained-legacy.pth"), &source).unwrap();
    let mut checkpoint = Checkpoint::open(&source).unwrap();
    std::fs::File::options().write(true).open(&source).unwrap().set_len(100).unwrap();
    let target = folder.path().join("out.safetensors");
    let error = write_safetensors(&target, &mut checkpoint, &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("shrinking.pth"), "{error}");
    assert!(!target.exists());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_digest_is_of_the_whole_file() {
    use sha2::Digest;
    let mut bytes = Vec::new();
    std::fs::File::open(fixture("tensors.pth")).unwrap().read_to_end(&mut bytes).unwrap();
    let digest: String = sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(open("tensors.pth").sha256().unwrap(), digest);
}
