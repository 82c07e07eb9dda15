//! Linker flags of `libparrot.so`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=layout.ld");
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".to_owned());
    for flag in [
        "-Wl,-z,nodelete",
        "-Wl,-z,initfirst",
        "-Wl,-z,now",
        // Calls among our own functions are no symbols that the loader has to look up.
        "-Wl,-Bsymbolic",
        "-Wl,-soname,libparrot.so",
        "-Wl,--as-needed",
        // The compiler's start-up files would run code of theirs at the start of every program.
        "-nostartfiles",
        &format!("-Wl,-T,{here}/layout.ld"),
    ] {
        println!("cargo:rustc-cdylib-link-arg={flag}");
    }
}
