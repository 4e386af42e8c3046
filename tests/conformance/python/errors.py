"""Which exception the SDK raises, in the situation that the Rust test has set up.

Arguments: how to ask (`create`, `stream`, `events`, `get`), max_retries, and JSON that replaces fields of the request.
"""

import json
import sys
import time

from common import ask, client, done, raised

how, retries, fields = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
luna = client(max_retries=retries)
asked = ask(**fields)
text = []


def final():
    with luna.messages.stream(**asked) as stream:
        text.extend(stream.text_stream)
        return stream.get_final_message()


def events():
    for event in luna.messages.create(**asked, stream=True):
        if event.type == "content_block_delta":
            text.append(getattr(event.delta, "text", ""))
        assert event.type != "message_stop", "a broken stream looked whole"
    return text


calls = {
    "create": lambda: luna.messages.create(**asked),
    "stream": final,
    "events": events,
    "get": lambda: luna.get(fields["path"], cast_to=object),
}
began = time.monotonic()
error = raised(calls[how])
done(error=error, seconds=time.monotonic() - began, text="".join(text))
