//! What was measured, as tables for people and as JSON for programs.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use serde::Serialize;
use serde_json::Value;

use super::plot::Plot;
use crate::machine::{Error, Result, workspace};

/// All that one run of the bench found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// On which machine, and when.
    pub host: Host,
    /// One for each subject.
    pub sections: Vec<Section>,
}

/// The machine that the figures are from.
#[derive(Debug, Serialize)]
pub struct Host {
    /// The processor's name.
    pub processor: String,
    /// How many of them.
    pub processors: usize,
    /// Memory in MiB.
    pub memory: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The day, UTC, as in ISO 8601.
    pub date: String,
    /// Processes that were ready to run just before the bench, on the average of a minute: a busy machine measures badly.
    pub load: f64,
}

/// A subject's result.
#[derive(Debug, Serialize)]
pub struct Section {
    /// The word by which it is measured alone, and the name of its picture.
    pub name: &'static str,
    /// What was measured.
    pub title: String,
    /// How, in a few sentences.
    pub method: String,
    /// The figures to be read.
    pub table: Table,
    /// The same as a picture.
    pub plot: Plot,
    /// What is asked of the figures.
    pub bars: Vec<Bar>,
    /// Every figure, for programs.
    pub figures: Value,
}

/// Rows of cells under a heading.
#[derive(Debug, Serialize)]
pub struct Table {
    /// The heading.
    pub heading: Vec<String>,
    /// As many cells in each row as in the heading.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(heading: &[&str]) -> Self {
        Self { heading: heading.iter().map(|&cell| cell.to_owned()).collect(), rows: Vec::new() }
    }
}

/// Something that is asked of a figure.
#[derive(Debug, Serialize)]
pub struct Bar {
    /// What is asked.
    pub asked: String,
    /// What was measured.
    pub measured: String,
    /// Whether it holds.
    pub verdict: Verdict,
}

/// Whether a bar is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// It is.
    Held,
    /// It is not.
    Missed,
}

impl Bar {
    /// A bar for a figure that must not be above a limit.
    #[must_use]
    pub fn at_most(what: &str, limit: f64, figure: f64, unit: &str) -> Self {
        Self::new(format!("{what}: at most {limit}{unit}"), figure, unit, figure <= limit)
    }

    /// A bar for a figure that must not be below a limit.
    #[must_use]
    pub fn at_least(what: &str, limit: f64, figure: f64, unit: &str) -> Self {
        Self::new(format!("{what}: at least {limit}{unit}"), figure, unit, figure >= limit)
    }

    fn new(asked: String, figure: f64, unit: &str, holds: bool) -> Self {
        let verdict = if holds { Verdict::Held } else { Verdict::Missed };
        Self { asked, measured: format!("{}{unit}", three_digits(figure)), verdict }
    }
}

/// A figure with three significant digits, as far as a busy machine allows to believe them.
#[must_use]
pub fn three_digits(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".to_owned(),
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

impl Host {
    /// Describes this machine.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn describe() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).map_err(Error::in_act(format!("read {path}")));
        let processors = read("/proc/cpuinfo")?;
        let value = |key: &str| processors.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim() == key);
        let memory = read("/proc/meminfo")?;
        let kibibytes: u64 = memory.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        let date = Command::new("date").args(["--utc", "+%Y-%m-%d"]).output().map_err(Error::in_act("ask for the date"))?;
        Ok(Self {
            processor: value("model name").map_or("unknown", |(_, name)| name.trim()).to_owned(),
            processors: processors.lines().filter(|line| line.starts_with("processor")).count(),
            memory: kibibytes / 1024,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            date: String::from_utf8_lossy(&date.stdout).trim().to_owned(),
            load: read("/proc/loadavg")?.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0),
        })
    }
}

impl Report {
    /// Writes `target/bench/results.json`, `target/bench/results.md`, and a picture of each section.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn save(&self) -> Result<()> {
        let folder = workspace().join("target/bench");
        let act = || format!("write the results to {}", folder.display());
        let json = serde_json::to_string_pretty(self).map_err(Error::in_act(act()))?;
        fs::create_dir_all(&folder).map_err(Error::in_act(act()))?;
        fs::write(folder.join("results.json"), json + "\n").map_err(Error::in_act(act()))?;
        for section in &self.sections {
            let path = folder.join(format!("{}.svg", section.name));
            fs::write(path, section.plot.to_svg(&section.title)).map_err(Error::in_act(act()))?;
        }
        let text: String = self.sections.iter().map(Section::to_markdown).collect();
        fs::write(folder.join("results.md"), format!("{}\n{text}", self.host.to_markdown())).map_err(Error::in_act(act()))
    }
}

impl Host {
    /// One paragraph.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        format!(
            "Measured {} by `scripts/bench` on {} × {}, {} MiB, Linux {}; load before the run {:.1}.\n",
            self.date, self.processors, self.processor, self.memory, self.kernel, self.load
        )
    }
}

impl Section {
    /// A heading, the method, the table, and the bars.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let bars: String = self.bars.iter().map(Bar::to_markdown).collect();
        format!("### {}\n\n{}\n\n{}\n{bars}\n", self.title, self.method, self.table.to_markdown())
    }
}

impl Bar {
    fn to_markdown(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Held => "PASS",
            Verdict::Missed => "FAIL",
        };
        format!("- {verdict}: {}; measured {}\n", self.asked, self.measured)
    }
}

impl Table {
    // Padded, so that it can be read on a terminal too. Figures stand to the right.
    fn to_markdown(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.heading]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.heading.len()).map(width).collect();
        let mut text = String::new();
        let mut line = |cells: &[String]| {
            for (column, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
                // Writing to a String cannot fail.
                let _ = if column == 0 { write!(text, "| {cell:width$} ") } else { write!(text, "| {cell:>width$} ") };
            }
            text.push_str("|\n");
        };
        line(&self.heading);
        let rule = |(column, &width): (usize, &usize)| {
            "-".repeat(width.max(3) - usize::from(column > 0)) + if column > 0 { ":" } else { "" }
        };
        line(&widths.iter().enumerate().map(rule).collect::<Vec<_>>());
        self.rows.iter().for_each(|row| line(row));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown() {
        let mut table = Table::new(&["what", "time"]);
        table.rows.push(vec!["first".to_owned(), "1".to_owned()]);
        assert_eq!(table.to_markdown(), "| what  | time |\n| ----- | ---: |\n| first |    1 |\n");
    }

    #[test]
    fn a_bar_shows_its_figure() {
        let missed = Bar::at_most("wall", 2.0, 2.345, " times");
        assert_eq!(missed.to_markdown(), "- FAIL: wall: at most 2 times; measured 2.35 times\n");
        assert_eq!(Bar::at_least("cpu", 40.0, 123.4, "×").verdict, Verdict::Held);
    }

    #[test]
    fn this_machine_has_a_processor_and_a_kernel() {
        let host = Host::describe().unwrap();
        assert!(host.processors > 0 && host.memory > 0 && !host.kernel.is_empty(), "{host:?}");
    }
}
