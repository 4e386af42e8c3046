//! The first stack: what is decided on the request head, before a byte of the body is read.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Method};
use tower::{Service, ServiceBuilder};

use super::auth::{Authenticator, Identity};
use super::guard::{Answer, Done, guard};
use super::refusal::Refusal;
use crate::config::Settings;
use crate::usage::Endpoint;
use crate::wire::error::ErrorKind;

/// A request head at the door.
#[derive(Clone, Copy)]
pub struct Arrival<'a> {
    /// The settings that this request keeps to its end.
    pub settings: &'a Settings,
    pub method: &'a Method,
    /// Path alone, no query.
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    /// Bytes of the head as it came.
    pub head_bytes: usize,
    /// The client, behind trusted proxies.
    pub client: IpAddr,
    /// Unix milliseconds.
    pub now: u64,
}

/// A head that has a place in the house.
pub struct Inside<'a> {
    arrival: Arrival<'a>,
    place: Place,
}

/// ... and whose key is known.
pub struct Known<'a> {
    arrival: Arrival<'a>,
    place: Place,
    identity: Identity,
}

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// An LLM route: planned, sent up, counted.
    Llm(Endpoint),
    /// `POST /v1/messages/count_tokens`: answered here, no request in the sense of usage.
    CountTokens,
}

/// A request that may go on to its body.
#[derive(Debug)]
pub struct Admitted {
    pub identity: Identity,
    pub call: Call,
    /// Held to the request's end.
    pub place: Place,
}

/// The stack. Read it downwards: that is the way of a request.
pub fn door(
    auth: Arc<Authenticator>,
    house: Arc<House>,
) -> impl for<'a> Service<Arrival<'a>, Response = Admitted, Error = Refusal, Future = Answer<Admitted>>
+ Clone {
    ServiceBuilder::new()
        // First, because it costs one comparison and guards all that reads headers below.
        .layer(guard(small_head))
        // Before auth: a full house must refuse at the least cost, and its place must cover auth.
        .layer(guard(entering(move |arrival| enter(&house, arrival))))
        // Before the route: without a key nobody learns which paths exist.
        .layer(guard(knowing(move |inside| known(&auth, inside))))
        // The route before the body: a wrong path is a better answer than a wrong body.
        .layer(guard(routed))
        // Last: what the head already says about a body that could not be taken.
        .layer(guard(promised))
        .service(Done)
}

// Closures take their lifetimes from these bounds.
fn entering<F>(f: F) -> F
where
    F: for<'a> Fn(Arrival<'a>) -> Result<Inside<'a>, Refusal>,
{
    f
}

fn knowing<F>(f: F) -> F
where
    F: for<'a> Fn(Inside<'a>) -> Result<Known<'a>, Refusal>,
{
    f
}

/// Requests in flight, against `server.max_in_flight`.
#[derive(Debug, Default)]
pub struct House {
    inside: AtomicUsize,
}

/// A place among the requests in flight; dropping it frees it.
#[derive(Debug)]
pub struct Place(Arc<House>);

impl House {
    /// Requests in flight now.
    pub fn inside(&self) -> usize {
        self.inside.load(Ordering::Acquire)
    }

    fn enter(self: &Arc<Self>, limit: Option<usize>) -> Option<Place> {
        let before = self.inside.fetch_add(1, Ordering::AcqRel);
        let place = Place(Arc::clone(self));
        limit.is_none_or(|limit| before < limit).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::AcqRel);
    }
}

fn small_head(arrival: Arrival<'_>) -> Result<Arrival<'_>, Refusal> {
    let limit = arrival.settings.server.max_header_bytes;
    if arrival.head_bytes <= limit {
        return Ok(arrival);
    }
    let mut refusal = Refusal::new(
        431,
        ErrorKind::InvalidRequest,
        format!(
            "the request header has {} bytes; at most {limit} are taken (server.max_header_bytes)",
            arrival.head_bytes
        ),
    );
    refusal.limit = Some("header_bytes");
    Err(refusal)
}

fn enter<'a>(house: &Arc<House>, arrival: Arrival<'a>) -> Result<Inside<'a>, Refusal> {
    match house.enter(arrival.settings.server.max_in_flight) {
        Some(place) => Ok(Inside { arrival, place }),
        None => Err(Refusal::full_house(
            "in_flight",
            "the gateway is full; try again in a second",
        )),
    }
}

fn known<'a>(auth: &Authenticator, inside: Inside<'a>) -> Result<Known<'a>, Refusal> {
    let Inside { arrival, place } = inside;
    let identity = auth.check(arrival.headers, arrival.client, arrival.now)?;
    Ok(Known {
        arrival,
        place,
        identity,
    })
}

fn routed(known: Known<'_>) -> Result<(Arrival<'_>, Admitted), Refusal> {
    let call = call_of(known.arrival.method, known.arrival.path)?;
    let admitted = Admitted {
        identity: known.identity,
        call,
        place: known.place,
    };
    Ok((known.arrival, admitted))
}

fn promised((arrival, admitted): (Arrival<'_>, Admitted)) -> Result<Admitted, Refusal> {
    if let Some(coding) = arrival.headers.get(CONTENT_ENCODING)
        && !coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"identity")
        && !coding.is_empty()
    {
        return Err(Refusal::new(
            415,
            ErrorKind::InvalidRequest,
            "a request body with a content-encoding is not taken; send plain JSON",
        ));
    }
    let length = arrival
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.trim().parse::<u64>().ok());
    let limit = arrival.settings.server.max_body_bytes;
    if length.is_some_and(|length| usize::try_from(length).is_ok_and(|l| l > limit)) {
        return Err(too_large(limit));
    }
    Ok(admitted)
}

/// 413, with the limit and its setting.
pub fn too_large(limit: usize) -> Refusal {
    let mut refusal = Refusal::new(
        413,
        ErrorKind::TooLarge,
        format!("the request body is over {limit} bytes (server.max_body_bytes)"),
    );
    refusal.limit = Some("body_bytes");
    refusal
}

fn call_of(method: &Method, path: &str) -> Result<Call, Refusal> {
    let call = match path {
        "/v1/messages" | "/messages" => Ok(Call::Llm(Endpoint::Messages)),
        "/v1/chat/completions" | "/chat/completions" => Ok(Call::Llm(Endpoint::ChatCompletions)),
        "/v1/messages/count_tokens" | "/messages/count_tokens" => Ok(Call::CountTokens),
        "/v1/responses" | "/responses" => Err(Refusal::new(
            404,
            ErrorKind::NotFound,
            format!(
                "{path} is not available in this version of the gateway; use POST /v1/chat/completions or /v1/messages"
            ),
        )),
        _ => Err(unknown_path(path)),
    }?;
    if method == Method::POST {
        return Ok(call);
    }
    let mut refusal = Refusal::new(405, ErrorKind::InvalidRequest, format!("{path} takes POST"));
    refusal.allow = Some("POST");
    Err(refusal)
}

/// 404 that helps whoever set a wrong base URL.
fn unknown_path(path: &str) -> Refusal {
    let hint = if path.contains("/v1/v1/") || path.ends_with("/v1/v1") {
        "; the base URL already ends in /v1 and the client adds another: use it without /v1"
    } else if path.len() > 1 && path.ends_with('/') {
        "; drop the slash at the end of the base URL or path"
    } else {
        ""
    };
    let shown: String = path.chars().take(200).collect();
    // A key that got into the path is not repeated.
    let shown = crate::wire::text::clean(&shown);
    Refusal::new(
        404,
        ErrorKind::NotFound,
        format!("{shown} is not a route of this gateway{hint}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_frees_every_place() {
        let house = Arc::new(House::default());
        let first = house.enter(Some(1)).unwrap();
        assert!(house.enter(Some(1)).is_none());
        assert_eq!(house.inside(), 1);
        drop(first);
        assert!(house.enter(Some(1)).is_some());
        assert_eq!(house.inside(), 0);
    }

    #[test]
    fn routes_match_on_the_exact_path() {
        assert_eq!(
            call_of(&Method::POST, "/v1/messages").unwrap(),
            Call::Llm(Endpoint::Messages)
        );
        assert_eq!(
            call_of(&Method::POST, "/messages").unwrap(),
            Call::Llm(Endpoint::Messages)
        );
        let get = call_of(&Method::GET, "/v1/messages").unwrap_err();
        assert_eq!((get.error.status, get.allow), (405, Some("POST")));
        for path in [
            "/V1/messages",
            "//v1/messages",
            "/v1/messages/",
            "/v1/%6dessages",
            "/api/config",
        ] {
            assert_eq!(
                call_of(&Method::POST, path).unwrap_err().error.status,
                404,
                "{path}"
            );
        }
        let doubled = call_of(&Method::POST, "/v1/v1/messages").unwrap_err();
        assert!(doubled.error.message.contains("without /v1"));
    }
}
