//! Agents get through where UDP does not, and return to QUIC when it does.

use std::time::Duration;

use tests::processes::{Agent, Aggregator, PATIENCE, Relay, Udp, now, wait_until};

use super::lean;

const OVER_TCP_WITHIN: Duration = Duration::from_secs(5);
const BACK_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn agents_fall_back_to_tcp_and_return_to_quic() {
    let aggregator = Aggregator::new(&[]);
    let ways = [Udp::Swallowed, Udp::Refused].map(|udp| {
        let relay = Relay::to(aggregator.ingest(), udp);
        let id = format!("udp-{udp:?}").to_lowercase();
        let mut agent = Agent::stopped(&relay.address(), &id, &lean(&[]));
        let token = aggregator.token(&[]);
        let began = now();
        agent.start_with(&token);
        await_transport(&mut agent, "tcp", OVER_TCP_WITHIN * 6);
        let joined = now().saturating_since(began);
        // Joining, too, had to find its way; a restart shows the session alone.
        agent.stop();
        let began = now();
        agent.start();
        await_transport(&mut agent, "tcp", OVER_TCP_WITHIN * 6);
        let connected = now().saturating_since(began);
        println!(
            "{udp:?} UDP: joined and over TCP after {joined:.2?}, after a restart {connected:.2?}"
        );
        assert!(
            joined <= 2 * OVER_TCP_WITHIN && connected <= OVER_TCP_WITHIN,
            "{udp:?}: {joined:?}, {connected:?}"
        );
        aggregator.await_fresh(&id);
        (udp, relay, agent)
    });
    let began = now();
    for (_, relay, _) in &ways {
        relay.set_udp(Udp::Forwarded);
    }
    for (udp, _relay, mut agent) in ways {
        await_transport(&mut agent, "quic", PATIENCE);
        let took = now().saturating_since(began);
        println!("{udp:?} UDP works again: back on QUIC after {took:.1?}");
        assert!(took <= BACK_WITHIN, "{took:?}");
        aggregator.await_fresh(agent.id());
        wait_until(PATIENCE, "the aggregator to see QUIC", || {
            (aggregator.agent(agent.id())?["transport"] == "quic").then_some(())
        });
    }
}

#[track_caller]
fn await_transport(agent: &mut Agent, transport: &str, within: Duration) {
    let series = format!("promontory_agent_connected{{transport=\"{transport}\"}}");
    wait_until(within, &format!("a connection over {transport}"), || {
        (agent.metric(&series) == 1.0).then_some(())
    });
}
