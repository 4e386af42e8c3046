"""What the scripts with the `openai` SDK share: a client of the gateway, errors as JSON."""

import json
import os

import openai

URL = os.environ["LUNA_URL"]
KEY = os.environ["LUNA_KEY"]

wanted = os.environ["LUNA_OPENAI_VERSION"]
assert openai.__version__ == wanted, f"openai {openai.__version__}, tests/conformance/requirements.txt has {wanted}"

# Validated answers: what does not fit the SDK's types raises instead of being taken as it is.
SETTINGS = {"base_url": URL + "/v1", "max_retries": 0, "timeout": 30.0, "_strict_response_validation": True}


def client(**settings):
    """A client with the tester's key that asks once, whatever comes back."""
    return openai.OpenAI(**{"api_key": KEY, **SETTINGS, **settings})


def ask(text="Hello", model="claude-sonnet-4-6", **fields):
    """The arguments of chat.completions.create for one user turn."""
    return {"model": model, "max_completion_tokens": 500, "messages": [{"role": "user", "content": text}], **fields}


def message_of(completion):
    """The one choice's message."""
    assert completion.object == "chat.completion", completion
    assert len(completion.choices) == 1 and completion.choices[0].index == 0, completion
    message = completion.choices[0].message
    assert message.role == "assistant", completion
    return message


def raised(call):
    """The SDK error that `call` raises, as JSON. An answer instead is a failure."""
    try:
        answer = call()
    except openai.APIError as error:
        classes = [c.__name__ for c in type(error).__mro__]
        response = getattr(error, "response", None)
        return {
            "classes": classes[: classes.index("APIError") + 1],
            "status": getattr(error, "status_code", None),
            "type": error.type,
            "code": error.code,
            "param": error.param,
            "message": error.body.get("message") if isinstance(error.body, dict) else None,
            "fields": sorted(error.body) if isinstance(error.body, dict) else None,
            "request_id": getattr(error, "request_id", None),
            "headers": dict(response.headers) if response is not None else {},
        }
    raise AssertionError(f"no error was raised; the answer was {answer!r}")


def done(**result):
    print(json.dumps(result))
