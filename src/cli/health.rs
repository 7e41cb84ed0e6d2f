//! `ninefold health`: for containers, which have no other client in them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::operate::say;
use crate::server::{PinnedCertificate, TlsError};

/// Longer than readiness itself may take.
const PATIENCE: Duration = Duration::from_secs(8);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Address of the server
    #[arg(long, value_name = "ADDR:PORT", env = "NINEFOLD_LISTEN", default_value = "127.0.0.1:9000")]
    listen: String,
    /// The certificate that the server serves HTTPS with; no other is accepted [default: plain HTTP]
    #[arg(long, value_name = "FILE", env = "NINEFOLD_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// Ask whether it can serve requests, not only whether it runs
    #[arg(long)]
    ready: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Why a server is not well.
#[derive(Debug, thiserror::Error)]
pub(super) enum HealthError {
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    #[error("no answer from {address}: {source}")]
    Silent { address: String, source: io::Error },
    #[error("{address} answers: {answer}")]
    Unwell { address: String, answer: String },
}

pub(super) fn run(arguments: &Arguments) -> Result<(), HealthError> {
    let path = if arguments.ready { "/health/ready" } else { "/health/live" };
    let address = reachable(&arguments.listen);
    // An empty variable says nothing, as for the server.
    let certificate = arguments.tls_cert.as_deref().filter(|path| !path.as_os_str().is_empty());
    let certificate = certificate.map(PinnedCertificate::load).transpose()?;
    let answer = ask(&address, path, certificate.as_ref())
        .map_err(|source| HealthError::Silent { address: address.clone(), source })?;
    let status = answer.lines().next().unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let well = status.split(' ').nth(1) == Some("200");
    if arguments.json {
        let found: Value = serde_json::from_str(body).unwrap_or_default();
        say(format_args!("{:#}", json!({"address": address, "well": well, "answer": found})));
    }
    if well {
        return Ok(());
    }
    Err(HealthError::Unwell { address, answer: format!("{status} {body}").trim().to_owned() })
}

/// Where a server that listens at `listen` can be reached from its own machine.
fn reachable(listen: &str) -> String {
    match listen.rsplit_once(':') {
        Some(("" | "0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => listen.to_owned(),
    }
}

fn ask(address: &str, path: &str, certificate: Option<&PinnedCertificate>) -> io::Result<String> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the address stands for none");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    for target in address.to_socket_addrs()? {
        match connect(&target) {
            Ok(stream) => {
                return match certificate {
                    Some(certificate) => exchange(certificate.stream(stream, target.ip())?, &request),
                    None => exchange(stream, &request),
                };
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect(target: &SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    // The answer is small; more is no answer of ours.
    stream.take(1 << 16).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_at_every_address_is_asked_at_home() {
        assert_eq!(reachable("0.0.0.0:9000"), "127.0.0.1:9000");
        assert_eq!(reachable(":9000"), "127.0.0.1:9000");
        assert_eq!(reachable("[::]:9000"), "[::1]:9000");
        assert_eq!(reachable("192.0.2.1:80"), "192.0.2.1:80");
    }
}
