#!/usr/bin/env python3
"""Prints the results of scripts/demo from the files below one folder, part by part."""

import hashlib
import json
import os
import pathlib
import sys
import textwrap

FACTOR = 2  # the model must reach this many times its score on shuffled documents
BOX = pathlib.Path(__file__).resolve().parents[2] / "models" / "describe"
LEAD = ("first {words} words", "lead")
BOX_SCORES = [("comes with precis", "box"), ("  descriptions", "box-package"), ("  manual pages", "box-manual"), LEAD]
SCORES = [("trained model", "trained"), ("  descriptions", "trained-package"), ("  manual pages", "trained-manual"),
          ("same, shuffled documents", "shuffled"), ("untrained model", "untrained"), LEAD]
GERMAN_SCORES = [("before", "german-before"), ("after", "german-after")]
COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def bold(text):
    return f"\033[1m{text}\033[0m" if COLOUR else text


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def print_table(scores, run, data):
    facts = load(data / "facts.json")
    print(bold(f"{'ROUGE, 95 % intervals':26}{'ROUGE-1':>17}{'ROUGE-2':>17}{'ROUGE-L':>17}"))
    for i, (label, name) in enumerate(scores):
        result = load(run / f"{name}.json")
        line = f"{label.format(words=facts['lead_words']):26}"
        for key in ("rouge1", "rouge2", "rougeL"):
            value, low, high = (100 * result[key][field] for field in ("fmeasure", "low", "high"))
            line += f"{f'{value:.1f} [{low:.1f} {high:.1f}]':>17}"
        print(bold(line) if i == 0 else line)


def print_scores(run, data):
    print_table(SCORES, run, data)


def held_out(data):
    """Whether the model that comes with precis has read none of the test rows: only of the data that it was made from."""
    return load(BOX / "data.json")["test_sha256"] == hashlib.sha256((data / "test.jsonl").read_bytes()).hexdigest()


def print_box(run, data):
    if held_out(data):
        print_table(BOX_SCORES, run, data)
    else:
        print("Of this split the model has read some test rows: its scores would say nothing.")
    print()
    print_lines(run, data, "test", ["box"], ["the model's line"], 12)


def columns(cells, widths):
    wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths)]
    for i in range(max(map(len, wrapped))):
        line = "  ".join((part[i] if i < len(part) else "").ljust(width) for part, width in zip(wrapped, widths))
        yield line.rstrip()


def print_lines(run, data, test, names, titles, count):
    """A table of the first packages' real lines and those of the predictions NAME.jsonl."""
    predictions = [{row["id"]: row["prediction"].strip() for row in rows(run / f"{name}.jsonl")} for name in names]
    chosen = [row for row in rows(data / f"{test}.jsonl") if row["kind"] == "description"][:count]
    widths = (20, 28, 28) if len(names) == 1 else (14, 20, 20, 20)
    print(bold(next(columns(("package", "its real line", *titles), widths))))
    for row in chosen:
        name = row["id"].removeprefix("package/")
        print("\n".join(columns((name, row["summary"], *(lines[row["id"]] for lines in predictions)), widths)))


def print_examples(run, data):
    print_lines(run, data, "test", ["trained"], ["the model's line"], 12)


def print_german(run, data):
    print_table(GERMAN_SCORES, run, data)
    print()
    print_lines(run, data, "german-test", ["german-before", "german-after"], ["before", "after"], 6)


def print_longest(run, data):
    facts, result = load(data / "facts.json")["longest"], load(run / "longest.json")
    name = facts["id"].removeprefix("manual/")
    print(bold(f"The longest manual page, {name}: {facts['words']:,} words, none of them cut off"))
    print(f"  tokens read  {result['input_tokens']:>10,}    peak memory  {result['peak_memory_bytes'] / 2**20:>7,.0f} MiB")
    print(f"  windows      {result['windows']:>10,}    seconds      {result['seconds']['total']:>7.1f}")
    print("\n".join(columns(("its real line", facts["summary"]), (18, 60))))
    print("\n".join(columns(("the model's line", result["summary"].strip()), (18, 60))))


def print_verdict(run, _, judged):
    """True where the models pass; a short run is not judged."""
    trained, shuffled = (100 * load(run / f"{name}.json")["rouge1"]["fmeasure"] for name in ("trained", "shuffled"))
    ratio = f"{trained / shuffled:.2f} times" if shuffled > 0 else "against 0 of"
    before, after = (100 * load(run / f"german-{name}.json")["rouge1"]["fmeasure"] for name in ("before", "after"))
    print(bold(f"From scratch: ROUGE-1 of {trained:.1f} is {ratio} that with shuffled documents, {shuffled:.1f}."))
    print(bold(f"Fine-tuned: ROUGE-1 in German from {before:.1f} to {after:.1f}."))
    if judged != "judged":
        print(f"This run was too short to judge; the full one must reach {FACTOR} times, and gain in German.")
        return True
    passed = trained > 0 and trained >= FACTOR * shuffled and after > before
    print(f"{'Passed' if passed else 'FAILED'}: at least {FACTOR} times was wanted, and a gain in German.")
    return passed


PARTS = {"box": print_box, "longest": print_longest, "scores": print_scores, "examples": print_examples,
         "german": print_german, "verdict": print_verdict}

if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] not in PARTS:
        sys.exit(f"usage: report.py {'|'.join(PARTS)} RUN DATA [judged|short]")
    part, folders = PARTS[sys.argv[1]], [pathlib.Path(name) for name in sys.argv[2:4]]
    sys.exit(1 if part(*folders, *sys.argv[4:]) is False else 0)
