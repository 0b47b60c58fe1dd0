"""psycopg 3 on asyncio: python psycopg_async.py HOST PORT DBNAME USER PASSWORD MODE"""

import asyncio

import psycopg
from psycopg import errors

from kit import CROWD, RUNNING_SQL, Cases, Target, equal, until_async

cases = Cases(f"psycopg {psycopg.__version__} on asyncio")


async def connect(target: Target, **more) -> psycopg.AsyncConnection:
    """A connection without transactions of its own, unless told."""
    more.setdefault("autocommit", True)
    return await psycopg.AsyncConnection.connect(
        host=target.host,
        port=target.port,
        dbname=target.dbname,
        user=target.user,
        password=target.password,
        connect_timeout=20,
        **more,
    )


async def value(connection, sql, *parameters):
    """The only value of a query."""
    cursor = await connection.execute(sql, parameters or None)
    (result,) = await cursor.fetchone()
    return result


async def fresh_table(connection, name: str, columns: str):
    """An empty table."""
    await connection.execute(f"DROP TABLE IF EXISTS {name}")
    await connection.execute(f"CREATE TABLE {name} ({columns})")


async def fails_with(error, awaitable):
    """The error which an awaitable must raise."""
    try:
        await awaitable
    except error as found:
        return found
    raise AssertionError(f"no {error.__name__} was raised")


@cases.case()
async def queries_and_errors(target):
    async with await connect(target, prepare_threshold=2) as connection:
        for number in range(30):
            equal(await value(connection, "SELECT %s::int", number), number)
            await fails_with(errors.DivisionByZero, connection.execute("SELECT 1 / %s", [0]))


@cases.case()
async def pipeline(target):
    async with await connect(target, prepare_threshold=0) as connection:
        async with connection.pipeline() as pipeline:
            cursors = []
            for number in range(50):
                cursors.append(await connection.execute("SELECT %s::int * 2", [number]))
                if number % 9 == 0:
                    await pipeline.sync()
            for number, cursor in enumerate(cursors):
                equal(await cursor.fetchone(), (number * 2,))


@cases.case()
async def executemany(target):
    async with await connect(target) as connection, connection.cursor() as cursor:
        await fresh_table(connection, "apsycopg_many", "id int PRIMARY KEY")
        insert = "INSERT INTO apsycopg_many VALUES (%s)"
        await cursor.executemany(insert, [(number,) for number in range(300)])
        broken = [(number + 1000,) for number in range(100)] + [(5,)] + [(number + 2000,) for number in range(100)]
        await fails_with(errors.UniqueViolation, cursor.executemany(insert, broken))
        equal(await value(connection, "SELECT count(*) FROM apsycopg_many"), 300)


@cases.case()
async def copy_in_and_out(target):
    async with await connect(target) as connection, connection.cursor() as cursor:
        await fresh_table(connection, "apsycopg_copy", "id int, name text")
        async with cursor.copy("COPY apsycopg_copy FROM STDIN") as copy:
            for number in range(3000):
                await copy.write_row((number, f"name {number}"))
        async with cursor.copy("COPY apsycopg_copy TO STDOUT") as copy:
            equal([row async for row in copy.rows()], [(str(number), f"name {number}") for number in range(3000)])

        async def give_up():
            async with cursor.copy("COPY apsycopg_copy FROM STDIN") as copy:
                await copy.write("1\tone\n")
                raise LookupError("no more rows")

        await fails_with(LookupError, give_up())
        equal(await value(connection, "SELECT count(*) FROM apsycopg_copy"), 3000)


@cases.case()
async def a_task_cancelled_in_mid_query(target):
    # The driver turns the task's cancellation into a CancelRequest and waits for the answer.
    async with await connect(target) as connection, await connect(target) as observer:

        async def running():
            return await value(observer, RUNNING_SQL.format(mark="%s"), "apsycopg_sleep")

        for _ in range(3):
            task = asyncio.create_task(connection.execute("SELECT pg_sleep(50) /* apsycopg_sleep */"))
            await until_async(running, "the query runs")
            task.cancel()
            await fails_with(asyncio.CancelledError, task)
            equal(await value(connection, "SELECT 'after'"), "after")


@cases.case()
async def cancel_safe(target):
    async with await connect(target) as connection, await connect(target) as observer:

        async def running():
            return await value(observer, RUNNING_SQL.format(mark="%s"), "apsycopg_safe")

        task = asyncio.create_task(connection.execute("SELECT pg_sleep(50) /* apsycopg_safe */"))
        await until_async(running, "the query runs")
        await connection.cancel_safe()
        await fails_with(errors.QueryCanceled, task)
        equal(await value(connection, "SELECT 'after'"), "after")


@cases.case("transaction")
async def transactions_and_savepoints(target):
    async with await connect(target) as connection:
        await fresh_table(connection, "apsycopg_tx", "id int")

        async def fail_inside():
            async with connection.transaction():
                await connection.execute("INSERT INTO apsycopg_tx VALUES (2)")
                await connection.execute("SELECT 1 / 0")

        async with connection.transaction():
            await connection.execute("INSERT INTO apsycopg_tx VALUES (1)")
            await fails_with(errors.DivisionByZero, fail_inside())
        equal(await value(connection, "SELECT sum(id) FROM apsycopg_tx"), 1)


@cases.case("transaction")
async def server_side_cursor(target):
    async with await connect(target, autocommit=False) as connection:
        async with connection.cursor(name="walk") as cursor:
            cursor.itersize = 50
            await cursor.execute("SELECT generate_series(1, 777)")
            equal(sum([number async for (number,) in cursor]), 777 * 778 // 2)


@cases.case("session")
async def notifications(target):
    async with await connect(target) as listener, await connect(target) as speaker:
        await listener.execute("LISTEN apsycopg_channel")
        for number in range(3):
            await speaker.execute(f"NOTIFY apsycopg_channel, '{number}'")
        seen = [notify.payload async for notify in listener.notifies(timeout=20, stop_after=3)]
        equal(seen, ["0", "1", "2"])


async def one_of_the_crowd(target: Target, number: int):
    """What each client of the crowd does."""
    async with await connect(target, prepare_threshold=1, application_name=f"crowd {number}") as connection:
        for turn in range(15):
            equal(await value(connection, "SELECT %s::int + %s::int", number, turn), number + turn)
            equal(await value(connection, f"SELECT {number % 3} + %s::int", turn), number % 3 + turn)
            equal(await value(connection, "SHOW application_name"), f"crowd {number}")
            async with connection.pipeline():
                cursors = [await connection.execute("SELECT %s::int - 5", [number]) for _ in range(5)]
            equal([(await cursor.fetchone())[0] for cursor in cursors], [number - 5] * 5)
            if target.can("transaction"):
                async with connection.transaction():
                    await connection.execute("UPDATE apsycopg_crowd SET n = n + 1")
            else:
                await connection.execute("UPDATE apsycopg_crowd SET n = n + 1")


@cases.case()
async def a_crowd_over_a_small_pool(target):
    async with await connect(target) as connection:
        await fresh_table(connection, "apsycopg_crowd", "n int")
        await connection.execute("INSERT INTO apsycopg_crowd VALUES (0)")
        await asyncio.gather(*(one_of_the_crowd(target, number) for number in range(CROWD)))
        equal(await value(connection, "SELECT n FROM apsycopg_crowd"), CROWD * 15)


cases.main()
