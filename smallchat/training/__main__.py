"""`python -m smallchat.training`: show the corpus; train, export and examine the model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def _corpus(args: argparse.Namespace) -> None:
    from .corpus import conversations

    if args.show:
        for messages in conversations(args.seed, args.count):
            for m in messages:
                print(f"{m.role}: {m.text}")
            print("-" * 20)
        return
    from .tokenizer import train_tokenizer

    args.out.mkdir(parents=True, exist_ok=True)
    texts = (m.text for messages in conversations(args.seed, args.count) for m in messages)
    tokenizer = train_tokenizer(texts, args.vocab)
    tokenizer.save(str(args.out / "tokenizer.json"))
    print(f"{tokenizer.get_vocab_size()} tokens in the vocabulary")


def _train(args: argparse.Namespace) -> None:
    from tokenizers import Tokenizer

    from .model import ModelConfig
    from .train import Run, train

    vocab = Tokenizer.from_file(str(args.out / "tokenizer.json")).get_vocab_size()
    names = ("length", "minutes", "seed", "device", "workers", "start", "peak", "passages")
    given = {name: getattr(args, name) for name in names}
    train(Run(args.out, ModelConfig(vocab=vocab), tokens_a_step=args.batch, **given))


def _export(args: argparse.Namespace) -> None:
    from .export import export

    export(args.checkpoint, args.out / "tokenizer.json", args.file, quantized=not args.f32)
    print(f"{args.file}: {args.file.stat().st_size:,} bytes")


def _evaluate(args: argparse.Namespace) -> None:
    from .evaluate import examine_file

    for kind, (right, asked) in examine_file(args.file, args.wrong).items():
        print(f"{kind:38} {right:4} of {asked:4}  {right / asked:6.1%}")


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and run one of the verbs."""
    parser = argparse.ArgumentParser(prog="python -m smallchat.training", description=__doc__)
    verbs = parser.add_subparsers(required=True)

    one = verbs.add_parser(
        "corpus", help="write the tokenizer that the corpus asks for (or show conversations)"
    )
    one.add_argument("--out", type=Path, default=Path("training-run"))
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--count", type=int, default=30_000, help="conversations")
    one.add_argument("--vocab", type=int, default=4096)
    one.add_argument("--show", action="store_true", help="print the conversations instead")
    one.set_defaults(run=_corpus)

    one = verbs.add_parser("train", help="train on conversations made meanwhile")
    one.add_argument("--out", type=Path, default=Path("training-run"))
    one.add_argument("--device", default="cpu", help="cpu, or cuda")
    one.add_argument("--minutes", type=float, default=9)
    one.add_argument("--length", type=int, default=2048, help="tokens in a window")
    one.add_argument("--batch", type=int, default=65536, help="tokens in a step")
    one.add_argument("--workers", type=int, default=2, help="processes that make conversations")
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--start", type=Path, help="checkpoint to go on from")
    one.add_argument("--peak", type=float, default=1.0, help="factor on all learning rates")
    one.add_argument("--passages", type=float, default=1.0, help="how often notes come, 1: as in the corpus")
    one.set_defaults(run=_train)

    one = verbs.add_parser("export", help="write a checkpoint as GGUF")
    one.add_argument("checkpoint", type=Path)
    one.add_argument("file", type=Path)
    one.add_argument("--out", type=Path, default=Path("training-run"), help="folder of the tokenizer")
    one.add_argument("--f32", action="store_true", help="all weights float32, to compare logits")
    one.set_defaults(run=_export)

    one = verbs.add_parser("evaluate", help="exact figures of a model file on what was kept out of training")
    one.add_argument("file", type=Path)
    one.add_argument("--wrong", type=int, default=0, help="wrong answers of each kind to print")
    one.set_defaults(run=_evaluate)

    args = parser.parse_args(argv)
    args.run(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
