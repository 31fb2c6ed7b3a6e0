//! The documentation that the command table carries: the argument trees of COMMAND DOCS and the page that
//! lists every command. Holds nothing about a single command; that stands in its row.

mod names;
pub mod syntax;

use crate::command::{Command, Group};
use crate::registry::{REGISTRY, Registered};

/// The page of the documentation that lists every command.
pub fn commands_page() -> String {
    let mut page = PAGE_HEADER.to_string();
    for group in Group::ALL {
        let mut members: Vec<_> = REGISTRY.all.iter().filter(|command| is_listed(command, group)).collect();
        members.sort_by_key(|command| &command.full_name);
        if !members.is_empty() {
            page += &format!("\n## {}\n", group.title());
        }
        members.into_iter().for_each(|command| page += &entry(command));
    }
    page
}

/// Every command, except those that only carry subcommands.
fn is_listed(command: &Registered, group: Group) -> bool {
    command.row.group == group && !command.row.is_container()
}

fn entry(command: &Registered) -> String {
    let row = command.row;
    let name = command.full_name.to_uppercase().replace('|', " ");
    let mut text = format!("\n### {name}\n\n```text\n{}\n```\n\n{}", usage(&name, row), row.summary);
    if let Some((since, instead)) = row.deprecated {
        text += &format!(" Deprecated since {since}; use {instead}.");
    }
    text += &format!("\n\nSince {}.", row.since);
    if !row.complexity.is_empty() {
        text += &format!(" Complexity: {}", full_stop(row.complexity));
    }
    text += "\n";
    if !row.history.is_empty() {
        text += "\n";
    }
    for (version, change) in row.history {
        text += &format!("- {version}: {}\n", full_stop(change));
    }
    text
}

fn usage(name: &str, row: &Command) -> String {
    if row.syntax.is_empty() { name.to_string() } else { format!("{name} {}", syntax::shown(row.syntax)) }
}

fn full_stop(text: &str) -> String {
    if text.ends_with('.') { text.to_string() } else { format!("{text}.") }
}

impl Group {
    pub const ALL: [Group; 17] = [
        Group::Generic,
        Group::String,
        Group::Hash,
        Group::List,
        Group::Set,
        Group::SortedSet,
        Group::Stream,
        Group::Bitmap,
        Group::HyperLogLog,
        Group::Geo,
        Group::PubSub,
        Group::Transactions,
        Group::Scripting,
        Group::Connection,
        Group::Server,
        Group::Cluster,
        Group::Sentinel,
    ];

    /// As COMMAND DOCS and `help @group` write it.
    pub fn name(self) -> &'static str {
        self.names().0
    }

    pub fn title(self) -> &'static str {
        self.names().1
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Group::Generic => ("generic", "Keys of any type"),
            Group::String => ("string", "Strings"),
            Group::List => ("list", "Lists"),
            Group::Set => ("set", "Sets"),
            Group::SortedSet => ("sorted-set", "Sorted sets"),
            Group::Hash => ("hash", "Hashes"),
            Group::PubSub => ("pubsub", "Publish and subscribe"),
            Group::Transactions => ("transactions", "Transactions"),
            Group::Connection => ("connection", "Connections"),
            Group::Server => ("server", "The server"),
            Group::Scripting => ("scripting", "Scripts"),
            Group::HyperLogLog => ("hyperloglog", "HyperLogLog"),
            Group::Cluster => ("cluster", "Cluster"),
            Group::Sentinel => ("sentinel", "Sentinel"),
            Group::Geo => ("geo", "Geography"),
            Group::Stream => ("stream", "Streams"),
            Group::Bitmap => ("bitmap", "Bitmaps"),
        }
    }
}

const PAGE_HEADER: &str = "\
# Commands

Every command, by family. `[x]` may be left out, `<a | b>` is one of them, `x [x ...]` is once or more often;
words in capitals are said as they stand. `since` is the version of Redis or Valkey that brought the command.

This page is made from the tables in `crates/engine/src/commands/`.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &str) {
        let page = commands_page();
        assert!(page.contains(expected), "{expected}\nis not in\n{page}");
    }

    #[test]
    fn the_page_lists_every_command() {
        check("\n## Strings\n\n### APPEND\n\n```text\nAPPEND key value\n```\n\nAdds bytes");
        check("```text\nINCRBYFLOAT key increment\n```");
        check("### CLIENT GETNAME\n\n```text\nCLIENT GETNAME\n```\n");
        check("Since 1.0.0. Complexity: O(1).\n\n- 2.6.12: Added the `EX`, `PX`, `NX` and `XX` options.\n");
        check(" Deprecated since 6.2.0; use `SET` with the `!GET` argument.\n");
        assert!(!commands_page().contains("### CLIENT\n"), "a container is no command");
        assert!(commands_page().is_ascii());
    }
}
