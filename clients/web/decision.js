// The refinement as a whole: what was decided, the program that proves it, and what it cost.

import { scrolling } from "./candidates.js";
import { element, plural, short } from "./dom.js";
import { highlighted } from "./highlight.js";

const MEANINGS = {
  corrected: "Programs agree on another answer.",
  confirmed: "Programs agree with the answer.",
  kept: "The evidence is too weak to overrule the answer.",
  answered: "There was no answer before.",
  unresolved: "No program came to an answer; the one there was is returned untouched.",
};

const percent = (share) => `${Math.round(100 * share)} %`;

const seconds = (s) => (s < 0.0995 ? `${Math.max(1, Math.round(1000 * s))} ms` : `${s.toFixed(s < 9.95 ? 1 : 0)} s`);

// One sentence, for those who listen.
export function spoken({ decision, answer, original_answer: original, confidence }) {
  const instead = decision === "corrected" ? ` instead of ${short(original ?? "none")}` : "";
  return `${capital(decision)}: ${short(answer ?? "no answer")}${instead}, confidence ${percent(confidence)}.`;
}

export function decisionView(refinement) {
  const { decision, answer, original_answer: original, confidence, stopped_by: stoppedBy } = refinement;
  const changed = decision === "corrected" && original !== null;
  const view = element("article", { class: `decision ${decision in MEANINGS ? decision : ""}` },
    element("p", { class: "verdict" }, element("span", { class: "badge" }, decision),
      element("span", { class: "confidence" }, `confidence ${percent(confidence)}`)),
    element("p", { class: "answers" },
      ...(changed ? [element("del", {}, short(original, 80)), " → "] : []),
      element("strong", { id: "answer" }, answer ?? "no answer")),
    element("p", {}, MEANINGS[decision] ?? ""));
  if (stoppedBy) view.append(element("p", { class: "notice" }, `Ended early, by its limit on ${stoppedBy.replaceAll("_", " ")}.`));
  if (refinement.warnings.length) {
    view.append(element("ul", { class: "notice" }, ...refinement.warnings.map((each) => element("li", {}, each))));
  }
  view.append(...programView(refinement), element("h3", {}, "What it cost"), costs(refinement.usage, refinement.model));
  return view;
}

function programView({ program, execution }) {
  if (program === null) return [element("p", { class: "hint" }, "No program backs this answer.")];
  const parts = [element("h3", {}, "The program"), scrolling(highlighted(program), "The program")];
  if (!execution) return parts;
  const came = execution.value ? `${execution.value.text}  (${execution.value.type})` : execution.status;
  parts.push(element("p", { class: "came-to" }, "It comes to ", element("code", {}, came), ` in ${seconds(execution.wall_s)}.`));
  for (const [name, text] of [["It prints", execution.stdout], ["It complains", execution.stderr]]) {
    if (text) parts.push(element("p", { class: "hint" }, name), scrolling(element("code", {}, text), name));
  }
  return parts;
}

function costs(usage, model) {
  const drawn = [usage.programs && plural(usage.programs, "program"), usage.cots && plural(usage.cots, "CoT")];
  const ended = ["finished", "failed", "cancelled"].filter((each) => usage[each]).map((each) => `${usage[each]} ${each}`);
  const rows = [
    ["Draws", `${drawn.filter(Boolean).join(", ") || "none"}${ended.length ? ` (${ended.join(", ")})` : ""}`],
    ["Tokens", `${usage.prompt_tokens} read, ${usage.completion_tokens} written`],
    ["Executions", `${usage.executions}, ${seconds(usage.sandbox_s)}`],
    ["Time", `${seconds(usage.wall_s)}; the model worked ${seconds(usage.model_s)}`],
    ["Model", model],
  ];
  return element("dl", {}, ...rows.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1);
