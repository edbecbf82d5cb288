//! Bytecode: what front ends write, files keep, and engines run.
//!
//! | module | what it holds |
//! |---|---|
//! | [`opcode`] | the one opcode table, and instructions as 64-bit words |
//! | [`builtin`] | numbers of globals and host functions |
//! | [`module`] | functions, constants, sites, works: what is compiled from a file |

pub mod builtin;
pub mod module;
pub mod opcode;

pub use builtin::{Global, HostFn, HostKind};
pub use module::{Action, Capture, Const, Function, FunctionIndex, Module, Route, Work};
pub use opcode::{Field, Instr, Op, Operand};
