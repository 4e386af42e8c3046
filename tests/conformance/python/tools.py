"""Tools: the call, its input as JSON pieces in a stream, and the result sent back."""

from common import ask, client, done, text_of

luna = client()
WEATHER = {
    "name": "get_weather",
    "description": "The weather at a place",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
}
turn = {"role": "user", "content": "Please use the tool get_weather for Lisbon"}
base = {"model": "claude-sonnet-4-6", "max_tokens": 500, "tools": [WEATHER]}

with luna.messages.stream(**base, messages=[turn]) as stream:
    pieces, snapshots = [], []
    for event in stream:
        if event.type == "input_json":
            pieces.append(event.partial_json)
            snapshots.append(event.snapshot)
    streamed = stream.get_final_message()
assert streamed.stop_reason == "tool_use", streamed
calls = [block for block in streamed.content if block.type == "tool_use"]
assert len(calls) == 1 and calls[0].name == "get_weather", streamed
assert isinstance(calls[0].input, dict) and set(calls[0].input) <= {"city", "days"}, calls
assert pieces and snapshots[-1] == calls[0].input, (pieces, snapshots, calls)

whole = luna.messages.create(**base, messages=[turn])
called = [block for block in whole.content if block.type == "tool_use"]
assert len(called) == 1 and called[0].input == calls[0].input, (whole, streamed)

# The round trip: what the SDK gave goes back as it is, with the result.
for first in (streamed, whole):
    call = next(block for block in first.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny, 21 degrees"}
    history = [turn, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    answer = luna.messages.create(**base, messages=history)
    assert text_of(answer) and answer.stop_reason == "end_turn", answer

# With a thinking model the signed thinking block goes back as well.
thinking = {**base, "model": "claude-opus-4-6-thinking"}
with luna.messages.stream(**thinking, messages=[turn]) as stream:
    first = stream.get_final_message()
assert [block.type for block in first.content][0] == "thinking", first
call = next(block for block in first.content if block.type == "tool_use")
result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "rain"}], "is_error": True}
history = [turn, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
assert text_of(luna.messages.create(**thinking, messages=history))

done(ids=[c.id for c in calls + called], signature=first.content[0].signature, input=calls[0].input)
