//! What the catalog hears: by a listener of ours, and by Debian's own catalog.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod common;

use common::{Server, free_port, stock, wait_for};
use std::io::Read as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};

#[test]
fn records_are_told_at_once_and_again() {
    let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
    listener.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = Server::start(&[
        "-u",
        &address,
        "-U",
        "1s",
        "-n",
        "store.example.org",
        "-w",
        "ann",
        "--project-name",
        "p",
    ]);
    let hear = || -> serde_json::Value {
        let mut datagram = [0; 4096];
        let length = listener.recv(&mut datagram).unwrap();
        assert!(length <= 1200, "{length}");
        serde_json::from_slice(&datagram[..length]).unwrap()
    };
    let record = hear();
    let port = server.port;
    for (field, wanted) in [
        ("type", serde_json::json!("chirp")),
        ("name", serde_json::json!("store.example.org")),
        ("owner", serde_json::json!("ann")),
        ("project", serde_json::json!("p")),
        ("port", serde_json::json!(port)),
        ("url", serde_json::json!(format!("chirp://store.example.org:{port}"))),
        ("opsys", serde_json::json!("linux")),
        ("total_ops", serde_json::json!(0)),
        ("clients", serde_json::json!([])),
    ] {
        assert_eq!(record[field], wanted, "{field}: {record}");
    }
    for field in ["total", "avail", "cpus", "memory_total", "memory_avail", "starttime"] {
        assert!(record[field].as_u64().unwrap() > 0, "{field}: {record}");
    }
    let uuid = std::fs::read_to_string(server.root().join(".__uuid")).unwrap();
    assert_eq!(record["uuid"], uuid.trim());
    let told = move_bytes(&server, hear);
    assert_eq!(told, (6, 301_050, 300_000));
}

/// Makes six requests that move 301,050 bytes out and 300,000 in, and hears until all six are told:
/// what is told of the client, in all.
fn move_bytes(server: &Server, hear: impl Fn() -> serde_json::Value) -> (u64, u64, u64) {
    let mut client = server.client();
    client.put("/f", &vec![1; 300_000]);
    client.stat("open /f r 0");
    assert_eq!(client.data("pread 0 1000 0").len() + client.data("getfile /f").len(), 301_000);
    assert_eq!(client.data("sread 0 50 5 100 0").len(), 50);
    client.data("whoami 100");
    // The figures may be told while the requests are being made: what counts is their sum.
    let mut of_client = (0, 0, 0);
    loop {
        let record = hear();
        for told in record["clients"].as_array().unwrap() {
            assert_eq!(told["a"], "127.0.0.1", "{record}");
            let figure = |name: &str| told[name].as_u64().unwrap();
            of_client.0 += figure("o");
            of_client.1 += figure("r");
            of_client.2 += figure("w");
        }
        if record["total_ops"] == 6 && of_client.0 == 6 {
            assert_eq!(record["bytes_read"], 301_050, "{record}");
            assert_eq!(record["bytes_written"], 300_000, "{record}");
            return of_client;
        }
    }
}

#[test]
fn a_connection_tells_as_well() {
    // The port after the one that is named.
    let (listener, port) = wait_for(|| {
        let port = free_port();
        TcpListener::bind(("127.0.0.1", port.checked_add(1)?)).ok().map(|found| (found, port))
    });
    let dir = tempfile::TempDir::new().unwrap();
    let mut child = common::binary()
        .args(["-I", "127.0.0.1", "-p", "0", "-R", "-u", "-", "-u", &format!("127.0.0.1:{port}")])
        .arg("-r")
        .arg(dir.path())
        .env("CATALOG_UPDATE_PROTOCOL", "tcp")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut text = String::new();
    listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(record["type"], "chirp");
    assert!(!dir.path().join(".__uuid").exists(), "a read-only server writes nothing");
}

/// Without `-u` nobody is told anything, and nothing is written.
#[test]
fn silence_is_the_default() {
    let server = Server::start(&["-U", "1s"]);
    server.client().is_fine();
    assert!(!server.root().join(".__uuid").exists());
}

/// Ends a program of ours.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Debian's catalog and its port; `None` if others have taken that, or the next one, which it wants too.
fn debians_catalog(dir: &Path) -> Option<(Running, u16)> {
    let port = free_port();
    drop(TcpListener::bind(("127.0.0.1", port + 1)).ok()?);
    let mut run = Command::new("catalog_server");
    run.args(["-p", &port.to_string(), "-I", "127.0.0.1", "-H"]).arg(dir);
    run.current_dir(dir).stdout(Stdio::null()).stderr(Stdio::null());
    let mut catalog = Running(run.spawn().expect("catalog_server; run scripts/install-deps"));
    let listens = wait_for(|| match catalog.0.try_wait().unwrap() {
        Some(_) => Some(false),
        // The last that it does before it serves is to listen for updates.
        None => TcpStream::connect(("127.0.0.1", port + 1)).ok().map(|_| true),
    });
    (listens && catalog.0.try_wait().unwrap().is_none()).then_some((catalog, port))
}

#[test]
fn debians_catalog_and_status_tool_show_the_server() {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (_catalog, port) = wait_for(|| debians_catalog(dir.path()));
    let host = format!("127.0.0.1:{port}");
    let server = Server::start(&["-u", &host, "-U", "1s", "-w", "poseidon"]);
    let shown = wait_for(|| {
        let output = stock("chirp_status", &["-c", &host, "-l"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.contains("poseidon").then_some(text)
    });
    assert!(shown.contains(&server.port.to_string()), "{shown}");
    let table = String::from_utf8(stock("chirp_status", &["-c", &host]).stdout).unwrap();
    assert!(table.contains("poseidon"), "{table}");
}
