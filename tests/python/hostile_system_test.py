"""The program on a system that gives little: closed and full streams, folders that may not be written, full disks, few threads, little memory. The right exit code, a message that names the place, and nothing lost."""

import json
import os
import resource
import shutil
import subprocess
import time

import pytest

from train_support import as_others, bytes_of, checkpoints, events, train, write_model, write_rows

INIT = {"model": {"model_type": "bart", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16,
                  "decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
                  "max_position_embeddings": 32}, "seed": 1}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile_system")
    write_model(folder / "model", positions=64)
    write_rows(folder / "rows.jsonl", [{"document": "an the of", "summary": "on in"} for _ in range(4)])
    (folder / "init.yaml").write_text(json.dumps({**INIT, "tokenizer": str(folder / "model")}))
    config = {"model": str(folder / "model"), "output": "out", "data": {"train": [str(folder / "rows.jsonl")]}, "steps": 2,
              "window": 64}
    (folder / "train.yaml").write_text(json.dumps(config))
    return folder


@pytest.fixture
def ends(precis):
    """ends(code, words, *arguments): the program ends so and says all the words."""

    def call(code, words, *arguments, **options):
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        done = subprocess.run([str(part) for part in (precis, *arguments)], text=True, timeout=120, errors="replace", **options)
        assert done.returncode == code, f"exit {done.returncode}, wanted {code}\n{done.stdout}\n{done.stderr}"
        assert all(str(word) in done.stderr for word in words), done.stderr
        return done

    return call


def commands(world, folder):
    """One of each command that prints a result; what they write lies in `folder`."""
    model, rows = world / "model", world / "rows.jsonl"
    return [["summarize", model, rows, "--max-length", "8"], ["summarize", model, rows, "--max-length", "8", "--stream"],
            ["evaluate", model, "--data", rows, "--metrics", "loss"], ["tokenizer", "encode", model, rows],
            ["inspect", model], ["doctor"], ["bench", model, "--tasks", "encode", "--repeats", "1"],
            ["train", world / "train.yaml", f"output={folder / 'run'}"], ["train", world / "train.yaml", "--print-config"],
            ["train", world / "train.yaml", "--dry-run"], ["--help"], ["--version"], ["train", "--help"]]


@pytest.mark.slow
def test_a_result_that_cannot_be_written(world, ends, precis, tmp_path):
    """On a full disk, and with nobody at the other end of the pipe."""
    for i, command in enumerate(commands(world, tmp_path)):
        with open("/dev/full", "w") as full:
            ends(5, ["stdout: can't write the result"], *command, stdout=full)
        process = subprocess.Popen([str(part) for part in (precis, *command)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdout.close()
        assert process.wait(timeout=60) == 5 and "stdout: can't write" in process.stderr.read(), command
        process.stderr.close()
    assert checkpoints(tmp_path / "run") == ["step-00000002"]


@pytest.mark.slow
def test_messages_that_nobody_reads_change_nothing(world, ends, precis, tmp_path):
    for command in commands(world, tmp_path):
        expected = ends(0, [], *command).stdout
        with open("/dev/full", "w") as full:
            done = ends(0, [], *command, stderr=full)
        if command[0] not in ("doctor", "bench") and "--dry-run" not in command:  # these print figures of the moment
            assert done.stdout == expected
        ends(0, [], *command, stderr=None, preexec_fn=lambda: os.close(2))
    ends(4, [], "inspect", tmp_path / "none", stderr=None, preexec_fn=lambda: os.close(2))


def test_a_closed_input_is_no_empty_document(world, ends):
    def close():
        os.close(0)

    for command in (["summarize", world / "model", "-"], ["tokenizer", "encode", world / "model", "-"],
                    ["tokenizer", "decode", world / "model"]):
        done = ends(5, ["-: can't read"], *command, stdin=None, preexec_fn=close)
        assert done.stdout == ""
    ends(0, [], "summarize", world / "model", world / "rows.jsonl", stdin=None, preexec_fn=close)


def test_more_threads_than_can_be_started(world, ends):
    """libgomp would end the program with exit code 1, or crash it."""
    def little():
        resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))

    command = ["summarize", world / "model", world / "rows.jsonl", "--max-length", "8"]
    for threads in ("512", "4096"):
        ends(2, ["--threads", threads], *command, "--threads", threads, preexec_fn=little)
    ends(2, ["--threads", "4097"], *command, "--threads", "4097")
    ends(0, [], *command, env={**os.environ, "OMP_NUM_THREADS": "999999999"})
    ends(0, [], *command, "--threads", "64")


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [560, 600, 640, 700, 800, 1000])
def test_little_memory_is_enough_or_an_error(world, precis, tmp_path, megabytes):
    """From where the libraries just load; a long document in one graph asks for more than there is."""
    write_rows(tmp_path / "long.jsonl", [{"document": "an the of " * 20_000, "summary": "on in"}])
    limit = megabytes * 2**20
    for command in (["summarize", world / "model", tmp_path / "long.jsonl", "--max-length", "8"],
                    ["train", world / "train.yaml", f"data.train={tmp_path / 'long.jsonl'}", f"output={tmp_path / 'run'}",
                     "encoder.schedule=kept", "steps=1"],
                    ["tokenizer", "encode", world / "model", tmp_path / "long.jsonl"], ["doctor"]):
        done = subprocess.run([str(part) for part in (precis, *command)], capture_output=True, text=True, timeout=120,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
        assert done.returncode in (0, 5), f"exit {done.returncode} of {command}\n{done.stderr}"
        assert done.returncode == 0 or "precis: error:" in done.stderr, done.stderr
    assert not list(tmp_path.glob("run/.tmp-*"))


def writers(world, folder):
    """One of each command that writes into a folder, with the name of what it makes."""
    model, rows = world / "model", world / "rows.jsonl"
    return {"model": ["convert", model, folder / "model"], "fresh": ["init", world / "init.yaml", folder / "fresh"],
            "run": ["train", world / "train.yaml", f"output={folder / 'run'}"],
            "losses": ["evaluate", model, "--data", rows, "--metrics", "loss", "--output", folder / "losses"],
            "tokenizer": ["tokenizer", "train", "--vocab-size", "300", "--out", folder / "tokenizer", rows]}


def test_a_folder_that_may_not_be_written(world, ends, tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "file").write_text("kept")
    folder.chmod(0o555)
    for command in writers(world, folder).values():
        ends(5, [folder, "Permission denied"], *command, preexec_fn=as_others)
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_a_model_that_may_not_be_read(world, ends, tmp_path):
    """Neither is such a directory taken for one without a model, nor a file for a missing one."""
    model = tmp_path / "model"
    shutil.copytree(world / "model", model)
    rows = world / "rows.jsonl"
    uses = [["evaluate", model, "--data", rows], ["convert", model, tmp_path / "new"], ["inspect", model],
            ["train", world / "train.yaml", f"model={model}", f"output={tmp_path / 'run'}"]]
    model.chmod(0)
    for command in uses:
        ends(4, [model, "Permission denied"], *command, preexec_fn=as_others)
    ends(4, ["Permission denied"], "tokenizer", "encode", model, rows, preexec_fn=as_others)
    model.chmod(0o755)
    for name in ("generation_config.json", "tokenizer_config.json", "model.safetensors"):
        (model / name).chmod(0)
        for command in uses[1:]:
            ends(4, [f"{name}: can't open: Permission denied"], *command, preexec_fn=as_others)
        (model / name).chmod(0o644)
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob("run/step-*"))


def test_links_that_lead_nowhere(world, ends, tmp_path):
    """As they stand in a damaged cache of Hugging Face: damage, and no model without the file."""
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        for target, words in (("nowhere", "no such file"), (name, "Too many levels")):
            model = tmp_path / f"{name}-{target == name}"
            shutil.copytree(world / "model", model)
            (model / name).unlink()
            (model / name).symlink_to(target)
            for command in (["convert", model, tmp_path / "new"], ["inspect", model],
                            ["train", world / "train.yaml", f"model={model}", f"output={tmp_path / 'run'}"]):
                ends(4, [name, words], *command)
    assert not (tmp_path / "new").exists()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB: a model's weights do not fit."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(world, ends, small_disk):
    (small_disk / "file").write_text("kept")
    for name, command in writers(world, small_disk).items():
        if name in ("losses", "tokenizer"):
            continue  # these fit
        words = ["too little room", "free bytes"] if name == "run" else ["No space left on device", "bytes"]
        ends(5, [small_disk, *words], *command)
        shutil.rmtree(small_disk / "run", ignore_errors=True)
        assert [path.name for path in small_disk.iterdir()] == ["file"]
    (small_disk / "filler").write_bytes(b"x" * (60 * 1024))
    for name in ("losses", "tokenizer", "run"):
        ends(5, [small_disk, "No space left on device"], *writers(world, small_disk)[name])
        assert not [path for path in small_disk.iterdir() if path.name in ("losses", "tokenizer")]
    assert (small_disk / "file").read_text() == "kept"


def test_what_stands_in_the_output_folder_is_not_taken(world, tmp_path):
    """A pipe in the place of the log, and somebody's file under a name that a run writes to: told before the first step."""
    config = json.loads((world / "train.yaml").read_text())
    mine = tmp_path / "mine"
    mine.write_text("mine")
    cases = [(name, lambda path: path.write_text("mine")) for name in
             ("latest", ".lock", "metrics.jsonl", "config.yaml", "step-00000001")]
    cases += [("best", lambda path: path.mkdir()), ("metrics.jsonl", os.mkfifo), (".lock", lambda path: path.symlink_to(mine)),
              ("step-00000009", lambda path: path.symlink_to(path.name))]
    for i, (name, make) in enumerate(cases):
        out = tmp_path / f"{i}"
        out.mkdir()
        make(out / name)
        before = os.lstat(out / name)
        assert str(out / name) in train(tmp_path, {**config, "output": str(out)}, expect=5).stderr
        after = os.lstat(out / name)
        assert (after.st_ino, after.st_size, after.st_mode) == (before.st_ino, before.st_size, before.st_mode)
        assert not [path for path in out.glob("step-*") if path.is_dir()] and mine.read_text() == "mine"


def test_the_written_configuration_runs_again_in_its_own_folder(world, ends, tmp_path):
    ends(0, [], "train", world / "train.yaml", f"output={tmp_path / 'run'}")
    ends(0, ["at the end of the run already"], "train", tmp_path / "run" / "config.yaml")
    ends(0, [], "train", tmp_path / "run" / "config.yaml", "steps=3")
    assert checkpoints(tmp_path / "run")[-1] == "step-00000003"


def test_an_output_that_cannot_be_looked_at(world, ends, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for output in (tmp_path / "loop", tmp_path / "loop" / "x", tmp_path / ("x" * 5000)):
        for more in ([], ["--dry-run"]):
            ends(5, [tmp_path], "train", world / "train.yaml", f"output={output}", *more)


@pytest.mark.parametrize("more", [[], ["checkpoint.every=1"], ["data.validation=ROWS", "validation.every=1"]])
def test_weights_that_are_not_finite_take_no_checkpoints_place(world, ends, tmp_path, more):
    """An update that overflows the weights, behind a good checkpoint of which one is kept."""
    command = ["train", world / "train.yaml", f"output={tmp_path / 'run'}", "checkpoint.keep=1"]
    ends(0, [], *command)
    weights = bytes_of(tmp_path / "run" / "step-00000002")
    more = [part.replace("ROWS", str(world / "rows.jsonl")) for part in more]
    ends(6, ["not finite"], *command, "steps=6", "optimizer.learning_rate=1e30", "optimizer.weight_decay=1e10",
         "schedule.name=constant", *more, "--allow-change", "optimizer", "--allow-change", "schedule")
    assert checkpoints(tmp_path / "run") == ["step-00000002"]
    assert bytes_of(tmp_path / "run" / "step-00000002") == weights
    ends(0, [], *command, "steps=3", "--allow-change", "optimizer", "--allow-change", "schedule")


def test_results_do_not_replace_the_data_they_are_made_from(world, ends, tmp_path):
    data = tmp_path / "rows.jsonl"
    shutil.copy(world / "rows.jsonl", data)
    (tmp_path / "link.jsonl").symlink_to(data)
    (tmp_path / "hard.jsonl").hardlink_to(data)
    for output in (data, tmp_path / "link.jsonl", tmp_path / "hard.jsonl", f"{tmp_path}/./rows.jsonl"):
        ends(2, ["--output: the output is the data itself"], "evaluate", world / "model", "--data", data, "--metrics", "loss",
             "--output", output)
    assert data.read_bytes() == (world / "rows.jsonl").read_bytes()
    shutil.copytree(world / "model", tmp_path / "model")
    for name in ("model.safetensors", "config.json", "predictions.jsonl"):
        ends(2, ["--output: the output lies among the model's own files"], "evaluate", tmp_path / "model", "--data", data,
             "--metrics", "loss", "--output", tmp_path / "model" / name)
    assert (tmp_path / "model/config.json").read_bytes() == (world / "model/config.json").read_bytes()


def test_weights_that_are_cut_in_use(world, ends, precis, tmp_path):
    """While a pipe is waited for: what was loaded is used, and what was not is an error; no signal ends the program."""
    from bad_input_test import reads
    expected = ends(0, [], "summarize", world / "model", world / "rows.jsonl", "--max-length", "8").stdout
    for i, (command, code) in enumerate(((["summarize", "MODEL", "FIFO", "--max-length", "8"], 0),
                                         (["train", world / "train.yaml", "model=MODEL", "data.train=FIFO", "output=OUT"], 4))):
        model, fifo = tmp_path / f"model{i}", tmp_path / f"rows{i}.jsonl"
        shutil.copytree(world / "model", model)
        os.mkfifo(fifo)
        names = {"MODEL": str(model), "FIFO": str(fifo), "OUT": str(tmp_path / "run")}
        arguments = [str(part) for part in (precis, *command)]
        for name, value in names.items():
            arguments = [part.replace(name, value) for part in arguments]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not reads(process, fifo):
            time.sleep(0.005)
        os.truncate(model / "model.safetensors", 1000)
        fifo.write_bytes((world / "rows.jsonl").read_bytes())
        output, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
        assert output == expected if code == 0 else str(model / "model.safetensors") in errors
    assert not checkpoints(tmp_path / "run")
