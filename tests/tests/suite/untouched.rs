//! Local work under Parrot: the same results, and no extra system call on the preload path.

use parrot_tests::compile::{Link, guest};
use parrot_tests::{Guest, PlaceKind, Technique, case, programs};
use std::collections::BTreeMap;

use crate::reading::TREE;

/// The tools of the other suites on local names, with remote names used in between or not.
fn local_tools(technique: Technique, kind: PlaceKind) {
    let g = Guest::new(technique, kind);
    g.setup("mkdir -p $L/t; cd $L/t; R=$L/t");
    g.setup(&TREE.replace("$R", "$L/t"));
    g.steps(
        r#"cat $L/t/hello $L/t/missing; cat < $L/t/big | md5sum
cd $L/t && ls -l --time-style=+%s hello link && find . | sort && grep -r needle . | sort
cp -r $L/t/d $L/t/d2 && mv $L/t/d2 $L/t/d3 && rm -r $L/t/d3 && ls $L/t
sed -i 's/o/0/' $L/t/hello && cat $L/t/hello && echo x >> $L/t/hello && tail -1 $L/t/hello
tar cf - -C $L/t d | tar tf - | sort; stat -c '%s %a %h' $L/t/numbers
/usr/bin/python3 -c 'import os; os.chdir(os.environ["L"]); print(sorted(os.listdir("t"))[:3], os.stat("t/big").st_size)'
cd $L && git init -q g && cd g && echo a > a && git add a && git commit -q -m a && git log --format=%H
printf 'int main(void) { return 42; }\n' > $L/m.c && gcc -o $L/m $L/m.c && $L/m
cat /proc/self/comm; ls -d / /tmp /usr/../usr; readlink /proc/self/fd/0; cat /etc/hostname > /dev/null
echo $(( $(ls /usr/bin | wc -l) > 100 )); ls /nosuchthing; cd /; pwd; [ -d /proc/self ] && echo proc
sleep 0.01 & wait $!; echo $?; kill -0 $$; (exit 9); sh -c 'sh -c "kill -KILL \$\$"; exit $?' 2>/dev/null; echo $?
"#,
    );
    g.finish();
}

#[test]
fn local_tools_preload() {
    local_tools(Technique::Preload, PlaceKind::Plain);
}

#[test]
fn local_tools_trace() {
    local_tools(Technique::Trace, PlaceKind::Plain);
}

/// With a mountlist that covers other names.
#[test]
fn local_tools_preload_mapped() {
    local_tools(Technique::Preload, PlaceKind::Mapped);
}

#[test]
fn local_tools_trace_mapped() {
    local_tools(Technique::Trace, PlaceKind::Mapped);
}

/// The system calls that strace sees between the two marks of `guests/local.c`, counted by name.
fn calls_between_marks(g: &Guest, rounds: u32) -> BTreeMap<String, u32> {
    let program = guest("local", Link::Dynamic);
    let log = g.session.local().join("strace");
    let strace = programs::tool("strace");
    let mut command = g.session.clean(&strace);
    command.arg("-o").arg(&log);
    if g.session.technique() == Technique::Preload {
        let library = programs::program("libparrot.so");
        command.arg("-E").arg(format!("LD_PRELOAD={}", library.display()));
    }
    command.arg(program).arg(g.session.local().join("file")).arg(rounds.to_string());
    let _ = g.session.run_command(&mut command).code(0);
    let text = std::fs::read_to_string(&log).unwrap();
    let inside = text.split("\"BEGIN\"").nth(1).unwrap().split("\"END\"").next().unwrap();
    let mut counts = BTreeMap::new();
    // The first line is the rest of the first mark, the last the start of the second.
    for line in inside.lines().skip(1).filter(|line| !line.starts_with("write(-1")) {
        *counts.entry(line.split('(').next().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

/// Reads, writes, seeks and `fstat`s on a local descriptor cost not one system call more.
#[test]
fn no_extra_system_call() {
    let native = Guest::new(Technique::Native, PlaceKind::Plain);
    let preload = Guest::new(Technique::Preload, PlaceKind::Plain);
    let expected = calls_between_marks(&native, 50);
    assert_eq!(expected.get("read"), Some(&50), "{expected:?}");
    assert_eq!(expected.values().sum::<u32>(), 350, "{expected:?}");
    assert_eq!(calls_between_marks(&preload, 50), expected);
}

/// How often each system call is made by a command and what it starts.
fn calls_of(technique: Technique, command: &[&str]) -> BTreeMap<String, i32> {
    let g = Guest::new(technique, PlaceKind::Plain);
    let log = g.session.local().join("strace");
    let mut strace = g.session.clean(&programs::tool("strace"));
    strace.arg("-f").arg("-o").arg(&log);
    if technique == Technique::Preload {
        let library = programs::program("libparrot.so");
        strace.arg("-E").arg(format!("LD_PRELOAD={}", library.display()));
    }
    let _ = g.session.run_command(strace.args(command)).code(0);
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        // The number of the process, then the call; not its end if that is a line of its own.
        let call = line.split_whitespace().nth(1).unwrap_or_default();
        if let Some((name, _)) = call.split_once('(') {
            *counts.entry(name.to_owned()).or_default() += 1;
        }
    }
    counts
}

/// What a command does more often when it is preloaded.
fn added(command: &[&str]) -> BTreeMap<String, i32> {
    let mut calls = calls_of(Technique::Preload, command);
    for (name, count) in calls_of(Technique::Native, command) {
        *calls.entry(name).or_default() -= count;
    }
    calls.retain(|_, count| *count != 0);
    calls
}

/// The start of a program: the loader maps the library, and the standard descriptors are looked at (at
/// the end again, if they were closed). A local file that is read adds nothing.
#[test]
fn few_system_calls_at_start() {
    let loader = ["openat", "read", "newfstatat", "fstat", "mmap", "close"];
    for command in [["true", ""], ["cat", "/etc/passwd"]] {
        let added = added(&command[..if command[1].is_empty() { 1 } else { 2 }]);
        assert!(added.keys().all(|name| loader.contains(&name.as_str())), "{command:?}: {added:?}");
        // Two mappings; glibc takes another page for itself when it has many libraries.
        assert!(added.values().sum::<i32>() <= 12, "{command:?}: {added:?}");
    }
}

/// vfork(2) is the kernel's. A program is looked at by four calls before it runs; two more are for its
/// environment, which is empty here.
#[test]
fn few_system_calls_for_a_child() {
    let program = guest("borrow", Link::Dynamic).display().to_string();
    let command = [program.as_str(), "often", "/bin/true"];
    let calls = calls_of(Technique::Preload, &command);
    assert_eq!((calls.get("vfork"), calls.get("clone")), (Some(&60), None), "{calls:?}");
    let start: i32 = added(&["true"]).values().sum();
    let added: i32 = added(&command).values().sum();
    // The program itself starts too, and opens a file of /proc.
    assert!(added <= 61 * start + 60 * 6 + 40, "{added}, {start} at a start");
}

/// A compilation asks for many names that are not there.
#[test]
fn few_system_calls_for_missing_names() {
    let g = Guest::new(Technique::Native, PlaceKind::Plain);
    let source = g.session.local().join("a.c");
    std::fs::write(&source, "#include <string.h>\nsize_t f(void) { return strlen(\"f\"); }\n")
        .unwrap();
    let command = ["gcc", "-fsyntax-only", source.to_str().unwrap()];
    let native: i32 = calls_of(Technique::Native, &command).values().sum();
    let preload: i32 = calls_of(Technique::Preload, &command).values().sum();
    assert!(preload * 10 < native * 14, "native {native}, preload {preload}");
}

/// No remote name used: no agent started, nothing written.
#[test]
fn no_agent_without_need() {
    let g = Guest::new(Technique::Preload, PlaceKind::Plain);
    g.says("ls / > /dev/null; cat /etc/passwd > /dev/null; echo done", "done\n");
    assert!(g.session.processes().is_empty(), "{:?}", g.session.processes());
    let made = std::fs::read_dir(g.session.directory()).unwrap().count();
    assert_eq!(made, 0, "files in the session directory");
    g.finish();
}

case!(standard_streams, |g| {
    g.steps(
        r#"echo out; echo err >&2
cat < /dev/null; echo in | cat; : | wc -c
printf 'a\nb\n' | while read -r x; do echo "<$x>"; done
exec 9> $L/nine; echo nine >&9; exec 9>&-; cat $L/nine
ls -l /proc/self/fd | wc -l
"#,
    );
});
