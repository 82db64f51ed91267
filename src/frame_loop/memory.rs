//! Blocks of host memory that frames and results lie in, allocated once.

use ndarray::{ArrayView1, ArrayView2, Axis};

#[cfg(feature = "cuda")]
use crate::cuda::PinnedBlock;
use crate::{AnomalyMapMut, Error, Result, ScoreMut, Size};

/// A block of host memory whose first byte is aligned for every element type, zeroed when it is allocated.
pub(crate) enum HostMemory {
    /// The program's own.
    Own(OwnMemory),
    /// Such as a GPU copies from and to by itself.
    #[cfg(feature = "cuda")]
    Pinned(PinnedBlock),
}

pub(crate) struct OwnMemory {
    words: Vec<u64>,
    bytes: usize,
}

impl HostMemory {
    /// Memory of the program's own.
    ///
    /// # Errors
    /// [`Error::Shape`] where there is none.
    pub fn allocate(bytes: usize) -> Result<Self> {
        let mut words = Vec::new();
        let length = bytes.div_ceil(size_of::<u64>());
        words.try_reserve_exact(length).map_err(|_| Error::Shape {
            what: "memory of the loop's frames",
            given: format!("{bytes} bytes a frame"),
            expected: "frames that fit into memory: let fewer wait".to_owned(),
        })?;
        words.resize(length, 0);
        Ok(Self::Own(OwnMemory { words, bytes }))
    }

    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Own(own) => &bytemuck::cast_slice(&own.words)[..own.bytes],
            #[cfg(feature = "cuda")]
            Self::Pinned(pinned) => pinned.as_bytes(),
        }
    }

    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Own(own) => &mut bytemuck::cast_slice_mut(&mut own.words)[..own.bytes],
            #[cfg(feature = "cuda")]
            Self::Pinned(pinned) => pinned.as_bytes_mut(),
        }
    }

    /// The block, where it is pinned.
    ///
    /// # Errors
    /// [`Error::Shape`] for memory of the program's own.
    #[cfg(feature = "cuda")]
    pub fn pinned(&self) -> Result<&PinnedBlock> {
        match self {
            Self::Pinned(pinned) => Ok(pinned),
            Self::Own(_) => Err(Error::Shape {
                what: "memory of the frame",
                given: "not pinned".to_owned(),
                expected: "memory of the loop's".to_owned(),
            }),
        }
    }
}

/// One image's result in a block, in this order: count of non-finite pixels (uint64) at the
/// beginning of a head of 256 bytes, scores (float32), predictions (uint8).
pub(crate) struct ResultMemory {
    pub block: HostMemory,
    pub size: Size,
}

/// Bytes before the scores, so that they and, for most sizes, the predictions lie as a GPU reads and writes best.
const HEAD: usize = 256;

impl ResultMemory {
    /// Bytes of a block for results of this size.
    pub fn bytes(size: Size) -> usize {
        HEAD + size.pixels() * (size_of::<f32>() + size_of::<u8>())
    }

    /// Where in a block the count, the scores and the predictions begin, in bytes.
    #[cfg(feature = "cuda")]
    pub fn places(size: Size) -> [u64; 3] {
        [0, HEAD, HEAD + size.pixels() * size_of::<f32>()].map(|place| place as u64)
    }

    pub fn score(&self) -> &[f32] {
        bytemuck::cast_slice(&self.block.as_bytes()[HEAD..][..self.size.pixels() * size_of::<f32>()])
    }

    pub fn score_mut(&mut self) -> &mut [f32] {
        let scores = self.size.pixels() * size_of::<f32>();
        bytemuck::cast_slice_mut(&mut self.block.as_bytes_mut()[HEAD..][..scores])
    }

    pub fn prediction(&self) -> &[u8] {
        &self.block.as_bytes()[HEAD + self.size.pixels() * size_of::<f32>()..]
    }

    pub fn non_finite(&self) -> u64 {
        bytemuck::cast_slice::<u8, u64>(&self.block.as_bytes()[..HEAD])[0]
    }

    /// The block, for an engine to write its result into.
    pub fn as_mut(&mut self) -> AnomalyMapMut<'_> {
        let (head, rest) = self.block.as_bytes_mut().split_at_mut(HEAD);
        let (score, prediction) = rest.split_at_mut(self.size.pixels() * size_of::<f32>());
        AnomalyMapMut {
            size: self.size,
            score: ScoreMut::F32(bytemuck::cast_slice_mut(score)),
            prediction,
            non_finite: &mut bytemuck::cast_slice_mut(head)[..1],
        }
    }
}

/// Rows and columns over a block that was allocated for just as many; were it not, one row of what there is.
pub(super) fn map<T>(elements: &[T], size: Size) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((size.height, size.width), elements)
        .unwrap_or_else(|_| ArrayView1::from(elements).insert_axis(Axis(0)))
}
