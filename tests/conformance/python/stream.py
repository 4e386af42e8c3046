"""Streaming: the events as they come, and the final message, which must be what create() gives."""

import asyncio

import anthropic

from common import KEY, URL, ask, client, done, text_of

luna = client()


def content(message):
    return [block.model_dump(exclude={"id"}, exclude_none=True) for block in message.content]


def check_order(types):
    """One message_start first, blocks opened and closed in turn, message_delta and message_stop last."""
    assert types[0] == "message_start" and types.count("message_start") == 1, types
    assert types[-2:] == ["message_delta", "message_stop"], types
    is_open = False
    for kind in types[1:-2]:
        assert is_open != (kind == "content_block_start"), types
        is_open = kind != "content_block_stop"
    assert not is_open, types


seen = {}
for model in ("claude-sonnet-4-6", "claude-opus-4-6-thinking", "gemini-3-flash"):
    asked = ask("Tell me a story.", model=model)
    events = list(luna.messages.create(**asked, stream=True))
    types = [event.type for event in events]
    check_order(types)
    text = "".join(e.delta.text for e in events if e.type == "content_block_delta" and e.delta.type == "text_delta")
    with luna.messages.stream(**asked) as stream:
        pieces = "".join(stream.text_stream)
        final = stream.get_final_message()
    whole = luna.messages.create(**asked)
    assert text == pieces == text_of(final) == text_of(whole), (text, pieces, final, whole)
    assert content(final) == content(whole), (final, whole)
    assert final.model == model and final.role == "assistant", final
    assert final.stop_reason == whole.stop_reason == "end_turn", final
    assert final.usage.output_tokens == whole.usage.output_tokens, (final, whole)
    assert events[-2].usage.output_tokens == final.usage.output_tokens
    assert events[0].message.id.startswith("msg_"), events[0]
    seen[model] = {"types": types, "text": text}

# Long: many events, none lost, none doubled.
sim = {"events": 500, "event_bytes": 64}
with luna.messages.stream(**ask(extra_body={"metadata": {"sim": sim}})) as stream:
    deltas = [e for e in stream if e.type == "content_block_delta"]
    final = stream.get_final_message()
assert len(deltas) == 500 and len(text_of(final)) == 500 * 64, (len(deltas), len(text_of(final)))


async def many():
    async with anthropic.AsyncAnthropic(base_url=URL, api_key=KEY, max_retries=0, timeout=30.0) as luna:

        async def one(n):
            async with luna.messages.stream(**ask(f"number {n}")) as stream:
                return await stream.get_final_message()

        return await asyncio.gather(*[one(n) for n in range(20)])


for n, final in enumerate(asyncio.run(many())):
    assert f"number {n}" in text_of(final), (n, final)

# A client that has seen enough leaves; the next one on the same client is served.
with luna.messages.stream(**ask(extra_body={"metadata": {"sim": {"events": 5000, "interval_ms": 500}}})) as stream:
    next(iter(stream.text_stream))
assert text_of(luna.messages.create(**ask()))

done(seen=seen, long=text_of(final))
