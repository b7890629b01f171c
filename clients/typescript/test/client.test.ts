/** Against the live server at CAP_BASE_URL, whose programs come to 18. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { CapError, capClient, refine, refineStream, type RefineEvent } from "../src/index.js";
import { serverSentEvents } from "../src/events.js";

const client = capClient();
const body = { question: "What is 6 times 3?", cot: "The answer is 26." };

test("a refinement is typed", async () => {
  const refinement = await refine(client, { ...body, strategy: { name: "majority", programs: 2 } });
  assert.equal(refinement.decision, "corrected");
  assert.equal(refinement.answer, "18");
  assert.equal(refinement.execution?.value?.text, "18");
  assert.equal(refinement.usage.programs, 2);
});

test("every other route is typed too", async () => {
  const { data } = await client.GET("/v1/strategies");
  assert.ok(data?.data.some((each) => each.name === data.default));
  const ran = await client.POST("/v1/execute", { body: { program: "answer=18" } });
  assert.equal(ran.data?.status, "ok");
});

test("a refusal says why", async () => {
  await assert.rejects(refine(client, { ...body, strategy: "wisdom" as "single" }), (error) => {
    assert.ok(error instanceof CapError);
    assert.equal(error.status, 422);
    assert.equal(error.fault.param, "strategy");
    assert.match(error.message, /must be one of adaptive/);
    return true;
  });
});

test("events come as they happen, and the refinement last", async () => {
  const events: RefineEvent[] = [];
  const asked = { ...body, strategy: "single" as const };
  for await (const event of refineStream(client, asked)) events.push(event);
  const [drawn, ran] = events;
  assert.ok(drawn?.object === "refinement.candidate" && drawn.candidate.text === "answer=18");
  assert.ok(ran?.object === "refinement.execution" && ran.execution.status === "ok");
  const last = events.at(-1);
  assert.ok(last?.object === "refinement" && last.decision === "corrected");
});

test("a stream that is refused says why", async () => {
  const stream = refineStream(client, { question: "" });
  await assert.rejects(stream.next(), CapError);
});

test("a stream can be left, and broken off", async () => {
  for await (const event of refineStream(client, body)) {
    assert.equal(event.object, "refinement.candidate");
    break;
  }
  const gone = AbortSignal.abort();
  await assert.rejects(refineStream(client, body, { signal: gone }).next(), { name: "AbortError" });
});

test("a stream that ends early or fails is told", async () => {
  const cut = 'event: step\ndata: {"object": "refinement.step"}\n\n';
  const fault = { message: "down", type: "upstream_error", param: null, code: "model_unavailable" };
  const failed = `event: error\ndata: ${JSON.stringify({ error: fault })}\n\ndata: [DONE]\n\n`;
  for (const [text, expected] of [[cut, /before the decision/], [failed, /model_unavailable/]] as const) {
    const answering = capClient({ fetch: async () => new Response(text) });
    await assert.rejects(async () => {
      for await (const _ of refineStream(answering, body));
    }, expected);
  }
});

test("events do not depend on how their bytes came", async () => {
  const bytes = new TextEncoder().encode(": heartbeat\r\n\r\nevent: ä\r\ndata: 1\r\ndata:  二\r\n\r\ndata\n\n");
  for (let size = 1; size <= bytes.length; size++) {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
        controller.close();
      },
    });
    const events = [];
    for await (const event of serverSentEvents(body)) events.push(event);
    assert.deepEqual(events, [{ name: "ä", data: "1\n 二" }, { name: "message", data: "" }]);
  }
});
