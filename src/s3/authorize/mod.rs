//! Whether a request may do what it asks for.
//!
//! Everything that the first lines of a request say is decided before its body is read; what only the body says is waited for
//! ([`Pending`]). What an operation must ask for by itself, as DeleteObjects for each of its keys, it asks the [`Authority`] in the request's
//! extensions.

mod actions;
mod context;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use s3s::dto::CopySource;
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Result};
use time::OffsetDateTime;

use super::error::{from_objects, s3_error};
use crate::access::acl::{Ownership, Permission};
use crate::access::claims::Claims;
use crate::access::policy::{self, AclGrant, Asked, Context, Decision, Layers, Policy, Reason};
use crate::access::query::Query;
use crate::access::{
    Account, BucketRules, Directory, Identity, ObjectRules, PublicAccessBlock, Resources, Seen, UploadRules,
};
use crate::audit::Decided;
use crate::clock::Millis;
use crate::metadata::Object;
use crate::s3::post::VerifiedForm;
use crate::server::{Noted, OverTls, Peer};
use actions::{About, ByAcl};
pub(crate) use context::add_general;

/// Decides about requests.
#[derive(Clone)]
pub(super) struct Authorizer {
    directory: Directory,
    resources: Arc<dyn Resources>,
}

/// A bucket, as it bears upon a decision.
#[derive(Debug, Clone)]
struct Place {
    name: String,
    rules: Arc<BucketRules>,
    /// Who owns it; `None` if there is no such account any more.
    owner: Option<Arc<Account>>,
    /// What of public access is blocked in it, by itself or by its account.
    block: PublicAccessBlock,
}

/// An action that is needed on something.
#[derive(Debug, Clone)]
struct Demand {
    action: &'static str,
    by_acl: ByAcl,
    /// Where; `None` if it is about no bucket that is there.
    place: Option<Arc<Place>>,
    /// The bucket's name, or a key in it.
    resource: String,
    object: Option<Arc<ObjectRules>>,
    /// What conditions are about, where that is not what the request's are about: the source of a copy, and the tags that come with it.
    context: Option<Arc<Context>>,
    /// Whether it is about what is set on an object while it is written.
    of_writer: bool,
    /// Whether it is about an upload that the same account started.
    of_initiator: bool,
}

impl Demand {
    fn new(action: &'static str, place: Option<Arc<Place>>, resource: String) -> Self {
        let by_acl = ByAcl::of(action);
        Self { action, by_acl, place, resource, object: None, context: None, of_writer: false, of_initiator: false }
    }
}

/// What a request needs that is asked for once its body is there.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    demands: Vec<Demand>,
    /// The key and version whose own rules have a say.
    object: Option<(String, Option<String>)>,
}

/// Who asks, and where: for operations that ask for more.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    who: Identity,
    place: Option<Arc<Place>>,
    context: Arc<Context>,
    now: Millis,
    /// Where what is decided is noted.
    noted: Option<Noted>,
}

/// How a demand was decided, and what a client is told of it.
struct Judged {
    decision: Decision,
    outcome: S3Result<()>,
}

/// In the extensions of a request for objects that somebody asks for who does not own their buckets plainly: whether he may be told that there
/// is none. Most find theirs, and it is never asked.
#[derive(Debug, Clone)]
pub(super) struct Unseen(Arc<[(Authority, String)]>);

impl Unseen {
    /// Whether it must not be told.
    pub(super) fn is_concealed(&self) -> bool {
        self.0.iter().any(|(authority, key)| !authority.may_list(key))
    }
}

/// In the extensions of a request that was let in because of objects' own rules: those objects.
#[derive(Debug, Clone)]
pub(super) struct Considered(pub(super) Arc<[Seen]>);

/// A request's first lines, and how it came.
#[derive(Clone, Copy)]
pub(super) struct Lines<'a> {
    /// What `s3s` calls it.
    pub(super) operation: &'a str,
    pub(super) path: &'a S3Path,
    pub(super) headers: &'a HeaderMap,
    pub(super) query: &'a Query,
    /// What its signature claims; `None` if it has none.
    pub(super) claims: Option<&'a Claims>,
    /// The form that it came as, if it did.
    pub(super) form: Option<&'a VerifiedForm>,
    /// Where it comes from, if that is known.
    pub(super) peer: Option<Peer>,
    /// How, if it came over TLS.
    pub(super) tls: Option<&'a OverTls>,
    pub(super) now: Millis,
    /// Where what is decided is noted.
    pub(super) noted: Option<&'a Noted>,
}

impl Lines<'_> {
    /// Notes a refusal that no policy is the reason of; other errors are none.
    fn refused_by<T>(&self, rule: &'static str, resource: &str, outcome: S3Result<T>) -> S3Result<T> {
        if let (Some(noted), Err(error)) = (self.noted, &outcome)
            && *error.code() == S3ErrorCode::AccessDenied
        {
            noted.decided(|| Decided::refused(&format!("s3:{}", self.operation), arn(resource), rule));
        }
        outcome
    }
}

fn arn(resource: &str) -> String {
    format!("arn:aws:s3:::{resource}")
}

/// What is to be put into the extensions of a request that was let through.
pub(super) struct Allowed {
    pub(super) authority: Authority,
    pub(super) pending: Option<Pending>,
    pub(super) unseen: Option<Unseen>,
    pub(super) considered: Option<Considered>,
}

impl Place {
    /// Whether everything in it is `who`'s without a question.
    fn is_plainly_of(&self, who: &Identity) -> bool {
        let own = self.owner.as_ref().is_some_and(|owner| owner.id == who.account.id);
        let enforced = self.rules.ownership == Ownership::BucketOwnerEnforced;
        own && enforced && who.is_root() && who.session.is_none() && self.rules.policy.is_none()
    }
}

impl std::fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorizer").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// Operations that are decided again when their body is there: it has a say in what conditions are about, and whoever sends it slowly must
/// not do to another object what he might have done to the one that was there before.
const WITH_BODY: [&str; 5] =
    ["CreateBucket", "PutObjectAcl", "PutObjectTagging", "PutObjectRetention", "PutObjectLegalHold"];

/// What conditions may be about that is in such bodies, in lower case.
const IN_BODY: [&str; 3] = ["s3:locationconstraint", "s3:object-lock-", "s3:requestobjecttag"];

impl Authorizer {
    pub(super) fn new(directory: Directory, resources: Arc<dyn Resources>) -> Self {
        Self { directory, resources }
    }

    /// Decides about a request of `who`.
    ///
    /// # Errors
    /// 403 `AccessDenied`; there is no such bucket; the database's.
    pub(super) async fn authorize(&self, who: &Identity, lines: &Lines<'_>) -> S3Result<Allowed> {
        let about = actions::rules(lines.operation).next().ok_or_else(denied)?.about;
        let (bucket, key) = match lines.path {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(&**bucket), None),
            S3Path::Object { bucket, key } => (Some(&**bucket), Some(&**key)),
        };
        let place = match bucket {
            Some(bucket) if !matches!(about, About::Service | About::NewBucket) => Some(self.place(bucket).await?),
            _ => None,
        };
        let version = lines.query.get("versionId").filter(|version| !version.is_empty());
        let resource = match (bucket, key) {
            (None, _) => "*".to_owned(),
            (Some(bucket), None) => bucket.to_owned(),
            (Some(bucket), Some(key)) => format!("{bucket}/{key}"),
        };
        let expected = check_expected_owner(lines.headers, "x-amz-expected-bucket-owner", place.as_deref());
        lines.refused_by("expectedBucketOwner", &resource, expected)?;
        let demand = |action| Demand::new(action, place.clone(), resource.clone());
        let of_rules = actions::rules(lines.operation).map(|rule| rule.action(version.is_some()));
        let mut demands: Vec<Demand> = of_rules
            .filter(|action| !action.is_empty())
            .map(demand)
            .chain(
                actions::for_headers(lines.operation, lines.headers)
                    .into_iter()
                    .map(|action| Demand { of_writer: actions::is_of_writer(action), ..demand(action) }),
            )
            .collect();

        let renames = lines.operation == "RenameObject";
        let source = lines.headers.get(if renames { "x-amz-rename-source" } else { "x-amz-copy-source" });
        let context = if source.is_none() && place.as_ref().is_some_and(|place| place.is_plainly_of(who)) {
            Context::default()
        } else {
            context::of(lines)
        };
        let authority = Authority {
            who: who.clone(),
            place: place.clone(),
            context: Arc::new(context),
            now: lines.now,
            noted: lines.noted.cloned(),
        };
        let (mut unseen, mut seen) = (Vec::new(), Vec::new());
        if let (About::Object, Some(place), Some(key)) = (about, &authority.place, key) {
            let object = self.object(place, key, version, who).await?;
            unseen.extend(authority.unseen(key, object.as_ref()));
            let object = seeing(&mut seen, place, (key, version), object);
            demands.iter_mut().for_each(|demand| demand.object.clone_from(&object));
        }
        if let (Some(place), Some(key), Some(upload)) = (&authority.place, key, lines.query.get("uploadId")) {
            let own = self.is_of_upload(place, key, upload, who, &demands).await;
            let own = lines.refused_by("uploadOwner", &resource, own)?;
            for demand in demands.iter_mut().filter(|demand| actions::is_of_initiator(demand.action)) {
                demand.of_initiator = own;
            }
        }
        if let Some(source) = source {
            let (of_source, unseen_source) = self.copied(lines, source, &authority, &mut seen).await?;
            // What is renamed is gone from where it was.
            let gone = of_source.read.first().filter(|_| renames);
            let gone = gone.map(|source| Demand::new("s3:DeleteObject", source.place.clone(), source.resource.clone()));
            demands.extend(of_source.read.into_iter().chain(gone));
            demands.extend(of_source.tags.map(|tags| Demand {
                context: Some(authority.with(|context| add_tags(context, &tags, context::add_request_tag))),
                of_writer: true,
                ..demand("s3:PutObjectTagging")
            }));
            unseen.extend(unseen_source);
        }
        let with_body = WITH_BODY.contains(&lines.operation);
        if !with_body || !authority.waits() {
            authority.all(&demands)?;
        }
        let object = key.filter(|_| about == About::Object).map(|key| (key.to_owned(), version.map(str::to_owned)));
        let pending = with_body.then_some(Pending { demands, object });
        let considered = (!seen.is_empty()).then(|| Considered(seen.into()));
        let unseen = (!unseen.is_empty()).then(|| Unseen(unseen.into()));
        Ok(Allowed { authority, pending, unseen, considered })
    }

    async fn place(&self, bucket: &str) -> S3Result<Arc<Place>> {
        let rules = self.resources.bucket_rules(bucket).await.map_err(from_objects)?;
        let owner = self.directory.account(&rules.owner);
        let block = owner.as_ref().map_or_else(PublicAccessBlock::default, |owner| owner.public_access_block);
        let block = block.with(rules.block);
        Ok(Arc::new(Place { name: bucket.to_owned(), rules, owner, block }))
    }

    /// An object's own rules, where they have a say; `Some(None)` if there is no such object.
    async fn object(
        &self,
        place: &Place,
        key: &str,
        version: Option<&str>,
        who: &Identity,
    ) -> S3Result<Option<Option<ObjectRules>>> {
        if place.rules.ownership == Ownership::BucketOwnerEnforced && !asks_for_tags(place, who) {
            return Ok(None);
        }
        self.resources.object_rules(&place.name, key, version).await.map(Some).map_err(from_objects)
    }

    /// Whether the account of who asks started the upload that is asked about.
    ///
    /// # Errors
    /// 403 `AccessDenied`: the upload would be made another account's object, which must not be made the owner of what it did not write.
    async fn is_of_upload(
        &self,
        place: &Place,
        key: &str,
        upload: &str,
        who: &Identity,
        demands: &[Demand],
    ) -> S3Result<bool> {
        if place.is_plainly_of(who) {
            return Ok(false);
        }
        let found = self.resources.upload_rules(&place.name, key, upload).await.map_err(from_objects)?;
        let Some(UploadRules { owner, initiator }) = found else { return Ok(false) };
        let is_own = |id: &str| !who.is_anonymous() && *id == *who.account.canonical_id;
        let writes = demands.iter().any(|demand| demand.action == "s3:PutObject");
        let foreign = place.rules.ownership != Ownership::BucketOwnerEnforced && owner != place.rules.owner;
        if writes && foreign && !is_own(&owner) {
            return Err(denied());
        }
        Ok(is_own(&initiator))
    }

    /// What a copy needs of its source, and whether it must not be told that there is none.
    async fn copied(
        &self,
        lines: &Lines<'_>,
        source: &http::HeaderValue,
        authority: &Authority,
        seen: &mut Vec<Seen>,
    ) -> S3Result<(OfSource, Option<(Authority, String)>)> {
        // What cannot be read the operation refuses with a reason of its own.
        let parsed = source.to_str().ok().and_then(|source| CopySource::parse(source).ok());
        let Some(CopySource::Bucket { bucket, key, version_id }) = parsed else {
            return Ok((OfSource::default(), None));
        };
        let elsewhere = authority.place.as_ref().is_some_and(|place| *place.name != *bucket);
        if lines.operation == "RenameObject" && elsewhere {
            return Ok((OfSource::default(), None));
        }
        let place = self.place(&bucket).await?;
        let expected = check_expected_owner(lines.headers, "x-amz-source-expected-bucket-owner", Some(&place));
        lines.refused_by("expectedBucketOwner", &format!("{bucket}/{key}"), expected)?;
        let version = version_id.as_deref();
        let plain = |place: &Arc<Place>| place.is_plainly_of(&authority.who);
        let replaces = lines.headers.get("x-amz-tagging-directive").is_some_and(|directive| directive == "REPLACE");
        // Tags come along, and who may read an object and write another may not therefore read and write their tags.
        let with_tags = lines.operation == "CopyObject" && !replaces;
        let object = if with_tags && !(plain(&place) && authority.place.as_ref().is_some_and(plain)) {
            Some(self.resources.object_rules(&bucket, &key, version).await.map_err(from_objects)?)
        } else {
            self.object(&place, &key, version, &authority.who).await?
        };
        let at_source = Authority { place: Some(Arc::clone(&place)), ..authority.clone() };
        let unseen = at_source.unseen(&key, object.as_ref());
        let object = seeing(seen, &place, (&key, version), object);
        let context = version.map(|version| authority.with(|context| context.add("s3:VersionId", version)));
        let demand = |action| Demand {
            object: object.clone(),
            context: context.clone(),
            ..Demand::new(action, Some(Arc::clone(&place)), format!("{bucket}/{key}"))
        };
        let (read, read_tags) = match version {
            None => ("s3:GetObject", "s3:GetObjectTagging"),
            Some(_) => ("s3:GetObjectVersion", "s3:GetObjectVersionTagging"),
        };
        let tags = object.as_ref().map(|object| &object.tags).filter(|tags| with_tags && !tags.is_empty());
        let read = [Some(read), tags.map(|_| read_tags)].into_iter().flatten().map(demand).collect();
        Ok((OfSource { read, tags: tags.cloned() }, unseen))
    }

    /// Decides what waited for a body, which adds to what conditions are about, and of the object that is there now.
    ///
    /// # Errors
    /// 403 `AccessDenied`; the database's.
    pub(super) async fn resume(
        &self,
        extensions: &http::Extensions,
        add: impl FnOnce(&mut Context, Millis),
    ) -> S3Result<()> {
        let (Some(pending), Some(authority)) = (extensions.get::<Pending>(), extensions.get::<Authority>()) else {
            return Err(denied());
        };
        let Pending { mut demands, object } = pending.clone();
        if let (Some((key, version)), Some(place)) = (object, &authority.place) {
            let object = self.object(place, &key, version.as_deref(), &authority.who).await?.flatten().map(Arc::new);
            demands.iter_mut().for_each(|demand| demand.object.clone_from(&object));
        }
        let context = authority.with(|context| add(context, authority.now));
        Authority { context, ..authority.clone() }.all(&demands)
    }
}

/// An object that rules were asked of, which `seen` then has.
fn seeing(
    seen: &mut Vec<Seen>,
    place: &Place,
    (key, version): (&str, Option<&str>),
    asked: Option<Option<ObjectRules>>,
) -> Option<Arc<ObjectRules>> {
    let rules = asked?.map(Arc::new);
    seen.push(Seen {
        bucket: place.name.clone(),
        key: key.to_owned(),
        version: version.map(str::to_owned),
        rules: rules.clone(),
    });
    rules
}

/// What a copy needs of its source.
#[derive(Default)]
struct OfSource {
    read: Vec<Demand>,
    /// The tags that come along; `None` if none do.
    tags: Option<BTreeMap<String, String>>,
}

impl Authority {
    /// What conditions are about, and something more.
    fn with(&self, add: impl FnOnce(&mut Context)) -> Arc<Context> {
        let mut context = Context::clone(&self.context);
        add(&mut context);
        Arc::new(context)
    }

    /// Whether a policy is about what is in a body.
    fn waits(&self) -> bool {
        let of_body = |policy: &Policy| IN_BODY.iter().any(|key| policy.mentions(key));
        let of_bucket = self.place.as_ref().and_then(|place| place.rules.policy.as_deref());
        of_bucket.into_iter().chain(self.who.all_policies()).any(of_body)
    }

    /// Canonical id of who owns the bucket that the request is about, as it was decided about.
    pub(super) fn bucket_owner(&self) -> Option<String> {
        self.place.as_ref().map(|place| place.rules.owner.clone())
    }

    /// Whether something may be done to a key of the bucket that the request is about, of which only the bucket's own rules are known.
    pub(super) fn may(&self, action: &'static str, key: &str, version: Option<&str>) -> bool {
        self.demand(action, key, version).is_some_and(|demand| self.ask_noting(&demand).is_ok())
    }

    fn demand(&self, action: &'static str, key: &str, version: Option<&str>) -> Option<Demand> {
        let place = self.place.as_ref()?;
        let context = version.map(|version| self.with(|context| context.add("s3:VersionId", version)));
        let resource = format!("{}/{key}", place.name);
        Some(Demand { context, ..Demand::new(action, Some(Arc::clone(place)), resource) })
    }

    /// The same of what is not asked for, but what an answer depends upon.
    fn would(&self, demand: &Demand) -> bool {
        self.decide(demand).decision.allowed
    }

    /// Whether something may be done to the object that the request is about, which is `object`.
    pub(super) fn may_to(&self, action: &'static str, object: &Object) -> bool {
        let Some(place) = &self.place else { return false };
        let rules = ObjectRules::of(object);
        let resource = format!("{}/{}", place.name, object.key);
        let demand = Demand::new(action, Some(Arc::clone(place)), resource);
        self.would(&Demand { object: Some(Arc::new(rules)), ..demand })
    }

    /// What is asked if there turns out to be no object of this key: nothing if one was found.
    fn unseen(&self, key: &str, object: Option<&Option<ObjectRules>>) -> Option<(Self, String)> {
        let is_plain = self.place.as_ref().is_some_and(|place| place.is_plainly_of(&self.who));
        let is_found = matches!(object, Some(Some(_)));
        (!is_plain && !is_found).then(|| (self.clone(), key.to_owned()))
    }

    /// Whether everything in the bucket is the requester's without a question: he is the root of the account that owns it, and it has no
    /// policy. For what is done to objects that nobody has looked at one by one.
    pub(super) fn owns_all(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.is_plainly_of(&self.who))
    }

    /// Whether an object's headers and tags may be told, of which only the bucket's own rules are known: not where its own rules have a say.
    pub(super) fn may_describe(&self, key: &str) -> bool {
        let enforced = self.place.as_ref().is_some_and(|place| {
            place.rules.ownership == Ownership::BucketOwnerEnforced && !asks_for_tags(place, &self.who)
        });
        let may = |action| self.demand(action, key, None).is_some_and(|demand| self.would(&demand));
        enforced && may("s3:GetObject") && may("s3:GetObjectTagging")
    }

    /// Whether its policy, in place of the one that it has, would allow something on the bucket that the request is about.
    pub(super) fn may_under(&self, policy: &Policy, action: &'static str) -> bool {
        let Some(place) = &self.place else { return false };
        let resource = arn(&place.name);
        let asked = Asked { who: &self.who, action, resource: &resource, context: &self.context };
        let owner = place.owner.as_ref().map_or("", |owner| &owner.id);
        let layers = Layers { resource: Some(policy), acl: AclGrant::Nobody, owner: Some(owner) };
        policy::decide(&asked, &layers).allowed
    }

    /// Whether a listing may show a key: who may list by some prefixes alone learns of keys behind these.
    fn may_list(&self, key: &str) -> bool {
        let Some(place) = &self.place else { return false };
        let context = Some(self.with(|context| context.add("s3:prefix", key)));
        let demand = Demand { context, ..Demand::new("s3:ListBucket", Some(Arc::clone(place)), place.name.clone()) };
        self.would(&demand)
    }

    fn all(&self, demands: &[Demand]) -> S3Result<()> {
        demands.iter().try_for_each(|demand| self.ask_noting(demand))
    }

    /// Decides what the request asks for, and has it noted.
    fn ask_noting(&self, demand: &Demand) -> S3Result<()> {
        let Judged { decision, outcome } = self.decide(demand);
        if let Some(noted) = &self.noted {
            noted.decided(|| Decided::new(demand.action, arn(&demand.resource), &decision));
        }
        outcome
    }

    fn decide(&self, demand: &Demand) -> Judged {
        let own_context = demand.context.as_ref().unwrap_or(&self.context);
        let Some(place) = &demand.place else {
            let nobody_s = Layers { resource: None, acl: AclGrant::Nobody, owner: None };
            return self.ask(demand, &arn(&demand.resource), own_context, nobody_s);
        };
        let who = &self.who;
        let own = place.owner.as_ref().is_some_and(|owner| owner.id == who.account.id);
        let owner = place.owner.as_ref().map_or("", |owner| &owner.id);
        let policy = place.rules.policy.as_deref();
        // A bucket that its policy makes public is its own account's alone where that is blocked.
        if !own && place.block.restrict_public_buckets && policy.is_some_and(Policy::is_public) {
            let decision = Decision { allowed: false, because: Reason::PublicAccessBlock };
            return Judged { decision, outcome: Err(denied()) };
        }
        let object = demand.object.as_deref();
        // The usual case, for which nothing needs to be put together.
        if place.is_plainly_of(who) {
            return Judged { decision: Decision { allowed: true, because: Reason::OwnersRoot }, outcome: Ok(()) };
        }
        let resource = arn(&demand.resource);
        let mut context = Cow::Borrowed(&**own_context);
        if let Some(owner) = &place.owner {
            context.to_mut().add("s3:ResourceAccount", &*owner.id);
            context.to_mut().add("aws:ResourceAccount", &*owner.id);
        }
        let enforced = place.rules.ownership == Ownership::BucketOwnerEnforced;
        let canonical_id = (!who.is_anonymous()).then_some(&*who.account.canonical_id);
        let ignore = place.block.ignore_public_acls;
        if let Some(object) = object {
            add_tags(context.to_mut(), &object.tags, context::add_existing_tag);
        }
        let of_bucket = |permission| place.rules.acl.grant(canonical_id, permission, ignore);
        let acl = match (demand.by_acl, object) {
            _ if demand.of_initiator => AclGrant::Account,
            _ if enforced => AclGrant::Nobody,
            // Who may write an object will own it, and what is set on it.
            _ if demand.of_writer => of_bucket(Permission::Write),
            (ByAcl::Bucket(permission), _) => of_bucket(permission),
            (ByAcl::Object(permission), Some(object)) => object.acl.grant(canonical_id, permission, ignore),
            // Who may list learns that there is no such object.
            (ByAcl::Object(_), None) => of_bucket(Permission::Read),
            (ByAcl::No, _) => AclGrant::Nobody,
        };
        // A bucket's policy may deny what is another account's, and cannot allow it.
        let another = match object {
            Some(object) if actions::is_of_object_owner(demand.action) && object.owner != place.rules.owner => {
                Some(self.owner_of(object))
            }
            _ if demand.of_writer && !own && !who.is_anonymous() => Some(Arc::clone(&who.account.id)),
            _ => None,
        };
        match another.filter(|_| !enforced) {
            None => self.ask(demand, &resource, &context, Layers { resource: policy, acl, owner: Some(owner) }),
            Some(another) => {
                let deny_only = Layers { resource: policy, acl: AclGrant::Everybody, owner: Some(owner) };
                let denied = self.ask(demand, &resource, &context, deny_only);
                if denied.outcome.is_err() {
                    return denied;
                }
                self.ask(demand, &resource, &context, Layers { resource: None, acl, owner: Some(&another) })
            }
        }
    }

    /// The account that owns an object, if it is the one that asks: of all others only the ACL says what it may.
    fn owner_of(&self, object: &ObjectRules) -> Arc<str> {
        let account = &self.who.account;
        if !self.who.is_anonymous() && *account.canonical_id == *object.owner {
            Arc::clone(&account.id)
        } else {
            Arc::from("another")
        }
    }

    fn ask(&self, demand: &Demand, resource: &str, context: &Context, layers: Layers<'_>) -> Judged {
        let asked = Asked { who: &self.who, action: demand.action, resource, context };
        let decision = policy::decide(&asked, &layers);
        let outcome = if decision.allowed {
            Ok(())
        } else {
            tracing::debug!(action = %demand.action, resource, because = %decision.because, "denied");
            Err(self.refusal(demand, resource, &layers))
        };
        Judged { decision, outcome }
    }

    fn refusal(&self, demand: &Demand, resource: &str, layers: &Layers<'_>) -> S3Error {
        let same_account = layers.owner.is_none_or(|owner| owner == &*self.who.account.id);
        // Only one's own account is told who could not do what.
        if same_account && !self.who.is_anonymous() && !self.who.is_root() {
            let message = format!(
                "User: {} is not authorized to perform: {} on resource: \"{resource}\"",
                self.who.arn(),
                demand.action
            );
            return s3_error("AccessDenied", StatusCode::FORBIDDEN, message);
        }
        denied()
    }
}

/// Who asks, and where; put into the request by the guard, without which no method is reached.
pub(super) fn authority(extensions: &http::Extensions) -> S3Result<&Authority> {
    extensions.get::<Authority>().ok_or_else(denied)
}

/// 403 `AccessDenied`.
pub(super) fn denied() -> S3Error {
    s3_error("AccessDenied", StatusCode::FORBIDDEN, "Access Denied")
}

/// Whether any policy is about the tags that an object has.
fn asks_for_tags(place: &Place, who: &Identity) -> bool {
    let mut policies = place.rules.policy.as_deref().into_iter().chain(who.all_policies());
    policies.any(|policy| policy.mentions("s3:existingobjecttag"))
}

/// The account that a client expects to own a bucket, by its id or its canonical id.
fn check_expected_owner(headers: &HeaderMap, name: &str, place: Option<&Place>) -> S3Result<()> {
    let (Some(expected), Some(place)) = (headers.get(name), place) else { return Ok(()) };
    let expected = expected.as_bytes();
    let is_id = place.owner.as_ref().is_some_and(|owner| owner.id.as_bytes() == expected);
    if is_id || place.rules.owner.as_bytes() == expected { Ok(()) } else { Err(denied()) }
}

fn add_tags(context: &mut Context, tags: &BTreeMap<String, String>, add: fn(&mut Context, &str, &str)) {
    tags.iter().for_each(|(key, value)| add(context, key, value));
}

/// What PutObjectTagging's body adds to what conditions are about.
pub(super) fn tags(context: &mut Context, tags: &s3s::dto::Tagging) {
    for tag in &tags.tag_set {
        let key = tag.key.as_deref().unwrap_or_default();
        context::add_request_tag(context, key, tag.value.as_deref().unwrap_or_default());
    }
}

/// What PutObjectRetention's body adds to what conditions are about.
pub(super) fn retention(context: &mut Context, retention: &s3s::dto::ObjectLockRetention, now: Millis) {
    if let Some(mode) = &retention.mode {
        context.add("s3:object-lock-mode", mode.as_str());
    }
    if let Some(until) = &retention.retain_until_date {
        context::add_retention(context, OffsetDateTime::from(until.clone()), now);
    }
}
