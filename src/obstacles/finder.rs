//! From one frame's scores and predictions to its obstacles.

use std::cmp::Ordering;

use ndarray::ArrayView2;

use super::ids::Ids;
use super::outlines::Outlines;
use super::pixel_mask::PixelMask;
use super::sums::Sums;
use super::{Obstacle, ObstacleParams};
use crate::connected_components::{Components, Connectivity, Run};
use crate::{Error, Result, Size};

/// In `kept`: a component that is too small.
const TOO_SMALL: u32 = u32::MAX;

/// Finds obstacles in one frame after the other, and follows them. See the [module](super) for the rules.
///
/// It allocates nothing after its construction, which reserves memory for the worst of masks: some 40 bytes a pixel, which
/// a usual operating system hands out only as far as frames need it. (Arrays that are not in raster order are copied, in
/// memory that the first of them allocates.)
#[derive(Clone, Debug)]
pub struct ObstacleFinder {
    params: ObstacleParams,
    size: Size,
    /// Pixels that can belong to an obstacle, and those that do.
    area: Option<PixelMask>,
    mask: PixelMask,
    components: Components,
    /// Runs of the mask, of which those of obstacles remain, in raster order.
    runs: Vec<Run>,
    /// By component: its area, then its place among the components that are kept, or [`TOO_SMALL`].
    kept: Vec<u32>,
    at_border: Vec<bool>,
    /// By obstacle in raster order of their first pixels.
    areas: Vec<u32>,
    outlines: Outlines,
    sums: Vec<Sums>,
    new_ids: Vec<u64>,
    /// Obstacles by how anomalous they are.
    order: Vec<u32>,
    ids: Ids,
    obstacles: Vec<Obstacle>,
    /// Copies of arrays that are not in raster order.
    score: Vec<f32>,
    prediction: Vec<u8>,
}

impl ObstacleFinder {
    /// For frames of `size` pixels.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] as [`ObstacleParams::validate`]; [`Error::Shape`] for a size without pixels or of more than
    /// 2^31 - 1.
    pub fn new(params: ObstacleParams, size: Size) -> Result<Self> {
        params.validate()?;
        let pixels = size.height.checked_mul(size.width).and_then(|pixels| i32::try_from(pixels).ok());
        let pixels = pixels.filter(|&pixels| pixels > 0).ok_or_else(|| Error::Shape {
            what: "size of the score map",
            given: size.to_string(),
            expected: "1 to 2^31 - 1 pixels".to_owned(),
        })? as usize;
        // Every other pixel of every row, of every other row.
        let runs = size.height * size.width.div_ceil(2);
        let components = runs.min(pixels.div_ceil(2));
        let obstacles = (size.height.div_ceil(2) * size.width.div_ceil(2)).min(pixels / params.minimum_area);
        Ok(Self {
            size,
            area: params.drivable.as_ref().map(|_| PixelMask::new(size)),
            mask: PixelMask::new(size),
            components: Components::with_capacity(runs),
            runs: Vec::with_capacity(runs),
            kept: Vec::with_capacity(components),
            at_border: Vec::with_capacity(if params.drivable.is_some() { components } else { 0 }),
            areas: Vec::with_capacity(obstacles),
            outlines: Outlines::with_capacity(runs, obstacles),
            sums: Vec::with_capacity(obstacles),
            new_ids: Vec::with_capacity(obstacles),
            order: Vec::with_capacity(obstacles),
            ids: Ids::with_capacity(runs, obstacles),
            obstacles: Vec::with_capacity(obstacles),
            score: Vec::new(),
            prediction: Vec::new(),
            params,
        })
    }

    /// The parameters.
    pub fn params(&self) -> &ObstacleParams {
        &self.params
    }

    /// The obstacles of a frame, most anomalous first: by maximum score, of equal ones by area, the larger one first, and
    /// then by their first pixels in raster order.
    ///
    /// `score` and `prediction` are those of an [`AnomalyMap`](crate::AnomalyMap), one image of it. A score that is NaN belongs
    /// to no obstacle; an infinite one does, and shows in the obstacle's scores.
    ///
    /// An obstacle that shares pixels with one of the last frame takes over its id. Where there is a choice, pairs with a
    /// larger intersection over union come first, of equal ones that of the obstacle first in raster order; each id goes to
    /// one obstacle. Whatever is left over is new, and gets an id that no obstacle has had.
    ///
    /// # Errors
    /// [`Error::Shape`] when an array has another size than the finder; the last frame is remembered then as it was.
    pub fn find(
        &mut self,
        score: ArrayView2<'_, f32>,
        prediction: ArrayView2<'_, u8>,
    ) -> Result<&[Obstacle]> {
        self.check("score map", score.dim())?;
        self.check("prediction", prediction.dim())?;
        let (mut scores, mut classes) =
            (std::mem::take(&mut self.score), std::mem::take(&mut self.prediction));
        let in_order = score.as_slice().unwrap_or_else(|| copied(&mut scores, &score));
        let classes_in_order = prediction.as_slice().unwrap_or_else(|| copied(&mut classes, &prediction));
        self.find_in_order(in_order, classes_in_order);
        (self.score, self.prediction) = (scores, classes);
        Ok(&self.obstacles)
    }

    /// The obstacles that the last call of [`find`](Self::find) found.
    pub fn obstacles(&self) -> &[Obstacle] {
        &self.obstacles
    }

    /// Forgets the last frame, where another scene begins: all obstacles of the next one are new. No id is used again.
    pub fn forget(&mut self) {
        self.ids.forget();
    }

    fn check(&self, what: &'static str, (height, width): (usize, usize)) -> Result<()> {
        if (height, width) == (self.size.height, self.size.width) {
            return Ok(());
        }
        let given = format!("{height} x {width}");
        let expected = format!("{} x {}, as the finder was made for", self.size.height, self.size.width);
        Err(Error::Shape { what, given, expected })
    }

    fn find_in_order(&mut self, score: &[f32], prediction: &[u8]) {
        let threshold = self.params.threshold;
        self.mask.clear();
        self.mask.set_where(score, |&score| score >= threshold);
        if let (Some(drivable), Some(area)) = (&self.params.drivable, &mut self.area) {
            let (runs, components) = (&mut self.runs, &mut self.components);
            drivable.find(prediction, self.size.width, area, runs, components, &mut self.at_border);
            self.mask.keep(area);
        }
        self.runs.clear();
        self.mask.runs(&mut self.runs);
        let count = self.components.label(&mut self.runs, self.size.width, Connectivity::Eight);
        self.keep_large(count);
        self.sum(score);
        self.ids.assign(&self.runs, &self.areas, &mut self.new_ids);
        self.outlines.measure(&self.runs, &self.mask, prediction, self.areas.len());
        self.order();
    }

    /// Writes the obstacles, most anomalous first.
    fn order(&mut self) {
        let (sums, areas) = (&self.sums, &self.areas);
        self.order.clear();
        self.order.extend(0..areas.len() as u32);
        self.order.sort_unstable_by(|&one, &other| {
            let (a, b) = (one as usize, other as usize);
            // No maximum is NaN.
            let by_score = sums[b].max.partial_cmp(&sums[a].max).unwrap_or(Ordering::Equal);
            by_score.then(areas[b].cmp(&areas[a])).then(one.cmp(&other))
        });
        self.obstacles.clear();
        self.obstacles.extend(self.order.iter().map(|&index| {
            let index = index as usize;
            let class = self.outlines.classes()[index];
            sums[index].obstacle(self.new_ids[index], areas[index], class)
        }));
    }

    /// Leaves the runs of components that are large enough, which are numbered anew.
    fn keep_large(&mut self, count: usize) {
        self.kept.clear();
        self.kept.resize(count, 0);
        for run in &self.runs {
            self.kept[run.component as usize] += run.pixels();
        }
        self.areas.clear();
        for kept in &mut self.kept {
            let area = *kept;
            *kept = TOO_SMALL;
            if area as usize >= self.params.minimum_area {
                *kept = self.areas.len() as u32;
                self.areas.push(area);
            }
        }
        let kept = &self.kept;
        self.runs.retain_mut(|run| {
            run.component = kept[run.component as usize];
            run.component != TOO_SMALL
        });
    }

    fn sum(&mut self, score: &[f32]) {
        self.sums.clear();
        self.sums.resize(self.areas.len(), Sums::NONE);
        for &run in &self.runs {
            let pixels = &score[run.start as usize..run.end as usize];
            self.sums[run.component as usize].add(run, pixels, self.size.width);
        }
    }
}

/// `view` in raster order, in `memory`.
fn copied<'a, T: Copy>(memory: &'a mut Vec<T>, view: &ArrayView2<'_, T>) -> &'a [T] {
    memory.clear();
    memory.extend(view.iter().copied());
    memory
}
