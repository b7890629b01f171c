// Votes or probabilities by answer, as they grow: a line for each answer, and bars of where it stands.

import { byId, element, plural, short, svg } from "./dom.js";

const TITLES = { tally: "Answers so far", vote: "Votes", posterior: "Probabilities", score: "Scores" };
const HEIGHT = 150, LEFT = 42, RIGHT = 10, TOP = 10, BOTTOM = 24;
const MOST_BARS = 8, MOST_LINES = 6;

export class Picture {
  #kind; #points; #answers; #tally; #width;

  constructor() {
    new ResizeObserver(() => {
      if (byId("chart").clientWidth !== this.#width) this.#draw();
    }).observe(byId("chart"));
    this.clear();
  }

  clear() {
    [this.#kind, this.#points, this.#answers, this.#tally] = ["tally", [], [], []];
    byId("picture").hidden = true;
    byId("why").textContent = "";
  }

  // A program ran. Until the strategy says what it made of that, answers are counted as they are spelt.
  executed(answer) {
    this.#tally.push(answer);
    if (this.#kind !== "tally") return;
    const counts = new Map();
    for (const each of this.#tally) if (each !== null) counts.set(each, (counts.get(each) ?? 0) + 1);
    this.#add(this.#tally.length, [...counts].map(([answer, weight]) => ({ answer, weight })));
  }

  step({ event, programs, weights, detail }) {
    if (detail && event !== "score") byId("why").textContent = `${plural(programs, "program")} weighed: ${detail}.`;
    if (!(event in TITLES)) return;
    if (event !== this.#kind) [this.#kind, this.#points, this.#answers] = [event, [], []];
    this.#add(programs, weights);
  }

  #add(programs, weights) {
    for (const { answer } of weights) if (!this.#answers.includes(answer)) this.#answers.push(answer);
    this.#points.push({ programs, weights });
    this.#draw();
  }

  #draw() {
    const last = this.#points.at(-1);
    if (!last) return;
    byId("picture").hidden = false;
    byId("picture-title").textContent = TITLES[this.#kind];
    const told = last.weights.slice(0, MOST_BARS).map((each) => `${named(each.answer)}: ${this.#said(each.weight)}`);
    const summary = `${TITLES[this.#kind]} after ${plural(last.programs, "program")}. ${told.join(", ") || "No answer"}.`;
    byId("chart").hidden = this.#kind === "score";
    if (this.#kind !== "score") byId("chart").replaceChildren(this.#lines(last, summary));
    byId("bars").replaceChildren(...this.#bars(last));
  }

  #bars({ weights }) {
    const most = this.#most();
    const rows = weights.slice(0, MOST_BARS).map(({ answer, weight }) => {
      const share = `${100 * Math.min(1, Math.max(0, weight / most))}%`;
      const bar = svg("svg", { "aria-hidden": "true" }, svg("rect", { class: this.#line(answer), width: share, height: "100%", rx: 3 }));
      const sample = svg("svg", { class: "sample", "aria-hidden": "true" }, svg("line", { class: this.#line(answer), x1: 1, x2: 27, y1: 5, y2: 5 }));
      const label = element("span", { class: "answer", title: named(answer).slice(0, 400) }, ...(this.#kind === "score" ? [] : [sample]), short(named(answer), 24));
      return element("li", {}, label, bar, element("span", { class: "value" }, this.#said(weight)));
    });
    const more = weights.length - MOST_BARS;
    return more > 0 ? [...rows, element("li", { class: "hint" }, `and ${more} more`)] : rows;
  }

  #lines(last, summary) {
    this.#width = byId("chart").clientWidth;
    const width = Math.max(200, this.#width), most = this.#most(), until = Math.max(1, last.programs);
    const x = (programs) => LEFT + ((width - LEFT - RIGHT) * programs) / until;
    const y = (weight) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(1, weight / most));
    const picture = svg("svg", { role: "img", "aria-label": summary, viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT });
    for (const weight of [0, most / 2, most]) {
      picture.append(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(weight), y2: y(weight) }));
      if (this.#kind === "posterior" || Number.isInteger(weight)) {
        picture.append(svg("text", { x: LEFT - 6, y: y(weight) + 4, "text-anchor": "end" }, this.#said(weight)));
      }
    }
    const votes = this.#kind !== "posterior";
    const points = votes ? [{ programs: 0, weights: [] }, ...this.#points] : this.#points;
    picture.append(svg("text", { x: x(until), y: HEIGHT - 6, "text-anchor": "end" }, plural(until, "program")));
    for (const answer of [...this.#answers].slice(0, MOST_LINES).reverse()) {
      const at = points.map((each) => [x(each.programs), y(weightOf(each, answer))]);
      const line = this.#line(answer);
      picture.append(svg("polyline", { class: line, points: at.map((each) => each.join(",")).join(" ") }));
      picture.append(svg("circle", { class: line, cx: at.at(-1)[0], cy: at.at(-1)[1], r: 4 }));
    }
    return picture;
  }

  #most() {
    if (this.#kind === "posterior" || this.#kind === "score") return 1;
    return Math.max(2, ...this.#points.at(-1).weights.map((each) => each.weight));
  }

  #line(answer) {
    return answer === null ? "line none" : `line line-${Math.min(this.#answers.indexOf(answer), MOST_LINES)}`;
  }

  #said(weight) {
    if (this.#kind === "posterior") return `${Math.round(100 * weight)} %`;
    return this.#kind === "score" ? weight.toFixed(2) : String(Math.round(100 * weight) / 100);
  }
}

const named = (answer) => answer ?? "none of these";

const weightOf = ({ weights }, answer) => weights.find((each) => each.answer === answer)?.weight ?? 0;
