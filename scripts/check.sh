#!/usr/bin/env bash
# The gate: formats, lints, tests, documents and the rules of the design that a compiler cannot
# see. Runs every check, says at the end which failed. `scripts/check.sh --quick` leaves the tests
# out. ARGS that are not options go to scripts/test.
set -uo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
quick=0
if [[ ${1-} == --quick ]]; then quick=1; shift; fi
failed=()

# check NAME COMMAND...: runs one check and keeps its verdict.
check() {
  local name=$1 start=$SECONDS
  shift
  echo "── $name"
  if "$@"; then echo "   ok ($((SECONDS - start)) s)"
  else echo "   FAILED: $name"; failed+=("$name"); fi
}

rules_common() {
  # Comments may say what is not there; code and strings may not. The list of system calls names
  # them all, the one that the tracer lives on too.
  ! grep -rnEi 'ptrace|dlsym' common/src --include='*.rs' \
    | grep -vE '^[^:]+:[0-9]+:[[:space:]]*//' | grep -vE '^common/src/syscall/table\.rs:.*SYS_ptrace'
}

rules_dependencies() {
  local bad=0
  if grep -nE 'parrot-(trace|agent|chirp)|"\.\./(tracer|agent|server)"' shim/Cargo.toml; then
    echo "   shim may depend on common only"; bad=1
  fi
  if grep -nE 'parrot-shim|"\.\./shim"' tracer/Cargo.toml agent/Cargo.toml server/Cargo.toml common/Cargo.toml; then
    echo "   nothing may depend on the shim"; bad=1
  fi
  if grep -nE 'parrot-(trace|agent|chirp)' common/Cargo.toml; then
    echo "   common depends on no other part"; bad=1
  fi
  if grep -nE 'parrot-(trace|agent|common)' server/Cargo.toml; then
    echo "   server knows the wire only"; bad=1
  fi
  return $bad
}

rules_sizes() {
  # A warning, not a failure: a table may be long.
  git ls-files '*.rs' | while read -r file; do
    [[ -f $file ]] || continue
    lines=$(wc -l <"$file")
    if [[ $lines -gt 700 ]]; then echo "   warning: $file has $lines lines (more than 700: split it, or say why)"; fi
  done
}

rules_library() {
  local library=$target/release/libparrot.so whole=$target/shim/release/libparrot.so bad=0 newest
  [[ -e $library && -e $whole ]] || { echo "   no libparrot.so: run scripts/build"; return 1; }
  if nm "$whole" | grep -E '4core9panicking' | head -5 | grep .; then
    echo "   libparrot.so links core::panicking: something in it can panic"; bad=1
  fi
  if readelf -dW "$library" | grep NEEDED | grep -vE '\[(libc\.so\.6|ld-linux[^]]*)\]'; then
    echo "   libparrot.so asks for a library besides libc"; bad=1
  fi
  newest=$(objdump -T "$library" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -1)
  echo "   newest glibc symbol version needed: ${newest:-none}"
  if [[ -n $newest && $(printf '%s\nGLIBC_2.34\n' "$newest" | sort -V | tail -1) != GLIBC_2.34 ]]; then
    echo "   libparrot.so needs a glibc newer than 2.34"; bad=1
  fi
  # What every process pays for at its start (shim/layout.ld).
  local segments data relocations
  segments=$(readelf -lW "$library" | grep -c ' LOAD ')
  data=$((0 + $(readelf -lW "$library" | awk '$1 == "LOAD" && / RW / { print $6 }')))
  relocations=$(readelf -rW "$library" | grep -c ' R_')
  echo "   at every start: $segments segments, $data bytes of variables, $relocations relocations"
  if [[ $segments -gt 2 || $data -gt 4096 || $relocations -gt 80 ]]; then
    echo "   libparrot.so shall be mapped by two calls, its variables shall be one page, and of"
    echo "   relocations it may have 80: what is large belongs into memory::Mapped"; bad=1
  fi
  if readelf -lW "$library" | grep -E '^ +TLS '; then
    echo "   libparrot.so has thread-local variables"; bad=1
  fi
  return $bad
}

rules_names() {
  # No absolute path of a developer's machine belongs into the tree.
  ! git grep -nIE '(^|[^[:alnum:]._-])/(wor[k]|roo[t])/[a-zA-Z._]' -- . ':!Cargo.lock'
}

rules_deny() {
  # Advisories are looked at where somebody has fetched the list (`cargo deny fetch db`): the gate needs
  # no network, and a new advisory is no fault of a change.
  local rules=(licenses bans sources) home=${CARGO_HOME:-$HOME/.cargo}
  [[ -z $(find "$home"/advisory-db* -name '*.md' -print -quit 2>/dev/null) ]] || rules+=(advisories)
  cargo deny --offline -L error check "${rules[@]}" \
    && cargo deny --offline -L error --manifest-path shim/Cargo.toml --config deny.toml check "${rules[@]}"
}

documents() {
  RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet \
    && RUSTDOCFLAGS='-D warnings' cargo doc --manifest-path shim/Cargo.toml --target-dir "$target/shim" --no-deps --quiet
}

scripts_parse() {
  local script bad=0
  for script in scripts/* .ci/*; do
    case $(head -1 "$script") in '#!'*bash) bash -n "$script" || bad=1 ;; esac
  done
  return $bad
}

shim=(--manifest-path shim/Cargo.toml --target-dir "$target/shim")
check "scripts parse" scripts_parse
check "fmt" cargo fmt --all --check
check "fmt, shim" cargo fmt --manifest-path shim/Cargo.toml --check
check "clippy" cargo clippy --workspace --all-targets --quiet -- -D warnings
check "clippy, shim" cargo clippy "${shim[@]}" --quiet -- -D warnings
if [[ $quick -eq 1 ]]; then check "build" scripts/build
else check "tests" scripts/test "$@"; fi
check "documents" documents
check "common names no technique" rules_common
check "who depends on whom" rules_dependencies
check "file sizes" rules_sizes
check "libparrot.so" rules_library
check "no names of a workplace" rules_names
if command -v cargo-deny >/dev/null 2>&1; then check "cargo deny" rules_deny; fi

if [[ ${#failed[@]} -gt 0 ]]; then
  printf 'check: failed after %s s:\n' "$SECONDS"
  printf '  %s\n' "${failed[@]}"
  exit 1
fi
echo "check: all passed in $SECONDS s"
