"""Runs `precis bench` and its peers in turn with equal settings and threads, and prints one table.

Each program runs each task in a process of its own; rounds alternate between the programs, so that a machine
that slows down slows all of them. A figure is the median over all rounds; the ratio is ours to the peer's.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
PRECIS = ROOT / "build" / "precis"
WORK = ROOT / "build" / "bench"
SHARED = ROOT.parent / "shared" / "data"
HIGHER_IS_BETTER = {"tokens/s", "documents/s", "MB/s"}


def run(command, threads):
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false",
                   "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run([str(part) for part in command], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def figures_of(command, threads):
    answer = json.loads(run(command, threads))
    return answer["program"], answer["figures"][0]


def bart_base(tokenizer):
    """The folder of a model of BART-base's shape with fresh weights, made where missing."""
    WORK.mkdir(parents=True, exist_ok=True)
    model = WORK / "bart-base"
    if not model.exists():
        run([PRECIS, "init", ROOT / "benchmarks" / "bart-base.yaml", model, f"tokenizer={tokenizer}"], 1)
    return model


def prepare(arguments):
    model = bart_base(arguments.tokenizer)
    page = WORK / "page.txt"
    page.write_text((ROOT / "LICENSE").read_text()[:3000])
    book = WORK / "book.txt"
    if not book.exists():
        source = SHARED / "books" / "books.jsonl.zst"
        if source.exists():
            import zstandard
            with zstandard.open(source, "rt", encoding="utf-8") as lines:
                book.write_text(json.loads(next(lines))["document"])
        else:
            book.write_text((ROOT / "LICENSE").read_text() * 50)
    return model, page, book


def programs(task, arguments, model, book):
    """(label, command) of each program that has this task."""
    shared = ["--tasks", task, "--threads", arguments.threads, "--repeats", arguments.repeats]
    if task == "tokenize":
        shared[3] = 1  # one thread each, whatever the rest runs on
        shared += ["--text", book]
        return [("precis", [PRECIS, "bench", model, "--quiet", "--format", "json", *shared]),
                ("tokenizers", [sys.executable, PEERS / "tokenizers_peer.py", model, *shared])]
    rows = []
    for dtype in arguments.dtypes.split(","):
        typed = [*shared, "--dtype", dtype]
        if not (task == "train" and dtype != "float32" and not arguments.train_16_bit):
            same = ["--train-schedule", "cached"] if task == "train" else []  # the peer's algorithm
            rows.append((f"precis {dtype}", [PRECIS, "bench", model, "--quiet", "--format", "json", *typed, *same]))
            if task == "train":  # windows of an encoder call as ours packs them
                rows.append((f"CachED {dtype}",
                             [sys.executable, PEERS / "cached_peer.py", model, *typed, "--windows-a-call", 4]))
            else:
                rows.append((f"transformers {dtype}", [sys.executable, PEERS / "transformers_peer.py", model, *typed]))
    if task != "train":
        for dtype in ("float32", "int8"):
            rows.append((f"ctranslate2 {dtype}",
                         [sys.executable, PEERS / "ctranslate2_peer.py", model, *shared, "--dtype", dtype]))
    return rows


def measure(task, arguments, model, book):
    rows = programs(task, arguments, model, book)
    seconds, figures, versions = {}, {}, set()
    for round_number in range(arguments.rounds):
        for label, command in rows:
            version, figure = figures_of(command, 1 if task == "tokenize" else arguments.threads)
            versions.add(version)
            seconds.setdefault(label, []).extend(figure["seconds"])
            figures.setdefault(label, []).append(figure)
            print(f"{task:9} round {round_number + 1} {label:22} {figure['value']:10.2f} {figure['unit']}",
                  file=sys.stderr, flush=True)
    result = []
    for label, runs in figures.items():
        one = runs[0]
        # Every figure is a constant over, or times, the seconds: carry the median over to it.
        scale = one["value"] * statistics.median(one["seconds"]) if one["unit"] in HIGHER_IS_BETTER else \
            one["value"] / statistics.median(one["seconds"])
        median = statistics.median(seconds[label])
        result.append({"task": task, "label": label, "unit": one["unit"],
                       "value": scale / median if one["unit"] in HIGHER_IS_BETTER else scale * median,
                       "spread": (max(seconds[label]) - min(seconds[label])) / median,
                       "peak_memory_bytes": max(run["peak_memory_bytes"] for run in runs)})
    return result, versions


def start_up(arguments, model, page):
    """One page, from the command to its summary: whole processes, each behind an untimed one of its own kind. Behind
    the other's, a virtual machine that takes freed memory back would be timed as well."""
    ours = [PRECIS, "summarize", model, page, "--quiet", "--num-beams", 4, "--min-new-tokens",
            arguments.page_tokens, "--max-new-tokens", arguments.page_tokens, "--threads", arguments.threads]
    script = [sys.executable, PEERS / "summarize_script.py", model, page, arguments.page_tokens, 4, arguments.threads]
    times = {"precis float32": [], "python script": []}
    for _ in range(arguments.rounds):
        for label, command in zip(times, (ours, script)):
            run(command, arguments.threads)
            start = time.perf_counter()
            run(command, arguments.threads)
            times[label].append(time.perf_counter() - start)
        print("one page  " + "  ".join(f"{label} {t[-1]:.2f} s" for label, t in times.items()), file=sys.stderr, flush=True)
    return [{"task": "one page", "label": label, "unit": "s", "value": statistics.median(t),
             "spread": (max(t) - min(t)) / statistics.median(t), "peak_memory_bytes": 0} for label, t in times.items()]


def advantage(ours, other):
    """How many times better ours is."""
    return ours["value"] / other["value"] if ours["unit"] in HIGHER_IS_BETTER else other["value"] / ours["value"]


def table(results):
    lines = ["| task | unit | program | figure | spread | peak memory | precis is better by |",
             "| --- | --- | --- | ---: | ---: | ---: | ---: |"]
    for task in dict.fromkeys(r["task"] for r in results):
        rows = [r for r in results if r["task"] == task]
        for r in rows:
            same = next((o for o in rows if o["label"].startswith("precis") and
                         o["label"].split()[-1] == r["label"].split()[-1]), rows[0])
            gain = "" if r["label"].startswith("precis") else f"{advantage(same, r):.2f}"
            if r["label"].endswith("int8"):
                gain = f"{advantage(rows[0], r):.2f} (float32)"
            memory = f"{r['peak_memory_bytes'] / 2**20:,.0f} MiB" if r["peak_memory_bytes"] else ""
            lines.append(f"| {task} | {r['unit']} | {r['label']} | {r['value']:,.2f} | {100 * r['spread']:.0f} % | "
                         f"{memory} | {gain} |")
    return "\n".join(lines)


def plot(results, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    tasks = list(dict.fromkeys(r["task"] for r in results))
    figure, axes = plt.subplots(1, len(tasks), figsize=(2.6 * len(tasks), 3.4))
    for axis, task in zip(axes if len(tasks) > 1 else [axes], tasks):
        rows = [r for r in results if r["task"] == task]
        colours = ["#1f6f8b" if r["label"].startswith("precis") else "#b8b8b8" for r in rows]
        axis.bar([r["label"].replace(" ", "\n") for r in rows], [r["value"] for r in rows], color=colours)
        better = "higher" if rows[0]["unit"] in HIGHER_IS_BETTER else "lower"
        axis.set_title(f"{task}, {rows[0]['unit']}\n({better} is better)", fontsize=9)
        axis.tick_params(axis="x", labelsize=6)
        axis.tick_params(axis="y", labelsize=7)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def add_common_arguments(parser):
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tokenizer", default=SHARED / "tokenizers" / "bart")
    parser.add_argument("--out", type=pathlib.Path, help="a folder for what is measured")


def write_results(folder, facts, results, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps({"facts": facts, "results": results}, indent=2))
    (folder / "table.md").write_text(facts + "\n\n" + text + "\n")


def facts_of(arguments, versions):
    return f"{arguments.threads} threads, {platform.machine()}; " + ", ".join(sorted(versions))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", default="encode,decode,batch,train,tokenize,page")
    parser.add_argument("--dtypes", default="float32")
    parser.add_argument("--train-16-bit", action="store_true", help="also train in the 16-bit types named")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--page-tokens", type=int, default=64)
    add_common_arguments(parser)
    arguments = parser.parse_args()
    model, page, book = prepare(arguments)
    results, versions = [], set()
    for task in arguments.tasks.split(","):
        if task == "page":
            results += start_up(arguments, model, page)
            continue
        measured, names = measure(task, arguments, model, book)
        results += measured
        versions |= names
    facts = facts_of(arguments, versions)
    print(facts + "\n\n" + table(results))
    if arguments.out:
        write_results(arguments.out, facts, results, table(results))
        plot(results, arguments.out / "plot.svg")


if __name__ == "__main__":
    main()
