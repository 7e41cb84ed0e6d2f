//! COMMITs that nobody answers (rule 5), through a proxy that cuts the wire where it hurts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ninefold::metadata::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::fixture::*;
use crate::locks::waiting;

/// What the proxy does to the next COMMIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Cuts the wire before the server has the COMMIT.
    Before,
    /// Cuts it once the server has answered, and keeps the answer.
    After,
    /// Cuts the client's wire, and delivers the COMMIT when it is told to: until then the transaction runs on.
    Late,
    /// Like `After`, and `Away` from then on.
    AfterAndAway,
    /// Lets nobody in.
    Away,
    /// Lets nothing through any more, in either direction, and says so to nobody.
    Silence,
}

struct Proxy {
    port: u16,
    fault: Arc<Mutex<Fault>>,
    deliver: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    async fn new(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fault = Arc::new(Mutex::new(Fault::None));
        let deliver = Arc::new(Notify::new());
        let (shared, notify) = (fault.clone(), deliver.clone());
        let task = tokio::spawn(async move {
            let mut wires = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if *shared.lock().unwrap() == Fault::Away {
                    continue;
                }
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                wires.spawn(wire(client, server, shared.clone(), notify.clone()));
            }
        });
        Self { port, fault, deliver, task }
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

/// Carries both ways until one side ends, or until a COMMIT meets its fault.
async fn wire(mut client: TcpStream, mut server: TcpStream, fault: Arc<Mutex<Fault>>, deliver: Arc<Notify>) {
    let mut from_client = vec![0; 64 << 10];
    let mut from_server = vec![0; 64 << 10];
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(len @ 1..) = read else { return };
                let bytes = &from_client[..len];
                let now = *fault.lock().unwrap();
                if now == Fault::Silence {
                    continue;
                }
                if !matches!(now, Fault::None | Fault::Away) && bytes.windows(7).any(|window| window == b"COMMIT\0") {
                    *fault.lock().unwrap() = if now == Fault::AfterAndAway { Fault::Away } else { Fault::None };
                    match now {
                        Fault::After | Fault::AfterAndAway => {
                            server.write_all(bytes).await.unwrap();
                            let answer = server.read(&mut from_server).await.unwrap();
                            assert!(from_server[..answer].windows(7).any(|window| window == b"COMMIT\0"));
                        }
                        Fault::Late => {
                            drop(client);
                            deliver.notified().await;
                            server.write_all(bytes).await.unwrap();
                            let answer = server.read(&mut from_server).await.unwrap();
                            assert!(from_server[..answer].windows(7).any(|window| window == b"COMMIT\0"));
                        }
                        _ => {}
                    }
                    return;
                }
                if server.write_all(bytes).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(len @ 1..) = read else { return };
                if *fault.lock().unwrap() == Fault::Silence {
                    continue;
                }
                if client.write_all(&from_server[..len]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// A fixture, and the same database through a proxy.
async fn through_proxy(statement: Duration) -> (Fixture, Proxy, Metadata) {
    let f = Fixture::postgres().await;
    let (scheme, rest) = f.config.url.split_once("://").unwrap();
    let (authority, database) = rest.split_once('/').unwrap();
    let (user, address) = authority.rsplit_once('@').map_or(("", authority), |(user, address)| (user, address));
    let (host, server) = address.rsplit_once(':').map_or((address, "5432"), |(host, port)| (host, port));
    assert!(matches!(host, "127.0.0.1" | "localhost"), "the proxy reaches only a PostgreSQL on this machine");
    let proxy = Proxy::new(server.parse().unwrap()).await;
    let url = format!("{scheme}://{user}@127.0.0.1:{}/{database}", proxy.port);
    let connect_timeout = Duration::from_secs(2);
    let config = DatabaseConfig { url, statement_timeout: statement, connect_timeout, ..f.config.clone() };
    let meta = Metadata::connect(&config).await.unwrap();
    (f, proxy, meta)
}

const PATIENT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_never_arrived_is_an_error_and_can_never_take_effect() {
    let (f, proxy, meta) = through_proxy(PATIENT).await;
    let commit = f.put("key", &[10]);
    proxy.set(Fault::Before);
    let result = meta.commit_put(&commit).await;
    assert!(matches!(result, Err(Error::Unavailable(_))), "{result:?}");
    assert!(matches!(f.resolve("key").await, Err(Error::NoSuchKey { .. })));
    assert_eq!(f.raw.ints("SELECT kept FROM commits WHERE kept = 0").await.len(), 1);
    // Its id is used up: were the same commit to come again from somewhere, it would be refused.
    assert!(meta.commit_put(&commit).await.is_err());
    assert!(matches!(f.resolve("key").await, Err(Error::NoSuchKey { .. })));
    meta.commit_put(&PutCommit { batch: batch(), ..commit }).await.unwrap();
    f.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_succeeds() {
    let (f, proxy, meta) = through_proxy(PATIENT).await;
    let commit = f.put("key", &[10]);
    proxy.set(Fault::After);
    meta.commit_put(&commit).await.unwrap();
    assert_eq!(f.resolve("key").await.unwrap().object.etag, commit.object.etag);
    // The same for those who bring no id of their own.
    proxy.set(Fault::After);
    let keys = [DeleteKey { key: "key".into(), ..DeleteKey::default() }];
    meta.delete(BUCKET, &keys, "owner", NOW).await.unwrap().pop().unwrap().unwrap();
    proxy.set(Fault::After);
    meta.delete_bucket(BUCKET, NOW).await.unwrap();
    assert!(matches!(f.meta.bucket(BUCKET).await, Err(Error::NoSuchBucket(_))));
    assert_eq!(f.raw.ints("SELECT kept FROM commits WHERE kept = 0").await.len(), 0);
    f.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_still_runs_is_waited_for() {
    let (f, proxy, meta) = through_proxy(PATIENT).await;
    let commit = f.put("key", &[10]);
    let etag = commit.object.etag.clone();
    proxy.set(Fault::Late);
    let put = tokio::spawn(async move { meta.commit_put(&commit).await });
    // The id's second insert waits for the first one's transaction, which is still open on the server.
    waiting(&f, 1).await;
    assert!(!put.is_finished());
    proxy.deliver.notify_one();
    put.await.unwrap().unwrap();
    assert_eq!(f.resolve("key").await.unwrap().object.etag, etag);
    f.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_no_one_can_be_asked_about_is_ambiguous() {
    let (f, proxy, meta) = through_proxy(Duration::from_secs(1)).await;
    proxy.set(Fault::AfterAndAway);
    let result = meta.commit_put(&f.put("key", &[10])).await;
    assert!(matches!(result, Err(Error::Ambiguous(_))), "{result:?}");
    // It was committed, in truth, and nothing may have been removed.
    assert!(f.resolve("key").await.is_ok());
    proxy.set(Fault::None);
    meta.ping().await.unwrap();
    f.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_database_is_given_up_and_recovered_from() {
    let (f, proxy, meta) = through_proxy(Duration::from_secs(1)).await;
    f.commit("key", &[1]).await;
    meta.ping().await.unwrap();
    proxy.set(Fault::Silence);
    assert!(matches!(meta.ping().await, Err(Error::Unavailable(_))));
    assert!(matches!(meta.resolve(BUCKET, "key", None, ReadRange::Whole).await, Err(Error::Unavailable(_))));
    assert!(matches!(meta.commit_put(&f.put("key", &[10])).await, Err(Error::Unavailable(_))));
    proxy.set(Fault::None);
    meta.commit_put(&f.put("key", &[20])).await.unwrap();
    assert_eq!(meta.resolve(BUCKET, "key", None, ReadRange::Whole).await.unwrap().object.size, 20);
    f.check().await;
}
