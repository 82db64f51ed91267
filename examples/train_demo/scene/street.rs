//! The plan of a street: lanes, kerbs, pavements, side streets, and which places are taken.
//!
//! Lateral positions are metres to the right of the camera's line; the bend is added when a place is projected.

use super::dice::Dice;

/// What kind of neighbourhood the street runs through.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Closed fronts of tall buildings, many people.
    Centre,
    /// Broad, with trees and trams.
    Avenue,
    /// Low houses, hedges, garden walls, fences.
    Residential,
    /// Grass, trees, fences and few buildings.
    Outskirts,
}

/// One side of the street. Distances are metres from the camera's line.
#[derive(Clone, Copy)]
pub struct Kerbside {
    /// -1 left, 1 right.
    pub sign: f32,
    /// Where the road ends.
    pub kerb: f32,
    /// A strip of grass between two distances.
    pub grass: Option<(f32, f32)>,
    /// Where the pavement ends and buildings, walls or gardens begin.
    pub front: f32,
    /// Whether cars park along the kerb.
    pub parking: bool,
}

impl Kerbside {
    fn new(dice: &mut Dice, style: Style, sign: f32, lanes_edge: f32) -> Self {
        let parking = dice.chance(match style {
            Style::Centre | Style::Residential => 0.6,
            Style::Avenue => 0.35,
            Style::Outskirts => 0.12,
        });
        let kerb = lanes_edge + if parking { dice.between(2.0, 2.5) } else { dice.between(0.2, 0.9) };
        let pavement = match style {
            Style::Centre => dice.between(2.2, 5.5),
            Style::Avenue => dice.between(3.5, 8.5),
            Style::Residential => dice.between(1.5, 3.5),
            Style::Outskirts => dice.between(1.2, 3.0),
        };
        let grass_share = match style {
            Style::Centre => 0.05,
            Style::Avenue => 0.5,
            Style::Residential => 0.4,
            Style::Outskirts => 0.85,
        };
        let grass = dice.chance(grass_share).then(|| {
            let width = dice.between(1.0, 3.5);
            if dice.chance(0.6) {
                (kerb + 0.15, kerb + width)
            } else {
                (kerb + pavement, kerb + pavement + width)
            }
        });
        let front =
            (kerb + pavement).max(grass.map_or(0.0, |g| g.1 + if g.0 < kerb + 1.0 { 1.8 } else { 0.0 }));
        Self { sign, kerb, grass, front, parking }
    }
}

/// The street's plan.
pub struct Street {
    pub style: Style,
    pub left: Kerbside,
    pub right: Kerbside,
    /// Middle of each lane and whether its traffic comes towards the camera.
    pub lanes: Vec<(f32, bool)>,
    /// Lines between lanes: lateral position and whether dashed.
    pub lines: Vec<(f32, bool)>,
    /// Side streets: from which depth to which depth.
    pub crossings: Vec<(f32, f32)>,
    /// Middle of the tram's track.
    pub track: Option<f32>,
    /// Where the street ends or is lost, in metres.
    pub end: f32,
    taken: Vec<[f32; 4]>,
}

impl Street {
    /// A street with the camera in one of its right-hand lanes.
    pub fn new(dice: &mut Dice) -> Self {
        let style = match dice.unit() {
            u if u < 0.34 => Style::Centre,
            u if u < 0.58 => Style::Avenue,
            u if u < 0.80 => Style::Residential,
            _ => Style::Outskirts,
        };
        let lane_width = dice.between(2.9, 3.7);
        let most = if style == Style::Avenue { 3 } else { 2 };
        let own = dice.whole(1, most);
        let against = if dice.chance(0.2) { 0 } else { dice.whole(1, most) };
        let mine = dice.whole(0, own - 1) as f32;
        let drift = 0.5 * dice.around_zero();
        let centre_line = drift - (mine + 0.5) * lane_width;
        let lane = |i: usize| centre_line + (i as f32 + 0.5 - against as f32) * lane_width;
        let lanes: Vec<_> = (0..against + own).map(|i| (lane(i), i < against)).collect();
        let left_edge = centre_line - against as f32 * lane_width;
        let right_edge = centre_line + own as f32 * lane_width;
        let solid_centre = dice.chance(0.4);
        let mut lines: Vec<_> = (1..against + own)
            .map(|i| (left_edge + i as f32 * lane_width, i != against || !solid_centre))
            .collect();
        if dice.chance(0.25) {
            lines.clear();
        }
        let left = Kerbside::new(dice, style, -1.0, -left_edge);
        let right = Kerbside::new(dice, style, 1.0, right_edge);
        if left.parking && dice.chance(0.5) {
            lines.push((left_edge, false));
        }
        if dice.chance(0.4) {
            lines.push((right_edge, false));
        }
        let track = dice.chance(if style == Style::Avenue { 0.55 } else { 0.16 }).then_some(if against > 0 {
            centre_line - 0.5 * lane_width
        } else {
            left_edge - 0.2
        });
        Self {
            style,
            left,
            right,
            lanes,
            lines,
            crossings: crossings(dice),
            track,
            end: dice.between(70.0, 190.0),
            taken: Vec::new(),
        }
    }

    /// Both sides.
    pub fn sides(&self) -> [Kerbside; 2] {
        [self.left, self.right]
    }

    /// Whether a side street leaves within `margin` of depth `z`.
    pub fn crosses(&self, z: f32, margin: f32) -> bool {
        self.crossings.iter().any(|c| z > c.0 - margin && z < c.1 + margin)
    }

    /// Takes a place `2 half_width` by `2 half_length` unless some of it is taken.
    pub fn claim(&mut self, lateral: f32, z: f32, half_width: f32, half_length: f32) -> bool {
        let place = [lateral - half_width, lateral + half_width, z - half_length, z + half_length];
        let free = self
            .taken
            .iter()
            .all(|t| place[1] < t[0] || place[0] > t[1] || place[3] < t[2] || place[2] > t[3]);
        if free {
            self.taken.push(place);
        }
        free
    }

    /// Takes a place whatever lies there already.
    pub fn reserve(&mut self, lateral: f32, z: f32, half_width: f32, half_length: f32) {
        self.taken.push([lateral - half_width, lateral + half_width, z - half_length, z + half_length]);
    }
}

fn crossings(dice: &mut Dice) -> Vec<(f32, f32)> {
    let mut found = Vec::new();
    let mut z = dice.between(9.0, 60.0);
    while z < 130.0 && dice.chance(0.62) {
        let width = dice.between(6.0, 13.0);
        found.push((z, z + width));
        z += width + dice.between(30.0, 70.0);
    }
    found
}
