"""Tests of chatgptfree, in the order of its sections: prompt, page, wire, ChatgptFree, the demo site, the command line.

What sites send is tested on plain bytes or with `responses`; with real sockets on 127.0.0.1 where time, framing or
connections matter. No test sleeps: where time matters, a server waits until its client has got the last piece.
"""

import asyncio
import configparser
import contextlib
import email.utils
import gc
import gzip
import html
import http.client
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

os.environ["NO_PROXY"] = "127.0.0.1,localhost"  # the sites here are on the loopback, whatever proxy the environment names
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it, and so would its children here
HERE = pathlib.Path(__file__).parent
MODULE = str(HERE / "chatgptfree.py")
SITE = "https://site.example"
AJAX = SITE + "/wp-admin/admin-ajax.php"

# ------------------------------------------------------------------------------- what sites send


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


def current_box(bot_id=25871, nonce="5bbad886de", name="ChatGPT 5 Nano", ajax_url=AJAX):
    config = {"botId": bot_id, "ajaxUrl": ajax_url, "nonce": nonce, "postId": 261, "headerName": name}
    escaped = html.escape(json.dumps(config).replace("/", "\\/"))
    return f"<div class=\"aipkit_chat_container\" data-bot-id=\"{bot_id}\" data-config='{escaped}'></div>"


CLASSIC_PAGE = f"<html><body><p>Hello</p>{classic_box()}</body></html>"
CURRENT_PAGE = current_box() + current_box(25872, name="DeepSeek")


def data(payload):
    return f"data: {payload if isinstance(payload, str) else json.dumps(payload)}\n\n"


def chunk(text, **choice):
    return data({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [{"delta": {"content": text}, **choice}]})


def dressed(word):
    """A word of an error that the plugin dresses up as an answer."""
    return "event: message\n" + data({"choices": [{"delta": {"content": word}}]})


DONE = data("[DONE]")
ROLE = data({"id": "1", "object": "chat.completion.chunk", "choices": [{"delta": {"role": "assistant", "content": ""}}]})
STOP = data({"id": "1", "object": "chat.completion.chunk", "choices": [{"delta": {}, "finish_reason": "stop"}]})
DRESSED_STOP = data({"choices": [{"finish_reason": "stop"}]})
CLASSIC_ANSWER = ROLE + chunk("Hello") + chunk(", wörld 🌍") + STOP + data({"id": "1", "choices": [], "usage": {}}) + DONE
WARNING = '<br />\n<b>Warning</b>:  Undefined array key "x" in <b>/var/www/a.php</b> on line <b>12</b><br />\n'

CURRENT_HEAD = (
    ":" + " " * 4096 + '\n\nevent: message_start\ndata: {"message_id":"aipkit-msg-1"}\n\nevent: status\ndata: {"type":'
    '"response.created","status":"in_progress","delta":"not text","error":"no error"}\n\n'
)
CURRENT_DONE = 'event: openai_response_id\ndata: {"id":"resp_1"}\n\nevent: done\ndata: {"finished":true}\n\n'
CURRENT_ANSWER = CURRENT_HEAD + data({"delta": "Hel"}) + data({"delta": "lo, wörld 🌍"}) + CURRENT_DONE


class Answer:
    """A response that gives the bytes of an answer in these pieces, and fails where one of them is an exception."""

    status_code, reason, headers = 200, "OK", {}

    def __init__(self, *pieces, url=AJAX):
        self.pieces, self.url = pieces, url

    def iter_content(self, size):
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece.encode() if isinstance(piece, str) else piece

    def close(self):
        pass


def reader(*pieces):
    """The generator of an answer's pieces of text."""
    return chatgptfree._texts(chatgptfree._Body(Answer(*pieces), 7))


def heard(texts):
    """All pieces of text that come, and the error that ends them, or None."""
    pieces = []
    try:
        pieces.extend(texts)
    except (ChatgptFreeError, requests.RequestException) as error:
        return pieces, error
    return pieces, None


def read(*pieces):
    """What the reader makes of an answer's pieces: the pieces of text, and the error or None."""
    return heard(reader(*pieces))


class Stub:
    """A session with a site that always sends the same page and the same answer."""

    def __init__(self, page, *answer):
        self.page, self.answer = page, answer

    def get(self, url, params=None, **_):
        return Answer(*self.answer) if params else Answer(self.page, url=url)

    def post(self, url, data, **_):
        return Answer(json.dumps({"data": {"cache_key": "k"}})) if data["action"].startswith("aipkit") else Answer(*self.answer)


def ask(page, *answer):
    """What a client says of such a site: the pieces of text, and the error or None."""
    return heard(ChatgptFree(SITE, session=Stub(page, *answer)).stream("Hi"))


def best_time(work):
    """The CPU time that `work` takes, measured three times."""

    def once():
        before = time.process_time()
        work()
        return time.process_time() - before

    return min(once() for _ in range(3))


# ------------------------------------------------------------------------------------------------------------ prompt


@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        ("Hi", "Hi"),
        ([{"role": "user", "content": " as it\nis "}], " as it\nis "),
        (
            [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}],
            "System: Be terse.\nUser: Hi\nAssistant:",
        ),
        (
            [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}, {"role": "user", "content": "3"}],
            "User: 1\nAssistant: 2\nUser: 3\nAssistant:",
        ),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "ab"),
        (({"role": "user", "content": text} for text in ("a", "b")), "User: a\nUser: b\nAssistant:"),
    ],
)
def test_messages_become_one_prompt(messages, prompt):
    assert format_prompt(messages) == prompt


@pytest.mark.parametrize(
    ("messages", "kind", "words"),
    [
        ([], ValueError, "messages is empty"),
        (None, TypeError, "messages must be .* not NoneType"),
        (b"Hi", TypeError, "not bytes"),
        ({"role": "user", "content": "Hi"}, TypeError, "not dict"),
        (["Hi"], TypeError, r"messages\[0\] must be a mapping .* not str"),
        ([{"content": "Hi"}], ValueError, r"messages\[0\] has no 'role'"),
        ([{"role": "user", "content": "Hi"}, {"role": "user"}], ValueError, r"messages\[1\] has no 'content'"),
        ([{"role": "user", "content": None}], TypeError, r"messages\[0\]\['content'\] must be a str, not NoneType"),
        ([{"role": 7, "content": "Hi"}], TypeError, r"messages\[0\]\['role'\] must be a str, not int"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], ValueError, r"'content'\]\[0\] must be a text .*'image_url'"),
        ([{"role": "user", "content": ["Hi"]}], ValueError, r"\['content'\]\[0\] must be a text part .* not 'Hi'"),
        ("\ud800", ValueError, "cannot be sent as UTF-8"),
    ],
)
def test_a_bad_message_is_named_in_an_error_before_any_request(messages, kind, words):
    with pytest.raises(kind, match=words):
        ChatgptFree("http://127.0.0.1:9/").stream(messages)


# -------------------------------------------------------------------------------------------------------------- page

COMMENT = f"<!-- old copy: {classic_box(nonce='old', post_id='1')} -->"
LIKE_BUTTON = (
    '<article data-post-id="77"><a class="like" data-nonce="decoy" data-post-id="78" data-config=\'{"a":1}\'>+1</a></article>'
)
WIDGET = classic_box("widget", "9", "wpaicg-chatbox")
MINIFIED = "<div data-post-id=6 data-nonce=c10d44dafd class=wpaicg-chat-shortcode data-bot-id=0 title=don't></div>"


@pytest.mark.parametrize(
    "page",
    [
        classic_box(),
        LIKE_BUTTON + classic_box(),
        COMMENT + classic_box(),
        WIDGET + classic_box(),
        classic_box() + WIDGET,
        classic_box().replace('"', "'"),
        MINIFIED,
        "<p title=it's>" + classic_box(),
        classic_box().replace("=", " = "),
        classic_box().replace("data-", "DATA-").replace("DATA-openai", 'data-welcome="a <b> & data-nonce=\'x\' c>d" data-openai'),
        classic_box(nonce="&#99;10d44dafd"),
        classic_box(css_class="theme wpaicg-chat-shortcode wide"),
        f"<script>var old = '{classic_box(nonce='old')}'; if (1<2) {{}}</script>" + classic_box(),
        classic_box(nonce="") + classic_box(),
        "<!--[if !IE]><!-->" + classic_box() + "<!--<![endif]-->",
        "<!-->" + classic_box() + "<!-- -->",
        "<b <i <div" + classic_box(),
        LIKE_BUTTON.replace('{"a":1}', "{broken") + classic_box(),
    ],
)
def test_the_classic_chat_is_found(page):
    (chat,) = chatgptfree._find_chats(f"<html><body>{page}</body></html>", SITE + "/help/")
    assert (chat.nonce, chat.post_id, chat.bot_id) == ("c10d44dafd", "6", "0")
    assert (chat.action, chat.ajax_url) == ("wpaicg_chat_shortcode_message", AJAX)


@pytest.mark.parametrize("post_id", ["8", "<8", "&lt;8"])
def test_a_widget_alone_is_the_chat_whose_post_id_some_releases_misprint(post_id):
    page = LIKE_BUTTON + classic_box(post_id=post_id, css_class="wpaicg-chatbox", bot_id="10420")
    (chat,) = chatgptfree._find_chats(page, SITE)
    assert (chat.action, chat.post_id, chat.bot_id) == ("wpaicg_chatbox_message", "8", "10420")


@pytest.mark.parametrize(
    ("page", "missing"),
    [
        ("", "no chat, neither nonce nor post id, on"),
        (LIKE_BUTTON, "no chat, neither nonce nor post id, on"),
        (COMMENT, "no chat, neither nonce nor post id, on"),
        (classic_box(nonce=""), "no nonce in the chat on"),
        (classic_box(post_id=""), "no post id in the chat on"),
        (classic_box("", ""), "no nonce and no post id in the chat on"),
    ],
)
def test_a_page_without_a_chat_says_what_is_missing_and_where(page, missing):
    with pytest.raises(ChatNotFoundError, match=f"^{missing} https://site.example/help/$"):
        chatgptfree._find_chats(page, SITE + "/help/")


def params(ajax_url):
    escaped = json.dumps({"ajax_url": ajax_url, "x": 1}).replace("/", "\\/")
    return f"<script>var wpaicgParams = {escaped};</script>"


@pytest.mark.parametrize("box", [lambda url: params(url) + classic_box(), lambda url: current_box(ajax_url=url)])
@pytest.mark.parametrize(
    ("told", "used"),
    [
        (AJAX, AJAX),
        (SITE + "/blog/wp-admin/admin-ajax.php", SITE + "/blog/wp-admin/admin-ajax.php"),
        ("http://site.example/wp-admin/admin-ajax.php?lang=de", AJAX + "?lang=de"),
        ("/blog/wp-admin/admin-ajax.php", SITE + "/blog/wp-admin/admin-ajax.php"),
        ("https://evil.example/collect", AJAX),
        ("//evil.example/collect", AJAX),
        ("https://site.example//evil.example/collect", SITE + "//evil.example/collect"),
        ("https://site.example@evil.example/collect", AJAX),
        ("http://[broken", AJAX),
        (7, AJAX),
        (None, AJAX),
    ],
)
def test_the_ajax_address_is_the_pages_but_never_on_another_host(box, told, used):
    assert chatgptfree._find_chats(box(told), SITE + "/help/")[0].ajax_url == used


def test_a_current_page_has_a_chat_for_each_bot_in_page_order():
    popup = current_box(3, name="Popup").replace("aipkit_chat_container", "aipkit_popup_wrapper")
    decoys = "<i data-config></i><i data-config='{}'></i><i data-config='{&quot;botId&quot;:1'></i><i data-config='[1]'></i>"
    page = classic_box() + decoys + f"<!-- {current_box(9)} -->" + current_box(2, name="DeepSeek") + popup + current_box(2)
    chats = chatgptfree._find_chats(page, SITE)
    assert [(chat.bot_id, chat.name, chat.post_id) for chat in chats] == [("2", "DeepSeek", "261"), ("3", "Popup", "261")]


def nested(depth):
    return "<i data-config='" + '{"a":' * depth + "'></i>"


@pytest.mark.parametrize(
    "piece",
    ["<p>filler</p>", '<div class="a b" id="x" style="color:red">text</div>', "<!-- comment -->", "<script>if (a<b) {};</script>",
     "<div ", "<div", "<", "<!--", "<script ", '<a b="', "<a b='\"", "=a", "<a =", "<div class=wpaicg-chat ", nested(1),
     '<i data-config="{'],
)  # fmt: skip
def test_scraping_takes_no_more_than_linear_time(piece):
    def scrape(size):
        with contextlib.suppress(ChatNotFoundError):
            chatgptfree._find_chats("<a " + piece * (size // len(piece)), SITE)

    assert best_time(lambda: scrape(500_000)) < 30 * best_time(lambda: scrape(50_000))  # quadratic: 100 times


def test_json_nested_without_end_is_no_chat():
    with pytest.raises(ChatNotFoundError):
        chatgptfree._find_chats(nested(100_000), SITE)


# -------------------------------------------------------------------------------------------------------------- wire

JSON_ANSWER = {"status": "success", "msg": "Something went wrong", "data": "Hello, wörld", "log": None}
ASSISTANT = (
    "event: thread_id\ndata: thread_abc\n\n"
    'event: thread.message.delta\ndata: {"delta":{"content":[{"type":"text","text":{"value":"Hello"}}]}}\n\n'
    'event: thread.message.completed\ndata: {"delta":{"content":"not again"}}\n\nevent: done\ndata: [DONE]\n\n'
)
OLD_CUT = data({"id": "1", "choices": [{"text": "Hel"}]})
OLD_MODEL = OLD_CUT + data({"id": "1", "choices": [{"text": "lo", "finish_reason": "stop"}]})


@pytest.mark.parametrize(
    ("name", "payload", "kind", "words"),
    [
        # either protocol
        ("", "[DONE]", "end", ""),
        ("done", {"finished": True}, "end", ""),
        ("done", "[DONE]", "end", ""),
        ("", "[LIMITED]", "noise", "[LIMITED]"),
        ("", "<p>502</p>\n", "noise", "<p>502</p>\n"),
        ("", {}, "nothing", ""),
        ("", {"usage": None}, "nothing", ""),
        ("", {"data": {"a": 1}}, "nothing", ""),
        # classic: text
        ("", {"id": 1, "choices": [{"delta": {"content": "Hi"}}]}, "text", "Hi"),
        ("message", {"id": 1, "choices": [{"delta": {"content": "Hi"}}]}, "text", "Hi"),
        ("message", {"object": "chunk", "choices": [{"delta": {"content": "Hi"}}]}, "text", "Hi"),
        ("", {"choices": [{"text": "Hi"}]}, "text", "Hi"),
        ("", {"choices": []}, "nothing", ""),
        ("", {"choices": [None]}, "nothing", ""),
        ("", {"choices": [{"delta": None}]}, "text", ""),
        ("", {"choices": [{"delta": {"content": 7}}]}, "text", ""),
        ("", {"choices": [{"delta": {"content": "Hi"}, "finish_reason": None}]}, "text", "Hi"),
        ("", {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}, "last", "Hi"),
        ("", {"choices": [{"text": "Hi", "finish_reason": "length"}]}, "last", "Hi"),
        ("", {"choices": [{"finish_reason": "stop"}]}, "last", ""),
        ("thread.message.delta", {"delta": {"content": [{"text": {"value": "H"}}, {"text": {"value": "i"}}, 7]}}, "text", "Hi"),
        ("thread.message.completed", {"delta": {"content": "again"}}, "nothing", ""),
        ("thread_id", "thread_abc", "nothing", "thread_abc"),
        ("", {"status": "success", "msg": "Something went wrong", "data": "Hi"}, "whole", "Hi"),
        ("", {"status": "success", "msg": "Something went wrong", "data": None}, "whole", ""),
        ("", {"data": "Hi"}, "whole", "Hi"),
        # classic: errors
        ("message", {"choices": [{"delta": {"content": " key"}}]}, "dressed", " key"),
        ("message", {"choices": [{"finish_reason": "stop"}]}, "dressed", ""),
        ("message", '{"choices": [{"delta": {"content": "the "key" is"}}]}', "dressed", 'the "key" is'),
        ("message", '{"choices": [{"delta": {"content": "two', "dressed", "two"),
        ("message", "[LIMITED]", "nothing", ""),
        ("", {"error": {"message": "Down", "type": "server_error"}}, ChatgptFreeError, "Down"),
        ("", {"error": {"code": 500}}, ChatgptFreeError, ""),
        ("", {"error": {"message": "Slow down", "code": "rate_limit_exceeded"}}, RateLimitError, "Slow down"),
        ("", {"status": "error", "msg": "It&#039;s <b>broken</b>"}, ChatgptFreeError, "It's broken"),
        ("", {"status": "error"}, ChatgptFreeError, ""),
        ("assistant_error", {"status": "error", "msg": "No assistant"}, ChatgptFreeError, "No assistant"),
        ("", {"msg": "Used up", "tokenLimitReached": True}, RateLimitError, "Used up"),
        ("", {"msg": "Bad word", "messageFlagged": True}, ChatgptFreeError, "Bad word"),
        ("", {"msg": ""}, ChatgptFreeError, ""),
        # current
        ("", {"delta": "Hi"}, "text", "Hi"),
        ("", {"delta": ""}, "nothing", ""),
        ("warning", {"error": " four (Incomplete: max_output_tokens)"}, "text", " four (Incomplete: max_output_tokens)"),
        ("warning", {}, "text", ""),
        ("status", {"status": "error", "delta": "no", "error": "no"}, "nothing", ""),
        ("citations", {"delta": "no"}, "nothing", ""),
        ("message_start", {"message_id": "aipkit-msg-1"}, "nothing", ""),
        ("error", {"error": "Guests may not"}, ChatgptFreeError, "Guests may not"),
        ("error", {"error": "Enough.", "quota_notice": {"type": "quota_notice"}}, RateLimitError, "Enough."),
        ("error", {}, ChatgptFreeError, ""),
        ("", {"error": "Solve this first", "ts_required": True}, BlockedError, "Solve this first"),
        ("", {"success": False, "data": {"message": "Security check failed."}}, ChatgptFreeError, "Security check failed."),
    ],
)
def test_an_event_has_one_meaning(name, payload, kind, words):
    assert chatgptfree._meaning(name, payload) == (kind, words)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (CLASSIC_ANSWER, "Hello, wörld 🌍"),
        (chunk("Hello") + DONE + chunk("ignored"), "Hello"),
        (chunk("Hello") + STOP, "Hello"),
        (chunk("Hello", finish_reason="stop"), "Hello"),
        (chunk("Hel", finish_reason="stop") + chunk("lo") + DONE, "Hello"),
        (chunk("Hello") + STOP + json.dumps({"status": "success", "msg": "ok", "data": "Hello"}), "Hello"),
        (ASSISTANT, "Hello"),
        (OLD_MODEL + DONE, "Hello"),
        (data({"choices": []}) + chunk("Hello") + data({"usage": None}) + DONE, "Hello"),
        (chunk(None) + chunk("Hello") + data({"choices": None}) + data({"choices": [None]}) + DONE, "Hello"),
        (data({"id": 1, "choices": [{"delta": None}]}) + chunk(7) + chunk("Hello") + data("null") + DONE, "Hello"),
        (CLASSIC_ANSWER.replace("\n", "\r\n"), "Hello, wörld 🌍"),
        (CLASSIC_ANSWER.replace("data: ", "data:"), "Hello, wörld 🌍"),
        (CLASSIC_ANSWER.replace("\n\n", "\n"), "Hello, wörld 🌍"),
        (CLASSIC_ANSWER.replace("\n\n", "\n\n: ping\n\nid: 7\nretry: 10\n\n"), "Hello, wörld 🌍"),
        (CLASSIC_ANSWER.replace("\n\n", "\n\n" + WARNING), "Hello, wörld 🌍"),
        (CLASSIC_ANSWER.replace("\n\n", "\n" + WARNING), "Hello, wörld 🌍"),
        ("\ufeff" + chunk("Hello") + DONE, "Hello"),
        (CLASSIC_ANSWER[:-2], "Hello, wörld 🌍"),
        ("event: message\n" + chunk("Hello") + DONE, "Hello"),
        (data("[LIMITED]") + data("{broken") + chunk("Hello") + DONE, "Hello"),
        (json.dumps(JSON_ANSWER), "Hello, wörld"),
        ('{"data": "Hello"}', "Hello"),
        (chunk("Hello") + STOP + json.dumps(JSON_ANSWER), "Hello"),
        (json.dumps(JSON_ANSWER, indent=2) + "\n", "Hello, wörld"),
        ("\ufeff" + json.dumps(JSON_ANSWER), "Hello, wörld"),
        ("\n" + WARNING + json.dumps(JSON_ANSWER, indent=2) + "\n" + WARNING, "Hello, wörld"),
        ("\ufeff" + WARNING + "\ufeff" + json.dumps(JSON_ANSWER), "Hello, wörld"),
        (CURRENT_ANSWER, "Hello, wörld 🌍"),
        (CURRENT_ANSWER.replace("\n", "\r\n"), "Hello, wörld 🌍"),
        (data({"delta": "Hello"}) + 'event: warning\ndata: {"error":" four (Incomplete: max_output_tokens)"}\n\n' + CURRENT_DONE,
         "Hello four (Incomplete: max_output_tokens)"),
        ('data: {"delta":\ndata: "Hello"}\n\n' + CURRENT_DONE, "Hello"),
        ('data: {"choices": [\ndata: {"delta": {"content": "Hello"}}\ndata: ]}\n\n' + DONE, "Hello"),
        ('event: citations\ndata: {"delta":"no"}\n\nevent: grounding_metadata\ndata: [1]\n\n' + data({"delta": "Hello"})
         + CURRENT_DONE, "Hello"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("cut", ["whole", "bytes"])
def test_an_answer_gives_its_text(answer, text, cut):
    """In one read, or with every character and line cut in two."""
    raw = answer.encode()
    texts, error = read(raw) if cut == "whole" else read(*(raw[i : i + 1] for i in range(len(raw))))
    assert "".join(texts) == text
    assert error is None
    assert all(texts)


TOKEN_LIMIT = {"msg": "You have reached your token limit.", "tokenLimitReached": True}
QUOTA = {"error": "Enough for today.", "quota_notice": {"type": "quota_notice", "message": "Enough for today."}}
RAW_ERROR = '{\n  "error": {\n    "message": "Incorrect API key provided",\n    "code": "invalid_api_key"\n  }\n}\n'


@pytest.mark.parametrize(
    ("answer", "kind", "words", "partial"),
    [
        (json.dumps({"status": "error", "msg": "It&#039;s <b>broken</b>"}), ChatgptFreeError, "It's broken", ""),
        (WARNING + json.dumps({"status": "error", "msg": "No."}, indent=1), ChatgptFreeError, "No.", ""),
        (json.dumps(TOKEN_LIMIT), RateLimitError, "You have reached your token limit.", ""),
        (data(TOKEN_LIMIT), RateLimitError, "You have reached your token limit.", ""),
        (data({"msg": "Bad word", "messageFlagged": True}) + CLASSIC_ANSWER, ChatgptFreeError, "Bad word", ""),
        (data({"msg": "Banned", "ipBanned": True}) + CLASSIC_ANSWER, ChatgptFreeError, "Banned", ""),
        (data({"msg": "Index gone", "pineconeError": True}), ChatgptFreeError, "Index gone", ""),
        ((dressed("Invalid") + dressed(" key.") + DRESSED_STOP) * 2 + data("[LIMITED]"), ChatgptFreeError, "Invalid key.", ""),
        (dressed("Invalid") + dressed(" key."), ChatgptFreeError, "Invalid key.", ""),
        (dressed("Invalid") + dressed(" key.") + DONE, ChatgptFreeError, "Invalid key.", ""),
        (dressed("Your quota is used up") + DRESSED_STOP, RateLimitError, "Your quota is used up", ""),
        (dressed("Too many requests") + DRESSED_STOP, RateLimitError, "Too many requests", ""),
        (dressed("Cannot generate limited editions") + DRESSED_STOP, ChatgptFreeError, "Cannot generate limited editions", ""),
        (dressed("the") + dressed(" @key@").replace("@", '"') + dressed(" is bad") + DRESSED_STOP,
         ChatgptFreeError, 'the "key" is bad', ""),
        (dressed("two@lines").replace("@", "\n") + DRESSED_STOP, ChatgptFreeError, "two lines", ""),
        (chunk("Hello") + dressed("Overloaded") + DRESSED_STOP, IncompleteReplyError,
         "the answer broke off: Overloaded", "Hello"),
        (RAW_ERROR + DRESSED_STOP, ChatgptFreeError, "Incorrect API key provided", ""),
        (RAW_ERROR[:70] + "\n" + DRESSED_STOP, ChatgptFreeError, '{ "error": { "message": "Incorrect API key provided"', ""),
        (chunk("Hello") + data({"error": {"message": "The server had an error", "type": "server_error"}}), IncompleteReplyError,
         "the answer broke off: The server had an error", "Hello"),
        (chunk("Hello") + data({"error": {"message": "Slow down", "code": "rate_limit_exceeded"}}), IncompleteReplyError,
         "the answer broke off: Slow down", "Hello"),
        ('event: assistant_error\ndata: {"status":"error","msg":"No assistant"}\n\n', ChatgptFreeError, "No assistant", ""),
        (data({"error": {"code": 500}}), ChatgptFreeError, "the site reported an error without words", ""),
        (chunk("Hello") + chunk(" wor"), IncompleteReplyError, "the answer broke off", "Hello wor"),
        (chunk("Hello") + chunk(" world")[:-9], IncompleteReplyError, "the answer broke off", "Hello"),
        (chunk("Hello") + "<p>There has been a critical error.</p>", IncompleteReplyError,
         "the answer broke off: There has been a critical error.", "Hello"),
        ("", IncompleteReplyError, "the site sent no answer", ""),
        (CURRENT_HEAD, IncompleteReplyError, "the site sent no answer", ""),
        (json.dumps(JSON_ANSWER)[:60], IncompleteReplyError, "the answer broke off before any text", ""),
        ("dat", IncompleteReplyError, "the answer broke off before any text", ""),
        (chunk("Hello") + json.dumps(JSON_ANSWER), IncompleteReplyError, "the answer broke off", "Hello"),
        (OLD_CUT + json.dumps(JSON_ANSWER, indent=1), IncompleteReplyError, "the answer broke off", "Hel"),
        (RAW_ERROR.rstrip() + dressed("Incorrect") + DRESSED_STOP, ChatgptFreeError, "Incorrect API key provided", ""),
        (RAW_ERROR[:70].rstrip() + dressed("Incorrect API key provided") + DRESSED_STOP, ChatgptFreeError,
         "Incorrect API key provided", ""),
        ("<html><style>p {}</style><title>502</title>\n\n<p>Bad&nbsp;Gateway", ChatgptFreeError, "502 Bad Gateway", ""),
        ("0", ChatgptFreeError, "0", ""),
        (ROLE + STOP + DONE, ChatgptFreeError, "the site's answer is empty", ""),
        (json.dumps({"status": "success", "msg": "Something went wrong", "data": ""}), ChatgptFreeError,
         "the site's answer is empty", ""),
        (CURRENT_HEAD + CURRENT_DONE, ChatgptFreeError, "the site's answer is empty", ""),
        (CURRENT_HEAD + data({"delta": "Hel"}), IncompleteReplyError, "the answer broke off", "Hel"),
        (CURRENT_HEAD + "event: error\nid: err-1\n" + data({"error": "Guests may not"}) + CURRENT_DONE,
         ChatgptFreeError, "Guests may not", ""),
        (CURRENT_HEAD + "event: error\nid: err-1\n" + data(QUOTA) + CURRENT_DONE, RateLimitError, "Enough for today.", ""),
        (data({"delta": "Hel"}) + "event: error\n" + data({"error": "API Error: x (Code: y)"}), IncompleteReplyError,
         "the answer broke off: API Error: x (Code: y)", "Hel"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("page", [CLASSIC_PAGE, CURRENT_PAGE], ids=["classic", "current"])
def test_a_failing_answer_is_an_error_with_the_sites_words_and_the_text_so_far(answer, kind, words, partial, page):
    texts, error = ask(page, answer)
    assert "".join(texts) == error.partial == partial
    assert type(error) is kind
    assert str(error).startswith(words)
    assert "broke off" not in str(error).replace(words, "")


def test_an_error_that_comes_twice_is_in_the_message_once():
    _, error = read((dressed("Invalid") + dressed(" key.") + DRESSED_STOP) * 2)
    assert str(error) == "Invalid key."


def test_noise_before_text_is_not_part_of_an_error():
    assert str(read(WARNING + "\n" + chunk("Hello"))[1]) == "the answer broke off"


def test_the_words_of_an_error_are_short_and_on_one_line():
    _, error = read("<h1>Oh\nno</h1>\x1b[31m" + "<p>very</p>" * 1000)
    assert str(error).startswith("Oh no [31m very very")
    assert len(str(error)) == 300


def test_a_cut_after_the_end_of_an_answer_is_ignored():
    assert read(chunk("Hello") + STOP, ConnectionResetError()) == (["Hello"], None)


def test_what_came_before_a_cut_is_yielded_and_the_cut_is_kept_in_the_body():
    body = chatgptfree._Body(Answer(chunk("Hello").rstrip(), ConnectionResetError("reset by peer")), 7)
    texts, error = heard(chatgptfree._texts(body))
    assert texts == ["Hello"]
    assert error is body.cut
    assert isinstance(error, requests.ConnectionError)
    assert str(error) == "lost the connection to site.example: reset by peer"


@pytest.mark.parametrize(
    ("endless", "words"),
    [
        (b"data: x" * 900, "a line of over 30,000 bytes"),
        (b"x" * 50, "a line of over 30,000 bytes"),
        (b"word\n" * 900, "300,000 bytes without an end or any text"),
        (b": ping\n\n" * 900, "300,000 bytes without an end or any text"),
        (b"data: {}\n\n" * 900, "300,000 bytes without an end or any text"),
        (b'{"a":\n' * 900, "300,000 bytes without an end or any text"),
        (b'data: {"a":\n' * 900, "300,000 bytes without an end or any text"),
    ],
)
def test_an_endless_answer_without_text_is_an_error_in_bounded_memory(endless, words, monkeypatch):
    monkeypatch.setattr(chatgptfree, "LINE_LIMIT", 30_000)  # less than they are, to be quick
    monkeypatch.setattr(chatgptfree, "BODY_LIMIT", 300_000)
    with peak_memory() as peak, pytest.raises(ChatgptFreeError, match=words):
        list(reader(*[endless] * 100_000))
    assert peak() < 2e6


def test_an_answer_with_text_in_it_may_be_longer_than_one_without(monkeypatch):
    monkeypatch.setattr(chatgptfree, "BODY_LIMIT", 1000)
    assert read(*[chunk("word ")] * 100, DONE) == (["word "] * 100, None)


def test_many_lines_that_could_begin_an_object_take_linear_time():
    def look(count):
        assert list(chatgptfree._objects('{"a":\n' * count)) == []

    assert best_time(lambda: look(300_000)) < 30 * best_time(lambda: look(30_000))


@contextlib.contextmanager
def peak_memory():
    gc.collect()
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# -------------------------------------------------------------------------------- ChatgptFree: requests and options


@pytest.fixture
def mock():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def forms(mock, method="POST"):
    """The fields of each request, as the site gets them."""
    calls = [call.request for call in mock.calls if call.request.method == method]
    return [dict(parse_qsl(request.body or urlsplit(request.url).query, keep_blank_values=True)) for request in calls]


def add_classic(mock, *answers, page=CLASSIC_PAGE, url=SITE + "/"):
    mock.get(url, body=page)
    for answer in answers:
        mock.post(AJAX, **({"body": answer, "content_type": "text/event-stream"} if isinstance(answer, str) else answer))


def add_current(mock, *answers, page=CURRENT_PAGE):
    mock.get(SITE + "/", body=page)
    mock.post(AJAX, json={"success": True, "data": {"cache_key": "aipkit_sse_1"}})
    for answer in answers:
        mock.get(AJAX, **({"body": answer, "content_type": "text/event-stream"} if isinstance(answer, str) else answer))


def test_the_classic_request_is_the_plugins(mock):
    add_classic(mock, CLASSIC_ANSWER, url=SITE + "/help/")
    assert ChatgptFree(SITE + "/help/").complete("Hi") == "Hello, wörld 🌍"
    (form,) = forms(mock)
    assert re.fullmatch("[0-9A-Za-z]{10}", form.pop("wpaicg_chat_client_id"))
    assert form == {"_wpnonce": "c10d44dafd", "post_id": "6", "url": SITE, "action": "wpaicg_chat_shortcode_message",
                    "message": "Hi", "bot_id": "0"}  # fmt: skip
    assert mock.calls[0].request.headers["Cache-Control"] == "no-cache"
    headers = mock.calls[1].request.headers
    assert (headers["Origin"], headers["Referer"], headers["Accept-Encoding"]) == (SITE, SITE + "/help/", "identity")


def test_the_current_requests_are_the_plugins(mock):
    add_current(mock, CURRENT_ANSWER)
    prompt = "if a<b and c>d: x\n  %41"
    assert ChatgptFree(SITE).complete(prompt) == "Hello, wörld 🌍"
    assert forms(mock) == [
        {"action": "aipkit_cache_sse_message", "message": prompt, "_ajax_nonce": "5bbad886de", "bot_id": "25871"}
    ]
    query = forms(mock, "GET")[1]
    uuids = [query.pop("session_id"), query.pop("conversation_uuid")]
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid) for uuid in uuids)
    assert abs(int(query.pop("_ts")) / 1000 - time.time()) < 60
    assert query == {"action": "aipkit_frontend_chat_stream", "cache_key": "aipkit_sse_1", "bot_id": "25871", "post_id": "261",
                     "_ajax_nonce": "5bbad886de"}  # fmt: skip
    for call in mock.calls[1:]:
        assert call.request.headers["Referer"] == SITE + "/"
        assert "Origin" not in call.request.headers


def test_one_object_is_one_guest_of_a_current_site_with_a_conversation_for_each_call(mock):
    add_current(mock, CURRENT_ANSWER)
    bot = ChatgptFree(SITE)
    for client in (bot, bot, ChatgptFree(SITE)):
        client.complete("Hi")
    queries = [query for query in forms(mock, "GET") if query]
    assert [query["session_id"] == queries[0]["session_id"] for query in queries] == [True, True, False]
    assert len({query["conversation_uuid"] for query in queries}) == 3


def test_one_object_is_one_guest_of_a_classic_site(mock):
    add_classic(mock, CLASSIC_ANSWER)
    bot = ChatgptFree(SITE)
    for client in (bot, bot, ChatgptFree(SITE)):
        client.complete("Hi")
    guests = [form["wpaicg_chat_client_id"] for form in forms(mock)]
    assert [guest == guests[0] for guest in guests] == [True, True, False]


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("if a<b and c>d: x", "if a&lt;b and c>d: x"),
        ('a "quoted" & c>d &lt; \n %41', 'a "quoted" & c>d &lt; \n %41'),
    ],
)
def test_of_a_prompt_for_a_classic_site_only_the_less_than_sign_is_escaped(mock, prompt, sent):
    add_classic(mock, CLASSIC_ANSWER)
    ChatgptFree(SITE).complete(prompt)
    assert forms(mock)[0]["message"] == sent


def test_a_subfolder_and_a_custom_bot(mock):
    mock.get(SITE + "/", body=params(SITE + "/blog/wp-admin/admin-ajax.php") + classic_box(bot_id="10420"))
    mock.post(SITE + "/blog/wp-admin/admin-ajax.php", body=CLASSIC_ANSWER)
    ChatgptFree(SITE).complete("Hi")
    assert (forms(mock)[0]["url"], forms(mock)[0]["bot_id"]) == (SITE + "/blog", "10420")


@pytest.mark.parametrize("page", [CURRENT_PAGE + CLASSIC_PAGE, CLASSIC_PAGE + CURRENT_PAGE])
def test_the_current_protocol_wins_on_a_page_with_both(mock, page):
    add_current(mock, CURRENT_ANSWER, page=page)
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"


@pytest.mark.parametrize(
    ("model", "bot_id"),
    [(None, "25871"), ("", "25871"), ("gpt-4o-mini-2024-07-18", "25871"), ("gpt-4o-mini", "25871"), ("DeepSeek", "25872"),
     (" deepSEEK", "25872"), (25872, "25872"), ("25872", "25872"), ("chatgpt 5 nano", "25871")],
)  # fmt: skip
def test_a_model_is_a_bot_of_the_page_by_name_or_number(mock, model, bot_id):
    add_current(mock, CURRENT_ANSWER)
    ChatgptFree(SITE).complete("Hi", model=model)
    assert forms(mock)[0]["bot_id"] == forms(mock, "GET")[1]["bot_id"] == bot_id


def test_an_unknown_model_is_an_error_that_names_the_pages(mock):
    add_current(mock, CURRENT_ANSWER)
    words = "no model 'gpt-9' on https://site.example/, which offers ChatGPT 5 Nano (25871), DeepSeek (25872)"
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
    assert ChatgptFree(SITE + "/classic").list_models() == ChatgptFree.models == ["gpt-4o-mini-2024-07-18"]


def test_the_attributes_are_those_of_gpt4free():
    assert (ChatgptFree.url, ChatgptFree.working) == ("https://chatgptfree.ai", True)
    assert ChatgptFree.model_aliases == {"gpt-4o-mini": ChatgptFree.default_model}
    bot = ChatgptFree(SITE)
    assert (bot.url, bot._nonce, bot._post_id) == (SITE, None, None)


def test_nonce_and_post_id_are_kept_between_calls(mock):
    add_classic(mock, CLASSIC_ANSWER)
    bot = ChatgptFree(SITE)
    bot.complete("Hi")
    bot.complete("Hi")
    assert (bot._nonce, bot._post_id) == ("c10d44dafd", "6")
    assert [call.request.method for call in mock.calls] == ["GET", "POST", "POST"]


def test_options_go_to_every_request_as_requests_takes_them():
    seen = []

    class Session:
        def send(self, url, **options):
            seen.append(options)
            return Answer(CLASSIC_PAGE if url == SITE + "/" else CLASSIC_ANSWER, url=url)

        get = post = send

    ChatgptFree(SITE, session=Session()).complete(
        "Hi", proxy="http://proxy:1", timeout=7, cookies={"a": "b"}, verify="ca.pem",
        headers={"accept-encoding": "gzip", "X": "y"},
    )  # fmt: skip
    for options in seen:
        assert options["proxies"] == {"http": "http://proxy:1", "https": "http://proxy:1"}
        assert (options["timeout"], options["cookies"], options["verify"]) == (7, {"a": "b"}, "ca.pem")
        assert options["headers"]["X"] == "y"
        assert [value for name, value in options["headers"].items() if name.lower() == "accept-encoding"] == ["gzip"]
        assert (options["stream"], options["allow_redirects"]) == (True, False)


class Source(http.client.HTTPResponse):
    """The standard library's response, without a socket: `read1` gives these pieces."""

    fp = length = None

    def __init__(self, pieces):
        self.pieces = iter(pieces)

    def read1(self, size):
        return next(self.pieces, b"")


def fake_response(pieces=(), url=SITE):
    """A response as `requests` makes them."""
    response = requests.Response()
    response.status_code, response.url = 200, url
    response.raw = types.SimpleNamespace(_fp=Source(pieces), close=lambda: None)
    return response


def test_a_response_that_is_not_urllib3s_is_read_too():
    class Session:
        def get(self, url, **_):
            return self.response(CLASSIC_PAGE)

        def post(self, url, **_):
            return self.response(CLASSIC_ANSWER)

        def response(self, body):
            response = fake_response()
            response.raw = io.BytesIO(body.encode())
            return response

    assert ChatgptFree(SITE, session=Session()).complete("Hi") == "Hello, wörld 🌍"


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


def test_an_address_that_is_no_str_is_a_typeerror():
    with pytest.raises(TypeError, match="url must be a str, not int"):
        ChatgptFree(7)


@pytest.mark.parametrize("options", [{"nonsense": 1}, {"data": {}}, {"allow_redirects": True}])
def test_an_unknown_keyword_is_a_typeerror_before_any_request(mock, options):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{next(iter(options))}'"):
        ChatgptFree(SITE).stream("Hi", **options)
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{next(iter(options))}'"):
        ChatgptFree(SITE, **options)
    assert not mock.calls


def test_a_reply_is_a_str_that_a_notebook_shows_as_markdown(mock):
    add_classic(mock, chunk("**bold**") + DONE)
    reply = ChatgptFree(SITE).complete("Hi")
    assert type(reply) is Reply and reply == "**bold**" and reply._repr_markdown_() == "**bold**"


def test_the_functions_are_the_methods_of_one_object():
    assert chatgptfree.stream.__self__ is chatgptfree.complete.__self__
    assert isinstance(chatgptfree.stream.__self__, ChatgptFree)


def test_all_names_are_there():
    assert all(hasattr(chatgptfree, name) for name in chatgptfree.__all__)
    assert not {"find_chats", "Chat"} & set(dir(chatgptfree))
    assert issubclass(ChatgptFreeError, RuntimeError)


# ----------------------------------------------------------------------------------- refusals, and a chat that has changed

EXPIRED = {"status": 403, "body": "<p>The link you followed has expired.</p>", "content_type": "text/html"}
GONE = {"status": 400, "body": "0"}  # the plugin does not know the action
CLASSIC_REFUSALS = [  # and their words
    (EXPIRED, "HTTP 403: The link you followed has expired."),
    ({**EXPIRED, "body": "Der Link ist abgelaufen."}, "HTTP 403: Der Link ist abgelaufen."),
    ({"json": {"status": "error", "msg": "Nonce verification failed"}}, "Nonce verification failed"),
    ({"json": {"status": "error", "msg": "随机数验证失败"}}, "随机数验证失败"),
    ({"json": {"status": "error", "msg": "Banned word"}}, "Banned word"),
    (GONE, "HTTP 400: 0 (the plugin is off or has changed, or the prompt is over the server's limit)"),
    ({"status": 500, "body": "<p>Out of order"}, "HTTP 500: Out of order"),
    ({"body": dressed("Invalid") + dressed(" key.") + DRESSED_STOP}, "Invalid key."),
    ({"body": ROLE + STOP + DONE}, "the site's answer is empty"),
    ({"body": ""}, "the site sent no answer"),
]


def pages(mock):
    return [call for call in mock.calls if call.request.url == SITE + "/"]


@pytest.mark.parametrize(("refusal", "words"), CLASSIC_REFUSALS)
def test_a_classic_site_that_refuses_is_asked_once_more_if_its_chat_has_changed(mock, refusal, words):
    add_classic(mock, refusal, CLASSIC_ANSWER)
    mock.get(SITE + "/", body=classic_box(nonce="fresh"))
    bot = ChatgptFree(SITE)
    assert bot.complete("Hi") == "Hello, wörld 🌍"
    assert [form["_wpnonce"] for form in forms(mock)] == ["c10d44dafd", "fresh"]
    assert bot._nonce == "fresh"


@pytest.mark.parametrize(("refusal", "words"), CLASSIC_REFUSALS)
def test_a_classic_site_that_refuses_is_not_asked_again_if_its_chat_is_the_same(mock, refusal, words):
    add_classic(mock, refusal, CLASSIC_ANSWER)
    with pytest.raises(ChatgptFreeError, match=f"^{re.escape(words)}$") as caught:
        ChatgptFree(SITE).complete("Hi")
    assert caught.type is (IncompleteReplyError if "sent no answer" in words else ChatgptFreeError)
    assert (len(pages(mock)), len(forms(mock))) == (2, 1)


@pytest.mark.parametrize("look", [{"status": 500}, {"body": "no chat"}, {"body": requests.ConnectionError("gone")}])
def test_if_the_chat_cannot_be_looked_up_again_the_first_error_is_raised(mock, look):
    add_classic(mock, EXPIRED)
    mock.get(SITE + "/", **look)
    with pytest.raises(ChatgptFreeError, match="^HTTP 403: The link you followed has expired.$") as caught:
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
CHALLENGE = {"status": 403, "body": "<title>Just a moment...</title>", "headers": {"cf-mitigated": "challenge"}}


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (LIMIT, RateLimitError),
        ({"status": 429, "body": "Slow down"}, RateLimitError),
        (CHALLENGE, BlockedError),
        ({"body": data({"error": "Solve this first", "ts_required": True})}, BlockedError),
        ({"body": requests.ConnectionError("gone")}, requests.ConnectionError),
        ({"body": chunk("Hello")}, IncompleteReplyError),
    ],
)
def test_after_a_limit_a_challenge_a_network_failure_or_some_text_the_chat_is_not_looked_up_again(mock, refusal, kind):
    add_classic(mock, refusal, CLASSIC_ANSWER)
    mock.get(SITE + "/", body=classic_box(nonce="fresh"))
    with pytest.raises(kind):
        ChatgptFree(SITE).complete("Hi")
    assert (len(pages(mock)), len(forms(mock))) == (1, 1)


def refused(words):
    return "event: error\nid: err-1\n" + data({"error": words}) + CURRENT_DONE


def renewed(nonce):
    return 200, {}, json.dumps({"success": True, "data": {"nonce": nonce}})


def current_site(mock, renewal, step=1, words="Security check failed.", pages=(CURRENT_PAGE,)):
    """A site of the current protocol that takes the nonce "fresh" and refuses others at `step`, with these words."""

    def ajax(request):
        form = dict(parse_qsl(request.body or urlsplit(request.url).query))
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            return renewal
        good = form["_ajax_nonce"] == "fresh"
        if form["action"] == "aipkit_cache_sse_message":
            if good or step == 2:
                return 200, {}, json.dumps({"success": True, "data": {"cache_key": "k"}})
            return 403, {}, json.dumps({"success": False, "data": {"message": words, "code": "nonce_failure_cache_sse"}})
        return 200, {}, CURRENT_ANSWER if good else refused(words)

    for page in pages:
        mock.get(SITE + "/", body=page)
    mock.add_callback("POST", AJAX, ajax)
    mock.add_callback("GET", AJAX, ajax)


def actions(mock):
    """What was asked, in order."""
    requests = [call.request for call in mock.calls]
    forms = [dict(parse_qsl(request.body or urlsplit(request.url).query)) for request in requests]
    return [form.get("action", "page").replace("aipkit_", "").replace("frontend_chat_", "") for form in forms]


ASKED = {1: ["cache_sse_message"], 2: ["cache_sse_message", "stream"]}
WAYS = [renewed("fresh"), renewed("5bbad886de"), (400, {}, "0"), (500, {}, "<p>Oops"), (200, {}, "<p>Hello")]


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("words", ["Security check failed.", "セキュリティチェックに失敗しました", "Something else."])
@pytest.mark.parametrize("renewal", WAYS, ids=["fresh", "the same", "no such action", "failure", "nonsense"])
def test_a_current_site_that_refuses_is_asked_once_more_with_a_nonce_of_its_nonce_action_or_its_page(mock, step, words, renewal):
    current_site(mock, renewal, step, words, [CURRENT_PAGE, CURRENT_PAGE.replace("5bbad886de", "fresh")])
    assert ChatgptFree(SITE).complete("Hi", model="DeepSeek") == "Hello, wörld 🌍"
    look = ["get_nonce"] if renewal is WAYS[0] else ["get_nonce", "page"]
    assert actions(mock) == ["page", *ASKED[step], *look, *ASKED[2]]
    assert {form["bot_id"] for form in forms(mock)} == {"25872"}


@pytest.mark.parametrize(("step", "words"), [(1, "HTTP 403: Not here."), (2, "Not here.")])
@pytest.mark.parametrize("renewal", WAYS[1:], ids=["the same", "no such action", "failure", "nonsense"])
def test_a_current_site_that_refuses_is_not_asked_again_if_nothing_has_changed(mock, step, words, renewal):
    current_site(mock, renewal, step, "Not here.")
    with pytest.raises(ChatgptFreeError, match=f"^{words}$") as caught:
        ChatgptFree(SITE).complete("Hi")
    assert caught.type is ChatgptFreeError
    assert actions(mock) == ["page", *ASKED[step], "get_nonce", "page"]


def test_a_renewed_nonce_that_is_refused_too_is_an_error_in_the_sites_words(mock):
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


class ChangingSite:
    """A site whose plugin or bots change: `page` is what it shows now, `bots` are those that it has; none: it is classic."""

    def __init__(self, mock):
        mock.add_callback("GET", SITE + "/", lambda request: (200, {}, self.page))
        mock.add_callback("POST", AJAX, self.ajax)
        mock.add_callback("GET", AJAX, self.ajax)

    def show(self, page, *bots):
        self.page, self.bots = page, bots

    def ajax(self, request):
        form = dict(parse_qsl(request.body or urlsplit(request.url).query))
        if form["action"].startswith("wpaicg") == bool(self.bots):
            return 400, {}, "0"
        if not self.bots:
            return 200, {}, chunk("classic") + DONE
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            return renewed("5bbad886de")
        if form["action"] == "aipkit_cache_sse_message":
            return 200, {}, json.dumps({"success": True, "data": {"cache_key": "k"}})
        if form["bot_id"] not in self.bots:
            return 200, {}, refused("Invalid chatbot specified.")
        return 200, {}, data({"delta": "bot " + form["bot_id"]}) + CURRENT_DONE


def test_a_client_works_on_after_the_plugin_was_updated_or_put_back(mock):
    site = ChangingSite(mock)
    site.show(CLASSIC_PAGE)
    bot = ChatgptFree(SITE)
    assert bot.complete("Hi") == "classic"
    site.show(CURRENT_PAGE, "25871", "25872")
    assert bot.complete("Hi") == "bot 25871"
    site.show(CLASSIC_PAGE)
    assert bot.complete("Hi") == "classic"


@pytest.mark.parametrize(("model", "answers"), [(None, ["25871", "7"]), ("DeepSeek", ["25872", "8"])])
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
        ({"status": 400, "json": {"success": False, "data": {"message": "No message.", "code": "empty_data_to_cache"}}},
         "HTTP 400: No message."),
        ({"status": 403, "json": {"success": False, "data": {"message": "Not here.", "code": "embed_not_available"}}},
         "HTTP 403: Not here."),
        ({"status": 500, "body": "<title>Error</title><p>There has been a critical error."},
         "HTTP 500: Error There has been a critical error."),
        ({"status": 200, "body": "<p>Down for maintenance"}, "HTTP 200: Down for maintenance"),
        ({"status": 200, "json": {"success": True, "data": {}}}, 'HTTP 200: {"success": true, "data": {}}'),
        ({"status": 500, "body": '<h1>Oh no</h1><script>\n{"@context": 1}\n</script>'}, "HTTP 500: Oh no"),
        ({"status": 200, "json": {"success": False, "data": "Sorry"}}, "HTTP 200: Sorry"),
        ({"status": 200, "body": ""}, "HTTP 200: OK"),
    ],
)  # fmt: skip
def test_an_error_at_the_first_step_has_the_sites_words(mock, answer, words):
    mock.get(SITE + "/", body=CURRENT_PAGE)
    mock.post(AJAX, **answer)
    with pytest.raises(ChatgptFreeError, match=f"^{re.escape(words)}$"):
        ChatgptFree(SITE).complete("Hi")
    assert [action for action in actions(mock) if action != "get_nonce"] == ["page", "cache_sse_message", "page"]


def test_warnings_before_the_cache_key_are_ignored(mock):
    mock.get(SITE + "/", body=CURRENT_PAGE)
    mock.post(AJAX, body="\ufeff" + WARNING + json.dumps({"success": True, "data": {"cache_key": "k"}}))
    mock.get(AJAX, body=CURRENT_ANSWER)
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"


@pytest.mark.parametrize("challenge", [CHALLENGE, {**CHALLENGE, "headers": {}}, {**CHALLENGE, "status": 503, "body": ""}])
@pytest.mark.parametrize("where", ["page", "answer"])
def test_a_challenge_says_what_to_do(mock, challenge, where):
    mock.get(SITE + "/", **(challenge if where == "page" else {"body": CLASSIC_PAGE}))
    mock.post(AJAX, **challenge)
    with pytest.raises(BlockedError, match="https://site.example/.*browser.*cf_clearance.*User-Agent"):
        ChatgptFree(SITE).complete("Hi")


IN_AN_HOUR = email.utils.formatdate(time.time() + 3600, usegmt=True)


@pytest.mark.parametrize(
    ("retry_after", "low", "high"),
    [("30", 30, 30), (IN_AN_HOUR, 3500, 3600), ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0), ("soon", None, None), (None, None, None),
     ("²", None, None), ("-5", None, None)],
)  # fmt: skip
@pytest.mark.parametrize("where", ["page", "answer"])
def test_too_many_requests_say_how_long_to_wait(mock, retry_after, low, high, where):
    limit = {"status": 429, "body": "<h1>Slow down</h1>", "headers": {"Retry-After": retry_after} if retry_after else {}}
    mock.get(SITE + "/", **(limit if where == "page" else {"body": CLASSIC_PAGE}))
    mock.post(AJAX, **limit)
    with pytest.raises(RateLimitError, match=r"^HTTP 429: Slow down( \(try again in \d+ s\))?$") as caught:
        ChatgptFree(SITE).complete("Hi")
    seconds = caught.value.retry_after
    assert seconds is None if low is None else low <= seconds <= high
    assert ("try again" in str(caught.value)) == (seconds is not None)


@pytest.mark.parametrize("status", [400, 404, 500, 502])
@pytest.mark.parametrize("where", ["page", "answer"])
def test_other_refusals_give_the_status_and_the_pages_words(mock, status, where):
    refusal = {"status": status, "body": "<style>p {}</style><h1>Not\n now</h1><script>quota()</script>"}
    mock.get(SITE + "/", **(refusal if where == "page" else {"body": CLASSIC_PAGE}))
    mock.post(AJAX, **refusal)
    with pytest.raises(ChatgptFreeError, match=f"^HTTP {status}: Not now$") as caught:
        ChatgptFree(SITE).complete("Hi")
    assert caught.type is ChatgptFreeError
    assert caught.value.partial == ""


def test_list_models_raises_the_error_of_a_refused_page(mock):
    mock.get(SITE + "/", status=403, body="Forbidden")
    with pytest.raises(ChatgptFreeError, match="^HTTP 403: Forbidden$") as caught:
        ChatgptFree(SITE).list_models()
    assert caught.type is ChatgptFreeError


@pytest.mark.parametrize(
    ("page", "answer", "reason"),
    [
        (CLASSIC_PAGE, [data({"error": {"message": "Overloaded"}})], ": Overloaded"),
        (CLASSIC_PAGE, [dressed("Over") + dressed("loaded") + DRESSED_STOP], ": Overloaded"),
        (CLASSIC_PAGE, [data({"msg": "Used up", "tokenLimitReached": True})], ": Used up"),
        (CURRENT_PAGE, ["event: error\n" + data({"error": "Connection Error: closed"})], ": Connection Error: closed"),
        (CURRENT_PAGE, ["event: error\n" + data(QUOTA)], ": Enough for today."),
    ]
    + [
        (page, answer, reason)
        for page in (CLASSIC_PAGE, CURRENT_PAGE)
        for answer, reason in [
            ([], ""),
            ([ConnectionResetError("reset by peer")], ": lost the connection to site.example: reset by peer"),
            ([socket.timeout()], ": nothing came from site.example for 7 seconds"),
            (["x" * 1001], ": the site sent a line of over 1,000 bytes"),
            ([": ping\n\n"] * 2000, ": the site sent 10,000 bytes without an end or any text of an answer"),
        ]
    ],
)
def test_after_some_text_every_failure_is_an_incomplete_reply_with_the_text_and_the_reason(page, answer, reason, monkeypatch):
    monkeypatch.setattr(chatgptfree, "LINE_LIMIT", 1000)
    monkeypatch.setattr(chatgptfree, "BODY_LIMIT", 10_000)
    bot = ChatgptFree(SITE, session=Stub(page, chunk("Hel") + data({"delta": "lo"}), *answer), timeout=7)
    texts, error = heard(bot.stream("Hi"))
    assert texts == ["Hel", "lo"]
    assert type(error) is IncompleteReplyError
    assert (error.partial, str(error)) == ("Hello", "the answer broke off" + reason)
    with pytest.raises(IncompleteReplyError) as caught:
        bot.complete("Hi")
    assert caught.value.partial == "Hello"


def test_after_an_error_the_object_can_be_used_again(mock):
    add_classic(mock, chunk("Hel"), {"status": 500}, {"body": requests.ConnectionError("gone")}, CLASSIC_ANSWER)
    bot = ChatgptFree(SITE)
    for kind in (IncompleteReplyError, ChatgptFreeError, requests.ConnectionError):
        with pytest.raises(kind):
            bot.complete("Hi")
    assert bot.complete("Hi") == "Hello, wörld 🌍"


def test_a_failure_of_the_network_before_any_text_is_requests_own_and_names_the_host(mock):
    gone = requests.ConnectionError("gone")
    mock.get(SITE + "/", body=gone)
    with pytest.raises(requests.ConnectionError, match="^no answer from site.example: gone$") as caught:
        ChatgptFree(SITE).complete("Hi")
    assert caught.value is gone


def test_an_answer_of_unreasonable_length_ends_in_an_error_with_the_text(mock, monkeypatch):
    monkeypatch.setattr(chatgptfree, "ANSWER_LIMIT", 100_000)
    add_classic(mock, chunk("words " * 100) * 1000)
    with pytest.raises(IncompleteReplyError, match="broke off: the site's answer goes on after 100,000 characters") as caught:
        ChatgptFree(SITE).complete("Hi")
    assert 100_000 < len(caught.value.partial) <= 100_600


# ---------------------------------------------------------------------------------------------------- what goes to which host


def test_a_redirect_of_the_page_is_followed_and_its_new_address_is_the_origin(mock):
    mock.get("http://old.example/", status=301, headers={"Location": "https://site.example/help/"})
    add_classic(mock, CLASSIC_ANSWER, url=SITE + "/help/")
    assert ChatgptFree("http://old.example/").complete("Hi") == "Hello, wörld 🌍"
    headers = mock.calls[-1].request.headers
    assert (headers["Origin"], headers["Referer"]) == (SITE, SITE + "/help/")


@pytest.mark.parametrize(
    ("home", "is_home"),
    [
        ("https://site.example/", True),
        ("http://site.example/", True),
        ("https://site.example:8443/", False),
        ("http://site.example:8080/", False),
        ("https://other.example/", False),
        ("https://www.site.example/", False),
    ],
)
def test_the_callers_cookies_headers_and_auth_go_to_the_host_of_url_only(mock, home, is_home):
    if home != SITE + "/":
        mock.get(home, status=302, headers={"Location": SITE + "/"})
    add_classic(mock, CLASSIC_ANSWER)
    ChatgptFree(home).complete("Hi", cookies={"a": "b"}, headers={"Cookie2": "c"}, auth=("me", "pw"))
    sent = [call.request.headers for call in mock.calls if urlsplit(call.request.url).netloc == "site.example"][-2:]
    assert [(h.get("Cookie"), h.get("Cookie2"), h.get("Authorization")) for h in sent] == [
        ("a=b", "c", "Basic bWU6cHc=") if is_home else (None, None, None)
    ] * 2


def test_a_page_that_redirects_without_end_is_an_error(mock):
    mock.get(SITE + "/", status=302, headers={"Location": "/"})
    with pytest.raises(requests.TooManyRedirects):
        ChatgptFree(SITE).complete("Hi")
    assert len(mock.calls) == 10


def test_user_and_password_of_an_address_are_sent_as_auth_and_nowhere_shown(mock):
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


# ------------------------------------------------------------------------------------- connections, over real sockets


class Site(ThreadingHTTPServer):
    """A site on the loopback that keeps connections alive; `answer(handler, form)` writes what follows the page."""

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
        if reset:  # a closed socket that lingers no time sends RST
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.wfile.close()
        self.connection.close()

    def wait_for_hang_up(self):
        with contextlib.suppress(ConnectionResetError):  # as is a client's leave that had not read everything
            if not select.select([self.connection], [], [], 10)[0] or self.connection.recv(1):
                return
        self.server.gone.set()
        self.close_connection = True

    def log_message(self, *_):
        pass


def http_chunk(raw):
    return b"%x\r\n%s\r\n" % (len(raw), raw)


def classic_answer(handler, form):
    handler.chunks(*(chunk(word) for word in re.findall(r"\S+\s*", form["message"])), DONE)


def current_answer(handler, form):
    if form["action"] == "aipkit_cache_sse_message":
        handler.whole(json.dumps({"success": True, "data": {"cache_key": form["message"]}}))
    else:
        handler.chunks(CURRENT_HEAD, *(data({"delta": word}) for word in re.findall(r"\S+\s*", form["cache_key"])), CURRENT_DONE)


PIECES = [chunk("one "), chunk("two "), chunk("three") + DONE]


def framed(framing):
    """Response headers, and the bytes of each of PIECES, in a framing."""
    raw = [piece.encode() for piece in PIECES]
    headers = {"Connection": "close"}
    if "gzip" in framing:
        zipper = zlib.compressobj(wbits=31)
        raw = [zipper.compress(piece) + zipper.flush(zlib.Z_SYNC_FLUSH) for piece in raw[:-1]] + [
            zipper.compress(raw[-1]) + zipper.flush()
        ]
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


@pytest.mark.parametrize("framing", ["chunked", "close", "gzip chunked", "gzip close", "one chunk", "length"])
def test_a_piece_is_yielded_when_its_bytes_arrive_however_they_are_framed(framing):
    """The site sends a piece only when the one before it has been yielded, so that a reader that waits for more fails."""
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
    [(classic_answer, CLASSIC_PAGE, 1), (current_answer, current_box(ajax_url=None), 2)],
    ids=["classic", "current"],
)
def test_ten_calls_take_one_page_and_one_connection(answer, page, requests_a_call):
    with Site(answer, page) as site, ChatgptFree(site.url) as bot:
        for i in range(10):
            assert bot.complete(f"call {i}") == f"call {i}"
        assert (len(site.pages()), site.connections, len(site.asked)) == (1, 1, 1 + 10 * requests_a_call)


@pytest.mark.parametrize("send", [SiteHandler.whole, SiteHandler.chunks], ids=["length", "chunked"])
def test_a_json_answer_gives_its_connection_back_too(send):
    with Site(lambda handler, form: send(handler, json.dumps(JSON_ANSWER))) as site, ChatgptFree(site.url) as bot:
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


def test_a_connection_is_given_back_with_its_timeout_and_its_response_closed(monkeypatch):
    """Another thread takes it at once."""
    states = []

    def put(pool, connection):
        states.append((connection.sock.gettimeout(), connection._HTTPConnection__response.isclosed()))

    def answer(handler, form):
        handler.whole(json.dumps(JSON_ANSWER))

    monkeypatch.setattr(urllib3.connectionpool.HTTPConnectionPool, "_put_conn", put)
    with Site(answer) as site, ChatgptFree(site.url) as bot:
        bot.complete("Hi", timeout=7)
    assert states == [(7, True), (7, True)]  # the page's and the answer's


def go_on(handler, pause=0.0):
    """Send comments until the client has left, or for ten seconds."""
    until = time.monotonic() + 10
    try:
        while time.monotonic() < until and not select.select([handler.connection], [], [], pause)[0]:
            handler.wfile.write(http_chunk(b": still here\n\n"))
    except OSError:
        handler.server.gone.set()
    if time.monotonic() < until:
        handler.server.gone.set()
    handler.close_connection = True


def go_on_slowly(handler):
    go_on(handler, 0.05)


@pytest.mark.parametrize("afterwards", [SiteHandler.wait_for_hang_up, go_on, go_on_slowly])
def test_a_finished_answer_leaves_a_site_that_does_not_end_its_response(afterwards, monkeypatch):
    assert chatgptfree.LINGER <= 0.25
    monkeypatch.setattr(chatgptfree, "LINGER", 0.05)

    def answer(handler, form):
        handler.chunks(chunk("Hello") + DONE, end=False)
        afterwards(handler)

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert bot.complete("Hi", timeout=30) == "Hello"
        assert site.gone.wait(15)  # set where the client leaves first: the site goes on for ten seconds


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
    zipped = zipper.compress((chunk("Hello") + chunk(" wörld")).encode()) + zipper.flush(zlib.Z_SYNC_FLUSH)
    handler.wfile.write(zipped + after)
    handler.hang_up()


def break_gzip(handler):
    cut_gzip(handler, b"junk" * 9)


def stall(handler):
    handler.chunks(chunk("Hello"), chunk(" wörld"), end=False)
    handler.wait_for_hang_up()


def too_short(handler):
    raw = (chunk("Hello") + chunk(" wörld")).encode()
    handler.head(Content_Length=str(len(raw) + 50))
    handler.wfile.write(raw)
    handler.hang_up()


LOST = r": lost the connection to 127.0.0.1:\d+: .+"


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        (cut_between_chunks, LOST),
        (cut_in_chunk, LOST),
        (too_short, LOST),
        (stall, r": nothing came from 127.0.0.1:\d+ for 0.5 seconds"),
        (cut_in_character, ""),
        (cut_gzip, ""),
        (break_gzip, ".*"),
    ],
)
def test_text_before_a_break_is_yielded_and_in_partial_and_the_reason_is_told(cut, reason):
    with Site(lambda handler, form: cut(handler)) as site, ChatgptFree(site.url) as bot:
        texts, error = heard(bot.stream("Hi", timeout=0.5))
    assert texts == ["Hello", " wörld"]
    assert type(error) is IncompleteReplyError
    assert error.partial == "Hello wörld"
    assert re.fullmatch(f"the answer broke off{reason}", str(error))

def reset_at_once(handler):
    handler.head(Transfer_Encoding="chunked")
    handler.hang_up(reset=True)


def stall_at_once(handler):
    handler.head(Transfer_Encoding="chunked")
    handler.wait_for_hang_up()


def break_gzip_at_once(handler):
    handler.head(Content_Encoding="gzip", Connection="close")
    handler.wfile.write(b"junk" * 9)
    handler.hang_up()


@pytest.mark.parametrize(
    ("cut", "kind", "words"),
    [
        (reset_at_once, requests.ConnectionError, r"^(lost the|no answer) .* 127.0.0.1:\d+: Connection reset by peer$"),
        (stall_at_once, requests.Timeout, r"^nothing came from 127.0.0.1:\d+ for 0.5 seconds$"),
        (break_gzip_at_once, requests.RequestException, r"^lost the connection to 127.0.0.1:\d+: .*decompressing"),
    ],
)
def test_a_break_before_any_text_is_requests_own_exception_and_names_the_host(cut, kind, words):
    with Site(lambda handler, form: cut(handler)) as site, ChatgptFree(site.url) as bot, pytest.raises(kind, match=words):
        bot.complete("Hi", timeout=0.5)


def test_a_compression_that_nobody_asked_for_is_named():
    def answer(handler, form):
        handler.head(Content_Encoding="br", Connection="close")
        handler.hang_up()

    with Site(answer) as site, ChatgptFree(site.url) as bot, pytest.raises(ChatgptFreeError, match="'br', unasked"):
        bot.complete("Hi")


@pytest.mark.parametrize("encoding", ["none", "identity", "UTF-8"])
def test_a_content_encoding_that_is_no_compression_is_ignored(encoding):
    def answer(handler, form):
        handler.head(Content_Encoding=encoding, Connection="close")
        handler.wfile.write((chunk("Hello") + DONE).encode())
        handler.close_connection = True

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert bot.complete("Hi") == "Hello"


def endless(handler, raw):
    with contextlib.suppress(OSError):
        handler.head(Connection="close")
        for _ in range(10**5):
            handler.wfile.write(raw)
    handler.hang_up()


@pytest.mark.parametrize(
    ("page", "answer", "words"),
    [
        (lambda handler: endless(handler, b"<p>" * 5000), None, "10,000,000 bytes without an end or any text"),
        (CLASSIC_PAGE, b"data: x" * 5000, "a line of over 1,000,000 bytes"),
        (CLASSIC_PAGE, b"a line of no stream, which is rather long\n" * 1000, "1,000,000 bytes without an end or any text"),
    ],
    ids=["page", "line", "body"],
)
def test_what_has_no_end_is_an_error(page, answer, words, monkeypatch):
    if answer and b"\n" in answer:  # under a tracer, text that grows line by line takes quadratic time
        monkeypatch.setattr(chatgptfree, "BODY_LIMIT", 1_000_000)
    with Site(lambda handler, form: endless(handler, answer), page) as site, pytest.raises(ChatgptFreeError, match=words):
        ChatgptFree(site.url).complete("Hi")


def test_a_gzip_bomb_is_an_error_in_bounded_memory():
    bomb = gzip.compress(b"data: " + b"x" * 50_000_000)

    def answer(handler, form):
        handler.head(Content_Encoding="gzip", Content_Length=str(len(bomb)))
        handler.wfile.write(bomb)

    with Site(answer) as site, peak_memory() as peak, pytest.raises(ChatgptFreeError, match="a line of over"):
        try:
            ChatgptFree(site.url).complete("Hi")
        finally:
            assert peak() < 10e6


def test_memory_stays_constant_but_for_the_text_itself():
    def peak_of(count):
        pieces = [chunk("word ").encode()] * count + [DONE.encode()]

        class Session:
            def get(self, url, **_):
                return fake_response([CLASSIC_PAGE.encode()], url)

            def post(self, url, **_):
                return fake_response(pieces)

        bot = ChatgptFree(SITE, session=Session())
        with peak_memory() as peak:
            for _ in bot.stream("Hi"):
                pass
            return peak()

    peak_of(10)
    assert peak_of(30_000) - peak_of(2_000) < 28_000 * len("word ") * 4  # a str for each word would take over ten times the text


# ------------------------------------------------------------------------------------------- threads and generators


@pytest.mark.parametrize(("answer", "page"), [(classic_answer, CLASSIC_PAGE), (current_answer, current_box(ajax_url=None))])
def test_eight_threads_share_one_object_and_one_page(answer, page):
    with Site(answer, page) as site, ChatgptFree(site.url) as bot, ThreadPoolExecutor(8) as pool:
        prompts = [f"prompt {i} " + "word " * (i % 7) for i in range(80)]
        assert list(pool.map(bot.complete, prompts)) == prompts
        assert len(site.pages()) == 1
        assert site.connections <= 9
        assert len({form["session_id"] for _, _, _, form in site.asked if "session_id" in form}) in (0, 1)


@pytest.mark.parametrize("protocol", ["classic", "current"])
def test_eight_threads_with_an_expired_nonce_renew_it_once(protocol):
    together = threading.Barrier(8, timeout=10)
    nonces = iter(["stale", "fresh"])
    renewals = []

    def page(handler):
        nonce = next(nonces)
        handler.whole(classic_box(nonce) if protocol == "classic" else current_box(nonce=nonce, ajax_url=None))

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


def test_a_generator_that_is_not_started_makes_no_request():
    with Site(classic_answer) as site:
        ChatgptFree(site.url).stream("Hi").close()
        assert site.asked == []


def close(stream):
    stream.close()


def forget(stream):
    del stream
    gc.collect()


def fail_in_loop(stream):
    with contextlib.suppress(ZeroDivisionError):
        for _ in stream:
            1 / 0  # noqa: B018


@pytest.mark.parametrize("abandon", [close, forget, fail_in_loop])
@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_an_abandoned_answer_closes_its_connection_at_once_and_leaves_the_object_usable(abandon, framing):
    def answer(handler, form):
        if form["message"] != "long":
            return classic_answer(handler, form)
        if framing == "chunked":
            handler.chunks(chunk("word ") * 3, end=False)  # one write: a second could meet a client that has left
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


# ---------------------------------------------------------------------------------------- two hosts, over real sockets


def redirect_to(url, status=302):
    return lambda handler, *_: handler.whole("", status, Location=url)


def test_cookies_are_not_sent_to_another_host_that_the_page_redirects_to():
    with Site(classic_answer) as stranger, Site(None, redirect_to(stranger.url + "/")) as site:
        ChatgptFree(site.url).complete("Hi", cookies={"secret": "1"}, headers={"X-Secret": "1", "Cookie": "secret=1"})
        assert "secret" in site.asked[0][2]["Cookie"]
        for _, _, headers, _ in stranger.asked:
            assert "secret" not in str(headers).lower()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("page", [CLASSIC_PAGE, current_box(ajax_url=None)], ids=["classic", "current"])
def test_a_post_that_is_redirected_is_an_error_and_is_not_followed(status, page):
    with Site(classic_answer) as stranger, Site(redirect_to(stranger.url + "/steal", status), page) as site:
        with pytest.raises(ChatgptFreeError, match=f"^HTTP {status}: .* redirects to {stranger.url}/steal, which was not"):
            ChatgptFree(site.url).complete("Hi")
        assert stranger.asked == []


def test_a_stream_that_is_redirected_is_an_error_and_is_not_followed():
    def answer(handler, form):
        current_answer(handler, form) if "message" in form else redirect_to(stranger.url)(handler)

    with Site(classic_answer) as stranger, Site(answer, current_box(ajax_url=None)) as site:
        with pytest.raises(ChatgptFreeError, match="which was not followed"):
            ChatgptFree(site.url).complete("Hi")
        assert stranger.asked == []


@pytest.mark.parametrize(
    ("answer", "page"),
    [(classic_answer, lambda url: params(url) + classic_box()), (current_answer, lambda url: current_box(ajax_url=url))],
)
def test_an_ajax_address_on_another_host_is_not_used(answer, page):
    with Site(answer) as stranger:
        address = stranger.url.replace("127.0.0.1", "localhost") + "/wp-admin/admin-ajax.php"
        with Site(answer, page(address)) as site:
            assert ChatgptFree(site.url).complete("Hi") == "Hi"
        with Site(answer, page(stranger.url + "/wp-admin/admin-ajax.php")) as site:
            assert ChatgptFree(site.url).complete("Hi") == "Hi"
        assert stranger.asked == []


# ------------------------------------------------------------------------------------------- cut and damaged answers

TRANSCRIPTS = [
    CLASSIC_ANSWER,
    WARNING + json.dumps(JSON_ANSWER, indent=1),
    chunk("Hel") + WARNING + chunk("lo") + (dressed("Inv") + dressed("@x@").replace("@", '"') + DRESSED_STOP) * 2,
    ASSISTANT + RAW_ERROR,
    CURRENT_ANSWER[4090:],
    data({"delta": "Hel"}) + 'event: warning\ndata: {"error":" four"}\n\n' + "event: error\n" + data(QUOTA),
]


def text_of(page, answer):
    """All text of an answer, of which each failure tells the same."""
    texts, error = ask(page, answer)
    assert all(isinstance(text, str) and text for text in texts)
    assert getattr(error, "partial", "") == ("".join(texts) if error else "")
    assert not (error and texts) or isinstance(error, IncompleteReplyError)
    return "".join(texts)


@pytest.mark.parametrize("transcript", TRANSCRIPTS)
def test_a_transcript_cut_anywhere_yields_a_prefix_of_its_text(transcript):
    page = CURRENT_PAGE if "finished" in transcript else CLASSIC_PAGE
    raw = transcript.encode()
    whole = text_of(page, raw)
    assert whole
    for end in range(len(raw)):
        assert whole.startswith(text_of(page, raw[:end]))


@pytest.mark.parametrize("page", [CLASSIC_PAGE, CURRENT_PAGE, COMMENT + params(AJAX) + WIDGET])
def test_a_page_cut_anywhere_has_its_chat_or_none(page):
    whole = chatgptfree._find_chats(page, SITE)
    for end in range(len(page)):
        with contextlib.suppress(ChatNotFoundError):
            assert all(chat in whole for chat in chatgptfree._find_chats(page[:end], SITE))


JUNK = [b"", b"\n", b"{", b'"', b"data: ", b"event: error\n", b"null", b"\xff", b"[" * 3000, b"<", b"\0\x1b\xf0\x9f"]


def mutated(raw, chance):
    raw = bytearray(raw)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(raw) + 1)
        length = chance.choice([0, 1, 1, 5, 50])
        junk = chance.choice(JUNK)
        raw[at : at + length] = junk
    return bytes(raw)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_answers_raise_only_the_librarys_and_requests_exceptions(seed):
    chance = random.Random(seed)
    for _ in range(400):
        page, answer = chance.choice([CLASSIC_PAGE, CURRENT_PAGE]), chance.choice(TRANSCRIPTS).encode()
        if chance.random() < 0.3:
            page = mutated(page.encode(), chance)
        text_of(page, mutated(answer, chance))


# ------------------------------------------------------------------------------------ the demo site, the command line

DEMO_ANSWER = "You asked: “Hello”. This is the demo site: it has no better answer, but streams it a word at a time."


@pytest.fixture
def standard_input(monkeypatch, tmp_path):
    """Make a file with a text standard input."""
    with contextlib.ExitStack() as stack:

        def use(text):
            path = tmp_path / "stdin"
            path.write_text(text, encoding="utf-8")
            monkeypatch.setattr(sys, "stdin", stack.enter_context(path.open(encoding="utf-8")))

        yield use


@pytest.fixture
def without_pauses(monkeypatch):
    """The demo site answers without its pauses."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def test_the_demo_site_quotes_the_prompt_and_checks_the_nonce(without_pauses):
    with demo_site() as url:
        bot = ChatgptFree(url)
        assert 'if a<b: print("x")  \n %41' in bot.complete('if a<b: print("x")  \n %41')
        bot._nonce = "expired"
        assert bot.complete("Hello") == DEMO_ANSWER
    with pytest.raises(requests.ConnectionError):
        ChatgptFree(url).complete("Hi")


def test_the_demo_site_is_quiet_when_a_client_leaves(capfd):
    before = threading.enumerate()
    with demo_site() as url:
        stream = ChatgptFree(url).stream("Hello")
        next(stream)
        answering = [thread for thread in threading.enumerate() if thread not in before and "process_request" in thread.name]
        stream.close()
        for thread in answering:
            thread.join(30)
            assert not thread.is_alive()
    assert capfd.readouterr() == ("", "")


def run(*arguments, stdin="", **options):
    """The command line in a process of its own."""
    command = [sys.executable, MODULE, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, encoding="utf-8", check=False, **options)


def test_the_demo_needs_no_proxy():
    environment = {**os.environ, "NO_PROXY": "", "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    assert run("--demo", "Hello", env=environment).stdout == DEMO_ANSWER + "\n"


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [(["Hello"], ""), ([], "Hello, file\n"), (["-"], "Hello, file\n"), ([], "")],
)
def test_the_answer_is_printed_with_a_newline(arguments, stdin, monkeypatch, capsys, without_pauses, standard_input):
    standard_input(stdin)
    assert main(["--demo", *arguments]) == 0
    assert capsys.readouterr() == (DEMO_ANSWER.replace("Hello", stdin.strip() or "Hello") + "\n", "")


def test_the_words_of_a_prompt_and_a_system_text_are_sent(mock, capsys):
    add_classic(mock, CLASSIC_ANSWER)
    assert main(["--url", SITE, "--system", "Be terse.", "--timeout", "7", "How", "are", "you?"]) == 0
    assert forms(mock)[0]["message"] == "System: Be terse.\nUser: How are you?\nAssistant:"
    assert capsys.readouterr().out == "Hello, wörld 🌍\n"


def test_models_cookies_and_the_list_of_models(mock, capsys):
    add_current(mock, CURRENT_ANSWER)
    assert main(["--url", SITE, "--models"]) == 0
    assert capsys.readouterr().out == "ChatGPT 5 Nano\nDeepSeek\n"
    assert main(["--url", SITE, "--model", "deepseek", "--cookie", "a=b", "--cookie", "c=d=e", "Hi"]) == 0
    assert forms(mock)[0]["bot_id"] == "25872"
    assert mock.calls[-1].request.headers["Cookie"] == "a=b; c=d=e"


def test_a_proxy_is_used(capsys):
    with Site(classic_answer) as proxy:  # takes whole addresses for paths, as proxies are asked
        assert main(["--url", "http://site.example/", "--proxy", proxy.url, "Hi"]) == 0
    assert [path for _, path, _, _ in proxy.asked] == ["http://site.example/", "http://site.example/wp-admin/admin-ajax.php"]
    assert capsys.readouterr().out == "Hi\n"


def test_an_error_is_one_line_and_exit_status_1_and_what_had_come_stays(mock, capsys):
    add_classic(mock, chunk("Hello") + data({"error": {"message": "The server\nhad an\x1b[31m error"}}))
    assert main(["--url", SITE, "Hi"]) == 1
    assert capsys.readouterr() == ("Hello\n", "chatgptfree: the answer broke off: The server had an [31m error\n")


def test_a_failure_of_the_network_is_one_line_and_exit_status_1():
    result = run("--url", "http://127.0.0.1:9/", "Hi")
    assert (result.stdout, result.returncode) == ("", 1)
    assert result.stderr == "chatgptfree: no answer from 127.0.0.1:9: Connection refused\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nonsense"], "--nonsense"),
        (["--timeout", "soon", "Hi"], "--timeout: invalid seconds value: 'soon'"),
        (["--timeout", "-1", "Hi"], "--timeout: invalid seconds value: '-1'"),
        (["--timeout", "nan", "Hi"], "--timeout: invalid seconds value: 'nan'"),
        (["--cookie", "novalue", "Hi"], "--cookie: invalid cookie value: 'novalue'"),
        (["--url", "site.example", "Hi"], "site.example"),
        ([""], "the prompt is empty"),
        ([" ", ""], "the prompt is empty"),
        (["-"], "the prompt is empty"),
    ],
)
def test_wrong_usage_is_exit_status_2(arguments, words, standard_input, capsys):
    standard_input("\n")
    try:
        status = main(arguments)
    except SystemExit as leave:  # argparse's
        status = leave.code
    assert status == 2
    assert words in capsys.readouterr().err


def test_an_unknown_model_is_wrong_usage(mock, capsys):
    mock.get(SITE + "/", body=CURRENT_PAGE)
    assert main(["--url", SITE, "--model", "gpt-9", "Hi"]) == 2
    assert "ChatGPT 5 Nano (25871), DeepSeek (25872)" in capsys.readouterr().err


def test_version_and_help():
    assert run("--version").stdout == f"chatgptfree {chatgptfree.__version__}\n"
    text = run("--help", env={**os.environ, "COLUMNS": "80"}).stdout
    assert max(map(len, text.splitlines())) <= 80
    names = "url model models system image search proxy timeout cookie header demo debug version"
    assert all(f"--{name} " in text or f"--{name}\n" in text for name in names.split())
    assert 'chatgptfree "What is the capital of France?"' in text


def test_a_closed_pipe_ends_quietly():
    command = f"'{sys.executable}' '{MODULE}' --demo 'one{chr(10)}two{chr(10)}three' | head -1"
    command = ["bash", "-c", command + "; exit ${PIPESTATUS[0]}"]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert (result.stdout, result.stderr, result.returncode) == ("You asked: “one\n", "", 0)


def test_what_an_output_cannot_encode_is_replaced():
    result = run("--demo", "Hello", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (result.stdout[:18], result.returncode) == ("You asked: ?Hello?", 0)


def test_text_is_printed_as_it_comes():
    """The site goes on only when the command line has printed what it was sent."""
    printed = threading.Event()

    def answer(handler, form):
        handler.chunks(chunk("Hello"), end=False)
        handler.wfile.write(http_chunk((chunk(" world") + DONE).encode()) if printed.wait(5) else b"")
        handler.wfile.write(b"0\r\n\r\n")

    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    command = [sys.executable, MODULE, "--url", "{}", "Hi"]
    with Site(answer) as site, subprocess.Popen(
        [part.format(site.url) for part in command], stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout.read(5) == b"Hello"
        printed.set()
        assert process.stdout.read() == b" world\n"


def test_ctrl_c_is_exit_status_130():
    asked = threading.Event()

    def answer(handler, form):
        handler.chunks(chunk("Hello"), end=False)
        asked.set()
        handler.wait_for_hang_up()

    with Site(answer) as site, subprocess.Popen(
        [sys.executable, MODULE, "--url", site.url, "Hi"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.read(5) == b"Hello"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10) == (b"\n", b"")
        assert process.returncode == 130


class Terminal:
    """The command line in a pseudo-terminal, which a process of its own holds."""

    HOLD = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"

    def __init__(self, *arguments):
        command = [sys.executable, "-c", self.HOLD, sys.executable, MODULE, *arguments]
        environment = {**os.environ, "TERM": "dumb", "PYTHONUTF8": "1"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment)
        self.screen = ""

    def wait_for(self, text):
        """Read until `text` has appeared, and return all up to it."""
        while text not in self.screen:
            assert select.select([self.process.stdout], [], [], 20)[0], f"{text!r} not in {self.screen!r}"
            raw = self.process.stdout.read(4096)
            assert raw, f"the command line has ended: {self.screen!r}"
            self.screen = re.sub("\x1b\\[\\?2004[hl]\r?", "", self.screen + raw.decode())  # of bracketed paste
        seen, _, self.screen = self.screen.partition(text)
        return seen + text

    def type(self, text):
        self.process.stdin.write(text.encode())

    def exit_status(self, key=""):
        """Type `key` to end it: again if need be, as readline can lose what comes in the moment it shows its prompt."""
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


def test_a_terminal_without_a_prompt_is_a_conversation_with_a_history():
    with Site(echo_history) as site:
        terminal = Terminal("--url", site.url)
        assert terminal.wait_for("> ") == "Ctrl-C stops an answer; exit, quit or Ctrl-D leaves.\r\n> "
        terminal.type("one\n")
        assert "waiting for the answer ..." in terminal.wait_for("[one]")
        assert terminal.wait_for("> ") == "[31m\r\n> "  # a site cannot steer the terminal
        terminal.type("\n")
        terminal.wait_for("> ")
        terminal.type("two\n")
        terminal.wait_for("[User: one|Assistant: [one]\\x1b[31m|User: two|Assistant:]".replace("\\x1b", ""))
        terminal.wait_for("> ")
        assert terminal.exit_status("quit\n") == 0


def test_in_a_conversation_ctrl_c_goes_back_to_the_prompt_and_keeps_what_was_heard():
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


def test_in_a_conversation_an_error_is_printed_and_the_conversation_goes_on():
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


def test_the_waiting_notice_is_wiped():
    terminal = Terminal("--demo", "Hello")
    notice = "waiting for the answer ..."
    assert terminal.wait_for("You asked:") == notice + "\r" + " " * len(notice) + "\r" + "You asked:"
    assert terminal.exit_status() == 0


# ---------------------------------------------------------------------------------------------- the file, the README


def test_importing_loads_hardly_more_modules_than_requests():
    code = "import requests, sys; before = set(sys.modules); import chatgptfree; print(*set(sys.modules) - before)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE, check=True)
    assert set(result.stdout.split()) <= {"chatgptfree", "html", "html.entities"}


def test_the_file_alone_does_everything(tmp_path):
    alone = tmp_path / "chatgptfree.py"
    alone.write_bytes(pathlib.Path(MODULE).read_bytes())
    result = subprocess.run(
        [sys.executable, str(alone), "--demo", "Hello"], capture_output=True, encoding="utf-8", cwd=tmp_path, check=True
    )
    assert result.stdout == DEMO_ANSWER + "\n"
    head = alone.read_text(encoding="utf-8").split('"""')[1]
    assert "SPDX-License-Identifier: MIT" in head and "Home: " in head


def test_the_metadata_name_the_version_the_command_and_what_is_needed():
    setup = configparser.ConfigParser()
    setup.read(HERE / "setup.cfg")
    assert setup["metadata"]["version"] == "attr: chatgptfree.__version__"
    assert setup["options"]["install_requires"].split() == ["requests", ">=", "2.25.0"]
    assert setup["options.entry_points"]["console_scripts"].strip() == "chatgptfree = chatgptfree:main"
    assert setup["options.extras_require"]["test"].split() == ["pytest", "responses"]


def readme_blocks(language):
    text = (HERE / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", readme_blocks("python"), ids=lambda block: block.splitlines()[0])
def test_the_readmes_python_runs(block, monkeypatch, tmp_path, without_pauses):
    """Against the demo site, in place of chatgptfree.ai and of the reader's own."""
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    monkeypatch.chdir(tmp_path)
    with demo_site() as url, ChatgptFree(url) as shared:
        monkeypatch.setattr(ChatgptFree, "url", url)
        monkeypatch.setattr(chatgptfree, "stream", shared.stream)
        monkeypatch.setattr(chatgptfree, "complete", shared.complete)
        monkeypatch.setattr(chatgptfree, "conversation", shared.conversation)
        exec(compile(block.replace("https://my-own-site.example/help/", url), "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102


def test_the_readmes_quick_start_is_two_lines():
    (block,) = re.findall(r"## Quick start\n+```sh\n(.*?)```", (HERE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert [line.startswith("python3 -m venv .venv && ") for line in block.splitlines()] == [True, True]


# ------------------------------------------------------------------------------------------------ gpt4free's way of calling


def test_calls_of_gpt4free_work_once_async_is_dropped(mock):
    add_classic(mock, CLASSIC_ANSWER)
    provider = ChatgptFree(SITE)
    messages = [{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}]
    texts = list(provider.stream(model=provider.default_model, messages=messages, proxy=None))
    assert "".join(texts) == "Hello, wörld 🌍"
    assert forms(mock)[0]["message"] == "System: Be terse.\nUser: Hi\nAssistant:"


def test_async_code_calls_it_in_a_thread():
    async def ask(bot):
        return await asyncio.gather(*(asyncio.to_thread(bot.complete, prompt) for prompt in ("one", "two", "three")))

    with Site(classic_answer) as site, ChatgptFree(site.url) as bot:
        assert asyncio.run(ask(bot)) == ["one", "two", "three"]


# ----------------------------------------------------------------------------------------------------- conversations

LOCAL_PAGES = {"classic": CLASSIC_PAGE, "current": current_box(ajax_url=None)}
ASKED_BEFORE = [{"role": "user", "content": "My name is Ann."}, {"role": "assistant", "content": "Hello Ann."}]
NEW = {"role": "user", "content": "What is my name?"}
CACHED = json.dumps({"success": True, "data": {"cache_key": "aipkit_sse_1"}})


@pytest.fixture(params=["classic", "current"])
def protocol(request):
    return request.param


def is_first_step(form):
    return form["action"] == "aipkit_cache_sse_message"


def reply(handler, form, *words, end=True):
    """Answer in these pieces, in the protocol of the question. Without `end`, hang up behind them."""
    if is_first_step(form):
        return handler.whole(CACHED)
    is_current = form["action"] == "aipkit_frontend_chat_stream"
    pieces = [data({"delta": word}) if is_current else chunk(word) for word in words]
    if end:
        return handler.chunks(*pieces, CURRENT_DONE if is_current else DONE)
    handler.chunks(*pieces, end=False)
    return handler.hang_up()


def hello(handler, form):
    reply(handler, form, "Hello ", "Ann.")


def told(site):
    """The messages that a site got, of either protocol."""
    return [form["message"] for *_, form in site.asked if "message" in form]


def streams(site):
    """The second requests of the current protocol."""
    return [form for *_, form in site.asked if form.get("action") == "aipkit_frontend_chat_stream"]


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


def test_the_first_message_of_a_conversation_without_a_system_text_goes_as_it_is(protocol):
    with Site(hello, LOCAL_PAGES[protocol]) as site:
        ChatgptFree(site.url).conversation().complete("My name is Ann.")
        assert told(site) == ["My name is Ann."]


def test_messages_are_what_was_said_and_can_be_saved_as_json(protocol):
    with Site(hello, LOCAL_PAGES[protocol]) as site:
        chat = ChatgptFree(site.url).conversation("Be terse.")
        assert chat.messages == [{"role": "system", "content": "Be terse."}]
        chat.complete("My name is Ann.")
    assert json.loads(json.dumps(chat.messages)) == [{"role": "system", "content": "Be terse."}, *ASKED_BEFORE]


def test_messages_put_back_into_a_new_conversation_go_along_once(protocol):
    with Site(hello, LOCAL_PAGES[protocol]) as site:
        chat = ChatgptFree(site.url).conversation()
        chat.messages = json.loads(json.dumps(ASKED_BEFORE))
        chat.complete("What is my name?")
        chat.complete("And yours?")
        assert told(site)[0] == format_prompt([*ASKED_BEFORE, NEW])
        assert told(site)[1] == ("And yours?" if protocol == "current" else format_prompt(chat.messages[:-1]))
        assert len(chat.messages) == 6


def test_streams_of_two_conversations_can_be_read_by_turns(protocol):
    def answer(handler, form):
        reply(handler, form, "one ", "two ", "three")

    with Site(answer, LOCAL_PAGES[protocol]) as site, ChatgptFree(site.url) as bot:
        chats = [bot.conversation(), bot.conversation()]
        for turn in "12":
            pairs = list(zip(*(chat.stream(f"{name}{turn}") for name, chat in zip("AB", chats))))
            assert pairs == [("one ", "one "), ("two ", "two "), ("three", "three")]
        said = [[message["content"] for message in chat.messages[::2]] for chat in chats]
        assert said == [["A1", "A2"], ["B1", "B2"]]
        if protocol == "current":
            ids = [form["conversation_uuid"] for form in streams(site)]
            assert (ids[0], ids[1]) == (ids[2], ids[3])
            assert ids[0] != ids[1]
            assert len({form["session_id"] for form in streams(site)}) == 1
            assert told(site) == ["A1", "B1", "A2", "B2"]
        else:
            assert "B1" not in told(site)[2]
            assert "A1" not in told(site)[3]


def test_conversations_of_one_client_run_in_threads_of_their_own(protocol):
    def talk(name):
        chat = bot.conversation(f"You are {name}.")
        for turn in range(5):
            chat.complete(f"{name}, {turn}")
        return chat.messages

    with Site(hello, LOCAL_PAGES[protocol]) as site, ChatgptFree(site.url) as bot, ThreadPoolExecutor(8) as pool:
        for i, messages in enumerate(pool.map(talk, [f"bot {i}" for i in range(8)])):
            assert [message["content"] for message in messages[1::2]] == [f"bot {i}, {turn}" for turn in range(5)]
        assert len(site.pages()) == 1
        assert len({form["conversation_uuid"] for form in streams(site)}) == (8 if protocol == "current" else 0)


def test_what_was_heard_of_a_broken_answer_counts_as_the_answer(protocol):
    broken = []

    def answer(handler, form):
        if is_first_step(form) or broken:
            return hello(handler, form)
        broken.append(form)
        return reply(handler, form, "Hello ", "A", end=False)

    with Site(answer, LOCAL_PAGES[protocol]) as site, ChatgptFree(site.url) as bot:
        chat = bot.conversation("Be terse.")
        with pytest.raises(IncompleteReplyError) as caught:
            chat.complete("My name is Ann.")
        assert caught.value.partial == "Hello A"
        assert chat.messages[1:] == [ASKED_BEFORE[0], {"role": "assistant", "content": "Hello A"}]
        assert chat.complete("What is my name?") == "Hello Ann."
        assert told(site)[1] == ("What is my name?" if protocol == "current" else format_prompt(chat.messages[:-1]))
        assert len(chat.messages) == 5


def leave(texts):
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


@pytest.mark.parametrize("stop", [leave, raise_in_loop, interrupt], ids=lambda stop: stop.__name__)
def test_what_was_heard_of_an_answer_that_the_caller_left_counts_as_the_answer(stop, protocol):
    with Site(hello, LOCAL_PAGES[protocol]) as site, ChatgptFree(site.url) as bot:
        chat = bot.conversation()
        stop(chat.stream("My name is Ann."))
        assert chat.messages == [ASKED_BEFORE[0], {"role": "assistant", "content": "Hello "}]
        chat.complete("What is my name?")
        assert told(site)[1] == ("What is my name?" if protocol == "current" else format_prompt(chat.messages[:-1]))


def test_what_was_shown_before_an_interrupt_is_said_though_the_traceback_is_kept(protocol, monkeypatch):
    def interrupted(*_, end="", **__):
        if "Hello" in end:
            monkeypatch.undo()
            raise KeyboardInterrupt

    with Site(hello, LOCAL_PAGES[protocol]) as site, ChatgptFree(site.url) as bot:
        chat = bot.conversation()
        monkeypatch.setattr(chatgptfree, "print", interrupted, raising=False)
        with pytest.raises(KeyboardInterrupt) as caught:
            chatgptfree.show(chat.stream("My name is Ann."))
        chat.complete("What is my name?")
        assert [message["content"] for message in chat.messages[:3]] == ["My name is Ann.", "Hello ", "What is my name?"]
        assert told(site)[1] == ("What is my name?" if protocol == "current" else format_prompt(chat.messages[:-1]))
    del caught


def test_a_message_that_is_not_read_is_not_said(protocol):
    with Site(hello, LOCAL_PAGES[protocol]) as site:
        chat = ChatgptFree(site.url).conversation()
        chat.stream("My name is Ann.").close()
        assert chat.messages == site.asked == []


def refuse(handler, form):
    handler.whole(json.dumps({"status": "error", "success": False, "msg": "Banned word"}))


def limit(handler, form):
    handler.whole("Slow down", 429)


def challenge(handler, form):
    handler.whole("<title>Just a moment...</title>", 403)


def reset(handler, form):
    handler.hang_up(reset=True)


def say_nothing(handler, form):
    handler.chunks(CURRENT_HEAD if "cache_key" in form else DONE)


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        (refuse, ChatgptFreeError),
        (limit, RateLimitError),
        (challenge, BlockedError),
        (reset, requests.ConnectionError),
        (say_nothing, ChatgptFreeError),
    ],
    ids=lambda value: value.__name__,
)
@pytest.mark.parametrize("turn", [1, 2])
def test_a_turn_that_fails_before_any_text_leaves_messages_alone_and_the_conversation_usable(fail, kind, turn, protocol):
    failing = []

    def answer(handler, form):
        if failing and not (is_first_step(form) and fail is say_nothing):
            return fail(handler, form)
        return hello(handler, form)

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
        assert told(site)[-1] == ("What is my name?" if known else format_prompt([*before, NEW]))
        assert len({form["conversation_uuid"] for form in streams(site)}) <= 1


@pytest.mark.parametrize("options", [{"model": "gpt-9"}, {"web_search": True}, {"image": "no such file.png"}, {"timout": 3}])
def test_wrong_options_of_a_turn_leave_messages_alone_and_the_conversation_usable(options, mock):
    add_current(mock, CURRENT_ANSWER)
    chat = ChatgptFree(SITE).conversation()
    with pytest.raises((ValueError, TypeError, OSError)):
        chat.complete("Hi", **options)
    assert chat.messages == forms(mock) == []
    assert chat.complete("Hi") == "Hello, wörld 🌍"


@pytest.mark.parametrize("renewal", ["nonce action", "page"])
def test_a_nonce_that_expires_in_a_conversation_does_not_end_it(renewal, protocol):
    nonce = ["first"]

    def page(handler):
        handler.whole(classic_box(nonce[0]) if protocol == "classic" else current_box(nonce=nonce[0], ajax_url=None))

    def answer(handler, form):
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            if renewal == "page":
                return handler.whole("0", 400)
            return handler.whole(json.dumps({"success": True, "data": {"nonce": nonce[0]}}))
        if nonce[0] not in (form.get("_wpnonce"), form.get("_ajax_nonce")):
            return handler.whole("The link you followed has expired.", 403)
        return hello(handler, form)

    with Site(answer, page) as site, ChatgptFree(site.url) as bot:
        chat = bot.conversation("Be terse.")
        chat.complete("My name is Ann.")
        nonce[0] = "second"
        assert chat.complete("What is my name?") == "Hello Ann."
        assert told(site)[-1] == ("What is my name?" if protocol == "current" else format_prompt(chat.messages[:-1]))
        assert len({form["conversation_uuid"] for form in streams(site)}) == (1 if protocol == "current" else 0)
        assert len(chat.messages) == 5


@pytest.mark.parametrize(("before", "after"), [("classic", "current"), ("current", "classic")])
def test_the_history_goes_along_to_a_plugin_of_the_other_protocol(before, after):
    speaks = [before]

    def answer(handler, form):
        if ("wpaicg" if speaks[0] == "current" else "aipkit") in form["action"]:
            return handler.whole("0", 400)
        return hello(handler, form)

    with Site(answer, lambda handler: handler.whole(LOCAL_PAGES[speaks[0]])) as site, ChatgptFree(site.url) as bot:
        chat = bot.conversation("Be terse.")
        chat.complete("My name is Ann.")
        speaks[0] = after
        assert chat.complete("What is my name?") == "Hello Ann."
        assert told(site)[-1] == format_prompt([{"role": "system", "content": "Be terse."}, *ASKED_BEFORE, NEW])
        chat.complete("And yours?")
        assert told(site)[-1] == ("And yours?" if after == "current" else format_prompt(chat.messages[:-1]))
        speaks[0] = before
        chat.complete("Are you back?")
        assert told(site)[-1] == format_prompt(chat.messages[:-1])


def test_the_history_goes_along_to_the_bot_that_replaces_a_deleted_one():
    bot_id = ["1"]

    def answer(handler, form):
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            return handler.whole("0", 400)
        if form["bot_id"] != bot_id[0] and not is_first_step(form):
            return handler.chunks("event: error\n" + data({"error": "Invalid chatbot specified."}) + CURRENT_DONE)
        return hello(handler, form)

    with Site(answer, lambda handler: handler.whole(current_box(bot_id[0], ajax_url=None))) as site, ChatgptFree(site.url) as bot:
        chat = bot.conversation()
        chat.complete("My name is Ann.")
        bot_id[0] = "2"
        assert chat.complete("What is my name?") == "Hello Ann."
        assert told(site)[-2:] == ["What is my name?", format_prompt([*ASKED_BEFORE, NEW])]
        chat.complete("And yours?")
        assert told(site)[-1] == "And yours?"


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
    assert chat._bot is chatgptfree.complete.__self__


@pytest.mark.parametrize("message", ["", " \n", None, 7, ["Hi"]])
def test_a_message_of_a_conversation_is_some_text(message, protocol):
    with Site(hello, LOCAL_PAGES[protocol]) as site:
        chat = ChatgptFree(site.url).conversation("Be terse.")
        with pytest.raises((ValueError, TypeError)):
            chat.stream(message)
        assert site.asked == []


def test_what_a_restored_message_lacks_is_named():
    chat = ChatgptFree(SITE).conversation()
    chat.messages = [{"role": "user"}]
    with pytest.raises(ValueError, match=r"messages\[0\] has no 'content'"):
        chat.stream("Hi")


def test_a_conversation_that_was_pickled_takes_its_history_along(protocol):
    with Site(hello, LOCAL_PAGES[protocol]) as site, ChatgptFree(site.url) as bot:
        chat = bot.conversation()
        chat.complete("My name is Ann.")
        pickle.loads(pickle.dumps(chat)).complete("What is my name?")
        guests = {form["session_id"] for form in streams(site)}
        assert told(site)[-1] == ("What is my name?" if len(guests) == 1 else format_prompt([*ASKED_BEFORE, NEW]))


# -------------------------------------------------------------------------------------- a web search, an image


def offering(box, **offers):
    """A box of the current protocol whose page offers more to its visitors."""
    more = "".join(f"&quot;{key}&quot;: {json.dumps(value)}, " for key, value in offers.items())
    return box.replace("&quot;headerName&quot;", more + "&quot;headerName&quot;")


OPENAI = offering(current_box(1, name="GPT"), imageUploadEnabledUI=True, allowWebSearchTool=True)
GOOGLE = offering(current_box(2, name="Gemini"), imageUploadEnabledUI=False, allowWebSearchTool=0, allowGoogleSearchGrounding=1)
PLAIN = current_box(3, name="Plain")
SEARCH_FIELDS = {"frontend_web_search_active", "frontend_google_search_grounding_active"}
PNG, JPEG, WEBP = b"\x89PNG\r\n\x1a\n" + b"\0" * 9, b"\xff\xd8\xff\xe0" + b"\n" * 9, b"RIFF\x0a\0\0\nWEBPVP8 "


@pytest.mark.parametrize(
    ("model", "field"), [("GPT", "frontend_web_search_active"), ("Gemini", "frontend_google_search_grounding_active")]
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


@pytest.mark.parametrize(
    ("options", "page", "words"),
    [
        ({"web_search": True}, PLAIN + OPENAI + GOOGLE, r"Plain \(3\) .*web_search.* GPT \(1\), Gemini \(2\)"),
        ({"web_search": True}, PLAIN, r"Plain \(3\) .*web_search.*no bot"),
        ({"web_search": True}, CLASSIC_PAGE, "classic.*web_search"),
        ({"image": PNG}, GOOGLE + OPENAI + PLAIN, r"Gemini \(2\) .*image.* GPT \(1\)(?!.*Plain)"),
        ({"image": PNG}, PLAIN, r"Plain \(3\) .*image.*no bot"),
        ({"image": PNG}, CLASSIC_PAGE, "classic.*image"),
    ],
)
def test_what_the_bot_does_not_offer_is_refused_before_the_message_is_sent(mock, options, page, words):
    add_current(mock, CURRENT_ANSWER, page=page)
    with pytest.raises(ValueError, match=words):
        ChatgptFree(SITE).complete("Hi", **options)
    assert not forms(mock)


class PathLike:
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


@pytest.mark.parametrize("given", [str, pathlib.Path, PathLike, pathlib.Path.read_bytes], ids=lambda given: given.__name__)
@pytest.mark.parametrize(("raw", "kind"), [(PNG, "image/png"), (JPEG, "image/jpeg"), (WEBP, "image/webp")])
def test_an_image_is_sent_by_its_first_bytes_whatever_its_name(mock, tmp_path, given, raw, kind):
    add_current(mock, CURRENT_ANSWER, page=OPENAI)
    path = tmp_path / "cat.gif"
    path.write_bytes(raw)
    bot = ChatgptFree(SITE)
    assert bot.complete("What is this?", image=given(path)) == "Hello, wörld 🌍"
    bot.complete("Hi")
    with_image, without = forms(mock)
    (image,) = json.loads(with_image["image_inputs"])
    assert image == {"mime_type": kind, "base64_data": chatgptfree.b64encode(raw).decode()}
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
        ("Hi", str(HERE), OSError, None),
    ],
    ids=["gif", "no bytes", "wave", "late", "too big", "no prompt", "bytearray", "int", "missing", "folder"],
)
def test_an_image_that_cannot_be_sent_is_refused_at_the_call(prompt, image, kind, words):
    with Site(hello, LOCAL_PAGES["current"]) as site:
        bot = ChatgptFree(site.url)
        for ask in (bot.stream, bot.complete, bot.conversation().stream):
            with pytest.raises(kind, match=words):
                ask(prompt, image=image)
        assert site.asked == []


def test_an_image_of_exactly_the_limit_is_sent_and_one_byte_more_is_not(monkeypatch, tmp_path, mock):
    monkeypatch.setattr(chatgptfree, "IMAGE_LIMIT", len(PNG))
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


# ------------------------------------------------------------------------------------------------------ options once


class Recorder:
    """A session of the caller's that keeps what each request came with. Its site has two bots that offer everything."""

    page = OPENAI + GOOGLE.replace("false", "true")

    def __init__(self):
        self.options, self.fields = [], []

    def get(self, url, params=None, **options):
        self.options.append(options)
        self.fields.append(params or {})
        return fake_response([(CURRENT_ANSWER if params else self.page).encode()], url)

    def post(self, url, data, **options):
        self.options.append(options)
        self.fields.append(data)
        return fake_response([CACHED.encode()], url)


OPTIONS = [
    ("proxy", "http://a:1", "http://b:1", "proxies"),
    ("timeout", 30, 120, "timeout"),
    ("timeout", (3, 30), None, "timeout"),
    ("cookies", {"a": "1"}, {"b": "2"}, "cookies"),
    ("cookies", {"a": "1"}, None, "cookies"),
    ("auth", ("a", "1"), ("b", "2"), "auth"),
    ("cert", "a.pem", "b.pem", "cert"),
    ("verify", "a.pem", True, "verify"),
    ("hooks", {"response": []}, {}, "hooks"),
    ("proxies", {"http": "http://a:1"}, {"http": "http://b:1"}, "proxies"),
]


def callers(bot, **own):
    """Each way to ask, as a function without arguments."""
    return [
        lambda: list(bot.stream("Hi", **own)),
        lambda: bot.complete("Hi", **own),
        lambda: bot.list_models(**own),
        lambda: bot.conversation().complete("Hi", **own),
        lambda: list(bot.conversation(**own).stream("Hi")),
    ]


@pytest.mark.parametrize(("name", "default", "own", "told_as"), OPTIONS)
@pytest.mark.parametrize("way", range(5), ids=["stream", "complete", "list_models", "message", "conversation"])
def test_an_option_given_once_goes_with_every_request_and_a_calls_own_wins(name, default, own, told_as, way):
    def as_requests_has_it(value):
        return {"http": value, "https": value} if name == "proxy" else value

    for given, expected in (({}, default), ({name: own}, own)):
        session = Recorder()
        callers(ChatgptFree(SITE, session=session, **{name: default}), **given)[way]()
        assert session.options
        for options in session.options:
            assert options[told_as] == as_requests_has_it(expected)


@pytest.mark.parametrize(
    ("default", "own", "used"),
    [
        ({"proxy": "http://a:1"}, {"proxies": {"http": "http://b:1"}}, {"http": "http://b:1"}),
        ({"proxies": {"http": "http://a:1"}}, {"proxy": "http://b:1"}, {"http": "http://b:1", "https": "http://b:1"}),
    ],
)
@pytest.mark.parametrize("way", range(5), ids=["stream", "complete", "list_models", "message", "conversation"])
def test_a_calls_own_proxy_wins_in_whichever_of_the_two_ways_it_is_given(default, own, used, way):
    session = Recorder()
    callers(ChatgptFree(SITE, session=session, **default), **own)[way]()
    assert all(options["proxies"] == used for options in session.options)


@pytest.mark.parametrize(
    ("default", "own", "expected"),
    [
        ({}, {}, ("1", False, False)),
        ({"model": "Gemini", "image": PNG, "web_search": True}, {}, ("2", True, True)),
        ({"model": "Gemini"}, {"model": "GPT"}, ("1", False, False)),
        ({"model": "Gemini"}, {"model": None}, ("1", False, False)),
        ({"web_search": True}, {"web_search": False}, ("1", False, False)),
        ({"image": PNG}, {"image": None}, ("1", False, False)),
    ],
)
@pytest.mark.parametrize("way", [0, 1, 3, 4], ids=["stream", "complete", "message", "conversation"])
def test_model_image_and_web_search_can_be_given_once_too(default, own, expected, way):
    session = Recorder()
    callers(ChatgptFree(SITE, session=session, **default), **own)[way]()
    _, first, second = session.fields
    assert (first["bot_id"], "image_inputs" in first, bool(SEARCH_FIELDS & second.keys())) == expected


def test_list_models_is_not_troubled_by_a_default_that_it_has_no_use_for(mock):
    mock.get(SITE + "/", body=OPENAI + GOOGLE)
    assert ChatgptFree(SITE, model="Gemini", image=PNG, web_search=True).list_models() == ["GPT", "Gemini"]


@pytest.mark.parametrize("way", range(5), ids=["stream", "complete", "list_models", "message", "conversation"])
def test_headers_are_merged_whatever_the_case_of_their_names(way):
    session = Recorder()
    bot = ChatgptFree(SITE, session=session, headers={"User-Agent": "default", "x-kept": "kept", "X-Gone": "default"})
    callers(bot, headers={"user-AGENT": "own", "X-New": "new", "x-gone": None})[way]()
    for options in session.options:
        lower = [(name.lower(), value) for name, value in options["headers"].items()]
        assert len(dict(lower)) == len(lower)
        sent = dict(lower)
        assert (sent["user-agent"], sent["x-kept"], sent["x-new"], sent["x-gone"]) == ("own", "kept", "new", None)
        assert "accept" in sent


def test_headers_of_client_conversation_and_message_are_merged_in_this_order():
    session = Recorder()
    bot = ChatgptFree(SITE, session=session, headers={"X-A": "1", "X-B": "1", "X-C": "1"})
    chat = bot.conversation(headers={"x-b": "2", "x-c": "2"})
    chat.complete("Hi", headers={"X-c": "3"})
    chat.complete("Hi")
    sent = [CaseInsensitiveDict(options["headers"]) for options in session.options]
    assert [headers["X-A"] + headers["X-B"] + headers["X-C"] for headers in sent] == ["123"] * 3 + ["122"] * 2


def test_no_call_changes_what_the_caller_gave():
    headers, own = {"X-A": "1"}, {"x-a": "2"}
    bot = ChatgptFree(SITE, session=Recorder(), headers=headers)
    chat = bot.conversation(timeout=3)
    chat.complete("Hi", headers=own)
    bot.complete("Hi", headers=own)
    assert (headers, own, bot._options, chat._options) == (
        {"X-A": "1"},
        {"x-a": "2"},
        {"headers": {"X-A": "1"}},
        {"headers": {"X-A": "1"}, "timeout": 3},
    )


def test_positional_arguments_win_too():
    session = Recorder()
    bot = ChatgptFree(SITE, session=session, model="Gemini", proxy="http://a:1", timeout=30, cookies={"a": "1"})
    for ask in (bot.complete, lambda *args: list(bot.stream(*args))):
        session.options.clear()
        ask("Hi", "GPT", None, 120, None)
        assert session.fields[-2]["bot_id"] == "1"
        for options in session.options[-2:]:
            assert (options["timeout"], options["cookies"], "proxies" in options) == (120, None, False)
        ask("Hi", "GPT")
        assert (session.options[-1]["timeout"], session.options[-1]["cookies"]) == (30, {"a": "1"})
    assert session.options[-1]["cookies"] == {"a": "1"}


def test_mapped_calls_carry_the_options_of_the_client():
    def answer(handler, form):
        reply(handler, form, f"{handler.headers['X-Team']} {form.get('bot_id')}")

    with Site(answer, OPENAI + GOOGLE) as site, ChatgptFree(site.url, model="Gemini", headers={"X-Team": "blue"}) as bot:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(bot.complete, ["a", "b", "c"] * 4)) == ["blue 2"] * 12
        assert list(map(bot.complete, ["a", "b"])) == ["blue 2"] * 2
        assert sorted(told(site)) == sorted(["a", "b", "c"] * 4 + ["a", "b"])


# --------------------------------------------------------------------------------------------------- mistakes named


@pytest.mark.parametrize("wrong", ["stream", "temperature", "timout", "params", "allow_redirects", "json", "max_tokens", "data"])
def test_a_keyword_that_nobody_takes_is_named_at_the_call(wrong):
    with Site(hello, LOCAL_PAGES["current"]) as site:
        bot = ChatgptFree(site.url)
        asks = [lambda **own: bot.stream("Hi", **own), lambda **own: bot.complete("Hi", **own), bot.list_models, bot.conversation]
        asks += [lambda **own: bot.conversation().stream("Hi", **own), lambda **own: bot.conversation().complete("Hi", **own)]
        asks += [lambda **own: ChatgptFree(site.url, **own)]
        asks += [lambda **own: ChatgptFree(site.url, session=requests.Session(), **own)]
        for ask in asks:
            with pytest.raises(TypeError, match=f"unexpected keyword argument '{wrong}'"):
                ask(**{wrong: True})
        assert site.asked == []


@pytest.mark.parametrize("wrong", ["prompt", "message", "memory"])
def test_a_keyword_that_has_a_name_of_the_librarys_own_is_named_at_the_call_too(wrong):
    bot = ChatgptFree(SITE)
    for ask in (bot.stream, bot.complete, bot.conversation().stream):
        with pytest.raises(TypeError, match=f"'{wrong}'"):
            ask("Hi", **{wrong: "Hi"})


def test_a_session_that_is_not_requests_own_gets_its_other_keywords():
    session = Recorder()
    bot = ChatgptFree(SITE, session=session, impersonate="chrome")
    bot.complete("Hi", thread=7)
    bot.conversation(thread=8).complete("Hi")
    assert [options["impersonate"] for options in session.options] == ["chrome"] * 5
    assert [options["thread"] for options in session.options] == [7] * 3 + [8] * 2


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"cookies": "a=b"}, "cookies must be .*dict.*, not str"),
        ({"cookies": [("a", "b")]}, "cookies must be .*dict.*, not list"),
        ({"proxy": {"http": "http://a:1"}}, "proxy must be a str.*, not dict"),
        ({"proxies": "http://a:1"}, "proxies must be a dict, not str"),
        ({"headers": [("a", "b")]}, "headers must be a dict, not list"),
        ({"headers": "a: b"}, "headers must be a dict, not str"),
    ],
)
def test_an_option_of_the_wrong_type_is_named_at_the_call(option, words):
    with Site(hello, LOCAL_PAGES["current"]) as site:
        bot = ChatgptFree(site.url)
        asks = [lambda **own: bot.stream("Hi", **own), lambda **own: bot.complete("Hi", **own), bot.list_models, bot.conversation]
        asks += [lambda **own: bot.conversation().stream("Hi", **own), lambda **own: ChatgptFree(site.url, **own)]
        asks += [lambda **own: ChatgptFree(site.url, session=Recorder(), **own)]
        for ask in asks:
            with pytest.raises(TypeError, match=f"^{words}"):
                ask(**option)
        assert site.asked == []


@pytest.mark.parametrize("system", [7, {"role": "system", "content": "Be terse."}])
def test_a_system_text_of_the_wrong_type_is_a_typeerror_by_the_first_message(system):
    with pytest.raises((TypeError, ValueError), match=r"system|messages\[0\]"):
        ChatgptFree(SITE).conversation(system).stream("Hi")


@pytest.mark.parametrize(
    "address", ["", "  ", "site.example", "site.example:8080/chat", "//site.example/", "ftp://site.example/", "http://", "http:///chat",
                "https://a..b/", "/chat", "mailto:me@site.example"]
)  # fmt: skip
def test_what_is_no_address_is_refused_in_the_constructor(address):
    with pytest.raises(ValueError, match="http:// or https://"):
        ChatgptFree(address)


def test_a_refused_address_does_not_show_its_password():
    with pytest.raises(ValueError, match="site.example") as caught:
        ChatgptFree("ftp://me:secret@site.example/")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("blanks", [" ", "\n", "\t \r\n"])
def test_blanks_around_an_address_are_stripped(mock, blanks):
    add_current(mock, CURRENT_ANSWER)
    bot = ChatgptFree(blanks + SITE + blanks)
    assert (bot.url, bot.complete("Hi")) == (SITE, "Hello, wörld 🌍")


@pytest.mark.parametrize("prompt", ["", " \n\t", *([{"role": role, "content": text} for role in "us"] for text in ("", " ", []))])
def test_an_empty_prompt_is_a_valueerror_at_the_call(prompt):
    with Site(hello, LOCAL_PAGES["classic"]) as site:
        for ask in (ChatgptFree(site.url).stream, ChatgptFree(site.url).complete):
            with pytest.raises(ValueError, match="prompt is empty"):
                ask(prompt)
        assert site.asked == []


# ------------------------------------------------------------------------------------------------------ the demo site


@pytest.mark.parametrize(
    "text", ["HELLO", "  two\n\n    lines \t", "ümläut 🌍 <b>&amp;</b>", "data: [DONE]\n\nmore", "x" * 9999, " \n"]
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


def failure(kind, *words, **attributes):
    error = kind(*words)
    vars(error).update(attributes)
    return error


@pytest.mark.parametrize(
    ("raised", "words", "attributes"),
    [
        (failure(ChatgptFreeError, "Bän <word> \"x\""), "Bän .*\"x\"", {"partial": ""}),
        (failure(ChatgptFreeError), "without words", {"partial": ""}),
        (failure(RateLimitError, "Slow down", retry_after=7.0), "Slow down .*7 s", {"retry_after": 7.0}),
        (failure(RateLimitError, "Slow down", retry_after=7), "Slow down", {"retry_after": 7.0}),
        (failure(RateLimitError, "You have reached your token limit."), "token limit", {"retry_after": None}),
        (failure(RateLimitError), "429", {"retry_after": None}),
        (failure(BlockedError, "Just a moment..."), "browser", {"partial": ""}),
        (failure(IncompleteReplyError, "cut", partial="The capital "), "broke off", {"partial": "The capital "}),
        (failure(IncompleteReplyError, "cut"), "no answer", {"partial": ""}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_demo_site_fails_with_the_error_that_it_is_given(raised, words, attributes, without_pauses, capfd):
    def answer(prompt):
        raise raised

    with demo_site(answer) as url, ChatgptFree(url) as bot:
        for ask in (bot.complete, lambda prompt: list(bot.stream(prompt)), bot.conversation().complete):
            with pytest.raises(ChatgptFreeError, match=words) as caught:
                ask("Hi")
            assert caught.type is type(raised)
            assert {name: getattr(caught.value, name) for name in attributes} == attributes
    assert capfd.readouterr() == ("", "")


def test_the_demo_site_that_fails_after_some_text_gives_the_text_first(without_pauses):
    def answer(prompt):
        raise failure(ChatgptFreeError, "Overloaded", partial="one two")

    heard = []
    with demo_site(answer) as url, pytest.raises(IncompleteReplyError, match="broke off: Overloaded") as caught:
        heard.extend(ChatgptFree(url).stream("Hi"))
    assert caught.value.partial == "one two"


def test_the_demo_site_can_fail_once_and_then_answer(without_pauses):
    replies = iter([failure(RateLimitError, "Slow down", retry_after=0.0), "Hello"])

    def answer(prompt):
        reply = next(replies)
        if isinstance(reply, Exception):
            raise reply
        return reply

    with demo_site(answer) as url, ChatgptFree(url) as bot:
        with pytest.raises(RateLimitError):
            bot.complete("Hi")
        assert bot.complete("Hi") == "Hello"


def test_the_demo_site_holds_conversations(without_pauses):
    with demo_site(lambda prompt: str(prompt.count("User: "))) as url:
        chat = ChatgptFree(url).conversation("Be terse.")
        assert [chat.complete("Hi") for _ in range(3)] == ["1", "2", "3"]


def test_the_demo_site_speaks_the_classic_protocol(without_pauses):
    with demo_site(str.upper) as url:
        page = requests.get(url, timeout=9)
        nonce, post_id = (re.search(rf'data-{name}="(\w+)"', page.text)[1] for name in ("nonce", "post-id"))
        form = {"_wpnonce": nonce, "post_id": post_id, "url": url, "message": "hi you", "bot_id": "0"}
        form["action"] = "wpaicg_chat_shortcode_message"
        answer = requests.post(url + "/wp-admin/admin-ajax.php", data=form, timeout=9)
        assert 'class="wpaicg-chat-shortcode"' in page.text
        *words, done, end = answer.text.split("\n\n")
        assert [json.loads(line[6:])["choices"][0]["delta"]["content"] for line in words] == ["HI ", "YOU"]
        assert (done, end) == ("data: [DONE]", "")
        refused = requests.post(url + "/wp-admin/admin-ajax.php", data={**form, "_wpnonce": "old"}, timeout=9)
        assert (refused.status_code, refused.text) == (403, "The link you followed has expired.")


SCRIPT = """
import chatgptfree
with chatgptfree.demo_site(str.upper) as url:
    print(chatgptfree.ChatgptFree(url).complete("hello"))
    print(chatgptfree.ChatgptFree(url).conversation().complete("hello"))
"""


def test_a_script_reaches_the_demo_site_where_a_proxy_is_set():
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:9")
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(
        command, env={**environment, **proxies}, cwd=HERE, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("HELLO\nHELLO\n", "")


# ----------------------------------------------------------------------------------------------------------- pickling


def test_a_client_can_be_pickled_with_its_address_and_options(mock):
    add_current(mock, CURRENT_ANSWER)
    bot = ChatgptFree(SITE, model="DeepSeek", headers={"X-Team": "blue"}, timeout=7)
    bot.complete("Hi")
    copy = pickle.loads(pickle.dumps(bot))
    assert copy.complete("Hi") == "Hello, wörld 🌍"
    assert (copy.url, copy._options) == (bot.url, bot._options)
    assert [form["bot_id"] for form in forms(mock)] == ["25872", "25872"]
    assert mock.calls[-1].request.headers["X-Team"] == "blue"
    guests = {dict(parse_qsl(urlsplit(call.request.url).query)).get("session_id") for call in mock.calls} - {None}
    assert len(guests) == 2


class Subclass(ChatgptFree):
    url = AJAX


def test_a_pickled_client_keeps_its_class():
    assert type(pickle.loads(pickle.dumps(Subclass()))) is Subclass
    assert pickle.loads(pickle.dumps(Subclass())).url == AJAX


def test_a_client_with_a_session_of_the_callers_cannot_be_pickled():
    with pytest.raises(TypeError, match="session"):
        pickle.dumps(ChatgptFree(SITE, session=requests.Session()))


@pytest.mark.parametrize("kind", [ChatgptFreeError, ChatNotFoundError, BlockedError, RateLimitError, IncompleteReplyError])
def test_an_error_can_be_pickled_with_all_it_holds(kind):
    error = failure(kind, "It failed.", partial="some text", retry_after=7.0)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.partial, copy.retry_after) == (kind, "It failed.", "some text", 7.0)


@pytest.mark.parametrize("fail", [limit, challenge, reset, refuse], ids=lambda fail: fail.__name__)
def test_an_error_of_a_call_can_be_pickled(fail, protocol):
    with Site(fail, LOCAL_PAGES[protocol]) as site, pytest.raises((ChatgptFreeError, requests.RequestException)) as caught:
        ChatgptFree(site.url).complete("Hi")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), copy.args) == (caught.type, caught.value.args)


def test_a_reply_can_be_pickled():
    copy = pickle.loads(pickle.dumps(Reply("Hello")))
    assert (type(copy), copy) == (Reply, "Hello")


LOCAL_CURRENT_PAGE = current_box(ajax_url=None)
NONCE_FAILURE = {"success": False, "data": {"message": "Security check failed.", "code": "nonce_failure_cache_sse"}}
PROTOCOLS = pytest.mark.parametrize(
    ("answer", "page"), [(classic_answer, CLASSIC_PAGE), (current_answer, LOCAL_CURRENT_PAGE)], ids=["classic", "current"]
)


def failure_of(page=CLASSIC_PAGE, answer=None, url=None, kind=(ChatgptFreeError, requests.RequestException), **options):
    """The error that a call to a site on the loopback raises; its words have HOST in place of the host."""
    with Site(answer, page) as site, pytest.raises(kind) as caught:
        ChatgptFree(url or site.url, **{"timeout": 5, **options}).complete("Hi")
    caught.words = str(caught.value).replace(site.url.partition("//")[2], "HOST")
    return caught


# ------------------------------------------------------------------------------------- real sites: whole, fair and clear


WHOLE_JSON = json.dumps({"status": "success", "msg": "Something went wrong", "data": "Hello world", "log": None}) + "\n"


@pytest.mark.parametrize(
    ("before", "texts", "is_whole"),
    [
        (chunk("Hello") + chunk(" wor"), ["Hello", " wor"], False),
        (chunk("Hello") + chunk(" world") + STOP, ["Hello", " world"], True),
        (chunk("Hello") + chunk(" world", finish_reason="length"), ["Hello", " world"], True),
        ("", ["Hello world"], True),
        (chunk("") + WARNING, ["Hello world"], True),
    ],
)
def test_json_behind_a_cut_answer_does_not_make_it_whole_and_is_the_answer_where_no_text_came(before, texts, is_whole):
    heard, error = ask(CLASSIC_PAGE, before + WHOLE_JSON)
    assert heard == texts
    assert error is None if is_whole else isinstance(error, IncompleteReplyError) and error.partial == "Hello wor"


def test_a_classic_sites_guest_has_ten_letters_and_digits_for_good(mock):
    add_classic(mock, CLASSIC_ANSWER)
    bot = ChatgptFree(SITE)
    bot.complete("Hi")
    bot.conversation().complete("Hi")
    ChatgptFree(SITE).complete("Hi")
    ids = [form["wpaicg_chat_client_id"] for form in forms(mock)]
    assert all(re.fullmatch("[A-Za-z0-9]{10}", guest) for guest in ids)
    assert [guest == ids[0] for guest in ids] == [True, True, False]


@pytest.mark.parametrize("prompt", ["if a<b and c>d: x", "\"it's\" & 'that' &amp; &lt; > \\ \n\t %41 +", "<b>1</b>", "wörld 🌍"])
def test_of_a_prompt_a_classic_site_gets_lt_for_the_less_than_sign_and_all_else_as_it_is(mock, prompt):
    add_classic(mock, CLASSIC_ANSWER)
    ChatgptFree(SITE).complete(prompt)
    assert forms(mock)[0]["message"] == prompt.replace("<", "&lt;")


def test_only_classic_requests_have_an_origin():
    nonces = iter(["stale", "fresh"])

    def answer(handler, form):
        if form["action"] == "aipkit_get_frontend_chat_nonce":
            return handler.whole("0", 400)
        if form["_ajax_nonce"] == "stale":
            return handler.whole(json.dumps(NONCE_FAILURE), 403)
        return current_answer(handler, form)

    with Site(answer, lambda handler: handler.whole(current_box(nonce=next(nonces), ajax_url=None))) as site:
        ChatgptFree(site.url).complete("Hi")
        assert [headers["Origin"] for _, _, headers, _ in site.asked] == [None] * 6
    with Site(classic_answer) as site:
        ChatgptFree(site.url).complete("Hi")
        assert [headers["Origin"] for _, _, headers, _ in site.asked] == [None, site.url]


CHECK = {"error": "Please prove that you are human.", "ts_required": True}


@pytest.mark.parametrize(
    "ajax",
    [
        lambda mock: add_classic(mock, data(CHECK)),
        lambda mock: add_classic(mock, {"json": CHECK}),
        lambda mock: add_classic(mock, {"json": CHECK, "status": 403}),
        lambda mock: add_current(mock, CURRENT_HEAD + "event: error\n" + data(CHECK)),
        lambda mock: (mock.get(SITE + "/", body=CURRENT_PAGE), mock.post(AJAX, json=CHECK)),
        lambda mock: (mock.get(SITE + "/", body=CURRENT_PAGE), mock.post(AJAX, json=CHECK, status=403)),
    ],
    ids=["stream", "json", "refusal", "current stream", "first step", "refused first step"],
)
def test_a_check_of_the_sites_own_is_a_blocked_error_in_its_words(mock, ajax):
    ajax(mock)
    with pytest.raises(BlockedError, match=r"Please prove that you are human\."):
        ChatgptFree(SITE).complete("Hi")


class CachingSession(requests.Session):
    """Keeps a page until it is asked for with `Cache-Control: no-cache`, as requests-cache and proxies do."""

    def __init__(self):
        super().__init__()
        self.pages = {}

    def get(self, url, headers=None, **options):
        if url not in self.pages or (headers or {}).get("Cache-Control") != "no-cache":
            self.pages.setdefault(url, super().get(url, headers=headers, **{**options, "stream": False}).content)
        else:
            self.pages[url] = super().get(url, headers=headers, **{**options, "stream": False}).content
        return Answer(self.pages[url], url=url)


def test_an_expired_nonce_heals_behind_a_cache():
    nonces = iter(["stale", "fresh"])

    def answer(handler, form):
        return classic_answer(handler, form) if form["_wpnonce"] == "fresh" else handler.whole("The link has expired.", 403)

    with Site(answer, lambda handler: handler.whole(classic_box(next(nonces)))) as site, CachingSession() as session:
        assert "stale" in "".join(map(bytes.decode, session.get(site.url + "/").iter_content(1)))
        assert ChatgptFree(site.url, session=session).complete("Hi there") == "Hi there"


def test_a_bots_title_is_unescaped_and_found_by_either_name(mock):
    add_current(mock, CURRENT_ANSWER, page=CURRENT_PAGE + current_box(7, name="Q &amp; A &#8211; <b>"))
    bot = ChatgptFree(SITE)
    assert bot.list_models()[-1] == "Q & A – <b>"
    bot.complete("Hi", model="q & a – <B>")
    assert forms(mock)[0]["bot_id"] == "7"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, "0", "HTTP 400: 0 (the plugin is off or has changed, or the prompt is over the server's limit)"),
        (500, "<title>Oh no</title><h1>Oh no</h1><p>Try later", "HTTP 500: Oh no Try later"),
        (500, "<title>Oh no</title><body><nav>Menu</nav><h1>Oh no</h1></body>", "HTTP 500: Oh no"),
        (500, "<html><head><title>Oh no</title></head><body></body></html>", "HTTP 500: Oh no"),
        (404, "<title>Not found</title><div>Shop Blog About</div><h1>Nothing here", "HTTP 404: Not found"),
        (500, WARNING * 30 + "<p>There has been a critical error.</p>", "HTTP 500: There has been a critical error."),
        (500, "PHP Warning:  Undefined variable $x in /a.php on line 1\n" * 9 + "Out of memory", "HTTP 500: Out of memory"),
        (500, WARNING * 30 + json.dumps({"status": "error", "msg": "No."}), "HTTP 500: No."),
    ],
    ids=["zero", "heading", "menu", "title alone", "404", "warnings", "plain warnings", "warnings and JSON"],
)
def test_a_refusal_says_once_and_shortly_what_matters(mock, status, body, words):
    add_classic(mock, {"status": status, "body": body})
    with pytest.raises(ChatgptFreeError) as caught:
        ChatgptFree(SITE).complete("Hi")
    assert str(caught.value) == words


def test_warnings_do_not_push_the_cause_out_of_an_answers_error():
    _, error = ask(CLASSIC_PAGE, WARNING * 30 + "<p>There has been a critical error.</p>")
    assert str(error) == "There has been a critical error."


def hang_up(handler, *_):
    handler.hang_up(reset=True)


def stall_for_good(handler, *_):
    handler.wait_for_hang_up()


def stall_in_body(handler, *_):
    handler.head(Content_Length="9")
    handler.wait_for_hang_up()


@pytest.mark.parametrize(
    ("stalls", "options", "seconds"),
    [
        (stall_for_good, {"timeout": 0.1}, "0.1"),
        (stall_for_good, {"timeout": (9, 0.2)}, "0.2"),
        (stall_in_body, {"timeout": 0.1}, "0.1"),
    ],
)
@pytest.mark.parametrize("where", ["page", "answer"])
def test_a_time_out_names_the_host_and_the_seconds(where, stalls, options, seconds):
    caught = failure_of(stalls, **options) if where == "page" else failure_of(answer=stalls, **options)
    assert caught.words == f"nothing came from HOST for {seconds} seconds"
    assert isinstance(caught.value, requests.Timeout)


@pytest.mark.parametrize("where", ["page", "answer"])
def test_a_broken_connection_names_the_host(where):
    caught = failure_of(hang_up) if where == "page" else failure_of(answer=hang_up)
    assert re.match("(no answer from|lost the connection to) HOST: ", caught.words)
    assert isinstance(caught.value, requests.ConnectionError)
    assert "HTTPConnectionPool" not in caught.words
    assert "127.0.0.1:9" in failure_of(url="http://127.0.0.1:9/").words


@pytest.mark.parametrize(
    ("retry_after", "seconds", "said"),
    [("7", 7, " (try again in 7 s)"), ("soon", None, ""), ("9" * 30, None, ""), ("9" * 5000, None, ""), ("10000000000", None, ""),
     ("Fri, 31 Dec 9999 23:59:59 GMT", None, ""), ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", None, ""), ("", None, "")],
)  # fmt: skip
def test_a_429_says_when_to_try_again_if_anybody_can_wait_so_long(mock, retry_after, seconds, said):
    add_classic(mock, {"status": 429, "body": "Slow down", "headers": {"Retry-After": retry_after}})
    with pytest.raises(RateLimitError) as caught:
        ChatgptFree(SITE).complete("Hi")
    assert (str(caught.value), caught.value.retry_after) == ("HTTP 429: Slow down" + said, seconds)


@pytest.mark.parametrize("nothing", ["", CURRENT_HEAD, ": ping\n\n", chunk("")])
def test_an_answer_in_which_nothing_came_did_not_break_off(nothing):
    texts, error = ask(CLASSIC_PAGE, nothing)
    assert (texts, str(error)) == ([], "the site sent no answer")


@pytest.mark.parametrize("site", ["http://site.example/", "https://site.example/"])
def test_the_refusal_of_a_proxy_is_not_the_sites(site, monkeypatch):
    def refuse_all(handler):
        handler.whole("Who are you?", 407)

    monkeypatch.setattr(SiteHandler, "do_CONNECT", refuse_all, raising=False)
    words = r"the proxy for site\.example: .*\w"
    with Site(None, refuse_all) as proxy, pytest.raises(requests.exceptions.ProxyError, match=words) as caught:
        ChatgptFree(site).complete("Hi", proxy=proxy.url)
    assert "407" in str(caught.value)


@PROTOCOLS
def test_early_hints_are_passed_over(answer, page):
    def early(handler, form=None):
        for status in ("103 Early Hints", "102 Processing", "103 Early Hints"):
            handler.wfile.write(f"HTTP/1.1 {status}\r\nLink: </style.css>; rel=preload\r\n\r\n".encode())
        return handler.whole(page) if form is None else answer(handler, form)

    with Site(early, early) as site, ChatgptFree(site.url) as bot:
        assert [bot.complete("Hello you") for _ in range(3)] == ["Hello you"] * 3
        assert site.connections == 1


# ------------------------------------------------------------------------------------------------- sessions of others


class OthersSession:
    """A session whose responses `make(body, url, **what)` makes, for a site of the classic protocol."""

    def __init__(self, make, page=CLASSIC_PAGE, answer=CLASSIC_ANSWER, **what):
        self.make, self.page, self.answer, self.what, self.seen = make, page, answer, what, []

    def get(self, url, **options):
        self.seen.append(options)
        return self.make(self.page, url)

    def post(self, url, **options):
        self.seen.append(options)
        return self.make(self.answer, url, **self.what)


def plain(body, url, status=200, headers=()):
    """A response that is no context manager, has no `raw`, and a plain dict for headers."""
    response = Answer(body, url=url)
    response.status_code, response.headers = status, dict(headers)
    return response


def mocked(body, url):
    """A mock's: its body is there, and nothing to read it from."""
    response = requests.Response()
    response.status_code, response.url, response._content = 200, url, body.encode()
    return response


def cached(body, url):
    """A cache's: its body is decoded, and its headers say gzip as they came."""
    response = requests.Response()
    response.status_code, response.url, response.raw = 200, url, io.BytesIO(body.encode())
    response.headers["Content-Encoding"] = "gzip"
    return response


@pytest.mark.parametrize("make", [plain, mocked, cached])
def test_responses_of_other_sessions_are_read(make):
    session = OthersSession(make)
    assert ChatgptFree(SITE, session=session).complete("Hi") == "Hello, wörld 🌍"
    assert all(type(options["headers"]) is dict for options in session.seen)


def test_headers_in_a_plain_dict_are_understood():
    session = OthersSession(plain, answer="Slow down", status=429, headers={"retry-after": "7"})
    with pytest.raises(RateLimitError, match="try again in 7 s"):
        ChatgptFree(SITE, session=session).complete("Hi")
    session = OthersSession(plain, status=302, headers={"Location": "/elsewhere"})
    with pytest.raises(ChatgptFreeError, match="redirects to /elsewhere"):
        ChatgptFree(SITE, session=session).complete("Hi")


def test_a_session_of_anothers_gets_no_proxies_that_nobody_gave():
    """niquests fails for an empty one, and the session's own proxies are its owner's choice."""
    session = OthersSession(plain)
    ChatgptFree("http://127.0.0.1:8000/", session=session).complete("Hi")
    assert not any(options.get("proxies") for options in session.seen)


class LibrarysError(OSError):
    """As curl_cffi's and niquests' are: of no kind that `requests` knows."""


class LibrarysTimeout(LibrarysError):
    pass


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (LibrarysTimeout("x"), requests.Timeout, "nothing came from site.example for 7 seconds"),
        (LibrarysError("curl: (56)"), requests.ConnectionError, "the connection to site.example: curl: (56)"),
    ],
)
def test_errors_of_other_libraries_are_told_as_requests_own(error, kind, words):
    session = OthersSession(lambda body, url: Answer(*([body] if body == CLASSIC_PAGE else [error]), url=url))
    with pytest.raises(kind, match=re.escape(words)):
        ChatgptFree(SITE, session=session).complete("Hi", timeout=7)


def test_an_error_of_urllib3s_own_is_told_as_requests_own():
    """requests-cache reads bodies itself, and lets these through."""
    from urllib3.exceptions import ProtocolError

    def fail(body, url):
        raise ProtocolError("Connection broken: IncompleteRead(0 bytes read)")

    with pytest.raises(requests.ConnectionError, match=r"site\.example"):
        ChatgptFree(SITE, session=OthersSession(fail)).complete("Hi")


class Terse(ChatgptFree):
    url = SITE


@pytest.mark.parametrize("bot", [ChatgptFree(SITE + "/help/", timeout=7, headers={"X": "y"}, model="DeepSeek"), Terse()])
def test_a_pickled_client_has_the_same_address_and_options(bot):
    copy = pickle.loads(pickle.dumps(bot))
    assert (type(copy), copy.url, copy._options, repr(copy)) == (type(bot), bot.url, bot._options, repr(bot))
    assert copy._session is not bot._session


def test_a_pickled_client_asks():
    with Site(classic_answer) as site:
        bot = ChatgptFree(site.url, headers={"X": "y"})
        assert bot.complete("Hello") == "Hello"
        assert pickle.loads(pickle.dumps(bot)).complete("Hello you") == "Hello you"
        assert [headers["X"] for _, _, headers, _ in site.asked] == ["y"] * 4


def test_a_client_with_a_callers_session_says_why_it_cannot_be_pickled():
    with pytest.raises(TypeError, match="with a session of the caller's cannot be pickled"):
        pickle.dumps(ChatgptFree(SITE, session=requests.Session()))


# -------------------------------------------------------------------------------------------------------- nothing leaks

SECRETS = {"cookies": {"secret": "1"}, "headers": {"X-Secret": "1", "Cookie2": "secret"}, "auth": ("me", "secret")}


def secrets(headers):
    return [name for name, value in headers.items() if "secret" in f"{name}{value}".lower() or name.lower() == "authorization"]


@pytest.mark.parametrize(
    "location",
    [
        r"http://localhost:{there}\@127.0.0.1:{home}/",
        r"http://localhost:{there}\@127.0.0.1:{home}",
        r"//localhost:{there}\@127.0.0.1:{home}/x",
        "http://127.0.0.1:{home}@localhost:{there}/",
        "http://localhost:{there}#@127.0.0.1:{home}/",
        "http://localhost:{there}?@127.0.0.1:{home}/",
        "http://127.0.0.1:{there}/",
        "http://LOCALHOST:{there}/",
        "http:\\\\localhost:{there}/",
        "http://127.0.0.1:{home}\\@localhost:{there}/",
        "http://127.0.0.1:{home}%2F@localhost:{there}/",
    ],
)
def test_what_the_caller_gave_follows_no_redirect_to_another_host_however_it_is_written(location):
    with Site(classic_answer) as stranger, Site(classic_answer) as site:
        there, home = stranger.server_address[1], site.server_address[1]
        move = redirect_to(location.format(there=there, home=home))
        pages = itertools.chain([move], itertools.repeat(lambda handler: handler.whole(CLASSIC_PAGE)))
        site.page = lambda handler: next(pages)(handler)
        with contextlib.suppress(ChatgptFreeError, requests.RequestException):
            ChatgptFree(site.url, **SECRETS).complete("Hi")
        assert secrets(site.asked[0][2])
        assert not [found for _, _, headers, _ in stranger.asked if (found := secrets(headers))]


@pytest.mark.parametrize("owner", ["auth", "headers"])
def test_a_sessions_own_credentials_stay_at_home(owner):
    with Site(classic_answer) as stranger, Site(None, redirect_to("")) as site, requests.Session() as session:
        site.page = redirect_to(stranger.url.replace("127.0.0.1", "localhost") + "/")
        if owner == "auth":
            session.auth = ("me", "secret")
        else:
            session.headers.update({"Authorization": "Basic secret", "Cookie": "secret=1"})
        ChatgptFree(site.url, session=session).complete("Hi")
        assert secrets(site.asked[0][2])
        assert [secrets(headers) for _, _, headers, _ in stranger.asked] == [[], []]


@pytest.mark.parametrize(
    ("home", "page", "is_home"),
    [
        ("https://bücher.example/", "https://xn--bcher-kva.example/", True),
        ("https://BÜCHER.example/", "https://xn--bcher-kva.example/help/", True),
        ("https://xn--bcher-kva.example/", "https://bücher.example/help/", True),
        ("https://Site.Example:443/", "https://site.example/help/", True),
        ("https://bücher.example/", "https://bucher.example/", False),
        ("https://bücher.example/", "http://xn--bcher-kva.example/", False),
    ],
)
def test_what_the_caller_gave_reaches_a_site_whatever_the_spelling_of_its_name(mock, home, page, is_home):
    asked = page.replace("bücher", "xn--bcher-kva")
    first = "https://" + home.partition("//")[2].lower().replace("bücher", "xn--bcher-kva").replace(":443", "")
    if asked != first:
        location = page.encode().decode("latin-1")
        mock.get(first, status=302, headers={"Location": location})
        mock.get(first.replace("example/", "example:443/"), status=302, headers={"Location": location})
    mock.get(asked, body=CLASSIC_PAGE)
    mock.post(urljoin(asked, "/wp-admin/admin-ajax.php"), body=CLASSIC_ANSWER)
    ChatgptFree(home).complete("Hi", **SECRETS)
    assert [bool(secrets(call.request.headers)) for call in list(mock.calls)[-2:]] == [is_home] * 2
    assert secrets(mock.calls[0].request.headers)


PASSWORD = "p%40ss-secret"


def with_password(site):
    return site.url.replace("://", f"://me:{PASSWORD}@")


@PROTOCOLS
def test_a_password_in_the_address_goes_with_every_request_of_the_site_and_into_nothing_else(answer, page):
    moved = threading.Event()

    def first(handler):
        if moved.is_set():
            return handler.whole(page)
        moved.set()
        return redirect_to(site.url + "/help/")(handler)

    with Site(answer, first) as site:
        assert ChatgptFree(with_password(site)).complete("Hello you") == "Hello you"
        assert {headers["Authorization"] for _, _, headers, _ in site.asked} == {"Basic bWU6cEBzcy1zZWNyZXQ="}
        assert len(site.asked) > 2
        for _, path, headers, form in site.asked:
            assert "secret" not in f"{path} {headers['Referer']} {headers['Origin']} {headers['Host']} {form}"


def test_a_password_in_the_address_does_not_follow_a_redirect_to_another_host():
    with Site(classic_answer) as stranger, Site(None, redirect_to(stranger.url + "/")) as site:
        ChatgptFree(with_password(site)).complete("Hi")
        assert site.asked[0][2]["Authorization"]
        assert [headers["Authorization"] for _, _, headers, _ in stranger.asked] == [None, None]


@pytest.mark.parametrize(
    "page",
    [
        "no chat",
        classic_box(nonce=""),
        hang_up,
        lambda handler: handler.whole("<h1>No", 500),
        lambda handler: handler.whole("", 401),
        lambda handler: handler.whole("<title>Just a moment...</title>", 403),
        redirect_to("/"),
        redirect_to("http://["),
        redirect_to("http://you:othersecret@["),
        stall_for_good,
    ],
    ids=["chat", "nonce", "break", "500", "401", "challenge", "loop", "nonsense", "nonsense with a password", "stall_for_good"],
)
def test_no_error_shows_a_password(page):
    with Site(None, page) as site, pytest.raises((ChatgptFreeError, requests.RequestException)) as caught:
        ChatgptFree(with_password(site), timeout=0.3).complete("Hi")
    told = traceback.format_exception(caught.type, caught.value, caught.tb)
    assert "secret" not in "".join(told) + repr(caught.value)


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirected_request_shows_no_password_and_is_told_in_short(status):
    location = "http://you:othersecret@other.example/" + "x" * 5000 + "\x07"
    caught = failure_of(answer=redirect_to(location, status))
    assert caught.words.startswith(f"HTTP {status}: http://HOST/wp-admin/admin-ajax.php redirects to http://other.example/xxx")
    assert len(caught.words) < 400
    assert "secret" not in caught.words
    assert caught.words.isprintable()


def test_a_repr_and_a_wrong_address_show_no_password():
    assert repr(ChatgptFree("https://me:secret@site.example/help/")) == "ChatgptFree('https://site.example/help/')"
    for wrong in ("ftp://me:secret@site.example/", "me:secret@site.example", "https://me:secret@[", "https://me:secret@h:99999/"):
        with pytest.raises(ValueError, match="begins with http") as caught:
            ChatgptFree(wrong)
        assert "secret" not in str(caught.value)


# -------------------------------------------------------------------------------------------- nothing is corrupted


def zipped(*texts, members=False):
    raw = [text.encode() if isinstance(text, str) else text for text in texts]
    return b"".join(map(gzip.compress, raw)) if members else gzip.compress(b"".join(raw))


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_connection_with_half_a_response_on_it_serves_nobody(framing, encoding, monkeypatch):
    """The rest of the response comes when the next call has been made."""
    monkeypatch.setattr(chatgptfree, "LINGER", 0.05)
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


needs_fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork here")
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the site of the test has threads
_asks = None  # what a forked child calls


def ask_in_child(prompt):
    return _asks(prompt)


@pytest.fixture
def fork(monkeypatch):
    """A function that makes a pool of forked processes, in each of which `_asks` is the argument."""
    with contextlib.ExitStack() as pools:

        def pool(asks, processes=1):
            monkeypatch.setattr(sys.modules[__name__], "_asks", asks)
            pool = multiprocessing.get_context("fork").Pool(processes)
            pools.callback(pool.terminate)
            return pool

        yield pool


@needs_fork
@forks
@pytest.mark.parametrize("whose", ["own session", "session of the caller's", "functions"])
@PROTOCOLS
def test_forked_children_and_their_parent_each_get_the_answers_to_their_own_prompts(answer, page, whose, fork, monkeypatch):
    with Site(answer, page) as site:
        if whose == "functions":
            monkeypatch.setattr(chatgptfree._shared, "url", site.url)
            monkeypatch.setattr(chatgptfree._shared, "_chats", ())
            monkeypatch.setattr(chatgptfree._shared._session, "trust_env", False)
            complete = chatgptfree.complete
        else:
            complete = ChatgptFree(site.url, session=requests.Session() if whose != "own session" else None, timeout=10).complete
        assert complete("first call") == "first call"
        prompts = [f"prompt {i} " + "word " * (i % 7) for i in range(24)]
        heard = fork(complete, 4).map_async(ask_in_child, prompts, chunksize=1)
        own = [complete(f"parent {i}") for i in range(20)]
        assert heard.get(timeout=20) == prompts
        assert own == [f"parent {i}" for i in range(20)]
        assert len(site.pages()) == 1


@needs_fork
@forks
def test_a_child_forked_while_a_thread_looks_up_the_page_looks_it_up_itself(fork):
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
            assert fork(bot.complete).apply_async(ask_in_child, ["in a child"]).get(timeout=10) == "in a child"
        finally:
            go_on.set()
        assert early.result() == "in a thread"


@needs_fork
@forks
def test_a_child_forked_while_the_lock_is_held_does_not_hang(fork):
    with Site(classic_answer) as site:
        bot = ChatgptFree(site.url, timeout=10)
        with bot._lock:
            pool = fork(bot.complete)
        assert pool.apply_async(ask_in_child, ["in a child"]).get(timeout=10) == "in a child"


# ----------------------------------------------------------------------------------------------------- nothing hangs

BOX = "<p class=wpaicg-chatbox data-nonce=1 data-post-id=2>"
DIGITS = "1" * 5000  # more than Python makes an int of
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
    "tags in quotes": "|<div wpaicg-chat a=\"|",
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
    "escapes in a name": "<i data-config='{\"nonce\":1,\"botId\":1,\"headerName\":\"|&amp;lt;|\"}'>",
    "digits in a name": "<i data-config='{\"nonce\":1,\"botId\":1,\"headerName\":\"&amp;#" + DIGITS + "|1|\"}'>",
    "comments": "|<!--|",
    "comments' ends": "<!--|--!|",
    "hyphens": "<!--|-|",
    "declarations": "|<!|",
    "script": "|<script |",
    "script's ends": "|<script></scrip|",
    "styles": "|<style><textarea></style|",
    "a long name": "<|a|",
    "tags": "|<a/|",
}
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
    **HOSTILE_ERRORS,
    "broken words": 'event: message\ndata: {|"content":"|',
    "lines of broken words": 'event: message\n|data: {"content":"a\n|',
    "blanks behind content": "event: message\ndata: {|\"content\":" + " " * 500 + "|",
    "events in lines": "|x event: message\n|",
    "data": "|data: {\n|",
    "held lines": "|{\n|",
    "dressed words": '|event: message\ndata: {"choices":[{"delta":{"content":"x"}}]}\n\n|',
    "noise": "|data: x\n\n|",
}


def scrape(page):
    with contextlib.suppress(ChatNotFoundError):
        chatgptfree._find_chats(page, SITE)


def refuse_all(page):
    for status in (403, 404):
        response = types.SimpleNamespace(status_code=status, url=SITE, headers={}, reason="OK")
        chatgptfree._refusal(response, page)


def read_answer(answer):
    ask(CLASSIC_PAGE, *re.findall("(?s).{1,65536}", answer))


@pytest.mark.parametrize(
    ("work", "hostile"),
    [
        pytest.param(work, hostile, id=f"{work.__name__}-{name}")
        for work, table in ((scrape, HOSTILE_PAGES), (refuse_all, HOSTILE_ERRORS), (read_answer, HOSTILE_ANSWERS))
        for name, hostile in table.items()
    ],
)
def test_reading_takes_no_more_than_linear_time_whatever_a_site_sends(work, hostile):
    begin, piece, end = hostile.split("|")

    def cost(size):
        text = begin + piece * (size // len(piece)) + end
        return best_time(lambda: work(text))

    assert cost(30_000) < 30 * cost(3_000)  # quadratic time would take 100 times


def test_a_repeated_class_name_takes_no_more_memory_than_the_page():
    page = '<div class="' + "wpaicg-chat-shortcode " * 20_000 + f'" {"data-nonce=1 " * 1000}>'
    with peak_memory() as peak:
        scrape(page)
        assert peak() < 20 * len(page)


def test_threads_before_a_dead_site_share_one_failure():
    together = threading.Barrier(8)

    def call(bot):
        together.wait(10)
        with pytest.raises(requests.Timeout) as caught:
            bot.complete("Hi", timeout=0.5)
        return str(caught.value)

    with Site(None, stall_for_good) as site, ChatgptFree(site.url) as bot, ThreadPoolExecutor(8) as pool:
        before = time.monotonic()
        words = set(pool.map(call, [bot] * 8))
        elapsed = time.monotonic() - before
        assert words == {f"nothing came from {site.url[7:]} for 0.5 seconds"}
        assert len(site.asked) == 1
    assert elapsed < 4 * 0.5  # one after another they would take eight time-outs


def test_nobody_waits_for_another_threads_look_longer_than_its_own_time_out():
    asked, go_on = threading.Event(), threading.Event()

    def page(handler):
        asked.set()
        go_on.wait(10)
        handler.whole(CLASSIC_PAGE)

    with Site(classic_answer, page) as site, ChatgptFree(site.url) as bot, ThreadPoolExecutor(1) as pool:
        patient = pool.submit(bot.complete, "patient", timeout=None)
        assert asked.wait(5)
        for timeout in (0.1, (0.05, 0.05)):
            with pytest.raises(requests.Timeout, match=f"nothing came from {site.url[7:]} for "):
                bot.complete("hasty", timeout=timeout)
        assert not patient.done()
        assert len(site.asked) == 1
        go_on.set()
        assert patient.result(10) == "patient"


def test_a_failure_is_shared_only_by_those_who_asked_alike():
    asked, go_on = threading.Event(), threading.Event()

    def page(handler):
        asked.set()
        go_on.wait(10)
        handler.whole(CLASSIC_PAGE, 200 if handler.headers["X-Key"] == "right" else 403)

    with Site(classic_answer, page) as site, ChatgptFree(site.url, timeout=10) as bot, ThreadPoolExecutor(2) as pool:
        wrong = pool.submit(bot.complete, "Hi", headers={"X-Key": "wrong"})
        assert asked.wait(5)
        right = pool.submit(bot.complete, "Hi", headers={"X-Key": "right"})
        go_on.set()
        assert right.result(10) == "Hi"
        with pytest.raises(ChatgptFreeError):
            wrong.result(10)


# ----------------------------------------------------------------------------------------- bodies nobody asked for


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
    pages = itertools.chain([endless_redirect("/help/", wrote)], itertools.repeat(lambda handler: handler.whole(CLASSIC_PAGE)))
    with Site(classic_answer, lambda handler: next(pages)(handler)) as site, peak_memory() as peak:
        assert ChatgptFree(site.url).complete("Hello you") == "Hello you"
        memory = peak()
    assert sum(wrote) < 30_000_000  # the rest was refused
    assert memory < 15e6


def test_an_answers_redirect_does_not_fill_the_memory_either():
    with peak_memory() as peak:
        caught = failure_of(answer=endless_redirect("/help/", []))
        assert peak() < 40e6
    assert caught.type is ChatgptFreeError


def send_zipped(raw, encoding="gzip"):
    def send(handler, *_):
        handler.head(Content_Encoding=encoding, Content_Length=str(len(raw)))
        with contextlib.suppress(OSError):
            handler.wfile.write(raw)

    return send


@pytest.mark.parametrize("after", [b"raw bytes" * 2_000_000, b"\0" * 600, b"x"])
def test_raw_bytes_behind_gzip_are_not_read(after):
    page, answer = send_zipped(zipped(CLASSIC_PAGE) + after), send_zipped(zipped(chunk("Hello"), DONE) + after)
    with Site(answer, page) as site, ChatgptFree(site.url) as bot, peak_memory() as peak:
        assert [bot.complete("Hi", timeout=5) for _ in range(2)] == ["Hello"] * 2
        assert peak() < 10e6


@pytest.mark.parametrize("where", ["page", "answer"])
def test_what_a_second_gzip_member_holds_is_not_lost(where):
    page = zipped(CLASSIC_PAGE[:40], CLASSIC_PAGE[40:], members=where == "page")
    answer = zipped(chunk("Hello"), "", chunk(" you"), DONE, members=where == "answer")
    with Site(send_zipped(answer), send_zipped(page)) as site:
        assert ChatgptFree(site.url).complete("Hi") == "Hello you"


def test_a_second_gzip_member_may_begin_anywhere_in_a_piece():
    raw = zipped(chunk("Hello"), chunk(" you"), DONE, members=True)

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


def empty_blocks(count):
    """Gzip that never ends and holds nothing: stored blocks of no length, or a flush after each."""
    zipper = zlib.compressobj(wbits=31)
    head = zipper.compress(b"") + zipper.flush(zlib.Z_FULL_FLUSH)
    return head + b"\0\0\0\xff\xff" * count


BOMB = gzip.compress(b"data: " + b"x" * 30_000_000)


@pytest.mark.parametrize(
    ("raw", "encoding"),
    [
        (BOMB, "gzip"),
        (gzip.compress(b": \n" * 9) + BOMB, "gzip"),
        (gzip.compress(gzip.compress(BOMB)), "gzip, gzip, gzip"),
        (gzip.compress(b"x"), "gzip, gzip, gzip, gzip"),
        (b"x", ", ".join(["gzip"] * 1000)),
        (empty_blocks(3_000_000), "gzip"),
        (gzip.compress(empty_blocks(3_000_000)), "gzip, gzip"),
        (gzip.compress(b"") * 100_000, "gzip"),
        (gzip.compress(gzip.compress(b"") * 200_000), "gzip, gzip"),
    ],
    ids=["bomb", "bomb as second member", "three times", "four times", "a thousand times", "empty blocks", "zipped empty blocks",
         "empty members", "zipped empty members"],
)  # fmt: skip
@pytest.mark.parametrize("where", ["page", "answer"])
def test_what_compression_makes_endless_is_an_error_in_bounded_memory(raw, encoding, where):
    send = send_zipped(raw, encoding)
    with peak_memory() as peak:
        caught = failure_of(send) if where == "page" else failure_of(answer=send)
        assert peak() < 60e6  # a page is held as bytes, once joined, and as text
    assert isinstance(caught.value, ChatgptFreeError)
    assert re.search("bytes without an end|a line of over|unasked|compressed bytes that hold nothing", caught.words)


# --------------------------------------------------------------------------------------- nonsense is the site's error


@pytest.mark.parametrize(
    "location",
    ["http://[", "http://h:99999/", "http://a..b/", "http://h:port/", "https:///x", "http://" + "a" * 64 + ".example/",
     "http://\xff\xfe/", "/\xff\xfe", "ftp://127.0.0.1/", "javascript:alert(1)", "data:text/html,x", "http://[::1", "http://[v1.x]:/",
     "//[", "http://*.example/", "http://\xc3\xa9\xe2\x80\xae" + "b" * 70 + "/"],
)  # fmt: skip
@pytest.mark.parametrize("what", ["page", "answer"])
def test_a_redirect_to_nonsense_is_the_sites_error(what, location):
    send = redirect_to(location)
    caught = failure_of(answer=send) if what == "answer" else failure_of(send)
    assert caught.type is ChatgptFreeError
    assert "redirects to" in caught.words


@pytest.mark.parametrize("location", ["/hé/?ü=ß", "http://{host}/hé/?ü=ß", "/h%C3%A9/?%C3%BC=%C3%9F"])
def test_raw_utf_8_in_a_redirect_is_asked_for_as_requests_does(location):
    asked = []

    def page(handler):
        asked.append(handler.path)
        if len(asked) == 1:
            return redirect_to(location.format(host=site.url[7:]).encode().decode("latin-1"))(handler)
        return handler.whole(CLASSIC_PAGE)

    def answer(handler, form):
        return classic_answer(handler, form) if "message" in form else page(handler)

    with Site(answer, page) as site:
        assert ChatgptFree(site.url).complete("Hi") == "Hi"
    assert asked[1] == "/h%C3%A9/?%C3%BC=%C3%9F"


def test_a_reference_of_5000_digits_in_a_page_does_no_harm(mock):
    add_classic(mock, CLASSIC_ANSWER, page=classic_box().replace("#ccf5e1", f"&#{DIGITS};"))
    assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"
    config = html.escape(json.dumps({"botId": 1, "nonce": "n", "headerName": f"Bot &#{DIGITS};"}))
    mock.get(SITE + "/bot", body=f'<i data-config="{config}">')
    assert ChatgptFree(SITE + "/bot").list_models()[0].startswith("Bot")


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
)
@pytest.mark.parametrize("add", [add_classic, add_current])
def test_numbers_of_5000_digits_in_an_error_are_the_sites_error(mock, error, add):
    add(mock, error)
    with pytest.raises(ChatgptFreeError, match="Oh no"):
        ChatgptFree(SITE).complete("Hi")


def config_page(**config):
    config = {"botId": 1, "nonce": "n", "postId": 6, "headerName": "Bot", "ajaxUrl": AJAX, **config}
    return f'<i data-config="{html.escape(json.dumps(config))}">'


ODD_TEXT = ["\ud800", "a\udfffb", "\ud83d" * 3, "\0", "line\nbreak", "\x7f"]
ODD = [*ODD_TEXT, [1], {"a": "b"}, 1.5, True, None, 10**400]


@pytest.mark.parametrize("value", ODD, ids=ascii)
@pytest.mark.parametrize("key", ["nonce", "botId", "postId", "headerName"])
def test_odd_values_in_a_current_page_are_an_error_of_the_librarys_at_most(mock, key, value):
    add_current(mock, CURRENT_ANSWER, page=config_page(**{key: value}))
    with contextlib.suppress(ChatgptFreeError):
        assert ChatgptFree(SITE).complete("Hi") == "Hello, wörld 🌍"


@pytest.mark.parametrize("value", ODD_TEXT, ids=ascii)
@pytest.mark.parametrize("key", ["nonce", "botId"])
def test_a_chat_whose_ids_cannot_be_sent_is_no_chat(mock, key, value):
    add_current(mock, CURRENT_ANSWER, page=config_page(**{key: value}))
    with pytest.raises(ChatNotFoundError):
        ChatgptFree(SITE).complete("Hi")


@pytest.mark.parametrize("reference", ["&#xD800;", "&#55296;", "&#0;", "&#10;", "&#1114112;"])
@pytest.mark.parametrize("old", ["c10d44dafd", '"6"', '"0"'])
def test_odd_references_in_a_classic_page_are_an_error_of_the_librarys_at_most(mock, old, reference):
    add_classic(mock, CLASSIC_ANSWER, page=classic_box().replace(old, f'"{reference}"' if '"' in old else reference))
    with contextlib.suppress(ChatgptFreeError):
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


@pytest.mark.parametrize("answer", ["\ud83d", "a\udfff"], ids=ascii)
def test_a_conversation_goes_on_after_half_a_character(answer):
    chat = ChatgptFree(SITE, session=Stub(CLASSIC_PAGE, chunk(answer) + DONE)).conversation()
    chat.complete("Hi")
    chat.complete("And now?")
    assert [message["content"] for message in chat.messages[::2]] == ["Hi", "And now?"]


@pytest.mark.parametrize("field", [field[:end] for field in ("data", "event", "id", "retry") for end in range(1, len(field) + 1)])
def test_a_field_cut_in_its_name_is_an_incomplete_reply(field):
    assert isinstance(ask(CLASSIC_PAGE, field)[1], IncompleteReplyError)
    texts, error = ask(CLASSIC_PAGE, chunk("Hello") + field)
    assert (texts, type(error), error.partial) == (["Hello"], IncompleteReplyError, "Hello")


@pytest.mark.parametrize("rest", ["dat", 'data: {"choices":[{"delta":{"content":"wor'])
def test_half_a_line_is_no_reason_why_an_answer_broke_off(rest):
    assert str(ask(CLASSIC_PAGE, chunk("Hello") + rest)[1]) == "the answer broke off"


# ------------------------------------------------------------------------------------------------------ the demo site


@pytest.mark.parametrize("use", ["print(bot.complete('Hello'))", "answer = bot.stream('Hello'); print(next(answer))"])
def test_a_demo_site_that_is_never_left_lets_the_interpreter_end(use):
    code = f"from chatgptfree import *\nsite = demo_site()\nbot = ChatgptFree(site.__enter__())\n{use}\nprint('end')"
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(MODULE).parent), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, env=environment, check=False)
    assert ended.stdout.splitlines() in (["You ", "end"], [DEMO_ANSWER, "end"])
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_demo_site_can_be_left_by_hand():
    site = demo_site()
    url = site.__enter__()
    assert ChatgptFree(url).list_models()
    site.__exit__(None, None, None)
    with pytest.raises(requests.ConnectionError):
        ChatgptFree(url).list_models()


# ------------------------------------------------------------------------------------- a reply in a notebook, to look at

TAG = '<img src=x onerror="alert(1)">'
PLAIN_FENCE = re.compile(r"""( {0,3})(`{3,}|~{3,})[^"'`~<>&\\]*""")
FORMULA = re.compile(r"[$@]|\\(?:begin|end)\{|\\\\[][()]")  # JupyterLab takes formulas out, and puts them back into the HTML


def dangers(markdown):
    """What a notebook could run. Tags are code only in fences that no two readers of Markdown take for different things."""
    found, lines, marked = [], iter(re.split("\r\n?|\n", markdown)), bool(FORMULA.search(markdown))
    for line in lines:
        opened = PLAIN_FENCE.fullmatch(line)
        if opened:
            indent, fence = opened.groups()
            code = []
            for line in lines:
                if line == indent + fence:
                    break
                code.append(line)
            text = "\n".join(code)
            ends = re.search(rf"^ *{fence}[`~]*[ \t]*$", text, re.MULTILINE)
            swapped = indent and "$" in opened[0] + text or FORMULA.search(text.replace("$", "").replace("@", ""))
            left = any(line.strip() and not line.startswith(indent) for line in code)
            if (ends or swapped or left) and re.search("<[A-Za-z/!?]", text):
                found.append(f"a tag in {text!r}, which may be no code")
        else:
            found += re.findall("<[A-Za-z/!?].*", line) + re.findall(r"\]\(\s*<?(?:[a-z]*script|data|\\|&|[\x00-\x1f]).*", line)
            found += re.findall(r'(?:`{3,}(?=[^`]*$)|~{3,}).*".*', line) + re.findall(r"\]:.*", line)
    return found + (re.findall(r"\]\(.*|\w+://.*|www\..*", markdown) if marked and '"' in markdown else [])


@pytest.mark.parametrize(
    "text",
    [
        "Hello T", "<script>alert(1)</script>", "</x>T", "<<b>T", "<!-- --> T", "<![CDATA[>T]]>", "<?x T ?>", "<!A T>",
        "<div>\n```\n</div>T", "`T`", "[x](`) T `", "`` ` T ` ``", "``` a T ``", "`a\nT\nb`", "\\`T`", "`a\n\nT\n\nb`",
        "\\T", "a|b\n-|-\nT|`T`", "T\n===", "```\na\n```\nT", "```\n```\nT", "```a```\nT", "``` a`b\nT\n```\nT",
        "# ```\nT\n```\nT", "\u200b```\nT\n```\nT", "```\na\n```~\nT\n```", "```\na\n`````\nT\n```",
        "````\na\n```\nT\n````\n```\nT\n```\nT", "   ```\n   a\n```\nT\n   ```", "   ```\n   a\n      ```\nb\n```\nT\n```",
        "```\na\n```\t\nb\n```\nT\n```", "~~~\na\n~~~\t\nb\n~~~\nT\n~~~", "~~~ `\na\n~~~\nT\n~~~",
        "~~~a`b`\na\n~~~\n\nT\n\n~~~", "- [ ] ```\n  a\n  ```\n  T\n  ```", "- ```\n  a\n  ```\n  T\n  ```",
        "- - ```\n    a\n    ```\n    T\n    ```", "- a\n  ```\nT\n  ```", "> ```\n> a\n> ```\n> T\n> ```", "> ```\nT\n```",
        "\t```\n\ta\n\t```\nT\n\t```", "    ```\nT\n    ```", "-\ta\n\n\t```\n\tx\n\t```\n\tT", "[x]: /u '\n```\n'\nT\n```",
        "[x\ny]: /u '\n```\n'\nT\n```", "- [x]: /u '\n  ```\n  '\n  T\n  ```", "$ a\n```\n$ T\n```", "$$ a\n```\n$$ T\n```",
        "\\begin{x}\n```\n\\end{x} T\n```", "\\\\(\n```\n\\\\) T\n```", "\\\\[\n```\n\\\\] T\n```", "\\(\n```\n\\) T\n```",
        "$\n   ```x\n   $ T\n   ```", "1. a\n   ```sh\n   $ T\n   $\n   ```", "```$\n$ T\n```", "$\n```x\n$ T\n``` ",
        "$\n```x\n$ T\n  ```", "$\n```x\n$ T\n```\t", "costs $5\n``` sh\n$ T\n```  ", "costs $5\n~~~ sh\n$ T\n ~~~", "$aTb$",
        "$$T$$", "\\(T\\)", "\\[T\\]", "```\ra\r```\rT\r```\r", "```\r\na\r\n```\r\nT", "```\na\r```\rT\n```",
        "```\u2028T\u2028```",
        "```\na\u2028```\u2028T\n```", "```\na\f\n```\f\nT\n```", "```\0\na\n```\0\nT\n```", "```\na\n```\x85\nT\n```",
        "```\na\n```\xa0\nT\n```", "\xa0```\nT\n```\nT", '```"><img src=x onerror="alert(1)">\nx\n```',
        '~~~a"><img/src=x>\nx\n~~~', '```a"autofocus="1"onfocus="alert(1)"\nx\n```',
        '- ```"autofocus="1"onfocus="alert(1)"\n  x\n  ```', '   ```$"autofocus="1"onfocus="alert(1)"$\n   x\n   ```',
        '![$" onerror="alert(1)" x="$](https://no.example/a.png)',
        '![x](https://no.example/a.png "$" onerror="alert(1)" $")',
        '![\\(" onerror="alert(1)" x="\\)](https://no.example/a.png)',
        '![\\begin{a}" onerror="alert(1)" x="\\end{a}](https://no.example/a.png)',
        '![\\\\(" onerror="alert(1)" x="\\\\)](https://no.example/a.png)',
        'a $" onerror="alert(1)" x="$\n\n![x](https://no.example/@\\@0@@)',
        'https://no.example/$"autofocus="1"onfocus="alert(1)"$', '[x](#$"autofocus="1"onfocus="alert(1)"$)',
        "[x](javascript:alert(1))", "[x](&#106;avascript:alert(1))", "[x](java&Tab;script:alert(1))",
        "[x](<javascript:alert(1)>)", "[x](\x01javascript:alert(1))", "![x](data:image/svg+xml,x)",
        "[x][y]\n\n[y]: javascript:alert(1)", "[x](\\javascript:alert(1))", "[![x](https://a/b)](javascript:alert(1))",
        "[x]\\(a\\)(javascript:alert(1))", "<javascript:alert(1)>",
    ],
)  # fmt: skip
def test_a_notebook_runs_nothing_of_an_answer(text):
    """Each of these ran in a JupyterLab 4 when it was shown as it is, or is a neighbour of one that did."""
    answer = text.replace("T", TAG)
    assert dangers(Reply(answer)._repr_markdown_()) == []


SHELL = "```sh\necho $HOME <div> > $x\n```"
LISTED = "1. First\n\n   ```html\n   <div>\n     <p>\n   ```\n2. Second"


@pytest.mark.parametrize(
    "text",
    [
        "a < b, 3 <4 and x <- y", "**bold** `code` [a link](https://example.org/x?a=b&c=d) https://example.org/",
        "```python\nif a<b:\n\tprint('<div>&amp;', `x`)\n\n```", "Text\n~~~\n```\ntext", "```html\n<div>",
        SHELL, "costs $5\n\n" + SHELL + "\nand $6", LISTED,
        "- item\n  ```js\n  a<b\n  ```\n- item", "`\\(x\\)` and `\\[y\\]`", "```tex\n\\(x\\)\n```", "`echo $HOME $x`", "", "…",
    ],
)  # fmt: skip
def test_what_is_harmless_reads_as_it_was_written(text):
    shown = Reply(text)._repr_markdown_()
    if shown != text:  # fences may be written in another way, and at the start of the line
        assert re.sub(r"(?m)^ *[`~]{3,}|\s", "", shown) == re.sub(r"(?m)^ *[`~]{3,}|\s", "", text)
    assert Reply(text) == text


@pytest.mark.parametrize(
    "code",
    ["text\n~~~\nmore <b>", "    <b>\n\n\n<i>\t ", "a\n``\n<b>", "<b>$x$<i>\n$", "<b>\u200b", "`<b>`"],
    ids=["tildes", "blanks", "ticks", "dollars", "break", "inline"],
)
@pytest.mark.parametrize(
    "around",
    ["```\n{}\n```", "It costs $5.\n\n```text\n{}\n```\nAnd $6.", "Look:\n```\n{}"],
    ids=["alone", "prices", "open"],
)
def test_code_in_a_fence_is_shown_to_the_byte(code, around):
    assert f"\n{code}" in Reply(around.format(code))._repr_markdown_()


def test_code_in_a_fence_of_a_list_is_shown_to_the_byte_though_something_costs_a_dollar():
    assert "\n<div>\n  <p>\n" in Reply("It costs $5.\n\n" + LISTED)._repr_markdown_()


def test_inline_code_looks_as_written():
    assert Reply("`<div>` & `a<b`")._repr_markdown_().replace("\u200b", "") == "`<div>` & `a<b`"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r"So \(x^2\) is it", "So $x^2$ is it"),
        (r"\( x \)", "$x$"),  # a blank behind the first dollar would make it no formula
        (r"\[ \frac{a}{b} \]", r"$$ \frac{a}{b} $$"),
        ("\\[\nx\n\\]", "$$\nx\n$$"),
        (r"\(a<b\) and \(c\)", "$a<\u200bb$ and $c$"),
        ("$a<b$", "$a<\u200bb$"),
        (r"\\(x\\)", r"\\(x\\)"),
        (r"`\(x\)` \(y\) ``\[z\]``", r"`\(x\)` $y$ ``\[z\]``"),
        ("```\n\\(x\\)\n```\n\\(y\\)", "```\n\\(x\\)\n```\n$y$"),
        (r"\(no end", r"\(no end"),
    ],
)
def test_formulas_are_given_as_a_notebook_knows_them(text, shown):
    assert Reply(text)._repr_markdown_() == shown


# ------------------------------------------------------------------------------------------- show, tracebacks


class Notebook:
    """Stands in for IPython and for the cell's output: `seen` is all that stood there, one after another."""

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


def test_in_a_notebook_an_answer_is_drawn_ten_times_a_second_at_most(notebook):
    assert show(notebook.come(*"x" * 1000, seconds=0.01)) == "x" * 1000  # ten seconds
    assert 50 <= len(notebook.seen) <= 103
    assert notebook.seen[-1] == "x" * 1000


def test_an_error_before_the_first_word_takes_the_dots_away(notebook):
    with pytest.raises(ChatgptFreeError, match="^No\\.$"):
        show(notebook.come(error=ChatgptFreeError("No.")))
    assert (notebook.seen[0], notebook.seen[-1]) == ("…", "")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), IncompleteReplyError("the answer broke off")], ids=repr)
def test_what_had_come_stays_in_the_notebook_after_an_interrupt_or_an_error(notebook, error):
    with pytest.raises(type(error)):
        show(notebook.come("one ", "two", seconds=0.01, error=error))
    assert notebook.seen[-1] == "one two"


def test_a_shown_answer_is_not_shown_again_by_its_own_cell_but_by_a_later_one(notebook):
    reply = show(notebook.come("Hello"))
    assert notebook.last_value(reply) == []
    notebook.execution_count += 1
    assert notebook.last_value(reply) == ["Hello"]
    assert reply._repr_markdown_() == "Hello"


@pytest.mark.parametrize(
    "module", [None, types.SimpleNamespace(get_ipython=lambda: None), types.SimpleNamespace(get_ipython=object)]
)
def test_outside_notebooks_an_answer_is_printed(monkeypatch, capsys, module):
    """Nowhere, in a script that has IPython loaded, in a terminal's IPython (which has no kernel)."""
    monkeypatch.setitem(sys.modules, "IPython", module)
    reply = show(iter(["Hel", "lo\x1b[31m"]))
    assert capsys.readouterr() == ("Hello\x1b[31m\n", "")  # no terminal, so it is given as it is
    assert (type(reply), reply) == (Reply, "Hello\x1b[31m")


def test_ipython_is_not_imported():
    code = "import sys, chatgptfree; chatgptfree.show(['Hi']); print('IPython' in sys.modules, flush=True)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=os.path.dirname(MODULE), check=True)
    assert result.stdout == "Hi\nFalse\n"


def frames_in_a_notebook(error):
    """Of this library: IPython leaves out those that say so."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == MODULE]
    return [frame.f_code.co_name for frame in frames if "__tracebackhide__" not in frame.f_locals]


def interrupt_it(*_, **__):
    raise KeyboardInterrupt


BOXED = {"body": current_box(), "status": 200}
TOO_MANY = {"status": 429, "body": "Slow down", "headers": {"Retry-After": "30"}}
FAILURES = {  # the page, the answer, the options, what is raised
    "no chat": ({"body": "<p>Hello"}, "", {}, ChatNotFoundError("no chat, neither nonce nor post id, on https://site.example/")),
    "blocked": (None, {"status": 403, "headers": {"cf-mitigated": "challenge"}}, {}, BlockedError("needs a browser")),
    "limit": (None, TOO_MANY, {}, RateLimitError("HTTP 429: Slow down (try again in 30 s)")),
    "broken off": (None, chunk("Hello"), {}, IncompleteReplyError("the answer broke off")),
    "failed": (None, {"body": "Out of order", "status": 500}, {}, ChatgptFreeError("HTTP 500: Out of order")),
    "network": ({"body": requests.ConnectionError("x")}, "", {}, requests.ConnectionError("no answer from site.example: x")),
    "interrupt_it": (None, CLASSIC_ANSWER, {"hooks": {"response": interrupt_it}}, KeyboardInterrupt("")),
    "model": (BOXED, "", {"model": "gpt-9"}, ValueError("no model 'gpt-9' on https://site.example/")),
    "keyword": (None, "", {"timout": 3}, TypeError("unexpected keyword argument 'timout'")),
    "cookies": (None, "", {"cookies": "a=b"}, TypeError("cookies must be a dict")),
    "image": (None, "", {"image": "no such file.png"}, FileNotFoundError("No such file or directory: 'no such file.png'")),
    "prompt": (None, "", {"messages": " "}, ValueError("the prompt is empty")),
    "message": (None, "", {"messages": [{"role": "user"}]}, ValueError("messages[0]")),
}
SCREEN_WAYS = {
    "complete": lambda bot, message, options: bot.complete(message, **options),
    "stream": lambda bot, message, options: list(bot.stream(message, **options)),
    "show": lambda bot, message, options: show(bot.stream(message, **options)),
    "conversation": lambda bot, message, options: bot.conversation().complete(message, **options),
    "conversation's stream": lambda bot, message, options: list(bot.conversation().stream(message, **options)),
    "the client's options": lambda bot, message, options: ChatgptFree(SITE, **options).complete(message),
}


@pytest.mark.parametrize("way", SCREEN_WAYS)
@pytest.mark.parametrize("failure", FAILURES)
def test_a_traceback_shows_the_callers_lines_and_ends_with_the_sentence_that_matters(mock, capsys, failure, way):  # noqa: F811
    page, answer, options, raised = FAILURES[failure]
    mock.get(SITE + "/", **page) if page else add_classic(mock, answer)
    options = dict(options)
    message = options.pop("messages", "Hi")
    with pytest.raises(type(raised)) as caught:
        SCREEN_WAYS[way](ChatgptFree(SITE), message, options)
    lines = "".join(traceback.format_exception(caught.type, caught.value, caught.tb)).splitlines()
    assert str(raised) in lines[-1]
    assert len(lines) < 30
    assert len(frames_in_a_notebook(caught.value)) <= 3  # each takes up to ten lines there


def test_a_traceback_of_list_models_is_short_too(mock):  # noqa: F811
    mock.get(SITE + "/", body="<p>Hello")
    with pytest.raises(ChatNotFoundError) as caught:
        ChatgptFree(SITE).list_models()
    assert frames_in_a_notebook(caught.value) == []


def test_a_refused_connection_has_a_short_traceback_too():
    for ask in (ChatgptFree("http://127.0.0.1:9/").complete, ChatgptFree("http://127.0.0.1:9/").conversation().complete):
        with pytest.raises(requests.ConnectionError, match="^no answer from 127.0.0.1:9: Connection refused$") as caught:
            ask("Hi")
        assert len("".join(traceback.format_exception(caught.type, caught.value, caught.tb)).splitlines()) < 30
        assert frames_in_a_notebook(caught.value) == []


# ------------------------------------------------------------------------------------------------------- command line


def start(command, **options):
    """Start a line of the shell, in which "$0" "$1" is the command line."""
    command = ["sh", "-c", command, sys.executable, MODULE]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


CLOSINGS = ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"]


def test_closed_standard_streams_confuse_nothing():
    """An answer goes to standard output, a complaint to standard error, or nowhere."""
    complaint = "chatgptfree: no answer from 127.0.0.1:9: Connection refused\n"
    wanted = {}
    for closing in CLOSINGS:
        wanted["--demo Hello", closing] = ("" if re.search("(?<!2)>", closing) else DEMO_ANSWER + "\n", "", 0)
        wanted["--url http://127.0.0.1:9/ Hi", closing] = ("", "" if "2>" in closing else complaint, 1)
    started = {case: start(f'exec "$0" "$1" {case[0]} {case[1]}') for case in wanted}
    got = {}
    for case, process in started.items():
        out, err = process.communicate(timeout=60)
        got[case] = (out.decode(), err.decode(), process.returncode)
    assert got == wanted


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
    started = {command: start(command.replace("{}", '"$0" "$1"'), cwd=tmp_path, env=environment) for command in PIPED}
    got = {command: process.communicate(timeout=60) for command, process in started.items()}
    assert got == {command: ((DEMO_ANSWER.replace("Hello", prompt) + "\n").encode(), b"") for command, prompt in PIPED.items()}


def test_a_pipe_that_is_not_utf_8_is_said_in_one_line():
    with start('printf "caf\\351" | "$0" "$1" --demo Hi') as process:
        out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == (b"", 2)
    assert re.fullmatch(rb"chatgptfree: standard input is not UTF-8 .*\n", err)


def test_an_application_made_by_zipapp_keeps_the_exit_status(tmp_path):
    (tmp_path / "app").mkdir()
    shutil.copy(MODULE, tmp_path / "app")
    zipapp.create_archive(tmp_path / "app", tmp_path / "app.pyz", main="chatgptfree:main")
    started = [
        subprocess.Popen([sys.executable, tmp_path / "app.pyz", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for arguments in (["--demo", "Hello"], ["--url", "http://127.0.0.1:9/", "Hi"], ["--url", "site.example", "Hi"])
    ]
    answers = [process.communicate(timeout=60)[0].decode() for process in started]
    assert [process.returncode for process in started] == [0, 1, 2]
    assert answers == [DEMO_ANSWER + "\n", "", ""]


class Narrow(Terminal):
    HOLD = (
        "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode("
        """pty.spawn(['sh', '-c', 'stty cols 20; exec "$0" "$@"', *sys.argv[1:]])))"""
    )


def test_the_waiting_notice_fits_a_narrow_terminal(monkeypatch):
    """Or wiping it would leave a piece. The terminal's own width counts, whatever COLUMNS was when it had another."""
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Narrow("--demo", "Hello")
    assert terminal.wait_for("You asked:") == "waiting for the ans\r" + " " * 19 + "\rYou asked:"
    assert terminal.exit_status() == 0


def test_help_fits_a_narrow_terminal():
    assert run("--help", env={**os.environ, "COLUMNS": "20"}).returncode == 0


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
        while not re.search(rb"\x1b\[\?2004h.*> ", prompt):  # until this, a terminal types a paste as it types keys
            assert select.select([terminal.process.stdout], [], [], 20)[0], prompt
            prompt += terminal.process.stdout.read(4096)
        terminal.type("\x1b[200~  def f():\n\n\treturn 1\n\x1b[201~\n")
        terminal.wait_for("Well.")
        terminal.wait_for("> ")
        assert terminal.exit_status("quit\n") == 0
    assert asked == ["  def f():\n\n\treturn 1"]


@pytest.mark.parametrize("word", ["exit", "quit", " quit "])
def test_a_conversation_begins_with_how_to_leave_on_standard_error_and_is_left_by_a_word(word, monkeypatch, capsys):
    words = iter([word])
    monkeypatch.setattr("builtins.input", lambda prompt: next(words))
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: True))
    assert main(["--demo"]) == 0
    assert capsys.readouterr() == ("", "Ctrl-C stops an answer; exit, quit or Ctrl-D leaves.\n")


@pytest.mark.parametrize(("end", "status"), [(KeyboardInterrupt, 130), (EOFError, 0)])
def test_ctrl_c_and_ctrl_d_at_the_prompt_end_on_a_line_of_their_own(end, status, monkeypatch, capsys):
    def leave(prompt):
        raise end

    monkeypatch.setattr("builtins.input", leave)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: True))
    assert main(["--demo"]) == status
    assert capsys.readouterr().out == "\n"


def test_headers_of_the_command_line_are_sent(mock, capsys):  # noqa: F811
    add_classic(mock, CLASSIC_ANSWER)
    assert main(["--url", SITE, "--header", "User-Agent: My Browser: 7", "--header", "X-Key:a", "Hi"]) == 0
    for call in mock.calls:
        assert (call.request.headers["User-Agent"], call.request.headers["X-Key"]) == ("My Browser: 7", "a")


@pytest.mark.parametrize("value", ["novalue", ": x", ""])
def test_a_header_without_name_or_colon_is_wrong_usage(value, capsys):
    with pytest.raises(SystemExit) as leave:
        main(["--header", value, "Hi"])
    assert leave.value.code == 2
    assert f"--header: invalid header value: {value!r}" in capsys.readouterr().err


def test_the_advice_about_a_check_is_in_the_command_lines_own_options(mock, capsys):  # noqa: F811
    mock.get(SITE + "/", status=403, headers={"cf-mitigated": "challenge"})
    assert main(["--url", SITE, "Hi"]) == 1
    words = capsys.readouterr().err
    assert words.count("\n") == 1
    assert words.endswith("--cookie cf_clearance=… --header 'User-Agent: …'\n")
    assert "{" not in words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--url", "http://127.0.0.1:9/"], "no answer from 127.0.0.1:9: Connection refused"),
        (["--url", "http://me:secret@127.0.0.1:9/"], "no answer from 127.0.0.1:9: Connection refused"),
        (["--url", "http://site.example/", "--proxy", "http://me:secret@127.0.0.1:9"],
         "no answer from the proxy for site.example: Connection refused"),
    ],
)  # fmt: skip
def test_a_failure_of_the_network_is_one_short_line_with_the_host(arguments, words, capsys):
    assert main([*arguments, "Hi"]) == 1
    assert capsys.readouterr() == ("", f"chatgptfree: {words}\n")


def test_a_limit_says_when_to_try_again(mock, capsys):  # noqa: F811
    mock.get(SITE + "/", **TOO_MANY)
    assert main(["--url", SITE, "Hi"]) == 1
    assert capsys.readouterr().err == "chatgptfree: HTTP 429: Slow down (try again in 30 s)\n"


def test_the_environment_names_another_site_and_an_option_wins(monkeypatch, capsys):
    named = lambda word: demo_site(lambda prompt: word)  # noqa: E731
    with named("environment") as first, named("option") as second:
        monkeypatch.setenv("CHATGPTFREE_URL", first)
        assert main(["Hi"]) == main(["--url", second, "Hi"]) == 0
    assert capsys.readouterr().out == "environment\noption\n"


def test_help_names_the_site_without_its_password():
    text = run("--help", env={**os.environ, "CHATGPTFREE_URL": "https://me:secret@site.example/50%/"}).stdout
    assert "--url" in text
    assert "secret" not in text


def test_debug_shows_the_requests_without_what_is_secret():
    """In a process of its own, as logging is set up for all of it."""
    with Site(current_answer, current_box(ajax_url=None)) as site:
        url = site.url.replace("//", "//me:S3CRET@")
        secrets = ["--cookie", "c=S3CRET", "--header", "Authorization: Bearer S3CRET", "--header", "X-Key: S3CRET"]
        result = run("--debug", "--url", url, *secrets, "Hi")
    assert result.stdout == "Hi\n"
    assert '"GET / HTTP/1.1" 200' in result.stderr
    assert '"POST /wp-admin/admin-ajax.php HTTP/1.1" 200' in result.stderr
    assert not re.search("S3CRET|UzNDUkVU|Authorization|Cookie", result.stderr)  # the second is its Base64
    assert run("--demo", "Hello").stderr == ""


def test_an_image_and_a_search_are_sent(mock, capsys, tmp_path):  # noqa: F811
    (tmp_path / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\nmeow")
    config = '"imageUploadEnabledUI":true,"allowWebSearchTool":true,'.replace('"', "&quot;")
    add_current(mock, CURRENT_ANSWER, page=re.sub(r"data-config=(['\"])\{", rf"data-config=\1{{{config}", current_box()))
    assert main(["--url", SITE, "--image", str(tmp_path / "cat.png"), "--search", "What is it?"]) == 0
    assert json.loads(forms(mock)[0]["image_inputs"]) == [{"mime_type": "image/png", "base64_data": "iVBORw0KGgptZW93"}]
    assert forms(mock, "GET")[-1]["frontend_web_search_active"] == "true"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--image", "no such file.png"], "No such file or directory: 'no such file.png'"),
        (["--image", MODULE], "the image is not a JPEG, PNG or WebP"),
        (["--search"], "takes no web_search"),
    ],
)
def test_an_image_or_a_search_that_cannot_be_is_one_line_and_status_2(arguments, words, capsys):
    assert main(["--demo", *arguments, "Hi"]) == 2
    assert re.fullmatch(f"chatgptfree: .*{re.escape(words)}.*\n", capsys.readouterr().err)


def test_each_model_is_printed_on_one_line_without_control_characters(mock, capsys):  # noqa: F811
    mock.get(SITE + "/", body=current_box(name="Ev\x1b[31mil\nbot\x07\u202e\u2028") + current_box(7, name="Nice &amp; <b>"))
    assert main(["--url", SITE, "--models"]) == 0
    assert capsys.readouterr().out == "Ev [31mil bot\nNice & <b>\n"


def test_what_a_site_sends_cannot_steer_a_terminal():
    with Site(lambda handler, form: handler.chunks(chunk("a\x1b[31mb\x9b31m\r\x07\tc\x00"), DONE)) as site:
        terminal = Terminal("--url", site.url, "Hi")
        assert terminal.wait_for("c\r\n").endswith("\ra[31mb31m\tc\r\n")
        assert terminal.exit_status() == 0


# ---------------------------------------------------------------------------------------- odd names, words and time-outs


def test_a_bot_with_a_blank_name_goes_by_its_number(mock):
    add_current(mock, CURRENT_ANSWER, page=current_box(1, name="First") + current_box(2, name=" "))
    bot = ChatgptFree(SITE)
    bot.complete("Hi")
    assert forms(mock)[0]["bot_id"] == "1"
    assert bot.list_models() == ["First", "2"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (json.dumps({"error": True, "message": "Bad key"}), "Bad key"),
        ("event: error\ndata: API down\n\n", "API down"),
    ],
)
def test_an_error_in_an_unusual_form_keeps_its_words(answer, words):
    assert str(read(answer)[1]) == words


@pytest.mark.parametrize(
    ("kind", "timeout", "seconds"),
    [
        (requests.ConnectTimeout, (0.5, 30), 0.5),
        (requests.ReadTimeout, (0.5, 30), 30),
        (requests.ConnectTimeout, 7, 7),
        (requests.ReadTimeout, 7, 7),
    ],
)
def test_a_time_out_names_the_seconds_that_it_waited(mock, kind, timeout, seconds):
    mock.get(SITE + "/", body=kind())
    with pytest.raises(kind, match=f"^nothing came from site.example for {seconds} seconds$"):
        ChatgptFree(SITE).complete("Hi", timeout=timeout)


@pytest.mark.parametrize(("timeout", "gives_up"), [((None, None), False), ((9, None), False), ((0.02, 0.02), True), (0.05, True)])
def test_a_thread_waits_for_anothers_look_at_the_page_as_long_as_its_own_time_out_allows(timeout, gives_up):
    asked, waiting = threading.Event(), threading.Event()

    def page(handler):
        asked.set()
        waiting.wait(0.2 if gives_up else 0.05)
        handler.whole(CLASSIC_PAGE)

    with Site(classic_answer, page) as site, ThreadPoolExecutor(1) as pool:
        bot = ChatgptFree(site.url.replace("//", "//me:secret@"))
        first = pool.submit(bot.complete, "one")
        assert asked.wait(5)
        if gives_up:
            with pytest.raises(requests.Timeout, match="^nothing came from 127.0.0.1:") as caught:
                bot.complete("two", timeout=timeout)
            assert "secret" not in str(caught.value)
            waiting.set()
        else:
            assert bot.complete("two", timeout=timeout) == "two"
        assert first.result() == "one"


def test_a_conversation_of_a_long_answer_takes_linear_time():
    def cost(count):
        bot = ChatgptFree(SITE)
        bot._generate = lambda question: ("word" for _ in range(count))
        return best_time(lambda: list(bot.conversation().stream("Hi")))

    assert cost(100_000) < 50 * cost(10_000)  # a copy for each piece would take 100 times


def test_markdown_of_many_blocks_of_code_takes_linear_time():
    def cost(count):
        return best_time(Reply("```\n```\n" * count)._repr_markdown_)

    assert cost(20_000) < 50 * cost(2_000)


@needs_fork
def test_a_forked_child_has_a_cookie_jar_that_nobody_holds():
    bot = ChatgptFree(SITE)
    bot._session.cookies._cookies_lock.acquire()
    chatgptfree._after_fork()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(bot._session.cookies._cookies_lock.acquire, True, 5).result()


def test_a_cookie_of_a_sessions_own_without_a_domain_stays_at_home():
    with Site(classic_answer) as stranger, Site(None, redirect_to(stranger.url.replace("127.0.0.1", "localhost"))) as site:
        session = requests.Session()
        session.cookies.set("cf_clearance", "secret")
        ChatgptFree(site.url, session=session).complete("Hi")
        assert "secret" in site.asked[0][2]["Cookie"]
        assert not any("secret" in str(headers) for _, _, headers, _ in stranger.asked)


@pytest.mark.parametrize("location", ["\x01http://site.example/\x1b[2J", "\x01https:x", "\x01http://site.example/\u2102"])
def test_an_address_that_begins_with_a_control_character_is_no_address(location):
    with pytest.raises(ValueError, match="an address begins with http:// or https://"):
        chatgptfree._prepared(location)


def test_a_retry_after_that_breaks_the_parser_of_dates_is_none():
    assert chatgptfree._seconds("3434\tApr\t,\t0\xe9") is None
