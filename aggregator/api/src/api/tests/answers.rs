//! Requests and what comes back, to the character. Texts and codes were compared with Prometheus 2.42.

use http_shell::header::{ALLOW, ORIGIN, VARY};
use http_shell::{Method, StatusCode};

use super::world::World;

fn ok(data: &str) -> (u16, String) {
    (200, format!(r#"{{"status":"success","data":{data}}}"#))
}

fn cut(data: &str) -> (u16, String) {
    (
        200,
        format!(
            r#"{{"status":"success","data":{data},"warnings":["results truncated due to limit"]}}"#
        ),
    )
}

fn bad(message: &str) -> (u16, String) {
    refused(400, "bad_data", message)
}

fn refused(status: u16, kind: &str, message: &str) -> (u16, String) {
    let message = serde_json::to_string(message).unwrap();
    (
        status,
        format!(r#"{{"status":"error","errorType":"{kind}","error":{message}}}"#),
    )
}

async fn check(cases: Vec<(&str, (u16, String))>) {
    let world = World::new();
    for (call, (status, body)) in cases {
        let answer = world.call(call).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (status, body.as_str()),
            "{call}"
        );
        if status != 204 {
            assert_eq!(answer.headers["content-type"], "application/json", "{call}");
            serde_json::from_str::<serde_json::Value>(&answer.body).expect(call);
        }
    }
}

#[tokio::test]
async fn instant_queries() {
    let scalar = |at: &str, value: &str| {
        ok(&format!(
            r#"{{"resultType":"scalar","result":[{at},"{value}"]}}"#
        ))
    };
    let vector = |result: &str| ok(&format!(r#"{{"resultType":"vector","result":[{result}]}}"#));
    let up = r#"{"metric":{"__name__":"up","job":"a"},"value":[600,"1"]}"#;
    check(vec![
        ("GET /api/v1/query?query=1%2B1&time=4", scalar("4", "2")),
        ("POST /api/v1/query query=1%2B1&time=4", scalar("4", "2")),
        ("POST /api/v1/query?query=7&time=5 query=1%2B1&time=4", scalar("4", "2")),
        ("GET /api/v1/query?query=1", scalar("600", "1")),
        ("GET /api/v1/query?query=1&time=", scalar("600", "1")),
        ("GET /api/v1/query?query=1e21&time=4.5", scalar("4.5", "1000000000000000000000")),
        ("GET /api/v1/query?query=1e-7&time=-4.01", scalar("-4.01", "0.0000001")),
        ("GET /api/v1/query?query=0/0&time=1970-01-01T00:00:04.001Z", scalar("4.001", "NaN")),
        ("GET /api/v1/query?query=%22te%5C%22xt%22&time=1.5", ok(r#"{"resultType":"string","result":[1.5,"te\"xt"]}"#)),
        ("GET /api/v1/query?query=vector(1e21)&time=4.5", vector(r#"{"metric":{},"value":[4.500,"1e+21"]}"#)),
        ("GET /api/v1/query?query=up%7Bjob%3D%22a%22%7D", vector(up)),
        ("GET /api/v1/query?query=none", vector("")),
        ("GET /api/v1/query?query=small", vector(r#"{"metric":{"__name__":"small"},"value":[600,"2.5e-07"]}"#)),
        ("GET /api/v1/query?query=odd", vector(r#"{"metric":{"__name__":"odd","a.b":"\"<é>\"\n"},"value":[600,"NaN"]}"#)),
        (
            "GET /api/v1/query?query=latency",
            vector(r#"{"metric":{"__name__":"latency"},"histogram":[600,{"count":"7","sum":"5.5","buckets":[[1,"-2","-1","2"],[3,"-0.001","0.001","1"],[0,"0.5","1","1"],[0,"2","4","3"]]}]}"#),
        ),
        (
            "GET /api/v1/query?query=up%7Bjob%3D%22a%22%7D%5B30s%5D&time=30.5",
            ok(r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a"},"values":[[15,"1"],[30,"1"]]}]}"#),
        ),
        (
            "GET /api/v1/query?query=up&limit=1",
            cut(&format!(r#"{{"resultType":"vector","result":[{up}]}}"#)),
        ),
        ("GET /api/v1/query?query=up%7Bjob%3D%22a%22%7D&limit=1", vector(up)),
        ("GET /api/v1/query?query=up%7Bjob%3D%22a%22%7D&limit=0", vector(up)),
        ("GET /api/v1/query?query=up&time=899", vector(r#"{"metric":{"__name__":"up","job":"a"},"value":[899,"1"]},{"metric":{"__name__":"up","job":"b"},"value":[899,"0"]}"#)),
        ("GET /api/v1/query?query=up&time=900&lookback_delta=1m", vector("")),
        ("GET /api/v1/query?query=up%7Bjob%3D%22a%22%7D&lookback_delta=0", vector(up)),
        ("GET /api/v1/query?query=up%7Bjob%3D%22a%22%7D&lookback_delta=-1", vector(up)),
    ])
    .await;
}

#[tokio::test]
async fn instant_queries_that_are_refused() {
    check(vec![
        ("GET /api/v1/query", bad("invalid parameter \"query\": 1:1: parse error: no expression found in input")),
        ("GET /api/v1/query?query=sum(", bad("invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis")),
        ("GET /api/v1/query?query=1&time=foo", bad("invalid parameter \"time\": invalid time value for 'time': cannot parse \"foo\" to a valid timestamp")),
        ("GET /api/v1/query?query=1&timeout=abc", bad("invalid parameter \"timeout\": cannot parse \"abc\" to a valid duration")),
        ("GET /api/v1/query?query=1&timeout=0", refused(503, "timeout", "query timed out in query queue after 0 ms (--query.timeout): 4 run at once (--query.max-concurrency); ask again when fewer do")),
        ("GET /api/v1/query?query=1&timeout=-3s", refused(503, "timeout", "query timed out in query queue after 0 ms (--query.timeout): 4 run at once (--query.max-concurrency); ask again when fewer do")),
        ("GET /api/v1/query?query=up&lookback_delta=abc", bad("error parsing lookback delta duration: cannot parse \"abc\" to a valid duration")),
        ("GET /api/v1/query?query=1&limit=-1", bad("invalid parameter \"limit\": limit must be non-negative")),
        ("GET /api/v1/query?query=1&limit=x", bad("invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax")),
        (
            "GET /api/v1/query?query=label_replace(up,%22a%22,%22b%22,%22c%22,%22(%22)",
            refused(422, "execution", "invalid regular expression in label_replace(): ("),
        ),
    ])
    .await;
    let world = World::new();
    let long = format!("POST /api/v1/query query={}", "1".repeat(1 << 20 | 1));
    let answer = world.call(&long).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(
        answer.body.contains("longer than the 1048576 allowed"),
        "{}",
        answer.body
    );
    let many = format!("POST /api/v1/labels {}", "match[]=up&".repeat(10_001));
    assert_eq!(world.call(&many).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn range_queries() {
    let matrix = |result: &str| ok(&format!(r#"{{"resultType":"matrix","result":[{result}]}}"#));
    let invalid = |name: &str, why: &str| bad(&format!("invalid parameter \"{name}\": {why}"));
    check(vec![
        ("GET /api/v1/query_range?query=1&start=0&end=10&step=5", matrix(r#"{"metric":{},"values":[[0,"1"],[5,"1"],[10,"1"]]}"#)),
        ("POST /api/v1/query_range query=time()&start=0.5&end=10&step=5s", matrix(r#"{"metric":{},"values":[[0.500,"0.5"],[5.500,"5.5"]]}"#)),
        (
            "GET /api/v1/query_range?query=sum%20by%20(code)%20(hits_total)&start=0&end=60&step=30",
            matrix(r#"{"metric":{"code":"200"},"values":[[0,"0"],[30,"60"],[60,"120"]]}"#),
        ),
        (
            "GET /api/v1/query_range?query=latency&start=590&end=610&step=10",
            matrix(r#"{"metric":{"__name__":"latency"},"histograms":[[600,{"count":"7","sum":"5.5","buckets":[[1,"-2","-1","2"],[3,"-0.001","0.001","1"],[0,"0.5","1","1"],[0,"2","4","3"]]}],[610,{"count":"7","sum":"5.5","buckets":[[1,"-2","-1","2"],[3,"-0.001","0.001","1"],[0,"0.5","1","1"],[0,"2","4","3"]]}]]}"#),
        ),
        (
            "GET /api/v1/query_range?query=up&start=0&end=0&step=1&limit=1",
            cut(r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a"},"values":[[0,"1"]]}]}"#),
        ),
        ("GET /api/v1/query_range?query=1&start=10&end=0&step=5", invalid("end", "end timestamp must not be before start time")),
        ("GET /api/v1/query_range?query=1&start=0&end=10", invalid("step", "cannot parse \"\" to a valid duration")),
        ("GET /api/v1/query_range?query=1&start=0&end=10&step=0", invalid("step", "zero or negative query resolution step widths are not accepted. Try a positive integer")),
        ("GET /api/v1/query_range?query=1&start=0&end=10&step=-1", invalid("step", "zero or negative query resolution step widths are not accepted. Try a positive integer")),
        ("GET /api/v1/query_range?query=1&start=0&end=1&step=1e40", invalid("step", "cannot parse \"1e40\" to a valid duration. It overflows int64")),
        ("GET /api/v1/query_range?query=1&end=10&step=1", invalid("start", "cannot parse \"\" to a valid timestamp")),
        ("GET /api/v1/query_range?query=1&start=0&end=x&step=1", invalid("end", "cannot parse \"x\" to a valid timestamp")),
        ("GET /api/v1/query_range?query=%22a%22&start=0&end=10&step=10", invalid("query", "invalid expression type \"string\" for range query, must be Scalar or instant Vector")),
        (
            "GET /api/v1/query_range?query=1&start=0&end=11001&step=1",
            bad("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"),
        ),
    ])
    .await;
    let world = World::new();
    let most = world
        .call("GET /api/v1/query_range?query=1&start=0&end=11000&step=1")
        .await
        .json();
    assert_eq!(
        most["data"]["result"][0]["values"]
            .as_array()
            .unwrap()
            .len(),
        11_001
    );
}

#[tokio::test]
async fn what_there_is() {
    check(vec![
        ("GET /api/v1/series?match[]=up", ok(r#"[{"__name__":"up","job":"a"},{"__name__":"up","job":"b"}]"#)),
        ("POST /api/v1/series match%5B%5D=up&limit=1", cut(r#"[{"__name__":"up","job":"a"}]"#)),
        ("GET /api/v1/series?match[]=up&match[]=small&limit=0", ok(r#"[{"__name__":"small"},{"__name__":"up","job":"a"},{"__name__":"up","job":"b"}]"#)),
        ("GET /api/v1/series?match[]=up&start=601&end=700", ok("[]")),
        ("GET /api/v1/series?match[]=up&start=10&end=1", ok("[]")),
        ("GET /api/v1/series?match[]=up&start=-292273086-05-16T16:47:06Z&end=292277025-08-18T07:12:54.999999999Z", ok(r#"[{"__name__":"up","job":"a"},{"__name__":"up","job":"b"}]"#)),
        ("GET /api/v1/series", bad("no match[] parameter provided")),
        ("GET /api/v1/series?match[]=up&end=x", bad("invalid parameter \"end\": invalid time value for 'end': cannot parse \"x\" to a valid timestamp")),
        ("GET /api/v1/labels", ok(r#"["__name__","a.b","code","job"]"#)),
        ("POST /api/v1/labels match%5B%5D=up", ok(r#"["__name__","job"]"#)),
        ("GET /api/v1/labels?limit=2", cut(r#"["__name__","a.b"]"#)),
        ("GET /api/v1/labels?match[]=none", ok("[]")),
        ("GET /api/v1/label/job/values", ok(r#"["a","b"]"#)),
        ("GET /api/v1/label/job/values?limit=1&match[]=up", cut(r#"["a"]"#)),
        ("GET /api/v1/label/a.b/values", ok(r#"["\"<é>\"\n"]"#)),
        ("GET /api/v1/label/U__a_2e_b/values", ok(r#"["\"<é>\"\n"]"#)),
        ("GET /api/v1/label/1%20x/values", ok("[]")),
        ("GET /api/v1/label//values", bad("invalid label name: \"\"")),
        ("GET /api/v1/label/job/values?match[]=sum(up)&limit=5", bad("1:1: parse error: expected a series selector without modifiers, such as metric{label=\"value\"}")),
        (
            "GET /api/v1/metadata",
            ok(r#"{"hits_total":[{"type":"counter","help":"Hits.","unit":""},{"type":"counter","help":"Hits, said otherwise.","unit":""}],"up":[{"type":"gauge","help":"Whether.","unit":""}]}"#),
        ),
        ("GET /api/v1/metadata?limit=1&limit_per_metric=1", ok(r#"{"hits_total":[{"type":"counter","help":"Hits.","unit":""}]}"#)),
        ("GET /api/v1/metadata?metric=up&limit=-1", ok(r#"{"up":[{"type":"gauge","help":"Whether.","unit":""}]}"#)),
        ("GET /api/v1/metadata?metric=none", ok("{}")),
        ("GET /api/v1/metadata?limit=x", bad("limit must be a number")),
        (
            "GET /api/v1/query_exemplars?query=rate(hits_total[5m])&start=0&end=600",
            ok(r#"[{"seriesLabels":{"__name__":"hits_total","code":"200","job":"a"},"exemplars":[{"labels":{"trace_id":"abc"},"value":"0.5","timestamp":100.250}]}]"#),
        ),
        ("POST /api/v1/query_exemplars query=hits_total&start=101&end=600", ok("[]")),
        ("GET /api/v1/query_exemplars?query=hits_total&start=2&end=1", bad("end timestamp must not be before start timestamp")),
        ("GET /api/v1/query_exemplars?query=(", bad("1:2: parse error: unclosed left parenthesis")),
        ("GET /api/v1/query_exemplars?query=1", (204, String::new())),
    ])
    .await;
}

#[tokio::test]
async fn a_selector_must_select_something() {
    let world = World::new();
    for (call, prefix) in [
        (
            "GET /api/v1/series?match[]={}",
            "invalid parameter \"match[]\": ",
        ),
        (
            "GET /api/v1/series?match[]=up&match[]={a=%22%22}",
            "invalid parameter \"match[]\": ",
        ),
        ("GET /api/v1/labels?match[]={}", ""),
        ("GET /api/v1/label/job/values?match[]={a=~%22.*%22}", ""),
    ] {
        let answer = world.call(call).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{call}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        let why = "match[] must contain at least one non-empty matcher";
        assert_eq!(error, format!("{prefix}{why}"), "{call}");
    }
}

#[tokio::test]
async fn annotations_and_statistics_come_beside_the_data() {
    let world = World::new();
    let answer = world
        .call("GET /api/v1/query?query=rate(up[5m])%2Bquantile(2,up)")
        .await
        .json();
    assert!(
        answer["warnings"][0]
            .as_str()
            .unwrap()
            .contains("quantile value should be between 0 and 1")
    );
    assert!(
        answer["infos"][0]
            .as_str()
            .unwrap()
            .contains("might not be a counter"),
        "{answer}"
    );
    let plain = world.call("GET /api/v1/query?query=up&stats=").await.json();
    assert!(plain["data"].get("stats").is_none() && plain.get("warnings").is_none());
    let with = world
        .call("GET /api/v1/query?query=up&stats=all")
        .await
        .json();
    let stats = &with["data"]["stats"];
    let samples = &stats["samples"];
    assert_eq!(samples["totalQueryableSamples"], 2, "{stats}");
    assert_eq!(
        samples["totalQueryableSamplesPerStep"],
        serde_json::json!([[600, 2]])
    );
    assert_eq!(samples["peakSamples"], 2, "{stats}");
    assert!(samples["samplesRead"].is_u64() && samples["peakMemoryBytes"].is_u64());
    let plan = world
        .call("GET /api/v1/query?query=sum(rate(up[1m]))%2B1&stats=plan")
        .await
        .json();
    let nodes = plan["data"]["stats"]["plan"].as_array().unwrap();
    let shown: Vec<String> = nodes
        .iter()
        .map(|node| {
            let (depth, name, text) = (&node["depth"], &node["node"], &node["text"]);
            let (series, read) = (&node["series"], &node["samplesRead"]);
            format!("{depth} {name} {text} {series} {read}")
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#"0 "+" "sum(rate(up[1m]))+1" 1 8"#,
            r#"1 "sum" "sum(rate(up[1m]))" 1 8"#,
            r#"2 "rate" "rate(up[1m])" 2 8"#,
            r#"3 "range selector" "up[1m]" 2 8"#,
            r#"1 "number" "1" 1 0"#,
        ]
    );
    assert!(
        nodes
            .iter()
            .all(|node| node["seconds"].is_number() && node["memoryBytes"].is_u64())
    );
    let range = "GET /api/v1/query_range?query=rate(up[30s])&start=0.5&end=30.5&step=15&stats";
    let per_step = |answer: serde_json::Value| {
        let samples = &answer["data"]["stats"]["samples"];
        (
            samples["totalQueryableSamples"].clone(),
            samples["totalQueryableSamplesPerStep"].clone(),
        )
    };
    let all = per_step(world.call(&format!("{range}=all")).await.json());
    assert_eq!(
        all,
        (
            10.into(),
            serde_json::json!([[0.5, 2], [15.5, 4], [30.5, 4]])
        )
    );
    let some = per_step(world.call(&format!("{range}=true")).await.json());
    assert_eq!(some, (10.into(), serde_json::Value::Null));
    for name in [
        "evalTotalTime",
        "resultSortTime",
        "queryPreparationTime",
        "innerEvalTime",
        "execQueueTime",
        "execTotalTime",
    ] {
        assert!(stats["timings"][name].is_number(), "{name}");
    }
}

#[tokio::test]
async fn methods_are_those_of_prometheus() {
    let world = World::new();
    for (call, status, allow) in [
        ("HEAD /api/v1/query?query=1", 405, "GET, OPTIONS, POST"),
        ("PUT /api/v1/query", 405, "GET, OPTIONS, POST"),
        ("DELETE /api/v1/series", 405, "GET, OPTIONS, POST"),
        ("POST /api/v1/label/job/values", 405, "GET, OPTIONS"),
        ("POST /api/v1/status/config", 405, "GET, OPTIONS"),
        ("POST /metrics", 405, "GET, OPTIONS"),
        ("POST /-/healthy", 405, "GET, HEAD, OPTIONS"),
        ("GET /-/reload", 405, "OPTIONS, POST, PUT"),
        ("OPTIONS /metrics", 200, "GET, OPTIONS"),
        ("HEAD /-/healthy", 200, ""),
        ("OPTIONS /api/v1/query", 204, ""),
        ("OPTIONS /api/v1/none", 204, ""),
        ("GET /api/v1/none", 404, ""),
        ("GET /", 404, ""),
    ] {
        let answer = world.call(call).await;
        assert_eq!(answer.status.as_u16(), status, "{call}");
        let found = answer
            .headers
            .get(ALLOW)
            .map_or("", |value| value.to_str().unwrap());
        assert_eq!(found, allow, "{call}");
        match status {
            404 => assert_eq!(answer.body, "404 page not found\n"),
            405 => assert_eq!(answer.body, "Method Not Allowed\n"),
            _ => {}
        }
    }
    assert_eq!(super::world::request("GET /").method, Method::GET);
}

#[tokio::test]
async fn browsers_of_other_origins_may_read_the_api_alone() {
    let world = World::new();
    let origin = [(ORIGIN, "http://grafana.example")];
    for (call, expected) in [
        ("GET /api/v1/query?query=1", true),
        ("OPTIONS /api/v1/none", true),
        ("GET /api/v1/query?query=", true),
        ("GET /metrics", false),
        ("POST /-/reload", false),
    ] {
        let headers = world.call_with(call, &origin).await.headers;
        assert_eq!(
            headers.contains_key("access-control-allow-origin"),
            expected,
            "{call}"
        );
        assert_eq!(headers.contains_key(VARY), expected, "{call}");
    }
    let without = world.call("GET /api/v1/query?query=1").await.headers;
    assert!(!without.contains_key("access-control-allow-origin"));
}
