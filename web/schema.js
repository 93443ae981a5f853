// What the server takes, as its own description (OpenAPI) has it: limits, choices and defaults stand there alone.

import { call } from "./control.js";

const STEP = "x-step";

// The keys of a stream's puppet, and those of a command: name -> JSON schema.
export async function loadSchema() {
  const schemas = (await call("GET", "/openapi.json")).components?.schemas;
  if (!schemas?.Puppet || !schemas.Change) throw new Error("/openapi.json does not describe them");
  const keys = ({ properties }) =>
    Object.fromEntries(Object.entries(properties).map(([key, schema]) => [key, plain(schema, schemas)]));
  return { puppet: keys(schemas.Puppet), change: keys(schemas.Change) };
}

// A key's schema without what wraps it: one that may be null is "anyOf" with null, a list of choices stands by itself.
function plain(schema, schemas) {
  const whole = { ...schema.anyOf?.find(({ type }) => type !== "null"), ...schema };
  return { ...schemas[whole.$ref?.split("/").pop()], ...whole };
}

// The attributes of a slider or a number box. The least value above an excluded one is a step away from it.
export function limits(schema) {
  const step = schema[STEP] ?? (schema.type === "integer" ? 1 : "any");
  return { min: schema.minimum ?? schema.exclusiveMinimum + step, max: schema.maximum, step };
}
