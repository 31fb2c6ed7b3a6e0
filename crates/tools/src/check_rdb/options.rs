//! The command line of `onefold-check-rdb`: one file, and what to do beyond a check. It opens nothing.

use std::ffi::OsString;
use std::path::PathBuf;

#[derive(PartialEq, Eq, Debug)]
pub enum Invocation {
    Check(Options),
    /// Print and end with success.
    Print(String),
    /// Print to standard error and end with failure.
    Refuse(String),
}

#[derive(PartialEq, Eq, Debug, Default)]
pub struct Options {
    pub file: PathBuf,
    pub json: bool,
    /// Where to write what is whole.
    pub repair: Option<PathBuf>,
}

/// Understands a command line without the program's name.
pub fn understand(arguments: impl IntoIterator<Item = OsString>) -> Invocation {
    let (mut arguments, mut options, mut file) = (arguments.into_iter(), Options::default(), None);
    let mut only_files = false;
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--") if !only_files => only_files = true,
            Some("-v" | "--version") if !only_files => return Invocation::Print(version()),
            Some("-h" | "--help") if !only_files => return Invocation::Print(USAGE.into()),
            Some("--json") if !only_files => options.json = true,
            Some("--repair") if !only_files => match arguments.next() {
                Some(target) => options.repair = Some(target.into()),
                None => return Invocation::Refuse(format!("--repair needs a file to write\n{USAGE}")),
            },
            Some(text) if !only_files && text.starts_with("--repair=") => {
                options.repair = Some(text["--repair=".len()..].into());
            }
            Some(text) if !only_files && text.len() > 1 && text.starts_with('-') => {
                return Invocation::Refuse(format!("there is no option {text}\n{USAGE}"));
            }
            _ if file.is_some() => return Invocation::Refuse(USAGE.into()),
            _ => file = Some(argument),
        }
    }
    match file {
        Some(file) => Invocation::Check(Options { file: file.into(), ..options }),
        None => Invocation::Refuse(USAGE.into()),
    }
}

fn version() -> String {
    format!("onefold-check-rdb {}\n", env!("CARGO_PKG_VERSION"))
}

const USAGE: &str = "\
Usage: onefold-check-rdb [--json] [--repair <output-file>] <rdb-file-name>

Reads an RDB file of Redis (versions 1 to 14) or Valkey (version 80) from end to end, as a server
would, and says what it holds and, if it is damaged, where. Ends with 0 if the file is sound, else with 1.

  --json             the report as one JSON object
  --repair FILE      write all records that are whole to FILE; ends with 0 if that was done
  -v, --version      -h, --help
";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<(&str, bool, Option<&str>)>) {
        let found = understand(line.split_whitespace().map(OsString::from));
        match expected {
            Some((file, json, repair)) => {
                let options = Options { file: file.into(), json, repair: repair.map(PathBuf::from) };
                assert_eq!(found, Invocation::Check(options), "{line}");
            }
            None => assert!(matches!(found, Invocation::Refuse(_)), "{line}"),
        }
    }

    #[test]
    fn command_lines() {
        check("dump.rdb", Some(("dump.rdb", false, None)));
        check("--json dump.rdb --repair out.rdb", Some(("dump.rdb", true, Some("out.rdb"))));
        check("--repair=out.rdb dump.rdb", Some(("dump.rdb", false, Some("out.rdb"))));
        check("-- --json", Some(("--json", false, None)));
        for line in ["", "a b", "--stats a", "--repair", "a --repair", "--json"] {
            check(line, None);
        }
        assert!(matches!(understand(["-v".into()]), Invocation::Print(_)));
    }
}
