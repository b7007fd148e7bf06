//! Writes a linker script that puts the functions which a vif program runs beside each other: a page that is not needed is not mapped.
//! For `scripts/order-functions`, which builds the programs with their symbols before and runs this in namespaces.

use std::collections::BTreeSet;
use std::process::ExitCode;

use testbed::bench::process;
use testbed::bench::vif::{Bench, Make, Mode};
use testbed::guest::Hotplug;
use testbed::machine::Result;

fn main() -> ExitCode {
    match functions() {
        Ok(functions) => {
            print!("{}", script(&functions));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hot-functions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn functions() -> Result<BTreeSet<String>> {
    let mut functions = BTreeSet::new();
    for mode in [Mode::Bridge, Mode::Route, Mode::Nat] {
        let bench = Bench::new(Make::Ours, mode)?;
        let vif = bench.attach(0)?;
        for action in [Hotplug::Online, Hotplug::Offline] {
            functions.extend(process::functions(bench.dom0().machine(), &bench.call(&vif, action))?);
            bench.check(&vif, action)?;
        }
    }
    Ok(functions)
}

fn script(functions: &BTreeSet<String>) -> String {
    // valgrind has names of its own where there is no symbol: "(below main)".
    let symbols = functions.iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_$.".contains(&byte)));
    let patterns: BTreeSet<String> = symbols.map(|symbol| pattern(symbol)).collect();
    let lines: String = patterns.iter().map(|pattern| format!("    *(.text.{pattern})\n")).collect();
    format!(
        "/* What runs while a vif comes or goes, so that its code is in as few pages as possible (crates/hotplug/decisions/0020).\n   \
         Written by scripts/order-functions. A name that is not there any more does no harm. */\nSECTIONS {{\n  .text.often : {{\n{lines}  \
         }}\n}}\nINSERT BEFORE .text;\n"
    )
}

/// A symbol without what another compiler or another version of a crate changes in it: the hash at the end of a name, and in names of the
/// newer kind (RFC 2603) the one behind `Cs`; and the number that LLVM gives the second of two with one name.
fn pattern(symbol: &str) -> String {
    if let Some((name, number)) = symbol.rsplit_once('.')
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        return pattern(name) + ".*";
    }
    if let Some((name, _)) = symbol.rsplit_once("17h").filter(|(name, hash)| name.starts_with("_ZN") && hash.len() == 17) {
        return format!("{name}17h*");
    }
    if !symbol.starts_with("_R") {
        return symbol.to_owned();
    }
    let mut pattern = String::new();
    let mut rest = symbol;
    while let Some((before, behind)) = rest.split_once("Cs") {
        pattern += before;
        match behind
            .split_once('_')
            .filter(|(hash, _)| (5..=12).contains(&hash.len()) && hash.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        {
            Some((_, behind)) => {
                pattern += "Cs*_";
                rest = behind;
            }
            None => {
                pattern += "Cs";
                rest = behind;
            }
        }
    }
    pattern + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_left_out() {
        assert_eq!(pattern("_ZN7hotplug4pass3vif4pass17hd04735fa17d4ca67E"), "_ZN7hotplug4pass3vif4pass17h*");
        assert_eq!(
            pattern("_RNvNtNtCs7BliBxkEZsN_4core5slice6memchr14memchr_aligned"),
            "_RNvNtNtCs*_4core5slice6memchr14memchr_aligned"
        );
        assert_eq!(pattern("memcpy"), "memcpy");
        assert_eq!(pattern("_RNvC4mainCs"), "_RNvC4mainCs");
        assert_eq!(pattern("_RNvMs5_NtNtCs7BliBxkEZsN_3std2io5error4kind.772"), "_RNvMs5_NtNtCs*_3std2io5error4kind.*");
    }

    #[test]
    fn only_symbols_are_told_the_linker() {
        let names = ["memcpy", "(below main)", "0x4a_", "a b"].map(str::to_owned);
        let script = script(&BTreeSet::from(names));
        assert!(script.contains("*(.text.memcpy)") && !script.contains("below") && !script.contains("a b"), "{script}");
    }
}
