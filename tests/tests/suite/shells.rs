//! Shells: redirections, pipes, working directories, here-documents, globbing, jobs.

use parrot_tests::{Guest, case};

use crate::reading::TREE;

case!(redirections, |g| {
    g.setup(TREE);
    g.steps(
        r#"cat < $R/hello > $R/out 2> $R/err; cat $R/out $R/err
cat $R/missing 2> $R/err; cat $R/err; rm $R/err
{ echo a; echo b; } > $R/out; cat $R/out
{ cat; echo end; } < $R/d/text >> $R/out; cat $R/out
while read -r line; do echo "[$line]"; done < $R/d/text
while read -r a; do read -r b; echo "$a+$b"; done < $R/d/text
cat <<EOT > $R/here
  line one $((1+1))
  line two
  EOT
cat $R/here
cat <<< "here string" > $R/hs; cat $R/hs
cat < $R/hello | tr a-z A-Z | tee $R/upper | wc -c
cat $R/upper
exec 7< $R/d/text; read -r x <&7; cat <&7; echo "first was $x"; exec 7<&-
cat 0< $R/hello
echo both &> $R/both; cat $R/both
echo e 2>&1 > $R/e1 >&2; cat $R/e1
(echo sub; cat) < $R/hello > $R/subout; cat $R/subout
diff <(sort $R/d/text) <(sort $R/d/text) && echo same
paste <(cat $R/hello) <(head -1 $R/d/text)
x=$(cat $R/hello); echo "$x"
x=$(< $R/hello); echo "$x"
mapfile -t lines < $R/d/text; echo "${#lines[@]} ${lines[1]}"
source <(cat $R/hello | sed 's/^/echo sourced /')
echo 'echo "sourced file $1"' > $R/src.sh; . $R/src.sh arg
yes | head -n 100000 | md5sum; seq 100000 > $R/seq; tail -1 $R/seq
: > $R/empty1; wc -c < $R/empty1
cat /dev/fd/3 3< $R/hello
cat /proc/self/fd/3 3< $R/hello
cat /dev/stdin < $R/hello
echo out > /dev/stdout | cat
"#,
    );
});

case!(working_directory, |g| {
    g.setup(TREE);
    g.steps(
        r#"cd $R && pwd && ls
cd $R && /bin/pwd && /bin/pwd -P
cd $R/d && cat text && cat ../hello && cat ./e/deep && cat e/../text
cd $R/d/e && cd .. && pwd && cd .. && pwd && ls
cd $R/dirlink && pwd && pwd -P && cat deep && ls .. | sort
cd -P $R/dirlink && pwd
cd $R/missing
cd $R/hello
cd $R/d && echo rel > rel && cat rel && rm rel && mkdir sub && rmdir sub && mv text text2 && mv text2 text
cd $R && (cd d && pwd) && pwd
cd $R && bash -c 'pwd; cd d; pwd; cat text'
cd $R && sh -c 'pwd; cat d/text'
cd $R && env -i /bin/pwd
cd $R && find . -name text && echo d/* && ls -d */ 
cd $R && tar cf - d | tar tf - | sort | head -3
cd $R && stat -c %n hello && test -f hello && test -d d && realpath hello
cd / && cat ${R#/}/hello
cd / && cat .//${R#/}//d///text
cat $R/d/../d/./text $R/d/e/../../hello
cat $R/../w/hello
cat $R/hello/../hello
cat /../..$R/hello
cd $R/d && cat $L/../local/none; cd $L && ls
cd $R && readlink /proc/self/cwd
cd $R && ls /proc/self/cwd
pushd $R/d > /dev/null && pwd && popd > /dev/null
cd $R/d && python3 -c 'import os; print(os.getcwd(), sorted(os.listdir("."))[-1], open("text").read())'
cd $R/d && perl -MCwd -e 'print getcwd(), "\n"; open F, "text"; print <F>'
"#,
    );
});

case!(programs_together, |g| {
    g.setup(TREE);
    g.steps(
        r#"ls $R/d/text $R/hello | xargs cat
find $R/d -type f | sort | xargs -n 1 wc -l
find $R/d -type f -print0 | sort -z | xargs -0 -P 4 -I{} sh -c 'wc -c < "{}"' | sort -n
seq 20 | xargs -P 5 -I{} sh -c "echo {} > $R/p{}"; cat $R/p* | sort -n | tr '\n' ' '
for i in 1 2 3 4 5 6 7 8; do cat $R/numbers | md5sum & done; wait
for i in $(seq 30); do echo $i >> $R/appended & done; wait; sort -n $R/appended | tr '\n' ' '; sort -n -o $R/appended $R/appended
cat $R/big | head -1
cat $R/big | (read -r a; echo "$a")
timeout 10 cat $R/hello
env X=1 cat $R/hello
env -i cat $R/hello
nice cat $R/hello
nohup cat $R/hello 2>/dev/null
setsid -w cat $R/hello
bash -c "exec cat $R/hello"
bash -c "cat $R/hello; exit 3"
bash -c "cat $R/hello; kill -TERM \$\$"
trap 'echo trapped; cat $R/hello' USR1; kill -USR1 $$; trap - USR1
flock $R/lock echo locked; flock -n $R/lock -c 'echo again'
exec 8> $R/lock; flock -n 8; flock -n $R/lock echo no; exec 8>&-
(sleep 0.1; echo late >> $R/hello) & wait; tail -1 $R/hello
stdbuf -oL cat $R/d/text
script -qec "cat $R/hello" /dev/null < /dev/null | tr -d '\r'
awk '{ s += $1 } END { print s }' $R/numbers
awk -v out=$R/awk 'BEGIN { print "made" > out; close(out); while ((getline line < out) > 0) print line }'
bc < $R/short 2>/dev/null; true
m4 $R/hello 2>/dev/null; true
"#,
    );
});

case!(fixed_shell, fixed, |g| {
    g.setup(TREE);
    g.steps(
        r#"while read -r line; do echo "[$line]"; done < $R/d/text
cat <<EOT > $R/here
  line $((1+1))
  EOT
busybox cat $R/here
cd $R/dirlink && pwd && busybox pwd && busybox cat deep
cd $R && (cd d && pwd) && pwd && echo d/*
for i in 1 2 3 4; do busybox md5sum $R/numbers & done; wait
busybox cat $R/big | busybox head -n 1
busybox find $R/d -type f | busybox sort | busybox xargs busybox wc -l
x=$(busybox cat $R/hello); echo "$x"
exec 7< $R/d/text; read -r x <&7; busybox cat <&7; echo "first was $x"; exec 7<&-
busybox sh -c "cat $R/hello; exit 3"
busybox sh -c 'kill -TERM $$'
cat $R/hello
sort $R/d/text
busybox awk '{ s += $1 } END { print s }' $R/numbers
"#,
    );
});
