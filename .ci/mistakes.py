"""Uses of the library for a type checker, once the project is installed. Nobody runs them.

The gate runs `mypy --strict` on it. That complains about a correct use that it doesn't accept, and
about a comment "type: ignore" that isn't needed, which is a mistake that it didn't find.
"""

import json
import math
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import requests
from typing_extensions import assert_type

import chatgptfree
from chatgptfree import ChatgptFree, Conversation, Reply

# ------------------------------------------------------------------------------------ correct uses

assert_type(chatgptfree.complete("Hi"), Reply)
assert_type(chatgptfree.stream("Hi"), Generator[str, None, Reply])
assert_type(chatgptfree.list_models(timeout=5), list[str])
assert_type(chatgptfree.show(chatgptfree.stream("Hi")), Reply)
assert_type(chatgptfree.show(["one ", "two"]), Reply)
assert_type(chatgptfree.format_prompt("Hi"), str)
assert_type(chatgptfree.main(["--version"]), int)

# Messages.
messages = [{"role": "user", "content": "Hi"}]
chatgptfree.complete(messages)
chatgptfree.complete([{"role": "user", "content": [{"type": "text", "text": "Hi"}]}])
chatgptfree.complete({"role": role, "content": "Hi"} for role in ("system", "user"))


@dataclass
class Message:
    """As OpenAI's SDK has them."""

    role: str
    content: Optional[str]


chatgptfree.complete([*messages, Message("assistant", None), Message("user", "Hi")])

# Options, given to a call or to the client.
chatgptfree.complete("Hi", "DeepSeek", timeout=(5, 30.5), max_time=60, proxy="http://[::1]:3128")
chatgptfree.complete("Hi", model=25871, timeout=math.inf, cookies={"a": "b"}, web_search=True)
chatgptfree.complete("Hi", image="cat.png", headers={"User-Agent": "me"}, verify=False)
chatgptfree.complete("Hi", image=Path("cat.png"), auth=("ann", "secret"), cert="me.pem")
chatgptfree.complete("Hi", image=b"\x89PNG", proxies={"https": "http://127.0.0.1:3128"})
chatgptfree.stream("Hi", None, "http://127.0.0.1:3128", 30, requests.Session().cookies)
with ChatgptFree("https://my-own-site.example", session=requests.Session(), timeout=30) as bot:
    assert_type(bot.complete("Hi", timeout=None), Reply)
    assert_type(bot.url, str)
    assert_type(bot.models, list[str])
with ProcessPoolExecutor() as pool:
    answers: list[Reply] = list(pool.map(bot.complete, ["One?", "Two?"]))


# What the generator returns at its end.
def words(prompt: str) -> Generator[str, None, int]:
    reply = yield from bot.stream(prompt)
    return len(reply.sources)


# A reply is a string.
reply = chatgptfree.complete("Hi")
assert_type(reply.sources, list[dict[str, str]])
assert_type(reply.finish_reason, str)
print(reply.upper() + "!", Reply("Hi"), Reply("Hi", [{"title": "A", "url": "B"}], "stop"))

# A conversation.
chat = chatgptfree.conversation("Be terse.", [{"role": "user", "content": "Hi"}], model="DeepSeek")
assert_type(chat, Conversation)
assert_type(chat.stream("Hi", timeout=3), Generator[str, None, Reply])
chat.messages.append({"role": "user", "content": "Hi"})
chat = bot.conversation(messages=json.loads(json.dumps(chat.messages)))

# Errors.
try:
    chat.complete("Hi")
except chatgptfree.RateLimitError as error:
    assert_type(error.retry_after, Optional[float])
except chatgptfree.IncompleteReplyError as error:
    assert_type(error.partial, str)
with chatgptfree.demo_site(str.upper) as url:
    assert_type(url, str)
chatgptfree.RateLimitError("Slow down.", retry_after=7)
chatgptfree.IncompleteReplyError("The answer broke off.", partial="Hel")


class MySite(ChatgptFree):
    url = "https://my-own-site.example"
    default_model = "DeepSeek"


# ---------------------------------------------------------------------------------------- mistakes

# Keywords that don't exist.
chatgptfree.complete("Hi", timout=3)  # type: ignore[call-arg]
chatgptfree.conversation(sistem="Be terse.")  # type: ignore[call-arg]
ChatgptFree(modell="DeepSeek")  # type: ignore[call-arg]

# Attributes that don't exist.
ChatgptFree().complte("Hi")  # type: ignore[attr-defined]
print(chatgptfree.conversation().mesages)  # type: ignore[attr-defined]

# Values of the wrong type.
chatgptfree.complete(5)  # type: ignore[arg-type]
chatgptfree.complete("Hi", image=3.5)  # type: ignore[arg-type]
chatgptfree.stream("Hi", proxy=8080)  # type: ignore[arg-type]
ChatgptFree(timeout="30")  # type: ignore[arg-type]
chatgptfree.show(3)  # type: ignore[arg-type]
chatgptfree.RateLimitError("Slow down.", retry_after="soon")  # type: ignore[arg-type]

# Results taken for something else.
number: int = chatgptfree.complete("Hi")  # type: ignore[assignment]
