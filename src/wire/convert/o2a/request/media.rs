//! Data URLs: what kind of content they hold, and whether their base64 can be read.
//!
//! Invariant: nothing is ever fetched; what is not base64 or of no known type is refused.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a data URL or a bare file holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Media<'a> {
    /// Base64 of an image of this type.
    Image(&'static str, Cow<'a, str>),
    /// Base64 of a PDF.
    Pdf(Cow<'a, str>),
    /// A text file, decoded.
    Text(String),
}

/// Types beside `text/*` that are text.
const TEXTS: [&str; 4] = [
    "application/json",
    "application/xml",
    "application/yaml",
    "application/x-yaml",
];

/// Whether `url` is of the scheme (with its colon), in any case.
pub fn has_scheme(url: &str, scheme: &str) -> bool {
    url.get(..scheme.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// Reads `data:TYPE;base64,DATA`.
///
/// # Errors
/// What is wrong with it.
pub fn data_url(url: Cow<'_, str>) -> Result<Media<'_>, &'static str> {
    const NOT_BASE64: &str = "The data URL must be of the form data:TYPE;base64,DATA.";
    let comma = url.find(',').ok_or(NOT_BASE64)?;
    let head = url.get("data:".len()..comma).ok_or(NOT_BASE64)?;
    let mut parameters = head.split(';').map(str::trim);
    let kind = parameters.next().unwrap_or_default().to_ascii_lowercase();
    if !parameters
        .next_back()
        .is_some_and(|last| last.eq_ignore_ascii_case("base64"))
    {
        return Err(NOT_BASE64);
    }
    let data = base64(from(url, comma + 1))?;
    match kind.as_str() {
        "image/jpeg" | "image/jpg" => Ok(Media::Image("image/jpeg", data)),
        "image/png" => Ok(Media::Image("image/png", data)),
        "image/gif" => Ok(Media::Image("image/gif", data)),
        "image/webp" => Ok(Media::Image("image/webp", data)),
        "application/pdf" => Ok(Media::Pdf(data)),
        text if text.starts_with("text/") || TEXTS.contains(&text) => STANDARD
            .decode(data.as_bytes())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(Media::Text)
            .ok_or("The text file is not UTF-8."),
        _ => Err(
            "This type of data is not supported; use image/jpeg, image/png, image/gif, image/webp, application/pdf or \
             text/plain.",
        ),
    }
}

/// The data itself when it is base64 in the standard alphabet with its padding; line breaks are taken out.
///
/// # Errors
/// It is not, or there is none.
pub fn base64(data: Cow<'_, str>) -> Result<Cow<'_, str>, &'static str> {
    if is_base64(data.as_bytes()) {
        return Ok(data);
    }
    let joined: String = data.split_ascii_whitespace().collect();
    if joined.len() < data.len() && is_base64(joined.as_bytes()) {
        return Ok(Cow::Owned(joined));
    }
    Err("The data is not valid base64.")
}

fn is_base64(data: &[u8]) -> bool {
    let bare = data.strip_suffix(b"=").unwrap_or(data);
    let bare = bare.strip_suffix(b"=").unwrap_or(bare);
    // Without a branch a byte, so that megabytes of picture cost little.
    let clean = bare.iter().fold(true, |clean, b| {
        clean & (b.is_ascii_alphanumeric() | (*b == b'+') | (*b == b'/'))
    });
    clean && !bare.is_empty() && data.len().is_multiple_of(4)
}

/// What stands from `at` on, borrowed when `text` is.
fn from(text: Cow<'_, str>, at: usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(at..).unwrap_or_default()),
        Cow::Owned(text) => Cow::Owned(text.get(at..).unwrap_or_default().to_owned()),
    }
}
