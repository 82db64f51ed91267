//! What the program leaves on disk: every file appears whole or not at all.

use std::io::{Cursor, Write};
use std::path::Path;

use image::{EncodableLayout, ImageBuffer, ImageFormat, Pixel, PixelWithColorType};
use sml::{Error, Result};

use crate::samples::{HEIGHT, Purpose, WIDTH, scene_seed};
use crate::scene;

/// Test scenes that are written.
const TEST_SCENES: u64 = 10;

/// Creates `folder` and those above it.
pub fn create_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create the folder", error))
}

/// Writes `bytes` to a temporary file beside `file`, then renames it.
pub fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let written = tempfile::Builder::new()
        .prefix(".writing-")
        .permissions(readable_by_all())
        .tempfile_in(folder)
        .and_then(|mut temporary| {
            temporary.write_all(bytes)?;
            temporary.as_file().sync_all()?;
            temporary.persist(file).map_err(|error| error.error)
        });
    written.map(drop).map_err(|error| Error::io(file, "write", error))
}

/// What a plain `File::create` gives, less the user's umask; temporary files are private otherwise.
fn readable_by_all() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

/// Writes scenes with unexpected objects: `NN.png`, `NN_labels.png` (train ids, 255 ignored) and `NN_unexpected.png`
/// (1 unexpected, 0 normal, 255 ignored).
pub fn write_test_scenes(seed: u64, folder: &Path) -> Result<()> {
    create_folder(folder)?;
    for index in 0..TEST_SCENES {
        let scene = scene::draw(scene_seed(seed, Purpose::Test, index), WIDTH, HEIGHT, true);
        write_png(&folder.join(format!("{index:02}.png")), &scene.image)?;
        write_png(&folder.join(format!("{index:02}_labels.png")), &scene.labels)?;
        write_png(&folder.join(format!("{index:02}_unexpected.png")), &scene.unexpected)?;
    }
    write(&folder.join("README.txt"), readme(seed).as_bytes())
}

fn write_png<P>(file: &Path, picture: &ImageBuffer<P, Vec<u8>>) -> Result<()>
where
    P: Pixel<Subpixel = u8> + PixelWithColorType,
    [u8]: EncodableLayout,
{
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| Error::io(file, "encode", std::io::Error::other(error)))?;
    write(file, bytes.get_ref())
}

fn readme(seed: u64) -> String {
    format!(
        "Synthetic street scenes, drawn by examples/train_demo (seed {seed}): no photograph is among them.\n\n\
         They hold unexpected objects that no training scene has; their seeds are none of the training's.\n\n\
         NN.png             the picture, {WIDTH} x {HEIGHT}\n\
         NN_labels.png      train ids of Cityscapes, 255 = not labelled\n\
         NN_unexpected.png  1 = unexpected object, 0 = normal, 255 = not evaluated\n"
    )
}
