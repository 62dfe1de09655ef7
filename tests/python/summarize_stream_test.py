"""precis summarize --stream: what comes token by token is the text that comes whole, in whole characters, on a terminal
and into a pipe."""

import fcntl
import json
import os
import pty
import random
import select
import signal
import struct
import subprocess
import termios

import pytest

from sharp_model import document
from train_support import byte_alphabet, write_model, write_rows

# A terminal's line that is redrawn, as the progress bar does it.
REDRAW = "\r\x1b[K"
LONG = ["--max-length", "48", "--min-length", "30"]


def read_chunks(descriptor, process):
    """What each read gave until the end."""
    chunks = []
    while True:
        ready, _, _ = select.select([descriptor], [], [], 60)
        assert ready, "nothing came"
        try:
            chunk = os.read(descriptor, 1 << 16)
        except OSError:  # a terminal whose last writer has gone
            chunk = b""
        if not chunk:
            break
        chunks.append(chunk)
    assert process.wait(timeout=60) == 0
    return chunks


def into_pipe(precis, *arguments):
    process = subprocess.Popen([precis, "summarize", *map(str, arguments), "--dtype", "float64"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    with process.stdout as output:
        return read_chunks(output.fileno(), process)


def on_terminal(precis, *arguments, shared=True):
    """stdout is a terminal; with `shared`, stderr is the same."""
    terminal, side = pty.openpty()
    process = subprocess.Popen([precis, "summarize", *map(str, arguments), "--dtype", "float64"], stdout=side,
                               stderr=side if shared else subprocess.DEVNULL,
                               env=os.environ | {"NO_COLOR": "1", "TERM": "xterm"})
    os.close(side)
    chunks = read_chunks(terminal, process)
    os.close(terminal)
    return [chunk.replace(b"\r\n", b"\n") for chunk in chunks]


def screen(output):
    """What stands on the terminal in the end."""
    return [line.split(REDRAW)[-1] for line in output.decode("utf-8").split("\n")]


def whole(precis, *arguments):
    return subprocess.run([precis, "summarize", *map(str, arguments), "--no-stream", "--dtype", "float64", "--quiet"],
                          stdout=subprocess.PIPE, check=True).stdout


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    path = tmp_path_factory.mktemp("stream") / "book.txt"
    path.write_text(document(random.Random(2), 12), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def bytes_model(tmp_path_factory):
    """It writes single bytes, few of which are characters: the options that leave it nothing else."""
    folder = tmp_path_factory.mktemp("bytes") / "model"
    write_model(folder, seed=8, forced_eos_token_id=None)
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    characters = byte_characters()
    kept = {characters[b] for b in "a\u00e9\u4e2d\U0001f600".encode() + b"\xff"}
    suppressed = sorted(i for token, i in vocabulary.items() if token not in kept)
    (folder / "generation_config.json").write_text(json.dumps(dict(
        decoder_start_token_id=2, eos_token_id=2, pad_token_id=1, max_length=120, suppress_tokens=suppressed,
        do_sample=True, temperature=3.0)))
    return folder


def byte_characters():
    """Byte -> the character that byte-level BPE writes it with."""
    kept = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in kept]
    return {b: c for b, c in zip(kept + rest, byte_alphabet())}


@pytest.mark.parametrize("options", [["--num-beams", "1"], ["--num-beams", "4"], ["--num-beams", "1", "--do-sample"],
                                     ["--num-beams", "3", "--do-sample", "--temperature", "2"],
                                     ["--num-beams", "1", "--explain"]], ids=" ".join)
def test_a_stream_is_the_whole_text_in_pieces(precis, sharp, book, options):
    chunks = into_pipe(precis, sharp[0], book, "--stream", *LONG, *options)
    assert b"".join(chunks) == whole(precis, sharp[0], book, *LONG, *options)
    # Greedy search and sampling are sure of each token; beams must agree first.
    assert len(chunks) > 3 or "--num-beams 1" not in " ".join(options)


@pytest.mark.parametrize("seed", range(6))
def test_only_whole_characters_are_written(precis, bytes_model, book, seed):
    options = ["--seed", str(seed)]
    chunks = into_pipe(precis, bytes_model, book, "--stream", *options)
    text = whole(precis, bytes_model, book, *options)
    assert b"".join(chunks) == text
    shown = text.decode("utf-8")
    assert "\ufffd" in shown and len(chunks) > 3
    assert any(c in shown for c in "\u00e9\u4e2d\U0001f600a")
    for chunk in chunks:
        chunk.decode("utf-8")


def test_on_a_terminal_text_streams_and_the_bar_leaves_no_trace(precis, sharp, book):
    for options in (["--num-beams", "1"], ["--num-beams", "4"]):
        text = whole(precis, sharp[0], book, *LONG, *options).decode("utf-8")
        output = b"".join(on_terminal(precis, sharp[0], book, *LONG, *options))
        lines = screen(output)
        assert lines[0] + "\n" == text
        # The bar's last state, cut at the width of a terminal that has none.
        assert lines[1].startswith(f"[{'#' * 20}] {book}: "[:79]) and lines[2:] == [""]
        # Nothing is drawn from the text's first piece to its last.
        written = output.decode("utf-8").split("\n")[0]
        assert written.split(REDRAW)[-1] == text[:-1]
        # Not on the terminal's account alone: its pieces.
        assert b"".join(on_terminal(precis, sharp[0], book, *LONG, *options, shared=False)).decode("utf-8") == text
    # A reader that gets no processor finds several pieces together.
    assert any(len(on_terminal(precis, sharp[0], book, *LONG, "--num-beams", "1", shared=False)) > 3 for _ in range(5))
    assert len(on_terminal(precis, sharp[0], book, *LONG, "--num-beams", "1", "--no-stream", shared=False)) == 1


def test_several_documents_on_a_terminal(precis, sharp, tmp_path):
    draw = random.Random(3)
    write_rows(tmp_path / "rows.jsonl", [{"document": document(draw, n)} for n in (3, 20, 1)])
    text = whole(precis, sharp[0], tmp_path / "rows.jsonl", "--num-beams", "1")
    assert b"".join(on_terminal(precis, sharp[0], tmp_path / "rows.jsonl", "--num-beams", "1", shared=False)) == text
    for options in ([], ["--stream"]):
        lines = screen(b"".join(on_terminal(precis, sharp[0], tmp_path / "rows.jsonl", "--num-beams", "1", *options)))
        assert [line for line in lines if not line.startswith("[")] == text.decode("utf-8").split("\n")
        assert sum(line.startswith("[") for line in lines) == 3
    streamed = into_pipe(precis, sharp[0], tmp_path / "rows.jsonl", "--num-beams", "1", "--stream")
    assert b"".join(streamed) == text and len(streamed) > 3


def test_an_empty_summary_streams_too(run, precis, sharp, book):
    end = sharp[2].eos_token_id
    for flag in ("--stream", "--no-stream"):
        done = run([precis, "summarize", sharp[0], book, flag, "--quiet", "--forced-bos-token-id", end])
        assert done.stdout == "\n"


def test_what_cannot_stream_is_refused(run, precis, sharp, book):
    for options, word in ((["--format", "jsonl"], "--format text"), (["--num-return-sequences", "2"], "one sequence"),
                          (["--no-stream"], "excludes")):
        done = run([precis, "summarize", sharp[0], book, "--stream", *options], code=2)
        assert word in done.stderr and done.stdout == ""


def test_a_stopped_stream_ends_its_line(precis, sharp, book):
    process = subprocess.Popen([precis, "summarize", sharp[0], book, "--stream", "--num-beams", "1", "--max-length",
                                "65", "--min-length", "65", "--dtype", "float64"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    first = process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert first and rest.endswith("\n")
    # It may have been quicker than the signal.
    assert process.returncode == 0 or (process.returncode == 130 and "stopped" in errors)


def test_a_stream_that_nobody_reads_is_an_error(precis, sharp, book):
    with open("/dev/full", "w") as full:
        done = subprocess.run([precis, "summarize", sharp[0], book, "--stream"], stdout=full, text=True,
                              stderr=subprocess.PIPE)
    assert done.returncode == 5 and "stdout" in done.stderr


@pytest.mark.parametrize("kind", ["dumb", "", None])
def test_a_terminal_that_takes_no_line_back(precis, model, tmp_path, kind):
    """No bar, nor any other control sequence."""
    write_rows(tmp_path / "rows.jsonl", [{"document": "an the of"}] * 3)
    environment = {name: value for name, value in os.environ.items() if name not in ("TERM", "NO_COLOR")} | {"COLORTERM": "truecolor"}
    terminal, side = pty.openpty()
    process = subprocess.Popen([precis, "summarize", model, tmp_path / "rows.jsonl", *LONG], stdout=side, stderr=side,
                               env=environment | ({} if kind is None else {"TERM": kind}))
    os.close(side)
    output = b"".join(read_chunks(terminal, process))
    os.close(terminal)
    assert b"\x1b" not in output and output.count(b"\r") == output.count(b"\r\n")


def test_a_narrow_terminal(precis, model, tmp_path):
    """The bar's line is cut between characters, whatever stands in it."""
    write_rows(tmp_path / "rows.jsonl", [{"id": "\u00e4\u6f22" * 40, "document": "an the of " * 400}])
    for columns in range(24, 34):
        terminal, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen([precis, "summarize", model, tmp_path / "rows.jsonl", *LONG, "--window", "64"], stdout=subprocess.DEVNULL,
                                   stderr=side, env=os.environ | {"NO_COLOR": "1", "TERM": "xterm"})
        os.close(side)
        lines = b"".join(read_chunks(terminal, process)).decode("utf-8").split(REDRAW)
        os.close(terminal)
        bars = [line for line in lines if line.startswith("[") and not line.endswith("\n")]  # what stands at the end is whole
        assert bars and all(sum(2 if ord(c) >= 0x1100 else 1 for c in line) < columns for line in bars)
