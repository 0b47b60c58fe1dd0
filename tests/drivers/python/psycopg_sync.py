"""psycopg 3, blocking: python psycopg_sync.py HOST PORT DBNAME USER PASSWORD MODE"""

import datetime
import decimal
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg import errors
from psycopg.types.json import Jsonb

from kit import CROWD, RUNNING_SQL, Cases, Target, equal, until

cases = Cases(f"psycopg {psycopg.__version__}")


def connect(target: Target, **more) -> psycopg.Connection:
    """A connection without transactions of its own, unless told."""
    more.setdefault("autocommit", True)
    return psycopg.connect(
        host=target.host,
        port=target.port,
        dbname=target.dbname,
        user=target.user,
        password=target.password,
        connect_timeout=20,
        **more,
    )


def fresh_table(connection, name: str, columns: str):
    """An empty table."""
    connection.execute(f"DROP TABLE IF EXISTS {name}")
    connection.execute(f"CREATE TABLE {name} ({columns})")


def value(connection, sql, *parameters):
    """The only value of a query."""
    (result,) = connection.execute(sql, parameters or None).fetchone()
    return result


def fails_with(error, function, *arguments):
    """The error which a call must raise."""
    try:
        function(*arguments)
    except error as found:
        return found
    raise AssertionError(f"no {error.__name__} was raised")


@cases.case()
def values_of_many_types(target):
    sent = [
        42,
        -(2**62),
        1.5,
        decimal.Decimal("12345678901234567890.123456789"),
        "text with ' and \\ and \N{SNOWMAN}",
        b"\x00\xff\x80",
        True,
        None,
        [1, None, 3],
        datetime.datetime(2024, 2, 29, 12, 30, 15, 250, tzinfo=datetime.timezone.utc),
        datetime.date(1999, 12, 31),
    ]
    sql = "SELECT %s::int, %s::int8, %s::float8, %s::numeric, %s::text, %s::bytea, %s::bool, %s::text, %s::int[],"
    sql += " %s::timestamptz, %s::date"
    for binary in (False, True):
        with connect(target) as connection, connection.cursor(binary=binary) as cursor:
            equal(list(cursor.execute(sql, sent).fetchone()), sent, f"binary={binary}")
            document = {"a": [1, 2, {"b": None}]}
            equal(cursor.execute("SELECT %s::jsonb", [Jsonb(document)]).fetchone()[0], document)


@cases.case()
def several_statements_in_one_query(target):
    with connect(target) as connection:
        cursor = connection.execute("SELECT 1; SELECT 2, 3; SELECT 4 WHERE false")
        equal(cursor.fetchall(), [(1,)])
        assert cursor.nextset()
        equal(cursor.fetchall(), [(2, 3)])
        assert cursor.nextset()
        equal(cursor.fetchall(), [])
        assert not cursor.nextset()


@cases.case()
def an_error_leaves_the_connection_usable(target):
    with connect(target) as connection:
        for number in range(20):
            error = fails_with(errors.DivisionByZero, connection.execute, "SELECT 1 / %s", [0])
            equal(error.sqlstate, "22012")
            fails_with(errors.SyntaxError, connection.execute, "SELEC 1")
            fails_with(errors.UndefinedTable, connection.execute, "SELECT * FROM there_is_no_such_table")
            equal(value(connection, "SELECT %s::int", number), number)


@cases.case()
def notices_arrive(target):
    with connect(target) as connection:
        seen = []
        connection.add_notice_handler(lambda notice: seen.append(notice.message_primary))
        connection.execute("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$")
        equal(seen, ["one", "two"])


@cases.case()
def large_values_both_ways(target):
    with connect(target) as connection:
        text = "0123456789abcdef" * (5 << 16)
        equal(value(connection, "SELECT length(%s::text)", text), len(text))
        equal(value(connection, "SELECT %s::text", text), text)
        equal(value(connection, "SELECT repeat('x', 20000000)"), "x" * 20_000_000)


@cases.case()
def many_rows_in_single_row_mode(target):
    with connect(target) as connection, connection.cursor() as cursor:
        total = sum(number for (number,) in cursor.stream("SELECT generate_series(1, 20000)"))
        equal(total, 20000 * 20001 // 2)
        for number, in cursor.stream("SELECT generate_series(1, 100000)"):
            if number == 10:
                break
        equal(cursor.execute("SELECT 'after'").fetchone(), ("after",))


@cases.case()
def streams_that_are_read_late(target):
    """More streams than there are servers, each of them read as far as its first row: others are served all the same."""
    count = 1 if target.mode == "session" else 5
    connections = [connect(target) for _ in range(count)]
    sql = "SELECT i, repeat(md5(i::text), 32768) FROM generate_series(1, 16) i"
    streams = [connection.cursor().stream(sql) for connection in connections]
    rows = [[next(stream)] for stream in streams]
    with connect(target) as other:
        equal(value(other, "SELECT 42"), 42)
    for found, stream in zip(rows, streams):
        found.extend(stream)
        digests = [hashlib.md5(str(i).encode()).hexdigest() * 32768 for i in range(1, 17)]
        equal([number for number, _ in found], list(range(1, 17)))
        equal([text for _, text in found] == digests, True)
    for connection in connections:
        connection.close()


@cases.case()
def executemany_stores_all(target):
    with connect(target) as connection, connection.cursor() as cursor:
        fresh_table(connection, "psycopg_many", "id int PRIMARY KEY, name text")
        rows = [(number, f"name {number}") for number in range(500)]
        cursor.executemany("INSERT INTO psycopg_many VALUES (%s, %s)", rows)
        equal(cursor.rowcount, 500)
        equal(value(connection, "SELECT count(*) FROM psycopg_many"), 500)
        cursor.executemany("SELECT %s::int * 2", [(1,), (2,), (3,)], returning=True)
        doubled = [found.fetchone()[0] for found in cursor.results()]
        equal(doubled, [2, 4, 6])


@cases.case()
def executemany_fails_in_the_middle(target):
    with connect(target) as connection, connection.cursor() as cursor:
        fresh_table(connection, "psycopg_middle", "id int PRIMARY KEY")
        for broken in (0, 1, 7, 150, 299):
            rows = [(number if number != broken else -1,) for number in range(300)]
            connection.execute("TRUNCATE psycopg_middle")
            connection.execute("INSERT INTO psycopg_middle VALUES (-1)")
            insert = "INSERT INTO psycopg_middle VALUES (%s)"
            fails_with(errors.UniqueViolation, cursor.executemany, insert, rows)
            # The rows went in one pipeline with one Sync, so they are one transaction.
            equal(value(connection, "SELECT count(*) FROM psycopg_middle"), 1, f"row {broken} is broken")


@cases.case()
def prepared_after_the_threshold(target):
    with connect(target, prepare_threshold=2) as connection:
        for number in range(30):
            equal(value(connection, "SELECT %s::int + 1", number), number + 1)
            equal(value(connection, "SELECT %s::text || '!'", str(number)), f"{number}!")
        equal(connection.execute("SELECT 1", prepare=True).fetchall(), [(1,)])


@cases.case()
def prepared_at_once_and_evicted(target):
    # Beyond prepared_max the driver closes the oldest with a protocol-level Close (libpq 17 and later).
    assert psycopg.capabilities.has_send_close_prepared(), "this psycopg has a libpq before 17"
    with connect(target, prepare_threshold=0) as connection:
        connection.prepared_max = 5
        for round_ in range(3):
            for number in range(12):
                equal(value(connection, f"SELECT %s::int + {number}", round_), round_ + number)


@cases.case()
def a_failed_prepare_can_be_repeated(target):
    with connect(target, prepare_threshold=0) as connection:
        connection.execute("DROP TABLE IF EXISTS psycopg_later")
        for _ in range(3):
            fails_with(errors.UndefinedTable, connection.execute, "SELECT * FROM psycopg_later WHERE id = %s", [1])
        connection.execute("CREATE TABLE psycopg_later (id int)")
        equal(connection.execute("SELECT * FROM psycopg_later WHERE id = %s", [1]).fetchall(), [])


@cases.case()
def pipeline_with_several_syncs(target):
    with connect(target) as connection, connection.pipeline() as pipeline:
        cursors = []
        for number in range(60):
            cursors.append(connection.execute("SELECT %s::int * %s::int", [number, number]))
            if number % 7 == 0:
                pipeline.sync()
        for number, cursor in enumerate(cursors):
            equal(cursor.fetchone(), (number * number,))


@cases.case()
def pipeline_left_by_an_error(target):
    with connect(target) as connection:
        fresh_table(connection, "psycopg_pipe", "id int")

        def fail_in_the_middle():
            with connection.pipeline() as pipeline:
                connection.execute("INSERT INTO psycopg_pipe VALUES (1)")
                pipeline.sync()
                connection.execute("INSERT INTO psycopg_pipe VALUES (2)")
                connection.execute("SELECT 1 / %s", [0])
                connection.execute("INSERT INTO psycopg_pipe VALUES (3)")

        for turn in range(20):
            fails_with(errors.DivisionByZero, fail_in_the_middle)
            rows = connection.execute("SELECT id, count(*) FROM psycopg_pipe GROUP BY id").fetchall()
            equal(rows, [(1, turn + 1)])


@cases.case()
def pipeline_that_goes_on_after_an_error(target):
    # libpq's own interface: all of it is sent before anything is read.
    with connect(target) as connection:
        libpq = connection.pgconn
        libpq.enter_pipeline_mode()
        for _ in range(20):
            for sql in (b"SELECT 1", b"SELECT 1 / 0", b"SELECT 'skipped'"):
                libpq.send_query_params(sql, None)
            libpq.pipeline_sync()
            libpq.send_query_params(b"SELECT 'next'", None)
            libpq.pipeline_sync()
        libpq.flush()
        status = psycopg.pq.ExecStatus
        wanted = [status.TUPLES_OK, status.FATAL_ERROR, status.PIPELINE_ABORTED, status.PIPELINE_SYNC]
        wanted += [status.TUPLES_OK, status.PIPELINE_SYNC]
        for turn in range(20):
            equal([next_result(libpq) for _ in wanted], wanted, f"turn {turn}")
        libpq.exit_pipeline_mode()
        equal(value(connection, "SELECT 'still here'"), "still here")


def next_result(libpq) -> psycopg.pq.ExecStatus:
    """The status of the next result; libpq ends each query's results with a NULL, and a Sync's with nothing."""
    result = libpq.get_result() or libpq.get_result()
    return psycopg.pq.ExecStatus(result.status)


@cases.case()
def pipeline_with_prepared_statements(target):
    with connect(target, prepare_threshold=0) as connection:
        for _ in range(10):
            with connection.pipeline():
                cursors = [connection.execute(f"SELECT %s::int - {n}", [n * 3]) for n in range(10)]
            equal([cursor.fetchone()[0] for cursor in cursors], [n * 2 for n in range(10)])


@cases.case()
def pipeline_larger_than_the_socket_buffers(target):
    text = "x" * 100_000
    with connect(target) as connection, connection.pipeline():
        cursors = [connection.execute("SELECT %s::text", [text]) for _ in range(100)]
        for cursor in cursors:
            equal(len(cursor.fetchone()[0]), 100_000)


@cases.case()
def copy_in_and_out(target):
    rows = [(number, f"line {number}\twith\ttabs\\", None if number % 3 else number / 4) for number in range(5000)]
    with connect(target) as connection, connection.cursor() as cursor:
        for form in ("", " (FORMAT binary)"):
            fresh_table(connection, "psycopg_copy", "id int8, name text, share float8")
            with cursor.copy(f"COPY psycopg_copy FROM STDIN{form}") as copy:
                copy.set_types(["int8", "text", "float8"])
                for row in rows:
                    copy.write_row(row)
            equal(cursor.rowcount, 5000)
            with cursor.copy(f"COPY (SELECT * FROM psycopg_copy ORDER BY id) TO STDOUT{form}") as copy:
                copy.set_types(["int8", "text", "float8"])
                equal(list(copy.rows()), rows)


@cases.case()
def copy_of_many_megabytes(target):
    with connect(target) as connection, connection.cursor() as cursor:
        fresh_table(connection, "psycopg_big", "line text")
        block = ("y" * 999 + "\n").encode() * 1000
        with cursor.copy("COPY psycopg_big FROM STDIN") as copy:
            for _ in range(20):
                copy.write(block)
        equal(cursor.rowcount, 20_000)
        with cursor.copy("COPY psycopg_big TO STDOUT") as copy:
            equal(sum(len(part) for part in copy), 20_000_000)


@cases.case()
def copy_in_that_fails(target):
    with connect(target) as connection, connection.cursor() as cursor:
        fresh_table(connection, "psycopg_bad", "id int")

        def by_the_client():
            with cursor.copy("COPY psycopg_bad FROM STDIN") as copy:
                copy.write("1\n")
                raise LookupError("the source of the rows is gone")

        def by_the_server():
            with cursor.copy("COPY psycopg_bad FROM STDIN") as copy:
                copy.write("1\nnot a number\n")
                for number in range(20_000):
                    copy.write(f"{number}\n")

        for _ in range(5):
            fails_with(LookupError, by_the_client)
            equal(value(connection, "SELECT count(*) FROM psycopg_bad"), 0)
            fails_with(errors.InvalidTextRepresentation, by_the_server)
            equal(value(connection, "SELECT count(*) FROM psycopg_bad"), 0)


@cases.case()
def copy_out_left_early(target):
    # The driver cancels the COPY and reads what is left of it.
    with connect(target) as connection, connection.cursor() as cursor:

        def leave_early():
            with cursor.copy("COPY (SELECT generate_series(1, 10000000)) TO STDOUT") as copy:
                equal(copy.read_row(), ("1",))
                raise LookupError("one row is enough")

        for _ in range(3):
            fails_with(LookupError, leave_early)
            equal(value(connection, "SELECT 'after'"), "after")


@cases.case()
def cancel_from_another_thread(target):
    with connect(target) as connection, connect(target) as observer:
        for call in (connection.cancel, connection.cancel_safe):

            def cancel_when_running():
                until(lambda: value(observer, RUNNING_SQL.format(mark="%s"), "psycopg_sleep"), "the query runs")
                call()

            thread = threading.Thread(target=cancel_when_running)
            thread.start()
            fails_with(errors.QueryCanceled, connection.execute, "SELECT pg_sleep(50) /* psycopg_sleep */")
            thread.join()
            equal(value(connection, "SELECT 'after'"), "after")


@cases.case()
def cancel_of_an_idle_connection_does_nothing(target):
    with connect(target) as connection:
        equal(value(connection, "SELECT 'before'"), "before")
        for _ in range(5):
            connection.cancel_safe()
            equal(value(connection, "SELECT 'after'"), "after")


@cases.case("transaction")
def transactions_commit_and_roll_back(target):
    with connect(target, autocommit=False) as one, connect(target) as two:
        fresh_table(two, "psycopg_tx", "id int")
        one.execute("INSERT INTO psycopg_tx VALUES (1)")
        equal(value(two, "SELECT count(*) FROM psycopg_tx"), 0, "before the commit")
        one.commit()
        equal(value(two, "SELECT count(*) FROM psycopg_tx"), 1, "after the commit")
        one.execute("INSERT INTO psycopg_tx VALUES (2)")
        one.rollback()
        equal(value(two, "SELECT count(*) FROM psycopg_tx"), 1, "after the rollback")


@cases.case("transaction")
def savepoints(target):
    with connect(target) as connection:
        fresh_table(connection, "psycopg_save", "id int PRIMARY KEY")
        with connection.transaction():
            connection.execute("INSERT INTO psycopg_save VALUES (1)")
            for number in range(10):

                def insert_twice(number=number):
                    with connection.transaction():
                        connection.execute("INSERT INTO psycopg_save VALUES (%s)", [number + 2])
                        connection.execute("INSERT INTO psycopg_save VALUES (1)")

                fails_with(errors.UniqueViolation, insert_twice)
            with connection.transaction():
                connection.execute("INSERT INTO psycopg_save VALUES (100)")
        equal(connection.execute("SELECT id FROM psycopg_save ORDER BY id").fetchall(), [(1,), (100,)])


@cases.case("transaction")
def a_failed_transaction_answers_only_rollback(target):
    with connect(target, autocommit=False) as connection:
        fails_with(errors.DivisionByZero, connection.execute, "SELECT 1 / 0")
        fails_with(errors.InFailedSqlTransaction, connection.execute, "SELECT 1")
        connection.rollback()
        equal(value(connection, "SELECT 1"), 1)
        connection.commit()


@cases.case("transaction")
def a_transaction_keeps_its_server(target):
    with connect(target) as connection, connect(target) as other:
        with connection.transaction():
            connection.execute("SET LOCAL work_mem = '123kB'")
            pid = value(connection, "SELECT pg_backend_pid()")
            for _ in range(10):
                assert value(other, "SELECT pg_backend_pid()") != pid, "a held server was given to somebody else"
                equal(value(connection, "SELECT pg_backend_pid()"), pid)
            equal(value(connection, "SHOW work_mem"), "123kB")


@cases.case("transaction")
def server_side_cursor(target):
    with connect(target, autocommit=False) as connection:
        with connection.cursor(name="walk") as cursor:
            cursor.itersize = 100
            cursor.execute("SELECT generate_series(1, %s)", [1234])
            equal(sum(number for (number,) in cursor), 1234 * 1235 // 2)
        with connection.cursor(name="jump", scrollable=True) as cursor:
            cursor.execute("SELECT generate_series(0, 99)")
            cursor.scroll(50, mode="absolute")
            equal(cursor.fetchone(), (50,))
            cursor.scroll(-21)
            equal(cursor.fetchmany(2), [(30,), (31,)])


@cases.case("transaction")
def copy_inside_a_transaction_and_a_pipeline(target):
    with connect(target) as connection:
        fresh_table(connection, "psycopg_copytx", "id int")
        with connection.transaction(force_rollback=True):
            with connection.cursor().copy("COPY psycopg_copytx FROM STDIN") as copy:
                copy.write("1\n2\n3\n")
            equal(value(connection, "SELECT count(*) FROM psycopg_copytx"), 3)
        with connection.pipeline(), connection.transaction():
            cursor = connection.execute("INSERT INTO psycopg_copytx VALUES (7) RETURNING id")
            equal(cursor.fetchone(), (7,))
        equal(value(connection, "SELECT sum(id) FROM psycopg_copytx"), 7)


@cases.case("transaction")
def a_client_that_leaves_in_a_transaction(target):
    with connect(target) as observer:
        fresh_table(observer, "psycopg_leave", "id int")
        for number in range(6):
            connection = connect(target, autocommit=False)
            connection.execute("INSERT INTO psycopg_leave VALUES (%s)", [number])
            connection.execute("LOCK psycopg_leave IN ACCESS EXCLUSIVE MODE")
            connection.close()
        # Hangs if one of them still has its lock.
        equal(value(observer, "SELECT count(*) FROM psycopg_leave"), 0)


@cases.case("session")
def session_state_stays(target):
    with connect(target, autocommit=False) as connection:
        connection.execute("SET work_mem = '321kB'")
        connection.execute("CREATE TEMP TABLE psycopg_temp (id int) ON COMMIT PRESERVE ROWS")
        connection.execute("INSERT INTO psycopg_temp VALUES (5)")
        connection.execute("SELECT pg_advisory_lock(4711)")
        connection.execute("PREPARE by_hand AS SELECT $1::int + 1")
        with connection.cursor(name="held", withhold=True) as cursor:
            cursor.execute("SELECT generate_series(1, 5)")
            connection.commit()
            equal(cursor.fetchall(), [(number,) for number in range(1, 6)])
        equal(value(connection, "SHOW work_mem"), "321kB")
        equal(value(connection, "SELECT id FROM psycopg_temp"), 5)
        equal(value(connection, "EXECUTE by_hand(1)"), 2)
        connection.commit()
        with connect(target) as other:
            equal(value(other, "SELECT pg_try_advisory_lock(4711)"), False)
            assert value(other, "SHOW work_mem") != "321kB"


@cases.case("session")
def session_state_is_gone_for_the_next(target):
    for _ in range(8):
        with connect(target) as connection:
            assert value(connection, "SHOW work_mem") != "321kB", "a setting of another client"
            mine = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            equal(value(connection, mine), 0, "a lock of another client")
            # Waits: the server connection of the client before may still be on its way through the reset query.
            connection.execute("SELECT pg_advisory_lock(4712)")
            connection.execute("CREATE TEMP TABLE psycopg_mine (id int)")
            connection.execute("PREPARE mine AS SELECT 1")
            connection.execute("SET work_mem = '321kB'")


@cases.case("session")
def notifications(target):
    with connect(target) as listener, connect(target) as speaker:
        listener.execute("LISTEN psycopg_channel")
        for number in range(5):
            speaker.execute("SELECT pg_notify('psycopg_channel', %s)", [f"message {number}"])
        seen = [notify.payload for notify in listener.notifies(timeout=20, stop_after=5)]
        equal(seen, [f"message {number}" for number in range(5)])


@cases.case()
def parameters_follow_their_client(target):
    zones = ["UTC", "Europe/Paris", "Asia/Tokyo"]
    # One after the other, so that in session mode each finds a server.
    connections = [connect(target, application_name=f"drivers {zone}") for zone in zones]
    for connection, zone in zip(connections, zones):
        connection.execute(f"SET TimeZone = '{zone}'")
    for _ in range(10):
        for connection, zone in zip(connections, zones):
            equal(value(connection, "SHOW TimeZone"), zone)
            equal(value(connection, "SHOW application_name"), f"drivers {zone}")
            equal(connection.info.parameter_status("TimeZone"), zone)
    for connection in connections:
        connection.close()


def one_of_the_crowd(target: Target, number: int):
    """What each client of the crowd does."""
    with connect(target, prepare_threshold=1, application_name=f"crowd {number}") as connection:
        for turn in range(15):
            equal(value(connection, "SELECT %s::int * 1000 + %s::int", number, turn), number * 1000 + turn)
            equal(value(connection, f"SELECT 'of {number % 4}' || %s::text", str(turn)), f"of {number % 4}{turn}")
            equal(value(connection, "SHOW application_name"), f"crowd {number}")
            fails_with(errors.DivisionByZero, connection.execute, "SELECT 1 / %s::int", [0])
            if target.can("transaction"):
                with connection.transaction():
                    connection.execute("UPDATE psycopg_crowd SET n = n + 1 WHERE id = %s", [number % 3])
                    connection.execute("INSERT INTO psycopg_log VALUES (%s, %s)", [number, turn])
            else:
                connection.execute("UPDATE psycopg_crowd SET n = n + 1 WHERE id = %s", [number % 3])
            with connection.pipeline():
                cursors = [connection.execute("SELECT %s::int + 5", [number]) for _ in range(5)]
            equal([cursor.fetchone()[0] for cursor in cursors], [number + 5] * 5)


@cases.case()
def a_crowd_over_a_small_pool(target):
    with connect(target) as connection:
        fresh_table(connection, "psycopg_crowd", "id int PRIMARY KEY, n int")
        fresh_table(connection, "psycopg_log", "client int, turn int, UNIQUE (client, turn)")
        connection.execute("INSERT INTO psycopg_crowd VALUES (0, 0), (1, 0), (2, 0)")
        with ThreadPoolExecutor(CROWD) as threads:
            list(threads.map(lambda number: one_of_the_crowd(target, number), range(CROWD)))
        equal(value(connection, "SELECT sum(n) FROM psycopg_crowd"), CROWD * 15)


cases.main()
