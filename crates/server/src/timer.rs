//! Duties by the clock, on the process's first thread: expiry, save points, limits of memory, rates, the
//! end of a pause. Each has a budget; none takes part in a command.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use base::random::Rng;
use base::recall::HeardRecall;
use engine::Engine;
use engine::config::{Config, LogLevel};
use engine::cycle::{Cycle, runs_per_second};
use engine::engine::{Busy, Rates};
use engine::evict::Evictor;
use engine::host::{Event, Shutdown, ShutdownSave};
use store::{DbIndex, Plan};

use crate::host::Process;
use crate::inbox::Message;
use crate::log::LOG;
use crate::{boot, governor, system};

/// How often memory is looked at when it is limited.
const MEMORY_CHECK: Duration = Duration::from_millis(10);
/// How often rates are sampled, and how many samples an average has: Redis' numbers.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
const SAMPLES: usize = 16;
/// How often pages of the program are given back: with each that is needed the kernel brings in those around
/// it, and most were needed once.
const FORGET_PROGRAM_EVERY: Duration = Duration::from_secs(5);
/// How often a talkative log hears about keys and clients.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// Percent of the time that expiry may take, and what each step of `active-expire-effort` adds: Redis'
/// numbers.
const EXPIRE_PERCENT: u64 = 25;
const EXPIRE_PERCENT_PER_EFFORT: u64 = 2;

/// Runs until the process ends.
pub fn run(process: &Arc<Process>) -> ! {
    let mut timer = Timer::new(process);
    loop {
        let config = process.engine().config();
        let period =
            Duration::from_micros(1_000_000 / runs_per_second(&config, process.engine().clients.len()));
        let limit = config.memory_limit();
        let step = if limit > 0 { period.min(MEMORY_CHECK) } else { period };
        thread::sleep(step);
        // What it has allocated itself is in what it sees next.
        timer.evictor.meter.report(&process.engine().memory);
        governor::look(process.engine());
        if limit > 0 {
            timer.make_room(&config);
        }
        if timer.last_run.elapsed() + step / 2 >= period {
            timer.last_run = Instant::now();
            timer.run(&config, period);
        }
    }
}

struct Timer<'a> {
    process: &'a Arc<Process>,
    cycle: Cycle,
    evictor: Evictor,
    rng: Rng,
    meter: Meter,
    heard_recall: HeardRecall,
    last_run: Instant,
    last_report: Instant,
    last_forgotten: Instant,
}

impl<'a> Timer<'a> {
    fn new(process: &'a Arc<Process>) -> Timer<'a> {
        let now = Instant::now();
        let rng = Rng::from_seed(process.engine().host.random());
        Timer {
            process,
            cycle: Cycle::default(),
            evictor: Evictor::default(),
            rng,
            meter: Meter::default(),
            heard_recall: HeardRecall::default(),
            last_run: now,
            last_report: now,
            last_forgotten: now,
        }
    }

    /// What no command has evicted yet.
    fn make_room(&mut self, config: &Config) {
        let engine = self.process.engine();
        if engine.memory.is_over() && !engine.is_loading() {
            self.evictor.make_room(engine, config, self.process.now(), &mut self.rng);
        }
    }

    fn run(&mut self, config: &Config, period: Duration) {
        let (process, engine) = (self.process, self.process.engine());
        if engine.debug.pause_cron.load(Ordering::Relaxed) {
            return;
        }
        let now = process.now();
        self.meter.sample(engine);
        self.heard_recall.heed();
        self.cycle.expire(engine, now, expire_budget_ns(config, period));
        self.cycle.trim_tracking(engine);
        process.links.tick();
        engine.end_abandoned_readings();
        if engine.pause.has_ended(now) {
            engine.pause.stop();
            process.post_to_all(|| Message::Event(Event::Resume));
        }
        let shutdown_at_ms = engine.shutdown_at_ms.load(Ordering::Relaxed);
        if shutdown_at_ms != 0 && now.0 >= shutdown_at_ms {
            engine.shutdown_at_ms.store(0, Ordering::Relaxed);
            boot::stop(process, Shutdown { save: ShutdownSave::AsConfigured, now: true, force: false }).ok();
        }
        if !engine.is_loading() && !process.stopping.load(Ordering::Relaxed) {
            process.aof.tick(process, config);
            process.saver.tick(process, config, now);
        }
        if self.last_forgotten.elapsed() >= FORGET_PROGRAM_EVERY {
            self.last_forgotten = Instant::now();
            system::forget_program_pages();
        }
        self.report(config);
    }

    fn report(&mut self, config: &Config) {
        if self.last_report.elapsed() < REPORT_EVERY || config.loglevel > LogLevel::Verbose {
            return;
        }
        self.last_report = Instant::now();
        let engine = self.process.engine();
        for db in (0..engine.store.databases()).map(DbIndex) {
            // What a script has locked is not counted this time.
            let Ok((keys, expires)) = count_keys(engine, db) else { return };
            if keys > 0 {
                LOG.verbose(&format!("DB {}: {keys} keys ({expires} volatile).", db.0));
            }
        }
        let used = base::alloc::stats().allocated;
        LOG.debug(&format!("{} clients connected (0 replicas), {used} bytes in use", engine.clients.len()));
    }
}

/// Keys, and those with a time of expiry, shard by shard.
fn count_keys(engine: &Engine, db: DbIndex) -> Result<(usize, usize), Busy> {
    engine.store.ids().try_fold((0, 0), |(keys, expires), id| {
        let mut guard = engine.lock_unless_busy(&Plan::One(id))?;
        let part = guard.shard(id).db(db);
        Ok((keys + part.len(), expires + part.table().expiring_count()))
    })
}

fn expire_budget_ns(config: &Config, period: Duration) -> u64 {
    let effort = config.active_expire_effort.clamp(1, 10) as u64 - 1;
    let percent = EXPIRE_PERCENT + EXPIRE_PERCENT_PER_EFFORT * effort;
    period.as_nanos() as u64 * percent / 100
}

/// Moving averages of what the workers count.
struct Meter {
    last: Instant,
    totals: Rates,
    samples: [Rates; SAMPLES],
    next: usize,
}

impl Default for Meter {
    fn default() -> Meter {
        Meter {
            last: Instant::now(),
            totals: Rates::default(),
            samples: [Rates::default(); SAMPLES],
            next: 0,
        }
    }
}

impl Meter {
    fn sample(&mut self, engine: &Engine) {
        let elapsed = self.last.elapsed();
        if elapsed < SAMPLE_EVERY {
            return;
        }
        let totals = Rates {
            operations: engine.sum(|stats| stats.total_commands.value()),
            input_bytes: engine.sum(|stats| stats.input_bytes.value()),
            output_bytes: engine.sum(|stats| stats.output_bytes.value()),
        };
        self.add(totals, elapsed);
        *engine.cycle.rates.lock() = self.average();
    }

    /// One more sample: the growth of the totals, for a second. CONFIG RESETSTAT makes them shrink.
    fn add(&mut self, totals: Rates, elapsed: Duration) {
        let us = (elapsed.as_micros() as u64).max(1);
        let rate = |now: u64, before: u64| now.saturating_sub(before).saturating_mul(1_000_000) / us;
        self.samples[self.next] = Rates {
            operations: rate(totals.operations, self.totals.operations),
            input_bytes: rate(totals.input_bytes, self.totals.input_bytes),
            output_bytes: rate(totals.output_bytes, self.totals.output_bytes),
        };
        self.next = (self.next + 1) % SAMPLES;
        (self.totals, self.last) = (totals, Instant::now());
    }

    fn average(&self) -> Rates {
        let mean = |part: fn(&Rates) -> u64| self.samples.iter().map(part).sum::<u64>() / SAMPLES as u64;
        Rates {
            operations: mean(|rates| rates.operations),
            input_bytes: mean(|rates| rates.input_bytes),
            output_bytes: mean(|rates| rates.output_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_of_expiry_follows_the_effort() {
        let budget = |active_expire_effort| {
            let config = Config { active_expire_effort, ..Config::default() };
            expire_budget_ns(&config, Duration::from_millis(100))
        };
        assert_eq!((budget(1), budget(10)), (25_000_000, 43_000_000));
    }

    #[test]
    fn rates_are_averages_of_sixteen_samples() {
        let mut meter = Meter::default();
        for sample in 1..=16 {
            let totals = Rates { operations: sample * 100, input_bytes: sample * 1000, output_bytes: 0 };
            meter.add(totals, Duration::from_millis(100));
        }
        let average = meter.average();
        assert_eq!((average.operations, average.input_bytes, average.output_bytes), (1000, 10_000, 0));
        meter.add(Rates::default(), Duration::from_millis(100));
        assert_eq!(meter.average().operations, 937);
    }
}
