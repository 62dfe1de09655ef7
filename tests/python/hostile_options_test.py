"""Hostile command lines: numbers, names and paths that nobody means. Exit code 2 to 5 as the contract has it, one message
that names the option or the path, no result and nothing written."""

import json
import os
import shutil

import pytest

from train_support import write_model, write_rows


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile_options")
    write_model(folder / "model", positions=64)
    write_rows(folder / "rows.jsonl", [{"document": "an the of", "summary": "on in"}])
    config = {"model": str(folder / "model"), "output": str(folder / "out"), "data": {"train": [str(folder / "rows.jsonl")]}}
    (folder / "train.yaml").write_text(json.dumps(config))
    (folder / "init.yaml").write_text(json.dumps({"model": {"d_model": 16}, "tokenizer": str(folder / "model"), "seed": 1}))
    os.symlink("loop", folder / "loop")
    return folder


@pytest.fixture
def fails(run, precis, world):
    """fails(code, words, *arguments): so it ends, with one message, no result, and the folder as it was."""

    def call(code, words, *arguments):
        (world / "out").mkdir(exist_ok=True)  # a run makes its folder before it reads its data
        before = sorted(path.name for path in world.iterdir())
        done = run([precis, *arguments], code=code, cwd=world, input="", errors="surrogateescape", timeout=60)
        lines = [line for line in done.stderr.splitlines() if line.startswith("precis: error:")]
        assert len(lines) == 1 and done.stdout == "", done.stderr
        assert all(word in lines[0] for word in words), lines[0]
        assert sorted(path.name for path in world.iterdir()) == before
        return done

    return call


SUMMARIZE, EVALUATE = ["summarize", "model", "rows.jsonl"], ["evaluate", "model", "--data", "rows.jsonl"]
INTEGERS = [(SUMMARIZE, "--threads"), (SUMMARIZE, "--window"), (SUMMARIZE, "--max-length"), (SUMMARIZE, "--num-beams"),
            (SUMMARIZE, "--seed"), (SUMMARIZE, "--top-k"), (SUMMARIZE, "--eos-token-id"), (SUMMARIZE, "--suppress-tokens"),
            (EVALUATE, "--max-target-tokens"), (EVALUATE, "--window"),
            (["tokenizer", "train", "rows.jsonl", "--out", "t"], "--vocab-size"), (["bench", "model"], "--repeats")]


@pytest.mark.slow
@pytest.mark.parametrize("text", ["010", "0x10", "1e3", " 5", "9223372036854775808"])
def test_what_is_no_integer(fails, text):
    """CLI11 took `010` for 8, 0x10 for 16 and 2^63 for 2^63 - 1: a seed, say, that nobody gave."""
    for command, option in INTEGERS:
        fails(2, [option], *command, f"{option}={text}")


def test_an_octal_number_and_one_too_large(fails):
    fails(2, ["--threads", "expected an integer", "'010'"], *SUMMARIZE, "--threads", "010")
    fails(2, ["--seed", "'9223372036854775808'"], *SUMMARIZE, "--seed", str(2**63), "--do-sample")
    fails(2, ["--suppress-tokens", "'011'"], *SUMMARIZE, "--suppress-tokens", "5,011")


@pytest.mark.slow
@pytest.mark.parametrize("option, value", [
    ("--threads", "0"), ("--threads", "-1"), ("--threads", "100000"), ("--window", "-5"), ("--window", str(2**62)),
    ("--max-length", str(2**63 - 1)), ("--max-new-tokens", str(2**63 - 1)), ("--min-length", str(2**62)), ("--num-beams", str(2**40)),
    ("--num-return-sequences", str(2**40)), ("--no-repeat-ngram-size", str(2**62)), ("--no-repeat-ngram-size", "-1"),
    ("--length-penalty", "nan"), ("--length-penalty", "inf"), ("--length-penalty", "1e400"), ("--repetition-penalty", "0"),
    ("--forced-bos-token-id", "99999999999"), ("--suppress-tokens", "-1"), ("--bad-words-ids", "[["), ("--bad-words-ids", "[" * 100_000),
    ("--bad-words-ids", "[[1e400]]"), ("--sequence-bias", "{}"), ("--exponential-decay-length-penalty", "[2,1e308]"),
    ("--memory-budget", "1"), ("--memory-budget", "-1"), ("--memory-budget", "1e30"), ("--memory-budget", "nan"),
    ("--memory-budget", "0x10"), ("--memory-budget", "8 GiB x"), ("--on-bad-line", "skip:-1"), ("--query", "\udcff")])
def test_values_beyond_all_sense(fails, option, value):
    error = fails(2, [], *SUMMARIZE, f"{option}={value}").stderr
    key = option.removeprefix("--").replace("-", "_")  # as a setting of generation is called
    assert option in error or f"error: {key}: " in error, error


@pytest.mark.parametrize("options", [("--temperature", "1e-320"), ("--temperature", "1e308"), ("--temperature", "0"),
                                     ("--temperature", "-1"), ("--top-k", "-1"), ("--seed", "-1"), ("--top-p", "nan")], ids="=".join)
def test_sampling_beyond_all_sense(fails, options):
    name = options[0].removeprefix("--").replace("-", "_")
    fails(2, [name], *SUMMARIZE, "--do-sample", "=".join(options))


@pytest.mark.parametrize("command", [
    [*SUMMARIZE, "--format", "json", "--format", "text"], [*SUMMARIZE, "--threads", "1", "--threads", "2"],
    [*SUMMARIZE, "--model", "model", "--model", "model"], [*SUMMARIZE, "--max-length", "8", "--max-length", "9"],
    ["train", "train.yaml", "--memory-budget", "1", "--memory-budget", "2"]])
def test_an_option_given_twice(fails, command):
    fails(2, [command[-2]], *command)


@pytest.mark.slow
@pytest.mark.parametrize("override", [
    "seed=-1", f"seed={2**70}", f"steps={2**63}", f"steps={2**62}", "steps=0", "steps=1e3", f"batch.documents={2**40}",
    f"batch.accumulation={2**63 - 1}", f"epochs={2**63 - 1}", f"schedule.warmup_steps={2**63 - 1}", "time_limit=1e400", "time_limit=nan",
    "checkpoint.keep=0", "dropout=1.0", "dropout=-0.1", "label_smoothing=1.0", "optimizer.learning_rate=1e400", "optimizer.betas=[0.9]",
    "optimizer.betas=[0.9,1.0]", f"window={2**63 - 1}", "window=2", f"max_target_tokens={2**63 - 1}", "data.train=[]", "output=", "", "=x", "x",
    "output", "seed=010", "seed=0x10", "seed=~", "seed=[1]", "data.train=*x", "steps=5\t", "model=\0".rstrip("\0")])
def test_overrides_beyond_all_sense(fails, override):
    key, equals, _ = override.partition("=")
    told = {"data.train=[]": "data.train: no training files", "data.train=*x": "anchor", "steps=5\t": "a tab"}
    fails(2, [told.get(override, f"'{key}'" if key and equals else "not an override")], "train", "train.yaml", override)


EMPTY = [["summarize", "", "rows.jsonl"], ["summarize", "model", ""], ["summarize", "--model", "", "rows.jsonl"], ["inspect", ""],
         ["train", ""], ["evaluate", "", "--data", "rows.jsonl"], ["evaluate", "model", "--data", ""],
         ["evaluate", "--predictions", "", "--references", "rows.jsonl"], ["tokenizer", "encode", "", "rows.jsonl"],
         ["tokenizer", "encode", "model", ""], ["tokenizer", "decode", "model", ""],
         ["tokenizer", "train", "--vocab-size", "300", "--out", "t", ""], ["init", "", "x"], ["init", "init.yaml", ""],
         ["convert", "", "x"], ["convert", "model", ""], ["bench", ""]]


@pytest.mark.parametrize("command", EMPTY, ids=" ".join)
def test_a_name_that_is_empty(fails, command):
    fails(2, ["is empty"], *command)


# With PATH where a path stands, and the code where there is nothing good at it.
INPUTS = [(4, ["summarize", "--model", "PATH", "rows.jsonl"]), (3, ["summarize", "model", "PATH"]), (4, ["inspect", "PATH"]), (2, ["train", "PATH"]),
            (4, ["evaluate", "PATH", "--data", "rows.jsonl"]), (3, ["evaluate", "model", "--data", "PATH"]),
            (3, ["evaluate", "--predictions", "PATH", "--references", "rows.jsonl"]), (4, ["tokenizer", "encode", "PATH", "rows.jsonl"]),
            (3, ["tokenizer", "encode", "model", "PATH"]), (3, ["tokenizer", "decode", "model", "PATH"]),
            (3, ["tokenizer", "train", "--vocab-size", "300", "--out", "t", "PATH"]), (2, ["init", "PATH", "x"]), (4, ["convert", "PATH", "x"]),
            (4, ["bench", "PATH"]), (3, ["bench", "model", "--tasks", "tokenize", "--text", "PATH"]), 
          (3, ["train", "train.yaml", "output=out", "data.train=PATH"])]


OUTPUTS = [["convert", "model", "PATH/x"], ["tokenizer", "train", "--vocab-size", "300", "--out", "PATH/x", "rows.jsonl"],
           ["evaluate", "model", "--data", "rows.jsonl", "--output", "PATH/x"], ["train", "train.yaml", "output=PATH/x"]]
PATHS = {"5,000 bytes": "x" * 5000, "a loop of links": "loop", "under a file": "rows.jsonl/x", "no UTF-8": "\udcff\udcfe"}


@pytest.mark.slow
@pytest.mark.parametrize("name", PATHS)
def test_paths_that_lead_nowhere(fails, world, name):
    for code, command in INPUTS:
        arguments = [part.replace("PATH", PATHS[name]) for part in command]
        if name == "no UTF-8" and command[-1].startswith("data"):
            code = 2  # a configuration holds no such bytes
        fails(code, [], *arguments)
    if name == "no UTF-8":
        return  # a good name for an output
    for command in OUTPUTS:
        fails(5, [], *(part.replace("PATH", PATHS[name]) for part in command))


FLAGS = [([*SUMMARIZE, "--do-sample"], "--do-sample"), ([*SUMMARIZE, "--quiet"], "--quiet"), ([*SUMMARIZE, "-q"], "-q"),
         (["train", "train.yaml", "output=out", "--dry-run"], "--dry-run"), (["inspect", "model", "--verify"], "--verify")]


@pytest.mark.parametrize("value", ["maybe", "2", "-1", "", "True"])
def test_values_of_flags(fails, value):
    for command, flag in FLAGS:
        *others, given = command
        fails(2, [f"{flag}: not the value of a flag; expected true, false, or no value at all, found '{value}'"], *others, f"{given}={value}")


def test_a_flag_may_be_turned_off(run, precis, world):
    for value, sampled in (("true", True), ("false", False)):
        done = run([precis, *SUMMARIZE, f"--do-sample={value}", "--format", "json", "--max-length", "4"], cwd=world)
        assert ("seed" in done.stdout) is sampled


def test_options_before_the_command(fails):
    for option in ("--quiet", "-q", "--threads=2"):
        name = option.split("=")[0]
        fails(2, [f"unknown option {name} before the command: options follow it (see precis summarize --help)"], option, *SUMMARIZE)


@pytest.mark.parametrize("search", [["--num-beams", "1"], ["--num-beams", "3"], ["--num-beams", "3", "--num-return-sequences", "3"],
                                    ["--do-sample"], ["--do-sample", "--num-beams", "3"]], ids=" ".join)
def test_settings_that_leave_no_token(fails, world, search):
    """The end is too early, all else is suppressed; transformers writes a token that is ruled out."""
    vocabulary = json.loads((world / "model" / "config.json").read_text())["vocab_size"]
    others = ",".join(str(token) for token in range(vocabulary) if token != 2)
    fails(2, ["precis: error: 1, token ", ": the generation settings rule out every token"], *SUMMARIZE, *search, "--suppress-tokens", others, "--min-length", "5",
          "--max-length", "8")


def test_a_model_that_suppresses_every_token(fails, world, tmp_path):
    shutil.copytree(world / "model", tmp_path / "m")
    vocabulary = json.loads((world / "model" / "config.json").read_text())["vocab_size"]
    settings = {"max_length": 8, "decoder_start_token_id": 2, "eos_token_id": 2, "suppress_tokens": list(range(vocabulary))}
    (tmp_path / "m" / "generation_config.json").write_text(json.dumps(settings))
    fails(4, ["generation_config.json: suppress_tokens: "], "summarize", tmp_path / "m", "rows.jsonl")


def test_control_characters_in_messages(run, precis, fails, world, tmp_path):
    """An id that would clear the screen, end the line and the message."""
    name = "a\x1b[2J\u009b\nb\u0000c\u202ed"
    write_rows(tmp_path / "rows.jsonl", [{"id": name, "document": "an the", "summary": ""}])
    shown = "a\\x1B[2J\\u{009B}\\nb\\x00c\\u{202E}d"
    done = fails(3, [shown], "evaluate", "model", "--data", tmp_path / "rows.jsonl")
    assert not set("\x1b\u009b\u202e\0") & set(done.stderr)
    done = run([precis, "evaluate", "model", "--data", tmp_path / "rows.jsonl", "--log-format", "jsonl"], cwd=world, code=3)
    assert "\x1b[2J\u009b\nb" in json.loads(done.stderr.splitlines()[-1])["message"]
