//! A TorchScript module whose logits can be told by hand.

use tch::{CModule, Device, Kind, Tensor};

use crate::program::Folder;

/// Describes `net.pt`: RGB / 255, stride 4, three classes.
pub const SIDECAR: &str = "channel_order = \"rgb\"\nscale = 0.00392156862745098\nmean = [0.0, 0.0, 0.0]\n\
                           std = [1.0, 1.0, 1.0]\noutput_stride = 4\nalign_corners = false\n\
                           class_names = [\"red\", \"green\", \"blue\"]\n";

/// Writes `net.pt` and `net.toml`: each class's logit is `logit` of a colour's mean over 4 x 4 pixels.
pub fn write_module(folder: &Folder, logit: fn(&Tensor) -> Tensor) {
    write_module_described(folder, logit, SIDECAR);
}

/// As [`write_module`], with Cityscapes' classes: red, green and blue in turn.
pub fn write_module_of_19_classes(folder: &Folder) {
    let classes: Vec<String> =
        sml::cityscapes::class_names().iter().map(|name| format!("{name:?}")).collect();
    let sidecar = SIDECAR.replace("\"red\", \"green\", \"blue\"", &classes.join(", "));
    write_module_described(folder, |color| color.repeat([1, 7, 1, 1]).narrow(1, 0, 19), &sidecar);
}

fn write_module_described(folder: &Folder, logit: fn(&Tensor) -> Tensor, sidecar: &str) {
    let example = Tensor::ones([1, 3, 8, 8], (Kind::Float, Device::Cpu));
    let mut forward =
        |inputs: &[Tensor]| vec![logit(&inputs[0].avg_pool2d([4, 4], [4, 4], [0, 0], false, true, None))];
    let module = CModule::create_by_tracing("Net", "forward", &[example], &mut forward).unwrap();
    module.save(folder.path("net.pt")).unwrap();
    folder.write("net.toml", sidecar);
}

/// The logit is the colour itself.
pub fn identity(color: &Tensor) -> Tensor {
    color * 1.0
}

/// The logit is the colour's logarithm: minus infinity for black.
pub fn logarithm(color: &Tensor) -> Tensor {
    color.log()
}
