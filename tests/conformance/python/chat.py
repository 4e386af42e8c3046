"""The `openai` SDK against one upstream of each kind: plain, streamed, tools, structured output, pictures, thoughts.

Argument: JSON, the cells (name, model, served, thinks).
"""

import asyncio
import json
import sys

import openai
import pydantic

from openai_common import KEY, SETTINGS, ask, client, done, message_of
from orders import Weather, order

luna = client()
completions = luna.chat.completions
TEXT = ' Grüße, 世界 \U0001f600 "quoted" \\ back\n\n  two spaces, a tab\t and an end  '
TOKENS = {"input_tokens": 11, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 5, "output_tokens": 3}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJSVFT0YK"


def usage_of(usage):
    details = usage.prompt_tokens_details
    return {
        "prompt": usage.prompt_tokens,
        "cached": details.cached_tokens,
        "written": details.cache_write_tokens,
        "completion": usage.completion_tokens,
        "total": usage.total_tokens,
    }


def check_chunks(chunks, with_usage):
    """One id, the role first, one finish reason, and usage on a chunk of its own or nowhere."""
    assert len({chunk.id for chunk in chunks}) == 1 and chunks[0].id, chunks[0]
    assert len({(chunk.model, chunk.created) for chunk in chunks}) == 1, chunks
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks)
    assert chunks[0].choices[0].delta.role == "assistant", chunks[0]
    usages = [chunk for chunk in chunks if chunk.usage]
    assert len(usages) == (1 if with_usage else 0), usages
    assert all(not chunk.choices for chunk in usages), usages
    with_choice = [chunk for chunk in chunks if chunk.choices]
    assert len(with_choice) + len(usages) == len(chunks), "a chunk without choices and without usage"
    finishes = [chunk.choices[0].finish_reason for chunk in with_choice]
    assert finishes[-1] and not any(finishes[:-1]), finishes
    if with_usage:
        assert chunks[-1] is usages[0], chunks[-1]


def plain(cell):
    """An answer whole, streamed, and by the stream helper: the same in all three."""
    asked = ask(order("Say it. ", text=TEXT, events=7, **TOKENS), cell["model"])
    asked["messages"].insert(0, {"role": "system", "content": "Answer in rhymes."})
    asked["messages"].insert(1, {"role": "developer", "content": [{"type": "text", "text": "And in prose."}]})
    raw = completions.with_raw_response.create(**asked)
    whole = raw.parse()
    message = message_of(whole)
    assert message.content == TEXT, message
    assert message.tool_calls is None and message.function_call is None and message.refusal is None, message
    assert whole.choices[0].finish_reason == "stop" and whole.model == cell["served"] and whole.id, whole
    assert raw.headers["x-luna-requested-model"] == cell["model"], raw.headers
    assert raw.headers["x-luna-served-model"] == cell["served"], raw.headers
    assert whole._request_id == raw.headers["x-request-id"] and whole._request_id.startswith("req_"), raw.headers

    streamed = completions.create(**asked, stream=True, stream_options={"include_usage": True})
    assert streamed.response.headers["x-request-id"].startswith("req_"), streamed.response.headers
    chunks = list(streamed)
    check_chunks(chunks, True)
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(filter(None, pieces)) == TEXT, pieces
    assert len([piece for piece in pieces if piece]) >= 7, "the deltas came one by one"
    assert usage_of(chunks[-1].usage) == usage_of(whole.usage), (chunks[-1], whole)

    quiet = list(completions.create(**asked, stream=True))
    check_chunks(quiet, False)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in quiet) == TEXT

    with completions.stream(**asked, stream_options={"include_usage": True}) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    assert "".join(event.delta for event in events if event.type == "content.delta") == TEXT
    dones = [event for event in events if event.type == "content.done"]
    assert len(dones) == 1 and dones[0].content == TEXT, dones
    assert message_of(final).content == TEXT and final.choices[0].finish_reason == "stop", final
    assert usage_of(final.usage) == usage_of(whole.usage), (final, whole)

    # One token of limit cuts the text, and the client is told.
    short = completions.create(**{**asked, "max_completion_tokens": 1})
    assert short.choices[0].finish_reason == "length" and TEXT.startswith(message_of(short).content), short
    return {"usage": usage_of(whole.usage)}


def stops(cell):
    """A stop sequence ends the answer at every kind of upstream, streamed or not."""
    asked = ask(order(text="one, two END three", events=9), cell["model"], stop=["END"])
    whole = completions.create(**asked)
    assert message_of(whole).content == "one, two " and whole.choices[0].finish_reason == "stop", whole
    chunks = list(completions.create(**asked, stream=True))
    check_chunks(chunks, False)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one, two ", chunks


ORDER_INPUT = '{"order":2512292042121000001,"ratio":1.0,"note":"\\u00e9 \\ud83d\\ude00 \\"x\\"","z":{"b":1,"a":[]}}'
WEATHER_INPUT = '{"city":"Zürich","days":9007199254740993}'


def tools_of(cell):
    """Two tools; their names hold what only OpenAI's clients may use where it is converted."""
    names = ["get_order", "get_weather"] if cell["name"] == "other" else ["orders.get", "weather.now-" + "x" * 70]
    schemas = [
        {"type": "object", "properties": {"order": {"type": "integer"}, "ratio": {"type": "number"}, "note": {"type": "string"}, "z": {"type": "object"}}},
        {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]},
    ]
    tools = [
        {"type": "function", "function": {"name": name, "description": "A test", "parameters": schema}}
        for name, schema in zip(names, schemas)
    ]
    return names, tools


def tools(cell):
    """Two calls at once, digit for digit, whole and streamed, and the round trip with their results."""
    names, offered = tools_of(cell)
    calls = f'[{{"tool":0,"input":{ORDER_INPUT}}},{{"tool":1,"input":{WEATHER_INPUT}}}]'
    told = order("Go. ", raw={"calls": calls}, text="I look.", fragment_bytes=3)
    asked = ask(told, cell["model"], tools=offered)
    expected = [(names[0], ORDER_INPUT), (names[1], WEATHER_INPUT)]

    whole = completions.create(**asked)
    first = message_of(whole)
    assert whole.choices[0].finish_reason == "tool_calls", whole
    assert first.content == "I look.", whole
    assert [call.type for call in first.tool_calls] == ["function"] * 2, whole
    assert [(call.function.name, call.function.arguments) for call in first.tool_calls] == expected, whole

    chunks = list(completions.create(**asked, stream=True))
    check_chunks(chunks, False)
    built, pieces = {}, 0
    for chunk in chunks:
        for call in chunk.choices[0].delta.tool_calls or []:
            if call.index not in built:
                assert call.id and call.type == "function" and call.function.name, call
                built[call.index] = [call.id, call.function.name, ""]
            built[call.index][2] += call.function.arguments or ""
            pieces += 1
    assert [tuple(built[index][1:]) for index in sorted(built)] == expected and sorted(built) == [0, 1], built
    assert pieces > 20, f"the arguments came in {pieces} pieces, the upstream sent many"
    assert chunks[-1].choices[0].finish_reason == "tool_calls", chunks[-1]

    with completions.stream(**asked) as stream:
        done_calls = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        final = stream.get_final_completion()
    assert [(event.name, event.arguments) for event in done_calls] == expected, done_calls
    second = message_of(final)
    assert [(call.function.name, call.function.arguments) for call in second.tool_calls] == expected, final
    assert second.content == "I look." and final.choices[0].finish_reason == "tool_calls", final

    # What the SDK gave goes back as it is: from the whole answer, and from the helper's, whose own fields (`parsed`)
    # OpenAI itself does not know.
    ids = []
    if cell["name"] == "other":
        calls = [call.model_dump(include={"id", "type", "function"}) for call in second.tool_calls]
        for call in calls:
            call["function"].pop("parsed_arguments", None)
        back = {"role": "assistant", "content": second.content, "tool_calls": calls}
    else:
        back = second
    for message, sent in ((first, first), (second, back)):
        one, two = [call.id for call in message.tool_calls]
        assert one != two, message
        history = [
            *asked["messages"],
            sent,
            {"role": "tool", "tool_call_id": one, "content": "shipped"},
            {"role": "tool", "tool_call_id": two, "content": [{"type": "text", "text": "-3 degrees"}]},
        ]
        answer = completions.create(**{**asked, "messages": history})
        text = message_of(answer).content
        assert f"{one} said: shipped" in text and f"{two} said: -3 degrees" in text, answer
        assert answer.choices[0].finish_reason == "stop", answer
        ids += [one, two]

    # Without parallel calls there is one, where the upstream knows of it.
    single = completions.with_raw_response.create(**asked, parallel_tool_calls=False)
    if cell["name"] == "antigravity":
        assert "parallel_tool_calls" in single.headers["x-luna-warnings"], single.headers
    else:
        assert len(message_of(single.parse()).tool_calls) == 1, single.text

    # A tool by name, whatever the user says; and none at all.
    choice = {"type": "function", "function": {"name": names[1]}}
    forced = message_of(completions.create(**ask("Hm.", cell["model"], tools=offered, tool_choice=choice)))
    assert [call.function.name for call in forced.tool_calls] == [names[1]], forced
    silent = completions.create(**ask(f"Use the tool {names[0]}", cell["model"], tools=offered, tool_choice="none"))
    assert not message_of(silent).tool_calls and message_of(silent).content, silent
    assert silent.choices[0].finish_reason == "stop", silent
    return {"ids": ids, "names": names}


class Lookup(pydantic.BaseModel):
    city: str
    days: int


def structured(cell):
    """parse() and the stream helper give an instance of the class that was asked for."""
    asked = ask("The weather, please", cell["model"], response_format=Weather)
    whole = completions.parse(**asked)
    parsed = message_of(whole).parsed
    assert isinstance(parsed, Weather) and parsed.place.city, whole
    assert whole.choices[0].finish_reason == "stop" and not message_of(whole).tool_calls, whole
    with completions.stream(**asked) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert message_of(final).parsed == parsed and final.choices[0].finish_reason == "stop", final

    anything = completions.create(**ask("Some JSON", cell["model"], response_format={"type": "json_object"}))
    assert isinstance(json.loads(message_of(anything).content), dict), anything

    # A real call still comes out when a schema was asked for, and its arguments are parsed.
    tool = openai.pydantic_function_tool(Lookup, name="look_up")
    told = order(raw={"calls": '[{"tool":0,"input":{"city":"Oslo","days":3}}]'}, text="")
    called = completions.parse(**ask(told, cell["model"], response_format=Weather, tools=[tool]))
    calls = message_of(called).tool_calls
    assert [call.function.parsed_arguments for call in calls] == [Lookup(city="Oslo", days=3)], called
    assert called.choices[0].finish_reason == "tool_calls", called

    # What was cut or refused is not taken for the structure that was asked for.
    for reason, wanted in (("max_tokens", openai.LengthFinishReasonError), ("refusal", openai.ContentFilterFinishReasonError)):
        told = order(text="{", stop_reason=reason)
        try:
            completions.parse(**ask(told, cell["model"], response_format=Weather))
        except wanted:
            continue
        raise AssertionError(f"{reason} was taken for a whole answer")
    return {"parsed": parsed.model_dump()}


def pictures(cell):
    """Pictures and a document arrive at the upstream as such."""
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
    ]
    answer = completions.create(**ask(parts, cell["model"]))
    text = message_of(answer).content
    assert "Pictures: 2." in text and "Documents: 1." in text, answer
    return {"text": text}


def thoughts(cell):
    """Thinking is shown as reasoning_content, whole and streamed."""
    asked = ask(order("Think. ", text="So.", thinking="First this, then that."), cell["thinks"], reasoning_effort="low")
    asked["max_completion_tokens"] = 9000
    whole = completions.create(**asked)
    message = message_of(whole)
    assert message.model_extra["reasoning_content"] == "First this, then that.", whole
    assert message.content == "So.", whole
    chunks = list(completions.create(**asked, stream=True))
    check_chunks(chunks, False)
    deltas = [chunk.choices[0].delta for chunk in chunks]
    shown = "".join((delta.model_extra or {}).get("reasoning_content") or "" for delta in deltas)
    assert shown == "First this, then that.", deltas
    assert "".join(delta.content or "" for delta in deltas) == "So.", deltas
    # The answer goes back as it came; its thoughts are not told to the model as text.
    history = [*asked["messages"], message, {"role": "user", "content": "And?"}]
    assert message_of(completions.create(**{**asked, "messages": history})).content
    none = message_of(completions.create(**{**ask("Hello", cell["model"])}))
    assert not (none.model_extra or {}).get("reasoning_content"), none


def legacy(cell):
    """`functions`, which OpenAI has given up, still calls the old way."""
    function = {"name": "look.up", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    told = order(raw={"calls": '[{"tool":0,"input":{"city":"Oslo"}}]'}, text="", fragment_bytes=4)
    asked = ask(told, cell["model"], functions=[function])
    whole = completions.create(**asked)
    call = message_of(whole).function_call
    assert (call.name, call.arguments) == ("look.up", '{"city":"Oslo"}'), whole
    assert whole.choices[0].finish_reason == "function_call" and not message_of(whole).tool_calls, whole
    chunks = list(completions.create(**asked, stream=True))
    check_chunks(chunks, False)
    calls = [chunk.choices[0].delta.function_call for chunk in chunks if chunk.choices[0].delta.function_call]
    assert "".join(call.name or "" for call in calls) == "look.up", calls
    assert "".join(call.arguments or "" for call in calls) == '{"city":"Oslo"}', calls
    assert chunks[-1].choices[0].finish_reason == "function_call", chunks[-1]
    history = [
        *asked["messages"],
        message_of(whole),
        {"role": "function", "name": "look.up", "content": "rain"},
    ]
    assert "said: rain" in message_of(completions.create(**{**asked, "messages": history})).content


async def many(cells):
    async with openai.AsyncOpenAI(api_key=KEY, **SETTINGS) as luna:

        async def one(n):
            model = cells[n % len(cells)]["model"]
            text = ""
            async for chunk in await luna.chat.completions.create(**ask(f"number {n}", model), stream=True):
                text += chunk.choices[0].delta.content or ""
            return text

        return await asyncio.gather(*[one(n) for n in range(21)])


def leave(cell):
    """A client that has seen enough leaves; the next one is served."""
    told = order(events=5000, event_bytes=16, interval_ms=500)
    stream = completions.create(**ask(told, cell["model"]), stream=True)
    next(chunk for chunk in stream if chunk.choices[0].delta.content)
    stream.close()
    with completions.stream(**ask(told, cell["model"])) as stream:
        next(event for event in stream if event.type == "content.delta")
    assert message_of(completions.create(**ask("Hello", cell["model"]))).content


def models(cells):
    listed = {model.id: model for model in luna.models.list()}
    for cell in cells:
        for name in (cell["model"], cell["thinks"]):
            assert listed[name].object == "model" and isinstance(listed[name].created, int) and listed[name].owned_by, listed[name]
            assert luna.models.retrieve(name).id == name
    try:
        luna.models.retrieve("no-such-model")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found", error.body
    else:
        raise AssertionError("an unknown model was found")


cells = json.loads(sys.argv[1])
told = {}
for cell in cells:
    told[cell["name"]] = {
        "plain": plain(cell),
        "tools": tools(cell),
        "structured": structured(cell),
        "pictures": pictures(cell),
    }
    stops(cell)
    thoughts(cell)
    if cell["name"] != "other":
        legacy(cell)
for n, text in enumerate(asyncio.run(many(cells))):
    assert f"number {n}" in text, (n, text)
models(cells)
for cell in cells:
    leave(cell)
done(cells=told)
