// The `@anthropic-ai/sdk` against one upstream of each kind: plain, streamed, tools, structured output, pictures, thoughts.
//
// Argument: JSON, the cells (name, model, served, thinks).

import assert from 'node:assert/strict';

import Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { VERSION } from '@anthropic-ai/sdk/version';
import { z } from 'zod';

import { CALLS, KEY, ORDER_INPUT, PDF, PIXEL, TEXT, TOKENS, URL, WEATHER_INPUT } from './common.mjs';
import { collect, done, fits, is, listOf, optional, order, pinned } from './common.mjs';

pinned('@anthropic-ai/sdk', VERSION);
const luna = new Anthropic({ baseURL: URL, apiKey: KEY, maxRetries: 0, timeout: 30_000 });

const COUNT = ['integer', 'null'];
const USAGE = {
  input_tokens: 'integer',
  output_tokens: 'integer',
  cache_read_input_tokens: COUNT,
  cache_creation_input_tokens: COUNT,
};
const STOP = ['end_turn', 'max_tokens', 'stop_sequence', 'tool_use', 'pause_turn', 'refusal'].map(is);
const BLOCK = [
  { type: is('text'), text: 'string' },
  { type: is('thinking'), thinking: 'string', signature: 'string' },
  { type: is('tool_use'), id: 'string', name: 'string', input: 'object' },
];
const MESSAGE = {
  id: 'string',
  type: is('message'),
  role: is('assistant'),
  model: 'string',
  content: listOf(BLOCK),
  stop_reason: STOP,
  stop_sequence: ['null', 'string'],
  usage: USAGE,
};

function ask(text, model, fields = {}) {
  return { model, max_tokens: 500, messages: [{ role: 'user', content: text }], ...fields };
}

async function create(asked) {
  const whole = await luna.messages.create(asked);
  fits(whole, MESSAGE);
  return whole;
}

const textOf = (message) => message.content.filter((block) => block.type === 'text').map((block) => block.text).join('');
const callsOf = (message) => message.content.filter((block) => block.type === 'tool_use');
const contentOf = (message) => message.content.map(({ id: _, parsed: __, ...block }) => block);
const usageOf = (usage) => Object.fromEntries(Object.keys(TOKENS).map((name) => [name, usage[name]]));

/** One message_start first, blocks opened and closed in turn by rising index, message_delta and message_stop last. */
async function eventsOf(asked) {
  const events = await collect(await luna.messages.create({ ...asked, stream: true }));
  const types = events.map((event) => event.type);
  assert.equal(types[0], 'message_start');
  fits(events[0].message, { ...MESSAGE, content: is([]), stop_reason: 'null', stop_sequence: 'null' });
  assert.deepEqual(types.slice(-2), ['message_delta', 'message_stop']);
  fits(events.at(-2), { delta: { stop_reason: STOP, stop_sequence: ['null', 'string'] }, usage: { output_tokens: 'integer' } });
  let open = null;
  let next = 0;
  for (const event of events.slice(1, -2)) {
    if (event.type === 'content_block_start') {
      assert.equal(open, null, String(types));
      assert.equal(event.index, next++, String(types));
      open = event.index;
      continue;
    }
    assert.ok(['content_block_delta', 'content_block_stop'].includes(event.type), String(types));
    assert.equal(event.index, open, String(types));
    if (event.type === 'content_block_stop') open = null;
  }
  assert.equal(open, null);
  return events;
}

const deltasOf = (events) => events.filter((event) => event.type === 'content_block_delta').map((event) => event.delta);

async function plain(cell) {
  const asked = ask(order('Say it. ', { text: TEXT, events: 7, ...TOKENS }), cell.model, { system: 'Answer in rhymes.' });
  const { data: whole, response, request_id } = await luna.messages.create(asked).withResponse();
  fits(whole, MESSAGE);
  assert.deepEqual(contentOf(whole), [{ type: 'text', text: TEXT }]);
  assert.equal(whole.model, cell.served);
  assert.equal(whole.stop_reason, 'end_turn');
  assert.deepEqual(usageOf(whole.usage), TOKENS);
  assert.equal(response.headers.get('x-luna-served-model'), cell.served);
  assert.match(request_id, /^req_/);
  assert.equal(whole._request_id, request_id);

  const events = await eventsOf(asked);
  assert.ok(events[0].message.usage.input_tokens > 0);
  assert.equal(deltasOf(events).map((delta) => delta.text).join(''), TEXT);
  assert.equal(events.at(-2).usage.output_tokens, 3);
  assert.equal(events.at(-2).usage.input_tokens, 11);

  const stream = luna.messages.stream(asked);
  let pieces = '';
  stream.on('text', (delta) => (pieces += delta));
  const final = await stream.finalMessage();
  fits(final, MESSAGE);
  assert.equal(pieces, TEXT);
  assert.match(stream.request_id, /^req_/);
  assert.deepEqual(contentOf(final), contentOf(whole));
  assert.deepEqual(usageOf(final.usage), TOKENS);

  const short = await create({ ...asked, max_tokens: 1 });
  assert.equal(short.stop_reason, 'max_tokens');
  return { usage: usageOf(whole.usage) };
}

async function tools(cell) {
  // Anthropic takes names that OpenAI finds too long.
  const names = ['get_order', `get_weather${cell.name === 'other' ? `-${'x'.repeat(80)}` : ''}`];
  const input_schema = { type: 'object', properties: { city: { type: 'string' } } };
  const offered = names.map((name) => ({ name, description: 'A test', input_schema }));
  const told = order('Go. ', { text: 'I look.', fragment_bytes: 3 }, { calls: CALLS });
  const asked = ask(told, cell.model, { tools: offered });
  // A double is what the SDK makes of such a number; the digits are compared below, in what it read.
  const expected = [
    [names[0], JSON.parse(ORDER_INPUT)],
    [names[1], JSON.parse(WEATHER_INPUT)],
  ];
  const inputsOf = (message) => callsOf(message).map((call) => [call.name, call.input]);

  const whole = await create(asked);
  assert.deepEqual(whole.content.map((block) => block.type), ['text', 'tool_use', 'tool_use']);
  assert.deepEqual(inputsOf(whole), expected);
  // Antigravity says end_turn here, which would end every loop before the tool has run.
  assert.equal(whole.stop_reason, 'tool_use');
  const bytes = await (await luna.messages.create(asked).asResponse()).text();
  assert.ok(bytes.includes(`"input":${ORDER_INPUT}`) && bytes.includes(`"input":${WEATHER_INPUT}`), bytes);

  const pieces = {};
  for (const event of await eventsOf(asked)) {
    if (event.delta?.type === 'input_json_delta') (pieces[event.index] ??= []).push(event.delta.partial_json);
  }
  assert.deepEqual(Object.values(pieces).map((parts) => parts.join('')), [ORDER_INPUT, WEATHER_INPUT]);
  assert.ok(Object.values(pieces).every((parts) => parts.length > 10));

  const stream = luna.messages.stream(asked);
  const snapshots = [];
  stream.on('inputJson', (_, snapshot) => snapshots.push(snapshot));
  const final = await stream.finalMessage();
  fits(final, MESSAGE);
  assert.deepEqual(snapshots.at(-1), expected[1][1]);
  assert.deepEqual(inputsOf(final), expected);
  assert.equal(final.stop_reason, 'tool_use');

  const ids = [];
  for (const message of [whole, final]) {
    const [one, two] = callsOf(message).map((call) => call.id);
    assert.notEqual(one, two);
    const picture = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PIXEL } };
    const results = [
      { type: 'tool_result', tool_use_id: one, content: 'shipped' },
      { type: 'tool_result', tool_use_id: two, content: [{ type: 'text', text: '-3 degrees' }, picture] },
    ];
    const messages = [
      ...asked.messages,
      { role: 'assistant', content: message.content },
      { role: 'user', content: results },
    ];
    const answer = await create({ ...asked, messages });
    const text = textOf(answer);
    assert.ok(text.includes(`${one} said: shipped`) && text.includes(`${two} said: -3 degrees`), text);
    assert.ok(text.includes('Pictures: 1.') && answer.stop_reason === 'end_turn', text);
    ids.push(one, two);
  }

  if (cell.name !== 'antigravity') {
    const single = await create({ ...asked, tool_choice: { type: 'auto', disable_parallel_tool_use: true } });
    assert.equal(callsOf(single).length, 1);
    const forced = await create(ask('Hm.', cell.model, { tools: offered, tool_choice: { type: 'tool', name: names[1] } }));
    assert.deepEqual(callsOf(forced).map((call) => call.name), [names[1]]);
    assert.equal(forced.stop_reason, 'tool_use');
  }
  return { ids, names };
}

/** The SDK's own loop: it runs the tools and asks again until there is an answer. */
async function loop(cell) {
  const told = order('go ', { text: '' }, { calls: '[{"tool":0,"input":{"city":"Oslo"}},{"tool":0,"input":{"city":"Rom"}}]' });
  for (const stream of [false, true]) {
    // The SDK lets the server keep the history, and keeps it itself when it is told that nobody does; the plain upstream
    // is the real API's stand-in, which would.
    const alone = cell.name === 'plain' ? { thread: false } : {};
    const ran = [];
    const run = ({ city }) => {
      ran.push(city);
      return `rain in ${city}`;
    };
    const tool = betaZodTool({ name: 'weather', description: 'A test', inputSchema: z.object({ city: z.string() }), run });
    const runner = luna.beta.messages.toolRunner({ ...ask(told, cell.model), tools: [tool], ...alone, stream });
    const text = textOf(await runner.runUntilDone());
    assert.deepEqual(ran.sort(), ['Oslo', 'Rom']);
    assert.ok(text.includes('said: rain in Oslo') && text.includes('said: rain in Rom'), text);
  }
}

const Weather = z.object({
  place: z.object({ city: z.string(), country: z.string().nullable() }),
  degrees: z.number(),
  sunny: z.boolean(),
  hours: z.array(z.int()),
});

async function structured(cell) {
  // Antigravity drops output_config, and a request of its own dialect is relayed as it is.
  if (cell.name === 'antigravity') return {};
  const asked = ask('The weather, please', cell.model, { output_config: { format: zodOutputFormat(Weather) } });
  const whole = await luna.messages.parse(asked);
  const parsed = Weather.parse(whole.parsed_output);
  assert.equal(whole.stop_reason, 'end_turn');
  const final = await luna.messages.stream(asked).finalMessage();
  assert.deepEqual(final.parsed_output, parsed);
  return { parsed };
}

async function pictures(cell) {
  const blocks = [
    { type: 'text', text: 'What is this?' },
    { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PIXEL } },
    { type: 'image', source: { type: 'url', url: 'https://example.com/a.jpg' } },
    { type: 'document', title: 'a.pdf', source: { type: 'base64', media_type: 'application/pdf', data: PDF } },
  ];
  const text = textOf(await create(ask(blocks, cell.model)));
  assert.ok(text.includes('Pictures: 2.') && text.includes('Documents: 1.'), text);
  return { text };
}

async function thoughts(cell) {
  const told = order('Think. ', { text: 'So.', thinking: 'First this, then that.' });
  const thinking = { type: 'enabled', budget_tokens: 4000 };
  const asked = ask(told, cell.thinks, { max_tokens: 9000, thinking });
  const whole = await create(asked);
  assert.deepEqual(whole.content.map((block) => block.type), ['thinking', 'text']);
  assert.equal(whole.content[0].thinking, 'First this, then that.');
  const shown = deltasOf(await eventsOf(asked)).map((delta) => delta.thinking ?? '');
  assert.equal(shown.join(''), 'First this, then that.');
  const final = await luna.messages.stream(asked).finalMessage();
  fits(final, MESSAGE);
  assert.deepEqual(contentOf(final), contentOf(whole));
  const messages = [...asked.messages, { role: 'assistant', content: whole.content }, { role: 'user', content: 'And?' }];
  assert.ok(textOf(await create({ ...asked, messages })));
}

async function leave(cell) {
  const asked = ask(order('', { events: 5000, event_bytes: 16, interval_ms: 500 }), cell.model);
  for await (const event of await luna.messages.create({ ...asked, stream: true })) {
    if (event.type === 'content_block_delta') break;
  }
  const stream = luna.messages.stream(asked);
  stream.on('text', () => stream.abort());
  await assert.rejects(stream.finalMessage(), Anthropic.APIUserAbortError);
  assert.ok(textOf(await create(ask('Hello', cell.model))));
}

async function models(cells) {
  const MODEL = {
    id: 'string',
    type: is('model'),
    display_name: 'string',
    created_at: (value, at) => assert.ok(!Number.isNaN(Date.parse(value)), at),
    lifecycle: ['active', 'deprecated', 'retired'].map(is),
    max_tokens: optional(COUNT),
  };
  const listed = await collect(luna.models.list());
  fits(listed, listOf(MODEL), 'models');
  for (const name of cells.flatMap((cell) => [cell.model, cell.thinks])) {
    assert.ok(listed.some((model) => model.id === name), name);
    fits(await luna.models.retrieve(name), { ...MODEL, id: is(name) });
  }
  await assert.rejects(luna.models.retrieve('no-such-model'), Anthropic.NotFoundError);
}

async function counts(cells) {
  for (const { model } of cells) {
    const words = { model, messages: [{ role: 'user', content: 'one two three four' }] };
    const { data, response } = await luna.messages.countTokens(words).withResponse();
    assert.equal(response.headers.get('x-luna-estimate'), 'true');
    const tools = [{ name: 'get_weather', input_schema: { type: 'object', properties: { city: { type: 'string' } } } }];
    const more = await luna.messages.countTokens({ ...words, system: 'Answer in rhymes.', tools });
    assert.ok(data.input_tokens > 0 && data.input_tokens < more.input_tokens, JSON.stringify([data, more]));
  }
}

const cells = JSON.parse(process.argv[2]);
const told = {};
for (const cell of cells) {
  told[cell.name] = {
    plain: await plain(cell),
    tools: await tools(cell),
    structured: await structured(cell),
    pictures: await pictures(cell),
  };
  await loop(cell);
  await thoughts(cell);
}
const many = Array.from({ length: 21 }, async (_, n) => {
  const final = await luna.messages.stream(ask(`number ${n}`, cells[n % cells.length].model)).finalMessage();
  assert.ok(textOf(final).includes(`number ${n}`));
});
await Promise.all(many);
await models(cells);
await counts(cells);
for (const cell of cells) await leave(cell);
done({ cells: told });
