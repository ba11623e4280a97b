//! Applications' connections → CONNECT streams over a pool of tunnels, 100 streams each.
use crate::{CONNECTION_WINDOW, FRAME_SIZE, Failure, STREAM_WINDOW, relay, tls};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request, StatusCode, Uri};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

/// What ztunnel allows itself per tunnel: POOL_MAX_STREAMS_PER_CONNECTION.
const MAX_STREAMS: usize = 100;

struct Tunnel {
    requests: SendRequest<Bytes>,
    /// One more reference for each stream that uses it.
    users: Rc<()>,
}

struct Pool {
    address: String,
    connector: TlsConnector,
    tunnels: Mutex<Vec<Tunnel>>,
}

impl Pool {
    /// A tunnel with room for a stream; only one is dialled at a time, as in ztunnel.
    async fn tunnel(&self) -> Result<(SendRequest<Bytes>, Rc<()>), Failure> {
        let mut tunnels = self.tunnels.lock().await;
        for tunnel in tunnels.iter() {
            if Rc::strong_count(&tunnel.users) <= MAX_STREAMS.min(tunnel.requests.current_max_send_streams()) {
                return Ok((tunnel.requests.clone(), tunnel.users.clone()));
            }
        }
        let tcp = TcpStream::connect(&self.address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("unused.invalid")?;
        let stream = self.connector.connect(name, tcp).await?;
        let (_, session) = stream.get_ref();
        let group = session.negotiated_key_exchange_group().map(|group| group.name());
        let suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
        let (requests, mut connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_SIZE)
            .max_header_list_size(16 << 10)
            .max_send_buffer_size(STREAM_WINDOW as usize)
            .enable_push(false)
            .handshake(stream)
            .await?;
        let mut pings = connection.ping_pong().ok_or("no pings")?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                println!("tunnel ended: {error}");
            }
        });
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(10)).await;
                let pong = tokio::time::timeout(Duration::from_secs(20), pings.ping(h2::Ping::opaque())).await;
                if !matches!(pong, Ok(Ok(_))) {
                    return;
                }
            }
        });
        let users = Rc::new(());
        tunnels.push(Tunnel {
            requests: requests.clone(),
            users: users.clone(),
        });
        println!("tunnel opened by {group:?} with {suite:?}");
        Ok((requests, users))
    }

    /// Forgets tunnels that ended or that a GOAWAY closed for new streams.
    async fn forget(&self, gone: &Rc<()>) {
        self.tunnels
            .lock()
            .await
            .retain(|tunnel| !Rc::ptr_eq(&tunnel.users, gone));
    }
}

pub async fn run(listen: &str, tunnel: &str, authority: &str, expect: &str) -> Result<(), Failure> {
    let connector = TlsConnector::from(Arc::new(tls::client(expect)?));
    let pool = Rc::new(Pool {
        address: tunnel.to_string(),
        connector,
        tunnels: Mutex::new(Vec::new()),
    });
    let authority: Uri = authority.parse()?;
    let listener = TcpListener::bind(listen).await?;
    println!("listening");
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            loop {
                let (tcp, _) = listener.accept().await?;
                let (pool, authority) = (pool.clone(), authority.clone());
                tokio::task::spawn_local(async move {
                    if let Err(error) = connect(tcp, &pool, authority).await {
                        println!("failed: {error}");
                    }
                });
            }
        })
        .await
}

async fn connect(tcp: TcpStream, pool: &Pool, authority: Uri) -> Result<(), Failure> {
    let (requests, users) = pool.tunnel().await?;
    let request = Request::builder().method(Method::CONNECT).uri(authority).body(())?;
    let answered = async {
        let (response, to_peer) = requests.ready().await?.send_request(request, false)?;
        Ok::<_, h2::Error>((response.await?, to_peer))
    };
    let (response, to_peer) = match answered.await {
        Ok(answer) => answer,
        Err(error) => {
            if error.is_go_away() || error.is_io() {
                pool.forget(&users).await;
            }
            return Err(error.into());
        }
    };
    if response.status() != StatusCode::OK {
        return Err(format!("status {}", response.status()).into());
    }
    relay(tcp, to_peer, response.into_body()).await;
    drop(users);
    Ok(())
}
