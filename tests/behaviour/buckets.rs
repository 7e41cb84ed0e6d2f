use crate::fixture::{BUCKET, Fixture, error, on_both};

on_both! {
    async fn a_bucket_lives_and_dies(f: Fixture) {
        let s3 = &f.s3;
        // As in S3's first region.
        s3.create_bucket().bucket(BUCKET).send().await.unwrap();
        let head = s3.head_bucket().bucket(BUCKET).send().await.unwrap();
        assert_eq!(head.bucket_region(), Some("us-east-1"));
        let location = s3.get_bucket_location().bucket(BUCKET).send().await.unwrap();
        assert!(location.location_constraint().is_none_or(|c| c.as_str().is_empty()));
        f.put("k", "x").await;
        assert_eq!(error(s3.delete_bucket().bucket(BUCKET).send().await), (409, "BucketNotEmpty".into()));
        s3.delete_object().bucket(BUCKET).key("k").send().await.unwrap();
        s3.delete_bucket().bucket(BUCKET).send().await.unwrap();
        assert_eq!(error(s3.delete_bucket().bucket(BUCKET).send().await), (404, "NoSuchBucket".into()));
        assert_eq!(error(s3.head_bucket().bucket(BUCKET).send().await).0, 404);
        assert_eq!(error(s3.get_object().bucket(BUCKET).key("k").send().await), (404, "NoSuchBucket".into()));
        assert_eq!(error(s3.list_objects_v2().bucket(BUCKET).send().await), (404, "NoSuchBucket".into()));
    }

    async fn buckets_are_listed_in_pages(f: Fixture) {
        for name in ["alpha", "beta-1", "beta-2", "beta-3", "gamma"] {
            f.s3.create_bucket().bucket(name).send().await.unwrap();
        }
        let first = f.s3.list_buckets().prefix("beta").max_buckets(2).send().await.unwrap();
        let names = |b: &[aws_sdk_s3::types::Bucket]| b.iter().map(|b| b.name().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(first.buckets()), ["beta-1", "beta-2"]);
        assert_eq!(first.prefix(), Some("beta"));
        let token = first.continuation_token().unwrap();
        let last = f.s3.list_buckets().prefix("beta").max_buckets(2).continuation_token(token).send().await.unwrap();
        assert_eq!(names(last.buckets()), ["beta-3"]);
        assert_eq!(last.continuation_token(), None);
        let all = f.s3.list_buckets().send().await.unwrap();
        assert_eq!(names(all.buckets()), ["alpha", "beta-1", "beta-2", "beta-3", BUCKET, "gamma"]);
        assert_eq!(all.owner().unwrap().id().unwrap().len(), 64);
        assert_eq!(error(f.s3.list_buckets().max_buckets(0).send().await), (400, "InvalidArgument".into()));
        assert_eq!(error(f.s3.list_buckets().continuation_token("!").send().await), (400, "InvalidArgument".into()));
    }

    async fn what_is_not_built_is_not_pretended(f: Fixture) {
        use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
        let create = || f.s3.create_bucket().bucket("other");
        let elsewhere =
            CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::EuWest1).build();
        let outcome = create().create_bucket_configuration(elsewhere).send().await;
        assert_eq!(error(outcome), (400, "IllegalLocationConstraintException".into()));
        assert_eq!(error(f.s3.get_bucket_accelerate_configuration().bucket(BUCKET).send().await), (501, "NotImplemented".into()));
        assert_eq!(error(f.s3.head_bucket().bucket("other").send().await).0, 404);
        let stranger = f.s3.head_bucket().bucket(BUCKET).expected_bucket_owner("123456789012");
        assert_eq!(error(stranger.send().await).0, 403);
    }
}
