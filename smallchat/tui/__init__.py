"""The terminal app. Draws what the engine tells; computes nothing of the model."""

import os

# Textual draws no two frames within a sixtieth of a second, which a key that comes right behind a frame would
# have to wait for. It looks at this when it is imported.
os.environ.setdefault("TEXTUAL_FPS", "120")
