//! What the server does from time to time, in a thread of its own: nobody's request waits for it.

use std::sync::Arc;
use std::time::Duration;

use crate::report::Subject;
use crate::server::Service;

/// How often tickets that have ended are forgotten.
const TICKETS: Duration = Duration::from_secs(600);

/// Starts the thread. It ends with the process.
pub(crate) fn start(service: &Arc<Service>) -> std::io::Result<()> {
    let service = Arc::clone(service);
    let thread = std::thread::Builder::new().name("housekeeping".to_owned());
    thread.spawn(move || keep(&service)).map(drop)
}

fn keep(service: &Service) {
    service.space.sweep(&service.export);
    loop {
        if !service.options.read_only
            && let Err(error) = service.tickets.forget_ended(service.export.root())
        {
            service.reports.line(Subject::Auth, || format!("old tickets stay: {error}"));
        }
        std::thread::sleep(TICKETS);
    }
}
