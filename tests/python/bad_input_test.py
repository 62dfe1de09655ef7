"""Bad input through the program: each gets its exit code, a message that names the place, and leaves nothing behind.
The readers' own tests (tests/io, tests/text, tests/data) go through more cases; these see that the commands use them."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from train_support import checkpoints, events, train, write_rows

JSON_LINES = {  # name: (line, place in the message)
    "bad JSON": ('{"document": }', ":2:14"),
    "cut": ('{"document": "x', ":2:16"),
    "missing field": ('{"summary": "x"}', ":2"),
    "wrong type": ('{"document": 3, "summary": "x"}', ":2"),
    "not an object": ('["x"]', ":2"),
    "duplicate key": ('{"document": "x", "document": "y", "summary": "z"}', ":2:"),
    "two values": ('{"document": "x", "summary": "z"} {}', ":2:"),
    "lone surrogate": ('{"document": "\\ud83d", "summary": "z"}', ":2:15: lone surrogate"),
    "not UTF-8": ('{"document": "an \udce9", "summary": "z"}', ":2:18: invalid UTF-8; found byte 0xE9 at byte offset 57"),
    "a BOM": ('\ufeff{"document": "x", "summary": "z"}', ":2:1: bad JSON: a byte order mark"),
}


@pytest.mark.parametrize("name", JSON_LINES)
def test_json_lines(fails, model, tmp_path, name):
    line, place = JSON_LINES[name]
    path = tmp_path / "rows.jsonl"
    good = '{"document": "an the", "summary": "on"}'
    path.write_text(f"{good}\n{line}\n{good}\n", encoding="utf-8", errors="surrogateescape")
    output = tmp_path / "out"
    fails(3, [f"rows.jsonl{place}"], "evaluate", model, "--data", path, "--output", output)
    assert not output.exists()
    config = {"model": str(model), "output": str(tmp_path / "run"), "data": {"train": [str(path)]}, "steps": 1}
    done = train(tmp_path, config, expect=3)
    assert f"rows.jsonl{place}" in done.stderr and not list(tmp_path.glob("run/step-*"))


@pytest.mark.slow
def test_bad_lines_are_left_out_where_asked_up_to_a_count(run, fails, precis, model, tmp_path):
    path = tmp_path / "rows.jsonl"
    good = '{"document": "an the", "summary": "on"}'
    path.write_text(f"{good}\n{{]\n{good}\n[]\n{good}\n", encoding="utf-8")
    command = ["evaluate", model, "--data", path, "--metrics", "loss", "--format", "json", "--on-bad-line"]
    done = run([precis, *command, "skip:2"])
    assert {"documents": 3, "skipped_lines": 2}.items() <= json.loads(done.stdout).items()
    assert "2 bad lines left out" in done.stderr and "rows.jsonl:4" in done.stderr
    fails(3, ["rows.jsonl:4"], *command, "skip:1")
    fails(2, ["--on-bad-line", "skip:N"], *command, "skip:0")
    done = run([precis, "summarize", model, path, "--on-bad-line", "skip:9", "--max-length", "8", "--format", "jsonl"])
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["1", "3", "5"]
    config = {"model": str(model), "output": str(tmp_path / "run"), "steps": 1,
              "data": {"train": [str(path)], "on_bad_line": "skip:2"}}
    done = train(tmp_path, config)
    assert "training data: 2 bad lines are left out" in done.stderr
    config["data"]["on_bad_line"] = "skip:none"
    assert "data.on_bad_line" in train(tmp_path, config, expect=2).stderr


@pytest.mark.slow
def test_summaries_matter_only_where_they_are_used(run, fails, precis, model, tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = ['"summaries": null', '"summary": 5', '"summary": ["a"]', '"summaries": "x"']
    path.write_text("".join(f'{{"document": "an the", {row}}}\n' for row in rows), encoding="utf-8")
    done = run([precis, "summarize", model, path, "--max-length", "8", "--format", "jsonl"])
    assert len(done.stdout.splitlines()) == len(rows)
    assert len(set(run([precis, "tokenizer", "encode", model, path]).stdout.splitlines())) == 1
    fails(2, ["unknown option --summary-field"], "tokenizer", "encode", model, path, "--summary-field", "x")
    learn = ["tokenizer", "train", "--vocab-size", "300", "--out", tmp_path / "t", path]
    for command in (["evaluate", model, "--data", path], learn):
        fails(3, ["rows.jsonl:1", "summaries"], *command)
    path.write_text('{"document": "an the", "gist": ["on", "in"]}\n', encoding="utf-8")
    run([precis, *learn, "--summary-field", "gist"])


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=ascii)
def test_json_lines_of_other_editors(run, precis, model, tmp_path, end):
    """A BOM, CRLF, blank lines, no last newline, separators of Unicode within strings."""
    rows = [{"document": "an\u2028the", "summary": "on"}, {"document": "the", "summary": "in"}]
    text = (end + " \t" + end + end).join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    done = run([precis, "evaluate", model, "--data", tmp_path / "rows.jsonl", "--metrics", "loss", "--format", "json"])
    assert json.loads(done.stdout)["documents"] == 2
    config = {"model": str(model), "output": str(tmp_path / "run"), "data": {"train": [str(tmp_path / "rows.jsonl")]}, "steps": 1}
    train(tmp_path, config)
    assert events(tmp_path / "run", "start")[0]["training_documents"] == 2


BOMB = "a: &a [x, x]\n" + "".join(f"{chr(c)}: &{chr(c)} [*{chr(c - 1)}, *{chr(c - 1)}]\n" for c in range(ord("b"), ord("z")))
# What is no YAML for us, whichever file it stands in; then the keys and values of each.
BOTH = {
    "duplicate key": ("seed: 5\nseed: 6\n", [":2:1", "duplicate key 'seed'; first on line 1"]),
    "tab": ("model:\n\tname: x\n", [":2:1: a tab"]),
    "octal": ("seed: 010\n", [":1:", "'seed'", "found '010'"]),
    "float for an integer": ("seed: 1e-5\n", [":1:", "'seed'", "found '1e-5'"]),
    "alias bomb": (BOMB, [":1:4: anchors are not supported"]),
    "NUL": ("seed: 5\0\n", [":1:8: a NUL byte"]),
    "unknown key": ("sede: 5\n", [":1", "unknown key 'sede'", "did you mean 'seed'"]),
    "not UTF-8": (b"seed: \xff\n", [":1:7: invalid UTF-8; found byte 0xFF"]),
}
YAML = {
    "nothing": ("", ["'model' is missing"]),
    "a word for a number": ("optimizer: {learning_rate: fast}\n", [":1", "learning_rate", "fast"]),
    "a key of a section twice": ("batch: {documents: 1, documents: 2}\n", [":1:23", "duplicate key 'documents'"]),
    "a NUL that is written out": ('output: "out\\0/hidden"\n', [":1:9", "NUL"]),
    "a list for a section": ("optimizer: [sgd]\n", [":1", "optimizer"]),
}


@pytest.mark.parametrize("command, name", [("train", name) for name in {**BOTH, **YAML}] + [("init", name) for name in BOTH])
def test_yaml(fails, tmp_path, command, name):
    text, words = {**BOTH, **YAML}[name]
    path = tmp_path / "run.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    fails(2, [f"run.yaml{word}" if word.startswith(":") else word for word in words], command, path,
          *([tmp_path / "new"] if command == "init" else []))
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.yaml"]


@pytest.mark.slow
def test_sets_and_paths_of_odd_kinds(fails, run, precis, model, tmp_path):
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "folder.jsonl").mkdir()
    fails(3, ["empty.jsonl", "no rows"], "evaluate", model, "--data", tmp_path / "empty.jsonl")
    for command in (["evaluate", model, "--data"], ["summarize", model], ["tokenizer", "encode", model],
                    ["tokenizer", "train", "--vocab-size", "300", "--out", tmp_path / "t"]):
        fails(3, ["folder.jsonl", "directory"], *command, tmp_path / "folder.jsonl")
    fails(3, ["none.jsonl"], "evaluate", model, "--data", tmp_path / "none.jsonl")
    fails(3, ["empty.jsonl", "no rows"], "evaluate", "--predictions", tmp_path / "empty.jsonl", "--references",
          tmp_path / "empty.jsonl")
    fails(3, ["empty.jsonl", "no rows"], "tokenizer", "train", "--vocab-size", "300", "--out", tmp_path / "t",
          tmp_path / "empty.jsonl")
    assert not (tmp_path / "t").exists()
    done = run([precis, "summarize", model, tmp_path / "empty.jsonl"])
    assert done.stdout == "" and "no document to summarize" in done.stderr
    write_rows(tmp_path / "rows.jsonl", [{"document": "an the", "summary": "on"}])
    for name, word in (("empty", "no rows"), ("folder", "directory")):
        config = {"model": str(model), "output": str(tmp_path / "run"), "steps": 1,
                  "data": {"train": [str(tmp_path / "rows.jsonl")], "validation": [str(tmp_path / f"{name}.jsonl")]}}
        done = train(tmp_path, config, expect=3)
        assert f"{name}.jsonl" in done.stderr and word in done.stderr and not checkpoints(tmp_path / "run")
    fails(2, ["--bogus"], "summarize", model, "--bogus", input="x")
    # Names that a shell, or an option parser, might take for something else.
    for name in ("-x", "x|", "a b", "$(x)", "\u00e9"):
        (tmp_path / name).write_text("an the", encoding="utf-8")
        path = tmp_path / name if name != "-x" else "./-x"
        done = run([precis, "summarize", model, path, "--format", "jsonl", "--max-length", "8"], cwd=tmp_path)
        assert json.loads(done.stdout)["id"] == str(path)
    done = run([precis, "summarize", model, "--format", "jsonl", "--max-length", "8", "--", "-x"], cwd=tmp_path)
    assert json.loads(done.stdout)["id"] == "-x"


@pytest.mark.slow
def test_names_that_are_no_utf8(run, precis, model, tmp_path):
    """In JSON such a byte is U+FFFD; the file is found by its own name all the same."""
    odd, shown = os.fsdecode(os.fsencode(tmp_path) + b"/x\xff"), f"{tmp_path}/x\ufffd"
    for name in (odd + ".txt", odd + ".ids"):
        with open(name, "w", encoding="utf-8") as file:
            file.write("an the" if name.endswith(".txt") else '{"id": "7", "ids": [5]}')
    shutil.copytree(model, odd)
    for form in ("json", "jsonl"):
        command = [precis, "summarize", odd, odd + ".txt", "--max-length", "8"]
        result = json.loads(run([*command, "--format", form], errors="surrogateescape").stdout)
        assert (result["id"], result["model"]) == (shown + ".txt", shown)
    done = run([precis, "summarize", odd, odd + ".txt", "--max-length", "8", "--log-format", "jsonl"])
    assert shown + ".txt" in done.stderr
    assert json.loads(run([precis, "inspect", odd, "--format", "json"]).stdout)["path"] == shown
    done = run([precis, "tokenizer", "encode", odd, odd + ".txt", "--format", "jsonl"])
    assert json.loads(done.stdout)["id"] == shown + ".txt"
    run([precis, "tokenizer", "decode", odd, odd + ".ids", "--format", "jsonl"])
    done = run([precis, "tokenizer", "decode", odd], input="\udcff 5", code=3, errors="surrogateescape")
    assert "an id is not an integer" in done.stderr


def test_a_fifo_is_read_to_its_end(run, precis, model, tmp_path):
    import threading
    os.mkfifo(tmp_path / "pipe.txt")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe.txt").write_text("an the of"))
    writer.start()
    done = run([precis, "summarize", model, tmp_path / "pipe.txt", "--format", "jsonl", "--max-length", "8"])
    writer.join()
    assert json.loads(done.stdout)["input_tokens"] > 0


def reads(process, path):
    folder = pathlib.Path(f"/proc/{process.pid}/fd")
    return any(os.path.realpath(link) == str(path) for link in folder.iterdir())


def catches(process, number):
    """Whether the program has a handler of the signal."""
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", pathlib.Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    return int(caught[1], 16) >> (number - 1) & 1 == 1


def test_an_override_that_is_no_utf8(precis, run, tmp_path):
    """config.yaml, which keeps it, could not be read again."""
    (tmp_path / "run.yaml").write_text("data: {train: [x]}\n")
    (tmp_path / "init.yaml").write_text("model: {d_model: 16}\n")
    for command in (["train", tmp_path / "run.yaml", "output=x\udcff"],
                    ["init", tmp_path / "init.yaml", tmp_path / "out", "tokenizer=x\udcff"]):
        done = run([precis, *command], code=2, errors="surrogateescape")
        assert "not UTF-8" in done.stderr and "0xFF" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_wait_for_input(precis, model, tmp_path, number, code):
    """Of a FIFO without a writer; the writer of standard input stands still within a row."""
    fifo = tmp_path / "fifo.jsonl"
    os.mkfifo(fifo)
    (tmp_path / "run.yaml").write_text(json.dumps(
        {"model": str(model), "output": str(tmp_path / "run"), "data": {"train": [str(fifo)]}, "steps": 1}))
    for command in (["summarize", model, fifo], ["summarize", model, "-", "--input-format", "jsonl"],
                    ["tokenizer", "encode", model, fifo], ["tokenizer", "decode", model, "-"],
                    ["tokenizer", "train", "--vocab-size", "300", "--out", tmp_path / "t", fifo],
                    ["evaluate", model, "--data", fifo], ["evaluate", "--predictions", fifo, "--references", fifo],
                    ["train", tmp_path / "run.yaml"], ["train", fifo], ["init", fifo, tmp_path / "new"],
                    ["bench", model, "--tasks", "tokenize", "--text", fifo]):
        process = subprocess.Popen([precis, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        process.stdin.write('{"document": "an')
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not (catches(process, number) and ("-" in command or reads(process, fifo))) and time.monotonic() < deadline:
            time.sleep(0.02)
        if "-" in command:
            time.sleep(0.5)  # standard input is open from the start: the wait for it probably began
        process.send_signal(number)
        try:
            assert process.wait(timeout=10) == code, process.stderr.read()
        finally:
            process.kill()
        process.communicate()
    assert sorted(path.name for path in tmp_path.iterdir()) in (["fifo.jsonl", "run", "run.yaml"], ["fifo.jsonl", "run.yaml"])


def test_an_output_folder_that_cannot_be_written(fails, model, tmp_path):
    """Under a plain file, so that it holds for root too."""
    (tmp_path / "file").write_text("kept")
    write_rows(tmp_path / "rows.jsonl", [{"document": "an the", "summary": "on"}])
    config = {"model": str(model), "output": str(tmp_path / "file" / "run"),
              "data": {"train": [str(tmp_path / "rows.jsonl")]}, "steps": 1}
    assert "file" in train(tmp_path, config, expect=5).stderr
    fails(5, ["file"], "evaluate", model, "--data", tmp_path / "rows.jsonl", "--output", tmp_path / "file" / "o.jsonl")
    fails(5, ["file"], "tokenizer", "train", "--vocab-size", "300", "--out", tmp_path / "file" / "t",
          tmp_path / "rows.jsonl")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.slow
def test_a_tokenizer_is_written_whole_or_not_at_all(run, fails, precis, tmp_path):
    out, text = tmp_path / "tokenizer", tmp_path / "text.txt"
    text.write_text("an the of an the of a treats", encoding="utf-8")
    learn = ["tokenizer", "train", "--vocab-size", "300", "--out", out, text]

    def full_disk():
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    fails(5, ["tokenizer.json", "bytes"], *learn, preexec_fn=full_disk)
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]
    run([precis, *learn])
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert {"tokenizer.json", "vocab.json", "merges.txt", "manifest.json"} <= set(before)
    fails(5, [out, "already exists"], *learn)
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}
    report = json.loads(run([precis, "inspect", out, "--verify", "--format", "json"]).stdout)
    assert report["kind"] == "tokenizer" and report["verified"]["digests"] is True
    (out / "vocab.json").write_bytes(before["vocab.json"] + b" ")
    fails(4, ["vocab.json"], "inspect", out, "--verify")


@pytest.mark.parametrize("arguments, words", [
    (["sumarize"], ["unknown command sumarize", "did you mean summarize", "precis --help"]),
    (["tokenizer", "encoed"], ["unknown command encoed", "did you mean encode", "precis tokenizer --help"]),
    (["--vresion"], ["unknown option --vresion", "did you mean --version"]),
    (["summarize", "x", "--num-beam=3"], ["unknown option --num-beam;", "did you mean --num-beams"]),
    (["inspect", "x", "y"], ["unexpected argument y", "precis inspect --help"]),
    (["summarize", "x", "--num-beams"], ["--num-beams"]),
    (["summarize", "x", "--format", "xml"], ["--format", "xml"]),
    (["train"], ["config"]),
    ([], ["precis --help"]),
])
def test_usage(fails, arguments, words):
    fails(2, words, *arguments)


@pytest.mark.slow
@pytest.mark.parametrize("option", [["--device", "cuda"], ["--dtype", "bfloat16"], ["--memory-budget", "1GiB"]])
def test_options_for_a_model_are_refused_where_none_runs(fails, run, precis, model, tmp_path, option):
    (tmp_path / "x.txt").write_text("an the")
    (tmp_path / "p.jsonl").write_text('{"id": 1, "prediction": "x"}\n')
    scoring = ["evaluate", "--predictions", tmp_path / "p.jsonl", "--references", tmp_path / "p.jsonl"]
    for command in (["inspect", model], ["tokenizer", "encode", model, tmp_path / "x.txt"],
                    ["tokenizer", "decode", model, tmp_path / "x.txt"], scoring,
                    ["tokenizer", "train", "--vocab-size", "300", "--out", tmp_path / "t", tmp_path / "x.txt"]):
        fails(2, [option[0]], *command, *option)
    run([precis, "inspect", model, "--device", "cpu", "--threads", "1"])


@pytest.mark.parametrize("code, arguments, expected", [
    (2, ["sumarize", "x", "--log-format=jsonl"],
     {"kind": "usage", "message": "unknown command sumarize; did you mean summarize? (see precis --help)",
      "hint": "see precis --help"}),
    (2, ["summarize", "x", "--log-format", "jsonl", "--num-beams"], {"kind": "usage", "hint": "see precis summarize --help"}),
    (2, ["summarize", "--log-format", "jsonl", "MODEL", "ROWS", "--device", "cuda"],
     {"where": "--device", "found": "cuda", "hint": "--device cpu"}),
    (3, ["summarize", "MODEL", "ROWS", "--log-format", "jsonl"],
     {"kind": "data", "where": "ROWS:1", "message": "ROWS:1: bad row; expected a JSON object, found array",
      "expected": "a JSON object", "found": "array"}),
    (4, ["inspect", "/none", "--log-format", "jsonl"], {"kind": "model", "where": "/none"}),
])
def test_the_last_message_is_json_where_the_others_are(run, precis, model, tmp_path, code, arguments, expected):
    (tmp_path / "rows.jsonl").write_text("[]\n")
    names = {"MODEL": str(model), "ROWS": str(tmp_path / "rows.jsonl")}
    done = run([precis, *(names.get(part, part) for part in arguments)], code=code)
    [*_, error] = [json.loads(line) for line in done.stderr.splitlines()]
    expected = {key: value.replace("ROWS", names["ROWS"]) for key, value in expected.items()}
    assert {**expected, "level": "error"}.items() <= error.items() and set(error) <= {
        "level", "message", "kind", "where", "expected", "found", "hint"}


def test_a_closed_stream_is_not_taken_for_a_file(precis, model, tmp_path):
    """The next file to be opened would get its number, and log lines would go there."""
    write_rows(tmp_path / "rows.jsonl", [{"id": "a", "document": "an the", "summary": "on"}])
    command = [precis, "evaluate", model, "--data", "rows.jsonl", "--output", "out.jsonl", "--metrics", "loss,rouge"]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.DEVNULL, preexec_fn=lambda: os.close(2))
    assert done.returncode == 0
    assert [json.loads(line)["id"] for line in open(tmp_path / "out.jsonl")] == ["a"]
    done = subprocess.run([precis, "--version"], stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1))
    assert done.returncode == 5 and b"can't write" in done.stderr


def test_a_query_that_leaves_no_room_is_told_with_its_row(fails, model, tmp_path):
    rows = [{"document": "an", "summary": "on"}, {"document": "an", "summary": "on", "query": "an the of in on " * 400}]
    write_rows(tmp_path / "rows.jsonl", rows)
    write_rows(tmp_path / "bad.jsonl", rows[1:])
    config = {"model": str(model), "output": str(tmp_path / "out"), "data": {"train": [str(tmp_path / "rows.jsonl")]}}
    (tmp_path / "run.yaml").write_text(json.dumps(config))
    for command in (["train", tmp_path / "run.yaml"], ["evaluate", model, "--data", tmp_path / "rows.jsonl"],
                    ["summarize", model, tmp_path / "bad.jsonl"]):
        place = "bad.jsonl:1" if command[0] == "summarize" else "rows.jsonl:2"
        fails(2, [f"{place}: query: the query leaves no room"], *command)


@pytest.mark.slow
def test_names_that_are_empty_and_a_query_that_is_no_text(fails, model, tmp_path):
    write_rows(tmp_path / "rows.jsonl", [{"document": "an the", "summary": "on"}])
    fails(2, ["--output", "empty"], "evaluate", model, "--data", tmp_path / "rows.jsonl", "--output", "")
    fails(2, ["--out", "empty"], "tokenizer", "train", "--vocab-size", "300", "--out", "", tmp_path / "rows.jsonl")
    fails(2, ["--resume", "empty"], "train", "run.yaml", "--resume", "")
    fails(2, ["--query", "0xFF"], "summarize", model, tmp_path / "rows.jsonl", "--query", os.fsdecode(b"a\xff"))
