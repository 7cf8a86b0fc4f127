//! Node's and back-end's records in any order against what an association may learn from them.

use gateway_common::{
    decide::{
        Reason,
        association::{Gate, Progress, stale},
    },
    frame::Offset,
    wire::dtls::{Hello, Record, content, handshake},
};

use super::script::Script;

/// Facts that a node's later records never take back.
const KEPT: u16 = Progress::ANSWERED
    | Progress::PROVEN
    | Progress::COOKIE
    | Progress::VALIDATED
    | Progress::NODE_INITIATED;

/// Eight bytes of progress to start from, then steps of four bytes: who, type, epoch, detail.
pub fn association(data: &[u8]) {
    let mut script = Script(data);
    let Some(start) = script.take() else { return };
    let mut progress = Progress::from_bits(u64::from_le_bytes(start));
    assert_eq!(progress.bits(), u64::from_le_bytes(start));
    while let Some([who, kind, epoch, detail]) = script.take() {
        let record = record(progress, kind, epoch, detail);
        if who % 2 == 0 {
            let hello = hello(&record, detail);
            let next = progress.node_sent(&record, hello.as_ref(), who & 2 != 0);
            learned(progress, next, &record, hello.as_ref(), who & 2 != 0);
            progress = next;
        } else {
            gated(progress, &record);
        }
        assert_eq!(Progress::from_bits(progress.bits()), progress);
        confirmed(&record, progress.epoch, u64::from(detail) * 8);
    }
}

/// Small numbers, the ends of their range, and those around where the association is.
fn record(progress: Progress, kind: u8, epoch: u8, detail: u8) -> Record {
    let epoch = match epoch % 16 {
        small @ 0..=5 => small.into(),
        6 => 0x7fff,
        7 => u16::MAX - 1,
        8 => u16::MAX,
        9 => progress.epoch.saturating_sub(1),
        10 => progress.epoch,
        beyond => progress.epoch.saturating_add(u16::from(beyond) - 10),
    };
    let sequence = u64::from(detail & 0x3f);
    Record {
        content: if kind < 128 { 20 + kind % 8 } else { kind },
        epoch,
        sequence: if detail & 0x40 == 0 { sequence } else { (1 << 48) - 1 - sequence },
        length: 32,
        body: Offset::START,
        end: Offset::START,
    }
}

/// A hello where the kernel reads one.
fn hello(record: &Record, detail: u8) -> Option<Hello> {
    (record.epoch == 0 && record.content == content::HANDSHAKE).then_some(Hello {
        kind: detail % 5,
        fragment_offset: 0,
        random: [1, 2],
    })
}

fn learned(old: Progress, new: Progress, record: &Record, hello: Option<&Hello>, fresh: bool) {
    let gained = new.flags & !old.flags;
    let lost = old.flags & !new.flags;
    let change = record.content == content::CHANGE_CIPHER_SPEC;
    let opens = change && record.epoch == 0 && old.has(Progress::HANDSHAKE);
    if opens {
        assert_eq!(new.incarnation, old.incarnation.wrapping_add(1));
        assert_eq!((new.epoch, lost), (1, Progress::HANDSHAKE));
    } else {
        assert_eq!((new.incarnation, lost), (old.incarnation, 0));
        assert!(new.epoch >= old.epoch);
    }
    assert!(new.has(Progress::ANSWERED) && new.epoch >= record.epoch);
    assert_eq!(lost & KEPT, 0);
    assert!(!old.address_proved() || new.address_proved());
    let answered = |kind| hello.is_some_and(|hello| hello.kind == kind);
    let new_hello = fresh && answered(handshake::SERVER_HELLO);
    for (flag, cause) in [
        (Progress::ANSWERED, true),
        (Progress::PROVEN, record.epoch > 0),
        (Progress::HANDSHAKE, new_hello),
        (Progress::COOKIE, answered(handshake::HELLO_VERIFY_REQUEST)),
        (Progress::VALIDATED, new_hello && old.has(Progress::COOKIE)),
    ] {
        assert_eq!(new.has(flag), !opens_over(opens, flag) && (old.has(flag) || cause));
    }
    assert_eq!(gained & !(KEPT | Progress::HANDSHAKE), 0);
    assert_eq!(gained & Progress::NODE_INITIATED, 0);
    // a second copy of the record teaches nothing, unless it opens or answers something new
    if !opens && !new_hello {
        assert_eq!(new.node_sent(record, hello, false), new);
    }
}

/// Whether `flag` is what the opening of an association uses up.
fn opens_over(opens: bool, flag: u16) -> bool {
    opens && flag == Progress::HANDSHAKE
}

fn gated(progress: Progress, record: &Record) {
    let known = match record.content {
        content::CHANGE_CIPHER_SPEC..=content::HANDSHAKE => true,
        content::APPLICATION_DATA => record.epoch > 0,
        _ => false,
    };
    let reachable = record.epoch <= progress.epoch.saturating_add(1);
    let proven = progress.has(Progress::PROVEN);
    match progress.gate(record) {
        Gate::Open => assert!(known && proven && record.epoch > 0),
        Gate::Budget(price, reason) => {
            assert!(known && (!proven || record.epoch == 0));
            match reason {
                Reason::Unproven => assert_eq!(price, 1),
                Reason::Premature => {
                    assert!(price > 1 && progress.has(Progress::HANDSHAKE) && record.epoch > 0);
                }
                other => panic!("a budget that ends as {other:?}"),
            }
        }
        Gate::Closed(Reason::RecordType) => assert!(!known),
        Gate::Closed(Reason::Epoch) => {
            assert!(known && !reachable && progress.has(Progress::ANSWERED));
        }
        Gate::Closed(other) => panic!("closed as {other:?}"),
    }
    assert!(!progress.judges_conflicts(record) || record.epoch > 0);
}

fn confirmed(record: &Record, epoch: u16, next: u64) {
    let is_stale = stale(epoch, next, record.epoch, record.sequence);
    let behind = u128::from(record.sequence) + 64 <= u128::from(next);
    assert_eq!(is_stale, record.epoch == epoch && behind);
}
