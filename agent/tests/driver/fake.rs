//! A Chirp server that follows a script, and breaks the rules as the script says.

use parrot_agent::driver::{Config, Driver};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// One connection, as the server sees it.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Self { stream, reader }
    }

    /// The next request, empty at the end.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        let _ = self.reader.read_line(&mut line);
        line.trim_end().to_owned()
    }

    /// Waits for exactly this request.
    pub(crate) fn expect(&mut self, request: &str) {
        assert_eq!(self.hear(), request);
    }

    /// Throws the body of a request away.
    pub(crate) fn skip(&mut self, length: usize) {
        std::io::Read::read_exact(&mut self.reader, &mut vec![0; length]).unwrap();
    }

    /// Sends a reply, or a part of one, or anything.
    pub(crate) fn say(&mut self, reply: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(reply.as_ref());
    }

    /// Lets the client in, as a stock server without extensions.
    pub(crate) fn let_in(&mut self) {
        self.log_in();
        self.expect("xfstat -1");
        self.say("-8\n");
    }

    /// Lets the client in, as a server of ours that begins a session.
    pub(crate) fn let_in_ours(&mut self) {
        self.log_in();
        self.expect("xfstat -1");
        self.say("-12\n");
        self.forget();
    }

    /// Lets a client in that wants to go on with its session, of which the server knows nothing.
    pub(crate) fn let_in_forgotten(&mut self) {
        self.log_in();
        self.forget();
    }

    fn log_in(&mut self) {
        self.expect("address");
        self.say("yes\nyes\nyes\naddress\n127.0.0.1\n");
    }

    fn forget(&mut self) {
        let session = self.hear();
        assert!(session.starts_with("session "), "{session}");
        self.say("0\n");
    }
}

/// A line of attributes: inode, mode, size.
pub(crate) fn stat_line(ino: u64, mode: u32, size: u64) -> String {
    format!("1 {ino} {mode} 1 0 0 0 {size} 4096 8 1 2 3\n")
}

/// A listener whose connections, one after another, run a script each.
#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) host: String,
    thread: Option<JoinHandle<()>>,
    served: Arc<AtomicUsize>,
}

/// What a connection does.
pub(crate) type Script = Box<dyn FnOnce(&mut Peer) + Send>;

impl Fake {
    /// Starts it; `scripts` are for the first, second, … connection.
    pub(crate) fn new(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let served = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&served);
        let thread = std::thread::spawn(move || {
            for script in scripts {
                let (stream, _) = listener.accept().unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                script(&mut Peer::new(stream));
            }
        });
        Self { host, thread: Some(thread), served }
    }

    /// A driver that logs in by address and is not patient.
    pub(crate) fn driver(&self) -> Arc<dyn Driver> {
        crate::site::connect("chirp", &self.host, &impatient())
    }

    /// How many connections came.
    pub(crate) fn connections(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }

    /// Waits for the end of all scripts; a failed one fails the test.
    pub(crate) fn finish(mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the client did as the script expects");
        }
    }
}

/// A configuration that waits for nothing longer than a moment.
pub(crate) fn impatient() -> Config {
    Config {
        auth: vec!["address".to_owned()],
        silence: Duration::from_millis(300),
        connect_timeout: Duration::from_secs(2),
        ..Config::default()
    }
}

/// A script.
pub(crate) fn script(work: impl FnOnce(&mut Peer) + Send + 'static) -> Script {
    Box::new(work)
}
