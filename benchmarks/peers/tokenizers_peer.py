"""The task `tokenize` of `precis bench` in tokenizers, on one thread, ids alone."""

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import pathlib

import tokenizers
from transformers import BartTokenizerFast

from common import arguments, figure, repeated, report

if __name__ == "__main__":
    options = arguments()
    tokenizer = BartTokenizerFast.from_pretrained(options.model).backend_tokenizer
    text = pathlib.Path(options.text).read_text(encoding="utf-8")
    size = len(text.encode())
    seconds = repeated(options.repeats, lambda: tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids)
    report(f"tokenizers {tokenizers.__version__}", options,
           [figure("tokenize", "MB/s", seconds, lambda s: size / 1e6 / s)])
