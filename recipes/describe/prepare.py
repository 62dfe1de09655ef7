#!/usr/bin/env python3
"""Makes the data set of the demo: Debian's package descriptions and manual pages, as JSON Lines.

Everything comes from the machine's own apt sources, without root, and stays below one folder. What is there
is not made again. Python's standard library, apt-get, dpkg-deb and groff are all it needs."""

import argparse
import hashlib
import json
import pathlib
import shutil
import sys

import debian
import descriptions
import manuals
import split

PACKAGES = ["manpages", "manpages-dev", "perl-doc"]
HELD_OUT = {"test": {"description": 400, "manual": 40}, "validation": {"description": 200, "manual": 20}}
FEWEST_DESCRIPTIONS = 20_000  # fewer are not the archive's main list
HERE = pathlib.Path(__file__).resolve().parent


def say(message):
    print(message, file=sys.stderr, flush=True)


def write_rows(path, rows):
    """Returns their number."""
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(rows)


def read(path):
    return path.read_text(encoding="utf-8", errors="replace")


def fetch(folder):
    """The lists and the pages' packages, where they are not there yet."""
    done, wanted = folder / "fetched", debian.CONFIGURATION + " ".join(PACKAGES)
    if done.exists() and read(done) == wanted:
        return
    apt = debian.PrivateApt(folder / "apt")
    say("fetching package lists and " + ", ".join(PACKAGES) + " with apt-get")
    apt.update()
    shutil.rmtree(folder / "root", ignore_errors=True)
    apt.unpack(PACKAGES, folder / "root")
    done.write_text(wanted, encoding="utf-8")


def description_rows(folder, language="en"):
    apt_lists = debian.PrivateApt(folder / "apt")
    source = {}
    for path in apt_lists.lists("_Packages"):
        source.update(descriptions.sources(read(path)))
    rows = {}
    for path in apt_lists.lists(f"_Translation-{language}"):
        for package, document, summary in descriptions.descriptions(read(path), language):
            rows[package] = {"id": f"package/{package}", "kind": "description", "document": document,
                             "summary": summary, "source": source.get(package, package)}
    return [rows[package] for package in sorted(rows)]


def manual_rows(folder):
    debian.require("groff", "groff")
    say("rendering manual pages with groff")
    return [{"id": f"manual/{page}", "kind": "manual", "document": document, "summary": summary}
            for page, document, summary in manuals.manuals(folder / "root/usr/share/man")]


def words(row):
    return len(row["document"].split())


def all_rows(folder):
    """(every row there is, each document once; the packages' rows in German). Kept, since another seed splits the
    same rows."""
    kept = folder / "rows.json"
    try:
        made = json.loads(read(kept))
        if made["recipe"] == recipe_digest():
            return made["rows"], made["german"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or half written
    fetch(folder)
    say("reading package descriptions")
    rows = description_rows(folder)
    if len(rows) < FEWEST_DESCRIPTIONS:
        (folder / "fetched").unlink()
        raise debian.FetchError(f"only {len(rows):,} package descriptions came, where Debian has some 60,000; was a "
                                f"list left out?\n{debian.tail(folder / 'apt' / 'apt.log')}")
    rows = split.unique(rows + manual_rows(folder))
    german = description_rows(folder, "de")
    kept.write_text(json.dumps({"recipe": recipe_digest(), "rows": rows, "german": german}), encoding="utf-8")
    return rows, german


def write_data(folder, seed):
    """Every file of the data set, complete or not at all."""
    rows, german = all_rows(folder)
    longest = max((row for row in rows if row["kind"] == "manual"), key=words)
    rows.remove(longest)
    counts = {name: sum(row["kind"] == kind for row in rows)
              for name, kind in (("descriptions", "description"), ("manuals", "manual"))}
    say("holding out whole families of rows")
    train, held_out = split.split(rows, HELD_OUT, seed)
    predictions, width = split.lead(held_out["test"])

    data = folder / "data.new"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    for name, part in {"train": train, **held_out}.items():
        write_rows(data / f"{name}.jsonl", part)
    write_rows(data / "test-shuffled.jsonl", split.shuffled_documents(held_out["test"]))
    write_rows(data / "test-lead.jsonl", predictions)
    # What is held out in one language is in the other.
    for name, part in (("train", train), ("test", held_out["test"] + held_out["validation"])):
        packages = {row["id"] for row in part}
        counts[f"german_{name}"] = write_rows(data / f"german-{name}.jsonl", [row for row in german if row["id"] in packages])
    (data / "longest.txt").write_text(longest["document"] + "\n", encoding="utf-8")
    counts.update({name: len(part) for name, part in {"train": train, **held_out}.items()})
    facts = {"recipe": recipe_digest(), "seed": seed, **counts, "lead_words": width, "longest": {
        "id": longest["id"], "summary": longest["summary"], "words": words(longest)}}
    (data / "facts.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(folder / "data", ignore_errors=True)
    data.rename(folder / "data")
    return facts


def recipe_digest():
    """Of these programs: data made by others is made again."""
    names = ["debian.py", "descriptions.py", "manuals.py", "prepare.py", "split.py"]
    return hashlib.sha256(b"".join((HERE / name).read_bytes() for name in names)).hexdigest()


def made_already(folder, seed):
    try:
        facts = json.loads(read(folder / "data" / "facts.json"))
    except (OSError, ValueError):
        return None
    return facts if facts.get("recipe") == recipe_digest() and facts.get("seed") == seed else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/demo"), help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which rows are held out, and the order of the others")
    parser.add_argument("--refresh", action="store_true", help="fetch lists and pages again")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.refresh:
        (options.out / "fetched").unlink(missing_ok=True)
        (options.out / "rows.json").unlink(missing_ok=True)
        shutil.rmtree(options.out / "data", ignore_errors=True)
    facts = made_already(options.out, options.seed)
    if facts is None:
        facts = write_data(options.out, options.seed)
    print(f"{facts['descriptions']:,} descriptions and {facts['manuals']:,} manual pages: {facts['train']:,} rows "
          f"to train on, {facts['validation']:,} to validate, {facts['test']:,} to test")


if __name__ == "__main__":
    try:
        main()
    except (debian.FetchError, OSError) as error:
        say(f"prepare.py: {error}")
        sys.exit(5)
