"""Ranks: one process a core, in step over shared memory, each computing its share of every token.

Not threads: a token has a hundred points where work is handed over, and handing it to a thread of Python
takes longer than the work. A process that spins on a word of shared memory has it in under a microsecond.
"""
