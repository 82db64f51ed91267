//! Bicycles and motorcycles, parked or with their riders.

use super::canvas::{Board, Canvas, Class, Outline, Shadows, Standing};
use super::dice::Dice;
use super::light::{Rgb, dim, vary};
use super::people::{Figure, Looks, head};
use super::perspective::CIRCLE;

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
                    let (c, s) = CIRCLE[i];
                    let (d, t) = CIRCLE[(i + 1) % 16];
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
