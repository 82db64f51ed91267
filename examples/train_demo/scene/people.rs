//! Persons on foot, and the parts of a figure that riders share.

use super::canvas::{Board, Canvas, Class, Outline, Shadows, Skin, Standing};
use super::dice::Dice;
use super::light::{Rgb, dim, vary};

const CLOTHES: [Rgb; 12] = [
    [0.10, 0.10, 0.12],
    [0.17, 0.20, 0.30],
    [0.28, 0.30, 0.33],
    [0.50, 0.50, 0.50],
    [0.82, 0.82, 0.80],
    [0.55, 0.14, 0.14],
    [0.72, 0.32, 0.16],
    [0.22, 0.34, 0.55],
    [0.20, 0.34, 0.24],
    [0.60, 0.52, 0.38],
    [0.75, 0.66, 0.26],
    [0.46, 0.28, 0.42],
];

/// Colours and build of one human.
#[derive(Clone, Copy)]
pub(super) struct Looks {
    pub(super) top: Rgb,
    pub(super) legs: Rgb,
    pub(super) skin: Rgb,
    pub(super) hair: Rgb,
    pub(super) shoes: Rgb,
    /// Height relative to 1.75 m.
    pub(super) tall: f32,
    pub(super) broad: f32,
}

impl Looks {
    /// Someone at random, perhaps a child.
    pub(super) fn new(dice: &mut Dice) -> Self {
        let child = dice.chance(0.12);
        let top = dice.pick(&CLOTHES);
        let legs = dice.pick(&[CLOTHES[0], CLOTHES[1], CLOTHES[1], CLOTHES[2], CLOTHES[9], CLOTHES[3]]);
        let skin =
            dice.pick(&[[0.80, 0.62, 0.52], [0.72, 0.54, 0.42], [0.55, 0.38, 0.28], [0.36, 0.25, 0.19]]);
        let hair = dice.pick(&[[0.10, 0.08, 0.07], [0.26, 0.18, 0.11], [0.55, 0.42, 0.24], [0.6, 0.6, 0.6]]);
        Self {
            top: vary(dice, top, 0.3),
            legs: vary(dice, legs, 0.3),
            skin: vary(dice, skin, 0.1),
            hair,
            shoes: dice.pick(&[[0.08, 0.08, 0.08], [0.25, 0.18, 0.12], [0.8, 0.8, 0.8]]),
            tall: if child { dice.between(0.6, 0.82) } else { dice.between(0.9, 1.1) },
            broad: dice.between(0.88, 1.2),
        }
    }
}

/// Draws parts of a figure: lit colours, one class.
pub(super) struct Figure<'a> {
    pub(super) canvas: &'a mut Canvas,
    pub(super) board: Board,
    pub(super) skin: Skin,
}

impl Figure<'_> {
    /// Fills a part in colour and label.
    pub(super) fn fill(&mut self, colour: Rgb, build: impl FnOnce(&Board, &mut Outline)) {
        let mut outline = Outline::default();
        build(&self.board, &mut outline);
        let seen = self.canvas.seen_upright(colour, self.board.z);
        self.canvas.fill(outline, seen, self.skin);
    }

    /// Draws a part in colour only.
    pub(super) fn detail(&mut self, colour: Rgb, opacity: f32, build: impl FnOnce(&Board, &mut Outline)) {
        let mut outline = Outline::default();
        build(&self.board, &mut outline);
        let seen = self.canvas.seen_upright(colour, self.board.z);
        self.canvas.detail(outline, seen, opacity);
    }
}

/// How a person holds arms and legs.
#[derive(Clone, Copy)]
struct Gait {
    /// Reach of a step, in metres; 0 stands.
    step: f32,
    /// -1 or 1 walks across the view, 0 along it.
    across: f32,
    coat: bool,
    bag: bool,
    hat: bool,
}

/// Someone on foot.
pub struct Person {
    x: f32,
    z: f32,
    looks: Looks,
    gait: Gait,
    from_behind: bool,
}

impl Person {
    /// Someone at a world position; `crossing` walks across the view.
    pub fn new(dice: &mut Dice, x: f32, z: f32, crossing: bool) -> Self {
        let across = if crossing || dice.chance(0.25) { dice.sign() } else { 0.0 };
        let walks = crossing || dice.chance(0.75);
        Self {
            x,
            z,
            looks: Looks::new(dice),
            gait: Gait {
                step: if walks { dice.between(0.12, 0.36) } else { 0.05 },
                across,
                coat: dice.chance(0.3),
                bag: dice.chance(0.35),
                hat: dice.chance(0.15),
            },
            from_behind: dice.chance(0.5),
        }
    }
}

impl Standing for Person {
    fn depth(&self) -> f32 {
        self.z
    }

    fn cast_shadow(&self, ground: &mut Shadows) {
        let h = 1.75 * self.looks.tall;
        ground.upright(self.x, self.z, 0.32, (0.0, 0.85 * h));
        ground.disc(self.x, self.z, 0.93 * h, 0.14);
    }

    fn draw(&self, canvas: &mut Canvas) {
        let mirror = if self.gait.across < 0.0 { -1.0 } else { 1.0 };
        let mut board = Board::new(&canvas.eye, self.x, self.z, mirror);
        board.scale *= self.looks.tall;
        foot_shadow(canvas, self.x, self.z, 0.30);
        let skin = Class::Person.skin();
        let mut figure = Figure { canvas, board, skin };
        walker(&mut figure, &self.looks, &self.gait, self.from_behind);
    }
}

fn foot_shadow(canvas: &mut Canvas, x: f32, z: f32, radius: f32) {
    for (grow, opacity) in [(1.0, 0.3), (0.6, 0.4)] {
        let disc =
            super::perspective::CIRCLE.map(|(c, s)| [x + grow * radius * c, 0.0, z + grow * radius * s]);
        canvas.contact_shadow(&disc, opacity);
    }
}

/// A walking or standing body of 1.75 m.
fn walker(figure: &mut Figure, looks: &Looks, gait: &Gait, from_behind: bool) {
    let side = gait.across != 0.0;
    let b = looks.broad;
    // Along the view a step shows as a difference in height of the feet.
    let (fore, aft) = if side {
        ((gait.step, 0.06), (-gait.step, 0.06))
    } else {
        ((0.10, 0.05), (-0.10, 0.05 + 0.3 * gait.step))
    };
    let hips = if side { (0.03, -0.03) } else { (0.09, -0.09) };
    for (i, (foot, hip)) in [(aft, hips.1), (fore, hips.0)].into_iter().enumerate() {
        let shade = if i == 0 { 0.75 } else { 1.0 };
        let knee = (0.5 * (foot.0 + hip) + if side { 0.06 } else { 0.0 }, 0.48 + 0.3 * (foot.1 - 0.05));
        figure.fill(dim(looks.legs, shade), |board, o| {
            board.limb(o, (hip, 0.9), knee, (0.19 * b, 0.14 * b));
            board.limb(o, knee, foot, (0.14 * b, 0.10));
        });
        let toe = if side { 0.16 } else { 0.0 };
        figure.fill(looks.shoes, |board, o| {
            board.limb(o, (foot.0, foot.1 - 0.01), (foot.0 + toe, foot.1 - 0.02), (0.11, 0.08))
        });
    }
    let half = if side { 0.13 } else { 0.205 } * b;
    let swing = if side { 0.7 * gait.step } else { 0.05 };
    let arm = |board: &Board, o: &mut Outline, sign: f32| {
        let shoulder = if side { (0.0, 1.38) } else { (sign * (half + 0.01), 1.38) };
        let hand = if side { (sign * swing, 0.82) } else { (sign * (half + 0.09), 0.82) };
        let elbow = (0.5 * (shoulder.0 + hand.0) + if side { -0.05 } else { sign * 0.03 }, 1.10);
        board.limb(o, shoulder, elbow, (0.11 * b, 0.09));
        board.limb(o, elbow, hand, (0.09, 0.07));
    };
    figure.fill(dim(looks.top, 0.75), |board, o| arm(board, o, -1.0));
    let hem = if gait.coat { 0.62 } else { 0.86 };
    figure.fill(looks.top, |board, o| {
        board.polygon(
            o,
            &[
                (-0.82 * half, hem),
                (0.82 * half, hem),
                (0.85 * half, 1.1),
                (half, 1.40),
                (0.5 * half, 1.49),
                (-0.5 * half, 1.49),
                (-half, 1.40),
                (-0.85 * half, 1.1),
            ],
        );
    });
    figure.detail(dim(looks.top, 0.6), 0.5, |board, o| {
        board.polygon(o, &[(-0.82 * half, hem), (-0.2 * half, hem), (-0.3 * half, 1.45), (-half, 1.40)]);
    });
    figure.fill(dim(looks.top, 0.92), |board, o| arm(board, o, 1.0));
    if gait.bag {
        let bag = dim(looks.legs, 1.3);
        if side {
            figure.fill(bag, |board, o| board.rectangle(o, (-half - 0.14, -half + 0.02), (1.0, 1.42)));
        } else if from_behind {
            figure.fill(bag, |board, o| board.rectangle(o, (-0.15, 0.15), (1.02, 1.42)));
        } else {
            figure.fill(bag, |board, o| board.rectangle(o, (half + 0.02, half + 0.24), (0.55, 0.86)));
        }
    }
    head(figure, looks, (if side { 0.03 } else { 0.0 }, 1.62), side, from_behind, gait.hat);
}

/// Draws a head with hair or hat, seen from the side, from behind or from the front.
pub(super) fn head(
    figure: &mut Figure,
    looks: &Looks,
    at: (f32, f32),
    side: bool,
    from_behind: bool,
    hat: bool,
) {
    figure.fill(looks.skin, |board, o| {
        board.limb(o, (at.0 * 0.6, at.1 - 0.18), at, (0.10, 0.10));
        board.oval(o, at, (0.095, 0.125));
    });
    let hair = if hat { looks.top } else { looks.hair };
    figure.fill(hair, |board, o| {
        if from_behind && !side {
            board.oval(o, (at.0, at.1 + 0.025), (0.105, 0.125));
        } else if side {
            board.oval(o, (at.0 - 0.035, at.1 + 0.05), (0.092, 0.10));
        } else {
            board.oval(o, (at.0, at.1 + 0.085), (0.105, 0.07));
        }
    });
}
