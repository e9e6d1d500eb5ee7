//! gzip, when the client accepts it and it gains.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue, VARY};

use crate::Response;

/// Smaller bodies fit in one packet either way.
const BYTES_MIN: usize = 1_400;

/// Returns whether a response should be sent in a form that the client chooses.
pub(crate) fn gains_by_gzip(response: &Response) -> bool {
    response.body.len() >= BYTES_MIN && !response.headers.contains_key(CONTENT_ENCODING)
}

/// Compresses the body when `gzip` is accepted; says to caches that the form depends on the client either way.
pub(crate) fn compress(mut response: Response, gzip: bool) -> Response {
    response
        .headers
        .insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if !gzip {
        return response;
    }
    let room = Vec::with_capacity(response.body.len() / 4);
    let mut encoder = GzEncoder::new(room, Compression::fast());
    let compressed = encoder
        .write_all(&response.body)
        .and_then(|()| encoder.finish());
    // Writing to memory does not fail; if it did, the plain body would do.
    if let Ok(body) = compressed {
        response.body = body.into();
        response
            .headers
            .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Returns whether a client with these headers accepts gzip.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let listed = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    listed.flat_map(|value| value.split(',')).any(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let quality = parameters
            .trim()
            .strip_prefix("q=")
            .and_then(|q| q.trim().parse::<f32>().ok());
        matches!(name.trim(), "gzip" | "*") && quality != Some(0.0)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use hyper::StatusCode;

    use super::*;

    #[test]
    fn only_who_accepts_gets_gzip() {
        let body = "a".repeat(5_000);
        for (accept, expected) in [
            ("gzip", true),
            ("br, gzip;q=0.5", true),
            ("gzip;q=0", false),
            ("br", false),
            ("*", true),
        ] {
            let mut request = HeaderMap::new();
            request.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
            let response = Response::new(StatusCode::OK, "text/plain", body.clone());
            assert!(gains_by_gzip(&response));
            let response = compress(response, accepts_gzip(&request));
            assert_eq!(
                response.headers.contains_key(CONTENT_ENCODING),
                expected,
                "{accept}"
            );
            if expected {
                assert!(!gains_by_gzip(&response), "encoded already");
                let mut back = String::new();
                flate2::read::GzDecoder::new(&*response.body)
                    .read_to_string(&mut back)
                    .unwrap();
                assert_eq!(back, body);
            }
        }
        assert!(!gains_by_gzip(&Response::text(StatusCode::OK, "short")));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
