//! `POST /api/v1/write`: remote write, by its specifications 1.0 and 2.0.
//!
//! What a sender shall do follows from the code alone: 204, all is stored; 400, send no part of it again, the text names the first thing that is
//! wrong, and all good samples are stored; 429 (intake is full) and 503 (the store is not there, closing, or its disk fails), send it again
//! after the pause stated; 404, 413 and 415, this server or its settings do not fit. To a request of 2.0 every answer, failures included,
//! says how much of it was stored.
//!
//! A second sample of a series at the same time is left out without a word, whatever its value is, and counts as stored: the first in the log
//! stands. (Prometheus answers 400 when the value is another one and the time is that of the series' newest sample. Here shards compare, when
//! the request is durable and answered, and a sender could do nothing with the answer.)

use http_shell::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http_shell::{Request, Response, StatusCode};
use ingest::{Protocol, Readied, RemoteWrite, WriteError, WriteOutcome, Written};
use storage::RefusalReason;

use crate::api::{Api, not_ready};

/// Bodies that are larger decompressed are read on a thread where nobody waits behind them; others take about a millisecond.
const LARGE_BODY_BYTES: usize = 1024 * 1024;
/// How long a sender is told to wait, in seconds.
const PAUSE: HeaderValue = HeaderValue::from_static("5");
const MEDIA_TYPE: &str = "application/x-protobuf";

impl Api {
    /// Takes a request of remote write.
    pub(crate) async fn write(&self, request: &Request) -> Response {
        let Some(remote_write) = &self.parts.remote_write else {
            let why = "remote write receiver is switched off; start without --web.disable-remote-write-receiver to switch it on";
            return Response::text(StatusCode::NOT_FOUND, why);
        };
        let protocol = match protocol_of(request) {
            Ok(protocol) => protocol,
            Err(why) => return Response::text(StatusCode::UNSUPPORTED_MEDIA_TYPE, why),
        };
        let outcome = match self.read(remote_write, request, protocol).await {
            Ok(readied) => remote_write.write(readied).await,
            Err(error) => WriteOutcome {
                failed: Some(error),
                ..WriteOutcome::default()
            },
        };
        let response = outcome
            .failed
            .as_ref()
            .map_or_else(|| stored(&outcome), failed);
        match protocol {
            Protocol::V1 => response,
            Protocol::V2 => with_counts(response, outcome.written),
        }
    }

    async fn read(
        &self,
        remote_write: &RemoteWrite,
        request: &Request,
        protocol: Protocol,
    ) -> Result<Readied, WriteError> {
        if let Some(why) = self.parts.control.not_ready() {
            return Err(WriteError::NotDurable(not_ready(&why)));
        }
        let admitted = remote_write.admit(request.body.clone()).await?;
        if admitted.decompressed_bytes() < LARGE_BODY_BYTES {
            return remote_write.read(admitted, protocol);
        }
        let reader = remote_write.clone();
        let reading = self
            .parts
            .tasks
            .spawn_blocking("read remote write", move || reader.read(admitted, protocol));
        let read = reading.await;
        read.map_err(|error| WriteError::NotDurable(format!("cannot read the body: {error}")))?
    }
}

/// Returns which message the body is, by its headers; what they leave out is as in 1.0.
fn protocol_of(request: &Request) -> Result<Protocol, String> {
    let encoding = request.header(CONTENT_ENCODING).unwrap_or("snappy");
    if !encoding.trim().eq_ignore_ascii_case("snappy") {
        return Err(format!(
            "{encoding} encoding (compression) is not accepted by this server; only snappy is acceptable"
        ));
    }
    let Some(content_type) = request.header(CONTENT_TYPE) else {
        return Ok(Protocol::V1);
    };
    let mut parts = content_type.split(';').map(str::trim);
    if !parts
        .next()
        .unwrap_or_default()
        .eq_ignore_ascii_case(MEDIA_TYPE)
    {
        return Err(format!(
            "expected {MEDIA_TYPE} as the first (media) part, got {content_type} content-type"
        ));
    }
    let mut protocol = Protocol::V1;
    for parameter in parts.filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or_else(|| {
            format!("expected parameters to be key-values, got {parameter} in {content_type} content-type")
        })?;
        if !name.trim().eq_ignore_ascii_case("proto") {
            continue;
        }
        let value = value.trim().trim_matches('"');
        protocol = [Protocol::V1, Protocol::V2]
            .into_iter()
            .find(|protocol| protocol.message() == value)
            .ok_or_else(|| {
                format!(
                    "unknown message {value} in {content_type} content-type; {} and {} are taken",
                    Protocol::V1.message(),
                    Protocol::V2.message()
                )
            })?;
    }
    Ok(protocol)
}

/// Answers a request whose good samples are stored.
fn stored(outcome: &WriteOutcome) -> Response {
    let WriteOutcome {
        rejections,
        refused,
        first_refused,
        ..
    } = outcome;
    let mut lines = Vec::new();
    if let Some(first) = &rejections.first {
        let (series, samples) = (rejections.series, rejections.samples);
        lines.push(format!(
            "invalid: {series} series left out, {samples} samples in all; the first: {first}"
        ));
    }
    if refused.total() > 0 {
        let reasons: Vec<String> = refused
            .iter()
            .map(|(reason, samples)| format!("{reason} {samples}"))
            .collect();
        let mut line = format!(
            "refused: {} samples ({})",
            refused.total(),
            reasons.join(", ")
        );
        if let Some((reason, series)) = first_refused {
            line.push_str(&format!("; the first is of {series}: {}", hint(*reason)));
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return Response::empty(StatusCode::NO_CONTENT);
    }
    let exemplars = rejections.exemplars + refused.exemplars();
    if exemplars > 0 {
        lines.push(format!("exemplars: {exemplars} left out"));
    }
    lines.push("everything else is stored; do not send this again".to_owned());
    Response::text(StatusCode::BAD_REQUEST, lines.join("\n"))
}

/// Says why samples are refused, and by which setting.
const fn hint(reason: RefusalReason) -> &'static str {
    match reason {
        RefusalReason::SeriesPerAgent => {
            "remote write has as many series as it may have (--limits.series-by-remote-write)"
        }
        RefusalReason::SeriesPerTenant => {
            "its tenant has as many series as it may have (--limits.series-per-tenant)"
        }
        RefusalReason::SeriesPerMetric => {
            "its metric has as many series as it may have (--limits.series-per-metric)"
        }
        RefusalReason::Memory => {
            "memory is short, no new series is taken (--storage.head.max-bytes, --storage.memory.limit)"
        }
        RefusalReason::Labels => "its labels exceed what the store takes",
        RefusalReason::TooOld => "out of bounds: older than retention (--storage.retention.time)",
        RefusalReason::TooNew => {
            "out of bounds: more than 10 minutes ahead of this machine's clock"
        }
        // Neither holds for remote write: the limit is of agents, and series that are unknown are sent again.
        RefusalReason::NewSeriesRate | RefusalReason::Undefined => "the store does not take it",
    }
}

/// Answers a request of which not all that is good is stored.
fn failed(error: &WriteError) -> Response {
    match error {
        WriteError::Compression(_) | WriteError::Malformed { .. } | WriteError::Limit { .. } => {
            Response::text(StatusCode::BAD_REQUEST, error)
        }
        WriteError::TooLarge { .. } => Response::text(StatusCode::PAYLOAD_TOO_LARGE, error),
        WriteError::Busy => {
            Response::text(StatusCode::TOO_MANY_REQUESTS, error).with_header(RETRY_AFTER, PAUSE)
        }
        WriteError::NotDurable(_) => {
            Response::text(StatusCode::SERVICE_UNAVAILABLE, error).with_header(RETRY_AFTER, PAUSE)
        }
    }
}

fn with_counts(response: Response, written: Written) -> Response {
    const SAMPLES: HeaderName =
        HeaderName::from_static("x-prometheus-remote-write-samples-written");
    const HISTOGRAMS: HeaderName =
        HeaderName::from_static("x-prometheus-remote-write-histograms-written");
    const EXEMPLARS: HeaderName =
        HeaderName::from_static("x-prometheus-remote-write-exemplars-written");
    response
        .with_header(SAMPLES, written.samples.into())
        .with_header(HISTOGRAMS, written.histograms.into())
        .with_header(EXEMPLARS, written.exemplars.into())
}
