//! What is seen of a command after it ran: statistics, latency samples, MONITOR.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base::bytes::escape;
use parking_lot::Mutex;

use crate::args::Argv;
use crate::clients::{Client, ClientId};
use crate::command::flag;
use crate::command_log::{Cost, log_command};
use crate::directives;
use crate::engine::Engine;
use crate::host::Event;
use crate::pipeline::Env;
use crate::registry::Registered;
use crate::session::{Origin, Session};

/// Counts a command that ran since `began_ns`. Reads the clock once: one command's end is the next one's
/// beginning. EXEC lasts as long as all it ran.
#[inline]
pub fn observe(
    engine: &Engine,
    env: &mut Env<'_, '_>,
    command: &'static Registered,
    argv: &Argv<'_>,
    (began_ns, reply_start): (u64, usize),
    failed: bool,
) {
    let end = engine.host.monotonic_ns();
    let elapsed = end.saturating_sub(began_ns);
    // What EXEC ran has been added before it.
    let own_ns = end.saturating_sub(env.worker.clock_ns);
    env.worker.clock_ns = end;
    let stats = &env.worker.stats;
    let own = &stats.commands[command.id as usize];
    own.record(elapsed, env.config.latency_tracking);
    stats.total_commands.add(1);
    stats.command_ns.add(own_ns);
    if failed {
        own.failed.add(1);
    }
    let effects = &env.effects;
    if effects.hits + effects.misses > 0 {
        stats.hits.add(u64::from(effects.hits));
        stats.misses.add(u64::from(effects.misses));
    }
    if effects.expired + effects.expired_fields > 0 {
        stats.expired_keys.add(u64::from(effects.expired));
        stats.expired_fields.add(u64::from(effects.expired_fields));
    }
    let client = &env.session.client;
    client.last_command.store(command.id, Ordering::Relaxed);
    client.total_commands.store(client.total_commands.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    let cost = Cost {
        elapsed_us: elapsed / 1000,
        request_len: argv.request_len_most(),
        reply_len: env.reply.total_len_since(reply_start) as u64 + env.session.unfinished_len(),
    };
    // What sets the limits counts by those it sets.
    if cost.stands_out(env.config) || command.row.has(flag::ADMIN) {
        log_command(engine, env, command, argv, cost);
    }
    // A script is one event.
    if env.session.in_script {
        return;
    }
    let threshold_ms = env.config.latency_monitor_threshold_ms;
    if threshold_ms > 0 && elapsed / 1_000_000 >= threshold_ms as u64 {
        let event = if command.row.has(flag::FAST) { "fast-command" } else { "command" };
        engine.latency.lock().add(event, env.worker.now.seconds(), elapsed / 1_000_000);
    }
}

/// Latency samples of one event.
#[derive(Clone, Default, Debug)]
pub struct LatencySeries {
    /// `(unix seconds, milliseconds)`, oldest first; at most one a second.
    pub samples: VecDeque<(i64, u64)>,
    pub max_ms: u64,
}

/// LATENCY's time series: by event.
#[derive(Default)]
pub struct LatencyMonitor {
    pub events: BTreeMap<&'static str, LatencySeries>,
}

/// Samples kept of each event.
const LATENCY_SAMPLES: usize = 160;

impl LatencyMonitor {
    pub fn add(&mut self, event: &'static str, unix_s: i64, ms: u64) {
        let series = self.events.entry(event).or_default();
        series.max_ms = series.max_ms.max(ms);
        if let Some(last) = series.samples.back_mut().filter(|last| last.0 == unix_s) {
            last.1 = last.1.max(ms);
            return;
        }
        if series.samples.len() == LATENCY_SAMPLES {
            series.samples.pop_front();
        }
        series.samples.push_back((unix_s, ms));
    }
}

/// Clients that see every command.
#[derive(Default)]
pub struct Monitors {
    count: AtomicUsize,
    clients: Mutex<Vec<Arc<Client>>>,
}

impl Monitors {
    #[inline]
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    pub fn add(&self, client: &Arc<Client>) {
        let mut clients = self.clients.lock();
        if clients.iter().all(|other| other.id != client.id) {
            clients.push(Arc::clone(client));
        }
        self.count.store(clients.len(), Ordering::Relaxed);
    }

    pub fn remove(&self, client: ClientId) {
        let mut clients = self.clients.lock();
        clients.retain(|other| other.id != client);
        self.count.store(clients.len(), Ordering::Relaxed);
    }
}

/// Shows a command that ran to the monitors. Its shards are still locked, so they see commands in the order
/// in which these took effect; EXEC comes after what it ran, as in Redis.
#[cold]
pub fn feed_monitors(engine: &Engine, session: &Session, command: &'static Registered, argv: &Argv<'_>) {
    if !command.row.has(flag::SKIP_MONITOR | flag::ADMIN) {
        show_monitors(engine, session, command, argv);
    }
}

/// Shows a command to the monitors, whatever it is.
pub fn show_monitors(engine: &Engine, session: &Session, command: &'static Registered, argv: &Argv<'_>) {
    if session.origin == Origin::Replay {
        return;
    }
    let (us, client) = (engine.host.unix_us(), &session.client);
    let peer = match client.unix {
        _ if session.in_script => "lua".to_string(),
        true => format!("unix:{}", client.peer.trim_end_matches(":0")),
        false => client.peer.clone(),
    };
    let mut line = format!("+{}.{:06} [{} {peer}]", us / 1_000_000, us % 1_000_000, session.db.0);
    for argument in without_secrets(command, argv, argv.len()) {
        line.push(' ');
        line.push_str(&escape(argument));
    }
    line.push_str("\r\n");
    let line = Arc::new(line.into_bytes());
    for client in engine.monitors.clients.lock().iter() {
        let event = Event::Line { client: client.id, line: Arc::clone(&line) };
        engine.post_message(client, line.len(), event);
    }
}

/// The first arguments, passwords replaced.
pub(crate) fn without_secrets<'a>(command: &Registered, argv: &Argv<'a>, count: usize) -> Vec<&'a [u8]> {
    let mut words: Vec<&[u8]> = argv.iter().take(count).collect();
    match command.full_name.as_str() {
        "auth" => words[1..].fill(REDACTED),
        "hello" => hide_hello_secrets(&mut words),
        "config|set" => hide_config_secrets(&mut words),
        "acl|setuser" | "acl|getuser" | "acl|deluser" => {
            words.iter_mut().skip(2).for_each(|word| *word = REDACTED)
        }
        _ => {}
    }
    words
}

/// User and password behind each AUTH option.
fn hide_hello_secrets(words: &mut [&[u8]]) {
    let mut index = 2;
    while index < words.len() {
        if words[index].eq_ignore_ascii_case(b"auth") {
            let end = words.len().min(index + 3);
            words[index + 1..end].fill(REDACTED);
            index = end;
        } else {
            index += 2;
        }
    }
}

fn hide_config_secrets(words: &mut [&[u8]]) {
    let Some(settings) = words.get_mut(2..) else { return };
    for pair in settings.chunks_exact_mut(2) {
        if directives::find(pair[0]).is_some_and(|(_, directive)| directive.sensitive) {
            pair[1] = REDACTED;
        }
    }
}

const REDACTED: &[u8] = b"(redacted)";
