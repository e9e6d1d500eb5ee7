//! What Grafana's Prometheus data source calls, as the reference lists it.

use super::world::World;

#[tokio::test]
async fn every_call_of_grafana_is_answered() {
    let world = World::new();
    for call in [
        // Health: as the settings page writes it, and where no method is set.
        "POST /api/v1/query query=1%2B1&time=4",
        "GET /api/v1/query?query=1%2B1&time=4",
        "GET /api/v1/status/buildinfo",
        "GET /api/v1/query?query=prometheus_build_info",
        // Panels.
        "POST /api/v1/query_range end=600&query=rate%28hits_total%5B1m0s%5D%29&start=0&step=15&timeout=60s",
        "GET /api/v1/query_range?end=600.123&query=up&start=0.5&step=0.5",
        "POST /api/v1/query query=up&time=600.123&timeout=60s",
        "GET /api/v1/query_exemplars?query=hits_total&start=0&end=600",
        // Whether there are exemplars: milliseconds where seconds belong.
        "GET /api/v1/query_exemplars?query=test&start=1795412763000&end=1795414563000",
        "POST /api/v1/query_exemplars query=test&start=1795412763000&end=1795414563000",
        // Metric list and label browser.
        "GET /api/v1/label/__name__/values?limit=40000&start=0&end=600",
        "GET /api/v1/label/__name__/values?limit=0",
        "POST /api/v1/series match%5B%5D=%7B__name__%21%3D%22%22%7D&limit=40000&start=0&end=600",
        "POST /api/v1/labels match%5B%5D=up%7Bjob%3D~%22a%7Cb%22%7D&limit=40000&start=0&end=600",
        "GET /api/v1/labels?start=0&end=600&limit=40000",
        "GET /api/v1/label/job/values?match%5B%5D=up&start=0&end=600&limit=40000",
        "GET /api/v1/metadata?limit=40000",
        "GET /api/v1/metadata?metric=up",
        // Variables.
        "GET /api/v1/series?match[]=up&start=0&end=600",
    ] {
        let answer = world.call(call).await;
        assert_eq!(answer.status.as_u16(), 200, "{call}: {}", answer.body);
        assert_eq!(answer.json()["status"], "success", "{call}");
    }
    let build = world.call("GET /api/v1/status/buildinfo").await.json();
    assert!(
        build["data"].get("features").is_none(),
        "Grafana would take us for Mimir"
    );
    assert_eq!(build["data"]["version"], "3.14.0");
    // Values are asked for by GET: the fallback from POST needs the code 405.
    let fallback = world.call("POST /api/v1/metadata limit=1").await;
    assert_eq!(fallback.status.as_u16(), 405);
    // Rules come later; the error is swallowed.
    assert_eq!(world.call("GET /api/v1/rules").await.status.as_u16(), 404);
}
