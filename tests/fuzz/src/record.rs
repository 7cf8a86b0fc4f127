//! Record headers, both ways, and the first record of a stream.
use gateway_common::mapping::{
    Position,
    record::{self, DTLS_HEADER, DtlsHeader, Records, TLS_HEADER, TlsHeader},
};
use gateway_user::mapper::core::{Hello, peek_client_hello};

/// A datagram, and the first bytes of a stream.
pub fn record(data: &[u8]) {
    datagram(data);
    stream(data);
    // more bytes never change an answer that was given
    let peeks: Vec<_> = (0..=data.len()).map(|end| peek_client_hello(&data[..end], 512)).collect();
    let first = peeks.iter().find(|peek| **peek != Hello::Incomplete);
    if let Some(answer) = first {
        let mut given = peeks.iter().skip_while(|peek| **peek == Hello::Incomplete);
        assert!(given.all(|peek| peek == answer));
    }
}

fn datagram(data: &[u8]) {
    let mut read = 0;
    let mut whole = true;
    for record in Records::of(data) {
        let Ok(record) = record else {
            whole = false;
            break;
        };
        let header = record.header;
        assert_eq!(header.write(), data[read..read + DTLS_HEADER]);
        assert_eq!(record.fragment, &data[read + DTLS_HEADER..][..record.fragment.len()]);
        read += DTLS_HEADER + record.fragment.len();
        let tls = record::to_tls(header);
        assert_eq!(TlsHeader::read(&tls.write()), tls);
        let back = record::to_dtls(tls, header.position);
        assert_eq!(back, DtlsHeader { version: record::DTLS12, ..header });
    }
    assert!(!whole || read == data.len());
}

fn stream(data: &[u8]) {
    let Some(first) = data.first_chunk::<TLS_HEADER>() else {
        return;
    };
    let header = TlsHeader::read(first);
    assert_eq!(header.write(), *first);
    let position = Position { epoch: 1, number: header.length.into() };
    let mapped = record::to_dtls(header, position);
    assert_eq!(DtlsHeader::read(&mapped.write()), mapped);
    assert_eq!(record::to_tls(mapped), TlsHeader { version: record::TLS12, ..header });
}
