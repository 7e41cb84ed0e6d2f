//! Who may do what: accounts, users, policies, ACLs, and nobody in particular.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketCannedAcl, Delete, ObjectCannedAcl, ObjectIdentifier, ObjectOwnership, OwnershipControls,
    OwnershipControlsRule, Tag, Tagging,
};
use ninefold::access::policy::{Policy, PolicyKind};
use ninefold::access::{Account, Identity, Key, Kind, Known, PublicAccessBlock, Secret};

use crate::fixture::{BUCKET, Door, Fixture, SECRET, error, on_both};

pub const OTHER_ID: &str = "222222222222";

/// Root, the account `other`, a user of it, a user of root's account, and nobody.
pub struct People {
    pub door: Door,
    pub root: Client,
    pub other: Client,
    pub other_id: String,
    pub user: Client,
    pub reader: Client,
    pub admin: Client,
    pub nobody: Client,
}

fn policy(text: &str) -> Arc<Policy> {
    Arc::new(Policy::parse(text, PolicyKind::Identity).unwrap())
}

impl People {
    /// `user` is of `other` and may what `policies` say; `reader` is of root's account and may read what begins with `read/`.
    pub fn new(f: &Fixture, policies: &[&str]) -> Self {
        let root = Door::new(f.store(), f.instance.deployment(), Known::default());
        let account = root.directory().root().account.clone();
        let other = Arc::new(Account {
            id: OTHER_ID.into(),
            canonical_id: "2".repeat(64).into(),
            name: "other".into(),
            email: Some("other@example.com".into()),
            public_access_block: PublicAccessBlock::default(),
        });
        let user_of = |account: &Arc<Account>, name: &str, policies: Vec<Arc<Policy>>| Identity {
            kind: Kind::User { id: format!("AIDA{name}").into(), name: name.into(), path: "/".into() },
            policies: policies.into(),
            ..Identity::root(Arc::clone(account), name)
        };
        let reads = r#"{"Version":"2012-10-17","Statement":[
            {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::*/read/*"}]}"#;
        let mut known = Known::default();
        known.add_account(Arc::clone(&other));
        for identity in [
            Identity::root(Arc::clone(&other), "OTHER"),
            user_of(&other, "USER", policies.iter().map(|text| policy(text)).collect()),
            user_of(&account, "READER", vec![policy(reads)]),
            user_of(&account, "ADMIN", vec![policy(r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#)]),
        ] {
            known.add_key(Key::new(identity, Secret::new(SECRET)));
        }
        let door = Door::new(f.store(), f.instance.deployment(), known);
        Self {
            root: door.client(Some("ROOTUSER")),
            other: door.client(Some("OTHER")),
            other_id: other.canonical_id.to_string(),
            user: door.client(Some("USER")),
            reader: door.client(Some("READER")),
            admin: door.client(Some("ADMIN")),
            nobody: door.client(None),
            door,
        }
    }

    /// Root's canonical id.
    pub fn root_id(&self) -> String {
        self.door.directory().root().account.canonical_id.to_string()
    }
}

pub fn denied() -> (u16, String) {
    (403, "AccessDenied".to_owned())
}

/// Lets ACLs and policies of a bucket make public.
pub async fn open(s3: &Client, ownership: ObjectOwnership) {
    s3.delete_public_access_block().bucket(BUCKET).send().await.unwrap();
    let rule = OwnershipControlsRule::builder().object_ownership(ownership).build().unwrap();
    let controls = OwnershipControls::builder().rules(rule).build().unwrap();
    s3.put_bucket_ownership_controls().bucket(BUCKET).ownership_controls(controls).send().await.unwrap();
}

pub async fn allow(s3: &Client, statements: &str) {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    s3.put_bucket_policy().bucket(BUCKET).policy(text).send().await.unwrap();
}

/// What reading a key comes to: its bytes, or status and code.
pub async fn read(s3: &Client, key: &str) -> Result<Vec<u8>, (u16, String)> {
    match s3.get_object().bucket(BUCKET).key(key).send().await {
        Ok(got) => Ok(got.body.collect().await.unwrap().to_vec()),
        refused => Err(error(refused)),
    }
}

pub async fn write(s3: &Client, key: &str) -> Result<(), (u16, String)> {
    let put = s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"x"));
    match put.send().await {
        Ok(_) => Ok(()),
        refused => Err(error(refused)),
    }
}

async fn list(s3: &Client) -> Result<usize, (u16, String)> {
    match s3.list_objects_v2().bucket(BUCKET).send().await {
        Ok(page) => Ok(page.contents().len()),
        refused => Err(error(refused)),
    }
}

on_both! {
    async fn nothing_is_allowed_that_nobody_allowed(f: Fixture) {
        let people = People::new(&f, &[]);
        f.put("k", "x").await;
        for s3 in [&people.other, &people.user, &people.reader, &people.nobody] {
            assert_eq!(read(s3, "k").await, Err(denied()));
            assert_eq!(read(s3, "absent").await, Err(denied()), "nor what is there");
            assert_eq!(write(s3, "k").await, Err(denied()));
            assert_eq!(list(s3).await, Err(denied()));
            assert_eq!(error(s3.delete_object().bucket(BUCKET).key("k").send().await), denied());
            assert_eq!(error(s3.get_bucket_acl().bucket(BUCKET).send().await), denied());
            assert_eq!(error(s3.get_bucket_policy().bucket(BUCKET).send().await), denied());
            assert_eq!(error(s3.delete_bucket().bucket(BUCKET).send().await), denied());
            assert_eq!(error(s3.put_object_tagging().bucket(BUCKET).key("k").tagging(tagging("a", "b")).send().await), denied());
            assert_eq!(error(s3.head_bucket().bucket(BUCKET).send().await).0, 403);
            let copy = s3.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/k"));
            assert_eq!(error(copy.send().await), denied());
            let keys = Delete::builder().objects(ObjectIdentifier::builder().key("k").build().unwrap()).build().unwrap();
            let deleted = s3.delete_objects().bucket(BUCKET).delete(keys).send().await.unwrap();
            assert_eq!(deleted.errors()[0].code(), Some("AccessDenied"));
        }
        assert_eq!(f.get("k").await, b"x");
        for s3 in [&people.user, &people.reader, &people.nobody] {
            assert_eq!(error(s3.list_buckets().send().await), denied());
            assert_eq!(error(s3.create_bucket().bucket("theirs").send().await), denied());
        }
        // An account has buckets of its own, and sees no others.
        people.other.create_bucket().bucket("others").send().await.unwrap();
        let names = |page: aws_sdk_s3::operation::list_buckets::ListBucketsOutput| -> Vec<String> {
            page.buckets().iter().filter_map(|bucket| bucket.name().map(str::to_owned)).collect()
        };
        assert_eq!(names(people.other.list_buckets().send().await.unwrap()), ["others"]);
        assert_eq!(names(people.root.list_buckets().send().await.unwrap()), [BUCKET]);
        let taken = people.other.create_bucket().bucket(BUCKET).send().await;
        assert_eq!(error(taken), (409, "BucketAlreadyExists".into()));
        assert_eq!(error(people.root.head_bucket().bucket("others").send().await).0, 403);
    }

    async fn a_user_may_what_its_policies_say(f: Fixture) {
        let people = People::new(&f, &[
            r#"{"Version":"2012-10-17","Statement":[
                {"Effect":"Allow","Action":["s3:CreateBucket","s3:ListAllMyBuckets"],"Resource":"*"},
                {"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::users*"},
                {"Effect":"Deny","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::users/kept/*"}]}"#,
        ]);
        for key in ["read/a", "secret"] {
            f.put(key, "x").await;
        }
        assert_eq!(read(&people.reader, "read/a").await, Ok(b"x".to_vec()));
        assert_eq!(read(&people.reader, "read/absent").await, Err(denied()), "who may not list learns nothing");
        assert_eq!(read(&people.reader, "secret").await, Err(denied()));
        assert_eq!(write(&people.reader, "read/b").await, Err(denied()));
        // What a user creates is the account's.
        let (s3, bucket) = (&people.user, "users");
        s3.create_bucket().bucket(bucket).send().await.unwrap();
        assert_eq!(people.other.list_buckets().send().await.unwrap().buckets().len(), 1);
        for key in ["kept/a", "gone"] {
            s3.put_object().bucket(bucket).key(key).send().await.unwrap();
        }
        let owner = people.other.list_objects_v2().bucket(bucket).fetch_owner(true).send().await.unwrap();
        assert_eq!(owner.contents()[0].owner().unwrap().id(), Some(&*people.other_id));
        let key = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
        let keys = Delete::builder().objects(key("kept/a")).objects(key("gone")).build().unwrap();
        let deleted = s3.delete_objects().bucket(bucket).delete(keys).send().await.unwrap();
        assert_eq!((deleted.deleted().len(), deleted.errors()[0].key()), (1, Some("kept/a")));
        // The account's policies are about nobody else's buckets.
        assert_eq!(read(&people.user, "secret").await, Err(denied()));
        assert_eq!(error(people.reader.head_bucket().bucket(bucket).send().await).0, 403);
    }

    async fn a_bucket_s_policy_allows_and_denies(f: Fixture) {
        let people = People::new(&f, &[r#"{"Version":"2012-10-17","Statement":[
            {"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::*"}]}"#]);
        open(&people.root, ObjectOwnership::BucketOwnerEnforced).await;
        for key in ["pub/a", "pub/secret", "b"] {
            f.put(key, "x").await;
        }
        let both = format!(r#"
            {{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{BUCKET}/pub/*"}},
            {{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{BUCKET}/pub/secret"}},
            {{"Effect":"Allow","Principal":{{"AWS":"{OTHER_ID}"}},"Action":["s3:ListBucket","s3:PutObject"],
              "Resource":["arn:aws:s3:::{BUCKET}","arn:aws:s3:::{BUCKET}/*"]}}"#);
        allow(&people.root, &both).await;
        for s3 in [&people.nobody, &people.other, &people.user, &people.reader] {
            assert_eq!(read(s3, "pub/a").await, Ok(b"x".to_vec()));
            assert_eq!(read(s3, "pub/secret").await, Err(denied()));
            assert_eq!(read(s3, "b").await, Err(denied()));
        }
        assert_eq!(read(&people.root, "pub/secret").await, Err(denied()), "not even its owner");
        assert_eq!(list(&people.other).await, Ok(3));
        assert_eq!(list(&people.user).await, Err(denied()), "its account may, and has not let it");
        assert_eq!(write(&people.other, "theirs").await, Ok(()));
        let written = people.root.list_objects_v2().bucket(BUCKET).prefix("theirs").fetch_owner(true).send().await.unwrap();
        assert_ne!(written.contents()[0].owner().unwrap().id(), Some(&*people.other_id), "the bucket's owner owns it");
        assert_eq!(read(&people.nobody, "pub/absent").await, Err(denied()));
        assert_eq!(error(people.other.get_object().bucket(BUCKET).key("pub/absent").send().await), (404, "NoSuchKey".into()));
        let status = people.root.get_bucket_policy_status().bucket(BUCKET).send().await.unwrap();
        assert_eq!(status.policy_status().and_then(|status| status.is_public()), Some(true));
        people.root.delete_bucket_policy().bucket(BUCKET).send().await.unwrap();
        assert_eq!(read(&people.nobody, "pub/a").await, Err(denied()));
        // Who locks himself out can let himself in again.
        allow(&people.root, &format!(r#"{{"Effect":"Deny","Principal":"*","Action":"s3:*",
            "Resource":["arn:aws:s3:::{BUCKET}","arn:aws:s3:::{BUCKET}/*"]}}"#)).await;
        assert_eq!(list(&people.root).await, Err(denied()));
        people.root.delete_bucket_policy().bucket(BUCKET).send().await.unwrap();
        assert_eq!(list(&people.root).await, Ok(4));
    }

    async fn conditions_are_about_the_request_and_the_object(f: Fixture) {
        let people = People::new(&f, &[]);
        open(&people.root, ObjectOwnership::BucketOwnerEnforced).await;
        allow(&people.root, &format!(r#"
            {{"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::{BUCKET}",
              "Condition":{{"StringLike":{{"s3:prefix":"open/*"}}}}}},
            {{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",
              "Resource":["arn:aws:s3:::{BUCKET}/open/*","arn:aws:s3:::{BUCKET}/closed/*"]}},
            {{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{BUCKET}/*",
              "Condition":{{"StringEquals":{{"s3:ExistingObjectTag/open":"yes"}}}}}},
            {{"Effect":"Allow","Principal":{{"AWS":"{OTHER_ID}"}},"Action":["s3:PutObject","s3:PutObjectTagging"],
              "Resource":"arn:aws:s3:::{BUCKET}/*",
              "Condition":{{"StringEquals":{{"s3:RequestObjectTag/team":"blue"}}}}}}"#)).await;
        for (key, tags) in [("a", "open=yes"), ("b", "open=no"), ("c", "")] {
            let put = f.s3.put_object().bucket(BUCKET).key(key).set_tagging((!tags.is_empty()).then(|| tags.into()));
            put.send().await.unwrap();
        }
        assert_eq!(read(&people.nobody, "a").await, Ok(Vec::new()));
        assert_eq!(read(&people.nobody, "b").await, Err(denied()));
        assert_eq!(read(&people.nobody, "c").await, Err(denied()));
        let listed = people.nobody.list_objects_v2().bucket(BUCKET).prefix("open/").send().await.unwrap();
        assert_eq!(listed.key_count(), Some(0));
        assert_eq!(read(&people.nobody, "open/absent").await, Err((404, "NoSuchKey".into())), "as he may list it");
        assert_eq!(read(&people.nobody, "closed/absent").await, Err(denied()));
        assert_eq!(list(&people.nobody).await, Err(denied()));
        let put = |tags: &str| people.other.put_object().bucket(BUCKET).key("t").tagging(tags).send();
        put("team=blue").await.unwrap();
        assert_eq!(error(put("team=red").await), denied());
        assert_eq!(write(&people.other, "t").await, Err(denied()));
        let tag = |value| people.other.put_object_tagging().bucket(BUCKET).key("t").tagging(tagging("team", value)).send();
        tag("blue").await.unwrap();
        assert_eq!(error(tag("red").await), denied(), "what the body says counts");
    }

    async fn acls_count_where_they_are_not_disabled(f: Fixture) {
        let people = People::new(&f, &[]);
        open(&people.root, ObjectOwnership::ObjectWriter).await;
        for (key, acl) in [("pub", ObjectCannedAcl::PublicRead), ("auth", ObjectCannedAcl::AuthenticatedRead), ("own", ObjectCannedAcl::Private)] {
            f.s3.put_object().bucket(BUCKET).key(key).acl(acl).send().await.unwrap();
        }
        assert!(read(&people.nobody, "pub").await.is_ok() && read(&people.other, "pub").await.is_ok());
        assert!(read(&people.nobody, "auth").await.is_err() && read(&people.other, "auth").await.is_ok());
        assert!(read(&people.other, "own").await.is_err());
        assert_eq!(list(&people.nobody).await, Err(denied()));
        let acl = |acl| people.root.put_bucket_acl().bucket(BUCKET).acl(acl).send();
        acl(BucketCannedAcl::PublicRead).await.unwrap();
        assert_eq!(list(&people.nobody).await, Ok(3));
        assert_eq!(error(people.nobody.get_object().bucket(BUCKET).key("absent").send().await), (404, "NoSuchKey".into()));
        assert_eq!(write(&people.nobody, "n").await, Err(denied()));
        acl(BucketCannedAcl::PublicReadWrite).await.unwrap();
        write(&people.other, "theirs").await.unwrap();
        // What another account writes is its own: the bucket's owner must be let in.
        assert_eq!(read(&people.root, "theirs").await, Err(denied()));
        assert_eq!(read(&people.other, "theirs").await, Ok(b"x".to_vec()));
        let full = people.other.put_object_acl().bucket(BUCKET).key("theirs").acl(ObjectCannedAcl::BucketOwnerFullControl);
        full.send().await.unwrap();
        assert_eq!(read(&people.root, "theirs").await, Ok(b"x".to_vec()));
        // A policy of the bucket says nothing about them, unless it forbids.
        write(&people.other, "theirs").await.unwrap();
        allow(&people.root, &format!(r#"
            {{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{BUCKET}/theirs"}},
            {{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{BUCKET}/pub"}}"#)).await;
        assert_eq!(read(&people.nobody, "theirs").await, Err(denied()));
        assert_eq!(read(&people.nobody, "pub").await, Err(denied()));
        people.root.delete_bucket_policy().bucket(BUCKET).send().await.unwrap();
        people.root.delete_object().bucket(BUCKET).key("theirs").send().await.unwrap();
        // Once disabled, they count no more, and everything is the bucket's owner's.
        write(&people.other, "theirs").await.unwrap();
        acl(BucketCannedAcl::Private).await.unwrap();
        open(&people.root, ObjectOwnership::BucketOwnerEnforced).await;
        assert_eq!(read(&people.nobody, "pub").await, Err(denied()));
        assert_eq!(read(&people.other, "theirs").await, Err(denied()));
        assert_eq!(read(&people.root, "theirs").await, Ok(b"x".to_vec()));
    }

    async fn who_would_lock_himself_out_is_told_so(f: Fixture) {
        let people = People::new(&f, &[]);
        let deny = format!(r#"{{"Statement":{{"Effect":"Deny","Principal":"*","Action":"s3:PutBucketPolicy",
            "Resource":"arn:aws:s3:::{BUCKET}"}}}}"#);
        let put = || people.admin.put_bucket_policy().bucket(BUCKET).policy(&deny);
        assert_eq!(error(put().send().await), denied());
        put().confirm_remove_self_bucket_access(true).send().await.unwrap();
        assert_eq!(error(put().send().await), denied());
        people.root.put_bucket_policy().bucket(BUCKET).policy(&deny).send().await.unwrap();
        people.admin.delete_bucket_policy().bucket(BUCKET).send().await.unwrap();
    }

    async fn a_copy_needs_both_sides(f: Fixture) {
        let people = People::new(&f, &[]);
        open(&people.root, ObjectOwnership::BucketOwnerEnforced).await;
        f.put("a", "x").await;
        f.put("b", "x").await;
        people.other.create_bucket().bucket("others").send().await.unwrap();
        let copy = |key: &str| {
            people.other.copy_object().bucket("others").key("copy").copy_source(format!("{BUCKET}/{key}")).send()
        };
        assert_eq!(error(copy("a").await), denied());
        allow(&people.root, &format!(r#"{{"Effect":"Allow","Principal":{{"AWS":"{OTHER_ID}"}},"Action":"s3:GetObject",
            "Resource":"arn:aws:s3:::{BUCKET}/a"}}"#)).await;
        copy("a").await.unwrap();
        assert_eq!(error(copy("b").await), denied());
        assert_eq!(error(copy("absent").await), denied());
        let back = people.root.copy_object().bucket(BUCKET).key("c").copy_source("others/copy").send().await;
        assert_eq!(error(back), denied());
        let upload = people.other.create_multipart_upload().bucket("others").key("m").send().await.unwrap();
        let part = people.other.upload_part_copy().bucket("others").key("m").part_number(1);
        let part = part.upload_id(upload.upload_id().unwrap()).copy_source(format!("{BUCKET}/b")).send().await;
        assert_eq!(error(part), denied());
    }

    async fn an_owner_that_is_expected_must_be_it(f: Fixture) {
        let people = People::new(&f, &[]);
        f.put("k", "x").await;
        let get = |owner: &str| people.root.get_object().bucket(BUCKET).key("k").expected_bucket_owner(owner).send();
        let id = people.root.list_buckets().send().await.unwrap().owner().unwrap().id().unwrap().to_owned();
        get(&id).await.unwrap();
        assert_eq!(error(get(OTHER_ID).await), denied());
        assert_eq!(error(get("").await).0, 403);
    }
}

pub fn tagging(key: &str, value: &str) -> Tagging {
    Tagging::builder().tag_set(Tag::builder().key(key).value(value).build().unwrap()).build().unwrap()
}
