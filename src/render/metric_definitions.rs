//! What the numbers of an evaluation mean, in words that are printed with them.

/// A metric with its definition, its better end and the pixels that it leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricDefinition {
    /// Name as tables print it.
    pub name: &'static str,
    /// What is computed.
    pub definition: &'static str,
    /// `higher` or `lower`.
    pub better: &'static str,
    /// Which pixels, classes or components take no part.
    pub ignored: &'static str,
}

const PIXELS: &str = "pixels labelled neither unexpected (1) nor normal (0)";

/// The metrics over pixels: AUROC, AP and both FPR95, pooled over all images.
pub const PIXEL_METRICS: [MetricDefinition; 4] = [
    MetricDefinition {
        name: "AUROC",
        definition: "Chance that an unexpected pixel scores higher than a normal one, a tie counting one half: the \
                     area under the ROC curve by the trapezoid rule.",
        better: "higher",
        ignored: PIXELS,
    },
    MetricDefinition {
        name: "AP",
        definition: "Average precision: the sum of recall gained times precision over all distinct thresholds, \
                     without interpolation.",
        better: "higher",
        ignored: PIXELS,
    },
    MetricDefinition {
        name: "FPR95",
        definition: "Share of the normal pixels called unexpected at the highest threshold that finds at least 95 % \
                     of the unexpected ones.",
        better: "lower",
        ignored: PIXELS,
    },
    MetricDefinition {
        name: "FPR95 interp.",
        definition: "The same at a true positive rate of exactly 95 %, on straight lines between the points of the \
                     ROC curve.",
        better: "lower",
        ignored: PIXELS,
    },
];

/// The metrics over components of SegmentMeIfYouCan.
pub const COMPONENT_METRICS: [MetricDefinition; 3] = [
    MetricDefinition {
        name: "sIoU",
        definition: "Mean over the labelled components of intersection over union with the predicted pixels of the \
                     components that they touch, without those that belong to other labelled components.",
        better: "higher",
        ignored: "ignored pixels, and components below the minimum size of the benchmark's track",
    },
    MetricDefinition {
        name: "PPV",
        definition: "Mean over the predicted components of the share of their pixels that is unexpected.",
        better: "higher",
        ignored: "ignored pixels, and components below the minimum size of the benchmark's track",
    },
    MetricDefinition {
        name: "mean F1",
        definition: "F1 of found components, averaged over the sIoU from which one counts as found: 0.25, 0.30 \
                     ... 0.75.",
        better: "higher",
        ignored: "ignored pixels, and components below the minimum size of the benchmark's track",
    },
];

/// The metrics of the closed set and of single classes.
pub const CLASS_METRICS: [MetricDefinition; 2] = [
    MetricDefinition {
        name: "mIoU",
        definition: "Mean over the known classes of intersection over union between prediction and labels.",
        better: "higher",
        ignored: "pixels without a train id (255), and classes that neither labels nor prediction hold",
    },
    MetricDefinition {
        name: "AUROC by class",
        definition: "AUROC over the pixels for which the network predicts the class.",
        better: "higher",
        ignored: "ignored pixels; classes that lack unexpected or normal pixels have none",
    },
];

/// The sign of every score.
pub const SIGN: &str = "Every score is an anomaly score: higher means more anomalous, and a pixel is called unexpected \
     when its score is at or above the threshold. Scores that measure how normal a pixel is (MSP, max logit, SML) \
     therefore enter with a minus.";

/// What each score is, by the name that results carry.
pub const SCORES: [(&str, &str); 7] = [
    ("msp", "minus the maximum softmax probability (Hendrycks and Gimpel, 2017)"),
    ("max_logit", "minus the maximum logit (Hendrycks et al., 2022)"),
    ("entropy", "entropy of the softmax, divided by its largest value"),
    ("energy", "minus the log-sum-exp of the logits (Liu et al., 2020)"),
    (
        "sml",
        "minus the maximum logit, standardized with mean and variance of the predicted class (Jung et al., 2021)",
    ),
    ("sml+suppression", "sml with false alarms along class boundaries suppressed iteratively"),
    ("sml+suppression+smoothing", "the whole method: smoothed with a dilated Gaussian at the end"),
];
