#!/usr/bin/env python3
"""The memory plan of `precis train` beside the peak that the process reached, for each schedule and program.

peaks.py DATA [PROGRAM...]: DATA is a folder with train.jsonl.zst (recipes/proposals), a PROGRAM another build to
compare with build/precis, as a path from the top of the tree. Prints a table: the two longest documents alone under
each schedule, and 250 updates of all documents in random order, which is what breaks an allocator's memory into pieces.
"""

import json
import pathlib
import shutil
import subprocess
import sys

import zstandard

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUN = ROOT / "build" / "memory"
MIB = 2**20
CONFIG = """
model: build/memory/model
output: build/memory/out
window: 128
max_target_tokens: 512
target_overflow: truncate
schedule: {name: constant, warmup_steps: 0}
data: {train: [build/memory/all.jsonl]}
"""


def call(program, *arguments):
    subprocess.run([ROOT / program, *arguments, "--quiet"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def prepare(source):
    shutil.rmtree(RUN, ignore_errors=True)
    RUN.mkdir(parents=True)
    reader = zstandard.ZstdDecompressor().stream_reader(open(source / "train.jsonl.zst", "rb"))
    lines = [line + "\n" for line in reader.read().decode("utf-8").split("\n") if line]
    (RUN / "all.jsonl").write_text("".join(lines), encoding="utf-8")
    lines.sort(key=lambda line: -len(json.loads(line)["document"]))
    (RUN / "long.jsonl").write_text("".join(lines[:2]), encoding="utf-8")
    (RUN / "train.yaml").write_text(CONFIG, encoding="utf-8")
    call("build/precis", "tokenizer", "train", "--vocab-size", "4000", "--out", RUN / "tokenizer", RUN / "all.jsonl")
    call("build/precis", "init", "recipes/proposals/init.yaml", RUN / "model", "tokenizer=build/memory/tokenizer")


def measure(program, name, *overrides):
    shutil.rmtree(RUN / "out", ignore_errors=True)
    call(program, "train", RUN / "train.yaml", *overrides)
    events = [json.loads(line) for line in open(RUN / "out" / "metrics.jsonl", encoding="utf-8")]
    plan, peak = events[0]["planned_bytes"], events[-1]["peak_memory_bytes"]
    print(f"| {name} | {program} | {plan / MIB:.0f} | {peak / MIB:.0f} | {peak / plan:.2f} | "
          f"{events[-1]['seconds']:.1f} |", flush=True)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    prepare(pathlib.Path(sys.argv[1]).resolve())
    print("| run | program | plan, MiB | peak, MiB | peak / plan | seconds |\n| --- | --- | --- | --- | --- | --- |")
    programs = ["build/precis", *sys.argv[2:]]
    for schedule in ("kept", "cached", "streamed"):
        for program in programs:
            measure(program, f"longest, {schedule}", f"encoder.schedule={schedule}", "steps=3",
                    "data.train=build/memory/long.jsonl", "batch.documents=1")
    for program in programs:
        measure(program, "all, cached", "encoder.schedule=cached", "steps=250", "batch.documents=4")


if __name__ == "__main__":
    main()
