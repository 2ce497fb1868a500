import { h } from "./dom.js";

const JSON_BODY = { "content-type": "application/json" };

/** A link of `coppice dashboard` carries a code behind the #, which browsers send to nobody. */
export async function openLink() {
  const [, code] = /^#code=([\w-]+)$/.exec(location.hash) ?? [];
  if (code === undefined) return undefined;
  // The code is good once; a page that is loaded again, or bookmarked, must not carry it.
  history.replaceState(null, "", "/");
  const body = JSON.stringify({ code });
  try {
    const response = await fetch("/v1/dashboard/links/open", { method: "POST", headers: JSON_BODY, body });
    return response.ok ? undefined : "This link was used already, or has ended.";
  } catch {
    return "The node does not answer.";
  }
}

export async function signOut() {
  await fetch("/v1/dashboard/sessions", { method: "DELETE" });
}

/** What is wrong; nothing when the browser is signed in. */
async function signIn(token) {
  if (!/^[\w-]+$/.test(token)) return "this is no token";
  const headers = { ...JSON_BODY, authorization: `Bearer ${token}` };
  try {
    const response = await fetch("/v1/dashboard/sessions", { method: "POST", headers, body: "{}" });
    return response.ok ? undefined : (await response.json()).detail;
  } catch {
    return "the node does not answer";
  }
}

export function signInPage(done, reason) {
  const message = h("p", { class: "error", role: "alert" }, reason ?? "");
  const input = h("input", {
    id: "token",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    placeholder: "cop_…",
  });
  const form = h(
    "form",
    {
      class: "card sign-in",
      async onsubmit(event) {
        event.preventDefault();
        const trouble = await signIn(input.value.trim());
        if (trouble === undefined) {
          await done();
          return;
        }
        message.textContent = `That did not work: ${trouble}.`;
        input.select();
      },
    },
    h("h1", {}, "Sign in"),
    h("label", { for: "token" }, "Token"),
    input,
    message,
    h("button", { type: "submit" }, "Sign in"),
    h(
      "p",
      { class: "hint" },
      "Or run ",
      h("code", {}, "coppice dashboard"),
      " for a link. Tokens are in the node’s data directory; ",
      h("code", {}, "coppice token create"),
      " makes one that only reads. The dashboard reads and changes nothing.",
    ),
  );
  queueMicrotask(() => input.focus());
  return { element: form, close() {} };
}
