// The page's behaviour: a form, a request that can be stopped, and what comes of it.

import { Failure, refine, strategies } from "./api.js";
import { Candidates } from "./candidates.js";
import { asCurl, asPython } from "./copy.js";
import { decisionView, spoken } from "./decision.js";
import { byId, element, prose } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { parameterFields } from "./parameters.js";
import { Picture } from "./picture.js";

const KEY = "cap-api-key";
const candidates = new Candidates(), picture = new Picture();
let known = null; // the server's strategies by name, once it told them
let chosen = null; // reads the strategy as the form has it
let running = null; // aborts the request under way

const base = new URL(".", location.href).href.replace(/\/$/, "");

// For eyes and ears; for ears alone where the page shows the same in full.
function say(text, { shown = false } = {}) {
  byId("status").textContent = text;
  byId("status").classList.toggle("heard", shown);
}

async function load() {
  try {
    const listed = await strategies(keyOf());
    known = new Map(listed.data.map((each) => [each.name, each]));
    // What the small model's examples need: the default knows how weak it is, and keeps most answers.
    const first = known.has("majority") ? "majority" : listed.default;
    byId("strategy").replaceChildren(...listed.data.map(({ name }) =>
      element("option", { value: name, selected: name === first }, name === listed.default ? `${name} (default)` : name)));
    showStrategy();
    byId("key-section").hidden = !keyOf();
    byId("error").replaceChildren();
    return true;
  } catch (error) {
    fail(error);
    return false;
  }
}

function showStrategy() {
  const strategy = known.get(byId("strategy").value);
  byId("strategy-hint").replaceChildren(...prose(`${strategy.summary} ${strategy.when}`));
  chosen = parameterFields(strategy, byId("parameters"));
}

function showExample() {
  const example = EXAMPLES[byId("examples").value];
  if (example) [byId("question").value, byId("cot").value] = [example.question, example.cot];
}

// What the form asks for; null, and the reader told, where it cannot be asked.
function request() {
  for (const control of byId("form").elements) {
    control.removeAttribute("aria-invalid");
    if (!control.validity || control.validity.valid) continue;
    byId("more").open ||= byId("more").contains(control);
    control.setAttribute("aria-invalid", "true");
    control.reportValidity();
    return null;
  }
  const asked = { question: byId("question").value };
  if (byId("cot").value.trim()) asked.cot = byId("cot").value;
  if (byId("source").value) asked.source = byId("source").value;
  asked.strategy = chosen();
  if (byId("seed").value) asked.sampling = { seed: Number(byId("seed").value) };
  return asked;
}

async function run() {
  if (running || (!known && !(await load()))) return;
  const asked = request();
  if (!asked) return;
  clear();
  running = new AbortController();
  setRunning(true);
  say("Refining…");
  if (byId("result").getBoundingClientRect().top > innerHeight / 2) byId("result").scrollIntoView();
  try {
    for await (const [name, told] of refine(asked, { key: keyOf(), signal: running.signal })) show(name, told);
  } catch (error) {
    if (error.name === "AbortError") say("Stopped. Nothing more is drawn.");
    else fail(error);
  } finally {
    running = null;
    setRunning(false);
  }
}

function show(name, told) {
  if (name === "candidate") candidates.drawn(told.candidate);
  else if (name === "execution") {
    candidates.ran(told);
    picture.executed(told.answer);
  } else if (name === "step") picture.step(told.step);
  else if (name === "decision") {
    byId("decision").replaceChildren(decisionView(told));
    candidates.choose(told.program);
    say(spoken(told), { shown: true });
  }
}

function fail(error) {
  if (!(error instanceof Failure)) reportError(error);
  const facts = error instanceof Failure
    ? [error.status && `status ${error.status}`, error.code, error.requestId, error.retryAfter && `try again in ${error.retryAfter} s`]
    : ["a fault of this page"];
  say(error.status === 401 ? "This server asks for an API key." : "That did not work.");
  byId("error").replaceChildren(element("p", {}, error.message), element("p", { class: "hint" }, facts.filter(Boolean).join(" · ")));
  if (error.status === 401) {
    keep(null);
    byId("key-section").hidden = false;
    byId("key").focus();
  } else blame(error.param);
}

function blame(param) {
  const [field, inner] = (param ?? "").split(".");
  const control = byId(field === "strategy" && inner ? `parameter-${inner}` : inner ?? field);
  if (!control || control.form !== byId("form")) return;
  byId("more").open ||= byId("more").contains(control);
  control.setAttribute("aria-invalid", "true");
  control.focus();
}

function clear() {
  candidates.clear();
  picture.clear();
  byId("decision").replaceChildren();
  byId("error").replaceChildren();
}

function setRunning(on) {
  // A button that has the focus and is disabled would drop it.
  if (!on && document.activeElement === byId("stop")) byId("run").focus();
  byId("stop").disabled = !on;
  byId("run").setAttribute("aria-disabled", String(on));
  byId("result").setAttribute("aria-busy", String(on));
}

async function copy(what, write) {
  if (!known && !(await load())) return;
  const asked = request();
  if (!asked) return;
  const text = write(asked, { base, withKey: Boolean(keyOf()) });
  byId("copied-text").value = text;
  byId("copied").hidden = false;
  try {
    await navigator.clipboard.writeText(text);
    byId("copied-label").textContent = `Copied as ${what}`;
  } catch {
    byId("copied-label").textContent = `As ${what}, to be copied by hand`; // no permission, or no https
    byId("copied-text").select();
  }
  say(`${byId("copied-label").textContent}.`);
}

function keyOf() {
  return sessionStorage.getItem(KEY);
}

function keep(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

async function useKey() {
  keep(byId("key").value.trim());
  if (!(await load())) return;
  byId("key").value = "";
  say("The key is accepted.");
  byId("question").focus();
}

const stop = () => running?.abort();

byId("examples").append(
  ...EXAMPLES.map(({ title }, at) => element("option", { value: at }, title)),
  element("option", { value: "own" }, "Your own question"),
);
byId("examples").addEventListener("change", showExample);
for (const id of ["question", "cot"]) {
  byId(id).addEventListener("input", () => { byId("examples").value = "own"; });
}
byId("strategy").addEventListener("change", showStrategy);
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
byId("stop").addEventListener("click", stop);
byId("copy-curl").addEventListener("click", () => copy("curl", asCurl));
byId("copy-python").addEventListener("click", () => copy("Python", asPython));
byId("use-key").addEventListener("click", useKey);
byId("key").addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  useKey();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
  else if (event.key === "Escape") stop();
});
showExample();
load();
