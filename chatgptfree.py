"""Talk to chatgptfree.ai, or to any WordPress site that runs the same chat plugin.

    import chatgptfree

    print(chatgptfree.complete("What is the capital of France?"))

    for text in chatgptfree.stream("Tell me a story."):
        print(text, end="", flush=True)

    bot = chatgptfree.ChatgptFree(url="https://my-own-site.example/help/")
    bot.complete([{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}], timeout=30)

The plugin is AI Power, today AI Puffer. Both of its protocols are spoken: the classic one (releases to 2.2) and the
current one (2.3 and later); the site's page tells which. At a terminal: `python chatgptfree.py --help`.

One file, made to be copied beside a script; all it needs is `requests`. Home: the project "chatgptfree", whose README.md
tells the rest. Copyright chatgptfree contributors. SPDX-License-Identifier: MIT
"""

from __future__ import annotations

import contextlib
import html
import io
import json
import os
import re
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPException
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
from requests.structures import CaseInsensitiveDict

if TYPE_CHECKING:
    import argparse
    from http.cookiejar import CookieJar

    Messages = str | Iterable[Mapping[str, Any]]
    Model = str | int | None
    Timeout = float | tuple[float, float] | None
    Cookies = Mapping[str, str] | CookieJar | None
    Options = dict[str, Any]  # of a call, as `requests` takes them
    Send = Callable[..., requests.Response]

__version__ = "1.0.0"
__all__ = [
    "BlockedError", "ChatNotFoundError", "ChatgptFree", "ChatgptFreeError", "IncompleteReplyError", "RateLimitError", "Reply",
    "complete", "demo_site", "format_prompt", "main", "stream",
]  # fmt: skip

PAGE_LIMIT = 10_000_000  # bytes of a page, or of any other body that is no stream
LINE_LIMIT = 1_000_000  # bytes of a line of an answer
ANSWER_LIMIT = 10_000_000  # bytes that an answer may send without a word of text, and characters of its text
LINGER = 0.25  # seconds that a finished answer may take to end its response

# ---------------------------------------------------------------------------------------------------- errors


class ChatgptFreeError(RuntimeError):
    """Whatever the site did wrong, in its own words.

    `partial` (str) is the text that had been yielded before, "" if none. The more precise kinds are the subclasses.

    >>> try:
    ...     raise RateLimitError("You have reached your token limit.")
    ... except ChatgptFreeError as error:
    ...     print(error, repr(error.partial))
    You have reached your token limit. ''
    """

    partial: str = ""


class ChatNotFoundError(ChatgptFreeError):
    """The page shows no chat of the plugin: the message says what is missing, and the address.

    >>> find_chats("<p>Nobody here.</p>", "https://my-own-site.example/help/")
    Traceback (most recent call last):
    chatgptfree.ChatNotFoundError: no chat, neither nonce nor post id, on https://my-own-site.example/help/
    """


class BlockedError(ChatgptFreeError):
    """A challenge that only a browser passes; the message says how to hand over a browser's cookies.

    >>> issubclass(BlockedError, ChatgptFreeError)
    True
    """


class RateLimitError(ChatgptFreeError):
    """Too much was asked: HTTP status 429, a guest's token limit, a quota of the site or of its provider.

    `retry_after` (float) is the number of seconds that the site asks to wait, None where it doesn't say.

    >>> RateLimitError("Slow down.").retry_after is None
    True
    """

    retry_after: float | None = None


class IncompleteReplyError(ChatgptFreeError):
    """The answer broke off: a cut connection, a stall, or an end without any end marker. See `partial`.

    >>> issubclass(IncompleteReplyError, ChatgptFreeError)
    True
    """


class _MaybeExpired(ChatgptFreeError):
    """A refusal ahead of any text whose words don't tell, in every language, whether the nonce is to blame."""


class _Expired(_MaybeExpired):
    """A refusal of the nonce. Neither of the two leaves this module."""


# ---------------------------------------------------------------------------------------------------- prompt


def format_prompt(messages: Messages) -> str:
    """Return the one text that is sent for `messages`, in the format of gpt4free.

    messages: a str (one user message), or an iterable of mappings with a str "role" and a "content" that is a str or a
        list of `{"type": "text", "text": …}` parts. A single message gives its content as it is.

    Raises TypeError or ValueError, which name the message and what is wrong with it.

    >>> format_prompt("Hi")
    'Hi'
    >>> print(format_prompt([{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}]))
    System: Be terse.
    User: Hi
    Assistant:
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if isinstance(messages, (Mapping, bytes)) or not isinstance(messages, Iterable):
        raise TypeError(f"messages must be a str or a list of messages, not {type(messages).__name__}")
    said = [_role_and_content(f"messages[{i}]", message) for i, message in enumerate(messages)]
    if not said:
        raise ValueError("messages is empty")
    if len(said) == 1:
        return said[0][1]
    return "\n".join([f"{role.capitalize()}: {content}" for role, content in said] + ["Assistant:"])


def _role_and_content(where: str, message: Any) -> tuple[str, str]:
    if not isinstance(message, Mapping):
        raise TypeError(f"{where} must be a mapping with 'role' and 'content', not {type(message).__name__}")
    for key in ("role", "content"):
        if key not in message:
            raise ValueError(f"{where} has no {key!r}")
    role, content = message["role"], message["content"]
    if isinstance(content, (list, tuple)):
        content = "".join(_part_text(f"{where}['content'][{i}]", part) for i, part in enumerate(content))
    for key, value in (("role", role), ("content", content)):
        if not isinstance(value, str):
            raise TypeError(f"{where}[{key!r}] must be a str, not {type(value).__name__}")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}['content'] cannot be sent as UTF-8: {error}") from None
    return role, content


def _part_text(where: str, part: Any) -> str:
    if not isinstance(part, Mapping):
        raise TypeError(f"{where} must be a mapping, not {type(part).__name__}")
    if part.get("type") != "text" or not isinstance(part.get("text"), str):
        raise ValueError(f"{where} is not a text part {{'type': 'text', 'text': …}}: its type is {part.get('type')!r}")
    return str(part["text"])


# ------------------------------------------------------------------------------------------------------ page


_CURRENT = "aipkit_cache_sse_message"
_CLASSIC = {  # by the element's class
    "wpaicg-chat-shortcode": "wpaicg_chat_shortcode_message",
    "wpaicg-chatbox": "wpaicg_chatbox_message",
}


class Chat(NamedTuple):
    """A chat box on a page: all that a client needs to ask it."""

    action: str  # of admin-ajax, for the first request
    nonce: str
    post_id: str
    bot_id: str
    name: str  # of the bot as visitors see it; classic chats have none
    ajax_url: str
    page_url: str

    @property
    def is_current(self) -> bool:
        return self.action == _CURRENT


# One pass in linear time over the tags with attributes. What a browser doesn't take for elements (comments, which can hold
# an old copy of the chat, and scripts) is matched to be passed over. Quotes count after "=" only, as in HTML; inside them
# "<" and ">" can stand raw. Each alternative matches to the end of the page where it isn't closed, so nothing is retried;
# that a tag is closed is seen afterwards, in `_attributes`.
_TAG = re.compile(
    r"""<(?: !--(?:-?>|.*?(?:--!?>|\Z))
          | (script|style|textarea)\b.*?(?:</\1|\Z)
          | [a-z][^\s<>/]*[\s/] ((?:[^<>=]*=\s*(?:"[^"]*"|'[^']*')?){0,999}[^<>=]*) )""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_ATTRIBUTE = re.compile(r"""([^<>=]*)(?:=\s*(?:"([^"]*)"|'([^']*)'|([^\s<>"']*))|\Z)""")
_PARAMS = re.compile(r"wpaicgParams\s*=\s*(?=\{)")


def find_chats(page: str, page_url: str) -> tuple[Chat, ...]:
    """Return the chats of a page in page order: all of the current protocol, or else the one classic chat that is meant.

    page (str): its HTML. page_url (str): the address that it came from, redirects followed.

    Raises ChatNotFoundError.

    >>> find_chats('<p class=wpaicg-chatbox data-nonce=c10d44dafd data-post-id=6>', "https://my-own-site.example/")[0].nonce
    'c10d44dafd'
    """
    current: dict[str, Chat] = {}
    classic: list[Chat] = []
    shown_url = _without_user(page_url)
    classic_url = _ajax_url(page_url, _classic_address(page))
    for attributes in _attributes(page):
        config = _object(html.unescape(attributes.get("data-config", "")).strip()) or {}
        bot_id, nonce = config.get("botId"), config.get("nonce")
        if isinstance(bot_id, (int, str)) and isinstance(nonce, str) and bot_id and nonce:
            name, post_id = str(config.get("headerName") or bot_id), str(config.get("postId") or 0)
            ajax_url = _ajax_url(page_url, config.get("ajaxUrl"))
            current.setdefault(str(bot_id), Chat(_CURRENT, nonce, post_id, str(bot_id), name, ajax_url, shown_url))
        for css_class in attributes.get("class", "").split():
            if css_class in _CLASSIC:
                nonce = html.unescape(attributes.get("data-nonce", "")).strip()
                # releases 1.9.16 to 2.2 misprint a widget's post id 8 as "<8"
                post_id = html.unescape(attributes.get("data-post-id", "")).strip(" <")
                bot_id = attributes.get("data-bot-id", "0")
                classic.append(Chat(_CLASSIC[css_class], nonce, post_id, bot_id, "", classic_url, shown_url))
    if current:
        return tuple(current.values())
    for action in _CLASSIC.values():  # where a page has both, the shortcode's chat is the one meant
        for chat in classic:
            if chat.action == action and chat.nonce and chat.post_id:
                return (chat,)
    if not classic:
        raise ChatNotFoundError(f"no chat, neither nonce nor post id, on {shown_url}")
    missing = [what for what, value in (("no nonce", classic[0].nonce), ("no post id", classic[0].post_id)) if not value]
    raise ChatNotFoundError(f"{' and '.join(missing)} in the chat on {shown_url}")


def _attributes(page: str) -> Iterator[dict[str, str]]:
    """Yield the attributes, still escaped, of each tag that can be a chat's."""
    for tag in _TAG.finditer(page):
        inside = tag[2]
        if inside and ("data-config" in inside or "wpaicg-chat" in inside) and page.startswith(">", tag.end()):
            attributes: dict[str, str] = {}
            for match in _ATTRIBUTE.finditer(inside):
                name = match[1].split()[-1:]  # attributes without a value can stand before it
                if name:
                    attributes.setdefault(name[0].lower(), match[2] or match[3] or match[4] or "")
            yield attributes


def _classic_address(page: str) -> Any:
    """The ajax address in the page's inline script, which alone tells of a WordPress in a subfolder."""
    start = _PARAMS.search(page)
    return _first_object(page[start.end() :]).get("ajax_url") if start else None


def _ajax_url(page_url: str, address: Any) -> str:
    """The address to ask: on the page's own scheme and host always, whatever the page says."""
    page = urlsplit(page_url)
    try:
        there = urlsplit(address if isinstance(address, str) else "")
    except ValueError:
        there = urlsplit("")
    if there.hostname not in (None, page.hostname) or not there.path:
        there = urlsplit("/wp-admin/admin-ajax.php")
    return urlunsplit((page.scheme, page.netloc, there.path, there.query, ""))


def _without_user(url: str) -> str:
    """`url` as it can be shown: without user, password and fragment."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


# ------------------------------------------------------------------------------------------------------ wire

_decode = json.JSONDecoder().raw_decode
_NETWORK_ERRORS = (OSError, HTTPException, zlib.error)  # OSError covers time-outs, TLS and all of requests' own
# the events that carry text or an error; all others pass by, whatever their JSON looks like
_TELLING = frozenset(["", "message", "thread.message.delta", "warning", "error", "assistant_error"])
_OBJECT_START = re.compile(r"^[ \t\r\ufeff]*(?=\{)", re.MULTILINE)
_BROKEN_WORD = re.compile(r'"content":\s*"(.*?)(?:"\}|\Z)', re.DOTALL)
_LIMIT = re.compile(r"quota|(?<![a-z])(?:rate|token|usage|message).?limit|too many requests", re.IGNORECASE)
_NONCE = re.compile(r"nonce|security check", re.IGNORECASE)
_CHALLENGE = re.compile(r"<title>\s*Just a moment", re.IGNORECASE)


def _object(text: str) -> dict[str, Any] | None:
    """`text` as a JSON object; None if it is anything else."""
    try:
        value, end = _decode(text)
    except (ValueError, RecursionError):
        return None
    return value if end == len(text) and isinstance(value, dict) else None


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects that begin at the start of a line: PHP's warnings can stand ahead of them."""
    end = failures = 0
    for start in _OBJECT_START.finditer(text):
        if start.end() >= end and failures < 20:  # each could cost a look at all that follows
            try:
                value, end = _decode(text, start.end())
                yield value
            except (ValueError, RecursionError):
                failures += 1


def _first_object(text: str) -> dict[str, Any]:
    return next(_objects(text), {})


def _arrivals(response: requests.Response) -> Iterator[bytes]:
    """Return an iterator over the body's bytes, each piece as soon as it is there, however the body is framed."""
    # Below urllib3's own reading: that waits for whole chunks or buffers, and loses the part of a chunk that came before a cut.
    source: Any = getattr(getattr(response, "raw", None), "_fp", None)
    if not hasattr(source, "read1"):  # not urllib3's
        return iter(response.iter_content(1))
    pieces = iter(partial(source.read1, 65536), b"")
    encoding = response.headers.get("Content-Encoding", "").lower()
    if encoding in ("br", "zstd"):
        raise ChatgptFreeError(f"the site compressed its answer by {encoding!r}, unasked")
    # others are no compression: PHP scripts say "none" to keep proxies from compressing a stream
    return _inflated(pieces) if encoding in ("gzip", "x-gzip", "deflate") else pieces


def _inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Undo gzip or deflate, which a proxy can apply unasked."""
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
    for piece in pieces:
        while piece:
            yield inflater.decompress(piece, 65536)
            piece = inflater.unconsumed_tail


def _as_requests(error: Exception) -> requests.RequestException:
    """A failure of the network as `requests` would tell it."""
    if isinstance(error, requests.RequestException):
        return error
    kind = requests.exceptions.ReadTimeout if isinstance(error, socket.timeout) else requests.exceptions.ConnectionError
    return kind(error)


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Cut bytes, in whatever pieces they come, into lines without their LF."""
    held = bytearray()
    for piece in pieces:
        whole, newline, rest = piece.rpartition(b"\n")
        if newline:
            yield from (held + whole).decode("utf-8", "replace").split("\n")
            held.clear()
        held += rest
        if len(held) > LINE_LIMIT:
            raise ChatgptFreeError(f"the site sent a line of over {LINE_LIMIT:,} bytes")
    yield held.decode("utf-8", "replace")


def _events(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yield (name, data) for each event: "" where it has no name, data as a dict where it is a JSON object.

    A `data:` line that is a whole object goes out at once. Others are held to the end of their event and tried together,
    as the standard joins them; so are lines that are no field at all: JSON in place of a stream (pretty-printed, or behind
    warnings), or the rest of a `data:` line with a raw line break in it.
    """
    name = held = ""
    unfinished = False  # there is a `data:` line in `held`
    lines = iter(lines)
    first = next(lines, "").lstrip("\ufeff")  # a byte order mark in a PHP file goes out ahead of everything
    for line in chain([first], lines, [""]):
        if line.startswith("data:"):
            data = line[5:].strip()
            payload = None if unfinished else _object(data)
            if payload is not None:
                yield name, payload
            elif unfinished or data.startswith("{"):
                held += data + "\n"
                unfinished = True
            else:
                yield name, data
        elif not line or line.startswith(("event:", "\r")):
            if held:
                objects = list(_objects(held))
                for found in objects:
                    yield name, found
                if not objects:
                    yield name, held
                held, unfinished = "", False
            name = line[6:].strip()
        elif not line.startswith((":", "id:", "retry:")):
            held += line + "\n"


def _texts(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield the pieces of text in an answer's bytes, in either protocol.

    Raises ChatgptFreeError for what the site says is wrong, IncompleteReplyError for an end without an end marker, and
    `requests`' exceptions for a break of the network, unless the answer was whole by then.
    """
    silent = 0  # bytes since the last piece of text
    spoken = finished = False
    dressed: list[str] = []  # words of an error dressed up as an answer
    noise: list[str] = []  # what made no sense since the last piece of text
    cut: requests.RequestException | None = None

    def until_cut() -> Iterator[bytes]:
        nonlocal silent, cut
        try:
            for piece in pieces:
                silent += len(piece)
                if silent > ANSWER_LIMIT:
                    raise ChatgptFreeError(f"the site sent {ANSWER_LIMIT:,} bytes without a word of an answer")
                yield piece
        except _NETWORK_ERRORS as error:
            cut = _as_requests(error)  # what came before it is still read

    for name, payload in _events(_lines(until_cut())):
        if payload == "[DONE]" or name == "done":
            finished = True
            break
        if isinstance(payload, str):
            if name == "message":  # quotes in an error's words are not escaped, and break the JSON
                dressed += _BROKEN_WORD.findall(payload)
            elif not name:
                noise.append(payload)
            continue
        if name not in _TELLING:
            continue
        choice = _choice(payload)
        text = _text(payload, choice, name)
        if name == "message" and choice and not ("id" in payload or "object" in payload):
            dressed.append(text)
        elif payload.get("status") == "success":
            finished = True
            if text and not spoken:  # releases to 1.8.84 say the whole answer again after the stream
                spoken = True
                yield text
        elif text:
            silent, spoken = 0, True
            noise.clear()
            yield text
        elif name.endswith("error") or payload.get("error") or "msg" in payload:
            raise _failure(payload, suspect=not spoken and "error" in (name, payload.get("status")))
        if choice.get("finish_reason"):
            finished = True
            if dressed:  # what follows says it once more
                break
    told = "".join(dressed) or "\n".join(noise)
    if dressed:
        raise _failure({"error": told}) from cut
    if finished and spoken:
        return
    if cut:
        raise cut
    if finished:
        raise _failure({"error": told or "the site's answer is empty"})
    if told and not spoken and not noise[-1].startswith("{"):
        raise _failure({"error": told})
    raise IncompleteReplyError("the answer broke off" + (f": {_words(told)}" if told else ""))


def _choice(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The first choice of a provider's chunk, {} where there is none."""
    choices = payload.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def _text(payload: Mapping[str, Any], choice: Mapping[str, Any], name: str) -> str:
    """The text that an event carries, "" if none."""
    delta = (choice or payload).get("delta")
    text: Any = delta
    if isinstance(delta, dict):
        text = delta.get("content")
        if isinstance(text, list):  # an assistant's parts
            text = "".join(_dig(part, "text", "value") for part in text)
    elif choice:
        text = choice.get("text")
    elif name == "warning":  # no failure: the page shows it behind the answer, whose own last words can be in it
        text = payload.get("error")
    elif payload.get("status") == "success":
        text = payload.get("data")
    return text if isinstance(text, str) else ""


def _dig(value: Any, *path: str) -> str:
    """The str at the end of a path of keys, "" where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def _words(markup: str) -> str:
    """What a person would read of it: tags and scripts stripped, unescaped, on one line, cut to a few hundred characters."""
    text = re.sub(r"(?is)<(script|style)\b.*?(?:</\1\s*>?|\Z)|</?[a-z!][^<>]*>?", " ", markup[:200_000])
    words = _one_line(html.unescape(text))
    return words if len(words) <= 300 else words[:299] + "…"


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _said(payload: Mapping[str, Any]) -> str:
    """The words in an error's JSON, "" if none."""
    said: Any = payload
    while isinstance(said, Mapping):
        said = next((said[key] for key in ("error", "msg", "message", "data") if said.get(key)), "")
    return _words(said) if isinstance(said, str) else ""


def _failure(payload: Mapping[str, Any], suspect: bool = False) -> ChatgptFreeError:
    """The error that `payload` tells of; `suspect` if an expired nonce can be behind it."""
    words = _said(payload) or "the site reported an error without words"
    error = payload.get("error")
    flags = [key for key, value in payload.items() if value]
    if _LIMIT.search(" ".join([words, _dig(error, "code"), _dig(error, "type"), *flags])):
        return RateLimitError(words)
    if suspect:
        return _Expired(words) if _NONCE.search(words) else _MaybeExpired(words)
    return ChatgptFreeError(words)


def _read(response: requests.Response) -> str:
    """The whole of a body that is no stream."""
    body = bytearray()
    with response:
        for piece in response.iter_content(8192):
            body += piece
            if len(body) > PAGE_LIMIT:
                raise ChatgptFreeError(f"{_without_user(response.url)} is over {PAGE_LIMIT:,} bytes long")
    return body.decode("utf-8", "replace")


def _refusal(response: requests.Response, text: str, suspect: bool = False) -> ChatgptFreeError:
    """The error for a response that is no answer: its status and the site's own words. `suspect`: see `_failure`."""
    status = response.status_code
    url = _without_user(response.url)
    if response.headers.get("cf-mitigated") == "challenge" or (status in (403, 503) and _CHALLENGE.search(text)):
        return BlockedError(
            f"HTTP {status}: {url} wants to see a browser first. Open it in one, then pass on that browser's cookies and its"
            " exact User-Agent: cookies={'cf_clearance': …}, headers={'User-Agent': …}"
        )
    if response.is_redirect:
        return ChatgptFreeError(f"HTTP {status}: {url} redirects to {response.headers['location']}, which was not followed")
    payload = _first_object(text)
    if not _said(payload):
        payload = {"error": text if _words(text) else response.reason}
    failure = _failure(payload)
    message = f"HTTP {status}: {failure}"
    if status == 429 or isinstance(failure, RateLimitError):
        limit = RateLimitError(message)
        limit.retry_after = _seconds(response.headers.get("Retry-After", ""))
        return limit
    code = _dig(payload, "data", "code")
    if suspect and status == 403 and (not code or code.startswith("nonce")):
        return _Expired(message)
    return ChatgptFreeError(message)


def _seconds(retry_after: str) -> float | None:
    """A Retry-After header, which is a number of seconds or a date, in seconds from now."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


# ----------------------------------------------------------------------------------------------- ChatgptFree


class Reply(str):
    """An answer: a str that a notebook shows as rendered Markdown.

    >>> Reply("**Paris**")._repr_markdown_()
    '**Paris**'
    """

    __slots__ = ()

    def _repr_markdown_(self) -> str:
        return str(self)


class ChatgptFree:
    """One site, one guest. Keeps the page's nonce and the connection between calls; threads can share it.

    url (str): any page that shows a chat of the plugin, default `ChatgptFree.url`.
    session: a `requests.Session` or what behaves like one, to ask with; it is then the caller's to close. Default: one of
        its own, which `close()` or the end of a `with` block closes.

    The other attributes are those of gpt4free's provider. The nonce is fetched with the first call, kept, and renewed when
    the site says that it has expired.

    >>> with demo_site() as url, ChatgptFree(url) as bot:
    ...     for text in bot.stream("Hello"):
    ...         print(text, end="")
    You asked: “Hello”. ...
    """

    url = "https://chatgptfree.ai"
    working = True
    default_model = "gpt-4o-mini-2024-07-18"
    models: ClassVar[list[str]] = [default_model]
    model_aliases: ClassVar[dict[str, str]] = {"gpt-4o-mini": default_model}

    def __init__(self, url: str | None = None, *, session: Any = None) -> None:
        if url is not None:
            if not isinstance(url, str):
                raise TypeError(f"url must be a str, not {type(url).__name__}")
            self.url = url
        self._owns_session = session is None
        self._session: Any = requests.Session() if session is None else session
        if session is None:
            self._session.headers["User-Agent"] = f"Mozilla/5.0 (compatible; chatgptfree/{__version__})"
        self._chats: tuple[Chat, ...] = ()
        self._session_id = ""  # made with the first page; one guest, one id: the site counts its quotas by it
        self._lock = threading.Lock()  # held while the page is fetched or a nonce renewed, so that one thread does it for all

    @property  # gpt4free's name, as is the next
    def _nonce(self) -> str | None:
        return self._chats[0].nonce if self._chats else None

    @_nonce.setter
    def _nonce(self, nonce: str | None) -> None:  # a visitor has one for all bots
        self._chats = tuple(chat._replace(nonce=nonce or "") for chat in self._chats)

    @property
    def _post_id(self) -> str | None:
        return self._chats[0].post_id if self._chats else None

    def close(self) -> None:
        """Close the connections, unless the session is the caller's.

        >>> ChatgptFree().close()
        """
        if self._owns_session:
            self._session.close()

    def __enter__(self) -> ChatgptFree:  # noqa: PYI034  # Self is not in Python 3.9
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def stream(
        self, messages: Messages, model: Model = None, proxy: str | None = None, timeout: Timeout = 120,
        cookies: Cookies = None, **kwargs: Any,
    ) -> Generator[str, None, None]:  # fmt: skip
        """Return a generator of the answer's text: each piece as the site sent it, when it sent it.

        messages: what `format_prompt` takes; checked at once, while requests are made from the first `next()` on.
        model (str or int): on a site of the current protocol a bot's name, in any case, or its number; the page's first by
            default. Classic sites decide the model themselves.
        proxy (str): the URL of a proxy for http and https. Default: what the environment says.
        timeout (float): seconds without a byte before the call fails, default 120; None waits for ever.
        cookies (dict or jar): sent to the host of `url` and to no other.
        kwargs: go to every request as `requests` takes them (`headers`, `verify`, `cert` …); `headers` go over the library's.

        Raises TypeError and ValueError for wrong arguments, ChatgptFreeError (see its kinds) for what the site does wrong,
        and `requests`' exceptions for a failure of the network ahead of any text.

        >>> with demo_site() as url:
        ...     print(*ChatgptFree(url).stream("Hello"), sep="|")
        You |asked: |“Hello”. |...
        """
        return self._generate(format_prompt(messages), model, _options(proxy, timeout, cookies, kwargs))

    def complete(
        self, messages: Messages, model: Model = None, proxy: str | None = None, timeout: Timeout = 120,
        cookies: Cookies = None, **kwargs: Any,
    ) -> Reply:  # fmt: skip
        """Wait for the whole answer and return it, as a `Reply`.

        Takes and raises what `stream` does; an error's `partial` holds the text that had come by then.

        >>> with demo_site() as url:
        ...     ChatgptFree(url).complete("Hello")
        'You asked: “Hello”. ...
        """
        return Reply("".join(self.stream(messages, model, proxy, timeout, cookies, **kwargs)))

    def list_models(
        self, proxy: str | None = None, timeout: Timeout = 120, cookies: Cookies = None, **kwargs: Any
    ) -> list[str]:
        """Return the names of the bots on the site's page in page order; on a classic page `models`.

        Takes and raises what `stream` does.

        >>> with demo_site() as url:
        ...     ChatgptFree(url).list_models()
        ['gpt-4o-mini-2024-07-18']
        """
        chats = self._find(_options(proxy, timeout, cookies, kwargs))
        return [chat.name for chat in chats if chat.is_current] or list(self.models)

    def _generate(self, prompt: str, model: Model, options: Options) -> Generator[str, None, None]:
        """Yield the answer, and have its errors carry what had been yielded."""
        said = ""
        try:
            for text in self._answer(prompt, model, options):
                said += text
                yield text
                if len(said) > ANSWER_LIMIT:
                    raise ChatgptFreeError(f"the site's answer goes on after {ANSWER_LIMIT:,} characters")
        except _MaybeExpired as error:
            raise ChatgptFreeError(str(error)) from None
        except ChatgptFreeError as error:
            error.partial = said
            raise
        except requests.RequestException as error:
            if not said:
                raise
            broken = IncompleteReplyError(f"the answer broke off: {error}")
            broken.partial = said
            raise broken from error

    def _answer(self, prompt: str, model: Model, options: Options) -> Iterator[str]:
        """Ask, and if the nonce has expired, renew it and ask once more."""
        chat = self._pick(self._find(options), model)
        try:
            yield from self._ask(chat, prompt, options)
        except _MaybeExpired as refusal:
            try:
                fresh = self._pick(self._renew(chat, options), model)
            except (ChatgptFreeError, requests.RequestException):
                raise refusal
            # In the words of other languages a nonce's refusal can't be told from others; a changed nonce tells it.
            if fresh.nonce == chat.nonce and not isinstance(refusal, _Expired):
                raise
            yield from self._ask(fresh, prompt, options)

    def _ask(self, chat: Chat, prompt: str, options: Options) -> Iterator[str]:
        ask = _ask_current if chat.is_current else _ask_classic
        with ask(chat, prompt, self._session_id, partial(self._send, options, chat)) as response:
            pieces = _arrivals(response)
            yield from _texts(pieces)
            _give_back(response, pieces)

    def _pick(self, chats: tuple[Chat, ...], model: Model) -> Chat:
        wanted = str(model or "").strip().casefold()
        for chat in chats:
            if wanted in (chat.name.casefold(), chat.bot_id):
                return chat
        first = chats[0]
        if not (wanted and first.is_current) or self.model_aliases.get(str(model), model) == self.default_model:
            return first
        offer = ", ".join(f"{chat.name} ({chat.bot_id})" for chat in chats)
        raise ValueError(f"no model {model!r} on {first.page_url}, which offers {offer}")

    def _find(self, options: Options) -> tuple[Chat, ...]:
        """The page's chats, fetched once."""
        if not self._chats:
            from uuid import uuid4  # not at import: that would take as long as the rest of this file

            with self._lock:
                if not self._chats:
                    self._session_id = self._session_id or str(uuid4())
                    self._chats = self._fetch(options)
        return self._chats

    def _renew(self, stale: Chat, options: Options) -> tuple[Chat, ...]:
        """The page's chats with another nonce than `stale` has, fetched anew unless another thread has just done so."""
        with self._lock:
            if any(chat is stale for chat in self._chats):
                nonce = self._fresh_nonce(stale, options) if stale.is_current else ""
                if nonce:
                    self._nonce = nonce
                else:
                    self._chats = self._fetch(options)
            return self._chats

    def _fresh_nonce(self, chat: Chat, options: Options) -> str:
        """A new nonce in the way of the page's own script; "" from releases before 2.3.41, which have none."""
        data = {"action": "aipkit_get_frontend_chat_nonce", "bot_id": chat.bot_id}
        try:
            response = self._send(options, chat, "post", data=data)
        except ChatgptFreeError:
            return ""
        return _dig(_first_object(_read(response)), "data", "nonce")

    def _fetch(self, options: Options) -> tuple[Chat, ...]:
        """Read the chats off the site's page."""
        url = self.url
        for _ in range(10):
            response = self._request("get", url, {"Accept": "text/html,*/*;q=0.8"}, options)
            if response.is_redirect:  # followed by hand, so that what the caller gave for this site stays here
                response.close()
                url = urljoin(url, response.headers["location"])
                continue
            page = _read(response)
            if not response.ok:
                raise _refusal(response, page)
            return find_chats(page, response.url)
        raise requests.TooManyRedirects(f"more than 10 redirects from {_without_user(self.url)}")

    def _send(self, options: Options, chat: Chat, method: str, **request: Any) -> requests.Response:
        """Make a request of a chat; raise what its status tells."""
        headers = {
            "Accept": "text/event-stream, application/json, */*;q=0.8",
            "Accept-Encoding": "identity",  # compression would hold text back
            "Origin": urljoin(chat.page_url, "/")[:-1],
            "Referer": chat.page_url,
        }
        response = self._request(method, chat.ajax_url, headers, options, **request)
        if response.status_code != 200:
            raise _refusal(response, _read(response), suspect=True)
        return response

    def _request(
        self, method: str, url: str, headers: dict[str, str], options: Options, **request: Any
    ) -> requests.Response:
        """Make a request, with what the caller gave for the site on the site's own host only, and without redirects."""
        options = dict(options)
        given = options.pop("headers", None) or {}
        merged: CaseInsensitiveDict[Any] = CaseInsensitiveDict(headers)
        here, home = _origin(url), _origin(self.url)
        if here == home or (home, here) == (("http", home[1], 80), ("https", home[1], 443)):
            merged.update(given)
        else:
            for private in ("cookies", "auth", "cert"):
                options.pop(private, None)
        send = getattr(self._session, method)
        response: requests.Response = send(url, headers=merged, stream=True, allow_redirects=False, **request, **options)
        return response


def _options(proxy: str | None, timeout: Timeout, cookies: Cookies, kwargs: Options) -> Options:
    """What goes to every request of a call, as `requests` takes it."""
    proxies = {} if proxy is None else {"proxies": {"http": proxy, "https": proxy}}
    return {**kwargs, **proxies, "timeout": timeout, "cookies": cookies}


def _ask_classic(chat: Chat, prompt: str, session_id: str, send: Send) -> requests.Response:
    return send(
        "post",
        data={
            "_wpnonce": chat.nonce,
            "post_id": chat.post_id,
            "url": chat.ajax_url.partition("/wp-admin/")[0],
            "action": chat.action,
            # the server deletes whatever looks like a tag; the page's own script escapes for that reason
            "message": html.escape(prompt) if "<" in prompt else prompt,
            "bot_id": chat.bot_id,
        },
    )


def _ask_current(chat: Chat, prompt: str, session_id: str, send: Send) -> requests.Response:
    from uuid import uuid4

    ticket = {"_ajax_nonce": chat.nonce, "bot_id": chat.bot_id}
    response = send("post", data={"action": chat.action, "message": prompt, **ticket})
    text = _read(response)
    cache_key = _dig(_first_object(text), "data", "cache_key")
    if not cache_key:
        raise _refusal(response, text)
    return send(
        "get",
        params={
            "action": "aipkit_frontend_chat_stream",
            "cache_key": cache_key,
            "session_id": session_id,
            "conversation_uuid": str(uuid4()),
            "post_id": chat.post_id,
            "_ts": int(time.time() * 1000),
            **ticket,
        },
    )


def _give_back(response: requests.Response, pieces: Iterator[bytes]) -> None:
    """Read a finished response to its end, if that comes soon: then its connection serves the next call."""
    sock = getattr(getattr(response.raw, "connection", None), "sock", None)
    if sock is None:  # the server closes this one
        return
    patience = sock.gettimeout()
    sock.settimeout(LINGER)
    until = time.monotonic() + LINGER
    try:
        for _ in pieces:
            if time.monotonic() > until:
                return
    except _NETWORK_ERRORS:
        return
    sock.settimeout(patience)
    response.raw._fp.close()  # ahead of the next line, as another thread can take the connection at once
    response.raw.release_conn()


_shared = ChatgptFree()
stream = _shared.stream
complete = _shared.complete

# -------------------------------------------------------------------------------- the demo site, the command line


@contextlib.contextmanager
def demo_site() -> Iterator[str]:
    """Run a stand-in site on the loopback and yield its URL.

    It speaks the classic protocol, checks the nonce, and streams back a short answer that quotes the prompt, a word at a
    time. For `--demo`, and to test scripts without a network.

    >>> with demo_site() as url:
    ...     ChatgptFree(url).complete("Hello")
    'You asked: “Hello”. This is the demo site: it has no better answer, but streams it a word at a time.'
    """
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from urllib.parse import parse_qs

    nonce = os.urandom(5).hex()
    page = f'<div class="wpaicg-chat-shortcode" data-nonce="{nonce}" data-post-id="6" data-bot-id="0"></div>'

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(200, "text/html; charset=UTF-8", [page])

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode(), keep_blank_values=True)
            if form["_wpnonce"] != [nonce]:
                return self.reply(403, "text/html; charset=UTF-8", ["The link you followed has expired."])
            prompt = form["message"][0]
            if "&lt;" in prompt:
                prompt = html.unescape(prompt)
            return self.reply(200, "text/event-stream;charset=UTF-8", events(prompt))

        def reply(self, status: int, kind: str, pieces: Iterable[str]) -> None:
            with contextlib.suppress(OSError):  # a client may leave
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.end_headers()
                for piece in pieces:
                    self.wfile.write(piece.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    def events(prompt: str) -> Iterator[str]:
        tail = "This is the demo site: it has no better answer, but streams it a word at a time."
        for word in re.findall(r"\s*\S+\s*", f"You asked: “{prompt}”. {tail}"):
            time.sleep(0.025)
            yield "data: " + json.dumps({"id": "chatcmpl-demo", "choices": [{"delta": {"content": word}}]}) + "\n\n"
        yield "data: [DONE]\n\n"

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status. argv (list of str): the arguments, default the process's own.

    >>> main(["--demo", "Hello"])
    You asked: “Hello”. This is the demo site: it has no better answer, but streams it a word at a time.
    0
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="replace")  # what a terminal can't show is no reason to fail
    options: Options = {"proxy": arguments.proxy, "timeout": arguments.timeout, "cookies": dict(arguments.cookie)}
    history = [{"role": "system", "content": arguments.system}] if arguments.system else []
    try:
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(demo_site()) if arguments.demo else arguments.url
            bot = stack.enter_context(ChatgptFree(url))
            bot._session.trust_env = not arguments.demo  # which is here, whatever proxy the environment names

            def ask(messages: Messages) -> Iterator[str]:
                return bot.stream(messages, arguments.model, **options)

            if arguments.models:
                print(*bot.list_models(**options), sep="\n", flush=True)
            elif not arguments.prompt and sys.stdin.isatty():
                _converse(ask, history)
            else:
                prompt = " ".join(arguments.prompt)
                if arguments.prompt in ([], ["-"]):
                    prompt = sys.stdin.read().rstrip() or ("Hello" if arguments.demo else "")
                if not prompt.strip():
                    parser.error("the prompt is empty")
                _print_answer(ask(history + [{"role": "user", "content": prompt}]), [])
    except BrokenPipeError:  # whoever read has seen enough
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit would complain
    except KeyboardInterrupt:
        return 130
    except (ChatgptFreeError, OSError, ValueError) as error:
        _complain(error)
        return 2 if isinstance(error, ValueError) else 1
    return 0


def _parser() -> argparse.ArgumentParser:
    import argparse

    def seconds(text: str) -> float:
        if not 0 < float(text) < threading.TIMEOUT_MAX:
            raise ValueError
        return float(text)

    def cookie(text: str) -> tuple[str, str]:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ValueError
        return name, value

    parser = argparse.ArgumentParser(
        prog="chatgptfree",
        description="Ask chatgptfree.ai, or any WordPress site with the same chat plugin,\nand print the answer as it comes.",
        epilog="""examples:
  chatgptfree "What is the capital of France?"
  git diff | chatgptfree --system "Review this change." -
  chatgptfree --url https://my-own-site.example/help/      (a conversation)""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("prompt", nargs="*", metavar="PROMPT", help="what to ask; read from standard input if it is - or missing there;"
        " at a terminal, without one, a conversation begins, which ends with exit or end of file")  # fmt: skip
    add("--url", default=ChatgptFree.url, metavar="U", help="a page that shows the chat (default: %(default)s)")
    add("--model", metavar="M", help="a bot of the page, by name or number (default: its first)")
    add("--models", action="store_true", help="print the names of the page's bots, and no more")
    add("--system", metavar="TEXT", help="instructions ahead of the prompt")
    add("--proxy", metavar="P", help="URL of a proxy for http and https")
    add("--timeout", type=seconds, default=120.0, metavar="S", help="seconds without a byte to wait (default: 120)")
    add("--cookie", type=cookie, action="append", default=[], metavar="NAME=VALUE", help="a cookie for the site; repeatable")
    add("--demo", action="store_true", help="ask a stand-in site on this machine, without a network")
    add("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _print_answer(texts: Iterable[str], heard: list[str]) -> None:
    """Print the pieces of an answer as they come, and collect them in `heard`."""
    to_terminal = sys.stdout.isatty()
    notice = "waiting for the answer ..." if sys.stderr.isatty() else ""
    print(notice, end="", file=sys.stderr, flush=True)
    try:
        for text in texts:
            _wipe(notice)
            notice = ""
            heard.append(text)
            # a site must not steer the terminal
            print(re.sub(r"[^\n\t -~\xa0-\U0010ffff]", "", text) if to_terminal else text, end="", flush=True)
    finally:
        _wipe(notice)
        if heard:
            print(flush=True)


def _wipe(notice: str) -> None:
    print("\r" + " " * len(notice) + "\r" if notice else "", end="", file=sys.stderr, flush=True)


def _converse(ask: Callable[[Messages], Iterable[str]], history: list[dict[str, str]]) -> None:
    """Read questions and print answers, until end of file or `exit`."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # gives input() line editing
    while True:
        try:
            question = input("> ").strip()
        except EOFError:
            print()
            return
        if question == "exit":
            return
        if not question:
            continue
        heard: list[str] = []
        asked = {"role": "user", "content": question}
        try:
            _print_answer(ask([*history, asked]), heard)
        except (ChatgptFreeError, requests.RequestException) as error:
            _complain(error)
        except KeyboardInterrupt:  # enough of this answer; what was heard of it counts
            pass
        if heard:
            history += [asked, {"role": "assistant", "content": "".join(heard)}]


def _complain(error: Exception) -> None:
    print("chatgptfree:", _one_line(str(error)) or type(error).__name__, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
