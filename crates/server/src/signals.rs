//! Signals that ask the process to end, on a thread of its own. It decides nothing about data: it calls the
//! one function that ends the process. A hangup is ignored, as Redis does; a broken pipe already is by the
//! runtime.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::config::{Config, ShutdownFlags};
use engine::host::{Shutdown, ShutdownSave};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::host::Process;
use crate::log::LOG;
use crate::{aside, boot};

/// Starts the thread.
pub fn start(process: &Arc<Process>) -> io::Result<()> {
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let process = Arc::clone(process);
    aside::spawn("signals", move || serve(signals, &process))?;
    Ok(())
}

fn serve(mut signals: Signals, process: &Arc<Process>) {
    for signal in signals.forever() {
        let name = match signal {
            SIGINT => "SIGINT",
            SIGTERM => "SIGTERM",
            _ => continue,
        };
        if signal == SIGINT && process.stopping.load(Ordering::Relaxed) {
            LOG.warning("You insist... exiting now.");
            boot::leave_at_once(process);
        }
        if process.engine().is_loading() {
            LOG.warning("Received shutdown signal during loading, scheduling shutdown.");
        } else {
            LOG.warning(&format!("Received {name} scheduling shutdown..."));
        }
        let config = process.engine().config();
        let how = shutdown(signal, &config);
        let own = Arc::clone(process);
        // On a thread of its own, so that a second signal is heard.
        let stop = move || {
            let again = own.stopping.load(Ordering::Relaxed);
            if boot::stop(&own, how).is_err() && !again {
                let text =
                    "received but errors trying to shut down the server, check the logs for more information";
                LOG.warning(&format!("{name} {text}"));
            }
        };
        aside::spawn("shutdown", stop).map(drop).unwrap_or_else(|error| {
            LOG.warning(&format!("Can't shut down: {error}"));
        });
    }
}

/// What a signal asks for.
fn shutdown(signal: i32, config: &Config) -> Shutdown {
    let flags: ShutdownFlags =
        if signal == SIGINT { config.shutdown_on_sigint } else { config.shutdown_on_sigterm };
    let save = if flags.nosave {
        ShutdownSave::Never
    } else if flags.save {
        ShutdownSave::Always
    } else {
        ShutdownSave::AsConfigured
    };
    Shutdown { save, now: flags.now, force: flags.force }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_means_what_the_configuration_says() {
        let flags = ShutdownFlags { save: true, force: true, ..ShutdownFlags::default() };
        let config = Config { shutdown_on_sigint: flags, ..Config::default() };
        let check = |signal, save, force| {
            assert_eq!(shutdown(signal, &config), Shutdown { save, now: false, force });
        };
        check(SIGINT, ShutdownSave::Always, true);
        check(SIGTERM, ShutdownSave::AsConfigured, false);
    }
}
