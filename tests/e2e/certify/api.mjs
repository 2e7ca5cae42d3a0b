// OpenAI's npm client against the gateway: api.mjs BASE_URL KEY prints what it read as JSON.
import OpenAI from 'openai';

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const request = { model: 'reception', messages: [{ role: 'user', content: 'hello' }] };

const whole = (await client.chat.completions.create(request)).choices[0].message.content;

let streamed = '';
let usage = 0;
const stream = await client.chat.completions.create({
  ...request,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta?.content ?? '';
  usage = chunk.usage?.total_tokens ?? usage;
}

const models = [];
for await (const model of client.models.list()) models.push(model.id);

const stranger = new OpenAI({ baseURL, apiKey: 'wrong', maxRetries: 0 });
const refused = await stranger.chat.completions.create(request).then(
  () => 200,
  (error) => error.status,
);
console.log(JSON.stringify({ whole, streamed, usage, models, refused }));
