//! Replays a log: its requests go the pipeline's one way, without a client, without being logged again, and
//! without showing in statistics. What they answer is dropped.

use resp::reply::Reply;
use store::Wanted;

use crate::admit::unknown;
use crate::args::Argv;
use crate::clients::Client;
use crate::engine::{Engine, WorkerSeat};
use crate::pipeline::Prepared;
use crate::session::{Origin, Session};

/// The requests of one file, one after the other.
pub struct Replay<'a> {
    engine: &'a Engine,
    seat: WorkerSeat,
    session: Session,
    reply: Reply,
    /// Requests that were refused: whoever wrote the log was not refused.
    pub refused: u64,
    /// What the first of them was told.
    pub refusal: Option<String>,
    requests: u64,
    wanted: Vec<Wanted>,
}

/// The log holds a request without which what it leads to would be another state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unplayable {
    /// A command or subcommand that there is not; what a client is told who asks for it.
    UnknownCommand(String),
    /// Libraries of functions were refused, and why. They were accepted once: without them the next rewrite
    /// would drop them for good.
    Libraries(Vec<u8>),
}

/// After so many requests the memory they took is counted.
const METER_EVERY: u64 = 256;

impl<'a> Replay<'a> {
    pub fn new(engine: &'a Engine) -> Replay<'a> {
        let mut session = Session::new(Client::nobody(), true);
        session.origin = Origin::Replay;
        let seat = WorkerSeat::uncounted(engine);
        let (reply, wanted) = (Reply::default(), Vec::new());
        Replay { engine, seat, session, reply, refused: 0, refusal: None, requests: 0, wanted }
    }

    pub fn prepare(&self, argv: &Argv<'_>) -> Prepared {
        self.engine.prepare(argv)
    }

    /// Fetches what the first keys of these requests lead to. Which database some of them mean is not known
    /// before they run.
    pub fn look_ahead<'p>(&mut self, requests: impl Iterator<Item = &'p Prepared>) {
        let db = self.session.db;
        self.wanted.clear();
        self.wanted
            .extend(requests.filter_map(|request| request.hash).map(|hash| Wanted { db, hash: hash.get() }));
        self.engine.store.look_ahead(&self.wanted, &[]);
    }

    pub fn run(&mut self, prepared: &Prepared, argv: &Argv<'_>) -> Result<(), Unplayable> {
        let Some(command) = prepared.command else {
            let text = unknown(&self.engine.config(), &self.session, argv).to_string();
            return Err(Unplayable::UnknownCommand(text));
        };
        let host = &self.engine.host;
        if self.requests.is_multiple_of(METER_EVERY) {
            self.seat.evictor.meter.report(&self.engine.memory);
        }
        if command.runs_scripts {
            // A script's time counts from here.
            self.seat.worker.clock_ns = host.monotonic_ns();
        }
        self.requests += 1;
        let errors = self.seat.worker.stats.error_replies.value();
        self.engine.run(&mut self.seat, &mut self.session, prepared, argv, &mut self.reply);
        let errors = self.seat.worker.stats.error_replies.value() - errors;
        match self.reply.buf.strip_prefix(b"-") {
            Some(text) => {
                let text = text.trim_ascii_end();
                self.refusal.get_or_insert_with(|| String::from_utf8_lossy(text).into_owned());
                self.refused += 1;
            }
            None if errors > 0 && argv.is(0, "exec") => {
                self.refusal.get_or_insert_with(|| format!("{errors} of the transaction's requests"));
                self.refused += errors;
            }
            None => {}
        }
        self.reply.clear();
        let refusal = self.seat.worker.refused_libraries.take();
        refusal.map_or(Ok(()), |refusal| Err(Unplayable::Libraries(refusal)))
    }

    /// Inside a transaction whose end has not come.
    pub fn is_in_transaction(&self) -> bool {
        self.session.in_multi()
    }
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        self.engine.clear_connection(&mut self.session);
        self.seat.evictor.meter.report(&self.engine.memory);
    }
}
