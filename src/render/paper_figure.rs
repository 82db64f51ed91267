//! The paper's figure: photographs beside what each method calls unexpected.

use image::{DynamicImage, RgbImage, imageops};
use ndarray::ArrayView2;

use super::mask;
use super::montage::{Panel, Sheet, montage_on};
use crate::{Error, Result};

/// Rows of photograph, masks of the methods (unexpected pixels white) and, where labels are given, the labels. Panels
/// are scaled down as they are added, so that full-sized pictures are not kept.
///
/// ```
/// use image::RgbImage;
/// use ndarray::Array2;
/// use sml::render::PaperFigure;
///
/// let mut figure = PaperFigure::new(&["MSP", "ours"], 256);
/// let (photograph, scores) = (RgbImage::new(64, 32), Array2::zeros((32, 64)));
/// figure.add(&photograph, &[(scores.view(), 0.5), (scores.view(), -0.5)], None)?;
/// assert!(figure.draw()?.width() > 3 * 256);
/// # Ok::<(), sml::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PaperFigure {
    methods: Vec<String>,
    panel_width: u32,
    rows: Vec<Vec<RgbImage>>,
}

impl PaperFigure {
    /// A figure without rows. `methods` head the columns of masks, such as `MSP`, `max logit` and `ours`; each panel
    /// is `panel_width` pixels wide.
    pub fn new(methods: &[&str], panel_width: u32) -> Self {
        let methods = methods.iter().map(|&name| name.to_owned()).collect();
        Self { methods, panel_width, rows: Vec::new() }
    }

    /// Adds a row: for each method its anomaly scores (H x W) and its threshold, usually that of 95 % TPR over the
    /// dataset. `labels` (H x W) are drawn white where unexpected and grey where ignored.
    ///
    /// # Errors
    /// [`Error::Shape`] when the number of maps is not that of the methods, or a map or photograph is empty.
    pub fn add(
        &mut self,
        photograph: &RgbImage,
        maps: &[(ArrayView2<'_, f32>, f32)],
        labels: Option<ArrayView2<'_, u8>>,
    ) -> Result<()> {
        if maps.len() != self.methods.len() {
            return Err(Error::Shape {
                what: "number of score maps of a row",
                given: maps.len().to_string(),
                expected: format!("one a method, {}", self.methods.len()),
            });
        }
        let mut row = vec![self.panel(photograph)?];
        for (scores, threshold) in maps {
            row.push(
                self.panel(&DynamicImage::ImageLuma8(mask::unexpected(*scores, *threshold)?).into_rgb8())?,
            );
        }
        if let Some(labels) = labels {
            row.push(self.panel(&DynamicImage::ImageLuma8(mask::labelled(labels)?).into_rgb8())?);
        }
        self.rows.push(row);
        Ok(())
    }

    /// Scales a picture down to the width of a panel.
    fn panel(&self, picture: &RgbImage) -> Result<RgbImage> {
        let (width, height) = picture.dimensions();
        if width == 0 || height == 0 {
            return Err(Error::Shape {
                what: "picture of the figure",
                given: format!("{height} x {width}"),
                expected: "at least one pixel".to_owned(),
            });
        }
        if width <= self.panel_width {
            return Ok(picture.clone());
        }
        let height =
            (f64::from(height) * f64::from(self.panel_width) / f64::from(width)).round().max(1.0) as u32;
        Ok(imageops::resize(picture, self.panel_width, height, imageops::FilterType::Triangle))
    }

    /// Rows added so far.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The figure on white paper, with a caption above the first panel of each column.
    ///
    /// # Errors
    /// [`Error::Shape`] when it has no rows, or panels of width 0.
    pub fn draw(&self) -> Result<RgbImage> {
        let mut captions = vec!["image"];
        captions.extend(self.methods.iter().map(String::as_str));
        captions.push("unexpected objects");
        let mut captioned = 0;
        let mut rows = Vec::new();
        for row in &self.rows {
            let caption = |column| if column < captioned { "" } else { captions[column] };
            let panels: Vec<Panel<'_>> =
                (0..).zip(row).map(|(column, picture)| Panel { caption: caption(column), picture }).collect();
            captioned = captioned.max(row.len());
            rows.push(panels);
        }
        montage_on(Sheet::WHITE, &rows, self.panel_width)
    }
}
