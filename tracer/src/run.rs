//! One run: from the options to the exit status.

use crate::backend::Backend;
use crate::cli::Options;
use crate::engine::{End, Engine, Plan};
use crate::launch::Program;
use crate::log::{self, Flag};
use crate::signals::{self, Signals};
use crate::{OWN_FAILURE, attach, doctor, filter, lane, os, place, refused, rules, watch};
use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use parrot_agent::driver::DRIVERS;
use parrot_agent::session::{Session, SessionConfig, Who, pick_base};
use parrot_common::mountlist::Table;
use parrot_common::syscall::TABLE;
use parrot_common::{Op, Request};
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// The guest knows by this that it runs under Parrot.
const ENABLED: &str = "PARROT_ENABLED";
/// A preloaded libparrot.so leaves everything to the tracer.
const TRACED: &str = "PARROT_TRACED";

/// Does what the options ask for.
///
/// # Errors
/// What keeps parrot-trace from its work.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.is_running {
        let running = std::env::var_os(ENABLED).is_some();
        return Ok(if running { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if let Some(name) = &options.check_driver {
        return Ok(check_driver(name));
    }
    if options.doctor {
        return doctor::run(options);
    }
    if options.command.is_empty() {
        bail!("no program to run; try --help");
    }
    match &options.session {
        // Watched by --holes: the tracer is there already.
        Some(_) if refused::nested() => become_it(options),
        Some(dir) => join(options, dir.as_os_str()),
        None => {
            start_log(options)?;
            if refused::nested() {
                return nested(options);
            }
            own(options)
        }
    }
}

/// Inside another parrot-trace: its guests are traced already, and so will the program be if it is
/// simply run; in that one's namespace, for there cannot be another.
fn nested(options: &Options) -> Result<ExitCode> {
    let inherited = std::env::var_os("PARROT_MOUNT_FILE");
    let own_file = options.mount_file.as_ref().map(|path| path.as_os_str()) != inherited.as_deref();
    if !options.mounts.is_empty() || own_file {
        bail!(
            "this process runs under another parrot-trace, which allows no mounts of one's own; give \
             them to the outer one"
        );
    }
    become_it(options)
}

/// Becomes the program: the tracer that has this process has the program too.
fn become_it(options: &Options) -> Result<ExitCode> {
    let failure = program(options, Library::Absent)?.become_program();
    let name = options.command.first().map(|name| name.to_string_lossy()).unwrap_or_default();
    Ok(ExitCode::from(attach::report(failure, &name)))
}

fn start_log(options: &Options) -> Result<()> {
    log::start(&options.debug, options.debug_file.as_deref()).context("the trace file")
}

fn check_driver(name: &str) -> ExitCode {
    let known = DRIVERS.iter().find(|driver| driver.scheme == name);
    let mut out = std::io::stdout();
    let _ = match known {
        Some(driver) => writeln!(out, "{name}: {}", driver.summary),
        None => writeln!(out, "{name}: no such driver"),
    };
    if known.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the library does in the guest.
#[derive(Debug, Clone, Copy)]
enum Library<'a> {
    /// It is not there.
    Absent,
    /// This file of it keeps the lane; the session whose rules are not the built-in ones.
    Lane(&'a Path, Option<&'a Path>),
    /// It works on this session, watched.
    Watched(&'a Path),
}

/// The program that the options name.
fn program(options: &Options, library: Library<'_>) -> Result<Program> {
    let environment = environment(options.work_dir.as_deref(), library)?;
    let (argv0, dir) = (options.argv0.as_deref(), options.work_dir.as_deref());
    Program::new(&options.command, argv0, environment, dir).context("the command line")
}

/// The guest's environment.
fn environment(
    work_dir: Option<&OsStr>,
    library: Library<'_>,
) -> Result<Vec<(OsString, OsString)>> {
    const PRELOAD: &str = "LD_PRELOAD";
    let mut all: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let others = std::env::var_os(PRELOAD).unwrap_or_default();
    let others = lane::without_libparrot(&others);
    let mut set = |key: &str, value: Option<OsString>| {
        all.retain(|(known, _)| known != key);
        all.extend(value.map(|value| (key.into(), value)));
    };
    set(ENABLED, Some("1".into()));
    match library {
        Library::Absent => {
            set(TRACED, Some("1".into()));
            set(PRELOAD, (!others.is_empty()).then_some(others));
        }
        Library::Lane(file, session) => {
            let session = session.map(|dir| dir.as_os_str().to_owned());
            set(TRACED, Some(session.unwrap_or_else(|| "1".into())));
            set(PRELOAD, Some(lane::preload(file, &others)));
        }
        Library::Watched(session) => {
            set(TRACED, None);
            set("PARROT_MOUNT_FILE", None);
            set("PARROT_MOUNT_STRING", None);
            set("PARROT_SESSION", Some(session.into()));
            set(PRELOAD, Some(lane::preload(&watch::library()?, &others)));
        }
    }
    if let Some(dir) = work_dir.filter(|dir| dir.as_bytes().starts_with(b"/")) {
        set("PWD", Some(dir.to_owned()));
    }
    Ok(all)
}

/// The normal form: parent of the program, owner of the session.
fn own(options: &Options) -> Result<ExitCode> {
    let table = rules::compile(options)?;
    let base = options.temp_dir.clone().unwrap_or_else(pick_base);
    let dir = place::make(&base, &table);
    let watch = options.holes.is_some();
    let (program, more) = prepare(options, &table, &dir)?;
    let filter = filter::base(TABLE, more);
    let mask = signals::block_all();
    // Before any thread exists.
    let mut child = program.fork(&filter, &mask).context("cannot fork")?;
    raise_descriptor_limit();
    let session = open_session(options, dir, &table)?;
    if watch || options.has_rules() {
        // For the library in the guest.
        std::fs::write(session.dir().join("rules"), &table).context("the session's rules")?;
    }
    if watch {
        watch::serve(&session)?;
    }
    let ns = rules::namespace(table, session.dir().as_os_str().as_bytes().to_vec())?;
    if let Err(error) = child.seize() {
        bail!(refused::ptrace(error.raw_os_error().unwrap_or(libc::EPERM)));
    }
    let signals = Signals::start(child.pid, true).context("signals")?;
    let plan = Plan {
        ns,
        backend: Backend::Own(session.clone()),
        on_hole: options.on_hole,
        root: child.pid,
        job_control: true,
        watch,
        lane: more.lane,
    };
    let mut engine = Engine::new(plan, signals).context("cannot start the loop")?;
    let end = engine.run();
    let statistics = options.stats_file.is_some().then(|| statistics(&session));
    let troubles = session.finish();
    place::leave(session.dir());
    report_statistics(options, &engine, statistics.as_deref())?;
    watch::report(options, &engine)?;
    if let Some(failure) = child.failure() {
        let name = options.command.first().map(|name| name.to_string_lossy()).unwrap_or_default();
        let dir = options.work_dir.as_ref().map(|dir| dir.to_string_lossy()).unwrap_or_default();
        log::tell(&refused::start(failure, &name, &dir));
        return Ok(ExitCode::from(refused::status(failure)));
    }
    for trouble in &troubles {
        log::tell(trouble);
    }
    Ok(conclude(end, !troubles.is_empty()))
}

/// The program, and what of its calls stops.
fn prepare(options: &Options, table: &[u8], dir: &Path) -> Result<(Program, filter::More)> {
    let watch = options.holes.is_some();
    let table = Table::from_bytes(table).context("the compiled mountlist is damaged")?;
    let lane = if watch { None } else { lane::library(options, &table) };
    let library = match &lane {
        _ if watch => Library::Watched(dir),
        Some(file) => Library::Lane(file, options.has_rules().then_some(dir)),
        None => Library::Absent,
    };
    let more = filter::More {
        refused: log::on(Flag::Hole),
        descriptors: watch,
        listings: table.shows(),
        lane: lane.is_some(),
    };
    Ok((program(options, library)?, more))
}

/// The session of this run: in a directory of its own, with messages for the user.
fn open_session(options: &Options, dir: PathBuf, table: &[u8]) -> Result<Session> {
    let mut config = SessionConfig::new(dir, table.to_vec());
    config.driver.auth.clone_from(&options.auth);
    if let Some(files) = &options.tickets {
        config.driver.tickets = parrot_agent::session::tickets(files);
    }
    config.notify = Some(Arc::new(log::tell));
    Session::open(config).context("cannot start the session")
}

/// The session's own counters, as JSON.
fn statistics(session: &Session) -> String {
    let mut out = vec![0; 64 << 10];
    match session.call(Who { pid: 0 }, &Request::new(Op::Stats), &mut out) {
        Ok(reply) => {
            out.truncate(reply.len);
            String::from_utf8_lossy(&out).into_owned()
        }
        Err(_) => "null".to_owned(),
    }
}

/// The exit status, or the death, that the guest's end asks for.
fn conclude(end: End, lost: bool) -> ExitCode {
    match end {
        End::Killed(signal) => {
            os::die_of(signal);
            // Only a signal that does not end a process comes here.
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(OWN_FAILURE))
        }
        End::Exited(0) if lost => ExitCode::from(OWN_FAILURE),
        End::Exited(code) => ExitCode::from(u8::try_from(code).unwrap_or(OWN_FAILURE)),
    }
}

fn report_statistics(options: &Options, engine: &Engine, session: Option<&str>) -> Result<()> {
    if options.syscall_table {
        let _ = std::io::stderr().write_all(engine.stats().table().as_bytes());
    }
    if let Some(path) = &options.stats_file {
        let json = engine.stats().json(session);
        std::fs::write(path, json).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The session holds a descriptor for every open file of every guest.
fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// The other form: this process becomes the program, a descendant traces it for a running session.
fn join(options: &Options, dir: &OsStr) -> Result<ExitCode> {
    let path = Path::new(dir).join("rules");
    let table = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let ns = rules::namespace(table, dir.as_bytes().to_vec())?;
    let lane = lane::library(options, &ns.table);
    let open = lane.is_some();
    let library = match &lane {
        Some(file) => Library::Lane(file, Some(Path::new(dir))),
        None => Library::Absent,
    };
    let program = program(options, library)?;
    let on_hole = options.on_hole;
    let trace = |root| {
        raise_descriptor_limit();
        log::tell_session(ns.session);
        // A trace file that cannot be made is no reason to leave the program alone.
        let _ = start_log(options);
        let Ok(signals) = Signals::start(root, false) else { return };
        let backend = Backend::Joined(ns.session);
        let plan =
            Plan { ns, backend, on_hole, root, job_control: false, watch: false, lane: open };
        if let Ok(mut engine) = Engine::new(plan, signals) {
            engine.adopt_descriptors();
            engine.run();
        }
    };
    let more = filter::More { listings: ns.table.shows(), lane: open, ..filter::More::default() };
    let (failure, mask) = attach::become_traced(&program, more, trace);
    signals::unblock(&mask);
    let name = options.command.first().map(|name| name.to_string_lossy()).unwrap_or_default();
    Ok(ExitCode::from(attach::report(failure, &name)))
}
