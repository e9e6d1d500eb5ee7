//! Cases with the outputs of Go's own engines (see `oracle/README.md`), the default templates of Alertmanager, the rule corpus, bounds.

mod bounds;
mod corpus;
mod data;
mod golden;
