//! Whatever a template says, it costs no more than its bounds: it ends, on a small stack, with an answer.

use template::{
    ErrorKind, Fixed, Limits, Mode, NESTING_MAX, NOTIFICATION_FUNCTIONS, RULE_FUNCTIONS, Templates,
    Time, VALUE_DEPTH_MAX, Value,
};

use crate::data::Data;

const SMALL: Limits = Limits {
    steps: 100_000,
    output_bytes: 100_000,
};

fn render(text: &str, limits: Limits) -> Result<String, template::Error> {
    let program = Templates::new(NOTIFICATION_FUNCTIONS).compile("t", text, Mode::Text, &[])?;
    program.render(&Value::from("data"), &[], &mut Fixed(Time::zero()), limits)
}

/// Runs `test` on half of the stack that threads have.
fn on_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(1024 * 1024);
    thread.spawn(test).unwrap().join().unwrap();
}

#[test]
fn steps_are_bounded() {
    let texts = [
        "{{range 1000000000}}{{end}}",
        "{{range 1000000}}{{range 1000000}}{{end}}{{end}}",
        "{{define \"a\"}}{{range 10}}{{template \"a\"}}{{end}}{{end}}{{template \"a\"}}",
        "{{$x := \"aaaaaaaaaaaaaaaa\"}}{{range 1000}}{{$x = print $x $x}}{{end}}",
        "{{$l := list}}{{range 100000}}{{$l = append $l .}}{{end}}",
        "{{range 100000}}{{match \"(a{500}){500}\" \"a\"}}{{end}}",
    ];
    for text in texts {
        let error = render(text, SMALL).unwrap_err();
        assert!(
            error.kind == ErrorKind::Limit
                || error.message.contains("regular expression")
                || error.message.contains("repetition"),
            "{text}: {error}"
        );
    }
}

#[test]
fn texts_and_outputs_are_bounded() {
    let texts = [
        "{{printf \"%1000000d\" 1}}",
        "{{range 10000}}{{\"0123456789\"}}{{end}}x",
        "{{range 10001}}0123456789{{end}}",
        "{{printf \"%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s\" (printf \"%50000s\" \"\")}}",
        "{{reReplaceAll \"\" \"0123456789\" (printf \"%50000s\" \"\")}}",
        "{{join (printf \"%50000s\" \"\") (stringSlice \"a\" \"b\" \"c\" \"d\")}}",
        "{{js (printf \"%090000d<<<<<<<<<<\" 0) | print | urlquery | printf \"%[1]s%[1]s\"}}",
        "{{$x := list}}{{range 20}}{{$x = list $x $x}}{{end}}{{$x}}",
        "{{$x := list}}{{range 20}}{{$x = list $x $x}}{{end}}{{toJson $x}}",
    ];
    for text in texts {
        let error = render(
            text,
            Limits {
                steps: 10_000_000,
                ..SMALL
            },
        )
        .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Limit, "{text}: {error}");
    }
}

#[test]
fn recursion_is_bounded_and_fits_the_stack() {
    on_small_stack(|| {
        let nested = format!(
            "{}1{}",
            "(print ".repeat(NESTING_MAX - 2),
            ")".repeat(NESTING_MAX - 2)
        );
        let branches = format!(
            "{}x{}",
            "{{with 1}}".repeat(NESTING_MAX - 2),
            "{{end}}".repeat(NESTING_MAX - 2)
        );
        assert_eq!(render(&format!("{{{{{nested}}}}}"), SMALL).unwrap(), "1");
        assert_eq!(render(&branches, SMALL).unwrap(), "x");
        let texts = [
            "{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}".to_owned(),
            "{{define \"a\"}}{{range 1}}{{with 1}}{{if 1}}{{template \"a\" (print (print (print 1)))}}{{end}}{{end}}{{end}}{{end}}{{template \"a\"}}".to_owned(),
            format!("{{{{define \"a\"}}}}{}{}{}{{{{end}}}}{{{{template \"a\"}}}}", "{{with 1}}".repeat(60), "{{template \"a\"}}", "{{end}}".repeat(60)),
            "{{$x := 1}}{{range 1000}}{{$x = list $x}}{{end}}".to_owned(),
            "{{$x := 1}}{{range 1000}}{{$x = dict \"a\" $x}}{{end}}".to_owned(),
        ];
        for text in texts {
            let error = render(&text, SMALL).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Limit, "{text}: {error}");
        }
        let deep = format!(
            "{{{{$x := 1}}}}{{{{range {}}}}}{{{{$x = list $x}}}}{{{{end}}}}{{{{printf \"%v %#v\" $x $x}}}}",
            VALUE_DEPTH_MAX
        );
        assert!(render(&deep, SMALL).unwrap().starts_with("[["));
    });
}

#[test]
fn hostile_texts_are_refused() {
    on_small_stack(|| {
        for text in [
            "{{if .}}".repeat(100_000),
            format!("{{{{{}", "(".repeat(100_000)),
            "{{block \"a\" .}}".repeat(100_000),
            "{{range .}}{{else}}".repeat(50_000),
            format!("{{{{if .}}}}{}{{{{end}}}}", "{{else if .}}".repeat(50_000)),
            "a".repeat(5_000_000),
        ] {
            for mode in [Mode::Text, Mode::Html] {
                let compiled = Templates::new(RULE_FUNCTIONS).compile("t", &text, mode, &[]);
                // A chain of `else if` is no nesting.
                assert!(compiled.is_err() || text.contains("else if"));
            }
        }
    });
}

#[test]
fn escaping_is_bounded() {
    on_small_stack(|| {
        let chain: String = (0..2_000)
            .map(|index| {
                format!(
                    "{{{{define \"t{index}\"}}}}{{{{template \"t{}\" .}}}}{{{{end}}}}",
                    index + 1
                )
            })
            .collect();
        let loops = format!("{}<a {}", "{{range .}}".repeat(60), "{{end}}".repeat(60));
        for text in [format!("{chain}{{{{template \"t0\" .}}}}"), loops] {
            let compiled = Templates::new(RULE_FUNCTIONS).compile("t", &text, Mode::Html, &[]);
            assert!(compiled.is_err());
        }
    });
}

/// What takes time with the square of a text's length would take minutes here.
#[test]
fn large_texts_are_escaped_in_linear_time() {
    for (open, piece) in [
        ("<script>", "{"),
        ("<script>", "'x';"),
        ("<script>", "`${"),
        ("<script ", "a "),
        ("<style>a{b:'", "\\a "),
        ("<style>", "/**/"),
        ("", "<b>"),
        ("", "<"),
        ("<p title='", "&amp;"),
        ("<!--", "<!--"),
    ] {
        let text = format!("{open}{}", piece.repeat(1_000_000 / piece.len()));
        // Most end within something; what counts is that they end.
        drop(Templates::new(RULE_FUNCTIONS).compile("t", &text, Mode::Html, &[]));
    }
}

#[test]
fn route_labels_that_use_each_other_are_refused() {
    let mut notification = Data::read().notification("one");
    let labels = [
        ("a", "{{routeLabels \"b\"}}"),
        ("b", "{{routeLabels \"a\"}}"),
        ("c", "{{routeLabels \"d\"}}"),
        ("d", "x"),
    ];
    notification.route_labels = template::RouteLabels::Templates(
        labels
            .map(|(name, label)| (name.to_owned(), label.to_owned()))
            .into(),
    );
    let render = |text: &str| {
        let program = Templates::new(NOTIFICATION_FUNCTIONS)
            .compile("", text, Mode::Text, &[])
            .unwrap();
        program.render(
            &Value::from(&notification),
            &[],
            &mut Fixed(Time::zero()),
            SMALL,
        )
    };
    assert_eq!(render("{{routeLabels \"c\"}}").unwrap(), "x");
    let error = render("{{routeLabels \"a\"}}").unwrap_err();
    assert!(
        error
            .message
            .ends_with("route label cycle detected: a -> b -> a"),
        "{error}"
    );
}

/// Texts made of pieces of templates: none may panic, and none may cost more than its limits.
#[test]
fn random_templates_never_panic() {
    const PIECES: &[&str] = &[
        "{{",
        "}}",
        "{{- ",
        " -}}",
        "if ",
        "else",
        "end",
        "range ",
        "with ",
        "define ",
        "template ",
        "block ",
        "break",
        "continue",
        "$x",
        " := ",
        " = ",
        ".Alerts",
        ".GroupLabels",
        ".Status",
        ".StartsAt",
        "$",
        ".",
        "|",
        "(",
        ")",
        "\"a\"",
        "`b`",
        "'c'",
        "1",
        "-2.5",
        "0x1p4",
        "nil",
        "true",
        "printf ",
        "\"%v %+d %#x %[2]*d\" ",
        "index ",
        "slice ",
        "len ",
        "eq ",
        "lt ",
        "list ",
        "dict ",
        "toJson ",
        "html ",
        "js ",
        "urlquery ",
        "reReplaceAll ",
        "date ",
        "tz ",
        "{{end}}",
        "{{else}}",
        "{{range 3}}",
        "{{/* c */}}",
        " ",
        "\n",
        "<a href=\"",
        "'",
        "\"",
        ">",
        "<script>",
        "</script>",
        "<style>",
        "/",
        "`",
        "${",
        "é",
        "\u{1F600}",
        "&quot;",
        "url(",
        "<!--",
        "-->",
        ",",
        "Format ",
        "Remove ",
    ];
    let data = Data::read();
    let values: Vec<Value> = ["one", "hostile", "empty"]
        .iter()
        .map(|name| Value::from(&data.notification(name)))
        .collect();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut rendered = 0;
    for _ in 0..20_000 {
        let count = random.usize(1..25);
        let mut text: String = (0..count)
            .map(|_| PIECES[random.usize(..PIECES.len())])
            .collect();
        // Half of them are closed, so that more of them get further.
        if random.bool() {
            text = format!("{{{{{text}}}}}");
        }
        let mode = if random.bool() {
            Mode::Text
        } else {
            Mode::Html
        };
        let Ok(program) = Templates::new(NOTIFICATION_FUNCTIONS).compile("t", &text, mode, &[])
        else {
            continue;
        };
        let value = &values[random.usize(..values.len())];
        rendered += usize::from(
            program
                .render(value, &[], &mut Fixed(data.now()), SMALL)
                .is_ok(),
        );
    }
    assert!(rendered > 100, "{rendered} of them render");
}

/// Pieces of templates that are well formed, put together at random.
#[test]
fn random_expressions_never_panic() {
    let data = Data::read();
    let value = Value::from(&data.notification("mixed"));
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let names: Vec<&str> = NOTIFICATION_FUNCTIONS.names().collect();
    for _ in 0..20_000 {
        let text = format!("{{{{{}}}}}", expression(&mut random, &names, 3));
        let program = Templates::new(NOTIFICATION_FUNCTIONS).compile("t", &text, Mode::Text, &[]);
        let program = program.unwrap_or_else(|error| panic!("{text}: {error}"));
        // Most do not fit together; all have an answer.
        drop(program.render(&value, &[], &mut Fixed(data.now()), SMALL));
    }
}

fn expression(random: &mut fastrand::Rng, names: &[&str], depth: usize) -> String {
    const LEAVES: &[&str] = &[
        "1",
        "-1",
        "9223372036854775807",
        "1e300",
        "-0.0",
        "\"\"",
        "\"é日\"",
        "\"%#+010.3v%x%T\"",
        "nil",
        "true",
        ".",
        ".Alerts",
        ".Status",
        ".Nope",
        ".GroupLabels",
        "(index .Alerts 0).StartsAt",
        "(index .Alerts 1).EndsAt",
        "\"2006-01-02T15:04:05.999Z07:00 MST Jan _2 pm\"",
        "\"Europe/Paris\"",
        ".CommonLabels.SortedPairs",
        "$.Receiver",
        "(since (index .Alerts 0).StartsAt)",
        "\"(a|b)*\"",
    ];
    const METHODS: &[&str] = &[
        ".Add",
        ".AddDate",
        ".Format",
        ".Round",
        ".Truncate",
        ".Unix",
        ".Weekday",
        ".Seconds",
        ".Names",
        ".Values",
        ".Remove",
        ".Join",
        ".Firing",
        ".Abs",
    ];
    if depth == 0 || random.u8(..4) == 0 {
        return LEAVES[random.usize(..LEAVES.len())].to_owned();
    }
    let args: String = (0..random.usize(..4))
        .map(|_| format!(" ({})", expression(random, names, depth - 1)).replace("(nil)", "nil"))
        .collect();
    match random.u8(..4) {
        0 => {
            let receiver = expression(random, names, depth - 1).replace("nil", ".");
            format!(
                "({receiver}){}{args}",
                METHODS[random.usize(..METHODS.len())]
            )
        }
        1 => format!(
            "{} | {}",
            expression(random, names, depth - 1).replace("nil", "."),
            names[random.usize(..names.len())]
        ),
        _ => format!("{}{args}", names[random.usize(..names.len())]),
    }
}
