"""What can go wrong between here and the hub, in the user's words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from smallchat.errors import HubError, SmallchatError

_TOKEN = "Make a token in your account on the hub and set HF_TOKEN to it"
_AGAIN = "Try again later; what was fetched so far is kept"


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn every fault of the network, the hub or the disk into a `HubError` about `what`."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except SmallchatError:
        raise
    except errors.OfflineModeIsEnabled:
        cure = "Unset HF_HUB_OFFLINE, or copy the file to this machine by hand"
        raise HubError(f"{what} is not on this disk, and the offline mode of the hub is on", cure) from None
    except errors.HfHubHTTPError as error:
        raise _answered(what, error) from None
    except errors.LocalEntryNotFoundError as error:
        cause = error.__cause__
        if isinstance(cause, errors.HfHubHTTPError):
            raise _answered(what, cause) from None
        raise HubError(
            f"{what} cannot be fetched: the hub does not answer", f"Check the network. {_AGAIN}"
        ) from None
    except httpx2.ProxyError as error:
        cure = "Check HTTPS_PROXY and HTTP_PROXY"
        raise HubError(f"{what} cannot be fetched: the proxy refuses ({error})", cure) from None
    except httpx2.UnsupportedProtocol:
        cure = "Check HF_ENDPOINT: it is an address that begins with https://"
        raise HubError(f"{what} cannot be fetched: the hub's address is none of the web", cure) from None
    except httpx2.TransportError as error:
        reason = str(error) or type(error).__name__
        raise HubError(
            f"{what} cannot be fetched: the hub does not answer ({reason})", f"Check the network. {_AGAIN}"
        ) from None
    except (httpx2.HTTPError, httpx2.InvalidURL, errors.HFValidationError) as error:
        raise HubError(
            f"{what} cannot be fetched: {error}", "Check the name, HF_ENDPOINT and the proxy"
        ) from None
    except OSError as error:
        raise disk(what, error) from None


def disk(what: str, error: OSError) -> HubError:
    """The disk does not take what was fetched."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        cure = "Make room, or set HF_HOME to a folder on another disk. What was fetched so far is kept"
        return HubError(f"{what} does not fit on the disk", cure)
    reason = error.strerror or str(error) or type(error).__name__
    return HubError(
        f"{what} cannot be saved: {reason}", "Check the folder that HF_HOME names and its permissions"
    )


def _answered(what: str, error: object) -> HubError:
    """The hub answered, but not with what was asked for."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    response = getattr(error, "response", None)
    status = int(getattr(response, "status_code", 0))
    if isinstance(error, GatedRepoError):
        return HubError(f"{what} is only given to those who accepted its terms on the hub", _TOKEN)
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return HubError(f"{what} is not on the hub, or not for everyone", f"Check the name. {_TOKEN}")
    if status in {401, 403}:
        return HubError(f"{what}: the hub does not accept who asks ({status})", _TOKEN)
    if status == 429:
        after = _seconds(response)
        wait = f"Wait {after} seconds" if after else "Wait some minutes"
        return HubError(
            f"{what}: the hub is asked too often (429)", f"{wait}, then try again, or set HF_TOKEN"
        )
    return HubError(f"{what} cannot be fetched: the hub answers with error {status}", _AGAIN)


def _seconds(response: object) -> str:
    after = str(getattr(response, "headers", {}).get("Retry-After", ""))
    return after if after.isdecimal() and len(after) < 6 else ""
