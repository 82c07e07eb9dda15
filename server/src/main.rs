//! `parrot-chirpd`, a Chirp server.

fn main() {}
