//! The one function through which upstream text leaves Luna, to clients, events and logs.
//!
//! Invariants of [`clean`]: linear time, at most [`CLEAN_MAX`] bytes, no control characters, cleaning
//! twice changes nothing. It errs on the side of hiding. Neighbours: everything that shows a text which
//! Luna did not write.

/// The longest cleaned text, in bytes.
pub const CLEAN_MAX: usize = 1024;

const MASK: &str = "***";
/// How keys begin: Luna's, OpenAI's and Anthropic's, Google's, Google access tokens.
const KEY_PREFIXES: [&str; 4] = ["luna-", "sk-", "AIza", "ya29"];
/// A run of token characters of this length that mixes letters and digits is taken for a key.
const TOKEN_MIN: usize = 32;
/// The longest part of a path or model name that is taken for a word.
const WORD_MAX: usize = 20;

/// Makes a text safe to show: e-mail addresses become `a***@x.com`, URLs lose query, fragment and
/// userinfo, what looks like a key becomes `***`, control characters become spaces, and what is left is
/// cut at 1 KB.
#[must_use]
pub fn clean(s: &str) -> String {
    let plain: String = s
        .chars()
        .map(|c| if is_break(c) { ' ' } else { c })
        .collect();
    // Keys before addresses: a masked key can become the name of an address, never the reverse.
    let mut out = mask_emails(&mask_keys(&strip_urls(&plain)));
    let mut end = out.len().min(CLEAN_MAX);
    while !out.is_char_boundary(end) {
        end -= 1;
    }
    out.truncate(end);
    out
}

/// Whether a body is a web page rather than an answer of an API.
#[must_use]
pub fn looks_like_html(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let body = body.trim_ascii_start();
    match body.first() {
        Some(b'<') => true,
        // A page quoted in a JSON string is the business of whoever reads that string.
        Some(b'{') | None => false,
        Some(_) => {
            let head = body.get(..CLEAN_MAX).unwrap_or(body);
            [&b"<html"[..], b"<!doctype"].iter().any(|tag| {
                head.windows(tag.len())
                    .any(|window| window.eq_ignore_ascii_case(tag))
            })
        }
    }
}

/// Control characters and the separators that some viewers take for line breaks.
fn is_break(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn ends_url(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '<' | '>' | '`')
}

/// Splits before the first character that `stops`.
fn split_before(text: &str, stops: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stops).unwrap_or(text.len()))
}

fn strip_urls(text: &str) -> String {
    const SCHEME_END: &str = "://";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(SCHEME_END) {
        let (before, after) = rest.split_at(at + SCHEME_END.len());
        out.push_str(before);
        let (authority, tail) =
            split_before(after, |c| ends_url(c) || matches!(c, '/' | '?' | '#'));
        out.push_str(authority.rsplit('@').next().unwrap_or_default());
        // Another URL in the path ends this one; only its scheme is copied here.
        let path_end = tail
            .char_indices()
            .find(|(at, c)| {
                ends_url(*c)
                    || matches!(c, '?' | '#')
                    || *c == ':' && tail.get(*at..).is_some_and(|t| t.starts_with(SCHEME_END))
            })
            .map_or(tail.len(), |(at, _)| at);
        let (path, tail) = tail.split_at(path_end);
        out.push_str(path);
        rest = if tail.starts_with(['?', '#']) {
            split_before(tail, ends_url).1
        } else {
            tail
        };
    }
    out.push_str(rest);
    out
}

fn is_local(c: char) -> bool {
    c.is_alphanumeric()
        || matches!(
            c,
            '.' | '_' | '%' | '+' | '-' | '*' | '\'' | '&' | '~' | '!'
        )
}

fn mask_emails(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, _) in text.match_indices('@') {
        let before = text.get(copied..at).unwrap_or_default();
        let after = text.get(at + 1..).unwrap_or_default();
        let (domain, _) = split_before(after, |c| !(c.is_alphanumeric() || matches!(c, '.' | '-')));
        // `model@20250514` is a version.
        let is_domain = domain.starts_with(char::is_alphanumeric)
            && domain.contains(|c: char| c == '.' || c.is_alphabetic());
        let head = before.trim_end_matches(is_local);
        let local = before.get(head.len()..).unwrap_or_default();
        let name = local.trim_start_matches('\'');
        if is_domain && !name.is_empty() {
            out.push_str(head);
            out.push_str(local.get(..local.len() - name.len()).unwrap_or_default());
            out.extend(name.chars().next().filter(|first| *first != '*'));
            out.push_str(MASK);
        } else {
            out.push_str(before);
        }
        out.push('@');
        copied = at + 1;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/')
}

fn mask_keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut previous = ' ';
    while let Some(c) = rest.chars().next() {
        let at_word = !previous.is_ascii_alphanumeric();
        let at_token = !u8::try_from(previous).is_ok_and(is_token);
        if at_word && let Some((kept, tail)) = bearer(rest) {
            out.push_str(kept);
            out.push_str(MASK);
            (rest, previous) = (tail, '*');
        } else if let Some(tail) = at_word.then(|| prefixed(rest)).flatten() {
            out.push_str(MASK);
            (rest, previous) = (tail, '*');
        } else if let Some((secret, tail)) = at_token.then(|| token(rest)).flatten() {
            mask_between_slashes(secret, &mut out);
            (rest, previous) = (tail, '*');
        } else {
            out.push(c);
            previous = c;
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

/// `rest` without `prefix`, in any case.
fn without_prefix<'a>(rest: &'a str, prefix: &str) -> Option<&'a str> {
    let head = rest.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix)
        .then(|| rest.get(prefix.len()..))
        .flatten()
}

/// `Bearer xxx`: what is kept, and what follows the credential.
fn bearer(rest: &str) -> Option<(&str, &str)> {
    let after = without_prefix(rest, "bearer")?;
    let credential =
        after.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ':' | '='));
    let (secret, tail) = split_before(credential, ends_url);
    let kept = rest.get(..rest.len() - credential.len())?;
    (credential.len() < after.len() && !secret.is_empty()).then_some((kept, tail))
}

/// A key with a known beginning: what follows it.
fn prefixed(rest: &str) -> Option<&str> {
    KEY_PREFIXES.iter().find_map(|prefix| {
        let after = without_prefix(rest, prefix)?;
        let is_key =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '.' | '=' | '~');
        let (secret, _) = split_before(after, |c| !is_key(c));
        // The full stop of the sentence is not part of it.
        let secret = secret.trim_end_matches('.');
        (!secret.is_empty())
            .then(|| after.get(secret.len()..))
            .flatten()
    })
}

/// A long run of base64 or hex, and what follows it.
fn token(rest: &str) -> Option<(&str, &str)> {
    let bytes = rest.as_bytes();
    let length = bytes.iter().take_while(|byte| is_token(**byte)).count();
    let run = bytes.get(..length)?;
    let secret = length >= TOKEN_MIN
        && run.iter().any(u8::is_ascii_digit)
        && run.iter().any(u8::is_ascii_alphabetic)
        && !run.split(|byte| !byte.is_ascii_alphanumeric()).all(is_word);
    secret.then(|| rest.split_at_checked(length)).flatten()
}

/// The slashes stay, because without them what follows could become the userinfo of a URL.
fn mask_between_slashes(secret: &str, out: &mut String) {
    for (index, part) in secret.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        if !part.is_empty() {
            out.push_str(MASK);
        }
    }
}

/// Part of a path or of a model name: short, and changes between lower case, upper case and digits at
/// most twice (`v1internal`, `generateContent`), which random text does not.
fn is_word(part: &[u8]) -> bool {
    let class = |byte: &u8| (byte.is_ascii_digit(), byte.is_ascii_uppercase());
    let changes = part
        .iter()
        .zip(part.iter().skip(1))
        .filter(|(a, b)| class(a) != class(b));
    part.len() <= WORD_MAX && changes.count() <= 2
}

#[cfg(test)]
mod tests;
