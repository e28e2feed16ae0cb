"""Tests of chatgptfree, in the order of its sections.

    prompt; page; events and answers                    on plain text and bytes
    requests: fields, models, options, mistakes,        with `responses`
      refusals, hosts and secrets, checks, limits,
      sessions of others
    client, pickling; conversations; images, search     with `responses`
    notebooks; the demo site; the command line
    connections, breaks, bodies, threads, forks         over real sockets on 127.0.0.1
    README, packaging, the file itself

What several sections use stands first. No test sleeps: where time matters, a server waits until its
client has got the last piece.
"""

import asyncio
import base64
import contextlib
import email.utils
import gc
import gzip
import html
import io
import itertools
import json
import multiprocessing
import os
import pathlib
import pickle
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
import types
import zipapp
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
import requests
import responses
import urllib3
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
# A job in the background ignores it, and so would its children here.
signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = pathlib.Path(__file__).parent
MODULE = str(HERE / "chatgptfree.py")
SITE = "https://site.example"
AJAX = SITE + "/wp-admin/admin-ajax.php"


# ---------------------------------------------------------------- The module's private functions
# Each is called in one place only, here. So is each private name that a test changes.


def find_chats(page, url=SITE):
    """The chats of a page, in page order."""
    return chatgptfree._find_chats(page, url)


def meaning_of(event, payload):
    """The kind of an event, and its text or words."""
    return chatgptfree._meaning(event, payload)


def read_answer(*pieces):
    """What the reader makes of an answer's pieces: the pieces of text, and the error or None."""
    return collect(chatgptfree._texts(chatgptfree._Body(Answer(*pieces), 7)))


def refusal_of(status, page):
    """The error that a response of this status becomes."""
    response = types.SimpleNamespace(status_code=status, url=SITE, headers={}, reason="OK")
    return chatgptfree._refusal(response, page)


def options_of(client):
    """The options of a client or a conversation."""
    return client._options


def client_of(chat):
    """The client of a conversation."""
    return chat._bot


def lock_of(client):
    """The lock that a client holds when its chats change."""
    return client._lock


def forget_the_nonce(client):
    """The next request of the client has a nonce that has expired."""
    client._nonce = "expired"


def lead_functions_to(url, monkeypatch):
    """The functions of the module ask this site."""
    shared = chatgptfree.complete.__self__
    monkeypatch.setattr(shared, "url", url)
    monkeypatch.setattr(shared, "_chats", ())
    monkeypatch.setattr(shared._session, "trust_env", False)


LIMITS = {
    "line": "LINE_LIMIT",
    "body": "BODY_LIMIT",
    "answer": "ANSWER_LIMIT",
    "image": "IMAGE_LIMIT",
    "linger": "LINGER",
}


@pytest.fixture
def set_limits(monkeypatch):
    """A function that sets limits of the module: less than they are, to be quick."""

    def set_them(**limits):
        for name, limit in limits.items():
            monkeypatch.setattr(chatgptfree, LIMITS[name], limit)

    return set_them


# ------------------------------------------------------------------------------- What sites send


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
# Bots that offer more to their visitors.
OPENAI = current_box(1, name="GPT", imageUploadEnabledUI=True, allowWebSearchTool=True)

GOOGLE = current_box(
    2,
    name="Gemini",
    imageUploadEnabledUI=False,
    allowWebSearchTool=0,
    allowGoogleSearchGrounding=1,
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
    """A piece of text in the classic protocol."""
    return completion({"delta": {"content": text}, **choice})


def dressed(word):
    """A word of an error that the plugin dresses up as an answer."""
    return "event: message\n" + data({"choices": [{"delta": {"content": word}}]})


DONE = data("[DONE]")
ROLE = completion({"delta": {"role": "assistant", "content": ""}})
STOP = completion({"delta": {}, "finish_reason": "stop"})
DRESSED_STOP = data({"choices": [{"finish_reason": "stop"}]})
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
CACHED = json.dumps({"success": True, "data": {"cache_key": "aipkit_sse_1"}})


def error_event(words):
    """An error in the current protocol, and the end of its answer."""
    return "event: error\nid: err-1\n" + data({"error": words}) + CURRENT_DONE


SEARCH_FIELDS = {"frontend_web_search_active", "frontend_google_search_grounding_active"}
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 9
DIGITS = "1" * 5000  # more than Python makes an int of
TOO_MANY = {"status": 429, "body": "Slow down", "headers": {"Retry-After": "30"}}

DEMO_ANSWER = (
    "You asked: “Hello”. This is the demo site: it has no better answer, "
    "but streams it a word at a time."
)


# ---------------------------------------------------------- Stand-ins for sessions and responses


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
        if "action" not in fields:
            return self.respond(self.page, url=url)
        if fields["action"] in ("aipkit_cache_sse_message", "aipkit_get_frontend_chat_nonce"):
            return self.respond(CACHED, url=url)
        return self.respond(*self.answer, url=url)


class CachingSession(requests.Session):
    """Keeps a page until it is asked for with `Cache-Control: no-cache`, as caches do."""

    def __init__(self):
        super().__init__()
        self.pages = {}

    def get(self, url, headers=None, **options):
        fresh = (headers or {}).get("Cache-Control") == "no-cache"
        if fresh or url not in self.pages:
            response = super().get(url, headers=headers, **{**options, "stream": False})
            self.pages[url] = response.content
        return Answer(self.pages[url], url=url)


# ----------------------------------------------------------------- Asking, and reading what came


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


def error_with(kind, *words, **attributes):
    """An error of the library, with these attributes."""
    error = kind(*words)
    vars(error).update(attributes)
    return error


def secret_headers(headers):
    """The names of the headers that hold what a caller gave in confidence."""
    return [
        name
        for name, value in headers.items()
        if "secret" in f"{name}{value}".lower() or name.lower() == "authorization"
    ]


def best_time(work):
    """The CPU time that `work` takes, measured three times."""

    def once():
        before = time.process_time()
        work()
        return time.process_time() - before

    return min(once() for _ in range(3))


def assert_linear_time(work, hostile):
    """`work` takes linear time at most where the piece of `hostile` between bars is repeated."""
    begin, piece, end = hostile.split("|")

    def cost(size):
        text = begin + piece * (size // len(piece)) + end
        return best_time(lambda: work(text))

    assert cost(30_000) < 30 * cost(3_000)  # quadratic time would take 100 times


@contextlib.contextmanager
def peak_memory():
    """A function that says how much memory was in use at most."""
    gc.collect()
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------------ Sites by `responses`


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
    """A site of the classic protocol, which gives these answers, one after another."""
    mock.get(url, body=page)
    for answer in answers:
        mock.post(AJAX, **as_response(answer))


def add_current(mock, *answers, page=CURRENT_PAGE):
    """A site of the current protocol, which gives these answers, one after another."""
    mock.get(SITE + "/", body=page)
    mock.post(AJAX, body=CACHED)
    for answer in answers:
        mock.get(AJAX, **as_response(answer))


def fields_of(request):
    """The fields of a request, as the site gets them."""
    return dict(parse_qsl(request.body or urlsplit(request.url).query, keep_blank_values=True))


def forms(mock, method="POST"):
    """The fields of each request of a method."""
    return [fields_of(call.request) for call in mock.calls if call.request.method == method]


def page_requests(mock):
    return [call for call in mock.calls if call.request.url == SITE + "/"]


# ------------------------------------------------------------------------- A site on the loopback


class Site(ThreadingHTTPServer):
    """A site on the loopback that keeps connections alive.

    `page` is its page, or a function that writes it to the handler; `answer(handler, form)` writes
    what follows. `asked` has the method, path, headers and fields of each request.
    """

    def __init__(self, answer, page=CLASSIC_PAGE):
        self.answer, self.page = answer, page
        self.connections, self.asked = 0, []
        self.gone = threading.Event()  # a client has hung up
        super().__init__(("127.0.0.1", 0), SiteHandler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def pages(self):
        return [path for method, path, _, form in self.asked if method == "GET" and not form]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.001,), daemon=True).start()
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
        if form:
            self.server.answer(self, form)
        elif callable(self.server.page):
            self.server.page(self)
        else:
            self.whole(self.server.page)

    do_POST = do_GET

    def whole(self, body, status=200, kind="text/html", **headers):
        self.head(status, kind, **{"Content-Length": str(len(body.encode())), **headers})
        self.wfile.write(body.encode())

    def head(self, status=200, kind="text/event-stream", **headers):
        self.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def chunks(self, *texts, end=True):
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


def http_chunk(raw):
    """A chunk of the chunked transfer encoding."""
    return b"%x\r\n%s\r\n" % (len(raw), raw)


def classic_answer(handler, form):
    """Send the words of the message back."""
    handler.chunks(*(chunk(word) for word in re.findall(r"\S+\s*", form["message"])), DONE)


def current_answer(handler, form):
    """Send the words of the message back, by way of the cache key."""
    if form["action"] == "aipkit_cache_sse_message":
        handler.whole(json.dumps({"success": True, "data": {"cache_key": form["message"]}}))
    else:
        handler.chunks(
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


def is_first_step(form):
    return form["action"] == "aipkit_cache_sse_message"


def answer_words(handler, form, *words, end=True):
    """Answer in these pieces, in the protocol of the question. Without `end`, hang up then."""
    if is_first_step(form):
        return handler.whole(CACHED)
    is_current = form["action"] == "aipkit_frontend_chat_stream"
    pieces = [data({"delta": word}) if is_current else chunk(word) for word in words]
    if end:
        return handler.chunks(*pieces, CURRENT_DONE if is_current else DONE)
    handler.chunks(*pieces, end=False)
    return handler.hang_up()


def say_hello(handler, form):
    answer_words(handler, form, "Hello ", "Ann.")


def send_limit(handler, form):
    handler.whole("Slow down", 429)


def send_challenge(handler, form):
    handler.whole("<title>Just a moment...</title>", 403)


PROTOCOLS = pytest.mark.parametrize(
    ("answer", "page"),
    [(classic_answer, CLASSIC_PAGE), (current_answer, LOCAL_CURRENT)],
    ids=["classic", "current"],
)


def failing_call(
    page=CLASSIC_PAGE,
    answer=None,
    url=None,
    kind=(ChatgptFreeError, requests.RequestException),
    **options,
):
    """The error that a call to a site on the loopback raises.

    Its `words` have HOST in place of the host.
    """
    with Site(answer, page) as site, pytest.raises(kind) as caught:
        ChatgptFree(url or site.url, **{"timeout": 5, **options}).complete("Hi")
    caught.words = str(caught.value).replace(site.url.partition("//")[2], "HOST")
    return caught


def reset_connection(handler, *_):
    handler.hang_up(reset=True)


def stall(handler, *_):
    handler.wait_for_hang_up()


@pytest.fixture
def without_pauses(monkeypatch):
    """The demo site answers without its pauses."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture(params=["classic", "current"])
def protocol(request):
    return request.param


# ----------------------------------------------------------------------------------------- Prompt


def user(content):
    return [{"role": "user", "content": content}]


DIALOGUE = [
    {"role": "user", "content": "1"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "3"},
]


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        pytest.param("Hi", "Hi", id="a str"),
        pytest.param(user(" as it\nis "), " as it\nis ", id="one message"),
        pytest.param(
            [{"role": "system", "content": "Be terse."}, *user("Hi")],
            "System: Be terse.\nUser: Hi\nAssistant:",
            id="a system text",
        ),
        pytest.param(DIALOGUE, "User: 1\nAssistant: 2\nUser: 3\nAssistant:", id="a dialogue"),
        pytest.param(
            user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "ab", id="parts"
        ),
        pytest.param(
            ({"role": "user", "content": text} for text in ("a", "b")),
            "User: a\nUser: b\nAssistant:",
            id="a generator",
        ),
    ],
)
def test_messages_become_one_prompt(messages, prompt):
    assert format_prompt(messages) == prompt


@pytest.mark.parametrize(
    ("messages", "kind", "words"),
    [
        pytest.param([], ValueError, "messages is empty", id="no message"),
        pytest.param(None, TypeError, "messages must be .* not NoneType", id="None"),
        pytest.param(b"Hi", TypeError, "not bytes", id="bytes"),
        pytest.param({"role": "user", "content": "Hi"}, TypeError, "not dict", id="a dict"),
        pytest.param(
            ["Hi"], TypeError, r"messages\[0\] must be a mapping .* not str", id="a list of str"
        ),
        pytest.param([{"content": "Hi"}], ValueError, r"messages\[0\] has no 'role'", id="no role"),
        pytest.param(
            [*user("Hi"), {"role": "user"}],
            ValueError,
            r"messages\[1\] has no 'content'",
            id="no content",
        ),
        pytest.param(
            user(None),
            TypeError,
            r"messages\[0\]\['content'\] must be a str, not NoneType",
            id="a content of None",
        ),
        pytest.param(
            [{"role": 7, "content": "Hi"}],
            TypeError,
            r"messages\[0\]\['role'\] must be a str, not int",
            id="a role of int",
        ),
        pytest.param(
            user([{"type": "image_url"}]),
            ValueError,
            r"'content'\]\[0\] must be a text .*'image_url'",
            id="a part that is no text",
        ),
        pytest.param(
            user(["Hi"]),
            ValueError,
            r"\['content'\]\[0\] must be a text part .* not 'Hi'",
            id="a part that is a str",
        ),
        pytest.param("\ud800", ValueError, "cannot be sent as UTF-8", id="half a character"),
    ],
)
def test_a_bad_message_is_named_before_any_request(messages, kind, words):
    with pytest.raises(kind, match=words):
        ChatgptFree("http://127.0.0.1:9/").stream(messages)


def two_messages(content):
    return [{"role": "u", "content": content}, {"role": "s", "content": content}]


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param("", id="no text"),
        pytest.param(" \n\t", id="blanks"),
        pytest.param(two_messages(""), id="messages without text"),
        pytest.param(two_messages(" "), id="messages of blanks"),
        pytest.param(two_messages([]), id="messages without parts"),
    ],
)
def test_an_empty_prompt_is_a_valueerror_at_the_call(prompt):
    with Site(say_hello) as site:
        bot = ChatgptFree(site.url)
        for call in (bot.stream, bot.complete):
            with pytest.raises(ValueError, match="prompt is empty"):
                call(prompt)
        assert site.asked == []


# ------------------------------------------------------------------------------------ Page: chats

COMMENT = f"<!-- old copy: {classic_box(nonce='old', post_id='1')} -->"

LIKE_BUTTON = (
    '<article data-post-id="77"><a class="like" data-nonce="decoy" data-post-id="78" '
    "data-config='{\"a\":1}'>+1</a></article>"
)

WIDGET = classic_box("widget", "9", "wpaicg-chatbox")

MINIFIED = (
    "<div data-post-id=6 data-nonce=c10d44dafd class=wpaicg-chat-shortcode "
    "data-bot-id=0 title=don't></div>"
)

UPPER_CASE = classic_box().replace("data-", "DATA-")
WELCOME = "data-welcome=\"a <b> & data-nonce='x' c>d\" data-openai"
SCRIPT_WITH_A_BOX = f"<script>var old = '{classic_box(nonce='old')}'; if (1<2) {{}}</script>"


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(classic_box(), id="alone"),
        pytest.param(LIKE_BUTTON + classic_box(), id="behind a button with a nonce"),
        pytest.param(COMMENT + classic_box(), id="behind a comment"),
        pytest.param(WIDGET + classic_box(), id="behind a widget"),
        pytest.param(classic_box() + WIDGET, id="before a widget"),
        pytest.param(classic_box().replace('"', "'"), id="single quotes"),
        pytest.param(MINIFIED, id="no quotes"),
        pytest.param("<p title=it's>" + classic_box(), id="behind an apostrophe"),
        pytest.param(classic_box().replace("=", " = "), id="blanks around equal signs"),
        pytest.param(UPPER_CASE.replace("DATA-openai", WELCOME), id="upper case and a decoy"),
        pytest.param(classic_box(nonce="&#99;10d44dafd"), id="a reference"),
        pytest.param(classic_box(css_class="theme wpaicg-chat-shortcode wide"), id="more classes"),
        pytest.param(SCRIPT_WITH_A_BOX + classic_box(), id="behind a script"),
        pytest.param(classic_box(nonce="") + classic_box(), id="behind a box without a nonce"),
        pytest.param("<!--[if !IE]><!-->" + classic_box() + "<!--<![endif]-->", id="conditional"),
        pytest.param("<!-->" + classic_box() + "<!-- -->", id="behind an empty comment"),
        pytest.param("<b <i <div" + classic_box(), id="behind open tags"),
        pytest.param(
            LIKE_BUTTON.replace('{"a":1}', "{broken") + classic_box(), id="behind broken JSON"
        ),
    ],
)
def test_the_classic_chat_is_found(page):
    (chat,) = find_chats(f"<html><body>{page}</body></html>", SITE + "/help/")
    assert (chat.nonce, chat.post_id, chat.bot_id) == ("c10d44dafd", "6", "0")
    assert (chat.action, chat.ajax_url) == ("wpaicg_chat_shortcode_message", AJAX)


@pytest.mark.parametrize("post_id", ["8", "<8", "&lt;8"], ids=["right", "sign", "reference"])
def test_a_widget_is_the_chat_though_its_post_id_is_misprinted(post_id):
    """Some releases print a less-than sign before it."""
    page = LIKE_BUTTON + classic_box(post_id=post_id, css_class="wpaicg-chatbox", bot_id="10420")
    (chat,) = find_chats(page)
    assert (chat.action, chat.post_id, chat.bot_id) == ("wpaicg_chatbox_message", "8", "10420")


NO_CHAT = "no chat, neither nonce nor post id, on"
NESTED_JSON = "<i data-config='" + '{"a":' * 100_000 + "'></i>"


@pytest.mark.parametrize(
    ("page", "missing"),
    [
        pytest.param("", NO_CHAT, id="empty page"),
        pytest.param(LIKE_BUTTON, NO_CHAT, id="a button with a nonce"),
        pytest.param(COMMENT, NO_CHAT, id="a comment"),
        pytest.param(NESTED_JSON, NO_CHAT, id="JSON nested without end"),
        pytest.param(classic_box(nonce=""), "no nonce in the chat on", id="no nonce"),
        pytest.param(classic_box(post_id=""), "no post id in the chat on", id="no post id"),
        pytest.param(classic_box("", ""), "no nonce and no post id in the chat on", id="neither"),
    ],
)
def test_a_page_without_a_chat_says_what_is_missing_and_where(page, missing):
    with pytest.raises(ChatNotFoundError) as caught:
        find_chats(page, SITE + "/help/")
    assert str(caught.value) == f"{missing} https://site.example/help/"


def test_a_current_page_has_a_chat_for_each_bot_in_page_order():
    page = "".join(
        [
            classic_box(),
            "<i data-config></i><i data-config='{}'></i><i data-config='[1]'></i>",
            "<i data-config='{&quot;botId&quot;:1'></i>",
            f"<!-- {current_box(9)} -->",
            current_box(2, name="DeepSeek"),
            current_box(3, name="Popup").replace("aipkit_chat_container", "aipkit_popup_wrapper"),
            current_box(2),
        ]
    )
    chats = [(chat.bot_id, chat.name, chat.post_id) for chat in find_chats(page)]
    assert chats == [("2", "DeepSeek", "261"), ("3", "Popup", "261")]


@pytest.mark.parametrize(
    "page",
    [CLASSIC_PAGE, CURRENT_PAGE, COMMENT + params_script(AJAX) + WIDGET],
    ids=["classic", "current", "widget"],
)
def test_a_page_cut_anywhere_has_its_chats_or_some_or_none(page):
    whole = find_chats(page)
    for end in range(len(page)):
        with contextlib.suppress(ChatNotFoundError):
            assert all(chat in whole for chat in find_chats(page[:end]))


# --------------------------------------------------------- Page: the address of the ajax requests


@pytest.mark.parametrize(
    "box",
    [lambda url: params_script(url) + classic_box(), lambda url: current_box(ajax_url=url)],
    ids=["classic", "current"],
)
@pytest.mark.parametrize(
    ("named", "used"),
    [
        pytest.param(AJAX, AJAX, id="usual"),
        pytest.param(
            "https://site.example/blog/wp-admin/admin-ajax.php",
            "https://site.example/blog/wp-admin/admin-ajax.php",
            id="in a folder",
        ),
        pytest.param(
            "http://site.example/wp-admin/admin-ajax.php?lang=de",
            "https://site.example/wp-admin/admin-ajax.php?lang=de",
            id="http with a query",
        ),
        pytest.param(
            "/blog/wp-admin/admin-ajax.php",
            "https://site.example/blog/wp-admin/admin-ajax.php",
            id="without a host",
        ),
        pytest.param("https://evil.example/collect", AJAX, id="another host"),
        pytest.param("//evil.example/collect", AJAX, id="another host without a scheme"),
        pytest.param(
            "https://site.example//evil.example/collect",
            "https://site.example//evil.example/collect",
            id="a host in the path",
        ),
        pytest.param("https://site.example@evil.example/collect", AJAX, id="the host as a user"),
        pytest.param("http://[broken", AJAX, id="no address"),
        pytest.param(7, AJAX, id="a number"),
        pytest.param(None, AJAX, id="none"),
    ],
)
def test_the_ajax_address_is_the_pages_but_on_no_other_host(box, named, used):
    assert find_chats(box(named), SITE + "/help/")[0].ajax_url == used


# ------------------------------------------------------------------------------- Page: odd values


def config_page(**config):
    """A page with one bot of this configuration."""
    config = {"botId": 1, "nonce": "n", "postId": 6, "headerName": "Bot", "ajaxUrl": AJAX, **config}
    return f'<i data-config="{html.escape(json.dumps(config))}">'


def test_a_reference_of_5000_digits_in_a_page_does_no_harm(mock):
    add_classic(mock, CLASSIC_ANSWER, page=classic_box().replace("#ccf5e1", f"&#{DIGITS};"))
    mock.get(SITE + "/bot", body=config_page(headerName=f"Bot &#{DIGITS};"))
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"
    assert ChatgptFree(SITE + "/bot").list_models() == [f"Bot &#{DIGITS};"]


ODD_TEXT = ["\ud800", "a\udfffb", "\ud83d" * 3, "\0", "line\nbreak", "\x7f"]
NO_TEXT = [[1], {"a": "b"}, 1.5, None]
NUMBERS = [pytest.param(True, id="True"), pytest.param(10**400, id="10**400")]


@pytest.mark.parametrize("value", [*ODD_TEXT, *NO_TEXT, *NUMBERS], ids=ascii)
@pytest.mark.parametrize("key", ["postId", "headerName"])
def test_an_odd_post_id_or_name_does_no_harm(mock, key, value):
    add_current(mock, CURRENT_ANSWER, page=config_page(**{key: value}))
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"


@pytest.mark.parametrize("value", NUMBERS)
@pytest.mark.parametrize("key", ["nonce", "botId"])
def test_a_number_will_do_for_a_nonce_or_an_id(mock, key, value):
    add_current(mock, CURRENT_ANSWER, page=config_page(**{key: value}))
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"


@pytest.mark.parametrize("value", [*ODD_TEXT, *NO_TEXT], ids=ascii)
@pytest.mark.parametrize("key", ["nonce", "botId"])
def test_a_chat_whose_ids_cannot_be_sent_is_no_chat(mock, key, value):
    add_current(mock, CURRENT_ANSWER, page=config_page(**{key: value}))
    with pytest.raises(ChatNotFoundError):
        ChatgptFree(SITE).complete("Hi")


@pytest.mark.parametrize("reference", ["&#xD800;", "&#55296;", "&#0;", "&#1114112;"])
@pytest.mark.parametrize("field", ["nonce", "post_id", "bot_id"])
def test_an_odd_reference_in_a_classic_page_does_no_harm(mock, field, reference):
    add_classic(mock, CLASSIC_ANSWER, page=classic_box(**{field: reference}))
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"


@pytest.mark.parametrize(("field", "name"), [("nonce", "nonce"), ("post_id", "post id")])
def test_a_line_break_for_a_nonce_or_post_id_is_none(mock, field, name):
    add_classic(mock, CLASSIC_ANSWER, page=classic_box(**{field: "&#10;"}))
    with pytest.raises(ChatNotFoundError, match=f"^no {name} in the chat on "):
        ChatgptFree(SITE).complete("Hi")


# ----------------------------------------------------------------------------------- Page: growth


def search_for_chats(page):
    with contextlib.suppress(ChatNotFoundError):
        find_chats(page)


BOX = "<p class=wpaicg-chatbox data-nonce=1 data-post-id=2>"

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
    "params": f"|wpaicgParams = |{BOX}",
    "blanks behind params": f"wpaicgParams| |{BOX}",
    "params with blanks": f"|wpaicgParams ={' ' * 500}|{BOX}",
    "open params": f"|wpaicgParams={{|{BOX}",
    "objects in params": f'wpaicgParams={{"a":|\n{{"a":|{BOX}',
    "digits in params": f'wpaicgParams={{"a":|1|}}{BOX}',
    "digits in a config": "<i data-config='{\"nonce\":|1|}'>",
    "escapes in a name": '<i data-config=\'{"nonce":1,"botId":1,"headerName":"|&amp;lt;|"}\'>',
    "digits in a name": '<i data-config=\'{"nonce":1,"botId":1,"headerName":"&amp;#'
    + DIGITS
    + "|1|\"}'>",
    "comments": "|<!--|",
    "comments' ends": "<!--|--!|",
    "hyphens": "<!--|-|",
    "declarations": "|<!|",
    "script": "|<script |",
    "script's ends": "|<script></scrip|",
    "styles": "|<style><textarea></style|",
    "a long name": "<|a|",
    "tags": "|<a/|",
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


@pytest.mark.parametrize("hostile", HOSTILE_PAGES.values(), ids=HOSTILE_PAGES.keys())
def test_scraping_takes_linear_time(hostile):
    assert_linear_time(search_for_chats, hostile)


def test_a_repeated_class_name_takes_no_more_memory_than_the_page():
    page = '<div class="' + "wpaicg-chat-shortcode " * 20_000 + f'" {"data-nonce=1 " * 1000}>'
    with peak_memory() as peak:
        search_for_chats(page)
        assert peak() < 20 * len(page)


# ----------------------------------------------------------- Event stream and answer: text and end


ASSISTANT = (
    "event: thread_id\ndata: thread_abc\n\n"
    "event: thread.message.delta\n"
    'data: {"delta":{"content":[{"type":"text","text":{"value":"Hello"}}]}}\n\n'
    'event: thread.message.completed\ndata: {"delta":{"content":"not again"}}\n\n'
    "event: done\ndata: [DONE]\n\n"
)

OLD_CUT = data({"id": "1", "choices": [{"text": "Hel"}]})

QUOTA = {
    "error": "Enough for today.",
    "quota_notice": {"type": "quota_notice", "message": "Enough for today."},
}

RAW_ERROR = (
    '{\n  "error": {\n    "message": "Incorrect API key provided",\n'
    '    "code": "invalid_api_key"\n  }\n}\n'
)

TRANSCRIPTS = [
    CLASSIC_ANSWER,
    WARNING + json.dumps(JSON_ANSWER, indent=1),
    chunk("Hel")
    + WARNING
    + chunk("lo")
    + (dressed("Inv") + dressed("@x@").replace("@", '"') + DRESSED_STOP) * 2,
    ASSISTANT + RAW_ERROR,
    CURRENT_ANSWER[4090:],
    data({"delta": "Hel"})
    + 'event: warning\ndata: {"error":" four"}\n\n'
    + "event: error\n"
    + data(QUOTA),
]


def text_of(page, answer):
    """All text of an answer, of which each failure tells the same."""
    texts, error = ask_site(page, answer)
    assert all(isinstance(text, str) and text for text in texts)
    assert getattr(error, "partial", "") == ("".join(texts) if error else "")
    assert not (error and texts) or isinstance(error, IncompleteReplyError)
    return "".join(texts)


JUNK = [
    b"",
    b"\n",
    b"{",
    b'"',
    b"data: ",
    b"event: error\n",
    b"null",
    b"\xff",
    b"[" * 3000,
    b"<",
    b"\0\x1b\xf0\x9f",
]


def mutated(raw, chance):
    raw = bytearray(raw)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(raw) + 1)
        length = chance.choice([0, 1, 1, 5, 50])
        junk = chance.choice(JUNK)
        raw[at : at + length] = junk
    return bytes(raw)


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


@pytest.mark.parametrize(
    ("name", "payload", "kind", "words"),
    [
        # either protocol
        pytest.param("", "[DONE]", "end", "", id="end"),
        pytest.param("done", {"finished": True}, "end", "", id="done"),
        pytest.param("done", "[DONE]", "end", "", id="done of an assistant"),
        pytest.param("", "[LIMITED]", "noise", "[LIMITED]", id="limited"),
        pytest.param("", "<p>502</p>\n", "noise", "<p>502</p>\n", id="noise"),
        pytest.param("", {}, "nothing", "", id="empty"),
        pytest.param("", {"usage": None}, "nothing", "", id="empty usage"),
        pytest.param("", {"data": {"a": 1}}, "nothing", "", id="unknown data"),
        # classic: text
        pytest.param(
            "", {"id": 1, "choices": [{"delta": {"content": "Hi"}}]}, "text", "Hi", id="text"
        ),
        pytest.param(
            "message",
            {"id": 1, "choices": [{"delta": {"content": "Hi"}}]},
            "text",
            "Hi",
            id="text with a name and an id",
        ),
        pytest.param(
            "message",
            {"object": "chunk", "choices": [{"delta": {"content": "Hi"}}]},
            "text",
            "Hi",
            id="text with a name and an object",
        ),
        pytest.param("", {"choices": [{"text": "Hi"}]}, "text", "Hi", id="text of an old model"),
        pytest.param("", {"choices": []}, "nothing", "", id="no choices"),
        pytest.param("", {"choices": [None]}, "nothing", "", id="choice of nothing"),
        pytest.param("", {"choices": [{"delta": None}]}, "text", "", id="no delta"),
        pytest.param(
            "", {"choices": [{"delta": {"content": 7}}]}, "text", "", id="delta of a number"
        ),
        pytest.param(
            "",
            {"choices": [{"delta": {"content": "Hi"}, "finish_reason": None}]},
            "text",
            "Hi",
            id="text, not finished",
        ),
        pytest.param(
            "",
            {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]},
            "last",
            "Hi",
            id="last text",
        ),
        pytest.param(
            "",
            {"choices": [{"text": "Hi", "finish_reason": "length"}]},
            "last",
            "Hi",
            id="last text of an old model",
        ),
        pytest.param("", {"choices": [{"finish_reason": "stop"}]}, "last", "", id="finished"),
        pytest.param(
            "thread.message.delta",
            {"delta": {"content": [{"text": {"value": "H"}}, {"text": {"value": "i"}}, 7]}},
            "text",
            "Hi",
            id="text of an assistant",
        ),
        pytest.param(
            "thread.message.completed",
            {"delta": {"content": "again"}},
            "nothing",
            "",
            id="completed",
        ),
        pytest.param("thread_id", "thread_abc", "nothing", "thread_abc", id="thread"),
        pytest.param(
            "",
            {"status": "success", "msg": "Something went wrong", "data": "Hi"},
            "whole",
            "Hi",
            id="JSON",
        ),
        pytest.param(
            "",
            {"status": "success", "msg": "Something went wrong", "data": None},
            "whole",
            "",
            id="JSON without text",
        ),
        pytest.param("", {"data": "Hi"}, "whole", "Hi", id="JSON of data alone"),
        # classic: errors
        pytest.param(
            "message",
            {"choices": [{"delta": {"content": " key"}}]},
            "dressed",
            " key",
            id="dressed up",
        ),
        pytest.param(
            "message",
            {"choices": [{"finish_reason": "stop"}]},
            "dressed",
            "",
            id="dressed up, finished",
        ),
        pytest.param(
            "message",
            '{"choices": [{"delta": {"content": "the "key" is"}}]}',
            "dressed",
            'the "key" is',
            id="dressed up, with quotes",
        ),
        pytest.param(
            "message",
            '{"choices": [{"delta": {"content": "two',
            "dressed",
            "two",
            id="dressed up, with a line break",
        ),
        pytest.param("message", "[LIMITED]", "nothing", "", id="dressed up, limited"),
        pytest.param(
            "",
            {"error": {"message": "Down", "type": "server_error"}},
            ChatgptFreeError,
            "Down",
            id="error",
        ),
        pytest.param("", {"error": {"code": 500}}, ChatgptFreeError, "", id="error of a code"),
        pytest.param(
            "",
            {"error": {"message": "Slow down", "code": "rate_limit_exceeded"}},
            RateLimitError,
            "Slow down",
            id="error of a limit",
        ),
        pytest.param(
            "",
            {"status": "error", "msg": "It&#039;s <b>broken</b>"},
            ChatgptFreeError,
            "It's broken",
            id="JSON error",
        ),
        pytest.param("", {"status": "error"}, ChatgptFreeError, "", id="JSON error without words"),
        pytest.param(
            "assistant_error",
            {"status": "error", "msg": "No assistant"},
            ChatgptFreeError,
            "No assistant",
            id="assistant's error",
        ),
        pytest.param(
            "",
            {"msg": "Used up", "tokenLimitReached": True},
            RateLimitError,
            "Used up",
            id="token limit",
        ),
        pytest.param(
            "",
            {"msg": "Bad word", "messageFlagged": True},
            ChatgptFreeError,
            "Bad word",
            id="flagged",
        ),
        pytest.param("", {"msg": ""}, ChatgptFreeError, "", id="message of nothing"),
        # current
        pytest.param("", {"delta": "Hi"}, "text", "Hi", id="current text"),
        pytest.param("", {"delta": ""}, "nothing", "", id="current text of nothing"),
        pytest.param(
            "warning",
            {"error": " four (Incomplete: max_output_tokens)"},
            "text",
            " four (Incomplete: max_output_tokens)",
            id="warning",
        ),
        pytest.param("warning", {}, "text", "", id="warning of nothing"),
        pytest.param(
            "status", {"status": "error", "delta": "no", "error": "no"}, "nothing", "", id="status"
        ),
        pytest.param("citations", {"delta": "no"}, "nothing", "", id="citations"),
        pytest.param("message_start", {"message_id": "aipkit-msg-1"}, "nothing", "", id="start"),
        pytest.param(
            "error",
            {"error": "Guests may not"},
            ChatgptFreeError,
            "Guests may not",
            id="current error",
        ),
        pytest.param(
            "error",
            {"error": "Enough.", "quota_notice": {"type": "quota_notice"}},
            RateLimitError,
            "Enough.",
            id="quota",
        ),
        pytest.param("error", {}, ChatgptFreeError, "", id="current error without words"),
        pytest.param(
            "",
            {"error": "Solve this first", "ts_required": True},
            BlockedError,
            "Solve this first",
            id="check",
        ),
        pytest.param(
            "",
            {"success": False, "data": {"message": "Security check failed."}},
            ChatgptFreeError,
            "Security check failed.",
            id="failure",
        ),
    ],
)
def test_an_event_has_one_meaning(name, payload, kind, words):
    assert meaning_of(name, payload) == (kind, words)


OLD_MODEL = OLD_CUT + data({"id": "1", "choices": [{"text": "lo", "finish_reason": "stop"}]})


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param(CLASSIC_ANSWER, "Hello, wörld 🌍", id="classic"),
        pytest.param(chunk("Hello") + DONE + chunk("ignored"), "Hello", id="text behind the end"),
        pytest.param(chunk("Hello") + STOP, "Hello", id="no end marker"),
        pytest.param(chunk("Hello", finish_reason="stop"), "Hello", id="finished with its text"),
        pytest.param(
            chunk("Hel", finish_reason="stop") + chunk("lo") + DONE,
            "Hello",
            id="text behind the last",
        ),
        pytest.param(
            chunk("Hello") + STOP + json.dumps({"status": "success", "msg": "ok", "data": "Hello"}),
            "Hello",
            id="JSON of the same",
        ),
        pytest.param(ASSISTANT, "Hello", id="assistant"),
        pytest.param(OLD_MODEL + DONE, "Hello", id="old model"),
        pytest.param(
            data({"choices": []}) + chunk("Hello") + data({"usage": None}) + DONE,
            "Hello",
            id="empty events",
        ),
        pytest.param(
            chunk(None)
            + chunk("Hello")
            + data({"choices": None})
            + data({"choices": [None]})
            + DONE,
            "Hello",
            id="odd choices",
        ),
        pytest.param(
            data({"id": 1, "choices": [{"delta": None}]})
            + chunk(7)
            + chunk("Hello")
            + data("null")
            + DONE,
            "Hello",
            id="odd deltas",
        ),
        pytest.param(CLASSIC_ANSWER.replace("\n", "\r\n"), "Hello, wörld 🌍", id="CRLF"),
        pytest.param(
            CLASSIC_ANSWER.replace("data: ", "data:"),
            "Hello, wörld 🌍",
            id="no blank behind the colon",
        ),
        pytest.param(
            CLASSIC_ANSWER.replace("\n\n", "\n"), "Hello, wörld 🌍", id="single line ends"
        ),
        pytest.param(
            CLASSIC_ANSWER.replace("\n\n", "\n\n: ping\n\nid: 7\nretry: 10\n\n"),
            "Hello, wörld 🌍",
            id="comments and other fields",
        ),
        pytest.param(
            CLASSIC_ANSWER.replace("\n\n", "\n\n" + WARNING),
            "Hello, wörld 🌍",
            id="warnings between events",
        ),
        pytest.param(
            CLASSIC_ANSWER.replace("\n\n", "\n" + WARNING),
            "Hello, wörld 🌍",
            id="warnings in events",
        ),
        pytest.param("\ufeff" + chunk("Hello") + DONE, "Hello", id="byte order mark"),
        pytest.param(CLASSIC_ANSWER[:-2], "Hello, wörld 🌍", id="no last line end"),
        pytest.param("event: message\n" + chunk("Hello") + DONE, "Hello", id="name of an error"),
        pytest.param(
            data("[LIMITED]") + data("{broken") + chunk("Hello") + DONE, "Hello", id="noise"
        ),
        pytest.param(json.dumps(JSON_ANSWER), "Hello, wörld", id="JSON"),
        pytest.param('{"data": "Hello"}', "Hello", id="JSON of data alone"),
        pytest.param(
            chunk("Hello") + STOP + json.dumps(JSON_ANSWER), "Hello", id="JSON behind the text"
        ),
        pytest.param(
            json.dumps(JSON_ANSWER, indent=2) + "\n", "Hello, wörld", id="JSON on many lines"
        ),
        pytest.param("\ufeff" + json.dumps(JSON_ANSWER), "Hello, wörld", id="JSON behind a mark"),
        pytest.param(
            "\n" + WARNING + json.dumps(JSON_ANSWER, indent=2) + "\n" + WARNING,
            "Hello, wörld",
            id="JSON between warnings",
        ),
        pytest.param(
            "\ufeff" + WARNING + "\ufeff" + json.dumps(JSON_ANSWER),
            "Hello, wörld",
            id="JSON behind marks and a warning",
        ),
        pytest.param(
            chunk("Hello", finish_reason="length") + json.dumps(JSON_ANSWER) + "\n",
            "Hello",
            id="JSON behind a last text",
        ),
        pytest.param(
            chunk("") + WARNING + json.dumps(JSON_ANSWER) + "\n",
            "Hello, wörld",
            id="JSON behind an empty text",
        ),
        pytest.param(CURRENT_ANSWER, "Hello, wörld 🌍", id="current"),
        pytest.param(CURRENT_ANSWER.replace("\n", "\r\n"), "Hello, wörld 🌍", id="current, CRLF"),
        pytest.param(
            data({"delta": "Hello"})
            + 'event: warning\ndata: {"error":" four (Incomplete: max_output_tokens)"}\n\n'
            + CURRENT_DONE,
            "Hello four (Incomplete: max_output_tokens)",
            id="current warning",
        ),
        pytest.param(
            'data: {"delta":\ndata: "Hello"}\n\n' + CURRENT_DONE, "Hello", id="data on two lines"
        ),
        pytest.param(
            'data: {"choices": [\ndata: {"delta": {"content": "Hello"}}\ndata: ]}\n\n' + DONE,
            "Hello",
            id="data on three lines",
        ),
        pytest.param(
            'event: citations\ndata: {"delta":"no"}\n\nevent: grounding_metadata\ndata: [1]\n\n'
            + data({"delta": "Hello"})
            + CURRENT_DONE,
            "Hello",
            id="unknown events",
        ),
    ],
)
@pytest.mark.parametrize("cut", ["whole", "bytes"])
def test_an_answer_gives_its_text(answer, text, cut):
    """In one read, or with every character and line cut in two."""
    raw = answer.encode()
    pieces = [raw] if cut == "whole" else [raw[i : i + 1] for i in range(len(raw))]
    texts, error = read_answer(*pieces)
    assert "".join(texts) == text
    assert error is None
    assert all(texts)


def test_a_cut_after_the_end_of_an_answer_is_ignored():
    assert read_answer(chunk("Hello") + STOP, ConnectionResetError()) == (["Hello"], None)


@pytest.mark.parametrize(
    "field",
    [field[:end] for field in ("data", "event", "id", "retry") for end in range(1, len(field) + 1)],
)
def test_a_field_cut_in_its_name_is_an_incomplete_reply(field):
    assert isinstance(ask_site(CLASSIC_PAGE, field)[1], IncompleteReplyError)
    texts, error = ask_site(CLASSIC_PAGE, chunk("Hello") + field)
    assert (texts, type(error), error.partial) == (["Hello"], IncompleteReplyError, "Hello")


# ---------------------------------------------------------------------------------- Answer: limits


NO_END = "the site sent 300,000 bytes without an end or any text of an answer"


@pytest.mark.parametrize(
    ("endless", "words"),
    [
        pytest.param(b"data: x" * 900, "the site sent a line of over 30,000 bytes", id="data"),
        pytest.param(b"x" * 50, "the site sent a line of over 30,000 bytes", id="bytes"),
        pytest.param(b"word\n" * 900, NO_END, id="lines"),
        pytest.param(b": ping\n\n" * 900, NO_END, id="comments"),
        pytest.param(b"data: {}\n\n" * 900, NO_END, id="events"),
        pytest.param(b'{"a":\n' * 900, NO_END, id="objects"),
        pytest.param(b'data: {"a":\n' * 900, NO_END, id="objects in data"),
    ],
)
def test_an_endless_answer_is_an_error_in_bounded_memory(endless, words, set_limits):
    set_limits(line=30_000, body=300_000)
    pieces = [endless] * 20_000
    with peak_memory() as peak:
        _, error = read_answer(*pieces)
        assert peak() < 2e6
    assert type(error) is ChatgptFreeError
    assert str(error) == words


def test_an_answer_with_text_in_it_may_be_longer_than_one_without(set_limits):
    set_limits(body=1000)
    assert read_answer(*[chunk("word ")] * 100, DONE) == (["word "] * 100, None)


def test_an_answer_of_unreasonable_length_ends_in_an_error_with_the_text(mock, set_limits):
    set_limits(answer=100_000)
    add_classic(mock, chunk("words " * 100) * 1000)
    with pytest.raises(
        IncompleteReplyError, match="broke off: the site's answer goes on after 100,000 characters"
    ) as caught:
        ChatgptFree(SITE).complete("Hi")
    assert 100_000 < len(caught.value.partial) <= 100_600


# ---------------------------------------------------------------------------------- Answer: errors


TOKEN_LIMIT = {"msg": "You have reached your token limit.", "tokenLimitReached": True}


@pytest.mark.parametrize(
    ("answer", "kind", "words", "partial"),
    [
        pytest.param(
            json.dumps({"status": "error", "msg": "It&#039;s <b>broken</b>"}),
            ChatgptFreeError,
            "It's broken",
            "",
            id="JSON",
        ),
        pytest.param(
            WARNING + json.dumps({"status": "error", "msg": "No."}, indent=1),
            ChatgptFreeError,
            "No.",
            "",
            id="JSON behind a warning",
        ),
        pytest.param(
            json.dumps(TOKEN_LIMIT),
            RateLimitError,
            "You have reached your token limit.",
            "",
            id="token limit in JSON",
        ),
        pytest.param(
            data(TOKEN_LIMIT),
            RateLimitError,
            "You have reached your token limit.",
            "",
            id="token limit in an event",
        ),
        pytest.param(
            data({"msg": "Bad word", "messageFlagged": True}) + CLASSIC_ANSWER,
            ChatgptFreeError,
            "Bad word",
            "",
            id="flagged",
        ),
        pytest.param(
            data({"msg": "Banned", "ipBanned": True}) + CLASSIC_ANSWER,
            ChatgptFreeError,
            "Banned",
            "",
            id="banned",
        ),
        pytest.param(
            data({"msg": "Index gone", "pineconeError": True}),
            ChatgptFreeError,
            "Index gone",
            "",
            id="index",
        ),
        pytest.param(
            (dressed("Invalid") + dressed(" key.") + DRESSED_STOP) * 2 + data("[LIMITED]"),
            ChatgptFreeError,
            "Invalid key.",
            "",
            id="dressed up twice",
        ),
        pytest.param(
            dressed("Invalid") + dressed(" key."),
            ChatgptFreeError,
            "Invalid key.",
            "",
            id="dressed up without an end",
        ),
        pytest.param(
            dressed("Invalid") + dressed(" key.") + DONE,
            ChatgptFreeError,
            "Invalid key.",
            "",
            id="dressed up and done",
        ),
        pytest.param(
            dressed("Your quota is used up") + DRESSED_STOP,
            RateLimitError,
            "Your quota is used up",
            "",
            id="dressed-up quota",
        ),
        pytest.param(
            dressed("Too many requests") + DRESSED_STOP,
            RateLimitError,
            "Too many requests",
            "",
            id="dressed-up limit",
        ),
        pytest.param(
            dressed("Cannot generate limited editions") + DRESSED_STOP,
            ChatgptFreeError,
            "Cannot generate limited editions",
            "",
            id="dressed up, no limit",
        ),
        pytest.param(
            dressed("the")
            + dressed(" @key@").replace("@", '"')
            + dressed(" is bad")
            + DRESSED_STOP,
            ChatgptFreeError,
            'the "key" is bad',
            "",
            id="dressed-up quotes",
        ),
        pytest.param(
            dressed("two@lines").replace("@", "\n") + DRESSED_STOP,
            ChatgptFreeError,
            "two lines",
            "",
            id="dressed-up line break",
        ),
        pytest.param(
            chunk("Hello") + dressed("Overloaded") + DRESSED_STOP,
            IncompleteReplyError,
            "the answer broke off: Overloaded",
            "Hello",
            id="dressed up behind text",
        ),
        pytest.param(
            RAW_ERROR + DRESSED_STOP,
            ChatgptFreeError,
            "Incorrect API key provided",
            "",
            id="raw error",
        ),
        pytest.param(
            RAW_ERROR[:70] + "\n" + DRESSED_STOP,
            ChatgptFreeError,
            '{ "error": { "message": "Incorrect API key provided", "code"',
            "",
            id="half a raw error",
        ),
        pytest.param(
            chunk("Hello")
            + data({"error": {"message": "The server had an error", "type": "server_error"}}),
            IncompleteReplyError,
            "the answer broke off: The server had an error",
            "Hello",
            id="error behind text",
        ),
        pytest.param(
            chunk("Hello")
            + data({"error": {"message": "Slow down", "code": "rate_limit_exceeded"}}),
            IncompleteReplyError,
            "the answer broke off: Slow down",
            "Hello",
            id="limit behind text",
        ),
        pytest.param(
            'event: assistant_error\ndata: {"status":"error","msg":"No assistant"}\n\n',
            ChatgptFreeError,
            "No assistant",
            "",
            id="assistant's error",
        ),
        pytest.param(
            data({"error": {"code": 500}}),
            ChatgptFreeError,
            "the site reported an error without words",
            "",
            id="without words",
        ),
        pytest.param(
            chunk("Hello") + chunk(" wor"),
            IncompleteReplyError,
            "the answer broke off",
            "Hello wor",
            id="cut between events",
        ),
        pytest.param(
            chunk("Hello") + chunk(" world")[:-9],
            IncompleteReplyError,
            "the answer broke off",
            "Hello",
            id="cut in an event",
        ),
        pytest.param(
            chunk("Hello") + "<p>There has been a critical error.</p>",
            IncompleteReplyError,
            "the answer broke off: There has been a critical error.",
            "Hello",
            id="HTML behind text",
        ),
        pytest.param("", IncompleteReplyError, "the site sent no answer", "", id="nothing"),
        pytest.param(
            CURRENT_HEAD, IncompleteReplyError, "the site sent no answer", "", id="head alone"
        ),
        pytest.param(
            ": ping\n\n", IncompleteReplyError, "the site sent no answer", "", id="comment alone"
        ),
        pytest.param(
            chunk(""), IncompleteReplyError, "the site sent no answer", "", id="empty text"
        ),
        pytest.param(
            WARNING + "\n" + chunk("Hello"),
            IncompleteReplyError,
            "the answer broke off",
            "Hello",
            id="warning before text",
        ),
        pytest.param(
            WARNING * 30 + "<p>There has been a critical error.</p>",
            ChatgptFreeError,
            "There has been a critical error.",
            "",
            id="warnings before HTML",
        ),
        pytest.param(
            json.dumps({"error": True, "message": "Bad key"}),
            ChatgptFreeError,
            "Bad key",
            "",
            id="message beside an error",
        ),
        pytest.param(
            "event: error\ndata: API down\n\n",
            ChatgptFreeError,
            "API down",
            "",
            id="error event of text",
        ),
        pytest.param(
            chunk("Hello") + "dat",
            IncompleteReplyError,
            "the answer broke off",
            "Hello",
            id="cut in a field's name",
        ),
        pytest.param(
            chunk("Hello") + 'data: {"choices":[{"delta":{"content":"wor',
            IncompleteReplyError,
            "the answer broke off",
            "Hello",
            id="cut in an event's text",
        ),
        pytest.param(
            chunk("Hello") + chunk(" wor") + json.dumps(JSON_ANSWER) + "\n",
            IncompleteReplyError,
            "the answer broke off",
            "Hello wor",
            id="JSON behind a cut text",
        ),
        pytest.param(
            json.dumps(JSON_ANSWER)[:60],
            IncompleteReplyError,
            "the answer broke off before any text",
            "",
            id="half a JSON",
        ),
        pytest.param(
            "dat",
            IncompleteReplyError,
            "the answer broke off before any text",
            "",
            id="half a field's name",
        ),
        pytest.param(
            chunk("Hello") + json.dumps(JSON_ANSWER),
            IncompleteReplyError,
            "the answer broke off",
            "Hello",
            id="JSON behind text",
        ),
        pytest.param(
            OLD_CUT + json.dumps(JSON_ANSWER, indent=1),
            IncompleteReplyError,
            "the answer broke off",
            "Hel",
            id="JSON behind an old model's text",
        ),
        pytest.param(
            RAW_ERROR.rstrip() + dressed("Incorrect") + DRESSED_STOP,
            ChatgptFreeError,
            "Incorrect API key provided",
            "",
            id="raw error, dressed up again",
        ),
        pytest.param(
            RAW_ERROR[:70].rstrip() + dressed("Incorrect API key provided") + DRESSED_STOP,
            ChatgptFreeError,
            "Incorrect API key provided",
            "",
            id="half a raw error, dressed up again",
        ),
        pytest.param(
            "<html><style>p {}</style><title>502</title>\n\n<p>Bad&nbsp;Gateway",
            ChatgptFreeError,
            "502 Bad Gateway",
            "",
            id="HTML",
        ),
        pytest.param("0", ChatgptFreeError, "0", "", id="zero"),
        pytest.param(
            ROLE + STOP + DONE,
            ChatgptFreeError,
            "the site's answer is empty",
            "",
            id="empty classic answer",
        ),
        pytest.param(
            json.dumps({"status": "success", "msg": "Something went wrong", "data": ""}),
            ChatgptFreeError,
            "the site's answer is empty",
            "",
            id="empty JSON answer",
        ),
        pytest.param(
            CURRENT_HEAD + CURRENT_DONE,
            ChatgptFreeError,
            "the site's answer is empty",
            "",
            id="empty current answer",
        ),
        pytest.param(
            CURRENT_HEAD + data({"delta": "Hel"}),
            IncompleteReplyError,
            "the answer broke off",
            "Hel",
            id="cut current answer",
        ),
        pytest.param(
            CURRENT_HEAD
            + "event: error\nid: err-1\n"
            + data({"error": "Guests may not"})
            + CURRENT_DONE,
            ChatgptFreeError,
            "Guests may not",
            "",
            id="current error",
        ),
        pytest.param(
            CURRENT_HEAD + "event: error\nid: err-1\n" + data(QUOTA) + CURRENT_DONE,
            RateLimitError,
            "Enough for today.",
            "",
            id="current quota",
        ),
        pytest.param(
            data({"delta": "Hel"}) + "event: error\n" + data({"error": "API Error: x (Code: y)"}),
            IncompleteReplyError,
            "the answer broke off: API Error: x (Code: y)",
            "Hel",
            id="current error behind text",
        ),
    ],
)
@pytest.mark.parametrize("page", [CLASSIC_PAGE, CURRENT_PAGE], ids=["classic", "current"])
def test_a_failing_answer_is_an_error_with_words_and_text(answer, kind, words, partial, page):
    texts, error = ask_site(page, answer)
    assert "".join(texts) == error.partial == partial
    assert type(error) is kind
    assert str(error) == words


OVERLOADED = data({"error": {"message": "Overloaded"}})
USED_UP = data({"msg": "Used up", "tokenLimitReached": True})
CLOSED = data({"error": "Connection Error: closed"})


def check_a_failure_after_text(page, answer, reason):
    """It is an IncompleteReplyError with the text and the reason, of `stream` and of `complete`."""
    session = StubSession(page, chunk("Hel") + data({"delta": "lo"}), *answer)
    bot = ChatgptFree(SITE, session=session, timeout=7)
    texts, error = collect(bot.stream("Hi"))
    assert texts == ["Hel", "lo"]
    assert type(error) is IncompleteReplyError
    assert (error.partial, str(error)) == ("Hello", "the answer broke off" + reason)
    with pytest.raises(IncompleteReplyError) as caught:
        bot.complete("Hi")
    assert caught.value.partial == "Hello"


@pytest.mark.parametrize(
    ("page", "answer", "reason"),
    [
        pytest.param(CLASSIC_PAGE, OVERLOADED, ": Overloaded", id="error"),
        pytest.param(
            CLASSIC_PAGE, dressed("Over") + dressed("loaded"), ": Overloaded", id="dressed up"
        ),
        pytest.param(CLASSIC_PAGE, USED_UP, ": Used up", id="limit"),
        pytest.param(
            CURRENT_PAGE, "event: error\n" + CLOSED, ": Connection Error: closed", id="event"
        ),
        pytest.param(
            CURRENT_PAGE, "event: error\n" + data(QUOTA), ": Enough for today.", id="quota"
        ),
    ],
)
def test_an_error_after_some_text_is_an_incomplete_reply(page, answer, reason):
    check_a_failure_after_text(page, [answer], reason)


@pytest.mark.parametrize("page", [CLASSIC_PAGE, CURRENT_PAGE], ids=["classic", "current"])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param([], "", id="end"),
        pytest.param(
            [ConnectionResetError("reset by peer")],
            ": lost the connection to site.example: reset by peer",
            id="reset",
        ),
        pytest.param(
            [socket.timeout()], ": nothing came from site.example for 7 seconds", id="stall"
        ),
        pytest.param(["x" * 1001], ": the site sent a line of over 1,000 bytes", id="a long line"),
        pytest.param(
            [": ping\n\n"] * 2000,
            ": the site sent 10,000 bytes without an end or any text of an answer",
            id="no end",
        ),
    ],
)
def test_a_break_after_some_text_is_an_incomplete_reply(page, answer, reason, set_limits):
    set_limits(line=1000, body=10_000)
    check_a_failure_after_text(page, answer, reason)


def test_the_words_of_an_error_are_short_and_on_one_line():
    _, error = read_answer("<h1>Oh\nno</h1>\x1b[31m" + "<p>very</p>" * 1000)
    assert str(error) == "Oh no [31m" + " very" * 57 + " ver…"


@pytest.mark.parametrize(
    "error",
    [
        {"json": {"status": "error", "msg": f"Oh no &#{DIGITS};"}},
        {"body": f"<p>Oh no &#{DIGITS};"},
        {"body": f"<p>Oh no &#x{DIGITS};", "status": 500},
        {"body": f'{{"msg": "Oh no", "code": {DIGITS}}}', "status": 500},
        {"body": data({"error": f"Oh no &#{DIGITS};"})},
        {"body": f'Oh no {{"code": {DIGITS}}}'},
    ],
    ids=["JSON", "HTML", "hexadecimal", "number", "event", "number in text"],
)
@pytest.mark.parametrize("add", [add_classic, add_current], ids=["classic", "current"])
def test_numbers_of_5000_digits_in_an_error_are_the_sites_error(mock, error, add):
    add(mock, error)
    with pytest.raises(ChatgptFreeError, match="Oh no"):
        ChatgptFree(SITE).complete("Hi")


# -------------------------------------------------------------------------- Answer: damaged bodies


@pytest.mark.parametrize(
    "transcript",
    TRANSCRIPTS,
    ids=["classic", "JSON", "dressed up", "assistant", "current", "current error"],
)
def test_a_transcript_cut_anywhere_yields_a_prefix_of_its_text(transcript):
    page = CURRENT_PAGE if "finished" in transcript else CLASSIC_PAGE
    raw = transcript.encode()
    whole = text_of(page, raw)
    assert whole
    for end in range(len(raw)):
        assert whole.startswith(text_of(page, raw[:end]))


@pytest.mark.parametrize("seed", range(4))
def test_damaged_answers_raise_only_the_librarys_and_requests_exceptions(seed):
    chance = random.Random(seed)
    for _ in range(400):
        page, answer = (
            chance.choice([CLASSIC_PAGE, CURRENT_PAGE]),
            chance.choice(TRANSCRIPTS).encode(),
        )
        if chance.random() < 0.3:
            page = mutated(page.encode(), chance)
        text_of(page, mutated(answer, chance))


# ---------------------------------------------------------------------------------- Answer: growth

HOSTILE_ANSWERS = {
    **HOSTILE_ERRORS,
    "broken words": 'event: message\ndata: {|"content":"|',
    "lines of broken words": 'event: message\n|data: {"content":"a\n|',
    "blanks behind content": 'event: message\ndata: {|"content":' + " " * 500 + "|",
    "events in lines": "|x event: message\n|",
    "data": "|data: {\n|",
    "held lines": "|{\n|",
    "dressed words": '|event: message\ndata: {"choices":[{"delta":{"content":"x"}}]}\n\n|',
    "noise": "|data: x\n\n|",
}


def make_refusals(page):
    for status in (403, 404):
        refusal_of(status, page)


@pytest.mark.parametrize("hostile", HOSTILE_ERRORS.values(), ids=HOSTILE_ERRORS.keys())
def test_the_words_of_a_refusal_are_found_in_linear_time(hostile):
    assert_linear_time(make_refusals, hostile)


def read_in_blocks(answer):
    ask_site(CLASSIC_PAGE, *re.findall("(?s).{1,65536}", answer))


@pytest.mark.parametrize("hostile", HOSTILE_ANSWERS.values(), ids=HOSTILE_ANSWERS.keys())
def test_reading_an_answer_takes_linear_time(hostile):
    assert_linear_time(read_in_blocks, hostile)


# -------------------------------------------------------------- Requests: their fields and headers


EXPIRED = {
    "status": 403,
    "body": "<p>The link you followed has expired.</p>",
    "content_type": "text/html",
}


# The plugin does not know the action.
GONE = {"status": 400, "body": "0"}

NOT_TAKEN = (
    "HTTP 400: 0 (the plugin is off or has changed, or the prompt is over the server's limit)"
)

CLASSIC_REFUSALS = [  # and their words
    pytest.param(EXPIRED, "HTTP 403: The link you followed has expired.", id="expired"),
    pytest.param(
        {**EXPIRED, "body": "Der Link ist abgelaufen."},
        "HTTP 403: Der Link ist abgelaufen.",
        id="expired in German",
    ),
    pytest.param(
        {"json": {"status": "error", "msg": "Nonce verification failed"}},
        "Nonce verification failed",
        id="nonce",
    ),
    pytest.param(
        {"json": {"status": "error", "msg": "随机数验证失败"}},
        "随机数验证失败",
        id="nonce in Chinese",
    ),
    pytest.param({"json": {"status": "error", "msg": "Banned word"}}, "Banned word", id="word"),
    pytest.param(GONE, NOT_TAKEN, id="gone"),
    pytest.param({"status": 500, "body": "<p>Out of order"}, "HTTP 500: Out of order", id="500"),
    pytest.param(
        {"body": dressed("Invalid") + dressed(" key.") + DRESSED_STOP},
        "Invalid key.",
        id="dressed up",
    ),
    pytest.param({"body": ROLE + STOP + DONE}, "the site's answer is empty", id="empty"),
    pytest.param({"body": ""}, "the site sent no answer", id="nothing"),
]

CHALLENGE = {
    "status": 403,
    "body": "<title>Just a moment...</title>",
    "headers": {"cf-mitigated": "challenge"},
}


def renewed(nonce):
    return 200, {}, json.dumps({"success": True, "data": {"nonce": nonce}})


def current_site(mock, renewal, step=1, words="Security check failed.", pages=(CURRENT_PAGE,)):
    """A site of the current protocol.

    It takes the nonce "fresh", and refuses others at `step`, with these words.
    """

    def ajax(request):
        form = fields_of(request)
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            return renewal
        good = form["_ajax_nonce"] == "fresh"
        if form["action"] == "aipkit_cache_sse_message":
            if good or step == 2:
                return 200, {}, CACHED
            failure = {"message": words, "code": "nonce_failure_cache_sse"}
            return 403, {}, json.dumps({"success": False, "data": failure})
        return 200, {}, CURRENT_ANSWER if good else error_event(words)

    for page in pages:
        mock.get(SITE + "/", body=page)
    mock.add_callback("POST", AJAX, ajax)
    mock.add_callback("GET", AJAX, ajax)


def actions(mock):
    """What was asked, in order."""
    names = [fields_of(call.request).get("action", "page") for call in mock.calls]
    return [name.replace("aipkit_", "").replace("frontend_chat_", "") for name in names]


ASKED = {1: ["cache_sse_message"], 2: ["cache_sse_message", "stream"]}

WAYS = [
    renewed("fresh"),
    renewed("5bbad886de"),
    (400, {}, "0"),
    (500, {}, "<p>Oops"),
    (200, {}, "<p>Hello"),
]


class ChangingSite:
    """A site whose plugin or bots change.

    `page` is what it shows now, `bots` are those that it has. Without bots it is classic.
    """

    def __init__(self, mock):
        mock.add_callback("GET", SITE + "/", lambda request: (200, {}, self.page))
        mock.add_callback("POST", AJAX, self.ajax)
        mock.add_callback("GET", AJAX, self.ajax)

    def show(self, page, *bots):
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
            return 200, {}, CACHED
        if form["bot_id"] not in self.bots:
            return 200, {}, error_event("Invalid chatbot specified.")
        return 200, {}, data({"delta": "bot " + form["bot_id"]}) + CURRENT_DONE


def redirect_to(url, status=302):
    """A page or an answer that redirects there."""
    return lambda handler, *_: handler.whole("", status, Location=url)


# Its bots offer everything.
OFFERING_PAGE = OPENAI + GOOGLE.replace("false", "true")


def stub_with_bots():
    """A session with a site of two bots that offer everything."""
    return StubSession(OFFERING_PAGE, CURRENT_ANSWER)


def callers(bot, **own):
    """Each way to ask, as a function without arguments."""
    return [
        lambda: list(bot.stream("Hi", **own)),
        lambda: bot.complete("Hi", **own),
        lambda: bot.list_models(**own),
        lambda: bot.conversation().complete("Hi", **own),
        lambda: list(bot.conversation(**own).stream("Hi")),
    ]


NONCE_FAILURE = {
    "success": False,
    "data": {"message": "Security check failed.", "code": "nonce_failure_cache_sse"},
}


def response_of_a_mock(body, url):
    """A mock's: its body is there, and nothing to read it from."""
    response = requests.Response()
    response.status_code, response.url, response._content = 200, url, body.encode()
    return response


def response_of_a_cache(body, url):
    """A cache's: its body is decoded, and its headers say gzip as they came."""
    response = requests.Response()
    response.status_code, response.url, response.raw = 200, url, io.BytesIO(body.encode())
    response.headers["Content-Encoding"] = "gzip"
    return response


class OthersError(OSError):
    """As curl_cffi's and niquests' are: of no kind that `requests` knows."""


class OthersTimeout(OthersError):
    pass


SECRETS = {
    "cookies": {"secret": "1"},
    "headers": {"X-Secret": "1", "Cookie2": "secret"},
    "auth": ("me", "secret"),
}

PASSWORD = "p%40ss-secret"


def with_password(site):
    return site.url.replace("://", f"://me:{PASSWORD}@")


def test_the_classic_request_is_the_plugins(mock):
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
    }
    assert mock.calls[0].request.headers["Cache-Control"] == "no-cache"
    headers = mock.calls[1].request.headers
    assert (headers["Origin"], headers["Referer"], headers["Accept-Encoding"]) == (
        SITE,
        SITE + "/help/",
        "identity",
    )


def test_the_current_requests_are_the_plugins(mock):
    add_current(mock, CURRENT_ANSWER)
    prompt = "if a<b and c>d: x\n  %41"
    assert ChatgptFree(SITE).complete(prompt) == "Hello, wörld 🌍"
    assert forms(mock) == [
        {
            "action": "aipkit_cache_sse_message",
            "message": prompt,
            "_ajax_nonce": "5bbad886de",
            "bot_id": "25871",
        }
    ]
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
    for call in mock.calls[1:]:
        assert call.request.headers["Referer"] == SITE + "/"
        assert "Origin" not in call.request.headers


def test_only_classic_requests_have_an_origin():
    nonces = iter(["stale", "fresh"])

    def answer(handler, form):
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            return handler.whole("0", 400)
        if form["_ajax_nonce"] == "stale":
            return handler.whole(json.dumps(NONCE_FAILURE), 403)
        return current_answer(handler, form)

    with Site(
        answer, lambda handler: handler.whole(current_box(nonce=next(nonces), ajax_url=None))
    ) as site:
        ChatgptFree(site.url).complete("Hi")
        assert [headers["Origin"] for _, _, headers, _ in site.asked] == [None] * 6
    with Site(classic_answer) as site:
        ChatgptFree(site.url).complete("Hi")
        assert [headers["Origin"] for _, _, headers, _ in site.asked] == [None, site.url]


def test_one_object_is_one_guest_with_a_conversation_for_each_call(mock):
    add_current(mock, CURRENT_ANSWER)
    bot = ChatgptFree(SITE)
    for client in (bot, bot, ChatgptFree(SITE)):
        client.complete("Hi")
    queries = [query for query in forms(mock, "GET") if query]
    assert [query["session_id"] == queries[0]["session_id"] for query in queries] == [
        True,
        True,
        False,
    ]
    assert len({query["conversation_uuid"] for query in queries}) == 3


def test_a_classic_sites_guest_has_ten_letters_and_digits_for_good(mock):
    add_classic(mock, CLASSIC_ANSWER)
    bot = ChatgptFree(SITE)
    bot.complete("Hi")
    bot.conversation().complete("Hi")
    ChatgptFree(SITE).complete("Hi")
    ids = [form["wpaicg_chat_client_id"] for form in forms(mock)]
    assert all(re.fullmatch("[A-Za-z0-9]{10}", guest) for guest in ids)
    assert [guest == ids[0] for guest in ids] == [True, True, False]


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("if a<b and c>d: x", "if a&lt;b and c>d: x"),
        ("<b>1</b>", "&lt;b>1&lt;/b>"),
        (
            "\"it's\" & 'that' &amp; &lt; > \\ \n\t %41 +",
            "\"it's\" & 'that' &amp; &lt; > \\ \n\t %41 +",
        ),
        ("wörld 🌍", "wörld 🌍"),
    ],
    ids=["code", "tags", "signs", "letters"],
)
def test_only_the_less_than_sign_is_escaped_for_a_classic_site(mock, prompt, sent):
    add_classic(mock, CLASSIC_ANSWER)
    ChatgptFree(SITE).complete(prompt)
    assert forms(mock)[0]["message"] == sent


def test_a_subfolder_and_a_custom_bot(mock):
    mock.get(
        SITE + "/",
        body=params_script(SITE + "/blog/wp-admin/admin-ajax.php") + classic_box(bot_id="10420"),
    )
    mock.post(SITE + "/blog/wp-admin/admin-ajax.php", body=CLASSIC_ANSWER)
    ChatgptFree(SITE).complete("Hi")
    assert (forms(mock)[0]["url"], forms(mock)[0]["bot_id"]) == (SITE + "/blog", "10420")


@pytest.mark.parametrize(
    "page",
    [CURRENT_PAGE + CLASSIC_PAGE, CLASSIC_PAGE + CURRENT_PAGE],
    ids=["current first", "classic first"],
)
def test_the_current_protocol_wins_on_a_page_with_both(mock, page):
    add_current(mock, CURRENT_ANSWER, page=page)
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"


def test_nonce_and_post_id_are_kept_between_calls(mock):
    add_classic(mock, CLASSIC_ANSWER)
    bot = ChatgptFree(SITE)
    bot.complete("Hi")
    bot.complete("Hi")
    assert (bot._nonce, bot._post_id) == ("c10d44dafd", "6")
    assert [call.request.method for call in mock.calls] == ["GET", "POST", "POST"]


# -------------------------------------------------------------------------------- Requests: models


@pytest.mark.parametrize(
    ("model", "bot_id"),
    [
        pytest.param(None, "25871", id="None"),
        pytest.param("", "25871", id="empty"),
        pytest.param("gpt-4o-mini-2024-07-18", "25871", id="default"),
        pytest.param("gpt-4o-mini", "25871", id="alias"),
        pytest.param("DeepSeek", "25872", id="name"),
        pytest.param(" deepSEEK", "25872", id="another case"),
        pytest.param(25872, "25872", id="number"),
        pytest.param("25872", "25872", id="number in a str"),
        pytest.param("chatgpt 5 nano", "25871", id="lower case"),
    ],
)
def test_a_model_is_a_bot_of_the_page_by_name_or_number(mock, model, bot_id):
    add_current(mock, CURRENT_ANSWER)
    ChatgptFree(SITE).complete("Hi", model=model)
    assert forms(mock)[0]["bot_id"] == forms(mock, "GET")[1]["bot_id"] == bot_id


def test_an_unknown_model_is_an_error_that_names_the_pages(mock):
    add_current(mock, CURRENT_ANSWER)
    words = (
        "no model 'gpt-9' on https://site.example/, "
        "which offers ChatGPT 5 Nano (25871), DeepSeek (25872)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        ChatgptFree(SITE).complete("Hi", model="gpt-9")
    assert not forms(mock)


def test_a_bot_of_the_page_can_have_the_name_of_an_alias(mock):
    add_current(mock, CURRENT_ANSWER, page=CURRENT_PAGE + current_box(3, name="gpt-4o-mini"))
    ChatgptFree(SITE).complete("Hi", model="gpt-4o-mini")
    assert forms(mock)[0]["bot_id"] == "3"


def test_classic_sites_decide_the_model_themselves(mock):
    add_classic(mock, CLASSIC_ANSWER)
    assert ChatgptFree(SITE).complete("Hi", model="anything") == "Hello, wörld 🌍"


def test_models_are_listed(mock):
    mock.get(SITE + "/", body=CURRENT_PAGE)
    mock.get(SITE + "/classic", body=CLASSIC_PAGE)
    assert ChatgptFree(SITE).list_models() == ["ChatGPT 5 Nano", "DeepSeek"]
    assert (
        ChatgptFree(SITE + "/classic").list_models()
        == ChatgptFree.models
        == ["gpt-4o-mini-2024-07-18"]
    )


def test_a_bots_title_is_unescaped_and_found_by_either_name(mock):
    add_current(
        mock, CURRENT_ANSWER, page=CURRENT_PAGE + current_box(7, name="Q &amp; A &#8211; <b>")
    )
    bot = ChatgptFree(SITE)
    assert bot.list_models()[-1] == "Q & A – <b>"
    bot.complete("Hi", model="q & a – <B>")
    assert forms(mock)[0]["bot_id"] == "7"


def test_a_bot_with_a_blank_name_goes_by_its_number(mock):
    add_current(mock, CURRENT_ANSWER, page=current_box(1, name="First") + current_box(2, name=" "))
    bot = ChatgptFree(SITE)
    bot.complete("Hi")
    assert forms(mock)[0]["bot_id"] == "1"
    assert bot.list_models() == ["First", "2"]


# ---------------------------------------------------- Requests: options, given once or with a call


def test_options_go_to_every_request_as_requests_takes_them():
    session = StubSession(CLASSIC_PAGE, CLASSIC_ANSWER)
    ChatgptFree(SITE, session=session).complete(
        "Hi",
        proxy="http://proxy:1",
        timeout=7,
        cookies={"a": "b"},
        verify="ca.pem",
        headers={"accept-encoding": "gzip", "X": "y"},
    )
    assert len(session.options) == 2
    for options in session.options:
        assert options["proxies"] == {"http": "http://proxy:1", "https": "http://proxy:1"}
        assert options["timeout"] == 7
        assert options["cookies"] == {"a": "b"}
        assert options["verify"] == "ca.pem"
        assert (options["stream"], options["allow_redirects"]) == (True, False)
        headers = [(name.lower(), value) for name, value in options["headers"].items()]
        assert [value for name, value in headers if name == "accept-encoding"] == ["gzip"]
        assert ("x", "y") in headers


OPTIONS = [
    pytest.param("proxy", "http://a:1", "http://b:1", "proxies", id="proxy"),
    pytest.param("timeout", 30, 120, "timeout", id="timeout"),
    pytest.param("timeout", (3, 30), None, "timeout", id="timeout of None"),
    pytest.param("cookies", {"a": "1"}, {"b": "2"}, "cookies", id="cookies"),
    pytest.param("cookies", {"a": "1"}, None, "cookies", id="cookies of None"),
    pytest.param("auth", ("a", "1"), ("b", "2"), "auth", id="auth"),
    pytest.param("cert", "a.pem", "b.pem", "cert", id="cert"),
    pytest.param("verify", "a.pem", True, "verify", id="verify"),
    pytest.param("hooks", {"response": []}, {}, "hooks", id="hooks"),
    pytest.param(
        "proxies", {"http": "http://a:1"}, {"http": "http://b:1"}, "proxies", id="proxies"
    ),
]


@pytest.mark.parametrize(("name", "default", "own", "sent_as"), OPTIONS)
@pytest.mark.parametrize(
    "way", range(5), ids=["stream", "complete", "list_models", "message", "conversation"]
)
def test_an_option_goes_with_every_request_and_a_calls_own_wins(name, default, own, sent_as, way):
    def as_requests_has_it(value):
        return {"http": value, "https": value} if name == "proxy" else value

    for given, expected in (({}, default), ({name: own}, own)):
        session = stub_with_bots()
        callers(ChatgptFree(SITE, session=session, **{name: default}), **given)[way]()
        assert session.options
        for options in session.options:
            assert options[sent_as] == as_requests_has_it(expected)


@pytest.mark.parametrize(
    ("default", "own", "used"),
    [
        pytest.param(
            {"proxy": "http://a:1"},
            {"proxies": {"http": "http://b:1"}},
            {"http": "http://b:1"},
            id="proxies",
        ),
        pytest.param(
            {"proxies": {"http": "http://a:1"}},
            {"proxy": "http://b:1"},
            {"http": "http://b:1", "https": "http://b:1"},
            id="proxy",
        ),
    ],
)
@pytest.mark.parametrize(
    "way", range(5), ids=["stream", "complete", "list_models", "message", "conversation"]
)
def test_a_calls_own_proxy_wins_in_whichever_way_it_is_given(default, own, used, way):
    session = stub_with_bots()
    callers(ChatgptFree(SITE, session=session, **default), **own)[way]()
    assert all(options["proxies"] == used for options in session.options)


@pytest.mark.parametrize(
    ("default", "own", "expected"),
    [
        pytest.param({}, {}, ("1", False, False), id="none"),
        pytest.param(
            {"model": "Gemini", "image": PNG, "web_search": True}, {}, ("2", True, True), id="all"
        ),
        pytest.param({"model": "Gemini"}, {"model": "GPT"}, ("1", False, False), id="own model"),
        pytest.param({"model": "Gemini"}, {"model": None}, ("1", False, False), id="no model"),
        pytest.param(
            {"web_search": True}, {"web_search": False}, ("1", False, False), id="no search"
        ),
        pytest.param({"image": PNG}, {"image": None}, ("1", False, False), id="no image"),
    ],
)
@pytest.mark.parametrize("way", [0, 1, 3, 4], ids=["stream", "complete", "message", "conversation"])
def test_model_image_and_web_search_can_be_given_once_too(default, own, expected, way):
    session = stub_with_bots()
    callers(ChatgptFree(SITE, session=session, **default), **own)[way]()
    _, first, second = session.fields
    assert (
        first["bot_id"],
        "image_inputs" in first,
        bool(SEARCH_FIELDS & second.keys()),
    ) == expected


def test_list_models_is_not_troubled_by_a_default_that_it_has_no_use_for(mock):
    mock.get(SITE + "/", body=OPENAI + GOOGLE)
    assert ChatgptFree(SITE, model="Gemini", image=PNG, web_search=True).list_models() == [
        "GPT",
        "Gemini",
    ]


@pytest.mark.parametrize(
    "way", range(5), ids=["stream", "complete", "list_models", "message", "conversation"]
)
def test_headers_are_merged_whatever_the_case_of_their_names(way):
    session = stub_with_bots()
    bot = ChatgptFree(
        SITE,
        session=session,
        headers={"User-Agent": "default", "x-kept": "kept", "X-Gone": "default"},
    )
    callers(bot, headers={"user-AGENT": "own", "X-New": "new", "x-gone": None})[way]()
    for options in session.options:
        lower = [(name.lower(), value) for name, value in options["headers"].items()]
        assert len(dict(lower)) == len(lower)
        sent = dict(lower)
        assert (sent["user-agent"], sent["x-kept"], sent["x-new"], sent["x-gone"]) == (
            "own",
            "kept",
            "new",
            None,
        )
        assert "accept" in sent


def test_headers_of_client_conversation_and_message_are_merged():
    session = stub_with_bots()
    bot = ChatgptFree(SITE, session=session, headers={"X-A": "1", "X-B": "1", "X-C": "1"})
    chat = bot.conversation(headers={"x-b": "2", "x-c": "2"})
    chat.complete("Hi", headers={"X-c": "3"})
    chat.complete("Hi")
    sent = [CaseInsensitiveDict(options["headers"]) for options in session.options]
    assert [headers["X-A"] + headers["X-B"] + headers["X-C"] for headers in sent] == ["123"] * 3 + [
        "122"
    ] * 2


def test_no_call_changes_what_the_caller_gave():
    headers, own = {"X-A": "1"}, {"x-a": "2"}
    session = stub_with_bots()
    bot = ChatgptFree(SITE, session=session, headers=headers)
    chat = bot.conversation(timeout=3)
    chat.complete("Hi", headers=own)
    bot.complete("Hi", headers=own)
    assert (headers, own) == ({"X-A": "1"}, {"x-a": "2"})
    assert options_of(bot) == {"headers": {"X-A": "1"}}
    assert options_of(chat) == {"headers": {"X-A": "1"}, "timeout": 3}


def test_positional_arguments_win_too():
    session = stub_with_bots()
    bot = ChatgptFree(
        SITE, session=session, model="Gemini", proxy="http://a:1", timeout=30, cookies={"a": "1"}
    )
    for call in (bot.complete, lambda *args: list(bot.stream(*args))):
        session.options.clear()
        call("Hi", "GPT", None, 120, None)
        assert session.fields[-2]["bot_id"] == "1"
        for options in session.options[-2:]:
            assert (options["timeout"], options["cookies"]) == (120, None)
            assert "proxies" not in options
        call("Hi", "GPT")
        assert (session.options[-1]["timeout"], session.options[-1]["cookies"]) == (30, {"a": "1"})


def test_mapped_calls_carry_the_options_of_the_client():
    def answer(handler, form):
        answer_words(handler, form, f"{handler.headers['X-Team']} {form.get('bot_id')}")

    with (
        Site(answer, OPENAI + GOOGLE) as site,
        ChatgptFree(site.url, model="Gemini", headers={"X-Team": "blue"}) as bot,
    ):
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(bot.complete, ["a", "b", "c"] * 4)) == ["blue 2"] * 12
        assert list(map(bot.complete, ["a", "b"])) == ["blue 2"] * 2
        assert sorted(messages_to(site)) == sorted(["a", "b", "c"] * 4 + ["a", "b"])


# ------------------------------------------------- Requests: mistakes are named before any request


def calls_with_options(url):
    """Each function that takes options, as a function of the options alone."""
    bot = ChatgptFree(url)
    return [
        lambda **own: bot.stream("Hi", **own),
        lambda **own: bot.complete("Hi", **own),
        bot.list_models,
        bot.conversation,
        lambda **own: bot.conversation().stream("Hi", **own),
        lambda **own: bot.conversation().complete("Hi", **own),
        lambda **own: ChatgptFree(url, **own),
        lambda **own: ChatgptFree(url, session=requests.Session(), **own),
    ]


@pytest.mark.parametrize(
    "wrong",
    ["stream", "temperature", "timout", "params", "allow_redirects", "json", "max_tokens", "data"],
)
def test_a_keyword_that_nobody_takes_is_named_at_the_call(wrong):
    with Site(say_hello, LOCAL_CURRENT) as site:
        for call in calls_with_options(site.url):
            with pytest.raises(TypeError, match=f"unexpected keyword argument '{wrong}'"):
                call(**{wrong: True})
        assert site.asked == []


@pytest.mark.parametrize("wrong", ["prompt", "message", "memory"])
def test_a_keyword_with_a_name_of_the_librarys_own_is_named_too(wrong):
    bot = ChatgptFree(SITE)
    for call in (bot.stream, bot.complete, bot.conversation().stream):
        with pytest.raises(TypeError, match=f"'{wrong}'"):
            call("Hi", **{wrong: "Hi"})


@pytest.mark.parametrize(
    ("option", "words"),
    [
        pytest.param({"cookies": "a=b"}, "cookies must be .*dict.*, not str", id="cookies of str"),
        pytest.param(
            {"cookies": [("a", "b")]}, "cookies must be .*dict.*, not list", id="cookies of list"
        ),
        pytest.param(
            {"proxy": {"http": "http://a:1"}}, "proxy must be a str.*, not dict", id="proxy of dict"
        ),
        pytest.param(
            {"proxies": "http://a:1"}, "proxies must be a dict, not str", id="proxies of str"
        ),
        pytest.param(
            {"headers": [("a", "b")]}, "headers must be a dict, not list", id="headers of list"
        ),
        pytest.param({"headers": "a: b"}, "headers must be a dict, not str", id="headers of str"),
    ],
)
def test_an_option_of_the_wrong_type_is_named_at_the_call(option, words):
    with Site(say_hello, LOCAL_CURRENT) as site:
        for call in calls_with_options(site.url):
            with pytest.raises(TypeError, match=f"^{words}"):
                call(**option)
        with pytest.raises(TypeError, match=f"^{words}"):
            ChatgptFree(site.url, session=stub_with_bots(), **option)
        assert site.asked == []


def test_an_address_that_is_no_str_is_a_typeerror():
    with pytest.raises(TypeError, match="url must be a str, not int"):
        ChatgptFree(7)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "  ",
        "site.example",
        "site.example:8080/chat",
        "//site.example/",
        "ftp://site.example/",
        "http://",
        "http:///chat",
        "https://a..b/",
        "/chat",
        "mailto:me@site.example",
        "\x01http://site.example/\x1b[2J",
        "\x01https:x",
        "\x01http://site.example/\u2102",
    ],
    ids=[
        "empty",
        "blanks",
        "no scheme",
        "port and no scheme",
        "slashes and no scheme",
        "ftp",
        "no host",
        "path and no host",
        "dots",
        "path",
        "mailto",
        "control character",
        "control character and no host",
        "control character and a sign",
    ],
)
def test_what_is_no_address_is_refused_in_the_constructor(address):
    with pytest.raises(ValueError, match="http:// or https://"):
        ChatgptFree(address)


@pytest.mark.parametrize("blanks", [" ", "\n", "\t \r\n"], ids=["blank", "line break", "many"])
def test_blanks_around_an_address_are_stripped(mock, blanks):
    add_current(mock, CURRENT_ANSWER)
    bot = ChatgptFree(blanks + SITE + blanks)
    assert (bot.url, bot.complete("Hi")) == (SITE, "Hello, wörld 🌍")


# ----------------------------------------------------- Requests: refusals, and what is asked again


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, "0", NOT_TAKEN),
        (500, "<title>Oh no</title><h1>Oh no</h1><p>Try later", "HTTP 500: Oh no Try later"),
        (500, "<title>Oh no</title><body><nav>Menu</nav><h1>Oh no</h1></body>", "HTTP 500: Oh no"),
        (500, "<html><head><title>Oh no</title></head><body></body></html>", "HTTP 500: Oh no"),
        (
            404,
            "<title>Not found</title><div>Shop Blog About</div><h1>Nothing here",
            "HTTP 404: Not found",
        ),
        (
            500,
            WARNING * 30 + "<p>There has been a critical error.</p>",
            "HTTP 500: There has been a critical error.",
        ),
        (
            500,
            "PHP Warning:  Undefined variable $x in /a.php on line 1\n" * 9 + "Out of memory",
            "HTTP 500: Out of memory",
        ),
        (500, WARNING * 30 + json.dumps({"status": "error", "msg": "No."}), "HTTP 500: No."),
        (502, "<style>p {}</style><h1>Not\n now</h1><script>quota()</script>", "HTTP 502: Not now"),
    ],
    ids=[
        "zero",
        "heading",
        "menu",
        "title alone",
        "404",
        "warnings",
        "plain warnings",
        "warnings and JSON",
        "style and script",
    ],
)
@pytest.mark.parametrize("where", ["page", "answer"])
def test_a_refusal_says_once_and_shortly_what_matters(mock, status, body, words, where):
    refusal = {"status": status, "body": body}
    mock.get(SITE + "/", **(refusal if where == "page" else {"body": CLASSIC_PAGE}))
    mock.post(AJAX, **refusal)
    with pytest.raises(ChatgptFreeError) as caught:
        ChatgptFree(SITE).complete("Hi")
    assert caught.type is ChatgptFreeError
    assert (str(caught.value), caught.value.partial) == (words, "")


def test_list_models_raises_the_error_of_a_refused_page(mock):
    mock.get(SITE + "/", status=403, body="Forbidden")
    with pytest.raises(ChatgptFreeError, match="^HTTP 403: Forbidden$") as caught:
        ChatgptFree(SITE).list_models()
    assert caught.type is ChatgptFreeError


@pytest.mark.parametrize(("refusal", "words"), CLASSIC_REFUSALS)
def test_a_refusing_classic_site_is_asked_again_if_its_chat_changed(mock, refusal, words):
    add_classic(mock, refusal, CLASSIC_ANSWER)
    mock.get(SITE + "/", body=classic_box(nonce="fresh"))
    bot = ChatgptFree(SITE)
    assert bot.complete("Hi") == "Hello, wörld 🌍"
    assert [form["_wpnonce"] for form in forms(mock)] == ["c10d44dafd", "fresh"]
    assert bot._nonce == "fresh"


@pytest.mark.parametrize(("refusal", "words"), CLASSIC_REFUSALS)
def test_a_refusing_classic_site_is_asked_once_if_its_chat_is_the_same(mock, refusal, words):
    add_classic(mock, refusal, CLASSIC_ANSWER)
    with pytest.raises(ChatgptFreeError, match=f"^{re.escape(words)}$") as caught:
        ChatgptFree(SITE).complete("Hi")
    assert caught.type is (IncompleteReplyError if "sent no answer" in words else ChatgptFreeError)
    assert (len(page_requests(mock)), len(forms(mock))) == (2, 1)


@pytest.mark.parametrize(
    "look",
    [{"status": 500}, {"body": "no chat"}, {"body": requests.ConnectionError("gone")}],
    ids=["500", "no chat", "no connection"],
)
def test_if_the_chat_cannot_be_looked_up_again_the_first_error_is_raised(mock, look):
    add_classic(mock, EXPIRED)
    mock.get(SITE + "/", **look)
    with pytest.raises(
        ChatgptFreeError, match="^HTTP 403: The link you followed has expired.$"
    ) as caught:
        ChatgptFree(SITE).complete("Hi")
    assert caught.type is ChatgptFreeError


def test_a_second_refusal_is_final(mock):
    add_classic(mock, EXPIRED, {"status": 500, "body": "Out of order"}, CLASSIC_ANSWER)
    mock.get(SITE + "/", body=classic_box(nonce="fresh"))
    mock.get(SITE + "/", body=classic_box(nonce="fresher"))
    with pytest.raises(ChatgptFreeError, match="^HTTP 500: Out of order$"):
        ChatgptFree(SITE).complete("Hi")
    assert len(forms(mock)) == 2


LIMIT = {"body": data({"msg": "Used up", "tokenLimitReached": True})}


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        pytest.param(LIMIT, RateLimitError, id="token limit"),
        pytest.param({"status": 429, "body": "Slow down"}, RateLimitError, id="429"),
        pytest.param(CHALLENGE, BlockedError, id="challenge"),
        pytest.param(
            {"body": data({"error": "Solve this first", "ts_required": True})},
            BlockedError,
            id="check",
        ),
        pytest.param(
            {"body": requests.ConnectionError("gone")}, requests.ConnectionError, id="network"
        ),
        pytest.param({"body": chunk("Hello")}, IncompleteReplyError, id="broken off"),
    ],
)
def test_after_a_failure_of_these_kinds_the_chat_is_not_looked_up_again(mock, refusal, kind):
    add_classic(mock, refusal, CLASSIC_ANSWER)
    mock.get(SITE + "/", body=classic_box(nonce="fresh"))
    with pytest.raises(kind):
        ChatgptFree(SITE).complete("Hi")
    assert (len(page_requests(mock)), len(forms(mock))) == (1, 1)


def test_an_expired_nonce_heals_behind_a_cache():
    nonces = iter(["stale", "fresh"])

    def answer(handler, form):
        if form["_wpnonce"] == "fresh":
            return classic_answer(handler, form)
        return handler.whole("The link has expired.", 403)

    with (
        Site(answer, lambda handler: handler.whole(classic_box(next(nonces)))) as site,
        CachingSession() as session,
    ):
        assert "stale" in "".join(map(bytes.decode, session.get(site.url + "/").iter_content(1)))
        assert ChatgptFree(site.url, session=session).complete("Hi there") == "Hi there"


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize(
    "words",
    ["Security check failed.", "セキュリティチェックに失敗しました", "Something else."],
    ids=["English", "Japanese", "other"],
)
@pytest.mark.parametrize(
    "renewal", WAYS, ids=["fresh", "the same", "no such action", "failure", "nonsense"]
)
def test_a_refusing_current_site_is_asked_again_with_a_fresh_nonce(mock, step, words, renewal):
    pages = [CURRENT_PAGE, CURRENT_PAGE.replace("5bbad886de", "fresh")]
    current_site(mock, renewal, step, words, pages)
    assert ChatgptFree(SITE).complete("Hi", model="DeepSeek") == "Hello, wörld 🌍"
    look = ["get_nonce"] if renewal is WAYS[0] else ["get_nonce", "page"]
    assert actions(mock) == ["page", *ASKED[step], *look, *ASKED[2]]
    assert {form["bot_id"] for form in forms(mock)} == {"25872"}


@pytest.mark.parametrize(
    ("step", "words"),
    [
        pytest.param(1, "HTTP 403: Not here.", id="first step"),
        pytest.param(2, "Not here.", id="second step"),
    ],
)
@pytest.mark.parametrize(
    "renewal", WAYS[1:], ids=["the same", "no such action", "failure", "nonsense"]
)
def test_a_refusing_current_site_is_asked_once_if_nothing_changed(mock, step, words, renewal):
    current_site(mock, renewal, step, "Not here.")
    with pytest.raises(ChatgptFreeError, match=f"^{words}$") as caught:
        ChatgptFree(SITE).complete("Hi")
    assert caught.type is ChatgptFreeError
    assert actions(mock) == ["page", *ASKED[step], "get_nonce", "page"]


def test_a_renewed_nonce_that_is_refused_too_is_an_error(mock):
    current_site(mock, renewed("as bad"))
    with pytest.raises(ChatgptFreeError, match="^HTTP 403: Security check failed.$") as caught:
        ChatgptFree(SITE).complete("Hi")
    assert caught.type is ChatgptFreeError
    assert actions(mock) == ["page", "cache_sse_message", "get_nonce", "cache_sse_message"]


def test_a_renewed_nonce_serves_every_bot(mock):
    current_site(mock, renewed("fresh"))
    bot = ChatgptFree(SITE)
    bot.complete("Hi", model="DeepSeek")
    bot.complete("Hi")
    assert actions(mock).count("get_nonce") == 1


def test_a_client_works_on_after_the_plugin_was_updated_or_put_back(mock):
    site = ChangingSite(mock)
    site.show(CLASSIC_PAGE)
    bot = ChatgptFree(SITE)
    assert bot.complete("Hi") == "classic"
    site.show(CURRENT_PAGE, "25871", "25872")
    assert bot.complete("Hi") == "bot 25871"
    site.show(CLASSIC_PAGE)
    assert bot.complete("Hi") == "classic"


@pytest.mark.parametrize(
    ("model", "answers"),
    [
        pytest.param(None, ["25871", "7"], id="first bot"),
        pytest.param("DeepSeek", ["25872", "8"], id="named bot"),
    ],
)
def test_a_client_works_on_after_a_bot_was_replaced(mock, model, answers):
    site = ChangingSite(mock)
    site.show(CURRENT_PAGE, "25871", "25872")
    bot = ChatgptFree(SITE)
    assert bot.complete("Hi", model=model) == "bot " + answers[0]
    site.show(current_box(7) + current_box(8, name="DeepSeek"), "7", "8")
    assert bot.complete("Hi", model=model) == "bot " + answers[1]


def test_if_a_bot_is_gone_for_good_the_error_names_those_that_are_there(mock):
    site = ChangingSite(mock)
    site.show(CURRENT_PAGE, "25871", "25872")
    bot = ChatgptFree(SITE)
    bot.complete("Hi", model="DeepSeek")
    site.show(current_box(), "25871")
    with pytest.raises(ValueError, match=r"no model 'DeepSeek' on .* ChatGPT 5 Nano \(25871\)"):
        bot.complete("Hi", model="DeepSeek")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(
            {
                "status": 400,
                "json": {
                    "success": False,
                    "data": {"message": "No message.", "code": "empty_data_to_cache"},
                },
            },
            "HTTP 400: No message.",
            id="no message",
        ),
        pytest.param(
            {
                "status": 403,
                "json": {
                    "success": False,
                    "data": {"message": "Not here.", "code": "embed_not_available"},
                },
            },
            "HTTP 403: Not here.",
            id="not here",
        ),
        pytest.param(
            {"status": 500, "body": "<title>Error</title><p>There has been a critical error."},
            "HTTP 500: Error There has been a critical error.",
            id="HTML error",
        ),
        pytest.param(
            {"status": 200, "body": "<p>Down for maintenance"},
            "HTTP 200: Down for maintenance",
            id="HTML",
        ),
        pytest.param(
            {"status": 200, "json": {"success": True, "data": {}}},
            'HTTP 200: {"success": true, "data": {}}',
            id="no cache key",
        ),
        pytest.param(
            {"status": 500, "body": '<h1>Oh no</h1><script>\n{"@context": 1}\n</script>'},
            "HTTP 500: Oh no",
            id="script",
        ),
        pytest.param(
            {"status": 200, "json": {"success": False, "data": "Sorry"}},
            "HTTP 200: Sorry",
            id="plain words",
        ),
        pytest.param({"status": 200, "body": ""}, "HTTP 200: OK", id="nothing"),
    ],
)
def test_an_error_at_the_first_step_has_the_sites_words(mock, answer, words):
    mock.get(SITE + "/", body=CURRENT_PAGE)
    mock.post(AJAX, **answer)
    with pytest.raises(ChatgptFreeError, match=f"^{re.escape(words)}$"):
        ChatgptFree(SITE).complete("Hi")
    asked = [action for action in actions(mock) if action != "get_nonce"]
    assert asked == ["page", "cache_sse_message", "page"]


def test_warnings_before_the_cache_key_are_ignored(mock):
    mock.get(SITE + "/", body=CURRENT_PAGE)
    mock.post(AJAX, body="\ufeff" + WARNING + CACHED)
    mock.get(AJAX, body=CURRENT_ANSWER)
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"


@pytest.mark.parametrize("key", ["\ud800", "\0", 7.5, None, [], {}, True], ids=ascii)
def test_a_cache_key_that_cannot_be_sent_is_the_sites_error(mock, key):
    mock.get(SITE + "/", body=CURRENT_PAGE)
    mock.post(AJAX, json={"success": True, "data": {"cache_key": key}})
    with pytest.raises(ChatgptFreeError, match="^HTTP 200: "):
        ChatgptFree(SITE).complete("Hi")


@pytest.mark.parametrize("nonce", ["\ud800", "\0", None, ["fresh"]], ids=ascii)
def test_a_fresh_nonce_that_cannot_be_sent_is_passed_over(mock, nonce):
    mock.get(SITE + "/", body=CURRENT_PAGE)
    mock.post(AJAX, status=403, json=NONCE_FAILURE)
    mock.post(AJAX, json={"success": True, "data": {"nonce": nonce}})
    with pytest.raises(ChatgptFreeError, match="Security check failed"):
        ChatgptFree(SITE).complete("Hi")


def test_after_an_error_the_object_can_be_used_again(mock):
    add_classic(
        mock,
        chunk("Hel"),
        {"status": 500},
        {"body": requests.ConnectionError("gone")},
        CLASSIC_ANSWER,
    )
    bot = ChatgptFree(SITE)
    for kind in (IncompleteReplyError, ChatgptFreeError, requests.ConnectionError):
        with pytest.raises(kind):
            bot.complete("Hi")
    assert bot.complete("Hi") == "Hello, wörld 🌍"


# ---------------------------------------------------------- Requests: hosts, secrets and redirects


def test_a_redirect_of_the_page_is_followed_and_is_the_origin(mock):
    location = "https://site.example/help/"
    mock.get("http://site.example/", status=301, headers={"Location": location})
    add_classic(mock, CLASSIC_ANSWER, url=location)
    assert ChatgptFree("http://site.example/").complete("Hi") == "Hello, wörld 🌍"
    headers = mock.calls[-1].request.headers
    assert (headers["Origin"], headers["Referer"]) == (SITE, location)


@pytest.mark.parametrize("home", ["https://site.example/", "http://site.example/"])
def test_the_callers_cookies_headers_and_auth_go_to_the_site(mock, home):
    if home != SITE + "/":
        mock.get(home, status=302, headers={"Location": SITE + "/"})
    add_classic(mock, CLASSIC_ANSWER)
    ChatgptFree(home).complete(
        "Hi", cookies={"a": "b"}, headers={"Cookie2": "c"}, auth=("me", "pw")
    )
    for call in list(mock.calls)[-2:]:
        headers = call.request.headers
        assert (headers["Cookie"], headers["Cookie2"]) == ("a=b", "c")
        assert headers["Authorization"] == "Basic bWU6cHc="


PUNYCODE = "https://xn--bcher-kva.example/"


@pytest.mark.parametrize(
    ("home", "first", "location", "page"),
    [
        ("https://bücher.example/", PUNYCODE, None, PUNYCODE),
        ("https://BÜCHER.example/", PUNYCODE, PUNYCODE + "help/", PUNYCODE + "help/"),
        (PUNYCODE, PUNYCODE, "https://bücher.example/help/", PUNYCODE + "help/"),
        (
            "https://Site.Example:443/",
            "https://site.example:443/",
            "https://site.example/help/",
            "https://site.example/help/",
        ),
    ],
    ids=["letters", "capitals", "letters in a redirect", "port"],
)
def test_what_the_caller_gave_reaches_a_site_however_spelt(mock, home, first, location, page):
    if location:
        mock.get(first, status=302, headers={"Location": location.encode().decode("latin-1")})
    mock.get(page, body=CLASSIC_PAGE)
    mock.post(urljoin(page, "/wp-admin/admin-ajax.php"), body=CLASSIC_ANSWER)
    ChatgptFree(home).complete("Hi", **SECRETS)
    assert len(mock.calls) == (3 if location else 2)
    assert all(secret_headers(call.request.headers) for call in mock.calls)


@PROTOCOLS
def test_a_password_in_the_address_goes_into_auth_and_nothing_else(answer, page):
    moved = threading.Event()

    def first(handler):
        if moved.is_set():
            return handler.whole(page)
        moved.set()
        return redirect_to(site.url + "/help/")(handler)

    with Site(answer, first) as site:
        assert ChatgptFree(with_password(site)).complete("Hello you") == "Hello you"
        assert {headers["Authorization"] for _, _, headers, _ in site.asked} == {
            "Basic bWU6cEBzcy1zZWNyZXQ="
        }
        assert len(site.asked) > 2
        for _, path, headers, form in site.asked:
            shown = (path, headers["Referer"], headers["Origin"], headers["Host"], form)
            assert "secret" not in str(shown)


def test_user_and_password_of_an_address_are_sent_as_auth_alone(mock):
    add_classic(mock, CLASSIC_ANSWER)
    mock.get(SITE + "/empty", body="")
    ChatgptFree("https://me:secret@site.example/#top").complete("Hi")
    assert "secret" not in str(forms(mock))
    for call in mock.calls:
        assert call.request.headers["Authorization"] == "Basic bWU6c2VjcmV0"
        assert "secret" not in str(call.request.headers) + call.request.url
    assert (call.request.headers["Origin"], call.request.headers["Referer"]) == (SITE, SITE + "/")
    with pytest.raises(ChatNotFoundError, match=" on https://site.example/empty$"):
        ChatgptFree("https://me:secret@site.example/empty#top").complete("Hi")


@pytest.mark.parametrize(
    "page",
    [
        "no chat",
        classic_box(nonce=""),
        reset_connection,
        lambda handler: handler.whole("<h1>No", 500),
        lambda handler: handler.whole("", 401),
        lambda handler: handler.whole("<title>Just a moment...</title>", 403),
        redirect_to("/"),
        redirect_to("http://["),
        redirect_to("http://you:othersecret@["),
        stall,
    ],
    ids=[
        "chat",
        "nonce",
        "break",
        "500",
        "401",
        "challenge",
        "loop",
        "nonsense",
        "nonsense with a password",
        "stall",
    ],
)
def test_no_error_shows_a_password(page):
    with (
        Site(None, page) as site,
        pytest.raises((ChatgptFreeError, requests.RequestException)) as caught,
    ):
        ChatgptFree(with_password(site), timeout=0.3).complete("Hi")
    lines = traceback.format_exception(caught.type, caught.value, caught.tb)
    assert "secret" not in "".join(lines) + repr(caught.value)


REDIRECTED = (
    "HTTP {}: http://HOST/wp-admin/admin-ajax.php redirects to "
    f"http://other.example/{'x' * 179}, which was not followed"
)


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirected_request_shows_no_password_and_is_told_in_short(status):
    location = "http://you:othersecret@other.example/" + "x" * 5000 + "\x07"
    caught = failing_call(answer=redirect_to(location, status))
    assert caught.words == REDIRECTED.format(status)
    assert caught.words.isprintable()


def test_a_repr_and_a_wrong_address_show_no_password():
    assert (
        repr(ChatgptFree("https://me:secret@site.example/help/"))
        == "ChatgptFree('https://site.example/help/')"
    )
    for wrong in (
        "ftp://me:secret@site.example/",
        "me:secret@site.example",
        "https://me:secret@[",
        "https://me:secret@h:99999/",
    ):
        with pytest.raises(ValueError, match="begins with http") as caught:
            ChatgptFree(wrong)
        assert "secret" not in str(caught.value)


def test_a_page_that_redirects_without_end_is_an_error(mock):
    mock.get(SITE + "/", status=302, headers={"Location": "/"})
    with pytest.raises(requests.TooManyRedirects):
        ChatgptFree(SITE).complete("Hi")
    assert len(mock.calls) == 10


@pytest.mark.parametrize(
    "location",
    [
        "http://[",
        "http://h:99999/",
        "http://a..b/",
        "http://h:port/",
        "https:///x",
        "http://" + "a" * 64 + ".example/",
        "http://\xff\xfe/",
        "/\xff\xfe",
        "ftp://127.0.0.1/",
        "javascript:alert(1)",
        "data:text/html,x",
        "http://[::1",
        "http://[v1.x]:/",
        "//[",
        "http://*.example/",
        "http://\xc3\xa9\xe2\x80\xae" + "b" * 70 + "/",
    ],
    ids=[
        "open bracket",
        "big port",
        "dots",
        "port of letters",
        "no host",
        "long label",
        "bytes for a host",
        "bytes for a path",
        "ftp",
        "javascript",
        "data",
        "open IPv6",
        "IPvFuture",
        "bracket without a scheme",
        "star",
        "long label of UTF-8",
    ],
)
@pytest.mark.parametrize("what", ["page", "answer"])
def test_a_redirect_to_nonsense_is_the_sites_error(what, location):
    send = redirect_to(location)
    caught = failing_call(answer=send) if what == "answer" else failing_call(send)
    assert caught.type is ChatgptFreeError
    assert "redirects to" in caught.words


@pytest.mark.parametrize(
    "location",
    ["/hé/?ü=ß", "http://{host}/hé/?ü=ß", "/h%C3%A9/?%C3%BC=%C3%9F"],
    ids=["path", "address", "quoted"],
)
def test_raw_utf_8_in_a_redirect_is_asked_for_as_requests_does(location):
    asked = []

    def page(handler):
        asked.append(handler.path)
        if len(asked) == 1:
            raw = location.format(host=site.url[7:]).encode()
            return redirect_to(raw.decode("latin-1"))(handler)
        return handler.whole(CLASSIC_PAGE)

    def answer(handler, form):
        return classic_answer(handler, form) if "message" in form else page(handler)

    with Site(answer, page) as site:
        assert ChatgptFree(site.url).complete("Hi") == "Hi"
    assert asked[1] == "/h%C3%A9/?%C3%BC=%C3%9F"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("page", [CLASSIC_PAGE, LOCAL_CURRENT], ids=["classic", "current"])
def test_a_post_that_is_redirected_is_an_error_and_is_not_followed(status, page):
    with (
        Site(classic_answer) as stranger,
        Site(redirect_to(stranger.url + "/steal", status), page) as site,
    ):
        with pytest.raises(
            ChatgptFreeError,
            match=f"^HTTP {status}: .* redirects to {stranger.url}/steal, which was not",
        ):
            ChatgptFree(site.url).complete("Hi")
        assert stranger.asked == []


def test_a_stream_that_is_redirected_is_an_error_and_is_not_followed():
    def answer(handler, form):
        current_answer(handler, form) if "message" in form else redirect_to(stranger.url)(handler)

    with Site(classic_answer) as stranger, Site(answer, LOCAL_CURRENT) as site:
        with pytest.raises(ChatgptFreeError, match="which was not followed"):
            ChatgptFree(site.url).complete("Hi")
        assert stranger.asked == []


@pytest.mark.parametrize(
    ("answer", "page"),
    [
        pytest.param(classic_answer, lambda url: params_script(url) + classic_box(), id="classic"),
        pytest.param(current_answer, lambda url: current_box(ajax_url=url), id="current"),
    ],
)
def test_an_ajax_address_on_another_host_is_not_used(answer, page):
    with Site(answer) as stranger:
        address = stranger.url.replace("127.0.0.1", "localhost") + "/wp-admin/admin-ajax.php"
        with Site(answer, page(address)) as site:
            assert ChatgptFree(site.url).complete("Hi") == "Hi"
        with Site(answer, page(stranger.url + "/wp-admin/admin-ajax.php")) as site:
            assert ChatgptFree(site.url).complete("Hi") == "Hi"
        assert stranger.asked == []


# ----------------------------------------------------- Requests: checks that only a browser passes


@pytest.mark.parametrize(
    "challenge",
    [CHALLENGE, {**CHALLENGE, "headers": {}}, {**CHALLENGE, "status": 503, "body": ""}],
    ids=["header and title", "title", "header"],
)
@pytest.mark.parametrize("where", ["page", "answer"])
def test_a_challenge_says_what_to_do(mock, challenge, where):
    mock.get(SITE + "/", **(challenge if where == "page" else {"body": CLASSIC_PAGE}))
    mock.post(AJAX, **challenge)
    with pytest.raises(
        BlockedError, match="https://site.example/.*browser.*cf_clearance.*User-Agent"
    ):
        ChatgptFree(SITE).complete("Hi")


CHECK = {"error": "Please prove that you are human.", "ts_required": True}


@pytest.mark.parametrize(
    "ajax",
    [
        lambda mock: add_classic(mock, data(CHECK)),
        lambda mock: add_classic(mock, {"json": CHECK}),
        lambda mock: add_classic(mock, {"json": CHECK, "status": 403}),
        lambda mock: add_current(mock, CURRENT_HEAD + "event: error\n" + data(CHECK)),
        lambda mock: (mock.get(SITE + "/", body=CURRENT_PAGE), mock.post(AJAX, json=CHECK)),
        lambda mock: (
            mock.get(SITE + "/", body=CURRENT_PAGE),
            mock.post(AJAX, json=CHECK, status=403),
        ),
    ],
    ids=["stream", "json", "refusal", "current stream", "first step", "refused first step"],
)
def test_a_check_of_the_sites_own_is_a_blocked_error_in_its_words(mock, ajax):
    ajax(mock)
    with pytest.raises(BlockedError, match=r"Please prove that you are human\."):
        ChatgptFree(SITE).complete("Hi")


# -------------------------------------------------------------------------------- Requests: limits


def too_many(mock, where, retry_after):
    """The error of a site whose page or answer says that there were too many requests."""
    limit = {"status": 429, "body": "<h1>Slow down</h1>", "headers": {"Retry-After": retry_after}}
    if retry_after is None:
        del limit["headers"]
    mock.get(SITE + "/", **(limit if where == "page" else {"body": CLASSIC_PAGE}))
    mock.post(AJAX, **limit)
    with pytest.raises(RateLimitError) as caught:
        ChatgptFree(SITE).complete("Hi")
    return caught.value


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        pytest.param("30", 30, id="seconds"),
        pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 0, id="a past date"),
        pytest.param(None, None, id="no header"),
        pytest.param("", None, id="nothing"),
        pytest.param("soon", None, id="a word"),
        pytest.param("²", None, id="a digit that is no number"),
        pytest.param("-5", None, id="a negative number"),
        pytest.param("10000000000", None, id="centuries"),
        pytest.param("9" * 30, None, id="30 digits"),
        pytest.param("9" * 5000, None, id="5000 digits"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", None, id="a far date"),
        pytest.param("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", None, id="no date"),
        pytest.param("3434\tApr\t,\t0\xe9", None, id="what breaks the parser of dates"),
    ],
)
@pytest.mark.parametrize("where", ["page", "answer"])
def test_too_many_requests_say_how_long_to_wait(mock, retry_after, seconds, where):
    error = too_many(mock, where, retry_after)
    again = "" if seconds is None else f" (try again in {seconds} s)"
    assert (str(error), error.retry_after) == ("HTTP 429: Slow down" + again, seconds)


@pytest.mark.parametrize("where", ["page", "answer"])
def test_too_many_requests_say_until_when_to_wait(mock, where):
    in_an_hour = email.utils.formatdate(time.time() + 3600, usegmt=True)
    error = too_many(mock, where, in_an_hour)
    assert 3500 <= error.retry_after <= 3600
    assert re.fullmatch(r"HTTP 429: Slow down \(try again in 3[56]\d\d s\)", str(error))


# -------------------------------------------------------------------- Requests: sessions of others


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
    assert closed


def test_a_session_that_is_not_requests_own_gets_its_other_keywords():
    session = stub_with_bots()
    bot = ChatgptFree(SITE, session=session, impersonate="chrome")
    bot.complete("Hi", thread=7)
    bot.conversation(thread=8).complete("Hi")
    assert [options["impersonate"] for options in session.options] == ["chrome"] * 5
    assert [options["thread"] for options in session.options] == [7] * 3 + [8] * 2


@pytest.mark.parametrize(
    "respond",
    [Answer, response_of_a_mock, response_of_a_cache],
    ids=["bare", "of a mock", "of a cache"],
)
def test_responses_of_other_sessions_are_read(respond):
    session = StubSession(CLASSIC_PAGE, CLASSIC_ANSWER, respond=respond)
    assert ChatgptFree(SITE, session=session).complete("Hi") == "Hello, wörld 🌍"
    assert [type(options["headers"]) for options in session.options] == [dict, dict]


@pytest.mark.parametrize(
    ("status", "headers", "kind", "words"),
    [
        (429, {"retry-after": "7"}, RateLimitError, "try again in 7 s"),
        (302, {"Location": "/elsewhere"}, ChatgptFreeError, "redirects to /elsewhere"),
    ],
    ids=["limit", "redirect"],
)
def test_headers_in_a_plain_dict_are_understood(status, headers, kind, words):
    def respond(body, url):
        if body == CLASSIC_PAGE:
            return Answer(body, url=url)
        return Answer(body, url=url, status=status, headers=headers)

    session = StubSession(CLASSIC_PAGE, "Slow down", respond=respond)
    with pytest.raises(kind, match=words):
        ChatgptFree(SITE, session=session).complete("Hi")


def test_a_session_of_anothers_gets_no_proxies_that_nobody_gave():
    """niquests fails for an empty one, and the session's own proxies are its owner's choice."""
    session = StubSession(CLASSIC_PAGE, CLASSIC_ANSWER)
    ChatgptFree("http://127.0.0.1:8000/", session=session).complete("Hi")
    assert [options.get("proxies") for options in session.options] == [None, None]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OthersTimeout("x"), requests.Timeout),
        (OthersError("curl: (56)"), requests.ConnectionError),
    ],
    ids=["time-out", "error"],
)
def test_errors_of_other_libraries_become_requests_own(error, kind):
    session = StubSession(CLASSIC_PAGE, error)
    with pytest.raises(kind):
        ChatgptFree(SITE, session=session).complete("Hi", timeout=7)


def test_an_error_of_urllib3s_own_becomes_requests_own():
    """requests-cache reads bodies itself, and lets these through."""

    def respond(body, url):
        raise urllib3.exceptions.ProtocolError("Connection broken: IncompleteRead(0 bytes read)")

    with pytest.raises(requests.ConnectionError):
        ChatgptFree(SITE, session=StubSession(CLASSIC_PAGE, respond=respond)).complete("Hi")


# ------------------------------------------------------------------------------------------ Client


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


def leave_at_once(texts):
    for _ in texts:
        break


def raise_in_loop(texts):
    with pytest.raises(KeyError):
        for text in texts:
            {}[text]


def interrupt(texts):
    next(texts)
    with pytest.raises(KeyboardInterrupt):
        texts.throw(KeyboardInterrupt)


def send_refusal(handler, form):
    handler.whole(json.dumps({"status": "error", "success": False, "msg": "Banned word"}))


def say_nothing(handler, form):
    handler.chunks(CURRENT_HEAD if "cache_key" in form else DONE)


JPEG = b"\xff\xd8\xff\xe0" + b"\n" * 9
WEBP = b"RIFF\x0a\0\0\nWEBPVP8 "


class PathLike:
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


class Terse(ChatgptFree):
    url = SITE


def test_the_attributes_are_those_of_gpt4free():
    assert (ChatgptFree.url, ChatgptFree.working) == ("https://chatgptfree.ai", True)
    assert ChatgptFree.model_aliases == {"gpt-4o-mini": ChatgptFree.default_model}
    bot = ChatgptFree(SITE)
    assert (bot.url, bot._nonce, bot._post_id) == (SITE, None, None)


def test_the_functions_are_the_methods_of_one_object():
    assert chatgptfree.stream.__self__ is chatgptfree.complete.__self__
    assert isinstance(chatgptfree.stream.__self__, ChatgptFree)


def test_complete_returns_a_reply(mock):
    add_classic(mock, CLASSIC_ANSWER)
    reply = ChatgptFree(SITE).complete("Hi")
    assert (type(reply), reply) == (Reply, "Hello, wörld 🌍")


def test_calls_of_gpt4free_work_once_async_is_dropped(mock):
    add_classic(mock, CLASSIC_ANSWER)
    provider = ChatgptFree(SITE)
    messages = [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}]
    texts = list(provider.stream(model=provider.default_model, messages=messages, proxy=None))
    assert "".join(texts) == "Hello, wörld 🌍"
    assert forms(mock)[0]["message"] == "System: Be terse.\nUser: Hi\nAssistant:"


def test_async_code_calls_it_in_a_thread():
    async def ask_together(bot):
        return await asyncio.gather(
            *(asyncio.to_thread(bot.complete, prompt) for prompt in ("one", "two", "three"))
        )

    with Site(classic_answer) as site, ChatgptFree(site.url) as bot:
        assert asyncio.run(ask_together(bot)) == ["one", "two", "three"]


# -------------------------------------------------------------------------------- Client: pickling


def test_a_client_can_be_pickled_with_its_address_and_options(mock):
    add_current(mock, CURRENT_ANSWER)
    bot = ChatgptFree(SITE, model="DeepSeek", headers={"X-Team": "blue"}, timeout=7)
    bot.complete("Hi")
    copy = pickle.loads(pickle.dumps(bot))
    assert copy.complete("Hi") == "Hello, wörld 🌍"
    assert (copy.url, options_of(copy)) == (bot.url, options_of(bot))
    assert [form["bot_id"] for form in forms(mock)] == ["25872", "25872"]
    assert mock.calls[-1].request.headers["X-Team"] == "blue"
    assert len({fields["session_id"] for fields in forms(mock, "GET") if fields}) == 2


@pytest.mark.parametrize(
    "bot",
    [ChatgptFree(SITE + "/help/", timeout=7, headers={"X": "y"}, model="DeepSeek"), Terse()],
    ids=["options", "subclass"],
)
def test_a_pickled_client_has_the_same_address_and_options(bot):
    copy = pickle.loads(pickle.dumps(bot))
    assert (type(copy), copy.url, repr(copy)) == (type(bot), bot.url, repr(bot))
    assert options_of(copy) == options_of(bot)


def test_a_client_with_a_callers_session_says_why_it_cannot_be_pickled():
    with pytest.raises(TypeError, match="with a session of the caller's cannot be pickled"):
        pickle.dumps(ChatgptFree(SITE, session=requests.Session()))


@pytest.mark.parametrize(
    "kind",
    [ChatgptFreeError, ChatNotFoundError, BlockedError, RateLimitError, IncompleteReplyError],
)
def test_an_error_can_be_pickled_with_all_it_holds(kind):
    error = error_with(kind, "It failed.", partial="some text", retry_after=7.0)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (kind, "It failed.")
    assert (copy.partial, copy.retry_after) == ("some text", 7.0)


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        pytest.param(send_limit, RateLimitError, id="limit"),
        pytest.param(send_challenge, BlockedError, id="challenge"),
        pytest.param(reset_connection, requests.ConnectionError, id="reset"),
        pytest.param(send_refusal, ChatgptFreeError, id="refusal"),
    ],
)
def test_an_error_of_a_call_can_be_pickled(fail, kind, protocol):
    with Site(fail, LOCAL_PAGES[protocol]) as site, pytest.raises(kind) as caught:
        ChatgptFree(site.url).complete("Hi")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), copy.args) == (caught.type, caught.value.args)


def test_a_reply_can_be_pickled():
    copy = pickle.loads(pickle.dumps(Reply("Hello")))
    assert (type(copy), copy) == (Reply, "Hello")


# ----------------------------------------------------------------------------------- Conversations


def test_a_current_site_gets_the_new_message_only_in_one_conversation(mock):
    add_current(mock, CURRENT_ANSWER)
    chat = ChatgptFree(SITE).conversation(system="Be terse.")
    assert chat.complete("My name is Ann.") == "Hello, wörld 🌍"
    assert list(chat.stream("What is my name?")) == ["Hel", "lo, wörld 🌍"]
    first = "System: Be terse.\nUser: My name is Ann.\nAssistant:"
    assert [form["message"] for form in forms(mock)] == [first, "What is my name?"]
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


def test_the_first_message_without_a_system_text_goes_as_it_is(protocol):
    with Site(say_hello, LOCAL_PAGES[protocol]) as site:
        ChatgptFree(site.url).conversation().complete("My name is Ann.")
        assert messages_to(site) == ["My name is Ann."]


def test_messages_are_what_was_said_and_can_be_saved_as_json(protocol):
    with Site(say_hello, LOCAL_PAGES[protocol]) as site:
        chat = ChatgptFree(site.url).conversation("Be terse.")
        assert chat.messages == [{"role": "system", "content": "Be terse."}]
        chat.complete("My name is Ann.")
    assert json.loads(json.dumps(chat.messages)) == [
        {"role": "system", "content": "Be terse."},
        *ASKED_BEFORE,
    ]


def test_messages_put_back_into_a_new_conversation_go_along_once(protocol):
    with Site(say_hello, LOCAL_PAGES[protocol]) as site:
        chat = ChatgptFree(site.url).conversation()
        chat.messages = json.loads(json.dumps(ASKED_BEFORE))
        chat.complete("What is my name?")
        chat.complete("And yours?")
        assert messages_to(site)[0] == dialogue_text([*ASKED_BEFORE, NEW])
        assert messages_to(site)[1] == (
            "And yours?" if protocol == "current" else dialogue_text(chat.messages[:-1])
        )
        assert len(chat.messages) == 6


def test_streams_of_two_conversations_can_be_read_by_turns(protocol):
    def answer(handler, form):
        answer_words(handler, form, "one ", "two ", "three")

    with Site(answer, LOCAL_PAGES[protocol]) as site, ChatgptFree(site.url) as bot:
        chats = [bot.conversation(), bot.conversation()]
        for turn in "12":
            pairs = list(zip(*(chat.stream(f"{name}{turn}") for name, chat in zip("AB", chats))))
            assert pairs == [("one ", "one "), ("two ", "two "), ("three", "three")]
        said = [[message["content"] for message in chat.messages[::2]] for chat in chats]
        assert said == [["A1", "A2"], ["B1", "B2"]]
        if protocol == "current":
            ids = [form["conversation_uuid"] for form in streams_of(site)]
            assert (ids[0], ids[1]) == (ids[2], ids[3])
            assert ids[0] != ids[1]
            assert len({form["session_id"] for form in streams_of(site)}) == 1
            assert messages_to(site) == ["A1", "B1", "A2", "B2"]
        else:
            assert "B1" not in messages_to(site)[2]
            assert "A1" not in messages_to(site)[3]


def test_conversations_of_one_client_run_in_threads_of_their_own(protocol):
    def talk(name):
        chat = bot.conversation(f"You are {name}.")
        for turn in range(5):
            chat.complete(f"{name}, {turn}")
        return chat.messages

    with (
        Site(say_hello, LOCAL_PAGES[protocol]) as site,
        ChatgptFree(site.url) as bot,
        ThreadPoolExecutor(8) as pool,
    ):
        for i, messages in enumerate(pool.map(talk, [f"bot {i}" for i in range(8)])):
            assert [message["content"] for message in messages[1::2]] == [
                f"bot {i}, {turn}" for turn in range(5)
            ]
        assert len(site.pages()) == 1
        assert len({form["conversation_uuid"] for form in streams_of(site)}) == (
            8 if protocol == "current" else 0
        )


def test_what_was_heard_of_a_broken_answer_counts_as_the_answer(protocol):
    broken = []

    def answer(handler, form):
        if is_first_step(form) or broken:
            return say_hello(handler, form)
        broken.append(form)
        return answer_words(handler, form, "Hello ", "A", end=False)

    with Site(answer, LOCAL_PAGES[protocol]) as site, ChatgptFree(site.url) as bot:
        chat = bot.conversation("Be terse.")
        with pytest.raises(IncompleteReplyError) as caught:
            chat.complete("My name is Ann.")
        assert caught.value.partial == "Hello A"
        assert chat.messages[1:] == [ASKED_BEFORE[0], {"role": "assistant", "content": "Hello A"}]
        assert chat.complete("What is my name?") == "Hello Ann."
        assert messages_to(site)[1] == message_for(protocol, chat.messages[:-1])
        assert len(chat.messages) == 5


@pytest.mark.parametrize(
    "stop", [leave_at_once, raise_in_loop, interrupt], ids=lambda stop: stop.__name__
)
def test_what_was_heard_of_an_answer_that_was_left_counts_as_it(stop, protocol):
    with Site(say_hello, LOCAL_PAGES[protocol]) as site, ChatgptFree(site.url) as bot:
        chat = bot.conversation()
        stop(chat.stream("My name is Ann."))
        assert chat.messages == [ASKED_BEFORE[0], {"role": "assistant", "content": "Hello "}]
        chat.complete("What is my name?")
        assert messages_to(site)[1] == message_for(protocol, chat.messages[:-1])


def test_what_was_shown_before_an_interrupt_counts_as_the_answer(protocol, monkeypatch):
    def interrupted(*_, end="", **__):
        if "Hello" in end:
            monkeypatch.undo()
            raise KeyboardInterrupt

    with Site(say_hello, LOCAL_PAGES[protocol]) as site, ChatgptFree(site.url) as bot:
        chat = bot.conversation()
        monkeypatch.setattr(chatgptfree, "print", interrupted, raising=False)
        with pytest.raises(KeyboardInterrupt) as caught:
            chatgptfree.show(chat.stream("My name is Ann."))
        chat.complete("What is my name?")
        assert [message["content"] for message in chat.messages[:3]] == [
            "My name is Ann.",
            "Hello ",
            "What is my name?",
        ]
        assert messages_to(site)[1] == message_for(protocol, chat.messages[:-1])
    del caught


def test_a_message_that_is_not_read_is_not_said(protocol):
    with Site(say_hello, LOCAL_PAGES[protocol]) as site:
        chat = ChatgptFree(site.url).conversation()
        chat.stream("My name is Ann.").close()
        assert chat.messages == site.asked == []


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        pytest.param(send_refusal, ChatgptFreeError, id="refusal"),
        pytest.param(send_limit, RateLimitError, id="limit"),
        pytest.param(send_challenge, BlockedError, id="challenge"),
        pytest.param(reset_connection, requests.ConnectionError, id="reset"),
        pytest.param(say_nothing, ChatgptFreeError, id="no text"),
    ],
)
@pytest.mark.parametrize("turn", [1, 2])
def test_a_turn_that_fails_before_any_text_leaves_messages_alone(fail, kind, turn, protocol):
    failing = []

    def answer(handler, form):
        if failing and not (is_first_step(form) and fail is say_nothing):
            return fail(handler, form)
        return say_hello(handler, form)

    with Site(answer, LOCAL_PAGES[protocol]) as site, ChatgptFree(site.url) as bot:
        chat = bot.conversation("Be terse.")
        if turn == 2:
            chat.complete("My name is Ann.")
        before = list(chat.messages)
        failing.append(True)
        with pytest.raises(kind):
            chat.complete("Will this fail?")
        assert chat.messages == before
        failing.clear()
        assert chat.complete("What is my name?") == "Hello Ann."
        known = protocol == "current" and turn == 2
        assert messages_to(site)[-1] == (
            "What is my name?" if known else dialogue_text([*before, NEW])
        )
        assert len({form["conversation_uuid"] for form in streams_of(site)}) == (
            1 if protocol == "current" else 0
        )


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        pytest.param({"model": "gpt-9"}, ValueError, id="model"),
        pytest.param({"web_search": True}, ValueError, id="web_search"),
        pytest.param({"image": "no such file.png"}, FileNotFoundError, id="image"),
        pytest.param({"timout": 3}, TypeError, id="keyword"),
    ],
)
def test_wrong_options_of_a_turn_leave_the_conversation_usable(options, kind, mock):
    add_current(mock, CURRENT_ANSWER)
    chat = ChatgptFree(SITE).conversation()
    with pytest.raises(kind):
        chat.complete("Hi", **options)
    assert chat.messages == forms(mock) == []
    assert chat.complete("Hi") == "Hello, wörld 🌍"


@pytest.mark.parametrize("renewal", ["nonce action", "page"])
def test_a_nonce_that_expires_in_a_conversation_does_not_end_it(renewal, protocol):
    nonce = ["first"]

    def page(handler):
        handler.whole(
            classic_box(nonce[0])
            if protocol == "classic"
            else current_box(nonce=nonce[0], ajax_url=None)
        )

    def answer(handler, form):
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            if renewal == "page":
                return handler.whole("0", 400)
            return handler.whole(json.dumps({"success": True, "data": {"nonce": nonce[0]}}))
        if nonce[0] not in (form.get("_wpnonce"), form.get("_ajax_nonce")):
            return handler.whole("The link you followed has expired.", 403)
        return say_hello(handler, form)

    with Site(answer, page) as site, ChatgptFree(site.url) as bot:
        chat = bot.conversation("Be terse.")
        chat.complete("My name is Ann.")
        nonce[0] = "second"
        assert chat.complete("What is my name?") == "Hello Ann."
        assert messages_to(site)[-1] == message_for(protocol, chat.messages[:-1])
        assert len({form["conversation_uuid"] for form in streams_of(site)}) == (
            1 if protocol == "current" else 0
        )
        assert len(chat.messages) == 5


@pytest.mark.parametrize(("before", "after"), [("classic", "current"), ("current", "classic")])
def test_the_history_goes_along_to_a_plugin_of_the_other_protocol(before, after):
    speaks = [before]

    def answer(handler, form):
        if ("wpaicg" if speaks[0] == "current" else "aipkit") in form["action"]:
            return handler.whole("0", 400)
        return say_hello(handler, form)

    with (
        Site(answer, lambda handler: handler.whole(LOCAL_PAGES[speaks[0]])) as site,
        ChatgptFree(site.url) as bot,
    ):
        chat = bot.conversation("Be terse.")
        chat.complete("My name is Ann.")
        speaks[0] = after
        assert chat.complete("What is my name?") == "Hello Ann."
        assert messages_to(site)[-1] == dialogue_text(
            [{"role": "system", "content": "Be terse."}, *ASKED_BEFORE, NEW]
        )
        chat.complete("And yours?")
        assert messages_to(site)[-1] == (
            "And yours?" if after == "current" else dialogue_text(chat.messages[:-1])
        )
        speaks[0] = before
        chat.complete("Are you back?")
        assert messages_to(site)[-1] == dialogue_text(chat.messages[:-1])


def test_the_history_goes_along_to_the_bot_that_replaces_a_deleted_one():
    bot_id = ["1"]

    def answer(handler, form):
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            return handler.whole("0", 400)
        if form["bot_id"] != bot_id[0] and not is_first_step(form):
            return handler.chunks(
                "event: error\n" + data({"error": "Invalid chatbot specified."}) + CURRENT_DONE
            )
        return say_hello(handler, form)

    with (
        Site(answer, lambda handler: handler.whole(current_box(bot_id[0], ajax_url=None))) as site,
        ChatgptFree(site.url) as bot,
    ):
        chat = bot.conversation()
        chat.complete("My name is Ann.")
        bot_id[0] = "2"
        assert chat.complete("What is my name?") == "Hello Ann."
        assert messages_to(site)[-2:] == ["What is my name?", dialogue_text([*ASKED_BEFORE, NEW])]
        chat.complete("And yours?")
        assert messages_to(site)[-1] == "And yours?"


def test_the_history_goes_along_to_another_bot_of_the_page(mock):
    add_current(mock, CURRENT_ANSWER)
    chat = ChatgptFree(SITE).conversation()
    for model in (None, "DeepSeek", "DeepSeek", None):
        chat.complete("Hi", model=model)
    lengths = [form["message"].count("User: Hi") for form in forms(mock)]
    assert lengths == [0, 2, 0, 4]


def test_the_functions_of_the_module_hold_conversations_too(mock):
    mock.get(ChatgptFree.url + "/", body=CURRENT_PAGE)
    chat = chatgptfree.conversation("Be terse.", timeout=3)
    assert isinstance(chat, chatgptfree.Conversation)
    assert client_of(chat) is chatgptfree.complete.__self__


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        pytest.param("", ValueError, id="no text"),
        pytest.param(" \n", ValueError, id="blanks"),
        pytest.param(None, TypeError, id="None"),
        pytest.param(7, TypeError, id="int"),
        pytest.param(["Hi"], ValueError, id="list"),
    ],
)
def test_a_message_of_a_conversation_is_some_text(message, kind, protocol):
    with Site(say_hello, LOCAL_PAGES[protocol]) as site:
        chat = ChatgptFree(site.url).conversation("Be terse.")
        with pytest.raises(kind):
            chat.stream(message)
        assert site.asked == []


@pytest.mark.parametrize(
    "system", [7, {"role": "system", "content": "Be terse."}], ids=["int", "message"]
)
def test_a_system_text_of_the_wrong_type_is_a_typeerror_at_the_call(system):
    with pytest.raises(TypeError, match=r"system|messages\[0\]"):
        ChatgptFree(SITE).conversation(system).stream("Hi")


def test_what_a_restored_message_lacks_is_named():
    chat = ChatgptFree(SITE).conversation()
    chat.messages = [{"role": "user"}]
    with pytest.raises(ValueError, match=r"messages\[0\] has no 'content'"):
        chat.stream("Hi")


def test_a_conversation_that_was_pickled_takes_its_history_along(protocol):
    with Site(say_hello, LOCAL_PAGES[protocol]) as site, ChatgptFree(site.url) as bot:
        chat = bot.conversation()
        chat.complete("My name is Ann.")
        pickle.loads(pickle.dumps(chat)).complete("What is my name?")
        assert messages_to(site)[-1] == dialogue_text([*ASKED_BEFORE, NEW])
        guests = {form["session_id"] for form in streams_of(site)}
        assert len(guests) == (2 if protocol == "current" else 0)


@pytest.mark.parametrize("answer", ["\ud83d", "a\udfff"], ids=ascii)
def test_a_conversation_goes_on_after_half_a_character(answer):
    chat = ChatgptFree(SITE, session=StubSession(CLASSIC_PAGE, chunk(answer) + DONE)).conversation()
    chat.complete("Hi")
    chat.complete("And now?")
    assert [message["content"] for message in chat.messages[::2]] == ["Hi", "And now?"]


def test_a_conversation_of_a_long_answer_takes_linear_time():
    def cost(count):
        session = StubSession(CLASSIC_PAGE, *[chunk("word")] * count, DONE)
        chat = ChatgptFree(SITE, session=session).conversation()
        return best_time(lambda: list(chat.stream("Hi")))

    assert cost(20_000) < 50 * cost(2_000)  # a copy for each piece would take 100 times


# --------------------------------------------------------------------------- Images and web search


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


@pytest.mark.parametrize(
    ("options", "page", "words"),
    [
        pytest.param(
            {"web_search": True},
            PLAIN + OPENAI + GOOGLE,
            r"Plain \(3\) .*web_search.* GPT \(1\), Gemini \(2\)",
            id="search, others do",
        ),
        pytest.param(
            {"web_search": True},
            PLAIN,
            r"Plain \(3\) .*web_search.*no bot",
            id="search, nobody does",
        ),
        pytest.param(
            {"web_search": True}, CLASSIC_PAGE, "classic.*web_search", id="search, classic"
        ),
        pytest.param(
            {"image": PNG},
            GOOGLE + OPENAI + PLAIN,
            r"Gemini \(2\) .*image.* GPT \(1\)(?!.*Plain)",
            id="image, others do",
        ),
        pytest.param(
            {"image": PNG}, PLAIN, r"Plain \(3\) .*image.*no bot", id="image, nobody does"
        ),
        pytest.param({"image": PNG}, CLASSIC_PAGE, "classic.*image", id="image, classic"),
    ],
)
def test_what_the_bot_does_not_offer_is_refused_before_any_message(mock, options, page, words):
    add_current(mock, CURRENT_ANSWER, page=page)
    with pytest.raises(ValueError, match=words):
        ChatgptFree(SITE).complete("Hi", **options)
    assert not forms(mock)


@pytest.mark.parametrize(
    "given",
    [str, pathlib.Path, PathLike, pathlib.Path.read_bytes],
    ids=lambda given: given.__name__,
)
@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        pytest.param(PNG, "image/png", id="PNG"),
        pytest.param(JPEG, "image/jpeg", id="JPEG"),
        pytest.param(WEBP, "image/webp", id="WebP"),
    ],
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


@pytest.mark.parametrize(
    ("prompt", "image", "kind", "words"),
    [
        ("Hi", b"GIF89a" + b"\0" * 9, ValueError, "JPEG, PNG or WebP"),
        ("Hi", b"", ValueError, "JPEG, PNG or WebP"),
        ("Hi", b"RIFF\0\0\0\0WAVEfmt ", ValueError, "JPEG, PNG or WebP"),
        ("Hi", b" " + PNG, ValueError, "JPEG, PNG or WebP"),
        ("Hi", PNG + b"\0" * 20_000_000, ValueError, "20,000,000 bytes"),
        ("", PNG, ValueError, "prompt is empty"),
        ("Hi", bytearray(PNG), TypeError, "image must be .* not bytearray"),
        ("Hi", 7, TypeError, "image must be .* not int"),
        ("Hi", "no such file.png", FileNotFoundError, "no such file.png"),
        ("Hi", str(HERE), IsADirectoryError, "Is a directory"),
    ],
    ids=[
        "gif",
        "no bytes",
        "wave",
        "late",
        "too big",
        "no prompt",
        "bytearray",
        "int",
        "missing",
        "folder",
    ],
)
def test_an_image_that_cannot_be_sent_is_refused_at_the_call(prompt, image, kind, words):
    with Site(say_hello, LOCAL_CURRENT) as site:
        bot = ChatgptFree(site.url)
        for call in (bot.stream, bot.complete, bot.conversation().stream):
            with pytest.raises(kind, match=words):
                call(prompt, image=image)
        assert site.asked == []


def test_an_image_of_exactly_the_limit_is_sent_but_no_byte_more(set_limits, tmp_path, mock):
    set_limits(image=len(PNG))
    add_current(mock, CURRENT_ANSWER, page=OPENAI)
    ChatgptFree(SITE).complete("Hi", image=PNG)
    (tmp_path / "cat.png").write_bytes(PNG + b"\0")
    with pytest.raises(ValueError, match=f"over {len(PNG)} bytes"):
        ChatgptFree(SITE).complete("Hi", image=tmp_path / "cat.png")


def test_an_image_in_a_conversation_goes_with_its_own_message_only(mock):
    add_current(mock, CURRENT_ANSWER, page=OPENAI)
    chat = ChatgptFree(SITE).conversation()
    chat.complete("What is this?", image=PNG)
    chat.complete("And what colour?")
    assert ["image_inputs" in form for form in forms(mock)] == [True, False]
    assert json.loads(json.dumps(chat.messages))[0] == {"role": "user", "content": "What is this?"}


# ------------------------------------------------------------------------------------- Notebooks


class Notebook:
    """Stands in for IPython and for the cell's output.

    `seen` is all that stood there, one after another.
    """

    def __init__(self, monkeypatch):
        self.seen, self.displays, self.now, self.execution_count = [], 0, 0.0, 1
        self.display = types.SimpleNamespace(display=self.display_it)
        self.kernel = object()
        monkeypatch.setitem(sys.modules, "IPython", self)
        monkeypatch.setattr(chatgptfree, "time", types.SimpleNamespace(monotonic=lambda: self.now))

    def get_ipython(self):
        return self

    def display_it(self, reply, display_id=False):
        self.displays += 1
        self.update(reply)
        return self if display_id else None

    def update(self, reply):
        assert type(reply) is Reply
        self.seen.append(str(reply))

    def come(self, *texts, seconds=1.0, error=None):
        for text in texts:
            self.now += seconds
            yield text
        if error:
            raise error

    def last_value(self, value):
        """What a notebook does with the last value of a cell."""
        before = len(self.seen)
        value._ipython_display_() if hasattr(value, "_ipython_display_") else self.display_it(value)
        return self.seen[before:]


@pytest.fixture
def notebook(monkeypatch):
    return Notebook(monkeypatch)


def test_in_a_notebook_an_answer_grows_in_its_place(notebook, capsys):
    reply = show(notebook.come("**Hel", "lo", "**"))
    assert (reply, notebook.displays) == ("**Hello**", 1)
    assert isinstance(reply, Reply)
    assert notebook.seen[0] == "…"
    assert notebook.seen[1:4] == ["**Hel", "**Hello", "**Hello**"]
    assert notebook.seen[-1] == "**Hello**"
    assert capsys.readouterr() == ("", "")


def test_an_answer_is_drawn_ten_times_a_second_at_most(notebook):
    assert show(notebook.come(*"x" * 1000, seconds=0.01)) == "x" * 1000  # ten seconds
    assert 50 <= len(notebook.seen) <= 103
    assert notebook.seen[-1] == "x" * 1000


def test_an_error_before_the_first_word_takes_the_dots_away(notebook):
    with pytest.raises(ChatgptFreeError, match="^No\\.$"):
        show(notebook.come(error=ChatgptFreeError("No.")))
    assert (notebook.seen[0], notebook.seen[-1]) == ("…", "")


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), IncompleteReplyError("the answer broke off")],
    ids=["interrupt", "error"],
)
def test_what_had_come_stays_in_the_notebook_after_an_error(notebook, error):
    with pytest.raises(type(error)):
        show(notebook.come("one ", "two", seconds=0.01, error=error))
    assert notebook.seen[-1] == "one two"


def test_a_shown_answer_is_shown_again_by_a_later_cell_only(notebook):
    reply = show(notebook.come("Hello"))
    assert notebook.last_value(reply) == []
    notebook.execution_count += 1
    assert notebook.last_value(reply) == ["Hello"]


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(None, id="no IPython"),
        pytest.param(types.SimpleNamespace(get_ipython=lambda: None), id="IPython in a script"),
        pytest.param(types.SimpleNamespace(get_ipython=object), id="IPython in a terminal"),
    ],
)
def test_outside_notebooks_an_answer_is_printed(monkeypatch, capsys, module):
    monkeypatch.setitem(sys.modules, "IPython", module)
    reply = show(iter(["Hel", "lo\x1b[31m"]))
    assert capsys.readouterr() == ("Hello\x1b[31m\n", "")  # no terminal, so it is given as it is
    assert (type(reply), reply) == (Reply, "Hello\x1b[31m")


def test_ipython_is_not_imported():
    code = "import sys, chatgptfree; chatgptfree.show(['Hi']); print('IPython' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=HERE,
        check=True,
    )
    assert result.stdout == "Hi\nFalse\n"


# --------------------------------------------------------------------------------------- Demo site


@pytest.fixture
def standard_input(monkeypatch, tmp_path):
    """Make a file with a text standard input."""
    with contextlib.ExitStack() as stack:

        def use(text):
            path = tmp_path / "stdin"
            path.write_text(text, encoding="utf-8")
            monkeypatch.setattr(sys, "stdin", stack.enter_context(path.open(encoding="utf-8")))

        yield use


def run_command(*arguments, stdin="", **options):
    """The command line in a process of its own."""
    command = [sys.executable, MODULE, *arguments]
    return subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        timeout=60,
        encoding="utf-8",
        check=False,
        **options,
    )


class Terminal:
    """The command line in a pseudo-terminal, which a process of its own holds."""

    HOLD = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"

    def __init__(self, *arguments):
        command = [sys.executable, "-c", self.HOLD, sys.executable, MODULE, *arguments]
        environment = {**os.environ, "TERM": "dumb", "PYTHONUTF8": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment
        )
        self.screen = ""

    def wait_for(self, text):
        """Read until `text` has appeared, and return all up to it."""
        while text not in self.screen:
            assert select.select([self.process.stdout], [], [], 20)[0], (
                f"{text!r} not in {self.screen!r}"
            )
            raw = self.process.stdout.read(4096)
            assert raw, f"the command line has ended: {self.screen!r}"
            # Without what turns bracketed paste on and off.
            self.screen = re.sub("\x1b\\[\\?2004[hl]\r?", "", self.screen + raw.decode())
        seen, _, self.screen = self.screen.partition(text)
        return seen + text

    def type(self, text):
        self.process.stdin.write(text.encode())

    def exit_status(self, key=""):
        """Type `key` to end it.

        Again if need be: readline can lose what comes in the moment it shows its prompt.
        """
        for _ in range(20):
            self.type(key)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(timeout=1)
        self.process.kill()
        return pytest.fail(f"{key!r} does not end it")


def echo_history(handler, form):
    if form["message"].startswith("wait"):
        handler.chunks(chunk("Let me think"), end=False)
        handler.wait_for_hang_up()
    elif form["message"] == "fail":
        handler.whole("<p>Out of order</p>", 500)
    else:
        handler.chunks(chunk(f"[{form['message']}]".replace("\n", "|")), chunk("\x1b[31m"), DONE)


def start_shell(command, **options):
    """Start a line of the shell, in which "$0" "$1" is the command line."""
    command = ["sh", "-c", command, sys.executable, MODULE]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


class Narrow(Terminal):
    HOLD = (
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode("
        """pty.spawn(['sh', '-c', 'stty cols 20; exec "$0" "$@"', *sys.argv[1:]])))"""
    )


def test_the_demo_site_quotes_the_prompt_and_checks_the_nonce(without_pauses):
    with demo_site() as url:
        bot = ChatgptFree(url)
        assert 'if a<b: print("x")  \n %41' in bot.complete('if a<b: print("x")  \n %41')
        forget_the_nonce(bot)
        assert bot.complete("Hello") == DEMO_ANSWER
    with pytest.raises(requests.ConnectionError):
        ChatgptFree(url).complete("Hi")


@pytest.mark.parametrize(
    "text",
    [
        "HELLO",
        "  two\n\n    lines \t",
        "ümläut 🌍 <b>&amp;</b>",
        "data: [DONE]\n\nmore",
        "x" * 9999,
        " \n",
    ],
    ids=["word", "blanks", "markup", "events", "long word", "blank"],
)
def test_the_demo_site_streams_the_text_that_it_is_given_for_a_prompt(text, without_pauses):
    prompts = []

    def answer(prompt):
        prompts.append(prompt)
        return text

    with demo_site(answer) as url, ChatgptFree(url) as bot:
        assert bot.complete('if a<b:\n  "x" & %41') == text
    assert prompts == ['if a<b:\n  "x" & %41']


def test_the_demo_site_streams_word_by_word(without_pauses):
    with demo_site(lambda prompt: "one two three") as url:
        assert list(ChatgptFree(url).stream("Hi")) == ["one ", "two ", "three"]


def test_the_demo_site_holds_conversations(without_pauses):
    with demo_site(lambda prompt: str(prompt.count("User: "))) as url:
        chat = ChatgptFree(url).conversation("Be terse.")
        assert [chat.complete("Hi") for _ in range(3)] == ["1", "2", "3"]


def test_the_demo_site_speaks_the_classic_protocol(without_pauses):
    with demo_site(str.upper) as url:
        page = requests.get(url, timeout=9)
        nonce, post_id = (
            re.search(rf'data-{name}="(\w+)"', page.text)[1] for name in ("nonce", "post-id")
        )
        form = {
            "_wpnonce": nonce,
            "post_id": post_id,
            "url": url,
            "message": "hi you",
            "bot_id": "0",
        }
        form["action"] = "wpaicg_chat_shortcode_message"
        answer = requests.post(url + "/wp-admin/admin-ajax.php", data=form, timeout=9)
        assert 'class="wpaicg-chat-shortcode"' in page.text
        *events, done, end = answer.text.split("\n\n")
        choices = [json.loads(event.partition("data: ")[2])["choices"][0] for event in events]
        assert [choice["delta"]["content"] for choice in choices] == ["HI ", "YOU"]
        assert (done, end) == ("data: [DONE]", "")
        stale = {**form, "_wpnonce": "old"}
        refused = requests.post(url + "/wp-admin/admin-ajax.php", data=stale, timeout=9)
        assert (refused.status_code, refused.text) == (403, "The link you followed has expired.")


@pytest.mark.parametrize(
    ("raised", "words", "attributes"),
    [
        pytest.param(
            error_with(ChatgptFreeError, 'Bän <word> "x"'), 'Bän .*"x"', {"partial": ""}, id="error"
        ),
        pytest.param(
            error_with(ChatgptFreeError), "without words", {"partial": ""}, id="error without words"
        ),
        pytest.param(
            error_with(RateLimitError, "Slow down", retry_after=7.0),
            "Slow down .*7 s",
            {"retry_after": 7.0},
            id="limit",
        ),
        pytest.param(
            error_with(RateLimitError, "Slow down", retry_after=7),
            "Slow down",
            {"retry_after": 7.0},
            id="limit of a whole number",
        ),
        pytest.param(
            error_with(RateLimitError, "You have reached your token limit."),
            "token limit",
            {"retry_after": None},
            id="token limit",
        ),
        pytest.param(
            error_with(RateLimitError), "429", {"retry_after": None}, id="limit without words"
        ),
        pytest.param(
            error_with(BlockedError, "Just a moment..."), "browser", {"partial": ""}, id="challenge"
        ),
        pytest.param(
            error_with(IncompleteReplyError, "cut", partial="The capital "),
            "broke off",
            {"partial": "The capital "},
            id="broken off",
        ),
        pytest.param(
            error_with(IncompleteReplyError, "cut"),
            "no answer",
            {"partial": ""},
            id="broken off without text",
        ),
    ],
)
def test_the_demo_site_fails_with_the_error_that_it_is_given(
    raised, words, attributes, without_pauses, capfd
):
    def answer(prompt):
        raise raised

    with demo_site(answer) as url, ChatgptFree(url) as bot:
        for call in (
            bot.complete,
            lambda prompt: list(bot.stream(prompt)),
            bot.conversation().complete,
        ):
            with pytest.raises(ChatgptFreeError, match=words) as caught:
                call("Hi")
            assert caught.type is type(raised)
            assert {name: getattr(caught.value, name) for name in attributes} == attributes
    assert capfd.readouterr() == ("", "")


def test_the_demo_site_that_fails_after_some_text_gives_the_text_first(without_pauses):
    def answer(prompt):
        raise error_with(ChatgptFreeError, "Overloaded", partial="one two")

    with demo_site(answer) as url:
        texts, error = collect(ChatgptFree(url).stream("Hi"))
    assert "".join(texts) == error.partial == "one two"
    assert type(error) is IncompleteReplyError
    assert str(error) == "the answer broke off: Overloaded"


def test_the_demo_site_can_fail_once_and_then_answer(without_pauses):
    replies = iter([error_with(RateLimitError, "Slow down", retry_after=0.0), "Hello"])

    def answer(prompt):
        reply = next(replies)
        if isinstance(reply, Exception):
            raise reply
        return reply

    with demo_site(answer) as url, ChatgptFree(url) as bot:
        with pytest.raises(RateLimitError):
            bot.complete("Hi")
        assert bot.complete("Hi") == "Hello"


def test_the_demo_site_is_quiet_when_a_client_leaves(capfd):
    before = threading.enumerate()
    with demo_site() as url:
        stream = ChatgptFree(url).stream("Hello")
        next(stream)
        answering = [
            thread
            for thread in threading.enumerate()
            if thread not in before and "process_request" in thread.name
        ]
        stream.close()
        for thread in answering:
            thread.join(30)
            assert not thread.is_alive()
    assert capfd.readouterr() == ("", "")


LEFT_OPEN = """
from chatgptfree import *
site = demo_site()
bot = ChatgptFree(site.__enter__())
{}
print('end')
"""


@pytest.mark.parametrize(
    ("use", "printed"),
    [
        pytest.param("print(bot.complete('Hello'))", DEMO_ANSWER + "\nend\n", id="whole"),
        pytest.param("answer = bot.stream('Hello'); print(next(answer))", "You \nend\n", id="cut"),
    ],
)
def test_a_demo_site_that_is_never_left_lets_the_interpreter_end(use, printed):
    command = [sys.executable, "-c", LEFT_OPEN.format(use)]
    environment = {**os.environ, "PYTHONPATH": str(HERE), "PYTHONIOENCODING": "utf-8"}
    ended = subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=60, env=environment, check=False
    )
    assert (ended.stdout, ended.returncode, ended.stderr) == (printed, 0, "")


SCRIPT = """
import chatgptfree
with chatgptfree.demo_site(str.upper) as url:
    print(chatgptfree.ChatgptFree(url).complete("hello"))
    print(chatgptfree.ChatgptFree(url).conversation().complete("hello"))
"""


def test_a_script_reaches_the_demo_site_where_a_proxy_is_set():
    proxies = dict.fromkeys(
        ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:9"
    )
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(
        command,
        env={**environment, **proxies},
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("HELLO\nHELLO\n", "")


# --------------------------------------------------------------------------- Command line: options


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        pytest.param(["Hello"], "", id="argument"),
        pytest.param([], "Hello, file\n", id="standard input"),
        pytest.param(["-"], "Hello, file\n", id="hyphen"),
        pytest.param([], "", id="nothing"),
    ],
)
def test_the_answer_is_printed_with_a_newline(
    arguments, stdin, monkeypatch, capsys, without_pauses, standard_input
):
    standard_input(stdin)
    assert main(["--demo", *arguments]) == 0
    assert capsys.readouterr() == (
        DEMO_ANSWER.replace("Hello", stdin.strip() or "Hello") + "\n",
        "",
    )


def test_the_words_of_a_prompt_and_a_system_text_are_sent(mock, capsys):
    add_classic(mock, CLASSIC_ANSWER)
    assert (
        main(["--url", SITE, "--system", "Be terse.", "--timeout", "7", "How", "are", "you?"]) == 0
    )
    assert forms(mock)[0]["message"] == "System: Be terse.\nUser: How are you?\nAssistant:"
    assert capsys.readouterr().out == "Hello, wörld 🌍\n"


def test_models_cookies_and_the_list_of_models(mock, capsys):
    add_current(mock, CURRENT_ANSWER)
    assert main(["--url", SITE, "--models"]) == 0
    assert capsys.readouterr().out == "ChatGPT 5 Nano\nDeepSeek\n"
    assert (
        main(["--url", SITE, "--model", "deepseek", "--cookie", "a=b", "--cookie", "c=d=e", "Hi"])
        == 0
    )
    assert forms(mock)[0]["bot_id"] == "25872"
    assert mock.calls[-1].request.headers["Cookie"] == "a=b; c=d=e"


def test_headers_of_the_command_line_are_sent(mock, capsys):
    add_classic(mock, CLASSIC_ANSWER)
    assert (
        main(["--url", SITE, "--header", "User-Agent: My Browser: 7", "--header", "X-Key:a", "Hi"])
        == 0
    )
    for call in mock.calls:
        assert (call.request.headers["User-Agent"], call.request.headers["X-Key"]) == (
            "My Browser: 7",
            "a",
        )


def test_an_image_and_a_search_are_sent(mock, capsys, tmp_path):
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\nmeow")
    config = '"imageUploadEnabledUI":true,"allowWebSearchTool":true,'.replace('"', "&quot;")
    add_current(
        mock,
        CURRENT_ANSWER,
        page=re.sub(r"data-config=(['\"])\{", rf"data-config=\1{{{config}", current_box()),
    )
    assert (
        main(["--url", SITE, "--image", str(tmp_path / "cat.png"), "--search", "What is it?"]) == 0
    )
    assert json.loads(forms(mock)[0]["image_inputs"]) == [
        {"mime_type": "image/png", "base64_data": "iVBORw0KGgptZW93"}
    ]
    assert forms(mock, "GET")[-1]["frontend_web_search_active"] == "true"


def test_each_model_is_printed_on_one_line_without_control_characters(mock, capsys):
    mock.get(
        SITE + "/",
        body=current_box(name="Ev\x1b[31mil\nbot\x07\u202e\u2028")
        + current_box(7, name="Nice &amp; <b>"),
    )
    assert main(["--url", SITE, "--models"]) == 0
    assert capsys.readouterr().out == "Ev [31mil bot\nNice & <b>\n"


def test_a_proxy_is_used(capsys):
    with Site(classic_answer) as proxy:  # takes whole addresses for paths, as proxies are asked
        assert main(["--url", "http://site.example/", "--proxy", proxy.url, "Hi"]) == 0
    assert [path for _, path, _, _ in proxy.asked] == [
        "http://site.example/",
        "http://site.example/wp-admin/admin-ajax.php",
    ]
    assert capsys.readouterr().out == "Hi\n"


def test_the_environment_names_another_site_and_an_option_wins(monkeypatch, capsys):
    def site_that_says(word):
        return demo_site(lambda prompt: word)

    with site_that_says("environment") as first, site_that_says("option") as second:
        monkeypatch.setenv("CHATGPTFREE_URL", first)
        assert main(["Hi"]) == main(["--url", second, "Hi"]) == 0
    assert capsys.readouterr().out == "environment\noption\n"


def test_the_demo_needs_no_proxy():
    environment = {
        **os.environ,
        "NO_PROXY": "",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    assert run_command("--demo", "Hello", env=environment).stdout == DEMO_ANSWER + "\n"


def test_version_and_help():
    assert run_command("--version").stdout == f"chatgptfree {chatgptfree.__version__}\n"
    text = run_command("--help", env={**os.environ, "COLUMNS": "80"}).stdout
    assert max(map(len, text.splitlines())) <= 80
    names = "url model models system image search proxy timeout cookie header demo debug version"
    assert all(f"--{name} " in text or f"--{name}\n" in text for name in names.split())
    assert 'chatgptfree "What is the capital of France?"' in text


def test_help_fits_a_narrow_terminal():
    assert run_command("--help", env={**os.environ, "COLUMNS": "20"}).returncode == 0


def test_help_names_the_site_without_its_password():
    text = run_command(
        "--help", env={**os.environ, "CHATGPTFREE_URL": "https://me:secret@site.example/50%/"}
    ).stdout
    assert "--url" in text
    assert "secret" not in text


def test_debug_shows_the_requests_without_what_is_secret():
    """In a process of its own, as logging is set up for all of it."""
    with Site(current_answer, current_box(ajax_url=None)) as site:
        url = site.url.replace("//", "//me:S3CRET@")
        secrets = [
            "--cookie",
            "c=S3CRET",
            "--header",
            "Authorization: Bearer S3CRET",
            "--header",
            "X-Key: S3CRET",
        ]
        result = run_command("--debug", "--url", url, *secrets, "Hi")
    assert result.stdout == "Hi\n"
    assert '"GET / HTTP/1.1" 200' in result.stderr
    assert '"POST /wp-admin/admin-ajax.php HTTP/1.1" 200' in result.stderr
    assert not re.search(
        "S3CRET|UzNDUkVU|Authorization|Cookie", result.stderr
    )  # the second is its Base64
    assert run_command("--demo", "Hello").stderr == ""


# ---------------------------------------------------------------------------- Command line: errors


def test_an_error_is_one_line_and_exit_status_1_and_what_had_come_stays(mock, capsys):
    add_classic(
        mock, chunk("Hello") + data({"error": {"message": "The server\nhad an\x1b[31m error"}})
    )
    assert main(["--url", SITE, "Hi"]) == 1
    assert capsys.readouterr() == (
        "Hello\n",
        "chatgptfree: the answer broke off: The server had an [31m error\n",
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            ["--url", "http://127.0.0.1:9/"],
            "no answer from 127.0.0.1:9: Connection refused",
            id="site",
        ),
        pytest.param(
            ["--url", "http://me:secret@127.0.0.1:9/"],
            "no answer from 127.0.0.1:9: Connection refused",
            id="password",
        ),
        pytest.param(
            ["--url", "http://site.example/", "--proxy", "http://me:secret@127.0.0.1:9"],
            "no answer from the proxy for site.example: Connection refused",
            id="proxy",
        ),
    ],
)
def test_a_failure_of_the_network_is_one_short_line_with_the_host(arguments, words, capsys):
    assert main([*arguments, "Hi"]) == 1
    assert capsys.readouterr() == ("", f"chatgptfree: {words}\n")


def test_a_limit_says_when_to_try_again(mock, capsys):
    mock.get(SITE + "/", **TOO_MANY)
    assert main(["--url", SITE, "Hi"]) == 1
    assert capsys.readouterr().err == "chatgptfree: HTTP 429: Slow down (try again in 30 s)\n"


def test_the_advice_about_a_check_is_in_the_command_lines_own_options(mock, capsys):
    mock.get(SITE + "/", status=403, headers={"cf-mitigated": "challenge"})
    assert main(["--url", SITE, "Hi"]) == 1
    words = capsys.readouterr().err
    assert words.count("\n") == 1
    assert words.endswith("--cookie cf_clearance=… --header 'User-Agent: …'\n")
    assert "{" not in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--nonsense"], "--nonsense", id="option"),
        pytest.param(
            ["--timeout", "soon"],
            "--timeout: invalid seconds value: 'soon'",
            id="time-out of words",
        ),
        pytest.param(
            ["--timeout", "-1"], "--timeout: invalid seconds value: '-1'", id="negative time-out"
        ),
        pytest.param(
            ["--timeout", "nan"], "--timeout: invalid seconds value: 'nan'", id="no number"
        ),
        pytest.param(
            ["--cookie", "novalue"], "--cookie: invalid cookie value: 'novalue'", id="cookie"
        ),
        pytest.param(
            ["--header", "novalue"], "--header: invalid header value: 'novalue'", id="header"
        ),
        pytest.param(["--header", ": x"], "--header: invalid header value: ': x'", id="no name"),
        pytest.param(["--header", ""], "--header: invalid header value: ''", id="empty header"),
    ],
)
def test_an_option_that_makes_no_sense_is_exit_status_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as leave:
        main([*arguments, "Hi"])
    assert leave.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[""], [" ", ""], ["-"]], ids=["no text", "blanks", "standard input"]
)
def test_an_empty_prompt_is_exit_status_2(arguments, standard_input, capsys):
    standard_input("\n")
    with pytest.raises(SystemExit) as leave:
        main(arguments)
    assert leave.value.code == 2
    assert "the prompt is empty" in capsys.readouterr().err


def test_an_address_that_is_none_is_exit_status_2(capsys):
    assert main(["--url", "site.example", "Hi"]) == 2
    assert "site.example" in capsys.readouterr().err


def test_an_unknown_model_is_wrong_usage(mock, capsys):
    mock.get(SITE + "/", body=CURRENT_PAGE)
    assert main(["--url", SITE, "--model", "gpt-9", "Hi"]) == 2
    assert "ChatGPT 5 Nano (25871), DeepSeek (25872)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            ["--image", "no such file.png"],
            "No such file or directory: 'no such file.png'",
            id="no image",
        ),
        pytest.param(["--image", MODULE], "the image is not a JPEG, PNG or WebP", id="no picture"),
        pytest.param(["--search"], "takes no web_search", id="search"),
    ],
)
def test_an_image_or_a_search_that_cannot_be_is_one_line_and_status_2(arguments, words, capsys):
    assert main(["--demo", *arguments, "Hi"]) == 2
    assert re.fullmatch(f"chatgptfree: .*{re.escape(words)}.*\n", capsys.readouterr().err)


# ------------------------------------------------------------------- Command line: pipes and files


PIPED = {  # what the shell runs: the prompt that it sends
    "printf 'one\\n  two\\n' | {} --demo Review:": "Review:\n\none\n  two",
    "printf 'caf\\303\\251' | LC_ALL=C PYTHONUTF8=0 {} --demo Review:": "Review:\n\ncafé",
    "printf '\\357\\273\\277one' | {} --demo": "one",
    "printf 'one' | {} --demo -": "one",
    "printf '\\n' | {} --demo Review:": "Review:",
    "{} --demo Review: <file": "Review:\n\none\ntwo",
    "{} --demo Review: </dev/null": "Review:",
    "{} --demo </dev/null": "Hello",
    "{} --demo Review: </dev/zero": "Review:",
}


def test_the_text_of_a_pipe_or_file_goes_with_the_prompt(tmp_path):
    """A device is not read: it may be empty, or have no end."""
    (tmp_path / "file").write_text("one\ntwo\n")
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    started = {
        command: start_shell(command.replace("{}", '"$0" "$1"'), cwd=tmp_path, env=environment)
        for command in PIPED
    }
    got = {command: process.communicate(timeout=60) for command, process in started.items()}
    assert got == {
        command: ((DEMO_ANSWER.replace("Hello", prompt) + "\n").encode(), b"")
        for command, prompt in PIPED.items()
    }


def test_a_pipe_that_is_not_utf_8_is_said_in_one_line():
    with start_shell('printf "caf\\351" | "$0" "$1" --demo Hi') as process:
        out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == (b"", 2)
    assert re.fullmatch(rb"chatgptfree: standard input is not UTF-8 .*\n", err)


CLOSINGS = ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"]


def test_closed_standard_streams_confuse_nothing():
    """An answer goes to standard output, a complaint to standard error, or nowhere."""
    complaint = "chatgptfree: no answer from 127.0.0.1:9: Connection refused\n"
    wanted = {}
    for closing in CLOSINGS:
        printed = "" if re.search("(?<!2)>", closing) else DEMO_ANSWER + "\n"
        complained = "" if "2>" in closing else complaint
        wanted["--demo Hello", closing] = (printed, "", 0)
        wanted["--url http://127.0.0.1:9/ Hi", closing] = ("", complained, 1)
    started = {case: start_shell(f'exec "$0" "$1" {case[0]} {case[1]}') for case in wanted}
    got = {}
    for case, process in started.items():
        out, err = process.communicate(timeout=60)
        got[case] = (out.decode(), err.decode(), process.returncode)
    assert got == wanted


def test_a_closed_pipe_ends_quietly():
    command = f"'{sys.executable}' '{MODULE}' --demo 'one{chr(10)}two{chr(10)}three' | head -1"
    command = ["bash", "-c", command + "; exit ${PIPESTATUS[0]}"]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert (result.stdout, result.stderr, result.returncode) == ("You asked: “one\n", "", 0)


def test_what_an_output_cannot_encode_is_replaced():
    result = run_command("--demo", "Hello", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert result.stdout == DEMO_ANSWER.replace("“", "?").replace("”", "?") + "\n"
    assert result.returncode == 0


def test_text_is_printed_as_it_comes():
    """The site goes on only when the command line has printed what it was sent."""
    printed = threading.Event()

    def answer(handler, form):
        handler.chunks(chunk("Hello"), end=False)
        if printed.wait(5):
            handler.wfile.write(http_chunk((chunk(" world") + DONE).encode()))
        handler.wfile.write(b"0\r\n\r\n")

    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    command = [sys.executable, MODULE, "--url", "{}", "Hi"]
    with (
        Site(answer) as site,
        subprocess.Popen(
            [part.format(site.url) for part in command], stdout=subprocess.PIPE, env=environment
        ) as process,
    ):
        assert process.stdout.read(5) == b"Hello"
        printed.set()
        assert process.stdout.read() == b" world\n"


def test_an_application_made_by_zipapp_keeps_the_exit_status(tmp_path):
    (tmp_path / "app").mkdir()
    shutil.copy(MODULE, tmp_path / "app")
    zipapp.create_archive(tmp_path / "app", tmp_path / "app.pyz", main="chatgptfree:main")
    started = [
        subprocess.Popen(
            [sys.executable, tmp_path / "app.pyz", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for arguments in (
            ["--demo", "Hello"],
            ["--url", "http://127.0.0.1:9/", "Hi"],
            ["--url", "site.example", "Hi"],
        )
    ]
    answers = [process.communicate(timeout=60)[0].decode() for process in started]
    assert [process.returncode for process in started] == [0, 1, 2]
    assert answers == [DEMO_ANSWER + "\n", "", ""]


# -------------------------------------------------------------------------- Command line: terminal


def test_ctrl_c_is_exit_status_130():
    asked = threading.Event()

    def answer(handler, form):
        handler.chunks(chunk("Hello"), end=False)
        asked.set()
        handler.wait_for_hang_up()

    with (
        Site(answer) as site,
        subprocess.Popen(
            [sys.executable, MODULE, "--url", site.url, "Hi"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdout.read(5) == b"Hello"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10) == (b"\n", b"")
        assert process.returncode == 130


def test_a_terminal_without_a_prompt_is_a_conversation_with_a_history():
    with Site(echo_history) as site:
        terminal = Terminal("--url", site.url)
        assert (
            terminal.wait_for("> ") == "Ctrl-C stops an answer; exit, quit or Ctrl-D leaves.\r\n> "
        )
        terminal.type("one\n")
        assert "waiting for the answer ..." in terminal.wait_for("[one]")
        assert terminal.wait_for("> ") == "[31m\r\n> "  # a site cannot steer the terminal
        terminal.type("\n")
        terminal.wait_for("> ")
        terminal.type("two\n")
        terminal.wait_for("[User: one|Assistant: [one][31m|User: two|Assistant:]")
        terminal.wait_for("> ")
        assert terminal.exit_status("quit\n") == 0


def test_ctrl_c_in_a_conversation_goes_back_to_the_prompt():
    with Site(echo_history) as site:
        terminal = Terminal("--url", site.url)
        terminal.wait_for("> ")
        terminal.type("wait\n")
        terminal.wait_for("Let me think")
        terminal.type("\x03")
        terminal.wait_for("> ")
        assert site.gone.wait(5)
        terminal.type("go on\n")
        terminal.wait_for("[User: wait|Assistant: Let me think|User: go on|Assistant:]")
        terminal.wait_for("> ")
        assert terminal.exit_status("\x03") == 130


def test_an_error_in_a_conversation_is_printed_and_it_goes_on():
    with Site(echo_history) as site:
        terminal = Terminal("--url", site.url, "--system", "Be terse.")
        terminal.wait_for("> ")
        terminal.type("two\n")
        terminal.wait_for("[System: Be terse.|User: two|Assistant:]")
        terminal.wait_for("> ")
        site.answer = lambda handler, form: handler.whole("<p>Out of order</p>", 500)
        terminal.type("three\n")
        terminal.wait_for("chatgptfree: HTTP 500: Out of order\r\n> ")
        assert terminal.exit_status("\x04") == 0


@pytest.mark.parametrize("word", ["exit", "quit", " quit "], ids=["exit", "quit", "blanks"])
def test_a_conversation_says_how_to_leave_and_is_left_by_a_word(word, monkeypatch, capsys):
    words = iter([word])
    monkeypatch.setattr("builtins.input", lambda prompt: next(words))
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: True))
    assert main(["--demo"]) == 0
    assert capsys.readouterr() == ("", "Ctrl-C stops an answer; exit, quit or Ctrl-D leaves.\n")


@pytest.mark.parametrize(
    ("end", "status"),
    [pytest.param(KeyboardInterrupt, 130, id="Ctrl-C"), pytest.param(EOFError, 0, id="Ctrl-D")],
)
def test_ctrl_c_and_ctrl_d_at_the_prompt_end_on_a_line_of_their_own(
    end, status, monkeypatch, capsys
):
    def leave(prompt):
        raise end

    monkeypatch.setattr("builtins.input", leave)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: True))
    assert main(["--demo"]) == status
    assert capsys.readouterr().out == "\n"


def test_a_paste_of_several_lines_is_one_question_with_its_indentation():
    asked = []

    def answer(handler, form):
        asked.append(form["message"])
        handler.chunks(chunk("Well."), DONE)

    class Xterm(Terminal):
        HOLD = "import os; os.environ['TERM'] = 'xterm'; " + Terminal.HOLD

    with Site(answer) as site:
        terminal = Xterm("--url", site.url)
        prompt = b""
        # Until this, a terminal types a paste as it types keys.
        while not re.search(rb"\x1b\[\?2004h.*> ", prompt):
            assert select.select([terminal.process.stdout], [], [], 20)[0], prompt
            prompt += terminal.process.stdout.read(4096)
        terminal.type("\x1b[200~  def f():\n\n\treturn 1\n\x1b[201~\n")
        terminal.wait_for("Well.")
        terminal.wait_for("> ")
        assert terminal.exit_status("quit\n") == 0
    assert asked == ["  def f():\n\n\treturn 1"]


def test_the_waiting_notice_is_wiped():
    terminal = Terminal("--demo", "Hello")
    notice = "waiting for the answer ..."
    assert (
        terminal.wait_for("You asked:") == notice + "\r" + " " * len(notice) + "\r" + "You asked:"
    )
    assert terminal.exit_status() == 0


def test_the_waiting_notice_fits_a_narrow_terminal(monkeypatch):
    """Or wiping it would leave a piece. The terminal's own width counts, whatever COLUMNS says."""
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Narrow("--demo", "Hello")
    assert terminal.wait_for("You asked:") == "waiting for the ans\r" + " " * 19 + "\rYou asked:"
    assert terminal.exit_status() == 0


def test_what_a_site_sends_cannot_steer_a_terminal():
    with Site(
        lambda handler, form: handler.chunks(chunk("a\x1b[31mb\x9b31m\r\x07\tc\x00"), DONE)
    ) as site:
        terminal = Terminal("--url", site.url, "Hi")
        assert terminal.wait_for("c\r\n").endswith("\ra[31mb31m\tc\r\n")
        assert terminal.exit_status() == 0


# ------------------------------------------------------------------------------------- Connections


PIECES = [chunk("one "), chunk("two "), chunk("three") + DONE]


def framed(framing):
    """Response headers, and the bytes of each of PIECES, in a framing."""
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
    if framing == "one chunk":
        headers["Transfer-Encoding"] = "chunked"
        raw[0] = b"%x\r\n%s" % (sum(map(len, raw)), raw[0])
        raw[-1] += b"\r\n0\r\n\r\n"
    if framing == "length":
        headers["Content-Length"] = str(sum(map(len, raw)))
    return headers, raw


def keep_sending(handler, pause=0.0):
    """Send comments until the client has left, or for ten seconds."""
    until = time.monotonic() + 10
    try:
        while (
            time.monotonic() < until and not select.select([handler.connection], [], [], pause)[0]
        ):
            handler.wfile.write(http_chunk(b": still here\n\n"))
    except OSError:
        handler.server.gone.set()
    if time.monotonic() < until:
        handler.server.gone.set()
    handler.close_connection = True


def keep_sending_slowly(handler):
    keep_sending(handler, 0.05)


def send_endlessly(handler, raw):
    with contextlib.suppress(OSError):
        handler.head(Connection="close")
        for _ in range(10**5):
            handler.wfile.write(raw)
    handler.hang_up()


def cut_between_chunks(handler):
    handler.chunks(chunk("Hello"), chunk(" wörld"), end=False)
    handler.hang_up()


def cut_in_chunk(handler):
    raw = (chunk("Hello") + chunk(" wörld") + chunk("!")).encode()
    handler.head(Transfer_Encoding="chunked")
    handler.wfile.write(http_chunk(raw)[:-20])
    handler.hang_up()


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


def stall_after_text(handler):
    handler.chunks(chunk("Hello"), chunk(" wörld"), end=False)
    handler.wait_for_hang_up()


def too_short(handler):
    raw = (chunk("Hello") + chunk(" wörld")).encode()
    handler.head(Content_Length=str(len(raw) + 50))
    handler.wfile.write(raw)
    handler.hang_up()


def reset_at_once(handler, *_):
    handler.head(Transfer_Encoding="chunked")
    handler.hang_up(reset=True)


def stall_in_body(handler, *_):
    handler.head(Content_Length="9")
    handler.wait_for_hang_up()


def stall_at_once(handler, *_):
    handler.head(Transfer_Encoding="chunked")
    handler.wait_for_hang_up()


def break_gzip_at_once(handler, *_):
    handler.head(Content_Encoding="gzip", Connection="close")
    handler.wfile.write(b"junk" * 9)
    handler.hang_up()


def close(stream):
    stream.close()


def forget(stream):
    del stream
    gc.collect()


def fail_in_loop(stream):
    with contextlib.suppress(ZeroDivisionError):
        for _ in stream:
            raise ZeroDivisionError


def gzipped(*texts, members=False):
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    return b"".join(map(gzip.compress, raw)) if members else gzip.compress(b"".join(raw))


needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork here"
)

# The site of the test has threads.
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

# What a forked child calls.
_asks = None


def ask_in_child(prompt):
    return _asks(prompt)


@pytest.fixture
def fork(monkeypatch):
    """A function that makes a pool of forked processes, each with its argument as `_asks`."""
    with contextlib.ExitStack() as pools:

        def make_pool(asks, processes=1):
            monkeypatch.setattr(sys.modules[__name__], "_asks", asks)
            pool = multiprocessing.get_context("fork").Pool(processes)
            pools.callback(pool.terminate)
            return pool

        yield make_pool


def endless_redirect(location, wrote):
    def page(handler, *_):
        handler.head(302, Location=location)
        with contextlib.suppress(OSError):
            for _ in range(300):
                handler.wfile.write(b"x" * 100_000)
                wrote.append(100_000)
        handler.close_connection = True

    return page


def send_zipped(raw, encoding="gzip"):
    def send(handler, *_):
        handler.head(Content_Encoding=encoding, Content_Length=str(len(raw)))
        with contextlib.suppress(OSError):
            handler.wfile.write(raw)

    return send


@pytest.mark.parametrize(
    "framing", ["chunked", "close", "gzip chunked", "gzip close", "one chunk", "length"]
)
def test_a_piece_is_yielded_when_its_bytes_arrive_however_they_are_framed(framing):
    """The site sends a piece only when the one before it has been yielded."""
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


@pytest.mark.parametrize(
    ("answer", "page", "requests_a_call"),
    [(classic_answer, CLASSIC_PAGE, 1), (current_answer, LOCAL_CURRENT, 2)],
    ids=["classic", "current"],
)
def test_ten_calls_take_one_page_and_one_connection(answer, page, requests_a_call):
    with Site(answer, page) as site, ChatgptFree(site.url) as bot:
        for i in range(10):
            assert bot.complete(f"call {i}") == f"call {i}"
        assert (len(site.pages()), site.connections) == (1, 1)
        assert len(site.asked) == 1 + 10 * requests_a_call


@pytest.mark.parametrize("send", [SiteHandler.whole, SiteHandler.chunks], ids=["length", "chunked"])
def test_a_json_answer_gives_its_connection_back_too(send):
    with (
        Site(lambda handler, form: send(handler, json.dumps(JSON_ANSWER))) as site,
        ChatgptFree(site.url) as bot,
    ):
        assert [bot.complete("Hi") for _ in range(3)] == ["Hello, wörld"] * 3
        assert site.connections == 1


def test_a_finished_answer_waits_for_the_end_of_its_response_for_a_moment():
    logged = threading.Event()

    def answer(handler, form):
        handler.chunks(chunk("Hello") + DONE, end=False)
        logged.wait(0.1)  # the site writes its log
        handler.wfile.write(b"0\r\n\r\n")

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert [bot.complete("Hi") for _ in range(3)] == ["Hello"] * 3
        assert site.connections == 1


@pytest.mark.parametrize(
    "afterwards", [SiteHandler.wait_for_hang_up, keep_sending, keep_sending_slowly]
)
def test_a_finished_answer_leaves_a_site_that_does_not_end_it(afterwards, set_limits):
    assert getattr(chatgptfree, LIMITS["linger"]) <= 0.25
    set_limits(linger=0.05)

    def answer(handler, form):
        handler.chunks(chunk("Hello") + DONE, end=False)
        afterwards(handler)

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert bot.complete("Hi", timeout=30) == "Hello"
        # Set where the client leaves first: the site goes on for ten seconds.
        assert site.gone.wait(15)


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_connection_with_half_a_response_on_it_serves_nobody(framing, encoding, set_limits):
    """The rest of the response comes when the next call has been made."""
    set_limits(linger=0.05)
    asked_again = threading.Event()

    def answer(handler, form):
        if form["message"] != "first":
            asked_again.set()
            return classic_answer(handler, form)
        raw = (chunk("Hello") + DONE).encode()
        raw = gzip.compress(raw) if encoding == "gzip" else raw
        if framing == "chunked":
            handler.head(Content_Encoding=encoding, Transfer_Encoding="chunked")
            handler.wfile.write(http_chunk(raw))
        else:
            handler.head(Content_Encoding=encoding, Content_Length=str(len(raw) + 100))
            handler.wfile.write(raw)
        asked_again.wait(5)
        with contextlib.suppress(OSError):
            handler.wfile.write(b"0\r\n\r\n" if framing == "chunked" else b"x" * 100)
        return handler.hang_up()

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert bot.complete("first", timeout=0.5) == "Hello"
        assert [bot.complete(f"call {i}") for i in range(3)] == ["call 0", "call 1", "call 2"]
        assert site.connections == 2


# ----------------------------------------------------------- Connections that break, and time-outs


LOST = r": lost the connection to 127.0.0.1:\d+: .+"


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        pytest.param(cut_between_chunks, LOST, id="between chunks"),
        pytest.param(cut_in_chunk, LOST, id="in a chunk"),
        pytest.param(too_short, LOST, id="before the length"),
        pytest.param(
            stall_after_text, r": nothing came from 127.0.0.1:\d+ for 0.5 seconds", id="stall"
        ),
        pytest.param(cut_in_character, "", id="in a character"),
        pytest.param(cut_gzip, "", id="in gzip"),
        pytest.param(break_gzip, ".*", id="junk in gzip"),
    ],
)
def test_text_before_a_break_is_yielded_and_in_partial(cut, reason):
    with Site(lambda handler, form: cut(handler)) as site, ChatgptFree(site.url) as bot:
        texts, error = collect(bot.stream("Hi", timeout=0.5))
    assert texts == ["Hello", " wörld"]
    assert type(error) is IncompleteReplyError
    assert error.partial == "Hello wörld"
    assert re.fullmatch(f"the answer broke off{reason}", str(error))


@pytest.mark.parametrize(
    ("fail", "kind", "timeout"),
    [
        pytest.param(reset_connection, requests.ConnectionError, 5, id="reset"),
        pytest.param(reset_at_once, requests.ConnectionError, 5, id="reset in the body"),
        pytest.param(break_gzip_at_once, requests.RequestException, 5, id="junk for gzip"),
        pytest.param(stall, requests.Timeout, 0.1, id="stall"),
        pytest.param(stall, requests.Timeout, (9, 0.2), id="stall, two time-outs"),
        pytest.param(stall_at_once, requests.Timeout, 0.1, id="stall in the body"),
        pytest.param(stall_in_body, requests.Timeout, 0.1, id="stall before the length"),
    ],
)
@pytest.mark.parametrize("where", ["page", "answer"])
def test_a_failure_before_any_text_is_requests_own(where, fail, kind, timeout):
    caught = failing_call(**{where: fail}, timeout=timeout)
    assert isinstance(caught.value, kind)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_refusal_of_a_proxy_is_not_the_sites(scheme, monkeypatch):
    def refuse_all(handler):
        handler.whole("Who are you?", 407)

    monkeypatch.setattr(SiteHandler, "do_CONNECT", refuse_all, raising=False)
    with (
        Site(None, refuse_all) as proxy,
        pytest.raises(requests.exceptions.ProxyError, match="407"),
    ):
        ChatgptFree(f"{scheme}://site.example/").complete("Hi", proxy=proxy.url)


# -------------------------------------------------------- Bodies: compressed, of unreasonable size


@pytest.mark.parametrize("encoding", ["none", "identity", "UTF-8"])
def test_a_content_encoding_that_is_no_compression_is_ignored(encoding):
    def answer(handler, form):
        handler.head(Content_Encoding=encoding, Connection="close")
        handler.wfile.write((chunk("Hello") + DONE).encode())
        handler.close_connection = True

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert bot.complete("Hi") == "Hello"


@pytest.mark.parametrize(
    "after", [b"raw bytes" * 2_000_000, b"\0" * 600, b"x"], ids=["many", "zeros", "one"]
)
def test_raw_bytes_behind_gzip_are_not_read(after):
    page = send_zipped(gzipped(CLASSIC_PAGE) + after)
    answer = send_zipped(gzipped(chunk("Hello"), DONE) + after)
    with Site(answer, page) as site, ChatgptFree(site.url) as bot, peak_memory() as peak:
        assert [bot.complete("Hi", timeout=5) for _ in range(2)] == ["Hello"] * 2
        assert peak() < 10e6


@pytest.mark.parametrize("where", ["page", "answer"])
def test_what_a_second_gzip_member_holds_is_not_lost(where):
    page = gzipped(CLASSIC_PAGE[:40], CLASSIC_PAGE[40:], members=where == "page")
    answer = gzipped(chunk("Hello"), "", chunk(" you"), DONE, members=where == "answer")
    with Site(send_zipped(answer), send_zipped(page)) as site:
        assert ChatgptFree(site.url).complete("Hi") == "Hello you"


def test_a_second_gzip_member_may_begin_anywhere_in_a_piece():
    raw = gzipped(chunk("Hello"), chunk(" you"), DONE, members=True)

    def answer(handler, form):
        handler.head(Content_Encoding="gzip", Transfer_Encoding="chunked")
        for i in range(len(raw)):
            handler.wfile.write(http_chunk(raw[i : i + 1]))
        handler.wfile.write(b"0\r\n\r\n")

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert [bot.complete("Hi") for _ in range(2)] == ["Hello you"] * 2
        assert site.connections == 1


@pytest.mark.parametrize("encoding", ["gzip, gzip", "GZIP,gzip", "x-gzip, gzip", "deflate, gzip"])
def test_stacked_encodings_are_undone(encoding):
    raw = (chunk("Hello") + DONE).encode()
    inner = zlib.compress(raw) if "deflate" in encoding else gzip.compress(raw)
    with Site(send_zipped(gzip.compress(inner), encoding)) as site:
        assert ChatgptFree(site.url).complete("Hi") == "Hello"


BOMB = gzip.compress(b"data: " + b"x" * 30_000_000)


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        pytest.param(BOMB, "gzip", id="once"),
        pytest.param(gzip.compress(b": \n" * 9) + BOMB, "gzip", id="second member"),
        pytest.param(gzip.compress(gzip.compress(BOMB)), "gzip, gzip, gzip", id="three times"),
    ],
)
@pytest.mark.parametrize(
    ("where", "memory", "words"),
    [
        pytest.param("page", 60e6, "10,000,000 bytes without an end", id="page"),
        pytest.param("answer", 10e6, "a line of over 1,000,000 bytes", id="answer"),
    ],
)
def test_a_gzip_bomb_is_an_error_in_bounded_memory(raw, encoding, where, memory, words):
    with peak_memory() as peak:
        caught = failing_call(**{where: send_zipped(raw, encoding)})
        assert peak() < memory  # a page is held as bytes, once joined, and as text
    assert caught.type is ChatgptFreeError
    assert words in caught.words


def send_endless_page(handler):
    send_endlessly(handler, b"<p>" * 5000)


@pytest.mark.parametrize(
    ("page", "answer", "words"),
    [
        pytest.param(
            send_endless_page, None, "10,000,000 bytes without an end or any text", id="page"
        ),
        pytest.param(CLASSIC_PAGE, b"data: x" * 5000, "a line of over 1,000,000 bytes", id="line"),
        pytest.param(
            CLASSIC_PAGE,
            b"a line of no stream, which is rather long\n" * 1000,
            "1,000,000 bytes without an end or any text",
            id="body",
        ),
    ],
)
def test_what_has_no_end_is_an_error(page, answer, words, set_limits):
    # Under a tracer, text that grows line by line takes quadratic time.
    if answer and b"\n" in answer:
        set_limits(body=1_000_000)
    with (
        Site(lambda handler, form: send_endlessly(handler, answer), page) as site,
        pytest.raises(ChatgptFreeError, match=words),
    ):
        ChatgptFree(site.url).complete("Hi")


def test_a_redirects_body_is_not_read():
    wrote = []
    pages = itertools.chain(
        [endless_redirect("/help/", wrote)],
        itertools.repeat(lambda handler: handler.whole(CLASSIC_PAGE)),
    )
    with Site(classic_answer, lambda handler: next(pages)(handler)) as site, peak_memory() as peak:
        assert ChatgptFree(site.url).complete("Hello you") == "Hello you"
        memory = peak()
    assert sum(wrote) < 30_000_000  # the rest was refused
    assert memory < 15e6


def test_an_answers_redirect_does_not_fill_the_memory_either():
    with peak_memory() as peak:
        caught = failing_call(answer=endless_redirect("/help/", []))
        assert peak() < 40e6
    assert caught.type is ChatgptFreeError


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
    assert peak_of(30_000) - peak_of(2_000) < 28_000 * len("word ") * 4


# ----------------------------------------------------------------------------------------- Threads


@PROTOCOLS
def test_eight_threads_share_one_object_and_one_page(answer, page):
    with Site(answer, page) as site, ChatgptFree(site.url) as bot, ThreadPoolExecutor(8) as pool:
        prompts = [f"prompt {i} " + "word " * (i % 7) for i in range(80)]
        assert list(pool.map(bot.complete, prompts)) == prompts
        assert len(site.pages()) == 1
        assert site.connections <= 9
        guests = {form["session_id"] for form in streams_of(site)}
        assert len(guests) == (1 if page == LOCAL_CURRENT else 0)


def test_eight_threads_with_an_expired_nonce_renew_it_once(protocol):
    together = threading.Barrier(8, timeout=10)
    nonces = iter(["stale", "fresh"])
    renewals = []

    def page(handler):
        nonce = next(nonces)
        handler.whole(
            classic_box(nonce) if protocol == "classic" else current_box(nonce=nonce, ajax_url=None)
        )

    def answer(handler, form):
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            renewals.append(form)
            return handler.whole(json.dumps({"success": True, "data": {"nonce": "fresh"}}))
        if "stale" in (form.get("_wpnonce"), form.get("_ajax_nonce")):
            together.wait()
            return handler.whole("The link you followed has expired.", 403)
        return (classic_answer if protocol == "classic" else current_answer)(handler, form)

    with Site(answer, page) as site, ChatgptFree(site.url) as bot, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(bot.complete, ["Hello"] * 8)) == ["Hello"] * 8
        assert (len(site.pages()), len(renewals)) == ((2, 0) if protocol == "classic" else (1, 1))


def test_threads_before_a_dead_site_share_one_failure():
    together = threading.Barrier(8)

    def call(bot):
        together.wait(10)
        with pytest.raises(requests.Timeout) as caught:
            bot.complete("Hi", timeout=0.5)
        return str(caught.value)

    with (
        Site(None, stall) as site,
        ChatgptFree(site.url) as bot,
        ThreadPoolExecutor(8) as pool,
    ):
        before = time.monotonic()
        words = set(pool.map(call, [bot] * 8))
        elapsed = time.monotonic() - before
        assert len(words) == 1
        assert len(site.asked) == 1
    assert elapsed < 4 * 0.5  # one after another they would take eight time-outs


def test_nobody_waits_for_anothers_look_longer_than_its_own_time_out():
    asked, go_on = threading.Event(), threading.Event()

    def page(handler):
        asked.set()
        go_on.wait(10)
        handler.whole(CLASSIC_PAGE)

    with (
        Site(classic_answer, page) as site,
        ChatgptFree(site.url) as bot,
        ThreadPoolExecutor(1) as pool,
    ):
        patient = pool.submit(bot.complete, "patient", timeout=None)
        assert asked.wait(5)
        for timeout in (0.1, (0.05, 0.05)):
            with pytest.raises(requests.Timeout):
                bot.complete("hasty", timeout=timeout)
        assert not patient.done()
        assert len(site.asked) == 1
        go_on.set()
        assert patient.result(10) == "patient"


@pytest.mark.parametrize("timeout", [(None, None), (9, None)], ids=["none", "to connect only"])
def test_who_has_no_time_out_waits_for_another_threads_look(timeout):
    asked, waiting = threading.Event(), threading.Event()

    def page(handler):
        asked.set()
        waiting.wait(0.05)
        handler.whole(CLASSIC_PAGE)

    with Site(classic_answer, page) as site, ThreadPoolExecutor(1) as pool:
        bot = ChatgptFree(site.url)
        first = pool.submit(bot.complete, "one")
        assert asked.wait(5)
        assert bot.complete("two", timeout=timeout) == "two"
        assert first.result() == "one"


def test_a_failure_is_shared_only_by_those_who_asked_alike():
    asked, go_on = threading.Event(), threading.Event()

    def page(handler):
        asked.set()
        go_on.wait(10)
        handler.whole(CLASSIC_PAGE, 200 if handler.headers["X-Key"] == "right" else 403)

    with (
        Site(classic_answer, page) as site,
        ChatgptFree(site.url, timeout=10) as bot,
        ThreadPoolExecutor(2) as pool,
    ):
        wrong = pool.submit(bot.complete, "Hi", headers={"X-Key": "wrong"})
        assert asked.wait(5)
        right = pool.submit(bot.complete, "Hi", headers={"X-Key": "right"})
        go_on.set()
        assert right.result(10) == "Hi"
        with pytest.raises(ChatgptFreeError):
            wrong.result(10)


# -------------------------------------------------------------------------------------- Generators


def test_a_generator_that_is_not_started_makes_no_request():
    with Site(classic_answer) as site:
        ChatgptFree(site.url).stream("Hi").close()
        assert site.asked == []


@pytest.mark.parametrize("abandon", [close, forget, fail_in_loop])
@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_an_abandoned_answer_closes_its_connection_at_once(abandon, framing):
    def answer(handler, form):
        if form["message"] != "long":
            return classic_answer(handler, form)
        if framing == "chunked":
            # One write: a second could meet a client that has left.
            handler.chunks(chunk("word ") * 3, end=False)
        else:
            handler.head(Connection="close")
            handler.wfile.write((chunk("word ") * 3).encode())
        return handler.wait_for_hang_up()

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        stream = bot.stream("long")
        next(stream)
        streams = [stream]
        del stream
        abandon(streams.pop())
        assert site.gone.wait(5)
        assert bot.complete("Hello again") == "Hello again"


# ------------------------------------------------------------------------------------------- Forks


@needs_fork
@forks
@pytest.mark.parametrize("whose", ["own session", "session of the caller's", "functions"])
@PROTOCOLS
def test_forked_children_and_their_parent_get_their_own_answers(
    answer, page, whose, fork, monkeypatch
):
    with Site(answer, page) as site:
        if whose == "functions":
            lead_functions_to(site.url, monkeypatch)
            complete = chatgptfree.complete
        else:
            session = None if whose == "own session" else requests.Session()
            complete = ChatgptFree(site.url, session=session, timeout=10).complete
        assert complete("first call") == "first call"
        prompts = [f"prompt {i} " + "word " * (i % 7) for i in range(24)]
        heard = fork(complete, 4).map_async(ask_in_child, prompts, chunksize=1)
        own = [complete(f"parent {i}") for i in range(20)]
        assert heard.get(timeout=20) == prompts
        assert own == [f"parent {i}" for i in range(20)]
        assert len(site.pages()) == 1


@needs_fork
@forks
def test_a_child_forked_during_a_look_at_the_page_looks_itself(fork):
    first, go_on = threading.Event(), threading.Event()

    def page(handler):
        if not first.is_set():
            first.set()
            go_on.wait(20)
        handler.whole(CLASSIC_PAGE)

    with Site(classic_answer, page) as site, ThreadPoolExecutor(1) as thread:
        bot = ChatgptFree(site.url, timeout=20)
        early = thread.submit(bot.complete, "in a thread")
        assert first.wait(5)
        try:
            asked = fork(bot.complete).apply_async(ask_in_child, ["in a child"])
            assert asked.get(timeout=10) == "in a child"
        finally:
            go_on.set()
        assert early.result() == "in a thread"


@needs_fork
@forks
def test_a_child_forked_while_the_lock_is_held_does_not_hang(fork):
    with Site(classic_answer) as site:
        bot = ChatgptFree(site.url, timeout=10)
        with lock_of(bot):
            pool = fork(bot.complete)
        assert pool.apply_async(ask_in_child, ["in a child"]).get(timeout=10) == "in a child"


# ------------------------------------------------------------------------------------------ README


def readme_blocks(language):
    text = (HERE / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def first_call_of(block):
    """The first line of a block that calls something."""
    return next(line for line in block.splitlines() if "(" in line)


@pytest.mark.parametrize("block", readme_blocks("python"), ids=first_call_of)
def test_the_readmes_python_runs(block, monkeypatch, tmp_path, without_pauses):
    """Against the demo site, in place of chatgptfree.ai and of the reader's own."""
    (tmp_path / "cat.png").write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    with demo_site() as url, ChatgptFree(url) as shared:
        monkeypatch.setattr(ChatgptFree, "url", url)
        monkeypatch.setattr(chatgptfree, "stream", shared.stream)
        monkeypatch.setattr(chatgptfree, "complete", shared.complete)
        monkeypatch.setattr(chatgptfree, "conversation", shared.conversation)
        code = block.replace("https://my-own-site.example/help/", url)
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102


def test_the_readmes_quick_start_is_two_lines():
    text = (HERE / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"## Quick start\n+```sh\n(.*?)```", text, re.DOTALL)
    first, second = block.splitlines()
    assert first.startswith("python3 -m venv .venv && ")
    assert second.startswith("python3 -m venv .venv && ")


# ------------------------------------------------------------------ Packaging, and the file itself


def test_importing_loads_hardly_more_modules_than_requests():
    code = (
        "import requests, sys; before = set(sys.modules); "
        "import chatgptfree; print(*set(sys.modules) - before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE, check=True
    )
    assert set(result.stdout.split()) <= {"chatgptfree", "html", "html.entities"}


def test_the_file_alone_does_everything(tmp_path):
    alone = tmp_path / "chatgptfree.py"
    alone.write_bytes(pathlib.Path(MODULE).read_bytes())
    result = subprocess.run(
        [sys.executable, str(alone), "--demo", "Hello"],
        capture_output=True,
        encoding="utf-8",
        cwd=tmp_path,
        check=True,
    )
    assert result.stdout == DEMO_ANSWER + "\n"
    head = alone.read_text(encoding="utf-8").split('"""')[1]
    assert "SPDX-License-Identifier: MIT" in head and "Home: " in head


def test_all_names_are_there():
    assert all(hasattr(chatgptfree, name) for name in chatgptfree.__all__)
    assert not {"find_chats", "Chat"} & set(dir(chatgptfree))
    assert issubclass(ChatgptFreeError, RuntimeError)
