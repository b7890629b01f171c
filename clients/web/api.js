// The server's HTTP API: what it answers, what it streams, and how it fails.

// A failure that can be told: the server's own words where it gave any.
export class Failure extends Error {
  constructor(message, { status = null, code = null, param = null, retryAfter = null, requestId = null } = {}) {
    super(message);
    Object.assign(this, { status, code, param, retryAfter, requestId });
  }
}

export async function strategies(key) {
  return (await answered("v1/strategies", { headers: withKey(key) })).json();
}

// Sends a refinement and yields its events, [name, data], until the server says that it is done.
export async function* refine(request, { key, signal }) {
  const response = await answered("v1/refine", {
    method: "POST",
    headers: { ...withKey(key), "Content-Type": "application/json" },
    body: JSON.stringify({ ...request, stream: true }),
    signal,
  });
  const requestId = response.headers.get("X-Request-Id");
  for await (const { name, data } of events(response.body)) {
    if (data === "[DONE]") return;
    const told = JSON.parse(data);
    if (name === "error") throw new Failure(told.error.message, { ...told.error, requestId });
    yield [name, told];
  }
  throw new Failure("The connection broke off before there was a decision.", { requestId });
}

function withKey(key) {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function answered(path, options) {
  let response;
  try {
    response = await fetch(path, { ...options, cache: "no-store", credentials: "omit", redirect: "error" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The server cannot be reached.");
  }
  if (response.ok) return response;
  const failure = {
    status: response.status,
    retryAfter: response.headers.get("Retry-After"),
    requestId: response.headers.get("X-Request-Id"),
  };
  let told;
  try {
    told = (await response.json()).error;
  } catch {
    told = null; // not the server's own answer: a proxy's, for one
  }
  throw new Failure(told?.message ?? `The server answered with status ${response.status}.`, {
    code: told?.code ?? null,
    param: told?.param ?? null,
    ...failure,
  });
}

// Server-sent events, as WHATWG HTML section 9.2 has them; comments are heartbeats.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", name = "message", data = [];
  try {
    for (;;) {
      const { value, done } = await read(reader);
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) data.push(line.slice(6));
        else if (line === "" && data.length) {
          yield { name, data: data.join("\n") };
          [name, data] = ["message", []];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // already ended, or aborted
  }
}

async function read(reader) {
  try {
    return await reader.read();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The connection broke off before there was a decision.");
  }
}
