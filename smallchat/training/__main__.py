"""`python -m smallchat.training`: make the corpus; train, export, sample and examine the model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .sample import Speaker


def _corpus(args: argparse.Namespace) -> None:
    from .corpus import conversations

    if args.show:
        for messages in conversations(args.seed, args.count):
            for m in messages:
                print(f"{m.role}: {m.text}")
            print("-" * 20)
        return
    from tokenizers import Tokenizer

    from .data import drills, encoded_corpus, join, pack, save
    from .tokenizer import END_OF_TEXT, token_id, train_tokenizer

    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "tokenizer.json"
    if not path.exists():
        texts = (m.text for messages in conversations(args.seed, 20000) for m in messages)
        train_tokenizer(texts, args.vocab).save(str(path))
    tokenizer = Tokenizer.from_file(str(path))
    filler = token_id(tokenizer, END_OF_TEXT)
    windows = pack(encoded_corpus(tokenizer, args.seed, args.count, args.blocks), args.length, filler)
    if args.drills:
        copying = drills(args.seed, round(len(windows[0]) * args.drills), args.length, filler)
        windows = join(windows, copying)
    save(args.out / f"train-{args.length}.npz", windows)
    save(
        args.out / f"held-{args.length}.npz",
        pack(encoded_corpus(tokenizer, args.seed + 1, 1500, args.blocks), args.length, filler),
    )
    ids, learned = windows
    print(f"{tokenizer.get_vocab_size()} tokens in the vocabulary")
    print(
        f"{len(ids)} windows of {args.length}, {ids.size} ids: {(ids != filler).mean():.1%} filled,", end=" "
    )
    print(f"{learned.mean():.1%} to be learned")


def _train(args: argparse.Namespace) -> None:
    from .train import Run, train

    names = ("length", "minutes", "ranks", "seed", "start", "peak", "begin", "end")
    train(Run(args.out, tokens_a_step=args.batch, **{name: getattr(args, name) for name in names}))


def _export(args: argparse.Namespace) -> None:
    from .export import export

    export(args.checkpoint, args.out / "tokenizer.json", args.file, quantized=not args.f32)
    print(f"{args.file}: {args.file.stat().st_size:,} bytes")


def _speaker(args: argparse.Namespace) -> Speaker:
    from .sample import Speaker

    return Speaker(args.checkpoint or args.out / "run" / "last.pt", args.out / "tokenizer.json")


def _sample(args: argparse.Namespace) -> None:
    speaker = _speaker(args)
    print(f"step {speaker.step}, {speaker.tokens:,} tokens seen", file=sys.stderr)
    for question in args.question or (line.rstrip("\n") for line in sys.stdin):
        print(f"> {question}\n{speaker.reply(question)}")


def _evaluate(args: argparse.Namespace) -> None:
    from .evaluate import examine

    speaker = _speaker(args)
    print(f"step {speaker.step}, {speaker.tokens:,} tokens seen")
    for kind, (right, asked) in examine(speaker.reply, args.wrong).items():
        print(f"{kind:20} {right:4} of {asked:4}  {right / asked:6.1%}")


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run one of the verbs."""
    parser = argparse.ArgumentParser(prog="python -m smallchat.training", description=__doc__)
    verbs = parser.add_subparsers(required=True)

    one = verbs.add_parser("corpus", help="write tokenizer and packed windows (or show conversations)")
    one.add_argument("--out", type=Path, default=Path("training-run"))
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--count", type=int, default=100_000, help="conversations")
    one.add_argument("--length", type=int, default=512, help="tokens in a window")
    one.add_argument("--vocab", type=int, default=2048)
    one.add_argument("--blocks", type=int, default=5, help="topics in the longest conversations")
    one.add_argument(
        "--drills", type=float, default=0.0, help="windows of copying for every window of the corpus"
    )
    one.add_argument("--show", action="store_true", help="print the conversations instead")
    one.set_defaults(run=_corpus)

    one = verbs.add_parser("train", help="train on the windows")
    one.add_argument("--out", type=Path, default=Path("training-run"))
    one.add_argument("--length", type=int, default=512)
    one.add_argument("--minutes", type=float, default=75)
    one.add_argument("--batch", type=int, default=8192, help="tokens in a step")
    one.add_argument("--ranks", type=int, default=2, help="processes of one thread each")
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--start", type=Path, help="checkpoint to go on from")
    one.add_argument("--peak", type=float, default=1.0, help="factor on all learning rates")
    one.add_argument("--begin", type=float, default=0.0, help="where in the schedule to begin, 0 to 1")
    one.add_argument("--end", type=float, default=1.0, help="where in the schedule to end")
    one.set_defaults(run=_train)

    one = verbs.add_parser("export", help="write a checkpoint as GGUF")
    one.add_argument("checkpoint", type=Path)
    one.add_argument("file", type=Path)
    one.add_argument("--out", type=Path, default=Path("training-run"), help="folder of the tokenizer")
    one.add_argument("--f32", action="store_true", help="all weights float32, to compare logits")
    one.set_defaults(run=_export)

    one = verbs.add_parser("sample", help="greedy answers to questions, or to the lines of standard input")
    one.add_argument("question", nargs="*")
    one.add_argument("--out", type=Path, default=Path("training-run"))
    one.add_argument("--checkpoint", type=Path)
    one.set_defaults(run=_sample)

    one = verbs.add_parser("evaluate", help="exact figures on what was kept out of training")
    one.add_argument("--out", type=Path, default=Path("training-run"))
    one.add_argument("--checkpoint", type=Path)
    one.add_argument("--wrong", type=int, default=0, help="wrong answers of each kind to print")
    one.set_defaults(run=_evaluate)

    args = parser.parse_args(argv)
    args.run(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
