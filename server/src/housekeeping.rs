//! What the server does from time to time, in a thread of its own: nobody's request waits for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

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
    let (mut tickets, mut figures) = (Instant::now(), Instant::now());
    loop {
        let now = Instant::now();
        if now >= tickets {
            forget_tickets(service);
            tickets = now + TICKETS;
        }
        if now >= figures {
            tell_figures(service);
            figures = now + service.options.catalog.catalog_update;
        }
        let next = tickets.min(figures);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn forget_tickets(service: &Service) {
    if !service.options.read_only
        && let Err(error) = service.tickets.forget_ended(service.export.root())
    {
        service.reports.line(Subject::Auth, || format!("old tickets stay: {error}"));
    }
}

/// Tells the reports and the catalog what was done; the figures of the clients begin anew.
fn tell_figures(service: &Service) {
    let clients = service.stats.take_by_address();
    service.reports.line(Subject::Stats, || format!("in all {}", service.stats.total()));
    for (address, figures) in &clients {
        service.reports.line(Subject::Stats, || format!("{address}: {figures}"));
    }
    service.catalog.tell(service, &clients);
}
