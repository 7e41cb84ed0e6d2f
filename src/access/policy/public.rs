//! What S3 calls public: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status>.
//!
//! A statement that allows everybody is public unless it asks for a fixed value of something that strangers cannot choose. (AWS has
//! counted a key of KMS among those, which strangers may not use there; here it would be no more than a header.)

use ipnet::IpNet;

use super::condition::{Condition, Quantifier, Test};
use super::document::Statement;
use super::principal::{Principal, Principals};
use super::variables::Template;
use super::{Effect, Policy};

/// Condition keys, in lower case, whose fixed values make a statement not public.
const FIXING: [&str; 13] = [
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:sourcearn",
    "aws:sourcevpc",
    "aws:sourcevpcarn",
    "aws:sourcevpce",
    "aws:sourceowner",
    "aws:sourceaccount",
    "aws:sourceorgid",
    "aws:userid",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
];

/// Bits of a network's address at least: wider ones are the public.
const NARROW: (u8, u8) = (8, 32);

pub(super) fn is_public(policy: &Policy) -> bool {
    policy.statements.iter().any(is_public_statement)
}

fn is_public_statement(statement: &Statement) -> bool {
    let everybody = match &statement.principals {
        Principals::These(these) => these.contains(&Principal::Everybody),
        Principals::Own | Principals::AllBut(_) => false,
    };
    statement.effect == Effect::Allow && everybody && !statement.conditions.iter().any(fixes)
}

/// Whether a condition leaves no way in to strangers.
fn fixes(condition: &Condition) -> bool {
    let operator = condition.operator();
    // These hold for who has no value at all.
    if operator.negated || operator.if_exists || operator.quantifier == Quantifier::All {
        return false;
    }
    let key = condition.key();
    match operator.test {
        Test::Ip if key == "aws:sourceip" => condition.networks().all(|network| match network {
            IpNet::V4(network) => network.prefix_len() >= NARROW.0,
            IpNet::V6(network) => network.prefix_len() >= NARROW.1,
        }),
        Test::Text | Test::TextInAnyCase | Test::Like | Test::Arn if FIXING.contains(&key) => {
            condition.templates().all(|value| is_fixed(key, value))
        }
        _ => false,
    }
}

fn is_fixed(key: &str, value: &Template) -> bool {
    match key {
        // All access points of a fixed account are as good as one.
        "s3:dataaccesspointarn" => value.beginning().matches(':').count() >= 5,
        // Who did not sign has one, too. The part behind a colon is the name of a session, which its maker chooses.
        "aws:userid" => value.fixed().is_some_and(|value| value != "anonymous" && !value.contains(':')),
        _ => value.fixed().is_some(),
    }
}
