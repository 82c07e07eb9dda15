//! The table itself, and the document that is written from it.

use super::{NEWER, On, Policy, TABLE};
use std::fmt::Write;

fn policy(policy: Policy) -> String {
    match policy {
        Policy::Path => "by name".into(),
        Policy::Fd(_, On::Any) => "on any shadow".into(),
        Policy::Fd(_, On::Served) => "on served shadows and directories".into(),
        Policy::Always => "always".into(),
        Policy::Pass(why) => format!("passes: {}", why.text()),
        Policy::Refuse(errno) => format!("refused: {errno}"),
    }
}

const HEAD: &str = "# System calls

Written from `common/src/syscall/table.rs`; do not edit. Every call of x86-64 Linux up to 6.18 stands
here. *Caught* says when a call is looked at: by the name it carries, by a descriptor that is a
shadow, always, or never, and why not. What the tracer does about calls that are in no row is in
[techniques.md](techniques.md).

| call | caught | libc symbols | what it does |
| --- | --- | --- | --- |
";

/// `docs/syscalls.md` is written from the table: `UPDATE_DOCS=1 cargo test -p parrot-common`.
#[test]
fn the_table_of_the_docs_is_this_one() {
    let mut text = String::from(HEAD);
    let mut rows: Vec<_> = TABLE.iter().collect();
    rows.sort_by_key(|row| row.name);
    for row in rows {
        let symbols: Vec<_> = row.symbols.iter().map(|s| format!("`{s}`")).collect();
        let (symbols, policy) = (symbols.join(" "), policy(row.policy));
        writeln!(text, "| `{}` | {policy} | {symbols} | {} |", row.name, row.summary).unwrap();
    }
    writeln!(
        text,
        "| *newer* ({NEWER} and above) | a hole if a name or descriptor of ours is in it | | Calls \
         that this version does not know: let through, refused or fatal by `--on-hole`. |\n\
         | *of another architecture* | refused: ENOSYS | | 32-bit (`int 0x80`) and x32 calls: their \
         arguments cannot be read; reported. |"
    )
    .unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/syscalls.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(there, text, "docs/syscalls.md is stale: UPDATE_DOCS=1 cargo test");
}

#[test]
fn numbers_and_symbols_are_unique_and_summaries_are_sentences() {
    let mut numbers: Vec<_> = TABLE.iter().map(|row| row.nr).collect();
    let mut symbols: Vec<_> = TABLE.iter().flat_map(|row| row.symbols).collect();
    numbers.sort_unstable();
    symbols.sort_unstable();
    assert!(numbers.is_sorted_by(|a, b| a < b), "a number stands twice");
    assert!(symbols.is_sorted_by(|a, b| a < b), "a symbol stands twice");
    for row in TABLE {
        assert!(row.summary.ends_with('.'), "{}", row.name);
        assert_eq!(syscalls::Sysno::new(row.nr).map(|s| s.name()), Some(row.name));
    }
}

/// Numbers that the kernel has given to no call: between the old ones and those that all
/// architectures share.
const UNUSED: std::ops::Range<usize> = 337..424;

#[test]
fn every_call_of_the_kernel_has_a_row() {
    for nr in (0..NEWER).filter(|nr| !UNUSED.contains(nr)) {
        assert!(super::row(nr).is_some(), "no row for {nr}");
    }
    // What the crate of numbers knows, we know.
    for known in syscalls::Sysno::iter() {
        assert!(
            super::row(known.id().unsigned_abs() as usize).is_some(),
            "no row for {}",
            known.name()
        );
    }
}
