//! Bytes as text: hex, base32 for tokens, PEM for files.

use std::fmt::Write as _;

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Returns `bytes` in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    text
}

/// Returns `bytes` in lower-case base32 (RFC 4648) without padding.
pub(crate) fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for group in bytes.chunks(5) {
        let mut bits = [0; 8];
        bits[3..3 + group.len()].copy_from_slice(group);
        let value = u64::from_be_bytes(bits);
        for digit in 0..(group.len() * 8).div_ceil(5) {
            let index = (value >> (35 - 5 * digit)) & 31;
            text.push(char::from(BASE32[usize::try_from(index).expect("5 bits")]));
        }
    }
    text
}

/// Returns the bytes of a base32 text in either case; `None` if a character or the length is wrong, or spare bits are set.
pub(crate) fn from_base32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut value, mut bits) = (0_u32, 0_u32);
    for character in text.bytes() {
        let lower = character.to_ascii_lowercase();
        let digit = BASE32.iter().position(|c| *c == lower)?;
        value = (value << 5) | u32::try_from(digit).expect("below 32");
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(value >> bits).expect("at most 8 bits are left above"));
            value &= (1 << bits) - 1;
        }
    }
    (bits < 5 && value == 0).then_some(bytes)
}

/// Appends a PEM block to `out`.
pub(crate) fn push_pem(out: &mut String, label: &str, der: &[u8]) {
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----\n");
    // 48 bytes are 64 characters, the line length of RFC 7468.
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let mut padded = [0; 4];
            padded[1..=group.len()].copy_from_slice(group);
            let value = u32::from_be_bytes(padded);
            for digit in 0..4_usize {
                let index = usize::try_from((value >> (18 - 6 * digit)) & 63).expect("6 bits");
                let present = digit <= group.len();
                out.push(if present {
                    char::from(BASE64[index])
                } else {
                    '='
                });
            }
        }
        out.push('\n');
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn base32_comes_back() {
        assert_eq!(base32(b"foobar"), "mzxw6ytboi");
        for length in 0..70_u8 {
            let bytes: Vec<u8> = (0..length).map(|i| i.wrapping_mul(37) ^ length).collect();
            let text = base32(&bytes);
            assert_eq!(from_base32(&text).as_ref(), Some(&bytes));
            assert_eq!(from_base32(&text.to_uppercase()).as_ref(), Some(&bytes));
        }
        for bad in ["a", "a1", "mzxw6ytbo", "mzxw6ytboj", "ü"] {
            assert_eq!(from_base32(bad), None, "{bad}");
        }
    }

    #[test]
    fn pem_is_read_by_others() {
        for length in [1_u8, 2, 3, 47, 48, 49, 200] {
            let der: Vec<u8> = (0..length).collect();
            let mut text = String::new();
            push_pem(&mut text, "CERTIFICATE", &der);
            let read = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
            assert_eq!(read.as_ref(), der);
        }
    }
}
