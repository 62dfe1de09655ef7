"""ROUGE equals rouge-score to 1e-9, and the stemmer equals nltk's word for word."""

import json
import random

import pytest
from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer

TYPES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]

HOSTILE = [
    ("", ""), ("", "a b"), ("a b", ""), ("...", "!!!"), ("\n\n", "\n"), ("a\n\nb\n", "b\na"),
    ("\u212aelvin \u0130stanbul", "kelvin i stanbul"), ("\u00c9t\u00e9 na\u00efve caf\u00e9s", "ete naive cafes"),
    ("Running runners ran", "run runner running"), ("a\rb\u2028c", "a b c"), ("0x1F 3.14", "0x1f 3 14"),
    ("yyyyyyy sky skies dying", "sky die yyyy"), ("the the the the", "the the"), ("A" * 300, "a" * 300),
]


def scores(run, program, rows):
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    return [json.loads(line) for line in run([program("rouge_scores")], input=lines).stdout.splitlines()]


def check(run, program, pairs):
    for stemmer in (True, False):
        scorer = rouge_scorer.RougeScorer(TYPES, use_stemmer=stemmer)
        rows = [{"references": refs, "prediction": text, "stemmer": stemmer} for refs, text in pairs]
        for (refs, text), got in zip(pairs, scores(run, program, rows), strict=True):
            want = scorer.score_multi(refs, text)
            for kind in TYPES:
                for g, w in zip(got[kind], want[kind]):
                    assert abs(g - w) <= 1e-9, (kind, stemmer, refs[0][:80], text[:80])


def test_hostile_pairs(run, program):
    check(run, program, [([reference], prediction) for reference, prediction in HOSTILE])


@pytest.mark.slow
def test_real_texts(run, program, shared, read_rows):
    draw = random.Random(1)
    proposals = read_rows(shared / "proposals" / "validation.jsonl.zst")
    meetings = read_rows(shared / "qmsum" / "validation.jsonl.zst")
    stories = read_rows(shared / "squality" / "validation.jsonl.zst")
    pairs = []
    for row in proposals:  # leads of several lengths, and another row's summary
        words = row["document"].split(" ")
        pairs.append(([row["summary"]], " ".join(words[: draw.choice([5, 30, 120])])))
        pairs.append(([row["summary"]], draw.choice(proposals)["summary"]))
    for row in meetings[:100]:
        pairs.append(([row["summary"]], draw.choice(meetings)["summary"]))
    for row in stories[:60]:  # several references, long predictions over many lines
        pairs.append((row["summaries"], "\n".join(draw.choice(stories)["summaries"][0].split(". "))))
    assert len(pairs) >= 500
    check(run, program, pairs)


@pytest.mark.slow
def test_stems(run, program, shared, read_rows):
    import re

    words = {"a", "is", "yy", "yyy", "ies", "oing", "eed", "logi", "apologi", "y", "ion", "s", "ss"}
    for name in ("proposals", "squality", "qmsum"):
        for row in read_rows(shared / name / "validation.jsonl.zst"):
            words.update(re.findall("[a-z0-9]+", row["document"].lower()))
    stemmer = PorterStemmer()
    ordered = sorted(words)
    assert len(ordered) > 20000
    for word, got in zip(ordered, scores(run, program, [{"word": word} for word in ordered]), strict=True):
        assert got["stem"] == stemmer.stem(word), word
