//! Which layout a folder has: that of the dataset that was named, or the one that fits.
//!
//! Several datasets share a layout: `images/` beside `labels_masks/` may be any of five, and Fishyscapes Static in Cityscapes'
//! layout looks like a part of Cityscapes. Their labels mean different things, so a guess could spoil a result unseen. Where the
//! structure leaves a choice the name of the folder decides if it is that of a dataset, and otherwise the caller has to.

use std::path::Path;

use super::city_folders::CityFolders;
use super::fishyscapes::PublishedLabels;
use super::listing::Listing;
use super::paired_folders::PairedFolders;
use super::road_anomaly::Frames;
use super::street_hazards::StreetHazards;
use super::{DatasetKind, FolderLabels};
use crate::{Error, Result};

/// The folders of a dataset, found.
#[derive(Clone, Debug)]
pub(super) enum Layout {
    Cities(CityFolders),
    PublishedLabels(PublishedLabels),
    Paired(PairedFolders),
    Frames(Frames),
    StreetHazards(StreetHazards),
}

use DatasetKind::{
    Cityscapes, FishyscapesLostAndFound, FishyscapesStatic, Folders, LostAndFound, RoadAnomaly,
    RoadAnomaly21, RoadObstacle21,
};

impl Layout {
    /// The layout of `kind` below `root`.
    pub fn of(kind: DatasetKind, root: &Path, folders: &FolderLabels) -> Result<Self> {
        let cities = |annotation| CityFolders::find(root, annotation).map(Self::Cities);
        let masks = || paired(root, "images", "labels_masks").or_else(|| paired(root, "original", "labels"));
        let found = match kind {
            Cityscapes => cities("gtFine"),
            FishyscapesLostAndFound => PublishedLabels::find(root)
                .map(Self::PublishedLabels)
                .or_else(|| masks().map(Self::Paired))
                .or_else(|| cities("gtFine")),
            FishyscapesStatic => masks().map(Self::Paired).or_else(|| cities("gtFine")),
            LostAndFound => cities("gtCoarse"),
            RoadAnomaly => Frames::find(root).map(Self::Frames).or_else(|| masks().map(Self::Paired)),
            RoadAnomaly21 | RoadObstacle21 => masks().map(Self::Paired),
            DatasetKind::StreetHazards => StreetHazards::find(root).map(Self::StreetHazards),
            Folders => PairedFolders::find(root, &folders.images, &folders.labels).map(Self::Paired),
        };
        found.ok_or_else(|| {
            let problem = format!("does not hold {kind} (it holds {})", contents(root));
            Error::file(root, problem, expected(kind, folders))
        })
    }

    /// The splits that can be chosen; none where the layout has none.
    pub fn splits(&self, kind: DatasetKind) -> Vec<String> {
        match (self, kind) {
            (Self::Cities(cities), _) => cities.splits(),
            (Self::StreetHazards(archives), _) => archives.splits(),
            (Self::Paired(folders), RoadAnomaly21 | RoadObstacle21) => folders.splits(),
            _ => Vec::new(),
        }
    }

    /// The pictures of a split, with their labels. `split` is one of [`splits`](Self::splits), or `None` where there are none.
    pub fn list(&self, split: Option<&str>) -> Result<Listing> {
        match self {
            Self::Cities(cities) => cities.list(split.unwrap_or_default()),
            Self::StreetHazards(archives) => archives.list(split.unwrap_or_default()),
            Self::PublishedLabels(labels) => labels.list(),
            Self::Paired(folders) => folders.list(split),
            Self::Frames(frames) => frames.list(),
        }
    }
}

/// The dataset whose layout `root` has.
///
/// # Errors
/// [`Error::File`] when none fits, or several do; the message names them.
pub(super) fn detect(root: &Path) -> Result<DatasetKind> {
    let fitting = fitting(root);
    match fitting[..] {
        [] => {
            let known: Vec<&str> = DatasetKind::ALL.iter().map(|kind| kind.name()).collect();
            let problem = format!("fits no known layout (it holds {})", contents(root));
            let expected = format!(
                "the root of a dataset ({}; `sml dataset --help` tells their layouts)",
                known.join(", ")
            );
            Err(Error::file(root, problem, expected))
        }
        [kind] => Ok(kind),
        _ => match fitting.iter().find(|kind| is_named(root, **kind)) {
            Some(&kind) => Ok(kind),
            None => {
                let names: Vec<&str> = fitting.iter().map(|kind| kind.name()).collect();
                let problem = format!("may be {}, which share a layout", names.join(", "));
                Err(Error::file(root, problem, "--dataset to tell which, since their labels differ"))
            }
        },
    }
}

/// The datasets whose structure `root` has.
fn fitting(root: &Path) -> Vec<DatasetKind> {
    if root.join("fishyscapes_lostandfound").is_dir() {
        return vec![FishyscapesLostAndFound];
    }
    if Frames::find(root).is_some() {
        return vec![RoadAnomaly];
    }
    if StreetHazards::find(root).is_some() {
        return vec![DatasetKind::StreetHazards];
    }
    if let Some(cities) = CityFolders::find(root, "gtFine") {
        let is_coarse = CityFolders::find(root, "gtCoarse").is_some_and(|cities| cities.has_labels());
        return match (cities.has_labels(), &cities.splits()[..]) {
            (false, _) if is_coarse => vec![LostAndFound],
            // The copies of Fishyscapes that the original project evaluates on have this split alone.
            (true, [only]) if only == "val" => vec![Cityscapes, FishyscapesLostAndFound, FishyscapesStatic],
            _ => vec![Cityscapes],
        };
    }
    let masks = paired(root, "images", "labels_masks").or_else(|| paired(root, "original", "labels"));
    if let Some(folders) = masks.filter(PairedFolders::has_labels) {
        return match folders.is_segment_me_if_you_can() {
            Some(true) => vec![RoadObstacle21],
            Some(false) => vec![RoadAnomaly21],
            None => {
                vec![FishyscapesLostAndFound, FishyscapesStatic, RoadAnomaly, RoadAnomaly21, RoadObstacle21]
            }
        };
    }
    let folders = paired(root, "images", "labels").filter(PairedFolders::has_labels);
    folders.map(|_| Folders).into_iter().collect()
}

fn paired(root: &Path, images: &str, labels: &str) -> Option<PairedFolders> {
    PairedFolders::find(root, Path::new(images), Path::new(labels))
}

/// True when the folder itself is called like the dataset, as its makers or its users call it.
fn is_named(root: &Path, kind: DatasetKind) -> bool {
    let Ok(root) = root.canonicalize() else { return false };
    let name = root.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let names: &[&str] = match kind {
        Cityscapes => &["cityscapes"],
        FishyscapesLostAndFound => {
            &["fishyscapeslostandfound", "fishyscapeslaf", "fslostandfound", "fslaf", "fishylaf"]
        }
        FishyscapesStatic => &["fishyscapesstatic", "fsstatic", "fishystatic"],
        RoadAnomaly => &["roadanomaly"],
        RoadAnomaly21 => &["roadanomaly21", "anomalytrack"],
        RoadObstacle21 => &["roadobstacle21", "obstacletrack"],
        LostAndFound | DatasetKind::StreetHazards | Folders => &[],
    };
    names.contains(&letters.strip_prefix("dataset").unwrap_or(&letters))
}

/// What `kind` should have looked like.
fn expected(kind: DatasetKind, folders: &FolderLabels) -> String {
    const MASKS: &str = "images/NAME.EXT and labels_masks/NAME.png";
    const CITIES: &str = "leftImg8bit/SPLIT/CITY/*_leftImg8bit.png and gtFine/SPLIT/CITY/*_gtFine_labelIds.png, each in its \
                          archive's folder (leftImg8bit_trainvaltest/, gtFine_trainvaltest/) or not";
    match kind {
        Cityscapes => CITIES.to_owned(),
        FishyscapesStatic => format!("{MASKS}, or {CITIES}"),
        FishyscapesLostAndFound => format!(
            "{MASKS}, or fishyscapes_lostandfound/*_labels.png beside Lost and Found's leftImg8bit/, or {CITIES}"
        ),
        LostAndFound => {
            "leftImg8bit/SPLIT/SCENE/*_leftImg8bit.png and gtCoarse/SPLIT/SCENE/*_gtCoarse_labelIds.png".to_owned()
        }
        RoadAnomaly => format!("frames/NAME.webp and frames/NAME.labels/labels_semantic.png, or {MASKS}"),
        RoadAnomaly21 | RoadObstacle21 => "images/NAME.EXT and labels_masks/NAME_labels_semantic.png".to_owned(),
        DatasetKind::StreetHazards => {
            "train/images/training/TOWN/*.png and train/annotations/training/TOWN/*.png, or test/images/test/TOWN/*.png".to_owned()
        }
        Folders => format!("pictures in {}/ (--image-folder)", folders.images.display()),
    }
}

/// The first names in a folder, for messages.
fn contents(root: &Path) -> String {
    const MOST: usize = 6;
    let Ok(entries) = std::fs::read_dir(root) else { return "nothing that can be read".to_owned() };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| {
            entry.file_name().to_string_lossy().chars().take(40).flat_map(char::escape_debug).collect()
        })
        .collect();
    names.sort();
    match names.len() {
        0 => "nothing".to_owned(),
        many if many > MOST => format!("{} and {} more", names[..MOST].join(", "), many - MOST),
        _ => names.join(", "),
    }
}
