use ninefold::metadata::*;

use crate::fixture::*;

on_both!(
    created_once_listed_in_order_and_deleted_when_empty,
    deleting_a_bucket_aborts_its_uploads,
    what_buckets_hold_is_counted,
    a_configuration_is_swapped_if_it_still_is_what_was_read,
    what_is_replicated_keeps_versions,
);

async fn created_once_listed_in_order_and_deleted_when_empty(f: &Fixture) {
    for name in ["b-two", "b-three", "b-one"] {
        f.bucket(name).await;
    }
    let again = NewBucket {
        name: "b-one".into(),
        region: "eu-west-1".into(),
        owner: "other".into(),
        lock: false,
        configs: Vec::new(),
        created: NOW + 1,
    };
    match f.meta.create_bucket(&again).await {
        Err(Error::BucketExists(bucket)) => assert_eq!((bucket.owner.as_str(), bucket.created), ("owner", NOW)),
        other => panic!("{other:?}"),
    }
    let query = BucketQuery { owner: "owner".into(), limit: 10, ..BucketQuery::default() };
    let names = |buckets: Vec<Bucket>| buckets.into_iter().map(|bucket| bucket.name).collect::<Vec<_>>();
    assert_eq!(names(f.meta.list_buckets(&query).await.unwrap()), ["b-one", "b-three", "b-two", BUCKET]);
    let page = BucketQuery { prefix: "b-".into(), after: "b-one".into(), limit: 1, ..query.clone() };
    assert_eq!(names(f.meta.list_buckets(&page).await.unwrap()), ["b-three"]);
    let other = BucketQuery { owner: "other".into(), ..query.clone() };
    assert!(f.meta.list_buckets(&other).await.unwrap().is_empty());
    let elsewhere = BucketQuery { region: Some("eu-west-1".into()), ..query };
    assert!(f.meta.list_buckets(&elsewhere).await.unwrap().is_empty());

    f.commit("key", &[10]).await;
    assert!(matches!(f.meta.delete_bucket(BUCKET, NOW).await, Err(Error::BucketNotEmpty(_))));
    f.delete("key").await;
    f.meta.delete_bucket(BUCKET, NOW).await.unwrap();
    assert!(matches!(f.meta.bucket(BUCKET).await, Err(Error::NoSuchBucket(_))));
    assert!(matches!(f.meta.delete_bucket(BUCKET, NOW).await, Err(Error::NoSuchBucket(_))));
    assert!(matches!(f.meta.commit_put(&f.put("key", &[1])).await, Err(Error::NoSuchBucket(_))));
    // A bucket of the same name is another bucket.
    let old = f.meta.bucket("b-one").await.unwrap().id;
    f.meta.delete_bucket("b-one", NOW).await.unwrap();
    assert!(f.bucket("b-one").await.id > old);
}

async fn deleting_a_bucket_aborts_its_uploads(f: &Fixture) {
    let upload = f.upload("key").await;
    for number in 1..=3 {
        f.meta.commit_part(&f.part("key", &upload, number, &[100])).await.unwrap();
    }
    f.meta.delete_bucket(BUCKET, NOW).await.unwrap();
    f.bucket(BUCKET).await;
    assert!(matches!(f.meta.upload(BUCKET, "key", &upload).await, Err(Error::NoSuchUpload { .. })));
    let folded = f.fold_all().await;
    assert_eq!((folded.data, folded.chunks), (3, 3));
}

async fn what_buckets_hold_is_counted(f: &Fixture) {
    f.bucket("empty").await;
    f.commit("one", &[10]).await;
    f.commit("two", &[7, 5]).await;
    f.commit("nothing", &[]).await;
    let bucket = |name: &str, objects, versions, markers, bytes| {
        let name = name.into();
        BucketUsage { name, objects, versions, markers, bytes }
    };
    assert_eq!(f.meta.bucket_usage().await.unwrap(), [bucket(BUCKET, 3, 3, 0, 22), bucket("empty", 0, 0, 0, 0)]);
    f.meta.change_bucket(BUCKET, &BucketChange::Versioning(Versioning::Enabled)).await.unwrap();
    f.commit("one", &[30]).await;
    f.delete("two").await;
    assert_eq!(f.meta.bucket_usage().await.unwrap()[0], bucket(BUCKET, 2, 5, 1, 52));
    assert_eq!(f.meta.bucket_count().await.unwrap(), 2);
}

async fn a_configuration_is_swapped_if_it_still_is_what_was_read(f: &Fixture) {
    let kind = ConfigKind::Inventory;
    let swap = |old, new| f.meta.swap_bucket_config(BUCKET, kind, old, new);
    assert!(!swap(Some("1"), Some("2")).await.unwrap());
    assert!(swap(None, Some("1")).await.unwrap());
    assert!(!swap(None, Some("2")).await.unwrap());
    assert!(!swap(Some("0"), Some("2")).await.unwrap());
    assert!(!swap(Some("0"), None).await.unwrap());
    assert!(swap(Some("1"), Some("2")).await.unwrap());
    assert_eq!(f.meta.bucket_config(BUCKET, kind).await.unwrap().as_deref(), Some("2"));
    assert!(swap(Some("2"), None).await.unwrap());
    assert_eq!(f.meta.bucket_config(BUCKET, kind).await.unwrap(), None);
    assert!(matches!(f.meta.swap_bucket_config("none", kind, None, Some("1")).await, Err(Error::NoSuchBucket(_))));
}

async fn what_is_replicated_keeps_versions(f: &Fixture) {
    let replicate = |body| f.meta.set_bucket_config(BUCKET, ConfigKind::Replication, body);
    let versioning = |to| {
        let change = BucketChange::Versioning(to);
        async move { f.meta.change_bucket(BUCKET, &change).await }
    };
    assert!(matches!(replicate(Some("{}")).await, Err(Error::NotVersioned(_))));
    versioning(Versioning::Suspended).await.unwrap();
    assert!(matches!(replicate(Some("{}")).await, Err(Error::NotVersioned(_))));
    replicate(None).await.unwrap();
    versioning(Versioning::Enabled).await.unwrap();
    replicate(Some("{}")).await.unwrap();
    assert!(matches!(versioning(Versioning::Suspended).await, Err(Error::Replicated(_))));
    versioning(Versioning::Enabled).await.unwrap();
    replicate(None).await.unwrap();
    versioning(Versioning::Suspended).await.unwrap();
}
