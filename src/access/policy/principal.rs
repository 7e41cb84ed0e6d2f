//! Who a statement is about: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>.

use crate::access::{Identity, Kind};

/// One who is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Principal {
    /// `*`: everybody, whether they signed or not.
    Everybody,
    /// An account, by its 12 digits.
    Account(Box<str>),
    /// An account, by its canonical id.
    Canonical(Box<str>),
    /// A user; `path` is `/a/path/name`.
    User { account: Box<str>, path: Box<str> },
    /// A role; `path` is `/a/path/name`.
    Role { account: Box<str>, path: Box<str> },
    /// One session of a role.
    Session { account: Box<str>, role: Box<str>, session: Box<str> },
    /// Whoever an identity provider knows, by the provider's ARN.
    Federated(Box<str>),
    /// A service of AWS, or one of its federated users: nobody who asks here is one.
    Elsewhere(Box<str>),
}

/// How far a grant goes, which decides what else has a say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// To the account of who asks, which has to let them in itself.
    Account,
    /// To the user or role that asks, by its ARN.
    Named,
    /// To this very session, or to everybody.
    Whole,
}

impl Principal {
    /// Reads one; `kind`: the member of `Principal` that it was in. `None` if it is none.
    pub(super) fn parse(kind: &str, text: &str) -> Option<Self> {
        let named = |text: &str| !text.is_empty() && !text.contains(['*', '?', '$', ' ']);
        match kind {
            "AWS" if text == "*" => Some(Self::Everybody),
            "AWS" if is_account(text) => Some(Self::Account(text.into())),
            "AWS" if named(text) => Self::from_arn(text),
            "CanonicalUser" => {
                let canonical = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                canonical.then(|| Self::Canonical(text.to_ascii_lowercase().into()))
            }
            "Service" => {
                let service = named(text) && text.ends_with(".amazonaws.com");
                service.then(|| Self::Elsewhere(text.into()))
            }
            "Federated" => named(text).then(|| Self::Federated(text.into())),
            _ => None,
        }
    }

    fn from_arn(text: &str) -> Option<Self> {
        let mut fields = text.splitn(6, ':');
        let mut next = || fields.next();
        let (Some("arn"), Some("aws"), Some(service), Some(""), Some(account), Some(resource)) =
            (next(), next(), next(), next(), next(), next())
        else {
            return None;
        };
        if !is_account(account) {
            return None;
        }
        let account = account.into();
        if service == "iam" && resource == "root" {
            return Some(Self::Account(account));
        }
        let at = resource.find('/')?;
        let (kind, path) = (resource.get(..at)?, resource.get(at..)?);
        if path.ends_with('/') {
            return None;
        }
        match (service, kind) {
            ("iam", "user") => Some(Self::User { account, path: path.into() }),
            ("iam", "role") => Some(Self::Role { account, path: path.into() }),
            ("sts", "assumed-role") => {
                let (role, session) = path.get(1..)?.split_once('/')?;
                let whole = !role.is_empty() && !session.contains('/');
                whole.then(|| Self::Session { account, role: role.into(), session: session.into() })
            }
            ("sts", "federated-user") => Some(Self::Elsewhere(text.into())),
            _ => None,
        }
    }

    /// How far a grant to it goes for `who`; `None` if it is not to them.
    pub(super) fn reach(&self, who: &Identity) -> Option<Reach> {
        let account = |is: bool| {
            let reach = if who.is_root() { Reach::Whole } else { Reach::Account };
            (is && !who.is_anonymous()).then_some(reach)
        };
        match (self, &who.kind) {
            (Self::Everybody, _) => Some(Reach::Whole),
            (Self::Account(id), _) => account(**id == *who.account.id),
            (Self::Canonical(id), _) => account(**id == *who.account.canonical_id),
            (Self::User { account, path: own }, Kind::User { name, path, .. })
            | (Self::Role { account, path: own }, Kind::Role { name, path, .. }) => {
                let is = **account == *who.account.id && own.strip_prefix(&**path) == Some(&**name);
                is.then_some(Reach::Named)
            }
            (Self::Session { account, role, session: own }, Kind::Role { name, session, .. }) => {
                let is = **account == *who.account.id && **role == **name && **own == **session;
                is.then_some(Reach::Whole)
            }
            (Self::Federated(provider), Kind::Federated { .. }) => {
                let is = who.federation.as_ref().is_some_and(|own| *own.provider == **provider);
                is.then_some(Reach::Named)
            }
            _ => None,
        }
    }
}

/// 12 digits.
fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Who a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Principals {
    /// It does not say: the one that the policy belongs to.
    Own,
    /// `Principal`
    These(Vec<Principal>),
    /// `NotPrincipal`, of a statement that denies.
    AllBut(Vec<Principal>),
}

impl Principals {
    /// How far the statement goes for `who`; `None` if it is not about them.
    pub(super) fn reach(&self, who: &Identity) -> Option<Reach> {
        match self {
            Self::Own => Some(Reach::Whole),
            Self::These(these) => these.iter().filter_map(|principal| principal.reach(who)).max(),
            Self::AllBut(these) => (!is_exempt(these, who)).then_some(Reach::Whole),
        }
    }
}

/// Whether all that `who` is has been named: a user and its account; a session, its role and their account. AWS says that one who has a
/// boundary is denied whatever is named.
fn is_exempt(named: &[Principal], who: &Identity) -> bool {
    if named.contains(&Principal::Everybody) {
        return true;
    }
    let is_named = |is: &dyn Fn(&Principal) -> bool| named.iter().any(is);
    let account = is_named(&|principal| {
        matches!(principal, Principal::Account(_) | Principal::Canonical(_)) && principal.reach(who).is_some()
    });
    let user_or_role = || is_named(&|principal| principal.reach(who) == Some(Reach::Named));
    let session =
        || is_named(&|principal| matches!(principal, Principal::Session { .. }) && principal.reach(who).is_some());
    match who.kind {
        Kind::Anonymous => false,
        Kind::Root => account,
        Kind::User { .. } => account && user_or_role() && who.boundary.is_none(),
        Kind::Role { .. } => account && user_or_role() && session() && who.boundary.is_none(),
        Kind::Federated { .. } => account && user_or_role(),
    }
}
