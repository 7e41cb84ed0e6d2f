//! Clients that write to a real server, each to keys of its own, and know what must be there afterwards.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Method, StatusCode};

use super::requests::Client;
use super::server::Server;
use super::signing::Call;

const MIB: usize = 1 << 20;
/// Clients that write at once, each to keys of its own.
pub const CLIENTS: u64 = 4;
/// Keys of each ...
const KEYS: u64 = 6;
/// ... and in the bucket that keeps versions, whose names begin with its.
const KEPT_KEYS: u64 = 2;
const KEPT: &str = "kept/";
/// Versions of a key from which on some are deleted.
const ENOUGH: usize = 4;
/// Objects read back at a time.
const READS_AT_ONCE: usize = 8;
/// Lengths of objects: nothing, packed ones, a chunk of its own, one of several stripes.
const LENGTHS: [usize; 8] = [0, 1, 700, 5000, 20_000, 64 << 10, 100 << 10, 3 * MIB];

/// The bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    pub seed: u64,
    pub len: usize,
}

impl Content {
    /// Runs of some length that differ from one another and between contents: a debug build computes few words in no time.
    pub fn bytes(self) -> Bytes {
        const RUN: usize = 1 << 10;
        let words = (0..RUN as u64 / 8).map(|n| (n ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let run: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let mut bytes = run.repeat(self.len.div_ceil(RUN));
        for (number, run) in (0u32..).zip(bytes.chunks_mut(RUN)) {
            run[..4].copy_from_slice(&number.to_le_bytes());
        }
        bytes.truncate(self.len);
        bytes.into()
    }
}

/// What a key may hold: what was acknowledged last, or what was asked for since without an answer.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// A multipart object is several contents.
    pub sure: Option<Vec<Content>>,
    /// Of a key whose versions are kept: what may have become a version as well, or a delete marker.
    pub maybe: Vec<Option<Vec<Content>>>,
    /// Versions that were acknowledged, in their order.
    pub versions: Vec<Version>,
    /// Versions whose deletion was acknowledged, and markers.
    pub gone: Vec<String>,
    /// This was asked to be renamed to another key, which held something else, without an answer.
    pub renamed_to: Option<String>,
}

/// A version, or a delete marker, which has no content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub id: String,
    pub content: Option<Vec<Content>>,
    /// Its deletion was asked for without an answer.
    pub doubtful: bool,
}

impl Known {
    /// Whether all that was asked for was answered.
    pub fn is_sure(&self) -> bool {
        self.maybe.is_empty() && !self.versions.iter().any(|version| version.doubtful)
    }
}

pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

pub fn path(key: &str) -> String {
    if key.starts_with(KEPT) { format!("/{key}") } else { format!("/demo/{key}") }
}

/// Makes the bucket that keeps versions, beside the one that the server makes.
pub async fn prepare(client: &Client) {
    let enabled = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status>\
                   </VersioningConfiguration>";
    let make = Call::new(Method::PUT, "/kept");
    for call in [make.clone(), make.query("versioning", "").body(enabled)] {
        let (status, _, body) = client.send(call).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{body:?}");
    }
}

/// What became of a request.
enum Outcome {
    Acknowledged(HeaderMap),
    /// Refused, or the server has gone before it answered.
    Unknown,
}

/// Takes an answer apart. The server never has a reason to blame the client.
fn outcome(answer: Option<(StatusCode, HeaderMap, Bytes)>) -> Outcome {
    match answer {
        Some((status, headers, _)) if status.is_success() => Outcome::Acknowledged(headers),
        Some((status, _, body)) => {
            assert!(status.is_server_error(), "{status}: {}", String::from_utf8_lossy(&body));
            Outcome::Unknown
        }
        None => Outcome::Unknown,
    }
}

/// When clients stop: at some time, or when it is said.
#[derive(Clone)]
pub struct Until {
    time: Instant,
    said: Arc<AtomicBool>,
}

impl Until {
    pub fn after(time: Duration) -> Self {
        Self { time: Instant::now() + time, said: Arc::default() }
    }

    pub fn say(&self) {
        self.said.store(true, Ordering::Relaxed);
    }

    fn reached(&self) -> bool {
        self.said.load(Ordering::Relaxed) || Instant::now() >= self.time
    }
}

/// Writes to this client's keys until the server is gone, or `until`; keeps account.
async fn write(
    client: Client,
    number: u64,
    mut known: BTreeMap<String, Known>,
    seed: u64,
    until: Until,
) -> BTreeMap<String, Known> {
    let mut dice = Dice(seed | 1);
    for _ in 0..8 {
        dice.roll(2);
    }
    while !until.reached() {
        if dice.roll(3) == 0 {
            let key = format!("{KEPT}{number}/{}", dice.roll(KEPT_KEYS));
            if !write_version(&client, &key, known.entry(key.clone()).or_default(), &mut dice).await
                && is_gone(&client).await
            {
                break;
            }
            continue;
        }
        let key = format!("{number}/{}", dice.roll(KEYS));
        let content = Content { seed: dice.roll(u64::MAX), len: LENGTHS[dice.roll(LENGTHS.len() as u64) as usize] };
        let (wanted, done) = match dice.roll(20) {
            0..=8 => {
                let put = Call::new(Method::PUT, &path(&key)).body(content.bytes());
                (Some(vec![content]), outcome(client.send(put).await))
            }
            9..=11 => {
                // Only to what is known for sure there is an end that is known.
                let was = known.get(&key).filter(|known| known.is_sure()).and_then(|known| known.sure.clone());
                let Some(mut parts) = was.filter(|_| content.len > 0) else { continue };
                let offset = parts.iter().map(|part| part.len).sum::<usize>();
                let append =
                    Call::new(Method::PUT, &path(&key)).header("x-amz-write-offset-bytes", &offset.to_string());
                parts.push(content);
                (Some(parts), outcome(client.send(append.body(content.bytes())).await))
            }
            12 | 13 => (None, outcome(client.send(Call::new(Method::DELETE, &path(&key))).await)),
            14 | 15 => {
                let other = format!("{number}/{}", dice.roll(KEYS));
                if !rename(&client, &mut known, &key, &other).await && is_gone(&client).await {
                    break;
                }
                continue;
            }
            16 | 17 => {
                let other = format!("{number}/{}", dice.roll(KEYS));
                let source = known.get(&other).cloned().unwrap_or_default();
                let (Some(content), true, true) = (source.sure, source.maybe.is_empty(), other != key) else {
                    continue;
                };
                let copy = Call::new(Method::PUT, &path(&key)).header("x-amz-copy-source", &path(&other));
                (Some(content), outcome(client.send(copy).await))
            }
            _ => {
                let parts = [Content { len: 5 * MIB, ..content }, Content { seed: !content.seed, len: 700 }];
                let complete = dice.roll(4) > 0;
                match multipart(&client, &key, &parts, complete).await {
                    // Without the completion having been asked for nothing can have changed.
                    None => continue,
                    Some(done) => (Some(parts.to_vec()), done),
                }
            }
        };
        let known = known.entry(key).or_default();
        match done {
            Outcome::Acknowledged(_) => *known = Known { sure: wanted, ..Known::default() },
            Outcome::Unknown => {
                known.maybe.push(wanted);
                known.renamed_to = None;
                if is_gone(&client).await {
                    break;
                }
            }
        }
    }
    known
}

/// Renames one key to another, if it is known what both hold. `false`: there was no answer.
async fn rename(client: &Client, known: &mut BTreeMap<String, Known>, from: &str, to: &str) -> bool {
    let of = |key: &str| known.get(key).cloned().unwrap_or_default();
    let (source, destination) = (of(from), of(to));
    let Some(content) = source.sure.clone().filter(|_| from != to && source.is_sure() && destination.is_sure()) else {
        return true;
    };
    let call = Call::new(Method::PUT, &path(to)).query("renameObject", "");
    let done = outcome(client.send(call.header("x-amz-rename-source", &path(from))).await);
    let answered = matches!(done, Outcome::Acknowledged(_));
    let mut set = |key: &str, was: Known, now: Option<Vec<Content>>, renamed_to| {
        let entry = match answered {
            true => Known { sure: now, ..Known::default() },
            false => Known { maybe: vec![now], renamed_to, ..was },
        };
        known.insert(key.to_owned(), entry);
    };
    let differs = destination.sure.as_ref() != Some(&content);
    set(from, source, None, differs.then(|| to.to_owned()));
    set(to, destination, Some(content), None);
    answered
}

/// Whether a server that did not answer has gone. If not, it is not well; either way not worth asking on and on.
async fn is_gone(client: &Client) -> bool {
    tokio::time::sleep(Duration::from_millis(20)).await;
    client.send(Call::new(Method::HEAD, "/demo")).await.is_none()
}

/// Does one thing to a key whose versions are kept: writes one, hides it, or deletes one of them. `false`: there was no answer.
async fn write_version(client: &Client, key: &str, known: &mut Known, dice: &mut Dice) -> bool {
    let sure: Vec<usize> = (0..known.versions.len()).filter(|&at| !known.versions[at].doubtful).collect();
    let many = sure.len() >= ENOUGH && dice.roll(3) > 0;
    let content = Content { seed: dice.roll(u64::MAX), len: LENGTHS[dice.roll(LENGTHS.len() as u64) as usize] };
    let (wanted, done) = match dice.roll(20) {
        12.. if !sure.is_empty() => return delete_version(client, key, known, sure, dice).await,
        _ if many => return delete_version(client, key, known, sure, dice).await,
        0 => {
            let parts = [Content { len: 5 * MIB, ..content }, Content { seed: !content.seed, len: 700 }];
            match multipart(client, key, &parts, true).await {
                None => return true,
                Some(done) => (Some(parts.to_vec()), done),
            }
        }
        1..=3 => (None, outcome(client.send(Call::new(Method::DELETE, &path(key))).await)),
        _ => {
            let put = Call::new(Method::PUT, &path(key)).body(content.bytes());
            (Some(vec![content]), outcome(client.send(put).await))
        }
    };
    match done {
        Outcome::Acknowledged(headers) => {
            let id = headers["x-amz-version-id"].to_str().unwrap().to_owned();
            assert_eq!(headers.contains_key("x-amz-delete-marker"), wanted.is_none());
            known.versions.push(Version { id, content: wanted, doubtful: false });
            true
        }
        Outcome::Unknown => {
            known.maybe.push(wanted);
            false
        }
    }
}

/// Deletes one of the versions at these places.
async fn delete_version(client: &Client, key: &str, known: &mut Known, of: Vec<usize>, dice: &mut Dice) -> bool {
    // The newest more often than others: then another becomes the object.
    let at = if dice.roll(2) == 0 { of[of.len() - 1] } else { of[dice.roll(of.len() as u64) as usize] };
    let delete = Call::new(Method::DELETE, &path(key)).query("versionId", &known.versions[at].id);
    match outcome(client.send(delete).await) {
        Outcome::Acknowledged(_) => {
            let version = known.versions.remove(at);
            known.gone.push(version.id);
            true
        }
        Outcome::Unknown => {
            known.versions[at].doubtful = true;
            false
        }
    }
}

/// Uploads in parts; answers what became of the completion, if it came to that.
async fn multipart(client: &Client, key: &str, parts: &[Content], complete: bool) -> Option<Outcome> {
    let (status, _, body) = client.send(Call::new(Method::POST, &path(key)).query("uploads", "")).await?;
    if !status.is_success() {
        return None;
    }
    let body = String::from_utf8(body.to_vec()).unwrap();
    let upload = body.split("<UploadId>").nth(1)?.split('<').next()?.to_owned();
    let mut list = String::new();
    for (number, content) in (1..).zip(parts) {
        let call =
            Call::new(Method::PUT, &path(key)).query("partNumber", &number.to_string()).query("uploadId", &upload);
        let (status, headers, _) = client.send(call.body(content.bytes())).await?;
        if !status.is_success() {
            return None;
        }
        let etag = headers.get("etag")?.to_str().unwrap().to_owned();
        list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    if !complete {
        client.send(Call::new(Method::DELETE, &path(key)).query("uploadId", &upload)).await;
        return None;
    }
    let body = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    let call = Call::new(Method::POST, &path(key)).query("uploadId", &upload).body(body);
    let answer = client.send(call).await;
    // An error may come in the body of a 200.
    if let Some((status, _, body)) = &answer
        && status.is_success()
        && !String::from_utf8_lossy(body).contains("<CompleteMultipartUploadResult")
    {
        return Some(Outcome::Unknown);
    }
    Some(outcome(answer))
}

/// Has a server do at once what otherwise has time, and judge the dead after `timeout`.
pub fn make_hasty(server: &mut Server, timeout: &str) {
    let settings = [
        ("GC_GRACE", "0s"),
        ("INSTANCE_TIMEOUT", timeout),
        ("MAINTENANCE_INTERVAL", "150ms"),
        ("SWEEP_AGAIN", "500ms"),
        ("QUARANTINE_KEEP", "0s"),
        ("HEAL_RATE", "0"),
        ("SCRUB_RATE", "0"),
        ("SNAPSHOT_INTERVAL", "1s"),
        ("SNAPSHOT_KEEP", "1"),
        ("LOG", "warn"),
    ];
    for (name, value) in settings {
        server.set_env(&format!("NINEFOLD_{name}"), Some(value));
    }
}

/// What each client knows of its keys.
pub type Keys = Vec<BTreeMap<String, Known>>;

/// Has all clients write until the server is gone, or `until`. They are numbered from `first` on.
pub async fn load(client: &Client, first: u64, keys: Keys, dice: &mut Dice, until: &Until) -> Keys {
    let mut tasks = Vec::new();
    for (number, keys) in (first..).zip(keys) {
        tasks.push(tokio::spawn(write(client.clone(), number, keys, dice.roll(u64::MAX), until.clone())));
    }
    let mut keys = Vec::new();
    for task in tasks {
        keys.push(task.await.unwrap());
    }
    keys
}

/// Reads everything back and holds it against what is known, which then is settled; so does a listing. `false`: the server
/// has not answered.
pub async fn read_back(client: &Client, keys: &mut Keys) -> bool {
    let mut there = BTreeSet::new();
    // Of a rename that was not answered all was done, or nothing.
    let mut renamed = Vec::new();
    for (from, known) in keys.iter().flatten() {
        if let Some(to) = &known.renamed_to
            && keys.iter().find_map(|keys| keys.get(to)).unwrap().maybe == std::slice::from_ref(&known.sure)
        {
            renamed.push((from.clone(), to.clone(), known.sure.clone()));
        }
    }
    let plain = keys.iter().flatten().filter(|(key, _)| !key.starts_with(KEPT));
    let reads = plain.map(|(key, _)| {
        let (client, key) = (client.clone(), key.clone());
        async move { (client.send(Call::new(Method::GET, &path(&key))).await, key) }
    });
    let answers: Vec<_> = stream::iter(reads).buffer_unordered(READS_AT_ONCE).collect().await;
    for (answer, key) in answers {
        let Some((status, _, body)) = answer else { return false };
        let known = keys.iter_mut().find_map(|keys| keys.get_mut(&key)).unwrap();
        let allowed: Vec<_> = std::iter::once(&known.sure).chain(&known.maybe).collect();
        let found = match status {
            StatusCode::NOT_FOUND => None,
            StatusCode::OK => Some(body),
            status => panic!("{key}: {status}: {}", String::from_utf8_lossy(&body)),
        };
        let matching = allowed.iter().find(|allowed| match (allowed, &found) {
            (Some(parts), Some(body)) => *parts.iter().map(|part| part.bytes()).collect::<Vec<_>>().concat() == **body,
            (None, None) => true,
            _ => false,
        });
        let Some(matching) = matching else {
            panic!("{key} holds {:?} bytes, which is none of {allowed:?}", found.map(|body| body.len()));
        };
        let now = (*matching).clone();
        there.extend(now.is_some().then(|| key.clone()));
        *known = Known { sure: now, ..Known::default() };
    }
    for (from, to, content) in renamed {
        let sure = |key: &str| keys.iter().find_map(|keys| keys.get(key)).unwrap().sure.clone();
        assert_eq!(sure(&from).is_none(), sure(&to) == content, "{from} was half renamed to {to}");
    }
    for (key, known) in keys.iter_mut().flatten().filter(|(key, _)| key.starts_with(KEPT)) {
        if read_versions(client, key, known).await.is_none() {
            return false;
        }
    }
    let list = Call::new(Method::GET, "/demo").query("list-type", "2");
    let Some((status, _, body)) = client.send(list).await else { return false };
    assert_eq!(status, StatusCode::OK);
    let body = String::from_utf8(body.to_vec()).unwrap();
    let listed: BTreeSet<String> =
        body.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect();
    assert_eq!(listed, there);
    true
}

/// One version in a listing.
struct Listed {
    id: String,
    marker: bool,
    latest: bool,
}

/// What ListObjectVersions says of one key.
async fn list_versions(client: &Client, key: &str) -> Option<Vec<Listed>> {
    let prefix = key.strip_prefix(KEPT).unwrap();
    let list = Call::new(Method::GET, "/kept").query("versions", "").query("prefix", prefix);
    let (status, _, body) = client.send(list).await?;
    assert_eq!(status, StatusCode::OK, "{body:?}");
    let body = String::from_utf8(body.to_vec()).unwrap();
    let mut listed = Vec::new();
    for (element, marker) in [("<Version>", false), ("<DeleteMarker>", true)] {
        for entry in body.split(element).skip(1) {
            let of = |name: &str| entry.split(&format!("<{name}>")).nth(1).unwrap().split('<').next().unwrap();
            assert_eq!(of("Key"), prefix);
            listed.push(Listed { id: of("VersionId").to_owned(), marker, latest: of("IsLatest") == "true" });
        }
    }
    Some(listed)
}

/// Reads all versions of a key back, each by its id, and holds them against what is known, which then is settled.
async fn read_versions(client: &Client, key: &str, known: &mut Known) -> Option<()> {
    let listed = list_versions(client, key).await?;
    let latest: Vec<&str> = listed.iter().filter(|one| one.latest).map(|one| one.id.as_str()).collect();
    assert_eq!(latest.len(), listed.len().min(1), "{key}: {latest:?} are the latest");
    for version in known.versions.iter().filter(|version| !version.doubtful) {
        assert!(listed.iter().any(|one| one.id == version.id), "{key}: {version:?} is lost");
    }
    let mut found = Vec::new();
    for Listed { id, marker, .. } in &listed {
        assert!(!known.gone.contains(id), "{key}: {id} was deleted and is back");
        let get = Call::new(Method::GET, &path(key)).query("versionId", id);
        let (status, headers, body) = client.send(get).await?;
        let expected = if *marker { StatusCode::METHOD_NOT_ALLOWED } else { StatusCode::OK };
        assert_eq!(status, expected, "{key}: {id}: {}", String::from_utf8_lossy(&body));
        assert_eq!(headers["x-amz-version-id"], **id);
        let is = |content: &Option<Vec<Content>>| match content {
            Some(parts) => !marker && parts.iter().map(|part| part.bytes()).collect::<Vec<_>>().concat() == *body,
            None => *marker,
        };
        let content = match known.versions.iter().find(|version| version.id == *id) {
            Some(version) => {
                assert!(is(&version.content), "{key}: {version:?} came back as {} bytes", body.len());
                version.content.clone()
            }
            None => {
                // What was not answered was done once at most.
                let at = known.maybe.iter().position(is);
                let at = at.unwrap_or_else(|| panic!("{key}: nobody wrote {id}, {} bytes, of {known:?}", body.len()));
                known.maybe.swap_remove(at)
            }
        };
        found.push(Version { id: id.clone(), content, doubtful: false });
    }
    // Names tell the order.
    found.sort_by(|a, b| a.id.cmp(&b.id));
    let position = |version: &Version| found.iter().position(|found| found.id == version.id);
    assert!(
        known.versions.iter().filter_map(position).is_sorted(),
        "{key}: {found:?} is not in the order of {known:?}"
    );
    assert_eq!(found.last().map(|version| version.id.as_str()), latest.first().copied(), "{key}: {found:?}");

    let (status, headers, body) = client.send(Call::new(Method::GET, &path(key))).await?;
    match found.last() {
        Some(Version { content: Some(parts), id, .. }) => {
            assert_eq!((status, headers["x-amz-version-id"].to_str().unwrap()), (StatusCode::OK, id.as_str()), "{key}");
            assert!(parts.iter().map(|part| part.bytes()).collect::<Vec<_>>().concat() == *body, "{key}");
        }
        hidden => {
            assert_eq!(status, StatusCode::NOT_FOUND, "{key}");
            assert_eq!(headers.contains_key("x-amz-delete-marker"), hidden.is_some(), "{key}");
        }
    }
    for id in known.gone.iter().rev().take(2) {
        let get = Call::new(Method::GET, &path(key)).query("versionId", id);
        assert_eq!(client.send(get).await?.0, StatusCode::NOT_FOUND, "{key}: {id} was deleted");
    }
    let gone = std::mem::take(&mut known.gone);
    *known = Known { versions: found, gone, ..Known::default() };
    Some(())
}

/// The shard files below a directory of volumes.
pub fn files(volumes: &Path) -> u64 {
    let mut count = 0;
    for volume in std::fs::read_dir(volumes).unwrap() {
        for fan_out in std::fs::read_dir(volume.unwrap().path().join("shards")).unwrap() {
            count += std::fs::read_dir(fan_out.unwrap().path()).unwrap().count() as u64;
        }
    }
    count
}

/// The files in quarantine below a directory of volumes.
pub fn quarantined(volumes: &Path) -> usize {
    let volumes = std::fs::read_dir(volumes).unwrap();
    volumes.map(|volume| std::fs::read_dir(volume.unwrap().path().join("quarantine")).unwrap().count()).sum()
}

/// What `ninefold check` finds to be in order.
///
/// # Panics
/// If it is not.
pub fn check(server: &Server, more: &[&str]) -> serde_json::Value {
    let output = server.command(&[&["check", "--json"], more].concat()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "check: {}\n{said}{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        server.output()
    );
    serde_json::from_str(said.lines().last().unwrap()).unwrap()
}

/// What `ninefold status` says.
pub fn status(server: &Server) -> serde_json::Value {
    let output = server.command(&["status", "--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until no file is left that no row names, and nothing waits for healing.
pub fn until_tidy(server: &Server, volumes: &Path, within: Duration) {
    let deadline = Instant::now() + within;
    loop {
        let summary = check(server, &[]);
        let on_disk = files(volumes);
        // What a healer was writing when it died is kept until its time is over.
        let named = summary["files"].as_u64().unwrap() + summary["pending"].as_u64().unwrap();
        if named == on_disk && summary["unhealed"] == 0 && quarantined(volumes) == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{on_disk} files are there: {summary}\n{}", server.output());
        std::thread::sleep(Duration::from_millis(200));
    }
}
