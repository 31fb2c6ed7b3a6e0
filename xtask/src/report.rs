//! Counts what passed and failed, step by step, and prints the summary. Must never call a skipped step
//! passed.

use std::time::{Duration, Instant};

/// What one step found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub passed: usize,
    pub failed: usize,
}

impl Count {
    pub const ONE: Count = Count { passed: 1, failed: 0 };

    pub fn add(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// How a step ended: counted, without a result, or left out for a reason.
pub enum Step {
    Counted(Count),
    Broken(String),
    LeftOut(String),
}

impl From<Result<Count, String>> for Step {
    fn from(result: Result<Count, String>) -> Step {
        match result {
            Ok(count) => Step::Counted(count),
            Err(reason) => Step::Broken(reason),
        }
    }
}

pub struct Report {
    started: Instant,
    rows: Vec<Row>,
    strict: bool,
}

struct Row {
    name: &'static str,
    took: Duration,
    count: Count,
    note: String,
}

impl Report {
    /// With `strict`, a step that is left out counts as failed.
    pub fn new(strict: bool) -> Report {
        Report { started: Instant::now(), rows: Vec::new(), strict }
    }

    /// Runs one step under a heading and keeps what it found.
    pub fn step(&mut self, name: &'static str, work: impl FnOnce() -> Step) {
        println!("\n==== {name}");
        let started = Instant::now();
        let (count, note) = self.judge(work());
        if !note.is_empty() {
            println!("{name}: {note}");
        }
        self.rows.push(Row { name, took: started.elapsed(), count, note });
    }

    fn judge(&self, step: Step) -> (Count, String) {
        match step {
            Step::Counted(count) => (count, String::new()),
            Step::Broken(reason) => (Count { passed: 0, failed: 1 }, format!("FAILED: {reason}")),
            Step::LeftOut(reason) => {
                (Count { passed: 0, failed: usize::from(self.strict) }, format!("LEFT OUT: {reason}"))
            }
        }
    }

    pub fn total(&self) -> Count {
        let mut total = Count::default();
        self.rows.iter().for_each(|row| total.add(row.count));
        total
    }

    pub fn print(&self) {
        println!("\n==== summary");
        for row in &self.rows {
            let Count { passed, failed } = row.count;
            println!(
                "{:<10} {passed:>6} passed {failed:>4} failed {:>5} s  {}",
                row.name,
                row.took.as_secs(),
                row.note
            );
        }
        let took = self.started.elapsed();
        if took > BUDGET {
            println!("SLOW: {} s; the budget is {} s", took.as_secs(), BUDGET.as_secs());
        }
    }
}

/// What everything may take on two cores; more is said aloud, for slow tests are run less often.
const BUDGET: Duration = Duration::from_secs(25 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(strict: bool, steps: Vec<Step>, passed: usize, failed: usize) {
        let mut report = Report::new(strict);
        for step in steps {
            report.step("step", || step);
        }
        assert_eq!(report.total(), Count { passed, failed });
    }

    #[test]
    fn totals() {
        let steps = || {
            vec![
                Step::Counted(Count { passed: 5, failed: 2 }),
                Step::Broken("no compiler".into()),
                Step::LeftOut("no tclsh".into()),
            ]
        };
        check(false, steps(), 5, 3);
        check(true, steps(), 5, 4);
        check(true, vec![], 0, 0);
    }
}
