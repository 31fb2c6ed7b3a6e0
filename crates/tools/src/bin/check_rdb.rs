//! `onefold-check-rdb`: opens the files and prints. What is checked, told and repaired is the library's.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use base::alloc::Jemalloc;
use tools::check_rdb::json::Gathered;
use tools::check_rdb::options::{Invocation, Options, understand};
use tools::check_rdb::progress::{Bar, Watched};
use tools::check_rdb::repair::Repair;
use tools::check_rdb::{AtFault, Checked, Event, check, report};

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match understand(std::env::args_os().skip(1)) {
        Invocation::Check(options) => run(&options).unwrap_or_else(|text| refuse(&format!("{text}\n"))),
        Invocation::Print(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Invocation::Refuse(text) => refuse(&text),
    }
}

fn run(options: &Options) -> Result<ExitCode, String> {
    let name = options.file.display().to_string();
    if !options.json {
        print(&report::begin(&name));
    }
    let failed = |error: io::Error| format!("Can't open {name}: {error}");
    let file = File::open(&options.file).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let repair = options.repair.as_deref().map(|target| begin_repair(&options.file, target)).transpose()?;
    let (mut repair, mut gathered) = (repair, Gathered::default());
    let checked = check_file(file, size, options, &mut repair, &mut gathered);
    // Without a header there is nothing that could be repaired.
    let repair = repair.filter(|_| checked.version.is_some());
    let repaired = repair.map(Repair::finish).transpose();
    let repaired = repaired.map_err(|error| format!("Can't write the repaired file: {error}"))?;
    let target = options.repair.as_ref().map(|target| target.display().to_string()).unwrap_or_default();
    if options.json {
        print(&gathered.finish(&name, size, &checked, repaired.map(|size| (target.as_str(), size))));
    } else {
        print(&report::end(&checked, size.saturating_sub(checked.offset)));
        if let Some(size) = repaired {
            let keys = checked.statistics.keys();
            print(&format!("[info] Repaired file {target}: {keys} keys, {size} bytes\n"));
        }
    }
    let good = checked.is_sound() || repaired.is_some();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn begin_repair(source: &Path, target: &Path) -> Result<Repair, String> {
    let begun = File::open(source).and_then(|source| Repair::begin(source, target));
    begun.map_err(|error| format!("Can't write {}: {error}", target.display()))
}

fn check_file(
    file: File,
    size: u64,
    options: &Options,
    repair: &mut Option<Repair>,
    gathered: &mut Gathered,
) -> Checked {
    let bar = if io::stderr().is_terminal() { Bar::for_size(size) } else { None };
    let at_fault = if repair.is_some() { AtFault::GoOn } else { AtFault::Stop };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64);
    let mut listen = |offset: u64, event: Event<'_>| {
        if let (Event::Whole { from }, Some(repair)) = (&event, &mut *repair) {
            repair.keep(*from, offset);
        }
        if options.json {
            gathered.note(&event);
        } else {
            print(&report::event(offset, &event));
        }
    };
    check(Watched::new(file, bar), now, at_fault, &mut listen)
}

/// Whoever closed the pipe does not want the rest.
fn print(text: &str) {
    io::stdout().write_all(text.as_bytes()).ok();
}

fn refuse(text: &str) -> ExitCode {
    eprint!("{text}");
    ExitCode::FAILURE
}
