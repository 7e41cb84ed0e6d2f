//! Connections: accepted, limited, served, and ended in order.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::connection::{Abandoned, Noticed, Timed};
use super::tls::{ClientCertificate, Secured, Tls};
use super::{Gateway, OverTls};

/// How long to wait before the next try when the system has no descriptor left for a connection.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// What connections may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time; further ones wait.
    pub connections: usize,
    /// How long a TLS handshake and a request's head may take, each, and how long a connection may be without a request.
    pub head: Duration,
    /// How long a client may send nothing of a body, or take nothing of an answer.
    pub silence: Duration,
    /// How long requests may go on after the order to stop.
    pub drain: Duration,
    /// Requests at the same time on one HTTP/2 connection.
    pub streams: u32,
    /// Bytes of a body that one HTTP/2 stream may send ahead.
    pub stream_window: u32,
    /// Bytes of bodies that one HTTP/2 connection may send ahead.
    pub connection_window: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            head: Duration::from_secs(30),
            silence: Duration::from_secs(60),
            drain: Duration::from_secs(30),
            streams: 128,
            stream_window: 1 << 20,
            connection_window: 8 << 20,
        }
    }
}

/// Where connections come from, and whether they are encrypted.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Arc<Tls>>,
}

impl Listener {
    /// Serves HTTPS, with the certificates that the files hold at each time.
    pub fn encrypted(tcp: TcpListener, tls: Arc<Tls>) -> Self {
        Self { tcp, tls: Some(tls) }
    }
}

impl From<TcpListener> for Listener {
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tls: None }
    }
}

/// Serves until `shutdown` completes: then nothing more is accepted, running requests are finished for at most
/// [`Limits::drain`], and what still runs then is cut. Answers how many connections were cut. A connection that fails, or
/// that cannot be accepted, is logged and ends nothing else.
pub async fn run(
    listener: impl Into<Listener>,
    gateway: Gateway,
    shutdown: impl Future<Output = ()>,
    limits: Limits,
) -> usize {
    let Listener { tcp, tls } = listener.into();
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(128 << 10).max_headers(256);
    http.http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(64 << 10)
        // Who opens streams only to reset them (CVE-2023-44487), or to have them reset (CVE-2025-8671), has no connection any more. h2 itself
        // ends what never comes to the end of its headers (CONTINUATION without end) or sends nothing in many frames.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(256)
        .keep_alive_interval(limits.silence)
        .keep_alive_timeout(limits.head);
    let server = Arc::new(Server { http, gateway, limits: limits.clone() });
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    // Ends with this function.
    let mut following = JoinSet::new();
    if let Some(tls) = tls.clone() {
        following.spawn(tls.follow());
    }
    let mut shutdown = pin!(shutdown);
    loop {
        let (place, stream, peer) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            // Ended connections are taken off the set as they end, not at the end of all.
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&tcp, &places) => accepted,
        };
        // Small answers must not wait for the acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was refused");
        }
        let (server, watcher) = (Arc::clone(&server), graceful.watcher());
        let secured = tls.as_ref().map(|tls| (Arc::clone(tls), stopping.clone()));
        connections.spawn(async move {
            match secured {
                None => server.serve(stream, peer, watcher, None, None).await,
                Some((tls, stopping)) => {
                    // A handshake takes a client's time: it is this task's, never that of the one who accepts.
                    if let Some(secured) = server.handshake(&tls, stream, peer, stopping).await {
                        server.serve(secured.stream, peer, watcher, Some(secured.over), secured.client).await;
                    }
                }
            }
            drop(place);
        });
    }
    drop(tcp);
    stop.send_replace(true);
    drain(graceful, connections, limits.drain).await
}

/// What all connections share.
struct Server {
    http: auto::Builder<TokioExecutor>,
    gateway: Gateway,
    limits: Limits,
}

impl Server {
    /// An encrypted connection; `None` if the client does not come to one in time, or the server stops before.
    async fn handshake(
        &self,
        tls: &Tls,
        stream: TcpStream,
        peer: SocketAddr,
        mut stopping: watch::Receiver<bool>,
    ) -> Option<Secured> {
        let accepted = tokio::select! {
            // No request has begun: there is nothing to finish.
            _ = stopping.wait_for(|stop| *stop) => return None,
            accepted = tokio::time::timeout(self.limits.head, tls.accept(stream)) => accepted,
        };
        match accepted {
            Ok(Ok(secured)) => secured,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a TLS handshake failed");
                None
            }
            Err(_) => {
                tracing::debug!(%peer, "a TLS handshake took too long");
                None
            }
        }
    }

    async fn serve<S>(
        &self,
        stream: S,
        peer: SocketAddr,
        watcher: Watcher,
        tls: Option<OverTls>,
        client: Option<ClientCertificate>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (gateway, abandoned) = (self.gateway.clone(), Abandoned::default());
        let noticed = abandoned.clone();
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let gateway = gateway.clone();
            let mut request = request.map(|body| Noticed::new(body, noticed.clone()));
            if let Some(tls) = tls.clone() {
                request.extensions_mut().insert(tls);
            }
            if let Some(client) = client.clone() {
                request.extensions_mut().insert(client);
            }
            async move { Ok::<_, Infallible>(gateway.call(request, peer).await) }
        });
        let stream = TokioIo::new(Timed::new(stream, self.limits.head, self.limits.silence, abandoned));
        let connection = watcher.watch(self.http.serve_connection(stream, service).into_owned());
        if let Err(error) = connection.await {
            tracing::debug!(%peer, error = %error, "a connection ended with an error");
        }
    }
}

/// Waits for a place, then for a connection: clients beyond the limit wait in the system's queue.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (OwnedSemaphorePermit, TcpStream, SocketAddr) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else {
            // The semaphore is never closed.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, peer)) => return (place, stream, peer),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

async fn drain(graceful: GracefulShutdown, mut connections: JoinSet<()>, patience: Duration) -> usize {
    let finished = async {
        graceful.shutdown().await;
        while connections.join_next().await.is_some() {}
    };
    if tokio::time::timeout(patience, finished).await.is_ok() {
        return 0;
    }
    let cut = connections.len();
    tracing::warn!(connections = cut, "requests still ran when time was up; their connections are cut");
    connections.shutdown().await;
    cut
}
