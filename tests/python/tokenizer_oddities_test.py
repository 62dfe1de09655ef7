"""Odd tokenizer.json files (RELIABILITY, case 23): an error, or exactly the ids of Hugging Face's `tokenizers`."""

import json
import random
import subprocess

import pytest
from tokenizers import Tokenizer

from train_support import write_model

TEXTS = ["the an of", " the  then a paper", "tthe\nthe", "caf\u00e9 \u00e9\u00e9 \U0001f600", "", " ", "a<s>b </s> <mask> x", "qq zz q z", "\x00\x7f",
         "anan thethe ofon", "<pad><unk>", "THE The", "new a new", "\u2028 x", "12 3", "tok tok", "it's don't"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer_oddities") / "model"
    write_model(folder, positions=64)
    return json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))


def added(content, number, **flags):
    return {"id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": True, **flags}


def last(t):
    return max(t["model"]["vocab"].values())


def rename(t, old, new):
    t["model"]["vocab"] = {new if token == old else token: i for token, i in t["model"]["vocab"].items()}


def renumber(t, number):
    t["model"]["vocab"] = {token: number(i) for token, i in t["model"]["vocab"].items()}
    for token in t["added_tokens"]:
        token["id"] = number(token["id"])


def add(content, gap=1, **flags):
    return lambda t: t["added_tokens"].append(added(content, last(t) + gap, **flags))


def model(**changes):
    return lambda t: t["model"].update(changes)


def whole(**changes):
    return lambda t: t.update(changes)


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
ODD = {
    "as it is": lambda t: None,
    # Ids.
    "a gap": lambda t: t["model"]["vocab"].update(extra=last(t) + 7),
    "ids far away": lambda t: renumber(t, lambda i: i + 100_000),
    "ids of every third number": lambda t: renumber(t, lambda i: 3 * i),
    "ids backwards": lambda t: renumber(t, lambda i: 270 - i),
    "two tokens of one id": lambda t: t["model"]["vocab"].update(extra=9),
    "an id of 2^31": lambda t: t["model"]["vocab"].update(extra=2**31),
    "an id of 2^32": lambda t: t["model"]["vocab"].update(extra=2**32),
    "a real id": lambda t: t["model"]["vocab"].update(extra=5.0),
    "an id in quotes": lambda t: t["model"]["vocab"].update(extra="5"),
    "an empty token": lambda t: t["model"]["vocab"].update({"": last(t) + 1}),
    "an empty vocabulary": model(vocab={}, merges=[]),
    "a byte without a token": lambda t: rename(t, "q", "nobody"),
    # Merges.
    "merges in one string": lambda t: t["model"].update(merges=[" ".join(pair) for pair in t["model"]["merges"]]),
    "merges backwards": lambda t: t["model"]["merges"].reverse(),
    "a merge twice": lambda t: t["model"]["merges"].append(t["model"]["merges"][0]),
    "a merge of unknown tokens": lambda t: t["model"]["merges"].append(["qq", "zz"]),
    "a merge without a result": lambda t: t["model"]["merges"].append(["q", "z"]),
    "a merge of three": lambda t: t["model"]["merges"].append(["t", "h", "e"]),
    "a merge with nothing": lambda t: t["model"]["merges"].append(["", "t"]),
    "no merges": model(merges=[]),
    "merges left out": lambda t: t["model"].pop("merges"),
    # The model.
    "another model": model(type="WordPiece"),
    "no type": lambda t: t["model"].pop("type"),
    "an unknown token": model(unk_token="<unk>"),
    "an unknown token for a missing byte": lambda t: (rename(t, "q", "nobody"), t["model"].update(unk_token="<unk>")),
    "fused unknowns": lambda t: (rename(t, "q", "nobody"), t["model"].update(unk_token="<unk>", fuse_unk=True)),
    "an unknown token that is not there": lambda t: (rename(t, "q", "x q"), t["model"].update(unk_token="none")),
    "byte fallback": model(byte_fallback=True),
    "dropout": model(dropout=0.5),
    "no dropout": model(dropout=0.0),
    "words before merges": lambda t: (t["model"]["vocab"].update(tok=last(t) + 1), t["model"].update(ignore_merges=True)),
    "a prefix of parts": model(continuing_subword_prefix="##"),
    "an empty prefix of parts": model(continuing_subword_prefix=""),
    "a suffix of words": model(end_of_word_suffix="</w>"),
    "an empty suffix of words": model(end_of_word_suffix=""),
    "an unknown key of the model": model(surprise=1),
    # Added tokens.
    "a new one": add("new"),
    "a new one behind a gap": add("new", gap=5),
    "one with an id of another": lambda t: t["added_tokens"].append(added("new", 7)),
    "one twice": lambda t: t["added_tokens"].append(t["added_tokens"][0]),
    "one of the vocabulary": lambda t: t["added_tokens"].append(added("the", t["model"]["vocab"]["the"])),
    "an empty one": add(""),
    "a blank one": add(" "),
    "a word": add("the", single_word=True),
    "stripping both sides": add("new", lstrip=True, rstrip=True),
    "normalized": add("new", normalized=True, special=False),
    "one within another": lambda t: t["added_tokens"].extend([added("ne", last(t) + 1), added("new", last(t) + 2)]),
    "of many bytes": add("\u00e9\U0001f600"),
    "without flags": lambda t: t["added_tokens"].append({"id": last(t) + 1, "content": "new"}),
    "with an unknown flag": add("new", surprise=True),
    "none": whole(added_tokens=[]),
    # Components.
    "a prefix space": whole(pre_tokenizer={**BYTE_LEVEL, "add_prefix_space": True}),
    "no split": whole(pre_tokenizer={**BYTE_LEVEL, "use_regex": False}),
    "no pre-tokenizer": whole(pre_tokenizer=None),
    "a sequence of one": whole(pre_tokenizer={"type": "Sequence", "pretokenizers": [BYTE_LEVEL]}),
    "digits, then bytes": whole(pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, BYTE_LEVEL]}),
    "white space": whole(pre_tokenizer={"type": "Whitespace"}),
    "an unknown pre-tokenizer": whole(pre_tokenizer={"type": "Knife"}),
    "lower case": whole(normalizer={"type": "Lowercase"}),
    "NFC": whole(normalizer={"type": "NFC"}),
    "an empty sequence of normalizers": whole(normalizer={"type": "Sequence", "normalizers": []}),
    "an unknown normalizer": whole(normalizer={"type": "Upside"}),
    "no decoder": whole(decoder=None),
    "an unknown decoder": whole(decoder={"type": "Ring"}),
    "no post-processor": whole(post_processor=None),
    "an unknown post-processor": whole(post_processor={"type": "Magic"}),
    "another version": whole(version="2.0"),
    "an unknown key": whole(surprise=1),
    "truncation": whole(truncation={"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}),
    "padding": whole(padding={"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1,
                              "pad_type_id": 0, "pad_token": "<pad>"}),
}


def expected_ids(path):
    """Those of `tokenizers`, or nothing where it refuses the file or a text. Truncation is the caller's there too."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    except BaseException as error:  # some refusals are Rust's panics
        assert not isinstance(error, (KeyboardInterrupt, SystemExit))
        return None


def agrees(precis, folder, changed):
    """Whether the program gave ids: then they are the reference's."""
    folder.mkdir()
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(changed), encoding="utf-8")
    (folder / "texts.jsonl").write_text("".join(json.dumps({"document": text}) + "\n" for text in TEXTS), encoding="utf-8")
    command = [str(precis), "tokenizer", "encode", str(folder), str(folder / "texts.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        assert done.returncode == 4 and "precis: error: " in done.stderr, done.stderr
        return False
    ours = [[int(word) for word in line.split()] for line in done.stdout.split("\n")[:-1]]
    assert ours == expected_ids(path)
    return True


KNOWN = ["as it is", "merges in one string", "a gap", "ids backwards", "a new one", "one of the vocabulary", "a prefix space",
         "no split", "words before merges", "normalized", "stripping both sides", "an unknown token", "truncation"]


@pytest.mark.slow
def test_each_oddity_alone(precis, plain, tmp_path):
    taken = set()
    for i, (name, change) in enumerate(ODD.items()):
        changed = json.loads(json.dumps(plain))
        change(changed)
        try:
            if agrees(precis, tmp_path / str(i), changed):
                taken.add(name)
        except AssertionError as error:
            raise AssertionError(name) from error
    assert taken.issuperset(KNOWN), set(KNOWN) - taken  # what is built is not merely refused


@pytest.mark.slow
def test_oddities_together(precis, plain, tmp_path):
    source = random.Random(3)
    for i in range(40):
        names = source.sample(sorted(ODD), source.randrange(2, 4))
        changed = json.loads(json.dumps(plain))
        try:
            for name in names:
                ODD[name](changed)
        except (KeyError, TypeError, AttributeError, ValueError):
            continue  # one has taken away what the other changes
        try:
            agrees(precis, tmp_path / str(i), changed)
        except AssertionError as error:
            raise AssertionError(names) from error
