//! Objects that belong to no class: lost cargo, animals, debris. They go through the same light, air and lens as
//! everything else.

use super::canvas::{Board, Canvas, Class, Outline, Shadows, Skin, Standing};
use super::dice::Dice;
use super::light::{Rgb, dim, vary};
use super::perspective::{CIRCLE, Face, Frame, Frustum, Side};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Carton,
    Crate,
    Suitcase,
    Couch,
    TyreLying,
    TyreStanding,
    Ball,
    Barrel,
    Planks,
    Cone,
    Dog,
    Deer,
    Sheep,
    Cow,
}

impl Kind {
    /// Usual width (or length) and height in metres.
    fn size(self) -> (f32, f32) {
        match self {
            Self::Carton => (0.6, 0.5),
            Self::Crate => (0.8, 0.65),
            Self::Suitcase => (0.5, 0.7),
            Self::Couch => (1.8, 0.85),
            Self::TyreLying => (0.7, 0.25),
            Self::TyreStanding => (0.66, 0.66),
            Self::Ball => (0.4, 0.4),
            Self::Barrel => (0.6, 0.9),
            Self::Planks => (1.8, 0.35),
            Self::Cone => (0.4, 0.7),
            Self::Dog => (0.9, 0.68),
            Self::Deer => (1.5, 1.6),
            Self::Sheep => (1.2, 0.95),
            Self::Cow => (2.2, 1.5),
        }
    }
}

/// An object that no training scene shows.
pub struct Unexpected {
    pub(super) kind: Kind,
    pub(super) x: f32,
    pub(super) z: f32,
    pub(super) half_turn: f32,
    pub(super) width: f32,
    pub(super) height: f32,
    pub(super) colour: Rgb,
    pub(super) mirror: f32,
    pub(super) shape: u64,
    pub(super) grain: u8,
}

impl Unexpected {
    /// Any object, not yet placed; its true size is chosen here.
    pub fn new(dice: &mut Dice) -> Self {
        let kind = dice.pick(&[
            Kind::Carton,
            Kind::Carton,
            Kind::Crate,
            Kind::Suitcase,
            Kind::Couch,
            Kind::TyreLying,
            Kind::TyreStanding,
            Kind::Ball,
            Kind::Barrel,
            Kind::Planks,
            Kind::Cone,
            Kind::Dog,
            Kind::Dog,
            Kind::Deer,
            Kind::Sheep,
            Kind::Cow,
        ]);
        let (width, height) = kind.size();
        let grow = dice.between(0.8, 1.3);
        let colour = colour_of(kind, dice);
        Self {
            kind,
            x: 0.0,
            z: 0.0,
            half_turn: dice.between(-1.0, 1.0),
            width: width * grow,
            height: height * grow * dice.between(0.9, 1.1),
            colour: vary(dice, colour, 0.3),
            mirror: dice.sign(),
            shape: u64::from(dice.noise_seed()),
            grain: dice.pick(&[14, 20, 28, 36, 60]),
        }
    }

    /// Height in metres.
    pub fn height(&self) -> f32 {
        self.height
    }

    /// Half of the width of the place it takes, in metres.
    pub fn half_width(&self) -> f32 {
        0.5 * self.width + 0.1
    }

    /// The same object at a world position.
    pub fn at(mut self, x: f32, z: f32) -> Self {
        (self.x, self.z) = (x, z);
        self
    }

    fn skin(&self) -> Skin {
        Skin { class: Class::Unexpected, grain: self.grain }
    }

    fn solid(
        &self,
        canvas: &mut Canvas,
        solid: &Frustum,
        colour: Rgb,
        decorate: impl Fn(&mut Canvas, &Face),
    ) {
        let frame = Frame::new(self.x, self.z, self.half_turn);
        for face in solid.faces(&frame) {
            if face.faces_camera(canvas.eye.height) {
                let lit = canvas.seen(colour, &face);
                canvas.polygon(&face.corners, lit, self.skin());
                decorate(canvas, &face);
            }
        }
    }

    fn draw_box(&self, canvas: &mut Canvas) {
        let deep = self.width * if self.kind == Kind::Suitcase { 0.45 } else { 0.75 };
        let solid = Frustum::upright(self.width, -0.5 * deep, 0.5 * deep, (0.0, self.height));
        let (kind, base) = (self.kind, self.colour);
        self.solid(canvas, &solid, base, |canvas, face| {
            let mut panel = |part: [f32; 4], shade: f32| {
                let colour = canvas.seen(dim(base, shade), face);
                canvas.panel(&face.part(part[0], part[1], part[2], part[3]), colour, 0.9);
            };
            match kind {
                Kind::Carton if face.side == Side::Top => panel([0.0, 0.45, 1.0, 0.55], 1.25),
                Kind::Carton => {
                    panel([0.44, 0.0, 0.56, 1.0], 1.18);
                    panel([0.08, 0.12, 0.30, 0.30], 0.7);
                }
                Kind::Crate => {
                    for i in 0..4 {
                        let v = i as f32 / 4.0;
                        panel([0.0, v + 0.20, 1.0, v + 0.25], 0.35);
                    }
                    panel([0.0, 0.0, 0.10, 1.0], 0.8);
                    panel([0.90, 0.0, 1.0, 1.0], 0.8);
                }
                _ => {
                    for u in [0.2, 0.4, 0.6, 0.8] {
                        panel([u, 0.06, u + 0.03, 0.94], 0.65);
                    }
                }
            }
        });
        if self.kind == Kind::Carton && self.shape.is_multiple_of(2) {
            self.draw_flaps(canvas);
        }
    }

    /// The open lid of a carton.
    fn draw_flaps(&self, canvas: &mut Canvas) {
        let frame = Frame::new(self.x, self.z, self.half_turn);
        let (w, d, h) = (0.5 * self.width, 0.375 * self.width, self.height);
        for side in [-1.0, 1.0] {
            let flap = [
                frame.point(side * w, h, -d),
                frame.point(side * w, h, d),
                frame.point(side * 1.5 * w, 1.15 * h, d),
                frame.point(side * 1.5 * w, 1.15 * h, -d),
            ];
            let colour = canvas.seen_upright(dim(self.colour, 0.85), self.z);
            canvas.polygon(&flap, colour, self.skin());
        }
    }

    fn draw_couch(&self, canvas: &mut Canvas) {
        let (w, h) = (self.width, self.height);
        let parts = [
            (Frustum::upright(w, 0.2, 0.45, (0.0, h)), 0.9),
            (Frustum::upright(w, -0.4, 0.3, (0.05, 0.5 * h)), 1.0),
        ];
        for (part, shade) in parts {
            self.solid(canvas, &part, dim(self.colour, shade), |canvas, face| {
                let seam = canvas.seen(dim(self.colour, 0.55), face);
                canvas.panel(&face.part(0.49, 0.05, 0.51, 1.0), seam, 0.8);
            });
        }
        for edge in [-0.5 * w, 0.5 * w - 0.2] {
            let arm = [edge, edge + 0.2, -0.42, 0.4];
            let arm = Frustum { up: (0.0, 0.7 * h), base: arm, top: arm };
            self.solid(canvas, &arm, dim(self.colour, 1.1), |_, _| {});
        }
    }

    fn ring(&self, canvas: &mut Canvas, points: impl Fn(f32) -> [[f32; 3]; 16], colour: Rgb) {
        let rubber = canvas.seen_upright(colour, self.z);
        canvas.polygon(&points(1.0), rubber, self.skin());
        canvas.panel(&points(0.86), dim(rubber, 1.5), 0.5);
        canvas.panel(&points(0.58), dim(rubber, 0.45), 1.0);
    }

    fn draw_tyre(&self, canvas: &mut Canvas) {
        let (x, z, r) = (self.x, self.z, 0.5 * self.width);
        if self.kind == Kind::TyreLying {
            let at_height = |up: f32| move |s: f32| CIRCLE.map(|(c, d)| [x + s * r * c, up, z + s * r * d]);
            let wall = canvas.seen_upright(dim(self.colour, 0.7), z);
            for up in [0.0, 0.35, 0.7, 1.0] {
                canvas.polygon(&at_height(up * self.height)(1.0), wall, self.skin());
            }
            self.ring(canvas, at_height(self.height), self.colour);
            return;
        }
        let frame = Frame::new(x, z, 0.5 * self.half_turn);
        let disc =
            |ahead: f32| move |s: f32| CIRCLE.map(|(c, d)| frame.point(s * r * c, r + s * r * d, ahead));
        let tread = canvas.seen_upright(dim(self.colour, 0.8), z);
        for ahead in [0.2, 0.13, 0.06] {
            canvas.polygon(&disc(ahead)(1.0), tread, self.skin());
        }
        self.ring(canvas, disc(0.0), self.colour);
    }

    pub(super) fn figure(&self, canvas: &mut Canvas, colour: Rgb, build: impl FnOnce(&Board, &mut Outline)) {
        let board = Board::new(&canvas.eye, self.x, self.z, self.mirror);
        let mut outline = Outline::default();
        build(&board, &mut outline);
        let seen = canvas.seen_upright(colour, self.z);
        canvas.fill(outline, seen, self.skin());
    }

    pub(super) fn shade(
        &self,
        canvas: &mut Canvas,
        colour: Rgb,
        opacity: f32,
        build: impl FnOnce(&Board, &mut Outline),
    ) {
        let board = Board::new(&canvas.eye, self.x, self.z, self.mirror);
        let mut outline = Outline::default();
        build(&board, &mut outline);
        let seen = canvas.seen_upright(colour, self.z);
        canvas.detail(outline, seen, opacity);
    }

    fn draw_ball(&self, canvas: &mut Canvas) {
        let r = 0.5 * self.height;
        self.figure(canvas, dim(self.colour, 0.7), |b, o| b.oval(o, (0.0, r), (r, r)));
        for (i, size) in [0.82, 0.6, 0.36].into_iter().enumerate() {
            let shade = 0.9 + 0.15 * i as f32;
            self.shade(canvas, dim(self.colour, shade), 0.7, |b, o| {
                b.oval(o, (-0.16 * r, r * 1.2), (size * r, size * r))
            });
        }
        if self.shape.is_multiple_of(2) {
            self.shade(canvas, [0.9, 0.9, 0.9], 0.8, |b, o| {
                b.limb(o, (-0.8 * r, 0.8 * r), (0.8 * r, 1.2 * r), (0.2 * r, 0.2 * r))
            });
        }
    }

    fn draw_barrel(&self, canvas: &mut Canvas) {
        let (w, h) = (0.5 * self.width, self.height);
        self.figure(canvas, self.colour, |b, o| {
            b.rectangle(o, (-w, w), (0.05, h));
            b.oval(o, (0.0, 0.06), (w, 0.12 * w + 0.04));
            b.oval(o, (0.0, h), (w, 0.25 * w));
        });
        self.shade(canvas, dim(self.colour, 0.45), 0.6, |b, o| b.rectangle(o, (0.45 * w, w), (0.03, h)));
        self.shade(canvas, dim(self.colour, 1.4), 0.5, |b, o| {
            b.rectangle(o, (-0.6 * w, -0.3 * w), (0.03, h))
        });
        for up in [0.33, 0.66] {
            self.shade(canvas, dim(self.colour, 0.5), 0.9, |b, o| {
                b.rectangle(o, (-w, w), (up * h, (up + 0.04) * h))
            });
        }
        self.shade(canvas, dim(self.colour, 0.7), 1.0, |b, o| b.oval(o, (0.0, h), (0.88 * w, 0.2 * w)));
    }

    fn draw_planks(&self, canvas: &mut Canvas) {
        let mut dice = Dice::new(self.shape);
        let frame = Frame::new(self.x, self.z, 0.35 * self.half_turn);
        for i in 0..dice.whole(3, 6) {
            let (dx, dz) = (0.4 * dice.around_zero(), 0.9 * dice.around_zero());
            let tilt = 0.5 * dice.around_zero();
            let half = 0.5 * self.width * dice.between(0.6, 1.0);
            let thick = dice.between(0.10, 0.2);
            let low = 0.06 * i as f32;
            let rise = if dice.chance(0.4) { self.height } else { 0.0 };
            let ends = [(-half + dx, dz - tilt, low), (half + dx, dz + tilt, low + rise)];
            let [a, b] = ends.map(|(r, ahead, up)| frame.point(r, up, ahead));
            let raised = |p: [f32; 3]| [p[0], p[1] + thick, p[2]];
            let colour = canvas.seen_upright(vary(&mut dice, self.colour, 0.4), self.z);
            canvas.polygon(&[a, b, raised(b), raised(a)], colour, self.skin());
            let back = |p: [f32; 3]| [p[0], p[1] + thick, p[2] + 0.3];
            canvas.polygon(&[raised(a), raised(b), back(b), back(a)], dim(colour, 1.25), self.skin());
        }
    }

    fn draw_cone(&self, canvas: &mut Canvas) {
        let (w, h) = (0.5 * self.width, self.height);
        self.figure(canvas, dim(self.colour, 0.6), |b, o| {
            b.polygon(o, &[(-1.1 * w, 0.0), (1.1 * w, 0.0), (w, 0.06), (-w, 0.06)])
        });
        let slice = |low: f32, high: f32| {
            let half = |t: f32| 0.75 * w * (1.0 - 0.85 * t);
            [
                (-half(low), low * h + 0.04),
                (half(low), low * h + 0.04),
                (half(high), high * h + 0.04),
                (-half(high), high * h + 0.04),
            ]
        };
        self.figure(canvas, self.colour, |b, o| b.polygon(o, &slice(0.0, 0.96)));
        for (low, high) in [(0.25, 0.42), (0.6, 0.75)] {
            self.shade(canvas, [0.92, 0.92, 0.92], 1.0, |b, o| b.polygon(o, &slice(low, high)));
        }
    }
}

fn colour_of(kind: Kind, dice: &mut Dice) -> Rgb {
    match kind {
        Kind::Carton => dice.pick(&[[0.66, 0.50, 0.34], [0.60, 0.46, 0.32], [0.80, 0.78, 0.74]]),
        Kind::Crate | Kind::Planks => {
            dice.pick(&[[0.58, 0.44, 0.28], [0.48, 0.38, 0.28], [0.66, 0.55, 0.38]])
        }
        Kind::Suitcase => {
            dice.pick(&[[0.14, 0.15, 0.17], [0.55, 0.12, 0.14], [0.2, 0.32, 0.5], [0.75, 0.6, 0.2]])
        }
        Kind::Couch => {
            dice.pick(&[[0.45, 0.25, 0.2], [0.4, 0.42, 0.38], [0.62, 0.55, 0.45], [0.25, 0.3, 0.42]])
        }
        Kind::TyreLying | Kind::TyreStanding => [0.10, 0.10, 0.11],
        Kind::Ball => dice.pick(&[[0.8, 0.25, 0.15], [0.85, 0.8, 0.75], [0.2, 0.4, 0.75], [0.85, 0.7, 0.15]]),
        Kind::Barrel => {
            dice.pick(&[[0.20, 0.35, 0.60], [0.62, 0.25, 0.15], [0.3, 0.42, 0.3], [0.5, 0.5, 0.48]])
        }
        Kind::Cone => [0.88, 0.34, 0.10],
        Kind::Dog => {
            dice.pick(&[[0.24, 0.18, 0.13], [0.58, 0.44, 0.28], [0.12, 0.11, 0.11], [0.78, 0.74, 0.66]])
        }
        Kind::Deer => [0.48, 0.34, 0.21],
        Kind::Sheep => [0.80, 0.77, 0.70],
        Kind::Cow => dice.pick(&[[0.36, 0.22, 0.14], [0.14, 0.13, 0.12], [0.62, 0.48, 0.34]]),
    }
}

impl Standing for Unexpected {
    fn depth(&self) -> f32 {
        self.z
    }

    fn cast_shadow(&self, ground: &mut Shadows) {
        ground.upright(self.x, self.z, 0.8 * self.width, (0.0, 0.8 * self.height));
    }

    fn draw(&self, canvas: &mut Canvas) {
        for (grow, opacity) in [(0.62, 0.2), (0.54, 0.25), (0.46, 0.35)] {
            let (w, d) = (grow * self.width, 0.6 * grow * self.width.min(1.0));
            let (x, z) = (self.x, self.z);
            canvas.contact_shadow(&CIRCLE.map(|(c, s)| [x + w * c, 0.0, z + d * s]), opacity);
        }
        match self.kind {
            Kind::Carton | Kind::Crate | Kind::Suitcase => self.draw_box(canvas),
            Kind::Couch => self.draw_couch(canvas),
            Kind::TyreLying | Kind::TyreStanding => self.draw_tyre(canvas),
            Kind::Ball => self.draw_ball(canvas),
            Kind::Barrel => self.draw_barrel(canvas),
            Kind::Planks => self.draw_planks(canvas),
            Kind::Cone => self.draw_cone(canvas),
            Kind::Dog | Kind::Deer | Kind::Sheep | Kind::Cow => self.draw_animal(canvas),
        }
    }
}
