//! Marks against a memory of the last eight records of each position, on two CPUs.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
};

use gateway_common::decide::replay::{Finding, Mark, WAYS};

use super::script::Script;

/// Few pages, so that strangers share positions.
const PAGES: u32 = 2;
/// Keyed hashes, as in the kernel: ids that differ in few bits would share marks.
const ASSOCIATIONS: [u64; 2] = [0x9d07_6a1c_52e8_b3f4, 0x417b_c0e5_8f39_26ad];
const SEQUENCES: [u64; 8] = [0, 1, 31, 32, 64, 1 << 20, (1 << 48) - 32, (1 << 48) - 1];
const INCARNATIONS: [u32; 4] = [0, 1, 1024, u32::MAX];

/// Steps of three bytes: what happens, which record's numbers, which record's bytes.
pub fn replay(data: &[u8]) {
    let mut script = Script(data);
    let mut memory = Memory::default();
    let mut looks: [Option<Look>; 2] = [None, None];
    while let Some([step, numbers, bytes]) = script.take() {
        let record = Seen::new(numbers, bytes);
        let cpu = usize::from(step >> 3 & 1);
        match step % 8 {
            0..=2 => {
                let look = memory.look(record);
                memory.store(look);
            }
            3 | 4 => looks[cpu] = Some(memory.look(record)),
            5 | 6 => {
                if let Some(look) = looks[cpu].take() {
                    memory.store(look);
                }
            }
            _ => memory.race(record, usize::from(step >> 4) % WAYS),
        }
    }
}

/// A record as the marks see it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    mark: Mark,
    /// Association, epoch, sequence number and incarnation, as far as marks tell them apart.
    key: (u64, u16, u64, u32),
    /// As much of its bytes as marks tell apart.
    print: u8,
}

impl Seen {
    fn new(numbers: u8, bytes: u8) -> Self {
        let association = ASSOCIATIONS[usize::from(numbers & 1)];
        let epoch = u16::from(numbers >> 1 & 1) * u16::MAX;
        let sequence = SEQUENCES[usize::from(numbers >> 2 & 7)];
        let incarnation = INCARNATIONS[usize::from(numbers >> 5 & 3)];
        // the upper bits are kept; the lowest two tell nothing apart
        let fingerprint = u64::from(bytes >> 2) << 40 | u64::from(bytes & 3);
        Self {
            mark: Mark::new(association, epoch, sequence, incarnation, fingerprint),
            key: (association, epoch, sequence, incarnation % 1024),
            print: bytes >> 2,
        }
    }

    /// The same bytes under the same numbers, in whichever incarnation.
    fn is(&self, other: &Self) -> bool {
        let numbers = |seen: &Self| (seen.key.0, seen.key.1, seen.key.2, seen.print);
        numbers(self) == numbers(other)
    }

    fn slot(&self) -> (u32, u32) {
        (self.mark.page % PAGES, self.mark.position)
    }
}

/// What a CPU has seen and not yet acted upon.
struct Look {
    record: Seen,
    finding: Finding,
    /// How many records the position had taken.
    taken: usize,
}

#[derive(Default)]
struct Position {
    ways: [u64; WAYS],
    last: VecDeque<Seen>,
    taken: usize,
}

impl Position {
    fn remembers(&self, record: &Seen) -> bool {
        self.last.iter().any(|seen| seen.is(record))
    }

    fn conflicts(&self, record: &Seen) -> bool {
        let other = |seen: &Seen| seen.key == record.key && seen.print != record.print;
        self.last.iter().any(other)
    }

    /// Compare-and-swap; whether the record was admitted.
    fn swap(&mut self, record: &Seen, finding: Finding) -> bool {
        let Finding::New { way, old, new, .. } = finding else {
            return false;
        };
        assert!(way < WAYS);
        if self.ways[way] != old {
            return false;
        }
        assert_ne!(old, new);
        assert!(!self.remembers(record), "admitted twice: {record:?}");
        self.ways[way] = new;
        self.last.push_back(*record);
        if self.last.len() > WAYS {
            self.last.pop_front();
        }
        self.taken += 1;
        true
    }
}

#[derive(Default)]
struct Memory(HashMap<(u32, u32), Position>);

impl Memory {
    fn look(&mut self, record: Seen) -> Look {
        let position = self.0.entry(record.slot()).or_default();
        let finding = record.mark.find(|way| position.ways[way]);
        match finding {
            Finding::Replayed => assert!(position.remembers(&record), "never seen: {record:?}"),
            Finding::New { conflict, .. } => {
                assert!(!position.remembers(&record), "seen before: {record:?}");
                assert_eq!(conflict, position.conflicts(&record));
            }
            Finding::Moved => panic!("nobody moved it: {record:?}"),
        }
        Look { record, finding, taken: position.taken }
    }

    /// Whoever stores first after a look wins; the others must look again.
    fn store(&mut self, look: Look) {
        let position = self.0.entry(look.record.slot()).or_default();
        let behind = position.taken - look.taken;
        let is_new = look.finding != Finding::Replayed;
        // nine records later a way may hold by chance the very word that it held
        if behind > WAYS {
            return;
        }
        let won = position.swap(&look.record, look.finding);
        assert_eq!(won, is_new && behind == 0);
    }

    /// Two CPUs with the same record: one admits it while the other has loaded `loaded` ways.
    fn race(&mut self, record: Seen, loaded: usize) {
        let position = RefCell::new(self.0.remove(&record.slot()).unwrap_or_default());
        let other = |way| {
            let mut position = position.borrow_mut();
            if way == loaded {
                let ways = position.ways;
                position.swap(&record, record.mark.find(|way| ways[way]));
            }
            position.ways[way]
        };
        let finding = record.mark.find(other);
        let mut position = position.into_inner();
        assert!(!position.swap(&record, finding), "both won: {record:?}");
        assert!(position.remembers(&record));
        self.0.insert(record.slot(), position);
    }
}
