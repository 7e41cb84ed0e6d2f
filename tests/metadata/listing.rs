use std::collections::BTreeSet;

use ninefold::metadata::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::fixture::*;

on_both!(
    pages_of_objects_are_what_the_oracle_says,
    pages_of_uploads_are_what_the_oracle_says,
    markers_and_start_after_mean_what_s3_says,
    uploads_of_a_key_are_listed_by_age,
    a_page_of_none_is_not_truncated,
    listed_objects_hold_what_is_printed,
);

/// Few characters, so that prefixes are shared: around the delimiters, what sorts last in UTF-8, and what sorts first.
const ALPHABET: [&str; 9] = ["a", "b", "/", "-", ".", "0", "é", "\u{10ffff}", "\u{1}"];
const DELIMITERS: [&str; 8] = ["", "/", "/", "-", "--", "/-", "é", "\u{10ffff}"];

fn text(longest: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&ALPHABET[..]), 0..=longest).prop_map(|parts| parts.concat())
}

fn query() -> impl Strategy<Value = ListQuery> {
    (text(2), prop::sample::select(&DELIMITERS[..]), text(3), 0..12u32).prop_map(|(prefix, delimiter, after, limit)| {
        ListQuery { bucket: String::new(), prefix, delimiter: delimiter.into(), after, limit, described: false }
    })
}

fn cases() -> impl Strategy<Value = (BTreeSet<String>, Vec<ListQuery>)> {
    let keys = prop::collection::btree_set(text(5).prop_filter("keys have a byte", |key| !key.is_empty()), 0..25);
    (keys, prop::collection::vec(query(), 1..40))
}

fn run_cases(
    cases: impl Strategy<Value = (BTreeSet<String>, Vec<ListQuery>)>,
    mut test: impl AsyncFnMut(BTreeSet<String>, Vec<ListQuery>),
) {
    let test = std::cell::RefCell::new(&mut test);
    let config = Config { cases: 24, max_shrink_iters: 50, failure_persistence: None, ..Config::default() };
    let result = tokio::task::block_in_place(|| {
        TestRunner::new(config).run(&cases, |(keys, queries)| {
            tokio::runtime::Handle::current().block_on((*test.borrow_mut())(keys, queries));
            Ok(())
        })
    });
    result.unwrap();
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Shown<T> {
    Entry(T),
    Prefix(String),
}

/// What is listed, without a limit, of entries in order.
fn oracle<T>(query: &ListQuery, entries: impl IntoIterator<Item = (String, T)>) -> Vec<Shown<T>> {
    let mut shown: Vec<Shown<T>> = Vec::new();
    for (key, entry) in entries {
        let Some(rest) = key.strip_prefix(&query.prefix) else { continue };
        let folded = match query.delimiter.as_str() {
            "" => None,
            delimiter => rest.find(delimiter).map(|at| &key[..query.prefix.len() + at + delimiter.len()]),
        };
        match folded {
            Some(prefix) if prefix == query.after => {}
            Some(prefix) => match shown.last() {
                Some(Shown::Prefix(last)) if last == prefix => {}
                _ => shown.push(Shown::Prefix(prefix.into())),
            },
            None => shown.push(Shown::Entry(entry)),
        }
    }
    shown
}

/// Checks a page against all that is listed from its query on.
fn compare<T: Clone + PartialEq + std::fmt::Debug>(query: &ListQuery, page: &Page<T>, all: &[Shown<T>]) {
    let limit = query.limit as usize;
    let expected = &all[..all.len().min(limit)];
    let entries: Vec<_> = expected
        .iter()
        .filter_map(|shown| if let Shown::Entry(entry) = shown { Some(entry.clone()) } else { None })
        .collect();
    let prefixes: Vec<_> = expected
        .iter()
        .filter_map(|shown| if let Shown::Prefix(prefix) = shown { Some(prefix.clone()) } else { None })
        .collect();
    assert_eq!(page.entries, entries, "{query:?}");
    assert_eq!(page.common_prefixes, prefixes, "{query:?}");
    assert_eq!(page.truncated, limit > 0 && all.len() > limit, "{query:?}");
    assert_eq!(page.next.is_some(), page.truncated);
}

fn keys_of(page: Page<ListedObject>) -> Page<String> {
    let Page { entries, common_prefixes, truncated, next, next_of_key } = page;
    Page {
        entries: entries.into_iter().map(|entry| entry.key).collect(),
        common_prefixes,
        truncated,
        next,
        next_of_key,
    }
}

async fn pages_of_objects_are_what_the_oracle_says(f: &Fixture) {
    let mut number = 0;
    run_cases(cases(), async |keys: BTreeSet<String>, queries: Vec<ListQuery>| {
        number += 1;
        let bucket = format!("case-{number}");
        f.bucket(&bucket).await;
        for key in &keys {
            f.meta.commit_put(&PutCommit { bucket: bucket.clone(), ..f.put(key, &[]) }).await.unwrap();
        }
        for query in queries {
            let mut query = ListQuery { bucket: bucket.clone(), ..query };
            let mut pages = 0;
            loop {
                let after = keys.iter().filter(|key| **key > query.after).map(|key| (key.clone(), key.clone()));
                let all = oracle(&query, after);
                let page = keys_of(f.meta.list_objects(&query).await.unwrap());
                compare(&query, &page, &all);
                // From page to page nothing is lost and nothing comes twice.
                let Some(next) = page.next else { break };
                query.after = next;
                pages += 1;
                assert!(pages <= keys.len(), "{query:?} goes round in circles");
            }
        }
    });
}

async fn pages_of_uploads_are_what_the_oracle_says(f: &Fixture) {
    let mut number = 0;
    run_cases(cases(), async |keys: BTreeSet<String>, queries: Vec<ListQuery>| {
        number += 1;
        let bucket = format!("case-{number}");
        f.bucket(&bucket).await;
        let mut uploads = BTreeSet::new();
        for (i, key) in keys.iter().enumerate() {
            for age in 0..=i % 3 {
                let upload = NewUpload { bucket: bucket.clone(), ..new_upload(key, NOW - age as i64) };
                f.meta.create_upload(&upload).await.unwrap();
                uploads.insert((key.clone(), upload.id));
            }
        }
        for query in queries {
            // A delimiter that upload ids are full of must not be found in them.
            let delimiter = if query.delimiter == "-" { "0".into() } else { query.delimiter.clone() };
            let mut query = ListQuery { bucket: bucket.clone(), delimiter, ..query };
            let mut after_upload: Option<UploadId> = None;
            let mut pages = 0;
            loop {
                let after = |(key, id): &&(String, UploadId)| match &after_upload {
                    Some(after_id) => (key, id) > (&query.after, after_id),
                    None => *key > query.after,
                };
                let all = oracle(
                    &query,
                    uploads.iter().filter(after).map(|(key, id)| (key.clone(), (key.clone(), id.clone()))),
                );
                let page = f.meta.list_uploads(&query, after_upload.as_ref()).await.unwrap();
                let Page { entries, common_prefixes, truncated, next, next_of_key } = page;
                let entries = entries.into_iter().map(|upload| (upload.template.key, upload.id)).collect();
                let page = Page { entries, common_prefixes, truncated, next, next_of_key };
                compare(&query, &page, &all);
                let Some(next) = page.next else { break };
                (query.after, after_upload) = (next, page.next_of_key.map(UploadId));
                pages += 1;
                assert!(pages <= uploads.len(), "{query:?} goes round in circles");
            }
        }
    });
}

async fn markers_and_start_after_mean_what_s3_says(f: &Fixture) {
    for key in ["a", "a/", "a/b", "a/c", "a0", "b/x", "b/y/z"] {
        f.commit(key, &[]).await;
    }
    let query = |prefix: &str| ListQuery {
        bucket: BUCKET.into(),
        prefix: prefix.into(),
        delimiter: "/".into(),
        limit: 100,
        ..ListQuery::default()
    };
    let list = async |query: ListQuery| {
        let page = f.meta.list_objects(&query).await.unwrap();
        let keys: Vec<_> = page.entries.into_iter().map(|entry| entry.key).collect();
        (keys.join(" "), page.common_prefixes.join(" "))
    };
    let pair = |keys: &str, prefixes: &str| (keys.to_owned(), prefixes.to_owned());
    assert_eq!(list(query("")).await, pair("a a0", "a/ b/"));
    assert_eq!(list(query("a/")).await, pair("a/ a/b a/c", ""));
    assert_eq!(list(query("b/")).await, pair("b/x", "b/y/"));
    // ListObjects: the common prefix that a marker is, or lies within, is behind us.
    for marker in ["a/", "a/b", "a/zz"] {
        assert_eq!(list(query("").after_marker(marker)).await, pair("a0", "b/"), "{marker}");
    }
    assert_eq!(list(query("").after_marker("a")).await, pair("a0", "a/ b/"));
    assert_eq!(list(query("").after_marker("")).await, pair("a a0", "a/ b/"));
    assert_eq!(list(query("a/").after_marker("a/b")).await, pair("a/c", ""));
    // ListObjectsV2: it is shown while a key after start-after is in it.
    assert_eq!(list(query("").after_key("a/")).await, pair("a0", "a/ b/"));
    assert_eq!(list(query("").after_key("a/b")).await, pair("a0", "a/ b/"));
    assert_eq!(list(query("").after_key("a/c")).await, pair("a0", "b/"));
    assert_eq!(list(query("").after_key("")).await, pair("a a0", "a/ b/"));
    assert_eq!(list(query("b/").after_key("a/c")).await, pair("b/x", "b/y/"));
    assert_eq!(list(query("b/").after_key("c")).await, pair("", ""));
}

async fn uploads_of_a_key_are_listed_by_age(f: &Fixture) {
    let mut ids = Vec::new();
    for age in [3, 1, 2] {
        let upload = new_upload("key", NOW - age);
        f.meta.create_upload(&upload).await.unwrap();
        ids.push(upload.id);
    }
    ids.sort();
    let other = f.upload("key/2").await;
    let query = ListQuery { bucket: BUCKET.into(), limit: 10, ..ListQuery::default() };
    let list = async |query: &ListQuery, after: Option<&UploadId>| {
        let page = f.meta.list_uploads(query, after).await.unwrap();
        page.entries.into_iter().map(|upload| upload.id).collect::<Vec<_>>()
    };
    assert_eq!(list(&query, None).await, [ids.clone(), vec![other.clone()]].concat());
    let after_key = ListQuery { after: "key".into(), ..query };
    assert_eq!(list(&after_key, None).await, std::slice::from_ref(&other));
    assert_eq!(list(&after_key, Some(&ids[0])).await, [ids[1].clone(), ids[2].clone(), other]);
}

async fn a_page_of_none_is_not_truncated(f: &Fixture) {
    f.commit("a/b", &[]).await;
    for delimiter in ["", "/"] {
        let query = ListQuery { bucket: BUCKET.into(), delimiter: delimiter.into(), ..ListQuery::default() };
        let page = f.meta.list_objects(&query).await.unwrap();
        assert!(page.entries.is_empty() && page.common_prefixes.is_empty() && !page.truncated && page.next.is_none());
        let query = ListQuery { bucket: "none".into(), limit: 3, ..query };
        assert!(matches!(f.meta.list_objects(&query).await, Err(Error::NoSuchBucket(_))));
        assert!(matches!(f.meta.list_uploads(&query, None).await, Err(Error::NoSuchBucket(_))));
        let query = ListQuery { bucket: "none".into(), limit: 0, ..query };
        assert!(matches!(f.meta.list_objects(&query).await, Err(Error::NoSuchBucket(_))));
    }
}

async fn listed_objects_hold_what_is_printed(f: &Fixture) {
    let mut commit = f.put("dir/key", &[70, 7]);
    commit.object.checksum =
        Some(Checksum { algorithm: ChecksumAlgorithm::Sha256, kind: ChecksumType::Composite, value: "x-2".into() });
    commit.object.storage_class = StorageClass::ReducedRedundancy;
    f.meta.commit_put(&commit).await.unwrap();
    let expected = ListedObject {
        key: "dir/key".into(),
        size: 77,
        etag: commit.object.etag,
        modified: NOW,
        checksum: Some((ChecksumAlgorithm::Sha256, ChecksumType::Composite)),
        owner: "owner".into(),
        storage_class: StorageClass::ReducedRedundancy,
        description: None,
    };
    for (prefix, delimiter) in [("", ""), ("dir/", "/"), ("d", "#")] {
        let (prefix, delimiter) = (prefix.into(), delimiter.into());
        let query = ListQuery { bucket: BUCKET.into(), prefix, delimiter, limit: 5, ..ListQuery::default() };
        assert_eq!(f.meta.list_objects(&query).await.unwrap().entries, std::slice::from_ref(&expected));
        let described = f.meta.list_objects(&ListQuery { described: true, ..query.clone() }).await.unwrap().entries;
        let description = Some(Box::new((commit.object.headers.clone(), commit.object.tags.clone())));
        assert_eq!(described, [ListedObject { description, ..expected.clone() }]);
        let versions = f.meta.list_versions(&ListQuery { described: true, ..query }, None).await.unwrap().entries;
        assert_eq!(versions.into_iter().map(|listed| listed.object).collect::<Vec<_>>(), described);
    }
}
