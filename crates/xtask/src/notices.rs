//! The licences of the crates that the programs are made of, with their authors' names: what those licences ask to be passed on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::metadata::{self, Package};
use crate::{Result, sbom};

/// How files with a licence or its notices are called.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// Every text once, below the crates that it is for.
///
/// # Errors
/// When the dependency tree or a crate cannot be read.
pub fn text() -> Result<String> {
    let metadata = metadata::read()?;
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut list = String::new();
    for package in metadata.parts_of_programs()?.into_iter().filter(|package| package.source.is_some()) {
        let name = format!("{} {}", package.name, package.version);
        list += &format!("{name}: {}\n", sbom::licence(package).unwrap_or_default());
        for text in texts_of(package)? {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    let mut blocks: Vec<_> = texts.into_iter().map(|(text, names)| (names.join(", "), text)).collect();
    blocks.sort();
    let blocks: String = blocks.into_iter().map(|(names, text)| format!("\n\n==== {names}\n\n{text}")).collect();
    Ok(format!("The programs are made of these crates of others:\n\n{list}{blocks}"))
}

fn texts_of(package: &Package) -> Result<Vec<String>> {
    let folder = package.manifest_path.parent().unwrap_or(Path::new("."));
    let failed = |error| format!("cannot read {}: {error}", folder.display());
    let mut paths = vec![];
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_uppercase();
        if NAMES.iter().any(|known| name.starts_with(known)) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths
        .into_iter()
        .map(|path| fs::read_to_string(path).map(|text| text.replace('\r', "").trim().to_owned() + "\n"))
        .collect::<std::io::Result<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_is_listed_with_its_licence_and_its_text() {
        let text = text().unwrap();
        for name in ["clap", "rtnetlink", "serde", "tokio"] {
            assert!(
                text.lines().any(|line| line.starts_with(&format!("{name} ")) && line.contains(": ") && line.contains("MIT")),
                "{name}"
            );
            assert!(text.lines().any(|line| line.starts_with("==== ") && line.contains(&format!("{name} "))), "{name}");
        }
        assert!(text.contains("Permission is hereby granted"));
        assert!(!text.contains("proptest"), "what only tests need is no part of the programs");
    }
}
