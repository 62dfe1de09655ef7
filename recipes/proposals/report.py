#!/usr/bin/env python3
"""Prints what a run of `study` has left in its folder: report.py RUN. Exit 1 where a control was not beaten."""

import json
import pathlib
import sys

TYPES = ("rouge1", "rouge2", "rougeL")
CONTROLS = ("shuffled", "shuffled-within", "untrained", "lead", "bag")
TO_BEAT = ("shuffled", "untrained")
LEVEL = 0.05


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def main(run):
    trained = load(run / "trained.json")
    print(f"{'':18}{'loss':>7}  " + "".join(f"{name:>8}{'p':>8}" for name in ("ROUGE-1", "ROUGE-2", "ROUGE-L")))
    print(f"{'trained':18}{trained['loss']:>7.3f}  " + "".join(f"{100 * trained[t]['fmeasure']:>8.2f}{'':>8}" for t in TYPES))
    beaten = True
    for name in CONTROLS:
        compared = load(run / f"beside-{name}.json")["baseline"]
        own = run / f"{name}.json"
        loss = f"{load(own)['loss']:7.3f}" if own.exists() else ""
        print(f"{name:18}{loss:>7}  " +
              "".join(f"{100 * compared[t]['fmeasure']:>8.2f}{compared[t]['p_value']:>8.3f}" for t in TYPES))
        if name in TO_BEAT:
            beaten &= all(compared[t]["p_value"] < LEVEL for t in ("rouge1", "rouge2"))
    print("p: the share of 1,000 paired resamples in which the trained model is not better.")
    losses = [(e["step"], e["loss"]) for e in map(json.loads, (run / "training/metrics.jsonl").read_text().splitlines())
              if e["event"] == "validation"]
    print("validation loss:", ", ".join(f"{loss:.3f} at {step}" for step, loss in losses))
    print(f"{'Passed' if beaten else 'FAILED'}: better than {' and '.join(TO_BEAT)} in ROUGE-1 and ROUGE-2 at p < {LEVEL}.")
    return 0 if beaten else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: report.py RUN")
    sys.exit(main(pathlib.Path(sys.argv[1])))
