"""Bytes that a training step holds for every source token: the slope of its peak against the document's length, by an
allocator that counts (programs/held_bytes.cpp), beside what is calculated.

memory.py [--shape base|large] [--dtype float32|bfloat16] [--tokens 4088,8176,16352] [--schedules ...] [--peers ...]

Rows of the peer, CachED in PyTorch (peers/cached_peer.py), are of the same lengths, by a malloc that counts
(programs/malloc_counter.cpp): `released` in float32 as it was released, `mended` in bfloat16 by autocast.

The peak of a whole step is that of its largest phase, and at lengths that a processor trains on in minutes that is the
graph of one encoder call, whatever the document's length. So every phase has its own peak: what grows with the document
is held while the decoder runs, and the calculated column is of that.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "bench"
PROGRAMS = ROOT / "build" / "release" / "benchmarks"
PEER = ROOT / "benchmarks" / "peers" / "cached_peer.py"
SHAPES = {"base": (768, 6), "large": (1024, 12)}
WINDOW = 1024
# label, type
PEERS = {"released": ("CachED as released (PyTorch)", "float32"),
         "mended": ("CachED mended (PyTorch autocast)", "bfloat16")}


def calculated(schedule, width, layers, element):
    """Bytes a token of states, gradient of the states in float32, keys and values, and the encoder's graph."""
    states = width * element
    gradient = 0 if schedule == "two_sweep" else width * 4
    held = 2 * width * layers * element if schedule in ("cached", "kept") else 0
    graph = graph_bytes(width, layers, element) * WINDOW / (WINDOW - 2) if schedule == "kept" else 0
    return round(states + gradient + held + graph)


def graph_bytes(width, layers, element):
    """Bytes a position of the encoder's graph: encoder_graph_bytes of src/memory/cost.cpp, with a feed-forward of 4 d."""
    copies = 1 if element < 4 else 0
    layer = 4 * width * 4 + (4 + 2 * copies) * width * element + 2 * 4 * width * element
    return layers * layer + 3 * width * 4


def described(variant, width, layers):
    """Bytes a token of CachED, as the method's description has it: every decoder layer's keys and values, and states and
    gradients; in float32 another 7 numbers a token and width, in bfloat16 another 6."""
    return (2 * layers + 7) * width * 4 if variant == "released" else (2 * layers + 6) * width * 2


def model_of(shape):
    width, layers = SHAPES[shape]
    folder = WORK / f"bart-{shape}"
    if not folder.exists():
        WORK.mkdir(parents=True, exist_ok=True)
        subprocess.run([ROOT / "build" / "precis", "init", ROOT / "benchmarks" / "bart-base.yaml", folder, "--quiet",
                        f"model.d_model={width}", f"model.encoder_layers={layers}", f"model.decoder_layers={layers}",
                        f"model.encoder_attention_heads={width // 64}", f"model.decoder_attention_heads={width // 64}",
                        f"model.encoder_ffn_dim={4 * width}", f"model.decoder_ffn_dim={4 * width}"],
                       check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return folder


def slope(lengths, bytes_held):
    """Least squares."""
    mean, middle = sum(lengths) / len(lengths), sum(bytes_held) / len(bytes_held)
    return (sum((t - mean) * (b - middle) for t, b in zip(lengths, bytes_held))
            / sum((t - mean) ** 2 for t in lengths))


def runs_of(command, **environment):
    done = subprocess.run([str(part) for part in command], env={**os.environ, **environment}, capture_output=True,
                          text=True)
    print(done.stdout, file=sys.stderr, end="", flush=True)
    if done.returncode != 0:
        sys.exit(done.stderr[-2000:])
    return [json.loads(line) for line in done.stdout.splitlines()]


def row(label, runs, want):
    lengths = [run["tokens"] for run in runs]
    held, windows = (slope(lengths, [run[phase] for run in runs]) for phase in ("decoding", "windows"))
    last = runs[-1]
    peak = max(last[phase] for phase in ("encoding", "decoding", "windows"))
    planned = f"{peak / last['planned']:.2f}" if "planned" in last else ""
    return (f"| {label} | {held:,.0f} | {want:,} | {held / want:.3f} | {windows:,.0f} | {peak / 2**20:,.0f} | "
            f"{planned} | {' / '.join(format(run['seconds'], '.0f') for run in runs)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="base", choices=SHAPES)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--tokens", default="4088,8176,16352")
    parser.add_argument("--targets", default="256")
    parser.add_argument("--schedules", default="kept,cached,streamed,two_sweep", help="ours; '' leaves them out")
    parser.add_argument("--peers", default="released,mended", help="'' leaves them out")
    options = parser.parse_args()
    subprocess.run(["cmake", "--build", "--preset", "release", "--target", "held_bytes", "malloc_counter"], cwd=ROOT,
                   check=True, stdout=subprocess.DEVNULL)
    model = model_of(options.shape)
    element = 2 if options.dtype == "bfloat16" else 4
    print("| schedule | bytes a token, decoding | calculated | measured / calculated | bytes a token, windows | "
          "largest peak, MiB | of the plan | seconds |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for schedule in filter(None, options.schedules.split(",")):
        command = [PROGRAMS / "held_bytes", model, options.dtype, options.targets, schedule, *options.tokens.split(",")]
        print(row(schedule, runs_of(command), calculated(schedule, *SHAPES[options.shape], element)), flush=True)
    for variant in filter(None, options.peers.split(",")):
        label, dtype = PEERS[variant]
        command = [sys.executable, PEER, model, "--variant", variant, "--dtype", dtype, "--held-bytes", options.tokens,
                   "--train-target-tokens", options.targets, "--threads", str(len(os.sched_getaffinity(0)))]
        runs = runs_of(command, LD_PRELOAD=str(PROGRAMS / "libmalloc_counter.so"))
        print(row(f"{label}, {dtype}", runs, described(variant, *SHAPES[options.shape])), flush=True)


if __name__ == "__main__":
    main()
