//! `cargo xtask docs`: the generated pages, printed by the server from its own tables. Must never edit their
//! text.

use crate::{Outcome, process, workspace};
use std::path::{Path, PathBuf};
use std::process::Command;

pub fn run(arguments: &[String]) -> Outcome {
    let server = workspace::build_server(workspace::Profile::Quick)?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => write(&server),
        ["--check"] => check(&server),
        _ => Err("only --check is known".into()),
    }
}

/// Compares every page with what the server prints now.
pub fn check(server: &Path) -> Outcome {
    let mut stale = Vec::new();
    for page in PAGES {
        if std::fs::read(path(page)).unwrap_or_default() != print(server, page)? {
            stale.push(page.path);
        }
    }
    if stale.is_empty() {
        Ok(())
    } else {
        Err(format!("not current: {}; run `cargo xtask docs`", stale.join(", ")))
    }
}

fn write(server: &Path) -> Outcome {
    for page in PAGES {
        let text = print(server, page)?;
        std::fs::write(path(page), text).map_err(|error| format!("{}: {error}", page.path))?;
        println!("wrote {}", page.path);
    }
    Ok(())
}

fn path(page: &Page) -> PathBuf {
    workspace::root().join(page.path)
}

fn print(server: &Path, page: &Page) -> Result<Vec<u8>, String> {
    let text = process::output(Command::new(server).args(["--dump-docs", page.name])).unwrap_or_default();
    if text.is_empty() {
        Err(format!("the server prints no page for --dump-docs {}", page.name))
    } else {
        Ok(text)
    }
}

struct Page {
    name: &'static str,
    path: &'static str,
}

const PAGES: &[Page] = &[
    Page { name: "commands", path: "docs/commands.md" },
    Page { name: "config", path: "docs/config.md" },
    Page { name: "info", path: "docs/info.md" },
    Page { name: "conf", path: "onefold.conf" },
];
