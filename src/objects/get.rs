//! Reading objects: GetObject, HeadObject, GetObjectAttributes.

use std::ops::Range;

use futures_util::{StreamExt, stream};

use super::{Error, ReadConditions, Result, Store};
use crate::chunks::ReadStream;
use crate::metadata::{Content, Object, ObjectPart, PartQuery, ReadRange, Resolved, VersionId};

/// A GetObject or HeadObject.
#[derive(Debug, Clone)]
pub struct GetRequest {
    /// Name of the bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The version; `None`: the current one.
    pub version: Option<VersionId>,
    /// Which bytes.
    pub range: ReadRange,
    /// What must hold.
    pub conditions: ReadConditions,
    /// Whether the bytes themselves are wanted (GET), or only their description (HEAD).
    pub with_body: bool,
}

/// An object as read.
pub struct Got {
    /// Which version it is; `None` if nobody asked and the bucket never kept any.
    pub version: Option<VersionId>,
    /// Its row.
    pub object: Object,
    /// The bytes sent: first, and one past the last.
    pub range: Range<u64>,
    /// Whether a range or part was asked for (206 and `Content-Range`).
    pub partial: bool,
    /// How many parts it has, if one was asked for by number.
    pub parts: Option<u32>,
    /// The part asked for by number.
    pub part: Option<ObjectPart>,
    /// The bytes; empty for HEAD.
    pub body: ReadStream,
}

/// A page of a completed object's parts.
#[derive(Debug, Clone)]
pub struct PartsPage {
    /// The parts.
    pub parts: Vec<ObjectPart>,
    /// How many there are in all.
    pub total: u32,
    /// Whether there are more behind these.
    pub truncated: bool,
}

/// What GetObjectAttributes tells.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// Which version it is; `None` if nobody asked and the bucket never kept any.
    pub version: Option<VersionId>,
    /// The row.
    pub object: Object,
    /// Its parts, if it was uploaded in parts and they were asked for.
    pub parts: Option<PartsPage>,
}

impl Store {
    /// Describes an object and gives its bytes. The first bytes are read and verified before this returns, so that what cannot be
    /// read at all is an error and not a broken answer.
    ///
    /// # Errors
    /// No such bucket, key or version; a condition; [`Error::InvalidRange`]; [`Error::InvalidPartNumber`]; too few good shards.
    pub async fn get(&self, request: &GetRequest) -> Result<Got> {
        let asked = request.range;
        let hold = self.chunks.reads().begin();
        let Resolved { object, range, extents, part, version, .. } =
            self.metadata.resolve(&request.bucket, &request.key, request.version.as_ref(), asked).await?;
        self.check_seen(&request.bucket, &request.key, request.version.as_ref(), &object)?;
        request.conditions.check(&object, self.clock.now())?;
        let size = object.size;
        match asked {
            ReadRange::From(..) | ReadRange::Suffix(_) if range.is_empty() => return Err(Error::InvalidRange { size }),
            ReadRange::Part(number) if part.is_none() => return Err(Error::InvalidPartNumber { number, size }),
            _ => {}
        }
        let (partial, range) = match asked {
            ReadRange::Nothing => (false, 0..size),
            ReadRange::Whole => (false, range),
            // A whole that is one part, and empty, has no range to name.
            ReadRange::Part(_) if size == 0 => (false, range),
            _ => (true, range),
        };
        let parts = if matches!(asked, ReadRange::Part(_)) { object.parts } else { None };
        let body: ReadStream = if request.with_body {
            let mut bytes = self.bytes(object.content, range.clone(), extents, hold);
            match bytes.next().await {
                Some(first) => Box::pin(stream::iter([Ok(first?)]).chain(bytes)),
                None => bytes,
            }
        } else {
            Box::pin(stream::empty())
        };
        Ok(Got { version, object, range, partial, parts, part, body })
    }

    /// Describes an object and a page of its parts.
    ///
    /// # Errors
    /// No such bucket, key or version.
    pub async fn attributes(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&VersionId>,
        parts: Option<PartQuery>,
    ) -> Result<Attributes> {
        let Resolved { object, version, .. } = self.metadata.resolve(bucket, key, version, ReadRange::Nothing).await?;
        let page = match (parts, object.parts, object.content) {
            (Some(query), Some(total), Content::Data(data)) => {
                let more = PartQuery { limit: query.limit.saturating_add(1), ..query };
                let mut parts = self.metadata.object_parts(data, more).await?;
                let truncated = parts.len() > query.limit as usize;
                parts.truncate(query.limit as usize);
                Some(PartsPage { parts, total, truncated })
            }
            _ => None,
        };
        Ok(Attributes { version, object, parts: page })
    }
}
