//! Saved logits for the program to read, its results read back, and what the library's engine makes of the same logits.

use half::{bf16, f16};
use ndarray::{Array3, Array4};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sml::{Capacity, ClassStatistics, Device, Engine, Layout, Logits, LogitsData, Params, Provenance, Size};

/// Elements as files hold them.
pub trait Element: Copy + Default {
    /// As `numpy.dtype.descr` writes it, and as safetensors does.
    const NAMES: (&'static str, safetensors::Dtype);
    fn of(value: f32) -> Self;
    fn little_endian(self) -> Vec<u8>;
}

macro_rules! element {
    ($($element:ty, $descr:literal, $dtype:ident, $of:expr;)*) => {$(
        impl Element for $element {
            const NAMES: (&'static str, safetensors::Dtype) = ($descr, safetensors::Dtype::$dtype);

            fn of(value: f32) -> Self {
                $of(value)
            }

            fn little_endian(self) -> Vec<u8> {
                self.to_le_bytes().to_vec()
            }
        }
    )*};
}

element! {
    f32, "<f4", F32, |value| value;
    f16, "<f2", F16, f16::from_f32;
    bf16, "(none)", BF16, bf16::from_f32;
    f64, "<f8", F64, f64::from;
}

/// Random logits N x C x h x w whose predictions form regions, as those of a network do.
pub fn random_logits<T: Element>(seed: u64, [n, c, h, w]: [usize; 4]) -> Array4<T> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let noise = Array4::from_shape_simple_fn((n, c, h, w), || random.random_range(-1.0..1.0_f32));
    Array4::from_shape_fn((n, c, h, w), |(n, class, y, x)| {
        let region = (y / 5 + x / 7 + n) % c == class;
        T::of(noise[(n, class, y, x)] + if region { 6.0 + class as f32 } else { 0.0 })
    })
}

/// Statistics that differ from class to class.
pub fn statistics(classes: usize) -> ClassStatistics {
    let mean: Vec<f64> = (0..classes).map(|class| 6.0 + 0.75 * class as f64).collect();
    let variance: Vec<f64> = (0..classes).map(|class| 0.5 + 0.125 * class as f64).collect();
    ClassStatistics::from_vectors(&mean, &variance, Provenance::default()).unwrap()
}

/// A .npy file in C order.
pub fn npy(descr: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let shape: String = shape.iter().map(|axis| format!("{axis}, ")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// The array's elements in C order.
pub fn bytes<T: Element>(array: &Array4<T>) -> Vec<u8> {
    array.iter().flat_map(|element| element.little_endian()).collect()
}

/// The array as a .npy file.
pub fn to_npy<T: Element>(array: &Array4<T>) -> Vec<u8> {
    npy(T::NAMES.0, array.shape(), &bytes(array))
}

/// Arrays by name as an .npz file.
pub fn npz(arrays: &[(&str, Vec<u8>)], method: zip::CompressionMethod) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    for (name, array) in arrays {
        archive.start_file(format!("{name}.npy"), options).unwrap();
        std::io::Write::write_all(&mut archive, array).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// The array as the tensor `name` of a .safetensors file.
pub fn to_safetensors<T: Element>(name: &str, array: &Array4<T>) -> Vec<u8> {
    let data = bytes(array);
    let view = safetensors::tensor::TensorView::new(T::NAMES.1, array.shape().to_vec(), &data).unwrap();
    safetensors::serialize([(name, view)], None).unwrap()
}

/// Score and prediction by the library's engine.
pub fn engine_map<T>(
    logits: &Array4<T>,
    statistics: Option<&ClassStatistics>,
    params: Params,
    size: Size,
) -> (Array3<f32>, Array3<u8>)
where
    for<'a> &'a [T]: Into<LogitsData<'a>>,
{
    let &[n, c, h, w] = logits.shape() else { panic!("rank 4") };
    let shape = sml::LogitsShape::new(n, c, h, w).unwrap();
    let logits = Logits::packed(logits.as_slice().unwrap(), shape, Layout::Nchw).unwrap();
    let mut engine = Engine::new(Device::Cpu, params, statistics, Capacity::of(shape, size)).unwrap();
    let map = engine.submit(&logits, size).unwrap();
    (map.score.to_owned(), map.prediction.to_owned())
}

/// A .npy file of a result: its shape, the type as its header writes it, its elements.
pub fn read_npy<T: npyz::Deserialize>(file: &[u8]) -> (Vec<usize>, String, Vec<T>) {
    let array = npyz::NpyFile::new(file).unwrap();
    let shape = array.shape().iter().map(|&axis| axis as usize).collect();
    let descr = array.dtype().descr().trim_matches('\'').to_owned();
    (shape, descr, array.into_vec().unwrap())
}

/// Scores N x H x W out of a .npy file, which must be float32.
pub fn read_scores(file: &[u8]) -> Array3<f32> {
    let (shape, descr, elements) = read_npy(file);
    assert_eq!(descr, "<f4");
    Array3::from_shape_vec(<[usize; 3]>::try_from(shape).unwrap(), elements).unwrap()
}

/// Train ids N x H x W out of a .npy file, which must be bytes.
pub fn read_prediction(file: &[u8]) -> Array3<u8> {
    let (shape, descr, elements) = read_npy(file);
    assert_eq!(descr, "|u1");
    Array3::from_shape_vec(<[usize; 3]>::try_from(shape).unwrap(), elements).unwrap()
}

/// Asserts that two score maps are the same bit for bit (NaN is NaN, whatever its payload).
#[track_caller]
pub fn assert_same_bits(got: &Array3<f32>, want: &Array3<f32>, what: &str) {
    assert_eq!(got.dim(), want.dim(), "{what}");
    for (at, want) in want.indexed_iter() {
        let got = got[at];
        let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
        assert!(same, "{what} at {at:?}: got {got}, expected {want}");
    }
}
