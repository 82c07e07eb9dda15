//! A server of our own for each test, and a client that speaks the protocol by hand.

#![expect(dead_code, reason = "each test file uses a part of this")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use parrot_chirp::wire::{Reader, Stat};
use tempfile::TempDir;

/// Nothing here should ever take this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The server's binary.
pub(crate) fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_parrot-chirpd"))
}

/// A running server with its own tree.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) port: u16,
    dir: TempDir,
}

impl Server {
    /// Starts a server on an empty tree.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_with(options, |_| {})
    }

    /// Starts a server that may have so many descriptors.
    pub(crate) fn start_limited(options: &[&str], descriptors: u64) -> Self {
        let mut run = Command::new("sh");
        let program = env!("CARGO_BIN_EXE_parrot-chirpd");
        run.args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\" \"$@\""), program]);
        Self::start_by(run, options, in_target(), |_| {})
    }

    /// Starts a server on a tree that `prepare` fills.
    pub(crate) fn start_with(options: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        Self::start_by(binary(), options, in_target(), prepare)
    }

    /// As `start_with`, where every account can reach the tree and announce the port, also when the
    /// checkout lies in a directory that is its owner's alone.
    pub(crate) fn start_for_all(options: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
        Self::start_by(binary(), options, dir, prepare)
    }

    fn start_by(run: Command, options: &[&str], dir: TempDir, prepare: impl FnOnce(&Path)) -> Self {
        std::fs::create_dir(dir.path().join("root")).unwrap();
        prepare(&dir.path().join("root"));
        let (child, port) = launch(run, dir.path(), options);
        Self { child, port, dir }
    }

    /// Kills the server as a crash would, and starts another one on the same tree.
    pub(crate) fn crash(&mut self, options: &[&str]) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self.port) = launch(binary(), self.dir.path(), options);
    }

    /// The exported tree.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// A directory beside the tree, which no client may reach.
    pub(crate) fn outside(&self) -> PathBuf {
        let outside = self.dir.path().join("outside");
        let _ = std::fs::create_dir(&outside);
        outside
    }

    /// The bytes of a file in the tree.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A connection that has not logged in.
    pub(crate) fn connect(&self) -> Client {
        Client::to(self.port)
    }

    /// A client that logged in as the account of the test.
    pub(crate) fn client(&self) -> Client {
        let mut client = self.connect();
        client.log_in_unix();
        client
    }

    /// A client that logged in by its address.
    pub(crate) fn stranger(&self) -> Client {
        let mut client = self.connect();
        client.log_in_by_address();
        client
    }

    /// Sends a signal to the server, by its process id.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

fn in_target() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Starts the server on the tree `root` in a directory.
fn launch(mut run: Command, dir: &Path, options: &[&str]) -> (Child, u16) {
    let port_file = dir.join("port");
    let _ = std::fs::remove_file(&port_file);
    let child = run
        .args(["-I", "127.0.0.1", "-Z"])
        .arg(&port_file)
        .arg("-r")
        .arg(dir.join("root"))
        .args(options)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let text = wait_for(|| std::fs::read_to_string(&port_file).ok());
    (child, text.trim().parse().unwrap())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that speaks the protocol by hand.
pub(crate) struct Client {
    pub(crate) reader: Reader<TcpStream>,
}

impl Client {
    /// Connects to a port on this host.
    pub(crate) fn to(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { reader: Reader::new(stream) }
    }

    /// Runs the address login.
    pub(crate) fn log_in_by_address(&mut self) {
        self.send("address\n");
        for wanted in ["yes", "yes", "yes", "address", "127.0.0.1"] {
            assert_eq!(self.line(), wanted);
        }
    }

    /// Runs the unix login.
    pub(crate) fn log_in_unix(&mut self) -> String {
        self.send("unix\n");
        assert_eq!(self.line(), "yes");
        let challenge = PathBuf::from(self.line());
        std::fs::File::options().write(true).create_new(true).mode(0o600).open(&challenge).unwrap();
        self.send("yes\n");
        assert_eq!(self.line(), "yes");
        let _ = std::fs::remove_file(challenge);
        assert_eq!(self.line(), "yes");
        assert_eq!(self.line(), "unix");
        self.line()
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a request line and reads the number of the reply.
    pub(crate) fn ask(&mut self, line: &str) -> i64 {
        self.ask_with(line, b"")
    }

    /// Sends a request line with its body and reads the number of the reply.
    pub(crate) fn ask_with(&mut self, line: &str, body: &[u8]) -> i64 {
        self.send([line.as_bytes(), b"\n", body].concat());
        self.number()
    }

    /// Reads a number line.
    pub(crate) fn number(&mut self) -> i64 {
        self.reader.read_number().unwrap()
    }

    /// Reads a line.
    pub(crate) fn line(&mut self) -> String {
        String::from_utf8(self.reader.read_line().unwrap().to_vec()).unwrap()
    }

    /// Reads lines up to an empty one.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        std::iter::from_fn(|| Some(self.line()).filter(|line| !line.is_empty())).collect()
    }

    /// Sends a request and reads a number and that many bytes.
    pub(crate) fn data(&mut self, line: &str) -> Vec<u8> {
        let length = usize::try_from(self.ask(line)).unwrap_or_else(|_| panic!("{line} failed"));
        let mut data = vec![0; length];
        self.reader.read_exact_into(&mut data).unwrap();
        data
    }

    /// Sends a request and reads a number and a stat line.
    pub(crate) fn stat(&mut self, line: &str) -> (i64, Stat) {
        let number = self.ask(line);
        assert!(number >= 0, "{line}: {number}");
        (number, Stat::parse(self.reader.read_line().unwrap()).unwrap())
    }

    /// Sends a request and reads a whole list.
    pub(crate) fn list(&mut self, line: &str) -> Vec<String> {
        assert_eq!(self.ask(line), 0, "{line}");
        self.lines()
    }

    /// Stores a file.
    pub(crate) fn put(&mut self, path: &str, data: &[u8]) {
        assert_eq!(self.ask(&format!("putfile {path} 420 {}", data.len())), 0, "{path}");
        self.send(data);
        assert_eq!(self.number(), i64::try_from(data.len()).unwrap(), "{path}");
    }

    /// Tells whether the server has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.reader.read_line().is_err()
    }

    /// Asserts that the connection is still in step.
    pub(crate) fn is_fine(&mut self) {
        assert!(self.data("whoami 100").contains(&b':'));
    }
}

/// Waits until something is there.
pub(crate) fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs a program of the Debian package; one that is missing is a failure.
pub(crate) fn stock(program: &str, arguments: &[&str]) -> Output {
    let run = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    run.unwrap_or_else(|error| panic!("{program}: {error}; run scripts/install-deps"))
}

/// A port on which nobody listens.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Debian's server on some tree; ends with its children when dropped.
pub(crate) struct StockServer {
    child: Child,
    pub(crate) port: u16,
    _dir: TempDir,
}

impl StockServer {
    /// Starts it, with access to the tree as `root` has it.
    pub(crate) fn start(root: &Path, options: &[&str]) -> Self {
        use std::os::unix::process::CommandExt as _;
        let dir = in_target();
        let port = free_port();
        let mut run = Command::new("chirp_server");
        run.args(["-I", "127.0.0.1", "-u", "-", "-U", "1000000", "-p", &port.to_string(), "-r"]);
        run.arg(root).args(options).env("TMPDIR", dir.path()).current_dir(dir.path());
        if std::fs::metadata("/proc/self").is_ok_and(|me| {
            use std::os::unix::fs::MetadataExt as _;
            me.uid() == 0
        }) {
            run.args(["-i", "root"]);
        }
        run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let child =
            run.spawn().unwrap_or_else(|e| panic!("chirp_server: {e}; scripts/install-deps"));
        let server = Self { child, port, _dir: dir };
        wait_for(|| TcpStream::connect(("127.0.0.1", port)).ok());
        server
    }

    /// Starts it with a quota of 1 MiB, on a tree that `prepare` fills for `address` logins.
    ///
    /// Its processes write the record of the root anew when they start, and not in one step: now
    /// and then one reads half of it, and then it never comes right.
    pub(crate) fn with_quota(prepare: impl Fn(&Path)) -> (Self, TempDir) {
        wait_for(|| {
            let tree = in_target();
            prepare(tree.path());
            let server = Self::start(tree.path(), &["-Q", "1M"]);
            let mut client = server.stranger();
            let mut is_right =
                || client.ask("lsalloc /") == 0 && client.line().starts_with("/ 1048576 ");
            (0..30).all(|_| is_right()).then_some((server, tree))
        })
    }

    /// A connection that has not logged in.
    pub(crate) fn connect(&self) -> Client {
        Client::to(self.port)
    }

    /// A client that logged in by its address.
    pub(crate) fn stranger(&self) -> Client {
        let mut client = self.connect();
        client.log_in_by_address();
        client
    }
}

impl Drop for StockServer {
    fn drop(&mut self) {
        // Its children, one for each client, are in its group.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}
