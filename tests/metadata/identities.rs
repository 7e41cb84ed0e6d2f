//! Accounts, principals, policies and access keys.

use ninefold::metadata::*;

use crate::fixture::*;

on_both!(
    accounts_are_unique_and_go_when_nothing_is_theirs,
    names_differ_by_more_than_case,
    principals_go_when_nothing_hangs_on_them,
    policies_have_versions_and_attachments,
    keys_belong_to_somebody_and_to_one_master_key,
    every_change_is_counted_and_none_that_failed,
    secrets_are_sealed_anew_together_or_not_at_all,
    a_bucket_holds_its_account,
    when_keys_were_used_is_kept_apart,
    changes_at_once_come_one_after_the_other,
);

const MASTER: &str = "first";

fn account(number: u64, name: &str) -> AccountRow {
    AccountRow {
        id: format!("{number:012}"),
        canonical_id: format!("{number:064x}"),
        name: name.into(),
        email: None,
        public_access_block: "{}".into(),
        own: false,
        created: NOW,
    }
}

fn principal(kind: PrincipalKind, id: &str, name: &str) -> PrincipalRow {
    PrincipalRow {
        id: id.into(),
        account: account(1, "").id,
        kind,
        name: name.into(),
        path: "/".into(),
        boundary: None,
        tags: Tags::new(),
        trust: (kind == PrincipalKind::Role).then(|| Trust { document: "{}".into(), max_session: 3600 }),
        description: String::new(),
        created: NOW,
    }
}

fn policy(id: &str, name: &str) -> PolicyRow {
    PolicyRow {
        id: id.into(),
        account: account(1, "").id,
        name: name.into(),
        path: "/".into(),
        description: String::new(),
        default_version: 1,
        created: NOW,
    }
}

fn key(access_key: &str, user: Option<&str>) -> AccessKeyRow {
    AccessKeyRow {
        access_key: access_key.into(),
        account: account(1, "").id,
        user: user.map(Into::into),
        secret: format!("sealed {access_key}"),
        active: true,
        policy: None,
        description: String::new(),
        expires: None,
        created: NOW,
    }
}

fn seal(key: &str) -> SealRow {
    SealRow { key: key.into(), check: format!("check of {key}") }
}

/// An account, a user, a group and a role of it, a policy, and a master key.
async fn prepare(f: &Fixture) {
    assert_eq!(f.meta.seal_under(&seal(MASTER)).await.unwrap(), seal(MASTER));
    f.meta.create_account(&account(1, "acme"), None, MASTER).await.unwrap();
    for (kind, id, name) in [
        (PrincipalKind::User, "AIDA1", "alice"),
        (PrincipalKind::Group, "AGPA1", "devs"),
        (PrincipalKind::Role, "AROA1", "deploy"),
    ] {
        f.meta.create_principal(&principal(kind, id, name)).await.unwrap();
    }
    f.meta.create_policy(&policy("ANPA1", "reading"), "one").await.unwrap();
}

macro_rules! assert_refused {
    ($answer:expr, $($variant:tt)+) => {
        match $answer.await {
            Err(Error::$($variant)+) => {}
            other => panic!("{other:?}"),
        }
    };
}

async fn accounts_are_unique_and_go_when_nothing_is_theirs(f: &Fixture) {
    let own = AccountRow { own: true, ..account(9, "root") };
    assert_eq!(f.meta.own_account(&own).await.unwrap(), own);
    let again = AccountRow { name: "other".into(), ..own.clone() };
    assert_eq!(f.meta.own_account(&again).await.unwrap(), own, "the first stays");
    assert_refused!(f.meta.remove_account(&own.id), IdentityInUse { .. });

    prepare(f).await;
    assert_refused!(f.meta.create_account(&account(1, "new"), None, MASTER), IdentityExists { .. });
    let mailed = AccountRow { email: Some("me@x.org".into()), ..account(2, "second") };
    f.meta.create_account(&mailed, None, MASTER).await.unwrap();
    let email = AccountChange { email: Some(Some("ME@x.org".into())), ..AccountChange::default() };
    assert_refused!(
        f.meta.change_account(&account(1, "").id, &email),
        IdentityExists { kind: IdentityKind::Email, .. }
    );
    let name = AccountChange { name: Some("SECOND".into()), ..AccountChange::default() };
    assert_refused!(f.meta.change_account(&account(1, "").id, &name), IdentityExists { .. });
    assert_eq!(f.meta.change_account(&mailed.id, &name).await.unwrap().name, "SECOND");
    let none = AccountChange { email: Some(None), ..AccountChange::default() };
    assert_eq!(f.meta.change_account(&mailed.id, &none).await.unwrap().email, None);

    assert_refused!(f.meta.remove_account(&account(1, "").id), IdentityInUse { .. });
    for id in ["AIDA1", "AGPA1", "AROA1"] {
        f.meta.remove_principal(id, true).await.unwrap();
    }
    assert_refused!(f.meta.remove_account(&account(1, "").id), IdentityInUse { .. });
    f.meta.remove_policy("ANPA1", false).await.unwrap();
    f.meta.create_access_key(&key("AK", None), MASTER).await.unwrap();
    f.meta.remove_account(&account(1, "").id).await.unwrap();
    let rows = f.meta.identities().await.unwrap();
    assert_eq!((rows.accounts.len(), rows.keys.len()), (2, 0));
    assert_refused!(f.meta.remove_account(&account(1, "").id), NoSuchIdentity { .. });
    // Its id is never another's.
    assert_refused!(f.meta.create_account(&account(1, "acme"), None, MASTER), IdentityExists { .. });
    f.meta.create_account(&account(3, "acme"), None, MASTER).await.unwrap();
}

async fn names_differ_by_more_than_case(f: &Fixture) {
    prepare(f).await;
    let another = principal(PrincipalKind::User, "AIDA2", "ALICE");
    assert_refused!(f.meta.create_principal(&another), IdentityExists { .. });
    // A group is no user, and another account's user another one.
    f.meta.create_principal(&principal(PrincipalKind::Group, "AGPA2", "ALICE")).await.unwrap();
    f.meta.create_account(&account(2, "other"), None, MASTER).await.unwrap();
    f.meta.create_principal(&PrincipalRow { account: account(2, "").id, ..another.clone() }).await.unwrap();
    let rename = |name: &str| PrincipalChange { name: Some(name.into()), ..PrincipalChange::default() };
    f.meta.change_principal("AIDA1", &rename("Alice")).await.unwrap();
    f.meta.create_principal(&principal(PrincipalKind::User, "AIDA3", "bob")).await.unwrap();
    assert_refused!(f.meta.change_principal("AIDA1", &rename("BOB")), IdentityExists { .. });
    assert_refused!(f.meta.create_policy(&policy("ANPA2", "Reading"), "two"), IdentityExists { .. });
    assert_refused!(f.meta.create_policy(&policy("ANPA1", "new"), "two"), IdentityExists { .. });
    let nowhere = PolicyRow { account: account(7, "").id, ..policy("ANPA3", "x") };
    assert_refused!(f.meta.create_policy(&nowhere, "x"), NoSuchIdentity { .. });
}

async fn principals_go_when_nothing_hangs_on_them(f: &Fixture) {
    prepare(f).await;
    let own = InlinePolicy { principal: "AIDA1".into(), name: "own".into(), document: "{}".into() };
    f.meta.put_inline_policy(&own).await.unwrap();
    assert_refused!(f.meta.remove_principal("AIDA1", false), IdentityInUse { .. });
    f.meta.remove_inline_policy("AIDA1", "own").await.unwrap();
    assert_refused!(f.meta.remove_inline_policy("AIDA1", "own"), NoSuchIdentity { .. });
    f.meta.set_attachment("AIDA1", "ANPA1", true).await.unwrap();
    assert_refused!(f.meta.remove_principal("AIDA1", false), IdentityInUse { .. });
    f.meta.set_attachment("AIDA1", "ANPA1", false).await.unwrap();
    f.meta.set_membership("AGPA1", "AIDA1", true).await.unwrap();
    f.meta.set_membership("AGPA1", "AIDA1", true).await.unwrap();
    for id in ["AIDA1", "AGPA1"] {
        assert_refused!(f.meta.remove_principal(id, false), IdentityInUse { .. });
    }
    f.meta.set_membership("AGPA1", "AIDA1", false).await.unwrap();
    assert_refused!(f.meta.set_membership("AGPA1", "AIDA1", false), NoSuchIdentity { .. });
    f.meta.create_access_key(&key("AK", Some("AIDA1")), MASTER).await.unwrap();
    assert_refused!(f.meta.remove_principal("AIDA1", false), IdentityInUse { .. });
    f.meta.remove_access_key("AK").await.unwrap();
    f.meta.remove_principal("AIDA1", false).await.unwrap();
    assert_refused!(f.meta.remove_principal("AIDA1", false), NoSuchIdentity { .. });

    // As a whole it takes with it what is its own.
    f.meta.create_principal(&principal(PrincipalKind::User, "AIDA2", "bob")).await.unwrap();
    f.meta.create_access_key(&key("AK", Some("AIDA2")), MASTER).await.unwrap();
    f.meta.note_key_uses(&[("AK".into(), NOW)]).await.unwrap();
    f.meta.put_inline_policy(&InlinePolicy { principal: "AIDA2".into(), ..own }).await.unwrap();
    f.meta.set_attachment("AIDA2", "ANPA1", true).await.unwrap();
    f.meta.set_membership("AGPA1", "AIDA2", true).await.unwrap();
    // Only users are in groups, only groups have users, and only users have keys.
    assert_refused!(f.meta.set_membership("AIDA2", "AIDA2", true), NoSuchIdentity { .. });
    assert_refused!(f.meta.set_membership("AGPA1", "AROA1", true), NoSuchIdentity { .. });
    assert_refused!(f.meta.create_access_key(&key("AK2", Some("AROA1")), MASTER), NoSuchIdentity { .. });
    f.meta.remove_principal("AIDA2", true).await.unwrap();
    let rows = f.meta.identities().await.unwrap();
    assert!(
        rows.memberships.is_empty() && rows.attachments.is_empty() && rows.inline.is_empty() && rows.keys.is_empty()
    );
    assert_eq!((rows.policies.len(), rows.principals.len()), (1, 2));
}

async fn policies_have_versions_and_attachments(f: &Fixture) {
    prepare(f).await;
    let add = |text: &'static str, is_default, room| f.meta.add_policy_version("ANPA1", text, is_default, room, NOW);
    assert_eq!(add("two", false, false).await.unwrap(), 2);
    assert_eq!(add("three", true, false).await.unwrap(), 3);
    let rows = f.meta.identities().await.unwrap();
    assert_eq!(rows.policies[0].default_version, 3);
    let texts: Vec<(i64, &str)> = rows.versions.iter().map(|row| (row.version, &*row.document)).collect();
    assert_eq!(texts, [(1, "one"), (2, "two"), (3, "three")]);
    assert_refused!(f.meta.remove_policy_version("ANPA1", 3), IdentityInUse { .. });
    assert_refused!(f.meta.remove_policy_version("ANPA1", 9), NoSuchIdentity { .. });
    assert_refused!(f.meta.set_default_policy_version("ANPA1", 9), NoSuchIdentity { .. });
    f.meta.set_default_policy_version("ANPA1", 1).await.unwrap();
    f.meta.remove_policy_version("ANPA1", 3).await.unwrap();
    // Numbers are never given again, and the default one is never thrown out.
    for number in 4..=6 {
        assert_eq!(add("more", false, false).await.unwrap(), number);
    }
    assert_refused!(add("too many", true, false), IdentityInUse { .. });
    assert_eq!(add("seven", true, true).await.unwrap(), 7);
    let rows = f.meta.identities().await.unwrap();
    let versions: Vec<i64> = rows.versions.iter().map(|row| row.version).collect();
    assert_eq!((versions, rows.policies[0].default_version), (vec![1, 4, 5, 6, 7], 7));

    let bound =
        |policy: Option<&str>| PrincipalChange { boundary: Some(policy.map(Into::into)), ..PrincipalChange::default() };
    f.meta.change_principal("AROA1", &bound(Some("ANPA1"))).await.unwrap();
    assert_refused!(f.meta.change_principal("AROA1", &bound(Some("ANPA9"))), NoSuchIdentity { .. });
    f.meta.set_attachment("AGPA1", "ANPA1", true).await.unwrap();
    assert_refused!(f.meta.remove_policy("ANPA1", true), IdentityInUse { .. });
    f.meta.change_principal("AROA1", &bound(None)).await.unwrap();
    assert_refused!(f.meta.remove_policy("ANPA1", false), IdentityInUse { .. });
    f.meta.remove_policy("ANPA1", true).await.unwrap();
    assert_refused!(f.meta.set_attachment("AGPA1", "ANPA1", true), NoSuchIdentity { .. });
    let rows = f.meta.identities().await.unwrap();
    let role = rows.principals.iter().find(|row| row.kind == PrincipalKind::Role).unwrap();
    assert_eq!(role.trust, Some(Trust { document: "{}".into(), max_session: 3600 }));
    // Nobody has another account's policies.
    f.meta.create_account(&account(2, "other"), None, MASTER).await.unwrap();
    f.meta.create_policy(&PolicyRow { account: account(2, "").id, ..policy("ANPA2", "reading") }, "x").await.unwrap();
    assert_refused!(f.meta.set_attachment("AGPA1", "ANPA2", true), NoSuchIdentity { .. });
    assert_refused!(f.meta.change_principal("AROA1", &bound(Some("ANPA2"))), NoSuchIdentity { .. });
}

async fn keys_belong_to_somebody_and_to_one_master_key(f: &Fixture) {
    prepare(f).await;
    let full = AccessKeyRow {
        policy: Some("{}".into()),
        expires: Some(NOW + 5),
        description: "laptop".into(),
        ..key("AK1", Some("AIDA1"))
    };
    f.meta.create_access_key(&full, MASTER).await.unwrap();
    f.meta.create_access_key(&key("AK2", None), MASTER).await.unwrap();
    assert_eq!(f.meta.identities().await.unwrap().keys, [full.clone(), key("AK2", None)]);
    assert_refused!(f.meta.create_access_key(&key("AK1", None), MASTER), IdentityExists { .. });
    assert_refused!(f.meta.create_access_key(&key("AK3", Some("AIDA9")), MASTER), NoSuchIdentity { .. });
    assert_refused!(f.meta.create_access_key(&key("AK3", None), "another"), SealedOtherwise);
    let elsewhere = AccessKeyRow { account: account(7, "").id, ..key("AK3", None) };
    assert_refused!(f.meta.create_access_key(&elsewhere, MASTER), NoSuchIdentity { .. });
    // An account and its key are made together or not at all.
    let taken = AccessKeyRow { account: account(2, "").id, ..key("AK1", None) };
    assert_refused!(f.meta.create_account(&account(2, "two"), Some(&taken), MASTER), IdentityExists { .. });
    assert_eq!(f.meta.identities().await.unwrap().accounts.len(), 1);

    let off = AccessKeyChange { active: Some(false), policy: Some(None), expires: Some(None), description: None };
    f.meta.change_access_key("AK1", &off).await.unwrap();
    let changed = AccessKeyRow { active: false, policy: None, expires: None, ..full };
    assert_eq!(f.meta.identities().await.unwrap().keys[0], changed);
    f.meta.remove_access_key("AK1").await.unwrap();
    assert_refused!(f.meta.remove_access_key("AK1"), NoSuchIdentity { .. });
    assert_refused!(f.meta.change_access_key("AK1", &off), NoSuchIdentity { .. });
}

async fn every_change_is_counted_and_none_that_failed(f: &Fixture) {
    prepare(f).await;
    let before = f.meta.identity_generation().await.unwrap();
    assert_eq!(f.meta.identities().await.unwrap().generation, before);
    f.meta.create_access_key(&key("AK1", None), MASTER).await.unwrap();
    assert_eq!(f.meta.identity_generation().await.unwrap(), before + 1);
    assert_refused!(f.meta.create_access_key(&key("AK1", None), MASTER), IdentityExists { .. });
    assert_refused!(f.meta.remove_principal("AIDA9", true), NoSuchIdentity { .. });
    f.meta.note_key_uses(&[("AK1".into(), NOW)]).await.unwrap();
    assert_eq!(f.meta.identity_generation().await.unwrap(), before + 1);
}

async fn secrets_are_sealed_anew_together_or_not_at_all(f: &Fixture) {
    assert_eq!(f.meta.seal().await.unwrap(), None);
    prepare(f).await;
    assert_eq!(f.meta.seal_under(&seal("late")).await.unwrap(), seal(MASTER), "the first stays");
    for name in ["AK1", "AK2"] {
        f.meta.create_access_key(&key(name, None), MASTER).await.unwrap();
    }
    let anew = |key: &str, sealed: &str| Ok(format!("{sealed} anew for {key}"));
    let failing = |key: &str, sealed: &str| match key {
        "AK1" => Ok(sealed.to_uppercase()),
        _ => Err(Error::Corrupt("no".into())),
    };
    assert_refused!(f.meta.reseal(MASTER, &seal("second"), &failing), Corrupt(_));
    assert_refused!(f.meta.reseal("another", &seal("second"), &anew), SealedOtherwise);
    let rows = f.meta.identities().await.unwrap();
    assert_eq!((rows.seal, rows.keys), (Some(seal(MASTER)), vec![key("AK1", None), key("AK2", None)]));
    assert_eq!(f.meta.reseal(MASTER, &seal("second"), &anew).await.unwrap(), 2);
    let rows = f.meta.identities().await.unwrap();
    let secrets: Vec<&str> = rows.keys.iter().map(|row| &*row.secret).collect();
    assert_eq!(rows.seal, Some(seal("second")));
    assert_eq!(secrets, ["sealed AK1 anew for AK1", "sealed AK2 anew for AK2"]);
    f.meta.note_key_uses(&[("AK1".into(), NOW)]).await.unwrap();
    assert_eq!(f.meta.forget_secrets(&seal("third")).await.unwrap().len(), 2);
    let rows = f.meta.identities().await.unwrap();
    assert_eq!((rows.seal, rows.keys.len(), rows.principals.len()), (Some(seal("third")), 0, 3));
}

async fn a_bucket_holds_its_account(f: &Fixture) {
    f.meta.create_account(&account(1, "acme"), None, MASTER).await.unwrap();
    let owner = account(1, "").canonical_id;
    let bucket = |name: &str| NewBucket {
        name: name.into(),
        region: "us-east-1".into(),
        owner: owner.clone(),
        lock: false,
        configs: Vec::new(),
        created: NOW,
    };
    f.meta.create_bucket(&bucket("theirs")).await.unwrap();
    assert_refused!(f.meta.remove_account(&account(1, "").id), IdentityInUse { .. });
    f.meta.delete_bucket("theirs", NOW).await.unwrap();
    f.meta.remove_account(&account(1, "").id).await.unwrap();
    assert_refused!(f.meta.create_bucket(&bucket("theirs")), NoSuchIdentity { .. });

    // At the same time one of the two is refused.
    for round in 2..8 {
        let acme = account(round, &format!("acme{round}"));
        f.meta.create_account(&acme, None, MASTER).await.unwrap();
        let new = NewBucket { owner: acme.canonical_id.clone(), ..bucket(&format!("bucket{round}")) };
        let (made, removed) = tokio::join!(f.meta.create_bucket(&new), f.meta.remove_account(&acme.id));
        assert_ne!(made.is_ok(), removed.is_ok(), "{made:?} {removed:?}");
    }
}

async fn when_keys_were_used_is_kept_apart(f: &Fixture) {
    prepare(f).await;
    for name in ["AK1", "AK2"] {
        f.meta.create_access_key(&key(name, None), MASTER).await.unwrap();
    }
    let uses = |uses: &[(&str, i64)]| uses.iter().map(|(key, at)| (key.to_string(), *at)).collect::<Vec<_>>();
    f.meta.note_key_uses(&uses(&[("AK1", 5), ("gone", 6)])).await.unwrap();
    f.meta.note_key_uses(&uses(&[("AK2", 7), ("AK1", 4)])).await.unwrap();
    assert_eq!(f.meta.key_uses().await.unwrap(), uses(&[("AK1", 5), ("AK2", 7)]));
    f.meta.note_key_uses(&uses(&[("AK1", 9)])).await.unwrap();
    f.meta.remove_access_key("AK2").await.unwrap();
    assert_eq!(f.meta.key_uses().await.unwrap(), uses(&[("AK1", 9)]));
}

async fn changes_at_once_come_one_after_the_other(f: &Fixture) {
    prepare(f).await;
    let before = f.meta.identity_generation().await.unwrap();
    let tasks = (0..12).map(|number| {
        let meta = f.meta.clone();
        async move {
            // Four names, three times each.
            let name = format!("user{}", number % 4);
            let new = principal(PrincipalKind::User, &format!("AIDAX{number}"), &name);
            meta.create_principal(&new).await
        }
    });
    let made = all(tasks).await.into_iter().filter(|result| match result {
        Ok(()) => true,
        Err(Error::IdentityExists { .. }) => false,
        Err(error) => panic!("{error}"),
    });
    assert_eq!(made.count(), 4);
    assert_eq!(f.meta.identity_generation().await.unwrap(), before + 4);
}
