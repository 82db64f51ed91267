//! Daylight: where the sun stands, how strong shadows are, the colours of sky and haze.

use super::dice::Dice;
use super::perspective::Point;

/// Red, green and blue in `0..1`, as displayed.
pub type Rgb = [f32; 3];

/// `from` blended towards `to`.
pub fn mix(from: Rgb, to: Rgb, share: f32) -> Rgb {
    std::array::from_fn(|i| from[i] + (to[i] - from[i]) * share)
}

/// All channels times `factor`.
pub fn dim(colour: Rgb, factor: f32) -> Rgb {
    colour.map(|v| v * factor)
}

/// A colour near `colour`: brightness and each channel vary by up to `spread`.
pub fn vary(dice: &mut Dice, colour: Rgb, spread: f32) -> Rgb {
    let brightness = 1.0 + spread * dice.around_zero();
    colour.map(|v| (v * brightness * (1.0 + 0.4 * spread * dice.around_zero())).clamp(0.01, 0.99))
}

/// The weather of one scene.
#[derive(Clone, Copy)]
pub struct Light {
    /// Unit vector towards the sun.
    pub sun: Point,
    /// Colour of direct light; black when the sky is overcast.
    pub direct: Rgb,
    /// Colour of the light that comes from everywhere.
    pub ambient: Rgb,
    /// How dark a cast shadow is, 0 (none) to 1 (black).
    pub shadow: f32,
    /// Colour of the sky overhead and at the horizon.
    pub sky: (Rgb, Rgb),
    /// Colour and share of the clouds.
    pub clouds: (Rgb, f32),
    /// Colour of distant air.
    pub haze: Rgb,
    /// Depth at which half of a colour is lost in haze, in metres.
    pub haze_depth: f32,
    /// Share of the ground that is wet.
    pub wet: f32,
}

impl Light {
    /// Sunny, overcast or low sun, each in many shades.
    pub fn new(dice: &mut Dice) -> Self {
        let kind = dice.unit();
        if kind < 0.42 {
            Self::sunny(dice)
        } else if kind < 0.82 {
            Self::overcast(dice)
        } else {
            Self::dusk(dice)
        }
    }

    fn sunny(dice: &mut Dice) -> Self {
        let side = dice.sign() * dice.between(0.25, 0.9);
        let brightness = dice.between(0.85, 1.05);
        Self {
            sun: unit([side, dice.between(0.45, 1.1), 0.7 * dice.around_zero()]),
            direct: dim([0.55, 0.52, 0.45], brightness),
            ambient: dim([0.60, 0.63, 0.70], brightness),
            shadow: dice.between(0.35, 0.62),
            sky: (
                vary(dice, [0.30, 0.50, 0.82], 0.25),
                mix([0.72, 0.83, 0.94], [0.95, 0.95, 0.95], dice.unit()),
            ),
            clouds: ([0.97, 0.97, 0.98], dice.between(0.0, 0.75)),
            haze: [0.76, 0.83, 0.91],
            haze_depth: dice.between(160.0, 900.0),
            wet: dice.between(-0.1, 0.12),
        }
    }

    fn overcast(dice: &mut Dice) -> Self {
        let brightness = dice.between(0.78, 1.1);
        let grey = dice.between(0.72, 0.97);
        let tint = vary(dice, [grey, grey, 1.02 * grey], 0.08);
        Self {
            sun: unit([0.5 * dice.around_zero(), 1.0, 0.3 * dice.around_zero()]),
            direct: dim([0.20, 0.20, 0.21], brightness),
            ambient: dim([0.76, 0.77, 0.79], brightness),
            shadow: dice.between(0.03, 0.16),
            sky: (mix(tint, [0.55, 0.60, 0.68], dice.between(0.0, 0.6)), tint),
            clouds: (dim(tint, dice.between(0.78, 1.0)), dice.between(0.3, 1.0)),
            haze: dim(tint, 0.95),
            haze_depth: dice.between(80.0, 500.0),
            wet: dice.between(-0.2, 0.6),
        }
    }

    fn dusk(dice: &mut Dice) -> Self {
        let side = dice.sign() * dice.between(0.4, 1.0);
        let brightness = dice.between(0.66, 0.98);
        let warm = mix([0.93, 0.68, 0.45], [0.88, 0.78, 0.70], dice.unit());
        Self {
            sun: unit([side, dice.between(0.2, 0.45), 0.8 * dice.around_zero()]),
            direct: dim([0.55, 0.40, 0.24], brightness),
            ambient: dim([0.60, 0.60, 0.72], brightness),
            shadow: dice.between(0.2, 0.5),
            sky: (vary(dice, [0.36, 0.45, 0.66], 0.3), warm),
            clouds: (mix(warm, [0.55, 0.50, 0.56], 0.5), dice.between(0.1, 0.9)),
            haze: mix(warm, [0.6, 0.6, 0.66], 0.5),
            haze_depth: dice.between(120.0, 500.0),
            wet: dice.between(-0.2, 0.3),
        }
    }

    /// Colour of a surface with the given normal.
    pub fn on(&self, colour: Rgb, normal: Point) -> Rgb {
        let cosine = (0..3).map(|i| normal[i] * self.sun[i]).sum::<f32>().max(0.0);
        let open = 0.86 + 0.14 * normal[1];
        std::array::from_fn(|i| colour[i] * (self.ambient[i] * open + self.direct[i] * cosine))
    }

    /// Colour of an upright shape that is drawn flat.
    pub fn on_upright(&self, colour: Rgb) -> Rgb {
        self.on(colour, [0.55 * self.sun[0].signum(), 0.2, -0.8])
    }

    /// A colour seen through `depth` metres of air.
    pub fn through_air(&self, colour: Rgb, depth: f32) -> Rgb {
        mix(colour, self.haze, depth / (depth + self.haze_depth))
    }

    /// Where the shadow of a point one metre above the ground falls: metres to the right and ahead.
    pub fn shadow_shift(&self) -> (f32, f32) {
        let up = self.sun[1].max(0.25);
        (-self.sun[0] / up, -self.sun[2] / up)
    }
}

fn unit(v: Point) -> Point {
    let length = v.iter().map(|x| x * x).sum::<f32>().sqrt();
    v.map(|x| x / length)
}
