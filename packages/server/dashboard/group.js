import { h, setText } from "./dom.js";
import { ago, bytes, count, ends, plain, span } from "./format.js";

const VALUE_LENGTH_MAX = 200_000;
const ACTORS_MAX = 100;

export function groupPage(app, id) {
  const path = `/v1/groups/${encodeURIComponent(id)}`;
  const live = h("p", { class: "state", role: "status" });
  const value = h("pre", { class: "json", tabindex: "0", "aria-label": "Value" });
  const facts = h("dl", { class: "facts" });
  const vector = h("div", {});
  const members = h("div", {});
  const element = h(
    "div",
    { class: "page" },
    h("p", { class: "crumbs" }, h("a", { href: "#/" }, "← All groups")),
    h("div", { class: "title" }, h("h1", {}, plain(id)), live),
    h(
      "div",
      { class: "details" },
      h("section", { class: "card", "aria-labelledby": "value" }, h("h2", { id: "value" }, "Value"), value),
      h(
        "div",
        { class: "side" },
        h("section", { class: "card", "aria-labelledby": "facts" }, h("h2", { id: "facts" }, "State"), facts),
        h(
          "section",
          { class: "card", "aria-labelledby": "vector" },
          h("h2", { id: "vector" }, "Version vector"),
          vector,
        ),
        h("section", { class: "card", "aria-labelledby": "members" }, h("h2", { id: "members" }, "Members"), members),
      ),
    ),
  );
  const setLive = (kind, text) => {
    live.dataset.kind = kind;
    setText(live, text);
  };
  let changes = 0;
  const stream = new EventSource(`${path}/watch`);
  stream.addEventListener("value", ({ data }) => {
    const known = JSON.parse(data).value;
    setText(value, pretty(known));
    value.classList.toggle("figure", typeof known === "number" || typeof known === "boolean");
    setLive("good", changes === 0 ? "Live" : `Live · ${count(changes)} ${changes === 1 ? "change" : "changes"}`);
    changes++;
    void loadSoon();
  });
  stream.addEventListener("deleted", () => {
    stream.close();
    setLive("warn", "Deleted");
  });
  stream.addEventListener("error", ({ data }) => {
    if (data === undefined) setLive("lost", "Not live");
    else {
      stream.close();
      setLive("bad", JSON.parse(data).detail);
    }
  });

  /** A group may change many times a second: its facts are asked for once at a time, and once more afterwards. */
  let loading = false;
  let again = false;
  async function loadSoon() {
    again = loading;
    if (loading) return;
    loading = true;
    await load();
    loading = false;
    if (again) void loadSoon();
  }

  async function load() {
    try {
      const details = await app.get(`/v1/dashboard/groups/${encodeURIComponent(id)}`);
      showFacts(facts, details);
      vector.replaceChildren(vectorTable(details.vector));
      members.replaceChildren(memberList(details.members, app.overview?.peerId));
    } catch (error) {
      setLive("bad", error.message);
    }
  }

  void loadSoon();
  return {
    element,
    update: () => void loadSoon(),
    close: () => stream.close(),
  };
}

function pretty(value) {
  const text = JSON.stringify(value, undefined, 2) ?? "nothing";
  return text.length <= VALUE_LENGTH_MAX ? text : `${text.slice(0, VALUE_LENGTH_MAX)}\n… and more`;
}

function showFacts(list, { group, lagEvents, lagMs, stuck, paused, bytesIn, bytesOut, comparedAt }) {
  const troubles = [group.degraded && "degraded", stuck && "stuck", paused && "paused at a limit"].filter(Boolean);
  const rows = [
    ["Type", group.type],
    ["Phase", [group.phase, ...troubles].join(", ")],
    ["Domain", group.domain === "" ? "default" : group.domain],
    ["Epoch", String(group.epoch)],
    ["Events", count(group.events)],
    ["Snapshot", group.snapshotAt === null ? "none yet" : `${bytes(group.snapshotBytes)}, ${ago(group.snapshotAt)}`],
    ["Journal", bytes(group.journalBytes)],
    ["Waiting", bytes(group.pendingBytes)],
    ["Behind peers", lagEvents === 0 ? "no" : `${count(lagEvents)} events, ${span(lagMs / 1000)}`],
    ["Same as a peer", ago(comparedAt)],
    ["Traffic", `${bytes(bytesIn)} in, ${bytes(bytesOut)} out`],
    ["Digest", h("code", {}, group.digest)],
  ];
  list.replaceChildren(...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function vectorTable(vector) {
  if (vector.length === 0) return h("p", { class: "empty" }, "No events yet.");
  const top = vector[0].events;
  const rows = vector.slice(0, ACTORS_MAX).map(({ actor, events }) => {
    const bar = h("meter", { min: 0, max: Math.max(1, top), value: events, "aria-hidden": "true" });
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, h("code", { title: actor }, ends(actor, 10, 8))),
      h("td", { class: "bar-cell" }, bar),
      h("td", { class: "number" }, count(events)),
    );
  });
  const more =
    vector.length > ACTORS_MAX ? h("p", { class: "note" }, `and ${count(vector.length - ACTORS_MAX)} more`) : null;
  return h("div", {}, h("table", { class: "plain" }, h("tbody", {}, ...rows)), more);
}

function memberList(members, self) {
  const item = (peer) =>
    h(
      "li",
      {},
      h("code", { title: peer }, ends(peer)),
      peer === self ? h("span", { class: "note" }, " this node") : null,
    );
  return h("ul", { class: "members" }, ...members.map(item));
}
