//! Files and directories that somebody has open, and that have no name any more.

use parrot_tests::{Guest, case};

const SCRIPT: &str = r#"
import os, sys
R = os.environ["R"]
def make(name, text=b"0123456789"):
    with open(f"{R}/{name}", "wb") as f: f.write(text)
def tell(fd):
    s = os.fstat(fd)
    print(oct(s.st_mode), s.st_nlink, s.st_size, s.st_mtime, flush=True)

for flags in (os.O_RDONLY, os.O_RDWR):
    make("f")
    fd = os.open(f"{R}/f", flags)
    os.unlink(f"{R}/f")
    os.fchmod(fd, 0o640)
    os.utime(fd, (1000, 2000))
    tell(fd)
    if flags == os.O_RDWR:
        os.ftruncate(fd, 4)
        os.pwrite(fd, b"end", 6)
        print(os.fstat(fd).st_size, oct(os.fstat(fd).st_mode))
        os.fsync(fd)
    print(os.pread(fd, 20, 0), os.path.exists(f"{R}/f"))
    os.close(fd)

# One file of two names, one of which goes: all who have it open see the same bytes.
make("a"); os.link(f"{R}/a", f"{R}/b")
one = os.open(f"{R}/a", os.O_RDWR)
os.unlink(f"{R}/a")
two = os.open(f"{R}/b", os.O_RDWR)
os.pwrite(one, b"ONE", 0); os.pwrite(two, b"TWO", 5)
print(os.pread(two, 20, 0), os.pread(one, 20, 0), os.fstat(one).st_ino == os.fstat(two).st_ino, os.fstat(one).st_nlink)
os.fchmod(two, 0o604); print(oct(os.fstat(one).st_mode))
os.close(one); os.close(two)
print(open(f"{R}/b").read()); os.unlink(f"{R}/b")

# The same with a file that is still being made.
one = os.open(f"{R}/a", os.O_RDWR | os.O_CREAT, 0o600)
os.write(one, b"unsent"); os.link(f"{R}/a", f"{R}/b"); os.unlink(f"{R}/a")
two = os.open(f"{R}/b", os.O_RDWR)
os.write(one, b", more")
print(os.pread(two, 20, 0)); os.pwrite(two, b"UN", 0); print(os.pread(one, 20, 0))
os.close(one); print(open(f"{R}/b").read()); os.close(two)
print(open(f"{R}/b").read(), os.stat(f"{R}/b").st_nlink); os.unlink(f"{R}/b")
"#;

case!(removed_files, |g| {
    g.setup(&format!("cat > $L/script.py <<'EOT'\n{SCRIPT}\nEOT"));
    g.steps("/usr/bin/python3 $L/script.py");
});

// The working directory was removed: it is empty, and nothing can be made in it.
case!(removed_directory, |g| {
    g.steps(
        "mkdir $R/d && cd $R/d && rmdir $R/d && ls && ls -a && stat -c '%h %F' .
cat nothing; echo x > nothing; mkdir sub
find . -name x; cd $R && ls",
    );
});
