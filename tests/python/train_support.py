"""Small BART models with a real byte-level tokenizer, and runs of `precis train`, for the training tests."""

import ctypes
import json
import os
import subprocess
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BartConfig, BartForConditionalGeneration, BartTokenizerFast

PROGRAM = os.environ.get("PRECIS", str(Path(__file__).resolve().parents[2] / "build" / "precis"))
MERGES = ["t h", "a n", "th e", "i n", "e r", "\u0120 a", "\u0120 the", "o n", "\u0120 t", "o f"]
WORDS = "the an in er on of a paper treats memory and windows over long documents when every word counts".split()


def byte_alphabet():
    """The 256 characters that byte-level BPE writes bytes with (GPT-2)."""
    kept = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(b) for b in kept] + [chr(256 + n) for n in range(256 - len(kept))]


def write_model(folder, seed=3, positions=1024, dtype=torch.float64, **changes):
    """A model directory whose every parameter is random: biases and norms too, so that a forgotten one shows."""
    folder = Path(folder)
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *byte_alphabet(), *(m.replace(" ", "") for m in MERGES), "<mask>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    settings = dict(vocab_size=len(vocab), d_model=32, encoder_layers=2, decoder_layers=2,
                    encoder_attention_heads=4, decoder_attention_heads=2, encoder_ffn_dim=48, decoder_ffn_dim=40,
                    max_position_embeddings=positions, init_std=0.3, forced_eos_token_id=2)
    settings.update(changes)
    torch.manual_seed(seed)
    model = BartForConditionalGeneration(BartConfig(**settings)).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    BartTokenizerFast(vocab=vocab, merges=[tuple(m.split()) for m in MERGES]).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n", encoding="utf-8")
    return model.eval()


def text_of(tokenizer, tokens, seed):
    """A text of exactly so many tokens."""
    state = seed
    text = ""
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        longer = text + (" " if text else "") + WORDS[(state >> 33) % len(WORDS)]
        if len(tokenizer.encode(longer, add_special_tokens=False)) > tokens:
            break
        text = longer
    while len(tokenizer.encode(text, add_special_tokens=False)) < tokens:
        text += "z"
    assert len(tokenizer.encode(text, add_special_tokens=False)) == tokens
    return text


def write_rows(path, rows):
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_world(folder):
    """A model and two sets of rows, some of several windows."""
    write_model(folder / "model", positions=64)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    rows = [{"id": f"r{i}", "document": text_of(tokenizer, 20 + 37 * i % 150, i + 1),
             "summary": text_of(tokenizer, 4 + i % 9, 100 + i)} for i in range(14)]
    write_rows(folder / "train.jsonl", rows[:10])
    write_rows(folder / "validation.jsonl", rows[10:])
    return folder


def config_of(world, output, **changes):
    config = {
        "model": str(world / "model"), "output": str(output), "seed": 7,
        "data": {"train": [str(world / "train.jsonl")], "validation": [str(world / "validation.jsonl")]},
        "steps": 12, "dropout": 0.1, "attention_dropout": 0.1, "batch": {"documents": 2, "accumulation": 2},
        "optimizer": {"learning_rate": 1e-3}, "schedule": {"warmup_steps": 3},
        "validation": {"every": 4, "num_beams": 2, "max_length": 12}, "checkpoint": {"every": 4, "keep": 2},
    }
    for key, value in changes.items():
        if isinstance(value, dict):
            config[key] = {**config.get(key, {}), **value}
        else:
            config[key] = value
    return config


def bytes_of(checkpoint):
    return {name: (checkpoint / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors")}


def checkpoints(output):
    return sorted(path.name for path in output.glob("step-*"))


def train(folder, config, *arguments, expect=0, **of_process):
    """Runs `precis train` in `folder` on `config` (a dict; JSON is YAML). Returns the finished process."""
    path = Path(folder) / "config.yaml"
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")
    done = subprocess.run([PROGRAM, "train", str(path), *arguments], cwd=folder,
                          capture_output=True, text=True, timeout=600, **of_process)
    assert done.returncode == expect, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def weights(folder):
    return load_file(Path(folder) / "model.safetensors")


def events(output, kind=None):
    lines = (Path(output) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [e for e in map(json.loads, lines) if kind is None or e["event"] == kind]


def window_memory(model, document, query, window):
    """The memory of one document as the contract has it, from transformers' own encoder, in one graph."""
    bos, eos = model.config.bos_token_id, model.config.eos_token_id
    piece = window - 2 - len(query)
    pieces = [document[i:i + piece] for i in range(0, len(document), piece)] or [[]]
    rows = []
    for i, part in enumerate(pieces):
        states = model.model.encoder(input_ids=torch.tensor([[bos, *query, *part, eos]])).last_hidden_state[0]
        rows.append(states[0 if i == 0 else 1: None if i == len(pieces) - 1 else -1])
    return torch.cat(rows).unsqueeze(0)


def summed_loss(model, document, query, target, window, smoothing=0.0):
    """Sum over the target's tokens of the cross-entropy, with a graph over everything."""
    from transformers.modeling_outputs import BaseModelOutput
    labels = torch.tensor([target])
    output = model(encoder_outputs=BaseModelOutput(window_memory(model, document, query, window)), labels=labels)
    return torch.nn.functional.cross_entropy(output.logits[0], labels[0], reduction="sum",
                                             label_smoothing=smoothing)


def ids(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False)


def target_ids(tokenizer, text):
    return [0, *ids(tokenizer, text), 2]


def as_others():
    """Takes from root what lets it read and write any file (linux/capability.h)."""
    if os.geteuid() == 0:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            if prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
                raise OSError(ctypes.get_errno(), "prctl")
