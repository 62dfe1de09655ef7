"""What a run keeps exactly: the documents of every update across a resume (RELIABILITY, case 8), and its weights where a
loss is not finite (case 11)."""

import json
import re
import shutil
import signal
import subprocess
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from train_support import (PROGRAM, bytes_of, checkpoints, config_of, events, text_of, train, write_model, write_rows,
                           write_world)

KEYS = ("step", "loss", "learning_rate", "grad_norm", "source_tokens", "target_tokens")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("train_exact"))


@pytest.fixture(scope="module")
def powers(world):
    """Rows of 3^i tokens: the base-3 digits of an update's source tokens are how often each row is in it."""
    tokenizer = AutoTokenizer.from_pretrained(world / "model")
    rows = [{"id": f"r{i}", "document": text_of(tokenizer, 3**i, i + 1), "summary": "on the in"} for i in range(7)]
    write_rows(world / "powers.jsonl", rows)
    return rows


def documents_of(step):
    tokens, counts = step["source_tokens"], []
    for _ in range(7):
        tokens, count = divmod(tokens, 3)
        counts.append(count)
    assert tokens == 0
    return counts


def steps_of(output, after=0):
    return [[event[key] for key in KEYS] for event in events(output, "step") if event["step"] > after]


def run_of(world, output, **changes):
    config = config_of(world, output, **{"data": {"train": [str(world / "powers.jsonl")]}, "steps": 20,
                                         "validation": {"every": 0}, "checkpoint": {"every": 10, "keep": 9}, **changes})
    del config["data"]["validation"]
    return config


@pytest.mark.parametrize("documents, accumulation", [(2, 2), (1, 3), (3, 1)])
def test_ten_steps_and_ten_more_are_twenty(world, powers, tmp_path, documents, accumulation):
    """7 rows: epochs end within updates and within their accumulation."""
    batch = {"documents": documents, "accumulation": accumulation}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(tmp_path, run_of(world, whole, batch=batch))
    shutil.copytree(whole / "step-00000010", parts / "step-00000010")
    train(tmp_path, run_of(world, parts, batch=batch))
    assert events(parts, "start")[0]["step"] == 10
    assert steps_of(whole, after=10) == steps_of(parts)
    assert bytes_of(whole / "step-00000020") == bytes_of(parts / "step-00000020")
    # Every epoch has each row once, whatever updates its rows fall into.
    counts = [documents_of(step) for step in events(whole, "step")]
    assert all(sum(of_step) == documents * accumulation for of_step in counts)
    totals = [sum(of_row) for of_row in zip(*counts)]
    assert max(totals) - min(totals) <= 1


def test_a_stop_inside_an_accumulation_gives_the_update_up(world, powers, tmp_path):
    """100 documents an update: the signal comes within the second one, which resume does again from its first document."""
    changes = {"batch": {"documents": 1, "accumulation": 100}, "steps": 3, "checkpoint": {"every": 0}}
    train(tmp_path, run_of(world, tmp_path / "whole", **changes))
    config = run_of(world, tmp_path / "parts", **changes)
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    process = subprocess.Popen([PROGRAM, "train", "config.yaml", "--quiet"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    metrics = tmp_path / "parts" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and events(tmp_path / "parts", "step")):
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    done = len(events(tmp_path / "parts", "step"))
    assert checkpoints(tmp_path / "parts") == [f"step-{done:08d}"] and 0 < done < 3
    train(tmp_path, config)
    assert steps_of(tmp_path / "whole") == steps_of(tmp_path / "parts")
    assert bytes_of(tmp_path / "whole" / "latest") == bytes_of(tmp_path / "parts" / "latest")


Q = 4 + ord("q") - ord("!")  # its token


def spoil_states(weights):
    """Each weight is finite, and what a `q` reads at its 40th position is not: the states are no numbers."""
    weights["model.encoder.embed_tokens.weight"][Q, 3] = 3e38
    weights["model.encoder.embed_positions.weight"][42, 3] = 3e38


def spoil_bias(weights):
    """A `q` in a target has no probability at all: the loss is infinite, and no other one is touched."""
    weights["final_logits_bias"][0, Q] = -float("inf")


SPOILT = {"nan": (spoil_states, {"document": "q" * 50, "summary": "on"}),
          "inf": (spoil_bias, {"document": "an the of", "summary": "q"})}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", SPOILT)
def test_one_micro_batch_that_is_not_finite(world, tmp_path, kind, seed):
    """One document of seven, three an update, one at a time; nothing of a step is logged under --quiet."""
    spoil, bad = SPOILT[kind]
    write_model(tmp_path / "model", positions=64, dtype=torch.float32, tie_word_embeddings=False)
    weights = load_file(tmp_path / "model" / "model.safetensors")
    spoil(weights)
    (tmp_path / "model" / "model.safetensors").unlink()
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    rows = [{"id": f"r{i}", "document": "an the of " * (i + 1), "summary": "on the"} for i in range(6)]
    write_rows(tmp_path / "rows.jsonl", [*rows, {"id": "bad", **bad}])
    config = config_of(world, tmp_path / "out", model=str(tmp_path / "model"), data={"train": [str(tmp_path / "rows.jsonl")]},
                       seed=seed, steps=9, batch={"documents": 1, "accumulation": 3}, checkpoint={"every": 0}, dropout=0,
                       attention_dropout=0, schedule={"name": "constant", "warmup_steps": 0}, validation={"every": 0})
    del config["data"]["validation"]
    done = train(tmp_path, config, "--quiet", expect=6)
    assert re.search(rf"documents bad: the loss is not finite; the weights are untouched; found -?{kind}", done.stderr)
    finished = len(events(tmp_path / "out", "step"))
    assert finished < 3 and events(tmp_path / "out", "end")[-1]["reason"] == "non_finite"
    # The weights, and the optimiser, are those of the update before.
    if finished == 0:
        assert checkpoints(tmp_path / "out") == []
    else:
        assert checkpoints(tmp_path / "out") == [f"step-{finished:08d}"]
        train(tmp_path, {**config, "output": str(tmp_path / "clean"), "steps": finished})
        assert bytes_of(tmp_path / "out" / "latest") == bytes_of(tmp_path / "clean" / "latest")
    # And it stops there again, not one document later.
    assert train(tmp_path, config, "--quiet", expect=6).stderr == done.stderr
