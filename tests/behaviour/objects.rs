use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, Delete, ObjectAttributes, ObjectIdentifier};

use crate::fixture::{BUCKET, Fixture, MIB, bytes, error, on_both};

on_both! {
    async fn what_is_put_is_got(f: Fixture) {
        for len in [0, 1, 1000, MIB, 4 * MIB, 9 * MIB + 17] {
            let content = bytes(len);
            let etag = f.put("k", content.clone()).await;
            let head = f.s3.head_object().bucket(BUCKET).key("k").send().await.unwrap();
            assert_eq!(head.content_length(), Some(len as i64));
            assert_eq!(head.e_tag(), Some(etag.as_str()));
            assert!(f.get("k").await == content, "{len}");
        }
        assert_eq!(f.put("empty", "").await, "\"d41d8cd98f00b204e9800998ecf8427e\"");
        assert_eq!(f.put("digits", "123456789").await, "\"25f9e794323b453885f5181f1b624d0b\"");
    }

    async fn headers_metadata_and_tags_come_back(f: Fixture) {
        let put = f.s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"x"));
        let put = put.content_type("text/plain").cache_control("no-cache").content_disposition("attachment");
        let put = put.content_encoding("gzip").content_language("de").metadata("One", "1").metadata("two", "zwei");
        put.tagging("a=1&b=2").website_redirect_location("/other").send().await.unwrap();
        let head = f.s3.head_object().bucket(BUCKET).key("k").send().await.unwrap();
        assert_eq!(head.content_type(), Some("text/plain"));
        assert_eq!(head.cache_control(), Some("no-cache"));
        assert_eq!(head.content_disposition(), Some("attachment"));
        assert_eq!(head.content_encoding(), Some("gzip"));
        assert_eq!(head.content_language(), Some("de"));
        assert_eq!(head.website_redirect_location(), Some("/other"));
        let metadata = head.metadata().unwrap();
        assert_eq!((metadata["one"].as_str(), metadata["two"].as_str()), ("1", "zwei"));
        assert_eq!(head.last_modified(), Some(&DateTime::from_secs(1_700_000_000)));
        assert_eq!(head.accept_ranges(), Some("bytes"));
        let got = f.s3.get_object().bucket(BUCKET).key("k");
        let got = got.response_content_type("image/png").response_cache_control("max-age=1").send().await.unwrap();
        assert_eq!((got.content_type(), got.cache_control()), (Some("image/png"), Some("max-age=1")));
        assert_eq!(got.tag_count(), Some(2));
        f.put("plain", "x").await;
        let plain = f.s3.get_object().bucket(BUCKET).key("plain").send().await.unwrap();
        assert_eq!(plain.tag_count(), None);
        let too_much = f.s3.put_object().bucket(BUCKET).key("k").metadata("m", "v".repeat(2048)).send().await;
        assert_eq!(error(too_much), (400, "MetadataTooLarge".into()));
        let fits = f.s3.put_object().bucket(BUCKET).key("k").metadata("m", "v".repeat(2047)).send().await;
        fits.unwrap();
    }

    async fn ranges_are_slices(f: Fixture) {
        let content = bytes(5 * MIB + 3);
        f.put("k", content.clone()).await;
        let len = content.len();
        for (range, from, to) in [
            ("bytes=0-0".to_owned(), 0, 1),
            (format!("bytes=1000-{}", 3 * MIB), 1000, 3 * MIB + 1),
            (format!("bytes={}-", 4 * MIB - 1), 4 * MIB - 1, len),
            ("bytes=-7".to_owned(), len - 7, len),
            (format!("bytes=-{}", 2 * len), 0, len),
            (format!("bytes=5-{}", 2 * len), 5, len),
        ] {
            let got = f.s3.get_object().bucket(BUCKET).key("k").range(&range).send().await.unwrap();
            assert_eq!(got.content_range(), Some(format!("bytes {from}-{}/{len}", to - 1).as_str()), "{range}");
            assert_eq!(got.content_length(), Some((to - from) as i64));
            assert!(got.body.collect().await.unwrap().to_vec() == content[from..to], "{range}");
        }
        for range in [format!("bytes={len}-"), "bytes=-0".to_owned()] {
            let got = f.s3.get_object().bucket(BUCKET).key("k").range(&range).send().await;
            assert_eq!(error(got), (416, "InvalidRange".into()), "{range}");
        }
        f.put("empty", "").await;
        let empty = f.s3.get_object().bucket(BUCKET).key("empty").range("bytes=0-").send().await;
        assert_eq!(error(empty), (416, "InvalidRange".into()));
        let whole = f.s3.get_object().bucket(BUCKET).key("k").part_number(1).send().await.unwrap();
        assert_eq!(whole.content_length(), Some(len as i64));
        let second = f.s3.get_object().bucket(BUCKET).key("k").part_number(2).send().await;
        assert_eq!(error(second), (416, "InvalidPartNumber".into()));
    }

    async fn conditional_reads(f: Fixture) {
        let etag = f.put("k", "x").await;
        let get = || f.s3.get_object().bucket(BUCKET).key("k");
        get().if_match(&etag).send().await.unwrap();
        assert_eq!(error(get().if_match("\"other\"").send().await), (412, "PreconditionFailed".into()));
        assert_eq!(error(get().if_none_match(&etag).send().await).0, 304);
        get().if_none_match("\"other\"").send().await.unwrap();
        let then = DateTime::from_secs(1_700_000_000);
        let before = DateTime::from_secs(1_699_999_999);
        assert_eq!(error(get().if_modified_since(then).send().await).0, 304);
        get().if_modified_since(before).send().await.unwrap();
        assert_eq!(error(get().if_unmodified_since(before).send().await), (412, "PreconditionFailed".into()));
        get().if_unmodified_since(then).send().await.unwrap();
        let head = f.s3.head_object().bucket(BUCKET).key("k").if_none_match(&etag).send().await;
        assert_eq!(error(head).0, 304);
    }

    async fn conditional_writes(f: Fixture) {
        let put = |body: &'static [u8]| f.s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(body));
        assert_eq!(error(put(b"0").if_match("\"x\"").send().await), (404, "NoSuchKey".into()));
        put(b"1").if_none_match("*").send().await.unwrap();
        assert_eq!(error(put(b"2").if_none_match("*").send().await), (412, "PreconditionFailed".into()));
        assert_eq!(error(put(b"3").if_match("\"other\"").send().await), (412, "PreconditionFailed".into()));
        assert_eq!(f.get("k").await, b"1");
        let one = put(b"1").if_none_match("\"other\"").send().await.unwrap().e_tag().unwrap().to_owned();
        assert_eq!(error(put(b"3").if_none_match(&one).send().await), (412, "PreconditionFailed".into()));
        assert_eq!(f.get("k").await, b"1");
        let etag = put(b"4").if_match("*").send().await.unwrap().e_tag().unwrap().to_owned();
        let delete = || f.s3.delete_object().bucket(BUCKET).key("k");
        assert_eq!(error(delete().if_match("\"other\"").send().await), (412, "PreconditionFailed".into()));
        delete().if_match(&etag).send().await.unwrap();
        assert_eq!(error(f.s3.get_object().bucket(BUCKET).key("k").send().await), (404, "NoSuchKey".into()));
        delete().send().await.unwrap();
    }

    async fn odd_keys_are_keys(f: Fixture) {
        let long = "k".repeat(1024);
        let keys = [
            "a", "a/", "a/b", "a//b", "/lead", "../up", "./here", "100%", "%41", "sp ace", "pl+us", "q?x=1&y", "ü/日本/🦀",
            "new\nline", "\u{7f}", "back\\slash", "'\"<>&", long.as_str(),
        ];
        for key in keys {
            f.put(key, key).await;
        }
        for key in keys {
            assert_eq!(f.get(key).await, key.as_bytes(), "{key}");
        }
        let listed = f.s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        let listed: Vec<_> = listed.contents().iter().map(|o| o.key().unwrap()).collect();
        assert_eq!(listed, sorted);
        let too_long = f.s3.put_object().bucket(BUCKET).key("k".repeat(1025)).send().await;
        assert_eq!(error(too_long), (400, "KeyTooLongError".into()));
        let nul = f.s3.put_object().bucket(BUCKET).key("a\0b").send().await;
        assert_eq!(error(nul).0, 400);
    }

    async fn checksums_are_kept_shown_and_verified(f: Fixture) {
        let content = bytes(100_000);
        for algorithm in [
            ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Sha1,
            ChecksumAlgorithm::Sha256,
        ] {
            let body = ByteStream::from(content.clone());
            let put = f.s3.put_object().bucket(BUCKET).key("k").checksum_algorithm(algorithm.clone()).body(body);
            let put = put.send().await.unwrap();
            let head = f.s3.head_object().bucket(BUCKET).key("k").checksum_mode(ChecksumMode::Enabled);
            let head = head.send().await.unwrap();
            let pairs = [
                (put.checksum_crc32(), head.checksum_crc32()),
                (put.checksum_crc32_c(), head.checksum_crc32_c()),
                (put.checksum_crc64_nvme(), head.checksum_crc64_nvme()),
                (put.checksum_sha1(), head.checksum_sha1()),
                (put.checksum_sha256(), head.checksum_sha256()),
            ];
            assert_eq!(pairs.iter().filter(|(put, head)| put.is_some() && put == head).count(), 1, "{algorithm}");
            assert_eq!(head.checksum_type().unwrap().as_str(), "FULL_OBJECT");
        }
        let files = f.files().len();
        let wrong = f.s3.put_object().bucket(BUCKET).key("bad").checksum_sha256("A".repeat(43) + "=").body(ByteStream::from_static(b"x"));
        assert_eq!(error(wrong.send().await), (400, "BadDigest".into()));
        let wrong = f.s3.put_object().bucket(BUCKET).key("bad").content_md5("1B2M2Y8AsgTpgAmY7PhCfg==").body(ByteStream::from_static(b"x"));
        assert_eq!(error(wrong.send().await), (400, "BadDigest".into()));
        let malformed = f.s3.put_object().bucket(BUCKET).key("bad").content_md5("nonsense").body(ByteStream::from_static(b"x"));
        assert_eq!(error(malformed.send().await), (400, "InvalidDigest".into()));
        assert_eq!(error(f.s3.head_object().bucket(BUCKET).key("bad").send().await).0, 404);
        assert_eq!(f.files().len(), files, "a refused body leaves no file");
    }

    async fn many_are_deleted_at_once(f: Fixture) {
        for n in 0..20 {
            f.put(&format!("k{n}"), "x").await;
        }
        let id = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
        let keys: Vec<_> = (0..20).map(|n| id(&format!("k{n}"))).chain([id("absent"), id("k3")]).collect();
        let delete = Delete::builder().set_objects(Some(keys)).build().unwrap();
        let done = f.s3.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
        assert_eq!((done.deleted().len(), done.errors().len()), (22, 0));
        assert!(f.s3.list_objects_v2().bucket(BUCKET).send().await.unwrap().contents().is_empty());
        let wrong = ObjectIdentifier::builder().key("k").e_tag("\"other\"").build().unwrap();
        f.put("k", "x").await;
        f.put("l", "x").await;
        let delete = Delete::builder().objects(wrong).objects(id("l")).quiet(true).build().unwrap();
        let done = f.s3.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
        assert_eq!(done.deleted().len(), 0);
        assert_eq!(done.errors()[0].code(), Some("PreconditionFailed"));
        assert_eq!(f.get("k").await, b"x");
        assert_eq!(error(f.s3.head_object().bucket(BUCKET).key("l").send().await).0, 404);
    }

    async fn attributes(f: Fixture) {
        let etag = f.put("k", "12345").await;
        let get = f.s3.get_object_attributes().bucket(BUCKET).key("k").object_attributes(ObjectAttributes::Etag);
        let get = get.object_attributes(ObjectAttributes::ObjectSize).object_attributes(ObjectAttributes::Checksum);
        let got = get.object_attributes(ObjectAttributes::StorageClass).send().await.unwrap();
        assert_eq!(got.e_tag().map(|t| t.trim_matches('"')), Some(etag.trim_matches('"')));
        assert_eq!(got.object_size(), Some(5));
        assert_eq!(got.storage_class().unwrap().as_str(), "STANDARD");
        assert!(got.checksum().unwrap().checksum_crc32().is_some());
        assert!(got.object_parts().is_none());
    }
}
