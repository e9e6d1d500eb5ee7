//! gzip and zstd, when the client accepts them and they gain.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue, VARY};

use crate::Response;

/// Smaller bodies fit in one packet either way.
const BYTES_MIN: usize = 1_400;
/// What zstd calls fast and small in memory.
const ZSTD_LEVEL: i32 = 1;

/// A form that a body may be sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is.
    Identity,
    Gzip,
    Zstd,
}

/// Returns whether a response should be sent in a form that the client chooses.
pub(crate) fn gains_by_compression(response: &Response) -> bool {
    response.body.len() >= BYTES_MIN && !response.headers.contains_key(CONTENT_ENCODING)
}

/// Puts the body into this form; says to caches that the form depends on the client either way.
pub(crate) fn compress(mut response: Response, encoding: Encoding) -> Response {
    response
        .headers
        .insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    let (name, compressed) = match encoding {
        Encoding::Identity => return response,
        Encoding::Gzip => ("gzip", gzip(&response.body)),
        Encoding::Zstd => ("zstd", zstd(&response.body)),
    };
    // Writing to memory does not fail; if it did, the plain body would do.
    if let Ok(body) = compressed {
        response.body = body.into();
        response
            .headers
            .insert(CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    response
}

fn gzip(body: &[u8]) -> io::Result<Vec<u8>> {
    let room = Vec::with_capacity(body.len() / 4);
    let mut encoder = GzEncoder::new(room, Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

fn zstd(body: &[u8]) -> io::Result<Vec<u8>> {
    let room = Vec::with_capacity(body.len() / 4);
    let mut encoder = zstd::stream::write::Encoder::new(room, ZSTD_LEVEL)?;
    encoder.write_all(body)?;
    encoder.finish()
}

/// Returns the form that a client with these headers likes best; of those it likes alike zstd, which costs less.
pub(crate) fn accepted(headers: &HeaderMap) -> Encoding {
    // Whoever takes anything takes gzip.
    let gzip = quality(headers, "gzip").or_else(|| quality(headers, "*"));
    let (gzip, zstd) = (gzip.unwrap_or(0.0), quality(headers, "zstd").unwrap_or(0.0));
    if zstd > 0.0 && zstd >= gzip {
        Encoding::Zstd
    } else if gzip > 0.0 {
        Encoding::Gzip
    } else {
        Encoding::Identity
    }
}

/// Returns how well a client likes a coding, from 0 to 1; `None` when it does not name it.
fn quality(headers: &HeaderMap, wanted: &str) -> Option<f32> {
    let listed = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut codings = listed.flat_map(|value| value.split(','));
    codings.find_map(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let quality = parameters.trim().strip_prefix("q=");
        let quality = quality.and_then(|q| q.trim().parse::<f32>().ok());
        (name.trim() == wanted).then_some(quality.unwrap_or(1.0))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use hyper::StatusCode;

    use super::*;

    #[test]
    fn who_accepts_gets_what_it_likes_best() {
        let body = "a".repeat(5_000);
        for (accept, expected) in [
            ("gzip", Encoding::Gzip),
            ("br, gzip;q=0.5", Encoding::Gzip),
            ("gzip;q=0", Encoding::Identity),
            ("gzip;q=0, *", Encoding::Identity),
            ("br", Encoding::Identity),
            ("*", Encoding::Gzip),
            ("zstd", Encoding::Zstd),
            ("gzip, deflate, br, zstd", Encoding::Zstd),
            ("gzip, zstd;q=0.5", Encoding::Gzip),
            ("zstd;q=0, gzip", Encoding::Gzip),
        ] {
            let mut request = HeaderMap::new();
            request.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
            let response = Response::new(StatusCode::OK, "text/plain", body.clone());
            assert!(gains_by_compression(&response));
            let encoding = accepted(&request);
            let response = compress(response, encoding);
            assert_eq!(encoding, expected, "{accept}");
            let mut back = String::new();
            match encoding {
                Encoding::Identity => {
                    assert!(!response.headers.contains_key(CONTENT_ENCODING));
                    continue;
                }
                Encoding::Gzip => flate2::read::GzDecoder::new(&*response.body)
                    .read_to_string(&mut back)
                    .unwrap(),
                Encoding::Zstd => zstd::stream::read::Decoder::new(&*response.body)
                    .unwrap()
                    .read_to_string(&mut back)
                    .unwrap(),
            };
            assert!(!gains_by_compression(&response), "encoded already");
            assert_eq!(back, body);
        }
        assert!(!gains_by_compression(&Response::text(
            StatusCode::OK,
            "short"
        )));
        assert_eq!(accepted(&HeaderMap::new()), Encoding::Identity);
    }
}
