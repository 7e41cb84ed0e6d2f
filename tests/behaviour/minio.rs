//! What MinIO has beside S3.

use std::time::Duration;

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use ninefold::maintenance::Reclaim;

use crate::fixture::{BUCKET, Fixture, MIB, bytes, error, on_both};

const FORCE: &str = "x-minio-force-delete";

async fn keep_versions(f: &Fixture) {
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    f.s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(enabled).send().await.unwrap();
}

/// Everything that the bucket holds: keys of versions and of delete markers.
async fn held(f: &Fixture) -> Vec<String> {
    let listed = f.s3.list_object_versions().bucket(BUCKET).send().await.unwrap();
    let versions = listed.versions().iter().map(|version| version.key().unwrap().to_owned());
    let markers = listed.delete_markers().iter().map(|marker| format!("{} deleted", marker.key().unwrap()));
    versions.chain(markers).collect()
}

async fn force_delete(f: &Fixture, key: &str) -> (u16, String) {
    let delete = f.s3.delete_object().bucket(BUCKET).key(key).customize();
    match delete.mutate_request(|request| _ = request.headers_mut().insert(FORCE, "true")).send().await {
        Ok(_) => (204, String::new()),
        outcome => error(outcome),
    }
}

on_both! {
    async fn a_forced_delete_takes_a_key_and_all_below_it(f: Fixture) {
        let keys = ["dir", "dir!", "dir-1", "dir/a", "dir/b/c", "dir0", "other"];
        for key in keys {
            f.put(key, "before").await;
        }
        keep_versions(&f).await;
        for key in keys {
            f.put(key, bytes(MIB)).await;
            f.s3.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
        }
        assert_eq!(force_delete(&f, "dir").await, (204, String::new()));
        let stays = |key: &str| [key.to_owned(), key.to_owned(), format!("{key} deleted")];
        let mut expected: Vec<String> = ["dir!", "dir-1", "dir0", "other"].into_iter().flat_map(stays).collect();
        expected.sort();
        let mut left = held(&f).await;
        left.sort();
        assert_eq!(left, expected);
        assert_eq!(force_delete(&f, "nothing").await, (204, String::new()));
        // With its slash it is only what is below.
        f.put("other/x", "x").await;
        assert_eq!(force_delete(&f, "other/").await, (204, String::new()));
        assert_eq!(held(&f).await.len(), expected.len());
        for key in ["dir!", "dir-1", "dir0", "other"] {
            assert_eq!(force_delete(&f, key).await, (204, String::new()));
        }
        f.store().close_packs().await;
        f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
        assert_eq!(f.files().len(), 0);
    }

    async fn a_forced_delete_of_many_versions_goes_on_page_by_page(f: Fixture) {
        keep_versions(&f).await;
        for n in 0..1005 {
            f.put("k", format!("{n}")).await;
        }
        f.put("k2", "stays").await;
        assert_eq!(force_delete(&f, "k").await, (204, String::new()));
        assert_eq!(held(&f).await, ["k2"]);
    }

    async fn a_forced_delete_that_means_less_is_refused(f: Fixture) {
        f.put("k", "x").await;
        let delete = || f.s3.delete_object().bucket(BUCKET).key("k");
        let forced = |to: &'static str| move |request: &mut aws_smithy_runtime_api::http::Request| {
            request.headers_mut().insert(FORCE, to);
        };
        let of_version = delete().version_id("null").customize().mutate_request(forced("true"));
        assert_eq!(error(of_version.send().await), (400, "InvalidArgument".into()));
        let on_condition = delete().if_match("*").customize().mutate_request(forced("true"));
        assert_eq!(error(on_condition.send().await), (400, "InvalidArgument".into()));
        let odd = delete().customize().mutate_request(forced("yes"));
        assert_eq!(error(odd.send().await), (400, "InvalidArgument".into()));
        assert_eq!(held(&f).await, ["k"]);
        delete().version_id("null").customize().mutate_request(forced("false")).send().await.unwrap();
        assert_eq!(held(&f).await, [""; 0]);
    }

    async fn a_bucket_goes_with_all_it_holds(f: Fixture) {
        f.put("null", "x").await;
        keep_versions(&f).await;
        f.put("a", bytes(MIB)).await;
        f.s3.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
        f.s3.create_multipart_upload().bucket(BUCKET).key("b").send().await.unwrap();
        let delete = |bucket: &str| f.s3.delete_bucket().bucket(bucket);
        assert_eq!(error(delete(BUCKET).send().await), (409, "BucketNotEmpty".into()));
        let force = |request: &mut aws_smithy_runtime_api::http::Request| _ = request.headers_mut().insert(FORCE, "true");
        delete(BUCKET).customize().mutate_request(force).send().await.unwrap();
        assert_eq!(error(f.s3.head_bucket().bucket(BUCKET).send().await).0, 404);
        let again = delete(BUCKET).customize().mutate_request(force).send().await;
        assert_eq!(error(again), (404, "NoSuchBucket".into()));
        f.store().close_packs().await;
        f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
        assert_eq!(f.files().len(), 0);
        // What is locked is not asked for at all.
        f.s3.create_bucket().bucket("locking").object_lock_enabled_for_bucket(true).send().await.unwrap();
        let locked = delete("locking").customize().mutate_request(force).send().await;
        assert_eq!(error(locked), (405, "MethodNotAllowed".into()));
        let object = f.s3.delete_object().bucket("locking").key("k").customize().mutate_request(force).send().await;
        assert_eq!(error(object), (400, "InvalidArgument".into()));
    }
}
