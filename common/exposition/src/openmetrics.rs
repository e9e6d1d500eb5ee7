//! OpenMetrics 1.0: strictly, or as Prometheus takes it.
//!
//! Two layers: [`lexer`] knows what a line may look like, [`families`] what a line may mean after those before it. Every line
//! passes both before it is yielded; what only shows at the end of a family (a missing bucket, a clash of names) is an error on
//! the line that ends the family, and names the line of the family's last sample. Who takes what Prometheus takes leaves the
//! second layer out.

mod families;
mod family;
mod fingerprint;
mod histogram;
mod lexer;

use std::iter::FusedIterator;

use crate::error::Fault;
use crate::lines::Lines;
use crate::series::Text;
use crate::{Entry, ParseError};

use families::Families;
use lexer::Line;

pub use lexer::EXEMPLAR_CHARS_MAX;

/// The entries of an exposition in OpenMetrics 1.0.
///
/// The last entry of a whole exposition is [`Entry::Eof`]; an input that ends without it is an error, so a cut-off exposition
/// cannot pass for a short one. Samples already yielded when an error comes are as good as none: refuse them all. Samples of one
/// series whose times are equal as milliseconds may follow each other: the first counts. Ends after an error.
#[derive(Debug)]
pub struct OpenMetricsParser<'a> {
    lines: Lines<'a>,
    names: Vec<Text<'a>>,
    /// `None`: each line stands for itself.
    families: Option<Families>,
    ended: bool,
}

impl<'a> OpenMetricsParser<'a> {
    /// Returns a parser of `input` that refuses whatever OpenMetrics forbids.
    pub fn new(input: &'a [u8]) -> Self {
        Self {
            families: Some(Families::default()),
            ..Self::lenient(input)
        }
    }

    /// Returns a parser of `input` that takes each well-formed line for itself, as Prometheus does: families may be scattered,
    /// histograms incomplete, series doubled. The end must be there all the same. Exemplars that are too long are left out.
    pub fn lenient(input: &'a [u8]) -> Self {
        Self {
            lines: Lines::new(input),
            names: Vec::new(),
            families: None,
            ended: false,
        }
    }

    /// Returns the number of the line that the last entry stood on, from 1.
    pub fn line(&self) -> u64 {
        self.lines.number()
    }

    fn next_entry(&mut self) -> Result<Entry<'a>, ParseError> {
        let Some(line) = self.lines.next_line() else {
            let mut fault = Fault::new(0, "# EOF as the last line", b"");
            "end of input".clone_into(&mut fault.found);
            return Err(fault.on(self.lines.number() + 1));
        };
        let line = line?;
        let number = self.lines.number();
        let on_line = |fault: Fault| fault.on(number);
        match lexer::line(line, &mut self.names).map_err(on_line)? {
            Line::Eof => {
                if let Some(families) = &mut self.families {
                    families.finish()?;
                }
                self.ended = true;
                self.expect_end()?;
                Ok(Entry::Eof)
            }
            Line::Metadata(metadata) => {
                if let Some(families) = &mut self.families {
                    families.metadata(&metadata, number)?;
                }
                Ok(metadata.entry)
            }
            Line::Sample(mut sample) => {
                match &mut self.families {
                    Some(families) => families.sample(&sample, number)?,
                    None => {
                        let exemplar = &mut sample.entry.exemplar;
                        exemplar.take_if(|exemplar| lexer::is_overlong(exemplar.labels));
                    }
                }
                Ok(Entry::Sample(sample.entry))
            }
        }
    }

    fn expect_end(&mut self) -> Result<(), ParseError> {
        match self.lines.next_line() {
            None => Ok(()),
            Some(line) => {
                let fault = Fault::new(0, "nothing after # EOF", line?);
                Err(fault.on(self.lines.number()))
            }
        }
    }
}

impl<'a> Iterator for OpenMetricsParser<'a> {
    type Item = Result<Entry<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let entry = self.next_entry();
        self.ended |= entry.is_err();
        Some(entry)
    }
}

impl FusedIterator for OpenMetricsParser<'_> {}

#[cfg(test)]
mod tests;
