//! Whether the servers of the mountlist answer.

use super::{Finding, Level};
use crate::cli::Options;
use parrot_agent::session::{Session, SessionConfig, Who};
use parrot_common::mountlist::{RuleKind, Table, set_default_deadline};
use parrot_common::{Name, Op, Request, Stop};
use std::time::Instant;

/// How long a server is waited for unless the options or its rule say otherwise, seconds.
const PATIENCE: u64 = 5;

/// Asks for the attributes of what each remote rule names.
pub(super) fn reach(options: &Options, mut table: Vec<u8>) -> Vec<Finding> {
    set_default_deadline(&mut table, options.timeout.unwrap_or(PATIENCE));
    let Some(rules) = Table::from_bytes(&table) else { return Vec::new() };
    let remote: Vec<(Vec<u8>, String)> = rules
        .rules()
        .filter(|rule| rule.kind == RuleKind::Remote && rule.prefix != rule.target)
        .map(|rule| (rule.prefix.to_vec(), String::from_utf8_lossy(rule.target).into_owned()))
        .collect();
    if remote.is_empty() {
        return vec![Finding::new(Level::Good, "none", "no rule of the mountlist names a server")];
    }
    let base = options.temp_dir.clone().unwrap_or_else(parrot_agent::session::pick_base);
    let mut config = SessionConfig::new(crate::place::make(&base, &table), table.clone());
    config.driver.auth.clone_from(&options.auth);
    if let Some(files) = &options.tickets {
        config.driver.tickets = parrot_agent::session::tickets(files);
    }
    let session = match Session::open(config) {
        Ok(session) => session,
        Err(error) => return vec![Finding::new(Level::Bad, "session", error.to_string())],
    };
    let findings = remote.iter().map(|(prefix, target)| ask(&session, prefix, target)).collect();
    let _ = session.finish();
    crate::place::leave(session.dir());
    findings
}

fn ask(session: &Session, prefix: &[u8], target: &str) -> Finding {
    let begin = Instant::now();
    let request = Request::named(Op::Stat, Name { base: 0, path: prefix });
    let request = request.args([1, 0, 0, 0, 0]);
    let result = session.call(Who { pid: 0 }, &request, &mut vec![0; 64 << 10]);
    let what = String::from_utf8_lossy(prefix).into_owned();
    match result {
        // A link that leads elsewhere was answered too.
        Ok(_) | Err(Stop::Redirect(_)) => {
            let text = format!("{target} answers in {:.1?}", begin.elapsed());
            Finding::new(Level::Good, &what, text)
        }
        Err(Stop::Fail(errno)) => {
            let error = std::io::Error::from_raw_os_error(errno.0);
            Finding::new(Level::Bad, &what, format!("{target}: {error}"))
        }
    }
}
