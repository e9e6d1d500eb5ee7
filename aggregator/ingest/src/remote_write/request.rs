//! A request: decompressed, walked once in place, its series named by a hash of their raw labels.
//!
//! A series that is known needs no look at its labels: 128 bits over the bytes in which they came are its key (in 2.0, over the hashes of the
//! symbols that it refers to). Only for a series that is not known, or that is to be named in a message, are labels read. Where the labels
//! of a series of 1.0 end is guessed where its message looks as nearly all do ([`LoneSample`]): whoever does not know the series asks
//! whether the guess [holds](Request::holds), and has the request walked without guesses when it does not.

use std::ops::Range;

use model::{Exemplar, Labels, LabelsError, METRIC_NAME, MetricType, TimestampMs, Value};
use rows::{CohortId, SeriesSample};
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use super::allowance::Allowance;
use super::described::{self, Described, Description, Descriptions, Said};
use super::histogram;
use super::lone_sample::LoneSample;
use super::protobuf::{Fields, Malformed, Value as Field, numbers};
use super::{Protocol, Rejections, WriteError};

/// The most bytes of a request, decompressed.
const DECODED_BYTES_MAX: usize = 32 << 20;
/// The most series of a request, those that are left out included; each costs a table entry even when it is empty.
const SERIES_MAX: usize = 100_000;
/// What a series of 1.0 with a sample takes, decompressed: room is made for as many.
const SERIES_BYTES_USUAL: usize = 256;
/// The most samples of a request; they may be as short as 2 bytes each.
const SAMPLES_MAX: usize = 500_000;
/// The most exemplars of a request; more are left out.
const EXEMPLARS_MAX: usize = 50_000;
/// The most symbols of a request of 2.0.
const SYMBOLS_MAX: usize = 500_000;
/// The longest labels of an exemplar, in bytes; one with longer ones is left out.
const EXEMPLAR_BYTES_MAX: usize = 1_024;
/// What the store takes of a series' labels; checked here as well, so that the first bad series is named with what is wrong.
const LABELS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 2_048;
const SERIES_BYTES_MAX: usize = 8 * 1_024;

/// Tells keys of the two protocols apart.
const SEED_2: u64 = 2;
/// A series of 2.0 has a key of the hashes of its symbols, of so many bytes each.
const SYMBOL_KEY_BYTES: usize = size_of::<u128>();
/// More symbols than a series may have: no series has the key of these.
const KEY_BYTES_MAX: usize = (2 * LABELS_MAX + 1) * SYMBOL_KEY_BYTES;

/// A request, walked.
#[derive(Debug, Default)]
pub(super) struct Request {
    protocol: Protocol,
    /// Whether the ends of labels may be guessed.
    guesses: bool,
    /// Decompressed.
    body: Vec<u8>,
    pub(super) series: Vec<Series>,
    /// Those of each series together; cohorts and slots are not known yet.
    pub(super) samples: Vec<SeriesSample>,
    pub(super) exemplars: Vec<SeriesExemplar>,
    described: Descriptions,
    /// What it may still make of its body.
    pub(super) allowance: Allowance,
    /// Where symbols stand in the body.
    symbols: Vec<Range<u32>>,
    symbol_keys: Vec<u128>,
    keys: Vec<u8>,
    pub(super) rejections: Rejections,
}

/// A series of a request.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) key: u128,
    /// Its message in the body.
    message: Range<u32>,
    /// Where in the message its labels end, if that was guessed.
    guessed_end: Option<u32>,
    /// Its samples.
    pub(super) samples: Range<u32>,
    /// What 2.0 says of its metric.
    pub(super) kind: MetricType,
}

/// An exemplar and the index of its series.
#[derive(Debug)]
pub(super) struct SeriesExemplar {
    pub(super) series: usize,
    pub(super) exemplar: Exemplar,
}

/// The parts of a series' message, gathered while it is walked.
struct Walk {
    message: Range<u32>,
    samples_from: usize,
    kind: MetricType,
    created: TimestampMs,
    exemplars: Vec<Range<u32>>,
    /// Exemplars that are more than are taken.
    exemplars_left_out: u64,
    has_floats: bool,
    has_histograms: bool,
}

impl Request {
    /// Decompresses and walks a body.
    pub(super) fn read(
        body: &[u8],
        protocol: Protocol,
        buffer: Vec<u8>,
    ) -> Result<Self, WriteError> {
        Self::walk(protocol, decompress(body, buffer)?, true)
    }

    /// Walks the body once more, and guesses nothing: some guess did not hold.
    pub(super) fn walk_all(&mut self) -> Result<(), WriteError> {
        *self = Self::walk(self.protocol, std::mem::take(&mut self.body), false)?;
        Ok(())
    }

    fn walk(protocol: Protocol, body: Vec<u8>, guesses: bool) -> Result<Self, WriteError> {
        let series = (body.len() / SERIES_BYTES_USUAL).min(SERIES_MAX);
        let mut request = Self {
            protocol,
            guesses,
            series: Vec::with_capacity(series),
            samples: Vec::with_capacity(series),
            allowance: Allowance::of(body.len()),
            ..Self::default()
        };
        match protocol {
            Protocol::V1 => request.walk_1(&body)?,
            Protocol::V2 => request.walk_2(&body)?,
        }
        request.body = body;
        Ok(request)
    }

    /// Returns the length of the body, decompressed.
    pub(super) fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// Returns the memory that it takes, its body included.
    pub(super) fn bytes(&self) -> usize {
        self.body.len()
            + self.series.capacity() * size_of::<Series>()
            + self.samples.capacity() * size_of::<SeriesSample>()
            + self.symbols.capacity() * (size_of::<Range<u32>>() + SYMBOL_KEY_BYTES)
            + self.allowance.taken()
    }

    #[cfg(test)]
    pub(super) fn key_bytes(&self) -> usize {
        self.keys.capacity()
    }

    /// Returns what it says of metric families.
    pub(super) fn descriptions(&self) -> impl Iterator<Item = Description<'_>> {
        self.described.iter(&self.body)
    }

    /// Gives the memory of the body back, for another one.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.body
    }

    fn walk_1(&mut self, body: &[u8]) -> Result<(), WriteError> {
        let mut fields = Fields::new(body);
        while let Some((number, value)) = self.field(&mut fields)? {
            match number {
                1 => {
                    let message = self.of(value.bytes())?;
                    self.series_1(body, message)?;
                }
                3 => {
                    let message = self.of(value.bytes())?;
                    let described = self.of(described::read_1(body, message))?;
                    self.described.add(described);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn walk_2(&mut self, body: &[u8]) -> Result<(), WriteError> {
        // Symbols may come after the series that use them.
        let mut fields = Fields::new(body);
        while let Some((number, value)) = self.field(&mut fields)? {
            if number == 4 {
                let symbol = self.of(value.bytes())?;
                limit("symbols", self.symbols.len() + 1, SYMBOLS_MAX)?;
                self.symbols.push(place(body, symbol));
                self.symbol_keys.push(xxh3_128(symbol));
            }
        }
        if let Some(first) = self.symbols.first()
            && !first.is_empty()
        {
            return Err(self.malformed(Malformed("the first symbol is not the empty string")));
        }
        let mut fields = Fields::new(body);
        while let Some((number, value)) = self.field(&mut fields)? {
            if number == 5 {
                let message = self.of(value.bytes())?;
                self.series_2(body, message)?;
            }
        }
        Ok(())
    }

    fn series_1(&mut self, body: &[u8], message: &[u8]) -> Result<(), WriteError> {
        if self.guesses
            && let Some(lone) = LoneSample::of(message)
        {
            return self.lone_series(body, message, lone);
        }
        let mut walk = self.begin_series(body, message)?;
        let mut fields = Fields::new(message);
        // Nearly always all of them stand first.
        let skipped = fields.skip_bytes(1);
        self.of(skipped)?;
        let mut labels = 0..message.len() - fields.left();
        let mut scattered = false;
        loop {
            let from = message.len() - fields.left();
            let Some((number, value)) = self.field(&mut fields)? else {
                break;
            };
            let to = message.len() - fields.left();
            match number {
                1 => {
                    self.of(value.bytes())?;
                    if labels.is_empty() {
                        labels = from..to;
                    } else {
                        scattered |= labels.end != from;
                        labels.end = to;
                    }
                }
                2 => self.float(value, &mut walk)?,
                3 => walk.exemplar(body, self.of(value.bytes())?),
                4 => self.histogram(body, value, &mut walk)?,
                _ => {}
            }
        }
        let key = if scattered {
            self.scattered_key(message)?
        } else {
            xxh3_128(&message[labels])
        };
        self.end_series(body, message, key, walk);
        Ok(())
    }

    /// Takes a series that is guessed to be labels and this sample.
    fn lone_series(
        &mut self,
        body: &[u8],
        message: &[u8],
        lone: LoneSample,
    ) -> Result<(), WriteError> {
        limit("series", self.series.len() + 1, SERIES_MAX)?;
        let from = to_u32(self.samples.len());
        self.sample(lone.at, TimestampMs(0), Value::Float(lone.value))?;
        self.series.push(Series {
            key: xxh3_128(&message[..lone.labels_end]),
            message: place(body, message),
            guessed_end: Some(to_u32(lone.labels_end)),
            samples: from..from + 1,
            kind: MetricType::Unknown,
        });
        Ok(())
    }

    /// Whether the labels of a series end where they were guessed to, if they were.
    pub(super) fn holds(&self, series: &Series) -> bool {
        series.guessed_end.is_none_or(|end| {
            let message = &series.message;
            let labels = slice(&self.body, &(message.start..message.start + end));
            let mut fields = Fields::new(labels);
            fields.skip_bytes(1).is_ok() && fields.left() == 0
        })
    }

    /// Returns the key of a series whose labels do not stand together.
    fn scattered_key(&self, message: &[u8]) -> Result<u128, WriteError> {
        let mut gathered = Vec::new();
        let mut fields = Fields::new(message);
        loop {
            let from = message.len() - fields.left();
            match self.field(&mut fields)? {
                None => return Ok(xxh3_128(&gathered)),
                Some((1, _)) => {
                    gathered.extend_from_slice(&message[from..message.len() - fields.left()]);
                }
                Some(_) => {}
            }
        }
    }

    fn series_2(&mut self, body: &[u8], message: &[u8]) -> Result<(), WriteError> {
        let mut walk = self.begin_series(body, message)?;
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        let (mut metric, mut said) = (None, None);
        let mut fields = Fields::new(message);
        while let Some((number, value)) = self.field(&mut fields)? {
            match number {
                1 => {
                    let each = references(value, &self.symbol_keys, &mut keys);
                    metric = self.of(each)?.or(metric);
                }
                2 => self.float(value, &mut walk)?,
                3 => self.histogram(body, value, &mut walk)?,
                4 => walk.exemplar(body, self.of(value.bytes())?),
                5 => said = Some(self.of(value.bytes().and_then(described::read_2))?),
                6 => walk.created = TimestampMs(self.of(value.int64())?),
                _ => {}
            }
        }
        let key = xxh3_128_with_seed(&keys, SEED_2);
        self.keys = keys;
        if let Some(said) = &said {
            walk.kind = said.kind;
        }
        let wrong = if !walk.has_floats && !walk.has_histograms {
            Some("a series must have at least one sample or histogram")
        } else if walk.has_floats && walk.has_histograms {
            Some("a series has samples and histograms, it may have one of them")
        } else {
            None
        };
        let samples = self.samples.len() - walk.samples_from;
        if let Some(wrong) = wrong {
            self.samples.truncate(walk.samples_from);
            let first = self.rejections.first.is_none();
            let named = first.then(|| self.name(body, place(body, message)));
            self.rejections.exemplars += walk.exemplars.len() as u64 + walk.exemplars_left_out;
            self.rejections.series(samples as u64, || {
                format!("{wrong}: {}", named.unwrap_or_default())
            });
            return Ok(());
        }
        if walk.created != TimestampMs(0) {
            let of_series = &mut self.samples[walk.samples_from..];
            for sample in of_series
                .iter_mut()
                .filter(|sample| sample.start == TimestampMs(0))
            {
                sample.start = walk.created;
            }
        }
        self.end_series(body, message, key, walk);
        if let Some((said, metric)) = said.zip(metric) {
            self.describe(body, said, metric);
        }
        Ok(())
    }

    fn begin_series(&self, body: &[u8], message: &[u8]) -> Result<Walk, WriteError> {
        let left_out = usize::try_from(self.rejections.series).unwrap_or(usize::MAX);
        limit("series", self.series.len() + left_out + 1, SERIES_MAX)?;
        Ok(Walk {
            message: place(body, message),
            samples_from: self.samples.len(),
            kind: MetricType::Unknown,
            created: TimestampMs(0),
            exemplars: Vec::new(),
            exemplars_left_out: 0,
            has_floats: false,
            has_histograms: false,
        })
    }

    fn end_series(&mut self, body: &[u8], message: &[u8], key: u128, walk: Walk) {
        let index = self.series.len();
        self.series.push(Series {
            key,
            message: place(body, message),
            guessed_end: None,
            samples: to_u32(walk.samples_from)..to_u32(self.samples.len()),
            kind: walk.kind,
        });
        let latest = self.samples[walk.samples_from..]
            .last()
            .map(|sample| sample.at);
        self.rejections.exemplars += walk.exemplars_left_out;
        for message in walk.exemplars {
            if self.exemplars.len() >= EXEMPLARS_MAX {
                self.rejections.exemplars += 1;
                continue;
            }
            let exemplar = self.exemplar(body, slice(body, &message), latest);
            let bytes = |one: &Exemplar| size_of::<SeriesExemplar>() + labels_bytes(&one.labels);
            match exemplar.filter(|one| self.allowance.take(bytes(one))) {
                Some(exemplar) => self.exemplars.push(SeriesExemplar {
                    series: index,
                    exemplar,
                }),
                None => self.rejections.exemplars += 1,
            }
        }
    }

    #[inline]
    fn float(&mut self, value: Field<'_>, walk: &mut Walk) -> Result<(), WriteError> {
        let message = self.of(value.bytes())?;
        let mut fields = Fields::new(message);
        let (mut float, mut at, mut start) = (0.0, 0, 0);
        while let Some((number, value)) = self.field(&mut fields)? {
            match number {
                1 => float = self.of(value.double())?,
                2 => at = self.of(value.int64())?,
                3 => start = self.of(value.int64())?,
                _ => {}
            }
        }
        walk.has_floats = true;
        self.sample(TimestampMs(at), TimestampMs(start), Value::Float(float))
    }

    fn histogram(
        &mut self,
        body: &[u8],
        value: Field<'_>,
        walk: &mut Walk,
    ) -> Result<(), WriteError> {
        let histogram = self.of(value.bytes().and_then(histogram::read))?;
        walk.has_histograms = true;
        match histogram.value {
            Ok(value) => {
                let bytes = value.bytes() + 2 * size_of::<usize>();
                if !self.allowance.take(bytes) {
                    return Err(WriteError::Limit {
                        what: "bytes of decoded histograms",
                        limit: self.allowance.granted(),
                    });
                }
                self.sample(histogram.at, histogram.start, Value::Histogram(value))
            }
            Err(why) => {
                let first = self.rejections.first.is_none();
                let named = first.then(|| self.name(body, walk.message.clone()));
                self.rejections.sample(|| {
                    let (at, name) = (histogram.at, named.unwrap_or_default());
                    format!("the histogram at {at} of {name}: {why}")
                });
                Ok(())
            }
        }
    }

    #[inline]
    fn sample(
        &mut self,
        at: TimestampMs,
        start: TimestampMs,
        value: Value,
    ) -> Result<(), WriteError> {
        limit("samples", self.samples.len() + 1, SAMPLES_MAX)?;
        self.samples.push(SeriesSample {
            cohort: CohortId(0),
            slot: 0,
            at,
            value,
            start,
        });
        Ok(())
    }

    /// Takes what 2.0 says of the metric that a symbol names.
    fn describe(&mut self, body: &[u8], said: Said, metric: u64) {
        let symbol = |at: u64| {
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            self.symbols.get(at).cloned().unwrap_or_default()
        };
        let (help, unit) = (symbol(said.help), symbol(said.unit));
        if said.kind == MetricType::Unknown && help.is_empty() && unit.is_empty() {
            return;
        }
        let Ok(metric) = std::str::from_utf8(slice(body, &symbol(metric))) else {
            return;
        };
        let family = described::family_of(metric, said.kind);
        self.described.add(Described {
            family: place(body, family.as_bytes()),
            kind: said.kind,
            help,
            unit,
        });
    }

    fn exemplar(
        &self,
        body: &[u8],
        message: &[u8],
        latest: Option<TimestampMs>,
    ) -> Option<Exemplar> {
        let mut fields = Fields::new(message);
        let (mut value, mut at) = (0.0, 0);
        while let Some((number, field)) = fields.next().ok()? {
            match number {
                2 => value = field.double().ok()?,
                3 => at = field.int64().ok()?,
                _ => {}
            }
        }
        let pairs = match self.protocol {
            Protocol::V1 => pairs_1(message),
            Protocol::V2 => self.pairs_2(body, message),
        };
        let pairs = pairs.ok()?;
        let bytes: usize = pairs
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if bytes > EXEMPLAR_BYTES_MAX {
            return None;
        }
        Some(Exemplar {
            labels: Labels::from_pairs(pairs).ok()?,
            value,
            at: if at == 0 { latest? } else { TimestampMs(at) },
        })
    }

    /// Returns the labels of a series, or what is wrong with them.
    pub(super) fn labels(&self, series: &Series) -> Result<Labels, String> {
        let message = slice(&self.body, &series.message);
        match self.protocol {
            Protocol::V1 => {
                let pairs = pairs_1(message)?;
                bounded(&pairs)?;
                named(Labels::from_pairs(pairs).map_err(told)?)
            }
            Protocol::V2 => {
                let pairs = self.pairs_2(&self.body, message)?;
                bounded(&pairs)?;
                for pair in &pairs {
                    if pair.0.is_empty() || pair.1.is_empty() {
                        return Err(format!("a label has an empty name or value: {pair:?}"));
                    }
                }
                if let Some(pair) = pairs.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
                    let (first, second) = (pair[0].0, pair[1].0);
                    return Err(if first == second {
                        format!("label name {first:?} is not unique")
                    } else {
                        format!("labels are not sorted: {second:?} comes after {first:?}")
                    });
                }
                named(Labels::from_pairs(pairs).map_err(told)?)
            }
        }
    }

    /// Returns a text that names a series, whatever its labels are.
    pub(super) fn name_of(&self, series: &Series) -> String {
        self.name(&self.body, series.message.clone())
    }

    fn name(&self, body: &[u8], message: Range<u32>) -> String {
        let message = slice(body, &message);
        let pairs = match self.protocol {
            Protocol::V1 => pairs_1(message),
            Protocol::V2 => self.pairs_2(body, message),
        };
        let named = pairs.and_then(|pairs| {
            bounded(&pairs)?;
            // Labels that repeat are shown as they came.
            let texts: Vec<String> = pairs
                .iter()
                .map(|(name, value)| format!("{name}={value:?}"))
                .collect();
            let set = Labels::from_pairs(pairs);
            Ok(set.map_or_else(
                |_| format!("{{{}}}", texts.join(", ")),
                |set| set.to_string(),
            ))
        });
        named.unwrap_or_else(|_| "a series whose labels cannot be shown".to_owned())
    }

    fn pairs_2<'a>(
        &self,
        body: &'a [u8],
        message: &[u8],
    ) -> Result<Vec<(&'a str, &'a str)>, String> {
        let (mut references, mut count) = (Vec::new(), 0_usize);
        let mut fields = Fields::new(message);
        while let Some((number, value)) = fields.next().map_err(|error| error.to_string())? {
            if number == 1 {
                numbers(value, |reference| {
                    count += 1;
                    if count <= 2 * LABELS_MAX {
                        references.push(reference);
                    }
                    Ok(())
                })
                .map_err(|error| error.to_string())?;
            }
        }
        if count % 2 != 0 {
            return Err(format!("labels_refs has {count} entries, an odd number"));
        }
        if count > 2 * LABELS_MAX {
            return Err(too_many_labels(count / 2));
        }
        references
            .chunks_exact(2)
            .map(|pair| Ok((self.symbol(body, pair[0])?, self.symbol(body, pair[1])?)))
            .collect()
    }

    fn symbol<'a>(&self, body: &'a [u8], reference: u64) -> Result<&'a str, String> {
        let at = usize::try_from(reference).unwrap_or(usize::MAX);
        let place = self.symbols.get(at).ok_or_else(|| {
            let count = self.symbols.len();
            format!("a reference to symbol {reference}, of which there are {count}")
        })?;
        std::str::from_utf8(slice(body, place))
            .map_err(|_| format!("symbol {reference} is not UTF-8"))
    }

    #[inline]
    fn field<'a>(&self, fields: &mut Fields<'a>) -> Result<Option<(u64, Field<'a>)>, WriteError> {
        self.of(fields.next())
    }

    #[inline]
    fn of<T>(&self, result: Result<T, Malformed>) -> Result<T, WriteError> {
        result.map_err(|what| self.malformed(what))
    }

    #[cold]
    fn malformed(&self, what: Malformed) -> WriteError {
        WriteError::Malformed {
            message: self.protocol.message(),
            what: what.0,
        }
    }
}

impl Walk {
    fn exemplar(&mut self, body: &[u8], message: &[u8]) {
        if self.exemplars.len() < EXEMPLARS_MAX {
            self.exemplars.push(place(body, message));
        } else {
            self.exemplars_left_out += 1;
        }
    }
}

fn limit(what: &'static str, value: usize, limit: usize) -> Result<(), WriteError> {
    if value <= limit {
        return Ok(());
    }
    Err(WriteError::Limit { what, limit })
}

/// Returns the length that a block of snappy's claims to have decompressed, unless it is more than is taken or than the block can hold.
pub(super) fn decompressed_bytes(body: &[u8]) -> Result<usize, WriteError> {
    let bytes = snap::raw::decompress_len(body).map_err(broken)?;
    if bytes > DECODED_BYTES_MAX {
        let limit = DECODED_BYTES_MAX;
        return Err(WriteError::TooLarge { bytes, limit });
    }
    // The densest element of the format is a copy: 3 bytes for 64.
    if bytes > body.len().saturating_mul(22).saturating_add(64) {
        let why = format!("{} bytes cannot hold {bytes}", body.len());
        return Err(WriteError::Compression(why));
    }
    Ok(bytes)
}

/// Decompresses a block of snappy's into `buffer`; the length that it claims is checked first.
fn decompress(body: &[u8], mut buffer: Vec<u8>) -> Result<Vec<u8>, WriteError> {
    let bytes = decompressed_bytes(body)?;
    // What was there before is overwritten: all of it, or this fails.
    buffer.resize(bytes, 0);
    let read = snap::raw::Decoder::new()
        .decompress(body, &mut buffer)
        .map_err(broken)?;
    buffer.truncate(read);
    Ok(buffer)
}

/// Adds to `keys` those of the symbols that a series refers to; returns the symbol that names its metric, when it is among them.
fn references(
    value: Field<'_>,
    symbol_keys: &[u128],
    keys: &mut Vec<u8>,
) -> Result<Option<u64>, Malformed> {
    let name_key = xxh3_128(METRIC_NAME.as_bytes()).to_le_bytes();
    let mut metric = None;
    numbers(value, |reference| {
        if keys.len() >= KEY_BYTES_MAX {
            return Ok(());
        }
        // Names and values take turns.
        let (_, name) = keys.as_chunks::<{ 2 * SYMBOL_KEY_BYTES }>();
        if name == name_key.as_slice() {
            metric = Some(reference);
        }
        let known = usize::try_from(reference)
            .ok()
            .and_then(|at| symbol_keys.get(at));
        // A reference to nothing makes a key of its own; whoever reads the labels says what is wrong.
        let key = known.copied().unwrap_or_else(|| u128::from(reference));
        keys.extend_from_slice(&key.to_le_bytes());
        Ok(())
    })?;
    Ok(metric)
}

fn broken(error: snap::Error) -> WriteError {
    WriteError::Compression(error.to_string())
}

/// Returns what labels take, beside a reference to them.
pub(super) fn labels_bytes(labels: &Labels) -> usize {
    const FIXED: usize = 64;
    FIXED + labels.text_bytes() + labels.len() * 2 * size_of::<u32>()
}

/// Returns where `part` lies in `body`, of which it is a part.
pub(super) fn place(body: &[u8], part: &[u8]) -> Range<u32> {
    let start = part.as_ptr().addr() - body.as_ptr().addr();
    to_u32(start)..to_u32(start + part.len())
}

pub(super) fn slice<'a>(body: &'a [u8], place: &Range<u32>) -> &'a [u8] {
    body.get(place.start as usize..place.end as usize)
        .unwrap_or_default()
}

fn to_u32(value: usize) -> u32 {
    u32::try_from(value).expect("bodies are bounded to 32 MiB")
}

fn pairs_1(message: &[u8]) -> Result<Vec<(&str, &str)>, String> {
    let malformed = |error: Malformed| error.to_string();
    let mut pairs = Vec::new();
    let mut fields = Fields::new(message);
    while let Some((number, value)) = fields.next().map_err(malformed)? {
        if number != 1 {
            continue;
        }
        let mut label = Fields::new(value.bytes().map_err(malformed)?);
        let (mut name, mut text): (&[u8], &[u8]) = (&[], &[]);
        while let Some((number, value)) = label.next().map_err(malformed)? {
            match number {
                1 => name = value.bytes().map_err(malformed)?,
                2 => text = value.bytes().map_err(malformed)?,
                _ => {}
            }
        }
        if pairs.len() >= LABELS_MAX {
            return Err(too_many_labels(pairs.len() + 1));
        }
        let text_of = |bytes, what: &str| {
            std::str::from_utf8(bytes).map_err(|_| format!("a label's {what} is not UTF-8"))
        };
        pairs.push((text_of(name, "name")?, text_of(text, "value")?));
    }
    Ok(pairs)
}

fn too_many_labels(count: usize) -> String {
    format!("{count} labels or more, a series has at most {LABELS_MAX}")
}

fn bounded(pairs: &[(&str, &str)]) -> Result<(), String> {
    for (name, value) in pairs {
        if name.len() > NAME_BYTES_MAX {
            let bytes = name.len();
            return Err(format!(
                "a label name of {bytes} bytes, at most {NAME_BYTES_MAX} are taken"
            ));
        }
        if value.len() > VALUE_BYTES_MAX {
            let bytes = value.len();
            return Err(format!(
                "the label {name:?} has a value of {bytes} bytes, at most {VALUE_BYTES_MAX} are taken"
            ));
        }
    }
    let bytes: usize = pairs
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > SERIES_BYTES_MAX {
        return Err(format!(
            "labels of {bytes} bytes together, at most {SERIES_BYTES_MAX} are taken"
        ));
    }
    Ok(())
}

fn told(error: LabelsError) -> String {
    error.to_string()
}

fn named(labels: Labels) -> Result<Labels, String> {
    if labels.metric_name().is_none() {
        return Err(format!("no metric name (label {METRIC_NAME})"));
    }
    Ok(labels)
}
