//! Tickets: a program that has nothing but a key reads and writes what the ticket allows.

use parrot_tests::dir::TempDir;
use parrot_tests::server::{Make, Server};
use parrot_tests::{Session, Technique, programs};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A server that lets in the account of the test, and a ticket of that account's.
struct Store {
    server: Server,
    dir: TempDir,
}

impl Store {
    fn new(make: Make) -> Self {
        let dir = TempDir::new();
        let export = dir.sub("export");
        std::fs::create_dir(export.join("data")).unwrap();
        std::fs::write(export.join("data/f"), "remote\n").unwrap();
        let server = Server::start(make, &export);
        for list in [export.join(".__acl"), export.join("data/.__acl")] {
            std::fs::write(list, "unix:* rwlda\n").unwrap();
        }
        Self { server, dir }
    }

    fn target(&self) -> String {
        format!("/chirp/127.0.0.1:{}", self.server.port())
    }

    /// Makes a ticket as a user would, with the stock client.
    fn ticket(&self, name: &str, rights: &str) -> PathBuf {
        let file = self.dir.path().join(name);
        let host = format!("127.0.0.1:{}", self.server.port());
        let mut run = Command::new(programs::tool("chirp"));
        run.args(["-t", "30", "-a", "unix", &host, "ticket_create", "-d", "3600", "-o"]);
        run.arg(&file).args(["/data", rights]).stdin(Stdio::null());
        let output = run.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        file
    }

    fn session(&self, technique: Technique, tickets: &str) -> Session {
        Session::new(technique)
            .env("PARROT_CHIRP_AUTH", "ticket")
            .env("CHIRP_CLIENT_TICKETS", tickets)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_ticket_opens_what_it_allows() {
    for make in [Make::Ours, Make::Debian] {
        let store = Store::new(make);
        let ticket = store.ticket("reader", "rl");
        let target = store.target();
        for technique in [Technique::Preload, Technique::Trace] {
            let session = store.session(technique, text(&ticket));
            let script =
                format!("cd {target}/data && cat f; echo x > n || echo no; cat {target}/g");
            let run = session.bash(&script);
            assert_eq!(run.out(), "remote\nno\n", "{make:?} {technique:?}: {}", run.describe());
            assert!(run.err().contains("Permission denied"), "{}", run.describe());
            session.finish();
        }
    }
}

/// Several tickets are tried in turn; what is no ticket, or unknown there, does no harm.
#[test]
fn the_first_ticket_that_the_server_knows_counts() {
    for make in [Make::Ours, Make::Debian] {
        let store = Store::new(make);
        let (gone, good) = (store.ticket("gone", "rl"), store.ticket("good", "rwl"));
        let host = format!("127.0.0.1:{}", store.server.port());
        // The client removes the file as well.
        let kept = std::fs::read(&gone).unwrap();
        let mut run = Command::new(programs::tool("chirp"));
        run.args(["-a", "unix", &host, "ticket_delete", text(&gone)]).stdin(Stdio::null());
        assert!(run.output().unwrap().status.success());
        std::fs::write(&gone, kept).unwrap();
        let list = format!("/none/such,/etc/passwd,{},{}", text(&gone), text(&good));
        let session = store.session(Technique::Preload, &list);
        let target = store.target();
        let run = session.bash(&format!("echo more > {target}/data/{make:?}; ls {target}/data"));
        assert!(run.out().contains(&format!("{make:?}")), "{}", run.describe());
        session.finish();
    }
}

/// Programs with other tickets have another agent: nobody reads with another's rights.
#[test]
fn other_tickets_are_another_session() {
    let store = Store::new(Make::Ours);
    let (reader, writer) = (store.ticket("reader", "rl"), store.ticket("writer", "rwl"));
    let session = store.session(Technique::Preload, text(&writer));
    let target = store.target();
    let script = format!(
        "echo one > {target}/data/n; cat {target}/data/n
         export CHIRP_CLIENT_TICKETS={}
         bash -c 'cat {target}/data/n; echo two > {target}/data/n' || echo no; cat {target}/data/n",
        text(&reader)
    );
    let run = session.bash(&script);
    assert_eq!(run.out(), "one\none\nno\none\n", "{}", run.describe());
    session.finish();
}

/// Without `CHIRP_CLIENT_TICKETS` the files `ticket.*` where the user is are tried, as the stock
/// client does; without any the message says what is missing.
#[test]
fn tickets_lie_where_the_user_is() {
    let store = Store::new(Make::Ours);
    let ticket = store.ticket("ticket.0123456789abcdef0123456789abcdef", "rl");
    let target = store.target();
    for technique in [Technique::Preload, Technique::Trace] {
        for (place, wanted) in [(ticket.parent().unwrap(), "remote\n"), (Path::new("/usr"), "")] {
            let session = Session::new(technique).env("PARROT_CHIRP_AUTH", "ticket");
            let mut command = session.command(&["cat", &format!("{target}/data/f")]);
            command.current_dir(place).env("PWD", place);
            let run = session.run_command(&mut command);
            assert_eq!(run.out(), wanted, "{technique:?} {place:?}: {}", run.describe());
            session.finish();
        }
    }
}
