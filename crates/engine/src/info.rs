//! INFO: one row for each field, and the text and the documentation that follow from the rows. Changes
//! nothing; a field shows a number that somebody counts, or it is not there.

mod input;
mod lines;
mod rows;
mod usage;

use crate::args::Argv;

pub use input::{DbTotals, InfoInput, keyspace_totals};
pub use usage::{Excess, MemoryUsage};

/// One line of INFO, or one kind of line.
pub struct Field {
    pub name: &'static str,
    pub show: Show,
    pub doc: &'static str,
}

/// How a field's value is made.
pub enum Show {
    Value(fn(&InfoInput<'_>) -> String),
    /// Absent while there is nothing to say.
    Maybe(fn(&InfoInput<'_>) -> Option<String>),
    /// Whole lines; the row's name is their pattern.
    Lines(fn(&InfoInput<'_>) -> Vec<String>),
}

/// Fields under one heading.
pub struct Section {
    pub title: &'static str,
    /// What INFO without an argument includes.
    pub in_default: bool,
    /// Its fields are counted under the locks of all shards.
    pub counts_keys: bool,
    /// It tells what the allocator counts.
    pub counts_memory: bool,
    pub fields: &'static [Field],
}

/// Every section, in the order in which INFO prints them.
pub static SECTIONS: &[Section] = &[
    section("Server", rows::SERVER),
    section("Clients", rows::CLIENTS),
    section("Memory", rows::MEMORY).counts_keys().counts_memory(),
    section("Persistence", rows::PERSISTENCE),
    section("Stats", rows::STATS),
    section("Replication", rows::REPLICATION),
    section("CPU", rows::CPU),
    section("Modules", &[]),
    section("Commandstats", rows::COMMANDSTATS).on_request(),
    section("Errorstats", rows::ERRORSTATS),
    section("Latencystats", rows::LATENCYSTATS).on_request(),
    section("Cluster", rows::CLUSTER),
    section("Keyspace", rows::KEYSPACE).counts_keys(),
];

const fn section(title: &'static str, fields: &'static [Field]) -> Section {
    Section { title, in_default: true, counts_keys: false, counts_memory: false, fields }
}

impl Section {
    const fn on_request(mut self) -> Section {
        self.in_default = false;
        self
    }

    const fn counts_keys(mut self) -> Section {
        self.counts_keys = true;
        self
    }

    const fn counts_memory(mut self) -> Section {
        self.counts_memory = true;
        self
    }

    fn answers_to(&self, word: &[u8]) -> bool {
        let module_list = self.title == "Modules" && word.eq_ignore_ascii_case(b"module_list");
        word.eq_ignore_ascii_case(self.title.as_bytes()) || module_list
    }
}

/// The sections that the arguments of INFO ask for, in order. Unknown names ask for nothing.
pub fn selected<'a>(argv: &Argv<'a>) -> impl Iterator<Item = &'static Section> + Clone + use<'a> {
    let argv = *argv;
    SECTIONS.iter().filter(move |section| match argv.len() {
        1 => section.in_default,
        _ => argv.from(1).any(|word| asks_for(word, section)),
    })
}

fn asks_for(word: &[u8], section: &Section) -> bool {
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    is("all") || is("everything") || (is("default") && section.in_default) || section.answers_to(word)
}

/// The text of INFO.
pub fn render(input: &InfoInput<'_>, sections: impl Iterator<Item = &'static Section> + Clone) -> String {
    if sections.clone().any(|section| section.counts_memory) {
        // Before anything is written: the text is no part of what it tells.
        input.allocator();
    }
    let mut text = String::with_capacity(TEXT_LEN);
    for section in sections {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        text.push_str(&format!("# {}\r\n", section.title));
        section.fields.iter().for_each(|field| field.write(input, &mut text));
    }
    text
}

/// Room for all sections of a server with a few dozen commands in use.
const TEXT_LEN: usize = 8 * 1024;

impl Field {
    fn write(&self, input: &InfoInput<'_>, text: &mut String) {
        let mut line = |line: &str| {
            text.push_str(line);
            text.push_str("\r\n");
        };
        let named = |value: String| format!("{}:{value}", self.name);
        match self.show {
            Show::Value(value) => line(&named(value(input))),
            Show::Maybe(value) => value(input).into_iter().for_each(|value| line(&named(value))),
            Show::Lines(lines) => lines(input).iter().for_each(|own| line(own)),
        }
    }
}

/// The page of the documentation that explains every field.
pub fn reference_page() -> String {
    let mut page = String::from(
        "# INFO\n\nEvery field of the `INFO` command, by section, in the order in which it is printed. \
         Sections marked with * are printed only when they are asked for by name, by `all` or by \
         `everything`.\n",
    );
    for section in SECTIONS {
        let mark = if section.in_default { "" } else { " *" };
        page.push_str(&format!("\n## {}{mark}\n\n", section.title));
        if section.fields.is_empty() {
            page.push_str("Empty: there are no modules.\n");
            continue;
        }
        page.push_str("| Field | Meaning |\n|---|---|\n");
        for field in section.fields {
            page.push_str(&format!("| `{}` | {} |\n", field.name.replace('|', "\\|"), field.doc));
        }
    }
    page
}

#[cfg(test)]
mod tests;
