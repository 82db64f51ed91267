//! Tables of metrics: their cells, and their form on a terminal.

use crate::metrics::AnomalyMetrics;

/// Metrics of one method.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricsRow {
    /// Name of the method, such as `msp` or `+smoothing`.
    pub name: String,
    /// Its metrics over all pixels.
    pub metrics: AnomalyMetrics,
}

/// Heads of the columns, in percent. The two FPR95 differ in how they read the curve between thresholds, see
/// [`AnomalyMetrics`].
pub const METRICS_HEADS: [&str; 4] = ["AUROC", "AP", "FPR95", "FPR95 interp."];

/// The numbers of a row in the order of [`METRICS_HEADS`], in percent with two decimals.
pub fn metrics_cells(metrics: &AnomalyMetrics) -> [String; 4] {
    [metrics.auroc, metrics.ap, metrics.fpr95, metrics.fpr95_interp].map(percent)
}

/// A share as percent with two decimals, without the sign.
pub fn percent(share: f64) -> String {
    format!("{:.2}", share * 100.0)
}

/// For each row, which of its numbers are the best of their column (ties share): the largest AUROC and AP, the
/// smallest FPR95. With fewer than two rows none is.
pub fn best_cells(rows: &[MetricsRow]) -> Vec<[bool; 4]> {
    if rows.len() < 2 {
        return vec![[false; 4]; rows.len()];
    }
    // Larger is better in each of these.
    let merits = |row: &MetricsRow| {
        let m = &row.metrics;
        [m.auroc, m.ap, -m.fpr95, -m.fpr95_interp]
    };
    let best = rows.iter().map(merits).fold([f64::NEG_INFINITY; 4], |best, row| {
        std::array::from_fn(|column| best[column].max(row[column]))
    });
    rows.iter().map(|row| std::array::from_fn(|column| merits(row)[column] == best[column])).collect()
}

/// The metrics of several methods as text, in percent, columns aligned, each line with its end.
pub fn metrics_text(rows: &[MetricsRow]) -> String {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| std::iter::once(row.name.clone()).chain(metrics_cells(&row.metrics)).collect())
        .collect();
    let heads: Vec<&str> = std::iter::once("%").chain(METRICS_HEADS).collect();
    text_table(&heads, &cells)
}

/// Any table as text: the first column to the left, the others to the right, two spaces between, a line under the
/// heads. Rows may be shorter than the heads, and what they have beyond them is left out.
pub fn text_table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
    let widths: Vec<usize> = (0..heads.len())
        .map(|column| {
            let widest = rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
            widest.max(heads[column].chars().count())
        })
        .collect();
    let line = |cells: Vec<String>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (text, &width))| match column {
                0 => format!("{text:<width$}"),
                _ => format!("{text:>width$}"),
            })
            .collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let rule = widths.iter().map(|&width| "-".repeat(width)).collect();
    let mut text = line(heads.iter().map(|&head| head.to_owned()).collect()) + &line(rule);
    for row in rows {
        text += &line((0..heads.len()).map(|column| cell(row, column)).collect());
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn row(name: &str, auroc: f64, ap: f64, fpr95: f64) -> MetricsRow {
        let metrics = AnomalyMetrics {
            auroc,
            ap,
            fpr95,
            fpr95_interp: fpr95,
            positives: 10,
            negatives: 90,
            ignored: 0,
        };
        MetricsRow { name: name.to_owned(), metrics }
    }

    #[test]
    fn columns_line_up() {
        let text = metrics_text(&[row("msp", 0.5, 0.0312, 1.0), row("+smoothing", 0.98765, 0.4, 0.05)]);
        let want = "\
%           AUROC     AP   FPR95  FPR95 interp.
----------  -----  -----  ------  -------------
msp         50.00   3.12  100.00         100.00
+smoothing  98.77  40.00    5.00           5.00
";
        assert_eq!(text, want);
    }

    #[test]
    fn widths_count_characters_and_missing_cells_stay_empty() {
        let rows = [vec!["größe".to_owned(), "1".to_owned()], vec!["x".to_owned()]];
        assert_eq!(text_table(&["a", "b"], &rows), "a      b\n-----  -\ngröße  1\nx\n");
        assert_eq!(text_table(&["a", "b"], &[]), "a  b\n-  -\n");
    }

    #[test]
    fn best_is_highest_but_for_fpr95() {
        let rows = [row("a", 0.9, 0.2, 0.3), row("b", 0.8, 0.4, 0.3), row("c", 0.9, 0.1, 0.5)];
        let best = best_cells(&rows);
        assert_eq!(best[0], [true, false, true, true]);
        assert_eq!(best[1], [false, true, true, true]);
        assert_eq!(best[2], [true, false, false, false]);
        assert_eq!(best_cells(&rows[..1]), [[false; 4]]);
    }
}
