//! What a query's result does not say by itself: warnings and infos, with the place of the expression at fault.

mod note;

pub use note::{HistogramOperation, MetricName, Note};

use crate::TextRange;

/// How much an annotation matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The result is probably not what was asked for.
    Warning,
    /// The result may surprise.
    Info,
}

/// A note and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// What.
    pub note: Note,
    /// Where.
    pub range: TextRange,
}

impl Annotation {
    /// Returns how much it matters.
    pub const fn severity(&self) -> Severity {
        self.note.severity()
    }

    /// Returns the text of the HTTP API: prefix, message and place in `query`.
    pub fn render(&self, query: &str) -> String {
        format!("{} ({})", self.note, self.range.line_column(query))
    }
}

/// The annotations of a query, each once, in order of appearance.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    list: Vec<Annotation>,
}

/// Distinct annotations kept per query; more would only repeat the same advice for other series.
const ANNOTATIONS_MAX: usize = 1_000;

impl Annotations {
    /// Returns all, in order of appearance.
    pub fn iter(&self) -> impl Iterator<Item = &Annotation> {
        self.list.iter()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the texts of one severity, at most `limit` (0: no limit) and then a line that counts the rest.
    pub fn render(&self, severity: Severity, query: &str, limit: usize) -> Vec<String> {
        let mut texts: Vec<String> = self
            .list
            .iter()
            .filter(|annotation| annotation.severity() == severity)
            .map(|annotation| annotation.render(query))
            .collect();
        texts.sort();
        texts.dedup();
        if limit > 0 && texts.len() > limit {
            let more = texts.len() - limit;
            texts.truncate(limit);
            let word = match severity {
                Severity::Warning => "warning",
                Severity::Info => "info",
            };
            texts.push(format!("{more} more {word} annotations omitted"));
        }
        texts
    }

    /// Returns those that were noted within a stretch of the query.
    pub(crate) fn within(&self, range: TextRange) -> Vec<Annotation> {
        let inside =
            |one: &&Annotation| range.start <= one.range.start && one.range.end <= range.end;
        self.list.iter().filter(inside).cloned().collect()
    }

    /// Adds the notes of a part of the query.
    pub(crate) fn append(&mut self, part: Self) {
        for Annotation { note, range } in part.list {
            self.add(note, range);
        }
    }

    /// Adds a note, unless it is there already.
    pub(crate) fn add(&mut self, note: Note, range: TextRange) {
        if let Note::QuantileForcedMonotonicity { .. } = note {
            return self.add_forced_monotonicity(note, range);
        }
        if self.list.len() >= ANNOTATIONS_MAX {
            return;
        }
        let known = self
            .list
            .iter()
            .any(|annotation| annotation.range == range && annotation.note.same(&note));
        if !known {
            self.list.push(Annotation { note, range });
        }
    }

    /// Keeps one such note per metric and place: the one over all instants, with the widest bounds.
    fn add_forced_monotonicity(&mut self, note: Note, range: TextRange) {
        let Note::QuantileForcedMonotonicity {
            metric: name,
            first: from,
            last: to,
            times: more,
            bucket_min: low,
            bucket_max: high,
            difference_max: difference,
        } = &note
        else {
            return;
        };
        for annotation in &mut self.list {
            if let Note::QuantileForcedMonotonicity {
                metric,
                first,
                last,
                times,
                bucket_min,
                bucket_max,
                difference_max,
            } = &mut annotation.note
                && annotation.range == range
                && metric == name
            {
                *first = (*first).min(*from);
                *last = (*last).max(*to);
                *times += more;
                *bucket_min = bucket_min.min(*low);
                *bucket_max = bucket_max.max(*high);
                *difference_max = difference_max.max(*difference);
                return;
            }
        }
        if self.list.len() < ANNOTATIONS_MAX {
            self.list.push(Annotation { note, range });
        }
    }
}
