// Which error the `@anthropic-ai/sdk` throws, in the situations that the Rust test has set up.
//
// Argument: JSON, a list of {how: `create`, `stream` or `helper`, model, and what differs: fields, key}.

import assert from 'node:assert/strict';

import Anthropic from '@anthropic-ai/sdk';

import { KEY, URL, classesOf, done } from './common.mjs';

async function attempt({ how, model, prompt = 'Hello', fields = {}, key = KEY }) {
  const luna = new Anthropic({ baseURL: URL, apiKey: key, maxRetries: 0, timeout: 30_000 });
  const asked = { model, max_tokens: 200, messages: [{ role: 'user', content: prompt }], ...fields };
  let text = '';
  const calls = {
    create: () => luna.messages.create(asked),
    async stream() {
      for await (const event of await luna.messages.create({ ...asked, stream: true })) {
        assert.ok(!['message_delta', 'message_stop'].includes(event.type), 'a broken stream looked whole');
        if (event.type === 'content_block_delta') text += event.delta.text;
      }
    },
    helper() {
      const stream = luna.messages.stream(asked);
      stream.on('text', (delta) => (text += delta));
      return stream.finalMessage();
    },
  };
  try {
    await calls[how]();
  } catch (error) {
    if (!(error instanceof Anthropic.APIError)) throw error;
    return {
      classes: classesOf(error),
      status: error.status ?? null,
      type: error.type,
      message: error.error?.error?.message,
      request_id: error.requestID ?? null,
      body_request_id: error.error?.request_id ?? null,
      headers: Object.fromEntries(error.headers ?? []),
      text,
    };
  }
  throw new Error(`nothing was thrown by ${how} of ${model}`);
}

const errors = [];
for (const one of JSON.parse(process.argv[2])) errors.push(await attempt(one));
done({ errors });
