//! The verdict: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>.
//!
//! A denying statement of any layer ends it. Then somebody has to let the requester in, and no limit may be in the way:
//!
//! | who lets in, within the account | boundary limits | session limits |
//! |---|---|---|
//! | the account's root is itself | no | yes |
//! | identity policies | yes | yes |
//! | resource policy or ACL: everybody | no | of a user's or root's key |
//! | resource policy: the session by its ARN | no | no |
//! | resource policy: the user by its ARN | no | yes |
//! | resource policy: the role by its ARN | yes | yes |
//!
//! A resource policy or an ACL that names the account itself lets in nobody but root: of its users the account says whom, by identity
//! policies. Across accounts the resource policy or an ACL must let in, whomever it names, and the requester's own account as well, by
//! identity policies (its root: by being it); boundary and session limit both. AWS says all of this but what limits a key that has policies
//! of its own, which its keys do not have: here they hold whatever lets in.

use super::document::{Of, Statement};
use super::principal::Reach;
use super::variables::{Facts, Matched};
use super::{AclGrant, Asked, Decision, Effect, Layer, Layers, Policy, Reason};
use crate::access::Kind;

/// What the owner's root may do whatever the bucket's policy denies: it is the way out of one that denies everybody.
const OF_THE_OWNER: [&str; 3] = ["s3:getbucketpolicy", "s3:putbucketpolicy", "s3:deletebucketpolicy"];

/// A question, prepared for many statements.
struct Question<'a> {
    facts: Facts<'a>,
    /// In lower case.
    action: String,
    resource: &'a str,
}

/// What the policies of one layer say.
#[derive(Default)]
struct Verdict<'a> {
    denied: Option<Label<'a>>,
    allowed: Option<(Reach, Label<'a>)>,
}

/// Which statement of which policy.
#[derive(Clone, Copy)]
struct Label<'a> {
    layer: Layer,
    policy: &'a Policy,
    statement: &'a Statement,
}

impl Label<'_> {
    fn reason(self) -> Reason {
        let (policy, statement) = (self.policy.name.clone(), self.statement.label.clone());
        Reason::Statement { layer: self.layer, policy, statement }
    }
}

/// Somebody who lets the requester in, and what may still be in the way.
struct Grant<'a> {
    by: By<'a>,
    boundary: bool,
    session: bool,
}

enum By<'a> {
    Rule(Reason),
    Statement(Label<'a>),
}

impl Statement {
    /// How far it goes for this question; `None` if it is not about it.
    fn applies(&self, question: &Question<'_>) -> Option<Reach> {
        let is_listed = self.actions.these.iter().any(|action| action.matches(&question.action));
        if is_listed == self.actions.not {
            return None;
        }
        let reach = self.principals.reach(question.facts.who)?;
        let Some(resources) = &self.resources else { return self.conditions_hold(question).then_some(reach) };
        let matches = resources.these.iter().map(|resource| resource.matches(question.resource, &question.facts));
        let about = match Matched::any(matches) {
            Matched::Yes => !resources.not,
            Matched::No => resources.not,
            // Anything but what nobody knows is denied, and not allowed.
            Matched::Unresolved => resources.not && self.effect == Effect::Deny,
        };
        (about && self.conditions_hold(question)).then_some(reach)
    }

    fn conditions_hold(&self, question: &Question<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.holds(&question.facts, self.effect))
    }
}

fn judge<'a>(policies: impl IntoIterator<Item = &'a Policy>, layer: Layer, question: &Question<'_>) -> Verdict<'a> {
    let mut verdict = Verdict::default();
    let each = |policy: &'a Policy| policy.statements.iter().map(move |statement| (policy, statement));
    for (policy, statement) in policies.into_iter().flat_map(each) {
        let label = Label { layer, policy, statement };
        let Some(reach) = statement.applies(question) else { continue };
        match statement.effect {
            Effect::Deny => return Verdict { denied: Some(label), allowed: None },
            Effect::Allow if verdict.allowed.is_none_or(|(widest, _)| widest < reach) => {
                verdict.allowed = Some((reach, label));
            }
            Effect::Allow => {}
        }
    }
    verdict
}

pub(super) fn decide(asked: &Asked<'_>, layers: &Layers<'_>) -> Decision {
    let who = asked.who;
    let facts = Facts { who, context: asked.context };
    let question = Question { facts, action: asked.action.to_ascii_lowercase(), resource: asked.resource };
    let trust = layers.resource.is_some_and(|policy| policy.of == Of::Trust);
    let own = !who.is_anonymous() && layers.owner.is_none_or(|owner| *owner == *who.account.id);

    let resource = judge(layers.resource, if trust { Layer::Trust } else { Layer::Bucket }, &question);
    let (mut identity, mut boundary) = (Verdict::default(), None);
    if !who.is_root() {
        identity = judge(who.policies.iter().map(|policy| &**policy), Layer::Identity, &question);
        boundary = who.boundary.as_deref().map(|policy| judge([policy], Layer::Boundary, &question));
    }
    let session = who.session.as_ref();
    let session = session.map(|session| judge(session.iter().map(|policy| &**policy), Layer::Session, &question));

    let rescued = own && who.is_root() && !trust && OF_THE_OWNER.contains(&&*question.action);
    let denied = if rescued { None } else { resource.denied };
    let limits = [boundary.as_ref(), session.as_ref()].into_iter().flatten();
    if let Some(label) = denied.or(identity.denied).or_else(|| limits.filter_map(|limit| limit.denied).next()) {
        return Decision { allowed: false, because: label.reason() };
    }

    let allows = |limit: &Option<Verdict<'_>>| limit.as_ref().is_none_or(|limit| limit.allowed.is_some());
    let (within_boundary, within_session) = (allows(&boundary), allows(&session));
    let mut because = Reason::Nothing;
    for grant in grants(asked, layers, &identity, &resource, own, trust) {
        if grant.boundary && !within_boundary {
            because = Reason::Limit(Layer::Boundary);
        } else if grant.session && !within_session {
            because = Reason::Limit(Layer::Session);
        } else {
            let because = match grant.by {
                By::Rule(rule) => rule,
                By::Statement(label) => label.reason(),
            };
            return Decision { allowed: true, because };
        }
    }
    Decision { allowed: false, because }
}

/// All who let the requester in.
fn grants<'a>(
    asked: &Asked<'_>,
    layers: &Layers<'_>,
    identity: &Verdict<'a>,
    resource: &Verdict<'a>,
    own: bool,
    trust: bool,
) -> Vec<Grant<'a>> {
    let who = asked.who;
    let (is_root, is_role) = (who.is_root(), matches!(who.kind, Kind::Role { .. }));
    let is_federated = matches!(who.kind, Kind::Federated { .. });
    // Of its own account, or of nobody's.
    let root = is_root && own && !trust;
    let mut grants = Vec::new();
    if root {
        grants.push(Grant { by: By::Rule(Reason::OwnersRoot), boundary: false, session: true });
    }
    if let Some((_, label)) = identity.allowed.filter(|_| own && !trust) {
        grants.push(Grant { by: By::Statement(label), boundary: true, session: true });
    }
    let acl = match layers.acl {
        AclGrant::Nobody => None,
        AclGrant::Account => Some((if is_root { Reach::Whole } else { Reach::Account }, By::Rule(Reason::Acl))),
        AclGrant::Everybody => Some((Reach::Whole, By::Rule(Reason::Acl))),
    };
    let policy = resource.allowed.map(|(reach, label)| (reach, By::Statement(label)));
    // Nothing that nobody owns has a policy or an ACL.
    for (reach, by) in policy.into_iter().chain(acl).filter(|_| layers.owner.is_some()) {
        if who.is_anonymous() {
            // Nobody in particular takes no role, whoever is trusted.
            if reach == Reach::Whole && !trust {
                grants.push(Grant { by, boundary: false, session: false });
            }
            continue;
        }
        // Everybody who signed is not everybody whom some provider knows: a role says which.
        if is_federated && trust && reach != Reach::Named {
            continue;
        }
        let let_in_by_account = is_root || identity.allowed.is_some();
        let limited = |boundary, session| Grant { by, boundary, session };
        grants.extend(match (own, reach) {
            (false, _) | (true, Reach::Account) => {
                let counts = !own || trust;
                (counts && let_in_by_account).then(|| limited(true, true))
            }
            (true, Reach::Named) => Some(limited(is_role, true)),
            (true, Reach::Whole) => Some(limited(false, !is_role)),
        });
    }
    grants
}
