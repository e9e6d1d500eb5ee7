//! Include and exclude patterns.

use regex::Regex;

use crate::{DeviceOptions, HostConfigError};

/// Compiles the value of an option.
pub(crate) fn pattern(option: &'static str, text: &str) -> Result<Regex, HostConfigError> {
    Regex::new(text).map_err(|source| HostConfigError::Pattern {
        option,
        pattern: text.to_owned(),
        source,
    })
}

/// The names of an include and its exclude option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OptionNames {
    pub(crate) include: &'static str,
    pub(crate) exclude: &'static str,
}

/// What a collector takes: all but the excluded, or the included only.
#[derive(Debug)]
pub(crate) struct Filter {
    include: Option<Regex>,
    exclude: Option<Regex>,
}

impl Filter {
    /// An empty pattern is none. An exclude pattern equal to `default_exclude` gives way to an include pattern.
    pub(crate) fn new(
        names: OptionNames,
        include: Option<&str>,
        exclude: Option<&str>,
        default_exclude: Option<&str>,
    ) -> Result<Self, HostConfigError> {
        let include = include.filter(|text| !text.is_empty());
        let exclude = exclude
            .filter(|text| !text.is_empty())
            .filter(|text| include.is_none() || Some(*text) != default_exclude);
        if include.is_some() && exclude.is_some() {
            return Err(HostConfigError::Exclusive {
                include: names.include,
                exclude: names.exclude,
            });
        }
        Ok(Self {
            include: include
                .map(|text| pattern(names.include, text))
                .transpose()?,
            exclude: exclude
                .map(|text| pattern(names.exclude, text))
                .transpose()?,
        })
    }

    pub(crate) fn of_devices(
        names: OptionNames,
        options: &DeviceOptions,
        default_exclude: Option<&str>,
    ) -> Result<Self, HostConfigError> {
        Self::new(
            names,
            options.include.as_deref(),
            options.exclude.as_deref(),
            default_exclude,
        )
    }

    pub(crate) fn takes(&self, name: &str) -> bool {
        self.include
            .as_ref()
            .is_none_or(|include| include.is_match(name))
            && !self
                .exclude
                .as_ref()
                .is_some_and(|exclude| exclude.is_match(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: OptionNames = OptionNames {
        include: "in",
        exclude: "out",
    };

    #[test]
    fn a_default_exclude_gives_way_to_an_include() {
        let filter = Filter::new(NAMES, Some("^sd"), Some("sda"), Some("sda")).unwrap();
        assert!(filter.takes("sda1") && !filter.takes("vda"));
        let filter = Filter::new(NAMES, Some(""), Some("sda"), Some("sda")).unwrap();
        assert!(!filter.takes("sda1") && filter.takes("vda"));
    }

    #[test]
    fn mistakes_name_the_options() {
        let both = Filter::new(NAMES, Some("a"), Some("b"), None).unwrap_err();
        assert!(both.to_string().contains("--in and --out"));
        let bad = Filter::new(NAMES, Some("("), None, None).unwrap_err();
        assert!(bad.to_string().starts_with("--in=\"(\""));
    }
}
