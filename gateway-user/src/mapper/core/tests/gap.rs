//! A record that the node never gets through: a reset in good time, and no sooner than the node has
//! given it up.
use super::*;

/// What a node takes at most for a record with the timers of the default policy: 2 s times 1.5, and
/// four times twice as long (RFC 7252 §4.8.2).
const TRANSMIT_WAIT: u64 = 93;

fn data(number: u64) -> Vec<u8> {
    dtls(23, 1, number, &[number as u8; 20])
}

#[test]
fn what_comes_behind_a_missing_record_starts_the_clock() {
    for kind in [23, 21] {
        let mut world = World::established(policy());
        world.node(&dtls(kind, 1, 2, &[7; 18]));
        world.pass(TRANSMIT_WAIT - 1);
        assert_eq!(world.reset, None, "the node may still send it");
        world.pass(2);
        assert_eq!(world.reset, Some(Reason::Gap));
        assert!(!world.finished && world.passed().is_empty());
        assert!(world.connection.is_over());
    }
}

#[test]
fn without_a_gap_nothing_but_the_idle_timer_ends_a_silence() {
    let mut world = World::established(policy());
    world.node(&data(2));
    world.pass(TRANSMIT_WAIT - 1);
    world.node(&data(1));
    world.pass(10 * TRANSMIT_WAIT);
    assert_eq!(world.reset, None);
    assert_eq!(world.passed(), [1, 2].map(|number| tls(23, &[number; 20])).concat());
}

#[test]
fn each_missing_record_has_its_own_time() {
    let mut world = World::established(policy());
    world.node(&[data(2), data(4)].concat());
    world.pass(TRANSMIT_WAIT - 1);
    world.node(&data(1));
    world.pass(TRANSMIT_WAIT - 1);
    world.node(&data(4)); // it is known: nothing moved
    assert_eq!(world.reset, None);
    world.pass(2);
    assert_eq!(world.reset, Some(Reason::Gap));
}

#[test]
fn an_alert_behind_a_full_window_is_still_seen() {
    let mut world = World::established(policy());
    // four records were lost for good: the alert is the fifth
    world.node(&dtls(21, 1, 5, &[7; 18]));
    world.pass(TRANSMIT_WAIT + 1);
    assert_eq!(world.reset, Some(Reason::Gap));
}

#[test]
fn a_node_that_gives_up_on_a_held_stream_is_noticed() {
    let mut world = World::established(policy());
    world.connection.hold_tls(true);
    world.node(&data(1));
    world.node(&dtls(21, 1, 2, &[7; 18]));
    world.connection.hold_tls(false);
    world.pass(TRANSMIT_WAIT + 1);
    assert_eq!(world.reset, Some(Reason::Gap));
}

/// Whatever comes in whatever order around one record that never does: reset, with nothing from
/// behind the gap passed on, between one and one and a half of the node's schedule.
#[test]
fn by_seed_a_lost_record_is_a_reset_and_never_a_short_stream() {
    for seed in 1..300u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut roll = |sides: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % sides
        };
        let retries = 1 + roll(4) as u8;
        let ack_timeout = Duration::from_millis(500 + roll(2000));
        let mut world = World::established(Policy { retries, ack_timeout, ..policy() });
        let wait = ack_timeout * 3 / 2 * ((1 << (retries + 1)) - 1);
        let lost = 1 + roll(6);
        for number in 1..lost {
            world.node(&data(number));
            world.pass_for(Duration::from_millis(roll(3000)));
        }
        let begin = world.now;
        let last = lost + 1 + roll(4);
        world.node(&data(last));
        for _ in 0..roll(8) {
            world.node(&data(lost + 1 + roll(last - lost)));
        }
        world.pass_for(wait - Duration::from_millis(1));
        assert_eq!(world.reset, None, "seed {seed}: {:?}", world.now - begin);
        world.pass_for(Duration::from_millis(2));
        assert_eq!(world.reset, Some(Reason::Gap), "seed {seed}");
        let expected: Vec<_> = (1..lost).flat_map(|number| tls(23, &[number as u8; 20])).collect();
        assert_eq!(world.passed(), expected, "seed {seed}");
    }
}
