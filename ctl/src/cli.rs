//! The command line. One variant here is one file in [`crate::commands`].

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{build, check, ctl, db, dev, disasm, explain, kv, new, run, serve, test, types};
use crate::config::{self, Overrides, Placement};
use crate::{Outcome, units};

/// Turns a Linux machine into an API appliance: small scripts in a folder become HTTP endpoints.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "\
Exit codes: 0 done, 1 failed, 2 wrong usage.

First steps:
  forebay new shop                  make an app folder
  forebay dev shop                  serve it, reload on every save
  curl http://127.0.0.1:8080/hello")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve an app folder (production)
    Serve(serve::ServeArgs),
    /// Serve an app folder and reload it on every save (development)
    Dev(dev::DevArgs),
    /// Compile everything in an app folder and report all errors
    Check(check::CheckArgs),
    /// Run the tests of an app folder, *.test.js, in the machine that serves it
    Test(test::TestArgs),
    /// Write types for your editor: forebay.d.ts and tsconfig.json
    Types(types::TypesArgs),
    /// Say what an error's code means and what to do about it
    Explain(explain::ExplainArgs),
    /// Make a new app folder
    New(new::NewArgs),
    /// Compile and run one script
    Run(run::RunArgs),
    /// Compile one script to a bytecode file
    Build(build::BuildArgs),
    /// Print the bytecode of a script or a bytecode file
    Disasm(disasm::DisasmArgs),
    /// Migrations of an app's database
    Db(db::DbArgs),
    /// Look into a data folder's log store
    Kv(kv::KvArgs),
    /// Talk to a running forebay over its admin socket
    Ctl(ctl::CtlArgs),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// What becomes the exit code and the text on stderr.
    pub fn run(self) -> Outcome {
        match self.command {
            Command::Serve(args) => serve::run(args),
            Command::Dev(args) => dev::run(args),
            Command::Check(args) => check::run(&args),
            Command::Test(args) => test::run(&args),
            Command::Types(args) => types::run(&args),
            Command::Explain(args) => explain::run(&args),
            Command::New(args) => new::run(&args),
            Command::Run(args) => run::run(&args),
            Command::Build(args) => build::run(&args),
            Command::Disasm(args) => disasm::run(&args),
            Command::Db(args) => db::run(&args),
            Command::Kv(args) => kv::run(&args),
            Command::Ctl(args) => ctl::run(&args),
        }
    }
}

/// What `serve` and `dev` have in common. Each wins over `forebay.toml`.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// App folder
    #[arg(value_name = "APP", default_value = ".")]
    pub app: PathBuf,
    /// Configuration file [default: APP/forebay.toml, which may be absent]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen on, as in 127.0.0.1:8080; may be given several times
    #[arg(long, value_name = "ADDR", value_parser = config::listen_address)]
    pub listen: Vec<SocketAddr>,
    /// Data folder
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Path of the admin socket
    #[arg(long, value_name = "SOCKET")]
    pub admin: Option<PathBuf>,
    /// CPUs to use, as in 0,1 or 0-3 [default: all that this process may use]
    #[arg(long, value_name = "CPUS", value_parser = parse_cpus)]
    pub cores: Option<CpuList>,
    /// Worker on the reactor's thread, or on one of its own: auto, inline, split
    #[arg(long, value_name = "HOW", value_parser = parse_placement)]
    pub placement: Option<PlacementArg>,
}

/// A list of CPU numbers (a type of its own: clap would take a Vec for repetition).
#[derive(Clone, Debug)]
pub struct CpuList(pub Vec<u32>);

/// `auto` is `None`.
#[derive(Clone, Copy, Debug)]
pub struct PlacementArg(pub Option<Placement>);

fn parse_cpus(text: &str) -> Result<CpuList, String> {
    forebay_tuning::parse_cpu_list(text).map(CpuList)
}

fn parse_placement(text: &str) -> Result<PlacementArg, String> {
    config::placement(text).map(PlacementArg)
}

/// A positive duration; a plain number is seconds (`--bench 3`).
///
/// # Errors
/// A sentence that says what a duration looks like.
pub fn parse_seconds(text: &str) -> Result<std::time::Duration, String> {
    let with_unit = if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        format!("{text}s")
    } else {
        text.to_owned()
    };
    let duration = units::duration(&with_unit)?;
    if duration.is_zero() { Err("must be above 0".to_owned()) } else { Ok(duration) }
}

impl ServerArgs {
    /// The configuration file and the command line, joined.
    ///
    /// # Errors
    /// Exit 2 if APP is no folder; exit 1 with code frames if the file is wrong.
    pub fn config(&self) -> Result<config::Config, crate::Failure> {
        if !self.app.is_dir() {
            return Err(crate::Failure::Usage(format!("{} is not a folder", self.app.display())));
        }
        let default = self.app.join("forebay.toml");
        let (path, optional) = self.config.as_ref().map_or((&default, true), |path| (path, false));
        let config = config::Config::load(path, &self.app, optional, crate::frame::stderr_color())
            .map_err(crate::Failure::Failed)?;
        Ok(config.with(Overrides {
            listen: self.listen.clone(),
            data: self.data.clone(),
            admin: self.admin.clone(),
            cores: self.cores.clone().map(|list| list.0),
            placement: self.placement.map(|arg| arg.0),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_visible_command_has_help_text() {
        fn visit(command: &clap::Command, path: &str) {
            assert!(command.get_about().is_some(), "{path} says nothing");
            for argument in
                command.get_arguments().filter(|a| a.get_id() != "help" && a.get_id() != "version")
            {
                assert!(argument.get_help().is_some(), "{path}: {} says nothing", argument.get_id());
            }
            for sub in command.get_subcommands() {
                visit(sub, &format!("{path} {}", sub.get_name()));
            }
        }
        visit(&Cli::command(), "forebay");
    }

    #[test]
    fn command_lines() {
        let check = |line: &str, good: bool| {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert_eq!(parsed.is_ok(), good, "{line}: {:?}", parsed.err().map(|e| e.to_string()));
        };
        check(
            "forebay serve app --listen 127.0.0.1:1 --listen [::]:2 --data d --cores 0,1 --placement split",
            true,
        );
        check("forebay serve app --listen 8080", false);
        check("forebay serve app --cores 1-0", false);
        check("forebay serve app --placement both", false);
        check("forebay dev", true);
        check("forebay run x.js --payload {} --data d", true);
        check("forebay run x.js --bench 3", true);
        check("forebay run x.js --bench 0", false);
        check("forebay build x.js -o y", true);
        check("forebay build x.js", false);
        check("forebay explain", true);
        check("forebay explain FB0201 config/type --json", true);
        check("forebay test app --filter name --coverage --json", true);
        check("forebay types app --force", true);
        check("forebay db status app", true);
        check("forebay kv verify dir", true);
        check("forebay ctl status --json", true);
        check("forebay ctl --admin s deploy", true);
        check("forebay ctl", false);
        check("forebay", false);
        check("forebay nope", false);
    }
}
