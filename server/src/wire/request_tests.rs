//! Tests of the request table.

use super::*;
use proptest::prelude::*;

fn line(request: &Request<'_>) -> String {
    let mut out = Vec::new();
    request.encode(Dialect::Percent, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn words_of_the_table_are_unique_and_found() {
    for (i, command) in Command::ALL.iter().enumerate() {
        assert_eq!(Command::from_name(command.name().as_bytes()), Some(*command));
        assert!(Command::ALL[..i].iter().all(|other| other.name() != command.name()));
    }
}

#[test]
fn lines_as_the_protocol_has_them() {
    let flags = OpenFlags::from_libc(libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC);
    let open = Request::Open { path: "/a b".into(), flags, mode: 0o644 };
    assert_eq!(line(&open), "open /a%20b rwct 420\n");
    let pwrite = Request::Pwrite { fd: 3, length: 5, offset: -1 };
    assert_eq!((line(&pwrite), pwrite.body_len()), ("pwrite 3 5 -1\n".to_owned(), Some(5)));
    let symlink = Request::Symlink { target: "a b%20<".into(), path: "/l".into() };
    assert_eq!(line(&symlink), "symlink a%20b%20< /l\n");
    let putfile = Request::Putfile { path: "/f".into(), mode: 0o600, length: 9 };
    assert_eq!(putfile.body_len(), None, "the body of putfile waits for the first reply");
    let mut out = Vec::new();
    Request::Stat { path: "/a b".into() }.encode(Dialect::Backslash, &mut out).unwrap();
    assert_eq!(out, b"stat /a\\ b\n");
}

#[test]
fn lines_are_parsed_as_a_stock_server_does() {
    let parsed = Request::parse(b"open  a/../b%20c\trw 420 surplus words").unwrap();
    let Request::Open { path, mode, .. } = parsed else { panic!("{parsed:?}") };
    assert_eq!((&*path, mode), (&b"/b c"[..], 0o644));
    assert_eq!(Request::parse(b" stat /"), Err(ParseError::Unknown));
    assert_eq!(Request::parse(b""), Err(ParseError::Unknown));
    assert_eq!(Request::parse(b"stat"), Err(ParseError::BadArgument));
    assert_eq!(Request::parse(b"lseek 0 0 0"), Err(ParseError::Unknown));
    assert_eq!(Request::parse(b"pread 0 x 0"), Err(ParseError::BadArgument));
    assert_eq!(Request::parse(b"chmod /f -1"), Err(ParseError::BadArgument));
    let symlink = Request::parse(b"symlink a%20b /l%20").unwrap();
    let wanted = Request::Symlink { target: "a%20b".into(), path: "/l ".into() };
    assert_eq!(symlink, wanted, "targets are stored undecoded");
}

#[test]
fn what_cannot_travel_is_refused_and_leaves_nothing_behind() {
    let mut out = b"before".to_vec();
    let long = vec![b' '; 400];
    let cases = [
        (Request::Stat { path: long.as_slice().into() }, EncodeError::TooLong),
        (Request::Stat { path: "".into() }, EncodeError::NotAWord),
        (Request::Stat { path: "/a\0".into() }, EncodeError::NotAWord),
        (Request::Getxattr { path: "/a".into(), name: "user.a b".into() }, EncodeError::NotAWord),
    ];
    for (request, error) in cases {
        assert_eq!(request.encode(Dialect::Percent, &mut out), Err(error), "{request:?}");
    }
    assert_eq!(out, b"before");
}

#[test]
fn every_command_names_its_arguments() {
    // A line of numbers fits every argument type but the letters of open.
    for command in Command::ALL {
        let words: Vec<_> = command
            .arguments()
            .iter()
            .map(|name| match (*name, *command) {
                ("flags", Command::Open | Command::Xopen | Command::Xcreate) => "rw",
                _ => "/7",
            })
            .map(|word| if word == "/7" { "7" } else { word })
            .collect();
        let text = format!("{} {}", command.name(), words.join(" "));
        let request = Request::parse(text.as_bytes()).unwrap();
        assert_eq!(request.command(), *command);
        let again = line(&request);
        assert_eq!(Request::parse(again.trim_end().as_bytes()), Ok(request));
    }
}

proptest! {
    #[test]
    fn paths_and_numbers_survive(
        path in proptest::collection::vec(1_u8..=255, 1..200), fd in any::<i64>(),
        length in any::<i64>(), offset in any::<i64>(), mode in any::<u32>(),
    ) {
        let clean = super::super::path::clean(&path);
        for request in [
            Request::Mkdir { path: clean.clone().into(), mode },
            Request::Rename { path: clean.clone().into(), target: path.clone().into() },
            Request::Pwrite { fd, length, offset },
        ] {
            let text = line(&request);
            let mut parsed = Request::parse(text.trim_end_matches('\n').as_bytes()).unwrap();
            if let Request::Rename { target, .. } = &mut parsed {
                prop_assert_eq!(&**target, &clean[..], "the server cleans paths");
                *target = path.clone().into();
            }
            prop_assert_eq!(parsed, request);
        }
    }

    #[test]
    fn link_targets_survive(target in proptest::collection::vec(1_u8..=255, 1..200)) {
        let request = Request::Symlink { target: target.clone().into(), path: "/l".into() };
        let text = {
            let mut out = Vec::new();
            request.encode(Dialect::Percent, &mut out).unwrap();
            out.pop();
            out
        };
        let parsed = Request::parse(&text).unwrap();
        let Request::Symlink { target: stored, .. } = parsed else { panic!() };
        let has_escapes = target.windows(3).any(|w| {
            matches!(super::super::path::decode(w).first(), Some(b) if w[0] == b'%' && number::is_space(*b))
        });
        if !has_escapes {
            prop_assert_eq!(&*super::super::path::decode_link_target(&stored), &target[..]);
        }
    }

    #[test]
    fn parsing_never_panics(line in proptest::collection::vec(any::<u8>(), 0..100), i in 0..Command::ALL.len()) {
        let _ = Request::parse(&line);
        let mut with_name = Command::ALL[i].name().as_bytes().to_vec();
        with_name.push(b' ');
        with_name.extend_from_slice(&line);
        let _ = Request::parse(&with_name);
    }
}
