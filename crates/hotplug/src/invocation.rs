//! A program's words as they were given: split and counted, not yet believed.
//!
//! Nothing in here knows what a value means. No word is ever evaluated: `bridge=$(reboot)` is a text of nine characters after its `=`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, value_parser};

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
    options: Vec<Flag>,
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
        let (words, options) = without_options(program, within_limit(argv)?)?;
        if options.contains(&Flag::Help) {
            return Err(UsageError::Answer(help(program)));
        }
        if options.contains(&Flag::Version) {
            return Err(UsageError::Answer(format!("{} {VERSION}\n", program.name)));
        }
        let words = as_text(&words)?;
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
            mode: if options.contains(&Flag::DryRun) { Mode::DryRun } else { Mode::Act },
            format: if options.contains(&Flag::Json) { Format::Json } else { Format::Text },
            options,
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

    /// Whether an option was given.
    #[must_use]
    pub fn has(&self, option: Flag) -> bool {
        self.options.contains(&option)
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
        let arg = Arg::new(option.long()).long(option.long()).action(ArgAction::SetTrue);
        match option.short() {
            Some(letter) => arg.short(letter),
            None => arg,
        }
    });
    clap::Command::new(program.name)
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .arg(words)
        .args(options)
}

/// The words that are no options, and the options.
fn without_options(program: &'static Program, given: Vec<OsString>) -> Result<(Vec<OsString>, Vec<Flag>), UsageError> {
    // No toolstack gives options. To build the grammar only to find none would cost a tenth of a whole run.
    if !given.iter().any(|word| word.as_encoded_bytes().starts_with(b"-")) {
        return Ok((given, vec![]));
    }
    let matches = grammar(program).try_get_matches_from(&given).map_err(|error| mistake(program, &error))?;
    let words = matches.get_many::<OsString>(WORDS).into_iter().flatten().cloned().collect();
    let options = program.options.iter().copied().filter(|option| matches.get_flag(option.long())).collect();
    Ok((words, options))
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
fn as_text(words: &[OsString]) -> Result<Vec<String>, UsageError> {
    words
        .iter()
        .filter(|word| !word.is_empty())
        .map(|word| match word.to_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(UsageError::Mistake(format!("the word {:?} is not UTF-8", shortened(&word.to_string_lossy())))),
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
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use proptest::prelude::*;

    use super::*;
    use crate::program::{NETWORK_BRIDGE, VIF_BRIDGE};

    fn parse(program: &'static Program, line: &str) -> Result<Invocation, UsageError> {
        Invocation::parse(program, line.split(' ').map(OsString::from), [])
    }

    fn parse_in(program: &'static Program, line: &str, environment: &[(&str, &str)]) -> Result<Invocation, UsageError> {
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
        Invocation::parse(program, line.split(' ').map(OsString::from), environment)
    }

    fn mistake_in(program: &'static Program, line: &str) -> String {
        match parse(program, line) {
            Err(UsageError::Mistake(sentence)) => sentence,
            other => panic!("{line:?} gave {other:?}"),
        }
    }

    /// The words that xend makes of its setting `network-script` or `vif-script` (tools/python/xen/xend/server/SrvServer.py and
    /// xen/util/xpopen.py of Xen 4.4): split at every single space, with `start` after the program's name.
    fn xend_words(setting: &str) -> Vec<OsString> {
        let mut words: Vec<_> = setting.split(' ').map(OsString::from).collect();
        words.insert(1, "start".into());
        words
    }

    #[test]
    fn command_and_variables_stand_in_any_order() {
        for line in
            ["vif-bridge online type_if=vif", "vif-bridge type_if=vif online", "vif-bridge --dry-run type_if=vif online --json"]
        {
            let call = parse(&VIF_BRIDGE, line).unwrap();
            assert_eq!((call.command(), call.variable("type_if")), ("online", Some("vif")), "{line}");
        }
    }

    #[test]
    fn udev_puts_the_scripts_own_words_first() {
        let environment = [("UDEV_CALL", "1"), ("vif", "vif1.0"), ("XENBUS_PATH", "backend/vif/1/0")];
        let call = parse_in(&VIF_BRIDGE, "/etc/xen/scripts/vif-bridge bridge=xenbr1 online type_if=vif", &environment).unwrap();
        assert_eq!(call.caller(), Caller::Udev);
        assert_eq!(call.path(), "/etc/xen/scripts/vif-bridge");
        assert_eq!(call.words(), ["bridge=xenbr1", "online", "type_if=vif"]);
        assert_eq!(call.variable("vif"), Some("vif1.0"));
        assert_eq!(call.variable("bridge"), Some("xenbr1"));
    }

    #[test]
    fn an_empty_udev_call_is_none() {
        assert_eq!(parse_in(&VIF_BRIDGE, "vif-bridge online", &[("UDEV_CALL", "")]).unwrap().caller(), Caller::Other);
    }

    #[test]
    fn xend_splits_at_single_spaces() {
        let words = xend_words("network-bridge netdev=eth0  bridge=xenbr0");
        assert_eq!(words, ["network-bridge", "start", "netdev=eth0", "", "bridge=xenbr0"]);
        let call = Invocation::parse(&NETWORK_BRIDGE, words, []).unwrap();
        assert_eq!((call.command(), call.variable("netdev"), call.variable("bridge")), ("start", Some("eth0"), Some("xenbr0")));
        assert_eq!(call.words(), ["start", "netdev=eth0", "bridge=xenbr0"]);
    }

    #[test]
    fn the_command_line_goes_before_the_environment_and_the_last_word_before_the_others() {
        let call =
            parse_in(&VIF_BRIDGE, "vif-bridge bridge=one online bridge=two", &[("bridge", "zero"), ("ip", "10.0.0.1")]).unwrap();
        assert_eq!(call.variable("bridge"), Some("two"));
        assert_eq!(call.variable("ip"), Some("10.0.0.1"));
        assert_eq!(call.variables().collect::<Vec<_>>(), [("bridge", "two"), ("ip", "10.0.0.1")]);
    }

    #[test]
    fn empty_is_not_absent() {
        let call = parse_in(&VIF_BRIDGE, "vif-bridge online bridge=", &[("bridge", "zero"), ("netdev", "")]).unwrap();
        assert_eq!((call.variable("bridge"), call.variable("netdev"), call.variable("ip")), (Some(""), Some(""), None));
    }

    #[test]
    fn unknown_variables_of_the_command_line_are_kept_and_of_the_environment_are_not() {
        let call = parse_in(&VIF_BRIDGE, "vif-bridge online my_hook=a=b", &[("HOME", "/root")]).unwrap();
        assert_eq!((call.variable("my_hook"), call.variable("HOME")), (Some("a=b"), None));
    }

    #[test]
    fn values_are_never_evaluated() {
        let call = parse(&VIF_BRIDGE, "vif-bridge online bridge=$(reboot) ip=`reboot` x=${PATH};reboot").unwrap();
        assert_eq!(call.variable("bridge"), Some("$(reboot)"));
        assert_eq!(call.variable("ip"), Some("`reboot`"));
        assert_eq!(call.variable("x"), Some("${PATH};reboot"));
    }

    #[test]
    fn options_stand_anywhere() {
        let call = parse(&NETWORK_BRIDGE, "network-bridge --json netdev=eth0 start -n --json").unwrap();
        assert_eq!((call.mode(), call.format()), (Mode::DryRun, Format::Json));
        let call = parse(&NETWORK_BRIDGE, "network-bridge start").unwrap();
        assert_eq!((call.mode(), call.format()), (Mode::Act, Format::Text));
    }

    #[test]
    fn questions_are_answered() {
        assert!(
            matches!(parse(&NETWORK_BRIDGE, "network-bridge --help"), Err(UsageError::Answer(text)) if text.contains("Usage:"))
        );
        assert!(matches!(parse(&NETWORK_BRIDGE, "network-bridge start -h"), Err(UsageError::Answer(_))));
        let version = Err(UsageError::Answer(format!("network-bridge {VERSION}\n")));
        assert_eq!(parse(&NETWORK_BRIDGE, "network-bridge --version"), version);
        assert_eq!(UsageError::Answer(String::new()).exit_code(), 0);
    }

    #[test]
    fn mistakes_say_what_is_wrong_and_what_would_be_right() {
        for (line, sentence) in [
            ("network-bridge", "the command is missing: say start, stop, repair or status; network-bridge --help explains them"),
            (
                "network-bridge netdev=eth0",
                "the command is missing: say start, stop, repair or status; network-bridge --help explains them",
            ),
            ("network-bridge restart", "unknown command \"restart\": network-bridge knows start, stop, repair and status"),
            (
                "network-bridge start --fast",
                "unknown option \"--fast\": network-bridge knows --dry-run, --json, --help and --version",
            ),
            ("network-bridge start -x", "unknown option \"-x\": network-bridge knows --dry-run, --json, --help and --version"),
            ("network-bridge start --json=yes", "an option takes no value: \"--json\""),
            (
                "network-bridge start 0x=1",
                "\"0x\" cannot be the name of a variable in the word \"0x=1\": letters, digits and _ may stand in one, and no digit first",
            ),
            (
                "network-bridge start a[$(id)]=1",
                "\"a[$(id)]\" cannot be the name of a variable in the word \"a[$(id)]=1\": letters, digits and _ may stand in one, \
                 and no digit first",
            ),
        ] {
            assert_eq!(mistake_in(&NETWORK_BRIDGE, line), sentence, "{line}");
        }
        assert_eq!(UsageError::Mistake(String::new()).exit_code(), 1);
    }

    #[test]
    fn what_is_too_long_or_no_text_is_refused() {
        let long = format!("vif-bridge online bridge={}", "b".repeat(VALUE_MAX + 1));
        assert_eq!(mistake_in(&VIF_BRIDGE, &long), "the value of bridge is longer than 4096 bytes");
        let many = format!("vif-bridge online {}", "x=y ".repeat(WORDS_MAX / 4 + 1));
        assert_eq!(mistake_in(&VIF_BRIDGE, &many), "the command line is longer than 65536 bytes");
        let words = [OsString::from("vif-bridge"), "online".into(), OsString::from_vec(b"bridge=\xff".to_vec())];
        let error = Invocation::parse(&VIF_BRIDGE, words, []).unwrap_err();
        assert_eq!(error, UsageError::Mistake("the word \"bridge=\u{fffd}\" is not UTF-8".to_owned()));
        let environment = [("bridge".into(), OsString::from_vec(vec![0xff]))];
        let error = Invocation::parse(&VIF_BRIDGE, ["vif-bridge".into(), "online".into()], environment).unwrap_err();
        assert_eq!(error, UsageError::Mistake("the variable bridge of the environment is not UTF-8".to_owned()));
    }

    #[test]
    fn an_unreadable_variable_that_means_nothing_here_does_no_harm() {
        let environment = [("LESSCHARSET".into(), OsString::from_vec(vec![0xff])), (OsString::from_vec(vec![0xfe]), "x".into())];
        assert!(Invocation::parse(&VIF_BRIDGE, ["vif-bridge".into(), "online".into()], environment).is_ok());
    }

    #[test]
    fn surplus_words_are_kept_apart() {
        let call = parse(&NETWORK_BRIDGE, "network-bridge start eth0 stop").unwrap();
        assert_eq!((call.command(), call.surplus()), ("start", &["eth0".to_owned(), "stop".to_owned()][..]));
    }

    #[test]
    fn no_words_at_all_is_a_mistake() {
        assert!(matches!(Invocation::parse(&NETWORK_BRIDGE, [], []), Err(UsageError::Mistake(_))));
    }

    /// Words as toolstacks write them, and what attackers and clumsy fingers make of them.
    fn word() -> impl Strategy<Value = Vec<u8>> {
        let usual = prop::sample::select(vec![
            "online",
            "offline",
            "start",
            "stop",
            "type_if=vif",
            "bridge=xenbr0",
            "ip=10.0.0.1 10.0.0.2",
            "vif=vif1.0",
            "--dry-run",
            "--json",
            "-n",
            "--",
            "-",
            "=",
            "=x",
            "",
            "bridge=$(touch /tmp/evaluated)",
            "`id`=1",
            "--help",
            "--json=1",
            "a[0]=1",
        ]);
        let mutated = (usual.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(word, place, byte)| {
            let mut word = word.as_bytes().to_vec();
            if !word.is_empty() {
                let place = place.index(word.len());
                word[place] = byte.max(1);
            }
            word
        });
        prop_oneof![usual.prop_map(|word| word.as_bytes().to_vec()), mutated, prop::collection::vec(1u8..=255, 0..24)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_line_makes_it_panic_and_every_value_is_a_part_of_some_word(
            words in prop::collection::vec(word(), 0..8),
            second in any::<bool>(),
        ) {
            let program = if second { &VIF_BRIDGE } else { &NETWORK_BRIDGE };
            let argv: Vec<_> = std::iter::once(b"prog".to_vec()).chain(words.clone()).map(OsString::from_vec).collect();
            match Invocation::parse(program, argv, []) {
                Ok(call) => {
                    prop_assert!(program.command(call.command()).is_some());
                    for (name, value) in call.variables() {
                        prop_assert!(is_variable_name(name));
                        let word = format!("{name}={value}").into_bytes();
                        prop_assert!(words.contains(&word));
                    }
                }
                Err(UsageError::Mistake(sentence)) => prop_assert!(!sentence.is_empty() && !sentence.contains('\n')),
                Err(UsageError::Answer(text)) => prop_assert!(!text.is_empty()),
            }
        }
    }
}
