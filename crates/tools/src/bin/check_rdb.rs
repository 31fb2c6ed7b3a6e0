//! `onefold-check-rdb`: opens the files and prints. What is checked, told and repaired is the library's.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use base::alloc::Jemalloc;
use tools::check_rdb::json::{Gathered, failure};
use tools::check_rdb::options::{Options, understand};
use tools::check_rdb::progress::{Bar, Watched};
use tools::check_rdb::repair::Repair;
use tools::check_rdb::{AtFault, Checked, Event, check, report};
use tools::command_line::Invocation;
use tools::printer::{Printer, refuse};

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match understand(std::env::args_os().skip(1)) {
        Invocation::Check(options) => run(&options).unwrap_or_else(|text| fail(&options, &text)),
        Invocation::Print(text) => {
            let mut printer = Printer::default();
            printer.print(&text);
            printer.end(ExitCode::SUCCESS)
        }
        Invocation::Refuse(text) => refuse(&text),
    }
}

fn run(options: &Options) -> Result<ExitCode, String> {
    let (name, mut printer) = (options.file.display().to_string(), Printer::default());
    if !options.json {
        printer.print(&report::begin(&name));
    }
    let failed = |error: io::Error| format!("Can't open {name}: {error}");
    let file = File::open(&options.file).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let repair = options.repair.as_deref().map(|target| begin_repair(&file, target)).transpose()?;
    let (mut repair, mut gathered) = (repair, Gathered::default());
    let mut listen = |offset: u64, event: Event<'_>| {
        if let (Event::Whole { from }, Some(repair)) = (&event, &mut repair) {
            repair.keep(*from, offset);
        }
        if options.json {
            gathered.note(&event);
        } else {
            printer.print(&report::event(offset, &event));
        }
    };
    let at_fault = if options.repair.is_some() { AtFault::GoOn } else { AtFault::Stop };
    let checked = check_file(file, size, at_fault, &mut listen);
    // Without a header there is nothing that could be repaired, and what cannot be read may be whole.
    let repair = repair.filter(|_| checked.version.is_some() && !checked.unreadable);
    let repaired = repair.map(Repair::finish).transpose();
    let repaired = repaired.map_err(|error| format!("Can't write the repaired file: {error}"))?;
    let target = options.repair.as_ref().map(|target| target.display().to_string()).unwrap_or_default();
    if options.json {
        printer.print(&gathered.finish(&name, size, &checked, repaired.map(|size| (target.as_str(), size))));
    } else {
        printer.print(&report::end(&checked, size.saturating_sub(checked.offset)));
        if let Some(size) = repaired {
            let keys = checked.statistics.keys();
            printer.print(&format!("[info] Repaired file {target}: {keys} keys, {size} bytes\n"));
        }
    }
    let good = checked.is_sound() || repaired.is_some();
    Ok(printer.end(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
}

/// The file was not checked, or not repaired. Programs hear so in a report as well.
fn fail(options: &Options, text: &str) -> ExitCode {
    let mut printer = Printer::default();
    if options.json {
        printer.print(&failure(&options.file.display().to_string(), text));
    }
    printer.end(refuse(&format!("{text}\n")))
}

/// What is copied is what is checked, whoever takes the file's name meanwhile.
fn begin_repair(source: &File, target: &Path) -> Result<Repair, String> {
    let begun = source.try_clone().and_then(|source| Repair::begin(source, target));
    begun.map_err(|error| format!("Can't write {}: {error}", target.display()))
}

fn check_file(file: File, size: u64, at_fault: AtFault, listen: &mut dyn FnMut(u64, Event<'_>)) -> Checked {
    let bar = if io::stderr().is_terminal() { Bar::for_size(size) } else { None };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64);
    check(Watched::new(file, bar), now, at_fault, listen)
}
