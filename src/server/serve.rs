//! Connections: accepted, limited, served, and ended in order.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::connection::{About, Noticed, Timed};
use super::streams::{Answer, Streams};
use super::tls::{ClientCertificate, Secured, Tls};
use super::{Gateway, OverTls};
use crate::limits::{Clients, Connected, Limit};

/// How long to wait before the next try when the system has no descriptor left for a connection.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Connections that are told at the same time that there is no place for them. Further ones wait in the system's queue, for less than
/// [`TELLING`] each.
const TURNED_AWAY: usize = 1024;

/// How long it may take to tell a client so, from its handshake on.
const TELLING: Duration = Duration::from_secs(5);

/// What connections may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time; who comes then is answered that there are too many.
    pub connections: usize,
    /// Those of one address (of IPv6, of its /64); 0: as many as there may be.
    pub connections_per_client: usize,
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
            connections_per_client: 0,
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
    let mut http = auto::Builder::new(Streams(limits.silence));
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
    let seats = Seats {
        places: Arc::new(Semaphore::new(limits.connections)),
        turned_away: Arc::new(Semaphore::new(TURNED_AWAY)),
        clients: Clients::new(limits.connections_per_client),
    };
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    // Ends with this function.
    let mut following = JoinSet::new();
    if let Some(tls) = tls.clone() {
        following.spawn(tls.follow());
    }
    let mut shutdown = pin!(shutdown);
    'serving: loop {
        let mut accepting = pin!(accept(&tcp, &seats));
        let (seat, stream, peer) = loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break 'serving,
                // Ended connections are taken off the set as they end, not at the end of all.
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                accepted = &mut accepting => break accepted,
            }
        };
        // Small answers must not wait for the acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was refused");
        }
        let (server, stopping, tls) = (Arc::clone(&server), stopping.clone(), tls.clone());
        connections.spawn(async move {
            let over = seat.over();
            let serving = async {
                match tls {
                    None => server.serve(stream, peer, stopping, (None, None), over).await,
                    Some(tls) => {
                        // A handshake takes a client's time: it is this task's, never that of the one who accepts.
                        if let Some(secured) = server.handshake(&tls, stream, peer, stopping.clone()).await {
                            let of_client = (Some(secured.over), secured.client);
                            server.serve(secured.stream, peer, stopping, of_client, over).await;
                        }
                    }
                }
            };
            if over.is_none() {
                serving.await;
            } else if tokio::time::timeout(TELLING, serving).await.is_err() {
                tracing::debug!(%peer, "a client did not wait to be told that there are too many");
            }
            drop(seat);
        });
    }
    drop(tcp);
    stop.send_replace(true);
    drain(connections, limits.drain).await
}

/// How many connections there may be.
struct Seats {
    places: Arc<Semaphore>,
    turned_away: Arc<Semaphore>,
    clients: Clients,
}

/// What a connection has as long as it lasts.
enum Seat {
    Served { _place: OwnedSemaphorePermit, _connected: Connected },
    TurnedAway { _place: OwnedSemaphorePermit, over: Limit },
}

impl Seat {
    /// What there is too much of.
    fn over(&self) -> Option<Limit> {
        match self {
            Self::Served { .. } => None,
            Self::TurnedAway { over, .. } => Some(*over),
        }
    }
}

impl Seats {
    /// The seat of a connection that is there. Waits only if very many are being turned away already.
    async fn of(&self, address: IpAddr) -> Seat {
        let turned_away = async |over| match Arc::clone(&self.turned_away).acquire_owned().await {
            Ok(place) => Seat::TurnedAway { _place: place, over },
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return turned_away(Limit::Connections).await;
        };
        match self.clients.enter(address) {
            Some(connected) => Seat::Served { _place: place, _connected: connected },
            None => {
                drop(place);
                turned_away(Limit::ClientConnections).await
            }
        }
    }
}

/// What all connections share.
struct Server {
    http: auto::Builder<Streams>,
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

    /// Serves a connection; one that is `over` a limit is answered that, once.
    async fn serve<S>(
        &self,
        stream: S,
        peer: SocketAddr,
        mut stopping: watch::Receiver<bool>,
        (tls, client): (Option<OverTls>, Option<ClientCertificate>),
        over: Option<Limit>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (gateway, about, told) = (self.gateway.clone(), About::default(), Arc::new(Notify::new()));
        let (noticed, telling) = (about.clone(), Arc::clone(&told));
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let gateway = gateway.clone();
            let running = noticed.begin();
            let mut request = request.map(|body| Noticed::new(body, noticed.clone()));
            if let Some(tls) = tls.clone() {
                request.extensions_mut().insert(tls);
            }
            if let Some(client) = client.clone() {
                request.extensions_mut().insert(client);
            }
            if over.is_some() {
                telling.notify_one();
            }
            async move {
                let answer = match over {
                    None => gateway.call(request, peer).await,
                    Some(limit) => gateway.turn_away(limit, request, peer).await,
                };
                Ok::<_, Infallible>(answer.map(|body| Answer::new(body, running)))
            }
        });
        let stream = TokioIo::new(Timed::new(stream, self.limits.head, self.limits.silence, about.clone()));
        let mut connection = pin!(self.http.serve_connection(stream, service).into_owned());
        let mut looks = interval_at(Instant::now() + self.limits.head, self.limits.head);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut ending, mut idle) = (false, false);
        let ended = loop {
            let stop = async { drop(stopping.wait_for(|stop| *stop).await) };
            tokio::select! {
                biased;
                ended = connection.as_mut() => break ended,
                () = stop, if !ending => {}
                () = told.notified(), if !ending => {}
                _ = looks.tick() => match (about.was_idle(), idle) {
                    (false, _) => {
                        idle = false;
                        continue;
                    }
                    (true, false) => idle = true,
                    // It was told to go, and is still there.
                    (true, true) => break Ok(()),
                },
            }
            ending = true;
            connection.as_mut().graceful_shutdown();
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error = %error, "a connection ended with an error");
        }
    }
}

/// Waits for a connection.
async fn accept(listener: &TcpListener, seats: &Seats) -> (Seat, TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (seats.of(peer.ip()).await, stream, peer),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

async fn drain(mut connections: JoinSet<()>, patience: Duration) -> usize {
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(patience, finished).await.is_ok() {
        return 0;
    }
    let cut = connections.len();
    tracing::warn!(connections = cut, "requests still ran when time was up; their connections are cut");
    connections.shutdown().await;
    cut
}
