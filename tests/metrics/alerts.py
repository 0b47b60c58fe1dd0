"""Checks the example of alert rules: alerts.py RULES METRICS.

RULES is the YAML file; METRICS is an answer of /metrics in Prometheus' text format. Every rule has what Prometheus wants
of it, and every metric that an expression names is in the answer.
"""

import re
import sys

import yaml
from prometheus_client import parser

DURATION = re.compile(r"^([0-9]+(ms|s|m|h|d|w|y))+$")
# `up` is Prometheus' own.
METRIC = re.compile(r"\b(?:(?:plimsoll|pgbouncer|db_client|process)_[a-z_]+|up)\b")
RULE = {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}


def names(path):
    with open(path, encoding="utf-8", newline="") as file:
        families = parser.text_string_to_metric_families(file.read())
        return {sample.name for family in families for sample in family.samples}


def balanced(expression):
    closing = {")": "(", "]": "[", "}": "{"}
    open_ones = []
    for character in re.sub(r'"(\\.|[^"\\])*"', "", expression):
        if character in closing.values():
            open_ones.append(character)
        elif character in closing and (not open_ones or open_ones.pop() != closing[character]):
            return False
    return not open_ones


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        rules = yaml.safe_load(file)
    known, seen = names(sys.argv[2]) | {"up"}, set()
    assert list(rules) == ["groups"], list(rules)
    for group in rules["groups"]:
        assert set(group) <= {"name", "interval", "rules"} and group["rules"], group
        for rule in group["rules"]:
            name = rule["alert"]
            assert set(rule) <= RULE, f"{name}: {set(rule) - RULE}"
            assert name not in seen and re.match(r"^[A-Z][A-Za-z]+$", name), name
            seen.add(name)
            assert DURATION.match(rule.get("for", "0s")), f"{name}: for {rule['for']}"
            assert balanced(rule["expr"]), f"{name}: {rule['expr']}"
            used = set(METRIC.findall(re.sub(r'"(\\.|[^"\\])*"', "", rule["expr"])))
            assert used and used <= known, f"{name} names {used - known or 'nothing'}"
            assert rule["annotations"]["summary"] and rule["labels"]["severity"], name
            print("ok", name)


main()
