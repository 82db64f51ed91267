//! Persons on foot, and riders on bicycles and motorcycles.

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
struct Looks {
    top: Rgb,
    legs: Rgb,
    skin: Rgb,
    hair: Rgb,
    shoes: Rgb,
    /// Height relative to 1.75 m.
    tall: f32,
    broad: f32,
}

impl Looks {
    fn new(dice: &mut Dice) -> Self {
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
struct Figure<'a> {
    canvas: &'a mut Canvas,
    board: Board,
    skin: Skin,
}

impl Figure<'_> {
    fn fill(&mut self, colour: Rgb, build: impl FnOnce(&Board, &mut Outline)) {
        let mut outline = Outline::default();
        build(&self.board, &mut outline);
        let seen = self.canvas.seen_upright(colour, self.board.z);
        self.canvas.fill(outline, seen, self.skin);
    }

    fn detail(&mut self, colour: Rgb, opacity: f32, build: impl FnOnce(&Board, &mut Outline)) {
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

fn head(figure: &mut Figure, looks: &Looks, at: (f32, f32), side: bool, from_behind: bool, hat: bool) {
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

/// A bicycle or a motorcycle, perhaps with its rider.
pub struct TwoWheeler {
    x: f32,
    z: f32,
    motor: bool,
    rider: Option<Looks>,
    colour: Rgb,
    helmet: Option<Rgb>,
    /// Share of its length that is seen: 1 from the side, near 0 from the front or behind.
    broadside: f32,
    mirror: f32,
    from_behind: bool,
}

impl TwoWheeler {
    /// A two-wheeler at a world position.
    pub fn new(dice: &mut Dice, place: (f32, f32), motor: bool, ridden: bool, broadside: f32) -> Self {
        let colour = dice.pick(&[
            [0.08, 0.08, 0.09],
            [0.6, 0.1, 0.1],
            [0.15, 0.25, 0.5],
            [0.7, 0.7, 0.7],
            [0.2, 0.4, 0.25],
            [0.75, 0.6, 0.15],
        ]);
        let helmet = dice.pick(&[[0.85, 0.85, 0.85], [0.1, 0.1, 0.1], [0.7, 0.12, 0.1], [0.2, 0.35, 0.6]]);
        Self {
            x: place.0,
            z: place.1,
            motor,
            rider: ridden.then(|| Looks { tall: 1.0, ..Looks::new(dice) }),
            colour: vary(dice, colour, 0.3),
            helmet: (motor || dice.chance(0.5)).then_some(helmet),
            broadside: broadside.max(0.14),
            mirror: dice.sign(),
            from_behind: dice.chance(0.5),
        }
    }

    fn draw_bicycle(&self, figure: &mut Figure) {
        let k = self.broadside;
        let skin = figure.skin;
        let wheel = |board: &Board, o: &mut Outline, at: f32, r: f32| {
            board.oval(o, (at * k, 0.34), (r * k.max(0.09), r))
        };
        let mut discs = Outline::default();
        for at in [-0.52, 0.52] {
            wheel(&figure.board, &mut discs, at, 0.34);
        }
        figure
            .board
            .polygon(&mut discs, &[(-0.5 * k, 0.34), (0.1 * k, 0.28), (0.45 * k, 0.75), (-0.2 * k, 0.8)]);
        figure.canvas.mark(discs, skin);
        for at in [-0.52, 0.52] {
            figure.detail([0.07, 0.07, 0.07], 1.0, |board, o| {
                for i in 0..16 {
                    let (c, s) = super::perspective::CIRCLE[i];
                    let (d, t) = super::perspective::CIRCLE[(i + 1) % 16];
                    let r = 0.33;
                    let rk = r * k.max(0.09);
                    board.limb(
                        o,
                        (at * k + rk * c, 0.34 + r * s),
                        (at * k + rk * d, 0.34 + r * t),
                        (0.045, 0.045),
                    );
                }
            });
            figure.detail([0.55, 0.55, 0.55], 0.22, |board, o| wheel(board, o, at, 0.31));
        }
        let (rear, crank, seat, head, front) =
            ((-0.52 * k, 0.34), (-0.05 * k, 0.28), (-0.2 * k, 0.82), (0.36 * k, 0.84), (0.52 * k, 0.34));
        let colour = self.colour;
        figure.fill(colour, |board, o| {
            for (from, to) in
                [(rear, crank), (crank, seat), (seat, rear), (seat, head), (crank, head), (head, front)]
            {
                board.limb(o, from, to, (0.05, 0.05));
            }
        });
        figure.fill([0.09, 0.09, 0.09], |board, o| {
            board.limb(o, (-0.32 * k - 0.06, 0.93), (-0.1 * k + 0.04, 0.93), (0.09, 0.06));
            board.limb(o, seat, (-0.22 * k, 0.92), (0.04, 0.04));
            let bar = 0.26 * (1.0 - 0.7 * k);
            board.limb(o, head, (0.36 * k, 1.03), (0.04, 0.04));
            board.limb(o, (0.36 * k - bar, 1.05), (0.36 * k + bar + 0.06 * k, 1.05), (0.05, 0.05));
        });
    }

    fn draw_motorcycle(&self, figure: &mut Figure) {
        let k = self.broadside;
        let wide = 0.12 * (1.0 - k);
        figure.fill([0.06, 0.06, 0.07], |board, o| {
            for at in [-0.68, 0.68] {
                board.oval(o, (at * k, 0.32), (0.32 * k + 0.09 * (1.0 - k), 0.32));
            }
            board.polygon(
                o,
                &[
                    (-0.5 * k - wide, 0.3),
                    (0.4 * k + wide, 0.25),
                    (0.45 * k + wide, 0.7),
                    (-0.4 * k - wide, 0.75),
                ],
            );
        });
        figure.detail([0.5, 0.5, 0.52], 1.0, |board, o| {
            for at in [-0.68, 0.68] {
                board.oval(o, (at * k, 0.32), (0.17 * k + 0.02, 0.18));
            }
            board.limb(o, (-0.7 * k, 0.34), (0.0, 0.3), (0.10, 0.07));
        });
        let colour = self.colour;
        figure.fill(colour, |board, o| {
            board.polygon(
                o,
                &[
                    (-0.95 * k - wide, 0.82),
                    (-0.1 * k - wide, 0.68),
                    (0.2 * k + wide, 0.62),
                    (0.62 * k + wide, 0.95),
                    (0.4 * k + wide, 1.05),
                    (0.05 * k, 0.98),
                    (-0.3 * k - wide, 0.84),
                ],
            );
            board.oval(o, (0.55 * k, 0.95), (0.16, 0.16));
        });
        figure.fill([0.09, 0.09, 0.1], |board, o| {
            board.limb(o, (-0.75 * k, 0.86), (-0.1 * k, 0.84), (0.16 + wide, 0.14 + wide));
            board.limb(o, (0.5 * k, 0.95), (0.68 * k, 0.36), (0.07, 0.07));
            board.limb(
                o,
                (0.42 * k - 0.36 * (1.0 - k), 1.1),
                (0.42 * k + 0.36 * (1.0 - k), 1.1),
                (0.05, 0.05),
            );
        });
        let lamp = if self.from_behind { [0.8, 0.12, 0.1] } else { [0.98, 0.96, 0.88] };
        let at = if k > 0.5 { 0.66 * k } else { 0.0 };
        figure.detail(lamp, 1.0, |board, o| board.oval(o, (at, 0.93), (0.08, 0.08)));
    }

    fn draw_rider(&self, figure: &mut Figure, looks: &Looks) {
        let k = self.broadside;
        let b = looks.broad;
        let lift: f32 = if self.motor { -0.06 } else { 0.04 };
        let flat = 1.0 - k;
        let hip = (-0.24 * k, 0.95 + lift);
        let shoulder = (0.08 * k, 1.45 + lift);
        for (i, sign) in [-1.0_f32, 1.0].into_iter().enumerate() {
            let out = sign * 0.11 * flat;
            let foot = (0.05 * k + out, if i == 0 { 0.42 } else { 0.22 } + 0.6 * lift.min(0.0));
            let knee = (0.26 * k + 1.3 * out, if i == 0 { 0.78 } else { 0.62 });
            let shade = if i == 0 { 0.75 } else { 1.0 };
            figure.fill(dim(looks.legs, shade), |board, o| {
                board.limb(o, (hip.0 + out, hip.1), knee, (0.18 * b, 0.13));
                board.limb(o, knee, foot, (0.13, 0.09));
            });
            figure.fill(looks.shoes, |board, o| {
                board.limb(o, foot, (foot.0 + 0.15 * k, foot.1 - 0.01), (0.10, 0.08))
            });
        }
        let half = (0.14 * k + 0.21 * flat) * b;
        figure.fill(looks.top, |board, o| {
            board.polygon(
                o,
                &[
                    (hip.0 - 0.85 * half, hip.1 - 0.06),
                    (hip.0 + 0.85 * half, hip.1 - 0.06),
                    (shoulder.0 + half, shoulder.1 - 0.06),
                    (shoulder.0 + 0.4 * half, shoulder.1 + 0.05),
                    (shoulder.0 - 0.5 * half, shoulder.1 + 0.05),
                    (shoulder.0 - half, shoulder.1 - 0.08),
                ],
            );
        });
        figure.fill(dim(looks.top, 0.85), |board, o| {
            for sign in [-1.0, 1.0] {
                let out = sign * flat;
                let from = (shoulder.0 + 0.2 * out, shoulder.1 - 0.06);
                let elbow = (0.24 * k + 0.3 * out, 1.2 + lift);
                board.limb(o, from, elbow, (0.11, 0.09));
                board.limb(o, elbow, (0.40 * k + 0.26 * out, 1.06), (0.09, 0.07));
            }
        });
        let at = (0.16 * k, 1.66 + lift);
        head(figure, looks, at, k > 0.4, self.from_behind, false);
        if let Some(helmet) = self.helmet {
            let (r, up) = if self.motor { (0.14, 0.0) } else { (0.115, 0.06) };
            figure.fill(helmet, |board, o| {
                board.oval(o, (at.0, at.1 + up), (r, if self.motor { 0.15 } else { 0.09 }))
            });
            if self.motor && (!self.from_behind || k > 0.4) {
                figure.detail([0.06, 0.07, 0.09], 1.0, |board, o| {
                    board.oval(o, (at.0 + 0.06 * k, at.1 + 0.02), (0.09, 0.05))
                });
            }
        }
    }
}

impl Standing for TwoWheeler {
    fn depth(&self) -> f32 {
        self.z
    }

    fn cast_shadow(&self, ground: &mut Shadows) {
        let high = if self.rider.is_some() { 1.7 } else { 1.0 };
        ground.upright(self.x, self.z, 0.35, (0.0, high));
        ground.upright(self.x, self.z, 1.4 * self.broadside, (0.0, 0.7));
    }

    fn draw(&self, canvas: &mut Canvas) {
        let board = Board::new(&canvas.eye, self.x, self.z, self.mirror);
        let half = 0.12 + 0.75 * self.broadside;
        let shade = [(-half, -0.2), (half, -0.2), (half, 0.25), (-half, 0.25)];
        canvas.contact_shadow(&shade.map(|(dx, dz)| [self.x + dx, 0.0, self.z + dz]), 0.4);
        let class = if self.motor { Class::Motorcycle } else { Class::Bicycle };
        let mut figure = Figure { canvas, board, skin: class.skin() };
        if self.motor {
            self.draw_motorcycle(&mut figure);
        } else {
            self.draw_bicycle(&mut figure);
        }
        if let Some(looks) = &self.rider {
            figure.skin = Class::Rider.skin();
            self.draw_rider(&mut figure, looks);
        }
    }
}
