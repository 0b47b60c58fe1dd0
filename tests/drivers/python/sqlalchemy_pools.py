"""SQLAlchemy over psycopg and asyncpg: python sqlalchemy_pools.py HOST PORT DBNAME USER PASSWORD MODE"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy
from sqlalchemy import ForeignKey, URL, create_engine, event, exc, func, select, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from kit import CROWD, Cases, Target, equal

cases = Cases(f"SQLAlchemy {sqlalchemy.__version__}")


class Base(DeclarativeBase):
    """The tables."""


class Ship(Base):
    """A row with children."""

    __tablename__ = "alchemy_ship"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    crew: Mapped[list["Sailor"]] = relationship(back_populates="ship", cascade="all, delete-orphan")


class Sailor(Base):
    """A child."""

    __tablename__ = "alchemy_sailor"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    pay: Mapped[int] = mapped_column(default=0)
    ship_id: Mapped[int] = mapped_column(ForeignKey("alchemy_ship.id"))
    ship: Mapped[Ship] = relationship(back_populates="crew")


def engine_options(target: Target, **more) -> dict:
    """The driver's pool: in session mode each of its connections keeps a server, so not larger than ours."""
    more.setdefault("pool_size", 3 if target.mode == "session" else CROWD)
    if not target.can("transaction"):
        more["isolation_level"] = "AUTOCOMMIT"
        # Looking for hstore opens a transaction.
        more["use_native_hstore"] = False
    return {"max_overflow": 0, "pool_timeout": 30, "pool_pre_ping": True, **more}


def url(target: Target, driver: str) -> URL:
    """Where."""
    return URL.create(
        f"postgresql+{driver}", target.user, target.password, target.host, target.port, target.dbname
    )


class Engine:
    """An engine for the length of a block, with empty tables."""

    def __init__(self, target: Target, **more):
        self.engine = create_engine(url(target, "psycopg"), **engine_options(target, **more))

    def __enter__(self) -> sqlalchemy.Engine:
        Base.metadata.drop_all(self.engine)
        Base.metadata.create_all(self.engine)
        return self.engine

    def __exit__(self, *_):
        self.engine.dispose()


def fails_with(error, function):
    """The error which a call must raise."""
    try:
        function()
    except error as found:
        return found
    raise AssertionError(f"no {error.__name__} was raised")


@cases.case()
def core_in_autocommit(target):
    with Engine(target, isolation_level="AUTOCOMMIT") as engine, engine.connect() as connection:
        ship = Ship.__table__
        connection.execute(ship.insert(), [{"name": f"ship {number}"} for number in range(2500)])
        equal(connection.scalar(select(func.count()).select_from(ship)), 2500)
        returned = connection.execute(
            ship.insert().returning(ship.c.name), [{"name": f"more {number}"} for number in range(2500)]
        )
        equal(len(returned.all()), 2500)
        fails_with(exc.IntegrityError, lambda: connection.execute(ship.insert(), [{"name": "ship 1"}]))
        fails_with(exc.DataError, lambda: connection.execute(text("SELECT 1 / :n"), {"n": 0}))
        for number in range(20):
            equal(connection.scalar(text("SELECT :n + 1"), {"n": number}), number + 1)


@cases.case("transaction")
def sessions_commit_and_roll_back(target):
    with Engine(target) as engine:
        with Session(engine) as session:
            session.add(Ship(name="Beagle", crew=[Sailor(name="Charles"), Sailor(name="Robert")]))
            session.commit()
            session.add(Ship(name="Beagle"))
            fails_with(exc.IntegrityError, session.flush)
            session.rollback()
            ship = session.scalars(select(Ship).where(Ship.name == "Beagle")).one()
            equal(sorted(sailor.name for sailor in ship.crew), ["Charles", "Robert"])
            with session.begin_nested() as savepoint:
                ship.name = "Endeavour"
                session.flush()
                savepoint.rollback()
            session.refresh(ship)
            equal(ship.name, "Beagle")
            session.delete(ship)
            session.commit()
            equal(session.scalar(select(func.count()).select_from(Sailor)), 0)


@cases.case("transaction")
def a_connection_returned_in_a_transaction_is_rolled_back(target):
    with Engine(target, pool_size=1) as engine:
        for _ in range(5):
            with engine.connect() as connection:
                connection.execute(text("INSERT INTO alchemy_ship (name) VALUES ('left alone')"))
        with engine.connect() as connection:
            equal(connection.scalar(select(func.count()).select_from(Ship)), 0)


@cases.case("transaction")
def rows_streamed_by_a_server_side_cursor(target):
    with Engine(target) as engine, engine.connect() as connection:
        result = connection.execution_options(yield_per=100).execute(text("SELECT generate_series(1, 5000)"))
        equal(sum(row[0] for row in result), 5000 * 5001 // 2)


@cases.case("transaction")
def isolation_levels_of_one_engine(target):
    with Engine(target) as engine:
        for level in ("SERIALIZABLE", "REPEATABLE READ", "READ COMMITTED"):
            with engine.connect().execution_options(isolation_level=level) as connection:
                equal(connection.scalar(text("SHOW transaction_isolation")), level.lower())


@cases.case()
def pre_ping_replaces_a_dead_connection(target):
    with Engine(target, pool_size=1) as engine:
        opened = []
        event.listen(engine, "connect", lambda connection, _: opened.append(connection))
        with engine.connect() as connection:
            socket = connection.connection.driver_connection
        socket.close()
        with engine.connect() as connection:
            equal(connection.scalar(text("SELECT 1")), 1)
        equal(len(opened), 1)


def one_of_the_crowd(engine: sqlalchemy.Engine, target: Target, number: int):
    """What each thread of the crowd does."""
    for turn in range(10):
        with engine.connect() as connection:
            equal(connection.scalar(text("SELECT CAST(:n AS int) * 10"), {"n": number + turn}), (number + turn) * 10)
        if target.can("transaction"):
            with Session(engine) as session, session.begin():
                session.add(Ship(name=f"{number}/{turn}", crew=[Sailor(name="one"), Sailor(name="two")]))
            with Session(engine) as session, session.begin():
                ship = session.scalars(select(Ship).where(Ship.name == f"{number}/{turn}")).one()
                ship.crew[0].pay += 1
        else:
            with engine.connect() as connection:
                connection.execute(Ship.__table__.insert(), [{"name": f"{number}/{turn}"}])


@cases.case()
def a_crowd_of_threads(target):
    with Engine(target) as engine:
        with ThreadPoolExecutor(CROWD) as threads:
            list(threads.map(lambda number: one_of_the_crowd(engine, target, number), range(CROWD)))
        with engine.connect() as connection:
            equal(connection.scalar(select(func.count()).select_from(Ship)), CROWD * 10)
            if target.can("transaction"):
                equal(connection.scalar(select(func.sum(Sailor.pay))), CROWD * 10)


@cases.case()
async def a_crowd_of_tasks_over_asyncpg(target):
    options = engine_options(target)
    options.pop("use_native_hstore", None)
    engine = create_async_engine(url(target, "asyncpg"), **options)
    begin = engine.begin if target.can("transaction") else engine.connect
    async with engine.connect() as connection:
        autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await autocommit.execute(text("DROP TABLE IF EXISTS alchemy_async"))
        await autocommit.execute(text("CREATE TABLE alchemy_async (client int, turn int)"))

    async def work(number):
        for turn in range(10):
            async with begin() as connection:
                insert = text("INSERT INTO alchemy_async VALUES (:client, :turn)")
                await connection.execute(insert, {"client": number, "turn": turn})
                mine = text("SELECT count(*) FROM alchemy_async WHERE client = :client")
                equal(await connection.scalar(mine, {"client": number}), turn + 1)

    await asyncio.gather(*(work(number) for number in range(CROWD)))
    async with engine.connect() as connection:
        equal(await connection.scalar(text("SELECT count(*) FROM alchemy_async")), CROWD * 10)
    await engine.dispose()


cases.main()
