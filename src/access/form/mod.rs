//! A form's fields and what they claim about who signed it.
//!
//! The signature of a form is over its policy document, base64 as it was sent, and over nothing else: what the other fields and the file are
//! counts only as far as the policy says so ([`policy`]).
//!
//! Sources: "Authenticating Requests: Browser-Based Uploads Using POST" and "HTML Form Fields" in the Amazon S3 API reference; for version 2,
//! "HTML Forms (AWS Signature Version 2)". How S3 words its refusals is as its answers are quoted in public.

pub mod policy;

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::StatusCode;
use sha1::Sha1;
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::claims::{ALGORITHM, ClaimError, MAX_EXPIRES, Region};
use super::sigv4::{hmac_sha256, signing_key};
use super::{Directory, Identity, Key, KeyError};
use crate::clock::Millis;
use policy::{Policy, PolicyError};

/// A field that came before the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// In lower case: field names are the same in any.
    pub name: String,
    /// As it was sent.
    pub sent_name: String,
    /// The value. Of fields of the same name the values are one, with commas between, as S3 has it.
    pub value: String,
}

/// The fields of a form, in the order they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<Field>);

impl Fields {
    /// Adds a field.
    pub fn add(&mut self, name: &str, value: &str) {
        let lower = name.to_lowercase();
        match self.0.iter_mut().find(|field| field.name == lower) {
            Some(known) => {
                known.value.push(',');
                known.value.push_str(value);
            }
            None => self.0.push(Field { name: lower, sent_name: name.to_owned(), value: value.to_owned() }),
        }
    }

    /// The value of the field with this name, which is in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|field| field.name == name).map(|field| field.value.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.0.iter()
    }

    /// Puts the file's name in place of `${filename}` in every field but those that are about the signature: only what follows the last
    /// slash or backslash, since some browsers send the whole path. Without a name S3 leaves the variable as it is.
    pub fn name_the_file(&mut self, file_name: Option<&str>) {
        let Some(file_name) = file_name.and_then(|path| path.rsplit(['/', '\\']).next()) else { return };
        for field in self.0.iter_mut().filter(|field| !OF_THE_SIGNATURE.contains(&field.name.as_str())) {
            field.value = field.value.replace("${filename}", file_name);
        }
    }
}

/// Fields of either version's signature.
const OF_THE_SIGNATURE: [&str; 7] =
    ["policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "awsaccesskeyid", "signature"];

/// The fields of a version 4 signature, as S3 names and misses them.
const VERSION_4: [&str; 4] = ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature"];

/// The same of version 2.
const VERSION_2: [&str; 2] = ["AWSAccessKeyId", "Signature"];

/// Why a form is not let through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// It has a policy that nobody signed.
    #[error("Access Denied")]
    Unsigned,
    /// It is signed with version 2 where that is not allowed, or with both versions.
    #[error(transparent)]
    Mechanism(#[from] ClaimError),
    /// It lacks a field that it needs. (The blanks are S3's.)
    #[error("Bucket POST must contain a field named '{0}'.  If it is specified, please check the order of the fields.")]
    Missing(&'static str),
    /// A field of the signature is not what it should be.
    #[error("{reason}")]
    Malformed {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        reason: String,
        /// The region that would be right, if that is what is wrong.
        region: Option<String>,
    },
    /// Nobody may sign with the access key.
    #[error("{0}")]
    Key(KeyError, String),
    /// The signature is not the policy's.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your key and signing method."
    )]
    Mismatch {
        /// The key it should be made with.
        access_key: String,
        /// What was signed.
        policy: String,
        /// The signature that came.
        signature: String,
    },
    /// The signature is older than any may be.
    #[error("Request has expired")]
    Expired,
    /// The policy is none, or the form is not as it says.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl FormError {
    /// S3's name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Mechanism(error) => error.code(),
            Self::Missing(_) | Self::Malformed { .. } => "InvalidArgument",
            Self::Key(error, _) => error.code(),
            Self::Mismatch { .. } => "SignatureDoesNotMatch",
            Self::Policy(PolicyError::Document(_)) => "InvalidPolicyDocument",
            Self::Unsigned | Self::Expired | Self::Policy(_) => "AccessDenied",
        }
    }

    /// The status that S3 answers it with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Mechanism(error) => error.status(),
            Self::Missing(_) | Self::Malformed { .. } | Self::Policy(PolicyError::Document(_)) => {
                StatusCode::BAD_REQUEST
            }
            Self::Key(error, _) => error.status(),
            _ => StatusCode::FORBIDDEN,
        }
    }

    /// What S3 adds to the error.
    pub fn details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Missing(field) => {
                vec![("ArgumentName", (*field).to_owned()), ("ArgumentValue", String::new())]
            }
            Self::Malformed { field, value, region, .. } => {
                let mut details = vec![("ArgumentName", (*field).to_owned()), ("ArgumentValue", value.clone())];
                details.extend(region.clone().map(|region| ("Region", region)));
                details
            }
            Self::Key(_, key) => vec![("AWSAccessKeyId", key.clone())],
            Self::Mismatch { access_key, policy, signature } => vec![
                ("AWSAccessKeyId", access_key.clone()),
                ("StringToSign", policy.clone()),
                ("SignatureProvided", signature.clone()),
            ],
            _ => Vec::new(),
        }
    }
}

/// Whose signatures count, and which.
#[derive(Debug, Clone)]
pub struct FormAccess {
    /// Who may sign.
    pub directory: Directory,
    /// The region that signatures must be for.
    pub region: Region,
    /// Whether version 2 counts.
    pub version2: bool,
}

impl FormAccess {
    /// Finds out who signed a form; answers who, and the policy that the form must be held to: none if nobody signed.
    ///
    /// The signature comes first, over the text as it was sent: nothing of a stranger's policy is read.
    ///
    /// # Errors
    /// [`FormError`]
    pub fn verify(&self, now: Millis, fields: &Fields) -> Result<(Identity, Option<Policy>), FormError> {
        let has = |names: &[&str]| names.iter().any(|name| fields.get(&name.to_ascii_lowercase()).is_some());
        let (version4, version2) = (has(&VERSION_4), has(&VERSION_2));
        let identity = match (version4, version2) {
            // A policy that nobody signed says nothing.
            (false, false) if fields.get("policy").is_none() => return Ok((Identity::anonymous(), None)),
            (false, false) => return Err(FormError::Unsigned),
            (true, true) => return Err(ClaimError::SeveralMechanisms.into()),
            (true, false) => self.version4(now, fields)?,
            (false, true) if self.version2 => self.version2(fields)?,
            (false, true) => return Err(ClaimError::Version2.into()),
        };
        let document = BASE64_STANDARD.decode(required(fields, "Policy")?);
        let document = document.map_err(|_| PolicyError::Document("invalid Base64 encoding.".to_owned()))?;
        Ok((identity, Some(Policy::parse(&document)?)))
    }

    fn version4(&self, now: Millis, fields: &Fields) -> Result<Identity, FormError> {
        let [algorithm, credential, date, signature] = VERSION_4.map(|name| required(fields, name));
        let (algorithm, credential, date, signature) = (algorithm?, credential?, date?, signature?);
        let policy = required(fields, "Policy")?;
        let malformed = |field, value: &str, reason: String| FormError::Malformed {
            field,
            value: value.to_owned(),
            reason,
            region: None,
        };
        if algorithm != ALGORITHM {
            let reason = format!("X-Amz-Algorithm only supports \"{ALGORITHM}\"");
            return Err(malformed("X-Amz-Algorithm", algorithm, reason));
        }
        let wrong = |reason: String| malformed("X-Amz-Credential", credential, reason);
        let scope: Vec<&str> = credential.split('/').collect();
        let [access_key, day, region, service, "aws4_request"] = scope.as_slice() else {
            return Err(wrong(
                "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"."
                    .to_owned(),
            ));
        };
        if access_key.is_empty() {
            return Err(wrong("a non-empty Access Key (AKID) must be provided in the credential.".to_owned()));
        }
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let Ok(signed_at) = PrimitiveDateTime::parse(date, format) else {
            // The spelling is S3's.
            let reason = "X-Amz-Date must be formated via ISO8601 Long format".to_owned();
            return Err(malformed("X-Amz-Date", date, reason));
        };
        if date.get(..8) != Some(*day) {
            return Err(wrong(format!("incorrect date \"{day}\". It must be the day of X-Amz-Date.")));
        }
        if *service != "s3" {
            return Err(wrong(format!("incorrect service \"{service}\". This endpoint belongs to \"s3\".")));
        }
        if !self.region.accepts(region) {
            return Err(FormError::Malformed {
                field: "X-Amz-Credential",
                value: credential.to_owned(),
                reason: format!("the region '{region}' is wrong; expecting '{}'", self.region.name()),
                region: Some(self.region.name().to_owned()),
            });
        }
        let key = self.signer(access_key, fields)?;
        let sent = hex::decode(signature).unwrap_or_default();
        // `verify_slice` takes as long whatever the bytes are.
        let mac = signing_key(&key.secret, [day, region, service]).and_then(|key| hmac_sha256(&key, policy));
        let good = mac.is_some_and(|mac| mac.verify_slice(&sent).is_ok());
        if !good {
            return Err(mismatch(access_key, policy, signature));
        }
        // A signing key is good for a week, whatever the policy says: "Amazon S3 Signature Version 4 Authentication Specific Policy Keys".
        if now > (signed_at.assume_utc().unix_timestamp() + MAX_EXPIRES) * 1000 {
            return Err(FormError::Expired);
        }
        Ok(key.identity.clone())
    }

    fn version2(&self, fields: &Fields) -> Result<Identity, FormError> {
        let [access_key, signature] = VERSION_2.map(|name| required(fields, name));
        let (access_key, signature) = (access_key?, signature?);
        let policy = required(fields, "Policy")?;
        let key = self.signer(access_key, fields)?;
        let sent = BASE64_STANDARD.decode(signature).unwrap_or_default();
        let mac = Hmac::<Sha1>::new_from_slice(key.secret.expose().as_bytes()).ok();
        let good = mac.is_some_and(|mac| mac.chain_update(policy.as_bytes()).verify_slice(&sent).is_ok());
        if !good {
            return Err(mismatch(access_key, policy, signature));
        }
        Ok(key.identity.clone())
    }

    fn signer(&self, access_key: &str, fields: &Fields) -> Result<Arc<Key>, FormError> {
        let token = fields.get("x-amz-security-token");
        self.directory.signer(access_key, token).map_err(|error| FormError::Key(error, access_key.to_owned()))
    }
}

fn required<'a>(fields: &'a Fields, name: &'static str) -> Result<&'a str, FormError> {
    fields.get(&name.to_ascii_lowercase()).ok_or(FormError::Missing(name))
}

fn mismatch(access_key: &str, policy: &str, signature: &str) -> FormError {
    FormError::Mismatch {
        access_key: access_key.to_owned(),
        policy: policy.to_owned(),
        signature: signature.to_owned(),
    }
}

#[cfg(test)]
mod tests;
