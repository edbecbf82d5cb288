//! One engine's process: opens it, says how long that took, then does what it is told, line by line.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::engines::{self, Engine};

pub const KEY_BYTES: usize = 16;
pub const VALUE_BYTES: usize = 100;

pub fn key(n: u64) -> [u8; KEY_BYTES] {
    let mut key = *b"user:00000000000";
    let mut rest = n;
    for place in key[5..].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

/// xorshift64*: the same for all engines.
pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// The key's number, and bytes that no compression makes smaller.
    fn value(&mut self, n: u64) -> [u8; VALUE_BYTES] {
        let mut value = [0; VALUE_BYTES];
        value[..8].copy_from_slice(&n.to_le_bytes());
        for chunk in value[8..].chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        value
    }
}

pub fn check(n: u64, value: &[u8]) -> Result<(), Failure> {
    if value.len() == VALUE_BYTES && value[..8] == n.to_le_bytes() {
        Ok(())
    } else {
        Err("a wrong value".into())
    }
}

pub fn main(name: &str, folder: &Path, keys: u64) -> Result<(), Failure> {
    let (started, cpu) = (Instant::now(), cpu_us());
    let mut engine = engines::open(name, folder)?;
    let (open, cpu) = (started.elapsed(), cpu_us() - cpu);
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ u64::from(std::process::id()));
    let mut out = std::io::stdout();
    writeln!(out, "{} {}", open.as_secs_f64() * 1e3, cpu / 1e3)?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let number =
            |n: usize| -> Result<u64, Failure> { Ok(words.get(n).ok_or("a number is missing")?.parse()?) };
        let answer = match words[0] {
            "load" => load(&mut *engine, keys, &mut random)?,
            "get" => row(number(1)?, || {
                let n = random.below(keys);
                engine.get(n)?;
                Ok(1)
            })?,
            "set" => row(number(1)?, || {
                let n = random.below(keys);
                engine.write(&[(key(n), random.value(n))], false)?;
                Ok(1)
            })?,
            "cas" => row(number(1)?, || {
                let n = random.below(keys);
                engine.cas(n, &random.value(n))?;
                Ok(1)
            })?,
            "scan" => row(number(1)?, || {
                engine.scan(random.below(keys - 100))?;
                Ok(1)
            })?,
            "dur" => {
                let count = number(1)?;
                let mut writes = Vec::new();
                row(number(2)?, || {
                    writes.clear();
                    for _ in 0..count {
                        let n = random.below(keys);
                        writes.push((key(n), random.value(n)));
                    }
                    engine.write(&writes, true)?;
                    Ok(count)
                })?
            }
            "overwrite" => {
                let times = number(1)?;
                let started = Instant::now();
                let mut writes = Vec::new();
                for _ in 0..times * keys / 100 {
                    writes.clear();
                    for _ in 0..100 {
                        let n = random.below(keys);
                        writes.push((key(n), random.value(n)));
                    }
                    engine.write(&writes, false)?;
                }
                vec![(times * keys) as f64 / started.elapsed().as_secs_f64() / 1e3]
            }
            "settle" => {
                engine.settle()?;
                vec![]
            }
            "memory" => memory()?,
            other => return Err(format!("unknown command {other}").into()),
        };
        let answer: Vec<String> = answer.iter().map(f64::to_string).collect();
        writeln!(out, "{}", answer.join(" "))?;
    }
    Ok(())
}

fn load(engine: &mut dyn Engine, keys: u64, random: &mut Random) -> Result<Vec<f64>, Failure> {
    // Coprime to any sensible number of keys: every key once, in an order that looks random.
    let step = 2_654_435_761 % keys | 1;
    let started = Instant::now();
    let mut writes = Vec::new();
    let mut seen = 0;
    for i in 0..keys {
        let n = (u128::from(i) * u128::from(step) % u128::from(keys)) as u64;
        seen += n;
        writes.push((key(n), random.value(n)));
        if writes.len() == 1000 || i + 1 == keys {
            engine.write(&writes, false)?;
            writes.clear();
        }
    }
    if seen != keys * (keys - 1) / 2 {
        return Err("choose another number of keys: the order isn't a permutation".into());
    }
    Ok(vec![keys as f64 / started.elapsed().as_secs_f64() / 1e3])
}

/// Repeats `once`, which says how many operations it was, for `ms`: k/s, p50 and p99 of a call in us, and
/// CPU time of the process per operation in us.
fn row(ms: u64, mut once: impl FnMut() -> Result<u64, Failure>) -> Result<Vec<f64>, Failure> {
    let limit = Duration::from_millis(ms);
    let (started, mut operations, mut calls) = (Instant::now(), 0, 0u64);
    let cpu_before = cpu_us();
    let mut latencies = Vec::new();
    loop {
        // The clock costs as much as a small get: it is read every 16th call when calls are short.
        let one = Instant::now();
        let quick = latencies.last().is_some_and(|l| *l < Duration::from_micros(10));
        let repeat = if quick { 16 } else { 1 };
        for _ in 0..repeat {
            operations += once()?;
        }
        calls += 1;
        let elapsed = one.elapsed() / repeat;
        if latencies.len() < 1_000_000 {
            latencies.push(elapsed);
        }
        if calls % 4 == 0 && started.elapsed() >= limit {
            break;
        }
    }
    let (elapsed, cpu) = (started.elapsed(), cpu_us() - cpu_before);
    latencies.sort_unstable();
    let at = |percent: usize| latencies[latencies.len() * percent / 100].as_secs_f64() * 1e6;
    Ok(vec![operations as f64 / elapsed.as_secs_f64() / 1e3, at(50), at(99), cpu / operations as f64])
}

/// CPU time of all threads so far, in microseconds: what a busy machine can't stretch.
fn cpu_us() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Anonymous and file-backed resident megabytes of this process.
fn memory() -> Result<Vec<f64>, Failure> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| -> Result<f64, Failure> {
        let line = text.lines().find(|l| l.starts_with(name)).ok_or("no such field")?;
        Ok(line.split_whitespace().nth(1).ok_or("no value")?.parse::<f64>()? / 1e3)
    };
    Ok(vec![field("RssAnon:")?, field("RssFile:")?])
}
