use std::collections::BTreeSet;

use aws_sdk_s3::types::EncodingType;

use crate::fixture::{BUCKET, Fixture, error, on_both};

const KEYS: [&str; 14] =
    ["a", "a/", "a/b", "a/b/c", "a/c", "a-b", "b//x", "b/x", "c/ü/1", "c/ü/2", "c/日", "d", "e%41", "z z"];

/// What S3 lists, written the slow way.
fn oracle(prefix: &str, delimiter: &str) -> Vec<String> {
    let mut all = BTreeSet::new();
    for key in KEYS.iter().filter(|key| key.starts_with(prefix)) {
        let rest = &key[prefix.len()..];
        match rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
            Some(at) => all.insert(key[..prefix.len() + at + delimiter.len()].to_owned()),
            None => all.insert((*key).to_owned()),
        };
    }
    all.into_iter().collect()
}

on_both! {
    async fn every_page_size_shows_the_same(f: Fixture) {
        for key in KEYS {
            f.put(key, "").await;
        }
        for prefix in ["", "a", "a/", "b/", "c/ü", "nothing"] {
            for delimiter in ["", "/", "b", "//", "/ü/"] {
                for size in [1, 2, 3, 1000] {
                    let expected = oracle(prefix, delimiter);
                    let mut v2 = Vec::new();
                    let mut token = None;
                    loop {
                        let page = f.s3.list_objects_v2().bucket(BUCKET).prefix(prefix).delimiter(delimiter).max_keys(size);
                        let page = page.set_continuation_token(token).send().await.unwrap();
                        let count = page.contents().len() + page.common_prefixes().len();
                        assert_eq!(page.key_count(), Some(count as i32));
                        assert!(count <= size as usize);
                        let mut both: Vec<_> = page.contents().iter().map(|o| o.key().unwrap().to_owned()).collect();
                        both.extend(page.common_prefixes().iter().map(|p| p.prefix().unwrap().to_owned()));
                        both.sort_unstable();
                        v2.extend(both);
                        token = page.next_continuation_token().map(str::to_owned);
                        assert_eq!(page.is_truncated(), Some(token.is_some()));
                        if token.is_none() {
                            break;
                        }
                    }
                    assert_eq!(v2, expected, "prefix {prefix:?} delimiter {delimiter:?} page {size}");
                    if size != 2 {
                        continue;
                    }
                    let mut v1 = Vec::new();
                    let mut marker = String::new();
                    loop {
                        let page = f.s3.list_objects().bucket(BUCKET).prefix(prefix).delimiter(delimiter).max_keys(size);
                        let page = page.marker(&marker).send().await.unwrap();
                        let mut both: Vec<_> = page.contents().iter().map(|o| o.key().unwrap().to_owned()).collect();
                        both.extend(page.common_prefixes().iter().map(|p| p.prefix().unwrap().to_owned()));
                        both.sort_unstable();
                        v1.extend(both);
                        if page.is_truncated() != Some(true) {
                            break;
                        }
                        marker = page.next_marker().map_or_else(|| v1.last().unwrap().clone(), str::to_owned);
                    }
                    assert_eq!(v1, expected, "prefix {prefix:?} delimiter {delimiter:?}, ListObjects");
                }
            }
        }
    }

    async fn what_a_page_says(f: Fixture) {
        let etag = f.put("a b+c", "12345").await;
        f.put("a/1", "x").await;
        let page = f.s3.list_objects_v2().bucket(BUCKET).encoding_type(EncodingType::Url).prefix("a").delimiter("/");
        let page = page.start_after("a ").fetch_owner(true).send().await.unwrap();
        let object = &page.contents()[0];
        assert_eq!(object.key(), Some("a%20b%2Bc"));
        assert_eq!((object.size(), object.e_tag()), (Some(5), Some(etag.as_str())));
        assert_eq!(object.storage_class().unwrap().as_str(), "STANDARD");
        assert_eq!(object.owner().unwrap().id().unwrap().len(), 64);
        assert_eq!(object.checksum_algorithm().len(), 1);
        assert_eq!(page.common_prefixes()[0].prefix(), Some("a/"));
        assert_eq!((page.name(), page.prefix(), page.delimiter()), (Some(BUCKET), Some("a"), Some("/")));
        assert_eq!(page.start_after(), Some("a%20"));
        assert_eq!(page.max_keys(), Some(1000));
        let plain = f.s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
        assert!(plain.contents()[0].owner().is_none());
        let nothing = f.s3.list_objects_v2().bucket(BUCKET).max_keys(0).send().await.unwrap();
        assert_eq!((nothing.key_count(), nothing.is_truncated()), (Some(0), Some(false)));
        let many = f.s3.list_objects_v2().bucket(BUCKET).max_keys(5000).send().await.unwrap();
        assert_eq!(many.max_keys(), Some(1000));
        let list = || f.s3.list_objects_v2().bucket(BUCKET);
        assert_eq!(error(list().max_keys(-1).send().await), (400, "InvalidArgument".into()));
        assert_eq!(error(list().continuation_token("?").send().await), (400, "InvalidArgument".into()));
        assert_eq!(error(list().encoding_type("other".into()).send().await), (400, "InvalidArgument".into()));
    }
}
