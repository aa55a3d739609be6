"""Fetching, against a real server that does what real networks do."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smallchat.errors import ExitCode, HubError
from smallchat.hub import catalog, fetch
from smallchat.hub.installed import hub_cache
from smallchat.hub.known import parse
from tests.support import hub as support
from tests.support.hub import COMMIT, Hub, serving
from tests.support.models import Recipe, model

OFFICIAL = "Tiiny/SmallThinker-4BA0.6B-Instruct-GGUF"
OLD_NAME = "PowerInfer/SmallThinker-4BA0.6B-Instruct-GGUF"
FILE = "SmallThinker-4B-A0.6B-Instruct.Q4_0.gguf"
CONTENT = hashlib.shake_256(b"weights").digest((3 << 20) + 12345)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has the official file, as the client of this process and of its children sees it."""
    import huggingface_hub.constants as constants

    with serving() as running:
        running.add(OFFICIAL, FILE, CONTENT)
        running.add(OFFICIAL, "README.md", b"text")
        running.add(OFFICIAL, FILE.replace("Q4_0", "Q4_0.powerinfer"), b"transposed")
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, running.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield running


def quiet(stage: str, done: int, total: int) -> None:
    assert 0 <= done <= total


def offer(name: str = "4b") -> catalog.Offer:
    reference = parse(name)
    assert reference is not None
    return catalog.ask(reference)


def pull(name: str = "4b", progress: Callable[[str, int, int], None] = quiet) -> Path:
    return fetch.fetch(offer(name), progress)


def command(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "smallchat", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        **options,  # type: ignore[call-overload]
    )


def blobs() -> list[str]:
    return sorted(path.name for path in hub_cache().glob("models--*/blobs/*"))


def test_a_model_is_fetched_into_the_hubs_own_cache_and_found_there_afterwards(hub: Hub) -> None:
    path = pull()
    assert path.read_bytes() == CONTENT
    assert path.name == FILE
    assert COMMIT in path.parts
    assert path.is_relative_to(hub_cache())
    import huggingface_hub

    # Any other program finds it without a network, under the branch's name.
    found = huggingface_hub.try_to_load_from_cache(OFFICIAL, FILE, cache_dir=hub_cache(), revision="main")
    assert found == str(path)
    before = len(hub.downloads())
    assert pull() == path
    assert len(hub.downloads()) == before


def test_the_renamed_organisation_is_found_under_its_old_name_too(hub: Hub) -> None:
    hub.files[OLD_NAME] = hub.files.pop(OFFICIAL)
    assert offer().repository == OLD_NAME
    hub.files[OFFICIAL] = hub.files.pop(OLD_NAME)
    hub.renamed[OLD_NAME] = OFFICIAL
    assert offer(OLD_NAME).repository == OFFICIAL
    assert pull(OLD_NAME) == pull()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("4b", FILE),
        ("4B:Q4_0", FILE),
        ("4b:powerinfer", "SmallThinker-4B-A0.6B-Instruct.Q4_0.powerinfer.gguf"),
        (OFFICIAL, FILE),
        (f"{OFFICIAL}:{FILE}", FILE),
        (f"https://huggingface.co/{OFFICIAL}", FILE),
        (f"https://huggingface.co/{OFFICIAL}/blob/main/{FILE}", FILE),
        (f"https://hf.co/{OFFICIAL}/resolve/main/{FILE}?download=true", FILE),
    ],
)
def test_names(hub: Hub, name: str, file: str) -> None:
    assert offer(name).file == file


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, len(CONTENT) - 1), min_size=1, max_size=3))
def test_a_download_goes_on_after_cuts_at_any_byte(hub: Hub, cuts: list[int]) -> None:
    shutil.rmtree(hub_cache(), ignore_errors=True)
    hub.cuts, hub.requests = list(cuts), []
    assert pull().read_bytes() == CONTENT
    # After a cut, only what was missing is asked for: no byte comes twice, but for what lay in buffers.
    ranges = [int(r.headers.get("Range", "bytes=0-")[6:-1]) for r in hub.downloads()]
    assert ranges == sorted(ranges)
    assert ranges[0] == 0


class StopError(Exception):
    pass


def test_what_was_fetched_stays_when_the_user_cancels_and_the_next_pull_asks_for_the_rest(hub: Hub) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if done > total // 2:
            raise StopError

    with pytest.raises(StopError):
        pull(progress=stop)
    (partial,) = blobs()
    assert partial.endswith(".incomplete")
    size = fetch.partial_size(offer())
    assert len(CONTENT) // 2 < size < len(CONTENT)
    assert pull().read_bytes() == CONTENT
    assert hub.downloads()[-1].headers["Range"] == f"bytes={size}-"
    assert blobs() == [hashlib.sha256(CONTENT).hexdigest()]


def test_a_server_without_ranges_begins_again_and_nothing_is_mixed(hub: Hub) -> None:
    hub.ranges = False
    hub.cuts = [2 << 20]
    assert pull().read_bytes() == CONTENT
    assert len(hub.downloads()) == 2


def test_a_partial_file_longer_than_the_model_is_thrown_away(hub: Hub) -> None:
    partial = (
        hub_cache() / f"models--{OFFICIAL.replace('/', '--')}" / "blobs" / f"{offer().sha256}.incomplete"
    )
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT + b"more")
    assert pull().read_bytes() == CONTENT


def test_damaged_bytes_never_get_the_files_name(hub: Hub) -> None:
    hub.damage = True
    with pytest.raises(HubError, match="checksum"):
        pull()
    assert blobs() == []
    assert not list(hub_cache().rglob("*.gguf"))
    hub.damage = False
    assert pull().read_bytes() == CONTENT


def test_a_damaged_partial_file_is_found_out(hub: Hub) -> None:
    hub.cuts = [1 << 20] * 20
    asked = offer()
    partial = hub_cache() / f"models--{OFFICIAL.replace('/', '--')}" / "blobs" / f"{asked.sha256}.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"\0" * 5000)
    with pytest.raises(HubError, match="checksum"):
        pull()
    assert not partial.exists()


def test_a_token_goes_to_the_hub_and_not_to_where_it_redirects(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull()
    sent = {request.server: set() for request in hub.requests}
    for request in hub.requests:
        sent[request.server].add(request.headers.get("authorization", request.headers.get("Authorization")))
    assert sent["hub"] == {"Bearer hf_secret"}
    assert sent["store"] == {None}


REFUSALS = {
    "401": (("/api/", 401, {}), "HF_TOKEN"),
    "403": (("/api/", 403, {}), "HF_TOKEN"),
    "404": (("/api/", 404, {"X-Error-Code": "RepoNotFound"}), "is not on the hub"),
    "gated": (("/api/", 403, {"X-Error-Code": "GatedRepo"}), "accepted its terms"),
    "429": (("/api/", 429, {"Retry-After": "17"}), "Wait 17 seconds"),
    "500": (("/api/", 500, {}), "error 500"),
    "503": (("/api/", 503, {}), "error 503"),
    "gone from the store": (("/" + hashlib.sha256(CONTENT).hexdigest(), 404, {}), "is not on the hub"),
    "429 from the store": (("/" + hashlib.sha256(CONTENT).hexdigest(), 429, {}), "too often"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_each_refusal_is_told_with_its_cure(hub: Hub, case: str) -> None:
    refusal, words = REFUSALS[case]
    hub.statuses = [refusal]
    with pytest.raises(HubError, match=words):
        pull()
    assert not list(hub_cache().rglob("*.gguf"))


def test_a_type_that_is_not_there_names_those_that_are(hub: Hub) -> None:
    with pytest.raises(HubError, match=r"no q8_0 file: .*Q4_0\.gguf"):
        pull("4b:q8_0")


@pytest.mark.parametrize(
    "checksum", [{"sha256": "../../evil", "size": 1, "pointerSize": 1}, {"sha256": "0" * 64}, None, "text"]
)
def test_a_hub_that_tells_nonsense_is_not_believed(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, checksum: object
) -> None:
    monkeypatch.setattr(support._Handler, "_lfs", staticmethod(lambda content: checksum))
    with pytest.raises(HubError, match=r"checksum|no hub"):
        pull()


@pytest.mark.parametrize(
    "file",
    [
        "../../../../x-Q4_0.gguf",
        "/elsewhere/x-Q4_0.gguf",
        "a\\..\\..\\x-Q4_0.gguf",
        "x\0-Q4_0.gguf",
        "\x1b]0;x-Q4_0.gguf",
        "\ud800-Q4_0.gguf",
        "n" * 5000 + "-Q4_0.gguf",
    ],
    ids=range(7),
)
def test_a_file_by_a_name_that_no_file_can_have_is_refused_before_it_is_fetched(hub: Hub, file: str) -> None:
    hub.files[OFFICIAL] = {file: CONTENT}
    with pytest.raises(HubError, match="the hub tells a name"):
        offer()


@pytest.mark.parametrize("name", ["../../../evil/x", "a\x1b[31m/x", "a/b/c", "x" * 5000, 7, "a..b/c"])
def test_a_repository_that_says_it_is_called_something_else_is_not_believed(hub: Hub, name: object) -> None:
    told = {"sha256": "0" * 64}
    siblings = [{"rfilename": FILE, "size": 1, "lfs": told}]
    hub.listing = json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode()
    with pytest.raises(HubError, match=r"the hub tells a name|a\.\.b"):
        offer()


@pytest.mark.parametrize(
    "listing",
    [
        b"[]",
        b"7",
        b'{"siblings": 7}',
        b'{"siblings": [7]}',
        b'{"siblings": [{}]}',
        b"<html>",
        b"[" * (1 << 20),
        b'{"size": ' + b"9" * 5000 + b"}",
        b" " * (catalog.MOST_BYTES + 1),
    ],
    ids=range(9),
)
def test_what_answers_and_is_no_hub_is_told_so(hub: Hub, listing: bytes) -> None:
    hub.listing = listing
    with pytest.raises(HubError, match="what answers there is no hub"):
        offer()


@pytest.mark.parametrize("address", ["huggingface.co", "file:///tmp"])
def test_an_address_of_the_hub_that_is_none_is_told_by_its_name(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    with pytest.raises(HubError, match="Check HF_ENDPOINT"):
        offer()


def test_a_hub_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as gone:
        url = gone.url
    done = command("pull", "4b", env=os.environ | {"HF_ENDPOINT": url})
    assert done.returncode == ExitCode.HUB
    assert "does not answer" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_hub_that_goes_down_in_the_middle_leaves_what_came(hub: Hub) -> None:
    hub.cuts = [1 << 20]
    hub.refuse_once = [("/" + hashlib.sha256(CONTENT).hexdigest(), 500)]
    with pytest.raises(HubError, match="error 500"):
        pull()
    hub.statuses = [("/" + hashlib.sha256(CONTENT).hexdigest(), 500, {})]
    with pytest.raises(HubError, match="error 500"):
        pull()
    hub.statuses = []
    hub.cuts = []
    assert pull().read_bytes() == CONTENT


@pytest.mark.parametrize("page", [b"", b"<html>Log in</html>"])
@pytest.mark.parametrize("length", [True, False])
def test_a_page_in_the_files_place_is_not_asked_for_for_ever(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, page: bytes, length: bool
) -> None:
    monkeypatch.setattr(fetch, "ATTEMPTS", 2)
    hub.page, hub.page_length = page, length
    with pytest.raises(HubError, match=r"what comes is not the file.*log in"):
        pull()
    assert len(hub.downloads()) <= 3


def test_a_page_in_the_files_place_leaves_what_came(hub: Hub) -> None:
    hub.cuts = [1 << 20]

    def page_after_a_cut(stage: str, done: int, total: int) -> None:
        hub.page = b"<html>Log in</html>" if done else None

    with pytest.raises(HubError, match="it has 19 bytes"):
        pull(progress=page_after_a_cut)
    assert fetch.partial_size(offer()) > 0
    hub.page = None
    assert pull().read_bytes() == CONTENT
    assert hub.downloads()[-1].headers["Range"] != "bytes=0-"


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(HubError, match=r"needs 68M of free space, and the disk of \S+ has 1M\. Make room"):
        pull()
    assert hub.downloads() == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX systems")
def test_a_disk_that_fills_up_on_the_way_keeps_what_fits_and_goes_on_later(hub: Hub) -> None:
    limit = 1 << 20
    full = command("pull", "4b", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert full.returncode == ExitCode.HUB
    assert "does not fit on the disk" in full.stderr
    assert "Traceback" not in full.stderr
    size = fetch.partial_size(offer())
    assert 0 < size <= limit
    assert pull().read_bytes() == CONTENT
    assert hub.downloads()[-1].headers["Range"] == f"bytes={size}-"


def test_the_command_shows_the_size_first_and_prints_the_path_alone(hub: Hub) -> None:
    done = command("pull", "4b")
    assert done.returncode == ExitCode.OK, done.stderr
    assert Path(done.stdout.rstrip("\n")).read_bytes() == CONTENT
    first = done.stderr.splitlines()[0]
    assert "3.0M" in first
    assert "Apache-2.0" in first
    again = json.loads(command("pull", "4b", "--json").stdout)
    assert again["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert again["path"] + "\n" == done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX systems")
def test_ctrl_c_leaves_a_partial_file_and_says_so_quietly(hub: Hub) -> None:
    hub.gate = threading.Event()
    with subprocess.Popen(
        [sys.executable, "-m", "smallchat", "pull", "4b"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        while b"Fetching" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    hub.gate.set()
    hub.gate = None
    assert process.returncode == ExitCode.INTERRUPTED
    assert b"Traceback" not in errors
    assert pull().read_bytes() == CONTENT


def test_offline_mode_is_honoured_and_what_is_here_still_answers_to_its_name(hub: Hub) -> None:
    offline = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = command("pull", "4b", env=offline)
    assert done.returncode == ExitCode.HUB
    assert "HF_HUB_OFFLINE" in done.stderr
    asked = len(hub.requests)
    missing = command("info", "4b", env=offline)
    assert missing.returncode == ExitCode.MODEL
    assert "smallchat pull 4b" in missing.stderr
    assert len(hub.requests) == asked


def test_a_fetched_model_runs_by_its_short_name_without_a_network(hub: Hub) -> None:
    hub.files[OFFICIAL][FILE] = model(Recipe()).path.read_bytes()
    assert command("pull", "4b", "-y").returncode == ExitCode.OK
    asked = len(hub.requests)
    done = command("ask", "--model", "4b", "--max-tokens", "2", "--raw", "the")
    assert done.returncode == ExitCode.OK, done.stderr
    assert len(hub.requests) == asked
    listed = json.loads(command("models", "--json").stdout)["installed"]
    assert [one["repository"] for one in listed if one["place"] == "hub cache"] == [OFFICIAL]
    verified = json.loads(command("models", "verify", "4b", "--json").stdout)
    assert verified["checksum"] == hashlib.sha256(hub.files[OFFICIAL][FILE]).hexdigest()
    gone = json.loads(command("models", "rm", "4b", "--json").stdout)
    assert gone["freed_bytes"] == len(hub.files[OFFICIAL][FILE])
    assert blobs() == []


def test_a_proxy_is_used(hub: Hub) -> None:
    # The hub's own server plays the proxy: it sees the whole address.
    done = command(
        "pull", "4b", env=os.environ | {"HF_ENDPOINT": "http://hub.invalid", "HTTP_PROXY": hub.url}
    )
    assert done.returncode == ExitCode.HUB
    assert any(
        "hub.invalid" in request.headers.get("Host", request.headers.get("host", ""))
        for request in hub.requests
    )
