//! Dropped packets as a pcapng file: each with its reason as the packet's comment.
use super::event::Drop;
use crate::dataplane::attach;
use gateway_common::abi::Interface;
use pcap_file::{
    DataLink, PcapError,
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
        },
    },
};
use std::{
    borrow::Cow,
    fs::File,
    path::Path,
    time::{Duration, SystemTime},
};

/// A pcapng file being written. Every packet reaches it at once, since it ends with Ctrl-C.
pub struct Capture {
    writer: PcapNgWriter<File>,
    /// Places of interfaces, in the order of their descriptions in the file.
    places: Vec<u32>,
}

impl Capture {
    /// Starts a file with a description of every interface.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn create(path: &Path, interfaces: &[(u32, Interface)]) -> Result<Self, PcapError> {
        let file = File::create(path).map_err(PcapError::IoError)?;
        let mut writer = PcapNgWriter::new(file)?;
        for (_, interface) in interfaces {
            let link = if interface.raw_ip == 0 { DataLink::ETHERNET } else { DataLink::RAW };
            let mut block = InterfaceDescriptionBlock::new(link, 0);
            let name = attach::name_of(interface);
            block.options.push(InterfaceDescriptionOption::IfName(Cow::Owned(name)));
            block.options.push(InterfaceDescriptionOption::IfTsResol(9));
            writer.write_pcapng_block(block)?;
        }
        Ok(Self { writer, places: interfaces.iter().map(|(place, _)| *place).collect() })
    }

    /// Adds a dropped packet; one of an interface that the file does not know is left out.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&mut self, drop: &Drop) -> Result<(), PcapError> {
        let Some(interface) = self.places.iter().position(|place| *place == drop.place) else {
            return Ok(());
        };
        let timestamp = drop.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let comment = format!("{}: {}", drop.reason.name(), drop.reason.text());
        self.writer.write_pcapng_block(EnhancedPacketBlock {
            interface_id: interface as u32,
            timestamp,
            original_len: drop.length,
            data: Cow::Borrowed(&drop.data),
            options: vec![EnhancedPacketOption::Comment(Cow::Owned(comment))],
        })?;
        Ok(())
    }
}
