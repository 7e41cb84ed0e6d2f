use aws_sdk_s3::types::{Tag, Tagging};

use crate::fixture::{BUCKET, Fixture, error, on_both};

fn tagging(tags: &[(&str, &str)]) -> Tagging {
    let tag = |&(key, value): &(&str, &str)| Tag::builder().key(key).value(value).build().unwrap();
    Tagging::builder().set_tag_set(Some(tags.iter().map(tag).collect())).build().unwrap()
}

fn pairs(tags: &[Tag]) -> Vec<(&str, &str)> {
    tags.iter().map(|tag| (tag.key(), tag.value())).collect()
}

on_both! {
    async fn an_object_s_tags_are_its_own(f: Fixture) {
        let (s3, large) = (&f.s3, vec![7; 100_000]);
        for (key, body) in [("small", b"x".to_vec()), ("large", large), ("empty", Vec::new())] {
            f.put(key, body.clone()).await;
            let get = async || s3.get_object_tagging().bucket(BUCKET).key(key).send().await.unwrap().tag_set;
            assert!(get().await.is_empty());
            let before = s3.head_object().bucket(BUCKET).key(key).send().await.unwrap();
            let put = |tags| s3.put_object_tagging().bucket(BUCKET).key(key).tagging(tags).send();
            put(tagging(&[("b", "2"), ("a", "ä +-=._:/@")])).await.unwrap();
            assert_eq!(pairs(&get().await), [("a", "ä +-=._:/@"), ("b", "2")]);
            let after = s3.head_object().bucket(BUCKET).key(key).send().await.unwrap();
            assert_eq!((after.e_tag(), after.last_modified()), (before.e_tag(), before.last_modified()));
            assert_eq!(s3.get_object().bucket(BUCKET).key(key).send().await.unwrap().tag_count(), Some(2));
            assert!(f.get(key).await == body);
            put(tagging(&[("c", "")])).await.unwrap();
            assert_eq!(pairs(&get().await), [("c", "")], "all of them are replaced");
            s3.delete_object_tagging().bucket(BUCKET).key(key).send().await.unwrap();
            assert!(get().await.is_empty());
            put(tagging(&[("old", "1")])).await.unwrap();
            f.put(key, body).await;
            assert!(get().await.is_empty(), "they go with what is overwritten");
        }
        let absent = s3.get_object_tagging().bucket(BUCKET).key("absent").send().await;
        assert_eq!(error(absent), (404, "NoSuchKey".into()));
        let absent = s3.put_object_tagging().bucket(BUCKET).key("absent").tagging(tagging(&[("a", "b")])).send().await;
        assert_eq!(error(absent), (404, "NoSuchKey".into()));
        let nowhere = s3.delete_object_tagging().bucket("nowhere").key("k").send().await;
        assert_eq!(error(nowhere), (404, "NoSuchBucket".into()));
    }

    async fn tags_that_cannot_be_change_nothing(f: Fixture) {
        f.put("k", "x").await;
        let put = |tags: Tagging| f.s3.put_object_tagging().bucket(BUCKET).key("k").tagging(tags).send();
        put(tagging(&[("kept", "1")])).await.unwrap();
        let (long_key, long_value) = ("k".repeat(129), "v".repeat(257));
        for (bad, code) in [
            (tagging(&[("", "v")]), "InvalidTag"),
            (tagging(&[(&long_key, "v")]), "InvalidTag"),
            (tagging(&[("k", &long_value)]), "InvalidTag"),
            (tagging(&[("aws:k", "v")]), "InvalidTag"),
            (tagging(&[("k", "no%")]), "InvalidTag"),
            (tagging(&[("k", "1"), ("k", "2")]), "InvalidTag"),
        ] {
            assert_eq!(error(put(bad).await), (400, code.into()));
        }
        let names: Vec<String> = (0..51).map(|n| format!("k{n}")).collect();
        let many = |n: usize| tagging(&names.iter().take(n).map(|name| (name.as_str(), "v")).collect::<Vec<_>>());
        assert_eq!(error(put(many(11)).await), (400, "BadRequest".into()));
        let stored = f.s3.get_object_tagging().bucket(BUCKET).key("k").send().await.unwrap();
        assert_eq!(pairs(stored.tag_set()), [("kept", "1")]);
        put(many(10)).await.unwrap();
        let put = |tags| f.s3.put_bucket_tagging().bucket(BUCKET).tagging(tags).send();
        assert_eq!(error(put(many(51)).await), (400, "BadRequest".into()));
        put(many(50)).await.unwrap();
    }

    async fn a_bucket_has_tags_until_they_or_it_are_deleted(f: Fixture) {
        let s3 = &f.s3;
        let get = || s3.get_bucket_tagging().bucket(BUCKET).send();
        assert_eq!(error(get().await), (404, "NoSuchTagSet".into()));
        s3.put_bucket_tagging().bucket(BUCKET).tagging(tagging(&[("team", "blue")])).send().await.unwrap();
        assert_eq!(pairs(get().await.unwrap().tag_set()), [("team", "blue")]);
        s3.delete_bucket_tagging().bucket(BUCKET).send().await.unwrap();
        assert_eq!(error(get().await), (404, "NoSuchTagSet".into()));
        s3.put_bucket_tagging().bucket(BUCKET).tagging(tagging(&[("team", "red")])).send().await.unwrap();
        s3.delete_bucket().bucket(BUCKET).send().await.unwrap();
        s3.create_bucket().bucket(BUCKET).send().await.unwrap();
        assert_eq!(error(get().await), (404, "NoSuchTagSet".into()), "a new bucket of that name has none");
        let nowhere = s3.put_bucket_tagging().bucket("nowhere").tagging(tagging(&[("a", "b")])).send().await;
        assert_eq!(error(nowhere), (404, "NoSuchBucket".into()));
    }
}
