//! A place to test in: a driver, the directory on the server that it may fill, and the server.

use parrot_agent::driver::{Config, DRIVERS, Driver};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Which program serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    /// No server: the driver for host directories.
    Local,
    /// This project's server.
    Parrot,
    /// The server of Debian's coop-computing-tools.
    Stock,
}

/// A driver and where it may work. Everything is removed with it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) row: Row,
    pub(crate) driver: Arc<dyn Driver>,
    /// The directory that the server serves.
    pub(crate) tree: PathBuf,
    /// What comes before the names of the tree in the driver's paths.
    prefix: Vec<u8>,
    pub(crate) server: Option<Server>,
}

impl Site {
    /// A driver with an empty directory.
    pub(crate) fn new(row: Row) -> Self {
        Self::with(row, &Config::default())
    }

    pub(crate) fn with(row: Row, config: &Config) -> Self {
        Self::with_options(row, config, &[])
    }

    /// A server with more on its command line.
    pub(crate) fn with_options(row: Row, config: &Config, options: &[&'static str]) -> Self {
        let tree = new_tree();
        match row {
            Row::Local => {
                let prefix = tree.as_os_str().as_encoded_bytes().to_vec();
                Self { row, driver: connect("local", "-", config), tree, prefix, server: None }
            }
            Row::Parrot | Row::Stock => {
                let server = Server::start(row, &tree, options);
                let host = format!("127.0.0.1:{}", server.port);
                let driver = connect("chirp", &host, config);
                Self { row, driver, tree, prefix: Vec::new(), server: Some(server) }
            }
        }
    }

    /// The driver's path of a name below the tree.
    pub(crate) fn path(&self, name: impl AsRef<[u8]>) -> Vec<u8> {
        [&self.prefix, b"/".as_slice(), name.as_ref()].concat()
    }

    /// The server, for tests that stop it.
    pub(crate) fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("a row with a server")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server = None;
        let _ = fs::remove_dir_all(&self.tree);
    }
}

/// A driver by its scheme.
pub(crate) fn connect(scheme: &str, host: &str, config: &Config) -> Arc<dyn Driver> {
    let def = DRIVERS.iter().find(|def| def.scheme == scheme).expect("a known scheme");
    (def.connect)(host, config).expect("a driver's object, without connecting")
}

/// A new directory that a server of another account can fill.
fn new_tree() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::SeqCst);
    let tree = std::env::temp_dir().join(format!("driver-test-{}-{count}", std::process::id()));
    fs::create_dir(&tree).expect("a new directory");
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o755)).expect("mode");
    tree
}

/// The account that servers work as when we are root: the stock one refuses to be root.
const ACCOUNT: (&str, u32) = ("nobody", 65534);

/// Gives files that the test has made to the account of the servers.
pub(crate) fn give_to_server(paths: &[&Path]) {
    if nix::unistd::geteuid().is_root() {
        for path in paths {
            chown(path, Some(ACCOUNT.1), Some(ACCOUNT.1)).expect("chown");
        }
    }
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    row: Row,
    tree: PathBuf,
    child: Option<Child>,
    options: Vec<&'static str>,
    pub(crate) port: u16,
}

impl Server {
    fn start(row: Row, tree: &Path, options: &[&'static str]) -> Self {
        let acl = tree.join(".__acl");
        fs::write(&acl, "unix:* rwlda\nhostname:* rwlda\naddress:* rwlda\n").expect("acl");
        give_to_server(&[tree, &acl]);
        let (tree, options) = (tree.to_owned(), options.to_vec());
        let mut server = Self { row, tree, child: None, options, port: 0 };
        server.start_again();
        server
    }

    /// Starts the server, on its former port if it had one.
    pub(crate) fn start_again(&mut self) {
        let port_file = self.tree.with_extension("port");
        let _ = fs::remove_file(&port_file);
        let mut command = Command::new(program(self.row));
        command.arg("-r").arg(&self.tree).arg("-Z").arg(&port_file);
        command.args(["-p", &self.port.to_string(), "-I", "127.0.0.1", "-u", "-"]);
        command.args(["-a", "unix", "-a", "hostname", "-a", "address"]).args(&self.options);
        if nix::unistd::geteuid().is_root() {
            command.args(["-i", ACCOUNT.0]);
        }
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("the server starts"));
        let end = Instant::now() + Duration::from_secs(20);
        self.port = loop {
            let text = fs::read_to_string(&port_file).unwrap_or_default();
            if let Ok(port) = text.trim().parse()
                && std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
            {
                break port;
            }
            assert!(Instant::now() < end, "{:?} does not start", self.row);
            std::thread::sleep(Duration::from_millis(5));
        };
        let _ = fs::remove_file(&port_file);
    }

    /// Ends the server, and the processes it made for its clients, without warning.
    pub(crate) fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let _ = child.kill();
        let _ = child.wait();
        for pid in children.unwrap_or_default().split_whitespace() {
            let pid = nix::unistd::Pid::from_raw(pid.parse().expect("a process id"));
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server's program.
fn program(row: Row) -> PathBuf {
    if row == Row::Stock {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|dir| dir.join("chirp_server"));
        return found
            .into_iter()
            .find(|program| program.exists())
            .unwrap_or_else(|| panic!("chirp_server is not installed: run scripts/install-deps"));
    }
    if let Some(program) = std::env::var_os("PARROT_CHIRPD") {
        return program.into();
    }
    let test = std::env::current_exe().expect("our own name");
    let dir = test.parent().and_then(Path::parent).expect("the target directory");
    let bin = std::env::var_os("PARROT_BIN_DIR").map(PathBuf::from);
    let dirs = bin.into_iter().chain([dir.to_owned(), dir.join("../release")]);
    let mut programs = dirs.map(|dir| dir.join("parrot-chirpd"));
    programs.find(|program| program.exists()).unwrap_or_else(|| {
        panic!("parrot-chirpd is missing: build it (scripts/build), or set PARROT_CHIRPD")
    })
}
