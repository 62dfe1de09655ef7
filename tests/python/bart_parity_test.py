"""BART against transformers: encoder states, logits, cached decoding, and the files it reads and writes."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BartConfig, BartForConditionalGeneration

# Largest absolute difference. Logits here have a deviation of 2 to 6, and float32 keeps 1e-7 of the largest
# partial sum; float64 leaves room for the other order of summation only.
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
NAMES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}

BASE = dict(vocab_size=50265, d_model=768, encoder_layers=6, decoder_layers=6, encoder_attention_heads=12,
            decoder_attention_heads=12, encoder_ffn_dim=3072, decoder_ffn_dim=3072, max_position_embeddings=1024)
LARGE = dict(vocab_size=50264, d_model=1024, encoder_layers=12, decoder_layers=12, encoder_attention_heads=16,
             decoder_attention_heads=16, encoder_ffn_dim=4096, decoder_ffn_dim=4096, max_position_embeddings=1024)
SMALL = dict(vocab_size=101, d_model=24, encoder_layers=3, decoder_layers=1, encoder_attention_heads=4,
             decoder_attention_heads=2, encoder_ffn_dim=56, decoder_ffn_dim=40, max_position_embeddings=33)

ODD = {
    "one_layer_each": dict(encoder_layers=1, decoder_layers=1),
    "more_decoder": dict(encoder_layers=1, decoder_layers=5, encoder_attention_heads=3, decoder_attention_heads=8),
    "relu": dict(activation_function="relu"),
    "gelu_new": dict(activation_function="gelu_new"),
    "silu": dict(activation_function="silu"),
    "scaled": dict(scale_embedding=True),
    "untied": dict(tie_word_embeddings=False),
    "other_ids": dict(pad_token_id=7, bos_token_id=100, eos_token_id=0, decoder_start_token_id=5),
}


def program():
    precis = Path(os.environ.get("PRECIS", "build/precis")).resolve()
    return precis.parent.parent / "tests" / "bart_states"


def random_model(shape, dtype=torch.float32, seed=0):
    """Every parameter is random: norms, biases and final_logits_bias too, so that a forgotten one shows."""
    torch.manual_seed(seed)
    # A width's inverse root keeps the attention scores apart and the logits large.
    model = BartForConditionalGeneration(BartConfig(init_std=1.5 / shape["d_model"] ** 0.5, **shape)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
        model.final_logits_bias.copy_(torch.randn_like(model.final_logits_bias))
    return model.to(dtype)


def random_inputs(model, lengths, target, seed=1):
    generator = torch.Generator().manual_seed(seed)
    vocabulary = model.config.vocab_size
    ids = torch.randint(0, vocabulary, (len(lengths), max(lengths)), generator=generator)
    for row, length in enumerate(lengths):
        ids[row, length:] = model.config.pad_token_id
    decoder_ids = torch.randint(0, vocabulary, (len(lengths), target), generator=generator)
    decoder_ids[:, 0] = model.config.decoder_start_token_id
    return {"input_ids": ids, "lengths": torch.tensor(lengths), "decoder_ids": decoder_ids}


@torch.no_grad()
def reference(model, inputs):
    mask = torch.arange(inputs["input_ids"].shape[1]) < inputs["lengths"][:, None]
    output = model(input_ids=inputs["input_ids"], attention_mask=mask.long(), decoder_input_ids=inputs["decoder_ids"],
                   use_cache=False)
    return {"states": output.encoder_last_hidden_state[mask], "logits": output.logits}


def ours(directory, inputs, dtype, folder, save=None):
    save_file(inputs, folder / "inputs.safetensors")
    (folder / "outputs.safetensors").unlink(missing_ok=True)
    command = [program(), directory, folder / "inputs.safetensors", NAMES[dtype], folder / "outputs.safetensors"]
    done = subprocess.run(command + ([save] if save else []), capture_output=True, text=True)
    if done.returncode != 0:
        return done, None
    outputs = load_file(folder / "outputs.safetensors")
    mask = torch.arange(inputs["input_ids"].shape[1]) < inputs["lengths"][:, None]
    outputs["states"] = outputs["states"][mask]
    return done, outputs


def largest_difference(a, b):
    return (a.double() - b.double()).abs().max().item()


def check(model, lengths, target, folder, dtype):
    inputs = random_inputs(model, lengths, target)
    model.save_pretrained(folder / "model")
    done, outputs = ours(folder / "model", inputs, dtype, folder)
    assert done.returncode == 0, done.stderr
    expected = reference(model, inputs)
    assert expected["logits"].std() > 1  # else the tolerance means nothing
    for name in ("states", "logits"):
        assert largest_difference(outputs[name], expected[name]) <= TOLERANCE[dtype], name
    assert largest_difference(outputs["cached_logits"], expected["logits"]) <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=NAMES.get)
@pytest.mark.parametrize("name", ODD)
def test_odd_shapes(name, dtype, tmp_path):
    shape = {**SMALL, **ODD[name]}
    check(random_model(shape, dtype), [33, 1, 17], 9, tmp_path, dtype)


@pytest.mark.slow
def test_base_shape(tmp_path):
    check(random_model(BASE), [150, 300], 24, tmp_path, torch.float32)


@pytest.mark.slow
def test_base_shape_in_float64(tmp_path):
    check(random_model({**BASE, "encoder_layers": 2, "decoder_layers": 2}, torch.float64), [40, 90], 12, tmp_path,
          torch.float64)


@pytest.mark.slow
def test_large_shape_of_two_layers(tmp_path):
    check(random_model({**LARGE, "encoder_layers": 2, "decoder_layers": 2}), [200], 16, tmp_path, torch.float32)


@pytest.mark.slow
def test_large_shape(tmp_path):
    check(random_model(LARGE), [1024, 600], 64, tmp_path, torch.float32)


@pytest.mark.slow
def test_bfloat16_is_as_near_as_transformers(tmp_path):
    """16-bit rounding differs with the order of operations, so the measure is the distance to float32."""
    model = random_model({**BASE, "vocab_size": 4001, "encoder_layers": 3, "decoder_layers": 3}).bfloat16()
    inputs = random_inputs(model, [120, 77], 16)
    model.save_pretrained(tmp_path / "model")
    done, outputs = ours(tmp_path / "model", inputs, torch.bfloat16, tmp_path)
    assert done.returncode == 0, done.stderr
    rounded = reference(model, inputs)
    exact = reference(model.float(), inputs)
    for name in ("states", "logits"):
        theirs = (rounded[name].float() - exact[name]).std()
        assert (outputs[name].float() - exact[name]).std() <= 1.2 * theirs, name


def test_padding_changes_nothing(tmp_path):
    model = random_model(SMALL, torch.float64)
    model.save_pretrained(tmp_path / "model")
    inputs = random_inputs(model, [33, 9], 5)
    alone = {"input_ids": inputs["input_ids"][1:, :9].contiguous(), "lengths": inputs["lengths"][1:],
             "decoder_ids": inputs["decoder_ids"][1:]}
    together = ours(tmp_path / "model", inputs, torch.float64, tmp_path)[1]
    single = ours(tmp_path / "model", alone, torch.float64, tmp_path)[1]
    assert largest_difference(together["logits"][1:], single["logits"]) < 1e-12


SHARED = "model.shared.weight"
TIED_NAMES = [SHARED, "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight"]


def rewrite(directory, change, metadata=None):
    state = load_file(directory / "model.safetensors")
    state = change(dict(state)) or state
    save_file(state, directory / "model.safetensors", metadata={"format": "pt", **(metadata or {})})


def bare(state):
    return {name.removeprefix("model."): tensor for name, tensor in state.items()}


@pytest.fixture
def small(tmp_path):
    model = random_model(SMALL)
    model.save_pretrained(tmp_path / "model")
    inputs = random_inputs(model, [12, 30], 6)
    return tmp_path, model, inputs


@pytest.mark.parametrize("prefix", [True, False], ids=["prefixed", "bare"])
@pytest.mark.parametrize("name", TIED_NAMES)
def test_tied_weight_under_any_of_its_names(small, name, prefix):
    folder, model, inputs = small

    def change(state):
        state[name] = state.pop(SHARED)
        return state if prefix else bare(state)

    rewrite(folder / "model", change)
    done, outputs = ours(folder / "model", inputs, torch.float32, folder)
    assert done.returncode == 0, done.stderr
    assert largest_difference(outputs["logits"], reference(model, inputs)["logits"]) <= TOLERANCE[torch.float32]


def test_aliases_in_the_metadata_stand_for_names(small):
    """Untied, with the encoder's and the decoder's embedding saved once, as safetensors' save_model does."""
    folder, _, inputs = small
    model = random_model({**SMALL, "tie_word_embeddings": False})
    with torch.no_grad():
        model.model.encoder.embed_tokens.weight.copy_(model.model.decoder.embed_tokens.weight)
    model.save_pretrained(folder / "model")
    rewrite(folder / "model", lambda state: {name: t for name, t in state.items() if name != TIED_NAMES[1]},
            {TIED_NAMES[1]: TIED_NAMES[2]})
    done, outputs = ours(folder / "model", inputs, torch.float32, folder)
    assert done.returncode == 0, done.stderr
    assert largest_difference(outputs["logits"], reference(model, inputs)["logits"]) <= TOLERANCE[torch.float32]


def test_tied_weights_that_differ_are_refused(small):
    folder, _, inputs = small
    rewrite(folder / "model", lambda state: {**state, "lm_head.weight": state[SHARED] + 1})
    done, _ = ours(folder / "model", inputs, torch.float32, folder)
    assert done.returncode == 4 and "lm_head.weight" in done.stderr and "tie_word_embeddings" in done.stderr


def test_float16_file_is_raised(small):
    folder, model, inputs = small
    model.half().save_pretrained(folder / "model")
    done, outputs = ours(folder / "model", inputs, torch.float32, folder)
    assert done.returncode == 0, done.stderr
    assert largest_difference(outputs["logits"], reference(model.float(), inputs)["logits"]) <= TOLERANCE[torch.float32]


def test_shards(small):
    folder, model, inputs = small
    model.save_pretrained(folder / "sharded", max_shard_size="20KB")
    assert not (folder / "sharded" / "model.safetensors").exists()
    done, outputs = ours(folder / "sharded", inputs, torch.float32, folder)
    assert done.returncode == 0, done.stderr
    assert largest_difference(outputs["logits"], reference(model, inputs)["logits"]) <= TOLERANCE[torch.float32]


def test_missing_weights_are_listed(small):
    folder, _, inputs = small
    gone = ["model.decoder.layers.0.fc1.bias", "model.encoder.layernorm_embedding.weight"]
    rewrite(folder / "model", lambda state: {name: t for name, t in state.items() if name not in gone})
    done, _ = ours(folder / "model", inputs, torch.float32, folder)
    assert done.returncode == 4 and all(name in done.stderr for name in gone)


@pytest.mark.parametrize("name", TIED_NAMES)
def test_missing_untied_embedding_is_an_error(small, name):
    folder, _, inputs = small
    random_model({**SMALL, "tie_word_embeddings": False}).save_pretrained(folder / "model")
    rewrite(folder / "model", lambda state: {key: t for key, t in state.items() if key != name})
    done, _ = ours(folder / "model", inputs, torch.float32, folder)
    assert done.returncode == 4 and name in done.stderr


def test_unexpected_weights_are_listed(small):
    folder, _, inputs = small
    rewrite(folder / "model", lambda state: {**state, "classification_head.dense.weight": torch.ones(2, 2),
                                             "model.encoder.version": torch.ones(1)})
    done, _ = ours(folder / "model", inputs, torch.float32, folder)
    assert done.returncode == 0 and done.stdout == "unexpected classification_head.dense.weight\n"


def test_misshapen_weight_is_named(small):
    folder, _, inputs = small
    name = "model.encoder.layers.1.fc2.weight"
    rewrite(folder / "model", lambda state: {**state, name: state[name].t().contiguous()})
    done, _ = ours(folder / "model", inputs, torch.float32, folder)
    assert done.returncode == 4 and name in done.stderr and "[56, 24]" in done.stderr and "[24, 56]" in done.stderr


def test_vocabulary_unlike_the_embedding(small):
    folder, _, inputs = small
    path = folder / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "vocab_size": 102}))
    done, _ = ours(folder / "model", inputs, torch.float32, folder)
    assert done.returncode == 4 and "[101, 24]" in done.stderr and "[102, 24]" in done.stderr


def test_several_end_tokens_are_read_and_kept(small):
    folder, model, inputs = small
    path = folder / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": [2, 11]}))
    done, _ = ours(folder / "model", inputs, torch.float32, folder, folder / "saved")
    assert done.returncode == 0, done.stderr
    assert BartConfig.from_pretrained(folder / "saved").eos_token_id == [2, 11]
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": [2, 101]}))
    done, _ = ours(folder / "model", inputs, torch.float32, folder)
    assert done.returncode == 4 and "eos_token_id" in done.stderr


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=NAMES.get)
def test_saved_model_loads_in_transformers(tmp_path, dtype, tied):
    model = random_model({**SMALL, "tie_word_embeddings": tied}, dtype)
    inputs = random_inputs(model, [12, 30], 6)
    model.config.task_specific_params = {"summarization": {"num_beams": 4}}  # a key that Precis knows nothing of
    model.save_pretrained(tmp_path / "model")
    done, _ = ours(tmp_path / "model", inputs, dtype, tmp_path, tmp_path / "saved")
    assert done.returncode == 0, done.stderr
    loaded, report = BartForConditionalGeneration.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not any(report.values()), report
    assert loaded.dtype == dtype
    assert loaded.config.task_specific_params == {"summarization": {"num_beams": 4}}
    expected = model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.state_dict().items())
    assert torch.equal(reference(loaded.eval(), inputs)["logits"], reference(model, inputs)["logits"])
