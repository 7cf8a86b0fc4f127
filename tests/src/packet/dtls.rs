//! DTLS records and handshake messages as bytes; nothing here is sealed with a key.

/// Record version of DTLS 1.0.
pub const DTLS10: u16 = 0xfeff;
/// Record version of DTLS 1.2.
pub const DTLS12: u16 = 0xfefd;
/// TLS_PSK_WITH_AES_128_CCM_8.
pub const PSK_CCM8: u16 = 0xc0a8;
/// TLS_PSK_WITH_AES_128_GCM_SHA256.
pub const PSK_GCM: u16 = 0x00a8;

/// Content types of records.
pub mod content {
    /// Change of cipher spec.
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    /// Alert.
    pub const ALERT: u8 = 21;
    /// Handshake.
    pub const HANDSHAKE: u8 = 22;
    /// Application data.
    pub const APPLICATION: u8 = 23;
    /// A record with connection ID (RFC 9146).
    pub const CID: u8 = 25;
    /// A report between router and node of what has arrived.
    pub const ACK: u8 = 26;
}

/// Types of handshake messages.
pub mod message {
    /// ClientHello.
    pub const CLIENT_HELLO: u8 = 1;
    /// ServerHello.
    pub const SERVER_HELLO: u8 = 2;
    /// HelloVerifyRequest.
    pub const HELLO_VERIFY_REQUEST: u8 = 3;
    /// Finished.
    pub const FINISHED: u8 = 20;
}

/// A DTLS 1.0 or 1.2 record.
pub fn record(content_type: u8, version: u16, epoch: u16, seq: u64, body: &[u8]) -> Vec<u8> {
    framed(content_type, version, epoch, seq, &[], body)
}

/// A record with a connection ID (RFC 9146 §4).
pub fn cid_record(cid: &[u8], epoch: u16, seq: u64, body: &[u8]) -> Vec<u8> {
    framed(content::CID, DTLS12, epoch, seq, cid, body)
}

/// Application data under epoch 1: the plainest record of an established association.
pub fn application(seq: u64, body: &[u8]) -> Vec<u8> {
    record(content::APPLICATION, DTLS12, 1, seq, body)
}

/// A DTLS 1.3 record with a unified header (RFC 9147 §4): epoch's low bits, 16-bit number, length.
pub fn unified(epoch: u8, seq: u16, cid: Option<&[u8]>, body: &[u8]) -> Vec<u8> {
    let first = 0b0010_1100 | u8::from(cid.is_some()) << 4 | epoch & 3;
    let length = body.len() as u16;
    let (seq, length) = (seq.to_be_bytes(), length.to_be_bytes());
    [&[first][..], cid.unwrap_or_default(), &seq, &length, body].concat()
}

/// A whole handshake message in one fragment.
pub fn handshake(kind: u8, message_seq: u16, body: &[u8]) -> Vec<u8> {
    handshake_fragment(kind, message_seq, body.len(), 0, body)
}

/// A fragment of a handshake message of `total` bytes.
pub fn handshake_fragment(
    kind: u8,
    message_seq: u16,
    total: usize,
    offset: usize,
    part: &[u8],
) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(three(total));
    message.extend(message_seq.to_be_bytes());
    message.extend(three(offset));
    message.extend(three(part.len()));
    message.extend(part);
    message
}

/// A ClientHello to be; as made by [`ClientHello::new`] a minimal one for PSK.
#[derive(Clone, Debug)]
pub struct ClientHello {
    /// Version that is offered.
    pub version: u16,
    /// Random.
    pub random: [u8; 32],
    /// Session id.
    pub session_id: Vec<u8>,
    /// Cookie.
    pub cookie: Vec<u8>,
    /// Cipher suites.
    pub suites: Vec<u16>,
    /// Extensions: type and body.
    pub extensions: Vec<(u16, Vec<u8>)>,
}

impl ClientHello {
    /// DTLS 1.2, no session, no cookie, the two PSK suites, extended master secret.
    pub fn new() -> Self {
        Self {
            version: DTLS12,
            random: [0x5a; 32],
            session_id: Vec::new(),
            cookie: Vec::new(),
            suites: vec![PSK_CCM8, PSK_GCM],
            extensions: vec![(23, Vec::new()), (0xff01, vec![0])],
        }
    }

    /// Sets the cookie.
    pub fn cookie(mut self, cookie: &[u8]) -> Self {
        self.cookie = cookie.to_vec();
        self
    }

    /// Body of the message.
    pub fn body(&self) -> Vec<u8> {
        let suites: Vec<u8> = self.suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend(self.random);
        body.extend(short(&self.session_id));
        body.extend(short(&self.cookie));
        body.extend(long(&suites));
        body.extend([1, 0]);
        body.extend(extensions(&self.extensions));
        body
    }

    /// Whole record of epoch 0: the first flight has number and message number 0.
    pub fn record(&self, message_seq: u16, seq: u64) -> Vec<u8> {
        let message = handshake(message::CLIENT_HELLO, message_seq, &self.body());
        record(content::HANDSHAKE, DTLS10, 0, seq, &message)
    }
}

impl Default for ClientHello {
    fn default() -> Self {
        Self::new()
    }
}

/// A HelloVerifyRequest with `cookie`, as a record.
pub fn hello_verify_request(seq: u64, cookie: &[u8]) -> Vec<u8> {
    let body = [&DTLS10.to_be_bytes()[..], &short(cookie)].concat();
    let message = handshake(message::HELLO_VERIFY_REQUEST, 0, &body);
    record(content::HANDSHAKE, DTLS10, 0, seq, &message)
}

/// A ServerHello that picks `suite`, as a record.
pub fn server_hello(seq: u64, message_seq: u16, suite: u16) -> Vec<u8> {
    let mut body = DTLS12.to_be_bytes().to_vec();
    body.extend([0xa5; 32]);
    body.push(0);
    body.extend(suite.to_be_bytes());
    body.push(0);
    body.extend(extensions(&[(0xff01, vec![0])]));
    let message = handshake(message::SERVER_HELLO, message_seq, &body);
    record(content::HANDSHAKE, DTLS12, 0, seq, &message)
}

/// A ChangeCipherSpec, as a record.
pub fn change_cipher_spec(epoch: u16, seq: u64) -> Vec<u8> {
    record(content::CHANGE_CIPHER_SPEC, DTLS12, epoch, seq, &[1])
}

/// What looks like an encrypted Finished under CCM_8: nonce, message, tag, all of byte `fill`.
pub fn finished(seq: u64, fill: u8) -> Vec<u8> {
    record(content::HANDSHAKE, DTLS12, 1, seq, &[fill; 8 + 12 + 12 + 8])
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Content type.
    pub content_type: u8,
    /// Version.
    pub version: u16,
    /// Epoch.
    pub epoch: u16,
    /// Sequence number.
    pub seq: u64,
    /// Body, often ciphertext.
    pub body: Vec<u8>,
}

impl Record {
    /// As it is on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        record(self.content_type, self.version, self.epoch, self.seq, &self.body)
    }
}

/// Reads the DTLS 1.0 and 1.2 records of a datagram; `None` if it holds anything else.
pub fn records(mut datagram: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while !datagram.is_empty() {
        let (header, rest) = datagram.split_at_checked(13)?;
        let known = matches!(header[0], 20..=24 | content::ACK) && header[1] == 0xfe;
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let (body, rest) = rest.split_at_checked(length)?;
        records.push(Record {
            content_type: known.then_some(header[0])?,
            version: u16::from_be_bytes([header[1], header[2]]),
            epoch: u16::from_be_bytes([header[3], header[4]]),
            seq: header[5..11].iter().fold(0, |seq, byte| seq << 8 | u64::from(*byte)),
            body: body.to_vec(),
        });
        datagram = rest;
    }
    (!records.is_empty()).then_some(records)
}

fn framed(kind: u8, version: u16, epoch: u16, seq: u64, cid: &[u8], body: &[u8]) -> Vec<u8> {
    let mut record = vec![kind];
    record.extend(version.to_be_bytes());
    record.extend(epoch.to_be_bytes());
    record.extend(&seq.to_be_bytes()[2..]);
    record.extend(cid);
    record.extend(long(body));
    record
}

fn extensions(list: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let one = |(kind, body): &(u16, Vec<u8>)| [&kind.to_be_bytes()[..], &long(body)].concat();
    long(&list.iter().flat_map(one).collect::<Vec<_>>())
}

fn short(bytes: &[u8]) -> Vec<u8> {
    [&[bytes.len() as u8][..], bytes].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

fn three(number: usize) -> [u8; 3] {
    let bytes = (number as u32).to_be_bytes();
    [bytes[1], bytes[2], bytes[3]]
}
