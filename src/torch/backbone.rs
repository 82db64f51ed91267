//! What every backbone offers: a picture in, logits at the network's own resolution out.

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use super::{InputFormat, Preprocessing, torch_error};
use crate::{Error, Result, Size};

/// A segmentation network with its preprocessing and the facts that post-processing needs.
///
/// To add one, implement the accessors and [`logits`](Backbone::logits); the provided methods check what goes in and
/// what comes out.
pub trait Backbone: Send {
    /// Name for people, for example in reports.
    fn name(&self) -> &str;

    /// One name a class, in the order of the logits' channels.
    fn class_names(&self) -> &[String];

    /// Input sides over logit sides.
    fn output_stride(&self) -> usize;

    /// Whether the network was trained with `align_corners = true` in its last upsampling.
    fn align_corners(&self) -> bool;

    /// Where the weights lie; input tensors must lie there too.
    fn device(&self) -> Device;

    /// What the network expects of its input.
    fn preprocessing(&self) -> &Preprocessing;

    /// Element type and memory layout that the network takes its input in. [`forward`](Self::forward) brings any input to
    /// it; what prepares pictures can make it so in the first place.
    fn input_format(&self) -> InputFormat {
        InputFormat::default()
    }

    /// SHA-256 of the weights' file, in lower-case hexadecimal, for the provenance of statistics.
    fn digest(&self) -> &str;

    /// Number of parameters that training changed, where the network can tell. (A frozen TorchScript module cannot: its
    /// parameters are constants.)
    fn parameters(&self) -> Option<u64> {
        None
    }

    /// The bare forward pass, without gradient and in evaluation mode: N x 3 x H x W in the network's
    /// [`input_format`](Self::input_format) in, N x C x h x w out.
    ///
    /// # Errors
    /// [`Error::Torch`] when libtorch fails, [`Error::Shape`] when the network cannot take the input.
    fn logits(&self, input: &Tensor) -> Result<Tensor>;

    /// The input tensor 1 x 3 x H x W for a picture: resized where the network needs it, normalised, on its device.
    ///
    /// # Errors
    /// As [`Preprocessing::apply`].
    fn preprocess(&self, picture: &RgbImage) -> Result<Tensor> {
        self.preprocessing().apply(picture, self.device())
    }

    /// Logits N x C x h x w (float32, float16 or bfloat16, on the network's device) of a normalised input N x 3 x H x W.
    ///
    /// # Errors
    /// [`Error::Shape`] when `input` has another rank, channel count or device, or when the network's output is not of
    /// rank 4 with one channel a class name and of the stated stride; [`Error::Torch`] when libtorch fails.
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        check_input(input, self.device())?;
        let converted = self.input_format().convert(input).map_err(torch_error("convert the input"))?;
        let logits = tch::no_grad(|| self.logits(&converted))?;
        check_logits(&logits, input, self.class_names().len(), self.output_stride())?;
        Ok(logits)
    }

    /// Forward passes that are slower than all later ones of the same size: cuDNN tries its algorithms in the first.
    fn slow_passes(&self) -> usize {
        1
    }

    /// Spends the [slow passes](Self::slow_passes) on zeros of the given input size, so that the first real frame is as fast
    /// as any. Worth its time before a loop of frames, not before a single one.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn warm_up(&self, input: Size) -> Result<()> {
        let shape = [1, 3, input.height as i64, input.width as i64];
        let zeros = Tensor::f_zeros(shape, (self.input_format().precision.kind(), self.device()))
            .map_err(torch_error("make an input of zeros"))?;
        for _ in 0..self.slow_passes() {
            drop(self.forward(&zeros)?);
        }
        Ok(())
    }
}

pub(super) fn check_input(input: &Tensor, device: Device) -> Result<()> {
    let size = input.size();
    let wrong = |what, given, expected: String| Err(Error::Shape { what, given, expected });
    if !matches!(size[..], [n, 3, h, w] if n > 0 && h > 0 && w > 0) {
        return wrong(
            "the backbone's input",
            format!("{size:?}"),
            "[N, 3, H, W], none of them zero".to_owned(),
        );
    }
    if input.device() != device {
        return wrong(
            "the device of the backbone's input",
            format!("{:?}", input.device()),
            format!("{device:?}"),
        );
    }
    Ok(())
}

pub(super) fn check_logits(logits: &Tensor, input: &Tensor, classes: usize, stride: usize) -> Result<()> {
    let (size, batch) = (logits.size(), input.size()[0]);
    let wrong = |what, given, expected: String| Err(Error::Shape { what, given, expected });
    if !matches!(size[..], [n, _, h, w] if n == batch && h > 0 && w > 0) {
        return wrong("the backbone's output", format!("{size:?}"), format!("[{batch}, C, h, w]"));
    }
    if size[1] != classes as i64 {
        let given = format!("{} channels", size[1]);
        return wrong("the backbone's output", given, format!("one for each of the {classes} class names"));
    }
    // Networks round a side up or down, or count its corners; that is within one of the quotient.
    let fits = |input: i64, output: i64| (input / stride as i64 - output).abs() <= 1;
    let sides = input.size();
    if !fits(sides[2], size[2]) || !fits(sides[3], size[3]) {
        let given = format!("{}x{} for an input of {}x{}", size[2], size[3], sides[2], sides[3]);
        return wrong(
            "the size of the backbone's output",
            given,
            format!("1/{stride} of the input, its output stride"),
        );
    }
    let kind = logits.f_kind().map_err(torch_error("tell the element type of the logits"))?;
    if !matches!(kind, Kind::Float | Kind::Half | Kind::BFloat16) {
        let expected = "float32, float16 or bfloat16".to_owned();
        return wrong("the element type of the backbone's output", format!("{kind:?}"), expected);
    }
    Ok(())
}
