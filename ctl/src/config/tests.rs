//! A table of inputs and what becomes of them.

use super::*;

fn parse(text: &str) -> Config {
    match Config::parse(text, Path::new("/app")) {
        Ok(config) => config,
        Err(frames) => panic!("{}", frames[0].render("forebay.toml", text, false)),
    }
}

/// Each expectation is "LINE:COLUMN code part-of-the-text".
#[track_caller]
fn check_errors(text: &str, expected: &[&str]) {
    let frames = Config::parse(text, Path::new("/app")).expect_err("must be refused");
    let mut left = frames.iter();
    for line in expected {
        let frame = left.next().unwrap_or_else(|| panic!("no frame for {line}"));
        let (row, column) = frame.position(text);
        let rendered = frame.render("forebay.toml", text, false);
        let shown = format!("{row}:{column} {}", frame.code);
        let (head, part) = line.split_at(line.match_indices(' ').nth(1).map_or(line.len(), |(at, _)| at));
        assert_eq!(shown, head, "{rendered}");
        assert!(rendered.contains(part.trim()), "{part:?} not in\n{rendered}");
        assert!(rendered.contains(&format!("forebay.toml:{row}:{column}")), "{rendered}");
    }
    assert_eq!(left.next(), None);
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(parse(""), Config::default());
    assert_eq!(parse("# only a comment\n[limits]\n"), Config::default());
}

#[test]
fn every_key_is_read() {
    let config = parse(
        r#"
listen = ["127.0.0.1:8080", "[::1]:80", "localhost:81"]
data = "d"
admin = "/run/forebay/admin.sock"
cores = "0-2,8"
placement = "split"
huge_pages = false

[limits]
request_head_bytes = "8KiB"
uri_bytes = 4096
header_count = 50
body_bytes = "2MiB"
requests_per_turn = 16
connections = 100
output_bytes = "64KiB"
idle_timeout = "1m"
header_timeout = "5s"
body_timeout = "1.5s"
write_timeout = "250ms"
fuel = 1_000_000
wall_time = "10s"
memory = "16MiB"
stack_depth = 500
fibers = 8
effects = 9

[worker]
request_queue = 256
tasks = 128
slice_fuel = 10_000

[kv]
keys = 1_000
bytes = "1GiB"

[database]
url = "$DATABASE_URL"
connections = 4
transactions = 3
window = 32
queue = 10
acquire_timeout = "2s"
result_bytes = "1MiB"
statements = 64
lifetime = "10m"
idle_check = "15s"

[env]
allow = ["STRIPE_KEY", "REGION"]

[http]
allow_private = true

[dev.rewrite]
"https://api.exchangerate.host" = "/_fake/rates/"
"https://api.exchangerate.host:8443/" = "http://127.0.0.1:9090"
"#,
    );
    assert_eq!(config.listen[1].to_string(), "[::1]:80");
    assert_eq!(config.listen[2].to_string(), "127.0.0.1:81");
    assert_eq!(config.data.as_deref(), Some(Path::new("/app/d")));
    assert_eq!(config.admin.as_deref(), Some(Path::new("/run/forebay/admin.sock")));
    assert_eq!(config.cores, Some(vec![0, 1, 2, 8]));
    assert_eq!(config.placement, Some(Placement::Split));
    assert!(config.small_pages && !Config::default().small_pages);
    // Every value differs from its default, so that a key that isn't read shows.
    let (http, fresh) = (&config.http, HttpLimits::default());
    assert_eq!((http.request_head_bytes, http.uri_bytes, http.header_count), (8192, 4096, 50));
    assert_eq!((http.body_bytes, http.output_bytes), (2 << 20, 64 << 10));
    assert_eq!((http.requests_per_turn, http.connections), (16, 100));
    assert_eq!((http.idle_timeout.as_secs(), http.header_timeout.as_secs()), (60, 5));
    assert_eq!((http.body_timeout.as_millis(), http.write_timeout.as_millis()), (1500, 250));
    assert_ne!(*http, fresh);
    assert_eq!(
        config.task,
        TaskLimits {
            fuel: 1_000_000,
            wall_time: Duration::from_secs(10),
            memory: 16 << 20,
            stack_depth: 500,
            fibers: 8,
            effects: 9
        }
    );
    assert_eq!(config.worker, WorkerLimits { request_queue: 256, tasks: 128, slice_fuel: 10_000 });
    assert_eq!(config.quota, forebay_kv::Quota { keys: 1000, bytes: 1 << 30 });
    let database = config.database.as_ref().unwrap();
    assert_eq!(
        database.limits,
        DatabaseLimits {
            connections: 4,
            transactions: 3,
            window: 32,
            queue: 10,
            acquire_timeout: Duration::from_secs(2),
            result_bytes: 1 << 20,
            statements: 64,
            lifetime: Duration::from_secs(600),
            idle_check: Duration::from_secs(15)
        }
    );
    assert_eq!(
        database.source.url(|name| Some(format!("url of {name}"))),
        Ok(Some("url of DATABASE_URL".into()))
    );
    assert!(database.source.url(|_| None).unwrap_err().contains("DATABASE_URL"));
    assert_eq!(config.env_allow, ["STRIPE_KEY", "REGION"]);
    assert!(config.allow_private && !Config::default().allow_private);
    assert_eq!(config.rewrites.len(), 2);
    assert_eq!(parse("cores = [3, 1]").cores, Some(vec![3, 1]));
    assert_eq!(parse("placement = \"auto\"").placement, None);
    assert_eq!(parse("[database]\nurl = \"private\"").database.unwrap().source, DatabaseSource::Private);
}

#[test]
fn unknown_keys_name_the_nearest() {
    check_errors("[http]\nallow_privat = true", &["2:1 config/unknown-key did you mean `allow_private`?"]);
    check_errors("lisen = \"127.0.0.1:80\"", &["1:1 config/unknown-key did you mean `listen`?"]);
    check_errors("[limits]\nbody-bytes = 1\n", &["2:1 config/unknown-key did you mean `body_bytes`?"]);
    check_errors("memory = \"1MiB\"\n", &["1:1 config/unknown-key `memory` belongs to [limits]"]);
    check_errors("[worker]\nlisten = \"a\"\n", &["2:1 config/unknown-key belongs above the first [section]"]);
    check_errors(
        "[worker]\nzebra = 1\n",
        &["2:1 config/unknown-key known here: request_queue, tasks, slice_fuel"],
    );
    check_errors("[limit]\nfuel = 1\n", &["1:2 config/unknown-key did you mean `limits`?"]);
    check_errors("\n\n  [dev.rewrites]\n", &["3:8 config/unknown-key did you mean `rewrite`?"]);
}

#[test]
fn wrong_types_and_values_point_at_the_value() {
    check_errors("listen = 8080", &["1:10 config/type must be a string or a list of strings"]);
    check_errors("listen = \"8080\"", &["1:10 config/value \"127.0.0.1:8080\" (this machine)"]);
    check_errors("listen = [\"127.0.0.1:1\", \"x:2\"]", &["1:26 config/value not an address"]);
    check_errors("placement = \"both\"", &["1:13 config/value one of \"auto\""]);
    check_errors("cores = [0, -1]", &["1:13 config/value must be at least 0"]);
    check_errors("cores = \"3-1\"", &["1:9 config/value range"]);
    check_errors("cores = []", &["1:9 config/value empty"]);
    check_errors("data = \"\"", &["1:8 config/value not a path"]);
    check_errors("limits = 3", &["1:10 config/type must be a section, [limits]"]);
    check_errors("[limits]\nidle_timeout = 30", &["2:16 config/type must be a string"]);
    check_errors("[limits]\nidle_timeout = \"30\"", &["2:16 config/value \"30s\" or \"30ms\""]);
    check_errors("[limits]\nidle_timeout = \"0s\"", &["2:16 config/value above 0"]);
    check_errors("[limits]\nmemory = \"64M\"", &["2:10 config/value as in \"64MiB\""]);
    check_errors("[limits]\nmemory = 1.5", &["2:10 config/type a size"]);
    check_errors("[limits]\nmemory = 1", &["2:10 config/value must be 64KiB to 1GiB"]);
    check_errors("[limits]\nheader_count = 97", &["2:16 config/value must be 1 to 96"]);
    check_errors("[limits]\nfuel = 0", &["2:8 config/value at least 1"]);
    check_errors("[limits]\nfuel = 99999999999999999999", &["2:8 config/value 64 bits"]);
    check_errors("[worker]\nrequest_queue = 1000", &["2:17 config/value as 1024"]);
    check_errors("[database]\nwindow = 3", &["1:2 config/missing-key add url ="]);
    check_errors("[database]\nurl = \"mysql://x\"", &["2:7 config/value \"private\""]);
    check_errors("[env]\nallow = [\"A=B\"]", &["2:10 config/value environment variable"]);
    check_errors("[dev.rewrite]\n\"host\" = \"/x\"", &["2:1 config/value left side is an origin"]);
    check_errors("[dev.rewrite]\n\"https://a/b\" = \"/x\"", &["2:1 config/value without a path"]);
    check_errors("[dev.rewrite]\n\"https://a\" = \"x\"", &["2:1 config/value right side"]);
}

#[test]
fn broken_toml_points_at_the_place() {
    check_errors("listen = \n", &["1:10 config/syntax"]);
    check_errors("a = 1\na = 2\n", &["2:1 config/syntax duplicate key"]);
    check_errors("[limits\n", &["1:8 config/syntax"]);
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_file() {
    check_errors(
        "dat = \"x\"\nplacement = 1\n[limits]\nfule = 1\nmemory = true\n",
        &[
            "1:1 config/unknown-key `data`",
            "2:13 config/type a string",
            "4:1 config/unknown-key `fuel`",
            "5:10 config/type size",
        ],
    );
}

#[test]
fn the_command_line_wins() {
    let config = parse("listen = \"127.0.0.1:1\"\ndata = \"a\"\nplacement = \"split\"\n").with(Overrides {
        listen: vec!["127.0.0.1:2".parse().unwrap()],
        placement: Some(None),
        ..Overrides::default()
    });
    assert_eq!(config.listen[0].port(), 2);
    assert_eq!(config.data.as_deref(), Some(Path::new("/app/a")));
    assert_eq!(config.placement, None);
}

#[test]
fn rewrites_apply_to_whole_origins() {
    let config = parse(
        "[dev.rewrite]\n\"https://API.example\" = \"/_fake/rates\"\n\"https://api.example:99\" = \"http://127.0.0.1:9\"\n",
    );
    let check = |url: &str, expected: Option<&str>| {
        assert_eq!(config.rewrite(url, "http://127.0.0.1:8080").as_deref(), expected, "{url}");
    };
    check("https://api.example/latest?base=EUR", Some("http://127.0.0.1:8080/_fake/rates/latest?base=EUR"));
    check("https://api.example", Some("http://127.0.0.1:8080/_fake/rates"));
    check("https://api.example:99/x", Some("http://127.0.0.1:9/x"));
    check("https://api.example.org/x", None);
    check("https://api.example:98/x", None);
    check("http://api.example/x", None);
    check("https://api.exämple", None);
}

#[test]
fn bytes_of_any_kind_never_panic() {
    let seed_text =
        "listen = \"127.0.0.1:8080\"\n[limits]\nmemory = \"64MiB\"\n[dev.rewrite]\n\"https://é\" = '/x'\n";
    let mut rng = forebay_base::rng::Rng::new(7);
    for _ in 0..2000 {
        let mut bytes = seed_text.as_bytes().to_vec();
        for _ in 0..1 + rng.next_u64() % 4 {
            let at = usize::try_from(rng.next_u64() % bytes.len() as u64).unwrap();
            bytes[at] = b"\"'=[]{}.\n\\\x00\xff a1"[usize::try_from(rng.next_u64() % 15).unwrap()];
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Err(frames) = Config::parse(&text, Path::new("/app")) {
            for frame in frames {
                let _ = frame.render("f", &text, false);
            }
        }
    }
}

#[test]
fn every_key_is_documented_in_its_section() {
    let text = include_str!("../../../docs/CONFIGURATION.md");
    for (section, key) in Config::keys() {
        let heading = match (section, key) {
            ("", "limits" | "worker" | "kv" | "database" | "env" | "http" | "dev") => continue,
            ("", _) => "## Top level".to_owned(),
            ("dev", key) => format!("## [dev.{key}]"),
            (section, _) => format!("## [{section}]"),
        };
        let part = text.split(&format!("{heading}\n")).nth(1).and_then(|rest| rest.split("\n## ").next());
        assert!(part.is_some_and(|part| part.contains(&format!("| `{key}` |"))), "{heading}: `{key}`");
    }
}
