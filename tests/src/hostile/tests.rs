use std::collections::BTreeSet;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

const SCENE: Scene = Scene {
    now_s: 1_700_086_400,
    base_s: 1_700_000_000,
};

#[test]
fn a_seed_makes_the_same_attacks_and_all_shapes() {
    let (one, same) = (Hostile::new(SCENE, 7), Hostile::new(SCENE, 7));
    let mut shapes = BTreeSet::new();
    for number in 0..1_000 {
        let attack = one.attack(number);
        assert_eq!(attack.request, same.attack(number).request, "{number}");
        shapes.insert(attack.shape);
    }
    let all = expressions::SHAPES.len() + requests::SHAPES.len() + 1;
    assert_eq!(shapes.len(), all, "{shapes:?}");
}

#[test]
fn answers_are_told_from_what_is_none() {
    let answer = |status: u16, body: &str| {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        Verdict::of(format!("{head}{body}").as_bytes())
    };
    let error = |kind: &str, why: &str| {
        format!("{{\"status\":\"error\",\"errorType\":\"{kind}\",\"error\":\"{why}\"}}")
    };
    assert_eq!(
        answer(200, "{\"status\":\"success\",\"data\":[1]}"),
        Ok(Verdict::Data)
    );
    let refused = answer(
        503,
        &error(
            "timeout",
            "query timed out after 3 ms; raise --query.timeout",
        ),
    );
    assert_eq!(refused, Ok(Verdict::Refused("timeout".to_owned())));
    for (status, body) in [
        (200, "{\"status\":\"success\",\"data\":[1}".to_owned()),
        (200, "{\"status\":\"success\",\"data\":[1]} x".to_owned()),
        (200, "[]".to_owned()),
        (503, error("timeout", "query timed out")),
        (422, error("execution", "more than 5 bytes of memory")),
        (500, error("internal", "a task panicked")),
        (400, error("bad_data", "")),
    ] {
        assert!(answer(status, &body).is_err(), "{body}");
    }
    let packed = |body: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(body.as_bytes()).expect("memory takes it");
        let bytes = encoder.finish().expect("memory takes it");
        let head =
            "HTTP/1.1 400 X\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n\r\n";
        Verdict::of(&[head.as_bytes(), &bytes].concat())
    };
    assert_eq!(
        packed(&error("bad_data", "no")),
        Ok(Verdict::Refused("bad_data".to_owned()))
    );
    assert!(packed(&error("bad_data", "")).is_err());
    let endless = "x".repeat(1 << 20);
    assert!(packed(&error("bad_data", &endless)).is_err());
    let plain = |head: &str| Verdict::of(format!("HTTP/1.1 {head}").as_bytes());
    assert_eq!(
        plain("431 X\r\ncontent-length: 0\r\n\r\n"),
        Ok(Verdict::Http(431))
    );
    assert!(plain("503 X\r\ncontent-length: 0\r\n\r\n").is_err());
    assert!(plain("404 X\r\ncontent-length: 9\r\n\r\nnot").is_err());
}
