//! The method in float64, written literally from its definition: slow, plain, and the oracle of every backend.
//!
//! Each function follows one section of the specification sentence by sentence and shares no code with the engine
//! but the parameter types. Scores have the official sign here: high means normal. What users get is the negated value.

use ndarray::{Array2, Array3, Array4, ArrayView2, ArrayView3, ArrayView4, Axis, Zip};

use crate::{
    BorderLabels, ClassStatistics, Error, MissingStatistics, NonFinite, Params, PictureView, Preprocessing,
    Result, Score, Size, Smoothing, Suppression,
};

/// What each stage makes of a batch, with the official sign (high means normal).
#[derive(Clone, Debug)]
pub struct Stages {
    /// Predicted class of each pixel, N x H x W.
    pub prediction: Array3<u8>,
    /// Score after the first stage, N x H x W.
    pub standardized: Array3<f64>,
    /// Boundary pixels of the prediction, N x H x W.
    pub boundary: Array3<bool>,
    /// Score after suppression, N x H x W.
    pub suppressed: Array3<f64>,
    /// Score after smoothing, N x H x W. The anomaly score is its negation.
    pub smoothed: Array3<f64>,
    /// Pixels of each image with a logit that is not finite.
    pub non_finite: Vec<u64>,
}

/// All stages on a batch of logits (N, C, h, w), upsampled to `size` where it differs.
///
/// # Errors
/// When the score needs statistics that are absent, do not fit the classes, or cannot be pooled.
pub fn stages(
    logits: ArrayView4<'_, f64>,
    params: &Params,
    statistics: Option<&ClassStatistics>,
    size: Size,
) -> Result<Stages> {
    let (batch, classes, height, width) = logits.dim();
    let upsampled = if (height, width) == (size.height, size.width) {
        logits.to_owned()
    } else {
        upsample(logits, size, params.align_corners)
    };
    let moments = class_moments(params, statistics, classes)?;
    let shape = (batch, size.height, size.width);
    let mut result = Stages {
        prediction: Array3::zeros(shape),
        standardized: Array3::zeros(shape),
        boundary: Array3::from_elem(shape, false),
        suppressed: Array3::zeros(shape),
        smoothed: Array3::zeros(shape),
        non_finite: vec![0; batch],
    };
    for n in 0..batch {
        let image = upsampled.index_axis(Axis(0), n);
        let (prediction, score, non_finite) = standardize(image, params, &moments);
        let boundary = boundary(prediction.view(), params.border_labels);
        let suppressed = match params.suppression {
            Some(suppression) => suppress(&score, &boundary, suppression),
            None => score.clone(),
        };
        let smoothed = match params.smoothing {
            Some(smoothing) => smooth(&suppressed, smoothing),
            None => suppressed.clone(),
        };
        result.prediction.index_axis_mut(Axis(0), n).assign(&prediction);
        result.standardized.index_axis_mut(Axis(0), n).assign(&score);
        result.boundary.index_axis_mut(Axis(0), n).assign(&boundary);
        result.suppressed.index_axis_mut(Axis(0), n).assign(&suppressed);
        result.smoothed.index_axis_mut(Axis(0), n).assign(&smoothed);
        result.non_finite[n] = non_finite;
    }
    Ok(result)
}

/// Bilinear upsampling of each class alone (section 1).
pub fn upsample(logits: ArrayView4<'_, f64>, size: Size, align_corners: bool) -> Array4<f64> {
    let (batch, classes, height, width) = logits.dim();
    Array4::from_shape_fn((batch, classes, size.height, size.width), |(n, c, y, x)| {
        let (y0, y1, wy) = source_position(y, size.height, height, align_corners);
        let (x0, x1, wx) = source_position(x, size.width, width, align_corners);
        let at = |y, x| logits[(n, c, y, x)];
        (1.0 - wy) * ((1.0 - wx) * at(y0, x0) + wx * at(y0, x1))
            + wy * ((1.0 - wx) * at(y1, x0) + wx * at(y1, x1))
    })
}

/// Both neighbours of an output position along one axis, and the weight of the second.
fn source_position(position: usize, output: usize, input: usize, align_corners: bool) -> (usize, usize, f64) {
    let (position, outputs, inputs) = (position as f64, output as f64, input as f64);
    let source = match (align_corners, output) {
        (true, 1) => 0.0,
        (true, _) => position * (inputs - 1.0) / (outputs - 1.0),
        (false, _) => ((position + 0.5) * inputs / outputs - 0.5).max(0.0),
    };
    let first = (source.floor() as usize).min(input - 1);
    (first, (first + 1).min(input - 1), source - first as f64)
}

/// Prediction, score and number of pixels that are not finite, of one image C x H x W (sections 2 and 6).
fn standardize(
    logits: ArrayView3<'_, f64>,
    params: &Params,
    moments: &[(f64, f64)],
) -> (Array2<u8>, Array2<f64>, u64) {
    let (_, height, width) = logits.dim();
    let (mut prediction, mut score) = (Array2::zeros((height, width)), Array2::zeros((height, width)));
    let mut non_finite = 0;
    Zip::from(&mut prediction).and(&mut score).and(logits.lanes(Axis(0))).for_each(|p, s, pixel| {
        let pixel: Vec<f64> = pixel.to_vec();
        let best = argmax(&pixel);
        (*p, *s) = (best as u8, pixel_score(&pixel, best, params.score, moments));
        if pixel.iter().any(|v| !v.is_finite()) {
            non_finite += 1;
            if let NonFinite::Replace(value) = params.non_finite {
                let finite: Vec<f64> =
                    pixel.iter().map(|v| if v.is_finite() { *v } else { f64::NEG_INFINITY }).collect();
                (*p, *s) = (argmax(&finite) as u8, -f64::from(value.get()));
            }
        }
    });
    (prediction, score, non_finite)
}

/// Index of the maximum: the first one wins ties, and the first NaN wins over all numbers, as in PyTorch.
pub fn argmax(pixel: &[f64]) -> usize {
    let mut best = 0;
    for (class, &value) in pixel.iter().enumerate().skip(1) {
        let current = pixel[best];
        if !current.is_nan() && (value > current || value.is_nan()) {
            best = class;
        }
    }
    best
}

/// Score of one pixel whose largest logit has the index `best` (section 2).
fn pixel_score(pixel: &[f64], best: usize, score: Score, moments: &[(f64, f64)]) -> f64 {
    let maximum = pixel[best];
    let partition =
        |temperature: f64| -> f64 { pixel.iter().map(|v| ((v - maximum) / temperature).exp()).sum() };
    match score {
        Score::MaxLogit => maximum,
        Score::Sml => {
            let (mean, variance) = moments[best];
            (maximum - mean) / variance.sqrt()
        }
        Score::Msp => 1.0 / partition(1.0),
        Score::Energy(temperature) => {
            let temperature = f64::from(temperature.get());
            maximum + temperature * partition(temperature).ln()
        }
        Score::Entropy if pixel.len() == 1 => 0.0,
        Score::Entropy => {
            let total = partition(1.0);
            let sum: f64 = pixel
                .iter()
                .map(|v| {
                    let probability = (v - maximum).exp() / total;
                    if probability == 0.0 { 0.0 } else { probability * probability.ln() }
                })
                .sum();
            sum / (pixel.len() as f64).ln()
        }
    }
}

/// Mean and variance of each class under the policy for missing statistics (section 3).
fn class_moments(
    params: &Params,
    statistics: Option<&ClassStatistics>,
    classes: usize,
) -> Result<Vec<(f64, f64)>> {
    if !params.score.needs_statistics() {
        return Ok(Vec::new());
    }
    let statistics = statistics.ok_or_else(|| Error::StatisticsNeeded { score: params.score.to_string() })?;
    if statistics.classes().len() != classes {
        return Err(Error::InvalidStatistics {
            problem: format!("{} classes", statistics.classes().len()),
            expected: format!("{classes}, as the logits have"),
        });
    }
    let without = statistics.classes_without_statistics();
    if params.missing == MissingStatistics::Error && !without.is_empty() {
        return Err(Error::ClassesWithoutStatistics { classes: without });
    }
    let pooled = match params.missing {
        MissingStatistics::Pooled if !without.is_empty() => Some(statistics.pooled()?),
        _ => None,
    };
    let own = |class: usize| {
        let moments = statistics.classes()[class];
        (moments.mean.unwrap_or(f64::NAN), moments.variance.unwrap_or(f64::NAN))
    };
    Ok((0..classes)
        .map(|class| pooled.filter(|_| without.contains(&class)).unwrap_or_else(|| own(class)))
        .collect())
}

/// Boundary pixels of a prediction H x W (section 4).
pub fn boundary(prediction: ArrayView2<'_, u8>, border_labels: BorderLabels) -> Array2<bool> {
    let (height, width) = prediction.dim();
    Array2::from_shape_fn((height, width), |(y, x)| {
        let own = prediction[(y, x)];
        let (mut largest, mut smallest) = (own, own);
        for (dy, dx) in (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dy, dx))) {
            let Some(&label) = inside(y, dy).zip(inside(x, dx)).and_then(|at| prediction.get(at)) else {
                continue;
            };
            smallest = smallest.min(label);
            if dy == 0 || dx == 0 {
                largest = largest.max(label);
            }
        }
        let on_frame = y == 0 || x == 0 || y + 1 == height || x + 1 == width;
        largest != smallest || (border_labels == BorderLabels::One && on_frame && own >= 2)
    })
}

/// `position + step`, unless that is negative.
fn inside(position: usize, step: isize) -> Option<usize> {
    position.checked_add_signed(step)
}

/// Pixels within the L1 distance `radius` of a boundary pixel: `radius` dilations by the 4-neighbourhood (section 4).
pub fn expand(boundary: &Array2<bool>, radius: u8) -> Array2<bool> {
    let mut mask = boundary.clone();
    for _ in 0..radius {
        mask = Array2::from_shape_fn(mask.dim(), |(y, x)| {
            [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)].into_iter().any(|(dy, dx)| {
                inside(y, dy).zip(inside(x, dx)).and_then(|at| mask.get(at)).is_some_and(|&set| set)
            })
        });
    }
    mask
}

/// Iterative boundary suppression of a score H x W (section 4). As in the official arithmetic a masked position counts as
/// its value times 0, so that a NaN or infinite one makes the sum NaN.
pub fn suppress(score: &Array2<f64>, boundary: &Array2<bool>, suppression: Suppression) -> Array2<f64> {
    let (height, width) = score.dim();
    let mut current = score.clone();
    for radius in suppression.radii() {
        let mask = expand(boundary, radius);
        current = Array2::from_shape_fn((height, width), |(y, x)| {
            if !mask[(y, x)] {
                return current[(y, x)];
            }
            let (mut sum, mut count) = (0.0, 0);
            for (dy, dx) in (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dy, dx))) {
                let at = (clamped(y, dy, height), clamped(x, dx, width));
                let unmasked = i32::from(!mask[at]);
                sum += current[at] * f64::from(unmasked);
                count += unmasked;
            }
            if count == 0 { current[(y, x)] } else { sum / f64::from(count) }
        });
    }
    current
}

/// Dilated Gaussian smoothing of a score H x W, as the two-dimensional convolution (section 5).
pub fn smooth(score: &Array2<f64>, smoothing: Smoothing) -> Array2<f64> {
    let (height, width) = score.dim();
    let radius = isize::from(smoothing.kernel_size() as i16 / 2);
    let dilation = isize::from(i16::from(smoothing.dilation()));
    let sigma = f64::from(smoothing.sigma());
    let weight = |dy: isize, dx: isize| (-((dx * dx + dy * dy) as f64) / (2.0 * sigma * sigma)).exp();
    let taps: Vec<(isize, isize)> =
        (-radius..=radius).flat_map(|dy| (-radius..=radius).map(move |dx| (dy, dx))).collect();
    let total: f64 = taps.iter().map(|&(dy, dx)| weight(dy, dx)).sum();
    Array2::from_shape_fn((height, width), |(y, x)| {
        taps.iter()
            .map(|&(dy, dx)| {
                let at = (clamped(y, dy * dilation, height), clamped(x, dx * dilation, width));
                weight(dy, dx) / total * score[at]
            })
            .sum()
    })
}

/// `position + step`, clamped to `0..length`.
fn clamped(position: usize, step: isize, length: usize) -> usize {
    position.saturating_add_signed(step).min(length - 1)
}

/// A network's input for a picture, 3 x H x W: resampled bilinearly where the sizes differ (align_corners = false, with a
/// triangle that widens where the picture shrinks), then normalised.
pub fn input(picture: &PictureView<'_>, preprocessing: &Preprocessing) -> Array3<f64> {
    let old = picture.size();
    let size = preprocessing.size_for(old.height, old.width);
    let bytes = picture.format().bytes();
    let (rows, columns) = (triangle(old.height, size.height), triangle(old.width, size.width));
    Array3::from_shape_fn((3, size.height, size.width), |(channel, y, x)| {
        let same_order = picture.format().order() == preprocessing.channel_order;
        let offset = if same_order { channel } else { 2 - channel };
        let mut value = 0.0;
        for (row, row_weight) in rows[y].iter().enumerate() {
            for (column, column_weight) in columns[x].iter().enumerate() {
                if row_weight * column_weight > 0.0 {
                    let byte = picture.data()[row * picture.row_stride() + column * bytes + offset];
                    value += row_weight * column_weight * f64::from(byte);
                }
            }
        }
        (value * preprocessing.scale - preprocessing.mean[channel]) / preprocessing.std[channel]
    })
}

/// For each of `new` samples the weights of all `old` ones.
fn triangle(old: usize, new: usize) -> Vec<Vec<f64>> {
    let ratio = old as f64 / new as f64;
    let reach = ratio.max(1.0);
    let weights = |sample: usize| {
        let centre = (sample as f64 + 0.5) * ratio;
        let heights: Vec<f64> =
            (0..old).map(|tap| (1.0 - (tap as f64 + 0.5 - centre).abs() / reach).max(0.0)).collect();
        let total: f64 = heights.iter().sum();
        heights.iter().map(|height| height / total).collect()
    };
    (0..new).map(weights).collect()
}
