// The npm clients against our Model: models.mjs URL KEY prints what each of them read.
import OpenAI from 'openai';
import Anthropic from '@anthropic-ai/sdk';

const [url, apiKey] = process.argv.slice(2);
const messages = [
  { role: 'user', content: 'my word is heron' },
  { role: 'assistant', content: 'noted' },
  { role: 'user', content: 'what do you remember?' },
];

const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
let said = '';
for await (const chunk of await openai.chat.completions.create({ model: 'echo', messages, stream: true })) {
  said += chunk.choices[0]?.delta?.content ?? '';
}
console.log(said);

const anthropic = new Anthropic({ baseURL: url, apiKey, maxRetries: 0 });
console.log(await anthropic.messages.stream({ model: 'echo', messages, max_tokens: 999 }).finalText());

for await (const model of openai.models.list()) console.log(model.id);
