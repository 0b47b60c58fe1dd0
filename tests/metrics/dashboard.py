"""Checks the example of a dashboard: dashboard.py DASHBOARD METRICS [NAME...].

DASHBOARD is Grafana's JSON ("classic" model, schema 39); METRICS is an answer of /metrics in Prometheus' text format. Panels
have a place of their own, every expression is balanced and uses variables that there are, every metric that one names is in
the answer, and so is every label of a legend. A NAME is that of a metric which is there in trouble only.
"""

import json
import re
import sys

from prometheus_client import parser

METRIC = re.compile(r"\b(?:plimsoll|pgbouncer|db_client|process)_[a-z_0-9]+(?=[{\[\s)]|$)")
WIDTH = 24
KINDS = {"row", "stat", "timeseries", "table"}
BUILT_IN = {"__rate_interval", "__interval", "__range"}
GROUPED = re.compile(r"\b(?:by|ignoring)\s*\(([a-z_, ]*)\)")


def samples(path):
    """The labels of each name."""
    known = {}
    with open(path, encoding="utf-8", newline="") as file:
        for family in parser.text_string_to_metric_families(file.read()):
            for sample in family.samples:
                known.setdefault(sample.name, {"instance", "job"}).update(sample.labels)
    return known


def without_texts(expression):
    return re.sub(r'"(\\.|[^"\\])*"', '""', expression)


def balanced(expression):
    closing = {")": "(", "]": "[", "}": "{"}
    opened = []
    for character in expression:
        if character in closing.values():
            opened.append(character)
        elif character in closing and (not opened or opened.pop() != closing[character]):
            return False
    return not opened


def check_query(title, expression, legend, known, rare, variables):
    text = without_texts(expression)
    assert balanced(text), f"{title}: {expression}"
    used = {a or b for a, b in re.findall(r"\$(?:\{(\w+)\}|(\w+))", expression)}
    assert used <= variables | BUILT_IN, f"{title}: {used - variables - BUILT_IN}"
    labels = {label.strip() for group in GROUPED.findall(text) for label in group.split(",")}
    names = set(METRIC.findall(GROUPED.sub("", text)))
    missing = names - known.keys() - rare
    assert names and not missing, f"{title} names {missing or 'nothing'}"
    if names & rare:
        return
    there = set.union(*(known[name] for name in names))
    wanted = set(re.findall(r"\{\{(\w+)\}\}", legend)) | labels
    assert wanted <= there, f"{title}: {wanted - there} of {names}"


def check_places(panels):
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= WIDTH, panel["title"]
        assert not cells & taken, f"{panel['title']} is over another one"
        taken |= cells


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        dashboard = json.load(file)
    known, rare = samples(sys.argv[2]), set(sys.argv[3:])
    assert dashboard["id"] is None and dashboard["uid"] and dashboard["schemaVersion"] >= 36
    listed = dashboard["templating"]["list"]
    variables = {variable["name"] for variable in listed}
    for variable in listed:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", variable["query"]["query"]).groups()
            assert label in known[metric], variable["name"]
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels), "ids are unique"
    assert len({panel["title"] for panel in panels}) == len(panels), "titles are unique"
    check_places(panels)
    for panel in panels:
        title = panel["title"]
        assert panel["type"] in KINDS, title
        if panel["type"] == "row":
            continue
        assert panel["description"] and panel["datasource"]["uid"] == "${datasource}", title
        assert panel["fieldConfig"]["defaults"] is not None and panel["options"], title
        references = [target["refId"] for target in panel["targets"]]
        assert references and len(set(references)) == len(references), title
        for target in panel["targets"]:
            check_query(title, target["expr"], target["legendFormat"], known, rare, variables)
        print("ok", title)


main()
