use proptest::prelude::*;

use super::*;

fn shown(pieces: &[&str]) -> String {
    let mut fence = Fence::new();
    let mut out = String::new();
    for piece in pieces {
        fence.push(piece, &mut out);
    }
    out.push_str(&fence.finish());
    out
}

const WHITE: [char; 4] = [' ', '\t', '\n', '\r'];

/// What the rule says of a text without much white space, without any cleverness.
fn by_the_book(text: &str) -> &str {
    let opened = text
        .trim_start_matches(WHITE)
        .strip_prefix("```")
        .and_then(|text| text.split_once('\n'));
    let Some((line, inside)) = opened else {
        return text;
    };
    let language = line
        .strip_suffix('\r')
        .unwrap_or(line)
        .trim_matches([' ', '\t']);
    let in_words = |c: char| c.is_ascii_alphanumeric() || "+-._#".contains(c);
    if !language.chars().all(in_words) {
        return text;
    }
    let closed = inside.trim_end_matches(WHITE).strip_suffix("```");
    match closed {
        Some("") => "",
        Some(answer) => match answer.strip_suffix('\n') {
            Some(answer) => answer.strip_suffix('\r').unwrap_or(answer),
            None => inside,
        },
        None => inside,
    }
}

#[test]
fn a_fence_around_the_whole_text_is_taken_off() {
    for (text, left) in [
        ("```json\n{}\n```", "{}"),
        ("\n```JSON \r\n[1,\n2]\r\n``` \n ", "[1,\n2]"),
        ("```\n\"a\"\n```", "\"a\""),
        ("``` json\n{}\n```", "{}"),
        ("```c++\nx\n```", "x"),
        ("```json\n {\n}\n\n```", " {\n}\n"),
        ("```json\n```", ""),
        ("```json\n\n```", ""),
        ("```\na\n```\n```\nb\n```", "a\n```\n```\nb"),
        ("```\na\n```\r\n```\n```", "a\n```\r\n```"),
        ("```\n日本\n```", "日本"),
    ] {
        assert_eq!(shown(&[text]), left, "{text:?}");
        assert_eq!(by_the_book(text), left, "{text:?}");
    }
}

#[test]
fn what_is_no_such_fence_stays() {
    for text in [
        "",
        " \n",
        "{}",
        "\n{\"a\": \"```\"}\n",
        "Here:\n```json\n{}\n```",
        "```json {}```",
        "```json {}\n```",
        "````\n{}\n````",
        "``\n{}\n``",
        "``````",
        "```",
        "```json",
        "```json \r",
        "```json\r{}\n```",
        "```js on\n{}\n```",
        "```\u{e9}\n{}\n```",
        "\u{a0}```\n{}\n```",
    ] {
        assert_eq!(shown(&[text]), text, "{text:?}");
        assert_eq!(by_the_book(text), text, "{text:?}");
    }
}

#[test]
fn without_a_closing_at_the_end_only_the_opening_is_gone() {
    for (text, left) in [
        ("```json\n{\"a\":", "{\"a\":"),
        ("```json\n{}```", "{}```"),
        ("```json\n{}\n``", "{}\n``"),
        ("```json\n{}\n````", "{}\n````"),
        ("```json\n{}\n ```", "{}\n ```"),
        ("```json\n{}\r```", "{}\r```"),
        ("```json\n{}\n``` and more", "{}\n``` and more"),
        ("```json\n{}\n```\n\nMore.\n", "{}\n```\n\nMore.\n"),
        ("```json\n{}\n```json\n", "{}\n```json\n"),
    ] {
        assert_eq!(shown(&[text]), left, "{text:?}");
        assert_eq!(by_the_book(text), left, "{text:?}");
    }
}

#[test]
fn only_what_may_be_the_fence_is_held() {
    let mut fence = Fence::new();
    let mut say = |piece: &str| {
        let mut out = String::new();
        fence.push(piece, &mut out);
        (out, fence.is_off())
    };
    let open = |out: &str| (out.to_owned(), false);
    assert_eq!(say(" ``"), open(""));
    assert_eq!(say("`js"), open(""));
    assert_eq!(say("on\n"), open(""));
    assert_eq!(say("{\"a\""), open("{\"a\""));
    assert_eq!(say(":1\n"), open(":1"));
    assert_eq!(say("}"), open("\n}"));
    assert_eq!(say("\r\n``"), open(""));
    assert_eq!(say("x"), open("\r\n``x"));
    assert_eq!(say("\n```\n\n"), open(""));
    assert_eq!(say("``"), open("\n```\n"));
    assert_eq!(say("y\n"), open("\n``y"));
    assert_eq!(fence.finish(), "\n");
    let mut fence = Fence::new();
    let mut out = String::new();
    fence.push("\n``", &mut out);
    assert_eq!(out, "");
    fence.push("j", &mut out);
    assert_eq!((out.as_str(), fence.is_off()), ("\n``j", true));
    fence.push("\n```", &mut out);
    assert_eq!(out, "\n``j\n```");
}

#[test]
fn what_is_held_is_bounded() {
    for blank in [" ", "\n"] {
        let before = format!("{}```\n{{}}\n```", blank.repeat(2 * MAX_HELD));
        assert_eq!(shown(&[&before]), before);
        let after = format!("{{}}\n```{}", blank.repeat(2 * MAX_HELD));
        assert_eq!(shown(&["```\n", &after]), after);
    }
    let word = format!("```{}\n{{}}\n```", "a".repeat(2 * MAX_HELD));
    let mut fence = Fence::new();
    let mut out = String::new();
    for byte in word.bytes() {
        fence.push(char::from(byte).encode_utf8(&mut [0; 4]), &mut out);
        assert!(fence.held.len() <= MAX_HELD);
    }
    assert_eq!(out, word);
}

proptest! {
    #[test]
    fn any_cut_gives_what_the_rule_says(
        opening in "([ \n]{0,2}```(json|c)?[ \t]?\r?\n)?",
        pieces in prop::collection::vec("[`\n\r a\u{e9}]{0,5}|```|\n```|\n", 0..8),
        closing in "(\r?\n```[ \n]{0,2})?",
    ) {
        let mut pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        pieces.insert(0, &opening);
        pieces.push(&closing);
        let text = pieces.concat();
        let expected = by_the_book(&text);
        prop_assert_eq!(&shown(&pieces), expected);
        prop_assert_eq!(&shown(&[&text]), expected);
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        let bytes: Vec<&str> = bytes.iter().map(String::as_str).collect();
        prop_assert_eq!(&shown(&bytes), expected);
    }
}
