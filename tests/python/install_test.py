"""cmake --install: the tree runs after it was moved, finds nothing where it was built, and C++ is built against it."""

import json
import os
import pathlib
import re
import subprocess

import pytest

from conftest import ROOT
from sharp_model import document

BUILD = pathlib.Path(os.environ.get("PRECIS_BUILD", ROOT / "build" / "release"))
# What a copied tree leaves to the system: the C and C++ libraries and the loader.
SYSTEM = re.compile(r"(ld-linux.*|libc|libm|libdl|libpthread|librt|libgcc_s|libstdc\+\+)\.so\.\d+")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """An installed tree that was moved since, with a blank in its new name."""
    folder = tmp_path_factory.mktemp("install")
    done = subprocess.run(["cmake", "--install", BUILD, "--prefix", folder / "first"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "first").rename(folder / "moved there")
    return folder / "moved there"


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """An environment of nobody's making: no path into a build tree, a Python, or the user's files."""
    home = tmp_path_factory.mktemp("home")
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    import random
    path = tmp_path_factory.mktemp("text") / "long.txt"
    path.write_text(document(random.Random(8), 60), encoding="utf-8")  # several windows
    return path


def loaded_files(run, command, environment, folder):
    """The command's result, and every file that the dynamic loader opened or tried to for it."""
    done = run(command, env={**environment, "LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": str(folder / "loader")}, cwd=folder)
    lines = [line for path in folder.glob("loader.*") for line in path.read_text().splitlines()]
    return done, {line.split("=", 1)[1].strip() for line in lines if "trying file=" in line} | \
        {line.split("calling init: ", 1)[1].strip() for line in lines if "calling init: " in line}


def test_the_tree_holds_what_a_package_would(tree):
    for name in ("bin/precis", "lib/libprecis.so", "include/precis/precis.h", "lib/cmake/Precis/PrecisConfig.cmake",
                 "share/man/man1/precis.1", "share/bash-completion/completions/precis", "share/doc/precis/LICENSE",
                 "lib/precis/libtorch_cpu.so", "lib/precis/libc10.so", "share/precis/models/describe/README.md"):
        assert (tree / name).is_file(), name
    assert [path.name for path in (tree / "lib").iterdir() if path.is_file() and "precis" not in path.name] == []
    assert not list(tree.rglob("*.a"))
    assert [path.name for path in (tree / "share/precis/models").iterdir()] == ["describe"]
    licences = {path.name for path in (tree / "share/doc/precis/licences").iterdir()}
    copied = {re.split(r"[.\d-]", path.name)[0] for path in (tree / "lib/precis").iterdir()}
    for library, licence in {"libtorch_cpu": "libtorch", "libicuuc": "libicu", "libcrypto": "libssl", "libz": "zlib",
                             "libyaml": "libyaml-cpp", "libtcmalloc_minimal": "libtcmalloc-minimal", "libfmt": "libfmt",
                             "libspdlog": "libspdlog", "libzstd": "libzstd"}.items():
        assert library in copied and licence in licences, library


def test_every_library_is_the_trees_own_or_the_c_library(run, tree, bare):
    for program in (tree / "bin" / "precis", tree / "lib" / "libprecis.so"):
        for line in run(["ldd", program], env=bare).stdout.splitlines():
            name, _, path = line.strip().partition(" => ")
            if not path:  # the loader, by its path, and the kernel's own
                assert SYSTEM.fullmatch(pathlib.Path(name.split()[0]).name) or "vdso" in name or "static" in name, line
                continue
            assert SYSTEM.fullmatch(name) or path.startswith(str(tree)), f"{program}: {line}"


def test_it_has_its_own_model(run, tree, bare, text):
    done = run([tree / "bin" / "precis", "summarize", text], env=bare, cwd=tree)
    assert f"no model is named: {tree / 'share/precis/models/describe'}" in done.stderr and done.stdout.strip()


def test_a_missing_model_is_told(tree, bare, text, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "precis").write_bytes((tree / "bin" / "precis").read_bytes())
    (tmp_path / "bin" / "precis").chmod(0o755)
    environment = {**bare, "LD_LIBRARY_PATH": f"{tree / 'lib'}:{tree / 'lib/precis'}"}
    done = subprocess.run([tmp_path / "bin" / "precis", "summarize", text], env=environment, capture_output=True, text=True)
    assert done.returncode == 4 and "no model is named, and the one that comes with precis is missing" in done.stderr


def test_nothing_is_looked_for_where_it_was_built(run, tree, bare, sharp, text, tmp_path):
    places = {str(ROOT), str((ROOT / ".venv").resolve()), str(BUILD.resolve())}
    program = tree / "bin" / "precis"
    done, files = loaded_files(run, [program, "--version"], bare, tmp_path)
    assert done.stdout.startswith("precis ")
    assert any(path.startswith(str(tree)) for path in files)
    assert not [path for path in files if any(path.startswith(place) for place in places)]
    for path in (program, tree / "lib" / "libprecis.so"):
        dynamic = run(["readelf", "-d", path], env=bare).stdout
        assert not [place for place in places if place in dynamic] and "$ORIGIN" in dynamic


def test_the_moved_program_summarizes_as_the_built_one(run, precis, tree, bare, sharp, text, tmp_path):
    results = []
    for program, environment in ((precis, None), (tree / "bin" / "precis", bare)):
        done = run([program, "summarize", sharp[0], text, "--format", "json"], env=environment, cwd=tmp_path)
        results.append(json.loads(done.stdout))
    assert results[0]["token_ids"] == results[1]["token_ids"] and results[1]["windows"] > 1


@pytest.fixture(scope="module")
def example(tree, tmp_path_factory, bare):
    folder = tmp_path_factory.mktemp("example")
    for command in (["cmake", "-S", ROOT / "examples" / "summarize", "-B", folder, f"-DCMAKE_PREFIX_PATH={tree}"],
                    ["cmake", "--build", folder]):
        done = subprocess.run(command, env=bare, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "summarize"


def test_a_program_that_is_built_against_it_summarizes_as_the_command(run, precis, example, bare, sharp, text):
    options = ["--num-beams", "4", "--no-repeat-ngram-size", "3", "--max-new-tokens", "30"]
    for query in ([], ["what of memory"]):
        given = ["--query", query[0]] if query else []
        command = run([precis, "summarize", sharp[0], text, *options, *given])
        built = run([example, sharp[0], text, *query], env=bare)
        assert built.stdout == command.stdout and built.stdout.strip()
        counts = re.search(r"(\d+) tokens read in (\d+) windows, (\d+) ", built.stderr).groups()
        assert ", ".join(counts) in re.sub(r" tokens read in | windows, ", ", ", command.stderr)


def test_its_errors_are_those_of_the_command(run, precis, example, bare, sharp, text, tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    for model, file, code, kind in ((tmp_path, text, 4, "model"), (sharp[0], tmp_path / "latin.txt", 3, "data")):
        command = run([precis, "summarize", "--model", model, file], code=code)
        built = run([example, model, file], code=code, env=bare)
        assert built.stderr.splitlines()[-1].startswith(f"{kind}: ") and built.stdout == ""
        assert "byte offset 3" in built.stderr if code == 3 else "config.json" in built.stderr, command.stderr


def test_the_public_headers_need_nothing_but_the_standard_library(run, tree, bare, tmp_path):
    for header in sorted((tree / "include" / "precis").iterdir()):
        (tmp_path / "alone.cpp").write_text(f"#include <precis/{header.name}>\n#include <precis/{header.name}>\n")
        run(["g++", "-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I", tree / "include",
             tmp_path / "alone.cpp"], env=bare)


def test_nothing_but_the_interface_is_exported(run, tree, bare):
    shown = run(["nm", "-D", "-C", "--defined-only", tree / "lib" / "libprecis.so"], env=bare).stdout.splitlines()
    names = [line.split(" ", 2)[2] for line in shown]
    foreign = [name for name in names if not re.search(r"precis::(Error|Model|Summary|Tokenizer)\b|precis::(name|exit_code|"
                                                       r"description)\(precis::", name)]
    assert names and not foreign, foreign[:20]
