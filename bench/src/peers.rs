//! Other people's tools for the same purpose, when they are found on the machine.

use crate::programs::{Found, in_path};
use crate::sandbox::Sandbox;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a mount may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where distributions keep the SFTP server, which is in nobody's search path.
const SFTP_SERVER: [&str; 3] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
];

/// Tools that stand before a command, on local files: name and arguments.
pub(crate) const WRAPPERS: [(&str, &[&str]); 4] = [
    ("strace", &["-f", "-o", "/dev/null"]),
    ("proot", &[]),
    ("fakechroot", &[]),
    ("parrot_run", &["--"]),
];

/// The words that put a command under such a tool.
///
/// # Errors
/// It is not installed.
pub(crate) fn wrapper(name: &str, arguments: &[&str]) -> Result<Vec<OsString>, String> {
    let mut words = vec![in_path(name)?.into_os_string()];
    words.extend(arguments.iter().map(OsString::from));
    Ok(words)
}

/// A directory mounted by a tool; taken down when dropped.
#[derive(Debug)]
pub(crate) struct Mount {
    /// Where it is seen.
    pub(crate) place: PathBuf,
    children: Vec<Child>,
}

impl Mount {
    /// `sshfs` over the SFTP server of this machine, through a socket instead of `ssh`.
    ///
    /// # Errors
    /// A sentence for the table.
    pub(crate) fn sshfs(dir: &Path, sandbox: &Sandbox) -> Result<Self, String> {
        let sshfs = in_path("sshfs")?;
        let server = sftp_server()?;
        let told = |error: std::io::Error| format!("sshfs cannot be started: {error}");
        let place = sandbox.path("sshfs");
        fs::create_dir_all(&place).map_err(told)?;
        let (ours, theirs) = UnixStream::pair().map_err(told)?;
        let ends = |stream: &UnixStream| -> std::io::Result<(OwnedFd, OwnedFd)> {
            Ok((stream.try_clone()?.into(), stream.try_clone()?.into()))
        };
        let (server_in, server_out) = ends(&ours).map_err(told)?;
        let (client_in, client_out) = ends(&theirs).map_err(told)?;
        let mut command = Command::new(server);
        let server = command.stdin(server_in).stdout(server_out).stderr(Stdio::null()).spawn();
        let mut children = vec![server.map_err(told)?];
        let mut command = Command::new(sshfs);
        command.args(["-f", "-o", "passive"]).arg(format!(":{}", dir.display())).arg(&place);
        command.stdin(client_in).stdout(client_out).stderr(Stdio::null());
        children.push(command.spawn().map_err(told)?);
        drop((ours, theirs));
        Self { place, children }.wait("sshfs")
    }

    /// `rclone mount` of what `rclone serve webdav` serves.
    ///
    /// # Errors
    /// A sentence for the table.
    pub(crate) fn rclone(dir: &Path, sandbox: &Sandbox) -> Result<Self, String> {
        let rclone = in_path("rclone")?;
        let told = |error: std::io::Error| format!("rclone cannot be started: {error}");
        let place = sandbox.path("rclone");
        fs::create_dir_all(&place).map_err(told)?;
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|one| one.local_addr());
        let address = port.map_err(told)?.to_string();
        let start = |arguments: &[&str]| {
            let mut command = Command::new(&rclone);
            command.args(arguments).env("RCLONE_CONFIG", "/dev/null");
            command.env("XDG_CACHE_HOME", sandbox.path("s"));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        let (dir, at) = (dir.to_string_lossy(), place.to_string_lossy().into_owned());
        let server = start(&["serve", "webdav", "--addr", &address, &dir]).map_err(told)?;
        let mut mount = Self { place, children: vec![server] };
        let started = Instant::now();
        while std::net::TcpStream::connect(&address).is_err() {
            if started.elapsed() > PATIENCE {
                return Err("rclone serve does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let remote = format!(":webdav,url='http://{address}':");
        let cache = ["--vfs-cache-mode", "writes", "--vfs-write-back", "0s"];
        let arguments = [&["mount", &remote, &at], cache.as_slice()].concat();
        mount.children.push(start(&arguments).map_err(told)?);
        mount.wait("rclone")
    }

    /// Waits until the place is another file system than its parent.
    fn wait(mut self, name: &str) -> Result<Self, String> {
        use std::os::unix::fs::MetadataExt as _;
        let device = |path: &Path| fs::metadata(path).map(|known| known.dev()).ok();
        let outside = self.place.parent().and_then(device);
        let started = Instant::now();
        loop {
            let inside = device(&self.place);
            if inside.is_some() && inside != outside {
                return Ok(self);
            }
            let gone = self.children.iter_mut().any(|c| !matches!(c.try_wait(), Ok(None)));
            if gone || started.elapsed() > PATIENCE {
                return Err(format!("{name} does not mount here (it needs /dev/fuse)"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        for (program, option) in [("fusermount3", "-uz"), ("fusermount", "-uz"), ("umount", "-l")] {
            let mut command = Command::new(program);
            command.arg(option).arg(&self.place).stdout(Stdio::null()).stderr(Stdio::null());
            if command.status().is_ok_and(|status| status.success()) {
                break;
            }
        }
        for child in &mut self.children {
            // Ended already, most of them, because the mount is gone.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn sftp_server() -> Found {
    let mut places = SFTP_SERVER.iter().map(PathBuf::from);
    places.find(|path| path.is_file()).ok_or_else(|| "sftp-server is not installed".to_owned())
}
