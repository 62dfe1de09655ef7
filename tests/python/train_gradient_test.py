"""The gradient of `precis train`, read off one step of plain SGD at rate 1, against whole-graph autograd of
transformers; and whole runs of the optimisers against torch.optim."""

import copy
import math
import statistics

import pytest
import torch
from transformers import AutoTokenizer

from train_support import events, ids, summed_loss, target_ids, text_of, train, weights, write_model, write_rows

# DESIGN, Exact first: no element off by more than 1e-10 of the largest, in float64. Reading the gradient off the
# weights adds their rounding, 1e-16 each.
TOLERANCE = 1e-10
# The gradient of a key bias is zero in exact arithmetic: rounding alone is left.
KEY_BIAS_TOLERANCE = 1e-12


def plain(model, output, data, **changes):
    config = {
        "model": str(model), "output": str(output), "precision": "float64", "seed": 1,
        "data": {"train": [str(data)]}, "steps": 1, "dropout": 0,
        "optimizer": {"name": "sgd", "learning_rate": 1.0, "clip_norm": 0},
        "schedule": {"name": "constant", "warmup_steps": 0},
    }
    config.update(changes)
    return config


def rows_of(tokenizer, lengths, query_tokens=0):
    rows = []
    for i, length in enumerate(lengths):
        row = {"id": f"r{i}", "document": text_of(tokenizer, length, i + 1),
               "summary": text_of(tokenizer, 5 + 7 * i % 23, 100 + i)}
        if query_tokens:
            row["query"] = text_of(tokenizer, query_tokens, 200 + i)
        rows.append(row)
    return rows


def reference_gradient(model, tokenizer, rows, window, smoothing=0.0):
    model.zero_grad()
    total = 0
    for row in rows:
        target = target_ids(tokenizer, row["summary"])
        total += len(target)
        loss = summed_loss(model, ids(tokenizer, row["document"]), ids(tokenizer, row.get("query", "")), target,
                           window, smoothing)
        loss.backward()
    # Untied, nothing reads model.shared.
    return {name: torch.zeros_like(p) if p.grad is None else p.grad / total for name, p in model.named_parameters()}


def compare(folder, model_dir, output, want):
    before, after = weights(model_dir), weights(output)
    largest = max(float(g.abs().max()) for g in want.values())
    assert largest > 1e-3
    for name, gradient in want.items():
        got = before[name] - after[name]
        difference = float((got - gradient).abs().max())
        assert difference <= TOLERANCE * largest, f"{name}: {difference} of {largest}"
        if name.endswith("k_proj.bias"):
            assert float(got.abs().max()) <= KEY_BIAS_TOLERANCE * largest, name


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model = write_model(folder)
    return folder, model, AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("window, schedule, lengths, query", [
    (66, "cached", [1, 63, 64, 65, 128, 500], 0),
    (66, "streamed", [1, 64, 129, 700], 0),
    (66, "kept", [1, 64, 129, 700], 0),
    (256, "cached", [253, 254, 255, 1300], 17),
    (1024, "auto", [1021, 1022, 1023, 2044], 0),
    (1024, "streamed", [5000], 0),
    (1024, "two_sweep", [1, 1021, 1022, 1023, 2044, 2500], 0),
    (256, "two_sweep", [253, 254, 255, 1300], 17),
])
def test_one_sgd_step_is_the_gradient(small, tmp_path, window, schedule, lengths, query):
    model_dir, model, tokenizer = small
    rows = rows_of(tokenizer, lengths, query)
    write_rows(tmp_path / "train.jsonl", rows)
    config = plain(model_dir, tmp_path / "out", tmp_path / "train.jsonl", window=window,
                   encoder={"schedule": schedule}, batch={"documents": len(rows), "accumulation": 1})
    train(tmp_path, config)
    want = reference_gradient(model, tokenizer, rows, window)
    compare(tmp_path, model_dir, tmp_path / "out" / "latest", want)
    [step] = events(tmp_path / "out", "step")
    norm = torch.sqrt(sum((g ** 2).sum() for g in want.values()))
    assert step["grad_norm"] == pytest.approx(float(norm), rel=1e-10)
    assert step["source_tokens"] == sum(lengths)


def test_accumulation_smoothing_and_untied_embeddings(tmp_path):
    model = write_model(tmp_path / "model", tie_word_embeddings=False)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    rows = rows_of(tokenizer, [3, 200, 70, 64, 10])
    write_rows(tmp_path / "train.jsonl", rows)
    config = plain(tmp_path / "model", tmp_path / "out", tmp_path / "train.jsonl", window=66,
                   batch={"documents": 2, "accumulation": 3}, label_smoothing=0.1, epochs=1)
    del config["steps"]
    train(tmp_path, config)
    assert len(events(tmp_path / "out", "step")) == 1
    compare(tmp_path, tmp_path / "model", tmp_path / "out" / "latest",
            reference_gradient(model, tokenizer, rows, 66, 0.1))


def distance(got, want):
    """Of the whole gradients, in units of the wanted one's length."""
    off = sum(float(((got[name].double() - g) ** 2).sum()) for name, g in want.items())
    return (off / sum(float((g ** 2).sum()) for g in want.values())) ** 0.5


@pytest.fixture(scope="module")
def six_models(tmp_path_factory):
    """(directory, rows, gradient in float64, distance of autocast's from it) of models of six seeds."""
    cases = []
    for seed in range(3, 9):
        folder = tmp_path_factory.mktemp("six") / "model"
        model = write_model(folder, seed=seed)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        rows = rows_of(tokenizer, [1, 64, 129, 700, 300])
        want = reference_gradient(model, tokenizer, rows, 66)
        narrow = copy.deepcopy(model).float()
        with torch.autocast("cpu", torch.bfloat16):
            cases.append((folder, rows, want, distance(reference_gradient(narrow, tokenizer, rows, 66), want)))
    return cases


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["kept", "cached", "streamed", "two_sweep"])
def test_bfloat16_is_as_near_as_autocast(six_models, tmp_path, schedule):
    """With instructions for it both round alike, and which is nearer is chance: on average ours may be farther by no more
    than two standard errors of the six."""
    ratios = []
    for number, (model_dir, rows, want, autocast) in enumerate(six_models):
        output = tmp_path / f"out{number}"
        write_rows(tmp_path / "train.jsonl", rows)
        train(tmp_path, plain(model_dir, output, tmp_path / "train.jsonl", window=66, precision="bfloat16",
                              encoder={"schedule": schedule}, batch={"documents": len(rows), "accumulation": 1}))
        before, after = weights(model_dir), weights(output / "latest")
        # The weights that are trained and saved are float32.
        assert {tensor.dtype for tensor in after.values()} == {torch.float32}
        ours = distance({name: before[name].float() - after[name] for name in want}, want)
        assert ours > 1e-4  # not float32 in disguise
        ratios.append(math.log(ours / autocast))
    error = statistics.stdev(ratios) / len(ratios) ** 0.5
    assert statistics.mean(ratios) <= 2 * error and statistics.mean(ratios) < 0.05, ratios


def torch_optimizer(name, model):
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), lr=0.0)
    if name == "adam":
        return torch.optim.Adam(model.parameters(), lr=0.0, betas=(0.8, 0.95), eps=1e-7)
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    return torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}],
                             lr=0.0, betas=(0.8, 0.95), eps=1e-7)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_five_steps_are_those_of_torch_optim(tmp_path, name):
    model = write_model(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    rows = rows_of(tokenizer, [20, 150, 64])
    write_rows(tmp_path / "train.jsonl", rows)
    rate = {"adamw": 1e-3, "adam": 1e-3, "sgd": 0.05}[name]
    config = plain(tmp_path / "model", tmp_path / "out", tmp_path / "train.jsonl", window=66, steps=5,
                   batch={"documents": 3, "accumulation": 1},
                   optimizer={"name": name, "learning_rate": rate, "betas": [0.8, 0.95], "eps": 1e-7,
                              "weight_decay": 0.1, "clip_norm": 0.5},
                   schedule={"name": "linear", "warmup_steps": 2})
    train(tmp_path, config)

    optimizer = torch_optimizer(name, model)
    losses, norms = [], []
    for t in range(1, 6):
        for group in optimizer.param_groups:
            group["lr"] = rate * (t / 2 if t <= 2 else (5 - t) / 3)
        model.zero_grad()
        total = sum(len(target_ids(tokenizer, row["summary"])) for row in rows)
        loss = sum(summed_loss(model, ids(tokenizer, row["document"]), [], target_ids(tokenizer, row["summary"]), 66)
                   for row in rows) / total
        loss.backward()
        losses.append(float(loss))
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)))
        optimizer.step()

    steps = events(tmp_path / "out", "step")
    assert [s["loss"] for s in steps] == pytest.approx(losses, rel=1e-9)
    assert [s["grad_norm"] for s in steps] == pytest.approx(norms, rel=1e-8)
    assert [s["learning_rate"] for s in steps] == pytest.approx([rate / 2, rate, rate * 2 / 3, rate / 3, 0])
    got = weights(tmp_path / "out" / "step-00000005")
    for key, parameter in model.named_parameters():
        # Adam divides by the root of the second moment: where a gradient is rounding noise (key biases), so is
        # its step, of the size of the rate.
        if name != "sgd" and key.endswith("k_proj.bias"):
            continue
        assert torch.allclose(got[key], parameter, rtol=0, atol=1e-9), key
