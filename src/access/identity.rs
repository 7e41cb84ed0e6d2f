//! Who a request comes from.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::policy::Policy;

/// What S3 calls the owner of what nobody signed for: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html>.
const ANONYMOUS: &str = "65a011a29cdf8ec533ec3d1ccaae921c";

/// A tenant: what owns buckets and objects, and has users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// 12 digits, as ARNs and policies name it.
    pub id: Arc<str>,
    /// 64 hexadecimal digits: what S3 calls the canonical user id, stable for the account's life. The owner of what it has.
    pub canonical_id: Arc<str>,
    /// What S3 prints as the owner's name.
    pub name: Arc<str>,
    /// By which grants may name it.
    pub email: Option<Arc<str>>,
    /// What of public access is blocked in all of its buckets.
    pub public_access_block: PublicAccessBlock,
}

/// What of public access is blocked: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html>.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PublicAccessBlock {
    /// ACLs that make public are refused.
    pub block_public_acls: bool,
    /// ACLs make nothing public.
    pub ignore_public_acls: bool,
    /// Bucket policies that make public are refused.
    pub block_public_policy: bool,
    /// A bucket whose policy makes it public is open to its owner's account alone.
    pub restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    /// All of it.
    pub const ALL: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };

    /// What at least one of the two blocks.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            block_public_acls: self.block_public_acls || other.block_public_acls,
            ignore_public_acls: self.ignore_public_acls || other.ignore_public_acls,
            block_public_policy: self.block_public_policy || other.block_public_policy,
            restrict_public_buckets: self.restrict_public_buckets || other.restrict_public_buckets,
        }
    }
}

/// As what of its account somebody asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Nobody signed.
    Anonymous,
    /// As the account itself, which may do everything in it.
    Root,
    /// As a user.
    User {
        /// `AIDA…`
        id: Arc<str>,
        /// Its name, unique in its account.
        name: Arc<str>,
        /// `/`, or `/a/path/`.
        path: Arc<str>,
    },
    /// As one who took a role for a while.
    Role {
        /// `AROA…`
        id: Arc<str>,
        /// Its name, unique in its account.
        name: Arc<str>,
        /// `/`, or `/a/path/`.
        path: Arc<str>,
        /// The name of the session.
        session: Arc<str>,
    },
    /// As somebody whom an identity provider knows: who he is, his [`Federation`] says.
    Federated {
        /// Which of the provider's, with the provider's name before a slash; unique in the account.
        name: Arc<str>,
    },
}

/// What an identity provider says of somebody.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Federation {
    /// The provider's Amazon Resource Name.
    pub provider: String,
    /// What condition keys begin with that have its claims, before the colon: `jwt`, `idp.example.com/realms/x`.
    pub names: Vec<String>,
    /// What it says, by names in lower case.
    pub claims: BTreeMap<String, Vec<String>>,
}

impl Federation {
    /// The values of a condition key, in lower case.
    pub fn values(&self, key: &str) -> Option<&[String]> {
        let (name, claim) = key.rsplit_once(':')?;
        let is_own = self.names.iter().any(|own| own.eq_ignore_ascii_case(name));
        self.claims.get(claim).filter(|values| is_own && !values.is_empty()).map(Vec::as_slice)
    }
}

/// Who a request comes from. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Whose it is.
    pub account: Arc<Account>,
    /// As what it asks.
    pub kind: Kind,
    /// The access key the request was signed with; empty if nobody signed.
    pub access_key: Arc<str>,
    /// What it may do: its own policies, and those of its groups. Of no account to [`Kind::Root`].
    pub policies: Arc<[Arc<Policy>]>,
    /// What it may do at most, whatever its policies say.
    pub boundary: Option<Arc<Policy>>,
    /// What its key may do at most: the policies of a session, or of the key itself.
    pub session: Option<Arc<[Arc<Policy>]>>,
    /// Who it is to an identity provider, if that let it in.
    pub federation: Option<Arc<Federation>>,
}

impl Identity {
    /// The account itself.
    pub fn root(account: Arc<Account>, access_key: impl Into<Arc<str>>) -> Self {
        Self {
            account,
            kind: Kind::Root,
            access_key: access_key.into(),
            policies: Arc::default(),
            boundary: None,
            session: None,
            federation: None,
        }
    }

    /// Nobody in particular.
    pub fn anonymous() -> Self {
        static NOBODY: LazyLock<Identity> = LazyLock::new(|| Identity {
            kind: Kind::Anonymous,
            ..Identity::root(
                Arc::new(Account {
                    id: "".into(),
                    canonical_id: ANONYMOUS.into(),
                    name: "".into(),
                    email: None,
                    public_access_block: PublicAccessBlock::default(),
                }),
                "",
            )
        });
        NOBODY.clone()
    }

    /// Whether nobody signed.
    pub fn is_anonymous(&self) -> bool {
        self.kind == Kind::Anonymous
    }

    /// Whether it is the account itself.
    pub fn is_root(&self) -> bool {
        self.kind == Kind::Root
    }

    /// All policies that say what it may do, and what at most.
    pub fn all_policies(&self) -> impl Iterator<Item = &Policy> {
        let session = self.session.iter().flat_map(|session| session.iter());
        self.policies.iter().chain(session).chain(self.boundary.iter()).map(|policy| &**policy)
    }

    /// Its Amazon Resource Name; empty if nobody signed.
    pub fn arn(&self) -> String {
        let account = &self.account.id;
        match &self.kind {
            Kind::Anonymous => String::new(),
            Kind::Root => format!("arn:aws:iam::{account}:root"),
            Kind::User { name, path, .. } => format!("arn:aws:iam::{account}:user{path}{name}"),
            Kind::Role { name, session, .. } => format!("arn:aws:sts::{account}:assumed-role/{name}/{session}"),
            Kind::Federated { name } => format!("arn:aws:sts::{account}:federated-user/{name}"),
        }
    }

    /// The role that it took, by its Amazon Resource Name.
    pub fn role_arn(&self) -> Option<String> {
        match &self.kind {
            Kind::Role { name, path, .. } => Some(format!("arn:aws:iam::{}:role{path}{name}", self.account.id)),
            _ => None,
        }
    }

    /// What `aws:userid` is: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#principaltable>.
    pub fn user_id(&self) -> String {
        match &self.kind {
            Kind::Anonymous => "anonymous".to_owned(),
            Kind::Root => self.account.id.to_string(),
            Kind::User { id, .. } => id.to_string(),
            Kind::Role { id, session, .. } => format!("{id}:{session}"),
            Kind::Federated { name } => format!("{}:{name}", self.account.id),
        }
    }
}
