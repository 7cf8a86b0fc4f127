//! What steps of the wall clock, restarts and reboots do to entries that last for a time.
use super::{Clocks, span::Spans};
use crate::allow::Entry;
use core::time::Duration;
use proptest::prelude::*;
use std::time::{SystemTime, UNIX_EPOCH};

const SECOND: u64 = 1_000_000_000;
const GIVEN: u64 = 100;

fn clocks(boot: &str, now: u64, wall: u64) -> Clocks {
    Clocks { boot: boot.to_owned(), now_ns: now * SECOND, wall_ms: wall * 1000, set: true }
}

fn at(wall: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(wall)
}

/// What `--for 100s` writes when the wall clock shows 10,000.
fn entry() -> Entry {
    let source = "2001:db8:b::2/128".parse().unwrap();
    let (expires, lasting) = (Some(at(10_000 + GIVEN)), Some(Duration::from_secs(GIVEN)));
    Entry { expires, lasting, ..Entry::new(source) }
}

/// Seen first at 500 of the monotonic clock.
fn spans() -> Spans {
    let mut spans = Spans::default();
    assert_eq!(spans.end(&entry(), &clocks("a", 500, 10_000)), Some(600 * SECOND));
    spans
}

fn restarted(spans: &mut Spans) -> Spans {
    let kept = spans.take_changed().unwrap();
    let bytes = serde_json::to_vec(&kept).unwrap();
    Spans::resume(serde_json::from_slice(&bytes).unwrap())
}

#[test]
fn the_wall_clock_ends_no_time_and_prolongs_none() {
    for wall in [0, 9_000, 10_050, 1 << 30] {
        let mut spans = restarted(&mut spans());
        assert_eq!(spans.end(&entry(), &clocks("a", 550, wall)), Some(600 * SECOND), "{wall}");
        assert_eq!(spans.end(&entry(), &clocks("a", 600, wall)), None, "{wall}");
        assert_eq!(spans.over(&clocks("a", 600, wall)).len(), 1);
        assert!(spans.over(&clocks("a", 600, wall))[0].is_of(&entry()));
    }
}

#[test]
fn a_time_that_is_over_does_not_begin_again() {
    let mut spans = restarted(&mut spans());
    assert_eq!(spans.end(&entry(), &clocks("b", 3, 10_200)), None, "over while it was off");
    let mut spans = restarted(&mut spans);
    assert_eq!(spans.end(&entry(), &clocks("b", 9, 10_000)), None, "and then set back");
    assert_eq!(spans.end(&entry(), &clocks("c", 9, 10_250)), None);
    // the same source, given a time again, is another entry
    let (expires, lasting) = (Some(at(10_300)), Some(Duration::from_secs(20)));
    let again = Entry { expires, lasting, ..entry() };
    assert_eq!(spans.end(&again, &clocks("b", 9, 10_280)), Some(29 * SECOND));
}

#[test]
fn after_a_reboot_a_clock_that_is_behind_is_waited_for() {
    let mut spans = restarted(&mut spans());
    let unset = clocks("b", 5, 70);
    assert_eq!((spans.end(&entry(), &unset), spans.waiting(&unset)), (None, 1));
    assert_eq!(spans.over(&unset), []);
    let behind = Clocks { set: false, ..clocks("b", 6, 10_030) };
    assert_eq!((spans.end(&entry(), &behind), spans.waiting(&behind)), (None, 1));
    let set = clocks("b", 8, 10_040);
    assert_eq!((spans.end(&entry(), &set), spans.waiting(&set)), (Some(68 * SECOND), 0));
    // from now on it is this run's: another step changes nothing
    assert_eq!(spans.end(&entry(), &clocks("b", 20, 70)), Some(68 * SECOND));
}

#[test]
fn a_step_is_written_down_for_the_next_reboot() {
    let mut spans = spans();
    // wrong by a year when it was added, set right a little later
    spans.rewrite(&clocks("a", 510, 500));
    let mut spans = restarted(&mut spans);
    assert_eq!(spans.end(&entry(), &clocks("b", 1, 520)), Some(71 * SECOND));
}

#[test]
fn what_leaves_the_file_is_forgotten() {
    let mut spans = spans();
    spans.take_changed().unwrap();
    spans.retain(&[entry()]);
    assert_eq!(spans.take_changed(), None);
    spans.retain(&[]);
    assert_eq!(spans.take_changed(), Some(Vec::new()));
}

proptest! {
    /// However often the clock is set and the system restarted: within one run it lasts exactly as
    /// long as it was given; over reboots never longer than the wall clock allows from any start.
    #[test]
    fn nothing_lasts_longer_than_given(
        steps in proptest::collection::vec((0u64..200, 0u64..20_000, any::<bool>()), 1..12),
    ) {
        let (mut spans, mut now) = (Spans::default(), 500);
        let first = spans.end(&entry(), &clocks("a", now, 10_000)).unwrap();
        for (waited, wall, restart) in steps {
            now += waited;
            if restart {
                let kept = spans.take_changed();
                spans = kept.map_or(spans, Spans::resume);
            }
            let clocks = clocks("a", now, wall);
            let left = spans.end(&entry(), &clocks);
            prop_assert_eq!(left, Some(first).filter(|end| *end > now * SECOND));
            spans.rewrite(&clocks);
        }
    }
}
