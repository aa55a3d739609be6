"""What SmallThinker is: its file, its tokenizer, its forward pass, its sampling."""
