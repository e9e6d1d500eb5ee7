//! The simulator's tests: many seeds, any one seed by name, and stories.

mod seeds;
mod stories;
