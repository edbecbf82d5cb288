//! Signals reach the handler in order, and no thread dies of one. A binary of its
//! own without the test harness: signals go to the process, and the harness's
//! threads don't block them.

use std::sync::mpsc;
use std::time::Duration;

use forebay_ctl::signals::{Request, Signals};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn main() {
    // What cargo-nextest asks of a test binary ("Custom test harnesses").
    let asked = |what: &str| std::env::args().any(|argument| argument == what);
    if asked("--list") {
        if !asked("--ignored") {
            println!("signals: test");
        }
        return;
    }
    let signals = Signals::block().expect("block");
    let (sender, receiver) = mpsc::channel();
    signals
        .listen(move |request| {
            let _ = sender.send(request);
        })
        .expect("listen");
    let cases = [
        (Signal::SIGHUP, Request::Deploy),
        (Signal::SIGTERM, Request::Drain),
        (Signal::SIGHUP, Request::Deploy),
        (Signal::SIGINT, Request::Exit),
        (Signal::SIGTERM, Request::Exit),
    ];
    for (signal, expected) in cases {
        kill(Pid::this(), signal).expect("kill");
        let request = receiver.recv_timeout(Duration::from_secs(10)).expect("a request within ten seconds");
        assert_eq!(request, expected, "{signal}");
    }
    // A child does not inherit the block.
    let mut child =
        forebay_ctl::process::spawn_clean(std::process::Command::new("sleep").arg("60")).expect("sleep");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("kill");
    let status = child.wait().expect("wait");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(Signal::SIGTERM as i32));
}
