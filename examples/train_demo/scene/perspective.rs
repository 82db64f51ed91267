//! The pinhole camera and solid shapes before it.
//!
//! The camera stands at the origin of the ground plane, at some height, and looks along the street. World coordinates
//! are metres: `x` to the right, `y` up from the ground, `z` ahead. The street may bend: a lateral position is moved
//! by [`Perspective::bend`], a parabola in depth, so that a straight plan gives bends and shifted vanishing points.

use super::dice::Dice;

/// A point in the world: right, up, ahead, in metres.
pub type Point = [f32; 3];

/// Nothing nearer than this is projected, in metres.
pub const NEAR: f32 = 1.5;

/// The unit circle in 16 steps. Written out, because sine and cosine differ between platforms.
pub const CIRCLE: [(f32, f32); 16] = [
    (1.0, 0.0),
    (0.923_879_5, 0.382_683_4),
    (0.707_106_77, 0.707_106_77),
    (0.382_683_4, 0.923_879_5),
    (0.0, 1.0),
    (-0.382_683_4, 0.923_879_5),
    (-0.707_106_77, 0.707_106_77),
    (-0.923_879_5, 0.382_683_4),
    (-1.0, 0.0),
    (-0.923_879_5, -0.382_683_4),
    (-0.707_106_77, -0.707_106_77),
    (-0.382_683_4, -0.923_879_5),
    (0.0, -1.0),
    (0.382_683_4, -0.923_879_5),
    (0.707_106_77, -0.707_106_77),
    (0.923_879_5, -0.382_683_4),
];

/// Where the camera looks and how the street bends.
#[derive(Clone, Copy)]
pub struct Perspective {
    /// Focal length in pixels.
    pub focal: f32,
    /// Height of the camera above the ground, in metres.
    pub height: f32,
    /// Column of the optical axis, in pixels.
    pub axis: f32,
    /// Row of the horizon, in pixels.
    pub horizon: f32,
    slope: f32,
    curvature: f32,
}

impl Perspective {
    /// A camera on a car's roof or behind its windscreen, about 50 degrees wide.
    pub fn new(dice: &mut Dice, width: f32, height: f32) -> Self {
        let bends = dice.chance(0.45);
        Self {
            focal: width * dice.between(0.98, 1.18),
            height: dice.between(1.25, 1.75),
            axis: width * (0.5 + 0.05 * dice.around_zero()),
            horizon: height * (0.43 + 0.06 * dice.around_zero()),
            slope: 0.10 * dice.around_zero(),
            curvature: if bends { 0.0028 * dice.around_zero() } else { 0.0 },
        }
    }

    /// How far the street's middle lies to the right of the optical axis, at depth `z`.
    pub fn bend(&self, z: f32) -> f32 {
        z * (self.slope + self.curvature * z)
    }

    /// Steepness of the bend: lateral metres for each metre ahead.
    pub fn bend_slope(&self, z: f32) -> f32 {
        self.slope + 2.0 * self.curvature * z
    }

    /// The world point of a place in the street's plan: `lateral` metres beside the camera's line, `up`, `z` ahead.
    pub fn in_street(&self, lateral: f32, up: f32, z: f32) -> Point {
        [lateral + self.bend(z), up, z]
    }

    /// Column and row where a point is seen. Points before the near plane are moved onto it.
    pub fn project(&self, point: Point) -> (f32, f32) {
        let scale = self.scale(point[2]);
        (self.axis + point[0] * scale, self.horizon + (self.height - point[1]) * scale)
    }

    /// Pixels to the metre at depth `z`.
    pub fn scale(&self, z: f32) -> f32 {
        self.focal / z.max(NEAR)
    }

    /// Depth of the ground seen in a row below the horizon.
    pub fn ground_depth(&self, row: f32) -> f32 {
        self.focal * self.height / (row - self.horizon).max(0.25)
    }
}

/// A place and a direction on the ground: the frame in which a vehicle or a box is built.
#[derive(Clone, Copy)]
pub struct Frame {
    x: f32,
    z: f32,
    sine: f32,
    cosine: f32,
}

impl Frame {
    /// At world position (`x`, `z`), turned to the right by twice the angle whose tangent is `half_turn`.
    pub fn new(x: f32, z: f32, half_turn: f32) -> Self {
        let norm = 1.0 + half_turn * half_turn;
        Self { x, z, sine: 2.0 * half_turn / norm, cosine: (1.0 - half_turn * half_turn) / norm }
    }

    /// World point of `right`, `up`, `ahead` in this frame.
    pub fn point(&self, right: f32, up: f32, ahead: f32) -> Point {
        [
            self.x + right * self.cosine + ahead * self.sine,
            up,
            self.z - right * self.sine + ahead * self.cosine,
        ]
    }
}

/// Which way a face of a solid looks, in the solid's own frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
    Rear,
    Front,
    Top,
}

/// A flat quadrilateral in the world; corners run bottom left, bottom right, top right, top left, seen from outside.
#[derive(Clone, Copy)]
pub struct Face {
    pub side: Side,
    pub corners: [Point; 4],
}

impl Face {
    /// The point at fractions `u` (left to right) and `v` (bottom to top).
    pub fn at(&self, u: f32, v: f32) -> Point {
        let [a, b, c, d] = self.corners;
        std::array::from_fn(|i| {
            let bottom = a[i] + (b[i] - a[i]) * u;
            let top = d[i] + (c[i] - d[i]) * u;
            bottom + (top - bottom) * v
        })
    }

    /// The part between the fractions `u0..u1` and `v0..v1`.
    pub fn part(&self, u0: f32, v0: f32, u1: f32, v1: f32) -> [Point; 4] {
        [self.at(u0, v0), self.at(u1, v0), self.at(u1, v1), self.at(u0, v1)]
    }

    /// Unit vector out of the face.
    pub fn normal(&self) -> Point {
        let [a, b, _, d] = self.corners;
        let e: Point = std::array::from_fn(|i| b[i] - a[i]);
        let f: Point = std::array::from_fn(|i| d[i] - a[i]);
        // The axes are left-handed (ahead is positive), so the product is taken in this order.
        let n = [f[1] * e[2] - f[2] * e[1], f[2] * e[0] - f[0] * e[2], f[0] * e[1] - f[1] * e[0]];
        let length = (n[0] * n[0] + n[1] * n[1] + n[2] * n[2]).sqrt().max(1e-6);
        n.map(|v| v / length)
    }

    /// Whether a camera at height `eye` sees the outer side.
    pub fn faces_camera(&self, eye: f32) -> bool {
        let n = self.normal();
        let a = self.corners[0];
        -n[0] * a[0] + n[1] * (eye - a[1]) - n[2] * a[2] > 0.0
    }
}

/// A solid with a rectangular base and a rectangular top: a box, or a cabin that narrows upwards.
#[derive(Clone, Copy)]
pub struct Frustum {
    /// Height of base and top, in metres.
    pub up: (f32, f32),
    /// Left, right, rear and front edge of the base.
    pub base: [f32; 4],
    /// Left, right, rear and front edge of the top.
    pub top: [f32; 4],
}

impl Frustum {
    /// A box `width` wide, reaching from `rear` to `front`, between two heights.
    pub fn upright(width: f32, rear: f32, front: f32, up: (f32, f32)) -> Self {
        let edges = [-0.5 * width, 0.5 * width, rear, front];
        Self { up, base: edges, top: edges }
    }

    /// Its faces, without the bottom.
    pub fn faces(&self, frame: &Frame) -> [Face; 5] {
        let corner = |edges: &[f32; 4], up: f32, right: bool, front: bool| {
            frame.point(edges[usize::from(right)], up, edges[2 + usize::from(front)])
        };
        let low = |right, front| corner(&self.base, self.up.0, right, front);
        let high = |right, front| corner(&self.top, self.up.1, right, front);
        let wall = |side, a: (bool, bool), b: (bool, bool)| Face {
            side,
            corners: [low(a.0, a.1), low(b.0, b.1), high(b.0, b.1), high(a.0, a.1)],
        };
        let roof = [high(false, false), high(true, false), high(true, true), high(false, true)];
        [
            Face { side: Side::Top, corners: roof },
            wall(Side::Front, (true, true), (false, true)),
            wall(Side::Left, (false, true), (false, false)),
            wall(Side::Right, (true, false), (true, true)),
            wall(Side::Rear, (false, false), (true, false)),
        ]
    }
}
