"""How often the built-in model quotes the right fact from the right short passage, over 100 cases.

The passages are those of the generated folder, found by the search's own index and given in the form of the
chat; the answer is greedy and counts as right where it holds the value that was asked for. The facts are not
worded like the model's training, and it is a demonstration: the figure is reported, not hidden. `pytest -s`
prints it.
"""

from __future__ import annotations

from pathlib import Path

from smallchat import paths
from smallchat.notes.index import Index
from smallchat.notes.question import given
from smallchat.notes.search import search
from tests.support.engines import opened
from tests.support.vault import generate

FLOOR = 15
"""Right answers of 100; 23 were measured with the model that is shipped."""


def test_the_built_in_model_quotes_facts(root: Path, index: Index) -> None:
    questions = [one for one in generate(root, 600, 160, seed=77) if not one.chinese and not one.slip]
    index.sync()
    right = asked = 0
    with opened(paths.builtin_model(), kernels="numpy") as engine:
        for question in questions:
            hits = search(index, question.text, 3)
            hit = next(
                (one for one in hits if one.path == question.path and one.first <= question.line <= one.last),
                None,
            )
            if hit is None or asked == 100:
                continue
            asked += 1
            text = f"{given([hit])}\n\n{question.text}"
            ids = engine.template.render([{"role": "user", "content": text}], engine.tokenizer)
            said = "".join(token.text for token in engine.generate(ids, 40, temperature=0.0, seed=0))
            right += question.answer.lower() in said.lower()
    print(f"\nthe right fact quoted: {right} of {asked}")
    assert asked == 100
    assert right >= FLOOR
