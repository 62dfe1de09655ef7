"""How far the gradient of one document is from float64's: ours and CachED's (peers/cached_peer.py), in float32 and in
16 bits. Relative distance in L2 over all parameters, and the cosine.

The gradient of `precis train` is read off one step of plain SGD at a rate of 1,024, which is a power of two: the
weights' own rounding is then below the gradient's. The document is of made-up words, exactly --tokens long; float64 is the
mended peer's, which tests/python/cached_peer_test.py holds to be that of one graph over everything.
"""

import argparse
import json
import pathlib
import random
import sys
import tempfile

from compare import PEERS, PRECIS, ROOT, WORK, add_common_arguments, bart_base, facts_of, run, write_results

RATE = 1024.0


def made_up_text(tokenizer, tokens, seed):
    """(text, ids): words of the licence in random order, cut behind the last of so many tokens."""
    words = sorted(set((ROOT / "LICENSE").read_text(encoding="utf-8").split()))
    draw = random.Random(seed)
    text = " ".join(draw.choice(words) for _ in range(tokens))
    ends = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    for more in range(tokens, len(ends)):  # a cut word may be other tokens than its beginning was
        text_cut = text[:ends[more - 1][1]]
        ids = tokenizer.encode(text_cut, add_special_tokens=False)
        if len(ids) == tokens:
            return text_cut, ids
    sys.exit(f"no text of {tokens} tokens")


class Distance:
    """Sums over tensors, in float64."""

    def __init__(self):
        self.off = self.dot = self.own = self.want = 0.0

    def add(self, got, want):
        got, want = got.double().flatten(), want.double().flatten()
        self.off += float((got - want).square().sum())
        self.dot += float(got.dot(want))
        self.own += float(got.square().sum())
        self.want += float(want.square().sum())

    def relative(self):
        return (self.off / self.want) ** 0.5

    def cosine(self):
        return self.dot / (self.own * self.want) ** 0.5


class World:
    """A document, its folder, and the gradients that are compared with float64's."""

    def __init__(self, arguments, model, folder):
        import transformers
        self.arguments, self.model, self.folder = arguments, model, pathlib.Path(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(model)
        document, self.source = made_up_text(tokenizer, arguments.tokens, 1)
        summary, target = made_up_text(tokenizer, arguments.targets - 2, 2)
        config = json.loads((pathlib.Path(model) / "config.json").read_text())
        target = [config["bos_token_id"], *target, config["eos_token_id"]]
        (self.folder / "ids.json").write_text(json.dumps({"source": self.source, "target": target}))
        (self.folder / "train.jsonl").write_text(json.dumps({"id": "made up", "document": document, "summary": summary}))
        self.reference = self.of_peer("mended", "float64")

    def of_peer(self, variant, dtype):
        path = self.folder / f"{variant}-{dtype}.safetensors"
        run([sys.executable, PEERS / "cached_peer.py", self.model, "--variant", variant, "--dtype", dtype,
             "--threads", self.arguments.threads, "--ids", self.folder / "ids.json", "--gradient", path],
            self.arguments.threads)
        return path

    def distance_of_peer(self, variant, dtype):
        from safetensors import safe_open
        path = self.of_peer(variant, dtype)
        distance = Distance()
        with safe_open(path, "pt") as got, safe_open(self.reference, "pt") as want:
            for name in want.keys():
                distance.add(got.get_tensor(name), want.get_tensor(name))
        path.unlink()
        return distance

    def distance_of_ours(self, dtype, schedule):
        from safetensors import safe_open
        output = self.folder / f"{dtype}-{schedule}"
        config = {"model": str(self.model), "output": str(output), "precision": dtype, "dropout": 0, "steps": 1,
                  "data": {"train": [str(self.folder / "train.jsonl")]}, "encoder": {"schedule": schedule},
                  "max_target_tokens": self.arguments.targets, "batch": {"documents": 1, "accumulation": 1},
                  "optimizer": {"name": "sgd", "learning_rate": RATE, "clip_norm": 0},
                  "schedule": {"name": "constant", "warmup_steps": 0}}
        (self.folder / "train.yaml").write_text(json.dumps(config))
        run([PRECIS, "train", self.folder / "train.yaml", "--quiet", "--threads", self.arguments.threads],
            self.arguments.threads)
        events = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        [step] = [event for event in events if event["event"] == "step"]
        if step["source_tokens"] != len(self.source):
            sys.exit(f"precis read {step['source_tokens']} tokens, the peer {len(self.source)}")
        distance = Distance()
        with safe_open(pathlib.Path(self.model) / "model.safetensors", "pt") as before, \
                safe_open(output / "latest" / "model.safetensors", "pt") as after, \
                safe_open(self.reference, "pt") as want:
            for name in want.keys():
                moved = before.get_tensor(name).double() - after.get_tensor(name).double()
                distance.add(moved / RATE, want.get_tensor(name))
        return distance


def table(results):
    lines = ["| gradient | type | distance from float64 | cosine | to autocast's distance |",
             "| --- | --- | ---: | ---: | ---: |"]
    autocast = next(row["distance"] for row in results if "autocast" in row["label"])
    for row in results:
        lines.append(f"| {row['label']} | {row['dtype']} | {row['distance']:.3e} | {row['cosine']:.8f} | "
                     f"{row['distance'] / autocast:.3f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4088)
    parser.add_argument("--targets", type=int, default=256)
    parser.add_argument("--schedules", default="kept,cached,streamed,two_sweep", help="ours")
    parser.add_argument("--model", help="another model directory than one of BART-base's shape")
    add_common_arguments(parser)
    arguments = parser.parse_args()
    model = arguments.model or bart_base(arguments.tokenizer)
    WORK.mkdir(parents=True, exist_ok=True)
    results = []

    def add(label, dtype, distance):
        results.append({"label": label, "dtype": dtype, "distance": distance.relative(), "cosine": distance.cosine()})
        print(f"{label}, {dtype}: {distance.relative():.3e}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        world = World(arguments, model, folder)
        for label, variant, dtype in [("CachED released", "released", "float32"), ("CachED mended", "mended", "float32"),
                                      ("CachED mended, autocast", "mended", "bfloat16")]:
            add(label, dtype, world.distance_of_peer(variant, dtype))
        for dtype in ("float32", "bfloat16"):
            for schedule in arguments.schedules.split(","):
                add(f"precis, {schedule}", dtype, world.distance_of_ours(dtype, schedule))
    facts = f"{arguments.tokens} tokens, {arguments.targets} targets, {facts_of(arguments, [])}".rstrip("; ")
    print(facts + "\n\n" + table(results))
    if arguments.out:
        write_results(arguments.out, facts, results, table(results))


if __name__ == "__main__":
    main()
