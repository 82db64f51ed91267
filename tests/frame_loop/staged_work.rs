//! Work that is told what to do: the tests' network.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use sml::frame_loop::{
    FrameForm, FrameInput, FrameLoop, FrameLoopOptions, FrameStamp, FrameWork, Submission, Submitter,
    WorkTimings,
};
use sml::{AnomalyMapMut, Error, PictureView, PixelFormat, Result, ScoreMut, Size};

pub const SIZE: Size = Size { height: 3, width: 5 };
pub const FORM: FrameForm = FrameForm::Picture { size: SIZE, format: PixelFormat::Rgb8 };

/// What the work does with a frame, known by the first byte of its picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    Fail,
    Panic,
}

/// Writes the picture's first byte as every score. Waits for leave where it is told to, sleeps where it is told to.
pub struct StagedWork {
    pub fault: Option<(u8, Fault)>,
    pub sleep: Duration,
    pub leave: Option<Receiver<()>>,
    /// Told when a frame has been taken.
    pub taken: Option<Sender<()>>,
}

impl Default for StagedWork {
    fn default() -> Self {
        Self { fault: None, sleep: Duration::ZERO, leave: None, taken: None }
    }
}

impl StagedWork {
    /// Work that says when it has taken a frame, and begins it only when the sender says so.
    pub fn held() -> (Self, Sender<()>, Receiver<()>) {
        let ((sender, leave), (telling, taken)) = (channel(), channel());
        (Self { leave: Some(leave), taken: Some(telling), ..Self::default() }, sender, taken)
    }
}

impl FrameWork for StagedWork {
    fn run(&mut self, frame: &FrameInput<'_>, result: AnomalyMapMut<'_>) -> Result<WorkTimings> {
        let FrameInput::Picture(picture) = frame else { panic!("not a picture") };
        let name = picture.data()[0];
        if let Some(taken) = &self.taken {
            let _ = taken.send(());
        }
        if let Some(leave) = &self.leave {
            // A sender that is gone lets all go.
            let _ = leave.recv();
        }
        if !self.sleep.is_zero() {
            std::thread::sleep(self.sleep);
        }
        match self.fault {
            Some((faulty, Fault::Fail)) if faulty == name => {
                return Err(Error::Cuda { action: "work".to_owned(), message: format!("fault at {name}") });
            }
            Some((faulty, Fault::Panic)) if faulty == name => panic!("the work fell over at {name}"),
            _ => {}
        }
        let ScoreMut::F32(score) = result.score else { panic!("not float32") };
        score.fill(f32::from(name));
        result.prediction.copy_from_slice(&picture.data()[..SIZE.pixels()]);
        result.non_finite[0] = u64::from(name) + 1;
        Ok(WorkTimings::default())
    }
}

pub fn stamp(id: u64) -> FrameStamp {
    FrameStamp { id, timestamp: Duration::from_millis(40 * id) }
}

/// A picture whose bytes begin with the id's lowest.
pub fn picture(id: u64) -> Vec<u8> {
    (0..3 * SIZE.pixels()).map(|n| (id as u8).wrapping_add(n as u8)).collect()
}

pub fn submit(submitter: &mut Submitter, id: u64) -> Result<Submission> {
    let bytes = picture(id);
    submitter.submit(PictureView::packed(&bytes, SIZE, PixelFormat::Rgb8)?, stamp(id))
}

pub fn around(work: StagedWork, options: FrameLoopOptions) -> FrameLoop {
    FrameLoop::around(work, FORM, SIZE, options).unwrap()
}
