#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop where it fails"
)]

use proptest::prelude::*;

use super::*;

fn split(chunks: &[&[u8]]) -> (Vec<Event>, Bytes) {
    let mut splitter = Splitter::new(1 << 20);
    let mut out = Vec::new();
    for chunk in chunks {
        splitter
            .push(Bytes::copy_from_slice(chunk), &mut out)
            .unwrap();
    }
    out.extend(splitter.finish());
    (out, splitter.take_rest())
}

fn one(raw: &[u8]) -> Event {
    let (events, rest) = split(&[raw]);
    assert_eq!(
        (events.len(), rest.len()),
        (1, 0),
        "{:?}",
        raw.escape_ascii().to_string()
    );
    events[0].clone()
}

#[test]
fn the_usual_event_is_a_slice_of_its_chunk() {
    let chunk = Bytes::from_static(b"event: a\ndata: {\"x\":1}\n\nevent: b\ndata: 2\n\nevent: c");
    let mut splitter = Splitter::new(100);
    let mut out = Vec::new();
    splitter.push(chunk.clone(), &mut out).unwrap();
    assert_eq!(out.len(), 2);
    assert_eq!(out[0].raw.as_ptr(), chunk.as_ptr());
    assert_eq!(out[1].raw.as_ptr(), chunk[out[0].raw.len()..].as_ptr());
    assert_eq!(out[0].name(), Some(&b"a"[..]));
    assert_eq!(out[0].data().unwrap(), Cow::Borrowed(b"{\"x\":1}"));
    assert_eq!(out[0].head(), Some((&b"a"[..], &b"{\"x\":1}\n\n"[..])));
    assert_eq!(splitter.pending(), 8);
    assert_eq!(splitter.take_rest(), "event: c");
    assert_eq!(splitter.pending(), 0);
}

#[test]
fn every_line_ending_and_their_mixes() {
    for raw in [
        &b"event: e\ndata: 1\ndata: 2\n\n"[..],
        b"event: e\r\ndata: 1\r\ndata: 2\r\n\r\n",
        b"event: e\rdata: 1\rdata: 2\r\r",
        b"event: e\ndata: 1\r\ndata: 2\r\n\n",
        b"event:e\rdata:1\ndata:2\n\r\n",
        b": c\nid: 7\nretry: 10\nevent: e\nignored\ndata: 1\ndata: 2\r\r\n",
    ] {
        let event = one(raw);
        assert_eq!(event.raw, raw);
        assert_eq!(event.name(), Some(&b"e"[..]));
        assert_eq!(event.data().unwrap().as_ref(), b"1\n2");
        assert_eq!(event.data_bytes().unwrap(), "1\n2");
    }
}

#[test]
fn fields_that_are_missing_or_empty() {
    assert_eq!(one(b"data: 1\n\n").name(), None);
    assert_eq!(one(b"event:\ndata\n\n").name(), None);
    assert_eq!(one(b"data\n\n").data().unwrap().as_ref(), b"");
    assert_eq!(one(b"data:  a: b \n\n").data().unwrap().as_ref(), b" a: b ");
    assert_eq!(one(b"event: x\n\n").data(), None);
    assert_eq!(one(b"event: x\nevent: y\n\n").name(), Some(&b"y"[..]));
    assert_eq!(one(b"database: 1\n\n").data(), None);
    for (raw, blank) in [
        (&b"\n"[..], true),
        (b": ping\n\n", true),
        (b":\r\r", true),
        (b"id: 1\n\n", false),
        (b"x\n\n", false),
    ] {
        assert_eq!(one(raw).is_blank(), blank, "{raw:?}");
    }
}

#[test]
fn head_only_for_the_usual_form() {
    assert_eq!(
        one(b"event: a\r\ndata:1\r\n\r\n").head(),
        Some((&b"a"[..], &b"1\r\n\r\n"[..]))
    );
    for raw in [
        &b"data: 1\n\n"[..],
        b"event: a\nid: 1\ndata: 1\n\n",
        b"event: a\rdata: 1\ndata: 2\n\n",
        b"event: a\r\r",
    ] {
        assert_eq!(one(raw).head(), None, "{raw:?}");
    }
}

#[test]
fn a_mark_at_the_start_belongs_to_no_event() {
    let (events, _) = split(&[b"\xef", b"\xbb\xbfdata: 1\n", b"\n\xef\xbb\xbfdata: 2\n\n"]);
    assert_eq!(events[0].raw, "data: 1\n\n");
    assert_eq!(events[1].data(), None);
    let (events, _) = split(&[b"\xef", b"\xbbdata: 1\n\n"]);
    assert_eq!(events[0].raw, &b"\xef\xbbdata: 1\n\n"[..]);
}

#[test]
fn a_last_cr_delays_only_what_it_may_belong_to() {
    let mut splitter = Splitter::new(100);
    let mut out = Vec::new();
    splitter
        .push(Bytes::from_static(b"data: 1\n\n\r"), &mut out)
        .unwrap();
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].raw, "data: 1\n\n");
    splitter
        .push(Bytes::from_static(b"\ndata: 2\r\n\r"), &mut out)
        .unwrap();
    assert_eq!(out.len(), 2);
    assert_eq!(out[1].raw, "\r\n");
    splitter.push(Bytes::from_static(b"d"), &mut out).unwrap();
    assert_eq!(out[2].raw, "data: 2\r\n\r");
    assert_eq!(splitter.take_rest(), "d");
    assert_eq!(splitter.finish(), None);
}

#[test]
fn too_large_in_one_chunk_or_many() {
    let exact = b"data: 12\n\n";
    assert!(
        Splitter::new(10)
            .push(Bytes::from_static(exact), &mut Vec::new())
            .is_ok()
    );
    let mut out = Vec::new();
    let mut splitter = Splitter::new(9);
    assert!(
        splitter
            .push(Bytes::from_static(b"data:\n\ndata: 12\n\n"), &mut out)
            .is_err()
    );
    assert_eq!(out.len(), 1);
    assert_eq!(
        splitter.push(Bytes::from_static(b"\n\n"), &mut out),
        Err(EventTooLarge { limit: 9 })
    );
    assert_eq!((out.len(), splitter.pending()), (1, 0));
    let mut splitter = Splitter::new(9);
    let results: Vec<bool> = exact
        .iter()
        .map(|b| {
            splitter
                .push(Bytes::copy_from_slice(&[*b]), &mut out)
                .is_ok()
        })
        .collect();
    assert_eq!(results.iter().filter(|ok| **ok).count(), 9);
}

/// Pieces that meet the hard places far more often than random bytes would.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            &b"\n"[..], b"\r", b"\r\n", b"\n\n", b"event: a\n", b"data: x\n", b"data:", b":c", b"\xef\xbb\xbf", b"\xef", b"id", b" ",
        ]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_events(bytes in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let whole = split(&[&bytes]);
        let mut at: Vec<usize> = cuts.iter().map(|i| i.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let chunks: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        prop_assert_eq!(&split(&chunks), &whole);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&split(&single), &whole);
        let mut joined: Vec<u8> = whole.0.iter().flat_map(|e| e.raw.to_vec()).collect();
        joined.extend_from_slice(&whole.1);
        let bare = bytes.strip_prefix(BOM).unwrap_or(&bytes);
        // A mark cut off by the end of the stream is nobody's.
        prop_assert!(joined == bare || BOM.starts_with(&bytes));
    }

    #[test]
    fn each_event_has_one_blank_line_and_it_is_last(bytes in stream()) {
        for event in split(&[&bytes]).0 {
            let lines: Vec<&[u8]> = Lines { rest: &event.raw }.collect();
            prop_assert_eq!(lines.iter().position(|l| l.is_empty()), Some(lines.len() - 1));
        }
    }
}
