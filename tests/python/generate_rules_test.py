"""The rules over next tokens and the filters of sampling against transformers' own processors on random scores."""

import json
import random

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, GenerationConfig
from transformers.utils import logging

VOCABULARY = 70
# transformers makes the same float32 operations; only the exponential function's blocks may round otherwise.
TOLERANCE = 1e-6
DOCUMENTS, ROWS = 2, 3  # rows a document

# (options, ids that rows have written: their length)
RULES = [
    {},
    {"repetition_penalty": 1.7},
    {"repetition_penalty": 0.4},
    {"encoder_repetition_penalty": 1.5},
    {"encoder_repetition_penalty": 0.6, "repetition_penalty": 1.2},
    {"no_repeat_ngram_size": 2},
    {"encoder_no_repeat_ngram_size": 1},
    {"encoder_no_repeat_ngram_size": 2},
    {"encoder_no_repeat_ngram_size": 3, "no_repeat_ngram_size": 1},
    {"bad_words_ids": [[5], [6, 7], [8, 9, 4], [2], [3, 3]]},
    {"bad_words_ids": [[i, j] for i in range(3, 12) for j in (20, i)]},
    {"sequence_bias": [[[5], 2.5], [[6], -3.0], [[6, 7], 1.5], [[3, 7], 0.25], [[9, 3, 7], -1.125], [[5], -1.0]]},
    {"sequence_bias": [[[i, 11], i / 3] for i in range(3, 12)] + [[[j, i, 11], -j / 7] for i in range(3, 6)
                                                                  for j in range(3, 8)]},
    {"suppress_tokens": [4, 9, 60]},
    {"begin_suppress_tokens": [4, 9, 60]},
    {"begin_suppress_tokens": [4, 9], "forced_bos_token_id": 6},
    {"forced_bos_token_id": 6, "suppress_tokens": [7]},
    {"forced_eos_token_id": [2, 8], "max_length": 6},
    {"forced_eos_token_id": 2, "max_length": 2, "forced_bos_token_id": 5},
    {"min_length": 5},
    {"min_new_tokens": 5},
    {"exponential_decay_length_penalty": [2, 1.6]},
    {"exponential_decay_length_penalty": [0, 0.5], "min_length": 4},
    {"exponential_decay_length_penalty": [3, 1.3], "forced_eos_token_id": 2, "max_length": 6},
    {"renormalize_logits": True},
    {"renormalize_logits": True, "no_repeat_ngram_size": 1, "suppress_tokens": [1, 2, 3]},
]
FILTERS = [
    {"temperature": 0.3}, {"temperature": 2.5}, {"top_k": 0}, {"top_k": 1}, {"top_k": 7}, {"top_k": 500},
    {"top_p": 0.0}, {"top_p": 0.5}, {"top_p": 0.9}, {"top_p": 0.999}, {"min_p": 0.0}, {"min_p": 0.1}, {"min_p": 1.0},
    {"typical_p": 0.2}, {"typical_p": 0.9}, {"top_h": 0.4}, {"top_h": 1.0},
    {"epsilon_cutoff": 0.02}, {"epsilon_cutoff": 0.9}, {"eta_cutoff": 0.03}, {"eta_cutoff": 0.5},
]
CHOICES = {
    "repetition_penalty": [0.7, 1.3], "encoder_repetition_penalty": [0.8, 1.4], "no_repeat_ngram_size": [1, 2, 3],
    "encoder_no_repeat_ngram_size": [1, 2, 3], "bad_words_ids": [[[5], [6, 7], [3, 4]]],
    "sequence_bias": [[[[5], 2.5], [[6, 7], -1.5]]], "suppress_tokens": [[4, 9]], "begin_suppress_tokens": [[4, 10]],
    "exponential_decay_length_penalty": [[1, 1.2]], "renormalize_logits": [True], "min_length": [3, 9],
    "forced_bos_token_id": [0, 12], "forced_eos_token_id": [2, [2, 12]], "eos_token_id": [[2, 11, 13]],
    "temperature": [0.5, 1.5], "top_k": [0, 3, 20], "top_p": [0.3, 0.8, 0.95], "min_p": [0.05, 0.3],
    "typical_p": [0.5, 0.95], "top_h": [0.6], "epsilon_cutoff": [0.01], "eta_cutoff": [0.02],
}


def random_options(generator):
    options = {name: generator.choice(values) for name, values in CHOICES.items() if generator.random() < 0.3}
    return options | {"do_sample": generator.random() < 0.8, "num_beams": generator.choice([1, 3])}


def all_options():
    generator = random.Random(1)
    filters = [options | {"do_sample": True, "num_beams": beams} for options in FILTERS for beams in (1, 3)]
    # What is ruled out reaches the filters as -inf.
    ruled = [options | {"no_repeat_ngram_size": 1, "suppress_tokens": list(range(20, 60))} for options in filters]
    return RULES + filters + ruled + [random_options(generator) for _ in range(120)]


@pytest.fixture(scope="module")
def model():
    logging.set_verbosity_error()
    config = BartConfig(vocab_size=VOCABULARY, d_model=8, encoder_layers=1, decoder_layers=1,
                        encoder_attention_heads=1, decoder_attention_heads=1, encoder_ffn_dim=8, decoder_ffn_dim=8)
    return BartForConditionalGeneration(config)


def expected(model, options, rows, read, scores):
    config = GenerationConfig(**({"max_length": 20, "eos_token_id": 2, "bos_token_id": 0, "pad_token_id": 1,
                                  "decoder_start_token_id": 2} | options))
    model._prepare_generated_length(config, False, False, "input_ids", 1, torch.tensor(rows)[:, :1])
    model._prepare_special_tokens(config, True, device="cpu")
    defaults = config._get_default_generation_params()
    for name, value in defaults.items():
        if getattr(config, name, None) is None:
            setattr(config, name, value)
    processors = model._get_logits_processor(config, input_ids_seq_length=1, encoder_input_ids=torch.tensor(read),
                                             device="cpu")
    return processors(torch.tensor(rows), scores.clone())


def test_scores_are_those_of_transformers_processors(model, program, run, tmp_path):
    torch.manual_seed(3)
    generator = random.Random(2)
    cases, wanted, changed = [], [], set()
    for options in all_options():
        for length in (1, 2, 5):
            # Few different ids, so that they repeat.
            rows = [[2, *(generator.randrange(3, 12) for _ in range(length - 1))] for _ in range(DOCUMENTS * ROWS)]
            read = [[0, *(generator.randrange(3, 12) for _ in range(30)), 2] for _ in range(DOCUMENTS)]
            scores = torch.randn(DOCUMENTS * ROWS, VOCABULARY) * generator.choice([0.5, 3.0])
            scores[0] = scores[0].log_softmax(0)  # as beam search has them
            scores[1, :9] = scores[1, 9]  # ties
            after = expected(model, options, rows, read, scores)
            cases.append({"options": {"max_length": 20, "eos_token_id": 2, "decoder_start_token_id": 2} | options,
                          "rows": rows, "read": read, "scores": scores.tolist()})
            wanted.append(after)
            if not torch.equal(after, scores):
                changed |= options.keys()
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"cases": cases}))
    lines = [json.loads(line) for line in run([program("filtered_scores"), request]).stdout.splitlines()]
    assert len(lines) == len(cases)
    for case, line, after in zip(cases, lines, wanted):
        assert "error" not in line, (case["options"], line)
        found = torch.tensor([[float("-inf") if v is None else v for v in row] for row in line["scores"]])
        where = (case["options"], len(case["rows"][0]))
        assert torch.equal(found.isinf(), after.isinf()), where
        finite = after.isfinite()
        assert (found[finite] - after[finite]).abs().max() <= TOLERANCE, where
    assert changed >= CHOICES.keys() - {"eos_token_id"}, "every setting should change some scores"
