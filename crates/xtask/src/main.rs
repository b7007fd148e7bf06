//! What is made besides the programs: man pages and shell completions from their table, the packages' changelogs and the bill of
//! materials. And the check of licences.

mod changelog;
mod completions;
mod licences;
mod man;
mod metadata;
mod notices;
mod sbom;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo run -p xtask -- man FOLDER          write the man pages
       cargo run -p xtask -- completions FOLDER  write completions for bash, zsh and fish
       cargo run -p xtask -- licences            check the licences of all crates, offline
       cargo run -p xtask -- sbom                print what the programs are made of, as CycloneDX JSON
       cargo run -p xtask -- notices             print the licences of all crates in the programs, as these ask for
       cargo run -p xtask -- changelog debian MAINTAINER
       cargo run -p xtask -- changelog rpm MAINTAINER   print packaging/CHANGELOG.md as packages want it
       cargo run -p xtask -- changelog epoch     print the time of the release, in seconds since 1970";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["man", folder] => write_all(Path::new(folder), man::pages()),
        ["completions", folder] => write_all(Path::new(folder), completions::files()),
        ["licences"] => licences::check().map(|summary| println!("{summary}")),
        ["sbom"] => sbom::text().map(|text| print!("{text}")),
        ["notices"] => notices::text().map(|text| print!("{text}")),
        ["changelog", "debian", maintainer] => changelog::releases().map(|all| print!("{}", changelog::debian(&all, maintainer))),
        ["changelog", "rpm", maintainer] => changelog::releases().map(|all| print!("{}", changelog::rpm(&all, maintainer))),
        ["changelog", "epoch"] => changelog::releases().map(|all| println!("{}", changelog::epoch(&all))),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes files, each a path below `folder` and its text.
fn write_all(folder: &Path, files: Vec<(String, String)>) -> Result<()> {
    for (name, text) in files {
        let path = folder.join(name);
        let failed = |error| format!("cannot write {}: {error}", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        fs::write(&path, text).map_err(failed)?;
        println!("{}", path.display());
    }
    Ok(())
}
