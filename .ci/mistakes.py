"""Mistakes of a caller. Each must be found by a type checker once the project is installed.

The gate runs `mypy --strict` on it, which complains about each comment "type: ignore" that isn't
needed, that is, about each mistake that was not found.
"""

import chatgptfree
from chatgptfree import ChatgptFree

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

# Results taken for something else.
number: int = chatgptfree.complete("Hi")  # type: ignore[assignment]
