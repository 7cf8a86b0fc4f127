//! OpenSSL's client over a stream in memory: asks, waits for as many bytes of answer, closes.
use std::{
    collections::VecDeque,
    io::{self, Read, Write},
};

use openssl::ssl::{
    ErrorCode, ShutdownState, Ssl, SslContext, SslMethod, SslSession, SslStream, SslVersion,
};

pub const KEY: [u8; 16] = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
pub const IDENTITY: &str = "node1";

#[derive(Default)]
pub struct Pipe {
    pub incoming: VecDeque<u8>,
    pub outgoing: Vec<u8>,
    /// FIN has come.
    pub ended: bool,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.incoming.is_empty() && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.incoming.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connect,
    Ask,
    Listen,
    Close,
    Done,
}

pub struct Client {
    stream: SslStream<Pipe>,
    stage: Stage,
    questions: Vec<Vec<u8>>,
    pub heard: Vec<u8>,
    /// What OpenSSL found wrong.
    pub error: Option<String>,
}

impl Client {
    pub fn new(cipher: &str, session: Option<SslSession>, questions: Vec<Vec<u8>>) -> Self {
        Self::build(cipher, SslVersion::TLS1_2, KEY, session, questions)
    }

    pub fn with_tls13(cipher: &str, questions: Vec<Vec<u8>>) -> Self {
        Self::build(cipher, SslVersion::TLS1_3, KEY, None, questions)
    }

    pub fn with_key(self, key: [u8; 16]) -> Self {
        Self::build("PSK-AES128-CCM8", SslVersion::TLS1_2, key, None, self.questions)
    }

    fn build(
        cipher: &str,
        version: SslVersion,
        key: [u8; 16],
        session: Option<SslSession>,
        questions: Vec<Vec<u8>>,
    ) -> Self {
        let mut context = SslContext::builder(SslMethod::tls_client()).expect("a context");
        context.set_max_proto_version(Some(version)).expect("a version");
        context.set_cipher_list(&format!("{cipher}:@SECLEVEL=0")).expect("a suite");
        context.set_psk_client_callback(move |_, _, identity, secret| {
            identity[..IDENTITY.len()].copy_from_slice(IDENTITY.as_bytes());
            identity[IDENTITY.len()] = 0;
            secret[..key.len()].copy_from_slice(&key);
            Ok(key.len())
        });
        let context = context.build();
        let mut ssl = Ssl::new(&context).expect("a connection");
        if let Some(session) = session {
            // SAFETY: the session is of this program's own contexts, which are all alike.
            unsafe { ssl.set_session(&session) }.expect("a session");
        }
        let stream = SslStream::new(ssl, Pipe::default()).expect("a stream");
        Self { stream, stage: Stage::Connect, questions, heard: Vec::new(), error: None }
    }

    pub fn pipe(&mut self) -> &mut Pipe {
        self.stream.get_mut()
    }

    pub fn asked(&self) -> Vec<u8> {
        self.questions.concat()
    }

    /// For the next connection, once there is one that can be resumed.
    pub fn session(&self) -> Option<SslSession> {
        let closed = self.stage == Stage::Done && self.error.is_none();
        self.stream.ssl().session().filter(|_| closed).map(|session| session.to_owned())
    }

    pub fn resumed(&self) -> bool {
        self.stream.ssl().session_reused()
    }

    /// Both sides have said close_notify.
    pub fn is_closed(&mut self) -> bool {
        self.stage == Stage::Done && self.stream.get_shutdown() == both()
    }

    /// Goes on as far as it can with what has come.
    pub fn step(&mut self) {
        while self.error.is_none() && self.stage != Stage::Done {
            match self.try_step() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) if is_wait(&error) => return,
                Err(error) => self.error = Some(error.to_string()),
            }
        }
    }

    fn try_step(&mut self) -> Result<bool, openssl::ssl::Error> {
        match self.stage {
            Stage::Connect => {
                self.stream.connect()?;
                self.stage = Stage::Ask;
            }
            Stage::Ask => {
                for question in &self.questions {
                    self.stream.ssl_write(question)?;
                }
                self.stage = Stage::Listen;
            }
            Stage::Listen => {
                let mut buffer = [0; 4096];
                let length = self.stream.ssl_read(&mut buffer)?;
                self.heard.extend_from_slice(&buffer[..length]);
                if self.heard.len() >= self.questions.iter().map(Vec::len).sum() {
                    self.stream.shutdown()?;
                    self.stage = Stage::Close;
                }
            }
            Stage::Close => {
                self.stream.shutdown()?;
                self.stage = Stage::Done;
            }
            Stage::Done => return Ok(false),
        }
        Ok(true)
    }
}

fn both() -> ShutdownState {
    ShutdownState::SENT | ShutdownState::RECEIVED
}

fn is_wait(error: &openssl::ssl::Error) -> bool {
    error.code() == ErrorCode::WANT_READ || error.code() == ErrorCode::WANT_WRITE
}
