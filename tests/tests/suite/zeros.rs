//! No silent zeros: whatever call reads or copies a remote file gives the right bytes or an error.

use parrot_tests::compile::{Link, guest};
use parrot_tests::{Guest, PlaceKind, Technique, case};

/// Files of 0 B, 1 B, 1 MB without a zero in them, and one with holes between marked bytes.
const FILES: &str = r#"
: > $R/f0
printf x > $R/f1
seq 1 200000 | head -c 1000000 > $R/fM
truncate -s 2000000 $R/holes
for at in 0 5000 1000000 1999000; do printf 'MARK%07d' $at | dd of=$R/holes bs=1 seek=$at conv=notrunc status=none; done
"#;
/// 3 GB with a few marks, sparse on the server.
const HUGE: &str = r#"
truncate -s 3G $R/huge
for at in 0 4095 1048576 2147483640 2147483648 3221225461; do printf 'MARK%07d' $((at % 10000000)) | dd of=$R/huge bs=1 seek=$at conv=notrunc status=none; done
"#;
const HUGE_MARKS: &str =
    "0 4095 1048576 2147483640 2147483648 3221225461 3221225470 3221225472 100";
/// Methods that must work; with the others an error will do.
const READING: &str = "read pread readv fread mmap";
const KERNEL: &str = "sendfile copy_file_range splice aio";

case!(tools, |g| {
    g.setup(FILES);
    g.steps(
        r#"for f in f0 f1 fM holes; do cp $R/$f $L/c && cmp $R/$f $L/c && md5sum < $L/c; done
for f in f0 f1 fM holes; do cp --reflink=auto $R/$f $L/c && md5sum < $L/c; done
for f in f0 f1 fM holes; do cp --sparse=never $R/$f $L/c && md5sum < $L/c; done
for f in f0 f1 fM holes; do cp --reflink=auto --sparse=always $R/$f $R/c && md5sum < $R/c; done; rm $R/c
cp --reflink=always $R/f1 $L/c 2>/dev/null; test ! -s $L/c || cmp $R/f1 $L/c
for f in f0 f1 fM holes; do cat $R/$f | md5sum; cat < $R/$f | md5sum; cat $R/$f > $L/c; md5sum < $L/c; cat $R/$f > $R/c; md5sum < $R/c; done; rm $R/c
for f in f0 f1 fM holes; do dd if=$R/$f bs=777 status=none | md5sum; dd if=$R/$f of=$L/c bs=1M status=none; md5sum < $L/c; done
for f in f0 f1 fM holes; do dd if=$R/$f of=$R/c bs=64k conv=sparse status=none; md5sum < $R/c; done; rm $R/c
for f in f0 f1 fM holes; do tail -c 3 $R/$f | od -c; head -c 3 $R/$f | od -c; done
for f in f0 f1 fM holes; do wc $R/$f | sed "s,$R/,,"; cksum < $R/$f; rev < $R/$f | md5sum; done
install $R/fM $L/c && cmp $R/fM $L/c
/usr/bin/python3 -c 'import shutil,os; [shutil.copyfile(os.environ["R"]+"/"+f, os.environ["L"]+"/c"+f) for f in ("f0","f1","fM","holes")]'; md5sum < $L/cfM; md5sum < $L/choles
/usr/bin/python3 -c 'import os; f=os.open(os.environ["R"]+"/fM",0); o=os.open(os.environ["L"]+"/sf",os.O_WRONLY|os.O_CREAT); print(os.sendfile(o,f,0,1000000))' > /dev/null 2>&1; test ! -s $L/sf || cmp $R/fM $L/sf
tar cSf - -C $R fM holes | tar xSf - -C $L && cmp $L/holes $R/holes && cmp $L/fM $R/fM
"#,
    );
});

/// What a program with one method says must be what it says natively, or an errno.
fn methods(g: &Guest, file: &str, offsets: &str, link: Link) {
    let program = guest("marks", link).display().to_string();
    for (list, must) in [(READING, true), (KERNEL, false)] {
        let script = format!(
            "for m in {list}; do {program} $m $R/{file} $L/scratch {offsets}; done; {program} inherited 3 $L/scratch {offsets} 3< $R/{file}"
        );
        let (want, got) = (g.run_reference(&script).code(0), g.run(&script).code(0));
        let (want, have) = (want.out(), got.out());
        assert_eq!(want.lines().count(), have.lines().count(), "{}", got.describe());
        for (expected, line) in want.lines().zip(have.lines()) {
            let refused = !must
                && line.contains("errno ")
                && expected.split(':').next() == line.split(':').next();
            assert!(expected == line || refused, "{file}: expected {expected:?}, got {line:?}");
        }
    }
}

case!(calls, |g| {
    g.setup(FILES);
    for file in ["f0", "f1", "fM", "holes"] {
        methods(g, file, "0 1 4999 999995 1000000 1999000", Link::Dynamic);
    }
});

case!(calls_fixed, fixed, |g| {
    g.setup(FILES);
    for file in ["f0", "f1", "fM", "holes"] {
        methods(g, file, "0 1 4999 999995 1000000 1999000", Link::Static);
    }
});

/// A program that copies by one call and knows no other: the copy is right, or it says an error.
fn copies(g: &Guest, link: Link) {
    let program = guest("copyby", link).display().to_string();
    for how in ["sendfile", "copy_file_range", "splice", "mmap"] {
        for file in ["f0", "f1", "fM", "holes"] {
            for (from, to) in [("$R", "$L"), ("$R", "$R"), ("$L", "$R")] {
                let script = format!(
                    "cp $R/{file} $L/{file}; {program} {how} {from}/{file} {to}/copy && cmp $R/{file} {to}/copy; echo \"status $?\""
                );
                let run = g.run(&script).code(0);
                let out = run.out();
                assert!(
                    out.contains("status 0") || out.starts_with("errno "),
                    "{how} {from}/{file} {to}/copy: {}",
                    run.describe()
                );
                // Copying by a map is what linkers and databases do: that must work.
                assert!(
                    how != "mmap" || out.contains("status 0"),
                    "{from}/{file} {to}: {}",
                    run.describe()
                );
            }
        }
    }
}

case!(copying_programs, |g| {
    g.setup(FILES);
    copies(g, Link::Dynamic);
});

case!(copying_programs_fixed, fixed, |g| {
    g.setup(FILES);
    copies(g, Link::Musl);
});

case!(huge_tools, servers, |g| {
    g.setup(HUGE);
    g.set_deadline(100);
    g.steps(
        r#"stat -c %s $R/huge
test $(stat -c %b $R/huge) -gt 0
tail -c 11 $R/huge
head -c 11 $R/huge
dd if=$R/huge bs=1 skip=2147483640 count=20 status=none | od -c
dd if=$R/huge bs=1M skip=1 count=1 status=none | md5sum
dd if=$R/huge bs=11 count=1 skip=3221225461 iflag=skip_bytes status=none
tail -c +3221225462 $R/huge
cmp -n 12 -i 2147483648:0 $R/huge <(printf 'MARK7483648\0')
/usr/bin/python3 -c 'import os; f=open(os.environ["R"]+"/huge","rb"); print(f.seek(0,2)); f.seek(-11,1); print(f.read(), f.read())'
exec 3< $R/huge; busybox dd bs=11 count=1 2>/dev/null <&3; exec 3<&-
"#,
    );
});

case!(huge_writes, servers, |g| {
    g.setup(HUGE);
    g.set_deadline(100);
    g.steps(
        r#"printf NEW | dd of=$R/huge bs=1 seek=2500000000 conv=notrunc status=none; dd if=$R/huge bs=1 skip=2499999999 count=5 status=none | od -c
tail -c 11 $R/huge
echo end >> $R/huge; tail -c 15 $R/huge; stat -c %s $R/huge
truncate -s 3000000000 $R/huge; tail -c 3 $R/huge | od -c; dd if=$R/huge bs=1 skip=2147483648 count=11 status=none
printf far | dd of=$R/sparse bs=1 seek=3000000000 status=none; stat -c %s $R/sparse; tail -c 5 $R/sparse | od -c; rm $R/sparse
"#,
    );
});

case!(huge_calls, servers, |g| {
    g.setup(HUGE);
    g.set_deadline(100);
    let program = guest("marks", Link::Dynamic).display().to_string();
    // A map or a copy by the kernel may need the whole file first: that is for --full.
    let script =
        format!("for m in read pread readv fread; do {program} $m $R/huge $L/s {HUGE_MARKS}; done");
    g.same(&script);
});

case!(huge_calls_fixed, fixed, |g| {
    g.setup(HUGE);
    g.set_deadline(100);
    let program = guest("marks", Link::Musl).display().to_string();
    g.same(&format!("for m in read pread readv; do {program} $m $R/huge $L/s {HUGE_MARKS}; done"));
});

case!(huge_whole, full, |g| {
    g.setup(HUGE);
    g.set_deadline(300);
    g.steps(
        r#"cp $R/huge $L/huge && cksum < $L/huge; rm -f $L/huge
cat $R/huge | cksum
"#,
    );
    methods(g, "huge", HUGE_MARKS, Link::Dynamic);
});

/// A file that grows and changes on the server behind the session's back is not cut or mixed.
#[test]
fn changed_behind_our_back() {
    for technique in [Technique::Preload, Technique::Trace] {
        let g = Guest::new(technique, PlaceKind::Ours);
        g.setup("echo first > $R/f; touch -d '2020-01-01' $R/f");
        let file = g.place.backing().join("f");
        let script = format!(
            "cat $R/f; env -u LD_PRELOAD sh -c 'echo second and longer > {0}'; cat $R/f; env -u LD_PRELOAD sh -c 'echo third > {0}'; cat $R/f",
            file.display()
        );
        // A change made by a name that is not remote reaches the server's disk directly.
        g.says(&script, "first\nsecond and longer\nthird\n");
        g.finish();
    }
}
