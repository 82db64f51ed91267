//! Obstacles for C: from the anomaly map in host memory to boxes with ids over frames.

#![allow(unsafe_code)]

use ndarray::ArrayView2;

use super::arguments::{Out, slice};
use super::frame::versioned;
use super::handles::Handles;
use super::params::{self, sml_params};
use super::statistics::{self, sml_statistics};
use super::status::{
    Failure, Outcome, SML_ERROR_INVALID_HANDLE, SML_ERROR_SHAPE, SML_ERROR_STATISTICS, guard, sml_status,
};
use super::versioned::{self, Versioned};
use crate::obstacles::{DrivableArea, Obstacle, ObstacleFinder, ObstacleParams};
use crate::{Error, OperatingPoints, Params, Result, Size};

/// Finds obstacles in one anomaly map after the other, and follows them: 8-connected components of pixels whose score
/// reaches a threshold.
pub struct sml_obstacle_finder {
    _opaque: [u8; 0],
}

/// What counts as an obstacle, and how large the maps are.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sml_obstacle_options {
    /// sizeof(sml_obstacle_options).
    pub struct_size: usize,
    /// Rows of the maps.
    pub height: usize,
    /// Columns of the maps.
    pub width: usize,
    /// Anomaly score from which on a pixel belongs to an obstacle: a finite number.
    pub threshold: f32,
    /// 0.
    pub reserved: i32,
    /// Pixels that an obstacle has at least; 0 for 50.
    pub minimum_area: usize,
    /// Predicted classes that can be driven on, with Cityscapes 0 the road and 1 the pavement: obstacles are looked for on
    /// them and in their holes. NULL for the whole picture.
    pub drivable_classes: *const u8,
    /// Number of these classes.
    pub drivable_count: usize,
    /// Rows and columns that the drivable area reaches further, in pixels.
    pub drivable_margin: usize,
}

/// An unexpected object.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sml_obstacle {
    /// sizeof(sml_obstacle), set by the caller. The library sets the others.
    pub struct_size: usize,
    /// The same from frame to frame as long as the object overlaps itself; from 1 on, never used again for another.
    pub id: u64,
    /// First column of the smallest rectangle around its pixels.
    pub left: u32,
    /// First row of the rectangle.
    pub top: u32,
    /// Columns of the rectangle.
    pub width: u32,
    /// Rows of the rectangle.
    pub height: u32,
    /// Number of its pixels.
    pub area: u32,
    /// Mean anomaly score of its pixels.
    pub mean_score: f32,
    /// Highest anomaly score of its pixels.
    pub max_score: f32,
    /// Mean column of its pixels; whole numbers are pixel centres.
    pub centroid_column: f32,
    /// Mean row of its pixels.
    pub centroid_row: f32,
    /// The class predicted along most of its outline; -1 where it fills the picture.
    pub surrounding_class: i32,
}

versioned! {
    sml_obstacle_options: 64
    sml_obstacle: 56
}

/// A finder, and the maps that it is for.
struct HeldFinder {
    finder: ObstacleFinder,
    size: Size,
}

static FINDERS: Handles<HeldFinder> = Handles::new("obstacle_finder");

fn with<T>(
    handle: *const sml_obstacle_finder,
    work: impl FnOnce(&mut HeldFinder) -> Outcome<T>,
) -> Outcome<T> {
    let finder = FINDERS.get(handle)?;
    work(&mut *FINDERS.lock(&finder)?)
}

/// Makes a finder, and allocates all that it will need. `*finder`: the new handle, NULL after a failure.
///
/// # Safety
/// `options` points to a structure as long as it says, whose `drivable_classes` are NULL or as many as it says; `finder` may be
/// written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_obstacle_finder_create(
    options: *const sml_obstacle_options,
    finder: *mut *mut sml_obstacle_finder,
) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let (out, options) =
            unsafe { (Out::new(finder, std::ptr::null_mut(), "finder")?, versioned::read(options)?) };
        if options.reserved != 0 {
            return Err(Failure::argument(format!(
                "reserved of the options is {}: expected 0",
                options.reserved
            )));
        }
        let drivable = if options.drivable_classes.is_null() {
            None
        } else {
            // SAFETY: the caller's duty.
            let classes =
                unsafe { slice(options.drivable_classes, options.drivable_count, "drivable_classes") }?;
            Some(DrivableArea { classes: classes.to_vec(), margin: options.drivable_margin })
        };
        let minimum_area = match options.minimum_area {
            0 => ObstacleParams::MINIMUM_AREA,
            pixels => pixels,
        };
        let params = ObstacleParams { threshold: options.threshold, minimum_area, drivable };
        let size = Size::new(options.height, options.width);
        check_memory(size)?;
        out.set(FINDERS.insert(HeldFinder { finder: ObstacleFinder::new(params, size)?, size })?);
        Ok(())
    })
}

/// Refuses maps for which there is no memory: a failed allocation would end the process.
fn check_memory(size: Size) -> Outcome {
    /// More than a finder reserves for a pixel.
    const BYTES_PER_PIXEL: usize = 64;
    let bytes = size.height.saturating_mul(size.width).saturating_mul(BYTES_PER_PIXEL);
    Vec::<u8>::new().try_reserve_exact(bytes).map_err(|_| {
        Failure::new(
            SML_ERROR_SHAPE,
            format!("size of the maps is {size}: expected one that fits into memory"),
        )
    })
}

/// Finds the obstacles of one image, and gives those that overlap one of the image before its id. `*count`: how many there
/// are, 0 after a failure; sml_obstacle_finder_get tells of each. Allocates nothing.
///
/// # Safety
/// `score` and `prediction` point to as many pixels as the finder was made for, packed, which nobody writes to during the
/// call; `count` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_obstacle_finder_find(
    finder: *mut sml_obstacle_finder,
    score: *const f32,
    prediction: *const u8,
    count: *mut usize,
) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let out = unsafe { Out::new(count, 0, "count") }?;
        let found = with(finder, |held| {
            let Size { height, width } = held.size;
            let pixels = height * width;
            // SAFETY: the caller's duty; the finder was made for that many.
            let (score, prediction) =
                unsafe { (slice(score, pixels, "score")?, slice(prediction, pixels, "prediction")?) };
            let view = |error: ndarray::ShapeError| Failure::argument(error.to_string());
            let score = ArrayView2::from_shape((height, width), score).map_err(view)?;
            let prediction = ArrayView2::from_shape((height, width), prediction).map_err(view)?;
            Ok(held.finder.find(score, prediction)?.len())
        })?;
        out.set(found);
        Ok(())
    })
}

/// One of the obstacles of the latest image, counted from 0, most anomalous first: by maximum score, of equal ones by area,
/// then by their first pixels.
///
/// # Safety
/// `obstacle` points to a structure as long as it says, which may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_obstacle_finder_get(
    finder: *const sml_obstacle_finder,
    index: usize,
    obstacle: *mut sml_obstacle,
) -> sml_status {
    guard(|| {
        let found = with(finder, |held| {
            let obstacles = held.finder.obstacles();
            obstacles.get(index).copied().ok_or_else(|| {
                let count = obstacles.len();
                Failure::argument(format!("index of the obstacle is {index}: expected less than {count}"))
            })
        })?;
        // SAFETY: the caller's duty.
        unsafe { versioned::write(obstacle, &sml_obstacle::from(found)) }
    })
}

impl From<Obstacle> for sml_obstacle {
    fn from(obstacle: Obstacle) -> Self {
        Self {
            struct_size: size_of::<Self>(),
            id: obstacle.id,
            left: obstacle.bounding_box.left,
            top: obstacle.bounding_box.top,
            width: obstacle.bounding_box.width,
            height: obstacle.bounding_box.height,
            area: obstacle.area,
            mean_score: obstacle.mean_score,
            max_score: obstacle.max_score,
            centroid_column: obstacle.centroid.0,
            centroid_row: obstacle.centroid.1,
            surrounding_class: obstacle.surrounding_class.map_or(-1, i32::from),
        }
    }
}

/// Forgets the latest image, where another scene begins: all obstacles of the next one get new ids.
#[unsafe(no_mangle)]
pub extern "C" fn sml_obstacle_finder_forget(finder: *mut sml_obstacle_finder) -> sml_status {
    guard(|| {
        with(finder, |held| {
            held.finder.forget();
            Ok(())
        })
    })
}

/// Ends a finder. NULL is allowed.
#[unsafe(no_mangle)]
pub extern "C" fn sml_obstacle_finder_destroy(finder: *mut sml_obstacle_finder) -> sml_status {
    guard(|| FINDERS.remove(finder))
}

/// The threshold at which the fraction `rate` (0 to 1) of normal pixels is reported wrongly, out of a calibration that
/// measured thresholds with these parameters (NULL for the paper's). `*threshold` is NaN after a failure.
///
/// # Safety
/// `threshold` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_statistics_threshold_at_fpr(
    statistics: *const sml_statistics,
    params: *const sml_params,
    rate: f64,
    threshold: *mut f32,
) -> sml_status {
    // SAFETY: the caller's duty.
    unsafe { look_up(statistics, params, threshold, |points, params| points.threshold_at_fpr(rate, params)) }
}

/// The threshold at which the fraction `rate` (0 to 1) of unexpected pixels is found, as sml_statistics_threshold_at_fpr.
///
/// # Safety
/// `threshold` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sml_statistics_threshold_at_tpr(
    statistics: *const sml_statistics,
    params: *const sml_params,
    rate: f64,
    threshold: *mut f32,
) -> sml_status {
    // SAFETY: the caller's duty.
    unsafe { look_up(statistics, params, threshold, |points, params| points.threshold_at_tpr(rate, params)) }
}

/// # Safety
/// `threshold` may be written to.
unsafe fn look_up(
    statistics: *const sml_statistics,
    params: *const sml_params,
    threshold: *mut f32,
    look_up: impl FnOnce(&OperatingPoints, &Params) -> Result<f32, Error>,
) -> sml_status {
    guard(|| {
        // SAFETY: the caller's duty.
        let out = unsafe { Out::new(threshold, f32::NAN, "threshold") }?;
        let params = params::of_handle(params)?;
        let statistics = statistics::of_handle(statistics)?
            .ok_or_else(|| Failure::new(SML_ERROR_INVALID_HANDLE, "the statistics are NULL"))?;
        let points = statistics.operating_points().ok_or_else(|| {
            let message = "no thresholds were measured with these statistics: use those of `sml calibrate --thresholds`";
            Failure::new(SML_ERROR_STATISTICS, message)
        })?;
        out.set(look_up(points, &params)?);
        Ok(())
    })
}
