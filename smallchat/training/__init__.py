"""How the built-in model was made: corpus, tokenizer, training, export. Needs the extra `train`."""
