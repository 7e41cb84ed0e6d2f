//! A second evaluator, which reads the documents anew for each question and compares by brute force, to hold the first against.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::*;

/// Characters, and what stands for many of them.
#[derive(Clone, Copy, PartialEq)]
enum Glyph {
    Is(char),
    One,
    Many,
}

fn matches(pattern: &[Glyph], text: &[char]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some(Glyph::Many), _) => matches(&pattern[1..], text) || (!text.is_empty() && matches(pattern, &text[1..])),
        (Some(_), None) => false,
        (Some(Glyph::One), Some(_)) => matches(&pattern[1..], &text[1..]),
        (Some(Glyph::Is(own)), Some(char)) => own == char && matches(&pattern[1..], &text[1..]),
    }
}

fn glyphs(text: &str) -> Vec<Glyph> {
    let glyph = |char| match char {
        '*' => Glyph::Many,
        '?' => Glyph::One,
        char => Glyph::Is(char),
    };
    text.chars().map(glyph).collect()
}

fn like(pattern: &[Glyph], text: &str) -> bool {
    matches(pattern, &text.chars().collect::<Vec<_>>())
}

/// A question, and all that is asked.
#[derive(Debug, Clone)]
struct Case {
    who: Identity,
    /// The documents of who asks.
    policies: Vec<Value>,
    boundary: Option<Value>,
    session: Option<Value>,
    bucket: Option<Value>,
    acl: AclGrant,
    action: &'static str,
    key: &'static str,
    pairs: Vec<(&'static str, &'static str)>,
}

impl Case {
    fn values(&self, key: &str) -> Vec<String> {
        let who = &self.who;
        let (arn, id) = (who.role_arn().unwrap_or_else(|| who.arn()), who.account.id.to_string());
        let signed = |value: String| if who.is_anonymous() { vec![] } else { vec![value] };
        match (key.to_lowercase().as_str(), &who.kind) {
            ("aws:principalarn", _) => signed(arn),
            ("aws:principalaccount", _) => signed(id),
            ("aws:username", Kind::User { name, .. }) => vec![name.to_string()],
            ("aws:username", _) => vec![],
            (key, _) => self
                .pairs
                .iter()
                .filter(|(own, _)| own.to_lowercase() == key)
                .map(|(_, value)| (*value).to_owned())
                .collect(),
        }
    }

    /// `None`: a variable has no one value.
    fn substitute(&self, text: &str, version: &str, wildcards: bool) -> Option<Vec<Glyph>> {
        let plain = |text: &str| text.chars().map(Glyph::Is).collect::<Vec<_>>();
        let read = |text: &str| if wildcards { glyphs(text) } else { plain(text) };
        if version != "2012-10-17" {
            return Some(read(text));
        }
        let mut pieces = text.split("${");
        let mut all = read(pieces.next().unwrap());
        for piece in pieces {
            let (inside, after) = piece.split_once('}').unwrap();
            let values = match inside {
                "*" | "?" | "$" => vec![inside.to_owned()],
                _ => match inside.split_once(", ") {
                    None => self.values(inside),
                    Some((key, default)) if self.values(key).len() != 1 => vec![default.trim_matches('\'').to_owned()],
                    Some((key, _)) => self.values(key),
                },
            };
            let [value] = &values[..] else { return None };
            all.extend(plain(value));
            all.extend(read(after));
        }
        Some(all)
    }
}

fn list(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    value.as_array().map_or_else(|| vec![text(value)], |list| list.iter().map(text).collect())
}

/// Whether one value of the request is like one of the policy's; `None`: nobody knows.
fn compares(case: &Case, operator: &str, own: &str, value: &str, version: &str) -> Option<bool> {
    Some(match operator {
        "StringEquals" => like(&case.substitute(own, version, false)?, value),
        "StringEqualsIgnoreCase" => {
            let own = case.substitute(own, version, false)?;
            own.len() == value.chars().count()
                && own
                    .iter()
                    .zip(value.chars())
                    .all(|(own, char)| matches!(own, Glyph::Is(own) if own.eq_ignore_ascii_case(&char)))
        }
        "StringLike" => like(&case.substitute(own, version, true)?, value),
        "ArnLike" => {
            let own = case.substitute(own, version, true)?;
            let own: Vec<_> = own.splitn(6, |glyph| *glyph == Glyph::Is(':')).collect();
            let fields: Vec<_> = value.splitn(6, ':').collect();
            own.len() == 6 && fields.len() == 6 && own.iter().zip(fields).all(|(own, field)| like(own, field))
        }
        "NumericLessThan" => value.parse::<f64>().is_ok_and(|value| value < own.parse().unwrap()),
        "Bool" => value == own,
        other => panic!("{other}"),
    })
}

fn condition_holds(case: &Case, operator: &str, key: &str, own: &Value, statement: &Value, version: &str) -> bool {
    let values = case.values(key);
    let own = list(own);
    if operator == "Null" {
        return own.iter().any(|own| (own == "true") == values.iter().all(|value| value.is_empty()));
    }
    let (set, operator) = operator.split_once(':').unwrap_or(("", operator));
    let (operator, if_exists) =
        operator.strip_suffix("IfExists").map_or((operator, false), |operator| (operator, true));
    let negated = operator.contains("Not");
    let operator = operator.replace("Not", "");
    // What is true of one value: with a negation that it is like none.
    let of_one = |value: &String| {
        let all: Vec<_> = own.iter().map(|own| compares(case, &operator, own, value, version)).collect();
        if all.contains(&Some(true)) {
            !negated
        } else if all.contains(&None) {
            negated && statement["Effect"] == "Deny"
        } else {
            negated
        }
    };
    match set {
        "ForAllValues" => values.iter().filter(|value| !value.is_empty()).all(of_one),
        "ForAnyValue" if values.is_empty() => if_exists && statement["Effect"] == "Deny",
        "ForAnyValue" => values.iter().any(of_one),
        _ if values.is_empty() => if_exists || negated,
        // Several values of a key that should have one.
        _ if statement["Effect"] == "Allow" => values.iter().all(of_one),
        _ => values.iter().any(of_one),
    }
}

/// How far a principal goes: 1 to the account, 2 by name, 3 to the session or everybody; 0 is not at all.
fn reach(principal: &Value, who: &Identity) -> u8 {
    let mut widest = 0;
    if principal == "*" {
        return 3;
    }
    for name in principal.as_object().unwrap().values().flat_map(list) {
        let account = format!("arn:aws:iam::{}:root", who.account.id);
        let is = match name.as_str() {
            "*" => 3,
            _ if who.is_anonymous() => 0,
            name if name == account || *name == *who.account.id => {
                if who.is_root() {
                    3
                } else {
                    1
                }
            }
            name if matches!(who.kind, Kind::User { .. }) && name == who.arn() => 2,
            name if Some(name) == who.role_arn().as_deref() => 2,
            name if matches!(who.kind, Kind::Role { .. }) && name == who.arn() => 3,
            _ => 0,
        };
        widest = widest.max(is);
    }
    widest
}

/// Whether all that the requester is has been named.
fn is_exempt(principal: &Value, who: &Identity) -> bool {
    if principal == "*" {
        return true;
    }
    let names: Vec<_> = principal.as_object().unwrap().values().flat_map(list).collect();
    let mut all = vec![format!("arn:aws:iam::{}:root", who.account.id)];
    match who.kind {
        Kind::Anonymous => return names.iter().any(|name| name == "*"),
        Kind::Root => {}
        Kind::User { .. } => all.push(who.arn()),
        Kind::Role { .. } => all.extend([who.arn(), who.role_arn().unwrap()]),
        Kind::Federated { .. } => all.push(who.federation.as_ref().unwrap().provider.clone()),
    }
    let is_named = |own: &String| names.iter().any(|name| name == own || format!("arn:aws:iam::{name}:root") == *own);
    names.iter().any(|name| name == "*") || (all.iter().all(is_named) && who.boundary.is_none())
}

/// Whether a policy denies, and how far it allows.
fn says(case: &Case, policy: &Value) -> (bool, u8) {
    let version = policy["Version"].as_str().unwrap_or("2008-10-17");
    let (mut denies, mut allows) = (false, 0);
    let statements = policy["Statement"].as_array().cloned().unwrap_or_else(|| vec![policy["Statement"].clone()]);
    for statement in statements {
        let denying = statement["Effect"] == "Deny";
        let is_action = |patterns: &Value| {
            list(patterns).iter().any(|pattern| like(&glyphs(&pattern.to_lowercase()), &case.action.to_lowercase()))
        };
        let about = match statement.get("Action") {
            Some(actions) => is_action(actions),
            None => !is_action(&statement["NotAction"]),
        };
        let resource = format!("arn:aws:s3:::bucket/{}", case.key);
        let is_resource = |patterns: &Value| {
            let one =
                |pattern: &String| case.substitute(pattern, version, true).map(|pattern| like(&pattern, &resource));
            let all: Vec<_> = list(patterns).iter().map(one).collect();
            if all.contains(&Some(true)) {
                Some(true)
            } else if all.contains(&None) {
                None
            } else {
                Some(false)
            }
        };
        let on = match statement.get("Resource") {
            Some(resources) => is_resource(resources) == Some(true),
            None => is_resource(&statement["NotResource"]).map_or(denying, |is| !is),
        };
        let far = match (statement.get("Principal"), statement.get("NotPrincipal")) {
            (Some(principal), _) => reach(principal, &case.who),
            (None, Some(principal)) => {
                if is_exempt(principal, &case.who) {
                    0
                } else {
                    3
                }
            }
            (None, None) => 3,
        };
        let conditions = statement["Condition"].as_object().cloned().unwrap_or_default();
        let hold = conditions.iter().all(|(operator, keys)| {
            let keys = keys.as_object().unwrap();
            keys.iter().all(|(key, own)| condition_holds(case, operator, key, own, &statement, version))
        });
        if about && on && hold && far > 0 {
            denies |= denying;
            allows = if denying { allows } else { allows.max(far) };
        }
    }
    (denies, allows)
}

fn naive(case: &Case) -> bool {
    let who = &case.who;
    let of = |policies: &[&Value]| {
        let all: Vec<_> = policies.iter().map(|policy| says(case, policy)).collect();
        (all.iter().any(|(denies, _)| *denies), all.iter().map(|(_, allows)| *allows).max().unwrap_or(0))
    };
    let bucket = of(&case.bucket.iter().collect::<Vec<_>>());
    let own_policies = if who.is_root() { (false, 0) } else { of(&case.policies.iter().collect::<Vec<_>>()) };
    let unlimited = (false, 3);
    let boundary = case.boundary.as_ref().map_or(unlimited, |policy| of(&[policy]));
    let session = case.session.as_ref().map_or(unlimited, |policy| of(&[policy]));
    let within = who.account.id.to_string() == OWNER;
    let rescue = within && who.is_root() && case.action.ends_with("BucketPolicy");
    if (bucket.0 && !rescue) || own_policies.0 || boundary.0 || session.0 {
        return false;
    }
    let acl = match case.acl {
        AclGrant::Nobody => 0,
        AclGrant::Account if who.is_root() => 3,
        AclGrant::Account => 1,
        AclGrant::Everybody => 3,
    };
    if who.is_anonymous() {
        return bucket.1.max(acl) == 3;
    }
    let (boundary, session) = (boundary.1 > 0, session.1 > 0);
    let by_own = (who.is_root() || own_policies.1 > 0) && boundary && session;
    if !within {
        return by_own && bucket.1.max(acl) > 0;
    }
    let by_bucket = |far: u8| match (far, &who.kind) {
        (3, Kind::Role { .. }) => true,
        (2, Kind::Role { .. }) => boundary && session,
        (2 | 3, _) => session,
        _ => false,
    };
    by_own || by_bucket(bucket.1) || by_bucket(acl)
}

fn some(values: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop_oneof![
        select(values).prop_map(|value| json!(value)),
        prop::collection::vec(select(values), 1..3).prop_map(|list| json!(list))
    ]
}

const ACTIONS: &[&str] = &["*", "s3:*", "s3:GetObject", "S3:getobject", "s3:P?tObject", "s3:*Object*"];
const RESOURCES: &[&str] = &[
    "*",
    "arn:aws:s3:::bucket/*",
    "arn:aws:s3:::bucket/a*",
    "arn:aws:s3:::bucket/?b*b",
    "arn:aws:s3:::bucket/*a*a?b",
    "arn:aws:s3:::bucket/${aws:username}*",
    "arn:aws:s3:::bucket/*${s3:prefix, 'ab'}",
    "arn:aws:s3:::bucket/${*}${aws:TagKeys}",
];
const PRINCIPALS: &[&str] = &[
    "*",
    "111122223333",
    "arn:aws:iam::111122223333:root",
    "444455556666",
    "arn:aws:iam::111122223333:user/a*",
    "arn:aws:iam::111122223333:user/ab",
    "arn:aws:iam::444455556666:user/ab",
    "arn:aws:iam::111122223333:role/r",
    "arn:aws:sts::111122223333:assumed-role/r/s",
];
const VALUES: &[&str] =
    &["", "a", "b", "ab", "A", "a*", "?b", "${s3:prefix}", "${aws:username}", "${*}", "${s3:delimiter, 'b'}b"];

fn condition() -> impl Strategy<Value = Value> {
    let text = (
        select(&["", "ForAllValues:", "ForAnyValue:"][..]),
        select(
            &[
                "StringEquals",
                "StringNotEquals",
                "StringEqualsIgnoreCase",
                "StringNotEqualsIgnoreCase",
                "StringLike",
                "StringNotLike",
            ][..],
        ),
        select(&["", "IfExists"][..]),
        select(&["s3:prefix", "aws:TagKeys", "S3:Delimiter", "aws:username"][..]),
        some(VALUES),
    )
        .prop_map(|(set, operator, exists, key, values)| json!({format!("{set}{operator}{exists}"): {key: values}}));
    let arn = (
        select(&["ArnLike", "ArnNotLike"][..]),
        some(&[
            "arn:aws:iam::111122223333:*",
            "arn:*:*:*:*:role/?",
            "arn:aws:iam::${aws:PrincipalAccount}:user/a*",
            "arn:aws",
        ]),
    )
        .prop_map(|(operator, values)| json!({operator: {"aws:PrincipalArn": values}}));
    let other = prop_oneof![
        Just(json!({"NumericLessThan": {"s3:max-keys": 10}})),
        Just(json!({"NumericLessThanIfExists": {"s3:max-keys": "1.5"}})),
        Just(json!({"Bool": {"aws:SecureTransport": true}})),
        Just(json!({"Null": {"s3:prefix": "true", "aws:TagKeys": false}})),
        Just(json!({})),
    ];
    prop_oneof![3 => text, 1 => arn, 2 => other]
}

fn statement(of_bucket: bool) -> impl Strategy<Value = Value> {
    let wide =
        |values: &'static [&'static str]| prop_oneof![Just(json!(values[0])), Just(json!(values[1])), some(values)];
    let principal = prop_oneof![Just(json!("*")), some(PRINCIPALS).prop_map(|names| json!({"AWS": names}))];
    (
        any::<bool>(),
        principal,
        (prop::bool::weighted(0.15), wide(ACTIONS)),
        (prop::bool::weighted(0.15), wide(RESOURCES)),
        condition(),
        prop::bool::weighted(0.5),
    )
        .prop_map(
            move |(deny, principal, (not_action, actions), (not_resource, resources), condition, conditional)| {
                let mut statement = json!({
                    "Effect": if deny { "Deny" } else { "Allow" },
                    if not_action { "NotAction" } else { "Action" }: actions,
                    if not_resource { "NotResource" } else { "Resource" }: resources,
                });
                if of_bucket {
                    let not = deny && principal != "*" && condition != json!({});
                    statement[if not { "NotPrincipal" } else { "Principal" }] = principal;
                }
                if conditional {
                    statement["Condition"] = condition;
                }
                statement
            },
        )
}

fn policy(of_bucket: bool) -> impl Strategy<Value = Value> {
    let version = prop_oneof![4 => Just("2012-10-17"), 1 => Just("2008-10-17")];
    (version, prop::collection::vec(statement(of_bucket), 1..4))
        .prop_map(|(version, statements)| json!({"Version": version, "Statement": statements}))
}

fn who() -> impl Strategy<Value = Identity> {
    let signed = (select(&[OWNER, OTHER][..]), select(&["a", "ab", "*", "b"][..]), 0..3);
    let signed = signed.prop_map(|(account, name, kind)| match kind {
        0 => root(account),
        1 => user(account, name, &[]),
        _ => role(account, "r", &[]),
    });
    prop_oneof![6 => signed, 1 => Just(Identity::anonymous())]
}

fn case() -> impl Strategy<Value = Case> {
    let pairs = select(
        &[
            ("s3:prefix", "a"),
            ("s3:prefix", "ab"),
            ("s3:prefix", ""),
            ("s3:delimiter", "a*"),
            ("s3:max-keys", "1"),
            ("s3:max-keys", "9"),
            ("aws:TagKeys", "a"),
            ("aws:TagKeys", "b"),
            ("aws:TagKeys", "A"),
            ("aws:SecureTransport", "true"),
            ("aws:username", "a"),
        ][..],
    );
    let limit = || prop::option::weighted(0.3, policy(false));
    let bucket = prop::option::weighted(0.8, policy(true));
    let acl = prop_oneof![4 => Just(AclGrant::Nobody), 1 => Just(AclGrant::Account), 1 => Just(AclGrant::Everybody)];
    let asked = (
        select(&["s3:GetObject", "s3:PutObject", "s3:PutBucketPolicy"][..]),
        select(&["a", "ab", "aab", "abab", "*a", "b"][..]),
    );
    (
        who(),
        prop::collection::vec(policy(false), 0..3),
        limit(),
        limit(),
        bucket,
        acl,
        asked,
        prop::collection::vec(pairs, 0..5),
    )
        .prop_map(|(mut who, policies, boundary, session, bucket, acl, (action, key), pairs)| {
            let parsed = |value: &Value| Arc::new(identity_policy(&value.to_string()));
            let signed = !who.is_anonymous();
            let policies = if signed { policies } else { vec![] };
            let (boundary, session) = (boundary.filter(|_| signed && !who.is_root()), session.filter(|_| signed));
            who.policies = policies.iter().map(parsed).collect();
            who.boundary = boundary.as_ref().map(parsed);
            who.session = session.as_ref().map(|session| [parsed(session)].into());
            Case { who, policies, boundary, session, bucket, acl, action, key, pairs }
        })
}

proptest! {
    #[test]
    fn both_evaluators_agree(case in case()) {
        // Principals with wildcards are refused; nothing else that is made here is.
        let bucket = case.bucket.as_ref().map(|policy| Policy::parse(&policy.to_string(), PolicyKind::Bucket("bucket")));
        let bucket = match bucket {
            Some(Err(error)) => {
                prop_assert_eq!(error.to_string(), "Invalid principal in policy");
                return Ok(());
            }
            Some(Ok(policy)) => Some(policy),
            None => None,
        };
        let context = context(&case.pairs);
        let resource = format!("arn:aws:s3:::bucket/{}", case.key);
        let asked = Asked { who: &case.who, action: case.action, resource: &resource, context: &context };
        let decision = decide(&asked, &Layers { resource: bucket.as_ref(), acl: case.acl, owner: Some(OWNER) });
        prop_assert_eq!(decision.allowed, naive(&case), "{}", decision.because);
    }

    #[test]
    fn wildcards_match_what_brute_force_matches(pattern in "[ab*?ä]{0,8}", text in "[abä]{0,10}") {
        let elements: Vec<_> = pattern::wild(&pattern).collect();
        let glob = pattern::Glob::new(&elements).unwrap();
        prop_assert_eq!(glob.matches(&text), like(&glyphs(&pattern), &text));
        // What is reached by a beginning is what some text with that beginning matches.
        let reached = pattern::reached(&elements, &text);
        prop_assert_eq!(reached.exactly, like(&glyphs(&pattern), &text));
        let longer = (1..=9).flat_map(|more| ["a", "b", "ä"].map(|char| format!("{text}{}", char.repeat(more))));
        prop_assert!(reached.beyond || !longer.into_iter().any(|text| like(&glyphs(&pattern), &text)));
    }
}
