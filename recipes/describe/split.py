"""Held-out rows that share nothing with the training rows: families of rows, and a split by family."""

import hashlib
import random
import re

LONG_PARAGRAPH = 100  # letters; shorter ones are headings and set phrases
LARGEST_HELD_OUT = 20  # rows of a family that may be held out


def letters(text):
    """Lower case, letters alone, one blank between words: numbers and marks make no difference."""
    return re.sub(r"[\W\d_]+", " ", text.lower()).strip()


def keys(row):
    """Rows with a key in common belong to one family: the same source package, the same beginning, a long
    paragraph in common, or the same summary. Manuals share no source, and standard paragraphs (on locales,
    on threads) would tie most of them together: there the whole text counts."""
    yield "summary", row["kind"], letters(row["summary"])
    if row["kind"] == "manual":
        yield "document", letters(row["document"])
        return
    yield "source", row["source"]
    yield "beginning", letters(row["document"])[:120]
    for paragraph in row["document"].split("\n"):
        paragraph = letters(paragraph)
        if len(paragraph) >= LONG_PARAGRAPH:
            yield "paragraph", paragraph[:200]


def families(rows):
    """The number of each row's family: connected components over the keys."""
    parent = list(range(len(rows)))

    def root(i):
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first = {}
    for i, row in enumerate(rows):
        for key in keys(row):
            parent[root(i)] = root(first.setdefault(key, i))
    return [root(i) for i in range(len(rows))]


def unique(rows):
    """Rows with the same words in the document only once, the first of them."""
    seen = {}
    for row in rows:
        digest = hashlib.sha256(" ".join(row["document"].lower().split()).encode("utf-8")).digest()
        seen.setdefault(digest, row)
    return list(seen.values())


def split(rows, sizes, seed):
    """(train, {name: held-out rows}), each in a random order. `sizes` is {name: {kind: rows}}.

    A held-out row stands for its family: the other rows of it are used nowhere. Large families (hundreds
    of packages of one language's libraries) are for training alone."""
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    family = families(rows)
    members = {}
    for number in family:
        members[number] = members.get(number, 0) + 1

    taken, held_out = set(), {}
    for name, wanted in sizes.items():
        left = dict(wanted)
        held_out[name] = []
        for i in order:
            kind = rows[i]["kind"]
            if left.get(kind, 0) > 0 and family[i] not in taken and members[family[i]] <= LARGEST_HELD_OUT:
                taken.add(family[i])
                held_out[name].append(rows[i])
                left[kind] -= 1
        if any(left.values()):
            raise ValueError(f"too few rows for {name}: {left} more were wanted")
    return [rows[i] for i in order if family[i] not in taken], held_out


def shuffled_documents(rows):
    """The same rows, each with the document of another one of its kind."""
    result = [dict(row) for row in rows]
    for kind in {row["kind"] for row in rows}:
        places = [i for i, row in enumerate(rows) if row["kind"] == kind]
        for i, place in enumerate(places):  # the rows are in a random order already
            result[place]["document"] = rows[places[i - 1]]["document"]
    return result


def lead(rows):
    """(predictions of the first w words of each document, w: the references' mean length)."""
    width = round(sum(len(row["summary"].split()) for row in rows) / len(rows))
    return [{"id": row["id"], "prediction": " ".join(row["document"].split()[:width])} for row in rows], width
