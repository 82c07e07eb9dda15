//! The suites. Each module is a family of cases; see the library for how one body becomes many.
//!
//! | module | what must hold |
//! | --- | --- |
//! | `reading`, `writing`, `shells`, `archives` | the usual tools say and do what they do on a local directory |
//! | `entries` | what libc opens, stats and lists by itself |
//! | `languages`, `projects` | python, perl; git, gcc and make, sqlite3 |
//! | `calls` | rows of the table that few programs call; calls that no row has |
//! | `processes` | threads, forks, execs, daemons, signals; tracers and debuggers inside one another |
//! | `running` | programs, scripts and interpreters that lie on the remote side |
//! | `descriptors` | an open file passes through fork, exec, dup and messages |
//! | `zeros` | whatever call reads or copies: right bytes or an error, never zeros |
//! | `mounts` | every kind of rule, every way to give one |
//! | `semantics` | the promises of `docs/semantics.md` |
//! | `maps` | mapped files: stores without calls |
//! | `many` | 64 threads, 64 processes |
//! | `conformance` | other people's suites: pjdfstest, fsx |
//! | `wrong` | wrong input and dead servers: a message, an errno, in time |
//! | `recovery` | servers killed during work, networks that go away: it goes on, or is told |
//! | `lane` | traced: local names do not stop, everything else does |
//! | `untouched` | local work is the same, and costs no extra system call |
//! | `removed` | open files and directories without a name |
//! | `random` | random operations: the same results as a plain directory |
//! | `clients` | Debian's Chirp clients against our server |
//! | `tickets` | logging in with a ticket, at both servers |
//! | `doctor` | `parrot-trace --doctor`: this machine, a program, the servers |
//! | `tools` | whole tools: venv, git, make, java, rsync, vi, pipes and sockets |
//! | `status` | exit status, signals, options |
#![cfg(test)]

mod archives;
mod calls;
mod clients;
mod conformance;
mod descriptors;
mod doctor;
mod entries;
mod lane;
mod languages;
mod many;
mod maps;
mod mounts;
mod processes;
mod projects;
mod random;
mod reading;
mod recovery;
mod removed;
mod running;
mod semantics;
mod shells;
mod status;
mod tickets;
mod tools;
mod untouched;
mod writing;
mod wrong;
mod zeros;
