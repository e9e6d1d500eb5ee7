//! Any text: the lexer, parser and printer never panic, and what is printed reads back as the same tree.

#![no_main]

use libfuzzer_sys::fuzz_target;
use promql::{ParserOptions, parse};

fuzz_target!(|text: &str| {
    let Ok(expr) = parse(text, ParserOptions::default()) else {
        return;
    };
    let printed = expr.to_string();
    assert_eq!(parse(&printed, ParserOptions::default()), Ok(expr), "printed as {printed}");
});
