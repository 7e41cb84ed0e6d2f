//! The configurations of buckets, kept as JSON, and what several of them say alike.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Error, Result, Store};
use crate::metadata::{self, ConfigKind, Tags};

/// Which objects a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Those whose keys begin so: what rules said before there were filters.
    Prefix(String),
    /// Those that meet all of it.
    Filter(Filter),
}

impl Scope {
    /// How keys begin, if that is said.
    pub fn prefix(&self) -> Option<&str> {
        match self {
            Self::Prefix(prefix) => Some(prefix),
            Self::Filter(filter) => filter.prefix.as_deref(),
        }
    }

    /// Its filter, if it has one.
    pub fn filter(&self) -> Option<&Filter> {
        match self {
            Self::Prefix(_) => None,
            Self::Filter(filter) => Some(filter),
        }
    }
}

/// What objects must meet.
///
/// `LifecycleRuleFilter` and `ReplicationRuleFilter` in the Amazon S3 API reference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// How their keys begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Tags that all of them have.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// They have more bytes than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub larger_than: Option<u64>,
    /// They have fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smaller_than: Option<u64>,
}

impl Filter {
    /// How many conditions it has; more than one are joined by `And`.
    pub fn conditions(&self) -> usize {
        let others = [self.prefix.is_some(), self.larger_than.is_some(), self.smaller_than.is_some()];
        self.tags.len() + others.into_iter().filter(|&is| is).count()
    }
}

impl Store {
    /// A bucket's configuration of this kind; `None` if it was never given one.
    pub(super) async fn config<T: DeserializeOwned>(&self, bucket: &str, kind: ConfigKind) -> Result<Option<T>> {
        parse(bucket, kind, self.metadata.bucket_config(bucket, kind).await?.as_deref())
    }

    /// Gives a bucket a configuration in place of the one of that kind that it has, or takes it away.
    pub(super) async fn set_config<T: Serialize>(
        &self,
        bucket: String,
        kind: ConfigKind,
        value: Option<&T>,
    ) -> Result<()> {
        let body = value.map(to_json).transpose()?;
        let store = self.clone();
        Self::to_the_end(async move {
            let set = store.metadata.set_bucket_config(&bucket, kind, body.as_deref()).await;
            // Whatever came of it: it may have been committed.
            store.rules.changed();
            Ok(set?)
        })
        .await
    }

    /// Changes a part of a bucket's configuration, whoever else changes others at the same time.
    pub(super) async fn edit_config<T: Default + Serialize + DeserializeOwned + Send>(
        &self,
        bucket: String,
        kind: ConfigKind,
        edit: impl Fn(&mut T) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let store = self.clone();
        Self::to_the_end(async move {
            loop {
                let old = store.metadata.bucket_config(&bucket, kind).await?;
                let mut value = parse(&bucket, kind, old.as_deref())?.unwrap_or_default();
                edit(&mut value)?;
                let new = to_json(&value)?;
                if store.metadata.swap_bucket_config(&bucket, kind, old.as_deref(), Some(&new)).await? {
                    return Ok(());
                }
            }
        })
        .await
    }
}

fn parse<T: DeserializeOwned>(bucket: &str, kind: ConfigKind, body: Option<&str>) -> Result<Option<T>> {
    let corrupt = |error| metadata::Error::Corrupt(format!("{} of bucket {bucket}: {error}", kind.name()));
    Ok(body.map(serde_json::from_str).transpose().map_err(corrupt)?)
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::InvalidRequest(error.to_string()))
}
