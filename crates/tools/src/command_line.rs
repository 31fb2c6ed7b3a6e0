//! What the command lines of the programs have in common: options, and one file. It opens nothing.

use std::ffi::OsString;
use std::path::PathBuf;

#[derive(PartialEq, Eq, Debug)]
pub enum Invocation<T> {
    Check(T),
    /// Print and end with success.
    Print(String),
    /// Print to standard error and end with failure.
    Refuse(String),
}

/// What a program says of itself.
pub struct Program {
    pub name: &'static str,
    pub usage: &'static str,
}

/// Of a word that begins with a dash.
pub enum Taken {
    Yes,
    Unknown,
    /// What is said to it.
    Refused(String),
}

/// Words behind an option.
pub type Words<'a> = dyn Iterator<Item = OsString> + 'a;

impl Program {
    /// The one file of a command line without the program's name. `take` takes the program's own options.
    pub fn understand<T>(
        &self,
        arguments: impl IntoIterator<Item = OsString>,
        take: &mut dyn FnMut(&str, &mut Words<'_>) -> Taken,
    ) -> Result<PathBuf, Invocation<T>> {
        let (mut arguments, mut file, mut only_files) = (arguments.into_iter(), None, false);
        while let Some(argument) = arguments.next() {
            match argument.to_str().filter(|text| !only_files && text.len() > 1 && text.starts_with('-')) {
                Some("--") => only_files = true,
                Some("-v" | "--version") => {
                    let version = env!("CARGO_PKG_VERSION");
                    return Err(Invocation::Print(format!("{} {version}\n", self.name)));
                }
                Some("-h" | "--help") => return Err(Invocation::Print(self.usage.into())),
                Some(option) => match take(option, &mut arguments) {
                    Taken::Yes => {}
                    Taken::Unknown => return Err(self.refuse(&format!("there is no option {option}\n"))),
                    Taken::Refused(text) => return Err(Invocation::Refuse(text)),
                },
                None if file.is_some() => return Err(self.refuse("")),
                None => file = Some(argument),
            }
        }
        file.map(PathBuf::from).ok_or_else(|| self.refuse(""))
    }

    /// How it is used, behind what is wrong.
    pub fn refuse<T>(&self, text: &str) -> Invocation<T> {
        Invocation::Refuse(format!("{text}{}", self.usage))
    }
}
