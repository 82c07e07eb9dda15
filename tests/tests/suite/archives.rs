//! tar, cpio, zip-like tools: whole trees in and out.

use parrot_tests::{Guest, case};

use crate::reading::TREE;

case!(tar, |g| {
    g.setup(TREE);
    g.steps(
        r#"tar --sort=name -cf $L/a.tar -C $R . --exclude='.__*' && tar tf $L/a.tar
tar --sort=name -czf $R/a.tgz -C $R d hello link big && tar tzf $R/a.tgz
mkdir $R/x && tar xzf $R/a.tgz -C $R/x && find $R/x | sort && cat $R/x/d/text
cmp $R/big $R/x/big
stat -c '%s %Y' $R/x/big $R/x/d/e/deep $R/x/hello
mkdir $R/y && tar xf $L/a.tar -C $R/y && diff -r $R/d $R/y/d && readlink $R/y/link
rm $R/a.tgz
cd $R && tar --sort=name -cf - d | tar tvf - | awk '{print $1, $3, $6}'
tar tf $R/missing.tar 2>/dev/null
tar tf $R/hello
tar cf $R/missing/x.tar -C $R hello 2>/dev/null
mkdir $L/out && tar -C $R --exclude='.__*' -cf - d empty | tar -C $L/out -xf - && find $L/out | sort
(cd $R && find d -name '.__*' -prune -o -print | sort | cpio -o -H newc 2>/dev/null) | cpio -t 2>/dev/null; true
"#,
    );
});
