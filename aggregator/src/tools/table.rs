//! Tables for people.

use std::fmt;

/// A table: a head and rows of as many cells.
#[derive(Debug)]
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&'static str]) -> Self {
        Self {
            head: head.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, row: Vec<String>) {
        debug_assert_eq!(row.len(), self.head.len(), "a cell per column");
        self.rows.push(row);
    }

    /// Returns it as CSV, its head as the first line.
    pub(super) fn to_csv(&self) -> String {
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row.iter().map(|cell| quote_csv(cell)).collect();
            format!("{}\n", cells.join(","))
        };
        let head: Vec<String> = self.head.iter().map(|cell| (*cell).to_owned()).collect();
        std::iter::once(&head).chain(&self.rows).map(line).collect()
    }
}

/// Returns a cell of CSV.
pub(super) fn quote_csv(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

impl fmt::Display for Table {
    /// Columns are as wide as their widest cell, two blanks apart; the last is not padded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head: Vec<String> = self.head.iter().map(|cell| (*cell).to_owned()).collect();
        let lines = || std::iter::once(&head).chain(&self.rows);
        let width = |column: usize| {
            lines()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        for row in lines() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["NAME", "N"]);
        table.push(vec!["a-long-name".to_owned(), "1".to_owned()]);
        table.push(vec!["ü".to_owned(), "22".to_owned()]);
        assert_eq!(
            table.to_string(),
            "NAME         N\na-long-name  1\nü            22\n"
        );
    }
}
