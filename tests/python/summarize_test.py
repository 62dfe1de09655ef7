"""precis summarize, end to end: ids, counts and sources against transformers, the JSON contract, the errors."""

import json
import math
import random
import re

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

from conftest import ROOT
from sharp_model import POSITIONS, document
from train_support import ids, text_of, window_memory, write_rows

WINDOW = 24
QUERY = "what of memory"
FIELDS = ["id", "summary", "token_ids", "finish_reason", "model", "input_tokens", "windows", "memory_rows",
          "cross_attention", "truncated", "output_tokens", "seconds", "peak_memory_bytes"]
SECONDS = ["load", "read", "encode", "decode", "total"]
# Weights are sums of float64 attention probabilities, added up in another order.
WEIGHT_TOLERANCE = 1e-9


def summarize(run, precis, *arguments, code=0, input=None, cwd=None):
    command = [precis, "summarize", *arguments, "--dtype", "float64"]
    return run(command, code=code, input=input, cwd=cwd)


def parse(done):
    return [json.loads(line) for line in done.stdout.split("\n") if line]


@torch.no_grad()
def expected_ids(sharp, text, query=None, window=WINDOW, **options):
    _, model, tokenizer = sharp
    memory = window_memory(model, ids(tokenizer, text), ids(tokenizer, query) if query else [], window)
    return model.generate(encoder_outputs=BaseModelOutput(memory), attention_mask=torch.ones(memory.shape[:2]),
                          **options)[0].tolist()


def check(sharp, result, text, query=None, window=WINDOW, **options):
    _, _, tokenizer = sharp
    n, q = len(ids(tokenizer, text)), len(ids(tokenizer, query)) if query else 0
    windows = max(1, math.ceil(n / (window - 2 - q)))
    want = expected_ids(sharp, text, query, window, **options)
    assert result["token_ids"] == want
    assert result["summary"] == tokenizer.decode(want, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert (result["input_tokens"], result["windows"], result["memory_rows"]) == (n, windows, n + 2 + windows * q)
    assert result["output_tokens"] == len(want) - 1
    assert result["finish_reason"] == ("eos" if want[-1] == 2 else "length")
    assert result["truncated"] is False


# Tokens: none, one, one window to the brim and one more, several windows, longer than the model's positions.
@pytest.mark.parametrize("tokens", [0, 1, WINDOW - 2, WINDOW - 1, 70, 700])
def test_ids_and_counts_are_those_of_the_contract(run, precis, sharp, tmp_path, tokens):
    text = text_of(sharp[2], tokens, 3)
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    for query in (None, QUERY):
        done = summarize(run, precis, sharp[0], path, "--format", "jsonl", "--window", str(WINDOW),
                         *(["--query", query] if query else []))
        [result] = parse(done)
        check(sharp, result, text, query)
        assert result["id"] == str(path) and result["model"] == str(sharp[0])
        counts = [f"{result[key]} {noun}{'s' if result[key] != 1 else ''}"
                  for key, noun in (("input_tokens", "token"), ("windows", "window"), ("output_tokens", "token"))]
        assert "{} read in {}, {} written".format(*counts) in done.stderr


def test_the_json_of_a_document(run, precis, sharp, tmp_path):
    (tmp_path / "a.md").write_text("an the. of a treats.", encoding="utf-8")
    done = summarize(run, precis, sharp[0], "a.md", "--format", "json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert list(result) == FIELDS and list(result["seconds"]) == SECONDS
    assert done.stdout.startswith('{\n  "id": "a.md"')
    seconds = result["seconds"]
    assert seconds["total"] == pytest.approx(sum(seconds[part] for part in SECONDS[:-1]))
    assert all(seconds[part] > 0 for part in SECONDS)
    assert 2**24 < result["peak_memory_bytes"] < 2**36
    check(sharp, result, "an the. of a treats.", window=POSITIONS)  # --window is the positions where it isn't given


def test_peak_memory_is_this_programs_own(run, precis, sharp):
    """A child's ru_maxrss starts at what its parent holds."""
    ballast = b"x" * 2**30
    [result] = parse(summarize(run, precis, sharp[0], "--format", "jsonl", input="an the"))
    assert 10 * 2**20 < result["peak_memory_bytes"] < len(ballast)


def test_json_lines_in_the_order_of_the_rows(run, precis, sharp, tmp_path):
    draw = random.Random(1)
    rows = [{"id": "first", "document": document(draw, 3), "query": QUERY}, {"document": document(draw, 9)},
            {"id": 7, "article": ""}]
    write_rows(tmp_path / "rows.jsonl", rows)
    (tmp_path / "plain").write_text("word counts", encoding="utf-8")
    results = parse(summarize(run, precis, sharp[0], tmp_path / "rows.jsonl", tmp_path / "plain", "--format", "jsonl",
                              "--window", str(WINDOW)))
    assert [r["id"] for r in results] == ["first", "2", "7", str(tmp_path / "plain")]
    check(sharp, results[0], rows[0]["document"], QUERY)
    check(sharp, results[1], rows[1]["document"])
    check(sharp, results[2], "")
    check(sharp, results[3], "word counts")
    renamed = parse(summarize(run, precis, "--model", sharp[0], tmp_path / "rows.jsonl", "--format", "jsonl",
                              "--window", str(WINDOW), "--query", "an", "--document-field", "document", code=3))
    assert [r["id"] for r in renamed] == ["first", "2"]  # what was done before the bad row is not lost
    check(sharp, renamed[0], rows[0]["document"], "an")  # the option goes over the row's own


def test_standard_input_is_text(run, precis, sharp):
    text = '{"document": "an the. of"}'
    for arguments in ([sharp[0], "-"], [sharp[0]], ["--model", sharp[0]]):
        [result] = parse(summarize(run, precis, *arguments, "--format", "jsonl", "--window", str(WINDOW), input=text))
        check(sharp, result, text)
        assert result["id"] == "-"
    [result] = parse(summarize(run, precis, sharp[0], "--input-format", "jsonl", "--format", "jsonl", "--window",
                               str(WINDOW), input=text))
    check(sharp, result, "an the. of")
    assert result["id"] == "1"


def test_options_of_generation_reach_the_search(run, precis, sharp):
    text = document(random.Random(2), 12)
    for options in (dict(num_beams=1, max_new_tokens=9), dict(num_beams=4, min_length=20, length_penalty=2.0),
                    dict(no_repeat_ngram_size=1, max_length=15, forced_eos_token_id=2),
                    dict(num_beams=2, eos_token_id=[2, ids(sharp[2], "o")[0], ids(sharp[2], ".")[0]], min_length=3)):
        spelt = {name: str(value).strip("[]").replace(" ", "") for name, value in options.items()}
        flags = [part for name, value in spelt.items() for part in ("--" + name.replace("_", "-"), value)]
        # A list takes one argument: what follows it is a file's name.
        [result] = parse(summarize(run, precis, sharp[0], "--format", "jsonl", "--window", str(WINDOW), *flags, "-",
                                   input=text))
        assert result["token_ids"] == expected_ids(sharp, text, **options), options


def test_texts_are_printed_one_after_another(run, precis, sharp, tmp_path):
    texts = ["an the. of a treats.", "every word counts."]
    write_rows(tmp_path / "rows.jsonl", [{"document": text} for text in texts])
    done = summarize(run, precis, sharp[0], tmp_path / "rows.jsonl", "--quiet")
    tokenizer = sharp[2]
    wanted = [tokenizer.decode(expected_ids(sharp, text, window=POSITIONS), skip_special_tokens=True,
                               clean_up_tokenization_spaces=False) for text in texts]
    assert done.stdout == wanted[0] + "\n\n" + wanted[1] + "\n"
    assert done.stderr == ""


@torch.no_grad()
def attention_by_token(model, memory, written, begin, end):
    """Mean over layers, heads and the steps that wrote written[begin:end] of the attention to each memory row."""
    model.set_attn_implementation("eager")
    output = model(encoder_outputs=BaseModelOutput(memory), decoder_input_ids=torch.tensor([written[:-1]]),
                   output_attentions=True)
    model.set_attn_implementation("sdpa")
    mean = torch.stack([layer[0].mean(0) for layer in output.cross_attentions]).mean(0)
    return mean[begin - 1:end - 1].mean(0)


@pytest.mark.parametrize("query", [None, QUERY])
def test_sources_are_where_the_attention_fell(run, precis, sharp, query):
    _, model, tokenizer = sharp
    draw = random.Random(4)
    # Characters of one to four bytes, one of them an accent that stands on its own.
    text = document(draw, 7) + " na\u00efve e\u0301 \u4e2d\u6587. \U0001f600 an end! " + document(draw, 6)
    # A least length, so that there is more than one sentence.
    [result] = parse(summarize(run, precis, sharp[0], "--explain", "--format", "jsonl", "--window", str(WINDOW),
                               "--min-length", "40", "--max-length", "48", *(["--query", query] if query else []),
                               input=text))
    check(sharp, result, text, query, min_length=40, max_length=48)
    assert list(result) == [*FIELDS, "sources"]
    assert result["seconds"]["total"] == pytest.approx(sum(v for k, v in result["seconds"].items() if k != "total"))
    assert [s["sentence"] for s in result["sources"]] == [
        part.strip() for part in re.findall(r"[^.]*\.|[^.]+$", result["summary"])]
    assert len(result["sources"]) >= 2

    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    query_ids = ids(tokenizer, query) if query else []
    memory = window_memory(model, encoding["input_ids"], query_ids, WINDOW)
    piece = WINDOW - 2 - len(query_ids)
    rows = [1 + i + (i // piece + 1) * len(query_ids) for i in range(len(encoding["input_ids"]))]
    written = result["token_ids"]
    begin = 1
    for source in result["sources"]:
        end = begin
        while tokenizer.decode(written[begin:end], skip_special_tokens=True).strip() != source["sentence"]:
            end += 1
        if end < len(written) and source is result["sources"][-1]:
            end = len(written)
        mass = attention_by_token(model, memory, written, begin, end)[rows]
        assert 1 <= len(source["passages"]) <= 3
        weights = [p["weight"] for p in source["passages"]]
        assert weights == sorted(weights, reverse=True) and sum(weights) <= 1 + 1e-12
        for passage in source["passages"]:
            inside = [i for i, (a, b) in enumerate(encoding["offset_mapping"])
                      if a >= passage["start"] and b <= passage["end"]]
            share = (mass[inside].sum() / mass.sum()).item()
            assert passage["weight"] == pytest.approx(share, abs=WEIGHT_TOLERANCE)
            words = text[passage["start"]:passage["end"]]
            assert passage["end"] == len(text) or words.rstrip()[-1] in ".!", words
            assert passage["start"] == 0 or text[:passage["start"]].rstrip()[-1] in ".!", words
        begin = end
    assert begin == len(written)


def test_sources_for_people(run, precis, sharp):
    text = document(random.Random(6), 8) + " \u4e2d\u6587 na\u00efve\nend."
    [result] = parse(summarize(run, precis, sharp[0], "--explain", "--format", "jsonl", input=text))
    shown = summarize(run, precis, sharp[0], "--explain", input=text).stdout
    head, _, rest = shown.partition("\n\n")
    assert head == result["summary"]
    lines = []
    for number, source in enumerate(result["sources"], 1):
        lines.append(f"{number}. {source['sentence']}")
        for p in source["passages"]:
            words = " ".join(text[p["start"]:p["end"]].split())
            lines.append(f"   {100 * p['weight']:5.1f} %  [{p['start']}, {p['end']})  {words}")
    assert rest.splitlines() == lines


def test_an_empty_document_has_sentences_without_passages(run, precis, sharp):
    [result] = parse(summarize(run, precis, sharp[0], "--explain", "--format", "jsonl", input=""))
    assert result["sources"] and all(source["passages"] == [] for source in result["sources"])


def test_the_model_that_comes_with_precis(run, precis, tmp_path):
    """Used where none is named, and as transformers reads it."""
    from transformers import BartForConditionalGeneration, BartTokenizerFast
    box = ROOT / "models" / "describe"
    text = "A viewer for images of many formats. It shows thumbnails of a folder, turns and crops pictures, and prints them."
    (tmp_path / "text.txt").write_text(text)
    done = run([precis, "summarize", tmp_path / "text.txt", "--format", "json"])
    result = json.loads(done.stdout)
    assert f"no model is named: {box}" in done.stderr and result["model"] == str(box)
    named = json.loads(run([precis, "summarize", "--model", box, "-", "--format", "json"], input=text).stdout)
    piped = json.loads(run([precis, "summarize", "--format", "json"], input=text).stdout)
    assert result["token_ids"] == named["token_ids"] == piped["token_ids"]
    model = BartForConditionalGeneration.from_pretrained(box, dtype=torch.float32)
    tokenizer = BartTokenizerFast.from_pretrained(box)
    ids = model.generate(**tokenizer(text, return_tensors="pt"))[0].tolist()
    assert result["token_ids"] == ids and result["summary"] == tokenizer.decode(ids, skip_special_tokens=True)
    assert 3 <= result["output_tokens"] <= 32
    assert sum(path.stat().st_size for path in box.iterdir()) < 25e6


@pytest.mark.slow
def test_errors(run, precis, sharp, tmp_path):
    model = sharp[0]

    def fails(code, words, *arguments, **options):
        done = summarize(run, precis, *arguments, code=code, **options)
        assert all(word in done.stderr for word in words), done.stderr
        assert done.stdout == ""

    fails(3, ["no such file, and no such model", "missing"], tmp_path / "missing", "x", input="")
    fails(3, ["File name too long"], "a text in the place of a path " * 20, input="")
    fails(4, ["config.json: no such file"], tmp_path, input="")
    fails(4, ["missing"], "--model", tmp_path / "missing", "-", input="")
    fails(3, ["missing.txt", "no such file"], model, tmp_path / "missing.txt")
    (tmp_path / "bad.jsonl").write_text('{"document": "a"\n', encoding="utf-8")
    fails(3, ["bad.jsonl:1"], model, tmp_path / "bad.jsonl")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    fails(3, ["latin.txt", "byte offset 3"], model, tmp_path / "latin.txt")
    fails(2, ["unknown option --windwo", "did you mean --window"], model, "--windwo", "8", input="x")
    fails(2, [f"{POSITIONS}"], model, "--window", str(POSITIONS + 1), input="x")
    fails(2, ["query"], model, "--window", "8", "--query", "a query that leaves no room", input="x")
    fails(2, ["--num-beams", "two"], model, "--num-beams", "two", input="x")
    fails(2, ["max_length"], model, "--max-length", str(POSITIONS + 2), input="x")
    fails(2, ["--memory-budget", "at least"], model, "--memory-budget", "1MiB", input="x")


@pytest.mark.slow
def test_layers_are_absorbed_to_meet_a_budget_and_change_nothing(run, precis, sharp, tmp_path):
    path = tmp_path / "long.txt"
    path.write_text(" ".join([text_of(sharp[2], 200, 3)] * 500), encoding="utf-8")
    command = [sharp[0], path, "--format", "json", "--max-new-tokens", "12", "--num-beams", "3"]
    held = json.loads(summarize(run, precis, *command).stdout)
    layers = held["cross_attention"]["held_layers"]
    assert layers > 0 and held["cross_attention"]["absorbed_layers"] == 0
    refused = summarize(run, precis, *command, "--memory-budget", "1MiB", code=2)
    number, unit = re.search(r"at least ([0-9.]+) (MiB|GiB)", refused.stderr).groups()
    least = float(number) * {"MiB": 2**20, "GiB": 2**30}[unit]
    done = summarize(run, precis, *command, "--memory-budget", str(int(least * 1.02)))
    absorbed = json.loads(done.stdout)
    assert absorbed["cross_attention"] == {"held_layers": 0, "absorbed_layers": layers}
    assert absorbed["token_ids"] == held["token_ids"]
    assert absorbed["peak_memory_bytes"] <= least * 1.02
    assert f"cross-attention of {layers} of {layers} layers absorbed" in done.stderr


def test_invalid_bytes_are_replaced_where_asked_with_a_count(run, precis, sharp, tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"an \xe9\xe9 the")
    done = summarize(run, precis, sharp[0], tmp_path / "latin.txt", "--invalid-utf8", "replace", "--format", "jsonl",
                     "--window", str(WINDOW))
    check(sharp, parse(done)[0], "an \ufffd\ufffd the")
    assert "2 stretches of invalid UTF-8" in done.stderr


def test_a_full_output_is_an_error(precis, sharp):
    import subprocess
    with open("/dev/full", "w") as full:
        done = subprocess.run([precis, "summarize", sharp[0], "-"], input="an the", stdout=full, text=True,
                              stderr=subprocess.PIPE)
    assert done.returncode == 5 and "stdout" in done.stderr
