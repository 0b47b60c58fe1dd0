"""asyncpg: python asyncpg_driver.py HOST PORT DBNAME USER PASSWORD MODE"""

import asyncio
import datetime
import decimal
import io

import asyncpg

from kit import CROWD, RUNNING_SQL, Cases, Target, equal, until_async

cases = Cases(f"asyncpg {asyncpg.__version__}")


def login(target: Target, **more) -> dict:
    """The arguments of connect and create_pool."""
    where = {"host": target.host, "port": target.port, "database": target.dbname}
    return {**where, "user": target.user, "password": target.password, "timeout": 20, **more}


class Connected:
    """A connection for the length of a block."""

    def __init__(self, target: Target, **more):
        self.arguments = login(target, **more)
        self.connection = None

    async def __aenter__(self) -> asyncpg.Connection:
        self.connection = await asyncpg.connect(**self.arguments)
        return self.connection

    async def __aexit__(self, *_):
        await self.connection.close(timeout=20)


async def fresh_table(connection, name: str, columns: str):
    """An empty table."""
    await connection.execute(f"DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({columns})")


async def fails_with(error, awaitable):
    """The error which an awaitable must raise."""
    try:
        await awaitable
    except error as found:
        return found
    raise AssertionError(f"no {error.__name__} was raised")


@cases.case()
async def values_of_many_types(target):
    sent = [
        42,
        2**62,
        1.5,
        decimal.Decimal("1234567890.0123456789"),
        "text with ' and \\ and \N{SNOWMAN}",
        b"\x00\xff\x80",
        True,
        None,
        [1, None, 3],
        datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc),
    ]
    sql = "SELECT $1::int, $2::int8, $3::float8, $4::numeric, $5::text, $6::bytea, $7::bool, $8::text, $9::int[],"
    sql += " $10::timestamptz"
    async with Connected(target) as connection:
        equal(list(await connection.fetchrow(sql, *sent)), sent)


@cases.case()
async def a_type_of_our_own(target):
    # The driver looks up an unknown type with a large query of its own between Parse and Bind.
    async with Connected(target) as connection:
        await connection.execute("DROP TABLE IF EXISTS asyncpg_typed; DROP TYPE IF EXISTS asyncpg_mood")
        await connection.execute("CREATE TYPE asyncpg_mood AS ENUM ('calm', 'rough')")
        await connection.execute("CREATE TABLE asyncpg_typed (mood asyncpg_mood, past asyncpg_mood[])")
    for _ in range(3):
        async with Connected(target) as connection:
            await connection.execute("INSERT INTO asyncpg_typed VALUES ($1, $2)", "rough", ["calm", "rough"])
            row = await connection.fetchrow("SELECT * FROM asyncpg_typed LIMIT 1")
            equal((row["mood"], row["past"]), ("rough", ["calm", "rough"]))


@cases.case()
async def the_cache_of_statements(target):
    # Ten statements more than the cache holds: each is prepared by name, used again and closed.
    async with Connected(target, statement_cache_size=10) as connection:
        for round_ in range(5):
            for number in range(20):
                equal(await connection.fetchval(f"SELECT $1::int + {number}", round_), round_ + number)
    async with Connected(target, statement_cache_size=0) as connection:
        for number in range(20):
            equal(await connection.fetchval("SELECT $1::int", number), number)


@cases.case()
async def prepared_by_hand(target):
    async with Connected(target) as connection:
        statement = await connection.prepare("SELECT $1::int AS number, $2::text AS name")
        equal([kind.name for kind in statement.get_parameters()], ["int4", "text"])
        equal([column.name for column in statement.get_attributes()], ["number", "name"])
        named = await connection.prepare("SELECT $1::int + 1", name="a name chosen by the user")
        for number in range(20):
            equal(tuple(await statement.fetchrow(number, "x")), (number, "x"))
            equal(await named.fetchval(number), number + 1)


@cases.case()
async def errors_leave_the_connection_usable(target):
    async with Connected(target) as connection:
        await fresh_table(connection, "asyncpg_errors", "id int PRIMARY KEY")
        for number in range(10):
            await fails_with(asyncpg.PostgresSyntaxError, connection.fetch("SELEC $1", 1))
            await fails_with(asyncpg.DivisionByZeroError, connection.fetch("SELECT 1 / $1::int", 0))
            await fails_with(asyncpg.UndefinedTableError, connection.fetch("SELECT $1 FROM there_is_none", 1))
            await fails_with(asyncpg.DataError, connection.fetch("SELECT $1::int", "no number"))
            await connection.execute("INSERT INTO asyncpg_errors VALUES ($1)", number)
            again = connection.execute("INSERT INTO asyncpg_errors VALUES ($1)", number)
            await fails_with(asyncpg.UniqueViolationError, again)


@cases.case()
async def the_shape_of_a_table_changes(target):
    # PostgreSQL refuses the old plan of `SELECT *`; the driver prepares again and repeats.
    async with Connected(target) as connection:
        await fresh_table(connection, "asyncpg_shape", "a int")
        await connection.execute("INSERT INTO asyncpg_shape VALUES (1)")
        for number in range(5):
            row = await connection.fetchrow("SELECT * FROM asyncpg_shape")
            equal(len(row), number + 1)
            await connection.execute(f"ALTER TABLE asyncpg_shape ADD COLUMN more_{number} int")


@cases.case()
async def executemany(target):
    async with Connected(target) as connection:
        await fresh_table(connection, "asyncpg_many", "id int PRIMARY KEY, name text")
        insert = "INSERT INTO asyncpg_many VALUES ($1, $2)"
        await connection.executemany(insert, [(number, str(number)) for number in range(2000)])
        equal(await connection.fetchval("SELECT count(*) FROM asyncpg_many"), 2000)
        broken = [(number + 5000, "x") for number in range(3000)]
        broken[1500] = (1, "there already")
        await fails_with(asyncpg.UniqueViolationError, connection.executemany(insert, broken))
        equal(await connection.fetchval("SELECT count(*) FROM asyncpg_many"), 2000)
        wrong = [(number + 9000, "x") for number in range(1000)] + [("no number", "x")]
        await fails_with(asyncpg.DataError, connection.executemany(insert, wrong))
        equal(await connection.fetchval("SELECT count(*) FROM asyncpg_many"), 2000)


@cases.case()
async def copy_in_and_out(target):
    async with Connected(target) as connection:
        await fresh_table(connection, "asyncpg_copy", "id int, name text")
        records = [(number, f"name {number}") for number in range(10_000)]
        equal(await connection.copy_records_to_table("asyncpg_copy", records=records), "COPY 10000")
        output = io.BytesIO()
        await connection.copy_from_query("SELECT id FROM asyncpg_copy WHERE id < $1 ORDER BY 1", 5, output=output)
        equal(output.getvalue(), b"0\n1\n2\n3\n4\n")
        output = io.BytesIO()
        await connection.copy_from_table("asyncpg_copy", output=output, format="csv")
        equal(output.getvalue().count(b"\n"), 10_000)
        output.seek(0)
        equal(await connection.copy_to_table("asyncpg_copy", source=output, format="csv"), "COPY 10000")
        source = io.BytesIO(b"1,x\nno number,y\n" + b"2,z\n" * 200_000)
        await fails_with(
            asyncpg.InvalidTextRepresentationError,
            connection.copy_to_table("asyncpg_copy", source=source, format="csv"),
        )

        async def rows():
            yield (1, "one")
            raise LookupError("no more rows")

        await fails_with(LookupError, connection.copy_records_to_table("asyncpg_copy", records=rows()))
        equal(await connection.fetchval("SELECT count(*) FROM asyncpg_copy"), 20_000)


@cases.case()
async def a_timeout_cancels_the_query(target):
    async with Connected(target) as connection, Connected(target) as observer:
        await connection.fetchval("SELECT 1")
        for _ in range(3):
            sleep = connection.execute("SELECT pg_sleep(50) /* asyncpg_timeout */", timeout=0.2)
            await fails_with(asyncio.TimeoutError, sleep)
            sleep = connection.fetchval("SELECT pg_sleep($1) /* asyncpg_timeout */", 50, timeout=0.2)
            await fails_with(asyncio.TimeoutError, sleep)
            equal(await connection.fetchval("SELECT 'after'"), "after")
        equal(await observer.fetchval(RUNNING_SQL.format(mark="$1"), "asyncpg_timeout"), 0)


@cases.case()
async def a_task_cancelled_in_mid_query(target):
    async with Connected(target) as connection, Connected(target) as observer:

        async def running():
            return await observer.fetchval(RUNNING_SQL.format(mark="$1"), "asyncpg_task")

        for _ in range(3):
            task = asyncio.create_task(connection.execute("SELECT pg_sleep(50) /* asyncpg_task */"))
            await until_async(running, "the query runs")
            task.cancel()
            await fails_with(asyncio.CancelledError, task)
            equal(await connection.fetchval("SELECT 'after'"), "after")


@cases.case()
async def a_connection_aborted_in_mid_query(target):
    async with Connected(target) as observer:

        async def running():
            return await observer.fetchval(RUNNING_SQL.format(mark="$1"), "asyncpg_abort")

        async def gone():
            return not await running()

        # As many as there are servers: none of them may be lost, and none may run on for somebody who left.
        for _ in range(2 if target.mode == "session" else 3):
            connection = await asyncpg.connect(**login(target))
            task = asyncio.create_task(connection.execute("SELECT pg_sleep(3) /* asyncpg_abort */"))
            await until_async(running, "the query runs")
            connection.terminate()
            await fails_with((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError), task)
        await until_async(gone, "the left queries end")
        equal(await observer.fetchval("SELECT 'after'"), "after")


@cases.case()
async def reset_gives_a_clean_connection(target):
    # What a pool of the driver sends when a connection comes back: unlock, CLOSE ALL, UNLISTEN *, RESET ALL.
    async with Connected(target) as connection:
        before = await connection.fetchval("SHOW DateStyle")
        await connection.execute("SET DateStyle = 'German'")
        for _ in range(10):
            assert (await connection.fetchval("SHOW DateStyle")).startswith("German")
        await connection.reset()
        for _ in range(10):
            equal(await connection.fetchval("SHOW DateStyle"), before)


@cases.case("transaction")
async def transactions_and_savepoints(target):
    async with Connected(target) as connection:
        await fresh_table(connection, "asyncpg_tx", "id int")

        async def fail_inside():
            async with connection.transaction():
                await connection.execute("INSERT INTO asyncpg_tx VALUES (2)")
                await connection.execute("SELECT 1 / 0")

        for isolation in ("read_committed", "repeatable_read", "serializable"):
            async with connection.transaction(isolation=isolation):
                await connection.execute("INSERT INTO asyncpg_tx VALUES (1)")
                await fails_with(asyncpg.DivisionByZeroError, fail_inside())
        await fails_with(asyncpg.DivisionByZeroError, fail_inside())
        equal(await connection.fetchval("SELECT sum(id) FROM asyncpg_tx"), 3)

        async def write_in_a_read_only_one():
            async with connection.transaction(readonly=True):
                await connection.execute("INSERT INTO asyncpg_tx VALUES (3)")

        await fails_with(asyncpg.ReadOnlySQLTransactionError, write_in_a_read_only_one())


@cases.case("transaction")
async def cursors(target):
    # A portal that is suspended after every part.
    async with Connected(target) as connection:
        async with connection.transaction():
            numbers = [row[0] async for row in connection.cursor("SELECT generate_series(1, $1::int)", 333, prefetch=10)]
            equal(numbers, list(range(1, 334)))
            cursor = await connection.cursor("SELECT generate_series(1, 100)")
            equal([row[0] for row in await cursor.fetch(3)], [1, 2, 3])
            equal(await cursor.forward(10), 10)
            equal((await cursor.fetchrow())[0], 14)
            equal(await connection.fetchval("SELECT 'between'"), "between")
            equal((await cursor.fetchrow())[0], 15)


@cases.case("transaction")
async def copy_and_timeout_inside_a_transaction(target):
    async with Connected(target) as connection:
        await fresh_table(connection, "asyncpg_copytx", "id int")

        async def time_out_inside():
            async with connection.transaction():
                await connection.copy_records_to_table("asyncpg_copytx", records=[(1,), (2,)])
                await connection.execute("SELECT pg_sleep(50)", timeout=0.2)

        await fails_with(asyncio.TimeoutError, time_out_inside())
        equal(await connection.fetchval("SELECT count(*) FROM asyncpg_copytx"), 0)


@cases.case()
async def the_drivers_pool(target):
    # In session mode each of its connections keeps a server, so it may not be larger than ours.
    size = 3 if target.mode == "session" else CROWD
    pool = await asyncpg.create_pool(**login(target, min_size=1, max_size=size, max_inactive_connection_lifetime=0.05))
    async with pool:
        await fresh_table(pool, "asyncpg_pool", "n int")
        await pool.execute("INSERT INTO asyncpg_pool VALUES (0)")

        async def work(number):
            for turn in range(20):
                async with pool.acquire() as connection:
                    equal(await connection.fetchval("SELECT $1::int * 100 + $2::int", number, turn), number * 100 + turn)
                    await connection.execute("UPDATE asyncpg_pool SET n = n + 1")
                    await fails_with(asyncpg.DivisionByZeroError, connection.fetchval("SELECT 1 / $1::int", 0))

        await asyncio.gather(*(work(number) for number in range(CROWD)))
        equal(await pool.fetchval("SELECT n FROM asyncpg_pool"), CROWD * 20)


@cases.case("session")
async def notifications_and_session_state(target):
    async with Connected(target) as listener, Connected(target) as speaker:
        seen = asyncio.Queue()
        await listener.add_listener("asyncpg_channel", lambda *arguments: seen.put_nowait(arguments[3]))
        await speaker.execute("NOTIFY asyncpg_channel, 'hello'")
        equal(await asyncio.wait_for(seen.get(), 20), "hello")
        await listener.execute("SELECT pg_advisory_lock(4713); CREATE TEMP TABLE asyncpg_temp (id int)")
        equal(await speaker.fetchval("SELECT pg_try_advisory_lock(4713)"), False)
        await listener.reset()
        equal(await speaker.fetchval("SELECT pg_try_advisory_lock(4713)"), True)
        equal(await listener.fetchval("SELECT count(*) FROM asyncpg_temp"), 0)


async def one_of_the_crowd(target: Target, number: int):
    """What each client of the crowd does."""
    name = f"crowd {number}"
    async with Connected(target, server_settings={"application_name": name}) as connection:
        mine = await connection.prepare(f"SELECT $1::int + {number % 5}")
        for turn in range(15):
            equal(await mine.fetchval(turn), turn + number % 5)
            equal(await connection.fetchval("SELECT $1::text", name), name)
            equal(await connection.fetchval("SHOW application_name"), name)
            await connection.executemany("INSERT INTO asyncpg_crowd VALUES ($1)", [(number,), (turn,)])
            if target.can("transaction"):
                async with connection.transaction():
                    await connection.execute("INSERT INTO asyncpg_crowd VALUES ($1)", turn)
                    equal(len([row async for row in connection.cursor("SELECT generate_series(1, 70)")]), 70)
            else:
                await connection.execute("INSERT INTO asyncpg_crowd VALUES ($1)", turn)


@cases.case()
async def a_crowd_over_a_small_pool(target):
    async with Connected(target) as connection:
        await fresh_table(connection, "asyncpg_crowd", "id int")
        await asyncio.gather(*(one_of_the_crowd(target, number) for number in range(CROWD)))
        equal(await connection.fetchval("SELECT count(*) FROM asyncpg_crowd"), CROWD * 15 * 3)


cases.main()
