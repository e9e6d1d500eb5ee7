//! Time zones: UTC, fixed offsets, and those of the IANA database, which is compiled in.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Where a clock hangs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Zone(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Utc,
    /// Known by its distance from UTC alone.
    Fixed(i64, Arc<str>),
    Named(Arc<str>, TimeZone),
}

/// How a zone differs from UTC at some instant.
pub(super) struct Offset {
    /// East of Greenwich.
    pub(super) seconds: i64,
    /// For instance `CEST`; empty when there is none.
    pub(super) name: Arc<str>,
    pub(super) summer_time: bool,
}

impl Zone {
    /// Returns UTC.
    pub const fn utc() -> Self {
        Self(Kind::Utc)
    }

    /// Returns the zone of an IANA name, for instance `Europe/Paris`, and no `europe/paris`; `UTC` and an empty name are UTC.
    pub fn named(name: &str) -> Option<Self> {
        if matches!(name, "" | "UTC") {
            return Some(Self::utc());
        }
        let zone = TimeZoneDatabase::bundled().get(name).ok()?;
        // To jiff, case is nothing; to Go, the name is that of a file.
        (zone.iana_name() == Some(name)).then_some(())?;
        Some(Self(Kind::Named(name.into(), zone)))
    }

    /// `name` may be empty.
    pub(super) fn fixed(seconds: i64, name: &str) -> Self {
        if seconds == 0 && matches!(name, "" | "UTC") {
            return Self::utc();
        }
        Self(Kind::Fixed(seconds, name.into()))
    }

    pub(super) fn offset(&self, unix_seconds: i64) -> Offset {
        let fixed = |seconds: i64, name: &str| Offset {
            seconds,
            name: name.into(),
            summer_time: false,
        };
        match &self.0 {
            Kind::Utc => fixed(0, "UTC"),
            Kind::Fixed(seconds, name) => fixed(*seconds, name),
            // Far from our time there is no telling: UTC.
            Kind::Named(_, zone) => Timestamp::from_second(unix_seconds).map_or_else(
                |_| fixed(0, "UTC"),
                |instant| {
                    let info = zone.to_offset_info(instant);
                    Offset {
                        seconds: i64::from(info.offset().seconds()),
                        name: info.abbreviation().into(),
                        summer_time: info.dst().is_dst(),
                    }
                },
            ),
        }
    }

    /// How Go's source would name the zone.
    pub(super) fn go_name(&self) -> String {
        match &self.0 {
            Kind::Utc => "time.UTC".to_owned(),
            Kind::Fixed(_, name) | Kind::Named(name, _) => format!("time.Location({name:?})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_change_with_the_season() {
        let paris = Zone::named("Europe/Paris").unwrap();
        let at = |seconds| {
            let offset = paris.offset(seconds);
            (offset.seconds, offset.name.to_string(), offset.summer_time)
        };
        assert_eq!(at(1_704_067_200), (3600, "CET".to_owned(), false));
        assert_eq!(at(1_719_792_000), (7200, "CEST".to_owned(), true));
        assert_eq!(at(i64::MAX), (0, "UTC".to_owned(), false));
        assert!(Zone::named("Europe/Atlantis").is_none());
        assert!(Zone::named("US/Eastern").is_some());
        assert!(Zone::named("europe/paris").is_none());
    }
}
