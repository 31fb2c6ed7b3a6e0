//! Function and file lengths: the statistics, and the list of long functions that may only shrink.
//! Must never add to that list by itself.

use crate::source::Source;
use crate::tree::{File, crate_of};
use std::collections::{BTreeMap, BTreeSet};

/// Lengths in lines, by crate; tests are left out.
#[derive(Default)]
pub struct Lengths {
    crates: BTreeMap<String, CrateLengths>,
    long: BTreeMap<String, usize>,
}

#[derive(Default)]
struct CrateLengths {
    functions: Vec<usize>,
    files: Vec<usize>,
}

impl Lengths {
    pub fn measure(&mut self, file: &File, source: &Source) {
        let entry = self.crates.entry(crate_of(&file.path).to_string()).or_default();
        let line_count = source.text.lines().count();
        entry.files.push((0..line_count).filter(|&line| !source.in_test(line)).count());
        for function in source.functions().iter().filter(|function| !source.in_test(function.line)) {
            entry.functions.push(function.line_count);
            if function.line_count > FUNCTION_LINES {
                self.long.insert(format!("{}::{}", file.path, function.name), function.line_count);
            }
        }
    }

    /// Complaints where the functions over the limit and their list differ.
    pub fn check(&self, list: &str) -> Vec<String> {
        let listed = parse(list);
        let names: BTreeSet<&String> = self.long.keys().chain(listed.keys()).collect();
        let judged = names.into_iter().filter_map(|name| judge(name, self.long.get(name), listed.get(name)));
        judged.collect()
    }

    pub fn print(&self) {
        println!(
            "{:<10} {:>9} {:>7} {:>5} {:>5} {:>5}   {:>5} {:>7} {:>5}",
            "crate", "functions", "median", "p90", "p99", "max", "files", "median", "max"
        );
        let all = self.crates.values().flat_map(|lengths| lengths.functions.iter().copied()).collect();
        let files = self.crates.values().flat_map(|lengths| lengths.files.iter().copied()).collect();
        for (name, lengths) in &self.crates {
            print_row(if name.is_empty() { "tests" } else { name }, &lengths.functions, &lengths.files);
        }
        print_row("all", &all, &files);
    }
}

fn judge(name: &str, measured: Option<&usize>, listed: Option<&usize>) -> Option<String> {
    match (measured, listed) {
        (Some(lines), None) => {
            Some(format!("{name}: {lines} lines; split it, {FUNCTION_LINES} is the limit"))
        }
        (None, Some(_)) => Some(format!("{name}: no longer long; remove it from xtask/long_functions.txt")),
        (Some(lines), Some(most)) if lines > most => {
            Some(format!("{name}: grew from {most} to {lines} lines; split it"))
        }
        (Some(lines), Some(most)) if lines < most => {
            Some(format!("{name}: write {lines} for {most} in xtask/long_functions.txt; it may only shrink"))
        }
        _ => None,
    }
}

/// Lines of `path::function lines`; the rest of a line after # is the reason.
fn parse(list: &str) -> BTreeMap<String, usize> {
    let entries = list.lines().map(|line| line.split('#').next().unwrap_or("").trim());
    entries
        .filter_map(|entry| entry.rsplit_once(' '))
        .map(|(name, lines)| (name.into(), lines.parse().unwrap_or(0)))
        .collect()
}

fn print_row(name: &str, functions: &Vec<usize>, files: &Vec<usize>) {
    let at = |values: &Vec<usize>, percent| percentile(values, percent);
    println!(
        "{name:<10} {:>9} {:>7} {:>5} {:>5} {:>5}   {:>5} {:>7} {:>5}",
        functions.len(),
        at(functions, 50),
        at(functions, 90),
        at(functions, 99),
        at(functions, 100),
        files.len(),
        at(files, 50),
        at(files, 100)
    );
}

fn percentile(values: &[usize], percent: usize) -> usize {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

const FUNCTION_LINES: usize = 70;

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(lines: usize) -> Lengths {
        let text = format!("fn a() {{\n{}}}\n", "x;\n".repeat(lines - 2));
        let file = File { path: "crates/ds/src/a.rs".into(), text: text.clone() };
        let mut lengths = Lengths::default();
        lengths.measure(&file, &Source::new(&file.path, text));
        lengths
    }

    fn check(lines: usize, list: &str, complaints: usize) {
        let found = measured(lines).check(list);
        assert_eq!(found.len(), complaints, "{lines} lines, {list}: {found:?}");
    }

    #[test]
    fn the_list_only_shrinks() {
        check(70, "", 0);
        check(71, "", 1);
        check(71, "crates/ds/src/a.rs::a 71 # one table\n", 0);
        check(72, "crates/ds/src/a.rs::a 71", 1);
        check(71, "crates/ds/src/a.rs::a 80", 1);
        check(70, "crates/ds/src/a.rs::a 71", 1);
    }

    #[test]
    fn percentiles() {
        let values: Vec<usize> = (1..=100).rev().collect();
        let found: Vec<usize> = [50, 90, 99, 100].map(|percent| percentile(&values, percent)).to_vec();
        assert_eq!(found, [50, 90, 99, 100]);
        assert_eq!(percentile(&[], 50), 0);
    }
}
