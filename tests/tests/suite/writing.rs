//! Tools that write, rename and remove: the same output, status and resulting tree.

use parrot_tests::{Guest, case};

use crate::reading::TREE;

case!(making_files, |g| {
    g.setup(TREE);
    g.steps(
        r#"echo x > $R/new
cat $R/new
echo y >> $R/new
cat < $R/new
sh -c "echo from sh > $R/fromsh"
bash -c "cat < $R/fromsh"
printf '' > $R/emptied
echo z > $R/hello && cat $R/hello
echo long > $R/numbers; wc -c $R/numbers
echo no > $R/missing/x
echo no > $R/d
echo no > $R/hello/x
set -C; echo no > $R/new; set +C; cat $R/new
tee $R/tee1 $R/tee2 < $R/d/text
echo more | tee -a $R/tee1
cat $R/tee1
touch $R/touched && stat -c '%s %a' $R/touched
touch -d '2001-02-03 04:05:06' $R/touched && stat -c %Y $R/touched
touch -r $R/z $R/touched && stat -c %Y $R/touched
touch -c $R/not-made
touch -d '2002-02-02' $R/d $R/link && stat -c %Y $R/d $R/hello
touch $R/missing/x
dd if=/dev/zero of=$R/dd bs=1000 count=300 status=none && stat -c %s $R/dd
printf abc | dd of=$R/dd bs=1 seek=5 conv=notrunc status=none && head -c 10 $R/dd | od -c
dd if=$R/big of=$R/bigcopy bs=100k status=none && cmp $R/big $R/bigcopy
printf x | dd of=$R/dd bs=1 seek=10 oflag=append conv=notrunc status=none; stat -c %s $R/dd
truncate -s 3 $R/bigcopy && cat $R/bigcopy
truncate -s 100000 $R/bigcopy && md5sum < $R/bigcopy
truncate -s +5 $R/bigcopy && stat -c %s $R/bigcopy
truncate -s 0 $R/bigcopy && stat -c %s $R/bigcopy
fallocate -l 5000 $R/fa; true
rm -f $R/fa
split -l 10000 $R/numbers $R/part. ; ls $R
install -m 700 $R/d/text $R/installed && cat $R/installed
mktemp $R/tmp.XXXXXX > /dev/null && ls $R | grep -c '^tmp\.' && rm $R/tmp.*
sync $R/new
exec 5> $R/fd5; echo one >&5; echo two >&5; exec 5>&-; cat $R/fd5
exec 6<> $R/fd5; read -r line <&6; echo "$line"; echo three >&6; exec 6>&-; cat $R/fd5
"#,
    );
});

case!(editing, |g| {
    g.setup(TREE);
    g.steps(
        r#"sed -i 's/two/TWO/' $R/d/e/deep $R/d/text
cat $R/d/text
sed -i.bak '1d' $R/d/text && cat $R/d/text $R/d/text.bak
sed -n '5,7p' $R/numbers
sed -i 's/x/y/' $R/missing
sort -o $R/numbers -rn $R/numbers && head -1 $R/numbers
perl -pi -e 's/hello/HELLO/' $R/hello && cat $R/hello
ex -s -u NONE -c 's/HELLO/edited/' -c wq $R/hello < /dev/null; cat $R/hello
printf 'patched\n' > $L/new; diff -u $R/hello $L/new | sed 's/\t.*//' > $L/p; patch -s $R/hello < $L/p; cat $R/hello
iconv -f latin1 -t utf8 $R/hello -o $R/utf && cat $R/utf
gzip -k $R/numbers && zcat $R/numbers.gz | md5sum && gunzip -c $R/numbers.gz | cmp - $R/numbers
xz -k $R/z && xz -dc $R/z.xz | cmp - $R/z
rm -f $R/numbers.gz $R/z.xz
gzip $R/z && ls $R | grep z && gunzip $R/z.gz && ls -l --time-style=+%s $R/z | cut -d' ' -f5-
"#,
    );
});

case!(directories, |g| {
    g.setup(TREE);
    g.steps(
        r#"mkdir $R/n && stat -c '%F %a' $R/n
mkdir $R/n
mkdir $R/hello
mkdir $R/missing/n
mkdir -p $R/p/q/r && find $R/p | sort
mkdir -p $R/p/q/r
mkdir -m 750 $R/m && stat -c %a $R/m
rmdir $R/n
rmdir $R/n
rmdir $R/d
rmdir $R/hello
rmdir -p $R/p/q/r 2>/dev/null; ls $R
cd $R/d && mkdir here && cd here && pwd && echo in > f && cat ../here/f
rm $R/d
rm -r $R/d/e && ls $R/d
rm -rf $R/d/here $R/missing && ls $R/d
rm $R/missing
mkdir $R/trailing/ && rmdir $R/trailing/
mkdir $R/. ; mkdir $R/..
rmdir $R/empty/. ; rmdir $R/d/..
rm -rf $R/d $R/empty "$R/d with blank" && ls $R
"#,
    );
});

case!(renaming, |g| {
    g.setup(TREE);
    g.steps(
        r#"rm $R/hard; mv $R/hello $R/hallo && cat $R/hallo
mv $R/hallo $R/d/ && ls $R/d
mv $R/missing $R/x
mv $R/d/hallo $R/short && cat $R/short
mv -n $R/short $R/numbers; wc -l < $R/numbers
mv $R/d $R/dd && ls $R/dd
mv $R/dd $R/empty && ls $R $R/empty
mv $R/empty $R/empty/dd
mv -T $R/empty $R/numbers
mv -T $R/numbers $R/empty
mv -T $R/empty $R/target && ls $R/target
mv $R/numbers $L/ && wc -l < $L/numbers && ls $R
mv $L/numbers $R/back && wc -l < $R/back
mv $R/target $L/tt && find $L/tt | grep -v '\.__' | sort
mv $L/tt $R/tt && find $R/tt | sort
mv $R/link $R/link2 && readlink $R/link2
mv -b $R/short $R/back && ls $R
mv --exchange $R/short $R/back 2>/dev/null; true
cd $R && mv back forth && cat forth | wc -l
"#,
    );
});

// Debian's server keeps its list in every directory: none is empty enough to be replaced.
case!(renaming_over_a_directory, ours, |g| {
    g.setup(TREE);
    g.steps(
        r#"mkdir $R/target && mv -T $R/d $R/target && ls $R/target
mv -T $R/target $R/empty && ls $R/empty
mkdir $R/full && : > $R/full/f && mv -T $R/empty $R/full
"#,
    );
});

case!(linking, |g| {
    g.setup(TREE);
    g.steps(
        r#"ln -s hello $R/s && readlink $R/s && cat $R/s
ln -s $R/hello $R/abs && cat $R/abs
ln -s hello $R/s
ln -sf short $R/s && cat $R/s
ln -sfn empty $R/dirlink && readlink $R/dirlink
ln $R/hello $R/h2 && stat -c %h $R/hello $R/h2
echo both >> $R/h2 && cat $R/hello
ln $R/hello $R/h2
ln $R/d $R/dl
ln $R/missing $R/ml
rm $R/hello && cat $R/h2 && stat -c %h $R/h2
ln -s ../w/short $R/d/up && cat $R/d/up
ln -s / $R/rootlink && test -d $R/rootlink/etc
ln -s $L $R/tolocal && echo via > $R/tolocal/f && cat $L/f
ln -s $R/short $L/toremote && cat $L/toremote && ls -l $L/toremote | sed 's/.*-> //'
ln -s $R/d $L/dirremote && cat $L/dirremote/text && (cd $L/dirremote && ls)
cp -P $R/s $R/s2 && readlink $R/s2
unlink $R/s2; ls $R
rm $R/tolocal $R/rootlink $R/abs
"#,
    );
});

case!(permissions, |g| {
    g.setup(TREE);
    g.steps(
        r#"chmod 700 $R/hello && stat -c %a $R/hello
chmod 644 $R/hello && stat -c %a $R/hello
chmod u+x,g+w $R/hello && stat -c %a $R/hello
chmod -R g+r $R/d && stat -c %a $R/d $R/d/text
chmod 755 $R/d && stat -c %a $R/d
chmod 600 $R/missing
chmod 640 $R/link && stat -c %a $R/hello
umask 022; echo x > $L/u; umask 077
chown $(id -u) $R/hello
test -w $R/hello && test -r $R/hello
"#,
    );
});

// Debian's server gives files it makes no more than 0600 and 0100, and never takes rights from
// their owner.
case!(modes_of_new_files, ours, |g| {
    g.setup(TREE);
    g.steps(
        r#"umask 022; echo x > $R/u022; mkdir $R/d022; stat -c %a $R/u022 $R/d022
umask 002; echo x > $R/u002; mkdir $R/d002; stat -c %a $R/u002 $R/d002
umask 0; echo x > $R/u0; mkdir $R/d0; stat -c %a $R/u0 $R/d0
umask 777; echo x > $R/u777; stat -c %a $R/u777; umask 022
chmod 444 $R/hello && stat -c %a $R/hello && ls -l --time-style=+ $R/hello | cut -c1-10
chmod 000 $R/short && stat -c %a $R/short
chmod 1777 $R/empty && stat -c %a $R/empty
install -m 555 $R/hello $R/inst && stat -c %a $R/inst
touch -d '2001-02-03 04:05:06.5' $R/z && stat -c %Y $R/z
"#,
    );
});

// A stock server cannot set the times of a link, and says so.
case!(with_all_attributes, ours, |g| {
    g.setup(TREE);
    g.steps(
        r#"mkdir -p $L/src/a/b && seq 500 > $L/src/a/n && touch -d 2001-02-03 $L/src/a/n && ln -s a/n $L/src/l
cp -a $L/src $R/archive && readlink $R/archive/l && stat -c %Y $R/archive/a/n
diff -r $L/src $R/archive
"#,
    );
});

case!(both_ways, |g| {
    g.setup(TREE);
    g.steps(
        r#"mkdir -p $L/src/a/b && seq 500 > $L/src/a/n && echo hi > $L/src/a/b/hi && ln -s a/n $L/src/l && : > $L/src/zero
cp -r $L/src $R/copy && find $R/copy | sort && cat $R/copy/a/b/hi
cp -r $R/copy $R/copy2 && diff -r $R/copy $R/copy2
cp -r $R/copy2 $L/back && diff -r $L/src $L/back
cp -d $L/src/l $R/l && readlink $R/l
cp $L/src/a/n $R/n && cmp $L/src/a/n $R/n
cp $R/n $R/n2 && cmp $R/n $R/n2
cp --reflink=auto $R/big $R/b2 && cmp $R/big $R/b2
cp --sparse=always $R/z $R/z2 && cmp $R/z $R/z2
cp -u $R/n $R/n2; cp -f $R/n $R/z2; cmp $R/n $R/z2
cp $R/n $R/d/ && cp $R/n $R/missing/
cp $R/hello $R/hello
cp -t $R/d $R/hello $R/short && ls $R/d
cp -p $R/z $R/zp && stat -c '%Y %a' $R/zp
rsync -r $L/src/ $R/rsynced/ && diff -r $L/src/a $R/rsynced/a
rsync -rt --delete $R/d/ $L/rs/ && ls $L/rs
rm -r $R/copy $R/copy2 && ls $R
"#,
    );
});

case!(fixed_writing, fixed, |g| {
    g.setup(TREE);
    g.steps(
        r#"echo x > $R/new
echo y >> $R/new
busybox cat $R/new
busybox cp $R/big $R/big2 && busybox cmp $R/big $R/big2
busybox mkdir -p $R/p/q && busybox rmdir $R/p/q
busybox mv $R/hello $R/hallo && busybox cat $R/hallo
busybox ln -s hallo $R/s && busybox cat $R/s
busybox ln $R/hallo $R/h2 && busybox stat -c %h $R/h2
busybox sed -i 's/one/ONE/' $R/d/text && busybox cat $R/d/text
busybox touch -d '2001-02-03 04:05:06' $R/t && busybox stat -c %Y $R/t
busybox truncate -s 5 $R/big2 && busybox cat $R/big2
busybox chmod 700 $R/t && busybox stat -c %a $R/t
busybox tar cf $R/t.tar -C $R d && busybox mkdir $R/x && busybox tar xf $R/t.tar -C $R/x && busybox cat $R/x/d/text
busybox rm $R/t.tar
busybox tee $R/tee < $R/hallo
busybox dd if=/dev/zero of=$R/dd bs=1000 count=3 2>/dev/null; busybox wc -c $R/dd
busybox cp -r $R/d $L/d && busybox cp -r $L/d $R/d2 && busybox find $R/d2 | busybox sort
busybox rm -r $R/d && busybox ls $R
cd $R/x && echo here > f && busybox cat f && cd .. && busybox pwd
"#,
    );
});
