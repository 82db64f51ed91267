//! Who and what moves or stands in the street: vehicles, persons, two-wheelers, poles, and unexpected objects.

use super::canvas::Standing;
use super::dice::Dice;
use super::furniture::Pole;
use super::people::Person;
use super::perspective::Perspective;
use super::street::{Kerbside, Street, Style};
use super::two_wheelers::TwoWheeler;
use super::unexpected::Unexpected;
use super::vehicles::{Model, Vehicle};

type Things = Vec<Box<dyn Standing>>;

/// Puts 1 to 3 unexpected objects into the street, most on the road. `height` is the picture's, in pixels.
pub fn unexpected_objects(
    things: &mut Things,
    street: &mut Street,
    eye: &Perspective,
    dice: &mut Dice,
    height: f32,
) {
    let count = dice.whole(1, 3);
    let mut placed = 0;
    for _ in 0..40 {
        if placed == count {
            return;
        }
        let object = Unexpected::new(dice);
        // Between about 12 and 80 pixels in a picture 256 pixels high; evenly in the logarithm, by squaring.
        let share = dice.unit();
        let pixels = height / 256.0 * (13.0 + 67.0 * share * share);
        let z = eye.focal * object.height() / pixels;
        let nearest = eye.focal * eye.height / (height - eye.horizon) + 0.8;
        if !(nearest..70.0).contains(&z) {
            continue;
        }
        let lateral = if dice.chance(0.88) {
            dice.between(0.6 - street.left.kerb, street.right.kerb - 0.6)
        } else {
            dice.sign() * dice.between(street.left.kerb, street.right.front)
        };
        let x = lateral + eye.bend(z);
        let column = (eye.axis + x * eye.scale(z)) / (2.0 * eye.axis);
        let half = object.half_width();
        if (0.02..0.98).contains(&column) && street.claim(lateral, z, half, half.max(1.2)) {
            if placed == 0 || dice.chance(0.6) {
                // Keeps traffic out of the line of sight, so that the object is seen.
                for share in [0.35, 0.5, 0.65, 0.8, 0.92] {
                    street.reserve(x * share - eye.bend(z * share), z * share, half, 2.0);
                }
            }
            things.push(Box::new(object.at(x, z)));
            placed += 1;
        }
    }
}

/// Fills the street with its everyday traffic.
pub fn everyday(things: &mut Things, street: &mut Street, eye: &Perspective, dice: &mut Dice) {
    let busy = dice.unit();
    let mut place = Place { things, street, eye, dice };
    place.tram();
    place.lanes(busy);
    place.cross_traffic();
    for side in place.street.sides() {
        place.parked(side);
        place.poles(side);
        place.pedestrians(side);
        place.parked_two_wheelers(side);
    }
    place.crossing_pedestrians();
    place.riders();
}

struct Place<'a> {
    things: &'a mut Things,
    street: &'a mut Street,
    eye: &'a Perspective,
    dice: &'a mut Dice,
}

impl Place<'_> {
    fn world(&self, lateral: f32, z: f32) -> (f32, f32) {
        (lateral + self.eye.bend(z), z)
    }

    /// Half of the bend's angle, as the tangent that a vehicle along the street is turned by.
    fn along(&self, z: f32) -> f32 {
        0.5 * self.eye.bend_slope(z)
    }

    fn vehicle(&mut self, model: Model, lateral: f32, z: f32, oncoming: bool, turn: f32) {
        let (width, length, _) = model.size();
        if self.street.claim(lateral, z, 0.5 * width + 0.15, 0.5 * length + 0.5) {
            let half_turn = self.along(z) + turn;
            let place = self.world(lateral, z);
            self.things.push(Box::new(Vehicle::new(self.dice, model, place, half_turn, oncoming)));
        }
    }

    fn model(&mut self) -> Model {
        match self.dice.unit() {
            u if u < 0.07 => Model::Truck,
            u if u < 0.13 => Model::Bus,
            _ => Model::any_car(self.dice),
        }
    }

    fn tram(&mut self) {
        if let Some(track) = self.street.track
            && self.dice.chance(0.75)
        {
            let z = 13.0 + self.dice.between(6.0, 40.0);
            let oncoming = self.dice.chance(0.6);
            let turn = 0.01 * self.dice.around_zero();
            self.vehicle(Model::Tram, track, z, oncoming, turn);
        }
    }

    fn lanes(&mut self, busy: f32) {
        for (lateral, oncoming) in self.street.lanes.clone() {
            let own = lateral.abs() < 1.5;
            let mut z = if own { self.dice.between(9.0, 45.0) } else { self.dice.between(6.0, 40.0) };
            let gap = 8.0 + 45.0 * (1.0 - busy);
            while z < 0.9 * self.street.end {
                let model = self.model();
                let middle = z + 0.5 * model.size().1;
                let drift = 0.3 * self.dice.around_zero();
                let turn = 0.03 * self.dice.around_zero();
                self.vehicle(model, lateral + drift, middle, oncoming, turn);
                z = middle + 0.5 * model.size().1 + 2.5 + gap * self.dice.unit();
            }
        }
    }

    fn cross_traffic(&mut self) {
        for (near, far) in self.street.crossings.clone() {
            if !self.dice.chance(0.5) {
                continue;
            }
            let model = self.model();
            let (width, length, _) = model.size();
            let z = self.dice.between(near + 0.5 * width, far - 0.5 * width);
            let lateral = self.dice.between(-14.0, 14.0);
            if self.street.claim(lateral, z, 0.5 * length + 0.3, 0.5 * width + 0.3) {
                let turn = self.dice.sign() * (1.0 + 0.1 * self.dice.around_zero());
                let place = self.world(lateral, z);
                self.things.push(Box::new(Vehicle::new(self.dice, model, place, turn, false)));
            }
        }
    }

    fn parked(&mut self, side: Kerbside) {
        if !side.parking {
            return;
        }
        let full = self.dice.between(0.35, 0.95);
        let mut z = self.dice.between(5.5, 9.0);
        while z < 0.8 * self.street.end {
            let van = self.dice.chance(0.06);
            let model = if van { Model::Truck } else { Model::any_car(self.dice) };
            let (width, length, _) = model.size();
            let middle = z + 0.5 * length;
            if self.dice.chance(full) && !self.street.crosses(middle, 4.5) {
                let lateral = side.sign * (side.kerb - 0.5 * width - 0.12);
                let turned = self.dice.chance(0.1);
                let oncoming = (side.sign < 0.0) != turned;
                let turn = 0.015 * self.dice.around_zero();
                self.vehicle(model, lateral, middle, oncoming, turn);
            }
            z += length + self.dice.between(0.7, 2.2);
        }
    }

    fn poles(&mut self, side: Kerbside) {
        let inward = -side.sign;
        let at = side.sign * (side.kerb + self.dice.between(0.4, 0.8));
        let spacing = self.dice.between(16.0, 32.0);
        let mut z = self.dice.between(5.0, spacing);
        let lamps = self.dice.chance(0.75);
        while lamps && z < 120.0 {
            if !self.street.crosses(z, 0.5) {
                let place = self.world(at, z);
                self.things.push(Box::new(Pole::lamp(self.dice, place, inward)));
            }
            z += spacing;
        }
        for (near, far) in self.street.crossings.clone() {
            if self.dice.chance(0.55) {
                let z = if self.dice.chance(0.6) { near - 0.8 } else { far + 1.0 };
                let place = self.world(at, z.max(5.0));
                self.things.push(Box::new(Pole::signal(self.dice, place, inward)));
            }
        }
        if self.dice.chance(0.15) {
            let z = self.dice.between(7.0, 35.0);
            let place = self.world(at, z);
            self.things.push(Box::new(Pole::signal(self.dice, place, inward)));
        }
        for _ in 0..self.dice.whole(0, 4) {
            let z = 6.0 + 45.0 * self.dice.unit();
            let beside = at + side.sign * self.dice.between(0.0, 0.8);
            let place = self.world(beside, z);
            self.things.push(Box::new(Pole::sign(self.dice, place, inward)));
        }
        if self.dice.chance(0.18) {
            let mut z = self.dice.between(5.0, 12.0);
            for _ in 0..self.dice.whole(3, 10) {
                let place = self.world(side.sign * (side.kerb + 0.4), z);
                self.things.push(Box::new(Pole::bollard(self.dice, place)));
                z += 1.8;
            }
        }
    }

    fn pedestrians(&mut self, side: Kerbside) {
        let most = match self.street.style {
            Style::Centre => 12,
            Style::Avenue => 8,
            Style::Residential => 4,
            Style::Outskirts => 2,
        };
        for _ in 0..self.dice.whole(0, most) {
            let share = self.dice.unit();
            let z = 6.0 + 50.0 * share * share;
            let distance = self.dice.between(side.kerb + 0.4, side.front - 0.2);
            let group = if self.dice.chance(0.25) { 2 } else { 1 };
            for member in 0..group {
                let lateral = side.sign * (distance + 0.6 * member as f32);
                if self.street.claim(lateral, z, 0.22, 0.22) {
                    let (x, z) = self.world(lateral, z);
                    self.things.push(Box::new(Person::new(self.dice, x, z, false)));
                }
            }
        }
    }

    fn crossing_pedestrians(&mut self) {
        if !self.dice.chance(0.4) {
            return;
        }
        let base = 6.5 + 35.0 * self.dice.unit() * self.dice.unit();
        for _ in 0..self.dice.whole(1, 4) {
            let lateral = self.dice.between(-self.street.left.kerb, self.street.right.kerb);
            let z = base + self.dice.between(-1.0, 1.5);
            if self.street.claim(lateral, z, 0.3, 0.3) {
                let (x, z) = self.world(lateral, z);
                self.things.push(Box::new(Person::new(self.dice, x, z, true)));
            }
        }
    }

    fn riders(&mut self) {
        let (left, right) = (0.7 - self.street.left.kerb, self.street.right.kerb - 0.7);
        let count = if self.dice.chance(0.4) { self.dice.whole(1, 3) } else { 0 };
        for _ in 0..count {
            let motor = self.dice.chance(0.38);
            let z = 6.0 + 30.0 * self.dice.unit() * self.dice.unit();
            let lateral = if self.dice.chance(0.6) {
                if self.dice.chance(0.7) { right } else { left }
            } else {
                self.dice.between(left, right)
            };
            let broadside = if self.dice.chance(0.35) {
                self.dice.between(0.6, 1.0)
            } else {
                self.dice.between(0.1, 0.4)
            };
            if self.street.claim(lateral, z, 0.5, 0.9) {
                let place = self.world(lateral, z);
                self.things.push(Box::new(TwoWheeler::new(self.dice, place, motor, true, broadside)));
            }
        }
    }

    fn parked_two_wheelers(&mut self, side: Kerbside) {
        if !self.dice.chance(0.22) {
            return;
        }
        let motor = self.dice.chance(0.4);
        let broadside = self.dice.between(0.2, 1.0);
        let mut z = self.dice.between(5.5, 22.0);
        for _ in 0..self.dice.whole(1, 6) {
            let lateral = side.sign * (side.kerb + self.dice.between(0.5, 1.0));
            if self.street.claim(lateral, z, 0.4, 0.3) {
                let place = self.world(lateral, z);
                self.things.push(Box::new(TwoWheeler::new(self.dice, place, motor, false, broadside)));
            }
            z += self.dice.between(0.7, 1.3);
        }
    }
}
