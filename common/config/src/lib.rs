//! From flags, environment and files to checked values, all mistakes reported together.
//!
//! A program lists its [`Setting`]s once. From that list come the command line with its help, shell completion and man page, the
//! environment variables (`--storage.path` is also `PROMONTORY_STORAGE_PATH`) and the keys of the configuration file
//! (`storage: {path: ...}`). A flag beats the environment, which beats the file, which beats the default. Whatever is unknown or
//! does not parse is a [`Mistake`] that names where it stands (file, line and column, variable or flag) and what would be accepted.
//!
//! Also here, because everyone needs them alike: YAML with positions ([`Node`]) and a strict [`Reader`] of it, sizes, secrets that do not print, and
//! exporter-toolkit's web configuration.
//!
//! This is the one crate that reads the environment. Never here: what the settings mean.

#![forbid(unsafe_code)]

mod command_line;
mod common;
mod mistake;
mod reader;
mod secret;
mod setting;
mod settings;
mod size;
mod suggest;
mod web;
mod yaml;

pub use command_line::{Information, Shell, completion, man_page};
pub use common::{LOG, completion_command, man_command};
pub use mistake::{Mistake, Mistakes, Origin};
pub use reader::Reader;
pub use secret::Secret;
pub use setting::{Checked, Kind, Setting};
pub use settings::{Argument, Environment, Invocation, Program, Refusal, Settings, Sources};
pub use size::{format_size, parse_size};
pub use suggest::nearest;
pub use web::{ClientAuth, TlsFiles, WebConfig};
pub use yaml::{Node, NodeValue, Position, parse_yaml};
