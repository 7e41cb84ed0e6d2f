//! The administrative API in JSON, at `/_ninefold/v1/…`: what the commands do, for programs elsewhere.
//!
//! One table of routes ([`routes`]) both answers requests and makes the OpenAPI document ([`document`]): how a body or an answer looks is
//! written down nowhere but in the types that read and write them. Requests are signed as S3's are. Each has one action of its own in the
//! policy language, `ninefold:` and its name in the table, which is asked for about the Amazon Resource Name of what it is done to. Names of
//! users, groups, roles, policies and keys are IAM's.
//!
//! Everybody administers his own account; those of the deployment's own account administer others by `?account=`, and alone accounts, volumes
//! and jobs.

mod accounts;
mod document;
mod inline;
mod keys;
mod managed;
mod operation;
mod page;
mod principals;
mod routes;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::problem::{Named, as_iam};
use super::register::Register;
use super::{Admin, Call, Problem, Result};
use crate::access::Kind;
use crate::access::policy::Context;
use crate::access::query::Query;
use crate::clock::Millis;
use crate::maintenance::OrderError;
use crate::metadata::{Error, IdentityKind, Metadata, PrincipalKind, PrincipalRow};
use routes::{Found, Route, Scope};

pub use document::document;

/// Where the API is. No bucket can have such a name.
pub const PREFIX: &str = "/_ninefold/v1/";

/// What is asked.
pub struct Request<'a> {
    /// How.
    pub method: &'a Method,
    /// What is behind [`PREFIX`], percent-encoded.
    pub path: &'a str,
    /// With which parameters.
    pub query: &'a Query,
    /// What the body is said to be.
    pub content_type: Option<&'a str>,
    /// With which body.
    pub body: &'a [u8],
    /// Who knows what buckets hold.
    pub counts: &'a dyn Counts,
}

/// Knows what buckets hold, which may have to be counted.
pub trait Counts: Sync {
    /// What was counted last; `None` if it is not known.
    fn usage(&self) -> BoxFuture<'_, Option<super::view::Usage>>;
}

/// What is answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// JSON; empty with 204.
    pub body: Vec<u8>,
}

/// What is wrong: RFC 9457, and a name for programs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Details<'a> {
    /// What the status means.
    pub title: &'a str,
    /// The status.
    pub status: u16,
    /// What is wrong, for people.
    pub detail: &'a str,
    /// What was asked for.
    pub instance: &'a str,
    /// What is wrong, for programs: `NoSuchEntity`, `AccessDenied`.
    pub code: &'a str,
    /// The request's id, as in the server's log.
    pub request_id: &'a str,
}

/// The media type of [`Details`].
pub const PROBLEM: &str = "application/problem+json";

/// Names for what is wrong.
pub fn named(problem: &Problem) -> (StatusCode, std::borrow::Cow<'static, str>) {
    problem.named(|error| -> Option<Named> {
        Some(match error {
            Error::VolumeInUse(_) | Error::VolumeHoldsDead(_) => (StatusCode::CONFLICT, "VolumeInUse".into()),
            other => return as_iam(other),
        })
    })
}

/// The methods that something can be asked by; none if there is no such thing.
pub fn allowed(path: &str) -> Vec<&'static str> {
    match routes::find(&Method::OPTIONS, path) {
        Found::Other(methods) => methods,
        _ => Vec::new(),
    }
}

/// How an operation ends: which statuses its success has, and what is shown.
pub(super) trait Outcome {
    /// What is shown.
    type Shown: Serialize + JsonSchema;
    /// The statuses, with what each means.
    const STATUSES: &'static [(u16, &'static str)];
    /// Status and what is shown; nothing with 204.
    fn split(self) -> (u16, Option<Self::Shown>);
}

/// Something is shown.
pub(super) struct Shown<T>(T);

/// Something was made, or was there already as it was to be.
pub(super) struct Made<T> {
    anew: bool,
    what: T,
}

/// Something was made, by a name that it was given here.
pub(super) struct Fresh<T>(T);

/// Something was asked for, which takes its time.
pub(super) struct Begun<T>(T);

/// It was done.
pub(super) struct Done;

impl<T: Serialize + JsonSchema> Outcome for Shown<T> {
    type Shown = T;
    const STATUSES: &'static [(u16, &'static str)] = &[(200, "As it is")];
    fn split(self) -> (u16, Option<T>) {
        (200, Some(self.0))
    }
}

impl<T: Serialize + JsonSchema> Outcome for Made<T> {
    type Shown = T;
    const STATUSES: &'static [(u16, &'static str)] = &[(200, "It was so already"), (201, "It was made")];
    fn split(self) -> (u16, Option<T>) {
        (if self.anew { 201 } else { 200 }, Some(self.what))
    }
}

impl<T: Serialize + JsonSchema> Outcome for Fresh<T> {
    type Shown = T;
    const STATUSES: &'static [(u16, &'static str)] = &[(201, "It was made")];
    fn split(self) -> (u16, Option<T>) {
        (201, Some(self.0))
    }
}

impl<T: Serialize + JsonSchema> Outcome for Begun<T> {
    type Shown = T;
    const STATUSES: &'static [(u16, &'static str)] = &[(202, "It was asked for")];
    fn split(self) -> (u16, Option<T>) {
        (202, Some(self.0))
    }
}

impl Outcome for Done {
    type Shown = ();
    const STATUSES: &'static [(u16, &'static str)] = &[(204, "It was done")];
    fn split(self) -> (u16, Option<()>) {
        (204, None)
    }
}

/// A policy in a body, to the letter: an object that has a name twice is refused by whoever reads policies.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Document(Box<RawValue>);

impl Document {
    fn text(&self) -> &str {
        self.0.get()
    }

    /// Whether it says what another one does, however they are written.
    fn says(&self, other: &str) -> bool {
        let value = |text| serde_json::from_str::<serde_json::Value>(text).ok();
        self.text() == other || value(self.text()).is_some_and(|own| Some(own) == value(other))
    }
}

impl JsonSchema for Document {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PolicyDocument".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "description": "A document in the policy language of AWS.",
            "required": ["Statement"],
        })
    }
}

/// What was left out, said to be nothing, or said: `null` takes away what there is.
pub(super) fn some<'de, D, T>(deserializer: D) -> std::result::Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// What everything that is done here needs.
pub(super) struct Desk<'a> {
    admin: &'a Admin,
    call: &'a Call,
    request: Request<'a>,
    route: &'static Route,
    /// What stands in the path for the names in the route's.
    names: BTreeMap<&'static str, String>,
    register: Register,
}

impl Admin {
    /// Answers a request.
    ///
    /// # Errors
    /// [`Problem`]
    pub async fn json(&self, call: &Call, request: Request<'_>) -> Result<Answer> {
        let (route, names) = match routes::find(request.method, request.path) {
            Found::Route(route, names) => (route, names),
            Found::Other(methods) => {
                let message = format!("it is asked for by {}", methods.join(", "));
                return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message));
            }
            Found::Nothing => {
                return Err(Problem::missing("NoSuchResource", "there is nothing at this address"));
            }
        };
        if let Some(noted) = &call.noted {
            noted.operation(route.action);
        }
        let names = names.into_iter().map(|(name, value)| Ok((name, decoded(&value)?))).collect::<Result<_>>()?;
        check_parameters(route, request.query)?;
        check_body(route, &request)?;
        if call.key.temporary && !matches!(call.who().kind, Kind::Role { .. }) {
            // They may be stolen more easily, and must not be made to last.
            return Err(Problem::denied("this API cannot be called with the credentials of GetSessionToken"));
        }
        self.store()?;
        let register = self.register(&call.who().account.id).await?;
        let own = self.directory.root().account.id == call.who().account.id;
        if route.scope == Scope::Deployment && !own {
            return Err(Problem::denied("only the deployment's own account administers accounts, volumes and jobs"));
        }
        let mut desk = Desk { admin: self, call, request, route, names, register };
        if let Some(name) = desk.parameter("account") {
            let row = desk.register.rows().account(Some(name)).filter(|row| own || row.id == desk.register.account);
            let id = row.map(|row| row.id.clone());
            // Who there is is told to those alone who may ask.
            let missing =
                || if own { none(IdentityKind::Account, name) } else { Problem::denied("the account is another one") };
            desk.register = desk.register.of(&id.ok_or_else(missing)?);
        }
        tracing::debug!(action = route.action, "administration");
        (route.run)(&desk).await
    }
}

fn decoded(segment: &str) -> Result<String> {
    let text = percent_decode_str(segment).decode_utf8();
    Ok(text.map_err(|_| Problem::bad("ValidationError", "the path is no text"))?.into_owned())
}

/// What nobody reads is refused: whoever sends it means something by it.
fn check_parameters(route: &Route, query: &Query) -> Result<()> {
    let is_known = |name: &str| route.parameters().any(|known| known.name == name);
    match query.iter().find(|(name, _)| !is_known(name) && !name.starts_with("X-Amz-")) {
        Some((name, _)) => Err(Problem::bad("ValidationError", format!("{name} is no parameter of {}", route.action))),
        None => Ok(()),
    }
}

fn check_body(route: &Route, request: &Request<'_>) -> Result<()> {
    if route.body.is_none() {
        let message = format!("{} takes no body", route.action);
        return if request.body.is_empty() { Ok(()) } else { Err(Problem::bad("ValidationError", message)) };
    }
    let kind = request.content_type.unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", "a body is application/json"))
}

fn none(kind: IdentityKind, name: &str) -> Problem {
    Error::NoSuchIdentity { kind, name: name.to_owned() }.into()
}

fn exists(kind: IdentityKind, name: &str) -> Problem {
    Error::IdentityExists { kind, name: name.to_owned() }.into()
}

impl Desk<'_> {
    fn metadata(&self) -> Result<&Metadata> {
        Ok(self.admin.store()?.0)
    }

    fn now(&self) -> Millis {
        self.admin.directory.now()
    }

    /// The body, as what the route says it is.
    fn body<T: DeserializeOwned>(&self) -> Result<T> {
        // A list would be taken for the members in their order.
        if self.request.body.trim_ascii_start().first() != Some(&b'{') {
            return Err(Problem::bad("MalformedBody", "a body is an object"));
        }
        serde_json::from_slice(self.request.body).map_err(|error| Problem::bad("MalformedBody", error.to_string()))
    }

    /// An answer, as what the route says it is.
    fn answer<T: Outcome>(outcome: T) -> Result<Answer> {
        let (status, shown) = outcome.split();
        let body = shown.map(|shown| serde_json::to_vec(&shown)).transpose();
        Ok(Answer {
            status: StatusCode::from_u16(status).map_err(|_| Problem::Answer("its status is none"))?,
            body: body.map_err(|_| Problem::Answer("it cannot be JSON"))?.unwrap_or_default(),
        })
    }

    /// A name in the path.
    fn name(&self, of: &'static str) -> &str {
        self.names.get(of).map_or("", String::as_str)
    }

    /// A parameter that the route has.
    fn parameter(&self, name: &str) -> Option<&str> {
        debug_assert!(
            name == "account" || self.route.parameters().any(|known| known.name == name),
            "{} is documented without {name}",
            self.route.action
        );
        self.request.query.get(name).filter(|value| !value.is_empty())
    }

    fn flag(&self, name: &str) -> Result<bool> {
        match self.parameter(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::bad("ValidationError", format!("{name} is true or false"))),
        }
    }

    /// That whoever asks may do what he asks to something.
    fn may(&self, resource: &str) -> Result<()> {
        self.may_within(resource, &self.call.context)
    }

    /// The same where conditions are about more. It is the account of whoever asks that decides, whichever it is done to.
    fn may_within(&self, resource: &str, context: &Context) -> Result<()> {
        debug_assert!(
            self.route.about.is(resource),
            "{} is documented to be about another resource",
            self.route.action
        );
        let (who, action) = (self.call.who(), format!("ninefold:{}", self.route.action));
        if self.call.is_allowed_within(context, &action, resource, &who.account.id) {
            return Ok(());
        }
        let who = who.arn();
        Err(Problem::denied(format!("User: {who} is not authorized to perform: {action} on resource: {resource}")))
    }

    /// What would be the name of a user, group or role, or of a policy.
    fn arn(&self, kind: &str, path: &str, name: &str) -> String {
        format!("arn:aws:iam::{}:{kind}{path}{name}", self.register.account)
    }

    /// Somebody of this name, if whoever asks may do this to him, about whom conditions may be.
    fn principal_called(&self, kind: PrincipalKind, name: &str, context: &Context) -> Result<&PrincipalRow> {
        let Some(row) = self.register.principal(kind, name) else {
            // Who is there is told to those alone who may ask.
            self.may_within(&self.arn(kind.name(), "/", name), context)?;
            return Err(none(IdentityKind::Principal(kind), name));
        };
        let mut context = context.clone();
        for (key, value) in &row.tags {
            context.add(&format!("aws:ResourceTag/{key}"), value);
        }
        self.may_within(&row.arn(), &context)?;
        Ok(row)
    }

    /// The user, group or role in the path.
    fn principal(&self, kind: PrincipalKind) -> Result<&PrincipalRow> {
        self.principal_called(kind, self.name(kind.name()), &self.call.context)
    }

    /// What was changed counts here before it is answered. Answers who there is then.
    async fn changed(&self) -> Result<Register> {
        self.admin.register(&self.register.account).await
    }
}

/// Of orders those that name what is not there, or not so.
pub(super) fn order(error: OrderError) -> Problem {
    let message = error.to_string();
    match error {
        OrderError::NoSuchVolume(_) => Problem::missing("NoSuchVolume", message),
        OrderError::NotDraining(_) => Problem::conflict("VolumeInUse", message),
        OrderError::Metadata(error) => error.into(),
    }
}
