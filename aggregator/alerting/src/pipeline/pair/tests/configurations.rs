//! Each of the two knows whether the other has the same configuration.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::TimestampMs;
use template::Zone;

use super::super::super::{Pipeline, PipelineLimits};
use super::super::{PairConfig, PairPlace};
use crate::{Config, MatcherMode};

const NOW: TimestampMs = TimestampMs(0);
const ONE: &str = "
# The usual.
route: {receiver: ops, group_by: [alertname]}
receivers: [{name: ops, webhook_configs: [{url: 'http://one.example'}]}]
";
/// The same in another layout, with another secret.
const SAME: &str = "
route:
  receiver: ops
  group_by: [alertname]
receivers:
- name: ops
  webhook_configs:
  - url: http://two.example
";
const OTHER: &str = "
route: {receiver: ops, group_by: [alertname, cluster]}
receivers: [{name: ops, webhook_configs: [{url: 'http://one.example'}]}]
";

fn config(text: &str) -> Arc<Config> {
    let config = Config::parse(
        Path::new("am.yml"),
        text,
        MatcherMode::Fallback,
        &Zone::utc(),
    );
    Arc::new(config.unwrap())
}

fn one(place: PairPlace, text: &str) -> Pipeline {
    let pair = PairConfig {
        place,
        peer_timeout: Duration::from_secs(15),
        settle_timeout: Duration::from_secs(60),
    };
    Pipeline::new(config(text), String::new(), PipelineLimits::default()).in_pair(pair, NOW)
}

/// Lets both say what they have to say; returns what each then knows.
fn exchange(pair: &mut [Pipeline; 2]) -> [Option<bool>; 2] {
    let [first, second] = pair;
    loop {
        let (from_first, from_second) = (first.next_share(NOW), second.next_share(NOW));
        if from_first.is_none() && from_second.is_none() {
            return pair
                .each_ref()
                .map(|one| one.pair().unwrap().has_same_config);
        }
        from_first
            .into_iter()
            .for_each(|share| second.peer_says(share, NOW));
        from_second
            .into_iter()
            .for_each(|share| first.peer_says(share, NOW));
    }
}

#[test]
fn both_know_whether_the_other_has_the_same_configuration() {
    let mut pair = [one(PairPlace::First, ONE), one(PairPlace::Second, SAME)];
    assert_eq!(exchange(&mut pair), [None, None], "there is no link yet");
    pair.iter_mut().for_each(Pipeline::peer_came);
    assert_eq!(exchange(&mut pair), [Some(true), Some(true)]);
    pair[1].reconfigure(config(OTHER), NOW);
    assert_eq!(exchange(&mut pair), [Some(false), Some(false)]);
    pair[0].reconfigure(config(OTHER), NOW);
    assert_eq!(exchange(&mut pair), [Some(true), Some(true)]);
    pair.iter_mut().for_each(|one| one.peer_went(NOW));
    assert_eq!(exchange(&mut pair), [None, None]);
    // Meanwhile one of the two is given another.
    pair[0].reconfigure(config(ONE), NOW);
    pair.iter_mut().for_each(Pipeline::peer_came);
    assert_eq!(exchange(&mut pair), [Some(false), Some(false)]);
}
