//! What is said of documents, descriptions and tags, whoever brings them. Source: "IAM and AWS STS quotas" in the user guide.

use super::{Problem, Result};
use crate::access::policy::{Policy, PolicyKind};
use crate::metadata::{PrincipalKind, Tags};

/// Characters of a policy that can be attached, at most, white space aside.
pub(super) const POLICY: usize = 6144;
/// Characters of who is trusted, at most, white space aside.
pub(super) const TRUST: usize = 2048;
/// Seconds that a session of a role lasts at most if nothing is said.
pub const MAX_SESSION: i64 = 3600;
/// How many may be said, at least and at most.
pub const SESSIONS: (i64, i64) = (3600, 43_200);
/// Policies that may be attached to one user, group or role.
pub(super) const ATTACHED: usize = 10;

/// Characters of all policies of its own that one has, at most, white space aside.
pub(super) fn inline_quota(kind: PrincipalKind) -> usize {
    match kind {
        PrincipalKind::User => 2048,
        PrincipalKind::Group => 5120,
        PrincipalKind::Role => 10_240,
    }
}

/// Characters that count.
fn size(document: &str) -> usize {
    document.chars().filter(|c| !c.is_whitespace()).count()
}

/// That a document is a policy of an identity, of so many characters at most.
pub(super) fn check_policy(document: &str, most: usize) -> Result<()> {
    if size(document) > most {
        return Err(Problem::conflict("LimitExceeded", format!("Cannot exceed quota for PolicySize: {most}")));
    }
    check(document, PolicyKind::Identity)
}

/// That a document may be a policy of `name`'s own, beside the `others` that it has.
pub(super) fn check_inline<'a>(
    document: &str,
    (kind, name): (PrincipalKind, &str),
    others: impl Iterator<Item = &'a str>,
) -> Result<()> {
    let most = inline_quota(kind);
    if others.map(size).sum::<usize>() + size(document) > most {
        let message = format!("Maximum policy size of {most} bytes exceeded for {kind} {name}");
        return Err(Problem::conflict("LimitExceeded", message));
    }
    check(document, PolicyKind::Identity)
}

/// That a document says who may take a role.
pub(super) fn check_trust(document: &str) -> Result<()> {
    if size(document) > TRUST {
        return Err(Problem::conflict("LimitExceeded", format!("Cannot exceed quota for ACLSizePerRole: {TRUST}")));
    }
    check(document, PolicyKind::Trust)
}

fn check(document: &str, kind: PolicyKind<'_>) -> Result<()> {
    Policy::parse(document, kind).map(|_| ()).map_err(|error| Problem::document("MalformedPolicyDocument", error))
}

/// That so many policies, and one more, may be attached to somebody.
pub(super) fn check_attached(kind: PrincipalKind, attached: usize) -> Result<()> {
    if attached < ATTACHED {
        return Ok(());
    }
    let of = match kind {
        PrincipalKind::User => "User",
        PrincipalKind::Group => "Group",
        PrincipalKind::Role => "Role",
    };
    Err(Problem::conflict("LimitExceeded", format!("Cannot exceed quota for PoliciesPer{of}: {ATTACHED}")))
}

/// That a text may describe something.
pub(super) fn check_description(text: &str) -> Result<()> {
    if text.chars().count() > 1000 || text.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        return Err(Problem::bad("ValidationError", "a description has at most 1000 printable characters"));
    }
    Ok(())
}

/// That this may be a tag: <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html>.
pub(super) fn check_tag(key: &str, value: &str) -> Result<()> {
    if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
        return Err(Problem::bad("ValidationError", "a tag's key has 1 to 128 characters, its value at most 256"));
    }
    Ok(())
}

/// That somebody may have these tags.
pub(super) fn check_tags(kind: PrincipalKind, tags: &Tags) -> Result<()> {
    if kind == PrincipalKind::Group && !tags.is_empty() {
        return Err(Problem::not_built("Tags of groups"));
    }
    if tags.len() > 50 {
        return Err(Problem::conflict("LimitExceeded", "Cannot exceed quota for TagsPerResource: 50"));
    }
    Ok(())
}
