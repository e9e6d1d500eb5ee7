//! `promontory check rules` and `promontory test rules`, with promtool's outputs and exit codes.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clock::{Clock as _, SystemClock};
use config::Settings;
use promql::ParserOptions;
use rules::{Duplicates, FileOptions, Junit, RuleFile, Tested, UnitTestOptions, UnitTests};

use crate::terminal;

/// Only lint, and lint is fatal.
const EXIT_LINT: u8 = 3;
/// A file of rules may be so long.
const STDIN_BYTES_MAX: u64 = 16 << 20;

/// What a file came to.
enum Verdict {
    Good(usize),
    Lint(String),
    Bad(Vec<String>),
}

/// `promontory check rules`
pub(crate) fn check_rules(settings: &Settings, files: &[String]) -> anyhow::Result<ExitCode> {
    let mut lints_duplicates = false;
    for option in settings.text("lint").split(',') {
        match option {
            "all" | "duplicate-rules" => lints_duplicates = true,
            "none" => {}
            other => terminal::print(&format!("WARNING: unknown lint option: {other:?}")),
        }
    }
    let options = FileOptions {
        ignore_unknown_fields: settings.switch("ignore-unknown-fields"),
        parser: ParserOptions::default(),
    };
    let check = |path: &Path, text: anyhow::Result<String>| {
        let parsed = text.map_err(|error| vec![format!("{error:#}")]);
        let parsed = parsed.and_then(|text| {
            RuleFile::parse(path, &text, options)
                .map_err(|mistakes| mistakes.0.iter().map(ToString::to_string).collect())
        });
        match parsed {
            Err(errors) => Verdict::Bad(errors),
            Ok(file) => match Duplicates::of(&file).filter(|_| lints_duplicates) {
                Some(duplicates) => Verdict::Lint(format!("lint error {duplicates}")),
                None => Verdict::Good(file.rule_count()),
            },
        }
    };
    let mut verdicts = Vec::new();
    if files.is_empty() {
        terminal::print(&"Checking standard input");
        verdicts.push(shown(check(Path::new("standard input"), standard_input())));
    }
    for file in files {
        terminal::print(&format!("Checking {file}"));
        let text = std::fs::read_to_string(file).with_context(|| file.clone());
        verdicts.push(shown(check(Path::new(file), text)));
    }
    let (bad, lint) = (
        verdicts
            .iter()
            .any(|verdict| matches!(verdict, Verdict::Bad(_))),
        verdicts
            .iter()
            .any(|verdict| matches!(verdict, Verdict::Lint(_))),
    );
    Ok(if bad {
        ExitCode::FAILURE
    } else if lint && settings.switch("lint-fatal") {
        ExitCode::from(EXIT_LINT)
    } else {
        ExitCode::SUCCESS
    })
}

fn standard_input() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .take(STDIN_BYTES_MAX)
        .read_to_string(&mut text)
        .context("standard input")?;
    Ok(text)
}

fn shown(verdict: Verdict) -> Verdict {
    match &verdict {
        Verdict::Good(rules) => terminal::print(&format!("  SUCCESS: {rules} rules found")),
        Verdict::Lint(lint) => terminal::complain(&format!("  FAILED:\n{lint}")),
        Verdict::Bad(errors) => terminal::complain(&format!("  FAILED:\n{}", errors.join("\n"))),
    }
    terminal::print(&"");
    verdict
}

/// `promontory test rules`
pub(crate) fn test_rules(settings: &Settings, files: &[String]) -> anyhow::Result<ExitCode> {
    let pattern = |text: &String| {
        model::unanchored_regex(text).with_context(|| format!("--run {text:?} is no expression"))
    };
    let run: anyhow::Result<Vec<_>> = settings.texts("run").iter().map(pattern).collect();
    let options = UnitTestOptions {
        run: run?,
        diff: settings.switch("diff"),
        debug: settings.switch("debug"),
        ignore_unknown_fields: settings.switch("ignore-unknown-fields"),
        parser: ParserOptions::default(),
    };
    let clock = SystemClock::new();
    let begun = clock.monotonic();
    let now = || clock.monotonic().saturating_since(begun);
    let mut all: Vec<(&String, Tested)> = Vec::new();
    for file in files {
        let tested = UnitTests::run_file(Path::new(file), &options, &now);
        show_tested(file, &tested);
        all.push((file, tested));
    }
    if let Some(path) = settings.optional_path("junit") {
        let mut junit = Junit::default();
        for (file, tested) in &all {
            junit.add(file, tested);
        }
        std::fs::write(path, junit.to_string())
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if all.iter().all(|(_, tested)| tested.passed()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show_tested(file: &str, tested: &Tested) {
    terminal::print(&format!("Unit Testing:  {file}"));
    for note in &tested.notes {
        terminal::print(note);
    }
    if tested.passed() {
        terminal::print(&"  SUCCESS");
    } else {
        let failures: Vec<&str> = tested.failures().collect();
        terminal::complain(&format!("  FAILED:\n{}", failures.join("\n\n")));
    }
    terminal::print(&"");
}
