"""What the peers share: the settings of `precis bench`, its made-up ids, and its way of timing."""

import argparse
import json
import resource
import statistics
import time


def parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--tasks", default="encode,decode,batch")
    parser.add_argument("--text")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--num-beams", type=int, default=4)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--documents", type=int, default=16)
    parser.add_argument("--source-tokens", type=int, default=0)
    parser.add_argument("--train-source-tokens", type=int, default=8192)
    parser.add_argument("--train-target-tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32")
    return parser


def arguments():
    return parser().parse_args()


def made_up_ids(tokens, vocabulary, number):
    """The ids of made_up_document in src/cli/bench.cpp."""
    return [4 + (i * 7919 + number * 104729 + 13) % (vocabulary - 8) for i in range(tokens)]


def seconds_of(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def repeated(repeats, work):
    """Seconds of each run after a first one, which is not counted."""
    work()
    return [seconds_of(work) for _ in range(repeats)]


def figure(task, unit, seconds, value):
    """`value` makes the figure of the median of `seconds`."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"task": task, "unit": unit, "value": value(statistics.median(seconds)), "seconds": seconds,
            "peak_memory_bytes": peak}


def decode_figure(options, write):
    """`write(n)` writes n tokens; a step is what the second half of them costs."""
    half = options.new_tokens // 2
    write(options.new_tokens)
    seconds = []
    for _ in range(options.repeats):
        first = seconds_of(lambda: write(half))
        seconds.append(seconds_of(lambda: write(options.new_tokens)) - first)
    return figure("decode", "ms/step", seconds, lambda s: 1000 * s / (options.new_tokens - half))


def report(program, options, figures):
    print(json.dumps({"program": program, "threads": options.threads, "dtype": options.dtype,
                      "figures": figures}, indent=2))
