#!/usr/bin/env python3
"""The raw text to pre-train on: corpus.py DATA OUT.jsonl.zst.

The documents, each once, of the training rows of DATA/{proposals,qmsum,squality}, and DATA/books. No summary is taken,
and no document that a validation row has."""

import json
import pathlib
import sys

import zstandard

SETS = ("proposals", "qmsum", "squality")


def read_rows(path):
    with open(path, "rb") as file:
        text = zstandard.ZstdDecompressor().stream_reader(file).read().decode("utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def documents(data):
    """(where it is from, text), each text once."""
    seen = {row["document"] for name in SETS for row in read_rows(data / name / "validation.jsonl.zst")}
    for name, file in [*((name, "train") for name in SETS), ("books", "books")]:
        for i, row in enumerate(read_rows(data / name / f"{file}.jsonl.zst")):
            if row["document"] not in seen:
                seen.add(row["document"])
                yield f"{name}/{i + 1}", row["document"]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.split("\n")[0])
    count = words = 0
    with zstandard.ZstdCompressor().stream_writer(open(sys.argv[2], "wb")) as out:
        for name, text in documents(pathlib.Path(sys.argv[1])):
            out.write((json.dumps({"id": name, "document": text}, ensure_ascii=False) + "\n").encode("utf-8"))
            count += 1
            words += len(text.split())
    print(f"{count:,} documents of {words:,} words to pre-train on")


if __name__ == "__main__":
    main()
