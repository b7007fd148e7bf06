//! The licence check: what the programs are built from may be used under the programs' own terms. Works offline.

use std::collections::BTreeMap;

use spdx::{Expression, ParseMode};

use crate::Result;
use crate::metadata::{self, Package};

/// Licences that ask for no more than their text and the authors' names to be kept. No copyleft, so that the programs stay
/// `MIT OR Apache-2.0` as a whole.
const ALLOWED: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    // That of LLVM's libFuzzer, which is in no program: the terms of MIT and of BSD-3-Clause.
    "NCSA",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Checks every crate of the dependency tree, those for tests included, and gives a summary.
///
/// # Errors
/// Names the crates whose licence is not allowed, or is missing.
pub fn check() -> Result<String> {
    Ok(judge(&metadata::read()?.packages)?)
}

fn judge(packages: &[Package]) -> std::result::Result<String, String> {
    let mut refused = vec![];
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for package in packages {
        let licence = package.license.as_deref().unwrap_or("none given");
        if is_allowed(licence) {
            *counts.entry(licence).or_default() += 1;
        } else {
            refused.push(format!("{} {}: {licence}", package.name, package.version));
        }
    }
    if !refused.is_empty() {
        return Err(format!("licences that are not allowed:\n  {}", refused.join("\n  ")));
    }
    let lines: Vec<_> = counts.iter().map(|(licence, count)| format!("{count:5}  {licence}")).collect();
    Ok(format!("{}\n{:5}  crates, all with an allowed licence", lines.join("\n"), packages.len()))
}

/// Whether an SPDX expression leaves a choice that is allowed. Old crates write `/` for `OR`.
fn is_allowed(licence: &str) -> bool {
    Expression::parse_mode(licence, ParseMode::LAX).is_ok_and(|expression| {
        // An exception or addition would have to be read first.
        expression.evaluate(|requirement| {
            requirement.addition.is_none() && requirement.license.id().is_some_and(|id| ALLOWED.contains(&id.name))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_enough_and_a_demand_is_not() {
        for allowed in ["MIT", "MIT OR Apache-2.0", "MIT/Apache-2.0", "GPL-3.0-only OR MIT", "(MIT OR Apache-2.0) AND Unicode-3.0"]
        {
            assert!(is_allowed(allowed), "{allowed}");
        }
        for refused in
            ["GPL-3.0-only", "MIT AND GPL-2.0-or-later", "LGPL-2.1-only", "MPL-2.0", "AGPL-3.0", "none given", "", "MIT OR"]
        {
            assert!(!is_allowed(refused), "{refused}");
        }
    }

    #[test]
    fn the_crate_at_fault_is_named() {
        let package = |name: &str, license: Option<&str>| Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
            source: None,
            manifest_path: "Cargo.toml".into(),
        };
        let error =
            judge(&[package("good", Some("MIT")), package("bad", Some("GPL-3.0-only")), package("bare", None)]).unwrap_err();
        assert_eq!(error, "licences that are not allowed:\n  bad 1.0.0: GPL-3.0-only\n  bare 1.0.0: none given");
        assert!(judge(&[package("good", Some("MIT"))]).unwrap().ends_with("1  crates, all with an allowed licence"));
    }

    #[test]
    fn this_projects_own_tree_passes() {
        let summary = check().unwrap();
        assert!(summary.contains("crates, all with an allowed licence"), "{summary}");
    }
}
