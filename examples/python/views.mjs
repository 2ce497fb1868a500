// A view: a function of the node's own process that Python, or any language, calls by its name.
export const views = [
  {
    name: "domain_sizes",
    description: "How many events the groups of some domains hold",
    kind: "batch",
    handler: (domains, { node }) =>
      domains.map((domain) => [...node.groups({ prefix: [domain] })].reduce((sum, { events }) => sum + events, 0)),
  },
];
