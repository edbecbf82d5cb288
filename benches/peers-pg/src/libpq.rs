//! libpq: one at a time with PQexecPrepared, else pipeline mode with poll(2) around it, everything binary.

use std::ffi::{CStr, CString};

use pq_sys::*;

use crate::{BENCH_ROWS, COPY, COPY_ROWS, Meter, ROWS, SELECT, Scenario, expected};

struct Connection(*mut PGconn);

impl Connection {
    fn open(folder: &str) -> Self {
        let text = CString::new(format!("host={folder} user=postgres dbname=postgres")).unwrap();
        // SAFETY: a NUL-terminated string; the status is checked before use.
        unsafe {
            let conn = PQconnectdb(text.as_ptr());
            assert_eq!(PQstatus(conn), ConnStatusType::CONNECTION_OK);
            Self(conn)
        }
    }

    fn prepare(&self, sql: &str) {
        let sql = CString::new(sql).unwrap();
        // SAFETY: the connection is open, the strings NUL-terminated, there are no parameter types.
        unsafe {
            let result = PQprepare(self.0, c"s".as_ptr(), sql.as_ptr(), 0, std::ptr::null());
            assert_eq!(PQresultStatus(result), ExecStatusType::PGRES_COMMAND_OK);
            PQclear(result);
        }
    }

    fn send(&self, id: i32) {
        let bytes = id.to_be_bytes();
        let value = bytes.as_ptr().cast();
        // SAFETY: one parameter of 4 bytes, which libpq copies before it returns.
        let sent = unsafe { PQsendQueryPrepared(self.0, c"s".as_ptr(), 1, &raw const value, &4, &1, 1) };
        assert_eq!(sent, 1);
    }

    fn wait(&self) {
        // SAFETY: one pollfd that lives over the call; the connection is open.
        unsafe {
            let mut poll = libc::pollfd { fd: PQsocket(self.0), events: libc::POLLIN, revents: 0 };
            assert!(libc::poll(&raw mut poll, 1, 5000) > 0);
            assert_eq!(PQconsumeInput(self.0), 1, "{:?}", CStr::from_ptr(PQerrorMessage(self.0)));
        }
    }
}

/// # Safety
/// `result` is a live result of `SELECT`.
unsafe fn check(result: *mut PGresult, id: i32) {
    unsafe {
        assert_eq!(PQresultStatus(result), ExecStatusType::PGRES_TUPLES_OK);
        let int = |column| i32::from_be_bytes(*PQgetvalue(result, 0, column).cast::<[u8; 4]>());
        assert!(int(0) == id && int(2) == expected(id) && PQgetlength(result, 0, 1) > 5);
        PQclear(result);
    }
}

pub fn run(what: Scenario, folder: &str, meter: &mut Meter) {
    let connection = Connection::open(folder);
    match what {
        Scenario::Id(1) => {
            connection.prepare(SELECT);
            let mut id = 0;
            loop {
                id = (id + 1) % BENCH_ROWS;
                let bytes = id.to_be_bytes();
                let value = bytes.as_ptr().cast();
                // SAFETY: as in `send`; the result is live and cleared by `check`.
                unsafe {
                    let result = PQexecPrepared(connection.0, c"s".as_ptr(), 1, &raw const value, &4, &1, 1);
                    check(result, id);
                }
                if !meter.add(1) {
                    return;
                }
            }
        }
        Scenario::Id(in_flight) | Scenario::IdGroup(in_flight) => {
            pipeline(&connection, in_flight, 1, true, meter)
        }
        Scenario::Twenty { group } => pipeline(&connection, 20, if group { 20 } else { 1 }, false, meter),
        Scenario::Rows => {
            connection.prepare(ROWS);
            loop {
                let none = std::ptr::null();
                // SAFETY: no parameters; values are read within the lengths that libpq reports.
                unsafe {
                    let result = PQexecPrepared(
                        connection.0,
                        c"s".as_ptr(),
                        0,
                        none,
                        std::ptr::null(),
                        std::ptr::null(),
                        1,
                    );
                    assert_eq!(PQresultStatus(result), ExecStatusType::PGRES_TUPLES_OK);
                    let rows = PQntuples(result);
                    let mut all = Vec::with_capacity(rows as usize);
                    for row in 0..rows {
                        let bytes = |column| {
                            std::slice::from_raw_parts(
                                PQgetvalue(result, row, column).cast::<u8>(),
                                PQgetlength(result, row, column) as usize,
                            )
                        };
                        let text = |column| String::from_utf8(bytes(column).to_vec()).unwrap();
                        all.push((
                            i32::from_be_bytes(bytes(0).try_into().unwrap()),
                            i64::from_be_bytes(bytes(1).try_into().unwrap()),
                            text(2),
                            text(3),
                            bytes(4)[0] != 0,
                            f64::from_be_bytes(bytes(5).try_into().unwrap()),
                            i16::from_be_bytes(bytes(6).try_into().unwrap()),
                        ));
                    }
                    PQclear(result);
                    assert!(all.len() == 1000 && all[999].0 == 1000 && all[999].3 == "second text 1000");
                }
                if !meter.add(1) {
                    return;
                }
            }
        }
        Scenario::Copy => copy(&connection, meter),
    }
}

/// Rounds of `in_flight` queries with a Sync after every `per_sync`; refilled one by one if `refill`.
fn pipeline(connection: &Connection, in_flight: usize, per_sync: usize, refill: bool, meter: &mut Meter) {
    connection.prepare(SELECT);
    // SAFETY: the connection is open and idle; results are checked before they are read.
    unsafe {
        assert_eq!(PQenterPipelineMode(connection.0), 1);
        let (mut next, mut head, mut flying, mut pending_sync) = (0i32, 0i32, 0usize, 0usize);
        loop {
            if refill || flying == 0 {
                while flying < in_flight {
                    next = (next + 1) % BENCH_ROWS;
                    connection.send(next);
                    flying += 1;
                    pending_sync += 1;
                    if pending_sync == per_sync {
                        assert_eq!(PQpipelineSync(connection.0), 1);
                        pending_sync = 0;
                    }
                }
                assert_eq!(PQflush(connection.0), 0);
            }
            connection.wait();
            let mut done = 0;
            while PQisBusy(connection.0) == 0 && flying > 0 {
                let result = PQgetResult(connection.0);
                if result.is_null() {
                    continue;
                }
                if PQresultStatus(result) == ExecStatusType::PGRES_PIPELINE_SYNC {
                    PQclear(result);
                    continue;
                }
                head = (head + 1) % BENCH_ROWS;
                check(result, head);
                flying -= 1;
                done += 1;
            }
            while flying == 0 && !refill {
                // The last Sync of the round.
                let result = PQgetResult(connection.0);
                let sync = !result.is_null() && PQresultStatus(result) == ExecStatusType::PGRES_PIPELINE_SYNC;
                PQclear(result);
                if sync {
                    break;
                }
            }
            if done > 0 && !meter.add(done) {
                return;
            }
        }
    }
}

fn copy(connection: &Connection, meter: &mut Meter) {
    let sql = CString::new(COPY).unwrap();
    let text = "a row of text";
    loop {
        // SAFETY: the connection is open; buffers live over each call, which copies them.
        unsafe {
            PQclear(PQexec(connection.0, c"truncate copied".as_ptr()));
            let result = PQexec(connection.0, sql.as_ptr());
            assert_eq!(PQresultStatus(result), ExecStatusType::PGRES_COPY_IN);
            PQclear(result);
            let mut buffer = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
            for row in 0..COPY_ROWS {
                buffer.extend_from_slice(&3u16.to_be_bytes());
                buffer.extend_from_slice(&4u32.to_be_bytes());
                buffer.extend_from_slice(&(row as i32).to_be_bytes());
                buffer.extend_from_slice(&8u32.to_be_bytes());
                buffer.extend_from_slice(&(row as i64).to_be_bytes());
                buffer.extend_from_slice(&(text.len() as u32).to_be_bytes());
                buffer.extend_from_slice(text.as_bytes());
                if buffer.len() > 16 * 1024 {
                    assert_eq!(PQputCopyData(connection.0, buffer.as_ptr().cast(), buffer.len() as i32), 1);
                    buffer.clear();
                }
            }
            buffer.extend_from_slice(&(-1i16).to_be_bytes());
            assert_eq!(PQputCopyData(connection.0, buffer.as_ptr().cast(), buffer.len() as i32), 1);
            assert_eq!(PQputCopyEnd(connection.0, std::ptr::null()), 1);
            let result = PQgetResult(connection.0);
            assert_eq!(CStr::from_ptr(PQcmdTuples(result)).to_bytes(), COPY_ROWS.to_string().as_bytes());
            PQclear(result);
            assert!(PQgetResult(connection.0).is_null());
        }
        if !meter.add(COPY_ROWS) {
            return;
        }
    }
}
