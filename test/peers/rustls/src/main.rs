//! An HBONE client and an HBONE server made of h2, rustls and tokio, with the limits that ztunnel gives them
//! (istio/ztunnel:src/proxy/h2/{client,server}.rs, src/config.rs).
//!
//!   hbone-peer client LISTEN TUNNEL AUTHORITY EXPECT   each TCP connection to LISTEN becomes a CONNECT to AUTHORITY
//!   hbone-peer server LISTEN                           each CONNECT becomes a TCP connection to 127.0.0.1 and its port
//!
//! Environment: CERT, KEY, CA (PEM files); MAX_STREAMS (server, default 200); ANSWER_DELAY_MS (server, default 0);
//! MAX_REQUESTS (server, 0: no limit): so many CONNECTs on one connection, then GOAWAY.
//! It prints `listening`, and one line for each event that a test waits for.
mod client;
mod server;
mod tls;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

pub const STREAM_WINDOW: u32 = 4 << 20;
pub const CONNECTION_WINDOW: u32 = 16 << 20;
pub const FRAME_SIZE: u32 = 1 << 20;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

pub fn setting(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Copies both ways until both have ended. An application's FIN becomes END_STREAM and the other way round; an
/// application's error, and the end of `to_peer` without END_STREAM, become RST_STREAM.
pub async fn relay(tcp: TcpStream, mut to_peer: SendStream<Bytes>, mut from_peer: RecvStream) {
    let _ = tcp.set_nodelay(true);
    let (reader, writer) = tcp.into_split();
    let up = send_all(reader, &mut to_peer);
    let down = receive_all(&mut from_peer, writer);
    if let (Err(_), _) | (_, Err(_)) = tokio::join!(up, down) {
        to_peer.send_reset(Reason::CANCEL);
    }
}

async fn send_all(mut from: impl AsyncRead + Unpin, to: &mut SendStream<Bytes>) -> Result<(), Failure> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let length = match from.read(&mut buffer).await {
            Ok(length) => length,
            Err(error) => {
                to.send_reset(Reason::CANCEL);
                return Err(error.into());
            }
        };
        if length == 0 {
            to.send_data(Bytes::new(), true)?;
            return Ok(());
        }
        let mut rest = Bytes::copy_from_slice(&buffer[..length]);
        while !rest.is_empty() {
            to.reserve_capacity(rest.len());
            let room = std::future::poll_fn(|context| to.poll_capacity(context)).await;
            let room = room.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))??;
            to.send_data(rest.split_to(room.min(rest.len())), false)?;
        }
    }
}

async fn receive_all(from: &mut RecvStream, mut to: impl AsyncWrite + Unpin) -> Result<(), Failure> {
    while let Some(data) = from.data().await {
        let data = data?;
        to.write_all(&data).await?;
        from.flow_control().release_capacity(data.len())?;
    }
    to.shutdown().await?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match words[..] {
        ["client", listen, tunnel, authority, expect] => {
            runtime.block_on(client::run(listen, tunnel, authority, expect))
        }
        ["server", listen] => runtime.block_on(server::run(listen)),
        _ => Err("usage: hbone-peer client LISTEN TUNNEL AUTHORITY EXPECT | hbone-peer server LISTEN".into()),
    }
}
