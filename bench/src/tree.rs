//! A tree of C source, made for the occasion: what a developer copies, lists, searches and compiles.
//!
//! ```text
//! TREE/Makefile, common.h            all: prog
//!      d00/part.h, f00.c … f23.c     small functions that call each other
//!      d01/…                         25 files in a directory
//! ```

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// Sources and one header in each directory.
const EACH: u64 = 25;
/// Functions in a source.
const FUNCTIONS: u64 = 8;

const MAKEFILE: &str = "CC = cc\nCFLAGS = -O0 -I.\nSOURCES := $(sort $(wildcard d*/*.c))\n\
OBJECTS := $(SOURCES:.c=.o)\n\nprog: $(OBJECTS)\n\t$(CC) -o $@ $(OBJECTS)\n\n\
%.o: %.c common.h\n\t$(CC) $(CFLAGS) -c -o $@ $<\n";

const COMMON: &str = "#ifndef COMMON_H\n#define COMMON_H\n#include <stddef.h>\n#include <stdint.h>\n\
#include <string.h>\n\n/* The sum that every part adds to. */\nstruct sum { uint64_t value; size_t parts; };\n\n\
static inline uint64_t mix(uint64_t a, uint64_t b) { return (a ^ (b << 7)) * 2654435761u + (a >> 3); }\n\
#endif\n";

/// Writes a tree of about so many files.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write(root: &Path, files: u64) -> io::Result<()> {
    let directories = (files / EACH).max(1);
    fs::create_dir_all(root)?;
    fs::write(root.join("Makefile"), MAKEFILE)?;
    fs::write(root.join("common.h"), COMMON)?;
    for directory in 0..directories {
        let dir = root.join(format!("d{directory:02}"));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("part.h"), header(directory))?;
        for file in 0..EACH - 1 {
            let last = directory == 0 && file == 0;
            let text =
                source(directory, file) + &if last { program(directories) } else { String::new() };
            fs::write(dir.join(format!("f{file:02}.c")), text)?;
        }
    }
    Ok(())
}

fn header(directory: u64) -> String {
    let mut text = format!("/* What the sources of directory {directory} share. */\n");
    // Writing to a string cannot fail.
    for file in 0..EACH - 1 {
        let _ = writeln!(text, "void add_{directory}_{file}(struct sum *sum);");
    }
    text
}

fn source(directory: u64, file: u64) -> String {
    let mut text =
        format!("/* Part {file} of directory {directory}: adds its share to the sum. */\n");
    text.push_str("#include \"common.h\"\n#include \"part.h\"\n\n");
    for number in 0..FUNCTIONS {
        let factor = directory * 1009 + file * 31 + number;
        let _ = write!(
            text,
            "static uint64_t step_{number}(uint64_t value)\n{{\n  char text[64];\n  \
             memset(text, (int)(value & 63), sizeof text);\n  for (size_t i = 0; i < sizeof text; i++)\n    \
             value = mix(value + (uint64_t)text[i], {factor}u);\n  return value;\n}}\n\n"
        );
    }
    let _ = write!(text, "void add_{directory}_{file}(struct sum *sum)\n{{\n");
    for number in 0..FUNCTIONS {
        let _ = writeln!(text, "  sum->value = step_{number}(sum->value);");
    }
    text.push_str("  sum->parts++;\n}\n");
    text
}

/// The main program, which calls every part of every directory.
fn program(directories: u64) -> String {
    let mut text = String::from("\n");
    let parts = || (0..directories).flat_map(|d| (0..EACH - 1).map(move |f| (d, f)));
    for (directory, file) in parts() {
        let _ = writeln!(text, "void add_{directory}_{file}(struct sum *sum);");
    }
    text.push_str("\nint main(void)\n{\n  struct sum sum = {1, 0};\n");
    for (directory, file) in parts() {
        let _ = writeln!(text, "  add_{directory}_{file}(&sum);");
    }
    let _ = write!(text, "  return sum.parts == {} ? 0 : 1;\n}}\n", directories * (EACH - 1));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_tree_compiles_and_its_program_runs() {
        let root = std::env::temp_dir().join(format!("parrot-bench-tree.{}", std::process::id()));
        write(&root, 25).unwrap();
        if crate::programs::in_path("cc").is_ok() && crate::programs::in_path("make").is_ok() {
            let made = Command::new("make").arg("-s").arg("-C").arg(&root).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            assert!(Command::new(root.join("prog")).status().unwrap().success());
        }
        fs::remove_dir_all(root).unwrap();
    }
}
