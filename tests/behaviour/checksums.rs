//! The checksums of ten algorithms, of wholes, parts and copies. What answers say in XML of those that s3s has no fields for is the
//! server's doing, and `compat-tests` look at it.

use aws_sdk_s3::operation::create_multipart_upload::CreateMultipartUploadOutput;
use aws_sdk_s3::operation::upload_part::UploadPartOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart};
use ninefold::chunks::Digest as _;
use ninefold::metadata::{ChecksumAlgorithm as Algorithm, ChecksumType as Kind};
use ninefold::objects::digest::{Hashes, type_exists};

use crate::fixture::{BUCKET, Fixture, MIB, bytes, error, on_both};

/// Base64, as its writer would have computed it.
fn checksum(algorithm: Algorithm, content: &[u8]) -> String {
    let mut hashes = Hashes::new([algorithm]);
    hashes.update(content);
    hashes.finish().checksum(algorithm).unwrap()
}

fn composite(algorithm: Algorithm, parts: &[Vec<u8>]) -> String {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    let decoded = |part: &Vec<u8>| BASE64_STANDARD.decode(checksum(algorithm, part)).unwrap();
    format!("{}-{}", checksum(algorithm, &parts.iter().flat_map(decoded).collect::<Vec<_>>()), parts.len())
}

/// Sets the checksum of this algorithm in any of the SDK's builders.
macro_rules! with_checksum {
    ($builder:expr, $algorithm:expr, $value:expr) => {{
        let (builder, value): (_, Option<String>) = ($builder, $value);
        match $algorithm {
            Algorithm::Crc32 => builder.set_checksum_crc32(value),
            Algorithm::Crc32c => builder.set_checksum_crc32_c(value),
            Algorithm::Crc64Nvme => builder.set_checksum_crc64_nvme(value),
            Algorithm::Md5 => builder.set_checksum_md5(value),
            Algorithm::Sha1 => builder.set_checksum_sha1(value),
            Algorithm::Sha256 => builder.set_checksum_sha256(value),
            Algorithm::Sha512 => builder.set_checksum_sha512(value),
            Algorithm::Xxh128 => builder.set_checksum_xxhash128(value),
            Algorithm::Xxh3 => builder.set_checksum_xxhash3(value),
            Algorithm::Xxh64 => builder.set_checksum_xxhash64(value),
        }
    }};
}

/// All checksums that one of the SDK's answers has.
macro_rules! checksums {
    ($answer:expr) => {{
        let answer = &$answer;
        let all = [
            (Algorithm::Crc32, answer.checksum_crc32()),
            (Algorithm::Crc32c, answer.checksum_crc32_c()),
            (Algorithm::Crc64Nvme, answer.checksum_crc64_nvme()),
            (Algorithm::Md5, answer.checksum_md5()),
            (Algorithm::Sha1, answer.checksum_sha1()),
            (Algorithm::Sha256, answer.checksum_sha256()),
            (Algorithm::Sha512, answer.checksum_sha512()),
            (Algorithm::Xxh128, answer.checksum_xxhash128()),
            (Algorithm::Xxh3, answer.checksum_xxhash3()),
            (Algorithm::Xxh64, answer.checksum_xxhash64()),
        ];
        all.into_iter().filter_map(|(algorithm, value)| Some((algorithm, value?.to_owned()))).collect::<Vec<_>>()
    }};
}

impl Fixture {
    async fn kept(&self, key: &str) -> (Vec<(Algorithm, String)>, Option<ChecksumType>) {
        let head =
            self.s3.head_object().bucket(BUCKET).key(key).checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
        (checksums!(head), head.checksum_type().cloned())
    }

    async fn started(&self, algorithm: Algorithm) -> String {
        let start =
            self.s3.create_multipart_upload().bucket(BUCKET).key("m").checksum_algorithm(algorithm.name().into());
        let CreateMultipartUploadOutput { upload_id, checksum_algorithm, checksum_type, .. } =
            start.send().await.unwrap();
        assert_eq!(checksum_algorithm, Some(algorithm.name().into()));
        let composite = algorithm != Algorithm::Crc64Nvme;
        assert_eq!(checksum_type, Some(if composite { ChecksumType::Composite } else { ChecksumType::FullObject }));
        upload_id.unwrap()
    }

    /// Uploads a part with its checksum.
    async fn sent(&self, upload: &str, number: i32, algorithm: Algorithm, content: &[u8]) -> CompletedPart {
        let part = self.s3.upload_part().bucket(BUCKET).key("m").upload_id(upload).part_number(number);
        let part = with_checksum!(part, algorithm, Some(checksum(algorithm, content)));
        let done: UploadPartOutput = part.body(ByteStream::from(content.to_vec())).send().await.unwrap();
        assert_eq!(checksums!(done), [(algorithm, checksum(algorithm, content))]);
        let named = CompletedPart::builder().part_number(number).set_e_tag(done.e_tag);
        with_checksum!(named, algorithm, Some(checksum(algorithm, content))).build()
    }
}

on_both! {
    async fn checksums_of_wholes_are_verified_kept_and_shown(f: Fixture) {
        for algorithm in Algorithm::ALL {
            // Packed, and in chunks of its own.
            for content in [bytes(1000), bytes(3 * MIB + 1)] {
                let put = || f.s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from(content.clone()));
                let expected = vec![(algorithm, checksum(algorithm, &content))];
                let told = with_checksum!(put(), algorithm, Some(expected[0].1.clone())).send().await.unwrap();
                assert_eq!(checksums!(told), expected);
                assert_eq!(f.kept("k").await, (expected.clone(), Some(ChecksumType::FullObject)));
                let get = f.s3.get_object().bucket(BUCKET).key("k").checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
                assert_eq!(checksums!(get), expected);
                assert!(get.body.collect().await.unwrap().to_vec() == content);
                let silent = f.s3.head_object().bucket(BUCKET).key("k").send().await.unwrap();
                assert_eq!(checksums!(silent), []);
                for (wrong, code) in [(checksum(algorithm, b"other"), "BadDigest"), ("AAAA".into(), "InvalidRequest")] {
                    let refused = with_checksum!(put().key("bad"), algorithm, Some(wrong)).send().await;
                    assert_eq!(error(refused), (400, code.into()), "{algorithm:?}");
                }
            }
            let listed = f.s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
            assert_eq!(listed.contents().len(), 1);
            assert_eq!(listed.contents()[0].checksum_algorithm(), [ChecksumAlgorithm::from(algorithm.name())]);
        }
        let two = f.s3.put_object().bucket(BUCKET).key("bad").body(ByteStream::from_static(b"x"));
        let two = two.checksum_md5(checksum(Algorithm::Md5, b"x")).checksum_xxhash3(checksum(Algorithm::Xxh3, b"x"));
        assert_eq!(error(two.send().await), (400, "InvalidRequest".into()));
    }

    async fn checksums_of_parts_come_to_a_composite_one(f: Fixture) {
        let contents = [bytes(5 * MIB), bytes(1000)];
        for algorithm in Algorithm::ALL.into_iter().filter(|a| type_exists(*a, Kind::Composite)) {
            let upload = f.started(algorithm).await;
            let mut parts = Vec::new();
            for (number, content) in (1..).zip(&contents) {
                parts.push(f.sent(&upload, number, algorithm, content).await);
            }
            let complete = |parts: Vec<CompletedPart>| {
                let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
                f.s3.complete_multipart_upload().bucket(BUCKET).key("m").upload_id(&upload).multipart_upload(parts)
            };
            let named = |value: Option<String>| {
                let part = CompletedPart::builder().part_number(1).set_e_tag(parts[0].e_tag.clone());
                vec![with_checksum!(part, algorithm, value).build(), parts[1].clone()]
            };
            let wrong = complete(named(Some(checksum(algorithm, b"other")))).send().await;
            assert_eq!(error(wrong), (400, "InvalidPart".into()), "{algorithm:?}");
            let missing = complete(named(None)).send().await;
            assert_eq!(error(missing), (400, "InvalidRequest".into()), "{algorithm:?}");
            let other = with_checksum!(complete(parts.clone()), algorithm, Some(checksum(algorithm, b"other"))).send().await;
            assert_eq!(error(other), (400, "BadDigest".into()), "{algorithm:?}");
            let expected = composite(algorithm, &contents);
            let right = with_checksum!(complete(parts.clone()), algorithm, Some(expected.clone()));
            let done = right.checksum_type(ChecksumType::Composite).send().await.unwrap();
            assert_eq!(checksums!(done), [(algorithm, expected.clone())]);
            assert_eq!(done.checksum_type(), Some(&ChecksumType::Composite));
            assert_eq!(f.kept("m").await, (vec![(algorithm, expected)], Some(ChecksumType::Composite)));
            let part = f.s3.head_object().bucket(BUCKET).key("m").part_number(2).checksum_mode(ChecksumMode::Enabled);
            assert_eq!(checksums!(part.send().await.unwrap()), [(algorithm, checksum(algorithm, &contents[1]))]);
            // A copy is one thing, and so is its checksum.
            let whole = checksum(algorithm, &contents.concat());
            f.s3.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/m")).send().await.unwrap();
            assert_eq!(f.kept("copy").await, (vec![(algorithm, whole)], Some(ChecksumType::FullObject)));
            let part = f.s3.head_object().bucket(BUCKET).key("copy").part_number(2).checksum_mode(ChecksumMode::Enabled);
            assert_eq!(checksums!(part.send().await.unwrap()), [(algorithm, checksum(algorithm, &contents[1]))]);
            // By another algorithm than its parts: they are no more.
            let other = Algorithm::Crc64Nvme;
            let copy = f.s3.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/m"));
            copy.checksum_algorithm(other.name().into()).send().await.unwrap();
            let whole = [(other, checksum(other, &contents.concat()))];
            assert_eq!(f.kept("copy").await.0, whole);
            let part = f.s3.get_object().bucket(BUCKET).key("copy").part_number(1).checksum_mode(ChecksumMode::Enabled);
            let part = part.send().await.unwrap();
            assert_eq!((checksums!(part), part.parts_count()), (whole.to_vec(), None));
            assert!(part.body.collect().await.unwrap().to_vec() == contents.concat());
        }
    }

    async fn copies_are_given_checksums_of_any_algorithm(f: Fixture) {
        let content = bytes(70_000);
        f.put("from", content.clone()).await;
        let source = format!("{BUCKET}/from");
        for algorithm in Algorithm::ALL {
            let copy = f.s3.copy_object().bucket(BUCKET).key("to").copy_source(&source);
            copy.checksum_algorithm(algorithm.name().into()).send().await.unwrap();
            let expected = (vec![(algorithm, checksum(algorithm, &content))], Some(ChecksumType::FullObject));
            assert_eq!(f.kept("to").await, expected);
            f.s3.copy_object().bucket(BUCKET).key("same").copy_source(format!("{BUCKET}/to")).send().await.unwrap();
            assert_eq!(f.kept("same").await, expected);
            let upload = f.started(algorithm).await;
            let copy = f.s3.upload_part_copy().bucket(BUCKET).key("m").upload_id(&upload).part_number(1).copy_source(&source);
            let part = copy.send().await.unwrap().copy_part_result.unwrap();
            let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag);
            let part = with_checksum!(part, algorithm, Some(checksum(algorithm, &content))).build();
            let parts = CompletedMultipartUpload::builder().parts(part).build();
            let done = f.s3.complete_multipart_upload().bucket(BUCKET).key("m").upload_id(&upload).multipart_upload(parts);
            let expected = match algorithm {
                Algorithm::Crc64Nvme => checksum(algorithm, &content),
                _ => composite(algorithm, std::slice::from_ref(&content)),
            };
            assert_eq!(checksums!(done.send().await.unwrap()), [(algorithm, expected)]);
        }
    }

    async fn appends_go_on_with_the_checksum_that_is_there(f: Fixture) {
        let pieces = [bytes(100), bytes(3000)];
        for algorithm in Algorithm::ALL {
            let key = algorithm.name();
            let append = |offset: i64, content: &[u8], algorithm: Algorithm| {
                let put = f.s3.put_object().bucket(BUCKET).key(key).body(ByteStream::from(content.to_vec()));
                with_checksum!(put, algorithm, Some(checksum(algorithm, content))).write_offset_bytes(offset).send()
            };
            append(0, &pieces[0], algorithm).await.unwrap();
            let told = append(100, &pieces[1], algorithm).await.unwrap();
            assert_eq!(checksums!(told), [(algorithm, checksum(algorithm, &pieces[1]))]);
            let whole = (checksum(algorithm, &pieces.concat()), Some(ChecksumType::FullObject));
            let of_parts = (composite(algorithm, &pieces), Some(ChecksumType::Composite));
            let (value, kind) = if type_exists(algorithm, Kind::FullObject) { whole } else { of_parts };
            assert_eq!(f.kept(key).await, (vec![(algorithm, value)], kind));
            if algorithm != Algorithm::Crc64Nvme {
                let other = append(3100, b"x", Algorithm::Crc64Nvme).await;
                assert_eq!(error(other), (400, "InvalidRequest".into()), "{algorithm:?}");
            }
        }
    }

    async fn a_whole_made_of_parts_has_a_checksum_of_its_own_by_crcs_alone(f: Fixture) {
        for algorithm in Algorithm::ALL {
            let start = f.s3.create_multipart_upload().bucket(BUCKET).key("m").checksum_algorithm(algorithm.name().into());
            let outcome = start.checksum_type(ChecksumType::FullObject).send().await;
            match type_exists(algorithm, Kind::FullObject) {
                true => assert_eq!(outcome.unwrap().checksum_type(), Some(&ChecksumType::FullObject)),
                false => assert_eq!(error(outcome), (400, "InvalidRequest".into()), "{algorithm:?}"),
            }
        }
        let upload = f.started(Algorithm::Xxh64).await;
        let part = f.s3.upload_part().bucket(BUCKET).key("m").upload_id(upload).part_number(1);
        let other = part.body(ByteStream::from_static(b"x")).checksum_sha512(checksum(Algorithm::Sha512, b"x")).send().await;
        assert_eq!(error(other), (400, "InvalidRequest".into()), "an upload has one algorithm");
        let unknown = f.s3.create_multipart_upload().bucket(BUCKET).key("m").checksum_algorithm("MD4".into()).send().await;
        assert_eq!(error(unknown), (400, "InvalidRequest".into()));
    }
}
