//! The rules of `sml::obstacles`, pixel by pixel and as slow as they are plain.

use ndarray::{Array2, ArrayView2};
use sml::obstacles::{BoundingBox, DrivableArea, Obstacle, ObstacleParams};

/// Every pixel of a picture that a pixel can step to.
const EDGES: [(isize, isize); 4] = [(-1, 0), (0, -1), (0, 1), (1, 0)];
const CORNERS: [(isize, isize); 4] = [(-1, -1), (-1, 1), (1, -1), (1, 1)];

type Pixel = (usize, usize);

fn neighbours((height, width): Pixel, (row, column): Pixel, steps: &[(isize, isize)]) -> Vec<Pixel> {
    let step = |&(down, right): &(isize, isize)| {
        let to = (row.checked_add_signed(down)?, column.checked_add_signed(right)?);
        (to.0 < height && to.1 < width).then_some(to)
    };
    steps.iter().filter_map(step).collect()
}

/// The components of a mask, each in raster order, in the order of their first pixels.
fn components(mask: &Array2<bool>, steps: &[(isize, isize)]) -> Vec<Vec<Pixel>> {
    let mut left = mask.clone();
    let mut components = Vec::new();
    for (start, _) in mask.indexed_iter() {
        if !left[start] {
            continue;
        }
        left[start] = false;
        let mut component = vec![start];
        let mut next = 0;
        while next < component.len() {
            for pixel in neighbours(mask.dim(), component[next], steps) {
                if std::mem::take(&mut left[pixel]) {
                    component.push(pixel);
                }
            }
            next += 1;
        }
        component.sort_unstable();
        components.push(component);
    }
    components
}

/// The pixels that obstacles may have.
pub fn drivable(prediction: ArrayView2<'_, u8>, drivable: &DrivableArea) -> Array2<bool> {
    let (height, width) = prediction.dim();
    let mut area = prediction.mapv(|class| drivable.classes.contains(&class));
    for hole in components(&area.mapv(|set| !set), &EDGES) {
        let at_border =
            |&(row, column): &Pixel| row == 0 || column == 0 || row == height - 1 || column == width - 1;
        if !hole.iter().any(at_border) {
            hole.into_iter().for_each(|pixel| area[pixel] = true);
        }
    }
    Array2::from_shape_fn(area.dim(), |(row, column)| {
        let near = |((other_row, other_column), &set): (Pixel, &bool)| {
            set && row.abs_diff(other_row) <= drivable.margin
                && column.abs_diff(other_column) <= drivable.margin
        };
        area.indexed_iter().any(near)
    })
}

/// The obstacles of a first frame, with the ids that their order in the raster gives.
pub fn obstacles(
    params: &ObstacleParams,
    score: ArrayView2<'_, f32>,
    prediction: ArrayView2<'_, u8>,
) -> Vec<Obstacle> {
    let area = params.drivable.as_ref().map(|area| drivable(prediction, area));
    let mask = Array2::from_shape_fn(score.dim(), |pixel| {
        score[pixel] >= params.threshold && area.as_ref().is_none_or(|area| area[pixel])
    });
    let steps = [EDGES, CORNERS].concat();
    let kept = components(&mask, &steps).into_iter().filter(|pixels| pixels.len() >= params.minimum_area);
    let mut obstacles: Vec<Obstacle> = kept
        .enumerate()
        .map(|(index, pixels)| obstacle(index as u64 + 1, &pixels, &mask, score, prediction))
        .collect();
    // Stable, so that equal ones stay in raster order.
    obstacles.sort_by(|a, b| b.max_score.partial_cmp(&a.max_score).unwrap().then(b.area.cmp(&a.area)));
    obstacles
}

fn obstacle(
    id: u64,
    pixels: &[Pixel],
    mask: &Array2<bool>,
    score: ArrayView2<'_, f32>,
    prediction: ArrayView2<'_, u8>,
) -> Obstacle {
    let rows = || pixels.iter().map(|pixel| pixel.0);
    let columns = || pixels.iter().map(|pixel| pixel.1);
    let (top, left) = (rows().min().unwrap(), columns().min().unwrap());
    let count = pixels.len() as f64;
    let mut edges = [0; 256];
    for &pixel in pixels {
        for other in neighbours(mask.dim(), pixel, &EDGES) {
            if !mask[other] {
                edges[usize::from(prediction[other])] += 1;
            }
        }
    }
    let most = *edges.iter().max().unwrap();
    Obstacle {
        id,
        bounding_box: BoundingBox {
            left: left as u32,
            top: top as u32,
            width: (columns().max().unwrap() - left + 1) as u32,
            height: (rows().max().unwrap() - top + 1) as u32,
        },
        area: pixels.len() as u32,
        mean_score: (pixels.iter().map(|&pixel| f64::from(score[pixel])).sum::<f64>() / count) as f32,
        max_score: pixels.iter().map(|&pixel| score[pixel]).fold(f32::NEG_INFINITY, f32::max),
        centroid: (
            (columns().sum::<usize>() as f64 / count) as f32,
            (rows().sum::<usize>() as f64 / count) as f32,
        ),
        surrounding_class: edges.iter().position(|&n| n == most && n > 0).map(|class| class as u8),
    }
}
