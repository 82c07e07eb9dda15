//! A running server on a temporary directory: a connection brings the bytes, another one asks now and
//! then whether the server is still there.

#![expect(clippy::panic, reason = "a panic is how a find is told")]

use super::inputs;
use clap::Parser as _;
use parrot_chirp::options::Options;
use parrot_chirp::wire::Reader;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Longer than the server may need for anything here.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of answers that are read, at most.
const MOST: usize = 4 << 20;

/// The port of the server of this process, and the directory that it serves.
#[expect(clippy::expect_used, reason = "a target without its server is of no use")]
pub fn port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let dir = super::scratch("server");
        let (root, file) = (dir.join("root"), dir.join("port"));
        std::fs::create_dir(&root).expect("its root");
        std::fs::write(root.join(".__acl"), "address:* rwldaxv(rwlda)\n").expect("its list");
        let words = ["chirpd", "-I", "127.0.0.1", "-t", "3s", "-s", "20s", "-M", "200"];
        let mut options = words.map(Path::new).to_vec();
        options.extend([Path::new("-r"), &root, Path::new("-Z"), &file]);
        let options = Options::parse_from(options);
        std::thread::spawn(move || parrot_chirp::server::run(options));
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            match std::fs::read_to_string(&file).map(|text| text.trim().parse()) {
                Ok(Ok(port)) => return port,
                _ => assert!(std::time::Instant::now() < end, "the server does not start"),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    })
}

fn connect() -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends the bytes, all but the first after a login, and reads to the end whatever comes.
pub fn run(input: &[u8]) {
    let Ok(mut stream) = connect() else { panic!("the server does not accept connections") };
    let login = input.first().is_none_or(|byte| byte % 8 != 0);
    let bytes = input.get(1..).unwrap_or_default();
    if login {
        // The server may have closed the connection by then.
        let _ = stream.write_all(b"address\n");
    }
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut rest = [0; 16384];
    // A file of holes can be larger than one wants to read.
    let mut left = MOST;
    while let Ok(read @ 1..) = stream.read(&mut rest)
        && left > 0
    {
        left = left.saturating_sub(read);
    }
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if COUNT.fetch_add(1, Relaxed).is_multiple_of(64) {
        is_there();
    }
}

/// Asks as a well-behaved client.
fn is_there() {
    let answer = || -> std::io::Result<Vec<u8>> {
        let mut stream = connect()?;
        stream.write_all(b"address\nwhoami 100\n")?;
        let mut reader = Reader::new(stream);
        for _ in 0..5 {
            reader.read_line()?;
        }
        let length = reader.read_number()?;
        let mut who = vec![0; usize::try_from(length).unwrap_or(0)];
        reader.read_exact_into(&mut who)?;
        Ok(who)
    };
    match answer() {
        Ok(who) => assert!(who.starts_with(b"address:"), "{}", who.escape_ascii()),
        Err(error) => panic!("the server does not answer any more: {error}"),
    }
}

/// Conversations: the first byte says whether there is a login.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    inputs(&[
        "1mkdir /d 493\nputfile /d/f 420 5\nhellogetfile /d/f\nstat /d/f\ngetdir /d\nrmall /d\n",
        "1open /f rwc 420\npwrite 0 5 0\nhellopread 0 10 0\nsread 0 4 1 2 0\nfstat 0\nclose 0\n",
        "1open /g rwct 420\nswrite 0 4 1 2 0\nabcdftruncate 0 100\nfsync 0\nfstatfs 0\n",
        "1symlink g /l\nreadlink /l 100\nlink /g /h\nrename /h /i\nunlink /i\nlstat /l\n",
        "1setxattr /g user.a 3 0\nxyzgetxattr /g user.a\nlistxattr /g\nremovexattr /g user.a\n",
        "1setacl / unix:ann rwl\ngetacl /\nresetacl /d rwl\nsetacl / address:* rwldaxv(rwlda)\naudit /\n",
        "1ticket_register self 100 4\nabcdticket_list self\nticket_get ticket:0123456789abcdef0123456789abcdef\n",
        "1xopen /f r 0\nxstat /f 1\nxgetlongdir /\nutimens /f 1 2 3 4 1\nrenameat2 /f /g 2\nxmkdir /x 493 5\n",
        "1session 0123456789abcdef0123456789abcdef 1\nopen /f r 0\npread 0 10 0\n",
        "1md5 /f\nhash sha1 /f\nsearch * / 6\nstatfs /\naccess /f 4\nchmod /f 420\ntruncate /f 3\nutime /f 1 2\n",
        "1putstream /s\nabcdefgh",
        "1getstream /f\n",
        "0unix\nno\nticket\n0123456789abcdef0123456789abcdef\n==\nhostname\naddress\nwhoami 100\n",
        "0bogus\nkerberos\nticket\nx\n",
    ])
}
