//! Large definitions in parts.

use std::sync::Arc;

use rows::{CohortDefinition, Slot};

/// About how many bytes a part takes; far below the limit of a frame.
const PART_BYTES: usize = 256 << 10;

/// Cuts `definition` into parts that each fit a frame; one that is small comes back as it is.
pub fn split_definition(definition: CohortDefinition) -> Vec<CohortDefinition> {
    let CohortDefinition {
        cohort,
        name,
        first_slot,
        series,
    } = definition;
    let part = |first_slot| CohortDefinition {
        cohort,
        name: Arc::clone(&name),
        first_slot,
        series: Vec::new(),
    };
    let mut parts = vec![part(first_slot)];
    let (mut bytes, mut slot) = (0, usize::from(first_slot));
    for series in series {
        let cost = series.labels.text_bytes() + 16 * series.labels.len();
        if bytes > 0 && bytes + cost > PART_BYTES {
            // A slot past the range of `Slot` is refused when it is encoded.
            parts.push(part(Slot::try_from(slot).unwrap_or(Slot::MAX)));
            bytes = 0;
        }
        bytes += cost;
        slot += 1;
        if let Some(last) = parts.last_mut() {
            last.series.push(series);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use model::{Labels, MetricType};
    use rows::{CohortId, SLOTS_MAX, SeriesDefinition};

    use super::*;

    #[test]
    fn parts_make_the_whole() {
        let series: Vec<_> = (0..SLOTS_MAX)
            .map(|slot| SeriesDefinition {
                labels: Labels::from_pairs([("id", format!("{slot:0100}"))]).unwrap(),
                kind: MetricType::Gauge,
            })
            .collect();
        let whole = CohortDefinition {
            cohort: CohortId(1),
            name: Arc::from("x"),
            first_slot: 0,
            series: series.clone(),
        };
        let parts = split_definition(whole);
        assert!(parts.len() > 5);
        let mut joined = Vec::new();
        for part in parts {
            assert_eq!(usize::from(part.first_slot), joined.len());
            joined.extend(part.series);
        }
        assert_eq!(joined, series);
    }
}
