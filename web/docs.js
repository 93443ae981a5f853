// The server's own description (OpenAPI) as a page: every request, what it takes, and what comes back.

import { call, words } from "./control.js";
import { withToken } from "./rtc.js";

const METHODS = ["get", "head", "options", "post", "put", "patch", "delete"];

function made(tag, text = "", ...children) {
  const element = document.createElement(tag);
  element.textContent = text;
  element.append(...children);
  return element;
}

// A schema in few words: a type's name, its choices, or what may be in it.
function kind(schema) {
  if (!schema) return "anything";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.join(", ");
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices) return choices.map(kind).join(" or ");
  if (schema.type === "array") return `list of ${kind(schema.items)}`;
  if ("const" in schema) return String(schema.const);
  return schema.format ? `${schema.type} (${schema.format})` : schema.type ?? "anything";
}

function limits({ minimum, maximum, exclusiveMinimum, default: usual, anyOf }) {
  const of = anyOf?.find(({ type }) => type !== "null") ?? {};
  const told = { "≥": minimum ?? of.minimum, ">": exclusiveMinimum ?? of.exclusiveMinimum, "≤": maximum ?? of.maximum };
  return [...Object.entries(told), ["default", usual ?? undefined]]
    .filter(([, value]) => value !== undefined)
    .map(([sign, value]) => `, ${sign} ${JSON.stringify(value)}`)
    .join("");
}

// rows: name, what it takes, what it means.
function table(title, rows) {
  if (!rows.length) return [];
  const cells = rows.map(([name, takes, text]) => made("tr", "", made("th", name), made("td", takes), made("td", text)));
  for (const { firstChild } of cells) firstChild.scope = "row";
  return [made("table", "", made("caption", title), made("tbody", "", ...cells))];
}

const keys = ({ properties = {} }) =>
  Object.entries(properties).map(([name, schema]) => [name, kind(schema) + limits(schema), schema.description ?? ""]);

function request(method, path, operation) {
  const section = made("details", "", made("summary", `${method.toUpperCase()} ${path}`, made("span", operation.summary ?? "")));
  const parameters = (operation.parameters ?? []).map(({ name, in: where, schema, description }) =>
    [name, `${kind(schema)}${limits(schema ?? {})}, in the ${where}`, description ?? ""]);
  const body = Object.entries(operation.requestBody?.content ?? {}).map(([type, { schema }]) => [type, kind(schema), ""]);
  const answers = Object.entries(operation.responses ?? {}).map(([code, { description, content = {} }]) =>
    [code, Object.entries(content).map(([type, { schema }]) => `${type}: ${kind(schema)}`).join("; "), description]);
  section.append(made("p", operation.description ?? ""), ...table("Parameters", parameters), ...table("Body", body),
    ...table("Answers", answers));
  return section;
}

function type(name, schema) {
  const section = made("details", "", made("summary", name));
  section.id = `type-${name}`;
  section.append(made("p", schema.description ?? ""), ...table("", schema.enum ? [[kind(schema), "", ""]] : keys(schema)));
  return section;
}

function show({ paths, components }) {
  const requests = Object.entries(paths).flatMap(([path, item]) =>
    METHODS.filter((method) => method in item).map((method) => request(method, path, item[method])));
  const types = Object.entries(components?.schemas ?? {}).map(([name, schema]) => type(name, schema));
  const token = "With auth.token set, requests need “Authorization: Bearer TOKEN” or “?token=TOKEN”. Errors are JSON: detail "
    + "says what is wrong and what helps, code names the kind.";
  document.getElementById("interface").replaceChildren(
    made("p", token), made("h2", "Requests"), ...requests, made("h2", "Types"), ...types);
}

document.getElementById("raw").href = withToken("/openapi.json");
call("GET", "/openapi.json").then(show).catch((problem) => {
  document.getElementById("interface").replaceChildren(made("p", words(problem)));
});
