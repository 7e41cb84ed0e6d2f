//! What rows say about access: ACLs and classes of objects, and what decides of buckets.

use ninefold::access::PublicAccessBlock;
use ninefold::access::acl::{Acl, Grant, Grantee, Group, Ownership, Permission};
use ninefold::metadata::*;

use crate::fixture::*;
use crate::packed::{Pack, put};

on_both!(
    an_object_keeps_its_acl_and_class_as_a_version,
    an_upload_gives_its_acl_to_its_object,
    a_copy_has_an_acl_of_its_own,
    what_decides_of_a_bucket_is_one_answer,
    buckets_made_at_once_are_all_counted,
);

fn readable() -> Acl {
    let mut acl = Acl::private("owner");
    acl.0.push(Grant { to: Grantee::Group(Group::AllUsers), may: Permission::Read });
    acl
}

async fn of(f: &Fixture, key: &str, version: Option<&VersionId>) -> (Option<Acl>, StorageClass) {
    let object = f.meta.resolve(BUCKET, key, version, ReadRange::Nothing).await.unwrap().object;
    (object.acl, object.storage_class)
}

async fn an_object_keeps_its_acl_and_class_as_a_version(f: &Fixture) {
    f.meta.change_bucket(BUCKET, &BucketChange::Versioning(Versioning::Enabled)).await.unwrap();
    let mut first = f.put("key", &[10]);
    first.object.acl = Some(readable());
    first.object.storage_class = StorageClass::ReducedRedundancy;
    let first = f.meta.commit_put(&first).await.unwrap().unwrap();
    let second = f.meta.commit_put(&f.put("key", &[10])).await.unwrap().unwrap();
    let kept = (Some(readable()), StorageClass::ReducedRedundancy);
    assert_eq!(of(f, "key", Some(&first)).await, kept);
    assert_eq!(of(f, "key", None).await, (None, StorageClass::Standard));

    // Each version has its own, wherever its row is.
    let change = |version, acl| async move {
        let change = VersionChange::Acl(acl);
        f.meta.change_version(BUCKET, "key", version, &change, NOW).await
    };
    assert_eq!(change(None, Some(readable())).await.unwrap(), Some(second.clone()));
    change(Some(&first), None).await.unwrap();
    assert_eq!(of(f, "key", Some(&second)).await.0, Some(readable()));
    assert_eq!(of(f, "key", Some(&first)).await, (None, StorageClass::ReducedRedundancy));

    let delete = |version| async move {
        let keys = [DeleteKey { key: "key".into(), version, ..DeleteKey::default() }];
        f.meta.delete(BUCKET, &keys, "owner", NOW).await.unwrap().pop().unwrap().unwrap()
    };
    let marker = delete(None).await.version.unwrap();
    assert!(matches!(change(None, None).await, Err(Error::DeleteMarker { .. })));
    assert!(matches!(change(Some(&marker), None).await, Err(Error::DeleteMarker { .. })));
    delete(Some(marker)).await;
    assert_eq!(of(f, "key", None).await.0, Some(readable()));
    delete(Some(second)).await;
    assert_eq!(of(f, "key", None).await, (None, StorageClass::ReducedRedundancy));
    let query = ListQuery { bucket: BUCKET.into(), limit: 10, ..ListQuery::default() };
    let classes =
        |page: Page<ListedVersion>| page.entries.into_iter().map(|one| one.object.storage_class).collect::<Vec<_>>();
    assert_eq!(classes(f.meta.list_versions(&query, None).await.unwrap()), [StorageClass::ReducedRedundancy]);

    // Small writes go another way.
    let mut pack = Pack::new(f);
    let mut small = put("small", Some(pack.extent(10)));
    if let PackedWrite::Put { object, .. } = &mut small {
        (object.acl, object.storage_class) = kept.clone();
    }
    let plain = put("plain", Some(pack.extent(10)));
    for result in f.meta.commit_packed(&pack.commit(vec![small, plain])).await.unwrap() {
        result.unwrap();
    }
    assert_eq!(of(f, "small", None).await, kept);
    assert_eq!(of(f, "plain", None).await, (None, StorageClass::Standard));
}

async fn an_upload_gives_its_acl_to_its_object(f: &Fixture) {
    let mut upload = new_upload("key", NOW);
    upload.template.acl = Some(readable());
    upload.template.initiator = "somebody else".into();
    upload.template.storage_class = StorageClass::ReducedRedundancy;
    f.meta.create_upload(&upload).await.unwrap();
    let template = f.meta.upload(BUCKET, "key", &upload.id).await.unwrap().template;
    assert_eq!(template, upload.template);
    let query = ListQuery { bucket: BUCKET.into(), limit: 10, ..ListQuery::default() };
    assert_eq!(f.meta.list_uploads(&query, None).await.unwrap().entries[0].template, template);
    f.meta.commit_part(&f.part("key", &upload.id, 1, &[10])).await.unwrap();
    let mut complete = f.complete("key", &upload.id, f.parts("key", &upload.id).await);
    (complete.object.acl, complete.object.storage_class) = (template.acl, template.storage_class);
    f.meta.complete_upload(&complete).await.unwrap();
    assert_eq!(of(f, "key", None).await, (Some(readable()), StorageClass::ReducedRedundancy));
}

async fn a_copy_has_an_acl_of_its_own(f: &Fixture) {
    let mut source = f.put("source", &[10]);
    source.object.acl = Some(readable());
    f.meta.commit_put(&source).await.unwrap();
    let mut copy = f.copy("source", "copy").await;
    copy.object.storage_class = StorageClass::ReducedRedundancy;
    f.meta.commit_copy(&copy).await.unwrap();
    assert_eq!(of(f, "copy", None).await, (None, StorageClass::ReducedRedundancy));
    assert_eq!(of(f, "source", None).await, (Some(readable()), StorageClass::Standard));
}

async fn what_decides_of_a_bucket_is_one_answer(f: &Fixture) {
    let access = |name: &'static str| f.meta.bucket_access(name);
    let before = access(BUCKET).await.unwrap();
    assert_eq!((&*before.owner, &*before.region), ("owner", "us-east-1"));
    assert_eq!((&before.policy, &before.acl, before.ownership, before.block), (&None, &None, None, None));
    assert!(matches!(access("other").await, Err(Error::NoSuchBucket(_))));

    let block = PublicAccessBlock { block_public_policy: true, ..PublicAccessBlock::default() };
    let configs = [
        (ConfigKind::Policy, "{ \"as it\" : \"was sent\" }".to_owned()),
        (ConfigKind::Acl, serde_json::to_string(&readable()).unwrap()),
        (ConfigKind::Ownership, serde_json::to_string(&Ownership::ObjectWriter).unwrap()),
        (ConfigKind::PublicAccessBlock, serde_json::to_string(&block).unwrap()),
    ];
    let new = NewBucket {
        name: "other".into(),
        region: "r".into(),
        owner: "somebody".into(),
        lock: false,
        configs: configs.to_vec(),
        created: NOW,
    };
    let id = f.meta.create_bucket(&new).await.unwrap().id;
    let expected = BucketAccess {
        id,
        owner: "somebody".into(),
        region: "r".into(),
        policy: Some(configs[0].1.clone()),
        acl: Some(readable()),
        ownership: Some(Ownership::ObjectWriter),
        block: Some(block),
        counted: false,
        generation: before.generation + 1,
    };
    assert_eq!(access("other").await.unwrap(), expected);
    assert!(matches!(f.meta.create_bucket(&new).await, Err(Error::BucketExists(_))));
    assert_eq!(f.meta.access_generation().await.unwrap(), expected.generation, "nothing changed");

    // Each change of these counts, and of no other kind.
    let mut generation = expected.generation;
    for (kind, body) in &configs {
        for body in [None, Some(body.as_str())] {
            f.meta.set_bucket_config("other", *kind, body).await.unwrap();
            generation += 1;
            assert_eq!(f.meta.access_generation().await.unwrap(), generation);
        }
        let swap = |old, new| f.meta.swap_bucket_config("other", *kind, old, new);
        assert!(!swap(None, Some("x")).await.unwrap());
        assert_eq!(f.meta.access_generation().await.unwrap(), generation);
        assert!(swap(Some(body.as_str()), Some(body.as_str())).await.unwrap());
        generation += 1;
        assert_eq!(f.meta.access_generation().await.unwrap(), generation);
    }
    assert_eq!(access("other").await.unwrap(), BucketAccess { generation, ..expected });
    f.meta.set_bucket_config("other", ConfigKind::Tagging, Some("{}")).await.unwrap();
    assert_eq!(f.meta.access_generation().await.unwrap(), generation);
    f.meta.delete_bucket("other", NOW).await.unwrap();
    assert_eq!(f.meta.access_generation().await.unwrap(), generation + 1);
    assert!(matches!(access("other").await, Err(Error::NoSuchBucket(_))));
    // A bucket of the same name begins anew.
    f.bucket("other").await;
    assert_eq!(access("other").await.unwrap().policy, None);
}

async fn buckets_made_at_once_are_all_counted(f: &Fixture) {
    let before = f.meta.access_generation().await.unwrap();
    let each = (0..20).map(|number| {
        let meta = f.meta.clone();
        async move {
            let new = NewBucket {
                // Some of them are made twice.
                name: format!("bucket-{}", number % 15),
                region: "r".into(),
                owner: "owner".into(),
                lock: false,
                configs: vec![(ConfigKind::Ownership, "\"ObjectWriter\"".into())],
                created: NOW,
            };
            meta.create_bucket(&new).await.is_ok()
        }
    });
    let made = all(each).await.into_iter().filter(|made| *made).count();
    assert_eq!(made, 15);
    assert_eq!(f.meta.access_generation().await.unwrap(), before + 15);
}
