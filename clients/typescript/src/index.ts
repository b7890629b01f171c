/** Client of CaP server: typed calls of every route, and the events of a streamed refinement. */

import createClient, { type Client } from "openapi-fetch";

import { serverSentEvents } from "./events.js";
import type { components, paths } from "./schema.js";

export type Schemas = components["schemas"];
export type Refinement = Schemas["RefinementOut"];
export type RefineRequest = Omit<Schemas["RefineIn"], "stream">;

/** A CoT was written, or a program, which has not run yet. */
export interface CandidateEvent {
  object: "refinement.candidate";
  id: string;
  candidate: Schemas["CandidateOut"];
}

/** The program of this kind and index has run. */
export interface ExecutionEvent {
  object: "refinement.execution";
  id: string;
  kind: Schemas["CandidateOut"]["kind"];
  index: number;
  answer: string | null;
  execution: Schemas["ExecutionOut"];
}

/** The strategy is one step further. */
export interface StepEvent {
  object: "refinement.step";
  id: string;
  step: Schemas["StepOut"];
}

/** What a stream yields; the refinement is the last. */
export type RefineEvent =
  | CandidateEvent
  | ExecutionEvent
  | StepEvent
  | (Refinement & { object: "refinement" });

export interface Options {
  /** The server's root; `CAP_BASE_URL`, or else port 8000 here, where none is given. */
  baseUrl?: string;
  /** `CAP_API_KEY` where none is given. */
  apiKey?: string;
  /** Sends the requests; the platform's own where none is given. */
  fetch?: (request: Request) => Promise<Response>;
}

/** The server refused or failed. */
export class CapError extends Error {
  override readonly name = "CapError";

  constructor(
    /** Of HTTP; undefined where the error came in a stream that had begun. */
    readonly status: number | undefined,
    /** What the server says of it. */
    readonly fault: Schemas["Fault"],
    /** Seconds after which the server wants to be asked again, where it says. */
    readonly retryAfter?: number,
  ) {
    super(`${status === undefined ? "" : `${status} `}${fault.code}: ${fault.message}`);
  }
}

/** Every route of the server, as `openapi-fetch` types it: `client.POST("/v1/refine", { body })`. */
export function capClient(options: Options = {}): Client<paths> {
  const environment = globalThis.process?.env ?? {};
  const url = options.baseUrl ?? environment["CAP_BASE_URL"] ?? "http://127.0.0.1:8000";
  const key = options.apiKey ?? environment["CAP_API_KEY"];
  return createClient<paths>({
    baseUrl: url.replace(/\/+$/, "").replace(/\/v1$/, ""),
    ...(key ? { headers: { Authorization: `Bearer ${key}` } } : {}),
    ...(options.fetch ? { fetch: options.fetch } : {}),
  });
}

/**
 * Refine an answer.
 *
 * @throws CapError where the server refuses or fails.
 */
export async function refine(
  client: Client<paths>,
  body: RefineRequest,
  init: { signal?: AbortSignal } = {},
): Promise<Refinement> {
  const { data, error, response } = await client.POST("/v1/refine", { ...init, body });
  if (data === undefined) throw capError(response, error);
  return data as Refinement;
}

/**
 * Refine an answer, and see every step as it happens. Leaving the loop ends the work on the server.
 *
 * @throws CapError where the server refuses or fails, before the stream or in it.
 */
export async function* refineStream(
  client: Client<paths>,
  body: RefineRequest,
  init: { signal?: AbortSignal } = {},
): AsyncGenerator<RefineEvent, void, undefined> {
  const { data, error, response } = await client.POST("/v1/refine", {
    ...init,
    body: { ...body, stream: true },
    parseAs: "stream",
  });
  if (!data) throw capError(response, error);
  for await (const event of serverSentEvents(data)) {
    if (event.data === "[DONE]") return;
    if (event.name === "error") throw new CapError(undefined, JSON.parse(event.data).error);
    if (NAMES.has(event.name)) yield JSON.parse(event.data) as RefineEvent;
  }
  throw new Error("The stream ended before the decision.");
}

/** Of the events that this client knows; a newer server's others are passed over. */
const NAMES = new Set(["candidate", "execution", "step", "decision"]);

function capError(response: Response, body: unknown): Error {
  const fault = (body as { error?: Schemas["Fault"] } | undefined)?.error;
  if (typeof fault?.message !== "string") {
    return new Error(`It answered with status ${response.status}, not as a CaP server does.`);
  }
  const after = Number(response.headers.get("Retry-After") ?? NaN);
  return new CapError(response.status, fault, Number.isFinite(after) ? after : undefined);
}
