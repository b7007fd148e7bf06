//! The one table of programs: their commands, variables and options, and every text about them.
//!
//! Parsing ([`crate::invocation`]), `--help`, the man pages and the shell completions are all made from it, so that none of them can
//! promise what another does not know.

pub mod help;
mod network;
mod network_bridge;
mod network_nat;
mod network_route;
mod vif;
mod vif_bridge;
mod vif_nat;
mod vif_openvswitch;
mod vif_route;
mod xen_network;

pub use network_bridge::NETWORK_BRIDGE;
pub use network_nat::NETWORK_NAT;
pub use network_route::NETWORK_ROUTE;
pub use vif_bridge::VIF_BRIDGE;
pub use vif_nat::VIF_NAT;
pub use vif_openvswitch::VIF_OPENVSWITCH;
pub use vif_route::VIF_ROUTE;
pub use xen_network::XEN_NETWORK;

use crate::system::privilege::Powers;

/// Every program, in the order a reader meets them.
pub static PROGRAMS: [&Program; 8] =
    [&NETWORK_BRIDGE, &VIF_BRIDGE, &NETWORK_NAT, &VIF_NAT, &NETWORK_ROUTE, &VIF_ROUTE, &VIF_OPENVSWITCH, &XEN_NETWORK];

/// The version that `--version` and the man pages show.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A program: what it is called, what it understands and what is to be said about it.
///
/// Texts are plain: a paragraph is one string without line breaks, and each output breaks lines as it likes.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name, as it is installed.
    pub name: &'static str,
    /// What it is for, in half a line.
    pub purpose: &'static str,
    /// What it does, one string a paragraph.
    pub description: &'static [&'static str],
    /// The commands, of which a call names one.
    pub commands: &'static [Command],
    /// What it keeps of root's powers.
    pub powers: Powers,
    /// Words after a command that are no variables.
    pub operands: &'static [Operand],
    /// The variables that have a meaning for it.
    pub variables: &'static [Variable],
    /// The options it takes.
    pub options: &'static [Flag],
    /// What each exit status says.
    pub exit_status: &'static [Entry],
    /// Files it reads or writes.
    pub files: &'static [Entry],
    /// Variables of the environment with a meaning of their own, besides [`Program::variables`].
    pub environment: &'static [Entry],
    /// Calls to learn from.
    pub examples: &'static [Example],
    /// Man pages to read next, as `name(section)`.
    pub see_also: &'static [&'static str],
}

impl Program {
    /// The command of this name.
    #[must_use]
    pub fn command(&self, name: &str) -> Option<&'static Command> {
        self.commands.iter().find(|command| command.name == name)
    }

    /// The variable of this name.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&'static Variable> {
        self.variables.iter().find(|variable| variable.name == name)
    }

    /// The words that a command takes besides variables.
    pub fn operands_of(&self, command: &str) -> impl Iterator<Item = &'static Operand> {
        self.operands.iter().filter(move |operand| operand.command == command)
    }

    /// How it is called, in one line.
    #[must_use]
    pub fn synopsis(&self) -> String {
        let commands: Vec<_> = self.commands.iter().map(|command| command.name).collect();
        let operands: String = self.operands.iter().map(|operand| format!(" [{}]", operand.value)).collect();
        format!("{} {}{operands} [NAME=VALUE]... [OPTION]...", self.name, commands.join("|"))
    }
}

/// A word after a command that is no variable.
#[derive(Debug, PartialEq, Eq)]
pub struct Operand {
    /// The command that takes it.
    pub command: &'static str,
    /// What it is, in capitals, as `VIF`.
    pub value: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// A command: the first word without `=`.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// The word.
    pub name: &'static str,
    /// What it does, in half a line.
    pub purpose: &'static str,
    /// What it does, one string a paragraph.
    pub description: &'static [&'static str],
}

/// A variable: what a word `NAME=VALUE` may set.
#[derive(Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What its value is, in capitals, as `DEVICE`.
    pub value: &'static str,
    /// What it means, one string a paragraph.
    pub meaning: &'static [&'static str],
    /// What holds when it is not given; a sentence's end after "Default: ".
    pub default: &'static str,
    /// Where it is looked for; a later place goes before an earlier one.
    pub sources: &'static [Source],
}

/// A place where a variable may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The environment of the process.
    Environment,
    /// A word of the command line.
    CommandLine,
    /// This key in the device's backend directory in XenStore.
    XenStore(&'static str),
}

impl Source {
    /// The place in words, for a list.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Environment => "environment".to_owned(),
            Self::CommandLine => "command line".to_owned(),
            Self::XenStore(key) => format!("XenStore key {key}"),
        }
    }
}

/// An option of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flag {
    /// Print the plan and touch nothing.
    DryRun,
    /// Print JSON.
    Json,
    /// Print a picture.
    Dot,
    /// Print the help text.
    Help,
    /// Print the version.
    Version,
}

impl Flag {
    /// Its long name, without the leading `--`.
    #[must_use]
    pub fn long(self) -> &'static str {
        match self {
            Self::DryRun => "dry-run",
            Self::Json => "json",
            Self::Dot => "dot",
            Self::Help => "help",
            Self::Version => "version",
        }
    }

    /// Its short name, where it has one.
    #[must_use]
    pub fn short(self) -> Option<char> {
        match self {
            Self::DryRun => Some('n'),
            Self::Json | Self::Dot => None,
            Self::Help => Some('h'),
            Self::Version => Some('V'),
        }
    }

    /// What it does.
    #[must_use]
    pub fn purpose(self) -> &'static str {
        match self {
            Self::DryRun => "Print what would be done, step by step, and what would take each step back. Touch nothing.",
            Self::Json => "Print the status, or with --dry-run the plan, as JSON.",
            Self::Dot => "Print the status as a picture, in the language of graphviz.",
            Self::Help => "Print a summary of the program and exit.",
            Self::Version => "Print the version and exit.",
        }
    }
}

/// A subject and what there is to say about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file, the number, the variable.
    pub subject: &'static str,
    /// What there is to say.
    pub text: &'static str,
}

/// A call to learn from.
#[derive(Debug, PartialEq, Eq)]
pub struct Example {
    /// What it achieves.
    pub purpose: &'static str,
    /// What to type, or to write in a file, line by line.
    pub lines: &'static [&'static str],
}

/// Texts that several programs share.
mod common {
    use super::Entry;

    pub const RUN_DIRECTORY: Entry = Entry {
        subject: "/run/xen-network/netns-INODE/",
        text: "The journal of a running change and the records of finished ones, apart for every network namespace: INODE is the \
               inode number of /proc/self/ns/net.",
    };

    pub const LOG_FILE: Entry = Entry {
        subject: "/var/log/xen/xen-hotplug.log",
        text: "Warnings and errors, besides syslog and standard error, where the folder exists.",
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::invocation::is_variable_name;

    fn texts(program: &Program) -> Vec<&'static str> {
        let mut texts = vec![program.purpose];
        texts.extend(program.description);
        for command in program.commands {
            texts.push(command.purpose);
            texts.extend(command.description);
        }
        for variable in program.variables {
            texts.extend(variable.meaning);
            texts.push(variable.default);
        }
        let entries = program.exit_status.iter().chain(program.files).chain(program.environment);
        texts.extend(entries.map(|entry| entry.text));
        texts.extend(program.examples.iter().map(|example| example.purpose));
        texts
    }

    #[test]
    fn every_text_is_there_and_has_no_stray_white_space() {
        for program in PROGRAMS {
            for text in texts(program) {
                assert!(!text.is_empty(), "{}: an empty text", program.name);
                assert!(!text.contains("  ") && !text.contains('\n') && text.trim() == text, "{}: {text:?}", program.name);
            }
        }
    }

    #[test]
    fn names_are_unique_and_can_be_typed() {
        for program in PROGRAMS {
            let commands: BTreeSet<_> = program.commands.iter().map(|command| command.name).collect();
            assert_eq!(commands.len(), program.commands.len());
            assert!(commands.iter().all(|name| !name.contains('=') && !name.starts_with('-')));
            let variables: BTreeSet<_> = program.variables.iter().map(|variable| variable.name).collect();
            assert_eq!(variables.len(), program.variables.len());
            assert!(variables.iter().all(|name| is_variable_name(name)));
        }
    }

    #[test]
    fn every_program_explains_itself() {
        for program in PROGRAMS {
            assert!(!program.examples.is_empty() && !program.files.is_empty() && !program.exit_status.is_empty());
            assert!(program.options.contains(&Flag::Help) && program.options.contains(&Flag::Version));
            assert!(program.see_also.iter().all(|page| page.ends_with(')') && page.contains('(')));
        }
    }

    #[test]
    fn examples_parse() {
        for program in PROGRAMS {
            let lines = program.examples.iter().flat_map(|example| example.lines);
            for line in
                lines.filter(|line| line.contains(&format!("{} ", program.name)) && !line.contains('(') && !line.contains('\''))
            {
                let call = line.split(" | ").next().unwrap_or_default();
                let words = call.split(' ').map(|word| if word == "\"$@\"" { "start" } else { word });
                let parsed = crate::invocation::Invocation::parse(program, words.map(Into::into), []);
                assert!(parsed.is_ok(), "{line}: {parsed:?}");
            }
        }
    }
}
