//! Blocks made by hand, byte by byte, as the format documents say: what the reader is tested with.

use std::collections::BTreeMap;
use std::path::Path;

use files::{FileSystem, Open, Simulated};
use model::{Buckets, Histogram, Sample, Span, Value, is_stale};

pub(crate) const ULID: &str = "01HF0000000000000000000000";
pub(crate) const FOLDER: &str = "/block";

/// Puts bits together, the highest first.
#[derive(Default)]
pub(crate) struct BitWriter {
    pub(crate) bytes: Vec<u8>,
    used: usize,
}

impl BitWriter {
    pub(crate) fn put(&mut self, bits: u64, count: u32) {
        for at in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.len() - 1;
            let bit = u8::try_from(bits >> at & 1).unwrap();
            self.bytes[last] |= bit << (7 - self.used % 8);
            self.used += 1;
        }
    }

    /// `widths` behind one, two, ... set bits; the last prefix has no clear bit.
    fn put_signed(&mut self, value: i64, widths: &[u32]) {
        if value == 0 {
            return self.put(0, 1);
        }
        let fits = |width: &u32| {
            *width == 64 || (-(1 << (width - 1)) + 1..=1 << (width - 1)).contains(&value)
        };
        self.put_prefix(widths.iter().position(fits).unwrap(), widths.len());
        let width = *widths.iter().find(|width| fits(width)).unwrap();
        self.put(value.cast_unsigned(), width);
    }

    fn put_prefix(&mut self, place: usize, all: usize) {
        for _ in 0..=place {
            self.put(1, 1);
        }
        if place + 1 < all {
            self.put(0, 1);
        }
    }

    pub(crate) fn varbit_int(&mut self, value: i64) {
        self.put_signed(value, &[3, 6, 9, 12, 18, 25, 56, 64]);
    }

    pub(crate) fn varbit_uint(&mut self, value: u64) {
        const WIDTHS: [u32; 8] = [3, 6, 9, 12, 18, 25, 56, 64];
        if value == 0 {
            return self.put(0, 1);
        }
        let fits = |width: &u32| *width == 64 || value < 1 << width;
        let place = WIDTHS.iter().position(fits).unwrap();
        self.put_prefix(place, WIDTHS.len());
        self.put(value, WIDTHS[place]);
    }

    /// The difference to the value before; `window` is what the last one used.
    fn xor(&mut self, value: f64, before: f64, window: &mut Option<(u32, u32)>) {
        let changed = value.to_bits() ^ before.to_bits();
        if changed == 0 {
            return self.put(0, 1);
        }
        self.put(1, 1);
        let (leading, trailing) = (changed.leading_zeros().min(31), changed.trailing_zeros());
        if let Some((old_leading, old_trailing)) = *window
            && leading >= old_leading
            && trailing >= old_trailing
        {
            self.put(0, 1);
            self.put(changed >> old_trailing, 64 - old_leading - old_trailing);
            return;
        }
        *window = Some((leading, trailing));
        self.put(1, 1);
        self.put(u64::from(leading), 5);
        let used = 64 - leading - trailing;
        self.put(u64::from(used % 64), 6);
        self.put(changed >> trailing, used);
    }
}

fn uvarint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

fn varint(value: i64, out: &mut Vec<u8>) {
    uvarint((value << 1 ^ value >> 63).cast_unsigned(), out);
}

/// Encodes samples of one kind; returns the number of the encoding, and the data.
pub(crate) fn encode(samples: &[Sample]) -> (u8, Vec<u8>) {
    let floats: Vec<(i64, f64)> = samples
        .iter()
        .filter_map(|sample| match &sample.value {
            Value::Float(value) => Some((sample.at.0, *value)),
            Value::Histogram(_) => None,
        })
        .collect();
    if floats.len() == samples.len() {
        return (1, encode_floats(&floats));
    }
    let histograms: Vec<(i64, &Histogram)> = samples
        .iter()
        .filter_map(|sample| match &sample.value {
            Value::Float(_) => None,
            Value::Histogram(histogram) => Some((sample.at.0, &**histogram)),
        })
        .collect();
    assert_eq!(histograms.len(), samples.len(), "chunks are of one kind");
    let integers = histograms
        .iter()
        .find(|(_, histogram)| !histogram.is_stale())
        .is_none_or(|(_, histogram)| matches!(histogram.buckets, Buckets::Integer { .. }));
    if integers {
        (2, encode_histograms(&histograms, true))
    } else {
        (3, encode_histograms(&histograms, false))
    }
}

fn encode_floats(samples: &[(i64, f64)]) -> Vec<u8> {
    let mut out = u16::try_from(samples.len()).unwrap().to_be_bytes().to_vec();
    let Some((at, value)) = samples.first() else {
        return out;
    };
    varint(*at, &mut out);
    out.extend(value.to_bits().to_be_bytes());
    let mut bits = BitWriter::default();
    let mut window = None;
    let mut delta = 0;
    for (number, pair) in samples.windows(2).enumerate() {
        let new = pair[1].0 - pair[0].0;
        if number == 0 {
            uvarint(new.cast_unsigned(), &mut out);
        } else {
            bits.put_signed(new - delta, &[14, 17, 20, 64]);
        }
        delta = new;
        bits.xor(pair[1].1, pair[0].1, &mut window);
    }
    out.extend(bits.bytes);
    out
}

fn encode_histograms(samples: &[(i64, &Histogram)], integers: bool) -> Vec<u8> {
    let mut out = u16::try_from(samples.len()).unwrap().to_be_bytes().to_vec();
    let first = samples[0].1;
    out.push(match first.reset {
        model::CounterReset::Unknown => 0,
        model::CounterReset::Reset => 0b1000_0000,
        model::CounterReset::NotReset => 0b0100_0000,
        model::CounterReset::Gauge => 0b1100_0000,
    });
    let mut bits = BitWriter::default();
    put_layout(first, &mut bits);
    // Count, zero count, buckets; then sum; each with what its differences need.
    let numbers = |histogram: &Histogram| -> Vec<i64> {
        let Buckets::Integer {
            count,
            zero,
            positive,
            negative,
        } = &histogram.buckets
        else {
            return Vec::new();
        };
        let mut all = vec![count.cast_signed(), zero.cast_signed()];
        for side in [positive, negative] {
            let mut before = 0;
            for count in side {
                all.push(count.cast_signed() - before);
                before = count.cast_signed();
            }
        }
        all
    };
    let floats = |histogram: &Histogram| -> Vec<f64> {
        let Buckets::Float {
            count,
            zero,
            positive,
            negative,
        } = &histogram.buckets
        else {
            return vec![0.0, 0.0, histogram.sum];
        };
        [&[*count, *zero, histogram.sum][..], positive, negative].concat()
    };
    let mut before_numbers = numbers(first);
    let mut deltas = vec![0; before_numbers.len()];
    let mut before_floats = floats(first);
    let mut windows = vec![None; before_floats.len()];
    let (mut sum, mut sum_window) = (first.sum, None);
    let (mut at, mut delta) = (samples[0].0, 0);
    bits.varbit_int(at);
    if integers {
        for (place, number) in before_numbers.iter().enumerate() {
            match place {
                0 => bits.varbit_uint(number.cast_unsigned()),
                1 => {
                    bits.varbit_uint(number.cast_unsigned());
                    bits.put(sum.to_bits(), 64);
                }
                _ => bits.varbit_int(*number),
            }
        }
    } else {
        for float in &before_floats {
            bits.put(float.to_bits(), 64);
        }
    }
    for (next, histogram) in &samples[1..] {
        let new = next - at;
        bits.varbit_int(new - delta);
        (at, delta) = (*next, new);
        let stale = is_stale(histogram.sum);
        if integers {
            let new = numbers(histogram);
            for place in 0..2 {
                if stale {
                    bits.varbit_int(0);
                } else {
                    let difference = new[place] - before_numbers[place];
                    bits.varbit_int(difference - deltas[place]);
                    deltas[place] = difference;
                }
            }
            bits.xor(histogram.sum, sum, &mut sum_window);
            sum = histogram.sum;
            if !stale {
                for place in 2..new.len() {
                    let difference = new[place] - before_numbers[place];
                    bits.varbit_int(difference - deltas[place]);
                    deltas[place] = difference;
                }
                before_numbers = new;
            }
        } else {
            let new = floats(histogram);
            for place in 0..new.len() {
                bits.xor(new[place], before_floats[place], &mut windows[place]);
                before_floats[place] = new[place];
            }
        }
    }
    out.extend(bits.bytes);
    out
}

fn put_layout(histogram: &Histogram, bits: &mut BitWriter) {
    let threshold = histogram.zero_threshold;
    let power = (-243..=10).find(|power| 2f64.powi(*power) == threshold);
    match power {
        _ if threshold == 0.0 => bits.put(0, 8),
        Some(power) => bits.put(u64::try_from(power + 244).unwrap(), 8),
        None => {
            bits.put(255, 8);
            bits.put(threshold.to_bits(), 64);
        }
    }
    bits.varbit_int(i64::from(histogram.schema));
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        bits.varbit_uint(spans.len() as u64);
        for Span { offset, length } in spans {
            bits.varbit_uint(u64::from(*length));
            bits.varbit_int(i64::from(*offset));
        }
    }
    if histogram.has_custom_bounds() {
        bits.varbit_uint(histogram.custom_bounds.len() as u64);
        for bound in &histogram.custom_bounds {
            let whole = format!("{:.0}", bound * 1_000.0).parse::<u32>();
            let whole = whole
                .ok()
                .filter(|whole| *whole <= 33_554_430 && f64::from(*whole) / 1_000.0 == *bound);
            match whole {
                Some(whole) => bits.varbit_uint(u64::from(whole) + 1),
                None => {
                    bits.put(0, 1);
                    bits.put(bound.to_bits(), 64);
                }
            }
        }
    }
}

/// A series: labels, and chunks as encoding, data and times.
pub(crate) struct BlockSeries {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) chunks: Vec<(u8, Vec<u8>, i64, i64)>,
}

impl BlockSeries {
    pub(crate) fn new(labels: &[(&str, &str)], chunks: &[&[Sample]]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            labels: labels.iter().map(own).collect(),
            chunks: chunks
                .iter()
                .map(|samples| {
                    let (encoding, data) = encode(samples);
                    let times = (samples[0].at.0, samples[samples.len() - 1].at.0);
                    (encoding, data, times.0, times.1)
                })
                .collect(),
        }
    }
}

/// Writes a block; returns the reference of each series.
pub(crate) fn write(
    series: &[BlockSeries],
    tombstones: Option<&[(usize, i64, i64)]>,
) -> (Simulated, Vec<u64>) {
    let disk = Simulated::new();
    disk.create_folders(&Path::new(FOLDER).join("chunks"))
        .unwrap();
    let mut chunks = vec![0x85, 0xBD, 0x40, 0xDD, 1, 0, 0, 0];
    let mut symbols: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, value) in series.iter().flat_map(|series| &series.labels) {
        symbols.insert(name, 0);
        symbols.insert(value, 0);
    }
    let mut table = u32::try_from(symbols.len()).unwrap().to_be_bytes().to_vec();
    for (number, (symbol, place)) in symbols.iter_mut().enumerate() {
        *place = number;
        uvarint(symbol.len() as u64, &mut table);
        table.extend(symbol.as_bytes());
    }
    let mut index = vec![0xBA, 0xAA, 0xD7, 0x00, 2];
    let symbols_at = index.len();
    section(&table, &mut index);
    index.resize(index.len().next_multiple_of(16), 0);
    let series_at = index.len();
    let mut references = Vec::new();
    for one in series {
        index.resize(index.len().next_multiple_of(16), 0);
        references.push(index.len() as u64 / 16);
        let mut entry = Vec::new();
        uvarint(one.labels.len() as u64, &mut entry);
        for (name, value) in &one.labels {
            uvarint(symbols[&**name] as u64, &mut entry);
            uvarint(symbols[&**value] as u64, &mut entry);
        }
        uvarint(one.chunks.len() as u64, &mut entry);
        let mut before: Option<(i64, i64)> = None;
        for (encoding, data, start, end) in &one.chunks {
            let reference = i64::try_from(chunks.len()).unwrap();
            match before {
                None => varint(*start, &mut entry),
                Some((end, _)) => uvarint(start.wrapping_sub(end).cast_unsigned(), &mut entry),
            }
            uvarint((end - start).cast_unsigned(), &mut entry);
            match before {
                None => uvarint(reference.cast_unsigned(), &mut entry),
                Some((_, last)) => varint(reference - last, &mut entry),
            }
            before = Some((*end, reference));
            uvarint(data.len() as u64, &mut chunks);
            let covered = [&[*encoding][..], data].concat();
            chunks.extend(&covered);
            chunks.extend(crc32c::crc32c(&covered).to_be_bytes());
        }
        uvarint(entry.len() as u64, &mut index);
        index.extend(&entry);
        index.extend(crc32c::crc32c(&entry).to_be_bytes());
    }
    let postings_at = index.len();
    let mut postings = u32::try_from(series.len()).unwrap().to_be_bytes().to_vec();
    for reference in &references {
        postings.extend(u32::try_from(*reference).unwrap().to_be_bytes());
    }
    section(&postings, &mut index);
    let table_at = index.len();
    let mut table = 1u32.to_be_bytes().to_vec();
    table.extend([2, 0, 0]);
    uvarint(postings_at as u64, &mut table);
    section(&table, &mut index);
    let mut contents = Vec::new();
    for place in [symbols_at, series_at, 0, 0, postings_at, table_at] {
        contents.extend((place as u64).to_be_bytes());
    }
    index.extend(&contents);
    index.extend(crc32c::crc32c(&contents).to_be_bytes());
    let meta = format!(
        r#"{{"ulid":"{ULID}","minTime":0,"maxTime":1,"stats":{{"numSeries":{}}},"version":1}}"#,
        series.len()
    );
    put(&disk, "meta.json", meta.as_bytes());
    put(&disk, "index", &index);
    put(&disk, "chunks/000001", &chunks);
    if let Some(tombstones) = tombstones {
        let mut stones = Vec::new();
        for (series, start, end) in tombstones {
            uvarint(references[*series], &mut stones);
            varint(*start, &mut stones);
            varint(*end, &mut stones);
        }
        let checksum = crc32c::crc32c(&stones).to_be_bytes();
        let file = [&[0x01, 0x30, 0xBA, 0x30, 1], &stones[..], &checksum].concat();
        put(&disk, "tombstones", &file);
    }
    (disk, references)
}

/// Replaces a file of the block.
pub(crate) fn put(disk: &Simulated, name: &str, bytes: &[u8]) {
    let file = disk
        .open(&Path::new(FOLDER).join(name), Open::create())
        .unwrap();
    file.set_len(0).unwrap();
    file.write_at(0, bytes).unwrap();
}

fn section(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend(bytes);
    out.extend(crc32c::crc32c(bytes).to_be_bytes());
}
