//! What a check found: values with an id, a reason and a remedy.

use std::fmt;
use std::fmt::Write as _;

use serde::Serialize;

use super::model::Examined;
use super::paint::{Hue, Sign, Style};
use crate::program::help::broken;

/// The name of a check, and of whatever it finds. It stays the same from version to version, for scripts and for searching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct CheckId(pub &'static str);

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something to know; guests may well have no trouble with it.
    Note,
    /// Guests have trouble with it, or will.
    Problem,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check.
    pub id: CheckId,
    /// How bad it is.
    pub severity: Severity,
    /// What is the matter, and where.
    pub what: String,
    /// How that was seen, and what it means for guests.
    pub reason: String,
    /// What to do, in words.
    pub remedy: String,
    /// What to type, where that is all there is to do: one line each, for a shell of root's.
    pub commands: Vec<String>,
}

impl Finding {
    /// Something that guests have trouble with.
    #[must_use]
    pub fn problem(id: CheckId, what: impl Into<String>) -> Self {
        let (reason, remedy) = (String::new(), String::new());
        Self { id, severity: Severity::Problem, what: what.into(), reason, remedy, commands: vec![] }
    }

    /// Something to know.
    #[must_use]
    pub fn note(id: CheckId, what: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::problem(id, what) }
    }

    /// Adds the reason.
    #[must_use]
    pub fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..self }
    }

    /// Adds the remedy.
    #[must_use]
    pub fn mended_by(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }

    /// Adds what to type.
    #[must_use]
    pub fn typing(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }
}

/// What a check is about, as a heading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// What the kernel can do.
    Kernel,
    /// xl, xend, XenStore, udev and hooks.
    Toolstack,
    /// Bridges and ways out.
    Bridges,
    /// The host as a router.
    Routing,
    /// Guests' interfaces.
    Guests,
    /// What is left of what is gone.
    Leftovers,
}

impl Area {
    /// The heading.
    #[must_use]
    pub fn heading(self) -> &'static str {
        match self {
            Self::Kernel => "Kernel",
            Self::Toolstack => "Toolstack",
            Self::Bridges => "Bridges",
            Self::Routing => "Routing",
            Self::Guests => "Guests",
            Self::Leftovers => "Leftovers",
        }
    }
}

/// What a check found, or why it could not look.
pub type Answer = Result<Vec<Finding>, String>;

/// A check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its name.
    pub id: CheckId,
    /// What it is about.
    pub area: Area,
    /// What holds where it finds nothing.
    pub good: &'static str,
    /// The check.
    pub look: fn(&Examined) -> Answer,
}

/// A check that has been made.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The check.
    pub check: &'static Check,
    /// What it found.
    pub answer: Answer,
}

/// The outcome of a check in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing is the matter.
    Good,
    /// There is something to know.
    Note,
    /// Something is the matter.
    Problem,
    /// It could not be found out.
    Unknown,
}

impl Checked {
    /// The outcome in a word.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match &self.answer {
            Err(_) => Verdict::Unknown,
            Ok(findings) => match findings.iter().map(|finding| finding.severity).max() {
                None => Verdict::Good,
                Some(Severity::Note) => Verdict::Note,
                Some(Severity::Problem) => Verdict::Problem,
            },
        }
    }

    /// What was found.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        self.answer.as_deref().unwrap_or_default()
    }
}

/// What was found, for a person: every check with its verdict, and what was found with reason and remedy.
#[must_use]
pub fn text(checked: &[Checked], style: Style) -> String {
    let mut text = String::new();
    let mut area = None;
    for one in checked {
        if area != Some(one.check.area) {
            let _ =
                writeln!(text, "{}{}", if area.is_none() { "" } else { "\n" }, style.paint(Hue::Name, one.check.area.heading()));
            area = Some(one.check.area);
        }
        text += &check_as_text(one, style);
    }
    let _ = writeln!(text, "\n{}", conclusion(checked, style));
    text
}

/// How wide reasons and remedies are, in characters: with what stands before them, as wide as the narrowest terminal still common.
const WIDTH: usize = 66;

fn check_as_text(checked: &Checked, style: Style) -> String {
    match &checked.answer {
        Err(reason) => {
            let mark = style.paint(Hue::Doubt, style.sign(Sign::Unknown));
            format!("  {mark} {}: not looked at, since {reason}\n", checked.check.good)
        }
        Ok(findings) if findings.is_empty() => {
            format!("  {} {}\n", style.paint(Hue::Good, style.sign(Sign::Good)), checked.check.good)
        }
        Ok(findings) => findings.iter().map(|finding| finding_as_text(finding, style)).collect(),
    }
}

fn finding_as_text(finding: &Finding, style: Style) -> String {
    let (sign, hue) = match finding.severity {
        Severity::Note => (Sign::Note, Hue::Doubt),
        Severity::Problem => (Sign::Bad, Hue::Bad),
    };
    let id = style.paint(Hue::Faint, &format!("[{}]", finding.id));
    let mut text = format!("  {} {} {id}\n", style.paint(hue, style.sign(sign)), style.paint(hue, &finding.what));
    for (head, words) in [("why", &finding.reason), ("do", &finding.remedy)] {
        let mut head = head;
        for line in broken(words, WIDTH) {
            let _ = writeln!(text, "      {}{line}", style.paint(Hue::Faint, &format!("{head:<6}")));
            head = "";
        }
    }
    for command in &finding.commands {
        let _ = writeln!(text, "            {}", style.paint(Hue::Name, command));
    }
    text
}

fn conclusion(checked: &[Checked], style: Style) -> String {
    let all = || checked.iter().flat_map(Checked::findings);
    let problems = all().filter(|finding| finding.severity == Severity::Problem).count();
    let notes = all().count() - problems;
    let unknown = checked.iter().filter(|one| one.verdict() == Verdict::Unknown).count();
    let count = |number: usize, one: &str, many: &str| match number {
        0 => None,
        1 => Some(format!("1 {one}")),
        number => Some(format!("{number} {many}")),
    };
    let words: Vec<String> = [
        count(notes, "note", "notes"),
        count(unknown, "check could not be made", "checks could not be made"),
        count(problems, "problem", "problems"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let hue = match (problems, notes + unknown) {
        (0, 0) => return style.paint(Hue::Good, &format!("All {} checks are well.", checked.len())),
        (0, _) => Hue::Doubt,
        _ => Hue::Bad,
    };
    let mut text = format!("{} checks: {}", checked.len(), words.join(", "));
    // The findings themselves may have left the screen by now.
    if problems > 0 {
        let bad = checked.iter().filter(|one| one.verdict() == Verdict::Problem).map(|one| one.check.id.0);
        text += &format!(" ({})", bad.collect::<Vec<_>>().join(", "));
    }
    style.paint(hue, &format!("{text}."))
}

/// What was found, for a program.
#[must_use]
pub fn json(checked: &[Checked]) -> String {
    let one = |checked: &Checked| {
        serde_json::json!({
            "id": checked.check.id,
            "area": checked.check.area,
            "verdict": checked.verdict(),
            "good": checked.check.good,
            "unknown": checked.answer.as_ref().err(),
            "findings": checked.findings(),
        })
    };
    format!("{:#}\n", serde_json::json!({ "checks": checked.iter().map(one).collect::<Vec<_>>() }))
}
