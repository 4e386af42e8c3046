"""Which exception the `openai` SDK raises, in the situations that the Rust test has set up.

Argument: JSON, a list of {how: `create`, `stream` or `helper`, model, and what differs: fields, key}.
"""

import functools
import json
import sys
import time

from openai_common import KEY, ask, client, done, raised


@functools.cache
def client_of(key):
    """Made once: a client loads all the certificates of the machine."""
    return client(api_key=key)


def attempt(case):
    luna = client_of(case.get("key", KEY))
    asked = {**ask(case.get("prompt", "Hello"), case["model"]), **case.get("fields", {})}
    text = []

    def stream():
        for chunk in luna.chat.completions.create(**asked, stream=True):
            assert not chunk.choices or not chunk.choices[0].finish_reason, "a broken stream looked whole"
            text.append(chunk.choices[0].delta.content or "")
        return text

    def helper():
        with luna.chat.completions.stream(**asked) as events:
            text.extend(event.delta for event in events if event.type == "content.delta")
            return events.get_final_completion()

    calls = {"create": lambda: luna.chat.completions.create(**asked), "stream": stream, "helper": helper}
    began = time.monotonic()
    error = raised(calls[case["how"]])
    return {**error, "text": "".join(text), "seconds": time.monotonic() - began}


done(errors=[attempt(case) for case in json.loads(sys.argv[1])])
