//! More logits than 32 bits can count.

use sml::cuda::driver;
use sml::{Capacity, Device, Engine, LogitsShape, Params, Score, Size};
use tch::{IndexOp, Kind, Tensor};

use crate::frames::statistics;
use crate::gpu;
use crate::maps::assert_same;

const BATCH: i64 = 55;

#[test]
fn more_than_two_to_the_31_logits() {
    let Some((device, _turn)) = gpu() else { return };
    let memory = driver::probe().unwrap().unwrap().gpus[0].memory_bytes;
    if memory < 24 << 30 {
        println!("skipped: the GPU has {} GiB, and the test needs 24", memory >> 30);
        return;
    }
    let size = Size::new(1024, 2048);
    let shape = LogitsShape::new(BATCH as usize, 19, size.height, size.width).unwrap();
    assert!(shape.elements() > 1 << 31);
    let statistics = statistics(19, 5);
    let engine = |device, batch| {
        let capacity = Capacity { batch, ..Capacity::of(shape, size) };
        Engine::new(device, Params::default(), Some(&statistics), capacity).unwrap()
    };
    let (mut there, mut host) = (engine(Device::Cuda(0), BATCH as usize), engine(Device::Cpu, 1));
    tch::manual_seed(7);
    for channels_last in [false, true] {
        let logits = match channels_last {
            false => Tensor::randn([BATCH, 19, 1024, 2048], (Kind::Half, device)),
            true => Tensor::randn([BATCH, 1024, 2048, 19], (Kind::Half, device)).permute([0, 3, 1, 2]),
        };
        let map = there.submit_tensor(&logits, size).unwrap();
        let score = map.score.i(BATCH - 1..).to_device(tch::Device::Cpu);
        let prediction = map.prediction.i(BATCH - 1..).to_device(tch::Device::Cpu);
        let last = logits.i(BATCH - 1..).to_device(tch::Device::Cpu);
        let want = host.submit_tensor(&last, size).unwrap().to_host().unwrap();
        let dim = (1, size.height, size.width);
        let got = sml::torch::HostAnomalyMap {
            score: ndarray::Array3::from_shape_vec(dim, Vec::try_from(score.flatten(0, -1)).unwrap())
                .unwrap(),
            prediction: ndarray::Array3::from_shape_vec(
                dim,
                Vec::try_from(prediction.flatten(0, -1)).unwrap(),
            )
            .unwrap(),
            non_finite: vec![0],
        };
        assert_same(&got, &want, Score::Sml, &format!("the last image, channels_last {channels_last}"));
    }
}
