//! The server: starting it, accepting clients, stopping it.
//!
//! The main thread waits for connections and for signals; each client has a thread. On SIGTERM or
//! SIGINT the connections are shut down, so that each thread cleans up behind itself, and the
//! server ends when they have or after a short grace.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use crate::account::Accounts;
use crate::acl::{ACL_FILE, Acl, AclStore, Rights};
use crate::catalog::Catalog;
use crate::clients::{self, Clients};
use crate::disk::Disk;
use crate::group::Groups;
use crate::options::Options;
use crate::report::{Reports, Subject};
use crate::resume::{self, Parking};
use crate::space::Space;
use crate::stats::Statistics;
use crate::store::Export;
use crate::ticket::TicketStore;
use crate::{account, housekeeping, session};

/// How long clients' threads have to clean up.
const GRACE: Duration = Duration::from_secs(3);

/// How long accepting rests when the system is out of descriptors or memory.
const BREATHER: Duration = Duration::from_millis(50);

/// How many bytes of answers parked sessions may keep.
const PARKED_BYTES: usize = 64 << 20;

pub(crate) use crate::clients::Stream;

/// What all clients share.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) options: Options,
    pub(crate) export: Export,
    pub(crate) acls: AclStore,
    pub(crate) space: Space,
    pub(crate) disk: Disk,
    pub(crate) tickets: TicketStore,
    pub(crate) reports: Reports,
    pub(crate) parking: Arc<Parking>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) groups: Groups,
    pub(crate) stats: Statistics,
    pub(crate) catalog: Catalog,
    pub(crate) accounts: Accounts,
}

impl Service {
    /// Cuts or widens what a list gives: read-only servers, the superuser.
    pub(crate) fn cut(&self, rights: Rights, who: &[u8]) -> Rights {
        let superuser = self.options.superuser.as_ref();
        let mut rights = rights;
        if superuser.is_some_and(|superuser| superuser.as_bytes() == who) {
            rights = rights.with(Rights::LIST).with(Rights::ADMIN);
        }
        if self.options.read_only { rights.only(Rights::READ.with(Rights::LIST)) } else { rights }
    }
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// The server cannot start, or cannot go on.
pub fn run(options: Options) -> anyhow::Result<()> {
    account::bind_to_parent(&options)?;
    let accounts = Accounts::new(options.access.passwd.as_deref())?;
    let reports = Reports::new(&options)?;
    let descriptors = raise_descriptor_limit();
    rustix::process::umask(Mode::empty());
    let export = Export::open(&options.root).map_err(|error| cannot_export(&options, error))?;
    let address = choose_address(&options, &export)?;
    let listener =
        TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let port = listener.local_addr().context("cannot tell the port")?.port();
    // Blocked before any thread exists, so that all threads leave the signals to this one.
    let signals = stop_signals()?;
    work_as(&options, &export)?;
    let acls = open_acls(&options, &export)?;
    let space = Space::open(&options, &export)?;
    if options.background {
        nix::unistd::daemon(true, false).context("cannot go to the background")?;
    }
    let _pid_file = Announcement::new(options.pid_file.as_deref(), std::process::id())?;
    let _port_file = Announcement::new(options.port_file.as_deref(), port)?;
    let parking = Parking::new(resume::Limits {
        grace: options.grace,
        sessions: options.parked,
        files: descriptors / 4,
        bytes: PARKED_BYTES,
    });
    let clients = Clients::new(clients::Limits {
        clients: options.max_clients,
        of_one: options.access.max_clients_per_host.unwrap_or(usize::MAX),
        files: descriptors.saturating_sub(options.max_clients.min(descriptors / 2)),
    });
    let groups = Groups::new(options.access.group_url.clone(), options.access.group_cache_exp);
    let catalog = Catalog::new(&options, port, &export);
    let stats = Statistics::default();
    let tickets = TicketStore::new(options.max_ticket_duration);
    let disk = Disk::new().context("cannot start a thread")?;
    let service = Arc::new(Service {
        options,
        export,
        acls,
        space,
        disk,
        tickets,
        reports,
        parking,
        clients,
        groups,
        stats,
        catalog,
        accounts,
    });
    housekeeping::start(&service).context("cannot start a thread")?;
    accept_until_stopped(&service, &listener, &signals)
}

fn cannot_export(options: &Options, error: Errno) -> anyhow::Error {
    let root = options.root.display();
    match error {
        Errno::NOSYS | Errno::PERM => anyhow::anyhow!(
            "cannot serve {root}: the server needs openat2 (Linux 5.6 or later, and a sandbox that \
             allows it): {error}"
        ),
        error => anyhow::anyhow!("cannot serve {root}: {error}"),
    }
}

/// Where to listen. A server that would give away root's own files listens on loopback only.
fn choose_address(options: &Options, export: &Export) -> anyhow::Result<SocketAddr> {
    let port = options.wanted_port();
    let owner = rustix::fs::fstat(export.root()).context("cannot look at the root")?.st_uid;
    if account::is_root() && options.user.is_none() && owner == 0 {
        let root = options.root.display();
        return match options.interface {
            Some(address) if !address.is_loopback() => bail!(
                "{root} belongs to root: name an account to work as (-i), or listen on a loopback \
                 address"
            ),
            chosen => {
                warn(&format!("works as root, because {root} is root's: loopback only"));
                Ok(SocketAddr::new(chosen.unwrap_or(Ipv4Addr::LOCALHOST.into()), port))
            }
        };
    }
    let any: IpAddr =
        if has_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    Ok(SocketAddr::new(options.interface.unwrap_or(any), port))
}

/// Tells whether one socket can serve both protocols.
fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok()
}

pub(crate) fn warn(text: &str) {
    // Nobody may be listening on standard error.
    let _ = writeln!(io::stderr(), "parrot-chirpd: warning: {text}");
}

/// Takes the account the server works as.
fn work_as(options: &Options, export: &Export) -> anyhow::Result<()> {
    if let Some(name) = &options.user {
        return account::become_named(name);
    }
    let root = rustix::fs::fstat(export.root()).context("cannot look at the root")?;
    if account::is_root() && root.st_uid != 0 {
        account::become_owner(root.st_uid, root.st_gid)?;
    }
    Ok(())
}

/// Finds the list of the root. A new root gets one that names our own account.
fn open_acls(options: &Options, export: &Export) -> anyhow::Result<AclStore> {
    let root = rustix::fs::fstat(export.root()).context("cannot look at the root")?;
    let id = (root.st_dev, root.st_ino);
    if let Some(file) = &options.default_acl {
        let text = std::fs::read(file)
            .with_context(|| format!("cannot read default list {}", file.display()))?;
        return Ok(AclStore::new(id, Acl::parse(&text)));
    }
    let owner = format!("unix:{}", account::own_name());
    let store = AclStore::new(id, Acl::of(owner.as_bytes(), Rights::OWNER));
    let known = rustix::fs::statat(export.root(), ACL_FILE, AtFlags::SYMLINK_NOFOLLOW);
    if matches!(known, Err(Errno::NOENT))
        && !options.read_only
        && let Err(error) = store.replace(export.root(), &Acl::of(owner.as_bytes(), Rights::OWNER))
    {
        warn(&format!("cannot write {ACL_FILE} to the root ({error}): {owner} has all rights"));
    }
    Ok(store)
}

/// Tells how many descriptors the server may have.
fn raise_descriptor_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 0 };
    // With fewer descriptors the server serves fewer clients.
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX)
}

fn stop_signals() -> anyhow::Result<SignalFd> {
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGTERM);
    stop.add(Signal::SIGINT);
    stop.thread_block().context("cannot block signals")?;
    SignalFd::with_flags(&stop, SfdFlags::SFD_CLOEXEC).context("cannot wait for signals")
}

/// A file that tells others about us while the server runs.
struct Announcement(Option<PathBuf>);

impl Announcement {
    /// Writes the file in one step, so that nobody reads half a number.
    fn new(path: Option<&Path>, number: impl std::fmt::Display) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self(None)) };
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let written = std::fs::write(&beside, format!("{number}\n"))
            .and_then(|()| std::fs::rename(&beside, path));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(Some(path.to_owned())))
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // It may have been removed by others.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn accept_until_stopped(
    service: &Arc<Service>,
    listener: &TcpListener,
    signals: &SignalFd,
) -> anyhow::Result<()> {
    listener.set_nonblocking(true).context("cannot set up the listening socket")?;
    loop {
        let mut waiting =
            [PollFd::new(listener, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        match rustix::event::poll(&mut waiting, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for connections"),
        }
        let [_, stop] = waiting;
        if !stop.revents().is_empty() {
            break;
        }
        match listener.accept() {
            Ok((stream, peer)) => {
                welcome(service, stream, peer);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Out of descriptors, or the client has gone already: others may do better.
            Err(_) => std::thread::sleep(BREATHER),
        }
    }
    service.clients.hang_up(GRACE);
    Ok(())
}

/// Starts a client's thread.
fn welcome(service: &Arc<Service>, stream: TcpStream, peer: SocketAddr) {
    let stream = Stream::of(stream);
    let ready = stream.prepare(service.options.stalled);
    let address = peer.ip().to_canonical();
    let seat = ready.ok().and_then(|()| service.clients.admit(&stream, address));
    let Some(seat) = seat else {
        service.reports.line(Subject::Tcp, || format!("{peer} turned away"));
        return;
    };
    service.reports.line(Subject::Tcp, || format!("{peer} connected"));
    let shared = Arc::clone(service);
    let thread = std::thread::Builder::new().name("client".to_owned());
    let started = thread.spawn(move || {
        // Left when the thread ends, however it ends.
        let _seat = seat;
        session::serve(shared, stream, peer);
    });
    if let Err(error) = started {
        service.reports.line(Subject::Tcp, || format!("no thread for {peer}: {error}"));
    }
}
