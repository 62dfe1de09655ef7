"""precis evaluate, end to end: losses and summaries against transformers, ROUGE against rouge-score, answers against
SQuAD's script, the JSON contract, the errors."""

import json
import random
import re
import string
from collections import Counter

import numpy as np
import pytest
import torch
from rouge_score import rouge_scorer
from transformers.modeling_outputs import BaseModelOutput

from sharp_model import POSITIONS, document, summary
from train_support import ids, summed_loss, target_ids, text_of, window_memory, write_rows

WINDOW = 24
QUERY = "what of memory"
TYPES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
# Relative. float32 rounds each of some hundred sums to 6e-8; float64 leaves the order of summation.
LOSS_TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


def evaluate(run, precis, *arguments, code=0, input=None):
    return run([precis, "evaluate", *arguments], code=code, input=input)


def report(run, precis, *arguments, **options):
    return json.loads(evaluate(run, precis, *arguments, "--format", "json", **options).stdout)


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def data_rows(tokenizer):
    draw = random.Random(8)
    texts = [document(draw, n) for n in (2, 14, 5)]
    texts += [text_of(tokenizer, n, 9) for n in (0, 1, WINDOW - 2, WINDOW - 1, 400)]
    rows = [{"id": f"row {i}", "document": text, "summary": summary(text)} for i, text in enumerate(texts)]
    rows[1]["query"] = QUERY
    rows[7]["query"] = "an"
    rows[2]["summaries"] = [rows[2].pop("summary"), "the end.\nof memory.", summary(texts[1])]
    rows[5]["id"] = 12
    rows[6].pop("id")
    return rows


def references(row):
    return row["summaries"] if "summaries" in row else [row["summary"]]


@torch.no_grad()
def expected(sharp, row, dtype=torch.float64):
    """(summed loss, tokens, prediction) from transformers."""
    _, model, tokenizer = sharp
    text, query = ids(tokenizer, row["document"]), ids(tokenizer, row["query"]) if "query" in row else []
    target = target_ids(tokenizer, references(row)[0])
    loss = summed_loss(model, text, query, target, WINDOW).item()
    memory = window_memory(model, text, query, WINDOW)
    written = model.generate(encoder_outputs=BaseModelOutput(memory), attention_mask=torch.ones(memory.shape[:2]))[0]
    return loss, len(target), tokenizer.decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def check_rouge(result, pairs, stemmer=True):
    """Means of rouge-score's own scores; the interval against a bootstrap of numpy's."""
    scorer = rouge_scorer.RougeScorer(TYPES, use_stemmer=stemmer)
    scores = [scorer.score_multi(refs, prediction) for refs, prediction in pairs]
    for kind in TYPES:
        assert list(result[kind]) == ["precision", "recall", "fmeasure", "low", "high"]
        for name in ("precision", "recall", "fmeasure"):
            mean = sum(getattr(score[kind], name) for score in scores) / len(scores)
            assert abs(result[kind][name] - mean) <= 1e-9, (kind, name)
        values = np.array([score[kind].fmeasure for score in scores])
        means = values[np.random.default_rng(1).integers(0, len(values), (20000, len(values)))].mean(1)
        # 1,000 resamples place a percentile within about a tenth of the means' deviation; five of those.
        for name, share in (("low", 2.5), ("high", 97.5)):
            assert abs(result[kind][name] - np.percentile(means, share)) <= 0.5 * means.std() + 1e-12, (kind, name)


@pytest.fixture(scope="module")
def data(sharp, tmp_path_factory):
    rows = data_rows(sharp[2])
    path = tmp_path_factory.mktemp("evaluate") / "data.jsonl"
    write_rows(path, rows)
    return path, rows, [expected(sharp, row) for row in rows]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_each_document_and_the_means(run, precis, sharp, data, tmp_path, dtype):
    path, rows, wanted = data
    result = report(run, precis, sharp[0], "--data", path, "--output", tmp_path / "out.jsonl", "--window", str(WINDOW),
                    "--dtype", dtype)
    lines = read_lines(tmp_path / "out.jsonl")
    assert [line["id"] for line in lines] == [*(f"row {i}" for i in range(5)), "12", "7", "row 7"]
    for line, (loss, tokens, prediction) in zip(lines, wanted, strict=True):
        assert list(line) == ["id", "prediction", "loss", "tokens"]
        assert line["tokens"] == tokens
        assert line["loss"] == pytest.approx(loss / tokens, rel=LOSS_TOLERANCE[dtype])
        assert line["prediction"] == prediction
    assert list(result) == ["documents", "loss", "tokens", *TYPES]
    assert result["documents"] == len(rows)
    assert result["tokens"] == sum(tokens for _, tokens, _ in wanted)
    assert result["loss"] == pytest.approx(sum(loss for loss, _, _ in wanted) / result["tokens"],
                                           rel=LOSS_TOLERANCE[dtype])
    assert result["rouge1"]["fmeasure"] > 0.1  # else the model says nothing and the comparison means nothing
    check_rouge(result, [(references(row), prediction) for row, (_, _, prediction) in zip(rows, wanted)])
    # What was written scores the same when it is read again.
    for i, row in enumerate(rows):
        row.setdefault("id", str(i + 1))
    write_rows(tmp_path / "references.jsonl", rows)
    again = report(run, precis, "--predictions", tmp_path / "out.jsonl", "--references", tmp_path / "references.jsonl")
    assert again == {"documents": len(rows)} | {kind: result[kind] for kind in TYPES}
    rows[6].pop("id")


def test_metrics_are_what_was_asked_for(run, precis, sharp, data, tmp_path):
    path, rows, wanted = data
    loss = report(run, precis, sharp[0], "--data", path, "--output", tmp_path / "loss.jsonl", "--metrics", "loss",
                  "--window", str(WINDOW), "--dtype", "float64")
    assert list(loss) == ["documents", "loss", "tokens"]
    assert all(list(line) == ["id", "loss", "tokens"] for line in read_lines(tmp_path / "loss.jsonl"))
    others = report(run, precis, sharp[0], "--data", path, "--output", tmp_path / "rouge.jsonl", "--metrics",
                    "rouge,qa", "--window", str(WINDOW), "--dtype", "float64", "--no-stemmer")
    assert list(others) == ["documents", *TYPES, "exact_match", "f1"]
    lines = read_lines(tmp_path / "rouge.jsonl")
    assert all(list(line) == ["id", "prediction"] for line in lines)
    pairs = [(references(row), prediction) for row, (_, _, prediction) in zip(rows, wanted)]
    assert [line["prediction"] for line in lines] == [prediction for _, prediction in pairs]
    check_rouge(others, pairs, stemmer=False)
    check_answers(others, pairs)


def test_generation_options_and_standard_input(run, precis, sharp, data):
    path, rows, _ = data
    _, model, tokenizer = sharp
    result = report(run, precis, sharp[0], "--data", "-", "--metrics", "rouge", "--window", str(WINDOW), "--dtype",
                    "float64", "--num-beams", "1", "--max-new-tokens", "7", input=path.read_text(encoding="utf-8"))
    pairs = []
    for row in rows:
        with torch.no_grad():
            memory = window_memory(model, ids(tokenizer, row["document"]),
                                   ids(tokenizer, row["query"]) if "query" in row else [], WINDOW)
            written = model.generate(encoder_outputs=BaseModelOutput(memory), num_beams=1, max_new_tokens=7,
                                     early_stopping=False, attention_mask=torch.ones(memory.shape[:2]))[0]
        pairs.append((references(row), tokenizer.decode(written, skip_special_tokens=True,
                                                        clean_up_tokenization_spaces=False)))
    check_rouge(result, pairs)


def test_fields_can_be_named(run, precis, sharp, tmp_path):
    text = "an the. of a treats."
    write_rows(tmp_path / "named.jsonl", [{"body": text, "short": ["an the."], "question": QUERY}])
    write_rows(tmp_path / "plain.jsonl", [{"document": text, "summary": "an the.", "query": QUERY}])
    write_rows(tmp_path / "pair.jsonl", [{"article": text, "highlights": "an the.", "query": QUERY}])
    settings = ["--window", str(WINDOW), "--metrics", "loss", "--dtype", "float64"]
    named = report(run, precis, sharp[0], "--data", tmp_path / "named.jsonl", "--document-field", "body",
                   "--summary-field", "short", "--query-field", "question", *settings)
    assert named == report(run, precis, sharp[0], "--data", tmp_path / "plain.jsonl", *settings)
    assert named == report(run, precis, sharp[0], "--data", tmp_path / "pair.jsonl", *settings)


@pytest.mark.slow
def test_what_is_left_out_or_cut_is_counted(run, precis, sharp, tmp_path):
    tokenizer = sharp[2]
    long = text_of(tokenizer, 30, 2)
    write_rows(tmp_path / "data.jsonl", [{"document": "an the."}, {"document": "of a", "summary": ""},
                                         {"document": "word counts.", "summary": long}])
    data = ["--data", tmp_path / "data.jsonl", "--metrics", "loss", "--dtype", "float64"]
    done = evaluate(run, precis, sharp[0], *data, code=3)
    assert "data.jsonl:1: row '1' has no summary" in done.stderr and "--on-empty-summary skip" in done.stderr
    skip = ["--on-empty-summary", "skip"]
    done = evaluate(run, precis, sharp[0], *data, *skip, "--max-target-tokens", "31", code=3)
    assert "data.jsonl:3" in done.stderr and "found 32" in done.stderr and "--target-overflow truncate" in done.stderr
    whole = report(run, precis, sharp[0], *data, *skip, "--max-target-tokens", "32")
    assert whole["tokens"] == 32 and whole["skipped_without_summary"] == 2 and "truncated_targets" not in whole
    cut = report(run, precis, sharp[0], *data, *skip, "--max-target-tokens", "12", "--target-overflow", "truncate")
    target = [0, *ids(tokenizer, long)[:10], 2]
    loss = summed_loss(sharp[1], ids(tokenizer, "word counts."), [], target, POSITIONS).item()
    assert (cut["tokens"], cut["truncated_targets"], cut["skipped_without_summary"]) == (12, 1, 2)
    assert cut["loss"] == pytest.approx(loss / 12, rel=LOSS_TOLERANCE["float64"])
    # Where no loss is asked for, no target is too long.
    report(run, precis, sharp[0], *data[:2], *skip, "--metrics", "rouge", "--max-target-tokens", "12")


def test_many_short_documents_are_those_of_each_alone(run, precis, sharp, tmp_path):
    """More than one pack holds; the results keep the data's order."""
    draw = random.Random(3)
    rows = [{"document": document(draw, 1 + i % 4), "summary": f"an of {i}."} for i in range(150)]
    write_rows(tmp_path / "data.jsonl", rows)
    settings = ["--dtype", "float64", "--max-new-tokens", "4"]
    evaluate(run, precis, sharp[0], "--data", tmp_path / "data.jsonl", "--output", tmp_path / "all.jsonl", *settings)
    lines = read_lines(tmp_path / "all.jsonl")
    assert [line["id"] for line in lines] == [str(i + 1) for i in range(150)]
    for i in (0, 73, 149):
        write_rows(tmp_path / "one.jsonl", [rows[i]])
        evaluate(run, precis, sharp[0], "--data", tmp_path / "one.jsonl", "--output", tmp_path / "one.out", *settings)
        [alone] = read_lines(tmp_path / "one.out")
        assert alone["prediction"] == lines[i]["prediction"] and alone["tokens"] == lines[i]["tokens"]
        assert alone["loss"] == pytest.approx(lines[i]["loss"], rel=1e-12)


# SQuAD's evaluation script, version 1.1 (Rajpurkar et al. 2016), with the no-answer rule of version 2.0, which is what
# torchmetrics' SQuAD computes.
def normalize_answer(text):
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def answer_f1(prediction, reference):
    found, wanted = normalize_answer(prediction).split(), normalize_answer(reference).split()
    if not found or not wanted:
        return float(found == wanted)
    same = sum((Counter(found) & Counter(wanted)).values())
    return 2 * same / (len(found) + len(wanted))


def check_answers(result, pairs):
    exact = [max(float(normalize_answer(p) == normalize_answer(r)) for r in refs) for refs, p in pairs]
    f1 = [max(answer_f1(p, r) for r in refs) for refs, p in pairs]
    assert result["exact_match"] == pytest.approx(100 * sum(exact) / len(pairs), abs=1e-9)
    assert result["f1"] == pytest.approx(100 * sum(f1) / len(pairs), abs=1e-9)


def score_answers(run, precis, tmp_path, pairs):
    write_rows(tmp_path / "p.jsonl", [{"id": i, "prediction": p} for i, (_, p) in enumerate(pairs)])
    write_rows(tmp_path / "r.jsonl", [{"id": i, "summaries": refs} for i, (refs, _) in enumerate(pairs)])
    return report(run, precis, "--predictions", tmp_path / "p.jsonl", "--references", tmp_path / "r.jsonl", "--metrics",
                  "qa")


def test_answers_are_squads(run, precis, tmp_path):
    draw = random.Random(2)
    # Every rule's own: articles, punctuation in and out of ASCII, Unicode spaces, marks that end a word, capitals.
    pieces = ["the", "The", "A", "an", "THEATRE", "cat", "dog.", "o'clock", "an_d", "\u00a0", "\u2003", "\x1c", "\u200b",
              "\u201cthe\u201d", "\u00c9t\u00e9", "e\u0301the", "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3", "\u0130stanbul",
              "\u4e2d\u6587", "the\u4e2d", "3.14", "\u00bd", "a\u00b2", "-", "...", "\n", "stra\u00dfe", "\U00010400"]
    pairs = [([""], ""), (["the"], "."), (["x"], ""), ([""], "x"), (["x", "y z"], "y")]
    for _ in range(300):
        texts = [draw.choice(["", " "]).join(draw.choices(pieces, k=draw.randint(1, 4))) for _ in range(draw.randint(2, 4))]
        pairs.append((texts[1:], texts[0] if draw.random() < 0.6 else texts[1].upper()))
    result = score_answers(run, precis, tmp_path, pairs)
    assert list(result) == ["documents", "exact_match", "f1"] and 5 < result["exact_match"] < 95
    check_answers(result, pairs)
    for pair in pairs:  # one by one in the same file: a sum could hide two mistakes
        if normalize_answer(pair[1]) != normalize_answer(pair[0][0]):
            continue
        assert score_answers(run, precis, tmp_path, [pair])["exact_match"] == 100.0, pair
        break


def test_lower_case_is_pythons_for_every_character(run, precis, tmp_path):
    """A character's prediction is its lower case: one that is wrong would cost an exact match."""
    characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000 and chr(c).lower() != chr(c)]
    sigmas = ["\u03a3", "A\u03a3", "A\u03a3B", "A.\u03a3", "A\u0301\u03a3\u0301", "A\u03a3\u0301B", "1\u03a3", "\u03a3A"]
    pairs = [([c.lower()], c) for c in [*characters, *sigmas]]
    result = score_answers(run, precis, tmp_path, pairs)
    assert result["exact_match"] == 100.0 and len(pairs) > 1300


def test_scoring_equals_rouge_score(run, precis, tmp_path):
    draw = random.Random(7)
    words = ["running", "runs", "cats", "the", "of", "policies", "dying", "1990s", "caf\u00e9"]
    text = lambda: " ".join(draw.choices(words, k=draw.randint(0, 9))) + draw.choice(["", "\n"]) + draw.choice(words)
    pairs = [([text() for _ in range(draw.randint(1, 3))], text()) for _ in range(60)]
    write_rows(tmp_path / "p.jsonl", [{"id": i, "summary": p} for i, (_, p) in reversed(list(enumerate(pairs)))])
    write_rows(tmp_path / "r.jsonl", [{"id": str(i), **({"summaries": refs} if len(refs) > 1 else {"summary": refs[0]})}
                                      for i, (refs, _) in enumerate(pairs)])
    files = ["--predictions", tmp_path / "p.jsonl", "--references", tmp_path / "r.jsonl"]
    check_rouge(report(run, precis, *files), pairs)
    check_rouge(report(run, precis, *files, "--no-stemmer"), pairs, stemmer=False)
    assert report(run, precis, *files) == report(run, precis, *files)


@pytest.mark.slow
def test_a_baseline_is_compared_document_by_document(run, precis, tmp_path):
    draw = random.Random(11)
    words = "memory window cache gradient decoder states beam".split()
    sources = [draw.choices(words, k=9) for _ in range(80)]
    noisy = lambda row, share: " ".join(word if draw.random() > share else "noise" for word in row)
    write_rows(tmp_path / "r.jsonl", [{"id": i, "summary": " ".join(row)} for i, row in enumerate(sources)])
    for name, share in (("good", 0.45), ("near", 0.47), ("bad", 0.9)):
        rows = [{"id": i, "prediction": noisy(row, share)} for i, row in enumerate(sources)]
        write_rows(tmp_path / f"{name}.jsonl", draw.sample(rows, len(rows)))  # the join is by id, not by place

    scorer = rouge_scorer.RougeScorer(TYPES, use_stemmer=True)
    def fmeasures(name, kind):
        texts = {row["id"]: row["prediction"] for row in read_lines(tmp_path / f"{name}.jsonl")}
        return np.array([scorer.score(" ".join(row), texts[i])[kind].fmeasure for i, row in enumerate(sources)])

    seen = []
    for a, b in (("good", "bad"), ("bad", "good"), ("good", "near"), ("good", "good")):
        files = ["--predictions", tmp_path / f"{a}.jsonl", "--references", tmp_path / "r.jsonl", "--baseline",
                 tmp_path / f"{b}.jsonl", "--metrics", "rouge,qa"]
        result = report(run, precis, *files)
        assert list(result["baseline"]) == [*TYPES, "exact_match", "f1"]
        for kind in TYPES:
            mine, other = fmeasures(a, kind), fmeasures(b, kind)
            found = result["baseline"][kind]
            assert found["fmeasure"] == pytest.approx(other.mean(), abs=1e-9)
            assert found["difference"] == pytest.approx((mine - other).mean(), abs=1e-9)
            picks = np.random.default_rng(0).integers(len(sources), size=(20000, len(sources)))
            p_value = ((mine - other)[picks].mean(axis=1) <= 0).mean()
            # 1,000 resamples: four standard deviations of a share are at most 0.063.
            assert found["p_value"] == pytest.approx(p_value, abs=0.065)
            seen.append(found["p_value"])
        f1 = result["baseline"]["f1"]
        assert f1["difference"] == pytest.approx(result["f1"] - f1["score"], abs=1e-9)
        table = evaluate(run, precis, *files).stdout
        line = next(line for line in table[table.index("beside"):].splitlines() if line.startswith("rouge2"))
        wanted = result["baseline"]["rouge2"]
        assert [float(x) for x in line.split()[1:]] == pytest.approx(
            [100 * wanted["fmeasure"], 100 * wanted["difference"], wanted["p_value"]], abs=0.0051)
    assert min(seen) == 0.0 and max(seen) == 1.0 and any(0.0 < p < 1.0 for p in seen)


def test_the_table_for_people(run, precis, sharp, data):
    path, rows, _ = data
    arguments = [sharp[0], "--data", path, "--window", str(WINDOW), "--metrics", "rouge,qa,loss"]
    result = report(run, precis, *arguments)
    lines = evaluate(run, precis, *arguments).stdout.splitlines()
    assert lines[0] == f"{len(rows)} documents"
    assert lines[1] == f"loss {result['loss']:.4f} a token, over {result['tokens']:,} tokens"
    table = {line[:12].strip(): [float(x) for x in line[12:].replace("to", " ").split()] for line in lines[4:]}
    for kind in TYPES:
        wanted = [100 * result[kind][name] for name in ("fmeasure", "low", "high", "precision", "recall")]
        assert table[kind] == pytest.approx(wanted, abs=0.0051)
    assert table["exact match"][0] == pytest.approx(result["exact_match"], abs=0.0051)
    assert table["f1"][0] == pytest.approx(result["f1"], abs=0.0051)


@pytest.mark.slow
def test_errors_of_the_form_with_a_model(run, precis, fails, sharp, tmp_path):
    write_rows(tmp_path / "data.jsonl", [{"document": "an the.", "summary": "an."}])
    (tmp_path / "bad.jsonl").write_text('{"document": "a", "summary": "b"}\n{"document": \n', encoding="utf-8")
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    model, data = sharp[0], tmp_path / "data.jsonl"
    for code, words, arguments in [
            (4, ["missing"], [tmp_path / "missing", "--data", data]),
            (3, ["no.jsonl", "no such file"], [model, "--data", tmp_path / "no.jsonl"]),
            (3, ["bad.jsonl:2"], [model, "--data", tmp_path / "bad.jsonl"]),
            (3, ["empty.jsonl", "no rows"], [model, "--data", tmp_path / "empty.jsonl"]),
            (3, ["no field 'text'"], [model, "--data", data, "--document-field", "text"]),
            (2, ["unknown option --dta", "did you mean --data"], [model, "--dta", data]),
            (2, ["unknown metric", "did you mean rouge"], [model, "--data", data, "--metrics", "loss,roug"]),
            (2, ["no model"], ["--data", data]),
            (2, ["--data"], [model]),
            (2, ["nothing is generated"], [model, "--data", data, "--metrics", "loss", "--num-beams", "2"]),
            (2, ["--no-stemmer"], [model, "--data", data, "--metrics", "loss", "--no-stemmer"]),
            (2, [str(POSITIONS)], [model, "--data", data, "--window", "65"]),
            (2, ["--memory-budget"], [model, "--data", data, "--memory-budget", "1GiB"]),
            (5, ["out.jsonl", "No such file"], [model, "--data", data, "--output", tmp_path / "no" / "out.jsonl"]),
            (5, ["a directory"], [model, "--data", data, "--output", tmp_path]),
            (5, ["/dev/full"], [model, "--data", data, "--output", "/dev/full"])]:
        fails(code, words, "evaluate", *arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "data.jsonl", "empty.jsonl"]


def test_a_loss_that_is_not_finite_is_exit_6(run, precis, fails, sharp, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file
    shutil.copytree(sharp[0], tmp_path / "model")
    state = load_file(tmp_path / "model" / "model.safetensors")
    state["model.decoder.layers.1.fc2.bias"][3] = float("inf")
    save_file(state, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    write_rows(tmp_path / "data.jsonl", [{"id": "x9", "document": "an", "summary": "an."}])
    (tmp_path / "out.jsonl").write_text("kept\n", encoding="utf-8")
    fails(6, ["'x9'", "not finite"], "evaluate", tmp_path / "model", "--data", tmp_path / "data.jsonl", "--metrics",
          "loss", "--output", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == "kept\n"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.slow
def test_errors_of_the_scoring_form(run, precis, fails, sharp, tmp_path):
    def write(name, rows):
        write_rows(tmp_path / name, rows)
        return tmp_path / name

    one, two = {"id": 1, "prediction": "p"}, {"id": 2, "prediction": "p"}
    good = write("good.jsonl", [one, two])
    refs = write("refs.jsonl", [{"id": 1, "summary": "s"}, {"id": 2, "summaries": ["s"]}])
    for code, words, predictions, references, more in [
            (3, ["repeated.jsonl:3", "'1'", "twice"], write("repeated.jsonl", [one, two, one]), refs, []),
            (3, ["twice.jsonl:2", "'1'", "twice"], good, write("twice.jsonl", [{"id": 1, "summary": "s"}] * 2), []),
            (3, ["refs.jsonl:2", "no prediction", "'2'"], write("few.jsonl", [one]), refs, []),
            (3, ["more.jsonl:3", "no reference"], write("more.jsonl", [one, two, {"id": 3, "prediction": ""}]), refs, []),
            (3, ["nameless.jsonl:1", "'id'"], write("nameless.jsonl", [{"prediction": "p"}]), refs, []),
            (3, ["no.jsonl"], tmp_path / "no.jsonl", refs, []),
            (2, ["needs a model"], good, refs, ["--metrics", "rouge,loss"]),
            (2, ["--window"], good, refs, ["--window", "8"]),
            (2, ["--output"], good, refs, ["--output", tmp_path / "o"]),
            (2, ["generation"], good, refs, ["--num-beams", "2"]),
            (2, ["both a model"], good, refs, ["--data", refs]),
            (2, ["both a model"], good, refs, [sharp[0]])]:
        fails(code, words, "evaluate", "--predictions", predictions, "--references", references, *more)
    fails(3, ["few.jsonl", "'2'"], "evaluate", "--predictions", good, "--references", refs, "--baseline",
          tmp_path / "few.jsonl")
    fails(2, ["--baseline"], "evaluate", sharp[0], "--data", refs, "--baseline", good)
    fails(2, ["--references is missing"], "evaluate", "--predictions", good)
    fails(2, ["--predictions is missing"], "evaluate", "--references", refs)
