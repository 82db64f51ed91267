//! Buildings along the street, and those that close the view at its end.

use super::canvas::{Canvas, Class, Shadows, Standing};
use super::dice::Dice;
use super::light::{Rgb, dim, mix, vary};
use super::perspective::{Face, Point, Side};

/// Colours of plaster, brick, stone and concrete.
const FRONTS: [Rgb; 12] = [
    [0.80, 0.74, 0.62],
    [0.72, 0.70, 0.66],
    [0.86, 0.83, 0.76],
    [0.62, 0.42, 0.34],
    [0.52, 0.34, 0.28],
    [0.70, 0.58, 0.44],
    [0.56, 0.56, 0.57],
    [0.78, 0.66, 0.52],
    [0.66, 0.70, 0.72],
    [0.44, 0.44, 0.47],
    [0.82, 0.72, 0.66],
    [0.60, 0.62, 0.54],
];

/// A house with a front along the street and a gable towards the camera.
pub struct Building {
    /// -1 left, 1 right.
    pub sign: f32,
    /// Lateral distance of the front.
    pub front: f32,
    /// Depth of its near and far end.
    pub depth: (f32, f32),
    /// Height of the eaves, in metres.
    pub height: f32,
    facade: Facade,
}

#[derive(Clone, Copy)]
struct Facade {
    colour: Rgb,
    frame: Rgb,
    glass: Rgb,
    base: Rgb,
    roof: Rgb,
    storey: f32,
    bay: f32,
    window: (f32, f32),
    shop: bool,
    ribbon: bool,
    balconies: bool,
    pitched: f32,
    awning: Option<Rgb>,
    seed: u64,
}

impl Facade {
    fn new(dice: &mut Dice) -> Self {
        let choice = dice.pick(&FRONTS);
        let colour = vary(dice, choice, 0.22);
        let dark = dice.between(0.10, 0.28);
        let pitched = if dice.chance(0.55) { dice.between(1.5, 4.0) } else { 0.0 };
        let awning_colour =
            dice.pick(&[[0.6, 0.15, 0.13], [0.15, 0.3, 0.2], [0.8, 0.76, 0.66], [0.2, 0.25, 0.45]]);
        Self {
            colour,
            frame: if dice.chance(0.6) { [0.88, 0.87, 0.84] } else { dim(colour, 0.7) },
            glass: [dark, 1.08 * dark, 1.2 * dark],
            base: if dice.chance(0.5) { dim(colour, 0.75) } else { [0.5, 0.49, 0.47] },
            roof: dice.pick(&[[0.45, 0.24, 0.18], [0.28, 0.27, 0.28], [0.36, 0.30, 0.26], [0.4, 0.42, 0.45]]),
            storey: dice.between(2.8, 3.9),
            bay: dice.between(2.0, 3.8),
            window: (dice.between(0.32, 0.66), dice.between(0.42, 0.66)),
            shop: dice.chance(0.45),
            ribbon: dice.chance(0.15),
            balconies: dice.chance(0.2),
            pitched,
            awning: dice.chance(0.3).then_some(awning_colour),
            seed: u64::from(dice.noise_seed()),
        }
    }
}

impl Building {
    /// A building on one side of the street.
    pub fn new(dice: &mut Dice, sign: f32, front: f32, depth: (f32, f32), height: f32) -> Self {
        Self { sign, front, depth, height, facade: Facade::new(dice) }
    }

    fn corner(&self, canvas: &Canvas, beyond: f32, up: f32, z: f32) -> Point {
        canvas.eye.in_street(self.sign * (self.front + beyond), up, z)
    }

    /// The street front between two depths.
    fn front_face(&self, canvas: &Canvas, near: f32, far: f32) -> Face {
        let at = |z, up| self.corner(canvas, 0.0, up, z);
        let (left, right) = if self.sign < 0.0 { (near, far) } else { (far, near) };
        let side = if self.sign < 0.0 { Side::Right } else { Side::Left };
        let corners = [at(left, 0.0), at(right, 0.0), at(right, self.height), at(left, self.height)];
        Face { side, corners }
    }

    fn gable_face(&self, canvas: &Canvas) -> Face {
        let z = self.depth.0;
        let inner = self.corner(canvas, 0.0, 0.0, z);
        let outer = self.corner(canvas, 12.0, 0.0, z);
        let (left, right) = if self.sign < 0.0 { (outer, inner) } else { (inner, outer) };
        let raised = |p: Point| [p[0], self.height, p[2]];
        Face { side: Side::Rear, corners: [left, right, raised(right), raised(left)] }
    }

    fn draw_roof(&self, canvas: &mut Canvas) {
        let rise = self.facade.pitched;
        if rise == 0.0 {
            return;
        }
        let (near, far) = self.depth;
        let ridge = |canvas: &Canvas, z| self.corner(canvas, 5.0, self.height + rise, z);
        let eave = |canvas: &Canvas, z| self.corner(canvas, -0.4, self.height, z);
        let slope = [eave(canvas, near), eave(canvas, far), ridge(canvas, far), ridge(canvas, near)];
        let lit = canvas.light.on(self.facade.roof, [-0.5 * self.sign, 0.8, 0.0]);
        let lit = canvas.light.through_air(lit, near);
        canvas.polygon(&slope, lit, Class::Building.skin());
        let back = self.corner(canvas, 10.0, self.height, near);
        let gable = [eave(canvas, near), ridge(canvas, near), back];
        let face = self.gable_face(canvas);
        let colour = canvas.seen(self.facade.colour, &face);
        canvas.polygon(&gable, colour, Class::Building.skin());
    }

    /// One wall with its rows of windows.
    fn draw_wall(&self, canvas: &mut Canvas, face: &Face, length: f32, plain: bool) {
        if !face.faces_camera(canvas.eye.height) {
            return;
        }
        let f = &self.facade;
        let lit = |canvas: &Canvas, colour| canvas.seen(colour, face);
        let wall = lit(canvas, f.colour);
        canvas.polygon(&face.corners, wall, Class::Building.skin());
        let storey = f.storey / self.height;
        let base = lit(canvas, f.base);
        canvas.panel(&face.part(0.0, 0.0, 1.0, 0.22 * storey), base, 1.0);
        let cornice = lit(canvas, dim(f.colour, 1.15));
        canvas.panel(&face.part(0.0, 1.0 - 0.1 * storey, 1.0, 1.0), cornice, 1.0);
        if plain {
            return;
        }
        let storeys = (self.height / f.storey).floor().max(1.0) as usize;
        let bays = (length / f.bay).floor().max(1.0) as usize;
        let first = usize::from(f.shop);
        self.draw_windows(canvas, face, (first, storeys), bays);
        if f.shop {
            self.draw_shop(canvas, face, storey, (bays / 2).max(1));
        }
    }

    fn draw_windows(&self, canvas: &mut Canvas, face: &Face, rows: (usize, usize), bays: usize) {
        let f = &self.facade;
        let storey = f.storey / self.height;
        let mut dice = Dice::new(f.seed);
        let (mut frames, mut panes, mut bright, mut sills) = (vec![], vec![], vec![], vec![]);
        let wide = if f.ribbon { 0.94 } else { f.window.0 };
        for row in rows.0..rows.1 {
            let low = (row as f32 + 0.28) * storey;
            let high = low + f.window.1 * storey;
            for bay in 0..bays {
                let u0 = (bay as f32 + 0.5 * (1.0 - wide)) / bays as f32;
                let u1 = u0 + wide / bays as f32;
                let (mu, mv) = (0.07 * (u1 - u0), 0.06 * (high - low));
                frames.push(face.part(u0 - mu, low - mv, u1 + mu, high + mv));
                panes.push(face.part(u0, low, u1, high));
                if dice.chance(0.45) {
                    let split = dice.between(0.3, 1.0);
                    bright.push(face.part(u0, low + (high - low) * (1.0 - split), u1, high));
                }
                if f.balconies && row > 0 {
                    sills.push(face.part(u0 - 3.0 * mu, low - 4.0 * mv, u1 + 3.0 * mu, low + 3.0 * mv));
                }
            }
        }
        let groups = [
            (frames, f.frame, 1.0),
            (panes, f.glass, 1.0),
            (bright, mix(f.glass, canvas.light.sky.1, 0.45), 0.8),
            (sills, dim(f.colour, 0.6), 0.9),
        ];
        for (quads, colour, opacity) in groups {
            let polygons: Vec<&[Point]> = quads.iter().map(|q| q.as_slice()).collect();
            let outline = canvas.outline(&polygons);
            let lit = canvas.seen(colour, face);
            canvas.detail(outline, lit, opacity);
        }
    }

    fn draw_shop(&self, canvas: &mut Canvas, face: &Face, storey: f32, bays: usize) {
        let f = &self.facade;
        let mut dice = Dice::new(f.seed ^ 1);
        let band = canvas.seen(dim(f.frame, 0.9), face);
        canvas.panel(&face.part(0.0, 0.80 * storey, 1.0, 0.97 * storey), band, 1.0);
        for bay in 0..bays {
            let (u0, u1) = ((bay as f32 + 0.06) / bays as f32, (bay as f32 + 0.92) / bays as f32);
            let door = dice.chance(0.3);
            let low = if door { 0.0 } else { 0.14 * storey };
            let glass = mix(f.glass, [0.75, 0.62, 0.4], if dice.chance(0.4) { 0.4 } else { 0.05 });
            let glass = canvas.seen(glass, face);
            canvas.panel(&face.part(u0, low, u1, 0.76 * storey), glass, 1.0);
            let middle = 0.5 * (u0 + u1);
            let post = canvas.seen(dim(f.colour, 0.6), face);
            canvas.panel(&face.part(middle, low, middle + 0.03 / bays as f32, 0.76 * storey), post, 1.0);
            if dice.chance(0.6) {
                let choice =
                    dice.pick(&[[0.75, 0.2, 0.15], [0.9, 0.8, 0.3], [0.2, 0.35, 0.6], [0.9, 0.9, 0.9]]);
                let sign = canvas.seen(choice, face);
                canvas.panel(
                    &face.part(u0 + 0.1 / bays as f32, 0.83 * storey, u1 - 0.2 / bays as f32, 0.94 * storey),
                    sign,
                    1.0,
                );
            }
            if let Some(colour) = f.awning {
                let lit = canvas.seen(colour, face);
                canvas.panel(&face.part(u0, 0.62 * storey, u1, 0.82 * storey), lit, 1.0);
            }
        }
    }
}

impl Standing for Building {
    fn depth(&self) -> f32 {
        // By the far end: what stands on the pavement before the front is drawn later.
        self.depth.1
    }

    fn cast_shadow(&self, ground: &mut Shadows) {
        let (sx, sz) = (ground.shift.0 * self.height, ground.shift.1 * self.height);
        let eye = ground.eye();
        let near = eye.in_street(self.sign * self.front, 0.0, self.depth.0);
        let far = eye.in_street(self.sign * self.front, 0.0, self.depth.1);
        ground.polygon(&[
            (near[0], near[2]),
            (far[0], far[2]),
            (far[0] + sx, far[2] + sz),
            (near[0] + sx, near[2] + sz),
        ]);
    }

    fn draw(&self, canvas: &mut Canvas) {
        self.draw_roof(canvas);
        let gable = self.gable_face(canvas);
        if self.depth.0 > 3.0 {
            self.draw_wall(canvas, &gable, 12.0, self.facade.seed.is_multiple_of(3));
        }
        // Short pieces follow the bend.
        let length = self.depth.1 - self.depth.0;
        let pieces = if length > 14.0 { 2 } else { 1 };
        for piece in (0..pieces).rev() {
            let near = self.depth.0 + length * piece as f32 / pieces as f32;
            let far = self.depth.0 + length * (piece + 1) as f32 / pieces as f32;
            let face = self.front_face(canvas, near.max(2.0), far);
            self.draw_wall(canvas, &face, far - near, false);
        }
    }
}

/// A flat front across the view: what stands at the end of the street and beyond side streets.
pub struct Backdrop {
    /// Depth, in metres.
    pub depth: f32,
    /// Left and right end, in world metres.
    pub ends: (f32, f32),
    building: Building,
}

impl Backdrop {
    /// A front of the given height.
    pub fn new(dice: &mut Dice, depth: f32, ends: (f32, f32), height: f32) -> Self {
        Self { depth, ends, building: Building::new(dice, 1.0, 0.0, (depth, depth), height) }
    }
}

impl Standing for Backdrop {
    fn depth(&self) -> f32 {
        self.depth
    }

    fn cast_shadow(&self, _: &mut Shadows) {}

    fn draw(&self, canvas: &mut Canvas) {
        let (z, up) = (self.depth, self.building.height);
        let (left, right) = self.ends;
        let corners = [[left, 0.0, z], [right, 0.0, z], [right, up, z], [left, up, z]];
        let face = Face { side: Side::Rear, corners };
        self.building.draw_wall(canvas, &face, right - left, false);
        let rise = self.building.facade.pitched;
        if rise > 0.0 {
            let roof = [
                [left, up, z],
                [right, up, z],
                [right - 2.0, up + rise, z + 4.0],
                [left + 2.0, up + rise, z + 4.0],
            ];
            let lit = canvas.light.on(self.building.facade.roof, [0.0, 0.8, -0.4]);
            let lit = canvas.light.through_air(lit, z);
            canvas.polygon(&roof, lit, Class::Building.skin());
        }
    }
}
