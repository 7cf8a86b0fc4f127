//! The node without security: CoAP in the clear on port 5683, to see what security costs.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod node {
    use core::net::SocketAddrV6;

    use cortex_m_rt::entry;
    use gateway_firmware::{
        connection::Connections,
        host::{self, Application, Report, SEED},
    };
    use gateway_node::{Instant, Origin, SendError};

    #[derive(Default)]
    struct Plain {
        connections: Connections<SocketAddrV6>,
        heard: bool,
    }

    impl Application for Plain {
        const PORT: u16 = 5683;

        fn receive(&mut self, _: Instant, from: SocketAddrV6, buffer: &mut [u8], length: usize) {
            let message = buffer.get(..length).unwrap_or_default();
            // nobody has shown who they are, and each message stands for itself
            self.connections.close(from);
            self.connections.open(from, if is_http(message) { Origin::Tls } else { Origin::Dtls });
            self.connections.take(from, message);
            self.heard = true;
        }

        fn poll(&mut self, _: Instant, buffer: &mut [u8]) -> Option<(SocketAddrV6, usize)> {
            if !core::mem::take(&mut self.heard) {
                return None;
            }
            let mut sent = None;
            self.connections.speak(|to, answer| {
                let room = buffer.get_mut(..answer.len()).ok_or(SendError::Busy)?;
                room.copy_from_slice(answer);
                sent = Some((to, answer.len()));
                Ok(())
            });
            let mut last = None;
            self.connections.hang_up(|peer| last = Some(peer));
            if let Some(peer) = last.or(sent.map(|(to, _)| to)) {
                self.connections.close(peer);
            }
            sent
        }

        fn report(&mut self) -> Report {
            Report::default()
        }
    }

    /// As CoAP this would be a message of version 1 that answers another, with a token of 7 bytes.
    fn is_http(message: &[u8]) -> bool {
        message.starts_with(b"GET ")
    }

    fn plain(_: [u8; SEED]) -> Option<&'static mut Plain> {
        cortex_m::singleton!(: Plain = Plain::default())
    }

    #[entry]
    fn main() -> ! {
        host::run(plain)
    }
}
