//! From the drawn picture to a photograph: surface grain, blur, vignetting, exposure, white balance, sensor noise.

use image::{Rgb as Bytes, RgbImage};

use super::canvas::{Canvas, byte};
use super::dice::{Dice, lattice, lattice_bits, value_noise};

/// The camera's settings in one picture.
struct Settings {
    blur: f32,
    gain: [f32; 3],
    contrast: f32,
    lift: f32,
    saturation: f32,
    vignette: f32,
    noise: f32,
    colour_noise: f32,
    seed: u32,
}

impl Settings {
    fn new(dice: &mut Dice) -> Self {
        let exposure = dice.between(0.9, 1.4);
        let warmth = 0.09 * dice.around_zero();
        let tint = 0.04 * dice.around_zero();
        Self {
            blur: 0.34 * dice.unit(),
            gain: [exposure * (1.0 + warmth), exposure * (1.0 + tint), exposure * (1.0 - warmth)],
            contrast: dice.between(-0.25, 0.5),
            lift: dice.between(0.0, 0.05),
            saturation: dice.between(0.7, 1.25),
            vignette: dice.between(0.0, 0.35),
            noise: 0.004 + 0.03 * dice.unit() * dice.unit(),
            colour_noise: dice.between(0.1, 0.7),
            seed: dice.noise_seed(),
        }
    }
}

/// Takes the photograph.
pub fn photograph(canvas: &Canvas, dice: &mut Dice) -> RgbImage {
    let settings = Settings::new(dice);
    let (width, height) = canvas.size();
    let mut picture = grained(canvas, settings.seed);
    blur(&mut picture, width, height, settings.blur);
    let mut photo = RgbImage::new(width as u32, height as u32);
    for (index, pixel) in photo.pixels_mut().enumerate() {
        let (column, row) = (index % width, index / width);
        let colour = develop(picture[index], &settings, (column, row), (width, height));
        *pixel = Bytes(colour.map(byte));
    }
    photo
}

/// The drawn colours, each surface roughened by its grain. Every surface passes through here alike.
fn grained(canvas: &Canvas, seed: u32) -> Vec<[f32; 3]> {
    let (width, height) = canvas.size();
    let mut picture = Vec::with_capacity(width * height);
    for index in 0..width * height {
        let colour = canvas.colour_at(index);
        let grain = canvas.mark_at(index).1;
        if grain == 0 {
            picture.push(colour);
            continue;
        }
        let (column, row) = (index % width, index / width);
        let strength = f32::from(grain) / 255.0;
        let soft = value_noise(column as f32 / 5.0, row as f32 / 5.0, seed ^ 0x1234) - 0.5;
        let sharp = lattice(column as i32, row as i32, seed) - 0.5;
        picture.push(colour.map(|v| v * (1.0 + strength * (0.75 * soft + 0.65 * sharp))));
    }
    picture
}

/// A three-tap blur along rows, then along columns, with `share` of the light from the two neighbours.
fn blur(picture: &mut [[f32; 3]], width: usize, height: usize, share: f32) {
    let side = 0.5 * share;
    for row in picture.chunks_exact_mut(width) {
        let mut before = row[0];
        for x in 0..width {
            let here = row[x];
            let after = row[(x + 1).min(width - 1)];
            row[x] = std::array::from_fn(|i| here[i] * (1.0 - share) + side * (before[i] + after[i]));
            before = here;
        }
    }
    let mut before = picture[..width].to_vec();
    for y in 0..height {
        for x in 0..width {
            let here = picture[y * width + x];
            let after = picture[(y + 1).min(height - 1) * width + x];
            let blurred = std::array::from_fn(|i| here[i] * (1.0 - share) + side * (before[x][i] + after[i]));
            picture[y * width + x] = blurred;
            before[x] = here;
        }
    }
}

fn develop(
    colour: [f32; 3],
    settings: &Settings,
    (column, row): (usize, usize),
    (width, height): (usize, usize),
) -> [f32; 3] {
    let (dx, dy) = (column as f32 / width as f32 - 0.5, row as f32 / height as f32 - 0.5);
    let fall = 1.0 - settings.vignette * (1.6 * (dx * dx + dy * dy)).min(1.0);
    let exposed: [f32; 3] = std::array::from_fn(|i| colour[i] * settings.gain[i] * fall);
    let grey = 0.3 * exposed[0] + 0.59 * exposed[1] + 0.11 * exposed[2];
    let bits = lattice_bits(column as i32, row as i32, settings.seed ^ 0x71);
    let shared = bell(lattice_bits(column as i32, row as i32, settings.seed ^ 0xbeef));
    std::array::from_fn(|i| {
        let v = (grey + (exposed[i] - grey) * settings.saturation).clamp(0.0, 1.0);
        let curved = v + settings.contrast * (v * v * (3.0 - 2.0 * v) - v);
        let lifted = settings.lift + (1.0 - settings.lift) * curved;
        let own = ((bits >> (10 * i)) & 0x3ff) as f32 / 1024.0 - 0.5;
        // Shot noise grows with the light, slower than the light.
        let noise = settings.noise * (0.6 + 0.8 * lifted);
        lifted + noise * (shared + 3.0 * settings.colour_noise * own)
    })
}

/// Noise of unit spread, about bell-shaped: the sum of two uniform numbers of 16 bits.
fn bell(bits: u32) -> f32 {
    let sum = ((bits & 0xffff) + (bits >> 16)) as f32 / 65536.0 - 1.0;
    2.45 * sum
}
