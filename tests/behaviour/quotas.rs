//! Quotas, as clients meet them.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use ninefold::metadata::{self, Headers, ObjectLock, QuotaLimits, QuotaOf, StorageClass, Tags, WriteCondition};
use ninefold::objects::{Error, Expected, PutRequest};

use crate::fixture::{BUCKET, Fixture, MIB, bytes, error, on_both};

impl Fixture {
    async fn limit(&self, bytes: Option<u64>, objects: Option<u64>) {
        let of = QuotaOf::Bucket(BUCKET.into());
        self.store().metadata().set_quota(&of, QuotaLimits { bytes, objects }).await.unwrap();
    }
}

fn exceeded() -> (u16, String) {
    (403, "QuotaExceeded".into())
}

on_both! {
    async fn what_a_quota_does_not_allow_is_refused_and_leaves_nothing(f: Fixture) {
        f.put("there", bytes(MIB)).await;
        f.limit(Some(2 * MIB as u64), Some(3)).await;
        let put = |key: &str, len| f.s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from(bytes(len))).send();
        let refused = put("large", MIB + 1).await;
        let message = refused.as_ref().unwrap_err().as_service_error().and_then(|error| error.meta().message());
        assert_eq!(message, Some("The quota does not allow this: bucket bucket may hold 2097152 bytes at most."));
        assert_eq!(error(refused), exceeded());
        assert_eq!(error(put("there", 2 * MIB + 1).await), exceeded());
        f.put("small", bytes(1000)).await;
        put("there", 2 * MIB - 1000).await.unwrap();
        assert_eq!(error(put("more", 1).await), exceeded());
        put("empty", 0).await.unwrap();
        assert_eq!(error(put("empty too", 0).await), exceeded());
        let copy = f.s3.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/small"));
        assert_eq!(error(copy.send().await), exceeded());
        let append = f.s3.put_object().bucket(BUCKET).key("small").write_offset_bytes(1000);
        assert_eq!(error(append.body(ByteStream::from(bytes(9))).send().await), exceeded());
        let upload = f.s3.create_multipart_upload().bucket(BUCKET).key("parts").send().await.unwrap();
        let part = f.s3.upload_part().bucket(BUCKET).key("parts").set_upload_id(upload.upload_id).part_number(1);
        assert_eq!(error(part.body(ByteStream::from(bytes(MIB))).send().await), exceeded());

        let keys = ["there", "small", "empty"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
        let delete = Delete::builder().set_objects(Some(keys.into())).build().unwrap();
        let deleted = f.s3.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
        assert_eq!(deleted.errors(), []);
        put("large", MIB + 1).await.unwrap();
        f.assert_well().await;
        f.s3.delete_object().bucket(BUCKET).key("large").send().await.unwrap();
        f.settle().await;
        assert_eq!(f.files().len(), 0, "nothing of what was refused is left");
    }

    async fn what_cannot_fit_is_refused_before_its_body_is_read(f: Fixture) {
        f.limit(Some(MIB as u64), None).await;
        let body = futures_util::stream::poll_fn(|_| panic!("it was read"));
        let request = PutRequest {
            bucket: BUCKET.into(),
            key: "key".into(),
            headers: Headers::default(),
            tags: Tags::new(),
            owner: "owner".into(),
            lock: ObjectLock::default(),
            acl: None,
            storage_class: StorageClass::Standard,
            condition: WriteCondition::default(),
            expected: Expected { len: Some(MIB as u64 + 1), ..Expected::default() },
            body: Box::pin(body),
        };
        let refused = f.store().put(request).await;
        assert!(matches!(refused, Err(Error::Metadata(metadata::Error::QuotaExceeded { .. }))), "{refused:?}");
    }
}
