//! Street lamps, bollards, traffic lights and traffic signs.

use super::canvas::{Board, Canvas, Class, Outline, Shadows, Standing};
use super::dice::Dice;
use super::light::{Rgb, dim, vary};

/// What hangs on a pole.
#[derive(Clone, Copy)]
enum Head {
    Bollard,
    Lamp { arm: f32 },
    Signal { lit: usize, arm: f32 },
    Sign { shape: Shape, second: bool },
    SignalAndSign { lit: usize, shape: Shape },
}

#[derive(Clone, Copy)]
enum Shape {
    /// Red border on white.
    Prohibition,
    /// Blue disc with a white mark.
    Mandatory,
    /// Triangle, point up.
    Warning,
    /// Triangle, point down.
    GiveWay,
    Stop,
    /// Yellow square on its corner.
    Priority,
    /// Blue square.
    Information,
    /// Large board with place names.
    Directions(Rgb),
    /// The grey back of a sign.
    Back,
}

/// A pole with what it carries.
pub struct Pole {
    x: f32,
    z: f32,
    height: f32,
    colour: Rgb,
    /// Towards the road: -1 or 1.
    inward: f32,
    head: Head,
}

impl Pole {
    fn new(dice: &mut Dice, place: (f32, f32), inward: f32, height: f32, head: Head) -> Self {
        let choice =
            dice.pick(&[[0.45, 0.46, 0.47], [0.30, 0.31, 0.32], [0.58, 0.58, 0.57], [0.2, 0.25, 0.22]]);
        Self { x: place.0, z: place.1, height, colour: vary(dice, choice, 0.2), inward, head }
    }

    /// A street lamp.
    pub fn lamp(dice: &mut Dice, place: (f32, f32), inward: f32) -> Self {
        let height = dice.between(5.0, 10.0);
        let arm = if dice.chance(0.7) { dice.between(0.6, 2.6) } else { 0.0 };
        Self::new(dice, place, inward, height, Head::Lamp { arm })
    }

    /// A bollard.
    pub fn bollard(dice: &mut Dice, place: (f32, f32)) -> Self {
        let height = dice.between(0.8, 1.15);
        Self::new(dice, place, 1.0, height, Head::Bollard)
    }

    /// A traffic light, perhaps on an arm over the road or with a sign.
    pub fn signal(dice: &mut Dice, place: (f32, f32), inward: f32) -> Self {
        let lit = dice.whole(0, 2);
        if dice.chance(0.25) {
            let arm = dice.between(2.5, 5.0);
            return Self::new(dice, place, inward, 5.6, Head::Signal { lit, arm });
        }
        let height = dice.between(3.0, 3.6);
        if dice.chance(0.3) {
            let shape = sign_shape(dice);
            return Self::new(dice, place, inward, height + 0.9, Head::SignalAndSign { lit, shape });
        }
        Self::new(dice, place, inward, height, Head::Signal { lit, arm: 0.0 })
    }

    /// A traffic sign.
    pub fn sign(dice: &mut Dice, place: (f32, f32), inward: f32) -> Self {
        let shape = sign_shape(dice);
        let second = dice.chance(0.25);
        let height = dice.between(2.2, 3.3);
        Self::new(dice, place, inward, height, Head::Sign { shape, second })
    }

    fn draw_signal(&self, canvas: &mut Canvas, board: &Board, centre: (f32, f32), lit: usize) {
        let (x, up) = centre;
        let mut case = Outline::default();
        board.rectangle(&mut case, (x - 0.19, x + 0.19), (up - 0.52, up + 0.52));
        let dark = canvas.seen_upright([0.10, 0.11, 0.11], self.z);
        canvas.fill(case, dark, Class::TrafficLight.skin());
        let lamps = [[0.95, 0.2, 0.12], [0.98, 0.72, 0.15], [0.2, 0.9, 0.5]];
        for (i, lamp) in lamps.iter().enumerate() {
            let at = (x, up + 0.33 - 0.33 * i as f32);
            let mut glass = Outline::default();
            board.oval(&mut glass, at, (0.12, 0.12));
            let colour = if i == lit { *lamp } else { dim(*lamp, 0.22) };
            canvas.detail(glass, colour, 1.0);
            if i == lit {
                let mut glow = Outline::default();
                board.oval(&mut glow, at, (0.24, 0.24));
                canvas.detail(glow, colour, 0.25);
            }
        }
    }

    fn draw_sign(&self, canvas: &mut Canvas, board: &Board, up: f32, shape: Shape) {
        let layers = sign_layers(shape);
        for (i, (points, colour)) in layers.iter().enumerate() {
            let mut outline = Outline::default();
            let raised: Vec<_> = points.iter().map(|(x, y)| (*x, up + y)).collect();
            board.polygon(&mut outline, &raised);
            let seen = canvas.seen_upright(*colour, self.z);
            if i == 0 {
                canvas.fill(outline, seen, Class::TrafficSign.skin());
            } else {
                canvas.detail(outline, seen, 1.0);
            }
        }
    }
}

fn sign_shape(dice: &mut Dice) -> Shape {
    match dice.whole(0, 10) {
        0 | 1 => Shape::Prohibition,
        2 => Shape::Mandatory,
        3 => Shape::Warning,
        4 => Shape::GiveWay,
        5 => Shape::Stop,
        6 => Shape::Priority,
        7 => Shape::Information,
        8 => Shape::Directions(dice.pick(&[[0.85, 0.85, 0.82], [0.85, 0.72, 0.2], [0.12, 0.28, 0.6]])),
        _ => Shape::Back,
    }
}

type Layer = (Vec<(f32, f32)>, Rgb);

fn sign_layers(shape: Shape) -> Vec<Layer> {
    const RED: Rgb = [0.78, 0.10, 0.12];
    const WHITE: Rgb = [0.92, 0.92, 0.90];
    const BLUE: Rgb = [0.10, 0.30, 0.68];
    const BLACK: Rgb = [0.08, 0.08, 0.08];
    let disc = |r: f32| super::perspective::CIRCLE.map(|(c, s)| (r * c, r * s)).to_vec();
    let box_of = |w: f32, h: f32| vec![(-w, -h), (w, -h), (w, h), (-w, h)];
    let triangle = |r: f32, up: f32| vec![(-r, -0.58 * r * up), (r, -0.58 * r * up), (0.0, 1.15 * r * up)];
    match shape {
        Shape::Prohibition => {
            vec![
                (disc(0.34), RED),
                (disc(0.25), WHITE),
                (box_of(0.14, 0.09), BLACK),
                (box_of(0.03, 0.09), WHITE),
            ]
        }
        Shape::Mandatory => {
            vec![(disc(0.34), BLUE), (box_of(0.05, 0.19), WHITE), (triangle(0.15, 1.0), WHITE)]
        }
        Shape::Warning => {
            vec![(triangle(0.45, 1.0), RED), (triangle(0.30, 1.0), WHITE), (box_of(0.04, 0.12), BLACK)]
        }
        Shape::GiveWay => vec![(triangle(0.45, -1.0), RED), (triangle(0.28, -1.0), WHITE)],
        Shape::Stop => {
            let octagon = disc(0.36).into_iter().step_by(2).collect();
            vec![(octagon, RED), (box_of(0.25, 0.07), WHITE)]
        }
        Shape::Priority => {
            let corner = |r: f32| vec![(0.0, -r), (r, 0.0), (0.0, r), (-r, 0.0)];
            vec![(corner(0.42), WHITE), (corner(0.30), [0.95, 0.76, 0.1])]
        }
        Shape::Information => {
            vec![(box_of(0.32, 0.32), BLUE), (box_of(0.19, 0.22), WHITE), (box_of(0.08, 0.1), BLACK)]
        }
        Shape::Directions(ground) => {
            let ink = if ground[0] < 0.3 { WHITE } else { BLACK };
            let row = |up: f32, w: f32| vec![(-w, up), (w, up), (w, up + 0.09), (-w, up + 0.09)];
            vec![
                (box_of(0.85, 0.5), ground),
                (row(0.2, 0.6), ink),
                (row(-0.02, 0.45), ink),
                (row(-0.26, 0.66), ink),
            ]
        }
        Shape::Back => vec![(disc(0.34), [0.5, 0.5, 0.5]), (box_of(0.04, 0.3), [0.38, 0.38, 0.38])],
    }
}

impl Standing for Pole {
    fn depth(&self) -> f32 {
        self.z
    }

    fn cast_shadow(&self, ground: &mut Shadows) {
        ground.upright(self.x, self.z, 0.12, (0.0, self.height));
        if let Head::Sign { .. } | Head::SignalAndSign { .. } = self.head {
            ground.upright(self.x, self.z, 0.6, (self.height - 0.6, self.height));
        }
    }

    fn draw(&self, canvas: &mut Canvas) {
        let board = Board::new(&canvas.eye, self.x, self.z, self.inward);
        let (width, top) = match self.head {
            Head::Bollard => (0.14, self.height),
            Head::Lamp { .. } => (0.17, self.height),
            _ => (0.11, self.height),
        };
        let mut pole = Outline::default();
        board.limb(&mut pole, (0.0, 0.0), (0.0, top), (width * 1.15, width * 0.8));
        let reach = match self.head {
            Head::Lamp { arm } | Head::Signal { arm, .. } => arm,
            _ => 0.0,
        };
        if reach > 0.0 {
            board.limb(&mut pole, (0.0, top - 0.1), (reach, top + 0.15), (0.7 * width, 0.5 * width));
        }
        let colour = canvas.seen_upright(self.colour, self.z);
        canvas.fill(pole, colour, Class::Pole.skin());
        let mut light_side = Outline::default();
        let edge = if canvas.light.sun[0] * self.inward < 0.0 { -0.3 } else { 0.3 } * width;
        board.limb(&mut light_side, (edge, 0.0), (edge, top), (0.3 * width, 0.2 * width));
        canvas.detail(light_side, dim(colour, 1.35), 0.6);
        match self.head {
            Head::Bollard => {
                let mut ring = Outline::default();
                board.rectangle(&mut ring, (-0.08, 0.08), (0.7 * top, 0.85 * top));
                let white = canvas.seen_upright([0.85, 0.85, 0.85], self.z);
                canvas.detail(ring, white, 0.8);
            }
            Head::Lamp { arm } => {
                let mut lamp = Outline::default();
                board.oval(&mut lamp, (arm, top + 0.1), (0.38, 0.13));
                canvas.fill(lamp, dim(colour, 0.8), Class::Pole.skin());
            }
            Head::Signal { lit, arm } => {
                let up = if arm > 0.0 { top - 0.35 } else { top - 0.2 };
                self.draw_signal(canvas, &board, (arm.max(0.0), up), lit);
                if arm > 0.0 {
                    self.draw_signal(canvas, &board, (0.0, 2.6), lit);
                }
            }
            Head::Sign { shape, second } => {
                self.draw_sign(canvas, &board, top - 0.3, shape);
                if second {
                    self.draw_sign(canvas, &board, top - 1.1, Shape::Information);
                }
            }
            Head::SignalAndSign { lit, shape } => {
                self.draw_signal(canvas, &board, (0.0, top - 1.25), lit);
                self.draw_sign(canvas, &board, top - 0.25, shape);
            }
        }
    }
}
