//! Dogs, deer, sheep and cows: unexpected objects with legs.

use super::canvas::Canvas;
use super::dice::Dice;
use super::light::dim;
use super::unexpected::{Kind, Unexpected};

impl Unexpected {
    pub(super) fn draw_animal(&self, canvas: &mut Canvas) {
        let (l, h) = (self.width, self.height);
        let c = self.colour;
        let build = Build::of(self.kind);
        let legs = [(-0.30, 0.75), (0.24, 0.75), (-0.36, 1.0), (0.30, 1.0)];
        for (at, shade) in legs {
            let colour = if self.kind == Kind::Sheep { [0.16, 0.14, 0.13] } else { c };
            self.figure(canvas, dim(colour, shade), |b, o| {
                let thick = build.leg * h;
                b.limb(o, (at * l, 0.5 * h * build.back), ((at + 0.01) * l, 0.24 * h), (1.6 * thick, thick));
                b.limb(o, ((at + 0.01) * l, 0.24 * h), ((at + 0.005) * l, 0.03 * h), (thick, 0.9 * thick));
            });
        }
        let back = build.back * h;
        let deep = build.deep * h;
        self.figure(canvas, c, |b, o| {
            b.limb(
                o,
                (-0.32 * l, back - 0.5 * deep),
                (0.28 * l, back - 0.48 * deep),
                (0.95 * deep, 1.1 * deep),
            );
            b.limb(
                o,
                (0.30 * l, back - 0.4 * deep),
                (build.head.0 * l, build.head.1 * h),
                (0.7 * deep, 0.42 * deep),
            );
            b.limb(
                o,
                (-0.42 * l, back - 0.25 * deep),
                (-0.52 * l, back - build.tail * h),
                (0.10 * deep + 0.02, 0.05),
            );
        });
        let head = if self.kind == Kind::Sheep { [0.17, 0.15, 0.14] } else { dim(c, 0.92) };
        self.figure(canvas, head, |b, o| {
            let (x, y) = (build.head.0 * l, build.head.1 * h);
            b.limb(o, (x, y), (x + build.muzzle * l, y - 0.10 * h), (0.48 * deep, 0.28 * deep));
            b.polygon(
                o,
                &[
                    (x - 0.02 * l, y + 0.16 * deep),
                    (x - 0.07 * l, y + 0.16 * deep + 0.10 * h),
                    (x + 0.03 * l, y + 0.2 * deep),
                ],
            );
        });
        self.shade(canvas, dim(c, 0.5), 0.45, |b, o| {
            b.limb(
                o,
                (-0.30 * l, back - 0.85 * deep),
                (0.28 * l, back - 0.88 * deep),
                (0.35 * deep, 0.4 * deep),
            )
        });
        self.shade(canvas, dim(c, 1.3), 0.4, |b, o| {
            b.limb(
                o,
                (-0.32 * l, back - 0.18 * deep),
                (0.26 * l, back - 0.15 * deep),
                (0.25 * deep, 0.25 * deep),
            )
        });
        self.draw_markings(canvas, back, deep);
    }

    /// A cow's patches, a sheep's curls, a deer's antlers.
    fn draw_markings(&self, canvas: &mut Canvas, back: f32, deep: f32) {
        let (l, h) = (self.width, self.height);
        let mut dice = Dice::new(self.shape);
        match self.kind {
            Kind::Cow => {
                for at in [-0.28, 0.0, 0.22] {
                    let size = (dice.between(0.06, 0.13) * l, dice.between(0.15, 0.32) * deep);
                    let up = back - deep * dice.between(0.3, 0.65);
                    self.shade(canvas, [0.86, 0.83, 0.78], 0.95, |b, o| b.oval(o, (at * l, up), size));
                }
            }
            Kind::Sheep => {
                for i in 0..12 {
                    let at = (-0.36 + 0.06 * i as f32) * l;
                    let up = back - deep * dice.between(0.0, 0.9);
                    self.figure(canvas, dim(self.colour, dice.between(0.85, 1.1)), |b, o| {
                        b.oval(o, (at, up), (0.07 * l, 0.07 * l))
                    });
                }
            }
            Kind::Deer if self.shape.is_multiple_of(2) => {
                let (x, y) = (Build::of(Kind::Deer).head.0 * l, 0.98 * h);
                self.figure(canvas, [0.38, 0.30, 0.22], |b, o| {
                    for lean in [-0.16, 0.05] {
                        b.limb(o, (x, y - 0.06 * h), (x + lean * l, y + 0.22 * h), (0.03, 0.02));
                        b.limb(
                            o,
                            (x + 0.5 * lean * l, y + 0.08 * h),
                            (x + (0.5 * lean + 0.1) * l, y + 0.18 * h),
                            (0.025, 0.02),
                        );
                    }
                });
            }
            _ => {}
        }
    }
}

/// Proportions of an animal, relative to its length and height.
struct Build {
    back: f32,
    deep: f32,
    leg: f32,
    head: (f32, f32),
    muzzle: f32,
    tail: f32,
}

impl Build {
    fn of(kind: Kind) -> Self {
        let (back, deep, leg, head, muzzle, tail) = match kind {
            Kind::Dog => (0.80, 0.32, 0.075, (0.42, 0.92), 0.16, -0.14),
            Kind::Deer => (0.66, 0.24, 0.035, (0.46, 0.93), 0.14, 0.08),
            Kind::Sheep => (0.88, 0.50, 0.06, (0.46, 0.84), 0.10, 0.15),
            _ => (0.92, 0.46, 0.065, (0.47, 0.84), 0.13, 0.5),
        };
        Self { back, deep, leg, head, muzzle, tail }
    }
}
