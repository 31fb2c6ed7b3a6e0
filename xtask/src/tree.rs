//! The files that belong to the project. Must never look into what git ignores.

use crate::{process, workspace};
use std::path::Path;
use std::process::Command;

/// One text file: its path from the root, and its text.
pub struct File {
    pub path: String,
    pub text: String,
}

/// Every text file that is tracked or could be; sorted by path.
pub fn files() -> Vec<File> {
    let mut paths = listed_by_git().unwrap_or_else(|| walk(&workspace::root()));
    paths.sort();
    paths.dedup();
    paths.into_iter().filter_map(read).collect()
}

/// The crate a path belongs to, or an empty name.
pub fn crate_of(path: &str) -> &str {
    let mut parts = path.split('/');
    match parts.next() {
        Some("crates") => parts.next().unwrap_or(""),
        Some(name @ ("testkit" | "xtask" | "fuzz")) => name,
        _ => "",
    }
}

fn read(path: String) -> Option<File> {
    let bytes = std::fs::read(workspace::root().join(&path)).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then_some(File { path, text })
}

fn listed_by_git() -> Option<Vec<String>> {
    let words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listing = process::output(Command::new("git").args(words).current_dir(workspace::root()))?;
    let names = listing.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    Some(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

/// For a copy of the project that is no git checkout.
fn walk(root: &Path) -> Vec<String> {
    let (mut folders, mut found) = (vec![root.to_path_buf()], Vec::new());
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
        for path in entries.map(|entry| entry.path()) {
            if path.is_symlink() || is_ignored(&path) {
                continue;
            } else if path.is_dir() {
                folders.push(path);
            } else if let Ok(name) = path.strip_prefix(root) {
                found.push(name.to_string_lossy().into_owned());
            }
        }
    }
    found
}

fn is_ignored(path: &Path) -> bool {
    matches!(
        path.file_name().and_then(|name| name.to_str()),
        Some(".git" | "target" | ".clients" | "corpus" | "artifacts")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_named() {
        for (path, name) in [
            ("crates/base/src/lib.rs", "base"),
            ("xtask/src/main.rs", "xtask"),
            ("tests/a.rs", ""),
            ("README.md", ""),
        ] {
            assert_eq!(crate_of(path), name, "{path}");
        }
    }
}
