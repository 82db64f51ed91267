//! What `ObstacleFinder` finds in any picture is what the flood fill finds.

use ndarray::{Array2, Axis, array};
use proptest::collection::vec;
use proptest::prelude::*;
use sml::obstacles::{DrivableArea, Obstacle, ObstacleFinder, ObstacleParams};
use sml::{Error, Size};

use super::flood_fill;

/// Scores around 1, among them NaN and infinity, and three classes in patches.
fn frame() -> impl Strategy<Value = (Array2<f32>, Array2<u8>)> {
    let score = prop_oneof![
        10 => -1.0..1.0_f32, 9 => 1.0..3.0_f32, 1 => Just(f32::NAN), 1 => Just(f32::INFINITY), 1 => Just(1.0),
        1 => Just(f32::NEG_INFINITY),
    ];
    let class = prop_oneof![6 => Just(0_u8), 2 => Just(7), 2 => Just(255)];
    (1..12_usize, 1..140_usize).prop_flat_map(move |(height, width)| {
        let pixels = height * width;
        (vec(score.clone(), pixels), vec(class.clone(), pixels)).prop_map(move |(score, class)| {
            let shape = (height, width);
            (Array2::from_shape_vec(shape, score).unwrap(), Array2::from_shape_vec(shape, class).unwrap())
        })
    })
}

fn params() -> impl Strategy<Value = ObstacleParams> {
    let classes = prop_oneof![Just(vec![0]), Just(vec![0, 7]), Just(vec![7, 3])];
    let drivable = (classes, 0..4_usize).prop_map(|(classes, margin)| DrivableArea { classes, margin });
    (prop::option::of(drivable), 1..12_usize).prop_map(|(drivable, minimum_area)| ObstacleParams {
        drivable,
        minimum_area,
        ..ObstacleParams::above(1.0)
    })
}

fn find(params: &ObstacleParams, score: &Array2<f32>, prediction: &Array2<u8>) -> Vec<Obstacle> {
    let size = Size::new(score.nrows(), score.ncols());
    let mut finder = ObstacleFinder::new(params.clone(), size).unwrap();
    finder.find(score.view(), prediction.view()).unwrap().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn obstacles_are_those_of_the_flood_fill((score, prediction) in frame(), params in params()) {
        let wanted = flood_fill::obstacles(&params, score.view(), prediction.view());
        prop_assert_eq!(find(&params, &score, &prediction), wanted);
    }

    #[test]
    fn memory_order_changes_nothing((score, prediction) in frame(), params in params()) {
        let wanted = find(&params, &score, &prediction);
        let columns_first = |rows: &Array2<f32>| rows.t().as_standard_layout().reversed_axes().to_owned();
        let mut reversed = prediction.clone();
        reversed.invert_axis(Axis(1));
        let mut reversed = reversed.as_standard_layout().to_owned();
        reversed.invert_axis(Axis(1));
        prop_assert_eq!(&reversed, &prediction);
        prop_assert_eq!(find(&params, &columns_first(&score), &reversed), wanted);
    }

    #[test]
    fn a_frame_leaves_nothing_behind_but_ids(frames in vec(frame(), 2..4), params in params()) {
        // All frames with the size of the smallest.
        let height = frames.iter().map(|(score, _)| score.nrows()).min().unwrap();
        let width = frames.iter().map(|(score, _)| score.ncols()).min().unwrap();
        let mut finder = ObstacleFinder::new(params.clone(), Size::new(height, width)).unwrap();
        for (score, prediction) in &frames {
            let area = ndarray::s![..height, ..width];
            let (score, prediction) = (score.slice(area), prediction.slice(area));
            let found = finder.find(score, prediction).unwrap();
            let wanted = flood_fill::obstacles(&params, score, prediction);
            let without_id = |obstacles: &[Obstacle]| -> Vec<Obstacle> {
                obstacles.iter().map(|obstacle| Obstacle { id: 0, ..*obstacle }).collect()
            };
            prop_assert_eq!(without_id(found), without_id(&wanted));
        }
    }
}

#[test]
fn objects_on_the_road_are_inside_whatever_they_are_called() {
    let road = 0;
    let mut prediction = Array2::from_elem((20, 20), road);
    // A "car" in the middle, a "person" at the upper border of the road, a building above.
    prediction.slice_mut(ndarray::s![..5, ..]).fill(2);
    prediction.slice_mut(ndarray::s![5..8, 3..6]).fill(11);
    prediction.slice_mut(ndarray::s![10..14, 8..12]).fill(13);
    let mut score = Array2::zeros((20, 20));
    score.slice_mut(ndarray::s![4..8, 3..6]).fill(5.0);
    score.slice_mut(ndarray::s![10..14, 8..12]).fill(4.0);
    let boxes = |margin| {
        let drivable = Some(DrivableArea { margin, ..DrivableArea::road() });
        let params = ObstacleParams { minimum_area: 1, drivable, ..ObstacleParams::above(3.0) };
        let found = find(&params, &score, &prediction);
        found.iter().map(|o| (o.bounding_box.top, o.bounding_box.height, o.area)).collect::<Vec<_>>()
    };
    // The person is no hole, since it touches the building, which reaches the picture's border.
    assert_eq!(boxes(0), [(10, 4, 16)]);
    // One pixel further: the person's outline, but neither its middle nor that of its head.
    assert_eq!(boxes(1), [(4, 4, 9), (10, 4, 16)]);
    assert_eq!(boxes(2), [(4, 4, 12), (10, 4, 16)]);
}

#[test]
fn broken_scores_make_no_obstacle_and_infinite_ones_show() {
    let params = ObstacleParams { minimum_area: 1, ..ObstacleParams::above(0.0) };
    let prediction = Array2::zeros((1, 5));
    assert!(find(&params, &Array2::from_elem((1, 5), f32::NAN), &prediction).is_empty());
    let score = array![[f32::INFINITY, 1.0, f32::NAN, 2.0, f32::NEG_INFINITY]];
    let found = find(&params, &score, &prediction);
    assert_eq!(found.iter().map(|o| (o.id, o.area)).collect::<Vec<_>>(), [(1, 2), (2, 1)]);
    let json = serde_json::to_string(&found[0]).unwrap();
    assert_eq!(
        json,
        r#"{"id":1,"bounding_box":{"left":0,"top":0,"width":2,"height":1},"area":2,"mean_score":"inf","max_score":"inf","centroid":[0.5,0.0],"surrounding_class":0}"#
    );
    assert_eq!(serde_json::from_str::<Obstacle>(&json).unwrap(), found[0]);
}

#[test]
fn wrong_parameters_and_sizes_are_refused() {
    let size = Size::new(4, 6);
    let refused = |params: ObstacleParams| ObstacleFinder::new(params, size).unwrap_err().to_string();
    assert!(refused(ObstacleParams::above(f32::NAN)).starts_with("threshold is NaN"));
    assert!(refused(ObstacleParams::above(f32::INFINITY)).starts_with("threshold is inf"));
    let none = ObstacleParams { minimum_area: 0, ..ObstacleParams::above(1.0) };
    assert!(refused(none).starts_with("minimum_area is 0"));
    let drivable = Some(DrivableArea { classes: Vec::new(), margin: 3 });
    let nowhere = ObstacleParams { drivable, ..ObstacleParams::above(1.0) };
    assert!(refused(nowhere).starts_with("drivable.classes is empty"));
    for size in [Size::new(0, 4), Size::new(1 << 16, 1 << 16), Size::new(usize::MAX, 2)] {
        let error = ObstacleFinder::new(ObstacleParams::above(1.0), size).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
    let mut finder = ObstacleFinder::new(ObstacleParams::above(1.0), size).unwrap();
    let error = finder.find(Array2::zeros((6, 4)).view(), Array2::zeros((4, 6)).view()).unwrap_err();
    assert_eq!(error.to_string(), "score map is 6 x 4: expected 4 x 6, as the finder was made for");
    let error = finder.find(Array2::zeros((4, 6)).view(), Array2::zeros((4, 7)).view()).unwrap_err();
    assert!(error.to_string().starts_with("prediction is 4 x 7"), "{error}");
}
