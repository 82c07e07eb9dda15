//! Chirp servers on loopback for the time of a run.

use crate::place::Placement;
use crate::programs::Programs;
use crate::sandbox::Sandbox;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `parrot-chirpd`.
    Ours,
    /// Debian's `chirp_server`.
    Stock,
}

impl Kind {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Ours, Self::Stock];

    /// The program's name.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Ours => "parrot-chirpd",
            Self::Stock => "chirp_server",
        }
    }
}

/// Servers, started at the first need and kept for the run.
#[derive(Debug, Default)]
pub(crate) struct Servers(Vec<(Kind, Placement, Result<Server, String>)>);

impl Servers {
    /// The address of a server of this kind and placement over the sandbox's export.
    ///
    /// # Errors
    /// A sentence for the table.
    pub(crate) fn address(
        &mut self,
        kind: Kind,
        placement: Placement,
        programs: &Programs,
        sandbox: &Sandbox,
    ) -> Result<SocketAddr, String> {
        self.process(kind, placement, programs, sandbox).map(|(address, _)| address)
    }

    /// The same, with the number of its first process.
    ///
    /// # Errors
    /// A sentence for the table.
    pub(crate) fn process(
        &mut self,
        kind: Kind,
        placement: Placement,
        programs: &Programs,
        sandbox: &Sandbox,
    ) -> Result<(SocketAddr, i32), String> {
        let known = self.0.iter().position(|tried| (tried.0, tried.1) == (kind, placement));
        let index = known.unwrap_or_else(|| {
            let server = Server::start(kind, placement, programs, sandbox);
            self.0.push((kind, placement, server));
            self.0.len() - 1
        });
        match self.0.get(index) {
            Some((.., Ok(server))) => {
                let pid = i32::try_from(server.child.id()).map_err(|error| error.to_string())?;
                Ok((server.address, pid))
            }
            Some((.., Err(story))) => Err(story.clone()),
            None => Err("no server".to_owned()),
        }
    }
}

/// A server that runs; ended when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a server over the sandbox's tree and waits until it answers.
    ///
    /// # Errors
    /// A sentence for the table.
    pub(crate) fn start(
        kind: Kind,
        placement: Placement,
        programs: &Programs,
        sandbox: &Sandbox,
    ) -> Result<Self, String> {
        let address = free_address().map_err(|error| format!("no free port: {error}"))?;
        let name = kind.word();
        let program = match kind {
            Kind::Ours => programs.chirpd.clone()?,
            Kind::Stock => programs.stock.clone()?,
        };
        let cannot = |error| format!("{name} cannot be started: {error}");
        let log = sandbox.path(&format!("log/{name}-{}", placement.word()));
        let mut command = Command::new(program);
        command.arg("-r").arg(sandbox.path("export"));
        command.args(["-I", "127.0.0.1", "-p", &address.port().to_string()]);
        if kind == Kind::Stock {
            let state = sandbox.session(&format!("stock-{}", placement.word())).map_err(cannot)?;
            command.args(["-u", "-", "-a", "unix", "-a", "address", "-y"]).arg(state);
            // Unless told, it serves a hundred, whatever its help says, and lets the others wait.
            command.args(["-M", "2000"]);
            // As root it wants to be told that this is meant.
            if let (true, Ok(Some(user))) = (geteuid().is_root(), User::from_uid(geteuid())) {
                command.args(["-i", &user.name]);
            }
        }
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(File::create(&log).map_err(cannot)?);
        let child = placement.spawn(&mut command).map_err(cannot)?;
        let mut server = Self { child, address };
        server.wait().map_err(|story| {
            let said = fs::read_to_string(&log).unwrap_or_default();
            format!("{name} {story}: {}", said.lines().last().unwrap_or("it said nothing"))
        })?;
        Ok(server)
    }

    /// Waits until a connection is accepted.
    fn wait(&mut self) -> Result<(), String> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("ended with {status}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err("does not listen".to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended and reaped below; a server that is gone already needs neither.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(2) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
