//! Squares of four rows of four numbers, turned over with the 128-bit vectors that every processor has.

/// Rows become columns.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn transposed(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
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

/// Rows become columns.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn transposed(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
    one_by_one(rows)
}

#[inline(always)]
fn one_by_one(rows: [[f32; 4]; 4]) -> [[f32; 4]; 4] {
    std::array::from_fn(|column| std::array::from_fn(|row| rows[row][column]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn rows_become_columns() {
        let rows =
            [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 10.0, 11.0], [12.0, 13.0, 14.0, 15.0]];
        assert_eq!(super::transposed(rows), super::one_by_one(rows));
        assert_eq!(super::transposed(rows)[1], [1.0, 5.0, 9.0, 13.0]);
    }
}
