//! Ids over frames.

use std::collections::HashSet;

use ndarray::Array2;
use sml::Size;
use sml::obstacles::{ObstacleFinder, ObstacleParams};

const SIZE: Size = Size::new(30, 60);

/// Rectangles as top, left, height, width, score.
type Rectangle = (usize, usize, usize, usize, f32);

fn finder() -> ObstacleFinder {
    ObstacleFinder::new(ObstacleParams { minimum_area: 4, ..ObstacleParams::above(1.0) }, SIZE).unwrap()
}

fn ids(finder: &mut ObstacleFinder, rectangles: &[Rectangle]) -> Vec<u64> {
    let mut score = Array2::zeros((SIZE.height, SIZE.width));
    for &(top, left, height, width, value) in rectangles {
        score.slice_mut(ndarray::s![top..top + height, left..left + width]).fill(value);
    }
    let prediction = Array2::zeros(score.dim());
    finder.find(score.view(), prediction.view()).unwrap().iter().map(|obstacle| obstacle.id).collect()
}

#[test]
fn ids_follow_what_moves_and_what_changes_its_rank() {
    let mut finder = finder();
    assert_eq!(ids(&mut finder, &[(2, 2, 4, 4, 3.0), (20, 30, 5, 5, 2.0)]), [1, 2]);
    // Both move; the other one is more anomalous now, so that it comes first.
    assert_eq!(ids(&mut finder, &[(3, 4, 4, 4, 2.0), (19, 31, 5, 5, 3.0)]), [2, 1]);
    // One jumps further than it is wide: another object, as far as overlap tells.
    assert_eq!(ids(&mut finder, &[(3, 12, 4, 4, 2.0), (18, 32, 5, 5, 3.0)]), [2, 3]);
}

#[test]
fn an_object_that_was_gone_is_new() {
    let mut finder = finder();
    let object = [(5, 5, 4, 4, 2.0)];
    assert_eq!(ids(&mut finder, &object), [1]);
    assert!(ids(&mut finder, &[]).is_empty());
    assert_eq!(ids(&mut finder, &object), [2]);
    finder.forget();
    assert_eq!(ids(&mut finder, &object), [3]);
}

#[test]
fn the_larger_share_keeps_the_id() {
    let mut finder = finder();
    assert_eq!(ids(&mut finder, &[(5, 10, 4, 20, 2.0)]), [1]);
    // It falls apart: the right part overlaps it better, the left one comes first in raster order and is new.
    assert_eq!(ids(&mut finder, &[(5, 10, 4, 6, 2.0), (5, 18, 4, 12, 2.0)]), [1, 2]);
    // Both grow together again: intersection over union is better with the larger one.
    assert_eq!(ids(&mut finder, &[(5, 10, 4, 20, 2.0)]), [1]);
    // Two halves of the same size: the first one in raster order.
    assert_eq!(ids(&mut finder, &[(5, 10, 4, 9, 2.0), (5, 21, 4, 9, 3.0)]), [3, 1]);
}

#[test]
fn one_id_goes_to_one_obstacle_and_is_never_used_again() {
    let mut finder = finder();
    let mut last: HashSet<u64> = HashSet::new();
    let mut gone: HashSet<u64> = HashSet::new();
    // A drawn walk of ten squares, some of which merge, leave and come back.
    let mut state = 1_u64;
    let mut draw = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit
    };
    for _ in 0..500 {
        let rectangles: Vec<Rectangle> = (0..draw(10))
            .map(|_| (draw(25), draw(50), 1 + draw(5), 1 + draw(9), 1.0 + draw(4) as f32))
            .collect();
        let found = ids(&mut finder, &rectangles);
        let now: HashSet<u64> = found.iter().copied().collect();
        assert_eq!(now.len(), found.len(), "{found:?}");
        assert!(now.is_disjoint(&gone), "{now:?}");
        gone.extend(last.difference(&now));
        last = now;
    }
    assert!(gone.len() > 100);
}
