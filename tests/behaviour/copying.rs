use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MetadataDirective, TaggingDirective};
use ninefold::maintenance::Reclaim;

use crate::fixture::{BUCKET, Fixture, MIB, bytes, error, on_both};

on_both! {
    async fn a_copy_moves_no_byte_and_outlives_its_source(f: Fixture) {
        let content = bytes(9 * MIB);
        let put = f.s3.put_object().bucket(BUCKET).key("a").metadata("m", "1").tagging("t=1").content_type("text/x");
        put.body(ByteStream::from(content.clone())).send().await.unwrap();
        let files = f.files().len();
        let copied = f.s3.copy_object().bucket(BUCKET).key("b ü").copy_source(format!("{BUCKET}/a")).send().await.unwrap();
        assert_eq!(f.files().len(), files);
        let head = f.s3.head_object().bucket(BUCKET).key("b ü").send().await.unwrap();
        assert_eq!(head.e_tag(), copied.copy_object_result().unwrap().e_tag());
        assert_eq!((head.content_type(), head.metadata().unwrap()["m"].as_str()), (Some("text/x"), "1"));
        let replaced = f.s3.copy_object().bucket(BUCKET).key("c").copy_source(format!("{BUCKET}/a"));
        let replaced = replaced.metadata_directive(MetadataDirective::Replace).metadata("n", "2");
        replaced.tagging_directive(TaggingDirective::Replace).tagging("u=2&v=3").send().await.unwrap();
        let got = f.s3.get_object().bucket(BUCKET).key("c").send().await.unwrap();
        assert_eq!((got.metadata().unwrap().get("m"), got.metadata().unwrap()["n"].as_str()), (None, "2"));
        assert_eq!(got.tag_count(), Some(2));
        // Whoever still reads keeps the files.
        drop(got);
        let reclaim = Reclaim::new(f.store().clone(), Duration::ZERO);
        f.s3.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
        f.run(&reclaim).await;
        assert!(f.get("b ü").await == content);
        f.s3.delete_object().bucket(BUCKET).key("b ü").send().await.unwrap();
        f.run(&reclaim).await;
        assert!(f.get("c").await == content);
        f.s3.delete_object().bucket(BUCKET).key("c").send().await.unwrap();
        f.run(&reclaim).await;
        assert_eq!(f.files().len(), 0, "the last reference takes the data along");
    }

    async fn what_a_copy_refuses(f: Fixture) {
        let etag = f.put("a", "x").await;
        let copy = |to: &str| f.s3.copy_object().bucket(BUCKET).key(to).copy_source(format!("{BUCKET}/a"));
        assert_eq!(error(copy("a").send().await), (400, "InvalidRequest".into()));
        copy("a").metadata_directive(MetadataDirective::Replace).metadata("now", "yes").send().await.unwrap();
        let head = f.s3.head_object().bucket(BUCKET).key("a").send().await.unwrap();
        assert_eq!(head.metadata().unwrap()["now"], "yes");
        assert_eq!(error(copy("b").copy_source_if_match("\"other\"").send().await), (412, "PreconditionFailed".into()));
        assert_eq!(error(copy("b").copy_source_if_none_match(&etag).send().await), (412, "PreconditionFailed".into()));
        let absent = f.s3.copy_object().bucket(BUCKET).key("b").copy_source(format!("{BUCKET}/absent")).send().await;
        assert_eq!(error(absent), (404, "NoSuchKey".into()));
        let nowhere = f.s3.copy_object().bucket(BUCKET).key("b").copy_source("nowhere/a").send().await;
        assert_eq!(error(nowhere), (404, "NoSuchBucket".into()));
        assert_eq!(error(f.s3.head_object().bucket(BUCKET).key("b").send().await).0, 404);
    }

    async fn parts_are_copied_from_ranges(f: Fixture) {
        let content = bytes(22 * MIB + 5);
        f.put("a", content.clone()).await;
        let created = f.s3.create_multipart_upload().bucket(BUCKET).key("b").send().await.unwrap();
        let upload = created.upload_id().unwrap();
        let files = f.files().len();
        // Long enough to share the source's chunks, from the middle of one; short: copied; the whole.
        let ranges = [(3 * MIB + 11, 20 * MIB), (0, 6 * MIB), (7, 8)];
        let mut parts = Vec::new();
        let mut expected = Vec::new();
        for (number, (from, to)) in (1..).zip(ranges) {
            let copy = f.s3.upload_part_copy().bucket(BUCKET).key("b").upload_id(upload).part_number(number);
            let copy = copy.copy_source(format!("{BUCKET}/a")).copy_source_range(format!("bytes={from}-{}", to - 1));
            let copied = copy.send().await.unwrap();
            let etag = copied.copy_part_result().unwrap().e_tag().unwrap().to_owned();
            parts.push(CompletedPart::builder().part_number(number).e_tag(etag).build());
            expected.extend_from_slice(&content[from..to]);
            if number == 1 {
                assert_eq!(f.files().len(), files, "a long range is shared");
            }
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let done = f.s3.complete_multipart_upload().bucket(BUCKET).key("b").upload_id(upload).multipart_upload(parts);
        done.send().await.unwrap();
        f.s3.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
        f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
        assert!(f.get("b").await == expected);
        let copy = f.s3.upload_part_copy().bucket(BUCKET).key("b").upload_id(upload).part_number(1);
        let gone = copy.copy_source(format!("{BUCKET}/b")).send().await;
        assert_eq!(error(gone), (404, "NoSuchUpload".into()));
    }

    async fn a_range_behind_the_end_is_no_source(f: Fixture) {
        f.put("a", "12345").await;
        let created = f.s3.create_multipart_upload().bucket(BUCKET).key("b").send().await.unwrap();
        for range in ["bytes=0-5", "bytes=9-10", "bytes=3-2", "bytes=-2", "0-1"] {
            let copy = f.s3.upload_part_copy().bucket(BUCKET).key("b").upload_id(created.upload_id().unwrap()).part_number(1);
            let outcome = copy.copy_source(format!("{BUCKET}/a")).copy_source_range(range).send().await;
            assert_eq!(error(outcome), (400, "InvalidArgument".into()), "{range}");
        }
    }
}
