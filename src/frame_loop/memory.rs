//! Blocks of host memory that frames and results lie in, allocated once.

use ndarray::{ArrayView1, ArrayView2, Axis};

use crate::{AnomalyMapMut, Error, Result, ScoreMut, Size};

/// A block of host memory whose first byte is aligned for every element type, zeroed when it is allocated.
pub(crate) struct HostMemory {
    words: Vec<u64>,
    bytes: usize,
}

impl HostMemory {
    /// # Errors
    /// [`Error::Shape`] where there is no memory.
    pub fn allocate(bytes: usize) -> Result<Self> {
        let mut words = Vec::new();
        let length = bytes.div_ceil(size_of::<u64>());
        words.try_reserve_exact(length).map_err(|_| Error::Shape {
            what: "memory of the loop's frames",
            given: format!("{bytes} bytes a frame"),
            expected: "frames that fit into memory: let fewer wait".to_owned(),
        })?;
        words.resize(length, 0);
        Ok(Self { words, bytes })
    }

    pub fn as_bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.bytes]
    }

    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.bytes]
    }
}

/// One image's result in a block, in this order: count of non-finite pixels (uint64), scores (float32), predictions (uint8).
pub(crate) struct ResultMemory {
    pub block: HostMemory,
    pub size: Size,
}

const COUNT: usize = size_of::<u64>();

impl ResultMemory {
    /// Bytes of a block for results of this size.
    pub fn bytes(size: Size) -> usize {
        COUNT + size.pixels() * (size_of::<f32>() + size_of::<u8>())
    }

    pub fn score(&self) -> &[f32] {
        bytemuck::cast_slice(&self.block.as_bytes()[COUNT..][..self.size.pixels() * size_of::<f32>()])
    }

    pub fn score_mut(&mut self) -> &mut [f32] {
        let scores = self.size.pixels() * size_of::<f32>();
        bytemuck::cast_slice_mut(&mut self.block.as_bytes_mut()[COUNT..][..scores])
    }

    pub fn prediction(&self) -> &[u8] {
        &self.block.as_bytes()[COUNT + self.size.pixels() * size_of::<f32>()..]
    }

    pub fn non_finite(&self) -> u64 {
        bytemuck::cast_slice::<u8, u64>(&self.block.as_bytes()[..COUNT])[0]
    }

    /// The block, for an engine to write its result into.
    pub fn as_mut(&mut self) -> AnomalyMapMut<'_> {
        let (count, rest) = self.block.as_bytes_mut().split_at_mut(COUNT);
        let (score, prediction) = rest.split_at_mut(self.size.pixels() * size_of::<f32>());
        AnomalyMapMut {
            size: self.size,
            score: ScoreMut::F32(bytemuck::cast_slice_mut(score)),
            prediction,
            non_finite: bytemuck::cast_slice_mut(count),
        }
    }
}

/// Rows and columns over a block that was allocated for just as many; were it not, one row of what there is.
pub(super) fn map<T>(elements: &[T], size: Size) -> ArrayView2<'_, T> {
    ArrayView2::from_shape((size.height, size.width), elements)
        .unwrap_or_else(|_| ArrayView1::from(elements).insert_axis(Axis(0)))
}
