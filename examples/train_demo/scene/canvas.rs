//! Where a scene is drawn: a colour picture with soft edges and, of the same outlines with hard edges, the labels.

use image::{GrayImage, Luma};
use tiny_skia::{
    Color, FillRule, Mask, Paint, Path, PathBuilder, Pixmap, PremultipliedColorU8, Shader, Transform,
};

use super::light::{Light, Rgb};
use super::perspective::{CIRCLE, Face, NEAR, Perspective, Point};

/// What a pixel shows: the 19 classes of Cityscapes by train id, and what lies outside them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Class {
    Road = 0,
    Sidewalk = 1,
    Building = 2,
    Wall = 3,
    Fence = 4,
    Pole = 5,
    TrafficLight = 6,
    TrafficSign = 7,
    Vegetation = 8,
    Terrain = 9,
    Sky = 10,
    Person = 11,
    Rider = 12,
    Car = 13,
    Truck = 14,
    Bus = 15,
    Train = 16,
    Motorcycle = 17,
    Bicycle = 18,
    /// Something that no training scene shows. Its label is 255.
    Unexpected = 254,
    /// The camera's own car; neither a class nor unexpected.
    EgoVehicle = 255,
}

/// Class and roughness of a drawn shape.
#[derive(Clone, Copy)]
pub struct Skin {
    pub class: Class,
    /// Strength of the surface's texture, 0 (smooth) to 255 (leaves).
    pub grain: u8,
}

impl Class {
    /// The class with its usual texture.
    pub fn skin(self) -> Skin {
        let grain = match self {
            Self::Vegetation => 150,
            Self::Terrain => 60,
            Self::Wall | Self::Building => 36,
            Self::Road | Self::Sidewalk => 20,
            Self::Person | Self::Rider | Self::Fence => 28,
            Self::Sky => 0,
            _ => 14,
        };
        Skin { class: self, grain }
    }
}

/// An outline made of polygons, discs and strips that may overlap: all are turned the same way round, so that their
/// union is filled.
#[derive(Default)]
pub struct Outline {
    builder: PathBuilder,
}

impl Outline {
    /// Adds a polygon, in pixels.
    pub fn polygon(&mut self, points: &[(f32, f32)]) {
        let area: f32 =
            points.iter().zip(points.iter().cycle().skip(1)).map(|(a, b)| a.0 * b.1 - b.0 * a.1).sum();
        let mut place = |i: usize, p: &(f32, f32)| {
            if i == 0 { self.builder.move_to(p.0, p.1) } else { self.builder.line_to(p.0, p.1) }
        };
        if area >= 0.0 {
            points.iter().enumerate().for_each(|(i, p)| place(i, p));
        } else {
            points.iter().rev().enumerate().for_each(|(i, p)| place(i, p));
        }
        self.builder.close();
    }

    /// Adds an ellipse.
    pub fn oval(&mut self, centre: (f32, f32), radius: (f32, f32)) {
        let points = CIRCLE.map(|(c, s)| (centre.0 + c * radius.0, centre.1 + s * radius.1));
        self.polygon(&points);
    }

    /// Adds a strip with round ends and a width at each end.
    pub fn limb(&mut self, from: (f32, f32), to: (f32, f32), widths: (f32, f32)) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = (dx * dx + dy * dy).sqrt().max(1e-3);
        let (nx, ny) = (-dy / length * 0.5, dx / length * 0.5);
        self.polygon(&[
            (from.0 + nx * widths.0, from.1 + ny * widths.0),
            (to.0 + nx * widths.1, to.1 + ny * widths.1),
            (to.0 - nx * widths.1, to.1 - ny * widths.1),
            (from.0 - nx * widths.0, from.1 - ny * widths.0),
        ]);
        self.oval(from, (0.5 * widths.0, 0.5 * widths.0));
        self.oval(to, (0.5 * widths.1, 0.5 * widths.1));
    }

    /// The finished path; `None` when it is empty.
    pub fn finish(self) -> Option<Path> {
        self.builder.finish()
    }
}

/// Colour and labels under construction, with the camera and the light that everything is drawn by.
pub struct Canvas {
    /// The picture.
    pub colour: Pixmap,
    /// Class in red, texture in green.
    marks: Pixmap,
    pub eye: Perspective,
    pub light: Light,
}

impl Canvas {
    /// An empty picture; `None` when a side is 0 or the picture is too large to hold.
    pub fn new(width: u32, height: u32, eye: Perspective, light: Light) -> Option<Self> {
        let mut marks = Pixmap::new(width, height)?;
        marks.fill(Color::from_rgba8(Class::Sky as u8, 0, 0, 255));
        Some(Self { colour: Pixmap::new(width, height)?, marks, eye, light })
    }

    /// Fills an outline in colour and label.
    pub fn fill(&mut self, outline: Outline, colour: Rgb, skin: Skin) {
        let Some(path) = outline.finish() else { return };
        self.paint(&path, colour, 1.0);
        let mut paint = Paint { anti_alias: false, ..Paint::default() };
        paint.set_color_rgba8(skin.class as u8, skin.grain, 0, 255);
        self.marks.fill_path(&path, &paint, FillRule::Winding, Transform::identity(), None);
    }

    /// Fills an outline in colour only: a part of what is drawn already.
    pub fn detail(&mut self, outline: Outline, colour: Rgb, opacity: f32) {
        if let Some(path) = outline.finish() {
            self.paint(&path, colour, opacity);
        }
    }

    /// Fills an outline in label only, where the colour has holes that the class does not have (spokes, railings).
    pub fn mark(&mut self, outline: Outline, skin: Skin) {
        let Some(path) = outline.finish() else { return };
        let mut paint = Paint { anti_alias: false, ..Paint::default() };
        paint.set_color_rgba8(skin.class as u8, skin.grain, 0, 255);
        self.marks.fill_path(&path, &paint, FillRule::Winding, Transform::identity(), None);
    }

    fn paint(&mut self, path: &Path, colour: Rgb, opacity: f32) {
        let [r, g, b] = colour.map(byte);
        let shader = Shader::SolidColor(Color::from_rgba8(r, g, b, byte(opacity)));
        let paint = Paint { shader, anti_alias: true, ..Paint::default() };
        self.colour.fill_path(path, &paint, FillRule::Winding, Transform::identity(), None);
    }

    /// The outline of polygons given in the world; what lies nearer than the near plane is cut off.
    pub fn outline(&self, polygons: &[&[Point]]) -> Outline {
        let mut outline = Outline::default();
        for polygon in polygons {
            let seen: Vec<(f32, f32)> =
                cut_at_near_plane(polygon).into_iter().map(|p| self.eye.project(p)).collect();
            if self.touches_picture(&seen) {
                outline.polygon(&seen);
            }
        }
        outline
    }

    /// Whether a polygon may cover a pixel; most windows of near fronts lie outside the picture.
    fn touches_picture(&self, polygon: &[(f32, f32)]) -> bool {
        let (width, height) = (self.colour.width() as f32, self.colour.height() as f32);
        polygon.len() > 2
            && polygon.iter().any(|p| p.0 >= 0.0)
            && polygon.iter().any(|p| p.0 <= width)
            && polygon.iter().any(|p| p.1 >= 0.0)
            && polygon.iter().any(|p| p.1 <= height)
    }

    /// Fills a world polygon, its colour already lit.
    pub fn polygon(&mut self, points: &[Point], colour: Rgb, skin: Skin) {
        let outline = self.outline(&[points]);
        self.fill(outline, colour, skin);
    }

    /// Draws inside a world polygon, its colour already lit.
    pub fn panel(&mut self, points: &[Point], colour: Rgb, opacity: f32) {
        let outline = self.outline(&[points]);
        self.detail(outline, colour, opacity);
    }

    /// A surface colour as it is seen: lit by its normal, through the air.
    pub fn seen(&self, colour: Rgb, face: &Face) -> Rgb {
        self.light.through_air(self.light.on(colour, face.normal()), face.at(0.5, 0.5)[2].max(0.0))
    }

    /// A flat upright shape's colour as it is seen at depth `z`.
    pub fn seen_upright(&self, colour: Rgb, z: f32) -> Rgb {
        self.light.through_air(self.light.on_upright(colour), z)
    }

    /// Darkens the ground right under something.
    pub fn contact_shadow(&mut self, points: &[Point], opacity: f32) {
        self.panel(points, [0.04, 0.04, 0.05], opacity);
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.colour.width() as usize, self.colour.height() as usize)
    }

    /// Class byte and grain of a pixel.
    pub fn mark_at(&self, index: usize) -> (u8, u8) {
        let mark = self.marks.pixels()[index];
        (mark.red(), mark.green())
    }

    /// Colour of a pixel.
    pub fn colour_at(&self, index: usize) -> Rgb {
        let p = self.colour.pixels()[index];
        [p.red(), p.green(), p.blue()].map(|v| f32::from(v) / 255.0)
    }

    /// Replaces the colour of a pixel.
    pub fn set_colour(&mut self, index: usize, colour: Rgb) {
        let [r, g, b] = colour.map(byte);
        if let Some(opaque) = PremultipliedColorU8::from_rgba(r, g, b, 255) {
            self.colour.pixels_mut()[index] = opaque;
        }
    }

    /// An empty mask of the picture's size, for cast shadows.
    pub fn empty_mask(&self) -> Option<Mask> {
        Mask::new(self.colour.width(), self.colour.height())
    }

    /// Train ids (255 where no class lies) and the mask of unexpected objects.
    pub fn labels(&self) -> (GrayImage, GrayImage) {
        let (width, height) = (self.colour.width(), self.colour.height());
        let mut labels = GrayImage::new(width, height);
        let mut unexpected = GrayImage::new(width, height);
        let pixels = labels.pixels_mut().zip(unexpected.pixels_mut()).zip(self.marks.pixels());
        for ((label, flag), mark) in pixels {
            let class = mark.red();
            *label = Luma([if class <= Class::Bicycle as u8 { class } else { 255 }]);
            *flag = Luma([match class {
                c if c == Class::Unexpected as u8 => 1,
                c if c == Class::EgoVehicle as u8 => 255,
                _ => 0,
            }]);
        }
        (labels, unexpected)
    }
}

/// `0..1` as a byte.
pub fn byte(value: f32) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
}

fn cut_at_near_plane(polygon: &[Point]) -> Vec<Point> {
    if polygon.iter().all(|p| p[2] >= NEAR) {
        return polygon.to_vec();
    }
    let mut kept = Vec::with_capacity(polygon.len() + 2);
    for (a, b) in polygon.iter().zip(polygon.iter().cycle().skip(1)) {
        if a[2] >= NEAR {
            kept.push(*a);
        }
        if (a[2] >= NEAR) != (b[2] >= NEAR) {
            let t = (NEAR - a[2]) / (b[2] - a[2]);
            kept.push(std::array::from_fn(|i| a[i] + (b[i] - a[i]) * t));
        }
    }
    kept
}

/// A flat upright figure that faces the camera; its outlines are given in metres right of and above its foot.
#[derive(Clone, Copy)]
pub struct Board {
    foot: (f32, f32),
    /// Pixels to the metre.
    pub scale: f32,
    /// Depth, in metres.
    pub z: f32,
    /// -1 mirrors the figure.
    pub mirror: f32,
}

impl Board {
    /// A figure whose foot stands at world position (`x`, `z`).
    pub fn new(eye: &Perspective, x: f32, z: f32, mirror: f32) -> Self {
        Self { foot: eye.project([x, 0.0, z]), scale: eye.scale(z), z, mirror }
    }

    /// Pixel position of a point in metres.
    pub fn at(&self, right: f32, up: f32) -> (f32, f32) {
        (self.foot.0 + self.mirror * right * self.scale, self.foot.1 - up * self.scale)
    }

    /// Adds a polygon.
    pub fn polygon(&self, outline: &mut Outline, points: &[(f32, f32)]) {
        let seen: Vec<_> = points.iter().map(|p| self.at(p.0, p.1)).collect();
        outline.polygon(&seen);
    }

    /// Adds an upright rectangle.
    pub fn rectangle(&self, outline: &mut Outline, right: (f32, f32), up: (f32, f32)) {
        self.polygon(outline, &[(right.0, up.0), (right.1, up.0), (right.1, up.1), (right.0, up.1)]);
    }

    /// Adds an ellipse.
    pub fn oval(&self, outline: &mut Outline, centre: (f32, f32), radius: (f32, f32)) {
        outline.oval(self.at(centre.0, centre.1), (radius.0 * self.scale, radius.1 * self.scale));
    }

    /// Adds a strip with round ends, at least about a pixel wide.
    pub fn limb(&self, outline: &mut Outline, from: (f32, f32), to: (f32, f32), widths: (f32, f32)) {
        let pixels = |w: f32| (w * self.scale).max(0.9);
        outline.limb(self.at(from.0, from.1), self.at(to.0, to.1), (pixels(widths.0), pixels(widths.1)));
    }
}

/// Something that stands in the scene, drawn from far to near.
pub trait Standing {
    /// Depth by which it is ordered, in metres.
    fn depth(&self) -> f32;

    /// Adds the outline of its cast shadow on the ground.
    fn cast_shadow(&self, ground: &mut Shadows);

    /// Draws it.
    fn draw(&self, canvas: &mut Canvas);
}

/// The shadows that fall on the ground.
pub struct Shadows {
    mask: Mask,
    eye: Perspective,
    /// Shift of a shadow for each metre of height: right and ahead.
    pub shift: (f32, f32),
}

impl Shadows {
    /// No shadows yet.
    pub fn new(mask: Mask, eye: Perspective, light: &Light) -> Self {
        Self { mask, eye, shift: light.shadow_shift() }
    }

    /// The camera.
    pub fn eye(&self) -> Perspective {
        self.eye
    }

    /// Adds a polygon on the ground, as (right, ahead) in the world.
    pub fn polygon(&mut self, points: &[(f32, f32)]) {
        let world: Vec<Point> = points.iter().map(|p| [p.0, 0.0, p.1]).collect();
        let seen: Vec<_> = cut_at_near_plane(&world).into_iter().map(|p| self.eye.project(p)).collect();
        if seen.len() < 3 {
            return;
        }
        let mut outline = Outline::default();
        outline.polygon(&seen);
        if let Some(path) = outline.finish() {
            self.mask.fill_path(&path, FillRule::Winding, true, Transform::identity());
        }
    }

    /// The shadow of an upright strip, `width` wide, from height `low` to `high` above (`x`, `z`).
    pub fn upright(&mut self, x: f32, z: f32, width: f32, heights: (f32, f32)) {
        let (sx, sz) = self.shift;
        // Across the shadow's direction, so that a shadow ahead or behind keeps its width.
        let norm = (sx * sx + sz * sz).sqrt().max(1e-3);
        let (ax, az) = (0.5 * width * sz / norm, -0.5 * width * sx / norm);
        let (low, high) = heights;
        self.polygon(&[
            (x + ax + low * sx, z + az + low * sz),
            (x + ax + high * sx, z + az + high * sz),
            (x - ax + high * sx, z - az + high * sz),
            (x - ax + low * sx, z - az + low * sz),
        ]);
    }

    /// The shadow of a ball at height `up`.
    pub fn disc(&mut self, x: f32, z: f32, up: f32, radius: f32) {
        let centre = (x + up * self.shift.0, z + up * self.shift.1);
        self.polygon(&CIRCLE.map(|(c, s)| (centre.0 + c * radius, centre.1 + s * radius)));
    }

    /// Share of each pixel that lies in shadow, as bytes in rows.
    pub fn into_coverage(self) -> Vec<u8> {
        self.mask.take()
    }
}
