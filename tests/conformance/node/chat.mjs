// The `openai` SDK against one upstream of each kind: plain, streamed, tools, structured output, pictures, thoughts.
//
// Argument: JSON, the cells (name, model, served, thinks).

import assert from 'node:assert/strict';

import OpenAI from 'openai';
import { ContentFilterFinishReasonError, LengthFinishReasonError } from 'openai/core/error';
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod';
import { VERSION } from 'openai/version';
import { z } from 'zod';

import { CALLS, KEY, ORDER_INPUT, PDF, PIXEL, TEXT, TOKENS, URL, WEATHER_INPUT } from './common.mjs';
import { collect, done, fits, is, listOf, optional, order, pinned } from './common.mjs';

pinned('openai', VERSION);
const luna = new OpenAI({ baseURL: `${URL}/v1`, apiKey: KEY, maxRetries: 0, timeout: 30_000 });
const completions = luna.chat.completions;

const USAGE = {
  prompt_tokens: 'integer',
  completion_tokens: 'integer',
  total_tokens: 'integer',
  prompt_tokens_details: optional({ cached_tokens: optional('integer'), cache_write_tokens: optional('integer') }),
  completion_tokens_details: optional({ reasoning_tokens: optional('integer') }),
};
const FINISH = ['stop', 'length', 'tool_calls', 'content_filter', 'function_call'].map(is);
const COMPLETION = {
  id: 'string',
  object: is('chat.completion'),
  created: 'integer',
  model: 'string',
  choices: listOf({
    index: is(0),
    finish_reason: FINISH,
    logprobs: 'null',
    message: {
      role: is('assistant'),
      content: ['string', 'null'],
      refusal: ['string', 'null'],
      tool_calls: optional(listOf({ id: 'string', type: is('function'), function: { name: 'string', arguments: 'string' } })),
      function_call: optional({ name: 'string', arguments: 'string' }),
    },
  }),
  usage: optional(USAGE),
};
const CHUNK = {
  id: 'string',
  object: is('chat.completion.chunk'),
  created: 'integer',
  model: 'string',
  choices: listOf({
    index: is(0),
    finish_reason: ['null', ...FINISH],
    delta: {
      role: optional(is('assistant')),
      content: optional(['string', 'null']),
      tool_calls: optional(listOf({ index: 'integer', id: optional('string'), function: optional('object') })),
    },
  }),
  usage: optional(['null', USAGE]),
};

function ask(text, model, fields = {}) {
  return { model, max_completion_tokens: 500, messages: [{ role: 'user', content: text }], ...fields };
}

async function create(asked) {
  const whole = await completions.create(asked);
  fits(whole, COMPLETION);
  assert.equal(whole.choices.length, 1);
  return whole;
}

const messageOf = (completion) => completion.choices[0].message;

async function chunksOf(asked, withUsage = false) {
  const options = withUsage ? { stream_options: { include_usage: true } } : {};
  const chunks = await collect(await completions.create({ ...asked, stream: true, ...options }));
  fits(chunks, listOf(CHUNK), 'chunks');
  assert.equal(new Set(chunks.map((chunk) => `${chunk.id} ${chunk.created} ${chunk.model}`)).size, 1);
  assert.equal(chunks[0].choices[0].delta.role, 'assistant');
  const usages = chunks.filter((chunk) => chunk.usage);
  assert.equal(usages.length, withUsage ? 1 : 0);
  const bare = chunks.filter((chunk) => chunk.choices.length === 0);
  assert.deepEqual(bare, usages, 'usage on a chunk of its own, and no other one without choices');
  if (withUsage) assert.equal(chunks.at(-1), usages[0]);
  const finishes = chunks.filter((chunk) => chunk.choices.length).map((chunk) => chunk.choices[0].finish_reason);
  assert.ok(finishes.at(-1) && finishes.slice(0, -1).every((finish) => finish === null), String(finishes));
  return chunks;
}

const deltasOf = (chunks) => chunks.filter((chunk) => chunk.choices.length).map((chunk) => chunk.choices[0].delta);
const textOf = (chunks) => deltasOf(chunks).map((delta) => delta.content ?? '').join('');

const usageOf = (usage) => ({
  prompt: usage.prompt_tokens,
  cached: usage.prompt_tokens_details.cached_tokens,
  written: usage.prompt_tokens_details.cache_write_tokens,
  completion: usage.completion_tokens,
  total: usage.total_tokens,
});

async function plain(cell) {
  const asked = ask(order('Say it. ', { text: TEXT, events: 7, ...TOKENS }), cell.model);
  asked.messages.unshift(
    { role: 'system', content: 'Answer in rhymes.' },
    { role: 'developer', content: [{ type: 'text', text: 'And in prose.' }] },
  );
  const { data: whole, response, request_id } = await completions.create(asked).withResponse();
  fits(whole, COMPLETION);
  assert.equal(messageOf(whole).content, TEXT);
  assert.equal(whole.choices[0].finish_reason, 'stop');
  assert.equal(whole.model, cell.served);
  assert.equal(response.headers.get('x-luna-served-model'), cell.served);
  assert.match(request_id, /^req_/);
  assert.equal(whole._request_id, request_id);

  const chunks = await chunksOf(asked, true);
  assert.equal(textOf(chunks), TEXT);
  assert.deepEqual(usageOf(chunks.at(-1).usage), usageOf(whole.usage));
  assert.equal(textOf(await chunksOf(asked)), TEXT);

  const runner = completions.stream({ ...asked, stream_options: { include_usage: true } });
  let pieces = '';
  const dones = [];
  runner.on('content', (delta) => (pieces += delta));
  runner.on('content.done', (event) => dones.push(event.content));
  const final = await runner.finalChatCompletion();
  assert.equal(pieces, TEXT);
  assert.deepEqual(dones, [TEXT]);
  assert.equal(messageOf(final).content, TEXT);
  assert.equal(await runner.finalContent(), TEXT);
  assert.deepEqual(usageOf(await runner.totalUsage().then(() => final.usage)), usageOf(whole.usage));

  const short = await create({ ...asked, max_completion_tokens: 1 });
  assert.equal(short.choices[0].finish_reason, 'length');
  return { usage: usageOf(whole.usage) };
}

async function stops(cell) {
  const asked = ask(order('', { text: 'one, two END three', events: 9 }), cell.model, { stop: ['END'] });
  assert.equal(messageOf(await create(asked)).content, 'one, two ');
  assert.equal(textOf(await chunksOf(asked)), 'one, two ');
}

async function tools(cell) {
  const names = cell.name === 'other' ? ['get_order', 'get_weather'] : ['orders.get', `weather.now-${'x'.repeat(70)}`];
  const parameters = { type: 'object', properties: { city: { type: 'string' } } };
  const offered = names.map((name) => ({ type: 'function', function: { name, description: 'A test', parameters } }));
  const told = order('Go. ', { text: 'I look.', fragment_bytes: 3 }, { calls: CALLS });
  const asked = ask(told, cell.model, { tools: offered });
  const expected = [
    [names[0], ORDER_INPUT],
    [names[1], WEATHER_INPUT],
  ];
  const callsOf = (message) => message.tool_calls.map((call) => [call.function.name, call.function.arguments]);

  const whole = await create(asked);
  assert.equal(whole.choices[0].finish_reason, 'tool_calls');
  assert.equal(messageOf(whole).content, 'I look.');
  assert.deepEqual(callsOf(messageOf(whole)), expected);

  const built = [];
  let pieces = 0;
  for (const call of deltasOf(await chunksOf(asked)).flatMap((delta) => delta.tool_calls ?? [])) {
    if (!built[call.index]) {
      assert.ok(call.id && call.type === 'function' && call.function.name, JSON.stringify(call));
      built[call.index] = [call.function.name, ''];
    }
    built[call.index][1] += call.function.arguments ?? '';
    pieces += 1;
  }
  assert.deepEqual(built, expected);
  assert.ok(pieces > 20, `the arguments came in ${pieces} pieces`);

  const runner = completions.stream(asked);
  const dones = [];
  runner.on('tool_calls.function.arguments.done', (event) => dones.push([event.name, event.arguments]));
  const final = await runner.finalChatCompletion();
  assert.deepEqual(dones, expected);
  assert.deepEqual(callsOf(messageOf(final)), expected);
  assert.equal(final.choices[0].finish_reason, 'tool_calls');

  // What the SDK gave goes back as it is; the helper's own fields OpenAI itself does not know.
  const back = structuredClone(messageOf(final));
  if (cell.name === 'other') {
    delete back.parsed;
    for (const call of back.tool_calls) delete call.function.parsed_arguments;
  }
  const ids = [];
  for (const message of [messageOf(whole), back]) {
    const [one, two] = message.tool_calls.map((call) => call.id);
    assert.notEqual(one, two);
    const messages = [
      ...asked.messages,
      message,
      { role: 'tool', tool_call_id: one, content: 'shipped' },
      { role: 'tool', tool_call_id: two, content: [{ type: 'text', text: '-3 degrees' }] },
    ];
    const answer = await create({ ...asked, messages });
    const text = messageOf(answer).content;
    assert.ok(text.includes(`${one} said: shipped`) && text.includes(`${two} said: -3 degrees`), text);
    assert.equal(answer.choices[0].finish_reason, 'stop');
    ids.push(one, two);
  }

  if (cell.name !== 'antigravity') {
    assert.equal(messageOf(await create({ ...asked, parallel_tool_calls: false })).tool_calls.length, 1);
  }
  const named = { type: 'function', function: { name: names[1] } };
  const forced = await create(ask('Hm.', cell.model, { tools: offered, tool_choice: named }));
  assert.deepEqual(callsOf(messageOf(forced)).map(([name]) => name), [names[1]]);
  const silent = await create(ask(`Use the tool ${names[0]}`, cell.model, { tools: offered, tool_choice: 'none' }));
  assert.ok(!messageOf(silent).tool_calls && messageOf(silent).content, JSON.stringify(silent));
  return { ids, names };
}

/** The SDK's own loop: it runs the tools and asks again until there is an answer. */
async function loop(cell) {
  const told = order('go ', { text: '' }, { calls: '[{"tool":0,"input":{"city":"Oslo"}},{"tool":0,"input":{"city":"Rom"}}]' });
  for (const stream of [false, true]) {
    const ran = [];
    const run = ({ city }) => {
      ran.push(city);
      return `rain in ${city}`;
    };
    const parameters = { type: 'object', properties: { city: { type: 'string' } } };
    const tool = { type: 'function', function: { name: 'weather', parse: JSON.parse, parameters, function: run } };
    const runner = completions.runTools({ ...ask(told, cell.model, { tools: [tool] }), stream });
    const text = await runner.finalContent();
    assert.deepEqual(ran, ['Oslo', 'Rom']);
    assert.ok(text.includes('said: rain in Oslo') && text.includes('said: rain in Rom'), text);
  }
}

const Weather = z.object({
  place: z.object({ city: z.string(), country: z.string().nullable() }),
  degrees: z.number(),
  sunny: z.boolean(),
  hours: z.array(z.int()),
});
const Lookup = z.object({ city: z.string(), days: z.int() });

async function structured(cell) {
  const asked = ask('The weather, please', cell.model, { response_format: zodResponseFormat(Weather, 'weather') });
  const whole = await completions.parse(asked);
  fits(whole, COMPLETION);
  const parsed = Weather.parse(messageOf(whole).parsed);
  assert.equal(whole.choices[0].finish_reason, 'stop');
  const final = await completions.stream(asked).finalChatCompletion();
  assert.deepEqual(messageOf(final).parsed, parsed);

  const tool = zodFunction({ name: 'look_up', parameters: Lookup });
  const told = order('', { text: '' }, { calls: '[{"tool":0,"input":{"city":"Oslo","days":3}}]' });
  const called = await completions.parse({ ...asked, messages: ask(told, cell.model).messages, tools: [tool] });
  assert.deepEqual(
    messageOf(called).tool_calls.map((call) => call.function.parsed_arguments),
    [{ city: 'Oslo', days: 3 }],
  );

  // What was cut or refused is not taken for the structure that was asked for.
  for (const [reason, wanted] of [['max_tokens', LengthFinishReasonError], ['refusal', ContentFilterFinishReasonError]]) {
    const { messages } = ask(order('', { text: '{', stop_reason: reason }), cell.model);
    await assert.rejects(completions.parse({ ...asked, messages }), wanted);
  }
  return { parsed };
}

async function pictures(cell) {
  const parts = [
    { type: 'text', text: 'What is this?' },
    { type: 'image_url', image_url: { url: `data:image/png;base64,${PIXEL}`, detail: 'low' } },
    { type: 'image_url', image_url: { url: 'https://example.com/a.jpg' } },
    { type: 'file', file: { filename: 'a.pdf', file_data: `data:application/pdf;base64,${PDF}` } },
  ];
  const text = messageOf(await create(ask(parts, cell.model))).content;
  assert.ok(text.includes('Pictures: 2.') && text.includes('Documents: 1.'), text);
  return { text };
}

async function thoughts(cell) {
  const told = order('Think. ', { text: 'So.', thinking: 'First this, then that.' });
  const asked = ask(told, cell.thinks, { reasoning_effort: 'low', max_completion_tokens: 9000 });
  const message = messageOf(await create(asked));
  assert.equal(message.reasoning_content, 'First this, then that.');
  assert.equal(message.content, 'So.');
  const deltas = deltasOf(await chunksOf(asked));
  assert.equal(deltas.map((delta) => delta.reasoning_content ?? '').join(''), 'First this, then that.');
  assert.equal(deltas.map((delta) => delta.content ?? '').join(''), 'So.');
  const messages = [...asked.messages, message, { role: 'user', content: 'And?' }];
  assert.ok(messageOf(await create({ ...asked, messages })).content);
}

async function legacy(cell) {
  const functions = [{ name: 'look.up', parameters: { type: 'object', properties: { city: { type: 'string' } } } }];
  const told = order('', { text: '', fragment_bytes: 4 }, { calls: '[{"tool":0,"input":{"city":"Oslo"}}]' });
  const asked = ask(told, cell.model, { functions });
  const whole = await create(asked);
  assert.deepEqual(messageOf(whole).function_call, { name: 'look.up', arguments: '{"city":"Oslo"}' });
  assert.equal(whole.choices[0].finish_reason, 'function_call');
  const final = await completions.stream(asked).finalChatCompletion();
  assert.deepEqual({ ...messageOf(final).function_call }, { name: 'look.up', arguments: '{"city":"Oslo"}' });
  const result = { role: 'function', name: 'look.up', content: 'rain' };
  const answer = await create({ ...asked, messages: [...asked.messages, messageOf(whole), result] });
  assert.ok(messageOf(answer).content.includes('said: rain'), JSON.stringify(answer));
}

async function leave(cell) {
  const asked = ask(order('', { events: 5000, event_bytes: 16, interval_ms: 500 }), cell.model);
  const stream = await completions.create({ ...asked, stream: true });
  for await (const chunk of stream) if (chunk.choices[0].delta.content) break;

  const runner = completions.stream(asked);
  runner.on('content', () => runner.abort());
  await assert.rejects(runner.finalChatCompletion(), OpenAI.APIUserAbortError);
  assert.ok(messageOf(await create(ask('Hello', cell.model))).content);
}

async function models(cells) {
  const MODEL = { id: 'string', object: is('model'), created: 'integer', owned_by: 'string' };
  const listed = await collect(luna.models.list());
  fits(listed, listOf(MODEL), 'models');
  for (const name of cells.flatMap((cell) => [cell.model, cell.thinks])) {
    assert.ok(listed.some((model) => model.id === name), name);
    fits(await luna.models.retrieve(name), { ...MODEL, id: is(name) });
  }
  await assert.rejects(luna.models.retrieve('no-such-model'), (error) => {
    return error instanceof OpenAI.NotFoundError && error.code === 'model_not_found';
  });
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
  await stops(cell);
  await thoughts(cell);
  if (cell.name !== 'other') await legacy(cell);
}
const many = Array.from({ length: 21 }, async (_, n) => {
  const asked = ask(`number ${n}`, cells[n % cells.length].model);
  const text = textOf(await chunksOf(asked));
  assert.ok(text.includes(`number ${n}`), text);
});
await Promise.all(many);
await models(cells);
for (const cell of cells) await leave(cell);
done({ cells: told });
