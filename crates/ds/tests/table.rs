//! The table against a model, under random schedules of everything that can happen to it.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use base::hash::hash;
use base::limits;
use base::random::Rng;
use ds::hash::Field;
use ds::{DuePosition, ScanPosition, Table, WalkPosition};
use proptest::prelude::*;

type Model = HashMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

/// A table and what it should contain, driven by a seed.
struct Driver {
    table: Table<Field>,
    model: Model,
    keys: Vec<Vec<u8>>,
    rng: Rng,
    running: Vec<Running>,
    fresh: u64,
}

/// A snapshot: what it should see, and what it has seen.
struct Running {
    number: u32,
    cut: Model,
    seen: Model,
    /// None when the walk is through.
    position: Option<WalkPosition>,
}

impl Driver {
    fn new(seed: u64) -> Self {
        Driver {
            table: Table::new(0),
            model: Model::new(),
            keys: Vec::new(),
            rng: Rng::from_seed(seed),
            running: Vec::new(),
            fresh: 0,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }

    fn insert(&mut self) {
        self.fresh += 1;
        let key = format!("key:{}", self.fresh).into_bytes();
        let value = vec![b'v'; self.below(20)];
        let expiry = self.expiry();
        let slot = self.table.insert_new(hash(&key), Field::new(&key, &value, expiry));
        assert_eq!(self.table.view(slot).field, key);
        assert!(self.running.iter().all(|own| self.table.is_done(own.number, slot)), "born done");
        self.keys.push(key.clone());
        self.model.insert(key, (value, expiry));
    }

    fn expiry(&mut self) -> Option<i64> {
        (self.below(3) == 0).then(|| self.below(10_000) as i64)
    }

    /// What a caller does before it changes or removes an item.
    fn save(&mut self, key: &[u8]) {
        let slot = self.table.find(hash(key), key).expect("the key is in the table");
        for Running { number, seen, .. } in &mut self.running {
            if !self.table.is_done(*number, slot) {
                self.table.mark_done(*number, slot);
                see(seen, self.table.view(slot));
            }
        }
    }

    fn remove(&mut self) {
        if self.keys.is_empty() {
            return self.insert();
        }
        let index = self.below(self.keys.len());
        let key = self.keys.swap_remove(index);
        self.save(&key);
        let slot = self.table.find(hash(&key), &key).expect("the key is in the table");
        let item = self.table.remove(slot);
        let (value, expiry) = self.model.remove(&key).expect("the key is in the model");
        assert_eq!((item.view().value, item.view().expires_at), (&value[..], expiry));
        assert_eq!(self.table.find(hash(&key), &key), None);
    }

    fn change(&mut self) {
        if self.keys.is_empty() {
            return self.insert();
        }
        let index = self.below(self.keys.len());
        let key = self.keys[index].clone();
        self.save(&key);
        let slot = self.table.find(hash(&key), &key).expect("the key is in the table");
        let value = vec![b'w'; self.below(20)];
        let expiry = self.expiry();
        if self.below(2) == 0 {
            let old = self.table.replace(slot, Field::new(&key, &value, expiry));
            assert_eq!(old.view().value, self.model[&key].0);
        } else {
            self.table.update(slot, |old| (old.with_value(&value).with_expiry(expiry), ()));
        }
        self.model.insert(key, (value, expiry));
    }

    /// One operation; insertions are `growth` of 100.
    fn step(&mut self, growth: usize) {
        match self.below(100) {
            roll if roll < growth => self.insert(),
            roll if roll % 4 == 0 => self.change(),
            _ => self.remove(),
        }
    }

    /// Up to `most` steps by which the table grows until it has `len` items.
    fn burst(&mut self, most: usize, growth: usize, len: usize) {
        let count = self.below(most + 1);
        self.steps(count, if self.model.len() > len { 20 } else { growth });
    }

    fn steps(&mut self, count: usize, growth: usize) {
        (0..count).for_each(|_| self.step(growth));
    }

    /// Adds keys whose hashes begin with the three bits `region`.
    fn insert_into(&mut self, region: u64, count: usize) {
        for _ in 0..count {
            while hash(format!("key:{}", self.fresh + 1).as_bytes()) >> 61 != region {
                self.fresh += 1;
            }
            self.insert();
        }
    }

    fn clear_region(&mut self, region: u64) {
        let (gone, kept) =
            std::mem::take(&mut self.keys).into_iter().partition(|key| hash(key) >> 61 == region);
        self.keys = gone;
        self.shrink_to(0);
        self.keys = kept;
    }

    fn shrink_to(&mut self, len: usize) {
        while self.keys.len() > len {
            self.remove();
        }
    }

    fn begin_snapshot(&mut self, number: u32) {
        self.table.snapshot_begin(number);
        let (cut, seen, position) = (self.model.clone(), Model::new(), Some(WalkPosition::default()));
        self.running.push(Running { number, cut, seen, position });
    }

    /// A step of a snapshot's walk; false when it is through.
    fn walk(&mut self, index: usize, lines: usize) -> bool {
        let mut stop = self.rng.below(40);
        let Running { number, seen, position, .. } = &mut self.running[index];
        let Some(from) = *position else { return false };
        *position = self.table.snapshot_walk(*number, from, lines, &mut |item| {
            see(seen, item);
            stop = stop.saturating_sub(1);
            if stop == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        position.is_some()
    }

    /// Ends or cancels a snapshot.
    fn end_snapshot(&mut self, index: usize) {
        let Running { number, cut, seen, position } = self.running.swap_remove(index);
        assert!(position.is_some() || seen == cut, "snapshot {number} has seen its cut");
        self.table.snapshot_end(number);
        assert_eq!(self.table.snapshot_active(), !self.running.is_empty());
    }

    /// What happens to four snapshots at most: one begins, walks on or comes to an end.
    fn snapshot_step(&mut self, number: u32, lines: usize) {
        let index = self.below(limits::SNAPSHOTS_MOST);
        if index >= self.running.len() {
            self.begin_snapshot(number);
        } else if self.below(60) == 0 || !self.walk(index, lines) {
            self.end_snapshot(index);
        }
    }

    fn check(&self) {
        self.table.check_invariants();
        assert_eq!(self.table.len(), self.model.len());
        let expiring = self.model.values().filter(|(_, expiry)| expiry.is_some()).count();
        assert_eq!(self.table.expiring_count(), expiring);
        for (key, (value, expiry)) in &self.model {
            let (_, item) = self.table.find_view(hash(key), key).expect("every key of the model is there");
            assert_eq!((item.value, item.expires_at), (&value[..], *expiry));
        }
    }
}

fn see(seen: &mut Model, item: ds::hash::FieldRef<'_>) {
    let before = seen.insert(item.field.to_vec(), (item.value.to_vec(), item.expires_at));
    assert_eq!(before, None, "an item is saved once");
}

/// Fewer cases than usual, as each is large; PROPTEST_CASES (256 by default) scales them.
fn cases(count: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: (usual.cases * count).div_ceil(256), max_shrink_iters: 50, ..usual }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn agrees_with_a_map(
        seed: u64,
        phases in prop::collection::vec((0..6000usize, prop::sample::select(vec![0, 5, 48, 60, 100])), 1..6),
    ) {
        let mut driver = Driver::new(seed);
        for (count, growth) in phases {
            driver.steps(count, growth);
            driver.check();
        }
        let mut items = 0;
        driver.table.for_each(|_| items += 1);
        prop_assert_eq!(items, driver.model.len());
    }

    #[test]
    fn scan_returns_all_that_stays(
        seed: u64,
        stable in 0..1500usize,
        churn in 0..18_500usize,
        count in 1..300usize,
    ) {
        let mut driver = Driver::new(seed);
        driver.steps(stable, 100);
        let mut wanted: BTreeSet<Vec<u8>> = std::mem::take(&mut driver.keys).into_iter().collect();
        driver.steps(churn, 100);
        let (mut cursor, mut bursts) = (0, 30);
        for round in 0.. {
            prop_assert!(round < 100_000, "a scan ends");
            cursor = driver.table.scan(cursor, count, &mut |item| {
                wanted.remove(item.field);
            });
            prop_assert!(cursor < 1 << 53, "some clients take it for a double");
            if cursor == 0 {
                break;
            }
            if bursts > 0 && driver.below(8) == 0 {
                bursts -= 1;
                match driver.below(4) {
                    0 => driver.steps(3000, 100),
                    1 => driver.steps(1000, 50),
                    2 => driver.shrink_to(4000),
                    _ => driver.shrink_to(100),
                }
            }
        }
        prop_assert!(wanted.is_empty(), "{} items were missed", wanted.len());
    }

    #[test]
    fn scan_of_a_resting_table_returns_each_item_once(
        seed: u64,
        len in 0..20_000usize,
        removed in 0..20_000usize,
        count in 1..2000usize,
    ) {
        let mut driver = Driver::new(seed);
        driver.steps(len, 100);
        driver.steps(removed.min(len), 0);
        let mut cursor = 0;
        let mut seen = BTreeSet::new();
        loop {
            let before = seen.len();
            cursor = driver.table.scan(cursor, count, &mut |item| {
                assert!(seen.insert(item.field.to_vec()), "returned twice");
            });
            if cursor == 0 {
                break;
            }
            prop_assert!(seen.len() - before <= 4 * count + 64, "a step is about as long as asked");
        }
        prop_assert_eq!(seen.len(), driver.model.len());
    }

    #[test]
    fn scan_takes_any_cursor(seed: u64, len in 0..5000usize, cursor: u64, count: usize) {
        let mut driver = Driver::new(seed);
        driver.steps(len, 100);
        driver.table.scan(cursor, count % 1000, &mut |_| {});
    }

    #[test]
    fn scan_cursors_compose_over_shards(seed: u64, len in 0..9000usize, bits in 0..6u8) {
        let mut rng = Rng::from_seed(seed);
        let mut shards: Vec<Table<Field>> = (0..1 << bits).map(|_| Table::new(bits)).collect();
        let shard_of = |hash: u64| hash.checked_shr(64 - u32::from(bits)).unwrap_or(0) as usize;
        for index in 0..len {
            let key = index.to_string().into_bytes();
            shards[shard_of(hash(&key))].insert_new(hash(&key), Field::new(&key, b"", None));
        }
        shards.iter().for_each(Table::check_invariants);
        let (mut cursor, mut seen) = (0, BTreeSet::new());
        loop {
            let (shard, position) = ScanPosition::from_cursor(cursor, bits);
            prop_assert!((shard as usize) < shards.len());
            let count = 1 + rng.below(100) as usize;
            let next = shards[shard as usize].scan_from(position, count, &mut |item| {
                assert!(seen.insert(item.field.to_vec()), "returned twice");
            });
            let last = shard as usize == shards.len() - 1;
            cursor = match next {
                Some(next) => next.to_cursor(shard, bits),
                None if last => break,
                None => ScanPosition::default().to_cursor(shard + 1, bits),
            };
            prop_assert!(cursor != 0 && cursor < 1 << 53);
        }
        prop_assert_eq!(seen.len(), len);
    }

    #[test]
    fn snapshot_sees_the_cut_once(
        seed: u64,
        before in 0..12_000usize,
        growth in prop::sample::select(vec![10usize, 30, 50, 70, 95]),
        burst in 0..400usize,
        lines in 1..40usize,
    ) {
        let mut driver = Driver::new(seed);
        driver.steps(before, 90);
        for number in 1..=3 {
            driver.begin_snapshot(number);
            let cancelled = number == 2;
            while driver.walk(0, lines) {
                if cancelled && driver.below(50) == 0 {
                    break;
                }
                driver.burst(burst, growth, 15_000);
            }
            driver.check();
            driver.end_snapshot(0);
            driver.steps(500, growth);
        }
    }

    #[test]
    fn snapshots_at_once_see_their_own_cuts(
        seed: u64,
        before in 0..6000usize,
        growth in prop::sample::select(vec![10usize, 30, 50, 70, 95]),
        burst in 0..400usize,
        lines in 1..80usize,
    ) {
        let mut driver = Driver::new(seed);
        driver.steps(before, 90);
        for number in 1..=400 {
            driver.snapshot_step(number, lines);
            driver.burst(burst, growth, 8000);
        }
        driver.check();
        while !driver.running.is_empty() {
            while driver.walk(0, lines) {}
            driver.end_snapshot(0);
        }
        // The next one finds what the others left behind.
        driver.begin_snapshot(1000);
        while driver.walk(0, lines) {}
        prop_assert_eq!(driver.table.snapshot_memory(), 0);
        driver.end_snapshot(0);
    }

    #[test]
    fn due_items_are_found(seed: u64, before in 0..9000usize, slice in 1..400usize, growth in 20..80usize) {
        let mut driver = Driver::new(seed);
        driver.steps(before, 95);
        check_due(&mut driver, slice, 20, growth);
    }
}

proptest! {
    /// Here removals often move an item from before the position to behind it.
    #[test]
    fn due_items_are_found_in_a_full_segment(seed: u64, before in 50..62usize, slice in 1..12usize) {
        let mut driver = Driver::new(seed);
        driver.steps(before, 100);
        check_due(&mut driver, slice, 1, 55);
    }
}

fn check_due(driver: &mut Driver, slice: usize, steps: usize, growth: usize) {
    let mut position = DuePosition::default();
    for now in (0..10_000).step_by(400) {
        for _ in 0..20 {
            expire_some(driver, &mut position, now, slice, Leave::One(10));
            driver.steps(steps, growth);
            if driver.keys.len() < 100 {
                driver.table.check_invariants();
            }
        }
        driver.check();
        // A whole round without a removal has seen everything; removals may move items past it.
        let (mut rounds, mut len) = (0, usize::MAX);
        while len != driver.model.len() || rounds < 2 {
            len = driver.model.len();
            while !expire_some(driver, &mut position, now, slice, Leave::None) {}
            rounds += 1;
        }
        assert!(rounds < 10);
        driver.check();
        let due = driver.model.values().filter(|(_, expiry)| expiry.is_some_and(|at| at <= now));
        assert_eq!(due.count(), 0);
    }
}

#[derive(Clone, Copy)]
enum Leave {
    None,
    /// One in so many due items is not removed.
    One(usize),
}

/// Removes what is due within a budget; says whether the round has ended.
fn expire_some(
    driver: &mut Driver,
    position: &mut DuePosition,
    now: i64,
    slice: usize,
    leave: Leave,
) -> bool {
    let mut budget = slice;
    while let Some(slot) = driver.table.next_due(position, now, &mut budget) {
        let item = driver.table.view(slot);
        assert!(item.expires_at.is_some_and(|at| at <= now), "what is due is due");
        if matches!(leave, Leave::One(of) if driver.rng.below(of as u64) == 0) {
            continue;
        }
        let key = driver.table.remove(slot).view().field.to_vec();
        driver.model.remove(&key);
        driver.keys.retain(|other| *other != key);
    }
    budget > 0
}

#[test]
fn two_expire_rounds_at_a_time_do_no_harm() {
    let mut driver = Driver::new(5);
    driver.steps(6000, 100);
    let mut positions = [DuePosition::default(); 3];
    for now in (0..10_000).step_by(100) {
        let which = driver.below(3);
        expire_some(&mut driver, &mut positions[which], now, 77, Leave::One(5));
        driver.steps(30, 55);
        driver.table.check_invariants();
    }
}

#[test]
fn an_item_that_is_left_does_not_block_the_round() {
    let mut driver = Driver::new(6);
    driver.steps(3000, 100);
    let due = driver.table.expiring_count();
    let (mut position, mut budget, mut found) = (DuePosition::default(), 100_000, BTreeSet::new());
    while let Some(slot) = driver.table.next_due(&mut position, i64::MAX - 1, &mut budget) {
        assert!(found.insert(driver.table.view(slot).field.to_vec()), "found twice in one round");
    }
    assert!(budget > 0);
    assert_eq!(found.len(), due);
}

#[test]
fn memory_comes_back() {
    let mut driver = Driver::new(1);
    driver.steps(50_000, 100);
    let full = driver.table.memory();
    assert!(full < 50_000 * 11, "{full} bytes for 50,000 items");
    while driver.keys.len() > 10 {
        driver.remove();
    }
    driver.check();
    assert!(driver.table.memory() < 2000, "{} bytes for 10 items", driver.table.memory());
    assert!(driver.table.segment_count() <= 2);
    while !driver.keys.is_empty() {
        driver.remove();
    }
    assert!(driver.table.memory() < 512);
    driver.steps(3000, 100);
    driver.check();
}

/// Items come and go by eighths of the hashes, so that segments split and merge in any order.
#[test]
fn segments_split_and_merge_in_any_order() {
    for seed in 0..16 {
        let mut driver = Driver::new(seed);
        for _ in 0..60 {
            let region = driver.rng.below(8);
            if driver.below(2) == 0 {
                driver.insert_into(region, 1500);
            } else {
                driver.clear_region(region);
            }
            driver.table.check_invariants();
        }
        driver.shrink_to(0);
        driver.check();
        assert_eq!(driver.table.segment_count(), 1);
    }
}

#[test]
fn a_table_is_laid_out_for_what_comes() {
    for (count, segments) in [(0, 0), (1, 1), (900, 1), (1003, 2), (28_000, 32), (100_000, 128)] {
        let mut driver = Driver::new(1);
        driver.table.lay_out(count);
        driver.table.check_invariants();
        assert_eq!(driver.table.segment_count(), segments, "{count} items");
        (0..count).for_each(|_| driver.insert());
        driver.check();
        assert_eq!(driver.table.segment_count(), segments, "{count} items need no more");
        assert!(driver.table.memory() <= 144 + count * 11, "{} for {count}", driver.table.memory());
        driver.table.lay_out(10 * count);
        assert_eq!(driver.table.segment_count(), segments, "it is laid out before anything is in it");
        driver.shrink_to(0);
        driver.check();
        assert!(driver.table.segment_count() <= 1);
    }
}

#[test]
fn a_table_that_expects_more_grows_by_division_only() {
    let mut driver = Driver::new(1);
    driver.table.expect(62_000);
    driver.table.lay_out(4_000);
    let (mut segments, mut memory, mut rebuilt) = (driver.table.segment_count(), driver.table.memory(), 0);
    for _ in 0..62_000 {
        driver.insert();
        let now = (driver.table.segment_count(), driver.table.memory());
        rebuilt += usize::from(now.1 != memory && now.0 == segments);
        (segments, memory) = now;
    }
    driver.check();
    assert!(rebuilt <= segments / 8, "{rebuilt} of {segments} segments were rebuilt");
    assert!(memory <= 62_000 * 12, "{memory}");
    driver.shrink_to(0);
    driver.table.expect(0);
    (0..2_000).for_each(|_| driver.insert());
    assert!(driver.table.memory() <= 2_000 * 16, "{}", driver.table.memory());
}

/// The walk of a snapshot that runs already has nothing to see.
#[test]
fn what_comes_into_a_laid_out_table_is_born_done() {
    let mut driver = Driver::new(1);
    driver.begin_snapshot(1);
    driver.table.lay_out(10_000);
    (0..10_000).for_each(|_| driver.insert());
    driver.check();
}

#[test]
fn a_small_table_is_small() {
    let mut driver = Driver::new(2);
    assert_eq!(driver.table.memory(), 0);
    driver.insert();
    assert_eq!(driver.table.memory(), 64 + 64 + 16);
}

#[test]
fn random_is_fair() {
    let check = |len: usize, removed: usize| {
        let mut driver = Driver::new(3);
        driver.steps(len, 100);
        (0..removed).for_each(|_| driver.remove());
        let mut counts: HashMap<Vec<u8>, u32> = HashMap::new();
        let draws = (len - removed) * 100;
        for _ in 0..draws {
            let Driver { table, rng, .. } = &mut driver;
            let slot = table.random(&mut |bound| rng.below(bound)).expect("the table has items");
            *counts.entry(table.view(slot).field.to_vec()).or_default() += 1;
        }
        assert_eq!(counts.len(), len - removed, "everything is drawn");
        // 100 expected with a deviation of 10: 6 deviations are beyond chance.
        assert!(counts.values().all(|&count| (40..170).contains(&count)), "{len} {removed}");
    };
    check(1, 0);
    check(7, 0);
    check(300, 0);
    check(5000, 0);
    check(20_000, 19_000);
    assert_eq!(Table::<Field>::new(0).random(&mut |_| 0), None);
}

#[test]
fn random_counts_when_guessing_fails() {
    let mut driver = Driver::new(4);
    driver.steps(5000, 100);
    // A generator stuck at 0 hits an empty slot for ever, or the first item at once: both must end.
    assert!(driver.table.random(&mut |_| 0).is_some());
    assert!(driver.table.random(&mut |bound| bound - 1).is_some());
}

#[test]
fn a_panic_inside_update_loses_that_item_only() {
    let mut driver = Driver::new(7);
    driver.steps(2000, 100);
    let key = driver.keys.swap_remove(100);
    driver.model.remove(&key);
    let slot = driver.table.find(hash(&key), &key).expect("the key is in the table");
    let table = std::panic::AssertUnwindSafe(&mut driver.table);
    let outcome = std::panic::catch_unwind(|| {
        let table = table;
        table.0.update(slot, |_| -> (Field, ()) { std::panic::panic_any("on purpose") })
    });
    assert!(outcome.is_err());
    driver.check();
}

#[test]
fn drains_in_slices() {
    let mut driver = Driver::new(8);
    driver.steps(5000, 100);
    let mut drained = 0;
    loop {
        let now = driver.table.drain_some(300);
        drained += now;
        if now == 0 {
            break;
        }
        assert!(now <= 300);
        assert_eq!(driver.table.len(), 5000 - drained);
    }
    assert_eq!(drained, 5000);
    assert_eq!(driver.table.memory(), 0);
    (driver.model, driver.keys) = (Model::new(), Vec::new());
    driver.steps(100, 100);
    driver.check();
    driver.table.clear();
    assert!(driver.table.is_empty());
    driver.steps(100, 100);
    driver.table.drain_some(50);
}

#[test]
fn prefetching_is_harmless() {
    let mut driver = Driver::new(9);
    for _ in 0..3000 {
        driver.table.prefetch_line(driver.fresh.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let hash = hash(format!("key:{}", driver.fresh).as_bytes());
        driver.table.prefetch_item(hash);
        driver.table.prefetch_marks(hash);
        driver.insert();
    }
}

#[test]
fn a_snapshot_leaves_no_marks_behind_the_walk() {
    let mut driver = Driver::new(10);
    driver.steps(5000, 100);
    driver.begin_snapshot(9);
    driver.steps(3000, 50);
    assert!(driver.table.snapshot_memory() > 0);
    while driver.walk(0, 64) {}
    assert_eq!(driver.table.snapshot_memory(), 0);
    driver.end_snapshot(0);
}

#[test]
fn marks_of_several_snapshots_are_freed_by_the_next_walk() {
    let mut driver = Driver::new(11);
    driver.steps(5000, 100);
    driver.begin_snapshot(1);
    driver.steps(1000, 50);
    let one = driver.table.snapshot_memory();
    (2..=4).for_each(|number| driver.begin_snapshot(number));
    driver.steps(1000, 50);
    assert!(driver.table.snapshot_memory() > 2 * one);
    // Two are cancelled, one stays, one walks on to its end.
    driver.end_snapshot(3);
    driver.end_snapshot(2);
    while driver.walk(0, 64) {}
    assert!(driver.table.snapshot_memory() < 2 * one);
    driver.end_snapshot(1);
    driver.end_snapshot(0);
    driver.begin_snapshot(5);
    while driver.walk(0, 64) {}
    assert_eq!(driver.table.snapshot_memory(), 0);
    driver.end_snapshot(0);
}

#[test]
#[should_panic(expected = "bound")]
fn no_more_snapshots_run_than_there_is_room_for() {
    let mut driver = Driver::new(12);
    (1..=limits::SNAPSHOTS_MOST as u32 + 1).for_each(|number| driver.begin_snapshot(number));
}
