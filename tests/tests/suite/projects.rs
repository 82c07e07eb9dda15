//! What people do with a directory of their own: git, building C, a database.

use parrot_tests::{Guest, case};

const GIT: &str = r#"
git init -q -b main $R/repo
cd $R/repo && git config core.fsync none && echo one > a && mkdir sub && echo two > sub/b && git add . && git commit -q -m first && git log --oneline | cut -d' ' -f2-
cd $R/repo && git status --short && echo more >> a && git status --short && git diff --stat && git commit -q -am second && git log --format='%s %an %H'
cd $R/repo && git mv a c && git rm -q sub/b && git commit -q -m third && git ls-files && ls
cd $R/repo && git checkout -q -b side HEAD~1 && ls && echo side > side && git add side && git commit -q -m side && git checkout -q main && git merge -q -m merged side && git log --oneline --graph | cut -c1-3
cd $R/repo && git fsck --full 2>&1 | grep -v dangling; git count-objects | cut -d' ' -f1
git clone -q $R/repo $R/clone && cat $R/clone/c && cd $R/clone && git log -1 --format=%s && git status --short
git clone -q $R/repo $L/clone && cd $L/clone && git log -1 --format=%s
git clone -q $L/clone $R/third && ls $R/third
cd $R/clone && echo pushed > p && git add p && git commit -q -m pushed && git push -q origin main:other && git -C $R/repo log -1 --format=%s other
cd $R/repo && git gc -q && git fsck --full && git log --oneline | wc -l && git show HEAD:c
cd $R/repo && git stash list && echo dirty >> c && git stash -q && cat c && git stash pop -q && tail -1 c && git checkout -q c
cd $R/repo && git archive HEAD | tar tf - && git grep -n one && git blame -s c | cut -d')' -f2
cd $R/repo && git reset -q --hard HEAD~1 && ls && git branch -d other; git tag v1 && git describe --tags
rm -rf $R/repo/.git $R/clone/.git $R/third/.git
"#;

case!(git, servers, |g| {
    g.set_deadline(170);
    g.steps(GIT);
});

/// A project of several files, with a library, generated source and a test.
const SOURCES: &str = r##"
mkdir -p $R/p/src $R/p/include
cat > $R/p/include/sum.h <<'EOT'
int sum(const int *v, int n);
EOT
cat > $R/p/src/sum.c <<'EOT'
#include "sum.h"
int sum(const int *v, int n) { int s = 0; for (int i = 0; i < n; i++) s += v[i]; return s; }
EOT
for n in 1 2 3 4; do printf 'int part%d(void) { return %d; }\n' $n $n > $R/p/src/part$n.c; done
cat > $R/p/src/main.c <<'EOT'
#include <stdio.h>
#include "sum.h"
#include "gen.h"
int part1(void); int part2(void); int part3(void); int part4(void);
int main(void) { int v[] = {part1(), part2(), part3(), part4(), GEN}; printf("sum %d\n", sum(v, 5)); return 0; }
EOT
printf 'OBJS = $(patsubst src/%%.c,obj/%%.o,$(wildcard src/*.c))\nprog: $(OBJS) libsum.a\n\tgcc -o $@ $(filter-out obj/sum.o,$(OBJS)) -L. -lsum\nlibsum.a: obj/sum.o\n\tar rcD $@ $^\nobj/%%.o: src/%%.c include/sum.h include/gen.h | obj\n\tgcc -O1 -Iinclude -c -o $@ $<\nobj:\n\tmkdir -p obj\ninclude/gen.h:\n\techo "#define GEN 100" > $@.tmp && mv $@.tmp $@\ncheck: prog\n\t./prog\nclean:\n\trm -rf obj prog libsum.a include/gen.h\n.PHONY: check clean\n' > $R/p/Makefile
find $R/p -exec touch -d '2020-01-02 03:04:05' {} +
"##;

case!(build_in_place, servers, |g| {
    g.set_deadline(170);
    g.setup(SOURCES);
    g.steps(
        r#"cd $R/p && make -j2 2>&1 | sort
cd $R/p && make -j2 && ./prog
$R/p/prog
cd $R/p && make check
cd $R/p && touch -d 'now + 5 seconds' src/part1.c && make -n 2>/dev/null | grep -c gcc
cd $R/p && find . -name '*.[oah]' -o -name prog | xargs touch -d '2020-01-03' && sed -i 's/return 1/return 11/' src/part1.c && touch -d '2030-01-01' src/part1.c && make -s -j2 2>/dev/null && ./prog
cd $R/p && touch -d '2020-01-02' src/part1.c
cd $R/p && ar t libsum.a && nm libsum.a | grep sum
cd $R/p && size prog > /dev/null && readelf -h prog | grep Class && strip prog && ./prog
cd $R/p && echo 'int broken(' > src/broken.c; make 2>&1 | grep -c error; rm src/broken.c
cd $R/p && make clean && ls
cd $R/p && gcc -E -Iinclude src/sum.c | tail -1
"#,
    );
});

case!(sqlite, servers, |g| {
    g.set_deadline(120);
    g.steps(
        r#"sqlite3 $R/db 'create table t(id integer primary key, name text); insert into t(name) values("a"),("b");'
sqlite3 $R/db 'select * from t'
sqlite3 $R/db 'begin; with recursive n(i) as (select 1 union all select i+1 from n where i < 2000) insert into t(name) select "row " || i from n; commit; select count(*), sum(id) from t;'
sqlite3 $R/db 'create index byname on t(name); select id from t where name = "row 1500"; pragma integrity_check;'
sqlite3 $R/db 'begin; delete from t; rollback; select count(*) from t;'
sqlite3 $R/db 'update t set name = "x" where id % 2; select count(*) from t where name = "x"; vacuum; pragma integrity_check;'
sqlite3 $R/db '.dump' | md5sum
sqlite3 $R/db '.backup '$L/backup && sqlite3 $L/backup 'select count(*) from t'
sqlite3 $L/backup '.backup '$R/restored && sqlite3 $R/restored 'pragma integrity_check; select max(id) from t'
sqlite3 $R/db 'insert into nothere values(1)'; ls $R
sqlite3 $R/missing/db 'create table t(a)'
for i in 1 2 3; do sqlite3 -cmd '.timeout 20000' $R/db "insert into t(name) values('par $i')" & done; wait; sqlite3 $R/db 'select count(*) from t where name like "par%"'
sqlite3 $R/wal 'pragma journal_mode=truncate; create table w(a); insert into w values(1); select * from w'; ls $R
/usr/bin/python3 -c 'import sqlite3,os; c=sqlite3.connect(os.environ["R"]+"/py"); c.execute("create table a(b)"); c.executemany("insert into a values(?)", [(i,) for i in range(500)]); c.commit(); print(c.execute("select sum(b) from a").fetchone()); c.close()'
rm -f $R/db $R/restored $R/wal $R/py
"#,
    );
});
