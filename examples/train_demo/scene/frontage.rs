//! What lines the street: closed fronts, gardens with walls and fences, hedges, rows of trees, and the view's end.

use super::borders::{Border, BorderKind};
use super::buildings::{Backdrop, Building};
use super::canvas::Standing;
use super::dice::Dice;
use super::light::vary;
use super::perspective::Perspective;
use super::street::{Kerbside, Street, Style};
use super::vegetation::{Growth, Hedge, Plant};

type Things = Vec<Box<dyn Standing>>;

/// Lines both sides of the street and closes its end.
pub fn line_street(things: &mut Things, street: &Street, eye: &Perspective, dice: &mut Dice) {
    let mut lining = Lining { things, street, eye, dice };
    lining.skyline();
    for side in street.sides() {
        lining.side(side);
        lining.row_of_trees(side);
    }
}

struct Lining<'a> {
    things: &'a mut Things,
    street: &'a Street,
    eye: &'a Perspective,
    dice: &'a mut Dice,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plot {
    House,
    Garden,
    Park,
    Open,
}

impl Lining<'_> {
    fn plot(&mut self) -> Plot {
        let u = self.dice.unit();
        let shares = match self.street.style {
            Style::Centre => [0.93, 0.96, 0.985],
            Style::Avenue => [0.72, 0.82, 0.96],
            Style::Residential => [0.45, 0.85, 0.95],
            Style::Outskirts => [0.14, 0.34, 0.74],
        };
        match shares.iter().position(|s| u < *s) {
            Some(0) => Plot::House,
            Some(1) => Plot::Garden,
            Some(2) => Plot::Park,
            _ => Plot::Open,
        }
    }

    fn house_height(&mut self) -> f32 {
        match self.street.style {
            Style::Centre => self.dice.between(9.0, 24.0),
            Style::Avenue => self.dice.between(8.0, 26.0),
            Style::Residential => self.dice.between(4.5, 11.0),
            Style::Outskirts => self.dice.between(4.0, 9.0),
        }
    }

    fn side(&mut self, side: Kerbside) {
        let mut z = self.dice.between(-6.0, 2.0);
        while z < self.street.end {
            let length = self.dice.between(9.0, 24.0);
            let next_crossing = self.street.crossings.iter().find(|c| c.1 > z).copied();
            if let Some((near, far)) = next_crossing
                && z + length > near
            {
                if near - z > 4.0 {
                    self.fill(side, (z, near));
                }
                z = far;
                continue;
            }
            self.fill(side, (z, z + length));
            z += length;
        }
    }

    fn fill(&mut self, side: Kerbside, depth: (f32, f32)) {
        if depth.1 < 3.0 {
            return;
        }
        match self.plot() {
            Plot::House => self.house(side, side.front, depth),
            Plot::Garden => {
                let set_back = self.dice.between(3.0, 8.0);
                if depth.1 - depth.0 > 7.0 {
                    self.house(side, side.front + set_back, (depth.0 + 1.0, depth.1 - 2.0));
                }
                self.border(side, depth);
                for _ in 0..self.dice.whole(0, 4) {
                    let beyond = self.dice.between(0.8, set_back);
                    self.plant(side, beyond, depth, (1.0, 5.0));
                }
            }
            Plot::Park => {
                if self.dice.chance(0.55) {
                    self.border(side, depth);
                }
                for _ in 0..self.dice.whole(3, 8) {
                    let beyond = self.dice.between(0.8, 9.0);
                    self.plant(side, beyond, depth, (2.0, 11.0));
                }
            }
            Plot::Open => {
                if self.dice.chance(0.5) {
                    self.border(side, depth);
                }
            }
        }
    }

    fn house(&mut self, side: Kerbside, front: f32, depth: (f32, f32)) {
        let height = self.house_height();
        let house = Building::new(self.dice, side.sign, front, depth, height);
        self.things.push(Box::new(house));
    }

    fn border(&mut self, side: Kerbside, depth: (f32, f32)) {
        let distance = side.front + 0.1;
        let u = self.dice.unit();
        if u < 0.25 {
            let height = self.dice.between(0.9, 2.2);
            let leaf = self.dice.pick(&[[0.20, 0.32, 0.13], [0.26, 0.36, 0.15], [0.17, 0.27, 0.14]]);
            let leaf = vary(self.dice, leaf, 0.25);
            self.things.push(Box::new(Hedge { sign: side.sign, distance, depth, height, leaf }));
            return;
        }
        let kind = match u {
            u if u < 0.58 => BorderKind::Wall,
            u if u < 0.92 => BorderKind::Railing,
            _ => BorderKind::Guardrail,
        };
        self.things.push(Box::new(Border::new(self.dice, kind, side.sign, distance, depth)));
    }

    fn plant(&mut self, side: Kerbside, beyond: f32, depth: (f32, f32), heights: (f32, f32)) {
        let height = self.dice.between(heights.0, heights.1);
        let growth = match self.dice.unit() {
            _ if height < 2.2 => Growth::Bush,
            u if u < 0.72 => Growth::Broadleaf,
            u if u < 0.88 => Growth::Conifer,
            _ => Growth::Bare,
        };
        let z = self.dice.between(depth.0, depth.1).max(6.0);
        let x = side.sign * (side.front + beyond) + self.eye.bend(z);
        self.things.push(Box::new(Plant::new(self.dice, growth, x, z, height)));
    }

    fn row_of_trees(&mut self, side: Kerbside) {
        let share = match self.street.style {
            Style::Centre => 0.22,
            Style::Avenue => 0.75,
            Style::Residential => 0.45,
            Style::Outskirts => 0.55,
        };
        if !self.dice.chance(share) {
            return;
        }
        let growth = if self.dice.chance(0.15) { Growth::Bare } else { Growth::Broadleaf };
        let spacing = self.dice.between(6.0, 16.0);
        let height = self.dice.between(5.0, 11.0);
        let distance = side.grass.map_or(side.kerb + 1.1, |g| 0.5 * (g.0 + g.1));
        let mut z = self.dice.between(6.0, 6.0 + spacing);
        while z < 0.95 * self.street.end {
            if !self.street.crosses(z, 1.5) {
                let lateral = side.sign * (distance + 0.3 * self.dice.around_zero());
                let tall = height * self.dice.between(0.85, 1.15);
                let x = lateral + self.eye.bend(z);
                self.things.push(Box::new(Plant::new(self.dice, growth, x, z, tall)));
            }
            z += spacing * self.dice.between(0.85, 1.15);
        }
    }

    /// Buildings and trees across the view at the street's end and far to the sides.
    fn skyline(&mut self) {
        let depth = self.street.end + 2.0;
        let half = 0.62 * depth;
        let middle = self.eye.bend(depth);
        let green = match self.street.style {
            Style::Centre => 0.15,
            Style::Avenue => 0.35,
            Style::Residential => 0.5,
            Style::Outskirts => 0.75,
        };
        let mut x = -half;
        while x < half {
            let width = self.dice.between(8.0, 26.0);
            let z = depth + self.dice.between(0.0, 12.0);
            if self.dice.chance(green) {
                let mut at = x;
                while at < x + width {
                    let height = self.dice.between(4.0, 13.0);
                    let growth = if self.dice.chance(0.2) { Growth::Conifer } else { Growth::Broadleaf };
                    self.things.push(Box::new(Plant::new(self.dice, growth, at, z, height)));
                    self.things.push(Box::new(Plant::new(self.dice, Growth::Bush, at + 2.0, z - 0.5, 3.0)));
                    at += self.dice.between(2.5, 6.0);
                }
            } else if !(self.dice.chance(0.3) && (x..x + width).contains(&middle)) {
                let height = self.house_height() * self.dice.between(0.6, 1.1);
                self.things.push(Box::new(Backdrop::new(self.dice, z, (x, x + width), height)));
            }
            x += width;
        }
    }
}
