use super::*;
use model::Matcher;

fn parse(text: &str) -> Result<Config, String> {
    let path = Path::new("/etc/am/am.yml");
    Config::parse(path, text, MatcherMode::Fallback, &Zone::utc())
        .map_err(|mistakes| mistakes.to_string())
}

#[test]
fn routes_know_all_that_holds_for_them() {
    let config = parse(
        r#"
route:
  receiver: ops
  group_by: [alertname, cluster]
  group_wait: 10s
  labels: {team: ops, tier: "1"}
  routes:
  - matchers: ['severity="critical"', 'a!="b"']
    match: {zone: eu}
    receiver: pager
    repeat_interval: 1h
    continue: true
    mute_time_intervals: [nights]
    labels: {tier: "2"}
    routes:
    - group_by: ['...']
    - group_by: []
time_intervals:
- name: nights
  time_intervals: [{times: [{start_time: '22:00', end_time: '24:00'}]}]
receivers: [{name: ops}, {name: pager}]
"#,
    )
    .unwrap();
    let [child] = &config.route.routes[..] else {
        panic!("one child")
    };
    assert_eq!((child.receiver.as_str(), child.continues), ("pager", true));
    let matchers: Vec<String> = child.matchers.iter().map(Matcher::to_string).collect();
    assert_eq!(
        matchers,
        ["a!=\"b\"", "severity=\"critical\"", "zone=\"eu\""]
    );
    assert_eq!(child.group_by, config.route.group_by);
    let seconds = [
        child.group_wait,
        child.group_interval,
        child.repeat_interval,
    ]
    .map(|duration| duration.as_secs());
    assert_eq!(seconds, [10, 300, 3600]);
    assert_eq!(
        (child.labels["team"].as_str(), child.labels["tier"].as_str()),
        ("ops", "2")
    );
    let [all, none] = &child.routes[..] else {
        panic!("two grandchildren")
    };
    assert_eq!(all.group_by, GroupBy::All);
    assert_eq!(none.group_by, GroupBy::Labels(BTreeSet::new()));
    // Neither matchers nor mute times are inherited, nor that the next is tried.
    assert!(all.matchers.is_empty() && all.mute_time_intervals.is_empty() && !all.continues);
    assert_eq!(all.repeat_interval, child.repeat_interval);
}

#[test]
fn routes_take_over_what_is_ours_too() {
    let of = |root: &str, child: &str| {
        let text = format!(
            "route: {{receiver: a, {root}, routes: [{{matchers: [a=b]{child}}}]}}\nreceivers: [{{name: a}}]"
        );
        parse(&text).map(|config| {
            let child = &config.route.routes[0];
            let longest = child.repeats().longest.as_secs() / 3600;
            (child.send_resolved_suppressed, longest)
        })
    };
    let cases = [
        ("continue: false", "", (true, 4)),
        (
            "send_resolved_suppressed: false, repeat_interval_max: 1d",
            "",
            (false, 24),
        ),
        (
            "repeat_interval_max: 1d",
            ", repeat_interval_max: 8h",
            (true, 8),
        ),
        (
            "send_resolved_suppressed: false",
            ", send_resolved_suppressed: true",
            (true, 4),
        ),
    ];
    for (root, child, expected) in cases {
        assert_eq!(of(root, child), Ok(expected), "{root} {child}");
    }
    let refused = of("repeat_interval_max: 8h", ", repeat_interval: 12h").unwrap_err();
    let message =
        "repeat_interval_max 8h is shorter than repeat_interval 12h; set it to 12h or more";
    assert!(refused.contains(message), "{refused}");
}

#[test]
fn integrations_take_over_what_is_global() {
    let config = parse(
        r#"
global:
  smtp_smarthost: mail:25
  smtp_from: am@example.org
  smtp_auth_password_file: secrets/mail
  slack_api_url: https://hooks.example.org/1
  http_config: {proxy_url: "http://proxy:3128"}
route: {receiver: all}
templates: ['templates/*.tmpl', /other/x.tmpl]
receivers:
- name: all
  webhook_configs: [{url: "https://a.example.org"}, {url: "https://b.example.org", send_resolved: false, timeout: 3s}]
  slack_configs: [{channel: '#x'}]
  email_configs: [{to: ops@example.org, headers: {subject: hi}, from: other@example.org}]
"#,
    )
    .unwrap();
    assert_eq!(
        config.templates,
        [
            PathBuf::from("/etc/am/templates/*.tmpl"),
            PathBuf::from("/other/x.tmpl")
        ]
    );
    let integrations = &config.receivers["all"].integrations;
    let kinds: Vec<(&str, usize, bool)> = integrations
        .iter()
        .map(|one| (one.kind.name(), one.index, one.send_resolved))
        .collect();
    assert_eq!(
        kinds,
        [
            ("email", 0, false),
            ("slack", 0, false),
            ("webhook", 0, true),
            ("webhook", 1, false)
        ]
    );
    let email = &integrations[0].settings;
    assert_eq!(
        (
            email.text("smarthost"),
            email.text("from"),
            email.text("hello")
        ),
        ("mail:25", "other@example.org", "localhost")
    );
    assert!(email.flag("require_tls"));
    assert_eq!(email.map("headers").unwrap()["Subject"], "hi");
    let password = email
        .credential("auth_password", "auth_password_file")
        .unwrap();
    assert_eq!(
        password,
        Credential::File(&PathBuf::from("/etc/am/secrets/mail"))
    );
    let slack = &integrations[1].settings;
    let Some(Credential::Inline(url)) = slack.credential("api_url", "api_url_file") else {
        panic!("a URL")
    };
    assert_eq!(url.expose(), "https://hooks.example.org/1");
    assert_eq!(
        slack.group("http_config").unwrap().text("proxy_url"),
        "http://proxy:3128"
    );
    assert_eq!(
        integrations[3].settings.get("timeout"),
        Some(&Setting::Duration(Duration::from_secs(3)))
    );
}

#[test]
fn all_mistakes_are_told_with_their_places() {
    let mistakes = parse(
        "route:\n  reciever: a\n  group_by: [x, x]\nreceivers:\n- name: a\n  slack_configs:\n  - channel: c\n  labls: 1\n",
    )
    .unwrap_err();
    let expected = "\
/etc/am/am.yml:8:3: field labls not found in receiver (did you mean labels?)
/etc/am/am.yml:7:5: no Slack API URL nor App token set either inline or in a file
/etc/am/am.yml:2:3: field reciever not found in route (did you mean receiver?)
/etc/am/am.yml:3:13: duplicated label \"x\" in group_by
/etc/am/am.yml:2:3: root route must specify a default receiver";
    let mut got: Vec<&str> = mistakes.lines().collect();
    let mut expected: Vec<&str> = expected.lines().collect();
    got.sort_unstable();
    expected.sort_unstable();
    assert_eq!(got, expected);
}

#[test]
fn secrets_do_not_print() {
    let config = parse(
        "route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{routing_key: hunter2}]}]",
    )
    .unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn old_matchers_warn() {
    let config =
        parse("route: {receiver: a, routes: [{matchers: ['a=b c']}]}\nreceivers: [{name: a}]")
            .unwrap();
    assert_eq!(config.warnings.len(), 1);
    assert!(
        config.warnings[0].contains("a=\"b c\""),
        "{:?}",
        config.warnings
    );
}

#[test]
fn secrets_in_files_are_read_when_they_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let text = "route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{routing_key_file: key}]}]";
    let path = folder.path().join("am.yml");
    let config = Config::parse(&path, text, MatcherMode::Fallback, &Zone::utc()).unwrap();
    let settings = &config.receivers["a"].integrations[0].settings;
    let key = settings
        .credential("routing_key", "routing_key_file")
        .unwrap();
    assert!(key.read().is_err(), "there is no file yet");
    for secret in ["one", "two"] {
        std::fs::write(folder.path().join("key"), format!(" {secret}\n")).unwrap();
        assert_eq!(key.read().unwrap().expose(), secret);
    }
}

#[test]
fn pagerduty_is_told_of_alerts_unless_said_otherwise() {
    let text = "route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{routing_key: k, details: {firing: x, more: y}}]}]";
    let config = parse(text).unwrap();
    let settings = &config.receivers["a"].integrations[0].settings;
    let Some(Setting::Tree(details)) = settings.get("details") else {
        panic!("details")
    };
    let text = |name: &str| details.get(name).map(|node| node.value.clone());
    assert_eq!(text("firing"), Some(NodeValue::Scalar("x".to_owned())));
    assert_eq!(text("more"), Some(NodeValue::Scalar("y".to_owned())));
    assert_eq!(
        text("num_resolved"),
        Some(NodeValue::Scalar("{{ .Alerts.Resolved | len }}".to_owned()))
    );
    assert_eq!(settings.text("source"), settings.text("client"));
}

#[test]
fn clients_that_cannot_be_are_refused() {
    let at = |what: &str| format!("/etc/am/am.yml:1:{what}");
    for (global, mistake) in [
        (
            "http_config: {tls_config: {min_version: TLS9}}",
            Some(at("50: unknown TLS version: TLS9")),
        ),
        (
            "smtp_tls_config: {cert_file: c}",
            Some(at(
                "27: exactly one of key or key_file must be configured when a client certificate is configured",
            )),
        ),
        (
            "http_config: {http_headers: {user-agent: {values: [x]}}}",
            Some(at("39: setting header \"User-Agent\" is not allowed")),
        ),
        (
            "http_config: {tls_config: {min_version: TLS12, max_version: TLS13}, http_headers: {X-A: {values: [x]}}}",
            None,
        ),
    ] {
        let text =
            format!("global: {{{global}}}\nroute: {{receiver: a}}\nreceivers: [{{name: a}}]");
        assert_eq!(parse(&text).err(), mistake, "{global}");
    }
}

#[test]
fn texts_may_be_broken_wherever_go_takes_it() {
    let config = parse(
        "\
route: {receiver: a,
group_by: [b,
c]}
receivers:
- name: a
  slack_configs:
  - api_url: http://s
    text: \"{{ range .Alerts }}
    *{{ .Labels.b }}*
- {{ end }}\"
",
    )
    .unwrap();
    let settings = &config.receivers["a"].integrations[0].settings;
    assert_eq!(
        settings.text("text"),
        "{{ range .Alerts }} *{{ .Labels.b }}* - {{ end }}"
    );
}
