//! Tables and bars for a terminal.
//!
//! Note: `notes/wrong-table.md`.

use crate::bench::table::Table;

/// The rows with their columns aligned to the right; the first row is the heading.
pub fn columns(rows: &[Vec<String>]) -> String {
    let rows = rows.to_vec();
    Table { rows }.text()
}

/// A row of [`columns`].
pub fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// A bar as long as `value` is, measured against `most`, which gets forty signs.
pub fn bar(value: f64, most: f64) -> String {
    let length = value / most.max(f64::MIN_POSITIVE) * 40.0;
    "#".repeat(length.round() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [row(["n", "rate"]), row(["10", "5"])];
        assert_eq!(columns(&rows), " n  rate\n10     5\n");
        assert_eq!(bar(5.0, 10.0).len(), 20);
        assert_eq!(bar(0.0, 0.0), "");
    }
}
