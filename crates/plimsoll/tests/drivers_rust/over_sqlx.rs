//! What people do with sqlx.

use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Error, Executor, PgConnection, Row};

use crate::target::{CROWD, Mode, RUNNING_SQL, Target, run_cases, until};

/// Runs all cases the pool mode can do.
pub(crate) async fn run(target: &Target) {
    run_cases!(target,
        Statement: queries_and_errors,
        Statement: more_statements_than_the_cache_holds,
        Statement: without_named_statements,
        Statement: the_shape_of_a_table_changes,
        Statement: several_statements_in_one_query,
        Statement: rows_of_a_stream_left_early,
        Statement: copy_in_and_out,
        Statement: copy_that_fails,
        Statement: a_query_dropped_in_the_middle,
        Transaction: transactions_and_savepoints,
        Session: notifications,
        Statement: a_crowd_over_a_pool_of_the_driver,
        Statement: a_crowd_of_connections,
    );
}

fn options(target: &Target) -> PgConnectOptions {
    PgConnectOptions::new()
        .host("127.0.0.1")
        .port(target.port)
        .database(&target.database)
        .username(target.user)
        .password(target.password)
        .ssl_mode(sqlx::postgres::PgSslMode::Disable)
}

async fn connect(target: &Target) -> PgConnection {
    PgConnection::connect_with(&options(target)).await.expect("let in")
}

fn pool_options(target: &Target) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(target.driver_pool_size()).acquire_timeout(Duration::from_secs(30))
}

async fn fresh_table(connection: &mut PgConnection, name: &str, columns: &str) {
    let sql = format!("DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({columns})");
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.expect("a new table");
}

async fn number(connection: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.expect(sql)
}

/// The SQLSTATE of what must have failed.
#[track_caller]
fn state_of<T>(result: Result<T, Error>) -> String {
    let error = result.err().expect("it must fail");
    let database = error.as_database_error().unwrap_or_else(|| panic!("no answer of a server: {error:?}"));
    database.code().expect("a SQLSTATE").into_owned()
}

async fn queries_and_errors(target: &Target) {
    let mut connection = connect(target).await;
    for turn in 0..20_i32 {
        let row = sqlx::query("SELECT $1 + 1, $2")
            .bind(turn)
            .bind("text")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!((row.get::<i32, _>(0), row.get::<String, _>(1)), (turn + 1, String::from("text")));
        assert_eq!(
            state_of(sqlx::query("SELECT 1 / $1").bind(0_i32).execute(&mut connection).await),
            "22012"
        );
        assert_eq!(state_of(sqlx::query("SELEC 1").execute(&mut connection).await), "42601");
        assert_eq!(state_of(sqlx::query("SELECT * FROM none").execute(&mut connection).await), "42P01");
    }
    connection.ping().await.unwrap();
    connection.close().await.unwrap();
}

async fn more_statements_than_the_cache_holds(target: &Target) {
    // The driver closes the oldest statement when a new one needs its place.
    let small = options(target).statement_cache_capacity(4);
    let mut connection = PgConnection::connect_with(&small).await.unwrap();
    for turn in 0..4_i32 {
        for part in 0..12_i32 {
            let sql = format!("SELECT $1 + {part}");
            let found: i32 =
                sqlx::query_scalar(AssertSqlSafe(sql)).bind(turn).fetch_one(&mut connection).await.unwrap();
            assert_eq!(found, turn + part);
        }
    }
    connection.clear_cached_statements().await.unwrap();
    assert_eq!(number(&mut connection, "SELECT 3::int8").await, 3);
    connection.close().await.unwrap();
}

async fn without_named_statements(target: &Target) {
    let mut connection = connect(target).await;
    for turn in 0..20_i32 {
        let query = sqlx::query("SELECT $1 * 2").bind(turn).persistent(false);
        assert_eq!(query.fetch_one(&mut connection).await.unwrap().get::<i32, _>(0), turn * 2);
    }
    connection.close().await.unwrap();
}

async fn the_shape_of_a_table_changes(target: &Target) {
    // PostgreSQL refuses the old plan of `SELECT *`; the user of this driver clears its statements.
    let mut connection = connect(target).await;
    fresh_table(&mut connection, "sqlx_shape", "a int").await;
    connection.execute("INSERT INTO sqlx_shape VALUES (1)").await.unwrap();
    for turn in 0..3_usize {
        let row = sqlx::query("SELECT * FROM sqlx_shape").fetch_one(&mut connection).await.unwrap();
        assert_eq!(row.len(), turn + 1);
        let alter = format!("ALTER TABLE sqlx_shape ADD COLUMN more_{turn} int");
        connection.execute(AssertSqlSafe(alter)).await.unwrap();
        let stale = sqlx::query("SELECT * FROM sqlx_shape").fetch_one(&mut connection).await;
        assert_eq!(state_of(stale), "0A000");
        connection.clear_cached_statements().await.unwrap();
    }
    connection.close().await.unwrap();
}

async fn several_statements_in_one_query(target: &Target) {
    let mut connection = connect(target).await;
    let rows = connection.fetch_all(sqlx::raw_sql("SELECT 1; SELECT 2; SELECT 3 WHERE false")).await.unwrap();
    assert_eq!(rows.len(), 2);
    let failed = connection.execute(sqlx::raw_sql("SELECT 1; SELECT 1 / 0; SELECT 2")).await;
    assert_eq!(state_of(failed), "22012");
    assert_eq!(number(&mut connection, "SELECT 4::int8").await, 4);
    connection.close().await.unwrap();
}

async fn rows_of_a_stream_left_early(target: &Target) {
    let mut connection = connect(target).await;
    for _ in 0..3 {
        let mut rows = sqlx::query("SELECT generate_series(1, $1)").bind(50_000_i32).fetch(&mut connection);
        assert_eq!(rows.try_next().await.unwrap().unwrap().get::<i32, _>(0), 1);
    }
    assert_eq!(number(&mut connection, "SELECT 5::int8").await, 5);
    connection.close().await.unwrap();
}

async fn copy_in_and_out(target: &Target) {
    let mut connection = connect(target).await;
    fresh_table(&mut connection, "sqlx_copy", "id int, name text").await;
    let mut copy = connection.copy_in_raw("COPY sqlx_copy FROM STDIN").await.unwrap();
    for part in 0..20 {
        let lines: String = (0..1000).map(|line| format!("{}\tname\n", part * 1000 + line)).collect();
        copy.send(lines.as_bytes()).await.unwrap();
    }
    assert_eq!(copy.finish().await.unwrap(), 20_000);
    let output = connection.copy_out_raw("COPY sqlx_copy TO STDOUT").await.unwrap();
    let parts: Vec<_> = output.try_collect().await.unwrap();
    assert_eq!(parts.concat().split(|byte| *byte == b'\n').count(), 20_001);
    connection.close().await.unwrap();
}

async fn copy_that_fails(target: &Target) {
    let mut connection = connect(target).await;
    fresh_table(&mut connection, "sqlx_bad", "id int").await;
    for _ in 0..5 {
        let mut given_up = connection.copy_in_raw("COPY sqlx_bad FROM STDIN").await.unwrap();
        given_up.send(b"1\n".as_slice()).await.unwrap();
        given_up.abort("no more rows").await.unwrap();
        let mut bad = connection.copy_in_raw("COPY sqlx_bad FROM STDIN").await.unwrap();
        bad.send(b"no number\n".as_slice()).await.unwrap();
        assert_eq!(state_of(bad.finish().await), "22P02");
        assert_eq!(number(&mut connection, "SELECT count(*) FROM sqlx_bad").await, 0);
    }
    connection.close().await.unwrap();
}

async fn is_running(pool: &PgPool, mark: &'static str) -> bool {
    let count: i64 = sqlx::query_scalar(RUNNING_SQL).bind(mark).fetch_one(pool).await.expect("a count");
    count > 0
}

async fn a_query_dropped_in_the_middle(target: &Target) {
    // The driver does not cancel: it closes the connection while the query runs.
    let pool = pool_options(target).max_connections(1).connect_with(options(target)).await.unwrap();
    for _ in 0..2 {
        let options = options(target);
        let asking = tokio::spawn(async move {
            let mut connection = PgConnection::connect_with(&options).await.expect("let in");
            connection.execute("SELECT pg_sleep(2) /* sqlx_dropped */").await.expect("it sleeps");
        });
        until("the query runs", || is_running(&pool, "sqlx_dropped")).await;
        asking.abort();
        assert!(asking.await.is_err());
    }
    until("the left queries end", || async { !is_running(&pool, "sqlx_dropped").await }).await;
    pool.close().await;
}

async fn transactions_and_savepoints(target: &Target) {
    let mut connection = connect(target).await;
    fresh_table(&mut connection, "sqlx_tx", "id int PRIMARY KEY").await;
    let mut transaction = connection.begin().await.unwrap();
    transaction.execute("INSERT INTO sqlx_tx VALUES (1)").await.unwrap();
    let mut inner = transaction.begin().await.unwrap();
    assert_eq!(state_of(inner.execute("INSERT INTO sqlx_tx VALUES (1)").await), "23505");
    assert_eq!(state_of(inner.execute("SELECT 1").await), "25P02");
    inner.rollback().await.unwrap();
    transaction.execute("INSERT INTO sqlx_tx VALUES (2)").await.unwrap();
    transaction.commit().await.unwrap();
    for _ in 0..3 {
        // Dropped without a commit: ROLLBACK goes with the next use.
        let mut dropped = connection.begin().await.unwrap();
        dropped.execute("INSERT INTO sqlx_tx VALUES (4)").await.unwrap();
        drop(dropped);
    }
    assert_eq!(number(&mut connection, "SELECT sum(id) FROM sqlx_tx").await, 3);
    connection.close().await.unwrap();
}

async fn notifications(target: &Target) {
    let pool = pool_options(target).max_connections(1).connect_with(options(target)).await.unwrap();
    let mut listener = PgListener::connect_with(&pool).await.unwrap();
    listener.ignore_pool_close_event(true);
    listener.listen("sqlx_channel").await.unwrap();
    let mut speaker = connect(target).await;
    for number in 0..3 {
        sqlx::query("SELECT pg_notify('sqlx_channel', $1)")
            .bind(number.to_string())
            .execute(&mut speaker)
            .await
            .unwrap();
    }
    for number in 0..3 {
        assert_eq!(listener.recv().await.unwrap().payload(), number.to_string());
    }
    drop(listener);
    speaker.close().await.unwrap();
    pool.close().await;
}

async fn a_crowd_over_a_pool_of_the_driver(target: &Target) {
    let pool = pool_options(target).connect_with(options(target)).await.unwrap();
    fresh_table(&mut pool.acquire().await.unwrap(), "sqlx_pool", "n int").await;
    sqlx::query("INSERT INTO sqlx_pool VALUES (0)").execute(&pool).await.unwrap();
    join_all((0..CROWD).map(|number| one_of_the_pool(&pool, target, number))).await;
    let sum: i32 = sqlx::query_scalar("SELECT n FROM sqlx_pool").fetch_one(&pool).await.unwrap();
    assert_eq!(sum, CROWD * 15);
    pool.close().await;
}

async fn one_of_the_pool(pool: &PgPool, target: &Target, number: i32) {
    for turn in 0..15_i32 {
        let sum: i32 =
            sqlx::query_scalar("SELECT $1 + $2").bind(number).bind(turn).fetch_one(pool).await.unwrap();
        assert_eq!(sum, number + turn);
        assert_eq!(state_of(sqlx::query("SELECT 1 / $1").bind(0_i32).execute(pool).await), "22012");
        if target.mode >= Mode::Transaction {
            let mut transaction = pool.begin().await.unwrap();
            transaction.execute("UPDATE sqlx_pool SET n = n + 1").await.unwrap();
            transaction.commit().await.unwrap();
        } else {
            sqlx::query("UPDATE sqlx_pool SET n = n + 1").execute(pool).await.unwrap();
        }
    }
}

async fn a_crowd_of_connections(target: &Target) {
    join_all((0..CROWD).map(|number| one_of_the_crowd(target, number))).await;
}

async fn one_of_the_crowd(target: &Target, number: i32) {
    // Each connection counts its statement names from one: all of them use the same names for other texts.
    let name = format!("crowd {number}");
    let mut connection = PgConnection::connect_with(&options(target).application_name(&name)).await.unwrap();
    for turn in 0..15_i32 {
        let sql = format!("SELECT $1 + {number}");
        let sum: i32 =
            sqlx::query_scalar(AssertSqlSafe(sql)).bind(turn).fetch_one(&mut connection).await.unwrap();
        assert_eq!(sum, turn + number);
        let shown: String =
            sqlx::query_scalar("SHOW application_name").fetch_one(&mut connection).await.unwrap();
        assert_eq!(shown, name);
    }
    connection.close().await.unwrap();
}
