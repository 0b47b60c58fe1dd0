"""Reads one answer of /metrics in both formats as Prometheus' own client library does, and prints what it found.

parse.py TEXT OPENMETRICS: two files. On success each family is a line `TYPE NAME SAMPLES`; else a traceback.
"""

import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics


def samples(families):
    found = {}
    for family in families:
        assert family.documentation, f"{family.name} has no help"
        assert family.type in ("counter", "gauge", "histogram"), f"{family.name} is {family.type}"
        assert family.samples, f"{family.name} is empty"
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} twice"
            found[key] = sample.value
    return found


def is_steady(name):
    """Whether a value may not differ between two scrapes at rest."""
    moves = ("process_", "pgbouncer_stats", "plimsoll_pool_oldest", "plimsoll_client_connections_full")
    return not name.startswith(moves)


def main():
    with open(sys.argv[1], encoding="utf-8", newline="") as file:
        text = list(parser.text_string_to_metric_families(file.read()))
    with open(sys.argv[2], encoding="utf-8", newline="") as file:
        opened = list(openmetrics.text_string_to_metric_families(file.read()))
    one, other = samples(text), samples(opened)
    assert one.keys() == other.keys(), one.keys() ^ other.keys()
    for key, value in one.items():
        assert not is_steady(key[0]) or value == other[key], f"{key}: {value} and {other[key]}"
    types = {family.name: family.type for family in text}
    assert types == {family.name: family.type for family in opened}
    for family in text:
        print(family.type, family.name, len(family.samples))


main()
