//! Synthetic street scenes with labels, drawn from a seed.
//!
//! A scene is planned in metres (a street with lanes, kerbs, fronts and what stands in it), projected by a pinhole
//! camera, and drawn from far to near, once in colour with soft edges and once as labels with hard edges. Sky and
//! ground surface are then made pixel by pixel, and the whole picture goes through one lens model: surface grain, blur,
//! vignetting, exposure, white balance, noise.
//!
//! All 19 classes of Cityscapes occur. Unexpected objects are drawn only on request, by the same means as the rest, so
//! that no trace of the rendering tells them apart.

mod animals;
mod borders;
mod buildings;
mod canvas;
mod dice;
mod frontage;
mod furniture;
mod ground;
mod heavy_vehicles;
mod lens;
mod light;
mod people;
mod perspective;
mod street;
mod texture;
mod traffic;
mod two_wheelers;
mod unexpected;
mod vegetation;
mod vehicles;

use image::{GrayImage, RgbImage};

use canvas::{Canvas, Class, Outline, Shadows, Skin, Standing};
use dice::Dice;
use light::Light;
use perspective::Perspective;
use street::Street;

/// A picture with its labels; all three have the same size.
pub struct Scene {
    /// The picture.
    pub image: RgbImage,
    /// Cityscapes train ids `0..=18`; 255 where no class lies (unexpected objects, the camera's own car).
    pub labels: GrayImage,
    /// 1 on unexpected objects, 0 elsewhere, 255 on the camera's own car.
    pub unexpected: GrayImage,
}

/// Draws the scene that belongs to `seed`, `width` by `height` pixels; meant for pictures about twice as wide as high.
///
/// The same arguments give the same bytes. With `unexpected_objects`, 1 to 3 of them lie in the street.
pub fn draw(seed: u64, width: u32, height: u32, unexpected_objects: bool) -> Scene {
    let mut dice = Dice::new(seed);
    let eye = Perspective::new(&mut dice, width as f32, height as f32);
    let light = Light::new(&mut dice);
    let Some(mut canvas) = Canvas::new(width, height, eye, light) else {
        // Nothing can be drawn on a picture without area.
        return Scene {
            image: RgbImage::new(width, height),
            labels: GrayImage::new(width, height),
            unexpected: GrayImage::new(width, height),
        };
    };
    let mut street = Street::new(&mut dice);
    let mut things: Vec<Box<dyn Standing>> = Vec::new();
    let mut extra = dice.fork();
    if unexpected_objects {
        traffic::unexpected_objects(&mut things, &mut street, &eye, &mut extra, height as f32);
    }
    frontage::line_street(&mut things, &street, &eye, &mut dice.fork());
    traffic::everyday(&mut things, &mut street, &eye, &mut dice.fork());
    things.sort_by(|a, b| b.depth().total_cmp(&a.depth()));

    texture::sky(&mut canvas, &mut dice.fork());
    ground::draw(&mut canvas, &street, &mut dice.fork());
    let coverage = cast_shadows(&canvas, &things);
    texture::ground(&mut canvas, &coverage, &mut dice.fork());
    for thing in &things {
        thing.draw(&mut canvas);
    }
    if dice.chance(0.35) {
        own_bonnet(&mut canvas, &mut dice);
    }
    let image = lens::photograph(&canvas, &mut dice);
    let (labels, unexpected) = canvas.labels();
    Scene { image, labels, unexpected }
}

fn cast_shadows(canvas: &Canvas, things: &[Box<dyn Standing>]) -> Vec<u8> {
    let (width, height) = canvas.size();
    let Some(mask) = canvas.empty_mask() else { return vec![0; width * height] };
    let mut ground = Shadows::new(mask, canvas.eye, &canvas.light);
    for thing in things {
        thing.cast_shadow(&mut ground);
    }
    ground.into_coverage()
}

/// The bonnet of the camera's own car along the lower edge.
fn own_bonnet(canvas: &mut Canvas, dice: &mut Dice) {
    let (width, height) = canvas.size();
    let (w, h) = (width as f32, height as f32);
    let top = h * (1.0 - dice.between(0.04, 0.13));
    let bulge = h * dice.between(0.02, 0.05);
    let paint = dice.pick(&[[0.10, 0.10, 0.11], [0.30, 0.31, 0.33], [0.62, 0.63, 0.65], [0.15, 0.2, 0.34]]);
    let skin = Skin { class: Class::EgoVehicle, grain: 8 };
    for (sink, shade) in [(0.0, 0.75), (0.25, 1.0), (0.6, 1.15)] {
        let edge = top + sink * (h - top);
        let mut outline = Outline::default();
        let arc = |i: usize| {
            let t = i as f32 / 8.0 - 1.0;
            (0.5 * w + 0.55 * w * t, edge + bulge * (t * t * 2.0 - 1.0))
        };
        let mut points: Vec<(f32, f32)> = (0..=16).map(arc).collect();
        points.extend([(w + 1.0, h + 1.0), (-1.0, h + 1.0)]);
        outline.polygon(&points);
        let colour = canvas.light.on(paint.map(|v| v * shade), [0.0, 1.0, 0.0]);
        canvas.fill(outline, colour, skin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_bytes() {
        for seed in [0, 7, u64::MAX] {
            let (a, b) = (draw(seed, 256, 128, true), draw(seed, 256, 128, true));
            assert_eq!(a.image, b.image);
            assert_eq!(a.labels, b.labels);
            assert_eq!(a.unexpected, b.unexpected);
        }
        assert_ne!(draw(1, 256, 128, false).image, draw(2, 256, 128, false).image);
    }

    #[test]
    fn everyday_scenes_hold_every_class_and_nothing_unexpected() {
        let mut scenes_with = [0; 19];
        for seed in 0..200 {
            let scene = draw(seed, 256, 128, false);
            let mut pixels = [0; 19];
            for (label, unexpected) in scene.labels.pixels().zip(scene.unexpected.pixels()) {
                // Only the camera's own car is without a class.
                assert_eq!(unexpected.0[0], if label.0[0] == 255 { 255 } else { 0 });
                if label.0[0] != 255 {
                    pixels[usize::from(label.0[0])] += 1;
                }
            }
            for class in 0..19 {
                scenes_with[class] += u32::from(pixels[class] > 5);
            }
        }
        for (class, scenes) in scenes_with.iter().enumerate() {
            assert!(*scenes >= 10, "class {class} occurs in {scenes} of 200 scenes");
        }
    }

    #[test]
    fn unexpected_objects_have_no_class_and_are_seen() {
        let mut seen = 0;
        for seed in 0..100 {
            let scene = draw(seed, 256, 128, true);
            let mut pixels = 0;
            for (label, unexpected) in scene.labels.pixels().zip(scene.unexpected.pixels()) {
                assert!(label.0[0] <= 18 || label.0[0] == 255);
                assert_eq!(label.0[0] == 255, unexpected.0[0] != 0);
                pixels += u32::from(unexpected.0[0] == 1);
            }
            seen += u32::from(pixels > 10);
        }
        assert!(seen >= 95, "an unexpected object is seen in {seen} of 100 scenes");
    }

    #[test]
    fn any_size_is_drawn() {
        for (width, height) in [(0, 0), (1, 1), (17, 5), (64, 200)] {
            let scene = draw(3, width, height, true);
            assert_eq!(scene.image.dimensions(), (width, height));
            assert_eq!(scene.labels.dimensions(), (width, height));
            assert_eq!(scene.unexpected.dimensions(), (width, height));
        }
    }
}
