//! The packages' changelogs, made out of `packaging/CHANGELOG.md`, and the time of the release.

use std::fs;
use std::path::Path;

use hotplug::program::VERSION;

use crate::Result;

/// The file, from the top of the tree.
const FILE: &str = "packaging/CHANGELOG.md";
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const SECONDS_A_DAY: i64 = 86_400;

/// One version's entry.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    version: String,
    date: Date,
    changes: Vec<String>,
}

/// A day of the Gregorian calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Date {
    year: i64,
    /// From 1.
    month: i64,
    day: i64,
}

impl Date {
    fn parse(text: &str) -> Option<Self> {
        let numbers: Vec<i64> = text.split('-').map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
        let [year, month, day] = numbers[..] else { return None };
        let date = Self { year, month, day };
        // The day before the first of the next month is the last that there is.
        let known = (1970..=9999).contains(&year) && (1..=12).contains(&month) && day >= 1;
        let next = if month == 12 { Self { year: year + 1, month: 1, day: 1 } } else { Self { year, month: month + 1, day: 1 } };
        (known && date.days() < next.days()).then_some(date)
    }

    /// Days since 1970-01-01. March counts as the first month, so that a leap day is a year's last.
    fn days(self) -> i64 {
        let (year, month) = if self.month > 2 { (self.year, self.month - 3) } else { (self.year - 1, self.month + 9) };
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + self.day - 1 - 719_468
    }

    fn weekday(self) -> &'static str {
        usize::try_from(self.days().rem_euclid(7)).map_or("", |day| WEEKDAYS[day])
    }

    fn month_name(self) -> &'static str {
        usize::try_from(self.month - 1).map_or("", |month| MONTHS[month])
    }
}

/// Every release of the file, the newest first.
///
/// # Errors
/// When the file cannot be read, an entry is not understood, or the newest one is not of the programs' own version.
pub fn releases() -> Result<Vec<Release>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(FILE);
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {FILE}: {error}"))?;
    let releases = parse(&text)?;
    match releases.first() {
        Some(newest) if newest.version == VERSION => Ok(releases),
        Some(newest) => {
            Err(format!("{FILE} begins with {}, but the programs are {VERSION}: describe that version", newest.version).into())
        }
        None => Err(format!("{FILE} names no version").into()),
    }
}

fn parse(text: &str) -> std::result::Result<Vec<Release>, String> {
    let mut releases: Vec<Release> = vec![];
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            let parts = title.split_once(" (").and_then(|(version, rest)| Some((version, Date::parse(rest.strip_suffix(')')?)?)));
            let (version, date) = parts.ok_or(format!("{FILE}: {title:?} is not VERSION (YYYY-MM-DD)"))?;
            releases.push(Release { version: version.to_owned(), date, changes: vec![] });
        } else if let (Some(change), Some(release)) = (line.strip_prefix("- "), releases.last_mut()) {
            release.changes.push(change.to_owned());
        } else if let (Some(more), Some(change)) =
            (line.strip_prefix("  "), releases.last_mut().and_then(|last| last.changes.last_mut()))
        {
            change.push(' ');
            change.push_str(more.trim());
        }
    }
    Ok(releases)
}

/// Seconds from 1970 to the newest release: `SOURCE_DATE_EPOCH` of <https://reproducible-builds.org/specs/source-date-epoch/>.
#[must_use]
pub fn epoch(releases: &[Release]) -> i64 {
    releases.first().map_or(0, |newest| newest.date.days() * SECONDS_A_DAY)
}

/// The day of the newest release, as `YYYY-MM-DD`.
#[must_use]
pub fn day(releases: &[Release]) -> String {
    releases.first().map_or_else(String::new, |newest| {
        let Date { year, month, day } = newest.date;
        format!("{year:04}-{month:02}-{day:02}")
    })
}

/// As deb-changelog(5) wants it.
#[must_use]
pub fn debian(releases: &[Release], maintainer: &str) -> String {
    let entry = |release: &Release| {
        let Date { year, day, .. } = release.date;
        let changes: Vec<_> = release.changes.iter().map(|change| wrapped(change, "  * ", "    ")).collect();
        format!(
            "xen-network ({}) unstable; urgency=medium\n\n{}\n -- {maintainer}  {}, {day:02} {} {year} 00:00:00 +0000\n",
            release.version,
            changes.concat(),
            release.date.weekday(),
            release.date.month_name()
        )
    };
    releases.iter().map(entry).collect::<Vec<_>>().join("\n")
}

/// As the `%changelog` of an RPM's specification wants it.
#[must_use]
pub fn rpm(releases: &[Release], maintainer: &str) -> String {
    let entry = |release: &Release| {
        let Date { year, day, .. } = release.date;
        let head = format!(
            "* {} {} {day:02} {year} {maintainer} - {}\n",
            release.date.weekday(),
            release.date.month_name(),
            release.version
        );
        // A per cent sign begins a macro.
        let changes: Vec<_> = release.changes.iter().map(|change| wrapped(&change.replace('%', "%%"), "- ", "  ")).collect();
        head + &changes.concat()
    };
    releases.iter().map(entry).collect::<Vec<_>>().join("\n")
}

/// `text` in lines of at most 78 letters, the first behind `first` and the others behind `others`.
fn wrapped(text: &str, first: &str, others: &str) -> String {
    let mut lines = vec![first.to_owned()];
    for (place, word) in text.split_whitespace().enumerate() {
        match lines.last_mut() {
            Some(line) if place == 0 => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= 78 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{others}{word}")),
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Changes\n\nWords.\n\n## 1.2.0 (2024-02-29)\n\n- One thing.\n- Another thing, which takes so many words that they do not\n  fit on one line of the changelog, 100%.\n\n## 1.1.0 (2000-01-01)\n\n- First.\n";

    #[test]
    fn the_packages_tell_the_same_as_the_file() {
        let releases = parse(TEXT).unwrap();
        assert_eq!(
            debian(&releases, "A B <a@b.c>"),
            "xen-network (1.2.0) unstable; urgency=medium\n\n  * One thing.\n  * Another thing, which takes so many words that they do not fit on one line\n    of the changelog, 100%.\n\n -- A B <a@b.c>  Thu, 29 Feb 2024 00:00:00 +0000\n\nxen-network (1.1.0) unstable; urgency=medium\n\n  * First.\n\n -- A B <a@b.c>  Sat, 01 Jan 2000 00:00:00 +0000\n"
        );
        assert!(rpm(&releases, "A B <a@b.c>").starts_with("* Thu Feb 29 2024 A B <a@b.c> - 1.2.0\n- One thing.\n"));
        assert!(rpm(&releases, "A B <a@b.c>").contains("100%%."));
        assert_eq!(epoch(&releases), 1_709_164_800);
        assert_eq!(day(&releases), "2024-02-29");
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (text, days) in [("1970-01-01", 0), ("1970-03-01", 59), ("2000-02-29", 11_016), ("2026-11-24", 20_781)] {
            assert_eq!(Date::parse(text).map(Date::days), Some(days), "{text}");
        }
        assert_eq!(Date::parse("2026-11-24").map(Date::weekday), Some("Tue"));
        for text in
            ["2023-02-29", "2024-13-01", "2024-00-01", "2024-01-00", "2024-12-32", "24-1-1", "2024-01", "x", "2024-01-01-01"]
        {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_entry_without_a_date_is_refused() {
        assert_eq!(parse("## 1.0.0\n").unwrap_err(), "packaging/CHANGELOG.md: \"1.0.0\" is not VERSION (YYYY-MM-DD)");
    }

    #[test]
    fn this_projects_own_file_is_understood() {
        let releases = releases().unwrap();
        assert!(releases.iter().all(|release| !release.changes.is_empty()));
    }
}
