//! What there is to ask for: one table that both answers requests and makes the OpenAPI document.

use std::any::TypeId;
use std::sync::LazyLock;

use futures_util::future::BoxFuture;
use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use super::accounts::{AccountRequest, AccountUpdate};
use super::keys::{KeyUpdate, NewKey};
use super::managed::{NewPolicy, NewVersion};
use super::page::Page;
use super::principals::{NewPrincipal, NewRole, PrincipalUpdate, RoleTrust};
use super::{Answer, Begun, Desk, Document, Done, Fresh, Made, Outcome, Shown};
use crate::admin::Result;
use crate::admin::view::{
    Account, AccountDetails, Credentials, Job, Key, NewAccount, Policy, PolicyDetails, PolicyVersion, Principal,
    PrincipalDetails, Snapshot, Status, Usage, Volume,
};
use crate::metadata::PrincipalKind;

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Of an account: that of whoever asks, or another one if he is of the deployment's own.
    Account,
    /// Of the deployment: for those of its own account alone.
    Deployment,
}

/// A parameter in the query.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// The type of its value, in JSON Schema.
    pub(super) kind: &'static str,
    pub(super) about: &'static str,
}

const LIMIT: Parameter =
    Parameter { name: "limit", kind: "integer", about: "How many at most, 1 to 1000; 100 if left out." };
const AFTER: Parameter = Parameter { name: "after", kind: "string", about: "The `next` of the page before." };
const WHOLE: Parameter = Parameter {
    name: "whole",
    kind: "boolean",
    about: "With its keys, its policies and its memberships; otherwise it must have none.",
};
const DETACH: Parameter =
    Parameter { name: "detach", kind: "boolean", about: "Detach it first; otherwise it must be attached to nobody." };
const USER: Parameter = Parameter { name: "user", kind: "string", about: "Those of one user alone." };
const ACCOUNT: Parameter = Parameter {
    name: "account",
    kind: "string",
    about: "Name or id of the account that it is done in: another than one's own for those of the deployment's own account alone.",
};

/// What an action is asked for about: names with places for what differs.
#[derive(Debug)]
pub(super) struct About(pub(super) &'static [&'static str]);

impl About {
    /// Whether it is about this.
    pub(super) fn is(&self, resource: &str) -> bool {
        self.0.iter().any(|template| {
            // What stands between the places must be there, in order.
            let mut literals =
                template.split('{').map(|piece| piece.split_once('}').map_or(piece, |(_, behind)| behind));
            let first = literals.next().and_then(|literal| resource.strip_prefix(literal));
            let mut rest = first;
            for literal in literals {
                rest = rest.and_then(|rest| rest.find(literal).and_then(|at| rest.get(at + literal.len()..)));
            }
            rest.is_some()
        })
    }
}

/// How a type looks in JSON.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Something that can be asked for.
pub(super) struct Route {
    pub(super) method: Method,
    /// Behind the prefix: `/users/{user}`.
    pub(super) path: &'static str,
    /// Its name, and that of its action: `GetUser`.
    pub(super) action: &'static str,
    pub(super) summary: &'static str,
    pub(super) scope: Scope,
    pub(super) about: About,
    own_parameters: &'static [Parameter],
    pub(super) body: Option<SchemaOf>,
    pub(super) statuses: &'static [(u16, &'static str)],
    /// `None`: nothing is shown.
    pub(super) shown: Option<SchemaOf>,
    pub(super) run: for<'d> fn(&'d Desk<'d>) -> BoxFuture<'d, Result<Answer>>,
}

impl Route {
    pub(super) fn parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        let account = (self.scope == Scope::Account).then_some(&ACCOUNT);
        self.own_parameters.iter().chain(account)
    }

    /// The names in its path.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(name)
    }
}

/// A place for a name in a path.
fn name(segment: &'static str) -> Option<&'static str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// What is at a path.
pub(super) enum Found {
    /// This, with what stands in the path for its names, percent-encoded.
    Route(&'static Route, Vec<(&'static str, String)>),
    /// Something that is asked for by other methods.
    Other(Vec<&'static str>),
    Nothing,
}

/// Finds what is asked for.
pub(super) fn find(method: &Method, path: &str) -> Found {
    let asked: Vec<&str> = path.split('/').collect();
    let matched = |route: &'static Route| -> Option<Vec<(&'static str, String)>> {
        let own: Vec<&'static str> = route.path.trim_start_matches('/').split('/').collect();
        if own.len() != asked.len() {
            return None;
        }
        let mut names = Vec::new();
        for (own, asked) in own.into_iter().zip(&asked) {
            match name(own) {
                Some(name) if !asked.is_empty() => names.push((name, (*asked).to_owned())),
                None if own == *asked => {}
                _ => return None,
            }
        }
        Some(names)
    };
    let mut others = Vec::new();
    for route in ROUTES.iter() {
        let Some(names) = matched(route) else { continue };
        if route.method == *method {
            return Found::Route(route, names);
        }
        others.push(route.method.as_str());
    }
    if others.is_empty() { Found::Nothing } else { Found::Other(others) }
}

fn schema_of<T: JsonSchema + 'static>() -> Option<SchemaOf> {
    (TypeId::of::<T>() != TypeId::of::<()>()).then_some(SchemaGenerator::subschema_for::<T>)
}

/// A row of the table. What stands behind it is done with the body, if there is to be one; both types are those that are documented.
macro_rules! route {
    ($method:ident $path:expr, $action:expr, $summary:expr, $scope:ident $about:expr, [$($parameter:ident),*],
     $outcome:ty, |$desk:ident $(, $given:ident: $body:ty)?| $work:expr) => {
        Route {
            method: Method::$method,
            path: $path,
            action: $action,
            summary: $summary,
            scope: Scope::$scope,
            about: About(&$about),
            own_parameters: &[$($parameter),*],
            body: None$(.or(schema_of::<$body>()))?,
            statuses: <$outcome as Outcome>::STATUSES,
            shown: schema_of::<<$outcome as Outcome>::Shown>(),
            run: |$desk| {
                Box::pin(async move {
                    $(let $given: $body = $desk.body()?;)?
                    let outcome: $outcome = $work.await?;
                    Desk::answer(outcome)
                })
            },
        }
    };
}

/// What users, groups and roles have in common.
macro_rules! principals {
    ($one:literal, $name:literal, $kind:ident) => {
        [
            route!(GET concat!("/", $one, "s"), concat!("List", $name, "s"), concat!("Lists all ", $one, "s, by name"),
                Account [concat!("arn:aws:iam::{account}:", $one, "/")], [LIMIT, AFTER],
                Shown<Page<Principal>>, |desk| desk.list(PrincipalKind::$kind)),
            route!(GET concat!("/", $one, "s/{", $one, "}"), concat!("Get", $name),
                concat!("Shows a ", $one, " with all that belongs to it"),
                Account [concat!("arn:aws:iam::{account}:", $one, "{path}{", $one, "}")], [],
                Shown<PrincipalDetails>, |desk| desk.get(PrincipalKind::$kind)),
            route!(PATCH concat!("/", $one, "s/{", $one, "}"), concat!("Update", $name),
                concat!("Changes what is said of a ", $one, ". Asked for about what it becomes, too"),
                Account [concat!("arn:aws:iam::{account}:", $one, "{path}{", $one, "}")], [],
                Shown<PrincipalDetails>, |desk, new: PrincipalUpdate| desk.update(PrincipalKind::$kind, new)),
            route!(DELETE concat!("/", $one, "s/{", $one, "}"), concat!("Delete", $name), concat!("Removes a ", $one),
                Account [concat!("arn:aws:iam::{account}:", $one, "{path}{", $one, "}")], [WHOLE],
                Done, |desk| desk.delete(PrincipalKind::$kind)),
            route!(PUT concat!("/", $one, "s/{", $one, "}/policies/{policy}"), concat!("Attach", $name, "Policy"),
                concat!("Attaches a policy to a ", $one, ". Conditions may be about `iam:PolicyARN`"),
                Account [concat!("arn:aws:iam::{account}:", $one, "{path}{", $one, "}")], [],
                Done, |desk| desk.attach(PrincipalKind::$kind, true)),
            route!(DELETE concat!("/", $one, "s/{", $one, "}/policies/{policy}"), concat!("Detach", $name, "Policy"),
                concat!("Detaches a policy from a ", $one, ". Conditions may be about `iam:PolicyARN`"),
                Account [concat!("arn:aws:iam::{account}:", $one, "{path}{", $one, "}")], [],
                Done, |desk| desk.attach(PrincipalKind::$kind, false)),
            route!(GET concat!("/", $one, "s/{", $one, "}/inline-policies/{policy}"), concat!("Get", $name, "Policy"),
                concat!("Shows a policy of a ", $one, "'s own"),
                Account [concat!("arn:aws:iam::{account}:", $one, "{path}{", $one, "}")], [],
                Shown<Value>, |desk| desk.get_inline(PrincipalKind::$kind)),
            route!(PUT concat!("/", $one, "s/{", $one, "}/inline-policies/{policy}"), concat!("Put", $name, "Policy"),
                concat!("Gives a ", $one, " a policy of its own, in place of one of that name"),
                Account [concat!("arn:aws:iam::{account}:", $one, "{path}{", $one, "}")], [],
                Made<Value>, |desk, policy: Document| desk.put_inline(PrincipalKind::$kind, policy)),
            route!(DELETE concat!("/", $one, "s/{", $one, "}/inline-policies/{policy}"),
                concat!("Delete", $name, "Policy"), concat!("Takes a policy of its own from a ", $one),
                Account [concat!("arn:aws:iam::{account}:", $one, "{path}{", $one, "}")], [],
                Done, |desk| desk.delete_inline(PrincipalKind::$kind)),
        ]
    };
}

/// What users and roles have in common.
macro_rules! bounded {
    ($one:literal, $name:literal, $kind:ident) => {
        [
            route!(PUT concat!("/", $one, "s/{", $one, "}/boundary/{policy}"),
                concat!("Put", $name, "PermissionsBoundary"),
                concat!("Says what a ", $one, " may do at most. Conditions may be about `iam:PermissionsBoundary`"),
                Account [concat!("arn:aws:iam::{account}:", $one, "{path}{", $one, "}")], [],
                Shown<PrincipalDetails>, |desk| desk.bind(PrincipalKind::$kind)),
            route!(DELETE concat!("/", $one, "s/{", $one, "}/boundary"),
                concat!("Delete", $name, "PermissionsBoundary"),
                concat!("Has a ", $one, " bound by nothing. Conditions may be about `iam:PermissionsBoundary`"),
                Account [concat!("arn:aws:iam::{account}:", $one, "{path}{", $one, "}")], [],
                Done, |desk| desk.unbind(PrincipalKind::$kind)),
        ]
    };
}

const OF_USER: &str = "arn:aws:iam::{account}:user{path}{user}";
const OF_GROUP: &str = "arn:aws:iam::{account}:group{path}{group}";
const OF_ROLE: &str = "arn:aws:iam::{account}:role{path}{role}";
const OF_POLICY: &str = "arn:aws:iam::{account}:policy{path}{policy}";
const OF_ROOT: &str = "arn:aws:iam::{account}:root";
/// A policy that is AWS's own has no account in its name.
const ANY_POLICY: [&str; 2] = [OF_POLICY, "arn:aws:iam::aws:policy/{policy}"];
const OF_ACCOUNT: &str = "arn:aws:ninefold:::account/{account}";
const OF_DEPLOYMENT: &str = "arn:aws:ninefold:::deployment";
const OF_VOLUME: &str = "arn:aws:ninefold:::volume/{volume}";
const OF_JOB: &str = "arn:aws:ninefold:::job/{job}";

/// All there is.
pub(super) static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
    let mut routes = Vec::new();
    routes.push(route!(PUT "/users/{user}", "CreateUser", "Makes a user, who may do nothing yet",
        Account [OF_USER], [],
        Made<PrincipalDetails>, |desk, new: NewPrincipal| desk.create(PrincipalKind::User, new, None)));
    routes.extend(principals!("user", "User", User));
    routes.extend(bounded!("user", "User", User));
    routes.push(route!(PUT "/groups/{group}", "CreateGroup", "Makes a group",
        Account [OF_GROUP], [],
        Made<PrincipalDetails>, |desk, new: NewPrincipal| desk.create(PrincipalKind::Group, new, None)));
    routes.extend(principals!("group", "Group", Group));
    routes.extend([
        route!(PUT "/groups/{group}/users/{user}", "AddUserToGroup", "Takes a user into a group",
            Account [OF_GROUP], [], Done, |desk| desk.set_member(true)),
        route!(DELETE "/groups/{group}/users/{user}", "RemoveUserFromGroup", "Takes a user out of a group",
            Account [OF_GROUP], [], Done, |desk| desk.set_member(false)),
        route!(PUT "/groups/{group}/enabled", "EnableGroup", "Switches a group on",
            Account [OF_GROUP], [], Done, |desk| desk.switch_group(true)),
        route!(DELETE "/groups/{group}/enabled", "DisableGroup",
            "Switches a group off: until it is on again its policies count for nothing",
            Account [OF_GROUP], [], Done, |desk| desk.switch_group(false)),
    ]);
    routes.push(route!(PUT "/roles/{role}", "CreateRole", "Makes a role, which may do nothing yet",
        Account [OF_ROLE], [], Made<PrincipalDetails>, |desk, new: NewRole| desk.create_role(new)));
    routes.extend(principals!("role", "Role", Role));
    routes.extend(bounded!("role", "Role", Role));
    routes.push(route!(PUT "/roles/{role}/trust", "UpdateRoleTrust", "Says anew who may take a role",
        Account [OF_ROLE], [], Shown<PrincipalDetails>, |desk, new: RoleTrust| desk.trust(new)));
    routes.extend(policies());
    routes.extend(keys());
    routes.extend(accounts());
    routes.extend(operation());
    routes
});

fn policies() -> [Route; 8] {
    [
        route!(GET "/policies", "ListPolicies", "Lists the policies that can be attached, by name",
            Account ["arn:aws:iam::{account}:policy/"], [LIMIT, AFTER],
            Shown<Page<Policy>>, |desk| desk.list_policies()),
        route!(PUT "/policies/{policy}", "CreatePolicy", "Makes a policy",
            Account [OF_POLICY], [], Made<PolicyDetails>, |desk, new: NewPolicy| desk.create_policy(new)),
        route!(GET "/policies/{policy}", "GetPolicy", "Shows a policy, what it says, and whom it is attached to",
            Account ANY_POLICY, [], Shown<PolicyDetails>, |desk| desk.get_policy()),
        route!(DELETE "/policies/{policy}", "DeletePolicy", "Removes a policy with all its versions",
            Account ANY_POLICY, [DETACH], Done, |desk| desk.delete_policy()),
        route!(POST "/policies/{policy}/versions", "CreatePolicyVersion",
            "Gives a policy a further version, of five at most",
            Account ANY_POLICY, [], Fresh<PolicyVersion>, |desk, new: NewVersion| desk.create_version(new)),
        route!(GET "/policies/{policy}/versions/{version}", "GetPolicyVersion", "Shows a version of a policy",
            Account ANY_POLICY, [], Shown<PolicyVersion>, |desk| desk.get_version()),
        route!(DELETE "/policies/{policy}/versions/{version}", "DeletePolicyVersion",
            "Removes a version that does not count",
            Account ANY_POLICY, [], Done, |desk| desk.delete_version()),
        route!(PUT "/policies/{policy}/default-version/{version}", "SetDefaultPolicyVersion",
            "Says which version of a policy counts",
            Account ANY_POLICY, [], Done, |desk| desk.set_default_version()),
    ]
}

fn keys() -> [Route; 5] {
    [
        route!(GET "/keys", "ListKeys", "Lists access keys, of the account or of a user",
            Account [OF_ROOT, OF_USER], [USER, LIMIT, AFTER], Shown<Page<Key>>, |desk| desk.list_keys()),
        route!(POST "/keys", "CreateKey", "Makes an access key, whose secret is shown once",
            Account [OF_ROOT, OF_USER], [], Fresh<Credentials>, |desk, new: NewKey| desk.create_key(new)),
        route!(GET "/keys/{key}", "GetKey", "Shows an access key, and when it was used last",
            Account [OF_ROOT, OF_USER], [], Shown<Key>, |desk| desk.get_key()),
        route!(PATCH "/keys/{key}", "UpdateKey", "Switches an access key off or on, or changes what limits it",
            Account [OF_ROOT, OF_USER], [], Shown<Key>, |desk, new: KeyUpdate| desk.update_key(new)),
        route!(DELETE "/keys/{key}", "DeleteKey", "Removes an access key",
            Account [OF_ROOT, OF_USER], [], Done, |desk| desk.delete_key()),
    ]
}

fn accounts() -> [Route; 5] {
    [
        route!(GET "/accounts", "ListAccounts", "Lists all accounts, by id",
            Deployment [OF_ACCOUNT], [LIMIT, AFTER], Shown<Page<Account>>, |desk| desk.list_accounts()),
        route!(POST "/accounts", "CreateAccount",
            "Makes an account with an access key of its own, whose secret is shown once",
            Deployment [OF_ACCOUNT], [], Fresh<NewAccount>, |desk, new: AccountRequest| desk.create_account(new)),
        route!(GET "/accounts/{account}", "GetAccount", "Shows an account, by its id or name, and who is in it",
            Deployment [OF_ACCOUNT], [], Shown<AccountDetails>, |desk| desk.get_account()),
        route!(PATCH "/accounts/{account}", "UpdateAccount", "Changes what is said of an account",
            Deployment [OF_ACCOUNT], [], Shown<Account>, |desk, new: AccountUpdate| desk.update_account(new)),
        route!(DELETE "/accounts/{account}", "DeleteAccount",
            "Removes an account that has neither buckets nor users, groups, roles or policies, with its own access keys",
            Deployment [OF_ACCOUNT], [], Done, |desk| desk.delete_account()),
    ]
}

fn operation() -> [Route; 11] {
    [
        route!(GET "/status", "GetStatus", "Shows instances, volumes, chunks, jobs, and what waits for healing",
            Deployment [OF_DEPLOYMENT], [], Shown<Status>, |desk| desk.status()),
        route!(GET "/usage", "GetUsage", "Shows what buckets hold",
            Deployment [OF_DEPLOYMENT], [], Shown<Usage>, |desk| desk.usage()),
        route!(GET "/snapshots", "ListSnapshots", "Lists the snapshots of the metadata, the oldest first",
            Deployment [OF_DEPLOYMENT], [LIMIT, AFTER], Shown<Page<Snapshot>>, |desk| desk.list_snapshots()),
        route!(GET "/volumes", "ListVolumes", "Lists the volumes, by name",
            Deployment [OF_VOLUME], [LIMIT, AFTER], Shown<Page<Volume>>, |desk| desk.list_volumes()),
        route!(GET "/volumes/{volume}", "GetVolume", "Shows a volume",
            Deployment [OF_VOLUME], [], Shown<Volume>, |desk| desk.get_volume()),
        route!(DELETE "/volumes/{volume}", "RemoveVolume", "Forgets a volume that was drained",
            Deployment [OF_VOLUME], [], Done, |desk| desk.remove_volume()),
        route!(PUT "/volumes/{volume}/drain", "DrainVolume",
            "Has every shard of a volume moved to others; it takes no new ones from now on",
            Deployment [OF_VOLUME], [], Begun<Job>, |desk| desk.drain_volume()),
        route!(DELETE "/volumes/{volume}/drain", "UndrainVolume", "Calls a drain off",
            Deployment [OF_VOLUME], [], Done, |desk| desk.undrain_volume()),
        route!(GET "/jobs", "ListJobs", "Lists all jobs that ever were asked for, by name",
            Deployment [OF_JOB], [LIMIT, AFTER], Shown<Page<Job>>, |desk| desk.list_jobs()),
        route!(GET "/jobs/{job}", "GetJob", "Shows how far a job is",
            Deployment [OF_JOB], [], Shown<Job>, |desk| desk.get_job()),
        route!(PUT "/jobs/{job}", "StartJob",
            "Asks for `heal`, `scrub`, `rebalance` or `snapshot`; one that waits or runs goes on as it is",
            Deployment [OF_JOB], [], Begun<Job>, |desk| desk.start_job()),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_found_and_has_a_name_of_its_own() {
        let mut actions = BTreeSet::new();
        for route in ROUTES.iter() {
            assert!(actions.insert(route.action), "{} twice", route.action);
            let path = route.path.trim_start_matches('/');
            match find(&route.method, path) {
                Found::Route(found, names) => {
                    assert_eq!(found.action, route.action);
                    assert_eq!(names.len(), route.names().count());
                }
                _ => panic!("{path} is not found"),
            }
        }
        assert!(matches!(find(&Method::GET, "users/"), Found::Nothing));
        assert!(matches!(find(&Method::GET, "nothing"), Found::Nothing));
        assert!(matches!(find(&Method::POST, "users"), Found::Other(methods) if methods == ["GET"]));
    }

    #[test]
    fn what_an_action_is_about_is_known_by_its_name() {
        let user = About(&[OF_USER]);
        assert!(user.is("arn:aws:iam::123456789012:user/a/b") && !user.is("arn:aws:iam::123456789012:group/b"));
        assert!(!user.is("arn:aws:ninefold:::job/scrub") && About(&[OF_JOB]).is("arn:aws:ninefold:::job/"));
    }
}
