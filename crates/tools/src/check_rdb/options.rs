//! The command line of `onefold-check-rdb`: one file, and what to do beyond a check. It opens nothing.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::command_line::{Invocation, Program, Taken};

#[derive(PartialEq, Eq, Debug, Default)]
pub struct Options {
    pub file: PathBuf,
    pub json: bool,
    /// Where to write what is whole.
    pub repair: Option<PathBuf>,
}

/// Understands a command line without the program's name.
pub fn understand(arguments: impl IntoIterator<Item = OsString>) -> Invocation<Options> {
    let mut options = Options::default();
    let file = PROGRAM.understand(arguments, &mut |option, words| {
        match option.split_once('=') {
            None if option == "--json" => options.json = true,
            None if option == "--repair" => match words.next() {
                Some(target) => options.repair = Some(target.into()),
                None => return Taken::Refused(format!("--repair needs a file to write\n{USAGE}")),
            },
            Some(("--repair", target)) => options.repair = Some(target.into()),
            _ => return Taken::Unknown,
        }
        Taken::Yes
    });
    match file {
        Ok(file) => Invocation::Check(Options { file, ..options }),
        Err(other) => other,
    }
}

const PROGRAM: Program = Program { name: "onefold-check-rdb", usage: USAGE };
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
