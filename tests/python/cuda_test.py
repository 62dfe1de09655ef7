"""The program on a GPU: what it trains, writes and scores there is what the CPU gives. Skipped without a GPU; without
transformers too, which makes the models (scripts/cuda-check)."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

from train_support import PROGRAM, bytes_of, config_of, events, train, weights, write_world

REPORT = json.loads(subprocess.run([PROGRAM, "doctor", "--format", "json"], capture_output=True, text=True).stdout or "{}")
pytestmark = pytest.mark.skipif(not REPORT.get("gpus"), reason="no GPU that CUDA can compute on")

GPU, CPU = ["--device", "cuda"], ["--device", "cpu"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("cuda"))


def losses(output, kind="step"):
    return [event["loss"] for event in events(output, kind)]


def test_doctor_knows_the_gpu(run):
    assert "cuda:0" in REPORT["devices"] and REPORT["libtorch"]["cuda"]
    gpu = REPORT["gpus"][0]
    assert gpu["name"] and 2**30 < gpu["available"] <= gpu["total"]
    assert gpu["name"] in run([PROGRAM, "doctor"]).stdout


@pytest.mark.parametrize("precision, tolerance", [("float64", 1e-9), ("float32", 2e-3)])
def test_training_goes_the_cpus_way(world, tmp_path, precision, tolerance):
    """Dropout, accumulation, validation with beams and all; a step's rounding grows from step to step."""
    for device in ("cpu", "cuda"):
        config = config_of(world, tmp_path / device, precision=precision, optimizer={"eps": 1e-3})
        train(tmp_path, config, "--device", device)
    for kind in ("step", "validation"):
        assert losses(tmp_path / "cuda", kind) == pytest.approx(losses(tmp_path / "cpu", kind), rel=tolerance)
    if precision == "float64":
        assert ([event["rouge1"] for event in events(tmp_path / "cuda", "validation")] ==
                [event["rouge1"] for event in events(tmp_path / "cpu", "validation")])
    want = weights(tmp_path / "cpu" / "latest")
    for name, tensor in weights(tmp_path / "cuda" / "latest").items():
        assert (tensor - want[name]).abs().max() < tolerance * max(1.0, float(want[name].abs().max())), name


@pytest.mark.parametrize("precision, schedule", [("float32", "auto"), ("bfloat16", "two_sweep")])
def test_resume_is_bitwise(world, tmp_path, precision, schedule):
    config = config_of(world, tmp_path / "whole", precision=precision, encoder={"schedule": schedule},
                       checkpoint={"keep": 9})
    done = train(tmp_path, config, *GPU)
    assert "GPU memory plan" in done.stderr and "GPU memory taken" in done.stderr
    shutil.copytree(tmp_path / "whole", tmp_path / "parts", symlinks=True)
    for name in ("step-00000008", "step-00000012"):
        shutil.rmtree(tmp_path / "parts" / name)
    config["output"] = str(tmp_path / "parts")
    train(tmp_path, config, *GPU)
    for name in ("step-00000008", "step-00000012"):
        assert bytes_of(tmp_path / "whole" / name) == bytes_of(tmp_path / "parts" / name), name


def test_a_checkpoint_goes_on_on_the_other_device(world, tmp_path):
    config = config_of(world, tmp_path / "out", precision="float64", validation={"every": 0}, steps=2)
    train(tmp_path, config, *GPU)
    train(tmp_path, config, "steps=3", *CPU)
    train(tmp_path, config, "steps=4", *GPU)
    assert [event["step"] for event in events(tmp_path / "out", "step")] == [1, 2, 3, 4]


@pytest.mark.parametrize("arguments", [[], ["--num-beams", "3", "--max-new-tokens", "20"],
                                       ["--num-beams", "2", "--no-repeat-ngram-size", "2", "--explain"]])
def test_summaries_are_the_cpus(run, world, tmp_path, arguments):
    rows = [json.loads(line)["document"] for line in (world / "train.jsonl").read_text().splitlines()]
    for i, text in enumerate([rows[0], " ".join(rows[:4]), ""]):
        (tmp_path / f"{i}.txt").write_text(text)
    files = sorted(tmp_path.glob("*.txt"))

    def summaries(*device):
        done = run([PROGRAM, "summarize", world / "model", *files, "--format", "jsonl", "--dtype", "float64",
                    *arguments, *device])
        return [json.loads(line) for line in done.stdout.splitlines()]

    for got, want in zip(summaries(*GPU), summaries(*CPU), strict=True):
        assert got["token_ids"] == want["token_ids"] and got["summary"] == want["summary"]
        assert got["peak_memory_bytes"] > 0
        if "--explain" in arguments:
            places = lambda summary: [[(p["start"], p["end"]) for p in s["passages"]] for s in summary["sources"]]
            assert places(got) == places(want)


def test_scores_are_the_cpus(run, world):
    def report(*device):
        done = run([PROGRAM, "evaluate", world / "model", "--data", world / "validation.jsonl", "--dtype", "float64",
                    "--format", "json", "--num-beams", "2", "--max-new-tokens", "12", *device])
        return json.loads(done.stdout)

    def numbers(value):
        if isinstance(value, dict):
            return [n for key in sorted(value) for n in numbers(value[key])]
        if isinstance(value, list):
            return [n for item in value for n in numbers(item)]
        return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []

    got, want = numbers(report(*GPU)), numbers(report(*CPU))
    assert len(want) > 3 and got == pytest.approx(want, rel=1e-9, abs=1e-12)


def test_auto_takes_the_gpu_and_bench_reports_its_memory(run, world):
    command = [PROGRAM, "bench", world / "model", "--tasks", "encode,decode,batch,train", "--repeats", "1", "--windows",
               "2", "--documents", "2", "--new-tokens", "4", "--train-source-tokens", "100", "--train-target-tokens", "8",
               "--format", "json"]
    report = json.loads(run(command).stdout)
    assert report["device"] == "cuda:0"
    assert all(figure["value"] > 0 and figure["peak_memory_bytes"] > 0 for figure in report["figures"])
    assert json.loads(run([*command, *CPU]).stdout)["device"] == "cpu"


def test_a_budget_is_of_the_gpus_memory(run, world, tmp_path):
    config = config_of(world, tmp_path / "out", encoder={"memory_budget": "100MiB"})
    done = train(tmp_path, config, *GPU, expect=2)
    assert "memory budget can't be met" in done.stderr and "encoder.memory_budget" in done.stderr
    train(tmp_path, config, "encoder.memory_budget=300MiB", "steps=1", *GPU)
    assert 0 < events(tmp_path / "out", "step")[0]["peak_memory_bytes"] < 300 * 2**20
    (tmp_path / "x.txt").write_text("an the paper of a memory")
    summarize = [PROGRAM, "summarize", world / "model", tmp_path / "x.txt", *GPU, "--memory-budget"]
    assert "memory budget can't be met" in run([*summarize, "1MiB"], code=2).stderr
    run([*summarize, "300MiB"])


def test_memory_that_is_used_up_ends_with_its_own_code(run, world, tmp_path):
    """A document that needs more than any GPU has, under the schedule that holds the most."""
    ids = ["an the paper of a memory " * 30_000]
    (tmp_path / "long.jsonl").write_text(json.dumps({"id": "long", "document": ids[0], "summary": "an the"}) + "\n")
    config = config_of(world, tmp_path / "out", encoder={"schedule": "kept"}, steps=1, validation={"every": 0},
                       window=16, batch={"documents": 1, "accumulation": 1}, checkpoint={"every": 0})
    config["data"] = {"train": [str(tmp_path / "long.jsonl")]}
    environment = {**os.environ, "PYTORCH_ALLOC_CONF": "per_process_memory_fraction:0.005"}
    done = train(tmp_path, config, *GPU, "--log-format", "jsonl", expect=5, env=environment)
    error = json.loads(done.stderr.splitlines()[-1])
    assert error["kind"] == "out_of_memory" and "GPU memory" in error["message"] and error["hint"]


def test_ranks_share_the_gpu(world, tmp_path):
    """Sums of CUDA tensors over ranks, in the backward pass too, which is in a thread of libtorch's."""
    if shutil.which("mpirun") is None or not list(pathlib.Path(PROGRAM).resolve().parent.glob("libprecis_mpi.so")):
        pytest.skip("no mpirun, or no libprecis_mpi.so beside the program")
    config = config_of(world, tmp_path / "one", precision="float64", steps=3, validation={"every": 0},
                       optimizer={"name": "sgd", "learning_rate": 0.1}, batch={"documents": 2, "accumulation": 1})
    train(tmp_path, config, *GPU)
    config.update(output=str(tmp_path / "two"))
    config["batch"]["ranks_a_document"] = 2
    (tmp_path / "ranks.yaml").write_text(json.dumps(config))
    environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    done = subprocess.run(["mpirun", "--oversubscribe", "-np", "2", PROGRAM, "train", tmp_path / "ranks.yaml", *GPU],
                          capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-9)
