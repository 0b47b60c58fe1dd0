"""A transaction whose server connection is taken away: python taken.py HOST PORT DBNAME USER PASSWORD DRIVER

Says `holding` when the transaction is open, waits for a line, says `refused SQLSTATE` of what it says next, rolls back as
the driver does that, and says `goes on` when it has done another transaction. DRIVER: `psycopg`, `psycopg_prepared`,
`pipeline` (psycopg, in the middle of one), `asyncpg`, `sqlalchemy`.
"""

import asyncio
import sys

INSERT = "INSERT INTO marks VALUES ('cut')"


def told() -> None:
    print("holding", flush=True)
    sys.stdin.readline()


def with_psycopg(host: str, port: str, dbname: str, user: str, password: str, prepared: bool) -> None:
    import psycopg

    with psycopg.connect(host=host, port=port, dbname=dbname, user=user, password=password) as connection:
        connection.prepare_threshold = 0 if prepared else None
        connection.execute(INSERT)
        told()
        try:
            connection.execute(INSERT)
        except psycopg.Error as error:
            print(f"refused {error.sqlstate}", flush=True)
        connection.rollback()
        assert connection.execute("SELECT 40 + 2").fetchone() == (42,)
        connection.commit()
    print("goes on", flush=True)


def with_pipeline(host: str, port: str, dbname: str, user: str, password: str) -> None:
    import psycopg

    with psycopg.connect(host=host, port=port, dbname=dbname, user=user, password=password) as connection:
        connection.execute(INSERT)
        try:
            with connection.pipeline():
                cursor = connection.execute(INSERT)
                assert cursor.execute("SELECT 1").fetchone() == (1,)
                told()
                connection.execute(INSERT)
                assert connection.execute("SELECT 2").fetchone() == (2,)
        except psycopg.Error as error:
            print(f"refused {error.sqlstate}", flush=True)
        connection.rollback()
        assert connection.execute("SELECT 40 + 2").fetchone() == (42,)
        connection.commit()
    print("goes on", flush=True)


async def with_asyncpg(host: str, port: str, dbname: str, user: str, password: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(host=host, port=int(port), database=dbname, user=user, password=password)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(INSERT)
    told()
    try:
        await connection.fetch("SELECT $1::int", 7)
    except asyncpg.PostgresError as error:
        print(f"refused {error.sqlstate}", flush=True)
    await transaction.rollback()
    async with connection.transaction():
        assert await connection.fetchval("SELECT 40 + 2") == 42
    await connection.close()
    print("goes on", flush=True)


def with_sqlalchemy(host: str, port: str, dbname: str, user: str, password: str) -> None:
    import sqlalchemy

    url = sqlalchemy.URL.create("postgresql+psycopg", user, password, host, int(port), dbname)
    engine = sqlalchemy.create_engine(url, pool_size=1)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(INSERT))
        told()
        try:
            connection.execute(sqlalchemy.text(INSERT))
        except sqlalchemy.exc.DBAPIError as error:
            print(f"refused {error.orig.sqlstate}", flush=True)
        connection.rollback()
    with engine.begin() as connection:
        assert connection.execute(sqlalchemy.text("SELECT 40 + 2")).scalar() == 42
    engine.dispose()
    print("goes on", flush=True)


def main() -> None:
    *where, driver = sys.argv[1:]
    if driver == "asyncpg":
        asyncio.run(with_asyncpg(*where))
    elif driver == "pipeline":
        with_pipeline(*where)
    elif driver == "sqlalchemy":
        with_sqlalchemy(*where)
    else:
        with_psycopg(*where, driver == "psycopg_prepared")


if __name__ == "__main__":
    main()
