"""Weights in every format that is read, through `precis convert` and `precis inspect`, against the files that PyTorch,
safetensors and transformers wrote, and what is made of them again by transformers."""

import json
import os
import random
import shutil
import zipfile

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BartForConditionalGeneration

from train_support import write_model

EMBEDDINGS = ["model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight",
              "lm_head.weight"]
TOKENIZER = ["tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"]
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
zip_or_legacy = pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """(directory, model in float32)"""
    folder = tmp_path_factory.mktemp("formats") / "model"
    model = write_model(folder, positions=48, dtype=torch.float32, encoder_layers=1, decoder_layers=1)
    with torch.no_grad():
        model.final_logits_bias.copy_(torch.randn_like(model.final_logits_bias))
    model.save_pretrained(folder)
    return folder, model


@pytest.fixture
def bare(source, tmp_path):
    """A copy of the directory, without weights."""
    folder = tmp_path / "model"
    shutil.copytree(source[0], folder)
    (folder / "model.safetensors").unlink()
    return folder


@pytest.fixture
def convert(run, precis, tmp_path):
    """convert(directory, *arguments, code=0) -> (the new directory, the finished process)"""
    count = iter(range(100))

    def call(directory, *arguments, code=0, **options):
        target = tmp_path / f"converted-{next(count)}"
        done = run([precis, "convert", directory, target, *arguments], code=code, **options)
        assert done.stdout == ""
        assert target.exists() == (code == 0)
        return target, done

    return call


def save(state, path, new=True, **options):
    path.unlink(missing_ok=True)
    torch.save(state, path, _use_new_zipfile_serialization=new, **options)


def stored(model):
    """What a converted directory is to hold: the state without the embedding's other names."""
    return {name: tensor for name, tensor in model.state_dict().items() if name not in EMBEDDINGS[1:]}


def check(folder, model, dtype=torch.float32):
    expected = stored(model)
    found = load_file(folder / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == dtype
        assert torch.equal(found[name], tensor.to(dtype)), name


@torch.no_grad()
def logits(model):
    ids = torch.arange(4, 40).view(2, 18)
    return model.eval()(input_ids=ids, decoder_input_ids=ids[:, :7]).logits


def check_in_transformers(folder, model):
    loaded, report = BartForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    assert torch.equal(logits(loaded), logits(model))


@zip_or_legacy
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
def test_files_of_pytorch(source, bare, convert, new, dtype):
    _, model = source
    state = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}
    save(state, bare / "pytorch_model.bin", new)
    folder, done = convert(bare, "--dtype", "float64")
    found = load_file(folder / "model.safetensors")
    assert found.keys() == stored(model).keys()
    assert all(torch.equal(found[name], state[name].double()) for name in found)
    letters = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}.get(dtype)
    assert (f"weights of type {letters} are read as float64" in done.stderr) == (letters is not None)


@zip_or_legacy
def test_the_same_logits_in_transformers(source, bare, convert, new):
    _, model = source
    save(model.state_dict(), bare / "pytorch_model.bin", new)
    folder, _ = convert(bare)
    check(folder, model)
    check_in_transformers(folder, model)


def as_views(state):
    """Every tensor a stretch of one storage, in an order of its own."""
    names = sorted(state, reverse=True)
    flat = torch.cat([torch.ones(3), *(state[name].flatten() for name in names)])
    views, position = {}, 3
    for name in names:
        views[name] = flat[position:position + state[name].numel()].view(state[name].shape)
        position += state[name].numel()
    return views


WAYS = {
    "a plain dict": dict,
    "parameters": lambda state: {name: torch.nn.Parameter(t) for name, t in state.items()},
    "names of BartModel": lambda state: {name.removeprefix("model."): t for name, t in state.items()},
    "views of one storage": as_views,
    "each embedding on its own": lambda state: {name: t.clone() for name, t in state.items()},
    **{f"the embedding as {only} alone": lambda state, only=only: {
        name: t for name, t in state.items() if name not in EMBEDDINGS or name == only} for only in EMBEDDINGS},
    "an empty and a scalar beside": lambda state: {**state, "encoder.version": torch.ones(()), "x": torch.ones(0, 3)},
}


@zip_or_legacy
@pytest.mark.parametrize("way", WAYS)
def test_ways_to_write_a_state_dict(source, bare, convert, new, way):
    _, model = source
    save(WAYS[way](model.state_dict()), bare / "pytorch_model.bin", new)
    folder, done = convert(bare)
    check(folder, model)
    assert ("left out: x" in done.stderr) == (way == "an empty and a scalar beside")


@pytest.mark.slow
@zip_or_legacy
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_protocols(source, bare, convert, new, protocol):
    _, model = source
    save(model.state_dict(), bare / "pytorch_model.bin", new, pickle_protocol=protocol)
    check(convert(bare)[0], model)


@zip_or_legacy
def test_shards_of_pytorch(source, bare, convert, new):
    _, model = source
    state = model.state_dict()
    names = list(state)
    index = {}
    for i in range(3):
        shard = f"pytorch_model-{i + 1:05}-of-00003.bin"
        save({name: state[name] for name in names[i::3]}, bare / shard, new)
        index.update({name: shard for name in names[i::3]})
    (bare / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    check(convert(bare)[0], model)


def test_shards_of_transformers(source, bare, convert):
    _, model = source
    model.save_pretrained(bare, max_shard_size="30KB")
    assert not (bare / "model.safetensors").exists() and len(list(bare.glob("model-*.safetensors"))) > 2
    folder, _ = convert(bare)
    check(folder, model)
    check_in_transformers(folder, model)


def test_aliases_of_safetensors(source, bare, convert):
    """save_model keeps one name of what is tied and puts the others into the metadata, as bart-large-cnn has it."""
    _, model = source
    safetensors.torch.save_model(model, str(bare / "model.safetensors"))
    with safetensors.safe_open(bare / "model.safetensors", "pt") as file:
        assert len([name for name in EMBEDDINGS if name in file.keys()]) == 1
        assert len([name for name in EMBEDDINGS if name in file.metadata()]) == 3
    check(convert(bare)[0], model)
    only = EMBEDDINGS[2]
    state = {name: t for name, t in model.state_dict().items() if name not in EMBEDDINGS or name == only}
    save_file(state, bare / "model.safetensors", {"format": "pt", **{n: only for n in EMBEDDINGS if n != only}})
    check(convert(bare)[0], model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=["bfloat16", "float64"])
def test_other_types(source, convert, dtype):
    directory, model = source
    name = str(dtype).removeprefix("torch.")
    folder, done = convert(directory, "--dtype", name)
    check(folder, model, dtype)
    assert json.loads((folder / "config.json").read_text())["dtype"] == name
    assert BartForConditionalGeneration.from_pretrained(folder, dtype="auto").dtype == dtype
    assert f"F32 are read as {name}" in done.stderr and f"parameters in {name}" in done.stderr


def test_what_comes_along(source, bare, convert):
    directory, model = source
    config = json.loads((bare / "config.json").read_text())
    config.update(task_specific_params={"summarization": {"num_beams": 4}}, my_own_key=[1, None, "\u00e9"])
    (bare / "config.json").unlink()
    (bare / "config.json").write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
    generation = b'{"num_beams": 2,\n   "max_length":30, "another_key": {"kept": true}}'
    (bare / "generation_config.json").unlink(missing_ok=True)
    (bare / "generation_config.json").write_bytes(generation)
    save(model.state_dict(), bare / "pytorch_model.bin")
    folder, _ = convert(bare)
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert {key: written[key] for key in ("task_specific_params", "my_own_key")} == {
        key: config[key] for key in ("task_specific_params", "my_own_key")}
    assert (folder / "generation_config.json").read_bytes() == generation
    assert all((folder / name).read_bytes() == (directory / name).read_bytes() for name in TOKENIZER)
    assert AutoTokenizer.from_pretrained(folder).encode("an the") == AutoTokenizer.from_pretrained(bare).encode("an the")
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        {path.name for path in bare.iterdir()} - {"pytorch_model.bin"} | {"model.safetensors", "manifest.json"})


def test_a_model_without_a_tokenizer(source, convert, bare):
    for name in TOKENIZER + ["special_tokens_map.json", "generation_config.json"]:
        (bare / name).unlink(missing_ok=True)
    save(source[1].state_dict(), bare / "pytorch_model.bin")
    folder, done = convert(bare)
    check(folder, source[1])
    assert "no tokenizer" in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "manifest.json", "model.safetensors"]


def test_summaries_do_not_depend_on_the_format(run, precis, source, bare):
    directory, model = source
    save(model.state_dict(), bare / "pytorch_model.bin")
    ids = [json.loads(run([precis, "summarize", folder, "-", "--format", "json", "--max-length", "12"],
                          input="an the of paper").stdout)["token_ids"] for folder in (directory, bare)]
    assert ids[0] == ids[1] and len(ids[0]) > 2


class Attack:
    def __init__(self, path):
        self.command = f"touch {path}"

    def __reduce__(self):
        return os.system, (self.command,)


@zip_or_legacy
def test_a_pickle_that_runs_code_is_refused_and_not_run(run, precis, source, bare, tmp_path, new):
    _, model = source
    for state in (Attack(tmp_path / "ran"), {**model.state_dict(), "x": Attack(tmp_path / "ran")}):
        save(state, bare / "pytorch_model.bin", new)
        for command in (["convert", bare, tmp_path / "out"], ["inspect", bare], ["inspect", bare / "pytorch_model.bin"],
                        ["summarize", bare, "-"]):
            done = run([precis, *command], code=4, input="x")
            assert "pytorch_model.bin" in done.stderr and "posix.system" in done.stderr and "can run any code" in done.stderr
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out").exists()
    torch.load(bare / "pytorch_model.bin", weights_only=False)  # else the attack is none
    assert (tmp_path / "ran").exists()


NO_STATE_DICTS = {
    "a model": lambda model: model,
    "a checkpoint of a trainer": lambda model: {"model": model.state_dict(), "epoch": 3},
    "a tensor": lambda model: torch.ones(3),
    "a list": lambda model: list(model.state_dict().values()),
    "nothing": lambda model: None,
    "numbers for names": lambda model: dict(enumerate(model.state_dict().values())),
    "a transposed tensor": lambda model: {"w": torch.ones(2, 3).t()},
    "a sparse tensor": lambda model: {"w": torch.eye(3).to_sparse()},
    "a quantized tensor": lambda model: {"w": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)},
    "a complex tensor": lambda model: {"w": torch.ones(3, dtype=torch.complex64)},
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@zip_or_legacy
@pytest.mark.parametrize("name", NO_STATE_DICTS)
def test_what_is_no_state_dict(source, bare, convert, new, name):
    save(NO_STATE_DICTS[name](source[1]), bare / "pytorch_model.bin", new)
    _, done = convert(bare, code=4)
    assert "pytorch_model.bin" in done.stderr


@pytest.mark.slow
@zip_or_legacy
def test_a_file_cut_anywhere(run, precis, source, bare, new):
    path = bare / "pytorch_model.bin"
    save(source[1].state_dict(), path, new)
    whole = path.read_bytes()
    draw = random.Random(3)
    for size in [0, 1, 4, 15, 200, len(whole) - 1, len(whole) - 22, *(draw.randrange(len(whole)) for _ in range(12))]:
        path.unlink()
        path.write_bytes(whole[:size])
        assert "pytorch_model.bin" in run([precis, "inspect", path, "--verify"], code=4).stderr, size


@pytest.mark.slow
@zip_or_legacy
def test_a_flipped_byte(precis, source, bare, new):
    """In the weights it may go unnoticed, or be a value that is not finite; nowhere is it more than an error."""
    import subprocess
    path = bare / "pytorch_model.bin"
    save(source[1].state_dict(), path, new)
    whole = path.read_bytes()
    draw = random.Random(4)
    places = [*range(0, 64, 9), *(len(whole) - 1 - at for at in range(0, 600, 29)),
              *(draw.randrange(min(8000, len(whole))) for _ in range(15)), *(draw.randrange(len(whole)) for _ in range(8))]
    codes = set()
    for at in places:
        path.unlink()
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1:])
        done = subprocess.run([precis, "inspect", bare, "--verify"], capture_output=True, text=True)
        assert done.returncode in (0, 4), (at, done.stderr)
        codes.add(done.returncode)
    assert codes == {0, 4}


class Unseekable:
    """What zipfile can't seek in gets sizes behind the members, not before them."""

    def __init__(self, file):
        self.file = file

    def write(self, data):
        return self.file.write(data)

    def flush(self):
        self.file.flush()


def test_archives_of_other_makers(source, bare, convert):
    path = bare / "pytorch_model.bin"
    save(source[1].state_dict(), bare / "original.bin")
    (bare / "original.bin").rename(bare.parent / "original.bin")

    def rewrite(way, stream=lambda file: file):
        path.unlink(missing_ok=True)
        with zipfile.ZipFile(bare.parent / "original.bin") as old, open(path, "wb") as file:
            with zipfile.ZipFile(stream(file), "w", way) as new:
                new.comment = b"made elsewhere"
                for name in sorted(old.namelist(), reverse=True):
                    new.writestr(name.replace("original/", "weights/"), old.read(name))

    rewrite(zipfile.ZIP_STORED)
    check(convert(bare)[0], source[1])
    rewrite(zipfile.ZIP_STORED, Unseekable)
    check(convert(bare)[0], source[1])
    rewrite(zipfile.ZIP_DEFLATED)
    assert "a compressed zip member" in convert(bare, code=4)[1].stderr


def inspect(run, precis, path, *arguments, code=0):
    done = run([precis, "inspect", path, "--format", "json", *arguments], code=code)
    return json.loads(done.stdout) if code == 0 else done.stderr


@zip_or_legacy
def test_inspect(run, precis, source, bare, new):
    _, model = source
    path = bare / "pytorch_model.bin"
    state = model.state_dict()
    save(state, path, new)
    once = sum(tensor.numel() for tensor in stored(model).values())
    for place in (bare, path):
        report = inspect(run, precis, place, "--verify")
        assert report["weights"]["files"] == ["pytorch_model.bin"]
        assert {t["name"]: t["shape"] for t in report["weights"]["tensors"]} == {n: list(t.shape) for n, t in state.items()}
        assert report["weights"]["by_type"] == {"F32": {"tensors": len(state), "elements": once, "bytes": 4 * once}}
        assert report["weights"]["bytes"] == report["verified"]["weight_bytes"] == 4 * once
    assert report["kind"] == "weights"
    gone = "model.decoder.layers.0.fc1.bias"
    save({name: tensor for name, tensor in state.items() if name != gone}, path, new)
    assert gone in inspect(run, precis, bare, "--verify", code=4)
    broken = {name: tensor.clone() for name, tensor in state.items()}
    broken[gone][3] = float("inf")
    save(broken, path, new)
    for place in (bare, path):
        assert f"'{gone}' holds values that are not finite" in inspect(run, precis, place, "--verify", code=4)


def test_nothing_is_overwritten_or_left_behind(run, precis, source, tmp_path):
    directory, _ = source
    (tmp_path / "there").mkdir()
    done = run([precis, "convert", directory, tmp_path / "there"], code=5)
    assert "already exists" in done.stderr
    for code, words, arguments in [(4, "no such model directory", [tmp_path / "none", tmp_path / "out"]),
                                   (2, "--memory-budget", [directory, tmp_path / "out", "--memory-budget", "1GiB"]),
                                   (2, "--dtype", [directory, tmp_path / "out", "--dtype", "int8"]),
                                   (2, "target", [directory]), (2, "empty", [directory, ""])]:
        assert words in run([precis, "convert", *arguments], code=code).stderr

    def full_disk():
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))

    done = run([precis, "convert", directory, tmp_path / "out"], code=5, preexec_fn=full_disk)
    assert "model.safetensors" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["there"] and not any((tmp_path / "there").iterdir())


def test_a_damaged_source(source, bare, convert):
    """Of a committed directory `convert` reads what `inspect --verify` would refuse only where the reader notices."""
    save_file(stored(source[1]), bare / "model.safetensors")
    whole = (bare / "model.safetensors").read_bytes()
    (bare / "model.safetensors").unlink()
    (bare / "model.safetensors").write_bytes(whole[:-1])
    assert "model.safetensors" in convert(bare, code=4)[1].stderr
