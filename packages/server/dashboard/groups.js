import { h, setText } from "./dom.js";
import { ago, bytes, count, plain } from "./format.js";

const LIMIT = 25;
const REFRESH_MS = 5000;
const TYPING_MS = 200;
const COLUMNS = [
  { sort: "id", name: "Group" },
  { sort: "type", name: "Type", isRoomy: true },
  { sort: "events", name: "Events", isNumber: true },
  { sort: "stored", name: "Stored", isNumber: true, isRoomy: true },
  { sort: "snapshot", name: "Snapshot", isNumber: true, isRoomy: true },
  { sort: "lag", name: "Behind", isNumber: true },
];

/** How a column is set; a narrow screen has no room for some. */
function styleOf({ isNumber, isRoomy }) {
  return [isNumber ? "number" : "", isRoomy ? "roomy" : ""].join(" ").trim();
}

/** What is searched, sorted and shown lives as long as the page, so that coming back finds it as it was. */
const view = { search: "", sort: "id", order: "asc", offset: 0 };

export function groupsCard(app) {
  const body = h("tbody", {});
  const summary = h("p", { class: "summary", "aria-live": "polite" });
  const previous = h("button", { type: "button", class: "quiet", onclick: () => turn(-LIMIT) }, "← Previous");
  const next = h("button", { type: "button", class: "quiet", onclick: () => turn(LIMIT) }, "Next →");
  const heads = COLUMNS.map((column) => {
    const button = h("button", { type: "button", class: "sort", onclick: () => sortBy(column) }, column.name);
    return h("th", { scope: "col", class: styleOf(column) }, button);
  });
  let typing;
  const search = h("input", {
    type: "search",
    id: "search",
    value: view.search,
    placeholder: "Search ids and types",
    "aria-label": "Search groups",
    oninput() {
      clearTimeout(typing);
      typing = setTimeout(() => {
        view.search = search.value;
        view.offset = 0;
        void load();
      }, TYPING_MS);
    },
  });
  const element = h(
    "section",
    { class: "card groups", "aria-labelledby": "groups" },
    h("div", { class: "bar" }, h("h2", { id: "groups" }, "Groups"), search),
    h(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Groups" },
      h("table", {}, h("thead", {}, h("tr", {}, ...heads)), body),
    ),
    h("div", { class: "bar" }, summary, h("div", { class: "pager" }, previous, next)),
  );
  let loadedAt = 0;
  let latest = 0;

  async function load() {
    loadedAt = performance.now();
    const number = ++latest;
    const query = new URLSearchParams({ ...view, limit: LIMIT });
    try {
      const page = await app.get(`/v1/dashboard/groups?${query}`);
      // An answer that was overtaken says nothing any more.
      if (number === latest) show(page);
    } catch (error) {
      if (number === latest) setText(summary, `The groups could not be read: ${error.message}`);
    }
  }

  function show({ total, groups }) {
    if (groups.length === 0 && view.offset > 0) {
      // So many are gone that this page is.
      view.offset = 0;
      void load();
      return;
    }
    COLUMNS.forEach(({ sort }, index) => {
      const direction = view.order === "asc" ? "ascending" : "descending";
      heads[index].setAttribute("aria-sort", sort === view.sort ? direction : "none");
    });
    replaceRows(body, groups);
    const last = view.offset + groups.length;
    const none = view.search === "" ? "There are no groups yet." : "Nothing matches.";
    setText(summary, total === 0 ? none : `${count(view.offset + 1)}–${count(last)} of ${count(total)}`);
    previous.disabled = view.offset === 0;
    next.disabled = last >= total;
  }

  function turn(by) {
    view.offset = Math.max(0, view.offset + by);
    void load();
  }

  function sortBy({ sort, isNumber }) {
    // Figures are mostly looked at from the largest.
    if (view.sort === sort) view.order = view.order === "asc" ? "desc" : "asc";
    else Object.assign(view, { sort, order: isNumber === true ? "desc" : "asc" });
    view.offset = 0;
    void load();
  }

  void load();
  return {
    element,
    update() {
      if (performance.now() - loadedAt > REFRESH_MS && !document.hidden) void load();
    },
    close: () => clearTimeout(typing),
  };
}

/** Keeps the focus where it was when the same group is shown again. */
function replaceRows(body, groups) {
  const focused = body.contains(document.activeElement) ? document.activeElement.getAttribute("href") : undefined;
  body.replaceChildren(...groups.map(row));
  if (focused !== undefined) body.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

function row(group) {
  const { id, type, events, snapshotBytes, journalBytes, snapshotAt, lagEvents } = group;
  const marks = [
    group.degraded ? h("span", { class: "mark bad" }, "degraded") : undefined,
    group.stuck ? h("span", { class: "mark warn" }, "stuck") : undefined,
    group.phase === "failed" ? h("span", { class: "mark bad" }, "failed") : undefined,
  ];
  return h(
    "tr",
    {},
    h(
      "th",
      { scope: "row" },
      h("a", { href: `#/group/${encodeURIComponent(id)}`, title: plain(id) }, plain(id)),
      ...marks,
    ),
    h("td", { class: "roomy" }, type),
    h("td", { class: "number" }, count(events)),
    h("td", { class: "number roomy" }, bytes(snapshotBytes + journalBytes)),
    h("td", { class: "number roomy", title: snapshotAt ?? "" }, ago(snapshotAt)),
    h("td", { class: "number" }, lagEvents === 0 ? "–" : count(lagEvents)),
  );
}
