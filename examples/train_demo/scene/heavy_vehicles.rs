//! The bodies of trucks, buses and trams.

use super::canvas::{Canvas, Outline};
use super::light::dim;
use super::perspective::{Face, Frustum, Side};
use super::vehicles::{Model, Vehicle};

impl Vehicle {
    pub(super) fn draw_truck(&self, canvas: &mut Canvas) {
        let (w, l, h) = self.size;
        let (rear, front) = (-0.5 * l, 0.5 * l);
        let chassis = Frustum::upright(0.8 * w, rear + 0.2, front - 0.2, (0.45, 0.95));
        let cargo = Frustum::upright(w, rear, front - 2.2, (0.92, h));
        let cab = Frustum {
            up: (0.42, 0.86 * h),
            base: [-0.47 * w, 0.47 * w, front - 2.0, front],
            top: [-0.45 * w, 0.45 * w, front - 1.9, front - 0.3],
        };
        self.solid(canvas, &chassis, [0.12, 0.12, 0.13]);
        // The part farther from the camera first.
        let cab_first = self.frame.point(0.0, 0.0, front)[2] > self.z;
        for part in if cab_first { [0, 1] } else { [1, 0] } {
            if part == 0 {
                self.truck_cab(canvas, &cab);
            } else {
                self.truck_cargo(canvas, &cargo);
            }
        }
        self.wheels(canvas, &[rear + 1.2, rear + 2.4, front - 1.2], 0.48, 0.46);
    }

    fn truck_cab(&self, canvas: &mut Canvas, cab: &Frustum) {
        for face in self.solid(canvas, cab, self.paint) {
            match face.side {
                Side::Front => {
                    self.window(canvas, &face, [0.06, 0.52, 0.94, 0.86]);
                    self.pane(canvas, &face, [0.14, 0.18, 0.86, 0.44], [0.10, 0.10, 0.11]);
                    self.lamp(canvas, &face, [0.03, 0.06, 0.22, 0.16], [0.9, 0.9, 0.86], self.headlamps);
                    self.lamp(canvas, &face, [0.78, 0.06, 0.97, 0.16], [0.9, 0.9, 0.86], self.headlamps);
                }
                Side::Left | Side::Right => self.window(canvas, &face, [0.30, 0.52, 0.84, 0.84]),
                _ => {}
            }
        }
    }

    fn truck_cargo(&self, canvas: &mut Canvas, cargo: &Frustum) {
        for face in self.solid(canvas, cargo, self.second) {
            match face.side {
                Side::Rear => {
                    self.pane(canvas, &face, [0.485, 0.06, 0.515, 0.96], dim(self.second, 0.55));
                    self.pane(canvas, &face, [0.0, 0.0, 1.0, 0.07], [0.15, 0.15, 0.15]);
                    for u in [0.02, 0.84] {
                        self.lamp(canvas, &face, [u, 0.01, u + 0.14, 0.055], [0.85, 0.1, 0.08], self.braking);
                    }
                    for u in [0.22, 0.75] {
                        self.pane(canvas, &face, [u, 0.08, u + 0.02, 0.94], dim(self.second, 0.75));
                    }
                }
                Side::Left | Side::Right if !self.plain_side => {
                    self.pane(canvas, &face, [0.12, 0.42, 0.88, 0.72], self.paint);
                    for i in 1..8 {
                        let u = i as f32 / 8.0;
                        self.pane(canvas, &face, [u, 0.0, u + 0.006, 1.0], dim(self.second, 0.7));
                    }
                }
                Side::Left | Side::Right => {
                    self.pane(canvas, &face, [0.0, 0.95, 1.0, 1.0], dim(self.second, 0.6));
                }
                _ => {}
            }
        }
    }

    pub(super) fn draw_bus(&self, canvas: &mut Canvas) {
        let (w, l, h) = self.size;
        let tram = self.model == Model::Tram;
        let (rear, front) = (-0.5 * l, 0.5 * l);
        let taper = if tram { 0.5 } else { 0.08 };
        let body = Frustum {
            up: (if tram { 0.18 } else { 0.32 }, h),
            base: [-0.5 * w, 0.5 * w, rear, front],
            top: [-0.48 * w, 0.48 * w, rear + taper, front - taper],
        };
        for face in self.solid(canvas, &body, self.paint) {
            match face.side {
                Side::Left | Side::Right => self.bus_side(canvas, &face, l),
                Side::Front => {
                    self.window(canvas, &face, [0.05, 0.32, 0.95, 0.82]);
                    self.pane(canvas, &face, [0.18, 0.86, 0.82, 0.96], [0.08, 0.08, 0.06]);
                    self.pane(canvas, &face, [0.30, 0.885, 0.70, 0.935], [0.95, 0.70, 0.2]);
                    for u in [0.05, 0.81] {
                        self.lamp(
                            canvas,
                            &face,
                            [u, 0.10, u + 0.14, 0.18],
                            [0.95, 0.95, 0.88],
                            self.headlamps || tram,
                        );
                    }
                }
                Side::Rear => {
                    self.window(canvas, &face, [0.10, 0.48, 0.90, 0.82]);
                    self.pane(canvas, &face, [0.15, 0.10, 0.85, 0.38], dim(self.paint, 0.75));
                    for u in [0.02, 0.90] {
                        self.lamp(canvas, &face, [u, 0.12, u + 0.08, 0.42], [0.8, 0.1, 0.08], self.braking);
                    }
                    self.pane(canvas, &face, [0.36, 0.87, 0.64, 0.95], [0.1, 0.1, 0.08]);
                }
                Side::Top => {}
            }
        }
        if tram {
            self.pantograph(canvas, h);
        } else {
            self.wheels(canvas, &[rear + 2.6, front - 2.4], 0.48, 0.33);
        }
    }

    fn bus_side(&self, canvas: &mut Canvas, face: &Face, length: f32) {
        self.pane(canvas, face, [0.0, 0.0, 1.0, 0.10], dim(self.paint, 0.4));
        self.pane(canvas, face, [0.0, 0.14, 1.0, 0.24], self.second);
        let count = (length / 1.5) as usize;
        for i in 0..count {
            let (u0, u1) = ((i as f32 + 0.05) / count as f32, (i as f32 + 0.95) / count as f32);
            let door = i % 4 == 1;
            self.window(canvas, face, [u0, if door { 0.08 } else { 0.40 }, u1, 0.84]);
        }
    }

    fn pantograph(&self, canvas: &mut Canvas, h: f32) {
        let mut bars = Outline::default();
        let at = |r: f32, u: f32, a: f32| canvas.eye.project(self.frame.point(r, u, a));
        let width = (0.06 * canvas.eye.scale(self.z)).max(0.8);
        for (from, to) in [
            ((0.0, h, 0.0), (0.0, h + 0.8, 1.2)),
            ((0.0, h + 0.8, 1.2), (0.0, h + 1.5, 0.2)),
            ((-0.8, h + 1.5, 0.2), (0.8, h + 1.5, 0.2)),
        ] {
            bars.limb(at(from.0, from.1, from.2), at(to.0, to.1, to.2), (width, width));
        }
        let colour = canvas.seen_upright([0.2, 0.2, 0.2], self.z);
        canvas.fill(bars, colour, self.skin());
    }
}
