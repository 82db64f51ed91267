//! The datasets that are known by name: their splits, and how many pictures the official copies hold.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A dataset and the layout of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum DatasetKind {
    /// Cityscapes: leftImg8bit and gtFine, with or without the archives' folders around them
    Cityscapes,
    /// Fishyscapes Lost & Found: Cityscapes' layout, images/ + labels_masks/, or the official labels beside Lost and Found
    FishyscapesLostAndFound,
    /// Fishyscapes Static: Cityscapes' layout, or images/ + labels_masks/
    FishyscapesStatic,
    /// Lost and Found: leftImg8bit and gtCoarse
    LostAndFound,
    /// RoadAnomaly: frames/ with NAME.labels/ folders, or images/ + labels_masks/
    RoadAnomaly,
    /// SegmentMeIfYouCan's anomaly track: images/ + labels_masks/
    #[serde(rename = "road-anomaly21")]
    #[cfg_attr(feature = "cli", value(name = "road-anomaly21"))]
    RoadAnomaly21,
    /// SegmentMeIfYouCan's obstacle track: images/ + labels_masks/
    #[serde(rename = "road-obstacle21")]
    #[cfg_attr(feature = "cli", value(name = "road-obstacle21"))]
    RoadObstacle21,
    /// StreetHazards: train/ and test/ with images/ and annotations/
    StreetHazards,
    /// Any folder of pictures with a folder of labels
    Folders,
}

impl DatasetKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Cityscapes,
        Self::FishyscapesLostAndFound,
        Self::FishyscapesStatic,
        Self::LostAndFound,
        Self::RoadAnomaly,
        Self::RoadAnomaly21,
        Self::RoadObstacle21,
        Self::StreetHazards,
        Self::Folders,
    ];

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cityscapes => "cityscapes",
            Self::FishyscapesLostAndFound => "fishyscapes-lost-and-found",
            Self::FishyscapesStatic => "fishyscapes-static",
            Self::LostAndFound => "lost-and-found",
            Self::RoadAnomaly => "road-anomaly",
            Self::RoadAnomaly21 => "road-anomaly21",
            Self::RoadObstacle21 => "road-obstacle21",
            Self::StreetHazards => "street-hazards",
            Self::Folders => "folders",
        }
    }

    /// The splits of the official copy; none where there is only one set, or where it depends on the layout.
    pub fn official_splits(self) -> &'static [&'static str] {
        match self {
            Self::Cityscapes => &["train", "val", "test"],
            Self::LostAndFound => &["train", "test"],
            Self::RoadAnomaly21 | Self::RoadObstacle21 => &["validation", "test"],
            Self::StreetHazards => &["train", "validation", "test"],
            Self::FishyscapesLostAndFound | Self::FishyscapesStatic | Self::RoadAnomaly | Self::Folders => {
                &[]
            }
        }
    }

    /// Pictures of a split in the official copy, where that is known. `None` for `split` stands for a dataset without splits.
    ///
    /// Sources: the pages of the datasets, and for SegmentMeIfYouCan and Lost and Found the counts that the benchmark's own code
    /// asserts. RoadObstacle21's `test` is all of it: the benchmark leaves the 85 frames at night and in snow to splits of
    /// their own.
    pub fn official_images(self, split: Option<&str>) -> Option<usize> {
        match (self, split) {
            (Self::Cityscapes, Some("train")) => Some(2975),
            (Self::Cityscapes, Some("val")) => Some(500),
            (Self::Cityscapes, Some("test")) => Some(1525),
            (Self::FishyscapesLostAndFound, None | Some("val")) => Some(100),
            (Self::FishyscapesStatic, None | Some("val")) => Some(30),
            (Self::LostAndFound, Some("train")) => Some(1036),
            (Self::LostAndFound, Some("test")) => Some(1203),
            (Self::RoadAnomaly, None) => Some(60),
            (Self::RoadAnomaly21, Some("validation")) => Some(10),
            (Self::RoadAnomaly21, Some("test")) => Some(100),
            (Self::RoadObstacle21, Some("validation")) => Some(30),
            (Self::RoadObstacle21, Some("test")) => Some(412),
            (Self::StreetHazards, Some("train")) => Some(5125),
            (Self::StreetHazards, Some("validation")) => Some(1031),
            (Self::StreetHazards, Some("test")) => Some(1500),
            _ => None,
        }
    }
}

impl fmt::Display for DatasetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DatasetKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| Error::InvalidParameter {
            field: "dataset",
            given: text.to_owned(),
            expected: "cityscapes, fishyscapes-lost-and-found, fishyscapes-static, lost-and-found, road-anomaly, \
                       road-anomaly21, road-obstacle21, street-hazards or folders",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::DatasetKind;

    #[test]
    fn names_are_read_back() {
        for kind in DatasetKind::ALL {
            assert_eq!(kind.to_string().parse::<DatasetKind>().unwrap(), kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        let error = "cityscape".parse::<DatasetKind>().unwrap_err().to_string();
        assert!(DatasetKind::ALL.iter().all(|kind| error.contains(kind.name())), "{error}");
    }

    #[cfg(feature = "cli")]
    #[test]
    fn the_command_line_spells_them_the_same() {
        use clap::ValueEnum;
        for kind in DatasetKind::ALL {
            assert_eq!(kind.to_possible_value().unwrap().get_name(), kind.name());
        }
    }
}
