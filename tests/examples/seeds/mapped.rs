//! Seeds for what is mapped between TLS and DTLS.
use tests::packet::dtls::{self, ClientHello, PSK_CCM8, content};

/// A body of a TLS ClientHello with these extensions.
fn hello(session_id: &[u8], suites: &[u16], extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([0x1d; 32]);
    body.push(session_id.len() as u8);
    body.extend_from_slice(session_id);
    body.extend(((2 * suites.len()) as u16).to_be_bytes());
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend_from_slice(extensions);
    body
}

/// server_name, supported_versions with 1.3 and without 1.2, a ticket, renegotiation_info.
const NAME: &[u8] = b"\x00\x00\x00\x0b\x00\x09\x00\x00\x06node.a";
const ONLY_13: &[u8] = &[0, 43, 0, 3, 2, 3, 4];
const TICKET: &[u8] = &[0, 35, 0, 4, 1, 2, 3, 4];
const EMPTY_RENEGOTIATION: &[u8] = &[0xff, 1, 0, 1, 0];

fn bodies() -> Vec<Vec<u8>> {
    vec![
        hello(&[], &[PSK_CCM8, 0xff], &[0, 23, 0, 0]),
        hello(&[7; 32], &[0x1301, PSK_CCM8], NAME),
        hello(&[], &[PSK_CCM8], ONLY_13),
        hello(&[], &[PSK_CCM8], &[NAME, TICKET, EMPTY_RENEGOTIATION].concat()),
        hello(&[1; 33], &[PSK_CCM8], &[]),
        hello(&[], &[], &[]),
        hello(&[], &[PSK_CCM8], &[0, 21, 1, 0]),
        ClientHello::new().body(),
        ClientHello::new().cookie(&[9; 20]).body(),
        dtls::server_hello(0, 0, PSK_CCM8)[25..].to_vec(),
        b"\x00\x05node1".to_vec(),
    ]
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, high, middle, low] = (body.len() as u32).to_be_bytes();
    [&[kind, high, middle, low], body].concat()
}

fn tls(kind: u8, fragment: &[u8]) -> Vec<u8> {
    let [high, low] = (fragment.len() as u16).to_be_bytes();
    [&[kind, 3, 3, high, low], fragment].concat()
}

pub fn records() -> Vec<Vec<u8>> {
    let hellos = bodies().into_iter().map(|body| message(1, &body));
    let mut records: Vec<_> = hellos.clone().map(|hello| tls(22, &hello)).collect();
    records.extend(
        hellos.take(2).map(|hello| hello.chunks(9).flat_map(|part| tls(22, part)).collect()),
    );
    records.extend([
        tls(20, &[1]),
        tls(21, &[2, 40]),
        tls(23, &[5; 40]),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![22, 3, 1, 0x40, 1],
        ClientHello::new().record(0, 0),
        dtls::hello_verify_request(0, &[7; 20]),
        [dtls::change_cipher_spec(0, 3), dtls::finished(0, 0x5a)].concat(),
        dtls::application(1 << 40, &[9; 32]),
        dtls::record(content::ALERT, 0xfeff, 1, 2, &[1; 18]),
        dtls::application(1, &[7; 16])[..20].to_vec(),
    ]);
    records
}

pub fn handshakes() -> Vec<Vec<u8>> {
    let with = |kind: u8, cut: u8, body: &[u8]| [&[kind, cut], body].concat();
    let mut seeds: Vec<_> = bodies().iter().map(|body| with(1, 20, body)).collect();
    seeds.extend(bodies().iter().map(|body| with(2, 0, body)));
    let fragment = dtls::handshake_fragment(1, 0, 200, 40, &[3; 20]);
    let two = [&fragment[..], &dtls::handshake(14, 1, &[])].concat();
    seeds.extend([with(16, 1, b"\x00\x05node1"), with(11, 255, &fragment), with(14, 3, &two)]);
    seeds
}

/// Steps of a script: see `mapper` in tests/fuzz/src.
fn said(content: u8, fragment: &[u8]) -> Vec<u8> {
    [&[0, content, fragment.len() as u8], fragment].concat()
}

fn heard(content: u8, epoch: u8, number: u8, fragment: &[u8]) -> Vec<u8> {
    [&[2, content, epoch, number, fragment.len() as u8], fragment].concat()
}

fn answered(kind: u8, seq: u8, body: &[u8]) -> Vec<u8> {
    [&[3, kind, seq, body.len() as u8], body].concat()
}

const fn reported(next: u8, received: u8) -> [u8; 3] {
    [4, next, received]
}

const fn waited(seconds: u8) -> [u8; 2] {
    [5, seconds]
}

const END: [u8; 1] = [8];

/// `start` is how many steps of a full handshake came before.
fn script(start: u8, window: u8, steps: &[&[u8]]) -> Vec<u8> {
    [&[start, window], &steps.concat()[..]].concat()
}

pub fn connections() -> Vec<Vec<u8>> {
    let offer = |id: &[u8], more: &[u8]| said(22, &message(1, &hello(id, &[PSK_CCM8], more)));
    let choice = |id: &[u8], more: &[u8]| {
        let mut body = vec![0xfe, 0xfd];
        body.extend([0x80; 32]);
        body.push(id.len() as u8);
        body.extend_from_slice(id);
        body.extend([0xc0, 0xa8, 0]);
        body.extend((more.len() as u16).to_be_bytes());
        body.extend_from_slice(more);
        body
    };
    let keys = said(22, &message(16, b"\x00\x05node1"));
    let switch = said(20, &[1]);
    let finished = said(22, &[6; 32]);
    let node_switch = heard(20, 0, 9, &[1]);
    let node_finished = heard(22, 1, 0, &[5; 32]);
    let asked = said(23, &[1; 40]);
    let verify = answered(3, 0, b"\xfe\xff\x04cook");
    let mut seeds = handshaking(&offer, &choice, &keys, &switch, &finished);
    seeds.extend([
        script(3, 1, &[&node_switch, &reported(1, 0), &node_finished, &asked, &reported(2, 0)]),
        script(3, 1, &[&node_finished, &node_finished, &node_switch, &node_switch, &waited(60)]),
        script(2, 4, &[&keys, &switch, &finished, &waited(9), &waited(18), &waited(120)]),
        script(0, 1, &[&offer(&[], NAME), &verify, &verify, &answered(2, 1, &choice(&[], &[]))]),
        script(4, 1, &[&asked, &asked, &waited(3), &reported(2, 0), &waited(4), &reported(3, 0)]),
        script(
            4,
            3,
            &[&asked, &asked, &asked, &asked, &reported(1, 3), &waited(3), &reported(5, 0)],
        ),
    ]);
    seeds.extend(established(&asked));
    seeds
}

/// Writes two pieces as one message.
type Put = dyn Fn(&[u8], &[u8]) -> Vec<u8>;

fn handshaking(
    offer: &Put,
    choice: &Put,
    keys: &[u8],
    switch: &[u8],
    finished: &[u8],
) -> Vec<Vec<u8>> {
    let id = [0x33; 32];
    let (done, ticket) = (answered(14, 1, &[]), answered(4, 2, &[0; 6]));
    let switched = [heard(20, 0, 9, &[1]), heard(22, 1, 0, &[5; 32])].concat();
    let promise = answered(2, 0, &choice(&[], &[0, 35, 0, 0]));
    let full = [offer(&[], &[]), answered(2, 0, &choice(&[], &[])), done.clone()].concat();
    let resumed = [offer(&id, &[]), answered(2, 0, &choice(&id, &[])), switched.clone()].concat();
    vec![
        script(0, 1, &[&full, keys, switch, finished, &switched, &reported(1, 0)]),
        script(0, 1, &[&resumed, switch, finished, &switched, &reported(1, 0), &said(23, &[1; 9])]),
        script(
            0,
            1,
            &[&offer(&[], &[]), &promise, &done, keys, switch, finished, &switched, &ticket],
        ),
        script(0, 1, &[&offer(&[], TICKET), &promise, &answered(4, 1, &[0; 6]), &switched]),
        script(1, 1, &[&heard(21, 0, 0, &[2, 40])]),
        script(2, 1, &[&said(21, &[1, 90]), &said(21, &[2, 47])]),
        script(0, 1, &[b"\x01\x12GET / HTTP/1.1\r\n\r\n"]),
    ]
}

/// Both orders of closing, half a close, renegotiation, records out of order.
fn established(asked: &[u8]) -> Vec<Vec<u8>> {
    let (close, closed) = (said(21, &[2; 18]), heard(21, 1, 1, &[3; 18]));
    let data = |number| heard(23, 1, number, &[number; 20]);
    vec![
        script(4, 1, &[&close, &reported(2, 0), &closed, &closed, &waited(6)]),
        script(4, 1, &[&closed, &close, &waited(6), &reported(2, 0)]),
        script(4, 1, &[&closed, &END]),
        script(4, 1, &[asked, &END, &data(1), &waited(6)]),
        script(4, 1, &[&close, &END, &reported(2, 0), &waited(6)]),
        script(4, 1, &[&said(22, &[1; 40])]),
        script(4, 1, &[&heard(22, 1, 1, &[1; 40])]),
        script(4, 4, &[&data(3), &data(2), &data(2), &data(1), &data(1), &data(9), &data(4)]),
        script(4, 1, &[&[7, 1], &data(1), &[7, 0], &data(1)]),
        script(4, 1, &[&waited(255), &waited(255), &said(23, &[0; 255]), &said(23, &[0; 255])]),
    ]
}
