//! Tools that read: the same output and status as on a local directory.

use parrot_tests::{Guest, case};

/// A tree with files of several sizes, links, modes, and times that do not move.
pub(crate) const TREE: &str = r#"
mkdir -p "$R/d/e" "$R/empty" "$R/d with blank"
printf 'hello\n' > "$R/hello"
: > "$R/nothing"
printf 'no newline at end' > "$R/short"
seq 1 20000 > "$R/numbers"
head -c 300000 /dev/zero | tr '\0' 'z' > "$R/z"
seq 1 300000 | sed 's/$/ some words to make it long/' > "$R/big"
printf 'one\ntwo needle\nthree\n' > "$R/d/text"
printf 'needle at the start\n' > "$R/d/e/deep"
printf 'blank\n' > "$R/d with blank/f f"
printf 'odd\n' > "$R/d/"$'caf\303\251'
ln -s hello "$R/link"
ln -s d/e "$R/dirlink"
ln -s nowhere "$R/dangling"
ln -s loop "$R/loop"
ln "$R/d/text" "$R/hard"
chmod 755 "$R/short"
chmod 640 "$R/numbers"
find "$R" -depth -exec touch -h -d '2020-01-02 03:04:05' {} +
"#;

case!(whole_files, |g| {
    g.setup(TREE);
    g.steps(
        r#"cat $R/hello
cat $R/hello $R/short $R/nothing
cat < $R/hello
cat $R/missing
cat $R/d
cat $R/hello/x
cat $R/loop
cat "$R/d with blank/f f"
cat $R/link $R/dirlink/deep
cat $R/dangling
cat $R/d/caf*
head -n 3 $R/numbers
head -c 10 $R/big
tail -n 3 $R/numbers
tail -c 10 $R/big
tail -n +19998 $R/numbers
tail -n 2 $R/big
wc $R/hello $R/numbers $R/nothing $R/big $R/d
wc -c < $R/big
cmp $R/hello $R/link
cmp $R/hello $R/short
md5sum $R/hello $R/numbers $R/big $R/z
sha256sum < $R/big
sort -rn $R/numbers | head -3
sort $R/d/text $R/hello
tac $R/d/text
od -c $R/short
cut -d' ' -f2 $R/d/text
uniq -c $R/z | wc -c
diff $R/d/text $R/d/e/deep
comm $R/hello $R/d/text
paste $R/d/text $R/hello
nl $R/d/text
split -n 2 $R/d/text $L/part. && cat $L/part.*
file -b $R/hello 2>/dev/null || echo text
base64 $R/hello
sum $R/big
"#,
    );
});

case!(searching, |g| {
    g.setup(TREE);
    g.steps(
        r#"grep needle $R/d/text
grep -r needle $R/d | sort
grep -rl needle $R | sort
grep -c 7 $R/numbers
grep -q needle $R/hello
grep needle $R/missing
grep -r nothing-has-this $R/d
find $R | sort
find $R -type f -size +100k | sort
find $R -type l | sort
find $R -name 'd*' -maxdepth 1 | sort
find $R -newermt 2021-01-01 -type f | sort
find $R -perm 755 -type f
find $R -type d -empty | sort
find -L $R/d $R/dirlink -type f | sort
find $R -type f -links 2 | sort
find $R/d -name '*e*' -exec cat {} + | sort | head -5
find $R -printf '%P %y %s\n' -type f | grep -v ' d ' | sort
find $R/missing
find $R -name text -print0 | xargs -0 wc -l
"#,
    );
});

case!(listing, |g| {
    g.setup(TREE);
    g.steps(
        r#"ls $R
ls -a $R/d
ls -A $R/empty
ls -lR --time-style=+%s $R | sed 's/^total .*/total/; /^d/s/ [0-9]* \([^ ]* [^ ]*\) *[0-9]* / \1 /'
ls -l --time-style=+%s $R/hello $R/link $R/dangling
ls -ln --time-style=+%s $R/numbers | cut -d' ' -f1,3-
ls -F $R
ls -d $R/d*
ls -S $R | head -3
ls -i $R/hello $R/hard $R/d/text | awk '{print $1}' | sort | uniq -c | awk '{print $1}' | sort
ls $R/missing
ls $R/hello/
ls -L $R/dirlink
ls -l $R/loop | cut -d' ' -f1
ls $R/loop/
echo $R/*
echo $R/d/*/*
"#,
    );
});

case!(attributes, |g| {
    g.setup(TREE);
    g.steps(
        r#"stat -c '%n %s %f %h %Y %F %a' $R/hello $R/numbers $R/link $R/hard
stat -c '%n %X' $R/hello $R/numbers
stat -L -c '%n %s %F' $R/link $R/dirlink $R/hello
stat -c '%n %F %a' $R/d $R/empty
stat -c '%N' $R/link $R/dangling
stat $R/missing
stat -L $R/dangling
stat -f -c '%l' $R >/dev/null
test "$(stat -c %i $R/hello)" = "$(stat -c %i $R/d/../hello)"
test "$(stat -c %i $R/hard)" = "$(stat -c %i $R/d/text)"
test "$(stat -c %d $R/hello)" = "$(stat -c %d $R/d/e/deep)"
test "$(stat -c %i $R/hello)" = "$(ls -i $R | awk '$2 == "hello" { print $1 }')"
test "$(stat -c %i - < $R/hello)" = "$(stat -c %i $R/hello)"
stat -c '%s %a' - < $R/hello
test $(stat -c %b $R/big) -ge $(( $(stat -c %s $R/big) / 512 ))
test -f $R/hello
test -d $R/hello
test -d $R/dirlink
test -L $R/link
test -e $R/dangling
test -s $R/nothing
test -x $R/short
test -r $R/hello
test -w $R/hello
test $R/hello -ef $R/link
test $R/hello -ef $R/short
readlink $R/link
readlink $R/hello
readlink -f $R/dirlink/deep
realpath $R/d/../link
realpath $R/missing
realpath -e $R/missing
du -b $R/hello $R/big
du -sb $R/hello
df $R > /dev/null
truncate -r $R/numbers $L/t && stat -c %s $L/t
"#,
    );
});

case!(copying_blocks, |g| {
    g.setup(TREE);
    g.steps(
        r#"dd if=$R/hello status=none
dd if=$R/big bs=1000 count=3 skip=5 status=none | md5sum
dd if=$R/big bs=1M status=none | md5sum
dd if=$R/big bs=1 count=5 skip=100000 status=none
dd if=$R/big of=$L/big bs=64k status=none && cmp $R/big $L/big
dd if=$R/missing status=none
dd if=$R/d status=none
cp $R/big $L/copy && cmp $R/big $L/copy
cp --reflink=auto $R/big $L/copy2 && cmp $R/big $L/copy2
cp --sparse=always $R/z $L/z && cmp $R/z $L/z
cp -p $R/numbers $L/n && stat -c '%s %a %Y' $L/n
cp -r $R/d $L/tree && find $L/tree | sort && cat $L/tree/text
cp -a $R/. $L/whole && find $L/whole -printf '%P %y %l\n' | grep -v '\.__' | sort
cp $R/missing $L/m
cp $R/d $L/dcopy
cat $R/big | cat | md5sum
md5sum $R/* 2>/dev/null | sort
"#,
    );
});

// The same with a shell and tools that no library can be preloaded into.
case!(fixed_tools, fixed, |g| {
    g.setup(TREE);
    g.steps(
        r#"busybox cat $R/hello
busybox cat < $R/hello
busybox ls $R
busybox ls -lR $R | busybox grep -c hello
busybox head -n 2 $R/numbers
busybox tail -n 2 $R/big
busybox wc $R/big
busybox md5sum $R/big $R/z
busybox sort -n $R/numbers | busybox head -n 2
busybox grep -r needle $R/d | busybox sort
busybox find $R -type f | busybox sort
busybox stat -c '%n %s %f %h %Y' $R/hello $R/link
busybox cp $R/big $L/big && busybox cmp $R/big $L/big
busybox dd if=$R/big bs=1000 skip=7 count=2 2>/dev/null | busybox md5sum
busybox cat $R/missing
busybox cat $R/d
busybox readlink -f $R/dirlink/deep
busybox test -d $R/dirlink
busybox du $R/hello > /dev/null
cd $R/d && busybox pwd && busybox ls && busybox cat text ../hello
"#,
    );
});
