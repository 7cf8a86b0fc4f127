//! Packets of a capture, pcap or pcapng, as frames with an Ethernet header.
use pcap_file::{
    DataLink, PcapError,
    pcap::PcapReader,
    pcapng::{Block, PcapNgReader},
};
use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
    path::Path,
};

/// Why a capture gives no packet, or no further one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// It is something else.
    #[error("is no capture: expected pcap or pcapng")]
    Format,
    /// It ends too early.
    #[error("is cut short in packet {0}")]
    Cut(usize),
    /// What stands there means nothing.
    #[error("has a mistake in packet {number}")]
    Broken {
        /// Counted from one.
        number: usize,
        /// What is wrong.
        #[source]
        source: PcapError,
    },
    /// Its frames start with another header.
    #[error(
        "has link type {link:?} in packet {number}: expected Ethernet, raw IP or Linux cooked, as \
         tcpdump writes them on the router"
    )]
    Link {
        /// Counted from one.
        number: usize,
        /// The type.
        link: DataLink,
    },
}

/// A packet of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Counted from one.
    pub number: usize,
    /// The frame, zeros where the capture has cut it.
    pub frame: Vec<u8>,
    /// How many bytes of it the capture has.
    pub captured: usize,
}

/// A capture being read.
pub struct Packets {
    reader: Reader,
    number: usize,
}

enum Reader {
    Pcap(PcapReader<File>),
    PcapNg(PcapNgReader<File>),
}

/// A section header block's type: how every pcapng file starts.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

impl Packets {
    /// Opens a capture of either format.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Format`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut file = File::open(path).map_err(Error::Read)?;
        let mut magic = [0; 4];
        match file.read_exact(&mut magic) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Error::Format);
            }
            result => result.and_then(|()| file.rewind()).map_err(Error::Read)?,
        }
        let reader = if magic == PCAPNG {
            PcapNgReader::new(file).map(Reader::PcapNg)
        } else {
            PcapReader::new(file).map(Reader::Pcap)
        };
        Ok(Self { reader: reader.map_err(|_| Error::Format)?, number: 0 })
    }

    fn read(&mut self) -> Result<Option<Packet>, Error> {
        let number = self.number + 1;
        let read = match &mut self.reader {
            Reader::Pcap(reader) => pcap(reader),
            Reader::PcapNg(reader) => pcapng(reader),
        };
        let found = read.map_err(|source| {
            if ends(&source) { Error::Cut(number) } else { Error::Broken { number, source } }
        })?;
        let Some((link, length, data)) = found else { return Ok(None) };
        let (captured, frame) =
            ethernet(link, &data, length).ok_or(Error::Link { number, link })?;
        self.number = number;
        Ok(Some(Packet { number, frame, captured }))
    }
}

impl Iterator for Packets {
    type Item = Result<Packet, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

fn ends(error: &PcapError) -> bool {
    matches!(error, PcapError::IncompleteBuffer)
        || matches!(error, PcapError::IoError(io) if io.kind() == io::ErrorKind::UnexpectedEof)
}

/// How its frames start, the length of the packet, and what there is of it.
type Found = Option<(DataLink, usize, Vec<u8>)>;

fn pcap(reader: &mut PcapReader<File>) -> Result<Found, PcapError> {
    let link = reader.header().datalink;
    // not the checked form: it refuses every capture with packets that `tcpdump -s` has cut
    let Some(packet) = reader.next_raw_packet().transpose()? else { return Ok(None) };
    Ok(Some((link, packet.orig_len as usize, packet.data.into_owned())))
}

fn pcapng(reader: &mut PcapNgReader<File>) -> Result<Found, PcapError> {
    while let Some(block) = reader.next_block().transpose()?.map(Block::into_owned) {
        let (interface, length, data) = if let Block::EnhancedPacket(packet) = block {
            (packet.interface_id, packet.original_len, packet.data)
        } else if let Block::SimplePacket(packet) = block {
            (0, packet.original_len, packet.data)
        } else if let Block::Packet(packet) = block {
            (packet.interface_id.into(), packet.original_len, packet.data)
        } else {
            continue;
        };
        let described = reader.interfaces().get(interface as usize);
        let link = described.ok_or(PcapError::InvalidInterfaceId(interface))?.linktype;
        return Ok(Some((link, length as usize, data.into_owned())));
    }
    Ok(None)
}

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// The largest frame that is worth filling up: an IP datagram, Ethernet, two VLAN tags.
pub const LARGEST: usize = 65_535 + 14 + 8;

/// A frame with an Ethernet header, filled up to its length, and how much of it was captured.
fn ethernet(link: DataLink, data: &[u8], length: usize) -> Option<(usize, Vec<u8>)> {
    // a simple packet block has padding at its end
    let data = data.get(..length).unwrap_or(data);
    let (header, skipped) = if link == DataLink::ETHERNET {
        (None, 0)
    } else if [DataLink::RAW, DataLink::IPV4, DataLink::IPV6].contains(&link) {
        let six = data.first().is_some_and(|byte| byte >> 4 == 6);
        (Some(if six { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 }), 0)
    } else if link == DataLink::LINUX_SLL {
        (Some(bytes(data, 14)), 16)
    } else if link == DataLink::LINUX_SLL2 {
        (Some(bytes(data, 0)), 20)
    } else {
        return None;
    };
    let mut frame = Vec::new();
    if let Some(ethertype) = header {
        frame.extend([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
        frame.extend(ethertype);
    }
    let whole = frame.len() + length.saturating_sub(skipped);
    frame.extend(data.get(skipped..).unwrap_or_default());
    let captured = frame.len();
    frame.resize(whole.min(LARGEST).max(captured), 0);
    Some((captured, frame))
}

fn bytes(data: &[u8], at: usize) -> [u8; 2] {
    data.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    const HEADER: [u8; 20] =
        [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0];

    fn pcap_of(link: u8, packets: &[(&[u8], u32)]) -> Vec<u8> {
        let mut file = HEADER.to_vec();
        file.extend([link, 0, 0, 0]);
        for (data, length) in packets {
            file.extend([0; 8]);
            file.extend((data.len() as u32).to_le_bytes());
            file.extend(length.to_le_bytes());
            file.extend(*data);
        }
        file
    }

    fn read(file: &[u8]) -> Result<Vec<Packet>, String> {
        let mut path = tempfile::NamedTempFile::new().unwrap();
        path.write_all(file).unwrap();
        let packets = Packets::open(path.path()).map_err(|error| error.to_string())?;
        packets.collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    #[test]
    fn a_packet_that_the_capture_has_cut_keeps_its_length() {
        let packets = read(&pcap_of(1, &[(&[7; 20], 1000)])).unwrap();
        let [packet] = packets.as_slice() else { panic!("{packets:?}") };
        assert_eq!((packet.captured, packet.frame.len()), (20, 1000));
        let lie = read(&pcap_of(1, &[(&[7; 20], u32::MAX)])).unwrap();
        assert_eq!(lie[0].frame.len(), LARGEST);
    }

    #[test]
    fn raw_ip_and_cooked_frames_get_an_ethernet_header() {
        let ip = [0x60; 40];
        let mut cooked = [0; 16].to_vec();
        cooked[14..].copy_from_slice(&ETHERTYPE_IPV6);
        cooked.extend(ip);
        for file in [pcap_of(101, &[(&ip, 40)]), pcap_of(113, &[(&cooked, 56)])] {
            let packets = read(&file).unwrap();
            assert_eq!(packets[0].frame[12..14], ETHERTYPE_IPV6);
            assert_eq!(packets[0].frame[14..], ip);
        }
    }

    #[test]
    fn refusals_name_the_packet_and_what_is_expected() {
        let good = pcap_of(1, &[(&[7; 20], 20), (&[7; 20], 20)]);
        assert_eq!(read(&good[..good.len() - 1]), Err("is cut short in packet 2".into()));
        assert_eq!(read(&good[..good.len() - 30]), Err("is cut short in packet 2".into()));
        for other in [&b""[..], b"abc", b"hello world, this is no capture", &good[..10]] {
            assert_eq!(read(other), Err("is no capture: expected pcap or pcapng".into()));
        }
        let radio = read(&pcap_of(105, &[(&[0; 60], 60)])).unwrap_err();
        assert!(radio.starts_with("has link type IEEE802_11 in packet 1: expected"), "{radio}");
    }

    #[test]
    fn a_capture_without_packets_has_none() {
        assert_eq!(read(&pcap_of(1, &[])), Ok(Vec::new()));
    }
}
