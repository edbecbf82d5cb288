//! When a turn waits for more than one answer of the database.
//!
//! With many statements in flight their answers come one by one, microseconds apart. A core that gets up for each pays a
//! sleep, a wake-up and a system call for each, and sends what comes of it in pieces. So its turns keep a distance: an
//! eighth of what a statement takes just now. By Little's law an eighth of those in flight are answered in it, and as
//! many statements leave in one send; a request waits longer by that eighth at most, and no longer if the database is
//! what everybody waits for. What a turn has worked counts as distance: a busy core never waits
//! (docs/decisions/0330-turns-gather-answers.md).
//!
//! Statements come and go in bursts: when all are answered and their requests not yet here, none is in flight, and each request
//! would have a turn of its own. So it counts, too, how fast statements have been coming lately.

use std::time::Duration;

use forebay_base::Monotonic;

use crate::effects::What;

/// The part of a statement's time that a turn may wait.
const PART: u32 = 8;
/// Answers to be expected within the wait; for fewer it isn't worth it.
const ANSWERS_MIN: u128 = 2;
/// The longest wait, since requests without statements wait along.
const TIME_MAX: Duration = Duration::from_micros(500);
/// A longer gap counts as this one.
const GAP_MAX: Duration = Duration::from_millis(10);
/// The average forgets as 15/16 to the number of statements.
const MEMORY: u32 = 16;
/// The gaps between statements are averaged over more of them: most are none, as a turn begins many.
const GAP_MEMORY: u32 = 32;

/// What is known of the statements of one core.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    in_flight: usize,
    /// How long a statement takes, from the effect to its result, on average.
    average: Duration,
    /// The time from one statement's beginning to the next one's, on average.
    gap: Duration,
    /// When the last one began.
    last: Monotonic,
}

impl Gathering {
    pub(crate) fn begun(&mut self, what: &What, now: Monotonic) {
        if is_statement(what) {
            self.in_flight += 1;
            let gap = now.since(self.last).min(GAP_MAX);
            self.gap = self.gap - self.gap / GAP_MEMORY + gap / GAP_MEMORY;
            self.last = now;
        }
    }

    /// Answered, or of no interest any more.
    pub(crate) fn ended(&mut self, what: &What) {
        self.in_flight -= usize::from(is_statement(what));
    }

    pub(crate) fn answered(&mut self, what: &What, took: Duration) {
        if is_statement(what) {
            self.average = self.average - self.average / MEMORY + took / MEMORY;
        }
    }

    /// The distance of the next turn from this one; None if it need not keep any.
    pub(crate) fn distance(&self, now: Monotonic) -> Option<Duration> {
        let time = (self.average / PART).min(TIME_MAX);
        let answers = self.in_flight as u128 * time.as_nanos() >= ANSWERS_MIN * self.average.as_nanos();
        // If none has come for as long as one takes, the burst is over.
        let lately = now.since(self.last) <= time * PART;
        let statements = lately && time.as_nanos() >= ANSWERS_MIN * self.gap.as_nanos();
        ((answers || statements) && !time.is_zero()).then_some(time)
    }
}

/// A statement without a transaction: those of a transaction come one after the other.
fn is_statement(what: &What) -> bool {
    matches!(what, What::Sql(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Monotonic = Monotonic(1_000_000_000);

    fn check(in_flight: usize, average_us: u64, expect_us: Option<u64>) {
        let average = Duration::from_micros(average_us);
        let gathering = Gathering { in_flight, average, gap: GAP_MAX, last: START };
        assert_eq!(
            gathering.distance(START),
            expect_us.map(Duration::from_micros),
            "{in_flight} of {average_us} us"
        );
    }

    #[test]
    fn a_turn_waits_where_several_answers_come() {
        check(0, 0, None);
        check(64, 0, None);
        // One answer at most would come in an eighth of their time.
        check(1, 1000, None);
        check(15, 1000, None);
        check(16, 1000, Some(125));
        check(1024, 1000, Some(125));
        // The bound: then more have to be in flight.
        check(64, 8_000, Some(500));
        check(64, 16_000, Some(500));
        check(64, 17_000, None);
        check(1024, 100_000, Some(500));
    }

    #[test]
    fn only_statements_count_and_the_average_follows() {
        let (statement, other) = (What::Sql(0, None), What::Http);
        let mut gathering = Gathering { last: START, gap: GAP_MAX, ..Gathering::default() };
        for _ in 0..32 {
            gathering.begun(&statement, START.after(GAP_MAX));
            gathering.begun(&other, START.after(GAP_MAX));
        }
        for _ in 0..200 {
            gathering.answered(&statement, Duration::from_millis(1));
            gathering.answered(&other, Duration::from_secs(1));
        }
        assert_eq!(gathering.in_flight, 32);
        let distance = gathering.distance(START).unwrap();
        assert!((120..=125).contains(&distance.as_micros()), "{distance:?}");
        for _ in 0..17 {
            gathering.ended(&statement);
            gathering.ended(&other);
        }
        assert_eq!(gathering.distance(START), None);
    }

    /// Bursts of `count` statements, `apart` from each other, all answered when the next one comes: the distance then, and later.
    fn bursts(count: usize, apart_us: u64) -> (Option<Duration>, Option<Duration>) {
        let statement = What::Sql(0, None);
        let mut gathering = Gathering::default();
        let mut now = START;
        for _ in 0..100 {
            for _ in 0..count {
                gathering.begun(&statement, now);
            }
            now = now.after(Duration::from_micros(apart_us));
            for _ in 0..count {
                gathering.ended(&statement);
                gathering.answered(&statement, Duration::from_micros(800));
            }
        }
        (gathering.distance(now), gathering.distance(now.after(Duration::from_millis(1))))
    }

    #[test]
    fn a_turn_waits_for_the_requests_of_a_burst_and_not_when_it_is_over() {
        // 64 every 800 us: eight in an eighth of that. None is in flight.
        let (then, later) = bursts(64, 80);
        assert!(then.is_some_and(|time| (90..=100).contains(&time.as_micros())), "{then:?}");
        assert_eq!(later, None);
        // One at a time, or few: who waits would wait for nobody.
        assert_eq!(bursts(1, 800), (None, None));
        assert_eq!(bursts(4, 800), (None, None));
    }
}
