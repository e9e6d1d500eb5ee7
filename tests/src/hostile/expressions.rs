//! Expressions that cost much, or try to.

use fastrand::Rng;

type Shape = (&'static str, fn(&mut Rng) -> String);

/// Everything that is stored.
const ALL: &str = "{__name__=~\".+\"}";
/// The metric with many series, and the one with many samples: see the test that writes them.
const WIDE: &str = "wide";
const DEEP: &str = "deep";

pub(super) const SHAPES: &[Shape] = &[
    ("everything", everything),
    ("long ranges", long_ranges),
    ("subqueries in subqueries", subqueries),
    ("joins of all with all", joins),
    ("chains of sets", chains_of_sets),
    ("labels that double", doubling_labels),
    ("labels replaced", replaced_labels),
    ("values counted", counted_values),
    ("aggregations of everything", aggregations),
    ("histograms of everything", histograms),
    ("huge regular expressions", regexes),
    ("many regular expressions", many_regexes),
    ("many matchers", many_matchers),
    ("many label names", many_names),
    ("many arguments", many_arguments),
    ("deep nesting", nesting),
    ("long chains", chains),
    ("a megabyte", megabyte),
    ("times out of range", times),
    ("odd numbers", odd_numbers),
    ("odd bytes", odd_bytes),
    ("broken syntax", broken),
];

fn one_of<'a>(rng: &mut Rng, list: &[&'a str]) -> &'a str {
    list[rng.usize(0..list.len())]
}

fn metric(rng: &mut Rng) -> &'static str {
    one_of(rng, &[ALL, WIDE, WIDE, DEEP, "h", "b_bucket"])
}

fn everything(rng: &mut Rng) -> String {
    let selector = metric(rng);
    let function = one_of(
        rng,
        &[
            "",
            "abs",
            "-",
            "sort_desc",
            "absent",
            "timestamp",
            "scalar",
            "sgn",
            "exp",
        ],
    );
    format!("{function}({selector})")
}

fn long_ranges(rng: &mut Rng) -> String {
    let range = one_of(
        rng,
        &["1h", "1d", "15d", "5y", "290y", "1y:1s", "1d:1ms", "15d:"],
    );
    let selector = metric(rng);
    let function = one_of(
        rng,
        &[
            "",
            "rate",
            "sum_over_time",
            "stddev_over_time",
            "mad_over_time",
            "changes",
            "deriv",
            "last_over_time",
            "absent_over_time",
            "resets",
            "min_over_time",
        ],
    );
    format!("{function}({selector}[{range}])")
}

fn subqueries(rng: &mut Rng) -> String {
    let mut text = metric(rng).to_owned();
    for _ in 0..rng.usize(1..=6) {
        let function = one_of(
            rng,
            &["rate", "max_over_time", "avg_over_time", "sum_over_time"],
        );
        let range = one_of(rng, &["5m:1s", "1h:1s", "1d:1m", "1y:1h", "10m:1ms", "1h:"]);
        text = format!("{function}(({text})[{range}])");
    }
    text
}

fn joins(rng: &mut Rng) -> String {
    let label = one_of(rng, &["node", "pod", "path", "nothing"]);
    match rng.u32(0..6) {
        0 => format!("{WIDE} * on () group_left () {WIDE}"),
        1 => format!("{WIDE} * on ({label}) group_left (path) max by ({label}) ({WIDE})"),
        2 => format!(
            "{ALL} + ignoring (pod, path, container) group_right (node) count by (node) ({ALL})"
        ),
        3 => format!("({WIDE} or {ALL}) * on (node, pod, path) group_left () ({WIDE})"),
        4 => format!(
            "{ALL} == bool on (__name__, node, pod, path, container, a, le, instance, job) {ALL}"
        ),
        _ => format!("{WIDE} + fill(1) {WIDE} offset 1d"),
    }
}

fn chains_of_sets(rng: &mut Rng) -> String {
    let op = one_of(rng, &[" or ", " and ", " unless ", " or on (node) "]);
    let selectors: Vec<String> = (0..rng.usize(2..200))
        .map(|n| format!("({WIDE} + {n})"))
        .collect();
    selectors.join(op)
}

fn doubling_labels(rng: &mut Rng) -> String {
    let mut text = metric(rng).to_owned();
    let sources = vec!["\"x\""; rng.usize(2..40)].join(", ");
    for _ in 0..rng.usize(1..12) {
        text = format!("label_join({text}, \"x\", \"0123456789\", {sources})");
    }
    text
}

fn replaced_labels(rng: &mut Rng) -> String {
    let mut text = metric(rng).to_owned();
    let twice = "$1".repeat(rng.usize(2..60));
    for _ in 0..rng.usize(1..8) {
        let pattern = one_of(rng, &["(.*)", "(.*)(.*)(.*)x?", "(?s:(.+)+)", "((.*))*"]);
        text = format!("label_replace({text}, \"x\", \"{twice}ab\", \"x\", \"{pattern}\")");
    }
    text
}

fn counted_values(rng: &mut Rng) -> String {
    let selector = metric(rng);
    let by = one_of(
        rng,
        &["", "by (node)", "without (path)", "by (node, pod, path)"],
    );
    format!("count_values {by} (\"value\", {selector} * time() / 7)")
}

fn aggregations(rng: &mut Rng) -> String {
    let selector = metric(rng);
    let by = one_of(
        rng,
        &["", "by (node, pod, path)", "without (node)", "by (nothing)"],
    );
    let of = one_of(
        rng,
        &[
            "quantile {} (0.99, X)",
            "topk {} (1e18, X)",
            "bottomk {} (1000000, X)",
            "limitk {} (1e9, X)",
            "limit_ratio {} (-1, X)",
            "stddev {} (X)",
            "sum {} (X)",
            "group {} (rate(X[1d]))",
            "quantile {} (NaN, rate(X[15d]))",
            "count {} (X > X)",
        ],
    );
    of.replace("{}", by).replace('X', selector)
}

fn histograms(rng: &mut Rng) -> String {
    let selector = metric(rng);
    let of = one_of(
        rng,
        &[
            "histogram_quantile(0.9, X)",
            "histogram_quantiles(rate(X[1d]), \"q\", 0, 0.1, 0.2, 0.5, 0.9, 1)",
            "histogram_fraction(-Inf, Inf, rate(X[1h]))",
            "sum(X) + avg(X) - h",
            "info(X)",
            "histogram_stddev(h * h)",
            "sum_over_time(h[15d]) / 1e-308",
            "h == h and X",
        ],
    );
    of.replace('X', selector)
}

fn regexes(rng: &mut Rng) -> String {
    let n = rng.usize(1..1_000);
    let pattern = match rng.u32(0..10) {
        0 => "(a{1000}){1000}".to_owned(),
        1 => "((((a|b)*)*)*)*c".to_owned(),
        2 => format!("{}{}", "a?".repeat(n), "a".repeat(n)),
        3 => "(.*){1000}x".to_owned(),
        4 => "[\\\\p{L}\\\\p{Greek}]{900}".to_owned(),
        5 => vec!["pod-[0-9]+x?"; n].join("|"),
        6 => format!("{}{}", "(".repeat(n * 10), ")".repeat(n * 10)),
        7 => ".*.*.*.*.*.*.*.*.*=.*".to_owned(),
        8 => "x".repeat(n * 40),
        _ => format!("(?i){}", "[^a-z]{0,300}".repeat(n % 20 + 1)),
    };
    let op = one_of(rng, &["=~", "!~"]);
    let label = one_of(rng, &["pod", "path", "__name__", "nothing"]);
    format!("{{__name__=~\".+\",{label}{op}\"{pattern}\"}}")
}

fn many_regexes(rng: &mut Rng) -> String {
    let matchers: Vec<String> = (0..rng.usize(10..20_000))
        .map(|n| match n % 3 {
            0 => format!("pod=~\".*x{{0,{}}}\"", n % 1_000),
            1 => format!("path!~\"{n}|[a-z]{{50}}\""),
            _ => format!("node=~\"(a|b|.*){{0,{}}}\"", n % 100),
        })
        .collect();
    format!("{{{}, __name__=\"wide\"}}", matchers.join(","))
}

fn many_matchers(rng: &mut Rng) -> String {
    let matcher = one_of(
        rng,
        &["a=\"\",", "pod!=\"\",", "path!=\"x\",", "pod=~\"|.+\","],
    );
    format!("wide{{{}}}", matcher.repeat(rng.usize(100..100_000)))
}

fn many_names(rng: &mut Rng) -> String {
    let count = rng.usize(100..60_000);
    let names = |letter: char| {
        let names: Vec<String> = (0..count).map(|n| format!("{letter}{n}")).collect();
        names.join(",")
    };
    match rng.u32(0..4) {
        0 => format!("sum by ({}) (wide)", names('a')),
        1 => format!("sum without ({}) (wide)", names('a')),
        2 => format!(
            "wide + on ({}) group_left ({}) wide",
            names('a'),
            names('b')
        ),
        _ => format!("wide and ignoring ({}) wide", names('a')),
    }
}

fn many_arguments(rng: &mut Rng) -> String {
    let count = rng.usize(100..200_000);
    match rng.u32(0..4) {
        0 => format!("sort_by_label(wide, {}\"pod\")", "\"pod\",".repeat(count)),
        1 => format!(
            "label_join(wide, \"x\", \"\", {}\"pod\")",
            "\"pod\",".repeat(count)
        ),
        2 => format!("max_of({}1)", "1,".repeat(count)),
        _ => format!("histogram_quantiles(h, \"q\", {}1)", "0.5,".repeat(count)),
    }
}

fn nesting(rng: &mut Rng) -> String {
    let count = [100, 127, 128, 129, 511, 100_000][rng.usize(0..6)];
    let (before, after) = [
        ("(", ")"),
        ("sum(", ")"),
        ("-", ""),
        ("abs(abs(", "))"),
        ("rate(", "[5m:1m])"),
        ("{", "}"),
        ("[", "]"),
        ("(1+", ")"),
        ("vector(scalar(", "))"),
    ][rng.usize(0..9)];
    format!("{}wide{}", before.repeat(count), after.repeat(count))
}

fn chains(rng: &mut Rng) -> String {
    let count = [100, 500, 511, 512, 513, 100_000][rng.usize(0..6)];
    let link = one_of(
        rng,
        &[
            " + 1",
            " * wide",
            " or wide",
            " ^ 2",
            " == bool 1",
            " - -1",
            " offset 1s",
            "[5m:]",
        ],
    );
    format!("wide{}", link.repeat(count))
}

fn megabyte(rng: &mut Rng) -> String {
    let bytes = [1_000_000, 1_048_576, 1_048_577, 3_000_000][rng.usize(0..4)];
    let piece = one_of(
        rng,
        &[
            "wide{pod=\"x\"} or ",
            "(",
            "1,",
            "\"\" ",
            "#",
            " ",
            "a",
            "[5m]",
            "\\\\",
        ],
    );
    let text = piece.repeat(bytes / piece.len());
    let (open, close) = [
        ("", "wide"),
        ("label_join(wide,\"x\",\"", "\",\"pod\")"),
        ("wide{pod=\"", "\"}"),
        ("\"", "\""),
    ][rng.usize(0..4)];
    format!("{open}{text}{close}")
}

fn times(rng: &mut Rng) -> String {
    let at = one_of(
        rng,
        &["9e15", "-9e15", "1e300", "NaN", "Inf", "0", "end()", "-0"],
    );
    let offset = one_of(
        rng,
        &[
            "290y",
            "-290y",
            "300y",
            "0s",
            "1ms",
            "(1h * 1e9)",
            "-(step() * 1e300)",
        ],
    );
    let range = one_of(
        rng,
        &[
            "[290y]",
            "[1h*1000000:1ms]",
            "[290y:1ms]",
            "[1ms:290y]",
            "[range()*1e9:step()]",
            "",
        ],
    );
    let function = if range.is_empty() {
        ""
    } else {
        "count_over_time"
    };
    format!("{function}({}{range} offset {offset} @ {at})", metric(rng))
}

fn odd_numbers(rng: &mut Rng) -> String {
    let number = one_of(
        rng,
        &[
            "1e309",
            "-1e309",
            "NaN",
            "0x7fffffffffffffff",
            "1e-400",
            "-0",
            "1_000_000",
            "0b11",
            "9007199254740993",
            "Inf",
        ],
    );
    one_of(
        rng,
        &[
            "topk(N, wide)",
            "quantile(N, wide)",
            "wide ^ N ^ N",
            "round(wide, N)",
            "clamp(wide, N, -N)",
            "wide % N",
            "predict_linear(deep[1h], N)",
            "double_exponential_smoothing(deep[1h], N, N)",
            "vector(N) / vector(0)",
            "quantile_over_time(N, deep[1d])",
            "limit_ratio(N, wide)",
            "month(vector(N))",
            "histogram_fraction(N, -N, h)",
            "wide atan2 N",
            "limitk(N, wide)",
            "ts_of_max_over_time(vector(N)[1h:1s])",
        ],
    )
    .replace('N', number)
}

fn odd_bytes(rng: &mut Rng) -> String {
    let bytes: String = (0..rng.usize(1..400))
        .map(|_| char::from_u32(rng.u32(..0x1_1000)).unwrap_or('\u{fffd}'))
        .collect();
    match rng.u32(0..4) {
        0 => bytes,
        1 => format!("wide{{pod={bytes:?}}}"),
        2 => format!("label_replace(wide, \"x\", {bytes:?}, \"pod\", {bytes:?})"),
        _ => format!("{{{bytes:?}}}"),
    }
}

fn broken(rng: &mut Rng) -> String {
    let words = [
        "sum",
        "by",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "wide",
        "5m",
        ":",
        "@",
        "offset",
        "1",
        "\"",
        "'",
        "`",
        ",",
        "=~",
        "-",
        "and",
        "on",
        "group_left",
        "bool",
        "rate",
        "#",
        "\\",
        "0x",
        "1e",
        "__name__",
        "=",
        "\n",
        "start()",
        "$",
        "😀",
    ];
    let count = rng.usize(1..2_000);
    let words: Vec<&str> = (0..count)
        .map(|_| words[rng.usize(0..words.len())])
        .collect();
    words.join(if rng.bool() { " " } else { "" })
}
