"""Fixtures shared by the Python tests: the program, the helper programs, the shared data."""

import json
import os
import pathlib
import subprocess

import pytest

# Tests run side by side, one a core. OpenMP threads that spin for a core take ten times as long as one alone.
# Before torch is imported, and for every program that is started here.
os.environ["OMP_NUM_THREADS"] = "1"

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: starts the program many times, or takes seconds; left out with -m 'not slow'")


@pytest.fixture(scope="session")
def precis():
    """Path of the program; PRECIS names another."""
    path = pathlib.Path(os.environ.get("PRECIS", ROOT / "build" / "precis"))
    assert path.exists(), f"{path} is missing: run scripts/setup"
    return path


@pytest.fixture(scope="session")
def program():
    """program("rouge_scores") is the path of a helper program of tests/programs; PRECIS_PROGRAMS names their folder."""
    folder = pathlib.Path(os.environ.get("PRECIS_PROGRAMS", ROOT / "build" / "release" / "tests"))

    def find(name):
        path = folder / name
        assert path.exists(), f"{path} is missing: run scripts/setup"
        return path

    return find


@pytest.fixture(scope="session")
def shared():
    """The folder of real data; where it is missing the test is skipped, unless PRECIS_REQUIRE_SHARED=1."""
    if not SHARED.is_dir():
        if os.environ.get("PRECIS_REQUIRE_SHARED") == "1":
            pytest.fail(f"{SHARED} is missing and PRECIS_REQUIRE_SHARED is set")
        pytest.skip(f"no shared data at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def read_rows():
    """Rows of a .jsonl.zst file; lines end at newlines alone."""
    import zstandard

    def read(path):
        text = zstandard.ZstdDecompressor().stream_reader(open(path, "rb")).read().decode("utf-8")
        return [json.loads(line) for line in text.split("\n") if line]

    return read


@pytest.fixture(scope="session")
def run():
    """run([program, ...], code=0, input=None) -> CompletedProcess with text output; checks the exit code."""

    def call(command, code=0, input=None, **options):
        done = subprocess.run([str(part) for part in command], input=input, capture_output=True, text=True, **options)
        assert done.returncode == code, f"exit {done.returncode}, wanted {code}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done

    return call


@pytest.fixture(scope="session")
def fails(run, precis):
    """fails(code, words, *arguments): the program ends so, says all the words, prints no result."""

    def call(code, words, *arguments, **options):
        done = run([precis, *arguments], code=code, **options)
        assert done.stdout == "", done.stdout
        assert all(str(word) in done.stderr for word in words), done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("precis: error:")]
        assert len(lines) == 1, done.stderr
        return done

    return call


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The directory of a small random model with a tokenizer, to be read or copied."""
    from train_support import write_model

    folder = tmp_path_factory.mktemp("model") / "model"
    write_model(folder, positions=64)
    return folder


@pytest.fixture(scope="session")
def sharp(tmp_path_factory):
    """(directory, model, tokenizer) of a small model that writes sentences; positions and the rest in sharp_model.py."""
    from transformers.utils import logging

    from sharp_model import write_sharp_model

    logging.set_verbosity_error()
    folder = tmp_path_factory.mktemp("sharp") / "model"
    return folder, *write_sharp_model(folder)
