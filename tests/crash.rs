//! The crash test: the program dies, again and again, at random instants and at every named point of the commit protocol. After
//! each start all that was acknowledged is there, byte for byte, every version of it, nothing that was deleted is, `ninefold check` finds
//! nothing, and in the end no file is left that no row names.
//!
//! Kills at random instants and at the points take turns. Some find a volume that has lost shards meanwhile, which are healed
//! beside everything else. `NINEFOLD_CRASH_KILLS=N` kills N times at random instants, and at every point, on each database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

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
use std::time::{Duration, Instant};

use rustix::process::Signal;

use load::{CLIENTS, Dice, Keys, Until};
use requests::Client;
use server::Server;

/// Kills at random instants, unless another number was asked for: on SQLite ...
const KILLS: u32 = 55;
/// ... and on PostgreSQL, where only the points whose outcome is the database's business are taken.
const KILLS_ON_POSTGRES: u32 = 24;
/// How long clients write until a point is reached.
const REACHED_WITHIN: Duration = Duration::from_secs(30);
/// One random kill in so many comes after shards were lost.
const LOSSES: u64 = 8;
/// The volume that loses shards: one of nine, so that nothing is beyond healing.
const LOSSY: &str = "v5";
/// How long the settings below may take to have everything tidied up: after many kills there are as many ranges to sweep, twice.
const TIDY_WITHIN: Duration = Duration::from_secs(300);

struct Run {
    server: Server,
    keys: Keys,
    dice: Dice,
    kills: u32,
    /// Whether shards were lost that nobody may have noticed yet.
    hurt: bool,
    database: Option<postgres::Database>,
}

impl Run {
    fn new(database: Option<postgres::Database>) -> Self {
        let mut server = Server::new(&["--bucket", "demo"]);
        load::make_hasty(&mut server, "1s");
        if let Some(database) = &database {
            server.set_env("NINEFOLD_DATABASE_URL", Some(&database.url));
        }
        let seed = u64::from_le_bytes(ninefold::clock::random_bytes());
        println!("seed {seed}");
        let keys = (0..CLIENTS).map(|_| BTreeMap::new()).collect();
        Self { server, keys, dice: Dice(seed | 1), kills: 0, hurt: false, database }
    }

    /// Has all clients write until the server is gone, or for this time.
    async fn load(&mut self, time: Duration) {
        let client = Client::new(self.server.address());
        let until = Until::after(time);
        self.keys = load::load(&client, 0, std::mem::take(&mut self.keys), &mut self.dice, &until).await;
    }

    /// Starts the server, verifies what the last death has left, and kills it at some instant while clients write.
    async fn kill_at_random(&mut self) {
        if self.dice.roll(LOSSES) == 0 {
            self.lose_shards();
        }
        self.server.start();
        self.verify(false).await;
        let time = Duration::from_millis(20 + self.dice.roll(700));
        let server = std::mem::replace(&mut self.server, Server::new(&[]));
        let address = server.address();
        let killer = tokio::task::spawn_blocking(move || {
            let mut server = server;
            std::thread::sleep(time);
            server.kill();
            server
        });
        self.server.set_address(address);
        self.load(Duration::from_secs(60)).await;
        self.server = killer.await.unwrap();
        self.kills += 1;
    }

    /// Has the server die at a point; answers whether it got there. What that leaves the next start verifies.
    async fn die_at(&mut self, point: &str) -> bool {
        // What happens seldom happens once.
        let seldom =
            ["start.", "ids.", "pack.ended", "append.copied", "abort.", "compact.", "sweep.", "shard.", "snapshot."];
        let seldom = seldom.iter().any(|one| point.starts_with(one));
        let nth = if seldom { 1 } else { 1 + self.dice.roll(3) };
        if point.starts_with("shard.") {
            self.lose_shards();
        }
        self.server.set_env("NINEFOLD_CRASH_AT", Some(&format!("{point}:{nth}")));
        let mut died = self.server.start_or_die().is_some();
        self.server.set_env("NINEFOLD_CRASH_AT", None);
        // It may die under that, too.
        died = died || !self.verify(true).await;
        if !died {
            // Some steps are only made at the end.
            let at_the_end = point == "pack.ended";
            self.load(if at_the_end { Duration::from_millis(500) } else { REACHED_WITHIN }).await;
            died = self.server.ended().is_some() || (at_the_end && !self.server.end(Signal::TERM).success());
        }
        self.server.kill();
        self.kills += 1;
        died
    }

    /// Loses some shards of one volume while the server is down.
    fn lose_shards(&mut self) {
        if self.database.is_some() {
            // Chunks of a dead instance are open until it is judged, and open ones are not scrubbed.
            self.server.start();
            let deadline = Instant::now() + TIDY_WITHIN;
            while load::status(&self.server)["instances"].as_array().unwrap().len() > 1 {
                assert!(Instant::now() < deadline, "the dead are not judged:\n{}", self.server.output());
                std::thread::sleep(Duration::from_millis(100));
            }
            self.server.end(Signal::TERM);
        }
        let shards = self.server.home().join("data/volumes").join(LOSSY).join("shards");
        let all = std::fs::read_dir(shards).unwrap();
        let all = all.flat_map(|fan_out| std::fs::read_dir(fan_out.unwrap().path()).unwrap());
        for file in all.map(|file| file.unwrap().path()).collect::<Vec<_>>() {
            if self.dice.roll(3) == 0 {
                std::fs::remove_file(file).unwrap();
                self.hurt = true;
            }
        }
    }

    /// Reads everything back, and has the store checked. Answers whether the server lives: of one that is `mortal`, and to die
    /// at a point, only so much is verified as it lets.
    async fn verify(&mut self, mortal: bool) -> bool {
        if self.hurt && mortal {
            self.server.command(&["scrub"]).output().unwrap();
        } else if self.hurt {
            // What nobody has read is not known to be lost. A scrub that runs already may have been there before.
            for _ in 0..2 {
                let scrub = self.server.command(&["scrub", "--wait"]).output().unwrap();
                let said = [scrub.stdout, scrub.stderr].concat();
                assert!(scrub.status.success(), "scrub: {}", String::from_utf8_lossy(&said));
            }
            self.hurt = false;
        }
        let client = Client::new(self.server.address());
        if !load::read_back(&client, &mut self.keys).await {
            self.assert_dying(mortal);
            return false;
        }
        if !self.hurt {
            load::check(&self.server, &[]);
        }
        self.server.ended().is_none()
    }

    /// The server has not answered: it must be on its way out, and meant to be.
    fn assert_dying(&mut self, mortal: bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        assert!(mortal, "no answer:\n{}", self.server.output());
        while self.server.ended().is_none() {
            assert!(Instant::now() < deadline, "no answer:\n{}", self.server.output());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Once everything had time to be tidied up, no file is left that no row names, and every block is whole.
    async fn assert_no_leak(&mut self) {
        // Each new snapshot leaves an old one to be removed: with one that comes when it is asked for there is an end to it.
        self.server.set_env("NINEFOLD_SNAPSHOT_INTERVAL", Some("0s"));
        self.server.start();
        self.verify(false).await;
        load::until_tidy(&self.server, &self.server.home().join("data/volumes"), TIDY_WITHIN);
        self.server.kill();
        let summary = load::check(&self.server, &["--deep"]);
        assert!(summary["verified"].as_u64().unwrap() > 0, "{summary}");
    }
}

/// What was asked for: kills at random instants, if it was.
fn asked() -> Option<u32> {
    std::env::var("NINEFOLD_CRASH_KILLS").ok().map(|kills| kills.parse().expect("NINEFOLD_CRASH_KILLS is a number"))
}

/// Commands die in tests of their own: a restore in `tests/restore.rs`, a change of the master key in `tests/identities.rs`.
fn is_of_a_server(point: &str) -> bool {
    !point.starts_with("restore.") && !point.starts_with("seal.")
}

async fn run(database: Option<postgres::Database>, points: &[&'static str], kills: u32) {
    let started = Instant::now();
    let mut run = Run::new(database);
    // Something to be there first.
    run.server.start();
    load::prepare(&Client::new(run.server.address())).await;
    run.load(Duration::from_secs(1)).await;
    // Counted, so that what is counted must be right after every death, too.
    for of in [["--bucket", "demo"], ["--account", "root"]] {
        let set = [&["quota", "set", "--bytes", "1TiB", "--objects", "1000000000"][..], &of].concat();
        let set = run.server.command(&set).output().unwrap();
        assert!(set.status.success(), "quota set: {}", String::from_utf8_lossy(&set.stderr));
    }
    run.server.kill();
    let mut unreached = Vec::new();
    let mut points = points.iter();
    let mut left = kills;
    loop {
        let point = points.next();
        if let Some(point) = point {
            let started = Instant::now();
            if !run.die_at(point).await {
                unreached.push(*point);
            }
            println!("{point}: {:.1} s", started.elapsed().as_secs_f32());
        }
        if left > 0 {
            run.kill_at_random().await;
            left -= 1;
        } else if point.is_none() {
            break;
        }
    }
    println!("{} kills in {:.0} s", run.kills, started.elapsed().as_secs_f32());
    run.assert_no_leak().await;
    println!("all was tidied up after {:.0} s", started.elapsed().as_secs_f32());
    assert!(unreached.is_empty(), "no process got to {unreached:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    let points: Vec<_> = ninefold::crash::POINTS.iter().filter(|point| is_of_a_server(point)).copied().collect();
    run(None, &points, asked().unwrap_or(KILLS)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let database = postgres::Database::new().await;
    // PostgreSQL has logs of its own.
    let wanted =
        |point: &&&str| if asked().is_some() { !point.starts_with("log.") } else { point.starts_with("commit.") };
    let points = ninefold::crash::POINTS.iter().filter(|point| is_of_a_server(point));
    let points: Vec<_> = points.filter(wanted).copied().collect();
    run(Some(database), &points, asked().unwrap_or(KILLS_ON_POSTGRES)).await;
}
