//! Looking into program files: what a program needs to run, and which function an address lies in.
//!
//! Only what these two questions need of ELF, 64 bits little-endian; a file that is something else
//! or damaged simply has no answers.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The longest section or segment that is read whole.
const MAX_PART: u64 = 256 << 20;
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PF_X: u64 = 1;
const SHT_SYMTAB: u32 = 2;
const SHT_DYNSYM: u32 = 11;
const STT_FUNC: u8 = 2;
const SHF_EXECINSTR: u64 = 4;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
/// Size of a program header, a section header, a symbol.
const PROGRAM_HEADER: usize = 56;
const SECTION_HEADER: usize = 64;
const SYMBOL: usize = 24;

/// A program file.
#[derive(Debug)]
pub(crate) struct Elf {
    file: File,
    head: Vec<u8>,
}

/// A part of the file: where it lies in the file and in memory.
#[derive(Debug, Clone, Copy)]
struct Part {
    kind: u32,
    flags: u64,
    name: u32,
    address: u64,
    offset: u64,
    size: u64,
    link: u32,
}

/// A function: first address, size, name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) start: u64,
    pub(crate) size: u64,
    pub(crate) name: String,
}

/// Why the library cannot be in a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is of another architecture.
    Architecture,
    /// It has no loader.
    Static,
    /// Its loader is musl's, and the library is made for glibc.
    Musl,
    /// The address sanitizer, which wants to be the first library and ends the program when it is not.
    Sanitizer,
}

/// What kind of ELF a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    /// 64 bits.
    wide: bool,
    /// `e_machine`.
    machine: u16,
}

impl Elf {
    /// Opens a file; `None` when it is no ELF file.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        let file = File::open(path).ok()?;
        let mut head = vec![0; 64];
        let len = file.read_at(&mut head, 0).ok()?;
        head.truncate(len);
        head.starts_with(b"\x7fELF").then_some(Self { file, head })
    }

    /// Its class and machine.
    fn kind(&self) -> Kind {
        Kind {
            wide: self.head.get(4) == Some(&2) && self.head.get(5) == Some(&1),
            machine: half(&self.head, 18).unwrap_or(0),
        }
    }

    /// Whether it is of the architecture that Parrot is made for.
    fn is_x86_64(&self) -> bool {
        const X86_64: u16 = 62;
        let kind = self.kind();
        kind.wide && kind.machine == X86_64
    }

    /// Why the library cannot be in it, as far as the file itself tells; `None` when it can.
    pub(crate) fn unfit(&self) -> Option<Unfit> {
        if !self.is_x86_64() {
            return Some(Unfit::Architecture);
        }
        match self.interpreter() {
            None => Some(Unfit::Static),
            Some(loader) if loader.contains("musl") => Some(Unfit::Musl),
            Some(_) => {
                let sanitizer = |name: &String| name.starts_with("libasan");
                self.needed().iter().any(sanitizer).then_some(Unfit::Sanitizer)
            }
        }
    }

    /// Its loader, when it has one.
    pub(crate) fn interpreter(&self) -> Option<String> {
        let part = self.segments().into_iter().find(|part| part.kind == PT_INTERP)?;
        let bytes = self.bytes(part.offset, part.size.min(4096))?;
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        String::from_utf8(bytes.get(..end)?.to_vec()).ok()
    }

    /// The libraries that it names.
    fn needed(&self) -> Vec<String> {
        self.read_needed().unwrap_or_default()
    }

    fn read_needed(&self) -> Option<Vec<String>> {
        let segments = self.segments();
        let dynamic = segments.iter().find(|part| part.kind == PT_DYNAMIC)?;
        let bytes = self.bytes(dynamic.offset, dynamic.size)?;
        let entries: Vec<(u64, u64)> =
            bytes.chunks_exact(16).filter_map(|e| Some((word(e, 0)?, word(e, 8)?))).collect();
        let value = |tag| entries.iter().find(|(t, _)| *t == tag).map(|(_, value)| *value);
        let (address, size) = (value(DT_STRTAB)?, value(DT_STRSZ)?);
        let within = |part: &&Part| {
            part.kind == PT_LOAD && part.address <= address && address - part.address < part.size
        };
        let part = segments.iter().find(within)?;
        let text = self.bytes(address - part.address + part.offset, size)?;
        let name = |at: u64| string(&text, u32::try_from(at).ok()?).map(str::to_owned);
        let names = entries.iter().filter(|(tag, _)| *tag == DT_NEEDED);
        Some(names.filter_map(|(_, at)| name(*at)).collect())
    }

    /// Whether it has a section of this name.
    pub(crate) fn has_section(&self, name: &str) -> bool {
        let sections = self.sections();
        let Some(names) = half(&self.head, 62).and_then(|at| sections.get(usize::from(at))) else {
            return false;
        };
        let Some(text) = self.bytes(names.offset, names.size) else { return false };
        sections.iter().any(|part| string(&text, part.name) == Some(name))
    }

    /// Its functions, by address. Those of the full table of symbols where there is one.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let sections = self.sections();
        let table = |kind| sections.iter().find(|part| part.kind == kind);
        let mut found: Vec<Function> = [SHT_SYMTAB, SHT_DYNSYM]
            .into_iter()
            .filter_map(|kind| self.symbols(table(kind)?, &sections))
            .flatten()
            .collect();
        found.sort_by_key(|function| (function.start, function.name.len()));
        found.dedup_by_key(|function| function.start);
        found
    }

    fn symbols(&self, table: &Part, sections: &[Part]) -> Option<Vec<Function>> {
        let names = sections.get(usize::try_from(table.link).ok()?)?;
        let text = self.bytes(names.offset, names.size)?;
        let bytes = self.bytes(table.offset, table.size)?;
        let function = |entry: &[u8]| {
            let kind = entry.get(4)? & 15;
            let (start, size) = (word(entry, 8)?, word(entry, 16)?);
            let name = string(&text, quarter(entry, 0)?)?.to_owned();
            (kind == STT_FUNC && start != 0).then_some(Function { start, size, name })
        };
        Some(bytes.chunks_exact(SYMBOL).filter_map(function).collect())
    }

    /// How far the addresses of its code are from the places in the file.
    pub(crate) fn shift(&self) -> Option<u64> {
        let code = |part: &Part| part.kind == PT_LOAD && part.flags & PF_X != 0;
        let part = self.segments().into_iter().find(code)?;
        Some(part.address.wrapping_sub(part.offset))
    }

    /// How many system call instructions its code has: `syscall` shortly behind a number that is put
    /// into the register for it, as compilers write it.
    pub(crate) fn inline_calls(&self) -> usize {
        let code = |part: &&Part| part.flags & SHF_EXECINSTR != 0;
        let sections = self.sections();
        sections
            .iter()
            .filter(code)
            .filter_map(|part| self.bytes(part.offset, part.size))
            .map(|bytes| count_calls(&bytes))
            .sum()
    }

    fn segments(&self) -> Vec<Part> {
        let read = || {
            let (at, count) = (word(&self.head, 32)?, half(&self.head, 56)?);
            let bytes = self.bytes(at, u64::from(count) * PROGRAM_HEADER as u64)?;
            let part = |header: &[u8]| {
                Some(Part {
                    kind: quarter(header, 0)?,
                    flags: quarter(header, 4)?.into(),
                    name: 0,
                    offset: word(header, 8)?,
                    address: word(header, 16)?,
                    size: word(header, 32)?,
                    link: 0,
                })
            };
            Some(bytes.chunks_exact(PROGRAM_HEADER).filter_map(part).collect())
        };
        if self.kind().wide { read().unwrap_or_default() } else { Vec::new() }
    }

    fn sections(&self) -> Vec<Part> {
        let read = || {
            let (at, count) = (word(&self.head, 40)?, half(&self.head, 60)?);
            let bytes = self.bytes(at, u64::from(count) * SECTION_HEADER as u64)?;
            let part = |header: &[u8]| {
                Some(Part {
                    name: quarter(header, 0)?,
                    kind: quarter(header, 4)?,
                    flags: word(header, 8)?,
                    address: word(header, 16)?,
                    offset: word(header, 24)?,
                    size: word(header, 32)?,
                    link: quarter(header, 40)?,
                })
            };
            Some(bytes.chunks_exact(SECTION_HEADER).filter_map(part).collect())
        };
        if self.kind().wide { read().unwrap_or_default() } else { Vec::new() }
    }

    fn bytes(&self, offset: u64, len: u64) -> Option<Vec<u8>> {
        let all = self.file.metadata().ok()?.len();
        if len > MAX_PART || offset.checked_add(len)? > all {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }
}

/// How many bytes before the instruction the number is put into its register.
const NEAR: usize = 24;
/// In code up to this size any value may be the number; in more, such bytes come about by chance.
const SMALL: usize = 64 << 10;

fn count_calls(code: &[u8]) -> usize {
    // mov $NUMBER, %eax: b8 and four bytes.
    let number = |bytes: &[u8]| matches!(bytes, [0xb8, _, 0 | 1, 0, 0]);
    // mov %REGISTER, %rax.
    let moved = |bytes: &[u8]| matches!(bytes, [0x48 | 0x4c, 0x89, modrm] if modrm & 0xc7 == 0xc0);
    let call = |at: &usize| {
        let Some(before) = code.get(at.saturating_sub(NEAR)..*at) else { return false };
        code.get(*at..*at + 2) == Some(&[0x0f, 0x05])
            && (before.windows(5).any(number)
                || (code.len() <= SMALL && before.windows(3).any(moved)))
    };
    (0..code.len()).filter(call).count()
}

fn string(text: &[u8], at: u32) -> Option<&str> {
    let rest = text.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().position(|&b| b == 0)?;
    std::str::from_utf8(rest.get(..end)?).ok()
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn quarter(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_read() {
        let elf = Elf::open(&std::env::current_exe().unwrap()).unwrap();
        assert!(elf.kind().wide);
        assert!(elf.has_section(".text") && !elf.has_section(".nonsense"));
        let functions = elf.functions();
        assert!(functions.iter().any(|f| f.name.contains("this_program_is_read")));
        assert!(functions.is_sorted_by_key(|f| f.start));
        assert!(elf.needed().iter().any(|name| name.starts_with("libc.")));
        assert!(Elf::open(Path::new("/etc/passwd")).is_none());
    }

    #[test]
    fn calls_are_counted() {
        // mov $257,%eax; syscall; and a syscall without a number before it.
        let code = [0x90, 0xb8, 1, 1, 0, 0, 0x0f, 0x05, 0xc3];
        assert_eq!(count_calls(&code), 1);
        assert_eq!(count_calls(&[0x0f, 0x05, 0xc3]), 0);
        assert_eq!(count_calls(&[0x48, 0x89, 0xf8, 0x0f, 0x05]), 1);
    }
}
