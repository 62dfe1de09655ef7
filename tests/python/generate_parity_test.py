"""Generation against transformers, token for token: small trained models in float64, long fused memories included.

transformers searches each document alone over the same concatenated encoder states; tests/programs/generate_ids
searches all documents of a case together.
"""

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import logging

VOCABULARY = 60
POSITIONS = 32
WINDOW = 24
KEYWORDS = range(10, 22)  # what a summary is made of
WORDS = range(10, VOCABULARY)

# transformers accumulates log-probabilities in float32, and so do we: one rounding of the model's float64 logits
# may fall the other way, a unit in the last place of scores up to 100.
SCORE_TOLERANCE = 1e-5

# As bart-large-cnn's.
CNN = dict(num_beams=4, early_stopping=True, no_repeat_ngram_size=3, length_penalty=2.0, min_length=6, max_length=20,
           forced_bos_token_id=0, forced_eos_token_id=2)
PLAIN = dict(max_new_tokens=14)
LEGACY = dict(num_beams=2, max_length=16, eos_token_id=[2, 11, 12], forced_eos_token_id=[2, 11])

EDGES = [
    {},
    {"num_beams": 3, "max_new_tokens": 1},
    {"num_beams": 2, "max_length": 2, "max_new_tokens": None},
    {"num_beams": 4, "min_length": 30, "max_length": 12},
    {"num_beams": 3, "min_new_tokens": 7, "max_new_tokens": 9},
    {"num_beams": 3, "forced_bos_token_id": 2},
    {"num_beams": 1, "forced_bos_token_id": 2},
    {"num_beams": 4, "no_repeat_ngram_size": 1, "length_penalty": 2.0, "early_stopping": "never"},
    {"num_beams": 1, "no_repeat_ngram_size": 1, "min_length": 9},
    {"num_beams": 4, "length_penalty": 0.0, "early_stopping": "never"},
    {"num_beams": 4, "length_penalty": -1.5, "early_stopping": False},
    {"num_beams": 5, "length_penalty": -1.0, "early_stopping": "never", "forced_eos_token_id": 2},
]
# Rules that read the document, or change scores rather than rule tokens out; each with and without beams.
RULES = [
    {"repetition_penalty": 1.8},
    {"repetition_penalty": 0.7, "min_length": 6},
    {"encoder_repetition_penalty": 1.6},
    {"encoder_repetition_penalty": 0.5, "repetition_penalty": 1.2},
    {"encoder_no_repeat_ngram_size": 1, "max_length": 9},
    {"encoder_no_repeat_ngram_size": 2, "no_repeat_ngram_size": 2},
    {"bad_words_ids": [[16], [13, 13], [13, 14, 15], [2]]},
    {"bad_words_ids": [[i, j] for i in KEYWORDS for j in KEYWORDS if (i + j) % 3]},
    {"sequence_bias": [[[12], 3.5], [[12, 13], -4.0], [[2], -1.5], [[10, 11], 2.0]]},
    {"suppress_tokens": [10, 14, 15], "begin_suppress_tokens": [12, 13]},
    {"begin_suppress_tokens": [10, 11, 12, 13, 2], "forced_bos_token_id": 0},
    {"exponential_decay_length_penalty": [1, 1.3], "min_length": 4},
    {"renormalize_logits": True, "no_repeat_ngram_size": 2, "suppress_tokens": [16, 17, 18]},
]


def rules_cases():
    singles = [rule | {"num_beams": beams} for rule in RULES for beams in (1, 4)]
    generator = random.Random(12)
    combined = [generator.choice(RULES) | generator.choice(RULES) | generator.choice(RULES) | random_options(generator)
                for _ in range(12)]
    several = [{"num_beams": 4, "num_return_sequences": 4}, {"num_beams": 5, "num_return_sequences": 3,
                                                             "early_stopping": True, "length_penalty": 2.0},
               {"num_beams": 3, "num_return_sequences": 2, "encoder_no_repeat_ngram_size": 2, "max_length": 6}]
    return singles + combined + several


def random_options(generator):
    options = {"num_beams": generator.choice([1, 2, 3, 4, 5]),
               "length_penalty": generator.choice([0.5, 0.8, 1.0, 1.3, 2.0, -0.7]),
               "early_stopping": generator.choice([True, False, "never"])}
    if generator.random() < 0.5:
        options["no_repeat_ngram_size"] = generator.choice([1, 2, 3])
    if generator.random() < 0.5:
        options["min_length"] = generator.choice([3, 5, 8])
    options[generator.choice(["max_length", "max_new_tokens"])] = generator.choice([4, 8, 11, 16])
    if generator.random() < 0.3:
        options["forced_bos_token_id"] = generator.choice([0, 12])
    if generator.random() < 0.3:
        options["forced_eos_token_id"] = 2
    return options


def cases(count, seed):
    generator = random.Random(seed)
    return EDGES + [random_options(generator) for _ in range(count)]


def document(generator, length):
    return [generator.choice(WORDS) for _ in range(length)]


def summary(text):
    """Its keywords in order, each once."""
    return list(dict.fromkeys(token for token in text if token in KEYWORDS))


def train(steps, seed):
    """A model that has half learned to pick the keywords, so that its distributions have shape and doubts."""
    torch.manual_seed(seed)
    config = BartConfig(vocab_size=VOCABULARY, d_model=48, encoder_layers=2, decoder_layers=2,
                        encoder_attention_heads=4, decoder_attention_heads=3, encoder_ffn_dim=96, decoder_ffn_dim=64,
                        max_position_embeddings=POSITIONS, init_std=0.14, dropout=0.0)
    model = BartForConditionalGeneration(config)
    generator = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        texts = [document(generator, 16) for _ in range(24)]
        targets = [[0, *summary(text), 2] for text in texts]
        width = max(map(len, targets))
        labels = torch.tensor([target + [-100] * (width - len(target)) for target in targets])
        loss = model(input_ids=torch.tensor([[0, *text, 2] for text in texts]), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.to(torch.float64).eval()


def write_model(folder, model, generation, legacy=False):
    model.save_pretrained(folder)
    ids = dict(bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2)
    file = folder / "generation_config.json"
    if not legacy:
        file.write_text(json.dumps(ids | generation))
        return
    file.unlink()
    config = json.loads((folder / "config.json").read_text())
    config.pop("forced_eos_token_id", None)
    (folder / "config.json").write_text(json.dumps(config | ids | generation))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    logging.set_verbosity_error()
    root = tmp_path_factory.mktemp("generate")
    learned, doubtful = train(160, seed=1), train(40, seed=2)
    write_model(root / "cnn", learned, CNN)
    write_model(root / "plain", learned, PLAIN)
    write_model(root / "doubtful", doubtful, PLAIN)
    write_model(root / "legacy", doubtful, LEGACY, legacy=True)
    yield root
    shutil.rmtree(root)


def memory_of(model, text, query):
    """PRODUCT, Windows and memory: written again from the contract."""
    piece = WINDOW - 2 - len(query)
    pieces = [text[i:i + piece] for i in range(0, len(text), piece)] or [[]]
    rows = []
    for i, part in enumerate(pieces):
        states = model.get_encoder()(input_ids=torch.tensor([[0, *query, *part, 2]])).last_hidden_state[0]
        rows.append(states[0 if i == 0 else 1:None if i == len(pieces) - 1 else -1])
    return torch.cat(rows)[None]


def run_program(directory, documents, options, dtype, tmp_path):
    precis = Path(os.environ.get("PRECIS", "build/precis")).resolve()
    program = precis.parent.parent / "tests" / "generate_ids"
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"model": str(directory), "dtype": dtype, "window": WINDOW, "documents": documents,
                                   "cases": options}))
    done = subprocess.run([program, request], capture_output=True, text=True, check=False,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def drop_none(options):
    return {key: value for key, value in options.items() if value is not None}


def generate(model, document, memory, copies=1, **options):
    """transformers' generate() over a memory. What it takes as the encoder's ids is the document in one window, of
    whatever length; with one window these are the ids that were encoded."""
    read = torch.tensor([[0, *document["query"], *document["text"], 2]] * copies)
    original = model._get_logits_processor
    model._get_logits_processor = lambda *args, **kwargs: original(*args, **kwargs | {"encoder_input_ids": read})
    try:
        return model.generate(encoder_outputs=BaseModelOutput(last_hidden_state=memory.expand(copies, -1, -1)),
                              attention_mask=torch.ones((copies, memory.shape[1]), dtype=torch.long), **options)
    finally:
        del model._get_logits_processor


def ends_of(model, options):
    ends = options.get("eos_token_id", model.generation_config.eos_token_id)
    return ends if isinstance(ends, list) else [ends]


def without_padding(model, options, ids):
    """Several sequences come padded to one length."""
    ends = [i for i, token in enumerate(ids) if i > 0 and token in ends_of(model, options)]
    return ids[:ends[0] + 1] if ends else ids


def finish_reason(model, ids, options, new_tokens_limit):
    """What ended it: nothing of transformers' says so, this follows from its configuration."""
    config = model.generation_config
    forced = options.get("forced_eos_token_id", config.forced_eos_token_id)
    ends = ends_of(model, options)
    if len(ids) - 1 == new_tokens_limit and forced is not None:
        return "length"
    return "eos" if ids[-1] in ends else "length"


def new_tokens_limit(model, options):
    config = model.generation_config
    new_tokens = options.get("max_new_tokens", config.max_new_tokens)
    return new_tokens if new_tokens is not None else options.get("max_length", config.max_length) - 1


@torch.no_grad()
def compare(directory, documents, options, tmp_path, dtype=torch.float64):
    model = BartForConditionalGeneration.from_pretrained(directory, dtype=dtype).eval()
    memories = [memory_of(model, d["text"], d["query"]) for d in documents]
    results = run_program(directory, documents, options, {torch.float64: "float64", torch.float32: "float32"}[dtype],
                          tmp_path)
    assert len(results) == len(options)
    lengths = set()
    for case, result in zip(options, results):
        assert "error" not in result, (case, result)
        assert len(result["documents"]) == len(documents)
        for text, memory, sequences in zip(documents, memories, result["documents"]):
            expected = generate(model, text, memory, return_dict_in_generate=True, output_scores=True,
                                **drop_none(case))
            where = (directory.name, case, memory.shape[1])
            assert len(sequences) == len(expected.sequences) == case.get("num_return_sequences", 1)
            for i, found in enumerate(sequences):
                ids = without_padding(model, case, expected.sequences[i].tolist())
                assert found["token_ids"] == ids, where
                limit = new_tokens_limit(model, case)
                assert found["finish_reason"] == finish_reason(model, ids, case, limit), where
                if getattr(expected, "sequences_scores", None) is not None:
                    score = expected.sequences_scores[i].item()
                    assert found["score"] == pytest.approx(score, abs=SCORE_TOLERANCE), where
                lengths.add(len(ids))
    return lengths


def documents_of(lengths, seed, query=()):
    generator = random.Random(seed)
    return [{"text": document(generator, n), "query": list(query)} for n in lengths]


@pytest.mark.parametrize("name,count,seed", [("cnn", 9, 3), ("plain", 17, 4), ("doubtful", 19, 5), ("legacy", 11, 6)])
def test_ids_are_those_of_transformers(models, tmp_path, name, count, seed):
    # One window, several, an empty document; together in one batch here, alone there.
    documents = documents_of([16, 75, 0], seed)
    lengths = compare(models / name, documents, cases(count, seed), tmp_path)
    assert len(lengths) >= 5, "the cases should end at many lengths"


def test_rules_over_next_tokens_choose_as_in_transformers(models, tmp_path):
    # Long enough to be cut: what it says twice must be found across its windows.
    documents = documents_of([16, 75, 3, 0], 13) + documents_of([40], 14, query=[13, 30, 14])
    plain = [{"num_beams": beams} for beams in (1, 4)]
    options = rules_cases()
    compare(models / "doubtful", documents, options, tmp_path)
    results = run_program(models / "doubtful", documents, plain + options, "float64", tmp_path)
    for i, rule in enumerate(RULES):
        assert results[2 + 2 * i:4 + 2 * i] != results[:2], f"{rule} changes nothing"


def test_a_document_of_one_window_is_read_as_input_ids(models, tmp_path):
    """No memory of ours, no patch: the ids go into transformers' generate() as a user would give them."""
    directory = models / "doubtful"
    model = BartForConditionalGeneration.from_pretrained(directory, dtype=torch.float64).eval()
    documents = documents_of([20, 9], 15)
    options = [{"encoder_no_repeat_ngram_size": 2, "num_beams": 3}, {"encoder_repetition_penalty": 1.7, "num_beams": 1},
               {"encoder_no_repeat_ngram_size": 1, "num_beams": 1, "max_new_tokens": 6}]
    for case, result in zip(options, run_program(directory, documents, options, "float64", tmp_path)):
        for text, [found] in zip(documents, result["documents"]):
            expected = model.generate(input_ids=torch.tensor([[0, *text["text"], 2]]), **case)
            assert found["token_ids"] == expected[0].tolist(), case


def test_long_fused_memory_with_a_query(models, tmp_path):
    documents = documents_of([1500, 400, 9], 7, query=[13, 30, 14])
    compare(models / "plain", documents, [{"num_beams": 4, "max_new_tokens": 16}, {"num_beams": 1}], tmp_path)


def test_float32(models, tmp_path):
    # No rounding tie in these cases; float32 keeps the two implementations 1e-6 apart.
    documents = documents_of([16, 75], 8)
    options = [{"num_beams": 3, "max_new_tokens": 12}, {"num_beams": 1, "no_repeat_ngram_size": 2}]
    compare(models / "cnn", documents, options, tmp_path, dtype=torch.float32)


def test_without_any_length_twenty_tokens_are_written_with_a_warning(models, tmp_path):
    directory = tmp_path / "model"
    shutil.copytree(models / "doubtful", directory)
    (directory / "generation_config.json").write_text('{"decoder_start_token_id": 2, "pad_token_id": 1}')
    documents = documents_of([16], 9)
    [result] = run_program(directory, documents, [{}], "float64", tmp_path)
    assert len(result["documents"][0][0]["token_ids"]) == 21
    assert any("20 new tokens" in warning for warning in result["warnings"])
    compare_lengths_model = BartForConditionalGeneration.from_pretrained(directory, dtype=torch.float64).eval()
    memory = memory_of(compare_lengths_model, documents[0]["text"], [])
    expected = compare_lengths_model.generate(encoder_outputs=BaseModelOutput(last_hidden_state=memory))
    assert result["documents"][0][0]["token_ids"] == expected[0].tolist()


def test_settings_that_are_not_built_are_refused(models, tmp_path):
    options = [{"guidance_scale": 1.5}, {"stop_strings": ["."]}, {"max_time": 3.0}, {"num_beams": -1}]
    results = run_program(models / "plain", documents_of([5], 10), options, "float64", tmp_path)
    assert [result["error"] for result in results] == ["unsupported", "unsupported", "unsupported", "usage"]
