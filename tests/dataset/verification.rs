//! Verifying a copy: what is missing, unreadable, of another size, or labelled with other values.

use sml::dataset::{Dataset, DatasetKind, FindingKind, FolderLabels};

use super::{SIDE, Tree};

fn found(dataset: &Dataset, deep: bool) -> Vec<FindingKind> {
    dataset.check(deep, || {}).unwrap().findings.iter().map(|finding| finding.kind).collect()
}

#[test]
fn a_whole_copy_has_nothing_to_tell() {
    let tree = Tree::new();
    for n in 0..60 {
        tree.picture(&format!("frames/f{n}.jpg"))
            .labels(&format!("frames/f{n}.labels/labels_semantic.png"), &[0, 2]);
    }
    let dataset = tree.open(DatasetKind::RoadAnomaly).unwrap();
    let mut pictures = 0;
    let check = dataset.check(true, || pictures += 1).unwrap();
    assert!(check.findings.is_empty(), "{:?}", check.findings);
    assert_eq!((pictures, check.images, check.labelled, check.content.files()), (60, 60, 60, 120));
    // The digest is that of what a measurement reads.
    let mut read = sml::dataset::ContentHash::default();
    dataset.items().iter().for_each(|item| read.merge(&dataset.read(item).unwrap().content));
    assert_eq!(read, check.content);
}

#[test]
fn counts_are_compared_with_the_official_ones() {
    let tree = Tree::new();
    tree.picture("leftImg8bit/train/x/x_0_0_leftImg8bit.png");
    tree.labels("gtFine/train/x/x_0_0_gtFine_labelIds.png", &[7]);
    let dataset = tree.open(DatasetKind::Cityscapes).unwrap();
    let check = dataset.check(false, || {}).unwrap();
    assert_eq!(check.findings.len(), 1);
    let text = check.findings[0].to_string();
    assert!(text.ends_with("holds 1 pictures of the split train; the official copy has 2975"), "{text}");
}

#[test]
fn damage_is_found_by_decoding() {
    let tree = Tree::new();
    for name in ["a", "b", "c", "d"] {
        tree.picture(&format!("images/{name}.png")).labels(&format!("labels/{name}.png"), &[0, 1]);
    }
    let whole = std::fs::read(tree.path("images/a.png")).unwrap();
    std::fs::write(tree.path("images/a.png"), &whole[..whole.len() / 2]).unwrap();
    tree.labels_of_size("labels/b.png", &[0], SIDE, SIDE + 1);
    tree.labels("labels/c.png", &[0, 1, 77, 77]);
    let folders = FolderLabels { ignore: vec![255], ..FolderLabels::default() };
    let dataset = Dataset::open(Some(DatasetKind::Folders), tree.root(), None, &folders).unwrap();
    assert!(found(&dataset, false).is_empty(), "all files can be read");
    let expected = [FindingKind::Unreadable, FindingKind::Size, FindingKind::UndefinedLabels];
    assert_eq!(found(&dataset, true), expected);
    let check = dataset.check(true, || {}).unwrap();
    let texts: Vec<String> = check.findings.iter().map(ToString::to_string).collect();
    assert!(
        texts[1].ends_with("labels/b.png has 9x8 pixels (height x width): expected 8x8, as its picture has"),
        "{texts:?}"
    );
    assert!(
        texts[2].ends_with("c.png holds values that folders does not define: 77 (62 pixels)"),
        "{texts:?}"
    );

    std::fs::remove_file(tree.path("images/d.png")).unwrap();
    assert_eq!(found(&dataset, false), [FindingKind::Unreadable]);
}
