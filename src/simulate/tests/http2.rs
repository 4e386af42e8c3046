//! HTTP/2 by prior knowledge.

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;

use super::super::{Fault, FaultKind, Generation, predict, spawn};
use super::{PLAIN, Running, body, config};

async fn start() -> Running {
    let mut config = config(Generation::V2_7);
    config.http2 = true;
    spawn(config).await.unwrap()
}

async fn connect(sim: &Running) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(sim.address()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    client
}

async fn post(
    client: &SendRequest<Bytes>,
    body: &str,
) -> Result<(http::StatusCode, h2::RecvStream), h2::Error> {
    let request = http::Request::post("http://sim/v1/messages")
        .header("content-type", "application/json")
        .body(())
        .unwrap();
    let mut client = client.clone().ready().await?;
    let (response, mut stream) = client.send_request(request, false)?;
    stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true)?;
    let response = response.await?;
    Ok((response.status(), response.into_body()))
}

async fn read(mut stream: h2::RecvStream) -> (String, Result<(), h2::Error>) {
    let mut all = Vec::new();
    while let Some(data) = stream.data().await {
        match data {
            Ok(data) => {
                stream.flow_control().release_capacity(data.len()).unwrap();
                all.extend_from_slice(&data);
            }
            Err(error) => return (String::from_utf8(all).unwrap(), Err(error)),
        }
    }
    (String::from_utf8(all).unwrap(), Ok(()))
}

#[tokio::test]
async fn answers_in_both_forms() {
    let sim = start().await;
    let client = connect(&sim).await;
    for stream in [false, true] {
        let sent = body(PLAIN, stream);
        let (status, answer) = post(&client, &sent).await.unwrap();
        let (text, end) = read(answer).await;
        assert_eq!((status.as_u16(), end.is_ok()), (200, true));
        let predicted = predict(&config(Generation::V2_7), sent.as_bytes()).unwrap();
        if stream {
            assert_eq!(text.matches("event: ").count() as u64, predicted.events);
            assert!(text.ends_with("{\"type\":\"message_stop\"}\n\n"));
        } else {
            assert!(text.contains(&predicted.text));
        }
    }
    let entries = sim.handle().messages();
    assert!(
        entries
            .iter()
            .all(|entry| entry.http == "2" && entry.progress.finished)
    );
}

#[tokio::test]
async fn a_long_stream_obeys_flow_control() {
    let sim = start().await;
    let client = connect(&sim).await;
    let sent = body(PLAIN, true).replace(
        "\"stream\"",
        "\"metadata\":{\"sim\":{\"answer_bytes\":2000000,\"event_bytes\":100000}},\"stream\"",
    );
    let (_, answer) = post(&client, &sent).await.unwrap();
    let (text, end) = read(answer).await;
    assert!(end.is_ok() && text.len() > 2_000_000);
}

#[tokio::test]
async fn cut_resets_the_stream_and_reset_the_connection() {
    let sim = start().await;
    let cut = Fault::new(PLAIN, FaultKind::Cut).at_event(2).times(1);
    let reset = Fault::new(PLAIN, FaultKind::Reset).times(1);
    sim.handle().set_faults(vec![cut, reset]).unwrap();
    let client = connect(&sim).await;
    let (_, answer) = post(&client, &body(PLAIN, true)).await.unwrap();
    assert!(read(answer).await.1.is_err());
    assert!(post(&client, &body(PLAIN, true)).await.is_err());
    assert!(
        post(&client, &body(PLAIN, true)).await.is_err(),
        "the connection is dead"
    );
    let client = connect(&sim).await;
    assert_eq!(
        post(&client, &body(PLAIN, false)).await.unwrap().0.as_u16(),
        200
    );
}

#[tokio::test]
async fn a_stream_that_the_client_resets_is_noticed() {
    let sim = start().await;
    sim.handle()
        .set_faults(vec![Fault::new(PLAIN, FaultKind::Stall)])
        .unwrap();
    let client = connect(&sim).await;
    let (_, mut answer) = post(&client, &body(PLAIN, true)).await.unwrap();
    assert!(answer.data().await.unwrap().is_ok());
    drop(answer);
    assert!(
        sim.handle()
            .wait(super::GUARD, |totals| totals.client_gone == 1)
            .await
    );
}

#[tokio::test]
async fn a_connection_that_ends_under_a_hanging_request_is_noticed() {
    let sim = start().await;
    let hang = Fault::new(PLAIN, FaultKind::Hang);
    sim.handle().set_faults(vec![hang]).unwrap();
    let stream = TcpStream::connect(sim.address()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    let sent = body(PLAIN, true);
    let ask = tokio::spawn(async move { post(&client, &sent).await.is_err() });
    assert!(
        sim.handle()
            .wait(super::GUARD, |totals| totals.requests == 1)
            .await
    );
    driver.abort();
    assert!(
        sim.handle()
            .wait(super::GUARD, |totals| totals.client_gone == 1)
            .await
    );
    assert!(ask.await.unwrap());
}
