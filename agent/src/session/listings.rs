//! [`Listings`]: what a guest that looks at the entries of a directory will look at next.
//!
//! A listing brings its entries' attributes, which are trusted for a while (`ttl`). A guest that takes
//! longer to go through them (`ls -l` of a large directory, `tar`, `rsync`) would ask for one after the
//! other when they are too old. Names that are asked for in the order of a listing are therefore asked
//! for together with those that come after them.

use super::dirs::Line;
use std::collections::VecDeque;
use std::sync::Arc;

/// Listings that are remembered, and how many lines they may have together if they are several.
const KEPT: usize = 8;
const LINES: usize = 400_000;
/// How far two names may lie apart that follow one another: others were fresh, or not looked at.
const APART: usize = 16;
/// The most names that are asked for ahead.
const AHEAD: usize = 512;

/// The last listings of one server, the newest first.
#[derive(Debug, Default)]
pub(super) struct Listings(VecDeque<Listing>);

#[derive(Debug)]
struct Listing {
    dir: Vec<u8>,
    /// In the order of their names, but for the first two.
    lines: Arc<Vec<Line>>,
    /// The line after the last one that was asked for.
    next: usize,
    /// How many were asked for ahead the last time.
    window: usize,
}

impl Listings {
    /// Remembers the listing of a directory.
    pub(super) fn keep(&mut self, dir: Vec<u8>, lines: &Arc<Vec<Line>>) {
        self.0.retain(|listing| listing.dir != dir);
        self.0.push_front(Listing { dir, lines: Arc::clone(lines), next: 0, window: 0 });
        let mut total = 0;
        let few = self.0.iter().take(KEPT).take_while(|listing| {
            let first = total == 0;
            total += listing.lines.len();
            first || total <= LINES
        });
        let few = few.count();
        self.0.truncate(few);
    }

    /// A name must be asked for: the names that will be wanted after it, if that can be told.
    pub(super) fn after(&mut self, path: &[u8]) -> Vec<Vec<u8>> {
        self.find(path).unwrap_or_default()
    }

    fn find(&mut self, path: &[u8]) -> Option<Vec<Vec<u8>>> {
        let slash = path.iter().rposition(|&b| b == b'/')?;
        let (dir, name) = (path.get(..slash)?, path.get(slash + 1..)?);
        let listing = self.0.iter_mut().find(|listing| listing.dir == dir)?;
        let lines = listing.lines.get(2..)?;
        let at = lines.binary_search_by(|line| line.name().cmp(name)).ok()?;
        let follows = listing.next > 0 && (listing.next..listing.next + APART).contains(&at);
        listing.window = if follows { (listing.window * 4).clamp(8, AHEAD) } else { 0 };
        let ahead = lines.iter().skip(at + 1).take(listing.window);
        listing.next = at + 1 + listing.window;
        Some(ahead.map(|line| [dir, b"/", line.name()].concat()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(count: usize) -> Arc<Vec<Line>> {
        let names = (0..count).map(|n| format!("{n:05}"));
        let all = [".".to_owned(), "..".to_owned()].into_iter().chain(names);
        Arc::new(all.map(|name| Line::new(name.into_bytes(), 1, 0)).collect())
    }

    #[test]
    fn names_in_order_are_followed() {
        let mut listings = Listings::default();
        listings.keep(b"/d".to_vec(), &listing(1000));
        assert!(listings.after(b"/d/00000").is_empty(), "one name is no order");
        assert_eq!(listings.after(b"/d/00001").len(), 8);
        let third = listings.after(b"/d/00010");
        assert_eq!(third.len(), 32);
        assert_eq!(third[0], b"/d/00011");
        assert!(listings.after(b"/d/00500").is_empty(), "a jump");
        assert!(listings.after(b"/d/00400").is_empty(), "back");
        listings.after(b"/d/00998");
        assert_eq!(listings.after(b"/d/00999"), Vec::<Vec<u8>>::new(), "the end");
        for other in ["/e/00001", "/d/x", "/d/..", "/d", "", "/"] {
            assert!(listings.after(other.as_bytes()).is_empty(), "{other}");
        }
    }

    #[test]
    fn requests_become_few() {
        let mut listings = Listings::default();
        listings.keep(Vec::new(), &listing(10_000));
        let (mut asked, mut known) = (0, 0);
        for n in 0..10_000 {
            if n >= known {
                known = n + 1 + listings.after(format!("/{n:05}").as_bytes()).len();
                asked += 1;
            }
        }
        assert!(asked < 30, "{asked}");
    }

    #[test]
    fn old_listings_are_forgotten() {
        let mut listings = Listings::default();
        for n in 0..20 {
            listings.keep(format!("/{n}").into_bytes(), &listing(10));
        }
        assert_eq!(listings.0.len(), KEPT);
        listings.keep(b"/19".to_vec(), &listing(LINES + 1));
        assert_eq!(listings.0.len(), 1, "a large one, alone");
        listings.keep(b"/small".to_vec(), &listing(10));
        assert_eq!(listings.0.len(), 1);
    }
}
