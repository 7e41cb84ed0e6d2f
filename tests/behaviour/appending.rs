//! PutObject with a write offset.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart,
    VersioningConfiguration,
};
use ninefold::clock::random_bytes;
use ninefold::maintenance::Reclaim;
use ninefold::objects::digest::Hashes;
use tokio::task::JoinSet;

use crate::fixture::{BUCKET, Fixture, MIB, bytes, error, on_both};

fn append(s3: &Client, key: &str, offset: usize, body: &[u8]) -> PutObjectFluentBuilder {
    let put = s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from(body.to_vec()));
    put.write_offset_bytes(offset as i64)
}

/// The CRC-32 of all that an object holds, as its writer would have computed it.
fn crc32(bytes: &[u8]) -> String {
    use ninefold::chunks::Digest;
    let algorithm = ninefold::metadata::ChecksumAlgorithm::Crc32;
    let mut hashes = Hashes::new([algorithm]);
    hashes.update(bytes);
    hashes.finish().checksum(algorithm).unwrap()
}

impl Fixture {
    /// An object completed from one part of this number.
    async fn one_part(&self, key: &str, number: i32, body: Vec<u8>) {
        let created = self.s3.create_multipart_upload().bucket(BUCKET).key(key).send().await.unwrap();
        let upload = created.upload_id().unwrap();
        let part = self.s3.upload_part().bucket(BUCKET).key(key).upload_id(upload).part_number(number);
        let part = part.body(ByteStream::from(body)).send().await.unwrap();
        let part = CompletedPart::builder().part_number(number).set_e_tag(part.e_tag).build();
        let complete = self.s3.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(upload);
        complete.multipart_upload(CompletedMultipartUpload::builder().parts(part).build()).send().await.unwrap();
    }

    async fn copy(&self, from: &str, to: &str) {
        let copy = self.s3.copy_object().bucket(BUCKET).key(to).copy_source(format!("{BUCKET}/{from}"));
        copy.send().await.unwrap();
    }
}

on_both! {
    async fn what_is_appended_is_read_behind_what_was_there(f: Fixture) {
        let put = f.s3.put_object().bucket(BUCKET).key("k").metadata("m", "1").content_type("text/x").tagging("t=1");
        let first = put.body(ByteStream::from_static(b"first ")).send().await.unwrap();
        let mut whole = b"first ".to_vec();
        let mut etags = vec![first.e_tag.unwrap()];
        // Packed, in chunks of its own, and packed again.
        for piece in [bytes(700), bytes(9 * MIB), bytes(1), bytes(64 << 10)] {
            let appended = append(&f.s3, "k", whole.len(), &piece).send().await.unwrap();
            whole.extend(&piece);
            assert_eq!(appended.size(), Some(whole.len() as i64));
            etags.push(appended.e_tag.unwrap());
            let got = f.s3.get_object().bucket(BUCKET).key("k").checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
            assert_eq!((got.e_tag(), got.content_length()), (etags.last().map(String::as_str), Some(whole.len() as i64)));
            assert_eq!(got.checksum_crc32(), Some(crc32(&whole).as_str()));
            assert_eq!((got.content_type(), got.metadata().unwrap()["m"].as_str(), got.tag_count()), (Some("text/x"), "1", Some(1)));
            assert!(got.body.collect().await.unwrap().to_vec() == whole);
        }
        assert!(etags[4].ends_with("-5\""), "{etags:?}");
        etags.sort();
        etags.dedup();
        assert_eq!(etags.len(), 5);
        let range = f.s3.get_object().bucket(BUCKET).key("k").range("bytes=3-800").send().await.unwrap();
        assert!(range.body.collect().await.unwrap().to_vec() == whole[3..=800]);
        let part = f.s3.get_object().bucket(BUCKET).key("k").part_number(2).send().await.unwrap();
        assert_eq!(part.parts_count(), Some(5));
        assert!(part.body.collect().await.unwrap().to_vec() == bytes(700));
        f.assert_well().await;
        // What is packed of it moves like anything else, and all of it goes with it.
        f.settle().await;
        assert!(f.get("k").await == whole);
        f.assert_well().await;
        f.s3.delete_object().bucket(BUCKET).key("k").send().await.unwrap();
        f.settle().await;
        assert_eq!(f.files().len(), 0);
    }

    async fn an_append_begins_where_the_object_ends(f: Fixture) {
        assert_eq!(error(append(&f.s3, "k", 5, b"x").send().await), (404, "NoSuchKey".into()));
        let made = append(&f.s3, "k", 0, b"0123").metadata("m", "1").send().await.unwrap();
        assert_eq!(made.size(), Some(4));
        assert_eq!(f.get("k").await, b"0123");
        for offset in [0, 3, 5] {
            assert_eq!(error(append(&f.s3, "k", offset, b"x").send().await), (400, "InvalidWriteOffset".into()));
        }
        assert_eq!(error(append(&f.s3, "k", 4, b"").send().await), (400, "InvalidRequest".into()));
        assert_eq!(error(append(&f.s3, "k", 4, b"x").metadata("m", "2").send().await), (400, "InvalidRequest".into()));
        let other = append(&f.s3, "k", 4, b"x").checksum_algorithm(ChecksumAlgorithm::Sha256);
        assert_eq!(error(other.send().await), (400, "InvalidRequest".into()));
        assert_eq!(error(append(&f.s3, "k", 4, b"x").if_match("\"other\"").send().await), (412, "PreconditionFailed".into()));
        assert_eq!(error(append(&f.s3, "k", 4, b"x").if_none_match("*").send().await), (412, "PreconditionFailed".into()));
        let wrong = append(&f.s3, "k", 4, b"x").content_md5("1B2M2Y8AsgTpgAmY7PhCfg==");
        assert_eq!(error(wrong.send().await), (400, "BadDigest".into()));
        assert_eq!(f.get("k").await, b"0123");
        append(&f.s3, "k", 4, b"4").if_match(made.e_tag().unwrap()).send().await.unwrap();
        assert_eq!(f.get("k").await, b"01234");
        // An empty object ends at 0.
        f.put("empty", "").await;
        append(&f.s3, "empty", 0, b"no more").send().await.unwrap();
        assert_eq!(f.get("empty").await, b"no more");
        // Where versions are kept there is no such thing.
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        f.s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(enabled).send().await.unwrap();
        assert_eq!(error(append(&f.s3, "k", 5, b"x").send().await), (501, "NotImplemented".into()));
        assert_eq!(error(append(&f.s3, "new", 0, b"x").send().await), (501, "NotImplemented".into()));
        let upload = f.s3.create_multipart_upload().bucket(BUCKET).key("k").customize().mutate_request(|request| {
            request.headers_mut().insert("x-amz-write-offset-bytes", "5");
        });
        assert_eq!(error(upload.send().await), (501, "NotImplemented".into()));
        f.assert_well().await;
    }

    async fn a_copy_and_its_source_are_appended_to_apart(f: Fixture) {
        for (len, key) in [(5000, "small"), (9 * MIB, "large")] {
            let was = bytes(len);
            f.put(key, was.clone()).await;
            let copy = format!("{key}'s copy");
            f.copy(key, &copy).await;
            append(&f.s3, &copy, len, b"of the copy").send().await.unwrap();
            assert!(f.get(key).await == was);
            append(&f.s3, key, len, b"of the source").send().await.unwrap();
            append(&f.s3, key, len + 13, &bytes(100_000)).send().await.unwrap();
            assert!(f.get(&copy).await == [&was[..], b"of the copy"].concat());
            assert!(f.get(key).await == [&was[..], b"of the source", &bytes(100_000)].concat());
            // A copy of what was appended to, by reference and in parts.
            let third = format!("{key}'s second copy");
            f.copy(key, &third).await;
            assert!(f.get(&third).await == f.get(key).await);
            let created = f.s3.create_multipart_upload().bucket(BUCKET).key("parts").send().await.unwrap();
            let upload = created.upload_id().unwrap();
            let part = f.s3.upload_part_copy().bucket(BUCKET).key("parts").upload_id(upload).part_number(1);
            let part = part.copy_source(format!("{BUCKET}/{key}")).send().await.unwrap();
            let part = CompletedPart::builder().part_number(1).set_e_tag(part.copy_part_result.unwrap().e_tag).build();
            let complete = f.s3.complete_multipart_upload().bucket(BUCKET).key("parts").upload_id(upload);
            complete.multipart_upload(CompletedMultipartUpload::builder().parts(part).build()).send().await.unwrap();
            assert!(f.get("parts").await == f.get(key).await);
            let head = f.s3.head_object().bucket(BUCKET).key(&third).checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
            assert_eq!(head.checksum_crc32(), Some(crc32(&f.get(key).await).as_str()));
            f.assert_well().await;
            for key in [key, &copy, &third, "parts"] {
                f.s3.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
            }
            f.settle().await;
            assert_eq!(f.files().len(), 0, "{key}");
        }
    }

    async fn parts_are_counted_until_the_object_is_copied(f: Fixture) {
        f.one_part("k", 9_999, b"0".to_vec()).await;
        append(&f.s3, "k", 1, b"1").send().await.unwrap();
        assert_eq!(error(append(&f.s3, "k", 2, b"2").send().await), (400, "TooManyParts".into()));
        assert_eq!(error(append(&f.s3, "k", 2, &bytes(100_000)).send().await), (400, "TooManyParts".into()));
        f.copy("k", "copied").await;
        append(&f.s3, "copied", 2, b"2").send().await.unwrap();
        assert_eq!(f.get("copied").await, b"012");
        let part = f.s3.get_object().bucket(BUCKET).key("copied").part_number(2).send().await.unwrap();
        assert_eq!((part.parts_count(), part.body.collect().await.unwrap().to_vec()), (Some(2), b"2".to_vec()));
        assert_eq!(f.get("k").await, b"01");
        f.settle().await;
        f.assert_well().await;
    }

    async fn checksums_that_do_not_combine_are_of_the_parts(f: Fixture) {
        use aws_sdk_s3::types::ChecksumType;
        let sha256 = |put: PutObjectFluentBuilder| put.checksum_algorithm(ChecksumAlgorithm::Sha256);
        let put = f.s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"one"));
        let mut parts = vec![sha256(put).send().await.unwrap().checksum_sha256.unwrap()];
        for (offset, piece) in [(3, "two"), (6, "three")] {
            let appended = sha256(append(&f.s3, "k", offset, piece.as_bytes())).send().await.unwrap();
            parts.push(appended.checksum_sha256.unwrap());
        }
        let head = f.s3.head_object().bucket(BUCKET).key("k").checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
        assert_eq!(head.checksum_type(), Some(&ChecksumType::Composite));
        let sums = parts.iter().map(|sum| ninefold::objects::digest::PartSum { size: 0, checksum: Some(sum) });
        let (algorithm, kind) = (ninefold::metadata::ChecksumAlgorithm::Sha256, ninefold::metadata::ChecksumType::Composite);
        let whole = ninefold::objects::digest::multipart_checksum(algorithm, kind, sums).unwrap();
        assert_eq!(head.checksum_sha256(), Some(whole.value.as_str()));
    }

    async fn of_those_who_append_at_once_one_is_first(f: Fixture) {
        const CLIENTS: u8 = 6;
        const EACH: usize = 5;
        let mut tasks = JoinSet::new();
        for client in 0..CLIENTS {
            let s3 = f.s3.clone();
            tasks.spawn(async move {
                for n in 0..EACH {
                    // Some are packed, some are not.
                    let piece = vec![client; if n == 2 { 70_000 } else { 100 + n }];
                    loop {
                        let head = s3.head_object().bucket(BUCKET).key("k").send().await;
                        let size = head.map_or(0, |head| head.content_length().unwrap() as usize);
                        match append(&s3, "k", size, &piece).send().await {
                            Ok(done) => {
                                assert_eq!(done.size(), Some((size + piece.len()) as i64));
                                break;
                            }
                            refused => assert_eq!(error(refused), (400, "InvalidWriteOffset".into())),
                        }
                    }
                }
            });
        }
        // Whoever reads meanwhile reads what was there at some moment: whole pieces.
        let reader = f.s3.clone();
        let reading = tokio::spawn(async move {
            let mut seen = 0;
            while seen < usize::from(CLIENTS) * EACH {
                if let Ok(got) = reader.get_object().bucket(BUCKET).key("k").send().await {
                    let announced = got.content_length().unwrap() as usize;
                    let body = got.body.collect().await.unwrap().to_vec();
                    assert_eq!(body.len(), announced);
                    seen = pieces(&body).len();
                }
            }
        });
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        reading.await.unwrap();
        let mut counts = BTreeMap::new();
        for (client, n) in pieces(&f.get("k").await) {
            // A client's pieces are in its order.
            let next = counts.entry(client).or_insert(0);
            assert_eq!(n, *next);
            *next += 1;
        }
        assert_eq!(counts, (0..CLIENTS).map(|client| (client, EACH)).collect());
        f.assert_well().await;
    }

    async fn any_order_of_writes_is_as_in_a_map(f: Fixture) {
        let mut seed = u64::from_le_bytes(random_bytes()) | 1;
        let seed_was = seed;
        let mut roll = |sides: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % sides as u64) as usize
        };
        let mut model: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        const LENGTHS: [usize; 6] = [1, 100, 5000, 64 << 10, 100_000, 5 * MIB];
        for turn in 0..120 {
            let key = roll(4).to_string();
            let piece = bytes(LENGTHS[roll(LENGTHS.len())]);
            match roll(12) {
                0 | 1 => {
                    f.put(&key, piece.clone()).await;
                    model.insert(key, piece);
                }
                2 => {
                    f.s3.delete_object().bucket(BUCKET).key(&key).send().await.unwrap();
                    model.remove(&key);
                }
                3 | 4 => {
                    let to = roll(4).to_string();
                    if to != key && let Some(content) = model.get(&key).cloned() {
                        f.copy(&key, &to).await;
                        model.insert(to, content);
                    }
                }
                5 if turn % 4 == 0 => f.settle().await,
                _ => {
                    let content = model.entry(key.clone()).or_default();
                    append(&f.s3, &key, content.len(), &piece).send().await.unwrap();
                    content.extend(piece);
                }
            }
        }
        for (key, content) in &model {
            assert!(f.get(key).await == *content, "{key}, seed {seed_was}");
        }
        f.assert_well().await;
        for key in model.keys() {
            f.s3.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
        }
        f.store().close_packs().await;
        f.run(&Reclaim::new(f.store().clone(), Duration::ZERO)).await;
        f.settle().await;
        assert_eq!(f.files().len(), 0, "seed {seed_was}");
    }
}

/// The pieces of `of_those_who_append_at_once_one_is_first`, by client and number.
fn pieces(body: &[u8]) -> Vec<(u8, usize)> {
    let mut found = Vec::new();
    let mut counts = [0; 256];
    let mut at = 0;
    while let Some(&client) = body.get(at) {
        let count = &mut counts[usize::from(client)];
        let len = if *count == 2 { 70_000 } else { 100 + *count };
        assert!(body[at..at + len].iter().all(|&byte| byte == client), "a piece of {client} is torn");
        found.push((client, *count));
        *count += 1;
        at += len;
    }
    found
}
