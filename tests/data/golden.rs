//! Reads the golden vectors: a manifest of cases and one .npz of arrays an input.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use ndarray::{Array2, Array3, Array4};
use serde_json::Value;
use sml::{
    BorderLabels, ClassMoments, ClassStatistics, MissingStatistics, Params, Provenance, Score, Size,
    Smoothing, Suppression,
};

/// One folder of vectors.
pub struct Golden {
    folder: PathBuf,
    cases: Vec<Case>,
    archives: RefCell<HashMap<String, zip::ZipArchive<File>>>,
}

/// One case of the manifest.
pub struct Case(Value);

/// What a pipeline case must give.
pub struct Expected {
    pub prediction: Array3<u8>,
    pub boundary: Array3<u8>,
    /// Standardized, suppressed, smoothed.
    pub stages: [Array3<f64>; 3],
    pub tolerance: f64,
    /// Whether `stages` are the float64 twin rather than the official float32.
    pub float64: bool,
}

/// Compares with an absolute tolerance; NaN and infinities must stand in the same places.
pub fn assert_close(got: &Array3<f64>, want: &Array3<f64>, tolerance: f64, what: &str) {
    assert_eq!(got.dim(), want.dim(), "{what}");
    for (at, want) in want.indexed_iter() {
        let got = got[at];
        let agrees = got == *want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= tolerance;
        assert!(agrees, "{what} at {at:?}: got {got}, expected {want} within {tolerance:e}");
    }
}

/// The choice in the repository, and the whole set where it is at hand.
pub fn sets() -> Vec<Golden> {
    let own = super::repository().join("tests/golden");
    [Some(own), super::path("golden/pipeline")].into_iter().flatten().map(Golden::open).collect()
}

impl Case {
    pub fn kind(&self) -> &str {
        self.0["kind"].as_str().unwrap()
    }

    pub fn id(&self) -> &str {
        self.0["id"].as_str().unwrap()
    }

    pub fn file(&self) -> &str {
        self.0["file"].as_str().unwrap()
    }

    pub fn number(&self, field: &str) -> usize {
        self.0[field].as_u64().unwrap() as usize
    }

    pub fn field(&self, field: &str) -> &Value {
        &self.0[field]
    }

    pub fn has(&self, array: &str) -> bool {
        self.0["arrays"].get(array).is_some()
    }

    pub fn out_size(&self) -> Size {
        let size = self.0["out_size"].as_array().unwrap();
        Size::new(size[0].as_u64().unwrap() as usize, size[1].as_u64().unwrap() as usize)
    }

    /// The scale that tolerances refer to; 1 where infinite scores make it infinite.
    pub fn finite_scale(&self) -> f64 {
        self.0["scale"].as_f64().filter(|scale| scale.is_finite()).unwrap_or(1.0)
    }

    /// False where the official code takes the prediction after the softmax (msp only) and this differs from the
    /// argmax of the logits: ties, and NaN for a whole pixel.
    pub fn is_required(&self) -> bool {
        self.0["pred_equals_float64_argmax"] == Value::Bool(true) || self.0["score_mode"] != "msp"
    }
}

impl Golden {
    fn open(folder: PathBuf) -> Self {
        let text = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
        // The manifest writes infinity as JSON cannot: only the scale of cases with infinite scores has it.
        let text = text.replace(": Infinity", ": null");
        let mut manifest: Value = serde_json::from_str(&text).unwrap();
        let Value::Array(cases) = manifest["cases"].take() else { panic!("the manifest has no cases") };
        Self { folder, cases: cases.into_iter().map(Case).collect(), archives: RefCell::default() }
    }

    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter()
    }

    /// Logits (N, C, h, w), statistics and parameters of a pipeline case.
    pub fn input(&self, case: &Case) -> (Array4<f32>, ClassStatistics, Params) {
        let logits = self.logits_at(case, case.0["input"].as_str().unwrap());
        let vector = |key| self.floats(case, key).1;
        let moments = vector("mean").into_iter().zip(vector("var")).map(|(mean, variance)| ClassMoments {
            count: None,
            mean: Some(mean),
            variance: Some(variance),
        });
        let statistics = ClassStatistics::new(moments.collect(), Provenance::default()).unwrap();
        let number = |field: &str| u8::try_from(case.number(field)).unwrap();
        let on = |field: &str| case.0[field].as_bool().unwrap();
        let params = Params {
            score: match case.0["score_mode"].as_str().unwrap() {
                "standardized_max_logit" => Score::Sml,
                other => other.parse().unwrap(),
            },
            suppression: on("boundary_suppression")
                .then(|| Suppression::new(number("boundary_width"), number("boundary_iteration")).unwrap()),
            smoothing: on("dilated_smoothing")
                .then(|| Smoothing::new(7, 1.0, number("smoothing_dilation")).unwrap()),
            border_labels: match case.0["border_labels"].as_str().unwrap() {
                "ignore" => BorderLabels::Ignore,
                "one" => BorderLabels::One,
                other => panic!("border_labels {other}"),
            },
            align_corners: true,
            missing: MissingStatistics::Propagate,
            ..Params::default()
        };
        (logits, statistics, params)
    }

    /// Prediction, boundary and scores of a pipeline case, with the tolerance of SPEC section 7.
    pub fn expected(&self, case: &Case) -> Expected {
        let float64 = case.has("final_f64");
        let suffix = if float64 { "f64" } else { "f32" };
        let wild = case.file().contains("wildstats");
        Expected {
            prediction: self.bytes(case, "pred"),
            boundary: self.bytes(case, "boundary"),
            stages: ["raw", "suppressed", "final"]
                .map(|stage| self.scores(case, &format!("{stage}_{suffix}"))),
            tolerance: if wild { 5e-6 } else { 3e-6 } * case.finite_scale(),
            float64,
        }
    }

    pub fn logits_at(&self, case: &Case, key: &str) -> Array4<f32> {
        let (shape, values) = self.floats(case, key);
        let shape: [usize; 4] = shape.try_into().unwrap();
        Array4::from_shape_vec(shape, values.iter().map(|&v| v as f32).collect()).unwrap()
    }

    /// An array N x H x W of scores.
    pub fn scores(&self, case: &Case, array: &str) -> Array3<f64> {
        let (shape, values) = self.floats(case, &self.key(case, array));
        let shape: [usize; 3] = shape.try_into().unwrap();
        Array3::from_shape_vec(shape, values).unwrap()
    }

    /// An array N x H x W of labels.
    pub fn bytes(&self, case: &Case, array: &str) -> Array3<u8> {
        self.scores(case, array).mapv(|v| v as u8)
    }

    /// An array H x W of labels, by the name of its role.
    pub fn plane(&self, case: &Case, array: &str) -> Array2<u8> {
        self.plane_at(case, &self.key(case, array))
    }

    pub fn plane_at(&self, case: &Case, key: &str) -> Array2<u8> {
        let (shape, values) = self.floats(case, key);
        let shape: [usize; 2] = shape.try_into().unwrap();
        Array2::from_shape_vec(shape, values.iter().map(|&v| v as u8).collect()).unwrap()
    }

    pub fn vector(&self, case: &Case, array: &str) -> Vec<f64> {
        self.floats(case, &self.key(case, array)).1
    }

    pub fn keys(&self, case: &Case, array: &str) -> Vec<String> {
        let keys = case.0["arrays"][array].as_array().unwrap();
        keys.iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    }

    fn key(&self, case: &Case, array: &str) -> String {
        case.0["arrays"][array].as_str().unwrap_or_else(|| panic!("{} has no {array}", case.id())).to_owned()
    }

    /// Shape and elements of any numeric array, as float64.
    fn floats(&self, case: &Case, key: &str) -> (Vec<usize>, Vec<f64>) {
        let mut archives = self.archives.borrow_mut();
        let archive = archives.entry(case.file().to_owned()).or_insert_with(|| {
            zip::ZipArchive::new(File::open(self.folder.join(case.file())).unwrap()).unwrap()
        });
        let mut bytes = Vec::new();
        archive.by_name(&format!("{key}.npy")).unwrap().read_to_end(&mut bytes).unwrap();
        let array = npyz::NpyFile::new(&bytes[..]).unwrap();
        let shape = array.shape().iter().map(|&n| n as usize).collect();
        let values = match array.dtype().descr().trim_matches('\'') {
            "<f4" => array.into_vec::<f32>().unwrap().into_iter().map(f64::from).collect(),
            "<f8" => array.into_vec::<f64>().unwrap(),
            "<i8" => array.into_vec::<i64>().unwrap().into_iter().map(|v| v as f64).collect(),
            "|u1" => array.into_vec::<u8>().unwrap().into_iter().map(f64::from).collect(),
            "|b1" => array.into_vec::<bool>().unwrap().into_iter().map(|v| f64::from(u8::from(v))).collect(),
            other => panic!("{key} has the type {other}"),
        };
        (shape, values)
    }
}
