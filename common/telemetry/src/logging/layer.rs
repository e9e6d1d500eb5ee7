//! The subscriber's side: which events are wanted, and where their lines go.

use std::fmt;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use clock::SharedClock;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::FOREIGN;
use super::level::SharedLevel;
use super::line::{Fields, Style, line};
use super::time::rfc3339;

/// Writes each wanted event as one line, in one write.
pub(super) struct LogLayer {
    level: SharedLevel,
    style: Style,
    clock: SharedClock,
    sink: Mutex<Box<dyn Write + Send>>,
}

impl LogLayer {
    pub(super) fn new(
        level: SharedLevel,
        style: Style,
        clock: SharedClock,
        sink: Box<dyn Write + Send>,
    ) -> Self {
        Self {
            level,
            style,
            clock,
            sink: Mutex::new(sink),
        }
    }

    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let level = *metadata.level();
        level <= self.level.get().to_tracing()
            && (level <= Level::WARN || !is_foreign(metadata.target()))
    }
}

fn is_foreign(target: &str) -> bool {
    let name = target.split("::").next().unwrap_or(target);
    FOREIGN.contains(&name)
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::from_level(self.level.get().to_tracing()))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::new(self.style.format);
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new(self.style.format);
        event.record(&mut fields);
        let mut spans = String::new();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(fields) = span.extensions().get::<Fields>() {
                spans.push_str(fields.text());
            }
        }
        let metadata = event.metadata();
        let time = rfc3339(self.clock.wall());
        let line = line(
            self.style,
            &time,
            *metadata.level(),
            metadata.target(),
            &spans,
            &fields,
        );
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        // There is nowhere left to say that the log cannot be written.
        sink.write_all(line.as_bytes()).unwrap_or_default();
    }
}

impl fmt::Debug for LogLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLayer")
            .field("level", &self.level)
            .field("style", &self.style)
            .finish_non_exhaustive()
    }
}
