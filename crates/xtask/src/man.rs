//! Man pages, laid out as man-pages(7) asks.

use hotplug::program::{Command, Entry, Example, Flag, PROGRAMS, Program, Source, VERSION, Variable};
use roff::{Inline, Roff, bold, italic, roman};

/// The section for commands of the system administrator.
const SECTION: &str = "8";

/// Every program's page: its file name and its text.
pub fn pages() -> Vec<(String, String)> {
    PROGRAMS.iter().map(|program| (format!("{}.{SECTION}", program.name), page(program))).collect()
}

fn page(program: &Program) -> String {
    let mut page = Page { roff: Roff::new(), program };
    let title = program.name.to_uppercase();
    // Without a date, so that the same sources always give the same page.
    page.roff.control("TH", [title.as_str(), SECTION, "", &format!("Xen hotplug {VERSION}"), "System Manager's Manual"]);
    page.section("NAME");
    page.roff.text([roman(format!("{} - {}", program.name, program.purpose))]);
    page.synopsis();
    page.section("DESCRIPTION");
    page.paragraphs(program.description);
    page.section("COMMANDS");
    program.commands.iter().for_each(|command| page.command(command));
    page.section("VARIABLES");
    page.paragraphs(&[VARIABLES]);
    program.variables.iter().for_each(|variable| page.variable(variable));
    page.section("OPTIONS");
    program.options.iter().for_each(|option| page.option(*option));
    page.entries("EXIT STATUS", program.exit_status);
    page.entries("FILES", program.files);
    page.entries("ENVIRONMENT", program.environment);
    page.section("EXAMPLES");
    program.examples.iter().for_each(|example| page.example(example));
    page.see_also();
    page.roff.to_roff()
}

const VARIABLES: &str = "A word of the form NAME=VALUE sets a variable, anywhere on the command line; of two words for the same variable the \
                         last one counts. Variables with other names than these are accepted, and mean nothing to the program itself. No value \
                         is ever evaluated as a command.";

struct Page<'a> {
    roff: Roff,
    program: &'a Program,
}

impl Page<'_> {
    fn section(&mut self, title: &str) {
        self.roff.control("SH", [title]);
    }

    fn synopsis(&mut self) {
        self.section("SYNOPSIS");
        let commands: Vec<Inline> = self.program.commands.iter().map(|command| bold(command.name)).collect();
        let mut line = vec![bold(self.program.name), roman(" ")];
        for (place, command) in commands.into_iter().enumerate() {
            if place > 0 {
                line.push(roman(" | "));
            }
            line.push(command);
        }
        for operand in self.program.operands {
            line.extend([roman(" ["), italic(operand.value), roman("]")]);
        }
        line.extend([roman(" ["), italic("NAME"), roman("="), italic("VALUE"), roman("]... ["), italic("OPTION"), roman("]...")]);
        self.roff.text(line);
    }

    fn paragraphs(&mut self, paragraphs: &[&str]) {
        for (place, paragraph) in paragraphs.iter().enumerate() {
            if place > 0 {
                self.roff.control("PP", []);
            }
            let line = self.inline(paragraph);
            self.roff.text(line);
        }
    }

    /// A term, and paragraphs of its own below it.
    fn tagged(&mut self, term: Vec<Inline>, paragraphs: &[String]) {
        self.roff.control("TP", []);
        self.roff.text(term);
        for (place, paragraph) in paragraphs.iter().enumerate() {
            if place > 0 {
                self.roff.control("IP", []);
            }
            let line = self.inline(paragraph);
            self.roff.text(line);
        }
    }

    fn command(&mut self, command: &Command) {
        let paragraphs: Vec<String> =
            std::iter::once(command.purpose).chain(command.description.iter().copied()).map(str::to_owned).collect();
        let mut term = vec![bold(command.name)];
        for operand in self.program.operands_of(command.name) {
            term.extend([roman(" "), italic(operand.value)]);
        }
        let meanings = self.program.operands_of(command.name).map(|operand| format!("{}: {}", operand.value, operand.meaning));
        let paragraphs: Vec<String> = paragraphs.into_iter().chain(meanings).collect();
        self.tagged(term, &paragraphs);
    }

    fn variable(&mut self, variable: &Variable) {
        let sources: Vec<_> = variable.sources.iter().copied().map(Source::describe).collect();
        let order = if sources.len() > 1 { "; a later place goes before an earlier one" } else { "" };
        let mut paragraphs: Vec<String> = variable.meaning.iter().map(ToString::to_string).collect();
        paragraphs.push(format!("Default: {}. From: {}{order}.", variable.default, sources.join(", ")));
        self.tagged(vec![bold(variable.name), roman("="), italic(variable.value)], &paragraphs);
    }

    fn option(&mut self, option: Flag) {
        let mut term = vec![];
        if let Some(letter) = option.short() {
            term.extend([bold(format!("-{letter}")), roman(", ")]);
        }
        term.push(bold(format!("--{}", option.long())));
        self.tagged(term, &[option.purpose().to_owned()]);
    }

    fn entries(&mut self, title: &str, entries: &[Entry]) {
        if !entries.is_empty() {
            self.section(title);
            entries.iter().for_each(|entry| self.tagged(vec![bold(entry.subject)], &[entry.text.to_owned()]));
        }
    }

    fn example(&mut self, example: &Example) {
        self.roff.control("PP", []);
        let line = self.inline(example.purpose);
        self.roff.text(line);
        self.roff.control("PP", []);
        self.roff.control("RS", ["4"]);
        self.roff.control("EX", []);
        example.lines.iter().for_each(|line| {
            self.roff.text([roman(*line)]);
        });
        self.roff.control("EE", []);
        self.roff.control("RE", []);
    }

    fn see_also(&mut self) {
        self.section("SEE ALSO");
        let pages = self.program.see_also.join(", ");
        let line = self.inline(&pages);
        self.roff.text(line);
    }

    /// A text with pages of the manual and the program's own name in bold.
    fn inline(&self, text: &str) -> Vec<Inline> {
        let mut line = vec![];
        let mut plain = String::new();
        for (place, word) in text.split(' ').enumerate() {
            if place > 0 {
                plain.push(' ');
            }
            let strong = page_name(word).or_else(|| (word == self.program.name).then_some(word));
            match strong {
                Some(name) => {
                    line.extend([roman(std::mem::take(&mut plain)), bold(name)]);
                    plain.push_str(&word[name.len()..]);
                }
                None => plain.push_str(word),
            }
        }
        line.push(roman(plain));
        line
    }
}

/// The name in a word such as `xl.cfg(5),`.
fn page_name(word: &str) -> Option<&str> {
    let (name, rest) = word.split_once('(')?;
    let (section, _) = rest.split_once(')')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    (is_name && section.len() == 1 && section.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command as Process, Stdio};

    use super::*;

    fn groff(arguments: &[&str], page: &str) -> (String, String) {
        let mut groff = Process::new("groff")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("groff is needed to check the man pages: install groff-base");
        groff.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
        let output = groff.wait_with_output().unwrap();
        assert!(output.status.success());
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    #[test]
    fn groff_finds_nothing_to_warn_of() {
        for (name, page) in pages() {
            let (_, warnings) = groff(&["-man", "-ww", "-z", "-Tutf8"], &page);
            assert_eq!(warnings, "", "{name}");
        }
    }

    #[test]
    fn a_warning_would_be_found() {
        assert_ne!(groff(&["-man", "-ww", "-z", "-Tutf8"], ".TH X 8\n.nonsense\n").1, "");
    }

    #[test]
    fn a_reader_sees_every_section_and_every_word() {
        for (program, (_, page)) in PROGRAMS.iter().zip(pages()) {
            let (text, _) = groff(&["-man", "-Tascii", "-P-c", "-P-b", "-P-u", "-rLL=3000n"], &page);
            let mut place = 0;
            for title in [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "COMMANDS",
                "VARIABLES",
                "OPTIONS",
                "EXIT STATUS",
                "FILES",
                "EXAMPLES",
                "SEE ALSO",
            ] {
                let found =
                    text[place..].find(&format!("\n{title}\n")).unwrap_or_else(|| panic!("no {title} after {place} in\n{text}"));
                place += found + 1;
            }
            let words = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            let shown = |wanted: &str| assert!(words.contains(wanted), "{wanted:?} is missing in\n{text}");
            program.description.iter().for_each(|text| shown(text));
            program.variables.iter().for_each(|variable| shown(&format!("{}={}", variable.name, variable.value)));
            program.commands.iter().flat_map(|command| command.description).for_each(|text| shown(text));
            program.examples.iter().flat_map(|example| example.lines).for_each(|line| shown(line));
            program.options.iter().for_each(|option| shown(&format!("--{}", option.long())));
        }
    }

    #[test]
    fn pages_of_the_manual_are_recognised() {
        assert_eq!(page_name("xl.cfg(5),"), Some("xl.cfg"));
        assert_eq!(page_name("vif-bridge(8)."), Some("vif-bridge"));
        for word in ["(8)", "f(x)", "vif", "a(12)", "a(1", "(as"] {
            assert_eq!(page_name(word), None, "{word}");
        }
    }
}
