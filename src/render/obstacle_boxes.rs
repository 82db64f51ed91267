//! Boxes around obstacles, each with its id and its highest score.

use image::{Rgb, RgbImage};

use super::text::{draw_text, fill, line_height, text_width};
use crate::obstacles::Obstacle;

const LINE: Rgb<u8> = Rgb([255, 255, 255]);
const EDGE: Rgb<u8> = Rgb([0, 0, 0]);
/// Rows of a picture in which a line is one pixel thick; thicker ones in larger pictures.
const THIN: u32 = 480;

/// Draws the obstacles into a picture of the size in which they were found: a white box with a black edge around each one's
/// pixels, and on it `#id score`.
pub fn draw_obstacles(picture: &mut RgbImage, obstacles: &[Obstacle]) {
    let thickness = picture.height().div_ceil(THIN);
    // The most anomalous ones come first, and shall lie on top.
    for obstacle in obstacles.iter().rev() {
        let area = obstacle.bounding_box;
        let outer = Frame::around((area.left, area.top), (area.width, area.height), 2 * thickness);
        outer.draw(picture, thickness, EDGE);
        let line = Frame::around((area.left, area.top), (area.width, area.height), thickness);
        line.draw(picture, thickness, LINE);
        label(picture, obstacle, &outer, thickness);
    }
}

/// A box's outer border: first and last row and column, some of which may lie outside the picture.
struct Frame {
    left: i64,
    top: i64,
    right: i64,
    bottom: i64,
}

impl Frame {
    fn around((left, top): (u32, u32), (width, height): (u32, u32), margin: u32) -> Self {
        let (left, top, margin) = (i64::from(left), i64::from(top), i64::from(margin));
        let (right, bottom) = (left + i64::from(width) + margin, top + i64::from(height) + margin);
        Self { left: left - margin, top: top - margin, right, bottom }
    }

    fn draw(&self, picture: &mut RgbImage, thickness: u32, color: Rgb<u8>) {
        let (Self { left, top, right, bottom }, thick) = (self, i64::from(thickness));
        fill_clipped(picture, (*left, *top), (*right, top + thick), color);
        fill_clipped(picture, (*left, bottom - thick), (*right, *bottom), color);
        fill_clipped(picture, (*left, *top), (left + thick, *bottom), color);
        fill_clipped(picture, (right - thick, *top), (*right, *bottom), color);
    }
}

/// Fills from one corner to before the other, as far as that is in the picture.
fn fill_clipped(picture: &mut RgbImage, from: (i64, i64), to: (i64, i64), color: Rgb<u8>) {
    let inside = |at: i64, side: u32| at.clamp(0, i64::from(side)) as u32;
    let (x, y) = (inside(from.0, picture.width()), inside(from.1, picture.height()));
    let (behind_x, behind_y) = (inside(to.0, picture.width()), inside(to.1, picture.height()));
    fill(picture, (x, y), (behind_x.saturating_sub(x), behind_y.saturating_sub(y)), color);
}

/// The label above the box, or below where there is no room above.
fn label(picture: &mut RgbImage, obstacle: &Obstacle, frame: &Frame, scale: u32) {
    let text = format!("#{} {:.1}", obstacle.id, obstacle.max_score);
    let (width, height) = (text_width(&text, scale) + 2 * scale, line_height(scale) + scale);
    let above = frame.top - i64::from(height);
    let y = if above >= 0 { above } else { frame.bottom };
    let rightmost = i64::from(picture.width()) - i64::from(width);
    let x = frame.left.min(rightmost).max(0);
    let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
    fill(picture, (x, y), (width, height), EDGE);
    draw_text(picture, (x + scale, y + scale), &text, scale, LINE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::obstacles::BoundingBox;

    fn obstacle(left: u32, top: u32, width: u32, height: u32) -> Obstacle {
        Obstacle {
            id: 7,
            bounding_box: BoundingBox { left, top, width, height },
            area: width * height,
            mean_score: 3.0,
            max_score: 4.25,
            centroid: (0.0, 0.0),
            surrounding_class: None,
        }
    }

    #[test]
    fn a_box_lies_around_the_obstacle() {
        let grey = Rgb([90, 90, 90]);
        let mut picture = RgbImage::from_pixel(100, 80, grey);
        draw_obstacles(&mut picture, &[obstacle(40, 30, 10, 6)]);
        for (x, y) in [(40, 30), (49, 35), (44, 32)] {
            assert_eq!(*picture.get_pixel(x, y), grey, "{x} {y}");
        }
        for (x, y) in [(39, 29), (50, 36), (39, 33), (45, 36)] {
            assert_eq!(*picture.get_pixel(x, y), LINE, "{x} {y}");
        }
        for (x, y) in [(38, 28), (51, 37)] {
            assert_eq!(*picture.get_pixel(x, y), EDGE, "{x} {y}");
        }
        let label = (18..28).flat_map(|y| (38..80).map(move |x| (x, y)));
        assert!(label.filter(|&(x, y)| picture.get_pixel(x, y).0[0] > 200).count() > 20);
    }

    #[test]
    fn boxes_at_every_border_are_drawn_as_far_as_they_go() {
        for obstacle in [obstacle(0, 0, 3, 3), obstacle(17, 11, 3, 3), obstacle(0, 0, 20, 14)] {
            let mut picture = RgbImage::new(20, 14);
            draw_obstacles(&mut picture, &[obstacle]);
            assert!(picture.pixels().any(|pixel| *pixel == LINE) || obstacle.bounding_box.width == 20);
        }
    }
}
