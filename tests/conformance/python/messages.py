"""The `anthropic` SDK against one upstream of each kind: plain, streamed, tools, structured output, pictures, thoughts.

Argument: JSON, the cells (name, model, served, thinks).
"""

import asyncio
import json
import sys

import anthropic

from common import KEY, URL, ask, client, done, text_of
from orders import Weather, order
from stream_rules import check_events

STRICT = {"_strict_response_validation": True}
luna = strict = client(**STRICT)
TEXT = ' Grüße, 世界 \U0001f600 "quoted" \\ back\n\n  two spaces, a tab\t and an end  '
TOKENS = {"input_tokens": 11, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 5, "output_tokens": 3}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJSVFT0YK"
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}


def content(message):
    return [block.model_dump(exclude={"id"}, exclude_none=True) for block in message.content]


def usage_of(usage):
    return {name: getattr(usage, name) for name in TOKENS}


def plain(cell):
    """An answer whole, as events, and by the stream helper: the same in all three."""
    asked = ask(order("Say it. ", text=TEXT, events=7, **TOKENS), cell["model"], system="Answer in rhymes.")
    raw = luna.messages.with_raw_response.create(**asked)
    whole = raw.parse()
    assert whole.type == "message" and whole.role == "assistant" and whole.id, whole
    assert content(whole) == [{"type": "text", "text": TEXT}], whole
    assert whole.model == cell["served"] and whole.stop_reason == "end_turn" and whole.stop_sequence is None, whole
    assert usage_of(whole.usage) == TOKENS, whole
    assert raw.headers["x-luna-served-model"] == cell["served"], raw.headers
    assert raw.headers["request-id"] == raw.headers["x-request-id"] == whole._request_id, raw.headers

    events = list(luna.messages.create(**asked, stream=True))
    check_events(events)
    start, delta = events[0].message, events[-2]
    assert start.content == [] and start.stop_reason is None and start.model == cell["served"], start
    assert start.usage.input_tokens > 0, start
    assert delta.delta.stop_reason == "end_turn" and delta.usage.output_tokens == 3, delta
    assert delta.usage.input_tokens == 11 and delta.usage.cache_read_input_tokens == 7, delta
    pieces = [event.delta.text for event in events if event.type == "content_block_delta"]
    assert "".join(pieces) == TEXT and len(pieces) >= 7, pieces

    with luna.messages.stream(**asked) as stream:
        assert stream.response.headers["request-id"].startswith("req_")
        pieces = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert pieces == TEXT and content(final) == content(whole), final
    assert final.stop_reason == "end_turn" and final.stop_sequence is None, final
    assert usage_of(final.usage) == TOKENS, final

    short = luna.messages.create(**{**asked, "max_tokens": 1})
    assert short.stop_reason == "max_tokens" and TEXT.startswith(text_of(short)), short
    return {"usage": usage_of(whole.usage)}


ORDER_INPUT = '{"order":2512292042121000001,"ratio":1.0,"note":"\\u00e9 \\ud83d\\ude00 \\"x\\"","z":{"b":1,"a":[]}}'
WEATHER_INPUT = '{"city":"Zürich","days":9007199254740993}'


def tools(cell):
    """Two calls at once, digit for digit, whole and streamed, and the round trip with their results."""
    # Anthropic takes names that OpenAI finds too long.
    names = ["get_order", "get_weather" + ("-" + "x" * 80 if cell["name"] == "other" else "")]
    offered = [
        {"name": name, "description": "A test", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}
        for name in names
    ]
    calls = f'[{{"tool":0,"input":{ORDER_INPUT}}},{{"tool":1,"input":{WEATHER_INPUT}}}]'
    told = order("Go. ", raw={"calls": calls}, text="I look.", fragment_bytes=3)
    asked = ask(told, cell["model"], tools=offered)
    expected = [(names[0], json.loads(ORDER_INPUT)), (names[1], json.loads(WEATHER_INPUT))]

    def calls_of(message):
        return [block for block in message.content if block.type == "tool_use"]

    whole = luna.messages.create(**asked)
    assert [block.type for block in whole.content] == ["text", "tool_use", "tool_use"], whole
    assert [(call.name, call.input) for call in calls_of(whole)] == expected, whole
    # Antigravity says end_turn here, which would end every loop before the tool has run.
    assert whole.stop_reason == "tool_use", whole

    events = list(luna.messages.create(**asked, stream=True))
    check_events(events)
    pieces = {}
    for event in events:
        if event.type == "content_block_delta" and event.delta.type == "input_json_delta":
            pieces.setdefault(event.index, []).append(event.delta.partial_json)
    assert ["".join(parts) for parts in pieces.values()] == [ORDER_INPUT, WEATHER_INPUT], pieces
    assert all(len(parts) > 10 for parts in pieces.values()), pieces

    with luna.messages.stream(**asked) as stream:
        snapshots = [event.snapshot for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    assert snapshots and snapshots[-1] == expected[1][1], snapshots
    assert [(call.name, call.input) for call in calls_of(final)] == expected, final
    assert final.stop_reason == "tool_use", final

    ids = []
    for message in (whole, final):
        one, two = [call.id for call in calls_of(message)]
        assert one != two, message
        results = [
            {"type": "tool_result", "tool_use_id": one, "content": "shipped"},
            {"type": "tool_result", "tool_use_id": two, "content": [{"type": "text", "text": "-3 degrees"}, PICTURE]},
        ]
        history = [*asked["messages"], {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
        answer = luna.messages.create(**{**asked, "messages": history})
        text = text_of(answer)
        assert f"{one} said: shipped" in text and f"{two} said: -3 degrees" in text, answer
        assert "Pictures: 1." in text and answer.stop_reason == "end_turn", answer
        ids += [one, two]

    if cell["name"] != "antigravity":
        single = luna.messages.create(**asked, tool_choice={"type": "auto", "disable_parallel_tool_use": True})
        assert len(calls_of(single)) == 1, single
        forced = luna.messages.create(**ask("Hm.", cell["model"], tools=offered, tool_choice={"type": "tool", "name": names[1]}))
        assert [call.name for call in calls_of(forced)] == [names[1]] and forced.stop_reason == "tool_use", forced
    return {"ids": ids, "names": names}


def loop(cell):
    """The SDK's own loop: it runs the tools and asks again until there is an answer."""
    ran = []

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """The weather at a place."""
        ran.append(city)
        return f"rain in {city}"

    told = order("go ", raw={"calls": '[{"tool":0,"input":{"city":"Oslo"}},{"tool":0,"input":{"city":"Rom"}}]'}, text="")
    for stream in (False, True):
        ran.clear()
        # The SDK lets the server keep the history, and keeps it itself when it is told that nobody does; the plain
        # upstream is the real API's stand-in, which would.
        alone = {"thread": False} if cell["name"] == "plain" else {}
        runner = strict.beta.messages.tool_runner(**ask(told, cell["model"], tools=[weather], stream=stream), **alone)
        text = text_of(runner.until_done())
        assert sorted(ran) == ["Oslo", "Rom"], ran
        assert "said: rain in Oslo" in text and "said: rain in Rom" in text, text


def structured(cell):
    """parse() and the stream helper give an instance of the class that was asked for."""
    asked = ask("The weather, please", cell["model"])
    if cell["name"] == "antigravity":
        # It drops output_config, and a request of its own dialect is relayed as it is: the client is warned.
        config = {"format": {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}}}
        raw = luna.messages.with_raw_response.create(**asked, output_config=config)
        assert raw.headers["x-luna-warnings"] == "output_config:ignored", raw.headers
        return {}
    whole = luna.messages.parse(**asked, output_format=Weather)
    assert isinstance(whole.parsed_output, Weather) and whole.parsed_output.place.city, whole
    assert [block.type for block in whole.content] == ["text"] and whole.stop_reason == "end_turn", whole
    with luna.messages.stream(**asked, output_format=Weather) as stream:
        final = stream.get_final_message()
    assert final.parsed_output == whole.parsed_output, final
    return {"parsed": whole.parsed_output.model_dump()}


def pictures(cell):
    """Pictures and a document arrive at the upstream as such."""
    blocks = [
        {"type": "text", "text": "What is this?"},
        PICTURE,
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.jpg"}},
        {"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}},
    ]
    answer = luna.messages.create(**ask(blocks, cell["model"]))
    text = text_of(answer)
    assert "Pictures: 2." in text and "Documents: 1." in text, answer
    return {"text": text}


def thoughts(cell):
    """Thinking is a thinking block, whole and streamed, and goes back as it came."""
    asked = ask(order("Think. ", text="So.", thinking="First this, then that."), cell["thinks"])
    asked |= {"max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 4000}}
    # Antigravity begins a thinking block without the signature that the SDK's type has, and a stream of its own dialect
    # is relayed as it is; what is converted must fit.
    luna = strict if cell["name"] == "other" else client()
    whole = luna.messages.create(**asked)
    assert [block.type for block in whole.content] == ["thinking", "text"], whole
    assert whole.content[0].thinking == "First this, then that." and text_of(whole) == "So.", whole
    assert isinstance(whole.content[0].signature, str), whole
    events = list(luna.messages.create(**asked, stream=True))
    check_events(events)
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    assert "".join(delta.thinking for delta in deltas if delta.type == "thinking_delta") == "First this, then that.", deltas
    with luna.messages.stream(**asked) as stream:
        final = stream.get_final_message()
    assert content(final) == content(whole), (final, whole)
    history = [*asked["messages"], {"role": "assistant", "content": whole.content}, {"role": "user", "content": "And?"}]
    assert text_of(luna.messages.create(**{**asked, "messages": history}))


def stops(cell):
    asked = ask(order(text="one, two END three", events=9), cell["model"], stop_sequences=["END"])
    raw = luna.messages.with_raw_response.create(**asked)
    if cell["name"] == "antigravity":
        assert raw.headers["x-luna-warnings"] == "stop_sequences:ignored", raw.headers
        return
    assert text_of(raw.parse()) == "one, two ", raw.text


async def many(cells):
    async with anthropic.AsyncAnthropic(base_url=URL, api_key=KEY, max_retries=0, timeout=30.0, **STRICT) as luna:

        async def one(n):
            async with luna.messages.stream(**ask(f"number {n}", cells[n % len(cells)]["model"])) as stream:
                return await stream.get_final_message()

        return await asyncio.gather(*[one(n) for n in range(21)])


def leave(cell):
    """A client that has seen enough leaves; the next one is served."""
    told = order(events=5000, event_bytes=16, interval_ms=500)
    with luna.messages.stream(**ask(told, cell["model"])) as stream:
        next(iter(stream.text_stream))
    stream = luna.messages.create(**ask(told, cell["model"]), stream=True)
    next(event for event in stream if event.type == "content_block_delta")
    stream.close()
    assert text_of(luna.messages.create(**ask("Hello", cell["model"])))


def models(cells):
    listed = {model.id: model for model in luna.models.list()}
    for cell in cells:
        for name in (cell["model"], cell["thinks"]):
            assert listed[name].type == "model" and listed[name].display_name, listed[name]
            assert luna.models.retrieve(name).id == name
    try:
        luna.models.retrieve("no-such-model")
    except anthropic.NotFoundError as error:
        assert error.type == "not_found_error", error.body
    else:
        raise AssertionError("an unknown model was found")


def counts(cells):
    """The estimate is the gateway's own, whatever the upstream, and grows with what is counted."""
    for cell in cells:
        words = {"model": cell["model"], "messages": [{"role": "user", "content": "one two three four"}]}
        raw = luna.messages.with_raw_response.count_tokens(**words)
        assert raw.headers["x-luna-estimate"] == "true", raw.headers
        few = raw.parse().input_tokens
        more = luna.messages.count_tokens(
            **words,
            system="Answer in rhymes.",
            tools=[{"name": "get_weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}],
        ).input_tokens
        assert 0 < few < more, (few, more)


cells = json.loads(sys.argv[1])
told = {}
for cell in cells:
    told[cell["name"]] = {
        "plain": plain(cell),
        "tools": tools(cell),
        "structured": structured(cell),
        "pictures": pictures(cell),
    }
    loop(cell)
    thoughts(cell)
    stops(cell)
for n, final in enumerate(asyncio.run(many(cells))):
    assert f"number {n}" in text_of(final), (n, final)
models(cells)
counts(cells)
for cell in cells:
    leave(cell)
done(cells=told)
