"""The manual page and shell completion: what `precis man` and `precis completion` tell is what --help tells."""

import re
import subprocess

import pytest

COMMON = "OPTIONS OF EVERY COMMAND"


@pytest.fixture(scope="module")
def commands(run, precis):
    """{command: its options, as --help lists them}; the program itself is ''."""
    found = {}

    def walk(words):
        text = run([precis, *words, "--help"]).stdout
        found[" ".join(words)] = set(re.findall(r"(?m)^  (?:-\w,)?(--[a-z0-9-]+)", text))
        section = text.partition("\nSubcommands:\n")[2]
        for name in re.findall(r"(?m)^  ([a-z]+) ", section):
            walk([*words, name])

    walk([])
    assert len(found) > 12 and {"", "summarize", "tokenizer train"} <= set(found)
    return found


@pytest.fixture(scope="module")
def page(run, precis):
    return run([precis, "man"]).stdout


@pytest.fixture(scope="module")
def complete(run, precis, tmp_path_factory):
    """complete("precis summarize --fo") -> what bash would offer for the last word."""
    script = tmp_path_factory.mktemp("completion") / "precis"
    script.write_text(run([precis, "completion", "bash"]).stdout)

    def call(line, cwd=None):
        # Words as readline splits them: = is one of its own.
        words = [part for word in line.split(" ") for part in (re.split("(=)", word) if "=" in word else [word])]
        words = [word for i, word in enumerate(words) if word or i == len(words) - 1]
        done = run(["bash", "-c", f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _precis; '
                    'printf "%s\\n" "${COMPREPLY[@]}"', "bash", *words], cwd=cwd)
        assert done.stderr == ""
        return [word for word in done.stdout.split("\n") if word]

    return call


def unescaped(roff):
    return re.sub(r"\\f[BIR]|\\&", "", roff).replace("\\-", "-").replace("\\e", "\\")


def test_every_option_is_in_the_manual_page(commands, page):
    sections = {heading: body for heading, body in re.findall(r"(?s)\n\.S[HS] ([^\n]+)(.*?)(?=\n\.S[HS] |\Z)", page)}
    tagged = {unescaped(heading): set(re.findall(r"(?m)^(?:-\w, )?.*?(--[a-z0-9-]+)", unescaped("\n".join(
        line.split("\n")[0] for line in body.split(".TP\n")[1:])))) for heading, body in sections.items()}
    for command, options in commands.items():
        told = tagged[f"precis {command}"] if command else tagged["DESCRIPTION"]
        common = tagged[COMMON] if "--quiet" in options else set()
        assert options == told | common, command
    assert f"precis {max(commands)}" in tagged


def test_the_manual_page_is_roff_without_a_complaint(page):
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=page, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr[:2000]
    shown = subprocess.run(["groff", "-man", "-Tascii", "-P-c", "-P-b", "-P-u"], input=page, capture_output=True,
                           text=True).stdout
    for words in ("--num-beams INT", "--format text|json|jsonl", "precis summarize [OPTIONS] [inputs...]",
                  "precis tokenizer train --vocab-size 8000 --out my-tokenizer README.md", "EXIT STATUS"):
        assert words in shown, words


def test_every_option_is_completed(commands, complete):
    for command, options in commands.items():
        line = f"precis {command} --" if command else "precis --"
        assert {word for word in complete(line) if word.startswith("--")} == options, command


def test_completion_as_somebody_types(complete, commands, tmp_path):
    top = {name for name in commands if name and " " not in name}
    assert set(complete("precis ")) == top
    assert complete("precis summ") == ["summarize"]
    assert complete("precis tokenizer ") == ["train", "encode", "decode"]
    assert complete("precis tokenizer en") == ["encode"]
    assert complete("precis summarize MODEL --num-b") == ["--num-beams"]
    assert complete("precis --log-format jsonl summarize --form") == ["--format"]
    assert complete("precis summarize MODEL --format ") == ["text", "json", "jsonl"]
    assert complete("precis evaluate MODEL --format ") == ["text", "json"]
    assert complete("precis summarize MODEL --format=js") == ["json", "jsonl"]
    assert complete("precis summarize MODEL --format=") == ["text", "json", "jsonl"]
    assert complete("precis summarize --device c") == ["cpu", "cuda"]
    # A file's name, which bash itself offers where nothing is: a value, an argument, whatever is behind --.
    for line in ("precis summarize --model m", "precis summarize boo", "precis summarize -- --for",
                 "precis convert --num-beams"):
        assert complete(line) == [], line


def test_bash_offers_files_where_nothing_else_is_left(run, precis):
    script = run([precis, "completion", "bash"]).stdout
    done = subprocess.run(["bash", "-c", script + "complete -p precis"], capture_output=True, text=True)
    assert done.stdout.split() == ["complete", "-o", "bashdefault", "-o", "default", "-F", "_precis", "precis"]


def test_neither_is_in_help(run, precis, commands):
    assert "completion" not in commands and "man" not in commands
    assert run([precis, "completion", "fish"], code=2).stderr.startswith("precis: error: ")
