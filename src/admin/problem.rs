//! What is wrong with a request, as each of the APIs says it.

use std::borrow::Cow;

use http::StatusCode;

use crate::access::names::NameError;
use crate::access::policy::PolicyError;
use crate::access::seal::SealError;
use crate::access::{DirectoryError, SessionError};
use crate::metadata::{Error, IdentityKind};

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Something that the client can change.
    #[error("{message}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// The name of the error.
        code: Cow<'static, str>,
        /// What it says.
        message: Cow<'static, str>,
    },
    /// The database's answer, which may be about what was asked for.
    #[error(transparent)]
    Metadata(#[from] Error),
    /// Identities cannot be read.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Secrets cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// There can be no session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// An answer cannot be written.
    #[error("the answer cannot be written: {0}")]
    Answer(&'static str),
}

/// What an error is called where it is answered, and its status.
pub(super) type Named = (StatusCode, Cow<'static, str>);

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Refused { status, code: code.into(), message: message.into() }
    }

    pub(super) fn bad(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn conflict(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    pub(super) fn missing(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub(super) fn denied(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDenied", message)
    }

    pub(super) fn not_built(what: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", format!("{what} is not implemented"))
    }

    pub(super) fn document(code: &'static str, error: PolicyError) -> Self {
        Self::bad(code, error.0)
    }

    /// What it is called; `of_identities` names what is about identities, in the database's words.
    pub(super) fn named(&self, of_identities: impl Fn(&Error) -> Option<Named>) -> Named {
        match self {
            Self::Refused { status, code, .. } => (*status, code.clone()),
            Self::Metadata(error) => of_identities(error).unwrap_or_else(|| failed(error)),
            other => failed(other),
        }
    }
}

/// What cannot be called so, as IAM has it.
impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::bad("ValidationError", error.to_string())
    }
}

/// Whatever went wrong here is not told: it would help nobody but the operator, who has the log.
fn failed(error: &dyn std::fmt::Display) -> Named {
    tracing::error!(%error, "a request about identities failed");
    (StatusCode::INTERNAL_SERVER_ERROR, "InternalError".into())
}

/// As IAM names what the database says of identities.
pub(super) fn as_iam(error: &Error) -> Option<Named> {
    Some(match error {
        Error::NoSuchIdentity { .. } => (StatusCode::NOT_FOUND, "NoSuchEntity".into()),
        Error::IdentityExists { .. } => (StatusCode::CONFLICT, "EntityAlreadyExists".into()),
        Error::IdentityInUse { kind: IdentityKind::Policy, why, .. } if why.contains("versions") => {
            (StatusCode::CONFLICT, "LimitExceeded".into())
        }
        Error::IdentityInUse { .. } => (StatusCode::CONFLICT, "DeleteConflict".into()),
        Error::SealedOtherwise => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable".into()),
        _ => return None,
    })
}
