use super::*;

/// A recording without a file: a constant, a counter in hundredths by CPU, a gauge in pages, and a full mantissa.
fn recording() -> Recording {
    let scrape = |second: u32| {
        let second = f64::from(second);
        vec![
            Some(1.0),
            Some((second * 37.0).round() / 100.0),
            Some((second * 53.0).round() / 100.0),
            Some(4_096.0 * (100.0 + second % 7.0)),
            Some((second + 1.0).ln()),
        ]
    };
    Recording {
        scrapes: (0..60).map(scrape).collect(),
        series: [
            "node_exporter_build_info{version=\"1\"}",
            "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"}",
            "node_cpu_seconds_total{cpu=\"1\",mode=\"user\"}",
            "node_memory_Cached_bytes",
            "node_time_seconds",
        ]
        .map(str::to_owned)
        .into(),
    }
}

fn host(number: usize, jitter: bool) -> Host {
    let shape = Shape {
        jitter,
        ..Shape::whole()
    };
    let workload = Workload::new(shape, &recording()).expect("a workload");
    workload.host(number, TimestampMs(1_000_000))
}

#[test]
fn the_same_host_gives_the_same_rows_and_another_gives_others() {
    let rows = |mut host: Host| {
        let mut values = Vec::new();
        let mut rows = Vec::new();
        for _ in 0..20 {
            let at = host.next_row(&mut values);
            rows.push((
                at,
                values
                    .iter()
                    .map(|value| value.to_bits())
                    .collect::<Vec<_>>(),
            ));
        }
        rows
    };
    assert_eq!(rows(host(3, true)), rows(host(3, true)));
    assert_ne!(rows(host(3, false)), rows(host(4, false)));
}

#[test]
fn a_host_has_its_parts_each_series_once() {
    let host = host(0, false);
    // Five recorded ones, six more CPUs, 22 containers of 20, two histograms of twelve buckets, sum and count.
    assert_eq!(host.series().len(), 5 + 6 + 22 * 20 + 2 * 14);
    let mut labels: Vec<_> = host
        .series()
        .iter()
        .map(|series| series.labels.clone())
        .collect();
    labels.sort();
    labels.dedup();
    assert_eq!(labels.len(), host.series().len());
    assert!(
        labels
            .iter()
            .all(|labels| labels.get("node") == Some(host.name()))
    );
}

#[test]
fn counters_rise_and_values_keep_their_granularity() {
    let mut host = host(1, false);
    let (mut values, mut before) = (Vec::new(), Vec::new());
    let mut moved = 0;
    for row in 0..200 {
        let at = host.next_row(&mut values);
        assert_eq!(at, TimestampMs(1_000_000 + row * 15_000));
        assert_eq!(values.len(), host.series().len());
        for ((series, value), before) in host.series().iter().zip(&values).zip(&before) {
            let counts = series.kind == MetricType::Counter;
            assert!(
                !counts || value >= before,
                "{}: {before} to {value}",
                series.labels
            );
            moved += usize::from(value != before);
        }
        let page = host.series().iter().zip(&values);
        for (_, value) in page
            .filter(|(series, _)| series.labels.metric_name() == Some("node_memory_Cached_bytes"))
        {
            assert_eq!(value % 4_096.0, 0.0);
        }
        before.clone_from(&values);
    }
    let share = moved as f64 / (199.0 * values.len() as f64);
    assert!((0.2..0.8).contains(&share), "{share} of the values changed");
}

#[test]
fn jitter_is_small_and_rarely_large() {
    let mut host = host(2, true);
    let mut values = Vec::new();
    let late: Vec<i64> = (0..2_000)
        .map(|row| host.next_row(&mut values).0 - (1_000_000 + row * 15_000))
        .collect();
    assert!(late.iter().all(|late| (0..=45).contains(late)));
    let large = late.iter().filter(|late| **late > 5).count();
    assert!((1..60).contains(&large), "{large} of 2000");
}
