//! Many clients on few keys, through two instances over one database and the same volumes: what they saw must be what one register
//! a key could have answered, one operation after the other, each somewhere between its call and its answer.
//!
//! Writes are plain and conditional puts, copies, completed uploads, appends, and plain and conditional deletions; reads are GETs and
//! listings: what was written before a listing began is in it. `NINEFOLD_HISTORIES=N` has N histories made.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use ninefold::clock::random_bytes;
use ninefold::instance::Instance;
use tokio::task::JoinSet;

use crate::fixture::{BUCKET, Fixture, client, error};

const KEYS: usize = 3;
const CLIENTS: usize = 8;
/// Operations of a client in one history: with those of listings and copies, which are of several keys, no key gets to 128.
const TURNS: usize = 20;

/// Histories, unless another number was asked for.
const HISTORIES: u64 = 12;

/// What a key holds, by its ETag.
type Value = Option<String>;

#[derive(Debug, Clone)]
enum Did {
    Put(String),
    /// `If-None-Match: *`, and whether it succeeded.
    Create(String, bool),
    /// `If-Match`, and whether it succeeded.
    Swap {
        expected: String,
        new: String,
        done: bool,
    },
    Delete,
    /// A deletion with `If-Match`, and whether it succeeded.
    Remove {
        expected: String,
        done: bool,
    },
    /// A GET, a HEAD, or a listing's word on the key.
    Saw(Value),
}

impl Did {
    /// What the register holds after this; `None` if it cannot have answered so.
    fn after(&self, before: &Value) -> Option<Value> {
        match self {
            Self::Put(new) => Some(Some(new.clone())),
            Self::Create(new, true) => before.is_none().then(|| Some(new.clone())),
            Self::Create(_, false) => before.is_some().then(|| before.clone()),
            Self::Swap { expected, new, done: true } => (before.as_ref() == Some(expected)).then(|| Some(new.clone())),
            Self::Swap { expected, done: false, .. } => (before.as_ref() != Some(expected)).then(|| before.clone()),
            Self::Delete => Some(None),
            Self::Remove { expected, done: true } => (before.as_ref() == Some(expected)).then_some(None),
            Self::Remove { expected, done: false } => (before.as_ref() != Some(expected)).then(|| before.clone()),
            Self::Saw(value) => (value == before).then(|| before.clone()),
        }
    }
}

#[derive(Debug, Clone)]
struct Event {
    called: u64,
    answered: u64,
    did: Did,
}

/// Whether there is an order in which a register does all of this, each between call and answer (Wing and Gong's search, with what was
/// tried before remembered).
fn is_linearizable(history: &[Event]) -> bool {
    assert!(history.len() <= 128, "{} operations on one key", history.len());
    let all = if history.len() == 128 { u128::MAX } else { (1u128 << history.len()) - 1 };
    let mut tried: HashSet<(u128, Value)> = HashSet::new();
    let mut stack = vec![(0u128, None)];
    while let Some((done, value)) = stack.pop() {
        if done == all {
            return true;
        }
        if !tried.insert((done, value.clone())) {
            continue;
        }
        let open = || history.iter().enumerate().filter(|(at, _)| done & (1 << at) == 0);
        let Some(first_answer) = open().map(|(_, event)| event.answered).min() else { continue };
        for (at, event) in open().filter(|(_, event)| event.called < first_answer) {
            if let Some(after) = event.did.after(&value) {
                stack.push((done | 1 << at, after));
            }
        }
    }
    false
}

#[test]
fn the_judge_knows_a_lost_update_and_a_stale_read() {
    let event = |called, answered, did| Event { called, answered, did };
    let put = |called, answered, value: &str| event(called, answered, Did::Put(value.into()));
    let saw = |called, answered, value: Option<&str>| event(called, answered, Did::Saw(value.map(str::to_owned)));
    assert!(is_linearizable(&[put(1, 2, "a"), saw(3, 4, Some("a"))]));
    assert!(is_linearizable(&[put(1, 9, "a"), saw(2, 3, None), saw(4, 5, Some("a"))]));
    assert!(!is_linearizable(&[put(1, 9, "a"), saw(2, 3, Some("a")), saw(4, 5, None)]));
    assert!(!is_linearizable(&[put(1, 2, "a"), put(3, 4, "b"), saw(5, 6, Some("a"))]));
    let swap = |called, answered, new: &str| {
        event(called, answered, Did::Swap { expected: "a".into(), new: new.into(), done: true })
    };
    assert!(is_linearizable(&[put(1, 2, "a"), swap(3, 4, "b")]));
    assert!(!is_linearizable(&[put(1, 2, "a"), swap(3, 6, "b"), swap(4, 5, "c")]), "both cannot have succeeded");
    let create = |called, answered, new: &str, done| event(called, answered, Did::Create(new.into(), done));
    assert!(is_linearizable(&[create(1, 4, "a", true), create(2, 3, "b", false)]));
    assert!(!is_linearizable(&[create(1, 4, "a", true), create(2, 3, "b", true)]));
    assert!(!is_linearizable(&[create(1, 2, "a", false)]));
    let remove = |called, answered, done| event(called, answered, Did::Remove { expected: "a".into(), done });
    assert!(is_linearizable(&[put(1, 2, "a"), remove(3, 6, true), remove(4, 5, false), saw(7, 8, None)]));
    assert!(!is_linearizable(&[put(1, 2, "a"), remove(3, 6, true), remove(4, 5, true)]));
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// An upload in one part; answers when it was asked to be completed, and its ETag.
async fn complete(s3: &Client, key: &str, tick: &impl Fn() -> u64) -> (u64, String) {
    let created = s3.create_multipart_upload().bucket(BUCKET).key(key).send().await.unwrap();
    let upload = created.upload_id().unwrap();
    let body = ByteStream::from(random_bytes::<32>().to_vec());
    let part =
        s3.upload_part().bucket(BUCKET).key(key).upload_id(upload).part_number(1).body(body).send().await.unwrap();
    let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
    let complete = s3.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(upload);
    let complete = complete.multipart_upload(CompletedMultipartUpload::builder().parts(part).build());
    let called = tick();
    (called, complete.send().await.unwrap().e_tag.unwrap())
}

/// One client's operations, by key.
async fn act(s3: Client, prefix: String, time: Arc<AtomicU64>) -> Vec<Vec<Event>> {
    let tick = || time.fetch_add(1, Ordering::SeqCst);
    let mut dice = Dice(u64::from_le_bytes(random_bytes()) | 1);
    let mut events: Vec<Vec<Event>> = vec![Vec::new(); KEYS];
    let mut last_seen: Vec<Value> = vec![None; KEYS];
    let mut sizes: HashMap<Value, i64> = HashMap::new();
    for _ in 0..TURNS {
        let at = dice.roll(KEYS as u64) as usize;
        let key = format!("{prefix}/{at}");
        // No two bodies are the same, so that an ETag says who wrote it. Some are packed, some are not.
        let mut body = random_bytes::<16>().to_vec();
        body.resize(if dice.roll(6) == 0 { 80_000 } else { 16 + dice.roll(3000) as usize }, 7);
        let put = s3.put_object().bucket(BUCKET).key(&key).body(ByteStream::from(body));
        let called = tick();
        let did = match dice.roll(18) {
            0..=2 => Did::Put(put.send().await.unwrap().e_tag.unwrap()),
            3 | 4 => match put.if_none_match("*").send().await {
                Ok(done) => Did::Create(done.e_tag.unwrap(), true),
                refused => {
                    assert_eq!(error(refused), (412, "PreconditionFailed".into()));
                    Did::Create(String::new(), false)
                }
            },
            5 | 6 => {
                let Some(expected) = last_seen[at].clone() else { continue };
                match put.if_match(&expected).send().await {
                    Ok(done) => Did::Swap { expected, new: done.e_tag.unwrap(), done: true },
                    refused => {
                        let (status, code) = error(refused);
                        assert!(status == 412 || status == 404, "{status} {code}");
                        Did::Swap { expected, new: String::new(), done: false }
                    }
                }
            }
            7 => {
                s3.delete_object().bucket(BUCKET).key(&key).send().await.unwrap();
                Did::Delete
            }
            8..=10 => match s3.get_object().bucket(BUCKET).key(&key).send().await {
                Ok(got) => {
                    let tag = got.e_tag.clone().unwrap();
                    sizes.insert(got.e_tag.clone(), got.content_length.unwrap());
                    got.body.collect().await.unwrap();
                    Did::Saw(Some(tag))
                }
                absent => {
                    assert_eq!(error(absent), (404, "NoSuchKey".into()));
                    Did::Saw(None)
                }
            },
            11 | 12 => {
                // A copy reads one key and writes another, with the same ETag.
                let from = (at + 1 + dice.roll(KEYS as u64 - 1) as usize) % KEYS;
                let copy = s3.copy_object().bucket(BUCKET).key(&key).copy_source(format!("{BUCKET}/{prefix}/{from}"));
                let seen = match copy.send().await {
                    Ok(done) => Some(done.copy_object_result.unwrap().e_tag.unwrap()),
                    refused => {
                        assert_eq!(error(refused), (404, "NoSuchKey".into()));
                        None
                    }
                };
                events[from].push(Event { called, answered: tick(), did: Did::Saw(seen.clone()) });
                let Some(new) = seen else { continue };
                Did::Put(new)
            }
            13 => {
                let Some(expected) = last_seen[at].clone() else { continue };
                let removed = s3.delete_object().bucket(BUCKET).key(&key).if_match(&expected).send().await;
                let done = removed.is_ok();
                if !done {
                    let (status, code) = error(removed);
                    assert!(status == 412 || status == 404, "{status} {code}");
                }
                Did::Remove { expected, done }
            }
            14 | 15 => {
                let (Some(expected), Some(size)) = (last_seen[at].clone(), sizes.get(&last_seen[at])) else { continue };
                match put.if_match(&expected).write_offset_bytes(*size).send().await {
                    Ok(done) => {
                        sizes.insert(done.e_tag.clone(), done.size.unwrap());
                        Did::Swap { expected, new: done.e_tag.unwrap(), done: true }
                    }
                    refused => {
                        let (status, code) = error(refused);
                        assert!(status == 412 || status == 404, "{status} {code}");
                        Did::Swap { expected, new: String::new(), done: false }
                    }
                }
            }
            16 => {
                let (called, tag) = complete(&s3, &key, &tick).await;
                events[at].push(Event { called, answered: tick(), did: Did::Put(tag) });
                continue;
            }
            _ => {
                let listed = s3.list_objects_v2().bucket(BUCKET).prefix(format!("{prefix}/")).send().await.unwrap();
                let answered = tick();
                for (at, events) in events.iter_mut().enumerate() {
                    let key = format!("{prefix}/{at}");
                    let entry = listed.contents().iter().find(|object| object.key() == Some(&key));
                    let value = entry.map(|object| object.e_tag().unwrap().to_owned());
                    events.push(Event { called, answered, did: Did::Saw(value) });
                }
                continue;
            }
        };
        last_seen[at] = match &did {
            Did::Put(new) | Did::Create(new, true) | Did::Swap { new, done: true, .. } => Some(new.clone()),
            Did::Saw(value) => value.clone(),
            _ => last_seen[at].take(),
        };
        events[at].push(Event { called, answered: tick(), did });
    }
    events
}

async fn histories(clients: &[Client]) {
    let count = std::env::var("NINEFOLD_HISTORIES")
        .map_or(HISTORIES, |count| count.parse().expect("NINEFOLD_HISTORIES is a number"));
    for number in 0..count {
        let time = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for client in 0..CLIENTS {
            let s3 = clients[client % clients.len()].clone();
            tasks.spawn(act(s3, format!("history-{number}"), Arc::clone(&time)));
        }
        let mut all: Vec<Vec<Event>> = vec![Vec::new(); KEYS];
        while let Some(events) = tasks.join_next().await {
            for (all, events) in all.iter_mut().zip(events.unwrap()) {
                all.extend(events);
            }
        }
        for mut history in all {
            history.sort_by_key(|event| event.called);
            assert!(is_linearizable(&history), "no register does this: {history:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_are_one_store() {
    let f = Fixture::postgres().await;
    let other = Instance::open(f.config.clone()).await.unwrap();
    let second = client(other.store(), other.deployment());
    histories(&[f.s3.clone(), second]).await;
    f.assert_well().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_on_sqlite_is_one_store() {
    let f = Fixture::sqlite().await;
    histories(std::slice::from_ref(&f.s3)).await;
    f.assert_well().await;
}
