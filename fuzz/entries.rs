//! What each fuzz target checks. The same functions replay the corpora in `make test`.

use bytes::Bytes;
use luna::routing::{classify, classify_error_event, parse_health};
use luna::wire::answer::check_message;
use luna::wire::anthropic::{Step, StreamWatch};
use luna::wire::scan::Scanner;
use luna::wire::sse::Splitter;
use luna::wire::text::clean;

/// Where the second byte cuts the input, so that the fuzzer chooses the chunks.
fn halves(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.first().map_or(0, |b| usize::from(*b)).min(data.len());
    data.split_at(at)
}

/// The body scanner agrees with serde_json wherever both accept, and cuts change nothing.
pub fn scan(data: &[u8]) {
    let whole = {
        let mut scanner = Scanner::new();
        scanner.feed(data).and_then(|()| scanner.finish())
    };
    let cut = {
        let (a, b) = halves(data);
        let mut scanner = Scanner::new();
        scanner
            .feed(a)
            .and_then(|()| scanner.feed(b))
            .and_then(|()| scanner.finish())
    };
    assert_eq!(whole.is_ok(), cut.is_ok(), "a cut changed the verdict");
    let Ok(head) = whole else { return };
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) else {
        return;
    };
    let theirs = value.get("model").and_then(|m| m.as_str());
    assert_eq!(head.model.as_ref().map(|m| m.name.as_str()), theirs);
    let stream = value.get("stream").and_then(serde_json::Value::as_bool);
    assert_eq!(head.stream, stream.unwrap_or(false));
    if let Some(field) = head.model {
        let literal = data
            .get(field.start..field.end)
            .expect("the range lies in the body");
        let read: String = serde_json::from_slice(literal).expect("the range is a JSON string");
        assert_eq!(read, field.name);
    }
}

/// The splitter loses and invents no byte, and the watch never panics.
pub fn sse(data: &[u8]) {
    let (a, b) = halves(data);
    let mut splitter = Splitter::new(1 << 20);
    let mut events = Vec::new();
    if splitter
        .push(Bytes::copy_from_slice(a), &mut events)
        .is_err()
        || splitter
            .push(Bytes::copy_from_slice(b), &mut events)
            .is_err()
    {
        return;
    }
    let mut watch = StreamWatch::new();
    let mut failed = false;
    for event in &events {
        failed |= matches!(watch.on_event(event), Step::Fail(_));
    }
    let end = watch.on_end();
    assert!(!failed || end.is_err(), "a failed stream must not end well");
}

/// No error text, however made, panics the classifier or marks for more than eight days.
pub fn classifier(data: &[u8]) {
    const NOW: u64 = 1_795_000_000_000;
    const EIGHT_DAYS: u64 = 8 * 24 * 3600 * 1000;
    for status in [400, 403, 404, 429, 500, 503, 529] {
        let failure = classify(status, Some("application/json"), data, None, NOW);
        assert!(failure.reset.is_none_or(|at| at <= NOW + EIGHT_DAYS));
    }
    let failure = classify_error_event(data, NOW);
    assert!(failure.reset.is_none_or(|at| at <= NOW + EIGHT_DAYS));
}

/// /health may say anything.
pub fn health(data: &[u8]) {
    // Both outcomes are fine; a panic is not.
    let _ = parse_health(data, 1_795_000_000_000);
}

/// An answer may be anything, and no text leaves with a control character.
pub fn answer(data: &[u8]) {
    let _ = check_message(data);
    let text = clean(&String::from_utf8_lossy(data));
    assert!(!text.contains(char::is_control));
    assert!(text.len() <= luna::wire::text::CLEAN_MAX);
}
