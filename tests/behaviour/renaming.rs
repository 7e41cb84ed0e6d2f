//! RenameObject.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::rename_object::builders::RenameObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use tokio::task::JoinSet;

use crate::fixture::{BUCKET, Fixture, MIB, bytes, error, on_both};

fn rename(s3: &Client, from: &str, to: &str) -> RenameObjectFluentBuilder {
    let from: String = from.split(' ').collect::<Vec<_>>().join("%20");
    s3.rename_object().bucket(BUCKET).key(to).rename_source(format!("/{BUCKET}/{from}"))
}

on_both! {
    async fn an_object_gets_another_key_with_all_that_it_has(f: Fixture) {
        for (len, key) in [(0, "empty"), (5000, "small one"), (9 * MIB, "large")] {
            let put = f.s3.put_object().bucket(BUCKET).key(key).metadata("m", "1").content_type("text/x").tagging("t=1");
            let put = put.body(ByteStream::from(bytes(len))).send().await.unwrap();
            let before = f.s3.head_object().bucket(BUCKET).key(key).send().await.unwrap();
            f.clock.advance(Duration::from_secs(5));
            let files = f.files().len();
            let to = format!("renamed/{key}");
            rename(&f.s3, key, &to).send().await.unwrap();
            assert_eq!(f.files().len(), files, "no byte moves");
            let got = f.s3.get_object().bucket(BUCKET).key(&to).send().await.unwrap();
            assert_eq!((got.e_tag(), got.last_modified()), (put.e_tag(), before.last_modified()));
            assert_eq!((got.content_type(), got.metadata().unwrap()["m"].as_str(), got.tag_count()), (Some("text/x"), "1", Some(1)));
            assert!(got.body.collect().await.unwrap().to_vec() == bytes(len));
            assert_eq!(error(f.s3.get_object().bucket(BUCKET).key(key).send().await), (404, "NoSuchKey".into()));
            assert_eq!(error(rename(&f.s3, key, "other").send().await), (404, "NoSuchKey".into()));
        }
        let listed = f.s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
        let keys: Vec<_> = listed.contents().iter().map(|object| object.key().unwrap()).collect();
        assert_eq!(keys, ["renamed/empty", "renamed/large", "renamed/small one"]);
        // Renamed over each other: what is replaced goes, what is packed moves on.
        rename(&f.s3, "renamed/small one", "renamed/large").send().await.unwrap();
        f.settle().await;
        assert!(f.get("renamed/large").await == bytes(5000));
        f.assert_well().await;
        for key in ["renamed/large", "renamed/empty"] {
            f.s3.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
        }
        f.settle().await;
        assert_eq!(f.files().len(), 0);
    }

    async fn a_rename_has_conditions_on_both_keys(f: Fixture) {
        let a = f.put("a", "a").await;
        let b = f.put("b", "b").await;
        let now = DateTime::from_secs(1_700_000_000);
        let (before, after) = (DateTime::from_secs(1_699_999_999), DateTime::from_secs(1_700_000_001));
        f.clock.advance(Duration::from_secs(60));
        let to = |key: &str| rename(&f.s3, "a", key);
        for refused in [
            to("b").destination_if_none_match("*"),
            to("b").destination_if_match(&a),
            to("c").destination_if_match("*"),
            to("c").destination_if_modified_since(before),
            to("b").destination_if_modified_since(now),
            to("b").destination_if_unmodified_since(before),
            to("b").source_if_match(&b),
            to("b").source_if_none_match(&a),
            to("b").source_if_none_match("*"),
            to("b").source_if_modified_since(after),
            to("b").source_if_unmodified_since(before),
        ] {
            assert_eq!(error(refused.clone().send().await), (412, "PreconditionFailed".into()), "{refused:?}");
        }
        let nowhere = f.s3.rename_object().bucket("nowhere").key("b").rename_source("nowhere/a");
        assert_eq!(error(nowhere.send().await), (404, "NoSuchBucket".into()));
        assert_eq!(error(to("a").send().await), (400, "InvalidRequest".into()));
        for source in ["other/a", "a", "bucket/a?versionId=null"] {
            let rename = f.s3.rename_object().bucket(BUCKET).key("b").rename_source(source);
            assert_eq!(error(rename.send().await), (400, "InvalidArgument".into()), "{source}");
        }
        assert_eq!((f.get("a").await, f.get("b").await), (b"a".to_vec(), b"b".to_vec()));
        let allowed = to("b").destination_if_match(&b).source_if_match(&a).source_if_modified_since(before);
        allowed.destination_if_unmodified_since(before).send().await.unwrap();
        assert_eq!(f.get("b").await, b"a");
        rename(&f.s3, "b", "c").destination_if_none_match("*").source_if_unmodified_since(now).send().await.unwrap();
        assert_eq!(f.get("c").await, b"a");
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        f.s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(enabled).send().await.unwrap();
        assert_eq!(error(rename(&f.s3, "c", "d").send().await), (501, "NotImplemented".into()));
    }

    async fn a_rename_may_be_asked_for_again(f: Fixture) {
        f.put("a", "a").await;
        let first = rename(&f.s3, "a", "b").client_token("token");
        first.clone().send().await.unwrap();
        first.clone().send().await.unwrap();
        assert_eq!(f.get("b").await, b"a");
        // What came after is not touched by it.
        f.put("a", "another").await;
        first.clone().send().await.unwrap();
        assert_eq!((f.get("a").await, f.get("b").await), (b"another".to_vec(), b"a".to_vec()));
        for other in [rename(&f.s3, "a", "c"), rename(&f.s3, "b", "a"), rename(&f.s3, "a", "b").destination_if_match("*")] {
            let other = other.client_token("token").send().await;
            assert_eq!(error(other), (400, "IdempotencyParameterMismatch".into()));
        }
        assert_eq!(error(rename(&f.s3, "a", "c").client_token("x".repeat(65)).send().await), (400, "InvalidArgument".into()));
        // A request that failed leaves no trace.
        let failed = rename(&f.s3, "a", "b").client_token("second").destination_if_none_match("*");
        assert_eq!(error(failed.send().await), (412, "PreconditionFailed".into()));
        rename(&f.s3, "a", "b").client_token("second").send().await.unwrap();
        assert_eq!(f.get("b").await, b"another");
        f.s3.delete_object().bucket(BUCKET).key("b").send().await.unwrap();
        f.s3.delete_bucket().bucket(BUCKET).send().await.unwrap();
    }

    async fn objects_that_are_renamed_at_once_are_all_there(f: Fixture) {
        const KEYS: usize = 6;
        const TURNS: usize = 25;
        for n in 0..KEYS {
            f.put(&n.to_string(), bytes(if n % 2 == 0 { 100 + n } else { 70_000 + n })).await;
        }
        // Nothing is overwritten, so that nothing is ever lost, whoever is first.
        let mut tasks = JoinSet::new();
        for client in 0..4usize {
            let s3 = f.s3.clone();
            tasks.spawn(async move {
                for turn in 0..TURNS {
                    let (from, to) = ((client * 7 + turn * 5) % (KEYS + 2), (client * 3 + turn * 11 + 1) % (KEYS + 2));
                    if from == to {
                        continue;
                    }
                    let rename = rename(&s3, &from.to_string(), &to.to_string()).destination_if_none_match("*");
                    if let Err(refused) = rename.send().await {
                        let (status, code) = error::<(), _>(Err(refused));
                        assert!(status == 412 || status == 404, "{status} {code}");
                    }
                }
            });
        }
        // A listing is of one moment.
        let s3 = f.s3.clone();
        let lists = tokio::spawn(async move {
            for _ in 0..40 {
                let listed = s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
                assert_eq!(listed.contents().len(), KEYS);
            }
        });
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        lists.await.unwrap();
        let listed = f.s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
        let mut lens = Vec::new();
        for object in listed.contents() {
            let body = f.get(object.key().unwrap()).await;
            assert!(body == bytes(body.len()));
            lens.push(body.len());
        }
        lens.sort_unstable();
        assert_eq!(lens, [100, 102, 104, 70_001, 70_003, 70_005]);
        f.assert_well().await;
    }
}
