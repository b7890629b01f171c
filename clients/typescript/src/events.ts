/** Server-sent events from a body's bytes. */

export interface ServerSentEvent {
  name: string;
  data: string;
}

/** The events of `body`; comments, which are heartbeats, are none. */
export async function* serverSentEvents(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  let name = "message";
  let data: string[] = [];
  for await (const line of lines(body)) {
    if (line === "") {
      if (data.length > 0) yield { name, data: data.join("\n") };
      name = "message";
      data = [];
      continue;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
}

async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const text = decoder.decode(value, { stream: true });
      if (!text.includes("\n")) {
        rest += text;
        continue;
      }
      const whole = (rest + text).split("\n");
      rest = whole.pop() ?? "";
      for (const line of whole) yield line.replace(/\r$/, "");
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
