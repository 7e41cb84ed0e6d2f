//! What was tried to do what must not be possible, and once worked, or might have.

use std::convert::Infallible;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, CompletedMultipartUpload, CompletedPart, Delete, ObjectCannedAcl, ObjectIdentifier,
    ObjectOwnership, VersioningConfiguration,
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;

use crate::fixture::{BUCKET, Fixture, error, on_both};
use crate::permissions::{OTHER_ID, People, allow, denied, open, read, tagging, write};

async fn keep_versions(f: &Fixture) {
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    f.s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(on).send().await.unwrap();
}

/// A statement that lets the other account in.
fn other(actions: &str) -> String {
    format!(
        r#"{{"Effect":"Allow","Principal":{{"AWS":"{OTHER_ID}"}},"Action":[{actions}],
            "Resource":["arn:aws:s3:::{BUCKET}","arn:aws:s3:::{BUCKET}/*"]}}"#
    )
}

fn deny(action: &str, condition: &str) -> String {
    format!(
        r#"{{"Effect":"Deny","Principal":"*","Action":"{action}",
            "Resource":["arn:aws:s3:::{BUCKET}","arn:aws:s3:::{BUCKET}/*"],"Condition":{condition}}}"#
    )
}

on_both! {
    async fn a_copy_does_not_get_round_a_version_that_is_forbidden(f: Fixture) {
        let people = People::new(&f, &[]);
        open(&people.root, ObjectOwnership::BucketOwnerEnforced).await;
        keep_versions(&f).await;
        let put = || f.s3.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"x")).send();
        let (old, new) = (put().await.unwrap(), put().await.unwrap());
        let forbidden = old.version_id().unwrap();
        let condition = format!(r#"{{"StringEquals":{{"s3:VersionId":"{forbidden}"}}}}"#);
        allow(&people.root, &[other(r#""s3:GetObject*""#), deny("s3:GetObjectVersion", &condition)].join(",")).await;
        people.other.create_bucket().bucket("others").send().await.unwrap();
        let copy = |version: &str| {
            let source = format!("{BUCKET}/k?versionId={version}");
            people.other.copy_object().bucket("others").key("copy").copy_source(source).send()
        };
        assert_eq!(error(copy(forbidden).await), denied());
        copy(new.version_id().unwrap()).await.unwrap();
    }

    async fn a_source_is_the_same_however_it_is_written(f: Fixture) {
        let people = People::new(&f, &[]);
        open(&people.root, ObjectOwnership::BucketOwnerEnforced).await;
        for key in ["open/a", "secret/a"] {
            f.put(key, "x").await;
        }
        let condition = format!(r#"{{"StringLike":{{"s3:x-amz-copy-source":"{BUCKET}/secret/*"}}}}"#);
        let policy = [other(r#""s3:GetObject","s3:PutObject""#), deny("s3:PutObject", &condition)].join(",");
        allow(&people.root, &policy).await;
        let copy = |source: &str| people.other.copy_object().bucket(BUCKET).key("copy").copy_source(source).send();
        for source in ["secret/a", "%73ecret/a", "secret%2Fa", "secret/a?versionId=null"] {
            for source in [format!("{BUCKET}/{source}"), format!("/{BUCKET}/{source}"), format!("{BUCKET}%2F{source}")] {
                assert!([403, 400].contains(&error(copy(&source).await).0), "{source}");
            }
        }
        copy(&format!("/{BUCKET}/open%2Fa")).await.unwrap();
    }

    async fn who_may_read_an_object_and_write_another_may_not_therefore_copy_tags(f: Fixture) {
        let people = People::new(&f, &[]);
        open(&people.root, ObjectOwnership::BucketOwnerEnforced).await;
        f.s3.put_object().bucket(BUCKET).key("tagged").tagging("team=red").send().await.unwrap();
        f.put("plain", "x").await;
        people.other.create_bucket().bucket("others").send().await.unwrap();
        let copy = |to: &str, key: &str| {
            people.other.copy_object().bucket(to).key("copy").copy_source(format!("{BUCKET}/{key}"))
        };
        allow(&people.root, &other(r#""s3:GetObject","s3:PutObject""#)).await;
        assert_eq!(error(copy("others", "tagged").send().await), denied(), "they could be read there");
        copy("others", "plain").send().await.unwrap();
        let replaced = copy("others", "tagged").tagging_directive(aws_sdk_s3::types::TaggingDirective::Replace);
        replaced.send().await.unwrap();
        let head = people.other.head_object().bucket(BUCKET).key("tagged").send().await.unwrap();
        assert_eq!(head.tag_count(), None, "nor how many there are");
        assert_eq!(people.other.get_object().bucket(BUCKET).key("tagged").send().await.unwrap().tag_count(), None);
        allow(&people.root, &other(r#""s3:GetObject","s3:PutObject","s3:GetObjectTagging""#)).await;
        assert_eq!(people.other.get_object().bucket(BUCKET).key("tagged").send().await.unwrap().tag_count(), Some(1));
        copy("others", "tagged").send().await.unwrap();
        assert_eq!(error(copy(BUCKET, "tagged").send().await), denied(), "they would be written");
        // What condition tags must meet they meet however they come.
        let all = other(r#""s3:GetObject*","s3:PutObject*""#);
        let not_red = deny("s3:PutObjectTagging", r#"{"StringEquals":{"s3:RequestObjectTag/team":"red"}}"#);
        allow(&people.root, &all).await;
        copy(BUCKET, "tagged").send().await.unwrap();
        allow(&people.root, &[all, not_red].join(",")).await;
        assert_eq!(error(copy(BUCKET, "tagged").send().await), denied());
    }

    async fn a_condition_on_a_write_is_no_oracle(f: Fixture) {
        let people = People::new(&f, &[]);
        open(&people.root, ObjectOwnership::BucketOwnerEnforced).await;
        f.put("k", "x").await;
        allow(&people.root, &other(r#""s3:PutObject","s3:DeleteObject""#)).await;
        let put = |key: &str, tag: &str| people.other.put_object().bucket(BUCKET).key(key).if_match(tag).send();
        let guess = "\"9dd4e461268c8034f5c8564e155c67a6\"";
        for (key, tag) in [("k", guess), ("k", "\"other\""), ("k", "*"), ("absent", guess)] {
            assert_eq!(error(put(key, tag).await), denied(), "{key} {tag}");
        }
        let delete = || people.other.delete_object().bucket(BUCKET).key("k");
        assert_eq!(error(delete().if_match(guess).send().await), denied());
        assert_eq!(error(delete().if_match_size(1).send().await), denied());
        let key = ObjectIdentifier::builder().key("k").e_tag(guess).build().unwrap();
        let delete = people.other.delete_objects().bucket(BUCKET).delete(Delete::builder().objects(key).build().unwrap());
        assert_eq!(delete.send().await.unwrap().errors()[0].code(), Some("AccessDenied"));
        assert_eq!(f.get("k").await, b"x");
        allow(&people.root, &other(r#""s3:PutObject","s3:GetObject""#)).await;
        assert_eq!(error(put("k", "\"other\"").await).0, 412);
        put("k", guess).await.unwrap();
    }

    async fn what_a_policy_demands_of_requests_cannot_be_left_out(f: Fixture) {
        let people = People::new(&f, &[]);
        open(&people.root, ObjectOwnership::BucketOwnerEnforced).await;
        let all = other(r#""s3:*""#);
        let once = deny("s3:PutObject", r#"{"Null":{"s3:if-none-match":"true"},"Bool":{"s3:ObjectCreationOperation":"true"}}"#);
        allow(&people.root, &[all.clone(), once].join(",")).await;
        assert_eq!(write(&people.other, "k").await, Err(denied()));
        people.other.put_object().bucket(BUCKET).key("k").if_none_match("*").send().await.unwrap();
        let upload = people.other.create_multipart_upload().bucket(BUCKET).key("m").send().await.unwrap();
        let part = people.other.upload_part().bucket(BUCKET).key("m").part_number(1);
        part.upload_id(upload.upload_id().unwrap()).send().await.unwrap();
        let elsewhere = deny("s3:GetObject", r#"{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"},"Bool":{"aws:ViaAWSService":"false"}}"#);
        allow(&people.root, &[all.clone(), elsewhere].join(",")).await;
        assert_eq!(read(&people.other, "k").await, Err(denied()));
        let service = deny("s3:GetObject", r#"{"Bool":{"aws:PrincipalIsAWSService":"false"}}"#);
        allow(&people.root, &[all, service].join(",")).await;
        assert_eq!(read(&people.other, "k").await, Err(denied()));
    }

    async fn who_sends_a_body_slowly_changes_nothing_of_what_came_meanwhile(f: Fixture) {
        let people = People::new(&f, &[]);
        open(&people.root, ObjectOwnership::ObjectWriter).await;
        let everybody = "uri=http://acs.amazonaws.com/groups/global/AllUsers";
        let put = f.s3.put_object().bucket(BUCKET).key("k").grant_write_acp(everybody);
        put.grant_full_control(format!("id={}", people.root_id())).send().await.unwrap();
        let document = format!(
            "<AccessControlPolicy><Owner><ID>{}</ID></Owner><AccessControlList><Grant>\
             <Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\">\
             <URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee>\
             <Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>",
            people.root_id(),
        );
        let length = document.len();
        let root = people.root.clone();
        let late = stream::once(Box::pin(async move {
            // The request was let through: now another object comes in place of the one that it was about.
            let put = root.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"secret"));
            put.send().await.unwrap();
            Ok::<_, Infallible>(Frame::data(Bytes::from(document)))
        }));
        let request = http::Request::put(format!("/{BUCKET}/k?acl"))
            .header("host", "127.0.0.1:9")
            .header("content-length", length)
            .body(s3s::Body::http_body_unsync(StreamBody::new(late)))
            .unwrap();
        let response = people.door.service().call(request).await.unwrap();
        assert_eq!(response.status(), 403);
        assert_eq!(f.get("k").await, b"secret");
        assert_eq!(read(&people.nobody, "k").await, Err(denied()));
    }

    async fn what_was_on_its_way_into_a_bucket_does_not_come_into_another_s(f: Fixture) {
        let people = People::new(&f, &[]);
        let name = "theirs";
        for length in [10, 200_000] {
            let open = people.root.create_bucket().bucket(name).object_ownership(ObjectOwnership::ObjectWriter);
            open.send().await.unwrap();
            people.root.delete_public_access_block().bucket(name).send().await.unwrap();
            let acl = people.root.put_bucket_acl().bucket(name).acl(aws_sdk_s3::types::BucketCannedAcl::PublicReadWrite);
            acl.send().await.unwrap();
            let (root, other) = (people.root.clone(), people.other.clone());
            let late = stream::once(Box::pin(async move {
                root.delete_bucket().bucket(name).send().await.unwrap();
                other.create_bucket().bucket(name).send().await.unwrap();
                Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; length])))
            }));
            let request = http::Request::put(format!("/{name}/k"))
                .header("host", "127.0.0.1:9")
                .header("content-length", length)
                .body(s3s::Body::http_body_unsync(StreamBody::new(late)))
                .unwrap();
            let response = people.door.service().call(request).await.unwrap();
            assert_eq!(response.status(), 404, "{length}");
            assert_eq!(people.other.list_objects_v2().bucket(name).send().await.unwrap().contents(), []);
            people.other.delete_bucket().bucket(name).send().await.unwrap();
        }
    }

    async fn locks_are_shown_to_those_who_may_see_them(f: Fixture) {
        let people = People::new(&f, &[]);
        let create = f.s3.create_bucket().bucket("locked").object_lock_enabled_for_bucket(true);
        create.send().await.unwrap();
        let put = f.s3.put_object().bucket("locked").key("read/a");
        put.object_lock_legal_hold_status(aws_sdk_s3::types::ObjectLockLegalHoldStatus::On).send().await.unwrap();
        let held = |s3: &aws_sdk_s3::Client| s3.head_object().bucket("locked").key("read/a").send();
        assert!(held(&people.root).await.unwrap().object_lock_legal_hold_status().is_some());
        assert!(held(&people.admin).await.unwrap().object_lock_legal_hold_status().is_some());
        assert!(held(&people.reader).await.unwrap().object_lock_legal_hold_status().is_none());
    }

    async fn a_deleted_object_is_as_secret_as_one_that_never_was(f: Fixture) {
        let people = People::new(&f, &[r#"{"Version":"2012-10-17","Statement":[
            {"Effect":"Allow","Action":"s3:GetObject*","Resource":"arn:aws:s3:::*"}]}"#]);
        open(&people.root, ObjectOwnership::BucketOwnerEnforced).await;
        f.put("gone", "x").await;
        let suspended = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
        f.s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(suspended).send().await.unwrap();
        f.s3.delete_object().bucket(BUCKET).key("gone").send().await.unwrap();
        allow(&people.root, &other(r#""s3:GetObject*""#)).await;
        for key in ["gone", "never"] {
            for version in [None, Some("null".to_owned())] {
                let get = people.other.get_object().bucket(BUCKET).key(key).set_version_id(version.clone());
                assert_eq!(error(get.send().await), denied(), "{key} {version:?}");
                let tags = people.other.get_object_tagging().bucket(BUCKET).key(key).set_version_id(version);
                assert_eq!(error(tags.send().await), denied());
            }
        }
    }

    async fn what_is_read_is_what_was_decided_about(f: Fixture) {
        let people = People::new(&f, &[]);
        open(&people.root, ObjectOwnership::BucketOwnerEnforced).await;
        allow(&people.root, &format!(r#"
            {{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{BUCKET}/*",
              "Condition":{{"StringEquals":{{"s3:ExistingObjectTag/open":"yes"}}}}}}"#)).await;
        people.other.create_bucket().bucket("theirs").send().await.unwrap();
        let put = |body: &'static str, tags| {
            f.s3.put_object().bucket(BUCKET).key("k").tagging(tags).body(ByteStream::from_static(body.as_bytes())).send()
        };
        put("open", "open=yes").await.unwrap();
        let writing = async {
            for _ in 0..100 {
                put("secret", "open=no").await.unwrap();
                put("open", "open=yes").await.unwrap();
            }
        };
        let reading = async {
            loop {
                match read(&people.nobody, "k").await {
                    Ok(body) => assert_eq!(body, b"open"),
                    Err(refused) => assert!([denied(), (503, "ServiceUnavailable".into())].contains(&refused), "{refused:?}"),
                }
            }
        };
        let copying = async {
            loop {
                let copy = people.other.copy_object().bucket("theirs").key("c").copy_source(format!("{BUCKET}/k"));
                if copy.tagging_directive(aws_sdk_s3::types::TaggingDirective::Replace).send().await.is_ok() {
                    let copied = people.other.get_object().bucket("theirs").key("c").send().await.unwrap();
                    assert_eq!(copied.body.collect().await.unwrap().to_vec(), b"open");
                }
            }
        };
        tokio::select! {
            () = writing => {}
            () = async { tokio::join!(reading, copying); } => {}
        }
    }

    async fn a_foreign_object_is_nothing_to_the_bucket_s_owner(f: Fixture) {
        let people = People::new(&f, &[]);
        open(&people.root, ObjectOwnership::ObjectWriter).await;
        people.root.put_bucket_acl().bucket(BUCKET).acl(aws_sdk_s3::types::BucketCannedAcl::PublicReadWrite).send().await.unwrap();
        let put = people.other.put_object().bucket(BUCKET).key("k").tagging("a=b").body(ByteStream::from_static(b"x"));
        put.send().await.unwrap();
        for s3 in [&people.root, &people.admin, &people.user, &people.reader, &people.nobody] {
            assert_eq!(read(s3, "k").await, Err(denied()));
            assert_eq!(error(s3.get_object_acl().bucket(BUCKET).key("k").send().await), denied());
            let acl = s3.put_object_acl().bucket(BUCKET).key("k").acl(ObjectCannedAcl::PublicRead);
            assert_eq!(error(acl.send().await), denied());
            let copy = s3.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/k"));
            assert_eq!(error(copy.send().await), denied());
            let size = s3.get_object_attributes().bucket(BUCKET).key("k");
            let size = size.object_attributes(aws_sdk_s3::types::ObjectAttributes::ObjectSize);
            assert_eq!(error(size.send().await), denied());
        }
        // "By default, the bucket owner has this permission": its tags are his to give.
        for s3 in [&people.user, &people.reader, &people.nobody] {
            assert_eq!(error(s3.get_object_tagging().bucket(BUCKET).key("k").send().await), denied());
            let tag = s3.put_object_tagging().bucket(BUCKET).key("k").tagging(tagging("a", "c"));
            assert_eq!(error(tag.send().await), denied());
            assert_eq!(error(s3.delete_object_tagging().bucket(BUCKET).key("k").send().await), denied());
        }
        for s3 in [&people.root, &people.admin] {
            assert_eq!(s3.get_object_tagging().bucket(BUCKET).key("k").send().await.unwrap().tag_set().len(), 1);
        }
        people.other.head_object().bucket(BUCKET).key("k").send().await.unwrap();
        // Nor does anybody add to it, whom everybody's WRITE lets replace it.
        let append = |s3: &Client| {
            let put = s3.put_object().bucket(BUCKET).key("k").write_offset_bytes(1);
            put.body(ByteStream::from_static(b"y")).send()
        };
        assert_eq!(error(append(&people.root).await), denied());
        assert_eq!(error(append(&people.nobody).await), denied());
        append(&people.other).await.unwrap();
        assert_eq!(read(&people.other, "k").await, Ok(b"xy".to_vec()));
        // An upload is the writer's: a stranger with its id makes him the owner of nothing, and sees and ends nothing.
        let upload = people.other.create_multipart_upload().bucket(BUCKET).key("m").send().await.unwrap();
        let id = upload.upload_id().unwrap();
        for s3 in [&people.root, &people.admin, &people.user, &people.reader, &people.nobody] {
            let part = s3.upload_part().bucket(BUCKET).key("m").part_number(1).upload_id(id).body(ByteStream::from_static(b"y"));
            let part = part.send().await;
            let end = s3.complete_multipart_upload().bucket(BUCKET).key("m").upload_id(id).multipart_upload(parts("e")).send().await;
            assert_eq!(error(part), denied());
            assert_eq!(error(end), denied());
        }
        for s3 in [&people.user, &people.reader, &people.nobody] {
            assert_eq!(error(s3.list_parts().bucket(BUCKET).key("m").upload_id(id).send().await), denied());
            assert_eq!(error(s3.abort_multipart_upload().bucket(BUCKET).key("m").upload_id(id).send().await), denied());
        }
        people.other.upload_part().bucket(BUCKET).key("m").part_number(1).upload_id(id).send().await.unwrap();
        assert_eq!(people.other.list_parts().bucket(BUCKET).key("m").upload_id(id).send().await.unwrap().parts().len(), 1);
        people.other.abort_multipart_upload().bucket(BUCKET).key("m").upload_id(id).send().await.unwrap();
        // The bucket's owner may end all of them.
        let upload = people.other.create_multipart_upload().bucket(BUCKET).key("m").send().await.unwrap();
        let abort = people.root.abort_multipart_upload().bucket(BUCKET).key("m");
        abort.upload_id(upload.upload_id().unwrap()).send().await.unwrap();
    }
}

fn parts(etag: &str) -> CompletedMultipartUpload {
    CompletedMultipartUpload::builder().parts(CompletedPart::builder().part_number(1).e_tag(etag).build()).build()
}
