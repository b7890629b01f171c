// Python, coloured: spans around pieces of the text, which stay text.

import { element } from "./dom.js";

const KEYWORDS = new Set(
  `False None True and as assert async await break class continue def del elif else except finally
   for from global if import in is lambda nonlocal not or pass raise return try while with yield`.split(/\s+/),
);
const BUILTINS = new Set(
  `abs all any bool dict divmod enumerate filter float int len list map max min pow print range
   reversed round set sorted str sum tuple zip`.split(/\s+/),
);

// One piece each. An unfinished string ends with its line, or with the text.
const PIECES = new RegExp(
  [
    /(?<comment>#[^\n]*)/,
    /(?<string>(?:\b[bfruBFRU]{1,2})?(?:"{3}[^]*?(?:"{3}|$)|'{3}[^]*?(?:'{3}|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?))/,
    /(?<number>\b(?:0[xX][\da-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|\d[\d_]*(?:\.[\d_]*)?(?:[eE][+-]?\d+)?[jJ]?)|\.\d[\d_]*(?:[eE][+-]?\d+)?)/,
    /(?<name>[\p{L}_][\p{L}\p{N}_]*)/,
    /(?<operator>[-+*\/%=<>!&|^~@:]+)/,
  ].map((piece) => piece.source).join("|"),
  "gu",
);

// Longer than any program worth colouring: so many spans would hold the page up.
const LONGEST = 20_000;

export function highlighted(program) {
  const code = element("code");
  if (program.length > LONGEST) {
    code.append(program);
    return code;
  }
  let at = 0;
  for (const match of program.matchAll(PIECES)) {
    code.append(program.slice(at, match.index), piece(match));
    at = match.index + match[0].length;
  }
  code.append(program.slice(at));
  return code;
}

function piece({ 0: text, groups }) {
  const kind = groups.name === undefined
    ? Object.keys(groups).find((each) => groups[each] !== undefined)
    : KEYWORDS.has(text) ? "keyword" : BUILTINS.has(text) ? "builtin" : null;
  return kind ? element("span", { class: `py-${kind}` }, text) : text;
}
