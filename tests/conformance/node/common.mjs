// What every script here shares: orders to the simulated upstream, a check of types, errors as JSON.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

export const URL = process.env.LUNA_URL;
export const KEY = process.env.LUNA_KEY;

/** Stops the script when an installed package is not the pinned one. */
export function pinned(name, version) {
  const wanted = JSON.parse(readFileSync(new globalThis.URL('package.json', import.meta.url))).dependencies[name];
  assert.equal(version, wanted, `${name} ${version}, tests/conformance/node/package.json has ${wanted}`);
}

/** `prompt` with an order to the simulated upstream in it; the values in `raw` are JSON and go in as they are. */
export function order(prompt, shape, raw = {}) {
  const fields = Object.entries(raw).map(([name, value]) => `${JSON.stringify(name)}:${value}`);
  fields.push(...Object.entries(shape).map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`));
  return `${prompt}[[sim {${fields.join(',')}}]]`;
}

export async function collect(stream) {
  const all = [];
  for await (const each of stream) all.push(each);
  return all;
}

/**
 * The SDKs for Node take whatever comes: this is the check of types that those for Python make.
 * A rule is a type's name, a value in a list of one, a list of rules of which one must hold, an object of rules, or
 * `listOf`, `optional`, or a function.
 */
export function fits(value, rule, at = 'answer') {
  const says = `${at} is ${JSON.stringify(value)}`;
  if (typeof rule === 'function') return rule(value, at);
  if (rule === 'integer') return assert.ok(Number.isInteger(value), says);
  if (rule === 'null') return assert.equal(value, null, says);
  if (typeof rule === 'string') return assert.equal(typeof value, rule, says);
  if (Array.isArray(rule)) {
    const holds = rule.some((one) => {
      try {
        fits(value, one, at);
        return true;
      } catch {
        return false;
      }
    });
    return assert.ok(holds, says);
  }
  assert.ok(value !== null && typeof value === 'object' && !Array.isArray(value), says);
  for (const [name, inner] of Object.entries(rule)) fits(value[name], inner, `${at}.${name}`);
}

export const is = (wanted) => (value, at) => assert.deepEqual(value, wanted, at);
export const optional = (rule) => (value, at) => value === undefined || fits(value, rule, at);
export const listOf = (rule) => (value, at) => {
  assert.ok(Array.isArray(value), `${at} is ${JSON.stringify(value)}`);
  value.forEach((one, index) => fits(one, rule, `${at}[${index}]`));
};

/** The names of an error's classes, from its own up to Error. */
export function classesOf(error) {
  const names = [];
  for (let proto = Object.getPrototypeOf(error); proto && proto !== Object.prototype; proto = Object.getPrototypeOf(proto)) {
    names.push(proto.constructor.name);
  }
  return names;
}

export function done(result) {
  console.log(JSON.stringify(result));
}

export const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
export const PDF = 'JVBERi0xLjQKJSVFT0YK';
export const TEXT = ' Grüße, 世界 \u{1f600} "quoted" \\ back\n\n  two spaces, a tab\t and an end  ';
export const TOKENS = { input_tokens: 11, cache_read_input_tokens: 7, cache_creation_input_tokens: 5, output_tokens: 3 };
export const ORDER_INPUT =
  '{"order":2512292042121000001,"ratio":1.0,"note":"\\u00e9 \\ud83d\\ude00 \\"x\\"","z":{"b":1,"a":[]}}';
export const WEATHER_INPUT = '{"city":"Zürich","days":9007199254740993}';
export const CALLS = `[{"tool":0,"input":${ORDER_INPUT}},{"tool":1,"input":${WEATHER_INPUT}}]`;
