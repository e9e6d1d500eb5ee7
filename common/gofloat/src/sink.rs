//! Where numbers are written to.

/// Takes ASCII at its end.
pub trait Sink {
    /// Appends `ascii`.
    fn append(&mut self, ascii: &[u8]);
}

impl Sink for Vec<u8> {
    fn append(&mut self, ascii: &[u8]) {
        self.extend_from_slice(ascii);
    }
}

impl Sink for String {
    fn append(&mut self, ascii: &[u8]) {
        let text = str::from_utf8(ascii);
        self.push_str(text.expect("digits, signs, points and names are ASCII"));
    }
}
