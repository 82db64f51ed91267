//! A picture through the bundled network on libtorch and the post-processing, without a copy of the logits.
//!
//! `cargo run --release --example backbone -- street.png`

use std::path::PathBuf;

use sml::files::{PictureSource, read_picture};
use sml::torch::{Backbone, choose_device};
use sml::{Capacity, ClassStatistics, Device, DeviceRequest, Engine, LogitsShape, Params, Size, demo};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: backbone PICTURE")?;
    let picture = read_picture(&PictureSource::File(path))?;

    let backbone = demo::backbone(choose_device(DeviceRequest::Cpu)?)?;
    let logits = backbone.forward(&backbone.preprocess(&picture)?)?;

    let dimensions: Vec<usize> = logits.size().iter().map(|&n| n as usize).collect();
    let [batch, classes, height, width] = dimensions[..] else {
        return Err("the network's output is not N x C x h x w".into());
    };
    let shape = LogitsShape::new(batch, classes, height, width)?;
    let size = Size::new(picture.height() as usize, picture.width() as usize);
    let statistics = ClassStatistics::from_json(demo::STATISTICS)?;
    let params = Params { align_corners: backbone.align_corners(), ..Params::default() };
    let mut engine = Engine::new(Device::Cpu, params, Some(&statistics), Capacity::of(shape, size))?;
    let map = engine.submit_tensor(&logits, size)?.to_host()?;

    let threshold = statistics
        .operating_points()
        .map(|points| points.threshold_at_fpr(0.01, &params))
        .transpose()?
        .ok_or("the statistics hold no thresholds")?;
    let unexpected = map.score.iter().filter(|&&score| score >= threshold).count();
    println!("{unexpected} of {} pixels have a score of {threshold:.2} or more", size.pixels());
    Ok(())
}
