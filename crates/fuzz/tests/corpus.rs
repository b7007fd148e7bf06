//! What is in the corpus does no harm: good input, bad input, and all that was found at fault once.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fuzz::TARGETS;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_input_is_read_without_a_fault() {
    for target in TARGETS {
        let folder = corpus().join(target.name);
        let inputs = names(&folder);
        assert!(inputs.len() >= 5, "{} has only {} inputs", target.name, inputs.len());
        for name in inputs {
            // A test that fails shows what was printed last.
            println!("{}/{name}", target.name);
            (target.read)(&fs::read(folder.join(name)).unwrap());
        }
    }
}

#[test]
fn every_folder_has_its_target() {
    let targets = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(names(&corpus()), targets);
}
