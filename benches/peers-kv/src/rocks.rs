//! RocksDB through its C interface (rocksdb/c.h), as the system's package has it: building its own copy takes
//! longer than everything else here together.

use std::ffi::{CStr, CString, c_char, c_int, c_uchar, c_void};
use std::path::Path;
use std::ptr;

use crate::Failure;
use crate::child::{VALUE_BYTES, check, key};
use crate::engines::{Engine, Write};

#[link(name = "rocksdb")]
unsafe extern "C" {
    fn rocksdb_options_create() -> *mut c_void;
    fn rocksdb_options_set_create_if_missing(options: *mut c_void, yes: c_uchar);
    fn rocksdb_options_increase_parallelism(options: *mut c_void, threads: c_int);
    fn rocksdb_open(options: *const c_void, name: *const c_char, error: *mut *mut c_char) -> *mut c_void;
    fn rocksdb_readoptions_create() -> *mut c_void;
    fn rocksdb_writeoptions_create() -> *mut c_void;
    fn rocksdb_writeoptions_set_sync(options: *mut c_void, yes: c_uchar);
    fn rocksdb_writebatch_create() -> *mut c_void;
    fn rocksdb_writebatch_clear(batch: *mut c_void);
    fn rocksdb_writebatch_put(batch: *mut c_void, k: *const c_char, kl: usize, v: *const c_char, vl: usize);
    fn rocksdb_write(db: *mut c_void, options: *const c_void, batch: *mut c_void, error: *mut *mut c_char);
    fn rocksdb_get_pinned(
        db: *mut c_void,
        options: *const c_void,
        k: *const c_char,
        kl: usize,
        error: *mut *mut c_char,
    ) -> *mut c_void;
    fn rocksdb_pinnableslice_value(slice: *const c_void, len: *mut usize) -> *const c_char;
    fn rocksdb_pinnableslice_destroy(slice: *mut c_void);
    fn rocksdb_create_iterator(db: *mut c_void, options: *const c_void) -> *mut c_void;
    fn rocksdb_iter_seek(iter: *mut c_void, k: *const c_char, kl: usize);
    fn rocksdb_iter_valid(iter: *const c_void) -> c_uchar;
    fn rocksdb_iter_next(iter: *mut c_void);
    fn rocksdb_iter_key(iter: *const c_void, len: *mut usize) -> *const c_char;
    fn rocksdb_iter_value(iter: *const c_void, len: *mut usize) -> *const c_char;
    fn rocksdb_iter_destroy(iter: *mut c_void);
}

/// Lives as long as the child process: nothing is closed, as in a crash.
pub struct Rocks {
    db: *mut c_void,
    read: *mut c_void,
    synced: *mut c_void,
    unsynced: *mut c_void,
    batch: *mut c_void,
}

fn failed(error: *mut c_char) -> Result<(), Failure> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: an error is a string that ends with a zero.
    Err(unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned().into())
}

/// # Safety
/// `at` points to `len` bytes that live as long as the result is used.
unsafe fn bytes<'a>(at: *const c_char, len: usize) -> &'a [u8] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts(at.cast(), len) }
}

impl Rocks {
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        let name = CString::new(folder.join("db").to_str().ok_or("the folder's name is no text")?)?;
        let mut error = ptr::null_mut();
        // SAFETY: the objects are made by the library and never freed; the strings outlive the calls.
        unsafe {
            let options = rocksdb_options_create();
            rocksdb_options_set_create_if_missing(options, 1);
            rocksdb_options_increase_parallelism(options, 2);
            let db = rocksdb_open(options, name.as_ptr(), &raw mut error);
            failed(error)?;
            let (synced, unsynced) = (rocksdb_writeoptions_create(), rocksdb_writeoptions_create());
            rocksdb_writeoptions_set_sync(synced, 1);
            let (read, batch) = (rocksdb_readoptions_create(), rocksdb_writebatch_create());
            Ok(Self { db, read, synced, unsynced, batch })
        }
    }
}

impl Engine for Rocks {
    fn get(&mut self, n: u64) -> Result<(), Failure> {
        let key = key(n);
        let mut error = ptr::null_mut();
        // SAFETY: the key outlives the call; the value is used before its slice is destroyed.
        unsafe {
            let slice =
                rocksdb_get_pinned(self.db, self.read, key.as_ptr().cast(), key.len(), &raw mut error);
            failed(error)?;
            if slice.is_null() {
                return Err("missing".into());
            }
            let mut len = 0;
            let value = rocksdb_pinnableslice_value(slice, &raw mut len);
            let checked = check(n, bytes(value, len));
            rocksdb_pinnableslice_destroy(slice);
            checked
        }
    }

    fn write(&mut self, writes: &[Write], sync: bool) -> Result<(), Failure> {
        let mut error = ptr::null_mut();
        // SAFETY: keys and values outlive the calls, which copy them.
        unsafe {
            rocksdb_writebatch_clear(self.batch);
            for (key, value) in writes {
                let (k, v) = (key.as_ptr().cast(), value.as_ptr().cast());
                rocksdb_writebatch_put(self.batch, k, key.len(), v, value.len());
            }
            let options = if sync { self.synced } else { self.unsynced };
            rocksdb_write(self.db, options, self.batch, &raw mut error);
        }
        failed(error)
    }

    fn cas(&mut self, n: u64, value: &[u8; VALUE_BYTES]) -> Result<(), Failure> {
        self.get(n)?;
        self.write(&[(key(n), *value)], false)
    }

    fn scan(&mut self, n: u64) -> Result<(), Failure> {
        let from = key(n);
        let mut at = n;
        // SAFETY: key and value are used before the iterator moves on.
        unsafe {
            let iter = rocksdb_create_iterator(self.db, self.read);
            rocksdb_iter_seek(iter, from.as_ptr().cast(), from.len());
            while at < n + 100 && rocksdb_iter_valid(iter) != 0 {
                let (mut key_len, mut value_len) = (0, 0);
                let found = bytes(rocksdb_iter_key(iter, &raw mut key_len), key_len);
                let value = bytes(rocksdb_iter_value(iter, &raw mut value_len), value_len);
                if found != key(at) {
                    return Err("a wrong key".into());
                }
                check(at, value)?;
                at += 1;
                rocksdb_iter_next(iter);
            }
            rocksdb_iter_destroy(iter);
        }
        if at == n + 100 { Ok(()) } else { Err("keys are missing".into()) }
    }
}
