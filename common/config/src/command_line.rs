//! Flags, help, completion and man page, all from the definitions of the settings.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::builder::{Str, StyledStr};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::settings::{Program, Refusal};
use crate::{Kind, Mistake, Mistakes, Origin, Setting};

/// What was asked for instead of work: print it to standard output and exit with 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Information(pub String);

/// A shell that completion can be written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

impl Shell {
    /// The words that [`Shell::from_word`] knows.
    pub const WORDS: &'static [&'static str] = &["bash", "zsh", "fish"];

    /// Returns the shell of this name.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "bash" => Some(Self::Bash),
            "zsh" => Some(Self::Zsh),
            "fish" => Some(Self::Fish),
            _ => None,
        }
    }
}

/// Returns the completion script of a program.
pub fn completion(program: &Program, shell: Shell) -> String {
    let mut script = Vec::new();
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(shell, &mut command(program), program.name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Returns the man page (roff) of a program, or of one of its commands; `None` when it has no such command.
pub fn man_page(program: &Program, word: Option<&str>) -> Option<String> {
    let (shown, name) = match word {
        None => (program, program.name.to_owned()),
        Some(word) => {
            let found = program.commands.iter().find(|below| below.name == word)?;
            (found, format!("{} {word}", program.name))
        }
    };
    let command = command(shown)
        .name(Str::from(name.replace(' ', "-")))
        .bin_name(name);
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut page);
    rendered.expect("writing to memory cannot fail");
    Some(String::from_utf8_lossy(&page).into_owned())
}

/// What stands on a command line.
pub(crate) struct Line {
    pub(crate) command: Vec<&'static str>,
    pub(crate) settings: Vec<Setting>,
    pub(crate) flags: Vec<(String, String)>,
    pub(crate) arguments: BTreeMap<&'static str, Vec<String>>,
    pub(crate) mistakes: Vec<Mistake>,
}

/// Short forms, the same in all commands.
const SHORT: &[(&str, char)] = &[("output", 'o')];
/// The most unknown flags that one run reports.
const UNKNOWN_FLAGS_MAX: usize = 20;

/// Reads a command line; unknown flags are collected, so that all mistakes can be reported together.
pub(crate) fn parse(program: &Program, mut arguments: Vec<OsString>) -> Result<Line, Refusal> {
    let mut mistakes = Vec::new();
    loop {
        let error = match command(program).try_get_matches_from(arguments.iter().cloned()) {
            Ok(matches) => return Ok(gather(program, &matches, mistakes)),
            Err(error) => error,
        };
        if matches!(
            error.kind(),
            ErrorKind::DisplayHelp
                | ErrorKind::DisplayVersion
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        ) {
            return Err(Information(error.render().to_string()).into());
        }
        let unknown = unknown_flag(&error)
            .and_then(|(flag, what)| Some((remove(&mut arguments, &flag)?, what)));
        match unknown.filter(|_| mistakes.len() < UNKNOWN_FLAGS_MAX) {
            Some((flag, what)) => mistakes.push(Mistake {
                origin: Origin::Flag(flag),
                what,
            }),
            None => {
                let text = error.render().to_string();
                let what = text
                    .strip_prefix("error: ")
                    .unwrap_or(&text)
                    .trim_end()
                    .to_owned();
                mistakes.push(Mistake {
                    origin: Origin::Flag(program.name.to_owned()),
                    what,
                });
                return Err(Refusal::Mistakes(Mistakes(mistakes)));
            }
        }
    }
}

fn unknown_flag(error: &clap::Error) -> Option<(String, String)> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let ContextValue::String(flag) = error.get(ContextKind::InvalidArg)? else {
        return None;
    };
    let meant = match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(meant)) => format!("; did you mean {meant}?"),
        _ => "; --help lists what there is".to_owned(),
    };
    Some((flag.clone(), format!("unknown flag{meant}")))
}

/// Takes a flag, and the value that follows it, off a command line.
fn remove(arguments: &mut Vec<OsString>, flag: &str) -> Option<String> {
    let with_value = format!("{flag}=");
    let at = arguments.iter().position(|argument| {
        argument
            .to_str()
            .is_some_and(|text| text == flag || text.starts_with(&with_value))
    })?;
    let joined = arguments.remove(at) != *flag;
    let value_follows = arguments
        .get(at)
        .and_then(|next| next.to_str())
        .is_some_and(|next| !next.starts_with('-'));
    if !joined && value_follows {
        arguments.remove(at);
    }
    Some(flag.to_owned())
}

fn gather(program: &Program, matches: &ArgMatches, mistakes: Vec<Mistake>) -> Line {
    let mut line = Line {
        command: Vec::new(),
        settings: Vec::new(),
        flags: Vec::new(),
        arguments: BTreeMap::new(),
        mistakes,
    };
    let (mut program, mut matches) = (program, matches);
    while let Some((name, below)) = matches.subcommand() {
        let Some(command) = program.commands.iter().find(|command| command.name == name) else {
            break;
        };
        (program, matches) = (command, below);
        line.command.push(command.name);
    }
    for setting in program.settings.iter().copied().flatten() {
        line.settings.push(*setting);
        // Only a setting of several texts has more than one.
        let given: Vec<&str> = matches
            .get_many::<String>(setting.name)
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        if !given.is_empty() {
            line.flags.push((setting.name.to_owned(), given.join("\n")));
        }
        if setting.kind == Kind::Switch && matches.get_flag(&negated(setting)) {
            line.flags
                .push((setting.name.to_owned(), "false".to_owned()));
        }
    }
    for argument in program.arguments {
        let given = matches
            .get_many::<String>(argument.name)
            .unwrap_or_default();
        line.arguments
            .insert(argument.name, given.cloned().collect());
    }
    line
}

fn negated(setting: &Setting) -> String {
    format!("no-{}", setting.name)
}

fn command(program: &Program) -> Command {
    let mut command = Command::new(program.name)
        .about(program.about)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .subcommand_required(!program.commands.is_empty())
        .arg_required_else_help(!program.commands.is_empty());
    if !program.examples.is_empty() {
        let indented: Vec<String> = program
            .examples
            .lines()
            .map(|line| format!("  {line}"))
            .collect();
        command = command.after_help(StyledStr::from(format!(
            "Examples:\n{}",
            indented.join("\n")
        )));
    }
    for setting in program.settings.iter().copied().flatten() {
        command = command.arg(flag(setting));
        if setting.kind == Kind::Switch {
            let no = Arg::new(negated(setting))
                .long(Str::from(negated(setting)))
                .action(ArgAction::SetTrue)
                .hide(true);
            command = command.arg(no.overrides_with(setting.name));
        }
    }
    for argument in program.arguments {
        let arg = Arg::new(argument.name)
            .help(argument.help)
            .required(!argument.optional);
        command = command.arg(if argument.repeated {
            arg.action(ArgAction::Append).num_args(1..)
        } else {
            arg
        });
    }
    program.commands.iter().fold(command, |command, below| {
        command.subcommand(self::command(below))
    })
}

fn flag(setting: &Setting) -> Arg {
    let default = setting
        .default
        .map(|default| format!(" [default: {default}]"))
        .unwrap_or_default();
    let help = format!("{}{default} [env: {}]", setting.help, setting.variable());
    let mut arg = Arg::new(setting.name).long(setting.name).help(help);
    arg = match setting.kind {
        Kind::Texts => arg.action(ArgAction::Append),
        _ => arg.action(ArgAction::Set).overrides_with(setting.name),
    };
    if let Some((_, short)) = SHORT.iter().find(|(name, _)| *name == setting.name) {
        arg = arg.short(*short);
    }
    arg = match setting.kind {
        // `--web.enable-lifecycle`, but also `--web.enable-lifecycle=false`.
        Kind::Switch => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Kind::Choice(_)
        | Kind::Text
        | Kind::Texts
        | Kind::Secret
        | Kind::Path
        | Kind::Address
        | Kind::Duration(..)
        | Kind::Size(..)
        | Kind::Integer(..)
        | Kind::Pattern => arg.allow_hyphen_values(true),
    };
    let value_name = match (setting.value_name, setting.kind) {
        ("", Kind::Switch) => "true|false",
        ("", _) => "VALUE",
        (name, _) => name,
    };
    arg.value_name(value_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Argument;
    use crate::{Environment, Invocation};

    const SETTINGS: &[Setting] = &[
        Setting {
            name: "storage.path",
            kind: Kind::Path,
            default: Some("data"),
            value_name: "DIR",
            help: "Where data lies.",
        },
        Setting {
            name: "web.enable-lifecycle",
            kind: Kind::Switch,
            default: Some("true"),
            value_name: "",
            help: "Allow it.",
        },
    ];

    fn program() -> Program {
        let run = Program {
            name: "run",
            about: "Runs.",
            examples: "# Run here\ntool run",
            settings: vec![SETTINGS],
            arguments: &[Argument {
                name: "EXPR",
                help: "What to run",
                optional: true,
                repeated: false,
            }],
            commands: Vec::new(),
        };
        Program {
            name: "tool",
            about: "A tool.",
            commands: vec![run],
            ..Program::default()
        }
    }

    fn read(arguments: &[&str]) -> Result<Invocation, String> {
        let arguments = arguments.iter().map(OsString::from);
        program()
            .read(arguments, Environment::default(), &[])
            .map_err(|refusal| match refusal {
                Refusal::Information(Information(text)) => format!("information: {text}"),
                Refusal::Mistakes(mistakes) => mistakes.to_string(),
            })
    }

    #[test]
    fn flags_switches_and_arguments_are_read() {
        let invocation = read(&[
            "tool",
            "run",
            "--storage.path",
            "x",
            "--no-web.enable-lifecycle",
            "1+1",
        ])
        .expect("valid");
        assert_eq!(invocation.command, ["run"]);
        assert_eq!(
            invocation.settings.path("storage.path"),
            std::path::Path::new("x")
        );
        assert!(!invocation.settings.switch("web.enable-lifecycle"));
        assert_eq!(invocation.arguments["EXPR"], ["1+1"]);
        let last = read(&[
            "tool",
            "run",
            "--storage.path=x",
            "--storage.path=y",
            "--web.enable-lifecycle=false",
        ])
        .expect("valid");
        assert_eq!(
            last.settings.path("storage.path"),
            std::path::Path::new("y")
        );
        assert!(!last.settings.switch("web.enable-lifecycle"));
    }

    #[test]
    fn all_unknown_flags_come_together_with_bad_values() {
        let error = read(&[
            "tool",
            "run",
            "--storage.pth",
            "x",
            "--nothing=3",
            "--web.enable-lifecycle=5",
        ])
        .expect_err("unknown");
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(lines.len(), 3, "{error}");
        assert!(
            lines[0].contains("--storage.pth: unknown flag") && lines[0].contains("--storage.path"),
            "{error}"
        );
        assert!(lines[1].contains("--nothing"), "{error}");
        assert!(lines[2].contains("neither true nor false"), "{error}");
        assert!(read(&["tool", "walk"]).is_err());
    }

    #[test]
    fn help_completion_and_man_page_come_from_the_same_list() {
        let help = read(&["tool", "run", "--help"]).expect_err("help");
        for part in [
            "information:",
            "--storage.path <DIR>",
            "[default: data]",
            "PROMONTORY_STORAGE_PATH",
            "Examples:",
        ] {
            assert!(help.contains(part), "{part} is in {help}");
        }
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            assert!(
                completion(&program(), shell).contains("storage.path"),
                "{shell:?}"
            );
        }
        let page = man_page(&program(), Some("run")).expect("a command");
        assert!(
            page.contains("storage.path") && page.contains("tool"),
            "{page}"
        );
        assert_eq!(man_page(&program(), Some("walk")), None);
    }
}
