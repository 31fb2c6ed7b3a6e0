//! What a worker does for its other clients while a script of its own has only begun: who asks for nothing
//! that the script could see or change is answered. Everything else stays in its socket, and so in its
//! order: it is never read here.

use std::time::Duration;

use engine::Argv;
use engine::pipeline::is_aside;
use resp::request::{Limits, Parser, Progress};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::Worker;
use super::intake::{Arena, lay_out};
use crate::conn::Slot;
use crate::poll::{Ready, WAKE};

/// How long the script waits for others, about; who is left has the next turn.
const GLANCE_NS: u64 = 200_000;

/// Bytes of a connection that are looked at: requests for no data are short.
const LOOKED_AT: usize = 1024;

impl Worker {
    pub fn glance(&mut self) {
        // The script would wait for the disk.
        if self.engine.log.holds_replies() {
            return;
        }
        // If the poll loop fails, the next real tick says so.
        let Ok(mut ready) = self.unseen_news(Duration::ZERO) else { return };
        if !ready.is_empty() {
            self.let_replies_go();
            let seen = self.serve_aside(&ready);
            ready.drain(..seen);
        }
        self.meanwhile.ready = ready;
    }

    /// Serves those who can be served now and keeps the news of others for later; returns how many have had
    /// their turn.
    fn serve_aside(&mut self, ready: &[Ready]) -> usize {
        self.seat.refresh(&self.engine);
        let end_ns = self.seat.worker.read_clocks(&*self.engine.host) + GLANCE_NS;
        let (mut arena, mut seen) = (self.lent_arena(), 0);
        while seen < ready.len() && (seen == 0 || self.engine.host.monotonic_ns() < end_ns) {
            let news = ready[seen];
            seen += 1;
            match news.key {
                WAKE => self.sort_messages(),
                slot if self.must_wait(slot as Slot) => self.meanwhile.keep(news),
                slot if self.receive_aside(&mut arena, slot as Slot, &news) => {}
                _ => self.meanwhile.leave(news),
            }
        }
        self.run_arena(&mut arena);
        self.meanwhile.arena = Some(arena);
        self.flush();
        seen
    }

    /// Takes in what can be answered now; false: the connection's news is for later.
    fn receive_aside(&mut self, arena: &mut Arena, slot: Slot, news: &Ready) -> bool {
        if news.ended || news.broken || news.writable {
            return false;
        }
        let Some(connection) = self.connections.at(slot) else { return false };
        if connection.input.is_some() || connection.session.in_multi() {
            return false;
        }
        let mut bytes = [0; LOOKED_AT];
        let looked_at = match recv(&connection.socket, &mut bytes, RecvFlags::PEEK) {
            Ok((len, _)) => &mut bytes[..len],
            Err(Errno::AGAIN) => {
                connection.unread = false;
                return true;
            }
            Err(_) => return false,
        };
        let limits = connection.parse_limits(&self.seat.config);
        let len = aside_len(looked_at, &limits);
        if len > 0 {
            self.make_room_in(arena);
            self.receive_in_arena(arena, slot, len);
        }
        len > 0
    }
}

/// Bytes of the requests at the beginning that can be answered now.
fn aside_len(bytes: &mut [u8], limits: &Limits) -> usize {
    let (mut parser, mut spans, mut end) = (Parser::default(), Vec::new(), 0);
    while let Ok(Progress::Done { end: next, inline }) = parser.parse(bytes, end, limits, &mut spans) {
        if inline {
            lay_out(&parser.take_inline(), bytes, end, &mut spans);
        }
        if spans.is_empty() || !is_aside(&Argv::new(bytes, &spans, &[])) {
            break;
        }
        spans.clear();
        end = next;
    }
    end
}
