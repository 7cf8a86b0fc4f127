//! What the parser makes of a frame, as numbers of one size: the program `parity` computes them in
//! the kernel and a test on the host, and both must agree.
use gateway_common::{
    decide::replay::{fingerprint, hello_fingerprint, opaque_fingerprint},
    frame::{Frame, Offset},
    hash::HashKey,
    wire::{
        Malformed,
        dtls::{self, Layout, Record},
        icmp,
        parse::{self, Link, Network, Upper},
    },
};

/// Words of a summary.
pub(crate) const WORDS: usize = 64;
/// A frame's summary: network header from 0, transport from 8, records from 16.
pub(crate) type Summary = [u64; WORDS];

const UPPER: usize = 8;
const RECORDS: usize = 16;
/// Words of a record.
const RECORD: usize = 8;
/// Records that are summed up.
const RECORDS_MAX: usize = 6;
const KEY: HashKey = HashKey::new(0x7061_7269_7479);

#[inline(always)]
fn put(out: &mut Summary, at: usize, value: u64) {
    if let Some(word) = out.get_mut(at) {
        *word = value;
    }
}

const fn number(error: Malformed) -> u64 {
    match error {
        Malformed::Truncated => 1,
        Malformed::Length => 2,
        Malformed::ExtensionChain => 3,
        Malformed::MappedAddress => 4,
    }
}

/// Sums up a frame; `out` is all zeros.
#[inline(always)]
pub(crate) fn summarize<F: Frame + ?Sized>(frame: &F, link: Link, out: &mut Summary) {
    match parse::network(frame, link) {
        Err(error) => put(out, 0, 0x100 | number(error)),
        Ok(None) => put(out, 0, 0x200),
        Ok(Some(ip)) => {
            network(&ip, out);
            match parse::transport(frame, &ip) {
                Err(error) => put(out, UPPER, 0x100 | number(error)),
                Ok(up) => upper(frame, &ip, &up, out),
            }
        }
    }
}

#[inline(always)]
fn network(ip: &Network, out: &mut Summary) {
    let (source, destination) = (ip.source.raw_words(), ip.destination.raw_words());
    put(out, 0, 0x300 | u64::from(ip.v4) | u64::from(ip.fragment) << 1);
    put(out, 1, source.0);
    put(out, 2, source.1);
    put(out, 3, destination.0);
    put(out, 4, destination.1);
    put(out, 5, u64::from(ip.protocol) << 8 | u64::from(ip.hop_limit));
    put(out, 6, ip.length.into());
    put(out, 7, (ip.start.get() as u64) << 32 | ip.payload.get() as u64);
}

#[inline(always)]
fn upper<F: Frame + ?Sized>(frame: &F, ip: &Network, up: &Upper, out: &mut Summary) {
    match *up {
        Upper::Udp { ports, payload, end } => {
            put(out, UPPER, 0x300);
            put(out, UPPER + 1, u64::from(ports.source) << 16 | u64::from(ports.destination));
            put(out, UPPER + 2, (payload.get() as u64) << 32 | end.get() as u64);
            records(frame, payload, end, out);
        }
        Upper::Tcp { ports } => {
            put(out, UPPER, 0x301);
            put(out, UPPER + 1, u64::from(ports.source) << 16 | u64::from(ports.destination));
        }
        Upper::Icmp { kind, body } => icmp(frame, ip, kind, body, out),
        Upper::Fragment => put(out, UPPER, 0x303),
        Upper::RoutingHeader => put(out, UPPER, 0x304),
        Upper::HopByHop => put(out, UPPER, 0x305),
        Upper::Other => put(out, UPPER, 0x306),
    }
}

#[inline(always)]
fn icmp<F: Frame + ?Sized>(
    frame: &F,
    ip: &Network,
    kind: icmp::Kind,
    body: Offset,
    out: &mut Summary,
) {
    let kind = match kind {
        icmp::Kind::Error => 0,
        icmp::Kind::Echo => 1,
        icmp::Kind::Neighbour => 2,
        icmp::Kind::Other => 3,
    };
    put(out, UPPER, 0x302 | kind << 16);
    put(out, UPPER + 1, body.get() as u64);
    match parse::quoted(frame, body, ip.v4) {
        Err(error) => put(out, UPPER + 2, number(error)),
        Ok(quote) => {
            let (source, destination) = (quote.source.raw_words(), quote.destination.raw_words());
            let ports = u64::from(quote.source_port) << 16 | u64::from(quote.destination_port);
            put(out, UPPER + 2, 0x100 | u64::from(quote.protocol));
            put(out, UPPER + 3, source.0);
            put(out, UPPER + 4, source.1);
            put(out, UPPER + 5, destination.0);
            put(out, UPPER + 6, destination.1);
            put(out, UPPER + 7, ports);
        }
    }
}

#[inline(always)]
fn records<F: Frame + ?Sized>(frame: &F, payload: Offset, end: Offset, out: &mut Summary) {
    let mut at = payload;
    let mut i = 0;
    while i < RECORDS_MAX && at < end {
        let words = RECORDS + i * RECORD;
        match dtls::record(frame, at, end) {
            None => {
                put(out, words, 1);
                return;
            }
            Some(Layout::Opaque { at: start, end: stop }) => {
                put(out, words, 2);
                put(out, words + 1, stop.get() as u64);
                put(out, words + 2, opaque_fingerprint(frame, KEY, start, stop).unwrap_or(1));
                at = stop;
            }
            Some(Layout::Clear(record)) => {
                clear(frame, &record, words, out);
                at = record.end;
            }
        }
        i += 1;
    }
}

#[inline(always)]
fn clear<F: Frame + ?Sized>(frame: &F, record: &Record, words: usize, out: &mut Summary) {
    put(out, words, 3 | u64::from(record.content) << 8 | u64::from(record.epoch) << 16);
    put(out, words + 1, record.sequence);
    put(out, words + 2, u64::from(record.length) << 32 | record.end.get() as u64);
    put(out, words + 3, record.body.get() as u64);
    put(out, words + 4, fingerprint(frame, KEY, record).unwrap_or(1));
    if let Some(hello) = dtls::hello(frame, record) {
        put(out, words + 5, u64::from(hello.kind) << 32 | u64::from(hello.fragment_offset));
        put(out, words + 6, hello_fingerprint(KEY, &hello));
    }
    match dtls::report(frame, record) {
        Ok(Some(report)) => put(out, words + 7, u64::from(report.epoch) << 48 | report.next),
        Ok(None) => {}
        Err(error) => put(out, words + 7, number(error)),
    }
}
