import { Ajv2020 } from "ajv/dist/2020.js";
import type { Answer } from "./gateway.test-support.ts";

interface Response {
  readonly content?: { readonly [type: string]: { readonly schema: object } };
}

interface Operation {
  readonly responses: { readonly [status: string]: Response };
}

interface Document {
  readonly components: { readonly schemas: { readonly Problem: object } };
  readonly paths: { readonly [path: string]: { readonly [method: string]: Operation } };
}

/** A check that throws for an answer that differs from what an OpenAPI document says of its request. */
export function contractOf(body: unknown): (method: string, path: string, answer: Answer) => void {
  const document = body as Document;
  const ajv = new Ajv2020({ strict: false });
  const routes = Object.entries(document.paths).map(([path, methods]) => {
    return {
      methods,
      pattern: new RegExp(`^${path.replaceAll(/\{\w+\}/g, "[^/]+").replaceAll(".", String.raw`\.`)}$`),
    };
  });
  return (method, path, answer) => {
    const [pathname = ""] = path.split("?", 1);
    const operation = routes.find(({ pattern }) => pattern.test(pathname))?.methods[method.toLowerCase()];
    if (answer.status >= 400) {
      check(ajv, document.components.schemas.Problem, answer.body, `${method} ${path} ${answer.status}`);
      return;
    }
    // An answered preflight is no operation.
    if (method === "OPTIONS") return;
    const response = operation?.responses[String(answer.status)];
    if (response === undefined) throw new Error(`the document does not know ${method} ${path} ${answer.status}`);
    const type = String(answer.headers["content-type"] ?? "").split(";", 1)[0] ?? "";
    const schema = response.content?.[type]?.schema;
    if (schema !== undefined) check(ajv, schema, answer.body, `${method} ${path}`);
    else if (answer.body !== undefined)
      throw new Error(`${method} ${path} answered ${type}, which the document does not know`);
  };
}

function check(ajv: Ajv2020, schema: object, body: unknown, request: string): void {
  if (!ajv.validate(schema, body)) throw new Error(`${request} answered ${JSON.stringify(body)}: ${ajv.errorsText()}`);
}
