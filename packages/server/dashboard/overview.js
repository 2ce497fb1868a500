import { h, setText, svg } from "./dom.js";
import { ago, bytes, count, ends, rate } from "./format.js";
import { groupsCard } from "./groups.js";

export function overviewPage(app) {
  const tiles = new Tiles();
  const peers = h("div", {});
  const notices = h("div", {});
  const groups = groupsCard(app);
  const element = h(
    "div",
    { class: "page" },
    h("h1", { class: "visually-hidden" }, "Overview"),
    tiles.element,
    h(
      "div",
      { class: "columns" },
      h("section", { class: "card", "aria-labelledby": "peers" }, h("h2", { id: "peers" }, "Peers"), peers),
      h("section", { class: "card", "aria-labelledby": "notices" }, h("h2", { id: "notices" }, "Notices"), notices),
    ),
    groups.element,
  );
  return {
    element,
    update(overview) {
      tiles.update(overview);
      peers.replaceChildren(peerTable(overview));
      notices.replaceChildren(noticeList(overview));
      groups.update();
    },
    close: () => groups.close(),
  };
}

class Tiles {
  #values = new Map();
  #notes = new Map();
  #chart = svg("svg", { class: "spark", viewBox: "0 0 120 32", preserveAspectRatio: "none", "aria-hidden": "true" });

  constructor() {
    const tile = (name) => {
      const value = h("p", { class: "value" }, "–");
      const note = h("p", { class: "note" });
      this.#values.set(name, value);
      this.#notes.set(name, note);
      return h("div", { class: "tile" }, h("h2", {}, name), value, note);
    };
    const events = tile("Events a second");
    events.append(this.#chart);
    this.element = h(
      "section",
      { class: "tiles", "aria-label": "At a glance" },
      events,
      ...["Groups", "Events", "Stored", "Behind peers", "Peers"].map(tile),
    );
  }

  update(overview) {
    const { groups, active, degraded, stuck, events, snapshotBytes, journalBytes, pendingBytes } = overview;
    const { lagEvents, peers, watchers, rates } = overview;
    const troubles = [degraded > 0 ? `${count(degraded)} degraded` : "", stuck > 0 ? `${count(stuck)} stuck` : ""];
    this.#set("Events a second", rate(rates.at(-1) ?? 0), `peak ${rate(Math.max(0, ...rates))}`);
    const inGroups = troubles.filter(Boolean).join(", ") || `${count(active)} in memory`;
    this.#set("Groups", count(groups), inGroups, degraded + stuck > 0);
    this.#set("Events", count(events), "known, of all actors");
    this.#set("Stored", bytes(snapshotBytes + journalBytes), `${bytes(journalBytes)} of it journal`);
    const waiting = pendingBytes === 0 ? "nothing waits" : `${bytes(pendingBytes)} wait for others`;
    this.#set("Behind peers", count(lagEvents), lagEvents === 0 ? waiting : `events; ${waiting}`, lagEvents > 0);
    this.#set("Peers", count(peers.length), `${count(watchers)} watching here`);
    this.#draw(rates);
  }

  #set(name, value, note, isWarning = false) {
    setText(this.#values.get(name), value);
    setText(this.#notes.get(name), note);
    this.#notes.get(name).classList.toggle("warning", isWarning);
  }

  #draw(rates) {
    const base = svg("line", { class: "base", x1: 0, x2: 120, y1: 31.5, y2: 31.5 });
    const shown = rates.slice(-60);
    if (shown.length < 2) {
      this.#chart.replaceChildren(base);
      return;
    }
    const top = Math.max(1, ...shown);
    // A short history does not fill the width.
    const step = 120 / Math.max(20, shown.length - 1);
    const points = shown.map((value, index) => {
      const x = 120 - (shown.length - 1 - index) * step;
      return `${x.toFixed(1)},${(30 - (value / top) * 27).toFixed(1)}`;
    });
    const first = points[0].split(",")[0];
    this.#chart.replaceChildren(
      base,
      svg("polygon", { class: "area", points: `${first},32 ${points.join(" ")} 120,32` }),
      svg("polyline", { class: "line", points: points.join(" "), "vector-effect": "non-scaling-stroke" }),
    );
  }
}

const PEER_COLUMNS = [
  { name: "Peer" },
  { name: "Events", class: "number" },
  { name: "In", class: "number roomy" },
  { name: "Out", class: "number roomy" },
  { name: "Queued", class: "number roomy" },
  { name: "Compared", class: "number" },
];

function peerTable({ peers, addresses, now }) {
  if (peers.length === 0) {
    const listening = addresses.length === 0 ? "It does not listen for any." : "It listens at";
    return h(
      "div",
      { class: "empty" },
      h("p", {}, `No peers are linked. ${listening}`),
      ...addresses.slice(0, 3).map((address) => h("code", { class: "address" }, address)),
    );
  }
  const rows = peers.map((peer) => {
    const id = h("code", { title: [peer.id, ...peer.addresses].join("\n") }, ends(peer.id));
    const { events, bytesIn, bytesOut, queueBytes, lastSyncAt } = peer;
    const cells = [count(events), bytes(bytesIn), bytes(bytesOut), bytes(queueBytes), ago(lastSyncAt, new Date(now))];
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, id),
      ...cells.map((cell, index) => h("td", { class: PEER_COLUMNS[index + 1].class }, cell)),
    );
  });
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Peers" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...PEER_COLUMNS.map(({ name, ...column }) => h("th", column, name)))),
      h("tbody", {}, ...rows),
    ),
  );
}

function noticeList({ notices, now }) {
  if (notices.length === 0) return h("p", { class: "empty" }, "None since the start. That is good.");
  return h(
    "ol",
    { class: "notices", tabindex: "0", "aria-label": "Notices" },
    ...notices.map(({ at, code, message }) =>
      h(
        "li",
        {},
        h(
          "p",
          {},
          h("strong", { class: "code" }, code),
          h("time", { title: new Date(at).toISOString() }, ago(at, new Date(now))),
        ),
        h("p", { class: "message" }, message),
      ),
    ),
  );
}
