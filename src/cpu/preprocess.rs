//! A picture's bytes to a network's input, in one pass over bands of rows, in parallel.
//!
//! Where the size stays, each byte is read once and each number written once. Where it changes, a row of the picture is
//! first resampled horizontally into float32, at most once for each band that needs it, and the rows that a row of the
//! input is made of are summed up in their order. Sums go over the taps in order and nothing is fused, so that
//! `kernels/preprocess.cu` makes the same bits.

use half::{bf16, f16};
use pulp::NullaryFnOnce;
use rayon::prelude::*;

use crate::preprocessing::{Normalization, PictureView, Preprocessing};
use crate::resampling::Resampling;
use crate::{Error, InstructionSet, Layout, Result, Size};

/// Bands for each thread: several, so that a thread that was held up does not hold up the frame.
const BANDS_PER_THREAD: usize = 4;

/// Memory for a network's input of one picture, 1 x 3 x H x W, packed in either layout.
#[derive(Debug)]
pub enum InputMut<'a> {
    /// float32.
    F32(&'a mut [f32]),
    /// float16, rounded to nearest even.
    F16(&'a mut [f16]),
    /// bfloat16, rounded to nearest even.
    BF16(&'a mut [bf16]),
}

impl InputMut<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(elements) => elements.len(),
            Self::F16(elements) => elements.len(),
            Self::BF16(elements) => elements.len(),
        }
    }
}

/// Makes a network's input of pictures of one size, on the CPU. All memory is allocated when it is built.
///
/// ```
/// use sml::{InputMut, Layout, PictureView, PixelFormat, Preprocessing, Preprocessor, Size};
///
/// let preprocessing = Preprocessing {
///     input_size: None,
///     multiple: 8,
///     channel_order: sml::ChannelOrder::Rgb,
///     scale: 1.0 / 255.0,
///     mean: [0.485, 0.456, 0.406],
///     std: [0.229, 0.224, 0.225],
/// };
/// let camera = [128; 30 * 64];
/// let picture = PictureView::new(&camera, Size::new(30, 20), 64, PixelFormat::Bgr8)?;
/// let mut preprocessor = Preprocessor::new(&preprocessing, picture.size())?;
/// let size = preprocessor.input_size();
/// assert_eq!(size, Size::new(32, 24));
///
/// let mut input = vec![0.0; 3 * size.pixels()];
/// preprocessor.apply(&picture, Layout::Nchw, InputMut::F32(&mut input))?;
/// assert!((input[0] - (128.0 / 255.0 - 0.485) / 0.229).abs() < 1e-6);
/// # Ok::<(), sml::Error>(())
/// ```
pub struct Preprocessor {
    picture: Size,
    input: Size,
    preprocessing: Preprocessing,
    /// Rows and columns, where either changes.
    resampling: Option<[Resampling; 2]>,
    bands: Vec<Band>,
    arch: pulp::Arch,
}

/// Scratch memory of one band.
struct Band {
    /// Rows of the picture, resampled horizontally: as many as a row of the input has taps, three runs each. A row's place
    /// is its number modulo theirs.
    rows: Vec<f32>,
    /// Which row each place holds.
    held: Vec<usize>,
    /// Three runs.
    sums: Vec<f32>,
}

impl Preprocessor {
    /// For pictures of the size `picture`.
    ///
    /// # Errors
    /// [`Error::Shape`] for a picture or an input without pixels, or of more than 2^31 rows or columns;
    /// [`Error::InvalidParameter`] when `SML_ISA` asks for vectors that this processor lacks.
    pub fn new(preprocessing: &Preprocessing, picture: Size) -> Result<Self> {
        let input = preprocessing.checked_size_for(picture)?;
        let resampling = (input != picture).then(|| {
            [(picture.height, input.height), (picture.width, input.width)]
                .map(|(old, new)| Resampling::new(old, new))
        });
        let (taps, run) = resampling.as_ref().map_or((0, 0), |[rows, _]| (rows.taps, 3 * input.width));
        let band =
            || Band { rows: vec![0.0; taps * run], held: vec![usize::MAX; taps], sums: vec![0.0; run] };
        let bands = (rayon::current_num_threads() * BANDS_PER_THREAD).clamp(1, input.height);
        Ok(Self {
            picture,
            input,
            preprocessing: preprocessing.clone(),
            resampling,
            bands: (0..bands).map(|_| band()).collect(),
            arch: InstructionSet::chosen()?.arch().unwrap_or(pulp::Arch::Scalar),
        })
    }

    /// Rows and columns of the input.
    pub fn input_size(&self) -> Size {
        self.input
    }

    /// Size of the pictures that it takes.
    pub fn picture_size(&self) -> Size {
        self.picture
    }

    /// Writes the whole input for a picture.
    ///
    /// # Errors
    /// [`Error::Shape`] for a picture of another size, or an input of another number of elements.
    pub fn apply(&mut self, picture: &PictureView<'_>, layout: Layout, input: InputMut<'_>) -> Result<()> {
        let elements = 3 * self.input.pixels();
        if picture.size() != self.picture {
            return Err(Error::Shape {
                what: "size of the picture",
                given: picture.size().to_string(),
                expected: format!("{}, which this was built for", self.picture),
            });
        }
        if input.len() != elements {
            return Err(Error::Shape {
                what: "number of elements of the network's input",
                given: input.len().to_string(),
                expected: format!("{elements}, for {}", self.input),
            });
        }
        // As in the engine: the whole frame is handed to the pool once.
        rayon::scope(|_| match input {
            InputMut::F32(input) => self.run(picture, layout, input),
            InputMut::F16(input) => self.run(picture, layout, input),
            InputMut::BF16(input) => self.run(picture, layout, input),
        });
        Ok(())
    }

    fn run<T: Element>(&mut self, picture: &PictureView<'_>, layout: Layout, input: &mut [T]) {
        let (width, height, count) = (self.input.width, self.input.height, self.bands.len());
        let rows = height.div_ceil(count);
        let task = Task {
            picture: *picture,
            width,
            swapped: picture.format().order() != self.preprocessing.channel_order,
            normalization: self.preprocessing.normalization(picture.format()),
            resampling: self.resampling.as_ref(),
        };
        let arch = self.arch;
        let bands = self.bands.par_iter_mut().enumerate();
        match layout {
            Layout::Nchw => {
                let (red, rest) = input.split_at_mut(self.input.pixels());
                let (green, blue) = rest.split_at_mut(self.input.pixels());
                let [red, green, blue] = [red, green, blue].map(|plane| plane.par_chunks_mut(rows * width));
                bands.zip(red).zip(green).zip(blue).for_each(|((((i, band), red), green), blue)| {
                    let target = Target::Planes([red, green, blue]);
                    arch.dispatch(Rows { task: &task, band, first: i * rows, target });
                });
            }
            Layout::Nhwc => {
                bands.zip(input.par_chunks_mut(rows * width * 3)).for_each(|((i, band), pixels)| {
                    let target = Target::Pixels(pixels);
                    arch.dispatch(Rows { task: &task, band, first: i * rows, target });
                });
            }
        }
    }
}

/// What all bands share.
struct Task<'a> {
    picture: PictureView<'a>,
    /// Columns of the input.
    width: usize,
    /// Whether the picture's first channel is the network's last.
    swapped: bool,
    /// In the picture's order.
    normalization: Normalization,
    resampling: Option<&'a [Resampling; 2]>,
}

/// Some rows of the input.
enum Target<'a, T> {
    /// The same rows of each plane, in the network's order.
    Planes([&'a mut [T]; 3]),
    /// Three channels a pixel.
    Pixels(&'a mut [T]),
}

/// Rows of the input from `first` on.
struct Rows<'a, T> {
    task: &'a Task<'a>,
    band: &'a mut Band,
    first: usize,
    target: Target<'a, T>,
}

impl<T: Element> NullaryFnOnce for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { task, band, first, target } = self;
        // What is held is of the picture before.
        band.held.fill(usize::MAX);
        match target {
            Target::Planes(mut planes) => {
                if task.swapped {
                    planes.reverse();
                }
                let [a, b, c] = planes.map(|plane| plane.chunks_exact_mut(task.width));
                for (y, ((a, b), c)) in a.zip(b).zip(c).enumerate() {
                    task.row(band, first + y, PlanarRow([a, b, c]));
                }
            }
            Target::Pixels(pixels) => {
                for (y, pixels) in pixels.chunks_exact_mut(3 * task.width).enumerate() {
                    if task.swapped {
                        task.row(band, first + y, InterleavedRow::<T, true>(pixels));
                    } else {
                        task.row(band, first + y, InterleavedRow::<T, false>(pixels));
                    }
                }
            }
        }
    }
}

impl Task<'_> {
    /// Row `y` of the input.
    #[inline(always)]
    fn row(&self, band: &mut Band, y: usize, target: impl Row) {
        match (self.resampling, self.picture.format().bytes()) {
            (None, 3) => target.write(self.picture.row(y).as_chunks::<3>().0, &self.normalization),
            (None, _) => target.write(self.picture.row(y).as_chunks::<4>().0, &self.normalization),
            (Some([rows, columns]), bytes) => {
                let run = 3 * self.width;
                let (first, weights) = rows.at(y);
                for (tap, &weight) in weights.iter().enumerate() {
                    let place = (first + tap) % rows.taps;
                    let row = &mut band.rows[place * run..][..run];
                    if band.held[place] != first + tap {
                        let pixels = self.picture.row(first + tap);
                        if bytes == 3 {
                            resample(pixels.as_chunks::<3>().0, columns, row);
                        } else {
                            resample(pixels.as_chunks::<4>().0, columns, row);
                        }
                        band.held[place] = first + tap;
                    }
                    accumulate(row, weight, tap == 0, &mut band.sums);
                }
                let (a, rest) = band.sums.split_at(self.width);
                let (b, c) = rest.split_at(self.width);
                target.write([a, b, c], &self.normalization);
            }
        }
    }
}

/// `sums = weight * row` for the first tap, `sums += weight * row` for the others.
#[inline(always)]
fn accumulate(row: &[f32], weight: f32, first: bool, sums: &mut [f32]) {
    if first {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum = weight * value);
    } else {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
    }
}

/// One row of the picture resampled horizontally, into three runs.
#[inline(always)]
fn resample<const BYTES: usize>(pixels: &[[u8; BYTES]], columns: &Resampling, row: &mut [f32]) {
    let width = columns.first.len();
    let (a, rest) = row.split_at_mut(width);
    let (b, c) = rest.split_at_mut(width);
    for (x, ((a, b), c)) in a.iter_mut().zip(b).zip(c).enumerate() {
        let (first, weights) = columns.at(x);
        let mut sums = [0.0; 3];
        for (pixel, &weight) in pixels[first..].iter().zip(weights) {
            for (sum, &byte) in sums.iter_mut().zip(pixel) {
                *sum += weight * f32::from(byte);
            }
        }
        [*a, *b, *c] = sums;
    }
}

/// The three numbers of each pixel of a row before normalisation, in the picture's order.
trait Pixels: Copy {
    fn get(&self, column: usize) -> [f32; 3];

    /// The same, knowing that there are so many.
    fn cut(self, width: usize) -> Self;
}

impl<const BYTES: usize> Pixels for &[[u8; BYTES]] {
    #[inline(always)]
    fn get(&self, column: usize) -> [f32; 3] {
        let pixel = self[column];
        [f32::from(pixel[0]), f32::from(pixel[1]), f32::from(pixel[2])]
    }

    #[inline(always)]
    fn cut(self, width: usize) -> Self {
        &self[..width]
    }
}

impl Pixels for [&[f32]; 3] {
    #[inline(always)]
    fn get(&self, column: usize) -> [f32; 3] {
        [self[0][column], self[1][column], self[2][column]]
    }

    #[inline(always)]
    fn cut(self, width: usize) -> Self {
        self.map(|run| &run[..width])
    }
}

/// Where a row of the input goes.
trait Row {
    fn write(self, pixels: impl Pixels, normalization: &Normalization);
}

/// One row of each plane, in the picture's order.
struct PlanarRow<'a, T>([&'a mut [T]; 3]);

impl<T: Element> Row for PlanarRow<'_, T> {
    #[inline(always)]
    fn write(self, pixels: impl Pixels, normalization: &Normalization) {
        let Self([a, b, c]) = self;
        let width = a.len();
        let (b, c, pixels) = (&mut b[..width], &mut c[..width], pixels.cut(width));
        for x in 0..width {
            let values = normalization.apply(pixels.get(x)).map(T::from_f32);
            [a[x], b[x], c[x]] = values;
        }
    }
}

/// One row of pixels; `SWAPPED` where the picture's order is not the network's.
struct InterleavedRow<'a, T, const SWAPPED: bool>(&'a mut [T]);

impl<T: Element, const SWAPPED: bool> Row for InterleavedRow<'_, T, SWAPPED> {
    #[inline(always)]
    fn write(self, pixels: impl Pixels, normalization: &Normalization) {
        let out = self.0.as_chunks_mut::<3>().0;
        let pixels = pixels.cut(out.len());
        for (x, out) in out.iter_mut().enumerate() {
            let [a, b, c] = normalization.apply(pixels.get(x)).map(T::from_f32);
            *out = if SWAPPED { [c, b, a] } else { [a, b, c] };
        }
    }
}

/// Element type of the input.
trait Element: Copy + Send {
    fn from_f32(value: f32) -> Self;
}

impl Element for f32 {
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }
}

impl Element for f16 {
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        Self::from_bits(half_bits(value))
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        Self::from_bits(brain_bits(value))
    }
}

/// float32 to float16, to nearest even, by selection instead of branches, so that it vectorizes. A NaN becomes 0x7fff.
#[inline(always)]
fn half_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let (sign, magnitude) = (bits >> 16 & 0x8000, bits & 0x7fff_ffff);
    let odd = magnitude >> 13 & 1;
    let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + odd) >> 13;
    // Adding this number shifts the significant bits to where float16 keeps them, rounded.
    let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let finite = if magnitude < 0x3880_0000 { subnormal } else { normal };
    let bounded = if magnitude >= 0x477f_f000 { 0x7c00 } else { finite };
    let result = if magnitude > 0x7f80_0000 { 0x7fff } else { bounded };
    (sign | result) as u16
}

/// float32 to bfloat16, to nearest even. A NaN becomes 0x7fff.
#[inline(always)]
fn brain_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    (if bits & 0x7fff_ffff > 0x7f80_0000 { 0x7fff } else { rounded }) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrowing_is_that_of_the_half_crate() {
        // Every float16, its neighbours in float32 on both sides, and the middle to the next one.
        for bits in 0..=u16::MAX {
            let value = f16::from_bits(bits).to_f32_const().to_bits();
            for value in [value, value.wrapping_add(1), value.wrapping_sub(1), value ^ 0x1000, value ^ 0x8000]
            {
                let value = f32::from_bits(value);
                if !value.is_nan() {
                    assert_eq!(half_bits(value), f16::from_f32_const(value).to_bits(), "{value:e}");
                    assert_eq!(brain_bits(value), bf16::from_f32_const(value).to_bits(), "{value:e}");
                }
            }
        }
        assert!(
            f16::from_bits(half_bits(f32::NAN)).is_nan() && bf16::from_bits(brain_bits(-f32::NAN)).is_nan()
        );
    }
}
