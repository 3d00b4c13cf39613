"""Writes the benchmark pages of the docs from the files in `benchmarks/results`.

Each file answers one question and becomes one table: `question`, `command` (a list of lines),
`machine`, `versions`, `commit` (the one that introduced the figures; a row may name its own),
`notes`, and `rows` in the form of `harness.row`. Unknown values are null.

  python benchmarks/pages.py
  python benchmarks/pages.py --check
"""

import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCS = ROOT / "docs" / "benchmarks"

# Page, its title, and the results on it in order.
PAGES = {
    "training_cpu": (
        "Training and inference on a CPU",
        (
            "training_cpu_float32",
            "training_cpu_bfloat16",
            "training_cpu_fused",
            "training_cpu_float32_xla",
            "training_cpu_bfloat16_compiled",
            "inference_cpu_float32",
            "growth_with_time_cpu",
            "memory_cpu",
        ),
    ),
    "training_gpu": (
        "Training on a GPU",
        ("training_gpu_float32", "training_gpu_bfloat16", "memory_gpu"),
    ),
    "dep": ("DEP", ("dep_cpu",)),
    "defences": ("Methods of training", ("defences_cpu",)),
    "attacks": ("Attacks", ("attacks_cpu", "reliable_suite_cpu")),
    "curvature": ("Curvature", ("curvature_cpu",)),
    "input": ("Input", ("input_cpu",)),
    "scale": ("One run on several workers", ("scale_cpu",)),
}
FIELDS = ("question", "command", "machine", "versions", "commit", "notes", "rows")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--check", action="store_true", help="fail where a page is out of date")
    if options.parse_args().check:
        stale = [name for name, text in pages().items() if read(name) != text]
        if stale:
            sys.exit(f"pages: {', '.join(stale)} differ from benchmarks/results; run make docs.")
        return
    DOCS.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (DOCS / name).write_text(text)


def read(name):
    """Returns the page on disk, or an empty string."""
    path = DOCS / name
    return path.read_text() if path.exists() else ""


def pages():
    """Returns the text of every page by file name."""
    listed = {result for _, results in PAGES.values() for result in results}
    found = {path.stem for path in RESULTS.glob("*.json")}
    if listed != found:
        raise ValueError(f"PAGES must list the files of {RESULTS}; differs in {listed ^ found}.")
    return {f"{name}.md": _page(title, names) for name, (title, names) in PAGES.items()}


def _page(title, names):
    parts = [
        # Tables are wide.
        "---\nhide:\n  - toc\n---",
        f"# {title}",
        "<!-- Written by benchmarks/pages.py from benchmarks/results; do not edit. -->",
    ]
    parts += [_section(name) for name in names]
    return "\n\n".join(parts) + "\n"


def _section(name):
    record = json.loads((RESULTS / f"{name}.json").read_text())
    if tuple(record) != FIELDS:
        raise ValueError(f"{name}.json must have the fields {FIELDS}; received {tuple(record)}.")
    parts = [
        f"## {record['question']}",
        "```bash\n" + "\n".join(record["command"]) + "\n```",
        table(record["rows"]),
    ]
    if record["notes"]:
        parts.append("\n".join(f"- {note}" for note in record["notes"]))
    parts.append(_provenance(name, record))
    return "\n\n".join(parts)


def table(rows):
    """Formats rows as Markdown: a line per case, metric and backend, columns per peer."""
    metrics = _distinct(row["metric"] for row in rows)
    peers = [peer for peer in _distinct(row["peer_name"] for row in rows) if peer]
    columns = ["case", "backend", *(["metric"] if len(metrics) > 1 else []), "keras_dep"]
    cells = {}
    for row in rows:
        key = [row["case"], row["backend"], *([row["metric"]] if len(metrics) > 1 else [])]
        line = cells.setdefault(tuple(key), {"keras_dep": row["ours"]})
        if line["keras_dep"] != row["ours"]:
            raise ValueError(f"ours must be one value in {key}; received {row['ours']} too.")
        if row["peer_name"] in line:
            raise ValueError(f"{row['peer_name']} must occur once in {key}; received it twice.")
        if row["peer_name"]:
            line[row["peer_name"]] = row["peer"]
            line["ratio", row["peer_name"]] = row["ratio"]
    wanted = ["keras_dep"]
    for peer in peers:
        for column, title in ((peer, peer), (("ratio", peer), f"ratio to {peer}")):
            if any(line.get(column) is not None for line in cells.values()):
                wanted.append(column)
                columns.append(title)
    lines = [columns, ["---"] * (len(columns) - len(wanted)) + ["---:"] * len(wanted)]
    for key, line in cells.items():
        lines.append([*key, *(_number(line.get(column)) for column in wanted)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _provenance(name, record):
    own = _distinct(row["commit"] for row in record["rows"] if "commit" in row)
    commits = ", ".join(f"`{commit}`" for commit in _distinct([record["commit"], *own]))
    return (
        f"Machine: {_facts(record['machine'])}. Versions: {_facts(record['versions'])}. "
        f"Commit: {commits}. Data: `benchmarks/results/{name}.json`."
    )


def _facts(facts):
    known = [f"{name} {value}" for name, value in facts.items() if value is not None]
    unknown = [name for name, value in facts.items() if value is None]
    return ", ".join(known + ([f"not recorded: {', '.join(unknown)}"] if unknown else []))


def _number(value):
    return "" if value is None else f"{value:g}"


def _distinct(values):
    return list(dict.fromkeys(values))


if __name__ == "__main__":
    main()
