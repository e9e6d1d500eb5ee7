//! The store as a whole, on a disk that loses, tears and fills up.

mod basics;
mod faults;
mod model;
