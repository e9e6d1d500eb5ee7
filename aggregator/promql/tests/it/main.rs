//! The engine as a whole, over stores in memory: scripts, properties, and the shapes data come in.

mod conformance;
mod parallel;
mod properties;
mod ranges;
mod rollups;
mod scripts;
mod segments;
mod selected;
mod together;
