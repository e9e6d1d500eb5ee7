//! Texts as mails carry them: lines of ASCII that are not too long.

use template::Time;

/// The longest line of a part, without its end.
const LINE_BYTES_MAX: usize = 76;
/// The most bytes of text in one encoded word, whose length is bounded by 75: each takes up to three.
const WORD_BYTES_MAX: usize = 20;

/// Returns a header's value: as it is, or in encoded words when it is not plain ASCII. A line break cannot come out.
pub(super) fn header(value: &str) -> String {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
    if value.bytes().all(is_plain) {
        return value.to_owned();
    }
    let mut words = vec![String::new()];
    let mut bytes = 0;
    for character in value.chars() {
        // Characters are not cut in two.
        if bytes + character.len_utf8() > WORD_BYTES_MAX {
            words.push(String::new());
            bytes = 0;
        }
        bytes += character.len_utf8();
        let mut buffer = [0; 4];
        for byte in character.encode_utf8(&mut buffer).bytes() {
            let Some(word) = words.last_mut() else {
                continue;
            };
            match byte {
                b' ' => word.push('_'),
                b'!'..=b'~' if !b"=?_".contains(&byte) => word.push(char::from(byte)),
                _ => word.push_str(&format!("={byte:02X}")),
            }
        }
    }
    let words: Vec<String> = words
        .iter()
        .map(|word| format!("=?utf-8?q?{word}?="))
        .collect();
    words.join("\r\n ")
}

/// Returns a text as quoted-printable, with lines that end in CRLF.
pub(super) fn quoted_printable(text: &str) -> String {
    let lines: Vec<String> = text.replace("\r\n", "\n").split('\n').map(line).collect();
    lines.join("\r\n")
}

fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut width = 0;
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        let is_last = bytes.peek().is_none();
        let unit = match byte {
            b'=' => "=3D".to_owned(),
            b' ' | b'\t' if is_last => format!("={byte:02X}"),
            b' '..=b'~' | b'\t' => char::from(byte).to_string(),
            _ => format!("={byte:02X}"),
        };
        // One place is kept for the `=` of a soft break.
        if width + unit.len() > LINE_BYTES_MAX - 1
            && !(is_last && width + unit.len() <= LINE_BYTES_MAX)
        {
            out.push_str("=\r\n");
            width = 0;
        }
        width += unit.len();
        out.push_str(&unit);
    }
    out
}

/// Returns an instant as `Mon, 02 Jan 2006 15:04:05 +0000`.
pub(super) fn date(time: &Time) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let civil = Time::from_unix_ms(time.unix_ms()).civil();
    let name = |names: &[&'static str], index: i64| {
        let index = usize::try_from(index).unwrap_or_default();
        names.get(index).copied().unwrap_or_default()
    };
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} +0000",
        name(&DAYS, civil.weekday),
        civil.day,
        name(&MONTHS, civil.month - 1),
        civil.year,
        civil.hour,
        civil.minute,
        civil.second
    )
}

/// Returns the day of an instant as `2006-01-02`.
pub(super) fn day(time: &Time) -> String {
    let civil = Time::from_unix_ms(time.unix_ms()).civil();
    format!("{:04}-{:02}-{:02}", civil.year, civil.month, civil.day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_encoded_where_they_must_be() {
        assert_eq!(header("[FIRING:1] a_b (c)"), "[FIRING:1] a_b (c)");
        assert_eq!(header("über =?"), "=?utf-8?q?=C3=BCber_=3D=3F?=");
        assert_eq!(header("a\r\nBcc: x"), "=?utf-8?q?a=0D=0ABcc:_x?=");
        let long = header(&"ü".repeat(50));
        assert!(long.split("\r\n ").all(|word| word.len() <= 75), "{long}");
    }

    #[test]
    fn bodies_have_short_lines() {
        assert_eq!(
            quoted_printable("a=ü \nb\t\r\n"),
            "a=3D=C3=BC=20\r\nb=09\r\n"
        );
        let full = "x".repeat(76);
        assert_eq!(quoted_printable(&full), full);
        let long = quoted_printable(&"x".repeat(200));
        assert!(long.split("\r\n").all(|line| line.len() <= 76));
        assert_eq!(long.replace("=\r\n", ""), "x".repeat(200));
    }

    #[test]
    fn instants_are_dated() {
        let time = Time::parse_rfc3339("2026-03-14T08:05:09Z").unwrap();
        assert_eq!(date(&time), "Sat, 14 Mar 2026 08:05:09 +0000");
        assert_eq!(day(&time), "2026-03-14");
    }
}
