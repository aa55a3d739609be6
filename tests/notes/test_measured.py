"""What issue-sized folders ask for, measured: the right passage found, and the time that it takes.

How the notes and the questions are made is told in `tests/support/vault.py`. The seed is one that the search
was not tuned on. `pytest -s` prints the figures.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from smallchat import paths
from smallchat.notes.folder import open_folder
from smallchat.notes.index import Index
from smallchat.notes.search import search
from smallchat.notes.watch import Watch
from tests.support.vault import Question, generate, repeats
from tests.support.waiting import until

FAR_OFF = (
    "What is the capital of Mongolia?",
    "How do I fix a flat tyre on the motorway?",
    "Who painted the Mona Lisa?",
    "What is the boiling point of nitrogen?",
    "How many planets orbit the sun?",
    "What did I write about quantum computing?",
    "Which vaccine did the dog get?",
    "What is my passport number?",
    "Which wine goes with salmon?",
    "How do I reset the router?",
    "Can penguins fly?",
    "世界上最高的山是哪座?",
)
"""Questions about things that no note of the generated folder is about."""


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Question]]:
    root = tmp_path_factory.mktemp("vault")
    return open_folder(root), generate(root, notes=1200, questions=300, seed=20261124)


def test_the_right_passage_is_among_the_first_three(vault: tuple[Path, list[Question]]) -> None:
    root, questions = vault
    assert len(questions) == 300
    assert not [question.text for question in questions if repeats(question)]
    index = Index(root, paths.notes_index(root))
    report = index.sync()
    assert (report.notes, report.skipped) == (1200, {})
    right: Counter[str] = Counter()
    of: Counter[str] = Counter()
    declined = 0
    for question in questions:
        kind = "Chinese" if question.chinese else "mistyped" if question.slip else "English"
        hits = search(index, question.text, 3)
        of[kind] += 1
        right[kind] += any(
            hit.path == question.path and hit.first <= question.line <= hit.last for hit in hits
        )
        declined += not any(hit.fits for hit in hits)
    wrongly = [text for text in FAR_OFF if any(hit.fits for hit in search(index, text, 3))]
    index.close()
    print(f"\nright passage in the first 3: {right.total()} of 300", dict(right), "of", dict(of))
    told = len(FAR_OFF) - len(wrongly)
    print(f"declined: {declined} of 300 that have an answer, {told} of {len(FAR_OFF)} without")
    assert right.total() >= 285
    assert of["mistyped"] >= 25
    assert of["Chinese"] == 30
    assert declined <= 3
    assert len(wrongly) <= 2


def test_ten_thousand_notes_in_time(tmp_path: Path) -> None:
    root = open_folder(tmp_path)
    vault = root / "vault"
    vault.mkdir()
    generate(vault, notes=10_000, questions=10, seed=5)
    file = paths.notes_index(vault)
    index = Index(vault, file)
    first = index.sync()
    # Whatever was written less than two seconds before it was read is read again, to be sure.
    settled = index.sync()
    nothing = index.sync()
    watch = Watch(lambda: Index(vault, file), lambda: None)
    watch.start()
    until(lambda: watch.report)
    assert not search(index, "zeppelin")
    began = time.perf_counter()
    (vault / "Added.md").write_text("The zeppelin lands at noon.", encoding="utf-8")
    until(lambda: [hit.path for hit in search(index, "zeppelin")] == ["Added.md"])
    added = time.perf_counter() - began
    began = time.perf_counter()
    (vault / "Added.md").write_text("The hovercraft lands at noon.", encoding="utf-8")
    until(lambda: [hit.path for hit in search(index, "hovercraft")] == ["Added.md"])
    changed = time.perf_counter() - began
    watch.stop()
    began = time.perf_counter()
    search(index, "What did I decide about the greenhouse keys of Clara?")
    found = time.perf_counter() - began
    index.close()
    print(
        f"\n10,000 notes: first {first.seconds:.2f} s, no change {nothing.seconds:.2f} s, "
        f"a new note found after {added:.2f} s, a changed one after {changed:.2f} s, "
        f"search {found * 1000:.0f} ms"
    )
    assert first.changed == 10_000
    assert settled.changed == nothing.changed == 0
    assert first.seconds < 20
    assert nothing.seconds < 1
    assert added < 2
    assert changed < 2
