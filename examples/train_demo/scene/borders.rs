//! Walls, fences and crash barriers along the street.

use super::canvas::{Canvas, Class, Shadows, Skin, Standing};
use super::dice::Dice;
use super::light::{Rgb, dim, vary};
use super::perspective::Point;

/// What a low border along the street is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum BorderKind {
    /// Plaster, brick or concrete.
    Wall,
    /// Upright bars or boards; what lies behind shows through.
    Railing,
    /// Crash barrier.
    Guardrail,
}

/// A wall or a fence along the street.
pub struct Border {
    pub kind: BorderKind,
    pub sign: f32,
    pub distance: f32,
    pub depth: (f32, f32),
    pub height: f32,
    colour: Rgb,
    cap: bool,
}

impl Border {
    /// A border in a colour that suits its kind.
    pub fn new(dice: &mut Dice, kind: BorderKind, sign: f32, distance: f32, depth: (f32, f32)) -> Self {
        let (choice, height) = match kind {
            BorderKind::Wall => (
                dice.pick(&[
                    [0.62, 0.60, 0.55],
                    [0.55, 0.36, 0.29],
                    [0.5, 0.5, 0.5],
                    [0.76, 0.72, 0.64],
                    [0.42, 0.4, 0.37],
                ]),
                dice.between(0.8, 3.2),
            ),
            BorderKind::Railing => (
                dice.pick(&[
                    [0.16, 0.17, 0.18],
                    [0.2, 0.3, 0.24],
                    [0.50, 0.38, 0.27],
                    [0.7, 0.7, 0.7],
                    [0.36, 0.30, 0.25],
                ]),
                dice.between(0.9, 2.1),
            ),
            BorderKind::Guardrail => ([0.62, 0.63, 0.64], 0.8),
        };
        Self { kind, sign, distance, depth, height, colour: vary(dice, choice, 0.2), cap: dice.chance(0.5) }
    }

    fn strip(&self, canvas: &Canvas, depth: (f32, f32), up: (f32, f32)) -> [Point; 4] {
        let at = |z, up| canvas.eye.in_street(self.sign * self.distance, up, z);
        [at(depth.0, up.0), at(depth.1, up.0), at(depth.1, up.1), at(depth.0, up.1)]
    }

    fn draw_railing(&self, canvas: &mut Canvas, colour: Rgb, skin: Skin) {
        let (near, far) = self.depth;
        let whole = self.strip(canvas, self.depth, (0.05, self.height));
        let outline = canvas.outline(&[&whole]);
        canvas.mark(outline, skin);
        canvas.panel(&whole, colour, 0.30);
        let mut bars = vec![
            self.strip(canvas, self.depth, (0.92 * self.height, self.height)),
            self.strip(canvas, self.depth, (0.12, 0.12 + 0.07 * self.height)),
        ];
        let mut z = near;
        while z < far.min(60.0) {
            bars.push(self.strip(canvas, (z, z + 0.07), (0.0, self.height)));
            z += 0.24 + 0.005 * z;
        }
        let polygons: Vec<&[Point]> = bars.iter().map(|b| b.as_slice()).collect();
        let outline = canvas.outline(&polygons);
        canvas.detail(outline, colour, 1.0);
    }
}

impl Standing for Border {
    fn depth(&self) -> f32 {
        self.depth.1 - 0.01
    }

    fn cast_shadow(&self, ground: &mut Shadows) {
        let (sx, sz) = (ground.shift.0 * self.height, ground.shift.1 * self.height);
        let near = ground.eye().in_street(self.sign * self.distance, 0.0, self.depth.0);
        let far = ground.eye().in_street(self.sign * self.distance, 0.0, self.depth.1);
        ground.polygon(&[
            (near[0], near[2]),
            (far[0], far[2]),
            (far[0] + sx, far[2] + sz),
            (near[0] + sx, near[2] + sz),
        ]);
    }

    fn draw(&self, canvas: &mut Canvas) {
        let middle = 0.5 * (self.depth.0 + self.depth.1);
        let lit = canvas.light.on(self.colour, [-self.sign, 0.1, -0.3]);
        let colour = canvas.light.through_air(lit, middle);
        match self.kind {
            BorderKind::Wall => {
                let strip = self.strip(canvas, self.depth, (0.0, self.height));
                canvas.polygon(&strip, colour, Class::Wall.skin());
                if self.cap {
                    let cap = self.strip(canvas, self.depth, (0.93 * self.height, self.height));
                    canvas.panel(&cap, dim(colour, 1.25), 1.0);
                }
                let foot = self.strip(canvas, self.depth, (0.0, 0.12 * self.height));
                canvas.panel(&foot, dim(colour, 0.7), 0.6);
                let mut z = self.depth.0.max(2.0);
                while z < self.depth.1.min(70.0) {
                    let joint = self.strip(canvas, (z, z + 0.09), (0.0, self.height));
                    canvas.panel(&joint, dim(colour, 0.72), 0.7);
                    z += 3.2;
                }
            }
            BorderKind::Railing => self.draw_railing(canvas, colour, Class::Fence.skin()),
            BorderKind::Guardrail => {
                let mut z = self.depth.0.max(2.0);
                while z < self.depth.1.min(80.0) {
                    let post = self.strip(canvas, (z, z + 0.14), (0.0, 0.7));
                    canvas.polygon(&post, dim(colour, 0.7), Class::Fence.skin());
                    z += 2.0;
                }
                let rail = self.strip(canvas, self.depth, (0.42, self.height));
                canvas.polygon(&rail, colour, Class::Fence.skin());
                let fold = self.strip(canvas, self.depth, (0.56, 0.64));
                canvas.panel(&fold, dim(colour, 0.6), 1.0);
            }
        }
    }
}
