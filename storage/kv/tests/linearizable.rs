//! Histories of several threads are linearizable: for each key there is an order of its operations that respects
//! what had ended before what began, and in which every answer is the one that a single thread would have got.
//!
//! The search is Wing and Gong's ("Testing and verifying concurrent objects", 1993) with Lowe's memory of where it has
//! been ("Testing for linearizability", 2017): keys are independent, so each is searched on its own. An operation
//! whose outcome is unknown may have happened at any time after it began, or never.
//!
//! The checker is checked: histories of a store that answers a conflict, a read or a sum too early are refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(clippy::cast_possible_truncation, reason = "small random numbers")]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use forebay_base::rng::Rng;
use forebay_base::value::codec::{decode_int, encode_int};
use forebay_base::{CoreId, TenantId, Timestamp};
use forebay_kv::testing::{Fault, Planted, SimDisk};
use forebay_kv::{Blocking, Config, Op, Outcome, Unavailable};

const NOW: Timestamp = Timestamp(0);
const TENANT: TenantId = TenantId(0);

/// What was asked. Values are integers, `None` is an absent key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Get,
    Set(i64),
    Del,
    Snx(i64),
    Cas(Option<i64>, Option<i64>),
    Incr(i64),
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Value(Option<i64>),
    Ok,
    Conflict,
    Sum(i64),
    /// It may have happened, or may yet.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    key: usize,
    call: Call,
    answer: Answer,
    began: u64,
    /// `u64::MAX`: it never ended.
    ended: u64,
}

/// The state after `call`, if that is how it is answered in `state`.
fn step(state: Option<i64>, call: Call, answer: Answer) -> Option<Option<i64>> {
    let (next, expected) = match call {
        Call::Get => (state, Answer::Value(state)),
        Call::Set(value) => (Some(value), Answer::Ok),
        Call::Del => (None, Answer::Ok),
        Call::Snx(value) if state.is_none() => (Some(value), Answer::Ok),
        Call::Cas(expected, new) if state == expected => (new, Answer::Ok),
        Call::Snx(_) | Call::Cas(..) => (state, Answer::Conflict),
        Call::Incr(by) => {
            let sum = state.unwrap_or(0) + by;
            (Some(sum), Answer::Sum(sum))
        }
    };
    (answer == expected || answer == Answer::Unknown).then_some(next)
}

/// Searches an order of one key's events. Explains the longest attempt if there is none.
fn linearizable(events: &[Event]) -> Result<(), String> {
    let mut events = events.to_vec();
    events.sort_by_key(|event| event.began);
    let certain = events.iter().filter(|event| event.answer != Answer::Unknown).count();
    // (which are done, the state) that led nowhere; done ones are a prefix and a few bits behind it.
    let mut seen: HashSet<(Vec<u64>, Option<i64>)> = HashSet::new();
    let mut done = vec![0u64; events.len().div_ceil(64)];
    let is_done = |done: &[u64], n: usize| done[n / 64] >> (n % 64) & 1 == 1;
    // Each entry: the event that was chosen and the state before it.
    let mut path: Vec<(usize, Option<i64>)> = Vec::new();
    let mut state: Option<i64> = None;
    let mut from = 0;
    let mut done_certain = 0;
    let mut longest = 0;
    loop {
        if done_certain == certain {
            return Ok(());
        }
        // Whoever began before the earliest end of those that aren't done may be next.
        let open: Vec<usize> = (0..events.len()).filter(|n| !is_done(&done, *n)).collect();
        let earliest = open.iter().map(|n| events[*n].ended).min().unwrap_or(u64::MAX);
        let mut chosen = None;
        for n in open.into_iter().filter(|n| *n >= from) {
            let event = &events[n];
            if event.began > earliest {
                break;
            }
            if let Some(next) = step(state, event.call, event.answer) {
                done[n / 64] |= 1 << (n % 64);
                if seen.insert((done.clone(), next)) {
                    chosen = Some((n, next));
                    break;
                }
                done[n / 64] &= !(1 << (n % 64));
            }
        }
        match chosen {
            Some((n, next)) => {
                path.push((n, state));
                done_certain += usize::from(events[n].answer != Answer::Unknown);
                state = next;
                from = 0;
                longest = longest.max(path.len());
            }
            None => {
                let Some((n, before)) = path.pop() else {
                    return Err(format!(
                        "no order of {} events explains their answers; the longest attempt has {longest}",
                        events.len()
                    ));
                };
                done[n / 64] &= !(1 << (n % 64));
                done_certain -= usize::from(events[n].answer != Answer::Unknown);
                state = before;
                from = n + 1;
            }
        }
    }
}

fn check(history: &[Event], keys: usize) -> Result<(), String> {
    for key in 0..keys {
        let events: Vec<Event> = history.iter().filter(|e| e.key == key).copied().collect();
        linearizable(&events).map_err(|why| format!("key {key}: {why}"))?;
    }
    Ok(())
}

const THREADS: u16 = 4;
const KEYS: usize = 6;

/// A history of `THREADS` threads over few keys. With `faults` the disk fails now and then, and is healed.
fn history(seed: u64, steps: usize, store: &Blocking, disk: Option<&SimDisk>) -> Vec<Event> {
    // One clock for all: what it says orders the begins and ends as they happened.
    let clock = AtomicU64::new(1);
    let tick = || clock.fetch_add(1, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let tick = &tick;
                scope.spawn(move || {
                    let mut rng = Rng::new(seed * 1000 + u64::from(thread));
                    let mut session = store.session(CoreId(thread));
                    let mut events = Vec::new();
                    let mut last = [None; KEYS];
                    for n in 0..steps {
                        let key = rng.below(KEYS as u64) as usize;
                        let name = [b'k', b'0' + key as u8];
                        let fresh = i64::from(thread) * 1_000_000 + n as i64 * 10;
                        let call = match rng.below(12) {
                            0..4 => Call::Get,
                            4 => Call::Set(fresh),
                            5 => Call::Del,
                            6 => Call::Snx(fresh),
                            7..10 => {
                                let new = if rng.one_in(6) { None } else { Some(fresh) };
                                Call::Cas(last[key], new)
                            }
                            _ => Call::Incr(1 + rng.below(3) as i64),
                        };
                        // Without sync a conflict or a read still has its place in the order.
                        let sync = disk.is_some() || !rng.one_in(3);
                        let began = tick();
                        let answer = execute(store, &mut session, &name, call, sync);
                        let mut ended = tick();
                        if answer == Answer::Unknown {
                            ended = u64::MAX;
                        }
                        match answer {
                            Answer::Value(value) => last[key] = value,
                            Answer::Sum(sum) => last[key] = Some(sum),
                            _ => {}
                        }
                        events.push(Event { key, call, answer, began, ended });
                        if let Some(disk) = disk
                            && thread == 0
                            && n % 60 == 30
                        {
                            disk.fail_after(rng.below(3), Fault::Io);
                        }
                    }
                    events
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    })
}

fn execute(
    store: &Blocking,
    session: &mut forebay_kv::Session<'_>,
    key: &[u8],
    call: Call,
    sync: bool,
) -> Answer {
    let encoded = |value: Option<i64>| value.map(encode_int);
    let (expected, new) = match call {
        Call::Get => {
            let value = store.store().get(NOW, TENANT, key).unwrap();
            return Answer::Value(value.map(|v| decode_int(&v).unwrap()));
        }
        Call::Set(value) | Call::Snx(value) => (None, encoded(Some(value))),
        Call::Cas(expected, new) => (encoded(expected), encoded(new)),
        Call::Del | Call::Incr(_) => (None, None),
    };
    let value = new.as_deref();
    let op = match call {
        Call::Set(_) => Op::Set { key, value: value.unwrap(), expires: None },
        Call::Snx(_) => Op::Snx { key, value: value.unwrap(), expires: None },
        Call::Cas(..) => Op::Cas { key, expected: expected.as_deref(), new: value, expires: None },
        Call::Incr(by) => Op::Incr { key, by },
        Call::Del | Call::Get => Op::Del { key },
    };
    loop {
        let answer = session.batch(NOW, TENANT, &[op], sync).unwrap();
        return match answer.outcome {
            Outcome::Ok => answer.number.map_or(Answer::Ok, Answer::Sum),
            Outcome::Conflict => Answer::Conflict,
            Outcome::Unknown => Answer::Unknown,
            // Nothing happened: asked again, and the time it takes counts.
            Outcome::Unavailable(Unavailable::Poisoned) => {
                let _ = store.store().heal();
                std::thread::yield_now();
                continue;
            }
            other => panic!("{other:?}"),
        };
    }
}

fn open(disk: &SimDisk, planted: Planted) -> Blocking {
    let mut config = Config::new("/sim", THREADS);
    config.segment_bytes = 64 * 1024;
    config.planted = planted;
    Blocking::open_on(config, Arc::new(disk.clone())).unwrap()
}

#[test]
fn histories_of_four_threads_are_linearizable() {
    let (mut events, mut conflicts) = (0, 0);
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let store = open(&disk, Planted::default());
        let history = history(seed, 400, &store, None);
        conflicts += history.iter().filter(|e| e.answer == Answer::Conflict).count();
        events += history.len();
        check(&history, KEYS).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    let temporary = tempfile::tempdir().unwrap();
    let store = Blocking::open(Config::new(temporary.path().join("data"), THREADS)).unwrap();
    let history = history(99, 1500, &store, None);
    events += history.len();
    check(&history, KEYS).unwrap_or_else(|why| panic!("on a real folder: {why}"));
    println!("{events} events, {conflicts} conflicts");
    assert!(conflicts > 1000, "the threads don't meet");
}

/// Writes fail now and then: what was answered Unknown may have happened, everything else as before. All writes are
/// synced: others may be lost by a failure, which is what they are told.
#[test]
fn histories_beside_failing_writes_are_linearizable() {
    let (mut unknown, mut events) = (0, 0);
    for seed in 0..25 {
        let disk = SimDisk::new(seed);
        let store = open(&disk, Planted::default());
        let history = history(seed, 200, &store, Some(&disk));
        unknown += history.iter().filter(|e| e.answer == Answer::Unknown).count();
        events += history.len();
        check(&history, KEYS).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    println!("{events} events, {unknown} of them unknown");
    assert!(unknown > 20, "{unknown}: the disk doesn't fail");
}

/// Histories of a store that answers too early: the checker sees it.
#[test]
fn answers_that_come_too_early_are_caught() {
    let early = Planted { acknowledge_before_sync: true, ..Planted::default() };
    let absent = Planted { absent_at_once: true, ..Planted::default() };
    for planted in [early, absent] {
        let caught = (0..200).find_map(|seed| {
            let temporary = tempfile::tempdir().unwrap();
            let mut config = Config::new(temporary.path().join("data"), THREADS);
            config.segment_bytes = 64 * 1024;
            config.planted = planted;
            let store = Blocking::open(config).unwrap();
            check(&history(seed, 300, &store, None), KEYS).err().map(|why| (seed, why))
        });
        let (seed, why) = caught.unwrap_or_else(|| panic!("{planted:?} went unnoticed"));
        println!("{planted:?}: seed {seed}: {why}");
    }
}

/// Compares the order of real time with that of effect: a history with one answer changed has no order.
#[test]
fn the_checker_refuses_what_no_order_explains() {
    let mut refused = 0;
    for seed in 0..30 {
        let store = open(&SimDisk::new(seed), Planted::default());
        let history = history(seed, 60, &store, None);
        let mut rng = Rng::new(seed);
        for (n, event) in history.iter().enumerate() {
            // A sum that nobody had, a conflict for a success, a value that wasn't there any more or not yet.
            let wrong = match event.answer {
                Answer::Sum(sum) => Answer::Sum(sum + 100),
                Answer::Value(Some(value)) => Answer::Value(Some(value + 500_000_000)),
                _ => continue,
            };
            if !rng.one_in(10) {
                continue;
            }
            let mut changed = history.clone();
            changed[n].answer = wrong;
            assert!(check(&changed, KEYS).is_err(), "seed {seed}, event {n}: {event:?} as {wrong:?}");
            refused += 1;
        }
    }
    assert!(refused > 50, "{refused}");
    let event = |call, answer, began, ended| Event { key: 0, call, answer, began, ended };
    let cases: [(&[Event], bool); 6] = [
        // Both ended: of two that set if absent only one can have done so.
        (&[event(Call::Snx(1), Answer::Ok, 1, 4), event(Call::Snx(2), Answer::Ok, 2, 3)], false),
        (&[event(Call::Snx(1), Answer::Ok, 1, 4), event(Call::Snx(2), Answer::Conflict, 2, 3)], true),
        // A read after the end of a write doesn't see what was before it.
        (&[event(Call::Set(1), Answer::Ok, 1, 2), event(Call::Get, Answer::Value(None), 3, 4)], false),
        (&[event(Call::Set(1), Answer::Ok, 1, 3), event(Call::Get, Answer::Value(None), 2, 4)], true),
        // An unknown write may have happened late, but not been seen before it began.
        (
            &[
                event(Call::Set(1), Answer::Unknown, 1, u64::MAX),
                event(Call::Get, Answer::Value(None), 2, 3),
                event(Call::Get, Answer::Value(Some(1)), 4, 5),
            ],
            true,
        ),
        (
            &[
                event(Call::Get, Answer::Value(Some(1)), 1, 2),
                event(Call::Set(1), Answer::Unknown, 3, u64::MAX),
            ],
            false,
        ),
    ];
    for (n, (events, expected)) in cases.into_iter().enumerate() {
        assert_eq!(linearizable(events).is_ok(), expected, "case {n}");
    }
}

/// A core that took a write and never carries it out: everyone else reads every key meanwhile, writes without
/// sync and sees them, and nobody is told of what rests on that write before it is on disk.
#[test]
fn nobody_waits_for_a_parked_core_to_read() {
    let store = open(&SimDisk::new(1), Planted::default());
    let kv = store.store();
    let set = |key, value| Op::Set { key, value, expires: None };
    for key in [&b"a"[..], b"b", b"c"] {
        assert_eq!(store.session(CoreId(0)).set(NOW, TENANT, key, b"1").unwrap(), Outcome::Ok);
    }
    // Core 0 parks with the write in its hands.
    kv.submit(CoreId(0), 1, NOW, TENANT, &[set(b"a", b"2"), Op::Del { key: b"b" }], true).unwrap();
    let job = kv.poll_commit(CoreId(0)).unwrap();
    let show = || {
        let page = kv.scan(NOW, TENANT, b"", None, 10).unwrap();
        let items = page.items.iter().map(|i| [i.key(), b"=", &i.value[..]].concat());
        String::from_utf8(items.collect::<Vec<_>>().join(&b' ')).unwrap()
    };
    let answers = |core| {
        let mut answers = Vec::new();
        kv.completions(CoreId(core), &mut answers);
        answers.into_iter().map(|c| (c.token, c.outcome)).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(show(), "a=1 b=1 c=1");
            assert!(kv.exists(NOW, TENANT, b"b"));
            assert_eq!(kv.get(NOW, TENANT, b"a").unwrap().as_deref(), Some(&b"1"[..]));
            kv.submit(CoreId(1), 1, NOW, TENANT, &[set(b"c", b"3")], false).unwrap();
            assert_eq!(answers(1), [(1, Outcome::Ok)]);
            assert_eq!(show(), "a=1 b=1 c=3");
            // Removes what is being removed: whoever reads after the answer must not see it.
            kv.submit(CoreId(1), 2, NOW, TENANT, &[Op::Del { key: b"b" }], false).unwrap();
            let cas = Op::Cas { key: b"a", expected: Some(b"1"), new: Some(b"9"), expires: None };
            kv.submit(CoreId(2), 1, NOW, TENANT, &[cas], true).unwrap();
            assert_eq!((answers(1), answers(2)), (vec![], vec![]));
            assert!(kv.poll_commit(CoreId(1)).is_none(), "one write at a time");
        });
    });
    job.run();
    assert_eq!((answers(0), answers(1)), (vec![(1, Outcome::Ok)], vec![(2, Outcome::Ok)]));
    assert_eq!(answers(2), [(1, Outcome::Conflict)]);
    assert_eq!(show(), "a=2 c=3");
}
