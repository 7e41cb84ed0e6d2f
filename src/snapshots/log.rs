//! The log of what SQLite's transactions changed since a snapshot: on the volumes within a second, and read back by a restore.
//!
//! What has been committed while the last entries were written is the next file: a small document on every volume. Six of them must
//! have it, so that of nine volumes any six have one that does. A file says which transactions are in it, so that a gap is seen.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_64;

use super::take::SNAPSHOT;
use crate::clock::Millis;
use crate::crash;
use crate::layout::DATA_SHARDS;
use crate::metadata::{self, Change, ChangeFeed, ChangeRecord, Metadata, SCHEMA, read_changes};
use crate::volumes::VolumeSet;

const MAGIC: &str = "ninefold-log";
const VERSION: u32 = 1;
const PREFIX: &str = "log.";

/// How long what was committed may wait for more to go with it.
const GATHER: Duration = Duration::from_millis(250);
/// The pause after a file that too few volumes took.
const PAUSE: Duration = Duration::from_secs(1);

/// When what is committed is on the volumes, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeLogging {
    /// A second later at most.
    #[default]
    Second,
    /// Before anybody is told that it is committed.
    Answer,
}

impl std::str::FromStr for ChangeLogging {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "second" => Ok(Self::Second),
            "answer" => Ok(Self::Answer),
            _ => Err(format!("{text:?} is no time for the log of changes; there are second and answer")),
        }
    }
}

/// A file of the log, by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogName {
    /// The life that it is of.
    pub(super) life: String,
    /// The first transaction in it.
    pub(super) first: u64,
    /// The last.
    pub(super) last: u64,
    /// When it was written, by the database's clock: all that is in it was committed before.
    pub(super) written: Millis,
}

impl LogName {
    fn to_file_name(&self) -> String {
        format!("{PREFIX}{}.{:016x}.{:016x}.{}", self.life, self.first, self.last, self.written)
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut fields = name.strip_prefix(PREFIX)?.split('.');
        let mut next = || fields.next();
        let (life, first, last, written) = (next()?, next()?, next()?, next()?);
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let parsed =
            Self { life: life.into(), first: number(first)?, last: number(last)?, written: written.parse().ok()? };
        (parsed.to_file_name() == name).then_some(parsed)
    }
}

/// What is in a file, under a line with a magic, the format's version and the XXH3-64 of what follows: an LZ4 block of JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    schema: u32,
    deployment: String,
    /// Number and rows of each transaction.
    records: Vec<(u64, String)>,
}

fn encode(deployment: &str, records: &[ChangeRecord]) -> Bytes {
    let records = records.iter().map(|record| (record.seq, record.rows.clone())).collect();
    let content = Content { schema: SCHEMA, deployment: deployment.to_owned(), records };
    // Texts and numbers: there is nothing in it that JSON cannot say.
    let json = serde_json::to_vec(&content).unwrap_or_default();
    let stored = lz4_flex::block::compress_prepend_size(&json);
    let line = format!("{MAGIC} {VERSION} {:016x}\n", xxh3_64(&stored));
    [line.as_bytes(), &stored].concat().into()
}

/// The transactions in a file; `None` if it is damaged or another deployment's.
fn decode(deployment: &str, bytes: &[u8]) -> Option<Vec<(u64, Vec<Change>)>> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let (line, stored) = (std::str::from_utf8(bytes.get(..end)?).ok()?, bytes.get(end + 1..)?);
    let fields: Vec<&str> = line.split(' ').collect();
    let [magic, version, sum] = fields.as_slice() else { return None };
    if *magic != MAGIC || version.parse() != Ok(VERSION) || u64::from_str_radix(sum, 16) != Ok(xxh3_64(stored)) {
        return None;
    }
    let json = lz4_flex::block::decompress_size_prepended(stored).ok()?;
    let content: Content = serde_json::from_slice(&json).ok()?;
    if content.deployment != deployment || content.schema > SCHEMA {
        return None;
    }
    let changes = |(seq, rows): (u64, String)| Some((seq, read_changes(&rows).ok()?));
    content.records.into_iter().map(changes).collect()
}

/// Writes the log of one instance.
#[derive(Debug)]
pub struct LogWriter {
    metadata: Metadata,
    volumes: VolumeSet,
    deployment: String,
    life: String,
    feed: ChangeFeed,
    when: ChangeLogging,
}

impl LogWriter {
    /// A writer of what comes from `feed`. One that goes on after one that was cut short asks for a snapshot: what that one had not
    /// written yet is in no log.
    ///
    /// # Errors
    /// The database's.
    pub async fn new(
        feed: ChangeFeed,
        metadata: &Metadata,
        volumes: &VolumeSet,
        deployment: &str,
        when: ChangeLogging,
        cut_short: bool,
    ) -> Result<Self, metadata::Error> {
        if cut_short {
            metadata.request_job(SNAPSHOT).await?;
        }
        let life = metadata.log_life().await?;
        let (metadata, volumes, deployment) = (metadata.clone(), volumes.clone(), deployment.to_owned());
        Ok(Self { metadata, volumes, deployment, life, feed, when })
    }

    /// Writes the last of it. What cannot be written a snapshot will have to make up for.
    pub async fn close(&self) {
        if !self.flush().await
            && let Err(error) = self.metadata.request_job(SNAPSHOT).await
        {
            tracing::error!(%error, "the log on the volumes has not the last changes, and no snapshot could be asked for");
        }
    }

    /// Writes what is committed until `stop`; what comes after that is for [`LogWriter::close`].
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let before_answers = self.when == ChangeLogging::Answer;
        self.feed.hold_answers(before_answers);
        loop {
            tokio::select! {
                () = self.feed.wait() => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
            // Whoever waits for an answer does not wait for others; what comes meanwhile goes together anyway.
            if !before_answers {
                tokio::time::sleep(GATHER).await;
            }
            if !self.flush().await {
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.feed.hold_answers(false);
    }

    /// Writes what waits; answers whether it could be written.
    async fn flush(&self) -> bool {
        let (records, lost) = self.feed.take();
        if lost {
            tracing::error!(
                "changes of the metadata were lost to the log on the volumes; a snapshot will make up for it"
            );
            if let Err(error) = self.metadata.request_job(SNAPSHOT).await {
                tracing::warn!(%error, "a snapshot could not be asked for");
            }
        }
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return true };
        let (first, last) = (first.seq, last.seq);
        let written = match self.metadata.now().await {
            Ok(now) => now,
            Err(error) => {
                tracing::warn!(%error, "the log on the volumes waits for the database's clock");
                self.feed.put_back(records);
                return false;
            }
        };
        let name = LogName { life: self.life.clone(), first, last, written }.to_file_name();
        let content = encode(&self.deployment, &records);
        crash::point("log.taken");
        let members = self.volumes.members();
        let writes = members.values().map(|member| member.put_document(&name, content.clone()));
        let on = join_all(writes).await.iter().filter(|outcome| outcome.is_ok()).count();
        if on < DATA_SHARDS {
            tracing::error!(on, of = members.len(), "too few volumes take the log of changes: it is behind");
            self.feed.put_back(records);
            return false;
        }
        crash::point("log.written");
        self.feed.set_written(last);
        true
    }
}

/// Removes the files of which everything was committed before `before`: whatever is restored from is newer.
pub(super) async fn prune(volumes: &VolumeSet, before: Millis) {
    for member in volumes.members().values() {
        let Ok(names) = member.documents().await else { continue };
        for name in names {
            if LogName::parse(&name).is_some_and(|log| log.written < before)
                && let Err(error) = member.remove_document(&name).await
            {
                tracing::debug!(%error, "a file of the log could not be removed");
            }
        }
    }
}

/// The files of a life's log that are on the volumes, in order, and which volumes have each.
pub(super) struct Log<'a> {
    volumes: &'a VolumeSet,
    deployment: &'a str,
    files: BTreeMap<(u64, u64), Vec<String>>,
}

impl<'a> Log<'a> {
    pub(super) async fn open(volumes: &'a VolumeSet, deployment: &'a str, life: &str) -> Self {
        let mut files: BTreeMap<(u64, u64), Vec<String>> = BTreeMap::new();
        for member in volumes.members().values() {
            for name in member.documents().await.unwrap_or_default() {
                let Some(log) = LogName::parse(&name).filter(|log| log.life == life) else { continue };
                let names = files.entry((log.first, log.last)).or_default();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        Self { volumes, deployment, files }
    }

    /// The files of which something is behind `after`, by their first and last transaction.
    pub(super) fn behind(&self, after: u64) -> Vec<(u64, u64)> {
        self.files.keys().copied().filter(|&(_, last)| last > after).collect()
    }

    /// The transactions in a file, from whichever volume has it whole.
    pub(super) async fn read(&self, file: (u64, u64)) -> Option<Vec<(u64, Vec<Change>)>> {
        for name in self.files.get(&file)? {
            for member in self.volumes.members().values() {
                if let Ok(Some(bytes)) = member.document(name).await
                    && let Some(records) = decode(self.deployment, &bytes)
                {
                    return Some(records);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_file_s_name_says_what_is_in_it() {
        let log = LogName { life: "0".into(), first: 17, last: 0xfedc, written: 1_700_000_000_000 };
        let name = log.to_file_name();
        assert_eq!(name, "log.0.0000000000000011.000000000000fedc.1700000000000");
        assert_eq!(LogName::parse(&name), Some(log));
        for bad in ["log.0.11.fedc.17", "snapshot.0", "log.0.0000000000000011.000000000000fedc.1.2", "log."] {
            assert_eq!(LogName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_damaged_file_or_another_deployment_s_is_none() {
        let rows = r#"[["data",null,[7,1,100]],["data",[6],null]]"#;
        let records = [ChangeRecord { seq: 3, rows: rows.into() }, ChangeRecord { seq: 4, rows: "[]".into() }];
        let good = encode("d-1", &records);
        assert_eq!(decode("d-1", &good).unwrap(), [(3, read_changes(rows).unwrap()), (4, Vec::new())]);
        assert!(decode("d-2", &good).is_none());
        for at in 0..good.len() {
            let mut bad = good.to_vec();
            bad[at] ^= 1;
            assert!(decode("d-1", &bad).is_none(), "byte {at}");
            assert!(decode("d-1", &good[..at]).is_none(), "only {at} bytes");
        }
    }
}
