"""The tasks of `precis bench` in CTranslate2; float32 or int8. It has no call for encoding alone: `encode`
is what translating to one token takes."""

import json
import pathlib
import shutil
import tempfile

import ctranslate2

from common import arguments, decode_figure, figure, made_up_ids, repeated, report

# What its converter needs in config.json of a BART that transformers 5 wrote.
CONVERTER_FLAGS = {"normalize_before": False, "normalize_embedding": True, "static_position_embeddings": False,
                   "add_bias_logits": False, "add_final_layer_norm": False}


def converted(directory, quantization):
    """The model as CTranslate2 wants it, made once beside the model."""
    out = pathlib.Path(f"{directory}.ctranslate2-{quantization}")
    if out.exists():
        return out
    with tempfile.TemporaryDirectory() as copy:
        for file in pathlib.Path(directory).iterdir():
            if file.is_file():
                shutil.copy(file, copy)
        path = pathlib.Path(copy) / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **CONVERTER_FLAGS}))
        ctranslate2.converters.TransformersConverter(copy).convert(str(out), quantization=quantization)
    return out


class Peer:
    def __init__(self, options):
        self.options = options
        self.config = json.loads((pathlib.Path(options.model) / "config.json").read_text())
        self.window = self.config["max_position_embeddings"]
        directory = converted(options.model, options.dtype)
        self.translator = ctranslate2.Translator(str(directory), device="cpu", compute_type=options.dtype,
                                                 inter_threads=1, intra_threads=options.threads)
        vocabulary = json.loads((directory / "shared_vocabulary.json").read_text())
        self.tokens = lambda ids: [vocabulary[i] for i in ids]

    def document(self, tokens, number):
        ids = made_up_ids(tokens, self.config["vocab_size"], number)
        return self.tokens([self.config["bos_token_id"], *ids, self.config["eos_token_id"]])

    def translate(self, documents, new_tokens, beams):
        self.translator.translate_batch(documents, beam_size=beams, max_input_length=0, length_penalty=1.0,
                                        min_decoding_length=new_tokens, max_decoding_length=new_tokens)

    def encode(self):
        documents = [self.document(self.window - 2, d) for d in range(self.options.windows)]

        def work():
            for i in range(0, len(documents), 4):
                self.translate(documents[i:i + 4], 1, 1)

        seconds = repeated(self.options.repeats, work)
        return figure("encode", "tokens/s", seconds, lambda s: len(documents) * self.window / s)

    def decode(self):
        document = self.document(self.window - 2, 0)
        return decode_figure(self.options, lambda n: self.translate([document], n, self.options.num_beams))

    def batch(self):
        tokens = self.options.source_tokens or self.window // 2 - 2
        documents = [self.document(tokens, d) for d in range(self.options.documents)]
        seconds = repeated(self.options.repeats,
                           lambda: self.translate(documents, self.options.new_tokens, self.options.num_beams))
        return figure("batch", "documents/s", seconds, lambda s: self.options.documents / s)


if __name__ == "__main__":
    options = arguments()
    peer = Peer(options)
    report(f"ctranslate2 {ctranslate2.__version__}", options,
           [getattr(peer, task)() for task in options.tasks.split(",")])
