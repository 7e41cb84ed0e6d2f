//! Reading a document: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>.
//!
//! Element names, effects and operators are case-sensitive, actions and condition keys are not. What S3 says of what is wrong with the
//! policy of a bucket is nowhere documented; the messages are as S3's answers are quoted in public.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::condition::{Condition, Operator};
use super::json::Json;
use super::names;
use super::pattern::{Glob, reached, wild};
use super::principal::{Principal, Principals};
use super::variables::{Reading, Template};
use super::{Effect, Policy, PolicyError, PolicyKind};

/// Bytes of a bucket's policy at most.
const MAX_BUCKET: usize = 20 << 10;
/// Characters, white space aside, of another policy at most: the most that IAM's quotas give a role's own policies, and a role's trust.
const MAX_IDENTITY: usize = 10_240;
const MAX_TRUST: usize = 8_192;
/// Bytes at most that are read at all: what IAM's requests may have.
const MAX_READ: usize = 128 << 10;

/// Characters at most of a `Sid` that decisions name.
const MAX_LABEL: usize = 128;

/// A list that names what is meant, or what is not.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listed<T> {
    pub(super) not: bool,
    pub(super) these: Vec<T>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statement {
    /// Its `Sid`, or its number from 1.
    pub(super) label: Arc<str>,
    pub(super) effect: Effect,
    pub(super) principals: Principals,
    /// In lower case.
    pub(super) actions: Listed<Glob>,
    /// `None`: whatever the resource is.
    pub(super) resources: Option<Listed<Template>>,
    pub(super) conditions: Vec<Condition>,
}

/// What kind of policy one is, without the bucket's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Bucket,
    Identity,
    Trust,
}

type Result<T> = std::result::Result<T, PolicyError>;

fn wrong<T>(problem: impl Into<String>) -> Result<T> {
    Err(PolicyError(problem.into()))
}

/// How S3 and IAM say the same thing.
#[derive(Debug, Clone, Copy)]
struct Reader<'a> {
    kind: PolicyKind<'a>,
    /// The version of the language has variables.
    variables: bool,
}

pub(super) fn parse(text: &str, kind: PolicyKind<'_>) -> Result<Policy> {
    let reader = Reader { kind, variables: false };
    reader.check_size(text)?;
    let text = if reader.is_bucket() { text } else { text.trim() };
    if !text.starts_with('{') {
        let identity = "Syntax errors in policy.";
        return reader.fail("Policies must be valid JSON and the first byte must be '{'", identity);
    }
    match Json::parse(text) {
        Ok(Json::Object(members)) => reader.policy(members),
        _ => reader.fail("This policy contains invalid Json", "Syntax errors in policy."),
    }
}

impl Reader<'_> {
    fn is_bucket(self) -> bool {
        matches!(self.kind, PolicyKind::Bucket(_))
    }

    /// As S3 says it of a bucket's policy, or as IAM does.
    fn say(self, bucket: &str, identity: &str) -> String {
        if self.is_bucket() { bucket } else { identity }.to_owned()
    }

    fn fail<T>(self, bucket: &str, identity: &str) -> Result<T> {
        wrong(self.say(bucket, identity))
    }

    fn syntax<T>(self, problem: &str) -> Result<T> {
        self.fail(problem, &format!("Syntax errors in policy. {problem}"))
    }

    fn check_size(self, text: &str) -> Result<()> {
        let over =
            |max: usize| text.len() > MAX_READ || text.chars().filter(|char| !char.is_whitespace()).count() > max;
        let max = match self.kind {
            PolicyKind::Bucket(_) if text.len() > MAX_BUCKET => {
                return wrong("Policy exceeds the maximum allowed document size.");
            }
            PolicyKind::Bucket(_) => return Ok(()),
            PolicyKind::Identity => MAX_IDENTITY,
            PolicyKind::Trust => MAX_TRUST,
        };
        if over(max) { wrong(format!("Maximum policy size of {max} bytes exceeded")) } else { Ok(()) }
    }

    fn check_duplicates(self, members: &[(String, Json)]) -> Result<()> {
        Json::duplicate(members).map_or(Ok(()), |name| self.syntax(&format!("Duplicate field {name}")))
    }

    fn policy(mut self, members: Vec<(String, Json)>) -> Result<Policy> {
        self.check_duplicates(&members)?;
        let mut statements = None;
        for (name, value) in members {
            match name.as_str() {
                "Version" => match self.string(&name, value)?.as_str() {
                    "2012-10-17" => self.variables = true,
                    "2008-10-17" => {}
                    _ => {
                        let identity = "Policy document must be version 2012-10-17 or greater.";
                        return self.fail("The policy must contain a valid version string", identity);
                    }
                },
                "Id" => {
                    self.string(&name, value)?;
                }
                "Statement" => statements = Some(value),
                _ => return self.syntax(&format!("Unknown field {name}")),
            }
        }
        let list = match statements {
            None => return self.syntax("Missing required field Statement"),
            Some(Json::List(list)) => list,
            Some(one) => vec![one],
        };
        if list.is_empty() {
            return self.syntax("Could not parse the policy: Statement is empty!");
        }
        let statements = (1..).zip(list).map(|(number, value)| self.statement(number, value));
        let statements: Vec<_> = statements.collect::<Result<_>>()?;
        let mut labels = BTreeSet::new();
        if !self.is_bucket()
            && !statements.iter().all(|(sid, _)| sid.as_ref().is_none_or(|sid| labels.insert(sid.clone())))
        {
            return wrong("Statement IDs (SID) in a single policy must be unique.");
        }
        let of = match self.kind {
            PolicyKind::Bucket(_) => Of::Bucket,
            PolicyKind::Identity => Of::Identity,
            PolicyKind::Trust => Of::Trust,
        };
        let statements = statements.into_iter().map(|(_, statement)| statement).collect();
        Ok(Policy { of, statements, name: None })
    }

    /// Answers its `Sid`, too.
    fn statement(self, number: usize, value: Json) -> Result<(Option<String>, Statement)> {
        let Json::Object(members) = value else { return self.syntax("Statement must be an object") };
        self.check_duplicates(&members)?;
        let (mut sid, mut effect, mut principals, mut actions, mut resources) = (None, None, None, None, None);
        let mut conditions = Vec::new();
        for (name, value) in members {
            let name = name.as_str();
            let twice = match name {
                "Sid" => sid.replace(self.sid(value)?).is_some(),
                "Effect" => effect.replace(self.effect(value)?).is_some(),
                "Principal" | "NotPrincipal" => {
                    principals.replace((name == "NotPrincipal", self.principals(name, value)?)).is_some()
                }
                "Action" | "NotAction" => actions.replace(self.actions(name, value)?).is_some(),
                "Resource" | "NotResource" => resources.replace(self.resources(name, value)?).is_some(),
                "Condition" => {
                    conditions = self.conditions(value)?;
                    false
                }
                _ => return self.syntax(&format!("Unknown field {name}")),
            };
            if twice {
                let other = name.strip_prefix("Not").map_or_else(|| format!("Not{name}"), str::to_owned);
                return self.syntax(&format!("{name} and {other} cannot be in the same statement"));
            }
        }
        let Some(effect) = effect else { return self.syntax("Missing required field Effect") };
        let principals = match (principals, self.kind) {
            (None, PolicyKind::Identity) => Principals::Own,
            (Some(_), PolicyKind::Identity) => return wrong("Policy document should not specify a principal."),
            (None, _) => return wrong("Missing required field Principal"),
            (Some((true, _)), PolicyKind::Trust) => return wrong("Has prohibited field NotPrincipal"),
            (Some((true, _)), _) if effect == Effect::Allow => return wrong("Allow with NotPrincipal is not allowed."),
            (Some((true, these)), _) => Principals::AllBut(these),
            (Some((false, these)), _) => Principals::These(these),
        };
        let Some(actions) = actions else {
            return self.fail("Missing required field Action", "Policy statement must contain actions.");
        };
        if actions.not && self.kind == PolicyKind::Trust {
            return wrong("AssumeRole policy may only specify STS AssumeRole actions.");
        }
        let resources = match (resources, self.kind) {
            (Some(_), PolicyKind::Trust) => return wrong("Has prohibited field Resource"),
            (None, PolicyKind::Trust) => None,
            (None, PolicyKind::Bucket(_)) => return wrong("Missing required field Resource"),
            // As MinIO's tools write them: what an operator may do is on no resource.
            (None, PolicyKind::Identity) if actions.of_operators && !actions.not => None,
            (None, PolicyKind::Identity) => return wrong("Policy statement must contain resources."),
            (Some(resources), _) => Some(resources),
        };
        if let (PolicyKind::Bucket(bucket), Some(resources)) = (self.kind, &resources) {
            check_bucket(bucket, &actions, resources)?;
        }
        // It goes into logs, and a bucket's policy may have any text here.
        let label = sid.as_ref().filter(|sid| !sid.is_empty());
        let label = label.map_or_else(|| number.to_string(), |sid| sid.chars().take(MAX_LABEL).collect());
        let label = label.escape_debug().to_string().into();
        let actions = Listed { not: actions.not, these: actions.these };
        Ok((sid, Statement { label, effect, principals, actions, resources, conditions }))
    }

    fn string(self, name: &str, value: Json) -> Result<String> {
        match value {
            Json::Scalar { text, quoted: true } => Ok(text),
            _ => self.syntax(&format!("{name} must be a string")),
        }
    }

    /// One string, or several.
    fn strings(self, name: &str, value: Json) -> Result<Vec<String>> {
        let list = match value {
            Json::List(list) => list,
            one => vec![one],
        };
        let text = |value| match value {
            Json::Scalar { text, quoted: true } => Some(text),
            _ => None,
        };
        let texts = list.into_iter().map(text).collect::<Option<Vec<_>>>().filter(|texts| !texts.is_empty());
        texts.ok_or_else(|| match name.trim_start_matches("Not") {
            "Principal" => PolicyError("Invalid principal in policy".to_owned()),
            "Action" => PolicyError(self.say("Policy has invalid action", "Policy statement must contain actions.")),
            _ => PolicyError(self.say("Policy has invalid resource", "Policy statement must contain resources.")),
        })
    }

    fn sid(self, value: Json) -> Result<String> {
        let sid = self.string("Sid", value)?;
        if !self.is_bucket() && !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return wrong(
                "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
            );
        }
        Ok(sid)
    }

    fn effect(self, value: Json) -> Result<Effect> {
        match self.string("Effect", value)?.as_str() {
            "Allow" => Ok(Effect::Allow),
            "Deny" => Ok(Effect::Deny),
            other => self.syntax(&format!("Invalid effect: {other}")),
        }
    }

    fn principals(self, name: &str, value: Json) -> Result<Vec<Principal>> {
        let invalid = || PolicyError("Invalid principal in policy".to_owned());
        let members = match value {
            Json::Scalar { text, quoted: true } if text == "*" => return Ok(vec![Principal::Everybody]),
            Json::Object(members) => members,
            _ => return Err(invalid()),
        };
        self.check_duplicates(&members)?;
        if members.is_empty() {
            return Err(invalid());
        }
        let mut principals = Vec::new();
        for (kind, value) in members {
            for text in self.strings(name, value)? {
                principals.push(Principal::parse(&kind, &text).ok_or_else(invalid)?);
            }
        }
        Ok(principals)
    }

    fn actions(self, name: &str, value: Json) -> Result<Actions> {
        let mut actions = Actions { not: name == "NotAction", these: Vec::new(), of_operators: true, on: Vec::new() };
        for text in self.strings(name, value)? {
            let action = text.to_ascii_lowercase();
            let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*?-_".contains(&byte));
            let is_vendor = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            let vendor = match action.split_once(':') {
                Some((vendor, name))
                    if !vendor.is_empty() && !name.is_empty() && is_vendor(vendor) && is_name(name) =>
                {
                    vendor
                }
                None if action == "*" => "*",
                _ => {
                    let vendors = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.";
                    return self.fail("Policy has invalid action", vendors);
                }
            };
            if self.kind == PolicyKind::Trust && vendor != "sts" {
                return wrong("AssumeRole policy may only specify STS AssumeRole actions.");
            }
            actions.of_operators &= matches!(vendor, "admin" | "kms" | "ninefold" | "sts");
            let elements: Vec<_> = wild(&action).collect();
            let Some(glob) = Glob::new(&elements) else {
                return self.fail("Policy has invalid action", "Invalid action");
            };
            if self.is_bucket() {
                let on = names::actions(&glob);
                if !on.known {
                    return wrong("Policy has invalid action");
                }
                actions.on.push(on);
            }
            actions.these.push(glob);
        }
        Ok(actions)
    }

    fn resources(self, name: &str, value: Json) -> Result<Listed<Template>> {
        let mut these = Vec::new();
        for text in self.strings(name, value)? {
            self.check_resource(&text)?;
            let reading = Reading { wildcards: true, variables: self.variables };
            let invalid =
                || PolicyError(self.say("Policy has invalid resource", &format!("Resource {text} is invalid.")));
            these.push(Template::parse(&text, reading).ok_or_else(invalid)?);
        }
        Ok(Listed { not: name == "NotResource", these })
    }

    /// The deployment is its own partition and calls it `aws`: a resource elsewhere would be one that nobody ever asks for.
    fn check_resource(self, text: &str) -> Result<()> {
        if text == "*" {
            return Ok(());
        }
        let fields: Vec<_> = text.splitn(6, ':').collect();
        let [arn, partition, service, _, _, rest] = &fields[..] else {
            return self
                .fail("Policy has invalid resource", &format!("Resource {text} must be in ARN format or \"*\"."));
        };
        let literal = |text: &str| !text.is_empty() && !text.contains(['*', '?', '$']);
        if *arn != "arn" || !literal(service) || rest.is_empty() {
            return self
                .fail("Policy has invalid resource", &format!("Resource {text} must be in ARN format or \"*\"."));
        }
        if !matches!(*partition, "aws" | "*") {
            let identity = format!("Partition \"{partition}\" is not valid for resource \"{text}\".");
            return self.fail("Policy has invalid resource", &identity);
        }
        Ok(())
    }

    fn conditions(self, value: Json) -> Result<Vec<Condition>> {
        let Json::Object(operators) = value else { return self.syntax("Condition must be an object") };
        self.check_duplicates(&operators)?;
        let mut conditions = Vec::new();
        for (name, value) in operators {
            let Some(operator) = Operator::parse(&name) else {
                return self.syntax(&format!("Invalid Condition type : {name}"));
            };
            let Json::Object(keys) = value else { return self.syntax(&format!("Condition {name} must be an object")) };
            if keys.is_empty() {
                return self.syntax(&format!("Condition {name} cannot be empty!"));
            }
            self.check_duplicates(&keys)?;
            let mut seen = BTreeSet::new();
            for (key, value) in keys {
                self.check_key(&key)?;
                if !seen.insert(key.to_ascii_lowercase()) {
                    return self.syntax(&format!("Duplicate field {key}"));
                }
                let values = self.values(&key, value)?;
                let texts: Vec<_> = values.iter().map(String::as_str).collect();
                match Condition::new(operator, &key, &texts, self.variables) {
                    Ok(condition) => conditions.push(condition),
                    Err(value) => {
                        return self.syntax(&format!("Invalid value \"{value}\" of condition key {key} for {name}"));
                    }
                }
            }
        }
        Ok(conditions)
    }

    fn check_key(self, key: &str) -> Result<()> {
        let has_vendor = key.split_once(':').is_some_and(|(vendor, name)| !vendor.is_empty() && !name.is_empty());
        match self.is_bucket() {
            true if !names::is_key(&key.to_ascii_lowercase()) => wrong("Policy has an invalid condition key"),
            false if !has_vendor => wrong("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
            _ => Ok(()),
        }
    }

    /// The values of a condition: numbers and booleans may be written as such.
    fn values(self, key: &str, value: Json) -> Result<Vec<String>> {
        let list = match value {
            Json::List(list) => list,
            one => vec![one],
        };
        if list.is_empty() {
            return self.syntax(&format!("Condition key {key} cannot be empty!"));
        }
        let text = |value| match value {
            Json::Scalar { text, .. } => Ok(text),
            Json::Null | Json::List(_) | Json::Object(_) => {
                self.syntax(&format!("Invalid value of condition key {key}"))
            }
        };
        list.into_iter().map(text).collect()
    }
}

/// The actions of a statement while it is read.
struct Actions {
    not: bool,
    these: Vec<Glob>,
    /// They are an operator's, all of them: not S3's.
    of_operators: bool,
    /// What each is on, in a bucket's policy.
    on: Vec<names::On>,
}

/// Checks that all resources can be in the bucket, and that each action is on one of them.
fn check_bucket(bucket: &str, actions: &Actions, resources: &Listed<Template>) -> Result<()> {
    let (mut buckets, mut objects) = (false, false);
    for resource in &resources.these {
        let elements = resource.widest();
        let itself = reached(&elements, &format!("arn:aws:s3:::{bucket}")).exactly;
        let within = reached(&elements, &format!("arn:aws:s3:::{bucket}/")).beyond;
        if !itself && !within {
            return wrong("Policy has invalid resource");
        }
        buckets |= itself;
        objects |= within;
    }
    let applies = |on: &names::On| (on.buckets && buckets) || (on.objects && objects);
    if !resources.not && !actions.not && !actions.on.iter().all(applies) {
        return wrong("Action does not apply to any resource(s) in statement");
    }
    Ok(())
}

impl Statement {
    /// The keys, in lower case, of its conditions and variables.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        let templates = self.resources.iter().flat_map(|resources| &resources.these);
        let templates = templates.chain(self.conditions.iter().flat_map(Condition::templates));
        templates.flat_map(Template::variables).chain(self.conditions.iter().map(Condition::key))
    }
}
