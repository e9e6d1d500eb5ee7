//! Real sockets on loopback. Nothing sleeps for luck: every wait is for a condition, with a deadline.

mod certificates;
mod figures;
mod flow;
mod hostile;
mod joining;
mod switching;
mod world;
