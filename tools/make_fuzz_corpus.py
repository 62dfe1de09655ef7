#!/usr/bin/env python3
"""Writes the first inputs of the fuzz targets, tests/fuzz/corpus/TARGET/seed-*: small files as the libraries write them.
Inputs that once failed are kept beside them under other names."""

import collections
import gzip
import io
import json
import pathlib
import pickle
import tempfile
import zipfile

import safetensors.torch
import torch
import zstandard

ROOT = pathlib.Path(__file__).resolve().parents[1]
CORPUS = ROOT / "tests" / "fuzz" / "corpus"


def put(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name}").write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))


def tensors():
    weight = torch.arange(6, dtype=torch.float32).view(2, 3)
    return {"a": weight, "b": weight.bfloat16(), "c": torch.ones(()), "d": torch.ones(0, 3)}


def write_safetensors():
    put("safetensors", "types", safetensors.torch.save(
        {str(dtype)[6:]: torch.ones(2).to(dtype) for dtype in (
            torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
            torch.int8, torch.uint8, torch.bool)}))
    put("safetensors", "shapes", safetensors.torch.save(tensors(), {"format": "pt", "lm_head.weight": "a"}))
    put("safetensors", "empty", safetensors.torch.save({}))


def saved(value, **options):
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def write_torch_files():
    flat = torch.arange(12.0)
    states = {"tensors": tensors(), "ordered": collections.OrderedDict(tensors()),
              "parameters": {"w": torch.nn.Parameter(torch.ones(2, 2))}, "views": {"a": flat[:6], "b": flat[6:], "c": flat},
              "module": torch.nn.Linear(2, 1).state_dict(), "nested": {"model": tensors()}}
    for name, state in states.items():
        put("torch_file", f"zip-{name}", saved(state))
        put("torch_file", f"legacy-{name}", saved(state, _use_new_zipfile_serialization=False))
        with zipfile.ZipFile(io.BytesIO(saved(state))) as archive:
            put("pickle", f"state-{name}", archive.read("archive/data.pkl"))
    rewritten = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(tensors()))) as old, zipfile.ZipFile(rewritten, "w") as new:
        new.comment = b"comment"
        for name in old.namelist():
            new.writestr(name, old.read(name))
    put("torch_file", "zipfile", rewritten.getvalue())


def write_pickles():
    values = {"a": [1, -2, 300, 70000, 2**40, 2**70, 1.5, None, True, (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), (), "\u00e9"],
              "b": collections.OrderedDict(x=1)}
    values["itself"] = values
    for protocol in (2, 3, 4, 5):
        put("pickle", f"protocol-{protocol}", pickle.dumps(values, protocol=protocol))
    put("pickle", "python-2", b"\x80\x02ccollections\nOrderedDict\nq\x01](]K\x01aU\x01ae\x85Rq\x02.")
    put("pickle", "call", b"\x80\x02cm\nf\n(K\x01U\x01xtR}(K\x01K\x02us0(1K\x03Q.")


def write_texts():
    config = {"model_type": "bart", "d_model": 8, "init_std": 1e-05, "dropout": 0.1, "a": [1, -2, None, True, "\u00e9\n\\\"/"]}
    put("json", "config", json.dumps(config, indent=2))
    put("json", "escapes", r'["\u00e9\ud83d\ude00\b\f\n\r\t\"\\\/", 1E+30, -0, -0.0, 18446744073709551615, -9223372036854775808]')
    put("json", "lone", r'{"a": "\ud83d"}')
    put("json", "deep", "[" * 150 + "]" * 150)
    put("json", "index", json.dumps({"metadata": {}, "weight_map": {"a": "model-1.safetensors"}}))
    for path in (ROOT / "recipes" / "describe").glob("*.yaml"):
        put("yaml", path.stem, path.read_bytes())
    put("yaml", "styles", "a: 'x''y'\nb: \"\\u00e9\\n\"\nc: |\n  one\n  two\nd: >-\n  folded\n  text\ne: [1, 1e-4, true, ~, {f: g}]\n"
                          "# comment\nh:\n- 1\n- i: j\n")
    rows = ('{"document": "an the", "summary": "on"}\n\n{"article": "x", "highlights": "y", "id": 7}\r\n'
            '{"document": "\u2028", "summaries": ["a", "b"], "query": "q", "id": "z"}\n[]\n{"document": "\\ud83d", "s": "x"}')
    for flags in (0, 1, 2, 0x12, 0x32, 4, 8, 0xF7):
        put("rows", f"flags-{flags:02x}", bytes([flags]) + rows.encode())
    put("rows", "invalid", b"\x32\xef\xbb\xbf" + rows.encode() + b"\n\xff\xc3\n")


def write_compressed():
    text = b"an the of " * 40 + bytes(range(256))
    put("gzip", "plain", gzip.compress(text, mtime=0))
    put("gzip", "stored", gzip.compress(text, 0, mtime=0))
    put("gzip", "members", gzip.compress(text, mtime=0) + gzip.compress(b"more", mtime=0) + bytes(40))
    named = io.BytesIO()
    with gzip.GzipFile("name.txt", "wb", fileobj=named, mtime=0) as file:
        file.write(text)
    put("gzip", "named", named.getvalue())
    put("gzip", "zeros", gzip.compress(bytes(200000), mtime=0))
    for level in (1, 19):
        put("zstd", f"level-{level}", zstandard.ZstdCompressor(level, write_checksum=True).compress(text))
    put("zstd", "frames", zstandard.compress(text) + b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip" + zstandard.compress(b"more"))
    stream = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(stream, closefd=False) as writer:
        writer.write(text)
    put("zstd", "stream", stream.getvalue())
    put("zstd", "zeros", zstandard.compress(bytes(200000)))


def write_tokenizers():
    from transformers import BartTokenizerFast
    kept = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = [chr(b) for b in kept] + [chr(256 + n) for n in range(256 - len(kept))]
    merges = ["t h", "th e", "\u0120 the", "a n"]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *alphabet, *(merge.replace(" ", "") for merge in merges), "<mask>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    text = " the an\u00e9\U0001F600\n  12345 don't <mask> \u3000x</s>"

    def joined(text, *files):
        put_text = text.encode("utf-8")
        return b"\xff".join([put_text, *files])

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        BartTokenizerFast(vocab=vocab, merges=[tuple(merge.split()) for merge in merges]).save_pretrained(folder)
        whole = (folder / "tokenizer.json").read_bytes()
        config = (folder / "tokenizer_config.json").read_bytes()
    compact = json.dumps(json.loads(whole), ensure_ascii=False).encode("utf-8")
    vocab_bytes = json.dumps(vocab, ensure_ascii=False).encode("utf-8")
    merges_bytes = ("#version: 0.2\n" + "\n".join(merges) + "\n").encode("utf-8")
    put("tokenizer", "one-file", joined(text, compact, b"", b"", b"", b"", config))
    put("tokenizer", "two-files", joined(text, b"", vocab_bytes, merges_bytes))
    put("tokenizer", "small-files", joined(text, b"", vocab_bytes, merges_bytes, b'{"mask_token": {"content": "<mask>", '
        b'"lstrip": true, "rstrip": false, "normalized": false, "single_word": true}}', b'{"<new>": 265}',
        b'{"add_prefix_space": true}'))
    tiny = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "t": 4, "h": 5, "th": 6, "<mask>": 7}
    put("tokenizer", "tiny", joined("thth t", b"", json.dumps(tiny).encode(), b"t h\n"))
    put("tokenizer", "pattern", joined("'s 've\t\u00a0 \u0661\u0662 A\u0301", compact))


def main():
    for old in CORPUS.glob("*/seed-*"):
        old.unlink()
    write_safetensors()
    write_torch_files()
    write_pickles()
    write_texts()
    write_compressed()
    write_tokenizers()
    for folder in sorted(CORPUS.iterdir()):
        files = list(folder.iterdir())
        print(f"{folder.name}: {len(files)} files, {sum(file.stat().st_size for file in files)} bytes")


if __name__ == "__main__":
    main()
