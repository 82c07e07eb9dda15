//! Telling catalog servers about this one, in the form of cctools: a JSON object.
//!
//! `-u HOST[:PORT]` names a catalog server; without it nobody is told anything. The record goes out
//! once at the start and then every `-U`: as one datagram to the port (9097 unless named), or, with
//! `CATALOG_UPDATE_PROTOCOL=tcp` in the environment, over a connection to the port after it.
//!
//! A datagram holds as many clients, the busiest first, as fit into what every network carries in
//! one piece; a connection carries them all.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::Duration;

use rustix::io::Errno;
use serde_json::{Value, json};

use crate::acl::store::write_file;
use crate::report::Subject;
use crate::server::Service;
use crate::stats::Figures;
use crate::ticket::store::now;

/// The port of a catalog server.
const PORT: u16 = 9097;

/// The most bytes of a datagram.
const DATAGRAM: usize = 1200;

/// How long a catalog server may take to listen.
const PATIENCE: Duration = Duration::from_secs(15);

/// The file that holds the name of the tree for all time.
const UUID_FILE: &str = ".__uuid";

/// What is told and to whom.
#[derive(Debug)]
pub(crate) struct Catalog {
    hosts: Vec<String>,
    name: String,
    owner: String,
    port: u16,
    uuid: String,
    started: i64,
    tcp: bool,
}

impl Catalog {
    /// Prepares what is told of a server that listens on a port.
    pub(crate) fn new(
        options: &crate::options::Options,
        port: u16,
        root: &crate::store::Export,
    ) -> Self {
        let hosts = options.catalog.hosts();
        // Only who is known by it needs one.
        let uuid = if hosts.is_empty() { String::new() } else { uuid(root, options.read_only) };
        Self {
            hosts,
            name: options.catalog.catalog_name.clone().unwrap_or_else(host_name),
            owner: options.catalog.owner.clone().unwrap_or_else(crate::account::own_name),
            port,
            uuid,
            started: now(),
            tcp: std::env::var_os("CATALOG_UPDATE_PROTOCOL").is_some_and(|name| name == "tcp"),
        }
    }

    /// Tells all catalog servers.
    pub(crate) fn tell(&self, service: &Service, clients: &[(IpAddr, Figures)]) {
        if self.hosts.is_empty() {
            return;
        }
        let mut record = self.record(service);
        let most = if self.tcp { usize::MAX } else { DATAGRAM };
        let text = with_clients(&mut record, clients, most);
        for host in &self.hosts {
            let told = if self.tcp { over_tcp(host, &text) } else { over_udp(host, &text) };
            service.reports.line(Subject::Catalog, || match told {
                Ok(()) => format!("told {host}: {} bytes", text.len()),
                Err(error) => format!("cannot tell {host}: {error}"),
            });
        }
    }

    fn record(&self, service: &Service) -> Value {
        let space = rustix::fs::fstatvfs(service.export.root());
        let bytes = |blocks: u64, size: u64| blocks.saturating_mul(size);
        let (total, avail) = space.map_or((0, 0), |space| {
            (bytes(space.f_blocks, space.f_frsize), bytes(space.f_bavail, space.f_frsize))
        });
        let [load1, load5, load15] = load();
        let done = service.stats.total();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let mut record = json!({
            "type": "chirp",
            "name": self.name,
            "port": self.port,
            "url": format!("chirp://{}:{}", self.name, self.port),
            "owner": self.owner,
            "version": env!("CARGO_PKG_VERSION"),
            "uuid": self.uuid,
            "starttime": self.started,
            "backend": service.options.root.to_string_lossy(),
            "total": total,
            "avail": avail,
            "minfree": 0,
            "cpu": std::env::consts::ARCH,
            "cpus": cpus,
            "opsys": "linux",
            "opsysversion": kernel("osrelease"),
            "load1": load1,
            "load5": load5,
            "load15": load15,
            "memory_total": memory("MemTotal:"),
            "memory_avail": memory("MemAvailable:"),
            "bytes_read": done.read,
            "bytes_written": done.written,
            "total_ops": done.requests,
        });
        if let (Some(project), Some(fields)) =
            (&service.options.catalog.project_name, record.as_object_mut())
        {
            fields.insert("project".to_owned(), json!(project));
        }
        record
    }
}

/// The text of a record with as many clients as fit.
fn with_clients(record: &mut Value, clients: &[(IpAddr, Figures)], most: usize) -> String {
    let mut all: Vec<Value> = Vec::new();
    record["clients"] = json!([]);
    let mut length = record.to_string().len();
    for (address, figures) in clients {
        let Figures { requests, read, written } = figures;
        let client = json!({"a": address.to_string(), "o": requests, "r": read, "w": written});
        length += client.to_string().len() + 1;
        if length > most {
            break;
        }
        all.push(client);
    }
    record["clients"] = Value::Array(all);
    record.to_string()
}

/// The addresses of a catalog server, `later` ports after the one it is known by.
fn addresses(host: &str, later: u16) -> std::io::Result<Vec<SocketAddr>> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.ends_with(':') && port.parse::<u16>().is_ok() => {
            (name, port.parse().unwrap_or(PORT))
        }
        _ => (host, PORT),
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    Ok((name, port.saturating_add(later)).to_socket_addrs()?.collect())
}

fn over_udp(host: &str, text: &str) -> std::io::Result<()> {
    let Some(address) = addresses(host, 0)?.into_iter().next() else {
        return Err(std::io::ErrorKind::NotFound.into());
    };
    let own: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((own, 0))?.send_to(text.as_bytes(), address).map(drop)
}

fn over_tcp(host: &str, text: &str) -> std::io::Result<()> {
    let mut failure = std::io::ErrorKind::NotFound.into();
    for address in addresses(host, 1)? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(mut stream) => {
                stream.set_write_timeout(Some(PATIENCE))?;
                return stream.write_all(text.as_bytes());
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The name of the tree, which it keeps wherever and by whomever it is served.
fn uuid(export: &crate::store::Export, read_only: bool) -> String {
    let known = rustix::fs::openat(
        export.root(),
        UUID_FILE,
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    if let Ok(file) = known {
        let mut text = [0; 64];
        let got = rustix::io::read(&file, &mut text).unwrap_or(0);
        let text = String::from_utf8_lossy(text.get(..got).unwrap_or_default()).trim().to_owned();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return text;
        }
    }
    let uuid = random_uuid();
    if !read_only {
        // Without the file it is another one the next time, which only makes another record.
        let _: Result<(), Errno> = write_file(export.root(), UUID_FILE, uuid.as_bytes());
    }
    uuid
}

/// A random UUID (RFC 9562, version 4).
fn random_uuid() -> String {
    let bytes = crate::ticket::key::challenge().unwrap_or([0; 64]);
    let mut bits = bytes.iter().take(16).fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    bits = bits & !(0xf << 76) | 4 << 76;
    bits = bits & !(3 << 62) | 2 << 62;
    let part = |shift: u32, digits: u32| bits >> shift & ((1 << (4 * digits)) - 1);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        part(96, 8),
        part(80, 4),
        part(64, 4),
        part(48, 4),
        part(0, 12)
    )
}

/// A word of the kernel's.
fn kernel(name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    text.trim().to_owned()
}

fn host_name() -> String {
    let name = kernel("hostname");
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// The load averages over 1, 5 and 15 minutes.
fn load() -> [f64; 3] {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut words = text.split_ascii_whitespace().map(|word| word.parse().unwrap_or(0.0));
    std::array::from_fn(|_| words.next().unwrap_or(0.0))
}

/// A figure of `/proc/meminfo`, in bytes.
fn memory(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_clients_as_fit() {
        let clients: Vec<_> = (0..200_u32)
            .map(|n| (IpAddr::from(n.to_be_bytes()), Figures { requests: 1, read: 2, written: 3 }))
            .collect();
        let mut record = json!({"type": "chirp"});
        let text = with_clients(&mut record, &clients, DATAGRAM);
        let told: Value = serde_json::from_str(&text).unwrap();
        let few = told["clients"].as_array().unwrap().len();
        assert!(text.len() <= DATAGRAM && few > 10, "{few} clients in {} bytes", text.len());
        assert_eq!(told["clients"][3], json!({"a": "0.0.0.3", "o": 1, "r": 2, "w": 3}));
        let text = with_clients(&mut record, &clients, usize::MAX);
        let told: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(told["clients"].as_array().unwrap().len(), 200);
    }

    #[test]
    fn addresses_and_uuids() {
        let address = |host, later| addresses(host, later).unwrap()[0].to_string();
        assert_eq!(address("127.0.0.1", 0), "127.0.0.1:9097");
        assert_eq!(address("127.0.0.1:5", 1), "127.0.0.1:6");
        assert_eq!(address("[::1]:5", 0), "[::1]:5");
        assert_eq!(address("::1", 0), "[::1]:9097");
        let uuid = random_uuid();
        assert_eq!((uuid.len(), uuid.as_bytes()[14]), (36, b'4'), "{uuid}");
        assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
        assert_ne!(uuid, random_uuid());
    }
}
