//! Where a backtest's history comes from, and its silences: a data folder that no process uses, or an aggregator that runs.

use std::cell::RefCell;
use std::fmt;
use std::path::Path;

use alerting::SilenceRequest;
use anyhow::Context;
use backtest::History;
use config::Settings;
use http_shell::Form;
use model::{Labels, Matcher, TimeRange, TimestampMs, Value};
use tsdb::{Damage, Offline};

use crate::tools::client::Caller;
use crate::tools::tsdb::open_folder;

/// A data folder, and what was damaged in it.
#[derive(Debug)]
pub(super) struct Folder {
    offline: Offline,
    damages: RefCell<Vec<Damage>>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            offline: open_folder(path)?,
            damages: RefCell::default(),
        })
    }
}

impl History for Folder {
    fn read(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        visit: &mut dyn FnMut(&Labels, TimestampMs, &Value),
    ) -> Result<(), String> {
        let summary = self.offline.dump(matcher_sets, range, &mut |sample| {
            visit(sample.labels, sample.at, sample.value);
        });
        let summary = summary.map_err(|error| error.to_string())?;
        let mut damages = self.damages.borrow_mut();
        for damage in summary.damages {
            if !damages.contains(&damage) {
                damages.push(damage);
            }
        }
        Ok(())
    }
}

/// A running aggregator, asked over HTTP.
pub(super) struct Remote(Caller);

impl Remote {
    pub(super) fn of(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self(Caller::of_server(settings)?))
    }

    /// Returns the silences that are remembered, those that have ended, too.
    fn silences(&self) -> anyhow::Result<Vec<SilenceRequest>> {
        const PATH: &str = "/api/v2/silences";
        match self.0.get_bare(PATH)? {
            Some(text) => api::read_silences(&text)
                .map_err(anyhow::Error::msg)
                .with_context(|| format!("cannot read the answer to {PATH}")),
            // It has no alerting.
            None => Ok(Vec::new()),
        }
    }
}

impl History for Remote {
    fn read(
        &self,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
        visit: &mut dyn FnMut(&Labels, TimestampMs, &Value),
    ) -> Result<(), String> {
        let time = |at: TimestampMs| promql::number::rfc3339(at.0);
        let form = Form::default().with("start", time(range.start));
        let form = form.with("end", time(range.end));
        let sets = matcher_sets.iter();
        let form = sets.fold(form, |form, matchers| {
            form.with("match[]", selector(matchers))
        });
        let answer = self.0.post_for_bytes("/api/v1/samples", &form);
        let answer = answer.map_err(|error| format!("{error:#}"))?;
        api::read_samples(&answer.body, visit)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

/// What history there is, by the settings.
#[derive(Debug)]
pub(super) enum Source {
    Folder(Folder),
    Remote(Remote),
}

impl Source {
    pub(super) fn of(settings: &Settings) -> anyhow::Result<Self> {
        Ok(match settings.optional_text("url") {
            Some(_) => Self::Remote(Remote::of(settings)?),
            None => Self::Folder(Folder::open(settings.path("storage.path"))?),
        })
    }

    pub(super) fn history(&self) -> &dyn History {
        match self {
            Self::Folder(folder) => folder,
            Self::Remote(remote) => remote,
        }
    }

    /// Returns the silences that the aggregator has; a folder is not asked.
    pub(super) fn silences(&self) -> anyhow::Result<Vec<SilenceRequest>> {
        match self {
            Self::Folder(_) => Ok(Vec::new()),
            Self::Remote(remote) => remote.silences(),
        }
    }

    /// Returns what was damaged of what has been read; a running aggregator says so in its own log.
    pub(super) fn damages(&self) -> Vec<Damage> {
        match self {
            Self::Folder(folder) => folder.damages.borrow().clone(),
            Self::Remote(_) => Vec::new(),
        }
    }
}

/// Returns matchers as a selector. All names are quoted: any name may stand so.
fn selector(matchers: &[Matcher]) -> String {
    let texts = matchers.iter().map(|matcher| {
        let (name, value) = (
            template::quote(matcher.name()),
            template::quote(matcher.value()),
        );
        format!("{name}{}{value}", matcher.op())
    });
    format!("{{{}}}", texts.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use model::MatchOp;
    use promql::ParserOptions;
    use storage::Unlimited;

    use super::*;

    #[test]
    fn selectors_are_read_as_they_were_meant() {
        let matchers = vec![
            Matcher::equal("__name__", "a.b c"),
            Matcher::new("x y", MatchOp::NotRegex, "a\\d|\"\n\u{1}\u{7f}\u{1f600}").unwrap(),
            Matcher::new("le", MatchOp::NotEqual, "").unwrap(),
            Matcher::new("e", MatchOp::Regex, ".+").unwrap(),
        ];
        let text = selector(&matchers);
        let read = promql::parse_selector(&text, ParserOptions::default(), &Unlimited);
        assert_eq!(read.unwrap(), matchers, "{text}");
    }
}
