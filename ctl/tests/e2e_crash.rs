//! kill -9 in the middle of writes. The clients keep the oracle: what was acknowledged
//! is there afterwards; what was not may be, or not, but never half.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test; it measures time")]

mod e2e;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::{Answer, App, Client, Random, Server, request};
use serde_json::{Value, json};

const KILLS: usize = 100;
/// The loop ends early, and says so, when the machine is slow.
const TIME_MAX: Duration = Duration::from_secs(75);
const WRITERS: usize = 4;

const SCRIPT: &str = r#"
// One writer's step: its sequence number, in ways that must agree afterwards.
work("Step").post("/step/{writer}", req => {
  const w = req.params.writer;
  const { n, pad } = req.json();
  kv.set(`seq/${w}`, { n, pad });
  const last = kv.get(`left/${w}`);
  kv.batch([{ set: `left/${w}`, value: n }, { set: `right/${w}`, value: n }, { del: `at/${w}/${last}` }, { set: `at/${w}/${n}`, value: true }]);
  if (!kv.snx(`once/${w}/${n}`, n)) return { status: 409, error: "twice" };
  return { n, count: kv.incr("count") };
});
work("State").get("/state/{writer}", req => {
  const w = req.params.writer;
  return {
    seq: kv.get(`seq/${w}`), left: kv.get(`left/${w}`), right: kv.get(`right/${w}`),
    at: kv.scan(`at/${w}/`).map(item => item.key), count: kv.get("count"),
  };
});
work("Once").get("/once/{writer}/{n}", req => kv.exists(`once/${req.params.writer}/${req.params.n}`));
"#;

/// What one client knows.
#[derive(Clone, Debug, Default)]
struct Oracle {
    /// Highest step that was answered.
    acknowledged: u64,
    /// Highest step that was sent.
    sent: u64,
    /// Highest answer of the shared counter.
    counted: u64,
    /// Steps answered, of all lives. (One that wasn't is given up: its number is not used again.)
    answered: Vec<u64>,
}

/// Steps until the server dies.
fn write(address: SocketAddr, writer: usize, oracle: &mut Oracle, seed: u64, acknowledged: &AtomicU64) {
    let mut random = Random(seed | 1);
    let Ok(mut client) = Client::try_connect(address) else { return };
    loop {
        let n = oracle.sent + 1;
        oracle.sent = n;
        let pad = "p".repeat(usize::try_from(random.below(600)).unwrap());
        let body = json!({ "n": n, "pad": pad }).to_string();
        let step = client
            .try_send(&request("POST", &format!("/step/{writer}"), Some(&body)))
            .and_then(|()| client.try_answer("POST"));
        let Ok(answer) = step else { return };
        assert_eq!(answer.status, 200, "{answer}");
        let value = answer.json();
        assert_eq!(value["n"], json!(n));
        let count = value["count"].as_u64().unwrap();
        assert!(count > oracle.counted, "the counter went from {} to {count}", oracle.counted);
        (oracle.acknowledged, oracle.counted) = (n, count);
        oracle.answered.push(n);
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

fn check(client: &mut Client, writer: usize, oracle: &mut Oracle) -> u64 {
    let state: Answer = client.get(&format!("/state/{writer}"));
    assert_eq!(state.status, 200, "{state}");
    let value = state.json();
    let Oracle { acknowledged, sent, .. } = *oracle;
    if sent == 0 {
        return 0;
    }
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let seq = number(&value["seq"]["n"]);
    let (left, right) = (number(&value["left"]), number(&value["right"]));
    assert!((acknowledged..=sent).contains(&seq), "writer {writer}: {seq} not in {acknowledged}..={sent}");
    assert_eq!(left, right, "a batch came apart: {value}");
    assert!((acknowledged..=seq).contains(&left), "writer {writer}: batch {left}, set {seq}, {acknowledged}");
    if left > 0 {
        assert_eq!(value["at"], json!([format!("at/{writer}/{left}")]), "a batch came apart");
    }
    for n in oracle.answered.iter().rev().take(3) {
        assert_eq!(
            client.get(&format!("/once/{writer}/{n}")).text(),
            "true",
            "writer {writer} lost step {n}"
        );
    }
    let count = number(&value["count"]);
    assert!(count >= oracle.counted, "the counter went back from {} to {count}", oracle.counted);
    count
}

#[test]
fn kill_nine_loses_nothing_acknowledged() {
    let app = App::with(SCRIPT);
    let mut random = Random::new("kill_nine_loses_nothing_acknowledged");
    let mut oracles = vec![Oracle::default(); WRITERS];
    let begin = Instant::now();
    let mut starts = Vec::new();
    let mut kills = 0;
    while kills < KILLS && begin.elapsed() < TIME_MAX {
        let placement = if kills % 4 == 3 { "split" } else { "inline" };
        let server = Server::serve(&app, &["--placement", placement]);
        starts.push(server.ready_after);
        let mut client = server.client();
        let mut count = 0;
        for (writer, oracle) in oracles.iter_mut().enumerate() {
            count = check(&mut client, writer, oracle);
        }
        let answered: u64 = oracles.iter().map(|oracle| oracle.answered.len() as u64).sum();
        let sent: u64 = oracles.iter().map(|oracle| oracle.sent).sum();
        assert!((answered..=sent).contains(&count), "counter {count}, not in {answered}..={sent}");
        let address = server.address;
        let seeds: Vec<u64> = (0..WRITERS).map(|_| random.next()).collect();
        // A life is some steps long, and then the time of about one more.
        let (acknowledged, steps) = (AtomicU64::new(0), random.below(60));
        let more = Duration::from_micros(random.below(5_000));
        std::thread::scope(|scope| {
            for ((writer, oracle), seed) in oracles.iter_mut().enumerate().zip(seeds) {
                let acknowledged = &acknowledged;
                scope.spawn(move || write(address, writer, oracle, seed, acknowledged));
            }
            let end = Instant::now() + Duration::from_millis(500);
            while acknowledged.load(Ordering::Relaxed) < steps && Instant::now() < end {
                std::thread::sleep(Duration::from_micros(200));
            }
            std::thread::sleep(more);
            server.kill();
        });
        kills += 1;
    }
    let answered: u64 = oracles.iter().map(|oracle| oracle.answered.len() as u64).sum();
    println!(
        "{kills} kills in {:.1?}, {answered} steps acknowledged, a start takes {:.0?}",
        begin.elapsed(),
        e2e::quantile(&mut starts, 0.5)
    );
    assert!(kills >= KILLS / 2, "only {kills} kills in {:?}", begin.elapsed());
    assert!(answered > 5 * kills as u64, "hardly any step was acknowledged: {answered}");
    // The log itself is whole.
    let mut client_checks = 0;
    let server = Server::serve(&app, &[]);
    let mut client = server.client();
    for (writer, oracle) in oracles.iter().enumerate() {
        for n in oracle.answered.iter().step_by(7) {
            assert_eq!(
                client.get(&format!("/once/{writer}/{n}")).text(),
                "true",
                "writer {writer} lost step {n}"
            );
            client_checks += 1;
        }
    }
    assert!(client_checks > 0);
    drop(client);
    server.stop();
    let verify = e2e::forebay(app.path(), &["kv", "verify", ".forebay/data", "--json"]);
    assert_eq!(verify.code, 0, "{}{}", verify.out, verify.err);
    let dump = e2e::forebay(app.path(), &["kv", "dump", ".forebay/data", "--prefix", "left/"]);
    assert_eq!(dump.out.lines().count(), WRITERS, "{}{}", dump.out, dump.err);
}

#[test]
fn a_data_folder_has_one_server() {
    let app = App::with(SCRIPT);
    let server = Server::serve(&app, &[]);
    let second = Server::try_start("serve", app.path(), &["--admin", "other.sock"], &[]);
    let run = second.expect_err("refused");
    assert!(run.code == 1 && run.err.contains("in use by process"), "{}", run.err);
    let locked = e2e::forebay(app.path(), &["kv", "dump", ".forebay/data"]);
    assert!(locked.code == 1 && locked.err.contains("in use by process"), "{}", locked.err);
    assert_eq!(server.post("/step/0", "{\"n\":1}").status, 200);
    server.stop();
}
