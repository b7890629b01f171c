// A strategy's parameters as fields of a form, from their JSON Schema.

import { element, prose } from "./dom.js";

// Draws the fields of `strategy` into `place`; returns what reads them: only what differs from the
// defaults, so that a request says no more than its sender chose.
export function parameterFields(strategy, place) {
  const fields = Object.entries(strategy.parameters).map(([name, schema]) => field(name, schema));
  place.replaceChildren(...fields.map((each) => each.row));
  if (!fields.length) place.append(element("p", { class: "hint" }, "This strategy has none."));
  return () => {
    const chosen = fields.map((each) => [each.name, each.read(), each.schema.default]);
    const changed = chosen.filter(([, value, usual]) => value !== usual);
    if (!changed.length) return strategy.name;
    return Object.fromEntries([["name", strategy.name], ...changed.map(([name, value]) => [name, value])]);
  };
}

function field(name, schema) {
  const { kind, nullable } = resolved(schema);
  const id = `parameter-${name}`, hint = `${id}-hint`;
  const [control, read] = controlOf(kind, { id, nullable, usual: schema.default, hint });
  const label = element("label", { for: id }, name.replaceAll("_", " "));
  const told = [schema.description, range(kind)].filter(Boolean).join(" ");
  const about = element("p", { class: "hint", id: hint }, ...prose(told));
  const parts = kind.type === "boolean" ? [element("div", { class: "check" }, control, label)] : [label, control];
  return { name, schema, read, row: element("div", { class: "field" }, ...parts, about) };
}

// `{anyOf: [kind, null]}` is a kind that may be null.
function resolved(schema) {
  if (!schema.anyOf) return { kind: schema, nullable: false };
  const kinds = schema.anyOf.filter((each) => each.type !== "null");
  return { kind: kinds[0], nullable: kinds.length < schema.anyOf.length };
}

function controlOf(kind, { id, nullable, usual, hint }) {
  const common = { id, "aria-describedby": hint };
  if (kind.type === "boolean") {
    const box = element("input", { ...common, type: "checkbox", checked: usual === true });
    return [box, () => box.checked];
  }
  if (kind.enum) {
    const values = nullable ? [null, ...kind.enum] : kind.enum;
    const options = values.map((value, at) =>
      element("option", { value: at, selected: value === usual }, value === null ? "none" : String(value)));
    const select = element("select", common, ...options);
    return [select, () => values[Number(select.value)]];
  }
  if (kind.type === "integer" || kind.type === "number") {
    const input = numberInput(kind, { common, nullable, usual });
    return [input, () => (input.value.trim() === "" ? null : Number(input.value))];
  }
  const input = element("input", { ...common, value: usual, autocomplete: "off" });
  return [input, () => (nullable && input.value === "" ? null : input.value)];
}

function numberInput(kind, { common, nullable, usual }) {
  const input = element("input", {
    ...common,
    type: "number",
    min: kind.minimum ?? kind.exclusiveMinimum,
    max: kind.maximum ?? kind.exclusiveMaximum,
    step: kind.type === "integer" ? 1 : "any",
    required: !nullable,
    value: usual,
  });
  input.addEventListener("input", () => {
    const value = Number(input.value);
    const outside = value <= kind.exclusiveMinimum || value >= kind.exclusiveMaximum;
    input.setCustomValidity(input.value !== "" && outside ? range(kind) : "");
  });
  return input;
}

function range(kind) {
  const from = kind.exclusiveMinimum !== undefined ? `above ${kind.exclusiveMinimum}` : kind.minimum;
  const to = kind.exclusiveMaximum !== undefined ? `below ${kind.exclusiveMaximum}` : kind.maximum;
  if (from === undefined && to === undefined) return "";
  if (from === undefined || to === undefined) return `(${from === undefined ? `up to ${to}` : `from ${from}`})`;
  return `(${from} to ${to})`;
}
