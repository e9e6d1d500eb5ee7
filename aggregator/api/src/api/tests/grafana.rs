//! What Grafana's Prometheus data source calls, as the reference lists it, and the shapes that it reads.

use serde_json::Value;

use super::world::World;

/// The shape of `data`.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// `resultType` and `result`: numbers and texts in the places where Grafana looks.
    Scalar,
    Vector(usize),
    Matrix(usize),
    /// Objects of `seriesLabels` and `exemplars`.
    Exemplars(usize),
    /// A list of names.
    Names(&'static [&'static str]),
    /// A list of label sets, so many.
    Series(usize),
    /// An object of lists of `type`, `help`, `unit`, for so many metrics.
    Metadata(usize),
    /// What tells flavours apart.
    Build,
    Map,
}

const UP: &[&str] = &["a", "b"];
const METRICS: &[&str] = &["hits_total", "latency", "odd", "small", "up"];

#[tokio::test]
async fn every_call_of_grafana_is_answered_in_its_shape() {
    let world = World::new();
    for (call, shape) in [
        // Health: as the settings page writes it, and where no method is set.
        ("POST /api/v1/query query=1%2B1&time=4", Shape::Scalar),
        ("GET /api/v1/query?query=1%2B1&time=4", Shape::Scalar),
        // Flavours: Mimir would say so, Thanos would have other flags.
        ("GET /api/v1/status/buildinfo", Shape::Build),
        ("GET /api/v1/status/flags", Shape::Map),
        (
            "GET /api/v1/query?query=prometheus_build_info",
            Shape::Vector(0),
        ),
        // Panels.
        (
            "POST /api/v1/query_range end=600&query=rate%28hits_total%5B1m0s%5D%29&start=0&step=15&timeout=60s",
            Shape::Matrix(1),
        ),
        (
            "GET /api/v1/query_range?end=600.123&query=up&start=0.5&step=0.5",
            Shape::Matrix(2),
        ),
        (
            "POST /api/v1/query query=up&time=600.123&timeout=60s",
            Shape::Vector(2),
        ),
        (
            "POST /api/v1/query query=latency&time=600",
            Shape::Vector(1),
        ),
        (
            "POST /api/v1/query_range query=latency&start=600&end=660&step=15",
            Shape::Matrix(1),
        ),
        (
            "GET /api/v1/query_exemplars?query=hits_total&start=0&end=600",
            Shape::Exemplars(1),
        ),
        // Whether there are exemplars: milliseconds where seconds belong.
        (
            "GET /api/v1/query_exemplars?query=test&start=1795412763000&end=1795414563000",
            Shape::Exemplars(0),
        ),
        (
            "POST /api/v1/query_exemplars query=test&start=1795412763000&end=1795414563000",
            Shape::Exemplars(0),
        ),
        // Metric list and label browser; no limit is written as 0.
        (
            "GET /api/v1/label/__name__/values?limit=40000&start=0&end=600",
            Shape::Names(METRICS),
        ),
        (
            "GET /api/v1/label/__name__/values?limit=0",
            Shape::Names(METRICS),
        ),
        (
            "POST /api/v1/series match%5B%5D=%7B__name__%21%3D%22%22%7D&limit=40000&start=0&end=600",
            Shape::Series(6),
        ),
        (
            "POST /api/v1/labels match%5B%5D=up%7Bjob%3D~%22a%7Cb%22%7D&limit=40000&start=0&end=600",
            Shape::Names(&["__name__", "job"]),
        ),
        (
            "GET /api/v1/labels?start=0&end=600&limit=40000",
            Shape::Names(&["__name__", "a.b", "code", "job"]),
        ),
        (
            "GET /api/v1/label/job/values?match%5B%5D=up&start=0&end=600&limit=40000",
            Shape::Names(UP),
        ),
        ("GET /api/v1/metadata?limit=40000", Shape::Metadata(2)),
        ("GET /api/v1/metadata?metric=up", Shape::Metadata(1)),
        // Variables.
        ("GET /api/v1/label/job/values?match[]=up", Shape::Names(UP)),
        (
            "POST /api/v1/query query=sum%20by%20(job)%20(up)&time=600",
            Shape::Vector(2),
        ),
        (
            "GET /api/v1/series?match[]=up&start=0&end=600",
            Shape::Series(2),
        ),
    ] {
        let answer = world.call(call).await;
        assert_eq!(answer.status.as_u16(), 200, "{call}: {}", answer.body);
        let json = answer.json();
        assert_eq!(json["status"], "success", "{call}");
        assert!(json.get("warnings").is_none(), "{call}: {json}");
        assert!(shape.fits(&json["data"]), "{call}: not {shape:?}: {json}");
    }
    // Values are asked for by GET: the fallback from POST needs the code 405.
    for call in [
        "POST /api/v1/metadata limit=1",
        "POST /api/v1/label/job/values limit=1",
    ] {
        assert_eq!(world.call(call).await.status.as_u16(), 405, "{call}");
    }
    for (call, list) in [
        ("GET /api/v1/rules", "groups"),
        ("GET /api/v1/alerts", "alerts"),
    ] {
        let answer = world.call(call).await;
        assert_eq!(answer.status.as_u16(), 200, "{call}: {}", answer.body);
        assert!(answer.json()["data"][list].is_array(), "{call}");
    }
}

impl Shape {
    fn fits(self, data: &Value) -> bool {
        let result = &data["result"];
        let is_of = |kind: &str| data["resultType"] == kind;
        match self {
            Self::Scalar => is_of("scalar") && is_point(result),
            Self::Vector(count) => {
                is_of("vector")
                    && all(result, count, |series| {
                        is_labels(&series["metric"])
                            && (is_point(&series["value"]) || is_histogram(&series["histogram"]))
                    })
            }
            Self::Matrix(count) => {
                is_of("matrix")
                    && all(result, count, |series| {
                        is_labels(&series["metric"])
                            && (some(&series["values"], is_point)
                                || some(&series["histograms"], is_histogram))
                    })
            }
            Self::Exemplars(count) => all(data, count, |series| {
                let is_exemplar = |exemplar: &Value| {
                    is_labels(&exemplar["labels"])
                        && exemplar["value"].is_string()
                        && exemplar["timestamp"].is_number()
                };
                is_labels(&series["seriesLabels"]) && some(&series["exemplars"], is_exemplar)
            }),
            Self::Names(names) => *data == serde_json::json!(names),
            Self::Series(count) => all(data, count, is_labels),
            Self::Metadata(count) => {
                let is_metadata = |metadata: &Value| {
                    ["type", "help", "unit"]
                        .iter()
                        .all(|key| metadata[key].is_string())
                };
                data.as_object().is_some_and(|metrics| {
                    metrics.len() == count && metrics.values().all(|list| some(list, is_metadata))
                })
            }
            Self::Build => data["version"] == "3.14.0" && data.get("features").is_none(),
            Self::Map => data.is_object(),
        }
    }
}

/// Whether it is a list of so many that all fit.
fn all(list: &Value, count: usize, fits: impl Fn(&Value) -> bool) -> bool {
    list.as_array()
        .is_some_and(|list| list.len() == count && list.iter().all(fits))
}

/// Whether it is a list of at least one, and all fit.
fn some(list: &Value, fits: impl Fn(&Value) -> bool) -> bool {
    list.as_array()
        .is_some_and(|list| !list.is_empty() && list.iter().all(fits))
}

fn is_labels(labels: &Value) -> bool {
    labels
        .as_object()
        .is_some_and(|labels| labels.values().all(Value::is_string))
}

/// `[seconds, "value"]`
fn is_point(point: &Value) -> bool {
    point[0].is_number()
        && point[1]
            .as_str()
            .is_some_and(|text| text.parse::<f64>().is_ok())
}

/// `[seconds, {"count", "sum", "buckets": [[rule, "left", "right", "count"]]}]`
fn is_histogram(point: &Value) -> bool {
    let histogram = &point[1];
    let is_bucket =
        |bucket: &Value| bucket[0].is_u64() && (1..4).all(|index| bucket[index].is_string());
    point[0].is_number()
        && histogram["count"].is_string()
        && histogram["sum"].is_string()
        && some(&histogram["buckets"], is_bucket)
}
