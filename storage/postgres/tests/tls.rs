//! Encryption, trust, certificates, channel binding, several hosts: against a real server with TLS.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test; helpers outside of #[test] functions unwrap too; a server needs a thread"
)]

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use common::Server;
use forebay_base::Value;
use forebay_base::limits::DatabaseLimits;
use forebay_postgres::blocking::Client;
use forebay_postgres::connection::{Connection, Target, Use};
use forebay_postgres::{Config, QueryError, Receiver, Shape, Token};

const HBA: &str = "hostssl all certified 127.0.0.1/32 cert\nhostssl all scram 127.0.0.1/32 scram-sha-256\n\
    hostnossl all plain 127.0.0.1/32 trust\nhostssl all postgres 127.0.0.1/32 trust\n\
    host all either 127.0.0.1/32 trust\n";

fn connect(text: &str) -> Result<Client, QueryError> {
    Client::connect(&Config::parse(text, &|_| None).unwrap())
}

/// `ssl` and the user as the server sees them, or the error.
fn session(text: &str) -> String {
    match connect(text) {
        Ok(mut client) => {
            let encrypted = client.connection().is_encrypted();
            let sql = "select current_user || ' ' || ssl from pg_stat_ssl where pid = pg_backend_pid()";
            let seen = client.query(sql, &[], Shape::Scalar).unwrap();
            let seen = seen.as_str().unwrap().to_owned();
            assert_eq!(encrypted, seen.ends_with("true"), "{text}");
            seen
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn modes_trust_and_certificates() {
    let server = Server::start_tls(HBA);
    let mut admin = Client::connect(&server.config()).unwrap();
    admin
        .batch(
            "set password_encryption = 'scram-sha-256'; create role scram login password 'secret';
             create role certified login; create role plain login; create role either login",
        )
        .unwrap();
    let (port, folder) = (server.port.unwrap(), server.folder().display().to_string());
    let check = |rest: &str, expect: &str| {
        let text = format!("port={port} dbname=postgres {}", rest.replace("F/", &format!("{folder}/")));
        let got = session(&text);
        assert!(got.contains(expect), "{text}: got {got:?}, expected {expect:?}");
    };
    check("host=localhost user=either sslmode=disable", "either false");
    check("host=localhost user=either sslmode=allow", "either false");
    check("host=localhost user=either sslmode=prefer", "either true");
    check("host=localhost user=either sslmode=require", "either true");
    // The fallbacks of allow and prefer: the server insists on one or the other.
    check("host=localhost user=postgres sslmode=allow", "postgres true");
    check("host=localhost user=plain sslmode=prefer", "plain false");
    check("host=localhost user=plain sslmode=require", "no pg_hba.conf entry");
    check("host=localhost user=postgres sslmode=disable", "no pg_hba.conf entry");
    // Trust.
    check("host=localhost user=either sslmode=verify-ca sslrootcert=F/ca.crt", "either true");
    check("host=localhost user=either sslmode=verify-full sslrootcert=F/ca.crt", "either true");
    check("host=127.0.0.1 user=either sslmode=verify-ca sslrootcert=F/ca.crt", "either true");
    check(
        "host=127.0.0.1 user=either sslmode=verify-full sslrootcert=F/ca.crt",
        "TLS: invalid peer certificate",
    );
    check(
        "host=localhost user=either sslmode=verify-ca sslrootcert=F/stranger.crt",
        "TLS: invalid peer certificate",
    );
    check(
        "host=localhost user=either sslmode=require sslrootcert=F/stranger.crt",
        "TLS: invalid peer certificate",
    );
    check(
        "host=localhost user=either sslmode=verify-full sslrootcert=F/stranger.crt",
        "TLS: invalid peer certificate",
    );
    // Certificates of clients.
    check(
        "host=localhost user=certified sslmode=require sslcert=F/client.crt sslkey=F/client.key",
        "certified true",
    );
    check("host=localhost user=certified sslmode=require", "certificate");
    // Channel binding: the certificate is signed with SHA-384.
    check("host=localhost user=scram password=secret sslmode=require channel_binding=require", "scram true");
    check("host=localhost user=scram password=secret sslmode=require channel_binding=disable", "scram true");
    check("host=localhost user=scram password=wrong sslmode=require channel_binding=require", "28P01");
    check("host=localhost user=either sslmode=require channel_binding=require", "channel_binding=require");
    // A unix socket is never encrypted.
    check(&format!("host={folder} user=postgres sslmode=prefer"), "postgres false");

    several_hosts(port, &folder);
    a_large_result_and_statement_come_through(port);
    any_fragmentation(port);
    direct_negotiation(port, &folder);
}

fn several_hosts(port: u16, folder: &str) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let check = |text: &str, expect: &str| {
        let got = session(text);
        assert!(got.contains(expect), "{text}: got {got:?}, expected {expect:?}");
    };
    let hosts =
        format!("host=127.0.0.1,{folder},localhost port={free},{port},{port} dbname=postgres user=postgres");
    check(&format!("{hosts} target_session_attrs=any"), "postgres false");
    check(&format!("{hosts} target_session_attrs=read-write"), "postgres false");
    check(&format!("{hosts} target_session_attrs=primary"), "postgres false");
    check(&format!("{hosts} target_session_attrs=prefer-standby"), "postgres false");
    check(&format!("{hosts} target_session_attrs=standby"), "wanted is a standby");
    check(&format!("{hosts} target_session_attrs=read-only"), "wanted is read-only");
    check(
        &format!("{hosts} options='-c default_transaction_read_only=on' target_session_attrs=read-only"),
        "postgres",
    );
    let balanced =
        format!("host={folder},{folder} port={port},{free} user=postgres load_balance_hosts=random");
    for seed in 0..20 {
        let config = Config::parse(&balanced, &|_| None).unwrap();
        let plan = Target::plan(&config, seed);
        assert_eq!(plan.len(), 2);
        check(&balanced, "postgres false");
    }
    let config = Config::parse(&balanced, &|_| None).unwrap();
    let first = |seed| Target::plan(&config, seed)[0].host;
    assert!((0..50).any(|seed| first(seed) == 0) && (0..50).any(|seed| first(seed) == 1));
}

fn a_large_result_and_statement_come_through(port: u16) {
    let mut client =
        connect(&format!("host=localhost port={port} user=either dbname=postgres sslmode=require")).unwrap();
    let text = "x".repeat(3_000_000);
    let value = client.query("select $1::text || 'y'", &[forebay_postgres::Param::Str(&text)], Shape::Scalar);
    assert_eq!(value.unwrap().as_str().map(str::len), Some(3_000_001));
}

struct NoRows;
impl Receiver for NoRows {
    fn sink(&mut self, _: Token) -> Option<&mut dyn forebay_base::ValueSink> {
        None
    }
}

/// One byte at a time through handshake and start-up.
fn any_fragmentation(port: u16) {
    let text = format!("host=localhost port={port} user=either dbname=postgres sslmode=require");
    let config = Arc::new(Config::parse(&text, &|_| None).unwrap());
    let target = Target::plan(&config, 0)[0];
    let mut connection = Connection::new(config, &DatabaseLimits::default(), Use::Owned, target);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut byte = [0];
    while !connection.is_ready() {
        let mut out = Vec::new();
        if connection.take_output(&mut out) {
            stream.write_all(&out).unwrap();
        }
        assert_eq!(stream.read(&mut byte).unwrap(), 1);
        connection.handle_bytes(&byte, &mut NoRows);
        assert_eq!(connection.closed(), None);
    }
    assert!(connection.is_encrypted());
}

/// A server of version 17 takes the handshake at once; here a terminator in front of an older one does.
fn direct_negotiation(port: u16, folder: &str) {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let direct = listener.local_addr().unwrap().port();
    let certificate = CertificateDer::from_pem_file(format!("{folder}/server.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{folder}/server.key")).unwrap();
    let config = |alpn: &[u8]| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.clone_key())
            .unwrap();
        if !alpn.is_empty() {
            config.alpn_protocols = vec![alpn.to_vec()];
        }
        Arc::new(config)
    };
    let (good, bare) = (config(b"postgresql"), config(b""));
    let socket = format!("{folder}/.s.PGSQL.{port}");
    let terminator = std::thread::spawn(move || {
        for config in [good, bare] {
            let (client, _) = listener.accept().unwrap();
            let mut tls = rustls::StreamOwned::new(rustls::ServerConnection::new(config).unwrap(), client);
            let mut server = std::os::unix::net::UnixStream::connect(&socket).unwrap();
            // One request, one answer, until either side ends.
            let mut buffer = vec![0; 65536];
            while let Ok(count @ 1..) = tls.read(&mut buffer) {
                server.write_all(&buffer[..count]).unwrap();
                if buffer[0] == b'X' {
                    break;
                }
                let Ok(count @ 1..) = server.read(&mut buffer) else { break };
                if tls.write_all(&buffer[..count]).and_then(|()| tls.flush()).is_err() {
                    break;
                }
            }
        }
    });
    let text = format!(
        "host=localhost port={direct} user=postgres dbname=postgres sslmode=verify-full sslrootcert={folder}/ca.crt sslnegotiation=direct"
    );
    let mut client = connect(&text).unwrap();
    assert_eq!(client.query("select 7", &[], Shape::Scalar).unwrap(), Value::Int(7));
    drop(client);
    let error = connect(&text).unwrap_err().to_string();
    assert!(error.contains("ALPN"), "{error}");
    terminator.join().unwrap();
}

#[test]
fn bytes_behind_the_answer_to_an_ssl_request_are_refused() {
    let check = |mode: &str, bytes: &[u8], expect: &str| {
        let text = format!("host=localhost user=u sslmode={mode}");
        let config = Arc::new(Config::parse(&text, &|_| None).unwrap());
        let target = Target::plan(&config, 0)[0];
        let mut connection = Connection::new(config, &DatabaseLimits::default(), Use::Owned, target);
        let mut out = Vec::new();
        assert!(connection.take_output(&mut out));
        assert_eq!(out, [0, 0, 0, 8, 4, 210, 22, 47]);
        connection.handle_bytes(bytes, &mut NoRows);
        assert!(connection.closed().unwrap_or("open").contains(expect), "{mode}: {:?}", connection.closed());
    };
    check("require", b"SR", "bytes in front of the TLS handshake");
    check("require", b"N", "doesn't speak TLS");
    check("prefer", b"N", "open");
    check("prefer", b"E\0\0\0\x05\0", "refused the request");
    check("require", b"S", "open");
}

#[test]
fn protocol_3_2_has_long_cancel_keys_and_an_older_server_is_told_from_a_newer_one() {
    // The server of these tests speaks 3.0 and says so.
    let folder = common::config();
    let host = common::config().unix_socket().unwrap().parent().unwrap().display().to_string();
    let mut client = connect(&format!("host={host} user=postgres max_protocol_version=3.2")).unwrap();
    assert_eq!(client.query("select 1", &[], Shape::Scalar).unwrap(), Value::Int(1));
    let minor = client.connection().protocol_minor();
    assert!(minor == 0 || minor == 2);
    if minor == 0 {
        let error = connect(&format!("host={host} user=postgres min_protocol_version=3.2")).unwrap_err();
        assert!(error.to_string().contains("speaks protocol 3.0 at best"), "{error}");
    }
    // One of version 18, in its own bytes.
    let config = Config { protocol: (2, 2), ..folder };
    let target = Target::plan(&config, 0)[0];
    let mut bytes = b"R\0\0\0\x08\0\0\0\0K\0\0\0\x28\0\0\0\x07".to_vec();
    bytes.extend(0..32u8);
    bytes.extend(b"Z\0\0\0\x05I");
    for split in 0..bytes.len() {
        let mut connection =
            Connection::new(Arc::new(config.clone()), &DatabaseLimits::default(), Use::Owned, target);
        let mut out = Vec::new();
        connection.take_output(&mut out);
        assert_eq!(out[4..8], [0, 3, 0, 2]);
        connection.handle_bytes(&bytes[..split], &mut NoRows);
        connection.handle_bytes(&bytes[split..], &mut NoRows);
        assert!(connection.is_ready());
        let request = connection.backend_key().unwrap().cancel_request();
        assert_eq!(request.len(), 44);
        assert_eq!(request[..12], [0, 0, 0, 44, 4, 210, 22, 46, 0, 0, 0, 7]);
    }
}
