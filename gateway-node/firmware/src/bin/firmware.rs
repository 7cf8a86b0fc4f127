//! The node: one resource over CoAP for DTLS clients, over HTTP for mapped TLS clients.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod node {
    use core::net::SocketAddrV6;

    use cortex_m_rt::entry;
    use gateway_firmware::{
        connection::Connections,
        engine::{self, Engine},
        host::{self, Application, Report, SEED},
        stopwatch::Stopwatch,
    };
    use gateway_node::{Instant, Output, SessionId};

    struct Node {
        engine: Engine,
        connections: Connections<SessionId>,
        /// Before then, the engine has nothing to do by itself.
        next: Option<Instant>,
        receive: Stopwatch,
        send: Stopwatch,
    }

    impl Application for Node {
        const PORT: u16 = 5684;

        fn receive(&mut self, now: Instant, from: SocketAddrV6, buffer: &mut [u8], length: usize) {
            let datagram = buffer.get(..length).unwrap_or_default();
            let Self { engine, receive, .. } = self;
            receive.during(|| engine.handle_datagram(now, engine::peer(from), datagram));
            self.next = Some(now);
        }

        fn poll(&mut self, now: Instant, buffer: &mut [u8]) -> Option<(SocketAddrV6, usize)> {
            if self.next.is_none_or(|next| now < next) {
                return None;
            }
            loop {
                let Self { engine, connections, receive, send, .. } = self;
                let output = receive.during(|| {
                    engine.handle_timeout(now);
                    engine.poll_output(buffer)
                });
                match output {
                    Output::Transmit { peer, datagram } => {
                        return Some((engine::address(peer), datagram.len()));
                    }
                    Output::Connected { session, origin } => connections.open(session, origin),
                    Output::Data { session, data } => connections.take(session, data),
                    Output::Ready { session } => connections.retry(session),
                    Output::Closed { session, .. } => connections.close(session),
                    Output::Timeout(next) => {
                        self.next = next;
                        return None;
                    }
                }
                connections
                    .speak(|session, answer| send.during(|| engine.send(now, session, answer)));
                connections.hang_up(|session| engine.close(now, session));
            }
        }

        fn report(&mut self) -> Report {
            let connected = self.engine.counters().connected;
            Report { receive: self.receive.take(), send: self.send.take(), connected }
        }
    }

    #[inline(never)]
    fn node(seed: [u8; SEED]) -> Option<&'static mut Node> {
        cortex_m::singleton!(: Node = Node {
            engine: engine::new(seed),
            connections: Connections::default(),
            next: None,
            receive: Stopwatch::default(),
            send: Stopwatch::default(),
        })
    }

    #[entry]
    fn main() -> ! {
        host::run(node)
    }
}
