//! `cargo xtask tidy`: the project's own rules, over every file that git tracks. Must never change a file.

use crate::lengths::Lengths;
use crate::source::{Source, find_words};
use crate::tree::File;
use crate::{Outcome, docs, layers, rules, tree, workspace};
use std::collections::BTreeSet;

pub fn run(_: &[String]) -> Outcome {
    check_files()?;
    docs::run(&["--check".to_string()])
}

/// All but the generated pages, which need a server.
pub fn check_files() -> Outcome {
    let complaints = complaints(&tree::files());
    complaints.iter().for_each(|complaint| println!("{complaint}"));
    if complaints.is_empty() { Ok(()) } else { Err(format!("{} complaints", complaints.len())) }
}

fn complaints(files: &[File]) -> Vec<String> {
    let (mut lengths, mut unsafe_files) = (Lengths::default(), BTreeSet::new());
    let mut found: Vec<String> = files.iter().flat_map(rules::check_text).collect();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let source = Source::new(&file.path, file.text.clone());
        found.extend(rules::check_rust(file, &source));
        lengths.measure(file, &source);
        if !find_words(&source.code, "unsafe").is_empty() {
            unsafe_files.insert(file.path.as_str());
        }
    }
    lengths.print();
    found.extend(layers::check(files));
    found.extend(check_unsafe(&unsafe_files, &list("xtask/unsafe_files.txt")));
    found.extend(lengths.check(&list("xtask/long_functions.txt")));
    found
}

fn list(path: &str) -> String {
    std::fs::read_to_string(workspace::root().join(path)).unwrap_or_default()
}

/// Complaints where the files with unsafe code and their list differ.
fn check_unsafe(files: &BTreeSet<&str>, list: &str) -> Vec<String> {
    let entries = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entries: Vec<(&str, &str)> =
        entries.map(|line| line.split_once("  # ").unwrap_or((line, ""))).collect();
    let listed: BTreeSet<&str> = entries.iter().map(|(path, _)| path.trim()).collect();
    let unlisted =
        files.difference(&listed).map(|path| format!("{path}: unsafe, but not in xtask/unsafe_files.txt"));
    let needless =
        listed.difference(files).map(|path| format!("xtask/unsafe_files.txt: {path} has no unsafe code"));
    let unexplained = entries.iter().filter(|(_, reason)| reason.trim().is_empty());
    let unexplained = unexplained.map(|(path, _)| format!("xtask/unsafe_files.txt: {path} has no reason"));
    unlisted.chain(needless).chain(unexplained).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[&str], list: &str, complaints: usize) {
        let found = check_unsafe(&files.iter().copied().collect(), list);
        assert_eq!(found.len(), complaints, "{files:?}, {list}: {found:?}");
    }

    #[test]
    fn unsafe_files_are_listed() {
        check(&["a.rs"], "# head\na.rs  # the table\n", 0);
        check(&["a.rs"], "", 1);
        check(&["a.rs"], "a.rs\n", 1);
        check(&[], "a.rs  # the table\n", 1);
    }
}
