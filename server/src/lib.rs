//! The Chirp protocol: its wire format, for server and client, and the parts of `parrot-chirpd`.
//!
//! ```text
//!   main ─▶ server ─▶ session ─▶ commands ─▶ handler/* ─▶ store (the tree), acl (who may)
//!            │           └ auth (who it is)      └ outbox (replies)
//!            ├ options, account, report
//!            └ resume (what outlives a connection)
//!   all of them, and the client in the agent: wire
//! ```

pub mod options;
pub mod server;
pub mod ticket;
pub mod wire;

mod account;
mod acl;
mod auth;
mod catalog;
mod clients;
mod commands;
mod disk;
mod failure;
mod glob;
mod group;
mod handler;
mod housekeeping;
mod outbox;
mod peer;
mod report;
mod resume;
mod session;
mod space;
mod stats;
mod store;
