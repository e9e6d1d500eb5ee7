//! What is measured, as a table for people and as JSON for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// A figure, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Figure(f64),
    Absent(String),
}

/// Peers of a table.
const PEERS: usize = 2;

/// What the columns of peers are called.
pub(crate) type PeerNames = [&'static str; PEERS];

/// What a figure has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) must: f64,
    pub(crate) aim: f64,
    /// More is better.
    pub(crate) at_least: bool,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// What was measured, and on what.
    pub(crate) measure: String,
    pub(crate) unit: &'static str,
    pub(crate) ours: Cell,
    pub(crate) peers: [Cell; PEERS],
    pub(crate) bound: Option<Bound>,
    /// The bound is on the first peer's column rather than ours: peers must look as they are known to.
    pub(crate) of_peers: bool,
    /// How, and what else came out of it.
    pub(crate) note: String,
}

/// How a line stands to its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is no bound.
    Shown,
    Aim,
    Must,
    Missed,
    /// There is a bound and no figure.
    Open,
}

impl Cell {
    /// Returns the figure, or the error as the reason why there is none.
    pub(crate) fn of<E: std::fmt::Display>(figure: Result<f64, E>) -> Self {
        match figure {
            Ok(figure) => Self::Figure(figure),
            Err(error) => Self::Absent(format!("{error:#}")),
        }
    }

    pub(crate) fn absent(why: &str) -> Self {
        Self::Absent(why.to_owned())
    }

    const fn figure(&self) -> Option<f64> {
        match self {
            Self::Figure(figure) => Some(*figure),
            Self::Absent(_) => None,
        }
    }
}

impl Bound {
    pub(crate) const fn at_most(must: f64, aim: f64) -> Self {
        Self {
            must,
            aim,
            at_least: false,
        }
    }

    pub(crate) const fn at_least(must: f64, aim: f64) -> Self {
        Self {
            must,
            aim,
            at_least: true,
        }
    }

    fn verdict(self, figure: f64) -> Verdict {
        let meets = |bound: f64| {
            if self.at_least {
                figure >= bound
            } else {
                figure <= bound
            }
        };
        if meets(self.aim) {
            Verdict::Aim
        } else if meets(self.must) {
            Verdict::Must
        } else {
            Verdict::Missed
        }
    }
}

impl Line {
    /// Returns a line with our figure alone.
    pub(crate) fn ours(measure: impl Into<String>, unit: &'static str, ours: Cell) -> Self {
        Self {
            measure: measure.into(),
            unit,
            ours,
            peers: [(); PEERS].map(|()| Cell::absent("-")),
            bound: None,
            of_peers: false,
            note: String::new(),
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let Some(bound) = self.bound else {
            return Verdict::Shown;
        };
        let judged = if self.of_peers {
            &self.peers[0]
        } else {
            &self.ours
        };
        judged
            .figure()
            .map_or(Verdict::Open, |figure| bound.verdict(figure))
    }

    fn cells(&self) -> [String; 8] {
        let bound = |pick: fn(Bound) -> f64| {
            self.bound.map_or_else(String::new, |bound| {
                let sign = if bound.at_least { ">=" } else { "<=" };
                format!("{sign} {}", show(pick(bound)))
            })
        };
        let short = |cell: &Cell| match cell {
            Cell::Figure(figure) => show(*figure),
            Cell::Absent(why) if why.chars().count() <= 16 => why.clone(),
            Cell::Absent(_) => "none, see below".to_owned(),
        };
        let ratio = (self.peers.each_ref()).map(|peer| match (self.ours.figure(), peer.figure()) {
            (Some(ours), Some(peer)) if ours > 0.0 && peer > 0.0 => show(peer / ours),
            _ => "-".to_owned(),
        });
        let [first, second] = self.peers.each_ref().map(short);
        [
            format!("{} ({})", self.measure, self.unit),
            short(&self.ours),
            first,
            second,
            ratio.join(" / "),
            bound(|bound| bound.must),
            bound(|bound| bound.aim),
            match self.verdict() {
                Verdict::Shown => "",
                Verdict::Aim => "aim met",
                Verdict::Must => "must met",
                Verdict::Missed => "MISSED",
                Verdict::Open => "not measured",
            }
            .to_owned(),
        ]
    }

    fn to_json(&self, names: PeerNames) -> Value {
        let cell = |cell: &Cell| match cell {
            Cell::Figure(figure) => json!(figure),
            Cell::Absent(why) => json!({ "absent": why }),
        };
        let mut line = json!({
            "measure": self.measure,
            "unit": self.unit,
            "ours": cell(&self.ours),
            "must": self.bound.map(|bound| bound.must),
            "aim": self.bound.map(|bound| bound.aim),
            "verdict": format!("{:?}", self.verdict()).to_lowercase(),
            "note": self.note,
        });
        for (name, peer) in names.iter().zip(&self.peers) {
            line[name.replace('-', "_")] = cell(peer);
        }
        line
    }
}

/// Returns the table, the notes and the reasons below it, and how many bounds are met.
pub(crate) fn show_table(lines: &[Line], names: PeerNames) -> String {
    let [first, second] = names;
    let head = [
        "measure",
        "ours",
        first,
        second,
        "peer / ours",
        "must",
        "aim",
        "",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(lines.iter().map(Line::cells));
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out.push('\n');
    for line in lines {
        // Writing to a String cannot fail.
        if !line.note.is_empty() {
            writeln!(out, "{}: {}", line.measure, line.note).unwrap_or_default();
        }
        let [of_first, of_second] = &line.peers;
        for (whose, cell) in [("ours", &line.ours), (first, of_first), (second, of_second)] {
            match cell {
                Cell::Absent(why) if why.chars().count() > 16 => {
                    writeln!(out, "{}: no figure of {whose}: {why}", line.measure)
                        .unwrap_or_default();
                }
                _ => {}
            }
        }
    }
    let (met, all) = score(lines);
    write!(out, "{met} of {all} musts met").unwrap_or_default();
    out
}

/// Returns how many bounds are met, and how many there are.
pub(crate) fn score(lines: &[Line]) -> (usize, usize) {
    let count = |wanted: &[Verdict]| {
        lines
            .iter()
            .filter(|line| wanted.contains(&line.verdict()))
            .count()
    };
    let met = count(&[Verdict::Aim, Verdict::Must]);
    (met, met + count(&[Verdict::Missed, Verdict::Open]))
}

/// Returns the lines as JSON.
pub(crate) fn to_json(lines: &[Line], names: PeerNames) -> String {
    let (met, all) = score(lines);
    let lines: Vec<Value> = lines.iter().map(|line| line.to_json(names)).collect();
    format!(
        "{:#}\n",
        json!({ "lines": lines, "musts_met": met, "musts": all })
    )
}

/// Returns a figure with three digits that count.
fn show(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(ours: Cell, bound: Bound) -> Line {
        Line {
            peers: [Cell::Figure(10.0), Cell::absent("-")],
            bound: Some(bound),
            ..Line::ours("speed", "ns", ours)
        }
    }

    #[test]
    fn figures_are_judged_and_absent_ones_are_never_met() {
        let check = |ours, bound, expected| assert_eq!(line(ours, bound).verdict(), expected);
        check(Cell::Figure(1.0), Bound::at_most(2.0, 1.0), Verdict::Aim);
        check(Cell::Figure(1.5), Bound::at_most(2.0, 1.0), Verdict::Must);
        check(Cell::Figure(3.0), Bound::at_most(2.0, 1.0), Verdict::Missed);
        check(
            Cell::Figure(30.0),
            Bound::at_least(20.0, 50.0),
            Verdict::Must,
        );
        check(
            Cell::absent("not measured"),
            Bound::at_most(2.0, 1.0),
            Verdict::Open,
        );
    }

    #[test]
    fn the_table_shows_ratios_and_ends_with_the_score() {
        let lines = [
            line(Cell::Figure(2.0), Bound::at_most(2.0, 1.0)),
            line(
                Cell::absent("a reason that is too long"),
                Bound::at_most(2.0, 1.0),
            ),
        ];
        let table = show_table(&lines, ["prometheus", "victoria-metrics"]);
        assert!(table.contains("5.00 / -"), "{table}");
        assert!(table.contains("no figure of ours: a reason that is too long"));
        assert!(table.ends_with("1 of 2 musts met"));
    }
}
