//! Vehicles as solids with windows, lamps and wheels, seen from any side; the bodies of cars.

use super::canvas::{Canvas, Class, Shadows, Skin, Standing};
use super::dice::Dice;
use super::light::{Rgb, dim, mix, vary};
use super::perspective::{CIRCLE, Face, Frame, Frustum, Point, Side};

/// Paints of cars.
const PAINTS: [Rgb; 12] = [
    [0.10, 0.10, 0.11],
    [0.16, 0.17, 0.19],
    [0.34, 0.35, 0.37],
    [0.60, 0.61, 0.63],
    [0.86, 0.86, 0.86],
    [0.80, 0.80, 0.78],
    [0.50, 0.10, 0.10],
    [0.66, 0.14, 0.12],
    [0.12, 0.18, 0.38],
    [0.22, 0.34, 0.55],
    [0.20, 0.27, 0.22],
    [0.50, 0.44, 0.34],
];

const GLASS: Rgb = [0.10, 0.12, 0.14];
const TYRE: Rgb = [0.06, 0.06, 0.065];

/// What kind of vehicle.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Model {
    Hatchback,
    Saloon,
    Estate,
    Van,
    Truck,
    Bus,
    Tram,
}

impl Model {
    /// A passenger car or a van, in usual shares.
    pub fn any_car(dice: &mut Dice) -> Self {
        dice.pick(&[
            Self::Hatchback,
            Self::Hatchback,
            Self::Saloon,
            Self::Saloon,
            Self::Estate,
            Self::Estate,
            Self::Van,
        ])
    }

    fn class(self) -> Class {
        match self {
            Self::Truck => Class::Truck,
            Self::Bus => Class::Bus,
            Self::Tram => Class::Train,
            _ => Class::Car,
        }
    }

    /// Width, length and height in metres.
    pub fn size(self) -> (f32, f32, f32) {
        match self {
            Self::Hatchback => (1.75, 4.0, 1.48),
            Self::Saloon => (1.82, 4.6, 1.42),
            Self::Estate => (1.86, 4.6, 1.66),
            Self::Van => (1.95, 5.0, 2.05),
            Self::Truck => (2.45, 8.5, 3.4),
            Self::Bus => (2.5, 11.5, 3.1),
            Self::Tram => (2.4, 26.0, 3.4),
        }
    }
}

/// A vehicle in its place.
pub struct Vehicle {
    pub(super) model: Model,
    pub(super) frame: Frame,
    pub(super) z: f32,
    pub(super) size: (f32, f32, f32),
    pub(super) paint: Rgb,
    pub(super) second: Rgb,
    pub(super) braking: bool,
    pub(super) headlamps: bool,
    pub(super) plain_side: bool,
}

impl Vehicle {
    /// A vehicle whose middle is at world position (`x`, `z`); `half_turn` as in [`Frame::new`]. Heading away from the
    /// camera is 0; `oncoming` turns it round.
    pub fn new(dice: &mut Dice, model: Model, place: (f32, f32), half_turn: f32, oncoming: bool) -> Self {
        let choice = match model {
            Model::Bus => dice.pick(&[
                [0.85, 0.75, 0.2],
                [0.7, 0.12, 0.12],
                [0.85, 0.85, 0.85],
                [0.2, 0.4, 0.6],
                [0.3, 0.5, 0.3],
            ]),
            Model::Tram => dice.pick(&[
                [0.75, 0.12, 0.12],
                [0.85, 0.8, 0.6],
                [0.8, 0.82, 0.84],
                [0.2, 0.45, 0.3],
                [0.85, 0.7, 0.15],
            ]),
            Model::Truck => dice.pick(&[
                [0.85, 0.85, 0.85],
                [0.2, 0.3, 0.6],
                [0.7, 0.15, 0.12],
                [0.85, 0.55, 0.1],
                [0.3, 0.5, 0.35],
            ]),
            _ => dice.pick(&PAINTS),
        };
        // Turned round: the tangent of the half angle goes to its negative inverse.
        let turn =
            if oncoming { -1.0 / if half_turn.abs() < 1e-4 { 1e-4 } else { half_turn } } else { half_turn };
        let stretch = |dice: &mut Dice| 1.0 + 0.07 * dice.around_zero();
        let (w, l, h) = model.size();
        let second = dice.pick(&[
            [0.86, 0.86, 0.85],
            [0.75, 0.76, 0.78],
            [0.3, 0.42, 0.6],
            [0.62, 0.55, 0.4],
            [0.85, 0.85, 0.8],
        ]);
        Self {
            model,
            frame: Frame::new(place.0, place.1, turn),
            z: place.1,
            size: (w * stretch(dice), l * stretch(dice), h * stretch(dice)),
            paint: vary(dice, choice, 0.2),
            second: vary(dice, second, 0.15),
            braking: dice.chance(0.35),
            headlamps: dice.chance(0.3),
            plain_side: dice.chance(0.5),
        }
    }

    pub(super) fn skin(&self) -> Skin {
        self.model.class().skin()
    }

    fn footprint(&self, grow: f32) -> [Point; 4] {
        let (w, l) = (0.5 * self.size.0 + grow, 0.5 * self.size.1 + grow);
        [(-w, -l), (w, -l), (w, l), (-w, l)].map(|(r, a)| self.frame.point(r, 0.0, a))
    }

    /// Draws the visible faces of a solid and gives them back.
    pub(super) fn solid(&self, canvas: &mut Canvas, solid: &Frustum, colour: Rgb) -> Vec<Face> {
        let faces = solid.faces(&self.frame);
        let seen: Vec<Face> = faces.into_iter().filter(|f| f.faces_camera(canvas.eye.height)).collect();
        for face in &seen {
            let lit = canvas.seen(colour, face);
            canvas.polygon(&face.corners, lit, self.skin());
        }
        seen
    }

    pub(super) fn pane(&self, canvas: &mut Canvas, face: &Face, part: [f32; 4], colour: Rgb) {
        let lit = canvas.seen(colour, face);
        canvas.panel(&face.part(part[0], part[1], part[2], part[3]), lit, 1.0);
    }

    /// A window with a brighter upper part that mirrors the sky.
    pub(super) fn window(&self, canvas: &mut Canvas, face: &Face, part: [f32; 4]) {
        self.pane(canvas, face, part, GLASS);
        let [u0, v0, u1, v1] = part;
        let slant = [
            face.at(u0, v0 + 0.55 * (v1 - v0)),
            face.at(u1, v0 + 0.25 * (v1 - v0)),
            face.at(u1, v1),
            face.at(u0, v1),
        ];
        let sky = mix(GLASS, canvas.light.sky.1, 0.5);
        canvas.panel(&slant, sky, 0.55);
    }

    /// A lamp, which shines by itself when `lit`.
    pub(super) fn lamp(&self, canvas: &mut Canvas, face: &Face, part: [f32; 4], colour: Rgb, lit: bool) {
        if lit {
            canvas.panel(&face.part(part[0], part[1], part[2], part[3]), colour, 1.0);
        } else {
            self.pane(canvas, face, part, dim(colour, 0.75));
        }
    }

    pub(super) fn wheels(&self, canvas: &mut Canvas, ahead: &[f32], radius: f32, clearance: f32) {
        let half = 0.5 * self.size.0 + 0.01;
        for right in [-half, half] {
            // The side that the camera sees is the one whose outward direction points at it.
            let out = self.frame.point(right, radius, 0.0);
            let middle = self.frame.point(0.0, radius, 0.0);
            let visible = (out[0] - middle[0]) * -out[0] + (out[2] - middle[2]) * -out[2] > 0.0;
            for (i, at) in ahead.iter().enumerate() {
                let disc = |r: f32| CIRCLE.map(|(c, s)| self.frame.point(right, radius + r * s, at + r * c));
                let (tyre, rim) = (disc(radius), disc(0.62 * radius));
                // What shows below the body of a wheel seen from behind or across: a dark upright block.
                let inner = if right < 0.0 { right + 0.22 } else { right - 0.22 };
                let tread = [(right, 0.0), (inner, 0.0), (inner, clearance), (right, clearance)];
                let block = tread.map(|(r, up)| self.frame.point(r, up, at - 0.1));
                let dark = canvas.seen_upright(TYRE, self.z);
                canvas.polygon(&block, dark, self.skin());
                if !visible {
                    continue;
                }
                let arch = disc(1.18 * radius).map(|p| [p[0], p[1].max(0.12), p[2]]);
                let dark = canvas.seen_upright(dim(self.paint, 0.25), self.z);
                canvas.panel(&arch, dark, 0.9);
                let tyre_colour = canvas.seen_upright(TYRE, self.z);
                canvas.polygon(&tyre, tyre_colour, self.skin());
                let metal = if i % 2 == 0 { 0.45 } else { 0.5 };
                let rim_colour = canvas.seen_upright([metal, metal, metal], self.z);
                canvas.panel(&rim, rim_colour, 1.0);
                let hub = canvas.seen_upright([0.2, 0.2, 0.2], self.z);
                canvas.panel(&disc(0.2 * radius), hub, 1.0);
            }
        }
    }

    fn draw_car(&self, canvas: &mut Canvas) {
        let (w, l, h) = self.size;
        let (rear, front) = (-0.5 * l, 0.5 * l);
        let waist = if self.model == Model::Van { 0.52 * h } else { 0.60 * h };
        let body = Frustum {
            up: (0.20, waist),
            base: [-0.47 * w, 0.47 * w, rear + 0.05, front - 0.05],
            top: [-0.5 * w, 0.5 * w, rear + 0.04, front - 0.10],
        };
        let nose = Frustum {
            up: (0.20, 0.82 * waist),
            base: [-0.45 * w, 0.45 * w, rear, front],
            top: [-0.46 * w, 0.46 * w, rear - 0.02, front + 0.02],
        };
        self.solid(canvas, &nose, dim(self.paint, 0.92));
        for face in self.solid(canvas, &body, self.paint) {
            match face.side {
                Side::Rear => self.car_rear(canvas, &face),
                Side::Front => self.car_front(canvas, &face),
                Side::Left | Side::Right => self.car_side(canvas, &face),
                Side::Top => {}
            }
        }
        let (cabin_rear, cabin_front, roof_rear, roof_front) = match self.model {
            Model::Hatchback => (rear + 0.08, front - 0.95, rear + 0.42, front - 1.75),
            Model::Saloon => (rear + 0.55, front - 1.15, rear + 1.25, front - 1.95),
            Model::Estate => (rear + 0.06, front - 1.10, rear + 0.28, front - 1.85),
            _ => (rear + 0.03, front - 0.55, rear + 0.08, front - 1.25),
        };
        let cabin = Frustum {
            up: (waist, h),
            base: [-0.48 * w, 0.48 * w, cabin_rear, cabin_front],
            top: [-0.38 * w, 0.38 * w, roof_rear, roof_front],
        };
        for face in self.solid(canvas, &cabin, self.paint) {
            match face.side {
                Side::Rear if self.model == Model::Van && self.plain_side => {
                    self.window(canvas, &face, [0.10, 0.35, 0.47, 0.85]);
                    self.window(canvas, &face, [0.53, 0.35, 0.90, 0.85]);
                }
                Side::Rear | Side::Front => self.window(canvas, &face, [0.07, 0.10, 0.93, 0.88]),
                Side::Left | Side::Right => self.side_windows(canvas, &face),
                Side::Top => {}
            }
        }
        let radius = if self.model == Model::Van { 0.35 } else { 0.32 };
        self.wheels(canvas, &[rear + 0.85, front - 0.82], radius, 0.21);
    }

    fn side_windows(&self, canvas: &mut Canvas, face: &Face) {
        // `u` runs from left to right as seen; the front is on the right on a right side.
        let along = |a: f32, b: f32| if face.side == Side::Right { (a, b) } else { (1.0 - b, 1.0 - a) };
        let splits: &[(f32, f32)] = match self.model {
            Model::Van if self.plain_side => &[(0.70, 0.93)],
            Model::Van | Model::Estate => &[(0.06, 0.30), (0.33, 0.60), (0.63, 0.92)],
            _ => &[(0.09, 0.46), (0.50, 0.91)],
        };
        for (a, b) in splits {
            let (u0, u1) = along(*a, *b);
            self.window(canvas, face, [u0, 0.08, u1, 0.86]);
        }
    }

    fn car_rear(&self, canvas: &mut Canvas, face: &Face) {
        let bumper = dim(self.paint, 0.45);
        self.pane(canvas, face, [0.0, 0.0, 1.0, 0.22], bumper);
        self.pane(canvas, face, [0.02, 0.36, 0.98, 0.39], dim(self.paint, 0.6));
        let red = if self.braking { [0.95, 0.12, 0.08] } else { [0.55, 0.07, 0.06] };
        let (v0, v1) = if self.model == Model::Van { (0.40, 0.85) } else { (0.58, 0.86) };
        let wide = if self.model == Model::Van { 0.10 } else { 0.21 };
        self.lamp(canvas, face, [0.01, v0, wide, v1], red, self.braking);
        self.lamp(canvas, face, [1.0 - wide, v0, 0.99, v1], red, self.braking);
        self.pane(canvas, face, [0.34, 0.42, 0.66, 0.58], [0.88, 0.88, 0.84]);
    }

    fn car_front(&self, canvas: &mut Canvas, face: &Face) {
        self.pane(canvas, face, [0.0, 0.0, 1.0, 0.18], dim(self.paint, 0.5));
        self.pane(canvas, face, [0.24, 0.42, 0.76, 0.70], [0.08, 0.08, 0.09]);
        self.pane(canvas, face, [0.18, 0.08, 0.82, 0.24], [0.07, 0.07, 0.07]);
        let white = if self.headlamps { [1.0, 0.98, 0.9] } else { [0.78, 0.80, 0.80] };
        self.lamp(canvas, face, [0.02, 0.55, 0.22, 0.80], white, self.headlamps);
        self.lamp(canvas, face, [0.78, 0.55, 0.98, 0.80], white, self.headlamps);
        self.pane(canvas, face, [0.34, 0.26, 0.66, 0.40], [0.88, 0.88, 0.84]);
    }

    fn car_side(&self, canvas: &mut Canvas, face: &Face) {
        self.pane(canvas, face, [0.0, 0.0, 1.0, 0.16], dim(self.paint, 0.5));
        self.pane(canvas, face, [0.0, 0.62, 1.0, 0.66], dim(self.paint, 1.18));
        for u in [0.34, 0.58] {
            self.pane(canvas, face, [u, 0.14, u + 0.008, 1.0], dim(self.paint, 0.5));
        }
        for u in [0.37, 0.61] {
            self.pane(canvas, face, [u, 0.74, u + 0.04, 0.80], dim(self.paint, 0.55));
        }
    }
}

impl Standing for Vehicle {
    fn depth(&self) -> f32 {
        // By the near end: what stands beside a long vehicle on its far side is hidden by it.
        self.footprint(0.0).iter().map(|p| p[2]).fold(self.z, f32::min)
    }

    fn cast_shadow(&self, ground: &mut Shadows) {
        let (sx, sz) = ground.shift;
        let h = 0.85 * self.size.2;
        let base = self.footprint(0.0).map(|p| (p[0], p[2]));
        let top = base.map(|(x, z)| (x + sx * h, z + sz * h));
        for i in 0..4 {
            let j = (i + 1) % 4;
            ground.polygon(&[base[i], base[j], top[j], top[i]]);
        }
        ground.polygon(&top);
    }

    fn draw(&self, canvas: &mut Canvas) {
        for (grow, opacity) in [(0.28, 0.25), (0.12, 0.35), (-0.02, 0.6)] {
            let print = self.footprint(grow);
            canvas.contact_shadow(&print, opacity);
        }
        match self.model {
            Model::Truck => self.draw_truck(canvas),
            Model::Bus | Model::Tram => self.draw_bus(canvas),
            _ => self.draw_car(canvas),
        }
    }
}
