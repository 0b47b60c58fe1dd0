"""What the licences of the libraries in the program say: libraries.py < metadata > libraries.txt.

Reads the answer of `cargo metadata --locked --filter-platform TARGET` on standard input. Libraries whose texts are the same
share one. A library without a text of its own in its package is listed with the names of its licences.
"""

import json
import pathlib
import sys

FILES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE")
RULE = "=" * 80


def in_program(metadata):
    """The packages that the program is built from, tests and build scripts left out."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    todo = [package["id"] for package in metadata["packages"] if package["name"] == "plimsoll"]
    seen = set()
    while todo:
        identity = todo.pop()
        if identity in seen:
            continue
        seen.add(identity)
        for dependency in nodes[identity]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                todo.append(dependency["pkg"])
    return [packages[identity] for identity in seen if packages[identity]["source"]]


def texts(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name.upper().startswith(FILES))
    return [path.read_text(encoding="utf-8", errors="replace").strip() for path in files]


def main():
    by_text, without = {}, []
    for package in in_program(json.load(sys.stdin)):
        name = f"{package['name']} {package['version']} ({package['license'] or 'see its text'})"
        found = texts(package)
        if not found:
            without.append(name)
        for text in found:
            by_text.setdefault(text, set()).add(name)
    print("Plimsoll contains these libraries. What their licences say:\n")
    for text, names in sorted(by_text.items(), key=lambda pair: sorted(pair[1])):
        print(RULE, *sorted(names), RULE, text, "", sep="\n")
    if without:
        print(RULE, "Without a text of their own in their packages, under the licences that are named:", sep="\n")
        print(*sorted(without), sep="\n")


main()
