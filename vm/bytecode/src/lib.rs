//! Bytecode: what front ends write, files keep, and engines run.
//!
//! | module | what it holds |
//! |---|---|
//! | [`opcode`] | the one opcode table, and instructions as 64-bit words |
//! | [`builtin`] | numbers of globals and host functions |
//! | [`module`] | functions, constants, sites, works: what is compiled from a file |
//! | [`verify`](mod@verify) | from a claim to a [`Verified`] module, which alone may run |
//! | [`format`](mod@format) | modules as bytes (docs/formats/bytecode.md) |
//! | [`disasm`] | modules as text for people |

pub mod builtin;
pub mod disasm;
pub mod format;
mod fuse;
pub mod module;
pub mod opcode;
#[cfg(test)]
mod sample;
pub mod verify;

pub use builtin::{Global, HostFn, HostKind};
pub use disasm::{disassemble, disassemble_fused};
pub use format::{FormatError, content_hash, decode, encode};
pub use fuse::fuse;
pub use module::{Action, Capture, Const, Function, FunctionIndex, Module, Route, Work, is_wtf8};
pub use opcode::{Field, Instr, Op, Operand};
pub use verify::{Verified, VerifyError, verify};
