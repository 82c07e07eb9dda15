//! Servers that are no Chirp servers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// How a fake server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Sends back what it gets.
    Echo,
    /// Accepts, reads, never answers.
    Silent,
    /// Accepts and closes at once.
    Hangup,
    /// Greets as a web or mail server would, then closes.
    Greeter,
    /// Answers every line with words that are no numbers, without end.
    Babbler,
}

/// Starts a fake server; returns its port. It ends with the test's process.
///
/// # Panics
///
/// When loopback has no port.
#[must_use]
pub fn serve(manner: Manner) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || talk(stream, manner));
        }
    });
    port
}

fn talk(mut stream: TcpStream, manner: Manner) {
    let mut buffer = [0_u8; 4096];
    match manner {
        Manner::Hangup => {}
        Manner::Greeter => {
            let _ = stream.write_all(b"220 mail.example.org ESMTP\r\n");
            let _ = stream.read(&mut buffer);
            let _ = stream.write_all(b"500 what?\r\n");
        }
        Manner::Silent => while matches!(stream.read(&mut buffer), Ok(1..)) {},
        Manner::Echo => {
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(buffer.get(..count).unwrap_or_default()).is_err() {
                    break;
                }
            }
        }
        Manner::Babbler => {
            while matches!(stream.read(&mut buffer), Ok(1..)) {
                if stream.write_all(b"yes\nperhaps\n\xff\xfe\x00 maybe\n").is_err() {
                    break;
                }
            }
        }
    }
}
