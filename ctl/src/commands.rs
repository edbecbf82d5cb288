//! One file per command: its arguments, and a `run` that gives back the exit code.

pub mod build;
pub mod check;
pub mod ctl;
pub mod db;
pub mod dev;
pub mod disasm;
pub mod explain;
pub mod kv;
pub mod new;
pub mod run;
pub mod serve;
pub mod task;
pub mod test;
pub mod types;
pub mod types_sql;
