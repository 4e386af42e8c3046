//! `/metrics`, for Prometheus.

use std::sync::PoisonError;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;

use super::fault::{Answer, Fault};
use super::{AdminState, now};
use crate::quota::update_gauges;
use crate::wire::error::ErrorKind;

/// The text exposition format, version 0.0.4.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn scrape(State(state): State<AdminState>) -> Answer {
    let rendered = {
        let _one = state.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        update_gauges(
            &state.metrics,
            &state.book.snapshot(),
            &state.settings.load(),
            now(),
        );
        let unwritten = i64::try_from(state.usage.unwritten()).unwrap_or(i64::MAX);
        state.metrics.usage_unwritten.set(unwritten);
        let lost = &state.metrics.usage_lost;
        lost.inc_by(state.usage.lost().saturating_sub(lost.get()));
        state.metrics.render()
    };
    match rendered {
        Ok(text) => Ok(([(CONTENT_TYPE, EXPOSITION)], text).into_response()),
        Err(error) => {
            log::error!("the metrics cannot be rendered: {error}");
            Err(Fault::new(
                500,
                ErrorKind::Api,
                "the metrics cannot be rendered; the gateway's log says why",
            ))
        }
    }
}

/// For whoever opens the address in a browser.
pub(super) async fn root() -> &'static str {
    "Luna metrics for Prometheus are at /metrics\n"
}
