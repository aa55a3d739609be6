"""What a model is given of a conversation."""

from __future__ import annotations

from smallchat.chat.session import Session
from smallchat.chat.store import MEMORY, Store
from smallchat.engine.client import Message
from smallchat.tui import composing


def said(session: Session, question: str, answer: str, given: str = "") -> None:
    session.ask(question, given)
    session.begin_answer("model", {}).content = answer


def test_a_conversation_is_composed_with_all_that_goes_along() -> None:
    session = Session(Store(MEMORY), "Be brief.")
    said(session, "One?", "1")
    said(session, "", "", given="File")
    said(session, "Two?", "half", given="Notes")
    whole = composing.conversation(session, "Pinned.")
    assert [(one.role, one.content) for one in whole] == [
        ("system", "Pinned.\n\nBe brief."),
        ("user", "One?"),
        ("assistant", "1"),
        ("user", "File"),
        ("user", "Notes\n\nTwo?"),
        ("assistant", "half"),
    ]
    answer = session.turns[-1]
    assert composing.conversation(session, "Pinned.", but=answer) == whole[:-1]
    answer.trimmed = 2
    assert composing.conversation(session, "Pinned.", but=answer) == [whole[0], *whole[3:-1]]
    assert composing.before(session, "", answer) == [Message("system", "Be brief."), *whole[3:-1]]
    session.system = None
    assert composing.system(session, "") == []
    session.store.close()
