"""Sampling as distributions: what is drawn against the probabilities that transformers draws from, and beams that are
drawn against transformers' own draws. Seeds are fixed on both sides, so a result never changes between runs."""

import collections
import math

import pytest
import torch
from transformers import BartForConditionalGeneration

from generate_parity_test import documents_of, generate, memory_of, models, run_program  # noqa: F401

# Standard deviations by which a statistic may pass what chance gives: once in 30,000 right implementations.
DEVIATIONS = 4.0
# Cells with a smaller expected count are counted together.
LEAST_EXPECTED = 5.0

# Else almost every summary begins with BOS.
NO_BOS = {"suppress_tokens": [0]}

FILTERS = [
    {"temperature": 1.0},
    {"temperature": 0.6},
    {"temperature": 1.8, "top_k": 12},
    {"temperature": 1.5, "top_p": 0.8, "top_k": 0},
    {"temperature": 1.4, "top_k": 20, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.3},
    {"temperature": 1.3, "typical_p": 0.8, "encoder_no_repeat_ngram_size": 2, "bad_words_ids": [[11], [14, 13]]},
]


def deviations(statistic, freedom):
    """Of a chi-square statistic, by Wilson and Hilferty's cube root."""
    spread = 2 / (9 * freedom)
    return ((statistic / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)


def check_fit(counts, probabilities):
    """counts: {outcome: times}; probabilities: {outcome: its probability}, which need not be complete."""
    total = sum(counts.values())
    statistic, cells, rest_seen, rest_expected = 0.0, 0, total, total
    for outcome, probability in probabilities.items():
        expected = total * probability
        if expected >= LEAST_EXPECTED:
            statistic += (counts[outcome] - expected) ** 2 / expected
            cells += 1
            rest_seen -= counts[outcome]
            rest_expected -= expected
    if rest_expected >= LEAST_EXPECTED:
        statistic += (rest_seen - rest_expected) ** 2 / rest_expected
        cells += 1
    assert cells >= 3, "too few outcomes to compare"
    assert deviations(statistic, cells - 1) < DEVIATIONS, (statistic, cells)


def check_same(ours, theirs):
    """Whether two lists of outcomes come of one distribution."""
    counts = [collections.Counter(ours), collections.Counter(theirs)]
    pooled = counts[0] + counts[1]
    share = len(ours) / (len(ours) + len(theirs))
    common = [o for o, n in pooled.items() if n * min(share, 1 - share) >= LEAST_EXPECTED]
    rare = [sum(n for o, n in c.items() if o not in set(common)) for c in counts]
    table = [(counts[0][o], counts[1][o]) for o in common] + [tuple(rare)] * (sum(rare) >= 20)
    statistic = sum((a - (a + b) * share) ** 2 / ((a + b) * share) + (b - (a + b) * (1 - share)) ** 2 /
                    ((a + b) * (1 - share)) for a, b in table)
    assert len(table) >= 8, "too few outcomes to compare"
    assert deviations(statistic, len(table) - 1) < DEVIATIONS, (statistic, len(table))


@torch.no_grad()
def next_probabilities(model, text, memory, begin, options):
    """What transformers would draw the token after `begin` from."""
    written = {"decoder_input_ids": torch.tensor([begin])} if len(begin) > 1 else {}
    output = generate(model, text, memory, do_sample=True, output_scores=True, return_dict_in_generate=True,
                      **written, **options | {"max_new_tokens": 1})
    return output.scores[0][0].double().softmax(0)


@pytest.fixture(scope="module")
def doubtful(models):  # noqa: F811
    return BartForConditionalGeneration.from_pretrained(models / "doubtful", dtype=torch.float64).eval()


@pytest.mark.parametrize("options", FILTERS, ids=",".join)
def test_two_tokens_are_drawn_from_the_filtered_distribution(models, doubtful, tmp_path, options):  # noqa: F811
    options = options | NO_BOS
    [text] = documents_of([30], 21)
    cases = [options | {"do_sample": True, "num_return_sequences": 1000, "max_new_tokens": 2, "seed": seed}
             for seed in range(8)]
    drawn = [tuple(s["token_ids"]) for result in run_program(models / "doubtful", [text], cases, "float64", tmp_path)
             for s in result["documents"][0]]
    assert len(drawn) == 8000 and {len(ids) for ids in drawn} <= {2, 3}
    memory = memory_of(doubtful, text["text"], [])
    first = next_probabilities(doubtful, text, memory, [2], options)
    firsts = collections.Counter(ids[1] for ids in drawn)
    assert all(first[token] > 0 for token in firsts)
    check_fit(firsts, dict(enumerate(first.tolist())))

    pairs = {}
    for token in first.nonzero().flatten().tolist():
        if token == 2 or first[token] * len(drawn) < LEAST_EXPECTED:
            continue
        second = next_probabilities(doubtful, text, memory, [2, token], options)
        pairs |= {(token, after): (first[token] * p).item() for after, p in enumerate(second.tolist())}
    seen = collections.Counter(ids[1:] for ids in drawn if len(ids) == 3)
    assert all(pairs[pair] > 0 for pair in seen if pair in pairs)
    # A sequence that ended at once is one outcome more.
    seen[(2,)] = firsts[2]
    check_fit(seen, pairs | {(2,): first[2].item()})


def test_draws_of_sequences_documents_and_seeds_are_independent(models, tmp_path):  # noqa: F811
    [text] = documents_of([30], 21)
    options = {"do_sample": True, "num_return_sequences": 1000, "max_new_tokens": 1, "temperature": 1.5, "top_k": 6} | NO_BOS
    cases = [options | {"seed": seed} for seed in (5, 6)]
    # The same document three times: only the draws differ.
    results = run_program(models / "doubtful", [text] * 3, cases, "float64", tmp_path)
    tokens = [[[s["token_ids"][1] for s in document] for document in result["documents"]] for result in results]
    one, other = tokens
    pairs = {"documents": list(zip(one[0], one[1])) + list(zip(one[1], one[2])),
             "seeds": list(zip(one[0] + one[1], other[0] + other[1])),
             # Neighbours on two counts, which a sum of these would make one.
             "a document and a sequence": list(zip(one[0][1:], one[1])) + list(zip(one[1][1:], one[2])),
             "a seed and a sequence": list(zip(one[0][1:], other[0])) + list(zip(one[1][1:], other[1])),
             "a seed and a document": list(zip(one[1], other[0])) + list(zip(one[2], other[1])),
             "sequences": [pair for document in one for pair in zip(document[::2], document[1::2])]}
    for name, drawn in pairs.items():
        left, right = (collections.Counter(pair[i] for pair in drawn) for i in (0, 1))
        assert len(left) == 6, name
        statistic = 0.0
        for a in left:
            for b in right:
                expected = left[a] * right[b] / len(drawn)
                statistic += (collections.Counter(drawn)[a, b] - expected) ** 2 / expected
        assert abs(deviations(statistic, (len(left) - 1) * (len(right) - 1))) < DEVIATIONS, name


@pytest.mark.parametrize("options", [{"num_beams": 3, "temperature": 1.5, "max_new_tokens": 3},
                                     {"num_beams": 2, "top_k": 4, "max_new_tokens": 4, "length_penalty": 2.0},
                                     {"num_beams": 2, "top_p": 0.7, "temperature": 2.0, "max_new_tokens": 2}],
                         ids=["temperature", "top_k", "top_p"])
@torch.no_grad()
def test_drawn_beams_are_distributed_as_those_of_transformers(models, doubtful, tmp_path, options):  # noqa: F811
    options = options | NO_BOS
    [text] = documents_of([16], 22)
    count = 3000
    # Copies of a document draw on their own.
    [result] = run_program(models / "doubtful", [text] * count, [options | {"do_sample": True}], "float64", tmp_path)
    ours = [tuple(sequences[0]["token_ids"]) for sequences in result["documents"]]
    torch.manual_seed(23)
    memory = memory_of(doubtful, text["text"], [])
    drawn = generate(doubtful, text, memory, copies=count, do_sample=True, **options).tolist()
    theirs = [tuple(ids[:ids.index(2, 1) + 1] if 2 in ids[1:] else ids) for ids in drawn]
    check_same(ours, theirs)


def test_a_seed_gives_the_same_whatever_shares_the_batch(models, tmp_path):  # noqa: F811
    documents = documents_of([30, 12, 40, 0], 24)
    options = [{"do_sample": True, "temperature": 1.5, "num_return_sequences": 5, "max_new_tokens": 8},
               {"do_sample": True, "num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 8},
               {"do_sample": True, "temperature": 1.5, "num_return_sequences": 2, "max_new_tokens": 8}]
    together = run_program(models / "doubtful", documents, options, "float64", tmp_path)
    alone = run_program(models / "doubtful", documents[:1], options, "float64", tmp_path)
    for case in range(3):
        assert together[case]["documents"][0] == alone[case]["documents"][0]
    # More sequences leave the first ones as they were.
    for many, few in zip(together[0]["documents"], together[2]["documents"]):
        assert many[:2] == few
