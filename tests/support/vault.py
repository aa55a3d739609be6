"""A generated note folder with known answers: notes of invented facts, and questions about them.

How the questions are made: each kind of fact has sentences for the notes and questions worded apart from
them ("lent us … it goes back in" / "must … be returned to"). A fact names two things, such as a person and
a tool; the pair occurs in one fact of its kind, each of the two alone in many facts of every kind. The
question names both and asks for a third value, which it does not hold. One question in eight has a slip of
the keyboard in one of its words. One note in ten, and one question in ten, is Chinese. No three words in a
row of a question stand so in its passage (`repeats` tells, and the test holds it).
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

POOLS = {
    "person": "Clara Jonas Mirela Tobias Agnes Ravi Ingrid Pablo Selma Oskar Leonie Hassan Greta Milan "
    "Paula Yusuf Nadia Erik Fiona Dario Hanna Viktor Amelie Samir Judith Bruno Tessa Rolf Carmen "
    "Felix Irena Anton Sofia Kurt Mina Lukas Vera Emil Rosa Niklas",
    "tool": "drill ladder wheelbarrow saw tent projector sander kayak trailer generator anvil telescope "
    "canoe pump scanner tripod loom kiln sled hammock",
    "month": "January February March April May June July August September October November December",
    "room": "kitchen hallway bathroom attic cellar bedroom study pantry porch workshop nursery landing",
    "street": "Mill_Lane Harbour_Road Castle_Street Birch_Avenue Station_Road Church_Row Meadow_Close "
    "Orchard_Way Bridge_End Fountain_Square Abbey_Walk Quarry_Hill",
    "colour": "ochre teal maroon ivory indigo olive scarlet beige turquoise lavender",
    "event": "wedding reunion bazaar marathon christening carnival exhibition regatta graduation jubilee "
    "picnic concert",
    "food": "walnuts shellfish celery gluten peanuts sesame lupins mustard strawberries eggs milk soya "
    "kiwi garlic",
    "doctor": "Weber Okafor Lindqvist Moreau Petrov Tanaka Haddad Novak Rossi Byrne",
    "book": "Middlemarch Walden Persuasion Ulysses Dracula Emma Kim Candide Hamlet Germinal Nana Faust "
    "Beowulf Frankenstein",
    "town": "Lisbon Bergen Ghent Turin Porto Malmo Graz Leeds Basel Krakow Nantes Siena Utrecht Vilnius "
    "Tartu Cork",
    "plant": "tomatoes dahlias lettuce fennel lavender roses beans radishes kale tulips hyacinths spinach "
    "leeks garlic",
    "place": "shed garage boathouse chalet greenhouse caravan archive studio chapel barn",
    "thing": "clock mirror stove barrel wardrobe painting fern radiator bookcase curtain",
    "dish": "lasagne goulash moussaka focaccia strudel paella quiche ratatouille crumble shortbread",
    "topic": "accounts newsletter website rota archive insurance payroll library catering transport",
    "appliance": "dishwasher boiler freezer toaster lawnmower printer radio heater fridge oven",
    "company": "Nordfix Brightwell Kessler Amtec Dunmore Solara Ferrox Tallis",
    "人": "王伟 李娜 张敏 刘洋 陈静 杨帆 赵磊 黄丽 周杰 吴霞",
    "物": "电钻 梯子 帐篷 投影仪 独木舟 缝纫机 望远镜 水泵",
    "月": "一月 二月 三月 四月 五月 六月 七月 八月 九月 十月",
    "房": "厨房 走廊 浴室 阁楼 卧室 书房 车库",
    "色": "米色 深蓝 墨绿 橙色 象牙白 紫色",
    "城": "成都 杭州 西安 厦门 大连 昆明 苏州 桂林",
}
VALUES = {name: [word.replace("_", " ") for word in words.split()] for name, words in POOLS.items()}


@dataclass(frozen=True)
class Kind:
    """A kind of fact: its heading, wordings, questions, the two slots that name it and the one asked for."""

    heading: str
    wordings: tuple[str, ...]
    questions: tuple[str, ...]
    keys: tuple[str, str]
    wanted: str


KINDS = (
    Kind(
        "Borrowed",
        (
            "{person} lent us a {tool}; it goes back in {month}.",
            "A {tool} from {person}, ours until {month}.",
        ),
        (
            "By which month must the {tool} be returned to {person}?",
            "When does {person} want that {tool} again?",
        ),
        ("person", "tool"),
        "month",
    ),
    Kind(
        "Decisions",
        ("We settled on {colour} for the {room} in {street}.", "The {room} at {street} will be {colour}."),
        (
            "What did I decide about painting our {street} {room}?",
            "{street}: which colour does its {room} get?",
        ),
        ("room", "street"),
        "colour",
    ),
    Kind(
        "Money",
        (
            "{n} euros are set aside for the {event}, says {person}.",
            "{person} keeps {n} euros for the {event}.",
        ),
        (
            "How much money has {person} reserved towards a {event}?",
            "What is the {event} budget of {person}?",
        ),
        ("event", "person"),
        "n",
    ),
    Kind(
        "Health",
        (
            "{person} must not eat {food}, according to Dr {doctor}.",
            "Dr {doctor}: no more {food} for {person}.",
        ),
        (
            "Which doctor told {person} about avoiding {food}?",
            "Who found the {food} allergy that {person} has?",
        ),
        ("person", "food"),
        "doctor",
    ),
    Kind(
        "Reading",
        (
            "{person} recommends {book}, above all chapter {n}.",
            "Chapter {n} of {book} moved {person} to tears.",
        ),
        ("Which part in {book} was liked most by {person}?", "{book}: what chapter does {person} praise?"),
        ("person", "book"),
        "n",
    ),
    Kind(
        "Travel",
        (
            "The train to {town} with {person} leaves at {time}.",
            "{person} and I go to {town}, departure {time}.",
        ),
        (
            "What time are {person} and me departing towards {town}?",
            "{town} trip, {person} too: when is our train?",
        ),
        ("town", "person"),
        "time",
    ),
    Kind(
        "Beds",
        ("{person} wants the {plant} sown in {month}.", "In {month}, {plant} go into the bed of {person}."),
        ("Which month is for {plant} according to {person}?", "When does {person} start sowing {plant}?"),
        ("plant", "person"),
        "month",
    ),
    Kind(
        "Keys",
        (
            "The key of the {place} of {person} hangs behind the {thing}.",
            "{person}: {place} key, behind the {thing}.",
        ),
        (
            "Where can the {person} {place} keys be found?",
            "How do I unlock that {place} belonging to {person}?",
        ),
        ("place", "person"),
        "thing",
    ),
    Kind(
        "Oven",
        (
            "{dish} as {person} makes it: {n} minutes in the oven.",
            "Bake the {dish} of {person} for {n} minutes.",
        ),
        ("How long must {person} bake a {dish}?", "{person}: how many minutes does {dish} need?"),
        ("dish", "person"),
        "n",
    ),
    Kind(
        "Handover",
        (
            "From {month} on, {person} takes care of the {topic}.",
            "{person} takes over the {topic} in {month}.",
        ),
        (
            "When does the {topic} become the job of {person}?",
            "Since which month has {person} the {topic} to do?",
        ),
        ("topic", "person"),
        "month",
    ),
    Kind(
        "Repairs",
        (
            "{company} mended the {appliance} in {town} for {n} euros.",
            "{town}: {appliance} repaired, {company}, {n} euros.",
        ),
        (
            "What was the bill of repairing a {town} {appliance}?",
            "Cost of the mended {appliance}, {town} flat?",
        ),
        ("appliance", "town"),
        "n",
    ),
)
CHINESE = (
    Kind(
        "借来的东西",
        ("{人}借给我们{物},{月}归还。", "从{人}那里借了{物},用到{月}。"),
        ("什么时候要把{物}还给{人}?", "{物}是向{人}借的,用到几月?"),
        ("人", "物"),
        "月",
    ),
    Kind(
        "决定",
        ("{人}家的{房}决定刷成{色}。", "给{人}刷{房}:{色}。"),
        ("{房}要刷什么颜色?是{人}家的", "我们给{人}的{房}选了哪种颜色?"),
        ("人", "房"),
        "色",
    ),
    Kind(
        "旅行",
        ("和{人}去{城}的火车{time}出发。", "{城}之行,同行{人},{time}开车。"),
        ("{人}同行去{城},几点的火车?", "去{城}的那天,{人}和我们几点走?"),
        ("人", "城"),
        "time",
    ),
)
_TITLES = "Log Journal Weekly House Family Club Office Ideas Errands Plans Inbox Letters Calls Minutes Review"
TITLES = _TITLES.split()
FILLER = (
    "It rained most of the day.",
    "Nothing else was settled.",
    "Call again next week about the rest.",
    "The neighbours were friendly about the noise.",
    "Long talk afterwards, mostly about old times.",
    "I should write this up properly one day.",
    "Everyone was tired but in good spirits.",
    "Two letters came; neither was urgent.",
)
FILLER_CHINESE = ("今天下了一整天的雨。", "其他事情下周再说。", "大家都很累,但是心情不错。")


@dataclass(frozen=True)
class Question:
    """A question, the note and the line that answer it, and the answer."""

    text: str
    path: str
    line: int
    sentence: str
    answer: str
    slip: bool
    chinese: bool


def generate(root: Path, notes: int, questions: int, seed: int) -> list[Question]:
    """Write `notes` notes below `root`, and make questions about them; the same for the same seed."""
    rng = random.Random(seed)
    asked: set[tuple[str, str, str]] = set()
    possible: list[Question] = []
    for number in range(notes):
        chinese = number % 10 == 9
        path, text, facts = _note(rng, number, chinese, asked)
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline=rng.choice(("\n", "\n", "\r\n")))
        possible += facts
    wanted = questions // 10
    chosen = rng.sample([one for one in possible if one.chinese], wanted)
    chosen += rng.sample([one for one in possible if not one.chinese], questions - wanted)
    return [
        _slipped(rng, one) if number % 8 == 3 and not one.chinese else one
        for number, one in enumerate(chosen)
    ]


def _note(
    rng: random.Random, number: int, chinese: bool, asked: set[tuple[str, str, str]]
) -> tuple[str, str, list[Question]]:
    kinds = rng.sample(CHINESE if chinese else KINDS, rng.randint(2, 3) if chinese else rng.randint(2, 5))
    title = f"笔记 {number}" if chinese else f"{rng.choice(TITLES)} {rng.choice(TITLES).lower()} {number}"
    lines = (
        ["---", f"tags: [{rng.choice(TITLES).lower()}, year{rng.randint(2015, 2026)}]", "---"]
        if number % 3
        else []
    )
    lines += [f"# {title}", ""]
    path = f"{rng.choice(TITLES)}/{title}.md"
    facts: list[Question] = []
    for kind in kinds:
        lines += [f"## {kind.heading}", ""]
        for _ in range(rng.randint(1, 2)):
            fact = _fact(rng, kind, asked)
            if fact is None:
                continue
            sentence, question, answer = fact
            lines.append(rng.choice(FILLER_CHINESE if chinese else FILLER))
            lines.append(sentence)
            facts.append(Question(question, path, len(lines), sentence, answer, False, chinese))
        lines.append("")
    if number % 4 == 0:
        lines.append(
            f"See [[{rng.choice(TITLES)} {rng.choice(TITLES).lower()} {rng.randrange(number + 1)}]]."
        )
    return path, "\n".join(lines) + "\n", facts


def _fact(rng: random.Random, kind: Kind, asked: set[tuple[str, str, str]]) -> tuple[str, str, str] | None:
    slots = {name: rng.choice(values) for name, values in VALUES.items()}
    slots |= {"n": str(rng.randint(11, 990)), "time": f"{rng.randint(5, 22)}:{rng.randint(10, 59)}"}
    key = (kind.heading, slots[kind.keys[0]], slots[kind.keys[1]])
    if key in asked:
        return None
    asked.add(key)
    sentence = rng.choice(kind.wordings).format(**slots)
    question = rng.choice(kind.questions).format(**slots)
    return sentence, question, slots[kind.wanted]


def _slipped(rng: random.Random, question: Question) -> Question:
    """Two neighbouring letters change places in one of the longer words."""
    words = question.text.split(" ")
    place = rng.choice([i for i, word in enumerate(words) if len(word) >= 6 and word[:6].isalpha()] or [0])
    word = words[place]
    at = rng.randrange(1, 4)
    words[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :] if len(word) > 5 else word
    changed = " ".join(words)
    return Question(
        changed,
        question.path,
        question.line,
        question.sentence,
        question.answer,
        changed != question.text,
        False,
    )


def repeats(question: Question) -> bool:
    """Whether three words in a row of the question stand so in its sentence (Chinese: six characters)."""
    if question.chinese:
        return any(question.text[i : i + 6] in question.sentence for i in range(len(question.text) - 5))
    asked, said = (re.findall(r"\w+", text.lower()) for text in (question.text, question.sentence))
    runs = {tuple(said[i : i + 3]) for i in range(len(said) - 2)}
    return any(tuple(asked[i : i + 3]) in runs for i in range(len(asked) - 2))
