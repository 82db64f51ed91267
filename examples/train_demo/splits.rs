//! Which scenes serve what: training, validation, calibration, thresholds and test share no seed.

use std::path::Path;

use image::{GrayImage, RgbImage};
use sml::files::{prepare_folder, write_grey_png, write_rgb_png};
use sml::{Result, Size};

use crate::scene::{Scene, draw};

/// Width of a training scene and of every scene that is evaluated.
pub const WIDTH: u32 = 512;
/// Height of the same scenes.
pub const HEIGHT: u32 = 256;
/// The two as the library takes them.
pub const SIZE: Size = Size::new(HEIGHT as usize, WIDTH as usize);

/// Test scenes that are written.
const TEST_SCENES: u64 = 10;

/// What a scene is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Seen by the optimiser.
    Training,
    /// Held out, without unexpected objects.
    Validation,
    /// Held out, with unexpected objects.
    Test,
    /// Normal scenes for class statistics, seen by neither the optimiser nor the validation.
    Calibration,
    /// Scenes with unexpected objects for thresholds, none of them a test scene.
    Thresholds,
}

impl Split {
    /// The two highest bits of its seeds, and the index of its first scene. Two bits tell four splits apart; the fifth
    /// shares those of the test, far behind the few scenes of which that consists.
    fn series(self) -> (u64, u64) {
        match self {
            Self::Training => (0, 0),
            Self::Validation => (1, 0),
            Self::Test => (2, 0),
            Self::Calibration => (3, 0),
            Self::Thresholds => (2, 1 << 32),
        }
    }
}

/// Seed of scene `index` of `split`: no two splits share one.
pub fn scene_seed(seed: u64, split: Split, index: u64) -> u64 {
    let (series, first) = split.series();
    // SplitMix64's finaliser spreads neighbouring indices over all bits.
    let mut mixed =
        seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (first + index).wrapping_mul(0xD1B5_4A32_D192_ED03);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ (mixed >> 31)) >> 2) | (series << 62)
}

/// A scene without unexpected objects, with its train ids.
pub fn normal_scene(seed: u64, split: Split, index: u64) -> (RgbImage, GrayImage) {
    let scene = draw(scene_seed(seed, split, index), WIDTH, HEIGHT, false);
    (scene.image, scene.labels)
}

/// A scene with unexpected objects.
pub fn unexpected_scene(seed: u64, split: Split, index: u64) -> Scene {
    draw(scene_seed(seed, split, index), WIDTH, HEIGHT, true)
}

/// Writes the test scenes: `NN.png`, `NN_labels.png` (train ids, 255 ignored) and `NN_unexpected.png` (1 unexpected,
/// 0 normal, 255 ignored).
pub fn write_test_scenes(seed: u64, folder: &Path) -> Result<()> {
    prepare_folder(folder)?;
    for index in 0..TEST_SCENES {
        let scene = unexpected_scene(seed, Split::Test, index);
        let file = |suffix| folder.join(format!("{index:02}{suffix}.png"));
        write_rgb_png(&file(""), SIZE, scene.image.as_raw())?;
        write_grey_png(&file("_labels"), SIZE, scene.labels.as_raw())?;
        write_grey_png(&file("_unexpected"), SIZE, scene.unexpected.as_raw())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const SPLITS: [Split; 5] =
        [Split::Training, Split::Validation, Split::Test, Split::Calibration, Split::Thresholds];

    #[test]
    fn no_scene_serves_twice() {
        for seed in [0, 1, 42, u64::MAX] {
            let mut seeds = HashSet::new();
            for split in SPLITS {
                assert!((0..10_000).all(|index| seeds.insert(scene_seed(seed, split, index))), "{split:?}");
            }
        }
    }

    /// The bundled weights and scenes belong to these seeds: to change them is to train again.
    #[test]
    fn seeds_are_those_of_the_bundled_network() {
        let seeds = SPLITS.map(|split| scene_seed(1, split, 3));
        let expected = [
            0x0078_f021_1f35_494d,
            0x4078_f021_1f35_494d,
            0x8078_f021_1f35_494d,
            0xc078_f021_1f35_494d,
            0xb7b0_36f8_355f_789f,
        ];
        assert_eq!(seeds, expected);
    }
}
