use super::*;

fn read(text: &str) -> Result<Vec<Job>, String> {
    read_jobs(Path::new("etc/p.yml"), text).map_err(|mistakes| mistakes.to_string())
}

#[test]
fn a_configuration_of_prometheus_is_read_as_it_stands() {
    let text = r"
global:
  scrape_interval: 15s
  evaluation_interval: 15s
  external_labels: {cluster: c}
rule_files: [rules.yml]
alerting: {}
scrape_configs:
  - job_name: prometheus
    static_configs:
      - targets: ['localhost:9090', 'localhost:9091']
        labels: {tier: own}
  - job_name: secured
    scrape_interval: 1m
    scrape_timeout: 30s
    scrape_protocols: [PrometheusProto, PrometheusText0.0.4]
    fallback_scrape_protocol: PrometheusText0.0.4
    scheme: https
    metrics_path: /federate
    honor_labels: true
    honor_timestamps: false
    track_timestamps_staleness: true
    enable_compression: false
    params: {'match[]': ['{job=~\u0022.+\u0022}', up]}
    basic_auth: {username: ann, password_file: secrets/password}
    tls_config: {ca_file: ca.crt, server_name: s, min_version: TLS13, insecure_skip_verify: false}
    http_headers: {X-Scope: {values: [a, b]}}
    body_size_limit: 10MB
    sample_limit: 500
    label_limit: 30
    label_name_length_limit: 40
    label_value_length_limit: 50
    target_limit: 60
    keep_dropped_targets: 70
    file_sd_configs: [{files: ['targets/*.json'], refresh_interval: 1m}]
    relabel_configs: [{source_labels: [__address__], target_label: instance}]
    metric_relabel_configs: [{source_labels: [__name__], regex: 'go_.+', action: drop}]
";
    let jobs = read(&text.replace("\\u0022", "\"")).expect("valid");
    let [plain, secured] = jobs.as_slice() else {
        panic!("two jobs")
    };
    assert_eq!(
        (plain.interval, plain.timeout),
        (Duration::from_secs(15), Duration::from_secs(10))
    );
    assert_eq!(plain.groups[0].targets.len(), 2);
    assert_eq!(plain.protocols, Protocol::by_default(false));
    assert_eq!(plain.limits.body_bytes, BODY_BYTES_MAX);
    assert_eq!(
        (secured.interval, secured.timeout),
        (Duration::from_secs(60), Duration::from_secs(30))
    );
    assert_eq!(secured.protocols, [Protocol::Protobuf, Protocol::Text004]);
    assert!(secured.honor_labels && !secured.honor_timestamps && !secured.compression);
    assert_eq!(
        secured.http.tls.ca_file.as_deref(),
        Some(Path::new("etc/ca.crt"))
    );
    let limits = &secured.limits;
    assert_eq!((limits.body_bytes, limits.samples), (10 << 20, 500));
    assert_eq!((limits.labels, limits.targets), (Some(30), Some(60)));
    assert_eq!(
        (
            secured.relabel.len(),
            secured.metric_relabel.len(),
            secured.files.len()
        ),
        (1, 1, 1)
    );
}

#[test]
fn credentials_become_headers() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "s3cret\n").unwrap();
    let path = folder.path().join("p.yml");
    let header = |keys: &str| {
        let jobs = read_jobs(&path, &format!("scrape_configs:\n- job_name: j\n{keys}"));
        let headers = jobs.expect("valid")[0].http.headers()?;
        let text = headers
            .get("authorization")
            .map(|value| value.to_str().expect("text").to_owned());
        Ok::<_, String>(text)
    };
    for (keys, text) in [
        ("", None),
        (
            "  basic_auth: {username: u, password: p}\n",
            Some("Basic dTpw"),
        ),
        ("  authorization: {credentials: t}\n", Some("Bearer t")),
        (
            "  authorization: {type: Token, credentials_file: token}\n",
            Some("Token s3cret"),
        ),
        ("  bearer_token: t\n", Some("Bearer t")),
        ("  bearer_token_file: token\n", Some("Bearer s3cret")),
    ] {
        assert_eq!(header(keys), Ok(text.map(str::to_owned)), "{keys}");
    }
    assert!(header("  bearer_token_file: absent\n").is_err_and(|why| why.contains("cannot read")));
}

#[test]
fn mistakes_have_their_places_and_come_together() {
    let said = read(
        "global: {scrape_interval: often}\nscrape_configs:\n- job_name: a\n  scrap_interval: 1s\n- job_name: a\n- metrics_path: /x\n",
    )
    .expect_err("mistakes");
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("etc/p.yml:1:27: not a valid duration string"),
        "{said}"
    );
    assert!(
        lines[1].contains("4:3: unknown key \"scrap_interval\"; did you mean scrape_interval?"),
        "{said}"
    );
    assert!(
        lines[2].contains("5:3: found multiple scrape configs with job name \"a\""),
        "{said}"
    );
    assert!(lines[3].contains("6:3: job_name is empty"), "{said}");
    assert_eq!(lines.len(), 4);
}

#[test]
fn what_is_not_supported_is_said_and_not_ignored() {
    for (key, said) in [
        (
            "kubernetes_sd_configs: [{role: pod}]",
            "service discovery by kubernetes_sd_configs is not supported",
        ),
        ("oauth2: {client_id: c}", "oauth2 is not supported"),
        ("proxy_url: http://p", "proxy_url is not supported"),
        (
            "tls_config: {ca: x}",
            "ca is not supported; put it into a file",
        ),
        (
            "tls_config: {cert_file: x}",
            "cert_file and key_file must be given together",
        ),
        (
            "convert_classic_histograms_to_nhcb: true",
            "is not supported",
        ),
        ("native_histogram_bucket_limit: 100", "is not supported"),
        (
            "scrape_timeout: 2m",
            "scrape timeout greater than scrape interval",
        ),
        (
            "scrape_protocols: [Text]",
            "\"Text\" is not one of PrometheusProto, OpenMetricsText1.0.0",
        ),
        ("scrape_protocols: []", "scrape_protocols cannot be empty"),
        (
            "scrape_protocols: [PrometheusProto, PrometheusProto]",
            "comes twice",
        ),
        ("scheme: ftp", "\"ftp\" is not one of http, https"),
        (
            "file_sd_configs: [{files: [x.txt]}]",
            "is not valid for file discovery",
        ),
        (
            "file_sd_configs: [{}]",
            "must contain at least one path name",
        ),
        (
            "bearer_token: a\n  basic_auth: {username: u}",
            "at most one of basic_auth",
        ),
        (
            "basic_auth: {username: u, password: p, password_file: f}",
            "password is given already",
        ),
        (
            "authorization: {type: basic, credentials: c}",
            "use \"basic_auth\" instead",
        ),
        (
            "sample_limit: many",
            "\"many\" is not a whole number from 0",
        ),
    ] {
        let text = format!("scrape_configs:\n- job_name: j\n  {key}\n");
        let refused = read(&text).expect_err(key);
        assert!(refused.contains(said), "{key}: {refused}");
    }
    assert!(
        read("scrape_configs:\n- job_name: j\n  convert_classic_histograms_to_nhcb: false\n")
            .is_ok()
    );
}
