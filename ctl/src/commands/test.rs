//! `forebay test APP`: runs the app's `*.test.js`.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::testing::{self, Ran, Report, TestOptions, Verdict};
use crate::watch::Watcher;
use crate::{Failure, Outcome, config, frame};

/// Arguments of `forebay test`.
#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// App folder
    #[arg(value_name = "APP", default_value = ".")]
    pub app: PathBuf,
    /// Only tests whose file or name contains TEXT
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Count which lines ran; also written to APP/.forebay/lcov.info
    #[arg(long)]
    pub coverage: bool,
    /// Run again at every save, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Runs the tests.
///
/// # Errors
/// One failed, or none could be run.
pub fn run(args: &TestArgs) -> Outcome {
    if !args.app.is_dir() {
        return Err(Failure::Usage(format!("{} is not a folder", args.app.display())));
    }
    // As `serve`: descriptor tables of the ring.
    let _ = forebay_ring::raise_descriptor_limit();
    if !args.watch {
        return once(args);
    }
    let mut watcher = Watcher::new(&args.app)
        .map_err(|error| Failure::because(format!("can't watch {}", args.app.display()), error))?;
    loop {
        if let Err(failure) = once(args) {
            eprintln!("{failure}");
        }
        println!("\nwaiting for a change; Ctrl-C ends");
        loop {
            let changes = watcher
                .wait(Duration::from_secs(3600))
                .map_err(|error| Failure::because("the watcher has ended", error))?;
            if !changes.is_empty() {
                break;
            }
        }
    }
}

fn once(args: &TestArgs) -> Outcome {
    let file = args.app.join("forebay.toml");
    let config =
        config::Config::load(&file, &args.app, true, frame::stderr_color()).map_err(Failure::Failed)?;
    let options = TestOptions { filter: args.filter.clone(), coverage: args.coverage };
    #[expect(clippy::disallowed_methods, reason = "how long the tests took")]
    let start = Instant::now();
    let mut last = String::new();
    let mut each = |ran: &Ran| {
        if !args.json {
            print!("{}", line(ran, &mut last));
            // Progress; a closed stdout is no reason to stop testing.
            let _ = std::io::stdout().flush();
        }
    };
    let report = testing::run(&args.app, &config, &options, &mut each)?;
    if let Some(coverage) = &report.coverage {
        let path = args.app.join(".forebay/lcov.info");
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::write(&path, coverage.lcov()))
            .map_err(|error| Failure::because(format!("can't write {}", path.display()), error))?;
    }
    if args.json {
        println!("{}", report.to_json());
    } else {
        if let Some(coverage) = &report.coverage {
            print!("\n{}", coverage.table());
        }
        println!("\n{}", summary(&report, start.elapsed()));
    }
    let (passed, failed, ..) = report.counts();
    match (passed, failed) {
        (0, 0) if report.tests.is_empty() => Err(Failure::Failed("no test fits".to_owned())),
        (_, 0) => Ok(()),
        (_, 1) => Err(Failure::Failed("1 test failed".to_owned())),
        (_, n) => Err(Failure::Failed(format!("{n} tests failed"))),
    }
}

/// One test's line, behind its file's name if that is a new one; a failure with its frame and log.
fn line(ran: &Ran, last: &mut String) -> String {
    let mut out = String::new();
    if *last != ran.file {
        out.push_str(&format!("{}{}\n", if last.is_empty() { "" } else { "\n" }, ran.file));
        last.clone_from(&ran.file);
    }
    let mark = match &ran.verdict {
        Verdict::Passed => "ok",
        Verdict::Failed(..) => "FAILED",
        Verdict::Skipped => "skipped",
        Verdict::Todo => "todo",
    };
    let time = match ran.verdict {
        Verdict::Passed | Verdict::Failed(..) => format!(" ({} ms)", ran.time.as_millis()),
        _ => String::new(),
    };
    out.push_str(&format!("  {mark:7} {}{time}\n", ran.name));
    if let Verdict::Failed(why, log) = &ran.verdict {
        out.push('\n');
        for line in why.lines() {
            out.push_str(&format!("    {line}\n").replace("    \n", "\n"));
        }
        if !log.is_empty() {
            out.push_str("\n    its log:\n");
            log.iter().for_each(|line| out.push_str(&format!("      {line}\n")));
        }
        out.push('\n');
    }
    out
}

fn summary(report: &Report, time: Duration) -> String {
    let (passed, failed, skipped, todo) = report.counts();
    let parts = [(passed, "passed"), (failed, "failed"), (skipped, "skipped"), (todo, "to do")];
    let said: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    format!("{} in {:.1} s", said.join(", "), time.as_secs_f64())
}
