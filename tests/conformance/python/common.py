"""What every script here shares: a client of the gateway, and how a result is told to the Rust test."""

import json
import os

import anthropic

URL = os.environ["LUNA_URL"]
KEY = os.environ["LUNA_KEY"]

wanted = os.environ["LUNA_SDK_VERSION"]
assert anthropic.__version__ == wanted, f"anthropic {anthropic.__version__}, tests/conformance/requirements.txt has {wanted}"


def client(**settings):
    """A client with the tester's key that asks once, whatever comes back."""
    settings = {"base_url": URL, "api_key": KEY, "max_retries": 0, "timeout": 30.0, **settings}
    return anthropic.Anthropic(**settings)


def ask(text="Hello", model="claude-sonnet-4-6", **fields):
    """The arguments of messages.create for one user turn."""
    return {"model": model, "max_tokens": 200, "messages": [{"role": "user", "content": text}], **fields}


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def raised(call):
    """The SDK error that `call` raises, as JSON. An answer instead is a failure."""
    try:
        answer = call()
    except anthropic.APIStatusError as error:
        classes = [c.__name__ for c in type(error).__mro__]
        return {
            "class": classes[0],
            "classes": classes[: classes.index("APIStatusError") + 1],
            "status": error.status_code,
            "type": error.type,
            "message": error.api_message,
            "request_id": error.request_id,
            "body_request_id": error.body.get("request_id") if isinstance(error.body, dict) else None,
            "headers": dict(error.response.headers),
        }
    raise AssertionError(f"no error was raised; the answer was {answer!r}")


def done(**result):
    print(json.dumps(result))
