// What the models wrote and what became of it, as it comes.

import { byId, element, plural, short } from "./dom.js";
import { highlighted } from "./highlight.js";

const KINDS = { program: "Program", cot: "CoT" };

export class Candidates {
  #cards; #ran;

  constructor() {
    this.clear();
  }

  clear() {
    [this.#cards, this.#ran] = [new Map(), 0];
    byId("candidates").replaceChildren();
    byId("drawn").hidden = true;
  }

  drawn({ kind, index, text, answer }) {
    const outcome = element("span", { class: "outcome" }, kind === "program" ? "…" : outcomeOf(answer, null));
    const head = element("p", { class: "head" }, element("span", {}, `${KINDS[kind]} ${index + 1}`), outcome);
    const shown = kind === "program" ? highlighted(text) : element("code", {}, text);
    const card = element("li", {}, head, text ? scrolling(shown, `${KINDS[kind]} ${index + 1}`) : element("p", { class: "hint" }, "The model wrote none."));
    this.#cards.set(`${kind} ${index}`, { card, outcome, text, kind, index });
    byId("candidates").append(card);
    byId("drawn").hidden = false;
    this.#count();
  }

  ran({ kind, index, answer, execution }) {
    const drawn = this.#cards.get(`${kind} ${index}`);
    if (!drawn) return;
    this.#ran += 1;
    drawn.outcome.replaceChildren(outcomeOf(answer, execution));
    drawn.card.classList.add(answer === null ? "failed" : "answered");
    if (execution.stderr) drawn.card.append(element("p", { class: "hint fault", title: execution.stderr.slice(0, 2000) }, short(execution.stderr, 160)));
    this.#count();
  }

  // The program that backs the decision.
  choose(program) {
    const backing = [...this.#cards.values()].filter(({ kind, text }) => kind === "program" && text === program);
    const [first] = backing.sort((one, other) => one.index - other.index);
    first?.card.classList.add("chosen");
    first?.card.querySelector(".head").append(element("span", { class: "badge" }, "chosen"));
  }

  #count() {
    byId("progress").textContent = `${plural(this.#cards.size, "text")} written, ${plural(this.#ran, "program")} run`;
  }
}

// Wide or long text scrolls in itself, for the keyboard too.
export function scrolling(code, label) {
  return element("pre", { tabindex: "0", role: "region", "aria-label": label }, code);
}

function outcomeOf(answer, execution) {
  if (answer !== null) return `→ ${short(answer, 24)}`;
  return execution && execution.status !== "ok" ? execution.status : "no answer";
}
