//! A new base in the place of all that came before: a snapshot, and an increment that begins at its cut. The
//! old parts stay until the manifest names the new ones. Never stops anybody from writing.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use aof::{BaseForm, Manifest, Part};
use base::time::UnixMs;
use engine::config::Config;
use engine::host::{SaveRefused, SaveStarted};
use engine::log::FileState;

use super::commands::Source;
use super::folder::Folder;
use super::notes::Notes;
use super::queue::{Orders, Queue};
use super::writer::Writer;
use super::{Aof, Line, Mode, Parts, State};
use crate::aside;
use crate::host::Process;
use crate::log::{LOG, reason};

/// How often it was tried in vain, and when the next try is.
#[derive(Default)]
pub struct Tries {
    failed: u64,
    delay_minutes: i64,
    not_before: Option<UnixMs>,
}

/// Failures in a row from which on there is a pause before each try, and the longest one: Redis' numbers.
const FAILURES: u64 = 3;
const DELAY_MINUTES_MAX: i64 = 60;
const MINUTE_MS: i64 = 60_000;
/// The base on its way, and what a base of commands is made of; a crash leaves at most one of each.
const TEMPORARY_BASE: &str = "temp-rewriteaof.base";
const TEMPORARY_COMMANDS: &str = "temp-rewriteaof.commands";
const TEMPORARY_SNAPSHOT: &str = "temp-rewriteaof.snapshot";

const TURNED: &str = "it was turned off or on meanwhile";
const IN_PROGRESS: SaveRefused = "ERR Background append only file rewriting already in progress";
const CANNOT_START: SaveRefused =
    "ERR Can't execute an AOF background rewriting. Please check the server logs for more information.";

impl Tries {
    /// Whether it is too early to try again by oneself.
    fn are_limited(&mut self, now: UnixMs, notes: &mut Notes) -> bool {
        if self.failed < FAILURES {
            (self.delay_minutes, self.not_before) = (0, None);
            return false;
        }
        if let Some(time) = self.not_before {
            let early = now < time;
            if !early {
                self.not_before = None;
            }
            return early;
        }
        self.delay_minutes = (self.delay_minutes * 2).clamp(1, DELAY_MINUTES_MAX);
        self.not_before = Some(UnixMs(now.0 + self.delay_minutes * MINUTE_MS));
        notes.warning(format!(
            "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {} minutes",
            self.delay_minutes
        ));
        true
    }
}

/// A rewrite that was asked for.
pub struct Task {
    /// When that was: the file was not turned off since then.
    epoch: u64,
    /// As configured then.
    form: BaseForm,
}

/// What is made ready before the cut.
struct Prepared {
    mode: Mode,
    epoch: u64,
    folder: Folder,
    base: Part,
    form: BaseForm,
    /// The increment that begins at the cut.
    file: Option<File>,
    /// Its number; what came before it is history when the base is there.
    kept_from: u64,
    /// For an increment that is the first one.
    line: Option<(Arc<Writer>, JoinHandle<()>)>,
}

impl Aof {
    /// BGREWRITEAOF. `later`: the caller sits on shards.
    pub fn rewrite(&self, process: &Arc<Process>, later: bool) -> Result<SaveStarted, SaveRefused> {
        let mut state = self.state();
        if state.rewriting {
            return Err(IN_PROGRESS);
        }
        if later || process.saver.status().in_progress {
            state.scheduled = true;
            state.tries.failed = 0;
            return Ok(SaveStarted::Scheduled);
        }
        self.start_rewrite(process, &mut state)?;
        Ok(SaveStarted::Started)
    }

    pub fn reset_counts(&self) {
        let mut state = self.state();
        (state.status.rewrites, state.status.failed_in_a_row, state.tries.failed) = (0, 0, 0);
        if let Some(line) = &state.line {
            line.queue.delays.store(0, Ordering::Relaxed);
        }
    }

    /// The timer's part: what was put off, what has grown, what cannot be trusted.
    pub fn rewrite_if_due(&self, process: &Arc<Process>, config: &Config) {
        let engine = process.engine();
        let away = engine.is_loading() || process.stopping.load(Ordering::Relaxed);
        let state = &mut *self.state();
        if away || state.rewriting || process.saver.status().in_progress {
            return;
        }
        let distrusted = state.line.as_ref().is_some_and(|line| line.queue.is_distrusted());
        let grown = state.growth_percent(config);
        if !state.scheduled && !distrusted && grown.is_none()
            || state.tries.are_limited(process.now(), &mut state.notes)
        {
            return;
        }
        if let Some(percent) = grown.filter(|_| !state.scheduled && !distrusted) {
            state.notes.notice(format!("Starting automatic rewriting of AOF on {percent}% growth"));
        }
        self.start_rewrite(process, state).ok();
    }

    pub(super) fn start_rewrite(&self, process: &Arc<Process>, state: &mut State) -> Result<(), SaveRefused> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(CANNOT_START);
        }
        let task = Task { epoch: state.epoch, form: base_form(&process.engine().config()) };
        if state.at_work {
            state.next = Some(task);
        } else if let Err(error) = self.start_thread(process, task) {
            let why = reason(&error);
            state.notes.warning(format!("Can't rewrite append only file in background: {why}"));
            state.status.last_rewrite_ok = false;
            return Err(CANNOT_START);
        }
        let pid = std::process::id();
        state.notes.notice(format!("Background append only file rewriting started by pid {pid}"));
        (state.rewriting, state.at_work, state.scheduled) = (true, true, false);
        state.status.rewrites += 1;
        state.status.rewrite_started = Some(process.now());
        Ok(())
    }

    fn start_thread(&self, process: &Arc<Process>, first: Task) -> io::Result<()> {
        let own = Arc::clone(process);
        let work = move || {
            // Of this thread alone, as with saves.
            rustix::process::setpriority_process(None, crate::persist::SAVE_NICENESS).ok();
            let mut task = Some(first);
            while let Some(Task { epoch, form }) = task {
                task = own.aof.run_rewrite(&own, epoch, form);
            }
        };
        aside::spawn("aof-rewrite", work)?;
        Ok(())
    }

    /// Returns what is to be done next.
    fn run_rewrite(&self, process: &Arc<Process>, epoch: u64, form: BaseForm) -> Option<Task> {
        let made = self.prepare(process, epoch, form).and_then(|prepared| self.make_base(process, prepared));
        match &made {
            Ok(()) => LOG.notice("Background AOF rewrite finished successfully"),
            Err(why) => LOG.warning(&format!("Background AOF rewrite terminated with error: {why}")),
        }
        let mut state = self.state();
        // Turning the file off has ended it, and it has not failed then.
        if state.epoch == epoch {
            self.note_end(&mut state, made.is_ok(), process.now());
        }
        let next = state.next.take();
        state.at_work = next.is_some();
        self.rewritten.notify_all();
        next
    }

    /// The rewrite is over.
    fn note_end(&self, state: &mut State, good: bool, now: UnixMs) {
        state.rewriting = false;
        state.tries.failed = if good { 0 } else { state.tries.failed + 1 };
        // Whoever waits for the first base still does.
        state.scheduled |= !good && state.mode == Mode::AwaitsBase;
        let status = &mut state.status;
        status.failed_in_a_row = state.tries.failed;
        status.last_rewrite_ok = good;
        status.last_snapshot_bytes = self.saver.status().last_snapshot_bytes;
        let started = status.rewrite_started.take();
        status.last_rewrite_seconds = started.map(|started| now.seconds() - started.seconds());
    }

    /// The files there are, read when they are needed first.
    pub(super) fn known<'p>(
        &self,
        parts: &'p mut Option<Parts>,
        config: &Config,
    ) -> Result<&'p mut Parts, String> {
        if parts.is_none() {
            let folder = Folder::of(self.disk, config);
            let manifest = folder.manifest()?;
            *parts = Some(Parts { folder, manifest });
        }
        Ok(parts.as_mut().expect("it was just made"))
    }

    fn mode_and_epoch(&self) -> (Mode, u64) {
        let state = self.state();
        (state.mode, state.epoch)
    }

    /// The increment that is to begin. While there is a file already it is in the manifest before anything is
    /// in it.
    fn prepare(&self, process: &Arc<Process>, epoch: u64, form: BaseForm) -> Result<Prepared, String> {
        let config = process.engine().config();
        let mut parts = self.parts.lock();
        let (mode, current) = self.mode_and_epoch();
        if current != epoch {
            return Err(TURNED.to_owned());
        }
        let Parts { folder, manifest } = self.known(&mut parts, &config)?;
        folder.create()?;
        let (folder, base) = (folder.clone(), manifest.next_base(&folder.file_name, form));
        let mut prepared =
            Prepared { mode, epoch, folder, base, form, file: None, kept_from: u64::MAX, line: None };
        let folder = &prepared.folder;
        match mode {
            Mode::Off => {}
            Mode::On => {
                let mut next = manifest.clone();
                let name = next.add_increment(&folder.file_name);
                prepared.file = Some(folder.create_increment(&name)?);
                prepared.kept_from = next.last_increment();
                folder.store(manifest, next)?;
                let name = String::from_utf8_lossy(&name);
                LOG.notice(&format!("Creating AOF incr file {name} on background rewrite"));
            }
            Mode::AwaitsBase => {
                prepared.file = Some(folder.create_increment(&folder.temporary_increment())?);
                let queue = Arc::new(Queue::new(&config));
                prepared.line = Some(self.start_writer(process, &queue, None)?);
            }
        }
        Ok(prepared)
    }

    fn make_base(&self, process: &Arc<Process>, mut prepared: Prepared) -> Result<(), String> {
        let (folder, base) = (prepared.folder.clone(), prepared.base.name.clone());
        let (form, mut cut) = (prepared.form, false);
        let at_cut = || cut = self.change_over(process, &mut prepared);
        let made = match self.write_base(process, &folder, (&base, form), at_cut) {
            Ok(_) if !cut => Err(TURNED.to_owned()),
            Ok(len) => self.put_in_place(process, &prepared, len),
            Err(why) => Err(why),
        };
        if made.is_err() {
            self.give_up_rewrite(process, prepared);
        }
        made
    }

    /// Makes a base of the state of some moment, at which `at_cut` runs with all shards held. Returns its
    /// length.
    pub(super) fn write_base(
        &self,
        process: &Process,
        folder: &Folder,
        (name, form): (&[u8], BaseForm),
        at_cut: impl FnOnce(),
    ) -> Result<u64, String> {
        let base = folder.file(name);
        let config = process.engine().config();
        if form == BaseForm::Rdb {
            let written = self.saver.write_base(process, &base, TEMPORARY_BASE, at_cut);
            return written.map_err(|error| error.to_string());
        }
        let snapshot = folder.path.join(TEMPORARY_SNAPSHOT);
        let stamp = config.aof_timestamp_enabled.then(|| process.now().seconds());
        let saved = self.saver.write_base(process, &snapshot, TEMPORARY_BASE, at_cut);
        saved.map_err(|error| error.to_string())?;
        let incremental_sync = config.aof_rewrite_incremental_fsync;
        let (disk, memory) = (self.disk, &self.rewrite_memory);
        let source = Source { disk, snapshot: &snapshot, stamp, incremental_sync, memory };
        let temporary = folder.path.join(TEMPORARY_COMMANDS);
        let written = source.write(&temporary, &base, &|| self.saver.is_cancelled());
        self.disk.remove(&snapshot).ok();
        written
    }

    /// All shards are held: from here on the new increment is written. False if it is not wanted any more.
    fn change_over(&self, process: &Arc<Process>, prepared: &mut Prepared) -> bool {
        let mut state = self.state();
        if (state.mode, state.epoch) != (prepared.mode, prepared.epoch) {
            self.saver.cancel_base();
            return false;
        }
        let log = &process.engine().log;
        if let Some((writer, thread)) = prepared.line.take() {
            let queue = Arc::clone(&writer.queue);
            if let Some(rules) = state.rules {
                queue.obey(rules);
            }
            let reader = self.attach(process, &queue);
            self.writer.store(Some(writer));
            state.line = Some(Line { queue, reader, thread });
        }
        if let (Some(file), Some(line)) = (prepared.file.take(), &state.line) {
            line.queue.begin_file(file, log.begin_part());
        }
        true
    }

    /// The base is whole: the manifest names it.
    fn put_in_place(&self, process: &Process, prepared: &Prepared, len: u64) -> Result<(), String> {
        let mut parts = self.parts.lock();
        if self.mode_and_epoch() != (prepared.mode, prepared.epoch) {
            return Err(TURNED.to_owned());
        }
        let Parts { folder, manifest } = parts.as_mut().expect("it was prepared");
        let mut next = manifest.clone();
        next.replace_base(prepared.base.clone(), prepared.kept_from);
        if prepared.mode == Mode::AwaitsBase {
            let (old, name) = (folder.temporary_increment(), next.add_increment(&folder.file_name));
            folder.rename_increment(&old, &name)?;
        }
        let stored = folder.store(manifest, next);
        if !is_in_force(manifest, &prepared.base.name) {
            return stored;
        }
        self.settle(process, prepared.mode, len, &stored);
        stored?;
        if !process.engine().config().aof_disable_auto_gc {
            folder.remove_history(manifest);
        }
        Ok(())
    }

    /// The new parts are in force, for certain if they were `stored`. `mode`: when they were begun.
    fn settle(&self, process: &Process, mode: Mode, len: u64, stored: &Result<(), String>) {
        let (mut state, engine) = (self.state(), process.engine());
        let state = &mut *state;
        let was_awaited = mode == Mode::AwaitsBase;
        if was_awaited {
            state.mode = Mode::On;
        }
        state.settled_len = len;
        if let Some(Line { queue, .. }) = &state.line {
            queue.ended_len.store(0, Ordering::Relaxed);
        }
        state.status.base_size = state.current_size();
        let Some(Line { queue, .. }) = &state.line else { return };
        let fault = &engine.log_fault;
        if let Err(why) = stored {
            if was_awaited {
                // After a loss of power the old parts may be in force, and they end before this began.
                queue.doubt();
                fault.set(why.clone());
            }
            return;
        }
        engine.log.set_file(FileState::Whole);
        engine.post_file_waits();
        queue.settle_doubts();
        let good = !queue.is_distrusted() && !queue.is_stuck.load(Ordering::Relaxed);
        if good && fault.is_on() {
            state.notes.warning("AOF write error looks solved, Redis can write again.".into());
            fault.clear();
        }
    }

    /// The old parts stay in force, with the increment that was begun.
    fn give_up_rewrite(&self, process: &Process, prepared: Prepared) {
        let Prepared { folder, base, line, mode, epoch, .. } = prepared;
        let parts = self.parts.lock();
        if parts.as_ref().is_some_and(|parts| is_in_force(&parts.manifest, &base.name)) {
            return;
        }
        folder.remove(&base.name);
        if let Some((writer, thread)) = line {
            writer.queue.order(Orders { sync: false, stop: true });
            thread.join().ok();
        }
        if mode != Mode::AwaitsBase {
            return;
        }
        let mut state = self.state();
        let line = if state.epoch == epoch { state.line.take() } else { None };
        let is_alone = state.line.is_none();
        drop(state);
        self.end_line(process, line);
        if is_alone {
            folder.remove(&folder.temporary_increment());
        }
    }
}

pub(super) fn base_form(config: &Config) -> BaseForm {
    if config.aof_use_rdb_preamble { BaseForm::Rdb } else { BaseForm::Commands }
}

fn is_in_force(manifest: &Manifest, base: &[u8]) -> bool {
    manifest.base.as_ref().is_some_and(|part| part.name == base)
}

impl State {
    /// How much it has grown since the last rewrite, if that is enough for another one.
    fn growth_percent(&self, config: &Config) -> Option<u64> {
        let (size, wanted) = (self.current_size(), config.auto_aof_rewrite_percentage as u64);
        if self.mode != Mode::On || wanted == 0 || size <= config.auto_aof_rewrite_min_size {
            return None;
        }
        let percent = (size.saturating_mul(100) / self.status.base_size.max(1)).saturating_sub(100);
        (percent >= wanted).then_some(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_limited(tries: &mut Tries, now: i64) -> bool {
        tries.are_limited(UnixMs(now), &mut Notes::default())
    }

    #[test]
    fn failures_make_the_pauses_longer() {
        let mut tries = Tries { failed: 2, ..Tries::default() };
        assert!(!is_limited(&mut tries, 0));
        tries.failed = 3;
        let (mut now, mut pauses) = (0, Vec::new());
        for _ in 0..8 {
            let begin = now;
            while is_limited(&mut tries, now) {
                now += MINUTE_MS;
            }
            pauses.push((now - begin) / MINUTE_MS);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        tries.failed = 0;
        assert!(!is_limited(&mut tries, now));
    }
}
