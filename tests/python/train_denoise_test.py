"""The objective `denoise`: what it trains on, its loss beside transformers', resume, and that it learns."""

import gzip
import json
import shutil

import pytest
import torch
from transformers import AutoTokenizer, BartForConditionalGeneration

from train_support import (bytes_of, config_of, events, train, write_model, write_rows, summed_loss, text_of)

MASK = "<mask>"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A model of 64 positions in float64; plain text of several pieces, JSON Lines, and compressed text."""
    folder = tmp_path_factory.mktemp("denoise")
    write_model(folder / "model", positions=64)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")

    def prose(tokens, seed):
        words = text_of(tokenizer, tokens, seed).split(" ")
        return " ".join(word.capitalize() if i % 5 == 0 else word + "." if i % 5 == 4 else word for i, word in enumerate(words))

    (folder / "book.txt").write_text(prose(300, 1) + "\n\n" + prose(90, 2), encoding="utf-8")
    with gzip.open(folder / "more.txt.gz", "wt", encoding="utf-8") as file:
        file.write(prose(45, 3))
    write_rows(folder / "rows.jsonl", [*({"id": f"r{i}", "document": prose(30 + 50 * i, 4 + i), "summary": 7} for i in range(3)),
                                       {"id": "one over", "document": text_of(tokenizer, 63, 9)}])
    write_rows(folder / "validation.jsonl", [{"document": prose(100, 20)}, {"document": prose(40, 21)}])
    return folder


def denoising(world, output, **changes):
    return config_of(world, output, **{
        "objective": "denoise", "steps": 8, "validation": {"every": 4, "num_beams": 2, "max_length": 12},
        "data": {"train": [str(world / name) for name in ("book.txt", "more.txt.gz", "rows.jsonl")],
                 "validation": [str(world / "validation.jsonl")]}, **changes})


def pieces(run, program, folder, config, use="training", epoch=0):
    path = folder / "pieces.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")
    return [json.loads(line) for line in run([program("denoise_ids"), path, use, epoch]).stdout.splitlines()]


def documents(world):
    rows = [json.loads(line) for line in (world / "rows.jsonl").read_text().splitlines()]
    with gzip.open(world / "more.txt.gz", "rt", encoding="utf-8") as file:
        more = file.read()
    return [(world / "book.txt").read_text(), more, *(row["document"] for row in rows)]


def test_the_targets_are_every_document_whole(run, program, world, tmp_path):
    """Pieces of 62 tokens, each with its BOS and EOS: together they are the documents' own ids."""
    tokenizer = AutoTokenizer.from_pretrained(world / "model")
    want = []
    for text in documents(world):
        ids = tokenizer.encode(text, add_special_tokens=False)
        want += [[0, *ids[i:i + 62], 2] for i in range(0, len(ids), 62)]
    found = pieces(run, program, tmp_path, denoising(world, tmp_path / "out"))
    assert [piece["target"] for piece in found] == want and any(len(target) == 3 for target in want)
    shorter = pieces(run, program, tmp_path, denoising(world, tmp_path / "out", max_target_tokens=20))
    assert max(len(piece["target"]) for piece in shorter) == 20
    assert sum(len(piece["target"]) - 2 for piece in shorter) == sum(len(target) - 2 for target in want)


def test_sentences_begin_where_the_text_says(run, program, world, tmp_path):
    """The prose's sentences begin with a capital and end with a stop, every five words, or with the paragraph."""
    tokenizer = AutoTokenizer.from_pretrained(world / "model")
    found = pieces(run, program, tmp_path, denoising(world, tmp_path / "out"))
    assert max(len(piece["sentences"]) for piece in found) >= 4
    for piece in found:
        ids = piece["target"][1:-1]
        assert piece["sentences"][0] == 0
        for begin in piece["sentences"][1:]:
            before, after = tokenizer.decode(ids[:begin]), tokenizer.decode(ids[begin:])
            assert before.rstrip().endswith(".") or before.endswith("\n\n"), before
            assert after.lstrip()[0].isupper(), after


def test_only_masks_come_in_and_only_masked_tokens_go(run, program, world, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(world / "model")
    mask = tokenizer.convert_tokens_to_ids(MASK)
    found = pieces(run, program, tmp_path, denoising(world, tmp_path / "out"))
    for piece in found:
        text = piece["target"][1:-1]
        kept = [i for i in piece["source"] if i != mask]
        assert len(text) - len(kept) == round(0.3 * len(text)) and len(piece["source"]) <= len(text)
        left = list(text)
        for token in kept:
            left.remove(token)
    unchanged = pieces(run, program, tmp_path, denoising(world, tmp_path / "out",
                                                         denoise={"mask_ratio": 0, "permute_sentences": 0}))
    assert all(piece["source"] == piece["target"][1:-1] for piece in unchanged)


def test_each_epoch_has_its_noise_and_validation_one(run, program, world, tmp_path):
    config = denoising(world, tmp_path / "out")
    first, second, again = (pieces(run, program, tmp_path, config, epoch=e) for e in (0, 1, 0))
    other = pieces(run, program, tmp_path, {**config, "seed": 8})
    assert first == again
    for a, *others in zip(first, second, other):
        assert all(a["source"] != b["source"] for b in others) or len(a["target"]) == 3  # one token has no noise
    fixed = [pieces(run, program, tmp_path, {**config, "seed": s}, "validation", e) for s, e in ((7, 0), (8, 3))]
    assert fixed[0] == fixed[1]


def test_the_losses_are_those_of_transformers(run, program, world, tmp_path):
    """All pieces in the first update, without dropout, in float64; the validation set besides."""
    found = {}
    config = denoising(world, tmp_path / "out", precision="float64", dropout=0, steps=1, attention_dropout=0,
                       batch={"documents": 4, "accumulation": 5}, optimizer={"learning_rate": 0})
    for use in ("training", "validation"):
        found[use] = pieces(run, program, tmp_path, config, use)
    config["batch"] = {"documents": len(found["training"]), "accumulation": 1}
    train(tmp_path, config)
    model = BartForConditionalGeneration.from_pretrained(world / "model", dtype=torch.float64).eval()

    def mean_loss(rows):
        with torch.no_grad():
            total = sum(float(summed_loss(model, row["source"], [], row["target"], 64)) for row in rows)
        return total / sum(len(row["target"]) for row in rows)

    [step], [validation] = events(tmp_path / "out", "step"), events(tmp_path / "out", "validation")
    assert step["loss"] == pytest.approx(mean_loss(found["training"]), rel=1e-10)
    assert validation["loss"] == pytest.approx(mean_loss(found["validation"]), rel=1e-10)
    assert validation["documents"] == len(found["validation"]) == 3
    # And in one plain call of transformers: the first piece, its labels, the mean over them.
    row = found["training"][0]
    with torch.no_grad():
        plain = model(input_ids=torch.tensor([[0, *row["source"], 2]]), labels=torch.tensor([row["target"]])).loss
    assert float(plain) == pytest.approx(mean_loss([row]), rel=1e-12)


def test_resume_is_bitwise_across_epochs(run, program, world, tmp_path):
    """4 pieces an update: 8 updates end an epoch, in the middle of one."""
    assert 12 < len(pieces(run, program, tmp_path, denoising(world, tmp_path / "whole"))) < 32
    train(tmp_path, denoising(world, tmp_path / "whole", checkpoint={"every": 3, "keep": 9}))
    shutil.copytree(tmp_path / "whole", tmp_path / "parts", symlinks=True)
    for name in ("step-00000006", "step-00000008"):
        shutil.rmtree(tmp_path / "parts" / name)
    train(tmp_path, denoising(world, tmp_path / "parts", checkpoint={"every": 3, "keep": 9}))
    for name in ("step-00000006", "step-00000008"):
        assert bytes_of(tmp_path / "whole" / name) == bytes_of(tmp_path / "parts" / name), name
    assert [e["loss"] for e in events(tmp_path / "whole", "validation")][1] == events(tmp_path / "parts", "validation")[-1]["loss"]


def test_other_noise_is_refused_unless_allowed_and_measures_anew(world, tmp_path):
    train(tmp_path, denoising(world, tmp_path / "out", steps=2))
    changed = denoising(world, tmp_path / "out", steps=3, denoise={"mask_ratio": 0.5})
    assert "denoise.mask_ratio was 0.3, is 0.5" in train(tmp_path, changed, expect=2).stderr
    assert "best so far is forgotten" in train(tmp_path, changed, "--allow-change", "denoise").stderr


def test_a_tokenizer_without_a_mask(world, tmp_path):
    shutil.copytree(world / "model", tmp_path / "model")
    path = tmp_path / "model" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["added_tokens"] = [t for t in tokenizer["added_tokens"] if t["content"] != MASK]
    del tokenizer["model"]["vocab"][MASK]
    path.write_text(json.dumps(tokenizer))
    for name in ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        (tmp_path / "model" / name).unlink(missing_ok=True)
    done = train(tmp_path, denoising(world, tmp_path / "out", model=str(tmp_path / "model")), expect=4)
    assert "mask token" in done.stderr and str(tmp_path / "model") in done.stderr


def test_empty_documents_are_left_out_and_told(world, tmp_path):
    write_rows(tmp_path / "some.jsonl", [{"document": ""}, {"document": "the an of"}])
    (tmp_path / "empty.txt").write_text("")
    config = denoising(world, tmp_path / "out", steps=1, data={"train": [str(tmp_path / "some.jsonl"), str(tmp_path / "empty.txt")], "validation": []})
    done = train(tmp_path, config)
    assert "2 empty documents" in done.stderr and "1 pieces" in done.stderr
    config["data"]["train"] = [str(tmp_path / "empty.txt")]
    assert "no rows" in train(tmp_path, {**config, "output": str(tmp_path / "none")}, expect=3).stderr
    (tmp_path / "broken.txt").write_bytes(b"the \xff of")
    config["data"]["train"] = [str(tmp_path / "broken.txt")]
    assert "invalid UTF-8" in train(tmp_path, {**config, "output": str(tmp_path / "none")}, expect=3).stderr


@pytest.mark.slow
def test_it_learns_to_restore_a_text(run, precis, world, tmp_path):
    """One text over and over: what its masks hide comes back in a summary of the masked text."""
    tokenizer = AutoTokenizer.from_pretrained(world / "model")
    text = "the paper treats memory and windows over an era of the theory"
    assert len(tokenizer.encode(text)) <= 64
    (tmp_path / "text.txt").write_text(text)
    write_model(tmp_path / "model", positions=64, dtype=torch.float32, init_std=0.1)
    config = denoising(world, tmp_path / "out", model=str(tmp_path / "model"), steps=400, dropout=0, attention_dropout=0,
                       data={"train": [str(tmp_path / "text.txt")], "validation": [str(tmp_path / "text.txt")]},
                       batch={"documents": 4, "accumulation": 1}, optimizer={"learning_rate": 3e-3},
                       schedule={"warmup_steps": 20}, checkpoint={"every": 0},
                       validation={"every": 0, "num_beams": 1, "max_length": 64})
    train(tmp_path, config)
    [validation] = events(tmp_path / "out", "validation")
    assert events(tmp_path / "out", "step")[0]["loss"] > 3 and validation["loss"] < 0.1
    (tmp_path / "masked.txt").write_text("the paper<mask> memory and windows over<mask> of the theory")
    done = run([precis, "summarize", tmp_path / "out" / "latest", tmp_path / "masked.txt", "--format", "json", "--quiet"])
    assert json.loads(done.stdout)["summary"] == text
