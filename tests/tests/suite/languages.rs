//! python3 and perl.

use parrot_tests::{Guest, case};

use crate::reading::TREE;

/// Everything a script of a scientist would do to files.
const PYTHON: &str = r#"
import errno, glob, hashlib, io, json, mmap, os, pathlib, shutil, subprocess, sys, tempfile
R, L = os.environ["R"], os.environ["L"]
def step(title): print("==", title)
def err(f, *a):
    try: return f(*a)
    except OSError as e: return errno.errorcode[e.errno]

step("open and read")
with open(R + "/hello") as f: print(repr(f.read()), f.tell())
with open(R + "/numbers", "rb", buffering=0) as f:
    print(f.read(10), f.seek(-6, 2), f.read(), f.readinto(bytearray(3)))
with open(R + "/big") as f: print(sum(len(line) for line in f))
with open(R + "/big", "rb") as f: print(hashlib.md5(f.read()).hexdigest(), os.fstat(f.fileno()).st_size)
step("errors")
print(err(open, R + "/missing"), err(open, R + "/d"), err(open, R + "/hello/x"), err(open, R + "/loop"), err(os.mkdir, R + "/d"))
step("stat")
s = os.stat(R + "/hello"); print(s.st_size, oct(s.st_mode), s.st_mtime, s.st_nlink)
print(os.path.exists(R + "/dangling"), os.path.lexists(R + "/dangling"), os.path.isdir(R + "/dirlink"), os.path.getsize(R + "/big"))
d = os.open(R + "/d", os.O_RDONLY | os.O_DIRECTORY)
print(os.stat("text", dir_fd=d).st_size, sorted(n for n in os.listdir(d) if not n.startswith(".__")), err(os.open, "nothing", os.O_RDONLY))
f = os.open("text", os.O_RDONLY, dir_fd=d); print(os.read(f, 5), os.pread(f, 3, 4), os.lseek(f, 0, 1)); os.close(f)
print(err(lambda: os.stat("gone", dir_fd=d)), os.readlink("../link", dir_fd=d)); os.close(d)
step("walk")
for top, dirs, files in os.walk(R):
    dirs.sort(); print(os.path.relpath(top, R), dirs, sorted(files))
print(sorted(os.path.relpath(p, R) for p in glob.glob(R + "/**/*e*", recursive=True)))
with os.scandir(R) as it: print(sorted((e.name, e.is_dir(), e.is_symlink(), e.stat(follow_symlinks=False).st_size if e.is_file() else 0) for e in it))
print(sorted(p.name for p in pathlib.Path(R, "d").iterdir()), pathlib.Path(R, "d/../link").resolve() == pathlib.Path(R, "hello").resolve())
step("copy trees")
shutil.copytree(R + "/d", R + "/d2"); shutil.copytree(R + "/d2", L + "/d3"); shutil.copytree(L + "/d3", R + "/d4")
print(sorted(os.listdir(R + "/d4")), open(R + "/d4/e/deep").read())
shutil.copy2(R + "/big", R + "/big2"); print(os.stat(R + "/big2").st_mtime)
shutil.move(R + "/big2", R + "/d2/big3"); shutil.rmtree(R + "/d2"); print(os.path.exists(R + "/d2"))
step("write")
with open(R + "/w", "w") as f:
    print(f.write("abc\n" * 1000), f.tell()); f.seek(5); f.write("XYZ")
print(open(R + "/w").read(12), os.path.getsize(R + "/w"))
with open(R + "/w", "r+b") as f: f.seek(0, 2); f.write(b"tail"); f.flush(); os.fsync(f.fileno()); f.seek(0); print(f.read(4)); f.truncate(10)
print(open(R + "/w", "rb").read())
with open(R + "/w", "a") as f: f.write("+"); print(f.tell())
with open(R + "/x", "x") as f: f.write("new")
print(err(open, R + "/x", "x"), open(R + "/x").read())
os.replace(R + "/x", R + "/w"); os.rename(R + "/w", R + "/d/w"); print(os.listdir(R + "/d").count("w"))
fd = os.open(R + "/pw", os.O_RDWR | os.O_CREAT, 0o600); os.pwrite(fd, b"at ten", 10); os.ftruncate(fd, 20); print(os.pread(fd, 100, 0), os.lseek(fd, 0, os.SEEK_END)); os.close(fd)
fd = os.open(R + "/v", os.O_RDWR | os.O_CREAT, 0o600); print(os.writev(fd, [b"a", b"bc"]), os.lseek(fd, 0, 0), os.readv(fd, [bytearray(2), bytearray(5)])); os.close(fd)
json.dump({"k": [1, 2]}, open(R + "/j", "w")); print(json.load(open(R + "/j")))
with tempfile.NamedTemporaryFile(dir=R) as t: t.write(b"t"); t.flush(); print(os.path.getsize(t.name))
with tempfile.TemporaryFile(dir=R) as t: t.write(b"hidden"); t.seek(0); print(t.read())
with tempfile.TemporaryDirectory(dir=R) as t: open(t + "/f", "w").write("x"); print(os.listdir(t))
step("open and unlinked")
f = open(R + "/gone", "w+"); f.write("still here"); f.flush(); os.unlink(R + "/gone"); f.seek(0); print(f.read(), os.path.exists(R + "/gone")); f.close()
step("mmap")
with open(R + "/numbers", "rb") as f:
    with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as m: print(m[:10], m.find(b"\n777\n"), len(m))
with open(R + "/mm", "w+b") as f:
    f.truncate(10000)
    with mmap.mmap(f.fileno(), 0) as m: m[5000:5005] = b"mmaps"; m.flush()
print(open(R + "/mm", "rb").read().strip(b"\0"))
step("subprocess")
print(subprocess.run(["cat", R + "/hello"], capture_output=True).stdout, subprocess.run(["cat", R + "/missing"], stderr=subprocess.DEVNULL).returncode)
print(subprocess.check_output(["wc", "-c"], stdin=open(R + "/big")).split(), subprocess.call(["sh", "-c", "echo child > child"], cwd=R), open(R + "/child").read())
with open(R + "/sub", "w") as f: subprocess.check_call(["echo", "to file"], stdout=f)
print(open(R + "/sub").read(), subprocess.check_output("cat < $R/hello | tr a-z A-Z", shell=True))
os.chdir(R + "/d"); print(os.path.relpath(os.getcwd(), R), open("text").readline(), subprocess.check_output(["cat", "e/deep"])); os.chdir("/")
step("names and times")
os.utime(R + "/hello", (1000000000, 1100000000)); s = os.stat(R + "/hello"); print(s.st_atime >= 1000000000, s.st_mtime)
os.symlink("hello", R + "/sl"); os.link(R + "/hello", R + "/hl"); print(os.readlink(R + "/sl"), os.stat(R + "/hl").st_nlink)
os.chmod(R + "/hello", 0o640); print(oct(os.stat(R + "/hello").st_mode)); os.makedirs(R + "/m/n/o", exist_ok=True); os.removedirs(R + "/m/n/o")
print(os.access(R + "/hello", os.R_OK), os.access(R + "/missing", os.F_OK), os.access(R + "/hello", os.X_OK))
os.truncate(R + "/hello", 2); print(open(R + "/hello").read())
"#;

case!(python, |g| {
    g.setup(TREE);
    g.same(&format!("cat > $L/s.py <<'EOS'\n{PYTHON}\nEOS\n/usr/bin/python3 $L/s.py 2>&1"));
});

case!(python_from_remote, servers, |g| {
    g.setup(TREE);
    g.setup(
        r#"mkdir -p $R/lib/pkg
echo 'VALUE = 42' > $R/lib/pkg/__init__.py
echo 'def f(): return __file__.rsplit("/", 2)[1]' > $R/lib/pkg/mod.py
printf 'import sys\nfrom pkg import VALUE\nfrom pkg.mod import f\nprint(VALUE, f(), sys.argv[1:])\n' > $R/main.py"#,
    );
    g.steps(
        r#"PYTHONPATH=$M/lib /usr/bin/python3 $R/main.py a b
cd $R/lib && /usr/bin/python3 -c 'import pkg.mod; print(pkg.mod.f())'
cd $R/lib && PYTHONDONTWRITEBYTECODE= /usr/bin/python3 -m pkg.mod && ls pkg && rm -r pkg/__pycache__
/usr/bin/python3 < $R/main.py 2>&1 | tail -1
"#,
    );
});

const PERL: &str = r#"
use strict; use warnings; use Cwd; use File::Find; use File::Copy; use File::Path qw(make_path remove_tree); use Fcntl qw(:DEFAULT :flock :seek);
my ($R, $L) = ($ENV{R}, $ENV{L});
sub step { print "== @_\n" }
step "read"; open(my $f, '<', "$R/hello") or die $!; print <$f>; close $f;
open($f, '<', "$R/numbers") or die $!; my $n = 0; while (<$f>) { $n += $_ } print "$n $.\n"; seek($f, -6, SEEK_END); print scalar <$f>; close $f;
{ local $/; open($f, '<', "$R/big") or die $!; print length(<$f>), "\n"; close $f }
step "tests"; print join(',', map { $_ // 'undef' } (-e "$R/hello", -d "$R/d", -l "$R/link", -s "$R/big", -x "$R/short", -e "$R/missing")), "\n";
my @s = stat "$R/hello"; print "$s[7] $s[9] $s[3]\n"; open($f, '<', "$R/missing") or print "$!\n";
step "directories"; opendir(my $d, "$R/d") or die $!; print join(' ', sort grep { !/^\.__/ } readdir $d), "\n"; closedir $d;
my @found; find({ wanted => sub { push @found, $File::Find::name if -f $_ && !/^\.__/ }, no_chdir => 0 }, $R); print join("\n", sort @found), "\n";
print join(' ', sort glob("$R/d*")), "\n"; make_path("$R/a/b/c"); print -d "$R/a/b/c" ? "made\n" : "no\n"; remove_tree("$R/a"); print -e "$R/a" ? "left\n" : "gone\n";
step "write"; open($f, '>', "$R/w") or die $!; print $f "line $_\n" for 1..1000; close $f or die $!; print -s "$R/w", "\n";
open($f, '+<', "$R/w") or die $!; flock($f, LOCK_EX) or die $!; seek($f, 5, 0); print $f "X"; truncate($f, 20); close $f; open($f, '<', "$R/w"); print <$f>; close $f;
open($f, '>>', "$R/w"); print $f "end\n"; close $f; sysopen($f, "$R/w", O_RDWR|O_EXCL|O_CREAT) or print "$!\n";
copy("$R/w", "$R/w2") or die $!; move("$R/w2", "$L/w3") or die $!; print -s "$L/w3", "\n"; rename("$R/w", "$R/w4") or die $!; unlink("$R/w4") == 1 or die $!;
step "links"; symlink("hello", "$R/sl") or die $!; print readlink("$R/sl"), "\n"; link("$R/hello", "$R/hl") or die $!; print ((stat "$R/hl")[3], "\n");
chdir "$R/d" or die $!; print getcwd() eq "$R/d" ? "cwd\n" : getcwd(); open($f, '<', 'text'); print scalar <$f>; close $f; print `cat e/deep`; system("echo sys > sys"); print `cat sys`;
utime(1000000000, 1100000000, "$R/hello"); print ((stat "$R/hello")[9], "\n"); chmod(0640, "$R/hello"); printf "%o\n", (stat _)[2] & 07777; printf "%o\n", (stat "$R/hello")[2] & 07777;
open(my $p, '-|', 'cat', "$R/hello") or die $!; print <$p>; close $p; open($p, '|-', "cat > $R/piped") or die $!; print $p "piped\n"; close $p; print `cat $R/piped`;
"#;

case!(perl, |g| {
    g.setup(TREE);
    g.same(&format!("cat > $L/s.pl <<'EOS'\n{PERL}\nEOS\nperl $L/s.pl 2>&1"));
});
