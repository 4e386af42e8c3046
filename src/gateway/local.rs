//! The routes that Luna answers itself, carried from pingora's session to the axum router and back.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::Method;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tower::ServiceExt;

use super::Gateway;
use super::answer;
use super::context::Ctx;
use crate::admin::{MAX_BODY, Peer};
use crate::admission::Refusal;
use crate::wire::error::ErrorKind;

/// Whether `path` belongs to the local router.
pub(super) fn is_local(path: &str) -> bool {
    matches!(
        path,
        "/health" | "/ready" | "/me" | "/me/usage" | "/dashboard" | "/v1/models" | "/models"
    ) || path.starts_with("/admin/")
        || path.starts_with("/dashboard/")
        || path.starts_with("/v1/models/")
        || path == "/admin"
}

/// Local routes that a browser of another origin may call, if `server.cors_origins` allows it.
pub(super) fn is_client_route(path: &str) -> bool {
    matches!(path, "/v1/models" | "/models") || path.starts_with("/v1/models/")
}

/// The route without what a caller put into it, for the log: a key in a path is a secret.
pub(super) fn template(path: &str) -> &'static str {
    if path.starts_with("/admin/keys/") {
        "/admin/keys/***"
    } else if path.starts_with("/admin") {
        "/admin"
    } else if path.starts_with("/dashboard") {
        "/dashboard"
    } else if path.starts_with("/me") {
        "/me"
    } else if path.ends_with("/ready") {
        "/ready"
    } else if path.contains("/models") || path == "/models" {
        "models"
    } else {
        "/health"
    }
}

/// Serves a local route. True, as request_filter means it: the answer is written.
pub(super) async fn serve(
    gateway: &Gateway,
    session: &mut Session,
    ctx: &mut Ctx,
    method: &Method,
    path: &str,
) -> Result<bool> {
    let socket: &mut ServerSession = &mut session.downstream_session;
    let forwarded = ["x-forwarded-for", "forwarded", "x-real-ip"]
        .iter()
        .any(|name| socket.req_header().headers.contains_key(*name));
    let peer: IpAddr = socket
        .client_addr()
        .and_then(|a| a.as_inet())
        .map_or(ctx.client, |a| a.ip());
    let body = match read_small(socket).await {
        Ok(Some(body)) => body,
        Ok(None) => {
            let refusal = Refusal::new(
                413,
                ErrorKind::TooLarge,
                format!("the request body is over {MAX_BODY} bytes"),
            );
            return gateway.refuse(session, ctx, refusal).await;
        }
        Err(e) => return Err(e.into_down()),
    };
    let head = session.req_header();
    let mut request = http::Request::builder()
        .method(method.clone())
        .uri(head.uri.path_and_query().map_or(path, |p| p.as_str()));
    if let Some(headers) = request.headers_mut() {
        headers.clone_from(&head.headers);
    }
    let mut request = match request.body(Body::from(body)) {
        Ok(request) => request,
        Err(e) => {
            log::debug!(
                "{}: not a request for a local route: {e}",
                ctx.envelope.request_id
            );
            let refusal = Refusal::invalid(None, "the request target cannot be read");
            return gateway.refuse(session, ctx, refusal).await;
        }
    };
    request.extensions_mut().insert(Peer {
        address: ctx.client,
        direct: peer,
        forwarded,
        request_id: ctx.envelope.request_id.clone(),
    });
    let response = match gateway.local.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    write(session, ctx, response).await.map(|()| true)
}

/// At most [`MAX_BODY`] bytes; None when there are more.
async fn read_small(socket: &mut ServerSession) -> Result<Option<Bytes>> {
    let mut body = BytesMut::new();
    while let Some(chunk) = socket.read_request_body().await? {
        if body.len() + chunk.len() > MAX_BODY {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.freeze()))
}

async fn write(session: &mut Session, ctx: &mut Ctx, response: http::Response<Body>) -> Result<()> {
    let (parts, body) = response.into_parts();
    let mut header = ctx.envelope.local(parts.status.as_u16(), &parts.headers)?;
    ctx.status = parts.status.as_u16();
    let socket: &mut ServerSession = &mut session.downstream_session;
    let head_only = socket.req_header().method == Method::HEAD;
    if axum::body::HttpBody::size_hint(&body).exact().is_some() {
        let bytes = match http_body_util::BodyExt::collect(body).await {
            Ok(collected) => collected.to_bytes(),
            // A body of known size is in memory: it cannot fail on the way.
            Err(e) => return Error::e_because(ErrorType::InternalError, "a local answer", e),
        };
        // For HEAD the router has emptied the body and kept the length of what GET would give.
        if !head_only || !header.headers.contains_key(CONTENT_LENGTH) {
            header.insert_header(CONTENT_LENGTH, bytes.len())?;
        }
        return answer::write(socket, header, bytes).await;
    }
    header.remove_header(&CONTENT_LENGTH);
    if socket.req_header().version == http::Version::HTTP_11 {
        header.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    socket.write_response_header(header).await?;
    if head_only {
        return socket.finish_body().await;
    }
    let mut stream = body.into_data_stream();
    while let Some(chunk) = next_chunk(socket, &mut stream).await? {
        socket.write_response_body(chunk, false).await?;
    }
    socket.write_response_body(Bytes::new(), true).await
}

/// The next piece of a local stream; an error as soon as its reader has gone.
async fn next_chunk(
    socket: &mut ServerSession,
    stream: &mut axum::body::BodyDataStream,
) -> Result<Option<Bytes>> {
    loop {
        tokio::select! {
            chunk = stream.next() => {
                return Ok(match chunk {
                    Some(Ok(bytes)) => Some(bytes),
                    Some(Err(e)) => {
                        log::debug!("a local stream ended: {e}");
                        None
                    }
                    None => None,
                });
            }
            idle = socket.read_body_or_idle(true) => {
                idle?;
                // A pipelined request waits its turn.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_path_is_masked_and_near_misses_are_not_local() {
        assert_eq!(
            template("/admin/keys/luna-secret/disable"),
            "/admin/keys/***"
        );
        assert!(is_local("/admin/keys/x"));
        for path in [
            "//admin/keys",
            "/Admin/keys",
            "/healthz",
            "/admin%2fkeys",
            "/v1/admin/keys",
        ] {
            assert!(!is_local(path), "{path}");
        }
    }
}
