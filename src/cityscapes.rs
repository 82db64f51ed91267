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

/// A value of the Cityscapes label files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Value in `*_labelIds.png`.
    pub id: u8,
    /// Name as the Cityscapes labels spell it.
    pub name: &'static str,
    /// Index into [`CLASSES`]; `None` for what takes no part in training and evaluation.
    pub train_id: Option<u8>,
}

const fn label(id: u8, name: &'static str, train_id: u8) -> Label {
    Label { id, name, train_id: Some(train_id) }
}

const fn ignored(id: u8, name: &'static str) -> Label {
    Label { id, name, train_id: None }
}

/// The label ids of Cityscapes with their train ids, as the dataset's own table defines them.
pub const LABELS: [Label; 34] = [
    ignored(0, "unlabeled"),
    ignored(1, "ego vehicle"),
    ignored(2, "rectification border"),
    ignored(3, "out of roi"),
    ignored(4, "static"),
    ignored(5, "dynamic"),
    ignored(6, "ground"),
    label(7, "road", 0),
    label(8, "sidewalk", 1),
    ignored(9, "parking"),
    ignored(10, "rail track"),
    label(11, "building", 2),
    label(12, "wall", 3),
    label(13, "fence", 4),
    ignored(14, "guard rail"),
    ignored(15, "bridge"),
    ignored(16, "tunnel"),
    label(17, "pole", 5),
    ignored(18, "polegroup"),
    label(19, "traffic light", 6),
    label(20, "traffic sign", 7),
    label(21, "vegetation", 8),
    label(22, "terrain", 9),
    label(23, "sky", 10),
    label(24, "person", 11),
    label(25, "rider", 12),
    label(26, "car", 13),
    label(27, "truck", 14),
    label(28, "bus", 15),
    ignored(29, "caravan"),
    ignored(30, "trailer"),
    label(31, "train", 16),
    label(32, "motorcycle", 17),
    label(33, "bicycle", 18),
];

#[cfg(test)]
mod tests {
    use super::{CLASSES, LABELS};

    #[test]
    fn label_ids_and_classes_agree() {
        let mut train_ids = Vec::new();
        for (index, label) in LABELS.iter().enumerate() {
            assert_eq!(usize::from(label.id), index);
            if let Some(train_id) = label.train_id {
                assert_eq!(CLASSES[usize::from(train_id)].name, label.name);
                train_ids.push(train_id);
            }
        }
        assert_eq!(train_ids, (0..19).collect::<Vec<u8>>());
    }
}
