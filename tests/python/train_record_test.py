"""How a run of `precis train` is recorded and when it ends by itself: TensorBoard's event files, early stopping."""

import hashlib
import json
import shutil
import signal
import struct
import subprocess
import time

import pytest

from train_support import PROGRAM, bytes_of, checkpoints, config_of, events, train, write_world

STEP_SCALARS = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "peak_memory_bytes")
VALIDATION_SCALARS = ("loss", "rouge1", "rouge2", "rougeL", "rougeLsum", "mean_length", "peak_memory_bytes")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("train_record"))


def scalars_of(output):
    """{tag: [(step, value)]} as TensorBoard itself reads the folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(output), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}


def recorded(output):
    """The same from metrics.jsonl, the last event of a step counting, in float32 as the event files have it."""
    want = {}
    for kind, group, names in (("step", "train", STEP_SCALARS), ("validation", "validation", VALIDATION_SCALARS)):
        last = {e["step"]: e for e in events(output, kind)}
        for name in names:
            values = [(step, e[name]) for step, e in sorted(last.items()) if name in e]
            if values:
                want[f"{group}/{name}"] = [(step, struct.unpack("f", struct.pack("f", v))[0]) for step, v in values]
    return want


def test_tensorboard_reads_what_metrics_say(world, tmp_path):
    train(tmp_path, config_of(world, tmp_path / "out"))
    got = scalars_of(tmp_path / "out")
    assert got == recorded(tmp_path / "out")
    assert set(got) == {f"train/{name}" for name in STEP_SCALARS} | {f"validation/{name}" for name in VALIDATION_SCALARS}
    assert [step for step, _ in got["train/loss"]] == list(range(1, 13))


def test_every_record_of_an_event_file_is_whole(world, tmp_path):
    """TensorBoard's own reader checks lengths and checksums, and raises."""
    from tensorboard.compat.proto import event_pb2
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    train(tmp_path, config_of(world, tmp_path / "out", steps=2, validation={"every": 0}))
    [path] = (tmp_path / "out").glob("events.out.tfevents.*")
    reader = PyRecordReader_New(str(path))
    records = []
    while True:
        try:
            reader.GetNext()
        except Exception as end:
            assert type(end).__name__ == "OutOfRangeError", end
            break
        records.append(event_pb2.Event.FromString(reader.record()))
    assert records[0].file_version == "brain.Event:2"
    assert records[1].session_log.status == event_pb2.SessionLog.START and records[1].step == 0
    assert [r.step for r in records[2:]] == [1, 2, 2] and all(abs(r.wall_time - time.time()) < 600 for r in records)


def test_steps_that_a_resumed_run_does_again_are_shown_once(world, tmp_path):
    """Killed after its last checkpoint, at step 4, the run does step 5 and further ones again."""
    out = tmp_path / "out"
    config = config_of(world, out, checkpoint={"every": 4, "keep": 9})
    train(tmp_path, config)
    for name in ("step-00000008", "step-00000012"):
        shutil.rmtree(out / name)
    with open(next(out.glob("events.out.tfevents.*")), "ab") as torn:  # as a kill may leave it
        torn.write(b"\x10\0\0\0")
    train(tmp_path, config, "steps=10", "optimizer.learning_rate=5e-4", "--allow-change", "optimizer.learning_rate")
    assert len(list(out.glob("events.out.tfevents.*"))) == 2
    got, want = scalars_of(out), recorded(out)
    assert [step for step, _ in got["train/loss"]] == list(range(1, 11))
    assert all(values == [(step, value) for step, value in want[tag] if step <= 10] for tag, values in got.items())
    # A new run in the same folder begins the curves again.
    train(tmp_path, config, "steps=3", "--resume", "never")
    assert [step for step, _ in scalars_of(out)["train/loss"]] == [1, 2, 3]


def stopping(world, output, patience, **changes):
    """Without learning no validation is an improvement but the first."""
    return config_of(world, output, **{
        "steps": 40, "optimizer": {"learning_rate": 0}, "validation": {"every": 4, "generate": False},
        "checkpoint": {"every": 6, "keep": 99}, "early_stopping": {"patience": patience}, **changes})


def test_early_stopping_ends_the_run_and_says_why(world, tmp_path):
    out = tmp_path / "out"
    done = train(tmp_path, stopping(world, out, 3))
    assert "stopped early at step 16" in done.stderr and done.stdout.strip() == str(out / "step-00000016")
    assert [e["step"] for e in events(out, "validation")] == [4, 8, 12, 16]
    assert events(out, "end")[-1]["reason"] == "early_stopping"
    assert (out / "latest").resolve().name == "step-00000016"
    # The same command again finds the end, more patience goes on from it.
    done = train(tmp_path, stopping(world, out, 3))
    assert "early stopping" in done.stderr and events(out, "end")[-1]["reason"] == "early_stopping"
    train(tmp_path, stopping(world, out, 4))
    assert events(out, "step")[-1]["step"] == 20


def test_a_run_that_improves_is_not_stopped(world, tmp_path):
    config = stopping(world, tmp_path / "out", 1, steps=12, optimizer={"learning_rate": 1e-3}, dropout=0,
                      attention_dropout=0)
    train(tmp_path, config)
    losses = [e["loss"] for e in events(tmp_path / "out", "validation")]
    assert losses == sorted(losses, reverse=True) and len(losses) == 3
    assert events(tmp_path / "out", "end")[-1]["reason"] == "finished"
    # The same with a least difference that no step reaches.
    config = {**config, "output": str(tmp_path / "least"), "early_stopping": {"patience": 1, "min_delta": 1e3}}
    train(tmp_path, config)
    assert events(tmp_path / "least", "validation")[-1]["step"] == 8


@pytest.mark.parametrize("at", [6, 12])
def test_resume_in_the_middle_of_patience_stops_where_the_whole_run_does(world, tmp_path, at):
    """Checkpoints at 6 and 12, validations at 4, 8, 12, 16: one or three values are in the checkpoint's count."""
    train(tmp_path, stopping(world, tmp_path / "whole", 3))
    shutil.copytree(tmp_path / "whole", tmp_path / "parts", symlinks=True)
    for path in (tmp_path / "parts").glob("step-*"):
        if int(path.name[5:]) > at:
            shutil.rmtree(path)
    state = json.loads((tmp_path / "parts" / f"step-{at:08d}" / "trainer.json").read_text())
    assert state["early_stopping"]["without_improvement"] == {6: 0, 12: 2}[at]
    train(tmp_path, stopping(world, tmp_path / "parts", 3))
    assert events(tmp_path / "parts", "end")[-1]["reason"] == "early_stopping"
    assert checkpoints(tmp_path / "parts") == checkpoints(tmp_path / "whole")
    assert bytes_of(tmp_path / "parts" / "latest") == bytes_of(tmp_path / "whole" / "latest")
    states = [json.loads((tmp_path / name / "latest" / "trainer.json").read_text()) for name in ("whole", "parts")]
    assert states[0]["early_stopping"] == states[1]["early_stopping"]


def test_patience_starts_anew_where_validation_measures_something_else(world, tmp_path):
    out = tmp_path / "out"
    train(tmp_path, stopping(world, out, 3))
    train(tmp_path, stopping(world, out, 3), "validation.documents=2")
    assert events(out, "step")[-1]["step"] == 32  # the first value at 20, three more without improvement


def test_a_checkpoint_of_before_some_keys_goes_on(world, tmp_path):
    """What it does not name has meant the default."""
    out = tmp_path / "out"
    config = config_of(world, out, steps=2, validation={"every": 0, "generate": False}, seed=1)
    train(tmp_path, config)
    path = out / "step-00000002" / "trainer.json"
    state = json.loads(path.read_text())
    del state["early_stopping"]
    for key in [key for key in state["config"] if key.startswith(("early_stopping.", "denoise.", "seed"))]:
        del state["config"][key]
    path.write_text(json.dumps(state))
    manifest = path.parent / "manifest.json"
    listed = json.loads(manifest.read_text())
    listed["files"]["trainer.json"] = {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    manifest.write_text(json.dumps(listed))
    train(tmp_path, config, "steps=3", "--resume", str(path.parent))
    assert events(out, "step")[-1]["step"] == 3


def test_a_second_process_on_the_folder_is_refused_while_the_first_trains(world, tmp_path):
    config = config_of(world, tmp_path / "out", steps=100000, validation={"every": 0}, checkpoint={"every": 0})
    (tmp_path / "first.yaml").write_text(json.dumps(config))
    first = subprocess.Popen([PROGRAM, "train", "first.yaml", "--quiet"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        metrics = tmp_path / "out" / "metrics.jsonl"
        deadline = time.monotonic() + 60
        while not (metrics.exists() and events(tmp_path / "out", "step")):
            assert time.monotonic() < deadline and first.poll() is None
            time.sleep(0.02)
        done = train(tmp_path, config, expect=5)
        assert f"process {first.pid}" in done.stderr
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=60)
    train(tmp_path, config, "steps=1")  # however it died, its lock is gone
