//! Whole files or none: full disks, folders that cannot be written, links and devices.

use std::fs;

use sml::Error;
use sml::files::{prepare_folder, write_npy, write_score_png, write_whole};

use crate::{Scratch, assert_refused};

#[test]
fn a_shape_that_does_not_fit_the_data_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.path().join("a.npy");
    for shape in [&[2, 3][..], &[], &[usize::MAX, 2]] {
        assert!(matches!(write_npy(&path, shape, &[0.0_f32; 5]), Err(Error::Shape { .. })), "{shape:?}");
    }
    assert!(!path.exists());
}

#[test]
#[cfg(unix)]
fn a_new_file_has_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let usual = scratch.file("usual", b"");
    let path = scratch.path().join("whole");
    write_whole(&path, |out| out.write_all(b"x")).unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path), mode(&usual));
}

#[test]
#[cfg(unix)]
fn a_link_is_followed_and_stays_a_link() {
    let scratch = Scratch::new();
    let file = scratch.file("file", b"older");
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink("file", &link).unwrap();
    write_whole(&link, |out| out.write_all(b"newer")).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&file).unwrap(), b"newer");
}

#[test]
#[cfg(target_os = "linux")]
fn a_device_is_written_and_stays_a_device() {
    use std::os::unix::fs::FileTypeExt;
    use std::path::Path;
    write_whole(Path::new("/dev/null"), |out| out.write_all(&[0; 1000])).unwrap();
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    // A device that is always full.
    let scores = vec![1.0_f32; 100_000];
    assert_refused(
        write_npy(Path::new("/dev/full"), &[100_000], &scores),
        "/dev/full",
        "cannot write: No space",
    );
    let size = sml::Size::new(100, 1000);
    assert_refused(write_score_png(Path::new("/dev/full"), size, &scores), "/dev/full", "cannot write");
}

#[test]
#[cfg(target_os = "linux")]
fn a_folder_that_cannot_be_written_is_named() {
    use std::path::Path;
    // Nobody creates files in /proc, not even root.
    assert_refused(
        write_npy(Path::new("/proc/score.npy"), &[1], &[1.0_f32]),
        "/proc/score.npy",
        "cannot write",
    );
    assert_refused(prepare_folder(Path::new("/proc")), "/proc", "cannot create files in it");
    assert_refused(prepare_folder(Path::new("/proc/inner")), "/proc/inner", "cannot create the folder");
}

#[test]
fn a_folder_is_created_with_its_parents() {
    let scratch = Scratch::new();
    let inner = scratch.path().join("a/b");
    prepare_folder(&inner).unwrap();
    prepare_folder(&inner).unwrap();
    assert_eq!(fs::read_dir(&inner).unwrap().count(), 0);
    let file = scratch.file("file", b"");
    assert_refused(prepare_folder(&file), "file", "cannot create the folder");
}

/// A file system of one megabyte; gone when it is dropped.
#[cfg(target_os = "linux")]
struct SmallDisk(Scratch);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn mount() -> Option<Self> {
        let scratch = Scratch::new();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(scratch.path());
        mount.output().is_ok_and(|output| output.status.success()).then_some(Self(scratch))
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_leaves_the_older_file_and_nothing_else() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: a small file system cannot be mounted here (it takes root)");
        return;
    };
    let path = disk.0.path().join("score.npy");
    write_npy(&path, &[1000], &[1.0_f32; 1000]).unwrap();
    let older = fs::read(&path).unwrap();
    let refused = write_npy(&path, &[1 << 20], &vec![2.0_f32; 1 << 20]);
    assert_refused(refused, "score.npy", "cannot write: No space");
    assert_eq!(fs::read(&path).unwrap(), older);
    assert_eq!(fs::read_dir(disk.0.path()).unwrap().count(), 1);
    write_npy(&path, &[1001], &[3.0_f32; 1001]).unwrap();
}
