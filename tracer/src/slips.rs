//! `--holes`: which calls slip past the library.
//!
//! The program runs with `libparrot.so` and under the tracer at once, both on the tracer's session.
//! What the library catches it answers by itself, with calls of its own to the kernel, which are
//! known by their address and left alone. Every other call is decided here; one that must be
//! answered or changed got past the library. So the program works, and all of its slips are seen.
//!
//! ```text
//!   call ── from libparrot's code, or from a function that it called? ──▶ let through
//!     │ no
//!     ▼
//!   handler ── passes ──▶ let through
//!     │ answered, failed, changed
//!     ▼
//!   a slip: call, program, library and function of the instruction, caller, example
//! ```
//!
//! Who called is read from the stack: words that lie behind a call instruction in code. In rare
//! cases such a word is a leftover of an earlier call: it names the wrong caller, or (within the first
//! few words) hides a slip.

use crate::elf::{Elf, Function};
use crate::memory;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Words of the stack that belong to the functions of libc that a hook calls.
const NEAR: usize = 32;
/// Words of the stack in which a caller outside of libc is looked for.
const FAR: usize = 1024;
/// Functions that only hand a call on: the caller is behind them.
const LIBC: [&str; 4] = ["libc.so", "ld-linux", "libpthread", "libparrot.so"];

/// How the slips are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table for people.
    Text,
    /// One JSON object.
    Json,
}

/// Executable code in a process.
#[derive(Debug, Clone)]
struct Code {
    start: u64,
    end: u64,
    /// Where the file is mapped from.
    offset: u64,
    file: PathBuf,
}

/// A place in a program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Site {
    /// The file.
    library: String,
    /// Function and distance, or the distance from the start of the file.
    symbol: String,
}

/// What slips are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Slip {
    call: String,
    site: Site,
    caller: Option<Site>,
    program: String,
    preloaded: bool,
}

/// How often, and one example of what it was about.
#[derive(Debug)]
struct Seen {
    count: u64,
    example: String,
}

/// Everything that slipped, and what was looked up to tell where from.
#[derive(Debug, Default)]
pub(crate) struct Slips {
    seen: BTreeMap<Slip, Seen>,
    maps: HashMap<i32, Vec<Code>>,
    symbols: HashMap<PathBuf, Vec<(u64, Function)>>,
}

/// The registers that tell who made a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    pub(crate) ip: u64,
    pub(crate) sp: usize,
}

impl Slips {
    /// The process runs another program now, or is a new one.
    pub(crate) fn forget(&mut self, tgid: i32) {
        self.maps.remove(&tgid);
    }

    /// Whether a call was made by the library's own code, or by a function of libc that it called.
    pub(crate) fn is_the_librarys(&mut self, tgid: i32, at: At) -> bool {
        let Some(code) = self.code(tgid, at.ip) else { return false };
        if is_libparrot(&code.file) || !is_libc(&code.file) {
            return is_libparrot(&code.file);
        }
        let returns = self.returns(tgid, at.sp, NEAR);
        let files = returns.iter().map(|(_, code)| &code.file);
        // What lies behind the first caller outside of libc may be left over from the start.
        let mut callers = files.filter(|file| is_libparrot(file) || !is_libc(file));
        callers.next().is_some_and(|file| is_libparrot(file))
    }

    /// Notes a call that was answered, failed or changed here.
    pub(crate) fn note(
        &mut self,
        tgid: i32,
        at: At,
        call: String,
        example: impl FnOnce() -> String,
    ) {
        let returns = self.returns(tgid, at.sp, FAR);
        let Some(code) = self.code(tgid, at.ip) else { return };
        let site = self.site(&code, at.ip);
        let caller = returns.into_iter().find(|(_, code)| !is_libc(&code.file));
        let caller = caller.filter(|_| is_libc(&code.file));
        let caller = caller.map(|(address, code)| self.site(&code, address));
        let preloaded = self
            .maps
            .get(&tgid)
            .is_some_and(|codes| codes.iter().any(|code| is_libparrot(&code.file)));
        let exe = std::fs::read_link(format!("/proc/{tgid}/exe")).unwrap_or_default();
        let slip = Slip { call, site, caller, program: exe.display().to_string(), preloaded };
        let seen = self.seen.entry(slip);
        let seen = seen.or_insert_with(|| Seen { count: 0, example: example() });
        seen.count += 1;
    }

    /// The code that holds an address; looked up again when it is new.
    fn code(&mut self, tgid: i32, ip: u64) -> Option<Code> {
        let find = |codes: &Vec<Code>| {
            codes.iter().find(|code| (code.start..code.end).contains(&ip)).cloned()
        };
        if let Some(code) = self.maps.get(&tgid).and_then(find) {
            return Some(code);
        }
        let text = std::fs::read_to_string(format!("/proc/{tgid}/maps")).ok()?;
        let codes: Vec<Code> = text.lines().filter_map(parse_map).collect();
        let code = find(&codes);
        self.maps.insert(tgid, codes);
        code
    }

    /// The return addresses among the first words of the stack, as far as can be told.
    fn returns(&mut self, tgid: i32, sp: usize, words: usize) -> Vec<(u64, Code)> {
        let mut bytes = vec![0; words * 8];
        let len = memory::read(tgid, sp, &mut bytes).unwrap_or(0);
        let codes = self.maps.get(&tgid).map_or(&[][..], Vec::as_slice);
        let words = bytes.get(..len).unwrap_or_default().chunks_exact(8);
        words
            .filter_map(|word| {
                let word = u64::from_ne_bytes(word.try_into().ok()?);
                let code = codes.iter().find(|code| (code.start..code.end).contains(&word))?;
                follows_a_call(tgid, word).then(|| (word, code.clone()))
            })
            .collect()
    }

    /// An address in words.
    fn site(&mut self, code: &Code, address: u64) -> Site {
        let functions =
            self.symbols.entry(code.file.clone()).or_insert_with(|| functions(&code.file));
        let place = address - code.start + code.offset;
        let at = functions.partition_point(|(start, _)| *start <= place);
        let found = at.checked_sub(1).and_then(|at| functions.get(at));
        let symbol = match found {
            Some((start, function)) if place - start < function.size.max(1) => {
                format!("{}+{:#x}", function.name, place - start)
            }
            _ => format!("+{place:#x}"),
        };
        Site { library: code.file.display().to_string(), symbol }
    }

    /// All of it, for people or programs.
    pub(crate) fn report(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Json => self.json(),
        }
    }

    fn text(&self) -> String {
        let mut rows: Vec<_> = self.seen.iter().collect();
        rows.sort_by_key(|(slip, seen)| (!slip.preloaded, std::cmp::Reverse(seen.count)));
        let of = |preloaded| {
            let some = rows.iter().filter(|(slip, _)| slip.preloaded == preloaded);
            some.map(|(_, seen)| seen.count).sum::<u64>()
        };
        let mut out = format!("parrot-trace: {} calls slipped past libparrot.so", of(true));
        let other = of(false);
        if other > 0 {
            let _ = write!(
                out,
                ", and {other} came from programs that it is not in (static, set-user-id): without \
                 --holes these run under parrot-trace"
            );
        }
        out.push('\n');
        if rows.is_empty() {
            return out;
        }
        let _ = writeln!(
            out,
            "   count  call              made in                   called by, example"
        );
        for (slip, seen) in rows {
            let site = |site: &Site| format!("{}:{}", base(&site.library), site.symbol);
            let mark = if slip.preloaded { "" } else { " (not preloaded)" };
            let caller = slip.caller.as_ref().map_or_else(|| base(&slip.program).to_owned(), site);
            let _ = writeln!(
                out,
                "{:8}  {:16}  {:24}  {caller}{mark}  {}",
                seen.count,
                slip.call,
                site(&slip.site),
                seen.example
            );
        }
        out
    }

    fn json(&self) -> String {
        let site = |site: &Site| {
            format!(
                "{{\"library\":{},\"symbol\":{}}}",
                json_string(&site.library),
                json_string(&site.symbol)
            )
        };
        let rows: Vec<String> = self
            .seen
            .iter()
            .map(|(slip, seen)| {
                format!(
                    "{{\"call\":{},\"count\":{},\"library\":{},\"symbol\":{},\"caller\":{},\
                     \"program\":{},\"preloaded\":{},\"example\":{}}}",
                    json_string(&slip.call),
                    seen.count,
                    json_string(&slip.site.library),
                    json_string(&slip.site.symbol),
                    slip.caller.as_ref().map_or_else(|| "null".to_owned(), site),
                    json_string(&slip.program),
                    slip.preloaded,
                    json_string(&seen.example)
                )
            })
            .collect();
        format!("{{\"version\":1,\"slipped\":[{}]}}\n", rows.join(","))
    }
}

fn is_libparrot(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "libparrot.so")
}

fn is_libc(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    LIBC.iter().any(|start| name.starts_with(start))
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A line of `/proc/PID/maps` that is code of a file.
fn parse_map(line: &str) -> Option<Code> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights, offset) = (words.next()?, words.next()?, words.next()?);
    let path = line.get(line.find(" /")? + 1..)?;
    let (start, end) = range.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    rights.contains('x').then_some(Code {
        start: hex(start)?,
        end: hex(end)?,
        offset: hex(offset)?,
        file: path.trim_end_matches(" (deleted)").into(),
    })
}

/// Whether a call instruction ends at this address: `call rel32`, or `call` by register or memory.
fn follows_a_call(tgid: i32, address: u64) -> bool {
    let mut bytes = [0; 7];
    let Ok(at) = usize::try_from(address) else { return false };
    if memory::read(tgid, at.wrapping_sub(7), &mut bytes) != Ok(7) {
        return false;
    }
    let [a, b, c, d, e, f, _] = bytes;
    // ff /2, with or without displacement: the middle three bits of the second byte are 2.
    let indirect = |opcode: u8, modrm: u8| opcode == 0xff && modrm >> 3 & 7 == 2;
    c == 0xe8
        || indirect(f, bytes[6])
        || indirect(e, f)
        || indirect(d, e)
        || indirect(b, c)
        || indirect(a, b)
}

/// The functions of a file, by their places in it.
fn functions(file: &Path) -> Vec<(u64, Function)> {
    let Some(elf) = Elf::open(file) else { return Vec::new() };
    let Some(shift) = elf.shift() else { return Vec::new() };
    let found = elf.functions().into_iter();
    found.map(|function| (function.start.wrapping_sub(shift), function)).collect()
}

/// A text as JSON has it.
fn json_string(text: &str) -> String {
    let mut out = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => {
                out.push('\\');
                out.push(char);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_found_in_maps() {
        let line = "7f00a000-7f00f000 r-xp 00026000 08:01 77   /usr/lib/a b.so (deleted)";
        let code = parse_map(line).unwrap();
        assert_eq!((code.start, code.end, code.offset), (0x7f00_a000, 0x7f00_f000, 0x26000));
        assert_eq!(code.file, Path::new("/usr/lib/a b.so"));
        assert!(parse_map("7f00a000-7f00f000 rw-p 00026000 08:01 77   /usr/lib/a.so").is_none());
        assert!(parse_map("7f00a000-7f00f000 r-xp 00000000 00:00 0    [vdso]").is_none());
    }

    #[test]
    fn a_slip_is_told_with_its_place() {
        let mut slips = Slips::default();
        let me = std::process::id().cast_signed();
        let here = a_slip_is_told_with_its_place as fn() as usize as u64 + 4;
        for _ in 0..2 {
            slips.note(me, At { ip: here, sp: 0 }, "openat".into(), || "/a \"b\"".into());
        }
        let json = slips.report(Format::Json);
        assert!(json.contains("\"count\":2") && json.contains("told_with_its_place"), "{json}");
        assert!(
            json.contains("\"example\":\"/a \\\"b\\\"\"") && json.contains("\"preloaded\":false")
        );
        let text = slips.report(Format::Text);
        assert!(text.contains("0 calls slipped") && text.contains("openat"), "{text}");
    }
}
