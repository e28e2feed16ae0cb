#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = ["requests>=2.25.0"]
# ///
"""Talk to chatgptfree.ai, or to any WordPress site that runs the same chat plugin.

    import chatgptfree

    print(chatgptfree.complete("What is the capital of France?"))

    for text in chatgptfree.stream("Tell me a story."):
        print(text, end="", flush=True)

    bot = chatgptfree.ChatgptFree("https://my-own-site.example/help/", timeout=30)
    chat = bot.conversation(system="Be terse.")
    print(chat.complete("My name is Ann."), chat.complete("What is my name?"))

The plugin is AI Power, today called AI Puffer. It has had two protocols, and this file speaks
both: the classic one (releases up to 2.2) and the current one (2.3 and later). The site's page
tells which. The file is made to be copied beside a script, and needs only `requests`.
At a terminal, in its folder: `python -m chatgptfree --help`.

The sections stand in the order in which one needs them. Each uses what stands above it, but for
`Reply`, the answers that calls return: it stands with the screen.

    errors, prompt                  what the caller gets and gives
    text from sites, tags           reading input that can't be trusted
    words of errors                 what a site reports becomes an exception
    event stream, answer            bytes become events, and events the text of an answer
    options, requests, chats        how something is sent, and the two protocols
    the site, the call              what outlives a call, and one call from its start to its end
    ChatgptFree                     the client, and conversations
    the screen, notebooks           how an answer is shown
    demo site, command line

Home: the project "chatgptfree"; its README.md tells the rest.
Copyright chatgptfree contributors. SPDX-License-Identifier: MIT
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import json
import logging
import math
import os
import re
import stat
import sys
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from http.client import responses
from http.cookiejar import CookieJar
from importlib import import_module
from shutil import copymode
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn, Optional, Union
from unicodedata import bidirectional
from urllib.parse import SplitResult, parse_qsl, unquote, urljoin, urlsplit, urlunsplit

try:
    import requests
except ModuleNotFoundError as missing:
    if missing.name != "requests":
        raise
    words = "chatgptfree needs the package requests: pip install requests"
    if __name__ == "__main__":
        sys.exit(words)
    raise ModuleNotFoundError(words, name="requests") from missing

from requests import Response
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.exceptions import DecodeError, HTTPError, ReadTimeoutError

__version__ = "2.1.0"
__all__ = [
    "BlockedError",
    "ChatNotFoundError",
    "ChatgptFree",
    "ChatgptFreeError",
    "Conversation",
    "IncompleteReplyError",
    "RateLimitError",
    "Reply",
    "complete",
    "conversation",
    "demo_site",
    "format_prompt",
    "list_models",
    "main",
    "show",
    "stream",
]

# What the public functions take. (Python evaluates `X | Y` only from 3.10 on.)
# A message is a mapping, or an object with `role` and `content`, as OpenAI's SDK returns it.
Messages = Union[str, Iterable[Any]]
Model = Union[str, int, None]
Timeout = Union[float, tuple[Optional[float], Optional[float]], None]
Cookies = Union[Mapping[str, str], CookieJar, None]
Image = Union[str, os.PathLike[str], bytes, None]
# (A list of arguments in place of the dots fails in a Union on Python 3.9.0 and 3.9.1.)
Auth = Union[tuple[str, str], Callable[..., requests.PreparedRequest], None]

if TYPE_CHECKING:
    # Type checkers know typing_extensions even where it is not installed.
    from typing_extensions import TypedDict, Unpack

    class RequestOptions(TypedDict, total=False):
        """What `requests` takes for a request."""

        auth: Auth
        cert: Union[str, tuple[str, str], None]
        headers: Optional[Mapping[str, Union[str, bytes, None]]]
        hooks: Any
        proxies: Optional[Mapping[str, str]]
        verify: Union[bool, str, None]

    class CompleteOptions(RequestOptions, total=False):
        """The keywords of `complete`: those of `stream` after `model`."""

        proxy: Optional[str]
        timeout: Timeout
        cookies: Cookies
        image: Image
        web_search: Optional[bool]
        max_time: Optional[float]

    class CallOptions(CompleteOptions, total=False):
        """The keywords that a client and a conversation take: those of `stream`."""

        model: Model
else:
    # Only for `typing.get_type_hints`, which evaluates annotations: `Unpack[CallOptions]` is then
    # `Union[Any]`, that is, Any. The classes above would take a fifth of this file's import time.
    Unpack = Union
    RequestOptions = CompleteOptions = CallOptions = Any

# What a site sends beyond these limits is an error, or is left out.
BODY_LIMIT = 10_000_000  # bytes of a page, or of an event stream between two pieces of text
LINE_LIMIT = 1_000_000  # bytes of one line of an answer, or of a script in a `data:` URL
ANSWER_LIMIT = 10_000_000  # bytes of an answer
ADDRESS_LIMIT = 2_000  # characters of an address: parsers take minutes for some long ones
TAG_LIMIT = 10_000  # tags of a page that look like a chat's
CHAT_LIMIT = 1_000  # chats on a page
SOURCE_LIMIT = 100  # sources of a search
TITLE_LIMIT = 300  # characters of the title of a source; more are cut off
ATTRIBUTE_LIMIT = 1_000  # attributes of a tag; the pattern `_TAG` has a limit of its own
ERROR_LIMIT = 200_000  # characters of a page that is read for the words of an error

IMAGE_LIMIT = 20_000_000  # bytes of an image, as the plugin has it
MEMORY_LIMIT = 15  # messages of a conversation that a current site shows its model
TIMEOUT = 120.0  # seconds without a byte, where the caller gives none
CONNECT_TIMEOUT = 20.0  # seconds for connecting, likewise; then the host's next address is tried
LINGER = 0.25  # seconds to wait for the end of a response after the answer is complete
IDLE = 4.0  # seconds without a request after which a server may have closed a connection
NOTICE_AFTER = 2.0  # seconds of waiting for standard input before the user is told

# What a request can raise. The exceptions of `requests` are OSErrors, and so are those of other
# libraries for HTTP. Those of urllib3 are not, and `requests` lets some of them through.
_NETWORK_FAILURES = (OSError, HTTPError)

_log = logging.getLogger("chatgptfree")

# ------------------------------------------------------------------------------------------ errors


class ChatgptFreeError(RuntimeError):
    """The site did something wrong: it said that it failed, or sent what could not be used.

    You can raise it, and its kinds, in the function that you give to `demo_site`.

    words (str): what happened, in the site's own words where it has any. Default: "".
    partial (str): the part of the answer that had come before. Default: "". When a call fails, only
        an IncompleteReplyError has any.
    retry_after (float): seconds to wait before the next try. Default: None, if the site doesn't
        say. When a call fails, only a RateLimitError has any.

    The last two are attributes, too.

    >>> def fail(prompt):
    ...     raise ChatgptFreeError("The model is out of order.")
    >>> with demo_site(fail) as url:
    ...     try:
    ...         ChatgptFree(url).complete("Hello")
    ...     except ChatgptFreeError as error:
    ...         print(error)
    The model is out of order.
    """

    def __init__(
        self, words: str = "", *, partial: str = "", retry_after: Optional[float] = None
    ) -> None:
        super().__init__(words)
        self.partial = partial
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        return _copied_error, (type(self), self.args, vars(self))


def _copied_error(
    kind: type[ChatgptFreeError], args: tuple[Any, ...], attributes: dict[str, Any]
) -> ChatgptFreeError:
    """An error out of its parts, for copies and pickles.

    They don't call the constructor, since that of a caller's subclass can take something else.
    """
    error = kind.__new__(kind, *args)
    vars(error).update(attributes)
    return error


class ChatNotFoundError(ChatgptFreeError):
    """The page shows no chat of the plugin.

    The message names the page and its title, and says what is missing: the nonce, which WordPress
    wants with each question, or the post id, the number of the page.
    """


class BlockedError(ChatgptFreeError):
    """The site wants a check that only a browser passes.

    The message ends with the advice to hand over the cookies of a browser that has passed it.
    """

    advice: ClassVar[str] = (
        "Open the site's page in a browser, then pass on that browser's cookies and its exact "
        "User-Agent: cookies={…}, headers={'User-Agent': …}"
    )

    def __str__(self) -> str:
        words = super().__str__().rstrip(".")
        if not words:
            return self.advice
        return f"{words}. {self.advice}"


class RateLimitError(ChatgptFreeError):
    """A limit was reached: HTTP status 429, a limit of tokens, a quota.

    `retry_after` (float or None) is the number of seconds to wait, None if the site doesn't say.

    >>> def refuse(prompt):
    ...     raise RateLimitError("Slow down.", retry_after=7)
    >>> with demo_site(refuse) as url:
    ...     try:
    ...         ChatgptFree(url).complete("Hello")
    ...     except RateLimitError as error:
    ...         print(error.retry_after, error)
    7.0 HTTP 429: Slow down. (try again in 7 s)
    """


class IncompleteReplyError(ChatgptFreeError):
    """The answer failed after some text had come, or ended without an end marker.

    `partial` (str) is the text that had come; the message says why it is not whole.
    """


# ------------------------------------------------------------------------------------------ prompt

# The role and the content of a message.
_Turn = tuple[str, str]


def format_prompt(messages: Messages) -> str:
    """Return the one text that is sent for `messages`, in the format of gpt4free.

    A single message gives its content as it is, whatever its role. More give a line for each, and
    "Assistant:".

    messages (str, or iterable of messages): a str is one user message. A message is a mapping with
        a str "role" and a "content", or an object with these attributes, as OpenAI's SDK returns
        it. The content is a str, None for "", or a list of `{"type": "text", "text": …}` parts.

    Raises TypeError or ValueError, which name the message and what is wrong with it. A prompt
    without any text is a ValueError too.

    >>> print(format_prompt([{"role": "system", "content": "Be terse."},
    ...                      {"role": "user", "content": "Hi"}]))
    System: Be terse.
    User: Hi
    Assistant:
    """
    return _prompt_of(_as_turns(messages))


def _as_turns(messages: Messages) -> list[_Turn]:
    """The roles and contents of what `format_prompt` takes."""
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    return _turns(_as_list(messages, "a str or a list of messages"))


def _prompt_of(turns: Sequence[_Turn]) -> str:
    """What `format_prompt` returns for these turns."""
    if not turns:
        raise ValueError("messages is empty")
    if not any(content.strip() for role, content in turns):
        raise ValueError("the prompt is empty")
    if len(turns) == 1:
        role, content = turns[0]
        return content
    lines = [f"{role.capitalize()}: {content}" for role, content in turns]
    lines.append("Assistant:")
    return "\n".join(lines)


def _as_list(messages: Any, wanted: str) -> list[Any]:
    """Messages as a list. Raises TypeError for anything else.

    wanted: what they must be, for the error. A prompt can also be a str, a conversation can't.
    """
    if isinstance(messages, (str, Mapping, bytes)) or not isinstance(messages, Iterable):
        raise TypeError(f"messages must be {wanted}, not {type(messages).__name__}")
    return list(messages)


def _turns(messages: Sequence[Any]) -> list[_Turn]:
    """The roles and contents of messages. Raises an error that names a wrong one."""
    return [_turn(message, f"messages[{i}]") for i, message in enumerate(messages)]


def _turn(message: Any, where: str) -> _Turn:
    """The role and the content of a message. `where` names it in errors."""
    message = _as_mapping(message)
    if not isinstance(message, Mapping):
        kind = type(message).__name__
        raise TypeError(f"{where} must be a mapping with 'role' and 'content', not {kind}")
    for key in ("role", "content"):
        if key not in message:
            raise ValueError(f"{where} has no {key!r}")
    role = message["role"]
    content = message["content"]
    if content is None:
        # OpenAI's API has it where a model calls a function
        content = ""
    elif isinstance(content, (list, tuple)):
        content = _joined_parts(content, f"{where}['content']")
    for key, text in (("role", role), ("content", content)):
        if not isinstance(text, str):
            raise TypeError(f"{where}[{key!r}] must be a str, not {type(text).__name__}")
        try:
            # half of a pair of surrogates, such as "\ud83d", can't be sent
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{where}[{key!r}] cannot be sent as UTF-8: {error}") from error
    return role, content


def _as_mapping(message: Any) -> Any:
    """A message as a mapping, if it is an object with `role` and `content`."""
    is_object = hasattr(message, "role") and hasattr(message, "content")
    if is_object and not isinstance(message, Mapping):
        return {"role": message.role, "content": message.content}
    return message


def _joined_parts(parts: Iterable[Any], where: str) -> str:
    """The text of a content that is given as a list of parts, as in OpenAI's API."""
    texts = []
    for i, part in enumerate(parts):
        is_text = isinstance(part, Mapping) and part.get("type") == "text"
        if not is_text or not isinstance(part.get("text"), str):
            wanted = "a text part {'type': 'text', 'text': …}"
            raise ValueError(f"{where}[{i}] must be {wanted}, not {part!r:.80}")
        texts.append(part["text"])
    return "".join(texts)


# The media types of images, and patterns for the first bytes of a file.
_IMAGE_PATTERNS = {
    "image/jpeg": rb"\xff\xd8\xff",
    "image/png": rb"\x89PNG\r\n\x1a\n",
    "image/webp": rb"(?s)RIFF....WEBP",
}


def _image_field(image: Any) -> str:
    """The form field that carries an image, which is a path or the bytes of a file."""
    if isinstance(image, (str, os.PathLike)):
        with open(image, "rb") as file:
            image = file.read(IMAGE_LIMIT + 1)
    if len(image) > IMAGE_LIMIT:
        raise ValueError(f"the image is over {IMAGE_LIMIT:,} bytes")
    for mime_type, pattern in _IMAGE_PATTERNS.items():
        if re.match(pattern, image):
            encoded = b64encode(image).decode()
            return json.dumps([{"mime_type": mime_type, "base64_data": encoded}])
    raise ValueError("the image is not a JPEG, PNG or WebP")


# --------------------------------------------------------------------------------- text from sites


def _token(value: Any) -> str:
    """A str or int from the site's JSON as text, "" for anything else or what can't be printed."""
    # not `isinstance`: True is an int as well
    if type(value) in (str, int) and str(value).isprintable():
        return str(value)
    return ""


def _unescape(text: str) -> str:
    """Text without HTML's character references."""
    if "&" not in text:
        return text
    # not at the top: its table of names would delay the command line's first word
    from html import unescape

    # It fails for references of over 4,300 digits. No character needs nine, so references with nine
    # digits or more are left as they are.
    return unescape(re.sub(r"&#(?=[0-9]{9})", "&amp;#", text))


def _escape(text: str) -> str:
    """Text as HTML."""
    # not at the top: see `_unescape`
    from html import escape

    return escape(text)


# Unlike `json.loads` it says where the value ends. It also takes less time.
_decode_json = json.JSONDecoder().raw_decode


def _json_object(text: str) -> Optional[dict[str, Any]]:
    """`text` as a JSON object; None if it is anything else.

    text: without blanks around it.
    """
    try:
        value, end = _decode_json(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and end == len(text):
        return value
    return None


_OBJECT_START = r"(?m)^[ \t\r\ufeff]*(?=\{)"


def _json_objects(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the JSON objects that begin at the start of a line, and where each begins.

    PHP's warnings can stand before them.
    """
    end = 0
    failures = 0
    for start in re.finditer(_OBJECT_START, text):
        # each failed attempt may have read all of the text
        if failures == 5:
            return
        is_inside_the_last_one = start.end() < end
        if is_inside_the_last_one:
            continue
        try:
            value, end = _decode_json(text, start.end())
        except (ValueError, RecursionError):
            failures += 1
        else:
            yield start.start(), value


def _first_json_object(text: str) -> dict[str, Any]:
    """The first that `_json_objects` finds in the first LINE_LIMIT characters, else {}."""
    for _, value in _json_objects(text[:LINE_LIMIT]):
        return value
    return {}


def _text_at(value: Any, *keys: str) -> str:
    """The str at the end of a path of keys, "" where there is none."""
    for key in keys:
        if not isinstance(value, dict):
            return ""
        value = value.get(key)
    if isinstance(value, str):
        return value
    return ""


def _one_line(text: str) -> str:
    """Text on one line. Blanks and characters that can't be printed become single blanks."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())


def _shown(address: str) -> str:
    """An address as a message can show it: short, on one line, and without a password."""
    # shortened first, since a redirect can name an address of 64 KB
    line = _one_line(address[:ADDRESS_LIMIT])
    return re.sub(r"//[^/?#]*@", "//", line)[:200]


def _without_half_characters(text: str) -> str:
    """Text that can be encoded.

    JSON writes some characters as two halves (a pair of surrogates), and the second may come with
    the next event. Two halves that follow each other become a character here, a single one "?".
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return paired.encode(errors="replace").decode()
    return text


# --------------------------------------------------------------------------------- tags of a page
#
# The tags of a page are found in one pass, by one pattern of three parts. Comments, and scripts and
# the like, are passed over as a whole, since they can hold an old copy of the chat. The third part
# is a start tag with its attributes. The time is linear: a comment or script that isn't closed runs
# to the end of the page, `\Z`. (The standard library's html.parser took 8 to 10 times as long on
# real pages, and quadratic time on hostile ones.)

_TAG = r"""(?isx)
    <
    (?:
        # <!-- a comment -->; browsers take <!--> and <!---> for whole ones, too
        !--  (?: -?> | .*? (?: --!?> | \Z ) )
      |
        # <script>…</script>; the name ends before a blank, "/" or ">", so <style-guide> is no style
        (?P<raw> script | style | textarea ) (?= [\s/>] )
        .*?  (?: </ (?P=raw) (?= [\s/>] ) | \Z )
      |
        # <div class="a" title='5 > 4' hidden: a name, and what may be attributes
        [a-z] [^\s<>/]* [\s/]
        (?P<attributes>
            # quotes count only after "=", as in HTML; inside them "<" and ">" may stand unescaped;
            # 999 bounds the memory that `re` uses for a single tag
            (?: [^<>=]* = \s* (?: "[^"]*" | '[^']*' )? ){0,999}
            [^<>=]*
        )
    )
"""

_ATTRIBUTE = r"""(?x)
    # a name
    ( [^\s=/]+ )
    # and maybe a value: in double quotes, in single quotes, or bare
    (?: \s* = \s* (?: "([^"]*)" | '([^']*)' | (\S*) ) )?
"""


def _tags_with(page: str, *words: str) -> Iterator[dict[str, str]]:
    """Yield the attributes of each tag that has one of `words` in them."""
    count = 0
    for tag in re.finditer(_TAG, page):
        attributes = tag["attributes"]
        if attributes is None or not any(word in attributes for word in words):
            continue
        # a "<" in the text can look like the beginning of a tag
        is_closed = page.startswith(">", tag.end())
        if is_closed:
            yield _parsed_attributes(attributes)
        count += 1
        if count == TAG_LIMIT:
            return


def _parsed_attributes(text: str) -> dict[str, str]:
    """The attributes of a tag by their names. Of two with the same name the first counts."""
    attributes: dict[str, str] = {}
    for attribute in re.finditer(_ATTRIBUTE, text):
        name, double_quoted, single_quoted, bare = attribute.groups("")
        value = double_quoted or single_quoted or bare
        attributes.setdefault(name.lower(), _unescape(value[:LINE_LIMIT]))
        if len(attributes) == ATTRIBUTE_LIMIT:
            break
    return attributes


_TITLE = r"(?i)<title(?=[\s/>])[^<>]*>([^<]*)"


def _title(page: str) -> str:
    """The title of a page on one line, at most 200 characters; "" if it has none."""
    title = re.search(_TITLE, page[:ERROR_LIMIT])
    if title is None:
        return ""
    return _one_line(_unescape(title[1]))[:200]


# --------------------------------------------------------------------------------- words of errors
#
# An event that reports an error becomes one by `_error_in`. So does a response that is refused
# (`_refusal`, by `_reported`), if its body is JSON; of a page `_words` are taken. All end in
# `_error_with`, which tells limits from other errors by their words.

# Words that say that a limit of requests, or a quota, is used up. "Your prompt exceeds the model's
# token limit" and "Disk quota exceeded" are other limits.
_LIMITS = r"""(?ix)
    too\ many\ requests
  | \b rate[ -]limit\w*\ (?: is\ | was\ | has\ been\ )? (?: reached | exceeded )
  | \b rate[ -]limited
  | reached\ your\ (?! [^.!?]{0,60} \b (?: length | context | characters? ) \b )
    [^.!?]{0,60} \b (?: limits? | quota ) \b
  | exceeded\ your\ (?: current\ )? quota
  | (?<! disk\ ) quota\ exceeded\ for
  | credits\ have\ run\ out
  | not\ enough\ [^.!?]{0,60} credits
  | spending\ limit
  | daily\ service\ limit
  | resource\ has\ been\ exhausted
    # a provider's code, where the site puts it among the words
  | \(code:\ (?: insufficient_quota | rate_limit_exceeded | rate_limit_error ) \)
"""
# Flags and codes that tell the same in any language.
_LIMIT_FLAGS = ("tokenLimitReached", "quota_notice")
_LIMIT_CODES = (
    "429",
    "insufficient_quota",
    "rate_limit_exceeded",
    "credit_deficit",
    "site_limit",
    "provider_daily_limit",
)
_PHP_WARNING = (
    r"(?m)^[ \t]*(?:<br ?/?>[ \t]*)?(?:<b>)?(?:PHP )?"
    r"(?:Warning|Notice|Deprecated)(?:</b>)?: .* on line .*"
)
_MARKUP = r"""(?isx)
    # elements whose content is nothing to read
    < ( script | style | nav ) (?= [\s/>] ) .*?  (?: </ \1 \s* >? | \Z )
  | # other tags
    < /? [a-z!] [^<>]* >?
"""

# Checks that only a browser passes: Cloudflare's, SiteGround's, AWS's and Vercel's have a header.
_BOT_CHECK_HEADERS = ("cf-mitigated", "sg-captcha", "x-amzn-waf-action", "x-vercel-mitigated")
# The page of the check tells too. It is searched in lower case.
_BOT_CHECK_WORDS = r"""(?x)
    # Cloudflare, Imunify360, DDoS-Guard
    <title>\s* (?: just\ a\ moment | one\ moment,\ please | ddos-guard )
  | /\.well-known/ddos-guard/
    # SiteGround, Sucuri, Anubis
  | /\.well-known/sgcaptcha/ | sucuri_cloudproxy_js | id=["']?anubis_challenge
    # testcookie
  | slowaes\.decrypt | document\.cookie\s*=\s*["']__test=
    # LiteSpeed, Imperva, DataDome, HUMAN, Bunny Shield
  | /\.lsrecap/ | _incapsula_resource | captcha-delivery\.com | px-captcha | /\.bunny-shield/
    # BitNinja, whose page has both words
  | \A (?= (?s: .* ) bitninja ) (?= (?s: .* ) captcha )
"""


def _error_in(report: Mapping[str, Any], prefix: str = "") -> ChatgptFreeError:
    """The error that a site reports as JSON. Its flags and codes can stand one level down.

    prefix: what goes before the site's words, such as "HTTP 403: ".
    """
    words = _words(_message_in(report))
    candidates = (report, report.get("data"), report.get("error"))
    levels = [level for level in candidates if isinstance(level, Mapping)]
    # a check by Cloudflare's Turnstile
    if any(level.get("ts_required") for level in levels):
        return _blocked(f"{prefix}the site", words)
    if any(_tells_limit(level) for level in levels):
        return RateLimitError(prefix + (words or "a limit was reached"))
    return _error_with(words, prefix)


def _tells_limit(report: Mapping[str, Any]) -> bool:
    """Do the flags or codes of a report tell a limit?"""
    codes = [report.get(key) for key in ("code", "type", "provider_error_code", "status")]
    is_coded = any(_token(code) in _LIMIT_CODES for code in codes)
    return is_coded or any(report.get(flag) for flag in _LIMIT_FLAGS)


def _error_with(words: str, prefix: str = "") -> ChatgptFreeError:
    """A RateLimitError if the words say that a limit was reached, else a ChatgptFreeError."""
    words = prefix + (words or "the site reported an error without words")
    if re.search(_LIMITS, words):
        return RateLimitError(words)
    return ChatgptFreeError(words)


def _message_in(report: Mapping[str, Any]) -> str:
    """The words of an error in a site's JSON, however deep they stand; "" if it has none."""
    message: Any = report
    while isinstance(message, Mapping):
        candidates = [message.get(key) for key in ("error", "msg", "message", "data")]
        # true, a number or a list says only that there is an error
        texts = [value for value in candidates if value and isinstance(value, (str, Mapping))]
        message = next(iter(texts), "")
    return str(message)


def _words(markup: str) -> str:
    """The readable text of `markup` on one line, at most 300 characters.

    A longer page gives its title, if it has one.
    """
    markup = markup[:ERROR_LIMIT]
    # where there is nothing else, PHP's warnings are the words
    markup = re.sub(_PHP_WARNING, "", markup).strip() or markup
    title = _title(markup)
    text = _plain(re.sub(_TITLE, "", markup))
    if title and len(text) > 300:
        text = title
    elif title and not text.startswith(title):
        # as a rule the heading repeats the title
        text = f"{title} {text}".strip()
    if len(text) > 300:
        text = text[:299] + "…"
    return text


def _plain(markup: str) -> str:
    return _one_line(_unescape(re.sub(_MARKUP, " ", markup)))


def _blocked(who: str, words: str = "") -> BlockedError:
    """The error for a check that only a browser passes. `words` are the site's own."""
    if words:
        words = f' ("{words}")'
    return BlockedError(f"{who} asks for a check that needs a browser{words}")


def _is_bot_check(text: str) -> bool:
    """Is this the page of a check? A page with a chat never is, whatever words it has."""
    if re.search("wpaicg-chat|aipkit_chat_container|aipkit_popup_wrapper", text):
        return False
    return re.search(_BOT_CHECK_WORDS, text[:ERROR_LIMIT].lower()) is not None


def _is_blocked(response: Response, text: str) -> bool:
    """Is this response a check that only a browser passes? `text` is its body."""
    return any(name in response.headers for name in _BOT_CHECK_HEADERS) or _is_bot_check(text)


def _refusal(response: Response, text: str) -> Exception:
    """The exception for a response that is not an answer. `text` is its body."""
    status = response.status_code
    prefix = f"HTTP {status}: "
    if _is_blocked(response, text):
        return _blocked(prefix + _shown(response.url))
    location = _location(response)
    if location:
        redirect = f"{_shown(response.url)} redirects to {_shown(location)}"
        return ChatgptFreeError(f"{prefix}{redirect}, which was not followed")
    # the proxy refuses, not the site
    if status == 407:
        host = urlsplit(response.url).hostname
        prefix = f"HTTP 407 from the proxy for {host}: "
        return requests.exceptions.ProxyError(str(_reported(response, text, prefix)))
    error = _reported(response, text, prefix)
    is_limit = isinstance(error, RateLimitError)
    if status == 429 and not isinstance(error, BlockedError):
        is_limit = True
    if not is_limit:
        return error
    words = str(error)
    seconds = _retry_after(response.headers.get("Retry-After", ""))
    if seconds is not None:
        words += f" (try again in {seconds:.0f} s)"
    return RateLimitError(words, retry_after=seconds)


def _location(response: Response) -> str:
    """Where a redirect leads, "" for any other response."""
    if response.status_code not in (301, 302, 303, 307, 308):
        return ""
    location: str = response.headers.get("Location", "")
    try:
        # http.client decodes headers as Latin-1, and people write UTF-8
        return location.encode("latin-1").decode(errors="surrogateescape")
    except UnicodeEncodeError:
        # some libraries have decoded it already
        return location


def _reported(response: Response, text: str, prefix: str) -> ChatgptFreeError:
    """The error that a refusal reports in its body, or else by its status.

    prefix: what goes before its words.
    """
    report = _first_json_object(text)
    if _message_in(report):
        return _error_in(report, prefix)
    # WordPress's answer to an action that it doesn't know
    if response.status_code == 400 and text.strip() == "0":
        reason = "the plugin is off or has changed, or the prompt is over the server's limit"
        return ChatgptFreeError(f"{prefix}0 ({reason})")
    title = _title(text)
    if response.status_code == 404 and title:
        # the rest is the theme's menu
        return _error_with(title, prefix)
    return _error_with(_words(text) or _reason(response), prefix)


def _reason(response: Response) -> str:
    """What the site, or else the standard, calls the status of a response."""
    standard = responses.get(response.status_code, "no words")
    return _one_line((response.reason or "")[:300]) or standard


def _retry_after(header: str) -> Optional[float]:
    """A Retry-After header, a number of seconds or a date, as seconds from now.

    None if it is malformed, or over what a thread can sleep.
    """
    try:
        if header.strip().isdecimal():
            seconds = float(header)
        else:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError, IndexError):
        # TypeError and IndexError are Python 3.9's, for some malformed dates
        return None
    if seconds > threading.TIMEOUT_MAX:
        return None
    return max(0.0, seconds)


def _in_short(error: Exception, url: str, what: str, seconds: float) -> str:
    """A failure in one short sentence. The network's own words are long.

    url: the address whose host the sentence names.
    what: how it begins: "no answer from" or "lost the connection to".
    seconds: the time-out that was set. It is named if the exception doesn't name it, as for one in
        the middle of a body.
    """
    text = _one_line(str(error))
    if not isinstance(error, _NETWORK_FAILURES):
        return text or type(error).__name__
    # requests' own words are short, unlike those of the exceptions that it wraps
    has_words = len(error.args) > 0 and isinstance(error.args[0], str)
    if has_words and isinstance(error, requests.RequestException):
        if "SOCKS" in text:
            text += " Try: pip install 'requests[socks]'"
        return text
    host = urlsplit(url).netloc.rpartition("@")[2]
    if isinstance(error, requests.exceptions.ProxyError):
        host = f"the proxy for {host}"
    if isinstance(error, (requests.Timeout, TimeoutError)) or "timed out" in text:
        # urllib3 says "(connect timeout=0.5)"
        waited = re.search(r"timeout=(\d+(?:\.\d+)?)\)", text)
        if waited:
            seconds = float(waited[1])
        return f"nothing came from {host} for {_in_words(seconds)}"
    reason = _systems_reason(error)
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        reason += " (REQUESTS_CA_BUNDLE can name a file of certificates that you trust)"
    return f"{what} {host}: {reason}"


def _in_words(seconds: float) -> str:
    """A time in words."""
    if seconds == 1:
        return "1 second"
    return f"{seconds:g} seconds"


def _systems_reason(error: BaseException) -> str:
    """What the system said: requests' exceptions wrap urllib3's, and these the system's."""
    cause = error
    while type(cause).__module__.startswith(("requests.", "urllib3.")) and cause.__context__:
        cause = cause.__context__
    words = _one_line(str(getattr(cause, "strerror", None) or cause))
    return words[:300] or type(cause).__name__


# ------------------------------------------------------------------------------------ event stream
#
# Bytes become lines, and lines become events: `_lines`, then `_EventReader`. An event is a pair of
# its name, "" if it has none, and its data: a dict where that is a JSON object, else the text.
# Sites don't keep to the standard, so the reader is lenient. Lines that are no field of an event,
# such as an answer as plain JSON or PHP's warnings, count as data of the event that they stand in.

_Event = tuple[str, Union[dict[str, Any], str]]


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of a text, without their ends, however its bytes are cut into pieces."""
    rest = bytearray()
    for piece in pieces:
        whole, newline, begun = piece.rpartition(b"\n")
        if newline:
            if rest:
                whole = bytes(rest) + whole
                rest.clear()
            for line in whole.decode("utf-8", "replace").split("\n"):
                # A PHP file that was saved with a byte order mark sends one before its output.
                yield line.strip("\r\ufeff")
        rest += begun
        # only the unfinished line is held in memory, so only it needs the limit
        if len(rest) > LINE_LIMIT:
            raise ChatgptFreeError(f"the site sent a line of over {LINE_LIMIT:,} bytes")
    yield rest.decode("utf-8", "replace").strip("\r\ufeff")


class _EventReader:
    """Puts lines together into events.

    By the standard an event ends at an empty line. But some sites send none, and a caller wants
    text at once, so a `data:` line is an event of its own. Two kinds of lines wait for the end of
    their event: a `data:` line that begins a JSON object and doesn't end it, with the lines after
    it, and lines that are no field.
    """

    def __init__(self) -> None:
        # the name of the event that the lines belong to
        self.name = ""
        # the lines that are held, in one buffer: in a list, short ones take ten times their length
        self.held = io.StringIO()
        # True while they have the beginning of a JSON object from a `data:` line
        self.holds_data = False

    def take(self, line: str) -> Sequence[_Event]:
        """Take a line, and return the events that it completes."""
        if line.startswith("data:"):
            return self._take_data(line[5:].strip())
        if not line or line.isspace():
            return self._end_event("")
        if line.startswith("event:"):
            return self._end_event(line[6:].strip())
        if line.endswith("event: message"):
            # Classic releases pass on a provider's error as lines of JSON, without a line end after
            # the last "}". So the name of the next event stands on the same line.
            self._hold(line[: -len("event: message")])
            return self._end_event("message")
        if not line.startswith((":", "id:", "retry:")):
            self._hold(line)
        return ()

    def _hold(self, line: str) -> None:
        self.held.write(line)
        self.held.write("\n")
        if self.held.tell() > BODY_LIMIT:
            raise ChatgptFreeError(f"the site sent {BODY_LIMIT:,} characters that are no event")

    def _take_data(self, data: str) -> Sequence[_Event]:
        if self.holds_data:
            self._hold(data)
            return ()
        value = _json_object(data)
        if value is not None:
            return ((self.name, value),)
        if data.startswith("{"):
            self._hold(data)
            self.holds_data = True
            return ()
        return ((self.name, data),)

    def _end_event(self, next_name: str) -> Sequence[_Event]:
        name = self.name
        self.name = next_name
        if not self.held.tell():
            return ()
        text = self.held.getvalue()
        self.held = io.StringIO()
        self.holds_data = False
        objects = list(_json_objects(text))
        if not objects:
            return ((name, text),)
        # Text before the first object, such as PHP's warnings, is an event, too. Text after it is
        # left out.
        first, _ = objects[0]
        events: list[_Event] = []
        if text[:first].strip():
            events.append((name, text[:first]))
        events += [(name, value) for _, value in objects]
        return events


def _events(pieces: Iterable[bytes]) -> Generator[_Event, None, None]:
    """Yield the events of a stream."""
    reader = _EventReader()
    for line in _lines(pieces):
        yield from reader.take(line)
    # the end of a stream ends its last event, as an empty line does
    yield from reader.take("")


# ------------------------------------------------------------------------------------------ answer
#
# `_Answer` takes events, one at a time, and returns the text that each brings. It knows all about
# what the answers of both protocols contain, and keeps what has come of the answer. It raises the
# error that an event reports. What is left over when the stream has ended is judged by `end`.
#
# A "disguised error" is one of the model's provider, which classic sites send in the shape of an
# answer, word by word. Its events have the name "message", and its chunks have neither the `id` nor
# the `object` that a provider's own chunks have. It goes on to its end marker, and what follows
# that, often the same error once more, doesn't count.


class _Answer:
    """An answer in progress."""

    def __init__(self) -> None:
        # the text so far, as UTF-8: a list of pieces would take many times as much memory
        self.encoded = bytearray()
        # What goes before the next text: a blank line between two messages, or the first half of a
        # character whose second half is still to come. (A new message replaces such a half.)
        self.before = ""
        # The site has said that the answer is whole. More text may follow all the same.
        self.is_complete = False
        # An end marker has come, after which nothing counts. Then it is complete, too.
        self.is_over = False
        # why it ended, "" where the site doesn't tell
        self.finish_reason = ""
        # the number of the site's messages that it consists of, as far as the site tells
        self.message_count = 0
        # The words so far of a disguised error. Once there are any, nothing else comes.
        self.error_words: list[str] = []
        # what stood outside of events, or in events that report errors, since the last text
        self.noise: list[str] = []
        # the title of a form, None where there is no form
        self.form_title: Optional[str] = None
        # the names of events that are not known here
        self.skipped: list[str] = []
        # the sources of a search: titles by addresses
        self.titles: dict[str, str] = {}

    def text(self) -> str:
        """The text so far."""
        return self.encoded.decode()

    def sources(self) -> list[dict[str, str]]:
        """The sources of a search, each address once."""
        return [{"title": title, "url": url} for url, title in self.titles.items()]

    def take(self, name: str, data: Union[dict[str, Any], str]) -> str:
        """Take an event, and return its text, "" for none. Raise the error that it reports."""
        if self.error_words:
            return self._take_in_error(name, data)
        if isinstance(data, str):
            return self._take_bare(name, data)
        # at the end of the class
        take = self._TAKE.get(name)
        if take is None:
            return self._skip(name)
        return take(self, data)

    def _take_chunk(self, data: dict[str, Any]) -> str:
        """A provider's chunk, a piece of the current protocol, or the whole answer as JSON."""
        # a whole answer, whose "msg" reports no error
        if data.get("status") == "success":
            return self._take_whole(data.get("data"))
        if _reports_error(data):
            raise _error_in(data)
        # a chunk
        choice = _first_choice(data)
        if choice.get("finish_reason"):
            self.is_complete = True
            self.finish_reason = _one_line(_text_at(choice, "finish_reason"))[:50]
        if choice:
            return self._take_text(_text_in(choice))
        # a whole answer without a status
        if isinstance(data.get("data"), str):
            return self._take_whole(data["data"])
        # a piece
        return self._take_text(_text_in(data))

    def _take_text(self, text: str) -> str:
        """Keep a piece of text, and return it as it can be shown."""
        if not text:
            return ""
        if self.before:
            text = self.before + text
            self.before = ""
        if not text.isascii():
            if "\ud800" <= text[-1] <= "\udbff":
                self.before = text[-1]
                text = text[:-1]
            text = _without_half_characters(text)
        self.noise.clear()
        self.encoded += text.encode()
        return text

    def _take_whole(self, text: Any) -> str:
        """An answer in one piece, as classic sites send it that don't stream."""
        if self.encoded:
            # Releases up to 1.8.84 send all of the text again. They do so after a cut answer too,
            # so it doesn't mean that the answer is whole.
            return ""
        self.is_complete = True
        if not isinstance(text, str):
            return ""
        # Errors of Google's models come in the shape of an answer. These words are never
        # translated, and stand before nothing else.
        if text.startswith("Response from Google: "):
            raise _error_with(_words(text))
        return self._take_text(text)

    def _take_message(self, data: dict[str, Any]) -> str:
        """`event: message`: a word of a disguised error, or text."""
        choice = _first_choice(data)
        if not choice or "id" in data or "object" in data:
            return self._take_chunk(data)
        return self._take_in_error("message", data)

    def _take_in_error(self, name: str, data: Union[dict[str, Any], str]) -> str:
        """Collect the words of a disguised error, and raise it at its end."""
        choice: dict[str, Any] = {}
        if isinstance(data, dict):
            choice = _first_choice(data)
            words = _text_in(choice)
        else:
            words = _words_in_broken_json(data)
        if name == "message":
            self.error_words.append(words)
        if data == "[DONE]" or name == "done" or choice.get("finish_reason"):
            raise self._disguised_error()
        return ""

    def _disguised_error(self) -> ChatgptFreeError:
        """The disguised error of which these words have come."""
        return _error_with(_words("".join(self.error_words)))

    def _take_bare(self, name: str, data: str) -> str:
        """Data that is no JSON object."""
        if data == "[DONE]" or name == "done":
            return self._take_end({})
        if name == "message":
            # a disguised error whose words have quotes or line ends: they are not escaped
            words = _words_in_broken_json(data)
            if words:
                self.error_words.append(words)
        elif name in ("", "error", "assistant_error"):
            self.noise.append(data)
        elif name == "citations":
            self._add_sources(data)
        else:
            self._skip(name)
        return ""

    def _take_end(self, data: dict[str, Any]) -> str:
        self._add_sources(data.get("citations"))
        self._add_sources(data.get("grounding_metadata"))
        self.is_complete = True
        self.is_over = True
        return ""

    def _take_error(self, data: dict[str, Any]) -> str:
        raise _error_in(data)

    def _take_warning(self, data: dict[str, Any]) -> str:
        """A warning is no failure: the page shows it below the answer, so it is text.

        One that begins with a blank is the end of the answer itself. It can tell why that ended.
        """
        words = _text_at(data, "error")
        for reason, pattern in _FINISH_REASONS.items():
            if re.search(pattern, words):
                self.finish_reason = reason
        if words and not words[0].isspace():
            self._set_apart()
        return self._take_text(words)

    def _take_message_start(self, data: dict[str, Any]) -> str:
        """A message begins. An answer can have two: a rule of the site's owner can greet first."""
        self.message_count += 1
        self._set_apart()
        return ""

    def _set_apart(self) -> None:
        """Let a blank line go before the next text, if it isn't the first."""
        if self.encoded:
            self.before = "\n\n"

    def _take_form(self, data: dict[str, Any]) -> str:
        form = data.get("form_definition", data)
        self.form_title = _one_line(_unescape(_text_at(form, "title")))[:200]
        return ""

    def _take_sources(self, data: dict[str, Any]) -> str:
        self._add_sources(data)
        return ""

    def _skip(self, name: str) -> str:
        # the other events of an OpenAI assistant repeat what its deltas have brought
        is_known = name in self._TAKE or name in _IGNORED or name.startswith("thread")
        name = _one_line(name)[:50]
        if not is_known and name not in self.skipped and len(self.skipped) < 10:
            self.skipped.append(name)
        return ""

    def _add_sources(self, found: Any) -> None:
        for url, title in _sources_in(found):
            if len(self.titles) < SOURCE_LIMIT:
                self.titles.setdefault(url, title)

    def end(self, failure: Optional[Exception]) -> None:
        """The stream has ended. Raise an error unless the answer is whole.

        failure: the network's failure that ended the stream, None if there was none. It is raised
            unchanged.
        """
        if self.error_words:
            raise self._disguised_error()
        if self.is_complete and self.encoded:
            return
        if failure is not None:
            raise failure
        noise = "\n".join(self.noise)
        words = ""
        # the first part of an event that was cut off, such as 'dat' or '{"choi', says nothing
        if self.is_complete or not _may_be_cut(noise):
            words = _words(noise)
        if self.encoded:
            reason = "the answer broke off"
            if words:
                reason += f": {words}"
            raise IncompleteReplyError(reason)
        raise self._error_without_text(noise, words)

    def _error_without_text(self, noise: str, words: str) -> ChatgptFreeError:
        """Why there is no text. The reason that tells most comes first."""
        if self.form_title is not None:
            title = self.form_title or "without a title"
            return ChatgptFreeError(f"the site answers with a form: {title}")
        if _is_bot_check(noise):
            return _blocked("the site")
        if words:
            return _error_with(words)
        hint = ""
        if self.skipped:
            hint = f"; its events are not known here: {', '.join(self.skipped)}"
        if self.is_complete:
            return ChatgptFreeError(f"the site's answer is empty{hint}")
        if noise:
            return IncompleteReplyError("the answer broke off before any text")
        if not hint:
            # a classic site sends nothing at all where its provider fails
            hint = "; most often it can't reach its model's provider, or was refused by it"
        return IncompleteReplyError(f"the site sent no answer{hint}")

    # What takes the events of each name.
    _TAKE: ClassVar[dict[str, Callable[[_Answer, dict[str, Any]], str]]] = {
        "": _take_chunk,
        "message": _take_message,
        "thread.message.delta": _take_chunk,
        "warning": _take_warning,
        "done": _take_end,
        "error": _take_error,
        "assistant_error": _take_error,
        "message_start": _take_message_start,
        "display_form_event": _take_form,
        "citations": _take_sources,
        "grounding_metadata": _take_sources,
    }


# Events that are known, and bring nothing.
_IGNORED = ("status", "openai_response_id", "google_interaction_id")

# What the warnings of the current protocol say of why an answer ended.
_FINISH_REASONS = {
    "length": r"\(Incomplete: max_output_tokens\)|maximum output token limit",
    "content_filter": r"\(Warning: Content Filtered\)|\(Refusal: ",
}


def _reports_error(data: Mapping[str, Any]) -> bool:
    """Is this an error? Providers say "error", classic sites "status" or "msg"."""
    return (
        bool(data.get("error"))
        or data.get("status") == "error"
        or "msg" in data
        or data.get("success") is False
    )


def _first_choice(data: Mapping[str, Any]) -> dict[str, Any]:
    """The first choice of a provider's chunk, {} if it has none."""
    choices = data.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    return {}


def _text_in(choice: Mapping[str, Any]) -> str:
    """The text of a choice, or of an event that has its "delta" at the top."""
    text = choice.get("delta")
    if isinstance(text, dict):
        # OpenAI's models refuse in words of their own, beside an empty content
        text = text.get("content") or text.get("refusal")
    elif not text:
        # old completion models have it here
        text = choice.get("text")
    if isinstance(text, list):
        # an assistant sends it in parts
        text = "".join(_text_at(part, "text", "value") for part in text)
    if isinstance(text, str):
        return text
    return ""


def _words_in_broken_json(data: str) -> str:
    """The words of a disguised error whose quotes or line ends are not escaped."""
    return "".join(re.findall(r'(?s)"content":\s*"(.*?)(?:"\}|\Z)', data))


def _may_be_cut(noise: str) -> bool:
    """Can this be the beginning of a field, such as "dat", or of a JSON object?"""
    text = noise.strip()
    if any(field.startswith(text) for field in ("data", "event", "id", "retry")):
        return True
    return re.search(_OBJECT_START, noise) is not None


def _sources_in(found: Any) -> Iterator[tuple[str, str]]:
    """Yield the address and the title of each source in what an event brought."""
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except (ValueError, RecursionError):
            return
    if isinstance(found, dict):
        # Google has a name of its own for the list
        found = found.get("groundingChunks", found.get("citations"))
    if not isinstance(found, list):
        return
    for source in found:
        # Google has the address and the title one level down
        if isinstance(source, dict) and isinstance(source.get("web"), dict):
            source = source["web"]
        url = _text_at(source, "url") or _text_at(source, "uri")
        title = _text_at(source, "title") or _text_at(source, "source_title") or url
        if _is_source(url):
            yield url, _one_line(title)[:TITLE_LIMIT]


def _is_source(url: str) -> bool:
    is_web = url.startswith(("http://", "https://"))
    return is_web and url.isprintable() and len(url) <= ADDRESS_LIMIT


# ----------------------------------------------------------------------------------------- options
#
# Options come in layers: the client's, a conversation's, and a call's own, which win. Each layer is
# checked when it is given, by the table `_OPTIONS`. They are merged when a call is made.


def _as_it_is(name: str, value: Any) -> Any:
    return value


def _checked_headers(name: str, headers: Mapping[Any, Any]) -> dict[str, Any]:
    checked = _checked_texts(name, headers, bytes, type(None))
    for key in checked:
        if not re.fullmatch(r"[!-9;-~]+", key):
            wanted = "its name must be ASCII, without blanks and ':'"
            raise ValueError(f"headers[{key!r}] can't be sent: {wanted}")
    return checked


def _checked_cookies(name: str, cookies: Any) -> Any:
    if isinstance(cookies, CookieJar):
        return cookies
    return _checked_texts(name, cookies)


def _checked_texts(name: str, texts: Mapping[Any, Any], *other_kinds: type) -> dict[str, Any]:
    """Headers or cookies, with their values stripped: a token read from a file ends with "\\n"."""
    checked = {}
    for key, value in texts.items():
        if not isinstance(key, str):
            raise TypeError(f"the names of {name} must be str, not {type(key).__name__}")
        if not isinstance(value, (str, *other_kinds)):
            raise TypeError(f"{name}[{key!r}] must be a str, not {type(value).__name__}")
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        if isinstance(value, str):
            value = value.strip()
            if re.search(r"[\r\n]|[^\0-\xff]", key + value):
                raise ValueError(f"{name}[{key!r}] can't be sent: it must be one line of Latin-1")
        checked[key] = value
    return checked


def _checked_proxy(name: str, proxy: str) -> str:
    """A proxy's URL. Errors don't repeat its password."""
    proxy = proxy.strip()
    scheme = proxy.partition("://")[0].lower()
    if scheme == "socks":
        raise ValueError("proxy begins with socks://: say socks5:// or socks4://")
    schemes = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
    if "://" not in proxy or scheme not in schemes:
        raise ValueError("proxy must be a URL such as http://host:port or socks5://host:port")
    _check_proxys_address(name, proxy)
    return proxy


def _checked_proxies(name: str, proxies: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Proxies as `requests` takes them. Only addresses with a password are looked at."""
    for proxy in proxies.values():
        if isinstance(proxy, str) and "@" in proxy:
            scheme, _, rest = proxy.rpartition("://")
            _check_proxys_address(name, f"{scheme or 'http'}://{rest}")
    return proxies


def _check_proxys_address(name: str, proxy: str) -> None:
    """Raise ValueError for an address that libraries misread: their errors show its password."""
    if "@" in proxy and re.search(r"://[^@]*[/?#\\].*@|[^\0-\xff]", proxy):
        raise ValueError(f"{name} has a password that needs quoting: say %23 for # and %2F for /")
    try:
        parts = urlsplit(proxy)
        host = parts.hostname
        # it raises ValueError for what is no number
        parts.port  # noqa: B018
    except ValueError:
        host = None
    if not host:
        raise ValueError(f"{name} must name a host and may name a port: http://host:port")


def _checked_timeout(name: str, timeout: Any) -> Any:
    """Seconds, or a tuple of two: for connecting and for reading. In it None means for ever."""
    if not isinstance(timeout, tuple):
        return _checked_seconds(name, timeout)
    if len(timeout) != 2:
        raise ValueError(f"{name} has two numbers in its tuple, for connecting and for reading")
    waits = [math.inf if wait is None else wait for wait in timeout]
    return tuple(_checked_seconds(name, wait) for wait in waits)


def _checked_seconds(name: str, number: Any) -> float:
    if not isinstance(number, (int, float)) or isinstance(number, bool):
        raise TypeError(f"{name} must be in seconds, a number, not {type(number).__name__}")
    # "not over 0" is true of NaN too
    if not number > 0:
        raise ValueError(f"{name} must be over 0 seconds, not {number}")
    try:
        return float(number)
    except OverflowError:
        raise ValueError(f"{name} must be a number of seconds that a float can hold") from None


class _Rule(NamedTuple):
    """What an option must be."""

    kinds: Any  # as `isinstance` takes it
    wanted: str  # the same in words
    # takes the option's name and value, and returns the value to use, or raises an error
    check: Callable[[str, Any], Any] = _as_it_is


# All options of a call. `stream`, the types at the top and the command line list them, too; a test
# keeps the four together. The rules are for common mistakes, and for what `requests` would
# report in a way that nobody understands, or with a secret in the message.
_OPTIONS = {
    "model": _Rule((str, int), "a bot's name or number"),
    "proxy": _Rule(str, "a str, the URL of one proxy", _checked_proxy),
    "timeout": _Rule(
        (int, float, tuple), "a number of seconds, or two in a tuple", _checked_timeout
    ),
    "cookies": _Rule((Mapping, CookieJar), "a dict or a jar", _checked_cookies),
    "image": _Rule((str, os.PathLike, bytes), "a path or bytes"),
    "web_search": _Rule(bool, "True or False"),
    "max_time": _Rule((int, float), "a number of seconds", _checked_seconds),
    "headers": _Rule(Mapping, "a dict", _checked_headers),
    "proxies": _Rule(Mapping, "a dict", _checked_proxies),
    "auth": _Rule((tuple, Callable), "a tuple of user and password, or a function"),
    "hooks": _Rule(Mapping, "a dict"),
    "cert": _Rule(object, "what requests takes"),
    "verify": _Rule(object, "what requests takes"),
}


def _checked_options(options: Mapping[str, Any], takes_others: bool) -> dict[str, Any]:
    """The options that a caller gave, without those that are None.

    takes_others: the session is not requests' own, and can have other options.

    Raises TypeError or ValueError for a wrong one.
    """
    checked = {}
    for name, value in options.items():
        if name not in _OPTIONS and not takes_others:
            names = ", ".join(_OPTIONS)
            raise TypeError(f"unexpected keyword argument {name!r}; the options are {names}")
        if value is None:
            continue
        rule = _OPTIONS.get(name, _Rule(object, "anything"))
        if not isinstance(value, rule.kinds):
            raise TypeError(f"{name} must be {rule.wanted}, not {type(value).__name__}")
        checked[name] = rule.check(name, value)
    return checked


def _merged_options(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several layers of options as one: the later win, and headers are merged."""
    merged: dict[str, Any] = {}
    for layer in layers:
        # these two are the same setting in two forms
        if "proxy" in layer:
            merged.pop("proxies", None)
        elif "proxies" in layer:
            merged.pop("proxy", None)
        headers = CaseInsensitiveDict(merged.get("headers", {}))
        merged.update(layer)
        headers.update(layer.get("headers", {}))
        if headers:
            merged["headers"] = dict(headers)
    return merged


class _Settings(NamedTuple):
    """The options of a call."""

    model: Model
    image: str  # the form field
    web_search: Optional[bool]
    max_time: float
    # seconds for connecting, and for each wait for bytes; infinity means for ever
    connect_timeout: float
    read_timeout: float
    # what goes to every request, as `requests` takes it
    request: dict[str, Any]


def _resolved_options(layers: Iterable[Mapping[str, Any]]) -> _Settings:
    """The options of a call, from the checked layers."""
    options = _merged_options(layers)
    model = options.pop("model", None)
    web_search = options.pop("web_search", None)
    max_time = options.pop("max_time", math.inf)
    proxy = options.pop("proxy", None)
    if proxy is not None:
        options["proxies"] = {"http": proxy, "https": proxy}
    image_field = ""
    connect = CONNECT_TIMEOUT
    image = options.pop("image", None)
    if image is not None:
        image_field = _image_field(image)
        # the time for connecting is also that for sending a request, and an image takes long
        connect = TIMEOUT
    timeout = options.pop("timeout", (connect, TIMEOUT))
    if not isinstance(timeout, tuple):
        timeout = (timeout, timeout)
    connect, read = timeout
    return _Settings(model, image_field, web_search, max_time, connect, read, options)


# ---------------------------------------------------------------------------------------- requests
#
# One rule says where things go. All that the caller gives (cookies, headers, credentials, the
# session's own) belongs to one site: the host of `url`, with or without "www.". No request goes
# anywhere else, so nothing has to be stripped from any. Two functions see to it: `_is_same_site`
# for where the page redirects to, and `_ajax_url` for where a chat is asked.
#
# A second rule: a connection is used again only after a success. A server may send more than one
# response to a request (103 Early Hints before the real one, for instance). What is left on the
# connection would be taken for the answer to the next question. (A session of the caller's decides
# by itself which connections it uses again. It drops that of a response that is closed before it
# was read. So `_pieces` leaves responses without a body unread.)


def _prepared(url: str) -> str:
    """An address as `requests` connects to it, without user, password and fragment.

    Raises ValueError if it is unusable.
    """
    prepared = requests.PreparedRequest()
    try:
        # Later these addresses would fail with worse messages. This finds halves of characters:
        url.encode()
        # a user or password with characters that stand for "/", "?", "#", "@" or ":"
        urlsplit(url)
        # what is no address
        prepared.prepare_url(url.partition("#")[0], None)
        address = prepared.url or ""
        parts = urlsplit(address)
        # and hosts such as "a..b"
        (parts.hostname or "").encode("idna")
    except ValueError:
        address = ""
    if not address.startswith(("http://", "https://")):
        # only what follows the password; two other characters stand for "@", too
        shown = re.split("[@\ufe6b\uff20]", url)[-1]
        rule = "an address begins with http:// or https:// and names a host"
        advice = ""
        if shown != url:
            advice = "; a user and a password before it may need quoting: say %2F for /"
        raise ValueError(f"{rule}, unlike {shown!r:.200}{advice}")
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, parts.query, ""))


def _auth_in(url: str) -> Optional[tuple[str, str]]:
    """The user and the password in an address, None if it has neither."""
    parts = urlsplit(url)
    if not parts.username and not parts.password:
        return None
    return unquote(parts.username or ""), unquote(parts.password or "")


def _is_same_site(home: str, address: str) -> bool:
    """Does `address` belong to the site of `home`? Both are as `_prepared` returns them."""
    ours = urlsplit(home)
    theirs = urlsplit(address)
    if _bare_host(ours) != _bare_host(theirs):
        return False
    both_usual = _has_usual_port(ours) and _has_usual_port(theirs)
    return both_usual or ours.port == theirs.port


def _bare_host(parts: SplitResult) -> str:
    return (parts.hostname or "").removeprefix("www.")


def _has_usual_port(parts: SplitResult) -> bool:
    return parts.port in (None, {"http": 80, "https": 443}[parts.scheme])


class _Connections(BaseAdapter):
    """Connections, each of which serves one request at a time, and the next only after a success.

    `requests` gets one from here for each request. `keep` says that the request was a success. If
    nobody says so, the connection is not used again.
    """

    def __init__(self) -> None:
        super().__init__()
        # adapters with one connection each, and when it was used; the last used stands last
        self.kept: list[tuple[float, HTTPAdapter]] = []

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> Response:
        return self._taken().send(request, *args, **options)

    def _taken(self) -> HTTPAdapter:
        """A connection for a request.

        A server closes an idle connection, after 5 seconds at the earliest, and a question that is
        sent at that moment is lost. So one that was idle for almost as long is left alone, and so
        are those that were idle for longer.
        """
        try:
            last_used, adapter = self.kept.pop()
        except IndexError:
            # (`if self.kept` would not do: another thread may come between)
            return HTTPAdapter()
        if time.monotonic() - last_used > IDLE:
            adapter.close()
            self.close()
            return HTTPAdapter()
        return adapter

    def keep(self, response: Response) -> None:
        """Let other requests use the connection of a response, which has been read and closed."""
        adapter = response.connection
        # requests-mock, for tests, puts its own in place
        if isinstance(adapter, HTTPAdapter):
            self.kept.append((time.monotonic(), adapter))

    def close(self) -> None:
        kept = self.kept
        self.kept = []
        for _, adapter in kept:
            adapter.close()


class _Session(requests.Session):
    """The library's own session."""

    def __init__(self) -> None:
        super().__init__()
        self.headers["User-Agent"] = f"Mozilla/5.0 (compatible; chatgptfree/{__version__})"
        self.connections = _Connections()
        self.mount("https://", self.connections)
        self.mount("http://", self.connections)


class _Transport:
    """Sends the requests of a call, all to one site. Its time begins when it is made."""

    def __init__(self, session: Any, url: str, options: _Settings) -> None:
        self.session = session
        self.options = options
        self.home = _prepared(url)
        self.auth = _auth_in(url)
        self.deadline = time.monotonic() + options.max_time

    def asked_with(self) -> tuple[Any, ...]:
        """What decides whether a request for the page succeeds.

        Threads in whose calls it is equal share a failure: see `_Site.look`.
        """
        options = self.options
        waits = (options.connect_timeout, options.read_timeout)
        return (self.home, self.auth, waits, options.request)

    def lateness(self) -> Optional[requests.Timeout]:
        """The exception for a call that has lasted longer than `max_time`, None if it hasn't."""
        if time.monotonic() <= self.deadline:
            return None
        seconds = _in_words(self.options.max_time)
        return requests.Timeout(f"the call took longer than max_time, {seconds}")

    def check_time(self) -> None:
        """Raise an exception if the call has lasted longer than `max_time`."""
        late = self.lateness()
        if late is not None:
            raise late

    def longest_wait(self) -> float:
        """For how many seconds this call may wait for another thread."""
        left = self.deadline - time.monotonic()
        wait = self.options.connect_timeout + self.options.read_timeout
        return max(0.0, min(wait, left, threading.TIMEOUT_MAX))

    def open_page(self, is_fresh: bool) -> tuple[str, Response]:
        """Request the page, and return its address, after redirects, and the response.

        is_fresh: ask in a way that no cache has an answer for.
        """
        page_url = self.home
        headers = {"Accept": "text/html,*/*;q=0.8", "Cache-Control": "no-cache"}
        for _ in range(10):
            asked_url = page_url
            if is_fresh:
                # caches on the server ignore "no-cache", but few answer for a query that is new
                asked_url += "&" if urlsplit(page_url).query else "?"
                asked_url += f"_={int(time.time() * 1000)}"
            response = self._request("get", asked_url, headers)
            _log.debug("page of %s: HTTP %s", urlsplit(page_url).netloc, response.status_code)
            location = _location(response)
            if not location:
                return page_url, response
            response.close()
            target = self._redirected(page_url, location)
            if target == page_url:
                # the site doesn't take the query
                is_fresh = False
            page_url = target
        raise requests.TooManyRedirects(f"{_shown(self.home)} leads to 10 redirects or more")

    def _redirected(self, page_url: str, location: str) -> str:
        """The address that a page redirects to. Raises ChatgptFreeError if it is not the site's."""
        redirect = f"{_shown(page_url)} redirects to {_shown(location)!r}"
        if len(location) > ADDRESS_LIMIT:
            raise ChatgptFreeError(f"{redirect}, which is too long for an address")
        try:
            target = _prepared(urljoin(page_url, location))
        except ValueError as error:
            raise ChatgptFreeError(f"{redirect}, which is no address") from error
        redirect = f"{_shown(page_url)} redirects to {_shown(target)!r}"
        if not _is_same_site(self.home, target):
            raise ChatgptFreeError(f"{redirect}, another site. If you trust it, use that address")
        if page_url.startswith("https:") and target.startswith("http:"):
            raise ChatgptFreeError(f"{redirect}, which is not encrypted: it was not followed")
        return target

    def send(
        self, method: str, url: str, headers: dict[str, str], fields: dict[str, str]
    ) -> Response:
        """Send fields to a chat. Raises an exception if the response's status is not 200.

        method: "get", which sends them as a query, or "post", which sends them as a form.
        """
        place = {"get": "params", "post": "data"}[method]
        response = self._request(method, url, headers, **{place: fields})
        _log.debug("%s: HTTP %s", fields["action"], response.status_code)
        if response.status_code != 200:
            raise self.refusal(response)
        return response

    def refusal(self, response: Response) -> Exception:
        """The exception for a response that is not what was asked for."""
        try:
            text = self.text(response)
        except ChatgptFreeError as error:
            # it has no end, or can't be decoded; the words of this error say so
            text = str(error)
        return _refusal(response, text)

    def text(self, response: Response) -> str:
        """A whole body as text, for responses that are not streams."""
        body = bytearray()
        with contextlib.closing(response):
            try:
                for piece in _pieces(response):
                    body += piece
                    if len(body) > BODY_LIMIT:
                        raise ChatgptFreeError(f"the site sent {BODY_LIMIT:,} bytes without an end")
                    self.check_time()
            except _NETWORK_FAILURES:
                # if the call's time is up, that is what happened
                self.check_time()
                raise
        return body.decode("utf-8", "replace")

    def _request(self, method: str, url: str, headers: dict[str, str], **fields: Any) -> Response:
        """Send a request, and follow no redirect."""
        self.check_time()
        options = {"auth": self.auth, **self.options.request, **fields}
        merged = CaseInsensitiveDict(headers)
        merged.update(options.get("headers", {}))
        options["headers"] = dict(merged)
        options["timeout"] = self._timeout()
        hook = _LocationHook()
        if isinstance(self.session, requests.Session):
            options["auth"] = _auth_for_requests(options["auth"], merged)
            options["hooks"] = hook.added_to(options.get("hooks"), self.session)
        if isinstance(self.session, _Session) and url.startswith("http://127.0.0.1:"):
            # this machine, with the demo site for instance, is asked directly, whatever proxy the
            # environment names
            options.setdefault("proxies", {"http://127.0.0.1": ""})
        response: Response = self._sent(method, url, options)
        # other libraries' headers can be plain dicts
        response.headers = CaseInsensitiveDict(response.headers)
        if hook.location is not None:
            response.headers["Location"] = hook.location
        return response

    def _sent(self, method: str, url: str, options: dict[str, Any]) -> Any:
        send = getattr(self.session, method)
        try:
            return send(url, stream=True, allow_redirects=False, **options)
        except _NETWORK_FAILURES as error:
            # if the call's time is up, that is what happened
            self.check_time()
            if isinstance(error, HTTPError) and isinstance(self.session, requests.Session):
                # one of urllib3's, which `requests` has let through
                raise requests.exceptions.ConnectionError(error) from error
            raise

    def _timeout(self) -> Any:
        """The time-outs of a request as `requests` takes them: no longer than the call may last."""
        # sockets take no 0
        left = max(0.001, self.deadline - time.monotonic())
        connect = _as_sockets_wait(min(self.options.connect_timeout, left))
        read = _as_sockets_wait(min(self.options.read_timeout, left))
        # some libraries' sessions take a single number only
        if connect == read:
            return read
        return connect, read

    def keep(self, response: Response) -> None:
        """Keep the connection of a response that was a success, and is closed."""
        if isinstance(self.session, _Session):
            self.session.connections.keep(response)


def _auth_for_requests(auth: Any, headers: Mapping[str, Any]) -> Any:
    """Credentials as `requests` needs them."""
    if auth is None and headers.get("Authorization") is not None:
        # without any `auth`, `requests` would replace this header by what ~/.netrc has
        return _with_own_header
    if isinstance(auth, tuple) and any(re.search(r"[^\0-\xff]", str(text)) for text in auth):
        # it takes a str for Latin-1, and sends bytes as they are
        return tuple(_as_bytes(text) for text in auth)
    return auth


def _with_own_header(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An `auth` that changes nothing."""
    return request


def _as_bytes(text: Any) -> Any:
    if isinstance(text, str):
        return text.encode()
    return text


class _LocationHook:
    """A response hook that takes the address out of a redirect, and keeps it as `location`.

    `requests` parses that address even where it doesn't follow it, fails for an odd one, and reads
    the redirect's body, whatever its size.
    """

    location: Optional[str] = None

    def __call__(self, response: Response, *args: Any, **kwargs: Any) -> None:
        # some libraries' sessions call it twice
        if "Location" in response.headers:
            self.location = response.headers.pop("Location")

    def added_to(self, hooks: Any, session: requests.Session) -> dict[str, Any]:
        """The hooks of a request, with this one at their end.

        hooks: the caller's, which count in place of the session's, as `requests` has it.
        """
        hooks = hooks or {}
        others = hooks.get("response") or session.hooks.get("response") or []
        if callable(others):
            others = [others]
        return {**hooks, "response": [*others, self]}


def _as_sockets_wait(seconds: float) -> Optional[float]:
    """A time-out for a socket: None waits for ever, and huge numbers fail."""
    if seconds >= threading.TIMEOUT_MAX:
        return None
    return seconds


def _has_no_body(response: Response) -> bool:
    status = response.status_code
    return status < 200 or status in (204, 304) or response.headers.get("Content-Length") == "0"


# Encodings that compress a body. Servers also name others by mistake, such as "utf-8".
_COMPRESSIONS = ("gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd", "dcb", "dcz")


def _pieces(response: Response) -> Iterator[bytes]:
    """The pieces of a response's body, each as soon as it is there, decompressed."""
    raw = getattr(response, "raw", None)
    if raw is None and isinstance(response, Response):
        # made by a mock, with its body in place
        return iter([response.content])
    if _has_no_body(response):
        # to be closed unread: see the top of this section
        return iter(())
    _check_encoding(response, raw)
    if getattr(raw, "chunked", False):
        # gives a chunk as soon as it has come, one of more than 512 bytes in several pieces
        return response.iter_content(512)
    if hasattr(raw, "read1") and hasattr(raw, "decode_content"):
        return _read_at_once(raw)
    # urllib3 before 2.2, or another library: this waits for 64 bytes, so a word may come with the
    # next one
    return response.iter_content(64)


def _check_encoding(response: Response, raw: Any) -> None:
    """Raise an error for a body that is compressed in a way that urllib3 can't undo here.

    It happens where the caller sends a browser's Accept-Encoding, or where a server ignores ours.
    """
    known = getattr(raw, "CONTENT_DECODERS", _COMPRESSIONS)
    for encoding in response.headers.get("Content-Encoding", "").lower().split(","):
        if encoding.strip() in _COMPRESSIONS and encoding.strip() not in known:
            words = f"the site's words are in the encoding {encoding.strip()!r}"
            advice = "send no Accept-Encoding of your own, or install a package that reads it"
            raise ChatgptFreeError(f"{words}, which can't be read here: {advice}")


def _read_at_once(raw: Any) -> Iterator[bytes]:
    """Yield what has come, as soon as it has. Exceptions become those of `iter_content`."""
    try:
        piece = raw.read1(65536, decode_content=True)
        while piece:
            yield piece
            piece = raw.read1(65536, decode_content=True)
    except DecodeError as error:
        raise requests.exceptions.ContentDecodingError(error) from error
    except ReadTimeoutError as error:
        raise requests.exceptions.ConnectionError(error) from error
    except HTTPError as error:
        raise requests.exceptions.ChunkedEncodingError(error) from error


def _read_to_end(response: Response, pieces: Iterator[bytes]) -> None:
    """Read a response whose answer is whole to its end, if that comes soon.

    Then its connection can serve the next call. After the last event the server works for a moment
    before it ends the response.
    """
    raw = getattr(response, "raw", None)
    sock = getattr(getattr(raw, "connection", None), "sock", None)
    if sock is None:
        return
    end = time.monotonic() + LINGER
    # nothing that the network does here can spoil an answer that is whole
    with contextlib.suppress(ChatgptFreeError, *_NETWORK_FAILURES):
        seconds = sock.gettimeout()
        sock.settimeout(LINGER)
        while time.monotonic() < end and next(pieces, None) is not None:
            pass
        # old releases of urllib3 send the next request with what the socket has
        sock.settimeout(seconds)


# ------------------------------------------------------------------------------------------- chats
#
# A page shows its chats as elements whose attributes hold all that a client needs. Each of the two
# protocols has a class, which alone knows it: its element on the page, its requests, how to get a
# fresh nonce. For a new protocol, write another, and name it in `_PROTOCOLS`.


class _Question(NamedTuple):
    """A message to a chat, and what belongs to it."""

    message: str
    image: str  # the form field as `_image_field` makes it, "" for no image
    web_search: Optional[bool]  # None: as the page has it
    guest: str  # a UUID; the site counts its quotas by it
    conversation: str  # a UUID; under it, and the guest's, the site remembers what was said


class _Chat:
    """A chat on a page, and how it is asked. This is what the protocols have in common."""

    # what the log calls the protocol
    protocol: ClassVar[str]
    # WordPress's name for what the first request does
    action: str
    # a word in the tags of its elements
    mark: ClassVar[str]
    # does a page have a bot for each model, with a name? Else the site chooses the model.
    has_models: ClassVar[bool]
    # does the site remember what was said in a conversation?
    remembers: ClassVar[bool]
    # What some chats have beside what the constructor takes: the bot's name as visitors see it, and
    # which of the options "image" and "web_search" visitors of the page have.
    name = ""
    offers: frozenset[str] = frozenset()

    def __init__(self, page_url: str, nonce: str, post_id: str, bot_id: str, ajax_url: str) -> None:
        self.page_url = page_url
        self.nonce = nonce
        self.post_id = post_id
        self.bot_id = bot_id
        self.ajax_url = ajax_url

    @classmethod
    def in_tag(cls, attributes: Mapping[str, str], page_url: str) -> Optional[_Chat]:
        """The chat that a tag with these attributes shows, None if it shows none."""
        raise NotImplementedError

    @classmethod
    def usable(cls, chats: list[Any], page: str) -> tuple[_Chat, ...]:
        """Those of a page's chats that can be asked, with all that a question needs filled in.

        chats: all chats of this protocol on the page, at least one.

        Raises ChatNotFoundError if none can be asked.
        """
        raise NotImplementedError

    def open_answer(self, transport: _Transport, question: _Question) -> Response:
        """Send a question, and return the response whose body is the answer."""
        raise NotImplementedError

    def fresh_nonce(self, transport: _Transport) -> str:
        """A fresh nonce, "" if only the page has one, as here."""
        return ""

    def is_asked_like(self, other: _Chat) -> bool:
        """Would the other chat be asked in the same way? Its name and its offers don't matter."""
        return self._address() == other._address()

    def _address(self) -> tuple[str, ...]:
        """All that tells a site which chat is asked."""
        return (self.action, self.nonce, self.post_id, self.bot_id, self.ajax_url)

    def with_nonce(self, nonce: str) -> _Chat:
        """The same chat with another nonce."""
        renewed = copy.copy(self)
        renewed.nonce = nonce
        return renewed

    def headers(self) -> dict[str, str]:
        """The headers of its requests."""
        return {
            "Accept": "text/event-stream, application/json, */*;q=0.8",
            # compression would hold text back
            "Accept-Encoding": "identity",
            "Referer": self.page_url,
        }


class _CurrentChat(_Chat):
    """A bot of the current protocol.

    A question to it is two requests: the first hands it in and gets a key, here called a ticket;
    the second fetches the answer for that ticket.
    """

    protocol = "current"
    action = "aipkit_cache_sse_message"
    mark = "data-config"
    has_models = True
    remembers = True
    # the form fields that turn its web search on
    search_fields: tuple[str, ...] = ()
    # does the page start with web search on?
    searches_by_default = False

    # Keys of `data-config` that offer a web search, and the field that turns each on. The second is
    # for Google's bots.
    SEARCH_SWITCHES: ClassVar[dict[str, str]] = {
        "allowWebSearchTool": "frontend_web_search_active",
        "allowGoogleSearchGrounding": "frontend_google_search_grounding_active",
    }

    def __str__(self) -> str:
        return f"{self.name} ({self.bot_id})"

    @classmethod
    def in_tag(cls, attributes: Mapping[str, str], page_url: str) -> Optional[_Chat]:
        config = _json_object(attributes.get("data-config", "").strip()) or {}
        nonce = _token(config.get("nonce"))
        bot_id = _token(config.get("botId"))
        # other plugins use such an attribute, too
        if not nonce or not bot_id:
            return None
        post_id = _token(config.get("postId", 0))
        bot = cls(page_url, nonce, post_id, bot_id, _ajax_url(page_url, config.get("ajaxUrl")))
        # a bot's title is stored as HTML
        bot.name = _one_line(_unescape(_text_at(config, "headerName")))[:200] or bot_id
        offers = set()
        if _is_on(config.get("imageUploadEnabledUI")):
            offers.add("image")
        fields = [field for key, field in cls.SEARCH_SWITCHES.items() if _is_on(config.get(key))]
        if fields:
            offers.add("web_search")
            bot.search_fields = tuple(fields)
            bot.searches_by_default = _is_on(config.get("webToggleDefaultOn"))
        bot.offers = frozenset(offers)
        return bot

    @classmethod
    def usable(cls, chats: list[Any], page: str) -> tuple[_Chat, ...]:
        """All of them, each once, in page order."""
        bots: dict[str, _Chat] = {}
        for bot in chats:
            bots.setdefault(bot.bot_id, bot)
        return tuple(bots.values())

    def open_answer(self, transport: _Transport, question: _Question) -> Response:
        fields = {
            "action": "aipkit_frontend_chat_stream",
            "cache_key": self._ticket(transport, question),
            "bot_id": self.bot_id,
            "session_id": question.guest,
            "conversation_uuid": question.conversation,
            "post_id": self.post_id,
            "_ajax_nonce": self.nonce,
            # the page's script sends the time too, against caches
            "_ts": str(int(time.time() * 1000)),
        }
        search = question.web_search
        if search is None:
            search = self.searches_by_default
        if search:
            fields.update(dict.fromkeys(self.search_fields, "true"))
        return transport.send("get", self.ajax_url, self.headers(), fields)

    def _ticket(self, transport: _Transport, question: _Question) -> str:
        fields = {
            "action": self.action,
            "message": question.message,
            "_ajax_nonce": self.nonce,
            "bot_id": self.bot_id,
        }
        if question.image:
            fields["image_inputs"] = question.image
        response = transport.send("post", self.ajax_url, self.headers(), fields)
        text = transport.text(response)
        ticket = _token(_text_at(_first_json_object(text), "data", "cache_key"))
        # refusals come with a status of 200, too
        if not ticket:
            raise _refusal(response, text)
        transport.keep(response)
        return ticket

    def fresh_nonce(self, transport: _Transport) -> str:
        """A fresh nonce, got in the way of the page's own script."""
        fields = {"action": "aipkit_get_frontend_chat_nonce", "bot_id": self.bot_id}
        try:
            response = transport.send("post", self.ajax_url, self.headers(), fields)
            text = transport.text(response)
        except ChatgptFreeError:
            # Releases before 2.3.41 don't know the request. Any other failure shows again when the
            # page is read, which comes next.
            return ""
        nonce = _token(_text_at(_first_json_object(text), "data", "nonce"))
        if nonce:
            transport.keep(response)
        return nonce


def _is_on(value: Any) -> bool:
    """A switch in `data-config`: true, 1, or one of these as a string."""
    return value is True or _token(value).lower() in ("true", "1")


class _ClassicChat(_Chat):
    """A chat of the classic protocol: a question is one request, whose response is the answer."""

    protocol = "classic"
    mark = "wpaicg-chat"
    action = "wpaicg_chat_shortcode_message"
    WIDGETS_ACTION = "wpaicg_chatbox_message"
    has_models = False
    remembers = False

    def __str__(self) -> str:
        return f"the classic chat on {self.page_url}"

    @classmethod
    def in_tag(cls, attributes: Mapping[str, str], page_url: str) -> Optional[_Chat]:
        classes = attributes.get("class", "").split()
        is_widget = "wpaicg-chatbox" in classes
        is_shortcode = "wpaicg-chat-shortcode" in classes
        if not is_widget and not is_shortcode:
            return None
        nonce = _token(attributes.get("data-nonce", "").strip())
        # releases 1.9.16 to 2.2 misprint a widget's post id 8 as "<8"
        post_id = _token(attributes.get("data-post-id", "").strip(" <"))
        bot_id = _token(attributes.get("data-bot-id", "").strip()) or "0"
        # `usable` sets the address, which only the whole page tells
        chat = cls(page_url, nonce, post_id, bot_id, "")
        if is_widget:
            chat.action = cls.WIDGETS_ACTION
        return chat

    def is_widget(self) -> bool:
        """Is this a floating widget?

        It is often on every page of a site. Where a page has another chat, that is the one meant.
        """
        return self.action == self.WIDGETS_ACTION

    @classmethod
    def usable(cls, chats: list[Any], page: str) -> tuple[_Chat, ...]:
        """One of them: complete, and no widget, if possible."""
        complete = [chat for chat in chats if chat.nonce and chat.post_id]
        candidates = complete or chats
        shortcodes = [chat for chat in candidates if not chat.is_widget()]
        chat = (shortcodes or candidates)[0]
        missing = []
        if not chat.nonce:
            missing.append("no nonce")
        if not chat.post_id:
            missing.append("no post id")
        if missing:
            raise _not_found(f"{' and '.join(missing)} in the chat", chat.page_url, page)
        chat.ajax_url = _ajax_url(chat.page_url, _address_on(page))
        return (chat,)

    def _identity(self) -> str:
        """The field that says which chat it is.

        Without it, bot 0 (the default bot) answers with the model of the site's default
        provider, whatever this chat's own is.
        """
        if self.bot_id != "0":
            return f"custom_bot_{self.bot_id}"
        if self.is_widget():
            return "widget"
        return "shortcode"

    def open_answer(self, transport: _Transport, question: _Question) -> Response:
        origin = urljoin(self.page_url, "/")[:-1]
        fields = {
            "_wpnonce": self.nonce,
            "post_id": self.post_id,
            # the site's base address, as the page's script sends it
            "url": self.ajax_url.partition("/wp-admin/")[0],
            "action": self.action,
            "bot_id": self.bot_id,
            "chatbot_identity": self._identity(),
            # a guest's name is ten letters or digits here
            "wpaicg_chat_client_id": question.guest.replace("-", "")[:10],
            # Releases up to 1.8.95 delete whatever looks like a tag. Nothing tells the release, and
            # models read "&lt;" well. Other characters arrive best as they are.
            "message": question.message.replace("<", "&lt;"),
        }
        return transport.send("post", self.ajax_url, {**self.headers(), "Origin": origin}, fields)


# An optimising plugin can move a script into a `data:` URL. LiteSpeed puts that into the attribute
# `src`, WP Rocket into `data-rocketlazyloadscript`.
_MOVED_SCRIPT = (
    r"""\b(?:src|data-rocketlazyloadscript)=["']?"""
    r"data:text/javascript;(?:charset=[\w-]+;)?base64,([\w+/=%-]+)"
)
_PLUGIN_FILES = "/wp-content/plugins/gpt3-ai-content-generator/"


def _address_on(page: str) -> str:
    """The address of admin-ajax.php as a classic page tells it, "" if it doesn't.

    It is needed where WordPress lives in a subfolder.
    """
    address = _address_in_scripts(page)
    if address:
        return address
    # Autoptimize moves scripts into files. But other addresses show the folder, too.
    folder = _folder_of_plugin(page) or _folder_of_rest_api(page)
    if folder:
        return folder + "/wp-admin/admin-ajax.php"
    return ""


def _address_in_scripts(page: str) -> str:
    scripts = [page]
    for moved in re.finditer(_MOVED_SCRIPT, page):
        scripts.append(_decoded_script(moved[1]))
        if len(scripts) == 100:
            break
    for script in scripts:
        params = re.search(r"wpaicgParams\s*=\s*(?=\{)", script)
        if params:
            address = _text_at(_first_json_object(script[params.end() :]), "ajax_url")
            if address:
                return address
    return ""


def _folder_of_plugin(page: str) -> str:
    """The address of WordPress in that of one of the plugin's own files."""
    end = page.find(_PLUGIN_FILES)
    if end < 0:
        return ""
    nearby = page[max(0, end - 300) : end]
    folder = re.split(r"[\s\"'<>=(]", nearby)[-1]
    if folder.startswith(("http", "/")):
        return folder
    return ""


def _folder_of_rest_api(page: str) -> str:
    """The address of WordPress in the link to its REST API."""
    # on a page of 10 MB the search for tags takes a second
    if "https://api.w.org/" not in page:
        return ""
    for link in _tags_with(page, "https://api.w.org/"):
        folder, found, _ = link.get("href", "").rpartition("/wp-json/")
        if found:
            return folder
    return ""


def _decoded_script(encoded: str) -> str:
    """The script in a `data:` URL, "" if it is broken or too long."""
    if len(encoded) > LINE_LIMIT:
        return ""
    try:
        return b64decode(unquote(encoded)).decode("utf-8", "replace")
    except ValueError:
        return ""


def _ajax_url(page_url: str, address: Any) -> str:
    """The address to ask: always on the page's own host, whatever host `address` names.

    `address` gives the path and the query. It may also raise http to https: pages that are
    reached by http can name their address by https.
    """
    page = urlsplit(page_url)
    path = "/wp-admin/admin-ajax.php"
    query = ""
    text = _token(address)
    if len(text) > ADDRESS_LIMIT:
        text = ""
    try:
        named = urlsplit(text)
    except ValueError:
        named = urlsplit("")
    if named.path.startswith("/"):
        path = named.path
        query = named.query
    # a page on a port of its own has no counterpart by https
    has_own_port = page.port not in (None, 80)
    if page.scheme == "http" and named.scheme == "https" and not has_own_port:
        return urlunsplit(("https", page.netloc.removesuffix(":80"), path, query, ""))
    return urlunsplit((page.scheme, page.netloc, path, query, ""))


# Where a page has chats of both, those of the first are meant.
_PROTOCOLS: tuple[type[_Chat], ...] = (_CurrentChat, _ClassicChat)


def _find_chats(page: str, page_url: str) -> tuple[_Chat, ...]:
    """The chats of a page, all of one protocol. Raises ChatNotFoundError if there is none."""
    found: dict[type[_Chat], list[_Chat]] = {protocol: [] for protocol in _PROTOCOLS}
    marks = [protocol.mark for protocol in _PROTOCOLS]
    for attributes in _tags_with(page, *marks):
        for protocol, chats in found.items():
            chat = protocol.in_tag(attributes, page_url)
            if chat is not None and len(chats) < CHAT_LIMIT:
                chats.append(chat)
    for protocol, chats in found.items():
        if chats:
            return protocol.usable(chats, page)
    raise _not_found("no chat, neither nonce nor post id,", page_url, page)


def _not_found(what: str, page_url: str, page: str) -> ChatNotFoundError:
    """The error for a page without a usable chat.

    It quotes the page's title, since that tells when a firewall has sent another page.
    """
    words = f"{what} on {_shown(page_url)}"
    title = _title(page)
    if title:
        words += f" (the page's title is “{title}”)"
    return ChatNotFoundError(words)


# ---------------------------------------------------------------------------------------- the site


def _new_uuid() -> str:
    """A random UUID, for a guest or a conversation."""
    # `uuid.uuid4` would do, but importing it takes as long as the rest of this file.
    digits = bytearray(os.urandom(16))
    # the bits of a UUID that say its version and its variant
    digits[6] = digits[6] & 0x0F | 0x40
    digits[8] = digits[8] & 0x3F | 0x80
    text = digits.hex()
    return "-".join([text[:8], text[8:12], text[12:16], text[16:20], text[20:]])


class _Failure(NamedTuple):
    """A look at the page that failed."""

    error: Exception
    # threads share the failure only if that of their `_Transport` is equal to this
    asked_with: tuple[Any, ...]


class _Site:
    """What outlives a call: the guest, the chats, and in each process its connections."""

    def __init__(self, callers_session: Any) -> None:
        self.callers_session = callers_session
        self.guest = _new_uuid()
        # the chats of each page that somebody has looked at, by its address; as a rule there is one
        # page, but callers can change the client's `url`
        self.chats: dict[str, tuple[_Chat, ...]] = {}
        self._begin()

    def _begin(self) -> None:
        """Make what belongs to this process alone.

        On a connection that two processes share, each would get the other's answers. A lock that
        some thread held at a fork would never be free in the child.
        """
        self.session = self.callers_session
        if self.session is None:
            self.session = _Session()
        # Held by the thread that looks at the page. An interrupt just after it was taken leaves it
        # taken. It is an RLock, which lets its own thread in again. For the others, the first that
        # waits in vain puts a new one in its place: see `look`.
        self.page_lock = threading.RLock()
        self.last_failure: Optional[_Failure] = None
        # Set last: where another thread of a forked child finds it right, the rest is made anew.
        self.process_id = os.getpid()

    def begin_call(self, url: str, options: _Settings) -> _Transport:
        """Return what sends the requests of a call that begins now."""
        if self.process_id != os.getpid():
            # a fork
            self._begin()
        return _Transport(self.session, url, options)

    def known_chats(self, home: str) -> tuple[_Chat, ...]:
        """The chats of the page at this address, empty if nobody has looked yet."""
        return self.chats.get(home, ())

    def look(
        self, transport: _Transport, known: tuple[_Chat, ...], refused: Optional[_Chat] = None
    ) -> tuple[_Chat, ...]:
        """Return the page's chats, newer than `known`.

        Of several threads one looks them up. The others wait for its result, no longer than their
        own time-outs allow. They share its failure, too, if they ask with the same options: else
        ten threads would wait for a dead site one after the other.

        known: the tuple that the caller has. If the site's is another by now, that is returned.
        refused: the one of `known` that refused a question, if one did.
        """
        earlier_failure = self.last_failure
        lock = self.page_lock
        if not lock.acquire(timeout=transport.longest_wait()):
            self.page_lock = threading.RLock()
            host = urlsplit(transport.home).netloc
            waited = "waited for another thread's look at the page"
            raise requests.Timeout(f"{waited} of {host}, which takes too long")
        try:
            # If another thread has looked meanwhile, there is a new tuple. It counts, even if the
            # chats in it are as they were.
            chats = self.known_chats(transport.home)
            if chats is not known:
                return chats
            failure = self.last_failure
            is_new = failure is not earlier_failure
            if failure is not None and is_new and failure.asked_with == transport.asked_with():
                raise _copied(failure.error)
            return self._look_now(transport, refused)
        finally:
            lock.release()

    def _look_now(self, transport: _Transport, refused: Optional[_Chat]) -> tuple[_Chat, ...]:
        try:
            if refused is None:
                return self.read_page(transport)
            nonce = refused.fresh_nonce(transport)
            if nonce in ("", refused.nonce):
                return self.read_page(transport, is_fresh=True)
        except (ChatgptFreeError, *_NETWORK_FAILURES) as error:
            # that a call's own time is up is not for the others
            if transport.lateness() is None:
                # a copy, since the error itself keeps all that its traceback leads to
                self.last_failure = _Failure(_copied(error), transport.asked_with())
            raise
        # all chats of a page have the same
        chats = self.known_chats(transport.home)
        renewed = tuple(chat.with_nonce(nonce) for chat in chats)
        self.chats[transport.home] = renewed
        return renewed

    def read_page(self, transport: _Transport, is_fresh: bool = False) -> tuple[_Chat, ...]:
        """Look at the page as it is now, without waiting for other threads."""
        page_url, response = transport.open_page(is_fresh)
        if response.status_code >= 400:
            raise transport.refusal(response)
        page = transport.text(response)
        try:
            chats = _find_chats(page, page_url)
        except ChatNotFoundError as error:
            if response.status_code != 200 or _is_blocked(response, page):
                raise _refusal(response, page) from error
            raise
        transport.keep(response)
        found = f"{chats[0].protocol} protocol"
        names = ", ".join(chat.name for chat in chats)
        if names:
            found += f": {names}"
        _log.debug("%s", found)
        self.chats[transport.home] = chats
        return chats


def _copied(error: Exception) -> Exception:
    """A copy of an error without its traceback, or the error itself if it can't be copied.

    Threads that raised the same error would all add to its traceback.
    """
    try:
        return copy.copy(error)
    except TypeError:
        return error


# ---------------------------------------------------------------------------------------- the call


class _Memory(NamedTuple):
    """A conversation as a site remembers it."""

    # a UUID, under which the site keeps it for this guest
    conversation: str
    # the bot, and where it is asked
    bot_id: str
    ajax_url: str
    # how many messages it has for the site
    message_count: int
    # what was said in it
    turns: list[_Turn]

    def can_go_on(self, chat: _Chat, turns: list[_Turn]) -> bool:
        """Does the chat remember just these turns, with space for a question and its answer?"""
        is_same_bot = (self.bot_id, self.ajax_url) == (chat.bot_id, chat.ajax_url)
        has_space = self.message_count + 2 <= MEMORY_LIMIT
        return chat.remembers and is_same_bot and has_space and self.turns == turns


class _Call:
    """A call, from the question to the last word.

    site: where to ask.
    url: the page that shows the chat.
    options: those of the call.
    turns: what is said; the last turn is the question.
    default_models: names of models that mean the page's first chat.

    In some functions `__tracebackhide__` asks notebooks and pytest to leave their frames out.
    """

    def __init__(
        self,
        site: _Site,
        url: str,
        options: _Settings,
        turns: list[_Turn],
        default_models: list[str],
    ) -> None:
        self.site = site
        self.url = url
        self.options = options
        self.turns = turns
        self.default_models = default_models
        # all that is said as one text
        self.prompt = _prompt_of(turns)
        # what the site remembers of the turns before the question, None for nothing
        self.remembered: Optional[_Memory] = None
        self.answer = _Answer()
        # the response whose body is the answer, None before the question is asked
        self.response: Optional[Response] = None
        # bytes of its body since the last text
        self.silent_bytes = 0

    # What belongs to the call once it has begun: what sends its requests, the chats and the one to
    # ask, the conversation that the question is part of, and what comes of the answer.
    transport: _Transport
    chats: tuple[_Chat, ...]
    chat: _Chat
    memory: _Memory
    pieces: Generator[bytes, None, None]
    events: Generator[_Event, None, None]

    def texts(self) -> Generator[str, None, Reply]:
        """Yield the text of the answer as it comes, and return it whole."""
        __tracebackhide__ = True
        with contextlib.closing(self):
            text = self._next_text()
            while text:
                yield text
                text = self._next_text()
        return self.reply()

    def wait(self) -> Reply:
        """Wait for all of the answer, and return it."""
        __tracebackhide__ = True
        with contextlib.closing(self):
            while self._next_text():
                pass
        return self.reply()

    def reply(self) -> Reply:
        """The answer, of which all has come."""
        answer = self.answer
        return Reply(answer.text(), answer.sources(), answer.finish_reason)

    def memory_now(self) -> Optional[_Memory]:
        """What the site remembers after a whole answer, None for nothing."""
        if not self.chat.remembers:
            return None
        memory = self.memory
        # the question is one message, and the answer at least one
        count = memory.message_count + 1 + max(1, self.answer.message_count)
        turns = [*self.turns, ("assistant", self.answer.text())]
        return _Memory(memory.conversation, memory.bot_id, memory.ajax_url, count, turns)

    def close(self) -> None:
        """Leave the response, if there is one."""
        if self.response is not None:
            self.response.close()
            # unfinished, they and this object would keep each other alive
            self.events.close()
            self.pieces.close()

    def _next_text(self) -> str:
        """The next piece of text, "" after the last.

        After some text every failure of the site or of the network is an IncompleteReplyError.
        """
        __tracebackhide__ = True
        try:
            if self.response is None:
                return self._first_text()
            return self._read_text()
        except (ChatgptFreeError, *_NETWORK_FAILURES) as error:
            text = self.answer.text()
            _log.debug("failed after %s characters: %s", len(text), type(error).__name__)
            if not text:
                raise
            if isinstance(error, IncompleteReplyError):
                error.partial = text
                raise
            seconds = self.options.read_timeout
            reason = _in_short(error, self.url, "lost the connection to", seconds)
            raise IncompleteReplyError(f"the answer broke off: {reason}", partial=text) from error

    def _first_text(self) -> str:
        """Choose a chat, ask, and return the first piece; ask once more if the chat has changed.

        If the site fails before any text, its nonce may have expired, its plugin may have been
        updated, or its bot replaced. The words of its error can be in any language, and don't tell.
        """
        __tracebackhide__ = True
        self.transport = self.site.begin_call(self.url, self.options)
        self._choose()
        try:
            self._ask()
            return self._read_text()
        except (RateLimitError, BlockedError):
            raise
        except ChatgptFreeError:
            self.close()
            # A form is an answer, too: asked again, the site would show it again.
            if self.answer.form_title is not None or not self._has_changed():
                raise
        if self.response is not None:
            # an answer had begun, so the site may remember the question
            self.remembered = None
        self.answer = _Answer()
        self._ask()
        return self._read_text()

    def _choose(self) -> None:
        """Choose the chat to ask.

        If those that are known don't offer what is wanted, the page may have changed, and is read
        again.
        """
        self.chats = self.site.known_chats(self.transport.home)
        if not self.chats:
            self.chats = self.site.look(self.transport, self.chats)
            self.chat = self._wanted_chat()
            return
        try:
            self.chat = self._wanted_chat()
        except ValueError:
            # not `look`: another thread may just have renewed the nonce, without reading the page
            self.chats = self.site.read_page(self.transport)
            self.chat = self._wanted_chat()

    def _has_changed(self) -> bool:
        """Look the chat up again, and say whether it would be asked in another way now.

        Raises ValueError if the page has no such bot any more.
        """
        _log.debug("the chat is looked up again")
        refused = self.chat
        try:
            self.chats = self.site.look(self.transport, self.chats, refused)
        except (ChatgptFreeError, *_NETWORK_FAILURES) as error:
            # the site's first error tells more than this one
            _log.debug("it was not found: %s", type(error).__name__)
            return False
        self.chat = self._wanted_chat()
        return not self.chat.is_asked_like(refused)

    def _wanted_chat(self) -> _Chat:
        """The chat that the options name. Raises ValueError if it doesn't offer what they want."""
        chat = self._chat_for_model()
        wanted = {"image": bool(self.options.image), "web_search": bool(self.options.web_search)}
        for option, is_wanted in wanted.items():
            if is_wanted and option not in chat.offers:
                others = [str(other) for other in self.chats if option in other.offers]
                names = " and ".join(others)[:1000] or "no bot"
                verb = "does"
                if len(others) > 1:
                    verb = "do"
                raise ValueError(f"{chat} takes no {option}; on its page, {names} {verb}")
        return chat

    def _chat_for_model(self) -> _Chat:
        """The chat that the option `model` names. Raises ValueError if there is none."""
        first = self.chats[0]
        wanted = ""
        if self.options.model is not None:
            wanted = str(self.options.model).strip()
        if not wanted or not first.has_models:
            return first
        for chat in self.chats:
            its_names = (chat.name.casefold(), chat.bot_id, str(chat).casefold())
            if wanted.casefold() in its_names:
                return chat
        if wanted in self.default_models:
            return first
        names = ", ".join(str(chat) for chat in self.chats)
        model = self.options.model
        raise ValueError(f"no model {model!r} on {first.page_url}, which offers {names:.1000}")

    def _ask(self) -> None:
        """Send the question to the chat."""
        __tracebackhide__ = True
        chat = self.chat
        memory = self.remembered
        if memory is not None and memory.can_go_on(chat, self.turns[:-1]):
            _, message = self.turns[-1]
        else:
            memory = _Memory(_new_uuid(), chat.bot_id, chat.ajax_url, 0, [])
            message = self.prompt
        self.memory = memory
        options = self.options
        question = _Question(
            message, options.image, options.web_search, self.site.guest, memory.conversation
        )
        response = chat.open_answer(self.transport, question)
        self.silent_bytes = 0
        self.pieces = self._answer_pieces(response)
        self.events = _events(self.pieces)
        self.response = response

    def _answer_pieces(self, response: Response) -> Generator[bytes, None, None]:
        """Yield the pieces of a body, as long as there is text among them and time left."""
        for piece in _pieces(response):
            self.silent_bytes += len(piece)
            if self.silent_bytes > BODY_LIMIT:
                without = "without an end or any text of an answer"
                raise ChatgptFreeError(f"the site sent {BODY_LIMIT:,} bytes {without}")
            self.transport.check_time()
            yield piece

    def _read_text(self) -> str:
        """Read on to the next piece of text, and return it, or "" where the answer ends."""
        __tracebackhide__ = True
        answer = self.answer
        if len(answer.encoded) > ANSWER_LIMIT:
            raise ChatgptFreeError(f"the answer has over {ANSWER_LIMIT:,} bytes")
        failure: Optional[Exception] = None
        try:
            # goes on where the last call of this method has left it
            for name, data in self.events:
                text = answer.take(name, data)
                if text:
                    self.silent_bytes = 0
                    return text
                if answer.is_over:
                    break
        except _NETWORK_FAILURES as error:
            failure = self.transport.lateness() or error
        self._end(failure)
        return ""

    def _end(self, failure: Optional[Exception]) -> None:
        """The response has ended: see to it that the answer is whole, and keep the connection."""
        __tracebackhide__ = True
        if self.answer.skipped:
            _log.debug("events that are not known: %s", ", ".join(self.answer.skipped))
        self.answer.end(failure)
        if failure is None and self.response is not None:
            _read_to_end(self.response, self.pieces)
            self.response.close()
            self.transport.keep(self.response)
        _log.debug("the answer is whole, with %s characters", len(self.answer.text()))


# ------------------------------------------------------------------------------------- ChatgptFree


class ChatgptFree:
    """One site, one guest.

    It keeps the page's nonce and the connections between calls. Threads can share it, and forked
    processes. `with` closes it.

    url (str): any page that shows a chat of the plugin. It can hold `user:password@`. Everything
        that you give goes to this site, and to no other. Default: `ChatgptFree.url`, which is
        CHATGPTFREE_URL of the environment at the import, or chatgptfree.ai.
    session: a `requests.Session` or what behaves like one, to ask with. It stays yours to close.
        Default: one of its own.
    options: defaults for every call, any keyword of `stream`. What a call is given wins; `headers`
        are merged.

    Raises ValueError if the given `url` is no http or https address, and TypeError or ValueError
    for a wrong session or option.

    >>> with demo_site(str.upper) as url, ChatgptFree(url, timeout=30) as bot:
    ...     print(bot.complete("Hello"))
    HELLO
    """

    url: str = os.environ.get("CHATGPTFREE_URL", "").strip() or "https://chatgptfree.ai"
    # gpt4free has a class for this site with these attributes. Code that used it can use this one.
    # The default model is never sent: `_chat_for_model` takes it for the page's first chat.
    working = True
    default_model = "gpt-4o-mini-2024-07-18"
    models: ClassVar[list[str]] = [default_model]
    model_aliases: ClassVar[dict[str, str]] = {"gpt-4o-mini": default_model}

    def __init__(
        self, url: Optional[str] = None, *, session: Any = None, **options: Unpack[CallOptions]
    ) -> None:
        if url is not None:
            if not isinstance(url, str):
                raise TypeError(f"url must be a str, not {type(url).__name__}")
            self.url = url.strip()
            # raises ValueError for what is no address
            _prepared(self.url)
        if session is not None:
            _check_session(session)
        self._site = _Site(session)
        self._options = self._checked(options)

    def _checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        # a subclass, or another library's session, can have options of its own
        takes_others = type(self._site.callers_session) not in (type(None), requests.Session)
        return _checked_options(options, takes_others)

    @property
    def _nonce(self) -> Optional[str]:
        """gpt4free's name for the nonce, None before the first call. All bots have the same."""
        chats = self._site.known_chats(_prepared(self.url))
        if not chats:
            return None
        return chats[0].nonce

    @property
    def _post_id(self) -> Optional[str]:
        """gpt4free's name for the post id, None before the first call."""
        chats = self._site.known_chats(_prepared(self.url))
        if not chats:
            return None
        return chats[0].post_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_shown(self.url)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._site.callers_session is not None:
            raise TypeError(
                f"a {type(self).__name__} with a session of the caller's cannot be pickled: "
                "make it anew in the other process"
            )
        # A pool of processes is one guest, and doesn't look at the page for each task.
        make = functools.partial(type(self), self.url, **self._options)
        return make, (), (self._site.guest, dict(self._site.chats))

    def __setstate__(self, state: tuple[str, dict[str, tuple[_Chat, ...]]]) -> None:
        self._site.guest, self._site.chats = state

    def __enter__(self) -> ChatgptFree:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, unless the session is the caller's. The next call opens new ones.

        >>> bot = ChatgptFree()
        >>> bot.close()
        """
        if self._site.callers_session is None:
            self._site.session.close()

    def stream(
        self,
        messages: Messages,
        model: Model = None,
        proxy: Optional[str] = None,
        timeout: Timeout = None,
        cookies: Cookies = None,
        *,
        image: Image = None,
        web_search: Optional[bool] = None,
        max_time: Optional[float] = None,
        **kwargs: Unpack[RequestOptions],
    ) -> Generator[str, None, Reply]:
        """Return a generator of the answer's text, each piece as the site sent it, when it sent it.

        What the generator returns at its end is the whole `Reply`. The arguments are checked at
        once; requests are made from the first `next()` on. For each option None means: as the
        client has it.

        messages (str, or iterable of mappings): what `format_prompt` takes.
        model (str or int): a bot of the page by name, in any case, or by number. Default: its
            first. Classic sites choose the model themselves.
        proxy (str): the URL of a proxy for http and https. Default: what the environment says.
        timeout (float, or a tuple of two, for connecting and reading): seconds without a byte
            before the call fails. Default: 120, and 20 for connecting; `math.inf` waits for ever.
        cookies (dict or jar): go to the site of `url` and to no other. Default: none.
        image (path or bytes): a JPEG, PNG or WebP of up to 20 million bytes, for a bot that takes
            images. Default: none.
        web_search (bool): let a bot that offers it search the web first. Default: as the page has
            it.
        max_time (float): seconds for the whole call. It is looked at as pieces arrive and between
            requests, and no request waits for a byte for longer than this. So a site that falls
            silent can hold the call for about twice `max_time`. Default: no limit.
        kwargs: `auth`, `cert`, `headers`, `hooks`, `proxies`, `verify`, as `requests` takes them.

        If the site refuses the question, its page is looked up again, and if the chat has changed,
        the question is sent once more.

        Raises TypeError or ValueError for wrong arguments: at the call, but for a model or an offer
        that the page doesn't have, which only the first `next()` can tell. Then raises
        ChatgptFreeError if the site fails, and `requests`' exceptions if the network fails before
        any text has come. After some text every failure is an IncompleteReplyError.

        >>> with demo_site(str.upper) as url:
        ...     print(*ChatgptFree(url).stream("Tell me a story."), sep="|")
        TELL |ME |A |STORY.
        """
        named = {
            "model": model,
            "proxy": proxy,
            "timeout": timeout,
            "cookies": cookies,
            "image": image,
            "web_search": web_search,
            "max_time": max_time,
        }
        return self._call(messages, {**named, **kwargs}).texts()

    def complete(
        self, messages: Messages, model: Model = None, **options: Unpack[CompleteOptions]
    ) -> Reply:
        """Wait for the whole answer, and return it as a `Reply`.

        messages (str, or iterable of mappings): what `format_prompt` takes.
        model (str or int): a bot of the page by name or number. Default: its first.
        options: the other keywords of `stream`, with the same defaults: `proxy` (str), `timeout`
            (float, seconds without a byte), `cookies` (dict or jar), `image` (path or bytes),
            `web_search` (bool), `max_time` (float, seconds), and what `requests` takes.

        Raises what `stream` does. An answer that broke off is an IncompleteReplyError, which has
        the text that came.

        >>> with demo_site(str.upper) as url:
        ...     ChatgptFree(url).complete("Hello")
        'HELLO'
        """
        return self._call(messages, {"model": model, **options}).wait()

    def conversation(
        self,
        system: Optional[str] = None,
        messages: Optional[Iterable[Mapping[str, Any]]] = None,
        **options: Unpack[CallOptions],
    ) -> Conversation:
        """Return a new `Conversation`, in which the bot knows what was said before.

        system (str): instructions that go before all messages. Default: none.
        messages (iterable of mappings): what was said in an earlier conversation, as its
            `messages` had it, its instructions included. They are copied. Default: none.
        options: defaults for its messages, over those of the client; any keyword of `stream`.

        Raises TypeError or ValueError for wrong arguments.

        >>> with demo_site(lambda prompt: f"{prompt.count('User:')} questions") as url:
        ...     chat = ChatgptFree(url).conversation(system="Be terse.")
        ...     print(chat.complete("My name is Ann."), chat.complete("What is my name?"), sep=", ")
        1 questions, 2 questions
        """
        return Conversation(self, system, messages, options)

    def list_models(self, **options: Unpack[CallOptions]) -> list[str]:
        """Return the names of the bots on the site's page as it is now, in page order.

        Bots of one name get their number: `ChatGPT (25873)`. On a classic page, whose site chooses
        the model, the result is `models`, an attribute of the class.

        options: any keyword of `stream`. Those that say what to ask are of no use here.

        Raises what `stream` does.

        >>> with demo_site() as url:
        ...     ChatgptFree(url).list_models()
        ['gpt-4o-mini-2024-07-18']
        """
        layers = [dict(self._options), self._checked(options)]
        for layer in layers:
            # no message is sent, so a missing image file is no error
            layer.pop("image", None)
        transport = self._site.begin_call(self.url, _resolved_options(layers))
        chats = self._site.read_page(transport)
        if not chats[0].has_models:
            return list(self.models)
        names = [chat.name for chat in chats]
        return [_label(chat, names) for chat in chats]

    def _call(
        self, messages: Messages, own: Mapping[str, Any], *defaults: Mapping[str, Any]
    ) -> _Call:
        """A call with its own options, over those of its conversation and of the client."""
        options = _resolved_options([self._options, *defaults, self._checked(own)])
        aliases = [
            name for name, model in self.model_aliases.items() if model == self.default_model
        ]
        # gpt4free's callers pass these names, which no page has
        default_models = [self.default_model, *aliases]
        return _Call(self._site, self.url, options, _as_turns(messages), default_models)


def _label(chat: _Chat, names: list[str]) -> str:
    """The name of a bot, with its number if others of `names` are the same."""
    if names.count(chat.name) > 1:
        return str(chat)
    return chat.name


def _check_session(session: Any) -> None:
    """Raise TypeError for a session that can't be asked as `requests`' own can."""
    # not at the top: importing it takes long
    from inspect import Parameter, signature

    if isinstance(session, type):
        raise TypeError(f"session must be an object, not the class {session.__name__}")
    kind = type(session).__name__
    for method in ("get", "post"):
        send = getattr(session, method, None)
        if not callable(send):
            raise TypeError(f"session must behave like a requests.Session, unlike {kind}")
        try:
            parameters = signature(send).parameters
        except ValueError:
            # it can't be told
            continue
        takes_all = any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
        for name in ("stream", "allow_redirects"):
            if name not in parameters and not takes_all:
                missing = f"{kind}.{method} takes no {name!r}"
                raise TypeError(f"session must behave like a requests.Session: {missing}")


class Conversation:
    """A conversation with a bot, made by `conversation()`. One thread at a time can use it.

    `messages` is the list of what was said: mappings with "role" and "content". It can be edited,
    saved as JSON, and given to a new conversation. With the first piece of an answer it becomes a
    new list, with the question and the answer so far. A message that failed before any text is
    left out; what had come of a broken answer counts as the answer.

    A site of the current protocol remembers what was said, so only the new message is sent: as
    long as the last message got a whole answer, and `messages` has not been changed since. But its
    model sees the last 15 messages only, so after seven questions, as a rule, all of it is sent
    once more. To a classic site all of it is always sent.

    A copy, or a pickle, has the messages, but starts anew with the site's memory.

    >>> with demo_site(lambda prompt: "Hello.") as url:
    ...     chat = ChatgptFree(url).conversation()
    ...     reply = chat.complete("My name is Ann.")
    ...     print(chat.messages[0])
    {'role': 'user', 'content': 'My name is Ann.'}
    """

    messages: list[dict[str, Any]]

    def __init__(
        self,
        bot: ChatgptFree,
        system: Optional[str],
        messages: Optional[Iterable[Mapping[str, Any]]],
        options: Mapping[str, Any],
    ) -> None:
        if messages is None:
            messages = ()
        said = _copied_messages(messages)
        if system is not None and not isinstance(system, str):
            raise TypeError(f"system must be a str, not {type(system).__name__}")
        if system:
            instructions = {"role": "system", "content": system}
            # raises ValueError for halves of characters
            _turn(instructions, "system")
            said.insert(0, instructions)
        self.messages = said
        self._bot = bot
        self._options = bot._checked(options)
        # what the site remembers, None for nothing
        self._memory: Optional[_Memory] = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {self._bot!r}, {len(self.messages)} messages>"

    def __getstate__(self) -> dict[str, Any]:
        # two copies must not go on in one conversation of the site's
        return {**vars(self), "_memory": None}

    def stream(self, message: str, **options: Unpack[CallOptions]) -> Generator[str, None, Reply]:
        """Return a generator of the text of the answer to `message`, which returns the `Reply`.

        message (str): what to say.
        options: any keyword of `ChatgptFree.stream`.

        Raises what `ChatgptFree.stream` does.

        >>> with demo_site(str.upper) as url:
        ...     print(*ChatgptFree(url).conversation().stream("Hello you"), sep="|")
        HELLO |YOU
        """
        said = self._said_with(message)
        return self._texts(self._bot._call(said, options, self._options), said)

    def complete(self, message: str, **options: Unpack[CallOptions]) -> Reply:
        """Wait for the whole answer to `message`, and return it as a `Reply`.

        message (str): what to say.
        options: any keyword of `ChatgptFree.stream`.

        Raises what `ChatgptFree.complete` does.

        >>> with demo_site(str.upper) as url:
        ...     ChatgptFree(url).conversation().complete("Hello you")
        'HELLO YOU'
        """
        said = self._said_with(message)
        call = self._bot._call(said, options, self._options)
        for _ in self._texts(call, said):
            pass
        return call.reply()

    def _said_with(self, message: str) -> list[dict[str, Any]]:
        """A copy of what was said, with a new message after it."""
        if not isinstance(message, str):
            raise TypeError(f"message must be a str, not {type(message).__name__}")
        # raises ValueError for an empty one
        format_prompt(message)
        return [*_copied_messages(self.messages), {"role": "user", "content": message}]

    def _texts(self, call: _Call, said: list[dict[str, Any]]) -> Generator[str, None, Reply]:
        """Yield the texts of a call, and keep them after what was said."""
        __tracebackhide__ = True
        # Nobody else may go on with what the site remembers while this answer comes, or after it
        # has broken off: then all that was said is sent anew.
        call.remembered = self._memory
        self._memory = None
        answer = {"role": "assistant", "content": ""}
        messages = [*said, answer]
        text_so_far = ""
        with contextlib.closing(call.texts()) as texts:
            try:
                for text in texts:
                    # Adding to a str copies all of it if anything else refers to it. So the message
                    # lets go of it first.
                    answer["content"] = ""
                    text_so_far += text
                    answer["content"] = text_so_far
                    is_first = len(text_so_far) == len(text)
                    if is_first:
                        self.messages = messages
                    yield text
            finally:
                # an interrupt can come between the lines above
                answer["content"] = text_so_far
        self._memory = call.memory_now()
        return call.reply()


def _copied_messages(messages: Iterable[Any]) -> list[dict[str, Any]]:
    """Messages as dicts, which can be edited and saved as JSON.

    Raises TypeError or ValueError, which name a wrong one.
    """
    said = _as_list(messages, "a list of messages")
    _turns(said)
    return [copy.deepcopy(dict(_as_mapping(message))) for message in said]


# The module's own functions are the methods of a client that all share.
_shared = ChatgptFree()
stream = _shared.stream
complete = _shared.complete
conversation = _shared.conversation
list_models = _shared.list_models


# -------------------------------------------------------------------------------------- the screen
#
# How people see an answer: as the value of a cell, growing in a notebook, or printed.

UPDATE_INTERVAL = 0.1  # seconds between two drawings of an answer that grows

# What steers a terminal, or changes the direction of the text around it.
# Halves of characters, which can't be encoded, go as well.
_CONTROLS = r"[^\n\t -~\xa0-\U0010ffff]|[\u202a-\u202e\u2066-\u2069\ud800-\udfff]"


class Reply(str):
    """An answer: a str that a notebook shows as formatted text.

    text (str): the answer, in Markdown as most models write it. Default: "".
    sources (iterable of dict): what a web search found, a dict of "title" and "url" each.
        Default: nothing. The attribute `sources` is a list of them.
    finish_reason (str): why the answer ended, such as "stop", "length" (it was cut) or
        "content_filter". Default: "", which means that the site doesn't tell.

    >>> Reply("Paris.", [{"title": "Paris", "url": "https://example.org/"}]).sources[0]["title"]
    'Paris'
    """

    sources: list[dict[str, str]]
    finish_reason: str

    def __new__(
        cls, text: str = "", sources: Iterable[dict[str, str]] = (), finish_reason: str = ""
    ) -> Reply:
        reply = super().__new__(cls, text)
        reply.sources = list(sources)
        reply.finish_reason = finish_reason
        return reply

    def _repr_html_(self) -> Optional[str]:
        """Return the answer as HTML for a notebook; None where it has to be shown as plain text."""
        return _answer_html(self, self.sources, FORMULA_COUNT)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the text itself, without quotes, at IPython's prompt."""
        # IPython's printer has a stack of what it is showing: lists, say, and what is in them.
        is_nested = len(getattr(printer, "stack", ())) > 1
        if is_nested:
            printer.text(repr(self))
        else:
            printer.text(_without_controls(self))


class _ShownReply(Reply):
    """A reply that `show` has shown: as the last value of a cell it is not shown once more."""

    # the number of IPython's cell
    cell: int

    def _ipython_display_(self) -> None:
        ipython: Any = sys.modules["IPython"]
        if ipython.get_ipython().execution_count != self.cell:
            ipython.display.display(Reply(self, self.sources, self.finish_reason))

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy is an ordinary Reply: the number of the cell means nothing in another session.
        return Reply, (str(self), self.sources, self.finish_reason)


def show(texts: Iterable[str]) -> Reply:
    """Show an answer while it comes, and return it.

    In a notebook it is formatted text that grows; elsewhere it is printed.

    texts (iterable of str): what `stream` returns.

    Raises what `stream` raises; what had come until then stays on the screen. Raises TypeError for
    a whole text, as `complete` returns it.

    >>> with demo_site(str.upper) as url:
    ...     reply = show(ChatgptFree(url).stream("Hello"))
    HELLO
    """
    __tracebackhide__ = True
    shell = _ipython_shell()
    # In a terminal, IPython has no kernel.
    if hasattr(shell, "kernel"):
        reply = _display_answer(texts)
    else:
        reply = _print_answer(texts)
    if shell is None:
        return reply
    shown = _ShownReply(reply, reply.sources, reply.finish_reason)
    shown.cell = shell.execution_count
    return shown


def _ipython_shell() -> Any:
    """Return the IPython that this code runs in, None where it runs in none."""
    # sys.modules["IPython"] can also be None, or a mock that a builder of documentation put there
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    if get_ipython is None:
        return None
    shell = get_ipython()
    if not isinstance(getattr(shell, "execution_count", None), int):
        return None
    return shell


class _OnScreen:
    """An answer on its way to the screen: iterates over its pieces, and keeps what has come."""

    def __init__(self, texts: Iterable[str]) -> None:
        if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
            kind = type(texts).__name__
            raise TypeError(f"show takes what stream returns, as in show(stream(…)), not {kind}")
        self.texts = iter(texts)
        self.pieces: list[str] = []
        # what a generator returns at its end
        self.returned: Any = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        __tracebackhide__ = True
        try:
            text = next(self.texts)
        except StopIteration as end:
            self.returned = end.value
            raise
        self.pieces.append(text)
        return text

    def close(self) -> None:
        """Close a generator, which a traceback would keep alive, and with it the connection."""
        if isinstance(self.texts, Generator):
            self.texts.close()

    def text(self) -> str:
        """What has come so far."""
        return "".join(self.pieces)

    def reply(self) -> Reply:
        """What `stream` has returned at its end, else a reply of what has come."""
        if isinstance(self.returned, Reply):
            return self.returned
        return Reply(self.text())


def _display_answer(texts: Iterable[str]) -> Reply:
    """Show an answer in a notebook, or in a console that has a kernel as a notebook has.

    Only a notebook can change what it has displayed; a console (Jupyter's, Qt's, Spyder's) and an
    Output of ipywidgets can't, and nothing tells which it is. So the growing output begins empty,
    and has no form but HTML: a console shows nothing of it. At the end the reply is displayed as
    any other, and only then the growing output is emptied: the other way round the page would
    become short for a moment, and jump.
    """
    __tracebackhide__ = True
    display: Any = sys.modules["IPython"].display.display
    answer = _OnScreen(texts)
    markup = ""
    growing = display({"text/html": markup}, raw=True, display_id=True)
    next_update = time.monotonic() + UPDATE_INTERVAL
    try:
        with contextlib.closing(answer):
            for _ in answer:
                start = time.monotonic()
                if start >= next_update:
                    markup = _growing_html(answer.text())
                    growing.update({"text/html": markup}, raw=True)
                    end = time.monotonic()
                    # What takes long, as a long answer may, is done less often.
                    next_update = end + max(UPDATE_INTERVAL, 4 * (end - start))
    finally:
        reply = answer.reply()
        if markup:
            growing.update({"text/html": markup + _GIVES_WAY}, raw=True)
        if reply:
            display(reply)
        growing.update({"text/html": ""}, raw=True)
    return reply


# By this JupyterLab and Notebook hide the growing output as soon as the reply stands below it. Both
# together would make the page twice as long for a moment.
_GIVES_WAY = (
    '<style class="chatgptfree-gives-way">'
    ".jp-OutputArea-child:has(.chatgptfree-gives-way):has(~ * .mathjax_ignore) {display: none}"
    "</style>"
)


def _growing_html(text: str) -> str:
    """Return the HTML of an answer that isn't whole yet. Its formulas stand there as text.

    Typesetting all of them again and again would keep the page busy for minutes.
    """
    markup = _answer_html(text, [], 0)
    if markup is None:
        escaped = _escape(_without_controls(text))
        markup = f'<pre dir="auto" style="white-space:pre-wrap">{escaped}</pre>'
    return markup


def _print_answer(texts: Iterable[str]) -> Reply:
    """Print an answer as it comes, and return it. What had come stays when it breaks off."""
    __tracebackhide__ = True
    answer = _OnScreen(texts)
    is_terminal = _is_terminal(sys.stdout)
    notice = _waiting_notice(sys.stderr)
    wipe = ""
    if notice:
        # a terminal shows Ctrl-C as "^C" after the notice
        wipe = "\r" + " " * len(f"{notice}^C") + "\r"
    try:
        _write(sys.stderr, notice)
        with contextlib.closing(answer):
            for text in answer:
                if len(answer.pieces) == 1:
                    _write(sys.stderr, wipe)
                if is_terminal:
                    text = _without_controls(text)
                _write(sys.stdout, text)
    finally:
        if answer.pieces:
            _write(sys.stdout, "\n")
        else:
            _write(sys.stderr, wipe)
    return answer.reply()


def _without_controls(text: str) -> str:
    """Return text without what steers the terminal or the console that shows it."""
    return re.sub(_CONTROLS, "", text)


def _waiting_notice(stream: Any) -> str:
    """Return a notice that fits on one line of the terminal, or "" where the stream is none."""
    # lines of the log would be mixed with it
    if not _is_terminal(stream) or _log.isEnabledFor(logging.DEBUG):
        return ""
    try:
        width = os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, OSError, ValueError):
        # The window of IDLE says that it is a terminal, but what it shows can't be wiped away.
        return ""
    # Some terminals say 0.
    if width == 0:
        width = 80
    # with a "^C" after it, it still fits
    return "waiting for the answer ..."[: width - 3]


def _is_terminal(stream: Any) -> bool:
    # Maya and PyScripter put streams in place of sys.stdout that have no `isatty`.
    return hasattr(stream, "isatty") and bool(stream.isatty())


def _write(stream: Any, text: str) -> None:
    """Write text at once, with a "?" for each character that the stream can't encode.

    stream: sys.stdout or sys.stderr. Both are None in `pythonw`. What somebody has put in their
        place may have no method but `write`.
    """
    if stream is None or not text:
        return
    try:
        print(text, end="", file=stream)
    except UnicodeEncodeError:
        encoding = getattr(stream, "encoding", None) or "ascii"
        print(text.encode(encoding, "replace").decode(encoding), end="", file=stream)
    if hasattr(stream, "flush"):
        stream.flush()


# --------------------------------------------------------------------------------------- notebooks
#
# A notebook runs the HTML and the scripts that a cell puts out, and the text comes from a site that
# may be hostile. So the Markdown of an answer is parsed here, with HTML switched off, and only
# the parser's own HTML is handed to the notebook.
#
# The time of the parser, of many of pygments' lexers, and of what typesets formulas grows with the
# square of the length of some texts, or faster. So all have limits, beyond which a text is shown as
# it is.
HTML_LIMIT = 64_000  # characters of an answer
HTML_TIME = 0.5  # seconds of CPU for an answer
CODE_LIMIT = 10_000  # characters of a block of code
CODE_LINE_LIMIT = 400  # characters of its longest line: a lexer may read it whole
CODE_TIME = 0.2  # seconds of CPU for a block of code
FORMULA_LIMIT = 2_000  # characters of a formula
FORMULA_DEPTH = 30  # levels of a formula: 120 roots in one another crash JupyterLab's page
CHEMISTRY_LIMIT = 200  # characters of a formula of chemistry
FORMULA_COUNT = 1_000  # formulas of an answer
FORMULAS_LIMIT = 15_000  # bytes of all of them: they keep JupyterLab's page busy for 1.5 s

# The languages whose lexers were tried with hostile code; some of the others take minutes.
_CODE_LANGUAGES = (
    "bash c c# c++ console cpp csharp css dart diff docker dockerfile go golang haskell html "
    "ini ipython java javascript js json jsx julia kotlin latex lua make makefile perl php "
    "powershell ps1 py pycon python r rb rs ruby rust scala sh shell shell-session sql swift "
    "tex toml ts tsx typescript xml yaml yml zsh"
)

# Formulas: \(a\) and $a$ in a line, \[a\] and $$a$$ on their own. The "$" that opens stands before
# no blank, and the one that closes stands after none and before no digit, as in pandoc: so prices
# are no formulas. No formula holds a backtick, which may begin code, nor another opening.
_TEX = r"(?:[^`$\\]|\\[^`()\[\]])+"
_INLINE_FORMULA = rf"\\\({_TEX}\\\)|\$(?=\S){_TEX}(?<=\S)\$(?!\d)"
_DISPLAY_FORMULA = rf"\\\[{_TEX}\\\]|\$\${_TEX}\$\$"
# LaTeX's environments for formulas on their own need no more around them. (The "?" makes the "+" at
# the end of `_TEX` lazy: the formula ends at the first "\end".)
_ENVIRONMENT = (
    r"\\begin\{(?P<name>(?:align|alignat|eqnarray|equation|flalign|gather|multline)\*?)\}"
    rf"{_TEX}?\\end\{{(?P=name)\}}"
)
_BLOCK_FORMULA = rf"{_DISPLAY_FORMULA}|{_ENVIRONMENT}"

# MathJax typesets formulas in a notebook. It knows commands that make links, set styles (which load
# pictures), or change the meaning of other commands on the page. JupyterLab's own MathJax refuses
# the dangerous ones, other front ends may not. A formula with any is shown as text. These are
# beginnings of names: they refuse some harmless commands, too.
_UNSAFE_TEX = (
    r"\\(?:href|url|html|class|css|style|data|mmlToken|bbox|f?colorbox|unicode|require|include"
    r"|[egx]?def|let|global|(?:re|provide)?new|provide|Declare|Newextarrow|setOptions|tooltip)"
)


class _OutOfTime(Exception):
    """The parser or a lexer has taken too long."""


# How they fail: a package is missing or an old one, the time is up, or they meet a text that they
# weren't made for. (Not Exception: a timer of the caller's can raise its own at any moment.)
_PARSER_FAILURES = (
    _OutOfTime,
    AttributeError,
    ImportError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


def _answer_html(text: str, sources: Sequence[Any], formula_count: int) -> Optional[str]:
    """Return Markdown as HTML that is safe in a notebook, with a list of the sources below it.

    formula_count: so many formulas are typeset; the others stay text.

    Returns None where the answer has to be shown as plain text.
    """
    if len(text) > HTML_LIMIT:
        return None
    try:
        parser = _markdown_parser(formula_count)
        body = parser.render(text) + _sources_html(parser, sources)
    except _PARSER_FAILURES:
        return None
    # a site can send them, but they can't be sent on to the notebook
    body = _without_half_characters(body)
    # tex2jax_ignore (for MathJax 2, in older notebooks) and mathjax_ignore (for MathJax 3) keep
    # MathJax away from the text; formulas have classes that let it in, see `_formula_renderer`. The
    # other two are those of marimo's own Markdown.
    classes = "markdown prose tex2jax_ignore mathjax_ignore"
    return f'<div class="{classes}" dir="auto">{body}</div>'


def _sources_html(parser: Any, sources: Sequence[Any]) -> str:
    items = []
    for source in sources[:SOURCE_LIMIT]:
        # it may be the caller's, who can have put anything there
        if not isinstance(source, Mapping):
            continue
        url = source.get("url")
        if not isinstance(url, str) or len(url) > ADDRESS_LIMIT:
            continue
        title = source.get("title")
        if not isinstance(title, str) or not title.strip():
            title = url
        link = parser.normalizeLink(url)
        if _is_safe_url(link):
            items.append(f'<li dir="auto">{_link(link, title[:TITLE_LIMIT])}</li>')
    if not items:
        return ""
    return f"<ol>{''.join(items)}</ol>"


def _link(url: str, text: str) -> str:
    return f'<a href="{_escape(url)}" rel="noopener noreferrer">{_escape(text)}</a>'


def _markdown_parser(formula_count: int) -> Any:
    """Return a parser for one answer, which raises _OutOfTime after HTML_TIME.

    Raises ImportError where markdown-it-py isn't installed.
    """
    # import_module, so that mypy needs to know nothing of a package that may be missing.
    markdown_it = import_module("markdown_it")
    deadline = time.thread_time() + HTML_TIME
    # The usual limit of 20 levels would drop what stands deeper than ten lists in one another.
    options = {"html": False, "maxNesting": 100, "highlight": _highlight_until(deadline)}
    parser = markdown_it.MarkdownIt("commonmark", options)
    parser.enable(["table", "strikethrough"])
    parser.validateLink = _is_safe_url
    # The parser tries its rules in order at each place. Those for formulas come before "escape",
    # which takes the backslash from "\(", and before "table", the first of those for whole lines:
    # a line of a formula may begin with "-" or "=", as a list or a heading does.
    check_time = _deadline_rule(deadline)
    may_interrupt = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    parser.inline.ruler.before("escape", "deadline", check_time)
    parser.inline.ruler.before("escape", "formula", _inline_formula)
    parser.block.ruler.before("table", "deadline", check_time, may_interrupt)
    parser.block.ruler.before("table", "formula", _block_formula, may_interrupt)
    # What has been parsed passes through these.
    parser.core.ruler.after("inline", "breaks", _break_lines_of_cells)
    parser.core.ruler.after("inline", "attributes", _set_attributes)
    parser.add_render_rule("formula", _formula_renderer(formula_count))
    parser.add_render_rule("image", _render_image)
    parser.add_render_rule("link_open", _render_link)
    for name in ("code_block", "code_inline", "fence"):
        parser.add_render_rule(name, _code_renderer(name))
    return parser


def _is_safe_url(url: str) -> bool:
    # From the first character on: a browser skips blanks and control characters that precede
    # "javascript:", so what has any is refused.
    return re.match(r"(?i)https?://|mailto:", url) is not None


def _deadline_rule(deadline: float) -> Callable[..., bool]:
    """Return a rule that matches nothing, but raises _OutOfTime when the time is up."""

    def rule(*arguments: Any) -> bool:
        if time.thread_time() > deadline:
            raise _OutOfTime
        return False

    return rule


def _inline_formula(state: Any, silent: bool) -> bool:
    """The parser's rule for a formula within text. Where silent, it is only to be skipped."""
    pattern = re.compile(rf"{_DISPLAY_FORMULA}|{_INLINE_FORMULA}")
    found = pattern.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        token = state.push("formula", "span", 0)
        token.content = found[0]
    state.pos = found.end()
    return True


def _block_formula(state: Any, start_line: int, end_line: int, silent: bool) -> bool:
    """The parser's rule for a formula with lines of its own."""
    start = state.bMarks[start_line] + state.tShift[start_line]
    found = re.compile(_BLOCK_FORMULA).match(state.src, start)
    if found is None or state.is_code_block(start_line):
        return False
    next_line = start_line + found[0].count("\n") + 1
    if next_line > end_line:
        return False
    # The same lines without what marks them as part of a list or a quotation.
    content = state.getLines(start_line, next_line, state.blkIndent, False).strip()
    if re.search(r"\n[ \t]*\n", content) or not re.fullmatch(_BLOCK_FORMULA, content):
        return False
    if not silent:
        token = state.push("formula", "div", 0)
        token.content = content
        token.map = [start_line, next_line]
        state.line = next_line
    return True


def _break_lines_of_cells(state: Any) -> None:
    """The parser's rule for `<br>` in a table: there is no other way to break a line there."""
    for opening, token in zip(state.tokens, state.tokens[1:]):
        if opening.type not in ("td_open", "th_open"):
            continue
        children = []
        for child in token.children:
            if child.type != "text":
                children.append(child)
                continue
            lines = re.split(r"(?i)<br\s*/?>", child.content)
            for i, line in enumerate(lines):
                if i > 0:
                    children.append(type(child)("hardbreak", "br", 0))
                text = copy.copy(child)
                text.content = line
                children.append(text)
        token.children = children


# the elements that hold text
_BLOCK_TAGS = ("h1", "h2", "h3", "h4", "h5", "h6", "li", "p", "td", "th")


def _set_attributes(state: Any) -> None:
    """The parser's rule for the attributes of blocks, above all the direction of their text.

    With dir="auto" a browser takes the direction of an element from its first letter, but skips
    the elements in it that have a `dir` of their own. So the first paragraph of a list's item gets
    none: the item's counts. And since all items and cells have one, a browser can't find that of a
    list or a table: it is found here.
    """
    # tables and lists whose first letter is still to come
    undecided = []
    for i, token in enumerate(state.tokens):
        # for the first token it is the last, which does no harm
        before = state.tokens[i - 1]
        if token.type in ("bullet_list_open", "ordered_list_open", "table_open"):
            undecided.append(token)
        if token.tag in _BLOCK_TAGS and token.nesting == 1 and before.type != "list_item_open":
            token.attrSet("dir", "auto")
        # JupyterLab's style sheet would put cells at the right, and paragraphs at the left.
        if token.tag in ("td", "th") and token.nesting == 1:
            token.attrs.setdefault("style", "text-align:start")
        if token.type == "inline":
            direction = _direction(token)
            if direction == "rtl":
                before.attrs.setdefault("style", "text-align:start")
                for container in undecided:
                    container.attrSet("dir", "rtl")
                    # JupyterLab would put a table at the left.
                    if container.tag == "table":
                        container.attrSet("style", "margin-inline:0 auto")
            if direction:
                undecided.clear()


def _direction(token: Any) -> str:
    """Return "rtl" or "ltr", as the first letter of a block has it, "" where there is none."""
    # code and formulas don't count
    text = "".join(child.content for child in token.children if child.type == "text")
    letter = re.search(r"[^\W\d_]", text)
    if letter is None:
        return ""
    if bidirectional(letter[0]) in ("R", "AL"):
        return "rtl"
    return "ltr"


# A formula of a few characters can keep MathJax busy for minutes.
_COSTLY_TEX = r"""(?x)
    # an area of any size
    \\[Rr]ule
    # what is printed or measured twice, so that each level doubles the work
  | \\(?: pmb | centernot | centerOver | (?: over | under ) bracket )
    # as many columns as a number says: \begin{alignat}{999}
  | \\begin\s*\{ [^}]* at[\s*]* \} [^{]* \{ \s* \d{3}
    # a number of any other kind that counts something
  | \{ \s* \d{9}
    # what is printed as it is, and so can look like the end of a level
  | \\verb
"""
_CHEMISTRY = r"\\(?:ce|pu)(?![A-Za-z])"
# arrows with words above them
_ARROW = r"\\x[A-Za-z]{4,}"
# what takes about four times as long as its length tells
_SLOW_TEX = rf"{_CHEMISTRY}|{_ARROW}|\\(?:boxed|cfrac|fbox)"
# commands, braces, and the beginnings of comments
_TEX_TOKEN = r"(?s)\\[A-Za-z]+|\\.|[{}%]"
# Commands that begin another level without a brace. Where it ends isn't looked for, as most have no
# command for that: so each counts to the end of the formula.
_TEX_OPENING = (
    r"(?i)\{|\\(?:begin|color|huge|large|left|lower|moveleft|moveright|raise|small|tiny"
    r"|[a-z]*size|[a-z]*style)"
)


def _formula_renderer(count: int) -> Callable[..., str]:
    """Return what renders formulas for the parser: `count` for MathJax, all others as text."""
    left = FORMULAS_LIMIT

    def render(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
        nonlocal count, left
        tag = tokens[index].tag
        formula = tokens[index].content
        # bytes, since what isn't in MathJax's fonts takes longer
        cost = len(formula.encode(errors="replace"))
        if re.search(_SLOW_TEX, formula):
            cost *= 4
        if count == 0 or cost > left or not _is_harmless(formula):
            return f'<{tag} dir="ltr">{_escape(formula)}</{tag}>'
        count -= 1
        left -= cost
        # It shows nothing, and MathJax complains about the second of one name on a page.
        formula = re.sub(r"\\label\s*\{[^{}]*\}", "", formula)
        if formula.startswith("$$"):
            formula = rf"\[{formula[2:-2]}\]"
        elif formula.startswith("$"):
            formula = rf"\({formula[1:-1]}\)"
        elif formula.startswith(r"\begin"):
            formula = rf"\[{formula}\]"
        classes = "tex2jax_process mathjax_process"
        return f'<{tag} class="{classes}" dir="ltr">{_escape(formula)}</{tag}>'

    return render


def _is_harmless(formula: str) -> bool:
    """Does MathJax do nothing but typeset this, and soon?"""
    if len(formula) > FORMULA_LIMIT:
        return False
    if re.search(_CHEMISTRY, formula) and len(formula) > CHEMISTRY_LIMIT:
        return False
    if re.search(_UNSAFE_TEX, formula) or re.search(_COSTLY_TEX, formula):
        return False
    depth = 0
    for token in re.findall(_TEX_TOKEN, formula):
        if token == "%":
            return False
        if token == "}":
            depth -= 1
        elif re.fullmatch(_TEX_OPENING, token):
            depth += 1
        elif re.fullmatch(_ARROW, token):
            # the work doubles with every second of them
            depth += 4
        if depth > FORMULA_DEPTH:
            return False
    return True


def _render_image(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    """Return a link in place of a picture: loading it would tell its site what was asked."""
    token = tokens[index]
    text = renderer.renderInlineAsText(token.children or [], options, env)
    return _link(token.attrs["src"], text or "image")


def _render_link(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
    tokens[index].attrSet("rel", "noopener noreferrer")
    html: str = renderer.renderToken(tokens, index, options, env)
    return html


def _code_renderer(name: str) -> Callable[..., str]:
    """Return the parser's usual rendering of code, which is read from left to right everywhere."""

    def render(renderer: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
        html: str = getattr(renderer, name)(tokens, index, options, env)
        return html.replace(">", ' dir="ltr">', 1)

    return render


def _highlight_until(deadline: float) -> Callable[[str, str, str], str]:
    """Return what highlights code for the parser: a function that returns HTML, or "" for plain.

    deadline: in the seconds of `time.thread_time`.
    """

    def highlight(code: str, language: str, attributes: str) -> str:
        is_known = language.lower() in _CODE_LANGUAGES.split()
        is_short = len(code) <= CODE_LIMIT and max(map(len, code.split("\n"))) <= CODE_LINE_LIMIT
        if not is_known or not is_short or time.thread_time() > deadline:
            return ""
        try:
            return _highlighted(code, language)
        except _PARSER_FAILURES:
            return ""

    return highlight


# Cached, since `show` renders a growing answer again and again.
@functools.lru_cache(maxsize=100)
def _highlighted(code: str, language: str) -> str:
    """Return code as HTML in the colours of the notebook's theme."""
    pygments = import_module("pygments")
    style = import_module("jupyterlab_pygments").JupyterStyle
    lexer = import_module("pygments.lexers").get_lexer_by_name(language, stripnl=False)
    formatter = import_module("pygments.formatters").HtmlFormatter(
        style=style, nowrap=True, noclasses=True
    )
    highlighted: str = pygments.format(_tokens(lexer, code), formatter)
    return highlighted


def _tokens(lexer: Any, code: str) -> Iterator[Any]:
    deadline = time.thread_time() + CODE_TIME
    for token in lexer.get_tokens(code):
        if time.thread_time() > deadline:
            raise _OutOfTime
        yield token


# ----------------------------------------------------------------------------------- the demo site


def demo_site(
    answer: Optional[Callable[[str], str]] = None,
) -> contextlib.AbstractContextManager[str]:
    """Run a stand-in site on 127.0.0.1, and give its URL to the `with` statement.

    It speaks the classic protocol, and sends its answers a word at a time.

    answer (function): takes the prompt (str; in a conversation it is all that was said, as
        `format_prompt` has it) and returns the text to send. Where it raises one of
        the library's errors, the site fails so that its visitor gets that error (a ChatgptFreeError
        for a ChatNotFoundError, since its page has a chat). The `retry_after` of a RateLimitError
        is told to the visitor. The `partial` of a ChatgptFreeError or an IncompleteReplyError is
        sent before the site fails, so both arrive as an IncompleteReplyError with that text.
        Default: a short answer that quotes the last question.

    >>> with demo_site(str.upper) as url:
    ...     ChatgptFree(url).complete("Hello")
    'HELLO'
    """
    # not at the top: a script that asks real sites needs no server
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    answer_to = answer or _demo_answer
    nonce = os.urandom(5).hex()
    chat = f'class="wpaicg-chat-shortcode" data-nonce="{nonce}" data-post-id="6" data-bot-id="0"'

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_whole(200, {}, f"<div {chat}></div>")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            form = dict(parse_qsl(body.decode(), keep_blank_values=True))
            if form.get("_wpnonce") == nonce:
                # `_ClassicChat` sends it so
                self.answer(form.get("message", "").replace("&lt;", "<"))
            else:
                self.send_whole(403, {}, "The link you followed has expired.")

        def answer(self, prompt: str) -> None:
            try:
                text = answer_to(prompt)
            except RateLimitError as error:
                headers = {}
                if error.retry_after is not None:
                    headers["Retry-After"] = str(math.ceil(error.retry_after))
                self.send_whole(429, headers, _demo_words(error))
            except BlockedError as error:
                self.send_whole(403, {"cf-mitigated": "challenge"}, _demo_words(error))
            except IncompleteReplyError as error:
                self.send_stream(error.partial)
            except ChatgptFreeError as error:
                report = {"error": {"message": _demo_words(error)}}
                self.send_stream(error.partial, json.dumps(report))
            else:
                self.send_stream(text, "[DONE]")

        def send_whole(self, status: int, headers: dict[str, str], body: str) -> None:
            self.send(status, {"Content-Type": "text/html; charset=UTF-8", **headers}, [body])

        def send_stream(self, text: str, *end: str) -> None:
            """Send the words of a text, an event each, and what ends it."""
            data = []
            for word in re.findall(r"\s*\S+\s*|\s+", text):
                data.append(json.dumps({"id": "demo", "choices": [{"delta": {"content": word}}]}))
            events = [f"data: {line}\n\n" for line in [*data, *end]]
            self.send(200, {"Content-Type": "text/event-stream"}, events)

        def send(self, status: int, headers: dict[str, str], pieces: list[str]) -> None:
            # a client may leave at any time
            with contextlib.suppress(OSError):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in pieces:
                    self.wfile.write(piece.encode())
                    if len(pieces) > 1:
                        # as a model takes its time
                        time.sleep(0.015)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Site(ThreadingHTTPServer):
        def __enter__(self) -> str:  # type: ignore[override]
            threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
            return f"http://127.0.0.1:{self.server_port}"

        def __exit__(self, *exc_info: object) -> None:
            self.shutdown()
            self.server_close()

    return Site(("127.0.0.1", 0), Handler)


def _demo_words(error: ChatgptFreeError) -> str:
    """The words that an error was made with, as HTML. (The `str` of a BlockedError adds advice.)"""
    words = ""
    if error.args:
        words = str(error.args[0])
    return _escape(words)


def _demo_answer(prompt: str) -> str:
    """An answer that quotes the last question, and knows a name that it was told."""
    conversation = prompt.removesuffix("\nAssistant:")
    question = re.split(r"(?m)^User: ", conversation)[-1]
    name = re.search(r"(?i)\bmy name is (\w+)", conversation)
    if name and re.search(r"(?i)\bmy name\?", question):
        return f"Your name is {name[1]}. You told me."
    if name and name[0] in question:
        return f"Hello {name[1]}! This is the demo site. Ask it what your name is."
    return (
        f"You asked: “{question}”. This is the demo site: it has no better answer, but streams it "
        "a word at a time."
    )


# -------------------------------------------------------------------------------- the command line
#
# What only the command line needs is imported where it is used: a script that imports this file
# doesn't wait for it.

# Why an answer was cut, if it was, by its `finish_reason`.
_CUT = {
    "length": "the answer was cut: it has reached the site's limit of length",
    "content_filter": "the answer was cut by a content filter",
}
# What the library's messages say to Python's users, and what a terminal's user knows it as.
_TERMINAL_WORDS = {
    r"\bweb_search\b": "--search",
    r"\bmax_time\b": "--max-time",
    r"\btakes no image\b": "takes no --image",
    r"^no model\b": "--model: no model",
    r"^(timeout|proxy) must\b": r"--\1 must",
    r"^an address\b": "an address (--url or CHATGPTFREE_URL)",
    r"^(header|cookie)s\[": r"--\1 [",
    r"\bcookies=\{…\}, headers=\{.*?\}": "--cookie NAME=VALUE … --header 'User-Agent: …'",
}
# An arrow or another key of its kind. Without readline, a terminal sends these characters for it.
_KEYS = r"\x1b(?:\[[\d;]*[A-Za-z~]|O[A-Z]|.?)"


class _Stopped(BaseException):
    """The command was told to end, by the signal whose number is the argument."""


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line, and return its exit status.

    It sets the standard streams so that characters they can't show become "?". In the main thread,
    SIGTERM and SIGHUP end it as Ctrl-C does, unless they are ignored or handled already.

    argv (list of str): the arguments. Default: those of the process; then an exit status other than
        0 ends the process. What can't be parsed raises SystemExit in both cases.

    >>> main(["--demo", "What is the capital of France?"])
    You asked: “What is the capital of France?”. This is the demo site: it has no better answer, \
but streams it a word at a time.
    0
    """
    _repair_streams()
    try:
        with _stopped_by_signals():
            status = _attempt(lambda: _run(argv))
    except _Stopped as stopped:
        status = 128 + int(stopped.args[0])
    except BrokenPipeError:
        # The reader of the output has closed it, and Python's flush at its end would complain.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    if argv is None and status:
        # an application made by zipapp drops what this returns
        sys.exit(status)
    return status


def _repair_streams() -> None:
    """Make the standard streams ready for any text."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # It was closed. With None for standard error, print() would write to standard output.
            setattr(sys, name, open(os.devnull, "w", errors="replace"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            # what a terminal can't show is no reason to fail
            stream.reconfigure(errors="replace")


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise _Stopped, so that what had come is saved, as after Ctrl-C."""
    import signal

    def stop(number: int, frame: Any) -> None:
        # A terminal that is closed can send SIGHUP twice. The second must not end the saving.
        for ours in replaced:
            signal.signal(ours, signal.SIG_IGN)
        raise _Stopped(number)

    # only the main thread can set them
    replaced = []
    if threading.current_thread() is threading.main_thread():
        usual = [number for number in signal.Signals if signal.getsignal(number) == signal.SIG_DFL]
        replaced = [number for number in usual if number.name in ("SIGTERM", "SIGHUP")]
    try:
        for number in replaced:
            signal.signal(number, stop)
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)


def _attempt(action: Callable[[], Optional[int]], bot: Optional[ChatgptFree] = None) -> int:
    """Run `action`. If it fails, say so in one line. Return the exit status.

    bot: who asks, if anybody does. A failure of the network names the host, and the time-out.
    """
    url = ""
    seconds = TIMEOUT
    if bot is not None:
        url = bot.url
        seconds = bot._options.get("timeout", TIMEOUT)
    try:
        return action() or 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `main` knows what to do
        raise
    except (ChatgptFreeError, requests.RequestException) as error:
        words = _in_short(error, url, "no answer from", seconds)
        status = 1
    except ValueError as error:
        # the library's ValueErrors name a wrong argument
        words = str(error)
        status = 2
    except OSError as error:
        words = str(error)
        status = 1
    for pattern, own in _TERMINAL_WORDS.items():
        words = re.sub(pattern, own, words)
    _complain(words)
    return status


def _complain(words: str) -> None:
    print(f"chatgptfree: {_one_line(words)}", file=sys.stderr, flush=True)


def _run(argv: Optional[Sequence[str]]) -> int:
    """Do what the arguments ask for, and return the exit status."""
    parser = _parser()
    arguments = _parsed(parser, argv)
    if arguments.debug:
        _show_log()
    with contextlib.ExitStack() as stack:
        url = arguments.url
        if arguments.demo:
            url = stack.enter_context(demo_site())
        elif url is None:
            # read here again: the environment may have changed since the import
            url = os.environ.get("CHATGPTFREE_URL", "").strip() or None
        bot = ChatgptFree(
            url,
            model=arguments.model,
            proxy=arguments.proxy,
            timeout=arguments.timeout,
            cookies=dict(arguments.cookie),
            headers=dict(arguments.header),
            image=next(iter(arguments.image), None),
            web_search=arguments.search,
            max_time=arguments.max_time,
        )
        stack.enter_context(bot)
        if arguments.models:
            return _attempt(lambda: _print_models(bot), bot)
        file = None
        chat = bot.conversation(arguments.system)
        if arguments.chat is not None:
            file = _ChatFile(arguments.chat, arguments.system, bot)
            chat = file.chat
        prompt = _prompt(arguments.prompt)
        if prompt is None:
            return _converse(chat, file)
        if not prompt and arguments.demo:
            prompt = "Hello"
        if not prompt:
            parser.error("the prompt is empty")
        return _ask(chat, prompt, file)


def _print_models(bot: ChatgptFree) -> None:
    for name in bot.list_models():
        print(name, flush=True)


def _prompt(words: Sequence[str]) -> Optional[str]:
    """What to ask: the words of the command, and what is piped to it.

    None if there are neither words nor a pipe, but a terminal, for a conversation.
    """
    typed = " ".join(words)
    reads = _is_piped()
    if typed == "-":
        # as many commands have it: standard input, whatever that is
        typed = ""
        reads = True
    if not words and not reads and _is_terminal(sys.stdin):
        return None
    parts = [typed]
    if reads:
        parts.append(_read_standard_input())
    return "\n\n".join(part for part in parts if part.strip())


def _is_piped() -> bool:
    """Is standard input a pipe, a socket or a file? A device may be empty, or have no end."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        # it is closed, or replaced
        return False
    # programs that Node starts have a socket
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISREG(mode)


def _read_standard_input() -> str:
    """The text of standard input. If that takes long, the user is told what is waited for."""
    if sys.stdin is None:
        # it was closed
        return ""
    notice = threading.Timer(NOTICE_AFTER, _complain, ["reading standard input …"])
    notice.daemon = True
    notice.start()
    try:
        raw = sys.stdin.buffer.read()
    finally:
        notice.cancel()
    try:
        return raw.decode("utf-8-sig").rstrip()
    except UnicodeDecodeError as error:
        advice = "an image goes along with --image FILE"
        raise ValueError(f"standard input is not UTF-8 text ({error}); {advice}") from error


def _ask(chat: Conversation, question: str, file: Optional[_ChatFile]) -> int:
    """Print the answer, save what was said, and return the exit status."""
    before = len(chat.messages)
    saved = 0
    try:
        status = _attempt(lambda: _print_reply(chat, question), chat._bot)
    finally:
        # what had come of a broken answer is saved as well
        if file is not None and len(chat.messages) > before:
            saved = _attempt(file.save)
    return status or saved


def _print_reply(chat: Conversation, question: str) -> None:
    """Print the answer, its sources, and why it was cut, if it was."""
    with _log_below(chat):
        reply = _print_answer(chat.stream(question))
    if reply.sources:
        print(flush=True)
    for i, source in enumerate(reply.sources, 1):
        address = source["url"]
        title = source.get("title", address)
        if title != address:
            address = f"{title} {address}"
        print(_one_line(f"{i}. {address}"), flush=True)
    if reply.finish_reason in _CUT:
        _complain(_CUT[reply.finish_reason])


@contextlib.contextmanager
def _log_below(chat: Conversation) -> Iterator[None]:
    """Keep what is logged in the middle of an answer until its text has ended with a line end."""
    before = len(chat.messages)
    held = []

    def hold(record: logging.LogRecord) -> bool:
        # with the first piece of an answer, a conversation has more messages
        has_begun = len(chat.messages) > before
        if has_begun:
            held.append(record)
        return not has_begun

    _log.addFilter(hold)
    try:
        yield
    finally:
        _log.removeFilter(hold)
        for record in held:
            _log.handle(record)


def _show_log() -> None:
    """Show the library's log on standard error."""
    handler = logging.StreamHandler()
    # `main` can be called again
    _log.handlers.clear()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    _log.addHandler(handler)
    _log.setLevel(logging.DEBUG)


def _converse(chat: Conversation, file: Optional[_ChatFile]) -> int:
    """Read questions and print answers, until the user leaves."""
    readline = _line_editor()
    print("Ctrl-C stops an answer; exit, quit or Ctrl-D leaves.", file=sys.stderr, flush=True)
    while True:
        try:
            question = re.sub(_KEYS, "", input("> ")).rstrip()
        except EOFError:
            print(flush=True)
            return 0
        except KeyboardInterrupt:
            print(flush=True)
            # Ctrl-C clears what was typed; on an empty line it leaves
            if readline is not None and readline.get_line_buffer():
                continue
            return 130
        if question.strip().casefold() in ("exit", "quit", "/exit", "/quit", ":q"):
            return 0
        if question.strip():
            _ask(chat, question, file)


def _line_editor() -> Any:
    """The module that lets `input` edit its line, None where there is none."""
    try:
        import readline
    except ImportError:
        return None
    # several pasted lines are one question
    readline.parse_and_bind("set enable-bracketed-paste on")
    return readline


class _ChatFile:
    """The file of --chat, which holds a conversation as JSON.

    Several commands can use it at a time: each adds its turns to what the file holds by then.

    name: its path, as the user gave it.
    system: instructions that stand in place of those in the file, if there are any.

    Raises ValueError if it holds something else, or if no conversation can be saved in it.
    """

    def __init__(self, name: str, system: Optional[str], bot: ChatgptFree) -> None:
        self.name = name
        self.system = system
        self.bot = bot
        # the file that a link leads to
        self.path = os.path.realpath(name)
        self.check()
        # the conversation that goes on, and how many of its messages are in the file
        self.chat = self.read()
        self.saved = len(self.chat.messages)

    def check(self) -> None:
        """Raise ValueError if the file couldn't be written."""
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            raise ValueError(f"{self.name!r} is no file that a conversation could be saved in")
        try:
            try:
                open(self.path, "r+b").close()
            except (FileNotFoundError, PermissionError):
                # a new file can take its place
                TemporaryFile(dir=os.path.dirname(self.path)).close()
        except OSError as error:
            words = f"no conversation can be saved in {self.name!r}: {error.strerror}"
            raise ValueError(words) from error

    def read(self) -> Conversation:
        """The conversation that the file holds now; a new one if there is no file."""
        messages = []
        try:
            if os.path.exists(self.path):
                with open(self.path, encoding="utf-8-sig") as file:
                    messages = json.loads(file.read() or "[]")
            if not isinstance(messages, list):
                raise TypeError(f"it is a {type(messages).__name__}")
            chat = self.bot.conversation(messages=messages)
            if self.system is not None:
                if messages and messages[0]["role"] == "system":
                    messages.pop(0)
                chat = self.bot.conversation(self.system, messages)
            # JSON can hold half of a character, in a key of the caller's own, that can't be written
            _as_json(chat.messages)
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{self.name} holds no conversation: {error}") from error
        return chat

    def save(self) -> None:
        """Add what the file doesn't hold yet; write all, if it is gone."""
        messages = self.chat.messages
        try:
            with _locked(os.path.dirname(self.path)):
                said = messages
                if os.path.exists(self.path):
                    said = [*self.read().messages, *messages[self.saved :]]
                raw = _as_json(said)
                try:
                    _replace(self.path, raw)
                except OSError:
                    _overwrite(self.path, raw)
        except (OSError, ValueError) as error:
            raise OSError(f"what was said is not saved in {self.name}: {error}") from error
        self.saved = len(messages)


def _as_json(messages: Sequence[Mapping[str, Any]]) -> bytes:
    text = json.dumps(messages, ensure_ascii=False, indent=1)
    return f"{text}\n".encode()


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Let one command at a time save in a folder, where the system has such locks."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            descriptor = os.open(folder, os.O_RDONLY)
            # that unlocks it, too
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _replace(path: str, raw: bytes) -> None:
    """Write a new file, and rename it to `path`, so that the file there is whole at any moment.

    Raises OSError where that isn't possible, or would lose the old file's permissions or its other
    names.
    """
    folder = os.path.dirname(path)
    temporary = NamedTemporaryFile(dir=folder, delete=False)  # noqa: SIM115
    try:
        with temporary:
            temporary.write(raw)
        if os.path.exists(path):
            if os.stat(path).st_nlink > 1:
                raise OSError(f"{path} has another name, which would keep the old text")
            copymode(path, temporary.name)
        os.replace(temporary.name, path)
    except BaseException:
        # an interrupt can come when it is renamed already
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary.name)
        raise


def _overwrite(path: str, raw: bytes) -> None:
    """Write a file in place. If that fails, it gets back what it held."""
    # "a" makes a file where there is none, and cuts none
    with open(path, "a+b") as file:
        file.seek(0)
        before = file.read()
    try:
        _fill(path, raw)
    except BaseException:
        _fill(path, before)
        raise


def _fill(path: str, raw: bytes) -> None:
    with open(path, "r+b") as file:
        file.write(raw)
        file.truncate()


def _parsed(parser: Any, argv: Optional[Sequence[str]]) -> Any:
    """The arguments, checked. Options can stand between the words of the prompt."""
    if argv is None:
        argv = sys.argv[1:]
    # What follows "--" is part of the prompt, even if it begins with "-". It isn't given to
    # argparse, which here drops a "--" that comes first.
    words = [*argv, "--"]
    end = words.index("--")
    arguments, unknown = parser.parse_known_intermixed_args(words[:end])
    arguments.prompt += words[end + 1 : -1]
    if unknown:
        # only the first, since words of the prompt can follow it
        parser.error(f"there is no option {unknown[0]}")
    if len(arguments.image) > 1:
        parser.error("one image goes with a prompt, so give --image once")
    if arguments.demo and arguments.url is not None:
        parser.error("--demo has a site of its own, so it goes without --url")
    return arguments


def _parser() -> Any:
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            self.exit(2, f"{self.prog}: {message}; see --help\n")

    def pair(separator: str, wanted: str) -> Callable[[str], tuple[str, str]]:
        """A reader of two words with a separator between them. Errors don't repeat the value."""

        def read(text: str) -> tuple[str, str]:
            name, found, value = text.partition(separator)
            if not found or not name.strip():
                raise argparse.ArgumentTypeError(f"must be {wanted}")
            return name.strip(), value.strip()

        return read

    def image(text: str) -> str:
        # neither an address nor "-", for standard input, is a file
        if os.path.isdir(text) or not os.path.exists(text):
            advice = "an image is given as a file, not as an address or -"
            raise argparse.ArgumentTypeError(f"there is no file {text!r} ({advice})")
        return text

    parser = Parser(
        prog="chatgptfree",
        description="Ask chatgptfree.ai, or any WordPress site with the same chat plugin,\n"
        "and print the answer as it comes.",
        epilog="""examples:
  chatgptfree "What is the capital of France?"
  git diff | chatgptfree "Review this change:"
  chatgptfree --url https://my-own-site.example/help/      (a conversation)
  chatgptfree --chat paris.json "And its river?"           (goes on another day)
  python -m chatgptfree --demo Hello                       (in a clone)""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    prompt_help = (
        "what to ask; the text of a pipe or a file on standard input goes with it, and - stands "
        "for it alone. At a terminal, without a prompt, a conversation begins"
    )
    cookie = pair("=", "NAME=VALUE")
    header = pair(":", "NAME:VALUE")
    repeatable: Any = {"action": "append", "default": []}
    add = parser.add_argument
    add("prompt", nargs="*", metavar="PROMPT", help=prompt_help)
    add(
        "--url",
        metavar="U",
        help="page with the chat (default: $CHATGPTFREE_URL, or chatgptfree.ai)",
    )
    add("-m", "--model", metavar="M", help="a bot of the page, by name or number (default: first)")
    add("--models", action="store_true", help="print the names of the page's bots, and no more")
    add("-s", "--system", metavar="TEXT", help="instructions, in place of those in a --chat file")
    add("-i", "--image", type=image, **repeatable, metavar="FILE", help="a JPEG, PNG or WebP")
    add("--search", action="store_true", default=None, help="let the bot search the web first")
    add("--chat", metavar="FILE", help="go on with the conversation in FILE, and save it there")
    add("--proxy", metavar="P", help="URL of a proxy for http and https")
    add("--timeout", type=float, metavar="S", help="seconds without a byte (120; 20 to connect)")
    add("--max-time", type=float, metavar="S", help="seconds for each call (default: no limit)")
    add("--cookie", type=cookie, **repeatable, metavar="NAME=VALUE", help="a cookie; repeatable")
    add("--header", type=header, **repeatable, metavar="NAME:VALUE", help="a header; repeatable")
    add("--demo", action="store_true", help="ask a stand-in site on this machine")
    add("--debug", action="store_true", help="show a log on standard error, for bug reports")
    add("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def __dir__() -> list[str]:
    """What `dir` and completion show of the module."""
    return list(__all__)


if __name__ == "__main__":
    sys.exit(main())
