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
import json
import os
import pathlib
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import types
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import responses
import urllib3

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
        (b"word\n" * 900, "300,000 bytes without an end or a word"),
        (b": ping\n\n" * 900, "300,000 bytes without an end or a word"),
        (b"data: {}\n\n" * 900, "300,000 bytes without an end or a word"),
        (b'{"a":\n' * 900, "300,000 bytes without an end or a word"),
        (b'data: {"a":\n' * 900, "300,000 bytes without an end or a word"),
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
            ([": ping\n\n"] * 2000, ": the site sent 10,000 bytes without an end or a word of an answer"),
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
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
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
def test_a_finished_answer_leaves_a_site_that_does_not_end_its_response(afterwards):
    def answer(handler, form):
        handler.chunks(chunk("Hello") + DONE, end=False)
        afterwards(handler)

    with Site(answer) as site, ChatgptFree(site.url) as bot:
        assert bot.complete("Hi", timeout=30) == "Hello"
        assert site.gone.wait(15)  # set where the client leaves first: the site goes on for ten seconds
    assert chatgptfree.LINGER <= 0.25


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
        (lambda handler: endless(handler, b"<p>" * 5000), None, "10,000,000 bytes without an end or a word"),
        (CLASSIC_PAGE, b"data: x" * 5000, "a line of over 1,000,000 bytes"),
        (CLASSIC_PAGE, b"a line of no stream, which is rather long\n" * 1000, "1,000,000 bytes without an end or a word"),
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
        prompts = [f"prompt {i} " + "word " * (i % 7) for i in range(200)]
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


@pytest.mark.parametrize("seed", range(6))
def test_damaged_answers_raise_only_the_librarys_and_requests_exceptions(seed):
    chance = random.Random(seed)
    for _ in range(500):
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
def test_the_readmes_python_runs(block, monkeypatch, without_pauses):
    """Against the demo site, in place of chatgptfree.ai and of the reader's own."""
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
