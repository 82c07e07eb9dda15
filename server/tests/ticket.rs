//! Tickets: what their holders may, and Debian's `chirp ticket_*` commands.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Client, Server, StockServer};
use parrot_chirp::ticket::key::PrivateKey;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Makes a ticket as the stock client does.
fn make_key() -> PrivateKey {
    let output = Command::new("openssl").args(["genrsa", "1024"]).stderr(Stdio::null()).output();
    let text = output.expect("openssl; run scripts/install-deps").stdout;
    PrivateKey::parse(&String::from_utf8(text).unwrap()).unwrap()
}

/// Registers a ticket of the client's own.
fn register(client: &mut Client, key: &PrivateKey, seconds: i64) -> i64 {
    let text = key.public_key().unwrap();
    client.ask_with(&format!("ticket_register self {seconds} {}", text.len()), text.as_bytes())
}

/// The answer to a ticket's name: the server's last word.
fn try_key(client: &mut Client, key: &PrivateKey, signer: &PrivateKey) -> String {
    client.send(format!("{}\n", key.name()));
    let line = client.line();
    if line != "64" {
        return line;
    }
    let mut challenge = [0; 64];
    client.reader.read_exact_into(&mut challenge).unwrap();
    let signature = signer.sign(&challenge).unwrap();
    client.send([format!("{}\n", signature.len()).as_bytes(), &signature].concat());
    client.line()
}

/// A client that logged in with a ticket.
fn holder(server: &Server, key: &PrivateKey) -> Client {
    let mut client = server.connect();
    client.send("ticket\n");
    assert_eq!(client.line(), "yes");
    assert_eq!(try_key(&mut client, key, key), "success");
    assert_eq!(client.line(), "yes");
    assert_eq!(client.line(), "ticket");
    assert_eq!(client.line(), key.name().to_string());
    client
}

#[test]
fn a_holder_has_the_owners_rights_as_far_as_the_masks_go() {
    let server = Server::start(&[]);
    let mut owner = server.client();
    for dir in ["/data", "/data/in", "/database"] {
        assert_eq!(owner.ask(&format!("mkdir {dir} 493")), 0);
        owner.put(&format!("{dir}/f"), b"text");
    }
    let key = make_key();
    assert_eq!(register(&mut owner, &key, 3600), 0);
    let mut client = holder(&server, &key);
    assert_eq!(client.data("whoami 100"), owner.data("whoami 100"));
    assert_eq!(client.ask("stat /data/f"), -2, "a new ticket gives nothing");
    assert_eq!(owner.ask(&format!("ticket_modify ticket:{} /data rl", key.name())), 0);
    assert_eq!(owner.ask(&format!("ticket_modify ticket:{} /data/in rwlda", key.name())), 0);
    assert_eq!(client.data("getfile /data/f"), b"text", "changes count at once");
    for line in ["putfile /data/f 420 0", "unlink /data/f", "stat /database/f", "stat /x"] {
        assert_eq!(client.ask(line), -2, "{line}");
    }
    client.put("/data/in/new", b"x");
    assert_eq!(client.ask("unlink /data/in/new"), 0);
    // What the owner may not, the ticket may not.
    let me = String::from_utf8(owner.data("whoami 100")).unwrap();
    assert_eq!(owner.ask(&format!("setacl /data/in {me} rla")), 0);
    assert_eq!(client.ask("putfile /data/in/f 420 0"), -2);
    // A list that a holder resets is the owner's.
    assert_eq!(client.ask("resetacl /data/in rwl"), 0);
    assert_eq!(owner.list("getacl /data/in"), [format!("{me} rwlpa")]);
    // A way around by a link is a way to the same directory.
    assert_eq!(owner.ask("symlink data/in /way"), 0);
    client.put("/data/in/by-link", b"y");
    assert_eq!(client.data("getfile /way/by-link"), b"y");
    assert_eq!(owner.ask("rename /data/in /database/in"), 0);
    assert_eq!(client.ask("stat /database/in/f"), -2, "the mask was for the place");
}

#[test]
fn tickets_are_listed_told_and_forgotten() {
    let server = Server::start(&[]);
    let mut owner = server.client();
    let me = String::from_utf8(owner.data("whoami 100")).unwrap();
    let key = make_key();
    let identity = format!("ticket:{}", key.name());
    assert_eq!(register(&mut owner, &key, 3600), 0);
    assert_eq!(owner.ask(&format!("ticket_modify {identity} / rl")), 0);
    assert_eq!(owner.data("ticket_list self"), b"", "the first line is the verdict");
    let mut listed = vec![0; usize::try_from(owner.number()).unwrap()];
    owner.reader.read_exact_into(&mut listed).unwrap();
    assert_eq!((listed, owner.number()), (identity.clone().into_bytes(), 0));
    assert_eq!(owner.ask(&format!("ticket_get {identity}")), 0);
    for wanted in [me.clone(), key.public_key().unwrap()] {
        let mut text = vec![0; usize::try_from(owner.number()).unwrap()];
        owner.reader.read_exact_into(&mut text).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), wanted);
    }
    assert!((3500..=3600).contains(&owner.number()));
    assert_eq!((owner.line(), owner.number()), ("/ rl".to_owned(), 0));
    let mut stranger = server.stranger();
    for line in [
        format!("ticket_list {me}"),
        "ticket_list all".to_owned(),
        format!("ticket_get {identity}"),
        format!("ticket_delete {identity}"),
        format!("ticket_modify {identity} / n"),
    ] {
        assert_eq!(stranger.ask(&line), -2, "{line}");
    }
    let text = key.public_key().unwrap();
    let line = format!("ticket_register {me} 10 {}", text.len());
    assert_eq!(stranger.ask_with(&line, text.as_bytes()), -2, "in another's name");
    assert_eq!(register(&mut stranger, &key, 10), -2, "another's ticket");
    assert_eq!(owner.ask(&format!("ticket_modify {identity} /none rl")), -3);
    assert_eq!(owner.ask(&format!("ticket_modify {identity} / x")), -2, "more than one has");
    assert_eq!(owner.ask("ticket_delete ticket:0123456789abcdef0123456789abcdef"), -3);
    assert_eq!(owner.ask("ticket_get ticket:0123456789abcdef0123456789abcdef"), -8);
    assert_eq!(owner.ask("ticket_get ticket:../../../../etc/passwd"), -8);
    let mut client = holder(&server, &key);
    client.stat("stat /");
    assert_eq!(owner.ask(&format!("ticket_delete {identity}")), 0);
    assert_eq!(client.ask("stat /"), -2, "a ticket that was deleted gives nothing more");
    let mut late = server.connect();
    late.send("ticket\n");
    assert_eq!(late.line(), "yes");
    assert_eq!(try_key(&mut late, &key, &key), "declined");
    let left: Vec<_> = std::fs::read_dir(server.root()).unwrap().collect();
    assert_eq!(left.len(), 1, "only the list: {left:?}");
}

#[test]
fn tickets_end() {
    let server = Server::start(&["--max-ticket-duration", "1h"]);
    let mut owner = server.client();
    let (long, short, inner) = (make_key(), make_key(), make_key());
    assert_eq!(register(&mut owner, &long, i64::MAX), 0);
    assert_eq!(register(&mut owner, &short, 2), 0);
    for seconds in [0, -5] {
        assert_eq!(register(&mut owner, &inner, seconds), -8);
    }
    let left = |owner: &mut Client, key: &PrivateKey| {
        assert_eq!(owner.ask(&format!("ticket_get ticket:{}", key.name())), 0);
        for _ in 0..2 {
            let length = owner.number();
            owner.reader.skip(length.cast_unsigned()).unwrap();
        }
        let left = owner.number();
        while owner.line() != "0" {}
        left
    };
    assert!((3500..=3600).contains(&left(&mut owner, &long)));
    for key in [&long, &short] {
        assert_eq!(owner.ask(&format!("ticket_modify ticket:{} / rwlda", key.name())), 0);
    }
    let mut client = holder(&server, &short);
    client.stat("stat /");
    // A ticket that was made with a ticket ends with it.
    assert_eq!(register(&mut client, &inner, 1000), 0);
    assert!(left(&mut owner, &inner) <= 2);
    common::wait_for(|| (client.ask("access / 4") == -2).then_some(()));
    let mut late = server.connect();
    late.send("ticket\n");
    assert_eq!(late.line(), "yes");
    assert_eq!(try_key(&mut late, &short, &short), "declined");
    assert_eq!(try_key(&mut late, &inner, &inner), "declined");
    assert_eq!(try_key(&mut late, &long, &long), "success");
}

#[test]
fn only_the_holder_gets_in() {
    let server = Server::start(&[]);
    let mut owner = server.client();
    let (key, other) = (make_key(), make_key());
    assert_eq!(register(&mut owner, &key, 3600), 0);
    let mut client = server.connect();
    client.send("ticket\n");
    assert_eq!(client.line(), "yes");
    assert_eq!(try_key(&mut client, &other, &other), "declined");
    assert_eq!(try_key(&mut client, &key, &other), "failure");
    // Both the next name and the next method are understood after a failure.
    assert_eq!(try_key(&mut client, &key, &other), "failure");
    client.send("address\n");
    for wanted in ["yes", "yes", "yes", "address", "127.0.0.1"] {
        assert_eq!(client.line(), wanted);
    }
    client.is_fine();
    let mut client = server.connect();
    client.send("ticket\n==\nticket\n");
    assert_eq!((client.line(), client.line()), ("yes".into(), "yes".into()));
    client.send(format!("{}\n", key.name()));
    assert_eq!(client.line(), "64");
    client.reader.skip(64).unwrap();
    client.send("9999999\n");
    assert!(client.is_closed(), "no key signs that much");
    let server = Server::start(&["-a", "unix"]);
    let mut client = server.connect();
    client.send("ticket\n");
    assert_eq!(client.line(), "no", "-a decides");
}

#[test]
fn what_is_no_ticket_is_not_kept() {
    let server = Server::start(&[]);
    let mut owner = server.client();
    let text = make_key().public_key().unwrap();
    for body in [
        "x".to_owned(),
        format!("{text}\nrights \"/\" \"rwlda\"\n"),
        text.replace("PUBLIC", "PRIVATE"),
        "y".repeat(100_000),
    ] {
        let line = format!("ticket_register self 100 {}", body.len());
        assert_eq!(owner.ask_with(&line, body.as_bytes()), -8, "{body:.20}");
    }
    assert_eq!(owner.ask("ticket_register self 100 -1"), -8);
    owner.is_fine();
    // A file that somebody else put there under a ticket's name gives nothing.
    let key = make_key();
    assert_eq!(register(&mut owner, &key, 100), 0);
    let file = |name: &str| server.root().join(format!(".__ticket.{name}"));
    let other = make_key();
    std::fs::copy(file(&key.name().to_string()), file(&other.name().to_string())).unwrap();
    let mut client = server.connect();
    client.send("ticket\n");
    assert_eq!(client.line(), "yes");
    assert_eq!(try_key(&mut client, &other, &key), "declined");
    for line in ["unlink", "rmdir", "truncate"] {
        let line = format!("{line} /.__ticket.{} 0", key.name());
        assert_eq!(owner.ask(&line), -2, "{line}");
    }
    assert_eq!(Server::start(&["-R"]).client().ask_with("ticket_register self 9 1", b"x"), -2);
}

#[test]
fn the_superuser_sees_and_makes_all_tickets() {
    let server = Server::start(&["-P", "address:127.0.0.1"]);
    let (mut owner, mut superuser) = (server.client(), server.stranger());
    let key = make_key();
    let text = key.public_key().unwrap();
    let line = format!("ticket_register unix:ann 100 {}", text.len());
    assert_eq!(owner.ask_with(&line, text.as_bytes()), -2);
    assert_eq!(superuser.ask_with(&line, text.as_bytes()), 0);
    for who in ["all", "unix:ann"] {
        assert_eq!(superuser.ask(&format!("ticket_list {who}")), 0);
        assert_eq!(superuser.number(), 39);
        superuser.reader.skip(39).unwrap();
        assert_eq!(superuser.number(), 0);
    }
    assert_eq!(holder(&server, &key).data("whoami 100"), b"unix:ann");
    assert_eq!(superuser.ask(&format!("ticket_delete ticket:{}", key.name())), 0);
}

#[test]
fn ended_tickets_are_swept_away() {
    let key = make_key();
    let name = format!(".__ticket.{}", key.name());
    let server = Server::start_with(&[], |root| {
        let text = format!(
            "subject \"unix:ann\"\nticket \"{}\"\nexpiration \"1000\"\nrights \"/\" \"rl\"\n",
            key.public_key().unwrap()
        );
        std::fs::write(root.join(&name), text).unwrap();
    });
    common::wait_for(|| (!server.root().join(&name).exists()).then_some(()));
}

/// A directory to run the stock client in: it looks for tickets there.
struct Holder {
    dir: PathBuf,
    host: String,
}

impl Holder {
    fn new(server: &Server) -> Self {
        let dir = server.outside().join("holder");
        std::fs::create_dir(&dir).unwrap();
        Self { dir, host: format!("127.0.0.1:{}", server.port) }
    }

    /// Runs `chirp` with a login method.
    fn chirp(&self, method: &str, arguments: &[&str]) -> (bool, String) {
        let mut run = Command::new("chirp");
        run.args(["-t", "20", "-a", method, &self.host]).args(arguments).stdin(Stdio::null());
        let output = run.current_dir(&self.dir).env_remove("CHIRP_CLIENT_TICKETS").output();
        let output = output.expect("chirp; run scripts/install-deps");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    fn must(&self, method: &str, arguments: &[&str]) -> String {
        let (success, text) = self.chirp(method, arguments);
        assert!(success, "{arguments:?}: {text}");
        text
    }

    fn ticket(&self) -> PathBuf {
        let files = std::fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path());
        let mut tickets =
            files.filter(|path| path.to_str().is_some_and(|path| path.contains("/ticket.")));
        tickets.next().expect("the stock client made no ticket")
    }
}

#[test]
fn tickets_of_the_stock_client() {
    let server = Server::start(&[]);
    let mut owner = server.client();
    assert_eq!(owner.ask("mkdir /data 493"), 0);
    owner.put("/data/f", b"text of the owner");
    let user = Holder::new(&server);
    user.must("unix", &["ticket_create", "-d", "600", "/data", "rl"]);
    let file = user.ticket();
    let name = file.file_name().unwrap().to_str().unwrap();
    let key = PrivateKey::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(name, format!("ticket.{}", key.name()));
    assert!(user.must("unix", &["ticket_list", "self"]).contains(&key.name().to_string()));
    let told = user.must("unix", &["ticket_get", name]);
    assert!(told.contains("/data rl") && told.contains("unix:"), "{told}");
    // The holder, by the stock client's own exchange with openssl.
    assert!(user.must("ticket", &["whoami"]).contains("unix:"));
    assert!(user.must("ticket", &["cat", "/data/f"]).contains("text of the owner"));
    assert!(!user.chirp("ticket", &["rm", "/data/f"]).0);
    user.must("unix", &["ticket_modify", name, "/data", "rwld"]);
    user.must("ticket", &["rm", "/data/f"]);
    assert!(!server.root().join("data/f").exists());
    user.must("unix", &["ticket_delete", name]);
    assert!(!server.root().join(format!(".__ticket.{}", key.name())).exists());
}

/// A tree that both servers have served keeps its tickets, and what the library signs is what the
/// stock server verifies.
#[test]
fn a_ticket_is_good_at_the_stock_server_too() {
    let server = Server::start(&[]);
    let mut owner = server.client();
    let (key, other) = (make_key(), make_key());
    assert_eq!(register(&mut owner, &key, 3600), 0);
    assert_eq!(owner.ask(&format!("ticket_modify ticket:{} / rl", key.name())), 0);
    owner.put("/f", b"text");
    let stock = StockServer::start(&server.root(), &[]);
    let mut client = stock.connect();
    client.send("ticket\n");
    assert_eq!(client.line(), "yes");
    let unknown = try_key(&mut client, &other, &other);
    assert!(["declined", "failure"].contains(&&*unknown), "{unknown}");
    assert_eq!(try_key(&mut client, &key, &key), "success");
    for wanted in ["yes", "ticket", &key.name().to_string()] {
        assert_eq!(client.line(), wanted);
    }
    assert_eq!(client.data("getfile /f"), b"text");
    assert_eq!(client.ask("unlink /f"), -2);
    // And the other way round: a file that the stock server wrote.
    let new = make_key();
    let text = new.public_key().unwrap();
    let mut stock_owner = stock.connect();
    stock_owner.log_in_unix();
    let line = format!("ticket_register self 600 {}", text.len());
    assert_eq!(stock_owner.ask_with(&line, text.as_bytes()), 0);
    assert_eq!(stock_owner.ask(&format!("ticket_modify ticket:{} / rwl", new.name())), 0);
    let mut client = holder(&server, &new);
    client.put("/g", b"more");
    assert_eq!(client.ask("unlink /g"), -2);
}
