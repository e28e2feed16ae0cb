"""Tests of chatgptfree, in the order of its sections; then README, the file itself, packaging.

What a test asks is seen in its arguments: `mock` is a site by `responses`, a `StubSession` is a
session that always gets the same page and answer, and a `Site` is a server on 127.0.0.1, for what
depends on time, connections or the framing of bytes. `ask_site` and `read_answer` ask and collect
all that comes; `told` is an error's type and words.

What all sections use stands first. What only some use stands before them, under "Helpers: ...".
Where time matters, a server waits until its client has got the last piece, or a test moves the
module's clock. Only for what must not come is waited: 0.3 seconds at most.
"""

import asyncio
import base64
import builtins
import code
import configparser
import contextlib
import copy
import doctest
import email.utils
import gc
import gzip
import html
import inspect
import io
import itertools
import json
import logging
import math
import multiprocessing
import os
import pathlib
import pickle
import random
import re
import runpy
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
import types
import typing
import weakref
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
import requests
import responses
import urllib3
from requests.hooks import dispatch_hook
from requests.structures import CaseInsensitiveDict

import chatgptfree
from chatgptfree import (
    BlockedError,
    ChatgptFree,
    ChatgptFreeError,
    ChatNotFoundError,
    IncompleteReplyError,
    RateLimitError,
    Reply,
    demo_site,
    format_prompt,
    main,
    show,
)

# The sites here are on the loopback, whatever proxy the environment names.
os.environ["NO_PROXY"] = "127.0.0.1,localhost"
# A job in the background of a shell ignores SIGINT, and so would its children here.
signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = pathlib.Path(__file__).parent
MODULE = str(HERE / "chatgptfree.py")
SITE = "https://site.example"
AJAX = SITE + "/wp-admin/admin-ajax.php"
NOBODY = "http://127.0.0.1:9/"  # where nothing listens
ERRORS = [ChatgptFreeError, ChatNotFoundError, BlockedError, RateLimitError, IncompleteReplyError]


@pytest.fixture(scope="session", autouse=True)
def servers_end_at_once():
    """They look every millisecond whether they are to end: many tests wait for it."""
    serve = ThreadingHTTPServer.serve_forever
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ThreadingHTTPServer, "serve_forever", lambda site, *_: serve(site, 0.001))
        yield


# ------------------------------------------------------------------- The module's private functions
# Each is called in one place only, here. So is each private name that a test changes.


def find_chats(page, url=SITE):
    """The chats of a page, in page order."""
    return chatgptfree._find_chats(page, url)


def search_for_chats(page):
    """The chats of a page, if it has any."""
    try:
        return find_chats(page)
    except ChatNotFoundError:
        return ()


def read_events(*pieces):
    """The events of a stream that comes in these pieces: pairs of a name and data."""
    return list(chatgptfree._events(pieces))


def lock_of(client):
    """The lock that a client's thread holds while it looks at the page."""
    return client._site.page_lock


def spoil_the_nonce(client):
    """The next request of the client has a nonce that has expired."""
    for home, chats in client._site.chats.items():
        client._site.chats[home] = tuple(chat.with_nonce("expired") for chat in chats)


def let_functions_ask(url, monkeypatch):
    """The module's own functions, as `complete`, ask this site from now on."""
    shared = chatgptfree.complete.__self__
    monkeypatch.setattr(shared, "url", url)
    monkeypatch.setattr(shared._site.session, "trust_env", False)


@pytest.fixture
def set_limits(monkeypatch):
    """A function that sets limits of the module: less than they are, to be quick."""

    def set_them(**limits):
        for name, limit in limits.items():
            monkeypatch.setattr(chatgptfree, name, limit)

    return set_them


class WatchedLock:
    """A lock that tells when a thread has to wait for it."""

    def __init__(self, lock, waits):
        self.lock, self.waits = lock, waits

    def acquire(self, timeout):
        if self.lock.acquire(blocking=False):
            return True
        self.waits.release()
        return self.lock.acquire(timeout=timeout)

    def release(self):
        self.lock.release()


@pytest.fixture
def waits(monkeypatch):
    """A semaphore that is released each time a thread waits for another's look at the page."""
    waits = threading.Semaphore(0)
    begin = chatgptfree._Site._begin

    def begin_watched(site):
        begin(site)
        site.page_lock = WatchedLock(site.page_lock, waits)

    monkeypatch.setattr(chatgptfree._Site, "_begin", begin_watched)
    return waits


# ---------------------------------------------------------------------------------- What sites send


def classic_box(nonce="c10d44dafd", post_id="6", css_class="wpaicg-chat-shortcode", bot_id="0"):
    return f"""
<div class="{css_class}"
     data-user-bg-color="#ccf5e1"
     data-nonce="{nonce}"
     data-post-id="{post_id}"
     data-url="https://chatgptfree.ai"
     data-bot-id="{bot_id}"
     data-typewriter-effect = ""
     data-openai_stream_nav="1"
     data-type="shortcode">
</div>"""


def current_box(bot_id=25871, nonce="5bbad886de", name="ChatGPT 5 Nano", ajax_url=AJAX, **more):
    config = {
        "botId": bot_id,
        "ajaxUrl": ajax_url,
        "nonce": nonce,
        "postId": 261,
        "headerName": name,
        **more,
    }
    escaped = html.escape(json.dumps(config).replace("/", "\\/"))
    attributes = f"data-bot-id=\"{bot_id}\" data-config='{escaped}'"
    return f'<div class="aipkit_chat_container" {attributes}></div>'


CLASSIC_PAGE = f"<html><body><p>Hello</p>{classic_box()}</body></html>"
CURRENT_PAGE = current_box() + current_box(25872, name="DeepSeek")
# Without an address, the ajax requests go to the site of the page.
LOCAL_CURRENT = current_box(ajax_url=None)
LOCAL_PAGES = {"classic": CLASSIC_PAGE, "current": LOCAL_CURRENT}
# A bot that takes images and can search the web, and one that can search by Google.
OPENAI = current_box(1, name="GPT", imageUploadEnabledUI=True, allowWebSearchTool=True)

GOOGLE = current_box(
    2, name="Gemini", imageUploadEnabledUI=False, allowWebSearchTool=0, allowGoogleSearchGrounding=1
)


def params_script(ajax_url):
    """Where a classic page names its ajax address."""
    escaped = json.dumps({"ajax_url": ajax_url, "x": 1}).replace("/", "\\/")
    return f"<script>var wpaicgParams = {escaped};</script>"


def data(payload):
    """An event without a name."""
    return f"data: {payload if isinstance(payload, str) else json.dumps(payload)}\n\n"


def completion(choice):
    """An event of the classic protocol, as it passes the chunks of OpenAI on."""
    return data({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]})


def chunk(text, **choice):
    """A piece of text in the classic protocol. (The reader takes it from a current site too.)"""
    return completion({"delta": {"content": text}, **choice})


def disguised(word):
    """A word of a disguised error: it is sent as an answer's, only without `id` and `object`."""
    return "event: message\n" + data({"choices": [{"delta": {"content": word}}]})


def event(name, payload):
    """An event with a name."""
    return f"event: {name}\n" + data(payload)


DONE = data("[DONE]")
ROLE = completion({"delta": {"role": "assistant", "content": ""}})
STOP = completion({"delta": {}, "finish_reason": "stop"})
DISGUISED_STOP = data({"choices": [{"finish_reason": "stop"}]})
USAGE = data({"id": "1", "choices": [], "usage": {}})
CLASSIC_ANSWER = ROLE + chunk("Hello") + chunk(", wörld 🌍") + STOP + USAGE + DONE

JSON_ANSWER = {
    "status": "success",
    "msg": "Something went wrong",
    "data": "Hello, wörld",
    "log": None,
}

WARNING = (
    '<br />\n<b>Warning</b>:  Undefined array key "x" in <b>/var/www/a.php</b> '
    "on line <b>12</b><br />\n"
)

CURRENT_HEAD = (
    f":{' ' * 4096}\n\n"
    'event: message_start\ndata: {"message_id":"aipkit-msg-1"}\n\n'
    'event: status\ndata: {"type":"response.created","status":"in_progress",'
    '"delta":"not text","error":"no error"}\n\n'
)

CURRENT_DONE = (
    'event: openai_response_id\ndata: {"id":"resp_1"}\n\nevent: done\ndata: {"finished":true}\n\n'
)

CURRENT_TEXT = data({"delta": "Hel"}) + data({"delta": "lo, wörld 🌍"})
CURRENT_ANSWER = CURRENT_HEAD + CURRENT_TEXT + CURRENT_DONE
TICKET = json.dumps({"success": True, "data": {"cache_key": "aipkit_sse_1"}})


def error_event(words):
    """An error in the current protocol, and the end of its answer."""
    return "event: error\nid: err-1\n" + data({"error": words}) + CURRENT_DONE


SEARCH_FIELDS = {"frontend_web_search_active", "frontend_google_search_grounding_active"}
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 9
DIGITS = "1" * 5000  # more than Python makes an int of

DEMO_ANSWER = (
    "You asked: “Hello”. This is the demo site: it has no better answer, "
    "but streams it a word at a time."
)


# ------------------------------------------------------------- Stand-ins for sessions and responses


class Answer:
    """A response that gives its body in these pieces, and fails where one of them is an exception.

    It has no more than a response must have: it is no context manager, has no `raw`, and a plain
    dict for headers.
    """

    reason = "OK"

    def __init__(self, *pieces, url=AJAX, status=200, headers=()):
        self.pieces, self.url = pieces, url
        self.status_code, self.headers = status, dict(headers)

    def iter_content(self, size):
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece.encode() if isinstance(piece, str) else piece

    def close(self):
        pass


class StubSession:
    """A caller's session with a site, of either protocol, that always sends this page and answer.

    It keeps the `options` and the `fields` of each request. `respond` makes the responses, of the
    pieces of a body.
    """

    def __init__(self, page, *answer, respond=Answer):
        self.page, self.answer, self.respond = page, answer, respond
        self.options, self.fields = [], []

    def get(self, url, params=None, **options):
        return self.respond_to(url, params or {}, options)

    def post(self, url, data=None, **options):
        return self.respond_to(url, data, options)

    def respond_to(self, url, fields, options):
        self.options.append(options)
        self.fields.append(fields)
        if is_for_page(fields):
            return self.respond(self.page, url=url)
        # It gives no fresh nonce: a ticket has none in it.
        if fields["action"] in ("aipkit_cache_sse_message", "aipkit_get_frontend_chat_nonce"):
            return self.respond(TICKET, url=url)
        return self.respond(*self.answer, url=url)


class Clock:
    """The module's `time`, whose clock stands still until a test moves it: `clock.now += 5`."""

    now = 1000.0

    def __getattr__(self, name):
        return getattr(time, name)

    def monotonic(self):
        return self.now

    def each_after(self, seconds, *pieces):
        """Yield pieces, each after so many seconds."""
        for piece in pieces:
            self.now += seconds
            yield piece

    def then_pass(self, seconds, *pieces):
        """Yield pieces, and let so many seconds pass after the last."""
        yield from pieces
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    """The clock by which the module measures what time has passed."""
    clock = Clock()
    monkeypatch.setattr(chatgptfree, "time", clock)
    return clock


# -------------------------------------------------------------------- Asking, and reading what came


def collect(texts):
    """All pieces of text that come, and the error that ends them, or None."""
    pieces = []
    try:
        pieces.extend(texts)
    except (ChatgptFreeError, requests.RequestException) as error:
        return pieces, error
    return pieces, None


def ask_site(page, *answer):
    """What a client says of a site with this page and answer: pieces of text, and error or None."""
    return collect(ChatgptFree(SITE, session=StubSession(page, *answer)).stream("Hi"))


def read_answer(*answer):
    """The same of a site with a classic page.

    The answer may be of either protocol: one reader serves both.
    """
    return ask_site(CLASSIC_PAGE, *answer)


def told(error):
    """What an error tells: its type and its words."""
    return type(error), str(error)


def all_of(reply):
    """Whatever a reply consists of."""
    return type(reply), str(reply), reply.sources, reply.finish_reason


def run_python(*arguments, stdin="", **options):
    """Run Python in a process of its own, where the module can be imported."""
    return subprocess.run(
        [sys.executable, *arguments],
        input=stdin,
        capture_output=True,
        timeout=60,
        encoding="utf-8",
        check=False,
        **{"cwd": HERE, **options},
    )


def assert_linear_growth(work, size):
    """`work(size)` takes CPU time in proportion to `size` at most."""

    def cost(size):
        before = time.process_time()
        work(size)
        return time.process_time() - before

    small = min(cost(size) for _ in range(3))
    # Ten times the work takes 10 times as long, or 100 times if time is quadratic. A busy machine
    # can only add to a measurement.
    assert any(cost(10 * size) < 30 * small for _ in range(3))


def assert_linear_time(work, hostile, size=3_000):
    """`work` takes linear time at most where the piece of `hostile` between bars is repeated."""
    begin, piece, end = hostile.split("|")
    assert_linear_growth(lambda size: work(begin + piece * (size // len(piece)) + end), size)


@contextlib.contextmanager
def peak_memory():
    """A function that says how much memory was in use at most."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ----------------------------------------------------------------------------- Sites by `responses`


@pytest.fixture
def mock():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def as_response(answer):
    """What `responses` takes for an answer: a str is an event stream."""
    if isinstance(answer, str):
        return {"body": answer, "content_type": "text/event-stream"}
    return answer


def add_classic(mock, *answers, page=CLASSIC_PAGE, url=SITE + "/"):
    """A site of the classic protocol: these answers, one after another, then the last again."""
    mock.get(url, body=page)
    for answer in answers:
        mock.post(AJAX, **as_response(answer))


def add_current(mock, *answers, page=CURRENT_PAGE):
    """A site of the current protocol: these answers, one after another, then the last again."""
    mock.get(SITE + "/", body=page)
    mock.post(AJAX, body=TICKET)
    for answer in answers:
        mock.get(AJAX, **as_response(answer))


def fields_of(request):
    """The fields of a request, as the site gets them."""
    return dict(parse_qsl(request.body or urlsplit(request.url).query, keep_blank_values=True))


def forms(mock, method="POST"):
    """The fields of each request of a method: with GET that for the page too."""
    return [fields_of(call.request) for call in mock.calls if call.request.method == method]


def is_for_page(fields):
    """Do these fields ask for the page? It has at most one field, which keeps caches away."""
    return set(fields) <= {"_"}


def page_requests(mock):
    """The requests for the page, those with a query against caches too."""
    return [call for call in mock.calls if call.request.url.partition("?_=")[0] == SITE + "/"]


def actions(mock):
    """What was asked, in order: "page", "cache_sse_message", "stream", "get_nonce" and the like."""
    names = [fields_of(call.request).get("action", "page") for call in mock.calls]
    return [name.replace("aipkit_", "").replace("frontend_chat_", "") for name in names]


# What is asked of a current site up to its ticket, and up to its answer.
ASKED_UP_TO = {"ticket": ["cache_sse_message"], "answer": ["cache_sse_message", "stream"]}


# --------------------------------------------------------------------------- A site on the loopback


class Site(ThreadingHTTPServer):
    """A site on the loopback that keeps connections alive.

    `page` is its page, or a function that writes it to the handler; `answer(handler, form)` writes
    what follows. `asked` has the method, path, headers and fields of each request.
    """

    # a connection that finds no place waits a second before it tries again
    request_queue_size = 100

    def __init__(self, answer, page=CLASSIC_PAGE):
        self.answer, self.page = answer, page
        self.connections, self.asked = 0, []
        self.gone = threading.Event()  # a client has hung up
        super().__init__(("127.0.0.1", 0), SiteHandler)
        self.host = f"127.0.0.1:{self.server_port}"
        self.url = f"http://{self.host}"

    def pages(self):
        """The path of each request for the page."""
        return [
            path for method, path, _, form in self.asked if method == "GET" and is_for_page(form)
        ]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, *_):
        pass


class SiteHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        self.server.connections += 1
        super().setup()

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        path, _, query = self.path.partition("?")
        form = dict(parse_qsl(body or query, keep_blank_values=True))
        self.server.asked.append((self.command, path, self.headers, form))
        if self.command == "POST" or not is_for_page(form):
            self.server.answer(self, form)
        elif callable(self.server.page):
            self.server.page(self)
        else:
            self.whole(self.server.page)

    do_POST = do_GET

    def whole(self, body, status=200, **headers):
        self.head(status, "text/html", **{"Content-Length": str(len(body.encode())), **headers})
        self.wfile.write(body.encode())

    def head(self, status=200, kind="text/event-stream", **headers):
        self.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send_chunked(self, *texts, end=True):
        self.head(Transfer_Encoding="chunked")
        for text in texts:
            self.wfile.write(http_chunk(text.encode()))
        if end:
            self.wfile.write(b"0\r\n\r\n")

    def hang_up(self, reset=False):
        # A closed socket that lingers no time sends RST.
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.wfile.close()
        self.connection.close()

    def wait_for_hang_up(self):
        # A client that had not read everything resets its connection when it leaves.
        with contextlib.suppress(ConnectionResetError):
            if not select.select([self.connection], [], [], 10)[0] or self.connection.recv(1):
                return
        self.server.gone.set()
        self.close_connection = True

    def log_message(self, *_):
        pass


# Of a site on the loopback, made for these tests, and valid for a hundred years.
CERTIFICATE = """
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgvooa9ytqCL+mRVvB
LRpES3d/x45iuhq95wmGrkJ5eZqhRANCAASoH3y/+SvyDERoLnQjMzgATiS7VtR1
EPX+84qOrwkRIKpsBUgcA6G64g8Okwa2LkXfmltE7rIEf5zargvx7k7O
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBjzCCATagAwIBAgIUN1hoy85FuarSxjW2mfCAnusslTUwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEyNzEzMzQyOVoYDzIxMjYxMTAz
MTMzNDI5WjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASoH3y/+SvyDERoLnQjMzgATiS7VtR1EPX+84qOrwkRIKpsBUgcA6G6
4g8Okwa2LkXfmltE7rIEf5zargvx7k7Oo2QwYjAdBgNVHQ4EFgQUUxFxFWLoJ+4v
wnkpKJMwYe2BbUYwHwYDVR0jBBgwFoAUUxFxFWLoJ+4vwnkpKJMwYe2BbUYwDwYD
VR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0cAMEQC
IHzJa1A/tmhXUF+2rP4UWM4d0isQsr2VOmKQ7rgcHIBbAiBgh9tgpSFvUe/pkUbn
4jitbxmrmSKg7Leo+6z3OUvogw==
-----END CERTIFICATE-----
"""


def encrypt(site, path):
    """Let a site be one of https. Its certificate is written to this path. Return its address."""
    path.write_text(CERTIFICATE.lstrip())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    site.socket = context.wrap_socket(site.socket, server_side=True)
    return site.url.replace("http:", "https:")


def http_chunk(raw):
    """A chunk of the chunked transfer encoding."""
    return b"%x\r\n%s\r\n" % (len(raw), raw)


def echo_classic(handler, form):
    """Send the words of the message back."""
    handler.send_chunked(*(chunk(word) for word in re.findall(r"\S+\s*", form["message"])), DONE)


def echo_current(handler, form):
    """Send the words of the message back, by way of the cache key."""
    if form["action"] == "aipkit_cache_sse_message":
        handler.whole(json.dumps({"success": True, "data": {"cache_key": form["message"]}}))
    else:
        handler.send_chunked(
            CURRENT_HEAD,
            *(data({"delta": word}) for word in re.findall(r"\S+\s*", form["cache_key"])),
            CURRENT_DONE,
        )


def messages_to(site):
    """The messages that a site got, of either protocol."""
    return [form["message"] for *_, form in site.asked if "message" in form]


def streams_of(site):
    """The second requests of the current protocol."""
    return [form for *_, form in site.asked if form.get("action") == "aipkit_frontend_chat_stream"]


def asks_for_ticket(form):
    return form["action"] == "aipkit_cache_sse_message"


def answer_words(handler, form, *words, end=True):
    """Answer in these pieces, in the protocol of the question. Without `end`, hang up then."""
    if asks_for_ticket(form):
        return handler.whole(TICKET)
    is_current = form["action"] == "aipkit_frontend_chat_stream"
    pieces = [data({"delta": word}) if is_current else chunk(word) for word in words]
    if end:
        return handler.send_chunked(*pieces, CURRENT_DONE if is_current else DONE)
    handler.send_chunked(*pieces, end=False)
    return handler.hang_up()


def say_hello(handler, form):
    answer_words(handler, form, "Hello ", "Ann.")


def send_limit(handler, form):
    handler.whole("Slow down", 429)


def send_banned_word(handler, form):
    handler.whole(json.dumps({"status": "error", "success": False, "msg": "Banned word"}))


# A site of either protocol that sends the message back, and its page.
each_echo = pytest.mark.parametrize(
    ("answer", "page"),
    [(echo_classic, CLASSIC_PAGE), (echo_current, LOCAL_CURRENT)],
    ids=["classic", "current"],
)


def failing_call(page=CLASSIC_PAGE, answer=None, **options):
    """The error that a call to a site on the loopback raises.

    Its `words` have HOST in place of the host.
    """
    errors = (ChatgptFreeError, requests.RequestException)
    with Site(answer, page) as site, pytest.raises(errors) as caught:
        ChatgptFree(site.url, **{"timeout": 5, **options}).complete("Hi")
    caught.words = str(caught.value).replace(site.host, "HOST")
    return caught


def reset_connection(handler, *_):
    handler.hang_up(reset=True)


def stall(handler, *_):
    handler.wait_for_hang_up()


def after_head(fail, **headers):
    def send(handler, *_):
        handler.head(**headers)
        fail(handler)

    return send


stall_in_chunks = after_head(stall, Transfer_Encoding="chunked")


def in_turn(*pages):
    """A page that is one of these after another, and then the last again and again."""
    left = list(pages)

    def page(handler):
        now = left.pop(0) if len(left) > 1 else left[0]
        if callable(now):
            return now(handler)
        return handler.whole(now)

    return page


@pytest.fixture
def without_pauses(monkeypatch):
    """The demo site answers without its pauses, the only ones of the module."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture(params=["classic", "current"])
def protocol(request):
    return request.param


@pytest.fixture
def greeter(protocol):
    """A site that says hello, of either protocol."""
    with Site(say_hello, LOCAL_PAGES[protocol]) as site:
        yield site


# ------------------------------------------------------------------------------------------- Prompt


def user(content):
    return [{"role": "user", "content": content}]


class Message:
    """A message as OpenAI's SDK returns it."""

    def __init__(self, role, content):
        self.role, self.content = role, content


INSTRUCTIONS = {"role": "system", "content": "Be terse."}
TWO_PARTS = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
DIALOGUE = [
    {"role": "user", "content": "1"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "3"},
]
OBJECTS = [Message("user", "1"), Message("assistant", "2"), Message("user", "3")]
CALLS_A_FUNCTION = [{"role": "user", "content": "1"}, {"role": "assistant", "content": None}]

MESSAGES = {
    "a str": ("Hi", "Hi"),
    "one message, as it is": (user(" as it\nis "), " as it\nis "),
    "a dialogue": (DIALOGUE, "User: 1\nAssistant: 2\nUser: 3\nAssistant:"),
    "parts": (user(TWO_PARTS), "ab"),
    "objects": (OBJECTS, "User: 1\nAssistant: 2\nUser: 3\nAssistant:"),
    "no content": (CALLS_A_FUNCTION, "User: 1\nAssistant: \nAssistant:"),
}


@pytest.mark.parametrize(("messages", "prompt"), MESSAGES.values(), ids=MESSAGES)
def test_messages_become_one_prompt(messages, prompt):
    assert format_prompt(messages) == prompt


NO_LIST = "messages must be a str or a list of messages, not"
NO_MAPPING = "messages[0] must be a mapping with 'role' and 'content', not"
NO_STR = "messages[0]['content'] must be a str, not int"
NO_PART = "messages[0]['content'][0] must be a text part {'type': 'text', 'text': …}, not"
NO_PART_1 = NO_PART.replace("[0] must", "[1] must")
NO_UTF_8 = (
    "messages[0]['content'] cannot be sent as UTF-8: 'utf-8' codec can't encode "
    "character '\\ud800' in position 0: surrogates not allowed"
)
NO_TEXT_AT_ALL = ValueError("the prompt is empty")
PICTURE = {"type": "image_url", "text": "Hi"}
EMPTY_PART = {"type": "text", "text": None}

BAD_MESSAGES = {
    "no message": ([], ValueError("messages is empty")),
    "None": (None, TypeError(f"{NO_LIST} NoneType")),
    "bytes": (b"Hi", TypeError(f"{NO_LIST} bytes")),
    "a dict": (INSTRUCTIONS, TypeError(f"{NO_LIST} dict")),
    "a list of str": (["Hi"], TypeError(f"{NO_MAPPING} str")),
    "no role": ([{"content": "Hi"}], ValueError("messages[0] has no 'role'")),
    "no content": ([INSTRUCTIONS, {"role": "u"}], ValueError("messages[1] has no 'content'")),
    "content of int": (user(7), TypeError(NO_STR)),
    "role of int": ([Message(7, "Hi")], TypeError(NO_STR.replace("content", "role"))),
    "a picture": (user([*TWO_PARTS[:1], PICTURE]), ValueError(f"{NO_PART_1} {PICTURE}")),
    "a part of nothing": (user([EMPTY_PART]), ValueError(f"{NO_PART} {EMPTY_PART}")),
    "no type": (user([{"text": "Hi"}]), ValueError(f"{NO_PART} {{'text': 'Hi'}}")),
    "a part that is a str": (user(["Hi"]), ValueError(f"{NO_PART} 'Hi'")),
    "half a character": ("\ud800", ValueError(NO_UTF_8)),
    "empty": ("", NO_TEXT_AT_ALL),
    "blanks": (user(" \n\t") * 2, NO_TEXT_AT_ALL),
    "no parts": (user([]), NO_TEXT_AT_ALL),
}


@pytest.mark.parametrize(("messages", "error"), BAD_MESSAGES.values(), ids=BAD_MESSAGES)
def test_a_bad_message_is_named_at_the_call_before_any_request(messages, error):
    with pytest.raises(type(error)) as caught:
        ChatgptFree(NOBODY).stream(messages)
    assert told(caught.value) == told(error)


# -------------------------------------------------------------------------------------- Page: chats

COMMENT = f"<!-- old copy: {classic_box(nonce='old', post_id='1')} -->"
LIKE_BUTTON = (
    '<article data-post-id="77"><a class="like" data-nonce="decoy" data-post-id="78" '
    "data-config='{\"a\":1}'>+1</a></article>"
)
BROKEN_BUTTON = LIKE_BUTTON.replace('{"a":1}', "{broken")
SMALL_BOX = "<p class=wpaicg-chatbox data-nonce=1 data-post-id=2>"
WIDGET = classic_box("widget", "9", "wpaicg-chatbox")
MINIFIED = (
    "<div data-post-id=6 data-nonce=c10d44dafd class=wpaicg-chat-shortcode "
    "data-bot-id=0 title=don't></div>"
)
WELCOME = "data-welcome=\"a <b> & data-nonce='x' c>d\" data-openai"
UPPER_CASE = classic_box().replace("data-", "DATA-").replace("DATA-openai", WELCOME)
SCRIPT_WITH_A_BOX = f"<script>var old = '{classic_box(nonce='old')}'; if (1<2) {{}}</script>"
UNENDED_SCRIPT = f"<script>'</scripts>'; {classic_box(nonce='old')}</script/>"
TEXTAREA_WITH_A_BOX = f"<textarea/>{classic_box(nonce='old')}</textarea>"

PAGES_WITH_A_CLASSIC_CHAT = {
    "behind a button with a nonce": LIKE_BUTTON + classic_box(),
    "behind a comment": COMMENT + classic_box(),
    "behind a comment with an odd end": "<!-- a --!>" + classic_box(),
    "behind a widget": WIDGET + classic_box(),
    "before a widget": classic_box() + WIDGET,
    "single quotes around a > sign": classic_box().replace("#ccf5e1", "a > b").replace('"', "'"),
    "no quotes": MINIFIED,
    "behind an apostrophe": "<p title=it's>" + classic_box(),
    "blanks around equal signs": classic_box().replace("=", " = "),
    "upper case and a decoy": UPPER_CASE,
    "a reference": classic_box(nonce="&#99;10d44dafd"),
    "more classes": classic_box(css_class="theme wpaicg-chat-shortcode wide"),
    "behind a script": SCRIPT_WITH_A_BOX + classic_box(),
    "behind a style": f"<style>{classic_box(nonce='old')}</style>{classic_box()}",
    "a second nonce": classic_box().replace("data-url", 'data-nonce="no" data-url'),
    "behind a box without a nonce": classic_box(nonce="") + classic_box(),
    "between conditional comments": "<!--[if !IE]><!-->" + classic_box() + "<!--<![endif]-->",
    "behind an empty comment": "<!-->" + classic_box() + "<!-- -->",
    "behind open tags": "<b <i <div" + classic_box(),
    "behind broken JSON": BROKEN_BUTTON + classic_box(),
    "like a style": f"<style-provider>{classic_box()}</style-provider>",
    "behind a textarea": TEXTAREA_WITH_A_BOX + classic_box(),
    "behind an end of another name": UNENDED_SCRIPT + classic_box(),
}


@pytest.mark.parametrize("page", PAGES_WITH_A_CLASSIC_CHAT.values(), ids=PAGES_WITH_A_CLASSIC_CHAT)
def test_the_classic_chat_is_found(page):
    (chat,) = find_chats(f"<html><body>{page}</body></html>", SITE + "/help/")
    assert (chat.nonce, chat.post_id, chat.bot_id) == ("c10d44dafd", "6", "0")
    assert (chat.action, chat.ajax_url) == ("wpaicg_chat_shortcode_message", AJAX)


@pytest.mark.parametrize("post_id", ["<8", "&lt;8"], ids=["sign", "reference"])
def test_a_widget_is_the_chat_though_its_post_id_is_misprinted(post_id):
    """Some releases print a less-than sign before it."""
    page = LIKE_BUTTON + classic_box(post_id=post_id, css_class="wpaicg-chatbox", bot_id="10420")
    (chat,) = find_chats(page)
    assert (chat.action, chat.post_id, chat.bot_id) == ("wpaicg_chatbox_message", "8", "10420")


NO_CHAT = "no chat, neither nonce nor post id, on"

PAGES_WITHOUT_A_CHAT = {
    "empty page": ("", NO_CHAT),
    "a button with a nonce": (LIKE_BUTTON, NO_CHAT),
    "a comment": (COMMENT, NO_CHAT),
    "JSON nested without end": ("<i data-config='" + '{"a":' * 100_000 + "'></i>", NO_CHAT),
    "no nonce": (classic_box(nonce=""), "no nonce in the chat on"),
    "no post id": (classic_box(post_id=""), "no post id in the chat on"),
    "neither": (classic_box("", ""), "no nonce and no post id in the chat on"),
}


@pytest.mark.parametrize(
    ("page", "missing"), PAGES_WITHOUT_A_CHAT.values(), ids=PAGES_WITHOUT_A_CHAT
)
def test_a_page_without_a_chat_says_what_is_missing_and_where(page, missing):
    with pytest.raises(ChatNotFoundError) as caught:
        find_chats(page, SITE + "/help/")
    assert str(caught.value) == f"{missing} https://site.example/help/"


PAGES_WITH_A_TITLE = {
    "two lines": ("<title a='b'>Request\n &#82;ejected</title>", NO_CHAT, "Request Rejected"),
    "long": (f"<title>{'x' * 500}\x1b</title>", NO_CHAT, "x" * 200),
    "half a chat": ("<title>Oh</title>" + classic_box(nonce=""), "no nonce in the chat on", "Oh"),
}


@pytest.mark.parametrize(
    ("page", "missing", "title"), PAGES_WITH_A_TITLE.values(), ids=PAGES_WITH_A_TITLE
)
def test_a_page_without_a_chat_is_named_by_its_title_too(page, missing, title):
    """A firewall's page has status 200, and nothing else tells it."""
    with pytest.raises(ChatNotFoundError) as caught:
        find_chats(page)
    assert str(caught.value) == f"{missing} {SITE} (the page's title is “{title}”)"


def test_a_current_page_has_a_chat_for_each_bot_in_page_order():
    """And none for a classic chat beside them, a broken configuration, a comment, a repetition."""
    page = "".join(
        [
            classic_box(),
            "<i data-config></i><i data-config='{}'></i><i data-config='[1]'></i>",
            "<i data-config='{&quot;botId&quot;:1'></i>",
            f"<!-- {current_box(9)} -->",
            current_box(3, name="DeepSeek"),
            current_box(2, name="Popup").replace("aipkit_chat_container", "aipkit_popup_wrapper"),
            current_box(3),
        ]
    )
    chats = [(chat.bot_id, chat.name, chat.post_id) for chat in find_chats(page)]
    assert chats == [("3", "DeepSeek", "261"), ("2", "Popup", "261")]


@pytest.mark.parametrize(
    "page",
    [CLASSIC_PAGE, CURRENT_PAGE, COMMENT + params_script(AJAX) + WIDGET],
    ids=["classic", "current", "widget"],
)
def test_a_page_cut_anywhere_has_no_chats_but_its_own(page):
    def chats_in(page):
        chats = search_for_chats(page)
        return {(chat.nonce, chat.post_id, chat.bot_id, chat.ajax_url) for chat in chats}

    whole = chats_in(page)
    for end in range(len(page)):
        assert chats_in(page[:end]) <= whole


IDENTITIES = {
    "shortcode": (classic_box(), "shortcode"),
    "a widget": (WIDGET, "widget"),
    "a bot with a number": (classic_box(bot_id="10420"), "custom_bot_10420"),
    "the widget of a bot with a number": (
        classic_box(css_class="wpaicg-chatbox", bot_id="7"),
        "custom_bot_7",
    ),
    "no bot": (classic_box(bot_id=""), "shortcode"),
}


@pytest.mark.parametrize(("page", "identity"), IDENTITIES.values(), ids=IDENTITIES)
def test_a_classic_chat_says_which_chat_it_is(page, identity):
    """Else the site answers with the model of its default provider."""
    session = StubSession(page, CLASSIC_ANSWER)
    ChatgptFree(SITE, session=session).complete("Hi")
    assert session.fields[1]["chatbot_identity"] == identity


# ----------------------------------------------------------- Page: the address of the ajax requests

AJAX_PATH = "/wp-admin/admin-ajax.php"
IN_FOLDER = SITE + "/blog" + AJAX_PATH
PAGE_URL = SITE + "/help/"
OTHER_HOST = "https://other.example/blog" + AJAX_PATH
HTTP = "http://site.example"
HTTP_AJAX = HTTP + AJAX_PATH
LONG_PATH = "/" + "x" * 1_999

ADDRESSES = {
    "in a folder": (PAGE_URL, IN_FOLDER, IN_FOLDER),
    "http, with a query": (PAGE_URL, HTTP_AJAX + "?lang=de", AJAX + "?lang=de"),
    "without a host": (PAGE_URL, "/blog" + AJAX_PATH, IN_FOLDER),
    "another host": (PAGE_URL, OTHER_HOST, IN_FOLDER),
    "another host without a scheme": (PAGE_URL, OTHER_HOST.replace("https:", ""), IN_FOLDER),
    "the host as a user": (PAGE_URL, SITE + "@other.example/in", SITE + "/in"),
    "another port": (PAGE_URL, SITE + ":444" + AJAX_PATH, AJAX),
    "host in a path": (PAGE_URL, SITE + "//other.example", SITE + "//other.example"),
    "no path": (PAGE_URL, SITE, AJAX),
    "a script": (PAGE_URL, "javascript:alert(1)", AJAX),
    "no address": (PAGE_URL, "http://[broken", AJAX),
    "a number": (PAGE_URL, 7, AJAX),
    "2,000 characters": (PAGE_URL, LONG_PATH, SITE + LONG_PATH),
    "2,001 characters": (PAGE_URL, LONG_PATH + "x", AJAX),
    "https of another host in an http page": (HTTP + "/", OTHER_HOST, IN_FOLDER),
    "https in a page of port 80": (HTTP + ":80/", AJAX, AJAX),
    "https in a page of a port of its own": (HTTP + ":81/", AJAX, HTTP + ":81" + AJAX_PATH),
    "no scheme in an http page": (HTTP + "/", AJAX_PATH, HTTP_AJAX),
    "http in an http page": (HTTP + "/", HTTP_AJAX, HTTP_AJAX),
    "http in an https page of a port": (SITE + ":81/", HTTP_AJAX, SITE + ":81" + AJAX_PATH),
}


@pytest.mark.parametrize(("page_url", "named", "used"), ADDRESSES.values(), ids=ADDRESSES)
def test_the_ajax_address_is_on_the_pages_own_host(page_url, named, used):
    """It has the path and the query that the page names, and may raise http to https."""
    assert find_chats(current_box(ajax_url=named), page_url)[0].ajax_url == used


def moved(script, before="src="):
    """A script that an optimising plugin has moved into an address."""
    text = script.partition(">")[2].partition("</")[0]
    encoded = base64.b64encode(text.encode()).decode()
    return f'<script {before}"data:text/javascript;base64,{encoded}"></script>'


PARAMS = params_script(IN_FOLDER)
ESCAPED = moved(PARAMS).replace('="></', '%3D"></')
PLUGIN_FILES = "https://site.example/blog/wp-content/plugins/gpt3-ai-content-generator/public/"
ON_A_CDN = PLUGIN_FILES.replace("site.example", "cdn.example")
WP_JSON = '<link rel="https://api.w.org/" href="https://site.example/blog/wp-json/" />'
NO_PLUGIN_FILES = f'<img src="{PLUGIN_FILES.replace("blog", "no")}a.png">'
NO_WP_JSON = WP_JSON.replace("blog", "no")
OTHER_SCRIPT = moved("<script>var a = 1;</script>")
BROKEN_SCRIPT = '<script src="data:text/javascript;base64,=A=B"></script>'

HEADS_WITH_A_FOLDER = {
    "a script": PARAMS,
    "a script that names another host": params_script(OTHER_HOST),
    "a script in src": moved(PARAMS),
    "a script of WP Rocket": moved(PARAMS, "defer data-rocketlazyloadscript="),
    "a script in single quotes": moved(PARAMS).replace('"', "'"),
    "a script without quotes": moved(PARAMS).replace('"', ""),
    "a script with a charset": moved(PARAMS).replace(";base64", ";charset=utf-8;base64"),
    "a script with escapes": ESCAPED,
    "the second script": OTHER_SCRIPT + moved(PARAMS),
    "a script with a comment": moved(PARAMS.replace("var", "/* \xff */ var")),
    "a script behind a broken one": BROKEN_SCRIPT + moved(PARAMS),
    "the plugin's script": f'<script src="{PLUGIN_FILES}js/a.js?ver=1"></script>',
    "the plugin's style": f"<link href={PLUGIN_FILES}css/a.css>",
    "files without a scheme": f"<link href='{PLUGIN_FILES[6:]}css/a.css'>",
    "files on another host": f"<script src='/a.js'></script><img src='{ON_A_CDN}a.png'>",
    "the link to wp-json": WP_JSON,
    "the link without quotes": WP_JSON.replace('"', ""),
    "a short link": "<LINK HREF='/blog/wp-json/' REL='https://api.w.org/'>",
    "a script wins over files and a link": moved(PARAMS) + NO_PLUGIN_FILES + NO_WP_JSON,
    "files win over a link": f'<img src="{PLUGIN_FILES}a.png">' + NO_WP_JSON,
}


@pytest.mark.parametrize("head", HEADS_WITH_A_FOLDER.values(), ids=HEADS_WITH_A_FOLDER)
def test_the_folder_of_a_classic_site_is_found(head):
    (chat,) = find_chats(f"<html><head>{head}</head><body>{classic_box()}", PAGE_URL)
    assert chat.ajax_url == IN_FOLDER


@pytest.mark.parametrize(("others", "found"), [(98, IN_FOLDER), (99, AJAX)])
def test_an_address_is_looked_for_in_the_first_99_moved_scripts(others, found):
    (chat,) = find_chats(OTHER_SCRIPT * others + moved(PARAMS) + classic_box(), PAGE_URL)
    assert chat.ajax_url == found


@pytest.mark.parametrize(("length", "found"), [(1_000_000, IN_FOLDER), (1_000_001, AJAX)])
def test_a_moved_script_of_over_a_million_characters_is_passed_over(length, found):
    script = moved(PARAMS)
    begin, end = script[: script.index('"></script>')], '"></script>'
    padding = "=" * (length - len(begin.partition("base64,")[2]))
    (chat,) = find_chats(begin + padding + end + classic_box(), PAGE_URL)
    assert chat.ajax_url == found


def test_a_moved_script_without_end_takes_memory_in_proportion_to_the_page():
    """Each "%" would become a str of its own, of fifty bytes."""
    page = f'<script src="data:text/javascript;base64,{"%" * 2_000_000}"></script>{SMALL_BOX}'
    with peak_memory() as peak:
        search_for_chats(page)
        assert peak() < 4 * len(page)


HEADS_WITHOUT_A_FOLDER = {
    "a number": params_script(7),
    "a broken script": BROKEN_SCRIPT,
    "no JSON in it": moved("<script>var wpaicgParams = {oh no};</script>"),
    "a script in a title": moved(PARAMS).replace("src=", "title="),
    "a link without wp-json": WP_JSON.replace("/wp-json/", "/"),
    "another link": WP_JSON.replace("https://api.w.org/", "next"),
    "a link in a comment": f"<!-- {WP_JSON} -->",
    "other files": f"<img src='{PLUGIN_FILES.replace('gpt3-', '')}a.png'>",
}


@pytest.mark.parametrize("head", HEADS_WITHOUT_A_FOLDER.values(), ids=HEADS_WITHOUT_A_FOLDER)
def test_a_classic_site_that_shows_no_folder_is_asked_at_the_top(head):
    (chat,) = find_chats(f"<html><head>{head}</head><body>{classic_box()}", PAGE_URL)
    assert chat.ajax_url == AJAX


# --------------------------------------------------------------------------------- Page: odd values


def config_page(**config):
    """A page with one bot of this configuration, which alone shows that it is one."""
    config = {"botId": 1, "nonce": "n", "postId": 6, "headerName": "Bot", "ajaxUrl": AJAX, **config}
    return f'<i data-config="{html.escape(json.dumps(config))}">'


def test_a_reference_of_5000_digits_in_a_page_does_no_harm(mock):
    add_classic(mock, CLASSIC_ANSWER, page=classic_box().replace("#ccf5e1", f"&#{DIGITS};"))
    mock.get(SITE + "/bot", body=config_page(headerName=f"Bot &#{DIGITS};"))
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"
    # a name is cut to 200 characters
    assert ChatgptFree(SITE + "/bot").list_models() == ["Bot &#" + "1" * 194]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("postId", value) for value in ("\ud800", "line\nbreak", [1], True, None, 10**400)],
        *[("headerName", value) for value in ("a\udfffb", "line\nbreak", {"a": "b"}, None)],
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_an_odd_post_id_or_name_does_no_harm(mock, key, value):
    add_current(mock, CURRENT_ANSWER, page=config_page(**{key: value}))
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"


@pytest.mark.parametrize(("key", "value"), [("nonce", 7), ("botId", 10**400)], ids=["7", "10**400"])
def test_a_number_will_do_for_a_nonce_or_an_id(mock, key, value):
    add_current(mock, CURRENT_ANSWER, page=config_page(**{key: value}))
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("nonce", value) for value in ("\ud800", "\0", "line\nbreak", [1], 1.5, True, None)],
        *[("botId", value) for value in ("\0", True)],
    ],
    ids=ascii,
)
def test_a_chat_whose_ids_cannot_be_sent_is_no_chat(mock, key, value):
    add_current(mock, CURRENT_ANSWER, page=config_page(**{key: value}))
    with pytest.raises(ChatNotFoundError):
        ChatgptFree(SITE).complete("Hi")


@pytest.mark.parametrize("reference", ["&#xD800;", "&#0;", "&#1114112;"])
def test_odd_references_in_a_classic_page_do_no_harm(mock, reference):
    page = classic_box(nonce=reference, post_id=reference, bot_id=reference)
    add_classic(mock, CLASSIC_ANSWER, page=page)
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"


@pytest.mark.parametrize(("field", "name"), [("nonce", "nonce"), ("post_id", "post id")])
def test_a_line_break_for_a_nonce_or_post_id_is_none(mock, field, name):
    add_classic(mock, CLASSIC_ANSWER, page=classic_box(**{field: "&#10;"}))
    with pytest.raises(ChatNotFoundError, match=f"^no {name} in the chat on "):
        ChatgptFree(SITE).complete("Hi")


# ------------------------------------------------------------------------------------- Page: limits


def numbered(begin, piece, end):
    """A function that makes a page with so many of these pieces, each with a number of its own."""
    return lambda count: begin + "".join(piece % number for number in range(1, count + 1)) + end


WIDGETS_BEFORE = numbered("", "<p class=wpaicg-chatbox data-nonce=%d>", SMALL_BOX)
# the chat has three attributes of its own
NAMES_BEFORE = numbered("<p ", "a%d ", "class=wpaicg-chatbox data-nonce=1 data-post-id=2>")

LAST_PLACES = {
    "the last of 1000 chats": (WIDGETS_BEFORE(999), True),
    "the last of 1001 chats": (WIDGETS_BEFORE(1000), False),
    "the last of 1000 attributes": (NAMES_BEFORE(997), True),
    "the last of 1001 attributes": (NAMES_BEFORE(998), False),
    "the last of 10,000 tags with its word": ("<i wpaicg-chat>" * 9_999 + SMALL_BOX, True),
    "the last of 10,001 tags with its word": ("<i wpaicg-chat>" * 10_000 + SMALL_BOX, False),
}


@pytest.mark.parametrize(("page", "is_found"), LAST_PLACES.values(), ids=LAST_PLACES)
def test_only_the_first_1000_chats_and_attributes_and_10_000_tags_count(page, is_found):
    assert [chat.post_id for chat in search_for_chats(page)] == ["2"] * is_found


MANY = {
    "current chats": (numbered("", '<i data-config=\'{"nonce":1,"botId":%d}\'>', ""), 100),
    "classic chats": (numbered("", "<p class=wpaicg-chatbox data-nonce=%d>", ""), 100),
    "attributes": (numbered("<p data-config ", "a%d ", ">"), 1_000),
}


@pytest.mark.parametrize(("page_of", "limit"), MANY.values(), ids=MANY)
def test_a_page_of_too_many_takes_no_more_memory_than_one_of_the_limit(page_of, limit, set_limits):
    def memory_for(page):
        with peak_memory() as peak:
            search_for_chats(page)
            return peak()

    set_limits(CHAT_LIMIT=100)
    usual, many = page_of(limit), page_of(10 * limit)
    memory_for(usual)
    # a tag's own text is taken out of the page
    assert memory_for(many) < memory_for(usual) + 2 * len(many)


# ------------------------------------------------------------------------------------- Page: growth


HOSTILE_PAGES = {  # the piece between the bars is repeated
    "quote behind a value": '<div wpaicg-chat a=b="|x|<">',
    "class name": '<div class="|wpaicg-chat-shortcode |">',
    "boxes": "|<p class=wpaicg-chatbox>|",
    "bots": "|<i data-config='{\"botId\":1}'>|",
    "unclosed quotes": "<div wpaicg-chat |a=' |",
    "values": '<div wpaicg-chat |a="" |>',
    "empty values": "<div wpaicg-chat |a= |>",
    "names": "<div wpaicg-chat |a |>",
    "blanks behind a name": "<div wpaicg-chat a| |>",
    "blanks behind names": "<div wpaicg-chat |a" + " " * 500 + "|>",
    "slashes": "<div wpaicg-chat |/|>",
    "equal signs": "<div wpaicg-chat |=|>",
    "tags of equal signs": "|<div wpaicg-chat " + "=" * 998 + "<|",
    "tags in quotes": '|<div wpaicg-chat a="|',
    "tags in both quotes": "|<a b='\"|",
    "quotes in turn": "|<a =\" =' |",
    "digits of a reference": f'<div class="wpaicg-chat-shortcode" data-nonce="&#{DIGITS}|1|;">',
    "references": '<div class="wpaicg-chat-shortcode" data-nonce="|&#|">',
    "long references": '<div class="wpaicg-chat-shortcode" data-nonce="|&#' + "1" * 900 + ';|">',
    "ampersands": '<div class="wpaicg-chat-shortcode" data-nonce="|&|">',
    "params": f"|wpaicgParams = |{SMALL_BOX}",
    "blanks behind params": f"wpaicgParams| |{SMALL_BOX}",
    "params with blanks": f"|wpaicgParams ={' ' * 500}|{SMALL_BOX}",
    "open params": f"|wpaicgParams={{|{SMALL_BOX}",
    "objects in params": f'wpaicgParams={{"a":|\n{{"a":|{SMALL_BOX}',
    "digits in params": f'wpaicgParams={{"a":|1|}}{SMALL_BOX}',
    "digits in a config": "<i data-config='{\"nonce\":|1|}'>",
    "escapes in a name": '<i data-config=\'{"nonce":1,"botId":1,"headerName":"|&amp;lt;|"}\'>',
    "digits in a name": '<i data-config=\'{"nonce":1,"botId":1,"headerName":"&amp;#'
    + DIGITS
    + "|1|\"}'>",
    "moved scripts": f"|src=data:text/javascript;base64,QQ==|{SMALL_BOX}",
    "a long moved script": f"src=data:text/javascript;base64,|QUFB|{SMALL_BOX}",
    "charsets": f"src=data:text/javascript;|charset=a;|{SMALL_BOX}",
    "plugin files": f"|/wp-content/plugins/gpt3-ai-content-generator/|{SMALL_BOX}",
    "slashes before plugin files": f"|/|/wp-content/plugins/gpt3-ai-content-generator/{SMALL_BOX}",
    "links": f"|<link rel=https://api.w.org/>|{SMALL_BOX}",
    "a long link": f"<link rel=https://api.w.org/ href=|/wp-json/|>{SMALL_BOX}",
    "comments": "|<!--|",
    "comments' ends": "<!--|--!|",
    "hyphens": "<!--|-|",
    "declarations": "|<!|",
    "script": "|<script |",
    "script's ends": "|<script></scrip|",
    "styles": "|<style><textarea></style|",
    "a long name": "<|a|",
    "tags": "|<a/|",
    # behind an open tag: a search must not begin anew at each "<"
    "filler": "<a |<p>filler</p>|",
    "ordinary tags": '<a |<div class="a b" id="x" style="color:red">text</div>|',
    "whole comments": "<a |<!-- comment -->|",
    "scripts": "<a |<script>if (a<b) {};</script>|",
    "open tags": "<a |<div |",
    "names of tags": "<a |<div|",
    "less-than signs": "<a |<|",
    "open values": '<a |<a b="|',
    "values of nothing": "<a |=a|",
    "tags of nothing": "<a |<a =|",
    "open boxes": "<a |<div class=wpaicg-chat |",
    "nested configs": "<a |<i data-config='{\"a\":'></i>|",
    "open configs": '<a |<i data-config="{|',
}


@pytest.mark.parametrize("hostile", HOSTILE_PAGES.values(), ids=HOSTILE_PAGES)
def test_scraping_takes_linear_time(hostile):
    assert_linear_time(search_for_chats, hostile)


def test_broken_objects_on_a_short_page_take_linear_time_too():
    """Python gives up on deep nesting, so it takes a shorter page to tell."""
    assert_linear_time(search_for_chats, HOSTILE_PAGES["objects in params"], 500)


def test_a_repeated_class_name_takes_memory_in_proportion_to_the_page():
    page = '<div class="' + "wpaicg-chat-shortcode " * 20_000 + f'" {"data-nonce=1 " * 1000}>'
    with peak_memory() as peak:
        search_for_chats(page)
        assert peak() < 20 * len(page)


# ------------------------------------------------------------------------------------- Event stream

STREAMS = {
    "nothing": ("", []),
    "an object": ('data: {"a": 1}\n\n', [("", {"a": 1})]),
    "text": ("data: [DONE]\n\n", [("", "[DONE]")]),
    "a list": ("data: [1, 2]\n\n", [("", "[1, 2]")]),
    "empty data": ("data:\n\n", [("", "")]),
    "blanks behind a colon": ("data:{}\ndata:  {}\n\n", [("", {}), ("", {})]),
    "a name without a blank": ("event:done\ndata:1\n\n", [("done", "1")]),
    "a name ends": ("event: a\ndata: 1\n\ndata: 2\n\n", [("a", "1"), ("", "2")]),
    "two data of a name": ("event: a\ndata: 1\ndata: 2\n", [("a", "1"), ("a", "2")]),
    "no empty lines": ("event: a\ndata: 1\nevent: b\ndata: 2\n", [("a", "1"), ("b", "2")]),
    "a name without data": ("event: a\n\ndata: 1\n", [("", "1")]),
    "CRLF": ("event: a\r\ndata: 1\r\n\r\n", [("a", "1")]),
    "marks": ("\ufeffdata: 1\n\n\ufeffdata: 2\n", [("", "1"), ("", "2")]),
    "other fields": (": ping\nid: 7\nretry: 1\ndata: 1\n:\n", [("", "1")]),
    "no last line end": ("data: 1", [("", "1")]),
    "data on three lines": (
        'data: {"a": [\ndata: {"b": 1},\ndata: 2]}\n\n',
        [("", {"a": [{"b": 1}, 2]})],
    ),
    "an object goes on without data": (
        'event: a\ndata: {"a":\n1}\n\ndata: 2\n',
        [("a", {"a": 1}), ("", "2")],
    ),
    "JSON on many lines": ('{\n "a":\n 1\n}\n', [("", {"a": 1})]),
    "JSON behind blanks and a mark": (' \ufeff {"a": 1}', [("", {"a": 1})]),
    "text and two objects": (
        '<b>Oops</b>\n{"a": 1}\n{"b": 2}\n',
        [("", "<b>Oops</b>\n"), ("", {"a": 1}), ("", {"b": 2})],
    ),
    "text in an event": ("Oops\ndata: 1\n\n", [("", "1"), ("", "Oops\n")]),
    "half an object": ('{"a": oh', [("", '{"a": oh\n')]),
    "broken JSON": ('event: a\ndata: {"a": "the "b""}\n\n', [("a", '{"a": "the "b""}\n')]),
    "a name behind an object": (
        '{\r\n"a": 1\r\n}event: message\r\ndata: 2\r\n\r\n',
        [("", {"a": 1}), ("message", "2")],
    ),
    "a name behind text": (
        "Oops event: message\ndata: 2\n\n",
        [("", "Oops \n"), ("message", "2")],
    ),
    "other breaks": ("data: a\u2028b\x85c\x0bd\rf\n", [("", "a\u2028b\x85c\x0bd\rf")]),
    "too many digits": (f'data: {{"a": {DIGITS}}}\n\n', [("", f'{{"a": {DIGITS}}}\n')]),
}


@pytest.mark.parametrize(("stream", "events"), STREAMS.values(), ids=STREAMS)
def test_a_stream_becomes_events(stream, events):
    assert read_events(stream.encode()) == events


def test_bytes_that_are_no_utf_8_become_replacement_characters():
    assert read_events(b"data: a\xffb\n\n") == [("", "a\ufffdb")]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_a_stream_may_come_a_byte_at_a_time(line_end):
    """So that a character, a line end or a byte order mark comes in pieces."""
    stream = "\ufeff" + WARNING + "\ufeff" + CLASSIC_ANSWER + CURRENT_ANSWER
    raw = stream.replace("\n", line_end).encode()
    assert read_events(*(raw[i : i + 1] for i in range(len(raw)))) == read_events(raw)


# ------------------------------------------------------------------------- Answer: what events mean


NO_ANSWER = (
    "the site sent no answer; most often it can't reach its model's provider, or was refused by it"
)
# With an end marker but without text, it is said to be empty.
EMPTY = "the site's answer is empty"
# These have no text and no error, whatever they hold. ("no" is text that must not come out.)
WITHOUT_TEXT = [
    *["message_start", "status", "citations", "grounding_metadata", "openai_response_id"],
    *["google_interaction_id", "thread_id", "thread.run.created", "thread.message.completed"],
]

NO_ANSWERS = {
    "nothing": "",
    "head alone": CURRENT_HEAD,
    "comment": ": ping\n\n",
    "empty": data({}),
    "unknown data": data({"data": {"a": 1}}),
    "no choices": data({"choices": []}),
    "choice of nothing": completion(None),
    "no delta": completion({"delta": None}),
    "no text": chunk(""),
    "delta of a number": chunk(7),
    "error of nothing": data({"error": {}, "errors": 1}),
    "a limit with a name": event("message", "[LIMITED]"),
    "warning of nothing": event("warning", {}),
    "warning of text": event("warning", "no"),
    **{name: event(name, {"delta": "no", "error": "no"}) for name in WITHOUT_TEXT},
    "names with text": "".join(event(name, "no") for name in WITHOUT_TEXT),
}


@pytest.mark.parametrize("answer", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_has_no_text_is_no_answer(answer):
    texts, error = read_answer(answer)
    assert (texts, *told(error)) == ([], IncompleteReplyError, NO_ANSWER)


@pytest.mark.parametrize(
    "end",
    [DONE, event("done", "[DONE]"), event("done", {"finished": True})],
    ids=["classic", "assistant", "current"],
)
def test_nothing_counts_after_an_end_marker(end):
    assert read_answer(chunk("Hi"), end, chunk("no"), "x" * 99) == (["Hi"], None)


START, HI, BYE = event("message_start", {"message_id": "m"}), chunk("Hi"), chunk("Bye")


def warning(words):
    return event("warning", {"error": words})


SET_APART = {
    "one message": (START + HI + BYE, "HiBye"),
    "two messages": (START + HI + START + BYE, "Hi\n\nBye"),
    "three starts": (HI + START * 3 + BYE + BYE, "Hi\n\nByeBye"),
    "no text before": (START + START + HI, "Hi"),
    "nothing behind": (HI + START, "Hi"),
    "an empty piece behind": (HI + START + chunk("") + BYE, "Hi\n\nBye"),
    "a warning behind": (HI + START + warning(" (x)"), "Hi\n\n (x)"),
    "warning with a blank": (HI + warning(" four"), "Hi four"),
    "warning with a line break": (HI + warning("\nfour"), "Hi\nfour"),
    "warning": (HI + warning("Claude stopped."), "Hi\n\nClaude stopped."),
    "warning alone": (warning("Claude stopped."), "Claude stopped."),
    "warning without words": (HI + event("warning", {}) + BYE, "HiBye"),
    "another event": (HI + event("status", {}) + BYE, "HiBye"),
}


@pytest.mark.parametrize(("answer", "text"), SET_APART.values(), ids=SET_APART)
def test_two_messages_and_a_warning_are_set_apart_by_a_blank_line(answer, text):
    texts, error = ask_site(CURRENT_PAGE, answer, CURRENT_DONE)
    assert ("".join(texts), error) == (text, None)


# ---------------------------------------------------------------------------------- Answer: sources

PARIS, ROME = "https://paris.example/?a=1&b=2", "http://rome.example/"
PARIS_FOUND = {"title": "Paris today", "url": PARIS}
ROME_FOUND = {"title": "Rome", "url": ROME}
LONG_ADDRESS = ROME.ljust(2_000, "x")
OPENAI_SOURCE = {
    "type": "char_location",
    "url": PARIS,
    "title": "Paris\ntoday",
    "source_title": "News",
    "start_char_index": 0,
    "end_char_index": 5,
    "cited_text": "Paris",
}
CLAUDE_SOURCE = {
    "type": "web_search_result_location",
    "url": ROME,
    "title": "Rome",
    "cited_text": "Rome",
}
GOOGLE_SOURCES = {
    "searchEntryPoint": {"renderedContent": "<b>no</b>"},
    "groundingChunks": [
        {"web": {"uri": ROME, "title": "Rome"}},
        {"web": {"uri": PARIS, "title": "Paris today"}},
    ],
}


def citations(*sources):
    return event("citations", json.dumps(sources))


def done(**more):
    return event("done", {"finished": True, **more})


BAD_SOURCES = [
    {"url": "javascript:alert(1)"},
    {"url": ROME + "\x1b[31m"},
    {"url": LONG_ADDRESS + "x"},
    {"url": 7, "uri": None},
    {"title": "No address"},
    {"web": "no"},
    [CLAUDE_SOURCE],
    "no",
    None,
]
NONSENSE = {
    "no JSON": event("citations", "no JSON"),
    "deep JSON": event("citations", "[" * 100_000),
    "too many digits": event("citations", f'[{{"url": {DIGITS}}}]'),
    "text": event("citations", '"text"'),
    "a number": event("citations", "7"),
    "an object for a list": event("citations", {"citations": {"url": ROME}}),
    "Google's number": event("grounding_metadata", {"groundingChunks": 7}),
    "Google's object": event("grounding_metadata", {"groundingChunks": {"web": {"uri": ROME}}}),
    "Google's list": event("grounding_metadata", "[]"),
    "in the end": done(citations=7, grounding_metadata=["no"]),
}
REPEATED = [
    citations(CLAUDE_SOURCE),
    citations(OPENAI_SOURCE, CLAUDE_SOURCE),
    done(citations=[OPENAI_SOURCE, {"url": ROME, "title": "Another title"}]),
]
BOTH_FOUND = [ROME_FOUND, PARIS_FOUND]

SOURCE_EVENTS = {
    "OpenAI's": ([citations(OPENAI_SOURCE)], [PARIS_FOUND]),
    "Claude's": ([citations(CLAUDE_SOURCE)], [ROME_FOUND]),
    "Google's": ([event("grounding_metadata", GOOGLE_SOURCES)], BOTH_FOUND),
    "an object with a list": ([event("citations", {"citations": [CLAUDE_SOURCE]})], [ROME_FOUND]),
    "in the end": ([done(citations=[CLAUDE_SOURCE, OPENAI_SOURCE])], BOTH_FOUND),
    "Google's end": ([done(grounding_metadata=GOOGLE_SOURCES)], BOTH_FOUND),
    "text in the end": ([done(citations=json.dumps([CLAUDE_SOURCE]))], [ROME_FOUND]),
    "each address once, in order": (REPEATED, BOTH_FOUND),
    "a title of the source": ([citations({"url": ROME, "source_title": "Rome"})], [ROME_FOUND]),
    "no title": ([citations({"url": ROME, "title": None})], [{"title": ROME, "url": ROME}]),
    "a long title": (
        [citations({"url": ROME, "title": "x" * 1000})],
        [{"title": "x" * 300, "url": ROME}],
    ),
    "an address of 2,000 characters": (
        [citations({"url": LONG_ADDRESS, "title": "Long"})],
        [{"title": "Long", "url": LONG_ADDRESS}],
    ),
    "one good among bad": ([citations(*BAD_SOURCES, CLAUDE_SOURCE)], [ROME_FOUND]),
}


def sources_of(*events):
    """The sources of an answer with these events behind its text."""
    session = StubSession(CURRENT_PAGE, CURRENT_TEXT, *events, CURRENT_DONE)
    reply = ChatgptFree(SITE, session=session).complete("Hi")
    assert reply == "Hello, wörld 🌍"
    return reply.sources


@pytest.mark.parametrize(("events", "sources"), SOURCE_EVENTS.values(), ids=SOURCE_EVENTS)
def test_a_reply_has_the_sources_of_a_search(events, sources):
    assert sources_of(*events) == sources


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_for_sources_does_no_harm(nonsense):
    assert sources_of(nonsense) == []


def test_a_reply_has_the_first_100_sources():
    found = [{"url": f"{ROME}{number}", "title": str(number)} for number in range(150)]
    titles = [source["title"] for source in sources_of(citations(*found[:60]), citations(*found))]
    assert titles == [str(number) for number in range(100)]


# ----------------------------------------------------------------- Answer: forms and unknown events


def form_event(**definition):
    return event("display_form_event", definition)


CONTACT = form_event(form_definition={"title": "Contact us", "fields": []})

FORMS = {
    "form": (CONTACT + CURRENT_DONE, "Contact us"),
    "no definition": (form_event(title="Q &amp; A\n2") + CURRENT_DONE, "Q & A 2"),
    "no title": (form_event(form_definition=[7]) + CURRENT_DONE, "without a title"),
    "no end": (CONTACT, "Contact us"),
}


@pytest.mark.parametrize(("answer", "title"), FORMS.values(), ids=FORMS)
def test_a_form_in_place_of_an_answer_is_named_and_not_asked_for_twice(answer, title):
    session = StubSession(CURRENT_PAGE, answer)
    texts, error = collect(ChatgptFree(SITE, session=session).stream("Hi"))
    words = f"the site answers with a form: {title}"
    assert (texts, *told(error)) == ([], ChatgptFreeError, words)
    # the page, the ticket, the answer
    assert len(session.fields) == 3


def events_named(*names):
    """An event of each name, with nothing in it."""
    return "".join(event(name, {}) for name in names)


UNKNOWN_EVENTS = {
    "an object": (event("delta_v2", {"text": "Hi"}), "delta_v2"),
    "text": (event("delta_v2", "Hi"), "delta_v2"),
    "each once": (events_named(*"babcb"), "b, a, c"),
    "many": (events_named(*range(99)), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
    "a long one": (events_named("\x1b" + "x" * 99), "x" * 50),
}


@pytest.mark.parametrize(("answer", "names"), UNKNOWN_EVENTS.values(), ids=UNKNOWN_EVENTS)
def test_an_answer_without_text_names_the_events_that_are_not_known(answer, names):
    hint = f"; its events are not known here: {names}"
    whole, cut = (ask_site(CURRENT_PAGE, answer, end) for end in (CURRENT_DONE, ""))
    assert (whole[0], *told(whole[1])) == ([], ChatgptFreeError, EMPTY + hint)
    assert (cut[0], *told(cut[1])) == ([], IncompleteReplyError, "the site sent no answer" + hint)


# ----------------------------------------------------------------------------- Answer: text and end


# an assistant of OpenAI's, by way of the classic plugin
ASSISTANT = (
    "event: thread_id\ndata: thread_abc\n\n"
    "event: thread.message.delta\n"
    'data: {"delta":{"content":[{"type":"text","text":{"value":"Hello"}},7]}}\n\n'
    'event: thread.message.completed\ndata: {"delta":{"content":"not again"}}\n\n'
    "event: done\ndata: [DONE]\n\n"
)
OLD_CUT = data({"id": "1", "choices": [{"text": "Hel"}]})
OLD_MODEL = OLD_CUT + data({"id": "1", "choices": [{"text": "lo", "finish_reason": "stop"}]})
INDENTED = json.dumps(JSON_ANSWER, indent=2) + "\n"
HELLO = {"choices": [{"delta": {"content": "Hello"}}]}
WORLD = "Hello, wörld 🌍"
CUT = " four (Incomplete: max_output_tokens)"
GREETED = CURRENT_HEAD + data({"delta": "Hello!"}) + CURRENT_ANSWER

TEXTS = {
    "classic": (CLASSIC_ANSWER, WORLD),
    "single line ends": (CLASSIC_ANSWER.replace("\n\n", "\n"), WORLD),
    "comments": (CLASSIC_ANSWER.replace("\n\n", "\n\n: a\n\nid: 7\n\n"), WORLD),
    "warnings": (CLASSIC_ANSWER.replace("\n\n", "\n\n" + WARNING), WORLD),
    "warnings in events": (CLASSIC_ANSWER.replace("\n\n", "\n" + WARNING), WORLD),
    "no end marker": (chunk("Hello") + STOP, "Hello"),
    "finished with its text": (chunk("Hello", finish_reason="stop"), "Hello"),
    "text behind the last": (chunk("Hel", finish_reason="stop") + chunk("lo"), "Hello"),
    "odd events": (completion(None) + chunk(7) + chunk("Hello") + chunk(None) + DONE, "Hello"),
    "a name and an id": (event("message", {"id": 1, **HELLO}) + DONE, "Hello"),
    "a name and an object": (event("message", {"object": "a", **HELLO}) + DONE, "Hello"),
    "noise": (data("[LIMITED]") + data("{x") + chunk("Hello") + DONE, "Hello"),
    "assistant": (ASSISTANT, "Hello"),
    "old model": (OLD_MODEL, "Hello"),
    "JSON": (json.dumps(JSON_ANSWER), "Hello, wörld"),
    "JSON of data alone": ('{"data": "Hello"}', "Hello"),
    "JSON and warnings": ("\n" + WARNING + INDENTED + WARNING, "Hello, wörld"),
    "JSON and marks": ("\ufeff" + WARNING + "\ufeff" + INDENTED, "Hello, wörld"),
    "JSON behind the text": (chunk("Hello") + STOP + INDENTED, "Hello"),
    "JSON behind a last text": (chunk("Hello", finish_reason="length") + INDENTED, "Hello"),
    "JSON behind no text": (chunk("") + WARNING + INDENTED, "Hello, wörld"),
    "current": (CURRENT_ANSWER, WORLD),
    "warning": (data({"delta": "Hello"}) + warning(CUT) + DONE, "Hello" + CUT),
    "unknown events": (event("delta_v2", "no") + chunk("Hello") + DONE, "Hello"),
    "form behind text": (chunk("Hello") + CONTACT + CURRENT_DONE, "Hello"),
    "greeting and answer": (GREETED, "Hello!\n\nHello, wörld 🌍"),
}


@pytest.mark.parametrize(("answer", "text"), TEXTS.values(), ids=TEXTS)
def test_an_answer_gives_its_text(answer, text):
    texts, error = read_answer(answer)
    assert ("".join(texts), error) == (text, None)
    assert all(texts)


def test_a_cut_after_the_end_of_an_answer_is_ignored():
    assert read_answer(chunk("Hello") + STOP, ConnectionResetError()) == (["Hello"], None)


HALVES = {
    "two halves": (["Hi \ud83d", "\ude00!"], ["Hi ", "😀!"]),
    "two halves alone": (["\ud83d", "\ude00"], ["😀"]),
    "nothing between": (["\ud83d", "", "\ude00"], ["😀"]),
    "three halves and one": (["\ud83d\ude00\ud83d", "\ude00"], ["😀", "😀"]),
    "the first half alone": (["a\ud83d", "b"], ["a", "?b"]),
    "the second half alone": (["a", "\ude00b"], ["a", "?b"]),
}


@pytest.mark.parametrize(("pieces", "texts"), HALVES.values(), ids=HALVES)
def test_half_an_emoji_at_the_end_of_a_piece_waits_for_its_other_half(pieces, texts):
    bot = ChatgptFree(SITE, session=StubSession(CLASSIC_PAGE, *map(chunk, pieces), DONE))
    assert collect(bot.stream("Hi")) == (texts, None)
    assert bot.complete("Hi") == "".join(texts)


def refuse_as_model(words):
    """A piece of a refusal, as OpenAI's models send it."""
    return completion({"delta": {"content": None, "refusal": words}})


FILTERED = completion({"delta": {}, "finish_reason": "content_filter"})
CLAUDE_STOPPED = "Claude stopped because the maximum output token limit was reached."

REASONS = {
    "classic": (HI + STOP + DONE, "Hi", "stop"),
    "with a text": (chunk("Hi", finish_reason="length") + DONE, "Hi", "length"),
    "behind the text": (HI + FILTERED + USAGE + DONE, "Hi", "content_filter"),
    "old model": (OLD_MODEL, "Hello", "stop"),
    "refusal": (
        refuse_as_model("I can't") + refuse_as_model(" do that.") + STOP,
        "I can't do that.",
        "stop",
    ),
    "none": (HI + DONE, "Hi", ""),
    "JSON": (json.dumps(JSON_ANSWER), "Hello, wörld", ""),
    "a number": (chunk("Hi", finish_reason=7), "Hi", ""),
    "a long one": (chunk("Hi", finish_reason="\x1b" + "x" * 99), "Hi", "x" * 50),
    "OpenAI's length": (data({"delta": "Hello"}) + warning(CUT) + DONE, "Hello" + CUT, "length"),
    "Claude's length": (warning(CLAUDE_STOPPED) + DONE, CLAUDE_STOPPED, "length"),
    "a filter": (
        HI + warning(" (Warning: Content Filtered)") + DONE,
        "Hi (Warning: Content Filtered)",
        "content_filter",
    ),
    "current refusal": (
        HI + warning(" (Refusal: No.)") + DONE,
        "Hi (Refusal: No.)",
        "content_filter",
    ),
    "another warning": (HI + warning(" Oh.") + DONE, "Hi Oh.", ""),
}


@pytest.mark.parametrize(("answer", "text", "reason"), REASONS.values(), ids=REASONS)
def test_a_reply_says_why_it_ended(answer, text, reason):
    session = StubSession(CURRENT_PAGE, answer)
    reply = ChatgptFree(SITE, session=session).complete("Hi")
    assert (reply, reply.finish_reason) == (text, reason)


@pytest.mark.parametrize("name", ["data", "event", "id", "retry"])
def test_a_field_cut_in_its_name_is_an_incomplete_reply(name):
    for end in range(1, len(name) + 1):
        broken = "the answer broke off before any text"
        assert told(read_answer(name[:end])[1]) == (IncompleteReplyError, broken)
        texts, error = read_answer(chunk("Hello") + name[:end])
        assert (texts, error.partial) == (["Hello"], "Hello")
        assert told(error) == (IncompleteReplyError, "the answer broke off")


# ----------------------------------------------------------------------------------- Answer: limits


NO_END = "the site sent 50,000 bytes without an end or any text of an answer"
LONG_LINE = "the site sent a line of over 20,000 bytes"

ENDLESS = {
    "data": (b"data: x" * 900, LONG_LINE),
    "bytes": (b"x" * 50, LONG_LINE),
    "lines": (b"word\n" * 900, NO_END),
    "comments": (b": ping\n\n" * 900, NO_END),
    "events": (b"data: {}\n\n" * 900, NO_END),
    "objects": (b'{"a":\n' * 900, NO_END),
    "objects in data": (b'data: {"a":\n' * 900, NO_END),
    "lists in data": (b"data: [1]\n" * 900, NO_END),
}


@pytest.mark.parametrize(("endless", "words"), ENDLESS.values(), ids=ENDLESS)
def test_an_endless_answer_is_an_error_in_bounded_memory(endless, words, set_limits):
    """50,000 of millions of bytes are read, and each takes 30 bytes of memory at most."""
    set_limits(LINE_LIMIT=20_000, BODY_LIMIT=50_000)
    pieces = [endless] * 10_000
    with peak_memory() as peak:
        _, error = read_answer(*pieces)
        assert peak() < 1.5e6
    assert told(error) == (ChatgptFreeError, words)


def test_an_answer_with_text_in_it_may_be_longer_than_one_without(set_limits):
    set_limits(BODY_LIMIT=1000)
    assert read_answer(*[chunk("word ")] * 100, DONE) == (["word "] * 100, None)


def test_an_answer_of_unreasonable_length_ends_in_an_error_with_the_text(set_limits):
    set_limits(ANSWER_LIMIT=10_000)
    texts, error = read_answer(chunk("words " * 100) * 100)
    words = "the answer broke off: the answer has over 10,000 bytes"
    assert told(error) == (IncompleteReplyError, words)
    # 17 pieces of 600 bytes of text are the first over 10,000
    assert "".join(texts) == error.partial == "words " * 1_700


# ----------------------------------------------------------------------------------- Answer: errors


NEEDS_BROWSER = "the site asks for a check that needs a browser"
ADVICE = (
    "Open the site's page in a browser, then pass on that browser's cookies and its exact "
    "User-Agent: cookies={…}, headers={'User-Agent': …}"
)
QUOTA = {
    "error": "Enough for today.",
    "quota_notice": {"type": "quota_notice", "message": "Enough for today."},
}
RAW_ERROR = (
    '{\n  "error": {\n    "message": "Incorrect API key provided",\n'
    '    "code": "invalid_api_key"\n  }\n}\n'
)
HALF_A_RAW_ERROR = RAW_ERROR[:70].rstrip()
HALF_ITS_WORDS = '{ "error": { "message": "Incorrect API key provided", "code"'
WRONG_KEY = "Incorrect API key provided"
INVALID = disguised("Invalid") + disguised(" key.")
TWO_LINES = disguised("two@lines").replace("@", "\n")
QUOTES = disguised("the @key@").replace("@", '"') + disguised(" is bad")
BROKEN_JSON = json.dumps({"status": "error", "msg": "It&#039;s <b>broken</b>"})
NO_CHECK = {"error": "No.", "ts_required": False, "data": {"quota_notice": None}}
REPORT = {"message": "Down", "type": "server_error"}
FAILURE = {"success": False, "data": {"message": "Not here.", "code": "embed_not_available"}}
CRITICAL = "<p>There has been a critical error.</p>"
HTML_502 = "<html><style>p {}</style><title>502</title>\n\n<p>Bad&nbsp;Gateway"

ERRORS_IN_ANSWERS = {
    "JSON": (BROKEN_JSON, "It's broken"),
    "JSON behind a warning": (WARNING + BROKEN_JSON, "It's broken"),
    "message and error": ('{"error": true, "message": "Bad key"}', "Bad key"),
    "event": (data({"error": REPORT}), "Down"),
    "banned": (data({"msg": "Banned", "ipBanned": True}) + CLASSIC_ANSWER, "Banned"),
    "failure": (data(FAILURE), "Not here."),
    "neither check nor quota": (data(NO_CHECK), "No."),
    "with a name": (event("message", {"status": "error", "msg": "No."}), "No."),
    "assistant": (event("assistant_error", {"msg": "No assistant"}), "No assistant"),
    "error": (event("error", {"error": "Guests may not"}), "Guests may not"),
    "error event of text": (event("error", "API down"), "API down"),
    "current error": (CURRENT_HEAD + error_event("No guests"), "No guests"),
    # disguised errors
    "disguised twice": ((INVALID + DISGUISED_STOP) * 2, "Invalid key."),
    "disguised and done": (INVALID + DONE, "Invalid key."),
    "disguised, no end": (INVALID, "Invalid key."),
    "disguised, and limited": (INVALID + DISGUISED_STOP + data("[LIMITED]"), "Invalid key."),
    "disguised, no limit": (disguised("limited edition"), "limited edition"),
    "disguised quotes": (QUOTES + DISGUISED_STOP, 'the "key" is bad'),
    "disguised line break": (TWO_LINES + DISGUISED_STOP, "two lines"),
    "raw error": (RAW_ERROR + DISGUISED_STOP, WRONG_KEY),
    "raw and disguised": (RAW_ERROR[:-1] + INVALID + DISGUISED_STOP, WRONG_KEY),
    "half a raw error": (HALF_A_RAW_ERROR + "\n" + DISGUISED_STOP, HALF_ITS_WORDS),
    "half a raw and disguised": (HALF_A_RAW_ERROR + INVALID, "Invalid key."),
    # what is no event
    "limited": (data("[LIMITED]"), "[LIMITED]"),
    "HTML": (HTML_502, "502 Bad Gateway"),
    "warnings before HTML": (WARNING * 30 + CRITICAL, CRITICAL[3:-4]),
    "zero": ("0", "0"),
    # nothing
    "empty": (ROLE + STOP + DONE, EMPTY),
    "empty, current": (CURRENT_HEAD + CURRENT_DONE, EMPTY),
    "empty JSON": ('{"status": "success", "msg": "Oh", "data": ""}', EMPTY),
    "JSON of nothing": ('{"status": "success", "data": null}', EMPTY),
}


@pytest.mark.parametrize(("answer", "words"), ERRORS_IN_ANSWERS.values(), ids=ERRORS_IN_ANSWERS)
def test_an_error_in_place_of_an_answer_is_told_in_the_sites_words(answer, words):
    texts, error = read_answer(answer)
    assert (texts, *told(error), error.partial) == ([], ChatgptFreeError, words, "")


WORDLESS = {
    "code alone": data({"error": {"code": 500}}),
    "True": data({"error": True}),
    "a list": data({"error": [1]}),
    "a tag": data({"error": "<br>"}),
    "no message": data({"msg": ""}),
    "status alone": data({"status": "error"}),
    "failure alone": data({"success": False}),
    "event of nothing": event("error", {}),
    "disguised": event("message", {"choices": [{"finish_reason": "stop"}]}),
}


@pytest.mark.parametrize("answer", WORDLESS.values(), ids=WORDLESS)
def test_an_error_without_words_says_so(answer):
    words = "the site reported an error without words"
    assert told(read_answer(answer)[1]) == (ChatgptFreeError, words)


TOKEN_LIMIT = {"msg": "Used up", "tokenLimitReached": True}
OVERLOADED = {"error": {"message": "Overloaded", "code": "rate_limit_exceeded"}}
FULL = {"message": "Enough.", "quota_notice": {"type": "x"}}

LIMITS_IN_ANSWERS = {
    "beside the words": (data(TOKEN_LIMIT), "Used up"),
    "code": (data(OVERLOADED), "Overloaded"),
    "code alone": (data({"error": {"code": "rate_limit_exceeded"}}), "a limit was reached"),
    "quota one level down": (data({"success": False, "data": FULL}), "Enough."),
    "quota in the error": (event("error", {"error": FULL}), "Enough."),
    "disguised": (disguised("Rate limit reached"), "Rate limit reached"),
}


@pytest.mark.parametrize(("answer", "words"), LIMITS_IN_ANSWERS.values(), ids=LIMITS_IN_ANSWERS)
def test_a_limit_in_place_of_an_answer_is_told_by_its_words_or_flags(answer, words):
    assert told(read_answer(answer)[1]) == (RateLimitError, words)


@pytest.mark.parametrize(
    "code",
    [
        {"status": 429},
        {"code": "insufficient_quota"},
        {"type": "insufficient_quota"},
        {"provider_error_code": "rate_limit_exceeded"},
        {"provider_error_code": "credit_deficit", "status": 402},
        {"provider_error_code": "site_limit"},
        {"provider_error_code": "provider_daily_limit"},
        {"tokenLimitReached": True},
        {"quota_notice": {"type": "quota_notice"}},
    ],
    ids=json.dumps,
)
def test_codes_and_flags_tell_a_limit_in_any_language(code):
    report = {"error": "制限に達しました", **code}
    _, error = ask_site(CURRENT_PAGE, event("error", report))
    assert told(error) == (RateLimitError, "制限に達しました")


@pytest.mark.parametrize(
    "words",
    [
        "Too many requests. Please wait a minute and try again.",
        "Rate limit reached for gpt-4o-mini in organization org-1",
        "The rate limit has been exceeded.",
        "You have reached your token limit for this period.",
        "You have reached your daily message quota.",
        "You exceeded your current quota, please check your plan and billing details.",
        "Quota exceeded for metric: generate_content_free_tier_requests",
        "This site's credits have run out.",
        "Not enough Cloud credits left for this request.",
        "This site has reached its Cloud spending limit.",
        "Cloud has reached its daily service limit.",
        "Resource has been exhausted (e.g. check quota).",
        "API Error: No. (Code: insufficient_quota)",
    ],
)
def test_english_words_tell_a_limit(words):
    assert told(read_answer(error_event(words))[1]) == (RateLimitError, words)


@pytest.mark.parametrize(
    "words",
    [
        "Your prompt exceeds the model's token limit of 8192 tokens",
        "Your message exceeds the limit; the message limit is 500 characters",
        "You have reached your message's maximum length, a limit of 500 characters.",
        "This model's maximum context length is 4096 tokens.",
        "Disk quota exceeded by the backup plugin",
        "Disk quota exceeded for user www-data",
        "Reached your house. The limit of this site is the sky.",
        "API Error: No. (Code: invalid_api_key)",
    ],
)
def test_words_about_limits_that_no_waiting_lifts_are_no_limit(words):
    assert told(read_answer(error_event(words))[1]) == (ChatgptFreeError, words)


@pytest.mark.parametrize(
    "more",
    [
        {"usage_limits_url": "https://site.example/?rate_limit_exceeded=429"},
        {"status": 500, "code": "context_length_exceeded", "type": "invalid_request_error"},
        {"provider_error_code": "cloud_down"},
        {"tokenLimitReached": False, "quota_notice": None},
    ],
    ids=json.dumps,
)
def test_keys_that_only_name_limits_are_no_limit(more):
    for report in ({"error": "Down.", **more}, {"error": {"message": "Down.", **more}}):
        assert told(read_answer(data(report))[1]) == (ChatgptFreeError, "Down.")


GOOGLE_QUOTA = "Response from Google: You exceeded your current quota, please check your plan"
GOOGLE_KEY = "Response from Google: API key not valid."

GOOGLE_ERRORS = {
    "limit": ({**JSON_ANSWER, "data": GOOGLE_QUOTA}, RateLimitError, GOOGLE_QUOTA),
    "wrong key, with a tag": (
        {"data": GOOGLE_KEY.replace("key", "<b>key</b>")},
        ChatgptFreeError,
        GOOGLE_KEY,
    ),
}


@pytest.mark.parametrize(("answer", "kind", "words"), GOOGLE_ERRORS.values(), ids=GOOGLE_ERRORS)
def test_an_error_of_googles_in_place_of_an_answer_is_an_error(answer, kind, words):
    texts, error = read_answer(json.dumps(answer))
    assert (texts, *told(error)) == ([], kind, words)


def test_googles_words_in_a_stream_are_text():
    assert read_answer(chunk(GOOGLE_KEY) + DONE) == ([GOOGLE_KEY], None)


CHECK = {"error": "Solve this", "ts_required": True}
CHECK_ONE_LEVEL_DOWN = {"success": False, "data": {"message": "Solve this", "ts_required": True}}
CHECK_IN_ERROR = {"error": {"message": "Solve this", "ts_required": 1}}
WORDLESS_CHECK = {"success": False, "data": {"ts_required": True}}
CHECK_WORDS = f'{NEEDS_BROWSER} ("Solve this"). {ADVICE}'
CHECK_WITHOUT_WORDS = f"{NEEDS_BROWSER}. {ADVICE}"

CHECKS_IN_ANSWERS = {
    "classic": (data(CHECK), CHECK_WORDS),
    "current": (CURRENT_HEAD + event("error", CHECK), CHECK_WORDS),
    "one level down": (data(CHECK_ONE_LEVEL_DOWN), CHECK_WORDS),
    "in the error": (event("error", CHECK_IN_ERROR), CHECK_WORDS),
    "no words": (data(WORDLESS_CHECK), CHECK_WITHOUT_WORDS),
    "page": ("<title>Just a moment...</title>", CHECK_WITHOUT_WORDS),
}


@pytest.mark.parametrize(("answer", "words"), CHECKS_IN_ANSWERS.values(), ids=CHECKS_IN_ANSWERS)
def test_a_check_in_place_of_an_answer_says_what_to_do(answer, words):
    assert told(read_answer(answer)[1]) == (BlockedError, words)


WELCOME_PAGE = "<p>Welcome!</p>\n\n"

BROKEN_OFF = {
    "error": (HI + data({"error": REPORT}), "Hi", ": Down"),
    "quota": (HI + event("error", QUOTA), "Hi", ": Enough for today."),
    "disguised": (HI + INVALID, "Hi", ": Invalid key."),
    "HTML": (HI + CRITICAL, "Hi", f": {CRITICAL[3:-4]}"),
    "cut between events": (HI + BYE, "HiBye", ""),
    "cut in an event": (HI + BYE[:-9], "Hi", ""),
    "not finished": (chunk("Hi", finish_reason=None), "Hi", ""),
    "noise before text": (WELCOME_PAGE + data("[LIMITED]") + HI, "Hi", ""),
    "noise between texts": (HI + WELCOME_PAGE + BYE, "HiBye", ""),
    "JSON behind text": (HI + json.dumps(JSON_ANSWER), "Hi", ""),
    "JSON behind an old model's text": (OLD_CUT + INDENTED, "Hel", ""),
    "half a JSON": (json.dumps(JSON_ANSWER)[:60], "", " before any text"),
}


@pytest.mark.parametrize(("answer", "partial", "reason"), BROKEN_OFF.values(), ids=BROKEN_OFF)
def test_an_answer_that_breaks_off_is_an_incomplete_reply(answer, partial, reason):
    texts, error = read_answer(answer)
    assert told(error) == (IncompleteReplyError, "the answer broke off" + reason)
    assert "".join(texts) == error.partial == partial


FAILURES_AFTER_TEXT = {
    "reset": (ConnectionResetError("by peer"), "lost the connection to site.example: by peer"),
    "stall": (socket.timeout("timed out"), "nothing came from site.example for 7 seconds"),
    "a long line": ("x" * 1001, "the site sent a line of over 1,000 bytes"),
    "no end": (": ping\n\n" * 2000, NO_END.replace("50,000", "10,000")),
}


@pytest.mark.parametrize(("end", "reason"), FAILURES_AFTER_TEXT.values(), ids=FAILURES_AFTER_TEXT)
def test_a_failure_after_some_text_has_the_text_and_the_reason(end, reason, set_limits):
    set_limits(LINE_LIMIT=1000, BODY_LIMIT=10_000)
    session = StubSession(CLASSIC_PAGE, chunk("Hel"), chunk("lo"), end)
    bot = ChatgptFree(SITE, session=session, timeout=7)
    texts, error = collect(bot.stream("Hi"))
    with pytest.raises(IncompleteReplyError) as caught:
        bot.complete("Hi")
    assert texts == ["Hel", "lo"]
    for broken in (error, caught.value):
        assert told(broken) == (IncompleteReplyError, f"the answer broke off: {reason}")
        assert broken.partial == "Hello"


def test_the_words_of_an_error_are_short_and_on_one_line():
    _, error = read_answer("<h1>Oh\nno</h1>\x1b[31m" + "<p>very</p>" * 1000)
    assert str(error) == "Oh no [31m" + " very" * 57 + " ver…"


SAY = "Say &amp;lt; for &lt;, &amp;amp; for &amp;"
ESCAPED_ERRORS = {
    "JSON": json.dumps({"status": "error", "msg": SAY}),
    "HTML": f"<p>{SAY}</p>",
    "title": f"<title>{SAY}</title>" + "<p>very</p>" * 100,
}


@pytest.mark.parametrize("answer", ESCAPED_ERRORS.values(), ids=ESCAPED_ERRORS)
def test_the_words_of_an_error_are_unescaped_once(answer):
    _, error = read_answer(answer)
    assert str(error) == "Say &lt; for <, &amp; for &"


LONG_WORDS = f"Oh no &#{'1' * 291}…"
LONG_NUMBERS = {
    "JSON": (f'{{"msg": "Oh no &#{DIGITS};"}}', LONG_WORDS),
    "HTML": (f"<p>Oh no &#{DIGITS};", LONG_WORDS),
    "hexadecimal": (f"<p>Oh no &#x{DIGITS};", "Oh no \ufffd"),
    "number": (f'Oh no {{"code": {DIGITS}}}', f'Oh no {{"code": {"1" * 284}…'),
}


@pytest.mark.parametrize(("answer", "words"), LONG_NUMBERS.values(), ids=LONG_NUMBERS)
def test_numbers_of_5000_digits_in_an_error_do_no_harm(answer, words):
    assert told(read_answer(answer)[1]) == (ChatgptFreeError, words)


# --------------------------------------------------------------------------- Answer: damaged bodies


TRANSCRIPTS = {
    "classic": HI + chunk(", wörld 🌍") + STOP + DONE,
    "JSON": json.dumps(JSON_ANSWER, indent=1),
    "disguised": chunk("Hel") + WARNING + QUOTES + DISGUISED_STOP,
    "assistant": ASSISTANT + RAW_ERROR,
    # without the thousands of blanks that it begins with
    "current": CURRENT_ANSWER.replace(" " * 4096, ""),
    "current error": data({"delta": "Hel"}) + warning(" four") + event("error", QUOTA),
}


def checked_text_of(bot):
    """All text of the answer to a bot.

    An error that ends it must be of a kind that is known, and have the same text in `partial`.
    """
    texts, error = collect(bot.stream("Hi"))
    assert all(isinstance(text, str) and text for text in texts)
    assert getattr(error, "partial", "") == ("".join(texts) if error else "")
    assert not (error and texts) or isinstance(error, IncompleteReplyError)
    return "".join(texts)


@pytest.mark.parametrize("transcript", TRANSCRIPTS.values(), ids=TRANSCRIPTS)
def test_a_transcript_cut_anywhere_yields_a_prefix_of_its_text(transcript):
    raw = transcript.encode()
    session = StubSession(CLASSIC_PAGE, raw)
    bot = ChatgptFree(SITE, session=session)
    whole = checked_text_of(bot)
    assert whole
    for end in range(len(raw)):
        session.answer = [raw[:end]]
        assert whole.startswith(checked_text_of(bot))


JUNK = [
    *[b"", b"\n", b"{", b'"', b"data: ", b"event: error\n"],
    *[b"null", b"\xff", b"[" * 3000, b"<", b"\0\x1b\xf0\x9f"],
]


def mutated(raw, chance):
    raw = bytearray(raw)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(raw) + 1)
        length = chance.choice([0, 1, 1, 5, 50])
        raw[at : at + length] = chance.choice(JUNK)
    return bytes(raw)


@pytest.mark.parametrize("seed", range(2))
def test_damaged_pages_and_answers_raise_only_the_librarys_and_requests_exceptions(seed):
    chance = random.Random(seed)
    for _ in range(200):
        page = chance.choice([CLASSIC_PAGE, CURRENT_PAGE])
        answer = chance.choice(list(TRANSCRIPTS.values())).encode()
        if chance.random() < 0.3:
            page = mutated(page.encode(), chance)
        checked_text_of(ChatgptFree(SITE, session=StubSession(page, mutated(answer, chance))))


# ----------------------------------------------------------------------------------- Answer: growth

HOSTILE_ERRORS = {
    "titles": "|<title|",
    "closed titles": "|<title>|",
    "titles with attributes": "|<title |",
    "a long title": "<title |x|",
    "blanks in a title": "<title>| |",
    "blanks in titles": "|<title>" + " " * 500 + "|",
    "challenges": "|<title>Just a momen|",
    "navs": "|<nav|",
    "closed navs": "|<nav></nav |",
    "half closed navs": "|<nav></na|",
    "blanks behind navs": "|<nav></nav" + " " * 500 + "|",
    "warnings": "|Warning:|",
    "lines of warnings": "|Warning: x\n|",
    "lines": "|\n|x",
    "lines of blanks": "| \n|x",
    "breaks": "|<br />\n|",
    "breaks and lines": "|<br>" + "\n" * 300 + "|",
    "breaks and blanks": "|<br />" + " " * 500 + "\n|",
    "blanks": "| |x",
    "PHP": "|PHP \n|",
    "braces": "|{\n|",
    "objects": '|{"a":\n|',
    "lists": '|{"a":[|',
    "strings": '|{"\n|',
    "long strings": '|{"' + "x" * 400 + "\n|",
    "marks": "|\t\ufeff |",
    "whole objects": "|{}\n|",
    "digits": '{"error":|1|}',
    "reference": f'{{"error":"&#{DIGITS}|1|"}}',
    "nested errors": '|{"error":|',
    "tags in words": '{"msg":"|<a|"}',
    "words of limits": "|rate limi|",
    "other words of limits": '{"error":{"message":"x","code":"|token|"}}',
    "controls": "|\0 |",
}


HOSTILE_ANSWERS = {
    **{name: HOSTILE_ERRORS[name] for name in ("lines", "braces", "objects", "whole objects")},
    "broken words": 'event: message\ndata: {|"content":"|',
    "lines of broken words": 'event: message\n|data: {"content":"a\n|',
    "blanks behind content": 'event: message\ndata: {|"content":' + " " * 500 + "|",
    "events in lines": "|x event: message\n|",
    "data": "|data: {\n|",
    "held lines": "|{\n|",
    "disguised words": '|event: message\ndata: {"choices":[{"delta":{"content":"x"}}]}\n\n|',
    "noise": "|data: x\n\n|",
}


def refuse_page_with(page):
    """Ask a site that refuses its page, with this body."""

    def respond(body, url):
        return Answer(body, url=url, status=403)

    collect(ChatgptFree(SITE, session=StubSession(page, respond=respond)).stream("Hi"))


@pytest.mark.parametrize("hostile", HOSTILE_ERRORS.values(), ids=HOSTILE_ERRORS)
def test_the_words_of_a_refusal_are_found_in_linear_time(hostile):
    assert_linear_time(refuse_page_with, hostile)


def read_in_blocks(answer):
    ask_site(CLASSIC_PAGE, *re.findall("(?s).{1,65536}", answer))


@pytest.mark.parametrize("hostile", HOSTILE_ANSWERS.values(), ids=HOSTILE_ANSWERS)
def test_reading_an_answer_takes_linear_time(hostile):
    assert_linear_time(read_in_blocks, hostile)


# --------------------------------------------------------------- Requests: their fields and headers


def test_the_classic_request_is_that_of_the_plugin(mock):
    add_classic(mock, CLASSIC_ANSWER, url=SITE + "/help/")
    assert ChatgptFree(SITE + "/help/").complete("Hi") == "Hello, wörld 🌍"
    (form,) = forms(mock)
    assert re.fullmatch("[0-9A-Za-z]{10}", form.pop("wpaicg_chat_client_id"))
    assert form == {
        "_wpnonce": "c10d44dafd",
        "post_id": "6",
        "url": SITE,
        "action": "wpaicg_chat_shortcode_message",
        "message": "Hi",
        "bot_id": "0",
        "chatbot_identity": "shortcode",
    }
    assert mock.calls[0].request.headers["Cache-Control"] == "no-cache"
    headers = mock.calls[1].request.headers
    sent = (headers["Origin"], headers["Referer"], headers["Accept-Encoding"])
    assert sent == (SITE, SITE + "/help/", "identity")


def test_the_current_requests_are_those_of_the_plugin(mock):
    add_current(mock, CURRENT_ANSWER)
    prompt = "if a<b and c>d: x\n  %41"
    assert ChatgptFree(SITE).complete(prompt) == "Hello, wörld 🌍"
    (form,) = forms(mock)
    assert form == {
        "action": "aipkit_cache_sse_message",
        "message": prompt,
        "_ajax_nonce": "5bbad886de",
        "bot_id": "25871",
    }
    query = forms(mock, "GET")[1]
    uuids = [query.pop("session_id"), query.pop("conversation_uuid")]
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid) for uuid in uuids)
    assert abs(int(query.pop("_ts")) / 1000 - time.time()) < 60
    assert query == {
        "action": "aipkit_frontend_chat_stream",
        "cache_key": "aipkit_sse_1",
        "bot_id": "25871",
        "post_id": "261",
        "_ajax_nonce": "5bbad886de",
    }
    assert [call.request.headers.get("Origin") for call in mock.calls] == [None] * 3
    assert [call.request.headers.get("Referer") for call in mock.calls[1:]] == [SITE + "/"] * 2


@pytest.mark.parametrize(
    ("page", "answer", "field"),
    [
        (CLASSIC_PAGE, CLASSIC_ANSWER, "wpaicg_chat_client_id"),
        (CURRENT_PAGE, CURRENT_ANSWER, "session_id"),
    ],
    ids=["classic", "current"],
)
def test_one_object_is_one_guest(page, answer, field):
    session = StubSession(page, answer)
    bot = ChatgptFree(SITE, session=session)
    for client in (bot, bot.conversation(), ChatgptFree(SITE, session=session)):
        client.complete("Hi")
    guests = [fields[field] for fields in session.fields if field in fields]
    assert [guest == guests[0] for guest in guests] == [True, True, False]


def test_each_call_is_a_conversation_of_its_own():
    session = StubSession(CURRENT_PAGE, CURRENT_ANSWER)
    bot = ChatgptFree(SITE, session=session)
    bot.complete("Hi")
    bot.complete("Hi")
    _, _, first, _, second = session.fields
    assert first["conversation_uuid"] != second["conversation_uuid"]


def test_only_the_less_than_sign_is_escaped_for_a_classic_site(mock):
    add_classic(mock, CLASSIC_ANSWER)
    kept = "\"it's\" & 'that' &amp; &lt; > \\ \n\t %41 + wörld 🌍"
    ChatgptFree(SITE).complete("if a<b: <b>" + kept)
    assert forms(mock)[0]["message"] == "if a&lt;b: &lt;b>" + kept


def test_a_classic_request_names_the_folder_and_the_bot_of_its_page(mock):
    mock.get(SITE + "/", body=params_script(IN_FOLDER) + classic_box(bot_id="10420"))
    mock.post(IN_FOLDER, body=CLASSIC_ANSWER)
    ChatgptFree(SITE).complete("Hi")
    assert (forms(mock)[0]["url"], forms(mock)[0]["bot_id"]) == (SITE + "/blog", "10420")


# --------------------------------------------------------------------------------- Requests: models


MODELS = {  # and the bot that each names
    "None": (None, "25871"),
    "empty": ("", "25871"),
    # names that gpt4free has: the first bot
    "default": ("gpt-4o-mini-2024-07-18", "25871"),
    "alias": ("gpt-4o-mini", "25871"),
    "another case and a blank": (" deepSEEK", "25872"),
    "number": (25872, "25872"),
    "number in a str": ("25872", "25872"),
}


@pytest.mark.parametrize(("model", "bot_id"), MODELS.values(), ids=MODELS)
def test_a_model_is_a_bot_of_the_page_by_name_or_number(mock, model, bot_id):
    add_current(mock, CURRENT_ANSWER)
    ChatgptFree(SITE).complete("Hi", model=model)
    assert forms(mock)[0]["bot_id"] == forms(mock, "GET")[1]["bot_id"] == bot_id


NO_SUCH_MODEL = (
    "no model 'gpt-9' on https://site.example/, "
    "which offers ChatGPT 5 Nano (25871), DeepSeek (25872)"
)


def test_an_unknown_model_is_an_error_that_names_the_models_of_the_page(mock):
    add_current(mock, CURRENT_ANSWER)
    with pytest.raises(ValueError) as caught:
        ChatgptFree(SITE).complete("Hi", model="gpt-9")
    assert str(caught.value) == NO_SUCH_MODEL
    assert actions(mock) == ["page"]


def test_a_model_that_the_page_did_not_have_is_looked_for_anew(mock):
    add_current(mock, CURRENT_ANSWER)
    mock.get(SITE + "/", body=CURRENT_PAGE + current_box(7, name="Grok"))
    bot = ChatgptFree(SITE)
    bot.complete("Hi")
    for _ in range(2):
        bot.complete("Hi", model="Grok")
    assert [form["bot_id"] for form in forms(mock)] == ["25871", "7", "7"]
    assert actions(mock) == [
        "page",
        *ASKED_UP_TO["answer"],
        "page",
        *ASKED_UP_TO["answer"],
        *ASKED_UP_TO["answer"],
    ]


def test_a_model_that_is_not_there_on_the_second_look_is_an_error(mock):
    add_current(mock, CURRENT_ANSWER)
    bot = ChatgptFree(SITE)
    bot.complete("Hi")
    with pytest.raises(ValueError) as caught:
        bot.complete("Hi", model="gpt-9")
    assert str(caught.value) == NO_SUCH_MODEL
    assert actions(mock) == ["page", *ASKED_UP_TO["answer"], "page"]


@pytest.mark.parametrize("option", [{"web_search": True}, {"image": PNG}], ids=["search", "image"])
def test_what_the_page_did_not_offer_is_looked_for_anew(mock, option):
    add_current(mock, CURRENT_ANSWER)
    mock.get(SITE + "/", body=OPENAI)
    bot = ChatgptFree(SITE)
    bot.complete("Hi")
    assert bot.complete("Hi", **option) == "Hello, wörld 🌍"
    assert actions(mock) == ["page", *ASKED_UP_TO["answer"], "page", *ASKED_UP_TO["answer"]]


def test_a_bot_of_the_page_can_have_the_name_of_an_alias(mock):
    add_current(mock, CURRENT_ANSWER, page=CURRENT_PAGE + current_box(3, name="gpt-4o-mini"))
    ChatgptFree(SITE).complete("Hi", model="gpt-4o-mini")
    assert forms(mock)[0]["bot_id"] == "3"


def test_classic_sites_decide_the_model_themselves(mock):
    add_classic(mock, CLASSIC_ANSWER)
    assert ChatgptFree(SITE).complete("Hi", model="anything") == "Hello, wörld 🌍"
    assert "anything" not in forms(mock)[0].values()


def test_models_are_listed(mock):
    mock.get(SITE + "/", body=CURRENT_PAGE)
    mock.get(SITE + "/classic", body=CLASSIC_PAGE)
    assert ChatgptFree(SITE).list_models() == ["ChatGPT 5 Nano", "DeepSeek"]
    assert ChatgptFree(SITE + "/classic").list_models() == ["gpt-4o-mini-2024-07-18"]


def test_models_are_listed_as_the_page_has_them_now(mock):
    add_current(mock, CURRENT_ANSWER)
    mock.get(SITE + "/", body=current_box(7, nonce="fresh", name="Grok"))
    bot = ChatgptFree(SITE)
    assert bot.list_models() == ["ChatGPT 5 Nano", "DeepSeek"]
    assert bot.list_models() == ["Grok"]
    bot.complete("Hi")
    assert (forms(mock)[0]["bot_id"], forms(mock)[0]["_ajax_nonce"]) == ("7", "fresh")
    assert actions(mock) == ["page", "page", *ASKED_UP_TO["answer"]]


TWINS = current_box(1, name="Twin") + current_box(2, name="Other") + current_box(3, name="Twin")


def test_bots_of_one_name_are_listed_with_their_numbers():
    bot = ChatgptFree(SITE, session=StubSession(TWINS))
    assert bot.list_models() == ["Twin (1)", "Other", "Twin (3)"]


@pytest.mark.parametrize(("model", "bot_id"), [("Twin", "1"), ("twin (3)", "3")])
def test_one_of_the_bots_of_one_name_is_found_by_its_number(mock, model, bot_id):
    add_current(mock, CURRENT_ANSWER, page=TWINS)
    ChatgptFree(SITE).complete("Hi", model=model)
    assert forms(mock)[0]["bot_id"] == bot_id


def test_a_bots_title_is_unescaped_and_found_by_either_name(mock):
    page = CURRENT_PAGE + current_box(7, name="Q &amp; A &#8211; <b>")
    add_current(mock, CURRENT_ANSWER, page=page)
    bot = ChatgptFree(SITE)
    assert bot.list_models()[-1] == "Q & A – <b>"
    bot.complete("Hi", model="q & a – <B>")
    assert forms(mock)[0]["bot_id"] == "7"


def test_a_bot_with_a_blank_name_goes_by_its_number():
    page = current_box(1, name="First") + current_box(2, name=" ")
    assert ChatgptFree(SITE, session=StubSession(page)).list_models() == ["First", "2"]


# ----------------------------------------------------- Requests: options, given once or with a call


def stub_with_bots():
    """A session with a site of two bots that offer everything."""
    google = current_box(2, name="Gemini", imageUploadEnabledUI=1, allowGoogleSearchGrounding=1)
    return StubSession(OPENAI + google, CURRENT_ANSWER)


CALLERS = {  # each way to ask
    "stream": lambda bot, **own: list(bot.stream("Hi", **own)),
    "complete": lambda bot, **own: bot.complete("Hi", **own),
    "list_models": lambda bot, **own: bot.list_models(**own),
    "conversation's complete": lambda bot, **own: bot.conversation().complete("Hi", **own),
    "conversation": lambda bot, **own: list(bot.conversation(**own).stream("Hi")),
}
each_way = pytest.mark.parametrize("ask", CALLERS.values(), ids=CALLERS)


# What the command line calls each option. It has none for those that are `requests`' own.
IN_THE_TERMINAL = {
    "model": "--model",
    "proxy": "--proxy",
    "timeout": "--timeout",
    "cookies": "--cookie",
    "image": "--image",
    "web_search": "--search",
    "max_time": "--max-time",
    "headers": "--header",
    **dict.fromkeys(["proxies", "auth", "hooks", "cert", "verify"]),
}


def test_each_list_of_the_options_has_them_all(capsys):
    """The rules, the types, the signature, the help of the command line, and the list above."""
    with pytest.raises(TypeError) as caught:
        ChatgptFree(NOBODY).stream("Hi", timout=3)
    _, _, named = str(caught.value).partition("; the options are ")
    # the fields of the classes that only type checkers execute
    source = pathlib.Path(MODULE).read_text(encoding="utf-8")
    for_type_checkers = source.partition("\nif TYPE_CHECKING:")[2].partition("\nelse:")[0]
    hinted = dict(re.findall(r"(?m)^ {8}(\w+): (.+)$", for_type_checkers))
    parameters = inspect.signature(ChatgptFree.stream).parameters
    in_signature = {name: parameters[name].annotation for name in parameters if name in hinted}
    assert set(named.split(", ")) == set(hinted) == set(IN_THE_TERMINAL)
    assert in_signature.items() <= hinted.items()
    assert set(parameters) == {"self", "messages", "kwargs", *in_signature}
    requests_own = {"headers", *(name for name, flag in IN_THE_TERMINAL.items() if flag is None)}
    assert set(hinted) - set(in_signature) == requests_own
    with pytest.raises(SystemExit):
        main(["--help"])
    flags = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert flags >= {flag for flag in IN_THE_TERMINAL.values() if flag}


def test_every_request_is_a_stream_without_redirects_and_has_each_header_once():
    session = StubSession(CLASSIC_PAGE, CLASSIC_ANSWER)
    headers = {"accept-encoding": "gzip", "X": "y"}
    ChatgptFree(SITE, session=session).complete("Hi", headers=headers)
    assert len(session.options) == 2
    for options in session.options:
        assert (options["stream"], options["allow_redirects"]) == (True, False)
        sent = {name.lower(): value for name, value in options["headers"].items()}
        assert len(sent) == len(options["headers"])
        assert (sent["accept-encoding"], sent["x"]) == ("gzip", "y")


def as_proxies(url):
    return {"http": url, "https": url}


OPTIONS_OF_REQUESTS = {  # the client's, and a call's own
    "timeout": (30, 120),
    "cookies": ({"a": "1"}, {"b": "2"}),
    "auth": (("a", "1"), ("b", "2")),
    "cert": ("a.pem", "b.pem"),
    "verify": ("a.pem", True),
    "hooks": ({"response": []}, {}),
    "proxies": (as_proxies("http://a:1"), {"http": "http://b:1"}),
}


@pytest.mark.parametrize("name", OPTIONS_OF_REQUESTS)
def test_an_option_goes_with_every_request_and_a_calls_own_wins(name):
    default, own = OPTIONS_OF_REQUESTS[name]
    # None means: as the client has it
    for given, expected in (({}, default), ({name: None}, default), ({name: own}, own)):
        session = stub_with_bots()
        ChatgptFree(SITE, session=session, **{name: default}).complete("Hi", **given)
        assert [options[name] for options in session.options] == [expected] * 3


@each_way
def test_an_option_can_be_given_once_or_with_each_way_to_ask(ask):
    for given, expected in (({}, 30), ({"timeout": None}, 30), ({"timeout": 7}, 7)):
        session = stub_with_bots()
        ask(ChatgptFree(SITE, session=session, timeout=30), **given)
        assert {options["timeout"] for options in session.options} == {expected}


PROXY_A, PROXY_B = {"proxy": "http://a:1"}, {"proxy": "http://b:1"}
PROXIES_A, PROXIES_B = {"proxies": {"http": "http://a:1"}}, {"proxies": {"http": "http://b:1"}}


@pytest.mark.parametrize(
    ("default", "own", "used"),
    [
        (PROXY_A, PROXY_B, as_proxies("http://b:1")),
        (PROXY_A, PROXIES_B, PROXIES_B["proxies"]),
        (PROXIES_A, PROXY_B, as_proxies("http://b:1")),
    ],
    ids=["another proxy", "proxies", "proxy"],
)
def test_a_calls_own_proxy_wins_in_whichever_way_it_is_given(default, own, used):
    session = stub_with_bots()
    ChatgptFree(SITE, session=session, **default).complete("Hi", **own)
    assert [options["proxies"] for options in session.options] == [used] * 3


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, ("2", True, True)),
        ({"model": None, "image": None, "web_search": None}, ("2", True, True)),
        ({"model": "GPT", "web_search": False}, ("1", True, False)),
    ],
    ids=["nothing", "None", "its own"],
)
def test_model_image_and_web_search_can_be_given_once_too(own, expected):
    session = stub_with_bots()
    bot = ChatgptFree(SITE, session=session, model="Gemini", image=PNG, web_search=True)
    bot.complete("Hi", **own)
    _, first, second = session.fields
    searches = bool(SEARCH_FIELDS & second.keys())
    assert (first["bot_id"], "image_inputs" in first, searches) == expected


def test_list_models_is_not_troubled_by_a_default_that_it_has_no_use_for(mock):
    mock.get(SITE + "/", body=OPENAI + GOOGLE)
    bot = ChatgptFree(SITE, model="Gemini", image="missing.png", web_search=True)
    assert bot.list_models() == ["GPT", "Gemini"]


def test_headers_are_merged_whatever_the_case_of_their_names():
    session = stub_with_bots()
    default = {"User-Agent": "default", "x-kept": "kept", "X-Gone": "default"}
    bot = ChatgptFree(SITE, session=session, headers=default)
    bot.complete("Hi", headers={"user-AGENT": "own", "X-New": "new", "x-gone": None})
    for options in session.options:
        sent = {name.lower(): value for name, value in options["headers"].items()}
        assert len(sent) == len(options["headers"])
        expected = {"user-agent": "own", "x-kept": "kept", "x-gone": None, "x-new": "new"}
        assert expected.items() <= sent.items()
        assert "accept" in sent


def test_headers_of_client_conversation_and_message_are_merged():
    session = stub_with_bots()
    bot = ChatgptFree(SITE, session=session, headers={"X-A": "1", "X-B": "1", "X-C": "1"})
    chat = bot.conversation(headers={"x-b": "2", "x-c": "2"})
    chat.complete("Hi", headers={"X-C": "3"})
    chat.complete("Hi")
    sent = [
        {name.lower(): value for name, value in options["headers"].items()}
        for options in session.options
    ]
    values = [headers["x-a"] + headers["x-b"] + headers["x-c"] for headers in sent]
    assert values == ["123"] * 3 + ["122"] * 2


def test_no_call_changes_what_the_caller_or_the_client_has():
    headers, own = {"X-A": "1"}, {"x-a": "2"}
    session = stub_with_bots()
    bot = ChatgptFree(SITE, session=session, headers=headers)
    chat = bot.conversation(timeout=3)
    for ask in (chat.complete, bot.complete):
        ask("Hi", headers=own, timeout=7)
    assert (headers, own) == ({"X-A": "1"}, {"x-a": "2"})
    session.options.clear()
    for ask in (chat.complete, bot.complete):
        ask("Hi")
    sent = [(options["headers"]["X-A"], options["timeout"]) for options in session.options]
    assert sent == [("1", 3), ("1", 3), ("1", (20.0, 120.0)), ("1", (20.0, 120.0))]


def test_positional_arguments_win_too():
    session = stub_with_bots()
    defaults = {"model": "Gemini", "proxy": "http://a:1", "timeout": 30, "cookies": {"a": "1"}}
    bot = ChatgptFree(SITE, session=session, **defaults)
    bot.complete("Hi", "GPT")
    list(bot.stream("Hi", "GPT", "http://b:1", 120, {"b": "2"}))
    assert [fields["bot_id"] for fields in session.fields if fields] == ["1"] * 4
    options = session.options[-1]
    sent = (options["proxies"]["https"], options["timeout"], options["cookies"])
    assert sent == ("http://b:1", 120, {"b": "2"})


TIME_OUTS = {  # and what `requests` gets
    "nobody gives one": ({}, (20.0, 120.0)),
    "for ever": ({"timeout": math.inf}, None),
    "more than a socket takes": ({"timeout": 1e300}, None),
    "for ever after connecting": ({"timeout": (3, math.inf)}, (3, None)),
    "for ever while connecting": ({"timeout": (None, 30)}, (None, 30)),
}


@pytest.mark.parametrize(("given", "sent"), TIME_OUTS.values(), ids=TIME_OUTS)
def test_reading_has_120_seconds_and_connecting_20_unless_told(given, sent):
    session = stub_with_bots()
    ChatgptFree(SITE, session=session, **given).complete("Hi")
    assert [options["timeout"] for options in session.options] == [sent] * 3


def test_with_an_image_connecting_has_120_seconds_too():
    """It is also the time for sending all of a request."""
    session = StubSession(OPENAI, CURRENT_ANSWER)
    ChatgptFree(SITE, session=session).complete("Hi", image=PNG)
    assert [options["timeout"] for options in session.options] == [120.0] * 3


SEARCHES = current_box(1, allowWebSearchTool=True, webToggleDefaultOn=True)
SEARCHED = {  # pages with what a call says, and whether it searches
    "None, the page has it on": (SEARCHES, None, True),
    "False, the page has it on": (SEARCHES, False, False),
    "None, the page has it off": (OPENAI, None, False),
    "True, the page has it off": (OPENAI, True, True),
    "True, a switch of text": (current_box(1, allowWebSearchTool="True"), True, True),
    "True, a switch of a digit": (current_box(1, allowWebSearchTool=1), True, True),
    "None, on without an offer": (current_box(1, webToggleDefaultOn=True), None, False),
    "False, without an offer": (current_box(1), False, False),
}


@pytest.mark.parametrize(("page", "web_search", "is_searching"), SEARCHED.values(), ids=SEARCHED)
def test_a_search_is_made_as_the_page_has_it_unless_told(page, web_search, is_searching):
    session = StubSession(page, CURRENT_ANSWER)
    ChatgptFree(SITE, session=session).complete("Hi", web_search=web_search)
    assert ("frontend_web_search_active" in session.fields[-1]) is is_searching


# -------------------------------------------------- Requests: mistakes are named before any request


TAKING_OPTIONS = {  # each function that takes options, as a function of the options alone
    "stream": lambda **own: ChatgptFree(NOBODY).stream("Hi", **own),
    "complete": lambda **own: ChatgptFree(NOBODY).complete("Hi", **own),
    "list_models": lambda **own: ChatgptFree(NOBODY).list_models(**own),
    "conversation": lambda **own: ChatgptFree(NOBODY).conversation(**own),
    "conversation's stream": lambda **own: ChatgptFree(NOBODY).conversation().stream("Hi", **own),
    "conversation's complete": (
        lambda **own: ChatgptFree(NOBODY).conversation().complete("Hi", **own)
    ),
    "client": lambda **own: ChatgptFree(NOBODY, **own),
    "with a session": lambda **own: ChatgptFree(NOBODY, session=requests.Session(), **own),
}


@pytest.mark.parametrize("function", TAKING_OPTIONS.values(), ids=TAKING_OPTIONS)
def test_an_unknown_option_and_a_wrong_value_are_named_at_the_call_of_each_function(function):
    with pytest.raises(TypeError, match="unexpected keyword argument 'timout'"):
        function(timout=3)
    with pytest.raises(ValueError, match="timeout must be over 0 seconds, not -1"):
        function(timeout=-1)


WRONG_TYPES = [
    ({"cookies": "a=b"}, "cookies must be a dict or a jar, not str"),
    ({"cookies": {"id": 12345}}, "cookies['id'] must be a str, not int"),
    ({"cookies": {7: "a"}}, "the names of cookies must be str, not int"),
    ({"proxy": {"http": "http://a:1"}}, "proxy must be a str, the URL of one proxy, not dict"),
    ({"proxies": "http://a:1"}, "proxies must be a dict, not str"),
    ({"headers": [("a", "b")]}, "headers must be a dict, not list"),
    ({"headers": {"X-Id": 7}}, "headers['X-Id'] must be a str, not int"),
    ({"hooks": print}, "hooks must be a dict, not builtin_function_or_method"),
    ({"auth": "me:pw"}, "auth must be a tuple of user and password, or a function, not str"),
    ({"timeout": [3, 30]}, "timeout must be a number of seconds, or two in a tuple, not list"),
    ({"timeout": ("3", 30)}, "timeout must be in seconds, a number, not str"),
    ({"max_time": (3, 30)}, "max_time must be a number of seconds, not tuple"),
    ({"max_time": True}, "max_time must be in seconds, a number, not bool"),
    ({"model": 1.5}, "model must be a bot's name or number, not float"),
    ({"web_search": "no"}, "web_search must be True or False, not str"),
    ({"image": 7}, "image must be a path or bytes, not int"),
]

NO_PROXY_URL = "proxy must be a URL such as http://host:port or socks5://host:port"
NO_PROXY_HOST = "proxy must name a host and may name a port: http://host:port"
UNQUOTED = "proxy has a password that needs quoting: say %23 for # and %2F for /"
NOT_ONE_LINE = "{} can't be sent: it must be one line of Latin-1"
NO_HEADER_NAME = "headers[{!r}] can't be sent: its name must be ASCII, without blanks and ':'"
WRONG_VALUES = [
    ({"timeout": 0}, "timeout must be over 0 seconds, not 0"),
    ({"timeout": math.nan}, "timeout must be over 0 seconds, not nan"),
    ({"timeout": (3, 0)}, "timeout must be over 0 seconds, not 0"),
    (
        {"timeout": (1, 2, 3)},
        "timeout has two numbers in its tuple, for connecting and for reading",
    ),
    ({"timeout": 10**400}, "timeout must be a number of seconds that a float can hold"),
    ({"max_time": 0}, "max_time must be over 0 seconds, not 0"),
    ({"proxy": "socks://h:1"}, "proxy begins with socks://: say socks5:// or socks4://"),
    ({"proxy": "me:secret@h:1"}, NO_PROXY_URL),
    ({"proxy": "ftp://me:secret@h:1"}, NO_PROXY_URL),
    ({"proxy": "http://me:secret@:1"}, NO_PROXY_HOST),
    ({"proxy": "http://me:secret@["}, NO_PROXY_HOST),
    ({"proxy": "http://me:secret@h:port"}, NO_PROXY_HOST),
    ({"proxy": "http://me:sec#secret@h:1"}, UNQUOTED),
    ({"proxy": "http://me:sec/secret@h:1"}, UNQUOTED),
    ({"proxy": "http://me:sec?secret@h:1"}, UNQUOTED),
    ({"proxies": {"http": "http://me:sec/secret@h:1"}}, UNQUOTED.replace("proxy", "proxies")),
    ({"proxies": {"all": "me:secret@h:99999"}}, NO_PROXY_HOST.replace("proxy", "proxies")),
    ({"headers": {"X-Key": "secret\nsecret"}}, NOT_ONE_LINE.format("headers['X-Key']")),
    ({"headers": {"X-Key": "secret€"}}, NOT_ONE_LINE.format("headers['X-Key']")),
    ({"headers": {"X-Key": b"secret\r\nsecret"}}, NOT_ONE_LINE.format("headers['X-Key']")),
    ({"cookies": {"id": "secret\nsecret"}}, NOT_ONE_LINE.format("cookies['id']")),
    ({"headers": {"X-Schlüssel": "secret"}}, NO_HEADER_NAME.format("X-Schlüssel")),
    ({"headers": {"": "secret"}}, NO_HEADER_NAME.format("")),
    ({"headers": {" X-Key": "secret"}}, NO_HEADER_NAME.format(" X-Key")),
    ({"headers": {"X-Key: a": "secret"}}, NO_HEADER_NAME.format("X-Key: a")),
]


@pytest.mark.parametrize(
    ("option", "words"), WRONG_TYPES, ids=[ascii(option) for option, _ in WRONG_TYPES]
)
def test_an_option_of_the_wrong_type_is_named_at_the_call(option, words):
    for bot in (ChatgptFree(NOBODY), ChatgptFree(NOBODY, session=stub_with_bots())):
        with pytest.raises(TypeError) as caught:
            bot.stream("Hi", **option)
        assert str(caught.value) == words


@pytest.mark.parametrize(
    ("option", "words"), WRONG_VALUES, ids=[ascii(option)[:50] for option, _ in WRONG_VALUES]
)
def test_a_wrong_value_is_named_at_the_call_and_no_secret_repeated(option, words):
    with pytest.raises(ValueError) as caught:
        ChatgptFree(NOBODY).stream("Hi", **option)
    assert "secret" not in str(caught.value)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    "proxy",
    ["http://h", "https://h:1", "socks5h://h:1", "SOCKS4://h", "http://[::1]:1"]
    + ["http://me:p%23%2F@h:1/", "http://me:p@ss@h"],
)
def test_a_proxy_that_can_be_used_is_taken_as_it_is(proxy):
    session = stub_with_bots()
    ChatgptFree(SITE, session=session, proxy=proxy).complete("Hi")
    assert session.options[0]["proxies"] == {"http": proxy, "https": proxy}


@pytest.mark.parametrize("proxy", [None, "http://h:port", "me:p%2F@h:1", "http://me:p@h:1"])
def test_proxies_whose_password_needs_no_quoting_go_to_requests_as_they_are(proxy):
    session = stub_with_bots()
    ChatgptFree(SITE, session=session, proxies={"https": proxy}).complete("Hi")
    assert session.options[0]["proxies"] == {"https": proxy}


def test_blanks_and_line_ends_around_headers_cookies_and_a_proxy_are_stripped():
    session = stub_with_bots()
    headers = {"X-Key": " \tBearer a b\r\n", "X-Raw": b" raw\n", "X-Gone": None}
    bot = ChatgptFree(SITE, session=session, headers=headers, proxy=" http://h:1\n")
    bot.complete("Hi", headers={"X-Own": "\nown\n"}, cookies={"id": "7 8\n"})
    for options in session.options:
        sent = {name: options["headers"][name] for name in ("X-Key", "X-Raw", "X-Gone", "X-Own")}
        assert sent == {"X-Key": "Bearer a b", "X-Raw": "raw", "X-Gone": None, "X-Own": "own"}
        assert (options["cookies"], options["proxies"]) == ({"id": "7 8"}, as_proxies("http://h:1"))


def test_an_address_that_is_no_str_is_a_typeerror():
    with pytest.raises(TypeError, match="url must be a str, not int"):
        ChatgptFree(7)


@pytest.mark.parametrize(
    "address",
    ["", "site.example", "site.example:8080/chat", "ftp://site.example/", "http://"]
    + ["https://a..b/", "\x01http://site.example/\x1b[2J"],
    ids=ascii,
)
def test_what_is_no_address_is_refused_in_the_constructor(address):
    with pytest.raises(ValueError, match="http:// or https://"):
        ChatgptFree(address)


def test_blanks_around_an_address_are_stripped(mock):
    add_current(mock, CURRENT_ANSWER)
    bot = ChatgptFree(f"\t {SITE} \r\n")
    assert (bot.url, bot.complete("Hi")) == (SITE, "Hello, wörld 🌍")


# ------------------------------------------------------ Requests: refusals, and what is asked again


EXPIRED = {
    "status": 403,
    "body": "<p>The link you followed has expired.</p>",
    "content_type": "text/html",
}
CHALLENGE = {
    "status": 403,
    "body": "<title>Just a moment...</title>",
    "headers": {"cf-mitigated": "challenge"},
}
HEADING = "<title>Oh</title><nav>Menu</nav><h1>Oh</h1><p>Later"
ADVERT = "<title>Not found</title><div>Shop Blog About</div><h1>Nothing here"
PLAIN_WARNING = "PHP Warning:  Undefined variable $x in /a.php on line 1\n"
STYLE = "<style>p {}</style><h1>Not\n now</h1><script>quota()</script>"
NO = json.dumps({"status": "error", "msg": "No."})
NOT_TAKEN = "0 (the plugin is off or has changed, or the prompt is over the server's limit)"
REFUSALS = {  # and their words
    "zero": (400, "0", NOT_TAKEN),
    "heading": (500, HEADING, "Oh Later"),
    "title alone": (500, "<title>Oh no</title><p></p>", "Oh no"),
    "404": (404, ADVERT, "Not found"),
    "plain warnings": (500, PLAIN_WARNING * 9 + "Oh no", "Oh no"),
    "warnings and JSON": (500, WARNING * 30 + NO, "No."),
    "style and script": (502, STYLE, "Not now"),
    "like a style": (502, "<style-box>Not <nav-bar>now", "Not now"),
    "like a title": (502, "<p>a <title-bar>b</title-bar>", "a b"),
}


@pytest.mark.parametrize(("status", "body", "words"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_has_its_status_and_the_words_of_the_site_in_short(mock, status, body, words):
    add_classic(mock, {"status": status, "body": body})
    with pytest.raises(ChatgptFreeError) as caught:
        ChatgptFree(SITE).complete("Hi")
    assert told(caught.value) == (ChatgptFreeError, f"HTTP {status}: {words}")
    assert caught.value.partial == ""


WITHOUT_WORDS = '{"success": false, "data": {"code": "x", "message": ""}}'
WORDLESS_REFUSALS = {  # and their words
    "its own reason": (500, "Oh No", "", "Oh No"),
    "a long one": (500, "\x1b[2J" + "x" * 65_000, "", f"[2J{'x' * 296}"),
    "no reason": (503, None, "<p> </p>", "Service Unavailable"),
    "no reason that is known": (599, "", "", "no words"),
    "JSON": (403, "", WITHOUT_WORDS, WITHOUT_WORDS),
}


@pytest.mark.parametrize(
    ("status", "reason", "body", "words"), WORDLESS_REFUSALS.values(), ids=WORDLESS_REFUSALS
)
def test_a_refusal_without_words_is_told_by_its_status(status, reason, body, words):
    def respond(*pieces, url):
        response = Answer(body, url=url, status=status)
        response.reason = reason
        return response

    with pytest.raises(ChatgptFreeError) as caught:
        ChatgptFree(SITE, session=StubSession("", respond=respond)).complete("Hi")
    assert told(caught.value) == (ChatgptFreeError, f"HTTP {status}: {words}")


@pytest.mark.parametrize("ask", ["complete", "list_models"])
def test_a_refused_page_is_told_like_a_refused_answer(mock, ask):
    mock.get(SITE + "/", status=403, body="<h1>Forbidden</h1>" + classic_box())
    with pytest.raises(ChatgptFreeError) as caught:
        CALLERS[ask](ChatgptFree(SITE))
    assert told(caught.value) == (ChatgptFreeError, "HTTP 403: Forbidden")


# For each kind of error: IS_LOOKED_UP_AGAIN. Where connections are shared: LOOKED_UP.
LOOKED_UP_AFTER = {  # what a site sends in place of an answer
    "expired": EXPIRED,
    "gone": {"status": 400, "body": "0"},
    "500": {"status": 500, "body": "<p>Out of order"},
    "an error": {"json": {"status": "error", "msg": "Nonce verification failed"}},
    "a disguised error": {"body": INVALID + DISGUISED_STOP},
    "an empty answer": {"body": ROLE + STOP + DONE},
    "nothing": {"body": ""},
}


@pytest.mark.parametrize("refusal", LOOKED_UP_AFTER.values(), ids=LOOKED_UP_AFTER)
def test_a_refusing_classic_site_is_asked_again_if_its_chat_changed(mock, refusal):
    add_classic(mock, refusal, CLASSIC_ANSWER)
    mock.get(SITE + "/", body=classic_box(nonce="fresh"))
    bot = ChatgptFree(SITE)
    assert bot.complete("Hi") == "Hello, wörld 🌍"
    assert [form["_wpnonce"] for form in forms(mock)] == ["c10d44dafd", "fresh"]
    assert bot._nonce == "fresh"


OTHER_IDS = {  # two pages, and how their chats are asked for a ticket or an answer
    "bot": (CURRENT_PAGE, current_box(7), [(AJAX, "25871"), (AJAX, "7")]),
    "post id": (CURRENT_PAGE, current_box(postId=262), [(AJAX, "25871")] * 2),
    "address": (
        CURRENT_PAGE,
        current_box(ajax_url=IN_FOLDER),
        [(AJAX, "25871"), (IN_FOLDER, "25871")],
    ),
    "action": (
        CLASSIC_PAGE,
        classic_box(css_class="wpaicg-chatbox"),
        [(AJAX, "wpaicg_chat_shortcode_message"), (AJAX, "wpaicg_chatbox_message")],
    ),
}


@pytest.mark.parametrize(("before", "after", "asked"), OTHER_IDS.values(), ids=OTHER_IDS)
def test_a_refused_question_is_sent_again_to_a_chat_with_other_ids(mock, before, after, asked):
    mock.get(SITE + "/", body=before)
    mock.get(SITE + "/", body=after)
    mock.post(AJAX, **EXPIRED)
    mock.post(IN_FOLDER, **EXPIRED)
    with pytest.raises(ChatgptFreeError):
        ChatgptFree(SITE).complete("Hi")
    sent = [(call.request.url, fields_of(call.request)) for call in mock.calls]
    which = "action" if before == CLASSIC_PAGE else "bot_id"
    assert [(url, form[which]) for url, form in sent if "message" in form] == asked


OFFERS = {"allowWebSearchTool": True, "imageUploadEnabledUI": True, "webToggleDefaultOn": True}
SAME_CHATS = {
    "other offers": (current_box(), current_box(**OFFERS)),
    "another name": (current_box(name="GPT"), current_box(name="Ann", starters=["Hi"])),
    "another bot beside it": (current_box(), CURRENT_PAGE),
    "classic": (CLASSIC_PAGE, "<p>News</p>" + CLASSIC_PAGE),
}


@pytest.mark.parametrize(("before", "after"), SAME_CHATS.values(), ids=SAME_CHATS)
def test_a_refused_question_is_not_sent_again_to_the_same_chat(mock, before, after):
    mock.get(SITE + "/", body=before)
    mock.get(SITE + "/", body=after)
    mock.post(AJAX, **EXPIRED)
    with pytest.raises(ChatgptFreeError) as caught:
        ChatgptFree(SITE).complete("Hi")
    assert str(caught.value) == "HTTP 403: The link you followed has expired."
    assert len(page_requests(mock)) == 2
    assert len([form for form in forms(mock) if "message" in form]) == 1


FRESH_LOOKS = {  # the page that is asked, and the requests for it before and after a refusal
    "no query": ("/", ["/"], [r"/\?_=(\d+)"]),
    "a query": ("/a/?b=c&x=", ["/a/?b=c&x="], [r"/a/\?b=c&x=&_=(\d+)"]),
    "moved": ("/old/", ["/old/", "/b/?p=2"], [r"/old/\?_=\d+", r"/b/\?p=2&_=(\d+)"]),
}


@pytest.mark.parametrize("page", [CLASSIC_PAGE, CURRENT_PAGE], ids=["classic", "current"])
@pytest.mark.parametrize(("home", "first", "then"), FRESH_LOOKS.values(), ids=FRESH_LOOKS)
def test_after_a_refusal_caches_are_avoided_by_a_query_with_the_time(mock, page, home, first, then):
    def respond(request):
        if "/old/" in request.url:
            return 302, {"Location": "/b/?p=2"}, ""
        return 200, {}, page

    mock.add_callback("GET", re.compile(SITE), respond)
    mock.post(AJAX, **EXPIRED)
    with pytest.raises(ChatgptFreeError):
        ChatgptFree(SITE + home).complete("Hi")
    asked = [call.request.url for call in mock.calls if call.request.method == "GET"]
    assert asked[: len(first)] == [SITE + address for address in first]
    matches = [re.fullmatch(SITE + address, url) for address, url in zip(then, asked[len(first) :])]
    assert len(asked) == len(first) + len(then)
    assert all(matches)
    assert abs(int(matches[-1][1]) / 1000 - time.time()) < 60


def test_a_site_that_redirects_the_query_away_is_asked_without_it(mock):
    def respond(request):
        if "?_=" in request.url:
            return 301, {"Location": SITE + "/"}, ""
        return 200, {}, classic_box(nonce=nonces.pop(0))

    nonces = ["old", "new"]
    mock.add_callback("GET", re.compile(SITE + "/"), respond)
    mock.post(AJAX, **EXPIRED)
    mock.post(AJAX, **as_response(CLASSIC_ANSWER))
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"
    assert [form["_wpnonce"] for form in forms(mock)] == ["old", "new"]


@pytest.mark.parametrize(
    "look",
    [{"status": 500}, {"body": "no chat"}, {"body": requests.ConnectionError("gone")}],
    ids=["500", "no chat", "network"],
)
def test_if_the_chat_cannot_be_looked_up_again_the_first_error_is_raised(mock, look):
    add_classic(mock, EXPIRED)
    mock.get(SITE + "/", **look)
    with pytest.raises(ChatgptFreeError) as caught:
        ChatgptFree(SITE).complete("Hi")
    words = "HTTP 403: The link you followed has expired."
    assert told(caught.value) == (ChatgptFreeError, words)


def test_a_second_refusal_is_final(mock):
    add_classic(mock, EXPIRED, {"status": 500, "body": "Out of order"}, CLASSIC_ANSWER)
    mock.get(SITE + "/", body=classic_box(nonce="fresh"))
    mock.get(SITE + "/", body=classic_box(nonce="fresher"))
    with pytest.raises(ChatgptFreeError, match="^HTTP 500: Out of order$"):
        ChatgptFree(SITE).complete("Hi")
    assert len(forms(mock)) == 2


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ({"status": 429, "body": "Slow down"}, RateLimitError),
        (CHALLENGE, BlockedError),
        ({"body": requests.ConnectionError()}, requests.ConnectionError),
        ({"body": chunk("Hello")}, IncompleteReplyError),
    ],
    ids=["limit", "check", "network", "broken off"],
)
def test_after_a_limit_a_check_a_break_or_some_text_the_chat_is_not_looked_up_again(
    mock, failure, kind
):
    add_classic(mock, failure, CLASSIC_ANSWER)
    mock.get(SITE + "/", body=classic_box(nonce="fresh"))
    with pytest.raises(kind):
        ChatgptFree(SITE).complete("Hi")
    assert (len(page_requests(mock)), len(forms(mock))) == (1, 1)


def renewed(nonce):
    """What the nonce action gives."""
    return 200, {}, json.dumps({"success": True, "data": {"nonce": nonce}})


FRESH = renewed("fresh")[-1]
CHECK_FAILED = "セキュリティチェックに失敗しました"


def current_site(mock, renewal, refused="ticket", pages=(CURRENT_PAGE,)):
    """A site of the current protocol.

    It takes the nonce "fresh". With others it refuses the ticket or the answer.
    """

    def ajax(request):
        form = fields_of(request)
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            return renewal
        good = form["_ajax_nonce"] == "fresh"
        if form["action"] == "aipkit_cache_sse_message":
            if good or refused == "answer":
                return 200, {}, TICKET
            failure = {"message": CHECK_FAILED, "code": "nonce_failure_cache_sse"}
            return 403, {}, json.dumps({"success": False, "data": failure})
        return 200, {}, CURRENT_ANSWER if good else error_event(CHECK_FAILED)

    for page in pages:
        mock.get(SITE + "/", body=page)
    mock.add_callback("POST", AJAX, ajax)
    mock.add_callback("GET", AJAX, ajax)


@pytest.mark.parametrize("refused", ["ticket", "answer"])
def test_a_refusing_current_site_is_asked_again_with_a_fresh_nonce(mock, refused):
    current_site(mock, renewed("fresh"), refused)
    assert ChatgptFree(SITE).complete("Hi", model="DeepSeek") == "Hello, wörld 🌍"
    assert actions(mock) == ["page", *ASKED_UP_TO[refused], "get_nonce", *ASKED_UP_TO["answer"]]
    assert {form["bot_id"] for form in forms(mock)} == {"25872"}


NO_RENEWALS = {
    "the same": renewed("5bbad886de"),
    "what cannot be sent": renewed("\0"),
    "no such action": (400, {}, "0"),
    "nonsense": (200, {}, "<p>Hello"),
}


@pytest.mark.parametrize("renewal", NO_RENEWALS.values(), ids=NO_RENEWALS)
def test_a_current_site_that_gives_no_fresh_nonce_may_have_one_in_its_page(mock, renewal):
    current_site(mock, renewal, pages=[CURRENT_PAGE, CURRENT_PAGE.replace("5bbad886de", "fresh")])
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"
    assert actions(mock) == [
        "page",
        *ASKED_UP_TO["ticket"],
        "get_nonce",
        "page",
        *ASKED_UP_TO["answer"],
    ]


@pytest.mark.parametrize(
    ("refused", "words"),
    [("ticket", "HTTP 403: " + CHECK_FAILED), ("answer", CHECK_FAILED)],
    ids=["ticket", "answer"],
)
def test_a_refusing_current_site_is_asked_once_if_nothing_changed(mock, refused, words):
    current_site(mock, renewed("5bbad886de"), refused)
    with pytest.raises(ChatgptFreeError) as caught:
        ChatgptFree(SITE).complete("Hi")
    assert told(caught.value) == (ChatgptFreeError, words)
    assert actions(mock) == ["page", *ASKED_UP_TO[refused], "get_nonce", "page"]


def test_a_renewed_nonce_that_is_refused_too_is_an_error(mock):
    current_site(mock, renewed("as bad"))
    with pytest.raises(ChatgptFreeError) as caught:
        ChatgptFree(SITE).complete("Hi")
    assert told(caught.value) == (ChatgptFreeError, "HTTP 403: " + CHECK_FAILED)
    assert actions(mock) == ["page", *ASKED_UP_TO["ticket"], "get_nonce", *ASKED_UP_TO["ticket"]]


def test_a_renewed_nonce_serves_every_bot(mock):
    current_site(mock, renewed("fresh"))
    bot = ChatgptFree(SITE)
    bot.complete("Hi", model="DeepSeek")
    bot.complete("Hi")
    assert actions(mock).count("get_nonce") == 1


class ChangingSite:
    """A site whose plugin or bots change.

    `page` is what it shows now, `bots` are those that it has. Without bots it is classic.
    """

    def __init__(self, mock):
        mock.add_callback("GET", SITE + "/", lambda request: (200, {}, self.page))
        mock.add_callback("POST", AJAX, self.ajax)
        mock.add_callback("GET", AJAX, self.ajax)

    def has(self, page, *bots):
        self.page, self.bots = page, bots

    def ajax(self, request):
        form = fields_of(request)
        if form["action"].startswith("wpaicg") == bool(self.bots):
            return 400, {}, "0"
        if not self.bots:
            return 200, {}, chunk("classic") + DONE
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            return renewed("5bbad886de")
        if form["action"] == "aipkit_cache_sse_message":
            return 200, {}, TICKET
        if form["bot_id"] not in self.bots:
            return 200, {}, error_event("Invalid chatbot specified.")
        return 200, {}, data({"delta": "bot " + form["bot_id"]}) + CURRENT_DONE


def test_a_client_works_on_after_the_plugin_was_updated_or_put_back(mock):
    site = ChangingSite(mock)
    site.has(CLASSIC_PAGE)
    bot = ChatgptFree(SITE)
    assert bot.complete("Hi") == "classic"
    site.has(CURRENT_PAGE, "25871", "25872")
    assert bot.complete("Hi") == "bot 25871"
    site.has(CLASSIC_PAGE)
    assert bot.complete("Hi") == "classic"


@pytest.mark.parametrize(
    ("model", "answers"),
    [(None, ["25871", "7"]), ("DeepSeek", ["25872", "8"])],
    ids=["the first bot", "by name"],
)
def test_a_client_works_on_after_a_bot_was_replaced(mock, model, answers):
    site = ChangingSite(mock)
    site.has(CURRENT_PAGE, "25871", "25872")
    bot = ChatgptFree(SITE)
    assert bot.complete("Hi", model=model) == "bot " + answers[0]
    site.has(current_box(7) + current_box(8, name="DeepSeek"), "7", "8")
    assert bot.complete("Hi", model=model) == "bot " + answers[1]


def test_if_a_bot_is_gone_for_good_the_error_names_those_that_are_there(mock):
    site = ChangingSite(mock)
    site.has(CURRENT_PAGE, "25871", "25872")
    bot = ChatgptFree(SITE)
    bot.complete("Hi", model="DeepSeek")
    site.has(current_box(), "25871")
    with pytest.raises(ValueError, match=r"no model 'DeepSeek' on .* ChatGPT 5 Nano \(25871\)"):
        bot.complete("Hi", model="DeepSeek")


SCRIPT = '<h1>Oh no</h1><script>\n{"@context": 1}\n</script>'
NO_TICKETS = {  # and their words
    "failure": (403, json.dumps(FAILURE), "Not here."),
    "script": (500, SCRIPT, "Oh no"),
    "HTML": (200, "<p>Down", "Down"),
    "no ticket": (200, '{"data": {}}', '{"data": {}}'),
    "plain words": (200, '{"success": false, "data": "Sorry"}', "Sorry"),
    "nothing": (200, "", "OK"),
}


@pytest.mark.parametrize(("status", "body", "words"), NO_TICKETS.values(), ids=NO_TICKETS)
def test_an_error_in_place_of_a_ticket_has_the_sites_words(mock, status, body, words):
    mock.get(SITE + "/", body=CURRENT_PAGE)
    mock.post(AJAX, status=status, body=body)
    with pytest.raises(ChatgptFreeError) as caught:
        ChatgptFree(SITE).complete("Hi")
    assert told(caught.value) == (ChatgptFreeError, f"HTTP {status}: {words}")
    assert actions(mock) == ["page", *ASKED_UP_TO["ticket"], "get_nonce", "page"]


def test_warnings_before_a_ticket_are_ignored(mock):
    mock.get(SITE + "/", body=CURRENT_PAGE)
    mock.post(AJAX, body="\ufeff" + WARNING + TICKET)
    mock.get(AJAX, body=CURRENT_ANSWER)
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"


@pytest.mark.parametrize("key", ["\ud800", 7.5], ids=ascii)
def test_a_ticket_that_cannot_be_sent_is_the_sites_error(mock, key):
    mock.get(SITE + "/", body=CURRENT_PAGE)
    mock.post(AJAX, json={"success": True, "data": {"cache_key": key}})
    with pytest.raises(ChatgptFreeError, match="^HTTP 200: "):
        ChatgptFree(SITE).complete("Hi")


def test_after_an_error_the_object_can_be_used_again(mock):
    gone = {"body": requests.ConnectionError("gone")}
    add_classic(mock, chunk("Hel"), {"status": 500}, gone, CLASSIC_ANSWER)
    bot = ChatgptFree(SITE)
    for kind in (IncompleteReplyError, ChatgptFreeError, requests.ConnectionError):
        with pytest.raises(kind):
            bot.complete("Hi")
    assert bot.complete("Hi") == "Hello, wörld 🌍"


# ----------------------------------------------------------- Requests: hosts, secrets and redirects


def redirect_to(url):
    """A page or an answer that redirects there."""
    return lambda handler, *_: handler.whole("", 302, Location=url)


SECRETS = {"cookies": {"secret": "1"}, "headers": {"X-Secret": "1"}, "auth": ("me", "secret")}


def with_password(site):
    return site.url.replace("://", "://me:p%40ss-secret@")


def assert_it_shows_no_secret(caught):
    """Neither does the traceback."""
    lines = traceback.format_exception(caught.type, caught.value, caught.tb)
    assert "secret" not in "".join(lines) + repr(caught.value)


def test_a_redirect_of_the_page_is_followed_and_is_the_origin(mock):
    location = "https://site.example/help/"
    mock.get("http://site.example/", status=301, headers={"Location": location})
    add_classic(mock, CLASSIC_ANSWER, url=location)
    assert ChatgptFree("http://site.example/").complete("Hi") == "Hello, wörld 🌍"
    headers = mock.calls[-1].request.headers
    assert (headers["Origin"], headers["Referer"]) == (SITE, location)


WWW = "https://www.site.example/"
PUNYCODE = "https://xn--bcher-kva.example/"
RAW, QUOTED = "/hé/?ü=ß", SITE + "/h%C3%A9/?%C3%BC=%C3%9F"
SPELLINGS = {  # an address, how it is asked for, where that redirects to, and the page there
    "letters": ("https://BÜCHER.example/", PUNYCODE, None, PUNYCODE),
    "redirect to letters": (PUNYCODE, PUNYCODE, "https://bücher.example/a/", PUNYCODE + "a/"),
    "port": ("https://Site.Example:443/", SITE + ":443/", SITE + "/help/", SITE + "/help/"),
    "fragment": (SITE + "/#top", SITE + "/", None, SITE + "/"),
    "without www.": (WWW, WWW, SITE + "/", SITE + "/"),
    "http to https and www.": (HTTP + "/", HTTP + "/", WWW, WWW),
    "both ports": (HTTP + ":80/", HTTP + ":80/", SITE + ":443/", SITE + ":443/"),
    "a port": (SITE + ":81", SITE + ":81/", "//www.site.example:81/", WWW[:-1] + ":81/"),
    "query": (SITE + "/a/", SITE + "/a/", "?page=2", SITE + "/a/?page=2"),
    "UTF-8": (SITE, SITE + "/", RAW, QUOTED),
    "UTF-8 in an address": (SITE, SITE + "/", SITE + RAW, QUOTED),
}


@pytest.mark.parametrize(("home", "first", "location", "page"), SPELLINGS.values(), ids=SPELLINGS)
def test_cookies_headers_and_auth_reach_a_site_however_its_address_is_spelt(
    mock, home, first, location, page
):
    if location:
        mock.get(first, status=302, headers={"Location": location.encode().decode("latin-1")})
    mock.get(page, body=CLASSIC_PAGE)
    mock.post(urljoin(page, "/wp-admin/admin-ajax.php"), body=CLASSIC_ANSWER)
    ChatgptFree(home).complete("Hi", **SECRETS)
    assert len(mock.calls) == (3 if location else 2)
    for call in mock.calls:
        headers = call.request.headers
        assert (headers["Cookie"], headers["X-Secret"]) == ("secret=1", "1")
        assert headers["Authorization"] == "Basic bWU6c2VjcmV0"
    assert headers["Referer"] == page


def test_a_user_name_in_a_redirect_is_not_sent(mock):
    mock.get(SITE + "/", status=302, headers={"Location": "https://you:other@site.example/help/"})
    add_classic(mock, CLASSIC_ANSWER, url=SITE + "/help/")
    ChatgptFree(SITE).complete("Hi")
    for call in mock.calls:
        assert "Authorization" not in call.request.headers
        assert "other" not in call.request.url + str(call.request.headers)


ANOTHER_SITE = "another site. If you trust it, use that address"
UNENCRYPTED = "which is not encrypted: it was not followed"
OFF_SITE = {
    "subdomain": (SITE, "https://sub.site.example/", ANOTHER_SITE),
    "www.www.": (SITE, "https://www.www.site.example/", ANOTHER_SITE),
    "longer host": (SITE, "https://site.example.other/", ANOTHER_SITE),
    "port": (SITE, "https://site.example:8443/", ANOTHER_SITE),
    "http's port": (SITE, "https://site.example:80/", ANOTHER_SITE),
    "from a port": (SITE + ":8443", "https://site.example/", ANOTHER_SITE),
    "to http": (SITE, "http://site.example/", UNENCRYPTED),
    "to http on a port": (SITE + ":81", "http://site.example:81/", UNENCRYPTED),
}


@pytest.mark.parametrize(("home", "location", "why"), OFF_SITE.values(), ids=OFF_SITE)
def test_a_redirect_off_the_site_is_an_error_that_names_it(mock, home, location, why):
    first = home + "/"
    mock.get(first, status=302, headers={"Location": location})
    with pytest.raises(ChatgptFreeError) as caught:
        ChatgptFree(home).complete("Hi", **SECRETS)
    assert told(caught.value) == (ChatgptFreeError, f"{first} redirects to {location!r}, {why}")
    assert [call.request.url for call in mock.calls] == [first]


@pytest.mark.parametrize(
    ("way", "error"),
    [
        ([HTTP + "/", SITE + "/", HTTP + "/"], UNENCRYPTED),
        ([SITE + "/", WWW, "https://other.example/"], ANOTHER_SITE),
    ],
    ids=["back", "www. and away"],
)
def test_a_redirect_off_the_site_is_an_error_at_each_step(mock, way, error):
    for page, location in zip(way, way[1:]):
        mock.get(page, status=302, headers={"Location": location})
    with pytest.raises(ChatgptFreeError) as caught:
        ChatgptFree(way[0]).complete("Hi", **SECRETS)
    assert str(caught.value) == f"{way[1]} redirects to {way[2]!r}, {error}"
    assert [call.request.url for call in mock.calls] == way[:2]


each_session = pytest.mark.parametrize(
    "session", [lambda: None, requests.Session], ids=["own session", "the caller's"]
)
THERE = "http://localhost:{there}/"
STRANGERS = {  # addresses, and how an error names them; parsers disagree about whose these are
    "host": (THERE, THERE),
    "backslash": (r"http://localhost:{there}\@127.0.0.1:{home}/", THERE + "%5C@127.0.0.1:{home}/"),
    "user name": ("http://127.0.0.1:{home}@localhost:{there}/", THERE),
    "quoted slash": ("http://127.0.0.1:{home}%2F@localhost:{there}/", THERE),
    "fragment": ("http://localhost:{there}#@127.0.0.1:{home}/", THERE),
    "query": ("http://localhost:{there}?@127.0.0.1:{home}/", THERE + "?@127.0.0.1:{home}/"),
}


@pytest.mark.parametrize(("location", "named"), STRANGERS.values(), ids=STRANGERS)
def test_no_spelling_of_another_host_gets_a_request(location, named):
    with Site(echo_classic) as stranger, Site(echo_classic) as site:
        ports = {"there": stranger.server_port, "home": site.server_port}
        site.page = redirect_to(location.format(**ports))
        with pytest.raises(ChatgptFreeError) as caught:
            ChatgptFree(site.url).complete("Hi", **SECRETS)
        redirect = f"{site.url}/ redirects to {named.format(**ports)!r}"
        assert str(caught.value) == f"{redirect}, {ANOTHER_SITE}"
        assert (len(site.asked), stranger.asked) == (1, [])


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("http:\\\\localhost:{there}/", "/%5C%5Clocalhost:{there}/"),
        ("http://127.0.0.1:{home}\\@localhost:{there}/", "/%5C@localhost:{there}/"),
    ],
    ids=["for slashes", "before @"],
)
def test_a_backslash_makes_a_path_of_what_follows(location, path):
    with Site(echo_classic) as stranger, Site(echo_classic) as site:
        ports = {"there": stranger.server_port, "home": site.server_port}
        site.page = in_turn(redirect_to(location.format(**ports)), CLASSIC_PAGE)
        assert ChatgptFree(site.url).complete("Hi") == "Hi"
        assert site.pages() == ["/", path.format(**ports)]
        assert stranger.asked == []


@each_echo
def test_a_password_in_the_address_goes_into_auth_and_nothing_else(answer, page):
    with Site(answer) as site:
        site.page = in_turn(redirect_to(site.url + "/help/"), page)
        assert ChatgptFree(with_password(site)).complete("Hello you") == "Hello you"
        assert {headers["Authorization"] for _, _, headers, _ in site.asked} == {
            "Basic bWU6cEBzcy1zZWNyZXQ="
        }
        assert len(site.asked) > 2
        for _, path, headers, form in site.asked:
            shown = (path, headers["Referer"], headers["Origin"], headers["Host"], form)
            assert "secret" not in str(shown)


FAILING_PAGES = {
    "no chat": "no chat",
    "break": reset_connection,
    "500": lambda handler: handler.whole("<h1>No", 500),
    "challenge": lambda handler: handler.whole(CHALLENGE["body"], 403),
    "loop": redirect_to("/"),
    "nonsense with a password": redirect_to("http://you:othersecret@["),
}


@pytest.mark.parametrize("page", FAILING_PAGES.values(), ids=FAILING_PAGES)
def test_no_error_shows_a_password(page):
    with (
        Site(None, page) as site,
        pytest.raises((ChatgptFreeError, requests.RequestException)) as caught,
    ):
        ChatgptFree(with_password(site)).complete("Hi")
    assert_it_shows_no_secret(caught)


FAILING_PROXIES = {
    "reset": reset_connection,
    "refusal": lambda handler, *_: handler.whole("Who are you?", 407),
    "stall": stall,
}


@pytest.mark.parametrize("fail", FAILING_PROXIES.values(), ids=FAILING_PROXIES)
def test_no_failure_of_a_proxy_shows_its_password(fail):
    with Site(fail, fail) as proxy, pytest.raises(requests.RequestException) as caught:
        bot = ChatgptFree("http://site.example/", timeout=(5, 0.05))
        bot.complete("Hi", proxy=with_password(proxy))
    assert_it_shows_no_secret(caught)


def test_a_redirected_request_shows_no_password_and_is_told_in_short():
    location = "http://you:othersecret@other.example/\x07" + "x" * 5000
    caught = failing_call(answer=redirect_to(location))
    redirect = f"redirects to http://other.example/ {'x' * 178}, which was not followed"
    assert caught.words == f"HTTP 302: http://HOST/wp-admin/admin-ajax.php {redirect}"


@pytest.mark.parametrize(
    "wrong",
    ["ftp://me:secret@site.example/", "https://me:secret@[", "https://me:secret@h:99999/"]
    + ["https://me:secret＠site.example/", "https://me:secret﹫site.example/"]
    # Python takes "／" for "/", and "＠" for "@"
    + ["https://me:secret／secret@site.example/", "https://me＠secret:secret@site.example/"],
    ids=ascii,
)
def test_a_wrong_address_is_refused_without_its_password(wrong):
    with pytest.raises(ValueError, match="may need quoting: say %2F for /$") as caught:
        ChatgptFree(wrong)
    assert "secret" not in str(caught.value)


def authorizations(mock, url=SITE, **options):
    """The header `Authorization` of each request of a call."""
    add_classic(mock, CLASSIC_ANSWER)
    assert ChatgptFree(url).complete("Hi", **options) == "Hello, wörld 🌍"
    return [call.request.headers["Authorization"] for call in mock.calls]


def basic(user, password, encoding="latin-1"):
    login = f"{user}:{password}".encode(encoding)
    return "Basic " + base64.b64encode(login).decode()


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({}, basic("netrc", "netrc")),
        ({"headers": {"authorization": "Bearer a"}}, "Bearer a"),
        ({"url": "https://me:pw@site.example"}, basic("me", "pw")),
    ],
    ids=["nothing", "a header", "in the address"],
)
def test_what_the_caller_gave_beats_the_login_of_netrc(mock, tmp_path, monkeypatch, options, sent):
    (tmp_path / "netrc").write_text("machine site.example login netrc password netrc")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert authorizations(mock, **options) == [sent] * 2


LOGINS = {  # and what goes to the site
    "user alone": ({"url": "https://token@site.example"}, basic("token", "")),
    "password alone": ({"url": "https://:pw@site.example"}, basic("", "pw")),
    "Latin-1": ({"auth": ("me", "Käse")}, basic("me", "Käse")),
    "UTF-8": ({"auth": ("Jörg", "€")}, basic("Jörg", "€", "utf-8")),
    "quoted": ({"url": "https://me:%E2%82%AC@site.example"}, basic("me", "€", "utf-8")),
}


@pytest.mark.parametrize(("options", "sent"), LOGINS.values(), ids=LOGINS)
def test_a_login_is_sent_in_latin_1_or_else_in_utf_8(mock, options, sent):
    assert authorizations(mock, **options) == [sent] * 2


def test_a_page_that_redirects_without_end_is_an_error(mock):
    mock.get(SITE + "/", status=302, headers={"Location": "/"})
    with pytest.raises(requests.TooManyRedirects):
        ChatgptFree(SITE).complete("Hi")
    assert len(mock.calls) == 10


NO_ADDRESSES = {
    "open bracket": "http://[",
    "port of letters": "http://h:port/",
    "dots": "http://a..b/",
    "star": "http://*.example/",
    "no host": "https:///x",
    "bytes": "/\xff\xfe",
    "javascript": "javascript:alert(1)",
    "escapes of a terminal, and a long one": "http://\x1b[2J/" + "x" * 60_000,
}


@pytest.mark.parametrize("location", NO_ADDRESSES.values(), ids=NO_ADDRESSES)
def test_a_page_that_redirects_to_nonsense_is_the_sites_error(location):
    caught = failing_call(redirect_to(location))
    assert caught.type is ChatgptFreeError
    assert "redirects to" in caught.words
    assert caught.words.isprintable()
    assert len(caught.words) < 500


@each_session
@pytest.mark.parametrize("location", ["http://[", "http://\xff\xfe/"], ids=ascii)
def test_an_answer_that_redirects_to_nonsense_is_the_sites_error(session, location):
    caught = failing_call(answer=redirect_to(location), session=session())
    assert caught.type is ChatgptFreeError
    assert "redirects to" in caught.words


def test_a_redirect_to_an_endless_address_is_the_sites_error(mock):
    mock.get(SITE + "/", status=302, headers={"Location": SITE + "/" + "x" * 2000})
    with pytest.raises(ChatgptFreeError, match="which is too long for an address$"):
        ChatgptFree(SITE).complete("Hi")


@pytest.mark.parametrize(
    ("add_site", "status"),
    [(add_classic, status) for status in (301, 302, 303, 307, 308)] + [(add_current, 302)],
)
def test_an_answer_that_is_redirected_is_an_error_and_is_not_followed(mock, add_site, status):
    add_site(mock, {"status": status, "headers": {"Location": "https://other.example/steal"}})
    words = f"^HTTP {status}: .* redirects to https://other.example/steal, which was not followed$"
    with pytest.raises(ChatgptFreeError, match=words):
        ChatgptFree(SITE).complete("Hi")
    assert all(call.request.url.startswith(SITE + "/") for call in mock.calls)


# ------------------------------------------------------ Requests: checks that only a browser passes


def add_ticket_answer(mock, **answer):
    """A site of the current protocol that gives this in place of a ticket."""
    mock.get(SITE + "/", body=CURRENT_PAGE)
    mock.post(AJAX, **answer)


SITEGROUNDS_PAGE = '<meta http-equiv="refresh" content="0;/.well-known/sgcaptcha/?r=%2F&y=ipc:1">'
SUCURI = {"body": "<script>var s={},u,sucuri_cloudproxy_js='',S='cz0i';</script>"}
ANUBIS = '<script id="anubis_challenge" type="application/json">{"rules":{}}</script>'
TESTCOOKIE = '<script>a=toNumbers("f6");document.cookie="__test="+toHex(a);</script>'
CIPHER = (
    "<script>document.write(toHex(slowAES.decrypt(c,2,a,b))); location.href="
    f'"{AJAX}?action=aipkit_frontend_chat_stream&i=1"</script>'
)
IMPERVA = '<iframe src="/_Incapsula_Resource?SWUDNSAI=31&xinfo=1">Request unsuccessful.'
BOT_CHECKS = {
    "Cloudflare's title": {"status": 403, "body": "<title>Just a moment...</title>"},
    "Cloudflare's header": {"status": 503, "headers": {"cf-mitigated": "challenge"}},
    "SiteGround's header": {"status": 202, "headers": {"SG-Captcha": "challenge"}},
    "SiteGround's page": {"status": 202, "body": SITEGROUNDS_PAGE},
    "AWS": {"status": 405, "headers": {"x-amzn-waf-action": "captcha"}},
    "Vercel": {"status": 429, "headers": {"x-vercel-mitigated": "challenge", "Retry-After": "5"}},
    "Sucuri": SUCURI,
    "Imunify360": {"status": 415, "body": "<title>One moment, please...</title>"},
    "Anubis": {"body": ANUBIS},
    "testcookie": {"body": TESTCOOKIE},
    "testcookie's cipher": {"body": CIPHER},
    "LiteSpeed": {"body": '<form action="/.lsrecap/recaptcha">'},
    "Imperva": {"body": IMPERVA},
    "DDoS-Guard": {"body": '<script src="/.well-known/ddos-guard/check?context=1"></script>'},
    "DDoS-Guard's title": {"body": "<title>DDoS-Guard</title>"},
    "DataDome": {"body": '<script src="https://ct.captcha-delivery.com/c.js"></script>'},
    "HUMAN": {"body": '<div id="px-captcha"></div>'},
    "BitNinja": {"body": "<title>Waiting</title>\n<p>A CAPTCHA for you</p>\n<p>by BitNinja</p>"},
    "Bunny": {"body": '<script src="/.bunny-shield/assets/a.js"></script>'},
}


@pytest.mark.parametrize("check", BOT_CHECKS.values(), ids=BOT_CHECKS)
def test_a_check_in_place_of_the_page_says_what_to_do(mock, check):
    mock.get(SITE + "/", **check)
    with pytest.raises(BlockedError) as caught:
        ChatgptFree(SITE).complete("Hi")
    asks = f"HTTP {check.get('status', 200)}: {SITE}/ asks for a check that needs a browser"
    assert str(caught.value) == f"{asks}. {ADVICE}"
    assert actions(mock) == ["page"]


@pytest.mark.parametrize(
    ("page", "check", "who"),
    [
        (CLASSIC_PAGE, CHALLENGE, f"HTTP 403: {AJAX}"),
        (CLASSIC_PAGE, SUCURI, "the site"),
        (CURRENT_PAGE, CHALLENGE, f"HTTP 403: {AJAX}"),
        (CURRENT_PAGE, SUCURI, f"HTTP 200: {AJAX}"),
    ],
    ids=["answer", "words of an answer", "ticket", "words of a ticket"],
)
def test_a_check_anywhere_else_says_what_to_do_and_nothing_is_asked_again(mock, page, check, who):
    mock.get(SITE + "/", body=page)
    mock.post(AJAX, **check)
    with pytest.raises(BlockedError) as caught:
        ChatgptFree(SITE).complete("Hi")
    assert str(caught.value) == f"{who} asks for a check that needs a browser. {ADVICE}"
    assert len(mock.calls) == 2


CHECK_HEADERS = [name for check in BOT_CHECKS.values() for name in check.get("headers", ())]
ALL_CHECKS = {
    "body": "\n".join(check.get("body", "") for check in BOT_CHECKS.values()),
    "headers": dict.fromkeys(CHECK_HEADERS, "challenge"),
}


def test_a_page_with_a_chat_is_no_check_whatever_it_has(mock, protocol):
    box = {"classic": CLASSIC_PAGE, "current": CURRENT_PAGE}[protocol]
    mock.get(SITE + "/", **{**ALL_CHECKS, "body": ALL_CHECKS["body"] + box})
    mock.post(AJAX, body=CLASSIC_ANSWER if protocol == "classic" else TICKET)
    mock.get(AJAX, body=CURRENT_ANSWER)
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"


def test_a_page_with_half_a_chat_is_no_check_either(mock):
    mock.get(SITE + "/", body=ALL_CHECKS["body"] + classic_box(nonce=""))
    with pytest.raises(ChatNotFoundError):
        ChatgptFree(SITE).complete("Hi")


GOOD_PAGES = {
    "BitNinja alone": {"body": "<p>We are protected by BitNinja."},
    "CAPTCHA alone": {"body": "<p>Please solve this CAPTCHA."},
    "a header": {"body": "<p>Hi", "headers": {"X-DataDome": "protected"}},
}


@pytest.mark.parametrize("page", GOOD_PAGES.values(), ids=GOOD_PAGES)
def test_pages_that_only_mention_a_check_are_none(mock, page):
    mock.get(SITE + "/", **page)
    with pytest.raises(ChatNotFoundError):
        ChatgptFree(SITE).complete("Hi")


def test_an_answer_about_checks_is_an_answer(mock):
    add_classic(mock, {**ALL_CHECKS, "body": chunk(ALL_CHECKS["body"]) + DONE})
    assert ChatgptFree(SITE).complete("Hi") == ALL_CHECKS["body"]


@pytest.mark.parametrize("status", [200, 403])
def test_a_check_of_the_sites_own_in_place_of_a_ticket_has_its_words(mock, status):
    add_ticket_answer(mock, json=CHECK, status=status)
    with pytest.raises(BlockedError) as caught:
        ChatgptFree(SITE).complete("Hi")
    assert str(caught.value) == f"HTTP {status}: {CHECK_WORDS}"
    assert actions(mock) == ["page", *ASKED_UP_TO["ticket"]]


# --------------------------------------------------------------------------------- Requests: limits


def too_many(**headers):
    """The error of a site that says that there were too many requests."""

    def respond(*pieces, url):
        return Answer("<h1>Slow down</h1>", url=url, status=429, headers=headers)

    with pytest.raises(RateLimitError) as caught:
        ChatgptFree(SITE, session=StubSession("", respond=respond)).complete("Hi")
    return caught.value


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("30", 30), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
    ids=["seconds", "a past date"],
)
def test_too_many_requests_say_how_long_to_wait(retry_after, seconds):
    error = too_many(**{"Retry-After": retry_after})
    assert str(error) == f"HTTP 429: Slow down (try again in {seconds} s)"
    assert error.retry_after == seconds


NO_RETRY_AFTER = {
    "nothing": {},
    "a word": {"Retry-After": "soon"},
    "a digit that is no number": {"Retry-After": "²"},
    "a negative number": {"Retry-After": "-5"},
    "centuries": {"Retry-After": "10000000000"},
    "a far date": {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"},
    "no date": {"Retry-After": "Fri, 31 Dec 99999999999999999999 23:59:59 GMT"},
    "what breaks the parser of dates": {"Retry-After": "3434\tApr\t,\t0\xe9"},
}


@pytest.mark.parametrize("headers", NO_RETRY_AFTER.values(), ids=NO_RETRY_AFTER)
def test_too_many_requests_may_not_say_how_long_to_wait(headers):
    error = too_many(**headers)
    assert (str(error), error.retry_after) == ("HTTP 429: Slow down", None)


def test_too_many_requests_say_until_when_to_wait():
    in_an_hour = email.utils.formatdate(time.time() + 3600, usegmt=True)
    error = too_many(**{"Retry-After": in_an_hour})
    assert 3500 <= error.retry_after <= 3600
    assert re.fullmatch(r"HTTP 429: Slow down \(try again in 3[56]\d\d s\)", str(error))


@pytest.mark.parametrize("status", [200, 403])
def test_a_quota_in_place_of_a_ticket_is_a_limit(mock, status):
    quota = {"message": "That was all.", "quota_notice": {"type": "quota_notice"}}
    add_ticket_answer(mock, json={"success": False, "data": quota}, status=status)
    with pytest.raises(RateLimitError) as caught:
        ChatgptFree(SITE).complete("Hi")
    words = f"HTTP {status}: That was all."
    assert (str(caught.value), caught.value.retry_after) == (words, None)
    assert actions(mock) == ["page", *ASKED_UP_TO["ticket"]]


# --------------------------------------------------------------------- Requests: sessions of others


def test_a_session_of_the_callers_keeps_its_headers_and_stays_open(mock, monkeypatch):
    add_classic(mock, CLASSIC_ANSWER)
    session = requests.Session()
    session.headers["User-Agent"] = "Mine/1"
    monkeypatch.setattr(session, "close", lambda: pytest.fail("closed"))
    with ChatgptFree(SITE, session=session) as bot:
        bot.complete("Hi")
    assert {call.request.headers["User-Agent"] for call in mock.calls} == {"Mine/1"}


def test_a_session_of_its_own_is_closed(monkeypatch):
    closed = []
    monkeypatch.setattr(requests.Session, "close", lambda session: closed.append(session))
    with ChatgptFree(SITE):
        pass
    assert len(closed) == 1


def test_a_session_that_is_not_requests_own_gets_its_other_keywords():
    session = stub_with_bots()
    bot = ChatgptFree(SITE, session=session, impersonate="chrome")
    bot.complete("Hi", thread=7)
    bot.conversation(thread=8).complete("Hi")
    assert [options["impersonate"] for options in session.options] == ["chrome"] * 5
    assert [options["thread"] for options in session.options] == [7] * 3 + [8] * 2


@pytest.mark.parametrize("hooks", [{}, {"response": None}], ids=repr)
def test_a_session_needs_no_hooks(mock, hooks):
    add_classic(mock, CLASSIC_ANSWER)
    session = requests.Session()
    session.hooks = hooks
    assert ChatgptFree(SITE, session=session).complete("Hi") == "Hello, wörld 🌍"


def test_a_redirect_is_followed_where_a_session_calls_its_hooks_twice(mock):
    """As that of requests-cache does."""

    class Twice(requests.Session):
        def send(self, request, **options):
            response = super().send(request, **options)
            return dispatch_hook("response", request.hooks, response)

    mock.get(SITE + "/old/", status=302, headers={"Location": "/"})
    add_classic(mock, CLASSIC_ANSWER)
    assert ChatgptFree(SITE + "/old/", session=Twice()).complete("Hi") == "Hello, wörld 🌍"


def response_of_requests(url, **attributes):
    response = requests.Response()
    vars(response).update(status_code=200, url=url, **attributes)
    return response


def response_of_a_mock(body, url):
    """A mock's: its body is there, and nothing to read it from."""
    return response_of_requests(url, _content=body.encode())


def response_of_a_cache(body, url):
    """A cache's: its body is decoded, and its headers say gzip as they came."""
    headers = CaseInsensitiveDict({"Content-Encoding": "gzip"})
    return response_of_requests(url, raw=io.BytesIO(body.encode()), headers=headers)


@pytest.mark.parametrize(
    "respond",
    [Answer, response_of_a_mock, response_of_a_cache],
    ids=["bare", "of a mock", "of a cache"],
)
def test_responses_of_other_sessions_are_read(respond):
    session = StubSession(CLASSIC_PAGE, CLASSIC_ANSWER, respond=respond)
    assert ChatgptFree(SITE, session=session).complete("Hi") == "Hello, wörld 🌍"


def test_headers_go_to_any_session_in_a_plain_dict():
    session = stub_with_bots()
    ChatgptFree(SITE, session=session).complete("Hi")
    assert [type(options["headers"]) for options in session.options] == [dict] * 3


def test_in_a_plain_dict_too_the_case_of_a_headers_name_does_not_matter():
    assert too_many(**{"retry-after": "7"}).retry_after == 7


def test_a_session_of_anothers_is_not_led_off_the_site():
    def respond(*pieces, url):
        return Answer("", url=url, status=302, headers={"location": "https://other.example/"})

    session = StubSession(CLASSIC_PAGE, respond=respond)
    with pytest.raises(ChatgptFreeError) as caught:
        ChatgptFree(SITE, session=session).complete("Hi", **SECRETS)
    redirect = "https://site.example/ redirects to 'https://other.example/'"
    assert str(caught.value) == f"{redirect}, {ANOTHER_SITE}"
    assert len(session.options) == 1


def test_a_session_of_anothers_gets_no_proxies_that_nobody_gave():
    """niquests fails for an empty one, and the session's own proxies are its owner's choice."""
    session = StubSession(CLASSIC_PAGE, CLASSIC_ANSWER)
    # For this machine the client's own session gets proxies that nobody gave.
    ChatgptFree("http://127.0.0.1:8000/", session=session).complete("Hi")
    assert [options.get("proxies") for options in session.options] == [None, None]


def fail_at_once(*arguments, **options):
    raise AssertionError("a session was asked that should have been refused")


class TakesAll:
    get = post = staticmethod(fail_at_once)


class LikeHttpx(TakesAll):
    """Its options are named, and the streams have a method of their own."""

    def get(self, url, *, params=None, headers=None, follow_redirects=False, timeout=None):
        fail_at_once()


class Follows(TakesAll):
    def post(self, url, data=None, stream=False):
        fail_at_once()


LIKE_REQUESTS = "behave like a requests.Session"
NO_METHOD = types.SimpleNamespace(get=fail_at_once, post="post")
NO_SESSIONS = {
    "no stream": (LikeHttpx(), f"{LIKE_REQUESTS}: LikeHttpx.get takes no 'stream'"),
    "redirects": (Follows(), f"{LIKE_REQUESTS}: Follows.post takes no 'allow_redirects'"),
    "no post": (
        types.SimpleNamespace(get=fail_at_once),
        f"{LIKE_REQUESTS}, unlike SimpleNamespace",
    ),
    "post is no method": (NO_METHOD, f"{LIKE_REQUESTS}, unlike SimpleNamespace"),
    "False": (False, f"{LIKE_REQUESTS}, unlike bool"),
    "a class": (requests.Session, "be an object, not the class Session"),
}


@pytest.mark.parametrize(("session", "words"), NO_SESSIONS.values(), ids=NO_SESSIONS)
def test_what_is_no_session_is_named_when_it_is_given(session, words):
    with pytest.raises(TypeError) as caught:
        ChatgptFree(SITE, session=session)
    assert str(caught.value) == f"session must {words}"


class PlainSession:
    """Names what it takes, and no more."""

    def get(self, url, stream, allow_redirects, headers, timeout, auth):
        return Answer(CLASSIC_PAGE, url=url)

    def post(self, url, data, stream, allow_redirects, headers, timeout, auth):
        return Answer(CLASSIC_ANSWER, url=url)


def test_a_session_that_names_what_it_takes_is_asked():
    assert ChatgptFree(SITE, session=PlainSession()).complete("Hi") == "Hello, wörld 🌍"


# ---------------------------------------------------------------- Requests: failures of the network


class OthersError(OSError):
    """As curl_cffi's and niquests' are: of no kind that `requests` knows."""


class PartsSession(StubSession):
    """A stub whose page, answer and ticket are iterables, so that time can pass between pieces.

    Each may be an exception, which is raised instead of a response.
    """

    def __init__(self, page, answer, ticket=(TICKET,)):
        super().__init__(page)
        self.answer, self.ticket = answer, ticket

    def respond_to(self, url, fields, options):
        self.options.append(options)
        self.fields.append(fields)
        if is_for_page(fields):
            body = self.page
        elif asks_for_ticket(fields):
            body = self.ticket
        else:
            body = self.answer
        if isinstance(body, Exception):
            raise body
        response = Answer(url=url)
        response.pieces = body
        return response


class RawBody:
    """The `raw` of a response, as urllib3 has it from 2.2 on, which fails after these pieces."""

    decode_content = True

    def __init__(self, *pieces):
        self.pieces = iter(pieces)

    def read1(self, size, decode_content):
        piece = next(self.pieces, "")
        if isinstance(piece, Exception):
            raise piece
        return piece.encode()

    def close(self):
        pass


def session_with_raw(*pieces):
    """A session whose answer has such a `raw`, and no other body."""

    def respond(*page, url):
        if page:
            return Answer(*page, url=url)
        return response_of_requests(url, raw=RawBody(*pieces))

    return StubSession(CLASSIC_PAGE, respond=respond)


LOST_SITE = "lost the connection to site.example"
FAILURES = {  # and how they are told after some text
    "requests.ConnectionError": (requests.ConnectionError("gone"), "gone"),
    "requests.Timeout": (requests.Timeout("slow"), "slow"),
    "requests' ProxyError": (requests.exceptions.ProxyError("no proxy"), "no proxy"),
    "urllib3's": (urllib3.exceptions.ProtocolError("broken"), f"{LOST_SITE}: broken"),
    "another library's": (OthersError("curl: (56)"), f"{LOST_SITE}: curl: (56)"),
    "a long one": (OthersError("x" * 999), f"{LOST_SITE}: {'x' * 300}"),
    "the system's time-out": (TimeoutError("slow"), "nothing came from site.example for 7 seconds"),
}
each_failure = pytest.mark.parametrize(("error", "words"), FAILURES.values(), ids=FAILURES)


class OwnError(ValueError, RuntimeError):
    """Not the site's and not the network's, as the timers of job queues are."""


OWN_ERROR = OwnError("time is up")
GONE_AWAY = requests.ConnectionError("gone")


def assert_it_goes_out_as_it_is(session, error, requests_made):
    """Since it is not the site's error, nothing is asked again."""
    before = error.args
    with pytest.raises(type(error)) as caught:
        ChatgptFree(SITE, session=session).complete("Hi")
    assert caught.value is error
    assert (error.args, error.__cause__) == (before, None)
    assert len(session.fields) == requests_made


@each_failure
def test_a_failure_before_any_text_goes_out_as_it_is(error, words):
    assert_it_goes_out_as_it_is(PartsSession([CLASSIC_PAGE], error), error, 2)
    assert_it_goes_out_as_it_is(PartsSession([CLASSIC_PAGE], [ROLE, error]), error, 2)


PLACES = {  # of an error: the parts of a site, and how many requests are made
    "sending, page": (lambda error: (error, ()), 1),
    "page": (lambda error: (["<p>", error], ()), 1),
    "sending, ticket": (lambda error: ([CURRENT_PAGE], (), error), 2),
    "ticket": (lambda error: ([CURRENT_PAGE], (), ["{", error]), 2),
    "sending, answer": (lambda error: ([CURRENT_PAGE], error), 3),
    "answer": (lambda error: ([CURRENT_PAGE], [CURRENT_HEAD, error]), 3),
}


@pytest.mark.parametrize("error", [GONE_AWAY, OWN_ERROR], ids=["network", "own"])
@pytest.mark.parametrize(("parts", "requests_made"), PLACES.values(), ids=PLACES)
def test_what_a_session_raises_for_any_request_goes_out_as_it_is(parts, requests_made, error):
    assert_it_goes_out_as_it_is(PartsSession(*parts(error)), error, requests_made)


@pytest.mark.parametrize("text", [HI, HI + STOP], ids=["some text", "the last"])
def test_an_exception_of_a_sessions_own_after_text_goes_out_as_it_is_too(text):
    assert_it_goes_out_as_it_is(PartsSession([CLASSIC_PAGE], [text, OWN_ERROR]), OWN_ERROR, 2)


@each_failure
def test_a_failure_after_some_text_is_an_incomplete_reply_from_it(error, words):
    session = PartsSession([CLASSIC_PAGE], [chunk("Hello"), error])
    with pytest.raises(IncompleteReplyError) as caught:
        ChatgptFree(SITE, session=session).complete("Hi", timeout=7)
    assert str(caught.value) == f"the answer broke off: {words}"
    assert (caught.value.partial, caught.value.__cause__) == ("Hello", error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (urllib3.exceptions.DecodeError("no gzip"), requests.exceptions.ContentDecodingError),
        (urllib3.exceptions.ReadTimeoutError(None, "/", "slow"), requests.ConnectionError),
        (urllib3.exceptions.ProtocolError("broken"), requests.exceptions.ChunkedEncodingError),
    ],
    ids=["DecodeError", "ReadTimeoutError", "ProtocolError"],
)
def test_what_urllib3_raises_is_of_requests_kind_with_its_cause(error, kind):
    with pytest.raises(requests.RequestException) as caught:
        ChatgptFree(SITE, session=session_with_raw(ROLE, error)).complete("Hi")
    assert (caught.type, caught.value.__cause__) == (kind, error)


def test_text_of_a_raw_body_is_yielded_before_the_next_piece_is_read():
    session = session_with_raw(chunk("Hel"), OWN_ERROR)
    texts = ChatgptFree(SITE, session=session).stream("Hi")
    assert next(texts) == "Hel"
    with pytest.raises(OwnError):
        next(texts)


def in_a_hook(error, is_time):
    """Options with a hook that fails when it is time."""

    def hook(response, **_):
        if is_time(response.request):
            raise error

    return {"hooks": {"response": hook}}


def in_auth(error, is_time):
    """Options with a function for `auth` that fails when it is time."""

    def auth(request):
        if is_time(request):
            raise error
        return request

    return {"auth": auth}


@pytest.mark.parametrize("where", [in_a_hook, in_auth])
@pytest.mark.parametrize("asked", range(3), ids=["page", "ticket", "answer"])
def test_an_exception_of_a_hook_or_of_auth_goes_out_as_it_is(mock, where, asked):
    """It fails for this request, and none is made after it."""
    add_current(mock, CURRENT_ANSWER)
    count = itertools.count()
    options = where(OWN_ERROR, lambda request: next(count) == asked)
    with pytest.raises(OwnError) as caught:
        ChatgptFree(SITE, **options).complete("Hi")
    assert (caught.value, next(count)) == (OWN_ERROR, asked + 1)


def test_an_exception_of_a_hook_while_a_chat_is_looked_up_again_goes_out_as_it_is(mock):
    add_classic(mock, EXPIRED)
    looks_again = in_a_hook(OWN_ERROR, lambda request: "_=" in request.url)
    with pytest.raises(OwnError) as caught:
        ChatgptFree(SITE, **looks_again).complete("Hi")
    assert caught.value is OWN_ERROR


def test_an_exception_of_a_hook_at_a_redirect_goes_out_as_it_is(mock):
    mock.get(SITE + "/", status=302, headers={"Location": "/help/"})
    with pytest.raises(OwnError) as caught:
        ChatgptFree(SITE, **in_a_hook(OWN_ERROR, lambda request: True)).complete("Hi")
    assert (caught.value, len(mock.calls)) == (OWN_ERROR, 1)


IS_LOOKED_UP_AGAIN = {
    ChatgptFreeError: True,
    ChatNotFoundError: True,
    IncompleteReplyError: True,
    BlockedError: False,
    RateLimitError: False,
}


@pytest.mark.parametrize("kind", ERRORS)
def test_after_an_error_of_each_kind_the_chat_is_looked_up_again_or_not(mock, kind):
    """A subclass of the caller's stays what it is, and counts as the kind that it is of."""

    class Mine(kind):
        pass

    error = Mine("Mine.")
    add_classic(mock, CLASSIC_ANSWER)
    with pytest.raises(Mine) as caught:
        ChatgptFree(SITE, **in_a_hook(error, lambda request: request.body)).complete("Hi")
    assert caught.value is error
    assert (len(page_requests(mock)) == 2) is IS_LOOKED_UP_AGAIN[kind]


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_of_each_kind_after_some_text_is_an_incomplete_reply(kind):
    class Mine(kind):
        pass

    error = Mine("Mine.", partial="not this")
    _, broken = read_answer(chunk("Hello"), error)
    assert broken.partial == "Hello"
    if kind is IncompleteReplyError:
        assert broken is error
    else:
        words = f"the answer broke off: {error}"
        assert (type(broken), str(broken)) == (IncompleteReplyError, words)
        assert broken.__cause__ is error


# -------------------------------------------------------- Requests: a time limit for the whole call


TOO_LONG = "the call took longer than max_time, 5 seconds"
PINGS = [": ping\n\n"] * 99
TOO_LONG_CALLS = {  # the parts of a site, and how many requests are made
    "page that drips": (lambda clock: (clock.each_after(1, *["<p>"] * 9), []), 1),
    "behind the page": (lambda clock: (clock.then_pass(6, CLASSIC_PAGE), []), 1),
    "ticket": (lambda clock: ([CURRENT_PAGE], (), clock.each_after(6, TICKET)), 2),
    "behind the ticket": (lambda clock: ([CURRENT_PAGE], (), clock.then_pass(6, TICKET)), 2),
    "answer": (lambda clock: ([CLASSIC_PAGE], clock.each_after(6, ROLE)), 2),
    "pings": (lambda clock: ([CLASSIC_PAGE], clock.each_after(1, *PINGS)), 2),
}


@pytest.mark.parametrize(("parts", "requests_made"), TOO_LONG_CALLS.values(), ids=TOO_LONG_CALLS)
def test_a_call_that_takes_too_long_before_any_text_is_a_time_out(clock, parts, requests_made):
    session = PartsSession(*parts(clock))
    with pytest.raises(requests.Timeout) as caught:
        ChatgptFree(SITE, session=session, max_time=5).complete("Hi")
    assert (str(caught.value), len(session.fields)) == (TOO_LONG, requests_made)


@pytest.mark.parametrize(("seconds", "said"), [(1, "1 second"), (0.1, "0.1 seconds")])
def test_a_time_is_said_in_plain_english(clock, seconds, said):
    session = PartsSession(clock.each_after(6, CLASSIC_PAGE), [])
    with pytest.raises(requests.Timeout, match=f"max_time, {said}$"):
        ChatgptFree(SITE, session=session, max_time=seconds).complete("Hi")


def test_the_time_of_a_call_begins_when_its_first_text_is_asked_for(clock):
    session = PartsSession([CLASSIC_PAGE], clock.each_after(4, CLASSIC_ANSWER))
    texts = ChatgptFree(SITE, session=session, max_time=5).stream("Hi")
    clock.now += 6
    assert "".join(texts) == "Hello, wörld 🌍"


@pytest.mark.parametrize(
    ("timeout", "sent"),
    [
        (None, [5, 3, 2]),
        (math.inf, [5, 3, 2]),
        (4, [4, 3, 2]),
        ((None, 2.5), [(5, 2.5), (3, 2.5), 2]),
    ],
    ids=["default", "for ever", "a short one", "a short one for reading"],
)
def test_no_time_out_is_longer_than_what_is_left_of_max_time(clock, timeout, sent):
    """The page takes two seconds, and the ticket one. Two equal time-outs are sent as one."""
    page, ticket = clock.each_after(2, CURRENT_PAGE), clock.each_after(1, TICKET)
    session = PartsSession(page, [CURRENT_ANSWER], ticket)
    ChatgptFree(SITE, session=session, timeout=timeout, max_time=5).complete("Hi")
    assert [options["timeout"] for options in session.options] == sent


def late(clock, *pieces):
    """Pieces, and a time-out when the call has lasted too long."""
    yield from pieces
    clock.now += 6
    raise requests.ReadTimeout("nothing came for 120 seconds")


LATE_SESSIONS = {
    # there is no piece: `next` fails when it is too late
    "sending": lambda clock: StubSession("", respond=lambda page, url: next(late(clock))),
    "page": lambda clock: PartsSession(late(clock), ()),
    "answer": lambda clock: PartsSession([CLASSIC_PAGE], late(clock, ROLE)),
}


@pytest.mark.parametrize("session_of", LATE_SESSIONS.values(), ids=LATE_SESSIONS)
def test_the_words_of_max_time_win_over_those_of_a_time_out(clock, session_of):
    with pytest.raises(requests.Timeout) as caught:
        ChatgptFree(SITE, session=session_of(clock), max_time=5).complete("Hi")
    assert told(caught.value) == (requests.Timeout, TOO_LONG)


@pytest.mark.parametrize(
    "answer",
    [
        lambda clock: clock.each_after(2, chunk("Hel"), chunk("lo"), *PINGS),
        lambda clock: late(clock, chunk("Hello")),
    ],
    ids=["pings", "a time-out"],
)
def test_a_call_that_takes_too_long_after_some_text_is_an_incomplete_reply(clock, answer):
    session = PartsSession([CLASSIC_PAGE], answer(clock))
    with pytest.raises(IncompleteReplyError) as caught:
        ChatgptFree(SITE, session=session, max_time=5).complete("Hi")
    assert str(caught.value) == f"the answer broke off: {TOO_LONG}"
    assert caught.value.partial == "Hello"


def test_an_answer_that_takes_its_time_exactly_is_whole(clock):
    answer = clock.each_after(1, ROLE, *map(chunk, "Hel"), DONE)
    session = PartsSession([CLASSIC_PAGE], answer)
    assert ChatgptFree(SITE, session=session, max_time=5).complete("Hi") == "Hel"


def test_without_max_time_a_call_has_no_limit(clock):
    session = PartsSession([CLASSIC_PAGE], clock.each_after(1e6, *PINGS, chunk("Hello"), DONE))
    assert ChatgptFree(SITE, session=session).complete("Hi") == "Hello"


def is_too_long(clock, ask, default, own):
    """Does a call with a page that takes six seconds end with a time-out?"""
    session = PartsSession(clock.each_after(6, CLASSIC_PAGE), [CLASSIC_ANSWER])
    try:
        assert ask(ChatgptFree(SITE, session=session, **default), **own)
    except requests.Timeout as error:
        return str(error) == TOO_LONG
    return False


@each_way
def test_max_time_can_be_given_once_or_with_a_call(clock, ask):
    assert is_too_long(clock, ask, {"max_time": 5}, {})
    assert is_too_long(clock, ask, {"max_time": 7}, {"max_time": 5})
    assert not is_too_long(clock, ask, {"max_time": 5}, {"max_time": math.inf})


# --------------------------------------------------------- Requests: the reply, and what it is from


def returned_by(texts):
    """What a generator returns at its end."""
    replies = []

    def read():
        replies.append((yield from texts))

    list(read())
    return replies[0]


WHOLE_REPLIES = {  # each way to get one
    "complete": lambda bot: bot.complete("Hi"),
    "stream": lambda bot: returned_by(bot.stream("Hi")),
    "conversation's complete": lambda bot: bot.conversation().complete("Hi"),
    "conversation": lambda bot: returned_by(bot.conversation().stream("Hi")),
}


@pytest.mark.parametrize("ask", WHOLE_REPLIES.values(), ids=WHOLE_REPLIES)
def test_each_way_to_ask_returns_the_whole_reply(ask):
    answer = citations(OPENAI_SOURCE) + STOP + CURRENT_ANSWER
    reply = ask(ChatgptFree(SITE, session=StubSession(CURRENT_PAGE, answer)))
    assert all_of(reply) == (Reply, "Hello, wörld 🌍", [PARIS_FOUND], "stop")


# ------------------------------------------------------------------------------------------- Client


def test_the_attributes_are_those_of_gpt4free(mock):
    assert (ChatgptFree.working, ChatgptFree.default_model) == (True, "gpt-4o-mini-2024-07-18")
    assert ChatgptFree.models == ["gpt-4o-mini-2024-07-18"]
    assert ChatgptFree.model_aliases == {"gpt-4o-mini": "gpt-4o-mini-2024-07-18"}
    bot = ChatgptFree(SITE)
    assert (bot.url, bot._nonce, bot._post_id) == (SITE, None, None)
    add_classic(mock, CLASSIC_ANSWER)
    bot.complete("Hi")
    assert (bot._nonce, bot._post_id) == ("c10d44dafd", "6")


def test_a_blank_address_in_the_environment_names_no_site():
    show_address = "import chatgptfree; print(chatgptfree.ChatgptFree.url)"
    done = run_python("-c", show_address, env={**os.environ, "CHATGPTFREE_URL": " "})
    assert done.stdout == "https://chatgptfree.ai\n"


@pytest.mark.parametrize("name", ["stream", "complete", "conversation", "list_models"])
def test_the_functions_are_the_methods_of_one_object(name):
    function = getattr(chatgptfree, name)
    assert (function.__name__, type(function.__self__)) == (name, ChatgptFree)
    assert function.__self__ is chatgptfree.complete.__self__


@pytest.mark.parametrize("name", ["_nonce", "_post_id"])
def test_the_nonce_and_the_post_id_are_read_only(name):
    with pytest.raises(AttributeError):
        setattr(ChatgptFree(SITE), name, "1")


class Shouting(ChatgptFree):
    """A subclass whose streams are another text."""

    def stream(self, *args, **options):
        for text in super().stream(*args, **options):
            yield text.upper()


@pytest.mark.parametrize("ask", ["complete", "conversation's complete", "conversation"])
def test_a_subclass_that_changes_stream_changes_nothing_else(ask):
    bot = Shouting(SITE, session=StubSession(CLASSIC_PAGE, CLASSIC_ANSWER))
    assert "".join(bot.stream("Hi")) == "HELLO, WÖRLD 🌍"
    assert "".join(CALLERS[ask](bot)) == "Hello, wörld 🌍"


def test_calls_of_gpt4free_work_without_their_async(mock):
    add_classic(mock, CLASSIC_ANSWER)
    provider = ChatgptFree(SITE)
    messages = [INSTRUCTIONS, *user("Hi")]
    texts = list(provider.stream(model=provider.default_model, messages=messages, proxy=None))
    assert "".join(texts) == "Hello, wörld 🌍"
    assert forms(mock)[0]["message"] == "System: Be terse.\nUser: Hi\nAssistant:"


def test_async_code_can_call_it_in_threads():
    async def ask_together(bot):
        return await asyncio.gather(
            *(asyncio.to_thread(bot.complete, prompt) for prompt in ("one", "two", "three"))
        )

    with Site(echo_classic) as site, ChatgptFree(site.url) as bot:
        assert asyncio.run(ask_together(bot)) == ["one", "two", "three"]


# -------------------------------------------------------------- Client: errors, tracebacks, the log


def test_the_public_errors_are_all_kinds_of_one():
    kinds = [kind for _, kind in inspect.getmembers(chatgptfree, inspect.isclass)]
    kinds = [kind for kind in kinds if issubclass(kind, ChatgptFreeError)]
    assert set(kinds) == set(ERRORS) == set(IS_LOOKED_UP_AGAIN)
    assert {kind.__name__ for kind in kinds} <= set(chatgptfree.__all__)


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_is_made_of_words_and_keywords(kind):
    error = kind("It failed.")
    assert (error.args, error.partial, error.retry_after) == (("It failed.",), "", None)
    assert kind().args == ("",)
    with pytest.raises(TypeError):
        kind("It failed.", "some text")


@pytest.mark.parametrize("words", ["It failed.", "It failed"])
def test_the_advice_of_a_blocked_error_stands_behind_its_words_and_apart(words):
    error = BlockedError(words)
    assert (error.args, error.advice) == ((words,), ADVICE)
    assert str(error) == f"It failed. {ADVICE}"


SHOWN = {**CALLERS, "show": lambda bot: show(bot.stream("Hi"))}


@pytest.mark.parametrize("ask", SHOWN.values(), ids=SHOWN)
def test_a_fault_in_the_page_parser_shows_where_it_is(ask, set_limits):
    # comparing with it fails in the parser
    set_limits(CHAT_LIMIT="not a number")
    with pytest.raises(TypeError) as caught:
        ask(ChatgptFree(SITE, session=StubSession(CLASSIC_PAGE, CLASSIC_ANSWER)))
    place = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert place.filename == chatgptfree.__file__
    assert "CHAT_LIMIT" in place.line


@pytest.mark.parametrize(
    ("end", "kind", "file"),
    [
        (GONE_AWAY, requests.ConnectionError, __file__),
        (data(OVERLOADED), RateLimitError, chatgptfree.__file__),
    ],
    ids=["network", "words of the site"],
)
def test_the_cause_of_a_broken_answer_is_the_first_error_with_its_place(end, kind, file):
    _, error = read_answer(chunk("Hello"), end)
    assert (type(error), type(error.__cause__)) == (IncompleteReplyError, kind)
    assert traceback.extract_tb(error.__cause__.__traceback__)[-1].filename == file


@pytest.fixture
def logged(caplog):
    """A function that returns what the library has logged: a str for each record."""
    caplog.set_level("DEBUG", "chatgptfree")

    def records():
        return [r.getMessage() for r in caplog.records if r.name == "chatgptfree"]

    return records


def test_the_log_of_a_classic_call_tells_what_was_found_and_asked(logged):
    ask_site(CLASSIC_PAGE, CLASSIC_ANSWER)
    assert logged() == [
        "page of site.example: HTTP 200",
        "classic protocol",
        "wpaicg_chat_shortcode_message: HTTP 200",
        "the answer is whole, with 14 characters",
    ]


def test_the_log_of_a_current_call_tells_what_was_found_and_asked(logged):
    ask_site(CURRENT_PAGE, CURRENT_HEAD, "event: delta_v2\ndata: {}\n\n", CURRENT_ANSWER)
    assert logged() == [
        "page of site.example: HTTP 200",
        "current protocol: ChatGPT 5 Nano, DeepSeek",
        "aipkit_cache_sse_message: HTTP 200",
        "aipkit_frontend_chat_stream: HTTP 200",
        "events that are not known: delta_v2",
        "the answer is whole, with 14 characters",
    ]


def test_the_log_of_a_refusal_tells_each_status_and_that_it_looked_again(logged, mock):
    mock.get(SITE + "/", body=CURRENT_PAGE)
    mock.post(AJAX, body="0", status=400)
    with pytest.raises(ChatgptFreeError):
        ChatgptFree(SITE).complete("Hi")
    page, chats, *rest = logged()
    assert rest == [
        "aipkit_cache_sse_message: HTTP 400",
        "the chat is looked up again",
        "aipkit_get_frontend_chat_nonce: HTTP 400",
        page,
        chats,
        "failed after 0 characters: ChatgptFreeError",
    ]


def test_the_log_tells_how_an_answer_broke_off(logged):
    ask_site(CLASSIC_PAGE, chunk("Hello"))
    assert logged()[-1] == "failed after 5 characters: IncompleteReplyError"


@pytest.mark.parametrize("answer", [CURRENT_ANSWER, data({"delta": "Hel"})], ids=["whole", "cut"])
def test_the_log_has_nothing_that_is_confidential(answer, logged, mock):
    url = "https://ann:word-of-pass@site.example/help/?key=query-of-page"
    mock.get(re.compile(r"https://site\.example/help/.*"), body=CURRENT_PAGE)
    mock.post(AJAX, body=TICKET)
    mock.get(AJAX, body=answer)
    bot = ChatgptFree(url, headers={"X-Key": "secret-header"}, cookies={"id": "secret-cookie"})
    with contextlib.suppress(IncompleteReplyError):
        bot.complete("Is this a secret-prompt?")
    (asked,) = [form for form in forms(mock, "GET") if "session_id" in form]
    log = "\n".join(logged())
    for name in ("session_id", "conversation_uuid", "_ajax_nonce", "cache_key"):
        assert asked[name] not in log
        assert asked[name].replace("-", "") not in log
    for word in ("prompt", "word-of-pass", "query-of-page", "header", "cookie", "Hel", "ann"):
        assert word not in log


def test_the_repr_of_a_conversation_says_with_whom_it_is_and_no_password():
    chat = ChatgptFree("https://ann:secret@site.example/help/").conversation("Be terse.")
    assert repr(chat) == (
        "<Conversation with ChatgptFree('https://site.example/help/'), 1 messages>"
    )


class Watched:
    """A response hook that does nothing, and can be watched."""

    def __call__(self, response, **_):
        pass


def test_nothing_of_a_call_is_kept_when_it_has_ended(protocol):
    hook = Watched()
    kept = weakref.ref(hook)
    answer = {"classic": CLASSIC_ANSWER, "current": CURRENT_ANSWER}[protocol]
    session = StubSession(LOCAL_PAGES[protocol], answer)
    bot = ChatgptFree(SITE, session=session)
    gc.disable()
    try:
        bot.complete("Hi", hooks={"response": hook})
        session.options.clear()
        del hook
        assert kept() is None
    finally:
        gc.enable()


def test_a_failed_look_at_the_page_keeps_nothing_of_its_caller(mock):
    mock.get(SITE + "/", status=500)
    bot = ChatgptFree(SITE)

    def fail():
        of_the_caller = Watched()
        with contextlib.suppress(ChatgptFreeError):
            bot.complete("Hi")
        return weakref.ref(of_the_caller)

    kept = fail()
    gc.collect()
    assert kept() is None


def test_a_client_whose_address_is_changed_asks_the_other_site(without_pauses):
    with demo_site(lambda prompt: "one") as one, demo_site(lambda prompt: "two") as two:
        bot = ChatgptFree(one)
        assert bot.complete("Hi") == "one"
        bot.url = two
        assert bot.complete("Hi") == "two"
        bot.url = one
        assert bot.complete("Hi") == "one"


# ------------------------------------------------------------------------- Client: copies, pickling


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "old pickle": lambda value: pickle.loads(pickle.dumps(value, 0)),
}
each_copy = pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)


def test_a_client_can_be_pickled_with_its_address_and_options(mock):
    add_current(mock, CURRENT_ANSWER)
    bot = ChatgptFree(SITE, model="DeepSeek", headers={"X-Team": "blue"}, timeout=7)
    bot.complete("Hi")
    again = pickle.loads(pickle.dumps(bot))
    assert again.complete("Hi") == "Hello, wörld 🌍"
    assert repr(again) == repr(bot)
    assert [form["bot_id"] for form in forms(mock)] == ["25872", "25872"]
    request = mock.calls[-1].request
    assert (request.headers["X-Team"], request.req_kwargs["timeout"]) == ("blue", 7)


@each_copy
def test_a_copy_of_a_client_is_the_same_guest_and_knows_the_chats(greeter, again):
    """So a pool of processes is one guest, and looks at the page once."""
    bot = ChatgptFree(greeter.url)
    bot.list_models()
    for client in (again(bot), again(bot), bot):
        client.complete("Hi")
    names = {"session_id", "wpaicg_chat_client_id"}
    guests = [form[name] for *_, form in greeter.asked for name in names & form.keys()]
    assert (len(guests), len(set(guests)), len(greeter.pages())) == (3, 1, 1)


def test_a_pickled_client_of_a_subclass_is_one_of_it():
    again = pickle.loads(pickle.dumps(Shouting(SITE)))
    assert (type(again), again.url) == (Shouting, SITE)


def test_a_client_with_a_callers_session_says_why_it_cannot_be_pickled():
    with pytest.raises(TypeError, match="with a session of the caller's cannot be pickled"):
        pickle.dumps(ChatgptFree(SITE, session=requests.Session()))


class OwnLimitError(RateLimitError):
    """A caller's, whose constructor takes other arguments."""

    def __init__(self, shop, seconds):
        super().__init__(f"{shop} is closed.", partial="some text", retry_after=seconds)
        self.shop = shop


COPIED = {
    "any": ChatgptFreeError("It failed.", partial="some text", retry_after=7.0),
    "with advice": BlockedError("It failed.", partial="some text", retry_after=7.0),
    "with a constructor of its own": OwnLimitError("Ann's", 7.0),
}


@each_copy
@pytest.mark.parametrize("error", COPIED.values(), ids=COPIED)
def test_a_copy_of_an_error_has_all_it_holds(error, again):
    copied = again(error)
    assert copied is not error
    assert (type(copied), copied.args, str(copied)) == (type(error), error.args, str(error))
    assert vars(copied) == vars(error)


FAILURES_OF_CALLS = {
    "limit": send_limit,
    "challenge": lambda handler, form: handler.whole(CHALLENGE["body"], 403),
    "reset": reset_connection,
    "refusal": send_banned_word,
}


@pytest.mark.parametrize("fail", FAILURES_OF_CALLS.values(), ids=FAILURES_OF_CALLS)
def test_an_error_of_a_call_can_be_pickled(fail):
    error = failing_call(answer=fail).value
    again = pickle.loads(pickle.dumps(error))
    assert told(again) == told(error)


# ------------------------------------------------------------------ Conversations: what a site gets

ASKED_BEFORE = [
    {"role": "user", "content": "My name is Ann."},
    {"role": "assistant", "content": "Hello Ann."},
]

NEW = {"role": "user", "content": "What is my name?"}


def dialogue_text(messages):
    """A history as it goes to a site: a line for each message, and one for the answer."""
    lines = [f"{message['role'].capitalize()}: {message['content']}\n" for message in messages]
    return "".join(lines) + "Assistant:"


def message_for(protocol, messages):
    """What a site gets: the last message, or all of them where it does not remember."""
    return messages[-1]["content"] if protocol == "current" else dialogue_text(messages)


def said_by_bot(text):
    return {"role": "assistant", "content": text}


def conversations_of(site):
    """For each answer of the current protocol the number of its conversation: 0, 1, …"""
    ids = [form["conversation_uuid"] for form in streams_of(site)]
    return [list(dict.fromkeys(ids)).index(uuid) for uuid in ids]


@pytest.fixture
def current_greeter():
    """A site that says hello, and remembers what was said."""
    with Site(say_hello, LOCAL_CURRENT) as site:
        yield site


def introduced(bot):
    """A conversation in which `ASKED_BEFORE` was said."""
    chat = bot.conversation()
    chat.complete("My name is Ann.")
    return chat


def test_a_current_site_gets_only_the_new_message_in_the_same_conversation(mock):
    add_current(mock, CURRENT_ANSWER)
    chat = ChatgptFree(SITE).conversation(system="Be terse.")
    assert chat.complete("My name is Ann.") == "Hello, wörld 🌍"
    assert list(chat.stream("What is my name?")) == ["Hel", "lo, wörld 🌍"]
    whole = "System: Be terse.\nUser: My name is Ann.\nAssistant:"
    assert [form["message"] for form in forms(mock)] == [whole, "What is my name?"]
    first, second = forms(mock, "GET")[1:]
    assert first["session_id"] == second["session_id"]
    assert first["conversation_uuid"] == second["conversation_uuid"] != first["session_id"]
    assert len(first["conversation_uuid"]) == 36


def test_a_classic_site_gets_the_history_with_each_message(mock):
    add_classic(mock, CLASSIC_ANSWER)
    chat = ChatgptFree(SITE).conversation(system="Be terse.")
    assert isinstance(chat.complete("My name is Ann."), Reply)
    assert "".join(chat.stream("What is my name?")) == "Hello, wörld 🌍"
    first = "System: Be terse.\nUser: My name is Ann.\n"
    assert [form["message"] for form in forms(mock)] == [
        first + "Assistant:",
        first + "Assistant: Hello, wörld 🌍\nUser: What is my name?\nAssistant:",
    ]


def test_messages_are_what_was_said_and_can_be_saved_as_json(greeter):
    chat = ChatgptFree(greeter.url).conversation("Be terse.")
    assert chat.messages == [INSTRUCTIONS]
    chat.complete("My name is Ann.")
    assert json.loads(json.dumps(chat.messages)) == [INSTRUCTIONS, *ASKED_BEFORE]


def test_a_long_answer_in_a_conversation_takes_linear_time():
    def talk(count):
        session = StubSession(CLASSIC_PAGE, *[chunk("a" * 1000)] * count, DONE)
        ChatgptFree(SITE, session=session).conversation().complete("Hi")

    # a copy for each piece would take quadratic time
    assert_linear_growth(talk, 300)


# -------------------------------------------- Conversations: messages that are edited, given, wrong


def edit_in_place(chat):
    chat.messages[0]["content"] = "My name is Bob."


def assign_others(chat):
    chat.messages = DIALOGUE[:2]


EDITS = {
    "edited": edit_in_place,
    "added": lambda chat: chat.messages.insert(0, dict(INSTRUCTIONS)),
    "added at the end": lambda chat: chat.messages.extend(DIALOGUE[:2]),
    "cut": lambda chat: chat.messages.pop(),
    "assigned": assign_others,
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_edited_messages_are_a_new_conversation_with_all_of_it(edit, current_greeter):
    chat = introduced(ChatgptFree(current_greeter.url))
    chat.complete("I live in Rome.")
    edit(chat)
    before = copy.deepcopy(chat.messages)
    chat.complete("What is my name?")
    chat.complete("And yours?")
    assert messages_to(current_greeter)[2:] == [dialogue_text([*before, NEW]), "And yours?"]
    assert conversations_of(current_greeter) == [0, 0, 1, 1]


def test_messages_edited_while_the_answer_comes_are_a_new_conversation(current_greeter):
    chat = introduced(ChatgptFree(current_greeter.url))
    for _ in chat.stream("What is my name?"):
        edit_in_place(chat)
    before = copy.deepcopy(chat.messages)
    chat.complete("And yours?")
    assert before[0] == {"role": "user", "content": "My name is Bob."}
    assert messages_to(current_greeter)[2] == dialogue_text([*before, *user("And yours?")])
    assert conversations_of(current_greeter) == [0, 0, 1]


@pytest.mark.parametrize("kind", [list, tuple])
def test_messages_that_say_the_same_are_no_edit(kind, current_greeter):
    chat = introduced(ChatgptFree(current_greeter.url))
    chat.messages = kind(copy.deepcopy(chat.messages))
    chat.complete("What is my name?")
    assert messages_to(current_greeter)[1] == "What is my name?"
    assert conversations_of(current_greeter) == [0, 0]


def test_messages_given_to_a_new_conversation_go_along_once(current_greeter):
    chat = ChatgptFree(current_greeter.url).conversation(messages=ASKED_BEFORE)
    chat.complete("What is my name?")
    chat.complete("And yours?")
    assert messages_to(current_greeter) == [dialogue_text([*ASKED_BEFORE, NEW]), "And yours?"]
    assert len(chat.messages) == 6


@pytest.mark.parametrize("kind", [list, tuple])
def test_messages_that_are_assigned_go_along_and_stay_as_they_were(kind, current_greeter):
    assigned = kind(dict(message) for message in ASKED_BEFORE)
    chat = ChatgptFree(current_greeter.url).conversation()
    chat.messages = assigned
    chat.complete("What is my name?")
    chat.messages[0]["content"] = "My name is Bob."
    assert assigned == kind(ASKED_BEFORE)
    said = [message["content"] for message in chat.messages]
    assert said == ["My name is Bob.", "Hello Ann.", "What is my name?", "Hello Ann."]
    assert messages_to(current_greeter) == [dialogue_text([*ASKED_BEFORE, NEW])]


def test_a_conversation_copies_the_messages_that_it_is_given():
    given = ({"role": "user", "content": [{"type": "text", "text": "Hi"}]},)
    chat = ChatgptFree(SITE).conversation(messages=given)
    chat.messages[0]["content"][0]["text"] = "changed"
    chat.messages.append(NEW)
    assert given == ({"role": "user", "content": [{"type": "text", "text": "Hi"}]},)


def test_the_system_text_goes_before_the_messages_that_are_given():
    chat = ChatgptFree(SITE).conversation("Be terse.", messages=iter(ASKED_BEFORE))
    assert chat.messages == [INSTRUCTIONS, *ASKED_BEFORE]


WRONG_MESSAGES = {
    "a number": (0, TypeError("messages must be a list of messages, not int")),
    "str": ("Hi", TypeError("messages must be a list of messages, not str")),
    "no content": ([*ASKED_BEFORE, {"role": "user"}], ValueError("messages[2] has no 'content'")),
    "list of str": (["Hi"], TypeError(f"{NO_MAPPING} str")),
}
each_wrong_one = pytest.mark.parametrize(
    ("messages", "error"), WRONG_MESSAGES.values(), ids=WRONG_MESSAGES
)


@each_wrong_one
def test_wrong_messages_of_a_new_conversation_are_named_at_the_call(messages, error):
    with pytest.raises(type(error)) as caught:
        ChatgptFree(SITE).conversation("Be terse.", messages)
    assert told(caught.value) == told(error)


@each_wrong_one
def test_wrong_messages_that_were_assigned_are_named_at_the_call(messages, error):
    chat = ChatgptFree(SITE).conversation()
    chat.messages = messages
    with pytest.raises(type(error)) as caught:
        chat.stream("Hi")
    assert told(caught.value) == told(error)


def test_messages_that_are_objects_become_dicts():
    session = StubSession(CLASSIC_PAGE, CLASSIC_ANSWER)
    given = [Message("user", "1"), Message("assistant", None)]
    chat = ChatgptFree(SITE, session=session).conversation("Be terse.", messages=given)
    before = [INSTRUCTIONS, *user("1"), said_by_bot(None)]
    assert chat.messages == before
    chat.messages.append(Message("user", "2"))
    chat.complete("3")
    assert chat.messages == [*before, *user("2"), *user("3"), said_by_bot("Hello, wörld 🌍")]
    texts = ["System: Be terse.", "User: 1", "Assistant: ", "User: 2", "User: 3", "Assistant:"]
    assert session.fields[-1]["message"] == "\n".join(texts)


def test_content_of_none_is_no_edit():
    session = StubSession(CURRENT_PAGE, CURRENT_ANSWER)
    chat = ChatgptFree(SITE, session=session).conversation(messages=[Message("assistant", None)])
    chat.complete("Hi")
    chat.complete("And now?")
    assert session.fields[-2]["message"] == "And now?"


def test_a_conversation_goes_on_after_half_an_emoji():
    session = StubSession(CLASSIC_PAGE, chunk("a\ud83d") + DONE)
    chat = ChatgptFree(SITE, session=session).conversation()
    chat.complete("Hi")
    chat.complete("And now?")
    assert [message["content"] for message in chat.messages[::2]] == ["Hi", "And now?"]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("", ValueError("the prompt is empty")),
        (" \n", ValueError("the prompt is empty")),
        (None, TypeError("message must be a str, not NoneType")),
        (user("Hi"), TypeError("message must be a str, not list")),
    ],
    ids=["no text", "blanks", "None", "list"],
)
def test_a_message_of_a_conversation_is_some_text(message, error):
    chat = ChatgptFree(NOBODY).conversation("Be terse.")
    for say in (chat.stream, chat.complete):
        with pytest.raises(type(error)) as caught:
            say(message)
        assert told(caught.value) == told(error)


@pytest.mark.parametrize("system", [7, 0])
def test_a_system_text_of_the_wrong_type_is_a_typeerror_at_the_call(system):
    with pytest.raises(TypeError, match="^system must be a str, not int$"):
        ChatgptFree(SITE).conversation(system)


# ----------------------------------------------------------------- Conversations: several at a time


def test_streams_of_two_conversations_can_be_read_by_turns(greeter, protocol):
    bot = ChatgptFree(greeter.url)
    chats = [bot.conversation(), bot.conversation()]
    for turn in "12":
        streams = [chat.stream(f"{name}{turn}") for name, chat in zip("AB", chats)]
        pairs = list(itertools.zip_longest(*streams))
        assert pairs == [("Hello ", "Hello "), ("Ann.", "Ann.")]
    said = [[message["content"] for message in chat.messages[::2]] for chat in chats]
    assert said == [["A1", "A2"], ["B1", "B2"]]
    second = [message_for(protocol, chat.messages[:-1]) for chat in chats]
    assert messages_to(greeter) == ["A1", "B1", *second]
    assert conversations_of(greeter) == ([0, 1, 0, 1] if protocol == "current" else [])


def test_conversations_of_one_client_run_in_threads_of_their_own(greeter, protocol):
    def talk(name):
        chat = bot.conversation(f"You are {name}.")
        for turn in "123":
            chat.complete(name + turn)
        return [message["content"] for message in chat.messages[1::2]]

    with ChatgptFree(greeter.url) as bot, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(talk, "ABCD")) == [[name + turn for turn in "123"] for name in "ABCD"]
        assert len(greeter.pages()) == 1
        assert len(set(conversations_of(greeter))) == (4 if protocol == "current" else 0)


@each_copy
def test_a_copy_of_a_conversation_has_its_history_and_does_not_share_the_sites_memory(
    again, greeter, protocol
):
    chat = introduced(ChatgptFree(greeter.url))
    copied = again(chat)
    copied.complete("What is my name?")
    assert messages_to(greeter)[1] == dialogue_text([*ASKED_BEFORE, NEW])
    assert chat.messages == ASKED_BEFORE
    for each in (chat, copied):
        each.complete("And yours?")
        assert messages_to(greeter)[-1] == message_for(protocol, each.messages[:-1])
    assert conversations_of(greeter) == ([0, 1, 0, 1] if protocol == "current" else [])


def test_of_two_streams_begun_early_one_goes_on_with_the_sites_memory(current_greeter):
    chat = introduced(ChatgptFree(current_greeter.url))
    first, second = chat.stream("What is my name?"), chat.stream("And yours?")
    assert (next(first), next(second)) == ("Hello ", "Hello ")
    assert (list(first), list(second)) == (["Ann."], ["Ann."])
    whole = dialogue_text([*ASKED_BEFORE, *user("And yours?")])
    assert messages_to(current_greeter)[1:] == ["What is my name?", whole]
    assert conversations_of(current_greeter) == [0, 0, 1]


# ---------------------------------------------------------- Conversations: what breaks off or fails


def test_what_was_heard_of_a_broken_answer_counts_as_the_answer(greeter, protocol):
    chat = ChatgptFree(greeter.url).conversation("Be terse.")
    greeter.answer = lambda handler, form: answer_words(handler, form, "Hello ", "A", end=False)
    with pytest.raises(IncompleteReplyError) as caught:
        chat.complete("My name is Ann.")
    assert caught.value.partial == "Hello A"
    assert chat.messages == [INSTRUCTIONS, ASKED_BEFORE[0], said_by_bot("Hello A")]
    greeter.answer = say_hello
    assert chat.complete("What is my name?") == "Hello Ann."
    assert messages_to(greeter)[1] == dialogue_text(chat.messages[:-1])
    assert conversations_of(greeter) == ([0, 1] if protocol == "current" else [])
    assert len(chat.messages) == 5


def interrupt(texts):
    next(texts)
    with pytest.raises(KeyboardInterrupt):
        texts.throw(KeyboardInterrupt)


class InterruptedScreen(io.StringIO):
    def write(self, text):
        if "Hello" in text:
            raise KeyboardInterrupt


def show_until_interrupt(texts):
    with contextlib.redirect_stdout(InterruptedScreen()), pytest.raises(KeyboardInterrupt):
        show(texts)


STOPS = {
    "left": next,
    "closed": lambda texts: (next(texts), texts.close()),
    "interrupted": interrupt,
    "interrupted when shown": show_until_interrupt,
}


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_what_was_heard_of_an_answer_that_was_left_counts_as_the_answer(stop, greeter, protocol):
    chat = ChatgptFree(greeter.url).conversation()
    texts = chat.stream("My name is Ann.")
    stop(texts)
    assert chat.messages == [ASKED_BEFORE[0], said_by_bot("Hello ")]
    chat.complete("What is my name?")
    assert messages_to(greeter)[1] == dialogue_text(chat.messages[:-1])
    assert conversations_of(greeter) == ([0, 1] if protocol == "current" else [])


def test_a_message_that_is_not_read_is_not_said(current_greeter):
    chat = ChatgptFree(current_greeter.url).conversation()
    chat.stream("My name is Ann.").close()
    assert chat.messages == current_greeter.asked == []


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (send_banned_word, ChatgptFreeError),
        (send_limit, RateLimitError),
        (reset_connection, requests.ConnectionError),
        (answer_words, ChatgptFreeError),
    ],
    ids=["refusal", "limit", "reset", "no words"],
)
def test_a_turn_that_fails_before_any_text_leaves_messages_alone(fail, kind, greeter, protocol):
    chat = introduced(ChatgptFree(greeter.url))
    greeter.answer = fail
    with pytest.raises(kind):
        chat.complete("Will this fail?")
    assert chat.messages == ASKED_BEFORE
    greeter.answer = say_hello
    assert chat.complete("What is my name?") == "Hello Ann."
    assert messages_to(greeter)[-1] == dialogue_text([*ASKED_BEFORE, NEW])
    if protocol == "current":
        # The site remembers the question that failed: a new conversation doesn't have it.
        *earlier, last = conversations_of(greeter)
        assert last not in earlier


@pytest.mark.parametrize(
    ("option", "kind"), [({"model": "gpt-9"}, ValueError), ({"timout": 3}, TypeError)], ids=repr
)
def test_a_wrong_option_of_a_turn_leaves_the_conversation_usable(option, kind, mock):
    add_current(mock, CURRENT_ANSWER)
    chat = ChatgptFree(SITE).conversation()
    with pytest.raises(kind):
        chat.complete("Hi", **option)
    assert chat.messages == forms(mock) == []
    assert chat.complete("Hi") == "Hello, wörld 🌍"


@contextlib.contextmanager
def interrupted_at(moment):
    """Ctrl-C comes before the line of the module that is the `moment`-th to be executed.

    The context variable is a function that says whether it did come.
    """
    came = False

    def trace(frame, event, _):
        nonlocal moment, came
        if frame.f_code.co_filename != chatgptfree.__file__:
            return None
        if event == "line":
            moment -= 1
            if moment < 0:
                came = True
                raise KeyboardInterrupt  # Python takes the trace function off
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lambda: came
    except KeyboardInterrupt:
        assert came
    finally:
        sys.settrace(before)


# An interrupt while a generator is thrown away is shown, and goes no further.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_turn_that_is_interrupted_at_any_moment_loses_nothing(protocol):
    """It is interrupted before each line that it executes, once."""
    before = [dict(message) for message in ASKED_BEFORE]
    answer = {
        "classic": [chunk("You are "), chunk("Ann."), DONE],
        "current": [data({"delta": "You are "}), data({"delta": "Ann."}), CURRENT_DONE],
    }
    # What can have come, and the messages that can be left of it.
    heard_of = {
        "": [before, [*before, NEW, said_by_bot("You are ")]],
        "You are ": [[*before, NEW, said_by_bot(text)] for text in ("You are ", "You are Ann.")],
        "You are Ann.": [[*before, NEW, said_by_bot("You are Ann.")]],
    }
    moment = 0
    came = True
    while came:
        session = StubSession(LOCAL_PAGES[protocol], *answer[protocol])
        bot = ChatgptFree(SITE, session=session, timeout=1)
        if protocol == "current":
            # so that the look at the page is interrupted in the other protocol alone
            bot.list_models()
        chat = bot.conversation(messages=before)
        texts, heard = chat.stream("What is my name?"), []
        with interrupted_at(moment) as came_at_last:
            heard.extend(texts)
        came = came_at_last()
        assert chat.messages in heard_of["".join(heard)]
        said = [*chat.messages, *user("And yours?")]
        assert chat.complete("And yours?") == "You are Ann."
        assert chat.messages == [*said, said_by_bot("You are Ann.")]
        moment += 1
    assert moment > 100


# ------------------------------------- Conversations: what changes at the site, and what it forgets


RENEWALS = {  # of a nonce: the protocol, and what the nonce action gives
    "classic": ("classic", "0"),
    "nonce action": ("current", FRESH),
    "page": ("current", "0"),
}


@pytest.mark.parametrize(("protocol", "renewal"), RENEWALS.values(), ids=RENEWALS)
def test_a_nonce_that_expires_in_a_conversation_does_not_end_it(protocol, renewal):
    def answer(handler, form):
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            return handler.whole(renewal)
        if "expired" in form.values():
            return handler.whole("The link you followed has expired.", 403)
        return say_hello(handler, form)

    with Site(answer, LOCAL_PAGES[protocol]) as site, ChatgptFree(site.url) as bot:
        chat = introduced(bot)
        spoil_the_nonce(bot)
        for message in ("What is my name?", "And yours?"):
            assert chat.complete(message) == "Hello Ann."
            assert messages_to(site)[-1] == message_for(protocol, chat.messages[:-1])
        assert conversations_of(site) == ([0, 0, 0] if protocol == "current" else [])
        assert len(chat.messages) == 6


def test_a_question_that_is_refused_in_its_answer_is_sent_again_with_the_history():
    """Since the site may remember it: a new conversation doesn't have it."""

    def answer(handler, form):
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            return handler.whole(FRESH)
        if "expired" in form.values() and not asks_for_ticket(form):
            return handler.send_chunked(error_event("Security check failed."))
        return say_hello(handler, form)

    with Site(answer, LOCAL_CURRENT) as site, ChatgptFree(site.url) as bot:
        chat = introduced(bot)
        spoil_the_nonce(bot)
        assert chat.complete("What is my name?") == "Hello Ann."
        assert messages_to(site)[1:] == ["What is my name?", dialogue_text([*ASKED_BEFORE, NEW])]
        assert conversations_of(site) == [0, 0, 1]


def test_the_history_goes_along_to_a_plugin_of_the_other_protocol():
    def answer(handler, form):
        if form["action"].startswith("aipkit") != (site.page is LOCAL_CURRENT):
            return handler.whole("0", 400)
        return say_hello(handler, form)

    with Site(answer, LOCAL_CURRENT) as site, ChatgptFree(site.url) as bot:
        chat = introduced(bot)
        for page in (CLASSIC_PAGE, LOCAL_CURRENT):
            site.page = page
            assert chat.complete("What is my name?") == "Hello Ann."
            assert messages_to(site)[-1] == dialogue_text(chat.messages[:-1])
        chat.complete("And yours?")
        assert messages_to(site)[-1] == "And yours?"


def test_the_history_goes_along_to_the_bot_that_replaces_a_deleted_one():
    first, second = current_box(1, ajax_url=None), current_box(2, ajax_url=None)

    def answer(handler, form):
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            return handler.whole("0", 400)
        if site.page is second and form["bot_id"] == "1" and not asks_for_ticket(form):
            return handler.send_chunked(error_event("Invalid chatbot specified."))
        return say_hello(handler, form)

    with Site(answer, first) as site, ChatgptFree(site.url) as bot:
        chat = introduced(bot)
        site.page = second
        assert chat.complete("What is my name?") == "Hello Ann."
        assert messages_to(site)[-2:] == ["What is my name?", dialogue_text([*ASKED_BEFORE, NEW])]
        chat.complete("And yours?")
        assert messages_to(site)[-1] == "And yours?"


def test_a_conversation_with_a_client_whose_address_is_changed_is_sent_whole():
    with Site(say_hello, LOCAL_CURRENT) as one, Site(say_hello, LOCAL_CURRENT) as two:
        bot = ChatgptFree(one.url)
        chat = introduced(bot)
        bot.url = two.url
        chat.complete("What is my name?")
        assert messages_to(two) == [dialogue_text([*ASKED_BEFORE, NEW])]


def test_the_history_goes_along_to_another_bot_of_the_page(mock):
    add_current(mock, CURRENT_ANSWER)
    chat = ChatgptFree(SITE).conversation()
    for model in (None, "DeepSeek", "DeepSeek", None):
        chat.complete("Hi", model=model)
    # how many questions go along: all, where a bot has not heard them
    assert [form["message"].count("User: Hi") for form in forms(mock)] == [0, 2, 0, 4]


class ForgetfulSession(StubSession):
    """A current site whose model sees the last 15 messages of each conversation.

    `texts_for` takes what the site remembers of a conversation, and returns its next messages. A
    `start` goes before each. `seen` has what the model saw for each question, `asked` the message
    and its conversation's number.
    """

    def __init__(self, start, texts_for):
        super().__init__(CURRENT_PAGE)
        self.start, self.texts_for = start, texts_for
        self.memory, self.seen, self.asked = {}, [], []

    def respond_to(self, url, fields, options):
        if "cache_key" in fields:
            message = self.fields[-1]["message"]
            remembered = self.memory.setdefault(fields["conversation_uuid"], [])
            texts = self.texts_for(remembered)
            remembered.append(message)
            self.seen.append("\n".join(remembered[-15:]))
            self.asked.append((message, list(self.memory).index(fields["conversation_uuid"])))
            remembered.extend(texts)
            self.answer = [*(self.start + data({"delta": text}) for text in texts), CURRENT_DONE]
        return super().respond_to(url, fields, options)


GREETING = ["Welcome!", "Yes."]
# What goes before each message of an answer, these messages, and how many questions go into each
# conversation of the site's.
LONG_CONVERSATIONS = {
    "answers": (START, lambda remembered: ["Yes."], 7),
    "answers without a start": ("", lambda remembered: ["Yes."], 7),
    "a greeting at first": (START, lambda remembered: ["Yes."] if remembered else GREETING, 7),
    "greetings": (START, lambda remembered: GREETING, 5),
}


@pytest.mark.parametrize(
    ("start", "texts_for", "questions"), LONG_CONVERSATIONS.values(), ids=LONG_CONVERSATIONS
)
def test_a_long_conversation_forgets_nothing_though_a_model_is_shown_15_messages(
    start, texts_for, questions
):
    """So many questions go into each conversation of the site's: the first with all of it."""
    session = ForgetfulSession(start, texts_for)
    chat = ChatgptFree(SITE, session=session).conversation("Be terse.")
    asked = [f"Question {number}?" for number in range(20)]
    for question in asked:
        chat.complete(question)
    for number, seen in enumerate(session.seen):
        said = ["Be terse.", *asked[: number + 1]]
        assert [text for text in said if text not in seen] == []
    for number, (message, conversation) in enumerate(session.asked):
        assert conversation == number // questions
        assert (message == asked[number]) is (number % questions > 0)


# ---------------------------------------------------------------------------- Images and web search

JPEG = b"\xff\xd8\xff\xe0" + b"\n" * 9
WEBP = b"RIFF\x0a\0\0\nWEBPVP8 "


class PathLike:
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


@pytest.mark.parametrize(
    ("model", "field"),
    [("GPT", "frontend_web_search_active"), ("Gemini", "frontend_google_search_grounding_active")],
)
def test_a_web_search_is_asked_for_in_the_bots_own_way(mock, model, field):
    add_current(mock, CURRENT_ANSWER, page=OPENAI + GOOGLE)
    bot = ChatgptFree(SITE, model=model)
    bot.complete("Hi", web_search=True)
    bot.complete("Hi")
    searched, plain = forms(mock, "GET")[1:]
    assert {name: searched[name] for name in SEARCH_FIELDS & searched.keys()} == {field: "true"}
    assert not SEARCH_FIELDS & plain.keys()
    assert not any(SEARCH_FIELDS & form.keys() for form in forms(mock))


PLAIN = current_box(3, name="Plain")
PLAIN_AND_OTHERS = PLAIN + OPENAI + GOOGLE
SEARCH, PICTURES = {"web_search": True}, {"image": PNG}
CLASSIC_CHAT = "the classic chat on https://site.example/"
NO_SEARCHES = " takes no web_search; on its page, "
NO_IMAGES = " takes no image; on its page, "
NOT_OFFERED = {
    "search, two do": (
        SEARCH,
        PLAIN_AND_OTHERS,
        f"Plain (3){NO_SEARCHES}GPT (1) and Gemini (2) do",
    ),
    "search, nobody does": (SEARCH, PLAIN, f"Plain (3){NO_SEARCHES}no bot does"),
    "image, one does": (PICTURES, PLAIN_AND_OTHERS, f"Plain (3){NO_IMAGES}GPT (1) does"),
    "image, classic": (PICTURES, CLASSIC_PAGE, f"{CLASSIC_CHAT}{NO_IMAGES}no bot does"),
}


@pytest.mark.parametrize(("options", "page", "words"), NOT_OFFERED.values(), ids=NOT_OFFERED)
def test_what_the_bot_does_not_offer_is_refused_before_any_message(mock, options, page, words):
    add_current(mock, CURRENT_ANSWER, page=page)
    with pytest.raises(ValueError) as caught:
        ChatgptFree(SITE).complete("Hi", **options)
    assert str(caught.value) == words
    assert not forms(mock)


@pytest.mark.parametrize(
    ("raw", "kind", "given"),
    [
        (PNG, "image/png", str),
        (PNG, "image/png", PathLike),
        (JPEG, "image/jpeg", pathlib.Path),
        (WEBP, "image/webp", pathlib.Path.read_bytes),
    ],
    ids=["PNG, a str", "PNG, like a path", "JPEG, a path", "WebP, bytes"],
)
def test_an_image_is_sent_by_its_first_bytes_whatever_its_name(mock, tmp_path, given, raw, kind):
    add_current(mock, CURRENT_ANSWER, page=OPENAI)
    path = tmp_path / "cat.gif"
    path.write_bytes(raw)
    bot = ChatgptFree(SITE)
    assert bot.complete("What is this?", image=given(path)) == "Hello, wörld 🌍"
    bot.complete("Hi")
    with_image, without = forms(mock)
    (image,) = json.loads(with_image["image_inputs"])
    assert image == {"mime_type": kind, "base64_data": base64.b64encode(raw).decode()}
    assert with_image["message"] == "What is this?"
    assert "image_inputs" not in without


NO_PICTURE = "JPEG, PNG or WebP"
UNUSABLE_IMAGES = {
    "GIF": (b"GIF89a" + b"\0" * 9, ValueError, NO_PICTURE),
    "no bytes": (b"", ValueError, NO_PICTURE),
    "WAVE": (b"RIFF\0\0\0\0WAVEfmt ", ValueError, NO_PICTURE),
    "late": (b" " + PNG, ValueError, NO_PICTURE),
    "bytearray": (bytearray(PNG), TypeError, "image must be .* not bytearray"),
    "missing": ("no such file.png", FileNotFoundError, "no such file.png"),
}


@pytest.mark.parametrize(("image", "kind", "words"), UNUSABLE_IMAGES.values(), ids=UNUSABLE_IMAGES)
def test_an_image_that_cannot_be_sent_is_refused_at_the_call(image, kind, words):
    bot = ChatgptFree(NOBODY)
    for call in (bot.stream, bot.complete, bot.conversation().stream):
        with pytest.raises(kind, match=words):
            call("Hi", image=image)


def test_an_image_of_over_20_000_000_bytes_is_refused():
    with pytest.raises(ValueError, match="20,000,000 bytes"):
        ChatgptFree(NOBODY).stream("Hi", image=PNG + b"\0" * 20_000_000)


def test_an_image_needs_a_prompt():
    with pytest.raises(ValueError, match="the prompt is empty"):
        ChatgptFree(NOBODY).stream("", image=PNG)


def test_an_image_of_exactly_the_limit_is_sent_but_no_byte_more(set_limits, tmp_path, mock):
    set_limits(IMAGE_LIMIT=len(PNG))
    add_current(mock, CURRENT_ANSWER, page=OPENAI)
    ChatgptFree(SITE).complete("Hi", image=PNG)
    (tmp_path / "cat.png").write_bytes(PNG + b"\0")
    for image in (PNG + b"\0", tmp_path / "cat.png"):
        with pytest.raises(ValueError, match=f"over {len(PNG)} bytes"):
            ChatgptFree(SITE).complete("Hi", image=image)


def test_an_image_in_a_conversation_goes_with_its_own_message_only(mock):
    add_current(mock, CURRENT_ANSWER, page=OPENAI)
    chat = ChatgptFree(SITE).conversation()
    chat.complete("What is this?", image=PNG)
    chat.complete("And what colour?")
    assert ["image_inputs" in form for form in forms(mock)] == [True, False]
    assert chat.messages[0] == {"role": "user", "content": "What is this?"}


# --------------------------------------------------------------------- Helpers: screen and notebook

FOUND = [{"title": "Paris", "url": "https://example.org/?a=1&b=2"}]
WAITING = "waiting for the answer ..."
# What can end a shown answer before its end.
ENDS = {"interrupt": KeyboardInterrupt(), "broken answer": IncompleteReplyError("it broke off")}


# The element of a formula that MathJax typesets.
PROCESS = 'class="tex2jax_process mathjax_process" dir="ltr"'


def streamed(*texts, error=None, sources=(), clock=None, seconds=1.0):
    """What `stream` returns: a generator of pieces, which returns the whole Reply at its end.

    So many seconds of a clock pass before each piece.
    """
    yield from clock.each_after(seconds, *texts) if clock else texts
    if error:
        raise error
    return Reply("".join(texts), sources, "stop")


def html_of(text):
    return Reply(text)._repr_html_()


WHOLE = (Reply, "Hello", FOUND, "stop")


class Notebook:
    """Stands in for IPython in a notebook, and for the output of its cell.

    `displayed` has what was displayed, in order; a display that was changed is what it is now.
    `drawn` has the HTML of each change, and `seen` all of them and each display.
    """

    def __init__(self, clock):
        self.displayed, self.drawn, self.seen = [], [], []
        self.clock, self.execution_count, self.kernel = clock, 1, object()
        self.display = types.SimpleNamespace(display=self.display_one)

    def get_ipython(self):
        return self

    def display_one(self, value, raw=False, display_id=False):
        position = len(self.displayed)
        self.displayed.append(value)
        self.seen.append(value)

        def update(value, raw):
            self.displayed[position] = value
            self.drawn.append(value["text/html"])
            self.seen.append(value)

        return types.SimpleNamespace(update=update) if display_id else None

    def come(self, *texts, **options):
        """What `stream` returns, by the clock of the notebook."""
        return streamed(*texts, clock=self.clock, **options)


NOTHING = {"text/html": ""}


@pytest.fixture
def notebook(monkeypatch, clock):
    notebook = Notebook(clock)
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    return notebook


@pytest.fixture
def instead_of_rendering(monkeypatch):
    """A function that sets what is called in place of the Markdown parser, with the text."""
    from markdown_it import MarkdownIt

    def set_function(function):
        monkeypatch.setattr(MarkdownIt, "render", lambda parser, text: function(text))

    return set_function


class IdleStream(io.StringIO):
    """IDLE's window: it says that it is a terminal, and is no file."""

    def isatty(self):
        return True


class FileStream(io.StringIO):
    """A file, which is no terminal."""

    def fileno(self):
        return 7


class TerminalStream(FileStream, IdleStream):
    """The output of a terminal, which is both."""


class BareStream:
    """What an application with a window puts in place of sys.stdout: it can write, and no more."""

    text = ""

    def write(self, text):
        self.text += text

    def getvalue(self):
        return self.text


def encoded_stream(encoding):
    return io.TextIOWrapper(io.BytesIO(), encoding, newline="\n")


@pytest.fixture
def when_printed(monkeypatch):
    """A function that replaces a standard stream, and calls `action` when it is given `text`."""

    def use(text, action, stream="stdout"):
        class Screen(io.StringIO):
            def write(self, given):
                length = super().write(given)
                if given == text:
                    action()
                return length

        monkeypatch.setattr(sys, stream, Screen())

    return use


def fail_with(error):
    """A function that raises this error, whatever it is given."""

    def fail(*arguments, **options):
        raise error

    return fail


@pytest.fixture
def screen(monkeypatch):
    """A function that replaces sys.stdout and sys.stderr. The terminal has so many columns."""

    def replace(stdout, stderr, columns=80):
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", stderr)
        size = os.terminal_size((columns, 24))
        monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: size)
        return stdout, stderr

    return replace


# -------------------------------------------------------------------------------------------- Reply


def test_a_reply_is_a_str_with_the_repr_of_a_str():
    reply = Reply("It's")
    assert (isinstance(reply, str), reply, repr(reply)) == (True, "It's", '"It\'s"')


def test_a_reply_tells_nothing_that_it_was_not_given():
    assert all_of(Reply()) == (Reply, "", [], "")


def test_a_reply_has_a_list_of_sources_of_its_own():
    first = Reply("x", FOUND)
    first.sources.append({})
    assert (len(FOUND), Reply("x").sources) == (1, [])


@each_copy
def test_a_copy_of_a_reply_keeps_its_sources_and_why_it_ended(again):
    assert all_of(again(Reply("Hello", FOUND, "stop"))) == WHOLE


PRINTERS = {
    "a reply": ({"stack": [1]}, "**a**\n[31mb"),
    "a list of replies": ({"stack": [1, 2]}, r"'**a**\n\x1b[31mb\u202e'"),
    "another printer": ({}, "**a**\n[31mb"),
}


@pytest.mark.parametrize(("attributes", "shown"), PRINTERS.values(), ids=PRINTERS)
def test_ipython_shows_the_text_and_quotes_it_only_in_a_list(attributes, shown):
    printed = []
    printer = types.SimpleNamespace(text=printed.append, **attributes)
    Reply("**a**\n\x1b[31mb\u202e")._repr_pretty_(printer, False)
    assert printed == [shown]


def test_a_notebook_gets_neither_markdown_nor_a_bundle():
    """It would trust the Markdown; and terminals would ask for the bundle too."""
    assert not {"_repr_markdown_", "_repr_mimebundle_"} & set(dir(Reply))


# ------------------------------------------------------------------------------- show in a notebook


def test_in_a_notebook_an_answer_grows_in_its_place(notebook, capsys):
    show(notebook.come("**Hel", "lo", "**"))
    assert notebook.drawn[:3] == [html_of("**Hel"), html_of("**Hello"), html_of("**Hello**")]
    assert capsys.readouterr() == ("", "")


def test_an_answer_that_has_not_begun_takes_no_place(notebook):
    def texts():
        assert notebook.displayed == [NOTHING]
        yield "x"

    assert show(texts()) == "x"


def test_at_the_end_the_reply_is_displayed_and_then_what_grew_is_emptied(notebook):
    """A console and an Output of ipywidgets show no changes; a notebook would be blank between."""
    show(notebook.come("Hel", "lo", sources=FOUND))
    *_, reply, last = notebook.seen
    assert (all_of(reply), last) == (WHOLE, NOTHING)
    assert len(notebook.displayed) == 2


def test_what_grew_gives_way_to_the_reply(notebook):
    """With both of them a notebook's page would be twice as long for a moment."""
    show(notebook.come("Hel", "lo"))
    *_, whole, giving_way, _ = notebook.drawn
    assert giving_way.startswith(f'{whole}<style class="chatgptfree-gives-way">')


def test_formulas_are_text_until_the_end(notebook):
    show(notebook.come("$x$ ", "$y$"))
    assert [html_text.count("<span dir") for html_text in notebook.drawn] == [1, 2, 2, 0]
    assert "_process" not in "".join(notebook.drawn)
    assert notebook.displayed[1]._repr_html_().count(PROCESS) == 2


def test_an_answer_is_drawn_ten_times_a_second_at_most(notebook):
    show(notebook.come(*"x" * 256, seconds=1 / 64))  # four seconds, a draw at each 7th piece
    # and the whole, and what gives way
    assert len(notebook.drawn) == 36 + 2
    assert notebook.displayed[1] == "x" * 256


def test_what_takes_long_to_draw_is_drawn_less_often(notebook, instead_of_rendering):
    drawn = []

    def render(text):
        notebook.clock.now += 1
        drawn.append(len(text))
        return text

    instead_of_rendering(render)
    show(notebook.come(*"x" * 160, seconds=0.125))  # twenty seconds; a draw takes 1, then 4 pass
    assert drawn == [1, 33, 65, 97, 129]


def test_text_that_cannot_be_html_grows_as_it_is_but_for_controls(notebook, monkeypatch):
    monkeypatch.setitem(sys.modules, "markdown_it", None)
    show(notebook.come("<b>\x1b"))
    assert notebook.drawn[0] == '<pre dir="auto" style="white-space:pre-wrap">&lt;b&gt;</pre>'


@pytest.mark.parametrize("error", ENDS.values(), ids=ENDS)
def test_what_had_come_stays_in_the_notebook(notebook, error):
    with pytest.raises(type(error)):
        show(notebook.come("one ", "two", seconds=0.01, error=error))
    assert notebook.seen == [NOTHING, "one two", NOTHING]


def test_where_no_answer_came_the_notebook_shows_none(notebook):
    with pytest.raises(ChatgptFreeError):
        show(notebook.come(error=ChatgptFreeError("No.")))
    assert notebook.displayed == [NOTHING]


def test_an_interrupt_while_drawing_closes_the_answer(notebook, instead_of_rendering):
    instead_of_rendering(fail_with(KeyboardInterrupt))
    kept = notebook.come("a", "b")  # Python closes a generator that nobody keeps
    with pytest.raises(KeyboardInterrupt):
        show(kept)
    assert inspect.getgeneratorstate(kept) == inspect.GEN_CLOSED
    assert notebook.displayed == [NOTHING, "a"]


def test_a_shown_answer_is_not_shown_again_by_its_own_cell(notebook):
    reply = show(notebook.come("Hello"))
    before = notebook.displayed.copy()
    reply._ipython_display_()
    assert notebook.displayed == before


def test_a_shown_answer_is_shown_by_a_later_cell(notebook):
    reply = show(notebook.come("Hello", sources=FOUND))
    notebook.execution_count += 1
    reply._ipython_display_()
    assert [all_of(shown) for shown in notebook.displayed[1:]] == [WHOLE, WHOLE]


@each_copy
def test_a_copy_of_a_shown_answer_is_an_ordinary_reply(notebook, again):
    assert all_of(again(show(notebook.come("Hello", sources=FOUND)))) == WHOLE


# --------------------------------------------------------------------------------- show at a prompt


def test_in_ipythons_terminal_an_answer_is_printed_and_not_echoed(monkeypatch, capsys):
    shell = types.SimpleNamespace(execution_count=1)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    show(["Hello"])._ipython_display_()
    assert capsys.readouterr() == ("Hello\n", "")


def test_pythons_own_prompt_echoes_an_answer_as_it_echoes_everything(monkeypatch, capsys):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    monkeypatch.setattr(sys, "displayhook", sys.__displayhook__)
    monkeypatch.setattr(builtins, "_", None, raising=False)
    code.InteractiveInterpreter({"show": show}).runsource("show(['Hel', 'lo'])")
    assert capsys.readouterr().out == "Hello\n'Hello'\n"


NO_IPYTHON = {
    "not running": types.SimpleNamespace(get_ipython=lambda: None),
    "empty stand-in": types.ModuleType("IPython"),
    "full stand-in": types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel=1)),
}


@pytest.mark.parametrize("module", NO_IPYTHON.values(), ids=NO_IPYTHON)
def test_where_ipython_does_not_run_an_answer_is_printed(module, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "IPython", module)
    assert (type(show(["Hello"])), capsys.readouterr().out) == (Reply, "Hello\n")


def test_nothing_of_a_notebook_is_imported_where_there_is_none():
    script = (
        "import sys, chatgptfree; chatgptfree.show(['Hi']); "
        "print({'IPython', 'markdown_it', 'pygments', 'html'} & set(sys.modules))"
    )
    result = run_python("-c", script)
    assert (result.stdout, result.stderr) == ("Hi\nset()\n", "")


# -------------------------------------------------------------------------------------- show prints

NO_STREAMS = {"str": "x", "Reply": Reply("x"), "bytes": b"x", "NoneType": None}


@pytest.mark.parametrize(("kind", "texts"), NO_STREAMS.items(), ids=NO_STREAMS)
def test_show_says_what_it_takes(kind, texts):
    with pytest.raises(TypeError) as caught:
        show(texts)
    assert str(caught.value) == f"show takes what stream returns, as in show(stream(…)), not {kind}"


def test_show_returns_the_whole_reply():
    assert all_of(show(streamed("Hel", "lo", sources=FOUND))) == WHOLE


def test_any_iterable_of_text_is_printed(capsys):
    reply = show(["Hel", "lo"])
    assert (all_of(reply), capsys.readouterr().out) == ((Reply, "Hello", [], ""), "Hello\n")


def test_where_nothing_came_nothing_is_printed(capsys):
    assert (show([]), capsys.readouterr()) == ("", ("", ""))


@pytest.mark.parametrize("error", ENDS.values(), ids=ENDS)
def test_what_had_been_printed_ends_with_a_line_end(capsys, error):
    with pytest.raises(type(error)):
        show(streamed("one ", "two", error=error))
    assert capsys.readouterr().out == "one two\n"


def test_without_a_terminal_text_passes_as_it_is(capsys):
    show(["a\x1b[31m\r\u202eb"])
    assert capsys.readouterr().out == "a\x1b[31m\r\u202eb\n"


def test_each_piece_is_flushed_as_it_comes(screen):
    stdout, _ = screen(encoded_stream("utf-8"), io.StringIO())
    seen = []

    def texts():
        for text in "ab":
            yield text
            seen.append(stdout.buffer.getvalue())

    show(texts())
    assert seen == [b"a", b"ab"]


def test_an_interrupt_while_printing_closes_the_answer(when_printed):
    when_printed("a", fail_with(KeyboardInterrupt))
    kept = streamed("a", "b")  # Python closes a generator that nobody keeps
    with pytest.raises(KeyboardInterrupt):
        show(kept)
    assert inspect.getgeneratorstate(kept) == inspect.GEN_CLOSED


COLUMNS = {"usual": (80, WAITING), "narrow": (11, "waiting "), "unknown": (0, WAITING)}


@pytest.mark.parametrize(("columns", "notice"), COLUMNS.values(), ids=COLUMNS)
def test_a_notice_stands_on_one_line_until_the_first_piece(screen, columns, notice):
    stdout, stderr = screen(io.StringIO(), TerminalStream(), columns)
    wiped = f"{notice}\r{' ' * len(notice + '^C')}\r"

    def texts():
        assert stderr.getvalue() == notice
        yield "a"
        assert stderr.getvalue() == wiped
        yield "b"

    show(texts())
    assert (stdout.getvalue(), stderr.getvalue()) == ("ab\n", wiped)


def test_the_notice_is_wiped_where_no_answer_comes(screen):
    stdout, stderr = screen(io.StringIO(), TerminalStream())
    with pytest.raises(KeyboardInterrupt):
        show(streamed(error=KeyboardInterrupt()))
    assert (stdout.getvalue(), stderr.getvalue()) == ("", f"{WAITING}\r{' ' * 28}\r")


NO_TERMINALS = {"file": FileStream, "IDLE": IdleStream, "application": BareStream}


@pytest.mark.parametrize("stream", NO_TERMINALS.values(), ids=NO_TERMINALS)
def test_there_is_no_notice_where_it_could_not_be_wiped(screen, stream):
    stdout, stderr = screen(stream(), stream())
    show(["Hello"])
    assert (stdout.getvalue(), stderr.getvalue()) == ("Hello\n", "")


STEERING = {
    "colour": ("a\x1b[31mb", "a[31mb"),
    "carriage return": ("a\r\nb\rc", "a\nbc"),
    "backspace, bell, DEL, NUL": ("a\x08\x07\x7f\x00b", "ab"),
    "eight-bit control": ("a\x9b31mb", "a31mb"),
    "bidirectional override": ("a\u202a\u202eb\u2066\u2069c", "abc"),
    "half of a character": ("a\ud83db", "ab"),
    "harmless": ("a\tb\n\xe9 中 \U0001f469\u200d\U0001f4bb \xa0",) * 2,
}


@pytest.mark.parametrize(("text", "shown"), STEERING.values(), ids=STEERING)
def test_what_steers_a_terminal_does_not_reach_it(screen, text, shown):
    stdout, _ = screen(TerminalStream(), io.StringIO())
    assert show([text]) == text
    assert stdout.getvalue() == f"{shown}\n"


ENCODINGS = {"cp1252": ("€ 中", "€ ?"), "utf-8": ("€ 中 \ud83d", "€ 中 ?")}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_the_output_cannot_encode_is_replaced(screen, encoding):
    text, printed = ENCODINGS[encoding]
    stdout, _ = screen(encoded_stream(encoding), io.StringIO())
    assert show([text]) == text
    assert stdout.buffer.getvalue().decode(encoding) == f"{printed}\n"


def test_an_answer_is_returned_where_there_is_no_output_at_all(screen):
    screen(None, None)
    assert show(["Hel", "lo"]) == "Hello"


# ------------------------------------------------------------------------------------ Helpers: HTML

LINK = 'rel="noopener noreferrer"'
HTML_FRAME = ('<div class="markdown prose tex2jax_ignore mathjax_ignore" dir="auto">', "</div>")


def inner_html(text, sources=()):
    """The HTML of an answer without the element around it and without line ends."""
    html_text = Reply(text, sources)._repr_html_()
    start, end = HTML_FRAME
    assert html_text.startswith(start) and html_text.endswith(end)
    return html_text[len(start) : -len(end)].replace("\n", "")


@pytest.fixture
def slow_cpu(monkeypatch):
    """Each look at the CPU time finds it a millisecond later."""
    ticks = itertools.count()
    monkeypatch.setattr(time, "thread_time", lambda: next(ticks) / 1000)


@pytest.fixture
def colours(monkeypatch):
    """Packages for coloured code are there. Keywords have one colour, and nothing else has any.

    Colours are cached, so each test has code of its own.
    """
    style = pytest.importorskip("pygments.style")
    token = pytest.importorskip("pygments.token")
    jupyter_style = type("JupyterStyle", (style.Style,), {"styles": {token.Keyword: "var(--k)"}})
    package = types.SimpleNamespace(JupyterStyle=jupyter_style)
    monkeypatch.setitem(sys.modules, "jupyterlab_pygments", package)


RETURN = '<span style="color: var(--k)">return</span>'
ITEM = '<li dir="auto">'
FROM_START = 'style="text-align:start"'


def paragraph(html_text):
    return f'<p dir="auto">{html_text}</p>'


# --------------------------------------------------------------------------------- Markdown as HTML

MARKDOWN = {
    "emphasis": ("*a* **b** ~~c~~", "<em>a</em> <strong>b</strong> <s>c</s>"),
    "HTML": ("<b>a</b><br>", "&lt;b&gt;a&lt;/b&gt;&lt;br&gt;"),
    "code": ("`a<b`", '<code dir="ltr">a&lt;b</code>'),
    "link": ("[a](https://b.c)", f'<a href="https://b.c" {LINK}>a</a>'),
    "link in upper case": ("<HTTP://b.c>", f'<a href="HTTP://b.c" {LINK}>HTTP://b.c</a>'),
    "mail": ("<a@b.c>", f'<a href="mailto:a@b.c" {LINK}>a@b.c</a>'),
    "picture": ("![a](https://b.c?d&e)", f'<a href="https://b.c?d&amp;e" {LINK}>a</a>'),
    "nameless picture": ("![](https://b.c)", f'<a href="https://b.c" {LINK}>image</a>'),
    "half of a character": ("a\ud83d", "a?"),
}


@pytest.mark.parametrize(("text", "html_text"), MARKDOWN.values(), ids=MARKDOWN)
def test_markdown_is_shown_as_html(text, html_text):
    assert inner_html(text) == paragraph(html_text)


BLOCKS = {
    "heading": ("# a", '<h1 dir="auto">a</h1>'),
    "nested lists": ("1. a\n   - b", f"<ol>{ITEM}a<ul>{ITEM}b</li></ul></li></ol>"),
    "code": ("```\na<b\n```", '<pre dir="ltr"><code>a&lt;b</code></pre>'),
    "indented code": ("    a<b", '<pre dir="ltr"><code>a&lt;b</code></pre>'),
    "rule": ("---", "<hr />"),
}


@pytest.mark.parametrize(("text", "html_text"), BLOCKS.values(), ids=BLOCKS)
def test_blocks_are_shown_as_html_and_code_from_left_to_right(text, html_text):
    assert inner_html(text) == html_text


def test_cells_start_where_their_text_does_unless_the_column_says_otherwise():
    cells = re.findall("<(t[hd] .*?)>", html_of("a|b\n-|-:\nc|d"))
    start, right = f'dir="auto" {FROM_START}', 'style="text-align:right" dir="auto"'
    assert cells == [f"th {start}", f"th {right}", f"td {start}", f"td {right}"]


BREAKS = {
    "break": ("a<br>b", "a<br />b"),
    "other ways to write it": ("**a<BR/>b**<br />c", "<strong>a<br />b</strong><br />c"),
    "code": ("`a<br>b`", '<code dir="ltr">a&lt;br&gt;b</code>'),
    "escaped": (r"a\<br>b", "a&lt;br&gt;b"),
    "another tag": ("a<br onclick=x>b<b>", "a&lt;br onclick=x&gt;b&lt;b&gt;"),
}


@pytest.mark.parametrize(("cell", "html_text"), BREAKS.values(), ids=BREAKS)
def test_br_breaks_a_line_of_a_cell_and_no_other_tag_does_anything(cell, html_text):
    table = inner_html(f"|{cell}|\n|-|\n|{cell}|")
    assert re.findall(f'<t[hd] dir="auto" {FROM_START}>(.*?)</t[hd]>', table) == [html_text] * 2


LIST = f'<ul dir="rtl">{ITEM}'

RIGHT_TO_LEFT = {
    "paragraph": ("אב", f'<p dir="auto" {FROM_START}>אב</p>'),
    "list": ("- אב\n- a", f"{LIST}אב</li>{ITEM}a</li></ul>"),
    "list that begins with a sign": ("1. «7 سلام»", f'<ol dir="rtl">{ITEM}«7 سلام»</li></ol>'),
    "list that begins with code": ("- `a` אב", f'{LIST}<code dir="ltr">a</code> אב</li></ul>'),
    "list whose first item has no letter": ("- 1\n- אב", f"{LIST}1</li>{ITEM}אב</li></ul>"),
    "list in a list": ("- a\n  - אב", f"<ul>{ITEM}a{LIST}אב</li></ul></li></ul>"),
    "paragraphs of a list": (
        "- אב\n\n  a",
        f"{LIST}<p {FROM_START}>אב</p>{paragraph('a')}</li></ul>",
    ),
}


@pytest.mark.parametrize(("text", "html_text"), RIGHT_TO_LEFT.values(), ids=RIGHT_TO_LEFT)
def test_blocks_begin_where_their_language_does(text, html_text):
    """The browser finds it out, but not for a list, whose items have directions of their own."""
    assert inner_html(text) == html_text


def test_a_table_begins_where_its_language_does():
    right_to_left = '<table dir="rtl" style="margin-inline:0 auto">'
    assert inner_html("אב|a\n-|-").startswith(right_to_left)
    assert inner_html("a|אב\n-|-").startswith("<table>")


def test_forty_levels_of_quotation_are_shown():
    assert html_of("> " * 40 + "deep").count("<blockquote>") == 40


# ------------------------------------------------------------------------------------------ Sources

LONGEST_URL = "https://b.c/".ljust(2000, "x")

# What a search found, and the address and the text of its link.
SOURCES = {
    "HTML": ({"title": "A <b>", "url": "https://b.c?x&y"}, "https://b.c?x&amp;y", "A &lt;b&gt;"),
    "no title": ({"url": "https://b.c"}, "https://b.c", "https://b.c"),
    "empty title": ({"title": " ", "url": "https://b.c"}, "https://b.c", "https://b.c"),
    "title of another type": ({"title": 7, "url": "https://b.c"}, "https://b.c", "https://b.c"),
    "long title": ({"title": "ab" * 200, "url": "https://b.c"}, "https://b.c", "ab" * 150),
    "half of a character": ({"title": "\ud83d", "url": "https://b.c"}, "https://b.c", "?"),
    "odd address": ({"title": "a", "url": "https://["}, "https://%5B", "a"),
    "longest address": ({"title": "a", "url": LONGEST_URL}, LONGEST_URL, "a"),
}


@pytest.mark.parametrize(("source", "url", "title"), SOURCES.values(), ids=SOURCES)
def test_a_source_is_listed_below_the_answer(source, url, title):
    item = f'{ITEM}<a href="{url}" {LINK}>{title}</a></li>'
    assert inner_html("a", [source]) == f"{paragraph('a')}<ol>{item}</ol>"


NO_SOURCES = {
    "script": {"title": "a", "url": " javascript:x"},
    "data": {"title": "a", "url": "data:text/html,x"},
    "no scheme": {"title": "a", "url": "//b.c"},
    "long address": {"title": "a", "url": LONGEST_URL + "x"},
    "no address": {"title": "a"},
    "address of another type": {"title": "a", "url": 7},
    "no source": None,
}


@pytest.mark.parametrize("source", NO_SOURCES.values(), ids=NO_SOURCES)
def test_what_leads_nowhere_is_not_listed(source):
    assert inner_html("a", [source]) == paragraph("a")


def test_a_hundred_sources_are_listed():
    assert inner_html("a", FOUND * 101).count("<li") == 100


# ----------------------------------------------------------------------------------------- Formulas


def inline_formula(formula):
    return paragraph(rf"a <span {PROCESS}>\({formula}\)</span> b")


def display_formula(formula):
    return rf"<div {PROCESS}>\[{formula}\]</div>"


MATRIX = r"\begin{matrix}x\\[2pt]y\end{matrix}"
ALIGN = r"\begin{align} x & = y \\ & < z \end{align}"
GATHER = r"\begin{gather*}x\end{gather*}"

FORMULAS = {
    "dollars": ("a $x_1 + y_2$ b", inline_formula("x_1 + y_2")),
    "escaped dollar": (r"a $\$5$ b", inline_formula(r"\$5")),
    "second opening": (r"a \(c \(x\) b", paragraph(rf"a (c <span {PROCESS}>\(x\)</span> b")),
    "HTML's characters": (r"a \(x<y & z\) b", inline_formula("x&lt;y &amp; z")),
    "space between rows": (rf"a \({MATRIX}\) b", inline_formula(MATRIX)),
    "display in text": (r"a \[x\] b", paragraph(rf"a <span {PROCESS}>\[x\]</span> b")),
    "display of dollars": ("$$x$$", display_formula("x")),
    "lines like Markdown": ("\\[\nx\n=\ny\n- z\n\\]", display_formula("x=y- z")),
    "text behind": ("$$x$$ b", paragraph(rf"<span {PROCESS}>\[x\]</span> b")),
    "between lines": ("a\n$$\nx\n$$\nb", paragraph("a") + display_formula("x") + paragraph("b")),
    "quotation": ("> \\[\n> x\n> \\]", f"<blockquote>{display_formula('x')}</blockquote>"),
    "list": ("- a\n\n  $$\n  x\n  $$", f"<ul>{ITEM}<p>a</p>{display_formula('x')}</li></ul>"),
    "environment below text": (f"a\n{ALIGN}", paragraph("a") + display_formula(html.escape(ALIGN))),
    "two environments": (f"{GATHER}\n{GATHER}", display_formula(GATHER) * 2),
    "label": (r"a $x \label{eq:1} y$ b", inline_formula("x  y")),
}


@pytest.mark.parametrize(("text", "html_text"), FORMULAS.values(), ids=FORMULAS)
def test_a_formula_is_given_to_mathjax(text, html_text):
    assert inner_html(text) == html_text


@pytest.mark.parametrize("name", ["alignat", "eqnarray", "equation", "flalign", "multline"])
def test_an_environment_of_any_kind_is_given_to_mathjax(name):
    environment = rf"\begin{{{name}}}x\end{{{name}}}"
    assert inner_html(environment) == display_formula(environment)


NO_FORMULAS = {
    "prices": ("US$15–$20",) * 2,
    "variables": ("$HOME and $PATH",) * 2,
    "blank behind the opening": ("$ x$",) * 2,
    "no end of a display": ("$$5",) * 2,
    "code": ("`$x$`", '<code dir="ltr">$x$</code>'),
    "dollar before code": ("$a `b$`", '$a <code dir="ltr">b$</code>'),
    "empty line within": ("\\[\nx\n\ny\n\\]", '[x</p><p dir="auto">y]'),
    "environment in text": (f"a {GATHER}",) * 2,
    "text behind an environment": (f"{GATHER} a",) * 2,
    "environment of another kind": (r"\begin{itemize}a\end{itemize}",) * 2,
    "no end of an environment": (r"\begin{align}a\end{gather}",) * 2,
}


@pytest.mark.parametrize(("text", "html_text"), NO_FORMULAS.values(), ids=NO_FORMULAS)
def test_what_only_looks_like_a_formula_is_none(text, html_text):
    assert inner_html(text) == paragraph(html_text)


def test_indented_code_holds_no_formulas():
    assert inner_html("    \\[x\\]") == '<pre dir="ltr"><code>\\[x\\]</code></pre>'


def test_the_begin_of_a_list_ends_a_formula():
    quotation = f"<blockquote>{paragraph('$$')}</blockquote>"
    assert inner_html("> $$\n- x$$") == f"{quotation}<ul>{ITEM}x$$</li></ul>"


UNSAFE_COMMANDS = (
    "href url htmlId class cssId style data mmlToken bbox colorbox fcolorbox unicode require"
    " includegraphics def edef gdef xdef let global newcommand renewcommand providecommand"
    " DeclareMathOperator Newextarrow setOptions tooltip"
)


@pytest.mark.parametrize("command", UNSAFE_COMMANDS.split())
def test_a_formula_that_does_more_than_typeset_stays_text(command):
    text = rf'a <span dir="ltr">\(\{command}\x y\)</span> b'
    assert inner_html(rf"a \(\{command}\x y\) b") == paragraph(text)


@pytest.mark.parametrize("form", ["a ${}$", r"\[{}\]", "$${}$$", r"\begin{align}{}\end{align}"])
def test_an_unsafe_formula_of_any_form_stays_text(form):
    html_text = html_of(form.replace("{}", r"\href{x}{y}"))
    assert r"\href{x}{y}" in html_text and "_process" not in html_text


# What is typeset, and what is not: where something is counted, the first beyond its limit.
COSTLY_TEX = {
    "length": ("a" * 1996, "a" * 1997),
    "braces": ("{" * 30 + "a" + "}" * 30, "{" * 31 + "a" + "}" * 31),
    "braces in turn": ("{a}" * 100, "{a" * 31),
    "escaped braces": (r"\{" * 40, r"\\{" * 31),
    "brackets of any size": (r"\left(" * 30, r"\left(" * 31),
    "environments": (r"\begin{matrix}" * 29, r"\begin{matrix}" * 30),
    "sizes": (r"\tiny a" * 30, r"\tiny a" * 31),
    "styles": (r"\displaystyle a" * 30, r"\displaystyle a" * 31),
    "chemistry": (r"\ce{" + "H" * 191 + "}", r"\ce{" + "H" * 192 + "}"),
    "units": (r"\pu{" + "m" * 191 + "}", r"\pu{" + "m" * 192 + "}"),
    "columns": (r"\begin{alignat}{99}a", r"\begin{alignat}{100}a"),
    "columns behind an option": (r"\begin{alignedat}[t]{99}a", r"\begin{alignedat}[t] {100}a"),
    "a number of nine digits": ("x^{99999999}", "x^{999999999}"),
    "comment": (r"50\% {}", "{%}\n"),
    "area": (r"\hline", r"\rule{9em}{9em}"),
    "text as it is": (r"\text{a}", r"\verb|a|"),
    "printed twice": (r"\boldsymbol{a}", r"\pmb{a}"),
    "measured twice": (r"\overbrace{a}", r"\overbracket{a}"),
    "arrows": (r"\xrightarrow{a}" * 7, r"\xrightarrow{a}" * 8),
}


@pytest.mark.parametrize(("tex", "costly_tex"), COSTLY_TEX.values(), ids=COSTLY_TEX)
def test_a_formula_that_would_keep_the_page_busy_stays_text(tex, costly_tex):
    assert inner_html(rf"a \({tex}\) b") == inline_formula(html.escape(tex).replace("\n", ""))
    assert "_process" not in html_of(rf"a \({costly_tex}\) b")


# What a formula is, and how many of its kind are typeset.
MANY_FORMULAS = {
    "short": ("$a$ ", 1000),
    "long": ("$" + "a" * 998 + "$ ", 15),
    "in another script": ("$" + "中" * 333 + "a$ ", 14),
    "chemistry": (r"$\ce{" + "H" * 180 + "}$ ", 20),
    "arrows": (r"$\xrightarrow{" + "a" * 234 + "}$ ", 15),
    "fractions": (r"$\cfrac1{" + "a" * 239 + "}$ ", 15),
    "boxes": (r"$\boxed{" + "a" * 240 + "}$ ", 15),
}


@pytest.mark.parametrize(("formula", "count"), MANY_FORMULAS.values(), ids=MANY_FORMULAS)
def test_only_so_many_formulas_of_an_answer_are_typeset(formula, count):
    html_text = html_of(formula * (count + 1))
    assert (html_text.count(PROCESS), html_text.count("<span")) == (count, count + 1)


MATHJAX = {
    "escaped parentheses": r"\\(\href{javascript:x}{y}\\)",
    "class of its own": r'<span class="mathjax_process">\(\href{javascript:x}{y}\)</span>',
    "character references": r"&#92;(x&#92;) &#36;x&#36;",
}


@pytest.mark.parametrize("text", MATHJAX.values(), ids=MATHJAX)
def test_mathjax_gets_nothing_but_the_formulas_that_were_found(text):
    # the class of the answer's own is shown, as text
    assert "_process" not in re.sub("&lt;.*?&gt;", "", inner_html(text))


# ---------------------------------------------------------------------------------- Hostile answers

# A tag or an attribute that no Markdown becomes, or an address that isn't one of the web.
DANGEROUS = re.compile(
    r"<(?!/?(?:a|blockquote|br|code|del|div|em|h[1-6]|hr|li|ol|p|pre|s|span|strong|table|tbody|td|th"
    r"|thead|tr|ul)(?: (?:dir|href|title|rel|class|style|start)=\"[^\"<>]*\")*(?: /)?>)"
    r"|href=\"(?!https?://|mailto:|\")",
    re.IGNORECASE,
)

HARMFUL = ['<p onclick="x">', '<a href="javascript:x">', '<a href="//x">', "<script>"]


def test_the_judge_of_hostile_answers_finds_what_is_dangerous():
    assert [markup for markup in HARMFUL if not DANGEROUS.search(markup)] == []


HOSTILE = {
    "picture": "<img src=x onerror=x()>",
    "script link": "[x](JaVaScRiPt:x())",
    "script link with a tab": "[x](java&Tab;script:x())",
    "script link after blanks": "[x](<  javascript:x()>)",
    "data link": "[x](data:text/html;base64,PHNjcmlwdD4x)",
    "file link": "[x](file:///etc/passwd)",
    "link without a scheme": "[x](//evil.example)",
    "link into the notebook": "[x](/lab/tree/x)",
    "link into it by an address of the web": "[x](https:lab/tree/x)",
    "link to a place": "[x](#main)",
    "script autolink": "<javascript:x()>",
    "definition": "[x]: <java\tscript:x()>\n\n[x] ![x]",
    "script picture": "![x](javascript:x())",
    "picture in its text": "![<img src=x onerror=x()>](https://a.example)",
    "picture with an attribute": '![x](https://a.example/"onerror="x() "\\" onerror=\\"x()")',
    "picture in a link": "[![x](javascript:x())](javascript:x())",
    "table": '| <br><img src=x onerror=x()> |\n|-:"onclick=x()|\n| $<img src=x onerror=x()>$ |',
    "formula": "\\(</span><img src=x onerror=x()>\\)",
    "environment": "\\begin{align}\n</div><img src=x onerror=x()>\n\\end{align}",
    "unsafe formula": "$\\href{x}{</span><img src=x onerror=x()>}$",
    "formula over code": "`a $b` <img src=x onerror=x()> c$",
    "deep quotation": "> " * 60 + "<img src=x onerror=x()>",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_answer_comes_out_harmless(text):
    assert DANGEROUS.findall(html_of(text)) == []


def test_hostile_code_in_colours_comes_out_harmless(colours):
    html_text = html_of("```python\nreturn '''<img src=x onerror=x()>\n```")
    assert RETURN in html_text
    assert DANGEROUS.findall(html_text) == []


# ------------------------------------------------------------------------------- Plain text instead


def test_an_answer_that_is_too_long_is_plain_text():
    assert inner_html("a" * 64_000) == paragraph("a" * 64_000)
    assert html_of("a" * 64_001) is None


SLOW = {"text": "*a_", "lines": "> a\n", "formulas": r"\[*", "environments": "\\begin{align}\n"}


@pytest.mark.parametrize("pattern", SLOW.values(), ids=SLOW)
def test_an_answer_that_takes_too_long_is_plain_text(slow_cpu, pattern):
    assert html_of(pattern) is not None
    assert html_of(pattern * 300) is None


@pytest.mark.parametrize("error", [RecursionError, IndexError, ValueError])
def test_an_answer_that_the_parser_fails_for_is_plain_text(instead_of_rendering, error):
    instead_of_rendering(fail_with(error))
    assert html_of("*a*") is None


def test_an_exception_of_the_callers_goes_out_while_an_answer_is_drawn(instead_of_rendering):
    """A timer of the caller's can raise one at any moment."""
    instead_of_rendering(fail_with(TimeoutError))
    with pytest.raises(TimeoutError):
        html_of("*a*")


# ---------------------------------------------------------------------------------- Colours of code


def test_code_has_the_colours_of_the_notebooks_theme(colours):
    code = f'<pre dir="ltr"><code class="language-python">{RETURN} a &lt; b</code></pre>'
    assert inner_html("```python\nreturn a < b\n```") == code


def test_blank_lines_at_both_ends_of_code_are_kept(colours):
    html_text = html_of("```python\n\n\nreturn\n\n\n```")
    assert f'<code class="language-python">\n\n{RETURN}\n\n\n</code>' in html_text


OTHER_CODE = {
    "lexer that was not tried": ("python2", "return\n"),
    "long code": ("python", "return\n" * 2000),
    "long line": ("python", "return " * 100 + "\n"),
}


@pytest.mark.parametrize(("language", "code"), OTHER_CODE.values(), ids=OTHER_CODE)
def test_other_code_has_no_colours(colours, language, code):
    assert "<span" not in html_of(f"```{language}\n{code}```")


# Each token is a look at the time, and takes a millisecond here. A block has 0.2 seconds for them,
# and an answer 0.5.
def test_code_that_takes_its_lexer_too_long_has_no_colours(colours, slow_cpu):
    assert "<span" in html_of("```python\n" + "return\n" * 50 + "```")
    assert "<span" not in html_of("```python\n" + "return\n" * 150 + "```")


def test_once_its_time_is_up_an_answer_gets_no_further_colours(colours, slow_cpu):
    blocks = ["```python\n" + "return\n" * size + "```\n" for size in range(70, 80)]
    coloured = ["<span" in code for code in html_of("".join(blocks)).split("</code>")[:-1]]
    assert (len(coloured), coloured[0], coloured[-1]) == (10, True, False)


@pytest.mark.parametrize("package", ["pygments", "jupyterlab_pygments"])
def test_code_has_no_colours_where_a_package_is_missing(colours, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    code = f'<pre dir="ltr"><code class="language-python">return {package}</code></pre>'
    assert inner_html(f"```python\nreturn {package}\n```") == code


def test_code_is_highlighted_once_though_its_answer_grows(colours, monkeypatch):
    """Then the package is not asked any more."""
    assert RETURN in html_of("```python\nreturn growing\n```\n")
    monkeypatch.setitem(sys.modules, "pygments", None)
    assert RETURN in html_of("```python\nreturn growing\n```\nmore")


# -------------------------------------------------------------- Helpers: demo site and command line

POSIX_ONLY = pytest.mark.skipif(os.name != "posix", reason="signals, links, terminals of POSIX")
COMMAND = [sys.executable, "-m", "chatgptfree"]  # where HERE is the working directory
HELP_LINE = "Ctrl-C stops an answer; exit, quit or Ctrl-D leaves.\n"


def has_gnu_readline():
    try:
        import readline
    except ImportError:
        return False
    return "libedit" not in readline.__doc__


NEEDS_READLINE = pytest.mark.skipif(not has_gnu_readline(), reason="there is no GNU readline")


@pytest.fixture
def standard_input(monkeypatch, tmp_path):
    """A function that makes a file with these bytes standard input, whose encoding is ASCII."""
    with contextlib.ExitStack() as stack:

        def use(raw):
            path = tmp_path / "stdin"
            path.write_bytes(raw)
            monkeypatch.setattr(sys, "stdin", stack.enter_context(path.open(encoding="ascii")))

        yield use


@pytest.fixture
def keyboard(monkeypatch):
    """A function that types these lines at the prompt. An exception stands for its key."""

    def use(*lines):
        typed = iter(lines)

        def read(prompt):
            line = next(typed)
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr("builtins.input", read)
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: True))

    return use


def exit_status(*arguments):
    """The exit status of the command line, which leaves with it where argparse prints something."""
    try:
        return main(arguments)
    except SystemExit as leave:
        return leave.code


class Terminal:
    """The command line in a pseudo-terminal, which a process of its own holds."""

    HOLD = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    # without what only slows its start
    HOLDER = [sys.executable, "-I", "-S", "-c", HOLD]

    def __init__(self, *arguments, kind="dumb"):
        self.process = subprocess.Popen(
            [*self.HOLDER, *COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=HERE,
            env={**os.environ, "TERM": kind, "PYTHONUTF8": "1"},
        )
        self.screen = ""

    def shows(self, text, seconds=20):
        """Read until `text` has appeared. False if nothing more comes for so long."""
        while text not in self.screen:
            if not select.select([self.process.stdout], [], [], seconds)[0]:
                return False
            raw = self.process.stdout.read(4096)
            if not raw:
                self.fail(f"the command line has ended: {self.screen!r}")
            self.screen += raw.decode()
        return True

    def wait_for(self, text):
        """Read until `text` has appeared, and return all up to it."""
        if not self.shows(text):
            self.fail(f"{text!r} not in {self.screen!r}")
        seen, _, self.screen = self.screen.partition(text)
        # without what turns bracketed paste on and off
        return re.sub("\x1b\\[\\?2004[hl]\r?", "", seen + text)

    def type(self, text):
        self.process.stdin.write(text.encode())

    def interrupt(self, until="> "):
        """Type Ctrl-C, and return what is shown up to the prompt, or to another text.

        Again if need be: a signal that comes just before a system call doesn't end that.
        """
        self.type("\x03")
        if not self.shows(until, seconds=1):
            self.type("\x03")
        return self.wait_for(until)

    def exit_status(self, key=""):
        """Type `key` to end it.

        Again if need be: readline can lose what comes in the moment it shows its prompt.
        """
        for _ in range(10):
            self.type(key)
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self.process.wait(timeout=2)
                self.process.stdin.close()
                self.process.stdout.close()
                return status
        return self.fail(f"{key!r} does not end it")

    def fail(self, words):
        # The command line gets a signal that its terminal has gone.
        self.process.kill()
        pytest.fail(words)


def echo_history(handler, form):
    handler.send_chunked(chunk(f"[{form['message']}]".replace("\n", "|")), DONE)


def start(*arguments):
    """Start the command line in a process of its own, whose output can be read."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=HERE,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    )


def demo_answer_to(prompt):
    return DEMO_ANSWER.replace("Hello", prompt)


# ------------------------------------------------------------------------------------ The demo site


def test_the_demo_site_quotes_the_prompt_until_it_is_left(without_pauses):
    with demo_site() as url:
        prompt = 'if a<b: print("x")  \n %41'
        assert ChatgptFree(url).complete(prompt) == demo_answer_to(prompt)
    with pytest.raises(requests.ConnectionError):
        ChatgptFree(url).complete("Hi")


def test_the_demo_site_quotes_the_last_question_of_a_conversation(without_pauses):
    with demo_site() as url:
        chat = ChatgptFree(url).conversation("Be terse.")
        assert chat.complete("One?") == demo_answer_to("One?")
        assert chat.complete("Two:\n\n1. x") == demo_answer_to("Two:\n\n1. x")


def test_the_demo_site_remembers_a_name(without_pauses):
    with demo_site() as url:
        chat = ChatgptFree(url).conversation()
        greeting = "Hello Ann! This is the demo site. Ask it what your name is."
        assert chat.complete("My name is Ann.") == greeting
        assert chat.complete("Hello") == DEMO_ANSWER
        assert chat.complete("What is my name?") == "Your name is Ann. You told me."
        assert ChatgptFree(url).complete("What is my name?") == demo_answer_to("What is my name?")


DEMO_TEXTS = {
    "blanks": "  two\n\n    lines \t",
    "markup": "ümläut 🌍 <b>&amp;</b>",
    "events": "data: [DONE]\n\nmore",
    "blank": " \n",
}


@pytest.mark.parametrize("text", DEMO_TEXTS.values(), ids=DEMO_TEXTS)
def test_the_demo_site_streams_the_text_that_it_is_given_for_a_prompt(text, without_pauses):
    with demo_site(lambda prompt: text) as url:
        assert ChatgptFree(url).complete("Hi") == text


def test_the_demo_site_speaks_the_classic_protocol_and_checks_the_nonce(without_pauses):
    with demo_site(str.upper) as url:
        page = requests.get(url, timeout=9).text
        form = {"_wpnonce": re.search(r'data-nonce="(\w+)"', page)[1], "message": "hi you"}
        ajax = url + "/wp-admin/admin-ajax.php"
        answer = requests.post(ajax, data=form, timeout=9)
        refusal = requests.post(ajax, data={**form, "_wpnonce": "old"}, timeout=9)
    deltas = [{"delta": {"content": word}} for word in ("HI ", "YOU")]
    events = [data({"id": "demo", "choices": [delta]}) for delta in deltas]
    assert answer.text == "".join(events) + DONE
    assert (refusal.status_code, refusal.text) == (403, "The link you followed has expired.")


def demo_failure(error):
    """What the client of a demo site raises where the site's answer raises this error."""
    with demo_site(fail_with(error)) as url, pytest.raises(ChatgptFreeError) as caught:
        ChatgptFree(url).complete("Hi")
    return caught.value


@pytest.mark.parametrize("is_subclass", [False, True], ids=["itself", "a subclass"])
@pytest.mark.parametrize("kind", ERRORS)
def test_the_demo_site_fails_with_every_error_of_the_library(kind, is_subclass, without_pauses):
    """But for a page without a chat: it has one."""
    raised = type("Own", (kind,), {}) if is_subclass else kind
    told_kind = ChatgptFreeError if kind is ChatNotFoundError else kind
    assert type(demo_failure(raised("Out of order"))) is told_kind


# What the answer of a demo site raises: the words and the text of what its client raises.
DEMO_FAILURES = {
    "error": (ChatgptFreeError('Bän "x" & <b>'), 'Bän "x" & <b>', ""),
    "no words": (ChatgptFreeError(), "the site reported an error without words", ""),
    "error after text": (ChatgptFreeError("No.", partial="a"), "the answer broke off: No.", "a"),
    "broken off": (IncompleteReplyError("cut", partial="a b "), "the answer broke off", "a b "),
    "limit": (RateLimitError("Your token limit."), "HTTP 429: Your token limit.", ""),
    "limit without words": (RateLimitError(), "HTTP 429: Too Many Requests", ""),
}


@pytest.mark.parametrize(("raised", "words", "partial"), DEMO_FAILURES.values(), ids=DEMO_FAILURES)
def test_the_demo_site_sends_the_words_and_the_text_of_an_error(
    raised, words, partial, without_pauses, capfd
):
    error = demo_failure(raised)
    assert (str(error), error.partial) == (words, partial)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("seconds", "told_seconds"), [(None, None), (0.0, 0.0), (6.5, 7.0)])
def test_the_demo_site_tells_the_time_of_a_limit(seconds, told_seconds, without_pauses):
    error = demo_failure(RateLimitError("Slow", retry_after=seconds))
    assert error.retry_after == told_seconds


def test_the_demo_site_is_quiet_when_a_client_leaves(capfd):
    before = set(threading.enumerate())
    with demo_site() as url:
        stream = ChatgptFree(url).stream("Hello")
        next(stream)
        threads = set(threading.enumerate()) - before
        stream.close()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert capfd.readouterr() == ("", "")


def test_a_demo_site_that_is_never_left_lets_the_interpreter_end():
    script = (
        "from chatgptfree import *; "
        "answer = ChatgptFree(demo_site(str.upper).__enter__()).stream('hello you'); "
        "print(next(answer))"
    )
    ended = run_python("-c", script)
    assert (ended.stdout, ended.returncode, ended.stderr) == ("HELLO \n", 0, "")


def test_the_demo_site_is_reached_where_a_proxy_is_set(monkeypatch, without_pauses):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with demo_site(str.upper) as url:
        assert ChatgptFree(url).complete("hello") == "HELLO"


# ---------------------------------------------------------------------------- Command line: options


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [(["Hello"], b""), ([], b"Hello, file\n"), ([], b"")],
    ids=["argument", "standard input", "nothing"],
)
def test_the_prompt_of_the_demo_is_an_argument_standard_input_or_hello(
    arguments, stdin, capsys, without_pauses, standard_input
):
    standard_input(stdin)
    assert main(["--demo", *arguments]) == 0
    prompt = stdin.decode().strip() or "Hello"
    assert capsys.readouterr() == (demo_answer_to(prompt) + "\n", "")


# The arguments, and the prompt and the model that they are.
PROMPTS = {
    "option between": (["How", "-m", "deepseek", "are", "you?"], "How are you?", "25872"),
    "negative number": (["What", "is", "-1", "plus", "2?"], "What is -1 plus 2?", "25871"),
    "hyphens first": (["--", "-m", "deepseek"], "-m deepseek", "25871"),
    "hyphens behind": (["-m", "deepseek", "a", "--", "-m", "b"], "a -m b", "25872"),
    "hyphens twice": (["a", "--", "b", "--", "--debug"], "a b -- --debug", "25871"),
}


@pytest.mark.parametrize(("arguments", "prompt", "bot"), PROMPTS.values(), ids=PROMPTS)
def test_options_stand_anywhere_before_two_hyphens(arguments, prompt, bot, mock, capsys):
    add_current(mock, CURRENT_ANSWER)
    assert main(["--url", SITE, *arguments]) == 0
    assert (forms(mock)[0]["message"], forms(mock)[0]["bot_id"]) == (prompt, bot)
    assert capsys.readouterr() == ("Hello, wörld 🌍\n", "")


def test_cookies_and_headers_are_sent(mock):
    add_classic(mock, CLASSIC_ANSWER)
    options = ["--cookie", "a=b", "--cookie", "c = d=e", "--header", "User-Agent: My Browser: 7"]
    assert main(["--url", SITE, *options, "--header", "X-Key:a", "Hi"]) == 0
    for call in mock.calls:
        headers = call.request.headers
        sent = [headers[name] for name in ("Cookie", "User-Agent", "X-Key")]
        assert sent == ["a=b; c=d=e", "My Browser: 7", "a"]


@pytest.mark.parametrize("names", ["--model --system --image", "-m -s -i"])
def test_model_system_image_and_search_are_sent(names, mock, tmp_path):
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    add_current(mock, CURRENT_ANSWER, page=current_box(9, name="Other") + OPENAI)
    model, system, image = names.split()
    options = [model, "gpt", system, "Be terse.", image, str(path), "--search"]
    assert main(["--url", SITE, *options, "Hi"]) == 0
    sent = forms(mock)[0]
    assert (sent["bot_id"], sent["message"]) == ("1", "System: Be terse.\nUser: Hi\nAssistant:")
    assert base64.b64encode(PNG).decode() in sent["image_inputs"]
    assert forms(mock, "GET")[-1]["frontend_web_search_active"] == "true"


def test_sources_follow_the_answer_numbered_one_a_line(mock, capsys):
    found = [
        {"url": "https://a.example/", "title": "News\x1b[31m\nof Paris"},
        {"url": "https://b.example/?x=1"},
    ]
    add_current(mock, CURRENT_TEXT + event("citations", {"citations": found}) + CURRENT_DONE)
    assert main(["--url", SITE, "Hi"]) == 0
    assert capsys.readouterr().out == (
        "Hello, wörld 🌍\n\n1. News [31m of Paris https://a.example/\n2. https://b.example/?x=1\n"
    )


# Why an answer ended: what is said of it.
CUTS = {
    "length": ": it has reached the site's limit of length",
    "content_filter": " by a content filter",
}


@pytest.mark.parametrize(("reason", "words"), CUTS.items(), ids=CUTS)
def test_a_cut_answer_is_said_on_standard_error(reason, words, mock, capsys):
    add_classic(mock, chunk("Hello", finish_reason=reason) + DONE)
    assert main(["--url", SITE, "Hi"]) == 0
    assert capsys.readouterr() == ("Hello\n", f"chatgptfree: the answer was cut{words}\n")


def test_the_models_of_the_page_are_printed_each_on_one_line_without_control_characters(
    mock, capsys
):
    odd_name = current_box(name="Ev\x1b[31mil\nbot\x07\u202e\u2028")
    mock.get(SITE + "/", body=odd_name + current_box(7, name="Nice &amp; <b>"))
    assert main(["--url", SITE, "--models"]) == 0
    assert capsys.readouterr().out == "Ev [31mil bot\nNice & <b>\n"


def test_a_proxy_is_used(capsys):
    with Site(echo_classic) as proxy:  # takes whole addresses for paths, as proxies are asked
        assert main(["--url", "http://site.example/", "--proxy", proxy.url, "Hi"]) == 0
    assert [path for _, path, _, _ in proxy.asked] == [
        "http://site.example/",
        "http://site.example/wp-admin/admin-ajax.php",
    ]
    assert capsys.readouterr().out == "Hi\n"


def test_the_environment_names_another_site_and_an_option_wins(monkeypatch, capsys, without_pauses):
    with demo_site(lambda prompt: "environment") as first, demo_site(str.upper) as second:
        monkeypatch.setenv("CHATGPTFREE_URL", first)
        assert main(["Hi"]) == main(["--url", second, "option"]) == 0
    assert capsys.readouterr().out == "environment\nOPTION\n"


def test_the_site_that_the_environment_names_at_the_import_holds_in_python_too(monkeypatch):
    with Site(echo_classic) as site:
        monkeypatch.setenv("CHATGPTFREE_URL", f" {site.url} ")
        monkeypatch.delitem(sys.modules, "chatgptfree")
        import chatgptfree as anew

        assert (anew.ChatgptFree.url, anew.complete("one")) == (site.url, "one")
        assert list(anew.stream("two")) == ["two"]
        assert anew.conversation().complete("three") == "three"
        assert anew.ChatgptFree().complete("four") == "four"


@pytest.mark.parametrize(
    ("asked", "page"),
    [("--models", stall), ("Hi", stall_in_chunks)],
    ids=["before the page", "in the page"],
)
def test_a_timeout_is_kept_and_named(asked, page, capsys):
    with Site(stall, page) as site:
        assert main(["--url", site.url, "--timeout", "0.05", asked]) == 1
    words = f"nothing came from {site.host} for 0.05 seconds"
    assert capsys.readouterr() == ("", f"chatgptfree: {words}\n")


def test_a_timeout_of_connecting_is_named_too(mock, capsys):
    error = urllib3.exceptions.ConnectTimeoutError("It timed out. (connect timeout=0.5)")
    mock.get(SITE + "/", body=requests.ConnectTimeout(error))
    assert main(["--url", SITE, "Hi"]) == 1
    words = "nothing came from site.example for 0.5 seconds"
    assert capsys.readouterr() == ("", f"chatgptfree: {words}\n")


def test_without_a_timeout_the_librarys_own_holds(mock):
    add_classic(mock, CLASSIC_ANSWER, CLASSIC_ANSWER)
    main(["--url", SITE, "Hi"])
    ChatgptFree(SITE).complete("Hi")
    command, _, library, _ = [call.request.req_kwargs["timeout"] for call in mock.calls]
    assert command == library


def test_a_time_for_the_whole_call_is_kept(mock, clock, capsys):
    def answer_late(request):
        clock.now += 9
        return 200, {}, CLASSIC_ANSWER

    mock.get(SITE + "/", body=CLASSIC_PAGE)
    mock.add_callback("POST", AJAX, answer_late)
    assert main(["--url", SITE, "--max-time", "8.5", "Hi"]) == 1
    words = "the call took longer than --max-time, 8.5 seconds"
    assert capsys.readouterr() == ("", f"chatgptfree: {words}\n")


def test_the_version_is_printed(capsys):
    assert exit_status("--version") == 0
    assert capsys.readouterr() == (f"chatgptfree {chatgptfree.__version__}\n", "")


@pytest.fixture
def help_at(monkeypatch, capsys):
    """A function that gives the help for a terminal of so many columns."""

    def read(columns):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert exit_status("--help") == 0
        return capsys.readouterr().out

    return read


def test_help_names_each_option(help_at):
    named = re.findall(r"^  (?:-\w(?: \w+)?, )?--([\w-]+)", help_at(80), re.MULTILINE)
    # the first is `--help`
    assert named[1:] == [
        *["url", "model", "models", "system", "image", "search", "chat", "proxy", "timeout"],
        *["max-time", "cookie", "header", "demo", "debug", "version"],
    ]


def test_help_shows_how_a_clone_is_run(help_at):
    assert "\n  python -m chatgptfree " in help_at(80)


def test_help_fits_a_terminal(help_at):
    assert max(map(len, help_at(80).splitlines())) <= 80


def test_helps_list_of_options_fits_a_narrow_terminal(help_at):
    usage, _, rest = help_at(40).partition("\n\n")
    options = rest.partition("positional arguments:\n")[2].partition("\nexamples:\n")[0]
    assert "--max-time S" in options
    assert max(map(len, [*usage.splitlines(), *options.splitlines()])) <= 40


def test_help_names_no_password(help_at, monkeypatch):
    monkeypatch.setenv("CHATGPTFREE_URL", "https://me:secret@site.example/50%/")
    assert "secret" not in help_at(80)


# ---------------------------------------------------------------------------- Command line: --debug


@pytest.fixture
def log_put_back():
    log = logging.getLogger("chatgptfree")
    handlers, level = list(log.handlers), log.level
    yield
    log.handlers[:] = handlers
    log.setLevel(level)


def test_debug_shows_what_happens_around_the_answer(log_put_back, monkeypatch, capsys):
    """And nothing of urllib3's log, which names queries."""
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    with Site(echo_current, LOCAL_CURRENT) as site:
        main(["--debug", "--url", site.url, "Hi", "you"])
    screen = capsys.readouterr().out.replace(site.host, "HOST")
    assert screen.splitlines() == [
        "chatgptfree: page of HOST: HTTP 200",
        "chatgptfree: current protocol: ChatGPT 5 Nano",
        "chatgptfree: aipkit_cache_sse_message: HTTP 200",
        "chatgptfree: aipkit_frontend_chat_stream: HTTP 200",
        "Hi you",
        "chatgptfree: the answer is whole, with 6 characters",
    ]


def test_debug_goes_to_standard_error(log_put_back, capsys, mock):
    add_classic(mock, CLASSIC_ANSWER)
    main(["--debug", "--url", SITE, "Hi"])
    printed, log = capsys.readouterr()
    assert printed == "Hello, wörld 🌍\n"
    assert log.endswith("chatgptfree: the answer is whole, with 14 characters\n")


# ----------------------------------------------------------------------------- Command line: errors


def test_an_error_is_one_line_and_exit_status_1_and_what_had_come_stays(mock, capsys):
    report = data({"error": {"message": "The server\nhad an\x1b[31m error"}})
    add_classic(mock, chunk("Hello") + report)
    assert main(["--url", SITE, "Hi"]) == 1
    assert capsys.readouterr() == (
        "Hello\n",
        "chatgptfree: the answer broke off: The server had an [31m error\n",
    )


NO_NETWORK = {
    "password": (["--url", "http://me:secret@127.0.0.1:9/"], "127.0.0.1:9"),
    "proxy": (
        ["--url", "http://site.example/", "--proxy", "http://me:secret@127.0.0.1:9"],
        "the proxy for site.example",
    ),
}


@POSIX_ONLY
@pytest.mark.parametrize(("arguments", "host"), NO_NETWORK.values(), ids=NO_NETWORK)
def test_a_failure_of_the_network_is_one_short_line_with_the_host(arguments, host, capsys):
    assert main([*arguments, "Hi"]) == 1
    words = f"chatgptfree: no answer from {host}: Connection refused\n"
    assert capsys.readouterr() == ("", words)


def test_a_certificate_that_is_not_known_says_how_to_make_it_known(tmp_path, capsys):
    with Site(echo_classic) as site:
        assert main(["--url", encrypt(site, tmp_path / "certificate.pem"), "Hi"]) == 1
    words = capsys.readouterr().err
    assert words.startswith(f"chatgptfree: no answer from {site.host}: ")
    assert words.endswith("(REQUESTS_CA_BUNDLE can name a file of certificates that you trust)\n")
    assert words.count("\n") == 1


def test_a_socks_proxy_without_support_says_what_to_install():
    script = "import sys; sys.modules['socks'] = None; from chatgptfree import main; main()"
    result = run_python("-c", script, "--proxy", "socks5://127.0.0.1:9", "--url", SITE, "Hi")
    words = "Missing dependencies for SOCKS support. Try: pip install 'requests[socks]'"
    assert (result.stdout, result.stderr) == ("", f"chatgptfree: {words}\n")
    assert result.returncode == 1


NO_REQUESTS = "chatgptfree needs the package requests: pip install requests"


def test_the_file_without_requests_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(SystemExit) as leave:
        runpy.run_module("chatgptfree", run_name="__main__")
    assert leave.value.code == NO_REQUESTS


def test_the_import_without_requests_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "requests", None)
    with pytest.raises(ModuleNotFoundError, match=f"^{NO_REQUESTS}$"):
        runpy.run_module("chatgptfree")


def test_the_advice_about_a_check_is_in_the_command_lines_own_options(mock, capsys):
    mock.get(SITE + "/", status=403, headers={"cf-mitigated": "challenge"})
    assert main(["--url", SITE, "Hi"]) == 1
    assert capsys.readouterr().err == (
        f"chatgptfree: HTTP 403: {SITE}/ asks for a check that needs a browser. Open the "
        "site's page in a browser, then pass on that browser's cookies and its exact User-Agent: "
        "--cookie NAME=VALUE … --header 'User-Agent: …'\n"
    )


NO_FILE = (
    "argument -i/--image: there is no file '{}' (an image is given as a file, not as an address "
    "or -)"
)

WRONG_USAGE = {
    "unknown option": (["--nonsense"], "there is no option --nonsense"),
    "time-out of words": (["--timeout", "soon"], "argument --timeout: invalid float value: 'soon'"),
    "cookie": (["--cookie", "s3cret"], "argument --cookie: must be NAME=VALUE"),
    "cookie without a name": (["--cookie", "=s3cret"], "argument --cookie: must be NAME=VALUE"),
    "header": (["--header", "s3cret"], "argument --header: must be NAME:VALUE"),
    "address of an image": (["-i", "http://a.example/"], NO_FILE.format("http://a.example/")),
    "folder for an image": (["-i", "."], NO_FILE.format(".")),
    "two images": (["-i", MODULE] * 2, "one image goes with a prompt, so give --image once"),
    "demo": (["--demo", "--url", ""], "--demo has a site of its own, so it goes without --url"),
}


@pytest.mark.parametrize(("arguments", "words"), WRONG_USAGE.values(), ids=WRONG_USAGE)
def test_wrong_usage_is_one_line_and_exit_status_2(arguments, words, capsys):
    assert exit_status(*arguments, "Hi") == 2
    assert capsys.readouterr() == ("", f"chatgptfree: {words}; see --help\n")


EMPTY_PROMPT = "chatgptfree: the prompt is empty; see --help\n"


@pytest.mark.parametrize("arguments", [[" ", ""], ["-"]], ids=["blanks", "standard input"])
def test_an_empty_prompt_is_wrong_usage(arguments, standard_input, capsys):
    standard_input(b"\n")
    assert exit_status(*arguments) == 2
    assert capsys.readouterr() == ("", EMPTY_PROMPT)


def test_an_empty_prompt_at_a_terminal_begins_no_conversation(keyboard, capsys):
    """A script may have an empty variable there."""
    keyboard("exit")
    assert exit_status("") == 2
    assert capsys.readouterr() == ("", EMPTY_PROMPT)


@POSIX_ONLY
def test_without_a_terminal_no_conversation_begins(monkeypatch, capsys):
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert exit_status() == 2
    assert capsys.readouterr() == ("", EMPTY_PROMPT)


NO_ADDRESS = (
    "an address (--url or CHATGPTFREE_URL) begins with http:// or https:// and names a host, unlike"
)

# Values that the library refuses. Its words name the options of Python, these the terminal's.
UNUSABLE_VALUES = {
    "address": (["--url", "site.example"], f"{NO_ADDRESS} 'site.example'"),
    "empty address": (["--url", ""], f"{NO_ADDRESS} ''"),
    "negative time-out": (["--timeout", "-1"], "--timeout must be over 0 seconds, not -1.0"),
    "no time": (["--max-time", "0"], "--max-time must be over 0 seconds, not 0.0"),
    "proxy": (
        ["--proxy", "http://host:s3cret"],
        "--proxy must name a host and may name a port: http://host:port",
    ),
    "header of two lines": (
        ["--header", "X-Key: s3cret\nb"],
        "--header ['X-Key'] can't be sent: it must be one line of Latin-1",
    ),
    "no picture": (["--image", MODULE], "the image is not a JPEG, PNG or WebP"),
}


@pytest.mark.parametrize(("arguments", "words"), UNUSABLE_VALUES.values(), ids=UNUSABLE_VALUES)
def test_a_wrong_value_is_one_line_and_exit_status_2(arguments, words, capsys):
    assert main([*arguments, "Hi"]) == 2
    assert capsys.readouterr() == ("", f"chatgptfree: {words}\n")


def test_a_model_that_the_page_does_not_have_is_exit_status_2(mock, capsys):
    mock.get(SITE + "/", body=CURRENT_PAGE)
    assert main(["--url", SITE, "--model", "gpt-9", "Hi"]) == 2
    words = f"--model: no model 'gpt-9' on {SITE}/, which offers ChatGPT 5 Nano (25871), "
    assert capsys.readouterr().err == f"chatgptfree: {words}DeepSeek (25872)\n"


@pytest.mark.parametrize("option", ["--search", "--image"])
def test_an_option_that_the_bot_does_not_offer_is_exit_status_2(option, mock, capsys, tmp_path):
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    value = {"--search": [], "--image": [str(path)]}[option]
    mock.get(SITE + "/", body=CURRENT_PAGE + OPENAI)
    assert main(["--url", SITE, option, *value, "Hi"]) == 2
    words = f"ChatGPT 5 Nano (25871) takes no {option}; on its page, GPT (1) does"
    assert capsys.readouterr().err == f"chatgptfree: {words}\n"


# ----------------------------------------------------------------------------- Command line: --chat


def said(*contents):
    """The messages of a conversation, in turns."""
    roles = itertools.cycle(["user", "assistant"])
    return [{"role": role, "content": content} for role, content in zip(roles, contents)]


def saved(path):
    return json.loads(path.read_text(encoding="utf-8"))


YES = [*ASKED_BEFORE, *said("And?", "Yes.")]


@pytest.fixture
def chat_file(tmp_path):
    """The file of a conversation with one question, alone in its folder."""
    folder = tmp_path / "chats"
    folder.mkdir()
    path = folder / "ann.json"
    path.write_text(json.dumps(ASKED_BEFORE), encoding="utf-8")
    return path


@pytest.fixture
def ask_with(chat_file):
    """A function that goes on with that conversation, and returns the exit status."""

    def ask(*arguments):
        return main(["--url", SITE, "--chat", str(chat_file), *arguments])

    return ask


@pytest.fixture
def yes(mock):
    """The site answers "Yes."."""
    add_classic(mock, chunk("Yes.") + DONE)
    return mock


def test_a_conversation_is_saved_in_a_new_file(mock, capsys, chat_file, ask_with):
    chat_file.unlink()
    add_classic(mock, CLASSIC_ANSWER)
    assert ask_with("Hi") == 0
    assert saved(chat_file) == said("Hi", "Hello, wörld 🌍")
    assert "wörld 🌍" in chat_file.read_text(encoding="utf-8")
    assert capsys.readouterr() == ("Hello, wörld 🌍\n", "")


def test_a_saved_conversation_goes_on_and_is_saved_again(yes, chat_file, ask_with):
    assert ask_with("And?") == 0
    assert forms(yes)[0]["message"] == dialogue_text(YES[:-1])
    assert saved(chat_file) == YES


TERSE = ["--system", "Be terse."]

# The system text of the file, the options, and the system text that is sent and saved.
SYSTEM_TEXTS = {
    "saved": ([INSTRUCTIONS], [], [INSTRUCTIONS]),
    "given": ([], TERSE, [INSTRUCTIONS]),
    "in its place": ([{"role": "system", "content": "Be verbose."}], TERSE, [INSTRUCTIONS]),
    "taken away": ([INSTRUCTIONS], ["--system", ""], []),
}


@pytest.mark.parametrize(("old", "options", "new"), SYSTEM_TEXTS.values(), ids=SYSTEM_TEXTS)
def test_a_given_system_text_stands_in_place_of_the_saved_one(
    old, options, new, yes, chat_file, ask_with
):
    chat_file.write_text(json.dumps([*old, *ASKED_BEFORE]), encoding="utf-8")
    assert ask_with(*options, "And?") == 0
    assert forms(yes)[0]["message"] == dialogue_text([*new, *YES[:-1]])
    assert saved(chat_file) == [*new, *YES]


def test_an_empty_file_is_a_new_conversation(yes, chat_file, ask_with):
    chat_file.write_text("")
    assert ask_with("And?") == 0
    assert saved(chat_file) == said("And?", "Yes.")


def test_what_had_come_of_a_broken_answer_is_saved(mock, chat_file, ask_with):
    add_classic(mock, chunk("Well") + data({"error": {"message": "Overloaded"}}))
    assert ask_with("And?") == 1
    assert saved(chat_file) == [*ASKED_BEFORE, *said("And?", "Well")]


def test_a_question_that_fails_changes_nothing(mock, chat_file, ask_with):
    before = chat_file.stat()
    add_classic(mock, {"status": 500, "body": "Out of order"})
    assert ask_with("And?") == 1
    assert (chat_file.stat().st_ino, saved(chat_file)) == (before.st_ino, ASKED_BEFORE)


NO_CONVERSATIONS = {
    "no JSON": (b"Dear diary", "Expecting value: line 1 column 1 (char 0)"),
    "object": (b'{"messages": []}', "it is a dict"),
    "nothing": (b"null", "it is a NoneType"),
    "message without a role": (b'[{"content": "x"}]', "messages[0] has no 'role'"),
    "no UTF-8": (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0"),
    "deeply nested key": (
        b'[{"role": "user", "content": "x", "more": %s}]' % (b"[" * 700 + b"]" * 700),
        "maximum recursion depth exceeded",
    ),
    "half a character in a key": (
        rb'[{"role": "user", "content": "x", "\ud83d": 1}]',
        r"'utf-8' codec can't encode character '\ud83d'",
    ),
}


@pytest.mark.parametrize(("contents", "reason"), NO_CONVERSATIONS.values(), ids=NO_CONVERSATIONS)
def test_a_file_of_something_else_is_one_line_and_stays(
    contents, reason, capsys, chat_file, ask_with
):
    chat_file.write_bytes(contents)
    assert ask_with("And?") == 2
    printed, words = capsys.readouterr()
    assert (printed, words.count("\n")) == ("", 1)
    assert words.startswith(f"chatgptfree: {chat_file} holds no conversation: {reason}")
    assert chat_file.read_bytes() == contents


UNSAVED = "no conversation can be saved in"
NO_FILE_NAME = "'' is no file that a conversation could be saved in"

# Names that no conversation can be saved in, and what is said of them.
UNWRITABLE_NAMES = {
    "none": ("", NO_FILE_NAME),
    "in no folder": ("none/ann.json", f"{UNSAVED} 'none/ann.json': No such file or directory"),
    "too long": ("a" * 300, f"{UNSAVED} '{'a' * 300}': File name too long"),
}


@POSIX_ONLY
@pytest.mark.parametrize(("name", "words"), UNWRITABLE_NAMES.values(), ids=UNWRITABLE_NAMES)
def test_a_file_that_cannot_be_written_is_said_before_anything_is_asked(
    name, words, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    assert main(["--url", SITE, "--chat", name, "Hi"]) == 2
    assert capsys.readouterr() == ("", f"chatgptfree: {words}\n")


# What a folder that takes no new file refuses.
NEW_FILES = ["chatgptfree.TemporaryFile", "chatgptfree.NamedTemporaryFile"]


@pytest.fixture
def system_refuses(monkeypatch):
    """A function: the system refuses these functions."""

    def use(*names):
        for name in names:
            monkeypatch.setattr(name, fail_with(PermissionError(13, "Permission denied")))

    return use


def test_a_folder_that_takes_no_new_file_is_said_before_anything_is_asked(
    system_refuses, capsys, chat_file, ask_with
):
    system_refuses(*NEW_FILES)
    chat_file.unlink()
    assert ask_with("And?") == 2
    words = f"chatgptfree: {UNSAVED} {str(chat_file)!r}: Permission denied\n"
    assert capsys.readouterr() == ("", words)


@pytest.mark.parametrize(
    "names",
    [NEW_FILES, ["os.replace"], ["chatgptfree.copymode"]],
    ids=["new files", "renaming", "permissions"],
)
def test_where_something_is_refused_the_file_is_written_in_place(
    names, yes, system_refuses, capsys, chat_file, ask_with
):
    before = chat_file.stat()
    system_refuses(*names)
    assert ask_with("And?") == 0
    assert capsys.readouterr() == ("Yes.\n", "")
    assert (chat_file.stat().st_ino, saved(chat_file)) == (before.st_ino, YES)
    assert list(chat_file.parent.iterdir()) == [chat_file]


def test_a_new_file_is_written_where_renaming_is_refused(yes, system_refuses, chat_file, ask_with):
    chat_file.unlink()
    system_refuses("os.replace")
    assert ask_with("And?") == 0
    assert saved(chat_file) == said("And?", "Yes.")


@POSIX_ONLY
def test_a_hard_link_stays_one(yes, chat_file, ask_with, tmp_path):
    os.link(chat_file, tmp_path / "link.json")
    assert ask_with("And?") == 0
    assert saved(chat_file) == saved(tmp_path / "link.json") == YES


@POSIX_ONLY
def test_a_symbolic_link_to_the_file_stays_one(yes, chat_file, ask_with, tmp_path):
    link = chat_file.rename(tmp_path / "ann.json")
    chat_file.symlink_to(link)
    assert ask_with("And?") == 0
    assert (chat_file.is_symlink(), saved(link)) == (True, YES)


@POSIX_ONLY
def test_the_file_keeps_its_permissions(yes, chat_file, ask_with):
    chat_file.chmod(0o640)
    assert ask_with("And?") == 0
    assert (saved(chat_file), chat_file.stat().st_mode & 0o777) == (YES, 0o640)


@pytest.fixture
def ask_on_full_disk(chat_file, ask_with):
    """As `ask_with`, but no file can be longer than that of the conversation and half a message.

    So a write fails within what is written, as where a disk is full.
    """
    resource = pytest.importorskip("resource", reason="there are no limits of POSIX")

    def ask(*arguments):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (chat_file.stat().st_size + 20, limits[1]))
        try:
            return ask_with(*arguments)
        finally:
            # pytest's own output may be in a file, too
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return ask


def test_on_a_full_disk_the_file_stays_as_it_was_and_alone(
    ask_on_full_disk, yes, capsys, chat_file
):
    before = chat_file.read_bytes()
    assert ask_on_full_disk("And?") == 1
    printed, words = capsys.readouterr()
    assert (printed, words.count("\n")) == ("Yes.\n", 1)
    assert words.startswith(f"chatgptfree: what was said is not saved in {chat_file}: ")
    assert words.endswith(" File too large\n")
    assert chat_file.read_bytes() == before
    assert list(chat_file.parent.iterdir()) == [chat_file]


def test_the_exit_status_is_that_of_the_answer_where_nothing_can_be_saved(
    ask_on_full_disk, mock, capsys, when_printed
):
    add_classic(mock, chunk("Well") + chunk("no") + DONE)
    when_printed("no", fail_with(KeyboardInterrupt()))
    # that of Ctrl-C
    assert ask_on_full_disk("And?") == 130
    assert capsys.readouterr().err.startswith("chatgptfree: what was said is not saved in ")


def test_a_conversation_that_cannot_be_saved_goes_on_and_loses_nothing(
    chat_file, ask_with, keyboard, capsys, without_pauses
):
    def answer(prompt):
        # while it is a folder, nothing can be saved in it
        if "two" in prompt:
            chat_file.rmdir()
            chat_file.write_text(json.dumps(ASKED_BEFORE))
        else:
            chat_file.unlink()
            chat_file.mkdir()
        return "Yes."

    keyboard("one", "two", "quit")
    with demo_site(answer) as url:
        assert ask_with("--url", url) == 0
    assert saved(chat_file) == [*ASKED_BEFORE, *said("one", "Yes.", "two", "Yes.")]
    printed, words = capsys.readouterr()
    assert (printed, words.count(f"is not saved in {chat_file}: ")) == ("Yes.\nYes.\n", 1)


def test_where_the_file_is_gone_all_is_written(chat_file, ask_with, without_pauses):
    def answer(prompt):
        chat_file.unlink()
        return "Yes."

    with demo_site(answer) as url:
        assert ask_with("--url", url, "And?") == 0
    assert saved(chat_file) == YES


@pytest.mark.parametrize(
    ("options", "system"), [([], []), (TERSE, [INSTRUCTIONS])], ids=["plain", "system"]
)
def test_the_turns_of_another_command_on_the_same_file_are_kept(
    options, system, chat_file, ask_with, keyboard, without_pauses
):
    """It asks while this one waits for its first answer."""

    def answer(prompt):
        if prompt.endswith("one\nAssistant:"):
            ask_with("--url", url, *options, "other")
        return "Yes."

    keyboard("one", "two", "quit")
    with demo_site(answer) as url:
        assert ask_with("--url", url, *options) == 0
    turns = said("other", "Yes.", "one", "Yes.", "two", "Yes.")
    assert saved(chat_file) == [*system, *ASKED_BEFORE, *turns]


def test_what_another_command_made_of_the_file_is_not_overwritten(
    chat_file, ask_with, capsys, without_pauses
):
    def answer(prompt):
        chat_file.write_text("Dear diary")
        return "Yes."

    with demo_site(answer) as url:
        assert ask_with("--url", url, "And?") == 1
    assert chat_file.read_text() == "Dear diary"
    assert "is not saved in" in capsys.readouterr().err


def test_one_command_at_a_time_saves_in_a_folder(yes, monkeypatch, chat_file, ask_with):
    fcntl = pytest.importorskip("fcntl", reason="there are no locks of POSIX")
    replace, refused = os.replace, []
    folder = os.open(chat_file.parent, os.O_RDONLY)

    def try_to_lock(*paths):
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refused.append(paths)
        replace(*paths)

    monkeypatch.setattr(os, "replace", try_to_lock)
    assert ask_with("And?") == 0
    assert len(refused) == 1
    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(folder)


# ------------------------------------------------------------------ Command line: being told to end


@pytest.fixture
def three_pieces(mock):
    """The site answers in three pieces."""
    add_classic(mock, chunk("one ") + chunk("two") + chunk(" three") + DONE)


@POSIX_ONLY
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_ctrl_c_or_a_signal_to_end_saves_what_had_come_and_is_the_exit_status(
    name, three_pieces, chat_file, ask_with, when_printed
):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    when_printed("two", lambda: signal.raise_signal(number))
    assert ask_with("And?") == 128 + number
    assert saved(chat_file) == [*ASKED_BEFORE, *said("And?", "one two")]
    assert signal.getsignal(number) is before


@POSIX_ONLY
def test_a_second_signal_does_not_end_the_saving(
    three_pieces, monkeypatch, chat_file, ask_with, when_printed
):
    """A terminal that is closed can send two."""
    replace = os.replace

    def replace_after_another(*paths):
        signal.raise_signal(signal.SIGHUP)
        replace(*paths)

    monkeypatch.setattr(os, "replace", replace_after_another)
    when_printed("two", lambda: signal.raise_signal(signal.SIGTERM))
    assert ask_with("And?") == 128 + signal.SIGTERM
    assert saved(chat_file) == [*ASKED_BEFORE, *said("And?", "one two")]


@POSIX_ONLY
@pytest.mark.parametrize(
    ("name", "handler"),
    [("SIGHUP", signal.SIG_IGN), ("SIGTERM", lambda number, frame: None)],
    ids=["ignored", "the caller's"],
)
def test_a_signal_that_does_not_end_a_process_does_not_end_the_command(
    name, handler, three_pieces, chat_file, ask_with, when_printed
):
    number = getattr(signal, name)
    when_printed("two", lambda: signal.raise_signal(number))
    before = signal.signal(number, handler)
    try:
        assert ask_with("And?") == 0
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)
    assert saved(chat_file) == [*ASKED_BEFORE, *said("And?", "one two three")]


def test_in_another_thread_the_command_sets_no_handlers(yes, chat_file, ask_with):
    """Python would refuse it."""
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask_with, "And?").result(20) == 0
    assert saved(chat_file) == YES


@POSIX_ONLY
def test_a_signal_ends_a_process_that_waits_with_its_exit_status():
    """It has printed what had come by then."""

    def ping_until_hang_up(handler, form):
        handler.send_chunked(chunk("Hello"), end=False)
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(http_chunk(b": ping\n\n"))

    with Site(ping_until_hang_up) as site, start("--url", site.url, "Hi") as process:
        assert process.stdout.read(5) == b"Hello"
        process.terminate()
        assert process.communicate(timeout=20) == (b"\n", b"")
        assert process.returncode == 128 + signal.SIGTERM


# -------------------------------------------------------------------- Command line: pipes and files


# What standard input holds: the prompt that is sent with "Review:".
STANDARD_INPUT = {
    "lines": (b"one\n  two\n\n", "Review:\n\none\n  two"),
    "UTF-8": (b"caf\xc3\xa9", "Review:\n\ncafé"),
    "byte order mark": (b"\xef\xbb\xbfone", "Review:\n\none"),
    "blanks": (b" \n", "Review:"),
}


@pytest.mark.parametrize(("raw", "prompt"), STANDARD_INPUT.values(), ids=STANDARD_INPUT)
def test_the_text_of_a_file_goes_with_the_prompt(raw, prompt, mock, standard_input):
    standard_input(raw)
    add_classic(mock, CLASSIC_ANSWER)
    assert main(["--url", SITE, "Review:"]) == 0
    assert forms(mock)[0]["message"] == prompt


def socket_pair():
    return [end.detach() for end in socket.socketpair()]


@POSIX_ONLY
@pytest.mark.parametrize("ends", [os.pipe, socket_pair], ids=["pipe", "socket"])
def test_the_text_of_a_pipe_goes_with_the_prompt(ends, mock, monkeypatch):
    """Programs that Node starts have a socket."""
    read_end, write_end = ends()
    os.write(write_end, b"one\n")
    os.close(write_end)
    add_classic(mock, CLASSIC_ANSWER)
    with os.fdopen(read_end) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        assert main(["--url", SITE, "Review:"]) == 0
    assert forms(mock)[0]["message"] == "Review:\n\none"


@POSIX_ONLY
def test_a_device_is_not_read(mock, monkeypatch):
    """It may be empty, or have no end."""
    add_classic(mock, CLASSIC_ANSWER)
    with open(os.devnull) as device:
        # it has nothing to read from
        stdin = types.SimpleNamespace(fileno=device.fileno, isatty=device.isatty)
        monkeypatch.setattr(sys, "stdin", stdin)
        assert main(["--url", SITE, "Review:"]) == 0
    assert forms(mock)[0]["message"] == "Review:"


def test_a_hyphen_is_the_text_of_standard_input_even_at_a_terminal(mock, monkeypatch):
    stdin = types.SimpleNamespace(isatty=lambda: True, buffer=io.BytesIO(b"Hi"))
    monkeypatch.setattr(sys, "stdin", stdin)
    add_classic(mock, CLASSIC_ANSWER)
    assert main(["--url", SITE, "-"]) == 0
    assert forms(mock)[0]["message"] == "Hi"


def test_a_pipe_that_stays_open_is_told(mock, monkeypatch, when_printed):
    """It ends only when the notice has been given."""
    read_end, write_end = os.pipe()

    def end_the_pipe():
        os.write(write_end, b"Hi")
        os.close(write_end)

    add_classic(mock, CLASSIC_ANSWER)
    monkeypatch.setattr(chatgptfree, "NOTICE_AFTER", 0.01)
    when_printed("\n", end_the_pipe, "stderr")
    with os.fdopen(read_end) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        assert main(["--url", SITE, "Review:"]) == 0
    assert sys.stderr.getvalue() == "chatgptfree: reading standard input …\n"
    assert forms(mock)[0]["message"] == "Review:\n\nHi"


def test_an_image_in_a_pipe_says_how_it_goes_along(standard_input, capsys):
    standard_input(PNG)
    assert main(["--demo", "Hi"]) == 2
    reason = "'utf-8' codec can't decode byte 0x89 in position 0: invalid start byte"
    words = f"standard input is not UTF-8 text ({reason}); an image goes along with --image FILE"
    assert capsys.readouterr() == ("", f"chatgptfree: {words}\n")


# A stream that is closed, the arguments, the exit status, and what is printed on the others.
CLOSED_STREAMS = [
    ("stdin", ["--demo", "-"], 0, (DEMO_ANSWER + "\n", "")),
    ("stdout", ["--chat", "", "Hi"], 2, ("", f"chatgptfree: {NO_FILE_NAME}\n")),
    ("stderr", ["--chat", "", "Hi"], 2, ("", "")),
]


# what stands in for a closed stream is never closed
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize(("stream", "arguments", "status", "printed"), CLOSED_STREAMS)
def test_the_command_works_where_a_standard_stream_is_closed(
    stream, arguments, status, printed, monkeypatch, capsys, without_pauses
):
    """Python has None in its place."""
    monkeypatch.setattr(sys, stream, None)
    assert main(arguments) == status
    assert capsys.readouterr() == printed


@POSIX_ONLY
def test_an_answer_comes_where_the_shell_has_closed_all_streams():
    """Then a connection gets the number of a standard stream."""
    with Site(say_hello) as site:
        shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
        question = [*COMMAND, "--url", site.url, "Hi"]
        assert subprocess.run([*shell, *question], cwd=HERE, check=False).returncode == 0
    assert messages_to(site) == ["Hi"]


@POSIX_ONLY
def test_a_closed_pipe_ends_quietly():
    """The site goes on only when nobody reads any more."""
    closed = threading.Event()

    def answer(handler, form):
        handler.send_chunked(chunk("one\n"), end=False)
        closed.wait(20)
        handler.wfile.write(http_chunk((chunk("two\n") + DONE).encode()))
        handler.wfile.write(b"0\r\n\r\n")

    with Site(answer) as site, start("--url", site.url, "Hi") as process:
        assert process.stdout.readline() == b"one\n"
        process.stdout.close()
        closed.set()
        assert (process.stderr.read(), process.wait(20)) == (b"", 0)


def test_what_an_output_cannot_encode_of_the_models_is_replaced(mock, monkeypatch):
    stdout = encoded_stream("ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    mock.get(SITE + "/", body=current_box(name="Bot 🌍"))
    assert main(["--url", SITE, "--models"]) == 0
    assert stdout.buffer.getvalue() == b"Bot ?\n"


# --------------------------------------------------------------------------- Command line: terminal


@POSIX_ONLY
def test_a_terminal_without_a_prompt_is_a_conversation_with_a_history():
    with Site(echo_history) as site:
        terminal = Terminal("--url", site.url)
        assert terminal.wait_for("> ") == HELP_LINE.replace("\n", "\r\n") + "> "
        terminal.type("one\n")
        assert WAITING in terminal.wait_for("[one]")
        assert terminal.wait_for("> ") == "\r\n> "
        terminal.type("two\n")
        terminal.wait_for("[User: one|Assistant: [one]|User: two|Assistant:]")
        terminal.wait_for("> ")
        assert terminal.exit_status("quit\n") == 0


@POSIX_ONLY
def test_ctrl_c_in_an_answer_goes_back_to_the_prompt():
    def begin(handler, form):
        if "Let me think" in form["message"]:
            return echo_history(handler, form)
        handler.send_chunked(chunk("Let me think"), end=False)
        return handler.wait_for_hang_up()

    with Site(begin) as site:
        terminal = Terminal("--url", site.url)
        terminal.wait_for("> ")
        terminal.type("begin\n")
        terminal.wait_for("Let me think")
        terminal.interrupt()
        assert site.gone.wait(5)
        terminal.type("go on\n")
        terminal.wait_for("[User: begin|Assistant: Let me think|User: go on|Assistant:]")
        terminal.wait_for("> ")
        assert terminal.exit_status("\x04") == 0


@POSIX_ONLY
def test_ctrl_c_before_the_first_word_leaves_nothing_beside_the_prompt():
    with Site(stall) as site:
        terminal = Terminal("--url", site.url)
        terminal.wait_for("> ")
        terminal.type("one\n")
        terminal.wait_for(WAITING)
        shown, begin_of_line, prompt = terminal.interrupt().rpartition("\r")
        # what was shown, and Ctrl-C itself, is wiped, from the begin of the line
        assert (begin_of_line, prompt) == ("\r", "> ")
        echoed, wipe = shown.split("\r")
        assert wipe == " " * len(WAITING + echoed)
        assert terminal.exit_status("quit\n") == 0


def readline_with(line):
    """Stands in for readline, in whose buffer this line is."""
    return types.SimpleNamespace(get_line_buffer=lambda: line, parse_and_bind=lambda setting: None)


CTRL_C = {
    "line": (readline_with("half a line"), 0),
    "empty line": (readline_with(""), 130),
    "line that is not known": (None, 130),
}


@pytest.mark.parametrize(("readline", "status"), CTRL_C.values(), ids=CTRL_C)
def test_ctrl_c_at_the_prompt_goes_on_where_a_line_was_typed_and_else_leaves(
    readline, status, monkeypatch, keyboard, capsys
):
    monkeypatch.setitem(sys.modules, "readline", readline)
    keyboard(KeyboardInterrupt(), "quit")
    assert main(["--demo"]) == status
    assert capsys.readouterr() == ("\n", HELP_LINE)


@POSIX_ONLY
@NEEDS_READLINE
def test_ctrl_c_takes_a_line_of_the_real_readline_away_and_leaves_at_an_empty_one():
    with Site(echo_history) as site:
        terminal = Terminal("--url", site.url)
        terminal.wait_for("> ")
        terminal.type("one\n")
        terminal.wait_for("> ")
        # Ctrl-A goes to the begin. Only readline knows that; until it reads, the system echoes.
        terminal.type("a line\x01half ")
        terminal.wait_for("half a line" + "\b" * len("a line"))
        terminal.interrupt()
        terminal.type("two\n")
        terminal.wait_for("[User: one|Assistant: [one]|User: two|Assistant:]")
        terminal.wait_for("> ")
        # Once readline wipes a letter, it reads, and the line is empty.
        terminal.type("x\x7f")
        terminal.wait_for("x\b \b")
        terminal.interrupt(until="\n")
        assert terminal.exit_status() == 130


def test_an_error_in_a_conversation_is_printed_and_it_goes_on(mock, capsys, keyboard):
    keyboard("one", "two", "quit")
    add_classic(mock, {"status": 500, "body": "<p>Out of order</p>"}, CLASSIC_ANSWER)
    assert main(["--url", SITE, "--system", "Be terse."]) == 0
    assert forms(mock)[-1]["message"] == "System: Be terse.\nUser: two\nAssistant:"
    assert capsys.readouterr() == (
        "Hello, wörld 🌍\n",
        HELP_LINE + "chatgptfree: HTTP 500: Out of order\n",
    )


def test_a_closed_output_ends_a_conversation_quietly(mock, capsys, keyboard, when_printed):
    keyboard("one", "two", "quit")
    add_classic(mock, CLASSIC_ANSWER, CLASSIC_ANSWER)
    when_printed("Hello", fail_with(BrokenPipeError(32, "Broken pipe")))
    assert main(["--url", SITE]) == 0
    assert [form["message"] for form in forms(mock)] == ["one"]
    assert capsys.readouterr().err == HELP_LINE


@POSIX_ONLY
def test_a_signal_to_end_ends_a_conversation(mock, keyboard, when_printed):
    keyboard("one", "two", "quit")
    add_classic(mock, CLASSIC_ANSWER, CLASSIC_ANSWER)
    when_printed("Hello", lambda: signal.raise_signal(signal.SIGTERM))
    assert main(["--url", SITE]) == 128 + signal.SIGTERM
    assert [form["message"] for form in forms(mock)] == ["one"]


@pytest.mark.parametrize("word", ["exit", "quit", "/exit", "/quit", ":q", " Quit "])
def test_a_conversation_is_left_by_a_word(word, keyboard, capsys):
    keyboard(word)
    assert main(["--demo"]) == 0
    assert capsys.readouterr() == ("", HELP_LINE)


def test_ctrl_d_at_the_prompt_leaves_on_a_line_of_its_own(keyboard, capsys):
    keyboard(EOFError())
    assert main(["--demo"]) == 0
    assert capsys.readouterr() == ("\n", HELP_LINE)


def test_arrows_and_keys_like_them_are_no_text_and_nothing_is_no_question(mock, keyboard, capsys):
    """Where nothing edits the line, a terminal sends characters for them."""
    up, left, home, delete = "\x1b[A", "\x1b[D", "\x1bOH", "\x1b[3~"
    keyboard(up, f"{home}How{left} are{delete} you?\x1b[1;5C", "quit")
    add_classic(mock, CLASSIC_ANSWER)
    assert main(["--url", SITE]) == 0
    assert [form["message"] for form in forms(mock)] == ["How are you?"]
    assert capsys.readouterr().err == HELP_LINE


@POSIX_ONLY
@NEEDS_READLINE
def test_a_paste_of_several_lines_is_one_question_with_its_indentation():
    with Site(say_hello) as site:
        terminal = Terminal("--url", site.url, kind="xterm")
        # Until this, a terminal types a paste as it types keys.
        terminal.wait_for("\x1b[?2004h")
        terminal.wait_for("> ")
        terminal.type("\x1b[200~  def f():\n\n\treturn 1\n\x1b[201~\n")
        terminal.wait_for("Hello Ann.")
        terminal.wait_for("> ")
        assert terminal.exit_status("quit\n") == 0
    assert messages_to(site) == ["  def f():\n\n\treturn 1"]


def test_the_waiting_notice_fits_the_terminal_whatever_columns_says(screen, mock, monkeypatch):
    """Or wiping it would leave a piece."""
    monkeypatch.setenv("COLUMNS", "80")
    _, stderr = screen(io.StringIO(), TerminalStream(), columns=20)
    add_classic(mock, CLASSIC_ANSWER)
    assert main(["--url", SITE, "Hi"]) == 0
    assert stderr.getvalue() == "waiting for the a\r" + " " * 19 + "\r"


def test_what_a_site_sends_cannot_steer_a_terminal(mock, monkeypatch):
    stdout = TerminalStream()
    monkeypatch.setattr(sys, "stdout", stdout)
    add_classic(mock, chunk("a\x1b[31mb\x9b31m\r\x07\tc\x00\u202ed\u2066e") + DONE)
    assert main(["--url", SITE, "Hi"]) == 0
    assert stdout.getvalue() == "a[31mb31m\tcde\n"


# ----------------------------------------------------------------- Command line: the file by itself


def test_the_exit_status_of_an_application_made_by_zipapp_is_not_lost(monkeypatch):
    """It drops what `main()` returns."""
    monkeypatch.setattr(sys, "argv", ["app.pyz", "--url", "site.example", "Hi"])
    with pytest.raises(SystemExit) as leave:
        main()
    assert leave.value.code == 2


@POSIX_ONLY
def test_a_shell_can_run_the_file(tmp_path):
    """It begins with the name of the interpreter, which the PATH leads to: here to a stand-in."""
    script = shutil.copy(MODULE, tmp_path)
    interpreter = tmp_path / "python3"
    interpreter.write_text('#!/bin/sh\necho "$@"\n')
    for path in (script, interpreter):
        os.chmod(path, 0o755)
    environment = {**os.environ, "PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]])}
    result = subprocess.run([script, "Hi"], capture_output=True, text=True, env=environment)
    assert result.stdout == f"{script} Hi\n"


# -------------------------------------------------------------------------------------- Connections


PIECES = [chunk("one "), chunk("two "), chunk("three") + DONE]
URLLIB3 = tuple(int(number) for number in urllib3.__version__.split(".")[:2])


def skip_if_pieces_come_late(framing):
    if "chunk" not in framing and URLLIB3 < (2, 2):
        pytest.skip("urllib3 before 2.2 waits for 64 bytes where there are no chunks")


def framed(framing):
    """Response headers, and the bytes of each of PIECES.

    framing: "chunked", "length", or "close" for a body that ends with its connection; "gzip" before
        one of them compresses it. Or all pieces are in one chunk.
    """
    raw = [piece.encode() for piece in PIECES]
    headers = {"Connection": "close"}
    if "gzip" in framing:
        zipper = zlib.compressobj(wbits=31)
        flushes = [zlib.Z_SYNC_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FINISH]
        raw = [zipper.compress(piece) + zipper.flush(how) for piece, how in zip(raw, flushes)]
        headers["Content-Encoding"] = "GZIP"
    if "chunked" in framing:
        headers = {**headers, "Connection": "keep-alive", "Transfer-Encoding": "chunked"}
        raw = [http_chunk(piece) for piece in raw]
        raw[-1] += b"0\r\n\r\n"
    if framing == "one chunk, 512 bytes at a time":
        headers["Transfer-Encoding"] = "chunked"
        raw = [b":".ljust(511 - len(piece), b" ") + b"\n" + piece for piece in raw]
        raw[0] = b"%x\r\n%s" % (sum(map(len, raw)), raw[0])
        raw[-1] += b"\r\n0\r\n\r\n"
    if framing == "length":
        headers["Content-Length"] = str(sum(map(len, raw)))
    return headers, raw


@pytest.fixture
def patient(set_limits):
    """A finished answer waits as long for its end as a busy machine may take."""
    set_limits(LINGER=30)


@pytest.mark.parametrize(
    "framing",
    ["chunked", "one chunk, 512 bytes at a time", "close", "gzip chunked", "gzip close", "length"],
)
def test_a_piece_is_yielded_when_its_bytes_arrive_however_they_are_framed(framing):
    """The site sends a piece only when the one before it has been yielded."""
    skip_if_pieces_come_late(framing)
    got = threading.Semaphore(0)

    def answer(handler, form):
        headers, raw = framed(framing)
        handler.head(**headers)
        for piece in raw:
            handler.wfile.write(piece)
            if not got.acquire(timeout=5):
                handler.hang_up()
                return
        handler.close_connection = True

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        heard = []
        for text in bot.stream("Hi"):
            heard.append(text)
            got.release()
    assert heard == ["one ", "two ", "three"]


@each_echo
def test_ten_calls_take_one_page_and_one_connection(answer, page, patient):
    with Site(answer, page) as site, ChatgptFree(site.url) as bot:
        for i in range(10):
            assert bot.complete(f"call {i}") == f"call {i}"
        assert (len(site.pages()), site.connections) == (1, 1)
        assert len(site.asked) == 1 + 10 * (1 if page == CLASSIC_PAGE else 2)


@pytest.mark.parametrize(
    "send", [SiteHandler.whole, SiteHandler.send_chunked], ids=["length", "chunked"]
)
def test_a_json_answer_gives_its_connection_back_too(send, patient):
    with (
        Site(lambda handler, form: send(handler, json.dumps(JSON_ANSWER))) as site,
        ChatgptFree(site.url) as bot,
    ):
        assert [bot.complete("Hi") for _ in range(3)] == ["Hello, wörld"] * 3
        assert site.connections == 1


def test_a_finished_answer_waits_for_the_end_of_its_response_for_a_moment(patient):
    def answer(handler, form):
        handler.send_chunked(chunk("Hello") + DONE, end=False)
        # as where the site writes its log first; a client that left would end the wait
        select.select([handler.connection], [], [], 0.01)
        handler.wfile.write(b"0\r\n\r\n")

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert [bot.complete("Hi") for _ in range(3)] == ["Hello"] * 3
        assert site.connections == 1


def send_a_chunk_without_size(handler, *texts):
    handler.send_chunked(*texts, end=False)
    handler.wfile.write(b"size\r\n\r\n")
    handler.hang_up()


def test_nonsense_behind_a_whole_answer_does_not_spoil_it():
    def answer(handler, form):
        send_a_chunk_without_size(handler, chunk("Hello") + DONE)

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert bot.complete("Hi") == "Hello"


def test_a_finished_answer_leaves_a_site_that_does_not_end_it(set_limits):
    assert chatgptfree.LINGER == 0.25
    set_limits(LINGER=0.01)

    def answer(handler, form):
        handler.send_chunked(chunk("Hello") + DONE, end=False)
        handler.wait_for_hang_up()

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert bot.complete("Hi") == "Hello"
        assert site.gone.wait(5)


def test_a_finished_answer_leaves_a_site_that_keeps_sending(clock, set_limits):
    set_limits(LINGER=30, BODY_LIMIT=10**9)

    def answer(handler, form):
        handler.send_chunked(chunk("Hello") + DONE, end=False)
        try:
            # more than waits on its way
            for _ in range(20_000):
                clock.now += 1
                handler.wfile.write(http_chunk(b": ping".ljust(998) + b"\n\n"))
        except OSError:
            site.gone.set()
        handler.close_connection = True

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert bot.complete("Hi") == "Hello"
        assert site.gone.wait(5)


def test_the_end_of_a_response_is_not_awaited_where_its_connection_closes(patient):
    """As `Connection: close` says."""

    def answer(handler, form):
        handler.head(Transfer_Encoding="chunked", Connection="close")
        handler.wfile.write(http_chunk((chunk("Hello") + DONE).encode()))
        handler.wait_for_hang_up()

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert bot.complete("Hi") == "Hello"
        assert site.gone.wait(5)


@pytest.mark.parametrize("framing", ["chunked", "gzip chunked", "length"])
def test_a_connection_with_half_a_response_on_it_serves_nobody(framing, set_limits):
    """The rest of the response comes when the next call has been made."""
    skip_if_pieces_come_late(framing)
    set_limits(LINGER=0.01)
    asked_again = threading.Event()

    def answer(handler, form):
        if form["message"] != "first":
            asked_again.set()
            return echo_classic(handler, form)
        headers, raw = framed(framing)
        if framing == "length":
            raw.append(b"\n" * 5)
            headers = {"Content-Length": str(len(b"".join(raw)))}
        whole = b"".join(raw)
        handler.head(**headers)
        handler.wfile.write(whole[:-5])
        asked_again.wait(5)
        with contextlib.suppress(OSError):
            handler.wfile.write(whole[-5:])
        return handler.hang_up()

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert bot.complete("first") == "one two three"
        assert [bot.complete(f"call {i}") for i in range(3)] == ["call 0", "call 1", "call 2"]
        assert site.connections == 2


# ------------------------------------------------- Connections on which more than one response came


def whole_response(body, status="200 OK"):
    """A response as its bytes."""
    raw = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/event-stream\r\nContent-Length: {len(raw)}"
    return head.encode() + b"\r\n\r\n" + raw


CHALLENGED = b"CF-Mitigated: challenge\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n"
WITHOUT_BODY = {
    "102 with a check": b"HTTP/1.1 102 Processing\r\n" + CHALLENGED,
    "103 with a check": HINTS + CHALLENGED,
    "204 with a check": b"HTTP/1.1 204 No Content\r\n" + CHALLENGED,
    "304 with a check": b"HTTP/1.1 304 Not Modified\r\n" + CHALLENGED,
    "empty 429": whole_response("", "429 Oh"),
}
# After a check, a limit or some text the chat is not looked up again: the next question is the next
# request.
NOT_LOOKED_UP = {
    **WITHOUT_BODY,
    "429": whole_response("oops", "429 Oh"),
    "limit": whole_response(data(TOKEN_LIMIT)),
    "JSON limit": whole_response(json.dumps(TOKEN_LIMIT)),
    "broken answer": whole_response(HI),
}
# After these it is: so a question of another thread may be the next request.
LOOKED_UP = {
    "103": HINTS + b"\r\n",
    "500": whole_response("oops", "500 Oh"),
    "no text": whole_response(DONE),
}


def send_with_stray(handler, stray, response):
    """Send another response before the one that is due.

    That comes when the next request has come on the same connection, or the client has left.
    """
    if stray:
        handler.wfile.write(stray)
        select.select([handler.connection], [], [], 0.3)
    handler.wfile.write(response)


def assert_nobody_gets_anothers_answer(
    stray, session=None, threads=1, questions=4, certificate=None
):
    """Before the answer to each even question the site sends another response, `stray`.

    By it the even questions fail, and no odd one may get what came behind it.
    """

    def answer(handler, form):
        is_even = int(form["message"]) % 2 == 0
        answer = whole_response(chunk(f"answer to {form['message']}") + DONE)
        send_with_stray(handler, stray if is_even else b"", answer)

    def ask(number):
        try:
            return bot.complete(str(number))
        except ChatgptFreeError:
            return "failed"

    with Site(answer) as site, ThreadPoolExecutor(threads) as pool:
        url = encrypt(site, certificate) if certificate else site.url
        with ChatgptFree(url, session=session, timeout=5, verify=certificate) as bot:
            bot.list_models()
            heard = list(pool.map(ask, range(questions)))
    assert heard[::2] == ["failed"] * len(heard[::2])
    assert heard[1::2] == [f"answer to {number}" for number in range(1, questions, 2)]


@pytest.mark.parametrize("stray", NOT_LOOKED_UP.values(), ids=NOT_LOOKED_UP)
def test_after_a_failed_call_what_comes_on_its_connection_is_nobodys_answer(stray):
    assert_nobody_gets_anothers_answer(stray)


def test_over_https_too_what_comes_on_the_connection_of_a_failed_call_is_nobodys_answer(tmp_path):
    stray = NOT_LOOKED_UP["429"]
    assert_nobody_gets_anothers_answer(stray, certificate=tmp_path / "certificate.pem")


@pytest.mark.parametrize("stray", LOOKED_UP.values(), ids=LOOKED_UP)
def test_what_comes_on_the_connection_of_a_failed_call_is_no_other_threads_answer(stray):
    assert_nobody_gets_anothers_answer(stray, threads=8, questions=20)


@pytest.mark.parametrize("stray", WITHOUT_BODY.values(), ids=WITHOUT_BODY)
def test_so_it_is_with_a_session_of_the_callers_if_the_response_had_no_body(stray):
    with requests.Session() as session:
        assert_nobody_gets_anothers_answer(stray, session)


@pytest.mark.parametrize("where", ["page", "ticket", "answer"])
def test_after_a_failed_page_ticket_or_answer_what_comes_on_its_connection_is_nobodys_answer(where):
    strays = []

    def respond(handler, asked, body):
        stray = strays.pop() if strays and asked == where else b""
        send_with_stray(handler, stray, whole_response(body))

    def page(handler):
        respond(handler, "page", LOCAL_CURRENT)

    def answer(handler, form):
        if asks_for_ticket(form):
            body = json.dumps({"success": True, "data": {"cache_key": form["message"]}})
            return respond(handler, "ticket", body)
        body = data({"delta": f"answer to {form['cache_key']}"}) + CURRENT_DONE
        return respond(handler, "answer", body)

    with Site(answer, page) as site, ChatgptFree(site.url, timeout=5) as bot:
        assert bot.complete("1") == "answer to 1"
        strays.append(whole_response("oops", "429 Oh"))
        with pytest.raises(ChatgptFreeError):
            bot.list_models() if where == "page" else bot.complete("2")
        assert [bot.complete(question) for question in "34"] == ["answer to 3", "answer to 4"]


# --------------------------------------------------------------------------------- Idle connections


@pytest.mark.parametrize(
    ("seconds", "connections"), [(4, 1), (4.1, 2)], ids=["4 seconds", "4.1 seconds"]
)
def test_connections_that_were_idle_for_over_4_seconds_serve_nobody(
    seconds, connections, clock, patient
):
    """A server closes them after 5 seconds at the earliest: a call at that moment would be lost."""
    with Site(echo_classic) as site, ChatgptFree(site.url) as bot:
        for _ in range(2):
            assert bot.complete("Hi") == "Hi"
        assert site.connections == 1
        clock.now += seconds
        for _ in range(2):
            assert bot.complete("Hi") == "Hi"
        assert (site.connections, len(site.pages())) == (connections, 1)


def test_an_answer_in_progress_goes_on_when_others_get_new_connections(clock, patient):
    short_is_done = threading.Event()

    def answer(handler, form):
        if form["message"] == "short":
            return echo_classic(handler, form)
        handler.send_chunked(chunk("one "), end=False)
        short_is_done.wait(10)
        handler.wfile.write(http_chunk((chunk("two") + DONE).encode()) + b"0\r\n\r\n")
        return None

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        long = bot.stream("long")
        assert next(long) == "one "
        for _ in range(2):
            assert bot.complete("short") == "short"
            clock.now += 10
        short_is_done.set()
        assert list(long) == ["two"]
        # one for the long answer, and one for each short one
        assert site.connections == 3


def test_the_time_that_an_answer_takes_is_not_idle(clock, patient):
    def answer(handler, form):
        handler.send_chunked(chunk("one "), end=False)
        clock.now += 10
        handler.wfile.write(http_chunk((chunk("two") + DONE).encode()) + b"0\r\n\r\n")

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert [bot.complete("Hi") for _ in range(3)] == ["one two"] * 3
        assert site.connections == 1


def test_a_callers_session_keeps_its_adapters_and_connections(clock, patient):
    adapter = requests.adapters.HTTPAdapter()
    with Site(echo_classic) as site, requests.Session() as session:
        session.mount("http://", adapter)
        bot = ChatgptFree(site.url, session=session)
        assert bot.complete("one") == "one"
        clock.now += 10
        assert bot.complete("two") == "two"
        assert session.get_adapter(site.url) is adapter
        assert site.connections == 1


# ------------------------------------------------------------ Connections that break, and time-outs


def cut_between_chunks(handler):
    handler.send_chunked(chunk("Hello"), chunk(" wörld"), end=False)
    handler.hang_up()


def cut_in_chunk(handler):
    handler.send_chunked(chunk("Hello"), chunk(" wörld"), end=False)
    # The part of a chunk that came is lost.
    handler.wfile.write(http_chunk(chunk("!").encode())[:-2])
    handler.hang_up()


def spoil_chunk(handler):
    send_a_chunk_without_size(handler, chunk("Hello"), chunk(" wörld"))


def cut_in_character(handler):
    handler.head(Connection="close")
    raw = (chunk("Hello") + chunk(" wörld") + 'data: {"choices":[{"delta":{"content":"ö').encode()
    handler.wfile.write(raw[:-1])
    handler.hang_up()


def cut_gzip(handler, after=b""):
    zipper = zlib.compressobj(wbits=31)
    handler.head(Content_Encoding="gzip", Connection="close")
    raw = zipper.compress((chunk("Hello") + chunk(" wörld")).encode())
    handler.wfile.write(raw + zipper.flush(zlib.Z_SYNC_FLUSH) + after)
    handler.hang_up()


def break_gzip(handler):
    cut_gzip(handler, b"junk" * 9)


def cut_before_the_length(handler):
    raw = (chunk("Hello") + chunk(" wörld")).encode()
    handler.head(Content_Length=str(len(raw) + 50))
    handler.wfile.write(raw)
    handler.hang_up()


LOST = r": lost the connection to 127.0.0.1:\d+: .+"
COUNTS_BYTES = pytest.mark.skipif(URLLIB3 < (2,), reason="urllib3 before 2 counts no bytes")


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        pytest.param(cut_between_chunks, LOST, id="between chunks"),
        pytest.param(cut_in_chunk, LOST, id="in a chunk"),
        pytest.param(spoil_chunk, LOST, id="a chunk without size"),
        pytest.param(cut_before_the_length, LOST, id="before the length", marks=COUNTS_BYTES),
        pytest.param(cut_in_character, "", id="in a character"),
        pytest.param(cut_gzip, "", id="in gzip"),
        # in words of urllib3 that differ
        pytest.param(break_gzip, ".*", id="junk in gzip"),
    ],
)
def test_text_before_a_break_is_yielded_and_in_partial(cut, reason):
    with Site(lambda handler, form: cut(handler)) as site, ChatgptFree(site.url) as bot:
        texts, error = collect(bot.stream("Hi"))
    assert texts == ["Hello", " wörld"]
    assert type(error) is IncompleteReplyError
    assert error.partial == "Hello wörld"
    assert re.fullmatch(f"the answer broke off{reason}", str(error))


def shorten_timeout(response, **_):
    """What has not come of a response is waited for no longer."""
    response.raw.connection.sock.settimeout(0.01)


def test_a_stall_after_some_text_is_an_incomplete_reply():
    came = []
    hooks = {"response": lambda response, **_: came.append(response)}

    def answer(handler, form):
        handler.send_chunked(chunk("Hello"), chunk(" wörld"), end=False)
        handler.wait_for_hang_up()

    with Site(answer) as site:
        texts = ChatgptFree(site.url).stream("Hi", timeout=30, hooks=hooks)
        assert [next(texts), next(texts)] == ["Hello", " wörld"]
        shorten_timeout(came[-1])
        with pytest.raises(IncompleteReplyError) as caught:
            next(texts)
    words = f"the answer broke off: nothing came from {site.host} for 30 seconds"
    assert (str(caught.value), caught.value.partial) == (words, "Hello wörld")


def signal_until_it_leaves(handler):
    """Signal the main thread again and again, until the client has left."""
    attempts = 100
    # by the first signal the client has read what came, and waits
    while attempts and not select.select([handler.connection], [], [], 0.02)[0]:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
        attempts -= 1
    handler.close_connection = True
    handler.server.gone.set()


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there is no such signal here")
@pytest.mark.parametrize(
    "came",
    [ROLE, chunk("Hello"), chunk("Hello") + DONE],
    ids=["before text", "after text", "behind the answer"],
)
def test_an_exception_of_a_signal_handler_goes_out_as_it_is(came, patient):
    """So the timers of job queues end a job. Nothing is asked again."""
    error = ValueError("time is up")
    errors = [error]

    def on_signal(number, frame):
        is_waiting = frame.f_code.co_filename == socket.__file__
        if errors and is_waiting:
            raise errors.pop()

    def answer(handler, form):
        handler.send_chunked(came, end=False)
        signal_until_it_leaves(handler)

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        before = signal.signal(signal.SIGUSR1, on_signal)
        try:
            with pytest.raises(ValueError, match="time is up") as caught:
                bot.complete("Hi")
        finally:
            site.gone.wait(10)
            signal.signal(signal.SIGUSR1, before)
        assert caught.value is error
        assert len(site.asked) == 2


reset_in_chunks = after_head(reset_connection, Transfer_Encoding="chunked")
reset_in_body = after_head(reset_connection, Content_Length="9")
stall_in_body = after_head(stall, Content_Length="9")


def spoil_first_chunk(handler, *_):
    send_a_chunk_without_size(handler)


def break_gzip_at_once(handler, *_):
    handler.head(Content_Encoding="gzip", Connection="close")
    handler.wfile.write(b"junk" * 9)
    handler.hang_up()


STALL = {"timeout": (9, 0.05)}
STALL_IN_BODY = {"hooks": {"response": shorten_timeout}}
CHUNKED_ERROR = requests.exceptions.ChunkedEncodingError
DECODING_ERROR = requests.exceptions.ContentDecodingError
FAILURES_OF_SITES = {
    "page: reset": ("page", reset_connection, requests.ConnectionError, {}),
    "page: reset in chunks": ("page", reset_in_chunks, CHUNKED_ERROR, {}),
    "page: reset before the length": ("page", reset_in_body, CHUNKED_ERROR, {}),
    "page: stall": ("page", stall, requests.ReadTimeout, STALL),
    "page: stall in the body": ("page", stall_in_body, requests.ConnectionError, STALL_IN_BODY),
    "reset": ("answer", reset_connection, requests.ConnectionError, {}),
    "reset in chunks": ("answer", reset_in_chunks, CHUNKED_ERROR, {}),
    "reset before the length": ("answer", reset_in_body, CHUNKED_ERROR, {}),
    "a chunk without size": ("answer", spoil_first_chunk, CHUNKED_ERROR, {}),
    "junk for gzip": ("answer", break_gzip_at_once, DECODING_ERROR, {}),
    "stall": ("answer", stall, requests.ReadTimeout, STALL),
    "stall in chunks": ("answer", stall_in_chunks, requests.ConnectionError, STALL_IN_BODY),
    "stall before the length": ("answer", stall_in_body, requests.ConnectionError, STALL_IN_BODY),
}


@pytest.mark.parametrize(
    ("where", "fail", "kind", "options"), FAILURES_OF_SITES.values(), ids=FAILURES_OF_SITES
)
def test_a_failure_before_any_text_is_requests_own(where, fail, kind, options):
    with Site(fail, fail if where == "page" else CLASSIC_PAGE) as site:
        bot = ChatgptFree(site.url)
        if where == "answer":
            # a short time-out is for the answer alone
            bot.list_models()
        with pytest.raises(requests.RequestException) as caught:
            bot.complete("Hi", **options)
    assert caught.type is kind


@pytest.mark.parametrize("where", ["page", "answer"])
def test_a_silent_site_holds_a_call_no_longer_than_max_time(where):
    page = stall if where == "page" else CLASSIC_PAGE
    caught = failing_call(page, stall, timeout=9, max_time=0.05)
    words = "the call took longer than max_time, 0.05 seconds"
    assert (caught.type, caught.words) == (requests.Timeout, words)


def test_a_call_over_its_max_time_follows_no_redirect(clock):
    def page(handler):
        clock.now += 3
        handler.whole("", 302, Location="/help/")

    with Site(echo_classic, page) as site, pytest.raises(requests.Timeout) as caught:
        ChatgptFree(site.url, max_time=2).complete("Hi")
    assert str(caught.value) == "the call took longer than max_time, 2 seconds"
    assert site.pages() == ["/"]


REFUSING_PROXIES = {  # for an address of this scheme, and how it is told
    "http": "^HTTP 407 from the proxy for site.example: Who are you\\?$",
    # in words of urllib3 that differ
    "https": "407",
}


@pytest.mark.parametrize(("scheme", "words"), REFUSING_PROXIES.items(), ids=REFUSING_PROXIES)
def test_the_refusal_of_a_proxy_is_not_the_sites(scheme, words, monkeypatch):
    def refuse_all(handler):
        handler.whole("Who are you?", 407)

    monkeypatch.setattr(SiteHandler, "do_CONNECT", refuse_all, raising=False)
    with (
        Site(None, refuse_all) as proxy,
        pytest.raises(requests.exceptions.ProxyError, match=words),
    ):
        ChatgptFree(f"{scheme}://site.example/").complete("Hi", proxy=proxy.url)


# --------------------------------------------------------- Bodies: compressed, of unreasonable size


def gzipped(*texts, members=False):
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    return b"".join(map(gzip.compress, raw)) if members else gzip.compress(b"".join(raw))


def send_encoded(raw, encoding="gzip"):
    def send(handler, *_):
        handler.head(Content_Encoding=encoding, Content_Length=str(len(raw)))
        with contextlib.suppress(OSError):
            handler.wfile.write(raw)

    return send


def test_a_content_encoding_that_is_no_compression_is_ignored():
    answer = send_encoded((chunk("Hello") + DONE).encode(), encoding="UTF-8")
    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert bot.complete("Hi") == "Hello"


def not_readable(encoding):
    words = f"the site's words are in the encoding {encoding!r}, which can't be read here"
    return f"{words}: send no Accept-Encoding of your own, or install a package that reads it"


@pytest.mark.parametrize(
    ("encoding", "where", "status", "words"),
    [
        ("br", "page", 200, "{}"),
        ("zstd", "page", 503, "HTTP 503: {}"),
        ("dcb", "answer", 200, "{}"),
        ("br", "answer", 403, "HTTP 403: {}"),
    ],
    ids=["page", "refused page", "answer", "refusal"],
)
def test_a_body_in_an_encoding_that_cannot_be_read_is_an_error_that_names_it(
    encoding, where, status, words
):
    if encoding in urllib3.response.HTTPResponse.CONTENT_DECODERS:
        pytest.skip(f"a package here reads {encoding}")

    def send(handler, *_):
        handler.head(status, Content_Encoding=encoding, Content_Length="9")
        handler.wfile.write(b"\x0b\x02\x80Hello\x03")

    # a caller's own, which the site may take for a wish for others too
    caught = failing_call(**{where: send}, headers={"Accept-Encoding": "br"})
    assert caught.type is ChatgptFreeError
    assert caught.words == words.format(not_readable(encoding))


def test_another_librarys_session_has_decoded_what_its_headers_name():
    def respond(*pieces, url):
        return Answer(*pieces, url=url, headers={"content-encoding": "br"})

    session = StubSession(CLASSIC_PAGE, CLASSIC_ANSWER, respond=respond)
    assert ChatgptFree(SITE, session=session).complete("Hi") == "Hello, wörld 🌍"


@pytest.mark.parametrize("after", [b"raw bytes" * 200_000, b"\0" * 600], ids=["many", "zeros"])
def test_raw_bytes_behind_gzip_are_not_read(after):
    page = send_encoded(gzipped(CLASSIC_PAGE) + after)
    answer = send_encoded(gzipped(chunk("Hello"), DONE) + after)
    with Site(answer, page) as site, ChatgptFree(site.url) as bot, peak_memory() as peak:
        assert [bot.complete("Hi", timeout=5) for _ in range(2)] == ["Hello"] * 2
        assert peak() < 1e6


@pytest.mark.parametrize("where", ["page", "answer"])
def test_what_a_second_gzip_member_holds_is_not_lost(where):
    page = gzipped(CLASSIC_PAGE[:40], CLASSIC_PAGE[40:], members=where == "page")
    answer = gzipped(chunk("Hello"), "", chunk(" you"), DONE, members=where == "answer")
    with Site(send_encoded(answer), send_encoded(page)) as site:
        assert ChatgptFree(site.url).complete("Hi") == "Hello you"


def test_a_second_gzip_member_may_begin_anywhere_in_a_piece(patient):
    raw = gzipped(chunk("Hello"), chunk(" you"), DONE, members=True)

    def answer(handler, form):
        handler.head(Content_Encoding="gzip", Transfer_Encoding="chunked")
        for i in range(len(raw)):
            handler.wfile.write(http_chunk(raw[i : i + 1]))
        handler.wfile.write(b"0\r\n\r\n")

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert [bot.complete("Hi") for _ in range(2)] == ["Hello you"] * 2
        assert site.connections == 1


def test_stacked_encodings_are_undone():
    raw = gzip.compress(zlib.compress((chunk("Hello") + DONE).encode()))
    with Site(send_encoded(raw, "deflate, gzip")) as site:
        assert ChatgptFree(site.url).complete("Hi") == "Hello"


@pytest.mark.skipif(URLLIB3 < (2, 6), reason="urllib3 before 2.6 expands all of a piece at once")
@pytest.mark.parametrize("where", ["page", "answer"])
def test_a_gzip_bomb_is_an_error_in_bounded_memory(where, set_limits):
    set_limits(BODY_LIMIT=1_000_000)
    bomb = gzip.compress(b"x" * 10_000_000, 1)
    with peak_memory() as peak:
        caught = failing_call(**{where: send_encoded(bomb)})
        assert peak() < 5e6
    assert caught.type is ChatgptFreeError
    assert caught.words.startswith("the site sent ")


def send_endlessly(raw):
    def send(handler, *_):
        with contextlib.suppress(OSError):
            handler.head(Connection="close")
            for _ in range(10**5):
                handler.wfile.write(raw)
        handler.hang_up()

    return send


LINES = b"a line of no stream, which is rather long\n" * 1000


@pytest.mark.parametrize(
    ("where", "raw", "words"),
    [
        ("page", b"<p>" * 5000, "the site sent 2,000,000 bytes without an end"),
        ("answer", b"data: x" * 5000, "the site sent a line of over 1,000,000 bytes"),
        ("answer", LINES, "the site sent 2,000,000 bytes without an end or any text of an answer"),
    ],
    ids=["page", "line", "body"],
)
def test_what_has_no_end_is_an_error(where, raw, words, set_limits):
    assert chatgptfree.BODY_LIMIT == 10_000_000
    set_limits(BODY_LIMIT=2_000_000)
    caught = failing_call(**{where: send_endlessly(raw)})
    assert (caught.type, caught.words) == (ChatgptFreeError, words)


def endless_redirect(location, wrote):
    def page(handler, *_):
        handler.head(302, Location=location)
        with contextlib.suppress(OSError):
            for _ in range(300):
                handler.wfile.write(b"x" * 100_000)
                wrote.append(100_000)
        handler.close_connection = True

    return page


def test_a_redirects_body_is_not_read():
    wrote = []
    page = in_turn(endless_redirect("/help/", wrote), CLASSIC_PAGE)
    with Site(echo_classic, page) as site, peak_memory() as peak:
        assert ChatgptFree(site.url).complete("Hello you") == "Hello you"
        memory = peak()
    assert sum(wrote) < 30_000_000  # the rest was refused
    assert memory < 15e6


def test_an_answers_redirect_does_not_fill_the_memory_either():
    with peak_memory() as peak:
        caught = failing_call(answer=endless_redirect("/help/", []))
        assert peak() < 40e6
    assert caught.type is ChatgptFreeError


def test_a_body_in_tiny_pieces_takes_memory_in_proportion_to_its_length():
    """A list of them would take twenty times as much."""
    raw = ("a " * 30_000 + CLASSIC_PAGE).encode()
    pieces = (raw[i : i + 2] for i in range(0, len(raw), 2))
    with peak_memory() as peak:
        ChatgptFree(SITE, session=PartsSession(pieces, [CLASSIC_ANSWER])).complete("Hi")
        assert peak() < 5 * len(raw)


def test_memory_stays_constant_but_for_the_text_itself():
    def peak_of(count):
        answer = Answer(*[chunk("word ").encode()] * count, DONE)

        def respond(*page, url):
            return Answer(*page, url=url) if page else answer

        bot = ChatgptFree(SITE, session=StubSession(CLASSIC_PAGE, respond=respond))
        with peak_memory() as peak:
            for _ in bot.stream("Hi"):
                pass
            return peak()

    peak_of(10)
    # A str for each word would take over ten times the text.
    assert peak_of(3_000) - peak_of(1_000) < 2_000 * len("word ") * 6


# ------------------------------------------------------------------------------------------ Threads


@each_echo
def test_eight_threads_share_one_object_and_one_page(answer, page, patient):
    with Site(answer, page) as site, ChatgptFree(site.url) as bot, ThreadPoolExecutor(8) as pool:
        prompts = [f"prompt {i} " + "word " * (i % 7) for i in range(16)]
        assert list(pool.map(bot.complete, prompts)) == prompts
        assert len(site.pages()) == 1
        assert site.connections <= 9
        guests = {form["session_id"] for form in streams_of(site)}
        assert len(guests) == (1 if page == LOCAL_CURRENT else 0)


def test_twenty_threads_keep_their_connections_and_log_no_warning(patient, caplog):
    together = threading.Barrier(20, timeout=10)

    def answer(handler, form):
        together.wait()
        echo_classic(handler, form)

    with Site(answer) as site, ChatgptFree(site.url) as bot, ThreadPoolExecutor(20) as pool:
        bot.list_models()
        for _ in range(2):
            assert list(pool.map(bot.complete, ["Hi"] * 20)) == ["Hi"] * 20
        assert site.connections <= 21
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == []


class ExpiringSite(Site):
    """A site whose first nonce has expired, of either protocol.

    `refuse(form)` is called before a question with that nonce is refused. `renewals` has the
    requests for a fresh nonce.
    """

    def __init__(self, protocol, refuse):
        self.nonces, self.refuse, self.renewals = iter(["stale", "fresh"]), refuse, []
        self.box = classic_box if protocol == "classic" else current_box
        super().__init__(self.answer_form, self.show_box)
        # at the page, and for a fresh nonce
        self.looks = (2, 0) if protocol == "classic" else (1, 1)

    def show_box(self, handler):
        more = {} if self.box is classic_box else {"ajax_url": None}
        handler.whole(self.box(nonce=next(self.nonces), **more))

    def answer_form(self, handler, form):
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            self.renewals.append(form)
            return handler.whole(FRESH)
        if "stale" in (form.get("_wpnonce"), form.get("_ajax_nonce")):
            self.refuse(form)
            return handler.whole("The link you followed has expired.", 403)
        return say_hello(handler, form)

    def assert_looked_again_once(self):
        assert (len(self.pages()), len(self.renewals)) == self.looks


def test_eight_threads_with_an_expired_nonce_renew_it_once(protocol):
    together = threading.Barrier(8, timeout=10)
    with (
        ExpiringSite(protocol, lambda form: together.wait()) as site,
        ChatgptFree(site.url) as bot,
        ThreadPoolExecutor(8) as pool,
    ):
        assert list(pool.map(bot.complete, ["Hi"] * 8)) == ["Hello Ann."] * 8
        site.assert_looked_again_once()


def test_a_nonce_that_another_thread_has_renewed_is_not_renewed_again(protocol):
    """Both are asked with the same nonce, and one is refused when the other is done."""
    both_asked = threading.Barrier(2, timeout=10)
    quick_is_done = threading.Event()

    def refuse(form):
        both_asked.wait()
        if form["message"] == "slow":
            quick_is_done.wait(10)

    with (
        ExpiringSite(protocol, refuse) as site,
        ChatgptFree(site.url) as bot,
        ThreadPoolExecutor(1) as pool,
    ):
        slow = pool.submit(bot.complete, "slow")
        assert bot.complete("quick") == "Hello Ann."
        quick_is_done.set()
        assert slow.result(10) == "Hello Ann."
        site.assert_looked_again_once()


@pytest.mark.parametrize(
    ("fail", "kind"),
    [(send_limit, RateLimitError), (reset_connection, requests.ConnectionError)],
    ids=["limit", "reset"],
)
def test_a_failed_look_at_the_page_is_shared_by_all_who_wait_for_it(fail, kind, waits):
    def page(handler):
        for _ in range(3):
            waits.acquire(timeout=10)
        fail(handler, {})

    with Site(None, page) as site, ChatgptFree(site.url) as bot, ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(bot.complete, "Hi") for _ in range(4)]
        errors = [call.exception(20) for call in calls]
        assert [type(error) for error in errors] == [kind] * 4
        assert len({str(error) for error in errors}) == 1
        # each thread has its own, with a traceback of its own
        assert len(set(map(id, errors))) == 4
        assert len(site.asked) == 1


class CannotBeCopiedError(OSError):
    def __init__(self, host, port):
        super().__init__(f"{host}:{port}")


def test_a_failure_that_cannot_be_copied_is_shared_too(waits):
    error = CannotBeCopiedError("site.example", 443)

    def respond(*_, **options):
        waits.acquire(timeout=10)
        raise error

    bot = ChatgptFree(SITE, session=StubSession("", respond=respond))
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(bot.complete, "Hi") for _ in range(2)]
        assert [call.exception(10) for call in calls] == [error, error]


def refuse_page(handler):
    handler.whole("Who are you?", 403)


@contextlib.contextmanager
def during_anothers_look(until, look=lambda handler: handler.whole(CLASSIC_PAGE), **options):
    """A site, a client, and a call of another thread's with these options, which looks at the page.

    When `until` returns, the site responds to it by `look`. To others the page comes at once.
    """
    asked = threading.Event()

    def slow_page(handler):
        asked.set()
        assert until(timeout=10)
        return look(handler)

    with (
        Site(echo_classic, in_turn(slow_page, CLASSIC_PAGE)) as site,
        ChatgptFree(site.url, timeout=60) as bot,
        ThreadPoolExecutor(1) as pool,
    ):
        call = pool.submit(bot.complete, "one", **options)
        assert asked.wait(5)
        yield site, bot, call


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"headers": {"X-Key": "a"}}, {"headers": {"X-Key": "b"}}),
        ({"timeout": 59}, {"timeout": 60}),
    ],
    ids=["headers", "timeout"],
)
def test_a_failure_is_shared_only_by_those_who_asked_alike(first, second, waits):
    with during_anothers_look(waits.acquire, refuse_page, **first) as (site, bot, failing):
        assert bot.complete("two", **second) == "two"
        assert str(failing.exception(10)) == "HTTP 403: Who are you?"
        assert len(site.pages()) == 2


def test_a_look_that_is_interrupted_is_taken_over_by_one_who_waits(waits):
    interrupts = []

    def interrupt_once(response, **_):
        if not interrupts:
            # `requests` loses sight of it
            response.close()
            interrupts.append(SystemExit())
            raise interrupts[0]

    hooks = {"response": interrupt_once}
    with during_anothers_look(waits.acquire, hooks=hooks) as (site, bot, interrupted):
        assert bot.complete("two", hooks=hooks) == "two"
        assert interrupted.exception(10) is interrupts[0]
        assert len(site.pages()) == 2


@pytest.mark.parametrize(
    "options",
    [{"timeout": (0.01, 0.02)}, {"timeout": 20, "max_time": 0.05}],
    ids=["time-outs", "max_time"],
)
def test_nobody_waits_for_anothers_look_longer_than_its_own_time_out(options):
    go_on = threading.Event()
    with during_anothers_look(go_on.wait, timeout=math.inf) as (site, bot, patient):
        with pytest.raises(requests.Timeout) as caught:
            bot.complete("hasty", **options)
        assert not patient.done()
        assert len(site.asked) == 1
        go_on.set()
        assert patient.result(10) == "one"
    waited = f"waited for another thread's look at the page of {site.host}, which takes too long"
    assert told(caught.value) == (requests.Timeout, waited)


def test_after_a_wait_in_vain_others_can_look():
    """A look that was interrupted can leave its lock behind."""
    with Site(echo_classic) as site, ChatgptFree(site.url) as bot:
        with ThreadPoolExecutor(1) as other:
            other.submit(lock_of(bot).acquire).result()
            with pytest.raises(requests.Timeout, match="waited for another thread's look"):
                bot.complete("in vain", timeout=0.01)
        assert bot.complete("Hi") == "Hi"


@pytest.mark.parametrize("timeout", [math.inf, (9, None)], ids=["inf", "to connect only"])
def test_two_threads_look_at_the_page_once_even_without_a_time_out(timeout, waits):
    with during_anothers_look(waits.acquire) as (site, bot, first):
        assert bot.complete("two", timeout=timeout) == "two"
        assert first.result() == "one"
        assert len(site.pages()) == 1


# --------------------------------------------------------------------------------------- Generators


def test_a_generator_that_is_not_started_makes_no_request():
    with Site(echo_classic) as site:
        ChatgptFree(site.url).stream("Hi").close()
        assert site.asked == []


class WatchingAnswer(Answer):
    """A response that notes which generators each of its pieces goes through, itself first."""

    def iter_content(self, size):
        for piece in super().iter_content(size):
            self.generators = []
            frame = inspect.currentframe()
            while frame is not None:
                if frame.f_code.co_flags & inspect.CO_GENERATOR:
                    self.generators.append(frame.f_code.co_name)
                frame = frame.f_back
            yield piece


@pytest.mark.parametrize(("way", "most"), [("stream", 5), ("conversation", 6)])
def test_a_piece_of_text_goes_through_few_generators(way, most):
    """Each takes time for each piece."""
    answers = []

    def respond(*pieces, url):
        answers.append(WatchingAnswer(*pieces, url=url))
        return answers[-1]

    session = StubSession(CLASSIC_PAGE, chunk("Hi"), DONE, respond=respond)
    CALLERS[way](ChatgptFree(SITE, session=session))
    generators = answers[-1].generators
    assert generators[0] == "iter_content"
    assert len(generators) <= most


@pytest.mark.parametrize(
    "error",
    [requests.ConnectionError("mine"), RateLimitError("mine"), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("way", ["stream", "conversation"])
def test_what_is_thrown_into_a_generator_is_the_callers_own(error, way):
    bot = ChatgptFree(SITE, session=StubSession(CLASSIC_PAGE, HI, BYE, DONE))
    texts = bot.stream("Hi") if way == "stream" else bot.conversation().stream("Hi")
    assert next(texts) == "Hi"
    with pytest.raises(type(error)) as caught:
        texts.throw(error)
    assert (caught.value, caught.value.__cause__) == (error, None)
    assert list(texts) == []


def close(stream):
    stream.close()


def forget(stream):
    # it was the last reference
    del stream


def fail_in_loop(stream):
    with contextlib.suppress(ZeroDivisionError):
        for _ in stream:
            raise ZeroDivisionError


@pytest.mark.parametrize(
    ("abandon", "framing"),
    [(close, "chunked"), (close, "close"), (forget, "chunked"), (fail_in_loop, "chunked")],
    ids=["closed", "closed, no chunks", "forgotten", "left by an exception"],
)
def test_an_abandoned_answer_closes_its_connection_at_once(abandon, framing):
    def answer(handler, form):
        if form["message"] != "long":
            return echo_classic(handler, form)
        if framing == "chunked":
            # One write: a second could meet a client that has left.
            handler.send_chunked(chunk("word ") * 3, end=False)
        else:
            handler.head(Connection="close")
            handler.wfile.write((chunk("word ") * 3).encode())
        return handler.wait_for_hang_up()

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        streams = [bot.stream("long")]
        next(streams[0])
        abandon(streams.pop())
        assert site.gone.wait(5)
        assert bot.complete("Hello again") == "Hello again"


# -------------------------------------------------------------------------------------------- Forks


# Python warns of it where there are threads, as those of the test's site.
allows_forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

# What a forked child calls.
_asks = None


def ask_in_child(prompt):
    return _asks(prompt)


@pytest.fixture
def fork(monkeypatch):
    """A function that makes a pool of forked processes, each with its argument as `_asks`."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("there is no fork here")
    with contextlib.ExitStack() as pools:

        def make_pool(asks, processes=1):
            monkeypatch.setattr(sys.modules[__name__], "_asks", asks)
            pool = multiprocessing.get_context("fork").Pool(processes)
            pools.callback(pool.terminate)
            return pool

        yield make_pool


@allows_forks
@each_echo
def test_forked_children_and_their_parent_get_their_own_answers(answer, page, fork, monkeypatch):
    with Site(answer, page) as site:
        let_functions_ask(site.url, monkeypatch)
        assert chatgptfree.complete("first call") == "first call"
        prompts = [f"prompt {i} " + "word " * (i % 7) for i in range(8)]
        heard = fork(chatgptfree.complete, 2).map_async(ask_in_child, prompts, chunksize=1)
        own = [chatgptfree.complete(f"parent {i}") for i in range(8)]
        assert heard.get(timeout=20) == prompts
        assert own == [f"parent {i}" for i in range(8)]
        assert len(site.pages()) == 1


@allows_forks
def test_a_forked_child_uses_no_connection_of_its_parents(fork, patient):
    with Site(echo_classic) as site, ChatgptFree(site.url) as bot:
        assert bot.complete("one") == "one"
        pool = fork(bot.complete)
        assert pool.apply_async(ask_in_child, ["in a child"]).get(timeout=10) == "in a child"
        assert site.connections == 2
        assert bot.complete("two") == "two"
        assert (site.connections, len(site.pages())) == (2, 1)


@allows_forks
def test_a_child_forked_during_a_look_at_the_page_looks_itself(fork):
    go_on = threading.Event()
    with during_anothers_look(go_on.wait) as (_, bot, early):
        asked = fork(bot.complete).apply_async(ask_in_child, ["in a child"])
        assert asked.get(timeout=9) == "in a child"
        go_on.set()
        assert early.result() == "one"


# ------------------------------------------------------------------------------------------- README


def readme_text():
    return (HERE / "README.md").read_text(encoding="utf-8")


def readme_blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", readme_text(), re.MULTILINE | re.DOTALL)


def first_call_of(block):
    """The first line of a block that calls something."""
    return next(line for line in block.splitlines() if "(" in line)


@pytest.mark.parametrize("block", readme_blocks("python"), ids=first_call_of)
def test_the_readmes_python_runs(block, monkeypatch, tmp_path, without_pauses):
    """Against the demo site, in place of chatgptfree.ai and of the reader's own."""
    (tmp_path / "cat.png").write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    with demo_site() as url:
        monkeypatch.setattr(ChatgptFree, "url", url)
        let_functions_ask(url, monkeypatch)
        script = re.sub(r"https://my-own-site\.example[\w/]*", url, block)
        exec(compile(script, "README.md", "exec"), {"__name__": "__main__"})


def test_the_readmes_quick_start_is_two_lines():
    (block,) = re.findall(r"## Quick start\n+```sh\n(.*?)```", readme_text(), re.DOTALL)
    first, second = block.splitlines()
    assert first.startswith("python3 -m venv .venv && ")
    assert ".venv/bin/python -m chatgptfree --demo " in first
    assert second.startswith("python3 -m venv .venv && ")


def test_the_readmes_changes_begin_with_this_version():
    (newest,) = re.findall(r"^## Changes\n\n\*\*(.+?)\*\* — \d{4}-\d\d-\d\d$", readme_text(), re.M)
    assert newest == chatgptfree.__version__


# ---------------------------------------------------------------------------------- The file itself


def test_importing_loads_no_module_that_requests_has_not_loaded():
    script = (
        "import requests, sys; before = set(sys.modules); "
        "import chatgptfree; print(*set(sys.modules) - before)"
    )
    assert run_python("-c", script).stdout == "chatgptfree\n"


def test_the_file_alone_answers_in_a_folder_of_its_own(tmp_path):
    alone = tmp_path / "chatgptfree.py"
    alone.write_bytes(pathlib.Path(MODULE).read_bytes())
    result = run_python(str(alone), "--demo", "My name is Ann. What is my name?", cwd=tmp_path)
    assert (result.stdout, result.stderr) == ("Your name is Ann. You told me.\n", "")


def test_the_file_says_where_it_comes_from_and_what_it_may_be_used_for():
    head = pathlib.Path(MODULE).read_text(encoding="utf-8").split('"""')[1]
    assert "\nHome: " in head
    assert "\nCopyright chatgptfree contributors. SPDX-License-Identifier: MIT\n" in head


PUBLIC = [
    *["BlockedError", "ChatNotFoundError", "ChatgptFree", "ChatgptFreeError", "Conversation"],
    *["IncompleteReplyError", "RateLimitError", "Reply", "complete", "conversation", "demo_site"],
    *["format_prompt", "list_models", "main", "show", "stream"],
]


def test_the_module_lists_its_public_names_and_no_others():
    assert dir(chatgptfree) == sorted(chatgptfree.__all__) == PUBLIC


def public_functions():
    """The name and the function of each public function, and of each public method."""
    for name in PUBLIC:
        public = getattr(chatgptfree, name)
        if not isinstance(public, type):
            yield name, public
            continue
        for method, function in inspect.getmembers(public, inspect.isfunction):
            if function.__module__ == "chatgptfree" and not method.startswith("_"):
                yield f"{name}.{method}", function


FUNCTIONS = dict(public_functions())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_annotations_can_be_evaluated_at_run_time(name):
    hints = typing.get_type_hints(FUNCTIONS[name])
    parameters = {name for name in inspect.signature(FUNCTIONS[name]).parameters if name != "self"}
    assert set(hints) == parameters | {"return"}


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in FUNCTIONS])
def test_annotations_of_a_class_can_be_evaluated_at_run_time(name):
    public = getattr(chatgptfree, name)
    typing.get_type_hints(public)
    if "__init__" in vars(public):
        names = set(inspect.signature(public.__init__).parameters) - {"self"}
        assert set(typing.get_type_hints(public.__init__)) == names | {"return"}


IN_ORDER = {  # the parameters that need no name
    "stream": ["messages", "model", "proxy", "timeout", "cookies"],
    "complete": ["messages", "model"],
    "list_models": [],
}


@pytest.mark.parametrize(("name", "in_order"), IN_ORDER.items(), ids=IN_ORDER)
def test_messages_and_what_gpt4free_had_can_be_given_without_their_names(name, in_order):
    parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == in_order


@pytest.mark.parametrize("name", ["stream", "complete"])
def test_the_docstring_explains_each_option(name):
    own = set(inspect.signature(chatgptfree.stream).parameters) - {"kwargs"}
    explained = re.findall(r"\b(\w+)`?\s+\(", inspect.getdoc(FUNCTIONS[name]))
    assert own - set(explained) == set()


def examples_of(name, public):
    """The examples in a docstring, as a test of doctest's."""
    finder = doctest.DocTestFinder(recurse=False)
    (test,) = finder.find(public, name, globs=dict(vars(chatgptfree)))
    return test


@pytest.mark.parametrize(
    "name", [*FUNCTIONS, "ChatgptFree", "Conversation", "Reply", "ChatgptFreeError"]
)
def test_the_docstring_has_an_example_that_runs(name, without_pauses):
    test = examples_of(name, FUNCTIONS.get(name) or getattr(chatgptfree, name))
    failures = io.StringIO()
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=failures.write)
    assert failures.getvalue() == ""
    assert results.attempted > 0


# ---------------------------------------------------------------------------------------- Packaging


def test_the_script_metadata_says_what_setup_cfg_does():
    """`uv run` and `pipx run` read it, in the form of PEP 723."""
    text = pathlib.Path(MODULE).read_text(encoding="utf-8")
    (block,) = re.findall(r"(?m)^# /// script\n((?:#.*\n)+?)# ///$", text)
    written = dict(re.findall(r"# (\S+) = (.+)", block))
    parser = configparser.ConfigParser()
    parser.read(HERE / "setup.cfg", encoding="utf-8")
    options = parser["options"]
    needed = [line.replace(" ", "") for line in options["install_requires"].split("\n") if line]
    assert json.loads(written["requires-python"]) == options["python_requires"]
    assert json.loads(written["dependencies"]) == needed


# Builds the archive of the sources, and the wheel that pip makes of it. `requests` is hidden: it
# isn't there when pip builds the project in an environment of its own.
BUILD = """
import os, shutil, sys
sys.modules["requests"] = None
from setuptools import build_meta
target = sys.argv[1]
archive = os.path.join(target, build_meta.build_sdist(target))
shutil.unpack_archive(archive, target)
os.chdir(archive[:-len(".tar.gz")])
build_meta.build_wheel(target)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of what is built. It is built in a copy, so that nothing is left here."""
    pytest.importorskip("setuptools", minversion="77", reason="setuptools 77 builds the project")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    names = ["chatgptfree.py", "test_chatgptfree.py", "setup.py", "setup.cfg", "LICENSE"]
    for name in [*names, "README.md", ".ruff.toml"]:
        shutil.copy(HERE / name, source)
    for folder in (".ci", ".github"):
        shutil.copytree(HERE / folder, source / folder)
    run_python("-c", BUILD, str(target), cwd=source).check_returncode()
    return target


@pytest.fixture(scope="module")
def wheel(built):
    """The wheel, opened."""
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as file:
        yield file


@pytest.fixture(scope="module")
def metadata(wheel):
    (path,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(path))


def test_the_archive_holds_the_tests_and_what_the_readme_links_to(built):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", readme_text())
    (unpacked,) = [path for path in built.iterdir() if path.is_dir()]
    for name in ["test_chatgptfree.py", "README.md", "LICENSE", *links]:
        assert (unpacked / name).exists()


def test_the_wheel_holds_the_module_its_stubs_and_nothing_else(wheel):
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert sorted(names) == ["chatgptfree-stubs/__init__.pyi", "chatgptfree.py"]


def test_the_stubs_are_a_copy_of_the_module(wheel):
    module = pathlib.Path(MODULE).read_bytes()
    assert wheel.read("chatgptfree.py") == module
    assert wheel.read("chatgptfree-stubs/__init__.pyi") == module


def test_the_wheel_has_a_name_that_is_free_and_the_modules_version(metadata):
    assert (metadata["Name"], metadata["Version"]) == ("chatgptfree-sync", chatgptfree.__version__)


def test_the_wheel_names_its_license(metadata):
    assert metadata["License-Expression"] == "MIT"
    assert not [line for line in metadata.get_all("Classifier") if line.startswith("License")]


def test_the_wheel_needs_requests_and_its_extras_a_markdown_parser(metadata):
    needed = [line.replace('"', "'").replace(" ", "") for line in metadata.get_all("Requires-Dist")]
    assert metadata.get_all("Provides-Extra") == ["notebook", "test"]
    assert "requests>=2.25.0" in needed
    for extra in ("notebook", "test"):
        assert f"markdown-it-py>=3;extra=='{extra}'" in needed
    assert metadata["Requires-Python"] == ">=3.9"


def test_the_wheel_has_the_command_by_its_own_name_and_by_that_of_the_distribution(wheel):
    """`uvx` and `pipx run` look for the second."""
    (path,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    commands = wheel.read(path).decode().splitlines()
    assert commands[1:] == ["chatgptfree = chatgptfree:main", "chatgptfree-sync = chatgptfree:main"]
