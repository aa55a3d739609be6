"""The commands: parse, call, print. What they do stands in `smallchat/commands/` and `smallchat/tui/`.

Nothing is imported here that a command may not need: `smallchat --help` is instant.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from smallchat import __version__, settings
from smallchat.commands import history as history_commands
from smallchat.commands import notes as notes_commands
from smallchat.commands import streams
from smallchat.commands.given import filled
from smallchat.errors import ExitCode, SmallchatError

EXIT_CODES = (
    "Exit codes: 0 done, 1 a fault of smallchat, 2 wrong usage, 3 the model file, 4 the memory budget, "
    "5 the context, 6 the kernels, 7 the decoder stopped, 8 saved conversations, 9 the hub or a server, "
    "10 the notes, 130 interrupted."
)


class _Commands(TyperGroup):
    """All of the commands."""

    def invoke(self, ctx: Any) -> Any:
        """Run one; Ctrl+C ends it with a word, which Typer does not say."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _interrupted()


app = typer.Typer(
    cls=_Commands,
    help="An offline chat in the terminal for SmallThinker models. Without a command: the app.",
    epilog=EXIT_CODES,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

A_MODEL = "Give a path, a name, or builtin"
Model = Annotated[
    str | None,
    typer.Option(
        *("--model", "-m"),
        metavar="PATH|NAME",
        help="Model: a path, a name, or builtin.",
        callback=filled("--model", A_MODEL),
    ),
]
Mem = Annotated[
    str | None,
    typer.Option("--mem", metavar="SIZE", help='Memory budget, as "8G" or "600M"; none: no limit.'),
]
Context = Annotated[int | None, typer.Option("--context", metavar="N", help="Tokens that the model sees.")]
Threads = Annotated[int | None, typer.Option("--threads", metavar="N", help="Processes that compute.")]
Kernels = Annotated[str | None, typer.Option("--kernels", metavar="auto|numpy|ggml", help="What multiplies.")]
Notes = Annotated[
    str | None,
    typer.Option(
        "--notes", metavar="DIR", help="Folder of notes to ask about.", callback=notes_commands.named
    ),
]
Kv = Annotated[str | None, typer.Option("--kv", metavar="f16|q8|f32", help="Type of the KV cache.")]
SparseHead = Annotated[
    bool | None,
    typer.Option("--sparse-head/--dense-head", help="Let the file's LM head predictor leave out logits."),
]
Repack = Annotated[
    bool | None,
    typer.Option("--repack/--as-in-file", help="Lay experts out anew: faster; the default but for ask."),
]
Inline = Annotated[
    bool | None, typer.Option("--inline/--full-screen", help="Line by line, without a full screen.")
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="Chat with a server of OpenAI's interface.",
        callback=filled("--endpoint", "Give the address of a server, as http://127.0.0.1:8080/v1"),
    ),
]
ModelName = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A path, a name, or builtin.", callback=filled("MODEL", A_MODEL)),
]
Out = Annotated[Path, typer.Argument(metavar="OUT.gguf", help="The file to write.")]
Kind = Annotated[str, typer.Option("--type", "-t", metavar="TYPE", help="q4_0, q8_0, f16, q4_k, …")]
TransposeDown = Annotated[
    bool, typer.Option("--transpose-down", help="Down projections transposed, for sparse use.")
]
Force = Annotated[bool, typer.Option("--force", help="Write over OUT.gguf.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


app.add_typer(notes_commands.app, name="notes")
app.add_typer(history_commands.app, name="history")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"smallchat {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def chat(
    context: typer.Context,
    model: Model = None,
    mem: Mem = None,
    context_size: Context = None,
    threads: Threads = None,
    kernels: Kernels = None,
    notes: Notes = None,
    kv: Kv = None,
    sparse_head: SparseHead = None,
    repack: Repack = None,
    endpoint: Endpoint = None,
    inline: Inline = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Version.")
    ] = False,
) -> None:
    """An offline chat in the terminal for SmallThinker models. Without a command: the app."""
    flags = {"model": model, "mem": mem, "context": context_size, "threads": threads, "kernels": kernels}
    flags |= {"kv": kv, "sparse_head": sparse_head, "repack": repack, "endpoint": endpoint}
    flags |= {"notes": notes, "inline": inline}
    context.obj = flags
    if context.invoked_subcommand is None:
        from smallchat.commands import chat

        chat.run(settings.load(flags))


@app.command()
def ask(
    context: typer.Context,
    question: Annotated[
        str | None, typer.Argument(help="What to ask; text piped in is put before it.")
    ] = None,
    model: Model = None,
    mem: Mem = None,
    context_size: Context = None,
    threads: Threads = None,
    kernels: Kernels = None,
    kv: Kv = None,
    sparse_head: SparseHead = None,
    repack: Repack = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, metavar="N", help="Longest answer.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", metavar="T", help="0: most likely.")
    ] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", metavar="N", help="Choose among N; 0: all.")] = None,
    top_p: Annotated[
        float | None, typer.Option("--top-p", metavar="P", help="… that share of probability.")
    ] = None,
    min_p: Annotated[
        float | None, typer.Option("--min-p", metavar="P", help="… at least P times the best.")
    ] = None,
    repeat_penalty: Annotated[
        float | None, typer.Option("--repeat-penalty", metavar="X", help="Over 1: avoid what was just said.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="Same seed, same answer.")] = None,
    system: Annotated[str | None, typer.Option("--system", metavar="TEXT", help="System prompt.")] = None,
    endpoint: Endpoint = None,
    as_json: Json = False,
    go_on: Annotated[
        bool, typer.Option("--continue", "-c", help="In the latest conversation, and kept there.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Continue the text as it is, no chat template.")] = False,
) -> None:
    """One answer to standard output; reads standard input."""
    from smallchat.commands import ask

    own = {"model": model, "mem": mem, "context": context_size, "threads": threads, "kernels": kernels}
    own |= {"kv": kv, "sparse_head": sparse_head, "repack": repack}
    sampling: dict[str, Any] = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "seed": seed,
    }
    sampling |= {"repeat_penalty": repeat_penalty, "system": system, "endpoint": endpoint}
    given = {name for name, value in sampling.items() if value is not None}
    chosen = settings.load(_merged(context.obj, own | sampling))
    ask.run(chosen, question, max_tokens, as_json, raw, go_on, given)


@app.command()
def info(
    model: ModelName,
    as_json: Json = False,
) -> None:
    """What a model file is."""
    from smallchat.commands import info, resolve

    info.run(resolve.model_path(model), as_json)


@app.command()
def bench(
    context: typer.Context,
    model: Model = None,
    mem: Mem = None,
    context_size: Context = None,
    threads: Threads = None,
    kernels: Kernels = None,
    kv: Kv = None,
    sparse_head: SparseHead = None,
    repack: Repack = None,
    synthetic: Annotated[
        str | None,
        typer.Option("--synthetic", metavar="4b|21b", help="Made-up weights: for speed, never for quality."),
    ] = None,
    prompt: Annotated[int, typer.Option("--prompt-tokens", min=1, metavar="N", help="Prompt to read.")] = 256,
    answer: Annotated[int, typer.Option("--gen-tokens", min=1, metavar="N", help="Tokens to decode.")] = 48,
    start_at: Annotated[int, typer.Option("--start-at", min=0, metavar="N", help="Context before that.")] = 0,
    repeat: Annotated[int, typer.Option("--repeat", min=1, metavar="N", help="Runs; the medians count.")] = 3,
    screen: Annotated[
        bool, typer.Option("--screen", help="The app itself instead: what it costs, how soon it answers.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="Seed of the random tokens.")
    ] = None,
    as_json: Json = False,
) -> None:
    """How fast a model runs here, on random tokens."""
    from smallchat.commands import bench

    own = {
        "model": model,
        "mem": mem,
        "context": context_size,
        "threads": threads,
        "kernels": kernels,
        "kv": kv,
        "sparse_head": sparse_head,
        "repack": repack,
        "seed": seed,
    }
    flags = _merged(context.obj, own)
    if synthetic and flags.get("model"):
        raise typer.BadParameter("--model and --synthetic exclude each other")
    if screen:
        from smallchat.commands.screen import command

        command.run(settings.load(flags), repeat, synthetic, as_json)
        return
    bench.run(settings.load(flags), bench.Work(prompt, answer, start_at, repeat), synthetic, as_json)


@app.command()
def plan(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="4b, 21b, or a file; it need not be here.",
            callback=filled("MODEL", "Give 4b, 21b, or a file"),
        ),
    ],
    mem: Annotated[
        list[str] | None, typer.Option("--mem", metavar="SIZE", help="A budget; may be given again.")
    ] = None,
    context_size: Context = None,
    threads: Threads = None,
    kv: Kv = None,
    as_json: Json = False,
) -> None:
    """What a memory budget gives here, before a download: an estimate."""
    from smallchat.commands import plan

    flags = _merged(context.obj, {"context": context_size, "threads": threads, "kv": kv})
    plan.run(settings.load(flags), model, mem or [], as_json)


@app.command()
def pull(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="4b, 21b, 4b:q8_0, OWNER/NAME of the hub, or an address there."),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch a model from the hub, or the rest of one."""
    from smallchat.commands import pull

    pull.run(name, as_json, yes)


@app.command()
def convert(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER",
            help="config.json, safetensors, tokenizer.json.",
            callback=filled("FOLDER", "Give the folder of a released model"),
        ),
    ],
    out: Out,
    kind: Kind = "q4_0",
    transpose_down: TransposeDown = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """A GGUF from a released folder of safetensors; stopped, it goes on."""
    from smallchat.commands import convert

    convert.convert(Path(folder), out, kind, transpose_down, force, as_json)


@app.command()
def quantize(
    model: ModelName,
    out: Out,
    kind: Kind = "q4_0",
    transpose_down: TransposeDown = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """A GGUF of another type from a GGUF; stopped, it goes on."""
    from smallchat.commands import convert

    convert.quantize(model, out, kind, transpose_down, force, as_json)


models = typer.Typer(help="Models on this disk, and how they would run here.", rich_markup_mode=None)
app.add_typer(models, name="models")


@models.callback(invoke_without_command=True)
def models_list(context: typer.Context, as_json: Json = False) -> None:
    """Models on this disk, and how they would run here."""
    if context.invoked_subcommand is None:
        from smallchat.commands import models

        models.run(as_json)


@models.command("info")
def models_info(model: ModelName, as_json: Json = False) -> None:
    """What a model file is."""
    info(model, as_json)


@models.command("verify")
def models_verify(model: ModelName, as_json: Json = False) -> None:
    """Read all of a model and look for damage."""
    from smallchat.commands import models

    models.verify(model, as_json)


@models.command("rm")
def models_rm(model: ModelName, as_json: Json = False) -> None:
    """Delete a model from this disk."""
    from smallchat.commands import models

    models.delete(model, as_json)


@app.command()
def doctor(as_json: Json = False) -> None:
    """What this machine can do, what is installed, and what is wrong."""
    from smallchat.commands import doctor

    doctor.run(as_json)


@app.command()
def paths(as_json: Json = False) -> None:
    """Where smallchat keeps its files."""
    from smallchat.commands import show_paths

    show_paths.run(as_json)


def _merged(before: dict[str, Any] | None, after: dict[str, Any]) -> dict[str, Any]:
    """Flags given before the command's name and after it; the later ones win."""
    return {**(before or {}), **{key: value for key, value in after.items() if value is not None}}


def main() -> None:
    """Entry of the `smallchat` command."""
    streams.prepare()
    try:
        try:
            app(standalone_mode=True)
        finally:
            sys.stdout.flush()
    except SmallchatError as error:
        print(f"smallchat: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _interrupted()
    except MemoryError:
        print(
            "smallchat: There is not enough memory. Use a smaller model, --context or --mem", file=sys.stderr
        )
        sys.exit(ExitCode.MEMORY)
    except Exception as error:
        print(f"smallchat: {_unexpected(error)}", file=sys.stderr)
        sys.exit(ExitCode.UNEXPECTED)


def _interrupted() -> NoReturn:
    print("smallchat: interrupted", file=sys.stderr)
    sys.exit(ExitCode.INTERRUPTED)


def _unexpected(error: Exception) -> str:
    """Keep the traceback in the log, and say where it is."""
    import traceback

    from smallchat import paths as places

    log = places.errors_log()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            traceback.print_exception(error, file=file)
        where = f"The details are in {log}"
    except OSError:
        where = "The details could not be saved"
    return f"smallchat made a mistake ({type(error).__name__}). {where}; please report it"
