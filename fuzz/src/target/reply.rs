//! What a server could answer, for the Chirp driver: the input is cut at zero bytes, and each time the
//! driver asks something the next part is the answer.

use parrot_agent::driver::{Config, Driver, OpenFlags, chirp};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// What the server is to say next.
type Script = Arc<Mutex<Vec<Vec<u8>>>>;

/// A server that says what the script says; the port it listens on.
#[expect(clippy::expect_used, reason = "a target without its server is of no use")]
fn server() -> &'static (u16, Script) {
    static SERVER: OnceLock<(u16, Script)> = OnceLock::new();
    SERVER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its number").port();
        let script = Script::default();
        let said = Arc::clone(&script);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let said = Arc::clone(&said);
                std::thread::spawn(move || answer(stream, &said));
            }
        });
        (port, script)
    })
}

fn answer(mut stream: TcpStream, script: &Script) {
    // Half an answer leaves both waiting: the connection ends then.
    if stream.set_read_timeout(Some(Duration::from_millis(3))).is_err() {
        return;
    }
    let mut asked = [0; 16384];
    let mut login = b"yes\nyes\nyes\naddress\n127.0.0.1\n".to_vec();
    while let Ok(1..) = stream.read(&mut asked) {
        let next = if login.is_empty() {
            let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
            script.pop()
        } else {
            Some(std::mem::take(&mut login))
        };
        let Some(bytes) = next else { return };
        if stream.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// Asks for everything that a driver can be asked for.
pub fn run(input: &[u8]) {
    let (port, script) = server();
    let mut parts: Vec<_> = input.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    parts.reverse();
    *script.lock().unwrap_or_else(PoisonError::into_inner) = parts;
    let config = Config {
        auth: vec!["address".to_owned()],
        silence: Duration::from_millis(100),
        connections: 1,
        ..Config::default()
    };
    let Ok(driver) = (chirp::DEF.connect)(&format!("127.0.0.1:{port}"), &config) else { return };
    // Whatever comes of it: an error or a result, in time.
    ask(&*driver);
}

fn ask(driver: &dyn Driver) {
    let _ = driver.stat(b"/a", true);
    let _ = driver.list(b"/");
    let _ = driver.read_small(b"/a", 1000);
    let _ = driver.readlink(b"/l");
    let _ = driver.statfs(b"/");
    let _ = driver.getxattr(b"/a", b"user.a", true);
    let _ = driver.listxattr(b"/a", true);
    let flags = OpenFlags { read: true, write: true, ..OpenFlags::default() };
    if let Ok((file, _)) = driver.open(b"/a", flags, 0o644) {
        let mut data = [0; 3000];
        let _ = file.pread(&mut data, 0);
        let _ = file.pwrite(&data, 5);
        let _ = file.fstat();
    }
    let _ = driver.stat_many(&[b"/a", b"/b", b"/c"]);
    let _ = driver.mkdir(b"/d", 0o755);
}

/// Answers that make sense, to the first questions at least.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    const STAT: &str = "1 2 33188 1 0 0 0 5 4096 8 1 2 3";
    let stat = format!("0\n{STAT}\n");
    let extended = format!("0\n{STAT} 4 5 6\n");
    let list = format!("0\na\n{STAT}\nb\n{STAT}\n\n");
    let encoded = format!("0\na%20b\n{STAT} 4 5 6\n\n");
    let small = format!("{extended}5\nhello0\n");
    let opened = format!("0\n{STAT} 4 5 6\n");
    // The first answer is that to a request which only our own server knows.
    let talks: &[&[&str]] = &[
        &[
            "-8\n",
            &stat,
            &list,
            "5\nhello",
            &stat,
            "1\nx",
            "0\n1 2 3 4 5 6 7\n",
            "3\nabc",
            "7\nuser.a\n",
        ],
        &[
            "-12\n",
            &extended,
            &encoded,
            &small,
            "1\nx",
            "0\n1 2 3 4 5 6 7\n",
            "3\nabc",
            "2\na\n",
            &opened,
        ],
        &[
            "-12\n", "-3\n", "-2\n", "-127\n", "-8\n", "-8\n", "-8\n", "-8\n", &opened, "5\nhello",
            "5\n",
        ],
        &["-12\n", "99999999999\n"],
        &["-12\n", "16777216\nshort"],
        &["x\n", "0\n"],
    ];
    talks.iter().map(|parts| parts.join("\0").into_bytes()).collect()
}
