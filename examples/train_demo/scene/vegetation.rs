//! Trees, bushes and hedges.

use super::canvas::{Board, Canvas, Class, Outline, Shadows, Standing};
use super::dice::Dice;
use super::light::{Rgb, dim, mix, vary};

/// How a plant grows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// A trunk and a round crown.
    Broadleaf,
    /// A cone down to the ground.
    Conifer,
    /// A low heap of leaves.
    Bush,
    /// Branches without leaves.
    Bare,
}

/// A tree or a bush.
pub struct Plant {
    growth: Growth,
    x: f32,
    z: f32,
    height: f32,
    leaf: Rgb,
    trunk: Rgb,
    /// Clumps of leaves: position and radius, in metres.
    clumps: Vec<(f32, f32, f32)>,
    trunk_height: f32,
    lean: f32,
}

impl Plant {
    /// A plant at a world position.
    pub fn new(dice: &mut Dice, growth: Growth, x: f32, z: f32, height: f32) -> Self {
        let choice = dice.pick(&[
            [0.20, 0.33, 0.12],
            [0.27, 0.38, 0.15],
            [0.16, 0.28, 0.14],
            [0.33, 0.40, 0.17],
            [0.38, 0.38, 0.16],
            [0.24, 0.34, 0.20],
        ]);
        let autumn = dice.chance(0.1);
        let choice = if autumn { [0.55, 0.38, 0.14] } else { choice };
        let trunk_height = height * dice.between(0.22, 0.36);
        let clumps = clumps(dice, growth, height, trunk_height);
        Self {
            growth,
            x,
            z,
            height,
            leaf: vary(dice, choice, 0.3),
            trunk: vary(dice, [0.28, 0.23, 0.18], 0.3),
            clumps,
            trunk_height,
            lean: 0.08 * dice.around_zero(),
        }
    }

    fn draw_trunk(&self, canvas: &mut Canvas, board: &Board) {
        let width = 0.035 * self.height + 0.05;
        let mut trunk = Outline::default();
        let fork = (self.lean * self.height, self.trunk_height * 1.5);
        board.limb(&mut trunk, (0.0, 0.0), fork, (width * 1.3, width * 0.8));
        let bare = self.growth == Growth::Bare;
        for (x, up, _) in self.clumps.iter().step_by(if bare { 1 } else { 3 }) {
            let start = (fork.0 * 0.8, self.trunk_height * 1.2);
            board.limb(&mut trunk, start, (*x, *up), (width * 0.5, width * 0.1));
        }
        let colour = canvas.seen_upright(self.trunk, self.z);
        canvas.fill(trunk, colour, Class::Vegetation.skin());
        if bare {
            let mut haze_of_twigs = Outline::default();
            for (x, up, radius) in &self.clumps {
                board.oval(&mut haze_of_twigs, (*x, *up), (*radius, *radius));
            }
            canvas.detail(haze_of_twigs, colour, 0.22);
            let mut twigs = Outline::default();
            for (x, up, radius) in &self.clumps {
                board.oval(&mut twigs, (*x, *up), (*radius, *radius));
            }
            canvas.mark(twigs, Class::Vegetation.skin());
        }
    }

    fn draw_leaves(&self, canvas: &mut Canvas, board: &Board) {
        let mut whole = Outline::default();
        for (x, up, radius) in &self.clumps {
            board.oval(&mut whole, (*x, *up), (*radius, 0.88 * radius));
        }
        let dark = canvas.seen_upright(dim(self.leaf, 0.55), self.z);
        canvas.fill(whole, dark, Class::Vegetation.skin());
        let sun = if canvas.light.sun[0] < 0.0 { -1.0 } else { 1.0 };
        for (step, shade) in [(0.0, 0.8), (1.0, 1.0), (2.0, 1.25)] {
            let mut lit = Outline::default();
            for (i, (x, up, radius)) in self.clumps.iter().enumerate() {
                let skip = if step > 1.0 {
                    (i * 7).is_multiple_of(3)
                } else {
                    (i * 5 + step as usize).is_multiple_of(4)
                };
                if skip {
                    continue;
                }
                let r = radius * (0.78 - 0.22 * step);
                board.oval(
                    &mut lit,
                    (x + sun * board.mirror * 0.16 * radius * (step + 0.4), up + 0.2 * radius * (step + 0.6)),
                    (r, 0.8 * r),
                );
            }
            let bright = mix(dim(self.leaf, shade), [0.62, 0.62, 0.3], 0.08 * step);
            let colour = canvas.seen_upright(bright, self.z);
            canvas.detail(lit, colour, 0.85);
        }
    }

    fn draw_conifer(&self, canvas: &mut Canvas, board: &Board) {
        let tiers = 6;
        for tier in 0..tiers {
            let t = tier as f32 / tiers as f32;
            let low = self.height * (0.06 + 0.86 * t);
            let high = (low + self.height * 0.30).min(self.height);
            let half = 0.21 * self.height * (1.04 - t);
            let mut cone = Outline::default();
            board.polygon(
                &mut cone,
                &[
                    (-half, low),
                    (-0.4 * half, low - 0.05 * half),
                    (half, low),
                    (0.1 * half, high),
                    (-0.1 * half, high),
                ],
            );
            let colour = canvas.seen_upright(dim(self.leaf, 0.55 + 0.4 * t), self.z);
            canvas.fill(cone, colour, Class::Vegetation.skin());
        }
    }
}

fn clumps(dice: &mut Dice, growth: Growth, height: f32, trunk: f32) -> Vec<(f32, f32, f32)> {
    let count = match growth {
        Growth::Bush => dice.whole(5, 9),
        Growth::Conifer => 0,
        _ => dice.whole(14, 26),
    };
    let crown = height - trunk;
    let wide = match growth {
        Growth::Bush => height * dice.between(0.5, 1.1),
        _ => crown * dice.between(0.34, 0.55),
    };
    let middle = if growth == Growth::Bush { 0.42 * height } else { trunk + 0.56 * crown };
    let tall = if growth == Growth::Bush { 0.35 * height } else { 0.40 * crown };
    let mut found = Vec::with_capacity(count);
    while found.len() < count {
        let (u, v) = (dice.between(-1.0, 1.0), dice.between(-1.0, 1.0));
        if u * u + v * v < 1.0 {
            let radius = dice.between(0.26, 0.48) * wide.min(tall * 1.4);
            found.push((u * wide * 0.85, (middle + v * tall).max(0.8 * radius), radius));
        }
    }
    found
}

impl Standing for Plant {
    fn depth(&self) -> f32 {
        self.z
    }

    fn cast_shadow(&self, ground: &mut Shadows) {
        if self.growth == Growth::Conifer {
            ground.upright(self.x, self.z, 0.3 * self.height, (0.0, 0.7 * self.height));
            return;
        }
        if self.growth != Growth::Bush {
            ground.upright(self.x, self.z, 0.04 * self.height, (0.0, self.trunk_height * 1.3));
        }
        if self.growth != Growth::Bare {
            for (x, up, radius) in &self.clumps {
                // The crown is as deep as it is wide: clumps are spread along the view as well.
                ground.disc(self.x + x, self.z + 0.8 * (up - 0.6 * self.height), *up, 0.9 * radius);
            }
        }
    }

    fn draw(&self, canvas: &mut Canvas) {
        let board = Board::new(&canvas.eye, self.x, self.z, 1.0);
        match self.growth {
            Growth::Conifer => self.draw_conifer(canvas, &board),
            Growth::Bush => self.draw_leaves(canvas, &board),
            Growth::Bare => self.draw_trunk(canvas, &board),
            Growth::Broadleaf => {
                self.draw_trunk(canvas, &board);
                self.draw_leaves(canvas, &board);
            }
        }
    }
}

/// A clipped hedge along the street.
pub struct Hedge {
    pub sign: f32,
    pub distance: f32,
    pub depth: (f32, f32),
    pub height: f32,
    pub leaf: Rgb,
}

impl Standing for Hedge {
    fn depth(&self) -> f32 {
        self.depth.1 - 0.02
    }

    fn cast_shadow(&self, _: &mut Shadows) {}

    fn draw(&self, canvas: &mut Canvas) {
        let eye = canvas.eye;
        let at = |beyond: f32, up, z| eye.in_street(self.sign * (self.distance + beyond), up, z);
        let (near, far) = (self.depth.0.max(2.0), self.depth.1);
        let end =
            [at(0.0, 0.0, near), at(1.2, 0.0, near), at(1.2, self.height, near), at(0.0, self.height, near)];
        let colour = canvas.seen_upright(dim(self.leaf, 0.8), near);
        canvas.polygon(&end, colour, Class::Vegetation.skin());
        let steps = 6;
        for step in (0..steps).rev() {
            let z = |i: usize| near + (far - near) * i as f32 / steps as f32;
            let (a, b) = (z(step), z(step + 1));
            let wobble = 1.0 + 0.08 * ((step * 5 % 3) as f32 - 1.0);
            let up = self.height * wobble;
            let side = [at(0.0, 0.0, a), at(0.0, 0.0, b), at(0.0, up, b), at(0.0, up, a)];
            let lit = canvas.light.on(self.leaf, [-self.sign, 0.3, -0.2]);
            let colour = canvas.light.through_air(dim(lit, 0.9 * wobble), a);
            canvas.polygon(&side, colour, Class::Vegetation.skin());
            let foot = [at(0.0, 0.0, a), at(0.0, 0.0, b), at(0.0, 0.3 * up, b), at(0.0, 0.3 * up, a)];
            canvas.panel(&foot, dim(colour, 0.55), 0.6);
        }
    }
}
