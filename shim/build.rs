//! Linker flags of `libparrot.so`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for flag in [
        "-Wl,-z,nodelete",
        "-Wl,-z,initfirst",
        "-Wl,-z,now",
        "-Wl,-soname,libparrot.so",
        "-Wl,--as-needed",
    ] {
        println!("cargo:rustc-cdylib-link-arg={flag}");
    }
}
