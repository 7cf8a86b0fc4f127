//! The message layer on a made-up clock.

use alloc::vec;

use proptest::prelude::*;

use super::*;

const TOKEN: Token = [1, 2, 3, 4];

fn sent(link: &mut Link) -> Message {
    let message = Message { code: Code::GET, ..Message::empty(Kind::Confirmable, 0) };
    let datagram = link.request(TOKEN, message, Instant(0), &Timing::default(), 0);
    Message::read(&datagram).expect("a message")
}

fn response(kind: Kind, id: u16, token: &[u8]) -> Message {
    Message { code: Code::CONTENT, token: token.to_vec(), ..Message::empty(kind, id) }
}

fn take(link: &mut Link, message: &Message) -> Step {
    link.handle_datagram(&message.write(), Instant(10), &Timing::default())
}

fn reply(step: &Step) -> Option<(Kind, u16)> {
    let datagram = step.datagram.as_ref()?;
    Message::read(datagram).ok().map(|message| (message.kind, message.id))
}

#[test]
fn a_request_is_repeated_four_times_and_given_up() {
    let mut link = Link::new(7);
    let first = sent(&mut link).write();
    let mut times = vec![];
    let ended = loop {
        let due = link.deadline().expect("something to wait for");
        let step = link.handle_timeout(due);
        times.push(due.0);
        match step.datagram {
            Some(datagram) => assert_eq!(datagram, first),
            None => break step.event,
        }
    };
    assert_eq!(times, [2_000, 6_000, 14_000, 30_000, 62_000]);
    assert_eq!(ended, Some(Event::TimedOut(TOKEN)));
    assert!(link.is_idle());
}

#[test]
fn the_first_timeout_is_spread_up_to_one_and_a_half() {
    let message = Message::empty(Kind::Confirmable, 0);
    let mut link = Link::new(0);
    link.request(TOKEN, message, Instant(0), &Timing::default(), 255);
    let due = link.deadline().expect("a deadline").0;
    assert!((2_750..=3_000).contains(&due), "{due}");
}

#[test]
fn a_piggybacked_response_needs_both_id_and_token() {
    let mut link = Link::new(7);
    let id = sent(&mut link).id;
    for wrong in [
        response(Kind::Acknowledgement, id + 1, &TOKEN),
        response(Kind::Acknowledgement, id, b"else"),
        Message { code: Code::GET, ..response(Kind::Acknowledgement, id, &TOKEN) },
    ] {
        assert_eq!(take(&mut link, &wrong), Step::default());
    }
    let right = response(Kind::Acknowledgement, id, &TOKEN);
    assert_eq!(take(&mut link, &right).event, Some(Event::Response(TOKEN, right.clone())));
    assert_eq!(take(&mut link, &right), Step::default());
}

#[test]
fn a_separate_response_is_acknowledged_each_time_and_reported_once() {
    let mut link = Link::new(7);
    let id = sent(&mut link).id;
    let step = take(&mut link, &Message::empty(Kind::Acknowledgement, id));
    assert_eq!(step.event, Some(Event::Acknowledged(TOKEN)));
    assert!(link.is_free() && !link.is_idle());
    let late = response(Kind::Confirmable, 900, &TOKEN);
    let step = take(&mut link, &late);
    assert_eq!(reply(&step), Some((Kind::Acknowledgement, 900)));
    assert_eq!(step.event, Some(Event::Response(TOKEN, late.clone())));
    let again = take(&mut link, &late);
    assert_eq!((reply(&again), again.event), (Some((Kind::Acknowledgement, 900)), None));
}

#[test]
fn a_response_before_its_acknowledgement_ends_retransmission() {
    for kind in [Kind::Confirmable, Kind::NonConfirmable] {
        let mut link = Link::new(7);
        sent(&mut link);
        let early = response(kind, 900, &TOKEN);
        assert_eq!(take(&mut link, &early).event, Some(Event::Response(TOKEN, early)));
        assert!(link.is_idle());
    }
}

#[test]
fn an_acknowledged_request_waits_for_its_time_only() {
    let mut link = Link::new(7);
    let id = sent(&mut link).id;
    take(&mut link, &Message::empty(Kind::Acknowledgement, id));
    assert_eq!(link.deadline(), Some(Instant(452_010)));
    let step = link.handle_timeout(Instant(452_010));
    assert_eq!(step.event, Some(Event::TimedOut(TOKEN)));
}

#[test]
fn a_reset_of_another_message_is_nothing() {
    let mut link = Link::new(7);
    let id = sent(&mut link).id;
    assert_eq!(take(&mut link, &Message::empty(Kind::Reset, id + 1)), Step::default());
    let step = take(&mut link, &Message::empty(Kind::Reset, id));
    assert_eq!(step.event, Some(Event::Reset(TOKEN)));
}

#[test]
fn what_nobody_asked_for_is_reset() {
    let mut link = Link::new(7);
    for message in [
        Message::empty(Kind::Confirmable, 5),
        Message { code: Code::GET, ..Message::empty(Kind::Confirmable, 5) },
        response(Kind::Confirmable, 5, &TOKEN),
        response(Kind::Confirmable, 5, b""),
    ] {
        let step = take(&mut link, &message);
        assert_eq!((reply(&step), step.event), (Some((Kind::Reset, 5)), None));
    }
    assert_eq!(take(&mut link, &response(Kind::NonConfirmable, 5, &TOKEN)), Step::default());
}

proptest! {
    #[test]
    fn any_datagrams_leave_the_link_working(
        datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)
    ) {
        let mut link = Link::new(7);
        let id = sent(&mut link).id;
        for datagram in &datagrams {
            link.handle_datagram(datagram, Instant(1), &Timing::default());
        }
        prop_assert!(link.recent.len() <= RECENT && link.separate.len() <= 1);
        if link.outstanding.is_some() {
            let right = response(Kind::Acknowledgement, id, &TOKEN);
            prop_assert!(take(&mut link, &right).event.is_some());
        }
    }
}
