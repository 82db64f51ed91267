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
        let typical = median(points.iter().map(|point| point.ns_per_pixel).collect());
        let cache = last_level_cache();
        let typical_bytes = median(points.iter().map(|point| point.input_bytes as f64).collect());
        for point in &mut points {
            let deviation = if typical > 0.0 { point.ns_per_pixel / typical - 1.0 } else { 0.0 };
            point.deviation = Some(deviation);
            point.reason = reason(point, deviation, line.map(|(fixed, _)| fixed), cache, typical_bytes);
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

/// What was measured that explains a cost; says so where nothing does.
fn reason(
    point: &SweepPoint,
    deviation: f64,
    fixed_us: Option<f64>,
    cache: Option<u64>,
    typical_bytes: f64,
) -> Option<String> {
    if deviation.abs() <= FLAT {
        return None;
    }
    let megabytes = |bytes: f64| bytes / 1e6;
    let inputs = point.input_bytes as f64;
    let fixed = fixed_us.filter(|&fixed| fixed > 0.0).unwrap_or_default();
    // A fixed cost explains what it makes up half of at least.
    if deviation > 0.0 && fixed / point.p50_us >= 0.5 * deviation / (1.0 + deviation) {
        let share = 100.0 * fixed / point.p50_us;
        return Some(format!(
            "{fixed:.0} us a frame whatever its size, by the fitted line, are {share:.0} % of it"
        ));
    }
    let cache = cache.map(|bytes| bytes as f64);
    if let Some(cache) = cache.filter(|&cache| deviation < 0.0 && inputs <= cache && typical_bytes > cache) {
        let (inputs, cache) = (megabytes(inputs), megabytes(cache));
        return Some(format!("its inputs, {inputs:.1} MB, stay in the last-level cache of {cache:.1} MB"));
    }
    if let Some(cache) = cache.filter(|&cache| deviation > 0.0 && inputs > cache && typical_bytes <= cache) {
        let (inputs, cache) = (megabytes(inputs), megabytes(cache));
        return Some(format!("its inputs, {inputs:.1} MB, exceed the last-level cache of {cache:.1} MB"));
    }
    Some("not explained by what was measured: noise, or an effect of the caches within a frame".to_owned())
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
        let reason = sweep.points[0].reason.clone().unwrap();
        assert!(reason.starts_with("40 us a frame") && reason.contains("89 %"), "{reason}");
        assert_eq!(sweep.points[3].reason, None);
    }

    #[test]
    fn caches_explain_only_what_lies_on_their_side() {
        let cache = Some(1_000_000);
        let small = point(1.0, 1.0, 500_000);
        let told = reason(&small, -0.3, Some(0.0), cache, 5e6).unwrap();
        assert!(told.contains("0.5 MB, stay in"), "{told}");
        let large = point(1.0, 1.0, 5_000_000);
        assert!(reason(&large, 0.3, None, cache, 5e5).unwrap().contains("exceed"));
        assert!(reason(&large, -0.3, None, cache, 5e5).unwrap().contains("not explained"));
        assert!(reason(&large, 0.3, None, None, 5e5).unwrap().contains("not explained"));
        assert_eq!(reason(&large, 0.15, None, cache, 5e5), None);
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
