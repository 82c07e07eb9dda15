//! 64 threads and 64 processes at once, on one file and on many: nothing lost, doubled or mixed.

use parrot_tests::compile::{Link, guest};
use parrot_tests::{Guest, case};

const RECORDS: &str = "seq -f %015.0f 0 19999 > $R/records; mkdir $R/many";

fn crowd(g: &mut Guest, link: Link, mode: &str) {
    g.setup(RECORDS);
    g.set_deadline(110);
    let program = guest("crowd", link).display().to_string();
    let mut script = String::new();
    for (work, file) in [
        ("readers", "records"),
        ("preaders", "records"),
        ("records", "records"),
        ("mix", "records"),
        ("regions", "regions"),
        ("append", "appended"),
        ("files", "many"),
    ] {
        script.push_str(&format!("s '{program} {mode} 64 {work} $R/{file}'\n"));
    }
    // Who appended first is chance; that each record is there once, the program has checked.
    script
        .push_str("s 'sort $R/appended -o $R/appended; wc -l < $R/appended; ls $R/many | wc -l'\n");
    g.same(&script);
}

case!(threads, servers, |g| crowd(g, Link::Dynamic, "-t"));
case!(processes, servers, |g| crowd(g, Link::Dynamic, "-p"));
case!(threads_fixed, fixed, |g| crowd(g, Link::Static, "-t"));
case!(processes_fixed, fixed, |g| crowd(g, Link::Musl, "-p"));

case!(programs, servers, |g| {
    g.setup(RECORDS);
    g.set_deadline(110);
    g.steps(
        r#"for i in $(seq 64); do md5sum < $R/records & done | sort | uniq -c; wait
for i in $(seq 64); do cp $R/records $R/many/c$i & done; wait; cat $R/many/c* | wc -c; ls $R/many | wc -l
for i in $(seq 64); do cmp $R/many/c$i $R/records & done; wait
for i in $(seq 64); do echo "line $i" >> $R/log & done; wait; sort $R/log | md5sum; sort -o $R/log $R/log
for i in $(seq 64); do (mkdir $R/many/d$i && echo $i > $R/many/d$i/f && mv $R/many/d$i $R/many/e$i && rm -r $R/many/e$i) & done; wait; ls $R/many | grep -c e
rm -r $R/many && ls $R
"#,
    );
});
