//! `onefold-check-aof`: understands its command line and hands over. What is checked and told is the
//! library's.

use std::process::ExitCode;

use base::alloc::Jemalloc;
use tools::check_aof::options::understand;
use tools::check_aof::run::run;
use tools::command_line::Invocation;
use tools::printer::{Printer, refuse};

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match understand(std::env::args_os().skip(1)) {
        Invocation::Check(options) => run(&options),
        Invocation::Print(text) => {
            let mut printer = Printer::default();
            printer.print(&text);
            printer.end(ExitCode::SUCCESS)
        }
        Invocation::Refuse(text) => refuse(&text),
    }
}
