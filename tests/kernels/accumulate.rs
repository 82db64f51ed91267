//! `accumulate.cu` against `StatisticsAccumulator`: moments to 1e-12, and the same bits in every order.

use proptest::prelude::*;
use sml::cuda::plan::{AccumulatePlan, DeviceMoments, GpuLimits};
use sml::{MomentAccumulator, StatisticsAccumulator};

use crate::engine_on_host::library;
use crate::kernel_harness::{Failure, Job, Launch, Order, elements, run};
use crate::mutations::Mutation;

/// Images whose moments are accumulated one after the other.
#[derive(Clone, Debug)]
pub struct Calibration {
    pub classes: usize,
    /// Pixels and seed of each.
    pub images: Vec<(usize, u64)>,
    /// Pixels of each that are not finite, or fewer.
    pub broken: usize,
    pub multiprocessors: u32,
    pub negated: bool,
}

impl Calibration {
    /// Max logits and predictions of each image: regions of one class.
    fn images(&self) -> impl Iterator<Item = (Vec<f32>, Vec<u8>)> {
        self.images.iter().map(|&(pixels, seed)| {
            let random = |i: usize| {
                let mut z = seed.wrapping_add((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 20
            };
            let class = |i: usize| (random(i / 50) % self.classes as u64) as u8;
            let value = |i: usize| f32::from(class(i) % 7) + random(i) as f32 * 1e-12;
            let mut values: Vec<f32> = (0..pixels).map(value).collect();
            for i in 0..self.broken {
                values[random(i + pixels) as usize % pixels] =
                    [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][i % 3];
            }
            (values, (0..pixels).map(class).collect())
        })
    }

    /// The moments of each class, and of the slot for pixels left out.
    ///
    /// # Errors
    /// What a sanitizer or the harness found.
    pub fn on_host(&self, order: Order, mutation: Option<&Mutation>) -> Result<Vec<DeviceMoments>, Failure> {
        let limits = GpuLimits { multiprocessors: self.multiprocessors, shared_bytes: 64 << 10 };
        let plan = AccumulatePlan::new(self.classes, limits);
        let library = library(&plan.variants()[0], mutation);
        let mut job = Job::new(order);
        let partials = job.unwritten(plan.bytes().1, 0);
        let moments = job.buffer(vec![0; plan.bytes().0], 0);
        for (values, predictions) in self.images() {
            let map: Vec<f32> = values.iter().map(|&v| if self.negated { -v } else { v }).collect();
            let map = job.buffer(bytemuck::cast_slice(&map).to_vec(), 4);
            let prediction = job.buffer(predictions, 1);
            let memory = (partials, moments);
            for launch in plan.launches(map, prediction, values.len(), self.negated, memory) {
                job.launches.push(Launch {
                    library: library.clone(),
                    entry: launch.entry,
                    grid: launch.grid,
                    block: launch.block,
                    shared_bytes: launch.shared_bytes,
                    arguments: launch.arguments.bytes().to_vec(),
                    pointers: launch.arguments.pointers(),
                });
            }
        }
        Ok(elements(&run(&job)?[1]))
    }

    /// The moments as the CPU accumulates them, and how many pixels it leaves out.
    fn on_cpu(&self) -> (Vec<MomentAccumulator>, u64) {
        let mut accumulator = StatisticsAccumulator::new(self.classes);
        let mut moments = vec![MomentAccumulator::default(); self.classes];
        for (values, predictions) in self.images() {
            accumulator.add(&values, &predictions).unwrap();
            for (value, &class) in values.iter().zip(&predictions).filter(|(value, _)| value.is_finite()) {
                moments[usize::from(class)].add(f64::from(*value));
            }
        }
        (moments, accumulator.non_finite())
    }

    /// What differs from the CPU's moments by more than 1e-12 of them, if anything.
    pub fn difference(&self, got: &[DeviceMoments]) -> Option<String> {
        let (want, left_out) = self.on_cpu();
        let close = |got: f64, want: Option<f64>| {
            want.is_none_or(|want| (got - want).abs() <= 1e-12 * want.abs().max(1e-9))
        };
        let agree = |(got, want): (&DeviceMoments, &MomentAccumulator)| {
            let variance = got.squared_deviations / (got.count.max(2) - 1) as f64;
            got.count == want.count() && close(got.mean, want.mean()) && close(variance, want.variance())
        };
        let different = got.iter().zip(&want).position(|pair| !agree(pair));
        if let Some(class) = different {
            return Some(format!("class {class}: {:?} instead of {:?}", got[class], want[class]));
        }
        let count = got[self.classes].count;
        (count != left_out).then(|| format!("{count} pixels left out instead of {left_out}"))
    }
}

fn calibrations() -> impl Strategy<Value = Calibration> {
    let image = (1_usize..40_000, any::<u64>());
    let images = proptest::collection::vec(image, 1..4);
    (prop_oneof![1_usize..=5, 30_usize..=34, 255_usize..=255], images, 1_u32..=2, any::<bool>(), 0_usize..5)
        .prop_map(|(classes, images, multiprocessors, negated, broken)| Calibration {
            classes,
            images,
            broken,
            multiprocessors,
            negated,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn moments_agree_with_the_cpu(calibration in calibrations()) {
        let got = calibration.on_host(Order::Random(calibration.images[0].1), None);
        let got = got.map_err(|failure| TestCaseError::fail(failure.0))?;
        if let Some(difference) = calibration.difference(&got) {
            return Err(TestCaseError::fail(difference));
        }
    }

    #[test]
    fn moments_are_the_same_in_every_order(calibration in calibrations(), seed in any::<u64>()) {
        let bits = |order| -> Result<Vec<[u64; 3]>, TestCaseError> {
            let moments = calibration.on_host(order, None).map_err(|failure| TestCaseError::fail(failure.0))?;
            Ok(moments.iter().map(|m| [m.count, m.mean.to_bits(), m.squared_deviations.to_bits()]).collect())
        };
        let ascending = bits(Order::Ascending)?;
        prop_assert_eq!(&bits(Order::Descending)?, &ascending);
        prop_assert_eq!(&bits(Order::Random(seed))?, &ascending);
    }
}
