//! One layer of an admission stack: a plain function that lets a request pass, changed, or refuses it.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use tower::Service;
use tower::layer::{LayerFn, layer_fn};

use super::refusal::Refusal;

/// What every layer answers, at once: no stack here waits for anything.
pub type Answer<T> = Ready<Result<T, Refusal>>;

/// A service that asks `check` and hands what it returns to the next one.
#[derive(Clone)]
pub struct Guard<F, S> {
    check: F,
    inner: S,
}

/// The layer of a [`Guard`].
pub fn guard<F: Clone, S>(check: F) -> LayerFn<impl Fn(S) -> Guard<F, S> + Clone> {
    layer_fn(move |inner| Guard {
        check: check.clone(),
        inner,
    })
}

impl<R, N, T, F, S> Service<R> for Guard<F, S>
where
    F: Fn(R) -> Result<N, Refusal>,
    S: Service<N, Response = T, Error = Refusal, Future = Answer<T>>,
{
    type Response = T;
    type Error = Refusal;
    type Future = Answer<T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Answer<T> {
        match (self.check)(request) {
            Ok(next) => self.inner.call(next),
            Err(refusal) => ready(Err(refusal)),
        }
    }
}

/// The end of a stack: hands over what the layers have made.
#[derive(Clone)]
pub struct Done;

impl<T> Service<T> for Done {
    type Response = T;
    type Error = Refusal;
    type Future = Answer<T>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, made: T) -> Answer<T> {
        ready(Ok(made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::error::ErrorKind;
    use tower::{ServiceBuilder, ServiceExt};

    fn half(n: u32) -> Result<u64, Refusal> {
        if n.is_multiple_of(2) {
            Ok(u64::from(n / 2))
        } else {
            Err(Refusal::new(400, ErrorKind::InvalidRequest, "odd"))
        }
    }

    #[tokio::test]
    async fn a_layer_changes_the_request_or_ends_it() {
        let stack = ServiceBuilder::new().layer(guard(half)).service(Done);
        assert_eq!(stack.clone().oneshot(8).await.unwrap(), 4);
        assert_eq!(stack.oneshot(7).await.unwrap_err().error.message, "odd");
    }
}
