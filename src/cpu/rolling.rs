//! A few consecutive rows of an image, addressed by their row in the image.

/// Memory for the latest rows of an image: row `y` takes the place of row `y - rows`.
pub(super) struct Rolling<T> {
    elements: Vec<T>,
    rows: usize,
}

impl<T: Copy + Default> Rolling<T> {
    /// For `rows` rows of up to `width` elements.
    pub(super) fn new(rows: usize, width: usize) -> Self {
        Self { elements: vec![T::default(); rows * width], rows }
    }

    /// Row `y` of an image of this width.
    #[inline(always)]
    pub(super) fn row(&self, y: usize, width: usize) -> &[T] {
        &self.elements[y % self.rows * width..][..width]
    }

    /// Row `y` of an image of this width, to be filled.
    #[inline(always)]
    pub(super) fn row_mut(&mut self, y: usize, width: usize) -> &mut [T] {
        &mut self.elements[y % self.rows * width..][..width]
    }
}
