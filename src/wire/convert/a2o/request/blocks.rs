//! Content blocks, as the parts of a chat message.
//!
//! Invariant: what a part holds is the client's own literal, but for names of media types.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::path::Path;
use super::{brief, object, optional, required, wrong};
use crate::wire::convert::json::{Kind, Object, array, is_blank_literal, kind, literal};
use crate::wire::convert::{Capabilities, Rejection, Warnings};

/// A part of a user message. All `&str` are string literals with their quotes, if not said otherwise.
#[derive(Debug)]
pub enum Part<'a> {
    Text(&'a str),
    /// Texts that belong together, one below the other.
    Lines(Vec<&'a str>),
    Image {
        media: &'static str,
        /// Base64 without quotes.
        data: Cow<'a, str>,
    },
    ImageUrl(&'a str),
    Pdf {
        title: Option<&'a str>,
        /// Base64 without quotes.
        data: Cow<'a, str>,
    },
}

impl Part<'_> {
    /// What stands for it where only text can: `None` for text.
    pub const fn placeholder(&self) -> Option<&'static str> {
        match self {
            Self::Text(_) | Self::Lines(_) => None,
            Self::Image { .. } | Self::ImageUrl(_) => Some("\"[image]\""),
            Self::Pdf { .. } => Some("\"[document]\""),
        }
    }
}

/// What reading blocks needs and tells.
pub struct Reader<'c> {
    pub capabilities: &'c Capabilities,
    pub warnings: &'c mut Warnings,
}

/// A block and what it says it is.
pub fn block<'a>(
    raw: &'a RawValue,
    path: &Path<'_>,
) -> Result<(Object<'a>, Cow<'a, str>), Rejection> {
    let block = object(raw, path)?;
    let kind_of = required(&block, "type", path)?;
    Ok((block, kind_of))
}

/// A block of this type cannot be here.
pub fn misplaced(kind_of: &str, wanted: &str, path: &Path<'_>) -> Rejection {
    path.field("type")
        .reject(format!("{} cannot be used here: {wanted}", brief(kind_of)))
}

/// The literal of a text block, even of a blank one.
pub fn text_literal<'a>(block: &Object<'a>, path: &Path<'_>) -> Result<&'a str, Rejection> {
    optional(block, "text", path)?.ok_or_else(|| path.field("text").reject("is required"))
}

/// Text that is a string or an array of text blocks; blank ones are left out.
pub fn texts<'a>(raw: &'a RawValue, path: &Path<'_>) -> Result<Vec<&'a str>, Rejection> {
    let mut all = Vec::new();
    match contents(raw, path)? {
        Contents::Text(text) => all.push(text),
        Contents::Blocks(blocks) => {
            for (index, raw) in blocks.into_iter().enumerate() {
                let path = path.at(index);
                let (block, kind_of) = block(raw, &path)?;
                if kind_of != "text" {
                    return Err(misplaced(&kind_of, "text blocks only", &path));
                }
                all.push(text_literal(&block, &path)?);
            }
        }
    }
    all.retain(|text| !is_blank_literal(text));
    Ok(all)
}

/// What `content` can be.
pub enum Contents<'a> {
    /// A string's literal.
    Text(&'a str),
    Blocks(Vec<&'a RawValue>),
}

pub fn contents<'a>(raw: &'a RawValue, path: &Path<'_>) -> Result<Contents<'a>, Rejection> {
    match kind(raw) {
        Kind::String => literal(raw)
            .map(Contents::Text)
            .ok_or_else(|| path.reject("cannot be read")),
        Kind::Array => array(raw)
            .map(Contents::Blocks)
            .ok_or_else(|| wrong(path, "an array", raw)),
        _ => Err(wrong(path, "a string or an array", raw)),
    }
}

impl Reader<'_> {
    /// Appends the parts of a block that a user turn and a tool result can hold both. Blank text gives none.
    pub fn part<'a>(
        &mut self,
        block: &Object<'a>,
        kind_of: &str,
        path: &Path<'_>,
        out: &mut Vec<Part<'a>>,
    ) -> Result<(), Rejection> {
        match kind_of {
            "text" => push_text(text_literal(block, path)?, out),
            "image" => out.push(self.image(block, path)?),
            "document" => self.document(block, path, out)?,
            "search_result" => {
                let lines = search_result(block, path)?;
                if !lines.is_empty() {
                    out.push(Part::Lines(lines));
                }
            }
            other => {
                return Err(misplaced(
                    other,
                    "text, image, document, search_result or tool_result",
                    path,
                ));
            }
        }
        Ok(())
    }

    fn image<'a>(&mut self, block: &Object<'a>, path: &Path<'_>) -> Result<Part<'a>, Rejection> {
        let path = path.field("source");
        let source = source(block, &path)?;
        match required(&source, "type", &path)?.as_ref() {
            "base64" => {
                let media = required(&source, "media_type", &path)?;
                let media = image_type(&media).ok_or_else(|| {
                    path.field("media_type").reject(format!(
                        "{} cannot be shown to the model: image/jpeg, image/png, image/gif or image/webp",
                        brief(&media)
                    ))
                })?;
                Ok(Part::Image {
                    media,
                    data: base64(&source, &path)?,
                })
            }
            "url" => {
                let url = required(&source, "url", &path)?;
                let path = path.field("url");
                if !is_web_url(&url) {
                    return Err(path.reject("must begin with http:// or https://"));
                }
                if !self.capabilities.url_images {
                    self.warnings.add("image_url", "unsupported");
                }
                source
                    .get("url")
                    .and_then(literal)
                    .map(Part::ImageUrl)
                    .ok_or_else(|| path.reject("must be a string"))
            }
            other => Err(unreachable_source(other, "base64 or url", &path)),
        }
    }

    fn document<'a>(
        &mut self,
        block: &Object<'a>,
        path: &Path<'_>,
        out: &mut Vec<Part<'a>>,
    ) -> Result<(), Rejection> {
        let title = optional(block, "title", path)?.filter(|title| !is_blank_literal(title));
        let context = optional(block, "context", path)?;
        let path = path.field("source");
        let source = source(block, &path)?;
        let kind_of = required(&source, "type", &path)?;
        // A file carries its title as its name.
        if let Some(title) = title.filter(|_| kind_of != "base64") {
            push_text(title, out);
        }
        if let Some(context) = context {
            push_text(context, out);
        }
        match kind_of.as_ref() {
            "base64" => {
                let media = required(&source, "media_type", &path)?;
                if !media.eq_ignore_ascii_case("application/pdf") {
                    return Err(path.field("media_type").reject(format!(
                        "{} cannot be read by the model: application/pdf",
                        brief(&media)
                    )));
                }
                out.push(Part::Pdf {
                    title,
                    data: base64(&source, &path)?,
                });
            }
            "text" => {
                let data = optional(&source, "data", &path)?
                    .ok_or_else(|| path.field("data").reject("is required"))?;
                push_text(data, out);
            }
            "content" => {
                let path = path.field("content");
                let raw = source
                    .get("content")
                    .ok_or_else(|| path.reject("is required"))?;
                match contents(raw, &path)? {
                    Contents::Text(text) => push_text(text, out),
                    Contents::Blocks(blocks) => {
                        for (index, raw) in blocks.into_iter().enumerate() {
                            let path = path.at(index);
                            let (inner, kind_of) = self::block(raw, &path)?;
                            match kind_of.as_ref() {
                                "text" => push_text(text_literal(&inner, &path)?, out),
                                "image" => out.push(self.image(&inner, &path)?),
                                other => return Err(misplaced(other, "text or image", &path)),
                            }
                        }
                    }
                }
            }
            other => return Err(unreachable_source(other, "base64 or text", &path)),
        }
        Ok(())
    }
}

fn push_text<'a>(text: &'a str, out: &mut Vec<Part<'a>>) {
    if !is_blank_literal(text) {
        out.push(Part::Text(text));
    }
}

/// Title, source and texts of a search result.
fn search_result<'a>(block: &Object<'a>, path: &Path<'_>) -> Result<Vec<&'a str>, Rejection> {
    let mut lines = Vec::new();
    for name in ["title", "source"] {
        lines.extend(optional(block, name, path)?.filter(|line| !is_blank_literal(line)));
    }
    let path = path.field("content");
    if let Some(content) = block.get("content") {
        lines.extend(texts(content, &path)?);
    }
    Ok(lines)
}

fn source<'a>(block: &Object<'a>, path: &Path<'_>) -> Result<Object<'a>, Rejection> {
    let raw = block
        .get("source")
        .ok_or_else(|| path.reject("is required"))?;
    object(raw, path)
}

fn unreachable_source(kind_of: &str, instead: &str, path: &Path<'_>) -> Rejection {
    let what = match kind_of {
        "file" => "an uploaded file cannot be reached from here".to_owned(),
        "url" => "a document by URL cannot be fetched from here".to_owned(),
        other => format!("{} is unknown", brief(other)),
    };
    path.field("type")
        .reject(format!("{what}: send it as {instead}"))
}

/// The media type as OpenAI writes it.
fn image_type(media: &str) -> Option<&'static str> {
    let bare = media.split(';').next().unwrap_or_default().trim();
    [
        ("image/jpeg", "image/jpeg"),
        ("image/jpg", "image/jpeg"),
        ("image/png", "image/png"),
        ("image/gif", "image/gif"),
        ("image/webp", "image/webp"),
    ]
    .into_iter()
    .find(|(name, _)| bare.eq_ignore_ascii_case(name))
    .map(|(_, sent)| sent)
}

fn is_web_url(url: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| {
        url.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

/// The data of a source, without its quotes; line breaks, which some encoders put in, are taken out.
fn base64<'a>(source: &Object<'a>, path: &Path<'_>) -> Result<Cow<'a, str>, Rejection> {
    let path = path.field("data");
    let raw = source
        .get("data")
        .ok_or_else(|| path.reject("is required"))?;
    let data = literal(raw).ok_or_else(|| wrong(&path, "a string", raw))?;
    let data = data
        .strip_prefix('"')
        .and_then(|data| data.strip_suffix('"'))
        .unwrap_or_default();
    let data = if data.bytes().all(is_base64) {
        Cow::Borrowed(data)
    } else {
        // Escapes: a slash of a careful encoder, a line break of an old one.
        let text = crate::wire::convert::json::text(raw).unwrap_or_default();
        Cow::Owned(text.split_ascii_whitespace().collect())
    };
    let bare = data.trim_end_matches('=');
    if bare.is_empty()
        || data.len() - bare.len() > 2
        || bare.contains('=')
        || !data.bytes().all(is_base64)
    {
        return Err(path.reject("is not base64"));
    }
    Ok(data)
}

const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}
