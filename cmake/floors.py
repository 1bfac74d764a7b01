#!/usr/bin/env python3
"""Fails when a file includes from a higher floor than its own (docs/architecture.md), or has a function of its own with the name of one that
everybody has: where files are compiled together (TROUPE_UNITY) those after it in its namespace would call that one, without a word."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUNTIME = ["model", "util", "schema", "policy", "config", "llm", "tools", "store", "queue", "metrics"]
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]', re.M)


def floor_of(path):
    """The floor's number of an include or a file below its root, or None for what is not ours."""
    parts = path.split("/")
    if parts[0] == "caf":
        return 90, "caf"
    if parts[:2] == ["troupe", "actors"]:
        return 100, "actors"
    if parts[0] == "troupe" and len(parts) > 2 and parts[1] in RUNTIME:
        return RUNTIME.index(parts[1]), parts[1]
    if parts[0] in ("mock_llm", "cli"):
        return 200, "apps"
    return None


FUNCTION = re.compile(r"^(?:\[\[\w+\]\] )?[A-Za-z_][\w:<>,&* ]*[ &*](\w+)\(")


def functions(file, anonymous):
    """Names of the functions at namespace level: those of anonymous namespaces, or the others."""
    names, inside = set(), []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("namespace ") and line.endswith("{"):
            inside.append(line == "namespace {")
        elif line.startswith("} // namespace") and inside:
            inside.pop()
        elif (any(inside) or line.startswith("static ")) == anonymous and (found := FUNCTION.match(line)):
            names.add(found[1])
    return names


def hiding():
    common = {}
    for floor in ("model", "util"):
        for header in sorted((ROOT / "libruntime/troupe" / floor).glob("*.hpp")):
            common.update(dict.fromkeys(functions(header, False), header))
    for top in ("libruntime", "actors", "apps"):
        for file in sorted((ROOT / top).rglob("*.cpp")):
            for name in sorted(functions(file, True) & common.keys()):
                yield f"{file.relative_to(ROOT)}: its own {name} hides that of {common[name].name}; give it another name"


def main():
    wrong = list(hiding())
    for top, base in (("libruntime", "libruntime"), ("actors", "actors"), ("apps", "apps")):
        for file in sorted((ROOT / top).rglob("*.[ch]pp")):
            relative = file.relative_to(ROOT / base).as_posix()
            own = (200, "apps") if top == "apps" else floor_of(relative)
            if own is None:
                wrong.append(f"{file.relative_to(ROOT)}: not on any floor ({', '.join(RUNTIME)})")
                continue
            text = file.read_text(encoding="utf-8")
            for name in INCLUDE.findall(text):
                other = floor_of(name)
                if other and other[0] > own[0]:
                    line = text[: text.index(name)].count("\n") + 1
                    wrong.append(f"{file.relative_to(ROOT)}:{line}: floor {own[1]} includes {name} from the higher floor {other[1]}")
            if own[1] == "policy":
                for clock in re.findall(r"(system_clock|steady_clock|random_device|<thread>|<fstream>)", text):
                    wrong.append(f"{file.relative_to(ROOT)}: a policy is pure, but this one names {clock}")
    print("\n".join(wrong) if wrong else "floors: every include goes down")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
