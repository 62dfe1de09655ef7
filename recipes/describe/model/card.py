#!/usr/bin/env python3
"""Writes the model's card and what it was held out from: card.py MODEL SCORES DATA TRAINING. Exit 1, and no card, where
the model is not better than the first words in ROUGE-1, ROUGE-2 and ROUGE-L, on descriptions and on manuals."""

import hashlib
import json
import pathlib
import sys

TYPES = ("rouge1", "rouge2", "rougeL")
KINDS = {"": "", "-package": "descriptions", "-manual": "manuals"}
ROWS = [("**this model**", "trained"), ("descriptions", "trained-package"), ("manuals", "trained-manual"),
        ("the same, shuffled documents", "shuffled"), ("untrained", "untrained"),
        ("lead: the first {lead_words} words", "lead"), ("lead, descriptions", "lead-package"), ("lead, manuals", "lead-manual")]

CARD = """\
---
language: en
license: apache-2.0
pipeline_tag: summarization
---

# Describe: one line of what a text is about

A small BART that `precis` comes with: {parameters:,} parameters, {bytes:.1f} MB in bfloat16. It reads a description of
software or a manual page, of any length, and writes one English line. It is what `precis summarize FILE` uses where no
model is named, and what `scripts/demo` shows and fine-tunes. `transformers` loads it as well.

It is a demonstration, not a general summarizer: of other texts than descriptions of software it makes a line that
sounds like one and may be wrong, and of names that it has not read it often makes up others.

## Data

Debian 12's package descriptions and manual pages in English, as `recipes/describe/prepare.py` makes them of the
machine's own archive: {descriptions:,} descriptions and {manuals:,} manuals, {train:,} rows to train on,
{validation} to validate, {test} to test. No held-out row shares its source package, its beginning, a long paragraph or
its line with a training row (`recipes/describe/README.md`). The texts were written by Debian's maintainers and the
authors of the manuals, each under the licence of its package.

## Training

`recipes/describe/model/make`: {steps:,} updates of 32 documents, {epochs} epochs, seed {seed}, float32, by `precis train` on two cores of a
general machine without a GPU; `recipes/describe/model/init.yaml` and `train.yaml` are all of the settings. The kept
checkpoint is the one of step {best:,}, by ROUGE-1 on the validation rows.

## Scores

The {test} test rows, 4 beams, at most 32 tokens, arithmetic in float32; ROUGE F-measures with stemming and 95 % bootstrap intervals.

| | ROUGE-1 | ROUGE-2 | ROUGE-L |
| --- | --- | --- | --- |
{table}

`data.json` has the digest of the test rows: where the archive has changed, other rows are held out, some of which the
model has been trained on.
"""


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def cell(score):
    value, low, high = (100 * score[key] for key in ("fmeasure", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def main(model, scores, data, training):
    facts = load(data / "facts.json")
    results = {name: load(scores / f"{name}.json") for _, name in ROWS}
    behind = [f"{key} of {kind or 'all rows'}" for suffix, kind in KINDS.items() for key in TYPES
              if results["trained" + suffix][key]["fmeasure"] <= results["lead" + suffix][key]["fmeasure"]]
    events = [json.loads(line) for line in (training / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    start = next(event for event in events if event["event"] == "start")
    best = max((event for event in events if event["event"] == "validation"), key=lambda event: event["rouge1"])
    table = "\n".join(f"| {label.format(**facts)} | " + " | ".join(cell(results[name][key]) for key in TYPES) + " |"
                      for label, name in ROWS)
    print(table)
    if behind:
        print("card.py: lead is better in " + ", ".join(behind), file=sys.stderr)
        return 1
    steps, rows = start["total_steps"], start["training_documents"]
    (model / "README.md").write_text(CARD.format(
        **facts, parameters=start["parameters"], bytes=(model / "model.safetensors").stat().st_size / 1e6, steps=steps,
        epochs=round(steps * 32 / rows), best=best["step"], table=table), encoding="utf-8")
    digest = hashlib.sha256((data / "test.jsonl").read_bytes()).hexdigest()
    (model / "data.json").write_text(json.dumps({"seed": facts["seed"], "test_sha256": digest}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: card.py MODEL SCORES DATA TRAINING")
    sys.exit(main(*map(pathlib.Path, sys.argv[1:])))
