//! The classes of Cityscapes (Cordts et al., CVPR 2016), which most networks for street scenes are trained on.

/// A class of the Cityscapes labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// Name as the Cityscapes labels spell it.
    pub name: &'static str,
    /// Red, green, blue.
    pub color: [u8; 3],
}

const fn class(name: &'static str, color: [u8; 3]) -> Class {
    Class { name, color }
}

/// The Cityscapes classes (Cordts et al., CVPR 2016) by train id.
pub const CLASSES: [Class; 19] = [
    class("road", [128, 64, 128]),
    class("sidewalk", [244, 35, 232]),
    class("building", [70, 70, 70]),
    class("wall", [102, 102, 156]),
    class("fence", [190, 153, 153]),
    class("pole", [153, 153, 153]),
    class("traffic light", [250, 170, 30]),
    class("traffic sign", [220, 220, 0]),
    class("vegetation", [107, 142, 35]),
    class("terrain", [152, 251, 152]),
    class("sky", [70, 130, 180]),
    class("person", [220, 20, 60]),
    class("rider", [255, 0, 0]),
    class("car", [0, 0, 142]),
    class("truck", [0, 0, 70]),
    class("bus", [0, 60, 100]),
    class("train", [0, 80, 100]),
    class("motorcycle", [0, 0, 230]),
    class("bicycle", [119, 11, 32]),
];

/// The names of [`CLASSES`], by train id.
pub fn class_names() -> Vec<String> {
    CLASSES.iter().map(|class| class.name.to_owned()).collect()
}
