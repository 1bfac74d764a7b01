// Tries `troupe mock-llm` with the vendors' own clients: node try.mjs http://127.0.0.1:PORT
// Prints one line a case, then "N passed, N failed"; ends with 1 when one failed.
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import Anthropic from '@anthropic-ai/sdk';

const base = process.argv[2];
const openai = new OpenAI({ apiKey: 'none', baseURL: `${base}/v1`, maxRetries: 0, defaultHeaders: { 'X-Troupe-Agent': 'openai-client' } });
const claude = new Anthropic({ apiKey: 'none', baseURL: base, maxRetries: 0, defaultHeaders: { 'X-Troupe-Agent': 'anthropic-client' } });

const question = { role: 'user', content: 'How is the weather?' };
const answer = 'It has -7 degrees – “quoted” and\nwith a second line.';
const wanted = { city: 'Zürich', days: [1, 2], exact: true };
const schema = { type: 'object', properties: { city: { type: 'string' } } };
const openaiTools = [{ type: 'function', function: { name: 'weather', description: 'The weather', parameters: schema } }];
const claudeTools = [{ name: 'weather', description: 'The weather', input_schema: schema }];

async function openaiWhole(messages) {
  return openai.chat.completions.create({ model: 'gpt-4o', messages, tools: openaiTools });
}

async function openaiStreamed(messages) {
  const stream = openai.chat.completions.stream({ model: 'gpt-4o', messages, tools: openaiTools, stream_options: { include_usage: true } });
  return stream.finalChatCompletion();
}

async function openaiConversation(ask) {
  const first = await ask([question]);
  assert.equal(first.choices[0].finish_reason, 'tool_calls');
  const message = first.choices[0].message;
  assert.equal(message.content, 'I ask.');
  assert.equal(message.tool_calls.length, 1);
  assert.equal(message.tool_calls[0].function.name, 'weather');
  assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), wanted);
  assert.equal(first.usage.total_tokens, 49);
  const second = await ask([question, { role: 'assistant', content: message.content, tool_calls: message.tool_calls },
    { role: 'tool', tool_call_id: message.tool_calls[0].id, content: 'about -7 degrees' }]);
  assert.equal(second.choices[0].message.content, answer);
  assert.equal(second.choices[0].finish_reason, 'stop');
  assert.equal(second.usage.prompt_tokens, 60);
  assert.equal(second.usage.prompt_tokens_details.cached_tokens, 20);
}

async function claudeWhole(messages) {
  return claude.messages.create({ model: 'claude-sonnet', max_tokens: 100, messages, tools: claudeTools });
}

async function claudeStreamed(messages) {
  return claude.messages.stream({ model: 'claude-sonnet', max_tokens: 100, messages, tools: claudeTools }).finalMessage();
}

async function claudeConversation(ask) {
  const first = await ask([question]);
  assert.equal(first.stop_reason, 'tool_use');
  assert.equal(first.content[0].text, 'I ask.');
  assert.equal(first.content[1].name, 'weather');
  assert.deepEqual(first.content[1].input, wanted);
  assert.equal(first.usage.output_tokens, 9);
  const second = await ask([question, { role: 'assistant', content: first.content },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: first.content[1].id, content: 'about -7 degrees' }] }]);
  assert.equal(second.content[0].text, answer);
  assert.equal(second.stop_reason, 'end_turn');
  assert.equal(second.usage.input_tokens, 40);
  assert.equal(second.usage.cache_read_input_tokens, 20);
}

/// The call must be refused with this status, in words that contain these.
async function refused(call, status, words) {
  try {
    await call();
  } catch (error) {
    assert.equal(error.status, status, String(error));
    assert.ok(error.message.includes(words), error.message);
    return error;
  }
  throw new Error('it was not refused');
}

const said = (content) => [{ role: 'user', content }];
const cases = {
  'openai: whole, with tools': () => openaiConversation(openaiWhole),
  'openai: streamed, with tools': () => openaiConversation(openaiStreamed),
  'openai: streamed without usage': async () => {
    let text = '';
    let chunks = 0;
    for await (const chunk of await openai.chat.completions.create({ model: 'm', messages: said('one two three'), stream: true })) {
      assert.equal(chunk.usage, undefined);
      text += chunk.choices[0].delta.content ?? '';
      chunks += 1;
    }
    assert.equal(text, 'You said: one two three');
    assert.ok(chunks >= 4);
  },
  'openai: 429 is a RateLimitError with its Retry-After': async () => {
    const error = await refused(() => openaiWhole(said('trouble')), 429, 'Rate limit');
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.equal(error.headers.get('retry-after'), '0');
    assert.equal((await openaiWhole(said('trouble'))).choices[0].message.content, 'after trouble');
  },
  'openai: an orphaned tool call is refused': () => refused(() => openaiWhole([question,
    { role: 'assistant', tool_calls: [{ id: 'x', type: 'function', function: { name: 'weather', arguments: '{}' } }] }]), 400, "'tool_calls' must be followed"),
  'openai: models': async () => {
    const models = await openai.models.list();
    assert.equal(models.data[0].id, 'mock');
  },
  'anthropic: whole, with tools': () => claudeConversation(claudeWhole),
  'anthropic: streamed, with tools': () => claudeConversation(claudeStreamed),
  'anthropic: the events of a stream': async () => {
    const types = [];
    for await (const event of await claude.messages.create({ model: 'm', max_tokens: 50, messages: said('hello'), stream: true }))
      types.push(event.type);
    assert.equal(types[0], 'message_start');
    assert.equal(types.at(-1), 'message_stop');
    assert.ok(types.filter((type) => type === 'content_block_delta').length >= 2);
  },
  'anthropic: 529 carries overloaded_error': async () => {
    const error = await refused(() => claudeWhole(said('overload')), 529, 'Overloaded');
    assert.equal(error.error.error.type, 'overloaded_error');
  },
  'anthropic: roles that do not alternate are refused': () => refused(() => claudeWhole([question, question]), 400, 'roles must alternate'),
  'anthropic: models': async () => {
    const models = await claude.models.list();
    assert.equal(models.data[0].id, 'mock');
  },
  'stats count both clients': async () => {
    const stats = await (await fetch(`${base}/stats`)).json();
    assert.ok(stats.by_agent['openai-client'] >= 7);
    assert.ok(stats.by_agent['anthropic-client'] >= 6);
  },
};

let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  try {
    await run();
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}: ${error.stack}`);
  }
}
console.log(`${Object.keys(cases).length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
