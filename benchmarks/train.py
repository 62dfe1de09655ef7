"""Seconds of a training step beside CachED in PyTorch (peers/cached_peer.py), in float32 as it was released and in
bfloat16 by autocast, with the memory that the peer of the same type took and with as much as there is.

Every program is a process of its own that takes a first step, which is not counted, and then --repeats of them: at every
length, since `precis bench` has no way without. A round runs the peers, then ours with the round's peaks as budgets.
The ratios are ours to a peer's: lower is better.
"""

import argparse
import statistics
import sys

from compare import PEERS, PRECIS, add_common_arguments, bart_base, facts_of, figures_of, write_results

FLOAT32, AUTOCAST = "CachED released, float32", "CachED mended, bfloat16 autocast"
MENDED = "CachED mended, float32"
# (of the float32 peer, of the autocast peer) that ours has to stay below, by type and whether a budget is set.
BARS = {("float32", True): (1.0, None), ("float32", False): (1.0, None),
        ("bfloat16", True): (0.38, 0.65), ("bfloat16", False): (0.32, 0.55)}


def peer_command(model, variant, dtype, shared):
    return [sys.executable, PEERS / "cached_peer.py", model, "--variant", variant, "--dtype", dtype, *shared]


def our_command(model, dtype, budget, shared):
    limit = [] if budget is None else ["--memory-budget", budget]
    return [PRECIS, "bench", model, "--quiet", "--format", "json", "--tasks", "train", "--dtype", dtype,
            "--train-schedule", "auto", *limit, *shared]


def a_round(arguments, model, tokens):
    """Yields (label, type, budget, program's version, figure), and the peers first."""
    shared = ["--train-source-tokens", tokens, "--train-target-tokens", arguments.targets, "--repeats", arguments.repeats,
              "--threads", arguments.threads]
    peaks = {}
    for label, variant, dtype in [(FLOAT32, "released", "float32"), (MENDED, "mended", "float32"),
                                  (AUTOCAST, "mended", "bfloat16")]:
        if label == MENDED and not arguments.mended:
            continue
        version, figure = figures_of(peer_command(model, variant, dtype, shared), arguments.threads)
        peaks.setdefault(dtype, figure["peak_memory_bytes"])  # float32: the released code's
        yield label, dtype, None, version, figure
    for budgeted in (True, False):
        for dtype in ("float32", "bfloat16"):
            budget = peaks[dtype] if budgeted else None
            version, figure = figures_of(our_command(model, dtype, budget, shared), arguments.threads)
            yield f"precis, {dtype}" + (", budget" if budgeted else ""), dtype, budget, version, figure


def measure(arguments, model, tokens):
    rows, versions = {}, set()
    for number in range(arguments.rounds):
        for label, dtype, budget, version, figure in a_round(arguments, model, tokens):
            versions.add(version)
            row = rows.setdefault(label, {"tokens": tokens, "label": label, "dtype": dtype,
                                          "ours": label.startswith("precis"), "budgets": [], "peaks": [], "seconds": []})
            row["seconds"] += figure["seconds"]
            row["peaks"].append(figure["peak_memory_bytes"])
            if budget is not None:
                row["budgets"].append(budget)
            print(f"{tokens:9,} tokens, round {number + 1}: {label:34} {figure['value']:9.2f} s",
                  file=sys.stderr, flush=True)
    return list(rows.values()), versions


def judged(row, peers):
    """Adds the medians, the ratios to both peers, and the bars with whether each is met."""
    row["value"] = statistics.median(row["seconds"])
    row["ratios"] = [row["value"] / statistics.median(peer["seconds"]) for peer in peers]
    row["bars"] = []
    if row["ours"]:
        for name, bar, ratio in zip(("float32", "autocast"), BARS[row["dtype"], bool(row["budgets"])], row["ratios"]):
            if bar is not None:
                row["bars"].append({"what": f"{name} <= {bar:.2f}", "met": ratio <= bar})
        if row["budgets"]:
            row["bars"].append({"what": "peak <= budget",
                                "met": all(peak <= most for peak, most in zip(row["peaks"], row["budgets"]))})
    return row


def table(results):
    lines = ["| tokens | program | type | budget, MiB | s/step | spread | peak memory, MiB | to the float32 peer | "
             "to the autocast peer | bars |", "| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"]
    for row in results:
        budget = f"{min(row['budgets']) / 2**20:,.0f}" if row["budgets"] else ""
        spread = (max(row["seconds"]) - min(row["seconds"])) / row["value"]
        bars = "; ".join(f"{bar['what']} {'met' if bar['met'] else 'MISSED'}" for bar in row["bars"])
        cells = [f"{row['tokens']:,}", row["label"].split(",")[0], row["dtype"], budget, f"{row['value']:,.2f}",
                 f"{100 * spread:.0f} %", f"{max(row['peaks']) / 2**20:,.0f}", *(f"{r:.2f}" for r in row["ratios"]), bars]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", default="16384,65536", help="lengths of the document")
    parser.add_argument("--targets", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1, help="timed steps of each program in a round")
    parser.add_argument("--mended", action="store_true", help="also the mended peer in float32")
    parser.add_argument("--model", help="another model directory than one of BART-base's shape")
    add_common_arguments(parser)
    arguments = parser.parse_args()
    model = arguments.model or bart_base(arguments.tokenizer)
    results, versions = [], set()
    for tokens in map(int, arguments.tokens.split(",")):
        rows, names = measure(arguments, model, tokens)
        peers = [next(row for row in rows if row["label"] == label) for label in (FLOAT32, AUTOCAST)]
        results += [judged(row, peers) for row in rows]
        versions |= names
        facts = f"{arguments.targets} targets, {facts_of(arguments, versions)}"
        if arguments.out:  # after each length: the next one takes longer
            write_results(arguments.out, facts, results, table(results))
    print(facts + "\n\n" + table(results))


if __name__ == "__main__":
    main()
