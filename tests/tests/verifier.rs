//! What the kernel's verifier makes of the programs, what their maps weigh, and that records keep
//! their layout.

#[path = "verifier/layout.rs"]
mod layout;
#[path = "verifier/stack.rs"]
mod stack;

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{Ebpf, maps::Map};
use gateway_common::{
    abi::{
        Settings,
        settings::{LLN_PREFIXES_MAX, PORTS_MAX, replay_mode},
    },
    decide::rate::{Limits, Rate},
    wire::{Address, Prefix},
};
use gateway_user::dataplane::object::{self, Capacity};

/// Instructions that the verifier may walk through; the kernel's limit is a million.
const VERIFIED_MAX: [(&str, u32); 2] = [("wan", 400_000), ("lln", 200_000)];
/// Bytes of instructions as the kernel keeps them.
const TRANSLATED_MAX: u32 = 106 << 10;
/// Bytes of stack over the deepest chain of calls; the kernel's limit is 512.
const STACK_MAX: u32 = 480;
/// Bytes of all maps at their usual sizes.
const MAPS_MAX: u64 = 48 << 20;

const SMALL: Capacity = Capacity { sources: 64, associations: 64, pages: 64 };

/// Every switch off or at its simplest.
fn plain() -> Settings {
    let mut settings = Settings::EMPTY;
    settings.lln_prefixes[0] = prefix(1);
    settings.dtls_ports[0] = 5684;
    settings
}

const fn prefix(number: u64) -> Prefix {
    Prefix::new(Address::from_words(0x2001_0db8_0000_0000 + number, 0), 64)
}

/// Everything in use at once.
fn full() -> Settings {
    let rate = Rate::per_second(100, 10);
    let limits = Limits { packets: rate, bytes: rate };
    let ports: [u16; PORTS_MAX] = core::array::from_fn(|n| 5000 + n as u16);
    Settings {
        log: 1,
        node: limits,
        lln: limits,
        agent: rate,
        unproven: rate,
        lln_prefixes: core::array::from_fn(|n| prefix(n as u64)),
        dtls_ports: ports,
        mapped_ports: ports,
        mapper_ports: ports,
        agent_ports: ports,
        cookie_ports: ports,
        cookie_nodes: 1,
        socket_ports: ports,
        rcv_nxt: 1664,
        ..plain()
    }
}

fn switches() -> Vec<(&'static str, Settings)> {
    assert_eq!(full().lln_prefixes.len(), LLN_PREFIXES_MAX);
    let plain = plain();
    vec![
        ("nothing configured", Settings::EMPTY),
        ("plain", plain),
        ("replay off", Settings { replay: replay_mode::OFF, ..plain }),
        ("replay record", Settings { replay: replay_mode::RECORD, ..plain }),
        ("log on", Settings { log: 1, ..plain }),
        ("raw IP", Settings { raw_ip: 1, ..plain }),
        ("eight prefixes", Settings { lln_prefixes: full().lln_prefixes, ..plain }),
        ("cookies", Settings { cookie_ports: full().cookie_ports, cookie_nodes: 1, ..plain }),
        ("sockets", Settings { socket_ports: full().socket_ports, rcv_nxt: 1664, ..plain }),
        ("everything", full()),
        ("everything on raw IP", Settings { raw_ip: 1, ..full() }),
        ("everything, replay off", Settings { replay: replay_mode::OFF, ..full() }),
    ]
}

fn load(settings: &Settings, capacity: &Capacity) -> Ebpf {
    let mut settings = *settings;
    capacity.apply(&mut settings);
    object::load(object::OBJECT, &settings, capacity, None).expect("the object loads: run as root")
}

#[test]
fn programs_load_under_every_switch_and_stay_small() {
    for (name, settings) in switches() {
        let mut object = load(&settings, &SMALL);
        for (program, most) in VERIFIED_MAX {
            let loaded = object::verify(&mut object, program)
                .unwrap_or_else(|error| panic!("{program}, {name}: {error:?}"));
            let info = loaded.info().expect("what the kernel knows of it");
            let verified = info.verified_instruction_count().expect("Linux 5.16 or later");
            let translated = info.size_translated().expect("as root");
            let stack = stack::deepest(loaded.fd().expect("a descriptor").as_fd(), translated);
            println!("{program}, {name}: {verified} verified, {translated} bytes, {stack} stack");
            assert!(verified <= most, "{program}, {name}: {verified} instructions verified");
            assert!(translated <= TRANSLATED_MAX, "{program}, {name}: {translated} bytes");
            assert!((1..=STACK_MAX).contains(&stack), "{program}, {name}: {stack} bytes of stack");
        }
    }
}

#[test]
fn maps_at_their_usual_sizes_fit_a_small_router() {
    let object = load(&full(), &Capacity::default());
    let sizes: Vec<_> = object.maps().map(|(name, map)| (memory(map), name)).collect();
    let total: u64 = sizes.iter().map(|(size, _)| size).sum();
    println!("{total} bytes in maps: {sizes:?}");
    assert!(sizes.iter().all(|(size, _)| *size > 0), "{sizes:?}");
    assert!(total <= MAPS_MAX, "{total} bytes in maps: {sizes:?}");
}

/// Bytes that the kernel counts for a map.
fn memory(map: &Map) -> u64 {
    let (Map::Array(data)
    | Map::HashMap(data)
    | Map::LruHashMap(data)
    | Map::PerCpuArray(data)
    | Map::RingBuf(data)) = map
    else {
        panic!("a map of another type: {map:?}")
    };
    let path = format!("/proc/self/fdinfo/{}", data.fd().as_fd().as_raw_fd());
    let text = fs::read_to_string(path).expect("what /proc knows of the map");
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    line.expect("a size").trim().parse().expect("a number")
}
