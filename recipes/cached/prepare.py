#!/usr/bin/env python3
"""Rows that `precis train` reads, from data sets that are published in another form.

prepare.py qmsum OUT.jsonl MEETING.json...       QMSum's own files, one a meeting: a row for each query
prepare.py join OUT.jsonl IN.jsonl FIELD...      JSON Lines whose FIELDs are lists of strings, as scenes or chapters are:
                                                 joined by line ends, everything else as it is
"""

import json
import pathlib
import sys


def meeting_rows(path):
    meeting = json.loads(path.read_text(encoding="utf-8"))
    turns = [f"{turn['speaker']}: {turn['content']}" for turn in meeting["meeting_transcripts"]]
    queries = meeting["general_query_list"] + meeting["specific_query_list"]
    for number, one in enumerate(queries):
        yield {"id": f"{path.stem}-{number}", "query": one["query"], "document": "\n".join(turns),
               "summary": one["answer"]}


def joined_rows(path, fields):
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line:
            continue
        row = json.loads(line)
        for field in fields:
            if not isinstance(row.get(field), list):
                sys.exit(f"{path}:{number}: '{field}' is no list")
            row[field] = "\n".join(row[field])
        yield row


def main():
    if len(sys.argv) < 4 or sys.argv[1] not in ("qmsum", "join"):
        sys.exit(__doc__)
    form, out, sources = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    if form == "qmsum":
        rows = [row for path in sorted(sources) for row in meeting_rows(pathlib.Path(path))]
    else:
        rows = list(joined_rows(pathlib.Path(sources[0]), sources[1:]))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{out}: {len(rows)} rows")


if __name__ == "__main__":
    main()
