//! The session protocol: bytes for the socket of an agent.
//!
//! The agent's mountlist refuses every place but one, and that is a directory which a Chirp server
//! keeps its clients in: whatever the bytes ask for, nothing else can be touched.

#![expect(clippy::panic, reason = "a panic is how a find is told")]

use super::server;
use parrot_agent::{Session, SessionConfig, serve};
use parrot_common::Op;
use parrot_common::message::{MAX_PATH, RequestHeader, VERSION};
use parrot_common::mountlist::{Builder, SCHEMES};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The directory of the session of this process.
#[expect(clippy::expect_used, reason = "a target without its agent is of no use")]
fn session() -> &'static PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = super::scratch("session");
        let mut rules = format!("/f /chirp/127.0.0.1:{} deadline=5\n", server::port());
        for scheme in SCHEMES {
            writeln!(rules, "/{} DENY", scheme.escape_ascii()).expect("a string");
        }
        let mut table = vec![0; 64 << 10];
        let mut builder = Builder::new(&mut table);
        builder.add_text(rules.as_bytes(), b"rules").expect("rules");
        let used = builder.finish().expect("a table");
        table.truncate(used);
        let mut config = SessionConfig::new(dir.clone(), table);
        config.driver.auth = vec!["address".to_owned()];
        std::thread::spawn(move || {
            let end = serve::end_signals().expect("signals");
            let session = Session::open(config).expect("a session");
            serve::serve(&session, &end, Duration::from_secs(1 << 30))
        });
        let begin = Instant::now();
        while !dir.join("sock").exists() {
            assert!(begin.elapsed() < PATIENCE, "the agent does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        dir
    })
}

/// Sends the bytes and reads to the end whatever comes.
pub fn run(input: &[u8]) {
    let Ok(mut stream) = UnixStream::connect(session().join("sock")) else {
        panic!("the agent does not accept connections")
    };
    // The agent may have closed the connection by then.
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.write_all(input);
    let _ = stream.shutdown(Shutdown::Write);
    let mut rest = [0; 16384];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("the agent neither answers nor closes")
            }
            Err(_) => return,
        }
    }
}

/// A request of each kind.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for raw in 0..64 {
        let Some(op) = Op::from_raw(raw) else { continue };
        let args = if op == Op::Hello { [VERSION, 1, 0, 0, 0] } else { [0; 5] };
        for (a, b) in [("/f/a", ""), ("/f", "/f/b"), ("/f/../x", "user.name")] {
            let header = RequestHeader {
                seq: 1,
                op: raw,
                args,
                a_len: u32::try_from(a.len()).unwrap_or(0),
                b_len: u32::try_from(b.len()).unwrap_or(0),
                want: u64::try_from(MAX_PATH).unwrap_or(0),
                ..RequestHeader::default()
            };
            seeds.push([header.as_bytes(), a.as_bytes(), b.as_bytes()].concat());
        }
    }
    seeds
}
