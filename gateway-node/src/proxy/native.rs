//! What a CoAP client hears which comes to the proxy's own port: where the proxy function is (RFC
//! 8075 §5.5), and that it is for HTTP. It can ask the nodes itself.

use alloc::vec::Vec;

use super::{
    core::Proxy,
    discovery,
    message::{self, Code, Kind, Message, option, uint_value},
};
use crate::Random;

/// Content-Format of `application/link-format`.
const LINK_FORMAT: u32 = 40;

impl<R: Random> Proxy<R> {
    /// The answer to a message of a CoAP client; `None` for what wants none.
    pub fn answer_coap(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let request = Message::read(datagram).ok()?;
        let reply = match request.kind {
            Kind::Confirmable if !request.code.is_request() => {
                Message::empty(Kind::Reset, request.id)
            }
            Kind::Confirmable => {
                self.native(&request, Message::empty(Kind::Acknowledgement, request.id))
            }
            Kind::NonConfirmable if request.code.is_request() => {
                let mut id = [0; 2];
                self.random.fill(&mut id);
                let id = u16::from_be_bytes(id);
                self.native(&request, Message::empty(Kind::NonConfirmable, id))
            }
            Kind::NonConfirmable | Kind::Acknowledgement | Kind::Reset => return None,
        };
        Some(reply.write())
    }

    fn native(&self, request: &Message, reply: Message) -> Message {
        let proxied = [option::PROXY_URI, option::PROXY_SCHEME];
        let path = message::all(&request.options, option::URI_PATH);
        let token = request.token.clone();
        if proxied.into_iter().any(|number| request.option(number).is_some()) {
            return Message { code: Code::PROXYING_NOT_SUPPORTED, token, ..reply };
        }
        if request.unknown_critical().is_some() {
            return Message { code: Code::BAD_OPTION, token, ..reply };
        }
        if !path.eq([&b".well-known"[..], b"core"]) {
            return Message { code: Code::NOT_FOUND, token, ..reply };
        }
        if request.code != Code::GET {
            return Message { code: Code::METHOD_NOT_ALLOWED, token, ..reply };
        }
        let query: Vec<_> = message::all(&request.options, option::URI_QUERY).collect();
        let query = query.join(&b'&');
        let query = core::str::from_utf8(&query).unwrap_or("?");
        let payload = discovery::links(query, self.settings.origin.as_deref()).into_bytes();
        let options = alloc::vec![(option::CONTENT_FORMAT, uint_value(LINK_FORMAT))];
        Message { code: Code::CONTENT, token, options, payload, ..reply }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use proptest::prelude::*;

    use super::*;
    use crate::proxy::Settings;

    fn proxy() -> Proxy<impl Random> {
        let origin = Some("https://p.example.com".to_string());
        let settings = Settings { origin, ..Settings::new(vec![]) };
        Proxy::new(settings, |bytes: &mut [u8]| bytes.fill(7)).expect("settings")
    }

    fn ask(kind: Kind, code: Code, options: &[(u16, &str)]) -> Option<Message> {
        let options = options.iter().map(|(n, value)| (*n, value.as_bytes().to_vec())).collect();
        let request = Message { code, token: vec![9], options, ..Message::empty(kind, 5) };
        let reply = proxy().answer_coap(&request.write())?;
        Some(Message::read(&reply).expect("a message"))
    }

    const LINKS: &[(u16, &str)] = &[
        (option::URI_PATH, ".well-known"),
        (option::URI_PATH, "core"),
        (option::URI_QUERY, "hct=?*"),
    ];

    #[test]
    fn the_proxy_function_is_found_by_coap() {
        let reply = ask(Kind::Confirmable, Code::GET, LINKS).expect("an answer");
        assert_eq!((reply.kind, reply.id, reply.code), (Kind::Acknowledgement, 5, Code::CONTENT));
        assert_eq!(reply.token, [9]);
        let link =
            "</hc/>;anchor=\"https://p.example.com\";rt=\"core.hc\";hct=\"?target_uri={+tu}\"";
        assert_eq!(reply.payload, link.as_bytes());
        let reply = ask(Kind::NonConfirmable, Code::GET, LINKS).expect("an answer");
        assert_eq!((reply.kind, reply.id), (Kind::NonConfirmable, 0x0707));
    }

    #[test]
    fn nothing_else_is_served_to_coap() {
        let code =
            |code, options: &[_]| ask(Kind::Confirmable, code, options).map(|reply| reply.code);
        let proxied = [(option::PROXY_URI, "coap://[2001:db8::1]/x")];
        assert_eq!(code(Code::GET, &proxied), Some(Code::PROXYING_NOT_SUPPORTED));
        assert_eq!(code(Code::GET, &[(option::URI_PATH, "x")]), Some(Code::NOT_FOUND));
        assert_eq!(code(Code::PUT, LINKS), Some(Code::METHOD_NOT_ALLOWED));
        assert_eq!(code(Code::GET, &[(2049, "")]), Some(Code::BAD_OPTION));
        let ping = ask(Kind::Confirmable, Code::EMPTY, &[]);
        assert_eq!(ping, None, "a token makes it malformed");
        assert_eq!(ask(Kind::Reset, Code::GET, LINKS), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            proxy().answer_coap(&bytes);
        }
    }
}
