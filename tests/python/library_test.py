"""The C++ interface (include/precis), through libprecis.so: the same results, counts and errors as the command's."""

import json
import random
import subprocess

import pytest

from sharp_model import document
from train_support import write_rows

WINDOW = 24
QUERY = "what of memory"
DRAW = random.Random(12)
TEXTS = [document(DRAW, 3), "", document(DRAW, 30), document(DRAW, 9) + " \u4e2d na\u00efve \U0001f600 end."]


@pytest.fixture(scope="module")
def library(program, sharp):
    """library(*requests) -> the answers of one process."""

    def call(*requests, model=sharp[0], dtype="float64", code=0):
        done = subprocess.run([program("library_summaries"), model, dtype], capture_output=True, text=True,
                              input="".join(json.dumps(request) + "\n" for request in requests))
        assert done.returncode == code, done.stdout + done.stderr
        assert done.stderr == ""  # the library never prints
        return [json.loads(line) for line in done.stdout.split("\n") if line]

    return call


@pytest.fixture(scope="module")
def command(run, precis, sharp, tmp_path_factory):
    """What `precis summarize` makes of TEXTS."""
    path = tmp_path_factory.mktemp("library") / "rows.jsonl"
    write_rows(path, [{"document": text} for text in TEXTS])

    def call(*options):
        done = run([precis, "summarize", sharp[0], path, "--format", "jsonl", "--dtype", "float64", *options])
        return [json.loads(line) for line in done.stdout.split("\n") if line]

    return call


def check(found, wanted, explain=False):
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted):
        first = ours["sequences"][0]
        for key in ("summary", "token_ids", "finish_reason", "output_tokens"):
            assert first[key] == theirs[key]
        for key in ("id", "input_tokens", "windows", "memory_rows", "cross_attention"):
            assert ours[key] == theirs[key]
        assert ours.get("seed") == theirs.get("seed")
        if len(ours["sequences"]) > 1:
            assert ours["sequences"] == theirs["sequences"]
        assert ours["sources"] == (theirs["sources"] if explain else [])
        assert ours["total"] > 0


@pytest.mark.parametrize("options, given", [
    ({}, []),
    ({"window": WINDOW, "query": QUERY}, ["--window", WINDOW, "--query", QUERY]),
    ({"window": WINDOW, "explain": True}, ["--window", WINDOW, "--explain"]),
    ({"generation": {"num_beams": 2, "early_stopping": "never", "length_penalty": 2.0, "max_new_tokens": 15,
                     "suppress_tokens": [5, 6], "sequence_bias": [[[70], -3.5]], "num_return_sequences": 2}},
     ["--num-beams", "2", "--early-stopping", "never", "--length-penalty", "2.0", "--max-new-tokens", "15",
      "--suppress-tokens", "5,6", "--sequence-bias", "[[[70], -3.5]]", "--num-return-sequences", "2"]),
    ({"generation": {"num_beams": 1, "do_sample": True, "temperature": 0.8, "top_k": 9, "seed": 5}},
     ["--num-beams", "1", "--do-sample", "--temperature", "0.8", "--top-k", "9", "--seed", "5"]),
])
def test_summaries_are_those_of_the_command(library, command, options, given):
    [answer] = library({"texts": TEXTS, "options": options})
    check(answer["summaries"], command(*map(str, given)), options.get("explain", False))
    assert answer["fraction"] == 1.0 or not options.get("explain")
    assert 0.5 < answer["fraction"] <= 1.0


def test_one_text_is_summarized_alone(library, command):
    answers = library(*({"text": text} for text in TEXTS))
    wanted = command()
    for answer, theirs in zip(answers, wanted):
        check(answer["summaries"], [{**theirs, "id": "1"}])


def test_more_texts_than_a_batch_takes(library):
    texts = [TEXTS[0]] * 66 + [TEXTS[3]]
    [answer] = library({"texts": texts, "options": {"generation": {"max_new_tokens": 6}}})
    assert [summary["id"] for summary in answer["summaries"]] == [str(i + 1) for i in range(len(texts))]
    assert len({str(summary["sequences"]) for summary in answer["summaries"][:66]}) == 1
    assert answer["summaries"][-1]["input_tokens"] != answer["summaries"][0]["input_tokens"]


def test_ids_and_offsets_are_those_of_the_tokenizer(run, precis, library, sharp):
    text = TEXTS[3] + " <mask></s>"
    [answer] = library({"encode": text})
    assert answer["ids"] == sharp[2].encode(text, add_special_tokens=False)
    assert answer["text"] == sharp[2].decode(answer["ids"], skip_special_tokens=True,
                                             clean_up_tokenization_spaces=False)
    encoded = json.loads(run([precis, "tokenizer", "encode", sharp[0], "-", "--format", "jsonl"], input=text).stdout)
    assert (answer["ids"], answer["offsets"]) == (encoded["ids"], encoded["offsets"])  # parity: tokenizer_parity_test.py


@pytest.mark.parametrize("options, kind, words", [
    ({"generation": {"num_beam": 4}}, "usage", ["num_beam", "did you mean num_beams"]),
    ({"generation": {"num_beams": "four"}}, "usage", ["num_beams", "an integer"]),
    ({"generation": {"guidance_scale": 2.0}}, "unsupported", ["guidance_scale"]),
    ({"generation": {"max_length": 100000}}, "usage", ["max_length", "positions"]),
    ({"window": 2}, "usage", ["window"]),
    ({"window": 8, "query": "a query that leaves no room"}, "usage", ["query"]),
    ({"memory_budget": 2**20}, "budget", ["at least"]),
    ({"stop": True}, "interrupted", ["stopped"]),
])
def test_errors_have_the_contracts_kinds(library, options, kind, words):
    [answer, after] = library({"texts": TEXTS, "options": options}, {"text": TEXTS[0]})
    assert answer["error"] == kind and all(word in answer["what"] for word in words), answer
    assert after["summaries"]  # and the model is as good as before


def test_a_model_that_is_not_one(library, tmp_path):
    [answer] = library(model=tmp_path, code=4)
    assert answer["error"] == "model" and "config.json" in answer["what"]
    [answer] = library(dtype="int8", code=2)
    assert answer["error"] == "usage" and "int8" in answer["what"]


def test_what_is_worth_a_warning_goes_to_the_sink(library, sharp, tmp_path):
    import shutil
    shutil.copytree(sharp[0], tmp_path / "model")
    (tmp_path / "model" / "generation_config.json").write_text(
        json.dumps(dict(bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2)))
    [answer] = library({"text": TEXTS[0]}, model=tmp_path / "model")
    assert any("20 new tokens" in message for message in answer["log"])
    assert answer["summaries"][0]["sequences"][0]["output_tokens"] <= 20
