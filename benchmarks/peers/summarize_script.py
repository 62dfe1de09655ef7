"""What a Python user runs for one summary: summarize_script.py MODEL FILE NEW_TOKENS BEAMS THREADS"""

import pathlib
import sys

import torch
from transformers import BartForConditionalGeneration, BartTokenizerFast

model_directory, file, new_tokens, beams, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
tokenizer = BartTokenizerFast.from_pretrained(model_directory)
model = BartForConditionalGeneration.from_pretrained(model_directory)
inputs = tokenizer(pathlib.Path(file).read_text(), return_tensors="pt", truncation=True, max_length=1024)
with torch.inference_mode():
    ids = model.generate(**inputs, num_beams=int(beams), min_new_tokens=int(new_tokens),
                         max_new_tokens=int(new_tokens))
print(tokenizer.decode(ids[0], skip_special_tokens=True))
