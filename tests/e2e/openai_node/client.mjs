// Asks a server whose root is the first argument, and prints what came back as JSON.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "none", maxRetries: 0 });
const messages = JSON.parse(process.argv[3]);
const model = "cap:majority";

const completion = await client.chat.completions.create({ model, messages, seed: 1 });

let streamed = "";
let reasoning = "";
const stream = await client.chat.completions.create({ model, messages, seed: 1, stream: true });
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  reasoning += chunk.choices[0]?.delta?.reasoning_content ?? "";
}

const response = await client.responses.create({ model, input: messages });

let refused = null;
try {
  await client.chat.completions.create({ model: "cap:magic", messages });
} catch (error) {
  refused = { status: error.status, code: error.code, param: error.param };
}

console.log(
  JSON.stringify({
    content: completion.choices[0].message.content,
    decision: completion.choices[0].cap.decision,
    streamed,
    reasoning,
    output: response.output_text,
    refused,
  }),
);
