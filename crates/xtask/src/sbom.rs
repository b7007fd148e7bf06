//! The bill of materials: every crate that the programs are made of, as CycloneDX 1.5 JSON (<https://cyclonedx.org/docs/1.5/json/>).
//!
//! Nothing in it depends on the time or the folder of the build, so that two builds give the same file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use hotplug::program::VERSION;
use serde_json::{Value, json};

use crate::metadata::{self, Metadata, PROGRAMS, Package};
use crate::{Result, changelog};

/// What the programs together are called.
const NAME: &str = "xen-network";

/// The document.
///
/// # Errors
/// When the dependency tree or `Cargo.lock` cannot be read.
pub fn text() -> Result<String> {
    let metadata = metadata::read()?;
    let lock = fs::read_to_string(metadata.workspace_root.join("Cargo.lock"))
        .map_err(|error| format!("cannot read Cargo.lock: {error}"))?;
    let document = document(&metadata, &checksums(&lock), &changelog::day(&changelog::releases()?))?;
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn document(metadata: &Metadata, checksums: &BTreeMap<(String, String), String>, day: &str) -> std::result::Result<Value, String> {
    let parts = metadata.parts_of_programs()?;
    let root = parts.iter().find(|package| package.name == PROGRAMS).ok_or("the programs are no part of themselves")?;
    let references: BTreeMap<&str, String> = parts.iter().map(|package| (package.id.as_str(), reference(package))).collect();
    let dependencies: Vec<Value> = parts
        .iter()
        .map(|package| {
            let needs: BTreeSet<&String> = metadata.needs(&package.id).filter_map(|id| references.get(id)).collect();
            json!({ "ref": reference(package), "dependsOn": needs })
        })
        .collect();
    let components: Vec<Value> =
        parts.iter().filter(|package| package.name != PROGRAMS).map(|package| component(package, checksums)).collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": format!("{day}T00:00:00Z"),
            "component": {
                "type": "application",
                "bom-ref": reference(root),
                "name": NAME,
                "version": VERSION,
                "licenses": licences(root),
            },
        },
        "components": components,
        "dependencies": dependencies,
    }))
}

/// A package URL, <https://github.com/package-url/purl-spec>, also for crates of this tree, which are in no registry.
fn reference(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

fn component(package: &Package, checksums: &BTreeMap<(String, String), String>) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": reference(package),
        "name": package.name,
        "version": package.version,
        "licenses": licences(package),
    });
    if package.source.is_some() {
        component["purl"] = json!(reference(package));
    }
    if let Some(checksum) = checksums.get(&(package.name.clone(), package.version.clone())) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

fn licences(package: &Package) -> Value {
    match licence(package) {
        Some(licence) => json!([{ "expression": licence }]),
        None => json!([]),
    }
}

/// The licence as SPDX writes it today.
pub(crate) fn licence(package: &Package) -> Option<String> {
    package.license.as_ref().map(|licence| licence.replace('/', " OR "))
}

/// The checksums of `Cargo.lock`, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let value = |block: &str, key: &str| {
        block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"')).map(str::to_owned)
    };
    lock.split("[[package]]")
        .filter_map(|block| Some(((value(block, "name")?, value(block, "version")?), value(block, "checksum")?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Value {
        serde_json::from_str(&text().unwrap()).unwrap()
    }

    fn names(document: &Value) -> Vec<&str> {
        document["components"].as_array().unwrap().iter().map(|component| component["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn what_the_programs_need_is_listed_and_what_tests_need_is_not() {
        let document = own();
        let names = names(&document);
        for name in ["xenstore", "nftables", "rtnetlink", "clap", "serde_derive"] {
            assert!(names.contains(&name), "{name} is missing in {names:?}");
        }
        for name in ["testbed", "tempfile", "roff", "spdx", "proptest", "hotplug", "anstream", "clap_derive"] {
            assert!(!names.contains(&name), "{name} is in {names:?}");
        }
    }

    #[test]
    fn every_crate_of_a_registry_has_its_hash_and_licence() {
        let document = own();
        for component in document["components"].as_array().unwrap() {
            assert!(component["licenses"][0]["expression"].is_string(), "{component}");
            let own_crate = component["purl"].is_null();
            assert_eq!(own_crate, component["hashes"].is_null(), "{component}");
            assert!(own_crate || component["hashes"][0]["content"].as_str().unwrap().len() == 64, "{component}");
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = own();
        let components = document["components"].as_array().unwrap().iter().chain([&document["metadata"]["component"]]);
        let known: BTreeSet<&str> = components.map(|component| component["bom-ref"].as_str().unwrap()).collect();
        let dependencies = document["dependencies"].as_array().unwrap();
        assert_eq!(dependencies.len(), known.len());
        for dependency in dependencies {
            let needs = dependency["dependsOn"].as_array().unwrap();
            assert!(
                needs.iter().chain([&dependency["ref"]]).all(|reference| known.contains(reference.as_str().unwrap())),
                "{dependency}"
            );
        }
    }

    #[test]
    fn checksums_belong_to_a_name_and_a_version() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"aa\"\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n";
        assert_eq!(checksums(lock), BTreeMap::from([(("a".to_owned(), "1.0.0".to_owned()), "aa".to_owned())]));
    }
}
