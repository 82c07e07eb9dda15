//! libc's own entries: every function that opens, stats or lists, called by small C programs
//! (`guests/*.c`) natively and under Parrot. What a preloaded program cannot do is a row of the table
//! "What preload cannot see" in `docs/techniques.md`.

use parrot_tests::compile::{Link, guest};
use parrot_tests::server::{Make, Server};
use parrot_tests::{Guest, Session, Technique, case, dir::TempDir};

use crate::reading::TREE;

/// Runs a guest on the place, after the usual tree was put there. A second argument asks for what a
/// preloaded program is known not to see.
fn same(g: &Guest, name: &str) {
    g.setup(TREE);
    let unseen = if g.session.technique() == Technique::Preload { "" } else { "all" };
    g.same(&format!("{} $R {unseen} 2>&1", guest(name, Link::Dynamic).display()));
}

case!(walks, |g| same(g, "walks"));
case!(streams, |g| same(g, "streams"));
case!(names, |g| {
    g.setup(TREE);
    // A stock server's times have whole seconds.
    let env = if g.is_debian() { "WHOLE_SECONDS=1" } else { "" };
    g.same(&format!("{env} {} $R 2>&1", guest("names", Link::Dynamic).display()));
});
case!(data, |g| same(g, "data"));

/// Two libraries, of which one needs the other; a message catalog; a time zone.
const LIBRARIES: &str = r#"
mkdir $R/lib; cd $R/lib
echo 'int answer(void) { return 42; }' > alone.c
echo 'int needed(void) { return 6; }' > other.c
echo 'int needed(void); int answer(void) { return 7 * needed(); }' > needs.c
gcc -shared -fPIC -o libalone.so alone.c; gcc -shared -fPIC -Wl,-soname,libother.so -o libother.so other.c
gcc -shared -fPIC -Wl,-rpath,\$ORIGIN -o libneeds.so needs.c -L. -lother
printf '$set 1\n1 from a catalog\n' > cat.msg; gencat $R/catalog cat.msg
printf 'Zone here 3:30 - HER\n' > zone.src; /usr/sbin/zic -d zone.dir zone.src; mv zone.dir/here $R/zone
rm -rf zone.* *.c cat.msg
ln -s $R/lib $L/link
"#;

case!(system, |g| {
    g.setup(TREE);
    g.setup(LIBRARIES);
    let unseen = if g.session.technique() == Technique::Preload { "" } else { "all" };
    // Where the place has another name, so has what the link leads to.
    g.same(&format!(
        "rm $L/link; ln -s $R/lib $L/link; {} $R $L/link {unseen} 2>&1",
        guest("system", Link::Dynamic).display()
    ));
});

/// Users and groups are those of the files that the mountlist names.
#[test]
fn mapped_accounts() {
    let dir = TempDir::new();
    let export = dir.sub("export");
    let users =
        "root:x:0:0:root:/root:/bin/sh\nparroted:x:4242:4343:A Parrot,,,:/cage:/bin/squawk\n";
    std::fs::write(export.join("passwd"), users).unwrap();
    std::fs::write(export.join("group"), "root:x:0:\nparrots:x:4343:one,two\n").unwrap();
    let server = Server::start(Make::Ours, &export);
    let targets = [format!("/chirp/127.0.0.1:{}", server.port()), export.display().to_string()];
    let program = guest("system", Link::Dynamic).display().to_string();
    for technique in [Technique::Preload, Technique::Trace] {
        for target in &targets {
            let session = Session::new(technique)
                .mount(&format!("/etc/passwd={target}/passwd"))
                .mount(&format!("/etc/group={target}/group"));
            let run = session.run(&[program.as_str(), "accounts"]).code(0);
            let expected = "== accounts\ngetpwnam parroted 4242 /cage /bin/squawk\ngetpwuid parroted\n\
                getpwnam of nobody there: 1\ngetpwnam_r 0 A Parrot,,,\ngetpwnam_r without room 1 1\n\
                getgrnam parrots 4343 one two\ngetgrgid parrots\ngetpwent 1\ngetgrent 1\n";
            assert_eq!(run.out(), expected, "{technique:?} {target}: {}", run.describe());
            let run =
                session.bash("getent passwd 4242; id -un 4242; ls -ld ~parroted 2>&1").code(2);
            assert!(run.out().starts_with("parroted:x:4242"), "{technique:?}: {}", run.describe());
            assert!(
                run.out().contains("\nparroted\nls: cannot access '/cage'"),
                "{}",
                run.describe()
            );
            session.finish();
        }
    }
}
