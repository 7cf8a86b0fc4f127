//! The node without security: CoAP in the clear on port 5683, to see what security costs.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {}

#[cfg(target_os = "none")]
mod node {
    use core::net::SocketAddrV6;

    use cortex_m_rt::entry;
    use gateway_firmware::{
        coap,
        host::{self, Application, Report},
        http::{self, Requests},
    };
    use gateway_node::Instant;

    /// Longest answer, and longest request.
    const MESSAGE: usize = 512;

    struct Plain {
        requests: Requests,
        answer: Option<(SocketAddrV6, usize)>,
    }

    impl Application for Plain {
        const PORT: u16 = 5683;

        fn receive(&mut self, _: Instant, from: SocketAddrV6, buffer: &mut [u8], length: usize) {
            let Some(message) = buffer.get(..length) else { return };
            let mut response = [0; MESSAGE];
            let written = coap::respond(message, &mut response);
            let length = written.unwrap_or_else(|| self.http(message, &mut response));
            if let (Some(room), Some(answer)) = (buffer.get_mut(..length), response.get(..length)) {
                room.copy_from_slice(answer);
                self.answer = Some((from, length)).filter(|_| length > 0);
            }
        }

        fn poll(&mut self, _: Instant, _: &mut [u8]) -> Option<(SocketAddrV6, usize)> {
            self.answer.take()
        }

        fn report(&mut self) -> Report {
            Report::default()
        }
    }

    impl Plain {
        fn http(&mut self, message: &[u8], response: &mut [u8]) -> usize {
            let (http::Answer::Reply(answer) | http::Answer::Last(answer)) =
                self.requests.push(message)
            else {
                return 0;
            };
            let Some(room) = response.get_mut(..answer.len()) else { return 0 };
            room.copy_from_slice(answer);
            answer.len()
        }
    }

    #[entry]
    fn main() -> ! {
        host::run(|_| Plain { requests: Requests::default(), answer: None })
    }
}
