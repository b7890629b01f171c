// The request as a command or a program for others to run.

// For a POSIX shell. JSON holds no raw line breaks, and what a quote cannot hold is put outside it.
export function asCurl(request, { base, withKey }) {
  const key = withKey ? ` -H "Authorization: Bearer $CAP_API_KEY"` : "";
  const body = JSON.stringify(request, null, 1).replaceAll("'", `'"'"'`);
  return `curl -s ${base}/v1/refine${key} -H 'Content-Type: application/json' -d '${body}'`;
}

export function asPython(request, { base }) {
  const { question, ...options } = request;
  const lines = Object.entries(options).map(([name, value]) => `        ${name}=${literal(value)},`);
  return [
    "from cap_client import Client",
    "",
    `with Client(base_url=${literal(base)}) as cap:  # a key is read from CAP_API_KEY`,
    "    refinement = cap.refine(",
    `        ${literal(question)},`,
    ...lines,
    "    )",
    "print(refinement.decision, refinement.answer)",
    "print(refinement.program)",
    "",
  ].join("\n");
}

// JSON's strings and numbers are Python's too.
function literal(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") {
    return `{${Object.entries(value).map(([name, each]) => `${literal(name)}: ${literal(each)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
}
