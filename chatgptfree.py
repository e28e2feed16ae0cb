"""Talk to chatgptfree.ai, or to any WordPress site that runs the same chat plugin.

    import chatgptfree

    print(chatgptfree.complete("What is the capital of France?"))

    for text in chatgptfree.stream("Tell me a story."):
        print(text, end="", flush=True)

    bot = chatgptfree.ChatgptFree("https://my-own-site.example/help/", timeout=30)
    chat = bot.conversation(system="Be terse.")
    print(chat.complete("My name is Ann."), chat.complete("What is my name?"))

The plugin is AI Power, today AI Puffer. This file speaks its two protocols: the classic one (releases up to 2.2) and the
current one (2.3 and later); the site's page tells which. The file is made to be copied beside a script, and needs only
`requests`. At a terminal: `python chatgptfree.py --help`. Home: the project "chatgptfree"; its README.md tells the rest.
Copyright chatgptfree contributors. SPDX-License-Identifier: MIT
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import stat
import sys
import threading
import time
import weakref
import zlib
from base64 import b64encode
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import partial, wraps
from http.client import HTTPException, HTTPResponse, IncompleteRead
from http.cookiejar import CookieJar
from itertools import starmap, takewhile
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar
from urllib.parse import parse_qs, urljoin, urlsplit, urlunsplit

import requests
from requests import RequestException, Response
from requests.structures import CaseInsensitiveDict
from requests.utils import get_auth_from_url

if TYPE_CHECKING:
    from typing_extensions import Literal, TypedDict, Unpack

    Messages = str | Iterable[Mapping[str, Any]]
    Model = str | int | None
    Timeout = float | tuple[float, float] | None
    Cookies = Mapping[str, str] | CookieJar | None
    Image = str | os.PathLike[str] | bytes | None
    Options = dict[str, Any]
    Kind = Literal["text", "last", "whole", "end", "dressed", "noise", "nothing"] | type["ChatgptFreeError"]

    RequestOptions = TypedDict("RequestOptions", {  # noqa: UP013
        "auth": Any, "cert": Any, "headers": Mapping[str, Any], "hooks": Any, "proxies": Mapping[str, str], "verify": Any,
    }, total=False)  # fmt: skip
    CallOptions = TypedDict("CallOptions", {  # noqa: UP013
        "model": Model, "proxy": str | None, "timeout": Timeout, "cookies": Cookies, "image": Image, "web_search": bool,
        "auth": Any, "cert": Any, "headers": Mapping[str, Any], "hooks": Any, "proxies": Mapping[str, str], "verify": Any,
    }, total=False)  # fmt: skip

__version__ = "1.1.0"
__all__ = [
    "BlockedError", "ChatNotFoundError", "ChatgptFree", "ChatgptFreeError", "Conversation", "IncompleteReplyError",
    "RateLimitError", "Reply", "complete", "conversation", "demo_site", "format_prompt", "main", "show", "stream",
]  # fmt: skip

BODY_LIMIT = 10_000_000  # bytes of a page; also of an event stream since its last piece of text
LINE_LIMIT = 1_000_000  # bytes of one line of an answer; also of compressed data that expands to nothing
ANSWER_LIMIT = 10_000_000  # characters of an answer
IMAGE_LIMIT = 20_000_000  # bytes of an image, as the plugin has it
LINGER = 0.25  # seconds to wait for the end of a response after the answer is complete

# ---------------------------------------------------------------------------------------------------- errors

class ChatgptFreeError(RuntimeError):
    """The site said that it failed, or sent what could not be used. `partial` (str): the text before it, "" if none."""
    partial: str = ""

class ChatNotFoundError(ChatgptFreeError):
    """The page shows no chat of the plugin. The message says whether the nonce or the post id is missing, and where."""
class BlockedError(ChatgptFreeError):
    """The site wants a check that only a browser passes. The message says how to hand over a browser's cookies."""
class RateLimitError(ChatgptFreeError):
    """A limit was reached: HTTP status 429, tokens, a quota. `retry_after` (float): seconds to wait, None if unknown."""
    retry_after: float | None = None

class IncompleteReplyError(ChatgptFreeError):
    """The answer failed after some text had come, or ended without an end marker. `partial` is that text."""
# ---------------------------------------------------------------------------------------------------- prompt

def format_prompt(messages: Messages) -> str:
    """Return the one text that is sent for `messages`, in the format of gpt4free. A single message gives its content as it is.

    messages: a str (one user message), or an iterable of mappings with a str "role" and a "content" that is a str or a
        list of `{"type": "text", "text": …}` parts.
    Raises TypeError or ValueError, which name the message and what is wrong with it; ValueError too if there is no text.

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
    if not any(content.strip() for _, content in said):
        raise ValueError("the prompt is empty" if said else "messages is empty")
    if len(said) == 1:
        return said[0][1]
    return "\n".join([f"{role.capitalize()}: {content}" for role, content in said] + ["Assistant:"])

def _role_and_content(where: str, message: Any) -> tuple[str, str]:
    if not isinstance(message, Mapping):
        raise TypeError(f"{where} must be a mapping with 'role' and 'content', not {type(message).__name__}")
    said = {key: message[key] for key in ("role", "content") if key in message}
    if isinstance(said.get("content"), (list, tuple)):
        for i, part in enumerate(said["content"]):
            if not (isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)):
                raise ValueError(f"{where}['content'][{i}] must be a text part {{'type': 'text', 'text': …}}, not {part!r:.80}")
        said["content"] = "".join(part["text"] for part in said["content"])
    for key in ("role", "content"):
        if key not in said:
            raise ValueError(f"{where} has no {key!r}")
        if not isinstance(said[key], str):
            raise TypeError(f"{where}[{key!r}] must be a str, not {type(said[key]).__name__}")
        try:
            said[key].encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{where}[{key!r}] cannot be sent as UTF-8: {error}") from None
    return said["role"], said["content"]

def _image_field(image: Any) -> str:
    """The form field for an image, which is a path or the bytes of a file."""
    if isinstance(image, (str, os.PathLike)):
        with open(image, "rb") as file:
            image = file.read(IMAGE_LIMIT + 1)
    if not isinstance(image, bytes):
        raise TypeError(f"image must be a path or bytes, not {type(image).__name__}")
    kind = re.match(rb"(?P<jpeg>\xff\xd8\xff)|(?P<png>\x89PNG\r\n\x1a\n)|(?P<webp>RIFF....WEBP)", image, re.DOTALL)
    if not kind or len(image) > IMAGE_LIMIT:
        raise ValueError("the image is not a JPEG, PNG or WebP" if not kind else f"the image is over {IMAGE_LIMIT:,} bytes")
    return json.dumps([{"mime_type": f"image/{kind.lastgroup}", "base64_data": b64encode(image).decode()}])

# ------------------------------------------------------------------------------------------------------ page

_CURRENT = "aipkit_cache_sse_message"
_CLASSIC = {  # by the element's class; where a page has both, the first is the one meant
    "wpaicg-chat-shortcode": "wpaicg_chat_shortcode_message",
    "wpaicg-chatbox": "wpaicg_chatbox_message",
}
_OFFERS = {  # key in a bot's `data-config`: (option of `stream`, form field that turns it on)
    "imageUploadEnabledUI": ("image", "image_inputs"),
    "allowWebSearchTool": ("web_search", "frontend_web_search_active"),
    "allowGoogleSearchGrounding": ("web_search", "frontend_google_search_grounding_active"),
}

class _Chat(NamedTuple):
    """A chat box on a page: all that a client needs to ask it."""
    action: str  # of admin-ajax, for the first request
    nonce: str
    post_id: str
    bot_id: str
    ajax_url: str
    page_url: str
    name: str = ""  # of the bot as visitors see it; "" for classic chats
    offers: Mapping[str, str] = {}  # option of `stream` → form field, as in _OFFERS; empty for classic chats

    def __str__(self) -> str:
        return f"{self.name} ({self.bot_id})" if self.name else f"the classic chat on {self.page_url}"

# The tags of a page, in one pass. html.parser took 8 to 10 times as long on real pages, and quadratic time on hostile ones.
# Comments and scripts can hold an old copy of the chat, so they are matched to be passed over ("<!-->" is a whole comment).
# Quotes count only after "=", as in HTML; inside them "<" and ">" may stand unescaped. A comment or script that is not closed
# runs to the end of the page ("\Z"), so no part is scanned twice. The limit 999 bounds the memory that `re` uses for one tag.
_TAG = re.compile(
    r"""(?isx)<(?: !--(?:-?>|.*?(?:--!?>|\Z))
          | (script|style|textarea)\b.*?(?:</\1|\Z)
          | [a-z][^\s<>/]*[\s/] ((?:[^<>=]*=\s*(?:"[^"]*"|'[^']*')?){0,999}[^<>=]*) )"""
)
_ATTRIBUTE = re.compile(r"""([^\s=/]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|(\S*)))?""")

def _find_chats(page: str, page_url: str) -> tuple[_Chat, ...]:
    """The chats of a page in page order: all of the current protocol, or else the one classic chat that is meant."""
    current: dict[str, _Chat] = {}
    classic: dict[str, _Chat] = {}
    for attributes in _attributes(page):
        config = _object(attributes.get("data-config", "").strip()) or {}
        if _token(config.get("nonce")) and _token(config.get("botId")):
            current.setdefault(_token(config["botId"]), _chat(_CURRENT, {"postId": 0, **config}, page_url))
        for kind in _CLASSIC.keys() & set(attributes.get("class", "").split()):
            if kind not in classic or (attributes.get("data-nonce") and not (classic[kind].nonce and classic[kind].post_id)):
                nonce, post_id, bot_id = (attributes.get(f"data-{key}") for key in ("nonce", "post-id", "bot-id"))
                config = {"nonce": nonce, "postId": post_id, "botId": bot_id or "0"}
                classic[kind] = _chat(_CLASSIC[kind], config, page_url)
    if current:
        return tuple(current.values())
    if not classic:
        raise ChatNotFoundError(f"no chat, neither nonce nor post id, on {page_url}")
    found = min(classic.values(), key=lambda chat: (not (chat.nonce and chat.post_id), [*_CLASSIC.values()].index(chat.action)))
    missing = [name for name in ("nonce", "post_id") if not getattr(found, name)]
    if missing:
        raise ChatNotFoundError(f"no {' and no '.join(missing).replace('_', ' ')} in the chat on {page_url}")
    params = re.search(r"wpaicgParams\s*=\s*(?=\{)", page)  # only they tell the path of a WordPress in a subfolder
    told = next(_objects(page[params.end() : params.end() + LINE_LIMIT]), {}) if params else {}
    return (found._replace(ajax_url=_ajax_url(page_url, told.get("ajax_url"))),)

def _attributes(page: str) -> Iterator[dict[str, str]]:
    """Yield the attributes of each tag that can be a chat's."""
    for tag in _TAG.finditer(page):
        inside = tag[2]
        if inside and ("data-config" in inside or "wpaicg-chat" in inside) and page.startswith(">", tag.end()):
            attributes: dict[str, str] = {}
            for name, *values in _ATTRIBUTE.findall(inside):
                attributes.setdefault(name.lower(), _unescape(value) if "&" in (value := "".join(values)) else value)
            yield attributes

def _chat(action: str, config: Mapping[str, Any], page_url: str) -> _Chat:
    # releases 1.9.16 to 2.2 misprint a widget's post id 8 as "<8"
    nonce, post_id, bot_id = (_token(config.get(key)).strip(" <") for key in ("nonce", "postId", "botId"))
    name = (_one_line(_unescape(str(config.get("headerName") or ""))) or bot_id) if action == _CURRENT else ""  # stored as HTML
    offers = dict(offer for key, offer in _OFFERS.items() if str(config.get(key)).lower() in ("true", "1"))
    return _Chat(action, nonce, post_id, bot_id, _ajax_url(page_url, config.get("ajaxUrl")), page_url, name, offers)

def _ajax_url(page_url: str, address: Any) -> str:
    """The address to ask: always on the page's own scheme and host, whatever the page says."""
    page, there = urlsplit(page_url), urlsplit("")
    with contextlib.suppress(ValueError):
        there = urlsplit(_token(address) if isinstance(address, str) else "")
    if there.hostname not in (None, page.hostname) or not there.path:
        there = urlsplit("/wp-admin/admin-ajax.php")
    return urlunsplit((page.scheme, page.netloc, there.path, there.query, ""))

def _token(value: Any) -> str:
    """A str or int from the site as text that can be sent back to it; "" for other types and for unprintable text."""
    text = str(value) if isinstance(value, (str, int)) else ""
    return text if text.isprintable() else ""

def _unescape(text: str) -> str:
    from html import unescape  # not at the top: it would delay the command line's first word

    return unescape(re.sub(r"&#(?=[0-9]{9})", "&amp;#", text))  # it fails for long numbers

def _prepared(url: str) -> str:
    """An address as `requests` connects to it, without user, password and fragment. Raises ValueError if it is unusable."""
    with contextlib.suppress(ValueError):
        url.encode()  # fails for what isn't text
        prepared = requests.PreparedRequest()
        prepared.prepare_url(url.partition("#")[0], None)
        parts = urlsplit(prepared.url or "")
        (parts.hostname or "").encode("idna")  # as the connection does, which fails for "a..b"
        if (prepared.url or "").startswith(("http://", "https://")):
            return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    raise ValueError(f"an address begins with http:// or https:// and names a host, unlike {url.rpartition('@')[2]!r:.200}")

def _shown(address: str) -> str:
    """An address as a message can show it: short, on one line, and without a password."""
    return re.sub(r"//[^/?#]*@", "//", _one_line(address))[:200]

def _location(response: Response) -> str:
    """Where a redirect leads, "" for any other response."""
    location: str = response.headers.get("Location", "") if response.status_code in (301, 302, 303, 307, 308) else ""
    with contextlib.suppress(UnicodeEncodeError):  # some libraries have decoded the header already
        return location.encode("latin-1").decode(errors="surrogateescape")  # http.client decodes UTF-8 as Latin-1
    return location

# ------------------------------------------------------------------------------------------------------ wire

_decode_json = json.JSONDecoder().raw_decode
_exceptions: Any = requests.exceptions  # where `requests` keeps the base of urllib3's errors too
_NETWORK_ERRORS = (OSError, HTTPException, _exceptions.BaseHTTPError, zlib.error)  # OSError: time-outs, TLS, requests' own
_OBJECT_START = re.compile(r"^[ \t\r\ufeff]*(?=\{)", re.MULTILINE)
_LIMITED = r"(?i)quota|(?<![a-z])(?:rate|token|usage|message).?limit|too many requests"  # compiled when needed, as are the next
_PHP_WARNING = r"(?m)^[ \t]*(?:<br ?/?>[ \t]*)?(?:<b>)?(?:PHP )?(?:Warning|Notice|Deprecated)(?:</b>)?: .* on line .*"
_TITLE = r"(?i)<title\b[^<>]*>([^<]*)"
_ADVICE = "cookies={'cf_clearance': …}, headers={'User-Agent': …}"

def _object(text: str) -> dict[str, Any] | None:
    """`text` as a JSON object; None if it is anything else."""
    try:
        value, end = _decode_json(text)
    except (ValueError, RecursionError):
        return None
    return value if end == len(text) and isinstance(value, dict) else None

def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects that begin at the start of a line: PHP's warnings can stand before them."""
    end = failures = 0
    for start in _OBJECT_START.finditer(text):
        if start.end() >= end and failures < 20:  # each failed parse may scan the rest, so stop after 20
            try:
                value, end = _decode_json(text, start.end())
                yield value
            except (ValueError, RecursionError):
                failures += 1

def _dig(value: Any, *path: str) -> str:
    """The str at the end of a path of keys, "" where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""

class _Body:
    """The bytes of a response, each piece as soon as it is there, however they are framed or compressed."""
    cut: RequestException | None = None  # set if the network failed before the end
    count = 0  # bytes read; `_texts` resets it at each piece of text

    def __init__(self, response: Response, timeout: Timeout, size: int = 1) -> None:
        self.response, self.timeout = response, timeout
        self.size = size  # bytes in a piece, where `requests` has to do the reading

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._pieces():
                self.count += len(piece)
                if self.count > BODY_LIMIT:
                    raise ChatgptFreeError(f"the site sent {BODY_LIMIT:,} bytes without an end or any text of an answer")
                yield piece
            source = _source(self.response)
            if source and source.isclosed() and source.length:  # an end before the Content-Length, of which `read1` says nothing
                raise IncompleteRead(b"", source.length)
        except _NETWORK_ERRORS as error:
            self.cut = _network_error(error, "lost the connection to", self.response.url, self.timeout)

    def _pieces(self) -> Iterable[bytes]:
        source = _source(self.response)
        if source is None:
            bare = isinstance(self.response, Response) and self.response.raw is None  # a mock's
            return [self.response.content] if bare else self.response.iter_content(self.size)
        pieces: Iterable[bytes] = iter(partial(source.read1, 65536), b"")
        encodings = self.response.headers.get("Content-Encoding", "").lower().replace(",", " ").split()
        if len(encodings) > 3 or {"br", "zstd"} & set(encodings):
            raise ChatgptFreeError(f"the site compressed its answer by {', '.join(encodings)!r:.60}, unasked")
        for encoding in encodings:
            if encoding in ("gzip", "x-gzip", "deflate"):  # PHP scripts say "none" to keep proxies from compressing
                pieces = _inflated(pieces)
        return pieces

    def text(self) -> str:
        """A whole body as text, for responses that are not streams. Raises `requests`' exceptions if the network fails."""
        with contextlib.closing(self.response):
            text = b"".join(self).decode("utf-8", "replace")
            if self.cut:
                raise self.cut
            self.give_back()
        return text

    def give_back(self) -> None:
        """Read the response to its end, if that comes soon: then its connection serves the next call."""
        source = _source(self.response)
        sock = getattr(getattr(self.response.raw, "connection", None), "sock", None) if source else None
        if source is None or sock is None or source.will_close:
            return
        old_timeout, deadline = sock.gettimeout(), time.monotonic() + LINGER
        sock.settimeout(LINGER)
        with contextlib.suppress(*_NETWORK_ERRORS):
            while time.monotonic() < deadline:
                if not source.read1(65536):
                    sock.settimeout(old_timeout)
                    source.close()  # close first: after release another thread may use the connection
                    self.response.raw.release_conn()
                    return

def _source(response: Response) -> HTTPResponse | None:
    """The standard library's response below urllib3's. None if there is none, as in mocks and other libraries."""
    # Its `read1` gives what has arrived. That of urllib3 cost 1.8 times a plain `requests` loop, and isn't there before 2.2.
    source = getattr(getattr(response, "raw", None), "_fp", None)
    return source if isinstance(source, HTTPResponse) else None

def _inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Undo gzip or deflate, in pieces of bounded size. Gzip may have several members; what follows them is not read."""
    inflater, idle = zlib.decompressobj(zlib.MAX_WBITS | 32), 0  # idle: bytes in a row that gave nothing
    for piece in pieces:
        while piece:
            if inflater.eof:
                if not piece.startswith(b"\x1f"):
                    return
                inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
            data = inflater.decompress(piece, 65536)
            idle = 0 if data else idle + len(piece)
            if idle > LINE_LIMIT:
                raise ChatgptFreeError(f"the site sent {LINE_LIMIT:,} compressed bytes that hold nothing")
            yield data
            piece = inflater.unconsumed_tail or inflater.unused_data

def _network_error(error: Exception, what: str, url: str, timeout: Timeout) -> RequestException:
    """A failure of the network as `requests` would raise it, in one short sentence that names the host."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    if "timeout" in type(error).__name__.lower() or "Read timed out" in str(error):
        kind: type[RequestException] = requests.exceptions.ReadTimeout
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        words = f"nothing came from {host} for {connect if isinstance(error, requests.ConnectTimeout) else read} seconds"
    else:
        kind, cause = requests.exceptions.ConnectionError, error
        while type(cause).__module__.startswith(("requests.", "urllib3.")) and isinstance(cause.__context__, Exception):
            cause = cause.__context__  # requests' exceptions wrap urllib3's, and these the system's
        where = f"the proxy for {host}" if isinstance(error, requests.exceptions.ProxyError) else host
        words = f"{what} {where}: {_one_line(str(getattr(cause, 'strerror', None) or cause)) or type(cause).__name__:.200}"
    error = error if isinstance(error, RequestException) else kind()
    error.args = (words,)
    return error

def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Cut bytes into decoded lines without their LF, however the pieces are split. An empty line is added at the end."""
    held = bytearray()
    for piece in pieces:
        whole, newline, rest = piece.rpartition(b"\n")
        if newline:  # U+FEFF is stripped: a PHP file saved with a byte order mark sends one before its output
            yield from (held + whole).decode("utf-8", "replace").lstrip("\ufeff").split("\n")
            held.clear()
        held += rest
        if len(held) > LINE_LIMIT:
            raise ChatgptFreeError(f"the site sent a line of over {LINE_LIMIT:,} bytes")
    yield from (held.decode("utf-8", "replace").lstrip("\ufeff"), "")

def _events(lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yield the name ("" if none) and the data of each event, a dict if it is a JSON object. Text outside events comes as a str.
    A `data:` line goes out at once, unless it begins a JSON object and does not end it. Then it is held and joined with what
    follows, to the end of its event. Lines that are no field, such as pretty-printed JSON, are held and joined in the same way.
    """
    name = held = ""
    joining = False  # `held` has a `data:` line
    for line in lines:
        if line.startswith("data:"):
            data = line[5:].strip()
            payload = None if joining else _object(data)
            joining = joining or (payload is None and data.startswith("{"))
            if joining:
                held += data + "\n"
            else:
                yield name, data if payload is None else payload
        elif not line and not held:
            name = ""
        elif not line.strip() or line.startswith("event:") or line.endswith("event: message"):  # ends an event
            rest, named, next_name = line.rpartition("event:")  # `rest`: an error's end, which some releases don't end with LF
            if held + rest:
                payloads: list[Any] = [*_objects(held + rest)] or [held + rest]
                yield from ((name, payload) for payload in payloads)
            name, held, joining = next_name.strip() if named else "", "", False
        elif not line.startswith((":", "id:", "retry:")):
            held += line + "\n"

def _meaning(name: str, payload: dict[str, Any] | str) -> tuple[Kind, str]:
    """Classify an event: return its kind and its text. All knowledge of what both protocols' answers contain is here.
    "text": a piece of text. "last": the same, and the answer is complete. "whole": the complete answer. "end": the end marker.
    "dressed": a piece of an error in the form of an answer. "noise": no event. "nothing": no text. An exception type: that error.
    """
    if payload == "[DONE]" or name == "done":
        return "end", ""
    if isinstance(payload, str):
        if name == "message":  # quotes in an error's words are not escaped, and break the JSON
            words = re.findall(r'(?s)"content":\s*"(.*?)(?:"\}|\Z)', payload)
            return "dressed" if words else "nothing", "".join(words)
        return ("nothing" if name and not name.endswith("error") else "noise"), payload
    if name and name not in ("message", "thread.message.delta", "warning", "error", "assistant_error"):
        return "nothing", ""  # other events carry no text, whatever their JSON looks like
    if name == "warning":  # no failure: the page shows it behind the answer, whose own last words can be in it
        return "text", _dig(payload, "error")
    status = payload.get("status")
    if status == "success":  # its "msg" means nothing
        return "whole", _dig(payload, "data")
    if payload.get("error") or status == "error" or "msg" in payload or payload.get("success") is False or name[-5:] == "error":
        return _error_in(payload)
    choices = payload.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    delta = choice.get("delta") if choice else payload.get("delta")
    text = delta.get("content") if isinstance(delta, dict) else delta or choice.get("text")  # of old completion models
    if isinstance(text, list):  # an assistant's parts
        text = "".join(_dig(part, "text", "value") for part in text)
    text = text if isinstance(text, str) else ""
    if name == "message" and choice and not ("id" in payload or "object" in payload):
        return "dressed", text  # a provider's own chunks have an id; the plugin's have none
    if text or choice:
        return "last" if choice.get("finish_reason") else "text", text
    return ("whole", payload["data"]) if isinstance(payload.get("data"), str) else ("nothing", "")

def _texts(body: _Body) -> Iterator[str]:
    """Yield an answer's pieces of text, at least one; raise an exception if the site fails or the answer is incomplete."""
    spoken = whole = False
    noise: list[str] = []  # since the last piece of text
    meanings = starmap(_meaning, _events(_lines(body)))
    for what, words in meanings:
        if what in ("text", "last", "whole"):
            if what == "whole" and spoken:
                continue  # releases to 1.8.84 send the whole text again, and after a cut answer too
            if words:
                body.count, spoken, noise = 0, True, []
                yield words
            whole = whole or what != "text"
        elif what == "end":
            whole = True
            break
        elif what == "noise":
            noise.append(words)
        elif what == "dressed":  # the error continues to the next end marker, and is often repeated after it
            rest = takewhile(lambda meaning: meaning[0] not in ("last", "end"), meanings)
            what, words = _error_in({"error": words + "".join(word for kind, word in rest if kind == "dressed")})
        if isinstance(what, type):
            raise what(words or "the site reported an error without words")
    if whole and spoken:
        return
    if body.cut:
        raise body.cut
    told = "\n".join(noise)
    begun = _OBJECT_START.search(told) or any(field.startswith(told.strip()) for field in ("data", "event", "id", "retry"))
    words = "" if begun and not whole else _words(told)  # half a line is no message
    if spoken:
        raise IncompleteReplyError(f"the answer broke off: {words}" if words else "the answer broke off")
    if words:
        raise _error_in({"error": words})[0](words)
    if whole:
        raise ChatgptFreeError("the site's answer is empty")
    raise IncompleteReplyError("the answer broke off before any text" if told else "the site sent no answer")

def _error_in(payload: Mapping[str, Any]) -> tuple[type[ChatgptFreeError], str]:
    """What an error's JSON means: the kind of error, and its words ("" if it has none)."""
    said: Any = payload
    while isinstance(said, Mapping):
        said = next((said[k] for k in ("error", "msg", "message", "data") if said.get(k) and said[k] is not True), "")
    words = _words(said) if isinstance(said, str) else ""
    error, flags = payload.get("error"), [key for key, value in payload.items() if value]
    limited = re.search(_LIMITED, " ".join([words, _dig(error, "code"), _dig(error, "type"), *flags]))
    return (BlockedError if "ts_required" in flags else RateLimitError if limited else ChatgptFreeError), words

def _words(markup: str) -> str:
    """The readable text of `markup` on one line, at most 300 characters. A longer page gives its title, if it has one."""
    markup = markup[:200_000]
    markup = re.sub(_PHP_WARNING, "", markup).strip() or markup
    title, text = _plain("".join(re.findall(_TITLE, markup)[:1])), _plain(re.sub(_TITLE, "", markup))
    if not text.startswith(title) or len(text) > 300:  # as a rule the heading repeats the title
        text = title if title and len(text) > 300 else f"{title} {text}".strip()
    return text if len(text) <= 300 else text[:299] + "…"

def _plain(markup: str) -> str:
    hidden = r"(?is)<(script|style|nav)\b.*?(?:</\1\s*>?|\Z)|</?[a-z!][^<>]*>?"
    return _one_line(_unescape(re.sub(hidden, " ", markup)))

def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())

def _refusal(response: Response, text: str) -> Exception:
    """Return the exception for a response that is not an answer; it gives the HTTP status and the site's own words."""
    status, url = response.status_code, _shown(response.url)
    is_challenge = status in (403, 503) and re.search(r"(?i)<title>\s*Just a moment", text)
    if is_challenge or response.headers.get("cf-mitigated", "") == "challenge":
        todo = f"Open it in one, then pass on that browser's cookies and its exact User-Agent: {_ADVICE}"
        return BlockedError(f"HTTP {status}: {url} asks for a check that needs a browser. {todo}")
    if location := _location(response):
        return ChatgptFreeError(f"HTTP {status}: {url} redirects to {_shown(location)}, which was not followed")
    kind, words = _error_in(next(_objects(text), {}))
    if not words:
        title = re.search(_TITLE, text) if status == 404 else None  # the rest is the theme's menu
        kind, words = _error_in({"error": title[0] if title else text or response.reason})
    if status == 407:
        return requests.exceptions.ProxyError(f"HTTP 407 from the proxy for {urlsplit(url).netloc}: {words}")
    if status == 400 and words == "0":
        words = "0 (the plugin is off or has changed, or the prompt is over the server's limit)"
    if kind is not RateLimitError and status != 429:
        return kind(f"HTTP {status}: {words}")
    seconds = _seconds(response.headers.get("Retry-After", ""))
    limit = RateLimitError(f"HTTP {status}: {words}" + ("" if seconds is None else f" (try again in {seconds:.0f} s)"))
    limit.retry_after = seconds
    return limit

def _seconds(retry_after: str) -> float | None:
    """A Retry-After header (a number of seconds, or a date) as seconds from now. None if it is malformed or far too long."""
    with contextlib.suppress(TypeError, ValueError, OverflowError, IndexError):
        date = None if retry_after.strip().isdecimal() else parsedate_to_datetime(retry_after)
        seconds = date.timestamp() - time.time() if date else float(retry_after)
        return max(0.0, seconds) if seconds <= threading.TIMEOUT_MAX else None
    return None

# ----------------------------------------------------------------------------------------------- ChatgptFree

_OWN_OPTIONS = ("model", "proxy", "image", "web_search")  # handled here; `requests` doesn't take them
_OPTIONS = (*_OWN_OPTIONS, "timeout", "cookies", "auth", "cert", "headers", "hooks", "proxies", "verify")
_redirect_rules: Any = requests.sessions.SessionRedirectMixin()  # for `should_strip_auth`: which hosts may get credentials
_Method = TypeVar("_Method", bound=Callable[..., Any])

def _request_options(options: Options, session: Any) -> Options:
    """The options that go to every request, as `requests` takes them. Raises TypeError for one that nobody takes."""
    table: dict[str, tuple[Any, str]] = {
        "cookies": ((Mapping, CookieJar), "a dict or a jar"), "headers": (Mapping, "a dict"), "proxies": (Mapping, "a dict"),
        "proxy": (str, "a str, the URL of one proxy"), "timeout": ((int, float, tuple), "a number of seconds, or two in a tuple"),
    }  # fmt: skip
    for name, value in options.items():
        if name not in _OPTIONS and type(session) in (requests.Session, _Session):  # others have options of their own
            raise TypeError(f"unexpected keyword argument {name!r}; the options are {', '.join(_OPTIONS)}")
        kinds, wanted = table.get(name, (object, ""))
        if value is not None and not isinstance(value, kinds):
            raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")
    rest = {name: value for name, value in options.items() if name not in _OWN_OPTIONS}
    if options.get("proxy") is not None:
        rest["proxies"] = dict.fromkeys(("http", "https"), options["proxy"])
    return {"timeout": 120, "cookies": None, **rest}

def _merged(defaults: Options, own: Mapping[str, Any]) -> Options:
    """A call's own options over its defaults; `headers` are merged."""
    merged = {**defaults, **own}
    if "proxies" in own and "proxy" not in own:  # the same setting in two forms
        merged.pop("proxy", None)
    if isinstance(defaults.get("headers"), Mapping) and isinstance(own.get("headers"), Mapping):
        merged["headers"] = {**CaseInsensitiveDict(defaults["headers"]), **CaseInsensitiveDict(own["headers"])}
    return merged

def _with_defaults(method: _Method) -> _Method:
    """Apply the object's default options to each call. Drop an error's traceback, so that it shows the caller's lines only."""
    names = method.__code__.co_varnames[1 : method.__code__.co_argcount + method.__code__.co_kwonlyargcount]

    @wraps(method)
    def call(self: ChatgptFree | Conversation, *args: Any, **own: Any) -> Any:
        __tracebackhide__ = True  # for IPython
        defaults = {name: value for name, value in self._options.items() if name not in names[: len(args)]}
        try:
            return method(self, *args, **_merged(defaults, own))
        except (ChatgptFreeError, OSError, TypeError, ValueError, KeyboardInterrupt) as error:
            raise error.with_traceback(None) from None

    return call  # type: ignore[return-value]

class Reply(str):
    """An answer: a str that a notebook shows as rendered Markdown, with no HTML in it."""
    def _repr_markdown_(self) -> str:
        return _safe_markdown(self)

class _Session(requests.Session):
    def get_redirect_target(self, resp: Response) -> None:
        """Follow no redirects. Even with `allow_redirects=False`, `requests` reads a redirect's body and parses its address."""

class _Question:
    """A question: the whole history as one prompt, and the new message alone for a site that remembers the history."""
    def __init__(self, bot: ChatgptFree, options: Options, prompt: str, message: str = "", conversation: str = "") -> None:
        self.prompt, self.message = prompt, message
        self.options, self.model = _request_options(options, bot._session), options.get("model")
        self.wants = {} if options.get("image") is None else {"image": _image_field(options["image"])}  # the form fields' values
        self.wants.update({"web_search": "true"} if options.get("web_search") else {})
        self.conversation = conversation or os.urandom(16).hex()  # its id on a site of the current protocol
        self.known_to = ""  # guest id + bot id, once that bot has answered in this conversation

_clients: weakref.WeakSet[ChatgptFree] = weakref.WeakSet()

def _after_fork() -> None:
    """Give a forked child locks and connections of its own: on a shared connection each would get the other's answers."""
    for client in _clients:
        client._lock, jar = threading.Lock(), getattr(client._session, "cookies", None)
        if isinstance(jar, CookieJar):
            vars(jar)["_cookies_lock"] = threading.RLock()
        for adapter in getattr(client._session, "adapters", {}).values():
            if hasattr(adapter, "__setstate__"):  # meant for unpickling, it makes new connection pools
                adapter.__setstate__(adapter.__getstate__())

getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_after_fork)  # Windows has none

class ChatgptFree(contextlib.AbstractContextManager["ChatgptFree"]):
    """One site, one guest. Keeps the page's nonce and the connections between calls; threads and forked processes can share it.

    url (str): any page that shows a chat of the plugin, default `ChatgptFree.url`. It can hold `user:password@`.
    session: a `requests.Session` or what behaves like one, to ask with; it stays the caller's to close. Default: its own.
    options: defaults for every call, any keyword of `stream`. A call's own win; `headers` are merged.
    Raises ValueError if `url` is no http or https address, TypeError for an option that `stream` doesn't take.

    >>> with demo_site(str.upper) as url, ChatgptFree(url, timeout=30) as bot:
    ...     print(bot.complete("Hello"))
    HELLO
    """

    url = "https://chatgptfree.ai"
    working = True
    default_model = "gpt-4o-mini-2024-07-18"
    models: ClassVar[list[str]] = [default_model]
    model_aliases: ClassVar[dict[str, str]] = {"gpt-4o-mini": default_model}

    def __init__(self, url: str | None = None, *, session: Any = None, **options: Unpack[CallOptions]) -> None:
        if url is not None:
            if not isinstance(url, str):
                raise TypeError(f"url must be a str, not {type(url).__name__}")
            self.url = url.strip()
            _prepared(self.url)
        self._session: Any = _Session() if session is None else session
        if session is None:
            self._session.headers["User-Agent"] = f"Mozilla/5.0 (compatible; chatgptfree/{__version__})"
        self._options: Options = {**options}
        _request_options(self._options, self._session)
        self._guest = os.urandom(16).hex()  # the site counts its quotas by it
        self._chats: tuple[_Chat, ...] = ()
        self._lock = threading.Lock()  # held while the page is looked up
        self._failure: tuple[float, Options, Exception] | None = None  # the last failed look-up: time, options, error
        _clients.add(self)

    _nonce = property(  # gpt4free's name, as is the next; a visitor has one nonce for all bots
        lambda self: self._chats[0].nonce if self._chats else None,
        lambda self, nonce: setattr(self, "_chats", tuple(chat._replace(nonce=nonce) for chat in self._chats)),
    )
    _post_id = property(lambda self: self._chats[0].post_id if self._chats else None)

    def __reduce__(self) -> tuple[Any, ...]:
        if type(self._session) is not _Session:
            raise TypeError("a ChatgptFree with a session of the caller's cannot be pickled: make it anew in the other process")
        return partial(type(self), self.url, **self._options), ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_shown(self.url)!r})"

    def close(self) -> None:
        """Close the connections, unless the session is the caller's. The next call would open new ones."""
        if type(self._session) is _Session:
            self._session.close()

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @_with_defaults
    def stream(
        self, messages: Messages, model: Model = None, proxy: str | None = None, timeout: Timeout = 120,
        cookies: Cookies = None, *, image: Image = None, web_search: bool = False, **kwargs: Unpack[RequestOptions],
    ) -> Generator[str, None, None]:  # fmt: skip
        """Return a generator of the answer's text: each piece as the site sent it, when it sent it.

        messages: what `format_prompt` takes. They and `image` are checked at once; requests are made from the first `next()` on.
        model (str or int): a bot of the page by name, in any case, or by number; default its first. Classic sites ignore it.
        proxy (str): the URL of a proxy for http and https. Default: what the environment says.
        timeout (float, or a tuple: connect, read): seconds without a byte before the call fails, default 120; None: no limit.
        cookies (dict or jar): sent to the host of `url` and to no other. Default: none.
        image (path or bytes): a JPEG, PNG or WebP of up to 20 million bytes, for a bot that takes images. Default: none.
        web_search (bool): let a bot that offers it search the web first. Default: False.
        kwargs: `auth`, `cert`, `headers`, `hooks`, `proxies`, `verify`, as `requests` takes them.
        Raises TypeError or ValueError for wrong arguments, ChatgptFreeError if the site fails, and `requests`' exceptions if the
        network fails before any text.

        >>> with demo_site(str.upper) as url:
        ...     print(*ChatgptFree(url).stream("Tell me a story."), sep="|")
        TELL |ME |A |STORY.
        """
        named = {"model": model, "proxy": proxy, "timeout": timeout, "cookies": cookies, "image": image, "web_search": web_search}
        return self._generate(_Question(self, {**named, **kwargs}, format_prompt(messages)))

    @_with_defaults
    def complete(
        self, messages: Messages, model: Model = None, proxy: str | None = None, timeout: Timeout = 120,
        cookies: Cookies = None, *, image: Image = None, web_search: bool = False, **kwargs: Unpack[RequestOptions],
    ) -> Reply:  # fmt: skip
        """Wait for the whole answer and return it, as a `Reply`. Parameters and errors are those of `stream`.
        messages (str or list), model (str or int, default the page's first bot), proxy (str, default the environment's),
        timeout (float, seconds without a byte, default 120), cookies (dict or jar), image (path or bytes), web_search (bool),
        and `auth`, `cert`, `headers`, `hooks`, `proxies`, `verify`, as `requests` takes them.

        >>> with demo_site(str.upper) as url:
        ...     ChatgptFree(url).complete("Hello")
        'HELLO'
        """
        return Reply("".join(self.stream(messages, model, proxy, timeout, cookies, image=image, web_search=web_search, **kwargs)))

    @_with_defaults
    def conversation(self, system: str | None = None, **options: Unpack[CallOptions]) -> Conversation:
        """Return a new `Conversation`, in which the bot remembers what was said.

        system (str): instructions that go before the first message. Default: none.
        options: defaults for its messages, over those of the client; any keyword of `stream`. Others raise TypeError.

        >>> with demo_site(lambda prompt: f"{prompt.count('User:')} questions") as url:
        ...     chat = ChatgptFree(url).conversation(system="Be terse.")
        ...     print(chat.complete("My name is Ann."), chat.complete("What is my name?"), sep=", ")
        1 questions, 2 questions
        """
        return Conversation(self, system, {**options})

    @_with_defaults
    def list_models(self, **options: Unpack[CallOptions]) -> list[str]:
        """Return the names of the bots on the site's page in page order; on a classic page `models`.
        options: `proxy` (str), `timeout` (float, in seconds, default 120), `cookies` (dict or jar) and the others of `stream`.
        Raises what `stream` does.

        >>> with demo_site() as url:
        ...     ChatgptFree(url).list_models()
        ['gpt-4o-mini-2024-07-18']
        """
        chats = self._look_up(None, _request_options({**options}, self._session))
        return [chat.name for chat in chats if chat.action == _CURRENT] or list(self.models)

    def _generate(self, question: _Question) -> Generator[str, None, None]:
        """Yield the answer. After some text every failure is an IncompleteReplyError with that text."""
        __tracebackhide__ = True  # for IPython
        said = ""
        try:
            for text in self._answer(question):
                if not text.isascii():  # half a character, as JSON can write it, would break print()
                    text = text.encode(errors="replace").decode()
                said += text
                yield text
                if len(said) > ANSWER_LIMIT:
                    raise ChatgptFreeError(f"the site's answer goes on after {ANSWER_LIMIT:,} characters")
        except (ChatgptFreeError, RequestException, ValueError, KeyboardInterrupt) as error:
            if not said or isinstance(error, KeyboardInterrupt):
                raise error.with_traceback(None) from None
            broken = IncompleteReplyError(f"{'' if isinstance(error, IncompleteReplyError) else 'the answer broke off: '}{error}")
            broken.partial = said
            raise broken from None

    def _answer(self, question: _Question) -> Iterator[str]:
        """Ask; if the site fails before any text, look the chat up again, and ask once more if it has changed."""
        chat = self._pick(self._chats or self._look_up(None, question.options), question.model)
        spoken = False
        try:
            for text in self._pieces(chat, question):
                spoken = True
                yield text
        except ChatgptFreeError as error:
            if spoken or isinstance(error, (RateLimitError, BlockedError)):
                raise
            try:
                fresh = self._pick(self._look_up(chat, question.options), question.model)
            except (ChatgptFreeError, RequestException):
                raise error from None
            if fresh == chat:
                raise
            yield from self._pieces(fresh, question)

    def _pieces(self, chat: _Chat, question: _Question) -> Iterator[str]:
        """Ask a chat once, and yield the pieces of its answer."""
        for option in question.wants.keys() - chat.offers.keys():
            others = ", ".join(str(other) for other in self._chats if option in other.offers) or "no bot"
            raise ValueError(f"{chat} takes no {option}; on its page, {others} does")
        is_current = chat.action == _CURRENT
        response = (self._ask_current if is_current else self._ask_classic)(chat, question)
        with contextlib.closing(response):
            body = _Body(response, question.options["timeout"])
            texts = _texts(body)
            first = next(texts)
            question.known_to = self._guest + chat.bot_id if is_current else ""
            yield first
            yield from texts
            body.give_back()

    def _ask_classic(self, chat: _Chat, question: _Question) -> Response:
        data = {
            "_wpnonce": chat.nonce, "post_id": chat.post_id, "url": chat.ajax_url.partition("/wp-admin/")[0],
            "action": chat.action, "bot_id": chat.bot_id, "wpaicg_chat_client_id": self._guest[:10],
            "message": question.prompt.replace("<", "&lt;"),  # old releases delete whatever looks like a tag
        }  # fmt: skip
        return self._send(question.options, chat, "post", data=data)

    def _ask_current(self, chat: _Chat, question: _Question) -> Response:
        from uuid import UUID  # not at import: that would take as long as the rest of this file

        ticket = {"_ajax_nonce": chat.nonce, "bot_id": chat.bot_id}
        fields = {option: {chat.offers[option]: value} for option, value in question.wants.items()}
        message = question.message if question.known_to == self._guest + chat.bot_id else question.prompt
        data = {"action": chat.action, "message": message, **ticket, **fields.get("image", {})}
        response = self._send(question.options, chat, "post", data=data)
        text = _Body(response, question.options["timeout"]).text()
        cache_key = _token(_dig(next(_objects(text), {}), "data", "cache_key"))
        if not cache_key:
            raise _refusal(response, text)
        session_id, conversation = (str(UUID(id, version=4)) for id in (self._guest, question.conversation))
        params = {
            "action": "aipkit_frontend_chat_stream", "cache_key": cache_key, "post_id": chat.post_id, "session_id": session_id,
            "conversation_uuid": conversation, "_ts": int(time.time() * 1000), **ticket, **fields.get("web_search", {}),
        }  # fmt: skip
        return self._send(question.options, chat, "get", params=params)

    def _pick(self, chats: tuple[_Chat, ...], model: Model) -> _Chat:
        wanted, first = str(model or "").strip().casefold(), chats[0]
        for chat in chats:
            if wanted in (chat.name.casefold(), chat.bot_id):
                return chat
        if not wanted or first.action != _CURRENT or self.model_aliases.get(str(model), model) == self.default_model:
            return first
        raise ValueError(f"no model {model!r} on {first.page_url}, which offers {', '.join(map(str, chats)):.1000}")

    def _look_up(self, stale: _Chat | None, options: Options) -> tuple[_Chat, ...]:
        """Return the page's chats, looked up anew if `stale` is among them. One thread looks; the others share its failure."""
        began, timeout = time.monotonic(), options["timeout"]
        seconds = (None if None in timeout else sum(timeout)) if isinstance(timeout, tuple) else timeout
        if not self._lock.acquire(timeout=-1 if seconds is None else min(seconds, threading.TIMEOUT_MAX)):
            raise _network_error(TimeoutError(), "", self.url, timeout)
        try:
            if self._chats and not any(chat is stale for chat in self._chats):
                return self._chats
            if self._failure and self._failure[0] > began and self._failure[1] == options:
                raise self._failure[2]
            try:
                renewed = self._with_fresh_nonce(stale, options) if stale and stale.action == _CURRENT else ()
                self._chats = renewed or self._fetch(options)
                return self._chats
            except Exception as error:
                self._failure = time.monotonic(), options, error
                raise
        finally:
            self._lock.release()

    def _with_fresh_nonce(self, stale: _Chat, options: Options) -> tuple[_Chat, ...]:
        """The chats with a new nonce, got in the way of the page's own script; () if there is none, as before 2.3.41."""
        data = {"action": "aipkit_get_frontend_chat_nonce", "bot_id": stale.bot_id}
        with contextlib.suppress(ChatgptFreeError):
            text = _Body(self._send(options, stale, "post", data=data), options["timeout"]).text()
            nonce = _token(_dig(next(_objects(text), {}), "data", "nonce"))
            if nonce not in ("", stale.nonce):
                return tuple(chat._replace(nonce=nonce) for chat in self._chats)
        return ()

    def _fetch(self, options: Options) -> tuple[_Chat, ...]:
        """Request the page and find its chats. Redirects are followed here, so that credentials never reach another host."""
        url = _prepared(self.url)
        headers = {"Accept": "text/html,*/*;q=0.8", "Accept-Encoding": "gzip", "Cache-Control": "no-cache"}
        for _ in range(10):
            response = self._request("get", url, headers, options)
            if not (location := _location(response)):
                page = _Body(response, options["timeout"], 8192).text()
                if response.status_code >= 400:
                    raise _refusal(response, page)
                return _find_chats(page, url)
            response.close()
            try:
                url = _prepared(urljoin(url, location))
            except ValueError:
                raise ChatgptFreeError(f"{url} redirects to {_shown(location)!r}, which is no address") from None
        raise requests.TooManyRedirects(f"{_shown(self.url)} leads to 10 redirects or more")

    def _send(self, options: Options, chat: _Chat, method: str, **request: Any) -> Response:
        """Send a request to a chat and return the response. Raise an exception if its status is not 200."""
        headers = {"Accept": "text/event-stream, application/json, */*;q=0.8", "Referer": chat.page_url}
        headers["Accept-Encoding"] = "identity"  # compression would hold text back
        if chat.action != _CURRENT:  # the current protocol needs no Origin, and can refuse one
            headers["Origin"] = urljoin(chat.page_url, "/")[:-1]
        response = self._request(method, chat.ajax_url, headers, {**options, **request})
        if response.status_code != 200:
            raise _refusal(response, _Body(response, options["timeout"]).text())
        return response

    def _request(self, method: str, url: str, headers: dict[str, str], options: Options) -> Response:
        """Send a request, and follow no redirect. The caller's headers, cookies and credentials go to no other host."""
        merged: CaseInsensitiveDict[Any] = CaseInsensitiveDict(headers)
        private = {name: options.get(name) for name in ("auth", "cert", "cookies", "headers")}
        options = {name: value for name, value in options.items() if name not in private}
        if not _redirect_rules.should_strip_auth(_prepared(self.url), url):  # both as `requests` connects to them
            merged.update(private.pop("headers") or {})
            user = get_auth_from_url(self.url)
            options.update(private, auth=private["auth"] or (user if any(user) else None))
        else:
            merged.update(Authorization=None, Cookie=None)  # None drops the session's own header
            if isinstance(self._session, requests.Session) and type(self._session) is not _Session:  # its auth and cookies
                options["auth"] = lambda request: (request.headers.pop("Cookie", None), request)[1]
            elif getattr(self._session, "auth", None):
                options["auth"] = ("", "")
        try:
            if type(self._session) is _Session and url.startswith("http://127.0.0.1:"):  # the demo site needs no proxy
                options.setdefault("proxies", {"http://127.0.0.1": ""})
            send = getattr(self._session, method)
            response: Response = send(url, headers=dict(merged), stream=True, allow_redirects=False, **options)
            source = _source(response)
            while source and 100 <= response.status_code < 200:  # http.client passes over 100, but not over 103 Early Hints
                source.headers = None  # type: ignore[assignment]
                source.begin()
                response.status_code, response.reason = source.status, source.reason
                response.headers = CaseInsensitiveDict(source.headers.items())
            response.headers = CaseInsensitiveDict(response.headers)  # other libraries' can be plain dicts
            return response
        except _NETWORK_ERRORS as error:
            if isinstance(error, ValueError) or type(error) is OSError:  # wrong arguments
                raise
            raise _network_error(error, "no answer from", url, options["timeout"]) from None

class Conversation:
    """A conversation with a bot, made by `conversation()`; one thread at a time can use it.

    `messages` is the list of what was said: mappings with "role" and "content". It can be saved as JSON; to continue, assign it
    to a new conversation's `messages`. A message that failed before any text is left out; of a broken answer, the text so far
    is kept. A site of the current protocol remembers what was said; to a classic one all of it is sent with each message.
    """

    def __init__(self, bot: ChatgptFree, system: str | None, options: Options) -> None:
        _request_options(options, bot._session)
        self.messages: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []
        format_prompt(self.messages or "-")  # raises for a wrong `system`
        self._bot, self._options, self._id, self._known_to = bot, options, os.urandom(16).hex(), ""

    @_with_defaults
    def stream(self, message: str, **options: Unpack[CallOptions]) -> Generator[str, None, None]:
        """Return a generator of the answer to `message` (str). Options and errors are those of `ChatgptFree.stream`."""
        asked = {"role": "user", "content": format_prompt([{"role": "user", "content": message}])}
        prompt = format_prompt([*self.messages, asked])
        question = _Question(self._bot, {**options}, prompt, asked["content"], self._id)
        question.known_to = self._known_to
        return self._heard(question, self._bot._generate(question))

    @_with_defaults
    def complete(self, message: str, **options: Unpack[CallOptions]) -> Reply:
        """Wait for the answer to `message` (str), a `Reply`. Options and errors are those of `ChatgptFree.stream`."""
        return Reply("".join(self.stream(message, **options)))

    def _heard(self, question: _Question, texts: Generator[str, None, None]) -> Generator[str, None, None]:
        __tracebackhide__ = True
        reply = {"role": "assistant", "content": ""}
        for text in texts:
            if not reply["content"]:
                self._known_to = question.known_to
                self.messages += [{"role": "user", "content": question.message}, reply]
            heard = reply.pop("content")  # the only reference, so that "+=" need not copy all of it
            heard += text
            reply["content"] = heard
            yield text

_shared = ChatgptFree()
stream, complete, conversation = _shared.stream, _shared.complete, _shared.conversation

# --------------------------------------------------------------------------------------------------- showing

_BREAK = "\u200b"  # a zero-width space: what it breaks up looks as before
_FENCED = (  # in a list or a quotation too, to the closing fence or the end
    r"(?ms)^([ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*)(`{3,}(?=[^`\n]*$)|~{3,})[ \t]*([\w+#.-]*)[^\n]*"
    r"((?:\n.*?)??)(?:\n[ \t>]*\2[`~]*[ \t]*$|\Z)"
)
_MATH = r"(?s)(`{1,4})[^`]+\1(?!`)|(?<!\\)\\(?:\((.{1,2000}?)\\\)|\[(.{1,2000}?)\\\])"  # or inline code
_LAB_MATH = r"[$@]|\\(?:begin|end)\{|\\\\[][()]"  # what JupyterLab takes for formulas, of the last two in code too

def _safe_markdown(text: str) -> str:
    """`text` as Markdown that brings no HTML into a notebook, which would run it; formulas as a notebook knows them.
    A "<" that could begin a tag gets an invisible character behind it, except in fenced code, whose fences are written anew so
    that nobody sees them end elsewhere. Inline code is no protection: JupyterLab takes ``[x](`) <img …> ` `` for a tag.
    """
    text = re.sub("\r\n?|[\u2028\u2029]", "\n", text)
    safe, end = "", 0
    for block in re.finditer(_FENCED, text):
        prefix, mark, language, code = block.groups()
        code = re.sub(rf"^[ \t>]{{0,{len(prefix)}}}", "", code, flags=re.MULTILINE)
        fence = mark[0] * max(len(mark), 1 + max(map(len, re.findall(mark[0] + "+", code)), default=0))
        prose = _safe_prose(text[end : block.start()] + prefix.rstrip()).rstrip("\n")
        safe += prose + "\n\n" if safe or prose else ""
        risky = re.search(_LAB_MATH, re.sub("[$@]", "", code))
        safe += f"{fence}{language}{code.replace('<', '<' + _BREAK) if risky else code}\n{fence}"
        end = block.end()
    return safe + _safe_prose(text[end:])

def _safe_prose(markdown: str) -> str:
    def formula(found: re.Match[str]) -> str:
        return found[0] if found[1] else f"${found[2].strip()}$" if found[2] else f"$${found[3]}$$"

    markdown = re.sub(r"(?:`{3,}|~{3,})[^\n]*", lambda fence: re.sub(r'["$@\\]', "", fence[0]), re.sub(_MATH, formula, markdown))
    breaks = r"\](?=:|\(\s*<?(?!https?://|mailto:|#))"  # a link can hold javascript:
    if re.search(_LAB_MATH, markdown):  # JupyterLab puts formulas back into the HTML, and a quote in one would end an address
        breaks = r"\](?=[:(])|:(?=//)|www(?=\.)"
    return re.sub(rf"{breaks}|<(?=[A-Za-z/!?])", rf"\g<0>{_BREAK}", markdown)

class _Shown(Reply):
    """A reply that `show` has shown. As the last value of the same cell, it is not shown once more."""
    cell: int

    def _ipython_display_(self) -> None:
        ipython: Any = sys.modules["IPython"]
        if ipython.get_ipython().execution_count != self.cell:
            ipython.display.display(Reply(self))

def show(texts: Iterable[str]) -> Reply:
    """Show an answer while it comes, and return it as a `Reply`: in a notebook Markdown that grows, elsewhere printed text.

    texts (iterable of str): what `stream` returns. What had come stays when it raises, or when the kernel is interrupted.
    >>> with demo_site(str.upper) as url:
    ...     reply = show(ChatgptFree(url).stream("Hello"))
    HELLO
    """
    __tracebackhide__ = True  # for IPython
    ipython: Any = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    if not hasattr(shell, "kernel"):  # of a notebook
        return _print(texts)
    handle = ipython.display.display(Reply("…"), display_id=True)
    heard, drawn = "", time.monotonic()
    try:
        for text in texts:
            heard += text
            if time.monotonic() - drawn >= 0.1:
                handle.update(Reply(heard))
                drawn = time.monotonic()
    finally:
        handle.update(Reply(heard))
    reply = _Shown(heard)
    reply.cell = shell.execution_count
    return reply

def _print(texts: Iterable[str]) -> Reply:
    """Print an answer as it comes. A terminal gets a notice until the first piece, and no control characters: they steer it."""
    __tracebackhide__ = True
    notice = heard = ""
    control = r"[^\n\t -~\xa0-\U0010ffff]" if sys.stdout is not None and sys.stdout.isatty() else r"(?!)"
    if sys.stderr is not None and sys.stderr.isatty():
        notice = "waiting for the answer ..."[: (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1]
    wipe = f"\r{' ' * len(notice)}\r" if notice else ""
    try:
        print(end=notice, file=sys.stderr, flush=True)
        for text in texts:
            print(end="" if heard else wipe, file=sys.stderr, flush=True)
            heard += text
            print(end=re.sub(control, "", text), flush=True)
    finally:
        print(end="" if heard else wipe, file=sys.stderr, flush=True)
        print(end="\n" if heard else "", flush=True)
    return Reply(heard)

# -------------------------------------------------------------------------------- the demo site, the command line

def demo_site(answer: Callable[[str], str] | None = None) -> contextlib.AbstractContextManager[str]:
    """Return a context manager that runs a stand-in site of the classic protocol on 127.0.0.1, and gives its URL.

    answer: a function from the prompt (str) to the text that the site sends, a word at a time; default a short one that
        quotes the prompt. If it raises RateLimitError (with `retry_after`), BlockedError, IncompleteReplyError (with
        `partial`, after which the connection ends) or another ChatgptFreeError, the site fails alike.

    >>> with demo_site(str.upper) as url:
    ...     ChatgptFree(url).complete("Hello")
    'HELLO'
    """
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    nonce = os.urandom(5).hex()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode(), keep_blank_values=True)
            status, headers, pieces = _demo_response(form, nonce, answer)
            with contextlib.suppress(OSError):  # a client may leave
                self.send_response(status)
                for name, value in {"Content-Type": "text/html; charset=UTF-8", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in pieces:
                    time.sleep(0.015 if len(pieces) > 1 else 0)
                    self.wfile.write(piece.encode())

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Site(ThreadingHTTPServer):
        def __enter__(self) -> str:  # type: ignore[override]
            threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
            return f"http://127.0.0.1:{self.server_address[1]}"

        def __exit__(self, *exc_info: object) -> None:
            self.shutdown()
            self.server_close()

    return Site(("127.0.0.1", 0), Handler)

def _demo_response(form: Mapping[str, list[str]], nonce: str, answer: Any) -> tuple[int, dict[str, str], list[str]]:
    if not form:
        return 200, {}, [f'<div class="wpaicg-chat-shortcode" data-nonce="{nonce}" data-post-id="6" data-bot-id="0"></div>']
    if form["_wpnonce"] != [nonce]:
        return 403, {}, ["The link you followed has expired."]
    prompt = form["message"][0].replace("&lt;", "<")
    quote = f"You asked: “{prompt}”. This is the demo site: it has no better answer, but streams it a word at a time."
    try:
        text, end = answer(prompt) if answer else quote, ["[DONE]"]
    except RateLimitError as error:
        wait = {} if error.retry_after is None else {"Retry-After": str(math.ceil(error.retry_after))}
        return 429, wait, [str(error).replace("<", "&lt;")]
    except BlockedError as error:
        return 403, {"cf-mitigated": "challenge"}, [str(error).replace("<", "&lt;")]
    except ChatgptFreeError as error:
        text, end = error.partial, [json.dumps({"error": {"message": str(error)}})]
        end = [] if isinstance(error, IncompleteReplyError) else end
    choices = [{"delta": {"content": word}} for word in re.findall(r"\s*\S+\s*|\s+", text)]
    data = [json.dumps({"id": "chatcmpl-demo", "choices": [choice]}) for choice in choices] + end
    return 200, {"Content-Type": "text/event-stream"}, [f"data: {line}\n\n" for line in data]

def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status. Without `argv` (list of str), exit if it isn't 0; so do usage errors.
    >>> main(["--demo", "Hello"])
    You asked: “Hello”. This is the demo site: it has no better answer, but streams it a word at a time.
    0
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed; print() would take the other one in its place
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="replace")  # what a terminal can't show is no reason to fail
    status = 0
    try:
        status = _run(argv)
    except BrokenPipeError:  # the reader of our output closed it
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit would complain
    except KeyboardInterrupt:
        status = 130
    except (ChatgptFreeError, OSError, ValueError) as error:
        _print_error(error)
        status = 2 if isinstance(error, (ValueError, FileNotFoundError)) else 1
    if argv is None and status:  # an application made by zipapp drops what this returns
        sys.exit(status)
    return status

def _run(argv: Sequence[str] | None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.debug:
        logging.basicConfig(format="%(name)s: %(message)s")
        logging.getLogger("urllib3").setLevel(logging.DEBUG)
    options: Any = {name: getattr(arguments, name) for name in ("model", "proxy", "timeout", "image", "web_search")}
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(demo_site()) if arguments.demo else arguments.url
        bot = stack.enter_context(ChatgptFree(url, cookies=dict(arguments.cookie), headers=dict(arguments.header), **options))
        if arguments.models:
            print(*bot.list_models(), sep="\n", flush=True)
            return 0
        chat, typed = bot.conversation(arguments.system), " ".join(arguments.prompt)
        piped = None
        with contextlib.suppress(AttributeError, OSError):  # standard input is closed, or replaced
            kind = os.fstat(sys.stdin.fileno()).st_mode
            if typed == "-" or stat.S_ISFIFO(kind) or stat.S_ISREG(kind):
                piped = sys.stdin.buffer.read().decode("utf-8-sig")
        if piped is None and not typed and sys.stdin is not None and sys.stdin.isatty():
            return _converse(chat)
        prompt = "\n\n".join(filter(str.strip, [typed if typed != "-" else "", (piped or "").rstrip()]))
        if not prompt and not arguments.demo:
            parser.error("the prompt is empty")
        _print(chat.stream(prompt or "Hello"))
    return 0

def _parser() -> Any:
    import argparse

    def seconds(text: str) -> float:
        if not 0 < float(text) < threading.TIMEOUT_MAX:
            raise ValueError
        return float(text)

    def cookie(text: str) -> Any:
        (pair,) = re.findall(r"(?s)^([^=]+)=(.*)$", text)  # ValueError if it is none
        return pair

    def header(text: str) -> Any:
        (pair,) = re.findall(r"(?s)^([^:]+):\s*(.*)$", text)
        return pair

    parser = argparse.ArgumentParser(
        prog="chatgptfree",
        description="Ask chatgptfree.ai, or any WordPress site with the same chat plugin,\nand print the answer as it comes.",
        epilog="""examples:
  chatgptfree "What is the capital of France?"
  git diff | chatgptfree "Review this change:"
  chatgptfree --url https://my-own-site.example/help/      (a conversation)""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, site = parser.add_argument, os.environ.get("CHATGPTFREE_URL") or ChatgptFree.url
    add("prompt", nargs="*", metavar="PROMPT", help="what to ask; the text of a pipe or a file on standard input goes with it."
        " At a terminal, without a prompt, a conversation begins")  # fmt: skip
    add("--url", default=site, metavar="U", help=f"a page that shows the chat (default: $CHATGPTFREE_URL, or {ChatgptFree.url})")
    add("--model", metavar="M", help="a bot of the page, by name or number (default: its first)")
    add("--models", action="store_true", help="print the names of the page's bots, and no more")
    add("--system", metavar="TEXT", help="instructions that go before the prompt")
    add("--image", metavar="FILE", help="a JPEG, PNG or WebP to send with each prompt")
    add("--search", action="store_true", dest="web_search", help="let the bot search the web first")
    add("--proxy", metavar="P", help="URL of a proxy for http and https")
    add("--timeout", type=seconds, default=120.0, metavar="S", help="seconds without a byte to wait (default: 120)")
    add("--cookie", type=cookie, action="append", default=[], metavar="NAME=VALUE", help="a cookie for the site; repeatable")
    add("--header", type=header, action="append", default=[], metavar="NAME:VALUE", help="a header for the site; repeatable")
    add("--demo", action="store_true", help="ask a stand-in site on this machine, without a network")
    add("--debug", action="store_true", help="show the requests on standard error, for bug reports")
    add("--version", action="version", version=f"%(prog)s {__version__}")
    return parser

def _converse(chat: Conversation) -> int:
    """Read questions and print answers, until end of file, `exit` or `quit`."""
    with contextlib.suppress(ImportError):
        import readline  # gives input() line editing

        readline.parse_and_bind("set enable-bracketed-paste on")  # several pasted lines are one question
    print("Ctrl-C stops an answer; exit, quit or Ctrl-D leaves.", file=sys.stderr, flush=True)
    while True:
        try:
            question = input("> ").rstrip()
        except (EOFError, KeyboardInterrupt) as end:
            print(flush=True)
            return 130 if isinstance(end, KeyboardInterrupt) else 0
        if question.strip() in ("exit", "quit"):
            return 0
        try:
            if question:
                _print(chat.stream(question))
        except (ChatgptFreeError, RequestException) as error:
            _print_error(error)
        except KeyboardInterrupt:  # enough of this answer
            pass

def _print_error(error: Exception) -> None:
    words = f"standard input is not UTF-8 text: {error}" if isinstance(error, UnicodeDecodeError) else str(error)
    words = _one_line(words.replace(_ADVICE, "--cookie cf_clearance=… --header 'User-Agent: …'"))
    print("chatgptfree:", words or type(error).__name__, file=sys.stderr)

if __name__ == "__main__":
    sys.exit(main())
