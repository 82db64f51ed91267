//! The metrics as their definitions read, in O(n^2): nothing is shared with the library.

/// What the literal computation gives.
#[derive(Debug, Clone, Copy)]
pub struct Literal {
    pub auroc: f64,
    pub ap: f64,
    pub fpr95: f64,
    pub fpr95_interp: f64,
}

/// Metrics of scores with their labels, 1 or 0; others are ignored.
pub fn metrics(scores: &[f64], labels: &[u8]) -> Literal {
    let of = |wanted: u8| -> Vec<f64> {
        scores.iter().zip(labels).filter(|(_, label)| **label == wanted).map(|(score, _)| *score).collect()
    };
    let (positives, negatives) = (of(1), of(0));
    let (p, n) = (positives.len() as f64, negatives.len() as f64);
    let wins: f64 = positives
        .iter()
        .flat_map(|a| {
            negatives.iter().map(move |b| {
                if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                }
            })
        })
        .sum();
    let mut thresholds: Vec<f64> = positives.iter().chain(&negatives).copied().collect();
    thresholds.sort_by(|a, b| b.total_cmp(a));
    thresholds.dedup();
    let at = |list: &[f64], threshold: f64| list.iter().filter(|score| **score >= threshold).count() as f64;
    let mut curve = vec![(0.0, 0.0)];
    let (mut ap, mut recall) = (0.0, 0.0);
    for &threshold in &thresholds {
        let (found, alarms) = (at(&positives, threshold), at(&negatives, threshold));
        ap += (found / p - recall) * found / (found + alarms);
        recall = found / p;
        curve.push((recall, alarms / n));
    }
    let fpr95 = curve.iter().find(|(tpr, _)| *tpr >= 0.95).unwrap().1;
    // numpy.interp(0.95, tpr, fpr): the last point at or below, and the one behind it.
    let below = curve.iter().rposition(|(tpr, _)| *tpr <= 0.95).unwrap();
    let (x0, y0) = curve[below];
    let fpr95_interp = match curve.get(below + 1) {
        Some((x1, y1)) => y0 + (y1 - y0) * (0.95 - x0) / (x1 - x0),
        None => y0,
    };
    Literal { auroc: wins / (p * n), ap, fpr95, fpr95_interp }
}
