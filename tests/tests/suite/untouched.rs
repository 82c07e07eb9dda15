//! Local work under Parrot: the same results, and no extra system call on the preload path.

use parrot_tests::compile::{Link, guest};
use parrot_tests::{Guest, PlaceKind, Technique, case, programs};

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
fn calls_between_marks(g: &Guest, rounds: u32) -> std::collections::BTreeMap<String, u32> {
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
    let mut counts = std::collections::BTreeMap::new();
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

/// Names cost nothing extra either, once the program runs; the start of a program a bounded few.
#[test]
fn few_system_calls_at_start() {
    let count = |technique| {
        let g = Guest::new(technique, PlaceKind::Plain);
        let log = g.session.local().join("strace");
        let mut command = g.session.clean(&programs::tool("strace"));
        command.arg("-o").arg(&log);
        if technique == Technique::Preload {
            let library = programs::program("libparrot.so");
            command.arg("-E").arg(format!("LD_PRELOAD={}", library.display()));
        }
        command.args(["cat", "/etc/passwd"]);
        let _ = g.session.run_command(&mut command).code(0);
        std::fs::read_to_string(&log).unwrap().lines().count()
    };
    let (native, preload) = (count(Technique::Native), count(Technique::Preload));
    // The loader's own work on one more library is about ten calls.
    assert!(preload <= native + 25, "native {native}, preload {preload}");
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
