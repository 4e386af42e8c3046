//! The admin API as a client: one request, one JSON answer, and words for what goes wrong.

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use reqwest::header::{HeaderValue, InvalidHeaderValue};
use reqwest::{Client, Method, Response, StatusCode, Url, redirect};
use serde_json::Value;

use super::connect::Target;
use super::failure::Failure;
use super::out::printable;
use crate::config::Secret;

/// From the connection to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer, in bytes: many times what a full key table needs.
const MAX_ANSWER: usize = 256 << 20;
/// Longest foreign text that is repeated in a message, in characters.
const MAX_REPEATED: usize = 400;

/// A gateway that is asked with the admin key.
pub(super) struct Api {
    client: Client,
    target: Target,
    key: HeaderValue,
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// As it came.
    pub text: String,
    /// The same, read.
    pub json: Value,
}

impl Answer {
    /// An answer that was made here and not by a gateway.
    pub fn of(json: Value) -> Self {
        Self {
            text: json.to_string(),
            json,
        }
    }

    /// The JSON as it came, as a line.
    pub fn line(&self) -> String {
        format!("{}\n", self.text.trim_end_matches('\n'))
    }
}

/// Runs `work` to its end on this thread.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(format!("the runtime cannot start: {e}")))?
        .block_on(work)
}

impl Api {
    pub fn new(target: Target, key: &Secret) -> Result<Self, Failure> {
        if rustls::crypto::ring::default_provider()
            .install_default()
            .is_err()
        {
            log::debug!("a TLS provider was installed before");
        }
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|e| Failure::new(format!("the HTTP client cannot start: {e}")))?;
        let mut key = HeaderValue::from_str(key.expose()).map_err(|_: InvalidHeaderValue| {
            Failure::new(
                "the admin key has characters that cannot go into a header; is it the right file?",
            )
        })?;
        key.set_sensitive(true);
        Ok(Self {
            client,
            target,
            key,
        })
    }

    /// Where clients of this gateway ask.
    pub fn client_url(&self) -> &str {
        &self.target.client
    }

    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, Failure> {
        self.call(Method::GET, path, query, None).await
    }

    pub async fn post(&self, path: &[&str], body: &Value) -> Result<Answer, Failure> {
        self.call(Method::POST, path, &[], Some(body)).await
    }

    /// One request. `path` are segments, which may hold any text.
    pub async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let mut request = self
            .client
            .request(method, self.url(path, query)?)
            .header("x-api-key", self.key.clone());
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|e| self.unreachable(e))?;
        let status = response.status();
        let text = self.text(response).await?;
        if !status.is_success() {
            return Err(self.refused(status, path, &text));
        }
        match serde_json::from_str(&text) {
            Ok(json) => Ok(Answer { text, json }),
            Err(_) => Err(Failure::new(format!(
                "{} answered, but not with JSON; is it a Luna gateway?",
                self.shown()
            ))),
        }
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url, Failure> {
        // A URL cannot hold these as segments; they would lead to another route.
        if path
            .iter()
            .any(|segment| matches!(*segment, "" | "." | ".."))
        {
            return Err(Failure::usage("an empty text or dots alone are no key"));
        }
        let mut url = self.target.admin.clone();
        url.path_segments_mut()
            .map_err(|()| Failure::usage("--url: not an http URL"))?
            .pop_if_empty()
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// The gateway's URL for messages.
    fn shown(&self) -> &str {
        self.target.admin.as_str().trim_end_matches('/')
    }

    async fn text(&self, mut response: Response) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(e))? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(Failure::new(format!(
                    "{} answers more than {MAX_ANSWER} bytes",
                    self.shown()
                )));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let url = self.shown();
        // The path may hold a key.
        let error = error.without_url();
        if error.is_timeout() {
            return Failure::new(format!(
                "the gateway at {url} did not answer within {} s",
                TIMEOUT.as_secs()
            ));
        }
        let what = innermost(&error);
        Failure::new(if error.is_connect() {
            format!(
                "cannot reach the gateway at {url}: {what}; is it running? start it with: luna serve"
            )
        } else {
            format!("the exchange with {url} failed: {what}; is it a Luna gateway?")
        })
    }

    fn refused(&self, status: StatusCode, path: &[&str], body: &str) -> Failure {
        let said = serde_json::from_str::<Value>(body)
            .ok()
            .and_then(|json| Some(json.get("error")?.get("message")?.as_str()?.to_owned()));
        let said = match said {
            Some(message) => printable(&message.chars().take(MAX_REPEATED).collect::<String>()),
            None => format!("no reason given; is {} a Luna gateway?", self.shown()),
        };
        let hint = match status.as_u16() {
            401 | 403 => {
                " (the admin key comes from --admin-key-file, ADMIN_KEY or the configuration)"
            }
            404 if path.len() == 2 => {
                " (the admin routes may be on admin.listen, or closed to this address by admin.allow_ips)"
            }
            _ => "",
        };
        Failure::refused(
            status.as_u16(),
            format!("the gateway refused ({}): {said}{hint}", status.as_u16()),
        )
    }
}

/// The cause at the bottom, which names what the system said.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    let mut next = error.source();
    while let Some(inner) = next {
        cause = inner;
        next = inner.source();
    }
    printable(&cause.to_string())
}
