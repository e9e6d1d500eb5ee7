//! gzip, when the client accepts it and it gains.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue, VARY};

use crate::Response;

/// Smaller bodies fit in one packet either way.
const BYTES_MIN: usize = 1_400;

/// Compresses the body when `request` accepts gzip; leaves what is encoded already.
pub(crate) fn compress(request: &HeaderMap, mut response: Response) -> Response {
    if response.body.len() < BYTES_MIN || response.headers.contains_key(CONTENT_ENCODING) {
        return response;
    }
    response.headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if !accepts_gzip(request) {
        return response;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(response.body.len() / 4), Compression::fast());
    let compressed = encoder.write_all(&response.body).and_then(|()| encoder.finish());
    if let Ok(body) = compressed {
        response.body = body.into();
        response.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let listed = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    listed.flat_map(|value| value.split(',')).any(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = parameters.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f32>().ok()) == Some(0.0);
        matches!(name.trim(), "gzip" | "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use hyper::StatusCode;

    use super::*;

    #[test]
    fn only_who_accepts_gets_gzip() {
        for (accept, expected) in [("gzip", true), ("br, gzip;q=0.5", true), ("gzip;q=0", false), ("br", false), ("*", true)] {
            let mut request = HeaderMap::new();
            request.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
            let body = "a".repeat(5_000);
            let response = compress(&request, Response::new(StatusCode::OK, "text/plain", body.clone()));
            assert_eq!(response.headers.contains_key(CONTENT_ENCODING), expected, "{accept}");
            if expected {
                let mut back = String::new();
                flate2::read::GzDecoder::new(&*response.body).read_to_string(&mut back).expect("gzip");
                assert_eq!(back, body);
            }
        }
    }
}
