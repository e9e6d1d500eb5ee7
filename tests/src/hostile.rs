//! Requests that mean ill, and what may be answered to them.
//!
//! A [`Hostile`] makes [`Attack`]s from a seed: the same number makes the same attack. A third are random expressions of the whole language
//! ([`promql::generator`]); the others each try one thing that costs a server much: years at steps of a second, subqueries in
//! subqueries, joins of everything with everything, labels that double, expressions and regular expressions that are huge, deep or
//! both, parameters that are no numbers, clients that leave, do not read, or come by the hundred.
//!
//! [`Verdict`] says what an answer is: whole JSON in Prometheus' envelope, or a refusal that explains itself.

mod client;
mod expressions;
mod requests;
mod verdict;

use std::time::Duration;

use fastrand::Rng;
use promql::generator::{Choices, Generator, Grammar, QueryBounds, Vocabulary};

pub use self::verdict::Verdict;
use crate::processes::percent_encode;

/// What attacks are about.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// The second before which the newest samples lie.
    pub now_s: i64,
    /// The second from which on there are samples of [`Vocabulary::of_random_stores`].
    pub base_s: i64,
}

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It takes its answer.
    Waits,
    /// It goes away after this time.
    Leaves(Duration),
    /// It reads the beginning of its answer, and no more for this time; then it goes.
    Stalls(Duration),
    /// It is so many clients that ask the same at once, and leave after this time.
    Crowd(usize, Duration),
}

/// A request that means ill.
#[derive(Clone, Debug)]
pub struct Attack {
    /// The shape it was made by.
    pub shape: &'static str,
    /// What is sent, to the byte.
    pub request: Vec<u8>,
    /// How the client behaves then.
    pub manner: Manner,
}

/// Makes attacks.
#[derive(Debug)]
pub struct Hostile {
    scene: Scene,
    seed: u64,
    grammar: Grammar,
}

impl Hostile {
    /// Returns the attacks of a seed.
    pub fn new(scene: Scene, seed: u64) -> Self {
        let grammar = Grammar::new(Vocabulary::of_random_stores(scene.base_s)).nodes_max(24);
        Self {
            scene,
            seed,
            grammar,
        }
    }

    /// Returns attack number `number`.
    pub fn attack(&self, number: u64) -> Attack {
        let mut rng = Rng::with_seed(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let shapes = expressions::SHAPES.len() + requests::SHAPES.len();
        let (shape, request) = match rng.usize(0..shapes * 3 / 2) {
            at if at < expressions::SHAPES.len() => {
                let (shape, make) = expressions::SHAPES[at];
                let expression = make(&mut rng);
                (shape, self.evaluation(&mut rng, &expression))
            }
            at if at < shapes => {
                let (shape, make) = requests::SHAPES[at - expressions::SHAPES.len()];
                (shape, make(&mut rng, self.scene))
            }
            _ => {
                let choices = Choices::seeded(rng.u64(..));
                let mut generator = Generator::new(&self.grammar, choices, QueryBounds::Written);
                let expression = generator.any_expression();
                ("random", self.evaluation(&mut rng, &expression))
            }
        };
        Attack {
            shape,
            request,
            manner: if shape == requests::ENDLESS {
                Manner::Leaves(Duration::from_millis(rng.u64(0..1_000)))
            } else {
                manner(&mut rng)
            },
        }
    }

    /// Asks for the value of an expression, at an instant or over a range.
    fn evaluation(&self, rng: &mut Rng, expression: &str) -> Vec<u8> {
        let now = self.scene.now_s;
        let query = percent_encode(expression);
        let form = if rng.bool() {
            format!("query={query}&time={now}")
        } else {
            let points = rng.i64(1..=11_000);
            let span = [600, 3_600, 86_400, 15 * 86_400, 5 * 365 * 86_400][rng.usize(0..5)];
            let step_ms = (span * 1_000 / points).max(1);
            let start = now - span;
            format!("query={query}&start={start}&end={now}&step={step_ms}ms")
        };
        let path = if form.contains("&step=") {
            "/api/v1/query_range"
        } else {
            "/api/v1/query"
        };
        let stats = ["", "", "&stats=all", "&limit=1"][rng.usize(0..4)];
        requests::post(path, &format!("{form}{stats}"))
    }
}

fn manner(rng: &mut Rng) -> Manner {
    let moment = Duration::from_millis(rng.u64(0..200));
    match rng.u32(0..40) {
        0..4 => Manner::Leaves(moment),
        4..6 => Manner::Stalls(moment * 10),
        6 => Manner::Crowd(rng.usize(50..300), moment),
        _ => Manner::Waits,
    }
}

#[cfg(test)]
mod tests;
