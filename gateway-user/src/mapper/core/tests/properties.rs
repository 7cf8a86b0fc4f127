//! Any bytes, from either side.
use super::*;
use crate::mapper::core::peek_client_hello;
use proptest::{collection::vec, prelude::*};

#[derive(Clone, Debug)]
enum Step {
    Tls(Vec<u8>),
    Node(Vec<u8>),
    Wait(u64),
    End,
}

/// Well-formed records of any content, and bytes that are not.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = || vec(any::<u8>(), 0..200);
    let backend = (18u8..26, bytes()).prop_map(|(content, bytes)| tls(content, &bytes));
    let clear = (18u8..28, 0u16..2, 0u64..6, bytes());
    let node = clear.prop_map(|(content, epoch, number, part)| dtls(content, epoch, number, &part));
    let parts = (0u8..21, 0u16..4, bytes());
    let message = parts.prop_map(|(kind, seq, body)| dtls_message(9, kind, seq, &body));
    let reported = (0u64..8, any::<u16>()).prop_map(|(next, received)| report(next, received));
    let step = prop_oneof![
        4 => backend.prop_map(Step::Tls),
        1 => bytes().prop_map(Step::Tls),
        4 => node.prop_map(Step::Node),
        3 => message.prop_map(Step::Node),
        3 => reported.prop_map(Step::Node),
        1 => bytes().prop_map(Step::Node),
        2 => (0u64..20).prop_map(Step::Wait),
        1 => Just(Step::End),
    ];
    vec(step, 0..40)
}

fn play(mut world: World, steps: Vec<Step>) {
    let bound = policy().memory_max();
    for step in steps {
        match step {
            Step::Tls(bytes) => world.tls(&bytes),
            Step::Node(bytes) => world.node(&bytes),
            Step::Wait(seconds) => world.pass(seconds),
            Step::End => world.end(),
        }
        let memory = world.connection.memory();
        assert!(memory <= bound, "{memory} of {bound} bytes");
        assert!(world.to_node.iter().all(|datagram| datagram.len() <= policy().max_datagram));
    }
    world.pass(3600);
    assert!(world.connection.is_over(), "every connection ends");
}

proptest! {
    #[test]
    fn no_bytes_panic_or_fill_the_memory(steps in steps()) {
        play(World::new(), steps);
    }

    #[test]
    fn nor_in_mid_handshake(steps in steps()) {
        let mut world = World::new();
        world.tls(&tls(22, &message(1, &hello())));
        world.node(&node_flight(0));
        play(world, steps);
    }

    #[test]
    fn nor_once_established(steps in steps()) {
        play(World::established(policy()), steps);
    }

    #[test]
    fn peeking_takes_any_bytes(bytes in vec(any::<u8>(), 0..300), limit in 0usize..300) {
        let _ = peek_client_hello(&bytes, limit);
        let _ = peek_client_hello(&tls(22, &bytes), limit);
        let _ = peek_client_hello(&tls(22, &message(1, &bytes)), limit);
    }
}
