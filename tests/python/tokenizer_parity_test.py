"""`precis tokenizer` against Hugging Face's `tokenizers`: the same ids, offsets, texts and merges.

Offsets count code points with the leading space included, so the reference runs with trim_offsets off.
"""

import itertools
import json
import random
import time

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, BartTokenizerFast

SURROGATES = range(0xD800, 0xE000)
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


@pytest.fixture(scope="module")
def bart(shared):
    """The folder of the real BART tokenizer, and the reference built from its files."""
    folder = shared / "tokenizers" / "bart"
    with open(folder / "merges.txt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    return folder, untrimmed(BartTokenizerFast(vocab=vocab, merges=merges).backend_tokenizer)


def untrimmed(tokenizer):
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@pytest.fixture
def encode(precis, run, tmp_path):
    """encode(folder, texts) -> the program's rows."""
    def call(folder, texts, *options):
        path = tmp_path / "texts.jsonl"
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps({"document": text}) + "\n" for text in texts)
        done = run([precis, "tokenizer", "encode", folder, path, "--format", "jsonl", *options])
        rows = [json.loads(line) for line in done.stdout.split("\n") if line]
        assert [row["id"] for row in rows] == [str(i + 1) for i in range(len(texts))]
        return rows

    return call


def assert_same(rows, reference, texts):
    assert len(rows) == len(texts)
    for row, expected, text in zip(rows, reference.encode_batch(texts, add_special_tokens=False), texts):
        if row["ids"] == expected.ids and row["offsets"] == [list(span) for span in expected.offsets]:
            continue
        pytest.fail(f"{text[:200]!r}\nours     {list(zip(row['ids'], row['offsets']))[:50]}\n"
                    f"expected {list(zip(expected.ids, expected.offsets))[:50]}")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["proposals", "qmsum", "squality"])
def test_every_validation_document(bart, encode, shared, read_rows, name):
    folder, reference = bart
    rows = read_rows(shared / name / "validation.jsonl.zst")
    texts = [text for row in rows for text in (row["document"], row.get("summary"), *row.get("summaries", [])) if text]
    texts = list(dict.fromkeys(texts))  # qmsum's transcripts return in several rows
    assert_same(encode(folder, texts), reference, texts)


def code_points():
    return [chr(c) for c in range(0x110000) if c not in SURROGATES]


@pytest.mark.slow
def test_every_code_point_alone(bart, precis, run, tmp_path):
    """Each is a whole document: the start and the end of the text on its two sides."""
    folder, reference = bart
    texts = code_points()
    path = tmp_path / "alone.jsonl"
    path.write_text("".join('{"document": %s}\n' % json.dumps(text) for text in texts), encoding="utf-8")
    ours = run([precis, "tokenizer", "encode", folder, path]).stdout.split("\n")
    assert ours.pop() == "" and len(ours) == len(texts)
    for text, line, expected in zip(texts, ours, reference.encode_batch(texts, add_special_tokens=False)):
        assert line == " ".join(map(str, expected.ids)), f"U+{ord(text):04X}"


# A letter, a number and a sign stand for the three kinds of a word's neighbours; two neighbours of one kind show
# whether the character belongs to it.
CONTEXTS = ["a{0}b", "1{0}2", "!{0}?", " {0}", "{0}{0}", "x {0} y", "'{0}s", "\n{0}\n"]


@pytest.mark.slow
@pytest.mark.parametrize("context", CONTEXTS)
def test_every_code_point_in_context(bart, encode, context):
    folder, reference = bart
    pieces = (context.format(c) for c in code_points())
    # Some thousand a document; the tab and the comma keep one from the next.
    texts = []
    while part := list(itertools.islice(pieces, 4096)):
        texts.append("\t,".join(part))
    assert_same(encode(folder, texts), reference, texts)


HOSTILE = [
    "", " ", "  ", "\n", "\r\n", "\t \t", "a  b", "a   b ", " \u00a0 ", "\u2028\u2029", "\u3000x\u3000", "\u200b\u200bz", "\ufeff", "x\ufeffy",
    "e\u0301a\u0308\u0323o\u0302\u0301", "\u0301", " \u0301\u0301", "1\u0301 2\u20e3", "q" + "\u0300" * 300,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308", "\u200d", "a\u200db", "\U0001f1e9\U0001f1ea",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd", "\u0645\u0631\u062d\u0628\u0627 \u0661\u0662\u0663", "abc \u202e\u05d0\u05d1\u202c def", "\u200f\u200e",
    "<s>", "</s>", "<s></s><pad><unk><mask>", "a<s>b", " <s> ", "x  <mask>  y", "<mask><mask>", "\u00a0<mask>", "\n<mask>\n", "<s", "s>", "< s>",
    "<<s>>", "</s></s", "<S>", "<mas<mask>k>", "a<mask>'s", "don't Don'T 'll'll ''s '", "it\u2019s", "can't've", "0\u00bd\u2155\u0663\u4e00",
    "\x00", "a\x00b", "\x7f\x80\x9f", "\u0085", "x\u0085y", "\x1c\x1d\x1e\x1f", "\x0b\x0c", "\ud7ff\ue000", "\ufffd", "\uffff\U0010ffff",
    "\u1680\u2000\u200a\u202f\u205f", "\u180e", "\u4e2d\u6587\u5b57\u7b26 mixed \u65e5\u672c", "\u0e01\u0e33\u0e25\u0e31\u0e07", "\u0915\u094d\u0937\u093f",
    "_a_b__c", "$100.00 5% #1", "http://x.y/z?a=b&c", "\\u0041", "\"quoted\"", "CamelCaseABC123abc", "ABC" * 50,
]


def random_texts(count, seed):
    """Strings over pools of characters that meet each other's rules, special tokens and white space among them."""
    source = random.Random(seed)
    pools = [SPECIAL + ["<", ">", "s", "/", " ", "mask"], [" ", "\t", "\n", "\r", "\u00a0", "\u3000", "\u2028", "\x85", "a", "1", "."],
             ["'", "s", "t", "re", "ve", "LL", "\u2019", " ", "d", "m"], ["\u0301", "\u200d", "\ufe0f", "e", " ", "\U0001f468", "\U0001f3fd"],
             [chr(c) for c in range(256)], ["the", " of", "ing", " a", "Q", "\u00e9", "\u00df", "0", "42", "--"]]
    for _ in range(count):
        pool = source.choice(pools)
        parts = source.choices(pool, k=source.randrange(1, 40))
        for _ in range(source.randrange(4)):
            code = source.choice([source.randrange(0x3000), source.randrange(0x110000)])
            if code not in SURROGATES:
                parts.insert(source.randrange(len(parts) + 1), chr(code))
        yield "".join(parts)


def test_hostile_texts(bart, encode):
    folder, reference = bart
    texts = HOSTILE + list(random_texts(20_000, seed=5))
    assert_same(encode(folder, texts), reference, texts)


def test_special_tokens_can_be_literal_text(bart, encode):
    """`literal` is the model without its added tokens."""
    folder, reference = bart
    plain = Tokenizer(models.BPE(**model_files(reference)))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = [text for text in HOSTILE if "<" in text] + [f"a {token} b{token}" for token in SPECIAL]
    rows = encode(folder, texts, "--special-in-text", "literal")
    assert_same(rows, untrimmed(plain), texts)
    assert not any(i in row["ids"] for row in rows for i in (0, 1, 2, 3, 50264))


def model_files(tokenizer):
    model = json.loads(tokenizer.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in model["merges"]]}


def test_special_option_adds_what_hugging_face_adds(bart, encode):
    folder, _ = bart
    vocab_and_merges = AutoTokenizer.from_pretrained(folder, config=None, tokenizer_type="bart")
    for row, text in zip(encode(folder, ["Hello world", ""], "--special"), ["Hello world", ""]):
        assert row["ids"] == vocab_and_merges(text)["input_ids"]
        assert row["offsets"][0] == [0, 0] and row["offsets"][-1] == [len(text), len(text)]


def decode(precis, run, folder, lists, *options):
    lines = "".join(json.dumps(ids) + "\n" for ids in lists)
    done = run([precis, "tokenizer", "decode", folder, "-", "--format", "jsonl", *options], input=lines)
    return [json.loads(line)["text"] for line in done.stdout.split("\n") if line]


@pytest.mark.parametrize("skip", [False, True])
def test_decoding(bart, precis, run, skip):
    """Texts that were encoded, and ids at random, whose bytes are mostly broken."""
    folder, reference = bart
    source = random.Random(6)
    lists = [e.ids for e in reference.encode_batch(HOSTILE + list(random_texts(3000, seed=7)), add_special_tokens=False)]
    lists += [[source.randrange(50265) for _ in range(source.randrange(30))] for _ in range(3000)]
    one_byte = [reference.token_to_id(c) for c in pre_tokenizers.ByteLevel.alphabet()]
    lists += [source.choices(one_byte, k=source.randrange(1, 12)) for _ in range(3000)]
    lists += [[source.choice([0, 1, 2, 3, 50264, 50118, 1437]) for _ in range(8)] for _ in range(200)]
    ours = decode(precis, run, folder, lists, *(["--skip-special"] if skip else []))
    for ids, text, expected in zip(lists, ours, reference.decode_batch(lists, skip_special_tokens=skip), strict=True):
        assert text == expected, ids


def test_text_survives_a_round_trip(bart, precis, run, encode):
    folder, _ = bart
    texts = [*HOSTILE, *random_texts(3000, seed=9)]  # no added token here takes the space beside it
    rows = encode(folder, texts)
    assert decode(precis, run, folder, [row["ids"] for row in rows]) == texts


# Texts with many ties: pairs of one count, words of one letter, repeats that overlap.
CORPUS = ["low low low lowest newer newer wider", "aaaa aaa aa a aaaaa", "abab abab baba", "The cat. The dog! The cat?", "xyzzy 1234 1234 99 99",
          "stra\u00dfe na\u00efve \u4e2d\u6587 \u4e2d\u6587 \U0001f600\U0001f600", "a b c d e f g", "tab\there\n\nnew  line", "it's they're don't it's"]


@pytest.mark.parametrize("size, corpus", [(400, "made"), (3000, "docs"), (700, "docs")])
def test_training_gives_the_merges_of_tokenizers(precis, run, encode, tmp_path, size, corpus):
    root = precis.absolute().parents[1] if corpus == "docs" else None
    texts = CORPUS * 3 if corpus == "made" else [p.read_text(encoding="utf-8") for p in sorted(root.glob("*.md"))] * 2
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"document": text}) + "\n" for text in texts), encoding="utf-8")
    run([precis, "tokenizer", "train", "--vocab-size", size, "--out", tmp_path / "tokenizer", path])

    reference = Tokenizer(models.BPE())
    reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=size - 1, special_tokens=SPECIAL[:4], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    reference.train_from_iterator(texts, trainer)
    expected, ours = model_files(reference), Tokenizer.from_file(str(tmp_path / "tokenizer" / "tokenizer.json"))
    assert model_files(ours)["merges"] == expected["merges"]
    assert len(expected["merges"]) > 50
    last = max(expected["vocab"].values()) + 1
    assert ours.get_vocab() == {**expected["vocab"], "<mask>": last}

    hostile = HOSTILE + texts + list(random_texts(500, seed=8))
    assert_same(encode(tmp_path / "tokenizer", hostile), untrimmed(ours), hostile)
    loaded = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert (loaded.bos_token_id, loaded.pad_token_id, loaded.eos_token_id, loaded.unk_token_id, loaded.mask_token_id) \
        == (0, 1, 2, 3, last)
    rows = encode(tmp_path / "tokenizer", texts[:3], "--special")
    assert [row["ids"] for row in rows] == [loaded(text)["input_ids"] for text in texts[:3]]


@pytest.mark.parametrize("name, raw, offset", [
    ("stray", b"abc\x80", 3), ("overlong", b"ab \xc0\xaf", 3), ("overlong NUL", b"\xe0\x80\x80", 0), ("surrogate", b"x\xed\xa0\x80", 1),
    ("cut", b"caf\xc3", 3), ("beyond", b"1234\xf4\x90\x80\x80", 4), ("0xFF", b"\xc3\xa9\xff", 2)])
def test_invalid_utf8_is_refused_or_replaced(bart, precis, run, tmp_path, name, raw, offset):
    folder, reference = bart
    path = tmp_path / "bad.txt"
    path.write_bytes(raw)
    done = run([precis, "tokenizer", "encode", folder, path], code=3)
    assert f"byte offset {offset}" in done.stderr and "bad.txt" in done.stderr and done.stdout == ""
    done = run([precis, "tokenizer", "encode", folder, path, "--invalid-utf8", "replace", "--format", "jsonl"])
    repaired = raw.decode("utf-8", errors="replace")
    row = json.loads(done.stdout)
    assert row["ids"] == reference.encode(repaired, add_special_tokens=False).ids
    assert row["invalid_utf8_replaced"] > 0 and "U+FFFD" in done.stderr


def test_every_pair_of_bytes_is_read_as_python_reads_it(bart, precis, run, tmp_path):
    """Stray and overlong bytes, surrogates, what is cut short: 60,480 stretches that are no UTF-8, each counted."""
    folder, reference = bart
    path = tmp_path / "bytes.txt"
    path.write_bytes(b" ".join(bytes((first, second)) for first in range(256) for second in range(256)))
    done = run([precis, "tokenizer", "encode", folder, path], code=3)
    assert f"{path}:2: invalid UTF-8; found byte 0x80 at byte offset 385" in done.stderr and done.stdout == ""
    done = run([precis, "tokenizer", "encode", folder, path, "--invalid-utf8", "replace", "--format", "jsonl"])
    repaired = path.read_bytes().decode("utf-8", errors="replace")
    row = json.loads(done.stdout)
    assert row["ids"] == reference.encode(repaired, add_special_tokens=False).ids
    assert row["invalid_utf8_replaced"] == repaired.count("\ufffd")


@pytest.mark.parametrize("text, offset", [(r"a\ud800", 14), (r"\udc00\ud800", 13), (r"\ud800A", 13), (r"ok \ud83d\ude00 \ud83d", 29)])
def test_lone_surrogates_in_json_are_refused(bart, precis, run, tmp_path, text, offset):
    folder, _ = bart
    path = tmp_path / "bad.jsonl"
    first = '{"document": "fine"}\n'
    path.write_text(first + '{"document": "%s"}\n' % text, encoding="ascii")
    done = run([precis, "tokenizer", "encode", folder, path], code=3)
    # Both documents' places: the line, and the byte in the whole file.
    assert f"bad.jsonl:2:{offset + 1 + 0}" in done.stderr or f"bad.jsonl:2:{offset + 2}" in done.stderr
    assert "lone surrogate" in done.stderr and len(done.stdout.split("\n")) == 2
    run([precis, "tokenizer", "encode", folder, path, "--invalid-utf8", "replace"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["text", "spaces", "letter", "newlines", "every character below 256", "every byte"])
def test_ten_megabytes_take_seconds(bart, precis, run, tmp_path, shared, read_rows, name):
    folder, reference = bart
    size = 10_000_000
    if name == "text":
        text = "\n".join(row["document"] for row in read_rows(shared / "proposals" / "train.jsonl.zst")[:1000])[:size]
    else:
        unit = {"spaces": " ", "letter": "a", "newlines": "\n"}.get(name, "".join(map(chr, range(256))))
        text = unit * (size // len(unit))
    path = tmp_path / "large.txt"
    path.write_bytes(text.encode("latin-1" if name == "every byte" else "utf-8"))
    started = time.monotonic()
    done = run([precis, "tokenizer", "encode", folder, path, "--invalid-utf8", "replace"], timeout=120)
    print(f"\n{name}: {path.stat().st_size / 1e6:.1f} MB in {time.monotonic() - started:.2f} s")
    if name == "text":
        assert list(map(int, done.stdout.split())) == reference.encode(text, add_special_tokens=False).ids
