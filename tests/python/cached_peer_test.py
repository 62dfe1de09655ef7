"""The peer of the training benchmarks (benchmarks/peers/cached_peer.py): its mended gradient is that of one graph over
everything, and the released code's is not."""

import copy
import sys

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutput

from conftest import ROOT
from train_support import summed_loss, window_memory, write_model

sys.path.insert(0, str(ROOT / "benchmarks" / "peers"))
from cached_peer import Cached  # noqa: E402
from common import made_up_ids  # noqa: E402

WINDOW = 64
TOLERANCE = 1e-10  # of the largest element, as train_gradient_test.py has it
TARGET = 9
EMBEDDING = "model.shared.weight"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"), positions=WINDOW, dropout=0.1)


def document(model, tokens):
    return made_up_ids(tokens, model.config.vocab_size, 0), made_up_ids(TARGET, model.config.vocab_size, 1)


def whole_graph(model, text, target):
    model.zero_grad()
    (summed_loss(model, text, [], target, WINDOW) / len(target)).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def of_peer(model, text, target, variant, windows_a_call=1):
    model = copy.deepcopy(model)
    model.zero_grad()
    peer = Cached(model, variant=variant, dtype="float64", windows_a_call=windows_a_call)
    loss = peer.gradient(text, torch.tensor([target]))
    return loss, {name: p.grad for name, p in model.named_parameters()}


def assert_same(got, want):
    largest = max(float(g.abs().max()) for g in want.values())
    assert largest > 1e-3
    for name, gradient in want.items():
        assert float((got[name] - gradient).abs().max()) <= TOLERANCE * largest, name


def cosine(a, b):
    dot, first, second = (sum(float((x[name] * y[name]).sum()) for name in x) for x, y in ((a, b), (a, a), (b, b)))
    return dot / (first * second) ** 0.5


@pytest.mark.parametrize("windows_a_call", [1, 3])
@pytest.mark.parametrize("tokens", [1, 61, 62, 63, 124, 300])
def test_mended_is_one_graph(model, tokens, windows_a_call):
    text, target = document(model.eval(), tokens)
    want = whole_graph(model, text, target)
    loss, got = of_peer(model, text, target, "mended", windows_a_call)
    assert_same(got, want)
    assert loss == pytest.approx(summed_loss(model, text, [], target, WINDOW).item() / TARGET, rel=1e-12)


def test_mended_is_one_graph_with_dropout(model):
    text, target = document(model.train(), 300)
    torch.manual_seed(5)
    want = whole_graph(model, text, target)
    torch.manual_seed(5)
    assert_same(of_peer(model, text, target, "mended")[1], want)


@pytest.mark.parametrize("tokens", [30, 62, 300])
def test_released_is_another_gradient(tmp_path, tokens):
    """Of a model with weights of a usual size, where the decoder's and the head's part of the embedding's gradient is the
    larger one."""
    model = write_model(tmp_path, positions=WINDOW, init_std=0.06)
    text, target = document(model, tokens)
    want = whole_graph(model, text, target)
    got = of_peer(model, text, target, "released")[1]
    assert cosine(got, want) < 0.7
    assert cosine({EMBEDDING: got[EMBEDDING]}, {EMBEDDING: want[EMBEDDING]}) < 0.2


@pytest.mark.parametrize("tokens, dropped", [(30, True), (124, True), (300, False)])
def test_released_is_as_described(model, tokens, dropped):
    """The three defects, in one graph: the embedding of the encoder alone, the last token's state for EOS's, and where
    the gradient of that row goes."""
    text, target = document(model.eval(), tokens)
    states = window_memory(model, text, [], WINDOW)
    memory = torch.cat([states[:, :-1], states[:, -2:-1]], dim=1).detach().requires_grad_()
    model.zero_grad()
    model(encoder_outputs=BaseModelOutput(memory), labels=torch.tensor([target])).loss.backward()
    want = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    gradient = memory.grad.clone()
    if dropped:
        gradient[:, -1] = 0
    states.backward(gradient)
    want.update({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert_same(of_peer(model, text, target, "released")[1], want)
