//! Opening: migrations once whoever comes first, and what is refused.

use std::collections::HashSet;

use futures_util::future::join_all;
use rally_cluster::store::Store;
use rally_cluster::store::cassandra::{CassandraStore, OpenError, Options};
use rally_schema::migrations::MIGRATIONS;

use crate::database::{drop_keyspace, options, session};

/// Makes a keyspace's name that no other test uses, and sees to it that it is not there.
async fn missing(name: &str) -> Options {
    let options = options(format!("rally_test_{name}"));
    drop_keyspace(&options.keyspace).await;
    options
}

async fn refused(options: Options) -> OpenError {
    match CassandraStore::open(options).await {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[tokio::test]
#[ignore = "needs Cassandra: cargo xtask services up"]
async fn four_that_open_a_missing_keyspace_at_once_agree_on_one_store() {
    let options = missing("together").await;
    let opened = join_all((0..4).map(|_| {
        let options = options.clone();
        tokio::spawn(async move { CassandraStore::open(options).await })
    }));
    let stores: Vec<_> = opened.await.into_iter().map(|store| store.unwrap().unwrap()).collect();
    let known: HashSet<_> = stores.iter().map(|store| (store.id(), store.secret())).collect();
    assert_eq!(known.len(), 1);
    for store in &stores {
        store.check().await.unwrap();
    }
    let ledger = format!("SELECT number, checksum FROM {}.migrations", options.keyspace);
    let rows = session().await.query_unpaged(ledger, ()).await.unwrap().into_rows_result().unwrap();
    let mut applied: Vec<(i32, Option<String>)> =
        rows.rows().unwrap().collect::<Result<_, _>>().unwrap();
    applied.sort();
    let all = MIGRATIONS.iter().map(|one| (one.number.cast_signed(), Some(one.checksum())));
    assert!(all.eq(applied), "each once, and the lock is given back");
    drop_keyspace(&options.keyspace).await;
}

#[tokio::test]
#[ignore = "needs Cassandra: cargo xtask services up"]
async fn a_keyspace_for_which_there_are_not_enough_nodes_is_not_made() {
    let options = missing("too_few").await;
    let many = Options { replication_factor: 9, ..options.clone() };
    let error = refused(many).await;
    assert!(matches!(&error, OpenError::TooFewNodes { asked: 9, .. }), "{error}");
    CassandraStore::open(options.clone()).await.expect("it was not made with another factor");
    drop_keyspace(&options.keyspace).await;
}

#[tokio::test]
#[ignore = "needs Cassandra: cargo xtask services up"]
async fn what_this_version_does_not_know_is_refused_and_nothing_is_changed() {
    let options = missing("refused").await;
    CassandraStore::open(options.clone()).await.unwrap();
    let (session, keyspace) = (session().await, &options.keyspace);

    let asked = options.replication_factor + 1;
    let error = refused(Options { replication_factor: asked, ..options.clone() }).await;
    assert!(matches!(&error, OpenError::Replication { .. }), "{error}");
    assert!(error.to_string().contains(&format!("not {asked}")), "{error}");

    let other = Options { local_datacenter: Some("atlantis".to_owned()), ..options.clone() };
    let error = refused(other).await;
    assert!(
        error.to_string().contains("datacenter atlantis is none of [\"datacenter1\"]"),
        "{error}"
    );

    let add = format!(
        "INSERT INTO {keyspace}.migrations (scope, number, name, checksum) \
         VALUES ('applied', 9, 'of_tomorrow', 'x')"
    );
    session.query_unpaged(add, ()).await.unwrap();
    let error = refused(options.clone()).await.to_string();
    assert!(error.starts_with("migration 9 of_tomorrow is of a later version"), "{error}");

    let delete =
        format!("DELETE FROM {keyspace}.migrations WHERE scope = 'applied' AND number = 9");
    session.query_unpaged(delete, ()).await.unwrap();
    let change = format!(
        "UPDATE {keyspace}.migrations SET checksum = 'x' WHERE scope = 'applied' AND number = 2"
    );
    session.query_unpaged(change, ()).await.unwrap();
    let error = refused(options.clone()).await.to_string();
    assert!(error.starts_with("migration 2 partitions_of_users was applied with another text (x"));
    drop_keyspace(keyspace).await;
}

#[tokio::test]
#[ignore = "needs Cassandra: cargo xtask services up"]
async fn a_lock_whose_holder_died_ends_by_itself_and_tables_that_are_half_there_are_finished() {
    let options = missing("half").await;
    CassandraStore::open(options.clone()).await.unwrap();
    let (session, keyspace) = (session().await, &options.keyspace);
    // As a node leaves it that dies after the first table of the fourth migration.
    for text in [
        format!("DROP TABLE {keyspace}.store"),
        format!("DELETE FROM {keyspace}.migrations WHERE scope = 'applied' AND number >= 4"),
        format!(
            "INSERT INTO {keyspace}.migrations (scope, number, holder) \
             VALUES ('lock', 0, uuid()) IF NOT EXISTS USING TTL 3"
        ),
    ] {
        session.query_unpaged(text, ()).await.unwrap();
    }
    CassandraStore::open(options.clone()).await.unwrap().check().await.unwrap();
    drop_keyspace(keyspace).await;
}

#[tokio::test]
#[ignore = "needs Cassandra: cargo xtask services up"]
async fn nobody_there_is_said_with_the_address() {
    let contact_points = vec!["127.0.0.1:1".to_owned()];
    let error = refused(Options { contact_points, ..options("rally".to_owned()) }).await;
    assert!(error.to_string().starts_with("cannot connect to 127.0.0.1:1"), "{error}");
}
