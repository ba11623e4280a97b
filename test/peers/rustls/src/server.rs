//! CONNECT streams → TCP connections to 127.0.0.1.
use crate::{CONNECTION_WINDOW, FRAME_SIZE, Failure, STREAM_WINDOW, relay, setting, tls};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Method, Request, Response, StatusCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub async fn run(listen: &str) -> Result<(), Failure> {
    let acceptor = TlsAcceptor::from(Arc::new(tls::server()?));
    let listener = TcpListener::bind(listen).await?;
    println!("listening");
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            loop {
                let (tcp, _) = listener.accept().await?;
                let acceptor = acceptor.clone();
                tokio::task::spawn_local(async move {
                    match serve(tcp, acceptor).await {
                        Ok(()) => println!("tunnel ended"),
                        Err(error) => println!("tunnel failed: {error}"),
                    }
                });
            }
        })
        .await
}

async fn serve(tcp: TcpStream, acceptor: TlsAcceptor) -> Result<(), Failure> {
    tcp.set_nodelay(true)?;
    let stream = acceptor.accept(tcp).await?;
    let (_, session) = stream.get_ref();
    let peer = session
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(tls::uris)
        .unwrap_or_default();
    let group = session.negotiated_key_exchange_group().map(|group| group.name());
    let suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
    println!("tunnel from {peer} by {group:?} with {suite:?}");
    let mut connection = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE)
        .max_header_list_size(64 << 10)
        .max_send_buffer_size(400 << 10)
        .max_concurrent_streams(setting("MAX_STREAMS", 200) as u32)
        .handshake::<_, Bytes>(stream)
        .await?;
    let limit = setting("MAX_REQUESTS", 0);
    let mut taken = 0;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request?;
        taken += 1;
        if taken == limit {
            connection.graceful_shutdown();
        }
        tokio::task::spawn_local(async move {
            if let Err(error) = answer(request, respond).await {
                println!("stream failed: {error}");
            }
        });
    }
    Ok(())
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result<(), Failure> {
    let delay = setting("ANSWER_DELAY_MS", 0) as u64;
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let mut refuse = |status: StatusCode| {
        let response = Response::builder()
            .status(status)
            .body(())
            .expect("a status is a response");
        respond.send_response(response, true)
    };
    let port = request.uri().port_u16();
    let (Method::CONNECT, Some(port)) = (request.method().clone(), port) else {
        refuse(StatusCode::BAD_REQUEST)?;
        return Ok(());
    };
    let Ok(tcp) = TcpStream::connect(("127.0.0.1", port)).await else {
        refuse(StatusCode::SERVICE_UNAVAILABLE)?;
        return Ok(());
    };
    let to_peer = respond.send_response(Response::new(()), false)?;
    relay(tcp, to_peer, request.into_body()).await;
    Ok(())
}
