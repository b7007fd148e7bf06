//! A program's words as they were given: split and counted, not yet believed.
//!
//! Nothing in here knows what a value means. No word is ever evaluated: `bridge=$(reboot)` is a text of nine characters after its `=`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, value_parser};

use crate::program::help::help;
use crate::program::{Command, Flag, Program, VERSION};

/// Most that all words of a command line may come to, in bytes; xl's come to some forty.
pub const WORDS_MAX: usize = 64 * 1024;
/// Most that one value may come to, in bytes: what XenStore takes in one write (`XENSTORE_PAYLOAD_MAX` in Xen's
/// xen/include/public/io/xs_wire.h).
pub const VALUE_MAX: usize = 4096;

/// Whether to act or to say what would be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Do it.
    Act,
    /// `--dry-run`: print the plan.
    DryRun,
}

/// What the answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines for a person.
    Text,
    /// `--json`.
    Json,
}

/// Who called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A udev rule, which says so by `UDEV_CALL`. It must give way where XenStore has `libxl/disable_udev`.
    Udev,
    /// A toolstack, another program or a person.
    Other,
}

/// One call of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    program: &'static Program,
    path: String,
    words: Vec<String>,
    command: &'static Command,
    surplus: Vec<String>,
    environment: BTreeMap<String, String>,
    assignments: BTreeMap<String, String>,
    mode: Mode,
    format: Format,
    caller: Caller,
}

/// Why there is nothing to run: a mistake in the words, or a question that is answered by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageError {
    /// `--help` or `--version`: the text to print on standard output. Not a mistake.
    Answer(String),
    /// A command line that cannot be understood: the sentence for standard error and the log.
    Mistake(String),
}

impl UsageError {
    /// The exit status that goes with it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Answer(_) => 0,
            Self::Mistake(_) => 1,
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(text) | Self::Mistake(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for UsageError {}

impl Invocation {
    /// Reads the words of a call; `argv` starts with the program's own name.
    ///
    /// Of the environment only the program's own variables and `UDEV_CALL` are looked at.
    ///
    /// # Errors
    /// [`UsageError::Mistake`] when the words cannot be understood, [`UsageError::Answer`] when they ask for help or the version.
    pub fn parse(
        program: &'static Program,
        argv: impl IntoIterator<Item = OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, UsageError> {
        let mut argv = argv.into_iter();
        let path = argv.next().and_then(|word| word.into_string().ok()).unwrap_or_else(|| program.name.to_owned());
        let given = within_limit(argv)?;
        let matches = grammar(program).try_get_matches_from(&given).map_err(|error| mistake(program, &error))?;
        if chosen(program, &matches, Flag::Help) {
            return Err(UsageError::Answer(help(program)));
        }
        if chosen(program, &matches, Flag::Version) {
            return Err(UsageError::Answer(format!("{} {VERSION}\n", program.name)));
        }
        let words = as_text(matches.get_many::<OsString>(WORDS).into_iter().flatten())?;
        let (assignments, others) = split(&words)?;
        let (environment, caller) = from_environment(program, environment)?;
        let mut others = others.into_iter();
        let command = command(program, others.next())?;
        Ok(Self {
            program,
            path,
            command,
            surplus: others.collect(),
            words,
            environment,
            assignments,
            mode: if chosen(program, &matches, Flag::DryRun) { Mode::DryRun } else { Mode::Act },
            format: if chosen(program, &matches, Flag::Json) { Format::Json } else { Format::Text },
            caller,
        })
    }

    /// The program that was called.
    #[must_use]
    pub fn program(&self) -> &'static Program {
        self.program
    }

    /// What the program was called as: `$0`, with or without a folder.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The command's name.
    #[must_use]
    pub fn command(&self) -> &'static str {
        self.command.name
    }

    /// The words as given, without the options: what a script sees as `$@`.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Words after the command that are neither variables nor options. The originals pass over them in silence.
    #[must_use]
    pub fn surplus(&self) -> &[String] {
        &self.surplus
    }

    /// The value of a variable: from the command line, else from the environment. An empty text was given, and is empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.assignments.get(name).or_else(|| self.environment.get(name)).map(String::as_str)
    }

    /// Every variable of the command line and the program's own ones of the environment, sorted by name, each with the value that
    /// holds.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut all: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, value) in self.environment.iter().chain(&self.assignments) {
            all.insert(name, value);
        }
        all.into_iter()
    }

    /// Whether to act.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What the answer looks like.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Who called.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.caller
    }
}

/// Whether a shell would take `name` for the name of a variable: a letter or `_`, then letters, digits and `_`, all of ASCII.
#[must_use]
pub fn is_variable_name(name: &str) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    match name.as_bytes() {
        [first, rest @ ..] => letter(first) && rest.iter().all(|byte| letter(byte) || byte.is_ascii_digit()),
        [] => false,
    }
}

const WORDS: &str = "words";

fn grammar(program: &'static Program) -> clap::Command {
    let words = Arg::new(WORDS).action(ArgAction::Append).num_args(0..).value_parser(value_parser!(OsString));
    let options = program.options.iter().map(|option| {
        let arg = Arg::new(option.long()).long(option.long()).action(ArgAction::Count);
        match option.short() {
            Some(letter) => arg.short(letter),
            None => arg,
        }
    });
    clap::Command::new(program.name)
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .infer_long_args(false)
        .arg(words)
        .args(options)
}

fn chosen(program: &Program, matches: &ArgMatches, option: Flag) -> bool {
    program.options.contains(&option) && matches.get_count(option.long()) > 0
}

fn mistake(program: &Program, error: &clap::Error) -> UsageError {
    let word = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(word)) => shortened(word),
        _ => String::new(),
    };
    let options: Vec<_> = program.options.iter().map(|option| format!("--{}", option.long())).collect();
    UsageError::Mistake(match error.kind() {
        ErrorKind::UnknownArgument => format!("unknown option {word:?}: {} knows {}", program.name, in_words(&options)),
        ErrorKind::TooManyValues => format!("an option takes no value: {word:?}"),
        kind => format!("cannot understand the command line ({kind}); {} --help shows how to call it", program.name),
    })
}

/// The words as they are, unless they are too many to be meant.
fn within_limit(argv: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, UsageError> {
    let mut total = 0;
    let mut words = vec![];
    for word in argv {
        total += word.len() + 1;
        if total > WORDS_MAX {
            return Err(UsageError::Mistake(format!("the command line is longer than {WORDS_MAX} bytes")));
        }
        words.push(word);
    }
    Ok(words)
}

/// The words as text, without empty ones: xend leaves one where a configuration has two spaces.
fn as_text<'a>(words: impl Iterator<Item = &'a OsString>) -> Result<Vec<String>, UsageError> {
    words
        .filter(|word| !word.is_empty())
        .map(|word| match word.to_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(UsageError::Mistake(format!("the word \"{}\" is not UTF-8", shortened(&word.to_string_lossy())))),
        })
        .collect()
}

type Assignments = BTreeMap<String, String>;

/// The variables, of which the last of a name counts, and the words without `=`.
fn split(words: &[String]) -> Result<(Assignments, Vec<String>), UsageError> {
    let mut assignments = Assignments::new();
    let mut others = vec![];
    for word in words {
        let Some((name, value)) = word.split_once('=') else {
            others.push(word.clone());
            continue;
        };
        if !is_variable_name(name) {
            return Err(UsageError::Mistake(format!(
                "{:?} cannot be the name of a variable in the word {:?}: letters, digits and _ may stand in one, and no digit first",
                shortened(name),
                shortened(word)
            )));
        }
        assignments.insert(name.to_owned(), bounded(name, value)?);
    }
    Ok((assignments, others))
}

fn bounded(name: &str, value: &str) -> Result<String, UsageError> {
    if value.len() > VALUE_MAX {
        let name = shortened(name);
        return Err(UsageError::Mistake(format!("the value of {name} is longer than {VALUE_MAX} bytes")));
    }
    Ok(value.to_owned())
}

fn from_environment(
    program: &Program,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(BTreeMap<String, String>, Caller), UsageError> {
    let mut known = BTreeMap::new();
    let mut caller = Caller::Other;
    for (name, value) in environment {
        let Some(name) = name.to_str() else { continue };
        if name == "UDEV_CALL" && !value.is_empty() {
            caller = Caller::Udev;
        }
        if program.variable(name).is_none() {
            continue;
        }
        let Some(value) = value.to_str() else {
            return Err(UsageError::Mistake(format!("the variable {name} of the environment is not UTF-8")));
        };
        known.insert(name.to_owned(), bounded(name, value)?);
    }
    Ok((known, caller))
}

fn command(program: &'static Program, word: Option<String>) -> Result<&'static Command, UsageError> {
    let names: Vec<_> = program.commands.iter().map(|command| command.name.to_owned()).collect();
    let Some(word) = word else {
        return Err(UsageError::Mistake(format!(
            "the command is missing: say {}; {} --help explains them",
            either(&names),
            program.name
        )));
    };
    program.command(&word).ok_or_else(|| {
        UsageError::Mistake(format!("unknown command {:?}: {} knows {}", shortened(&word), program.name, in_words(&names)))
    })
}

fn in_words(names: &[String]) -> String {
    joined(names, "and")
}

fn either(names: &[String]) -> String {
    joined(names, "or")
}

fn joined(names: &[String], conjunction: &str) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {conjunction} {last}", first.join(", ")),
    }
}

/// The first characters of hostile input, enough to recognise it in a message.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}
