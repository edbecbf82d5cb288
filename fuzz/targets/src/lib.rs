//! Functions that take any bytes, and neither panic nor hang whatever they are.
//!
//! | function | what the bytes are |
//! |---|---|
//! | [`bytecode`] | a bytecode file; its hash is made right first, else nothing would get past it |
//! | [`snapshot`] | changes to the records of a parked task, resealed |
//! | [`http`] | what a client sends |
//! | [`postgres`] | what a server sends, before and after it is ready |
//! | [`kv`] | a segment file, or changes to the files of a store that was closed |
//! | [`script`] | a blueprint: JavaScript, TypeScript, S-expressions |
//!
//! `fuzz/` calls them under cargo-fuzz; `tests/mutations.rs` with seeds and mutations of them, on stable Rust.

mod machine;
mod net;
mod store;

pub use machine::{bytecode, bytecode_seeds, script, script_seeds, snapshot};
pub use net::{http, http_seeds, postgres, postgres_seeds};
pub use store::{kv, kv_seeds};

/// `place (u16), byte`, one after the other: changes to `files`, taken as one run of bytes.
fn change(files: &mut [&mut Vec<u8>], edits: &[u8]) {
    let total: usize = files.iter().map(|file| file.len()).sum();
    let (edits, _) = edits.as_chunks::<4>();
    for [file, low, high, byte] in edits {
        let mut place =
            (usize::from(*file) * 65_536 + usize::from(u16::from_le_bytes([*low, *high]))) % total.max(1);
        for file in files.iter_mut() {
            if let Some(old) = file.get_mut(place) {
                *old = *byte;
                break;
            }
            place -= file.len();
        }
    }
}
