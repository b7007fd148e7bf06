//! The twins: each case of `tests/cases/twins` is played on two fresh hosts, one with Debian's original script, one with our
//! program. What can be seen afterwards (exit status, kernel, XenStore, what hooks noted) must be the same.
//!
//! A deliberate difference stands in `NAME.difference` beside the case, line by line as the suite prints it, below the id
//! it has in `crates/hotplug/differences.md`. A difference that is not written down fails, and so does one that is written down
//! and did not show.
//!
//! A second set of tests plays the original against itself: it proves that the cases are repeatable, so that a difference is
//! one of the programs.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use testbed::machine::workspace;
use testbed::state::{Difference, difference};

#[path = "twins/case.rs"]
mod case;
#[path = "twins/twin.rs"]
mod twin;

use case::Case;
use twin::{Make, Seen, play};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let cases = match case::read_all(&workspace().join("tests/cases/twins")) {
        Ok(cases) => cases,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let ids = listed(&cases);
    let mut trials = vec![Trial::test("every_listed_difference_has_its_case", move || ids)];
    for case in cases {
        let again = case.clone();
        let (ours, itself) = (format!("ours::{}", case.name), format!("original_with_itself::{}", case.name));
        trials.push(Trial::test(ours, move || compare_with_ours(&case)));
        trials.push(Trial::test(itself, move || compare_with_itself(&again)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn compare_with_ours(case: &Case) -> Result<(), Failed> {
    let ours = play(case, Make::Ours)?;
    let seen = compare(&play(case, Make::Original)?, &ours);
    let expected = Expected::of(case)?;
    if seen == expected.lines {
        return Ok(());
    }
    let mut message = String::from("(- original, + ours)\n");
    for line in seen.iter().filter(|line| !expected.lines.contains(line)) {
        writeln!(message, "not listed: {line}")?;
    }
    for line in expected.lines.iter().filter(|line| !seen.contains(line)) {
        writeln!(message, "vanished:   {line}")?;
    }
    for run in &ours {
        writeln!(message, "{}: {}", run.run, run.outcome)?;
    }
    writeln!(message, "deliberate differences belong in {}", case.difference_file.display())?;
    Err(message.into())
}

fn compare_with_itself(case: &Case) -> Result<(), Failed> {
    let seen = compare(&play(case, Make::Original)?, &play(case, Make::Original)?);
    if seen.is_empty() { Ok(()) } else { Err(format!("two runs of the original differ:\n{}", seen.join("\n")).into()) }
}

/// The differences, a line each, in the words they have in `NAME.difference`.
///
/// Where our program changed nothing and the original did, one line says so: every detail of what the original left would say
/// less.
fn compare(original: &[Seen], ours: &[Seen]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |sign: char, run: &str, what: &str| lines.push(format!("{sign} {run} › {what}"));
    for (one, other) in original.iter().zip(ours) {
        let mut differences = vec![difference(&one.others, &other.others)];
        if one.kernel != other.kernel && other.kernel == other.kernel_before {
            add('+', &other.run, "kernel: as before the run");
        } else {
            differences.push(one.kernel.difference(&other.kernel));
        }
        for line in differences.iter().flat_map(Difference::lines).filter(|line| !is_of_the_fixed_rules(line)) {
            let (sign, what) = line.split_at(1);
            add(if sign == "-" { '-' } else { '+' }, &one.run, what.trim_start());
        }
    }
    lines
}

/// The guest filter's rules are the same for all guests (tests/cases/guest-filter has them), and its other sets say again what the set `guests`
/// says of a guest.
fn is_of_the_fixed_rules(line: &str) -> bool {
    let (table, name) = (r#""table":"xen-guests""#, r#""name":"xen-guests""#);
    line.contains(name) || (line.contains(table) && !line.contains(r#""name":"guests""#))
}

/// The deliberate differences of a case.
#[derive(Default)]
struct Expected {
    /// The ids, as in differences.md: lines `# ID`.
    ids: BTreeSet<String>,
    /// The lines a comparison prints.
    lines: Vec<String>,
}

impl Expected {
    fn of(case: &Case) -> std::io::Result<Self> {
        let text = match fs::read_to_string(&case.difference_file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            result => result?,
        };
        let mut expected = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("# ") {
                Some(id) => drop(expected.ids.insert(id.to_owned())),
                None => expected.lines.push(line.to_owned()),
            }
        }
        Ok(expected)
    }
}

/// The table in differences.md and the files beside the cases must name the same differences.
///
/// A row is `| id | original | ours | why | test |`; the test of a difference seen here is `twins: NAME`, or several
/// names separated by spaces.
fn listed(cases: &[Case]) -> Result<(), Failed> {
    let path = workspace().join("crates/hotplug/differences.md");
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let mut in_table = BTreeSet::new();
    for row in text.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let Some((id, names)) = cells.first().zip(cells.last().and_then(|test| test.strip_prefix("twins: "))) else {
            continue;
        };
        in_table.extend(names.split_whitespace().map(|name| (id.trim_matches('`').to_owned(), name.to_owned())));
    }
    let mut beside_cases = BTreeSet::new();
    for case in cases {
        let expected = Expected::of(case)?;
        if expected.ids.is_empty() != expected.lines.is_empty() {
            return Err(format!("{} needs ids (`# ID`) and lines", case.difference_file.display()).into());
        }
        beside_cases.extend(expected.ids.into_iter().map(|id| (id, case.name.clone())));
    }
    let message: Vec<_> = in_table
        .symmetric_difference(&beside_cases)
        .map(|(id, name)| format!("{id} of case {name} is in only one of {} and {name}.difference", path.display()))
        .collect();
    if message.is_empty() { Ok(()) } else { Err(message.join("\n").into()) }
}
