"""The tasks of `precis bench` in transformers and PyTorch. Training is in cached_peer.py: transformers has none for a
document of several windows."""

import torch
import transformers
from transformers import BartForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from common import arguments, decode_figure, figure, made_up_ids, repeated, report

ENCODER_WINDOWS = 4  # an encoder call, as precis packs them


class Peer:
    def __init__(self, options):
        self.options = options
        torch.set_num_threads(options.threads)
        self.dtype = getattr(torch, options.dtype)
        self.model = BartForConditionalGeneration.from_pretrained(options.model, dtype=self.dtype).eval()
        self.config = self.model.config
        self.window = self.config.max_position_embeddings

    def windows(self, count, number=0):
        """[count, window] ids, each window BOS + piece + EOS."""
        piece = self.window - 2
        ids = made_up_ids(count * piece, self.config.vocab_size, number)
        bos, eos = self.config.bos_token_id, self.config.eos_token_id
        return torch.tensor([[bos, *ids[i * piece:(i + 1) * piece], eos] for i in range(count)])

    def encode_all(self, windows):
        encoder = self.model.get_encoder()
        return torch.cat([encoder(part).last_hidden_state for part in windows.split(ENCODER_WINDOWS)])

    def generate(self, new_tokens, **inputs):
        return self.model.generate(num_beams=self.options.num_beams, do_sample=False, length_penalty=1.0,
                                   min_new_tokens=new_tokens, max_new_tokens=new_tokens, early_stopping=False,
                                   no_repeat_ngram_size=0, forced_eos_token_id=None, forced_bos_token_id=None,
                                   **inputs)

    @torch.inference_mode()
    def encode(self):
        windows = self.windows(self.options.windows)
        seconds = repeated(self.options.repeats, lambda: self.encode_all(windows))
        return figure("encode", "tokens/s", seconds, lambda s: windows.numel() / s)

    @torch.inference_mode()
    def decode(self):
        states = BaseModelOutput(self.encode_all(self.windows(1)))
        mask = torch.ones(1, self.window, dtype=torch.long)
        return decode_figure(self.options,
                             lambda n: self.generate(n, encoder_outputs=BaseModelOutput(states.last_hidden_state),
                                                     attention_mask=mask))

    @torch.inference_mode()
    def batch(self):
        tokens = self.options.source_tokens or self.window // 2 - 2
        bos, eos = self.config.bos_token_id, self.config.eos_token_id
        ids = torch.tensor([[bos, *made_up_ids(tokens, self.config.vocab_size, d), eos]
                            for d in range(self.options.documents)])
        seconds = repeated(self.options.repeats,
                           lambda: self.generate(self.options.new_tokens, input_ids=ids,
                                                 attention_mask=torch.ones_like(ids)))
        return figure("batch", "documents/s", seconds, lambda s: self.options.documents / s)


if __name__ == "__main__":
    options = arguments()
    peer = Peer(options)
    report(f"transformers {transformers.__version__}, torch {torch.__version__}", options,
           [getattr(peer, task)() for task in options.tasks.split(",")])
