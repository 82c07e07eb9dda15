//! Whole tools at work in a directory on our server: environments and packages of python, version
//! control, builds, copies through pipes and sockets, editors. Short here; the long forms run with
//! `scripts/test --full`.

use parrot_tests::{Guest, case};

/// A wheel, made by hand: a package, a command, data.
const WHEEL: &str = r#"
cat > $L/wheel.py <<'EOS'
import base64, hashlib, os, zipfile
files = {
    "demo/__init__.py": "from importlib.resources import files\ndef main():\n    print('demo', files(__package__).joinpath('data.txt').read_text().strip())\n",
    "demo/data.txt": "has data\n",
    "demo-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
    "demo-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "demo-1.0.dist-info/entry_points.txt": "[console_scripts]\ndemo = demo:main\n",
}
record = ""
for name, text in files.items():
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    record += f"{name},sha256={digest},{len(text)}\n"
files["demo-1.0.dist-info/RECORD"] = record + "demo-1.0.dist-info/RECORD,,\n"
with zipfile.ZipFile(os.environ["L"] + "/demo-1.0-py3-none-any.whl", "w") as wheel:
    for name, text in files.items(): wheel.writestr(name, text)
EOS
/usr/bin/python3 $L/wheel.py
"#;

// The place's name without a colon: python and java separate lists by it.
case!(venv, one, |g| {
    g.set_deadline(110);
    g.setup(WHEEL);
    g.steps(
        r#"/usr/bin/python3 -m venv --without-pip $M/v && ls $M/v && readlink $M/v/bin/python3
$M/v/bin/python -c 'import os, sys; print(sys.prefix == os.environ["M"] + "/v", sys.prefix != sys.base_prefix)'
/usr/bin/python3 -m pip --python $M/v/bin/python install -q --no-index --no-deps --no-compile --disable-pip-version-check $L/demo-1.0-py3-none-any.whl 2>&1 | grep -v root
head -n 1 $M/v/bin/demo | sed "s,$M,M,"; $M/v/bin/python $M/v/bin/demo
cd $M && v/bin/python -m pip --version 2>&1 | sed 's/.*: //'; find v -name '*.pth' -o -name RECORD | sort
/usr/bin/python3 -m pip --python $M/v/bin/python uninstall -q -y --disable-pip-version-check demo 2>&1 | grep -v root; ls $M/v/lib/python3*/site-packages
rm -r $M/v
"#,
    );
});

case!(venv_with_pip, full, |g| {
    g.set_deadline(600);
    g.setup(WHEEL);
    g.steps(
        r#"/usr/bin/python3 -m venv $M/v && ls $M/v/bin
$M/v/bin/python -m pip install -q --no-index --disable-pip-version-check $L/demo-1.0-py3-none-any.whl 2>&1 | grep -v root
$M/v/bin/python $M/v/bin/demo; $M/v/bin/python -m pip list --disable-pip-version-check 2>/dev/null | grep -c demo
rm -r $M/v
"#,
    );
});

/// git on a tree of so many files.
fn git(g: &mut Guest, files: u32) {
    g.set_deadline(600);
    g.setup(&format!(
        "mkdir $R/repo && cd $R/repo && for d in $(seq 1 10); do mkdir d$d; for f in $(seq 1 {}); do echo \"file $d $f\" > d$d/f$f; done; done",
        files / 10
    ));
    g.steps(
        r#"cd $R/repo && git init -q -b main && git config core.fsync none && git add . && git commit -q -m all && git ls-files | wc -l && git status --short
cd $R/repo && for i in 1 2 3 4 5; do echo changed >> d$i/f$i; done; rm d6/f6; echo new > d7/new; git status --short; git diff --stat | tail -1
cd $R/repo && git add -A && git commit -q -m changes && git log --format=%H && git checkout -q HEAD~1 && cat d1/f1 && git checkout -q main && cat d1/f1
cd $R/repo && git mv d8 moved && git commit -q -m moved && git diff --stat -M HEAD~1 | tail -1 && git checkout -q -b other HEAD~2 && ls && git checkout -q main && ls
cd $R/repo && git gc -q && git fsck && git count-objects -v | grep -E 'count|packs'
git clone -q $R/repo $L/clone && diff -r -x .git $R/repo $L/clone && git clone -q --no-local $L/clone $R/second && diff -r -x .git $L/clone $R/second
rm -rf $R/repo/.git $R/second
"#,
    );
}

case!(git_tree, one, |g| git(g, 150));
case!(git_large_tree, full, |g| git(g, 2000));

case!(make_parallel, one, |g| {
    g.set_deadline(110);
    g.setup(
        r#"mkdir $R/p && cd $R/p
for i in $(seq 1 12); do printf 'int f%d(int x) { return x + %d; }\n' $i $i > f$i.c; done
{ for i in $(seq 1 12); do echo "int f$i(int);"; done; echo '#include <stdio.h>'; echo 'int main(void) { int x = 0;'; for i in $(seq 1 12); do echo "x = f$i(x);"; done; echo 'printf("%d\n", x); return 0; }'; } > main.c
printf 'prog: $(patsubst %%.c,%%.o,$(wildcard *.c))\n\tgcc -o $@ $^\n%%.o: %%.c\n\tgcc -c -o $@ $<\n' > Makefile
touch -d '2020-01-01' *"#,
    );
    g.steps(
        r#"cd $R/p && make -s -j4 && ./prog && make -q; echo $?
cd $R/p && touch -d '+10 seconds' f3.c && make -n | grep -c gcc; rm prog *.o; ls | wc -l
"#,
    );
});

// Where there is no Java, nothing is compared.
case!(java, one, |g| {
    g.set_deadline(170);
    g.setup(
        r#"mkdir -p $R/j/demo && cat > $R/j/demo/Main.java <<'EOT'
package demo;
import java.io.*;
import java.nio.file.*;
import java.util.stream.*;
public class Main {
    public static void main(String[] args) throws Exception {
        Path dir = Paths.get(args[0]);
        Files.write(dir.resolve("made"), "one\ntwo\n".getBytes());
        System.out.println(Files.readAllLines(dir.resolve("made")));
        try (Stream<Path> all = Files.walk(dir)) { System.out.println(all.filter(Files::isRegularFile).count()); }
        try (RandomAccessFile file = new RandomAccessFile(dir.resolve("made").toFile(), "rw")) {
            file.seek(4); file.writeBytes("TWO"); System.out.println(file.length());
        }
        Files.move(dir.resolve("made"), dir.resolve("moved"), StandardCopyOption.ATOMIC_MOVE);
        System.out.println(new String(Files.readAllBytes(dir.resolve("moved"))).trim());
        try (InputStream in = Main.class.getResourceAsStream("/note")) { System.out.println(in == null ? "none" : new String(in.readAllBytes()).trim()); }
        Files.delete(dir.resolve("moved"));
    }
}
EOT
echo noted > $R/j/note"#,
    );
    g.steps(
        r#"command -v javac > /dev/null || exit 0; cd $R/j && javac -J-Xshare:auto demo/Main.java && java -cp $M/j demo.Main $R/j
command -v jar > /dev/null || exit 0; cd $R/j && jar cfe demo.jar demo.Main demo/Main.class note && java -jar demo.jar $R/j && rm demo.jar demo/*.class
"#,
    );
});

case!(rsync, one, |g| {
    g.setup(
        r#"mkdir -p $R/from/a/b "$R/from/with blank" && cd $R/from && for i in $(seq 1 40); do echo $i > a/f$i; done
seq 1 60000 > big; ln -s big link; ln a/f1 a/hard; chmod 700 a/b; chmod 640 a/f2; echo x > "with blank/x y"
find . -depth -exec touch -h -d '2020-01-02 03:04:05' {} +"#,
    );
    g.steps(
        r#"rsync -a $R/from/ $L/to/ && diff -r $R/from $L/to && stat -c '%a %Y' $L/to/a/f2 $L/to/a/b $L/to/big && readlink $L/to/link
rsync -ai $R/from/ $L/to/
rsync -a $L/to/ $R/back/ && diff -r $L/to $R/back && stat -c '%a %Y' $R/back/a/f2 $R/back/a/b $R/back/big && rsync -ai $L/to/ $R/back/
echo more >> $L/to/a/f3; rm $L/to/a/f4; rsync -ai --delete $L/to/ $R/back/ && cat $R/back/a/f3
rsync -ac --inplace $L/to/big $R/back/big && rsync -a --append-verify $L/to/big $R/back/big && cmp $L/to/big $R/back/big
rsync -a --partial --checksum $R/back/ $R/third/ && diff -r $R/back $R/third && rm -r $R/third $R/back
"#,
    );
});

case!(editor, one, |g| {
    g.setup(
        "printf 'first\\nsecond\\nthird\\n' > $R/text; chmod 640 $R/text; seq 1 50000 > $R/long",
    );
    g.steps(
        r#"vi -es -u NONE -N -c 'normal Gonew line' -c 'wq' $R/text < /dev/null; cat $R/text; stat -c %a $R/text; ls -A $R | grep -v '^\.__'
vi -es -u NONE -N -c 'set backup writebackup backupskip=' -c '%s/second/2nd/' -c 'wq' $R/text < /dev/null; cat $R/text $R/text~; rm $R/text~
cd $R && vi -es -u NONE -N -c 'set backupcopy=yes' -c '1d' -c 'w other' -c 'wq' text < /dev/null; cat text other
vi -es -u NONE -N -c '25000,$d' -c '1s/^/begin /' -c 'wq' $R/long < /dev/null; wc -l < $R/long; head -n 1 $R/long
vi -es -u NONE -N -c 'r !echo read' -c 'wq' $R/fresh < /dev/null; cat $R/fresh
vi -es -u NONE -N -c 'q!' $R/text < /dev/null; ls -A $R | grep -v '^\.__'
"#,
    );
});

case!(pipes, one, |g| {
    g.setup(
        r#"mkdir -p $R/src/a/b && cd $R/src && for i in $(seq 1 100); do seq $i > a/f$i; done; seq 1 100000 > a/b/big
cat > $L/socket.py <<'EOT'
# As ssh does it: a command whose input and output are one socket.
import os, socket, sys, threading
ours, theirs = socket.socketpair()
if os.fork() == 0:
    ours.close()
    os.dup2(theirs.fileno(), 0); os.dup2(theirs.fileno(), 1)
    os.execvp("sh", ["sh", "-c", sys.argv[1]])
theirs.close()
def send():
    while data := os.read(0, 65536): ours.sendall(data)
    ours.shutdown(socket.SHUT_WR)
sender = threading.Thread(target=send); sender.start()
while data := ours.recv(65536): os.write(1, data)
sender.join()
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
EOT"#,
    );
    g.steps(
        r#"mkdir $R/copy && tar -C $R/src -cf - . | tar -C $R/copy -xf - && diff -r $R/src $R/copy
tar -C $R/src -cf - a | /usr/bin/python3 $L/socket.py 'mkdir $R/far && cd $R/far && tar xf - && find . | wc -l' && diff -r $R/src/a $R/far/a
/usr/bin/python3 $L/socket.py 'cat; echo end' < $R/src/a/b/big | md5sum; cat $R/src/a/b/big | /usr/bin/python3 $L/socket.py 'cat > $R/through' && cmp $R/src/a/b/big $R/through
cd $R/src && find . -name 'f*' -exec md5sum {} + | sort | md5sum; find $R/src -name 'f1*' -exec sh -c 'head -n 1 "$1"' sh {} \; | sort | uniq -c
find $R/copy -type f -name 'f*' -print0 | xargs -0 -P 6 -n 8 sh -c 'for f; do sed -i "1s/^/line /" "$f"; done' sh && cat $R/copy/a/f* | grep -c line
find $R/copy -type f | xargs -P 4 -n 20 gzip && find $R/copy -name '*.gz' | xargs -P 4 gunzip && ls $R/copy/a | wc -l
seq 1 40 | xargs -P 8 -I N sh -c 'echo N > $R/copy/pN && cat $R/copy/pN' | sort -n | md5sum; rm -r $R/copy $R/far $R/through
mkfifo $L/pipe; (cat $R/src/a/f50 > $L/pipe &) ; tee $R/one $R/two < $L/pipe | wc -l; cmp $R/one $R/two
split -l 30000 $R/src/a/b/big $R/part. && cat $R/part.* | cmp - $R/src/a/b/big && ls $R && rm $R/part.*
sort -R $R/src/a/b/big | sort -n -S 1M -T $R | cmp - $R/src/a/b/big; comm -12 $R/src/a/f20 $R/src/a/f9 | tail -1; join $R/src/a/f3 $R/src/a/f5 | wc -l
"#,
    );
});
