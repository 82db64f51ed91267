//! A web page that shows scenes side by side with the metrics: one file, no scripts, nothing from the network.
//!
//! Pictures are linked by paths relative to the page, so that page and pictures can be moved, zipped or served
//! together. Colours follow the reader's light or dark setting.

use super::table::{METRICS_HEADS, MetricsRow, best_cells, metrics_cells, percent};
use crate::cityscapes::Class;

/// Said on every page whose scenes this repository drew.
pub const SYNTHETIC_SCENES: &str = "These scenes are synthetic: a program drew them, and the network was trained on \
     such drawings alone. The numbers describe these drawings; they say nothing about real streets.";

const STYLE: &str = include_str!("report.css");

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
        let title = escape(&self.title);
        let scenes: String = self.scenes.iter().map(scene).collect();
        let head = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n"
        );
        let body = [
            format!("<header>\n<h1>{title}</h1>\n{}</header>\n", paragraph("", &self.introduction)),
            self.notes.iter().map(|note| paragraph(" class=\"note\"", note)).collect(),
            self.numbers(),
            self.legend(),
            scenes,
        ];
        format!("{head}<body>\n{}</body>\n</html>\n", body.concat())
    }

    /// The metrics table beside the facts.
    fn numbers(&self) -> String {
        let parts = [self.metrics_table(), self.facts()].concat();
        if parts.is_empty() { parts } else { format!("<section class=\"numbers\">\n{parts}</section>\n") }
    }

    fn metrics_table(&self) -> String {
        if self.metrics.is_empty() {
            return String::new();
        }
        let heads: String =
            METRICS_HEADS.iter().map(|head| format!("<th scope=\"col\">{}</th>", escape(head))).collect();
        let rows: String = self
            .metrics
            .iter()
            .zip(best_cells(&self.metrics))
            .map(|(row, best)| {
                let cells: String = metrics_cells(&row.metrics)
                    .iter()
                    .zip(best)
                    .map(|(text, best)| {
                        format!("<td{}>{text}</td>", if best { " class=\"best\"" } else { "" })
                    })
                    .collect();
                format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escape(&row.name))
            })
            .collect();
        format!(
            "<div class=\"scroll\"><table>\n<caption>Unexpected against normal pixels, in percent: AUROC and AP \
             higher is better, FPR95 lower</caption>\n\
             <thead><tr><th scope=\"col\">score</th>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
        )
    }

    fn facts(&self) -> String {
        let miou =
            self.miou.map(|miou| ("mIoU of the prediction".to_owned(), format!("{} %", percent(miou))));
        let facts: String = miou
            .iter()
            .chain(&self.facts)
            .map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value)))
            .collect();
        if facts.is_empty() { facts } else { format!("<dl>\n{facts}</dl>\n") }
    }

    fn legend(&self) -> String {
        let items: String = self
            .legend
            .iter()
            .map(|Class { name, color: [r, g, b] }| {
                format!(
                    "<li><span style=\"background:#{r:02x}{g:02x}{b:02x}\"></span>{}</li>\n",
                    escape(name)
                )
            })
            .collect();
        if items.is_empty() {
            items
        } else {
            format!("<ul class=\"legend\" aria-label=\"Colours of the prediction\">\n{items}</ul>\n")
        }
    }
}

fn scene(scene: &Scene) -> String {
    let figures: String = scene
        .pictures
        .iter()
        .map(|picture| {
            let (link, caption) = (link(&picture.path), escape(&picture.caption));
            format!(
                "<figure><a href=\"{link}\"><img src=\"{link}\" alt=\"{caption}, {}\" loading=\"lazy\"></a>\
                 <figcaption>{caption}</figcaption></figure>\n",
                escape(&scene.name)
            )
        })
        .collect();
    format!(
        "<section>\n<h2>{}</h2>\n<div class=\"strip\" style=\"--pictures:{}\">\n{figures}</div>\n</section>\n",
        escape(&scene.name),
        scene.pictures.len().max(1)
    )
}

fn paragraph(attributes: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("<p{attributes}>{}</p>\n", escape(text)) }
}

/// Text as HTML, in elements and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// A path as a link (RFC 3986): whatever means something else in a link is written as its bytes. The leading `./`
/// keeps it below the page's folder, and a name with a colon from being read as a scheme.
fn link(path: &str) -> String {
    let mut link = String::from("./");
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                link.push(char::from(byte));
            }
            _ => link.push_str(&format!("%{byte:02X}")),
        }
    }
    link
}

#[cfg(test)]
mod tests {
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
            "<tr><th scope=\"row\">sml</th><td class=\"best\">90.00</td><td class=\"best\">40.00</td>",
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
        let html = full().to_html();
        let mut open = Vec::new();
        for tag in html.split('<').skip(1).map(|rest| rest.split(['>', ' ']).next().unwrap()) {
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if ["!doctype", "meta", "img"].contains(&tag) => {}
                None => open.push(tag),
            }
        }
        assert_eq!(open, [""; 0]);
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
