//! The failures within a stream (Antigravity contract, section 10) and those of our own rules.

use super::*;

#[test]
fn point_1_an_error_as_the_only_event() {
    let (steps, fault, mut watch) = run(&[error()]);
    assert_eq!(
        (steps.as_str(), &fault),
        (
            "F",
            &Some(StreamFault::ErrorEvent(Bytes::from_static(
                ERROR.as_bytes()
            )))
        )
    );
    assert!(!watch.committed());
    assert_eq!(watch.on_end().err(), fault);
}

#[test]
fn error_events_in_every_form() {
    for raw in [
        error(),
        format!("data: {ERROR}\n\n"),
        format!("event: ping\ndata: {ERROR}\n\n"),
        format!("event: content_block_delta\ndata: {ERROR}\n\n"),
        "event: error\ndata: {\"message\":\"x\"}\n\n".to_owned(),
        "event: error\ndata: {\"type\":\"overloaded_error\"}\n\n".to_owned(),
        "data: {\"error\":{\"code\":429}}\n\n".to_owned(),
    ] {
        for events in [
            vec![raw.clone()],
            vec![start(), raw.clone()],
            vec![start(), text("x"), raw.clone()],
        ] {
            let fault = run(&events).1;
            assert!(
                matches!(fault, Some(StreamFault::ErrorEvent(_))),
                "{raw} {fault:?}"
            );
        }
    }
}

#[test]
fn point_2_a_second_start() {
    let second = usual(
        "message_start",
        r#","message":{"model":"n","usage":{"input_tokens":7}}"#,
    );
    let words = block(0, r#"{"type":"text","text":""}"#);
    // Before the commit the second one replaces the first, whatever was held of it.
    let (steps, _, watch) = run(&[
        start(),
        words.clone(),
        text("[No"),
        second.clone(),
        words.clone(),
        text("[No"),
        text("x"),
    ]);
    assert_eq!(steps, "hhhrhhC");
    assert_eq!((watch.model(), counts(&watch)), (Some("n"), [7, 0, 0, 0]));
    // After it the stream has failed, and stays so.
    let (steps, fault, watch) = run(&[start(), words, text("x"), second, text("x")]);
    assert_eq!(
        (steps.as_str(), fault),
        ("hhCFF", Some(StreamFault::SecondStart))
    );
    assert_eq!(watch.model(), Some("m"));
    // Both connections dropped: an error event after content.
    assert!(matches!(
        run(&[start(), text("x"), error()]).1,
        Some(StreamFault::ErrorEvent(_))
    ));
}

#[test]
fn points_3_and_4_the_ends_that_look_complete() {
    let (steps, _, mut watch) = run(&[
        start(),
        text("Once"),
        block_stop(0),
        end("\"end_turn\"", 2),
        stop(),
    ]);
    assert_eq!((steps.as_str(), watch.on_end()), ("hCppp", Ok(())));
    let words = block(0, r#"{"type":"text","text":""}"#);
    let (steps, fault, _) = run(&[
        start(),
        words,
        text(NO_RESPONSE),
        block_stop(0),
        end("\"end_turn\"", 0),
        stop(),
    ]);
    assert_eq!(
        (steps.as_str(), fault),
        ("hhhhFF", Some(StreamFault::Empty))
    );
}

#[test]
fn point_6_the_server_dies() {
    for events in [
        vec![],
        vec![start()],
        vec![start(), text("x")],
        vec![start(), text("x"), end("\"end_turn\"", 1)],
    ] {
        let (_, fault, mut watch) = run(&events);
        assert_eq!(
            (fault, watch.on_end(), watch.on_end()),
            (None, Err(StreamFault::Cut), Err(StreamFault::Cut))
        );
        assert_eq!(watch.committed(), events.len() > 1);
    }
}

#[test]
fn garbage_before_and_after_the_commit() {
    for raw in [
        "data: [DONE]\n\n",
        "data: {\"type\":\"content_block_delta\"\n\n",
        "event: content_block_delta\ndata: <html>\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":5}\n\n",
        "data: [\"ping\"]\n\n",
        "data: {\"type\":5}\n\n",
        "data: {\"type\":\"ping\",\"type\":\"ping\"}\n\n",
        "data: {}\n\n",
        "data: x\n\n",
        "event: error\ndata: x\n\n",
    ] {
        for events in [
            vec![start(), raw.to_owned()],
            vec![start(), text("x"), raw.to_owned()],
        ] {
            let fault = run(&events).1;
            assert!(
                matches!(fault, Some(StreamFault::Garbage(_))),
                "{raw} {fault:?}"
            );
        }
    }
    for raw in [
        delta("5"),
        delta("[]"),
        usual("content_block_delta", ""),
        usual("content_block_start", ",\"content_block\":null"),
        usual("message_start", ""),
    ] {
        assert!(
            matches!(
                run(&[start(), raw.clone()]).1,
                Some(StreamFault::Garbage(_))
            ),
            "{raw}"
        );
    }
    for raw in [text("x"), block_stop(0), end("null", 0), stop()] {
        assert!(
            matches!(
                run(std::slice::from_ref(&raw)).1,
                Some(StreamFault::Garbage(_))
            ),
            "{raw}"
        );
    }
}

#[test]
fn the_type_in_the_data_decides() {
    for line in ["", "event: ping\n", "event: content_block_delta\n"] {
        let form = |raw: String| format!("{line}data:{}", raw.split_once("data:").unwrap().1);
        let events = [start(), text("x"), end("\"end_turn\"", 3), stop(), error()].map(form);
        let (steps, _, watch) = run(&events);
        assert_eq!(steps, "hCppi");
        assert_eq!(counts(&watch)[1], 3);
    }
    // No type in the data: the event line's name counts.
    let named = [
        "event: message_start\ndata: {\"message\":{}}\n\n",
        "event: content_block_delta\ndata: {\"delta\":{\"text\":\"x\"}}\n\n",
        "event: message_stop\ndata: {}\n\n",
    ];
    assert_eq!(steps(&named), "hCp");
}

#[test]
fn events_of_content_are_not_parsed_after_the_commit() {
    for raw in [
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\", never closed\n\n",
        "event: content_block_stop\r\ndata:{ \"type\" : \"content_block_stop\" never closed\r\n\r\n",
        "event: ping\ndata: {\"type\":\"ping\" never closed\n\n",
    ] {
        assert_eq!(steps(&[start(), text("x"), raw.to_owned()]), "hCp", "{raw}");
    }
    for (data, kind, same) in [
        ("{\"type\":\"ping\"}", "ping", true),
        ("{\"type\":\"pings\"}", "ping", false),
        ("{\"type\":\" ping\"}", "ping", false),
        ("{\"index\":0,\"type\":\"ping\"}", "ping", false),
        ("{\"type\":\"ping", "ping", false),
        ("", "ping", false),
    ] {
        assert_eq!(
            begins_with_type(data.as_bytes(), kind.as_bytes()),
            same,
            "{data}"
        );
    }
}

#[test]
fn after_the_stop_all_is_ignored_and_long_names_are_not_kept() {
    let long = "n".repeat(MAX_NAME + 1);
    let first = usual(
        "message_start",
        &format!(",\"message\":{{\"model\":\"{long}\"}}"),
    );
    let (steps, _, mut watch) = run(&[
        first,
        text("x"),
        end(&format!("\"{long}\""), 1),
        stop(),
        error(),
        start(),
        "data: [DONE]\n\n".into(),
    ]);
    assert_eq!(steps, "hCppiii");
    assert_eq!(watch.on_end(), Ok(()));
    assert_eq!((watch.model(), watch.stop_reason()), (None, None));
}

#[test]
fn a_confession_without_its_end() {
    let mut watch = run(&[start(), text(NO_RESPONSE)]).2;
    assert_eq!(watch.on_end(), Err(StreamFault::Empty));
    let mut watch = run(&[start(), text("[No")]).2;
    assert_eq!(watch.on_end(), Err(StreamFault::Cut));
    assert_eq!(
        run(&[start(), text(NO_RESPONSE), stop()]).1,
        Some(StreamFault::Empty)
    );
    assert_eq!(run(&[start(), stop()]).1, Some(StreamFault::Empty));
    assert!(matches!(
        run(&[start(), text("[No"), stop()]).1,
        Some(StreamFault::Garbage(_))
    ));
}
