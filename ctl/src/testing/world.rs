//! The outside world of a test: which answer an outbound request gets. The library talks to the runner by URLs of a host
//! that doesn't exist, `http://forebay-test`, so that it needs no host functions of its own.
//!
//! | URL | body | meaning |
//! |---|---|---|
//! | `/app/...` | the request's | through the app's own routes |
//! | `/mock` | method, url, replies | from now on; gives an id |
//! | `/calls` | id | what a mock was asked |
//! | `/now`, `/advance` | ms; time | the clock |

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use forebay_base::{Timestamp, Value as Body};
use forebay_worker::testing::{Outside, TestWorld};
use serde_json::{Value, json};

use crate::config::{Rewrite, RewriteTarget};
use crate::units;

const BASE: &str = "http://forebay-test/";
/// Calls that one mock remembers.
const CALLS_MAX: usize = 1000;

/// The mocks of the test that runs.
pub(super) struct Mocks {
    list: Mutex<Vec<Mock>>,
    /// `[dev.rewrite]` lines that lead to routes of the app: they are in force.
    own_routes: Vec<(String, String)>,
    own: Arc<OnceLock<SocketAddr>>,
}

struct Mock {
    method: String,
    /// Without the `*` at its end.
    url: String,
    is_prefix: bool,
    replies: Vec<Value>,
    calls: Vec<Value>,
}

impl Mocks {
    pub(super) fn new(rewrites: &[Rewrite], own: Arc<OnceLock<SocketAddr>>) -> Self {
        let own_route = |rewrite: &Rewrite| match &rewrite.to {
            RewriteTarget::Own(path) => Some((rewrite.from.clone(), path.clone())),
            RewriteTarget::Url(_) => None,
        };
        Self { list: Mutex::default(), own_routes: rewrites.iter().filter_map(own_route).collect(), own }
    }

    /// The next test has none.
    pub(super) fn forget(&self) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn answer(&self, world: &TestWorld, method: &str, url: &str, body: &Body) -> Outside {
        if let Some(path) = url.strip_prefix(BASE) {
            return match path.strip_prefix("app/") {
                Some(path) => self.send(&format!("/{path}")),
                None => self.control(world, path, body).unwrap_or_else(Outside::Fail),
            };
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        // The newest wins.
        if let Some(mock) = list.iter_mut().rev().find(|mock| mock.fits(method, url)) {
            return mock.answer(url, body);
        }
        for (from, to) in &self.own_routes {
            if let Some(rest) = url.strip_prefix(&**from)
                && (rest.is_empty() || rest.starts_with(['/', '?']))
            {
                return self.send(&format!("{to}{rest}"));
            }
        }
        let shown: String = url.chars().take(200).collect();
        let example = format!("mock.http(\"{method}\", \"{shown}\", {{ json: {{}} }})");
        Outside::Fail(format!("http: {method} {shown}: tests don't reach the network; mock it: {example}"))
    }

    fn send(&self, path: &str) -> Outside {
        match self.own.get() {
            Some(own) => Outside::Send(format!("http://{own}{path}")),
            None => Outside::Fail("http: the app is not listening yet".to_owned()),
        }
    }

    fn control(&self, world: &TestWorld, path: &str, body: &Body) -> Result<Outside, String> {
        let text = body.as_str().unwrap_or_default();
        let body: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match path {
            "mock" => {
                let text = |name: &str| body[name].as_str().unwrap_or_default();
                let url = text("url");
                if !url.starts_with("http://") && !url.starts_with("https://") {
                    return Err(format!("mock.http: {url:?} is not a URL: http://... or https://..."));
                }
                list.push(Mock {
                    method: text("method").to_uppercase(),
                    url: url.strip_suffix('*').unwrap_or(url).to_owned(),
                    is_prefix: url.ends_with('*'),
                    replies: body["replies"].as_array().cloned().unwrap_or_default(),
                    calls: Vec::new(),
                });
                json!({ "id": list.len() - 1 })
            }
            "calls" => {
                let id = body["id"].as_u64().and_then(|id| usize::try_from(id).ok());
                id.and_then(|id| list.get(id)).map_or_else(|| json!([]), |mock| mock.calls.clone().into())
            }
            "now" => {
                let micros = body["ms"].as_f64().unwrap_or_default() * 1000.0;
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "as saturates: a Date is within 8.64e15 ms"
                )]
                world.stop_clock(Timestamp(micros as i64));
                json!({})
            }
            "advance" => {
                let micros = match (&body["time"], body["time"].as_f64()) {
                    #[expect(clippy::cast_possible_truncation, reason = "as saturates")]
                    (_, Some(ms)) => (ms * 1000.0) as i64,
                    (Value::String(text), _) => units::duration(text)
                        .map(|time| i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
                        .map_err(|why| format!("mock.advance: {why}"))?,
                    _ => return Err("mock.advance: milliseconds, or text such as \"1h\"".to_owned()),
                };
                if !world.advance(micros) {
                    return Err("mock.advance: the clock runs; stop it with mock.now(time) first".to_owned());
                }
                json!({})
            }
            _ => return Err(format!("http: {BASE}{path} is the test library's")),
        };
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Ok(Outside::Answer(200, headers, answer.to_string().into_bytes()))
    }
}

impl Mock {
    fn fits(&self, method: &str, url: &str) -> bool {
        let same = if self.is_prefix { url.starts_with(&self.url) } else { url == self.url };
        same && (self.method == method || self.method == "*")
    }

    /// One reply after the other; the last one again and again.
    fn answer(&mut self, url: &str, body: &Body) -> Outside {
        if self.calls.len() < CALLS_MAX {
            self.calls.push(json!({ "url": url, "body": value_of(body) }));
        }
        let reply = match self.replies.len() {
            0 => Value::Null,
            1 => self.replies[0].clone(),
            _ => self.replies.remove(0),
        };
        if let Some(error) = reply["error"].as_str() {
            return Outside::Fail(format!("http: {error}"));
        }
        let status = reply["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
        let mut headers: Vec<(String, String)> = reply["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.to_lowercase(), value.as_str().unwrap_or_default().to_owned()))
            .collect();
        if reply["isJson"] == true && !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        let body = reply["body"].as_str().unwrap_or_default();
        Outside::Answer(status, headers, body.as_bytes().to_vec())
    }
}

/// A value of a script as JSON, for `calls`.
fn value_of(body: &Body) -> Value {
    match body {
        Body::Bool(b) => (*b).into(),
        Body::Int(n) => (*n).into(),
        Body::Float(n) => (*n).into(),
        Body::Str(text) => (&**text).into(),
        Body::List(items) => items.iter().map(value_of).collect(),
        Body::Map(pairs) => {
            Value::Object(pairs.iter().map(|(key, value)| (key.to_string(), value_of(value))).collect())
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> TestWorld {
        TestWorld::new(Box::new(|_, _, _, _| Outside::Fail(String::new())))
    }

    fn text(outside: &Outside) -> String {
        match outside {
            Outside::Answer(status, _, body) => format!("{status} {}", String::from_utf8_lossy(body)),
            Outside::Fail(why) => format!("fail {why}"),
            Outside::Send(url) => format!("send {url}"),
        }
    }

    #[test]
    fn requests_get_the_newest_mock_else_their_own_route_else_an_error() {
        let own = Arc::new(OnceLock::new());
        own.set("127.0.0.1:7".parse().unwrap()).unwrap();
        let rewrite = Rewrite { from: "https://rates".into(), to: RewriteTarget::Own("/_dev".into()) };
        let mocks = Mocks::new(&[rewrite], own);
        let world = world();
        let ask = |method: &str, url: &str| text(&mocks.answer(&world, method, url, &Body::Undefined));
        let control = |path: &str, body: Value| {
            let body = Body::Str(body.to_string().into());
            text(&mocks.answer(&world, "POST", &format!("{BASE}{path}"), &body))
        };
        assert!(ask("GET", "https://a/b").starts_with("fail http: GET https://a/b: tests don't reach"));
        assert_eq!(ask("GET", "https://rates/latest"), "send http://127.0.0.1:7/_dev/latest");
        assert_eq!(ask("GET", "http://forebay-test/app/users?a=1"), "send http://127.0.0.1:7/users?a=1");
        let replies = json!([{ "body": "one" }, { "status": 503, "body": "two" }]);
        let mock = json!({ "method": "get", "url": "https://a/*", "replies": replies });
        assert_eq!(control("mock", mock), "200 {\"id\":0}");
        assert_eq!(
            (ask("GET", "https://a/b"), ask("GET", "https://a/c")),
            ("200 one".into(), "503 two".into())
        );
        assert_eq!(ask("GET", "https://a/d"), "503 two");
        assert!(ask("POST", "https://a/b").starts_with("fail"));
        let calls = control("calls", json!({ "id": 0 }));
        assert!(calls.contains("https://a/b") && calls.contains("https://a/d"), "{calls}");
        let error = json!({ "method": "GET", "url": "https://a/b", "replies": [{ "error": "refused" }] });
        assert_eq!(control("mock", error), "200 {\"id\":1}");
        assert_eq!(ask("GET", "https://a/b"), "fail http: refused");
        mocks.forget();
        assert!(ask("GET", "https://a/b").contains("mock.http(\"GET\""));
        assert!(control("mock", json!({ "url": "a" })).starts_with("fail mock.http"));
        assert!(control("advance", json!({ "time": "1h" })).starts_with("fail mock.advance: the clock runs"));
        assert_eq!(control("now", json!({ "ms": 1000 })), "200 {}");
        assert_eq!(control("advance", json!({ "time": "1h" })), "200 {}");
        assert_eq!(world.clock(), Some(Timestamp(3_601_000_000)));
        assert!(control("other", json!({})).starts_with("fail"));
    }
}
