//! Byte-exact round trips, and what is said about a wrong file.
use super::*;
use crate::config::units::{PerSecond, Throttle};
use core::time::Duration;
use proptest::prelude::*;

const FILE: &str = "\
# Who may talk to our nodes.
# Ask Maria before you change this.

# The pumps, see ticket 12.
[[allow]]
source = '2001:DB8:b::2'   # back-end 1
nodes  = [ \"2001:db8:1::10\", # pump 7
           \"2001:db8:1::20/124\" ]
rate = \"20/s\" # slow
comment = \"pump station 7\"

# --- meters ---

# All of them.
[[allow]]
source = \"192.0.2.0/24\"
expires = 2026-11-22T15:00:00Z

[[allow]]
source = \"::/0\"

# Nothing below this line.
";

fn net(text: &str) -> IpNet {
    crate::config::prefix::parse(text).unwrap()
}

fn list() -> List {
    List::parse(FILE, "allow.toml").unwrap()
}

fn refusal(text: &str) -> String {
    List::parse(text, "allow.toml").unwrap_err().to_string()
}

fn entry() -> Entry {
    Entry {
        nodes: vec![net("2001:db8:1::10"), net("2001:db8:1::/64")],
        ports: vec![5684, 5685],
        packets: Some(Throttle { rate: PerSecond::Limited(20), burst: 40 }),
        bytes: Some(Throttle { rate: PerSecond::Unlimited, burst: 16_384 }),
        expires: Some(units::instant("2026-11-22T15:00:00Z").unwrap()),
        comment: Some("pump \"7\" # north".to_owned()),
        ..Entry::new(net("2001:db8:b::2"))
    }
}

#[test]
fn entries_mean_what_they_say() {
    let list = list();
    let [pump, meters, every] = list.entries() else {
        panic!("{list}");
    };
    assert_eq!(pump.source, net("2001:db8:b::2"));
    assert_eq!(pump.nodes, [net("2001:db8:1::10"), net("2001:db8:1::20/124")]);
    assert_eq!(pump.packets.unwrap().burst, 40);
    assert_eq!(meters.expires, entry().expires);
    assert_eq!(*every, Entry::new(net("::/0")));
    assert_eq!(list.to_string(), FILE);
}

#[test]
fn an_entry_is_written_and_read_back() {
    let mut list = List::default();
    assert_eq!(list.add(entry()).unwrap(), Change::Added);
    let written = "[[allow]]\n\
                   source = \"2001:db8:b::2\"\n\
                   nodes = [\"2001:db8:1::10\", \"2001:db8:1::/64\"]\n\
                   ports = [5684, 5685]\n\
                   rate = \"20/s\"\n\
                   burst = 40\n\
                   bytes = \"unlimited\"\n\
                   byte_burst = \"16KiB\"\n\
                   expires = \"2026-11-22T15:00:00Z\"\n\
                   comment = 'pump \"7\" # north'\n";
    assert_eq!(list.to_string(), written);
    assert_eq!(List::parse(written, "-").unwrap().entries(), [entry()]);
    assert_eq!(list.add(entry()).unwrap(), Change::Replaced(entry()));
    assert_eq!(list.to_string(), written);
}

#[test]
fn adding_leaves_everything_else_alone() {
    let mut list = list();
    list.add(Entry::new(net("198.51.100.7"))).unwrap();
    let added = format!("{FILE}\n[[allow]]\nsource = \"198.51.100.7\"\n");
    assert_eq!(list.to_string(), added);
    list.remove(&net("198.51.100.7")).unwrap();
    assert_eq!(list.to_string(), FILE);
}

#[test]
fn a_file_of_comments_keeps_them_on_top() {
    let mut list = List::parse("# Who may enter.\n", "-").unwrap();
    list.add(Entry::new(net("::/0"))).unwrap();
    let added = "# Who may enter.\n\n[[allow]]\nsource = \"::/0\"\n";
    assert_eq!(list.to_string(), added);
    list.remove(&net("::/0")).unwrap();
    assert_eq!(list.to_string(), "# Who may enter.\n");
}

#[test]
fn a_last_comment_without_an_end_of_line_stays() {
    let mut list = List::parse("# Who may enter.", "-").unwrap();
    list.add(Entry::new(net("::/0"))).unwrap();
    list.remove(&net("::/0")).unwrap();
    assert_eq!(list.to_string(), "# Who may enter.\n");
}

#[test]
fn a_file_from_another_system_keeps_its_comments() {
    let mut list = List::parse(&FILE.replace('\n', "\r\n"), "-").unwrap();
    for source in ["2001:db8:b::2", "192.0.2.0/24", "::/0"] {
        list.remove(&net(source)).unwrap();
    }
    let left = list.to_string();
    for comment in ["# Ask Maria", "# --- meters", "# Nothing below"] {
        assert!(left.contains(comment), "{left}");
    }
    assert!(!left.contains("ticket 12"), "{left}");
}

#[test]
fn replacing_changes_what_differs_only() {
    let mut list = list();
    let mut changed = list.entries()[0].clone();
    changed.packets = Some(Throttle { rate: PerSecond::Limited(30), burst: 40 });
    changed.comment = None;
    changed.ports = vec![5684];
    let old = list.entries()[0].clone();
    assert_eq!(list.add(changed).unwrap(), Change::Replaced(old));
    let expected = FILE
        .replace("rate = \"20/s\" # slow", "rate = \"30/s\" # slow")
        .replace("comment = \"pump station 7\"\n", "ports = [5684]\n");
    assert_eq!(list.to_string(), expected);
}

#[test]
fn removing_takes_the_comment_on_the_entry_only() {
    let mut list = list();
    let removed = list.remove(&net("2001:db8:b::2")).unwrap();
    assert_eq!(removed.comment.as_deref(), Some("pump station 7"));
    list.remove(&net("192.0.2.0/24")).unwrap();
    assert_eq!(list.remove(&net("192.0.2.0/24")), None);
    let expected = "\
# Who may talk to our nodes.
# Ask Maria before you change this.

# --- meters ---

[[allow]]
source = \"::/0\"

# Nothing below this line.
";
    assert_eq!(list.to_string(), expected);
    list.remove(&net("::/0")).unwrap();
    assert!(list.to_string().ends_with("# --- meters ---\n\n# Nothing below this line.\n"));
}

#[test]
fn only_what_has_ended_is_pruned() {
    let mut list = list();
    let end = entry().expires.unwrap();
    assert_eq!(list.prune(end - Duration::from_secs(1), |_| false), []);
    assert_eq!(list.to_string(), FILE);
    assert_eq!(list.prune(end, |_| false)[0].source, net("192.0.2.0/24"));
    assert_eq!(list.entries().len(), 2);
}

#[test]
fn a_missing_file_is_an_empty_list_and_saving_makes_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway/allow.toml");
    let mut list = List::load(&path).unwrap();
    assert!(list.entries().is_empty());
    list.add(entry()).unwrap();
    list.save(&path).unwrap();
    assert_eq!(List::load(&path).unwrap().entries(), [entry()]);
}

#[test]
fn an_empty_list_may_be_written_out() {
    let mut list = List::parse("# Who.\nallow = []\n# End.\n", "-").unwrap();
    assert!(list.entries().is_empty());
    list.add(Entry::new(net("::/0"))).unwrap();
    let added = "# Who.\n# End.\n\n[[allow]]\nsource = \"::/0\"\n";
    assert_eq!(list.to_string(), added);
}

#[test]
fn an_entry_that_could_not_be_read_is_not_added() {
    let mut list = list();
    let mut wrong = entry();
    wrong.comment = Some("two\nlines".to_owned());
    assert_eq!(
        list.add(wrong).unwrap_err().to_string(),
        "comment = \"two\\nlines\": expected one line of at most 200 characters"
    );
    let mut wrong = entry();
    wrong.nodes = vec![net("::1"); 17];
    assert_eq!(
        list.add(wrong).unwrap_err().to_string(),
        "nodes = 17 elements: expected at most 16"
    );
    assert!(list.add(Entry::new(net("ff02::1"))).is_err());
    assert_eq!(list.to_string(), FILE);
}

#[test]
fn a_wrong_file_names_line_entry_key_and_what_is_allowed() {
    let cases = [
        ("x = 1", "1: x: expected nothing but entries, each under a line [[allow]]"),
        ("\nallow = 1", "2: allow: expected nothing but entries, each under a line [[allow]]"),
        (
            "[[allow]]\nports = [1]",
            "1: entry 1: source: is missing: every entry needs the address or prefix of a back-end",
        ),
        (
            "[[allow]]\nsource = \"::/0\"\n[[allow]]\nsource = \"::1\"",
            "4: entry 2: source = \"::1\": is loopback, which never comes through an interface",
        ),
        (
            "[[allow]]\nsource = \"::ffff:192.0.2.1\"",
            "2: entry 1: source = \"::ffff:192.0.2.1\": is an IPv4-mapped IPv6 address: write \
             \"192.0.2.1\"",
        ),
        (
            "[[allow]]\nsource = \"::/0\"\nnodes = [\n\"2001:db8::1\",\n\"2001:db8::1/64\"]",
            "5: entry 1: nodes[1] = \"2001:db8::1/64\": has bits set behind the prefix: write \
             \"2001:db8::/64\", or \"2001:db8::1\"",
        ),
        (
            "[[allow]]\nsource = \"::/0\"\nports = [0]",
            "3: entry 1: ports[0] = 0: expected a port, 1 to 65535",
        ),
        (
            "[[allow]]\nsource = \"::/0\"\nports = 5684",
            "3: entry 1: ports = a value of type integer: expected a list in brackets",
        ),
        ("[[allow]]\nsource = \"::/0\"\nburst = 3", "3: entry 1: burst: needs rate beside it"),
        (
            "[[allow]]\nsource = \"::/0\"\nbytes = \"1KiB/s\"\nbyte_burst = 1499",
            "4: entry 1: byte_burst = \"1499\": expected 1500B (the largest datagram) to 1GiB",
        ),
        (
            "[[allow]]\nsource = \"::/0\"\nexpires = \"tomorrow\"",
            "3: entry 1: expires = \"tomorrow\": expected an instant in UTC such as \
             \"2026-11-22T15:00:00Z\" (RFC 3339)",
        ),
        (
            "[[allow]]\nsource = \"::/0\"\nfor = \"1h\"",
            "3: entry 1: for: needs expires beside it: `gateway allow add --for` writes both",
        ),
        (
            "[[allow]]\nsource = \"::/0\"\nnode = []",
            "3: entry 1: node: unknown key; did you mean nodes? known are source, nodes, ports, \
             rate, burst, bytes, byte_burst, expires, for, comment",
        ),
        (
            "[[allow]]\nsource = \"192.0.2.1\"\n[[allow]]\nsource = \"192.0.2.1/32\"",
            "4: entry 2: source = \"192.0.2.1\": is the source of entry 1 already: put both into \
             one",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), format!("allow.toml:{expected}"));
    }
    let error = refusal("[[allow]]\nsource = \n");
    assert!(error.starts_with("allow.toml:2: not valid TOML: "), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = List::parse(&String::from_utf8_lossy(&bytes), "-");
    }

    #[test]
    fn any_edit_of_any_file_reads_back(
        lines in proptest::collection::vec(
            "(|# [a-z]{1,3}|\\[\\[allow\\]\\]|source = \"192\\.0\\.2\\.[0-9]\"|ports = \\[[1-9]?\\]|rate = \"[1-9]/s\"|burst = [1-9])",
            0..12,
        ),
        host in 0u8..10,
        far: u64,
    ) {
        let Ok(mut list) = List::parse(&lines.join("\n"), "-") else { return Ok(()) };
        let source = net(&format!("192.0.2.{host}"));
        let expires = SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(far));
        list.add(Entry { expires, ..Entry::new(source) }).unwrap();
        let again = List::parse(&list.to_string(), "-").unwrap();
        prop_assert_eq!(again.entries(), list.entries());
        list.remove(&source).unwrap();
        let again = List::parse(&list.to_string(), "-").unwrap();
        prop_assert_eq!(again.entries(), list.entries());
    }
}
