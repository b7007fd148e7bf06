//! Measures the programs beside their peers; behind `scripts/bench`.
//!
//! Without a word it measures a short form of everything, with words these subjects as a whole.
//!
//! Exit status 0 means that everything was measured, whether the bars were held or not.

use std::process::ExitCode;

use testbed::bench::report::{Host, Report, Section};
use testbed::bench::{Extent, growth, outage, packets, process, reload, status, storm, throughput, vif};
use testbed::machine::{Error, Result, workspace};

/// A subject's name, and what is measured.
struct Subject {
    name: &'static str,
    measure: fn(Extent) -> Result<Section>,
}

const SUBJECTS: [Subject; 10] = [
    Subject { name: "vif-bridge", measure: vif::vif_bridge },
    Subject { name: "vif-route", measure: vif::vif_route },
    Subject { name: "vif-nat", measure: vif::vif_nat },
    Subject { name: "growth", measure: growth::growth },
    Subject { name: "packets", measure: packets::packets },
    Subject { name: "throughput", measure: throughput::throughput },
    Subject { name: "outage", measure: outage::outage },
    Subject { name: "storm", measure: storm::storm },
    Subject { name: "reload", measure: reload::reload },
    Subject { name: "status", measure: status::status },
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first() {
        Some((word, call)) if word == process::LAUNCHER_WORD => process::launcher(call),
        Some(_) => choose(&words).and_then(|subjects| measure(&subjects, Extent::Whole)),
        None => measure(&SUBJECTS.iter().collect::<Vec<_>>(), Extent::Short),
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
    let find = |word: &String| {
        let names = SUBJECTS.map(|subject| subject.name).join(", ");
        SUBJECTS.iter().find(|subject| subject.name == word).ok_or_else(|| Error::new(format!("{word:?} is none of {names}")))
    };
    words.iter().map(find).collect()
}

fn measure(subjects: &[&Subject], extent: Extent) -> Result<()> {
    let mut report = Report { host: Host::describe()?, sections: Vec::new() };
    println!("{}", report.host.to_markdown());
    for subject in subjects {
        eprintln!("measuring {} …", subject.name);
        let section = (subject.measure)(extent).map_err(Error::in_act(format!("measure {}", subject.name)))?;
        println!("{}", section.to_markdown());
        report.sections.push(section);
    }
    report.save()?;
    println!("Written to {}/target/bench/results.md and results.json.", workspace().display());
    Ok(())
}
