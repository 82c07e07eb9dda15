//! Mountlists: their text, and compiled tables, which a guest takes from a file.

use super::inputs;
use parrot_common::mountlist::{Builder, Table, set_default_deadline};

/// Compiles a text, and takes the same bytes for a table.
pub fn run(input: &[u8]) {
    let mut room = vec![0; 64 << 10];
    let mut builder = Builder::new(&mut room);
    let (text, option) = input.split_at(input.len() / 2);
    let mut message = [0; 300];
    if let Err(error) = builder.add_text(text, b"file") {
        let length = error.message(&mut message);
        assert!(length <= message.len(), "{length}");
    }
    if let Err(error) = builder.add_option(option, b"PARROT_MOUNT_STRING") {
        let length = error.message(&mut message);
        assert!(length <= message.len(), "{length}");
    }
    if let Ok(used) = builder.finish() {
        let compiled = room.get_mut(..used).unwrap_or_default();
        set_default_deadline(compiled, 5);
        let table = Table::from_bytes(compiled);
        assert!(table.is_some(), "what was compiled is a table");
        look(table, input);
        // A table that was damaged.
        let mut damaged = compiled.to_vec();
        for (number, byte) in input.iter().enumerate().take(20) {
            let place = number * 37 % damaged.len().max(1);
            if let Some(place) = damaged.get_mut(place) {
                *place ^= byte;
            }
        }
        look(Table::from_bytes(&damaged), input);
    }
    look(Table::from_bytes(input), b"/a/b");
}

fn look(table: Option<Table<'_>>, name: &[u8]) {
    let Some(table) = table else { return };
    for name in [name, b"/", b"/chirp/h:1/x", b"/data/sub/f"] {
        if let Some(found) = table.lookup(name) {
            assert!(found.rest.len() <= name.len());
        }
        let _ = (table.is_ancestor(name), table.knows_component(name), table.reverse(name));
    }
    assert!(table.rules().count() < 1 << 20);
}

/// Texts of every kind of line.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    inputs(&[
        "# comment\n/data /chirp/store:9094/project ro cache=session\n/results chirp://store/out deadline=300 on-transient=hold\n",
        "/scratch /tmp/job\\040one\n/secret DENY\n/none ENOENT\n/here LOCAL\n/a/b/c /x/y rwx ttl=5 locks=refuse\n",
        "/a=/chirp/h/b,ro,cache=strict /c=/d,ttl=1 /e=DENY",
        "/ /chirp/h/ rx\n/chirp /chirp ro\n\n\t/x\t/y\t\n",
    ])
}
