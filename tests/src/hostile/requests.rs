//! Requests that are wrong, or ask for much, whatever the expression.

use fastrand::Rng;

use super::Scene;
use crate::processes::percent_encode;

type Shape = (&'static str, fn(&mut Rng, Scene) -> Vec<u8>);

/// The shape of requests that no answer can be expected to.
pub(super) const ENDLESS: &str = "requests without an end";
const FORM_HEAD: &str = "POST /api/v1/query HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\n";

pub(super) const SHAPES: &[Shape] = &[
    ("odd times and steps", times),
    ("odd limits", limits),
    ("years at a second", years),
    ("bad UTF-8", bad_utf8),
    ("series", series),
    ("many selectors", many_selectors),
    ("label names and values", labels),
    ("exemplars", exemplars),
    ("metadata and states", states),
    ("texts formatted", formatted),
    ("texts parsed", parsed),
    ("too long for a head", long_head),
    ("many parameters", many_parameters),
    ("broken HTTP", broken_http),
    (ENDLESS, endless),
    ("cancellations", cancellations),
];

/// Returns a request that posts a form.
pub(super) fn post(path: &str, form: &str) -> Vec<u8> {
    let length = form.len();
    let accept = if length.is_multiple_of(2) {
        "accept-encoding: gzip\r\n"
    } else {
        ""
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{accept}content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), form.as_bytes()].concat()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").into_bytes()
}

fn one_of<'a>(rng: &mut Rng, list: &[&'a str]) -> &'a str {
    list[rng.usize(0..list.len())]
}

fn odd_time(rng: &mut Rng) -> &'static str {
    one_of(
        rng,
        &[
            "NaN",
            "Inf",
            "-Inf",
            "-1",
            "1e308",
            "-1e308",
            "9223372036854775807",
            "-9223372036854775808",
            "0x10",
            "",
            "1e400",
            "0",
            "2015-07-01T20:10:30.781Z",
            "9999-99-99T99:99:99Z",
            "-292273086-05-16T16:47:06Z",
            "292277025-08-18T07:12:54.999999999Z",
            "now",
            "1700000000.0000000001",
            "%00",
        ],
    )
}

fn times(rng: &mut Rng, scene: Scene) -> Vec<u8> {
    let now = scene.now_s;
    let (start, end, step) = (odd_time(rng), odd_time(rng), odd_time(rng));
    match rng.u32(0..5) {
        0 => get(&format!("/api/v1/query?query=wide&time={start}")),
        1 => get(&format!(
            "/api/v1/query_range?query=wide&start={start}&end={end}&step={step}"
        )),
        2 => get(&format!(
            "/api/v1/query_range?query=wide&start={end}&end={now}&step={step}"
        )),
        3 => get(&format!(
            "/api/v1/query_range?query=wide&start={now}&end={end}&step=1e9"
        )),
        _ => get(&format!(
            "/api/v1/series?match[]=wide&start={start}&end={end}"
        )),
    }
}

fn limits(rng: &mut Rng, _: Scene) -> Vec<u8> {
    let number = one_of(
        rng,
        &[
            "-1",
            "0",
            "1",
            "99999999999999999999",
            "18446744073709551615",
            "1e9",
            "NaN",
            "x",
            "%2B1",
            "0.5",
        ],
    );
    let duration = one_of(
        rng,
        &[
            "-1s", "0", "1ns", "1e-9", "1ms", "290y", "300y", "NaN", "1e300", "5x",
        ],
    );
    match rng.u32(0..4) {
        0 => get(&format!(
            "/api/v1/query?query=wide&limit={number}&timeout={duration}"
        )),
        1 => get(&format!(
            "/api/v1/query?query=wide&lookback_delta={duration}"
        )),
        2 => get(&format!("/api/v1/labels?limit={number}")),
        _ => get(&format!(
            "/api/v1/metadata?limit={number}&limit_per_metric={number}"
        )),
    }
}

fn years(rng: &mut Rng, scene: Scene) -> Vec<u8> {
    let end = scene.now_s;
    let start = end - i64::from(rng.u32(1..50)) * 365 * 86_400;
    let step = one_of(rng, &["1s", "1", "1ms", "0.001", "1m"]);
    let query = percent_encode("{__name__=~\".+\"}");
    get(&format!(
        "/api/v1/query_range?query={query}&start={start}&end={end}&step={step}"
    ))
}

fn bad_utf8(rng: &mut Rng, _: Scene) -> Vec<u8> {
    let bytes: String = (0..rng.usize(1..300))
        .map(|_| format!("%{:02X}", rng.u8(..)))
        .collect();
    match rng.u32(0..5) {
        0 => get(&format!("/api/v1/query?query={bytes}")),
        1 => get(&format!("/api/v1/query?query=wide%7Bpod=%22{bytes}%22%7D")),
        2 => get(&format!("/api/v1/label/{bytes}/values")),
        3 => post(
            "/api/v1/series",
            &format!("match[]={bytes}&{bytes}={bytes}"),
        ),
        _ => {
            let raw: Vec<u8> = (0..rng.usize(1..300)).map(|_| rng.u8(..)).collect();
            let length = raw.len() + 6;
            let head = format!(
                "POST /api/v1/query HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\nquery="
            );
            [head.as_bytes(), &raw].concat()
        }
    }
}

fn selector(rng: &mut Rng) -> String {
    let number = rng.u32(0..1_000);
    let text = one_of(
        rng,
        &[
            "{__name__=~\".+\"}",
            "{pod=~\".*N.*\"}",
            "{__name__!=\"\"}",
            "{path=~\"(.*){0,100}N\"}",
            "wide{pod!~\"N.*\"}",
            "{pod=\"\"}",
            "{}",
            "wide[5m]",
            "wide offset 1h",
            "{pod=~\"(a{1000}){1000}\"}",
            "{le=~\"N|.+\"}",
            "sum(wide)",
        ],
    );
    percent_encode(&text.replace('N', &number.to_string()))
}

fn series(rng: &mut Rng, _: Scene) -> Vec<u8> {
    let selectors: Vec<String> = (0..rng.usize(0..20))
        .map(|_| format!("match[]={}", selector(rng)))
        .collect();
    post("/api/v1/series", &selectors.join("&"))
}

fn many_selectors(rng: &mut Rng, _: Scene) -> Vec<u8> {
    let pattern = one_of(
        rng,
        &[
            "wide{{pod=~\".*x{{0,N}}y?\"}}",
            "{{path=~\"[a-z]{{N}}.*|N\"}}",
            "wide{{pod=\"N\"}}",
            "{{__name__=~\"(w|x{{1,N}}).*\"}}",
        ],
    );
    let pattern = pattern.replace("{{", "{").replace("}}", "}");
    let selectors: Vec<String> = (0..rng.usize(100..9_999))
        .map(|n| {
            format!(
                "match[]={}",
                percent_encode(&pattern.replace('N', &(n % 999).to_string()))
            )
        })
        .collect();
    let path = one_of(
        rng,
        &[
            "/api/v1/series",
            "/api/v1/labels",
            "/api/v1/label/pod/values",
        ],
    );
    if path.ends_with("values") {
        let list: Vec<String> = selectors.into_iter().take(300).collect();
        return get(&format!("{path}?{}", list.join("&")));
    }
    post(path, &selectors.join("&"))
}

fn labels(rng: &mut Rng, _: Scene) -> Vec<u8> {
    let name = one_of(
        rng,
        &[
            "pod",
            "path",
            "__name__",
            "U__a_2e_b",
            "U__",
            "%FF",
            "a%2Fb",
            "",
            "le",
            "x",
        ],
    );
    let selectors: Vec<String> = (0..rng.usize(0..5))
        .map(|_| format!("match[]={}", selector(rng)))
        .collect();
    let (start, end) = (odd_time(rng), odd_time(rng));
    let form = selectors.join("&");
    match rng.u32(0..4) {
        0 => get(&format!(
            "/api/v1/label/{name}/values?{form}&start={start}&end={end}"
        )),
        1 => get(&format!("/api/v1/label/{name}/values?{form}")),
        2 => post("/api/v1/labels", &form),
        _ => get("/api/v1/labels?limit=1"),
    }
}

fn exemplars(rng: &mut Rng, scene: Scene) -> Vec<u8> {
    let text = one_of(
        rng,
        &[
            "{__name__=~\".+\"}",
            "rate(wide[5m]) + h",
            "1",
            "{pod=~\"(.*){0,1000}\"}",
        ],
    );
    let many: Vec<String> = (0..rng.usize(1..2_000))
        .map(|n| format!("wide{{pod=~\".*{n}\"}}"))
        .collect();
    let text = if rng.bool() {
        text.to_owned()
    } else {
        many.join(" or ")
    };
    let (query, end) = (percent_encode(&text), scene.now_s);
    post(
        "/api/v1/query_exemplars",
        &format!("query={query}&start=0&end={end}"),
    )
}

fn states(rng: &mut Rng, _: Scene) -> Vec<u8> {
    get(one_of(
        rng,
        &[
            "/api/v1/metadata",
            "/api/v1/status/tsdb?limit=10000",
            "/api/v1/status/tsdb?limit=-1",
            "/api/v1/status/queries",
            "/api/v1/status/tsdb/blocks",
            "/metrics",
            "/api/v1/agents",
            "/api/v1/status/flags",
            "/api/v1/nothing",
            "/",
            "/api/v1/status/walreplay",
            "/-/healthy",
            "/-/reload",
            "/api/v1/status/config",
        ],
    ))
}

fn text_to_read(rng: &mut Rng) -> String {
    let count = [1, 50, 127, 128, 400, 20_000][rng.usize(0..6)];
    let (before, middle, after) = [
        ("sum by (a) (", "wide", ")"),
        ("(", "1", ")"),
        ("-", "wide", ""),
        ("wide + ", "1", ""),
        ("label_replace(", "wide", ", \"a\", \"b\", \"c\", \"d\")"),
        ("wide{", "a=\"b\"", "}"),
        ("1 + (2 * ", "3", ")"),
        ("wide or ", "wide", ""),
        ("max_over_time(", "wide", "[1h:5m])"),
    ][rng.usize(0..9)];
    percent_encode(&format!(
        "{}{middle}{}",
        before.repeat(count),
        after.repeat(count)
    ))
}

fn formatted(rng: &mut Rng, _: Scene) -> Vec<u8> {
    post(
        "/api/v1/format_query",
        &format!("query={}", text_to_read(rng)),
    )
}

fn parsed(rng: &mut Rng, _: Scene) -> Vec<u8> {
    post(
        "/api/v1/parse_query",
        &format!("query={}", text_to_read(rng)),
    )
}

fn long_head(rng: &mut Rng, _: Scene) -> Vec<u8> {
    let text = "a".repeat([60_000, 70_000, 1_000_000][rng.usize(0..3)]);
    match rng.u32(0..3) {
        0 => get(&format!("/api/v1/query?query={text}")),
        1 => get(&format!("/{text}")),
        _ => format!("GET /api/v1/query?query=1 HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx: {text}\r\n\r\n").into_bytes(),
    }
}

fn many_parameters(rng: &mut Rng, _: Scene) -> Vec<u8> {
    let count = [9_999, 10_001, 500_000][rng.usize(0..3)];
    post("/api/v1/query", &format!("query=1{}", "&x=1".repeat(count)))
}

fn broken_http(rng: &mut Rng, _: Scene) -> Vec<u8> {
    match rng.u32(0..4) {
        0 => b"GET\r\n\r\n".to_vec(),
        1 => (0..rng.usize(1..3_000))
            .map(|_| rng.u8(..))
            .chain(*b"\r\n\r\n")
            .collect(),
        2 => format!("{FORM_HEAD}transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nx").into(),
        _ => b"DELETE /api/v1/query HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n".to_vec(),
    }
}

fn endless(rng: &mut Rng, _: Scene) -> Vec<u8> {
    let part = "x".repeat(rng.usize(0..100_000));
    match rng.u32(0..5) {
        0 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        1 => b"POST /api/v1/que".to_vec(),
        2 => format!("{FORM_HEAD}content-length: 99999999999\r\n\r\nquery={part}").into(),
        3 => format!("{FORM_HEAD}content-length: 9999999\r\n\r\nquery={part}").into(),
        _ => format!("{FORM_HEAD}transfer-encoding: chunked\r\n\r\n1\r\nx\r\n").into(),
    }
}

fn cancellations(rng: &mut Rng, _: Scene) -> Vec<u8> {
    let id = rng.u32(1..2_000);
    if rng.bool() {
        return post("/api/v1/status/queries/cancel", &format!("id={id}"));
    }
    format!("DELETE /api/v1/status/queries/{id} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .into_bytes()
}
