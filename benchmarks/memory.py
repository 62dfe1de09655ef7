"""Bytes that a training step holds for every source token: the slope of its peak against the document's length, by an
allocator that counts (programs/held_bytes.cpp), beside what is calculated.

memory.py [--shape base|large] [--dtype float32|bfloat16] [--tokens 4088,8176,16352] [--schedules ...]

The peak of a whole step is that of its largest phase, and at lengths that a processor trains on in minutes that is the
graph of one encoder call, whatever the document's length. So every phase has its own peak: what grows with the document
is held while the decoder runs, and the calculated column is of that.
"""

import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "bench"
PROGRAM = ROOT / "build" / "release" / "benchmarks" / "held_bytes"
SHAPES = {"base": (768, 6), "large": (1024, 12)}


def calculated(schedule, width, layers, element):
    """Bytes a token of states, gradient of the states in float32, and keys and values."""
    states = width * element
    gradient = 0 if schedule == "two_sweep" else width * 4
    held = 2 * width * layers * element if schedule == "cached" else 0
    return states + gradient + held


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="base", choices=SHAPES)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--tokens", default="4088,8176,16352")
    parser.add_argument("--targets", default="256")
    parser.add_argument("--schedules", default="cached,streamed,two_sweep")
    options = parser.parse_args()
    subprocess.run(["cmake", "--build", "--preset", "release", "--target", "held_bytes"], cwd=ROOT, check=True,
                   stdout=subprocess.DEVNULL)
    model = model_of(options.shape)
    element = 2 if options.dtype == "bfloat16" else 4
    print("| schedule | bytes a token, decoding | calculated | measured / calculated | bytes a token, windows | "
          "largest peak, MiB | of the plan | seconds |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for schedule in options.schedules.split(","):
        done = subprocess.run([PROGRAM, model, options.dtype, options.targets, schedule, *options.tokens.split(",")],
                              capture_output=True, text=True, check=True)
        runs = [json.loads(line) for line in done.stdout.splitlines()]
        print(done.stdout, file=sys.stderr, end="", flush=True)
        lengths = [run["tokens"] for run in runs]
        held, windows = (slope(lengths, [run[phase] for run in runs]) for phase in ("decoding", "windows"))
        want = calculated(schedule, *SHAPES[options.shape], element)
        last = runs[-1]
        peak = max(last[phase] for phase in ("encoding", "decoding", "windows"))
        print(f"| {schedule} | {held:,.0f} | {want:,} | {held / want:.3f} | {windows:,.0f} | {peak / 2**20:,.0f} | "
              f"{peak / last['planned']:.2f} | {' / '.join(format(run['seconds'], '.0f') for run in runs)} |",
              flush=True)


if __name__ == "__main__":
    main()
