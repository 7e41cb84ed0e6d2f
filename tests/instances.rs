//! Two servers over one PostgreSQL and the same volumes: one dies, or stops and goes on, and the other takes over. Nothing that
//! either has acknowledged is lost, and who was judged dead does no harm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "support/load.rs"]
mod load;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/requests.rs"]
mod requests;
#[path = "support/server.rs"]
mod server;
#[path = "support/signing.rs"]
#[allow(dead_code, reason = "this suite needs the plainest of it")]
mod signing;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use load::{Dice, Keys, Until};
use requests::Client;
use server::Server;

/// After how long a silent server is judged dead: one that is only slow never is, the machine being busy or not.
const TIMEOUT: &str = "6s";
/// Longer than anything here may take.
const WITHIN: Duration = Duration::from_secs(300);
/// Clients of each server.
const CLIENTS: usize = 3;

struct Pair {
    servers: [Server; 2],
    keys: [Keys; 2],
    dice: Dice,
    _database: postgres::Database,
}

impl Pair {
    /// Two servers that have not been started.
    async fn new() -> Self {
        let database = postgres::Database::new().await;
        let mut servers = [Server::new(&["--bucket", "demo"]), Server::new(&["--bucket", "demo"])];
        // One home has the volumes of both.
        let volumes = format!("{}/volumes/v{{1...9}}", servers[0].home().display());
        for server in &mut servers {
            load::make_hasty(server, TIMEOUT);
            // Each new snapshot leaves an old one to be removed: there would be no end to tidying up.
            server.set_env("NINEFOLD_SNAPSHOT_INTERVAL", Some("0s"));
            server.set_env("NINEFOLD_DATABASE_URL", Some(&database.url));
            server.set_env("NINEFOLD_VOLUMES", Some(&volumes));
            server.set_env("NINEFOLD_MASTER_KEY", Some(&"5a".repeat(32)));
        }
        let dice = Dice(u64::from_le_bytes(ninefold::clock::random_bytes()) | 1);
        let keys = [vec![BTreeMap::new(); CLIENTS], vec![BTreeMap::new(); CLIENTS]];
        Self { servers, keys, dice, _database: database }
    }

    fn volumes(&self) -> PathBuf {
        self.servers[0].home().join("volumes")
    }

    /// Has the clients of both write while something else is done, and a moment longer.
    async fn load(&mut self, meanwhile: impl FnOnce(&mut [Server; 2]) + Send) {
        let clients = self.servers.each_ref().map(|server| Client::new(server.address()));
        let mut dice = [Dice(self.dice.roll(u64::MAX) | 1), Dice(self.dice.roll(u64::MAX) | 1)];
        let [first, second] = std::mem::take(&mut self.keys);
        let [of_first, of_second] = &mut dice;
        let until = Until::after(WITHIN);
        let writing = async {
            tokio::join!(
                load::load(&clients[0], 0, first, of_first, &until),
                load::load(&clients[1], CLIENTS as u64, second, of_second, &until),
            )
        };
        let acting = async {
            // Blocks its thread; the clients are tasks of others.
            tokio::task::block_in_place(|| meanwhile(&mut self.servers));
            tokio::time::sleep(Duration::from_millis(500)).await;
            until.say();
        };
        let ((first, second), ()) = tokio::join!(writing, acting);
        self.keys = [first, second];
    }

    /// Reads back, through one server, what either has acknowledged.
    async fn read_back(&mut self, through: usize) {
        let client = Client::new(self.servers[through].address());
        let mut all: Keys = self.keys.iter_mut().flat_map(std::mem::take).collect();
        assert!(load::read_back(&client, &mut all).await, "no answer:\n{}", self.servers[through].output());
        let second = all.split_off(CLIENTS);
        self.keys = [all, second];
    }

    /// Fails if a request of this server's clients was not answered with a success.
    fn assert_no_error(&self, server: usize) {
        let unsure: Vec<_> = self.keys[server].iter().flatten().filter(|(_, known)| !known.is_sure()).collect();
        assert!(unsure.is_empty(), "{unsure:?}\n{}", self.servers[server].output());
    }

    /// No file is left that no row names, and every block is whole.
    fn assert_tidy(&self, server: usize) {
        load::until_tidy(&self.servers[server], &self.volumes(), WITHIN);
        load::check(&self.servers[server], &["--deep"]);
    }
}

fn instances(server: &Server) -> Vec<i64> {
    load::status(server)["instances"].as_array().unwrap().iter().map(|one| one["id"].as_i64().unwrap()).collect()
}

fn scrub(server: &Server) -> Value {
    let status = load::status(server);
    status["jobs"].as_array().unwrap().iter().find(|job| job["name"] == "scrub").cloned().unwrap_or(Value::Null)
}

fn until(what: &str, server: &Server, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !holds() {
        assert!(Instant::now() < deadline, "not so yet: {what}\n{}", server.output());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_takes_over_from_one_that_is_killed() {
    let mut pair = Pair::new().await;
    pair.servers.iter_mut().for_each(Server::start);
    load::prepare(&Client::new(pair.servers[0].address())).await;
    pair.load(|_| ()).await;
    pair.servers[1].end(Signal::TERM);
    // The first has a job, for longer than it lives.
    let done = |server: &Server| scrub(server)["done"].as_u64().unwrap_or(0);
    pair.servers[0].end(Signal::TERM);
    pair.servers[0].set_env("NINEFOLD_SCRUB_RATE", Some("64KiB"));
    pair.servers[0].start();
    pair.servers[0].command(&["scrub"]).output().unwrap();
    until("the scrub runs", &pair.servers[0], || scrub(&pair.servers[0])["state"] == "running");
    let begun = scrub(&pair.servers[0]);
    pair.servers[1].start();
    assert_eq!(instances(&pair.servers[1]).len(), 2);

    let (moment, mut alive) = (Duration::from_millis(300 + pair.dice.roll(700)), Vec::new());
    pair.load(|servers| {
        std::thread::sleep(moment);
        servers[0].kill();
        until("the dead one is judged", &servers[1], || instances(&servers[1]).len() == 1);
        alive = instances(&servers[1]);
    })
    .await;
    pair.assert_no_error(1);
    pair.read_back(1).await;
    // Its open chunks are sealed; the other has one in its lane.
    let open = || load::status(&pair.servers[1])["chunks"]["open"].as_u64().unwrap();
    until("its chunks are sealed", &pair.servers[1], || open() <= 1);
    until("its job goes on", &pair.servers[1], || scrub(&pair.servers[1])["state"] == "done");
    assert_eq!(scrub(&pair.servers[1])["started"], begun["started"], "from where it was");
    assert!(done(&pair.servers[1]) > 0);
    pair.assert_tidy(1);

    // It comes back as a new instance.
    pair.servers[0].start();
    let both = instances(&pair.servers[0]);
    assert!(both.len() == 2 && both.contains(&alive[0]), "{both:?} after {alive:?}");
    pair.read_back(0).await;
    pair.load(|_| ()).await;
    pair.assert_no_error(0);
    pair.assert_no_error(1);
    pair.read_back(0).await;
    pair.assert_tidy(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_stopped_for_too_long_goes_on_as_a_new_instance() {
    let mut pair = Pair::new().await;
    pair.servers.iter_mut().for_each(Server::start);
    load::prepare(&Client::new(pair.servers[0].address())).await;
    for _ in 0..2 {
        let before = instances(&pair.servers[1]);
        assert_eq!(before.len(), 2);
        let moment = Duration::from_millis(300 + pair.dice.roll(700));
        pair.load(|servers| {
            std::thread::sleep(moment);
            servers[0].signal(Signal::STOP);
            until("the stopped one is judged", &servers[1], || instances(&servers[1]).len() == 1);
            // What it was writing is swept away before it goes on.
            std::thread::sleep(Duration::from_secs(1));
            servers[0].signal(Signal::CONT);
        })
        .await;
        pair.assert_no_error(1);
        until("it is another instance", &pair.servers[0], || instances(&pair.servers[1]).len() == 2);
        let after = instances(&pair.servers[1]);
        assert_eq!(before.iter().filter(|id| after.contains(id)).count(), 1, "{before:?}, then {after:?}");
        assert!(pair.servers[0].output().contains("starting again"), "{}", pair.servers[0].output());
        pair.read_back(0).await;
        pair.read_back(1).await;
        // Both are well.
        pair.load(|_| ()).await;
        pair.assert_no_error(0);
        pair.assert_no_error(1);
    }
    pair.read_back(0).await;
    pair.assert_tidy(1);
}
