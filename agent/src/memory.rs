//! What the process gives back of its memory, now and then: free pages of the heap, and of the program what only the start or a rare
//! request has used.

use std::time::Duration;

use runtime::{Timer, Token};

/// The time between two times. Each costs some tenths of a millisecond, with the faults after it.
const EVERY: Duration = Duration::from_secs(60);

/// Gives back until `stop`.
pub(crate) async fn give_back(timer: Timer, stop: Token) {
    while stop.run(timer.sleep(EVERY)).await.is_some() {
        heap::give_back();
        if let Err(error) = heap::give_back_program() {
            tracing::debug!(%error, "the program stays in memory as it is");
        }
    }
}
