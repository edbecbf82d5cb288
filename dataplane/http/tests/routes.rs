//! The route table: its rules one by one, and against a matcher too simple to be wrong.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use forebay_base::rng::Rng;
use forebay_http::Method;
use forebay_http::percent::decode_path;
use forebay_http::routes::{Lookup, Params, RouteError, RouteTable};

type Table = RouteTable<usize>;

fn table(routes: &[(&str, &str)]) -> Result<Table, RouteError> {
    let mut builder = Table::builder();
    for (index, (method, pattern)) in routes.iter().enumerate() {
        builder.add(Method::from_bytes(method.as_bytes()), pattern, index)?;
    }
    Ok(builder.build())
}

/// `pattern name=value ...`, or the refusal.
fn look(table: &Table, request: &str) -> String {
    let (method, path) = request.split_once(' ').unwrap();
    let mut params = Params::default();
    match table.lookup(Method::from_bytes(method.as_bytes()), path.as_bytes(), &mut params) {
        Lookup::Found(route) => {
            assert_eq!(route.names.len(), params.len());
            let mut line = format!("{}", route.pattern);
            for (index, name) in route.names.iter().enumerate() {
                line += &format!(" {name}={}", params.decoded(index, path).unwrap().unwrap());
            }
            assert_eq!(params.raw(params.len(), path), None);
            line
        }
        Lookup::MethodNotAllowed(allow) => format!("405 {allow}"),
        Lookup::NotFound => "404".to_owned(),
        Lookup::BadPath(error) => format!("400 {}", error.code()),
    }
}

#[track_caller]
fn check(routes: &[(&str, &str)], expect: &[(&str, &str)]) {
    let table = table(routes).unwrap();
    for (request, outcome) in expect {
        assert_eq!(look(&table, request), *outcome, "{request}");
    }
}

#[test]
fn the_best_pattern_wins() {
    check(
        &[
            ("GET", "/users/{id}"),
            ("GET", "/users/me"),
            ("GET", "/{*all}"),
            ("GET", "/users/{id}/posts/{post}"),
        ],
        &[
            ("GET /users/7", "/users/{id} id=7"),
            ("GET /users/me", "/users/me"),
            ("GET /users/me2", "/users/{id} id=me2"),
            ("GET /users/", "/{*all} all=users/"),
            ("GET /users", "/{*all} all=users"),
            ("GET /", "/{*all} all="),
            ("GET /users/me/posts/1", "/users/{id}/posts/{post} id=me post=1"),
            ("GET /users/me/posts", "/{*all} all=users/me/posts"),
            ("GET /users/7/posts/1/x", "/{*all} all=users/7/posts/1/x"),
            ("GET //", "/{*all} all=/"),
        ],
    );
}

#[test]
fn slashes_are_exact() {
    check(
        &[("GET", "/"), ("GET", "/a"), ("GET", "/b/"), ("GET", "/f/{*rest}"), ("GET", "/p/{x}/")],
        &[
            ("GET /", "/"),
            ("GET //", "404"),
            ("GET /a", "/a"),
            ("GET /a/", "404"),
            ("GET /b", "404"),
            ("GET /b/", "/b/"),
            ("GET /f", "404"),
            ("GET /f/", "/f/{*rest} rest="),
            ("GET /f/a//b/", "/f/{*rest} rest=a//b/"),
            ("GET /p/1/", "/p/{x}/ x=1"),
            ("GET /p/1", "404"),
            ("GET /p//", "404"),
        ],
    );
}

#[test]
fn methods() {
    check(
        &[
            ("GET", "/a"),
            ("POST", "/a"),
            ("DELETE", "/{x}"),
            ("PUT", "/{*all}"),
            ("HEAD", "/h"),
            ("GET", "/h"),
        ],
        &[
            ("GET /a", "/a"),
            ("HEAD /a", "/a"),
            ("HEAD /h", "/h"),
            ("DELETE /a", "/{x} x=a"),
            ("PUT /a", "/{*all} all=a"),
            ("PATCH /a", "405 GET, HEAD, POST, PUT, DELETE"),
            ("PATCH /b", "405 PUT, DELETE"),
            ("PATCH /b/c", "405 PUT"),
            ("PURGE /a", "405 GET, HEAD, POST, PUT, DELETE"),
            ("OPTIONS *", "404"),
        ],
    );
    let only_head = table(&[("HEAD", "/h"), ("GET", "/h")]).unwrap();
    let mut params = Params::default();
    assert!(
        matches!(only_head.lookup(Method::Head, b"/h", &mut params), Lookup::Found(route) if route.value == 0)
    );
}

#[test]
fn encoded_paths() {
    check(
        &[("GET", "/café/{x}"), ("GET", "/f/{*rest}"), ("GET", "/a b")],
        &[
            ("GET /caf%C3%A9/1", "/café/{x} x=1"),
            ("GET /caf%c3%a9/a%2Fb", "/café/{x} x=a/b"),
            ("GET /%63af%C3%A9/%20+", "/café/{x} x= +"),
            ("GET /a%20b", "/a b"),
            ("GET /a+b", "404"),
            ("GET /f/a%2F%2e%2e%2Fb", "/f/{*rest} rest=a/../b"),
            ("GET /f/%2e%2e/b", "400 dot_segment"),
            ("GET /f/../b", "400 dot_segment"),
            ("GET /f/.", "400 dot_segment"),
            ("GET /nowhere/%zz", "400 bad_percent_encoding"),
            ("GET /f/%00", "400 nul_in_path"),
            ("GET /f/%ff", "400 bad_utf8"),
        ],
    );
}

#[test]
fn wrong_tables_are_refused() {
    let refused = |routes: &[(&str, &str)]| table(routes).unwrap_err().to_string();
    assert_eq!(refused(&[("GET", "/a"), ("GET", "/a")]), "route GET \"/a\" is declared twice");
    assert_eq!(
        refused(&[("GET", "/u/{id}"), ("POST", "/u/{x}"), ("GET", "/u/{name}")]),
        "routes GET \"/u/{id}\" and GET \"/u/{name}\" match the same paths"
    );
    assert_eq!(
        refused(&[("GET", "/{*a}"), ("GET", "/{*b}")]),
        "routes GET \"/{*a}\" and GET \"/{*b}\" match the same paths"
    );
    for pattern in [
        "",
        "a",
        "*",
        "/a//b",
        "//",
        "/a?b",
        "/a#b",
        "/a%20b",
        "/a\\b",
        "/a\nb",
        "/.",
        "/../a",
        "/{}",
        "/{*}",
        "/{1a}",
        "/{a-b}",
        "/{a",
        "/a}",
        "/x{a}",
        "/{a}x",
        "/{a}{b}",
        "/{*a}/b",
        "/{a}/{a}",
        "/{a}/{*a}",
        "/{{a}}",
    ] {
        assert!(matches!(table(&[("GET", pattern)]), Err(RouteError::Pattern { .. })), "{pattern}");
    }
    let deep = "/{a}".repeat(16);
    assert!(table(&[("GET", &"/x".repeat(64))]).is_ok() && table(&[("GET", &"/x".repeat(65))]).is_err());
    assert!(table(&[("GET", &deep)]).is_err(), "one name, many times");
    let params = |count: usize| (0..count).map(|i| format!("/{{p{i}}}")).collect::<String>();
    assert!(table(&[("GET", &params(16))]).is_ok() && table(&[("GET", &params(17))]).is_err());
    assert!(matches!(table(&[("PURGE", "/a")]), Err(RouteError::Pattern { .. })));
}

#[test]
fn backtracking_is_bounded() {
    // Every segment could be literal or parameter, and nothing matches in the end.
    let mut builder = Table::builder();
    for pattern in 0..1u32 << 12 {
        let path: String = (0..12)
            .map(|bit| if pattern >> bit & 1 == 0 { "/a".into() } else { format!("/{{p{bit}}}") })
            .collect();
        builder.add(Method::Get, &(path + "/end"), 0).unwrap();
    }
    let table = builder.build();
    for _ in 0..100 {
        assert_eq!(look(&table, &format!("GET {}/x", "/a".repeat(12))), "404");
    }
    assert_eq!(look(&table, &format!("GET {}", "/a".repeat(30_000))), "404");
    let wide = table_of_many();
    assert_eq!(look(&wide, "GET /k777/x"), "/k777/{v} v=x");
    assert_eq!(look(&wide, "GET /%6b777/x"), "/k777/{v} v=x");
    assert_eq!(look(&wide, "GET /k1000/x"), "404");
}

fn table_of_many() -> Table {
    let mut builder = Table::builder();
    for key in 0..1000 {
        builder.add(Method::Get, &format!("/k{key}/{{v}}"), key).unwrap();
    }
    builder.build()
}

#[test]
fn tables_are_shared() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&table_of_many());
}

/// The reference: every pattern against the path, segment by segment; the rank of
/// a match is the kind of each segment, and the lowest rank wins.
fn naive(routes: &[(Method, String)], method: Method, path: &str) -> String {
    let segments: Vec<&str> = path.strip_prefix('/').unwrap().split('/').collect();
    let mut best: Option<(Vec<u8>, String)> = None;
    let mut allow = [false; 9];
    for (of, pattern) in routes {
        let parts: Vec<&str> = pattern.strip_prefix('/').unwrap().split('/').collect();
        let mut rank = Vec::new();
        let mut line = pattern.clone();
        let mut matches = true;
        for (index, part) in parts.iter().enumerate() {
            if let Some(name) = part.strip_prefix("{*") {
                rank.push(2);
                if index < segments.len() {
                    let rest = segments[index..].join("/");
                    line += &format!(" {}={}", name.trim_end_matches('}'), decode_path(&rest).unwrap());
                } else {
                    matches = false;
                }
                break;
            }
            let Some(segment) = segments.get(index) else {
                matches = false;
                break;
            };
            if let Some(name) = part.strip_prefix('{') {
                rank.push(1);
                matches &= !segment.is_empty();
                line += &format!(" {}={}", name.trim_end_matches('}'), decode_path(segment).unwrap());
            } else {
                rank.push(0);
                matches &= decode_path(segment).unwrap() == **part;
            }
        }
        let open = parts.last().unwrap().starts_with("{*");
        if !matches || (!open && parts.len() != segments.len()) {
            continue;
        }
        allow[*of as usize] = true;
        allow[Method::Head as usize] |= *of == Method::Get;
        let falls_back = method == Method::Head && *of == Method::Get;
        if *of == method || falls_back {
            // HEAD's own route wins over GET's, but only at the same place.
            rank.push(u8::from(falls_back));
            if best.as_ref().is_none_or(|(other, _)| rank < *other) {
                best = Some((rank, line));
            }
        }
    }
    match best {
        Some((_, line)) => line,
        None if allow.contains(&true) => {
            let names: Vec<_> =
                Method::ALL.iter().filter(|m| allow[**m as usize]).map(|m| m.as_str()).collect();
            format!("405 {}", names.join(", "))
        }
        None => "404".to_owned(),
    }
}

#[test]
fn agrees_with_the_naive_matcher() {
    const TEXTS: [&str; 5] = ["a", "b", "ab", "é", ""];
    const SENT: [&str; 9] = ["a", "b", "ab", "%C3%A9", "", "%61", "c", "a%2Fb", "d"];
    const METHODS: [Method; 4] = [Method::Get, Method::Head, Method::Post, Method::Delete];
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let mut pick = |n: usize| usize::try_from(rng.below(n as u64)).unwrap();
        let mut builder = RouteTable::<()>::builder();
        let mut routes = Vec::new();
        for _ in 0..pick(25) {
            let mut pattern = String::new();
            for at in 0..=pick(4) {
                match pick(6) {
                    0 | 1 => pattern += &format!("/{{p{at}}}"),
                    2 if pick(2) == 0 => {
                        pattern += &format!("/{{*r{at}}}");
                        break;
                    }
                    _ => pattern += &format!("/{}", TEXTS[pick(TEXTS.len())]),
                }
            }
            let method = METHODS[pick(METHODS.len())];
            if builder.add(method, &pattern, ()).is_ok() {
                routes.push((method, pattern));
            }
        }
        let table = builder.build();
        for _ in 0..200 {
            let path: String = (0..=pick(5)).map(|_| format!("/{}", SENT[pick(SENT.len())])).collect();
            let method = METHODS[pick(METHODS.len())];
            let mut params = Params::default();
            let found = match table.lookup(method, path.as_bytes(), &mut params) {
                Lookup::Found(route) => {
                    let values = route.names.iter().enumerate();
                    values.fold(route.pattern.to_string(), |line, (index, name)| {
                        format!("{line} {name}={}", params.decoded(index, &path).unwrap().unwrap())
                    })
                }
                Lookup::MethodNotAllowed(allow) => format!("405 {allow}"),
                Lookup::NotFound => "404".to_owned(),
                Lookup::BadPath(error) => panic!("{error}"),
            };
            assert_eq!(found, naive(&routes, method, &path), "seed {seed}: {method} {path} in {routes:?}");
        }
    }
}
