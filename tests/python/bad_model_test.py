"""Bad model directories through the program: weights, config.json, tokenizer.json. Each gets exit code 4, a message that
names the file and what is wrong with it, and nothing is allocated from a length in it. The readers' own tests (tests/io,
tests/text) go through more cases; these see that the commands use them."""

import ctypes
import json
import os
import resource
import shutil
import struct
import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file

from train_support import checkpoints, write_model, write_rows

LIMIT = 2**30  # bytes of address space for what must not allocate from a length in a file


@pytest.fixture
def broken(model, tmp_path):
    """A copy of the model to break."""
    shutil.copytree(model, tmp_path / "broken")
    return tmp_path / "broken"


def edit(path, **changes):
    value = json.loads(path.read_text(encoding="utf-8"))
    value.update(changes)
    path.unlink()
    path.write_text(json.dumps(value), encoding="utf-8")


def replace(path, data):
    path.unlink()
    path.write_bytes(data)


def header_and_data(data):
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + length]), data[8 + length:]


def with_header(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def changed(data, **fields):
    header, body = header_and_data(data)
    name = next(name for name in header if name.endswith("fc1.weight"))
    header[name] = {**header[name], **fields}
    return with_header(header, body)


def moved(data, by):
    """The last weight lies so many bytes further on, where the file then ends."""
    header, body = header_and_data(data)
    name = max((name for name in header if name != "__metadata__"), key=lambda name: header[name]["data_offsets"])
    header[name]["data_offsets"] = [offset + by for offset in header[name]["data_offsets"]]
    return with_header(header, body + bytes(by) if by > 0 else body[:by])


SAFETENSORS = {  # name: (words, what makes it of good bytes)
    "no bytes": ("not a safetensors file", lambda d: b""),
    "3 bytes": ("not a safetensors file", lambda d: d[:3]),
    "7 bytes": ("not a safetensors file", lambda d: d[:7]),
    "length 0": ("bad safetensors header", lambda d: struct.pack("<Q", 0) + d[8:]),
    "length 2^64 - 1": ("header too long", lambda d: struct.pack("<Q", 2**64 - 1) + d[8:]),
    "length beyond the file": ("header beyond the file's end", lambda d: struct.pack("<Q", len(d)) + d[8:]),
    "length above 100 MB": ("header too long", lambda d: struct.pack("<Q", 10**8 + 1) + d[8:]),
    "cut": ("beyond the file's end", lambda d: d[:len(d) // 2]),
    "cut by one": ("beyond the file's end", lambda d: d[:-1]),
    "one byte more": ("belong to no weight", lambda d: d + b"x"),
    "not UTF-8": ("invalid UTF-8", lambda d: with_header(b'{"\xff": 1}', b"")),
    "not JSON": ("bad JSON", lambda d: with_header(b"{" * 20, b"")),
    "not an object": ("bad safetensors header", lambda d: with_header(b"[1, 2]", b"")),
    "a million deep": ("nested too deeply", lambda d: with_header(b'{"a":' * 10**6, b"")),
    "duplicate names": ("duplicate key", lambda d: with_header(
        b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}', b"")),
    "negative offset": ("bad data_offsets", lambda d: changed(d, data_offsets=[-8, 0])),
    "offsets backwards": ("begin <= end", lambda d: changed(d, data_offsets=[8, 0])),
    "overlapping": ("bytes overlap those of another weight", lambda d: moved(d, -4)),
    "a hole": ("belong to no weight before", lambda d: moved(d, 4)),
    "offsets far beyond": ("belong to no weight before", lambda d: changed(d, shape=[2**57], data_offsets=[2**61, 2**61 + 2**60])),
    "shape overflow": ("shape too large", lambda d: changed(d, shape=[2**33, 2**33])),
    "another shape": ("don't match", lambda d: changed(d, shape=[7, 7])),
    "unknown dtype": ("unknown dtype", lambda d: changed(d, dtype="F31")),
    "dtype mismatch": ("don't match", lambda d: changed(d, dtype="F32")),
    "a dtype of no weights": ("a type that is not read", lambda d: changed(d, dtype="I64")),
}


@pytest.mark.parametrize("name", SAFETENSORS)
def test_weights(fails, broken, name):
    words, change = SAFETENSORS[name]
    path = broken / "model.safetensors"
    replace(path, change(path.read_bytes()))
    fails(4, ["model.safetensors", words], "summarize", broken, input="x", preexec_fn=limit_memory)


def test_every_command_that_reads_weights_checks_them(fails, broken, tmp_path):
    replace(broken / "model.safetensors", (broken / "model.safetensors").read_bytes()[:-1])
    write_rows(tmp_path / "rows.jsonl", [{"document": "an the", "summary": "on"}])
    (tmp_path / "run.yaml").write_text(json.dumps({"model": str(broken), "output": str(tmp_path / "run"),
                                                   "data": {"train": [str(tmp_path / "rows.jsonl")]}}))
    for command in (["inspect", broken], ["inspect", broken / "model.safetensors"], ["convert", broken, tmp_path / "new"],
                    ["evaluate", broken, "--data", tmp_path / "rows.jsonl"], ["train", tmp_path / "run.yaml"],
                    ["bench", broken, "--tasks", "encode", "--repeats", "1"]):
        fails(4, ["model.safetensors", "beyond the file's end"], *command)
    assert not (tmp_path / "new").exists() and not checkpoints(tmp_path / "run")


def test_weights_without_elements_and_of_rank_zero(run, precis, broken):
    """Beside those of the model they are left out, and the model's are read as before."""
    command = [precis, "summarize", broken, "-", "--max-length", "12"]
    before = run(command, input="an the of").stdout
    state = load_file(broken / "model.safetensors")
    (broken / "model.safetensors").unlink()
    save_file({**state, "a.empty": torch.zeros(0, 3), "z.empty": torch.zeros(0), "a.scalar": torch.ones(())},
              broken / "model.safetensors")
    done = run(command, input="an the of")
    assert done.stdout == before and "left out: a.empty, a.scalar, z.empty" in done.stderr
    report = json.loads(run([precis, "inspect", broken, "--verify", "--format", "json"]).stdout)
    shapes = {tensor["name"]: tensor["shape"] for tensor in report["weights"]["tensors"]}
    assert (shapes["a.empty"], shapes["z.empty"], shapes["a.scalar"]) == ([0, 3], [0], [])


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))


class Openings:
    """Counts how often a file is opened (inotify)."""

    def __init__(self, path):
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.inotify_init1(os.O_NONBLOCK)
        if libc.inotify_add_watch(self.descriptor, os.fsencode(path), 0x20) < 0:  # IN_OPEN
            raise OSError(ctypes.get_errno(), "inotify_add_watch")

    def take(self):
        try:
            return len(os.read(self.descriptor, 4096)) // 16
        except BlockingIOError:
            return 0


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_shards_outside_the_directory(fails, broken, tmp_path, index):
    """Refused by their names, and by where a link leads, before anything is opened."""
    names = header_and_data((broken / "model.safetensors").read_bytes())[0]
    outside = tmp_path / "x.safetensors"
    (broken / "model.safetensors").rename(outside)
    (broken / "link.safetensors").symlink_to(outside)
    (broken / "up").symlink_to("..")
    openings = Openings(outside)
    for target, words in {"../x.safetensors": "plain name", str(outside): "plain name", "/etc/passwd": "plain name",
                          "up/x.safetensors": "plain name", "link.safetensors": "link out of the model directory",
                          "up": "no regular file", "missing.safetensors": "missing shard"}.items():
        (broken / index).write_text(json.dumps({"weight_map": {name: target for name in names if name != "__metadata__"}}))
        fails(4, [index, words, target[:60]], "summarize", broken, input="x")  # a long one is told in part
    assert openings.take() == 0
    outside.read_bytes()
    assert openings.take() == 1


def test_an_index_of_nothing(fails, broken, tmp_path):
    (broken / "model.safetensors").unlink()
    (broken / "model.safetensors.index.json").write_text('{"weight_map": {}}')
    for command in (["summarize", broken], ["convert", broken, tmp_path / "new"], ["inspect", broken, "--verify"]):
        fails(4, ["model.safetensors.index.json", "names no weight"], *command, input="x")


def test_tied_weights_of_rank_zero(fails, broken, tmp_path):
    state = load_file(broken / "model.safetensors")
    del state["model.shared.weight"]
    torch.save({**state, "lm_head.weight": torch.ones(()), "model.encoder.embed_tokens.weight": torch.zeros(())},
               broken / "pytorch_model.bin")
    (broken / "model.safetensors").unlink()
    fails(4, ["lm_head.weight", "model.encoder.embed_tokens.weight", "different values"], "summarize", broken, input="x")


def test_values_beyond_the_type_they_are_converted_to(run, fails, precis, broken, tmp_path):
    state = {name: weight.double() for name, weight in load_file(broken / "model.safetensors").items()}
    state["model.encoder.layers.0.fc1.weight"][1, 2] = 1e300
    replace(broken / "model.safetensors", b"")
    save_file(state, broken / "model.safetensors")
    for dtype in ("float32", "bfloat16"):
        fails(6, ["model.encoder.layers.0.fc1.weight", f"not finite in {dtype}"], "convert", broken, tmp_path / "new",
              "--dtype", dtype)
    assert not (tmp_path / "new").exists()
    run([precis, "convert", broken, tmp_path / "new", "--dtype", "float64"])


SIZE = "a whole number from 1 to "
ID = "a whole number from 0 to 270"
CONFIGS = [
    ("d_model", 0, SIZE), ("d_model", -8, SIZE), ("d_model", 2**40, SIZE), ("d_model", 32.5, SIZE), ("d_model", "32", SIZE),
    ("d_model", None, SIZE), ("d_model", [32], SIZE), ("encoder_attention_heads", 5, "a divisor of d_model = 32"),
    ("decoder_attention_heads", 0, SIZE), ("encoder_layers", 10**9, SIZE), ("vocab_size", 2**40, SIZE),
    ("max_position_embeddings", -1, SIZE), ("encoder_ffn_dim", True, SIZE), ("scale_embedding", "yes", "true or false"),
    ("activation_function", "gloo", "one of gelu, "), ("dropout", "x", "a number from 0 to below 1"),
    ("dropout", 1e300, "a number from 0 to below 1"), ("model_type", 7, '"bart"'), ("eos_token_id", 10**6, ID),
    ("pad_token_id", -5, ID)]


@pytest.mark.parametrize("field, value, expected", CONFIGS)
def test_config(fails, broken, field, value, expected):
    edit(broken / "config.json", **{field: value})
    words = [f"config.json: bad value of {field}; expected {expected}", f", found {json.dumps(value)}\n"]
    fails(4, words, "summarize", broken, input="x", preexec_fn=limit_memory)


def test_a_config_that_the_weights_do_not_fit(fails, broken, tmp_path):
    """Each size in its range, and together a model of petabytes: nothing of it is allocated."""
    write_rows(tmp_path / "rows.jsonl", [{"document": "an the", "summary": "on"}])
    commands = [["summarize", broken, tmp_path / "rows.jsonl"], ["evaluate", broken, "--data", tmp_path / "rows.jsonl"],
                ["convert", broken, tmp_path / "new"], ["inspect", broken, "--verify"]]
    edit(broken / "config.json", vocab_size=300)
    for command in commands:
        fails(4, ["model.safetensors", "model.shared.weight is [271, 32], the configuration says [300, 32]"], *command)
    edit(broken / "config.json", d_model=65536, encoder_layers=1024, decoder_layers=1024, vocab_size=2**24,
         encoder_ffn_dim=2**20, decoder_ffn_dim=2**20, max_position_embeddings=2**24)
    for command in commands:
        fails(4, ["model.shared.weight is [271, 32], the configuration says [16777216, 65536]"], *command,
              preexec_fn=limit_memory)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("text, words", [
    ('{"d_model": 32,}', ["config.json:1:"]), ("", ["config.json"]), ("[]", ["config.json"]),
    ('{"d_model": 1e400}', ["config.json", "1e400"]), ('{"d_model": 8, "d_model": 8}', ["config.json", "d_model"]),
    ('{"a": "\\ud800"}', ["config.json"]), ('{"a": NaN}', ["config.json"]), ("{" + '"a":[' * 100000, ["config.json"])])
def test_config_that_is_no_json(fails, broken, text, words):
    replace(broken / "config.json", text.encode())
    fails(4, words, "summarize", broken, input="x")


def tokenizer_with(broken, change):
    path = broken / "tokenizer.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    replace(path, json.dumps(value).encode())


TOKENIZERS = {
    "a merge of unknown tokens": lambda t: t["model"]["merges"].append(["qq", "zz"]),
    "a merge without a result": lambda t: t["model"]["merges"].append(["q", "z"]),
    "two tokens of one id": lambda t: t["model"]["vocab"].update(extra=5),
    "a negative id": lambda t: t["model"]["vocab"].update(extra=-1),
    "an id beyond 32 bits": lambda t: t["model"]["vocab"].update(extra=2**40),
    "an empty added token": lambda t: t["added_tokens"].append({**t["added_tokens"][0], "id": 300, "content": ""}),
    "an unknown model": lambda t: t["model"].update(type="Bigram"),
    "an unknown normalizer": lambda t: t.update(normalizer={"type": "Upside"}),
    "an unknown pre-tokenizer": lambda t: t.update(pre_tokenizer={"type": "Knife"}),
    "an unknown decoder": lambda t: t.update(decoder={"type": "Ring"}),
    "no model": lambda t: t.pop("model"),
    "a vocabulary that is a list": lambda t: t["model"].update(vocab=["a"]),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizer(fails, broken, name):
    tokenizer_with(broken, TOKENIZERS[name])
    for command in (["summarize", broken], ["tokenizer", "encode", broken, "-"]):
        fails(4, ["tokenizer.json"], *command, input="x")


def test_model_files_that_are_no_files(fails, model, tmp_path):
    for name in ("config.json", "generation_config.json", "tokenizer.json", "model.safetensors"):
        shutil.rmtree(tmp_path / "m", ignore_errors=True)
        shutil.copytree(model, tmp_path / "m")
        (tmp_path / "m" / name).unlink(missing_ok=True)
        os.mkfifo(tmp_path / "m" / name)
        fails(4, [f"{name}: not a regular file"], "summarize", tmp_path / "m", "-", input="an the")


def test_scores_that_are_not_finite(fails, model, tmp_path):
    shutil.copytree(model, tmp_path / "m")
    weights = load_file(tmp_path / "m" / "model.safetensors")
    weights["model.shared.weight"][5, 3] = float("nan")
    save_file(weights, tmp_path / "m" / "model.safetensors", metadata={"format": "pt"})
    write_rows(tmp_path / "rows.jsonl", [{"id": "good", "document": "on", "summary": "on"}, {"id": "bad", "document": "an the", "summary": "on"}])
    for command in (["summarize", tmp_path / "m", tmp_path / "rows.jsonl"],
                    ["evaluate", tmp_path / "m", "--data", tmp_path / "rows.jsonl", "--metrics", "rouge"]):
        fails(6, ["good, token 1: the model's scores are not finite"], *command)


def test_sixteen_bit_and_foreign_weights_are_told(precis, model, tmp_path):
    shutil.copytree(model, tmp_path / "m")
    weights = {name: tensor.bfloat16() for name, tensor in load_file(tmp_path / "m" / "model.safetensors").items()}
    weights["model.adapter.weight"] = weights["final_logits_bias"].clone()
    save_file(weights, tmp_path / "m" / "model.safetensors", metadata={"format": "pt"})
    done = subprocess.run([precis, "summarize", tmp_path / "m", "-"], input="an the", capture_output=True, text=True)
    assert done.returncode == 0
    assert "weights of type BF16 are read as float32" in done.stderr and "model.adapter.weight" in done.stderr


@pytest.mark.parametrize("positions", [3, 5, 64])
def test_bench_of_a_model_of_few_positions(run, precis, tmp_path, positions):
    """By default it writes what the decoder has positions for; to ask for more is an error."""
    write_model(tmp_path / "model", positions=positions)
    done = run([precis, "bench", tmp_path / "model", "--repeats", "1", "--windows", "1", "--documents", "2",
                "--train-source-tokens", "20", "--format", "json"])
    figures = json.loads(done.stdout)["figures"]
    assert [figure["task"] for figure in figures] == ["encode", "decode", "batch", "train"]
    for task, option in (("decode", "--new-tokens"), ("train", "--train-target-tokens")):
        done = run([precis, "bench", tmp_path / "model", "--tasks", task, f"{option}={positions}"], code=2)
        assert option in done.stderr and f"at most {positions - 1}, found {positions}" in done.stderr
