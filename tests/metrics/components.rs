//! Component metrics against a literal computation, and against values of the benchmark's own program.

use proptest::prelude::*;
use sml::metrics::{ComponentMetrics, ComponentScores, ComponentSizes};
use sml::{Error, Size};

/// Component numbers from 1 on, 0 where there is none: pixels take the least number around them until nothing changes.
fn label(mask: &[bool], size: Size) -> Vec<usize> {
    let mut numbers: Vec<usize> =
        mask.iter().enumerate().map(|(i, &set)| if set { i + 1 } else { 0 }).collect();
    loop {
        let before = numbers.clone();
        for y in 0..size.height {
            for x in 0..size.width {
                let here = y * size.width + x;
                for ny in y.saturating_sub(1)..=(y + 1).min(size.height - 1) {
                    for nx in x.saturating_sub(1)..=(x + 1).min(size.width - 1) {
                        let there = numbers[ny * size.width + nx];
                        if numbers[here] > 0 && there > 0 {
                            numbers[here] = numbers[here].min(there);
                        }
                    }
                }
            }
        }
        if numbers == before {
            return numbers;
        }
    }
}

fn count(pixels: impl Iterator<Item = bool>) -> usize {
    pixels.filter(|&pixel| pixel).count()
}

/// sIoU of the labelled components and PPV of the predicted ones, set by set as the paper writes them.
fn definition(scores: &[f32], labels: &[u8], size: Size, limit: f32, sizes: ComponentSizes) -> [Vec<f64>; 2] {
    let truth = label(&labels.iter().map(|&l| l == 1).collect::<Vec<_>>(), size);
    let predicted: Vec<bool> = scores.iter().zip(labels).map(|(&s, &l)| s >= limit && l <= 1).collect();
    let mut guess = label(&predicted, size);
    let area = |map: &[usize], of: usize| count(map.iter().map(|&m| m == of)) as u64;
    let small: Vec<usize> = guess.iter().copied().filter(|&g| area(&guess, g) < sizes.predicted).collect();
    guess.iter_mut().filter(|g| small.contains(g)).for_each(|g| *g = 0);
    // Components that are too small take their pixels out of the evaluation; so does, in the benchmark's program,
    // a background that is.
    let kept: Vec<(usize, usize)> = truth
        .iter()
        .zip(&guess)
        .zip(labels)
        .filter(|((t, _), l)| **l <= 1 && area(&truth, **t) >= sizes.labelled)
        .map(|((&t, &g), _)| (t, g))
        .collect();
    let numbers = |of: fn(&(usize, usize)) -> usize| {
        let mut numbers: Vec<usize> = kept.iter().map(of).filter(|&number| number > 0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    let siou = numbers(|pixel| pixel.0).into_iter().map(|k| {
        let touching = |g: usize| g > 0 && kept.contains(&(k, g));
        let intersection = count(kept.iter().map(|&(t, g)| t == k && g > 0));
        let union = count(kept.iter().map(|&(t, g)| t == k || touching(g)));
        let on_others = count(kept.iter().map(|&(t, g)| t != k && t > 0 && touching(g)));
        intersection as f64 / (union - on_others) as f64
    });
    let ppv = numbers(|pixel| pixel.1).into_iter().map(|k| {
        let all = count(kept.iter().map(|&(_, g)| g == k));
        count(kept.iter().map(|&(t, g)| g == k && t > 0)) as f64 / all as f64
    });
    [siou.collect(), ppv.collect()]
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn assert_equals_definition(got: &ComponentMetrics, [siou, ppv]: &[Vec<f64>; 2]) {
    assert_eq!((got.labelled, got.predicted), (siou.len() as u64, ppv.len() as u64));
    assert!((got.siou - mean(siou)).abs() < 1e-12, "{} {}", got.siou, mean(siou));
    match got.ppv {
        Some(got) => assert!((got - mean(ppv)).abs() < 1e-12),
        None => assert!(ppv.is_empty()),
    }
    assert_eq!(got.f1.len(), 11);
    for (index, &(limit, f1)) in got.f1.iter().enumerate() {
        assert!((limit - (0.25 + 0.05 * index as f64)).abs() < 1e-12);
        let found = count(siou.iter().map(|&s| s >= limit)) as f64;
        let missed = siou.len() as f64 - found;
        let alarms = count(ppv.iter().map(|&p| p < limit)) as f64;
        assert!((f1 - found / (found + (missed + alarms) / 2.0)).abs() < 1e-12);
    }
    let f1: Vec<f64> = got.f1.iter().map(|(_, f1)| *f1).collect();
    assert!((got.mean_f1 - mean(&f1)).abs() < 1e-12);
}

/// Pictures with objects of several pixels: blocks of one value, and some noise.
fn images() -> impl Strategy<Value = Vec<(Size, Vec<f32>, Vec<u8>)>> {
    let image = (1_usize..14, 1_usize..14).prop_flat_map(|(height, width)| {
        let pixels = height * width;
        let coarse = prop::collection::vec((0_u8..4, 0_u8..4), pixels.div_ceil(2));
        let noise = prop::collection::vec((0_u8..12, 0_u8..12), pixels);
        (coarse, noise).prop_map(move |(coarse, noise)| {
            let at = |index: usize| {
                coarse[(index / width / 2 * width.div_ceil(2) + index % width / 2) % coarse.len()]
            };
            let pick = |value: u8, noise: u8| if noise == 0 { 3 - value } else { value };
            let scores = (0..pixels).map(|i| f32::from(pick(at(i).0, noise[i].0)) / 4.0).collect();
            let labels =
                (0..pixels).map(|i| [1, 0, 0, 255][usize::from(pick(at(i).1, noise[i].1))]).collect();
            (Size::new(height, width), scores, labels)
        })
    });
    prop::collection::vec(image, 1..4)
}

proptest! {
    #[test]
    fn equals_the_definition(images in images(), labelled in 1_u64..7, predicted in 1_u64..7) {
        let sizes = ComponentSizes { labelled, predicted };
        let mut components = ComponentScores::new(0.5, sizes).expect("a number");
        let mut want = [Vec::new(), Vec::new()];
        for (size, scores, labels) in &images {
            components.add(scores, labels, *size).expect("lengths agree");
            let [siou, ppv] = definition(scores, labels, *size, 0.5, sizes);
            want[0].extend(siou);
            want[1].extend(ppv);
        }
        if want[0].is_empty() {
            let refused = matches!(components.evaluate(), Err(Error::UndefinedMetric { .. }));
            prop_assert!(refused);
        } else {
            assert_equals_definition(&components.evaluate().expect("has components"), &want);
        }
    }

    #[test]
    fn order_and_grouping_of_images_do_not_matter(images in images()) {
        let sizes = ComponentSizes { labelled: 1, predicted: 2 };
        let of = |images: &mut dyn Iterator<Item = &(Size, Vec<f32>, Vec<u8>)>| {
            let mut components = ComponentScores::new(0.5, sizes).expect("a number");
            images.for_each(|(size, scores, labels)| components.add(scores, labels, *size).expect("agree"));
            components
        };
        let all = of(&mut images.iter());
        let mut parts = of(&mut images.iter().skip(1));
        parts.merge(of(&mut images.iter().take(1))).expect("same settings");
        prop_assert_eq!(all.evaluate().ok(), parts.evaluate().ok());
    }
}

#[test]
fn a_perfect_map_is_perfect_and_an_empty_one_finds_nothing() {
    let labels = [1, 1, 0, 0, 1, 0];
    let scores = labels.map(f32::from);
    let size = Size::new(1, 6);
    let sizes = ComponentSizes { labelled: 1, predicted: 1 };
    let of = |threshold| {
        let mut components = ComponentScores::new(threshold, sizes).expect("a number");
        components.add(&scores, &labels, size).expect("lengths agree");
        components.evaluate().expect("has components")
    };
    let perfect = of(1.0);
    assert_eq!((perfect.siou, perfect.ppv, perfect.mean_f1), (1.0, Some(1.0), 1.0));
    let nothing = of(f32::INFINITY);
    assert_eq!((nothing.siou, nothing.ppv, nothing.mean_f1), (0.0, None, 0.0));
    let json = serde_json::to_string(&nothing).expect("is plain data");
    assert!(json.contains(r#""threshold":"inf""#), "{json}");
    assert_eq!(serde_json::from_str::<ComponentMetrics>(&json).expect("comes back"), nothing);
}

#[test]
fn what_does_not_fit_is_refused() {
    let sizes = ComponentSizes::ANOMALY_TRACK;
    assert!(matches!(ComponentScores::new(f32::NAN, sizes), Err(Error::InvalidParameter { .. })));
    let mut components = ComponentScores::new(0.0, sizes).expect("a number");
    assert!(components.add(&[0.0; 6], &[0; 6], Size::new(2, 2)).is_err());
    assert!(components.add(&[f32::NAN; 4], &[0; 4], Size::new(2, 2)).is_err());
    let error = components.evaluate().expect_err("has no components").to_string();
    assert!(error.contains("at least 100 pixels"), "{error}");
    let other = ComponentScores::new(0.1, sizes).expect("a number");
    assert!(components.merge(other).is_err());
}

/// Three images that the benchmark's own program evaluated (`default_instancer` and `segment_metrics` of
/// `road_anomaly_benchmark/metrics/instance_segmentation.py`), with scores in sixty-fourths. It asks for scores above
/// the threshold.
#[test]
fn official_values() {
    let text = include_str!("official_components.json");
    let images: Vec<serde_json::Value> = serde_json::from_str(text).expect("is JSON");
    assert_eq!(images.len(), 3);
    for image in images {
        let number = |name: &str| image[name].as_f64().expect("a number");
        let rows = |name: &str| image[name].as_array().expect("rows").clone();
        let labels: Vec<u8> = rows("labels")
            .iter()
            .flat_map(|row| row.as_str().expect("text").bytes())
            .map(|letter| {
                if letter == b'#' {
                    1
                } else if letter == b'x' {
                    255
                } else {
                    0
                }
            })
            .collect();
        let scores: Vec<f32> = rows("scores64")
            .iter()
            .flat_map(|row| row.as_array().expect("a row").clone())
            .map(|score| score.as_f64().expect("a number") as f32 / 64.0)
            .collect();
        let width = number("width") as usize;
        let sizes = ComponentSizes {
            labelled: number("least_labelled") as u64,
            predicted: number("least_predicted") as u64,
        };
        let threshold = (number("threshold_above") as f32).next_up();
        let mut components = ComponentScores::new(threshold, sizes).expect("a number");
        components.add(&scores, &labels, Size::new(labels.len() / width, width)).expect("lengths agree");
        let got = components.evaluate().expect("has components");
        assert_eq!((got.labelled, got.predicted), (number("labelled") as u64, number("predicted") as u64));
        for (name, got) in
            [("siou", got.siou), ("ppv", got.ppv.expect("predicted")), ("mean_f1", got.mean_f1)]
        {
            assert!((got - number(name)).abs() < 1e-12, "{name}: {got}, not {}", number(name));
        }
        let f1 = rows("f1");
        for (index, (_, got)) in got.f1.iter().enumerate() {
            assert!((got - f1[index].as_f64().expect("a number")).abs() < 1e-12, "limit {index}");
        }
    }
}
