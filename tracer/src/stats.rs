//! Counters, for `-W` and `--stats-file`.

use crate::holes;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What the loop counts.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    stops: BTreeMap<usize, u64>,
    /// Calls that went to a worker.
    pub(crate) deferred: u64,
    /// Threads and processes made.
    pub(crate) threads: u64,
    /// Programs executed.
    pub(crate) programs: u64,
    /// Holes seen.
    pub(crate) holes: u64,
}

impl Stats {
    /// A call was stopped by the filter.
    pub(crate) fn stop(&mut self, nr: usize) {
        *self.stops.entry(nr).or_default() += 1;
    }

    /// A table for people, most frequent first.
    pub(crate) fn table(&self) -> String {
        let mut rows: Vec<_> = self.stops.iter().collect();
        rows.sort_by_key(|(nr, count)| (std::cmp::Reverse(**count), **nr));
        let mut text = String::from("     calls  name\n");
        for (nr, count) in rows {
            let _ = writeln!(text, "{count:10}  {}", holes::name(*nr));
        }
        let _ = writeln!(text, "{:10}  (waited for a remote)", self.deferred);
        text
    }

    /// One JSON object; `session` is the session's own, if there is one.
    pub(crate) fn json(&self, session: Option<&str>) -> String {
        let calls: Vec<_> = self
            .stops
            .iter()
            .map(|(nr, count)| format!("\"{}\":{count}", holes::name(*nr)))
            .collect();
        format!(
            "{{\"version\":1,\"stops\":{{{}}},\"deferred\":{},\"threads\":{},\"programs\":{},\
             \"holes\":{},\"session\":{}}}\n",
            calls.join(","),
            self.deferred,
            self.threads,
            self.programs,
            self.holes,
            session.unwrap_or("null")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Stats;

    #[test]
    fn counters_become_a_table_and_json() {
        let mut stats = Stats::default();
        stats.stop(0);
        stats.stop(2);
        stats.stop(2);
        let table = stats.table();
        assert!(table.find("open") < table.find("read"));
        let json = stats.json(None);
        assert!(json.contains("\"open\":2") && json.contains("\"session\":null"), "{json}");
    }
}
