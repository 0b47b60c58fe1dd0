"""Logins by key and by token over TLS: python identity.py HOST PORT DBNAME CA DRIVER USER SECRET

Says the role it is at the server. DRIVER: `psycopg`, `asyncpg`, `certificate` (psycopg
without a password; SECRET is `FILE.crt:FILE.key`), or `oauth` (psycopg with SASL OAUTHBEARER: libpq 18 asks
for the token, which is SECRET, and says whose it wants to be; USER is `ROLE@ISSUER`).
"""

import asyncio
import ctypes
import glob
import os
import ssl
import sys

QUESTION = "SELECT current_user"


def with_psycopg(host: str, port: str, dbname: str, ca: str, user: str, secret: str) -> None:
    import psycopg

    more = {"sslmode": "verify-full", "sslrootcert": ca}
    with psycopg.connect(host=host, port=port, dbname=dbname, user=user, password=secret, **more) as connection:
        print(connection.execute(QUESTION).fetchone()[0])


def with_certificate(host: str, port: str, dbname: str, ca: str, user: str, secret: str) -> None:
    import psycopg

    certificate, key = secret.split(":")
    more = {"sslmode": "verify-full", "sslrootcert": ca, "sslcert": certificate, "sslkey": key}
    with psycopg.connect(host=host, port=port, dbname=dbname, user=user, **more) as connection:
        print(connection.execute(QUESTION).fetchone()[0])


async def with_asyncpg(host: str, port: str, dbname: str, ca: str, user: str, secret: str) -> None:
    import asyncpg

    context = ssl.create_default_context(cafile=ca)
    connection = await asyncpg.connect(
        host=host, port=int(port), database=dbname, user=user, password=secret, ssl=context, statement_cache_size=0
    )
    print(await connection.fetchval(QUESTION))
    await connection.close()


class BearerRequest(ctypes.Structure):
    """PGoauthBearerRequest (PostgreSQL 18 manual, "OAuth Support")."""

    _fields_ = [
        ("openid_configuration", ctypes.c_char_p),
        ("scope", ctypes.c_char_p),
        ("next_step", ctypes.c_void_p),
        ("cleanup", ctypes.c_void_p),
        ("token", ctypes.c_char_p),
        ("user", ctypes.c_void_p),
    ]


# PQAUTHDATA_OAUTH_BEARER_TOKEN
WANTS_TOKEN = 1


def with_oauth(host: str, port: str, dbname: str, ca: str, user: str, secret: str) -> None:
    import psycopg
    import psycopg_binary

    assert psycopg.pq.version() >= 180000, f"libpq {psycopg.pq.version()} does not speak OAUTHBEARER"
    role, issuer = user.split("@", 1)
    # The very library that psycopg has loaded.
    folder = os.path.join(os.path.dirname(os.path.dirname(psycopg_binary.__file__)), "psycopg_binary.libs")
    library = ctypes.CDLL(glob.glob(os.path.join(folder, "libpq-*"))[0])
    token = ctypes.create_string_buffer(secret.encode())

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    def hook(kind: int, _connection: int, data: int) -> int:
        if kind != WANTS_TOKEN:
            return 0
        request = ctypes.cast(data, ctypes.POINTER(BearerRequest)).contents
        print("wanted by", request.openid_configuration.decode())
        request.token = ctypes.cast(token, ctypes.c_char_p)
        return 1

    library.PQsetAuthDataHook(hook)
    # An issuer without TLS is for tests.
    os.environ["PGOAUTHDEBUG"] = "UNSAFE"
    more = {"sslmode": "verify-full", "sslrootcert": ca, "oauth_issuer": issuer, "oauth_client_id": "test"}
    with psycopg.connect(host=host, port=port, dbname=dbname, user=role, **more) as connection:
        print(connection.execute(QUESTION).fetchone()[0])


def main() -> None:
    host, port, dbname, ca, driver, user, secret = sys.argv[1:]
    if driver == "psycopg":
        with_psycopg(host, port, dbname, ca, user, secret)
    elif driver == "asyncpg":
        asyncio.run(with_asyncpg(host, port, dbname, ca, user, secret))
    elif driver == "certificate":
        with_certificate(host, port, dbname, ca, user, secret)
    else:
        with_oauth(host, port, dbname, ca, user, secret)


main()
