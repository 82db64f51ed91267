//! Obstacles as numbered boxes on a picture.

use image::{Rgb, RgbImage};

use super::text::{cap_height, draw_text, fill, line_height, text_width};
use crate::obstacles::Obstacle;

/// Turquoise, which the heat map does not contain, between lines that part it from whatever lies below.
const LINE: Rgb<u8> = Rgb([0, 225, 205]);
const EDGE: Rgb<u8> = Rgb([9, 7, 32]);
/// Pixels between an obstacle and its box.
const GAP: u32 = 2;

/// Draws a box around each obstacle, with its id above it (or below, where there is no room). Lines are two pixels wide, and wider on
/// pictures of more than 1024 rows.
pub fn draw_obstacles(picture: &mut RgbImage, obstacles: &[Obstacle]) {
    let scale = 2 + picture.height() / 1024;
    for obstacle in obstacles {
        let bounds = obstacle.bounding_box;
        // From one gap before the first pixel to one behind the last.
        let left = bounds.left.saturating_sub(GAP).min(picture.width());
        let top = bounds.top.saturating_sub(GAP).min(picture.height());
        let right = bounds.left.saturating_add(bounds.width).saturating_add(GAP).min(picture.width());
        let bottom = bounds.top.saturating_add(bounds.height).saturating_add(GAP).min(picture.height());
        frame(picture, (left, top), (right, bottom), scale + 2, EDGE);
        frame(picture, (left.saturating_sub(1), top.saturating_sub(1)), (right + 1, bottom + 1), scale, LINE);

        let label = obstacle.id.to_string();
        let text_scale = scale.div_ceil(2);
        let (width, height) = (text_width(&label, text_scale) + 4, line_height(text_scale) + 2);
        let top_edge = top.saturating_sub(scale + 2);
        let y = if top_edge >= height { top_edge - height } else { bottom + scale + 2 };
        let x = left.min(picture.width().saturating_sub(width));
        fill(picture, (x, y), (width, height), EDGE);
        let middle = y + (height - cap_height(text_scale)) / 2;
        draw_text(picture, (x + 2, middle), &label, text_scale, LINE);
    }
}

/// A frame of `thickness` outside of the rectangle from `(left, top)` to before `(right, bottom)`.
fn frame(
    picture: &mut RgbImage,
    (left, top): (u32, u32),
    (right, bottom): (u32, u32),
    thickness: u32,
    color: Rgb<u8>,
) {
    let (outer_left, outer_top) = (left.saturating_sub(thickness), top.saturating_sub(thickness));
    let (width, height) = (right + thickness - outer_left, bottom + thickness - outer_top);
    fill(picture, (outer_left, outer_top), (width, top - outer_top), color);
    fill(picture, (outer_left, bottom), (width, thickness), color);
    fill(picture, (outer_left, outer_top), (left - outer_left, height), color);
    fill(picture, (right, outer_top), (thickness, height), color);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::obstacles::BoundingBox;

    fn obstacle(left: u32, top: u32, width: u32, height: u32) -> Obstacle {
        Obstacle {
            id: 7,
            bounding_box: BoundingBox { left, top, width, height },
            area: 1,
            mean_score: 1.0,
            max_score: 1.0,
            centroid: (0.0, 0.0),
            surrounding_class: None,
        }
    }

    #[test]
    fn what_is_found_stays_visible_and_what_lies_around_is_left_alone() {
        let mut picture = RgbImage::from_pixel(80, 60, Rgb([100; 3]));
        draw_obstacles(&mut picture, &[obstacle(30, 30, 10, 8)]);
        for (x, y, pixel) in picture.enumerate_pixels() {
            let around = (30 - GAP..40 + GAP).contains(&x) && (30 - GAP..38 + GAP).contains(&y);
            let far = !((20..=50).contains(&x) && (10..=48).contains(&y));
            if around || far {
                assert_eq!(pixel.0, [100; 3], "{x} {y}");
            }
        }
        let is_line = |x, y| *picture.get_pixel(x, y) == LINE;
        assert!(is_line(26, 33) && is_line(43, 33) && is_line(33, 26) && is_line(33, 41));
        let labelled = picture.enumerate_pixels().any(|(_, y, pixel)| y < 22 && pixel.0[1] > 130);
        assert!(labelled, "the id stands above");
    }

    #[test]
    fn boxes_at_and_beyond_every_edge() {
        for (left, top, width, height) in [
            (0, 0, 9, 7),
            (0, 0, 1, 1),
            (8, 6, 1, 1),
            (0, 6, 9, 1),
            (20, 20, 5, 5),
            (3, 3, u32::MAX, u32::MAX),
        ] {
            let mut picture = RgbImage::new(9, 7);
            draw_obstacles(&mut picture, &[obstacle(left, top, width, height)]);
            assert_eq!(picture.dimensions(), (9, 7));
        }
    }
}
