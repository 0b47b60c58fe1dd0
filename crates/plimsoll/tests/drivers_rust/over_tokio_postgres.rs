//! What people do with tokio-postgres.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt, TryStreamExt, pin_mut, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, SimpleQueryMessage};

use crate::target::{CROWD, Mode, RUNNING_SQL, Target, run_cases, until};

/// Runs all cases the pool mode can do.
pub(crate) async fn run(target: &Target) {
    run_cases!(target,
        Statement: queries_and_errors,
        Statement: a_pipeline_of_joined_queries,
        Statement: prepared_statements_come_and_go,
        Statement: typed_queries_without_names,
        Statement: simple_queries_with_several_statements,
        Statement: rows_of_a_stream_left_early,
        Statement: copy_in_and_out,
        Statement: copy_that_fails,
        Statement: cancel,
        Statement: clients_that_vanish_in_mid_query,
        Transaction: transactions_and_savepoints,
        Transaction: portals_in_parts,
        Transaction: a_pipeline_inside_a_transaction,
        Session: notifications,
        Statement: a_crowd_over_a_small_pool,
    );
}

fn config(target: &Target) -> Config {
    let mut config = Config::new();
    config.host("127.0.0.1").port(target.port).dbname(&target.database);
    config.user(target.user).password(target.password).connect_timeout(Duration::from_secs(20));
    config
}

/// A client, and the task that drives its socket until the client is dropped.
async fn connect(target: &Target) -> (Client, JoinHandle<Result<(), Error>>) {
    connect_with(&config(target)).await
}

async fn connect_with(config: &Config) -> (Client, JoinHandle<Result<(), Error>>) {
    let (client, connection) = config.connect(NoTls).await.expect("let in");
    (client, tokio::spawn(connection))
}

/// Drops the client and waits for the end of its connection.
async fn leave(client: Client, task: JoinHandle<Result<(), Error>>) {
    drop(client);
    task.await.expect("the task has not panicked").expect("the connection ended well");
}

async fn fresh_table(client: &Client, name: &str, columns: &str) {
    let sql = format!("DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({columns})");
    client.batch_execute(&sql).await.expect("a new table");
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

/// The SQLSTATE of what must have failed.
#[track_caller]
fn state_of<T>(result: Result<T, Error>) -> SqlState {
    let error = result.err().expect("it must fail");
    error.code().unwrap_or_else(|| panic!("no SQLSTATE: {error:?}")).clone()
}

async fn queries_and_errors(target: &Target) {
    let (client, task) = connect(target).await;
    for turn in 0..20_i32 {
        let row = client.query_one("SELECT $1::int + 1, $2::text", &[&turn, &"text"]).await.unwrap();
        assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1)), (turn + 1, "text"));
        assert_eq!(state_of(client.query("SELECT 1 / $1::int", &[&0]).await), SqlState::DIVISION_BY_ZERO);
        assert_eq!(state_of(client.query("SELEC 1", &[]).await), SqlState::SYNTAX_ERROR);
        assert_eq!(state_of(client.query("SELECT * FROM none", &[]).await), SqlState::UNDEFINED_TABLE);
    }
    leave(client, task).await;
}

async fn a_pipeline_of_joined_queries(target: &Target) {
    // All are sent before the first answer is read: Parse, Bind and Close of many queries overlap.
    let (client, task) = connect(target).await;
    for _ in 0..3 {
        let asked = join_all((0..200_i32).map(|number| divide_100(&client, number))).await;
        let statement = client.prepare("SELECT 100 / $1::int").await.unwrap();
        let statement = &statement;
        let client = &client;
        let prepared =
            (0..200_i32).map(|number| async move { client.query_one(statement, &[&number]).await });
        let prepared = join_all(prepared).await;
        for ((number, asked), prepared) in (0..200).zip(asked).zip(prepared) {
            if number == 0 {
                assert_eq!(state_of(asked), SqlState::DIVISION_BY_ZERO);
                assert_eq!(state_of(prepared), SqlState::DIVISION_BY_ZERO);
            } else {
                assert_eq!(asked.unwrap(), 100 / number);
                assert_eq!(prepared.unwrap().get::<_, i32>(0), 100 / number);
            }
        }
    }
    leave(client, task).await;
}

async fn divide_100(client: &Client, number: i32) -> Result<i32, Error> {
    client.query_one("SELECT 100 / $1::int", &[&number]).await.map(|row| row.get(0))
}

async fn prepared_statements_come_and_go(target: &Target) {
    let (client, task) = connect(target).await;
    for turn in 0..5_i32 {
        let texts: Vec<String> = (0..20).map(|number| format!("SELECT $1::int + {number}")).collect();
        let statements = join_all(texts.iter().map(|text| client.prepare(text))).await;
        for (number, statement) in (0..20).zip(statements) {
            let row = client.query_one(&statement.unwrap(), &[&turn]).await.unwrap();
            assert_eq!(row.get::<_, i32>(0), turn + number);
        }
        let failed = client.prepare("SELECT * FROM there_is_none").await;
        assert_eq!(state_of(failed), SqlState::UNDEFINED_TABLE);
        let typed = client.prepare_typed("SELECT $1", &[Type::INT8]).await.unwrap();
        assert_eq!(client.query_one(&typed, &[&7_i64]).await.unwrap().get::<_, i64>(0), 7);
    }
    leave(client, task).await;
}

async fn typed_queries_without_names(target: &Target) {
    let (client, task) = connect(target).await;
    for turn in 0..20_i32 {
        let rows = client.query_typed("SELECT $1 * 2", &[(&turn, Type::INT4)]).await.unwrap();
        assert_eq!(rows[0].get::<_, i32>(0), turn * 2);
    }
    leave(client, task).await;
}

async fn simple_queries_with_several_statements(target: &Target) {
    let (client, task) = connect(target).await;
    let messages = client.simple_query("SELECT 1; SELECT 2, 3; SELECT 4 WHERE false").await.unwrap();
    let rows = messages.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_)));
    assert_eq!(rows.count(), 2);
    assert_eq!(
        state_of(client.simple_query("SELECT 1; SELECT 1 / 0; SELECT 2").await),
        SqlState::DIVISION_BY_ZERO
    );
    assert_eq!(number(&client, "SELECT 5::int8").await, 5);
    leave(client, task).await;
}

async fn rows_of_a_stream_left_early(target: &Target) {
    let (client, task) = connect(target).await;
    for _ in 0..3 {
        let rows = client.query_raw("SELECT generate_series(1, $1::int)", [100_000_i32]).await.unwrap();
        pin_mut!(rows);
        assert_eq!(rows.try_next().await.unwrap().unwrap().get::<_, i32>(0), 1);
    }
    assert_eq!(number(&client, "SELECT 6::int8").await, 6);
    leave(client, task).await;
}

async fn copy_in_and_out(target: &Target) {
    let (client, task) = connect(target).await;
    fresh_table(&client, "tokio_copy", "id int, name text").await;
    let sink = client.copy_in("COPY tokio_copy FROM STDIN").await.unwrap();
    pin_mut!(sink);
    let lines = (0..20_000).map(|number| Ok(bytes_of(&format!("{number}\tname {number}\n"))));
    sink.send_all(&mut stream::iter(lines)).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 20_000);
    let output = client.copy_out("COPY tokio_copy TO STDOUT").await.unwrap();
    let parts: Vec<_> = output.try_collect().await.unwrap();
    assert_eq!(parts.concat().split(|byte| *byte == b'\n').count(), 20_001);
    leave(client, task).await;
}

/// What the sink of the driver takes.
fn bytes_of(text: &str) -> std::io::Cursor<Vec<u8>> {
    std::io::Cursor::new(text.as_bytes().to_vec())
}

async fn copy_that_fails(target: &Target) {
    let (client, task) = connect(target).await;
    fresh_table(&client, "tokio_bad", "id int").await;
    for _ in 0..5 {
        copy_given_up(&client).await;
        copy_of_a_bad_row(&client).await;
        copy_out_left_early(&client).await;
        assert_eq!(number(&client, "SELECT count(*) FROM tokio_bad").await, 0);
    }
    leave(client, task).await;
}

/// Dropped before it is finished: the driver sends CopyFail.
async fn copy_given_up(client: &Client) {
    let sink = client.copy_in("COPY tokio_bad FROM STDIN").await.unwrap();
    pin_mut!(sink);
    sink.send(bytes_of("1\n")).await.unwrap();
}

async fn copy_of_a_bad_row(client: &Client) {
    let sink = client.copy_in("COPY tokio_bad FROM STDIN").await.unwrap();
    pin_mut!(sink);
    let lines = (0..50_000).map(|number| Ok(bytes_of(if number == 7 { "no number\n" } else { "1\n" })));
    // The error is seen by whichever of the two is there when it comes.
    let ended = match sink.send_all(&mut stream::iter(lines)).await {
        Ok(()) => sink.finish().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(ended.is_err(), "a COPY with a bad row went well");
}

/// The driver reads the rest and drops it.
async fn copy_out_left_early(client: &Client) {
    let output = client.copy_out("COPY (SELECT generate_series(1, 100000)) TO STDOUT").await.unwrap();
    pin_mut!(output);
    assert!(output.next().await.unwrap().is_ok());
}

async fn is_running(observer: &Client, mark: &str) -> bool {
    observer.query_one(RUNNING_SQL, &[&mark]).await.expect("a count").get::<_, i64>(0) > 0
}

async fn cancel(target: &Target) {
    let (observer, observer_task) = connect(target).await;
    for _ in 0..3 {
        let (client, task) = connect(target).await;
        let sleep = client.batch_execute("SELECT pg_sleep(50) /* tokio_sleep */");
        let cancel = async {
            until("the query runs", || is_running(&observer, "tokio_sleep")).await;
            // The driver closes as soon as the request is sent; PostgreSQL cancels all the same.
            client.cancel_token().cancel_query(NoTls).await.unwrap();
        };
        let (slept, ()) = tokio::join!(sleep, cancel);
        assert_eq!(state_of(slept), SqlState::QUERY_CANCELED);
        // PostgreSQL sends the signal twice, to the process and to its group, and who does not wait for the end of
        // the request may see its next query cancelled too. Nobody else may.
        match client.query_one("SELECT 7::int8", &[]).await {
            Ok(row) => assert_eq!(row.get::<_, i64>(0), 7),
            Err(error) => assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED)),
        }
        leave(client, task).await;
        assert_eq!(number(&observer, "SELECT 8::int8").await, 8);
    }
    leave(observer, observer_task).await;
}

async fn clients_that_vanish_in_mid_query(target: &Target) {
    let (observer, observer_task) = connect(target).await;
    for _ in 0..2 {
        let (client, task) = connect(target).await;
        let asking =
            tokio::spawn(async move { client.batch_execute("SELECT pg_sleep(2) /* tokio_gone */").await });
        until("the query runs", || is_running(&observer, "tokio_gone")).await;
        task.abort();
        assert!(asking.await.unwrap().is_err());
    }
    until("the left queries end", || async { !is_running(&observer, "tokio_gone").await }).await;
    leave(observer, observer_task).await;
}

async fn transactions_and_savepoints(target: &Target) {
    let (mut client, task) = connect(target).await;
    fresh_table(&client, "tokio_tx", "id int PRIMARY KEY").await;
    let mut transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO tokio_tx VALUES (1)", &[]).await.unwrap();
    let inner = transaction.savepoint("inside").await.unwrap();
    let again = inner.execute("INSERT INTO tokio_tx VALUES ($1)", &[&1]).await;
    assert_eq!(state_of(again), SqlState::UNIQUE_VIOLATION);
    assert_eq!(state_of(inner.query("SELECT 1", &[]).await), SqlState::IN_FAILED_SQL_TRANSACTION);
    inner.rollback().await.unwrap();
    transaction.execute("INSERT INTO tokio_tx VALUES (2)", &[]).await.unwrap();
    transaction.commit().await.unwrap();
    // Dropped without a commit: the driver sends ROLLBACK and waits for nothing.
    let dropped = client.build_transaction().read_only(false).start().await.unwrap();
    dropped.execute("INSERT INTO tokio_tx VALUES (4)", &[]).await.unwrap();
    drop(dropped);
    assert_eq!(number(&client, "SELECT sum(id) FROM tokio_tx").await, 3);
    leave(client, task).await;
}

async fn portals_in_parts(target: &Target) {
    let (mut client, task) = connect(target).await;
    let transaction = client.transaction().await.unwrap();
    let left = transaction.bind("SELECT generate_series(1, $1::int)", &[&100]).await.unwrap();
    let right = transaction.bind("SELECT generate_series(1, 100)", &[]).await.unwrap();
    for part in 0..10_i32 {
        for portal in [&left, &right] {
            let rows = transaction.query_portal(portal, 10).await.unwrap();
            let numbers: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
            assert_eq!(numbers, (part * 10 + 1..=part * 10 + 10).collect::<Vec<_>>());
        }
    }
    drop((left, right));
    transaction.commit().await.unwrap();
    leave(client, task).await;
}

async fn a_pipeline_inside_a_transaction(target: &Target) {
    let (mut client, task) = connect(target).await;
    for _ in 0..5 {
        let transaction = client.transaction().await.unwrap();
        let answers =
            join_all((0..50_i32).map(|_| transaction.query_one("SELECT pg_backend_pid()", &[]))).await;
        let mut servers: Vec<i32> = answers.into_iter().map(|row| row.unwrap().get(0)).collect();
        servers.dedup();
        assert_eq!(servers.len(), 1, "one transaction ran on several servers");
        transaction.rollback().await.unwrap();
    }
    leave(client, task).await;
}

async fn notifications(target: &Target) {
    let (listener, mut connection) = config(target).connect(NoTls).await.unwrap();
    let (sender, mut heard) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(message) = messages.next().await {
            if let AsyncMessage::Notification(notification) = message.expect("a message") {
                sender.send(notification.payload().to_owned()).expect("somebody hears it");
            }
        }
    });
    let (speaker, speaker_task) = connect(target).await;
    listener.batch_execute("LISTEN tokio_channel").await.unwrap();
    for number in 0..3 {
        speaker.execute("SELECT pg_notify('tokio_channel', $1)", &[&number.to_string()]).await.unwrap();
    }
    for number in 0..3 {
        assert_eq!(heard.recv().await.unwrap(), number.to_string());
    }
    drop(listener);
    task.await.unwrap();
    leave(speaker, speaker_task).await;
}

async fn a_crowd_over_a_small_pool(target: &Target) {
    let (client, task) = connect(target).await;
    fresh_table(&client, "tokio_crowd", "client int, turn int").await;
    join_all((0..CROWD).map(|number| one_of_the_crowd(target, number))).await;
    assert_eq!(number(&client, "SELECT count(*) FROM tokio_crowd").await, i64::from(CROWD) * 15);
    leave(client, task).await;
}

async fn one_of_the_crowd(target: &Target, number: i32) {
    let name = format!("crowd {number}");
    let (mut client, task) = connect_with(config(target).application_name(&name)).await;
    // The driver counts its statement names over the whole process, so here no two clients share one by chance.
    let mine = client.prepare(&format!("SELECT $1::int + {}", number % 5)).await.unwrap();
    let insert = client.prepare("INSERT INTO tokio_crowd VALUES ($1, $2)").await.unwrap();
    for turn in 0..15_i32 {
        assert_eq!(client.query_one(&mine, &[&turn]).await.unwrap().get::<_, i32>(0), turn + number % 5);
        let shown = client.query_one("SHOW application_name", &[]).await.unwrap();
        assert_eq!(shown.get::<_, &str>(0), name);
        assert_eq!(state_of(client.query("SELECT 1 / $1::int", &[&0]).await), SqlState::DIVISION_BY_ZERO);
        if target.mode >= Mode::Transaction {
            let transaction = client.transaction().await.unwrap();
            transaction.execute(&insert, &[&number, &turn]).await.unwrap();
            transaction.commit().await.unwrap();
        } else {
            client.execute(&insert, &[&number, &turn]).await.unwrap();
        }
    }
    drop((mine, insert));
    leave(client, task).await;
}
