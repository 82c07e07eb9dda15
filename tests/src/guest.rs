//! What a case's body gets: a place, a technique, and a plain directory to compare with.
//!
//! ```text
//!             reference (Plain, Native)        place (any kind, any technique)
//! setup  ──▶  $R = …/export/w                  its backing directory, without Parrot
//! same   ──▶  native run                       run by the technique, $R = logical name
//!             output, status, tree      ==     output, status, tree
//! ```
//!
//! Outputs are compared step by step, with `$R` and `$L` put in place of the names. `$B` is where the
//! files of the place really lie.

use std::fmt::Write as _;
use std::time::Duration;

use crate::place::{Place, PlaceKind};
use crate::run::{End, Run, shorten};
use crate::session::{Session, Technique};
use crate::tree::{self, Look};

/// Functions for scripts, in the words of every POSIX shell. `s 'command'` runs one step and prints
/// a title, what it said, and its status.
const PRELUDE: &str = r#"s() { echo "== $1"; eval "$1" 2>&1; echo "-> $?"; }
umask 077
cd "$L" || exit 99
"#;

/// One test's guest.
#[derive(Debug)]
pub struct Guest {
    /// Where it works.
    pub place: Place,
    /// How it is caught.
    pub session: Session,
    reference: Place,
    reference_session: Session,
    shell: Vec<String>,
}

impl Guest {
    /// A guest, with an empty place and an empty reference.
    #[must_use]
    pub fn new(technique: Technique, kind: PlaceKind) -> Self {
        let place = Place::new(kind);
        let mut session = Session::new(technique);
        for rule in place.mounts() {
            session = session.mount(rule);
        }
        Self {
            session: session
                .env("R", place.root())
                .env("M", place.short())
                .env("B", &place.backing().display().to_string()),
            reference_session: Session::new(Technique::Native),
            reference: Place::new(PlaceKind::Plain),
            place,
            shell: vec!["bash".to_owned()],
        }
    }

    /// Runs scripts by a shell that no library can be preloaded into.
    pub fn use_static_shell(&mut self) {
        let busybox = crate::programs::tool("busybox").display().to_string();
        self.shell = vec![busybox, "sh".to_owned()];
    }

    /// Gives every run another time to end.
    pub fn set_deadline(&mut self, seconds: u64) {
        self.session.set_deadline(Duration::from_secs(seconds));
        self.reference_session.set_deadline(Duration::from_secs(seconds));
    }

    /// The logical name of the place.
    #[must_use]
    pub fn root(&self) -> &str {
        self.place.root()
    }

    /// Whether the place is Debian's server, whose limits are not ours.
    #[must_use]
    pub fn is_debian(&self) -> bool {
        self.place.kind() == PlaceKind::Debian
    }

    fn words(&self, script: &str) -> Vec<String> {
        let mut words = self.shell.clone();
        words.extend(["-c".to_owned(), format!("{PRELUDE}{script}")]);
        words
    }

    /// Puts files into the place and into the reference, without Parrot: a script with `$R` for the
    /// real directory.
    ///
    /// # Panics
    ///
    /// When the script fails.
    #[track_caller]
    pub fn setup(&self, script: &str) {
        for (backing, local) in [
            (self.place.backing(), self.session.local()),
            (self.reference.backing(), self.reference_session.local()),
        ] {
            let text = format!("set -e; umask 022\n{script}");
            let mut command = self.reference_session.command(&["bash", "-c", &text]);
            command.env("R", backing).env("M", backing).env("L", local).current_dir(backing);
            let _ = self.reference_session.run_command(&mut command).code(0);
        }
        self.place.settle();
    }

    /// Runs a script by the technique.
    #[must_use]
    pub fn run(&self, script: &str) -> Run {
        self.session.run(&self.words(script))
    }

    /// Runs a script natively in the reference.
    #[must_use]
    pub fn run_reference(&self, script: &str) -> Run {
        let mut command = self.reference_session.command(&self.words(script));
        for name in ["R", "M", "B"] {
            command.env(name, self.reference.root());
        }
        self.reference_session.run_command(&mut command)
    }

    /// Runs a script by the technique; its output must be this, its status 0.
    ///
    /// # Panics
    ///
    /// When it is not.
    #[track_caller]
    pub fn says(&self, script: &str, expected: &str) {
        let run = self.run(script).code(0);
        assert!(run.out() == expected, "expected {expected:?}: {}", run.describe());
    }

    /// Runs each line of a text as a step of its own, in one shell, here and in the reference: all
    /// must be the same. A line that starts with blanks belongs to the line before it.
    ///
    /// # Panics
    ///
    /// When something differs.
    #[track_caller]
    pub fn steps(&self, text: &str) {
        let mut script = String::new();
        for step in split_steps(text) {
            let _ = writeln!(script, "s '{}'", step.replace('\'', r"'\''"));
        }
        self.same(&script);
    }

    /// Runs a script here and in the reference: output, status and resulting tree must be the same.
    ///
    /// # Panics
    ///
    /// When something differs.
    #[track_caller]
    pub fn same(&self, script: &str) {
        let expected = self.run_reference(script);
        assert!(
            matches!(expected.end, End::Code(_)),
            "the script itself does not end: {}",
            expected.describe()
        );
        let got = self.run(script);
        let mut complaints = self.compare(&expected, &got);
        complaints.extend(self.compare_trees());
        assert!(
            complaints.is_empty(),
            "not the same as native:\n{}\n--- stderr:\n{}",
            complaints.join("\n"),
            shorten(&got.err())
        );
    }

    fn compare(&self, expected: &Run, got: &Run) -> Vec<String> {
        let plain = plain_text(expected, self.reference.root(), &self.reference_session);
        let ours = plain_text(got, self.place.root(), &self.session);
        let mut complaints = Vec::new();
        if expected.end != got.end {
            complaints.push(format!(
                "ended: expected {:?}, got {:?} after {:?}",
                expected.end, got.end, got.took
            ));
        }
        let (want, have) = (sections(&plain), sections(&ours));
        for (index, (title, body)) in want.iter().enumerate() {
            match have.get(index) {
                Some((other, text)) if other == title && text == body => {}
                Some((other, text)) if other == title => complaints.push(format!(
                    "step: {title}\n  expected: {}\n  got:      {}",
                    indent(body),
                    indent(text)
                )),
                _ => {
                    complaints.push(format!("step not reached, or not in its place: {title}"));
                    break;
                }
            }
        }
        if have.len() > want.len() {
            complaints.push(format!("surplus output after: {:?}", want.last().map(|w| &w.0)));
        }
        complaints
    }

    /// Compares the two trees as they are on disk, behind Parrot's back.
    fn compare_trees(&self) -> Vec<String> {
        let look = Look { owner_keeps_rights: self.is_debian() };
        let expected: Vec<_> = tree::snapshot(self.reference.backing(), look)
            .into_iter()
            .map(|line| line.replace(self.reference.root(), "$R"))
            .collect();
        let got: Vec<_> = tree::snapshot(self.place.backing(), look)
            .into_iter()
            .map(|line| line.replace(self.place.root(), "$R"))
            .collect();
        tree::difference(&expected, &got).into_iter().map(|line| format!("tree: {line}")).collect()
    }

    /// Stops the session; nothing of it may be left over.
    #[track_caller]
    pub fn finish(self) {
        self.session.finish();
        self.reference_session.finish();
    }
}

/// Output with the names of this run replaced by the variables that hold them. Tools put a name into
/// quotes when it has a colon, which only the remote one has: those go.
fn plain_text(run: &Run, root: &str, session: &Session) -> String {
    let local = session.local().display().to_string();
    let text = run.out().replace(root, "$R").replace("/mnt-place/w", "$R").replace(&local, "$L");
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("'$R") {
        plain.push_str(before);
        plain.push_str("$R");
        let (name, behind) = after.split_once('\'').unwrap_or((after, ""));
        plain.push_str(name);
        rest = behind;
    }
    plain + rest
}

/// The steps of a text: lines, with those that start with a blank joined to the one before.
fn split_steps(text: &str) -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match steps.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push('\n');
                last.push_str(line.trim_start());
            }
            _ => steps.push(line.to_owned()),
        }
    }
    steps
}

/// Cuts output at its titles. What comes before the first has an empty title.
fn sections(text: &str) -> Vec<(String, String)> {
    let mut found = vec![(String::new(), String::new())];
    for line in text.lines() {
        match line.strip_prefix("== ") {
            Some(title) => found.push((title.to_owned(), String::new())),
            None => {
                if let Some(last) = found.last_mut() {
                    last.1.push_str(line);
                    last.1.push('\n');
                }
            }
        }
    }
    found
}

fn indent(text: &str) -> String {
    shorten(text.trim_end()).replace('\n', "\n            ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_sections() {
        assert_eq!(split_steps("a\n\nb\n  c\nd"), ["a", "b\nc", "d"]);
        let found = sections("x\n== t\ny\n-> 0\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found.last().unwrap(), &("t".to_owned(), "y\n-> 0\n".to_owned()));
    }

    #[test]
    fn a_difference_is_reported_by_its_step() {
        let guest = Guest::new(Technique::Native, PlaceKind::Plain);
        guest.setup("echo one > f");
        std::fs::write(guest.place.backing().join("f"), "two\n").unwrap();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            guest.steps("echo fine\ncat $R/f");
        }));
        let message = caught.unwrap_err();
        let message = message.downcast_ref::<String>().unwrap();
        assert!(message.contains("step: cat $R/f"), "{message}");
        assert!(!message.contains("echo fine"), "{message}");
        assert!(message.contains("tree: - f file 0644 1 4 bytes \"one\\n\""), "{message}");
    }
}
