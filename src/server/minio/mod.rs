//! Health and metrics where tools that know MinIO look for them (MinIO's "Healthcheck API" and "Metrics and alerts, version 2").
//!
//! Metrics have MinIO's names where they are what MinIO means by them, and `ninefold_` in front where MinIO has no name. What is not
//! known is left out: a zero would be a claim. The bucket name `minio` is reserved, so that no object can have these paths; a request
//! that is signed as S3 does is never taken for one of these.

mod api;
mod count;
mod process;
mod text;
mod token;

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use s3s::Body;

use super::health::{Drive, PATIENCE, Readiness};
use super::tls::Expiry;
use super::{Health, Refusal};
use crate::access::Directory;
use crate::audit::{Audit, Counts};
use crate::layout::{DATA_SHARDS, SHARDS};
use crate::metadata::BucketUsage;

use api::NAMES;
use count::{SPANS, read};
use process::Process;
use text::{Kind, Page};

pub(super) use api::{Api, Scope};
pub(super) use count::{Counters, Counting};

/// One of these requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Live,
    Ready,
    /// Whether there are enough volumes to write; with `maintenance`, whether there still would be without a node.
    Cluster {
        maintenance: bool,
    },
    /// Whether there are enough volumes to read.
    ClusterRead,
    Metrics(Metrics),
}

/// A page of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metrics {
    /// Of the deployment, and all of [`Metrics::Node`] of the server that answers.
    Cluster,
    /// Of this server.
    Node,
    /// Of the buckets.
    Bucket,
    /// Of this server's machine.
    Resource,
}

impl Ask {
    /// What is asked for, if it is one of these; `signed`: it is signed as requests to S3 are.
    pub(super) fn of(method: &Method, path: &str, query: Option<&str>, signed: bool) -> Option<Self> {
        if signed || !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        Some(match path.strip_prefix("/minio/")? {
            "health/live" => Self::Live,
            "health/ready" => Self::Ready,
            "health/cluster" => {
                let maintenance = query.is_some_and(|query| query.split('&').any(|piece| piece == "maintenance=true"));
                Self::Cluster { maintenance }
            }
            "health/cluster/read" => Self::ClusterRead,
            "v2/metrics/cluster" => Self::Metrics(Metrics::Cluster),
            "v2/metrics/node" => Self::Metrics(Metrics::Node),
            "v2/metrics/bucket" => Self::Metrics(Metrics::Bucket),
            "v2/metrics/resource" => Self::Metrics(Metrics::Resource),
            _ => return None,
        })
    }
}

/// What metrics tell besides how the store is.
#[derive(Clone, Copy)]
pub(super) struct Also<'a> {
    /// Requests.
    pub(super) counters: &'a Counters,
    /// The audit log, if there is one.
    pub(super) audit: Option<&'a Audit>,
    /// Certificates, and lists of revoked ones.
    pub(super) expiries: &'a [Expiry],
}

/// The answer. Health has no body, only a status and some headers.
pub(super) async fn answer(
    ask: Ask,
    headers: &HeaderMap,
    health: &dyn Health,
    directory: &Directory,
    also: &Also<'_>,
) -> Result<Response<Body>, Refusal> {
    let unwell = StatusCode::SERVICE_UNAVAILABLE;
    let found = match ask {
        Ask::Live => return Ok(bare(StatusCode::OK, None)),
        Ask::Metrics(metrics) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
            if !may_read_metrics(headers, directory, now) {
                let refusal = Refusal::new(StatusCode::FORBIDDEN, "AccessDenied");
                return Err(
                    refusal.saying("Metrics are shown to who brings a token signed with the root user's secret key.")
                );
            }
            return Ok(page(metrics, health, also).await);
        }
        Ask::Ready | Ask::Cluster { .. } | Ask::ClusterRead => Readiness::within(PATIENCE, health).await,
    };
    let (read_quorum, write_quorum) = ("x-minio-read-quorum", "x-minio-write-quorum");
    Ok(match ask {
        Ask::Cluster { maintenance: true } => {
            let spare = tokio::time::timeout(PATIENCE, health.without_a_node()).await.ok();
            let enough = spare.is_some_and(|spare| spare.servers > 0 && spare.usable_volumes >= DATA_SHARDS);
            let status = if found.is_ready() && enough { StatusCode::OK } else { StatusCode::PRECONDITION_FAILED };
            bare(status, Some(write_quorum))
        }
        Ask::ClusterRead => {
            let readable = found.database && found.readable_volumes >= DATA_SHARDS;
            bare(if readable { StatusCode::OK } else { unwell }, Some(read_quorum))
        }
        Ask::Cluster { .. } => bare(if found.is_ready() { StatusCode::OK } else { unwell }, Some(write_quorum)),
        _ if found.is_ready() => bare(StatusCode::OK, None),
        _ => {
            let mut response = bare(unwell, None);
            response.headers_mut().insert("x-minio-server-status", HeaderValue::from_static("offline"));
            response
        }
    })
}

/// An answer without a body; `quorum` names the header that says how many volumes are needed.
fn bare(status: StatusCode, quorum: Option<&'static str>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    if let Some(quorum) = quorum {
        response.headers_mut().insert(quorum, HeaderValue::from(DATA_SHARDS));
    }
    response
}

fn may_read_metrics(headers: &HeaderMap, directory: &Directory, now: u64) -> bool {
    let root = directory.root().access_key;
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    authorization
        .zip(directory.find(&root).ok())
        .is_some_and(|(authorization, key)| token::is_valid(authorization, &root, &key.secret, now))
}

async fn page(metrics: Metrics, health: &dyn Health, also: &Also<'_>) -> Response<Body> {
    let mut page = Page::new(health.server());
    match metrics {
        Metrics::Cluster => {
            cluster(&mut page, health).await;
            node(&mut page, health, also);
        }
        Metrics::Node => node(&mut page, health, also),
        Metrics::Bucket => buckets(&mut page, health).await,
        Metrics::Resource => resource(&mut page, health),
    }
    let mut response = Response::new(Body::from(page.finish()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(text::CONTENT_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn cluster(page: &mut Page, health: &dyn Health) {
    let drives = health.drives();
    let online = drives.iter().filter(|drive| drive.online);
    let (total, free) = online.clone().fold((0_u64, 0_u64), |(total, free), drive| {
        (total.saturating_add(drive.capacity), free.saturating_add(drive.free()))
    });
    // What is left of it when shards of every six bytes take nine.
    let usable = |raw: u64| u128::from(raw) * DATA_SHARDS as u128 / SHARDS as u128;
    page.gauge("minio_cluster_capacity_raw_total_bytes", "Capacity of the volumes that are online.", total);
    page.gauge("minio_cluster_capacity_raw_free_bytes", "Free space of the volumes that are online.", free);
    let help = "Capacity of the volumes that are online, for object data.";
    page.gauge("minio_cluster_capacity_usable_total_bytes", help, usable(total));
    let help = "Free space of the volumes that are online, for object data.";
    page.gauge("minio_cluster_capacity_usable_free_bytes", help, usable(free));
    let online = online.count();
    page.gauge("minio_cluster_drive_total", "Volumes.", drives.len());
    page.gauge("minio_cluster_drive_online_total", "Volumes that can be used.", online);
    page.gauge("minio_cluster_drive_offline_total", "Volumes that cannot be used.", drives.len() - online);
    let ready = Readiness::within(PATIENCE, health).await.is_ready();
    let help = "Whether objects can be read and written (1) or not (0).";
    page.gauge("minio_cluster_health_status", help, u8::from(ready));
    page.gauge("minio_cluster_write_quorum", "Volumes that writing needs.", DATA_SHARDS);

    // Without a database it is not known.
    if let Ok(Some(state)) = tokio::time::timeout(PATIENCE, health.cluster()).await {
        page.gauge("minio_cluster_nodes_online_total", "Servers that live.", state.servers_online);
        let help = "Servers that have fallen silent and are not given up yet.";
        page.gauge("minio_cluster_nodes_offline_total", help, state.servers_silent);
        page.gauge("minio_cluster_buckets_total", "Buckets.", state.buckets);
        page.gauge("ninefold_heal_queue_shards", "Shards that wait for healing.", state.heal_queue);
        let help = "Shards that wait for healing and could not be healed so far.";
        page.gauge("ninefold_heal_queue_failed_shards", help, state.heal_failed);
    }
    if let Ok(Some(usage)) = tokio::time::timeout(PATIENCE, health.usage()).await {
        for (_, name, help, number) in OF_USAGE {
            page.gauge(name, help, usage.buckets.iter().map(number).fold(0, u64::saturating_add));
        }
        last_count(page, usage.age);
    }
}

/// What is told of what a bucket holds: its name for one bucket and for all, what it is, and how much.
type OfUsage = (&'static str, &'static str, &'static str, fn(&BucketUsage) -> u64);

const OF_USAGE: [OfUsage; 4] = [
    ("minio_bucket_usage_object_total", "minio_cluster_usage_object_total", "Objects.", |of| of.objects),
    (
        "minio_bucket_usage_version_total",
        "minio_cluster_usage_version_total",
        "Versions of objects, and delete markers.",
        |of| of.versions,
    ),
    ("minio_bucket_usage_deletemarker_total", "minio_cluster_usage_deletemarker_total", "Delete markers.", |of| {
        of.markers
    }),
    ("minio_bucket_usage_total_bytes", "minio_cluster_usage_total_bytes", "Bytes of all versions.", |of| of.bytes),
];

async fn buckets(page: &mut Page, health: &dyn Health) {
    let Ok(Some(usage)) = tokio::time::timeout(PATIENCE, health.usage()).await else { return };
    for (name, _, help, number) in OF_USAGE {
        let mut family = page.family(name, Kind::Gauge, help);
        for bucket in usage.buckets.iter() {
            family.sample(&[("bucket", &bucket.name)], number(bucket));
        }
    }
    last_count(page, usage.age);
}

/// Objects are counted from time to time; here is how long ago that was.
fn last_count(page: &mut Page, age: Duration) {
    let help = "Time since objects were counted, in nanoseconds.";
    page.gauge("minio_usage_last_activity_nano_seconds", help, age.as_nanos());
}

fn node(page: &mut Page, health: &dyn Health, also: &Also<'_>) {
    let Also { counters, audit, expiries } = *also;
    requests(page, counters);
    if let Some(audit) = audit {
        records(page, &audit.counts());
    }
    certificates(page, expiries);
    drives(page, &health.drives());
    let process = Process::of_self();
    let optional = |page: &mut Page, name, help, value: Option<u64>| {
        if let Some(value) = value {
            page.gauge(name, help, value);
        }
    };
    optional(page, "minio_node_file_descriptor_open_total", "Open file descriptors.", process.open_files);
    let help = "Limit of open file descriptors.";
    optional(page, "minio_node_file_descriptor_limit_total", help, process.open_files_limit);
    optional(page, "minio_node_process_resident_memory_bytes", "Resident memory.", process.resident);
    optional(page, "minio_node_process_virtual_memory_bytes", "Virtual memory.", process.virtual_memory);
    if let Some(seconds) = process.cpu_seconds {
        page.counter("minio_node_process_cpu_total_seconds", "Processor time, of user and system.", seconds);
    }
    let began = counters.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    page.gauge("minio_node_process_starttime_seconds", "When it began to serve, in Unix time.", began.as_secs());
    page.gauge("minio_node_process_uptime_seconds", "How long it serves.", counters.since.elapsed().as_secs());
    for (name, of, help) in [
        ("minio_node_io_rchar_bytes", "rchar", "Bytes read, also from caches."),
        ("minio_node_io_read_bytes", "read_bytes", "Bytes read from storage."),
        ("minio_node_io_wchar_bytes", "wchar", "Bytes written, also to caches."),
        ("minio_node_io_write_bytes", "write_bytes", "Bytes written to storage."),
        ("minio_node_syscall_read_total", "syscr", "System calls that read."),
        ("minio_node_syscall_write_total", "syscw", "System calls that write."),
    ] {
        if let Some(value) = process.io.get(of) {
            page.counter(name, help, value);
        }
    }
    let mut family = page.family("minio_software_version_info", Kind::Gauge, "The program's version.");
    family.sample(&[("version", concat!("ninefold ", env!("CARGO_PKG_VERSION")))], 1);
}

fn records(page: &mut Page, counts: &[Counts]) {
    let mut by_target = |name, kind, help, number: &dyn Fn(&Counts) -> u64| {
        let mut family = page.family(name, kind, help);
        for of in counts {
            family.sample(&[("target_id", &of.target)], number(of));
        }
    };
    let help = "Records that were written to the audit log.";
    by_target("minio_audit_total_messages", Kind::Counter, help, &|of| of.written);
    let help = "Records of the audit log that were lost.";
    by_target("minio_audit_failed_messages", Kind::Counter, help, &|of| of.lost);
    let help = "Records of the audit log that wait.";
    by_target("minio_audit_target_queue_length", Kind::Gauge, help, &|of| of.queued as u64);
}

/// Until when the certificates that this server shows hold, and its lists of revoked ones. Nothing where it serves plain HTTP.
fn certificates(page: &mut Page, expiries: &[Expiry]) {
    if expiries.is_empty() {
        return;
    }
    let help = "When a certificate, or a list of revoked ones, expires, in Unix time.";
    let mut family = page.family("ninefold_tls_expires_timestamp_seconds", Kind::Gauge, help);
    for expiry in expiries {
        let (file, names) = (expiry.file.to_string_lossy(), expiry.names.join(","));
        family.sample(&[("file", &file), ("names", &names)], expiry.until.div_euclid(1000));
    }
}

fn requests(page: &mut Page, counters: &Counters) {
    let seen: Vec<_> = NAMES.iter().zip(&counters.apis).filter(|(_, of)| read(&of.total) > 0).collect();
    let mut by_api = |name, kind, help, number: &dyn Fn(&count::OfApi) -> u64| {
        let mut family = page.family(name, kind, help);
        for (api, of) in &seen {
            family.sample(&[("api", api)], number(of));
        }
    };
    by_api("minio_s3_requests_total", Kind::Counter, "Requests.", &|of| read(&of.total));
    by_api("minio_s3_requests_inflight_total", Kind::Gauge, "Requests under way.", &|of| read(&of.running));
    let help = "Requests that were answered with a status 4xx.";
    by_api("minio_s3_requests_4xx_errors_total", Kind::Counter, help, &|of| read(&of.client_errors));
    let help = "Requests that were answered with a status 5xx.";
    by_api("minio_s3_requests_5xx_errors_total", Kind::Counter, help, &|of| read(&of.server_errors));
    let help = "Requests that were answered with a status 4xx or 5xx.";
    by_api("minio_s3_requests_errors_total", Kind::Counter, help, &|of| {
        read(&of.client_errors) + read(&of.server_errors)
    });
    let help = "Requests whose clients left before they had their answers.";
    by_api("minio_s3_requests_canceled_total", Kind::Counter, help, &|of| read(&of.canceled));
    let help = "Requests by the time to the first byte of their answers, in seconds.";
    let mut family = page.family("minio_s3_requests_ttfb_seconds_distribution", Kind::Gauge, help);
    for (api, of) in &seen {
        let ends = SPANS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let mut so_far = 0;
        for (end, number) in ends.zip(&of.first_byte) {
            so_far += read(number);
            family.sample(&[("api", api), ("le", &end)], so_far);
        }
    }
    page.gauge("minio_s3_requests_incoming_total", "Requests under way, of all kinds.", read(&counters.running));
    let help = "Requests refused because of their key or signature.";
    page.counter("minio_s3_requests_rejected_auth_total", help, read(&counters.rejected_auth));
    let help = "Requests refused because of when they were signed.";
    page.counter("minio_s3_requests_rejected_timestamp_total", help, read(&counters.rejected_time));
    let help = "Requests refused because of how they are made.";
    page.counter("minio_s3_requests_rejected_invalid_total", help, read(&counters.rejected_invalid));
    let help = "Requests and connections answered 503 SlowDown, by what there was too much of.";
    let mut family = page.family("ninefold_limited_total", Kind::Counter, help);
    for (limit, number) in counters.limiter.refused() {
        family.sample(&[("limit", limit)], number);
    }
    let help = "Memory that requests under way may take, by what is known of them.";
    page.gauge("ninefold_request_memory_bytes", help, counters.limiter.memory());
    page.counter("minio_s3_traffic_received_bytes", "Bytes of requests' bodies.", read(&counters.received));
    page.counter("minio_s3_traffic_sent_bytes", "Bytes of answers' bodies.", read(&counters.sent));
}

fn drives(page: &mut Page, drives: &[Drive]) {
    let mut by_drive = |name, help, number: &dyn Fn(&Drive) -> Option<u64>| {
        let mut family = page.family(name, Kind::Gauge, help);
        for drive in drives {
            if let Some(number) = number(drive) {
                family.sample(&[("drive", &drive.name)], number);
            }
        }
    };
    let space = |drive: &Drive, number| drive.online.then_some(number);
    by_drive("minio_node_drive_total_bytes", "Capacity of a volume.", &|drive| space(drive, drive.capacity));
    by_drive("minio_node_drive_used_bytes", "Used space of a volume.", &|drive| space(drive, drive.used));
    by_drive("minio_node_drive_free_bytes", "Free space of a volume.", &|drive| space(drive, drive.free()));
    let mut family = page.family(
        "minio_node_drive_latency_us",
        Kind::Gauge,
        "Average time that reading takes of late, in microseconds.",
    );
    for drive in drives {
        if let Some(latency) = drive.read_latency {
            family.sample(&[("api", "read"), ("drive", &drive.name)], latency.as_micros());
        }
    }
    let online = drives.iter().filter(|drive| drive.online).count();
    page.gauge("minio_node_drive_total", "Volumes that this server uses.", drives.len());
    page.gauge("minio_node_drive_online_total", "Those of them that can be used.", online);
    page.gauge("minio_node_drive_offline_total", "Those of them that cannot.", drives.len() - online);
}

fn resource(page: &mut Page, health: &dyn Health) {
    drives(page, &health.drives());
    let memory = process::memory();
    for (name, of, help) in [
        ("minio_node_mem_total", "MemTotal", "Memory."),
        ("minio_node_mem_free", "MemFree", "Unused memory."),
        ("minio_node_mem_available", "MemAvailable", "Memory that can be had."),
        ("minio_node_mem_buffers", "Buffers", "Memory of buffers."),
        ("minio_node_mem_cache", "Cached", "Memory of the page cache."),
        ("minio_node_mem_shared", "Shmem", "Shared memory."),
    ] {
        if let Some(value) = memory.get(of) {
            page.gauge(name, help, value);
        }
    }
    if let Some((&total, &available)) = memory.get("MemTotal").zip(memory.get("MemAvailable")) {
        let used = total.saturating_sub(available);
        page.gauge("minio_node_mem_used", "Memory that cannot be had.", used);
        if total > 0 {
            let share = used as f64 * 100.0 / total as f64;
            page.gauge("minio_node_mem_used_perc", "Its share of all, in percent.", share);
        }
    }
    if let Some([one, five, fifteen]) = process::load() {
        page.gauge("minio_node_cpu_avg_load1", "Load average over a minute.", one);
        page.gauge("minio_node_cpu_avg_load5", "Load average over five minutes.", five);
        page.gauge("minio_node_cpu_avg_load15", "Load average over fifteen minutes.", fifteen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_paths_are_taken_and_nothing_that_is_signed_for_s3() {
        let get = |path, query| Ask::of(&Method::GET, path, query, false);
        assert_eq!(get("/minio/health/live", None), Some(Ask::Live));
        assert_eq!(get("/minio/health/cluster", None), Some(Ask::Cluster { maintenance: false }));
        assert_eq!(get("/minio/health/cluster", Some("maintenance=true")), Some(Ask::Cluster { maintenance: true }));
        assert_eq!(get("/minio/v2/metrics/node", None), Some(Ask::Metrics(Metrics::Node)));
        for path in
            ["/minio", "/minio/", "/minio/health", "/minio/health/live/", "/minio/v2/metrics", "/x/minio/health/live"]
        {
            assert_eq!(get(path, None), None, "{path}");
        }
        assert_eq!(Ask::of(&Method::PUT, "/minio/health/live", None, false), None);
        assert_eq!(Ask::of(&Method::GET, "/minio/health/live", None, true), None);
        assert_eq!(Ask::of(&Method::HEAD, "/minio/health/ready", None, false), Some(Ask::Ready));
    }
}
