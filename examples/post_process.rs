//! Post-processes a frame of logits on the CPU, without libtorch: what a host that brings its own network needs.
//!
//! `cargo run --release --no-default-features --example post_process`

use sml::{Capacity, ClassStatistics, Device, Engine, Layout, Logits, LogitsShape, Params, Size};

fn main() -> sml::Result<()> {
    // Once: statistics of the network's classes (here of two), and the largest frame that will come.
    let statistics = ClassStatistics::from_json(r#"{"mean": [8.0, 6.0], "variance": [4.0, 1.0]}"#)?;
    let (shape, picture) = (LogitsShape::new(1, 2, 64, 128)?, Size::new(256, 512));
    let mut engine =
        Engine::new(Device::Cpu, Params::default(), Some(&statistics), Capacity::of(shape, picture))?;

    // Each frame: the network's logits, here class 0 everywhere, with a spot of low confidence.
    let mut logits = vec![0.0_f32; shape.elements()];
    for (i, logit) in logits[..shape.size.pixels()].iter_mut().enumerate() {
        let (y, x) = (i / 128, i % 128);
        *logit = if (20..30).contains(&y) && (60..75).contains(&x) { 1.0 } else { 8.0 };
    }
    let map = engine.submit(&Logits::packed(&logits[..], shape, Layout::Nchw)?, picture)?;

    let (mut place, mut highest) = ((0, 0), f32::NEG_INFINITY);
    for ((_, y, x), &score) in map.score.indexed_iter() {
        if score > highest {
            (place, highest) = ((y, x), score);
        }
    }
    println!("most anomalous: row {}, column {}, score {highest:.2}", place.0, place.1);
    println!("stages: {:?}", engine.timings()?);
    Ok(())
}
