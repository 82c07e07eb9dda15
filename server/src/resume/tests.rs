//! Tests of what is parked, and for how long.

use super::*;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

fn stream() -> Stream {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    Stream::of(TcpStream::connect(listener.local_addr().unwrap()).unwrap())
}

fn parking(grace: u64, sessions: usize, files: usize) -> Arc<Parking> {
    let grace = Duration::from_millis(grace);
    Parking::new(Limits { grace, sessions, files, bytes: 1 << 20 })
}

/// A session that has this many files open.
fn with(files: usize) -> Kept {
    let open = |_| {
        let fd: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        Some(Opened { fd: Arc::new(fd.into()), writable: false, permit: None })
    };
    Kept { files: (0..files).map(open).collect(), log: Log::default() }
}

/// How many files a session still has; a session that is not there is a new one.
fn files_of(parking: &Arc<Parking>, who: &[u8], key: u128) -> Option<usize> {
    let (lease, kept) = parking.attach(who, key, &stream()).unwrap();
    drop(lease);
    kept.map(|kept| kept.open_files())
}

fn park(parking: &Arc<Parking>, who: &[u8], key: u128, files: usize) {
    parking.attach(who, key, &stream()).unwrap().0.park(with(files));
}

#[test]
fn a_session_goes_on_under_its_key_and_subject_only() {
    let parking = parking(60_000, 10, 100);
    park(&parking, b"unix:ann", 1, 3);
    assert_eq!(files_of(&parking, b"unix:bob", 1), None);
    assert_eq!(files_of(&parking, b"unix:ann", 2), None);
    assert_eq!(files_of(&parking, b"unix:ann", 1), Some(3));
    assert_eq!(files_of(&parking, b"unix:ann", 1), None, "its lease was dropped");
    let none = Parking::new(Limits { grace: Duration::ZERO, ..parking.limits });
    assert_eq!(none.attach(b"unix:ann", 1, &stream()).err(), Some(Code::NotSupported));
}

#[test]
fn a_session_is_taken_over_when_its_connection_lets_go() {
    let parking = parking(60_000, 10, 100);
    let (lease, _) = parking.attach(b"a", 1, &stream()).unwrap();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| files_of(&parking, b"a", 1));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!other.is_finished());
        lease.park(with(2));
        assert_eq!(other.join().unwrap(), Some(2));
    });
}

#[test]
fn the_grace_ends() {
    let parking = parking(50, 10, 100);
    park(&parking, b"a", 1, 1);
    let end = Instant::now() + Duration::from_secs(20);
    while !parking.state.lock().slots.is_empty() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(files_of(&parking, b"a", 1), None);
}

#[test]
fn too_many_push_out_the_oldest() {
    let parking = parking(60_000, 8, 100);
    for key in 0..5 {
        park(&parking, b"a", key, 0);
    }
    assert_eq!(files_of(&parking, b"a", 0), None, "more than half of all");
    assert_eq!(files_of(&parking, b"a", 1), Some(0));
    for key in 0..4 {
        park(&parking, b"b", key, 0);
        park(&parking, b"c", key, 0);
    }
    assert_eq!(parking.state.lock().slots.len(), 8);
    assert_eq!(files_of(&parking, b"a", 4), None, "more than all");
    park(&parking, b"d", 1, 51);
    assert_eq!(files_of(&parking, b"d", 1), None, "too many files for one");
    assert_eq!(files_of(&parking, b"c", 3), Some(0), "others do not suffer");
}
