use aws_sdk_s3::types::{
    Condition, ErrorDocument, IndexDocument, Protocol, Redirect, RedirectAllRequestsTo, RoutingRule,
    WebsiteConfiguration,
};

use crate::fixture::{BUCKET, Fixture, error, on_both};

fn index(suffix: &str) -> IndexDocument {
    IndexDocument::builder().suffix(suffix).build().unwrap()
}

on_both! {
    async fn a_bucket_is_a_website_until_it_is_none(f: Fixture) {
        let s3 = &f.s3;
        let get = || s3.get_bucket_website().bucket(BUCKET).send();
        let put = |configuration| s3.put_bucket_website().bucket(BUCKET).website_configuration(configuration).send();
        assert_eq!(error(get().await), (404, "NoSuchWebsiteConfiguration".into()));
        s3.delete_bucket_website().bucket(BUCKET).send().await.unwrap();
        let rule = RoutingRule::builder()
            .condition(Condition::builder().key_prefix_equals("docs/").http_error_code_returned_equals("404").build())
            .redirect(
                Redirect::builder()
                    .host_name("a.test")
                    .protocol(Protocol::Https)
                    .http_redirect_code("302")
                    .replace_key_prefix_with("")
                    .build(),
            )
            .build();
        let document = ErrorDocument::builder().key("error.html").build().unwrap();
        let pages = WebsiteConfiguration::builder().index_document(index("index.html")).error_document(document.clone());
        put(pages.routing_rules(rule.clone()).build()).await.unwrap();
        let stored = get().await.unwrap();
        assert_eq!((stored.index_document(), stored.error_document()), (Some(&index("index.html")), Some(&document)));
        assert_eq!(stored.routing_rules(), [rule]);
        let elsewhere = RedirectAllRequestsTo::builder().host_name("b.test").build().unwrap();
        put(WebsiteConfiguration::builder().redirect_all_requests_to(elsewhere.clone()).build()).await.unwrap();
        let stored = get().await.unwrap();
        assert_eq!((stored.redirect_all_requests_to(), stored.index_document()), (Some(&elsewhere), None));
        s3.delete_bucket_website().bucket(BUCKET).send().await.unwrap();
        assert_eq!(error(get().await), (404, "NoSuchWebsiteConfiguration".into()));
        let nowhere = s3.get_bucket_website().bucket("nowhere").send().await;
        assert_eq!(error(nowhere), (404, "NoSuchBucket".into()));
    }

    async fn a_website_that_cannot_be_changes_nothing(f: Fixture) {
        let s3 = &f.s3;
        let put = |configuration| s3.put_bucket_website().bucket(BUCKET).website_configuration(configuration).send();
        let pages = || WebsiteConfiguration::builder().index_document(index("kept.html"));
        put(pages().build()).await.unwrap();
        let rule = |redirect: Redirect| RoutingRule::builder().redirect(redirect).build();
        let host = || Redirect::builder().host_name("a.test");
        let elsewhere = RedirectAllRequestsTo::builder().host_name("b.test").build().unwrap();
        for (bad, code) in [
            (WebsiteConfiguration::builder().build(), "InvalidArgument"),
            (WebsiteConfiguration::builder().index_document(index("a/b")).build(), "InvalidArgument"),
            (pages().redirect_all_requests_to(elsewhere).build(), "InvalidArgument"),
            (pages().routing_rules(rule(host().http_redirect_code("200").build())).build(), "InvalidRequest"),
            (pages().routing_rules(rule(host().protocol("ftp".into()).build())).build(), "InvalidRequest"),
            (pages().routing_rules(rule(Redirect::builder().build())).build(), "MalformedXML"),
            (pages().set_routing_rules(Some(vec![rule(host().build()); 51])).build(), "InvalidRequest"),
            (pages().routing_rules(rule(host().replace_key_with("k".repeat(200_000)).build())).build(),
             "MaxMessageLengthExceeded"),
        ] {
            assert_eq!(error(put(bad).await), (400, code.into()));
        }
        let stored = s3.get_bucket_website().bucket(BUCKET).send().await.unwrap();
        assert_eq!(stored.index_document(), Some(&index("kept.html")));
        assert!(stored.routing_rules().is_empty());
    }
}
