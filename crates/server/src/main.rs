//! The server's program: understands its command line and hands over. It holds no logic of its own.
#![deny(unsafe_code)]

mod acceptor;
mod aof;
mod arguments;
mod aside;
mod boot;
mod conn;
mod crash;
mod defrag;
mod disk;
mod dumpfile;
mod facts;
#[cfg(test)]
mod faults;
mod governor;
mod host;
mod inbox;
mod lazyfree;
mod listener;
mod load;
mod log;
mod oom_score;
mod output;
mod persist;
mod poll;
mod runs;
mod signals;
mod stopwatch;
mod supervise;
mod system;
mod timer;
mod worker;

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use arguments::Invocation;
use base::alloc::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    match arguments::understand(arguments) {
        Invocation::Serve(launch) => match boot::start(*launch) {
            Ok(()) => ExitCode::SUCCESS,
            Err(boot::Fatal(text)) => refuse(&text),
        },
        Invocation::Print(text) => {
            // Whoever closed the pipe does not want the rest.
            std::io::stdout().write_all(text.as_bytes()).ok();
            ExitCode::SUCCESS
        }
        Invocation::Refuse(text) => refuse(&text),
        Invocation::Become(program, arguments) => refuse(&become_program(program, &arguments)),
    }
}

/// Runs the program beside this one in its place; returns only if that fails, with the reason.
fn become_program(name: &str, arguments: &[String]) -> String {
    let error = match std::env::current_exe() {
        Ok(own) => Command::new(own.with_file_name(name)).args(arguments).exec(),
        Err(error) => error,
    };
    format!("Can't start {name}, which should be beside onefold-server: {}\n", log::reason(&error))
}

fn refuse(text: &str) -> ExitCode {
    eprint!("{text}");
    ExitCode::FAILURE
}
