//! Any text: as a configuration and as matchers it is taken or refused, and what is taken can be written and read back.

#![no_main]

use std::path::Path;

use alerting::{Config, MatcherMode, format_matcher, parse_matchers};
use libfuzzer_sys::fuzz_target;
use template::Zone;

fuzz_target!(|text: &str| {
    for mode in [MatcherMode::Fallback, MatcherMode::Utf8, MatcherMode::Classic] {
        drop(Config::parse(Path::new("f.yml"), text, mode, &Zone::utc()));
        let Ok(parsed) = parse_matchers(text, mode) else {
            continue;
        };
        // Nobody can write a name that is empty, though it can be read.
        for matcher in parsed.matchers.into_iter().filter(|matcher| !matcher.name().is_empty()) {
            let written = format_matcher(&matcher);
            let read = parse_matchers(&written, MatcherMode::Utf8).map(|parsed| parsed.matchers);
            assert_eq!(read, Ok(vec![matcher]), "written as {written}");
        }
    }
});
