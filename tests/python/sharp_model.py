"""A small BART that has half learned to summarise, so that what it writes has words, sentences and doubts."""

import json
import random
from pathlib import Path

import torch

from train_support import WORDS, ids, target_ids, write_model

POSITIONS = 64
GENERATION = dict(num_beams=3, max_length=24, no_repeat_ngram_size=3, early_stopping=True)


def sentence(draw, words):
    return " ".join(draw.choice(WORDS) for _ in range(words)) + "."


def document(draw, sentences):
    return " ".join(sentence(draw, draw.randint(2, 5)) for _ in range(sentences))


def summary(text):
    """The first two words of its first and of its last sentence, as two sentences."""
    parts = [part.split() for part in text.split(".") if part.strip()]
    return " ".join(" ".join(words[:2]) + "." for words in (parts[0], parts[-1])) if parts else "an the."


def write_sharp_model(folder, steps=150):
    """Returns (model in float64, tokenizer)."""
    from transformers import BartTokenizerFast

    folder = Path(folder)
    model = write_model(folder, positions=POSITIONS, dtype=torch.float32, d_model=48, encoder_ffn_dim=96,
                        decoder_ffn_dim=96, decoder_attention_heads=3, init_std=0.14, dropout=0.0,
                        forced_eos_token_id=None).train()
    tokenizer = BartTokenizerFast.from_pretrained(folder)
    draw = random.Random(5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        texts = [document(draw, 2) for _ in range(16)]
        rows = [[0, *ids(tokenizer, text)[:POSITIONS - 2], 2] for text in texts]
        targets = [target_ids(tokenizer, summary(text))[:POSITIONS] for text in texts]
        width, length = max(map(len, rows)), max(map(len, targets))
        loss = model(input_ids=torch.tensor([row + [1] * (width - len(row)) for row in rows]),
                     attention_mask=torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
                     labels=torch.tensor([t + [-100] * (length - len(t)) for t in targets])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model = model.to(torch.float64).eval()
    model.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps(
        dict(bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2) | GENERATION))
    from transformers import BartForConditionalGeneration
    return BartForConditionalGeneration.from_pretrained(folder, dtype=torch.float64).eval(), tokenizer
