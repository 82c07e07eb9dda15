use super::*;
use proptest::prelude::*;

fn compile(text: &str) -> Result<Vec<u8>, String> {
    let mut out = vec![0; 64 << 10];
    let mut builder = Builder::new(&mut out);
    builder.add_text(text.as_bytes(), b"list").map_err(|e| {
        let mut message = [0; 200];
        let n = e.message(&mut message);
        String::from_utf8_lossy(&message[..n]).into_owned()
    })?;
    let len = builder.finish().map_err(ToOwned::to_owned)?;
    out.truncate(len);
    Ok(out)
}

fn lookup(bytes: &[u8], name: &str) -> Option<(String, String)> {
    let table = Table::from_bytes(bytes).unwrap();
    let found = table.lookup(name.as_bytes())?;
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    Some((text(found.rule.target), text(found.rest)))
}

#[test]
fn the_longest_prefix_at_a_component_border_wins() {
    let list =
        compile("/no/data /chirp/h/d\n/no/data/deep/ /tmp//x/ ro\n/no/data /chirp/last\n").unwrap();
    let is = |name: &str, target: &str, rest: &str| {
        assert_eq!(lookup(&list, name), Some((target.into(), rest.into())), "{name}");
    };
    is("/no/data", "/chirp/last", "");
    is("/no/data/f", "/chirp/last", "/f");
    is("/no/data/deeper", "/chirp/last", "/deeper");
    is("/no/data/deep/f", "/tmp/x", "/f");
    is("/chirp/host/f", "/chirp", "/host/f");
    assert_eq!(lookup(&list, "/no/database"), None);
    assert_eq!(lookup(&list, "/local/x"), None);
    let table = Table::from_bytes(&list).unwrap();
    assert!(!table.full());
    assert!(table.has_local());
    assert!(table.is_ancestor(b"/") && table.is_ancestor(b"/no") && !table.is_ancestor(b"/n"));
    assert_eq!(table.reverse(b"/tmp/x/y"), Some((b"/no/data/deep".as_slice(), b"/y".as_slice())));
}

#[test]
fn words_options_and_escapes() {
    let list = compile(
        "# comment\n/a\\040b /chirp/h cache=strict ttl=1.5 deadline=300,silence=2.5,on-transient=hold # why\n\
         /d DENY\n/e ENOENT\n/l LOCAL\n/m rx\n",
    )
    .unwrap();
    let table = Table::from_bytes(&list).unwrap();
    let rule = table.lookup(b"/a b/c").unwrap().rule;
    assert_eq!((rule.cache, rule.ttl_ms), (CacheMode::Strict, Some(1500)));
    assert_eq!((rule.deadline_ms, rule.on_transient), (Some(300_000), OnTransient::Hold));
    assert_eq!(rule.silence_ms, Some(2500));
    let kind = |name: &[u8]| table.lookup(name).unwrap().rule.kind;
    assert_eq!(kind(b"/d/x"), RuleKind::Deny);
    assert_eq!(kind(b"/e"), RuleKind::Enoent);
    assert_eq!(kind(b"/l"), RuleKind::Passthrough);
    assert_eq!(kind(b"/m"), RuleKind::Passthrough);
    assert!(!table.lookup(b"/m").unwrap().rule.perm.write);
}

#[test]
fn errors_name_file_line_and_column() {
    let is = |text: &str, message: &str| {
        let error = compile(text).unwrap_err();
        assert!(error.starts_with(message), "{error}");
    };
    is("\n/a", "list:2:3: expected a target");
    is("a /b", "list:1:1: the logical name must start with /");
    is("/a b", "list:1:4: the target must start with /");
    is("/a  ftp://x/y", "list:1:5: unknown scheme");
    is("/a /chirp", "list:1:4: a remote target needs a host");
    is("/a /b cache=never", "list:1:7: cache= takes");
    is("/a /b color=red", "list:1:7: unknown option");
    is("/a/../b /c", "list:1:1: a mountlist's paths cannot hold . or ..");
}

#[test]
fn the_command_line_form_takes_options_after_commas() {
    let mut out = vec![0; 4096];
    let mut builder = Builder::new(&mut out);
    builder.add_option(b"/x=chirp://h:1/p,ro /y=/z", b"-M").unwrap();
    assert_eq!(builder.add_option(b"/x /y", b"-M").unwrap_err().column, 1);
    let len = builder.finish().unwrap();
    assert_eq!(lookup(&out[..len], "/x/q"), Some(("/chirp/h:1/p".into(), "/q".into())));
}

#[test]
fn a_mount_over_something_local_is_noticed() {
    assert!(Table::from_bytes(&compile("/usr /chirp/h").unwrap()).unwrap().full());
    assert!(Table::from_bytes(&compile("/ /chirp/h").unwrap()).unwrap().full());
}

proptest! {
    #[test]
    fn any_text_is_compiled_or_refused(text in "[/a-c \\\\0-9\n#.=]{0,80}", room in 0_usize..600) {
        let mut out = vec![0; room];
        let mut builder = Builder::new(&mut out);
        if builder.add_text(text.as_bytes(), b"f").is_ok()
            && let Ok(len) = builder.finish()
        {
            let table = Table::from_bytes(&out[..len]).unwrap();
            let lengths: Vec<_> = table.rules().map(|r| r.prefix.len()).collect();
            prop_assert!(lengths.is_sorted_by(|a, b| a >= b));
        }
    }

    #[test]
    fn any_bytes_are_a_table_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        if bytes.len() > 8 { bytes[..8].copy_from_slice(MAGIC); }
        if let Some(table) = Table::from_bytes(&bytes) {
            let _ = table.lookup(b"/a/b");
            let _ = table.reverse(b"/a/b");
        }
    }
}
