//! Weights by a formula: a network can be measured and tested without its trained weights.
//!
//! Each value follows from the name of its tensor and its index alone, through the SplitMix64 generator, so that any
//! implementation of a network can be given the same weights without a file of hundreds of megabytes changing hands.
//! Convolutions are scaled so that features neither vanish nor grow (He et al., "Delving Deep into Rectifiers", ICCV 2015),
//! as in a trained network; the maps that such weights give mean nothing.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde_json::json;

/// The numbers that belong to a name.
#[derive(Clone, Copy, Debug)]
pub struct Formula {
    seed: u64,
}

impl Formula {
    /// The numbers of `name`.
    pub fn of(name: &str) -> Self {
        // FNV-1a.
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self { seed: name.bytes().fold(0xcbf2_9ce4_8422_2325, step) }
    }

    /// The number at `index`, uniform in 0..1.
    pub fn uniform(self, index: u64) -> f64 {
        let z = self.seed.wrapping_add((index.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
    }
}

/// What a parameter's numbers are brought to, by its name and shape.
fn scaled(name: &str, shape: &[i64]) -> impl Fn(f64) -> f64 + Send + Sync + use<> {
    let (factor, offset) = match shape {
        [_] if name.ends_with("running_var") => (1.0, 0.5),
        [_] if name.ends_with("running_mean") => (0.2, -0.1),
        // The last norm of a bottleneck: small, so that many of them in a row do not make the features grow.
        [_] if name.ends_with("bn3.weight") => (0.25, 0.0),
        [_] if name.ends_with(".weight") => (1.0, 0.5),
        [_] => (0.2, -0.1),
        _ => {
            let inputs: i64 = shape.iter().skip(1).product();
            let bound = (6.0 / inputs as f64).sqrt();
            (2.0 * bound, -bound)
        }
    };
    move |uniform| uniform * factor + offset
}

/// The bytes of a float32 `.safetensors` file with a tensor for each of `parameters` (name and shape), filled by the
/// formula.
pub fn formula_weights(parameters: &BTreeMap<String, Vec<i64>>) -> Vec<u8> {
    let elements = |shape: &[i64]| shape.iter().product::<i64>().unsigned_abs() as usize;
    let mut entries = serde_json::Map::new();
    let mut end = 0;
    for (name, shape) in parameters {
        let start = end;
        end += elements(shape) * size_of::<f32>();
        entries.insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]}));
    }
    let mut header = serde_json::Value::Object(entries).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = Vec::with_capacity(8 + header.len() + end);
    file.extend_from_slice(&(header.len() as u64).to_le_bytes());
    file.extend_from_slice(&header);
    let data_start = file.len();
    file.resize(data_start + end, 0);
    let mut rest = &mut file[data_start..];
    for (name, shape) in parameters {
        let tensor;
        (tensor, rest) = rest.split_at_mut(elements(shape) * size_of::<f32>());
        fill(tensor, name, shape);
    }
    file
}

/// Fills little-endian float32 elements, on all threads.
fn fill(tensor: &mut [u8], name: &str, shape: &[i64]) {
    const CHUNK: usize = 1 << 16;
    let (formula, scaled) = (Formula::of(name), scaled(name, shape));
    tensor.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, bytes)| {
        let first = chunk * CHUNK / size_of::<f32>();
        for (index, element) in bytes.as_chunks_mut().0.iter_mut().enumerate() {
            *element = (scaled(formula.uniform((first + index) as u64)) as f32).to_le_bytes();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers() {
        let parameters = BTreeMap::from([("final2.0.bias".to_owned(), vec![19])]);
        let file = formula_weights(&parameters);
        let data = &file[file.len() - 19 * 4..];
        let values = data.as_chunks().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes)));
        // Computed with NumPy, to nine digits.
        let known = [-0.005_733_108_61, 0.034_825_585_8, 0.049_111_224_7, -0.095_862_373_7];
        for (value, known) in values.zip(known) {
            assert!((value - known).abs() < 1e-10, "{value} for {known}");
        }
    }
}
