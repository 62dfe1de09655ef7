"""Large, endless and cut inputs through the program (RELIABILITY, cases 24 to 28): linear time and bounded memory. Sizes
are just large enough that a quadratic step, or a copy too many, would show."""

import gzip
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading

import pytest
import zstandard

from train_support import checkpoints, config_of, events, train, write_model, write_rows, write_world

GIB = 2**30
LITTLE = 250_000_000  # bytes: the program and its libraries


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("large_input"))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A model so narrow that ten million rows of memory are 320 MB; attention in short windows costs little."""
    folder = tmp_path_factory.mktemp("large_input") / "narrow"
    write_model(folder, positions=128, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=1,
                decoder_attention_heads=1, encoder_ffn_dim=8, decoder_ffn_dim=8)
    return folder


# A child's ru_maxrss starts at what its parent holds: the parent is a process that holds little.
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024))
sys.exit(code if code >= 0 else 128 - code)
"""


def measured(folder, command, timeout=300, **options):
    """(exit code, stdout, stderr, peak resident bytes) of the program alone; the figure passes through `folder`."""
    process = subprocess.Popen([sys.executable, "-c", MEASURE, str(folder / "peak"), *map(str, command)], text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True, **options)
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, output, errors, int((folder / "peak").read_text())


def write_zst(path, pieces):
    with open(path, "wb") as file, zstandard.ZstdCompressor(level=1).stream_writer(file) as writer:
        for piece in pieces:
            writer.write(piece)


def long_row(size):
    """A row of JSON Lines whose document has so many bytes."""
    yield b'{"document": "'
    for _ in range(size // 10**6):
        yield b"x" * 10**6
    yield b'", "summary": "on"}\n'


GOOD = b'{"document": "an the", "summary": "on"}\n'


@pytest.mark.slow
def test_a_line_above_a_gibibyte_is_refused_or_left_out(precis, world, tmp_path):
    """1.2 GB from a file of some kB: the line is held up to its bound, and once while it grows."""
    path = tmp_path / "rows.jsonl.zst"
    write_zst(path, [GOOD, *long_row(1_200_000_000), GOOD])
    command = [precis, "tokenizer", "encode", world / "model", path]
    code, output, errors, peak = measured(tmp_path, command)
    assert code == 3 and f"{path}:2: line too long; expected at most {GIB} bytes" in errors, errors
    assert len(output.splitlines()) == 1 and peak < 2.2 * GIB
    code, output, errors, peak = measured(tmp_path, [*command, "--on-bad-line", "skip:1"])
    assert code == 0 and len(output.splitlines()) == 2 and "1 bad lines left out" in errors and peak < 2.2 * GIB


@pytest.mark.slow
def test_an_endless_line_is_an_error(precis, world, tmp_path):
    """/dev/zero has no line's end; of a text nothing ends either."""
    for command in (["evaluate", world / "model", "--data", "/dev/zero"], ["tokenizer", "decode", world / "model", "/dev/zero"],
                    ["tokenizer", "encode", world / "model", "/dev/zero", "--input-format", "text"]):
        code, output, errors, peak = measured(tmp_path, [precis, *command])
        assert code == 3 and output == "" and "/dev/zero" in errors and "too long" in errors, errors
        assert peak < 3.2 * GIB


@pytest.mark.slow
def test_a_line_that_does_not_fit_in_memory_is_an_error(precis, world, tmp_path):
    """Below the bound of a line, above what there is: 600 MB under a limit of 1.5 GiB."""
    path = tmp_path / "rows.jsonl.zst"
    write_zst(path, long_row(600_000_000))
    limit = 3 * GIB // 2
    for command in (["tokenizer", "encode", world / "model", path], ["evaluate", world / "model", "--data", path]):
        code, output, errors, _ = measured(tmp_path, [precis, *command],
                                           preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
        assert code == 5 and output == "" and "out of memory" in errors, errors


@pytest.mark.slow
@pytest.mark.parametrize("unit, megabytes", [("the an ", 50), ("x", 5), (" ", 5), ("\\u00e9", 5), ("\U0001f600", 5), ("a\\n", 5),
                                             ("<s>", 5)], ids=ascii)
def test_a_row_of_fifty_megabytes(precis, world, tmp_path, unit, megabytes):
    """Encoded and decoded it is what it was; a quadratic step would take days, or hours."""
    text = unit * (megabytes * 10**6 // len(unit.encode()))
    (tmp_path / "rows.jsonl").write_bytes(b'{"document": "' + text.encode() + b'"}\n')
    code, ids, errors, peak = measured(tmp_path, [precis, "tokenizer", "encode", world / "model", tmp_path / "rows.jsonl"], timeout=120)
    assert code == 0, errors
    (tmp_path / "ids").write_text(ids)
    code, output, errors, _ = measured(tmp_path, [precis, "tokenizer", "decode", world / "model", tmp_path / "ids", "--format", "jsonl"],
                                       timeout=120)
    assert code == 0 and json.loads(output)["text"] == json.loads(f'"{text}"'), errors
    assert peak < 2 * GIB


def pack_gzip(data):
    return gzip.compress(data)


def pack_zstd(data):
    return zstandard.ZstdCompressor().compress(data)


@pytest.mark.parametrize("suffix, pack", [(".gz", pack_gzip), (".zst", pack_zstd)], ids=["gz", "zst"])
def test_packed_data_that_are_cut_or_in_members(precis, run, world, tmp_path, suffix, pack):
    rows = [{"id": str(i), "document": f"an the {i * 7919}", "summary": "on"} for i in range(200)]
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    cut, whole = tmp_path / f"cut.jsonl{suffix}", tmp_path / f"rows.jsonl{suffix}"
    whole.write_bytes(pack(text[:999]) + pack(b"") + pack(text[999:]))  # the first member ends within a row
    cut.write_bytes(whole.read_bytes()[:-5])
    config = config_of(world, tmp_path / "run", data={"train": [str(cut)]}, steps=1, validation={"every": 0})
    for command in (["evaluate", world / "model", "--data", cut, "--metrics", "loss"],
                    ["tokenizer", "train", "--vocab-size", "300", "--out", tmp_path / "t", cut]):
        done = run([precis, *command], code=3)
        assert f"{cut}: " in done.stderr and "cut short" in done.stderr and done.stdout == ""
    assert "cut short" in train(tmp_path, config, expect=3).stderr and not checkpoints(tmp_path / "run")
    assert not (tmp_path / "t").exists()
    # A damaged stream is no bad line: it can't be left out.
    run([precis, "evaluate", world / "model", "--data", cut, "--metrics", "loss", "--on-bad-line", "skip:999"], code=3)
    done = run([precis, "evaluate", world / "model", "--data", whole, "--metrics", "loss", "--format", "json"])
    assert json.loads(done.stdout)["documents"] == 200


@pytest.mark.slow
@pytest.mark.parametrize("suffix, pack", [(".gz", pack_gzip), (".zst", pack_zstd)], ids=["gz", "zst"])
def test_bombs(precis, world, tmp_path, suffix, pack):
    """300 MB of line ends are 300 million blank lines; 1.2 GB of one letter are one text."""
    lines, letters = tmp_path / f"lines.jsonl{suffix}", tmp_path / f"letters.txt{suffix}"
    lines.write_bytes(pack(b"\n" * 10**7) * 30)
    assert lines.stat().st_size < 3 * 10**5 * 1.1
    code, _, errors, peak = measured(tmp_path, [precis, "evaluate", world / "model", "--data", lines])
    assert code == 3 and "no rows" in errors and peak < LITTLE
    if suffix == ".zst":  # the bound of a text is no matter of the packing
        letters.write_bytes(pack(b"x" * 10**7) * 120)
        assert letters.stat().st_size < 12 * 10**5 * 1.1
        code, _, errors, peak = measured(tmp_path, [precis, "tokenizer", "encode", world / "model", letters])
        assert code == 3 and f"{letters}: text too long" in errors and peak < 3.2 * GIB


def test_data_of_odd_kinds_for_training(precis, run, world, tmp_path):
    """A FIFO, names that a shell or a parser might take for something else, one row for a batch of four, none, a folder."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "none").write_text("\n \r\n")
    for name in ("-x", "x|", "one"):
        (tmp_path / name).write_bytes(GOOD)
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=lambda: (tmp_path / "fifo").write_bytes(GOOD))
    writer.start()
    for name, code, word in (("-x", 0, ""), ("x|", 0, ""), ("one", 0, ""), ("fifo", 0, ""), ("folder", 3, "folder: a directory"),
                             ("none", 3, "none: no rows"), ("missing", 3, "missing: no such file")):
        config = config_of(world, tmp_path / f"run{name}", data={"train": [name]}, steps=2, validation={"every": 0})
        del config["data"]["validation"]
        assert word in train(tmp_path, config, expect=code).stderr
        assert len(checkpoints(tmp_path / f"run{name}")) == (1 if code == 0 else 0)
    writer.join()
    run([precis, "tokenizer", "train", "--vocab-size", "300", "--out", "t", "--", "-x", "x|"], cwd=tmp_path)
    run([precis, "evaluate", world / "model", "--data=-x", "--metrics", "loss"], cwd=tmp_path)


def test_documents_of_no_token_and_of_one(precis, run, world, tmp_path):
    rows = tmp_path / "rows.jsonl"
    write_rows(rows, [{"document": document, "summary": "on"} for document in ("", "the", "an the")])
    config = config_of(world, tmp_path / "run", data={"train": [str(rows)], "validation": [str(rows)]}, steps=3,
                       batch={"documents": 1, "accumulation": 1})
    train(tmp_path, config)
    assert sorted(step["source_tokens"] for step in events(tmp_path / "run", "step")) == [0, 1, 2]
    done = run([precis, "evaluate", world / "model", "--data", rows, "--metrics", "loss", "--format", "json"])
    assert {"documents": 3, "tokens": 9}.items() <= json.loads(done.stdout).items()
    # Of an empty text there is nothing to restore.
    config = config_of(world, tmp_path / "noised", objective="denoise", data={"train": [str(rows)]}, steps=2, validation={"every": 0})
    del config["data"]["validation"]
    assert "1 empty documents are left out" in train(tmp_path, config).stderr
    assert events(tmp_path / "noised", "start")[0]["training_documents"] == 2


def test_a_sentence_longer_than_a_window(precis, run, world, tmp_path):
    """700 tokens without a stop, windows of 64: it is noised in pieces, and named as a source in parts."""
    text = "the an of " * 140
    (tmp_path / "long.txt").write_text(text)
    done = run([precis, "summarize", world / "model", tmp_path / "long.txt", "--max-length", "8", "--explain", "--format", "json"])
    result = json.loads(done.stdout)
    assert result["windows"] > 10 and result["truncated"] is False
    for sentence in result["sources"]:
        for passage in sentence["passages"]:
            assert 0 <= passage["start"] < passage["end"] <= len(text)
    config = config_of(world, tmp_path / "run", objective="denoise", data={"train": [str(tmp_path / "long.txt")]}, steps=2,
                       validation={"every": 0})
    del config["data"]["validation"]
    train(tmp_path, config)
    assert events(tmp_path / "run", "start")[0]["training_documents"] > 10


@pytest.mark.slow
def test_ten_million_tokens(precis, narrow, tmp_path):
    """`th` is one token, so the text has 20 MB; it is summarized as one document, and a tenth trained on."""
    tokens = 10_000_000
    row = {"id": "long", "document": "th" * tokens, "summary": "on"}
    write_rows(tmp_path / "rows.jsonl", [row])
    code, output, errors, peak = measured(tmp_path, [precis, "summarize", narrow, tmp_path / "rows.jsonl", "--max-length", "4", "--format", "jsonl"],
                                          timeout=600)
    assert code == 0, errors
    result = json.loads(output)
    assert result["input_tokens"] == tokens and result["memory_rows"] == tokens + 2 and result["truncated"] is False
    assert result["windows"] == -(-tokens // 126)
    assert peak < 400 * tokens
    tokens //= 10
    write_rows(tmp_path / "rows.jsonl", [{**row, "document": "th" * tokens}])
    config = {"model": str(narrow), "output": str(tmp_path / "run"), "data": {"train": [str(tmp_path / "rows.jsonl")]}, "steps": 1}
    train(tmp_path, config)
    [step] = events(tmp_path / "run", "step")
    assert step["source_tokens"] == tokens


@pytest.mark.slow
def test_rouge_of_two_long_texts(precis, tmp_path):
    """160,000 words each, half of them shared in order: no table of 160,000 x 160,000 bits, 3 GB, is held."""
    count = 160_000
    write_rows(tmp_path / "references.jsonl", [{"id": "a", "summary": " ".join(f"w{i}" for i in range(count))}])
    write_rows(tmp_path / "predictions.jsonl", [{"id": "a", "prediction": " ".join(f"w{i}" if i % 2 else f"v{i}" for i in range(count))}])
    code, output, errors, peak = measured(tmp_path, [precis, "evaluate", "--predictions", tmp_path / "predictions.jsonl", "--references",
                                                     tmp_path / "references.jsonl", "--no-stemmer", "--format", "json"])
    assert code == 0, errors
    scores = json.loads(output)
    assert scores["rougeL"]["fmeasure"] == scores["rougeLsum"]["fmeasure"] == 0.5
    assert peak < LITTLE + 1500 * count


@pytest.mark.slow
def test_a_signal_ends_rouge_of_two_long_texts(precis, tmp_path):
    """Of 12,000 lines each: 144 million pairs of sentences."""
    lines = "\n".join(f"a b c{i}" for i in range(12_000))
    write_rows(tmp_path / "references.jsonl", [{"id": "a", "summary": lines}])
    write_rows(tmp_path / "predictions.jsonl", [{"id": "a", "prediction": lines}])
    process = subprocess.Popen([precis, "evaluate", "--predictions", tmp_path / "predictions.jsonl", "--references",
                                tmp_path / "references.jsonl"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=3) == 143, process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_many_names(precis, world, tmp_path):
    """80,000 added tokens and 60,000 keys, each looked up once and not compared to all others."""
    shutil.copytree(world / "model", tmp_path / "model")
    path = tmp_path / "model" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    first = 1 + max([*tokenizer["model"]["vocab"].values(), *(token["id"] for token in tokenizer["added_tokens"])])
    like = {**tokenizer["added_tokens"][0], "special": False}
    tokenizer["added_tokens"] += [{**like, "id": first + i, "content": f"<x{i}>"} for i in range(80_000)]
    path.write_text(json.dumps(tokenizer))
    done = subprocess.run([precis, "tokenizer", "encode", tmp_path / "model", "-"], input="<x79999>", capture_output=True, text=True, timeout=5)
    assert str(first + 79_999) in done.stdout.split(), done.stderr
    (tmp_path / "keys.yaml").write_text("".join(f"k{i}: 1\n" for i in range(60_000)))
    done = subprocess.run([precis, "train", tmp_path / "keys.yaml"], capture_output=True, text=True, timeout=5)
    assert done.returncode == 2 and "unknown key 'k0'" in done.stderr
