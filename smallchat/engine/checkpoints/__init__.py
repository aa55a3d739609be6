"""KV checkpoints: what the decoder has read, kept on disk in blocks of tokens, so that nothing is read twice.

A disposable cache: any file of it may go at any time, and none is believed before it was checked.
"""
