// Which error the `openai` SDK throws, in the situations that the Rust test has set up.
//
// Argument: JSON, a list of {how: `create`, `stream` or `helper`, model, and what differs: fields, key}.

import assert from 'node:assert/strict';

import OpenAI from 'openai';

import { KEY, URL, classesOf, done } from './common.mjs';

async function attempt({ how, model, prompt = 'Hello', fields = {}, key = KEY }) {
  const luna = new OpenAI({ baseURL: `${URL}/v1`, apiKey: key, maxRetries: 0, timeout: 30_000 });
  const asked = { model, max_completion_tokens: 200, messages: [{ role: 'user', content: prompt }], ...fields };
  let text = '';
  const calls = {
    create: () => luna.chat.completions.create(asked),
    async stream() {
      for await (const chunk of await luna.chat.completions.create({ ...asked, stream: true })) {
        assert.ok(!chunk.choices[0]?.finish_reason, 'a broken stream looked whole');
        text += chunk.choices[0].delta.content ?? '';
      }
    },
    helper() {
      const runner = luna.chat.completions.stream(asked);
      runner.on('content', (delta) => (text += delta));
      return runner.finalChatCompletion();
    },
  };
  try {
    await calls[how]();
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    return {
      classes: classesOf(error),
      status: error.status ?? null,
      type: error.type,
      code: error.code,
      param: error.param,
      message: error.error?.message,
      fields: error.error && Object.keys(error.error).sort(),
      request_id: error.requestID ?? null,
      headers: Object.fromEntries(error.headers ?? []),
      text,
    };
  }
  throw new Error(`nothing was thrown by ${how} of ${model}`);
}

const errors = [];
for (const one of JSON.parse(process.argv[2])) errors.push(await attempt(one));
done({ errors });
