//! `access::Directory` follows the tables.

use ninefold::access::policy::{AclGrant, Asked, Context, Layers, decide};
use ninefold::access::seal::{Keyring, Place, SealError};
use ninefold::access::{Directory, Federation, Holder, KeyError, Kind, NewSession, RootCredentials, Secret};
use ninefold::clock::Clock;
use ninefold::metadata::*;
use tempfile::TempDir;

use crate::fixture::*;

on_both!(
    what_is_changed_is_known_after_a_refresh_and_to_others_soon,
    a_user_has_its_own_policies_and_those_of_its_groups,
    what_cannot_be_read_denies,
    a_master_key_is_one_of_the_whole_deployment,
    a_change_of_the_master_key_is_followed,
    a_server_without_the_new_master_key_follows_what_it_can,
    a_lost_master_key_takes_the_access_keys_with_it,
    what_was_known_stays_while_the_database_is_away,
    sessions_last_as_long_as_they_may,
    whom_a_provider_knows_may_what_his_policies_say_now,
);

/// One process's view, with a data directory of its own.
struct View {
    directory: Directory,
    keyring: Keyring,
    data: TempDir,
}

fn place(data: &TempDir) -> Place {
    Place::of(None, None, data.path())
}

fn root() -> RootCredentials {
    RootCredentials { access_key: "root-key".into(), secret_key: Secret::new("root-secret") }
}

async fn open(meta: &Metadata, keyring: &Keyring) -> Directory {
    Directory::open(&root(), "deployment", meta.clone(), keyring.clone(), Clock::system()).await.unwrap()
}

impl View {
    async fn new(f: &Fixture) -> Self {
        let data = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(&f.meta, place(&data), true).await.unwrap();
        Self { directory: open(&f.meta, &keyring).await, keyring, data }
    }

    fn key(&self, access_key: &str, user: Option<&str>) -> (AccessKeyRow, String) {
        let sealed = self.keyring.seal(&Secret::new(format!("secret of {access_key}")), access_key).unwrap();
        let row = AccessKeyRow {
            access_key: access_key.into(),
            account: self.directory.root().account.id.to_string(),
            user: user.map(Into::into),
            secret: sealed.text,
            active: true,
            policy: None,
            description: String::new(),
            expires: None,
            created: NOW,
        };
        (row, sealed.key)
    }

    async fn add_key(&self, f: &Fixture, access_key: &str, user: Option<&str>) {
        let (row, seal) = self.key(access_key, user);
        f.meta.create_access_key(&row, &seal).await.unwrap();
        self.directory.refresh().await.unwrap();
    }

    async fn add_principal(&self, f: &Fixture, kind: PrincipalKind, id: &str) {
        let row = PrincipalRow {
            id: id.into(),
            account: self.directory.root().account.id.to_string(),
            kind,
            name: format!("name-{id}"),
            path: "/".into(),
            boundary: None,
            tags: Tags::new(),
            trust: None,
            description: String::new(),
            created: NOW,
        };
        f.meta.create_principal(&row).await.unwrap();
    }

    fn secret(&self, access_key: &str) -> Result<String, KeyError> {
        self.directory.find(access_key).map(|key| key.secret.expose().to_owned())
    }
}

async fn what_is_changed_is_known_after_a_refresh_and_to_others_soon(f: &Fixture) {
    let view = View::new(f).await;
    let other = open(&f.meta, &view.keyring).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let following = tokio::spawn({
        let other = other.clone();
        async move { other.run(stopped).await }
    });
    let account = AccountRow {
        id: "123456789012".into(),
        canonical_id: "ab".repeat(32),
        name: "acme".into(),
        email: Some("me@x.org".into()),
        public_access_block: r#"{"block_public_acls":true}"#.into(),
        own: false,
        created: NOW,
    };
    let (row, seal) = view.key("AK", None);
    let row = AccessKeyRow { account: account.id.clone(), ..row };
    f.meta.create_account(&account, Some(&row), &seal).await.unwrap();
    assert_eq!(view.secret("AK"), Err(KeyError::Unknown));
    view.directory.refresh().await.unwrap();
    assert_eq!(view.secret("AK").unwrap(), "secret of AK");
    let known = view.directory.find("AK").unwrap().identity.clone();
    assert!(known.is_root() && *known.account.id == *account.id && known.account.public_access_block.block_public_acls);
    for found in [view.directory.account(&account.canonical_id), view.directory.account_by_email("Me@x.org")] {
        assert_eq!(found.unwrap(), known.account);
    }
    let until = async |holds: &dyn Fn() -> bool| {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    until(&|| other.find("AK").is_ok()).await;
    other.note_use("AK");
    let off = AccessKeyChange { active: Some(false), ..AccessKeyChange::default() };
    f.meta.change_access_key("AK", &off).await.unwrap();
    until(&|| other.find("AK").is_err()).await;
    // Before it ends it says which keys were used.
    stop.send_replace(true);
    following.await.unwrap();
    assert_eq!(f.meta.key_uses().await.unwrap().len(), 1);

    // The deployment's own account is as its row says, and its key is still root's.
    let own = view.directory.root().account;
    let change =
        AccountChange { name: Some("us".into()), email: Some(Some("us@x.org".into())), ..AccountChange::default() };
    f.meta.change_account(&own.id, &change).await.unwrap();
    view.directory.refresh().await.unwrap();
    let changed = view.directory.find("root-key").unwrap().identity.account.clone();
    assert_eq!((&*changed.name, changed.email.as_deref()), ("us", Some("us@x.org")));
    assert_eq!((&changed.id, &changed.canonical_id), (&own.id, &own.canonical_id));
}

async fn a_user_has_its_own_policies_and_those_of_its_groups(f: &Fixture) {
    let view = View::new(f).await;
    view.add_principal(f, PrincipalKind::User, "AIDA1").await;
    view.add_key(f, "AK", Some("AIDA1")).await;
    let key = view.directory.find("AK").unwrap();
    let Kind::User { id, name, .. } = &key.identity.kind else { panic!("{key:?}") };
    assert_eq!((&**id, &**name, key.identity.policies.len()), ("AIDA1", "name-AIDA1", 0));
    assert!(key.identity.session.is_none() && key.identity.boundary.is_none());
    assert_eq!(key.identity.arn(), format!("arn:aws:iam::{}:user/name-AIDA1", key.identity.account.id));
}

async fn what_cannot_be_read_denies(f: &Fixture) {
    let view = View::new(f).await;
    // Whatever there is in its place, it allows nothing.
    let denied = |access_key: &str| match view.directory.find(access_key) {
        Err(_) => true,
        Ok(key) => {
            let context = Context::default();
            let (action, resource) = ("s3:GetObject", "arn:aws:s3:::bucket/key");
            let asked = Asked { who: &key.identity, action, resource, context: &context };
            let owner = key.identity.account.id.clone();
            !decide(&asked, &Layers { resource: None, acl: AclGrant::Nobody, owner: Some(&owner) }).allowed
        }
    };
    view.add_key(f, "OWN", None).await;
    assert!(!denied("OWN"));
    let policy = AccessKeyChange { policy: Some(Some("no policy".into())), ..AccessKeyChange::default() };
    f.meta.change_access_key("OWN", &policy).await.unwrap();
    view.add_principal(f, PrincipalKind::User, "AIDA1").await;
    view.add_principal(f, PrincipalKind::Group, "AGPA1").await;
    f.meta.set_membership("AGPA1", "AIDA1", true).await.unwrap();
    let inline = InlinePolicy { principal: "AGPA1".into(), name: "broken".into(), document: "{".into() };
    f.meta.put_inline_policy(&inline).await.unwrap();
    view.add_key(f, "AK", Some("AIDA1")).await;
    assert!(denied("OWN") && denied("AK"));
    // A secret that was put in another's place opens nothing.
    view.add_key(f, "ONE", None).await;
    view.add_key(f, "TWO", None).await;
    f.raw.execute("UPDATE access_keys SET secret = (SELECT k.secret FROM access_keys k WHERE k.access_key = 'ONE') WHERE access_key = 'TWO'").await;
    f.raw.execute("UPDATE identity_state SET generation = generation + 1").await;
    view.directory.refresh().await.unwrap();
    assert_eq!((view.secret("ONE").is_ok(), view.secret("TWO")), (true, Err(KeyError::Unknown)));
}

async fn a_master_key_is_one_of_the_whole_deployment(f: &Fixture) {
    let nobody = tempfile::tempdir().unwrap();
    assert!(matches!(Keyring::open(&f.meta, place(&nobody), false).await, Err(SealError::None)));
    let view = View::new(f).await;
    // Another server, without the key: it makes none.
    for may_make in [true, false] {
        let refused = Keyring::open(&f.meta, place(&nobody), may_make).await;
        assert!(matches!(refused, Err(SealError::Other { .. })), "{refused:?}");
        assert!(!nobody.path().join("master.key").exists());
    }
    let given = |text: &str| Place::of(Some(Secret::new(text)), None, nobody.path());
    let refused = Keyring::open(&f.meta, given(&"07".repeat(32)), true).await;
    assert!(matches!(refused, Err(SealError::Other { .. })), "{refused:?}");
    // With it, from wherever.
    let text = std::fs::read_to_string(view.data.path().join("master.key")).unwrap();
    Keyring::open(&f.meta, given(&text), true).await.unwrap();
    let file = view.data.path().join("master.key");
    Keyring::open(&f.meta, Place::of(None, Some(file.clone()), nobody.path()), true).await.unwrap();
    let nowhere = Place::of(None, Some(nobody.path().join("nothing")), nobody.path());
    assert!(matches!(Keyring::open(&f.meta, nowhere, true).await, Err(SealError::NoFile(_))));
    // But not from a file that others read.
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let exposed = Keyring::open(&f.meta, place(&view.data), true).await;
    assert!(matches!(exposed, Err(SealError::File(_))), "{exposed:?}");
}

async fn a_change_of_the_master_key_is_followed(f: &Fixture) {
    let view = View::new(f).await;
    view.add_key(f, "AK", None).await;
    let before = f.meta.identities().await.unwrap();
    let file = view.data.path().join("master.key");
    let lines =
        |text: String| text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    let read = || lines(std::fs::read_to_string(&file).unwrap());
    let first = read();
    let (id, count) = Keyring::rotate(&f.meta, place(&view.data)).await.unwrap();
    let after = f.meta.identities().await.unwrap();
    assert_eq!((count, after.seal.as_ref().map(|seal| &*seal.key)), (1, Some(&*id)));
    assert_ne!((&before.keys[0].secret, before.seal.unwrap().key), (&after.keys[0].secret, id));
    assert!(read().len() == 1 && read() != first);
    // A process that knew the old one reads the file again.
    let (late, seal) = view.key("LATE", None);
    assert!(matches!(f.meta.create_access_key(&late, &seal).await, Err(Error::SealedOtherwise)));
    view.directory.refresh().await.unwrap();
    assert_eq!(view.secret("AK").unwrap(), "secret of AK");
    view.add_key(f, "LATE", None).await;
    // One that an operator has put behind the one in use is taken.
    let next = "0f".repeat(32);
    let text = format!("{}\n{next}\n", read()[0]);
    std::fs::write(&file, text).unwrap();
    let two = Keyring::open(&f.meta, place(&view.data), false).await.unwrap();
    Keyring::rotate(&f.meta, place(&view.data)).await.unwrap();
    Keyring::open(&f.meta, Place::of(Some(Secret::new(&next)), None, view.data.path()), false).await.unwrap();
    assert_eq!(two.unseal(&f.meta.identities().await.unwrap().keys[0].secret, "AK").unwrap().expose(), "secret of AK");
    view.directory.refresh().await.unwrap();
    assert_eq!(view.secret("LATE").unwrap(), "secret of LATE");
    // In the environment the operator alone can.
    let given = |text: String| Place::of(Some(Secret::new(text)), None, view.data.path());
    assert!(matches!(Keyring::rotate(&f.meta, given(next.clone())).await, Err(SealError::Fixed)));
    Keyring::rotate(&f.meta, given(format!("{next} {}", "1e".repeat(32)))).await.unwrap();
    assert!(matches!(Keyring::open(&f.meta, given(next), false).await, Err(SealError::Other { .. })));
}

async fn a_server_without_the_new_master_key_follows_what_it_can(f: &Fixture) {
    let view = View::new(f).await;
    let text = std::fs::read_to_string(view.data.path().join("master.key")).unwrap();
    // Another machine's, with a file of its own.
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("master.key");
    let write = |text: &str| {
        use std::os::unix::fs::OpenOptionsExt as _;
        let options = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file);
        std::io::Write::write_all(&mut options.unwrap(), text.as_bytes()).unwrap();
    };
    write(&text);
    let keyring = Keyring::open(&f.meta, place(&data), false).await.unwrap();
    let other = View { directory: open(&f.meta, &keyring).await, keyring, data };
    for name in ["STAYS", "GOES"] {
        view.add_key(f, name, None).await;
    }
    other.directory.refresh().await.unwrap();
    Keyring::rotate(&f.meta, place(&view.data)).await.unwrap();
    view.directory.refresh().await.unwrap();
    view.add_key(f, "COMES", None).await;
    f.meta.remove_access_key("GOES").await.unwrap();
    for _ in 0..2 {
        other.directory.refresh().await.unwrap();
        assert_eq!(other.secret("STAYS").unwrap(), "secret of STAYS");
        assert!(other.secret("GOES").is_err() && other.secret("COMES").is_err());
    }
    // It is brought, and that is enough.
    write(&std::fs::read_to_string(view.data.path().join("master.key")).unwrap());
    other.directory.refresh().await.unwrap();
    assert_eq!(other.secret("COMES").unwrap(), "secret of COMES");
}

async fn a_lost_master_key_takes_the_access_keys_with_it(f: &Fixture) {
    let view = View::new(f).await;
    view.add_principal(f, PrincipalKind::User, "AIDA1").await;
    view.add_key(f, "AK", Some("AIDA1")).await;
    let replace = || Keyring::replace_lost(&f.meta, place(&view.data));
    assert!(matches!(replace().await, Err(SealError::NotLost(_))));
    std::fs::remove_file(view.data.path().join("master.key")).unwrap();
    let (_, gone) = replace().await.unwrap();
    assert_eq!(gone.len(), 1);
    Keyring::open(&f.meta, place(&view.data), false).await.unwrap();
    view.directory.refresh().await.unwrap();
    assert_eq!(view.secret("AK"), Err(KeyError::Unknown));
    view.add_key(f, "AK", Some("AIDA1")).await;
    assert_eq!(view.secret("AK").unwrap(), "secret of AK");
}

async fn what_was_known_stays_while_the_database_is_away(f: &Fixture) {
    let data = tempfile::tempdir().unwrap();
    let meta = Metadata::connect(&f.config).await.unwrap();
    let keyring = Keyring::open(&meta, place(&data), true).await.unwrap();
    let directory = open(&meta, &keyring).await;
    let view = View { directory, keyring, data };
    view.add_key(f, "AK", None).await;
    meta.close().await;
    view.directory.refresh().await.unwrap_err();
    assert_eq!(view.secret("AK").unwrap(), "secret of AK");
}

async fn sessions_last_as_long_as_they_may(f: &Fixture) {
    let data = tempfile::tempdir().unwrap();
    let keyring = Keyring::open(&f.meta, place(&data), true).await.unwrap();
    let clock = Clock::fixed(NOW);
    let directory =
        Directory::open(&root(), "deployment", f.meta.clone(), keyring.clone(), clock.clone()).await.unwrap();
    // Another server: it is told nothing, and knows the session.
    let other = Directory::open(&root(), "deployment", f.meta.clone(), keyring.clone(), clock.clone()).await.unwrap();
    let view = View { directory: directory.clone(), keyring, data };
    view.add_principal(f, PrincipalKind::User, "AIDAONE").await;
    view.add_key(f, "KEY-OF-ONE", Some("AIDAONE")).await;
    other.refresh().await.unwrap();

    let new = |expires| NewSession {
        holder: Holder::User { id: "AIDAONE".into(), by: "KEY-OF-ONE".into() },
        policy: None,
        policies: Vec::new(),
        federation: None,
        expires,
    };
    let session = directory.open_session(new(NOW + 1000)).unwrap();
    let (access_key, token) = (session.access_key.as_str(), Some(session.token.expose()));
    for directory in [&directory, &other] {
        assert_eq!(directory.secret(access_key).unwrap(), session.secret);
        let key = directory.signer(access_key, token).unwrap();
        assert!(key.temporary && matches!(&key.identity.kind, Kind::User { id, .. } if **id == *"AIDAONE"));
        assert_eq!(directory.signer(access_key, None).unwrap_err(), KeyError::Unknown);
        assert_eq!(directory.signer(access_key, Some("token")).unwrap_err(), KeyError::Token);
        assert_eq!(directory.signer("KEY-OF-ONE", token).unwrap_err(), KeyError::Token);
    }
    let second = directory.open_session(new(NOW + 1000)).unwrap();
    assert_ne!(second.secret, session.secret);
    assert_eq!(directory.signer(&second.access_key, token).unwrap_err(), KeyError::Token);
    clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(other.signer(access_key, token).unwrap_err(), KeyError::Expired);

    let session = directory.open_session(new(NOW + 100_000)).unwrap();
    let (access_key, token) = (session.access_key.as_str(), Some(session.token.expose()));
    other.signer(access_key, token).unwrap();
    f.meta.remove_access_key("KEY-OF-ONE").await.unwrap();
    other.refresh().await.unwrap();
    assert_eq!(other.signer(access_key, token).unwrap_err(), KeyError::Token);
}

async fn whom_a_provider_knows_may_what_his_policies_say_now(f: &Fixture) {
    let view = View::new(f).await;
    let account = view.directory.root().account.id.to_string();
    let allow = |action: &str| {
        format!(r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}","Resource":"*"}}]}}"#)
    };
    let row = PolicyRow {
        id: "ANPAONE".into(),
        account: account.clone(),
        name: "Own".into(),
        path: "/".into(),
        description: String::new(),
        default_version: 1,
        created: NOW,
    };
    f.meta.create_policy(&row, &allow("s3:GetObject")).await.unwrap();
    view.directory.refresh().await.unwrap();
    assert!(view.directory.policy_called(&account, "OWN").is_some());
    assert!(view.directory.policy_called(&account, "readonly").is_some());
    assert!(view.directory.policy_called(&account, "nothing").is_none());
    assert!(view.directory.policy_called("111122223333", "own").is_none());

    let federation = Federation {
        provider: format!("arn:aws:iam::{account}:oidc-provider/idp.example.com"),
        names: vec!["jwt".into()],
        claims: [("sub".to_owned(), vec!["alice".to_owned()])].into(),
    };
    let holder = Holder::Federated {
        account: account.clone(),
        name: "idp.example.com/alice".into(),
        policies: vec!["own".into(), "writeonly".into(), "nothing".into()],
    };
    let new = NewSession {
        holder,
        policy: None,
        policies: Vec::new(),
        federation: Some(federation.clone()),
        expires: view.directory.now() + 600_000,
    };
    let session = view.directory.open_session(new).unwrap();
    let may = |action: &str| {
        let key = view.directory.signer(&session.access_key, Some(session.token.expose())).unwrap();
        let who = &key.identity;
        assert_eq!(who.arn(), format!("arn:aws:sts::{account}:federated-user/idp.example.com/alice"));
        assert_eq!(who.federation.as_deref(), Some(&federation));
        let asked = Asked { who, action, resource: "arn:aws:s3:::b/k", context: &Context::default() };
        decide(&asked, &Layers { resource: None, acl: AclGrant::Nobody, owner: Some(&account) }).allowed
    };
    assert!(may("s3:GetObject") && may("s3:PutObject") && !may("s3:DeleteObject"));
    f.meta.add_policy_version("ANPAONE", &allow("s3:DeleteObject"), true, false, NOW).await.unwrap();
    view.directory.refresh().await.unwrap();
    assert!(!may("s3:GetObject") && may("s3:DeleteObject"));
    f.meta.remove_policy("ANPAONE", true).await.unwrap();
    view.directory.refresh().await.unwrap();
    assert!(may("s3:PutObject") && !may("s3:DeleteObject"));
}
