//! Long conversations and the limits of what is read.

use super::validator::check;
use super::{convert, converted, hi};
use crate::wire::convert::Capabilities;
use crate::wire::convert::json::{self, Object};

fn talk(messages: &[String]) -> String {
    format!(r#"{{"model":"m","messages":[{}]}}"#, messages.join(","))
}

#[test]
fn three_hundred_turns_keep_their_order() {
    let messages: Vec<String> = (0..301)
        .map(|turn| {
            let role = if turn % 2 == 0 { "user" } else { "assistant" };
            format!(r#"{{"role":"{role}","content":"turn {turn}"}}"#)
        })
        .collect();
    let full = Capabilities::ANTHROPIC;
    let sent = converted(&talk(&messages), &full).body;
    assert_eq!(check(&sent, &full), Ok(()));
    let request = Object::parse(&sent).unwrap();
    let turns = json::array(request.get("messages").unwrap()).unwrap();
    assert_eq!(turns.len(), 301);
    for (index, turn) in turns.iter().enumerate() {
        assert!(turn.get().contains(&format!("\"turn {index}\"")), "{index}");
    }
}

#[test]
fn ten_thousand_calls_in_one_turn_are_answered_in_reverse() {
    let calls: Vec<String> = (0..10_000)
        .map(|n| format!(r#"{{"id":"c.{n}","function":{{"name":"f.{n}","arguments":""}}}}"#))
        .collect();
    let mut messages = vec![format!(
        r#"{{"role":"assistant","tool_calls":[{}]}}"#,
        calls.join(",")
    )];
    messages.extend(
        (0..10_000)
            .rev()
            .map(|n| format!(r#"{{"role":"tool","tool_call_id":"c.{n}","content":"{n}"}}"#)),
    );
    let full = Capabilities::ANTHROPIC;
    assert_eq!(
        check(&converted(&talk(&messages), &full).body, &full),
        Ok(())
    );
}

#[test]
fn depth_is_no_danger() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    let full = Capabilities::ANTHROPIC;
    let schema = format!(
        r#","tools":[{{"type":"function","function":{{"name":"f","parameters":{{"a":{deep}}}}}}}]"#
    );
    assert!(converted(&hi(&schema), &full).body.len() > deep.len());
    let rejected = convert(&hi(&format!(r#","stop":{deep}"#)), &full);
    assert_eq!(rejected.unwrap_err().param.unwrap(), "stop[0]");
}

#[test]
fn there_are_limits() {
    let full = Capabilities::ANTHROPIC;
    let param = |body: &str| convert(body, &full).unwrap_err().param;
    let stops = |count: usize| format!(r#","stop":["x"{}]"#, r#","x""#.repeat(count - 1));
    assert!(convert(&hi(&stops(32)), &full).is_ok());
    assert_eq!(param(&hi(&stops(33))).unwrap(), "stop");
    let long = |length| format!(r#","stop":"{}""#, "x".repeat(length));
    assert!(convert(&hi(&long(4096)), &full).is_ok());
    assert_eq!(param(&hi(&long(4097))).unwrap(), "stop");
    let fields: String = (0..1000).map(|n| format!(",\"f{n}\":0")).collect();
    assert_eq!(param(&hi(&fields)), None);
    let users = vec![r#"{"role":"user","content":"x"}"#.to_owned(); 100_001];
    assert_eq!(param(&talk(&users)).unwrap(), "messages");
}

#[test]
fn the_clients_word_in_an_error_is_short() {
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"{}\n","content":"x"}}]}}"#,
        "r".repeat(10_000)
    );
    let rejected = convert(&body, &Capabilities::ANTHROPIC).unwrap_err();
    assert!(rejected.message.len() < 200, "{}", rejected.message);
}

#[test]
fn tiny_members_without_end_are_refused_and_not_kept() {
    let full = Capabilities::ANTHROPIC;
    let members = |many: usize| -> String { (0..many).map(|k| format!(",\"k{k}\":0")).collect() };
    let user = |extra: &str| format!(r#"{{"role":"user","content":"hi"{extra}}}"#);
    assert!(convert(&talk(&[user(&members(4000))]), &full).is_ok());
    let one = convert(&talk(&[user(&members(5000))]), &full).unwrap_err();
    assert!(one.message.contains("a message may have 4096"), "{one:?}");
    let many = vec![user(&members(4000)); 300];
    let all = convert(&talk(&many), &full).unwrap_err();
    assert!(all.message.contains("together 1000000"), "{all:?}");

    let part = format!(r#"{{"type":"text","text":"hi"{}}}"#, members(5000));
    let message = format!(r#"{{"role":"user","content":[{part}]}}"#);
    let part = convert(&talk(&[message]), &full).unwrap_err();
    assert_eq!(part.param.as_deref(), Some("messages[0].content[0]"));
    assert!(part.message.contains("more than 4096 members"), "{part:?}");

    // A schema is carried, not read: it may have any number of them.
    let properties = members(5000).split_off(1);
    let tool = |schema: &str| {
        let function = format!(r#"{{"name":"f","parameters":{schema}}}"#);
        format!(r#","tools":[{{"type":"function","function":{function}}}]"#)
    };
    for (schema, added) in [
        (format!(r#"{{{properties}}}"#), r#"{"type":"object","k0":0"#),
        (
            format!(r#"{{"type":null,{properties}}}"#),
            r#"0,"type":"object"}"#,
        ),
        (
            format!(r#"{{{properties},"type":"object"}}"#),
            r#":{"k0":0"#,
        ),
    ] {
        let sent = converted(&hi(&tool(&schema)), &full).body;
        assert!(serde_json::from_slice::<serde_json::Value>(&sent).is_ok());
        let sent = String::from_utf8(sent).unwrap();
        assert!(sent.contains(added) && sent.contains(&properties));
    }
}
