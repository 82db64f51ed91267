//! Squares of numbers, turned over with the 128-bit vectors that every processor has.

/// A number of which squares with a side of `N` are turned over.
pub(super) trait Turn<const N: usize>: Copy + Default {
    /// Rows become columns.
    fn turned(rows: [[Self; N]; N]) -> [[Self; N]; N];
}

impl Turn<4> for f32 {
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn turned(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
        use std::arch::x86_64::__m128;

        // A part of the architecture: known when it is compiled.
        let Some(sse) = pulp::core_arch::x86::Sse::try_new() else { return one_by_one(rows) };
        let [a, b, c, d]: [__m128; 4] = bytemuck::cast(rows);
        let (ab_low, ab_high) = (sse._mm_unpacklo_ps(a, b), sse._mm_unpackhi_ps(a, b));
        let (cd_low, cd_high) = (sse._mm_unpacklo_ps(c, d), sse._mm_unpackhi_ps(c, d));
        bytemuck::cast([
            sse._mm_movelh_ps(ab_low, cd_low),
            sse._mm_movehl_ps(cd_low, ab_low),
            sse._mm_movelh_ps(ab_high, cd_high),
            sse._mm_movehl_ps(cd_high, ab_high),
        ])
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    fn turned(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
        one_by_one(rows)
    }
}

impl Turn<8> for u16 {
    /// Pairs of rows are interleaved, then pairs of pairs, then their pairs.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn turned(rows: [[u16; 8]; 8]) -> [[u16; 8]; 8] {
        use std::arch::x86_64::__m128i;

        let Some(sse) = pulp::core_arch::x86::Sse2::try_new() else { return one_by_one(rows) };
        let [a, b, c, d, e, f, g, h]: [__m128i; 8] = bytemuck::cast(rows);
        let (ab_low, ab_high) = (sse._mm_unpacklo_epi16(a, b), sse._mm_unpackhi_epi16(a, b));
        let (cd_low, cd_high) = (sse._mm_unpacklo_epi16(c, d), sse._mm_unpackhi_epi16(c, d));
        let (ef_low, ef_high) = (sse._mm_unpacklo_epi16(e, f), sse._mm_unpackhi_epi16(e, f));
        let (gh_low, gh_high) = (sse._mm_unpacklo_epi16(g, h), sse._mm_unpackhi_epi16(g, h));
        let upper = [
            sse._mm_unpacklo_epi32(ab_low, cd_low),
            sse._mm_unpackhi_epi32(ab_low, cd_low),
            sse._mm_unpacklo_epi32(ab_high, cd_high),
            sse._mm_unpackhi_epi32(ab_high, cd_high),
        ];
        let lower = [
            sse._mm_unpacklo_epi32(ef_low, gh_low),
            sse._mm_unpackhi_epi32(ef_low, gh_low),
            sse._mm_unpacklo_epi32(ef_high, gh_high),
            sse._mm_unpackhi_epi32(ef_high, gh_high),
        ];
        bytemuck::cast([
            sse._mm_unpacklo_epi64(upper[0], lower[0]),
            sse._mm_unpackhi_epi64(upper[0], lower[0]),
            sse._mm_unpacklo_epi64(upper[1], lower[1]),
            sse._mm_unpackhi_epi64(upper[1], lower[1]),
            sse._mm_unpacklo_epi64(upper[2], lower[2]),
            sse._mm_unpackhi_epi64(upper[2], lower[2]),
            sse._mm_unpacklo_epi64(upper[3], lower[3]),
            sse._mm_unpackhi_epi64(upper[3], lower[3]),
        ])
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    fn turned(rows: [[u16; 8]; 8]) -> [[u16; 8]; 8] {
        one_by_one(rows)
    }
}

#[inline(always)]
fn one_by_one<T: Copy + Default, const N: usize>(rows: [[T; N]; N]) -> [[T; N]; N] {
    let mut columns = [[T::default(); N]; N];
    for (i, row) in rows.iter().enumerate() {
        for (column, number) in columns.iter_mut().zip(row) {
            column[i] = *number;
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Turn<N> + PartialEq + std::fmt::Debug, const N: usize>(number: impl Fn(usize) -> T) {
        let rows: [[T; N]; N] =
            std::array::from_fn(|row| std::array::from_fn(|column| number(row * N + column)));
        let columns = T::turned(rows);
        for (column, numbers) in columns.iter().enumerate() {
            for (row, got) in numbers.iter().enumerate() {
                assert_eq!(*got, number(row * N + column));
            }
        }
        assert_eq!(columns, one_by_one(rows));
    }

    #[test]
    fn rows_become_columns() {
        check::<f32, 4>(|number| number as f32);
        check::<u16, 8>(|number| number as u16);
    }
}
