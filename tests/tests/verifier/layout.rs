//! A fixed hash of every record's layout: who changes one must say so with a new version.

use gateway_common::{
    abi::{
        self, Association, AssociationKey, Budget, Control, CookieKey, Event, Interface, NodeState,
        Passed, PrefixKey, Settings, SourceState,
    },
    decide::{
        Reason,
        admission::{Lease, Policy},
        association::Progress,
        rate::{Limits, Rate},
        reason::{Counter, Drops},
        replay::{POSITIONS, Page, WAYS},
    },
    wire::{Address, Prefix},
};

/// [`abi::VERSION`] and the hash that belongs to it.
const KNOWN: (u32, u64) = (5, 0xbf17_3fc0_38f1_2ef3);

/// FNV-1a.
struct Hash(u64);

impl Hash {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn name(&mut self, name: &str, numbers: &[usize]) {
        self.add(name.as_bytes());
        for number in numbers {
            self.add(&(*number as u64).to_le_bytes());
        }
    }
}

const fn size<R, F>(_: fn(&R) -> &F) -> usize {
    size_of::<F>()
}

/// Adds a record: its size, and name, offset and size of its fields, which must be all it has.
macro_rules! record {
    ($hash:ident, $record:ty { $($field:ident)* }) => {
        $hash.name(stringify!($record), &[size_of::<$record>(), align_of::<$record>()]);
        let mut bytes = 0;
        $(
            let field = size::<$record, _>(|record| &record.$field);
            $hash.name(stringify!($field), &[core::mem::offset_of!($record, $field), field]);
            bytes += field;
        )*
        assert_eq!(bytes, size_of::<$record>(), "a field of {} is not listed", stringify!($record));
    };
}

fn layouts() -> u64 {
    let mut hash = Hash(0xcbf2_9ce4_8422_2325);
    record!(hash, Address { octets });
    record!(hash, Prefix { address mask });
    record!(hash, Rate { interval_ns burst scale });
    record!(hash, Limits { packets bytes });
    record!(hash, Counter { packets bytes });
    record!(hash, Progress { incarnation epoch flags });
    record!(hash, Lease { expires_ns policy slot });
    record!(hash, Policy { limits node_count port_count nodes ports });
    record!(hash, Page { marks });
    record!(hash, Control { generation prefix_count next_slot prefix_lengths });
    record!(hash, Interface { ifindex role raw_ip mode name });
    record!(hash, PrefixKey { address length });
    record!(hash, Budget { due spent_ns });
    record!(hash, CookieKey { secret number made_ns });
    record!(hash, SourceState {
        budget drops answers answer_bytes last_seen_ns reserved
    });
    record!(hash, NodeState { tag last_seen_ns address budget reserved });
    record!(hash, AssociationKey { node peer node_port peer_port reserved });
    record!(hash, Association {
        tag generation expires_ns progress slot bucket policy node_slot confirmed_epoch reserved
        confirmed_next last_seen_ns node peer node_port peer_port hello unproven_ns
        record_mode_until_ns bytes_in bytes_out
    });
    record!(hash, Passed { checked untouched });
    record!(hash, Event { time_ns interface reason length captured data });
    record!(hash, Settings {
        abi interface raw_ip log replay max_datagram bits_mask seen_mask sources associations_mask key
        node lln agent unproven lln_prefixes dtls_ports mapped_ports mapper_ports agent_ports
        cookie_ports socket_ports cookie_nodes rcv_nxt
    });
    hash.name("Drops", &[size_of::<Drops>(), POSITIONS, WAYS]);
    for (number, reason) in Reason::ALL.iter().enumerate() {
        hash.name(reason.name(), &[number]);
    }
    for name in abi::MAPS {
        hash.name(name, &[]);
    }
    hash.0
}

#[test]
fn a_change_of_a_record_comes_with_a_new_version() {
    let found = (abi::VERSION, layouts());
    let advice = "a record or a map changed: raise abi::VERSION, then write both numbers here";
    assert_eq!(found, KNOWN, "{advice} ({:#018x})", found.1);
}
