//! Sizes in bytes, with Prometheus' units: powers of 1024 whether written `KB` or `KiB`.

/// Units with their powers of 1024, largest first.
const UNITS: [(&str, u32); 6] = [("E", 6), ("P", 5), ("T", 4), ("G", 3), ("M", 2), ("K", 1)];

/// Returns the bytes that `text` writes: `512MB`, `512MiB`, `4096B`, or a bare number of bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let refuse = || {
        format!(
            "{text:?} is not a size: expected a whole number with B, KB, MB, GB, TB, PB or EB, such as 512MB"
        )
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let power = match unit.strip_suffix("iB").or_else(|| unit.strip_suffix('B')) {
        None if unit.is_empty() => 0,
        Some("") if !unit.ends_with("iB") => 0,
        Some(prefix) => UNITS
            .iter()
            .find(|(name, _)| *name == prefix)
            .map(|(_, power)| *power)
            .ok_or_else(refuse)?,
        None => return Err(refuse()),
    };
    number
        .checked_mul(1024_u64.pow(power))
        .ok_or_else(|| format!("{text:?} is larger than 16 EB"))
}

/// Returns `bytes` with the largest unit that divides it.
pub fn format_size(bytes: u64) -> String {
    UNITS
        .iter()
        .find(|(_, power)| bytes > 0 && bytes.is_multiple_of(1024_u64.pow(*power)))
        .map_or_else(
            || format!("{bytes}B"),
            |(unit, power)| format!("{}{unit}iB", bytes / 1024_u64.pow(*power)),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, bytes, written) in [
            ("0", 0, "0B"),
            ("17", 17, "17B"),
            ("17B", 17, "17B"),
            ("512MB", 512 << 20, "512MiB"),
            ("512MiB", 512 << 20, "512MiB"),
            ("1536KiB", 1536 << 10, "1536KiB"),
            ("2TB", 2 << 40, "2TiB"),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(format_size(bytes), written, "{text}");
        }
        for bad in [
            "",
            "MB",
            "5 MB",
            "-1",
            "1.5GB",
            "5iB",
            "5X",
            "5MBB",
            "20EB",
            "99999999999999999999",
        ] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
