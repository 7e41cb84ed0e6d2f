//! Volumes as directories beside each other, all of one node.

#![allow(dead_code)]

use std::path::Path;

use ninefold::metadata::VolumeSpec;

/// The volume of this number, in a directory of its own.
pub fn spec(dir: &Path, n: u16) -> VolumeSpec {
    VolumeSpec {
        id: format!("v{n}"),
        path: dir.join(format!("v{n}")).display().to_string(),
        node: "node".into(),
        zone: "zone".into(),
        region: "us-east-1".into(),
        weight: 1.0,
        capacity: None,
    }
}

/// As many as a chunk has shards.
pub fn nine(dir: &Path) -> Vec<VolumeSpec> {
    (1..=9).map(|n| spec(dir, n)).collect()
}
