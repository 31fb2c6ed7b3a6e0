//! Replays a log: its requests go the pipeline's one way, without a client, without being logged again, and
//! without showing in statistics. What they answer is dropped.

use resp::reply::Reply;

use crate::args::Argv;
use crate::clients::Client;
use crate::engine::{Engine, WorkerSeat};
use crate::session::{Origin, Session};

/// The requests of one file, one after the other.
pub struct Replay<'a> {
    engine: &'a Engine,
    seat: WorkerSeat,
    session: Session,
    reply: Reply,
    /// Requests that were refused: whoever wrote the log was not refused.
    pub refused: u64,
    requests: u64,
}

/// The log holds a request that nobody here can run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownCommand;

/// After so many requests the memory they took is counted.
const METER_EVERY: u64 = 256;

impl<'a> Replay<'a> {
    pub fn new(engine: &'a Engine) -> Replay<'a> {
        let mut session = Session::new(Client::nobody(), true);
        session.origin = Origin::Replay;
        let seat = WorkerSeat::uncounted(engine);
        Replay { engine, seat, session, reply: Reply::default(), refused: 0, requests: 0 }
    }

    pub fn run(&mut self, argv: &Argv<'_>) -> Result<(), UnknownCommand> {
        let prepared = self.engine.prepare(argv);
        if prepared.command.is_none() {
            return Err(UnknownCommand);
        }
        if self.requests.is_multiple_of(METER_EVERY) {
            self.seat.evictor.meter.report(&self.engine.memory);
        }
        self.requests += 1;
        self.engine.run(&mut self.seat, &mut self.session, &prepared, argv, &mut self.reply);
        self.refused += u64::from(self.reply.buf.first() == Some(&b'-'));
        self.reply.clear();
        Ok(())
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
