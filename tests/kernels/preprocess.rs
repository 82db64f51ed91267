//! `preprocess.cu` against the CPU's preprocessing: the same bytes, whatever the addresses, formats and sizes.

use half::{bf16, f16};
use proptest::prelude::*;
use sml::cuda::plan::PreprocessPlan;
use sml::{ElementType, InputMut, Layout, PixelFormat, Preprocessing, Preprocessor, Size};

use crate::engine_on_host::library;
use crate::kernel_harness::{Failure, Job, Launch, Order, run};
use crate::mutations::Mutation;
use crate::pictures::{Picture, imagenet, pictures, preprocessings};

/// A picture on its way to a network's input.
#[derive(Clone, Debug)]
pub struct Preparation {
    pub picture: Picture,
    pub preprocessing: Preprocessing,
    pub element: ElementType,
    pub layout: Layout,
    /// Bytes between a multiple of 256 and the picture.
    pub picture_offset: usize,
    /// Elements between a multiple of 256 bytes and the input.
    pub input_offset: usize,
    /// Whether the kernel is the generic one.
    pub generic: bool,
    /// Blocks in the second dimension of the grid at most: rows are taken in turns.
    pub most_blocks: u32,
}

impl Preparation {
    pub fn new(picture: Picture, preprocessing: Preprocessing) -> Self {
        Self {
            picture,
            preprocessing,
            element: ElementType::F32,
            layout: Layout::Nchw,
            picture_offset: 0,
            input_offset: 0,
            generic: true,
            most_blocks: u32::MAX,
        }
    }

    fn element_bytes(&self) -> usize {
        if self.element == ElementType::F32 { 4 } else { 2 }
    }

    /// The input's bytes.
    ///
    /// # Errors
    /// What a sanitizer or the harness found.
    pub fn on_host(&self, order: Order, mutation: Option<&Mutation>) -> Result<Vec<u8>, Failure> {
        let Self { picture, preprocessing, element, layout, .. } = self;
        let plan =
            PreprocessPlan::new(preprocessing, picture.size, picture.format, *element, *layout).unwrap();
        let variant = &plan.variants()[0];
        let variant = if self.generic { variant.generic() } else { variant.clone() };
        let mut job = Job::new(order);
        let pixels = job.buffer(picture.data.clone(), self.picture_offset);
        let tables = job.buffer(plan.tables().to_vec(), 0);
        let bytes = 3 * plan.input_size().pixels() * self.element_bytes();
        let input = job.unwritten(bytes, self.input_offset * self.element_bytes());
        let launch = plan.launch(pixels, picture.row_stride, tables, input);
        job.launches.push(Launch {
            library: library(&variant, mutation),
            entry: launch.entry,
            grid: [launch.grid[0], launch.grid[1].min(self.most_blocks), launch.grid[2]],
            block: launch.block,
            shared_bytes: launch.shared_bytes,
            arguments: launch.arguments.bytes().to_vec(),
            pointers: launch.arguments.pointers(),
        });
        Ok(run(&job)?.swap_remove(2))
    }

    fn on_cpu(&self) -> Vec<u8> {
        let mut preprocessor = Preprocessor::new(&self.preprocessing, self.picture.size).unwrap();
        let elements = 3 * preprocessor.input_size().pixels();
        let mut apply = |input| preprocessor.apply(&self.picture.view(), self.layout, input).unwrap();
        match self.element {
            ElementType::F32 => {
                let mut input = vec![0.0_f32; elements];
                apply(InputMut::F32(&mut input));
                bytemuck::cast_slice(&input).to_vec()
            }
            ElementType::F16 => {
                let mut input = vec![f16::ZERO; elements];
                apply(InputMut::F16(&mut input));
                bytemuck::cast_slice(&input).to_vec()
            }
            ElementType::BF16 => {
                let mut input = vec![bf16::ZERO; elements];
                apply(InputMut::BF16(&mut input));
                bytemuck::cast_slice(&input).to_vec()
            }
        }
    }

    /// What differs from the CPU's bytes, if anything.
    pub fn difference(&self, got: &[u8]) -> Option<String> {
        let want = self.on_cpu();
        assert_eq!(got.len(), want.len());
        let element = got.iter().zip(&want).position(|(got, want)| got != want)? / self.element_bytes();
        Some(format!("element {element} of the input differs"))
    }
}

/// Pictures that together reach every branch.
pub fn preparations() -> Vec<(&'static str, Preparation)> {
    let picture = |height, width, padding, format| Picture::new(Size::new(height, width), padding, format, 3);
    let to = |height, width| Preprocessing { input_size: Some(Size::new(height, width)), ..imagenet() };
    let rgb = Preparation::new(picture(11, 70, 2, PixelFormat::Rgb8), imagenet());
    let bgra = Preparation::new(picture(9, 132, 4, PixelFormat::Bgra8), imagenet());
    let turns = Preparation { most_blocks: 1, ..rgb.clone() };
    let half = |preparation: &Preparation| Preparation { element: ElementType::F16, ..preparation.clone() };
    let pixels = |preparation: &Preparation| Preparation { layout: Layout::Nhwc, ..preparation.clone() };
    // Half-way between two numbers of bfloat16, from 128 on.
    let halves = Preprocessing { scale: 1.0, mean: [0.5; 3], std: [1.0; 3], ..imagenet() };
    let ties = Preparation { element: ElementType::BF16, preprocessing: halves, ..bgra.clone() };
    let smaller =
        Preparation { most_blocks: 2, ..Preparation::new(picture(41, 90, 1, PixelFormat::Bgr8), to(17, 33)) };
    vec![
        ("picture", turns),
        ("picture, whole words", Preparation::new(picture(8, 64, 0, PixelFormat::Rgb8), imagenet())),
        ("picture, 4 bytes", bgra.clone()),
        ("picture, 4 bytes, misaligned", Preparation { picture_offset: 4, ..bgra.clone() }),
        ("picture, odd address", Preparation { picture_offset: 3, ..bgra.clone() }),
        ("picture, pixels", pixels(&bgra)),
        ("picture, pixels of float16", pixels(&half(&rgb))),
        ("picture, float16", half(&bgra)),
        ("picture, bfloat16", ties),
        ("picture, misaligned input", Preparation { input_offset: 1, ..half(&bgra) }),
        ("picture, pinned", Preparation { generic: false, ..rgb }),
        ("picture, smaller", smaller.clone()),
        ("picture, smaller, pixels", pixels(&half(&smaller))),
        ("picture, larger", Preparation::new(picture(5, 7, 0, PixelFormat::Rgba8), to(40, 33))),
        (
            "picture, larger, pinned",
            Preparation { generic: false, ..Preparation::new(picture(5, 7, 0, PixelFormat::Bgr8), to(8, 8)) },
        ),
    ]
}

fn any_preparation() -> impl Strategy<Value = Preparation> {
    let elements = prop_oneof![Just(ElementType::F32), Just(ElementType::F16), Just(ElementType::BF16)];
    let layouts = prop_oneof![Just(Layout::Nchw), Just(Layout::Nhwc)];
    let memory = (0_usize..20, 0_usize..5, any::<bool>(), 1_u32..4);
    (pictures(), preprocessings(), elements, layouts, memory).prop_map(
        |(picture, preprocessing, element, layout, (picture_offset, input_offset, generic, most_blocks))| {
            Preparation {
                picture,
                preprocessing,
                element,
                layout,
                picture_offset,
                input_offset,
                generic,
                most_blocks,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pictures_become_the_cpus_bytes(preparation in any_preparation(), seed in any::<u64>()) {
        let got = preparation.on_host(Order::Random(seed), None);
        let got = got.map_err(|failure| TestCaseError::fail(failure.0))?;
        if let Some(difference) = preparation.difference(&got) {
            return Err(TestCaseError::fail(difference));
        }
    }
}
