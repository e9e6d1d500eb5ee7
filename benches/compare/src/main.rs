//! Promontory beside other engines: the same data, in the same run, one table with ratios.
//!
//! Servers run as real processes on the loopback, ours and the peers' alike, each with a fresh folder, and are ended in any case. What is
//! compared is CPU time (from `/proc`), bytes on disk and resident memory, which travel between machines; wall times appear only where
//! waiting is what is measured. `rows` lists the rows: each says in its header how it measures. Several rows share an experiment
//! (`lab`), which runs once.
//!
//! A row that cannot run says why in its place; no figure is ever remembered from another run.

#![forbid(unsafe_code)]

mod agents;
mod daemon;
mod http;
mod lab;
mod proc;
mod program;
mod programs;
mod receiver;
mod relay;
mod remote_write;
mod rows;
mod server;
mod table;
mod terminal;
mod waiting;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use config::{Environment, Information, Invocation, Refusal, Settings};

use crate::lab::Lab;
use crate::rows::{AGENT, PROMQL, RULES, Row, STORAGE, Table};
use crate::table::{Line, score, show_table, to_json};

fn main() -> ExitCode {
    // As the program does: some rows run its libraries in here.
    heap::keep(u64::MAX);
    let read = program::program().read(std::env::args_os(), Environment::of_process(), &[]);
    let done = match read {
        Ok(Invocation {
            command, settings, ..
        }) => run(table_of(&command), &settings),
        Err(Refusal::Information(Information(text))) => {
            terminal::print(&text.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Err(Refusal::Mistakes(mistakes)) => {
            terminal::say(&mistakes);
            return ExitCode::from(2);
        }
    };
    done.unwrap_or_else(|error| {
        terminal::say(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

fn table_of(command: &[&str]) -> &'static Table {
    match command {
        ["agent"] => &AGENT,
        ["promql"] => &PROMQL,
        ["rules"] => &RULES,
        _ => &STORAGE,
    }
}

fn run(table: &'static Table, settings: &Settings) -> Result<ExitCode> {
    let Table { rows, peers, .. } = table;
    if settings.switch("list") {
        for row in *rows {
            terminal::print(&format!("{:<14}{}", row.name, row.method));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = choose(rows, settings.optional_text("only"))?;
    let lab = Lab::new(table.packages, settings)?;
    let mut lines: Vec<Line> = Vec::new();
    let count = chosen.len();
    for (at, row) in chosen.into_iter().enumerate() {
        terminal::say(&format!("measuring {}, {} of {count}", row.name, at + 1));
        lines.extend((row.measure)(&lab));
        // Each time, for a run that does not come to its end.
        if let Some(path) = settings.optional_path("json") {
            fs::write(path, to_json(&lines, *peers))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    if lab.quick {
        terminal::print(
            &"a quick run: fewer hosts and rows, and less time, so that what is paid once weighs more\n",
        );
    }
    terminal::print(&show_table(&lines, *peers));
    let (met, all) = score(&lines);
    Ok(if settings.switch("check") && met < all {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn choose(rows: &'static [Row], only: Option<&str>) -> Result<Vec<&'static Row>> {
    let Some(only) = only else {
        return Ok(rows.iter().collect());
    };
    let names: Vec<&str> = only.split(',').map(str::trim).collect();
    for name in &names {
        ensure!(
            rows.iter().any(|row| row.name == *name),
            "there is no row {name:?}; --list shows what there is"
        );
    }
    Ok(rows
        .iter()
        .filter(|row| names.contains(&row.name))
        .collect())
}
