//! Settings and commands that every program has alike.

use crate::settings::{Argument, Program};
use crate::{Kind, Setting};

/// How a program logs: `log.level`, `log.format`.
pub const LOG: &[Setting] = &[
    Setting {
        name: "log.level",
        kind: Kind::Choice(&["error", "warn", "info", "debug"]),
        default: Some("info"),
        value_name: "LEVEL",
        help: "What is logged to standard error.",
    },
    Setting {
        name: "log.format",
        kind: Kind::Choice(&["logfmt", "json"]),
        default: Some("logfmt"),
        value_name: "FORMAT",
        help: "How it is written.",
    },
];

/// Returns the command `completion SHELL`.
pub fn completion_command(examples: &'static str) -> Program {
    const SHELL: &[Argument] = &[Argument {
        name: "SHELL",
        help: "bash, zsh or fish",
        optional: false,
        repeated: false,
    }];
    Program {
        name: "completion",
        about: "Prints the completion script for a shell.",
        examples,
        arguments: SHELL,
        ..Program::default()
    }
}

/// Returns the command `man [COMMAND]`.
pub fn man_command(examples: &'static str) -> Program {
    const COMMAND: &[Argument] = &[Argument {
        name: "COMMAND",
        help: "The command; the program itself when not given",
        optional: true,
        repeated: false,
    }];
    Program {
        name: "man",
        about: "Prints a man page (roff).",
        examples,
        arguments: COMMAND,
        ..Program::default()
    }
}
