"""psycopg 3, reading lazily: python lazy_stream.py HOST PORT DBNAME USER PASSWORD CASE

Says `reading` after the first row, waits for a line, and says `rows N` when it has read all of them. CASE: `stream`
(autocommit), `stream_in_transaction` (as psycopg does by itself), `server_side_cursor`.
"""

import sys

import psycopg

SQL = "SELECT i, repeat(md5(i::text), 31250) FROM generate_series(1, 30) i"


def rows_of(connection: psycopg.Connection, case: str):
    """The rows, each when it is asked for."""
    if case == "server_side_cursor":
        with connection.cursor(name="lazy") as cursor:
            cursor.itersize = 2
            cursor.execute(SQL)
            yield from cursor
    else:
        yield from connection.cursor().stream(SQL)


def main() -> None:
    host, port, dbname, user, password, case = sys.argv[1:]
    with psycopg.connect(
        host=host, port=port, dbname=dbname, user=user, password=password, autocommit=case == "stream"
    ) as connection:
        count = 0
        for _, text in rows_of(connection, case):
            assert len(text) == 1_000_000
            count += 1
            if count == 1:
                print("reading", flush=True)
                sys.stdin.readline()
        print(f"rows {count}", flush=True)


if __name__ == "__main__":
    main()
