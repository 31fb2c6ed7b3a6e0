//! The directives: one row for each that Redis or Valkey know, what a row says, and CONFIG GET and SET over
//! the rows. Changes nothing but a `Config`; putting a change into effect is the caller's.

mod pages;
mod rows;
mod value;

use base::glob::{Case, matches};

use crate::config::{Config, DEFAULTS, DebugAccess};

pub use pages::{reference_page, shipped_conf};
pub use rows::DIRECTIVES;
pub use value::{Shape, TextCheck, Value, memory, quoted, split_words};

/// One directive.
#[derive(Debug)]
pub struct Directive {
    pub name: &'static str,
    /// Older or other names that mean the same.
    pub aliases: &'static [&'static str],
    pub section: Section,
    pub shape: Shape,
    pub place: Place,
    pub change: Change,
    pub status: Status,
    /// The value is a secret: it is left out of logs.
    pub sensitive: bool,
    /// Listed by CONFIG GET only under its full name.
    pub hidden: bool,
    /// Cannot be set while the data are being loaded.
    pub denied_while_loading: bool,
    /// CONFIG SET puts it into effect again although the value is as before: what it names may be another
    /// thing by now.
    pub takes_effect_again: bool,
    pub doc: &'static str,
}

/// Where a value is kept.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    Field {
        load: fn(&Config) -> Value,
        store: fn(&mut Config, Value),
    },
    /// In `Config::unserved`, as CONFIG GET prints it; the default is given here.
    Unserved(&'static str),
}

/// Whether CONFIG SET may change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Live,
    Fixed,
    /// Only where `enable-protected-configs` allows it.
    Protected,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Served,
    /// Not served, and nothing is lost by ignoring it; says why.
    Harmless(&'static str),
    /// Not served, and ignoring it would break a promise: only the default is accepted. Says what is missing.
    Later(&'static str),
}

/// The groups of the shipped configuration file, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Network,
    Tls,
    General,
    Snapshotting,
    Replication,
    Security,
    Clients,
    Memory,
    LazyFreeing,
    Threads,
    Kernel,
    AppendOnly,
    Shutdown,
    Scripting,
    Cluster,
    Latency,
    Events,
    Encodings,
    Defragmentation,
    Debugging,
}

/// Who asks for a change, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setter {
    /// Connected from this machine.
    pub local: bool,
    pub loading: bool,
}

/// Why CONFIG SET changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Loading,
    /// The error without its code.
    Text(String),
}

/// The row that `name` means, in any case, by its name or an alias; with the name as the table spells it.
pub fn find(name: &[u8]) -> Option<(&'static str, &'static Directive)> {
    DIRECTIVES.iter().find_map(|row| {
        let spelled = row.names().find(|known| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some((spelled, row))
    })
}

impl Directive {
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    pub fn value(&self, config: &Config) -> Value {
        match self.place {
            Place::Field { load, .. } => load(config),
            Place::Unserved(default) => match config.unserved.get(self.name) {
                Some(text) => self.reread(text),
                None => self.reread(default.as_bytes()),
            },
        }
    }

    pub fn default_value(&self) -> Value {
        self.value(&DEFAULTS)
    }

    pub fn is_default(&self, config: &Config) -> bool {
        self.value(config) == self.default_value()
    }

    /// The value as CONFIG GET prints it.
    pub fn text(&self, config: &Config) -> Vec<u8> {
        self.shape.print(&self.value(config))
    }

    /// Reads the arguments and keeps the value. Does not ask whether it may be changed, or is served.
    pub fn set(&self, config: &mut Config, args: &[Vec<u8>]) -> Result<(), String> {
        let value = self.shape.parse(args, &self.value(config))?;
        self.store(config, value);
        Ok(())
    }

    pub fn store(&self, config: &mut Config, value: Value) {
        match self.place {
            Place::Field { store, .. } => store(config, value),
            Place::Unserved(_) => {
                config.unserved.insert(self.name, self.shape.print(&value));
            }
        }
    }

    /// Why the value that the directive has now cannot be accepted, if it cannot.
    pub fn unserved(&self, config: &Config) -> Option<String> {
        match self.status {
            Status::Later(what) if !self.is_default(config) => {
                Some(format!("'{}' has no effect yet: {what}", self.with_value(config)))
            }
            _ => None,
        }
    }

    /// What to log if a value was set that changes nothing.
    pub fn warning(&self, config: &Config) -> Option<String> {
        match self.status {
            Status::Harmless(why) if !self.is_default(config) => {
                Some(format!("'{}' has no effect: {why}", self.with_value(config)))
            }
            _ => None,
        }
    }

    fn with_value(&self, config: &Config) -> String {
        let text = self.text(config);
        match self.sensitive || text.is_empty() {
            true => self.name.to_string(),
            false => format!("{} {}", self.name, String::from_utf8_lossy(&text)),
        }
    }

    /// Reads back a text that was printed, or a default.
    fn reread(&self, text: &[u8]) -> Value {
        let args = match self.shape.takes_many() {
            true => split_words(text),
            false => vec![text.to_vec()],
        };
        self.shape
            .parse(&args, &Value::Bool(false))
            .expect("only what was parsed is kept, and tests read defaults")
    }
}

/// CONFIG SET: all pairs or none. Returns the new configuration and the rows that have to take effect: whose
/// value is another than before, or may mean something else.
pub fn set_many(
    config: &Config,
    pairs: &[(&[u8], &[u8])],
    setter: Setter,
) -> Result<(Config, Vec<&'static Directive>), Refusal> {
    let rows = admit(config, pairs, setter)?;
    let mut new = config.clone();
    for ((name, row), (_, value)) in rows.iter().zip(pairs) {
        set_text(row, &mut new, value).map_err(|error| failed(name.as_bytes(), &error))?;
        if let Some(error) = row.unserved(&new) {
            return Err(failed(name.as_bytes(), &error));
        }
    }
    let concerns = |row: &&Directive| row.takes_effect_again || row.value(config) != row.value(&new);
    let mut changed: Vec<&Directive> = Vec::new();
    for row in rows.iter().map(|(_, row)| *row).filter(concerns) {
        // Both of its names may stand there.
        if !changed.iter().any(|other| std::ptr::eq(*other, row)) {
            changed.push(row);
        }
    }
    Ok((new, changed))
}

/// The rows of all names, each of which may be set now, once; of a row's names the last one counts.
fn admit(
    config: &Config,
    pairs: &[(&[u8], &[u8])],
    setter: Setter,
) -> Result<Vec<(&'static str, &'static Directive)>, Refusal> {
    let mut rows: Vec<(&str, &Directive)> = Vec::with_capacity(pairs.len());
    for (name, _) in pairs {
        let (spelled, row) = find(name).ok_or_else(|| unknown(name))?;
        let protected = row.change == Change::Protected && !may_set_protected(config, setter);
        if row.change == Change::Fixed {
            return Err(failed(name, "can't set immutable config"));
        } else if protected {
            return Err(failed(name, "can't set protected config"));
        } else if setter.loading && row.denied_while_loading {
            return Err(Refusal::Loading);
        } else if rows.iter().any(|(other, _)| *other == spelled) {
            return Err(failed(name, "duplicate parameter"));
        }
        rows.push((spelled, row));
    }
    Ok(rows)
}

fn set_text(row: &Directive, config: &mut Config, text: &[u8]) -> Result<(), String> {
    match row.shape.takes_many() {
        true => row.set(config, &split_words(text)),
        false => row.set(config, &[text.to_vec()]),
    }
}

fn may_set_protected(config: &Config, setter: Setter) -> bool {
    match config.enable_protected_configs {
        DebugAccess::Yes => true,
        DebugAccess::Local => setter.local,
        DebugAccess::No => false,
    }
}

fn unknown(name: &[u8]) -> Refusal {
    let name = String::from_utf8_lossy(name);
    Refusal::Text(format!("Unknown option or number of arguments for CONFIG SET - '{name}'"))
}

/// The error of a CONFIG SET in which the directive `name` could not be set.
pub fn failed(name: &[u8], error: &str) -> Refusal {
    let name = String::from_utf8_lossy(name);
    Refusal::Text(format!("CONFIG SET failed (possibly related to argument '{name}') - {error}"))
}

/// CONFIG GET: names and values that the patterns match, each name once. A full name may be in any case and
/// is answered as it was asked; patterns leave out hidden directives, and sort what they find.
pub fn matching(config: &Config, patterns: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut add = |name: &[u8], row: &Directive| {
        if !found.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            found.push((name.to_vec(), row.text(config)));
        }
    };
    for pattern in patterns {
        if !pattern.iter().any(|byte| b"[*?".contains(byte)) {
            if let Some((_, row)) = find(pattern) {
                add(pattern, row);
            }
            continue;
        }
        let listed = DIRECTIVES.iter().filter(|row| !row.hidden);
        let names = listed.flat_map(|row| row.names().map(move |name| (name, row)));
        let mut matching: Vec<(&str, &Directive)> =
            names.filter(|(name, _)| matches(pattern, name.as_bytes(), Case::Insensitive)).collect();
        matching.sort_by_key(|(name, _)| *name);
        matching.into_iter().for_each(|(name, row)| add(name.as_bytes(), row));
    }
    found
}

#[cfg(test)]
mod tests;
