//! Real Chirp servers on loopback: ours and Debian's.

use std::fs::{File, FileTimes};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::dir::TempDir;
use crate::programs;

/// What everybody who comes from this machine may do in an exported directory.
pub const ACL: &str = "unix:* rwldax\nhostname:localhost rwldax\naddress:127.0.0.1 rwldax\n";
/// How long a server may take to answer its first connection.
const START: Duration = Duration::from_secs(15);

/// Whose server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// `parrot-chirpd`.
    Ours,
    /// `chirp_server` of coop-computing-tools.
    Debian,
}

/// A running server; killed with its group when dropped.
#[derive(Debug)]
pub struct Server {
    make: Make,
    child: Child,
    port: u16,
    export: PathBuf,
    options: Vec<String>,
    work: TempDir,
}

impl Server {
    /// Starts a server over a directory, which gets an access list that allows everything.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start(make: Make, export: &Path) -> Self {
        Self::start_on(make, export, 0)
    }

    /// Starts a server on a port of one's choice, 0 for any.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start_on(make: Make, export: &Path, port: u16) -> Self {
        Self::start_with(make, export, port, &[])
    }

    /// Starts a server with more options on its command line.
    ///
    /// # Panics
    ///
    /// When it does not start.
    #[must_use]
    pub fn start_with(make: Make, export: &Path, port: u16, options: &[&str]) -> Self {
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        let work = TempDir::new();
        seal(export);
        // A port that the kernel gives is free: servers that probe by counting would meet each other.
        let port = if port == 0 && make == Make::Debian { free_port() } else { port };
        let child = spawn(make, export, port, (&options, work.path()));
        let export = export.to_owned();
        let mut server = Self { make, child, port, export, options, work };
        server.wait_until_ready();
        server
    }

    /// Waits for the port file, if the port is not known, and for an answered connection.
    fn wait_until_ready(&mut self) {
        let until = Instant::now() + START;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the {:?} server ended with {status}:\n{}", self.make, self.log());
            }
            if self.port == 0 {
                let text = std::fs::read_to_string(self.work.path().join("port"));
                self.port = text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            }
            if self.port != 0 && answers(self.port) {
                return;
            }
            assert!(Instant::now() < until, "the server does not answer:\n{}", self.log());
            // Neither server can tell a foreigner that it is ready.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The exported directory.
    #[must_use]
    pub fn export(&self) -> &Path {
        &self.export
    }

    /// What the server said until now.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.work.path().join("log")).unwrap_or_default()
    }

    /// The process that was started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Kills the server and every connection's process at once.
    ///
    /// # Panics
    ///
    /// When it cannot be waited for.
    pub fn kill(&mut self) {
        let _ = killpg(self.group(), Signal::SIGKILL);
        let _ = self.child.wait().unwrap();
    }

    /// Starts it again, on its port, after [`kill`](Self::kill).
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_again(&mut self) {
        let more = (self.options.as_slice(), self.work.path());
        self.child = spawn(self.make, &self.export, self.port, more);
        self.wait_until_ready();
    }

    /// Stops the server's processes where they are: connections stay open, nothing is answered.
    pub fn freeze(&self) {
        let _ = killpg(self.group(), Signal::SIGSTOP);
    }

    /// Lets it go on after [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        let _ = killpg(self.group(), Signal::SIGCONT);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            if !log.trim().is_empty() {
                eprintln!("--- log of the {:?} server:\n{}", self.make, crate::run::shorten(&log));
            }
        }
        let _ = killpg(self.group(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Starts the process; what it says is added to its log.
fn spawn(make: Make, export: &Path, port: u16, (options, work): (&[String], &Path)) -> Child {
    let log = File::options().append(true).create(true).open(work.join("log")).unwrap();
    let mut command = command(make, export, port, work);
    command.args(options);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.process_group(0).current_dir(work);
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// The command line, which dies with the test's own thread.
fn command(make: Make, export: &Path, port: u16, work: &Path) -> Command {
    let mut command = Command::new(programs::tool("setpriv"));
    command.args(["--pdeathsig", "KILL", "--"]);
    match make {
        Make::Ours => {
            command.arg(programs::program("parrot-chirpd"));
            command.arg("-Z").arg(work.join("port"));
        }
        Make::Debian => {
            command.arg(programs::tool("chirp_server"));
            // No news for the catalog of the world; no goodbye to idle clients.
            command.args(["-u", "-", "-U", "1000000", "-t", "3600"]);
            if nix::unistd::getuid().is_root() {
                command.args(["-i", "root"]);
            }
        }
    }
    command.arg("-r").arg(export).args(["-I", "127.0.0.1", "-p", &port.to_string()]);
    command.env("TMPDIR", work);
    command
}

/// Whether a server speaks Chirp there: it agrees to the `address` login.
fn answers(port: u16) -> bool {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(2)) else {
        return false;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut line = String::new();
    stream.write_all(b"address\n").is_ok()
        && BufReader::new(stream).read_line(&mut line).is_ok()
        && line.trim() == "yes"
}

/// A port that nobody listens on.
///
/// # Panics
///
/// When loopback has none.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Writes the access list into a directory and all below it.
///
/// # Panics
///
/// When a directory cannot be read or written.
pub fn seal(dir: &Path) {
    // A list more is no change that anybody should see.
    let before = std::fs::metadata(dir).unwrap();
    std::fs::write(dir.join(".__acl"), ACL).unwrap();
    let times = FileTimes::new()
        .set_accessed(before.accessed().unwrap())
        .set_modified(before.modified().unwrap());
    File::open(dir).unwrap().set_times(times).unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            seal(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_server_starts_answers_and_dies() {
        let dir = TempDir::new();
        std::fs::write(dir.path().join("hello"), "hi\n").unwrap();
        let server = Server::start(Make::Debian, dir.path());
        let mut command = Command::new(programs::tool("chirp_get"));
        command.args([&format!("127.0.0.1:{}", server.port()), "/hello", "-"]);
        let got = crate::run::run(&mut command, Duration::from_secs(20)).code(0);
        assert_eq!(got.out(), "hi\n");
        let port = server.port();
        drop(server);
        assert!(!answers(port));
    }
}
