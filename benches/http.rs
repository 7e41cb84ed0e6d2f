//! Small objects over HTTP, by the real program in a process of its own: puts and gets per second of so many clients on connections
//! of their own. Requests are signed before the clock starts, so that what is measured is the server, on what the clients leave of
//! the machine.
//!
//! `cargo bench --bench http [-- --quick] [CLIENTS [SIZE]]`; `TMPDIR` says on which disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../tests/support/postgres.rs"]
mod postgres;
#[path = "../tests/support/requests.rs"]
mod requests;
#[path = "../tests/support/server.rs"]
mod server;
#[path = "../tests/support/signing.rs"]
#[allow(dead_code)]
mod signing;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt;
use server::Server;
use signing::{Call, Signer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A signed request as it goes over the wire.
async fn wire(signer: &Signer, address: SocketAddr, method: Method, path: &str, body: &[u8]) -> Vec<u8> {
    let call = Call::new(method, path).header("host", &address.to_string()).body(body.to_vec());
    let request = signer.header(call, None);
    let mut bytes = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        bytes.extend_from_slice(format!("{name}: ").as_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// Sends a request and reads its answer to the end; answers the status and the body's length.
async fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> (u16, usize) {
    stream.write_all(request).await.unwrap();
    buffer.clear();
    loop {
        assert_ne!(stream.read_buf(buffer).await.unwrap(), 0, "the server hung up");
        let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head]).unwrap().to_ascii_lowercase();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        let length =
            text.split("content-length: ").nth(1).map_or(0, |rest| rest.lines().next().unwrap().parse().unwrap());
        while buffer.len() < head + 4 + length {
            assert_ne!(stream.read_buf(buffer).await.unwrap(), 0, "the server hung up");
        }
        return (status, length);
    }
}

/// Answers per second to these requests, each client's in order.
async fn rate(address: SocketAddr, requests: Vec<Vec<Vec<u8>>>, length: usize) -> f64 {
    let count: usize = requests.iter().map(Vec::len).sum();
    let barrier = Arc::new(tokio::sync::Barrier::new(requests.len() + 1));
    let mut clients = JoinSet::new();
    for requests in requests {
        let barrier = Arc::clone(&barrier);
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut buffer = Vec::with_capacity(64 << 10);
            barrier.wait().await;
            for request in requests {
                assert_eq!(exchange(&mut stream, &request, &mut buffer).await, (200, length));
            }
        });
    }
    barrier.wait().await;
    let started = Instant::now();
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    count as f64 / started.elapsed().as_secs_f64()
}

async fn measure() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let each = if arguments.iter().any(|a| a == "--quick") { 300 } else { 1000 };
    let numbers: Vec<usize> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    let (clients, size) = (numbers.first().copied().unwrap_or(32), numbers.get(1).copied().unwrap_or(1 << 10));
    for name in ["SQLite", "PostgreSQL"] {
        let database = if name == "SQLite" { None } else { Some(postgres::Database::new().await) };
        let mut arguments = vec!["--bucket", "bench"];
        if let Some(database) = &database {
            arguments.extend(["--database-url", &database.url]);
        }
        let mut server = Server::new(&arguments);
        server.start();
        let address = server.address();
        let signer = requests::root();
        let body: Vec<u8> = (0..size).map(|i| (i * 31 % 251) as u8).collect();
        let (mut puts, mut gets) = (Vec::new(), Vec::new());
        for client in 0..clients {
            let (mut put, mut get) = (Vec::new(), Vec::new());
            for n in 0..each {
                let path = format!("/bench/{client}/{n}");
                put.push(wire(&signer, address, Method::PUT, &path, &body).await);
                // Not in the order in which they were put.
                let path = format!("/bench/{}/{}", (client + n) % clients, n * 7919 % each);
                get.push(wire(&signer, address, Method::GET, &path, b"").await);
            }
            puts.push(put);
            gets.push(get);
        }
        let cost = |before: u64, after: u64| (after - before) as f64 * 1e4 / (clients * each) as f64;
        let before = server.processor_time();
        let puts = rate(address, puts, 0).await;
        let between = server.processor_time();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let gets = rate(address, gets, size).await;
        let (put_cost, get_cost) = (cost(before, between), cost(between, server.processor_time()));
        println!(
            "{name:10} {clients} clients, {size} bytes: {puts:6.0} puts/s, {gets:6.0} gets/s; \
             {put_cost:.0} and {get_cost:.0} µs of the server's processor time each"
        );
        drop(server);
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure());
}
