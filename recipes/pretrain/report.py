#!/usr/bin/env python3
"""Whether pre-training has helped: report.py RUN. Exit 1 where it has not."""

import json
import pathlib
import sys

TYPES = ("rouge1", "rouge2", "rougeL")
TO_WIN = ("rouge1", "rouge2")
LEVEL = 0.05


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def main(run):
    arms = {arm: load(run / arm / "trained.json") for arm in ("with", "without")}
    compared = load(run / "beside-without.json")["baseline"]
    print("== with and without pre-training, the same time in all")
    print(f"{'':18}{'loss':>7}  " + "".join(f"{name:>8}{'p':>8}" for name in ("ROUGE-1", "ROUGE-2", "ROUGE-L")))
    for arm, scores in arms.items():
        print(f"{arm:18}{scores['loss']:>7.3f}  " + "".join(
            f"{100 * scores[t]['fmeasure']:>8.2f}" + (f"{compared[t]['p_value']:>8.3f}" if arm == "without" else " " * 8)
            for t in TYPES))
    events = [json.loads(line) for line in (run / "pretraining/metrics.jsonl").read_text().splitlines()]
    losses = [(e["step"], e["loss"]) for e in events if e["event"] == "validation"]
    print("loss of denoising:", ", ".join(f"{loss:.3f} at {step}" for step, loss in losses))
    helped = all(compared[t]["p_value"] < LEVEL for t in TO_WIN)
    print(f"{'Passed' if helped else 'FAILED'}: better with pre-training in ROUGE-1 and ROUGE-2 at p < {LEVEL}.")
    return 0 if helped else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: report.py RUN")
    sys.exit(main(pathlib.Path(sys.argv[1])))
