//! What the programs print, and with which code they end: a report that is lost is a failure.

use std::io::{self, Write};
use std::process::ExitCode;

/// Standard output, and why it takes no more.
#[derive(Default)]
pub struct Printer(Option<io::Error>);

impl Printer {
    pub fn print(&mut self, text: &str) {
        if self.0.is_none() {
            self.0 = io::stdout().write_all(text.as_bytes()).err();
        }
    }

    /// Shows what has been printed so far, though its last line has no end.
    pub fn flush(&mut self) {
        if self.0.is_none() {
            self.0 = io::stdout().flush().err();
        }
    }

    /// The exit code: a report that is lost is a failure, but whoever closed the pipe does not want the rest.
    pub fn end(mut self, code: ExitCode) -> ExitCode {
        let lost = self.0.take().or_else(|| io::stdout().flush().err());
        match lost.filter(|error| error.kind() != io::ErrorKind::BrokenPipe) {
            Some(error) => refuse(&format!("Can't write the report: {error}\n")),
            None => code,
        }
    }
}

pub fn refuse(text: &str) -> ExitCode {
    eprint!("{text}");
    ExitCode::FAILURE
}

/// The reason alone, as redis-check-aof says it: the standard library adds `(os error 2)`.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or(&text).to_owned()
}
