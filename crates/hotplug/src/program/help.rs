//! The text of `--help`.

use std::fmt::Write as _;

use super::{Program, Source};

/// Width that lines are broken at, in characters: the narrowest terminal still common.
const WIDTH: usize = 80;
/// Where the second column starts, in characters.
const COLUMN: usize = 14;

/// The help of `program`: what it is for, how to call it, and every command, variable and option in a few words.
#[must_use]
pub fn help(program: &Program) -> String {
    const USAGE: &str = "Usage: ";
    let usage = broken(&program.synopsis(), WIDTH - USAGE.len()).join(&format!("\n{:1$}", "", USAGE.len()));
    let mut text = format!("{} - {}\n\n{USAGE}{usage}\n", program.name, program.purpose);
    section(&mut text, "Commands", program.commands.iter().map(|command| (command.name.to_owned(), command.purpose.to_owned())));
    if !program.operands.is_empty() {
        let operands = program.operands.iter();
        section(
            &mut text,
            "Words",
            operands.map(|operand| (operand.value.to_owned(), format!("For {}: {}", operand.command, operand.meaning))),
        );
    }
    section(
        &mut text,
        "Variables",
        program.variables.iter().map(|variable| {
            let meaning = variable.meaning.first().copied().unwrap_or_default();
            let sources: Vec<_> = variable.sources.iter().copied().map(Source::describe).collect();
            let explained = format!("{meaning} Default: {}. From: {}.", variable.default, sources.join(", "));
            (format!("{}={}", variable.name, variable.value), explained)
        }),
    );
    section(
        &mut text,
        "Options",
        program.options.iter().map(|option| {
            let short = option.short().map(|letter| format!("-{letter}, ")).unwrap_or_default();
            (format!("{short}--{}", option.long()), option.purpose().to_owned())
        }),
    );
    section(&mut text, "Exit status", program.exit_status.iter().map(|entry| (entry.subject.to_owned(), entry.text.to_owned())));
    let _ = write!(text, "\nMore: man {}\n", program.name);
    text
}

fn section(text: &mut String, title: &str, rows: impl Iterator<Item = (String, String)>) {
    let _ = write!(text, "\n{title}:\n");
    for (term, explanation) in rows {
        let head = format!("  {term}");
        let fits = head.len() + 2 <= COLUMN;
        text.push_str(&head);
        let mut column = head.len();
        if !fits {
            text.push('\n');
            column = 0;
        }
        for line in broken(&explanation, WIDTH - COLUMN) {
            let _ = writeln!(text, "{:indent$}{line}", "", indent = COLUMN - column);
            column = 0;
        }
    }
}

/// `text` in lines of at most `width` characters, broken between words; a longer word has a line of its own.
pub(crate) fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::PROGRAMS;

    #[test]
    fn help_names_everything_there_is() {
        for program in PROGRAMS {
            let help = help(program);
            for name in
                program.commands.iter().map(|command| command.name).chain(program.variables.iter().map(|variable| variable.name))
            {
                assert!(help.contains(&format!("\n  {name}")), "{name} is missing in\n{help}");
            }
            for option in program.options {
                assert!(help.contains(&format!("--{}", option.long())));
            }
        }
    }

    #[test]
    fn help_fits_a_terminal() {
        for program in PROGRAMS {
            let help = help(program);
            assert!(help.lines().all(|line| line.chars().count() <= WIDTH), "{help}");
            assert!(help.lines().all(|line| line.trim_end() == line), "{help}");
        }
    }

    #[test]
    fn words_stay_whole() {
        assert_eq!(broken("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(broken("a loooong b", 4), ["a", "loooong", "b"]);
    }
}
