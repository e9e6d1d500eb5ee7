//! Any path: it names a group with a job, or is refused with a reason; and what it names can be written as a path again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use push::{GroupKey, Names, parse_path};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    for path in [text.to_owned(), format!("/metrics/job{text}")] {
        for names in [Names::Classic, Names::Utf8] {
            match parse_path(&path, names) {
                Ok(key) => check(&key),
                Err(error) => drop(error.to_string()),
            }
        }
    }
});

fn check(key: &GroupKey) {
    let job = key.get("job").expect("every group has a job");
    assert!(!job.is_empty());
    let escape = |text: &str| -> String { text.bytes().map(|b| format!("%{b:02X}")).collect() };
    let is_plain = key.iter().all(|(_, value)| !value.contains('/') && !value.is_empty());
    let is_classic = key.iter().all(|(name, _)| {
        let mut bytes = name.bytes();
        bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !name.starts_with("U__")
    });
    if is_plain && is_classic {
        let mut path = format!("/metrics/job/{}", escape(job));
        for (name, value) in key.iter().filter(|(name, _)| *name != "job") {
            path.push_str(&format!("/{name}/{}", escape(value)));
        }
        assert_eq!(parse_path(&path, Names::Classic).as_ref(), Ok(key), "{path}");
    }
}
