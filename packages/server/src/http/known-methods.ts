import type { FastifyInstance } from "fastify";

/** Tells of a path that is a route with which methods it can be asked for; of routes declared from now on. */
export function knownMethods(app: FastifyInstance): (path: string) => readonly string[] {
  const methods = new Map<string, Set<string>>();
  app.addHook("onRoute", ({ method, url }) => {
    const known = methods.get(url) ?? new Set();
    methods.set(url, known);
    for (const name of [method].flat()) known.add(name);
  });
  return (path) => {
    const steps = path.split("/");
    const fits = (url: string): boolean => {
      const pattern = url.split("/");
      return (
        pattern.length === steps.length &&
        pattern.every((step, index) => step === steps[index] || (step.startsWith(":") && steps[index] !== ""))
      );
    };
    return [...methods].flatMap(([url, known]) => (fits(url) ? [...known] : []));
  };
}
