import { expect, test } from "vitest";
import { BrowserSessions } from "./browser-sessions.ts";
import { TokenStore } from "./token-store.ts";

test("a session only reads, and ends with its token, as does what was opened by it", async () => {
  const tokens = TokenStore.of(new Map([["text", "admin"]]));
  const grant = tokens.identify("text");
  if (grant === undefined) throw new Error("no grant");
  const sessions = new BrowserSessions();
  const secret = sessions.begin(grant);
  const reader = sessions.find(secret);
  expect([reader?.permits("read"), reader?.permits("write")]).toEqual([true, false]);
  let ended = 0;
  reader?.onEnd(() => ended++);
  await tokens.revoke(grant.info.id);
  expect([ended, reader?.isValid, sessions.find(secret)]).toEqual([1, false, undefined]);
});

test("sessions that are forgotten leave nothing at their token", () => {
  const grant = TokenStore.of(new Map([["text", "read"]])).identify("text");
  if (grant === undefined) throw new Error("no grant");
  let listening = 0;
  const { onEnd } = grant;
  grant.onEnd = (listener) => {
    listening++;
    return onEnd.call(grant, listener);
  };
  const sessions = new BrowserSessions();
  for (let count = 0; count < 2000; count++) sessions.end(sessions.begin(grant));
  expect(listening).toBe(0);
});
