use ninefold::layout::*;
use ninefold::metadata::*;

use crate::fixture::*;

/// What check says of the whole database.
async fn found(f: &Fixture) -> Vec<(&'static str, String)> {
    let data = f.meta.check_data(i64::MIN).await.unwrap().found;
    let chunks = f.meta.check_chunks(ChunkId { seq: 0, nonce: 0 }).await.unwrap().found;
    let versions = f.meta.check_versions(&(i64::MIN, Vec::new())).await.unwrap().found;
    let ranges = f.meta.check_ranges().await.unwrap();
    data.into_iter().chain(chunks).chain(versions).chain(ranges).map(|found| (found.what, found.subject)).collect()
}

/// Each way in which rows can disagree, made behind the back of the code, is found; and nothing is found before.
async fn every_kind_of_disagreement_is_found(f: &Fixture) {
    f.commit("a", &[1 << 20, 100]).await;
    f.commit("b", &[10]).await;
    let upload = f.upload("m").await;
    f.meta.commit_part(&f.part("m", &upload, 1, &[20])).await.unwrap();
    let ended = f.meta.register_instance().await.unwrap();
    f.meta.reserve_range(ended, 10, 77).await.unwrap();
    f.meta.close_instance(ended).await.unwrap();
    assert_eq!(found(f).await, []);

    let is_first = "chunk_id = (SELECT MIN(chunk_id) FROM extents)";
    let is_first = if matches!(f.raw, Raw::Postgres(_)) {
        "chunk_id = (SELECT chunk_id FROM extents ORDER BY chunk_id LIMIT 1)"
    } else {
        is_first
    };
    let changes = [
        ("references of data", "UPDATE data SET refs = refs + 1 WHERE len = 10", "refs = refs - 1 WHERE len = 10"),
        ("length of data", "UPDATE data SET len = len + 1 WHERE len = 20", "len = len - 1 WHERE len = 21"),
    ];
    for (what, make, unmake) in changes {
        f.raw.execute(make).await;
        let said = found(f).await;
        assert!(said.iter().any(|(said, _)| *said == what), "{what}: {said:?}");
        f.raw.execute(&format!("UPDATE data SET {unmake}")).await;
        assert_eq!(found(f).await, []);
    }
    let pairs = [
        (
            "size of an object",
            "UPDATE objects SET size = 11 WHERE size = 10",
            "UPDATE objects SET size = 10 WHERE size = 11",
        ),
        ("size of a part", "UPDATE parts SET size = 21", "UPDATE parts SET size = 20"),
        (
            "gap between extents",
            "UPDATE extents SET start = start + 1 WHERE len = 100",
            "UPDATE extents SET start = start - 1 WHERE len = 100",
        ),
        ("live bytes of a chunk", "UPDATE chunks SET live = live + 1", "UPDATE chunks SET live = live - 1"),
        (
            "reference to bytes that are not in the chunk",
            "UPDATE extents SET skip = 1 WHERE len = 10",
            "UPDATE extents SET skip = 0 WHERE len = 10",
        ),
        (
            "missing shard that does not wait for healing",
            "UPDATE chunks SET missing = 4 WHERE len = 10",
            "UPDATE chunks SET missing = 0",
        ),
        (
            "shard without a place that is not missing",
            "UPDATE chunks SET slots = '- 2.0 3.0 4.0 5.0 6.0 7.0 8.0 9.0' WHERE len = 10",
            "UPDATE chunks SET slots = '1.0 2.0 3.0 4.0 5.0 6.0 7.0 8.0 9.0'",
        ),
        (
            "two shards on one volume",
            "UPDATE chunks SET slots = '1.0 2.0 3.0 4.0 5.0 6.0 7.0 8.0 1.0' WHERE len = 10",
            "UPDATE chunks SET slots = '1.0 2.0 3.0 4.0 5.0 6.0 7.0 8.0 9.0'",
        ),
        (
            "range that was never given",
            "UPDATE deployment SET last_seq = last_seq - 1",
            "UPDATE deployment SET last_seq = last_seq + 1",
        ),
        (
            "overlapping ranges",
            "UPDATE id_ranges SET last = last + 1 WHERE state = 'open'",
            "UPDATE id_ranges SET last = last - 1 WHERE state = 'open'",
        ),
        (
            "open range of an ended instance",
            "UPDATE id_ranges SET state = 'open' WHERE state = 'closed'",
            "UPDATE id_ranges SET state = 'closed' WHERE first > 1",
        ),
        ("range that is not swept", "UPDATE id_ranges SET alarm = 'too many'", "UPDATE id_ranges SET alarm = NULL"),
        (
            "chunk whose id was never given",
            "UPDATE deployment SET last_seq = 1",
            "UPDATE deployment SET last_seq = (SELECT MAX(last) FROM id_ranges)",
        ),
    ];
    for (what, make, unmake) in pairs {
        assert!(f.raw.execute(make).await > 0, "{what}");
        let said = found(f).await;
        assert!(said.iter().any(|(said, _)| *said == what), "{what}: {said:?}");
        f.raw.execute(unmake).await;
        assert_eq!(found(f).await, [], "after {what}");
    }
    let pending = format!(
        "INSERT INTO pending_deletes (slot, chunk_id, shard, generation) \
         SELECT 3, chunk_id, 2, 0 FROM chunks WHERE {is_first}"
    );
    assert_eq!(f.raw.execute(&pending).await, 1);
    assert_eq!(found(f).await[0].0, "file that is referred to and to be removed");
    f.raw.execute("UPDATE pending_deletes SET generation = 1").await;
    assert_eq!(found(f).await, []);
}

/// Pages follow one another without leaving anything out.
async fn pages_cover_everything(f: &Fixture) {
    for i in 0..5 {
        f.commit(&format!("k{i}"), &[10]).await;
    }
    let page = f.meta.check_data(i64::MIN).await.unwrap();
    assert_eq!(page.rows, 5);
    let rest = f.meta.check_data(page.next.unwrap()).await.unwrap();
    assert_eq!((rest.rows, rest.next), (0, None));
    let all = f.meta.stored_chunks(ChunkId { seq: 0, nonce: 0 }, 10).await.unwrap();
    let [first, second] = [
        f.meta.stored_chunks(ChunkId { seq: 0, nonce: 0 }, 3).await.unwrap(),
        f.meta.stored_chunks(all[2].id, 3).await.unwrap(),
    ];
    assert_eq!([first, second].concat(), all);
    let mut ids: Vec<_> = all.iter().map(|chunk| chunk.id).collect();
    ids.push(f.chunk_id());
    let mut among = f.meta.stored_among(&ids).await.unwrap();
    among.sort_by_key(|chunk| chunk.id);
    assert_eq!(among, all);
    assert!(f.meta.stored_among(&[]).await.unwrap().is_empty());
    assert_eq!(f.meta.range_of(ids[0]).await.unwrap(), Some(RangeState::Open));
    assert_eq!(f.meta.range_of(ChunkId { nonce: 0, ..ids[0] }).await.unwrap(), None);
    f.meta.close_instance(f.instance).await.unwrap();
    assert_eq!(f.meta.range_of(ids[0]).await.unwrap(), Some(RangeState::Closed));
}

on_both!(every_kind_of_disagreement_is_found, pages_cover_everything);
