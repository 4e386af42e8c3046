"""Which exception the `anthropic` SDK raises, in the situations that the Rust test has set up.

Argument: JSON, a list of {how: `create`, `stream` or `helper`, model, and what differs: fields, key}.
"""

import functools
import json
import sys
import time

from common import KEY, ask, client, done, raised


@functools.cache
def client_of(key):
    """Made once: a client loads all the certificates of the machine."""
    return client(api_key=key, _strict_response_validation=True)


def attempt(case):
    luna = client_of(case.get("key", KEY))
    asked = {**ask(case.get("prompt", "Hello"), case["model"]), **case.get("fields", {})}
    text = []

    def stream():
        for event in luna.messages.create(**asked, stream=True):
            assert event.type not in ("message_delta", "message_stop"), "a broken stream looked whole"
            if event.type == "content_block_delta":
                text.append(event.delta.text)
        return text

    def helper():
        with luna.messages.stream(**asked) as events:
            text.extend(events.text_stream)
            return events.get_final_message()

    calls = {"create": lambda: luna.messages.create(**asked), "stream": stream, "helper": helper}
    began = time.monotonic()
    error = raised(calls[case["how"]])
    return {**error, "text": "".join(text), "seconds": time.monotonic() - began}


done(errors=[attempt(case) for case in json.loads(sys.argv[1])])
