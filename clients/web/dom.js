// Elements from what they hold. Text from anywhere becomes text nodes: nothing here reads markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

// At most `most` characters, in one line, whole emoji kept.
export function short(text, most = 40) {
  const line = [...text.slice(0, 4 * most).replace(/\s+/g, " ")];
  return line.length <= most && text.length <= 4 * most ? line.join("") : `${line.slice(0, most - 1).join("")}…`;
}

// Prose with `names` in it.
export function prose(text) {
  return text.split("`").map((piece, at) => (at % 2 ? element("code", {}, piece) : piece));
}

export const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
