//! Tables of text for people.

use crate::output::escape_control;

/// The text between two columns.
const COLUMN_GAP: &str = "  ";

/// A table in which each column is as wide as its longest cell.
#[derive(Debug)]
pub(crate) struct TextTable {
    rows: Vec<Vec<String>>,
}

impl TextTable {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|&name| name.to_owned()).collect()] }
    }

    pub(crate) fn add_row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| escape_control(cell)).collect());
    }

    pub(crate) fn render(&self) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            text.push_str(cells.join(COLUMN_GAP).trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_control_characters_escaped() {
        let mut table = TextTable::new(&["ID", "NAME", "X"]);
        table.add_row(vec!["1".into(), "häh".into(), String::new()]);
        table.add_row(vec!["22".into(), "a\u{1b}[2J\nb".into(), "z".into()]);
        assert_eq!(table.render(), "ID  NAME              X\n1   häh\n22  a\\u{1b}[2J\\u{a}b  z\n");
    }
}
