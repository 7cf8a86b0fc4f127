//! What a connection holds when nothing happens.
use super::*;

#[test]
fn an_idle_connection_holds_less_than_a_kibibyte() {
    let mut world = World::established(policy());
    for round in 1..50u64 {
        let data: Vec<_> = (0..20).flat_map(|_| tls(23, &[7; 300])).collect();
        world.tls(&data);
        for step in 0..20 {
            let number = 20 * (round - 1) + step + 1;
            world.node(&report(number + 1, 0));
            world.node(&dtls(23, 1, number, &[8; 500]));
        }
    }
    assert_eq!(world.connection.summary().to_node.records, 981);
    let memory = world.connection.memory();
    assert!(memory <= Policy::IDLE_MEMORY, "{memory} bytes");
}

#[test]
fn a_connection_is_small() {
    let size = size_of::<Connection>();
    assert!(size <= 512, "{size} bytes");
}
