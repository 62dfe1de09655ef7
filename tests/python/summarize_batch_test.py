"""precis summarize of many documents: the results of each alone, in order, as soon as they are ready; sampled ones too,
and what evaluate and train make of the same settings."""

import json
import os
import random
import subprocess
import time

import pytest
import torch
from transformers import GenerationConfig
from transformers.modeling_outputs import BaseModelOutput

from sharp_model import document
from summarize_test import FIELDS, SECONDS, WINDOW, check, expected_ids, parse, summarize
from train_support import config_of, events, ids, train, window_memory, write_rows, write_world


@pytest.fixture(scope="module")
def rows():
    """Of many lengths, none sorted; empty ones, and some of several windows; more than are read ahead."""
    draw = random.Random(8)
    return [{"id": f"row{i}", "document": document(draw, draw.choice([0, 1, 1, 2, 2, 3, 9]))} for i in range(90)]


def test_many_rows_are_those_of_each_alone(run, precis, sharp, tmp_path, rows):
    write_rows(tmp_path / "rows.jsonl", rows)
    started = time.monotonic()
    results = parse(summarize(run, precis, sharp[0], tmp_path / "rows.jsonl", "--format", "jsonl", "--window",
                              str(WINDOW)))
    passed = time.monotonic() - started
    assert [r["id"] for r in results] == [row["id"] for row in rows]
    for result, row in zip(results, rows):
        check(sharp, result, row["document"])
        assert list(result) == FIELDS and list(result["seconds"]) == SECONDS
    # A document's seconds are its share: together no more than what passed.
    shares = sum(r["seconds"]["total"] - r["seconds"]["load"] for r in results)
    assert 0 < shares + results[0]["seconds"]["load"] <= passed


def test_many_files(run, precis, sharp, tmp_path):
    draw = random.Random(9)
    names = [f"{i:02}.txt" for i in range(12)]
    texts = [document(draw, 1 + i % 4) for i in range(12)]
    for name, text in zip(names, texts):
        (tmp_path / name).write_text(text, encoding="utf-8")
    results = parse(summarize(run, precis, sharp[0], *names, "--format", "jsonl", "--window", str(WINDOW),
                              cwd=tmp_path))
    assert [r["id"] for r in results] == names
    for result, text in zip(results, texts):
        check(sharp, result, text)


def test_sources_of_rows_are_those_of_each_alone(run, precis, sharp, tmp_path, rows):
    write_rows(tmp_path / "rows.jsonl", rows[:8])
    together = parse(summarize(run, precis, sharp[0], tmp_path / "rows.jsonl", "--format", "jsonl", "--explain"))
    for result, row in zip(together, rows):
        [alone] = parse(summarize(run, precis, sharp[0], "--format", "jsonl", "--explain", input=row["document"]))
        assert [s["sentence"] for s in result["sources"]] == [s["sentence"] for s in alone["sources"]]
        for one, other in zip(result["sources"], alone["sources"]):
            assert [(p["start"], p["end"]) for p in one["passages"]] == [
                (p["start"], p["end"]) for p in other["passages"]]
            assert [p["weight"] for p in one["passages"]] == pytest.approx([p["weight"] for p in other["passages"]])


def test_rows_before_a_bad_one_are_printed(run, precis, sharp, tmp_path, rows):
    lines = [json.dumps(row) for row in rows[:70]]
    lines.insert(67, '{"document": 5}')  # in the second batch
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = summarize(run, precis, sharp[0], tmp_path / "rows.jsonl", "--format", "jsonl", code=3)
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [row["id"] for row in rows[:67]]
    assert "rows.jsonl:68" in done.stderr
    write_rows(tmp_path / "query.jsonl", [*rows[:3], rows[3] | {"query": "an " * 200}, rows[4]])
    done = summarize(run, precis, sharp[0], tmp_path / "query.jsonl", "--format", "jsonl", code=2)
    assert len(done.stdout.splitlines()) == 3 and "query.jsonl:4" in done.stderr


def test_a_row_of_a_pipe_waits_for_no_other(precis, sharp, rows):
    process = subprocess.Popen([precis, "summarize", sharp[0], "-", "--input-format", "jsonl", "--format", "jsonl"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for row in rows[:3]:
        process.stdin.write(json.dumps(row) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == row["id"]
    process.stdin.close()
    assert process.stdout.read() == "" and process.wait(timeout=60) == 0


def test_a_fifo_among_files_waits_for_no_other(precis, sharp, tmp_path, rows):
    write_rows(tmp_path / "rows.jsonl", rows[:2])
    os.mkfifo(tmp_path / "later.jsonl")
    process = subprocess.Popen([precis, "summarize", sharp[0], tmp_path / "rows.jsonl", tmp_path / "later.jsonl",
                                "--format", "jsonl"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    # What comes before the pipe is done before the pipe is opened.
    assert [json.loads(process.stdout.readline())["id"] for _ in rows[:2]] == [row["id"] for row in rows[:2]]
    write_rows(tmp_path / "later.jsonl", rows[2:4])
    rest, _ = process.communicate(timeout=60)
    assert [json.loads(line)["id"] for line in rest.splitlines()] == [row["id"] for row in rows[2:4]]
    assert process.returncode == 0


def test_several_sequences_in_the_output(run, precis, sharp):
    text = document(random.Random(2), 12)
    options = ["--num-beams", "4", "--num-return-sequences", "3", "--window", str(WINDOW)]
    [result] = parse(summarize(run, precis, sharp[0], "--format", "jsonl", *options, input=text))
    assert list(result) == [*FIELDS, "sequences"]
    model, tokenizer = sharp[1], sharp[2]
    with torch.no_grad():
        memory = window_memory(model, ids(tokenizer, text), [], WINDOW)
        expected = model.generate(encoder_outputs=BaseModelOutput(memory), attention_mask=torch.ones(memory.shape[:2]),
                                  num_beams=4, num_return_sequences=3, return_dict_in_generate=True, output_scores=True)
    assert len(result["sequences"]) == 3
    for sequence, wanted, score in zip(result["sequences"], expected.sequences.tolist(), expected.sequences_scores):
        wanted = wanted[:wanted.index(2, 1) + 1] if 2 in wanted[1:] else wanted
        assert sequence["token_ids"] == wanted and sequence["output_tokens"] == len(wanted) - 1
        assert sequence["summary"] == tokenizer.decode(wanted, skip_special_tokens=True,
                                                       clean_up_tokenization_spaces=False)
        assert sequence["finish_reason"] == ("eos" if wanted[-1] == 2 else "length")
        assert sequence["score"] == pytest.approx(score.item(), abs=1e-5)
    for field in ("summary", "token_ids", "finish_reason", "output_tokens"):
        assert result[field] == result["sequences"][0][field]
    shown = summarize(run, precis, sharp[0], *options, input=text).stdout
    assert shown == "".join(f"[{k}] {s['summary']}\n" for k, s in enumerate(result["sequences"], 1))


def test_a_seed_makes_a_summary(run, precis, sharp, tmp_path, rows):
    write_rows(tmp_path / "rows.jsonl", rows[:20])
    sampling = ["--num-beams", "1", "--do-sample", "--temperature", "1.5", "--format", "jsonl"]

    def sampled(*options):
        results = parse(summarize(run, precis, sharp[0], tmp_path / "rows.jsonl", *sampling, *options))
        assert all(list(r) == [*FIELDS, "seed"] for r in results)
        return results, [r["token_ids"] for r in results]

    results, first = sampled()
    assert all(r["seed"] == 1 for r in results)
    assert sampled("--seed", "1", "--threads", "2")[1] == first
    results, other = sampled("--seed", "2")
    assert all(r["seed"] == 2 for r in results) and sum(a != b for a, b in zip(first, other)) > 10
    # One at a time they are the same.
    alone = subprocess.run([precis, "summarize", sharp[0], tmp_path / "rows.jsonl", *sampling[:-2], "--stream",
                            "--dtype", "float64"], capture_output=True, check=True)
    texts = [sharp[2].decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False) for tokens in first]
    assert alone.stdout.decode("utf-8") == "\n".join(text + "\n" for text in texts)
    assert b"sampled with seed 1" in alone.stderr
    [result] = parse(summarize(run, precis, sharp[0], *sampling, "--num-return-sequences", "5", input="an the"))
    assert list(result) == [*FIELDS, "seed", "sequences"] and len(result["sequences"]) == 5


def test_settings_of_sampling_without_sampling_are_told(run, precis, sharp):
    done = summarize(run, precis, sharp[0], "--top-k", "5", "--seed", "3", input="an the")
    assert "without do_sample these change nothing: top_k, seed" in done.stderr
    done = summarize(run, precis, sharp[0], "--num-beams", "1", "--num-return-sequences", "2", input="an the", code=2)
    assert "num_return_sequences" in done.stderr


def test_rules_reach_the_search(run, precis, sharp):
    text = document(random.Random(2), 3)
    tokenizer = sharp[2]
    bad = [ids(tokenizer, " the"), ids(tokenizer, "an the")]
    cases = [({"repetition_penalty": 1.5}, []), ({"encoder_no_repeat_ngram_size": 2}, ["input_ids"]),
             ({"bad_words_ids": bad}, []), ({"sequence_bias": [[bad[0], 5.0]]}, []),
             ({"suppress_tokens": bad[1][:2]}, []), ({"exponential_decay_length_penalty": [3, 1.5]}, []),
             ({"renormalize_logits": True, "no_repeat_ngram_size": 1}, [])]
    plain = expected_ids(sharp, text, window=64)
    for options, whole in cases:
        flags = []
        for name, value in options.items():
            # Lists of tokens are written with commas, what is deeper as JSON.
            flat = isinstance(value, list) and name == "suppress_tokens"
            spelt = ",".join(map(str, value)) if flat else json.dumps(value)
            flags += ["--" + name.replace("_", "-")] + ([] if value is True else [spelt])
        [result] = parse(summarize(run, precis, sharp[0], "--format", "jsonl", *flags, input=text))
        if whole:
            want = sharp[1].generate(input_ids=torch.tensor([[0, *ids(tokenizer, text), 2]]), **options)[0].tolist()
        else:
            want = expected_ids(sharp, text, window=64, **options)
        assert result["token_ids"] == want, options
        assert want != plain or "renormalize_logits" in options, options
    done = summarize(run, precis, sharp[0], "--bad-words-ids", "[[3", input=text, code=2)
    assert "--bad-words-ids" in done.stderr


def test_evaluate_draws_as_summarize_does(run, precis, sharp, tmp_path, rows):
    scored = [row | {"summary": "an the."} for row in rows[:12]]
    write_rows(tmp_path / "rows.jsonl", scored)
    settings = json.loads((sharp[0] / "generation_config.json").read_text())
    model = tmp_path / "model"
    model.mkdir()
    for file in sharp[0].iterdir():
        (model / file.name).write_bytes(file.read_bytes())
    settings |= {"do_sample": True, "temperature": 1.4, "num_beams": 1, "num_return_sequences": 3,
                 "encoder_no_repeat_ngram_size": 3, "repetition_penalty": 1.2}
    settings.pop("early_stopping")
    (model / "generation_config.json").write_text(json.dumps(settings))
    results = parse(summarize(run, precis, model, tmp_path / "rows.jsonl", "--format", "jsonl", "--seed", "4"))
    run([precis, "evaluate", model, "--data", tmp_path / "rows.jsonl", "--output", tmp_path / "out.jsonl", "--seed", "4",
         "--dtype", "float64"])
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["prediction"] for line in lines] == [r["summary"] for r in results]
    assert all(len(r["sequences"]) == 3 for r in results)


def test_train_validates_and_writes_with_the_models_settings(run, precis, tmp_path):
    world = tmp_path / "world"
    world.mkdir()
    write_world(world)
    file = world / "model" / "generation_config.json"
    rules = {"repetition_penalty": 1.3, "encoder_no_repeat_ngram_size": 2, "bad_words_ids": [[7, 8]]}
    file.write_text(json.dumps(json.loads(file.read_text()) | rules))
    out = tmp_path / "out"
    train(tmp_path, config_of(world, out, steps=2, batch={"documents": 1, "accumulation": 1},
                              validation={"every": 2, "num_beams": 1}, precision="float64"))
    written = GenerationConfig.from_pretrained(out / "latest")
    assert {name: getattr(written, name) for name in rules} == rules
    [validation] = [e for e in events(out, "validation")][-1:]
    done = run([precis, "evaluate", out / "latest", "--data", world / "validation.jsonl", "--format", "json", "--dtype",
                "float64"])
    assert json.loads(done.stdout)["rouge1"]["fmeasure"] == pytest.approx(validation["rouge1"], abs=1e-9)
