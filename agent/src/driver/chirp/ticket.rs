//! Logging in with a ticket: the private key of an RSA pair that was registered at the server.
//!
//! The names of our tickets are told one after the other; where the server knows one, it sends a
//! challenge that only the holder of the key can sign. Every file is read when a connection is made,
//! so a ticket that is replaced counts for the next one.

use super::stream::Stream;
use super::trouble::Trouble;
use parrot_chirp::ticket::key::{MAX_CHALLENGE, PrivateKey};
use parrot_chirp::wire::{Reader, send};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest file that is read: the longest key takes a tenth of it.
const MAX_FILE: u64 = 64 << 10;

/// The tickets that can be used, and why others cannot.
pub(super) fn load(files: &[PathBuf]) -> (Vec<PrivateKey>, Vec<String>) {
    let (mut keys, mut troubles) = (Vec::new(), Vec::new());
    for path in files {
        match read(path) {
            Ok(key) => keys.push(key),
            Err(why) => troubles.push(format!("{}: {why}", path.display())),
        }
    }
    (keys, troubles)
}

fn read(path: &Path) -> Result<PrivateKey, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| error.to_string())?;
    PrivateKey::parse(&text).map_err(|error| error.to_string())
}

/// The method's exchange, after the server has agreed to it; whether a ticket was good.
pub(super) fn answer(reader: &mut Reader<Stream>, keys: &[PrivateKey]) -> Result<bool, Trouble> {
    for key in keys {
        say(reader, format!("{}\n", key.name()).as_bytes())?;
        // Servers differ in the word for a ticket that they do not know.
        let length = match reader.read_line()? {
            b"declined" | b"failure" => continue,
            line => std::str::from_utf8(line).ok().and_then(|line| line.parse().ok()),
        };
        let length = length.filter(|length| (1..=MAX_CHALLENGE).contains(length));
        let Some(length) = length else {
            return Err(Trouble::protocol("the server answers a ticket with nonsense"));
        };
        let mut challenge = vec![0; length];
        reader.read_exact_into(&mut challenge).map_err(|error| Trouble::stream(&error, false))?;
        let signature = match key.sign(&challenge) {
            Ok(signature) => signature,
            Err(error) => return Err(Trouble::protocol(error.to_string())),
        };
        let header = format!("{}\n", signature.len());
        say(reader, &[header.as_bytes(), &signature].concat())?;
        match reader.read_line()? {
            b"success" => return Ok(true),
            b"failure" => {}
            _ => return Err(Trouble::protocol("the server answers a signature with nonsense")),
        }
    }
    // The server says nothing to this.
    say(reader, b"==\n")?;
    Ok(false)
}

fn say(reader: &mut Reader<Stream>, bytes: &[u8]) -> Result<(), Trouble> {
    send(reader.get_mut(), bytes, &[]).map_err(|error| Trouble::stream(&error, false))
}
