//! Many clients at once, each with a connection of its own, checked against a model.

use crate::site::{Row, Site, connect};
use crate::{CREATE, READ, WRITE, errno};
use parrot_agent::driver::{Config, Driver, OpenFlags};
use parrot_common::Errno;
use std::collections::BTreeMap;

/// What a client's directory must hold: names and contents; `None` is a directory.
type Model = BTreeMap<String, Option<Vec<u8>>>;

/// A small generator: the same seed gives the same operations.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// One operation of a client in its own directory, on the server and in the model: both must agree.
fn operation(d: &dyn Driver, dir: &str, model: &mut Model, random: &mut Random) {
    let names = ["a", "b", "c", "d", "e", "f"];
    let pick = |random: &mut Random| names[usize::try_from(random.below(6)).unwrap()].to_owned();
    let (one, two) = (pick(random), pick(random));
    let path = |name: &str| format!("{dir}/{name}").into_bytes();
    let here = path(&one);
    let known = model.get(&one).cloned();
    match (random.below(8), known) {
        (0, Some(None)) => assert_eq!(errno(d.open(&here, CREATE, 0o644)), Errno::EISDIR),
        (0 | 1, None | Some(Some(_))) => {
            let content = format!("{one} {}\n", random.below(1_000_000)).repeat(50).into_bytes();
            d.open(&here, CREATE, 0o644).unwrap().0.pwrite(&content, 0).unwrap();
            model.insert(one, Some(content));
        }
        (2, None) => {
            d.mkdir(&here, 0o755).unwrap();
            model.insert(one, None);
        }
        (2, Some(_)) => assert_eq!(errno(d.mkdir(&here, 0o755)), Errno::EEXIST),
        (3, Some(Some(_))) => {
            d.unlink(&here).unwrap();
            model.remove(&one);
        }
        (3, None) => assert_eq!(errno(d.unlink(&here)), Errno::ENOENT),
        (1 | 3, Some(None)) => {
            d.rmdir(&here).unwrap();
            model.remove(&one);
        }
        (4, Some(Some(content))) if one != two && model.get(&two) != Some(&None) => {
            d.rename(&here, &path(&two), 0).unwrap();
            model.remove(&one);
            model.insert(two, Some(content));
        }
        (4, None) => assert_eq!(errno(d.rename(&here, &path(&two), 0)), Errno::ENOENT),
        (5, Some(Some(mut content))) => {
            let append = OpenFlags { append: true, ..WRITE };
            d.open(&here, append, 0).unwrap().0.pwrite(b"more\n", 0).unwrap();
            content.extend_from_slice(b"more\n");
            model.insert(one, Some(content));
        }
        (6, Some(Some(content))) => {
            let (_, found) = d.read_small(&here, 1 << 20).unwrap();
            assert_eq!(found.unwrap(), content);
        }
        (6, None) => assert_eq!(errno(d.open(&here, READ, 0)), Errno::ENOENT),
        _ => {
            let list = d.list(dir.as_bytes()).unwrap();
            let mut list: Vec<_> = list.into_iter().map(|entry| entry.name).collect();
            list.sort();
            assert!(list.iter().map(Vec::as_slice).eq(model.keys().map(String::as_bytes)));
        }
    }
}

fn crowd(clients: u64, operations: u64) {
    let site = Site::new(Row::Parrot);
    let host = format!("127.0.0.1:{}", site.server.as_ref().unwrap().port);
    let config = Config { connections: 1, auth: vec!["address".into()], ..Config::default() };
    let models: Vec<Model> = std::thread::scope(|scope| {
        let (host, config) = (&host, &config);
        let clients = (0..clients).map(|i| {
            scope.spawn(move || {
                let d = connect("chirp", host, config);
                let (dir, mut model) = (format!("/{i}"), Model::new());
                let mut random = Random(i * 0x9E37_79B9 + 1);
                d.mkdir(dir.as_bytes(), 0o755).unwrap();
                let append = OpenFlags { append: true, create: true, ..WRITE };
                let (log, _) = d.open(b"/log", append, 0o644).unwrap();
                for n in 0..operations {
                    operation(&*d, &dir, &mut model, &mut random);
                    log.pwrite(format!("{i} {n}\n").as_bytes(), 0).unwrap();
                }
                model
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    for (i, model) in models.iter().enumerate() {
        let dir = site.tree.join(i.to_string());
        let mut found = Model::new();
        for entry in std::fs::read_dir(&dir).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let content = entry.file_type().unwrap().is_file();
            found.insert(name, content.then(|| std::fs::read(entry.path()).unwrap()));
        }
        assert_eq!(&found, model, "client {i}");
    }
    // Each line is there once, and a client's own are in its order.
    let log = String::from_utf8(std::fs::read(site.tree.join("log")).unwrap()).unwrap();
    let mut next = vec![0; models.len()];
    for line in log.lines() {
        let (who, number) = line.split_once(' ').unwrap();
        let next = &mut next[who.parse::<usize>().unwrap()];
        assert_eq!(number.parse::<u64>().unwrap(), *next, "{line}");
        *next += 1;
    }
    assert!(next.iter().all(|count| *count == operations));
}

#[test]
fn many_clients_do_what_a_model_says() {
    crowd(30, 60);
}

#[test]
#[ignore = "long: scripts/test --full"]
fn two_hundred_clients_do_what_a_model_says() {
    crowd(200, 100);
}
