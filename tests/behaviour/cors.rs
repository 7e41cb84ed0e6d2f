use aws_sdk_s3::types::{CorsConfiguration, CorsRule};

use crate::fixture::{BUCKET, Fixture, error, on_both};

fn rule(origin: &str, method: &str) -> CorsRule {
    CorsRule::builder().allowed_origins(origin).allowed_methods(method).build().unwrap()
}

fn rules(rules: Vec<CorsRule>) -> CorsConfiguration {
    CorsConfiguration::builder().set_cors_rules(Some(rules)).build().unwrap()
}

on_both! {
    async fn a_bucket_has_rules_until_they_or_it_are_deleted(f: Fixture) {
        let s3 = &f.s3;
        let get = || s3.get_bucket_cors().bucket(BUCKET).send();
        let put = |configuration| s3.put_bucket_cors().bucket(BUCKET).cors_configuration(configuration).send();
        assert_eq!(error(get().await), (404, "NoSuchCORSConfiguration".into()));
        s3.delete_bucket_cors().bucket(BUCKET).send().await.unwrap();
        let whole = CorsRule::builder()
            .id("all")
            .allowed_origins("http://*.a.test")
            .allowed_origins("http://b.test")
            .allowed_methods("GET")
            .allowed_methods("HEAD")
            .allowed_headers("x-AMZ-*")
            .expose_headers("ETag")
            .max_age_seconds(3000)
            .build()
            .unwrap();
        let given = vec![whole, rule("*", "GET")];
        put(rules(given.clone())).await.unwrap();
        assert_eq!(get().await.unwrap().cors_rules(), given);
        put(rules(vec![rule("http://c.test", "PUT")])).await.unwrap();
        assert_eq!(get().await.unwrap().cors_rules(), [rule("http://c.test", "PUT")], "all of them are replaced");
        s3.delete_bucket_cors().bucket(BUCKET).send().await.unwrap();
        assert_eq!(error(get().await), (404, "NoSuchCORSConfiguration".into()));
        put(rules(vec![rule("*", "GET")])).await.unwrap();
        s3.delete_bucket().bucket(BUCKET).send().await.unwrap();
        assert_eq!(error(get().await), (404, "NoSuchBucket".into()));
        s3.create_bucket().bucket(BUCKET).send().await.unwrap();
        assert_eq!(error(get().await), (404, "NoSuchCORSConfiguration".into()), "a new bucket of that name has none");
        let nowhere = s3.put_bucket_cors().bucket("nowhere").cors_configuration(rules(vec![rule("*", "GET")]));
        assert_eq!(error(nowhere.send().await), (404, "NoSuchBucket".into()));
    }

    async fn rules_that_cannot_be_change_nothing(f: Fixture) {
        let put = |configuration| f.s3.put_bucket_cors().bucket(BUCKET).cors_configuration(configuration).send();
        put(rules(vec![rule("http://kept.test", "GET")])).await.unwrap();
        let twice = CorsRule::builder().id("a".repeat(256)).allowed_origins("*").allowed_methods("GET").build().unwrap();
        for (bad, code) in [
            (rules(vec![rule("*", "GET"), rule("*", "PATCH")]), "InvalidRequest"),
            (rules(vec![rule("*.*", "GET")]), "InvalidRequest"),
            (rules(vec![rule("*", "GET"); 101]), "InvalidRequest"),
            (rules(vec![rule(&"a".repeat(70_000), "GET")]), "MaxMessageLengthExceeded"),
            (rules(vec![twice]), "MalformedXML"),
            (rules(Vec::new()), "MalformedXML"),
        ] {
            assert_eq!(error(put(bad).await), (400, code.into()));
        }
        let stored = f.s3.get_bucket_cors().bucket(BUCKET).send().await.unwrap();
        assert_eq!(stored.cors_rules(), [rule("http://kept.test", "GET")]);
    }
}
