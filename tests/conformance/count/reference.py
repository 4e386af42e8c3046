"""Writes reference.json: what a real tokenizer makes of the requests beside it.

    reference.py CLAUDE_JSON

CLAUDE_JSON is the vocabulary of the npm package @anthropic-ai/tokenizer (0.0.4); needs the Python package tiktoken.
Texts are counted by that tokenizer. What is not text is added by the same documented numbers as in src/wire/count.rs,
written down here a second time so that a slip in one of them shows.
"""

import base64
import json
import math
import pathlib
import sys
import unicodedata

import tiktoken

HERE = pathlib.Path(__file__).parent


def tokenizer(path):
    data = json.loads(pathlib.Path(path).read_text())
    ranks = {}
    for line in data["bpe_ranks"].split("\n"):
        _, first, *tokens = line.split(" ")
        ranks.update((base64.b64decode(token), int(first) + at) for at, token in enumerate(tokens))
    return tiktoken.Encoding(
        "claude", pat_str=data["pat_str"], mergeable_ranks=ranks, special_tokens=data["special_tokens"]
    )


def image(data):
    """Tokens of a picture of the corpus: its size stands where the corpus put it."""
    head = base64.b64decode(data)
    if head.startswith(b"\x89PNG"):
        width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    elif head.startswith(b"GIF8"):
        width, height = int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    elif head.startswith(b"RIFF"):
        width, height = 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    else:
        at = head.index(b"\xff\xc2")
        height, width = int.from_bytes(head[at + 5 : at + 7], "big"), int.from_bytes(head[at + 7 : at + 9], "big")
    scale = min(1, 1568 / max(width, height))
    return min(1600, math.ceil(width * scale * height * scale / 750))


def pieces(request):
    """Every text of a request, and the tokens of what is no text."""
    texts, fixed = [], 3
    compact = lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def content(value, counts_thinking):
        nonlocal fixed
        if isinstance(value, str):
            texts.append(value)
            return
        for block in value or []:
            match block["type"]:
                case "text":
                    texts.append(block["text"])
                case "thinking":
                    texts.extend([block["thinking"]] if counts_thinking else [])
                case "tool_use":
                    fixed += 16
                    texts.extend([block["name"], compact(block["input"])])
                case "tool_result":
                    fixed += 16
                    content(block["content"], False)
                case "image" if block["source"]["type"] == "url":
                    fixed += 1600
                case "image":
                    fixed += image(block["source"]["data"])
                case "image_url":
                    fixed += image(block["image_url"]["url"].partition(",")[2])
                case "document":
                    texts.extend([block["title"], block["context"], block["source"]["data"]])
                case other:
                    raise ValueError(other)

    content(request.get("system"), False)
    said = [
        at
        for at, message in enumerate(request["messages"])
        if message["role"] == "user" and "tool_result" not in compact(message["content"])
    ]
    for at, message in enumerate(request["messages"]):
        fixed += 4
        content(message["content"], at > said[-1])
        for call in message.get("tool_calls", []):
            fixed += 16
            texts.extend([call["function"]["name"], call["function"]["arguments"]])
    tools = request.get("tools", [])
    for tool in tools:
        tool = tool.get("function", tool)
        texts.extend([tool["name"], tool["description"], compact(tool.get("input_schema", tool.get("parameters")))])
    if any("input_schema" in tool for tool in tools):
        fixed += 313 if request.get("tool_choice", {}).get("type") in ("any", "tool") else 346
    if "output_config" in request:
        texts.append(compact(request["output_config"]["format"]))
    return texts, fixed


def main():
    encoding = tokenizer(sys.argv[1])
    count = lambda text: len(encoding.encode_ordinary(unicodedata.normalize("NFKC", text)))
    requests = {}
    for path in sorted(HERE.glob("*.json")):
        if path.name == "reference.json":
            continue
        texts, fixed = pieces(json.loads(path.read_text()))
        requests[path.stem] = {"text": sum(map(count, texts)), "fixed": fixed}
    reference = {"tokenizer": "@anthropic-ai/tokenizer 0.0.4", "requests": requests}
    (HERE / "reference.json").write_text(json.dumps(reference, indent=1) + "\n")


if __name__ == "__main__":
    main()
