//! Tables and bars for a terminal.
//!
//! Note: `notes/wrong-table.md`.

/// The rows with their columns aligned to the right; the first row is the heading.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells.map(|(cell, &w)| format!("{cell:>w$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
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
