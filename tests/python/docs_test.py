"""The documentation against the program: every command runs, every option and key that a page names exists."""

import json
import os
import pathlib
import random
import re
import shutil
import subprocess

import pytest

from conftest import ROOT
from sharp_model import document, summary
from train_support import write_model, write_rows

BUILD = pathlib.Path(os.environ.get("PRECIS_BUILD", ROOT / "build" / "release"))
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("recipes/*/README.md"),
                ROOT / "benchmarks" / "README.md"])
# Their commands make the figures beside them, in minutes: what they name is checked, and they are not run.
FIGURES = sorted([*ROOT.glob("docs/results/*.md"), *ROOT.glob("docs/decisions/*.md"), ROOT / "CONTRIBUTING.md"])

CACHED = [
    "recipes/cached/prepare.py qmsum build/cached/data/qmsum/train.jsonl QMSum/data/ALL/train/*.json",
    "recipes/cached/prepare.py qmsum build/cached/data/qmsum/validation.jsonl QMSum/data/ALL/val/*.json",
    "build/precis train recipes/cached/qmsum.yaml --dry-run",
    "build/precis train recipes/cached/qmsum.yaml encoder.memory_budget=20GiB",
    "build/precis evaluate build/cached/qmsum/best --data build/cached/data/qmsum/test.jsonl --num-beams 4"
    " --no-repeat-ngram-size 3",
]
# What a test can't run, and why. What these name is checked all the same.
NOT_RUN = {
    "scripts/demo": "four minutes, and package lists from the network",
    "scripts/test": "runs this test",
    ".venv/bin/hf download facebook/bart-large-cnn --local-dir models/bart-large-cnn": "the network",
    ".venv/bin/python recipes/describe/prepare.py": "the network",
    "recipes/describe/model/make": "two hours",
    "recipes/pretrain/study DATA": "forty minutes",
    "recipes/proposals/study DATA": "twenty minutes",
    "recipes/qmsum/study DATA": "twenty minutes",
    **dict.fromkeys(CACHED, "a BART-large and the data sets are the reader's"),
    "cmake --preset release -DPRECIS_TORCH=LIBTORCH": "a libtorch with CUDA is the reader's",
    "cmake --build --preset release": "the tree that these tests are of",
    "scripts/cuda-check build/release": "a GPU",
    "man -l PREFIX/share/man/man1/precis.1": "man is no package of scripts/setup; reference_test.py reads the page",
}
# Run with these words behind them, for a training of a moment.
SHORTENED = {
    "precis train train.yaml": "steps=2 batch.accumulation=1",
    "precis train train.yaml --resume auto": "steps=3 batch.accumulation=1",
    "build/precis train recipes/describe/train.yaml": "steps=2 epochs=null time_limit=null",
}
# A command begins with one of these; a block whose first line does not is no block of commands.
COMMAND = re.compile(r"(precis|cmake|cat|man|source|(build|scripts|recipes|\.venv|PREFIX)/\S+)(?=\s|$)")
# Options of programs that are not ours.
FOREIGN = {"--install", "--prefix", "--build", "--preset", "--target",  # cmake
           "--local-dir",                                   # hf
           "--logdir"}                                      # tensorboard
TOOLS = ["recipes/describe/prepare.py", "benchmarks/compare.py", "benchmarks/gradient_distance.py",
         "benchmarks/memory.py", "benchmarks/peers/cached_peer.py", "benchmarks/train.py"]
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def relative(page):
    return str(page.relative_to(ROOT))


def split_commands(body):
    """The commands of a block: a line, or several where one ends with a backslash or opens a here-document."""
    commands, lines = [], iter(body.split("\n"))
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        until = re.search(r"<<'(\w+)'", line)
        while line.endswith("\\") or until and line.split("\n")[-1] != until.group(1):
            line += "\n" + next(lines)
        commands.append(line)
    return commands


def blocks(page):
    return re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"))


def commands_of(page):
    return [command for info, body in blocks(page) if info == "" and COMMAND.match(body)
            for command in split_commands(body)]


def bare(command):
    """Without the comment at its end."""
    return re.sub(r"\s+# .*", "", command).strip()


@pytest.fixture(scope="module")
def options(run, precis):
    """options("tokenizer train ...") -> (the command that these words name, its options)."""
    known = {}

    def of(words):
        if words not in known:
            known[words] = run([precis, *words, "--help"]).stdout
        return known[words]

    def call(words):
        command = ()
        for word in words:
            if not re.search(rf"(?m)^  {re.escape(word)} ", of(command).partition("\nSubcommands:\n")[2]):
                break
            command += (word,)
        return command, set(OPTION.findall(of(command)))

    return call


@pytest.fixture(scope="module")
def all_options(run, precis, options):
    names = set(FOREIGN) | {"--version"}
    commands = re.findall(r"(?m)^  ([a-z]+) ", run([precis, "--help"]).stdout.partition("\nSubcommands:\n")[2])
    for command in [*commands, "tokenizer train", "tokenizer encode", "tokenizer decode"]:
        names |= options(command.split())[1]
    for tool in TOOLS:
        names |= set(OPTION.findall(run([ROOT / ".venv/bin/python", ROOT / tool, "--help"]).stdout))
    return names


@pytest.fixture(scope="module")
def keys(run, precis):
    """Every key of a training configuration."""
    shown = run([precis, "train", "--help"]).stdout
    table = set(re.findall(r"(?m)^  ([a-z_]+(?:\.[a-z_]+)?): ", shown.partition("Configuration keys:")[2]))
    assert {"steps", "batch.documents", "validation.metric"} <= table
    return table


@pytest.mark.parametrize("page", PAGES + FIGURES, ids=relative)
def test_every_option_exists(page, all_options, options):
    text = page.read_text(encoding="utf-8")
    assert not set(OPTION.findall(text)) - all_options
    # And where a command is named beside it, it is one of that command.
    code = re.findall(r"`(precis [^`\n]+)`", text) + commands_of(page)
    for command in code:
        for call in re.findall(r"(?:^|\s|/)precis ((?:[^|;&\n\\]|\\\n)*)", bare(command)):
            words = call.split()
            named, of_command = options(words)
            found = set(OPTION.findall(call))
            assert named or not found - {"--help", "--version"}, command
            assert found <= of_command | {"--help"}, f"precis {' '.join(named)} has no {found - of_command}: {command}"


@pytest.mark.parametrize("page", PAGES + FIGURES, ids=relative)
def test_every_key_exists(page, keys):
    sections = {key.split(".")[0] for key in keys if "." in key}
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?<=[`\s])([a-z_]+\.[a-z_]+)(?==[^=]|`|: )", text))
    for section, inside in re.findall(r"\b([a-z_]+): \{([^}]*)\}", text):
        named |= {f"{section}.{key}" for key in re.findall(r"([a-z_]+):", inside)}
    files = (".md", ".safetensors", ".jsonl", ".yaml", ".json")
    assert not {key for key in named if key.split(".")[0] in sections and not key.endswith(files)} - keys


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_no_command_hides_in_another_block(page):
    for info, body in blocks(page):
        command = info == "" and COMMAND.match(body)
        for line in split_commands(body) if command else body.split("\n"):
            assert bool(COMMAND.match(line)) == bool(command), f"a block is of commands or of none: {line}"


def test_what_is_not_run_is_still_there():
    commands = {bare(command) for page in PAGES for command in commands_of(page)}
    assert set(NOT_RUN) | set(SHORTENED) <= commands
    for command in NOT_RUN:
        program = command.split()[1 if "python" in command.split()[0] else 0]
        assert program == "man" or os.access(ROOT / program, os.R_OK), program


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, precis):
    """A folder with what the pages name: MODEL, book.txt, rows.jsonl and the others, and this repository's folders."""
    folder = tmp_path_factory.mktemp("docs") / "world"
    for name in ("bin", "models", "build/demo/data"):
        (folder / name).mkdir(parents=True)
    for name in ("recipes", "scripts", "examples", ".venv"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "build" / "release").symlink_to(BUILD)
    for name in ("bin/precis", "build/precis"):
        (folder / name).symlink_to(precis.resolve())
    for name in ("MODEL", "models/bart-large-cnn"):
        write_model(folder / name, positions=256)  # as many as the pages ask tokens for
        (folder / name / "generation_config.json").write_text(json.dumps(
            dict(bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, num_beams=2, max_length=24)))
    draw = random.Random(20)
    rows = [{"id": f"r{i}", "document": document(draw, 3 + i), "query": "what of memory"} for i in range(6)]
    rows = [{**row, "summary": summary(row["document"])} for row in rows]
    for name in ("rows.jsonl", "train.jsonl", *(f"build/demo/data/{part}.jsonl" for part in ("train", "validation"))):
        write_rows(folder / name, rows[:4])
    write_rows(folder / "validation.jsonl", rows[4:])
    for name in ("predictions.jsonl", "other.jsonl"):
        write_rows(folder / name, [{"id": row["id"], "prediction": row["document"][:40]} for row in rows[4:]])
    for name in ("book.txt", "notes.md"):
        (folder / name).write_text(document(draw, 40), encoding="utf-8")
    (folder / "small.yaml").write_text(json.dumps(
        {"tokenizer": "MODEL", "model": dict(model_type="bart", d_model=32, encoder_layers=1, decoder_layers=1,
                                             encoder_attention_heads=2, decoder_attention_heads=2,
                                             encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=64)}))
    (folder / "train.yaml").write_text(json.dumps(
        {"model": "models/fresh", "output": "runs/fresh", "validation": {"num_beams": 2, "max_length": 12},
         "data": {"train": ["train.jsonl"], "validation": ["validation.jsonl"]}}))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if commands_of(page)], ids=relative)
def test_every_command_runs(page, prepared, tmp_path):
    folder = tmp_path / "world"
    shutil.copytree(prepared, folder, symlinks=True)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    for command in commands_of(page):
        if bare(command) in NOT_RUN:
            continue
        called = command if bare(command) not in SHORTENED else f"{bare(command)} {SHORTENED[bare(command)]}"
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", called], cwd=folder, env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{called}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_the_table_of_exit_codes_is_the_programs(run, precis):
    rows = re.findall(r"(?m)^\| (\d+) \| (?:`(\w+)` )?\| ([^|]+) \|$", (ROOT / "docs/errors.md").read_text())
    table = {}
    for code, _, meaning in rows:
        table[code] = f"{table[code]}; {meaning}" if code in table else meaning
    page = run([precis, "man"]).stdout.partition(".SH EXIT STATUS")[2].partition(".SH")[0]
    assert dict(re.findall(r"\\fB(\d+)\\fR\n(.+)", page.replace("\\-", "-"))) == table


def test_the_error_that_is_shown_is_the_programs(run, precis, tmp_path):
    (tmp_path / "train.yaml").write_text("model: MODEL\noutput: runs\ndata: {train: [train.jsonl]}\nbatch: {document: 4}\n")
    done = run([precis, "train", "train.yaml"], code=2, cwd=tmp_path)
    assert f"```text\n{done.stderr}```" in (ROOT / "docs/errors.md").read_text(encoding="utf-8")


def test_the_table_of_layers_is_the_tree():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?m)^\| [^|]+ \| `src/(\w+)[^`]*` \|", text))
    assert named == {path.name for path in (ROOT / "src").iterdir() if path.is_dir()}


def test_links_lead_somewhere():
    for page in PAGES + FIGURES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            path = (page.parent / target).resolve()
            assert target.startswith("http") or path.exists(), f"{relative(page)}: {target}"


def test_the_tests_that_a_page_names_are_there():
    """In reliability.md the names stand behind the link to their file."""
    page = ROOT / "docs" / "reliability.md"
    cells = re.findall(r"\]\((\.\./tests/[^)]+_test\.\w+)\)((?:,? `\w+`)*)", page.read_text(encoding="utf-8"))
    names = [(page.parent / path, name) for path, found in cells for name in re.findall(r"`(\w+)`", found)]
    assert len(names) > 90
    for path, name in names:
        definition = rf"(?m)^def test_{name}\(" if path.suffix == ".py" else rf"(?m)^TEST\w*\(\w+, {name}\)"
        assert re.search(definition, path.read_text(encoding="utf-8")), f"{path.name} has no {name}"
