"""precis init and precis inspect: fresh models that transformers loads, and what is said of the ones at hand."""

import json
import math

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

from train_support import write_model

SHAPE = dict(model_type="bart", d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
             decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=40, max_position_embeddings=64)


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_model(folder)
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        (folder / name).unlink()
    return folder


@pytest.fixture
def init(run, precis, tokenizer_folder, tmp_path):
    """init(name, *overrides, code=0, **model) makes tmp_path / name; returns (folder, process)."""

    def call(name, *overrides, code=0, top={}, **model):
        config = {"tokenizer": str(tokenizer_folder), "model": {**SHAPE, **model}, **top}
        (tmp_path / "init.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        done = run([precis, "init", tmp_path / "init.yaml", tmp_path / name, *overrides], code=code)
        return tmp_path / name, done

    return call


def test_a_fresh_model_loads_in_transformers_with_what_was_asked_for(init, tokenizer_folder):
    folder, done = init("fresh", num_beams=3, max_length=40, init_std=0.11, my_own_key={"kept": [1]})
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert {key: config[key] for key in SHAPE} == SHAPE
    assert config["my_own_key"] == {"kept": [1]} and config["init_std"] == 0.11

    model, loading = AutoModelForSeq2SeqLM.from_pretrained(folder, output_loading_info=True, dtype="auto")
    assert not any(loading.values()), loading
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.vocab_size == len(tokenizer) and model.dtype == torch.float32
    assert (model.config.bos_token_id, model.config.pad_token_id, model.config.eos_token_id) == (0, 1, 2)
    generation = GenerationConfig.from_pretrained(folder)
    assert (generation.num_beams, generation.max_length, generation.decoder_start_token_id) == (3, 40, 2)
    assert f"{sum(p.numel() for p in model.parameters())} fresh parameters" in done.stderr

    # transformers' own rules: normal weights, the padding row and biases at zero, norms at one.
    shared = model.model.shared.weight.detach()
    assert torch.all(shared[1] == 0)
    for name, weight in model.named_parameters():
        weight = weight.detach()
        if name.endswith("bias"):
            assert torch.all(weight == 0), name
        elif "layer_norm" in name or "layernorm" in name:
            assert torch.all(weight == 1), name
        else:  # six standard errors
            assert weight.std().item() == pytest.approx(0.11, rel=6 / math.sqrt(2 * weight.numel()) + 0.01), name
            assert abs(weight.mean().item()) < 6 * 0.11 / math.sqrt(weight.numel()), name


def test_the_spread_follows_the_width_and_is_said(init):
    folder, done = init("default")
    assert json.loads((folder / "config.json").read_text())["init_std"] == round(1 / math.sqrt(32), 4)
    assert f"init_std {round(1 / math.sqrt(32), 4)}" in done.stderr
    weight = load_file(folder / "model.safetensors")["model.decoder.layers.1.fc1.weight"]
    assert weight.std().item() == pytest.approx(1 / math.sqrt(32), rel=0.15)


def test_a_seed_gives_the_same_bytes_and_another_one_others(init, run, precis, tmp_path):
    first, again, other = (init(name, f"seed={seed}")[0] for name, seed in (("a", 5), ("b", 5), ("c", 6)))
    read = lambda folder: (folder / "model.safetensors").read_bytes()
    assert read(first) == read(again) != read(other)
    run([precis, "init", tmp_path / "init.yaml", tmp_path / "d", "seed=5"])
    assert read(tmp_path / "d") == read(first)


def test_types_and_overrides(init, run, precis, tmp_path):
    folder, _ = init("over", "model.d_model=16", "model.decoder_layers=1")
    shared = load_file(folder / "model.safetensors")["model.shared.weight"]
    assert shared.shape[1] == 16 and shared.dtype == torch.float32
    for name in ("bfloat16", "float64"):
        run([precis, "init", tmp_path / "init.yaml", tmp_path / name, "--dtype", name])
        assert load_file(tmp_path / name / "model.safetensors")["model.shared.weight"].dtype == getattr(torch, name)


def test_nothing_is_overwritten(init):
    folder, _ = init("once")
    before = (folder / "model.safetensors").read_bytes()
    _, done = init("once", "seed=9", code=5)
    assert "already exists" in done.stderr and (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("overrides, model, words", [
    (["model.d_model=0"], {}, ["d_model", "0"]),
    ([], dict(d_model=-4), ["init.yaml:4", "d_model", "-4"]),
    ([], dict(d_model=2**40), ["d_model", str(2**40)]),
    ([], dict(encoder_attention_heads=5), ["encoder_attention_heads", "5"]),
    ([], dict(vocab_size=7), ["vocab_size", "7"]),
    ([], dict(activation_function="gloo"), ["activation_function", "gloo"]),
    ([], dict(dropout="much"), ["dropout"]),
    ([], dict(dropout=1.5), ["dropout", "1.5"]),
    ([], dict(init_std=-1), ["init_std", "-1"]),
    ([], dict(model_type="t5"), ["t5"]),
    ([], dict(num_beams=0), ["num_beams", "0"]),
    (["sede=1"], {}, ["unknown key 'sede'", "did you mean 'seed'"]),
    (["d_model=8"], {}, ["did you mean 'model.d_model'"]),
    (["seed=-1"], {}, ["seed"]),
    (["seed"], {}, ["section.key=value"]),
])
def test_a_bad_configuration_writes_nothing(init, tmp_path, overrides, model, words):
    folder, done = init("bad", *overrides, code=2, **model)
    assert all(word in done.stderr for word in words), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["init.yaml"]


def test_a_slip_of_the_pen_is_told(init):
    folder, done = init("slip", encoder_layres=3)
    assert "encoder_layres" in done.stderr and "did you mean 'encoder_layers'" in done.stderr
    assert json.loads((folder / "config.json").read_text())["encoder_layres"] == 3


def test_too_large_a_model_is_refused_before_anything_is_allocated(init, tmp_path):
    _, done = init("huge", code=2, d_model=65536, encoder_ffn_dim=262144, decoder_ffn_dim=262144, encoder_layers=64,
                   decoder_layers=64)
    assert "don't fit into memory" in done.stderr and not (tmp_path / "huge").exists()


def test_a_tokenizer_or_a_folder_that_is_not_there(init, tmp_path):
    _, done = init("x", code=4, top={"tokenizer": str(tmp_path / "none")})
    assert "none" in done.stderr
    (tmp_path / "file").write_text("")
    _, done = init("file/x", code=5)
    assert str(tmp_path / "file") in done.stderr


def inspect(run, precis, path, *arguments, code=0):
    done = run([precis, "inspect", path, "--format", "json", *arguments], code=code)
    return json.loads(done.stdout) if code == 0 else done


def test_inspect_says_what_a_model_holds(init, run, precis):
    folder, _ = init("seen", num_beams=3, max_length=40)
    report = inspect(run, precis, folder, "--verify")
    stored = load_file(folder / "model.safetensors")
    assert {t["name"]: t["shape"] for t in report["weights"]["tensors"]} == {n: list(t.shape) for n, t in stored.items()}
    assert report["weights"]["by_type"]["F32"]["elements"] == sum(t.numel() for t in stored.values())
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    assert report["parameters"] == sum(p.numel() for p in model.parameters())
    assert report["generation"]["num_beams"] == 3 and report["generation"]["max_length"] == 40
    assert report["tokenizer"]["size"] == model.config.vocab_size
    text = run([precis, "inspect", folder]).stdout
    assert "bart" in text and f"{report['parameters']:,}" in text


@pytest.mark.slow
def test_inspect_verifies_every_byte(init, run, precis, tmp_path):
    folder, _ = init("damaged")
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.unlink()  # never write into an inode that something may have mapped
    path.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
    inspect(run, precis, folder)  # the shape of things is as it was
    assert "model.safetensors" in inspect(run, precis, folder, "--verify", code=4).stderr
    path.write_bytes(whole[:-1])
    assert "model.safetensors" in inspect(run, precis, folder, code=4).stderr
    # A file alone has no digest, but its values are looked at.
    nan = tmp_path / "nan.safetensors"
    nan.write_bytes(whole[:-4] + b"\x00\x00\xc0\x7f")
    assert "finite" in inspect(run, precis, nan, "--verify", code=4).stderr


def test_inspect_of_a_tokenizer_and_of_nothing(run, precis, tokenizer_folder, tmp_path):
    assert inspect(run, precis, tokenizer_folder)["tokenizer"]["special_tokens"]["mask_token"]["token"] == "<mask>"
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("notes")
    for path in (tmp_path / "empty", tmp_path / "none", tmp_path / "notes.txt"):
        assert path.name in inspect(run, precis, path, code=4).stderr
