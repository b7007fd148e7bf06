//! What `cargo metadata` says of the dependency tree, as far as it is needed here. Works offline.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::Result;

/// The crate of the programs.
pub const PROGRAMS: &str = "hotplug";

/// The dependency tree.
#[derive(Deserialize)]
pub struct Metadata {
    /// Every crate, those for tests included.
    pub packages: Vec<Package>,
    /// Who needs whom.
    pub resolve: Resolve,
    /// The top of the tree.
    pub workspace_root: PathBuf,
    /// Name and version of each crate that is compiled when the programs are, and nothing else is.
    #[serde(skip)]
    compiled: BTreeSet<(String, String)>,
}

/// A crate.
#[derive(Deserialize)]
pub struct Package {
    /// What [`Node`]s call it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// An SPDX expression, in old crates with `/` for `OR`.
    pub license: Option<String>,
    /// The registry it comes from; none for those of this tree.
    pub source: Option<String>,
    /// Its `Cargo.toml`.
    pub manifest_path: PathBuf,
}

/// Who needs whom.
#[derive(Deserialize)]
pub struct Resolve {
    /// One for each crate.
    pub nodes: Vec<Node>,
}

/// What one crate needs.
#[derive(Deserialize)]
pub struct Node {
    /// The crate.
    pub id: String,
    /// Those it needs.
    pub deps: Vec<Dependency>,
}

/// A crate that another one needs.
#[derive(Deserialize)]
pub struct Dependency {
    /// The crate that is needed.
    pub pkg: String,
    /// What for.
    pub dep_kinds: Vec<DependencyKind>,
}

/// What a crate is needed for.
#[derive(Deserialize)]
pub struct DependencyKind {
    /// `dev` or `build`; none for the program itself.
    pub kind: Option<String>,
}

impl Metadata {
    /// Everything that is needed to build the programs, their own crate included, but not what only tests need, or a feature that only
    /// another crate of this tree asks for; by name and version.
    ///
    /// # Errors
    /// When the crate of the programs is not in the tree.
    pub fn parts_of_programs(&self) -> std::result::Result<Vec<&Package>, String> {
        let root = self
            .packages
            .iter()
            .find(|package| package.name == PROGRAMS)
            .ok_or(format!("there is no crate {PROGRAMS} in the tree"))?;
        let mut seen = BTreeSet::new();
        let mut open = vec![root.id.as_str()];
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                open.extend(self.needs(id));
            }
        }
        let compiled = |package: &Package| self.compiled.contains(&(package.name.clone(), package.version.clone()));
        let wanted = |package: &&Package| seen.contains(package.id.as_str()) && compiled(package);
        let mut parts: Vec<_> = self.packages.iter().filter(wanted).collect();
        parts.sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
        Ok(parts)
    }

    /// The crates that the crate `id` needs for itself.
    pub fn needs(&self, id: &str) -> impl Iterator<Item = &str> {
        let node = self.resolve.nodes.iter().find(|node| node.id == id);
        let all = node.into_iter().flat_map(|node| &node.deps);
        let for_programs = all.filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev")));
        for_programs.map(|dependency| dependency.pkg.as_str())
    }
}

/// The tree as it is for this machine: what is only built elsewhere is not part of the programs, and not on this machine either.
///
/// # Errors
/// When cargo fails, or says something unexpected.
pub fn read() -> Result<Metadata> {
    let host = host()?;
    let words = ["metadata", "--format-version", "1", "--filter-platform", &host];
    let mut metadata: Metadata = serde_json::from_slice(&cargo(&words)?)?;
    // The features in what `cargo metadata` says are those that the whole tree asks for.
    let words =
        ["tree", "--package", PROGRAMS, "--edges", "normal,build", "--target", &host, "--prefix", "none", "--format", "{p}"];
    metadata.compiled = compiled(&String::from_utf8(cargo(&words)?)?);
    Ok(metadata)
}

/// What cargo prints for these words.
fn cargo(words: &[&str]) -> Result<Vec<u8>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(words).args(["--offline", "--locked"]).output()?;
    if !output.status.success() {
        return Err(format!("cargo {} failed: {}", words[0], String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(output.stdout)
}

/// The crates in a list of lines like "syn v3.0.6 (proc-macro)".
fn compiled(tree: &str) -> BTreeSet<(String, String)> {
    let words = tree.lines().map(|line| line.split_ascii_whitespace());
    let named = words.filter_map(|mut words| Some((words.next()?, words.next()?.strip_prefix('v')?)));
    named.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
}

/// The machine that rustc builds for.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc -vV names no host")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_tree_are_names_and_versions() {
        let tree = "hotplug v0.1.0 (/work/crates/hotplug)\nsyn v3.0.6 (proc-macro) (*)\n\nlog v0.4.29\n";
        let named = [("hotplug", "0.1.0"), ("log", "0.4.29"), ("syn", "3.0.6")];
        assert_eq!(compiled(tree), named.map(|(name, version)| (name.to_owned(), version.to_owned())).into());
    }
}
