//! Measures the programs beside their peers; behind `scripts/bench`.
//!
//! Exit status 0 means that everything was measured, whether the bars were held or not.

use std::process::ExitCode;

use testbed::bench::report::{Host, Report, Section};
use testbed::bench::{growth, outage, packets, process, storm, throughput, vif};
use testbed::machine::{Error, Result, workspace};

/// A subject's name, what is measured, and whether it is when no subject is named.
struct Subject {
    name: &'static str,
    measure: fn() -> Result<Section>,
    choice: Choice,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Always,
    WhenNamed,
}

const SUBJECTS: [Subject; 8] = [
    Subject { name: "vif-bridge", measure: vif::vif_bridge, choice: Choice::Always },
    Subject { name: "vif-route", measure: vif::vif_route, choice: Choice::Always },
    Subject { name: "vif-nat", measure: vif::vif_nat, choice: Choice::Always },
    Subject { name: "growth", measure: growth::growth, choice: Choice::WhenNamed },
    Subject { name: "packets", measure: packets::packets, choice: Choice::Always },
    Subject { name: "throughput", measure: throughput::throughput, choice: Choice::Always },
    Subject { name: "outage", measure: outage::outage, choice: Choice::Always },
    Subject { name: "storm", measure: storm::storm, choice: Choice::WhenNamed },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first() {
        Some((word, call)) if word == process::LAUNCHER_WORD => process::launcher(call),
        _ => choose(&words).and_then(|subjects| measure(&subjects)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn choose(words: &[String]) -> Result<Vec<&'static Subject>> {
    if words.is_empty() {
        return Ok(SUBJECTS.iter().filter(|subject| subject.choice == Choice::Always).collect());
    }
    let find = |word: &String| {
        let names = SUBJECTS.map(|subject| subject.name).join(", ");
        SUBJECTS.iter().find(|subject| subject.name == word).ok_or_else(|| Error::new(format!("{word:?} is none of {names}")))
    };
    words.iter().map(find).collect()
}

fn measure(subjects: &[&Subject]) -> Result<()> {
    let mut report = Report { host: Host::describe()?, sections: Vec::new() };
    println!("{}", report.host.to_markdown());
    for subject in subjects {
        eprintln!("measuring {} …", subject.name);
        let section = (subject.measure)().map_err(Error::in_act(format!("measure {}", subject.name)))?;
        println!("{}", section.to_markdown());
        report.sections.push(section);
    }
    report.save()?;
    println!("Written to {}/target/bench/results.md and results.json.", workspace().display());
    Ok(())
}
