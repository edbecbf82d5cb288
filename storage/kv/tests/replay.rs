//! The store on real file systems that lose power: every write and flush of a block device is logged, and at each flush
//! the file system is put together again from what had been written by then, mounted, and the store opened on it.
//!
//! ```text
//!   store ──> ext4 | xfs ──> loop device ──> a file of a FUSE server in this process, which logs
//! ```
//!
//! Needs root, /dev/fuse, loop devices and mkfs; where they are missing it says so and tests nothing. A spread of the
//! flushes in an ordinary run, all of them with FOREBAY_LONG=1.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(unsafe_code, reason = "mount(2), umount2(2)")]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use forebay_base::{CoreId, TenantId, Timestamp};
use forebay_kv::{Blocking, Config, Op, Outcome};

const NOW: Timestamp = Timestamp(0);
const TENANT: TenantId = TenantId(0);
const BATCHES: u32 = 120;
/// Flushes that an ordinary run looks at, for each file system.
const FLUSHES: usize = 40;
const BLOCK: u64 = 4096;

enum Event {
    Write(u64, Vec<u8>),
    Flush,
}

/// Blocks that were written; the rest is zero.
type Blocks = BTreeMap<u64, Box<[u8]>>;

#[derive(Default)]
struct Device {
    blocks: Blocks,
    log: Vec<Event>,
}

fn write_blocks(blocks: &mut Blocks, mut offset: u64, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let (block, within) = (offset / BLOCK, usize::try_from(offset % BLOCK).unwrap());
        let len = bytes.len().min(usize::try_from(BLOCK).unwrap() - within);
        let into = blocks.entry(block).or_insert_with(|| vec![0; usize::try_from(BLOCK).unwrap()].into());
        into[within..within + len].copy_from_slice(&bytes[..len]);
        (offset, bytes) = (offset + len as u64, &bytes[len..]);
    }
}

fn mount(source: &str, target: &Path, kind: &str, options: &str) -> std::io::Result<()> {
    let text = |text: &str| CString::new(text).unwrap();
    let (source, kind, options) = (text(source), text(kind), text(options));
    let target = text(target.to_str().unwrap());
    // SAFETY: all are strings that end with a zero and outlive the call.
    let result =
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Unmounted when dropped, whatever happened.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let target = CString::new(self.0.to_str().unwrap()).unwrap();
        // SAFETY: a string that ends with a zero.
        unsafe {
            if libc::umount2(target.as_ptr(), 0) != 0 {
                libc::umount2(target.as_ptr(), libc::MNT_DETACH);
            }
        }
    }
}

/// A loop device, detached when dropped.
struct Loop(String);

impl Loop {
    fn over(file: &Path) -> Result<Self, String> {
        Ok(Self(run("losetup", &["--find", "--show", file.to_str().unwrap()])?.trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = run("losetup", &["--detach", &self.0]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("{program} {arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

// ---------------------------------------------------------------- the FUSE server: one folder, one file

/// Answers requests (linux/fuse.h) until the file system is unmounted.
fn serve(mut fuse: File, size: u64, device: &Mutex<Device>) {
    let mut buffer = vec![0; 256 * 1024 + 4096];
    while let Ok(len) = fuse.read(&mut buffer) {
        let request = &buffer[..len];
        let u32_at = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().unwrap());
        let u64_at = |at: usize| u64::from_le_bytes(request[at..at + 8].try_into().unwrap());
        let (opcode, unique, node) = (u32_at(4), u64_at(8), u64_at(16));
        let body = 40;
        let attributes = |node: u64| {
            let (mode, size) = if node == 1 { (0o040_700, 0) } else { (0o100_600, size) };
            let mut out = Vec::new();
            [node, size, size / 512, 0, 0, 0].iter().for_each(|n| out.extend(n.to_le_bytes()));
            [0u32, 0, 0, mode, 1, 0, 0, 0, 4096, 0].iter().for_each(|n| out.extend(n.to_le_bytes()));
            out
        };
        let answer: Result<Vec<u8>, i32> = match opcode {
            // FORGET, INTERRUPT, BATCH_FORGET have no answer.
            2 | 36 | 42 => continue,
            // INIT: large writes, version 7.31.
            26 => {
                let mut out = Vec::new();
                [7u32, 31, u32_at(body + 8), 1 << 5].iter().for_each(|n| out.extend(n.to_le_bytes()));
                [16u16, 12].iter().for_each(|n| out.extend(n.to_le_bytes()));
                [128 * 1024u32, 1].iter().for_each(|n| out.extend(n.to_le_bytes()));
                out.resize(64, 0);
                Ok(out)
            }
            // LOOKUP
            1 if request[body..].starts_with(b"disk\0") => {
                let mut out = Vec::new();
                [2u64, 1, 60, 60, 0].iter().for_each(|n| out.extend(n.to_le_bytes()));
                out.extend(attributes(2));
                Ok(out)
            }
            1 => Err(libc::ENOENT),
            // GETATTR, SETATTR
            3 | 4 => {
                let mut out = [60u64, 0].iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
                out.extend(attributes(node));
                Ok(out)
            }
            // OPEN, OPENDIR
            14 | 27 => Ok(vec![0; 16]),
            // READ
            15 => {
                let (mut offset, len) = (u64_at(body + 8), u64::from(u32_at(body + 16)));
                let end = (offset + len).min(size);
                let device = device.lock().unwrap();
                let mut out = Vec::new();
                while offset < end {
                    let (block, within) = (offset / BLOCK, offset % BLOCK);
                    let take = (BLOCK - within).min(end - offset);
                    let (from, to) =
                        (usize::try_from(within).unwrap(), usize::try_from(within + take).unwrap());
                    match device.blocks.get(&block) {
                        Some(bytes) => out.extend(&bytes[from..to]),
                        None => out.resize(out.len() + to - from, 0),
                    }
                    offset += take;
                }
                Ok(out)
            }
            // WRITE
            16 => {
                let (offset, len) = (u64_at(body + 8), u32_at(body + 16));
                let bytes = request[body + 40..][..len as usize].to_vec();
                let mut device = device.lock().unwrap();
                write_blocks(&mut device.blocks, offset, &bytes);
                device.log.push(Event::Write(offset, bytes));
                Ok([len, 0].iter().flat_map(|n| n.to_le_bytes()).collect())
            }
            // FSYNC
            20 => {
                device.lock().unwrap().log.push(Event::Flush);
                Ok(Vec::new())
            }
            // STATFS
            17 => Ok(vec![0; 80]),
            // FLUSH, RELEASE, RELEASEDIR, DESTROY
            25 | 18 | 29 | 38 => Ok(Vec::new()),
            _ => Err(libc::ENOSYS),
        };
        let (error, out) = match answer {
            Ok(out) => (0, out),
            Err(error) => (-error, Vec::new()),
        };
        let mut reply = u32::try_from(16 + out.len()).unwrap().to_le_bytes().to_vec();
        reply.extend(error.to_le_bytes());
        reply.extend(unique.to_le_bytes());
        reply.extend(out);
        // An interrupted request wants no answer any more.
        let _ = fuse.write(&reply);
    }
}

// ---------------------------------------------------------------- the test

fn key(n: u32, part: u8) -> Vec<u8> {
    format!("{n:05}/{part}").into_bytes()
}

fn config(folder: &Path) -> Config {
    let mut config = Config::new(folder.join("data"), 1);
    config.segment_bytes = 64 * 1024;
    config.reserve_percent = 0;
    config
}

/// Writes batches; for each the length of the log when it was acknowledged.
fn write(folder: &Path, device: &Mutex<Device>, sync: bool) -> Vec<usize> {
    let store = Blocking::open(config(folder)).unwrap();
    let mut session = store.session(CoreId(0));
    let mut acknowledged = Vec::new();
    for n in 0..BATCHES {
        let value = vec![b'v'; 2000 + n as usize];
        let keys = [key(n, 0), key(n, 1), b"last".to_vec()];
        let ops: Vec<Op<'_>> = keys.iter().map(|key| Op::Set { key, value: &value, expires: None }).collect();
        assert_eq!(session.batch(NOW, TENANT, &ops, sync).unwrap().outcome, Outcome::Ok);
        acknowledged.push(device.lock().unwrap().log.len());
        if n % 10 == 9 {
            store.store().maintain(NOW).unwrap();
        }
    }
    acknowledged
}

/// The store on a file system that was put together from `blocks`.
fn check(blocks: &Blocks, size: u64, kind: &str, scratch: &Path, acknowledged: u32) -> Result<(), String> {
    let image = scratch.join("image");
    let file = File::create(&image).map_err(|e| e.to_string())?;
    file.set_len(size).map_err(|e| e.to_string())?;
    for (block, bytes) in blocks {
        file.write_all_at(bytes, block * BLOCK).map_err(|e| e.to_string())?;
    }
    drop(file);
    let device = Loop::over(&image)?;
    let folder = scratch.join("again");
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    mount(&device.0, &folder, kind, "").map_err(|e| format!("{kind} doesn't mount: {e}"))?;
    let _mounted = Mounted(folder.clone());
    let store = Blocking::open(config(&folder)).map_err(|e| format!("the store doesn't open: {e}"))?;
    for n in 0..BATCHES {
        let there = [0, 1].map(|part| store.store().get(NOW, TENANT, &key(n, part)).map(|v| v.is_some()));
        let there = there.map(|there| there.map_err(|e| e.to_string()));
        match there {
            [Ok(true), Ok(true)] => {}
            [Ok(false), Ok(false)] if n >= acknowledged => {}
            other => return Err(format!("batch {n} of {acknowledged} acknowledged: {other:?}")),
        }
    }
    store.store().maintain(NOW).map_err(|e| e.to_string())
}

fn replay(kind: &str, size: u64, make: &[&str], sync: bool) -> Result<String, String> {
    let temporary = tempfile::tempdir().map_err(|e| e.to_string())?;
    let (fuse_folder, folder) = (temporary.path().join("fuse"), temporary.path().join("mounted"));
    std::fs::create_dir_all(&fuse_folder).map_err(|e| e.to_string())?;
    std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let fuse = OpenOptions::new().read(true).write(true).open("/dev/fuse").map_err(|e| e.to_string())?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", fuse.as_raw_fd());
    mount("forebay", &fuse_folder, "fuse", &options).map_err(|e| format!("fuse doesn't mount: {e}"))?;
    let device = Arc::new(Mutex::new(Device::default()));
    let server = {
        let device = Arc::clone(&device);
        std::thread::Builder::new().spawn(move || serve(fuse, size, &device)).map_err(|e| e.to_string())?
    };
    let fuse_mounted = Mounted(fuse_folder.clone());
    let acknowledged = {
        let over = Loop::over(&fuse_folder.join("disk"))?;
        let mut arguments = make[1..].to_vec();
        arguments.push(&over.0);
        run(make[0], &arguments)?;
        mount(&over.0, &folder, kind, "").map_err(|e| format!("{kind} doesn't mount: {e}"))?;
        let _mounted = Mounted(folder.clone());
        write(&folder, &device, sync)
    };
    drop(fuse_mounted);
    server.join().map_err(|_| "the server panicked")?;
    let log = std::mem::take(&mut device.lock().map_err(|e| e.to_string())?.log);
    let begins = acknowledged[0];
    let flushes: Vec<usize> =
        (0..log.len()).filter(|n| *n + 1 >= begins && matches!(log[*n], Event::Flush)).collect();
    let all = std::env::var_os("FOREBAY_LONG").is_some();
    let every = if all { 1 } else { flushes.len().div_ceil(FLUSHES) };
    let mut blocks = Blocks::new();
    let mut checked = 0;
    for (n, event) in log.iter().enumerate() {
        match event {
            Event::Write(offset, bytes) => write_blocks(&mut blocks, *offset, bytes),
            Event::Flush => {
                let Ok(number) = flushes.binary_search(&n) else { continue };
                if number % every != 0 {
                    continue;
                }
                let safe = acknowledged.iter().filter(|log_len| **log_len <= n + 1).count();
                let safe = u32::try_from(safe).unwrap();
                check(&blocks, size, kind, temporary.path(), safe)
                    .map_err(|why| format!("{kind}, flush {number} of {}: {why}", flushes.len()))?;
                checked += 1;
            }
        }
    }
    if sync && flushes.len() < BATCHES as usize {
        return Err(format!(
            "{kind}: {} flushes for {BATCHES} batches: they don't reach the device",
            flushes.len()
        ));
    }
    Ok(format!("{kind}: {checked} of {} flushes, {} acknowledged batches, 0 lost", flushes.len(), BATCHES))
}

/// What the machine lacks for this test, if it lacks something.
fn missing(make: &str) -> Option<String> {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return Some("this user isn't root".to_owned());
    }
    if let Some(device) = ["/dev/fuse", "/dev/loop-control"].iter().find(|path| !Path::new(path).exists()) {
        return Some(format!("there is no {device}"));
    }
    ["losetup", make].iter().find(|p| run(p, &["-V"]).is_err()).map(|p| format!("there is no {p}"))
}

const MIB: u64 = 1024 * 1024;
const EXT4: &[&str] = &["mkfs.ext4", "-q", "-F", "-E", "nodiscard"];

/// The test sees what it is there for: writes without sync, taken for durable ones, are missing at some flush.
#[test]
fn writes_without_sync_are_seen_to_be_lost() {
    if let Some(what) = missing(EXT4[0]) {
        println!("not tested: {what}");
        return;
    }
    match replay("ext4", 64 * MIB, EXT4, false) {
        Err(why) if why.contains("fuse doesn't mount") => println!("not tested: {why}"),
        Err(why) => assert!(why.contains("acknowledged"), "{why}"),
        Ok(summary) => panic!("nothing is missing: {summary}"),
    }
}

#[test]
fn at_every_flush_a_file_system_has_what_was_acknowledged() {
    // xfs asks for 300 MB since xfsprogs 5.19.
    let kinds: [(&str, u64, &[&str]); 2] =
        [("ext4", 64 * MIB, EXT4), ("xfs", 320 * MIB, &["mkfs.xfs", "-q", "-f", "-K"])];
    for (kind, size, make) in kinds {
        if let Some(what) = missing(make[0]) {
            println!("{kind}: not tested: {what}");
            continue;
        }
        match replay(kind, size, make, true) {
            Ok(summary) => println!("{summary}"),
            // A container has the devices and not the right to mount.
            Err(why) if why.contains("fuse doesn't mount") => println!("{kind}: not tested: {why}"),
            Err(why) => panic!("{why}"),
        }
    }
}
