//! Networks and post-processing as commands use them: warnings go to stderr.

use image::RgbImage;
use tch::{Device, Tensor};

use crate::torch::{Backbone, PostProcessor};
use crate::{ClassStatistics, Params, Result};

/// The network's logits for `picture`, float32 or narrower, on the network's device, complete.
///
/// # Errors
/// When libtorch fails.
pub fn picture_logits(backbone: &dyn Backbone, picture: &RgbImage) -> Result<Tensor> {
    let logits = backbone.forward(&backbone.preprocess(picture)?)?;
    if let Device::Cuda(ordinal) = logits.device() {
        // A GPU has only been given its work so far.
        tch::Cuda::synchronize(ordinal as i64);
    }
    Ok(logits)
}

/// Post-processing of logits of any size, whose warnings are shown once.
pub fn post_processor(params: Params, statistics: Option<ClassStatistics>) -> PostProcessor {
    PostProcessor::new(params, statistics).on_warning(super::show_warning)
}
