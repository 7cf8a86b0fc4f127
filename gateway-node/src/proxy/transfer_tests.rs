//! Block-wise transfers against a scripted node.

use alloc::{string::String, vec};

use proptest::prelude::*;

use super::*;

const SIZE: usize = 64;

fn size(bytes: usize) -> BlockSize {
    BlockSize::of(bytes).expect("a size")
}

fn get() -> Transfer {
    let options = vec![(option::URI_PATH, b"large".to_vec())];
    let question = Question { code: Code::GET, options, etags: vec![], body: vec![] };
    Transfer::new(question, size(SIZE), true)
}

fn put(body: usize) -> Transfer {
    let options = vec![(option::CONTENT_FORMAT, vec![])];
    let body = (0..body).map(|i| u8::try_from(i % 251).expect("small")).collect();
    let question = Question { code: Code::PUT, options, etags: vec![], body };
    Transfer::new(question, size(SIZE), true)
}

fn response(code: Code, options: &[(u16, Vec<u8>)], payload: &[u8]) -> Message {
    let empty = Message::empty(Kind::Acknowledgement, 0);
    Message { code, options: options.to_vec(), payload: payload.to_vec(), ..empty }
}

/// Number, more and size as in RFC 7959 §3.
fn block(number: u32, more: bool, bytes: usize) -> Vec<u8> {
    Block { number, more, size: size(bytes) }.write()
}

fn asked(transfer: &Transfer, number: u16) -> Option<(u32, bool, usize)> {
    let block = transfer.request().option(number).and_then(Block::read)?;
    Some((block.number, block.more, block.size.bytes()))
}

/// Serves a representation of `length` bytes in blocks of at most `largest`.
fn serve(transfer: &mut Transfer, length: usize, largest: usize) -> (Outcome, usize) {
    let resource: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).expect("small")).collect();
    for round in 0..1000 {
        let wanted = transfer.request().option(option::BLOCK2).and_then(Block::read);
        let size = size(wanted.map_or(largest, |b| b.size.bytes().min(largest)));
        let offset = wanted.map_or(0, Block::offset);
        let end = resource.len().min(offset + size.bytes());
        let more = end < resource.len();
        let options = [(option::BLOCK2, Block::at(offset, more, size).write())];
        let answer = response(Code::CONTENT, &options, &resource[offset..end]);
        match transfer.handle_response(answer) {
            Outcome::Again => {}
            ended @ (Outcome::Complete | Outcome::Failed(_)) => return (ended, round + 1),
        }
    }
    panic!("no end");
}

#[test]
fn a_small_response_needs_one_exchange() {
    let mut transfer = get();
    assert_eq!(asked(&transfer, option::BLOCK2), Some((0, false, SIZE)));
    let answer = response(Code::CONTENT, &[], b"22.3 C");
    assert_eq!(transfer.handle_response(answer), Outcome::Complete);
    assert_eq!(transfer.received(), b"22.3 C");
}

#[test]
fn a_large_response_is_put_together() {
    for (length, largest, exchanges) in [(200, 64, 4), (128, 64, 2), (200, 32, 7), (64, 64, 1)] {
        let mut transfer = get();
        assert_eq!(serve(&mut transfer, length, largest), (Outcome::Complete, exchanges));
        assert_eq!(transfer.received().len(), length);
        assert!(transfer.received().iter().enumerate().all(|(i, b)| usize::from(*b) == i % 251));
    }
}

#[test]
fn a_node_with_larger_blocks_is_asked_for_smaller_ones() {
    let mut transfer = get();
    let first = response(Code::CONTENT, &[(option::BLOCK2, block(0, true, 1024))], &[7; 1024]);
    assert_eq!(transfer.handle_response(first), Outcome::Again);
    assert_eq!(asked(&transfer, option::BLOCK2), Some((16, false, SIZE)));
}

#[test]
fn a_resource_that_changes_is_fetched_anew_twice() {
    let mut transfer = get();
    let tagged = |tag, number| {
        let options = [(option::ETAG, vec![tag]), (option::BLOCK2, block(number, true, SIZE))];
        response(Code::CONTENT, &options, &[tag; SIZE])
    };
    for round in 0..2 {
        assert_eq!(transfer.handle_response(tagged(1, 0)), Outcome::Again, "{round}");
        assert_eq!(transfer.handle_response(tagged(2, 1)), Outcome::Again, "{round}");
        assert_eq!(asked(&transfer, option::BLOCK2), Some((0, false, SIZE)));
    }
    transfer.handle_response(tagged(1, 0));
    assert!(
        matches!(transfer.handle_response(tagged(2, 1)), Outcome::Failed(r) if r.status == 502)
    );
}

#[test]
fn what_was_passed_on_is_never_begun_anew() {
    let mut transfer = get();
    let first = response(Code::CONTENT, &[(option::BLOCK2, block(0, true, SIZE))], &[7; SIZE]);
    transfer.handle_response(first.clone());
    assert_eq!(transfer.take().len(), SIZE);
    assert!(matches!(transfer.handle_response(first), Outcome::Failed(_)));
}

#[test]
fn blocks_that_lie_are_refused() {
    let more = |number, payload: &[u8]| {
        response(Code::CONTENT, &[(option::BLOCK2, block(number, true, SIZE))], payload)
    };
    for wrong in [more(0, &[0; 63]), more(0, b""), more(1, &[0; SIZE])] {
        assert!(matches!(get().handle_response(wrong), Outcome::Failed(r) if r.status == 502));
    }
    let reserved = response(Code::CONTENT, &[(option::BLOCK2, vec![0xf])], &[0; SIZE]);
    assert!(matches!(get().handle_response(reserved), Outcome::Failed(_)));
    let critical = response(Code::CONTENT, &[(2049, vec![])], b"");
    assert!(matches!(get().handle_response(critical), Outcome::Failed(_)));
}

#[test]
fn a_node_without_blocks_is_asked_without() {
    let mut transfer = get();
    assert_eq!(transfer.handle_response(response(Code::BAD_OPTION, &[], b"")), Outcome::Again);
    assert_eq!(asked(&transfer, option::BLOCK2), None);
    assert_eq!(transfer.handle_response(response(Code::CONTENT, &[], b"")), Outcome::Complete);
    assert!(!transfer.knows_blocks());
}

#[test]
fn a_bad_option_that_was_no_block_says_nothing_about_blocks() {
    let mut transfer = get();
    assert_eq!(transfer.handle_response(response(Code::BAD_OPTION, &[], b"")), Outcome::Again);
    let again = response(Code::BAD_OPTION, &[], b"");
    assert_eq!(transfer.handle_response(again), Outcome::Complete);
    assert!(transfer.knows_blocks());
}

/// RFC 7959 §3.2, Figure 8: the server wants smaller blocks.
#[test]
fn an_upload_follows_the_nodes_block_size() {
    let mut transfer = put(150);
    assert_eq!(asked(&transfer, option::BLOCK1), Some((0, true, 64)));
    assert_eq!(message::uint(&transfer.request().options, option::SIZE1), Some(150));
    let continued = |n, b| response(Code::CONTINUE, &[(option::BLOCK1, block(n, true, b))], b"");
    assert_eq!(transfer.handle_response(continued(0, 32)), Outcome::Again);
    assert_eq!(asked(&transfer, option::BLOCK1), Some((2, true, 32)));
    assert_eq!(transfer.request().option(option::SIZE1), None);
    for number in 2..4 {
        assert_eq!(transfer.handle_response(continued(number, 32)), Outcome::Again);
    }
    assert_eq!(asked(&transfer, option::BLOCK1), Some((4, false, 32)));
    assert_eq!(transfer.request().payload.len(), 150 - 128);
    let changed = response(Code::CHANGED, &[(option::BLOCK1, block(4, false, 32))], b"");
    assert_eq!(transfer.handle_response(changed), Outcome::Complete);
}

#[test]
fn a_refused_body_is_tried_in_smaller_blocks() {
    let mut transfer = put(60);
    assert_eq!(asked(&transfer, option::BLOCK1), None);
    let large = response(Code::TOO_LARGE, &[(option::BLOCK1, block(0, false, 16))], b"");
    assert_eq!(transfer.handle_response(large.clone()), Outcome::Again);
    assert_eq!(asked(&transfer, option::BLOCK1), Some((0, true, 16)));
    assert_eq!(transfer.handle_response(large), Outcome::Complete);
    assert_eq!(transfer.head().map(|(code, _)| code), Some(Code::TOO_LARGE));
}

#[test]
fn a_node_that_lost_blocks_gets_them_again_twice() {
    let mut transfer = put(200);
    let continued = response(Code::CONTINUE, &[(option::BLOCK1, block(0, true, 64))], b"");
    for _ in 0..2 {
        assert_eq!(transfer.handle_response(continued.clone()), Outcome::Again);
        assert_eq!(transfer.handle_response(response(Code::INCOMPLETE, &[], b"")), Outcome::Again);
        assert_eq!(asked(&transfer, option::BLOCK1), Some((0, true, 64)));
    }
    let lost = response(Code::INCOMPLETE, &[], b"");
    assert!(matches!(transfer.handle_response(lost), Outcome::Failed(r) if r.status == 502));
}

#[test]
fn a_body_goes_whole_to_a_node_without_blocks_if_it_fits() {
    let bad = response(Code::BAD_OPTION, &[], b"");
    let mut transfer = put(1000);
    assert_eq!(transfer.handle_response(bad.clone()), Outcome::Again);
    assert_eq!(transfer.request().payload.len(), 1000);
    let mut transfer = put(2000);
    assert!(matches!(transfer.handle_response(bad), Outcome::Failed(r) if r.status == 413));
}

#[test]
fn the_response_to_an_upload_can_be_large_too() {
    let mut transfer = put(60);
    let first = response(Code::CHANGED, &[(option::BLOCK2, block(0, true, SIZE))], &[1; SIZE]);
    assert_eq!(transfer.handle_response(first), Outcome::Again);
    let next = transfer.request();
    assert_eq!((next.payload.len(), next.option(option::CONTENT_FORMAT)), (0, None));
    assert_eq!(asked(&transfer, option::BLOCK2), Some((1, false, SIZE)));
    let last = response(Code::CHANGED, &[(option::BLOCK2, block(1, false, SIZE))], &[2; 5]);
    assert_eq!(transfer.handle_response(last), Outcome::Complete);
    assert_eq!(transfer.received().len(), SIZE + 5);
}

#[test]
fn validation_is_asked_for_once() {
    let etags = vec![(option::ETAG, b"1".to_vec())];
    let question = Question { code: Code::GET, options: vec![], etags, body: vec![] };
    let mut transfer = Transfer::new(question, size(SIZE), true);
    assert!(transfer.request().option(option::ETAG).is_some());
    let first = response(Code::CONTENT, &[(option::BLOCK2, block(0, true, SIZE))], &[7; SIZE]);
    transfer.handle_response(first);
    assert_eq!(transfer.request().option(option::ETAG), None);
}

proptest! {
    #[test]
    fn any_responses_lead_to_an_end_or_to_a_next_request(
        body in 0..300usize,
        answers in proptest::collection::vec(
            (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..4),
             proptest::collection::vec(any::<u8>(), 0..4), 0..80usize), 0..30),
    ) {
        let mut transfer = if body == 0 { get() } else { put(body) };
        for (code, block1, block2, payload) in answers {
            let options = [(option::BLOCK1, block1), (option::BLOCK2, block2)];
            let answer = response(Code(code), &options, &vec![0; payload]);
            if transfer.handle_response(answer) != Outcome::Again {
                break;
            }
            let request = transfer.request();
            prop_assert!(request.payload.len() <= 1024);
            prop_assert_eq!(Message::read(&request.write()).map(|m| m.payload), Ok(request.payload));
        }
    }

    #[test]
    fn uploads_arrive_complete(body in 65..500usize, largest in 0..=2u32) {
        let largest = 16 << largest;
        let mut transfer = put(body);
        let mut arrived = vec![];
        loop {
            let request = transfer.request();
            let sent = request.option(option::BLOCK1).and_then(Block::read).expect("a block");
            prop_assert_eq!(sent.offset(), arrived.len());
            arrived.extend(request.payload);
            let size = size(sent.size.bytes().min(largest));
            let code = if sent.more { Code::CONTINUE } else { Code::CHANGED };
            let echo = Block { size, ..sent }.write();
            if transfer.handle_response(response(code, &[(option::BLOCK1, echo)], b""))
                == Outcome::Complete { break }
        }
        prop_assert_eq!(arrived, transfer.question.body);
    }
}

#[test]
fn failures_say_why() {
    let Outcome::Failed(refusal) = failed("why") else { panic!("a failure") };
    assert_eq!((refusal.status, refusal.why), (502, Cow::from(String::from("why"))));
}
