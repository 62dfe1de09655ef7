#!/usr/bin/env python3
"""The controls of a validation set: controls.py TRAIN.jsonl.zst VALIDATION.jsonl.zst OUT.

Writes shuffled.jsonl (each document exchanged for another row's) and shuffled-within.jsonl (for one of the same source);
as predictions lead-predictions.jsonl (the first words) and bag-predictions.jsonl (the same frequent words everywhere)."""

import collections
import json
import pathlib
import random
import re
import sys

import zstandard


def read_rows(path):
    with open(path, "rb") as file:
        text = zstandard.ZstdDecompressor().stream_reader(file).read().decode("utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def shuffled(rows, seed, within=None):
    """The same rows, each with the document of another one; with `within`, of one that has the same value there."""
    groups = collections.defaultdict(list)
    for i, row in enumerate(rows):
        groups[row[within] if within else None].append(i)
    result = [dict(row) for row in rows]
    draw = random.Random(seed)
    for places in groups.values():
        draw.shuffle(places)
        for i, place in enumerate(places):
            result[place]["document"] = rows[places[i - 1]]["document"]
    return result


def mean_words(rows):
    return round(sum(len(row["summary"].split()) for row in rows) / len(rows))


def lead(rows, words):
    return [{"id": row["id"], "prediction": " ".join(row["document"].split()[:words])} for row in rows]


def bag(rows, train_rows, words):
    """The words that most training summaries have: no document is looked at."""
    count = collections.Counter()
    for row in train_rows:
        count.update(set(re.findall(r"[a-z0-9]+", row["summary"].lower())))
    text = " ".join(word for word, _ in count.most_common(words))
    return [{"id": row["id"], "prediction": text} for row in rows]


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__.split("\n")[0])
    train_rows, rows, out = read_rows(sys.argv[1]), read_rows(sys.argv[2]), pathlib.Path(sys.argv[3])
    words = mean_words(rows)
    write_rows(out / "shuffled.jsonl", shuffled(rows, seed=1))
    write_rows(out / "shuffled-within.jsonl", shuffled(rows, seed=1, within="source"))
    write_rows(out / "lead-predictions.jsonl", lead(rows, words))
    write_rows(out / "bag-predictions.jsonl", bag(rows, train_rows, words))
    print(f"{len(train_rows)} rows to train on, {len(rows)} to validate; lead and bag of {words} words")


if __name__ == "__main__":
    main()
