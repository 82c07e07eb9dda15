//! What every driver must do, run on every driver and on every server we know.
//!
//! Each case is one test per row: `local::listing`, `parrot::listing`, `stock::listing`. A case gets
//! an empty place and leaves nothing behind. The stock server needs `chirp_server`
//! (`scripts/install-deps`), ours `parrot-chirpd` beside the tests or in `PARROT_CHIRPD`.
//!
//! Then there is what the Chirp driver and the retry layer do when the other side fails: real
//! servers are killed and started again (`away`), scripted ones break the rules (`lies`).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking, in their helpers too"
)]

#[path = "driver/away.rs"]
mod away;
#[path = "driver/crowd.rs"]
mod crowd;
#[path = "driver/cut.rs"]
mod cut;
#[path = "driver/data.rs"]
mod data;
#[path = "driver/fake.rs"]
mod fake;
#[path = "driver/killed.rs"]
mod killed;
#[path = "driver/lies.rs"]
mod lies;
#[path = "driver/meta.rs"]
mod meta;
#[path = "driver/names.rs"]
mod names;
#[path = "driver/rights.rs"]
mod rights;
#[path = "driver/site.rs"]
mod site;

use parrot_agent::driver::OpenFlags;
use parrot_agent::error::{Kind, Result};
use parrot_common::Errno;
use site::{Row, Site};
use std::fmt;

const READ: OpenFlags = OpenFlags {
    read: true,
    write: false,
    append: false,
    create: false,
    exclusive: false,
    truncate: false,
};
const WRITE: OpenFlags = OpenFlags { read: false, write: true, ..READ };
const CREATE: OpenFlags = OpenFlags { create: true, truncate: true, ..WRITE };

/// The errno that the server answered.
fn errno<T: fmt::Debug>(result: Result<T>) -> Errno {
    match result.expect_err("a refusal").kind() {
        Kind::Remote(errno) => errno,
        kind => panic!("not the server's answer: {kind:?}"),
    }
}

impl Site {
    /// Makes a file.
    fn put(&self, name: impl AsRef<[u8]>, content: &[u8]) {
        let (file, _) = self.driver.open(&self.path(name), CREATE, 0o644).unwrap();
        file.pwrite(content, 0).unwrap();
    }

    /// What a file holds.
    fn get(&self, name: impl AsRef<[u8]>) -> Vec<u8> {
        let (file, attr) = self.driver.open(&self.path(name), READ, 0).unwrap();
        let mut content = vec![0; usize::try_from(attr.size).unwrap()];
        assert_eq!(file.pread(&mut content, 0).unwrap(), content.len());
        content
    }
}

macro_rules! rows {
    ($($family:ident: $($case:ident)*;)*) => {
        rows! { @row local = Row::Local, $($family: $($case)*;)* }
        rows! { @row parrot = Row::Parrot, $($family: $($case)*;)* }
        rows! { @row stock = Row::Stock, $($family: $($case)*;)* }
    };
    (@row $name:ident = $row:expr, $($family:ident: $($case:ident)*;)*) => {
        mod $name {
            use super::*;
            $($(
                #[test]
                fn $case() {
                    $family::$case(&Site::new($row));
                }
            )*)*
        }
    };
}

rows! {
    names: missing_paths existing_directory directories odd_names deep_paths long_names listing
        long_listing rename_over_existing rename_flags hard_link symbolic_links removal;
    data: end_of_file big_offset long_transfers append exclusive_create open_flags truncate
        read_small many_files threads;
    meta: attributes many_attributes modes times access_rights space extended_attributes counters;
}
