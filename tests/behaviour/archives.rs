//! Archives whose files become objects.

use std::io::Write as _;

use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::BucketVersioningStatus;
use flate2::write::GzEncoder;
use tokio_tar::{Builder, EntryType, Header};

use crate::fixture::{BUCKET, Fixture, MIB, bytes, error, on_both};

/// A tar of files; what ends in a slash is a directory.
async fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, content) in files {
        add(&mut builder, path, content).await;
    }
    builder.into_inner().await.unwrap()
}

async fn add(builder: &mut Builder<Vec<u8>>, path: &str, content: &[u8]) {
    let mut header = Header::new_ustar();
    header.set_entry_type(if path.ends_with('/') { EntryType::Directory } else { EntryType::Regular });
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    // Written as it is: the library would not take `..` for a path.
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_cksum();
    builder.append(&header, content).await.unwrap();
}

/// An extended header for the next file.
async fn attribute(builder: &mut Builder<Vec<u8>>, attributes: &[&str]) {
    // The length counts its own two digits, a blank and the line's end.
    let lines: String = attributes.iter().map(|line| format!("{} {line}\n", line.len() + 4)).collect();
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_size(lines.len() as u64);
    header.set_cksum();
    builder.append(&header, lines.as_bytes()).await.unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn put(f: &Fixture, archive: Vec<u8>) -> PutObjectFluentBuilder {
    let put = f.s3.put_object().bucket(BUCKET).key("archive.tar").content_type("application/x-tar");
    put.metadata("snowball-auto-extract", "true").body(ByteStream::from(archive))
}

async fn keys(f: &Fixture) -> Vec<String> {
    let listed = f.s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
    listed.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
}

on_both! {
    async fn files_of_an_archive_become_objects(f: Fixture) {
        let (large, empty) = (bytes(3 * MIB + 7), Vec::new());
        let files: [(&str, &[u8]); 7] = [
            ("./", &empty),
            ("dir/", &empty),
            ("./dir/a", b"first"),
            ("/dir//a", b"second"),
            ("large", &large),
            ("empty", &empty),
            ("z", b"last"),
        ];
        let archive = tar(&files).await;
        let md5 = {
            use md5::Digest as _;
            hex::encode(md5::Md5::digest(&archive))
        };
        for archive in [archive.clone(), gzip(&archive)] {
            let plain = archive.len() > MIB && !archive.starts_with(&[0x1f, 0x8b]);
            let answer = put(&f, archive).send().await.unwrap();
            if plain {
                assert_eq!(answer.e_tag(), Some(&*format!("\"{md5}\"")));
            }
            assert_eq!(keys(&f).await, ["dir/", "dir/a", "empty", "large", "z"]);
            assert_eq!(f.get("dir/a").await, b"second");
            assert!(f.get("large").await == large);
            assert_eq!(f.get("z").await, b"last");
            for key in keys(&f).await {
                f.s3.delete_object().bucket(BUCKET).key(key).send().await.unwrap();
            }
        }
        // A word that asks for nothing makes an object of it.
        put(&f, archive).metadata("snowball-auto-extract", "false").send().await.unwrap();
        assert_eq!(keys(&f).await, ["archive.tar"]);
    }

    async fn many_small_files_are_each_their_own(f: Fixture) {
        let content = |n: usize| format!("content of {n}").into_bytes();
        let files: Vec<(String, Vec<u8>)> = (0..300).map(|n| (format!("d/{n:03}"), content(n))).collect();
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (&**name, &**content)).collect();
        put(&f, gzip(&tar(&files).await)).send().await.unwrap();
        let keys = keys(&f).await;
        assert_eq!(keys.len(), 300);
        for n in [0, 17, 299] {
            assert_eq!(f.get(&keys[n]).await, content(n));
        }
    }

    async fn headers_say_where_files_go_and_what_they_are(f: Fixture) {
        let mut builder = Builder::new(Vec::new());
        attribute(&mut builder, &["minio.metadata.Content-Type=text/x", "minio.metadata.x-amz-meta-Own=v"]).await;
        add(&mut builder, "a", b"a").await;
        add(&mut builder, "dir/", b"").await;
        let long = "long/".repeat(60) + "name";
        let mut header = Header::new_gnu();
        header.set_size(1);
        builder.append_data(&mut header, &long, &b"x"[..]).await.unwrap();
        let archive = builder.into_inner().await.unwrap();
        let answer = put(&f, archive).metadata("minio-snowball-prefix", "/under//it");
        answer.metadata("minio-snowball-ignore-dirs", "true").send().await.unwrap();
        assert_eq!(keys(&f).await, ["under/it/a".to_owned(), format!("under/it/{long}")]);
        let head = f.s3.head_object().bucket(BUCKET).key("under/it/a").send().await.unwrap();
        assert_eq!((head.content_type(), head.metadata().unwrap()["own"].as_str()), (Some("text/x"), "v"));
        let head = f.s3.head_object().bucket(BUCKET).key(format!("under/it/{long}")).send().await.unwrap();
        assert_eq!(head.content_type(), Some("binary/octet-stream"));
        assert!(head.metadata().unwrap().is_empty());
    }

    async fn what_is_wrong_with_an_archive_is_said(f: Fixture) {
        let refused = (400, "InvalidRequest".to_owned());
        assert_eq!(error(put(&f, bytes(MIB)).send().await), refused);
        let whole = tar(&[("a", b"a"), ("big", &bytes(MIB)), ("z", b"z")]).await;
        assert_eq!(error(put(&f, whole[..whole.len() / 2].to_vec()).send().await), refused);
        assert_eq!(keys(&f).await, ["a"], "what came before stays");
        let packed = gzip(&whole);
        assert_eq!(error(put(&f, packed[..packed.len() / 2].to_vec()).send().await), refused);
        let out = tar(&[("b", b"b"), ("../out", b"x"), ("c", b"c")]).await;
        assert_eq!(error(put(&f, out.clone()).send().await), (400, "InvalidArgument".into()));
        // A single file that cannot be stored may be passed over, an archive that cannot be read not.
        put(&f, out).metadata("minio-snowball-ignore-errors", "true").send().await.unwrap();
        assert_eq!(keys(&f).await, ["a", "b", "c"]);
        let half = put(&f, whole[..whole.len() / 2].to_vec()).metadata("minio-snowball-ignore-errors", "true");
        assert_eq!(error(half.send().await), refused);
        for (magic, code) in [(b"BZh9xxxx", 501), (b"\x28\xb5\x2f\xfdxxxx", 501), (b"\xff\x06\x00\x00sNaP", 501)] {
            assert_eq!(error(put(&f, magic.to_vec()).send().await).0, code);
        }
        // Headers that go on for ever are not kept.
        let mut endless = Header::new_gnu();
        endless.set_entry_type(EntryType::GNULongName);
        endless.set_size(1 << 40);
        endless.set_cksum();
        let endless = [endless.as_bytes().as_slice(), &vec![b'n'; 2 * MIB]].concat();
        assert_eq!(error(put(&f, endless).send().await), refused);
        // What is said of the archive alone has no place to go.
        let archive = tar(&[("d", b"d")]).await;
        assert_eq!(error(put(&f, archive.clone()).metadata("other", "x").send().await).0, 501);
        assert_eq!(error(put(&f, archive.clone()).tagging("a=b").send().await).0, 501);
        assert_eq!(error(put(&f, archive.clone()).if_none_match("*").send().await).0, 501);
        let elsewhere = put(&f, archive.clone()).bucket("absent").send().await;
        assert_eq!(error(elsewhere), (404, "NoSuchBucket".into()));
        let wrong = put(&f, archive).content_md5("XrY7u+Ae7tCTyyK7j1rNww==").send().await;
        assert_eq!(error(wrong), (400, "BadDigest".into()));
    }

    async fn files_of_an_archive_become_versions(f: Fixture) {
        let enabled = aws_sdk_s3::types::VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled);
        f.s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(enabled.build()).send().await.unwrap();
        let large = bytes(MIB);
        put(&f, tar(&[("a", b"1"), ("a", &large), ("a", b"3")]).await).send().await.unwrap();
        let listed = f.s3.list_object_versions().bucket(BUCKET).send().await.unwrap();
        let sizes: Vec<_> = listed.versions().iter().map(|version| version.size().unwrap()).collect();
        assert_eq!(sizes, [1, MIB as i64, 1]);
        assert_eq!(f.get("a").await, b"3");
    }
}
