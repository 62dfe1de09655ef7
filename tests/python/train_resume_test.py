"""`precis train --resume`: bit for bit, past damage, with changes that were allowed, from older checkpoints."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
import torch
from safetensors.torch import load_file

from train_support import PROGRAM, as_others, bytes_of, checkpoints, config_of, events, train, write_model, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("train_resume"))


def test_resume_is_bitwise_across_an_epoch_and_with_dropout(world, tmp_path):
    """10 rows, 4 an update: 12 updates end epochs inside updates."""
    train(tmp_path, config_of(world, tmp_path / "whole", checkpoint={"keep": 9}))
    shutil.copytree(tmp_path / "whole", tmp_path / "parts", symlinks=True)
    for name in ("step-00000008", "step-00000012"):
        shutil.rmtree(tmp_path / "parts" / name)
    (tmp_path / "parts" / "metrics.jsonl").unlink()
    done = train(tmp_path, config_of(world, tmp_path / "parts", checkpoint={"keep": 9}))
    assert "step-00000012" in done.stdout
    assert events(tmp_path / "parts", "start")[0]["step"] == 4
    for name in ("step-00000008", "step-00000012"):
        assert bytes_of(tmp_path / "whole" / name) == bytes_of(tmp_path / "parts" / name), name
    keys = ("step", "loss", "learning_rate", "grad_norm", "source_tokens", "target_tokens")
    whole = [[e[key] for key in keys] for e in events(tmp_path / "whole", "step") if e["step"] > 4]
    assert whole == [[e[key] for key in keys] for e in events(tmp_path / "parts", "step")]


def test_a_damaged_newest_checkpoint_is_passed_over_loudly(world, tmp_path):
    config = config_of(world, tmp_path / "out", steps=8, validation={"every": 0})
    train(tmp_path, config)
    weights = tmp_path / "out" / "step-00000008" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    done = train(tmp_path, config, "--resume", str(tmp_path / "out" / "step-00000008"), expect=4)
    assert "model.safetensors" in done.stderr
    done = train(tmp_path, config)
    assert "FALLING BACK" in done.stderr and "step-00000008" in done.stderr
    assert events(tmp_path / "out", "start")[-1]["step"] == 4


def test_a_checkpoint_that_may_not_be_read_is_no_damaged_one(world, tmp_path):
    """The one before it must not be taken in its place: training on would end in replacing it."""
    config = config_of(world, tmp_path / "out", steps=8, validation={"every": 0})
    train(tmp_path, config)
    state = tmp_path / "out" / "step-00000008" / "optimizer.safetensors"
    state.chmod(0)
    for arguments in ([], ["--resume", str(state.parent)]):
        done = train(tmp_path, config, *arguments, "steps=9", expect=4, preexec_fn=as_others)
        assert str(state) in done.stderr and "ermission" in done.stderr
    state.chmod(0o600)
    train(tmp_path, config, "steps=9")
    assert events(tmp_path / "out", "start")[-1]["step"] == 8


@pytest.mark.parametrize("changes, flag", [
    ({"optimizer": {"learning_rate": 5e-4}}, "optimizer.learning_rate"),
    ({"batch": {"documents": 1}}, "batch.documents"),
])
def test_resume_with_other_settings_is_refused_unless_allowed(world, tmp_path, changes, flag):
    train(tmp_path, config_of(world, tmp_path / "out", steps=2, validation={"every": 0}))
    changed = config_of(world, tmp_path / "out", steps=3, validation={"every": 0}, **changes)
    done = train(tmp_path, changed, expect=2)
    assert flag in done.stderr and "--allow-change" in done.stderr
    assert checkpoints(tmp_path / "out") == ["step-00000002"]
    train(tmp_path, changed, "--allow-change", flag)


def test_every_difference_is_told_with_the_flags_that_allow_it(world, tmp_path):
    train(tmp_path, config_of(world, tmp_path / "out", steps=2, validation={"every": 0}))
    changed = config_of(world, tmp_path / "out", steps=3, validation={"every": 0},
                        optimizer={"learning_rate": 5e-4}, batch={"documents": 1})
    done = train(tmp_path, changed, expect=2)
    flags = done.stderr.split("allow them (")[1].split(")")[0].split()
    assert flags.count("--allow-change") == 2
    train(tmp_path, changed, *flags)


def test_resume_with_other_data_or_another_model_is_refused(world, tmp_path):
    config = config_of(world, tmp_path / "out", steps=2, validation={"every": 0})
    train(tmp_path, config)
    rows = (world / "train.jsonl").read_text().split("\n")
    (tmp_path / "other.jsonl").write_text("\n".join(rows[1:]))
    done = train(tmp_path, config, f"data.train={tmp_path / 'other.jsonl'}", expect=2)
    assert "data was" in done.stderr
    write_model(tmp_path / "model", positions=64, seed=9)
    done = train(tmp_path, config, f"model={tmp_path / 'model'}", expect=2)
    assert "model was" in done.stderr
    train(tmp_path, config, f"model={tmp_path / 'model'}", "--resume", "never")


def test_steps_7_to_10_with_keep_1_and_a_folder_of_another_run(world, tmp_path):
    config = config_of(world, tmp_path / "out", steps=10, validation={"every": 0}, checkpoint={"every": 1, "keep": 1})
    del config["data"]["validation"]
    train(tmp_path, config, "steps=3")
    train(tmp_path, config, "steps=2", "--resume", "never")
    # The other run's newest stands, and is not taken for this one's.
    assert checkpoints(tmp_path / "out") == ["step-00000002", "step-00000003"]
    train(tmp_path, config)
    assert events(tmp_path / "out", "start")[-1]["step"] == 2
    assert (tmp_path / "out" / "latest").resolve().name == "step-00000010"


def short(world, output, **changes):
    return config_of(world, output, **{"validation": {"every": 0, "generate": False}, **changes})


def test_an_older_checkpoint_begins_a_new_run_that_auto_follows(world, tmp_path):
    out = tmp_path / "out"
    config = short(world, out, steps=12, checkpoint={"every": 4, "keep": 9})
    train(tmp_path, config)
    train(tmp_path, config, "steps=6", "--resume", str(out / "step-00000004"))
    assert checkpoints(out) == [f"step-{step:08d}" for step in (4, 6, 8, 12)]
    assert (out / "latest").resolve().name == "step-00000006"
    train(tmp_path, config, "steps=7")
    starts = events(out, "start")
    assert [start["step"] for start in starts] == [0, 4, 6]
    assert starts[1]["run"] != starts[0]["run"] and starts[2]["run"] == starts[1]["run"]


def test_the_newest_checkpoint_goes_on_as_the_same_run(world, tmp_path):
    out = tmp_path / "out"
    train(tmp_path, short(world, out, steps=2))
    train(tmp_path, short(world, out, steps=3), "--resume", str(out / "latest"))
    starts = events(out, "start")
    assert starts[0]["run"] == starts[1]["run"]


def test_a_checkpoint_of_another_folder(world, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    train(tmp_path, short(world, first, steps=2))
    done = train(tmp_path, short(world, second, steps=2), "--resume", str(first / "step-00000002"))
    assert done.stdout.strip() == str(second / "step-00000002")  # its end already, and yet whole in this folder
    assert bytes_of(first / "step-00000002") == bytes_of(second / "step-00000002")
    done = train(tmp_path, short(world, second, steps=3, data={"validation": []}), "--resume", str(first / "latest"))
    assert done.stdout.strip() == str(second / "step-00000003") and checkpoints(second)[-1] == "step-00000003"
    assert not (second / "best").is_symlink()  # its checkpoint stayed in the other folder


def test_a_run_whose_time_is_over_at_once_leaves_a_checkpoint(world, tmp_path):
    done = train(tmp_path, short(world, tmp_path / "out", time_limit=1e-9))
    assert done.stdout.strip() == str(tmp_path / "out" / "step-00000000")
    assert checkpoints(tmp_path / "out") == ["step-00000000"]


@pytest.mark.parametrize("documents", [1, 3])
def test_an_allowed_batch_reads_the_rows_that_are_left(world, tmp_path, documents):
    """10 rows, 4 an update, 2 epochs: after 2 updates 12 rows are left."""
    config = short(world, tmp_path / "out", steps=None, epochs=2, checkpoint={"every": 2, "keep": 9}, dropout=0)
    train(tmp_path, config)
    assert events(tmp_path / "out", "step")[-1]["step"] == 5
    changed = short(world, tmp_path / "out", steps=None, epochs=2, batch={"documents": documents, "accumulation": 1},
                    dropout=0)
    train(tmp_path, changed, "--resume", str(tmp_path / "out" / "step-00000002"), "--allow-change", "batch")
    steps = [event for event in events(tmp_path / "out", "step")[5:]]
    assert len(steps) == 12 // documents
    assert all(step["source_tokens"] > 0 and step["loss"] > 0 for step in steps)


@pytest.mark.parametrize("before, after, told", [("adamw", "adam", False), ("adamw", "sgd", True), ("sgd", "adam", True)])
def test_an_allowed_optimizer(world, tmp_path, before, after, told):
    train(tmp_path, short(world, tmp_path / "out", steps=2, optimizer={"name": before}))
    changed = short(world, tmp_path / "out", steps=4, optimizer={"name": after})
    done = train(tmp_path, changed, "--allow-change", "optimizer.name")
    assert ("begins anew" in done.stderr) == told
    assert checkpoints(tmp_path / "out") == ["step-00000002", "step-00000004"]


@pytest.mark.slow
def test_a_new_optimizer_counts_its_own_updates(world, tmp_path):
    """Two sessions of adam behind one of sgd are one long one: the correction of its moments counts from its start."""
    config = short(world, tmp_path / "whole", steps=2, optimizer={"name": "sgd"}, schedule={"name": "constant"})
    train(tmp_path, config)
    shutil.copytree(tmp_path / "whole", tmp_path / "parts", symlinks=True)
    config["optimizer"]["name"] = "adam"
    train(tmp_path, {**config, "steps": 6}, "--allow-change", "optimizer.name")
    config["output"] = str(tmp_path / "parts")
    train(tmp_path, {**config, "steps": 4}, "--allow-change", "optimizer.name")
    train(tmp_path, {**config, "steps": 6})
    assert bytes_of(tmp_path / "whole" / "latest") == bytes_of(tmp_path / "parts" / "latest")


def test_an_allowed_precision(world, tmp_path):
    train(tmp_path, short(world, tmp_path / "out", steps=2))
    train(tmp_path, short(world, tmp_path / "out", steps=4, precision="float64"), "--allow-change", "precision")
    for name in ("model.safetensors", "optimizer.safetensors"):
        saved = load_file(tmp_path / "out" / "latest" / name).values()
        assert {tensor.dtype for tensor in saved} == {torch.float64}, name


def test_an_allowed_seed_begins_its_epoch_again(world, tmp_path):
    config = short(world, tmp_path / "out", steps=None, epochs=1, batch={"documents": 1, "accumulation": 4})
    train(tmp_path, config)
    assert events(tmp_path / "out", "step")[-1]["step"] == 3
    done = train(tmp_path, config, "seed=8", "--allow-change", "seed")
    assert "epoch 1 begins again" in done.stderr and events(tmp_path / "out", "step")[-1]["step"] == 6


@pytest.mark.slow
def test_a_best_that_another_run_has_overwritten_is_forgotten(world, tmp_path):
    """Without learning every validation is alike, and the first one is the best."""
    out = tmp_path / "out"
    config = config_of(world, out, steps=6, optimizer={"learning_rate": 0}, checkpoint={"every": 2, "keep": 9},
                       validation={"every": 2, "generate": False})
    train(tmp_path, config)
    assert (out / "best").resolve().name == "step-00000002"
    train(tmp_path, config, "steps=2", "--resume", "never")
    train(tmp_path, config, "steps=8", "--resume", str(out / "step-00000006"))
    assert (out / "best").resolve().name == "step-00000008"


def test_a_best_of_other_validation_rows_is_forgotten(world, tmp_path):
    out = tmp_path / "out"
    config = config_of(world, out, steps=2, optimizer={"learning_rate": 0}, validation={"generate": False})
    train(tmp_path, config)
    done = train(tmp_path, config, "steps=4", "validation.documents=2")
    assert "best so far is forgotten" in done.stderr and (out / "best").resolve().name == "step-00000004"
    done = train(tmp_path, config, "steps=6", "validation.documents=2")
    assert "forgotten" not in done.stderr and (out / "best").resolve().name == "step-00000004"


@pytest.mark.slow
def test_a_resumed_run_needs_its_model_directory_no_more(world, tmp_path):
    shutil.copytree(world / "model", tmp_path / "model")
    config = short(world, tmp_path / "out", steps=2, model=str(tmp_path / "model"))
    train(tmp_path, config)
    written = (tmp_path / "out" / "latest" / "generation_config.json").read_bytes()
    (tmp_path / "model" / "generation_config.json").write_text('{"no_repeat_ngram_size": 5}')
    train(tmp_path, config, "steps=3")
    assert (tmp_path / "out" / "latest" / "generation_config.json").read_bytes() == written
    shutil.rmtree(tmp_path / "model")
    assert "model was" in train(tmp_path, config, "steps=4", expect=2).stderr
    train(tmp_path, config, "steps=4", "--allow-change", "model")
    assert (tmp_path / "out" / "latest" / "generation_config.json").read_bytes() == written


def test_a_run_that_a_signal_interrupts_is_the_whole_run(world, tmp_path):
    steps = 60
    train(tmp_path, short(world, tmp_path / "whole", steps=steps, checkpoint={"every": 0}))
    config = short(world, tmp_path / "parts", steps=steps, checkpoint={"every": 0})
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    process = subprocess.Popen([PROGRAM, "train", "config.yaml", "--quiet"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    metrics = tmp_path / "parts" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and len(events(tmp_path / "parts", "step")) >= 3):
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    train(tmp_path, config)
    assert 0 < events(tmp_path / "parts", "start")[-1]["step"] < steps
    assert bytes_of(tmp_path / "whole" / "latest") == bytes_of(tmp_path / "parts" / "latest")


def test_allowed_data_begin_their_epoch_again(world, tmp_path):
    config = short(world, tmp_path / "out", steps=None, epochs=1, batch={"documents": 1, "accumulation": 1})
    train(tmp_path, config)
    rows = (world / "train.jsonl").read_text().splitlines()[:3]
    (tmp_path / "three.jsonl").write_text("\n".join(rows))
    done = train(tmp_path, config, f"data.train={tmp_path / 'three.jsonl'}", "--allow-change", "data")
    assert "epoch 1 begins again" in done.stderr
    assert events(tmp_path / "out", "step")[-1]["step"] == 13


def test_an_allowed_model_leaves_the_checkpoint_as_it_is(world, tmp_path):
    """The checkpoint's own weights, configuration and tokenizer go on, whatever the other directory holds."""
    config = short(world, tmp_path / "out", steps=2, window=64)
    train(tmp_path, config)
    write_model(tmp_path / "wider", positions=128, d_model=16, seed=9)
    train(tmp_path, config, "steps=3", f"model={tmp_path / 'wider'}", "--allow-change", "model")
    saved = json.loads((tmp_path / "out" / "latest" / "config.json").read_text())
    assert saved["d_model"] == 32 and saved["max_position_embeddings"] == 64


def test_an_unknown_name_is_refused_on_a_fresh_run_too(world, tmp_path):
    done = train(tmp_path, short(world, tmp_path / "out"), "--allow-change", "optimiser", expect=2)
    assert "did you mean 'optimizer'" in done.stderr and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_new_run_sorts_last_whatever_the_clock(world, tmp_path):
    out = tmp_path / "out"
    train(tmp_path, short(world, out, steps=3))
    state = json.loads((out / "step-00000003" / "trainer.json").read_text())
    state["run"] = "29990101T000000.000000000Z"
    (out / "step-00000003" / "trainer.json").write_text(json.dumps(state))
    train(tmp_path, short(world, out, steps=2), "--resume", "never")
    train(tmp_path, short(world, out, steps=4))
    assert events(out, "start")[-1]["step"] == 2


def test_what_others_keep_in_the_output_folder_stays(world, tmp_path):
    for name in (".tmp-work", ".tmp-pred.jsonl-0123456789abcdef", ".old-photos"):
        (tmp_path / "out" / name).mkdir(parents=True)
    stage = tmp_path / "out" / ".tmp-step-00000004-0123456789abcdef"
    stage.mkdir()
    train(tmp_path, short(world, tmp_path / "out", steps=1))
    assert not stage.exists()
    assert all((tmp_path / "out" / name).is_dir() for name in (".tmp-work", ".tmp-pred.jsonl-0123456789abcdef", ".old-photos"))


def test_a_new_run_keeps_the_best_that_it_began_with(world, tmp_path):
    out = tmp_path / "out"
    config = config_of(world, out, steps=4, optimizer={"learning_rate": 0}, checkpoint={"every": 2, "keep": 9},
                       validation={"every": 2, "generate": False})
    train(tmp_path, config)
    for arguments in (["steps=6", "--resume", str(out / "step-00000002")], ["steps=8"]):
        train(tmp_path, config, *arguments)
        assert (out / "best").resolve().name == "step-00000002"
