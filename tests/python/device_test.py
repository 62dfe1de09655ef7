"""`--device`: what computes on the CPU alone says so, and where there is no GPU `auto` is the CPU and `cuda` an error."""

import json
import subprocess

import pytest

from train_support import PROGRAM, config_of, write_world

REPORT = json.loads(subprocess.run([PROGRAM, "doctor", "--format", "json"], capture_output=True, text=True).stdout or "{}")
without_gpu = pytest.mark.skipif(bool(REPORT.get("gpus")), reason="there is a GPU")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("device"))


@without_gpu
def test_cuda_that_is_not_there_is_refused(fails, world, tmp_path):
    (tmp_path / "config.yaml").write_text(json.dumps(config_of(world, tmp_path / "out")))
    (tmp_path / "x.txt").write_text("an the")
    words = ["--device", "CUDA", "found cuda", "(--device cpu)"]
    for command in (["train", tmp_path / "config.yaml"], ["summarize", world / "model", tmp_path / "x.txt"],
                    ["evaluate", world / "model", "--data", world / "validation.jsonl"], ["bench", world / "model"]):
        fails(2, words, *command, "--device", "cuda")
    assert not (tmp_path / "out").exists()


@without_gpu
def test_auto_is_the_cpu(run, world):
    command = [PROGRAM, "bench", world / "model", "--tasks", "encode", "--repeats", "1", "--windows", "1", "--format", "json"]
    assert json.loads(run(command).stdout)["device"] == "cpu"
    assert REPORT["devices"] == ["cpu"] and REPORT["gpus"] == []


def test_init_and_convert_are_the_cpus(fails, run, world, tmp_path):
    config = {"tokenizer": str(world / "model"), "seed": 1,
              "model": {"model_type": "bart", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
                        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16,
                        "decoder_ffn_dim": 16, "max_position_embeddings": 32}}
    (tmp_path / "init.yaml").write_text(json.dumps(config))
    for command in (["init", tmp_path / "init.yaml", tmp_path / "out"], ["convert", world / "model", tmp_path / "out"]):
        fails(2, ["CPU alone", "--device"], *command, "--device", "cuda")
        assert not (tmp_path / "out").exists()
    run([PROGRAM, "init", tmp_path / "init.yaml", tmp_path / "out", "--device", "auto"])
