//! How cost grows: lines through the points of a sweep, and why a point does not lie on them.

use super::machine::last_level_cache;
use super::report::{Sweep, SweepPoint};
use super::sweep::Axis;

/// Beyond this share of the median, cost is not called flat.
pub(super) const FLAT: f64 = 0.15;

/// Fits the lines, and finds what is not flat.
pub(super) fn of(axis: Axis, stage: String, mut points: Vec<SweepPoint>, left_out: Vec<String>) -> Sweep {
    let places: Vec<(f64, f64)> = points.iter().map(|point| (point.x, point.p50_us)).collect();
    let slope = slope(&places);
    // Threads share the work: more of them are not more of it.
    let line = if axis == Axis::Threads { None } else { line(&places) };
    if axis.is_of_pixels() {
        let typical = Typical::of(&points, line.map(|(fixed, _)| fixed));
        for point in &mut points {
            let deviation = typical.deviation(point);
            point.deviation = Some(deviation);
            point.reason = typical.reason(point, deviation);
        }
    }
    Sweep {
        axis: axis.name().to_owned(),
        stage,
        points,
        slope,
        fixed_us: line.map(|(fixed, _)| fixed),
        unit_us: line.map(|(_, unit)| unit),
        left_out,
    }
}

/// What points are compared with.
struct Typical {
    /// Median of the cost per pixel, and of the bytes of the inputs.
    ns_per_pixel: f64,
    input_bytes: f64,
    /// What every frame costs whatever its size, by the fitted line, and what that comes to for a pixel of the median point.
    fixed_us: f64,
    fixed_ns_per_pixel: f64,
    /// The last-level cache.
    cache: Option<f64>,
}

impl Typical {
    fn of(points: &[SweepPoint], fixed_us: Option<f64>) -> Self {
        let ns_per_pixel = median(points.iter().map(|point| point.ns_per_pixel).collect());
        let fixed_us = fixed_us.filter(|&fixed| fixed > 0.0).unwrap_or_default();
        let middle = points.iter().find(|point| point.ns_per_pixel == ns_per_pixel);
        Self {
            ns_per_pixel,
            input_bytes: median(points.iter().map(|point| point.input_bytes as f64).collect()),
            fixed_us,
            fixed_ns_per_pixel: middle.map_or(0.0, |point| fixed_us * point.ns_per_pixel / point.p50_us),
            cache: last_level_cache().map(|bytes| bytes as f64),
        }
    }

    fn deviation(&self, point: &SweepPoint) -> f64 {
        if self.ns_per_pixel > 0.0 { point.ns_per_pixel / self.ns_per_pixel - 1.0 } else { 0.0 }
    }

    /// What was measured that explains a cost; says so where nothing does.
    fn reason(&self, point: &SweepPoint, deviation: f64) -> Option<String> {
        if deviation.abs() <= FLAT {
            return None;
        }
        let (dearer, excess) = (deviation > 0.0, point.ns_per_pixel - self.ns_per_pixel);
        // What explains half of it or more is named.
        let by_fixed = self.fixed_us * point.ns_per_pixel / point.p50_us - self.fixed_ns_per_pixel;
        if by_fixed / excess >= 0.5 {
            let Self { fixed_us, .. } = self;
            let share = 100.0 * fixed_us / point.p50_us;
            let weight = if dearer { "" } else { "only " };
            return Some(format!(
                "{fixed_us:.0} us a frame whatever its size, by the fitted line, are {weight}{share:.0} % of it"
            ));
        }
        let (inputs, cache) = (point.input_bytes as f64, self.cache.unwrap_or(f64::NAN));
        let (megabytes, of) = (inputs / 1e6, cache / 1e6);
        if !dearer && inputs <= cache && self.input_bytes > cache {
            return Some(format!(
                "its inputs, {megabytes:.1} MB, stay in the last-level cache of {of:.1} MB"
            ));
        }
        if dearer && inputs > cache && self.input_bytes <= cache {
            return Some(format!("its inputs, {megabytes:.1} MB, exceed the last-level cache of {of:.1} MB"));
        }
        Some(
            "not explained by what was measured: noise, or an effect of the caches within a frame".to_owned(),
        )
    }
}

/// Of the logarithms, by least squares.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let logarithms: Vec<(f64, f64)> =
        points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0).map(|(x, y)| (x.ln(), y.ln())).collect();
    weighted_line(logarithms.into_iter().map(|(x, y)| (x, y, 1.0))).map(|(_, slope)| slope)
}

/// Value at zero and rise, where every point's error counts relative to the point: else the largest alone would count.
fn line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let positive = points.iter().filter(|(_, y)| *y > 0.0);
    weighted_line(positive.map(|&(x, y)| (x, y, 1.0 / (y * y))))
}

fn weighted_line(points: impl Iterator<Item = (f64, f64, f64)>) -> Option<(f64, f64)> {
    let points: Vec<(f64, f64, f64)> = points.collect();
    let weight: f64 = points.iter().map(|(.., w)| w).sum();
    let mean =
        |value: fn(&(f64, f64, f64)) -> f64| points.iter().map(|p| p.2 * value(p)).sum::<f64>() / weight;
    let (x_mean, y_mean) = (mean(|p| p.0), mean(|p| p.1));
    let across: f64 = points.iter().map(|(x, _, w)| w * (x - x_mean).powi(2)).sum();
    let both: f64 = points.iter().map(|(x, y, w)| w * (x - x_mean) * (y - y_mean)).sum();
    (points.len() >= 2 && across > 0.0).then(|| {
        let rise = both / across;
        (y_mean - rise * x_mean, rise)
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f64, p50_us: f64, input_bytes: u64) -> SweepPoint {
        SweepPoint {
            x,
            shape: "1x19x1x1".to_owned(),
            p50_us,
            p99_us: p50_us,
            ns_per_pixel: p50_us / x,
            deviation: None,
            input_bytes,
            reason: None,
        }
    }

    fn close(found: Option<f64>, want: f64) {
        assert!(found.is_some_and(|found| (found - want).abs() < 1e-9), "{found:?} for {want}");
    }

    #[test]
    fn proportional_cost_is_flat_with_slope_one() {
        let points = [1.0, 2.0, 4.0, 8.0].map(|x| point(x, 5.0 * x, 10)).to_vec();
        let sweep = of(Axis::Sizes, "all".to_owned(), points, Vec::new());
        close(sweep.slope, 1.0);
        close(sweep.fixed_us, 0.0);
        close(sweep.unit_us, 5.0);
        for point in sweep.points {
            close(point.deviation, 0.0);
            assert_eq!(point.reason, None);
        }
    }

    #[test]
    fn a_fixed_cost_is_found_and_named() {
        let points = [1.0, 10.0, 100.0, 1000.0].map(|x| point(x, 40.0 + 5.0 * x, 10)).to_vec();
        let sweep = of(Axis::Sizes, "all".to_owned(), points, Vec::new());
        close(sweep.fixed_us, 40.0);
        close(sweep.unit_us, 5.0);
        assert!(sweep.slope.is_some_and(|slope| slope < 0.9));
        let told = |place: usize| sweep.points[place].reason.clone().unwrap();
        assert!(told(0).starts_with("40 us a frame") && told(0).contains("are 89 %"), "{}", told(0));
        assert!(sweep.points[1].reason.is_none(), "the median");
        assert!(told(3).starts_with("40 us a frame") && told(3).contains("are only 1 %"), "{}", told(3));
    }

    #[test]
    fn caches_explain_only_what_lies_on_their_side() {
        let typical = |input_bytes, cache| Typical {
            ns_per_pixel: 1.0,
            input_bytes,
            fixed_us: 0.0,
            fixed_ns_per_pixel: 0.0,
            cache,
        };
        let cache = Some(1e6);
        let cheap = |bytes| point(1.0, 0.7, bytes);
        let dear = |bytes| point(1.0, 1.3, bytes);
        let told = |typical: Typical, point: SweepPoint| {
            let deviation = typical.deviation(&point);
            typical.reason(&point, deviation).unwrap()
        };
        assert!(told(typical(5e6, cache), cheap(500_000)).contains("0.5 MB, stay in"));
        assert!(told(typical(5e5, cache), dear(5_000_000)).contains("exceed"));
        assert!(told(typical(5e5, cache), cheap(5_000_000)).contains("not explained"));
        assert!(told(typical(5e5, None), dear(5_000_000)).contains("not explained"));
        assert_eq!(typical(5e5, cache).reason(&point(1.0, 1.15, 1), 0.15), None);
    }

    #[test]
    fn threads_have_a_slope_and_no_line() {
        let points = [1.0, 2.0, 4.0].map(|x| point(x, 8.0 / x, 10)).to_vec();
        let sweep = of(Axis::Threads, "all".to_owned(), points, Vec::new());
        close(sweep.slope, -1.0);
        assert_eq!((sweep.fixed_us, sweep.unit_us), (None, None));
        assert!(sweep.points.iter().all(|point| point.deviation.is_none()));
        let one = of(Axis::Threads, "all".to_owned(), vec![point(1.0, 1.0, 1)], Vec::new());
        assert_eq!(one.slope, None);
    }
}
