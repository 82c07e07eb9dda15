//! `parrot-agent`: the process that owns a session.

use anyhow::{Context, bail};
use clap::{ArgGroup, Parser};
use parrot_agent::{Session, SessionConfig, serve, start};
use parrot_common::client::SessionClient;
use parrot_common::{Files, Op, Request, Stop};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The process that owns a Parrot session: the connections to servers, the open files, the caches.
///
/// Programs started with libparrot.so start it themselves when they first use a remote name, and it
/// ends by itself when nobody has needed it for a while.
#[derive(Debug, Parser)]
#[command(name = "parrot-agent", version)]
#[command(group(ArgGroup::new("what").required(true)))]
struct Cli {
    /// Be the agent of this session directory; end at once if it has one
    #[arg(long, value_name = "DIR", group = "what")]
    session: Option<PathBuf>,
    /// End when nobody has needed the agent for so long
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    idle: u64,
    /// Wait until everything written is on the servers
    #[arg(long, value_name = "DIR", group = "what")]
    sync: Option<PathBuf>,
    /// Print what the session has counted, as JSON
    #[arg(long, value_name = "DIR", group = "what")]
    stats: Option<PathBuf>,
    /// List this user's sessions
    #[arg(long, group = "what")]
    list: bool,
    /// End the agent of a session, after everything written is on the servers
    #[arg(long, value_name = "DIR", group = "what")]
    stop: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "parrot-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    if let Some(dir) = &cli.session {
        return be_agent(dir, Duration::from_secs(cli.idle));
    }
    if let Some(dir) = &cli.sync {
        return ask(dir, Op::SyncAll).map(|_| ExitCode::SUCCESS);
    }
    if let Some(dir) = &cli.stats {
        return print(&ask(dir, Op::Stats)?.1);
    }
    if let Some(dir) = &cli.stop {
        return stop(dir);
    }
    let mut text = Vec::new();
    for dir in start::sessions(&parrot_agent::session::pick_base()) {
        let state = match start::claim(&dir) {
            Ok(None) => "running",
            _ => "not running",
        };
        text.extend_from_slice(dir.as_os_str().as_bytes());
        text.extend_from_slice(format!(" {state}").as_bytes());
        text.push(b'\n');
    }
    text.pop();
    print(&text)
}

fn print(text: &[u8]) -> anyhow::Result<ExitCode> {
    if !text.is_empty() {
        let mut out = std::io::stdout().lock();
        out.write_all(text)?;
        out.write_all(b"\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn be_agent(dir: &Path, idle: Duration) -> anyhow::Result<ExitCode> {
    let Some(_claim) = start::claim(dir)? else { return Ok(ExitCode::SUCCESS) };
    // Before any thread: all of them leave these signals to the listener.
    let end = serve::end_signals().context("signals")?;
    start::raise_file_limit();
    let config = SessionConfig::new(dir.to_owned(), start::rules(dir)?);
    let session = Session::open(config)?;
    let served = serve::serve(&session, &end, idle);
    let unsent = session.finish();
    session.discard();
    served?;
    Ok(if unsent.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks the agent of a session directory; its process and the answer.
fn ask(dir: &Path, op: Op) -> anyhow::Result<(u64, Vec<u8>)> {
    let dir = dir.canonicalize().with_context(|| format!("no {}", dir.display()))?;
    let name = dir.as_os_str().as_bytes();
    let mut client = SessionClient::new(name, None);
    let mut out = vec![0; 1 << 20];
    match client.call(&Request::new(op).args(hello(op)), &mut out) {
        Ok(reply) => {
            out.truncate(reply.len);
            Ok((reply.aux[0], out))
        }
        Err(Stop::Fail(errno)) if std::fs::exists(dir.join("sock")).unwrap_or(false) => {
            bail!("{}: {}: {errno}", dir.display(), op.name())
        }
        Err(_) => bail!("{} has no running agent", dir.display()),
    }
}

const fn hello(op: Op) -> [u64; 5] {
    match op {
        Op::Hello => [parrot_common::message::VERSION, 0, 0, 0, 0],
        _ => [0; 5],
    }
}

fn stop(dir: &Path) -> anyhow::Result<ExitCode> {
    let (pid, _) = ask(dir, Op::Hello)?;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid)?);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).context("cannot end it")?;
    start::wait_unclaimed(dir)?;
    Ok(ExitCode::SUCCESS)
}
