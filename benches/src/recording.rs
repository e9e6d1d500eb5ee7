//! The recorded scrapes: a tar archive of text expositions, compressed.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, ensure};
use exposition::{Entry, TextParser};

/// Scrapes of one target, one second apart, as columns of one layout.
#[derive(Debug)]
pub struct Recording {
    /// For each scrape, the value of each slot; `None` where the scrape has not got the series.
    pub scrapes: Vec<Vec<Option<f64>>>,
    /// The slots' series, as the exposition writes them.
    pub series: Vec<String>,
}

/// What the archive may unpack to.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;
const BLOCK_BYTES: usize = 512;

impl Recording {
    /// Reads `node-scrapes.tar.zst` in `folder`.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("node-scrapes.tar.zst");
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut archive = Vec::new();
        zstd::stream::read::Decoder::new(file)?
            .take(UNPACKED_BYTES_MAX)
            .read_to_end(&mut archive)
            .with_context(|| format!("cannot unpack {}", path.display()))?;
        let mut files = text_files(&archive)?;
        files.sort();
        let mut slots: HashMap<String, usize> = HashMap::new();
        let (mut series, mut scrapes) = (Vec::new(), Vec::new());
        for (name, text) in files {
            let mut scrape = vec![None; series.len()];
            for entry in TextParser::new(text) {
                let entry = entry.with_context(|| format!("cannot read {name}"))?;
                let Entry::Sample(sample) = entry else {
                    continue;
                };
                let slot = *slots
                    .entry(sample.series.raw().to_owned())
                    .or_insert_with_key(|raw| {
                        series.push(raw.clone());
                        scrape.push(None);
                        series.len() - 1
                    });
                scrape[slot] = Some(sample.value);
            }
            scrapes.push(scrape);
        }
        ensure!(!scrapes.is_empty(), "{} has no scrapes", path.display());
        scrapes
            .iter_mut()
            .for_each(|scrape: &mut Vec<_>| scrape.resize(series.len(), None));
        Ok(Self { scrapes, series })
    }
}

/// Returns name and contents of the `.txt` files of a tar archive.
fn text_files(mut archive: &[u8]) -> anyhow::Result<Vec<(String, &[u8])>> {
    let mut files = Vec::new();
    while let Some((header, rest)) = archive.split_at_checked(BLOCK_BYTES) {
        let field = |from: usize, to: usize| -> anyhow::Result<&str> {
            let bytes = header[from..to].split(|byte| *byte == 0).next();
            Ok(std::str::from_utf8(bytes.unwrap_or_default())?.trim())
        };
        let name = field(0, 100)?;
        if name.is_empty() {
            break;
        }
        let size = usize::from_str_radix(field(124, 136)?, 8)
            .with_context(|| format!("{name} in the archive has no size"))?;
        let contents = rest.get(..size).context("the archive is cut")?;
        if name.ends_with(".txt") {
            files.push((name.to_owned(), contents));
        }
        archive = rest
            .get(size.next_multiple_of(BLOCK_BYTES)..)
            .unwrap_or_default();
    }
    Ok(files)
}
