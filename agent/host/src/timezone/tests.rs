use proptest::prelude::*;

use super::*;

fn at(rule: &str, instant: i64) -> (String, i32) {
    let rule = Rule::parse(rule.as_bytes()).unwrap();
    let offset = rule.at(instant);
    (offset.name.clone(), offset.seconds)
}

fn utc(year: i64, month: i64, day: i64, hour: i64) -> i64 {
    days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3_600
}

#[test]
fn rules_of_both_hemispheres_turn_at_their_hour() {
    let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
    let sydney = "AEST-10AEDT,M10.1.0,M4.1.0/3";
    for (rule, instant, name, seconds) in [
        (berlin, utc(2026, 3, 29, 1) - 1, "CET", 3_600),
        (berlin, utc(2026, 3, 29, 1), "CEST", 7_200),
        (berlin, utc(2026, 10, 25, 1) - 1, "CEST", 7_200),
        (berlin, utc(2026, 10, 25, 1), "CET", 3_600),
        (sydney, utc(2026, 1, 1, 0), "AEDT", 39_600),
        (sydney, utc(2026, 7, 1, 0), "AEST", 36_000),
        ("<+0545>-5:45", 0, "+0545", 20_700),
        ("EST5EDT", utc(2026, 7, 1, 0), "EDT", -14_400),
        ("A0B,J60/0,J300/0", utc(2024, 3, 1, 0), "B", 3_600),
        ("A0B,J60/0,J300/0", utc(2024, 3, 1, 0) - 1, "A", 0),
        ("A0B,59/0,300/0", utc(2024, 2, 29, 0), "B", 3_600),
    ] {
        assert_eq!(
            at(rule, instant),
            (name.to_owned(), seconds),
            "{rule} at {instant}"
        );
    }
    for bad in [
        "",
        "C",
        "CET",
        "CET-1CEST,M3.5.0",
        "CET-1CEST,M13.5.0,M1.1.0",
        "<x-1",
        "CET-99999",
    ] {
        assert!(Rule::parse(bad.as_bytes()).is_none(), "{bad}");
    }
}

/// A version 2 file: one transition, and a rule.
fn file(rule: &str) -> Vec<u8> {
    let header = |transitions: u32| {
        let mut bytes = b"TZif2".to_vec();
        bytes.extend([0; 15]);
        for count in [0, 0, 0, transitions, 2, 8_u32] {
            bytes.extend(count.to_be_bytes());
        }
        bytes
    };
    let kinds = b"\x00\x00\x0e\x10\x00\x00\x00\x00\x1c\x20\x01\x04LMT\0ABC\0";
    let mut bytes = header(0);
    bytes.extend(kinds);
    bytes.extend(header(1));
    bytes.extend(1_000_i64.to_be_bytes());
    bytes.push(1);
    bytes.extend(kinds);
    bytes.extend(format!("\n{rule}\n").bytes());
    bytes
}

#[test]
fn files_say_the_past_and_rules_the_rest() {
    let zone = Zone::parse(&file("XYZ3")).unwrap();
    assert_eq!(zone.at(999), ("LMT", 3_600));
    assert_eq!(zone.at(1_000), ("XYZ", -10_800));
    let zone = Zone::parse(&file("")).unwrap();
    assert_eq!(zone.at(1_000), ("ABC", 7_200));
    assert_eq!(Zone::utc().at(0), ("UTC", 0));
    assert!(Zone::parse(b"TZif").is_none() && Zone::parse(b"").is_none());
}

proptest! {
    #[test]
    fn days_and_years_agree(day in -1_000_000_i64..1_000_000) {
        let year = year_of(day);
        prop_assert!(days_from_civil(year, 1, 1) <= day);
        prop_assert!(day < days_from_civil(year + 1, 1, 1));
    }

    #[test]
    fn no_bytes_panic(mut damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), text in prop::collection::vec(any::<u8>(), 0..60), instant in -10_i64.pow(12)..10_i64.pow(12)) {
        let mut bytes = file("CET-1CEST,M3.5.0,M10.5.0/3");
        for (at, byte) in damage.drain(..) {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for zone in [Zone::parse(&bytes), Zone::parse(&text)].into_iter().flatten() {
            zone.at(instant);
        }
        if let Some(rule) = Rule::parse(&text) {
            rule.at(instant);
        }
    }
}
