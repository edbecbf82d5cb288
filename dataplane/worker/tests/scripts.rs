//! Requests that run scripts, over real sockets, in every way a runtime can be put
//! together: answers, limits, effects, fairness, and what is left behind.
#![expect(clippy::disallowed_methods, reason = "tests have clocks and threads")]

mod common;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Client, PATIENCE, Setup, check_script, eventually, get, script, total};
use forebay_base::limits::{TaskLimits, WorkerLimits};
use forebay_worker::{Placement, Rewrite, RewriteTo, Runtime};

fn client(runtime: &Runtime) -> Client {
    Client::new(runtime.tcp().unwrap())
}

#[test]
fn handlers_answer() {
    let source = r#"
        work("hello").get("/hello", () => "Hello, World!");
        work("json").get("/json/{id}", req => ({ id: req.params.id, q: req.query.q, n: 1.5 }));
        work("echo").post("/echo", req => payload());
        work("status").get("/status", () => { return { status: 201, made: true } });
        work("full").get("/full", () => response("<b>", { status: 202, headers: { "X-A": "b" } }));
        work("none").get("/none", () => undefined);
        work("throws").get("/throws", () => { throw new Error("secret") });
        work("bad").get("/bad", () => response("x", { headers: { "X-A": "a\nb" } }));
    "#;
    check_script(&Setup::default(), &TaskLimits::default(), source, |runtime, _| {
        let mut client = client(runtime);
        let hello = client.get("/hello");
        assert_eq!((hello.status, hello.text()), (200, "Hello, World!"));
        assert_eq!(hello.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(client.get("/json/a%20b?q=1").text(), r#"{"id":"a b","q":"1","n":1.5}"#);
        assert_eq!(client.post("/echo", r#"{"a":[1,2]}"#).text(), r#"{"a":[1,2]}"#);
        assert_eq!(client.post("/echo", "{").status, 400);
        assert_eq!(client.get("/status").status, 201);
        let full = client.get("/full");
        assert_eq!((full.status, full.text(), full.header("x-a")), (202, "<b>", Some("b")));
        assert_eq!(client.get("/none").status, 204);
        for (path, code) in [("/throws", "script_error"), ("/bad", "bad_header")] {
            let answer = client.get(path);
            assert_eq!(answer.status, 500);
            assert!(answer.text().contains(code) && !answer.text().contains("secret"), "{}", answer.text());
        }
        let head = client.send("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n").answer_to_head();
        assert_eq!((head.status, head.header("content-length").map(str::trim)), (200, Some("13")));
        let burst: String = (0..16).map(|i| get(&format!("/json/{i}"))).collect();
        client.send(burst);
        for i in 0..16 {
            assert!(client.answer().text().starts_with(&format!(r#"{{"id":"{i}""#)));
        }
        assert_eq!(total(runtime, |m| &m.exceptions), 2);
        let counted: u64 = runtime.metrics().iter().map(|m| m.latency.count()).sum();
        assert_eq!(counted, 8 + 1 + 1 + 16);
        assert!(runtime.metrics().iter().map(|m| m.latency.sum_seconds()).sum::<f64>() > 0.0);
    });
}

#[test]
fn answers_keep_their_order_and_unsafe_methods_run_alone() {
    let source = r#"
        work("slow").get("/slow/{ms}", req => { sleep(Number(req.params.ms)); return "slow " + req.params.ms });
        work("get").get("/k", () => String(kv.get("k")));
        work("put").post("/k/{v}", req => { sleep(20); kv.set("k", req.params.v); return "put " + req.params.v });
    "#;
    check_script(&Setup::default(), &TaskLimits::default(), source, |runtime, _| {
        let mut client = client(runtime);
        // Later ones are ready first.
        client.send((0..8).map(|i| get(&format!("/slow/{}", 80 - 10 * i))).collect::<String>());
        let begin = Instant::now();
        for i in 0..8 {
            assert_eq!(client.answer().text(), format!("slow {}", 80 - 10 * i));
        }
        assert!(begin.elapsed() < Duration::from_millis(300), "side by side: {:?}", begin.elapsed());
        // A read sees the write before it, and a write waits for the reads before it.
        let post = |v: u32| format!("POST /k/{v} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        client.send(post(0) + &get("/k"));
        assert_eq!((client.answer().text(), client.answer().text()), ("put 0", "0"));
        let mut burst = get("/slow/30") + &get("/k");
        for v in 1..=5 {
            burst += &(post(v) + &get("/k") + &get("/slow/1"));
        }
        client.send(burst);
        assert_eq!((client.answer().text(), client.answer().text()), ("slow 30", "0"));
        for v in 1..=5 {
            assert_eq!(client.answer().text(), format!("put {v}"));
            assert_eq!(client.answer().text(), v.to_string());
            assert_eq!(client.answer().text(), "slow 1");
        }
        // The end of the stream behind a write that waits for its turn.
        client.send(get("/slow/20") + &post(9) + &get("/k"));
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(
            [(); 3].map(|()| client.answer().text().to_owned()),
            ["slow 20", "put 9", "9"].map(str::to_owned)
        );
        client.end();
    });
}

#[test]
fn a_body_is_asked_for_when_its_turn_comes() {
    let source = r#"
        work("slow").get("/slow", () => { sleep(50); return "slow" });
        work("echo").post("/echo", () => payload());
    "#;
    check_script(&Setup::default(), &TaskLimits::default(), source, |runtime, _| {
        let mut client = client(runtime);
        let expect = "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
        client.send(get("/slow") + expect);
        assert_eq!(client.answer().text(), "slow");
        assert_eq!(client.answer().status, 100);
        assert_eq!(client.send("[]").answer().text(), "[]");
    });
}

#[test]
fn limits_end_tasks_and_nobody_else() {
    let source = r#"
        work("hello").get("/hello", () => "hi");
        work("loop").get("/loop", () => { while (true) {} }).limits({ fuel: 20000000 });
        work("grow").get("/grow", () => { const all = []; while (true) all.push("x".repeat(1000) + all.length) })
            .limits({ memory: 4194304 });
        work("deep").get("/deep", () => { const f = n => f(n + 1) + 1; return f(0) });
        work("late").get("/late", () => { sleep(10000); return "late" }).timeout("200ms");
        work("never").get("/never", () => new Promise(() => {}));
    "#;
    check_script(&Setup::default(), &TaskLimits::default(), source, |runtime, variant| {
        let mut one = client(runtime);
        for (path, status, code) in [
            ("/grow", 500, "memory_exhausted"),
            ("/loop", 500, "fuel_exhausted"),
            ("/deep", 500, "script_error"),
            ("/late", 504, "wall_time_exceeded"),
            ("/never", 500, "never_settles"),
        ] {
            let begin = Instant::now();
            let answer = one.get(path);
            assert!(answer.text().contains(code), "{path}: {} {}", answer.status, answer.text());
            assert_eq!(answer.status, status, "{path}");
            if path == "/late" {
                assert!((200..900).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
            }
        }
        // While loops burn their fuel, others on the same core are answered in good time.
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut client = client(runtime);
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(client.get("/loop").status, 500);
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(50));
            let mut times: Vec<_> = (0..100)
                .map(|_| {
                    let begin = Instant::now();
                    assert_eq!(one.get("/hello").text(), "hi");
                    begin.elapsed()
                })
                .collect();
            stop.store(true, Ordering::Relaxed);
            times.sort();
            eprintln!("{variant:?}: beside two loops p50 {:?}, p99 {:?}", times[50], times[98]);
            // Generous: unoptimised builds on a shared machine. A loop alone takes seconds here.
            assert!(times[98] < Duration::from_millis(500), "p99 {:?}", times[98]);
        });
    });
}

#[test]
fn clients_that_leave_leave_nothing() {
    let source = r#"
        work("nap").get("/nap", () => { sleep(300); return "slept" });
        work("hello").get("/hello", () => "hi");
    "#;
    check_script(&Setup::default(), &TaskLimits::default(), source, |runtime, _| {
        for round in 0..3 {
            let clients: Vec<_> = (0..50).map(|_| client(runtime)).collect();
            for mut client in clients {
                client.send(get("/nap").repeat(1 + round));
            }
            assert_eq!(client(runtime).get("/hello").text(), "hi");
        }
        eventually("tasks run to their end", || total(runtime, |m| &m.tasks) == 0);
        eventually("nobody is connected", || total(runtime, |m| &m.connections) == 0);
    });
}

#[test]
fn too_many_are_told_so() {
    let source = r#"
        work("nap").get("/nap", () => { sleep(500); return "slept" });
        work("write").post("/nap", () => { sleep(500); return "slept" });
    "#;
    let worker = WorkerLimits { request_queue: 8, tasks: 4, ..WorkerLimits::default() };
    let setup = Setup { worker, ..Setup::default() };
    check_script(&setup, &TaskLimits::default(), source, |runtime, variant| {
        let mut clients: Vec<_> = (0..40 * variant.cores).map(|_| client(runtime)).collect();
        for (index, client) in clients.iter_mut().enumerate() {
            if index % 2 == 0 {
                client.send(get("/nap"));
            } else {
                client.send("POST /nap HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
            }
        }
        let mut counts = HashMap::new();
        for client in &mut clients {
            let answer = client.answer();
            if answer.status == 503 {
                assert_eq!(answer.header("retry-after"), Some("1"));
            }
            *counts.entry(answer.status).or_insert(0) += 1;
        }
        assert!(counts[&200] >= 8 && counts[&503] > 0, "{counts:?}");
        assert_eq!(counts[&200] + counts[&503], clients.len());
        // The connections that were refused live on.
        for client in &mut clients[..4] {
            assert_eq!(client.get("/nap").status, 200);
        }
    });
}

#[test]
fn a_turn_may_bring_more_than_the_ring_takes() {
    let source = r#"work("n").get("/n/{n}", req => req.params.n);"#;
    let setup =
        Setup { worker: WorkerLimits { request_queue: 64, ..WorkerLimits::default() }, ..Setup::default() };
    check_script(&setup, &TaskLimits::default(), source, |runtime, variant| {
        if variant.placement == Placement::Split {
            // There the ring's length is what it says: how far the worker may be behind.
            return;
        }
        let mut clients: Vec<_> = (0..40).map(|_| client(runtime)).collect();
        for _ in 0..3 {
            for client in &mut clients {
                client.send((0..40).map(|n| get(&format!("/n/{n}"))).collect::<String>());
            }
            for client in &mut clients {
                for n in 0..40 {
                    assert_eq!(client.answer().text(), n.to_string());
                }
            }
        }
        assert_eq!(total(runtime, |m| &m.shed), 0);
    });
}

#[test]
fn keys_and_values() {
    let source = r#"
        work("get").get("/get/{k}", req => ({ v: kv.get(req.params.k) }));
        work("set").post("/set/{k}", req => { kv.set(req.params.k, payload()); return "ok" });
        work("lazy").post("/lazy/{k}", req => { kv.set(req.params.k, payload(), { sync: false }); return "ok" });
        work("snx").post("/snx/{k}", req => ({ done: kv.snx(req.params.k, payload()) }));
        work("del").post("/del/{k}", req => ({ done: kv.del(req.params.k) }));
        work("scan").get("/scan", req => ({ keys: kv.scan("s/").map(item => item.key) }));
        work("batch").post("/batch", () => {
            kv.batch([{ set: "s/a", value: 1 }, { set: "s/b", value: 2 }, { del: "s/c" }]);
            return "ok";
        });
        work("undef").post("/undef", () => { kv.set("k", undefined) });
    "#;
    check_script(&Setup::default(), &TaskLimits::default(), source, |runtime, _| {
        let mut client = client(runtime);
        assert_eq!(client.get("/get/a").text(), "{}");
        assert_eq!(client.post("/set/a", r#"{"n":[1,"two",null]}"#).text(), "ok");
        assert_eq!(client.get("/get/a").text(), r#"{"v":{"n":[1,"two",null]}}"#);
        assert_eq!(client.post("/lazy/b", "7").text(), "ok");
        assert_eq!(client.get("/get/b").text(), r#"{"v":7}"#);
        assert_eq!(client.post("/snx/b", "8").text(), r#"{"done":false}"#);
        assert_eq!(client.post("/snx/c", "8").text(), r#"{"done":true}"#);
        assert_eq!(client.post("/del/c", "0").text(), r#"{"done":true}"#);
        assert_eq!(client.post("/del/c", "0").text(), r#"{"done":false}"#);
        assert_eq!(client.post("/batch", "0").text(), "ok");
        assert_eq!(client.get("/scan").text(), r#"{"keys":["s/a","s/b"]}"#);
        assert_eq!(client.post("/undef", "0").status, 500);
    });
}

#[test]
fn counters_and_locks_are_linearizable() {
    let source = r#"
        work("incr").post("/incr", () => ({ n: kv.incr("counter") }));
        work("read").get("/read", () => ({ n: kv.get("counter") }));
        work("cas").post("/cas", () => {
            for (;;) {
                const seen = kv.get("list");
                const next = seen === undefined ? [payload()] : [...seen, payload()];
                if (kv.cas("list", seen, next)) return { length: next.length };
            }
        });
        work("list").get("/list", () => ({ list: kv.get("list") }));
    "#;
    check_script(&Setup::default(), &TaskLimits::default(), source, |runtime, _| {
        let (threads, each) = (4, 40);
        // Every sum is seen once; a sum is never lower than one that was answered before it was asked for.
        let highest = AtomicU64::new(0);
        let sums = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (highest, sums) = (&highest, &sums);
                scope.spawn(move || {
                    let mut client = client(runtime);
                    for round in 0..each {
                        let before = highest.load(Ordering::SeqCst);
                        let n = number(client.post("/incr", "0").text());
                        assert!(n > before, "{n} after {before} was answered");
                        highest.fetch_max(n, Ordering::SeqCst);
                        sums.lock().unwrap().push(n);
                        assert!(number(client.get("/read").text()) >= n);
                        assert_eq!(client.post("/cas", &format!("{}", thread * 1000 + round)).status, 200);
                    }
                });
            }
        });
        let mut sums = sums.into_inner().unwrap();
        sums.sort_unstable();
        assert_eq!(sums, (1..=threads * each).collect::<Vec<_>>());
        let list = client(runtime).get("/list");
        let numbers: Vec<u64> =
            list.text()[9..list.body.len() - 2].split(',').map(|n| n.parse().unwrap()).collect();
        assert_eq!(numbers.len() as u64, threads * each);
        for thread in 0..threads {
            let own: Vec<_> = numbers.iter().filter(|n| *n / 1000 == thread).map(|n| n % 1000).collect();
            assert_eq!(own, (0..each).collect::<Vec<_>>(), "each thread's in its order");
        }
    });
}

fn number(text: &str) -> u64 {
    text.trim_start_matches(r#"{"n":"#).trim_end_matches('}').parse().unwrap()
}

#[test]
fn deploys_find_nobody_unprepared() {
    // The body says which generation answered; sleeping tasks keep theirs.
    let source = |id: u64| {
        format!(
            r#"work("id").get("/id", () => "{id}");
               work("nap").get("/nap", () => {{ sleep(100); return "{id}" }});"#
        )
    };
    // One core with few tasks: jobs wait in the ring while generations come and go.
    let worker = WorkerLimits { tasks: 2, ..WorkerLimits::default() };
    for variant in common::variants() {
        let setup = Setup { worker: worker.clone(), ..Setup::default() };
        let runtime = setup.start(variant, script(1, &source(1), &TaskLimits::default()));
        let current = AtomicU64::new(1);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for path in ["/id", "/id", "/nap", "/nap", "/nap", "/nap"] {
                let (runtime, current, stop) = (&runtime, &current, &stop);
                scope.spawn(move || {
                    let mut client = client(runtime);
                    while !stop.load(Ordering::Relaxed) {
                        let before = current.load(Ordering::SeqCst);
                        client.send(get(path).repeat(3));
                        for _ in 0..3 {
                            let answer = client.answer();
                            assert_eq!(answer.status, 200, "{} {variant:?}", answer.text());
                            let id: u64 = answer.text().parse().unwrap();
                            let after = current.load(Ordering::SeqCst);
                            assert!((before..=after + 1).contains(&id), "{id} of {before}..={after}");
                        }
                    }
                });
            }
            for id in 2..=60 {
                let next = script(id, &source(id), &TaskLimits::default());
                let end = Instant::now() + PATIENCE;
                while let Err(error) = runtime.deploy(&next) {
                    // So many still have running tasks: that is an answer, too.
                    assert!(error.to_string().contains("generations"), "{error}");
                    assert!(Instant::now() < end);
                    std::thread::sleep(Duration::from_millis(10));
                }
                current.store(id, Ordering::SeqCst);
            }
            stop.store(true, Ordering::Relaxed);
        });
        eventually("old generations are gone", || {
            runtime.metrics().iter().all(|metrics| metrics.generations.get() == 1)
        });
    }
}

#[test]
fn draining_lets_tasks_end() {
    let source = r#"work("nap").get("/nap", () => { sleep(300); return "slept" });"#;
    for variant in common::variants() {
        let runtime = Setup::default().start(variant, script(1, source, &TaskLimits::default()));
        let mut client = client(&runtime);
        client.send(get("/nap"));
        eventually("the task runs", || total(&runtime, |m| &m.tasks) == 1);
        std::thread::scope(|scope| {
            let drained = scope.spawn(|| runtime.drain(PATIENCE));
            assert_eq!(client.answer().text(), "slept");
            client.end();
            drop(client);
            let begin = Instant::now();
            assert!(drained.join().unwrap());
            assert!(begin.elapsed() < Duration::from_millis(900), "{:?} {variant:?}", begin.elapsed());
        });
    }
}

#[test]
fn requests_to_upstreams() {
    // The upstream is Forebay itself: keep-alive, errors, slowness.
    let far = script(
        1,
        r#"
        work("hi").get("/hi", () => response({ hi: true }, { headers: { "X-Far": "1" } }));
        work("echo").post("/echo", req => ({ type: req.headers["content-type"], got: payload() }));
        work("slow").get("/slow", () => { sleep(2000); return "late" });
        work("missing").get("/gone", () => response("gone", { status: 410 }));
        "#,
        &TaskLimits::default(),
    );
    let variant = common::variants().next().unwrap();
    let far = Setup::default().start(variant, far);
    let port = far.tcp().unwrap().port();
    let source = format!(
        r#"
        const far = "http://127.0.0.1:{port}";
        const text = r => ({{ status: r.status, ok: r.ok, far: r.headers["x-far"], body: r.text() }});
        work("hi").get("/hi", () => text(http().get(far + "/hi")));
        work("json").get("/json", () => http().get(far + "/hi").json());
        work("echo").post("/echo", () => http().post(far + "/echo", payload()).json());
        work("gone").get("/gone", () => text(http().get(far + "/gone")));
        work("slow").get("/slow", () => {{
            try {{ http().get(far + "/slow", {{ timeout: "100ms" }}); return "no" }} catch (e) {{ return e.name + ": " + e.message }}
        }});
        work("refused").get("/refused", () => {{
            try {{ http().get("http://127.0.0.1:1/"); return "no" }} catch (e) {{ return e.name }}
        }});
        work("own").get("/own", () => http().get("http://api.example/sub/hi?x=1").text());
        work("route").get("/mock/sub/hi", req => "own " + req.query.x);
        work("many").get("/many", async () => {{
            const all = await Promise.all([1, 2, 3, 4].map(async () => http().get(far + "/hi").status));
            return {{ all }};
        }});
        work("leave").get("/leave", async () => {{ (async () => http().get(far + "/slow"))(); return "left" }});
        "#
    );
    let rewrites = vec![Rewrite { from: "http://api.example".into(), to: RewriteTo::Own("/mock".into()) }];
    let setup = Setup { allow_private: true, rewrites, ..Setup::default() };
    check_script(&setup, &TaskLimits::default(), &source, |runtime, variant| {
        let mut client = client(runtime);
        for _ in 0..20 {
            assert_eq!(
                client.get("/hi").text(),
                r#"{"status":200,"ok":true,"far":"1","body":"{\"hi\":true}"}"#
            );
        }
        assert!(total(&far, |m| &m.connections) <= variant.cores as u64, "connections are used again");
        assert_eq!(client.get("/json").text(), r#"{"hi":true}"#);
        assert_eq!(client.post("/echo", r#"{"a":1}"#).text(), r#"{"type":"application/json","got":{"a":1}}"#);
        assert!(client.get("/gone").text().starts_with(r#"{"status":410,"ok":false"#));
        assert_eq!(client.get("/many").text(), r#"{"all":[200,200,200,200]}"#);
        let begin = Instant::now();
        let slow = client.get("/slow");
        assert!(slow.text().starts_with("HttpError: http: 127.0.0.1 didn't answer"), "{}", slow.text());
        assert!(begin.elapsed() < Duration::from_millis(900), "{:?}", begin.elapsed());
        assert_eq!(client.get("/refused").text(), "HttpError");
        assert_eq!(client.get("/own").text(), "own 1");
        assert_eq!(client.get("/leave").text(), "left");
        drop(client);
        // What nobody waits for any more isn't kept.
        eventually("idle connections are closed", || total(&far, |m| &m.connections) == 0);
    });
    // Without permission.
    let setup = Setup { allow_private: false, ..Setup::default() };
    check_script(&setup, &TaskLimits::default(), &source, |runtime, _| {
        let answer = client(runtime).get("/refused");
        assert_eq!(answer.text(), "HttpError");
        assert_eq!(client(runtime).get("/hi").status, 500);
    });
}

#[test]
fn an_idle_core_sleeps() {
    let source = r#"work("h").get("/h", () => { kv.set("a", 1); sleep(1); return "ok" });"#;
    check_script(&Setup::default(), &TaskLimits::default(), source, |runtime, variant| {
        let mut client = client(runtime);
        for _ in 0..50 {
            assert_eq!(client.get("/h").text(), "ok");
        }
        // The gauge moves once a second.
        std::thread::sleep(Duration::from_millis(1100));
        let before = total(runtime, |m| &m.turns);
        std::thread::sleep(Duration::from_millis(2100));
        let turns = total(runtime, |m| &m.turns) - before;
        assert!(turns <= 10 * variant.cores as u64, "{turns} turns in 2 s of nothing, {variant:?}");
    });
}
