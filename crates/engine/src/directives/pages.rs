//! Texts for people made from the rows: the shipped configuration file and the page of the documentation.
//! Holds nothing about a single directive; that stands in its row.

use crate::config_file::{STATEMENTS, Statement};

use super::{Change, DIRECTIVES, Directive, Section, Shape, Status};

/// The configuration file that is shipped: every directive explained, with its default.
pub fn shipped_conf() -> String {
    let mut text = HEADER.to_string();
    for section in Section::ALL {
        text += &banner(section);
        for row in in_section(section).filter(|row| !row.hidden) {
            text += &entry(row);
        }
    }
    text
}

/// The page of the documentation that lists every directive.
pub fn reference_page() -> String {
    let mut text = PAGE_HEADER.to_string();
    for section in Section::ALL {
        text += &format!("\n## {}\n", section.title());
        for row in in_section(section) {
            text += &page_entry(row);
        }
    }
    text += STATEMENTS_HEADER;
    for Statement { name, doc, .. } in STATEMENTS {
        text += &format!("\n### {name}\n\n{doc}\n");
    }
    text
}

fn in_section(section: Section) -> impl Iterator<Item = &'static Directive> {
    DIRECTIVES.iter().filter(move |row| row.section == section)
}

fn banner(section: Section) -> String {
    let title = section.title().to_uppercase();
    format!("\n{:#^78}\n", format!(" {title} "))
}

fn entry(row: &Directive) -> String {
    let mut text = String::from("\n");
    for line in wrap(row.doc, 76) {
        text += &format!("# {line}\n");
    }
    if let Some(note) = note(row) {
        text += &wrap(&note, 76).iter().map(|line| format!("# {line}\n")).collect::<String>();
    }
    text + &default_lines(row)
}

fn default_lines(row: &Directive) -> String {
    let value = row.default_value();
    let set = !row.shape.print(&value).is_empty();
    let comment = if row.status == Status::Served && set { "" } else { "# " };
    match row.shape {
        Shape::Optional(_) | Shape::ReplicaOf if !set => format!("# {} ...\n", row.name),
        shape => {
            shape.file_lines(&value).iter().map(|line| format!("{comment}{} {line}\n", row.name)).collect()
        }
    }
}

fn note(row: &Directive) -> Option<String> {
    match row.status {
        Status::Served => None,
        Status::Harmless(why) => Some(format!("(Accepted without effect: {why}.)")),
        Status::Later(what) => Some(format!("(Only the default is accepted: {what}.)")),
    }
}

fn page_entry(row: &Directive) -> String {
    let default = row.shape.shown(&row.default_value());
    let default = if default.is_empty() { "empty".to_string() } else { format!("`{default}`") };
    let change = match row.change {
        Change::Live => "Can be set at run time.",
        Change::Fixed => "Can be set at the start only.",
        Change::Protected => "Can be set at run time where `enable-protected-configs` allows it.",
    };
    let mut text = format!("\n### {}\n\n{}\n\n", row.name, row.doc);
    text += &format!("Default: {default}. Takes {}. {change}", row.shape.accepts());
    if !row.aliases.is_empty() {
        text += &format!(" Also called `{}`.", row.aliases.join("`, `"));
    }
    if row.hidden {
        text += " Hidden: CONFIG GET lists it only by its full name.";
    }
    if let Some(note) = note(row) {
        text += &format!(" {}", note.trim_matches(['(', ')']));
    }
    text + "\n"
}

/// Breaks a text at spaces into lines of at most `width` bytes.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a first line");
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(word.to_string());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}

impl Section {
    pub const ALL: [Section; 20] = [
        Section::Network,
        Section::Tls,
        Section::General,
        Section::Snapshotting,
        Section::Replication,
        Section::Security,
        Section::Clients,
        Section::Memory,
        Section::LazyFreeing,
        Section::Threads,
        Section::Kernel,
        Section::AppendOnly,
        Section::Shutdown,
        Section::Scripting,
        Section::Cluster,
        Section::Latency,
        Section::Events,
        Section::Encodings,
        Section::Defragmentation,
        Section::Debugging,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Section::Network => "Network",
            Section::Tls => "TLS",
            Section::General => "General",
            Section::Snapshotting => "Snapshotting",
            Section::Replication => "Replication",
            Section::Security => "Security",
            Section::Clients => "Clients",
            Section::Memory => "Memory",
            Section::LazyFreeing => "Lazy freeing",
            Section::Threads => "Threads",
            Section::Kernel => "Kernel",
            Section::AppendOnly => "Append-only file",
            Section::Shutdown => "Shutdown",
            Section::Scripting => "Scripting",
            Section::Cluster => "Cluster",
            Section::Latency => "Latency and periodic work",
            Section::Events => "Keyspace events",
            Section::Encodings => "Encodings",
            Section::Defragmentation => "Defragmentation",
            Section::Debugging => "Debugging",
        }
    }
}

const HEADER: &str = "\
# Onefold's configuration. Start the server with this file as its first
# argument:
#
#   onefold-server /path/to/onefold.conf
#
# Each line is a directive and its arguments; an argument with spaces stands
# in quotes. The last line about a directive counts. The command line comes
# after the file: onefold-server onefold.conf --port 6380
#
# Amounts of memory can have a unit, in any case:
#
#   1k  is 1000 bytes         1kb is 1024 bytes
#   1m  is 1000000 bytes      1mb is 1024*1024 bytes
#   1g  is 1000000000 bytes   1gb is 1024*1024*1024 bytes
#
# Other files are read where they are named; with wildcards, all that match,
# which may be none. CONFIG REWRITE changes only the first file.
#
# include /path/to/local.conf
";

const PAGE_HEADER: &str = "\
# Configuration

Every directive, in the order of the shipped `onefold.conf`. Directives are read from the file named as the
first argument, from standard input if an argument is `-`, and from arguments such as `--port 6380`; the last
one counts. CONFIG GET, CONFIG SET and CONFIG REWRITE read, change and write them at run time.

This page is made from the table in `crates/engine/src/directives/rows.rs`.
";

const STATEMENTS_HEADER: &str = "
## Other words of a configuration file

These are no directives: CONFIG GET and CONFIG SET do not know them.
";
