use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, ObjectAttributes,
};
use ninefold::maintenance::{ExpireUploads, Reclaim};

use crate::fixture::{BUCKET, Fixture, MIB, bytes, error, on_both};

impl Fixture {
    async fn start(&self, key: &str) -> String {
        let created = self.s3.create_multipart_upload().bucket(BUCKET).key(key).send().await.unwrap();
        created.upload_id().unwrap().to_owned()
    }

    async fn part(&self, key: &str, upload: &str, number: i32, content: Vec<u8>) -> CompletedPart {
        let part = self.s3.upload_part().bucket(BUCKET).key(key).upload_id(upload).part_number(number);
        let part = part.body(ByteStream::from(content)).send().await.unwrap();
        CompletedPart::builder()
            .part_number(number)
            .set_e_tag(part.e_tag().map(str::to_owned))
            .set_checksum_crc32(part.checksum_crc32().map(str::to_owned))
            .build()
    }

    fn completion(
        &self,
        key: &str,
        upload: &str,
        parts: Vec<CompletedPart>,
    ) -> aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        self.s3.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(upload).multipart_upload(parts)
    }
}

on_both! {
    async fn a_completion_may_be_asked_for_again(f: Fixture) {
        let upload = f.start("k").await;
        let parts = vec![f.part("k", &upload, 1, bytes(5 * MIB)).await, f.part("k", &upload, 3, bytes(9)).await];
        let complete = |parts: &[CompletedPart]| f.completion("k", &upload, parts.to_vec()).send();
        // Both at once: one of them does it.
        let (first, second) = tokio::join!(complete(&parts), complete(&parts));
        let first = first.unwrap();
        assert_eq!(second.unwrap().e_tag(), first.e_tag());
        let again = complete(&parts).await.unwrap();
        assert_eq!((again.e_tag(), again.checksum_crc64_nvme()), (first.e_tag(), first.checksum_crc64_nvme()));
        assert!(again.checksum_crc64_nvme().is_some());
        assert_eq!(error(complete(&parts[..1]).await), (404, "NoSuchUpload".into()), "that was another completion");
        let elsewhere = f.completion("other", &upload, parts.clone()).send().await;
        assert_eq!(error(elsewhere), (404, "NoSuchUpload".into()));
        f.put("k", "later").await;
        complete(&parts).await.unwrap();
        assert_eq!(f.get("k").await, b"later", "what was done is not done again");
        let aborted = f.start("k").await;
        let part = f.part("k", &aborted, 1, bytes(9)).await;
        f.s3.abort_multipart_upload().bucket(BUCKET).key("k").upload_id(&aborted).send().await.unwrap();
        let never = f.completion("k", &aborted, vec![part]).send().await;
        assert_eq!(error(never), (404, "NoSuchUpload".into()));
        f.s3.delete_object().bucket(BUCKET).key("k").send().await.unwrap();
        f.s3.delete_bucket().bucket(BUCKET).send().await.unwrap();
    }

    async fn parts_become_an_object_without_moving_a_byte(f: Fixture) {
        let contents = [bytes(5 * MIB), bytes(5 * MIB + 7), bytes(3)];
        let upload = f.start("k").await;
        let mut parts = Vec::new();
        for (number, content) in [(1, &contents[0]), (3, &contents[1]), (10_000, &contents[2])] {
            parts.push(f.part("k", &upload, number, content.clone()).await);
        }
        let unused = f.part("k", &upload, 2, bytes(100_000)).await;
        assert!(unused.e_tag().is_some());
        let files = f.files().len();
        assert_eq!(error(f.s3.head_object().bucket(BUCKET).key("k").send().await).0, 404);
        let done = f.completion("k", &upload, parts).send().await.unwrap();
        assert!(done.e_tag().unwrap().ends_with("-3\""), "{:?}", done.e_tag());
        assert_eq!(f.files().len(), files);
        let whole = contents.concat();
        assert!(f.get("k").await == whole);
        let range = f.s3.get_object().bucket(BUCKET).key("k").range(format!("bytes={}-{}", 5 * MIB - 2, 10 * MIB + 8));
        let range = range.send().await.unwrap().body.collect().await.unwrap().to_vec();
        assert!(range == whole[5 * MIB - 2..10 * MIB + 9]);
        let part = f.s3.get_object().bucket(BUCKET).key("k").part_number(3).send().await.unwrap();
        assert_eq!(part.parts_count(), Some(3));
        assert_eq!(part.content_range(), Some(format!("bytes {}-{}/{}", 5 * MIB, 10 * MIB + 6, whole.len()).as_str()));
        assert!(part.body.collect().await.unwrap().to_vec() == contents[1]);
        assert_eq!(error(f.s3.get_object().bucket(BUCKET).key("k").part_number(2).send().await), (416, "InvalidPartNumber".into()));
        assert_eq!(error(f.s3.list_parts().bucket(BUCKET).key("k").upload_id(&upload).send().await), (404, "NoSuchUpload".into()));
        // The part that was not used goes, the others stay.
        f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
        assert_eq!(f.files().len(), files - 9);
        assert!(f.get("k").await == whole);
        let attributes = f.s3.get_object_attributes().bucket(BUCKET).key("k").object_attributes(ObjectAttributes::ObjectParts);
        let attributes = attributes.max_parts(2).send().await.unwrap();
        let parts = attributes.object_parts().unwrap();
        assert_eq!((parts.total_parts_count(), parts.is_truncated()), (Some(3), Some(true)));
        assert_eq!(parts.next_part_number_marker(), Some("3"));
    }

    async fn completions_are_validated(f: Fixture) {
        let upload = f.start("k").await;
        let one = f.part("k", &upload, 1, bytes(5 * MIB - 1)).await;
        let two = f.part("k", &upload, 2, bytes(10)).await;
        let complete = async |parts: Vec<CompletedPart>| error(f.completion("k", &upload, parts).send().await);
        assert_eq!(complete(vec![one.clone(), two.clone()]).await, (400, "EntityTooSmall".into()));
        assert_eq!(complete(vec![two.clone(), one.clone()]).await, (400, "InvalidPartOrder".into()));
        assert_eq!(complete(vec![one.clone(), one.clone()]).await, (400, "InvalidPartOrder".into()));
        let absent = CompletedPart::builder().part_number(3).e_tag("\"x\"").build();
        assert_eq!(complete(vec![absent]).await, (400, "InvalidPart".into()));
        let other = CompletedPart::builder().part_number(2).e_tag(one.e_tag().unwrap()).build();
        assert_eq!(complete(vec![other]).await, (400, "InvalidPart".into()));
        assert_eq!(complete(vec![]).await, (400, "MalformedXML".into()));
        let size = f.completion("k", &upload, vec![one.clone()]).mpu_object_size(5).send().await;
        assert_eq!(error(size), (400, "InvalidRequest".into()));
        f.put("k", "there").await;
        let absent = f.completion("k", &upload, vec![one.clone()]).if_none_match("*").send().await;
        assert_eq!(error(absent), (412, "PreconditionFailed".into()));
        assert_eq!(f.get("k").await, b"there");
        f.completion("k", &upload, vec![one]).mpu_object_size(5 * MIB as i64 - 1).send().await.unwrap();
        assert_eq!(f.get("k").await.len(), 5 * MIB - 1);
        let nowhere = f.s3.upload_part().bucket(BUCKET).key("k").upload_id("nonsense").part_number(1).send().await;
        assert_eq!(error(nowhere), (404, "NoSuchUpload".into()));
        let zero = f.s3.upload_part().bucket(BUCKET).key("k").upload_id("nonsense").part_number(0).send().await;
        assert_eq!(error(zero), (400, "InvalidArgument".into()));
    }

    async fn replaced_aborted_and_expired_parts_leave_nothing(f: Fixture) {
        let reclaim = Reclaim::new(f.store().clone(), Duration::ZERO);
        let upload = f.start("k").await;
        f.part("k", &upload, 1, bytes(100_000)).await;
        f.part("k", &upload, 1, bytes(200_000)).await;
        f.run(&reclaim).await;
        assert_eq!(f.files().len(), 9, "the replaced part is gone");
        let listed = f.s3.list_parts().bucket(BUCKET).key("k").upload_id(&upload).send().await.unwrap();
        assert_eq!(listed.parts()[0].size(), Some(200_000));
        f.s3.abort_multipart_upload().bucket(BUCKET).key("k").upload_id(&upload).send().await.unwrap();
        let again = f.s3.abort_multipart_upload().bucket(BUCKET).key("k").upload_id(&upload).send().await;
        assert_eq!(error(again), (404, "NoSuchUpload".into()));
        f.run(&reclaim).await;
        assert_eq!(f.files().len(), 0);

        let week = Duration::from_secs(7 * 24 * 3600);
        let expire = ExpireUploads::new(f.store().clone(), week);
        let old = f.start("old").await;
        f.clock.advance(week / 2);
        f.part("old", &old, 1, bytes(100_000)).await;
        f.clock.advance(week / 2 + Duration::from_secs(1));
        f.run(&expire).await;
        f.part("old", &old, 2, bytes(100_000)).await;
        f.clock.advance(week + Duration::from_secs(1));
        f.run(&expire).await;
        assert_eq!(error(f.s3.list_parts().bucket(BUCKET).key("old").upload_id(&old).send().await), (404, "NoSuchUpload".into()));
        f.run(&reclaim).await;
        assert_eq!(f.files().len(), 0);
    }

    async fn checksums_of_parts_make_that_of_the_whole(f: Fixture) {
        for kind in [ChecksumType::Composite, ChecksumType::FullObject] {
            let created = f.s3.create_multipart_upload().bucket(BUCKET).key("k");
            let created = created.checksum_algorithm(ChecksumAlgorithm::Crc32).checksum_type(kind.clone());
            let created = created.send().await.unwrap();
            assert_eq!(created.checksum_type(), Some(&kind));
            let upload = created.upload_id().unwrap();
            let parts = vec![
                f.part("k", upload, 1, bytes(5 * MIB)).await,
                f.part("k", upload, 2, bytes(9)).await,
            ];
            assert!(parts.iter().all(|part| part.checksum_crc32().is_some()));
            let mut wrong = parts.clone();
            wrong[0] = CompletedPart::builder().part_number(1).e_tag(parts[0].e_tag().unwrap()).checksum_crc32("AAAAAA==").build();
            assert_eq!(error(f.completion("k", upload, wrong).send().await), (400, "InvalidPart".into()));
            let done = f.completion("k", upload, parts).send().await.unwrap();
            let checksum = done.checksum_crc32().unwrap().to_owned();
            let head = f.s3.head_object().bucket(BUCKET).key("k").checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
            assert_eq!(head.checksum_crc32(), Some(checksum.as_str()));
            assert_eq!(head.checksum_type(), Some(&kind));
            if kind == ChecksumType::FullObject {
                let body = ByteStream::from([bytes(5 * MIB), bytes(9)].concat());
                let put = f.s3.put_object().bucket(BUCKET).key("l").checksum_algorithm(ChecksumAlgorithm::Crc32).body(body);
                assert_eq!(put.send().await.unwrap().checksum_crc32(), Some(checksum.as_str()));
            } else {
                assert!(checksum.ends_with("-2"));
            }
        }
        let impossible = f.s3.create_multipart_upload().bucket(BUCKET).key("k").checksum_algorithm(ChecksumAlgorithm::Sha256);
        let impossible = impossible.checksum_type(ChecksumType::FullObject).send().await;
        assert_eq!(error(impossible), (400, "InvalidRequest".into()));
    }

    async fn uploads_and_parts_are_listed_in_pages(f: Fixture) {
        let mut uploads = Vec::new();
        for key in ["a", "b/1", "b/2", "c", "c"] {
            uploads.push(f.start(key).await);
            f.clock.advance(Duration::from_secs(1));
        }
        let page = f.s3.list_multipart_uploads().bucket(BUCKET).max_uploads(4).send().await.unwrap();
        let ids: Vec<_> = page.uploads().iter().map(|u| u.upload_id().unwrap().to_owned()).collect();
        assert_eq!(ids, uploads[..4]);
        assert_eq!((page.is_truncated(), page.next_key_marker()), (Some(true), Some("c")));
        let rest = f.s3.list_multipart_uploads().bucket(BUCKET).key_marker("c");
        let rest = rest.upload_id_marker(page.next_upload_id_marker().unwrap()).send().await.unwrap();
        assert_eq!(rest.uploads()[0].upload_id(), Some(uploads[4].as_str()));
        assert_eq!(rest.uploads().len(), 1);
        let folded = f.s3.list_multipart_uploads().bucket(BUCKET).delimiter("/").send().await.unwrap();
        assert_eq!(folded.common_prefixes()[0].prefix(), Some("b/"));
        assert_eq!(folded.uploads().len(), 3);
        for number in 1..=5 {
            f.part("a", &uploads[0], number, bytes(number as usize)).await;
        }
        let list = || f.s3.list_parts().bucket(BUCKET).key("a").upload_id(&uploads[0]).max_parts(3);
        let first = list().send().await.unwrap();
        assert_eq!((first.parts().len(), first.next_part_number_marker()), (3, Some("3")));
        let second = list().part_number_marker("3").send().await.unwrap();
        assert_eq!((second.parts().len(), second.is_truncated()), (2, Some(false)));
    }
}
