//! The labels that nobody may forge.

use model::{Labels, LabelsBuilder};
use transport::PeerIdentity;

/// Returns `labels` with `node`, `cluster` and `tenant` as the agent's certificate has them; what the agent said of them, if it
/// differs, moves to `exported_node` and so on, as Prometheus does with labels that clash with a target's.
pub(crate) fn enforce(peer: &PeerIdentity, labels: &Labels) -> Labels {
    let mut builder = labels.to_builder();
    claim(&mut builder, "node", Some(peer.agent().as_str()));
    claim(&mut builder, "cluster", peer.cluster());
    claim(&mut builder, "tenant", peer.tenant());
    builder.build()
}

fn claim(labels: &mut LabelsBuilder, name: &str, truth: Option<&str>) {
    if let Some(said) = labels
        .get(name)
        .filter(|said| Some(*said) != truth)
        .map(str::to_owned)
    {
        // A taken name gets one more prefix, so that nothing the agent sent is overwritten.
        let mut exported = format!("exported_{name}");
        while labels.get(&exported).is_some() {
            exported.insert_str(0, "exported_");
        }
        labels.set(exported, said);
    }
    labels.set(name, truth.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_cannot_speak_for_another() {
        let agent = "n1".parse().expect("an id");
        let peer = PeerIdentity::new(agent, Some("prod"), None).expect("valid names");
        let cases: [(&[(&str, &str)], &str); 4] = [
            (&[("__name__", "up")], r#"up{cluster="prod", node="n1"}"#),
            (
                &[("__name__", "up"), ("node", "n1")],
                r#"up{cluster="prod", node="n1"}"#,
            ),
            (
                &[("__name__", "up"), ("node", "n2"), ("tenant", "t")],
                r#"up{cluster="prod", exported_node="n2", exported_tenant="t", node="n1"}"#,
            ),
            (
                &[("node", "n2"), ("exported_node", "n3")],
                r#"{cluster="prod", exported_exported_node="n2", exported_node="n3", node="n1"}"#,
            ),
        ];
        for (sent, stored) in cases {
            let labels = Labels::from_pairs(sent.iter().copied()).expect("valid labels");
            assert_eq!(enforce(&peer, &labels).to_string(), stored);
        }
    }
}
