//! Volumes as an operator names them.
//!
//! ```text
//! /mnt/disk1                                         a directory; its id is made from the path
//! /mnt/disk{1...9}                                   nine of them
//! path=/mnt/disk{1...9},id=v{1...9},node=a,zone=z1   with more to say of each
//! ```

use std::path::{Path, absolute};
use std::str::FromStr;

use serde::Deserialize;

use super::ConfigError;
use super::values::Size;
use crate::layout::DATA_SHARDS;
use crate::metadata::VolumeSpec;

/// Directories of one pattern.
pub const MAX_VOLUMES: usize = 4096;

/// One `--volume`, or one `[[volume]]`: as many volumes as its path's pattern has.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeEntry {
    /// Directory, or a pattern of several.
    pub path: String,
    /// Name, or a pattern of as many. Default: made from the path.
    pub id: Option<String>,
    /// The node that carries it. Default: `local`.
    pub node: Option<String>,
    /// The node's zone. Default: `default`.
    pub zone: Option<String>,
    /// The zone's region. Default: the server's.
    pub region: Option<String>,
    /// Share of the data relative to other volumes. Default: 1.
    pub weight: Option<f64>,
    /// Bytes it may hold. Default: what the file system has.
    pub capacity: Option<Size>,
}

impl FromStr for VolumeEntry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const KEYS: [&str; 7] = ["path", "id", "node", "zone", "region", "weight", "capacity"];
        let mut entry =
            Self { path: String::new(), id: None, node: None, zone: None, region: None, weight: None, capacity: None };
        let keyed = text.split_once('=').is_some_and(|(key, _)| KEYS.contains(&key));
        if !keyed {
            text.clone_into(&mut entry.path);
            return if text.is_empty() { Err("a volume needs a path".to_owned()) } else { Ok(entry) };
        }
        for field in text.split(',') {
            let (key, value) = field.split_once('=').ok_or_else(|| format!("{field:?} is not key=value"))?;
            let value = value.to_owned();
            match key {
                "path" => entry.path = value,
                "id" => entry.id = Some(value),
                "node" => entry.node = Some(value),
                "zone" => entry.zone = Some(value),
                "region" => entry.region = Some(value),
                "weight" => entry.weight = Some(value.parse().map_err(|_| format!("{value:?} is not a weight"))?),
                "capacity" => entry.capacity = Some(value.parse().map_err(|error| format!("{value:?}: {error}"))?),
                _ => return Err(format!("a volume has no {key:?}; it has {}", KEYS.join(", "))),
            }
        }
        if entry.path.is_empty() { Err("a volume needs a path".to_owned()) } else { Ok(entry) }
    }
}

/// The nine volumes that a server without configuration has.
pub(super) fn defaults(data: &Path) -> Vec<VolumeEntry> {
    let entry = VolumeEntry {
        path: data.join("volumes").join("v{1...9}").to_string_lossy().into_owned(),
        id: Some("v{1...9}".to_owned()),
        node: None,
        zone: None,
        region: None,
        weight: None,
        capacity: None,
    };
    vec![entry]
}

/// All volumes of a server that the entries stand for.
pub(super) fn resolve(entries: &[VolumeEntry], region: &str) -> Result<Vec<VolumeSpec>, ConfigError> {
    let specs = specs(entries, region)?;
    if specs.len() < DATA_SHARDS { Err(ConfigError::TooFewVolumes(specs.len())) } else { Ok(specs) }
}

/// The volumes that the entries stand for, however few.
///
/// # Errors
/// [`ConfigError::Volume`]: one cannot be as it is given.
pub fn specs(entries: &[VolumeEntry], region: &str) -> Result<Vec<VolumeSpec>, ConfigError> {
    let mut specs: Vec<VolumeSpec> = Vec::new();
    for entry in entries {
        let wrong = |reason: String| ConfigError::Volume { volume: entry.path.clone(), reason };
        let paths = expand(&entry.path).map_err(wrong)?;
        let ids = match &entry.id {
            Some(id) => Some(expand(id).map_err(wrong)?),
            None => None,
        };
        if let Some(ids) = &ids
            && ids.len() != paths.len()
        {
            return Err(wrong(format!("{} paths need as many ids, not {}", paths.len(), ids.len())));
        }
        let weight = entry.weight.unwrap_or(1.0);
        if !weight.is_finite() || weight <= 0.0 {
            return Err(wrong(format!("a weight is above 0, not {weight}")));
        }
        if entry.capacity == Some(Size(0)) {
            return Err(wrong("a volume that may hold nothing is none".to_owned()));
        }
        for (i, path) in paths.iter().enumerate() {
            let path = absolute(path).map_err(|error| wrong(error.to_string()))?;
            let path = path.to_str().ok_or_else(|| wrong("a path must be UTF-8".to_owned()))?.to_owned();
            let id = ids.as_ref().and_then(|ids| ids.get(i).cloned()).unwrap_or_else(|| id_of(&path));
            if id.is_empty() || id.len() > 128 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            {
                return Err(wrong(format!(
                    "an id has letters, digits, '.', '_' and '-', unlike {id:?}; give one with id="
                )));
            }
            if let Some(twin) = specs.iter().find(|spec| spec.id == id || spec.path == path) {
                return Err(wrong(format!("volume {} at {} is there already", twin.id, twin.path)));
            }
            specs.push(VolumeSpec {
                id,
                path,
                node: entry.node.clone().unwrap_or_else(|| "local".to_owned()),
                zone: entry.zone.clone().unwrap_or_else(|| "default".to_owned()),
                region: entry.region.clone().unwrap_or_else(|| region.to_owned()),
                weight,
                capacity: entry.capacity.map(|size| size.0),
            });
        }
    }
    Ok(specs)
}

/// `/mnt/disk1` is `mnt-disk1`: the same at every start, whatever other volumes there are.
fn id_of(path: &str) -> String {
    path.trim_matches('/').replace('/', "-")
}

/// A pattern's texts: each `{a...b}` counts from a to b, padded to a's width if a starts with a zero.
fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let mut texts = vec![String::new()];
    let mut rest = pattern;
    while let Some((before, range)) = rest.split_once('{') {
        let (range, after) = range.split_once('}').ok_or_else(|| format!("{pattern:?} has a '{{' without '}}'"))?;
        let numbers = count(range).ok_or_else(|| format!("{{{range}}} is not a range such as {{1...9}}"))?;
        if texts.len() * numbers.len() > MAX_VOLUMES {
            return Err(format!("{pattern:?} stands for more than {MAX_VOLUMES} volumes"));
        }
        texts =
            texts.iter().flat_map(|text| numbers.iter().map(move |number| format!("{text}{before}{number}"))).collect();
        rest = after;
    }
    texts.iter_mut().for_each(|text| text.push_str(rest));
    Ok(texts)
}

fn count(range: &str) -> Option<Vec<String>> {
    let (from, to) = range.split_once("...")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(from) || !digits(to) {
        return None;
    }
    let width = if from.starts_with('0') { from.len() } else { 1 };
    let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
    let count = to.checked_sub(from)?;
    (count as usize <= MAX_VOLUMES).then(|| (from..=to).map(|number| format!("{number:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn specs(entries: &[&str]) -> Result<Vec<VolumeSpec>, ConfigError> {
        let entries: Vec<VolumeEntry> = entries.iter().map(|entry| entry.parse().unwrap()).collect();
        resolve(&entries, "here")
    }

    #[test]
    fn ellipses_count() {
        assert_eq!(expand("/disk{1...3}").unwrap(), ["/disk1", "/disk2", "/disk3"]);
        assert_eq!(expand("/d{08...10}/x").unwrap(), ["/d08/x", "/d09/x", "/d10/x"]);
        assert_eq!(expand("/n{1...2}/d{1...2}").unwrap(), ["/n1/d1", "/n1/d2", "/n2/d1", "/n2/d2"]);
        assert_eq!(expand("/plain").unwrap(), ["/plain"]);
        for wrong in ["/d{1...", "/d{1..3}", "/d{3...1}", "/d{a...c}", "/d{}", "/d{1...99999}", "/d{1...999}{1...999}"]
        {
            assert!(expand(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn entries_become_volumes() {
        let found =
            specs(&["path=/mnt/d{1...8},id=v{1...8},node=a,zone=z,weight=2.5,capacity=1TiB", "/mnt/x/y"]).unwrap();
        assert_eq!(found.len(), 9);
        assert_eq!((found[7].id.as_str(), found[7].path.as_str()), ("v8", "/mnt/d8"));
        assert_eq!((found[0].node.as_str(), found[0].weight, found[0].capacity), ("a", 2.5, Some(1 << 40)));
        assert_eq!(
            (found[8].id.as_str(), found[8].zone.as_str(), found[8].region.as_str()),
            ("mnt-x-y", "default", "here")
        );
    }

    #[test]
    fn bad_volumes_are_named() {
        assert!(matches!(specs(&["/d{1...5}"]), Err(ConfigError::TooFewVolumes(5))));
        for wrong in [
            "path=/d{1...9},id=v",
            "path=/d{1...9},id=v{1...8}",
            "path=/d{1...9},weight=0",
            "path=/d{1...9},weight=NaN",
            "path=/d{1...9},capacity=0",
            "path=/d{1...9},id=a b{1...9}",
            "/d{1...9",
        ] {
            assert!(matches!(specs(&[wrong]), Err(ConfigError::Volume { .. })), "{wrong}");
        }
        assert!(matches!(specs(&["/d{1...9}", "/d3"]), Err(ConfigError::Volume { .. })), "twice");
        for wrong in
            ["", "path=", "id=x", "path=/a,colour=red", "path=/a,weight=heavy", "path=/a,capacity=big", "path=/a,b"]
        {
            assert!(wrong.parse::<VolumeEntry>().is_err(), "{wrong}");
        }
        assert_eq!("/a=b,c".parse::<VolumeEntry>().unwrap().path, "/a=b,c", "a path may hold what it likes");
    }
}
