//! The suites. Each module is a family of cases; see the library for how one body becomes many.
#[cfg(test)]
mod harness;
