//! A web page that shows scenes side by side with the metrics: one file, no scripts, nothing from the network.
//!
//! Pictures are linked by paths relative to the page, so that page and pictures can be moved, zipped or served
//! together. Colours follow the reader's light or dark setting.

use super::html::{self, Cell, escape, paragraph};
use super::table::{METRICS_HEADS, MetricsRow, best_cells, metrics_cells, percent};
use crate::cityscapes::Class;

/// Said on every page whose scenes this repository drew.
pub const SYNTHETIC_SCENES: &str = "These scenes are synthetic: a program drew them, and the network was trained on \
     such drawings alone. The numbers describe these drawings; they say nothing about real streets.";

/// What the page shows, in its order. Texts are plain: they are escaped here. Empty parts are left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Heading, and title of the browser's tab.
    pub title: String,
    /// A paragraph that says what there is to see.
    pub introduction: String,
    /// Set-off remarks, such as [`SYNTHETIC_SCENES`].
    pub notes: Vec<String>,
    /// Metrics by method, over all scenes.
    pub metrics: Vec<MetricsRow>,
    /// Mean intersection over union of the prediction over all scenes, in `0.0..=1.0`.
    pub miou: Option<f64>,
    /// Names and values of what the results depend on: network, device, parameters.
    pub facts: Vec<(String, String)>,
    /// Classes whose colours are to be explained, such as [`CLASSES`](crate::cityscapes::CLASSES).
    pub legend: Vec<Class>,
    /// The scenes.
    pub scenes: Vec<Scene>,
}

/// A scene: one row of pictures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scene {
    /// Heading above the row.
    pub name: String,
    /// From left to right.
    pub pictures: Vec<Picture>,
}

/// A picture of a scene.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picture {
    /// What it shows, such as `max logit`.
    pub caption: String,
    /// Path from the page's folder to the file, with `/` between folders.
    pub path: String,
}

impl Report {
    /// The page, as UTF-8 HTML.
    pub fn to_html(&self) -> String {
        let notes: String = self.notes.iter().map(|note| paragraph(" class=\"note\"", note)).collect();
        let scenes: String = self.scenes.iter().map(scene).collect();
        let body = [
            notes,
            self.numbers(),
            html::legend(self.legend.iter().map(|class| (class.name, class.color))),
            scenes,
        ];
        html::page(&self.title, &self.introduction, "", &body.concat())
    }

    /// The metrics table beside the facts.
    fn numbers(&self) -> String {
        let parts = [self.metrics_table(), self.facts()].concat();
        if parts.is_empty() { parts } else { format!("<section class=\"numbers\">\n{parts}</section>\n") }
    }

    fn metrics_table(&self) -> String {
        let heads: Vec<&str> = ["score"].into_iter().chain(METRICS_HEADS).collect();
        html::table(METRICS_CAPTION, &heads, &metrics_rows(&self.metrics))
    }

    fn facts(&self) -> String {
        let miou = self.miou.map(|miou| format!("{} %", percent(miou)));
        let miou = miou.iter().map(|miou| ("mIoU of the prediction", miou.as_str()));
        html::facts(miou.chain(self.facts.iter().map(|(name, value)| (name.as_str(), value.as_str()))))
    }
}

/// What the metrics table says above its numbers.
pub(super) const METRICS_CAPTION: &str =
    "Unexpected against normal pixels, in percent: AUROC and AP higher is better, FPR95 lower";

/// The rows of the metrics table, with the best of each column marked.
pub(super) fn metrics_rows(metrics: &[MetricsRow]) -> Vec<(String, Vec<Cell>)> {
    let row = |(row, best): (&MetricsRow, [bool; 4])| {
        let cells = metrics_cells(&row.metrics).into_iter().zip(best);
        (row.name.clone(), cells.map(|(text, best)| Cell { text, best }).collect())
    };
    metrics.iter().zip(best_cells(metrics)).map(row).collect()
}

fn scene(scene: &Scene) -> String {
    let figure = |picture: &Picture| {
        let (link, caption) = (html::link(&picture.path), escape(&picture.caption));
        format!(
            "<figure><a href=\"{link}\"><img src=\"{link}\" alt=\"{caption}, {}\" loading=\"lazy\"></a>\
             <figcaption>{caption}</figcaption></figure>\n",
            escape(&scene.name)
        )
    };
    let figures: Vec<String> = scene.pictures.iter().map(figure).collect();
    format!("<section>\n<h2>{}</h2>\n{}</section>\n", escape(&scene.name), html::strip(&figures))
}

#[cfg(test)]
mod tests {
    use super::super::html::tests::assert_well_formed;
    use super::super::table::tests::row;
    use super::*;
    use crate::cityscapes::CLASSES;

    fn full() -> Report {
        let picture = |caption: &str, path: &str| Picture { caption: caption.into(), path: path.into() };
        Report {
            title: "Demo <1>".into(),
            introduction: "a & b".into(),
            notes: vec![SYNTHETIC_SCENES.into()],
            metrics: vec![row("msp", 0.5, 0.1, 0.9), row("sml", 0.9, 0.4, 0.2)],
            miou: Some(0.61234),
            facts: vec![("device".into(), "cpu".into())],
            legend: CLASSES.to_vec(),
            scenes: vec![Scene {
                name: "scene \"1\"".into(),
                pictures: vec![
                    picture("image", "scenes/1 image.png"),
                    picture("max logit", "scenes/1#é.png"),
                ],
            }],
        }
    }

    #[test]
    fn everything_is_on_the_page() {
        let html = full().to_html();
        for part in [
            "<title>Demo &lt;1&gt;</title>",
            "<p>a &amp; b</p>",
            "These scenes are synthetic",
            "<tr><th scope=\"row\">sml</th><td class=\"best\">90.00<span class=\"aloud\"> best</span></td>",
            "<tr><th scope=\"row\">msp</th><td>50.00</td><td>10.00</td><td>90.00</td>",
            "<dt>mIoU of the prediction</dt><dd>61.23 %</dd>",
            "<dt>device</dt><dd>cpu</dd>",
            "<span style=\"background:#804080\"></span>road",
            "<h2>scene &quot;1&quot;</h2>",
            "--pictures:2",
            "src=\"./scenes/1%20image.png\" alt=\"image, scene &quot;1&quot;\"",
            "href=\"./scenes/1%23%C3%A9.png\"",
        ] {
            assert!(html.contains(part), "{part} is not in {html}");
        }
    }

    #[test]
    fn the_page_needs_nothing_but_its_pictures() {
        let html = full().to_html();
        for foreign in ["<script", "http:", "https:", "//", "<link", "@import", "url("] {
            assert!(!html.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn elements_are_closed_in_order() {
        assert_well_formed(&full().to_html());
    }

    #[test]
    fn texts_cannot_become_markup() {
        let attack = "\"><script>alert('1')</script>";
        let report = Report {
            title: attack.into(),
            introduction: attack.into(),
            notes: vec![attack.into()],
            metrics: vec![row(attack, 0.5, 0.5, 0.5)],
            facts: vec![(attack.into(), attack.into())],
            scenes: vec![Scene {
                name: attack.into(),
                pictures: vec![Picture { caption: attack.into(), path: format!("javascript:{attack}") }],
            }],
            ..Report::default()
        };
        let html = report.to_html();
        assert!(!html.contains("<script") && !html.contains("javascript:"), "{html}");
    }

    #[test]
    fn empty_parts_are_left_out() {
        let html = Report::default().to_html();
        for part in ["<p", "<table", "<dl", "<ul", "<section"] {
            assert!(!html.contains(part), "{part}");
        }
    }
}
