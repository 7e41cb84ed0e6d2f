//! GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl, and the headers that say an ACL with a write.
//!
//! Source: "Access control list (ACL) overview" and "Controlling ownership of objects and disabling ACLs for your bucket" in the Amazon S3
//! user guide, and the API reference of the operations.

use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::dto::{
    AccessControlPolicy, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput, Owner,
    PutBucketAclInput, PutBucketAclOutput, PutObjectAclInput, PutObjectAclOutput, Type,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, dto};

use super::error::{
    access_denied, from_objects, invalid_argument, invalid_request, not_implemented, s3_error, with_detail,
};
use super::values::{check_key, version};
use super::{Api, Who, display_name, identity};
use crate::access::acl::{Acl, Grant, Grantee, Group, Ownership, Permission};
use crate::access::{BucketRules, Directory, PublicAccessBlock, Resources as _};
use crate::metadata::{VersionChange, VersionId};
use crate::objects::{BucketDefaults, VersionName};

/// Grants in an ACL at most.
const MAX_GRANTS: usize = 100;

/// The headers that grant something, each to those that it names.
const HEADERS: [(&str, Permission); 5] = [
    ("x-amz-grant-full-control", Permission::FullControl),
    ("x-amz-grant-read", Permission::Read),
    ("x-amz-grant-write", Permission::Write),
    ("x-amz-grant-read-acp", Permission::ReadAcp),
    ("x-amz-grant-write-acp", Permission::WriteAcp),
];

const PERMISSIONS: [(&str, Permission); 5] = [
    (dto::Permission::FULL_CONTROL, Permission::FullControl),
    (dto::Permission::READ, Permission::Read),
    (dto::Permission::WRITE, Permission::Write),
    (dto::Permission::READ_ACP, Permission::ReadAcp),
    (dto::Permission::WRITE_ACP, Permission::WriteAcp),
];

const GROUPS: [(&str, Group); 3] = [
    ("http://acs.amazonaws.com/groups/global/AllUsers", Group::AllUsers),
    ("http://acs.amazonaws.com/groups/global/AuthenticatedUsers", Group::AuthenticatedUsers),
    ("http://acs.amazonaws.com/groups/s3/LogDelivery", Group::LogDelivery),
];

/// What an ACL is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Bucket,
    Object,
}

/// The ACLs that have names: "Canned ACL" in the Amazon S3 user guide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Canned {
    Private,
    PublicRead,
    PublicReadWrite,
    AuthenticatedRead,
    BucketOwnerRead,
    BucketOwnerFullControl,
    LogDeliveryWrite,
}

impl Canned {
    fn parse(name: &str) -> S3Result<Self> {
        Ok(match name {
            "private" => Self::Private,
            "public-read" => Self::PublicRead,
            "public-read-write" => Self::PublicReadWrite,
            "authenticated-read" => Self::AuthenticatedRead,
            "bucket-owner-read" => Self::BucketOwnerRead,
            "bucket-owner-full-control" => Self::BucketOwnerFullControl,
            "log-delivery-write" => Self::LogDeliveryWrite,
            // It grants something to a service that there is none of.
            "aws-exec-read" => return Err(not_implemented("x-amz-acl")),
            _ => return Err(unknown_canned(name)),
        })
    }

    fn grants(self, of: Of, owner: &str, bucket_owner: &str) -> S3Result<Acl> {
        let mut acl = Acl::private(owner);
        let mut grant = |to, may| acl.0.push(Grant { to, may });
        let bucket_owner = Grantee::Account(bucket_owner.to_owned());
        let is_owner = bucket_owner == Grantee::Account(owner.to_owned());
        match self {
            Self::Private => {}
            Self::PublicRead => grant(Grantee::Group(Group::AllUsers), Permission::Read),
            Self::PublicReadWrite => {
                grant(Grantee::Group(Group::AllUsers), Permission::Read);
                grant(Grantee::Group(Group::AllUsers), Permission::Write);
            }
            Self::AuthenticatedRead => grant(Grantee::Group(Group::AuthenticatedUsers), Permission::Read),
            Self::BucketOwnerRead if !is_owner => grant(bucket_owner, Permission::Read),
            Self::BucketOwnerFullControl if !is_owner => grant(bucket_owner, Permission::FullControl),
            Self::BucketOwnerRead | Self::BucketOwnerFullControl => {}
            Self::LogDeliveryWrite if of == Of::Bucket => {
                grant(Grantee::Group(Group::LogDelivery), Permission::Write);
                grant(Grantee::Group(Group::LogDelivery), Permission::ReadAcp);
            }
            Self::LogDeliveryWrite => return Err(unknown_canned("log-delivery-write")),
        }
        Ok(acl)
    }
}

/// What a request says of an ACL.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Nothing,
    Canned(Canned),
    Grants(Acl),
}

impl Asked {
    /// What headers say, of which one kind only may be there.
    fn of(headers: &HeaderMap, directory: &Directory) -> S3Result<Self> {
        let canned = headers.get("x-amz-acl").map(|name| name.to_str().unwrap_or_default());
        let canned = canned.filter(|name| !name.is_empty()).map(Canned::parse).transpose()?;
        let mut grants = Vec::new();
        for (header, may) in HEADERS {
            for value in headers.get_all(header) {
                let value = value.to_str().map_err(|_| unreadable(header, ""))?;
                for to in grantees(header, value, directory)? {
                    grants.push(Grant { to, may });
                }
            }
        }
        if grants.len() > MAX_GRANTS {
            return Err(malformed_acl());
        }
        match (canned, grants.is_empty()) {
            (Some(_), false) => Err(invalid_request("Specifying both Canned ACLs and Header Grants is not allowed")),
            (Some(canned), true) => Ok(Self::Canned(canned)),
            (None, false) => Ok(Self::Grants(Acl(grants))),
            (None, true) => Ok(Self::Nothing),
        }
    }

    /// Whether it gives the bucket's owner full control and nobody anything else, were what it is of that of `who`: all that may be said where
    /// ACLs count for nothing. S3 refuses `private` even of the owner himself, which some clients send always: there it says just that.
    fn is_bucket_owners_alone(&self, of: Of, who: &str, bucket_owner: &str) -> S3Result<bool> {
        match self {
            Self::Nothing | Self::Canned(Canned::BucketOwnerFullControl) => Ok(true),
            Self::Canned(canned) => Ok(canned.grants(of, who, bucket_owner)? == Acl::private(bucket_owner)),
            Self::Grants(acl) => Ok(*acl == Acl::private(bucket_owner)),
        }
    }

    fn into_acl(self, of: Of, owner: &str, bucket_owner: &str) -> S3Result<Acl> {
        match self {
            Self::Nothing => Ok(Acl::private(owner)),
            Self::Canned(canned) => canned.grants(of, owner, bucket_owner),
            Self::Grants(acl) => Ok(acl),
        }
    }
}

fn unknown_canned(name: &str) -> S3Error {
    invalid_argument("x-amz-acl", name, "The canned ACL that you specified is not valid")
}

fn unreadable(header: &str, value: &str) -> S3Error {
    invalid_argument(header, value, "Argument format not recognized")
}

fn malformed_acl() -> S3Error {
    s3_error(
        "MalformedACLError",
        StatusCode::BAD_REQUEST,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

fn not_supported() -> S3Error {
    s3_error("AccessControlListNotSupported", StatusCode::BAD_REQUEST, "The bucket does not allow ACLs")
}

/// 400 `InvalidBucketAclWithObjectOwnership`.
pub(super) fn acl_with_ownership() -> S3Error {
    s3_error(
        "InvalidBucketAclWithObjectOwnership",
        StatusCode::BAD_REQUEST,
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
    )
}

/// Those that a header names: `id="..."`, `emailAddress="..."` and `uri="..."`, with commas between and quotes if one likes.
fn grantees(header: &str, value: &str, directory: &Directory) -> S3Result<Vec<Grantee>> {
    let mut all = Vec::new();
    for item in value.split(',').map(str::trim) {
        let (kind, name) = item.split_once('=').ok_or_else(|| unreadable(header, value))?;
        let name = name.trim();
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        all.push(match kind.trim().to_ascii_lowercase().as_str() {
            "id" => by_id(name, directory)?,
            "emailaddress" => by_email(name, directory)?,
            "uri" => by_uri(name)?,
            _ => return Err(unreadable(header, value)),
        });
    }
    Ok(all)
}

fn by_id(id: &str, directory: &Directory) -> S3Result<Grantee> {
    match directory.account(id) {
        Some(_) => Ok(Grantee::Account(id.to_owned())),
        None => Err(invalid_argument("CanonicalUser/ID", id, "Invalid id")),
    }
}

fn by_email(email: &str, directory: &Directory) -> S3Result<Grantee> {
    match directory.account_by_email(email) {
        Some(account) => Ok(Grantee::Account(account.canonical_id.to_string())),
        None => {
            let message = "The e-mail address you provided does not match any account on record.";
            let error = s3_error("UnresolvableGrantByEmailAddress", StatusCode::BAD_REQUEST, message);
            Err(with_detail(error, "EmailAddress", email))
        }
    }
}

fn by_uri(uri: &str) -> S3Result<Grantee> {
    match GROUPS.iter().find(|(known, _)| *known == uri) {
        Some((_, group)) => Ok(Grantee::Group(*group)),
        None => Err(invalid_argument("Group/URI", uri, "Invalid group uri")),
    }
}

/// An ACL as a document has it, which names the `owner` that is.
fn from_document(document: AccessControlPolicy, owner: &str, directory: &Directory) -> S3Result<Acl> {
    let AccessControlPolicy { grants, owner: said } = document;
    let said = said.and_then(|owner| owner.id).filter(|id| !id.is_empty()).ok_or_else(malformed_acl)?;
    if said != owner {
        return Err(access_denied("Access Denied"));
    }
    let grants = grants.unwrap_or_default();
    if grants.len() > MAX_GRANTS {
        return Err(malformed_acl());
    }
    let grant = |grant: dto::Grant| {
        let (Some(grantee), Some(permission)) = (grant.grantee, grant.permission) else { return Err(malformed_acl()) };
        let name = |name: Option<String>| name.filter(|name| !name.is_empty()).ok_or_else(malformed_acl);
        let to = match grantee.type_.as_str() {
            Type::CANONICAL_USER => by_id(&name(grantee.id)?, directory)?,
            Type::AMAZON_CUSTOMER_BY_EMAIL => by_email(&name(grantee.email_address)?, directory)?,
            Type::GROUP => by_uri(&name(grantee.uri)?)?,
            _ => return Err(malformed_acl()),
        };
        let may = PERMISSIONS.iter().find(|(name, _)| *name == permission.as_str());
        Ok(Grant { to, may: may.ok_or_else(malformed_acl)?.1 })
    };
    Ok(Acl(grants.into_iter().map(grant).collect::<S3Result<_>>()?))
}

fn to_owner(id: &str, directory: &Directory) -> Owner {
    Owner { display_name: display_name(directory, id), id: Some(id.to_owned()) }
}

fn to_grants(acl: &Acl, directory: &Directory) -> Vec<dto::Grant> {
    let grantee = |to: &Grantee| {
        let nobody = |kind| dto::Grantee {
            display_name: None,
            email_address: None,
            id: None,
            type_: Type::from_static(kind),
            uri: None,
        };
        match to {
            Grantee::Account(id) => dto::Grantee {
                display_name: display_name(directory, id),
                id: Some(id.clone()),
                ..nobody(Type::CANONICAL_USER)
            },
            Grantee::Group(group) => {
                let uri = GROUPS.iter().find(|(_, known)| known == group).map(|(uri, _)| (*uri).to_owned());
                dto::Grantee { uri, ..nobody(Type::GROUP) }
            }
        }
    };
    let permission = |may: Permission| {
        let name = PERMISSIONS.iter().find(|(_, known)| *known == may).map(|(name, _)| *name);
        name.map(dto::Permission::from_static)
    };
    acl.0
        .iter()
        .map(|Grant { to, may }| dto::Grant { grantee: Some(grantee(to)), permission: permission(*may) })
        .collect()
}

/// An ACL for a row: the owner's alone is none.
fn stored(acl: Acl, owner: &str) -> Option<Acl> {
    (acl != Acl::private(owner)).then_some(acl)
}

/// What of public access to a bucket is blocked, by itself and by its owner's account.
pub(super) fn public_access_block(directory: &Directory, rules: &BucketRules) -> PublicAccessBlock {
    block_of(directory, &rules.owner, Some(rules.block))
}

fn block_of(directory: &Directory, owner: &str, block: Option<PublicAccessBlock>) -> PublicAccessBlock {
    let account = directory.account(owner);
    block.unwrap_or_default().with(account.map(|account| account.public_access_block).unwrap_or_default())
}

fn refuse_public(api: &Api, rules: &BucketRules, acl: &Acl) -> S3Result<()> {
    if acl.is_public() && public_access_block(&api.directory, rules).block_public_acls {
        return Err(access_denied("Access Denied: public ACLs are blocked by the BlockPublicAcls setting."));
    }
    Ok(())
}

/// Whose an object is that `who` writes into a bucket with these headers, and its ACL: `None` if it is the owner's alone.
pub(super) async fn of_new_object(
    api: &Api,
    who: &Who,
    bucket: &str,
    headers: &HeaderMap,
) -> S3Result<(String, Option<Acl>)> {
    let asked = Asked::of(headers, &api.directory)?;
    let rules = api.store.bucket_rules(bucket).await.map_err(from_objects)?;
    let owner = match (rules.ownership, &asked) {
        (Ownership::BucketOwnerEnforced, _) if !asked.is_bucket_owners_alone(Of::Object, &who.id, &rules.owner)? => {
            return Err(not_supported());
        }
        (Ownership::BucketOwnerEnforced, _)
        | (Ownership::BucketOwnerPreferred, Asked::Canned(Canned::BucketOwnerFullControl)) => &rules.owner,
        (Ownership::BucketOwnerPreferred | Ownership::ObjectWriter, _) => &who.id,
    };
    let acl = asked.into_acl(Of::Object, owner, &rules.owner)?;
    refuse_public(api, &rules, &acl)?;
    Ok((owner.clone(), stored(acl, owner)))
}

/// The ACL of a bucket that `owner` makes with these headers: `None` if it is his alone.
pub(super) fn of_new_bucket(
    api: &Api,
    owner: &str,
    headers: &HeaderMap,
    settings: BucketDefaults,
) -> S3Result<Option<Acl>> {
    let acl = Asked::of(headers, &api.directory)?.into_acl(Of::Bucket, owner, owner)?;
    let acl = stored(acl, owner);
    if settings.ownership == Ownership::BucketOwnerEnforced && acl.is_some() {
        return Err(acl_with_ownership());
    }
    let block = block_of(&api.directory, owner, settings.block);
    if block.block_public_acls && acl.as_ref().is_some_and(Acl::is_public) {
        return Err(s3_error(
            "InvalidBucketAclWithBlockPublicAccessError",
            StatusCode::BAD_REQUEST,
            "Bucket cannot have public ACLs set with BlockPublicAccess enabled",
        ));
    }
    Ok(acl)
}

/// What a request to change an ACL asks for, by its headers or by its document.
fn asked(api: &Api, headers: &HeaderMap, document: Option<AccessControlPolicy>, owner: &str) -> S3Result<Asked> {
    match (Asked::of(headers, &api.directory)?, document) {
        (Asked::Nothing, Some(document)) => Ok(Asked::Grants(from_document(document, owner, &api.directory)?)),
        (Asked::Nothing, None) => {
            let message = "Your request was missing a required header";
            let error = s3_error("MissingSecurityHeader", StatusCode::BAD_REQUEST, message);
            Err(with_detail(error, "MissingHeaderName", "x-amz-acl"))
        }
        (asked, None) => Ok(asked),
        (_, Some(_)) => {
            Err(s3_error("UnexpectedContent", StatusCode::BAD_REQUEST, "This request does not support content"))
        }
    }
}

/// The version that an answer is about.
fn put_version(headers: &mut HeaderMap, version: Option<&VersionId>) {
    if let Some(version) = version.and_then(|version| HeaderValue::from_str(version.as_str()).ok()) {
        headers.insert("x-amz-version-id", version);
    }
}

pub(super) async fn get_bucket_acl(
    api: &Api,
    request: S3Request<GetBucketAclInput>,
) -> S3Result<S3Response<GetBucketAclOutput>> {
    let rules = api.store.bucket_rules(&request.input.bucket).await.map_err(from_objects)?;
    let shown = match rules.ownership {
        Ownership::BucketOwnerEnforced => Acl::private(&rules.owner),
        Ownership::BucketOwnerPreferred | Ownership::ObjectWriter => rules.acl.clone(),
    };
    Ok(S3Response::new(GetBucketAclOutput {
        grants: Some(to_grants(&shown, &api.directory)),
        owner: Some(to_owner(&rules.owner, &api.directory)),
    }))
}

pub(super) async fn put_bucket_acl(
    api: &Api,
    request: S3Request<PutBucketAclInput>,
) -> S3Result<S3Response<PutBucketAclOutput>> {
    let who = identity(&request)?;
    let S3Request { input, headers, .. } = request;
    let rules = api.store.bucket_rules(&input.bucket).await.map_err(from_objects)?;
    let asked = asked(api, &headers, input.access_control_policy, &rules.owner)?;
    if rules.ownership == Ownership::BucketOwnerEnforced
        && !asked.is_bucket_owners_alone(Of::Bucket, &who.id, &rules.owner)?
    {
        return Err(not_supported());
    }
    let acl = asked.into_acl(Of::Bucket, &rules.owner, &rules.owner)?;
    refuse_public(api, &rules, &acl)?;
    api.store.set_bucket_acl(input.bucket, stored(acl, &rules.owner)).await.map_err(from_objects)?;
    Ok(S3Response::new(PutBucketAclOutput {}))
}

pub(super) async fn get_object_acl(
    api: &Api,
    request: S3Request<GetObjectAclInput>,
) -> S3Result<S3Response<GetObjectAclOutput>> {
    let GetObjectAclInput { bucket, key, version_id, .. } = request.input;
    check_key(&key)?;
    let rules = api.store.bucket_rules(&bucket).await.map_err(from_objects)?;
    let name = VersionName { bucket, version: version(version_id.as_deref())?, key };
    let object = api.store.object_access(&name).await.map_err(from_objects)?;
    let (owner, acl) = match rules.ownership {
        Ownership::BucketOwnerEnforced => (rules.owner.clone(), None),
        Ownership::BucketOwnerPreferred | Ownership::ObjectWriter => (object.owner, object.acl),
    };
    let acl = acl.unwrap_or_else(|| Acl::private(&owner));
    let mut response = S3Response::new(GetObjectAclOutput {
        grants: Some(to_grants(&acl, &api.directory)),
        owner: Some(to_owner(&owner, &api.directory)),
        request_charged: None,
    });
    put_version(&mut response.headers, object.version.as_ref());
    Ok(response)
}

pub(super) async fn put_object_acl(
    api: &Api,
    request: S3Request<PutObjectAclInput>,
) -> S3Result<S3Response<PutObjectAclOutput>> {
    let who = identity(&request)?;
    let S3Request { input, headers, .. } = request;
    let PutObjectAclInput { bucket, key, version_id, access_control_policy, .. } = input;
    check_key(&key)?;
    let rules = api.store.bucket_rules(&bucket).await.map_err(from_objects)?;
    let name = VersionName { bucket, version: version(version_id.as_deref())?, key };
    let object = api.store.object_access(&name).await.map_err(from_objects)?;
    let enforced = rules.ownership == Ownership::BucketOwnerEnforced;
    let owner = if enforced { &rules.owner } else { &object.owner };
    let asked = asked(api, &headers, access_control_policy, owner)?;
    let version = if enforced {
        if !asked.is_bucket_owners_alone(Of::Object, &who.id, &rules.owner)? {
            return Err(not_supported());
        }
        // It is so already. What the row has is of other times, and may count again.
        object.version
    } else {
        let acl = asked.into_acl(Of::Object, owner, &rules.owner)?;
        refuse_public(api, &rules, &acl)?;
        let change = VersionChange::Acl(stored(acl, owner));
        api.store.change_version(name, change).await.map_err(from_objects)?
    };
    let mut response = S3Response::new(PutObjectAclOutput::default());
    put_version(&mut response.headers, version.as_ref());
    Ok(response)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::access::{Account, Known, RootCredentials, Secret};

    fn directory() -> Directory {
        let secret_key = Secret::new("s3cr3t-k3y");
        let directory = Directory::new(&RootCredentials { access_key: "root".into(), secret_key }, "deployment");
        let account = |name: &str| Account {
            id: "123456789012".into(),
            canonical_id: name.repeat(64).into(),
            name: name.into(),
            email: Some(format!("{name}@example.com").into()),
            public_access_block: PublicAccessBlock::default(),
        };
        let mut known = Known::default();
        known.add_account(Arc::new(account("a")));
        known.add_account(Arc::new(account("b")));
        directory.replace(known);
        directory
    }

    fn account(name: &str) -> Grantee {
        Grantee::Account(name.repeat(64))
    }

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    fn code(error: S3Error) -> String {
        error.code().as_str().to_owned()
    }

    #[test]
    fn headers_grant_to_those_that_they_name() {
        let (a, all) = ("a".repeat(64), GROUPS[0].0);
        let both = format!("id=\"{a}\", emailAddress=B@example.com ,uri={all}");
        let asked = Asked::of(
            &headers(&[("x-amz-grant-read", &both), ("x-amz-grant-write-acp", &format!("id={a}"))]),
            &directory(),
        );
        let grant = |to, may| Grant { to, may };
        let expected = vec![
            grant(account("a"), Permission::Read),
            grant(account("b"), Permission::Read),
            grant(Grantee::Group(Group::AllUsers), Permission::Read),
            grant(account("a"), Permission::WriteAcp),
        ];
        assert_eq!(asked.unwrap(), Asked::Grants(Acl(expected)));
        assert_eq!(Asked::of(&HeaderMap::new(), &directory()).unwrap(), Asked::Nothing);
        let many = vec![format!("id={a}"); 101].join(",");
        for (bad, expected) in [
            (&[("x-amz-acl", "open")][..], "InvalidArgument"),
            (&[("x-amz-acl", "aws-exec-read")], "NotImplemented"),
            (&[("x-amz-acl", "private"), ("x-amz-grant-read", &format!("id={a}"))], "InvalidRequest"),
            (&[("x-amz-grant-read", "id=c")], "InvalidArgument"),
            (&[("x-amz-grant-read", "emailAddress=c@example.com")], "UnresolvableGrantByEmailAddress"),
            (&[("x-amz-grant-read", "uri=http://example.com")], "InvalidArgument"),
            (&[("x-amz-grant-read", "somebody")], "InvalidArgument"),
            (&[("x-amz-grant-read", "")], "InvalidArgument"),
            (&[("x-amz-grant-read", "name=x")], "InvalidArgument"),
            (&[("x-amz-grant-read", &many)], "MalformedACLError"),
        ] {
            assert_eq!(code(Asked::of(&headers(bad), &directory()).unwrap_err()), expected, "{bad:?}");
        }
    }

    #[test]
    fn canned_acls_grant_what_their_names_say() {
        let grants = |name: &str, of, owner: &str| {
            let acl = Canned::parse(name).unwrap().grants(of, owner, "bucket")?;
            assert_eq!(acl.0[0], Acl::private(owner).0[0]);
            Ok::<_, S3Error>(acl.0[1..].iter().map(|grant| (grant.to.clone(), grant.may)).collect::<Vec<_>>())
        };
        let group = |group, may| (Grantee::Group(group), may);
        let bucket = |may| vec![(Grantee::Account("bucket".into()), may)];
        for of in [Of::Bucket, Of::Object] {
            assert_eq!(grants("private", of, "o").unwrap(), []);
            assert_eq!(grants("public-read", of, "o").unwrap(), [group(Group::AllUsers, Permission::Read)]);
            let both = [group(Group::AllUsers, Permission::Read), group(Group::AllUsers, Permission::Write)];
            assert_eq!(grants("public-read-write", of, "o").unwrap(), both);
            let signed = [group(Group::AuthenticatedUsers, Permission::Read)];
            assert_eq!(grants("authenticated-read", of, "o").unwrap(), signed);
        }
        assert_eq!(grants("bucket-owner-read", Of::Object, "o").unwrap(), bucket(Permission::Read));
        assert_eq!(grants("bucket-owner-full-control", Of::Object, "o").unwrap(), bucket(Permission::FullControl));
        for name in ["bucket-owner-read", "bucket-owner-full-control"] {
            assert_eq!(grants(name, Of::Object, "bucket").unwrap(), [], "it has that anyway");
            assert_eq!(grants(name, Of::Bucket, "bucket").unwrap(), []);
        }
        let delivery = [group(Group::LogDelivery, Permission::Write), group(Group::LogDelivery, Permission::ReadAcp)];
        assert_eq!(grants("log-delivery-write", Of::Bucket, "o").unwrap(), delivery);
        assert_eq!(code(grants("log-delivery-write", Of::Object, "o").unwrap_err()), "InvalidArgument");
    }

    fn document(grants: Vec<dto::Grant>) -> AccessControlPolicy {
        AccessControlPolicy { grants: Some(grants), owner: Some(to_owner(&"a".repeat(64), &directory())) }
    }

    #[test]
    fn documents_come_back_as_they_were_given() {
        let directory = directory();
        let grants = [
            (account("a"), Permission::FullControl),
            (account("b"), Permission::Read),
            (Grantee::Group(Group::LogDelivery), Permission::Write),
            (Grantee::Group(Group::AuthenticatedUsers), Permission::ReadAcp),
            (Grantee::Group(Group::AllUsers), Permission::WriteAcp),
        ];
        let acl = Acl(grants.into_iter().map(|(to, may)| Grant { to, may }).collect());
        let given = document(to_grants(&acl, &directory));
        let owner = "a".repeat(64);
        assert_eq!(from_document(given.clone(), &owner, &directory).unwrap(), acl);
        assert_eq!(from_document(document(Vec::new()), &owner, &directory).unwrap(), Acl(Vec::new()));
        let read: Acl = serde_json::from_str(&serde_json::to_string(&acl).unwrap()).unwrap();
        assert_eq!(read, acl);

        let grants = given.grants.unwrap();
        let changed = |change: &dyn Fn(&mut dto::Grantee)| {
            let mut grant = grants[1].clone();
            change(grant.grantee.as_mut().unwrap());
            document(vec![grant])
        };
        let mail = |grantee: &mut dto::Grantee, mail: &str| {
            grantee.type_ = Type::from_static(Type::AMAZON_CUSTOMER_BY_EMAIL);
            grantee.email_address = Some(mail.to_owned());
        };
        let found = from_document(changed(&|to| mail(to, "b@example.com")), &owner, &directory).unwrap();
        assert_eq!(found.0[0].to, account("b"));
        let of_another = AccessControlPolicy { owner: Some(to_owner("c", &directory)), ..document(Vec::new()) };
        for (bad, expected) in [
            (of_another, "AccessDenied"),
            (AccessControlPolicy { owner: None, ..document(Vec::new()) }, "MalformedACLError"),
            (document(vec![grants[0].clone(); 101]), "MalformedACLError"),
            (document(vec![dto::Grant { grantee: None, ..grants[0].clone() }]), "MalformedACLError"),
            (
                document(vec![dto::Grant { permission: Some("LIST".to_owned().into()), ..grants[0].clone() }]),
                "MalformedACLError",
            ),
            (changed(&|to| to.id = None), "MalformedACLError"),
            (changed(&|to| to.type_ = "User".to_owned().into()), "MalformedACLError"),
            (changed(&|to| to.id = Some("c".into())), "InvalidArgument"),
            (changed(&|to| mail(to, "c@example.com")), "UnresolvableGrantByEmailAddress"),
        ] {
            assert_eq!(code(from_document(bad, &owner, &directory).unwrap_err()), expected);
        }
    }

    #[test]
    fn where_acls_count_for_nothing_only_the_bucket_s_owner_is_granted_anything() {
        let alone = |asked: Asked, who| asked.is_bucket_owners_alone(Of::Object, who, "owner").unwrap();
        for who in ["owner", "writer"] {
            assert!(alone(Asked::Nothing, who) && alone(Asked::Canned(Canned::BucketOwnerFullControl), who));
            assert!(alone(Asked::Grants(Acl::private("owner")), who));
            assert!(!alone(Asked::Grants(Acl::private("writer")), who) && !alone(Asked::Grants(Acl::default()), who));
            assert!(!alone(Asked::Canned(Canned::PublicRead), who));
        }
        assert!(alone(Asked::Canned(Canned::Private), "owner") && !alone(Asked::Canned(Canned::Private), "writer"));
    }
}
