//! The delivery of access logs: when it happens, and what becomes of records where it cannot.

use std::sync::Arc;
use std::time::Duration;

use ninefold::bucket_logs::{BucketLogs, DELIVER, Record};
use ninefold::objects::{BucketDefaults, CreateBucket, LogKeys, Logging};

use crate::fixture::{BUCKET, Fixture, on_both};

const LONG: Duration = Duration::from_secs(3600);

impl Fixture {
    /// Has the bucket logged into `to`.
    async fn log_into(&self, to: &str, keys: Option<LogKeys>) {
        let logging = Logging { to: to.into(), prefix: "log/".into(), keys };
        self.store().set_bucket_logging(BUCKET.into(), Some(logging)).await.unwrap();
    }

    async fn logs(&self, interval: Duration) -> BucketLogs {
        BucketLogs::start(self.store().clone(), "us-east-1", interval).await
    }

    /// The log objects, each as its lines.
    async fn delivered(&self, bucket: &str) -> Vec<(String, Vec<String>)> {
        let mut all = Vec::new();
        for object in self.s3.list_objects_v2().bucket(bucket).prefix("log/").send().await.unwrap().contents() {
            let got = self.s3.get_object().bucket(bucket).key(object.key().unwrap()).send().await.unwrap();
            let text = String::from_utf8(got.body.collect().await.unwrap().to_vec()).unwrap();
            all.push((object.key().unwrap().to_owned(), text.lines().map(str::to_owned).collect()));
        }
        all
    }

    async fn until_delivered(&self, bucket: &str) -> Vec<(String, Vec<String>)> {
        for _ in 0..400 {
            let found = self.delivered(bucket).await;
            if !found.is_empty() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("nothing was delivered");
    }
}

fn push(logs: &BucketLogs, at: i64, key: impl Into<String>) {
    let bucket = logs.bucket(BUCKET).unwrap();
    logs.push(&bucket, &Record { at, key: Some(key.into()), ..Record::default() });
}

fn keys(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.split(' ').nth(8).unwrap()).collect()
}

on_both! {
    async fn what_cannot_be_delivered_waits(f: Fixture) {
        f.log_into(BUCKET, None).await;
        let logs = f.logs(Duration::from_millis(50)).await;
        f.take(1..=4).await;
        push(&logs, 1, "first");
        tokio::time::sleep(Duration::from_millis(400)).await;
        push(&logs, 2, "second");
        f.bring_back(1..=4).await;
        // They may come one by one.
        let mut found = f.until_delivered(BUCKET).await;
        for _ in 0..400 {
            if found.iter().map(|(_, lines)| lines.len()).sum::<usize>() > 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
            found = f.delivered(BUCKET).await;
        }
        // Names of log objects of one second are in no order.
        let mut written: Vec<_> = found.iter().flat_map(|(_, lines)| keys(lines)).collect();
        written.sort_unstable();
        assert_eq!(written, ["first", "second"]);
        logs.close().await;
        assert_eq!(f.delivered(BUCKET).await.len(), found.len(), "once is enough");
    }

    async fn much_is_delivered_at_once_and_all_at_the_end(f: Fixture) {
        f.log_into(BUCKET, None).await;
        let logs = f.logs(LONG).await;
        push(&logs, 1, "alone");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(f.delivered(BUCKET).await.is_empty());
        let long = "k".repeat(1000);
        let many = DELIVER / 1000;
        for at in 0..many as i64 {
            push(&logs, at, long.as_str());
        }
        let first = f.until_delivered(BUCKET).await;
        assert!(first[0].1.len() > many / 2, "{}", first[0].1.len());
        logs.close().await;
        let lines: usize = f.delivered(BUCKET).await.iter().map(|(_, lines)| lines.len()).sum();
        assert_eq!(lines, many + 1);
    }

    async fn each_day_of_requests_has_its_own_object(f: Fixture) {
        f.log_into(BUCKET, Some(LogKeys::PartitionedByEvent)).await;
        let logs = f.logs(LONG).await;
        let day = 24 * 3600 * 1000;
        for (at, key) in [(day - 1, "a"), (day, "b"), (0, "c")] {
            push(&logs, at, key);
        }
        logs.close().await;
        let found = f.delivered(BUCKET).await;
        let days: Vec<_> = found.iter().map(|(key, lines)| (key.split('/').nth(6).unwrap(), keys(lines))).collect();
        assert_eq!(days, [("01", vec!["a", "c"]), ("02", vec!["b"])]);
    }

    async fn nothing_goes_to_whom_it_does_not_belong(f: Fixture) {
        let theirs = CreateBucket::new("theirs", "us-east-1", "somebody", BucketDefaults::default());
        f.store().create_bucket(theirs).await.unwrap();
        f.log_into("theirs", None).await;
        let logs = f.logs(LONG).await;
        push(&logs, 1, "a");
        logs.close().await;
        // Only what is empty can be deleted.
        f.store().delete_bucket("theirs".into()).await.unwrap();
        f.log_into("nowhere", None).await;
        let logs = f.logs(LONG).await;
        push(&logs, 1, "a");
        logs.close().await;
    }

    async fn another_instance_learns_it_in_time(f: Fixture) {
        let (one, other) = (f.logs(LONG).await, f.logs(LONG).await);
        f.log_into(BUCKET, None).await;
        one.refresh().await;
        assert!(one.any() && !other.any());
        other.refresh().await;
        assert_eq!(other.bucket(BUCKET).map(|bucket| Arc::unwrap_or_clone(bucket).logging.to).as_deref(), Some(BUCKET));
        f.store().set_bucket_logging(BUCKET.into(), None).await.unwrap();
        one.refresh().await;
        assert!(!one.any() && other.any());
        one.close().await;
        other.close().await;
    }
}
