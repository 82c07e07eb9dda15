//! The Chirp protocol: its wire format, for server and client, and the parts of `parrot-chirpd`.

pub mod wire;
