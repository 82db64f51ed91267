//! Figures: charts that are drawn once and written twice, as SVG and as a picture.
//!
//! A figure is laid out in units of a quarter of a pixel, because plotters places everything on whole units: so its lines
//! are smooth. The SVG keeps text as text in a generic font, takes the colour of the text around it where it is part
//! of a page (`currentColor`), and is complete as a file of its own. The picture is drawn by [`Canvas`] with embedded
//! letters, and needs no fonts on the machine either.

use image::RgbImage;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::prelude::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, RGBColor, TextStyle};

use super::canvas::Canvas;
use super::class_histograms::ClassHistogramsChart;
use super::curves::CurvesChart;
use super::html::escape;
use super::latency_figure::LatencyChart;
use super::scaling_figure::ScalingChart;
use crate::{Error, Result};

/// Units of a layout in a pixel.
const UNITS: i32 = 4;
/// Pixels of the picture in a pixel of the SVG: fine enough for print.
const PICTURE_SCALE: f32 = 2.0;

/// Text, axes and whatever else has the colour of ink.
pub(super) const INK: RGBColor = RGBColor(0x1c, 0x1d, 0x21);
/// Grid lines and remarks, on light and dark paper.
pub(super) const QUIET: RGBColor = RGBColor(0x80, 0x83, 0x8d);
/// Fonts of the SVG: these have letters of one width, and the picture's are theirs.
pub(super) const FONTS: &str = "Liberation Sans, Arial, Helvetica, sans-serif";

pub(super) type Area<B> = DrawingArea<B, Shift>;
pub(super) type Drawn<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// What a kind of figure has to say to be drawn.
pub(super) trait Chart {
    /// Width and height in units.
    fn size(&self) -> (u32, u32);

    /// Draws everything; the paper is blank.
    fn draw<B: DrawingBackend>(&self, area: &Area<B>) -> Drawn<B>;
}

/// Pixels as units.
pub(super) fn units(pixels: f64) -> i32 {
    (pixels * f64::from(UNITS)).round() as i32
}

/// Letters of this many pixels an em, anchored to the left at half their height.
pub(super) fn letters(pixels: f64, color: &impl Color) -> TextStyle<'static> {
    font(pixels, FontStyle::Normal, color)
}

/// As [`letters`], bold.
pub(super) fn bold_letters(pixels: f64, color: &impl Color) -> TextStyle<'static> {
    font(pixels, FontStyle::Bold, color)
}

fn font(pixels: f64, style: FontStyle, color: &impl Color) -> TextStyle<'static> {
    // plotters writes 1 / 1.24 of a font's size into an SVG.
    let size = pixels * f64::from(UNITS) * 1.24;
    let font = FontDesc::new(FontFamily::Name(FONTS), size, style);
    TextStyle { font, color: color.to_backend_color(), pos: Pos::new(HPos::Left, VPos::Center) }
}

/// The same letters, anchored to the right.
pub(super) fn right(style: &TextStyle<'static>) -> TextStyle<'static> {
    style.pos(Pos::new(HPos::Right, VPos::Center))
}

/// The same letters, anchored in the middle.
pub(super) fn middle(style: &TextStyle<'static>) -> TextStyle<'static> {
    style.pos(Pos::new(HPos::Center, VPos::Center))
}

/// A name as it can stand in a figure: one line of at most `most` letters, of which XML allows each.
pub(super) fn label(name: &str, most: usize) -> String {
    let name: String =
        name.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect();
    match name.char_indices().nth(most) {
        Some(_) => name.chars().take(most.saturating_sub(1)).chain(['\u{2026}']).collect(),
        None => name,
    }
}

/// Which chart it is, with its data.
pub(super) enum Content {
    Curves(CurvesChart),
    ClassHistograms(ClassHistogramsChart),
    Latency(LatencyChart),
    Scaling(ScalingChart),
}

/// A chart, as made by [`curves`](fn@super::curves), [`class_histograms`](fn@super::class_histograms),
/// [`latency_figure`](fn@super::latency_figure) and [`scaling_figure`](fn@super::scaling_figure).
pub struct Figure {
    title: String,
    content: Content,
}

impl Figure {
    pub(super) fn new(title: String, content: Content) -> Self {
        Self { title, content }
    }

    /// One sentence that says what the figure shows, for readers who do not see it.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The figure as a whole SVG file. Within a page it is transparent, and takes the colour of the text around it
    /// where the style says `svg { color: inherit } svg .paper { fill: none }`.
    ///
    /// # Errors
    /// [`Error::Shape`] when it cannot be laid out.
    pub fn svg(&self) -> Result<String> {
        match &self.content {
            Content::Curves(chart) => self.written(chart),
            Content::ClassHistograms(chart) => self.written(chart),
            Content::Latency(chart) => self.written(chart),
            Content::Scaling(chart) => self.written(chart),
        }
    }

    /// The figure on white paper, with twice as many pixels a side as the SVG is wide and high.
    ///
    /// # Errors
    /// [`Error::Shape`] when it cannot be laid out.
    pub fn picture(&self) -> Result<RgbImage> {
        match &self.content {
            Content::Curves(chart) => painted(chart),
            Content::ClassHistograms(chart) => painted(chart),
            Content::Latency(chart) => painted(chart),
            Content::Scaling(chart) => painted(chart),
        }
    }

    fn written(&self, chart: &impl Chart) -> Result<String> {
        let (width, height) = chart.size();
        let mut drawn = String::new();
        {
            let area = SVGBackend::with_string(&mut drawn, (width, height)).into_drawing_area();
            chart.draw(&area).map_err(|error| not_drawn(&error))?;
            area.present().map_err(|error| not_drawn(&error))?;
        }
        // All between plotters' own <svg> tags. Quotes within texts are escaped, so that this colour is always an
        // attribute's.
        let inner = drawn.split_once('>').map_or("", |(_, inner)| inner).trim_end();
        let inner = inner.strip_suffix("</svg>").unwrap_or(inner);
        let RGBColor(r, g, b) = INK;
        let ink = format!("#{r:02X}{g:02X}{b:02X}");
        let inner = inner.replace(&format!("\"{ink}\""), "\"currentColor\"");
        let title = escape(&self.title);
        let (pixels_wide, pixels_high) = (width / UNITS as u32, height / UNITS as u32);
        Ok(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{pixels_wide}\" height=\"{pixels_high}\" \
             viewBox=\"0 0 {width} {height}\" color=\"{ink}\" role=\"img\">\n<title>{title}</title>\n\
             <rect class=\"paper\" width=\"100%\" height=\"100%\" fill=\"#fff\"/>{inner}</svg>\n"
        ))
    }
}

fn painted(chart: &impl Chart) -> Result<RgbImage> {
    let mut canvas = Canvas::new(chart.size(), PICTURE_SCALE / UNITS as f32)?;
    {
        let area = (&mut canvas).into_drawing_area();
        chart.draw(&area).map_err(|error| not_drawn(&error))?;
    }
    canvas.into_picture()
}

fn not_drawn(error: &dyn std::fmt::Display) -> Error {
    Error::Shape {
        what: "figure",
        given: format!("not drawable ({error})"),
        expected: "one whose axes have a length".to_owned(),
    }
}
