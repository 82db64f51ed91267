//! What is drawn pixel by pixel: the sky with its clouds, and the surface of the ground with its shadows and wet spots.

use super::canvas::{Canvas, Class};
use super::dice::{Dice, cell, cloud_noise, lattice, value_noise};
use super::light::{Light, Rgb, dim, mix};

/// Fills the picture with sky, down to the horizon; the ground covers the rest.
pub fn sky(canvas: &mut Canvas, dice: &mut Dice) {
    let (width, height) = canvas.size();
    let (eye, light) = (canvas.eye, canvas.light);
    let seed = dice.noise_seed();
    let stretch = dice.between(0.5, 1.6);
    let threshold = 1.0 - light.clouds.1;
    let glow_at = eye.axis + eye.focal * light.sun[0] * 0.9;
    let last = ((eye.horizon + 3.0).max(0.0) as usize).min(height);
    for row in 0..last {
        let up = ((eye.horizon - row as f32) / eye.focal).max(0.0);
        let base = mix(light.sky.1, light.sky.0, (up / (up + 0.16)).min(1.0));
        let squeeze = 1.0 / (up + 0.12);
        for column in 0..width {
            let side = (column as f32 - eye.axis) / eye.focal;
            let noise = cloud_noise(side * squeeze * stretch, squeeze * 1.4, seed);
            let cover = smooth((noise - 0.75 * threshold) / 0.28) * light.clouds.1.min(1.0);
            let shaded = dim(light.clouds.0, 0.86 + 0.28 * noise);
            let glow = 1.0 - ((column as f32 - glow_at).abs() / (0.9 * eye.focal)).min(1.0);
            let colour = mix(base, shaded, cover);
            canvas.set_colour(row * width + column, mix(colour, [1.0, 0.97, 0.9], 0.25 * glow * glow));
        }
    }
}

/// Gives the ground its surface: asphalt and paving noise, cast shadows, wet spots, haze.
pub fn ground(canvas: &mut Canvas, coverage: &[u8], dice: &mut Dice) {
    let (width, height) = canvas.size();
    let surface = Surface::new(dice, &canvas.light);
    let first = (canvas.eye.horizon.floor().max(0.0) as usize).min(height);
    for row in first..height {
        let z = canvas.eye.ground_depth(row as f32 + 0.5);
        let (scale, bend) = (canvas.eye.scale(z), canvas.eye.bend(z));
        for column in 0..width {
            let index = row * width + column;
            let x = (column as f32 + 0.5 - canvas.eye.axis) / scale - bend;
            let class = canvas.mark_at(index).0;
            let colour = surface.at(canvas.colour_at(index), class, (x, z), scale);
            let shade = 1.0 - canvas.light.shadow * f32::from(coverage[index]) / 255.0;
            let colour = canvas.light.through_air(dim(colour, shade), z);
            canvas.set_colour(index, colour);
        }
    }
}

struct Surface {
    seed: u32,
    wet: f32,
    mirrored: Rgb,
    blotches: f32,
    coarse: f32,
    slab: f32,
    tracks: f32,
    track_offset: f32,
}

impl Surface {
    fn new(dice: &mut Dice, light: &Light) -> Self {
        Self {
            seed: dice.noise_seed(),
            wet: light.wet,
            mirrored: mix(light.sky.1, light.haze, 0.5),
            blotches: dice.between(0.05, 0.32),
            coarse: dice.between(0.04, 0.22),
            slab: if dice.chance(0.6) { dice.between(0.4, 1.1) } else { 0.0 },
            tracks: dice.between(-0.08, 0.14),
            track_offset: dice.between(0.0, 1.7),
        }
    }

    fn at(&self, colour: Rgb, class: u8, place: (f32, f32), scale: f32) -> Rgb {
        let (x, z) = place;
        // Detail finer than a pixel is left out, as a lens would.
        let fine = (scale / 45.0).min(1.0);
        let blotch = value_noise(0.45 * x, 0.18 * z, self.seed) - 0.5;
        let grit = value_noise(5.0 * x, 2.6 * z, self.seed ^ 0x77) - 0.5;
        let mut factor = 1.0 + self.blotches * blotch + self.coarse * grit * (0.4 + 0.6 * fine);
        if class == Class::Road as u8 {
            factor += self.tracks * (value_noise(0.6 * x + self.track_offset, 0.01 * z, 7) - 0.5);
            return self.wetted(dim(colour, factor), place);
        }
        if class == Class::Sidewalk as u8 {
            factor += self.slabs(place, fine);
            return self.wetted(dim(colour, factor), place);
        }
        let tuft = value_noise(9.0 * x, 3.0 * z, self.seed ^ 0x33) - 0.5;
        dim(colour, factor + 0.35 * tuft * (0.5 + 0.5 * fine))
    }

    fn slabs(&self, (x, z): (f32, f32), fine: f32) -> f32 {
        if self.slab == 0.0 {
            return 0.0;
        }
        let (u, v) = (x / self.slab, z / self.slab);
        let tone = 0.07 * (lattice(cell(u), cell(v), self.seed) - 0.5);
        let joint = (u - cell(u) as f32).min(v - cell(v) as f32) < 0.06;
        tone * fine - if joint { 0.16 * fine } else { 0.0 }
    }

    fn wetted(&self, colour: Rgb, (x, z): (f32, f32)) -> Rgb {
        if self.wet <= 0.0 {
            return colour;
        }
        let noise = 0.7 * value_noise(0.5 * x, 0.14 * z, self.seed ^ 0x5a)
            + 0.3 * value_noise(2.3 * x, 0.8 * z, self.seed ^ 0x91);
        let wet = smooth((noise - 0.85 + 0.9 * self.wet) / 0.12);
        // The flatter the view, the more of the sky is mirrored.
        let mirror = 0.12 + 0.5 * z / (z + 25.0);
        mix(colour, mix(dim(colour, 0.62), self.mirrored, mirror), wet)
    }
}

/// Smoothstep of 0..1.
pub fn smooth(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}
