"""CachED in PyTorch and transformers: the encoder's gradient by caching the gradient of its states (Saxena, Tang and
Keller, "End-to-End Long Document Summarization using Gradient Caching", TACL 2025, arXiv 2501.01805). Written from the
paper and the behaviour of the released code (saxenarohit/CachED at 7a07bcc).

`released` repeats three defects of that code:
1. The encoder's gradients are zeroed after the decoder's backward pass, and with them the tied embedding's gradient from
   the decoder and the head.
2. The memory's last row is the last token's state once more instead of EOS's, while its gradient goes to EOS.
3. That gradient is dropped where the document is one window or fills all of its windows.
`mended` has none of them: its gradient is that of one graph over everything, dropout included.
"""

import ctypes
import json
import time

import torch
import transformers
from transformers import BartForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

import common

VARIANTS = ("released", "mended")
PHASES = ("encoding", "decoding", "windows")


def load(folder, dtype, device, dropout):
    """A model that trains: float32 weights for bfloat16, whose arithmetic is by autocast."""
    rates = {"dropout": dropout, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0}
    if dropout == 0:
        rates.update(attention_dropout=0.0, activation_dropout=0.0)
    weights = torch.float64 if dtype == "float64" else torch.float32
    return BartForConditionalGeneration.from_pretrained(folder, dtype=weights, **rates).to(device).train()


class Cached:
    """`enter` is called with the name of each phase as it begins."""

    def __init__(self, model, *, variant, dtype, windows_a_call, enter=lambda phase: None):
        if variant not in VARIANTS:
            raise ValueError(f"{variant} is none of {VARIANTS}")
        self.model, self.encoder, self.config = model, model.get_encoder(), model.config
        self.released, self.windows_a_call, self.enter = variant == "released", windows_a_call, enter
        self.device = model.device
        self.autocast = dict(device_type=self.device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16")

    def calls(self, text):
        """Windows [W, C] of each encoder call, each BOS + piece + EOS; a shorter one is alone."""
        bos, eos, piece = self.config.bos_token_id, self.config.eos_token_id, self.config.max_position_embeddings - 2
        windows = [torch.tensor([bos, *text[i:i + piece], eos]) for i in range(0, len(text), piece)]
        full = len(text) // piece
        groups = [windows[i:min(i + self.windows_a_call, full)] for i in range(0, full, self.windows_a_call)]
        groups += [[window] for window in windows[full:]]
        return [torch.stack(group).to(self.device) for group in groups]

    def encode(self, windows):
        with torch.autocast(**self.autocast):
            return self.encoder(windows).last_hidden_state

    @staticmethod
    def fused(states_WCd, first, last, last_position=-1):
        """Rows of the memory from one call's states: every piece's, behind the first window's BOS, and a last one."""
        parts = [states_WCd[:, 1:-1].flatten(0, 1)]
        if first:
            parts.insert(0, states_WCd[0, :1])
        if last:
            parts.append(states_WCd[-1, last_position].unsqueeze(0))
        return torch.cat(parts)

    def generators(self):
        """What dropout draws from."""
        return torch.get_rng_state(), torch.cuda.get_rng_state() if self.device.type == "cuda" else None

    def as_then(self, generators):
        torch.set_rng_state(generators[0])
        if generators[1] is not None:
            torch.cuda.set_rng_state(generators[1])

    def gradient(self, text, labels):
        """Adds the gradient of the mean loss of one document to the parameters'. Returns the loss."""
        calls = self.calls(text)
        ends = [(i == 0, i == len(calls) - 1) for i in range(len(calls))]
        drawn = []

        self.enter("encoding")
        with torch.no_grad():
            rows = []
            for windows, (first, last) in zip(calls, ends):
                drawn.append(self.generators())
                rows.append(self.fused(self.encode(windows), first, last, -2 if self.released else -1))
            memory = torch.cat(rows).unsqueeze(0).requires_grad_()
            del rows

        self.enter("decoding")
        with torch.autocast(**self.autocast):
            loss = self.model(encoder_outputs=BaseModelOutput(memory), labels=labels).loss
        loss.backward()
        loss, gradient = loss.item(), memory.grad[0]
        del memory

        self.enter("windows")
        if self.released:
            self.encoder.zero_grad()
            if len(text) % (self.config.max_position_embeddings - 2) == 0 or len(calls) == 1 and len(calls[0]) == 1:
                gradient[-1] = 0
        begin = 0
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            for windows, (first, last), generators in zip(calls, ends, drawn):
                if not self.released:
                    self.as_then(generators)
                rows = self.fused(self.encode(windows), first, last)
                rows.backward(gradient[begin:begin + len(rows)])
                begin += len(rows)
        return loss


class MallocMeter:
    """What malloc holds, by programs/malloc_counter.cpp."""

    def __init__(self):
        library = ctypes.CDLL(None)
        if not hasattr(library, "malloc_counter_peak"):
            raise SystemExit("--held-bytes needs libmalloc_counter.so in LD_PRELOAD (benchmarks/memory.py)")
        self.live, self.peak = library.malloc_counter_live, library.malloc_counter_peak
        self.live.restype = self.peak.restype = ctypes.c_longlong
        self.restart_peak = library.malloc_counter_reset_peak


class CudaMeter:
    live, peak = staticmethod(torch.cuda.memory_allocated), staticmethod(torch.cuda.max_memory_allocated)
    restart_peak = staticmethod(torch.cuda.reset_peak_memory_stats)


class PhasePeaks:
    """The most bytes held in each phase, above what was held when this was made."""

    def __init__(self, meter):
        self.meter, self.before, self.phase, self.peaks = meter, meter.live(), None, {}

    def enter(self, phase):
        if self.phase is not None:
            self.peaks[self.phase] = self.meter.peak() - self.before
        self.meter.restart_peak()
        self.phase = phase


def resident_bytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


class Peer:
    def __init__(self, options):
        self.options = options
        torch.set_num_threads(options.threads)
        self.model = load(options.model, options.dtype, options.device, options.dropout)
        self.cached = Cached(self.model, variant=options.variant, dtype=options.dtype,
                             windows_a_call=options.windows_a_call)
        if options.ids:
            with open(options.ids) as file:
                made = json.load(file)
            self.text, self.labels = made["source"], self.on_device(made["target"])
        else:
            self.text = self.source(options.train_source_tokens)
            self.labels = self.on_device(common.made_up_ids(options.train_target_tokens, self.model.config.vocab_size, 1))

    def source(self, tokens):
        return common.made_up_ids(tokens, self.model.config.vocab_size, 0)

    def on_device(self, ids):
        return torch.tensor([ids], device=self.options.device)

    def zero_gradients(self):
        for parameter in self.model.parameters():
            parameter.grad = torch.zeros_like(parameter)

    def optimizer(self):
        """With its state: one update of nothing at rate 0."""
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.0, weight_decay=0.01, fused=True)
        self.zero_gradients()
        optimizer.step()
        for group in optimizer.param_groups:
            group["lr"] = 1e-5
        return optimizer

    def synchronize(self):
        if self.options.device == "cuda":
            torch.cuda.synchronize()

    def train(self):
        optimizer = self.optimizer()
        cuda = self.options.device == "cuda"
        start = CudaMeter.live() if cuda else resident_bytes()

        def step():
            optimizer.zero_grad(set_to_none=False)
            self.cached.gradient(self.text, self.labels)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            self.synchronize()

        self.synchronize()
        figure = common.figure("train", "s/step", common.repeated(self.options.repeats, step), lambda s: s)
        if cuda:
            figure["peak_memory_bytes"] = CudaMeter.peak()
        # The process was no larger before, but for what loading took and gave back.
        figure["peak_above_start_bytes"] = max(0, figure["peak_memory_bytes"] - start)
        return figure

    def write_gradient(self, path):
        from safetensors.torch import save_file
        self.cached.gradient(self.text, self.labels)
        save_file({name: p.grad.contiguous().cpu() for name, p in self.model.named_parameters()}, path)

    def held_bytes(self, lengths):
        """One JSON object a line and document length, as programs/held_bytes.cpp prints them. Of two steps the second:
        the first one fills the libraries' caches for its shapes, which stay."""
        meter = CudaMeter() if self.options.device == "cuda" else MallocMeter()
        for tokens in lengths:
            text = self.source(tokens)
            for counted in (False, True):
                self.zero_gradients()
                peaks = PhasePeaks(meter)
                self.cached.enter = peaks.enter
                began = time.perf_counter()
                self.cached.gradient(text, self.labels)
                self.synchronize()
                seconds = time.perf_counter() - began
                peaks.enter(None)
                if counted:
                    print(json.dumps({"schedule": self.options.variant, "tokens": tokens, **peaks.peaks,
                                      "seconds": seconds}), flush=True)


def main():
    parser = common.parser()
    parser.add_argument("--variant", default="mended", choices=VARIANTS)
    parser.add_argument("--windows-a-call", type=int, default=1, help="of an encoder call; the released code has one")
    parser.add_argument("--dropout", type=float, default=0.0, help="as of precis: 0 sets all three rates to 0")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--ids", help='JSON {"source": [...], "target": [...]} instead of made-up ids')
    parser.add_argument("--gradient", metavar="FILE.safetensors", help="write the gradient and measure nothing")
    parser.add_argument("--held-bytes", metavar="TOKENS,...", help="measure what a step holds at these lengths instead")
    options = parser.parse_args()
    if options.dtype not in ("float32", "float64", "bfloat16"):
        parser.error("--dtype is float32, float64 or bfloat16")
    if options.variant == "released" and options.windows_a_call != 1:
        parser.error("the released code encodes one window a call")
    peer = Peer(options)
    if options.gradient:
        peer.write_gradient(options.gradient)
    elif options.held_bytes:
        peer.held_bytes([int(tokens) for tokens in options.held_bytes.split(",")])
    else:
        common.report(f"CachED {options.variant}, transformers {transformers.__version__}, torch {torch.__version__}",
                      options, [peer.train()])


if __name__ == "__main__":
    main()
