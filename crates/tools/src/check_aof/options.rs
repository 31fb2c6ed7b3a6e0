//! The command line of `onefold-check-aof`: one file, and what to do beyond a check. It opens nothing.

use std::ffi::OsString;
use std::path::PathBuf;

use base::num::parse_i64;

use crate::command_line::{Invocation, Program, Taken};

#[derive(PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// A manifest, or a single file.
    pub file: PathBuf,
    pub json: bool,
    /// Cut off what is not whole, if that is confirmed.
    pub fix: bool,
    /// Cut off what came later: unix seconds.
    pub until: Option<i64>,
}

/// Understands a command line without the program's name.
pub fn understand(arguments: impl IntoIterator<Item = OsString>) -> Invocation<Options> {
    let mut options = Options::default();
    let file = PROGRAM.understand(arguments, &mut |option, words| {
        match option {
            "--json" => options.json = true,
            "--fix" => options.fix = true,
            "--truncate-to-timestamp" => {
                options.until = words.next().and_then(|text| parse_i64(text.as_encoded_bytes()));
                if options.until.is_none() {
                    return Taken::Refused("Invalid timestamp, aborting...\n".into());
                }
            }
            _ => return Taken::Unknown,
        }
        Taken::Yes
    });
    match file {
        Ok(_) if options.fix && options.until.is_some() => PROGRAM.refuse(""),
        Ok(file) => Invocation::Check(Options { file, ..options }),
        Err(other) => other,
    }
}

const PROGRAM: Program = Program { name: "onefold-check-aof", usage: USAGE };
const USAGE: &str = "\
Usage: onefold-check-aof [--json] [--fix|--truncate-to-timestamp $timestamp] <file.manifest|file.aof>

Reads an append-only file of Redis 7 (by its manifest), or a single file of older versions, from end to end
and says whether it is whole and, if not, up to where. Ends with 0 if it is, or has been made so, else with 1.

  --json                            the report as one JSON object
  --fix                             cut off the end that is not whole, after a question
  --truncate-to-timestamp SECONDS   cut off what was written later (aof-timestamp-enabled)
  -v, --version                     -h, --help
";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<(&str, bool, bool, Option<i64>)>) {
        let found = understand(line.split_whitespace().map(OsString::from));
        match expected {
            Some((file, json, fix, until)) => {
                let options = Options { file: file.into(), json, fix, until };
                assert_eq!(found, Invocation::Check(options), "{line}");
            }
            None => assert!(matches!(found, Invocation::Refuse(_)), "{line}"),
        }
    }

    #[test]
    fn command_lines() {
        check("a.aof", Some(("a.aof", false, false, None)));
        check("--fix a.manifest --json", Some(("a.manifest", true, true, None)));
        check("--truncate-to-timestamp 1628217473 a", Some(("a", false, false, Some(1_628_217_473))));
        check("-- --fix", Some(("--fix", false, false, None)));
        for line in [
            "",
            "a b",
            "--stats a",
            "--fix",
            "a --truncate-to-timestamp",
            "--fix a --truncate-to-timestamp 1",
        ] {
            check(line, None);
        }
        check("--truncate-to-timestamp 5x a", None);
        assert!(matches!(understand(["-v".into()]), Invocation::Print(_)));
    }
}
