//! Message content: a string or an array of parts, as blocks.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::block::{Block, Content};
use super::media::{self, Media};
use super::read::{Place, Reader, cache_control, inner, must_be, object_list, said, short};
use crate::wire::convert::Rejection;
use crate::wire::convert::json::{self, Kind, Object};

/// Longest title of a document, in characters (Anthropic's limit).
const TITLE_MAX: usize = 500;

/// Whose content is read: not everybody may send everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    System,
    User,
    Assistant,
    Tool,
}

impl Speaker {
    const fn may_show(self) -> bool {
        matches!(self, Self::User | Self::Tool)
    }
}

/// The blocks of a message's `content`; blank texts give none.
///
/// # Errors
/// A wrong type, an unknown part, or one that cannot be carried.
pub fn content<'a>(
    raw: Option<&'a RawValue>,
    speaker: Speaker,
    place: Place,
    reader: &mut Reader<'_>,
) -> Result<Vec<Block<'a>>, Rejection> {
    let Some(raw) = raw else {
        return Ok(Vec::new());
    };
    match json::kind(raw) {
        Kind::String => Ok(said(raw)
            .map(|literal| Content::Text(Cow::Borrowed(literal)).into())
            .into_iter()
            .collect()),
        Kind::Array => {
            let parts = object_list(raw, || place.param("content"))?;
            let mut blocks = Vec::with_capacity(parts.len());
            for (index, part) in parts.iter().enumerate() {
                let place = place.part(index);
                if let Some(content) = self::part(part, speaker, place, reader)? {
                    let cache = cache_control(part, || place.param("cache_control"))?;
                    blocks.push(Block { content, cache });
                }
            }
            Ok(blocks)
        }
        _ => Err(place.reject("content", must_be("a string or an array of parts", raw))),
    }
}

fn part<'a>(
    part: &Object<'a>,
    speaker: Speaker,
    place: Place,
    reader: &mut Reader<'_>,
) -> Result<Option<Content<'a>>, Rejection> {
    let kind = part
        .text("type")
        .ok_or_else(|| place.reject("type", "Every part needs a type, such as \"text\"."))?;
    match kind.as_ref() {
        "text" => spoken(part, "text", place),
        "refusal" if speaker == Speaker::Assistant => spoken(part, "refusal", place),
        "image_url" if speaker.may_show() => image(part, place, reader).map(Some),
        "file" if speaker.may_show() => file(part, place, reader),
        "input_audio" => Err(place.reject(
            "type",
            "Audio cannot be sent to this model (part of type input_audio).",
        )),
        "image_url" | "file" => Err(place.reject(
            "type",
            format!("Parts of type {kind} are taken in user and tool messages only."),
        )),
        other => Err(place.reject(
            "type",
            format!("Parts of type \"{}\" are not known here.", short(other)),
        )),
    }
}

/// A text part's text; `None` when it is blank.
fn spoken<'a>(
    part: &Object<'a>,
    name: &'static str,
    place: Place,
) -> Result<Option<Content<'a>>, Rejection> {
    match part.get(name) {
        Some(raw) if json::kind(raw) == Kind::String => {
            Ok(said(raw).map(|literal| Content::Text(Cow::Borrowed(literal))))
        }
        Some(raw) => Err(place.reject(name, must_be("a string", raw))),
        None => Err(place.reject(name, "Must be a string.")),
    }
}

fn image<'a>(
    part: &Object<'a>,
    place: Place,
    reader: &mut Reader<'_>,
) -> Result<Content<'a>, Rejection> {
    const URL: &str = "image_url.url";
    let image = part
        .get("image_url")
        .ok_or_else(|| place.reject("image_url", "Must be an object with a url."))?;
    // Some clients give the URL itself.
    let url = match Object::of(image) {
        Some(image) => {
            if image.text("detail").is_some_and(|detail| detail != "auto") {
                reader.warnings.add("detail", "dropped");
            }
            image.get("url")
        }
        None => Some(image),
    };
    let raw = url.ok_or_else(|| place.reject(URL, "Must be a string."))?;
    let url = json::text(raw).ok_or_else(|| place.reject(URL, must_be("a string", raw)))?;
    if media::has_scheme(&url, "data:") {
        return match media::data_url(url).map_err(|wrong| place.reject(URL, wrong))? {
            Media::Image(kind, data) => Ok(Content::Image(kind, data)),
            Media::Pdf(data) => Ok(Content::Pdf(data, None)),
            Media::Text(_) => Err(place.reject(
                URL,
                "An image must be image/jpeg, image/png, image/gif or image/webp.",
            )),
        };
    }
    if media::has_scheme(&url, "https://") || media::has_scheme(&url, "http://") {
        if !reader.capabilities.url_images {
            reader.warnings.add("image_url", "unsupported");
        }
        return Ok(Content::ImageUrl(raw.get()));
    }
    Err(place.reject(
        URL,
        "An image URL must begin with https://, http:// or data:.",
    ))
}

fn file<'a>(
    part: &Object<'a>,
    place: Place,
    reader: &mut Reader<'_>,
) -> Result<Option<Content<'a>>, Rejection> {
    const DATA: &str = "file.file_data";
    let file = inner(part, "file", || place.param("file"))?;
    if file.get("file_id").is_some() {
        return Err(place.reject(
            "file.file_id",
            "Uploaded files are not known here; send the content as file_data.",
        ));
    }
    let name = match file.get("filename") {
        Some(raw) => Some(
            json::text(raw)
                .ok_or_else(|| place.reject("file.filename", must_be("a string", raw)))?,
        ),
        None => None,
    };
    let data = file
        .text("file_data")
        .ok_or_else(|| place.reject(DATA, "Must be a string: data:TYPE;base64,DATA."))?;
    let media = if media::has_scheme(&data, "data:") {
        media::data_url(data)
    } else if is_pdf_name(name.as_deref()) {
        media::base64(data).map(Media::Pdf)
    } else {
        Err("Must be a data URL: data:TYPE;base64,DATA.")
    };
    let title = name
        .filter(|name| !name.trim().is_empty())
        .map(|name| name.chars().take(TITLE_MAX).collect::<String>());
    match media.map_err(|wrong| place.reject(DATA, wrong))? {
        Media::Image(kind, data) => Ok(Some(Content::Image(kind, data))),
        Media::Pdf(data) => Ok(Some(Content::Pdf(data, title))),
        Media::Text(text) if text.trim().is_empty() && title.is_none() => Ok(None),
        Media::Text(text) if reader.capabilities.text_documents && !text.trim().is_empty() => {
            Ok(Some(Content::TextFile(text, title)))
        }
        Media::Text(text) => {
            let named = title.map(|title| format!("{title}:\n{text}"));
            Ok(Some(Block::told(named.as_deref().unwrap_or(&text)).content))
        }
    }
}

fn is_pdf_name(name: Option<&str>) -> bool {
    name.and_then(|name| name.rsplit_once('.'))
        .is_some_and(|(_, end)| end.eq_ignore_ascii_case("pdf"))
}
