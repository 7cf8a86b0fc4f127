//! One CoAP request and its response, in blocks where they are needed (RFC 7959).
//!
//! ```text
//! Whole ──4.13 with a size──▶ Upload ──last block──▶ Download ──last block──▶ complete
//!   └──────────────────more blocks follow──────────────▲
//! ```

use alloc::{borrow::Cow, format, vec::Vec};
use core::mem;

use super::{
    block::{Block, BlockSize},
    message::{self, Code, Kind, Message, Opt, option, uint_value},
    refusal::Refusal,
};

/// How often a transfer begins anew, as the node lost blocks or the resource changed.
const RESTARTS: u8 = 2;

/// Largest payload in one message to a node that does not know blocks (RFC 7252 §4.6).
const MESSAGE_PAYLOAD: usize = 1024;

/// What a response leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// [`Transfer::request`] has the next message.
    Again,
    /// The response is complete.
    Complete,
    /// There will be no response that could be passed on.
    Failed(Refusal),
}

/// What is asked of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) code: Code,
    /// Options of every message.
    pub(crate) options: Vec<Opt>,
    /// ETags of stored representations: only the first message asks for validation.
    pub(crate) etags: Vec<Opt>,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Whole,
    Upload { offset: usize, size: BlockSize },
    Download { size: BlockSize },
}

#[derive(Debug)]
pub(crate) struct Transfer {
    question: Question,
    limit: BlockSize,
    blocks: bool,
    /// A 4.02 may have been about blocks: it was, if it does not come again without them.
    suspected: bool,
    phase: Phase,
    head: Option<(Code, Vec<Opt>)>,
    received: Vec<u8>,
    /// Bytes of the response so far, taken away or not.
    offset: usize,
    taken: bool,
    restarts: u8,
}

impl Transfer {
    /// `blocks`: whether the node may know block-wise transfer.
    pub(crate) fn new(question: Question, limit: BlockSize, blocks: bool) -> Self {
        let mut transfer = Self {
            question,
            limit,
            blocks,
            suspected: false,
            phase: Phase::Whole,
            head: None,
            received: Vec::new(),
            offset: 0,
            taken: false,
            restarts: 0,
        };
        transfer.begin();
        transfer
    }

    /// The next message; its type, ID and token are the link's.
    pub(crate) fn request(&self) -> Message {
        let mut options = self.question.options.clone();
        let mut payload = Vec::new();
        match self.phase {
            Phase::Whole => {
                options.extend(self.question.etags.iter().cloned());
                payload.clone_from(&self.question.body);
                if self.asks_for_blocks() {
                    options.push((option::BLOCK2, Block::at(0, false, self.limit).write()));
                }
            }
            Phase::Upload { offset, size } => {
                let (piece, more) = self.piece(offset, size);
                payload.extend_from_slice(piece);
                options.push((option::BLOCK1, Block::at(offset, more, size).write()));
                if offset == 0 {
                    let length = u32::try_from(self.question.body.len()).unwrap_or(u32::MAX);
                    options.push((option::SIZE1, uint_value(length)));
                }
            }
            Phase::Download { size } => {
                options.retain(|(number, _)| *number != option::CONTENT_FORMAT);
                options.push((option::BLOCK2, Block::at(self.offset, false, size).write()));
            }
        }
        options.sort_by_key(|(number, _)| *number);
        let code = self.question.code;
        Message { code, options, payload, ..Message::empty(Kind::Confirmable, 0) }
    }

    /// Takes the response to the last request.
    pub(crate) fn handle_response(&mut self, response: Message) -> Outcome {
        if let Some(number) = response.unknown_critical() {
            return failed(format!("the node's response has the unknown critical option {number}"));
        }
        match self.phase {
            Phase::Whole => self.whole(response),
            Phase::Upload { offset, size } => self.uploaded(response, offset, size),
            Phase::Download { .. } => self.downloaded(response),
        }
    }

    /// Code and options of the response, once its first block is here.
    pub(crate) fn head(&self) -> Option<(Code, &[Opt])> {
        self.head.as_ref().map(|(code, options)| (*code, options.as_slice()))
    }

    /// Bytes of the payload that were not taken yet.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Takes what has come of the payload; from now on there is no way back to the beginning.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.taken = true;
        mem::take(&mut self.received)
    }

    /// Whether the node is still believed to know block-wise transfer.
    pub(crate) fn knows_blocks(&self) -> bool {
        self.blocks
    }

    /// Whether a later block depends on an earlier one, so that nothing may come between.
    pub(crate) fn is_under_way(&self) -> bool {
        match self.phase {
            Phase::Whole => false,
            Phase::Upload { .. } | Phase::Download { .. } => true,
        }
    }

    fn begin(&mut self) {
        self.head = None;
        self.received.clear();
        self.offset = 0;
        let large = self.blocks && self.question.body.len() > self.limit.bytes();
        self.phase =
            if large { Phase::Upload { offset: 0, size: self.limit } } else { Phase::Whole };
    }

    fn restart(&mut self, why: &'static str) -> Outcome {
        if self.taken || self.restarts == RESTARTS {
            return failed(why);
        }
        self.restarts += 1;
        self.begin();
        Outcome::Again
    }

    /// Early negotiation of the block size (RFC 7959 §2.4), where ours is not the usual one.
    fn asks_for_blocks(&self) -> bool {
        self.blocks && self.limit != BlockSize::LARGEST && self.question.code == Code::GET
    }

    /// The piece of the body at `offset`, and whether more follow.
    fn piece(&self, offset: usize, size: BlockSize) -> (&[u8], bool) {
        let rest = self.question.body.get(offset..).unwrap_or_default();
        match rest.split_at_checked(size.bytes()) {
            Some((piece, after)) => (piece, !after.is_empty()),
            None => (rest, false),
        }
    }

    fn whole(&mut self, response: Message) -> Outcome {
        if response.code == Code::BAD_OPTION && self.asks_for_blocks() {
            self.blocks = false;
            self.suspected = true;
            return Outcome::Again;
        }
        self.blocks |= self.suspected && response.code == Code::BAD_OPTION;
        if response.code == Code::TOO_LARGE && self.blocks {
            let size = smaller(&response, self.limit);
            if self.question.body.len() > size.bytes() {
                self.phase = Phase::Upload { offset: 0, size };
                return Outcome::Again;
            }
        }
        self.first(response)
    }

    fn uploaded(&mut self, response: Message, offset: usize, size: BlockSize) -> Outcome {
        let (piece, more) = self.piece(offset, size);
        let next = offset + piece.len();
        let size_now = smaller(&response, size);
        let confirmed = response.code.class() == 2 && response.option(option::BLOCK1).is_some();
        match response.code {
            Code::CONTINUE if !more => failed("the node asks for more than there is"),
            _ if more && (confirmed || response.code == Code::CONTINUE) => {
                self.phase = Phase::Upload { offset: next, size: size_now };
                Outcome::Again
            }
            Code::INCOMPLETE => self.restart("the node lost blocks of the request"),
            Code::TOO_LARGE if size_now < size => {
                self.phase = Phase::Upload { offset: 0, size: size_now };
                Outcome::Again
            }
            Code::BAD_OPTION if offset == 0 => self.without_blocks(),
            _ => self.first(response),
        }
    }

    fn without_blocks(&mut self) -> Outcome {
        self.blocks = false;
        self.suspected = true;
        if self.question.body.len() > MESSAGE_PAYLOAD {
            let why =
                "the node does not take bodies in blocks, and this one does not fit a message";
            return Outcome::Failed(Refusal::new(413, why));
        }
        self.begin();
        Outcome::Again
    }

    /// The response, or its first block.
    fn first(&mut self, response: Message) -> Outcome {
        let block = response.option(option::BLOCK2).map(Block::read);
        let Some(block) = block else {
            self.keep(response);
            return Outcome::Complete;
        };
        let Some(block) = block.filter(|block| block.number == 0) else {
            return failed("the node's response does not begin with its first block");
        };
        self.append(block, response)
    }

    fn downloaded(&mut self, response: Message) -> Outcome {
        let block = response.option(option::BLOCK2).and_then(Block::read);
        let etag = |options: &[Opt]| message::first(options, option::ETAG).map(<[u8]>::to_vec);
        let (code, options) = self.head.as_ref().map_or((Code::EMPTY, &[][..]), |(c, o)| (*c, o));
        let same = response.code == code && etag(&response.options) == etag(options);
        match block.filter(|block| same && block.offset() == self.offset) {
            Some(block) => self.append(block, response),
            None if self.question.code == Code::GET => {
                self.restart("the resource keeps changing while its blocks are fetched")
            }
            None => failed("the blocks of the node's response do not belong together"),
        }
    }

    fn append(&mut self, block: Block, response: Message) -> Outcome {
        if block.more && response.payload.len() != block.size.bytes() {
            return failed("a block of the node's response has not the size it tells");
        }
        self.keep(response);
        if !block.more {
            return Outcome::Complete;
        }
        let size = block.size.min(self.limit);
        if self.offset / size.bytes() > Block::LAST {
            return failed("the node's response has more blocks than can be numbered");
        }
        self.phase = Phase::Download { size };
        Outcome::Again
    }

    fn keep(&mut self, response: Message) {
        self.offset += response.payload.len();
        self.received.extend(response.payload);
        if self.head.is_none() {
            self.head = Some((response.code, response.options));
        }
    }
}

/// The block size that a response asks for, if it is smaller.
fn smaller(response: &Message, size: BlockSize) -> BlockSize {
    let wanted = response.option(option::BLOCK1).and_then(Block::read);
    wanted.map_or(size, |block| block.size.min(size))
}

fn failed(why: impl Into<Cow<'static, str>>) -> Outcome {
    Outcome::Failed(Refusal { status: 502, why: why.into() })
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
