//! What the same bytes cost over the same kind of connection when nobody does anything with them:
//! the floor under any server.
//!
//! A client announces its exchanges in one line, `IN OUT [IN OUT …]`, and then goes round in them:
//! it sends IN bytes, the echo answers with OUT bytes.

use crate::client::WHOLE;
use crate::measure::{Plan, Timing, measure};
use crate::ops::Kind;
use anyhow::Context as _;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

/// A request with a short path, and an answer with a file's attributes.
const REQUEST: usize = 32;
const ATTRIBUTES: usize = 100;
/// An answer that is a number.
const NUMBER: usize = 8;

/// The program: says its address on stdout and serves until it is ended.
///
/// # Errors
/// It cannot listen.
pub(crate) fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", listener.local_addr()?)?;
    out.flush()?;
    for stream in listener.incoming() {
        let stream = stream?;
        // A connection that ends badly is its client's affair.
        std::thread::spawn(move || answer(stream));
    }
    Ok(())
}

fn answer(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(1 << 16, stream.try_clone()?);
    let mut writer = stream;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let sizes: Vec<usize> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let longest = sizes.iter().copied().max().unwrap_or(0);
    let mut bytes = vec![0; longest];
    loop {
        for pair in sizes.chunks_exact(2) {
            let &[take, give] = pair else { continue };
            reader.read_exact(bytes.get_mut(..take).unwrap_or_default())?;
            writer.write_all(bytes.get(..give).unwrap_or_default())?;
        }
    }
}

/// The exchanges that an operation of the plain client makes.
fn exchanges(kind: Kind) -> Option<&'static [(usize, usize)]> {
    Some(match kind {
        Kind::Stat => &[(REQUEST, ATTRIBUTES)],
        Kind::Open => &[(REQUEST, ATTRIBUTES), (NUMBER, 2)],
        Kind::Pread1 => &[(REQUEST, 2 + 1)],
        Kind::Pread8k => &[(REQUEST, NUMBER + (8 << 10))],
        Kind::Pread1m | Kind::Getfile => &[(REQUEST, NUMBER + WHOLE)],
        Kind::Pwrite1 => &[(REQUEST + 1, 2)],
        Kind::Pwrite8k => &[(REQUEST + (8 << 10), NUMBER)],
        Kind::Pwrite1m => &[(REQUEST + WHOLE, NUMBER)],
        Kind::Putfile => &[(REQUEST, 2), (WHOLE, NUMBER)],
        _ => return None,
    })
}

/// Measures the exchanges of an operation.
///
/// # Errors
/// The connection, or an operation that no request stands for.
pub(crate) fn run(server: SocketAddr, kind: Kind, plan: Plan) -> io::Result<Timing> {
    let exchanges = exchanges(kind)
        .ok_or_else(|| io::Error::other(format!("no request stands for {}", kind.word())))?;
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    let words: Vec<String> =
        exchanges.iter().map(|(take, give)| format!("{take} {give}")).collect();
    stream.write_all(format!("{}\n", words.join(" ")).as_bytes())?;
    let longest = exchanges.iter().map(|(take, give)| *take.max(give)).max().unwrap_or(0);
    let (request, mut reply) = (vec![1_u8; longest], vec![0_u8; longest]);
    measure(plan, || {
        for &(take, give) in exchanges {
            stream.write_all(request.get(..take).unwrap_or_default())?;
            stream.read_exact(reply.get_mut(..give).unwrap_or_default())?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_request_has_its_bytes_echoed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || answer(stream));
            }
        });
        let plan = Plan { batch: Duration::ZERO, slow: Duration::ZERO, times: Some(3) };
        for kind in [Kind::Stat, Kind::Open, Kind::Pread8k, Kind::Pwrite1m, Kind::Putfile] {
            assert_eq!(run(address, kind, plan).unwrap().count, 3);
        }
        assert!(run(address, Kind::Getpid, plan).is_err());
    }
}
