"""What needs more than one message: things told and asked for later, and system prompts that are obeyed."""

from __future__ import annotations

import random
from collections.abc import Callable

from .grammar import Message, capital, casual, choose
from .loose import loosen
from .values import value
from .words import SIMPLE, invented

# What a user tells: slot of the value, ways to tell, what is answered, ways to ask later, the answer.
TOLD = (
    (
        "person",
        ("my name is <v>", "I am <v>", "I'm called <v>", "call me <v>", "hello, my name is <v>"),
        ("Nice to meet you, <v>.", "Hello, <v>."),
        (
            "what is my name?",
            "what am I called?",
            "do you remember my name?",
            "who am I?",
            "can you tell me my name?",
        ),
        "Your name is <v>.",
    ),
    (
        "place",
        ("I live in <v>", "I am from <v>", "my home is in <v>", "I moved to <v>"),
        ("<v>: I will remember that.", "So you live in <v>."),
        (
            "where do I live?",
            "where is my home?",
            "which town do I live in?",
            "do you remember where I live?",
        ),
        "You live in <v>.",
    ),
    (
        "petname",
        (
            "my dog is called <v>",
            "I have a dog named <v>",
            "the name of my dog is <v>",
            "my dog's name is <v>",
        ),
        ("<v> is a good name for a dog.", "Give <v> my regards."),
        (
            "what is my dog called?",
            "what is the name of my dog?",
            "do you remember my dog's name?",
            "how is my dog called?",
        ),
        "Your dog is called <v>.",
    ),
    (
        "petname",
        (
            "my cat is called <v>",
            "I have a cat named <v>",
            "the name of my cat is <v>",
            "my cat's name is <v>",
        ),
        ("<v> is a good name for a cat.", "Give <v> my regards."),
        (
            "what is my cat called?",
            "what is the name of my cat?",
            "do you remember my cat's name?",
            "how is my cat called?",
        ),
        "Your cat is called <v>.",
    ),
    (
        "color",
        (
            "my favourite colour is <v>",
            "I like <v> best",
            "the colour I like most is <v>",
            "I love the colour <v>",
        ),
        ("<v> is a fine colour.", "I will remember: <v>."),
        (
            "what is my favourite colour?",
            "which colour do I like best?",
            "do you remember my favourite colour?",
            "what colour do I like most?",
        ),
        "Your favourite colour is <v>.",
    ),
    (
        "food",
        ("my favourite food is <v>", "I like to eat <v>", "I love <v>", "I could eat <v> every day"),
        ("Enjoy your <v>.", "I will remember: <v>."),
        (
            "what is my favourite food?",
            "what do I like to eat?",
            "which food do I like?",
            "do you remember what I like to eat?",
        ),
        "You like <v>.",
    ),
    (
        "code",
        ("remember the code <v>", "the code is <v>", "please keep the code <v> in mind", "my code is <v>"),
        ("I will keep it in mind: <v>.", "The code is <v>, I have it."),
        (
            "what was the code?",
            "what is the code?",
            "tell me the code",
            "do you still know the code?",
            "which code did I tell you?",
        ),
        "The code is <v>.",
    ),
    (
        "date",
        ("my birthday is on <v>", "I have my birthday on <v>", "I was born on <v>", "my birthday: <v>"),
        ("I will remember that: <v>.", "Your birthday is on <v>, good."),
        (
            "when is my birthday?",
            "on which day is my birthday?",
            "do you remember my birthday?",
            "when do I have my birthday?",
        ),
        "Your birthday is on <v>.",
    ),
    (
        "n",
        ("my number is <v>", "remember the number <v>", "the number is <v>", "keep the number <v> in mind"),
        ("I will remember <v>.", "The number is <v>, good."),
        (
            "what was the number?",
            "which number did I tell you?",
            "what is my number?",
            "do you still know the number?",
        ),
        "The number is <v>.",
    ),
    (
        "author",
        (
            "my teacher is called <v>",
            "my teacher is <v>",
            "the name of my teacher is <v>",
            "I have <v> as a teacher",
        ),
        ("I will remember <v>.", "<v> is your teacher, I see."),
        (
            "who is my teacher?",
            "what is the name of my teacher?",
            "what is my teacher called?",
            "do you remember the name of my teacher?",
        ),
        "Your teacher is <v>.",
    ),
)
NOT_TOLD = ("You have not told me.", "You have not told me yet.")


def _typed(rng: random.Random, text: str) -> str:
    return casual(rng, loosen(rng, text, frames=False) if rng.random() < 0.3 else text)


Between = Callable[[random.Random], list[Message]]


def memory(rng: random.Random, between: Between, held: bool = False) -> list[Message]:
    """Something is told, perhaps something else said, and it is asked for; or it was never told."""
    told = rng.sample(TOLD, rng.choice((1, 1, 2, 3)))
    values = {one: value(rng, one[0], held) for one in told}
    messages: list[Message] = []
    for one in told:
        _, ways, replies, _, _ = one
        said = rng.choice(ways).replace("<v>", values[one])
        if rng.random() < 0.3:
            said = capital(said) + rng.choice(("", "."))
        reply = capital(rng.choice(replies).replace("<v>", values[one]))
        messages += [Message("user", said), Message("assistant", reply)]
    for _ in range(rng.choice((0, 0, 1, 2))):
        messages += between(rng)
    if not held and rng.random() < 0.15:
        other = rng.choice(
            [one for one in TOLD if one not in told and one[3][0] not in {t[3][0] for t in told}]
        )
        return [
            *messages,
            Message("user", _typed(rng, rng.choice(other[3][:-1]))),
            Message("assistant", rng.choice(NOT_TOLD)),
        ]
    one = rng.choice(told)
    asked = choose(rng, one[3], held)
    answer = one[4].replace("<v>", values[one])
    messages += [
        Message("user", capital(asked) if held else _typed(rng, asked)),
        Message("assistant", answer),
    ]
    return messages


def not_told(rng: random.Random) -> list[Message]:
    """Asked for something that was never told."""
    return [
        Message("user", _typed(rng, rng.choice(rng.choice(TOLD)[3][:-1]))),
        Message("assistant", rng.choice(NOT_TOLD)),
    ]


AGAIN = (
    (
        (
            "say that again",
            "repeat that",
            "once more, please",
            "what did you say?",
            "can you repeat that?",
            "please repeat your answer",
        ),
        lambda q, a: a,
    ),
    (
        (
            "in capitals, please",
            "say that in capital letters",
            "the same in upper case",
            "can you shout that?",
            "now in upper case",
        ),
        lambda q, a: a.upper(),
    ),
    (
        (
            "what did I ask?",
            "what was my question?",
            "what did I just say?",
            "repeat my question",
            "what have I just asked you?",
        ),
        lambda q, a: f'You said: "{q}"',
    ),
)


def again(rng: random.Random, between: Between, held: bool = False) -> list[Message]:
    """An answer or a question is asked for once more."""
    messages = between(rng)
    asks, made = rng.choice(AGAIN)
    said = made(messages[-2].text, messages[-1].text)
    return [*messages, Message("user", _typed(rng, choose(rng, asks, held))), Message("assistant", said)]


Change = Callable[[str], str]


def _sound(rng: random.Random) -> str:
    return rng.choice(
        (
            "Meow",
            "Beep",
            "Arr",
            "Well",
            "Hooray",
            "Indeed",
            "Quack",
            "Amen",
            "Ahoy",
            "Listen",
            "Hm",
            "My friend",
            capital(rng.choice(SIMPLE)),
            invented(rng),
        )
    )


def rule(rng: random.Random, held: bool = False) -> tuple[str, Change]:
    """A system prompt and what it makes of an answer."""
    kind = rng.randrange(7)
    sound = _sound(rng)
    name = value(rng, "person", held)
    if kind == 0:
        asks: tuple[str, ...] = (
            "Answer in capital letters.",
            "Write everything in upper case.",
            "Use only capital letters.",
            "You always shout: write in capitals.",
            "Please write all answers in capital letters.",
        )
        return choose(rng, asks, held), str.upper
    if kind == 1:
        asks = (
            f"End every answer with {sound}.",
            f'Finish each answer with "{sound}".',
            f"Say {sound} at the end of every answer.",
            f"The last word of each answer is {sound}.",
        )
        return choose(rng, asks, held), lambda text: f"{text} {sound}."
    if kind == 2:
        asks = (
            f"Begin every answer with {sound}.",
            f'Start each answer with "{sound}".',
            f"Say {sound} before every answer.",
            f"The first word of each answer is {sound}.",
        )
        return choose(rng, asks, held), lambda text: f"{sound}! {text}"
    if kind == 3:
        asks = (
            f"The user is called {name}. Use the name.",
            f"Call the user {name}.",
            f"You talk with {name}; say the name in each answer.",
            f"Address the user as {name}.",
        )
        return choose(rng, asks, held), lambda text: f"{name}: {text}"
    if kind == 4:
        asks = (
            "You are a pirate.",
            "Talk like a pirate.",
            "Answer as a pirate would.",
            "You are an old pirate captain.",
            "Be a pirate.",
        )
        return choose(rng, asks, held), lambda text: f"Arr! {text}"
    if kind == 5:
        asks = (
            "You are a robot.",
            "Talk like a robot.",
            "Answer as a robot would.",
            "You are a cheerful robot.",
            "Be a robot.",
        )
        return choose(rng, asks, held), lambda text: f"Beep. {text}"
    asks = (
        "You are a butler.",
        "Be very polite.",
        "Answer as a butler would.",
        "You are a polite butler.",
        "Be an English butler.",
    )
    return choose(rng, asks, held), lambda text: f"{text} At your service."


def ruled(rng: random.Random, between: Between, held: bool = False) -> list[Message]:
    """A conversation under such a system prompt."""
    prompt, change = rule(rng, held)
    messages = [Message("system", prompt)]
    for _ in range(1 if held else rng.choice((1, 2, 3))):
        messages += [m if m.role == "user" else Message("assistant", change(m.text)) for m in between(rng)]
    return messages


def named(rng: random.Random, held: bool = False) -> list[Message]:
    """A system prompt that gives the model a name, and who it is then."""
    name = value(rng, "person", held)
    job = rng.choice(
        (
            "a gardener",
            "a librarian",
            "a teacher",
            "a cook",
            "a sailor",
            "an assistant",
            "a guide",
            "a friend",
            "a doctor",
            "a poet",
        )
    )
    with_job = rng.random() < 0.5
    prompts = (
        f"Your name is {name}.",
        f"You are called {name}.",
        f"You are {name}, {job}.",
        f"Play {name}, {job}.",
    )
    prompt = prompts[rng.choice((2, 3))] if with_job else prompts[rng.choice((0, 1))]
    if rng.random() < 0.6:
        asked = choose(
            rng,
            (
                "what is your name?",
                "what are you called?",
                "may I know your name?",
                "your name, please?",
                "how should I call you?",
            ),
            held,
        )
        answer = f"My name is {name}."
    else:
        asked = choose(
            rng,
            (
                "who are you?",
                "who am I talking to?",
                "introduce yourself",
                "tell me who you are",
                "and you are?",
            ),
            held,
        )
        answer = f"I am {name}, {job}." if with_job else f"I am {name}."
    hello = [
        Message("user", rng.choice(("hello", "Hi!", "Hello!", "good day"))),
        Message("assistant", "Hello! How can I help?"),
    ]
    start = hello if rng.random() < 0.3 else []
    return [
        Message("system", prompt),
        *start,
        Message("user", _typed(rng, asked)),
        Message("assistant", answer),
    ]
