//! Clients by how much memory they hold, so that those who hold most are found without a look at all. It
//! knows a client's class, a power of two: who is weighed is counted by the client's worker, and ended by the
//! caller.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::clients::{Client, ClientId, Held};

/// What clients are weighed by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pool {
    /// All that they hold but large arguments, and the names that they brought.
    Clients,
    Arguments,
    Both,
}

#[derive(Default)]
pub struct Weights(Mutex<Scale>);

#[derive(Default)]
struct Scale {
    clients: Classes,
    arguments: Classes,
    /// Those that have to go and are there still.
    leaving: ById,
}

type ById = BTreeMap<ClientId, Arc<Client>>;

/// In each class those who hold up to twice as much as in the one before; in none those who hold nothing.
struct Classes([ById; usize::BITS as usize]);

impl Default for Classes {
    fn default() -> Classes {
        Classes(std::array::from_fn(|_| ById::new()))
    }
}

impl Classes {
    fn shift(&mut self, client: &Arc<Client>, before: usize, now: usize) {
        let (before, now) = (before.checked_ilog2(), now.checked_ilog2());
        if before == now {
            return;
        }
        if let Some(class) = before {
            self.0[class as usize].remove(&client.id);
        }
        if let Some(class) = now {
            self.0[class as usize].insert(client.id, Arc::clone(client));
        }
    }
}

impl Pool {
    fn weigh(self, client: &Client) -> u64 {
        let held = client.held();
        (match self {
            Pool::Clients => held.weight(),
            Pool::Arguments => held.arguments,
            Pool::Both => held.weight() + held.arguments,
        }) as u64
    }
}

impl Scale {
    /// Clients, those who hold most first: within a class in any order.
    fn heaviest(&self, pool: Pool) -> impl Iterator<Item = &Arc<Client>> {
        let clients = (pool != Pool::Arguments).then_some(&self.clients);
        let arguments = (pool != Pool::Clients).then_some(&self.arguments);
        let of_class = move |class: usize| {
            let lists = [clients, arguments].into_iter().flatten();
            lists.flat_map(move |classes| classes.0[class].values())
        };
        (0..usize::BITS as usize).rev().flat_map(of_class)
    }
}

impl Weights {
    /// A client held `before`, and holds `now`; one that has left holds nothing.
    #[inline]
    pub fn reweigh(&self, client: &Arc<Client>, before: Held, now: Held) {
        let classes = |held: Held| (held.weight().checked_ilog2(), held.arguments.checked_ilog2());
        if classes(before) != classes(now) {
            self.shift(client, before, now);
        }
    }

    #[cold]
    fn shift(&self, client: &Arc<Client>, before: Held, now: Held) {
        let mut scale = self.0.lock();
        scale.clients.shift(client, before.weight(), now.weight());
        scale.arguments.shift(client, before.arguments, now.arguments);
        if now == Held::default() {
            scale.leaving.remove(&client.id);
        }
    }

    /// Those that have to go so that the others, where all together hold `held`, hold less than `limit`: of
    /// the heaviest class first. They are marked as killed; the caller ends them.
    pub fn doom_heaviest(&self, held: u64, limit: u64, pool: Pool) -> Vec<Arc<Client>> {
        let scale = &mut *self.0.lock();
        let leaving: u64 = scale.leaving.values().map(|client| pool.weigh(client)).sum();
        let (mut rest, mut doomed) = (held.saturating_sub(leaving), Vec::new());
        for client in scale.heaviest(pool) {
            if rest < limit {
                break;
            }
            let is_killed = client.killed.load(Ordering::Relaxed);
            if is_killed && scale.leaving.contains_key(&client.id) || !is_killed && !client.may_be_evicted() {
                continue;
            }
            rest = rest.saturating_sub(pool.weigh(client));
            // Who is listed twice, or was killed by others, is counted once.
            if !client.killed.swap(true, Ordering::Relaxed) {
                doomed.push(Arc::clone(client));
            }
        }
        scale.leaving.extend(doomed.iter().map(|client| (client.id, Arc::clone(client))));
        doomed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(held: &[(usize, usize)]) -> (Weights, Vec<Arc<Client>>) {
        let weights = Weights::default();
        let arrive = |(index, (own, arguments)): (usize, &(usize, usize))| {
            let client = Client::nameless(ClientId(index as u64 + 1));
            let missing = (own + arguments).saturating_sub(client.memory());
            client.argument_bytes.store(missing, Ordering::Relaxed);
            client.big_bytes.store(*arguments, Ordering::Relaxed);
            weights.reweigh(&client, Held::default(), client.held());
            client
        };
        let all = held.iter().enumerate().map(arrive).collect();
        (weights, all)
    }

    fn doomed(weights: &Weights, all: &[Arc<Client>], limit: u64, pool: Pool) -> Vec<u64> {
        let held = all.iter().map(|client| pool.weigh(client)).sum();
        let mut ids: Vec<u64> =
            weights.doom_heaviest(held, limit, pool).iter().map(|client| client.id.0).collect();
        ids.sort_unstable();
        ids
    }

    const MB: usize = 1 << 20;

    #[test]
    fn the_heaviest_go_until_the_others_fit() {
        let check = |pool, limit: usize, expected: &[u64]| {
            let (weights, all) = clients(&[(8 * MB, 0), (MB, 0), (MB, 9 * MB), (3 * MB, 0), (MB, 0)]);
            assert_eq!(doomed(&weights, &all, limit as u64, pool), expected, "{pool:?} {limit}");
        };
        check(Pool::Clients, 15 * MB, &[]);
        check(Pool::Clients, 14 * MB, &[1]);
        check(Pool::Clients, 4 * MB, &[1, 4]);
        check(Pool::Clients, MB / 2, &[1, 2, 3, 4, 5]);
        check(Pool::Arguments, 9 * MB, &[3]);
        check(Pool::Arguments, 10 * MB, &[]);
        check(Pool::Both, 4 * MB, &[1, 3, 4]);
    }

    #[test]
    fn what_a_client_has_others_keep_weighs_as_its_own() {
        let (weights, all) = clients(&[(5 * MB, 0), (4 * MB, 0)]);
        let before = all[1].held();
        all[1].enter_name(5 * MB);
        weights.reweigh(&all[1], before, all[1].held());
        assert_eq!(doomed(&weights, &all, 13 * MB as u64, Pool::Clients), [2]);
    }

    #[test]
    fn who_has_to_go_already_is_not_replaced() {
        let (weights, all) = clients(&[(8 * MB, 0), (4 * MB, 0), (2 * MB, 0)]);
        assert_eq!(doomed(&weights, &all, 7 * MB as u64, Pool::Clients), [1]);
        assert_eq!(doomed(&weights, &all, 7 * MB as u64, Pool::Clients), []);
        // It has left, and others have grown since.
        weights.reweigh(&all[0], all[0].held(), Held::default());
        assert_eq!(doomed(&weights, &all[1..], 7 * MB as u64, Pool::Clients), []);
        let before = all[2].held();
        all[2].argument_bytes.store(16 * MB, Ordering::Relaxed);
        weights.reweigh(&all[2], before, all[2].held());
        assert_eq!(doomed(&weights, &all[1..], 7 * MB as u64, Pool::Clients), [3]);
    }

    #[test]
    fn who_was_killed_by_others_counts_as_gone_and_who_must_not_go_stays() {
        let (weights, all) = clients(&[(8 * MB, 0), (4 * MB, 0), (2 * MB, 0)]);
        all[0].killed.store(true, Ordering::Relaxed);
        all[1].set_no_evict(true);
        assert_eq!(doomed(&weights, &all, 7 * MB as u64, Pool::Clients), []);
        assert_eq!(doomed(&weights, &all, 5 * MB as u64, Pool::Clients), [3]);
        assert_eq!(doomed(&weights, &all, 1, Pool::Clients), []);
    }
}
