//! Two CPUs with the same record: one of them passes it.

use std::{
    collections::BTreeMap,
    hint,
    os::fd::AsFd,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use aya::{
    Ebpf,
    maps::{Map, MapData},
    programs::{TestRun, TestRunOptions, Xdp},
};
use gateway_common::abi::{self, Settings};
use gateway_user::dataplane::{
    Maps, Plain,
    object::{self, Capacity},
    table::Grants,
};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use super::{
    record::data,
    world::{EXACT, Flow, INTERFACE, anything_for, settings},
};

const CPUS: usize = 2;
const ROUNDS: u64 = 3000;

fn own(map: &Map) -> MapData {
    let (Map::Array(data)
    | Map::HashMap(data)
    | Map::LruHashMap(data)
    | Map::PerCpuArray(data)
    | Map::RingBuf(data)) = map
    else {
        panic!("a map of another type: {map:?}")
    };
    let fd = data.fd().as_fd().try_clone_to_owned().expect("a descriptor");
    MapData::from_fd(fd).expect("a map")
}

fn filter() -> (Ebpf, Maps) {
    let capacity = Capacity { sources: 64, associations: 4096, pages: 4096 };
    let mut settings = settings();
    capacity.apply(&mut settings);
    let mut object = object::load(object::OBJECT, &settings, &capacity, None).expect("an object");
    object::verify(&mut object, "wan").expect("the program loads: run as root");
    let named = abi::MAPS.map(|name| (name.to_owned(), own(object.map(name).expect("a map"))));
    let maps = Maps::Own(BTreeMap::from(named));
    let mut table = maps.table::<Settings>("SETTINGS").expect("the settings");
    table.set(0, Plain(settings), 0).expect("room for the settings");
    Grants::open(&maps)
        .and_then(|mut grants| grants.sync(&[anything_for(EXACT)]))
        .expect("room for an entry");
    (object, maps)
}

/// Waits until every CPU is in this round.
fn meet(arrived: &AtomicUsize, round: u64) {
    arrived.fetch_add(1, Ordering::AcqRel);
    let all = (round as usize + 1) * CPUS;
    for spins in 0.. {
        if arrived.load(Ordering::Acquire) >= all {
            return;
        }
        if spins % 1000 == 999 {
            thread::yield_now();
        }
        hint::spin_loop();
    }
}

fn run_on(cpu: usize, program: &Xdp, frames: &[Vec<u8>], arrived: &AtomicUsize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu).expect("a CPU's number");
    sched_setaffinity(Pid::from_raw(0), &cpus).expect("two CPUs: the race needs them");
    let mut out = vec![0; 4096];
    for (round, frame) in frames.iter().enumerate() {
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut out);
        meet(arrived, round as u64);
        program.test_run(options).expect("the program runs");
    }
}

/// Every frame on both CPUs at once; how many passed.
fn race(frames: &[Vec<u8>]) -> u64 {
    let (object, maps) = filter();
    let program: &Xdp = object.program("wan").expect("wan").try_into().expect("an XDP program");
    let arrived = &AtomicUsize::new(0);
    thread::scope(|scope| {
        for cpu in 0..CPUS {
            scope.spawn(move || run_on(cpu, program, frames, arrived));
        }
    });
    maps.passed(INTERFACE).expect("the pass counters").checked.packets
}

#[test]
fn of_two_cpus_with_the_same_record_one_passes_it() {
    let flow = Flow::of(EXACT);
    let frames: Vec<_> = (0..ROUNDS).map(|n| flow.inward(data(n, 1))).collect();
    assert_eq!(race(&frames), ROUNDS);
}

#[test]
fn nor_does_a_full_ring_let_a_record_through_twice() {
    // one number, ever other bytes: each record goes where the oldest of eight was
    let mut variants = (0..ROUNDS).map(|n| {
        let mut record = data(7, 1);
        let end = record.len() - 8;
        record[end..].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        record
    });
    let flow = Flow::of(EXACT);
    let frames: Vec<_> = variants.by_ref().map(|record| flow.inward(record)).collect();
    // the first conflict is dropped on one CPU or on both, and passes on the other or never
    let passed = race(&frames);
    assert!((ROUNDS - 1..=ROUNDS).contains(&passed), "{passed} of {ROUNDS}");
}
