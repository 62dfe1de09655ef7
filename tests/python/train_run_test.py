"""Runs of `precis train`: record, stops, full disks, refusals."""

import json
import os
import re
import resource
import signal
import subprocess
import time

import pytest
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from train_support import (PROGRAM, bytes_of, checkpoints, config_of, events, train, write_model, write_rows,
                           write_world)

SHORT_FIRST = 3  # a seed whose order of two rows is the file's


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("train_run"))


def test_a_run_leaves_its_record(world, tmp_path):
    done = train(tmp_path, config_of(world, tmp_path / "out"))
    out = tmp_path / "out"
    assert done.stdout.strip() == str(out / "step-00000012")
    assert "memory plan" in done.stderr
    steps = events(out, "step")
    assert [step["step"] for step in steps] == list(range(1, 13))
    for key in ("loss", "learning_rate", "grad_norm", "source_tokens", "target_tokens", "seconds",
                "peak_memory_bytes"):
        assert all(step[key] > 0 for step in steps[:-1]), key
    assert [e["event"] for e in events(out)][0] == "start" and events(out)[-1]["event"] == "end"
    assert [e["step"] for e in events(out, "validation")] == [4, 8, 12]
    validation = events(out, "validation")[0]
    assert {"loss", "rouge1", "rouge2", "rougeL", "rougeLsum"} <= set(validation)
    assert (out / "latest").resolve() == out / "step-00000012"
    best = max(events(out, "validation"), key=lambda e: (e["rouge1"], -e["step"]))
    assert (out / "best").resolve() == out / f"step-{best['step']:08d}"
    assert len(checkpoints(out)) <= 3
    assert yaml.safe_load((out / "config.yaml").read_text())["optimizer"]["learning_rate"] == 1e-3
    generation = json.loads((out / "latest" / "generation_config.json").read_text())
    assert generation["num_beams"] == 2 and generation["max_length"] == 12
    model, report = AutoModelForSeq2SeqLM.from_pretrained(out / "latest", output_loading_info=True)
    assert not any(report.values())
    assert AutoTokenizer.from_pretrained(out / "latest")("the of")["input_ids"]
    assert model.generation_config.num_beams == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_the_run_goes_on(world, tmp_path, number):
    config = config_of(world, tmp_path / "out", steps=400, validation={"every": 0},
                       checkpoint={"every": 0}, schedule={"name": "constant"})
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    # Under nohup the program ignores SIGHUP, and its tests may run under it.
    process = subprocess.Popen([PROGRAM, "train", "config.yaml"], cwd=tmp_path, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    metrics = tmp_path / "out" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and len(events(tmp_path / "out", "step")) >= 3):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    [saved] = checkpoints(tmp_path / "out")
    last = events(tmp_path / "out", "step")[-1]["step"]
    assert saved == f"step-{last:08d}"
    assert events(tmp_path / "out", "end")[-1]["reason"] == "terminated"
    config["steps"] = last + 2
    train(tmp_path, config)
    assert events(tmp_path / "out", "start")[-1]["step"] == last
    assert events(tmp_path / "out", "step")[-1]["step"] == last + 2


def test_a_loss_that_is_not_finite_never_reaches_the_weights(world, tmp_path):
    config = config_of(world, tmp_path / "out", steps=50, validation={"every": 0}, checkpoint={"every": 1},
                       optimizer={"name": "sgd", "learning_rate": 1e30, "clip_norm": 0}, dropout=0)
    done = train(tmp_path, config, expect=6)
    assert "not finite" in done.stderr and "documents r" in done.stderr
    last = load_file(tmp_path / "out" / "latest" / "model.safetensors")
    assert events(tmp_path / "out", "end")[-1]["reason"] == "non_finite"
    assert all(tensor.isfinite().all() for tensor in last.values())


def test_a_validation_loss_that_is_not_finite_ends_the_run(world, tmp_path):
    """The only update overflows the weights: no loss of training shows it."""
    config = config_of(world, tmp_path / "out", steps=1, validation={"generate": False}, checkpoint={"every": 0},
                       optimizer={"name": "sgd", "learning_rate": 1e30, "clip_norm": 0}, dropout=0,
                       schedule={"name": "constant", "warmup_steps": 0})
    assert "validation loss is not finite" in train(tmp_path, config, expect=6).stderr
    assert checkpoints(tmp_path / "out") == [] and events(tmp_path / "out", "end")[-1]["reason"] == "non_finite"


def test_output_folder_in_use_or_not_writable(world, tmp_path):
    config = config_of(world, tmp_path / "out", steps=2)
    (tmp_path / "out").mkdir()
    import fcntl
    with open(tmp_path / "out" / ".lock", "w") as lock:
        lock.write("4242")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = train(tmp_path, config, expect=5)
        assert "another process" in done.stderr and "4242" in done.stderr
    train(tmp_path, config)  # the lock file is stale now
    (tmp_path / "file").write_text("")
    done = train(tmp_path, config, f"output={tmp_path / 'file' / 'out'}", expect=5)
    assert str(tmp_path / "file") in done.stderr


def test_a_full_disk_keeps_the_previous_checkpoint(world, tmp_path):
    """RLIMIT_FSIZE stands for the disk: half of the weights fit."""
    config = config_of(world, tmp_path / "out", steps=4, validation={"every": 0}, optimizer={"name": "sgd"})
    train(tmp_path, config)
    before = bytes_of(tmp_path / "out" / "step-00000004")
    config["steps"] = 8
    limit = len(before["model.safetensors"]) // 2
    done = train(tmp_path, config, expect=5, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert "model.safetensors" in done.stderr and "bytes" in done.stderr
    assert checkpoints(tmp_path / "out") == ["step-00000004"]
    assert bytes_of(tmp_path / "out" / "step-00000004") == before
    assert not list((tmp_path / "out").glob(".tmp-*"))


@pytest.mark.slow
def test_memory_that_is_used_up_keeps_the_last_update(world, tmp_path):
    """RLIMIT_AS stands for the machine's memory: the second row's encoder graph does not fit."""
    write_rows(tmp_path / "rows.jsonl", [{"document": "an the", "summary": "on"},
                                         {"document": "an the of " * 100_000, "summary": "a paper"}])
    config = config_of(world, tmp_path / "out", steps=2, data={"train": [str(tmp_path / "rows.jsonl")], "validation": []},
                       batch={"documents": 1, "accumulation": 1}, encoder={"schedule": "kept"}, dropout=0,
                       attention_dropout=0, seed=SHORT_FIRST)
    limit = 3 * 2**29
    done = train(tmp_path, config, expect=5, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    assert "out of memory" in done.stderr
    assert [step["step"] for step in events(tmp_path / "out", "step")] == [1]
    assert events(tmp_path / "out", "end")[-1]["reason"] == "out_of_memory"
    assert checkpoints(tmp_path / "out") == ["step-00000001"]


def test_dry_run_and_print_config_write_nothing(world, tmp_path):
    config = config_of(world, tmp_path / "out")
    done = train(tmp_path, config, "--dry-run")
    assert "memory plan" in done.stdout and "total" in done.stdout
    done = train(tmp_path, config, "--print-config", "optimizer.eps=1e-7")
    assert "eps: 1.0e-07  # command line" in done.stdout
    assert "clip_norm: 1.0  # default" in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_memory_budget_that_cannot_be_met_is_refused_with_the_plan(world, tmp_path):
    done = train(tmp_path, config_of(world, tmp_path / "out"), "--memory-budget", "100kB", expect=2)
    *plan, error = done.stderr.splitlines()
    assert any("weights" in line for line in plan) and "memory budget can't be met; expected at least" in error
    done = train(tmp_path, config_of(world, tmp_path / "out"), "--memory-budget", "100kB", "--quiet", expect=2)
    least = re.compile(r"at least [0-9.]+ [MG]iB")  # what the program itself takes differs from run to run
    assert least.sub("", done.stderr) == least.sub("", error) + "\n" and least.search(error)
    assert not checkpoints(tmp_path / "out")


def test_a_validation_that_the_model_has_no_room_for_is_a_mistake_of_the_configuration(world, tmp_path):
    config = config_of(world, tmp_path / "out", validation={"max_length": 5000})
    assert "max_length" in train(tmp_path, config, expect=2).stderr
    config = config_of(world, tmp_path / "out", validation={"num_beams": 2000})
    assert "validation.num_beams" in train(tmp_path, config, expect=2).stderr


def test_layerdrop_and_unbuilt_schedules_are_refused(world, tmp_path):
    write_model(tmp_path / "model", positions=64, encoder_layerdrop=0.1)
    done = train(tmp_path, config_of(world, tmp_path / "out"), f"model={tmp_path / 'model'}", expect=2)
    assert "encoder_layerdrop" in done.stderr
    done = train(tmp_path, config_of(world, tmp_path / "out"), "encoder.schedule=layer_synchronous",
                 expect=2)
    assert "not built" in done.stderr and "layer_synchronous" in done.stderr


@pytest.mark.parametrize("row, code, words", [
    ('{"id": "x", "document": "the"}', 3, ["row 'x'", "no summary", ":2"]),
    ('{"id": "x", "document": "the", "summary": ""}', 3, ["row 'x'", "on_empty_summary"]),
    ('{"document": "the", "summary": "of"', 3, [":2:"]),
    ('{"id": "x", "summary": "of"}', 3, ["document"]),
    (json.dumps({"id": "x", "document": "the", "summary": "of the an " * 40}), 3, ["row 'x'", "target_overflow"]),
])
def test_bad_rows(world, tmp_path, row, code, words):
    (tmp_path / "bad.jsonl").write_text('{"document": "an", "summary": "of"}\n' + row + "\n")
    done = train(tmp_path, config_of(world, tmp_path / "out"), f"data.train={tmp_path / 'bad.jsonl'}", expect=code)
    for word in words:
        assert word in done.stderr, done.stderr


def test_rows_may_be_skipped_and_targets_cut_and_both_are_told(world, tmp_path):
    rows = ['{"document": "an", "summary": "of"}', '{"document": "the", "summary": ""}',
            json.dumps({"document": "the", "summary": "of the an " * 40})]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    done = train(tmp_path, config_of(world, tmp_path / "out", steps=1), f"data.train={tmp_path / 'rows.jsonl'}",
                 "data.on_empty_summary=skip", "target_overflow=truncate")
    assert "1 rows without a summary" in done.stderr and "1 targets are cut" in done.stderr


def test_a_set_smaller_than_a_batch_and_an_empty_one(world, tmp_path):
    (tmp_path / "one.jsonl").write_text('{"document": "an", "summary": "of"}')
    train(tmp_path, config_of(world, tmp_path / "out", steps=2), f"data.train={tmp_path / 'one.jsonl'}")
    (tmp_path / "none.jsonl").write_text("\n")
    done = train(tmp_path, config_of(world, tmp_path / "out2"), f"data.train={tmp_path / 'none.jsonl'}", expect=3)
    assert "no rows" in done.stderr
    done = train(tmp_path, config_of(world, tmp_path / "out3"), f"data.train={tmp_path}", expect=3)
    assert "directory" in done.stderr


@pytest.mark.slow
def test_time_limit_ends_the_run_and_the_rate_falls_with_the_clock(world, tmp_path):
    config = config_of(world, tmp_path / "out", steps=100000, time_limit=2.0, validation={"every": 0})
    train(tmp_path, config)
    steps = events(tmp_path / "out", "step")
    assert 3 < len(steps) < 100000
    for before, step in list(zip(steps, steps[1:]))[3:]:  # behind the warm-up; the clock is read as an update begins
        assert 1e-3 * (1 - step["seconds"] / 2.0) <= step["learning_rate"] <= 1e-3 * (1 - before["seconds"] / 2.0)
    assert events(tmp_path / "out", "validation")[-1]["step"] == steps[-1]["step"]


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0.3, 0.37, 0.41, 0.46, 0.53, 0.61])
def test_the_last_update_before_a_time_limit_is_validated_and_saved(world, tmp_path, limit):
    """The clock may run out while a checkpoint is being written: such an update was once the last, yet not validated."""
    config = config_of(world, tmp_path / "out", steps=100000, time_limit=limit, validation={"every": 0, "generate": False},
                       checkpoint={"every": 1, "keep": 1})
    train(tmp_path, config)
    last = events(tmp_path / "out", "step")[-1]["step"]
    assert [event["step"] for event in events(tmp_path / "out", "validation")] == [last]
    assert checkpoints(tmp_path / "out") == [f"step-{last:08d}"]


def test_a_streamed_run_validates_as_a_cached_one(world, tmp_path):
    results = []
    for schedule in ("cached", "streamed"):
        config = config_of(world, tmp_path / schedule, steps=2, precision="float64", encoder={"schedule": schedule})
        train(tmp_path, config)
        results.append(events(tmp_path / schedule, "validation")[-1])
    assert results[0]["rouge1"] == results[1]["rouge1"] and results[0]["mean_length"] == results[1]["mean_length"]
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-12)
