"""messages.create without streaming: plain, system prompts, thinking, aliases, every way to send the key."""

import asyncio

import anthropic

from common import KEY, URL, ask, client, done, text_of

luna = client()

plain = luna.messages.create(**ask())
assert plain.type == "message" and plain.role == "assistant", plain
assert plain.model == "claude-sonnet-4-6", plain
assert text_of(plain).startswith("Hello from claude-sonnet-4-6"), plain
assert plain.stop_reason == "end_turn" and plain.stop_sequence is None, plain
assert plain.usage.input_tokens > 0 and plain.usage.output_tokens > 0, plain
assert plain._request_id.startswith("req_"), plain._request_id

raw = luna.messages.with_raw_response.create(**ask(model="claude-3-5-sonnet-latest"))
assert raw.headers["x-luna-requested-model"] == "claude-3-5-sonnet-latest", raw.headers
assert raw.headers["x-luna-served-model"] == "claude-sonnet-4-6", raw.headers
assert raw.headers["request-id"] == raw.headers["x-request-id"], raw.headers
assert raw.parse().model == "claude-sonnet-4-6"

for system in ("Answer in rhymes.", [{"type": "text", "text": "Answer in rhymes.", "cache_control": {"type": "ephemeral"}}]):
    assert text_of(luna.messages.create(**ask(system=system)))

thinking = luna.messages.create(
    **ask(model="claude-opus-4-6-thinking", thinking={"type": "enabled", "budget_tokens": 1024}) | {"max_tokens": 2048}
)
assert [block.type for block in thinking.content] == ["thinking", "text"], thinking
assert thinking.content[0].thinking and thinking.content[0].signature, thinking

unicode = luna.messages.create(**ask("Grüße, 世界 \U0001f600 \"quoted\" \\ back"))
assert "世界 \U0001f600" in text_of(unicode), unicode

# The current SDK sends an API key as Bearer, older ones as x-api-key; both kinds of key argument must do.
as_key = client(api_key=KEY, auth_token=None)
as_token = client(api_key=None, auth_token=KEY)
as_header = client(api_key=None, auth_token="", default_headers={"x-api-key": KEY, "Authorization": anthropic.Omit()})
for each in (as_key, as_token, as_header):
    assert text_of(each.messages.create(**ask())).startswith("Hello from")

# A base URL with a slash at its end is what many people write.
assert text_of(client(base_url=URL + "/").messages.create(**ask()))


async def many():
    async with anthropic.AsyncAnthropic(base_url=URL, api_key=KEY, max_retries=0, timeout=30.0) as luna:
        return await asyncio.gather(*[luna.messages.create(**ask(f"number {n}")) for n in range(20)])


answers = asyncio.run(many())
for n, answer in enumerate(answers):
    assert f"number {n}" in text_of(answer), (n, answer)
assert len({answer.id for answer in answers}) == 20

models = [model.id for model in luna.models.list()]
assert "claude-sonnet-4-6" in models and "claude-opus-4-6-thinking" in models, models
assert luna.models.retrieve("claude-sonnet-4-6").id == "claude-sonnet-4-6"

done(text=text_of(plain), thinking=thinking.content[0].thinking)
