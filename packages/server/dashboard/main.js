import { h, setText } from "./dom.js";
import { ends, plain, span } from "./format.js";
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

const RETRY_MS = 2000;

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
  const group = groupOf(location.hash);
  if (group === undefined) show(overviewPage(app));
  else {
    show(groupPage(app, group), plain(group));
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

/** The group that an address leads to; one that somebody has mistyped leads to none. */
function groupOf(hash) {
  try {
    return decodeURIComponent(/^#\/group\/(.+)$/.exec(hash)?.[1] ?? "") || undefined;
  } catch {
    return undefined;
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
    else if (stream?.readyState === EventSource.CLOSED) startLater();
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
    startLater();
    return;
  }
  if (response.status === 401) {
    showSignIn();
    return;
  }
  listen();
  route();
}

/** Not at once: a node that refuses, as it has too many watchers, is not to be asked all the time. */
function startLater() {
  setTimeout(() => void start(), RETRY_MS);
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
