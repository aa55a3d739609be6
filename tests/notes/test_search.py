"""Finding passages: what counts more, what is forgiven, and what is not found."""

from __future__ import annotations

import pytest

from smallchat.matching import fold, grams
from smallchat.notes.index import Index
from smallchat.notes.question import NOTHING, cited, fitting, given
from smallchat.notes.search import search
from smallchat.notes.words import MOST, stem, terms
from tests.notes.conftest import Write


def found(index: Index, question: str, **options: int) -> list[str]:
    index.sync()
    return [hit.path for hit in search(index, question, **options)]


def test_titles_headings_tags_and_links_count_more_than_text(write: Write, index: Index) -> None:
    write("text.md", "Some words about the harbour and other things in a row, at length.")
    write("tag.md", "---\ntags: [harbour]\n---\nSome words about other things in a row, at length.")
    write("link.md", "Some words about [[Harbour]] and other things in a row, at length.")
    write("heading.md", "## Harbour\nSome words about other things in a row, at length.")
    write("title.md", "# Harbour\nSome words about other things in a row, at length.")
    paths = found(index, "harbour")
    assert paths[0] == "title.md"
    assert set(paths[1:3]) == {"tag.md", "heading.md"}
    assert set(paths[3:]) == {"link.md", "text.md"}


@pytest.mark.parametrize(
    "question",
    [
        "What did I decide about the garden?",
        "deciding, gardens",
        "gardne decided",
        "GÄRDEN",
        '"apple tree" pruning',
        "aplpe pruned",
    ],
)
def test_other_forms_slips_accents_and_phrases(question: str, write: Write, index: Index) -> None:
    write("Garden.md", "# Garden\n\nWe decided to prune the apple tree in February.")
    write("Other.md", "# Cooking\n\nThe cake has apples, no tree is in it.")
    assert found(index, question)[0] == "Garden.md"


def test_a_phrase_is_found_as_it_stands(write: Write, index: Index) -> None:
    write("a.md", "The tree has an apple, the apple a worm in it.")
    write("b.md", "An old apple tree of the neighbours and a worm.")
    assert found(index, '"apple tree"') == ["b.md"]


def test_the_last_word_may_still_be_typed(write: Write, index: Index) -> None:
    write("a.md", "The greenhouse is cold.")
    for typed in ("gr", "green", "greenh", "the greenhou", "greenhosue", "grenhou"):
        assert found(index, typed, as_typed=True) == ["a.md"], typed
    assert found(index, "gr") == []


@pytest.mark.parametrize(
    ("text", "questions"),
    [
        ("花园的预算是三百元。苹果树在二月修剪。", ["预算", "苹果树什么时候修剪?", "二月", "园"]),
        ("リンゴの木は二月に剪定します。", ["リンゴ", "剪定はいつですか"]),
        ("사과나무는 이월에 자른다.", ["사과나무", "이월"]),
        ("ต้นแอปเปิลตัดแต่งในเดือนกุมภาพันธ์", ["แอปเปิล", "กุมภาพันธ์"]),
        ("Яблоню обрезают в феврале.", ["яблоню", "Феврале"]),
        ("شجرة التفاح تقلم في فبراير", ["التفاح"]),
        ("Μηλιά: κλάδεμα τον Φεβρουάριο", ["μηλια", "κλάδεμα"]),
        ("סִפּוּר על עץ התפוח", ["התפוח"]),
    ],
)
def test_every_script_is_found(text: str, questions: list[str], write: Write, index: Index) -> None:
    write("note.md", text)
    write("other.md", "Some other text, 别的东西, ほかのこと, другое дело.")
    for question in questions:
        assert found(index, question)[0] == "note.md", question


def test_as_many_passages_as_are_asked_for(write: Write, index: Index) -> None:
    for number in range(90):
        write(f"{number}.md", f"apple {number}")
    assert len(found(index, "apple", limit=1000)) == 90
    assert len(found(index, "apple", limit=7)) == 7


def test_one_long_note_does_not_take_every_place(write: Write, index: Index) -> None:
    write("long.md", "apple " * 40_000)
    for number in range(5):
        write(f"{number}.md", f"Of {number} things one is an apple, and the others are of other kinds.")
    write("only.md", "pear " * 40_000)
    paths = found(index, "apple", limit=80)
    assert set(paths) == {"long.md", *(f"{number}.md" for number in range(5))}
    assert len(paths) == 80
    assert len(found(index, "pear", limit=80)) == 80


def test_snippets_mark_what_was_found(write: Write, index: Index) -> None:
    write("a.md", "Word " * 200 + "then the Żółw sleeps\nnear the pond. " + "Word " * 200)
    index.sync()
    (hit, *_) = search(index, "zolw pond")
    assert [hit.snippet[start:end] for start, end in hit.marks] == ["Żółw", "pond"]
    assert "\n" not in hit.snippet
    assert len(hit.snippet) < 200


@pytest.mark.parametrize(
    "question",
    ["", "???", '"', "a AND OR NOT (", "x" * 100_000, "NEAR(a b)", "\0", "* ^ -", "'; DROP TABLE notes"],
)
def test_no_question_breaks_the_index(question: str, write: Write, index: Index) -> None:
    write("a.md", "and or not near a b")
    index.sync()
    search(index, question)
    search(index, question, as_typed=True)
    assert len(terms("word " * 9 + " ".join(map(str, range(900))))) <= MOST


def test_when_nothing_fits_it_is_said(write: Write, index: Index) -> None:
    write(
        "Garden.md", "# Garden\n\nWe decided to prune the apple tree in February, for the capital sum of ten."
    )
    index.sync()
    assert fitting(search(index, "When do we prune the apple tree?"))
    assert not fitting(search(index, "What is the capital of France and who rules it?"))
    assert not fitting(search(index, "zebra"))
    assert "notes" in NOTHING


def test_the_prompt_holds_the_passages_with_titles_and_lines(write: Write, index: Index) -> None:
    write("Garden.md", "# Garden plan\n\n## Trees\n\nThe apple tree is pruned in February.")
    index.sync()
    hits = fitting(search(index, "When is the apple tree pruned?"))
    prompt = given(hits)
    assert "[[Garden plan]], lines 3–5:" in prompt
    assert "The apple tree is pruned in February." in prompt
    assert given([]) == ""
    assert cited("It is pruned in February [[garden plan]].", "Garden plan")
    assert not cited("It is pruned in February, see Garden plan.", "Garden plan")


def test_words() -> None:
    assert [stem(word) for word in ("deciding", "decided", "decides", "decide")] == ["decid"] * 4
    assert stem("planning") == "plan"
    assert stem("bus") == "bus"
    assert fold("Ünï") == "uni"
    assert len(fold("ﬁß漢字İ")) == len("ﬁß漢字İ")
    assert grams("漢字a仮") == "g06f2205b57 g05b57 g04eee"
