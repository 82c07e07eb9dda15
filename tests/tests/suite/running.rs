//! Programs, scripts, interpreters and libraries that lie on the remote side.

use parrot_tests::compile::{Link, guest};
use parrot_tests::{Guest, PlaceKind, Session, Technique, case};

const TOOLS: &str = r#"
mkdir -p $R/bin
cp /bin/cat /usr/bin/expr /bin/sh $R/bin/
cp "$(PATH=/usr/bin:/bin command -v busybox)" $R/bin/busybox
printf '#!/bin/sh\necho "script: $0 $*" | sed "s,$R,ROOT,; s,$M,ROOT,"\ncat $R/text\nexit 3\n' > $R/bin/script
printf '#!/usr/bin/env python3\nimport sys\nprint("python", sys.argv[1:])\n' > $R/bin/pyscript
printf 'echo no interpreter line "$1"\n' > $R/bin/plain
printf '#!/nowhere/interpreter\n' > $R/bin/badinterp
printf '#!/bin/sed -nf\np\n' > $R/bin/sedscript
printf 'not executable\n' > $R/bin/noexec
printf 'a text\n' > $R/text
ln -s bin/cat $R/catlink
chmod 755 $R/bin/*; chmod 644 $R/bin/noexec
"#;

case!(programs_from_remote, |g| {
    g.setup(TOOLS);
    g.steps(
        r#"$R/bin/cat $R/text
$R/bin/expr 20 + 22
$R/bin/sh -c 'echo sh; exit 4'
$R/bin/busybox echo static
$R/bin/busybox cat $R/text
$R/bin/script a b
$R/bin/pyscript x y
$R/bin/plain arg
$R/bin/sedscript $R/text
$R/bin/noexec
$R/bin/missing
$R/bin
$R/text/x
$R/catlink $R/text
cd $R && bin/cat text && ./bin/script rel; ./catlink text
cd $R/bin && PATH=.:$PATH script dot
PATH=$M/bin:$PATH script onpath
PATH=$M/bin:$PATH sh -c 'expr 1 + 1; command -v expr | sed "s,$M,ROOT,"'
env $R/bin/expr 3 + 4
echo $R/bin/expr 5 + 6 | sh
find $R/bin -name expr -exec {} 7 + 8 \;
echo 9 | xargs $R/bin/expr 1 +
cp $R/bin/expr $R/bin/copied && $R/bin/copied 1 + 2 && rm $R/bin/copied
cat $R/bin/expr > $R/bin/made; chmod 755 $R/bin/made; $R/bin/made 2 + 2; rm $R/bin/made
/usr/bin/python3 -c 'import subprocess, os; print(subprocess.check_output([os.environ["R"] + "/bin/expr", "1", "+", "9"]))'
perl -e 'system("$ENV{R}/bin/expr", 2, "+", 9); exec "$ENV{R}/bin/cat", "$ENV{R}/text"'
bash -c 'exec $R/bin/cat $R/text'
timeout 5 $R/bin/script timed
(exec -a othername $R/bin/sh -c 'echo $0')
for i in 1 2 3 4 5; do $R/bin/expr $i + $i & done | sort -n; wait
"#,
    );
});

// A #! line whose interpreter is remote too.
case!(remote_interpreter, |g| {
    g.setup(TOOLS);
    g.steps(
        r#"printf '#!%s/bin/sh\necho "by a remote shell: $1"; cat %s/text\n' $R $R > $L/s; chmod 755 $L/s; $L/s one
printf '#!%s/bin/sh\necho "all remote: $1"\n' $R > $R/s; chmod 755 $R/s; $R/s two; rm $R/s
printf '#!%s/bin/busybox sh\necho "static interpreter: $1"; cat %s/text\n' $R $R > $R/s; chmod 755 $R/s; $R/s three; rm $R/s
printf '#!%s/bin/script\n' $R > $R/s; chmod 755 $R/s; $R/s nested | sed "s,$R,ROOT,g"; rm $R/s
$R/bin/badinterp
"#,
    );
});

case!(shared_libraries, |g| {
    g.setup(
        r#"cat > $L/lib.c <<'EOT'
int answer(void) { return 42; }
EOT
cat > $L/use.c <<'EOT'
#include <dlfcn.h>
#include <stdio.h>
int main(int c, char **v) { void *l = dlopen(v[1], RTLD_NOW); if (!l) { puts("dlopen failed"); return c; } int (*f)(void) = (int (*)(void))dlsym(l, "answer"); printf("%d\n", f()); return 0; }
EOT
mkdir $R/lib && gcc -shared -fPIC -o $R/lib/libanswer.so $L/lib.c && gcc -o $R/use $L/use.c -ldl && rm $L/lib.c $L/use.c"#,
    );
    g.steps(
        r#"$R/use $R/lib/libanswer.so
cd $R && ./use lib/libanswer.so; ./use ./lib/libanswer.so
$R/use $R/lib/missing.so
"#,
    );
});

/// `LD_LIBRARY_PATH` into a remote place. The loader's own opens are seen by the tracer only.
fn library_path(kind: PlaceKind) {
    let g = Guest::new(Technique::Trace, kind);
    g.setup(
        r#"echo 'int answer(void) { return 42; }' > $L/lib.c
echo 'int answer(void); int main(void) { return answer(); }' > $L/use.c
gcc -shared -fPIC -o $R/libanswer.so $L/lib.c && gcc -o $R/use $L/use.c -L$R -lanswer"#,
    );
    g.steps("LD_LIBRARY_PATH=$M $R/use\ncd $R && LD_LIBRARY_PATH=. ./use\n");
    g.finish();
}

#[test]
fn library_path_ours() {
    library_path(PlaceKind::Ours);
}

#[test]
fn library_path_mapped() {
    library_path(PlaceKind::Mapped);
}

case!(fixed_programs, fixed, |g| {
    g.setup(TOOLS);
    g.steps(
        r#"$R/bin/busybox echo static
$R/bin/busybox cat $R/text
$R/bin/script a b
$R/bin/cat $R/text
cd $R && bin/busybox cat text && ./bin/script rel
PATH=$M/bin:$PATH script onpath
$R/bin/missing
"#,
    );
});

/// `-M /=/chirp/HOST/`: the loader and every library come from the server.
fn all_remote(kind: PlaceKind) {
    let guest_of = Guest::new(Technique::Native, kind);
    guest_of.setup(
        r#"E=$R/..
mkdir -p $E/bin $E/usr/bin $E/tmp
for p in /bin/ls /bin/cat /bin/bash /usr/bin/sort; do
  cp $p $E/bin/
  ldd $p | grep -o '/[^ ]*' | while read -r l; do mkdir -p "$E$(dirname $l)"; cp -Ln "$l" "$E$l"; done
done
cp "$(PATH=/usr/bin:/bin command -v busybox)" $E/bin/busybox
echo 'remote etc' > $E/etc-file
printf '#!/bin/bash\necho "script in a remote root: $1"; cat /etc-file; ls /\n' > $E/bin/script
chmod 755 $E/bin/*"#,
    );
    if let Some(server) = &guest_of.place.server {
        parrot_tests::server::seal(server.export());
    }
    let target = guest_of.root().strip_suffix("/w").unwrap().to_owned();
    let session = Session::new(Technique::Trace).mount(&format!("/={target}/"));
    let script = "ls /; cat /etc-file; sort /etc-file | cat; ls /etc 2>&1; script hi; \
                  busybox cat /etc-file; cd /bin; pwd; ls; cd /; pwd; ls; echo new > /tmp/new; cat < /tmp/new";
    let mut command = session.command(&["/bin/bash", "-c", script]);
    command.env("PATH", "/bin").env("TMPDIR", "/tmp").current_dir("/");
    let run = session.run_command(&mut command).code(0);
    let root = "bin\netc-file\nlib\nlib64\ntmp\nusr\nw\n";
    let bin = "bash\nbusybox\ncat\nls\nscript\nsort\n";
    let expected = format!(
        "{root}remote etc\nremote etc\nls: cannot access '/etc': No such file or directory\n\
         script in a remote root: hi\nremote etc\n{root}remote etc\n/bin\n{bin}/\n{root}new\n"
    );
    assert!(run.out() == expected, "expected {expected}: {}", run.describe());
    session.finish();
    assert_eq!(
        std::fs::read_to_string(guest_of.place.backing().join("../tmp/new")).unwrap(),
        "new\n"
    );
}

#[test]
fn all_remote_ours() {
    all_remote(PlaceKind::Ours);
}

#[test]
fn all_remote_debian() {
    all_remote(PlaceKind::Debian);
}

#[test]
fn all_remote_mapped() {
    all_remote(PlaceKind::Plain);
}

/// A preloaded shell that starts a static program: the library cannot follow, the tracer does.
fn static_child_of_preloaded(kind: PlaceKind) {
    let marks = guest("marks", Link::Musl);
    let mut g = Guest::new(Technique::Preload, kind);
    g.setup(TOOLS);
    g.set_deadline(30);
    let marks = marks.display();
    g.steps(&format!(
        r#"busybox cat $R/text
busybox ls $R
busybox sh -c 'cd $R && busybox cat text; echo from static > made'; cat $R/made
cd $R && busybox cat text && busybox pwd
{marks} pread $R/text $L/s 0 2
busybox cat $R/missing
busybox sh -c 'exit 7'
busybox sh -c 'kill -TERM $$'
cat $R/text | busybox cat
busybox cat < $R/text
busybox cat $R/text | busybox wc -c
x=$(busybox cat $R/text); echo "$x"
busybox sh -c 'cat $R/text'
find $R/text -exec busybox cat {{}} \;
"#
    ));
    g.finish();
}

#[test]
fn static_child_of_preloaded_ours() {
    static_child_of_preloaded(PlaceKind::Ours);
}

#[test]
fn static_child_of_preloaded_debian() {
    static_child_of_preloaded(PlaceKind::Debian);
}

#[test]
fn static_child_of_preloaded_mapped() {
    static_child_of_preloaded(PlaceKind::Mapped);
}

/// A program that cleans its environment does not lose Parrot.
#[test]
fn environment_is_kept() {
    let g = Guest::new(Technique::Preload, PlaceKind::Ours);
    g.setup(TOOLS);
    let python =
        "import os; os.execve('/bin/cat', ['cat', os.environ['R'] + '/text'], {'ONLY': 'this'})";
    g.says(&format!("/usr/bin/python3 -c \"{python}\""), "a text\n");
    g.says("env -i /bin/cat $R/text", "a text\n");
    g.says("env -i A=b /usr/bin/env | grep -v -e ^LD_PRELOAD -e ^PARROT_", "A=b\n");
    g.finish();
}
