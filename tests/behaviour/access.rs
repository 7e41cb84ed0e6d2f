//! What buckets and objects say about access, as far as one account can see it.

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object_acl::GetObjectAclOutput;
use aws_sdk_s3::types::{
    AccessControlPolicy, BucketCannedAcl, CompletedMultipartUpload, CompletedPart, Grant, Grantee, MetadataDirective,
    ObjectCannedAcl, ObjectOwnership, Owner, OwnershipControls, OwnershipControlsRule, Payer, Permission,
    PublicAccessBlockConfiguration, RequestPaymentConfiguration, StorageClass, Type,
};

use crate::fixture::{BUCKET, Fixture, error, on_both};

const EVERYBODY: &str = "http://acs.amazonaws.com/groups/global/AllUsers";

fn controls(ownership: ObjectOwnership) -> OwnershipControls {
    let rule = OwnershipControlsRule::builder().object_ownership(ownership).build().unwrap();
    OwnershipControls::builder().rules(rule).build().unwrap()
}

fn block(acls: bool) -> PublicAccessBlockConfiguration {
    PublicAccessBlockConfiguration::builder().block_public_acls(acls).ignore_public_acls(true).build()
}

/// ACLs count from now on, public ones too.
async fn open(s3: &Client, bucket: &str, ownership: ObjectOwnership) {
    s3.put_bucket_ownership_controls().bucket(bucket).ownership_controls(controls(ownership)).send().await.unwrap();
    s3.delete_public_access_block().bucket(bucket).send().await.unwrap();
}

/// Grants as `who may`, groups by the last part of their address.
fn grants(grants: &[Grant]) -> Vec<String> {
    let name = |grant: &Grant| {
        let to = grant.grantee().unwrap();
        let name = match to.r#type() {
            Type::Group => to.uri().unwrap().rsplit('/').next().unwrap(),
            _ => {
                assert_eq!(to.display_name(), Some("root"));
                assert_eq!(to.id().unwrap().len(), 64);
                "owner"
            }
        };
        format!("{name} {}", grant.permission().unwrap().as_str())
    };
    grants.iter().map(name).collect()
}

async fn acl(s3: &Client, key: &str) -> GetObjectAclOutput {
    s3.get_object_acl().bucket(BUCKET).key(key).send().await.unwrap()
}

async fn of(s3: &Client, key: &str) -> Vec<String> {
    grants(acl(s3, key).await.grants())
}

const OWNER: &str = "owner FULL_CONTROL";

on_both! {
    async fn new_buckets_are_as_closed_as_at_amazon(f: Fixture) {
        let s3 = &f.s3;
        let shown = s3.get_bucket_ownership_controls().bucket(BUCKET).send().await.unwrap().ownership_controls.unwrap();
        assert_eq!(shown, controls(ObjectOwnership::BucketOwnerEnforced));
        let shown = s3.get_public_access_block().bucket(BUCKET).send().await.unwrap();
        let shown = shown.public_access_block_configuration.unwrap();
        let all = [shown.block_public_acls, shown.ignore_public_acls, shown.block_public_policy, shown.restrict_public_buckets];
        assert_eq!(all, [Some(true); 4]);
        let shown = s3.get_bucket_acl().bucket(BUCKET).send().await.unwrap();
        assert_eq!((grants(shown.grants()), shown.owner().unwrap().display_name()), (vec![OWNER.into()], Some("root")));
        let unknown = s3.get_bucket_policy().bucket(BUCKET).send().await;
        assert_eq!(error(unknown), (404, "NoSuchBucketPolicy".into()));
        let unknown = s3.get_bucket_policy_status().bucket(BUCKET).send().await;
        assert_eq!(error(unknown), (404, "NoSuchBucketPolicy".into()));

        let create = || s3.create_bucket().bucket("other");
        let public = create().acl(BucketCannedAcl::PublicRead).send().await;
        assert_eq!(error(public), (400, "InvalidBucketAclWithObjectOwnership".into()));
        let public = create().acl(BucketCannedAcl::PublicRead).object_ownership(ObjectOwnership::ObjectWriter).send().await;
        assert_eq!(error(public), (400, "InvalidBucketAclWithBlockPublicAccessError".into()));
        assert_eq!(error(create().object_ownership("Mine".into()).send().await), (400, "InvalidArgument".into()));
        assert_eq!(error(s3.head_bucket().bucket("other").send().await).0, 404);
        let created = create().acl("log-delivery-write".into()).object_ownership(ObjectOwnership::BucketOwnerPreferred);
        created.send().await.unwrap();
        let shown = s3.get_bucket_acl().bucket("other").send().await.unwrap();
        assert_eq!(grants(shown.grants()), [OWNER, "LogDelivery WRITE", "LogDelivery READ_ACP"]);
        for error_of in [
            error(s3.get_bucket_acl().bucket("none").send().await),
            error(s3.get_public_access_block().bucket("none").send().await),
            error(s3.get_bucket_ownership_controls().bucket("none").send().await),
            error(s3.delete_bucket_policy().bucket("none").send().await),
            error(s3.get_object_acl().bucket("none").key("k").send().await),
            error(s3.put_object().bucket("none").key("k").send().await),
        ] {
            assert_eq!(error_of, (404, "NoSuchBucket".into()));
        }
    }

    async fn where_acls_count_for_nothing_none_are_taken(f: Fixture) {
        let (s3, refused) = (&f.s3, (400, "AccessControlListNotSupported".to_owned()));
        f.put("k", "x").await;
        let put = |acl| s3.put_object().bucket(BUCKET).key("k").acl(acl).send();
        assert_eq!(error(put(ObjectCannedAcl::PublicRead).await), refused);
        // Of its owner all of these say the same.
        put(ObjectCannedAcl::Private).await.unwrap();
        put(ObjectCannedAcl::BucketOwnerFullControl).await.unwrap();
        let id = acl(s3, "k").await.owner().unwrap().id().unwrap().to_owned();
        let with_header = |grant: &str| s3.put_object().bucket(BUCKET).key("k").grant_full_control(grant).send();
        with_header(&format!("id=\"{id}\"")).await.unwrap();
        assert_eq!(error(with_header(&format!("uri=\"{EVERYBODY}\"")).await), refused);
        assert_eq!(error(with_header("id=nobody").await), (400, "InvalidArgument".into()));
        let copy = s3.copy_object().bucket(BUCKET).key("c").copy_source(format!("{BUCKET}/k")).acl(ObjectCannedAcl::PublicRead);
        assert_eq!(error(copy.send().await), refused);
        let upload = s3.create_multipart_upload().bucket(BUCKET).key("c").acl(ObjectCannedAcl::PublicRead);
        assert_eq!(error(upload.send().await), refused);
        let change = s3.put_object_acl().bucket(BUCKET).key("k").acl(ObjectCannedAcl::AuthenticatedRead);
        assert_eq!(error(change.send().await), refused);
        let change = s3.put_bucket_acl().bucket(BUCKET).acl(BucketCannedAcl::PublicRead);
        assert_eq!(error(change.send().await), refused);
        s3.put_object_acl().bucket(BUCKET).key("k").acl(ObjectCannedAcl::BucketOwnerFullControl).send().await.unwrap();
        assert_eq!(of(s3, "k").await, [OWNER]);

        // What was said before counts for nothing, and is not forgotten.
        open(s3, BUCKET, ObjectOwnership::ObjectWriter).await;
        put(ObjectCannedAcl::PublicRead).await.unwrap();
        assert_eq!(of(s3, "k").await, [OWNER, "AllUsers READ"]);
        s3.put_bucket_acl().bucket(BUCKET).acl(BucketCannedAcl::PublicRead).send().await.unwrap();
        let close = || {
            let controls = controls(ObjectOwnership::BucketOwnerEnforced);
            s3.put_bucket_ownership_controls().bucket(BUCKET).ownership_controls(controls).send()
        };
        assert_eq!(error(close().await), (400, "InvalidBucketAclWithObjectOwnership".into()));
        s3.put_bucket_acl().bucket(BUCKET).acl(BucketCannedAcl::Private).send().await.unwrap();
        close().await.unwrap();
        assert_eq!(of(s3, "k").await, [OWNER]);
        open(s3, BUCKET, ObjectOwnership::ObjectWriter).await;
        assert_eq!(of(s3, "k").await, [OWNER, "AllUsers READ"]);
        s3.delete_bucket_ownership_controls().bucket(BUCKET).send().await.unwrap();
        s3.delete_bucket_ownership_controls().bucket(BUCKET).send().await.unwrap();
        let none = s3.get_bucket_ownership_controls().bucket(BUCKET).send().await;
        assert_eq!(error(none), (404, "OwnershipControlsNotFoundError".into()));
        assert_eq!(error(put(ObjectCannedAcl::PublicRead).await), refused);
    }

    async fn acls_are_kept_as_they_are_said(f: Fixture) {
        let s3 = &f.s3;
        open(s3, BUCKET, ObjectOwnership::BucketOwnerPreferred).await;
        for (canned, expected) in [
            (ObjectCannedAcl::Private, &[OWNER][..]),
            (ObjectCannedAcl::PublicRead, &[OWNER, "AllUsers READ"]),
            (ObjectCannedAcl::PublicReadWrite, &[OWNER, "AllUsers READ", "AllUsers WRITE"]),
            (ObjectCannedAcl::AuthenticatedRead, &[OWNER, "AuthenticatedUsers READ"]),
            (ObjectCannedAcl::BucketOwnerRead, &[OWNER]),
            (ObjectCannedAcl::BucketOwnerFullControl, &[OWNER]),
        ] {
            let put = s3.put_object().bucket(BUCKET).key("put").acl(canned.clone());
            put.send().await.unwrap();
            assert_eq!(of(s3, "put").await, expected, "{canned:?}");
            f.put("changed", "x").await;
            assert_eq!(of(s3, "changed").await, [OWNER]);
            s3.put_object_acl().bucket(BUCKET).key("changed").acl(canned.clone()).send().await.unwrap();
            assert_eq!(of(s3, "changed").await, expected, "{canned:?}");
            // A copy is its owner's alone, whatever others may do with what was copied.
            let copy = || s3.copy_object().bucket(BUCKET).key("copy").copy_source(format!("{BUCKET}/put"));
            copy().send().await.unwrap();
            assert_eq!(of(s3, "copy").await, [OWNER]);
            copy().acl(canned.clone()).send().await.unwrap();
            assert_eq!(of(s3, "copy").await, expected, "{canned:?}");
        }
        let read = |key| s3.put_object().bucket(BUCKET).key(key).grant_read(format!("uri={EVERYBODY}"));
        read("granted").send().await.unwrap();
        assert_eq!(of(s3, "granted").await, ["AllUsers READ"], "not even its owner has more than is said");
        let both = read("granted").acl(ObjectCannedAcl::Private).send().await;
        assert_eq!(error(both), (400, "InvalidRequest".into()));
        assert_eq!(error(read("granted").acl("log-delivery-write".into()).send().await).0, 400);
        for (name, expected) in [("aws-exec-read", (501, "NotImplemented")), ("open", (400, "InvalidArgument"))] {
            let put = s3.put_object().bucket(BUCKET).key("k").acl(name.into()).send().await;
            assert_eq!(error(put), (expected.0, expected.1.into()));
        }

        let owner = acl(s3, "put").await.owner.unwrap();
        let grantee = |kind| Grantee::builder().r#type(kind);
        let grant = |to, may| Grant::builder().grantee(to).permission(may).build();
        let me = grantee(Type::CanonicalUser).id(owner.id().unwrap()).build().unwrap();
        let everybody = grantee(Type::Group).uri(EVERYBODY).build().unwrap();
        let document = AccessControlPolicy::builder()
            .owner(owner.clone())
            .grants(grant(me.clone(), Permission::WriteAcp))
            .grants(grant(everybody, Permission::ReadAcp))
            .build();
        let put = |document| s3.put_object_acl().bucket(BUCKET).key("put").access_control_policy(document);
        put(document.clone()).send().await.unwrap();
        assert_eq!(of(s3, "put").await, ["owner WRITE_ACP", "AllUsers READ_ACP"]);
        s3.put_bucket_acl().bucket(BUCKET).access_control_policy(document.clone()).send().await.unwrap();
        let shown = s3.get_bucket_acl().bucket(BUCKET).send().await.unwrap();
        assert_eq!(grants(shown.grants()), ["owner WRITE_ACP", "AllUsers READ_ACP"]);
        let nobody = AccessControlPolicy::builder().owner(owner.clone()).set_grants(Some(Vec::new())).build();
        s3.put_bucket_acl().bucket(BUCKET).access_control_policy(nobody).send().await.unwrap();
        assert_eq!(grants(s3.get_bucket_acl().bucket(BUCKET).send().await.unwrap().grants()), [""; 0]);

        let of_another = AccessControlPolicy::builder().owner(Owner::builder().id("somebody").build()).build();
        assert_eq!(error(put(of_another).send().await), (403, "AccessDenied".into()));
        let unknown = grantee(Type::CanonicalUser).id("somebody").build().unwrap();
        let with = |to| AccessControlPolicy::builder().owner(owner.clone()).grants(grant(to, Permission::Read)).build();
        assert_eq!(error(put(with(unknown)).send().await), (400, "InvalidArgument".into()));
        let unknown = grantee(Type::AmazonCustomerByEmail).email_address("a@example.com").build().unwrap();
        assert_eq!(error(put(with(unknown)).send().await), (400, "UnresolvableGrantByEmailAddress".into()));
        let twice = put(document).acl(ObjectCannedAcl::Private).send().await;
        assert_eq!(error(twice), (400, "UnexpectedContent".into()));
        let nothing = s3.put_object_acl().bucket(BUCKET).key("put").send().await;
        assert_eq!(error(nothing), (400, "MissingSecurityHeader".into()));
        let absent = s3.put_object_acl().bucket(BUCKET).key("absent").acl(ObjectCannedAcl::Private).send().await;
        assert_eq!(error(absent), (404, "NoSuchKey".into()));
    }

    async fn versions_and_uploads_have_acls_of_their_own(f: Fixture) {
        use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
        let s3 = &f.s3;
        open(s3, BUCKET, ObjectOwnership::ObjectWriter).await;
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(enabled).send().await.unwrap();
        let put = |acl| s3.put_object().bucket(BUCKET).key("k").acl(acl).send();
        let first = put(ObjectCannedAcl::PublicRead).await.unwrap().version_id.unwrap();
        put(ObjectCannedAcl::Private).await.unwrap();
        let version = |id: &str| s3.get_object_acl().bucket(BUCKET).key("k").version_id(id).send();
        assert_eq!(grants(version(&first).await.unwrap().grants()), [OWNER, "AllUsers READ"]);
        assert_eq!(of(s3, "k").await, [OWNER]);
        let change = s3.put_object_acl().bucket(BUCKET).key("k").version_id(&first).acl(ObjectCannedAcl::AuthenticatedRead);
        change.send().await.unwrap();
        assert_eq!(grants(version(&first).await.unwrap().grants()), [OWNER, "AuthenticatedUsers READ"]);
        assert_eq!(of(s3, "k").await, [OWNER]);
        let marker = s3.delete_object().bucket(BUCKET).key("k").send().await.unwrap().version_id.unwrap();
        assert_eq!(error(version(&marker).await), (405, "MethodNotAllowed".into()));
        let hidden = s3.get_object_acl().bucket(BUCKET).key("k").send().await;
        assert_eq!(error(hidden), (404, "NoSuchKey".into()));
        let of_marker = s3.put_object_acl().bucket(BUCKET).key("k").version_id(&marker).acl(ObjectCannedAcl::Private);
        assert_eq!(error(of_marker.send().await), (405, "MethodNotAllowed".into()));

        let start = s3.create_multipart_upload().bucket(BUCKET).key("parts");
        let start = start.acl(ObjectCannedAcl::PublicRead).storage_class(StorageClass::ReducedRedundancy);
        let id = start.send().await.unwrap().upload_id.unwrap();
        let part = s3.upload_part().bucket(BUCKET).key("parts").upload_id(&id).part_number(1).body(vec![1; 10].into());
        let part = CompletedPart::builder().part_number(1).e_tag(part.send().await.unwrap().e_tag.unwrap()).build();
        let listed = s3.list_parts().bucket(BUCKET).key("parts").upload_id(&id).send().await.unwrap();
        assert_eq!(listed.storage_class(), Some(&StorageClass::ReducedRedundancy));
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        s3.complete_multipart_upload().bucket(BUCKET).key("parts").upload_id(&id).multipart_upload(parts).send().await.unwrap();
        assert_eq!(of(s3, "parts").await, [OWNER, "AllUsers READ"]);
        let head = s3.head_object().bucket(BUCKET).key("parts").send().await.unwrap();
        assert_eq!(head.storage_class(), Some(&StorageClass::ReducedRedundancy));
    }

    async fn public_acls_are_refused_where_they_are_blocked(f: Fixture) {
        let s3 = &f.s3;
        open(s3, BUCKET, ObjectOwnership::ObjectWriter).await;
        let set = |acls| s3.put_public_access_block().bucket(BUCKET).public_access_block_configuration(block(acls)).send();
        let put = |acl| s3.put_object().bucket(BUCKET).key("k").acl(acl).send();
        let bucket = |acl| s3.put_bucket_acl().bucket(BUCKET).acl(acl).send();
        set(true).await.unwrap();
        let shown = s3.get_public_access_block().bucket(BUCKET).send().await.unwrap().public_access_block_configuration;
        let shown = shown.unwrap();
        let all = [shown.block_public_acls, shown.ignore_public_acls, shown.block_public_policy, shown.restrict_public_buckets];
        assert_eq!(all, [Some(true), Some(true), Some(false), Some(false)]);
        let denied = (403, "AccessDenied".to_owned());
        for public in [ObjectCannedAcl::PublicRead, ObjectCannedAcl::PublicReadWrite, ObjectCannedAcl::AuthenticatedRead] {
            assert_eq!(error(put(public).await), denied);
        }
        put(ObjectCannedAcl::Private).await.unwrap();
        let change = s3.put_object_acl().bucket(BUCKET).key("k").grant_write_acp(format!("uri={EVERYBODY}"));
        assert_eq!(error(change.send().await), denied);
        assert_eq!(error(bucket(BucketCannedAcl::PublicReadWrite).await), denied);
        set(false).await.unwrap();
        put(ObjectCannedAcl::PublicRead).await.unwrap();
        bucket(BucketCannedAcl::PublicReadWrite).await.unwrap();
        for _ in 0..2 {
            s3.delete_public_access_block().bucket(BUCKET).send().await.unwrap();
        }
        let none = s3.get_public_access_block().bucket(BUCKET).send().await;
        assert_eq!(error(none), (404, "NoSuchPublicAccessBlockConfiguration".into()));
    }

    async fn classes_are_kept_and_shown(f: Fixture) {
        let s3 = &f.s3;
        let put = |key, class: StorageClass| s3.put_object().bucket(BUCKET).key(key).storage_class(class).send();
        put("reduced", StorageClass::ReducedRedundancy).await.unwrap();
        put("standard", StorageClass::Standard).await.unwrap();
        assert_eq!(error(put("k", StorageClass::Glacier).await), (501, "NotImplemented".into()));
        assert_eq!(error(put("k", "COLD".into()).await), (400, "InvalidStorageClass".into()));
        let shown = async |key: &str| {
            let head = s3.head_object().bucket(BUCKET).key(key).send().await.unwrap().storage_class;
            let get = s3.get_object().bucket(BUCKET).key(key).send().await.unwrap().storage_class;
            assert_eq!(head, get);
            head
        };
        assert_eq!(shown("reduced").await, Some(StorageClass::ReducedRedundancy));
        assert_eq!(shown("standard").await, None);
        let listed = s3.list_objects_v2().bucket(BUCKET).send().await.unwrap();
        let classes: Vec<_> = listed.contents().iter().map(|object| object.storage_class().unwrap().as_str()).collect();
        assert_eq!(classes, ["REDUCED_REDUNDANCY", "STANDARD"]);
        let listed = s3.list_object_versions().bucket(BUCKET).send().await.unwrap();
        assert_eq!(listed.versions()[0].storage_class().unwrap().as_str(), "REDUCED_REDUNDANCY");
        let attributes = s3.get_object_attributes().bucket(BUCKET).key("reduced");
        let attributes = attributes.object_attributes(aws_sdk_s3::types::ObjectAttributes::StorageClass);
        assert_eq!(attributes.send().await.unwrap().storage_class, Some(StorageClass::ReducedRedundancy));

        // It is not copied, and a reason to copy something onto itself.
        let copy = |key: &str| s3.copy_object().bucket(BUCKET).key(key).copy_source(format!("{BUCKET}/reduced"));
        copy("copy").send().await.unwrap();
        assert_eq!(shown("copy").await, None);
        assert_eq!(error(copy("reduced").send().await), (400, "InvalidRequest".into()));
        copy("reduced").storage_class(StorageClass::Standard).send().await.unwrap();
        assert_eq!(shown("reduced").await, None);
        let other = copy("reduced").metadata_directive(MetadataDirective::Replace);
        other.storage_class(StorageClass::ReducedRedundancy).send().await.unwrap();
        assert_eq!(shown("reduced").await, Some(StorageClass::ReducedRedundancy));
    }

    async fn a_policy_is_kept_as_it_was_sent(f: Fixture) {
        let s3 = &f.s3;
        let policy = |effect: &str, principal: &str| {
            format!(
                "{{ \"Version\":\t\"2012-10-17\", \"Statement\": [ {{\"Effect\": \"{effect}\", \"Principal\": {principal},\n \
                 \"Action\": \"s3:GetObject\", \"Resource\": \"arn:aws:s3:::{BUCKET}/ä*\"}} ] }}\n"
            )
        };
        let put = |text: &str| s3.put_bucket_policy().bucket(BUCKET).policy(text).send();
        let get = async || s3.get_bucket_policy().bucket(BUCKET).send().await.unwrap().policy.unwrap();
        let public = async || {
            let status = s3.get_bucket_policy_status().bucket(BUCKET).send().await.unwrap().policy_status.unwrap();
            status.is_public.unwrap()
        };
        let (closed, open) = (policy("Deny", "\"*\""), policy("Allow", "\"*\""));
        put(&closed).await.unwrap();
        assert_eq!(get().await, closed);
        assert!(!public().await);
        assert_eq!(error(put(&open).await), (403, "AccessDenied".into()), "public policies are blocked");
        assert_eq!(get().await, closed);
        s3.delete_public_access_block().bucket(BUCKET).send().await.unwrap();
        put(&open).await.unwrap();
        assert_eq!(get().await, open);
        assert!(public().await);
        for bad in ["{}", "not JSON", &policy("Permit", "\"*\""), &open.replace(BUCKET, "another"), &"x".repeat(30_000)] {
            assert_eq!(error(put(bad).await), (400, "MalformedPolicy".into()), "{bad:.100}");
        }
        assert_eq!(error(put("").await), (400, "MissingRequestBodyError".into()));
        assert_eq!(get().await, open);
        let f = f.restart().await;
        assert_eq!(f.s3.get_bucket_policy().bucket(BUCKET).send().await.unwrap().policy.unwrap(), open);
        for _ in 0..2 {
            f.s3.delete_bucket_policy().bucket(BUCKET).send().await.unwrap();
        }
        let none = f.s3.get_bucket_policy().bucket(BUCKET).send().await;
        assert_eq!(error(none), (404, "NoSuchBucketPolicy".into()));
    }

    async fn nobody_pays_for_requests(f: Fixture) {
        let s3 = &f.s3;
        let put = |payer| {
            let configuration = RequestPaymentConfiguration::builder().payer(payer).build().unwrap();
            s3.put_bucket_request_payment().bucket(BUCKET).request_payment_configuration(configuration).send()
        };
        put(Payer::BucketOwner).await.unwrap();
        assert_eq!(error(put(Payer::Requester).await), (501, "NotImplemented".into()));
        assert_eq!(error(put("Nobody".into()).await), (400, "MalformedXML".into()));
        let got = s3.get_bucket_request_payment().bucket(BUCKET).send().await.unwrap();
        assert_eq!(got.payer(), Some(&Payer::BucketOwner));
        let nowhere = s3.get_bucket_request_payment().bucket("none").send().await;
        assert_eq!(error(nowhere), (404, "NoSuchBucket".into()));
    }
}
