//! Road, pavements, grass, lane marks, repairs and cracks.

use super::canvas::{Canvas, Class, Outline};
use super::dice::Dice;
use super::light::{Rgb, mix, vary};
use super::perspective::{CIRCLE, NEAR, Point};
use super::street::{Street, Style};

const FAR: f32 = 700.0;
const UP: Point = [0.0, 1.0, 0.0];

/// Draws the ground of a street: flat colours, marks and labels. Texture follows in `ground_texture`.
pub fn draw(canvas: &mut Canvas, street: &Street, dice: &mut Dice) {
    let paint = Colours::new(dice);
    let beyond = match street.style {
        Style::Centre => (paint.pavement, Class::Sidewalk),
        Style::Avenue if dice.chance(0.5) => (paint.pavement, Class::Sidewalk),
        _ => (paint.grass, Class::Terrain),
    };
    band(canvas, (-160.0, 160.0), (NEAR, FAR), beyond);
    for side in street.sides() {
        let lateral = |distance: f32| side.sign * distance;
        band(
            canvas,
            (lateral(side.kerb), lateral(side.front)),
            (NEAR, FAR),
            (paint.pavement, Class::Sidewalk),
        );
        if let Some((from, to)) = side.grass {
            band(canvas, (lateral(from), lateral(to)), (NEAR, FAR), (paint.grass, Class::Terrain));
        }
        let stone = (mix(paint.pavement, [0.8, 0.8, 0.78], 0.45), Class::Sidewalk);
        band(canvas, (lateral(side.kerb), lateral(side.kerb + 0.22)), (NEAR, FAR), stone);
        let gutter = (mix(paint.road, [0.2, 0.2, 0.2], 0.35), Class::Road);
        band(canvas, (lateral(side.kerb - 0.25), lateral(side.kerb)), (NEAR, FAR), gutter);
    }
    let edges = (0.2 - street.left.kerb, street.right.kerb - 0.2);
    band(canvas, edges, (NEAR, FAR), (paint.road, Class::Road));
    for crossing in &street.crossings {
        band(canvas, (-160.0, 160.0), *crossing, (paint.road, Class::Road));
    }
    let end = if dice.chance(0.6) { street.end } else { FAR };
    band(canvas, (-160.0, 160.0), (end - 14.0, end), (paint.road, Class::Road));
    repairs(canvas, street, &paint, dice);
    rails(canvas, street);
    marks(canvas, street, &paint, dice);
}

struct Colours {
    road: Rgb,
    pavement: Rgb,
    grass: Rgb,
    white: Rgb,
}

impl Colours {
    fn new(dice: &mut Dice) -> Self {
        let grey = dice.between(0.27, 0.50);
        let road = mix([grey, grey, 1.03 * grey], [0.46, 0.42, 0.37], 0.5 * dice.unit() * dice.unit());
        let light = dice.between(0.42, 0.68);
        let base = dice.pick(&[[1.0, 0.98, 0.94], [1.0, 0.9, 0.82], [0.95, 0.97, 1.0], [1.0, 0.82, 0.74]]);
        let pavement = vary(dice, base.map(|v| v * light), 0.1);
        let grass = vary(dice, [0.36, 0.46, 0.22], 0.35);
        let dry = dice.unit() * dice.unit();
        Self {
            road,
            pavement,
            grass: mix(grass, [0.55, 0.48, 0.32], dry),
            white: mix(road, [0.88, 0.88, 0.85], dice.between(0.45, 1.0)),
        }
    }
}

/// A strip along the street between two lateral positions and two depths.
fn band(canvas: &mut Canvas, lateral: (f32, f32), depth: (f32, f32), paint: (Rgb, Class)) {
    let outline = band_outline(canvas, lateral, depth);
    let lit = canvas.light.on(paint.0, UP);
    canvas.fill(outline, lit, paint.1.skin());
}

fn line(canvas: &mut Canvas, lateral: (f32, f32), depth: (f32, f32), colour: Rgb) {
    let outline = band_outline(canvas, lateral, depth);
    let lit = canvas.light.on(colour, UP);
    canvas.detail(outline, lit, 1.0);
}

fn band_outline(canvas: &Canvas, lateral: (f32, f32), depth: (f32, f32)) -> Outline {
    let eye = canvas.eye;
    let (near, far) = (depth.0.max(NEAR), depth.1.max(NEAR));
    let mut depths = vec![near];
    let mut z = near;
    while z * 1.22 < far {
        z *= 1.22;
        depths.push(z);
    }
    depths.push(far);
    let right = depths.iter().map(|z| eye.in_street(lateral.1, 0.0, *z));
    let left = depths.iter().rev().map(|z| eye.in_street(lateral.0, 0.0, *z));
    let points: Vec<Point> = right.chain(left).collect();
    canvas.outline(&[&points])
}

fn repairs(canvas: &mut Canvas, street: &Street, paint: &Colours, dice: &mut Dice) {
    let (left, right) = (-street.left.kerb, street.right.kerb);
    for _ in 0..dice.whole(0, 7) {
        let depth = 5.0 + 40.0 * dice.unit() * dice.unit();
        let (wide, long) = (dice.between(0.4, 2.6), dice.between(0.6, 9.0));
        let middle = dice.between(left + 1.0, right - 1.0);
        let colour = paint.road.map(|v| v * 1.0);
        let colour = if dice.chance(0.7) { colour.map(|v| v * 0.78) } else { colour.map(|v| v * 1.16) };
        line(canvas, (middle - 0.5 * wide, middle + 0.5 * wide), (depth, depth + long), colour);
    }
    for _ in 0..dice.whole(0, 5) {
        crack(canvas, paint, (left, right), dice);
    }
    for _ in 0..dice.whole(0, 3) {
        let (x, z) = (dice.between(left + 0.8, right - 0.8), 6.0 + 30.0 * dice.unit());
        let at = canvas.eye.in_street(x, 0.0, z);
        for (radius, shade) in [(0.38, 0.62), (0.33, 0.85), (0.28, 0.7)] {
            let disc = CIRCLE.map(|(c, s)| [at[0] + c * radius, 0.0, at[2] + s * radius]);
            let lit = canvas.light.on(paint.road.map(|v| v * shade), UP);
            canvas.panel(&disc, lit, 0.9);
        }
    }
    // Stains of oil and tyres: soft, dark, long.
    for _ in 0..dice.whole(0, 6) {
        let (x, z) = (dice.between(left, right), 5.0 + 35.0 * dice.unit());
        let (wide, long) = (dice.between(0.2, 1.1), dice.between(0.5, 6.0));
        let at = canvas.eye.in_street(x, 0.0, z);
        for step in 1..=4 {
            let size = step as f32 * 0.25;
            let disc = CIRCLE.map(|(c, s)| [at[0] + c * wide * size, 0.0, at[2] + s * long * size]);
            canvas.panel(&disc, [0.09, 0.09, 0.1], 0.07);
        }
    }
}

fn crack(canvas: &mut Canvas, paint: &Colours, edges: (f32, f32), dice: &mut Dice) {
    let mut x = dice.between(edges.0, edges.1);
    let mut z = 4.0 + 25.0 * dice.unit();
    let along = dice.chance(0.6);
    let width = dice.between(0.02, 0.07);
    let tar = dice.chance(0.5);
    let colour = canvas.light.on(paint.road.map(|v| v * if tar { 0.5 } else { 0.65 }), UP);
    for _ in 0..dice.whole(4, 12) {
        let (dx, dz) = if along {
            (0.25 * dice.around_zero(), dice.between(0.4, 1.3))
        } else {
            (dice.between(0.2, 0.7), 0.5 * dice.around_zero())
        };
        let (from, to) = (canvas.eye.in_street(x, 0.0, z), canvas.eye.in_street(x + dx, 0.0, z + dz));
        let offset = if along { [width, 0.0, 0.0] } else { [0.0, 0.0, 2.0 * width] };
        let shift = |p: Point| [p[0] + offset[0], 0.0, p[2] + offset[2]];
        canvas.panel(&[from, to, shift(to), shift(from)], colour, 0.8);
        x += dx;
        z += dz;
    }
}

fn rails(canvas: &mut Canvas, street: &Street) {
    let Some(track) = street.track else { return };
    for rail in [track - 0.75, track + 0.75] {
        line(canvas, (rail - 0.09, rail + 0.09), (NEAR, FAR), [0.25, 0.24, 0.24]);
        line(canvas, (rail - 0.03, rail + 0.03), (NEAR, FAR), [0.62, 0.62, 0.65]);
    }
}

fn marks(canvas: &mut Canvas, street: &Street, paint: &Colours, dice: &mut Dice) {
    let dash = dice.between(2.0, 6.0);
    let phase = dice.between(0.0, dash);
    for (lateral, dashed) in &street.lines {
        let mut from = NEAR - phase;
        while from < street.end {
            let to = if *dashed { from + dash } else { street.end };
            let broken = |z: f32| street.crosses(z, 1.0);
            if *dashed {
                if !broken(from) && !broken(to) && to > NEAR {
                    line(canvas, (lateral - 0.07, lateral + 0.07), (from, to), paint.white);
                }
                from = to + dash;
            } else {
                solid_line(canvas, street, *lateral, paint.white);
                break;
            }
        }
    }
    for crossing in &street.crossings {
        if dice.chance(0.6) {
            zebra(canvas, street, paint, crossing.0 - dice.between(3.6, 4.5), dice);
        }
        if dice.chance(0.3) {
            zebra(canvas, street, paint, crossing.1 + 0.8, dice);
        }
    }
    if dice.chance(0.22) {
        zebra(canvas, street, paint, dice.between(7.0, 45.0), dice);
    }
    if dice.chance(0.3) {
        let (lateral, _) = street.lanes[dice.whole(0, street.lanes.len() - 1)];
        arrow(canvas, paint, lateral, dice.between(7.0, 25.0));
    }
}

fn solid_line(canvas: &mut Canvas, street: &Street, lateral: f32, colour: Rgb) {
    let mut from = NEAR;
    for crossing in &street.crossings {
        line(canvas, (lateral - 0.07, lateral + 0.07), (from, crossing.0 - 0.5), colour);
        from = crossing.1 + 0.5;
    }
    line(canvas, (lateral - 0.07, lateral + 0.07), (from, street.end.max(from + 1.0)), colour);
}

fn zebra(canvas: &mut Canvas, street: &Street, paint: &Colours, depth: f32, dice: &mut Dice) {
    if depth < 2.0 {
        return;
    }
    let (left, right) = (0.3 - street.left.kerb, street.right.kerb - 0.3);
    if dice.chance(0.75) {
        let mut x = left;
        while x + 0.5 < right {
            line(canvas, (x, x + 0.5), (depth, depth + 3.2), paint.white);
            x += 1.0;
        }
        return;
    }
    for edge in [depth, depth + 3.0] {
        line(canvas, (left, right), (edge, edge + 0.22), paint.white);
    }
}

fn arrow(canvas: &mut Canvas, paint: &Colours, lateral: f32, depth: f32) {
    line(canvas, (lateral - 0.08, lateral + 0.08), (depth, depth + 2.6), paint.white);
    let tip = [(-0.32, 2.4), (0.32, 2.4), (0.0, 4.2)];
    let points = tip.map(|(x, z)| canvas.eye.in_street(lateral + x, 0.0, depth + z));
    let lit = canvas.light.on(paint.white, UP);
    canvas.panel(&points, lit, 1.0);
}
