//! Writes through the real store until it is killed, and prints each batch after
//! it was acknowledged: `N` for batch number N. The test `kill` kills it.
//!
//! Usage: kv_writer FOLDER FIRST THREADS. Thread t writes the batches FIRST + t,
//! FIRST + t + THREADS, ...: for batch N the keys `N/a`, `N/b`, `N/c`, and `last/t`.

use std::io::Write;

use forebay_base::{CoreId, TenantId, Timestamp};
use forebay_kv::{Blocking, Config, Op, Outcome};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: kv_writer FOLDER FIRST THREADS";
    let folder = args.next().ok_or(usage)?;
    let first: u64 = args.next().ok_or(usage)?.parse()?;
    let threads: u16 = args.next().ok_or(usage)?.parse()?;
    let mut config = Config::new(folder, threads);
    config.segment_bytes = 256 * 1024;
    let store = Blocking::open(config)?;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let store = &store;
            scope.spawn(move || {
                if let Err(e) = write(store, first + u64::from(thread), thread, threads) {
                    eprintln!("{e}");
                    std::process::exit(1);
                }
            });
        }
    });
    Ok(())
}

fn write(store: &Blocking, first: u64, thread: u16, threads: u16) -> Result<(), Box<dyn std::error::Error>> {
    let mut session = store.session(CoreId(thread));
    let last = format!("last/{thread}");
    for n in (first..).step_by(usize::from(threads)) {
        let value = n.to_string().repeat(1 + usize::try_from(n % 97)?);
        let keys = ["a", "b", "c"].map(|part| format!("{n}/{part}"));
        let mut ops: Vec<Op<'_>> = keys
            .iter()
            .map(|key| Op::Set { key: key.as_bytes(), value: value.as_bytes(), expires: None })
            .collect();
        let number = n.to_string();
        ops.push(Op::Set { key: last.as_bytes(), value: number.as_bytes(), expires: None });
        let answer = session.batch(Timestamp(0), TenantId(0), &ops, true)?;
        if answer.outcome != Outcome::Ok {
            return Err(format!("batch {n}: {:?}", answer.outcome).into());
        }
        // One write(2) of a whole line: what the test reads was acknowledged.
        let mut out = std::io::stdout().lock();
        out.write_all(format!("{n}\n").as_bytes())?;
        out.flush()?;
    }
    Ok(())
}
