//! Chosen settings of the kernel: `sys`.

use model::MetricType;

use super::Collector;
use crate::error::CollectError;
use crate::family_cache::metric_name;
use crate::folder::Folder;
use crate::host::Moment;
use crate::scan::Decimal;
use crate::{Family, HostConfig, HostConfigError, Sink, scan};

static INFO: Family = Family::gauge(
    "node_sysctl_info",
    "sysctl info",
    &["name", "value", "index"],
);

#[derive(Debug)]
pub(super) struct Sysctl {
    folder: Folder,
    numbers: Vec<Numbers>,
    texts: Vec<Texts>,
}

/// A setting that is a number, or several.
#[derive(Debug)]
struct Numbers {
    file: String,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// One number has the first family, several have the second, by index.
    Plain(Family, Family),
    /// Each number has a family; one that has no name is left out.
    Named(Vec<Option<Family>>),
}

/// A setting that is a text, or several.
#[derive(Debug)]
struct Texts {
    name: String,
    file: String,
}

impl Sysctl {
    pub(super) fn new(config: &HostConfig) -> Result<Self, HostConfigError> {
        let options = &config.sysctl;
        let numbers = options.include.iter();
        let texts = options.include_info.iter();
        Ok(Self {
            folder: Folder::new(config.paths.procfs.join("sys")),
            numbers: numbers
                .map(|text| Numbers::new(text))
                .collect::<Result<_, _>>()?,
            texts: texts
                .map(|name| {
                    Ok(Texts {
                        name: name.clone(),
                        file: file_of("collector.sysctl.include-info", name)?,
                    })
                })
                .collect::<Result<_, HostConfigError>>()?,
        })
    }
}

impl Numbers {
    /// Reads `a.b.c`, or `a.b.c:name,name`.
    fn new(text: &str) -> Result<Self, HostConfigError> {
        let (name, fields) = match text.split_once(':') {
            Some((name, fields)) => (name, Some(fields)),
            None => (text, None),
        };
        let metric = format!("node_sysctl_{}", metric_name(name));
        let family =
            |metric: String, help: String| Family::dynamic(metric, help, MetricType::Unknown);
        let form = match fields {
            None => {
                let one = family(metric, format!("sysctl {name}"));
                Form::Plain(one.clone(), one.with_labels(&["index"]))
            }
            Some(fields) => Form::Named(
                (fields.split(',').enumerate())
                    .map(|(at, field)| {
                        let metric = format!("{metric}_{}", metric_name(field));
                        let family = family(metric, format!("sysctl {name}, field {at}"));
                        (!field.is_empty()).then_some(family)
                    })
                    .collect(),
            ),
        };
        Ok(Self {
            file: file_of("collector.sysctl.include", name)?,
            form,
        })
    }

    fn sample(&self, text: &str, sink: &mut dyn Sink) -> Option<()> {
        let numbers = text
            .split_ascii_whitespace()
            .map(|word| scan::float(word.as_bytes()))
            .collect::<Option<Vec<f64>>>()?;
        match (&self.form, &*numbers) {
            (Form::Plain(family, _), [number]) => sink.sample(family, &[], *number),
            (Form::Plain(_, family), numbers) => {
                for (index, number) in (0..).zip(numbers) {
                    sink.sample(family, &[Decimal::new(index).as_str()], *number);
                }
            }
            (Form::Named(families), numbers) => {
                (families.len() == numbers.len()).then_some(())?;
                for (family, number) in families.iter().zip(numbers) {
                    if let Some(family) = family {
                        sink.sample(family, &[], *number);
                    }
                }
            }
        }
        Some(())
    }
}

impl Collector for Sysctl {
    fn collect(&mut self, _: Moment, sink: &mut dyn Sink) -> Result<(), CollectError> {
        for numbers in &self.numbers {
            let text = self.folder.text(&numbers.file)?;
            numbers.sample(&text, sink).ok_or_else(|| {
                CollectError::parse(
                    &self.folder.path().join(&numbers.file),
                    "as many numbers as the option names",
                )
            })?;
        }
        for Texts { name, file } in &self.texts {
            let text = self.folder.text(file)?;
            for (index, word) in (0..).zip(text.split_ascii_whitespace()) {
                let index = Decimal::new(index);
                sink.sample(&INFO, &[name, word, index.as_str()], 1.0);
            }
        }
        Ok(())
    }
}

/// Returns the path below `sys`: dots stand for slashes, as for sysctl itself, and nothing leads out.
fn file_of(option: &'static str, name: &str) -> Result<String, HostConfigError> {
    if name.is_empty() || name.split(['.', '/']).any(str::is_empty) {
        return Err(HostConfigError::Word {
            option,
            word: name.to_owned(),
            accepted: "names such as kernel.threads-max".to_owned(),
        });
    }
    Ok(name.replace('.', "/"))
}
