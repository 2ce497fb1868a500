import { h, setText } from "./dom.js";
import { ends, span } from "./format.js";
import { groupPage } from "./group.js";
import { overviewPage } from "./overview.js";
import { openLink, signInPage, signOut } from "./sign-in.js";

const main = document.querySelector("#main");
const node = document.querySelector("#node");
const state = document.querySelector("#state");
const signOutButton = document.querySelector("#sign-out");

/** What every page gets: requests, and the overviews as they come. */
const app = {
  /** The JSON of an answer. A session that has ended leads to signing in. */
  async get(path) {
    const response = await fetch(path, { headers: { accept: "application/json" } });
    const body = await response.json();
    if (response.status === 401) showSignIn();
    if (!response.ok) throw new Error(body.detail ?? response.statusText);
    return body;
  },
  /** The last overview, and who wants the next ones. */
  overview: undefined,
  onOverview: undefined,
};

let page;
let stream;

function show(next, title) {
  page?.close();
  page = next;
  document.title = title === undefined ? "Coppice" : `${title} · Coppice`;
  main.replaceChildren(next.element);
  if (app.overview !== undefined) next.update?.(app.overview);
}

function route() {
  const [, group] = /^#\/group\/(.+)$/.exec(location.hash) ?? [];
  if (group === undefined) show(overviewPage(app));
  else {
    const id = decodeURIComponent(group);
    show(groupPage(app, id), id);
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function listen() {
  stream?.close();
  stream = new EventSource("/v1/dashboard/stream");
  stream.addEventListener("overview", ({ data }) => {
    const overview = JSON.parse(data);
    app.overview = overview;
    showNode(overview);
    page?.update?.(overview);
  });
  stream.addEventListener("error", ({ data }) => {
    setState("lost", "Not connected");
    // With data it is the server's own event: the token was revoked.
    if (data !== undefined) showSignIn("Your token was revoked or has expired.");
    else if (stream.readyState === EventSource.CLOSED) void start();
  });
}

function showNode({ peerId, storage, version, startedAt, now }) {
  const uptime = span((new Date(now) - new Date(startedAt)) / 1000);
  node.replaceChildren(h("code", { title: peerId }, ends(peerId, 10, 6)), ` · ${version} · up ${uptime}`);
  if (storage === "failed") setState("bad", "Storage fails");
  else if (storage === "late") setState("warn", "Storage is slow");
  else setState("good", "Healthy");
  signOutButton.hidden = false;
}

function setState(kind, text) {
  state.dataset.kind = kind;
  setText(state, text);
}

function showSignIn(reason) {
  stream?.close();
  stream = undefined;
  app.overview = undefined;
  node.replaceChildren();
  state.dataset.kind = "";
  setText(state, "");
  signOutButton.hidden = true;
  show(signInPage(start, reason), "Sign in");
}

/** Signed in, the overview begins; otherwise there is a form. */
async function start() {
  let response;
  try {
    response = await fetch("/v1/status");
  } catch {
    setState("lost", "Not connected");
    setTimeout(() => void start(), 2000);
    return;
  }
  if (response.status === 401) {
    showSignIn();
    return;
  }
  listen();
  route();
}

signOutButton.addEventListener("click", () => {
  void signOut().then(() => showSignIn());
});
addEventListener("hashchange", () => {
  if (stream !== undefined && !location.hash.startsWith("#main")) route();
});

const reason = await openLink();
if (reason === undefined) await start();
else showSignIn(reason);
